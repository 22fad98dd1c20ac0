//! Publishing: files appear under their final names whole and durable, or not at all.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::PathBuf;

use crate::Vfs;
use crate::planted::{Bug, planted};

/// How much of a file is read at a time while it is checked.
const READ_BYTES: usize = 1 << 20;

/// A file to be published.
#[derive(Debug)]
pub struct Draft<'a> {
    /// Its path while temporary; on the same file system.
    pub draft: PathBuf,
    /// Where it goes.
    pub directory: PathBuf,
    /// Its name there.
    pub name: String,
    /// What it holds.
    pub bytes: &'a [u8],
}

/// Why files were not published.
#[derive(Debug)]
pub enum PublishError {
    /// Before any file had its final name: nothing happened, a later try may succeed.
    Nothing(io::Error),
    /// It is open which of the files are there and durable: only a reopen can tell.
    Indeterminate(io::Error),
}

impl PublishError {
    /// What the system says.
    #[must_use]
    pub fn into_source(self) -> io::Error {
        match self {
            PublishError::Nothing(source) | PublishError::Indeterminate(source) => source,
        }
    }
}

/// Makes files appear under their final names whole and durable, or not at all.
///
/// The order: write, sync and read back each file; rename all; sync each directory once. An error before the first
/// rename leaves at most drafts, which it tries to remove. After [`PublishError::Indeterminate`] the names must not be
/// used again before a reopen.
pub fn publish(vfs: &dyn Vfs, files: &[Draft<'_>]) -> Result<(), PublishError> {
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
    for (index, file) in files.iter().enumerate() {
        let name = file.directory.join(&file.name);
        match vfs.rename(&file.draft, &name) {
            // A directory that could not grow.
            Err(error) if index == 0 && is_no_space(&error) && is_missing(vfs, &name) => {
                files.iter().for_each(|file| drop(vfs.unlink(&file.draft)));
                return Err(PublishError::Nothing(error));
            }
            renamed => renamed.map_err(PublishError::Indeterminate)?,
        }
        if !name_stays_unsynced(file) {
            directories.insert(file.directory.as_path());
        }
        directories.extend(file.draft.parent());
    }
    directories
        .into_iter()
        .try_for_each(|directory| vfs.sync_dir(directory))
        .map_err(PublishError::Indeterminate)
}

/// Whether an error says that the disk, or what this user may take of it, is full.
#[must_use]
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

fn is_missing(vfs: &dyn Vfs, path: &std::path::Path) -> bool {
    matches!(vfs.open(path), Err(error) if error.kind() == ErrorKind::NotFound)
}

fn name_stays_unsynced(file: &Draft<'_>) -> bool {
    let is_block = file.name.ends_with(".blk");
    planted(Bug::BlockNameNotSynced) && is_block || planted(Bug::ManifestNameNotSynced) && !is_block
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
    if planted(Bug::PublishSyncsTooEarly) {
        handle.sync()?;
    }
    handle.write_at(file.bytes, 0)?;
    if !planted(Bug::PublishSyncsTooEarly) && !planted(Bug::PublishNotSynced) {
        handle.sync()?;
    }
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
