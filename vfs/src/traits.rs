//! The operations that Annals needs of a file system, and no others, so that each can be simulated.

use std::fmt;
use std::io;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file system. Paths are used as given; links are never followed at their last component.
///
/// Calls know the place that makes them (`#[track_caller]`), so that a simulated disk can say which places have seen
/// it fail.
pub trait Vfs: Send + Sync + 'static {
    /// Creates a file that must not exist, for writing and reading, private to its owner.
    #[track_caller]
    fn create(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Opens a regular file for reading. Anything else at that path is refused.
    #[track_caller]
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Maps a whole regular file that will never change again: published files only.
    #[track_caller]
    fn map_sealed(&self, path: &Path) -> io::Result<Sealed>;

    /// Gives a file another name. A file that has the new name already is an error, never replaced.
    #[track_caller]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a regular file another name beside the one that it has: both are the same file. An error where the name is
    /// taken, and where the two lie on different file systems or theirs has no such names.
    #[track_caller]
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name. Mappings and open files stay readable.
    #[track_caller]
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory whose parent exists. An error where it exists already.
    #[track_caller]
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    #[track_caller]
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    #[track_caller]
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// What a directory holds, by ascending name.
    #[track_caller]
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// Takes the lock file at `path` for this process, creating it where needed, and writes `holder` into it.
    #[track_caller]
    fn lock(&self, path: &Path, holder: &str) -> Result<LockGuard, LockError>;

    /// Whether some process holds the lock file at `path` now.
    #[track_caller]
    fn is_locked(&self, path: &Path) -> io::Result<bool>;
}

/// An open file. Offsets are explicit; nothing appends.
pub trait File: Send + Sync {
    /// Reads at an offset until `into` is full or the file ends; returns how many bytes were read: fewer than asked
    /// for only where the file ends. After an error, what `into` holds is unknown.
    #[track_caller]
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes` at an offset. After an error, what the file holds there is unknown.
    #[track_caller]
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the file at least `length` bytes long by writing zeros, so that later writes need no new space.
    #[track_caller]
    fn allocate(&self, length: u64) -> io::Result<()>;

    /// Makes all written bytes and the length durable. After an error the file must not be used again: a later
    /// success would prove nothing.
    #[track_caller]
    fn sync(&self) -> io::Result<()>;

    /// The file's length in bytes.
    #[track_caller]
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds no bytes.
    #[track_caller]
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// An entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// Its name, with what is not UTF-8 replaced: such a name is never one of ours.
    pub name: String,
    /// What it is.
    pub kind: DirEntryKind,
}

/// What a directory entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DirEntryKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A link, pipe, device or socket: never one of ours.
    Other,
}

/// The bytes of a published file, which never change: mapped, held, or read from the file each time. Cheap to clone.
///
/// Whoever reads gets a copy, so that what is checked is what is used.
#[derive(Clone)]
pub struct Sealed(Bytes);

#[derive(Clone)]
enum Bytes {
    Held(Arc<dyn Deref<Target = [u8]> + Send + Sync>),
    File(Arc<dyn File>, usize),
}

impl Sealed {
    /// Wraps what derefs to the bytes: a mapping, a vector.
    pub fn new(bytes: impl Deref<Target = [u8]> + Send + Sync + 'static) -> Sealed {
        Sealed(Bytes::Held(Arc::new(bytes)))
    }

    /// Wraps what others hold on to as well.
    pub(crate) fn shared(bytes: Arc<impl Deref<Target = [u8]> + Send + Sync + 'static>) -> Sealed {
        Sealed(Bytes::Held(bytes))
    }

    /// Reads from an open file: a disk that fails is an error then, where a mapping would end the process.
    pub fn positioned(file: Box<dyn File>) -> io::Result<Sealed> {
        let too_large = |_| io::Error::new(io::ErrorKind::FileTooLarge, "larger than memory can be");
        let bytes = usize::try_from(file.len()?).map_err(too_large)?;
        Ok(Sealed(Bytes::File(file.into(), bytes)))
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.0 {
            Bytes::Held(bytes) => bytes.len(),
            Bytes::File(_, bytes) => *bytes,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Replaces `into` by a copy of the bytes in a range. An error where the range goes past the end, or the file has
    /// become shorter, or the disk fails; `into` is empty then. Takes no memory for what is not there.
    pub fn copy(&self, range: Range<usize>, into: &mut Vec<u8>) -> io::Result<()> {
        let ended = || io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends before that");
        into.clear();
        match &self.0 {
            Bytes::Held(bytes) => into.extend_from_slice(bytes.get(range).ok_or_else(ended)?),
            Bytes::File(file, bytes) => {
                let count =
                    range.end.checked_sub(range.start).filter(|_| range.end <= *bytes).ok_or_else(ended)?;
                into.resize(count, 0);
                let read = file.read_at(into, range.start as u64);
                if !matches!(read, Ok(read) if read == count) {
                    into.clear();
                    read?;
                    return Err(ended());
                }
            }
        }
        Ok(())
    }

    /// A copy of all of it.
    pub fn to_vec(&self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.copy(0..self.len(), &mut all)?;
        Ok(all)
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes)", self.len())
    }
}

/// A held lock; it is released when this is dropped or the process ends, however it ends.
pub struct LockGuard(
    #[expect(dead_code, reason = "held for its drop")] pub(crate) Box<dyn std::any::Any + Send + Sync>,
);

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockGuard")
    }
}

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process, or this one, holds it.
    #[error("{} is held by {holder}", path.display())]
    Held {
        /// The lock file.
        path: PathBuf,
        /// What the holder wrote about itself.
        holder: String,
    },
    /// The lock file cannot be used.
    #[error("cannot lock {}: {source}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

/// How much of a lock file is read to name its holder.
pub(crate) const HOLDER_BYTES_MAX: usize = 256;

impl LockError {
    /// Names the holder by what the lock file says, which may be anything: it goes to a terminal.
    pub(crate) fn held(path: &Path, text: &[u8]) -> LockError {
        let text = String::from_utf8_lossy(&text[..text.len().min(HOLDER_BYTES_MAX)]);
        let holder = match text.replace(char::is_control, " ").trim() {
            // It has the lock and has not written yet.
            "" => "a process that has not named itself".to_owned(),
            named => named.to_owned(),
        };
        LockError::Held { path: path.to_owned(), holder }
    }
}
