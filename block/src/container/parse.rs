//! What header and footer say, from bytes that may be anything.

use std::io;

use annals_model::bytes::Cursor;
use annals_model::{
    BlockContent, BlockId, ChunkAge, Day, KeyId, Lsn, LsnRange, SEAL_BYTES, TenantNumber, TimeRange,
    Timestamp,
};
use annals_vfs::Sealed;

use super::{
    Checker, END_MAGIC, FEATURE_SEALED, FEATURES_KNOWN, FOOTER_FIXED_BYTES, HEADER_BYTES, HEADER_FIRST_BYTES,
    MAGIC, PACKING_PLAIN, PACKING_ZSTD, SECTION_ENTRY_BYTES, SECTION_KINDS, SQUEEZED_ONE_IN_MAX, Section,
    TRAILER_BYTES, Totals, VERSION, unfolded_bytes_max,
};
use crate::error::BlockIdentity;
use crate::sealing::{FOOTER_TAG, SealHeader, WHOLE};

/// The header.
pub(super) struct Header {
    pub(super) version: u16,
    pub(super) required: u32,
    pub(super) level: u8,
    pub(super) age: ChunkAge,
    pub(super) identity: BlockIdentity,
    pub(super) lsns: LsnRange,
    pub(super) seal: SealHeader,
}

impl Header {
    pub(super) fn is_sealed(&self) -> bool {
        self.required & FEATURE_SEALED != 0
    }
}

pub(super) fn parse_header(bytes: &[u8; HEADER_FIRST_BYTES]) -> Result<Header, &'static str> {
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
pub(super) fn parse_seal_header(
    bytes: &[u8; HEADER_BYTES],
    sealed: bool,
) -> Result<SealHeader, &'static str> {
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

/// The footer.
pub(super) struct Footer {
    pub(super) sections: Vec<Section>,
    pub(super) totals: Totals,
    pub(super) body_check: u32,
    pub(super) seal: [u8; SEAL_BYTES],
    /// What `seal` authenticates: what stands before it, and after it.
    pub(super) entries: Vec<u8>,
    pub(super) fields: Vec<u8>,
}

/// A copy of the footer, where the file's end says that there is one of sensible size.
pub(super) fn footer_of(bytes: &Sealed) -> io::Result<Option<Vec<u8>>> {
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

pub(super) fn parse_footer(
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
