//! A file system of byte vectors that can only be read: cheap enough to be built anew for each of millions of damages.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals::vfs::{DirEntry, DirEntryKind, File, LockError, LockGuard, Sealed, SimVfs, Vfs};

/// Files by path; directories are what their paths imply, and those that are named.
#[derive(Clone, Default)]
pub(super) struct Memory {
    files: BTreeMap<PathBuf, Bytes>,
    directories: Vec<PathBuf>,
}

/// A file's content, shared.
#[derive(Clone)]
struct Bytes(Arc<Vec<u8>>);

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Memory {
    /// All files of a simulated disk, below a root.
    pub(super) fn of(vfs: &SimVfs, root: &Path) -> Memory {
        let read = |path: PathBuf| Some((path.clone(), Bytes(Arc::new(vfs.read_file(&path).ok()?))));
        let files = vfs.paths().into_iter().filter(|path| path.starts_with(root)).filter_map(read).collect();
        let directories = ["wal", "t", "keys", "quarantine", "tmp"].map(|name| root.join(name)).to_vec();
        Memory { files, directories }
    }

    pub(super) fn read(&self, path: &Path) -> Option<Arc<Vec<u8>>> {
        self.files.get(path).map(|bytes| bytes.0.clone())
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.files.keys().cloned().collect()
    }

    /// The same files, one of them with another content.
    pub(super) fn with(&self, path: &Path, bytes: Arc<Vec<u8>>) -> Memory {
        let mut changed = self.clone();
        changed.files.insert(path.to_owned(), Bytes(bytes));
        changed
    }

    /// Only the files below a directory.
    pub(super) fn below(&self, directory: &Path) -> Memory {
        let files = self.files.iter().filter(|(path, _)| path.starts_with(directory));
        Memory {
            files: files.map(|(path, bytes)| (path.clone(), bytes.clone())).collect(),
            ..Memory::default()
        }
    }
}

fn refused<T>() -> io::Result<T> {
    Err(ErrorKind::ReadOnlyFilesystem.into())
}

impl Vfs for Memory {
    fn create(&self, _: &Path) -> io::Result<Box<dyn File>> {
        refused()
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        match self.files.get(path) {
            Some(bytes) => Ok(Box::new(bytes.clone())),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn map_sealed(&self, path: &Path) -> io::Result<Sealed> {
        self.files.get(path).cloned().map(Sealed::new).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn link(&self, _: &Path, _: &Path) -> io::Result<()> {
        refused()
    }

    fn unlink(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn create_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn remove_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        refused()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries: Vec<DirEntry> = Vec::new();
        let named = self.directories.iter().map(|directory| (directory, false));
        for (below, is_file) in named.chain(self.files.keys().map(|file| (file, true))) {
            let Ok(rest) = below.strip_prefix(path) else { continue };
            let mut parts = rest.components();
            let Some(first) = parts.next() else { continue };
            let kind =
                if is_file && parts.next().is_none() { DirEntryKind::File } else { DirEntryKind::Directory };
            entries.push(DirEntry { name: first.as_os_str().to_string_lossy().into_owned(), kind });
        }
        if entries.is_empty() && !self.directories.iter().any(|directory| directory == path) {
            return Err(ErrorKind::NotFound.into());
        }
        entries.sort();
        entries.dedup();
        Ok(entries)
    }

    fn lock(&self, path: &Path, _: &str) -> Result<LockGuard, LockError> {
        Err(LockError::Io { path: path.to_owned(), source: ErrorKind::ReadOnlyFilesystem.into() })
    }

    fn is_locked(&self, _: &Path) -> io::Result<bool> {
        Ok(false)
    }
}

impl File for Bytes {
    fn read_at(&self, into: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        refused()
    }

    fn allocate(&self, _: u64) -> io::Result<()> {
        refused()
    }

    fn sync(&self) -> io::Result<()> {
        refused()
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}
