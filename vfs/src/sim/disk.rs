//! The state of a simulated disk: files and directories, each as it looks and as it would survive.
//!
//! ```text
//!   file       volatile  what reads see      = durable + pending, until a sync fails
//!              durable   what a cut leaves
//!              pending   writes since the last sync, in order
//!   directory  volatile, durable: names -> inodes
//!   disk       names: pending changes of names in all directories, in order
//! ```
//!
//! Pending changes carry one number line over all files and directories, so that a cut can keep a prefix of
//! what happened. A rename within or between directories is one change: a cut keeps it or undoes it, and never
//! loses the file. Syncing the directory that gained the name makes the gain durable; the loss in the other
//! directory stays pending until that one is synced, so a file may come back under both names.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Weak};

use super::content::Content;
use super::decay::Armed;
use super::fault::{Gate, SimError};
use super::map::SimMap;
use super::rules::Judge;

pub(super) type InodeId = u64;

/// The directory `/`.
const ROOT: InodeId = 0;
/// What a file or directory takes beside its bytes: stands for inode and name.
const INODE_BYTES: u64 = 256;
/// Inodes that may be unreachable before they are looked for.
const GARBAGE_INODES_MAX: usize = 64;

#[derive(Debug)]
pub(super) struct Disk {
    inodes: BTreeMap<InodeId, Inode>,
    next_inode: InodeId,
    /// Live inodes when garbage was last collected.
    live_inodes: usize,
    /// Numbers pending changes.
    sequence: u64,
    pub(super) names: Vec<Pending<NameChange>>,
    /// Counts cuts and crashes: handles of another epoch are dead.
    pub(super) epoch: u64,
    /// Which lock files are held, by the token of the guard.
    pub(super) locks: BTreeMap<InodeId, u64>,
    next_token: u64,
    pub(super) space_bytes: Option<u64>,
    pub(super) space_inodes: Option<u64>,
    /// Whether space is found at a sync, not at a write.
    pub(super) allocates_late: bool,
    pub(super) revert_on_failed_sync: bool,
    pub(super) gate: Gate,
    pub(super) judge: Judge,
    /// Bad places.
    pub(super) decays: Vec<Armed>,
}

#[derive(Debug, Clone)]
pub(super) enum Inode {
    File(FileState),
    Directory(DirState),
}

#[derive(Debug, Clone, Default)]
pub(super) struct FileState {
    pub(super) volatile: Content,
    pub(super) durable: Content,
    pub(super) pending: Vec<Pending<Change>>,
    /// Open handles of this epoch.
    pub(super) handles: u32,
    /// Whether it was ever mapped: from then on it must not be written.
    pub(super) sealed: bool,
    /// Whether a failed sync has lost bytes that reads may still see.
    pub(super) lost_bytes: bool,
    /// Whether it was renamed to a name under which files never change. Without rules, always `false`.
    pub(super) is_sealed_by_name: bool,
    /// The call by which a write or sync of it failed in this epoch. Without rules, always `None`.
    pub(super) failed_call: Option<u64>,
    /// Mappings of this epoch, dead ones among them.
    pub(super) maps: Vec<Weak<SimMap>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct DirState {
    pub(super) volatile: BTreeMap<String, InodeId>,
    /// With the number of the change that bound the name.
    durable: BTreeMap<String, (InodeId, u64)>,
}

/// A change that a cut may undo.
#[derive(Debug, Clone)]
pub(super) struct Pending<T> {
    pub(super) sequence: u64,
    pub(super) change: T,
}

#[derive(Debug, Clone)]
pub(super) enum Change {
    Write { offset: u64, bytes: Arc<[u8]> },
    Grow { len: u64 },
    Clear,
}

/// A name in a directory.
pub(super) type Name = (InodeId, String);

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Add { at: Name, inode: InodeId },
    Remove { at: Name, inode: InodeId },
    Rename { from: Name, to: Name, inode: InodeId, loss_synced: bool },
}

impl FileState {
    /// Maps the file, as these bytes.
    pub(super) fn map(&mut self, bytes: Vec<u8>) -> Arc<SimMap> {
        let map = Arc::new(SimMap::new(bytes));
        self.maps.retain(|map| map.strong_count() > 0);
        self.maps.push(Arc::downgrade(&map));
        map
    }

    pub(super) fn live_maps(&self) -> impl Iterator<Item = Arc<SimMap>> {
        self.maps.iter().filter_map(Weak::upgrade)
    }

    /// Whether somebody holds on to it, whatever its names.
    fn is_held(&self) -> bool {
        self.handles > 0 || self.live_maps().next().is_some()
    }
}

impl Change {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            Change::Write { offset, bytes } => content.write(bytes, *offset),
            Change::Grow { len } => content.grow(*len),
            Change::Clear => content.clear(),
        }
    }
}

impl Disk {
    pub(super) fn new() -> Disk {
        Disk {
            inodes: BTreeMap::from([(ROOT, Inode::Directory(DirState::default()))]),
            next_inode: ROOT + 1,
            live_inodes: 1,
            sequence: 0,
            names: Vec::new(),
            epoch: 0,
            locks: BTreeMap::new(),
            next_token: 0,
            space_bytes: None,
            space_inodes: None,
            allocates_late: false,
            revert_on_failed_sync: false,
            gate: Gate::default(),
            judge: Judge::default(),
            decays: Vec::new(),
        }
    }

    /// The disk as it is, in another machine: no handle, lock, fault or record of calls goes with it.
    pub(super) fn copy(&self) -> Disk {
        let mut copy = Disk {
            inodes: self.inodes.clone(),
            names: self.names.clone(),
            next_inode: self.next_inode,
            sequence: self.sequence,
            space_bytes: self.space_bytes,
            space_inodes: self.space_inodes,
            allocates_late: self.allocates_late,
            judge: Judge::new(self.judge.rules()),
            revert_on_failed_sync: self.revert_on_failed_sync,
            ..Disk::new()
        };
        copy.gate.count_sites(self.gate.sites());
        copy.restart();
        copy
    }

    /// Handles and locks end; files stay as they look.
    pub(super) fn restart(&mut self) {
        self.epoch += 1;
        self.locks.clear();
        self.gate.restart();
        for inode in self.inodes.values_mut() {
            if let Inode::File(file) = inode {
                file.handles = 0;
                file.maps.clear();
                // No handle can write to it any more, and nobody knows that one failed.
                file.is_sealed_by_name = false;
                file.failed_call = None;
            }
        }
        self.collect();
    }

    // Paths

    /// The inode at a path.
    pub(super) fn find(&self, path: &Path) -> io::Result<InodeId> {
        self.follow(parts(path)?)
    }

    /// The directory that holds a path's last name, and that name.
    pub(super) fn find_parent(&self, path: &Path) -> io::Result<Name> {
        let mut parts = parts(path)?;
        let name = parts.pop().ok_or(ErrorKind::AlreadyExists)?;
        let parent = self.follow(parts)?;
        self.dir_of(parent)?;
        Ok((parent, name.to_owned()))
    }

    fn follow(&self, parts: Vec<&str>) -> io::Result<InodeId> {
        parts.into_iter().try_fold(ROOT, |inode, part| {
            self.dir_of(inode)?.volatile.get(part).copied().ok_or_else(|| ErrorKind::NotFound.into())
        })
    }

    pub(super) fn find_file(&self, path: &Path) -> io::Result<InodeId> {
        let inode = self.find(path)?;
        match self.inodes.get(&inode) {
            Some(Inode::File(_)) => Ok(inode),
            _ => Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file")),
        }
    }

    pub(super) fn inode(&self, inode: InodeId) -> &Inode {
        &self.inodes[&inode]
    }

    pub(super) fn file(&self, inode: InodeId) -> &FileState {
        match &self.inodes[&inode] {
            Inode::File(file) => file,
            Inode::Directory(_) => unreachable!("an inode keeps its type, and only files are opened"),
        }
    }

    pub(super) fn file_mut(&mut self, inode: InodeId) -> &mut FileState {
        match self.inodes.get_mut(&inode) {
            Some(Inode::File(file)) => file,
            _ => unreachable!("an inode that is open or named exists, and keeps its type"),
        }
    }

    pub(super) fn dir_of(&self, inode: InodeId) -> io::Result<&DirState> {
        match self.inodes.get(&inode) {
            Some(Inode::Directory(dir)) => Ok(dir),
            _ => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn dir_mut(&mut self, inode: InodeId) -> Option<&mut DirState> {
        match self.inodes.get_mut(&inode) {
            Some(Inode::Directory(dir)) => Some(dir),
            _ => None,
        }
    }

    pub(super) fn entry(&self, at: &Name) -> Option<InodeId> {
        self.dir_of(at.0).ok()?.volatile.get(&at.1).copied()
    }

    /// All files below a directory, by ascending path.
    fn walk(&self, at: InodeId, path: &Path, visit: &mut impl FnMut(&Path, InodeId, &Inode)) {
        for (name, &inode) in self.dir_of(at).into_iter().flat_map(|dir| &dir.volatile) {
            let path = path.join(name);
            visit(&path, inode, self.inode(inode));
            self.walk(inode, &path, visit);
        }
    }

    pub(super) fn walk_all(&self, visit: &mut impl FnMut(&Path, InodeId, &Inode)) {
        self.walk(ROOT, Path::new("/"), visit);
    }

    /// All files with durable names.
    pub(super) fn walk_durable(&self, visit: &mut impl FnMut(&Path, InodeId)) {
        let mut to_visit = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, at)) = to_visit.pop() {
            match self.dir_of(at) {
                Ok(dir) => {
                    to_visit.extend(dir.durable.iter().map(|(name, &(inode, _))| (path.join(name), inode)));
                }
                Err(_) => visit(&path, at),
            }
        }
    }

    /// Whether a cut leaves a name where it is; not whether it leaves the directory.
    pub(super) fn has_durable_name(&self, path: &Path) -> bool {
        self.find_parent(path).is_ok_and(|at| {
            let durable = self.dir_of(at.0).ok().and_then(|dir| dir.durable.get(&at.1));
            durable.map(|(inode, _)| *inode) == self.entry(&at)
        })
    }

    // Names

    /// Adds a new inode under a free name.
    pub(super) fn add(&mut self, at: Name, inode: Inode) -> InodeId {
        let id = self.next_inode;
        self.next_inode += 1;
        self.inodes.insert(id, inode);
        self.change_names(NameChange::Add { at, inode: id });
        self.collect_if_worthwhile();
        id
    }

    pub(super) fn change_names(&mut self, change: NameChange) {
        match &change {
            NameChange::Add { at, inode } => self.look_bound(at, *inode),
            NameChange::Remove { at, .. } => self.look_free(at),
            NameChange::Rename { from, to, inode, .. } => {
                self.look_free(from);
                self.look_bound(to, *inode);
            }
        }
        self.sequence += 1;
        self.names.push(Pending { sequence: self.sequence, change });
    }

    fn look_bound(&mut self, at: &Name, inode: InodeId) {
        if let Some(dir) = self.dir_mut(at.0) {
            dir.volatile.insert(at.1.clone(), inode);
        }
    }

    fn look_free(&mut self, at: &Name) {
        if let Some(dir) = self.dir_mut(at.0) {
            dir.volatile.remove(&at.1);
        }
    }

    /// Makes the pending changes of one directory's names durable.
    pub(super) fn sync_dir(&mut self, dir: InodeId) {
        self.judge.forget_bound();
        for mut pending in std::mem::take(&mut self.names) {
            let sequence = pending.sequence;
            match &mut pending.change {
                NameChange::Add { at, .. } | NameChange::Remove { at, .. } if at.0 == dir => {
                    self.make_durable(&pending);
                }
                NameChange::Add { .. } | NameChange::Remove { .. } => self.names.push(pending),
                NameChange::Rename { from, to, inode, loss_synced } => {
                    *loss_synced |= from.0 == dir || matches!(self.inodes[inode], Inode::Directory(_));
                    if to.0 != dir {
                        self.names.push(pending);
                    } else if *loss_synced {
                        self.make_durable(&pending);
                    } else {
                        self.bind(to, *inode, sequence);
                        let change = NameChange::Remove { at: from.clone(), inode: *inode };
                        self.names.push(Pending { sequence, change });
                    }
                }
            }
        }
    }

    /// Applies a change whole to the durable names.
    pub(super) fn make_durable(&mut self, pending: &Pending<NameChange>) {
        match &pending.change {
            NameChange::Add { at, inode } => self.bind(at, *inode, pending.sequence),
            NameChange::Remove { at, inode } => self.unbind(at, *inode, pending.sequence),
            NameChange::Rename { from, to, inode, .. } => {
                self.unbind(from, *inode, pending.sequence);
                self.bind(to, *inode, pending.sequence);
            }
        }
    }

    fn bind(&mut self, at: &Name, inode: InodeId, sequence: u64) {
        // A directory that is gone takes changes of its names with it.
        if let Some(dir) = self.dir_mut(at.0) {
            dir.durable.insert(at.1.clone(), (inode, sequence));
        }
        self.judge.note_bound(at, inode);
    }

    /// Frees a name that still means this inode. A loss may become durable late, after the file has come back
    /// to the name for good: then it is history.
    fn unbind(&mut self, at: &Name, inode: InodeId, sequence: u64) {
        if let Some(dir) = self.dir_mut(at.0)
            && dir.durable.get(&at.1).is_some_and(|&(bound, since)| bound == inode && since < sequence)
        {
            dir.durable.remove(&at.1);
        }
    }

    // Bytes

    /// Changes what a file looks like; durable after its next sync.
    pub(super) fn change_file(&mut self, inode: InodeId, change: Change) {
        self.sequence += 1;
        let sequence = self.sequence;
        let file = self.file_mut(inode);
        assert!(!file.sealed, "a file that was mapped as sealed is written: readers would see it change");
        change.apply(&mut file.volatile);
        file.pending.push(Pending { sequence, change });
    }

    pub(super) fn sync_file(&mut self, inode: InodeId) {
        let file = self.file_mut(inode);
        for pending in std::mem::take(&mut file.pending) {
            pending.change.apply(&mut file.durable);
        }
    }

    /// A sync fails: what was dirty is called clean, and a later sync has nothing to complain of.
    pub(super) fn fail_sync(&mut self, inode: InodeId) {
        let revert = self.revert_on_failed_sync;
        let file = self.file_mut(inode);
        file.lost_bytes |= !file.pending.is_empty();
        file.pending.clear();
        if revert && !file.sealed {
            file.volatile = file.durable.clone();
        }
    }

    // Space

    /// How many more bytes fit; `None` where there is no limit.
    fn free_bytes(&self) -> Option<u64> {
        self.space_bytes.map(|space| space.saturating_sub(self.used().0))
    }

    /// The same, as writes see it.
    pub(super) fn free_now(&self) -> Option<u64> {
        if self.allocates_late { None } else { self.free_bytes() }
    }

    /// Whether a new file or directory fits.
    pub(super) fn check_inode_fits(&mut self) -> io::Result<()> {
        self.check_name_fits()?;
        match self.space_inodes {
            Some(limit) if self.used().1 >= limit => Err(self.refuse(SimError::NoSpace)),
            _ => Ok(()),
        }
    }

    /// Whether a directory can take another name.
    pub(super) fn check_name_fits(&mut self) -> io::Result<()> {
        match self.free_bytes() {
            Some(free) if free < INODE_BYTES => Err(self.refuse(SimError::NoSpace)),
            _ => Ok(()),
        }
    }

    /// The error of a call that the state of the disk stands in the way of.
    pub(super) fn refuse(&mut self, error: SimError) -> io::Error {
        self.gate.struck();
        error.to_io()
    }

    /// Whether there is a place for what a file gained since its last sync; only asked where writes do not ask.
    pub(super) fn has_space_for_unsynced(&self, inode: InodeId) -> bool {
        let file = self.file(inode);
        !self.allocates_late
            || file.volatile.len() <= file.durable.len()
            || self.space_bytes.is_none_or(|space| self.used().0 <= space)
    }

    /// Bytes and inodes that are named or held open; the root is free of charge.
    fn used(&self) -> (u64, u64) {
        let mut counted = BTreeSet::from([ROOT]);
        let (mut bytes, mut inodes) = (0, 0);
        let mut count = |inode: InodeId| {
            if counted.insert(inode) {
                inodes += 1;
                bytes += INODE_BYTES;
                if let Inode::File(file) = &self.inodes[&inode] {
                    bytes += file.volatile.len();
                }
            }
        };
        for (&id, inode) in &self.inodes {
            match inode {
                Inode::File(file) if file.is_held() => count(id),
                Inode::File(_) => {}
                Inode::Directory(dir) => dir.volatile.values().for_each(|&id| count(id)),
            }
        }
        (bytes, inodes)
    }

    // Handles and locks

    /// Open files, live mappings, held locks.
    pub(super) fn handles(&self) -> u64 {
        let of_files = self.inodes.values().map(|inode| match inode {
            Inode::File(file) => u64::from(file.handles) + file.live_maps().count() as u64,
            Inode::Directory(_) => 0,
        });
        of_files.sum::<u64>() + self.locks.len() as u64
    }

    /// The token of a lock that is free.
    pub(super) fn take_lock(&mut self, inode: InodeId) -> Option<u64> {
        if self.locks.contains_key(&inode) {
            return None;
        }
        self.next_token += 1;
        self.locks.insert(inode, self.next_token);
        Some(self.next_token)
    }

    // After a cut

    /// What is durable is all there is.
    pub(super) fn forget_volatile(&mut self) {
        self.names.clear();
        for inode in self.inodes.values_mut() {
            match inode {
                Inode::File(file) => {
                    file.pending.clear();
                    file.lost_bytes = false;
                    file.volatile = file.durable.clone();
                }
                Inode::Directory(dir) => {
                    let durable = dir.durable.iter();
                    dir.volatile = durable.map(|(name, &(inode, _))| (name.clone(), inode)).collect();
                }
            }
        }
        self.judge.forget_manifests();
        self.restart();
    }

    pub(super) fn inodes_mut(&mut self) -> impl Iterator<Item = &mut Inode> {
        self.inodes.values_mut()
    }

    pub(super) fn collect_if_worthwhile(&mut self) {
        if self.inodes.len() > 2 * self.live_inodes + GARBAGE_INODES_MAX {
            self.collect();
        }
    }

    /// Frees inodes that no name, pending change or handle can lead to.
    fn collect(&mut self) {
        let mut to_visit: Vec<InodeId> = vec![ROOT];
        to_visit.extend(self.names.iter().flat_map(|pending| match &pending.change {
            NameChange::Add { at, inode } | NameChange::Remove { at, inode } => [at.0, at.0, *inode],
            NameChange::Rename { from, to, inode, .. } => [from.0, to.0, *inode],
        }));
        to_visit.extend(self.locks.keys());
        to_visit.extend(self.inodes.iter().filter_map(|(&id, inode)| match inode {
            Inode::File(file) if file.is_held() => Some(id),
            _ => None,
        }));
        let mut live = BTreeSet::new();
        while let Some(id) = to_visit.pop() {
            if live.insert(id)
                && let Some(Inode::Directory(dir)) = self.inodes.get(&id)
            {
                to_visit.extend(dir.volatile.values());
                to_visit.extend(dir.durable.values().map(|(inode, _)| inode));
            }
        }
        self.inodes.retain(|id, _| live.contains(id));
        self.live_inodes = self.inodes.len();
    }
}

/// The names that lead to a path from `/`. Relative paths start there too.
fn parts(path: &Path) -> io::Result<Vec<&str>> {
    let refused =
        || io::Error::new(ErrorKind::InvalidInput, "the simulated disk takes plain UTF-8 names only");
    path.components()
        .filter(|part| !matches!(part, Component::RootDir | Component::CurDir))
        .map(|part| match part {
            Component::Normal(name) => name.to_str().ok_or_else(refused),
            _ => Err(refused()),
        })
        .collect()
}
