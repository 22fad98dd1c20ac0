//! The directory that an export is written into, and its files.
//!
//! A file has `.partial` behind its name until it is whole and durable; all names are made durable before the manifest
//! is written. What is written of an export that fails is removed.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use annals::vfs::{DirEntryKind, Draft, File, PublishError, Vfs, publish};
use aws_lc_rs::digest::{Context, SHA256};

use crate::error::ExportError;
use crate::manifest::MANIFEST_NAME;

/// How much is written at a time.
const WRITE_BYTES: usize = 256 << 10;

/// A directory that is being filled.
pub(crate) struct Destination<'v> {
    vfs: &'v dyn Vfs,
    root: PathBuf,
    /// Made by this export, each after the one that it lies in.
    made: Vec<PathBuf>,
    /// Files, under the names that they have now.
    files: BTreeSet<PathBuf>,
}

/// A file that is being written.
pub(crate) struct Output {
    file: Box<dyn File>,
    draft: PathBuf,
    name: String,
    buffer: Vec<u8>,
    written: u64,
    digest: Context,
}

/// A file that is whole and durable.
pub(crate) struct Whole {
    /// Relative to the directory, with `/` between.
    pub(crate) name: String,
    pub(crate) bytes: u64,
    pub(crate) sha256: String,
}

impl<'v> Destination<'v> {
    /// Takes a directory that is empty or not there yet; the one that it lies in must be there.
    pub(crate) fn new(vfs: &'v dyn Vfs, root: &Path) -> Result<Destination<'v>, ExportError> {
        let mut made = Vec::new();
        match vfs.create_dir(root) {
            Ok(()) => made.push(root.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let entries = vfs.list(root).map_err(ExportError::io("look into", root))?;
                let directory = root.to_owned();
                if entries.iter().any(|e| e.name == MANIFEST_NAME && e.kind == DirEntryKind::File) {
                    return Err(ExportError::Exists { directory });
                }
                if !entries.is_empty() {
                    return Err(ExportError::NotEmpty { directory });
                }
            }
            Err(error) => return Err(ExportError::io("create", root)(error)),
        }
        Ok(Destination { vfs, root: root.to_owned(), made, files: BTreeSet::new() })
    }

    /// Starts a file, whose name has `/` between its directories.
    pub(crate) fn create(&mut self, name: &str) -> Result<Output, ExportError> {
        for (end, _) in name.match_indices('/') {
            let directory = self.root.join(name.get(..end).unwrap_or_default());
            if !self.made.contains(&directory) {
                self.vfs.create_dir(&directory).map_err(ExportError::io("create", &directory))?;
                self.made.push(directory);
            }
        }
        let draft = self.root.join(format!("{name}.partial"));
        let file = self.vfs.create(&draft).map_err(ExportError::io("create", &draft))?;
        self.files.insert(draft.clone());
        let digest = Context::new(&SHA256);
        Ok(Output { file, draft, name: name.to_owned(), buffer: Vec::new(), written: 0, digest })
    }

    /// Makes a file's bytes durable and gives it its name.
    pub(crate) fn finish(&mut self, mut output: Output) -> Result<Whole, ExportError> {
        let draft = output.draft.clone();
        let synced = output.write_out().and_then(|()| output.file.sync());
        synced.map_err(ExportError::io("write", &draft))?;
        let path = self.root.join(&output.name);
        self.vfs.rename(&draft, &path).map_err(ExportError::io("rename", &draft))?;
        self.files.remove(&draft);
        self.files.insert(path);
        let sha256 = hexadecimal(output.digest.finish().as_ref());
        Ok(Whole { name: output.name, bytes: output.written, sha256 })
    }

    /// Writes the manifest, once all else is durable.
    pub(crate) fn finish_all(&mut self, manifest: &[u8]) -> Result<(), ExportError> {
        for directory in self.made.iter().rev().chain([&self.root]) {
            self.vfs.sync_dir(directory).map_err(ExportError::io("sync", directory))?;
        }
        if self.made.contains(&self.root) {
            let outside = match self.root.parent() {
                Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
                Some(parent) => parent,
                None => &self.root,
            };
            self.vfs.sync_dir(outside).map_err(ExportError::io("sync", outside))?;
        }
        let path = self.root.join(MANIFEST_NAME);
        let draft = Draft {
            draft: self.root.join(format!("{MANIFEST_NAME}.partial")),
            directory: self.root.clone(),
            name: MANIFEST_NAME.to_owned(),
            bytes: manifest,
        };
        // A manifest of which that is not known whether it is durable goes first when the rest is removed.
        publish(self.vfs, &[draft]).map_err(|error| match error {
            PublishError::Nothing(source) | PublishError::Indeterminate(source) => {
                ExportError::io("write", &path)(source)
            }
        })
    }

    /// Removes what was written, as far as that goes.
    pub(crate) fn discard(self) {
        let _ = self.vfs.unlink(&self.root.join(MANIFEST_NAME));
        self.files.iter().for_each(|file| drop(self.vfs.unlink(file)));
        self.made.iter().rev().for_each(|directory| drop(self.vfs.remove_dir(directory)));
    }
}

impl Output {
    /// Where it is until it is whole.
    pub(crate) fn draft(&self) -> &Path {
        &self.draft
    }

    fn write_out(&mut self) -> io::Result<()> {
        self.file.write_at(&self.buffer, self.written)?;
        self.digest.update(&self.buffer);
        self.written += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= WRITE_BYTES {
            self.write_out()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Bytes in hexadecimal.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
