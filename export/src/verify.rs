//! Checking an export: its manifest against its files, byte by byte.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use annals::vfs::{DirEntryKind, File, Vfs};
use aws_lc_rs::digest::{Context, SHA256, digest};

use crate::error::VerifyError;
use crate::manifest::{FileEntry, MANIFEST_NAME, MANIFEST_VERSION, Manifest};
use crate::output::hexadecimal;

/// A larger manifest is none.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;
/// How much of a file is read at a time.
const READ_BYTES: usize = 1 << 20;
/// Directories lie in each other at most so deep.
const DEPTH_MAX: usize = 4;

/// An export that was checked.
#[derive(Debug, Clone)]
pub struct Verified {
    /// What it says of itself.
    pub manifest: Manifest,
    /// SHA-256 of the manifest.
    pub sha256: String,
    /// What is not as it says; empty where all is.
    pub problems: Vec<Problem>,
}

/// A file that is not as the manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Its name in the directory.
    pub name: String,
    /// What is wrong.
    pub what: String,
}

/// Reads every file of an export and compares it with the manifest.
pub fn verify(vfs: &dyn Vfs, directory: &Path) -> Result<Verified, VerifyError> {
    let (manifest, sha256) = read_manifest(vfs, directory)?;
    let mut problems = Vec::new();
    let mut named: BTreeSet<&str> = BTreeSet::from([MANIFEST_NAME]);
    for file in &manifest.files {
        let mut problem = |what: String| problems.push(Problem { name: file.name.clone(), what });
        if !is_inside(&file.name) {
            problem("the manifest names a file that is not in the directory".to_owned());
            continue;
        }
        named.insert(&file.name);
        match check(vfs, &directory.join(&file.name), file) {
            Ok(None) => {}
            Ok(Some(what)) => problem(what),
            Err(error) => problem(format!("it cannot be read: {error}")),
        }
    }
    let mut found = Vec::new();
    list(vfs, directory, "", 0, &mut found)
        .map_err(|source| VerifyError::Io { path: directory.to_owned(), source })?;
    let foreign = found.into_iter().filter(|name| !named.contains(name.as_str()));
    let what = "the manifest does not name it";
    problems.extend(foreign.map(|name| Problem { name, what: what.to_owned() }));
    Ok(Verified { manifest, sha256, problems })
}

fn read_manifest(vfs: &dyn Vfs, directory: &Path) -> Result<(Manifest, String), VerifyError> {
    let path = directory.join(MANIFEST_NAME);
    let failed = |what: String| VerifyError::Manifest { path: path.clone(), what };
    let file = match vfs.open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(VerifyError::NoManifest { directory: directory.to_owned() });
        }
        Err(source) => return Err(VerifyError::Io { path, source }),
    };
    let mut bytes = Vec::new();
    let read = match file.len() {
        Ok(length) if length > MANIFEST_BYTES_MAX => {
            return Err(failed("it is too large for a manifest".to_owned()));
        }
        Ok(_) => read(&*file, &mut |part| bytes.extend_from_slice(part)),
        Err(error) => Err(error),
    };
    if let Err(source) = read {
        return Err(VerifyError::Io { path, source });
    }
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| {
        // Its own words would repeat what stands there.
        failed(format!("it is no manifest: line {}, column {}", error.line(), error.column()))
    })?;
    if manifest.annals_export != MANIFEST_VERSION {
        return Err(failed(format!(
            "its layout is version {}, and this program knows {MANIFEST_VERSION}",
            manifest.annals_export
        )));
    }
    Ok((manifest, hexadecimal(digest(&SHA256, &bytes).as_ref())))
}

/// What is wrong with a file.
fn check(vfs: &dyn Vfs, path: &Path, entry: &FileEntry) -> io::Result<Option<String>> {
    let file = match vfs.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some("it is missing".to_owned())),
        Err(error) => return Err(error),
    };
    let length = file.len()?;
    if length != entry.bytes {
        return Ok(Some(format!("it has {length} bytes, the manifest says {}", entry.bytes)));
    }
    let mut context = Context::new(&SHA256);
    read(&*file, &mut |part| context.update(part))?;
    let is_same = hexadecimal(context.finish().as_ref()) == entry.sha256;
    Ok((!is_same).then(|| "its bytes are not those that were written".to_owned()))
}

fn read(file: &dyn File, each: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    let mut at = 0u64;
    loop {
        let count = file.read_at(&mut buffer, at)?;
        each(buffer.get(..count).unwrap_or_default());
        at = at.saturating_add(count as u64);
        if count < buffer.len() {
            return Ok(());
        }
    }
}

/// Whether a name leads nowhere else.
fn is_inside(name: &str) -> bool {
    name.split('/').all(|part| !part.is_empty() && part != "." && part != ".." && !part.contains('\0'))
}

/// Names of all files.
fn list(
    vfs: &dyn Vfs,
    directory: &Path,
    prefix: &str,
    depth: usize,
    found: &mut Vec<String>,
) -> io::Result<()> {
    for entry in vfs.list(directory)? {
        let name = format!("{prefix}{}", entry.name);
        if entry.kind == DirEntryKind::Directory && depth < DEPTH_MAX {
            list(vfs, &directory.join(&entry.name), &format!("{name}/"), depth + 1, found)?;
        } else {
            found.push(name);
        }
    }
    Ok(())
}
