//! A disk in memory that keeps what was promised and no more.
//!
//! ```text
//!   SimVfs    the handle: faults, cuts, and what tests look at         mod.rs
//!   Vfs       the calls of the file system                             calls.rs
//!   Disk      files and directories, as they look and as they last     disk.rs
//!   SimCut    what a power cut leaves                                  cut.rs
//!   SimFault  what goes wrong and when; crash points; the trace        fault.rs
//!   SimDecay  where the disk is bad, and in which way                  decay.rs
//!   SimRules  what a crash-safe program never does                     rules.rs
//!   SimSites  which places in the code have seen a call fail           sites.rs
//!   SimFile   open files and held locks                                handle.rs
//!   SimMap    mapped files                                             map.rs
//!   Content   bytes in shared pages                                    content.rs
//! ```
//!
//! A test of crash safety is a loop over the mutating calls of a piece of work:
//!
//! ```
//! use std::path::Path;
//! use annals_vfs::{Draft, SimCut, SimVfs, Vfs, publish};
//!
//! let work = |vfs: &SimVfs| {
//!     let (draft, directory) = (Path::new("/tmp/x").into(), Path::new("/b").into());
//!     publish(vfs, &[Draft { draft, directory, name: "x".into(), bytes: b"bytes" }])
//! };
//! let empty = SimVfs::new();
//! empty.make_dirs(["/tmp", "/b"]);
//! let clean = empty.snapshot();
//! work(&clean).map_err(|error| error.into_source())?;
//! for call in 0..clean.calls() {
//!     let vfs = empty.snapshot();
//!     vfs.set_crash_at(call);
//!     assert!(work(&vfs).is_err());
//!     vfs.power_cut(SimCut::Nothing);
//!     assert!(!vfs.exists("/b/x") || vfs.read_file("/b/x")? == b"bytes");
//! }
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! A file may be read while it is unsynced; what it takes to last is [`File::sync`] and, for its name,
//! [`Vfs::sync_dir`]. Nothing here sleeps, reads a clock or touches the machine's files.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use content::Content;
use disk::{DirState, Disk, FileState, Inode, NameChange};
use rules::Judge;

mod calls;
mod content;
mod cut;
mod decay;
mod disk;
mod fault;
mod handle;
mod map;
mod rules;
mod sites;
#[cfg(test)]
mod tests;

pub use cut::SimCut;
pub use decay::{SimDecay, SimRot};
pub use fault::{SimCall, SimCalls, SimCrash, SimError, SimFault, SimOp};
pub use rules::{SimManifest, SimRole, SimRules};
pub use sites::{SimSite, SimSites};

/// What a failed sync does to what the file looks like. Either way its unsynced bytes are lost for good and a
/// later sync of the file succeeds without having written them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SimFailedSync {
    /// Reads go on to see the unsynced bytes, until a cut (as ext4 and XFS).
    #[default]
    KeepsBytes,
    /// Reads see the last durable bytes again (as Btrfs).
    RevertsBytes,
}

/// A simulated disk. Clones are handles of the same disk; [`SimVfs::snapshot`] copies it.
///
/// Paths start at `/`, which always exists.
#[derive(Clone)]
pub struct SimVfs {
    disk: Arc<Mutex<Disk>>,
}

impl Default for SimVfs {
    fn default() -> SimVfs {
        SimVfs::new()
    }
}

impl fmt::Debug for SimVfs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimVfs").field("calls", &self.calls()).finish_non_exhaustive()
    }
}

// What a test does to a disk.
impl SimVfs {
    /// An empty disk without faults and without end.
    #[must_use]
    pub fn new() -> SimVfs {
        SimVfs { disk: Arc::new(Mutex::new(Disk::new())) }
    }

    /// A copy of the disk as it is now, pending changes included, as if moved into another machine: no handle,
    /// lock, fault, crash point or record of calls goes with it; limits, rules and who counts sites do. Costs little: bytes
    /// are shared until written.
    #[must_use]
    pub fn snapshot(&self) -> SimVfs {
        SimVfs { disk: Arc::new(Mutex::new(self.disk.lock().copy())) }
    }

    /// Cuts the power and switches on again. Handles and locks of before are dead; a crash point is gone; faults
    /// stay.
    pub fn power_cut(&self, policy: SimCut) {
        cut::cut(&mut self.disk.lock(), policy);
    }

    /// The process ends and another starts: files look as before, and what was pending stays so. Handles and
    /// locks of before are dead; a crash point is gone; faults stay.
    pub fn process_crash(&self) {
        self.disk.lock().restart();
    }

    /// Stops the machine at a mutating call, counted from now: `0` is the next. That call does nothing; it and
    /// all later calls fail with [`SimCrash`] until [`SimVfs::power_cut`] or [`SimVfs::process_crash`].
    pub fn set_crash_at(&self, call: u64) {
        self.disk.lock().gate.set_crash(call, false);
    }

    /// As [`SimVfs::set_crash_at`], but the machine stops within the call: half of a write or allocation is done,
    /// any other call is done whole without its caller being told.
    pub fn set_crash_within(&self, call: u64) {
        self.disk.lock().gate.set_crash(call, true);
    }

    /// Whether a crash point was reached and the machine stands still.
    #[must_use]
    pub fn crashed(&self) -> bool {
        self.disk.lock().gate.stopped()
    }

    /// Lets a later call fail.
    pub fn fail(&self, fault: SimFault) {
        self.disk.lock().gate.add_fault(fault);
    }

    /// Lets a place on the disk go bad.
    pub fn decay(&self, decay: SimDecay) {
        self.disk.lock().add_decay(decay);
    }

    /// Takes back all faults and decays, those that strike for ever and those that did not strike yet. What they did
    /// stays done.
    pub fn clear_faults(&self) {
        let mut disk = self.disk.lock();
        disk.gate.clear_faults();
        disk.decays.clear();
    }

    /// Forgets what is cached, so that reads see what writes that were lost or misdirected, and syncs that failed, have
    /// left on the disk. What is unsynced is still to be written and stays.
    pub fn drop_caches(&self) {
        self.disk.lock().drop_caches();
    }

    /// All files with their lengths, by ascending path: what [`SimDecay::drawn`] draws from.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        let mut files = Vec::new();
        self.disk.lock().walk_all(&mut |path, _, inode| {
            if let Inode::File(file) = inode {
                files.push((path.to_owned(), file.volatile.len()));
            }
        });
        files.sort();
        files
    }

    /// Chooses what failed syncs do to what their file looks like.
    pub fn set_failed_sync(&self, effect: SimFailedSync) {
        self.disk.lock().revert_on_failed_sync = effect == SimFailedSync::RevertsBytes;
    }

    /// Limits the disk to that many bytes, 256 for each file and directory included; `u64::MAX` is no limit.
    /// What no longer fits is refused with ENOSPC; a write gets down what fits; a rename needs room for a name.
    /// Unlinking frees space once no handle is left.
    pub fn set_space(&self, bytes: u64) {
        self.disk.lock().space_bytes = (bytes != u64::MAX).then_some(bytes);
    }

    /// Limits the disk to that many files and directories, the root not counted; `u64::MAX` is no limit.
    pub fn set_inodes(&self, inodes: u64) {
        self.disk.lock().space_inodes = (inodes != u64::MAX).then_some(inodes);
    }

    /// Lets writes and allocations pass on a full disk, so that it is the sync of a grown file that fails, with all
    /// that follows from a failed sync: delayed allocation.
    pub fn set_late_allocation(&self, late: bool) {
        self.disk.lock().allocates_late = late;
    }

    /// Flips bits of one byte at rest. Mappings of before do not change: see [`SimVfs::corrupt_mapped`].
    pub fn corrupt(&self, path: impl AsRef<Path>, offset: u64, mask: u8) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let inode = disk.find_file(path.as_ref())?;
        let file = disk.file_mut(inode);
        file.durable.flip(offset, mask);
        if file.volatile.flip(offset, mask) {
            Ok(())
        } else {
            Err(io::Error::new(ErrorKind::InvalidInput, "the file is not that long"))
        }
    }

    /// Flips bits of one byte in each live mapping of a file, once its bytes were asked for another `after` times;
    /// returns how many mappings there are. The file itself does not change.
    ///
    /// A page that was read well may be read ill when it is read again: what is verified in a mapping must be copied
    /// first. Here bytes change between two uses of a [`crate::Sealed`], never under a slice that was taken from it,
    /// so code that keeps one slice for checking and for decoding is not found out. A mapping changes once.
    pub fn corrupt_mapped(
        &self,
        path: impl AsRef<Path>,
        offset: u64,
        mask: u8,
        after: u64,
    ) -> io::Result<usize> {
        let disk = self.disk.lock();
        let inode = disk.find_file(path.as_ref())?;
        let maps = disk.file(inode).live_maps();
        Ok(maps.filter(|map| map.corrupt(offset, mask, after)).count())
    }

    /// How many mutating calls were made, whatever came of them.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.disk.lock().gate.mutating_calls()
    }

    /// Counts the places that call this disk, and what its snapshots and theirs see, in `sites`.
    pub fn count_sites(&self, sites: &SimSites) {
        self.disk.lock().gate.count_sites(Some(sites.clone()));
    }

    /// Judges all later calls, and those of snapshots, by the order that crash safety asks for.
    pub fn set_rules(&self, rules: Arc<dyn SimRules>) {
        self.disk.lock().judge = Judge::new(Some(rules));
    }

    /// What was done against the rules since they were set, at most the first hundred, each with the call's number and
    /// path. A snapshot starts without.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        self.disk.lock().judge.violations()
    }

    /// How many files are open, files are mapped and locks are held since the last cut or crash.
    #[must_use]
    pub fn open_handles(&self) -> u64 {
        self.disk.lock().handles()
    }

    /// The newest mutating calls, oldest first, at most 65,536.
    #[must_use]
    pub fn trace(&self) -> Vec<SimCall> {
        self.disk.lock().gate.trace()
    }

    /// The same, and forgets them.
    pub fn take_trace(&self) -> Vec<SimCall> {
        self.disk.lock().gate.take_trace()
    }
}

// What a test looks at and puts in place: no calls of the file system, so they neither count nor fail.
impl SimVfs {
    /// The bytes of a file as reads see them.
    pub fn read_file(&self, path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
        let disk = self.disk.lock();
        let inode = disk.find_file(path.as_ref())?;
        Ok(disk.file(inode).volatile.to_vec())
    }

    /// Puts a durable file in place of whatever file has that name. Its directory must exist.
    pub fn write_file(&self, path: impl AsRef<Path>, bytes: &[u8]) -> io::Result<()> {
        let mut content = Content::default();
        Content::end_of(0, bytes.len())?;
        content.write(bytes, 0);
        let mut disk = self.disk.lock();
        let at = disk.find_parent(path.as_ref())?;
        if let Some(inode) = disk.entry(&at) {
            if matches!(disk.inode(inode), Inode::Directory(_)) {
                return Err(ErrorKind::IsADirectory.into());
            }
            disk.change_names(NameChange::Remove { at: at.clone(), inode });
        }
        let dir = at.0;
        let state = FileState { volatile: content.clone(), durable: content, ..FileState::default() };
        disk.add(at, Inode::File(state));
        disk.sync_dir(dir);
        disk.judge.forget_manifests();
        Ok(())
    }

    /// Creates directories and those above them where they are missing, durably.
    ///
    /// # Panics
    /// Where a name on the way is a file's.
    pub fn make_dirs<P: AsRef<Path>>(&self, paths: impl IntoIterator<Item = P>) {
        let mut disk = self.disk.lock();
        for path in paths {
            let mut above: Vec<&Path> = path.as_ref().ancestors().collect();
            above.reverse();
            for path in above {
                if disk.find(path).is_err() {
                    let at = disk.find_parent(path).expect("names on the way are directories");
                    let dir = at.0;
                    disk.add(at, Inode::Directory(DirState::default()));
                    disk.sync_dir(dir);
                }
            }
        }
    }

    /// Whether a file or directory has that name.
    #[must_use]
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.disk.lock().find(path.as_ref()).is_ok()
    }

    /// All files, by ascending path. Directories are not listed.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.files().into_iter().map(|(path, _)| path).collect()
    }
}
