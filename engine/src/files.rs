//! Writing files so that they appear whole or not at all, many at a time.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use annals_vfs::Vfs;

/// Far above any catalogue or manifest; keeps a hostile length from being allocated.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// How much of a file is read at a time while it is checked.
const READ_BYTES: usize = 1 << 20;

/// A file to be published.
pub(crate) struct Draft<'a> {
    /// Its path while temporary; on the same file system.
    pub(crate) draft: PathBuf,
    /// Where it goes.
    pub(crate) directory: PathBuf,
    /// Its name there.
    pub(crate) name: String,
    pub(crate) bytes: &'a [u8],
}

/// Why files were not published.
#[derive(Debug)]
pub(crate) enum PublishError {
    /// Before any file had its final name: nothing happened, a later try may succeed.
    Nothing(io::Error),
    /// It is open which of the files are there and durable: only a reopen can tell.
    Indeterminate(io::Error),
}

impl PublishError {
    pub(crate) fn into_source(self) -> io::Error {
        match self {
            PublishError::Nothing(source) | PublishError::Indeterminate(source) => source,
        }
    }
}

/// Writes, syncs and reads back each file, then renames all, then syncs each directory once.
pub(crate) fn publish_all(vfs: &dyn Vfs, files: &[Draft<'_>]) -> Result<(), PublishError> {
    for (index, file) in files.iter().enumerate() {
        if let Err(error) = write_draft(vfs, file) {
            for written in files.iter().take(index + 1) {
                // What cannot be removed now is removed at the next open.
                let _ = vfs.unlink(&written.draft);
            }
            return Err(PublishError::Nothing(error));
        }
    }
    let mut directories = BTreeSet::new();
    for file in files {
        vfs.rename(&file.draft, &file.directory.join(&file.name)).map_err(PublishError::Indeterminate)?;
        directories.insert(file.directory.as_path());
        directories.extend(file.draft.parent());
    }
    directories
        .into_iter()
        .try_for_each(|directory| vfs.sync_dir(directory))
        .map_err(PublishError::Indeterminate)
}

fn write_draft(vfs: &dyn Vfs, file: &Draft<'_>) -> io::Result<()> {
    let handle = match vfs.create(&file.draft) {
        // Of an earlier try that could not even remove it. Drafts are ours: the root is locked.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            vfs.unlink(&file.draft)?;
            vfs.create(&file.draft)?
        }
        created => created?,
    };
    handle.write_at(file.bytes, 0)?;
    handle.sync()?;
    drop(handle);
    // A fresh handle: what later readers will see, not what was handed to the writer.
    let back = vfs.open(&file.draft)?;
    let mut buffer = vec![0; READ_BYTES.min(file.bytes.len())];
    let mut at = 0u64;
    for expected in file.bytes.chunks(READ_BYTES) {
        let Some(part) = buffer.get_mut(..expected.len()) else { break };
        if back.read_at(part, at)? != expected.len() || part != expected {
            return Err(io::Error::new(
                ErrorKind::InvalidData,
                "the file reads back otherwise than it was written",
            ));
        }
        at += expected.len() as u64;
    }
    Ok(())
}

/// Reads a small file whole.
pub(crate) fn read_whole(vfs: &dyn Vfs, path: &Path) -> io::Result<Vec<u8>> {
    let file = vfs.open(path)?;
    let length = file.len()?;
    if length > FILE_BYTES_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, "the file is too large to be one of ours"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let count = file.read_at(&mut bytes, 0)?;
    bytes.truncate(count);
    Ok(bytes)
}
