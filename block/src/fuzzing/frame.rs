//! A second reading of the block's frame, from the tables in `container.rs`: it believes nothing and corrects what it
//! finds, in place.

use std::ops::Range;

use annals_model::bytes::Cursor;
use annals_model::{BlockContent, BlockId, ChunkAge, Day, TenantNumber};
use crc32fast::Hasher;

use crate::container::{FEATURE_HISTOGRAMS, FEATURE_STARTS};
use crate::{BlockIdentity, MAGIC};

const HEADER_FIRST_BYTES: usize = 64;
const HEADER_BYTES: usize = 128;
const ENTRY_BYTES: usize = 32;
/// `seal`, times, counts, `body_check`, `footer_bytes`, `check`, `magic`: what follows the entries.
const AFTER_ENTRIES_BYTES: usize = 64;
const SECTIONS_MAX: usize = 16;
const FOOTER_TAG: u8 = 0xff;
const WHOLE: u64 = u64::MAX;

/// Where a section lies.
#[derive(Debug, Clone)]
pub(super) struct Section {
    pub(super) kind: u8,
    pub(super) range: Range<usize>,
}

/// The frame of a block that is being repaired.
pub(super) struct Frame {
    pub(super) identity: BlockIdentity,
    pub(super) sections: Vec<Section>,
    footer: usize,
}

impl Frame {
    /// Corrects magic, version and sizes; `None` where not even a footer can be made out.
    pub(super) fn refit(bytes: &mut [u8]) -> Option<Frame> {
        bytes.get_mut(..8)?.copy_from_slice(MAGIC);
        bytes.get_mut(8..10)?.copy_from_slice(&1u16.to_le_bytes());
        if BlockContent::from_tag(*bytes.get(10)?).is_none() {
            *bytes.get_mut(10)? = BlockContent::RawMetrics.tag();
        }
        if ChunkAge::from_tag(*bytes.get(28)?).is_none() {
            *bytes.get_mut(28)? = ChunkAge::Fresh.tag();
        }
        // Of the required features, histograms and start times stay asked for.
        *bytes.get_mut(16)? &= (FEATURE_HISTOGRAMS | FEATURE_STARTS) as u8;
        for zeros in [17..20, 29..32, 56..60, HEADER_FIRST_BYTES..HEADER_BYTES] {
            bytes.get_mut(zeros)?.fill(0);
        }
        let identity = identity(bytes)?;
        // As the end states it, else where any footer would fit.
        let stated = Cursor::new(bytes.get(bytes.len().checked_sub(12)?..)?).u32()? as usize;
        let stated = stated.saturating_sub(AFTER_ENTRIES_BYTES - 8) / ENTRY_BYTES;
        let counts = [stated.min(SECTIONS_MAX)].into_iter().chain((0..=SECTIONS_MAX).rev());
        let (footer, count) = counts.into_iter().find_map(|count| {
            let footer = bytes.len().checked_sub(4 + count * ENTRY_BYTES + AFTER_ENTRIES_BYTES)?;
            let stated = Cursor::new(bytes.get(footer..)?).u32()?;
            (footer >= HEADER_BYTES && stated as usize == count).then_some((footer, count))
        })?;
        let sections = refit_entries(bytes, footer, count)?;
        Some(Frame { identity, sections, footer })
    }

    /// Writes the checks of sections, body, footer and header.
    pub(super) fn put_checks(&self, bytes: &mut [u8]) -> Option<()> {
        for (position, section) in self.sections.iter().enumerate() {
            let check = self.check(section.kind, WHOLE, bytes.get(section.range.clone())?);
            put(bytes, self.footer + 4 + position * ENTRY_BYTES + 4, &check.to_le_bytes())?;
        }
        for header_bytes in [HEADER_FIRST_BYTES, HEADER_BYTES] {
            let check = crc32fast::hash(bytes.get(..header_bytes - 4)?);
            put(bytes, header_bytes - 4, &check.to_le_bytes())?;
        }
        put(bytes, self.footer + 4 + self.sections.len() * ENTRY_BYTES, &[0; 16])?;
        let end = bytes.len();
        let body_check = crc32fast::hash(bytes.get(..self.footer)?);
        put(bytes, end - 16, &body_check.to_le_bytes())?;
        put(bytes, end - 12, &((end - 12 - self.footer) as u32).to_le_bytes())?;
        let check = self.check(FOOTER_TAG, WHOLE, bytes.get(self.footer..end - 8)?);
        put(bytes, end - 8, &check.to_le_bytes())?;
        put(bytes, end - 4, b"ANBE")
    }

    /// The check of a part of a section, or of the section as a whole.
    pub(super) fn check(&self, kind: u8, ordinal: u64, bytes: &[u8]) -> u32 {
        let BlockIdentity { tenant, id } = self.identity;
        let mut hasher = Hasher::new();
        hasher.update(&tenant.0.to_le_bytes());
        hasher.update(&id.day.0.to_le_bytes());
        hasher.update(&id.sequence.to_le_bytes());
        hasher.update(&[id.content.tag(), kind]);
        hasher.update(&ordinal.to_le_bytes());
        hasher.update(bytes);
        hasher.finalize()
    }
}

/// Whose block a header says that it is.
pub(super) fn identity(bytes: &[u8]) -> Option<BlockIdentity> {
    let mut cursor = Cursor::new(bytes);
    cursor.take(10)?;
    let content = BlockContent::from_tag(cursor.u8()?)?;
    cursor.take(1)?;
    let tenant = TenantNumber(cursor.u32()?);
    cursor.take(8)?;
    let day = Day(cursor.u32()? as i32);
    cursor.take(4)?;
    Some(BlockIdentity { tenant, id: BlockId { day, content, sequence: cursor.u64()? } })
}

/// Makes the sections fill the file: what was inserted or removed is taken for the largest's, which is the likeliest.
fn refit_entries(bytes: &mut [u8], footer: usize, count: usize) -> Option<Vec<Section>> {
    let entry = |position: usize| footer + 4 + position * ENTRY_BYTES;
    let mut sizes = Vec::with_capacity(count);
    for position in 0..count {
        let mut cursor = Cursor::new(bytes.get(entry(position) + 16..)?);
        sizes.push(usize::try_from(cursor.u64()?).ok()?.min(bytes.len()));
    }
    let body = footer - HEADER_BYTES;
    let largest = (0..count).max_by_key(|&position| sizes.get(position).copied())?;
    let others: usize = sizes.iter().sum::<usize>() - sizes.get(largest)?;
    *sizes.get_mut(largest)? = body.checked_sub(others)?;
    let (mut sections, mut start) = (Vec::new(), HEADER_BYTES);
    for (position, size) in sizes.into_iter().enumerate() {
        let at = entry(position);
        put(bytes, at + 2, &[0; 2])?;
        put(bytes, at + 8, &(start as u64).to_le_bytes())?;
        put(bytes, at + 16, &(size as u64).to_le_bytes())?;
        if *bytes.get(at + 1)? != 1 {
            put(bytes, at + 1, &[0])?;
            put(bytes, at + 24, &(size as u64).to_le_bytes())?;
        }
        sections.push(Section { kind: *bytes.get(at)?, range: start..start + size });
        start += size;
    }
    Some(sections)
}

/// Overwrites bytes where they are there.
pub(super) fn put(bytes: &mut [u8], at: usize, new: &[u8]) -> Option<()> {
    bytes.get_mut(at..at.checked_add(new.len())?)?.copy_from_slice(new);
    Some(())
}
