//! The frame that all blocks share: header, sections, footer, and the checks over them.
//!
//! **Header**, 128 bytes; the first half is the same in every version, the second says how the block is sealed
//! (`sealing.rs`):
//!
//! | offset | bytes | field      | notes                                                                    |
//! |-------:|------:|------------|--------------------------------------------------------------------------|
//! |      0 |     8 | `magic`    | `ANNALBLK`                                                               |
//! |      8 |     2 | `version`  | [`VERSION`]                                                              |
//! |     10 |     1 | `content`  | `BlockContent::tag`                                                      |
//! |     11 |     1 | `level`    | how many merges made it                                                  |
//! |     12 |     4 | `tenant`   | tenant number                                                            |
//! |     16 |     4 | `required` | feature bits without which it cannot be read                             |
//! |     20 |     4 | `optional` | feature bits that a reader may ignore                                    |
//! |     24 |     4 | `day`      | UTC day number, signed                                                   |
//! |     28 |     4 | `age`      | `ChunkAge::tag`                                                          |
//! |     32 |     8 | `sequence` | counts the tenant's blocks                                               |
//! |     40 |     8 | `after`    | LSN before the first of its data                                         |
//! |     48 |     8 | `through`  | LSN of the last                                                          |
//! |     56 |     4 |            | zero                                                                     |
//! |     60 |     4 | `check`    | CRC-32 of the 60 bytes above                                             |
//!
//! **Sections** follow, each where the one before ends. **Footer**, where the last one ends:
//!
//! | bytes | field          | notes                                                                         |
//! |------:|----------------|-------------------------------------------------------------------------------|
//! |     4 | `sections`     | how many; then 32 bytes for each: kind (1), packing (1: 0 plain, 1 zstd),     |
//! |       |                | zero (2), check (4), offset (8), stored bytes (8), plain bytes (8)            |
//! |    16 | `seal`         | authenticates the header and all fields of the footer but those from          |
//! |       |                | `footer_bytes` on; zeros where the block is not sealed                        |
//! |     8 | `time_start`   | just before the first stamp                                                   |
//! |     8 | `time_end`     | the last stamp                                                                |
//! |     8 | `series`       | series, or signal kinds                                                       |
//! |     8 | `rows`         | samples, or signals                                                           |
//! |     4 | `body_check`   | CRC-32 of all bytes before the footer: with it the check of the whole file is |
//! |       |                | known without reading it                                                      |
//! |     4 | `footer_bytes` | bytes of the footer up to here                                                |
//! |     4 | `check`        | covers the footer up to here                                                  |
//! |     4 | `magic`        | `ANBE`                                                                        |
//!
//! Little-endian. A sealed section, or part of one, is stored as `SEAL_BYTES` more than it has plain; the sections
//! `stamps`, `values`, `aggregates` and `rows` consist of such parts. Apart from the two of the header and `body_check`,
//! every check is the CRC-32 of tenant (4), day (4), sequence (8), content (1), section kind (1), part ordinal (8; all
//! ones for a section as a whole) and the bytes as they are stored, so that intact bytes of another block, section or part
//! do not pass. Every byte of the file is under a check.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{
    BlockContent, BlockId, BlockMeta, ChunkAge, DataKeys, Day, KeyId, Lsn, LsnRange, SEAL_BYTES,
    TenantNumber, TimeRange, Timestamp,
};
use annals_vfs::Sealed;
use annals_vfs::planted::{Bug, planted};
use crc32fast::Hasher;

use crate::error::{BlockError, BlockIdentity, Corruption, SectionInfo};
use crate::sealing::{FOOTER_TAG, FileSeal, Place, SealHeader, SealWith, UsedNonces, WHOLE};
use crate::squeeze::{Squeezer, Unsqueezer};

/// The format that this engine writes, and the newest that it reads.
const VERSION: u16 = 1;
/// Required feature: the block is sealed.
const FEATURE_SEALED: u32 = 1;
/// Required features that this engine knows.
const FEATURES_KNOWN: u32 = FEATURE_SEALED;
/// How every block begins.
pub const MAGIC: &[u8; 8] = b"ANNALBLK";
const END_MAGIC: &[u8; 4] = b"ANBE";
/// The part of the header that is the same in every version.
const HEADER_FIRST_BYTES: usize = 64;
const HEADER_BYTES: usize = 128;
const SECTION_ENTRY_BYTES: usize = 32;
/// Footer bytes that are always there, before and after the section entries.
const FOOTER_FIXED_BYTES: usize = 4 + SEAL_BYTES + 4 * 8 + 4 + TRAILER_BYTES;
/// `footer_bytes`, `check`, `magic`.
const TRAILER_BYTES: usize = 12;
/// No compressed section is larger than this once decompressed; a damaged size must not take all memory.
const SECTION_PLAIN_BYTES_MAX: usize = 1 << 31;
/// zstd stores 128 KiB in 4 bytes at best: a larger claim is refused before memory is taken for it.
const SQUEEZED_ONE_IN_MAX: usize = 1 << 15;
/// A section, or the texts of its symbols, is at most this many times the file that it unfolds from, and
/// [`UNFOLDED_BYTES_MIN`] more: a forged file of a few kilobytes must not take gigabytes before it is refused. Writers
/// store a section that would unfold further as it is; indexes of real series unfold to a few times the file.
pub(crate) const UNFOLD_FACTOR: usize = 64;
const UNFOLDED_BYTES_MIN: usize = 1 << 20;
/// A file is checked in pieces of this size.
const HASHED_BYTES: usize = 1 << 20;
const PACKING_PLAIN: u8 = 0;
const PACKING_ZSTD: u8 = 1;

/// What a section of a file of that size may unfold to.
fn unfolded_bytes_max(file_bytes: usize) -> usize {
    file_bytes.saturating_mul(UNFOLD_FACTOR).saturating_add(UNFOLDED_BYTES_MIN).min(SECTION_PLAIN_BYTES_MAX)
}

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SectionKind {
    /// Columns of timestamps.
    Stamps = 1,
    /// Chunks of values.
    Values = 2,
    /// Pages of what chunks come to.
    Aggregates = 3,
    /// Where each column of timestamps is.
    Columns = 4,
    /// Sorted strings.
    Symbols = 5,
    /// Label pairs and their postings.
    Labels = 6,
    /// Series and their chunks.
    Series = 7,
    /// The check of each chunk.
    Checks = 8,
    /// Where each page of aggregates is.
    Pages = 9,
    /// Schemas of signal kinds.
    Schemas = 16,
    /// Where each group of rows is.
    Groups = 17,
    /// Rows of signals.
    Rows = 18,
}

const SECTION_KINDS: [SectionKind; 12] = [
    SectionKind::Stamps,
    SectionKind::Values,
    SectionKind::Aggregates,
    SectionKind::Columns,
    SectionKind::Symbols,
    SectionKind::Labels,
    SectionKind::Series,
    SectionKind::Checks,
    SectionKind::Pages,
    SectionKind::Schemas,
    SectionKind::Groups,
    SectionKind::Rows,
];

impl SectionKind {
    /// Whether it consists of parts that are sealed and checked one by one.
    fn is_in_parts(self) -> bool {
        matches!(
            self,
            SectionKind::Stamps | SectionKind::Values | SectionKind::Aggregates | SectionKind::Rows
        )
    }

    /// Its name in errors and listings.
    pub(crate) fn name(self) -> &'static str {
        match self {
            SectionKind::Stamps => "stamps",
            SectionKind::Values => "values",
            SectionKind::Aggregates => "aggregates",
            SectionKind::Columns => "columns",
            SectionKind::Symbols => "symbols",
            SectionKind::Labels => "labels",
            SectionKind::Series => "series",
            SectionKind::Checks => "checks",
            SectionKind::Pages => "pages",
            SectionKind::Schemas => "schemas",
            SectionKind::Groups => "groups",
            SectionKind::Rows => "rows",
        }
    }
}

/// Computes the checks of one block.
#[derive(Debug, Clone)]
pub(crate) struct Checker(Hasher);

impl Checker {
    fn new(identity: BlockIdentity) -> Checker {
        let mut prefix = Vec::with_capacity(17);
        prefix.put_u32(identity.tenant.0);
        prefix.put_u32(identity.id.day.0 as u32);
        prefix.put_u64(identity.id.sequence);
        prefix.put_u8(identity.id.content.tag());
        let mut hasher = Hasher::new();
        hasher.update(&prefix);
        Checker(hasher)
    }

    /// The check of one part of a section.
    pub(crate) fn part(&self, kind: SectionKind, ordinal: u64, bytes: &[u8]) -> u32 {
        self.tagged(kind as u8, ordinal, bytes)
    }

    fn tagged(&self, tag: u8, ordinal: u64, bytes: &[u8]) -> u32 {
        let mut hasher = self.of(tag, ordinal);
        hasher.update(bytes);
        hasher.finalize()
    }

    /// Before the first byte of a place.
    fn of(&self, tag: u8, ordinal: u64) -> Hasher {
        let [a, b, c, d, e, f, g, h] = ordinal.to_le_bytes();
        let mut hasher = self.0.clone();
        hasher.update(&[tag, a, b, c, d, e, f, g, h]);
        hasher
    }
}

#[derive(Debug, Clone, Copy)]
struct Section {
    kind: SectionKind,
    packing: u8,
    check: u32,
    offset: usize,
    stored_bytes: usize,
    plain_bytes: usize,
}

impl Section {
    /// Where it is. `open` has checked that it is inside of the file.
    fn stored_range(&self) -> Range<usize> {
        self.offset..self.offset + self.stored_bytes
    }
}

/// What a writer knows of a block once all is added.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Totals {
    pub(crate) time: TimeRange,
    pub(crate) series: u64,
    pub(crate) rows: u64,
}

/// A finished block: the file's bytes, and what the manifest is to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedBlock {
    /// The file.
    pub bytes: Vec<u8>,
    /// Its entry in the manifest.
    pub meta: BlockMeta,
}

/// Lays out a block.
pub(crate) struct ContainerWriter {
    identity: BlockIdentity,
    lsns: LsnRange,
    level: u8,
    age: ChunkAge,
    checker: Checker,
    seal: Option<FileSeal>,
    seal_header: SealHeader,
    used: UsedNonces,
    bytes: Vec<u8>,
    sections: Vec<Section>,
}

impl ContainerWriter {
    pub(crate) fn new(identity: BlockIdentity, lsns: LsnRange, level: u8, age: ChunkAge) -> ContainerWriter {
        ContainerWriter {
            identity,
            lsns,
            level,
            age,
            checker: Checker::new(identity),
            seal: None,
            seal_header: SealHeader::PLAIN,
            used: UsedNonces::default(),
            // The header is written last.
            bytes: vec![0; HEADER_BYTES],
            sections: Vec::new(),
        }
    }

    /// Seals all that is put into it from here on.
    pub(crate) fn seal_with(&mut self, seal: SealWith<'_>) {
        let (seal, header) = FileSeal::create(seal, self.identity, VERSION);
        (self.seal, self.seal_header) = (Some(seal), header);
    }

    pub(crate) fn age(&self) -> ChunkAge {
        self.age
    }

    pub(crate) fn identity(&self) -> BlockIdentity {
        self.identity
    }

    /// Seals one part of a data section, which lies in `bytes` from `start` on, in place; returns the check of what is
    /// to be stored. Ordinals ascend within a kind.
    pub(crate) fn seal_part(
        &mut self,
        kind: SectionKind,
        ordinal: u64,
        bytes: &mut Vec<u8>,
        start: usize,
    ) -> u32 {
        if let Some(seal) = &self.seal {
            let plain_bytes = (bytes.len() - start) as u64;
            let place = Place { tag: kind as u8, packing: PACKING_PLAIN, ordinal, plain_bytes };
            self.used.take(place);
            seal.seal(place, bytes, start);
        }
        self.checker.part(kind, ordinal, bytes.get(start..).unwrap_or_default())
    }

    /// Appends a section as it is: one whose parts are compressed and sealed by themselves, or one that does not
    /// compress.
    pub(crate) fn put_data(&mut self, kind: SectionKind, bytes: &[u8]) {
        self.put_section(kind, PACKING_PLAIN, bytes, bytes.len());
    }

    /// Appends a section, compressed where that saves a sixteenth.
    pub(crate) fn put_index(&mut self, kind: SectionKind, bytes: &[u8], squeezer: &mut Squeezer) {
        self.put_folded(kind, bytes, bytes.len(), squeezer);
    }

    /// The same for a section from which a reader makes `unfolded_bytes`: compressed only where the file is large enough
    /// for a reader to believe that.
    pub(crate) fn put_folded(
        &mut self,
        kind: SectionKind,
        bytes: &[u8],
        unfolded_bytes: usize,
        squeezer: &mut Squeezer,
    ) {
        let frame = if bytes.len() <= SECTION_PLAIN_BYTES_MAX { squeezer.repeats(bytes) } else { None };
        let believed = |frame: &Vec<u8>| {
            bytes.len().max(unfolded_bytes) <= unfolded_bytes_max(self.bytes.len() + frame.len())
        };
        let saves = |frame: &Vec<u8>| frame.len() + bytes.len() / 16 < bytes.len();
        match frame.filter(|frame| saves(frame) && believed(frame)) {
            Some(frame) => self.put_section(kind, PACKING_ZSTD, &frame, bytes.len()),
            None => self.put_section(kind, PACKING_PLAIN, bytes, bytes.len()),
        }
    }

    fn put_section(&mut self, kind: SectionKind, packing: u8, packed: &[u8], plain_bytes: usize) {
        let offset = self.bytes.len();
        self.bytes.put(packed);
        if let Some(seal) = self.seal.as_ref().filter(|_| !kind.is_in_parts()) {
            let place = Place { tag: kind as u8, packing, ordinal: WHOLE, plain_bytes: plain_bytes as u64 };
            self.used.take(place);
            seal.seal(place, &mut self.bytes, offset);
        }
        let stored = self.bytes.get(offset..).unwrap_or_default();
        let check = self.checker.part(kind, WHOLE, stored);
        let stored_bytes = stored.len();
        self.sections.push(Section { kind, packing, check, offset, stored_bytes, plain_bytes });
    }

    fn header(&self) -> Vec<u8> {
        let SealHeader { key, salt, commitment } = self.seal_header;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.put(MAGIC);
        header.put_u16(VERSION);
        header.put_u8(self.identity.id.content.tag());
        header.put_u8(self.level);
        header.put_u32(self.identity.tenant.0);
        header.put_u32(if key == KeyId::NONE { 0 } else { FEATURE_SEALED });
        header.put_u32(0);
        header.put_u32(self.identity.id.day.0 as u32);
        header.put_u32(u32::from(self.age.tag()));
        header.put_u64(self.identity.id.sequence);
        header.put_u64(self.lsns.after.0);
        header.put_u64(self.lsns.through.0);
        header.put_u32(0);
        let check = crc32fast::hash(&header);
        header.put_u32(check);
        header.put_u32(key.0);
        header.put(&salt);
        header.put(&commitment);
        header.put_u64(0);
        let check = crc32fast::hash(&header);
        header.put_u32(check);
        header
    }

    pub(crate) fn finish(mut self, totals: Totals) -> EncodedBlock {
        let header = self.header();
        self.bytes.iter_mut().zip(&header).for_each(|(to, from)| *to = *from);
        let mut body = Hasher::new();
        body.update(&self.bytes);
        let body_check = body.clone().finalize();
        let mut entries = Vec::new();
        entries.put_u32(self.sections.len() as u32);
        for section in &self.sections {
            entries.put_u8(section.kind as u8);
            entries.put_u8(section.packing);
            entries.put_u16(0);
            entries.put_u32(section.check);
            entries.put_u64(section.offset as u64);
            entries.put_u64(section.stored_bytes as u64);
            entries.put_u64(section.plain_bytes as u64);
        }
        let mut rest = Vec::new();
        rest.put_i64(totals.time.start.0);
        rest.put_i64(totals.time.end.0);
        rest.put_u64(totals.series);
        rest.put_u64(totals.rows);
        rest.put_u32(body_check);
        let seal = match &self.seal {
            Some(seal) => seal.seal_frame(&[&header, &entries[..], &rest].concat()),
            None => [0; SEAL_BYTES],
        };
        let mut footer = [&entries[..], &seal, &rest].concat();
        let length = footer.len() as u32;
        footer.put_u32(length);
        let check = self.checker.tagged(FOOTER_TAG, WHOLE, &footer);
        footer.put_u32(check);
        footer.put(END_MAGIC);
        body.update(&footer);
        self.bytes.put(&footer);
        let meta = BlockMeta {
            id: self.identity.id,
            time: totals.time,
            lsns: self.lsns,
            level: self.level,
            age: self.age,
            series: totals.series,
            rows: totals.rows,
            bytes: self.bytes.len() as u64,
            check: body.finalize(),
        };
        EncodedBlock { bytes: self.bytes, meta }
    }
}

/// An opened block: its frame is checked, its sections are not yet.
#[derive(Debug)]
pub(crate) struct Container {
    bytes: Sealed,
    name: Arc<str>,
    tenant: TenantNumber,
    checker: Checker,
    meta: BlockMeta,
    sections: Vec<Section>,
    footer_offset: usize,
    seal_header: SealHeader,
    seal: Seal,
}

/// Whether the parts of a block can be opened.
#[derive(Debug)]
enum Seal {
    /// They are plain.
    Plain,
    /// They are sealed, and no keys were given. What was read as header and footer, and what authenticates it.
    Locked {
        frame: Vec<u8>,
        tag: [u8; SEAL_BYTES],
    },
    Open(FileSeal),
}

impl Container {
    /// Checks header and footer against each other, the size and the expected identity. What is sealed stays so.
    pub(crate) fn open(
        bytes: Sealed,
        identity: BlockIdentity,
        content: BlockContent,
        name: &str,
    ) -> Result<Container, BlockError> {
        let name: Arc<str> = name.into();
        let corrupt = |section, what| corrupt(&name, section, None, what);
        let short = || corrupt("header", "the file is shorter than a header");
        let mut head = Vec::new();
        bytes.copy(0..HEADER_BYTES.min(bytes.len()), &mut head).map_err(|error| io_error(&name, &error))?;
        let first = Cursor::new(&head).array().ok_or_else(short)?;
        let mut header = parse_header(&first).map_err(|what| corrupt("header", what))?;
        if header.version > VERSION {
            let (found, newest_known) = (header.version, VERSION);
            return Err(BlockError::VersionTooNew { name, found, newest_known });
        }
        if header.required & !FEATURES_KNOWN != 0 {
            return Err(BlockError::UnknownFeature { name, bits: header.required & !FEATURES_KNOWN });
        }
        if header.identity != identity && !planted(Bug::IdentityIgnored) {
            let (expected, found) = (identity, header.identity);
            return Err(BlockError::WrongIdentity { name, expected, found });
        }
        if identity.id.content != content {
            return Err(corrupt("header", "the block holds another content than is read from it"));
        }
        let head = Cursor::new(&head).array().ok_or_else(short)?;
        header.seal = parse_seal_header(&head, header.is_sealed()).map_err(|what| corrupt("header", what))?;
        let checker = Checker::new(identity);
        let footer = footer_of(&bytes).map_err(|error| io_error(&name, &error))?;
        let footer = footer.ok_or_else(|| corrupt("footer", "the file does not end in a footer"))?;
        let footer_offset = bytes.len() - footer.len();
        let parsed = parse_footer(&footer, footer_offset, &checker, header.is_sealed())
            .map_err(|what| corrupt("footer", what))?;
        let mut whole = Hasher::new_with_initial_len(parsed.body_check, footer_offset as u64);
        whole.update(&footer);
        let meta = BlockMeta {
            id: identity.id,
            time: parsed.totals.time,
            lsns: header.lsns,
            level: header.level,
            age: header.age,
            series: parsed.totals.series,
            rows: parsed.totals.rows,
            bytes: bytes.len() as u64,
            check: whole.finalize(),
        };
        let day = identity.id.day.range();
        if meta.time.is_empty() || meta.time.start < day.start || meta.time.end > day.end {
            return Err(corrupt("footer", "its times are outside its day"));
        }
        let seal = if header.is_sealed() {
            Seal::Locked { frame: [&head[..], &parsed.entries, &parsed.fields].concat(), tag: parsed.seal }
        } else {
            Seal::Plain
        };
        let (sections, seal_header) = (parsed.sections, header.seal);
        let tenant = identity.tenant;
        Ok(Container { bytes, name, tenant, checker, meta, sections, footer_offset, seal_header, seal })
    }

    /// Gives it the keys of its tenant and content; none where the tenant's blocks are not sealed. Verifies that header
    /// and footer are those that were sealed.
    pub(crate) fn unlock(mut self, keys: Option<&dyn DataKeys>) -> Result<Container, BlockError> {
        let (name, key) = (Arc::clone(&self.name), self.seal_header.key);
        self.seal = match (keys, self.seal) {
            (None, Seal::Plain) => Seal::Plain,
            // Somebody without keys may have put it there.
            (Some(_), Seal::Plain) => return Err(BlockError::NotSealed { name }),
            (_, Seal::Open(seal)) => Seal::Open(seal),
            (None, Seal::Locked { .. }) => return Err(BlockError::Sealed { name, key }),
            (Some(keys), Seal::Locked { frame, tag }) => {
                let identity = BlockIdentity { tenant: self.tenant, id: self.meta.id };
                let Some(seal) = FileSeal::find(keys, &self.seal_header, identity, VERSION) else {
                    return Err(BlockError::KeyMissing { name, key });
                };
                if !seal.fits(&self.seal_header) {
                    return Err(BlockError::KeyMismatch { name, key });
                }
                if !seal.is_frame(&frame, tag) {
                    return Err(corrupt(&name, "footer", None, "header or footer is not what was sealed"));
                }
                Seal::Open(seal)
            }
        };
        Ok(self)
    }

    /// The key that it is sealed with; `None` where it is not.
    pub(crate) fn key(&self) -> Option<KeyId> {
        (!matches!(self.seal, Seal::Plain)).then_some(self.seal_header.key)
    }

    /// Whether it is sealed and has no keys: nothing of its sections can be read.
    pub(crate) fn is_locked(&self) -> bool {
        matches!(self.seal, Seal::Locked { .. })
    }

    /// Opens a part that was copied and checked.
    fn open_part(&self, kind: SectionKind, place: Place, copy: &mut Vec<u8>) -> Result<(), BlockError> {
        let ordinal = (place.ordinal != WHOLE).then_some(place.ordinal);
        match &self.seal {
            Seal::Plain => Ok(()),
            Seal::Locked { .. } => {
                Err(BlockError::Sealed { name: Arc::clone(&self.name), key: self.seal_header.key })
            }
            Seal::Open(seal) if seal.open(place, copy) => Ok(()),
            Seal::Open(_) => Err(self.corrupt(kind, ordinal, "it is not what was sealed there")),
        }
    }

    pub(crate) fn meta(&self) -> &BlockMeta {
        &self.meta
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// An error about one part of this block.
    pub(crate) fn corrupt(&self, kind: SectionKind, ordinal: Option<u64>, what: &'static str) -> BlockError {
        corrupt(&self.name, kind.name(), ordinal, what)
    }

    /// The section, checked and decompressed.
    pub(crate) fn section(&self, kind: SectionKind) -> Result<Vec<u8>, BlockError> {
        let corrupt = |what| self.corrupt(kind, None, what);
        let section = self.find(kind)?;
        let mut stored = Vec::new();
        self.copy(section.stored_range(), &mut stored)?;
        if self.checker.part(kind, WHOLE, &stored) != section.check && !planted(Bug::PartNotChecked) {
            return Err(corrupt("check mismatch: damaged, or of another block"));
        }
        if !kind.is_in_parts() {
            let (packing, plain_bytes) = (section.packing, section.plain_bytes as u64);
            let place = Place { tag: kind as u8, packing, ordinal: WHOLE, plain_bytes };
            self.open_part(kind, place, &mut stored)?;
        }
        if section.packing == PACKING_PLAIN {
            return Ok(stored);
        }
        // A context of its own: a thread's would keep memory of the section's size.
        let plain = Unsqueezer::default().take(&stored, section.plain_bytes);
        plain.ok_or_else(|| corrupt("it does not decompress"))
    }

    /// Copies one part of a data section into `copy` and checks the copy.
    pub(crate) fn copy_part(&self, part: Part, copy: &mut Vec<u8>) -> Result<(), BlockError> {
        let section = self.find(part.kind)?;
        let stored = usize::try_from(part.offset).ok().and_then(|offset| {
            let end = offset.checked_add(part.bytes).filter(|&end| end <= section.stored_bytes)?;
            Some(section.offset + offset..section.offset + end)
        });
        let outside = || self.corrupt(part.kind, Some(part.ordinal), "it lies outside its section");
        self.copy(stored.ok_or_else(outside)?, copy)?;
        if self.checker.part(part.kind, part.ordinal, copy) != part.check && !planted(Bug::PartNotChecked) {
            let what = "check mismatch: damaged, or of another block";
            return Err(self.corrupt(part.kind, Some(part.ordinal), what));
        }
        let plain_bytes = part.bytes.saturating_sub(SEAL_BYTES) as u64;
        let place =
            Place { tag: part.kind as u8, packing: PACKING_PLAIN, ordinal: part.ordinal, plain_bytes };
        self.open_part(part.kind, place, copy)
    }

    /// What a section of this file may unfold to.
    pub(crate) fn unfolded_bytes_max(&self) -> usize {
        unfolded_bytes_max(self.bytes.len())
    }

    /// How many bytes a section is once decompressed, as the footer says.
    pub(crate) fn plain_bytes(&self, kind: SectionKind) -> Result<u64, BlockError> {
        self.find(kind).map(|section| section.plain_bytes as u64)
    }

    /// How many bytes a section takes in the file.
    pub(crate) fn section_bytes(&self, kind: SectionKind) -> Result<u64, BlockError> {
        self.find(kind).map(|section| section.stored_bytes as u64)
    }

    /// Checks each section as a whole, then the whole file.
    pub(crate) fn verify(&self) -> Vec<BlockError> {
        let mut errors = Vec::new();
        for section in &self.sections {
            match self.hash(self.checker.of(section.kind as u8, WHOLE), section.stored_range()) {
                Ok(check) if check == section.check => {}
                Ok(_) => {
                    errors.push(self.corrupt(section.kind, None, "check mismatch over the whole section"));
                }
                Err(error) => errors.push(error),
            }
        }
        match self.hash(Hasher::new(), 0..self.bytes.len()) {
            Ok(check) if check == self.meta.check => {}
            Ok(_) => errors.push(corrupt(&self.name, "file", None, "check mismatch over the whole file")),
            Err(error) => errors.push(error),
        }
        errors
    }

    /// The check over a part of the file, read piece by piece.
    fn hash(&self, mut hasher: Hasher, range: Range<usize>) -> Result<u32, BlockError> {
        let mut piece = Vec::new();
        for start in range.clone().step_by(HASHED_BYTES) {
            self.copy(start..range.end.min(start + HASHED_BYTES), &mut piece)?;
            hasher.update(&piece);
        }
        Ok(hasher.finalize())
    }

    fn copy(&self, range: Range<usize>, into: &mut Vec<u8>) -> Result<(), BlockError> {
        self.bytes.copy(range, into).map_err(|error| io_error(&self.name, &error))
    }

    pub(crate) fn sections(&self) -> Vec<SectionInfo> {
        let info = |name, offset: usize, bytes: usize, plain_bytes: usize| SectionInfo {
            name,
            offset: offset as u64,
            bytes: bytes as u64,
            plain_bytes: plain_bytes as u64,
        };
        let mut all = vec![info("header", 0, HEADER_BYTES, HEADER_BYTES)];
        all.extend(
            self.sections.iter().map(|s| info(s.kind.name(), s.offset, s.stored_bytes, s.plain_bytes)),
        );
        let footer_bytes = self.bytes.len() - self.footer_offset;
        all.push(info("footer", self.footer_offset, footer_bytes, footer_bytes));
        all
    }

    fn find(&self, kind: SectionKind) -> Result<&Section, BlockError> {
        let found = self.sections.iter().find(|section| section.kind == kind);
        found.ok_or_else(|| self.corrupt(kind, None, "the block has no such section"))
    }
}

/// Where one part of a data section is, and the check that it must pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub(crate) kind: SectionKind,
    pub(crate) ordinal: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
    pub(crate) check: u32,
}

fn io_error(name: &Arc<str>, error: &io::Error) -> BlockError {
    BlockError::Io { name: Arc::clone(name), what: error.to_string() }
}

fn corrupt(name: &Arc<str>, section: &'static str, ordinal: Option<u64>, what: &'static str) -> BlockError {
    BlockError::Corrupt { name: Arc::clone(name), at: Corruption { section, ordinal, what } }
}

struct Header {
    version: u16,
    required: u32,
    level: u8,
    age: ChunkAge,
    identity: BlockIdentity,
    lsns: LsnRange,
    seal: SealHeader,
}

impl Header {
    fn is_sealed(&self) -> bool {
        self.required & FEATURE_SEALED != 0
    }
}

fn parse_header(bytes: &[u8; HEADER_FIRST_BYTES]) -> Result<Header, &'static str> {
    let (checked, check) = bytes.split_at(HEADER_FIRST_BYTES - 4);
    let mut cursor = Cursor::new(bytes);
    let short = "the file is shorter than a header";
    if cursor.array().as_ref() != Some(MAGIC) {
        return Err("it does not start as a block does");
    }
    if crc32fast::hash(checked).to_le_bytes() != *check {
        return Err("check mismatch");
    }
    let version = cursor.u16().ok_or(short)?;
    let content = cursor.u8().ok_or(short)?;
    let level = cursor.u8().ok_or(short)?;
    let tenant = TenantNumber(cursor.u32().ok_or(short)?);
    let required = cursor.u32().ok_or(short)?;
    let _optional = cursor.u32().ok_or(short)?;
    let day = Day(cursor.u32().ok_or(short)? as i32);
    let age = cursor.u32().ok_or(short)?;
    let sequence = cursor.u64().ok_or(short)?;
    let lsns = LsnRange { after: Lsn(cursor.u64().ok_or(short)?), through: Lsn(cursor.u64().ok_or(short)?) };
    if version <= VERSION && (version == 0 || cursor.u32() != Some(0)) {
        return Err("a field that must be zero is not");
    }
    let age = match u8::try_from(age).ok().and_then(ChunkAge::from_tag) {
        Some(age) => age,
        None if version > VERSION || required & !FEATURES_KNOWN != 0 => ChunkAge::Merged,
        None => return Err("an age that no version of the format has"),
    };
    let content = match BlockContent::from_tag(content) {
        Some(content) => content,
        // Newer engines may have further contents; what they write is not damage.
        None if version > VERSION || required & !FEATURES_KNOWN != 0 => BlockContent::RawMetrics,
        None => return Err("a content that no version of the format has"),
    };
    let identity = BlockIdentity { tenant, id: BlockId { day, content, sequence } };
    Ok(Header { version, required, level, age, identity, lsns, seal: SealHeader::PLAIN })
}

/// The second half of the header, of a block whose version is known.
fn parse_seal_header(bytes: &[u8; HEADER_BYTES], sealed: bool) -> Result<SealHeader, &'static str> {
    let (checked, check) = bytes.split_at(HEADER_BYTES - 4);
    if crc32fast::hash(checked).to_le_bytes() != *check {
        return Err("check mismatch");
    }
    let short = "the file is shorter than a header";
    let mut cursor = Cursor::new(checked.get(HEADER_FIRST_BYTES..).ok_or(short)?);
    let header = SealHeader {
        key: KeyId(cursor.u32().ok_or(short)?),
        salt: cursor.array().ok_or(short)?,
        commitment: cursor.array().ok_or(short)?,
    };
    if cursor.u64() != Some(0) || !sealed && header != SealHeader::PLAIN {
        return Err("a field that must be zero is not");
    }
    if sealed && header.key == KeyId::NONE {
        return Err("it is sealed with no key");
    }
    Ok(header)
}

struct Footer {
    sections: Vec<Section>,
    totals: Totals,
    body_check: u32,
    seal: [u8; SEAL_BYTES],
    /// What `seal` authenticates: what stands before it, and after it.
    entries: Vec<u8>,
    fields: Vec<u8>,
}

/// A copy of the footer, where the file's end says that there is one of sensible size.
fn footer_of(bytes: &Sealed) -> io::Result<Option<Vec<u8>>> {
    let mut footer = Vec::new();
    let Some(trailer) = bytes.len().checked_sub(TRAILER_BYTES).filter(|&start| start >= HEADER_BYTES) else {
        return Ok(None);
    };
    bytes.copy(trailer..bytes.len(), &mut footer)?;
    let footer_bytes = Cursor::new(&footer).u32().and_then(|bytes| usize::try_from(bytes).ok());
    let start = footer_bytes.and_then(|footer_bytes| trailer.checked_sub(footer_bytes));
    let Some(start) = start.filter(|&start| start >= HEADER_BYTES) else { return Ok(None) };
    bytes.copy(start..bytes.len(), &mut footer)?;
    Ok(Some(footer))
}

fn parse_footer(
    footer: &[u8],
    footer_offset: usize,
    checker: &Checker,
    sealed: bool,
) -> Result<Footer, &'static str> {
    let short = "it is shorter than its fields";
    let (checked, mut end) = footer
        .split_at_checked(footer.len().saturating_sub(8))
        .map(|(checked, end)| (checked, Cursor::new(end)))
        .ok_or(short)?;
    if end.u32() != Some(checker.tagged(FOOTER_TAG, WHOLE, checked)) {
        return Err("check mismatch: damaged, or of another block");
    }
    if end.array().as_ref() != Some(END_MAGIC) {
        return Err("the file does not end as a block does");
    }
    let mut cursor = Cursor::new(checked);
    let count = cursor.u32().ok_or(short)? as usize;
    if count.checked_mul(SECTION_ENTRY_BYTES).and_then(|n| n.checked_add(FOOTER_FIXED_BYTES))
        != Some(footer.len())
    {
        return Err("its size does not match its number of sections");
    }
    let mut sections: Vec<Section> = Vec::with_capacity(count);
    let mut next = HEADER_BYTES;
    for _ in 0..count {
        let section = parse_section(&mut cursor, footer_offset, sealed)
            .ok_or("a section that no version of the format has")?;
        if section.offset != next || sections.iter().any(|before| before.kind == section.kind) {
            return Err("sections do not follow each other");
        }
        next = next.checked_add(section.stored_bytes).ok_or("a section beyond the file")?;
        sections.push(section);
    }
    if next != footer_offset {
        return Err("sections do not fill the file");
    }
    let (entries, after) = checked.split_at_checked(cursor.offset()).ok_or(short)?;
    let fields = after.get(SEAL_BYTES..after.len().saturating_sub(4)).ok_or(short)?;
    let (entries, fields) = (entries.to_vec(), fields.to_vec());
    let seal: [u8; SEAL_BYTES] = cursor.array().ok_or(short)?;
    if !sealed && seal != [0; SEAL_BYTES] {
        return Err("a field that must be zero is not");
    }
    let time = TimeRange::new(Timestamp(cursor.i64().ok_or(short)?), Timestamp(cursor.i64().ok_or(short)?));
    let (series, rows) = (cursor.u64().ok_or(short)?, cursor.u64().ok_or(short)?);
    let body_check = cursor.u32().ok_or(short)?;
    let totals = Totals { time, series, rows };
    Ok(Footer { sections, totals, body_check, seal, entries, fields })
}

fn parse_section(cursor: &mut Cursor<'_>, body_bytes: usize, sealed: bool) -> Option<Section> {
    let tag = cursor.u8()?;
    let kind = SECTION_KINDS.into_iter().find(|&kind| kind as u8 == tag)?;
    let packing = cursor.u8().filter(|&packing| packing <= PACKING_ZSTD)?;
    cursor.u16().filter(|&zero| zero == 0)?;
    let check = cursor.u32()?;
    let offset = usize::try_from(cursor.u64()?).ok()?;
    let stored_bytes = usize::try_from(cursor.u64()?).ok()?;
    let plain_bytes = usize::try_from(cursor.u64()?).ok()?;
    let seal_bytes = if sealed && !kind.is_in_parts() { SEAL_BYTES } else { 0 };
    let packed_bytes = stored_bytes.checked_sub(seal_bytes)?;
    match packing {
        PACKING_PLAIN => packed_bytes == plain_bytes,
        _ => {
            plain_bytes
                <= unfolded_bytes_max(body_bytes).min(packed_bytes.saturating_mul(SQUEEZED_ONE_IN_MAX))
        }
    }
    .then_some(())?;
    Some(Section { kind, packing, check, offset, stored_bytes, plain_bytes })
}

#[cfg(any(test, feature = "fuzzing"))]
impl Container {
    /// The same block with one section replaced by what `change` makes of it, all checks made to fit: damage
    /// that no check can see, as a hostile writer would make it.
    pub(crate) fn forge(&self, kind: SectionKind, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let identity = BlockIdentity { tenant: self.tenant, id: self.meta.id };
        let mut writer = ContainerWriter::new(identity, self.meta.lsns, self.meta.level, self.meta.age);
        let mut change = Some(change);
        for section in &self.sections {
            let mut bytes = self.section(section.kind).expect("undamaged");
            if section.kind == kind {
                change.take().expect("sections are distinct")(&mut bytes);
            }
            writer.put_data(section.kind, &bytes);
        }
        let (time, series, rows) = (self.meta.time, self.meta.series, self.meta.rows);
        writer.finish(Totals { time, series, rows }).bytes
    }

    /// The same block with one section replaced by a zstd frame that is said to hold so many bytes.
    #[cfg(test)]
    pub(crate) fn forge_packed(&self, kind: SectionKind, frame: &[u8], plain_bytes: usize) -> Vec<u8> {
        let identity = BlockIdentity { tenant: self.tenant, id: self.meta.id };
        let mut writer = ContainerWriter::new(identity, self.meta.lsns, self.meta.level, self.meta.age);
        for section in &self.sections {
            if section.kind == kind {
                writer.put_section(kind, PACKING_ZSTD, frame, plain_bytes);
            } else {
                writer.put_data(section.kind, &self.section(section.kind).expect("undamaged"));
            }
        }
        let (time, series, rows) = (self.meta.time, self.meta.series, self.meta.rows);
        writer.finish(Totals { time, series, rows }).bytes
    }

    #[cfg(test)]
    pub(crate) fn footer_check(&self, checked: &[u8]) -> u32 {
        self.checker.tagged(FOOTER_TAG, WHOLE, checked)
    }

    #[cfg(test)]
    pub(crate) fn part_check(&self, kind: SectionKind, ordinal: u64, bytes: &[u8]) -> u32 {
        self.checker.part(kind, ordinal, bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::ints::{self, Packing};
    use crate::codec::predict::PREDICTORS;
    use crate::codec::values::Mapping;

    /// The page for those who write a reader in another language.
    const PAGE: &str = include_str!("../../docs/format/block.md");

    fn row(what: &str) -> &'static str {
        let start = format!("| {what} |");
        PAGE.lines().find(|line| line.starts_with(&start)).expect("the page has that row")
    }

    #[test]
    fn the_page_of_the_format_has_the_numbers_of_the_code() {
        for kind in SECTION_KINDS {
            assert!(row("section kind").contains(&format!("`{}` {}", kind.name(), kind as u8)), "{kind:?}");
        }
        for predictor in PREDICTORS {
            assert!(row("predictor").contains(&format!("`{predictor:?}` {}", predictor as u8)));
        }
        for number in 0..6u8 {
            let (_, packing, _) = ints::parse_form(number << 4).expect("a packing");
            assert!(row("packing").contains(&format!("`{packing:?}` {}", packing as u8)));
        }
        assert!(ints::parse_form((Packing::Cold as u8 + 1) << 4).is_none());
        for mapping in [Mapping::Raw, Mapping::Bits, Mapping::Decimal, Mapping::Cold] {
            assert!(row("mapping of values").contains(&format!("`{mapping:?}` {}", mapping as u8)));
        }
        assert!(PAGE.contains(&format!("{HEADER_BYTES} B")));
    }

    #[test]
    fn the_chunk_of_the_page_is_read_as_it_says() {
        let mut bytes = vec![0x02, 0x11, 0xc8, 0x01, 0x03, 0x00];
        bytes.extend([0; 96]);
        // Number 9 is in lane 1, at bit 3 of it.
        bytes[6 + 4] = 5 << 3;
        let (mut values, mut decoding) = (Vec::new(), ints::Decoding::default());
        let level = crate::codec::kernel::Level::widest();
        let decoded = crate::codec::values::decode(&bytes, 256, level, &mut decoding, 0..256, &mut values);
        assert_eq!(decoded, Some(()));
        let expected: Vec<f64> = (0..256).map(|i| if i < 9 { 100.0 } else { 105.0 }).collect();
        assert_eq!(values, expected);
    }
}
