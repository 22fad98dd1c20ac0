//! Reading small files.

use std::io::{self, ErrorKind};
use std::path::Path;

use annals_vfs::{Vfs, read_around};

/// Far above any catalogue or manifest; keeps a hostile length from being allocated.
const FILE_BYTES_MAX: u64 = 1 << 30;

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
