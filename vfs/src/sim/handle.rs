//! Handles of a simulated disk: open files and held locks. Those of before a cut or crash are dead.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::content::Content;
use super::disk::{Change, Disk, InodeId};
use super::fault::{Fate, SimCrash, SimError, SimOp};
use super::rules::Deed;
use crate::traits::File;

const EBADF: i32 = 9;

/// An open file of one epoch.
pub(super) struct SimFile {
    pub(super) disk: Arc<Mutex<Disk>>,
    pub(super) inode: InodeId,
    pub(super) epoch: u64,
    pub(super) path: PathBuf,
    pub(super) writable: bool,
}

impl SimFile {
    /// Counts a call and decides its fate; a handle of before a cut or crash is dead.
    #[track_caller]
    fn enter(&self, disk: &mut Disk, op: SimOp, len: u64) -> io::Result<Fate> {
        if self.epoch == disk.epoch {
            Ok(disk.gate.enter(op, &self.path, len))
        } else {
            Err(SimError::Io.to_io())
        }
    }

    /// Tells the rules of a failure.
    fn noted(&self, disk: &mut Disk, result: io::Result<()>) -> io::Result<()> {
        if result.is_err() {
            disk.note_failure(self.inode);
        }
        result
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable { Ok(()) } else { Err(io::Error::from_raw_os_error(EBADF)) }
    }
}

impl File for SimFile {
    #[track_caller]
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.disk.lock();
        let fate = self.enter(&mut disk, SimOp::ReadAt, into.len() as u64)?;
        if let Some(part) = fate.part_of(into.len() as u64) {
            disk.file(self.inode).volatile.read(&mut into[..part as usize], offset);
        }
        fate.of_whole(|| {
            let count = disk.file(self.inode).volatile.read(into, offset);
            if !disk.decays.is_empty() {
                disk.decay_read(self.inode, &self.path, &mut into[..count], offset)?;
            }
            Ok(count)
        })
    }

    #[track_caller]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let fate = self.enter(&mut disk, SimOp::WriteAt, bytes.len() as u64)?;
        if bytes.is_empty() {
            return fate.of_whole(|| Ok(()));
        }
        self.check_writable()?;
        disk.judge_change(self.inode, Deed::Writes, &self.path);
        if let Some(part) = fate.part_of(bytes.len() as u64) {
            // Where not even that fits, the call fails all the same.
            let _ = write(&mut disk, self.inode, &self.path, &bytes[..part as usize], offset);
        }
        let written = match fate {
            Fate::StopsWithin => Err(io::Error::other(SimCrash)),
            fate => fate.of_whole(|| write(&mut disk, self.inode, &self.path, bytes, offset)),
        };
        self.noted(&mut disk, written)
    }

    #[track_caller]
    fn allocate(&self, length: u64) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let fate = self.enter(&mut disk, SimOp::Allocate, length)?;
        let before = disk.file(self.inode).volatile.len();
        if length <= before {
            return fate.of_whole(|| Ok(()));
        }
        self.check_writable()?;
        disk.judge_change(self.inode, Deed::Writes, &self.path);
        if let Some(part) = fate.part_of(length - before) {
            let _ = grow(&mut disk, self.inode, before + part);
        }
        let grown = match fate {
            Fate::StopsWithin => Err(io::Error::other(SimCrash)),
            fate => fate.of_whole(|| grow(&mut disk, self.inode, length)),
        };
        self.noted(&mut disk, grown)
    }

    #[track_caller]
    fn sync(&self) -> io::Result<()> {
        let mut disk = self.disk.lock();
        let fate = self.enter(&mut disk, SimOp::Sync, 0)?;
        disk.judge_change(self.inode, Deed::Syncs, &self.path);
        if matches!(fate, Fate::Fails(error) if error.drops_unsynced()) {
            disk.fail_sync(self.inode);
        }
        let synced = fate.of_whole(|| {
            if !disk.has_space_for_unsynced(self.inode) {
                disk.fail_sync(self.inode);
                return Err(disk.refuse(SimError::NoSpace));
            }
            disk.sync_file(self.inode);
            Ok(())
        });
        self.noted(&mut disk, synced)
    }

    #[track_caller]
    fn len(&self) -> io::Result<u64> {
        let mut disk = self.disk.lock();
        self.enter(&mut disk, SimOp::Len, 0)?.of_whole(|| Ok(disk.file(self.inode).volatile.len()))
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        let mut disk = self.disk.lock();
        if self.epoch == disk.epoch {
            disk.file_mut(self.inode).handles -= 1;
        }
    }
}

/// A held lock of one epoch.
pub(super) struct SimLock {
    pub(super) disk: Arc<Mutex<Disk>>,
    pub(super) inode: InodeId,
    pub(super) token: u64,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = self.disk.lock();
        // After a cut the lock may be another's.
        if disk.locks.get(&self.inode) == Some(&self.token) {
            disk.locks.remove(&self.inode);
        }
    }
}

/// Writes what fits.
pub(super) fn write(
    disk: &mut Disk,
    inode: InodeId,
    path: &Path,
    bytes: &[u8],
    offset: u64,
) -> io::Result<()> {
    let end = Content::end_of(offset, bytes.len())?;
    let len = disk.file(inode).volatile.len();
    let fits = match disk.free_now() {
        Some(free) if end > len && end - len > free => {
            let fits_through = len.saturating_add(free);
            &bytes[..usize::try_from(fits_through.saturating_sub(offset)).unwrap_or(0).min(bytes.len())]
        }
        _ => bytes,
    };
    if !fits.is_empty() && disk.decays.is_empty() {
        disk.change_file(inode, Change::Write { offset, bytes: fits.into() });
    } else if !fits.is_empty() {
        disk.decay_write(inode, path, fits, offset);
    }
    if fits.len() == bytes.len() { Ok(()) } else { Err(disk.refuse(SimError::NoSpace)) }
}

/// Grows a file as far as space allows.
fn grow(disk: &mut Disk, inode: InodeId, length: u64) -> io::Result<()> {
    Content::end_of(length, 0)?;
    let len = disk.file(inode).volatile.len();
    let fits = disk.free_now().map_or(length, |free| length.min(len.saturating_add(free)));
    if fits > len {
        disk.change_file(inode, Change::Grow { len: fits });
    }
    if fits == length { Ok(()) } else { Err(disk.refuse(SimError::NoSpace)) }
}
