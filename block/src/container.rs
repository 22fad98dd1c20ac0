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
//! `stamps`, `starts`, `values`, `aggregates` and `rows` consist of such parts. Apart from the two of the header and `body_check`,
//! every check is the CRC-32 of tenant (4), day (4), sequence (8), content (1), section kind (1), part ordinal (8; all
//! ones for a section as a whole) and the bytes as they are stored, so that intact bytes of another block, section or part
//! do not pass. Every byte of the file is under a check.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use annals_model::bytes::PutBytes;
use annals_model::{SEAL_BYTES, TimeRange};
use crc32fast::Hasher;

use crate::error::{BlockError, BlockIdentity, Corruption};

#[cfg(any(test, feature = "fuzzing"))]
mod forge;
#[cfg(test)]
mod page_tests;
mod parse;
mod read;
mod write;

pub(crate) use read::Container;
pub(crate) use write::ContainerWriter;
pub use write::EncodedBlock;

/// The format that this engine writes, and the newest that it reads.
const VERSION: u16 = 1;
/// Required feature: the block is sealed.
const FEATURE_SEALED: u32 = 1;
/// Required feature: the block has series of histograms.
pub(crate) const FEATURE_HISTOGRAMS: u32 = 2;
/// Required feature: the block has series that know their start times.
pub(crate) const FEATURE_STARTS: u32 = 4;
/// Required features that this engine knows.
const FEATURES_KNOWN: u32 = FEATURE_SEALED | FEATURE_HISTOGRAMS | FEATURE_STARTS;
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
    /// Columns of start times.
    Starts = 10,
    /// Where each column of start times is.
    Begun = 11,
    /// Schemas of signal kinds.
    Schemas = 16,
    /// Where each group of rows is.
    Groups = 17,
    /// Rows of signals.
    Rows = 18,
}

const SECTION_KINDS: [SectionKind; 14] = [
    SectionKind::Stamps,
    SectionKind::Values,
    SectionKind::Aggregates,
    SectionKind::Columns,
    SectionKind::Symbols,
    SectionKind::Labels,
    SectionKind::Series,
    SectionKind::Checks,
    SectionKind::Pages,
    SectionKind::Starts,
    SectionKind::Begun,
    SectionKind::Schemas,
    SectionKind::Groups,
    SectionKind::Rows,
];

impl SectionKind {
    /// Whether it consists of parts that are sealed and checked one by one.
    fn is_in_parts(self) -> bool {
        matches!(
            self,
            SectionKind::Stamps
                | SectionKind::Values
                | SectionKind::Aggregates
                | SectionKind::Starts
                | SectionKind::Rows
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
            SectionKind::Starts => "starts",
            SectionKind::Begun => "begun",
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
