//! The operating system's file system (Unix).

use std::fs::{self, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use crate::traits::{DirEntry, DirEntryKind, File, HOLDER_BYTES_MAX, LockError, LockGuard, Sealed, Vfs};

/// How much is zero-filled by one write.
const ZEROS_BYTES: usize = 1 << 20;
/// How often a lock is tried, and how far apart: long against asking for a lock, short against starting up.
const LOCK_TRIES: u32 = 20;
const LOCK_TRY_EVERY: Duration = Duration::from_millis(5);

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
        // Asked first, so that a name that is taken is said to be so whatever `from` is. Who takes it in between is
        // refused by the kernel or, where that cannot, kept out by the root's lock.
        match fs::symlink_metadata(to) {
            Ok(_) => Err(ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == ErrorKind::NotFound => rename_to_free_name(from, to),
            Err(error) => Err(error),
        }
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        // Never a second name of a link, which would be another file's.
        drop(open_regular(from)?);
        fs::hard_link(from, to)
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
        // Opening anything else may wait for ever, or sync what is not meant.
        if !fs::metadata(path)?.is_dir() {
            return Err(ErrorKind::NotADirectory.into());
        }
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
        let file = open_lock_file(path).map_err(io_error)?;
        if !try_lock_patiently(&file).map_err(io_error)? {
            let mut text = Vec::new();
            file.take(HOLDER_BYTES_MAX as u64).read_to_end(&mut text).map_err(io_error)?;
            return Err(LockError::held(path, &text));
        }
        file.set_len(0).and_then(|()| (&file).write_all(holder.as_bytes())).map_err(io_error)?;
        Ok(LockGuard(Box::new(file)))
    }

    fn is_locked(&self, path: &Path) -> io::Result<bool> {
        let file = match open_regular(path) {
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
        // A read that stops before the end has failed: what is not given must not be taken for what is not there.
        let end = offset + filled as u64;
        if filled < into.len() && end < self.len()? && self.0.read_at(&mut [0], end)? == 0 {
            let what = format!("the system reads nothing at {end}, before the end of the file");
            return Err(io::Error::new(ErrorKind::UnexpectedEof, what));
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
        // The standard library tries again after EINTR, by which the kernel says that it has not begun: no error of
        // the device is swallowed by that, and any other error is given back at once.
        // fdatasync also writes the length, and is what preallocated files need.
        self.0.sync_data()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

/// Renames in one step that never replaces, where the kernel and the file system have it.
#[cfg(target_os = "linux")]
fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;

    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => fs::rename(from, to),
        renamed => Ok(renamed?),
    }
}

#[cfg(not(target_os = "linux"))]
fn rename_to_free_name(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)
}

/// Opens without following a link at the end of the path, and refuses all but regular files.
fn open_regular(path: &Path) -> io::Result<fs::File> {
    open_checked(path, OpenOptions::new().read(true))
}

/// Opens a lock file, creating it where nothing has its name. A link there is refused: its target would be
/// overwritten.
fn open_lock_file(path: &Path) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.clone().create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => open_checked(path, &options),
        opened => opened,
    }
}

fn open_checked(path: &Path, options: &OpenOptions) -> io::Result<fs::File> {
    // Looked at before opening: opening a pipe would wait for its other end.
    let before = fs::symlink_metadata(path)?;
    if !before.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = options.open(path)?;
    let opened = file.metadata()?;
    if (opened.dev(), opened.ino()) != (before.dev(), before.ino()) {
        return Err(io::Error::new(ErrorKind::InvalidInput, "the file was replaced while it was opened"));
    }
    Ok(file)
}

/// Takes the lock, or says that another has it.
///
/// Who only asks ([`Vfs::is_locked`]) takes a shared lock for an instant; some tries tell it from a holder, who
/// keeps the lock for good. A lock that is taken is exclusive either way.
fn try_lock_patiently(file: &fs::File) -> io::Result<bool> {
    for tries_left in (0..LOCK_TRIES).rev() {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::WouldBlock) if tries_left > 0 => std::thread::sleep(LOCK_TRY_EVERY),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(false)
}

#[expect(unsafe_code, reason = "the one place where files are mapped")]
fn map(file: &fs::File) -> io::Result<Sealed> {
    // SAFETY: only published files are mapped: they are never written or truncated again, and removed only by
    // unlink, which leaves existing mappings valid. The root's lock keeps other writers out.
    let mapping = unsafe { memmap2::Mmap::map(file)? };
    Ok(Sealed::new(mapping))
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// A file, an empty directory, a link to the file, a pipe.
    fn zoo() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::write(dir.path().join("file"), b"bytes").expect("written");
        fs::create_dir(dir.path().join("dir")).expect("created");
        std::os::unix::fs::symlink("file", dir.path().join("link")).expect("linked");
        let made = Command::new("mkfifo").arg(dir.path().join("pipe")).status().expect("mkfifo runs");
        assert!(made.success());
        dir
    }

    #[test]
    fn links_pipes_and_directories_are_refused_as_files() {
        let dir = zoo();
        assert!(RealVfs.open(&dir.path().join("file")).is_ok());
        for name in ["dir", "link", "pipe"] {
            let path = dir.path().join(name);
            assert_eq!(
                RealVfs.open(&path).err().map(|error| error.kind()),
                Some(ErrorKind::InvalidInput),
                "{name}"
            );
            assert!(RealVfs.map_sealed(&path).is_err(), "{name}");
            assert!(RealVfs.create(&path).is_err(), "{name}");
            assert!(RealVfs.lock(&path, "me").is_err(), "{name}");
            assert!(RealVfs.is_locked(&path).is_err(), "{name}");
        }
        assert!(RealVfs.sync_dir(&dir.path().join("pipe")).is_err());
        assert_eq!(fs::read(dir.path().join("file")).expect("still there"), b"bytes");
        let kinds: Vec<_> = RealVfs.list(dir.path()).expect("listed").into_iter().map(|e| e.kind).collect();
        use DirEntryKind::{Directory, File, Other};
        assert_eq!(kinds, [Directory, File, Other, Other]);
    }

    #[test]
    fn a_rename_replaces_nothing_not_even_a_dangling_link() {
        let dir = zoo();
        fs::write(dir.path().join("new"), b"new").expect("written");
        fs::remove_file(dir.path().join("file")).expect("removed");
        for name in ["dir", "link", "pipe", "new"] {
            let renamed = RealVfs.rename(&dir.path().join("new"), &dir.path().join(name));
            assert_eq!(renamed.map_err(|error| error.kind()), Err(ErrorKind::AlreadyExists), "{name}");
        }
        RealVfs.rename(&dir.path().join("new"), &dir.path().join("free")).expect("the name is free");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_name_that_is_taken_at_the_last_moment_is_not_replaced() {
        let dir = zoo();
        fs::write(dir.path().join("new"), b"new").expect("written");
        let renamed = rename_to_free_name(&dir.path().join("new"), &dir.path().join("file"));
        assert_eq!(renamed.map_err(|error| error.kind()), Err(ErrorKind::AlreadyExists));
        assert_eq!(fs::read(dir.path().join("file")).expect("still there"), b"bytes");
    }

    #[test]
    fn a_second_name_is_the_same_file_and_outlives_the_first() {
        let dir = zoo();
        let path = |name: &str| dir.path().join(name);
        RealVfs.link(&path("file"), &path("second")).expect("linked");
        for name in ["dir", "link", "pipe"] {
            assert!(RealVfs.link(&path(name), &path("third")).is_err(), "{name}");
            let taken = RealVfs.link(&path("second"), &path(name)).map_err(|error| error.kind());
            assert_eq!(taken, Err(ErrorKind::AlreadyExists), "{name}");
        }
        RealVfs.unlink(&path("file")).expect("removed");
        assert_eq!(fs::read(path("second")).expect("still there"), b"bytes");
    }

    #[test]
    fn what_is_created_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = |name: &str| dir.path().join(name);
        RealVfs.create(&path("file")).expect("created");
        RealVfs.create_dir(&path("dir")).expect("created");
        let guard = RealVfs.lock(&path("LOCK"), "me").expect("free");
        for (name, mode) in [("file", 0o600), ("dir", 0o700), ("LOCK", 0o600)] {
            let found = fs::metadata(path(name)).expect("there").permissions().mode();
            assert_eq!(found & 0o777, mode, "{name}");
        }
        drop(guard);
    }

    #[test]
    fn a_lock_excludes_names_its_holder_and_ends_with_its_guard() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("LOCK");
        assert!(!RealVfs.is_locked(&path).expect("no file, no lock"));
        let guard = RealVfs.lock(&path, "a holder with a long name").expect("free");
        drop(guard);
        let guard = RealVfs.lock(&path, "me, pid 7").expect("free");
        assert!(RealVfs.is_locked(&path).expect("asked"));
        let refused = RealVfs.lock(&path, "you").expect_err("held");
        assert!(matches!(&refused, LockError::Held { holder, .. } if holder == "me, pid 7"), "{refused}");
        drop(guard);
        assert!(!RealVfs.is_locked(&path).expect("asked"));
        RealVfs.lock(&path, "you").expect("free again");
    }

    #[test]
    fn a_lock_file_that_says_anything_is_named_without_control_characters() {
        let named = |text: &[u8]| match LockError::held(Path::new("LOCK"), text) {
            LockError::Held { holder, .. } => holder,
            LockError::Io { .. } => unreachable!("it is held"),
        };
        assert_eq!(named(b" \x1b[2Jpid 7\n"), "[2Jpid 7");
        assert_eq!(named(&[0; 300]), "a process that has not named itself");
        assert!(named(&[0xff; 1000]).chars().all(|c| c == '\u{fffd}'));
    }

    #[test]
    fn who_only_asks_does_not_keep_the_lock_from_its_taker() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("LOCK");
        drop(RealVfs.lock(&path, "first").expect("free"));
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let _ = RealVfs.is_locked(&path);
                }
            });
            let taken = (0..200).all(|_| RealVfs.lock(&path, "taker").is_ok());
            done.store(true, Ordering::Relaxed);
            assert!(taken);
        });
    }

    #[test]
    fn a_mapping_outlives_the_name() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("x");
        RealVfs.create(&path).and_then(|file| file.write_at(b"bytes", 0)).expect("written");
        let mapped = RealVfs.map_sealed(&path).expect("mapped");
        let positioned = RealVfs.open(&path).and_then(Sealed::positioned).expect("opened");
        RealVfs.unlink(&path).expect("unlinked");
        for sealed in [mapped, positioned] {
            assert_eq!(sealed.to_vec().expect("readable"), b"bytes");
            let mut part = vec![9];
            sealed.copy(1..3, &mut part).expect("inside");
            assert_eq!(part, b"yt");
            assert!(sealed.copy(3..6, &mut part).is_err() && part.is_empty());
            assert!(sealed.copy(4..usize::MAX, &mut part).is_err());
        }
        assert_eq!(RealVfs.create(&path).and_then(|file| file.len()).expect("created"), 0);
        assert!(RealVfs.map_sealed(&path).expect("an empty file maps").is_empty());
    }
}
