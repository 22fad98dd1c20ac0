//! The frame that all blocks share: header, sections, footer, and the checks over them.
//!
//! **Header**, 64 bytes, the same in every version:
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
//! |     28 |     4 |            | zero                                                                     |
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
//! Little-endian. Apart from the header's and `body_check`, every check is the CRC-32 of tenant (4), day (4),
//! sequence (8), content (1), section kind (1), part ordinal (8; all ones for a section as a whole) and the
//! bytes as they are stored, so that intact bytes of another block, section or part do not pass. Every byte
//! of the file is under a check.

use std::sync::Arc;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{
    BlockContent, BlockId, BlockMeta, Day, Lsn, LsnRange, TenantNumber, TimeRange, Timestamp,
};
use annals_vfs::Sealed;
use annals_vfs::planted::{Bug, planted};
use crc32fast::Hasher;

use crate::error::{BlockError, BlockIdentity, Corruption, SectionInfo};
use crate::squeeze::{Squeezer, Unsqueezer};

/// The format that this engine writes, and the newest that it reads.
const VERSION: u16 = 1;
/// Required features that this engine knows: none yet.
const FEATURES_KNOWN: u32 = 0;
/// How every block begins.
pub const MAGIC: &[u8; 8] = b"ANNALBLK";
const END_MAGIC: &[u8; 4] = b"ANBE";
const HEADER_BYTES: usize = 64;
const SECTION_ENTRY_BYTES: usize = 32;
/// Footer bytes that are always there, before and after the section entries.
const FOOTER_FIXED_BYTES: usize = 4 + 4 * 8 + 4 + TRAILER_BYTES;
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
const PACKING_PLAIN: u8 = 0;
const PACKING_ZSTD: u8 = 1;
/// The ordinal that stands for a section as a whole.
const WHOLE: u64 = u64::MAX;

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
    /// Kept for aggregates per chunk.
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
    /// Schemas of signal kinds.
    Schemas = 16,
    /// Where each group of rows is.
    Groups = 17,
    /// Rows of signals.
    Rows = 18,
}

const SECTION_KINDS: [SectionKind; 11] = [
    SectionKind::Stamps,
    SectionKind::Values,
    SectionKind::Aggregates,
    SectionKind::Columns,
    SectionKind::Symbols,
    SectionKind::Labels,
    SectionKind::Series,
    SectionKind::Checks,
    SectionKind::Schemas,
    SectionKind::Groups,
    SectionKind::Rows,
];
/// Stands for the footer in checks.
const FOOTER_TAG: u8 = 0xff;

impl SectionKind {
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
        let [a, b, c, d, e, f, g, h] = ordinal.to_le_bytes();
        let mut hasher = self.0.clone();
        hasher.update(&[tag, a, b, c, d, e, f, g, h]);
        hasher.update(bytes);
        hasher.finalize()
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
    checker: Checker,
    bytes: Vec<u8>,
    sections: Vec<Section>,
}

impl ContainerWriter {
    pub(crate) fn new(identity: BlockIdentity, lsns: LsnRange, level: u8) -> ContainerWriter {
        let mut bytes = Vec::new();
        bytes.put(MAGIC);
        bytes.put_u16(VERSION);
        bytes.put_u8(identity.id.content.tag());
        bytes.put_u8(level);
        bytes.put_u32(identity.tenant.0);
        bytes.put_u32(0);
        bytes.put_u32(0);
        bytes.put_u32(identity.id.day.0 as u32);
        bytes.put_u32(0);
        bytes.put_u64(identity.id.sequence);
        bytes.put_u64(lsns.after.0);
        bytes.put_u64(lsns.through.0);
        bytes.put_u32(0);
        let check = crc32fast::hash(&bytes);
        bytes.put_u32(check);
        let checker = Checker::new(identity);
        ContainerWriter { identity, lsns, level, checker, bytes, sections: Vec::new() }
    }

    pub(crate) fn identity(&self) -> BlockIdentity {
        self.identity
    }

    pub(crate) fn checker(&self) -> &Checker {
        &self.checker
    }

    /// Appends a section as it is: data whose parts are compressed and checked by themselves.
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

    fn put_section(&mut self, kind: SectionKind, packing: u8, stored: &[u8], plain_bytes: usize) {
        let check = self.checker.part(kind, WHOLE, stored);
        let offset = self.bytes.len();
        self.sections.push(Section { kind, packing, check, offset, stored_bytes: stored.len(), plain_bytes });
        self.bytes.put(stored);
    }

    pub(crate) fn finish(mut self, totals: Totals) -> EncodedBlock {
        let mut body = Hasher::new();
        body.update(&self.bytes);
        let body_check = body.clone().finalize();
        let mut footer = Vec::new();
        footer.put_u32(self.sections.len() as u32);
        for section in &self.sections {
            footer.put_u8(section.kind as u8);
            footer.put_u8(section.packing);
            footer.put_u16(0);
            footer.put_u32(section.check);
            footer.put_u64(section.offset as u64);
            footer.put_u64(section.stored_bytes as u64);
            footer.put_u64(section.plain_bytes as u64);
        }
        footer.put_i64(totals.time.start.0);
        footer.put_i64(totals.time.end.0);
        footer.put_u64(totals.series);
        footer.put_u64(totals.rows);
        footer.put_u32(body_check);
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
    checker: Checker,
    meta: BlockMeta,
    sections: Vec<Section>,
    footer_offset: usize,
}

impl Container {
    /// Checks header and footer against each other, the size and the expected identity.
    pub(crate) fn open(
        bytes: Sealed,
        identity: BlockIdentity,
        content: BlockContent,
        name: &str,
    ) -> Result<Container, BlockError> {
        let name: Arc<str> = name.into();
        let corrupt = |section, what| corrupt(&name, section, None, what);
        let header: [u8; HEADER_BYTES] = Cursor::new(&bytes)
            .array()
            .ok_or_else(|| corrupt("header", "the file is shorter than a header"))?;
        let header = parse_header(&header).map_err(|what| corrupt("header", what))?;
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
        let checker = Checker::new(identity);
        // A copy, so that what is checked is what is parsed.
        let footer =
            footer_of(&bytes).ok_or_else(|| corrupt("footer", "the file does not end in a footer"))?;
        let footer_offset = bytes.len() - footer.len();
        let parsed =
            parse_footer(&footer, footer_offset, &checker).map_err(|what| corrupt("footer", what))?;
        let mut whole = Hasher::new_with_initial_len(parsed.body_check, footer_offset as u64);
        whole.update(&footer);
        let meta = BlockMeta {
            id: identity.id,
            time: parsed.totals.time,
            lsns: header.lsns,
            level: header.level,
            series: parsed.totals.series,
            rows: parsed.totals.rows,
            bytes: bytes.len() as u64,
            check: whole.finalize(),
        };
        let day = identity.id.day.range();
        if meta.time.is_empty() || meta.time.start < day.start || meta.time.end > day.end {
            return Err(corrupt("footer", "its times are outside its day"));
        }
        Ok(Container { bytes, name, checker, meta, sections: parsed.sections, footer_offset })
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

    /// The section, checked and decompressed, as a copy of the mapped bytes.
    pub(crate) fn section(&self, kind: SectionKind) -> Result<Vec<u8>, BlockError> {
        let corrupt = |what| self.corrupt(kind, None, what);
        let section = self.find(kind)?;
        let stored = self.stored(section).to_vec();
        if self.checker.part(kind, WHOLE, &stored) != section.check && !planted(Bug::PartNotChecked) {
            return Err(corrupt("check mismatch: damaged, or of another block"));
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
        let stored = usize::try_from(part.offset)
            .ok()
            .and_then(|offset| self.stored(section).get(offset..)?.get(..part.bytes))
            .ok_or_else(|| self.corrupt(part.kind, Some(part.ordinal), "it lies outside its section"))?;
        copy.clear();
        copy.extend_from_slice(stored);
        if self.checker.part(part.kind, part.ordinal, copy) != part.check && !planted(Bug::PartNotChecked) {
            let what = "check mismatch: damaged, or of another block";
            return Err(self.corrupt(part.kind, Some(part.ordinal), what));
        }
        Ok(())
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
            if self.checker.part(section.kind, WHOLE, self.stored(section)) != section.check {
                errors.push(self.corrupt(section.kind, None, "check mismatch over the whole section"));
            }
        }
        if crc32fast::hash(&self.bytes) != self.meta.check {
            errors.push(corrupt(&self.name, "file", None, "check mismatch over the whole file"));
        }
        errors
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

    /// A section's bytes in the mapping. `open` has checked that they are inside.
    fn stored(&self, section: &Section) -> &[u8] {
        self.bytes.get(section.offset..section.offset + section.stored_bytes).unwrap_or_default()
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

fn corrupt(name: &Arc<str>, section: &'static str, ordinal: Option<u64>, what: &'static str) -> BlockError {
    BlockError::Corrupt { name: Arc::clone(name), at: Corruption { section, ordinal, what } }
}

struct Header {
    version: u16,
    required: u32,
    level: u8,
    identity: BlockIdentity,
    lsns: LsnRange,
}

fn parse_header(bytes: &[u8; HEADER_BYTES]) -> Result<Header, &'static str> {
    let (checked, check) = bytes.split_at(HEADER_BYTES - 4);
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
    let zero = cursor.u32().ok_or(short)?;
    let sequence = cursor.u64().ok_or(short)?;
    let lsns = LsnRange { after: Lsn(cursor.u64().ok_or(short)?), through: Lsn(cursor.u64().ok_or(short)?) };
    if version <= VERSION && (version == 0 || zero != 0 || cursor.u32() != Some(0)) {
        return Err("a field that must be zero is not");
    }
    let content = match BlockContent::from_tag(content) {
        Some(content) => content,
        // Newer engines may have further contents; what they write is not damage.
        None if version > VERSION || required & !FEATURES_KNOWN != 0 => BlockContent::RawMetrics,
        None => return Err("a content that no version of the format has"),
    };
    let identity = BlockIdentity { tenant, id: BlockId { day, content, sequence } };
    Ok(Header { version, required, level, identity, lsns })
}

struct Footer {
    sections: Vec<Section>,
    totals: Totals,
    body_check: u32,
}

/// A copy of the footer, where the file's end says that there is one of sensible size.
fn footer_of(bytes: &[u8]) -> Option<Vec<u8>> {
    let body = bytes.get(HEADER_BYTES..)?;
    let mut trailer = Cursor::new(body.get(body.len().checked_sub(TRAILER_BYTES)?..)?);
    let footer_bytes = usize::try_from(trailer.u32()?).ok()?.checked_add(TRAILER_BYTES)?;
    Some(body.get(body.len().checked_sub(footer_bytes)?..)?.to_vec())
}

fn parse_footer(footer: &[u8], footer_offset: usize, checker: &Checker) -> Result<Footer, &'static str> {
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
        let section =
            parse_section(&mut cursor, footer_offset).ok_or("a section that no version of the format has")?;
        if section.offset != next || sections.iter().any(|before| before.kind == section.kind) {
            return Err("sections do not follow each other");
        }
        next = next.checked_add(section.stored_bytes).ok_or("a section beyond the file")?;
        sections.push(section);
    }
    if next != footer_offset {
        return Err("sections do not fill the file");
    }
    let time = TimeRange::new(Timestamp(cursor.i64().ok_or(short)?), Timestamp(cursor.i64().ok_or(short)?));
    let (series, rows) = (cursor.u64().ok_or(short)?, cursor.u64().ok_or(short)?);
    let body_check = cursor.u32().ok_or(short)?;
    Ok(Footer { sections, totals: Totals { time, series, rows }, body_check })
}

fn parse_section(cursor: &mut Cursor<'_>, body_bytes: usize) -> Option<Section> {
    let tag = cursor.u8()?;
    let kind = SECTION_KINDS.into_iter().find(|&kind| kind as u8 == tag)?;
    let packing = cursor.u8().filter(|&packing| packing <= PACKING_ZSTD)?;
    cursor.u16().filter(|&zero| zero == 0)?;
    let check = cursor.u32()?;
    let offset = usize::try_from(cursor.u64()?).ok()?;
    let stored_bytes = usize::try_from(cursor.u64()?).ok()?;
    let plain_bytes = usize::try_from(cursor.u64()?).ok()?;
    match packing {
        PACKING_PLAIN => stored_bytes == plain_bytes,
        _ => {
            plain_bytes
                <= unfolded_bytes_max(body_bytes).min(stored_bytes.saturating_mul(SQUEEZED_ONE_IN_MAX))
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
        let identity = BlockIdentity { tenant: self.tenant(), id: self.meta.id };
        let mut writer = ContainerWriter::new(identity, self.meta.lsns, self.meta.level);
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
        let identity = BlockIdentity { tenant: self.tenant(), id: self.meta.id };
        let mut writer = ContainerWriter::new(identity, self.meta.lsns, self.meta.level);
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

    fn tenant(&self) -> TenantNumber {
        parse_header(&Cursor::new(&self.bytes).array().expect("long enough"))
            .expect("undamaged")
            .identity
            .tenant
    }
}
