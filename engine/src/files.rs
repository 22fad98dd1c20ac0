//! Reading files whole: small ones into memory, any into a digest.

use std::io::{self, ErrorKind};
use std::path::Path;

use annals_vfs::{Sealed, Vfs, read_around};
use aws_lc_rs::digest::{Context, SHA256, digest};

/// Far above any catalogue or manifest; keeps a hostile length from being allocated.
const FILE_BYTES_MAX: u64 = 1 << 30;
/// How much of a file is read at a time to be digested or copied.
pub(crate) const READ_BYTES: usize = 1 << 20;

/// SHA-256 of a file's bytes.
pub(crate) type Digest = [u8; 32];

/// Reads a small file whole. What the device cannot read is left to the file's own checks.
pub(crate) fn read_whole(vfs: &dyn Vfs, path: &Path) -> io::Result<Vec<u8>> {
    let file = vfs.open(path)?;
    let length = file.len()?;
    if length > FILE_BYTES_MAX {
        return Err(io::Error::new(ErrorKind::InvalidData, "the file is too large to be one of ours"));
    }
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let count = read_around(&*file, &mut bytes, 0, &mut Vec::new())?;
    bytes.truncate(count);
    Ok(bytes)
}

/// The digest of a file.
pub(crate) fn digest_file(vfs: &dyn Vfs, path: &Path) -> io::Result<Digest> {
    let file = Sealed::positioned(vfs.open(path)?)?;
    let (mut context, mut part) = (Context::new(&SHA256), Vec::new());
    for start in (0..file.len()).step_by(READ_BYTES) {
        file.copy(start..file.len().min(start + READ_BYTES), &mut part)?;
        context.update(&part);
    }
    Ok(to_digest(context.finish().as_ref()))
}

/// The digest of bytes.
pub(crate) fn digest_bytes(bytes: &[u8]) -> Digest {
    to_digest(digest(&SHA256, bytes).as_ref())
}

fn to_digest(bytes: &[u8]) -> Digest {
    let mut digest = [0; 32];
    digest.copy_from_slice(bytes);
    digest
}
