//! Bringing a published file to another place: by a second name where that can be had, else as a copy.

use std::io::{self, ErrorKind};
use std::path::Path;

use annals_vfs::Vfs;

use super::BackupError;
use crate::files::READ_BYTES;

/// How a file came to its place.
pub(crate) enum Brought {
    /// Both are one file.
    Linked,
    Copied,
    /// It cannot be had from where it is.
    Unread(io::Error),
}

/// Brings a file to a free name, whole; its name is durable once its directory is synced.
pub(crate) fn bring(vfs: &dyn Vfs, from: &Path, draft: &Path, to: &Path) -> Result<Brought, BackupError> {
    match vfs.link(from, to) {
        Ok(()) => return Ok(Brought::Linked),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Brought::Unread(error)),
        // Another file system, or one without such names: whatever it is, a copy tells more.
        Err(_) => {}
    }
    let source = match vfs.open(from) {
        Ok(source) => source,
        Err(error) => return Ok(Brought::Unread(error)),
    };
    let failed = |source| BackupError::io("write", to)(source);
    let copy = match vfs.create(draft) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            vfs.unlink(draft).and_then(|()| vfs.create(draft)).map_err(failed)?
        }
        created => created.map_err(failed)?,
    };
    let (mut part, mut at) = (vec![0; READ_BYTES], 0u64);
    loop {
        let count = match source.read_at(&mut part, at) {
            Ok(count) => count,
            Err(error) => {
                let _ = vfs.unlink(draft);
                return Ok(Brought::Unread(error));
            }
        };
        copy.write_at(part.get(..count).unwrap_or_default(), at).map_err(failed)?;
        at += count as u64;
        if count < part.len() {
            break;
        }
    }
    copy.sync().and_then(|()| vfs.rename(draft, to)).map_err(failed)?;
    Ok(Brought::Copied)
}
