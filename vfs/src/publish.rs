//! Publishing: a file appears under its final name whole and durable, or not at all.

use std::io;
use std::path::Path;

use crate::Vfs;

/// Writes `bytes` as a new file `directory/name`, by way of `temporary/name`, and makes both durable.
///
/// The order: write, sync the file, rename, sync the directory, sync the temporary directory. An error before the
/// rename leaves at most a temporary file. An error of the rename or after it leaves open whether the file is
/// there; the caller must not reuse the name.
pub fn publish(
    vfs: &dyn Vfs,
    temporary: &Path,
    directory: &Path,
    name: &str,
    bytes: &[u8],
) -> io::Result<()> {
    let draft = temporary.join(name);
    // Where this fails, a file of that name is not ours to remove.
    let file = vfs.create(&draft)?;
    if let Err(error) = file.write_at(bytes, 0).and_then(|()| file.sync()) {
        // Best effort: what stays in the temporary directory is removed at the next open.
        drop(file);
        let _ = vfs.unlink(&draft);
        return Err(error);
    }
    vfs.rename(&draft, &directory.join(name))?;
    vfs.sync_dir(directory)?;
    vfs.sync_dir(temporary)
}
