//! A disk in memory that forgets what was not synced, and fails on demand.
#![expect(dead_code, reason = "each test file uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use annals_vfs::{DirEntry, DirEntryKind, File, LockError, LockGuard, Sealed, SimEntropy, Vfs};
use annals_wal::{Lsn, Options, Place, Record, RecoveryReport, Wal, WalError};

const SECTOR: usize = 512;

/// splitmix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

#[derive(Clone, Default)]
struct Inode {
    cache: Vec<u8>,
    durable: Vec<u8>,
    dirty: BTreeSet<usize>,
    dirty_len: bool,
}

/// A change of names that no directory sync covers yet.
#[derive(Clone)]
enum Change {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Move(PathBuf, PathBuf, usize),
}

/// Which operation fails, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    /// It and everything after it does not happen: the process is gone.
    Crash,
    /// As a crash, but the operation happens in part.
    CrashInside,
    /// It fails, once.
    Once(ErrorKind),
    /// It and everything after it that changes anything fails.
    Forever(ErrorKind),
}

/// What survives of what was not synced.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Survives {
    /// The machine stays up: the next process sees all.
    Cache,
    /// A power cut that loses all of it.
    Nothing,
    /// A power cut by chance just after everything reached the disk.
    Everything,
    /// A power cut that keeps a random part.
    Some(u64),
}

#[derive(Clone, Default)]
struct Disk {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    changes: Vec<Change>,
    directories: BTreeSet<PathBuf>,
    operations: u64,
    fault: Option<(u64, Fault)>,
    halted: bool,
    trace: Vec<String>,
}

#[derive(Clone, Default)]
pub(crate) struct MemVfs(Arc<Mutex<Disk>>);

struct MemFile {
    disk: MemVfs,
    inode: usize,
}

impl MemVfs {
    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().expect("not poisoned")
    }

    /// Another disk with the same content, faults lifted.
    pub(crate) fn fork(&self) -> MemVfs {
        let mut disk = self.lock().clone();
        disk.fault = None;
        disk.halted = false;
        disk.operations = 0;
        disk.trace.clear();
        MemVfs(Arc::new(Mutex::new(disk)))
    }

    /// The disk as the next process finds it.
    pub(crate) fn after_crash(&self, survives: Survives) -> MemVfs {
        let fork = self.fork();
        fork.lock().crash(survives);
        fork
    }

    pub(crate) fn operations(&self) -> u64 {
        self.lock().operations
    }

    pub(crate) fn trace(&self) -> Vec<String> {
        self.lock().trace.clone()
    }

    /// The operation of this number, counted from 0 over all that change something, meets this.
    pub(crate) fn fault(&self, operation: u64, fault: Fault) {
        let mut disk = self.lock();
        disk.fault = Some((operation, fault));
    }

    /// The operation `ahead` from now meets this.
    pub(crate) fn fault_in(&self, ahead: u64, fault: Fault) {
        let mut disk = self.lock();
        disk.fault = Some((disk.operations + ahead, fault));
    }

    pub(crate) fn heal(&self) {
        self.lock().fault = None;
    }

    pub(crate) fn bytes(&self, path: &Path) -> Vec<u8> {
        let disk = self.lock();
        disk.inodes[disk.names[path]].cache.clone()
    }

    /// Replaces a file's content, durably.
    pub(crate) fn put(&self, path: &Path, bytes: Vec<u8>) {
        let mut disk = self.lock();
        let inode = Inode { cache: bytes.clone(), durable: bytes, ..Inode::default() };
        let number = disk.inodes.len();
        disk.inodes.push(inode);
        disk.names.insert(path.to_owned(), number);
        disk.durable_names.insert(path.to_owned(), number);
    }

    pub(crate) fn remove(&self, path: &Path) {
        let mut disk = self.lock();
        disk.names.remove(path);
        disk.durable_names.remove(path);
    }

    pub(crate) fn files(&self, directory: &str) -> Vec<PathBuf> {
        let disk = self.lock();
        disk.names.keys().filter(|path| path.parent() == Some(Path::new(directory))).cloned().collect()
    }
}

impl Disk {
    /// Counts an operation; says how it fails, if it does.
    fn step(&mut self, what: &str, path: &Path) -> Option<Fault> {
        let number = self.operations;
        self.operations += 1;
        self.trace.push(format!("{number} {what} {}", path.display()));
        if self.halted {
            return Some(Fault::Crash);
        }
        let (at, fault) = self.fault?;
        match fault {
            Fault::Crash | Fault::CrashInside if number == at => {
                self.halted = true;
                Some(fault)
            }
            Fault::Once(_) if number == at => Some(fault),
            Fault::Forever(_) if number >= at => Some(fault),
            _ => None,
        }
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Link(path, inode) => {
                self.durable_names.insert(path, inode);
            }
            Change::Unlink(path) => {
                self.durable_names.remove(&path);
            }
            Change::Move(from, to, inode) => {
                self.durable_names.remove(&from);
                self.durable_names.insert(to, inode);
            }
        }
    }

    fn crash(&mut self, survives: Survives) {
        let mut rng = match survives {
            Survives::Cache => return,
            Survives::Some(seed) => Rng(seed),
            Survives::Nothing | Survives::Everything => Rng(0),
        };
        let mut keep = || match survives {
            Survives::Everything => true,
            Survives::Some(_) => rng.below(2) == 0,
            _ => false,
        };
        for inode in &mut self.inodes {
            if inode.dirty_len && keep() {
                inode.durable.resize(inode.cache.len(), 0);
            }
            for sector in std::mem::take(&mut inode.dirty) {
                let range =
                    sector * SECTOR..((sector + 1) * SECTOR).min(inode.cache.len()).min(inode.durable.len());
                if keep() && !range.is_empty() {
                    inode.durable[range.clone()].copy_from_slice(&inode.cache[range]);
                }
            }
            inode.dirty_len = false;
            inode.cache = inode.durable.clone();
        }
        for change in std::mem::take(&mut self.changes) {
            if keep() {
                self.apply(change);
            }
        }
        self.names = self.durable_names.clone();
    }
}

fn failure(fault: Fault) -> io::Error {
    match fault {
        Fault::Once(kind) | Fault::Forever(kind) => kind.into(),
        Fault::Crash | Fault::CrashInside => io::Error::other("the process is gone"),
    }
}

impl Vfs for MemVfs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut disk = self.lock();
        if let Some(fault) = disk.step("create", path) {
            return Err(failure(fault));
        }
        if disk.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let inode = disk.inodes.len();
        disk.inodes.push(Inode::default());
        disk.names.insert(path.to_owned(), inode);
        disk.changes.push(Change::Link(path.to_owned(), inode));
        Ok(Box::new(MemFile { disk: self.clone(), inode }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let disk = self.lock();
        if disk.halted {
            return Err(failure(Fault::Crash));
        }
        let inode = *disk.names.get(path).ok_or(ErrorKind::NotFound)?;
        Ok(Box::new(MemFile { disk: self.clone(), inode }))
    }

    fn map_sealed(&self, path: &Path) -> io::Result<Sealed> {
        Ok(Sealed::new(self.bytes(path)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        let fault = disk.step("rename", to);
        if let Some(fault) = fault.filter(|fault| *fault != Fault::CrashInside) {
            return Err(failure(fault));
        }
        if disk.names.contains_key(to) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let inode = disk.names.remove(from).ok_or(ErrorKind::NotFound)?;
        disk.names.insert(to.to_owned(), inode);
        disk.changes.push(Change::Move(from.to_owned(), to.to_owned(), inode));
        fault.map_or(Ok(()), |fault| Err(failure(fault)))
    }

    fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
        Err(ErrorKind::Unsupported.into())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        if let Some(fault) = disk.step("unlink", path) {
            return Err(failure(fault));
        }
        disk.names.remove(path).ok_or(ErrorKind::NotFound)?;
        disk.changes.push(Change::Unlink(path.to_owned()));
        Ok(())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        if let Some(fault) = disk.step("create_dir", path) {
            return Err(failure(fault));
        }
        disk.directories.insert(path.to_owned());
        Ok(())
    }

    fn remove_dir(&self, _path: &Path) -> io::Result<()> {
        unreachable!("the log removes no directory")
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.lock();
        if let Some(fault) = disk.step("sync_dir", path) {
            return Err(failure(fault));
        }
        let within = |file: &Path| file.parent() == Some(path);
        let changes = std::mem::take(&mut disk.changes);
        let moved: BTreeSet<PathBuf> = changes
            .iter()
            .filter_map(|change| match change {
                Change::Move(from, to, _) if within(to) => Some(from.clone()),
                _ => None,
            })
            .collect();
        for change in changes {
            // A name that was moved away durably cannot come back.
            if matches!(&change, Change::Link(file, _) if moved.contains(file)) {
                continue;
            }
            let covered = match &change {
                Change::Link(file, _) | Change::Unlink(file) => within(file),
                Change::Move(_, to, _) => within(to),
            };
            if covered {
                disk.apply(change);
            } else {
                disk.changes.push(change);
            }
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let disk = self.lock();
        if disk.halted {
            return Err(failure(Fault::Crash));
        }
        if !disk.directories.contains(path) {
            return Err(ErrorKind::NotFound.into());
        }
        let names = disk.names.keys().filter(|file| file.parent() == Some(path));
        let entry = |file: &PathBuf| DirEntry {
            name: file.file_name().expect("files have names").to_string_lossy().into_owned(),
            kind: DirEntryKind::File,
        };
        Ok(names.map(entry).collect())
    }

    fn lock(&self, _path: &Path, _holder: &str) -> Result<LockGuard, LockError> {
        unreachable!("the log takes no lock")
    }

    fn is_locked(&self, _path: &Path) -> io::Result<bool> {
        Ok(false)
    }
}

impl MemFile {
    fn write(&self, bytes: &[u8], offset: usize, disk: &mut Disk) {
        let inode = &mut disk.inodes[self.inode];
        let end = offset + bytes.len();
        if inode.cache.len() < end {
            inode.cache.resize(end, 0);
            inode.dirty_len = true;
        }
        inode.cache[offset..end].copy_from_slice(bytes);
        inode.dirty.extend(offset / SECTOR..end.div_ceil(SECTOR));
    }
}

impl File for MemFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let disk = self.disk.lock();
        if disk.halted {
            return Err(failure(Fault::Crash));
        }
        let bytes = disk.inodes[self.inode].cache.get(offset as usize..).unwrap_or(&[]);
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let fault = disk.step("write", Path::new(&format!("{}@{offset}+{}", self.inode, bytes.len())));
        match fault {
            None => self.write(bytes, offset as usize, &mut disk),
            Some(Fault::Crash) => {}
            // A part of it, not aligned to anything.
            Some(_) => self.write(&bytes[..bytes.len() * 5 / 8], offset as usize, &mut disk),
        }
        fault.map_or(Ok(()), |fault| Err(failure(fault)))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let fault = disk.step("allocate", Path::new(&self.inode.to_string()));
        if let Some(fault) = fault {
            return Err(failure(fault));
        }
        let from = disk.inodes[self.inode].cache.len();
        self.write(&vec![0; (length as usize).saturating_sub(from)], from, &mut disk);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let fault = disk.step("sync", Path::new(&self.inode.to_string()));
        let inode = &mut disk.inodes[self.inode];
        match fault {
            Some(Fault::Crash | Fault::CrashInside) => {}
            // As Linux does it: what could not be written is clean afterwards, and lost without a further error.
            Some(_) => inode.dirty.clear(),
            None => {
                inode.durable.resize(inode.cache.len(), 0);
                inode.dirty_len = false;
                for sector in std::mem::take(&mut inode.dirty) {
                    let range = sector * SECTOR..((sector + 1) * SECTOR).min(inode.cache.len());
                    inode.durable[range.clone()].copy_from_slice(&inode.cache[range]);
                }
            }
        }
        fault.map_or(Ok(()), |fault| Err(failure(fault)))
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.lock().inodes[self.inode].cache.len() as u64)
    }
}

pub(crate) const ROOT_ID: [u8; 16] = *b"root-id-16-bytes";

pub(crate) fn place() -> Place {
    Place {
        directory: "/r/wal".into(),
        temporary: "/r/tmp".into(),
        quarantine: "/r/quarantine".into(),
        root_id: ROOT_ID,
    }
}

pub(crate) fn small() -> Options {
    Options {
        first_segment_bytes: 8 << 10,
        segment_bytes_max: 16 << 10,
        log_bytes_max: 1 << 20,
        record_bytes_max: 64 << 10,
        queue_bytes_max: 128 << 10,
    }
}

/// Records by LSN: kind and payload.
pub(crate) type Records = BTreeMap<u64, (u8, Vec<u8>)>;

/// Opens, and collects the records; they must come in order.
pub(crate) fn open(vfs: &MemVfs) -> Result<(Wal, RecoveryReport, Records), WalError> {
    open_with(vfs, &small(), Lsn(0))
}

pub(crate) fn open_with(
    vfs: &MemVfs,
    options: &Options,
    floor: Lsn,
) -> Result<(Wal, RecoveryReport, Records), WalError> {
    let mut records = Records::new();
    let mut last = 0;
    let mut collect = |record: Record<'_>| {
        assert!(record.lsn.0 > last, "in order, each once");
        last = record.lsn.0;
        records.insert(last, (record.kind, record.payload.to_vec()));
    };
    let entropy = SimEntropy::new(1);
    let (wal, report) = Wal::open(Arc::new(vfs.clone()), &entropy, place(), options, floor, &mut collect)?;
    assert_eq!(report.records, records.len() as u64);
    Ok((wal, report, records))
}
