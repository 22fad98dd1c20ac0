//! A disk whose every change is a moment at which another thread may go on: real ones take long.

use std::io;
use std::path::Path;

use super::thread;
use crate::traits::{DirEntry, File, LockError, LockGuard, Sealed, Vfs};

/// A file system at which a schedule may change threads: before and after every call that changes it.
///
/// Reads do not: they happen where another lock of the standard library may be held, which the checker does not know.
#[derive(Debug, Clone)]
pub struct Scheduled<V>(pub V);

struct ScheduledFile(Box<dyn File>);

fn around<T>(call: impl FnOnce() -> T) -> T {
    thread::yield_now();
    let done = call();
    thread::yield_now();
    done
}

impl<V: Vfs> Vfs for Scheduled<V> {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(ScheduledFile(around(|| self.0.create(path))?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        self.0.open(path)
    }

    fn map_sealed(&self, path: &Path) -> io::Result<Sealed> {
        self.0.map_sealed(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        around(|| self.0.rename(from, to))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        around(|| self.0.unlink(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        around(|| self.0.create_dir(path))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        around(|| self.0.remove_dir(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        around(|| self.0.sync_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.0.list(path)
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<LockGuard, LockError> {
        around(|| self.0.lock(path, holder))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        self.0.is_locked(path)
    }
}

impl File for ScheduledFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(into, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        around(|| self.0.write_at(bytes, offset))
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        around(|| self.0.allocate(length))
    }

    fn sync(&self) -> io::Result<()> {
        around(|| self.0.sync())
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}
