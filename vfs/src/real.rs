//! The operating system's file system (Unix).

use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use crate::traits::{DirEntry, DirEntryKind, File, LockError, LockGuard, Sealed, Vfs};

/// How much of a lock file is read to name its holder.
const HOLDER_BYTES_MAX: u64 = 256;
/// How much is zero-filled by one write.
const ZEROS_BYTES: usize = 1 << 20;

/// Files of the machine that this runs on.
#[derive(Debug, Default, Clone, Copy)]
pub struct RealVfs;

struct RealFile(fs::File);

impl Vfs for RealVfs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        Ok(Box::new(RealFile(open_regular(path)?)))
    }

    fn map_sealed(&self, path: &Path) -> io::Result<Sealed> {
        let file = open_regular(path)?;
        if file.metadata()?.len() == 0 {
            return Ok(Sealed::new(Vec::new()));
        }
        map(&file)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        // Only the holder of the root's lock renames, so nobody can slip in between the two calls.
        match fs::symlink_metadata(to) {
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => fs::rename(from, to),
            Err(error) => Err(error),
        }
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new().mode(0o700).create(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        fs::File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = fs::read_dir(path)?
            .map(|entry| {
                let entry = entry?;
                let file_type = entry.file_type()?;
                let kind = if file_type.is_file() {
                    DirEntryKind::File
                } else if file_type.is_dir() {
                    DirEntryKind::Directory
                } else {
                    DirEntryKind::Other
                };
                Ok(DirEntry { name: entry.file_name().to_string_lossy().into_owned(), kind })
            })
            .collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        Ok(entries)
    }

    fn lock(&self, path: &Path, holder: &str) -> Result<LockGuard, LockError> {
        let io_error = |source| LockError::Io { path: path.to_owned(), source };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(io_error)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = Vec::new();
                file.take(HOLDER_BYTES_MAX).read_to_end(&mut text).map_err(io_error)?;
                let holder = String::from_utf8_lossy(&text).trim().to_owned();
                return Err(LockError::Held { path: path.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => return Err(io_error(source)),
        }
        file.set_len(0).and_then(|()| (&file).write_all(holder.as_bytes())).map_err(io_error)?;
        Ok(LockGuard(Box::new(file)))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl File for RealFile {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < into.len() {
            match self.0.read_at(&mut into[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn allocate(&self, length: u64) -> io::Result<()> {
        let zeros = vec![0; ZEROS_BYTES.min(usize::try_from(length).unwrap_or(ZEROS_BYTES))];
        let mut at = self.len()?;
        while at < length {
            let count = zeros.len().min(usize::try_from(length - at).unwrap_or(ZEROS_BYTES));
            self.0.write_all_at(&zeros[..count], at)?;
            at += count as u64;
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        // fdatasync also writes the length, and is what preallocated files need.
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Opens without following a link at the end of the path, and refuses all but regular files.
fn open_regular(path: &Path) -> io::Result<fs::File> {
    // Looked at before opening: opening a pipe would wait for its writer.
    let before = fs::symlink_metadata(path)?;
    if !before.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = fs::File::open(path)?;
    use std::os::unix::fs::MetadataExt;
    let opened = file.metadata()?;
    if (opened.dev(), opened.ino()) != (before.dev(), before.ino()) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok(file)
}

#[expect(unsafe_code, reason = "the one place where files are mapped")]
fn map(file: &fs::File) -> io::Result<Sealed> {
    // SAFETY: only published files are mapped: they are never written or truncated again, and removed only by
    // unlink, which leaves existing mappings valid. The root's lock keeps other writers out.
    let mapping = unsafe { memmap2::Mmap::map(file)? };
    Ok(Sealed::new(mapping))
}
