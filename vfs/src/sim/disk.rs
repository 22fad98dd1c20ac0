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
use std::path::{Component, Path};
use std::sync::Arc;

use super::content::Content;
use super::fault::Gate;

pub(super) type InodeId = u64;

/// The directory `/`.
const ROOT: InodeId = 0;
/// What a file or directory takes beside its bytes: stands for inode and name.
pub(super) const INODE_BYTES: u64 = 256;
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
    pub(super) revert_on_failed_sync: bool,
    pub(super) gate: Gate,
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
type Name = (InodeId, String);

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Add { at: Name, inode: InodeId },
    Remove { at: Name, inode: InodeId },
    Rename { from: Name, to: Name, inode: InodeId, loss_synced: bool },
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
            revert_on_failed_sync: false,
            gate: Gate::default(),
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
            revert_on_failed_sync: self.revert_on_failed_sync,
            ..Disk::new()
        };
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
    fn walk(&self, at: InodeId, path: &Path, visit: &mut impl FnMut(&Path, &Inode)) {
        for (name, &inode) in self.dir_of(at).into_iter().flat_map(|dir| &dir.volatile) {
            let path = path.join(name);
            visit(&path, self.inode(inode));
            self.walk(inode, &path, visit);
        }
    }

    pub(super) fn walk_all(&self, visit: &mut impl FnMut(&Path, &Inode)) {
        self.walk(ROOT, Path::new("/"), visit);
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
        file.pending.clear();
        if revert && !file.sealed {
            file.volatile = file.durable.clone();
        }
    }

    /// How many more bytes fit; `None` where there is no limit.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        let space = self.space_bytes?;
        let mut counted = BTreeSet::from([ROOT]);
        let mut used = 0;
        let mut count = |inode: InodeId, inodes: &BTreeMap<InodeId, Inode>| {
            if counted.insert(inode) {
                let bytes = match &inodes[&inode] {
                    Inode::File(file) => file.volatile.len(),
                    Inode::Directory(_) => 0,
                };
                used += INODE_BYTES + bytes;
            }
        };
        for (&id, inode) in &self.inodes {
            match inode {
                Inode::File(file) if file.handles > 0 => count(id, &self.inodes),
                Inode::File(_) => {}
                Inode::Directory(dir) => dir.volatile.values().for_each(|&id| count(id, &self.inodes)),
            }
        }
        Some(space.saturating_sub(used))
    }

    // Locks

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
                    file.volatile = file.durable.clone();
                }
                Inode::Directory(dir) => {
                    let durable = dir.durable.iter();
                    dir.volatile = durable.map(|(name, &(inode, _))| (name.clone(), inode)).collect();
                }
            }
        }
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
            Inode::File(file) if file.handles > 0 => Some(id),
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
