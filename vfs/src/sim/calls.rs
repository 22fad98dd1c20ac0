//! The calls of the file system, as a simulated disk answers them.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

use super::SimVfs;
use super::disk::{Change, DirState, Disk, FileState, Inode, InodeId, NameChange};
use super::fault::SimOp;
use super::handle::{SimFile, SimLock, write};
use crate::traits::{DirEntry, DirEntryKind, File, LockError, LockGuard, Sealed, Vfs};

impl Vfs for SimVfs {
    #[track_caller]
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut disk = self.disk.lock();
        let inode = disk.gate.enter(SimOp::Create, path, 0).of_whole(|| {
            let at = disk.find_parent(path)?;
            if disk.entry(&at).is_some() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            disk.check_inode_fits()?;
            let inode = disk.add(at, Inode::File(FileState::default()));
            disk.judge_name(inode, path, true);
            Ok(inode)
        })?;
        Ok(self.open_handle(&mut disk, inode, path, true))
    }

    #[track_caller]
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let mut disk = self.disk.lock();
        let inode = disk.gate.enter(SimOp::Open, path, 0).of_whole(|| disk.find_file(path))?;
        Ok(self.open_handle(&mut disk, inode, path, false))
    }

    #[track_caller]
    fn map_sealed(&self, path: &Path) -> io::Result<Sealed> {
        let mut disk = self.disk.lock();
        disk.gate.enter(SimOp::MapSealed, path, 0).of_whole(|| {
            let inode = disk.find_file(path)?;
            let mut bytes = disk.file(inode).volatile.to_vec();
            disk.decay_read(inode, path, &mut bytes, 0)?;
            let file = disk.file_mut(inode);
            file.sealed = true;
            Ok(Sealed::shared(file.map(bytes)))
        })
    }

    #[track_caller]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.gate.enter(SimOp::Rename, to, 0).of_whole(|| {
            match disk.find(to) {
                Ok(_) => return Err(ErrorKind::AlreadyExists.into()),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            let inode = disk.find(from)?;
            let (from_at, to_at) = (disk.find_parent(from)?, disk.find_parent(to)?);
            if to.starts_with(from) {
                return Err(io::Error::new(ErrorKind::InvalidInput, "a directory cannot move into itself"));
            }
            disk.check_name_fits()?;
            disk.judge_name(inode, to, false);
            disk.change_names(NameChange::Rename { from: from_at, to: to_at, inode, loss_synced: false });
            Ok(())
        })
    }

    #[track_caller]
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.gate.enter(SimOp::Link, to, 0).of_whole(|| {
            let inode = disk.find_file(from)?;
            let at = disk.find_parent(to)?;
            if disk.entry(&at).is_some() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            disk.check_name_fits()?;
            disk.judge_name(inode, to, false);
            disk.change_names(NameChange::Add { at, inode });
            Ok(())
        })
    }

    #[track_caller]
    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.gate.enter(SimOp::Unlink, path, 0).of_whole(|| {
            let inode = disk.find(path)?;
            if matches!(disk.inode(inode), Inode::Directory(_)) {
                return Err(ErrorKind::IsADirectory.into());
            }
            let at = disk.find_parent(path)?;
            disk.judge_unlink(path);
            disk.change_names(NameChange::Remove { at, inode });
            Ok(())
        })
    }

    #[track_caller]
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.gate.enter(SimOp::CreateDir, path, 0).of_whole(|| {
            let at = disk.find_parent(path)?;
            if disk.entry(&at).is_some() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            disk.check_inode_fits()?;
            disk.add(at, Inode::Directory(DirState::default()));
            Ok(())
        })
    }

    #[track_caller]
    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.gate.enter(SimOp::RemoveDir, path, 0).of_whole(|| {
            let inode = disk.find(path)?;
            if !disk.dir_of(inode)?.volatile.is_empty() {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            let at = disk.find_parent(path)?;
            disk.change_names(NameChange::Remove { at, inode });
            Ok(())
        })
    }

    #[track_caller]
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk.lock();
        disk.gate.enter(SimOp::SyncDir, path, 0).of_whole(|| {
            let inode = disk.find(path)?;
            disk.dir_of(inode)?;
            disk.sync_dir(inode);
            disk.judge_durable_names(path);
            Ok(())
        })
    }

    #[track_caller]
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut disk = self.disk.lock();
        disk.gate.enter(SimOp::List, path, 0).of_whole(|| {
            let inode = disk.find(path)?;
            let entries = disk.dir_of(inode)?.volatile.iter();
            Ok(entries
                .map(|(name, &inode)| DirEntry {
                    name: name.clone(),
                    kind: match disk.inode(inode) {
                        Inode::File(_) => DirEntryKind::File,
                        Inode::Directory(_) => DirEntryKind::Directory,
                    },
                })
                .collect())
        })
    }

    #[track_caller]
    fn lock(&self, path: &Path, holder: &str) -> Result<LockGuard, LockError> {
        let io_error = |source| LockError::Io { path: path.to_owned(), source };
        let mut disk = self.disk.lock();
        let fate = disk.gate.enter(SimOp::Lock, path, holder.len() as u64);
        let inode = fate.of_whole(|| {
            let at = disk.find_parent(path)?;
            let inode = match disk.entry(&at) {
                Some(_) => disk.find_file(path)?,
                None => {
                    disk.check_inode_fits()?;
                    disk.add(at, Inode::File(FileState::default()))
                }
            };
            if !disk.locks.contains_key(&inode) {
                disk.change_file(inode, Change::Clear);
                write(&mut disk, inode, path, holder.as_bytes(), 0)?;
            }
            Ok(inode)
        });
        let inode = inode.map_err(io_error)?;
        match disk.take_lock(inode) {
            Some(token) => Ok(LockGuard(Box::new(SimLock { disk: Arc::clone(&self.disk), inode, token }))),
            None => Err(LockError::held(path, &disk.file(inode).volatile.to_vec())),
        }
    }

    #[track_caller]
    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let mut disk = self.disk.lock();
        disk.gate.enter(SimOp::IsLocked, path, 0).of_whole(|| match disk.find_file(path) {
            Ok(inode) => Ok(disk.locks.contains_key(&inode)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        })
    }
}

impl SimVfs {
    fn open_handle(&self, disk: &mut Disk, inode: InodeId, path: &Path, writable: bool) -> Box<dyn File> {
        disk.file_mut(inode).handles += 1;
        Box::new(SimFile {
            disk: Arc::clone(&self.disk),
            inode,
            epoch: disk.epoch,
            path: path.to_owned(),
            writable,
        })
    }
}
