//! Twin files: a small record that holds its content twice, in numbered generations.
//!
//! The catalogue, the manifests, the files of keys and what a backup consists of are twin files named `<stem>-<generation>`. A file is two equal halves, each
//! padded with zeros to a multiple of 4 KiB, so that one damaged sector leaves one half whole:
//!
//! | offset | bytes | field        | notes                                                    |
//! |-------:|------:|--------------|----------------------------------------------------------|
//! |      0 |     8 | `magic`      | `ANNTWIN1`                                               |
//! |      8 |     4 | `check`      | CRC-32 of all below up to the content's end              |
//! |     12 |     2 | `version`    | [`TWIN_VERSION`]                                         |
//! |     14 |     1 | `role`       | 1 catalogue, 2 manifest, 3 keys, 4 destroyed keys, 5 snapshot, 6 erased |
//! |     15 |     1 | `half`       | 0 or 1                                                   |
//! |     16 |     4 | `owner`      | the tenant's number; 0 where it is no tenant's           |
//! |     20 |    16 | `root`       | the root's id, so that files of another store are known  |
//! |     36 |     8 | `generation` | as in the file's name                                    |
//! |     44 |     4 | `length`     | bytes of content                                         |
//! |     48 |     - | `content`    | then zeros up to the end of the half                     |
//!
//! Little-endian. A file is written whole to the temporary directory, synced, renamed and its directory synced: a
//! file under a final name was whole once, so a bad check is rot and never a torn write.

use std::io;
use std::path::{Path, PathBuf};

use annals_model::bytes::{Cursor, PutBytes};
use annals_vfs::planted::{Bug, planted};
use annals_vfs::{DirEntryKind, Draft, PublishError, Vfs, publish};

use crate::files::read_whole;

/// How every twin file begins.
pub(crate) const MAGIC: &[u8; 8] = b"ANNTWIN1";
const TWIN_VERSION: u16 = 1;
const HEADER_BYTES: usize = 48;
const HALF_ALIGN: usize = 4096;

/// Which record a twin file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Catalogue,
    Manifest,
    /// A tenant's data keys, wrapped.
    Keys,
    /// What a key store has destroyed.
    DestroyedKeys,
    /// What a snapshot in a backup consists of.
    Snapshot,
    /// Whose files are gone from a backup.
    Erased,
}

/// Names one series of generations.
#[derive(Debug, Clone)]
pub(crate) struct TwinFiles {
    pub(crate) directory: PathBuf,
    pub(crate) role: Role,
    pub(crate) owner: u32,
}

/// What was read of the newest generation.
#[derive(Debug)]
pub(crate) struct TwinContent {
    pub(crate) generation: u64,
    pub(crate) root: [u8; 16],
    pub(crate) content: Vec<u8>,
    pub(crate) path: PathBuf,
    /// Older generations are there too.
    pub(crate) has_older: bool,
    /// One half is damaged: written afresh with the next change.
    pub(crate) half_damaged: Option<String>,
}

/// Why a twin file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TwinError {
    /// The disk refused.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Both copies of the content are damaged.
    #[error("{}: both copies are damaged ({what}); restore this file from a backup, nothing else was changed", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with each.
        what: String,
    },
    /// There is none, and files that only a store has are there.
    #[error("{}: there is no catalogue beside the data; restore it from a backup, nothing was changed", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A newer engine wrote it.
    #[error("{}: format version {found} is newer than this build reads ({TWIN_VERSION}); use a newer build", path.display())]
    VersionTooNew {
        /// The file.
        path: PathBuf,
        /// The file's version.
        found: u16,
    },
}

impl TwinError {
    /// Whether it is the disk that refused: a later try may succeed.
    pub(crate) fn is_io(&self) -> bool {
        matches!(self, TwinError::Io { .. })
    }

    /// Whether the file or its directory is not there.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, TwinError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn io(path: &Path, source: io::Error) -> TwinError {
        TwinError::Io { path: path.to_owned(), source }
    }
}

impl Role {
    const ALL: [Role; 6] =
        [Role::Catalogue, Role::Manifest, Role::Keys, Role::DestroyedKeys, Role::Snapshot, Role::Erased];

    fn tag(self) -> u8 {
        match self {
            Role::Catalogue => 1,
            Role::Manifest => 2,
            Role::Keys => 3,
            Role::DestroyedKeys => 4,
            Role::Snapshot => 5,
            Role::Erased => 6,
        }
    }

    fn stem(self) -> &'static str {
        match self {
            Role::Catalogue => "catalog",
            Role::Manifest => "manifest",
            Role::Keys => "keys",
            Role::DestroyedKeys => "destroyed",
            Role::Snapshot => "snapshot",
            Role::Erased => "erased",
        }
    }
}

impl TwinFiles {
    pub(crate) fn path(&self, generation: u64) -> PathBuf {
        self.directory.join(self.name(generation))
    }

    /// The file name of a generation.
    pub(crate) fn name(&self, generation: u64) -> String {
        format!("{}-{generation:08}", self.role.stem())
    }

    /// Which generations have a file, ascending.
    pub(crate) fn generations(&self, vfs: &dyn Vfs) -> Result<Vec<u64>, TwinError> {
        let entries = vfs.list(&self.directory).map_err(|e| TwinError::io(&self.directory, e))?;
        let mut generations: Vec<u64> = entries
            .iter()
            .filter(|entry| entry.kind == DirEntryKind::File)
            .filter_map(|entry| {
                let digits = entry.name.strip_prefix(self.role.stem())?.strip_prefix('-')?;
                let generation = digits.parse().ok()?;
                (self.name(generation) == entry.name).then_some(generation)
            })
            .collect();
        generations.sort_unstable();
        Ok(generations)
    }

    /// Reads the newest generation; `None` where there is none. Never falls back to an older one: that could show
    /// deleted data again.
    pub(crate) fn load(&self, vfs: &dyn Vfs) -> Result<Option<TwinContent>, TwinError> {
        let mut generations = self.generations(vfs)?;
        let Some(generation) = generations.pop() else { return Ok(None) };
        let content = match self.load_generation(vfs, generation) {
            Err(TwinError::Corrupt { .. }) if planted(Bug::OlderManifestTaken) && !generations.is_empty() => {
                self.load_generation(vfs, generations.last().copied().unwrap_or_default())?
            }
            loaded => loaded?,
        };
        Ok(Some(TwinContent { has_older: !generations.is_empty(), ..content }))
    }

    /// Reads one generation.
    pub(crate) fn load_generation(&self, vfs: &dyn Vfs, generation: u64) -> Result<TwinContent, TwinError> {
        let path = self.path(generation);
        let bytes = read_whole(vfs, &path).map_err(|e| TwinError::io(&path, e))?;
        decode(self.role, self.owner, Some(generation), &bytes, path)
    }

    /// Makes `content` the newest generation, durable before this returns, and removes old ones.
    pub(crate) fn store(
        &self,
        vfs: &dyn Vfs,
        temporary: &Path,
        root: [u8; 16],
        generation: u64,
        content: &[u8],
    ) -> Result<(), PublishError> {
        let bytes = encode(self.role, self.owner, root, generation, content);
        // Manifests of all tenants share the temporary directory: the owner keeps the names apart.
        let name = self.name(generation);
        let draft = temporary.join(format!("{name}-{}", self.owner));
        publish(vfs, &[Draft { draft, directory: self.directory.clone(), name, bytes: &bytes }])
    }

    /// Removes the generations before one that is durable. None is kept: were the newest lost, an older one would be
    /// taken for it, and show what was deleted since. What cannot be removed now is removed another time.
    pub(crate) fn remove_older(&self, vfs: &dyn Vfs, newest: u64) -> Result<(), TwinError> {
        let mut removed = false;
        for old in self.generations(vfs)?.into_iter().filter(|&old| old < newest) {
            let path = self.path(old);
            vfs.unlink(&path).map_err(|e| TwinError::io(&path, e))?;
            removed = true;
        }
        if removed {
            vfs.sync_dir(&self.directory).map_err(|e| TwinError::io(&self.directory, e))?;
        }
        Ok(())
    }
}

/// The bytes of a file.
pub(crate) fn encode(role: Role, owner: u32, root: [u8; 16], generation: u64, content: &[u8]) -> Vec<u8> {
    let half_bytes = (HEADER_BYTES + content.len()).next_multiple_of(HALF_ALIGN);
    let mut bytes = Vec::with_capacity(2 * half_bytes);
    for half in 0..2u8 {
        let mut checked = Vec::with_capacity(HEADER_BYTES + content.len());
        checked.put_u16(TWIN_VERSION);
        checked.put_u8(role.tag());
        checked.put_u8(half);
        checked.put_u32(owner);
        checked.put(&root);
        checked.put_u64(generation);
        checked.put_u32(content.len() as u32);
        checked.put(content);
        bytes.put(MAGIC);
        bytes.put_u32(crc32fast::hash(&checked));
        bytes.put(&checked);
        bytes.resize((usize::from(half) + 1) * half_bytes, 0);
    }
    bytes
}

/// Takes the first whole half. `generation`, where given, must be the one inside.
pub(crate) fn decode(
    role: Role,
    owner: u32,
    generation: Option<u64>,
    bytes: &[u8],
    path: PathBuf,
) -> Result<TwinContent, TwinError> {
    // The first half says how long it is; where it cannot be believed, the halves are equal.
    let splits = [stated_half_bytes(bytes), Some(bytes.len() / 2)];
    let mut faults = Vec::new();
    for split in splits.into_iter().flatten() {
        let Some((first, second)) = bytes.split_at_checked(split) else { continue };
        faults.clear();
        if bytes.len() != 2 * split && !planted(Bug::PaddingIgnored) {
            faults.push(format!("the file has {} bytes instead of {}", bytes.len(), 2 * split));
        }
        let mut found = None;
        let copies = if planted(Bug::SecondCopyIgnored) { 1 } else { 2 };
        for (index, half) in [first, second].into_iter().enumerate().take(copies) {
            match decode_half(role, owner, generation, index as u8, half) {
                Ok(content) => found = found.or(Some(content)),
                Err(HalfFault::TooNew(found)) => return Err(TwinError::VersionTooNew { path, found }),
                Err(HalfFault::Damaged(what)) => faults.push(format!("copy {}: {what}", index + 1)),
            }
        }
        if let Some((root, generation, content)) = found {
            let half_damaged = (!faults.is_empty()).then(|| faults.join("; "));
            let content = content.to_vec();
            return Ok(TwinContent { generation, root, content, path, has_older: false, half_damaged });
        }
    }
    Err(TwinError::Corrupt { path, what: faults.join("; ") })
}

/// How long the first half says that it is; `None` where the file is shorter.
fn stated_half_bytes(bytes: &[u8]) -> Option<usize> {
    let mut cursor = Cursor::new(bytes);
    cursor.take(HEADER_BYTES - 4)?;
    let content_bytes = usize::try_from(cursor.u32()?).ok()?;
    let half_bytes = HEADER_BYTES.checked_add(content_bytes)?.checked_next_multiple_of(HALF_ALIGN)?;
    (half_bytes <= bytes.len()).then_some(half_bytes)
}

/// Reads a twin file of whatever role, owner and generation.
pub(crate) fn decode_any(bytes: &[u8], path: PathBuf) -> Result<(Role, TwinContent), TwinError> {
    // Either half may say what the file is; its check decides whether that is believed.
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut error = None;
    for half in [first, second] {
        let mut cursor = Cursor::new(half);
        let stated = (|| {
            cursor.take(14)?;
            let (tag, _half) = (cursor.u8()?, cursor.u8()?);
            let role = Role::ALL.into_iter().find(|role| role.tag() == tag)?;
            Some((role, cursor.u32()?))
        })();
        let Some((role, owner)) = stated else { continue };
        match decode(role, owner, None, bytes, path.clone()) {
            Ok(content) => return Ok((role, content)),
            Err(fault) => error = Some(fault),
        }
    }
    Err(error.unwrap_or(TwinError::Corrupt { path, what: "too short".to_owned() }))
}

enum HalfFault {
    Damaged(&'static str),
    TooNew(u16),
}

fn decode_half(
    role: Role,
    owner: u32,
    generation: Option<u64>,
    index: u8,
    half: &[u8],
) -> Result<([u8; 16], u64, &[u8]), HalfFault> {
    let damaged = HalfFault::Damaged;
    let mut cursor = Cursor::new(half);
    if cursor.array::<8>() != Some(*MAGIC) {
        return Err(damaged("no magic number"));
    }
    let check = cursor.u32().ok_or(damaged("cut short"))?;
    let mut fields = cursor.clone();
    let parsed = (|| {
        let version = fields.u16()?;
        let identity = (fields.u8()?, fields.u8()?, fields.u32()?);
        let root = fields.array::<16>()?;
        let number = fields.u64()?;
        let length = usize::try_from(fields.u32()?).ok()?;
        let content = fields.take(length)?;
        Some((version, identity, root, number, content))
    })();
    let (version, identity, root, number, content) = parsed.ok_or(damaged("cut short"))?;
    let checked_bytes = HEADER_BYTES - 12 + content.len();
    let (checked, padding) = cursor
        .take(cursor.remaining())
        .unwrap_or_default()
        .split_at_checked(checked_bytes)
        .ok_or(damaged("cut short"))?;
    if crc32fast::hash(checked) != check {
        return Err(damaged("checksum mismatch"));
    }
    if version > TWIN_VERSION {
        return Err(HalfFault::TooNew(version));
    }
    let ours = identity == (role.tag(), index, owner) && generation.is_none_or(|g| g == number);
    if !ours && !planted(Bug::IdentityIgnored) {
        return Err(damaged("it belongs to another file"));
    }
    if padding.iter().any(|&byte| byte != 0) && !planted(Bug::PaddingIgnored) {
        return Err(damaged("bytes after its end"));
    }
    Ok((root, number, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        encode(Role::Manifest, 7, [9; 16], 3, b"content")
    }

    fn read(bytes: &[u8]) -> Result<TwinContent, TwinError> {
        decode(Role::Manifest, 7, Some(3), bytes, PathBuf::from("m"))
    }

    #[test]
    fn the_bytes_are_held() {
        let bytes = sample();
        assert_eq!(bytes.len(), 8192);
        let header = b"ANNTWIN19\xb0\x85\xf6\x01\0\x02\0\x07\0\0\0";
        assert_eq!(&bytes[..20], header);
        assert_eq!(&bytes[20..36], [9; 16]);
        assert_eq!(&bytes[36..55], b"\x03\0\0\0\0\0\0\0\x07\0\0\0content");
        assert_eq!((bytes[4096 + 15], &bytes[4096 + 48..4096 + 55]), (1, &b"content"[..]));
    }

    #[test]
    fn every_flipped_bit_is_noticed_and_harmless() {
        let bytes = sample();
        assert!(read(&bytes).expect("whole").half_damaged.is_none());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                let twin = read(&damaged).expect("one half is whole");
                assert_eq!(twin.content, b"content");
                assert!(twin.half_damaged.is_some(), "byte {at} bit {bit}");
            }
        }
    }

    #[test]
    fn every_truncation_is_refused_or_noticed() {
        let bytes = sample();
        for length in 0..bytes.len() {
            match read(&bytes[..length]) {
                Ok(twin) => {
                    assert_eq!(twin.content, b"content");
                    assert!(twin.half_damaged.is_some(), "length {length}");
                }
                Err(_) => assert!(length < bytes.len() / 2, "length {length}: the first copy is whole"),
            }
        }
        let longer = [bytes, vec![0; 4096]].concat();
        assert!(read(&longer).expect("both copies are whole").half_damaged.is_some());
    }

    #[test]
    fn a_file_of_another_owner_or_generation_is_refused() {
        let bytes = sample();
        for (role, owner, generation) in
            [(Role::Catalogue, 7, 3), (Role::Manifest, 8, 3), (Role::Manifest, 7, 4)]
        {
            assert!(decode(role, owner, Some(generation), &bytes, PathBuf::new()).is_err());
        }
    }

    #[test]
    fn a_newer_version_is_named_as_such() {
        let mut bytes = sample();
        for half in 0..2 {
            let start = half * 4096;
            bytes[start + 12] = 2;
            let check = crc32fast::hash(&bytes[start + 12..start + 48 + 7]);
            bytes[start + 8..start + 12].copy_from_slice(&check.to_le_bytes());
        }
        assert!(matches!(read(&bytes), Err(TwinError::VersionTooNew { found: 2, .. })));
    }
}
