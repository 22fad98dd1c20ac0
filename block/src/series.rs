//! The series table, in label order, and the chunks of each series.
//!
//! | bytes  | field    | notes                                                                        |
//! |-------:|----------|------------------------------------------------------------------------------|
//! | varint | `count`  | then per series:                                                             |
//! |      1 | `kind`   | `SeriesKind::tag`                                                            |
//! |      1 | `form`   | bits 0 to 2: what its chunks are: 1 histograms where its kind says so, else by the |
//! |        |          | block's content 0 doubles or 2 rollups (3, columns of events, is kept for blocks |
//! |        |          | that say so in their required features, as are bit 3, start times, and bit 4, metadata) |
//! | varint | `pairs`  | how many labels; then the number of each pair, ascending, as the difference  |
//! |        |          | to the one before (the first as it is)                                       |
//! | varint | `chunks` | how many, at least one; then per chunk:                                      |
//! | varint | `column` | zigzag: its column of timestamps, less one more than that of the chunk before|
//! | varint | `bytes`  | its size in `values`                                                         |
//!
//! The section `values` holds the chunks in this order, without gaps; the section `checks` 4 bytes for each,
//! apart from the table because they do not compress. A chunk has as many values as its column has stamps.
//! The chunks of a series ascend in time and do not overlap.

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{BlockContent, SeriesKind};

use crate::columns::Column;
use crate::container::{Part, SectionKind};

/// What an entry takes at least: kind, form, number of pairs, number of chunks, and one chunk of two numbers.
pub(crate) const SERIES_ENTRY_BYTES_MIN: u64 = 6;

/// What the chunks of a series are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Doubles = 0,
    Histograms = 1,
    Rollups = 2,
}

impl Form {
    /// As the block's content and the series' kind ask for it.
    pub(crate) fn of(content: BlockContent, kind: SeriesKind) -> Form {
        match content.window_ms() {
            _ if kind.is_histogram() => Form::Histograms,
            Some(_) => Form::Rollups,
            None => Form::Doubles,
        }
    }
}

/// Appends a series' entry: kind, pairs (ascending), chunks (column, bytes).
pub(crate) fn put_series(
    kind: SeriesKind,
    form: Form,
    pairs: &[u32],
    chunks: &[(u32, u32)],
    out: &mut Vec<u8>,
) {
    out.put_u8(kind.tag());
    out.put_u8(form as u8);
    out.put_varint(pairs.len() as u64);
    let mut before = 0;
    for &pair in pairs {
        out.put_varint(u64::from(pair - before));
        before = pair;
    }
    out.put_varint(chunks.len() as u64);
    let mut expected = 0i64;
    for &(column, bytes) in chunks {
        out.put_varint_signed(i64::from(column) - expected);
        out.put_varint(u64::from(bytes));
        expected = i64::from(column) + 1;
    }
}

/// A chunk of a series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk {
    pub(crate) column: Column,
    /// Where its values are; the ordinal counts the block's chunks.
    pub(crate) part: Part,
}

/// A table that was read. Every entry has been parsed once, its chunks lie in `values`, in time order.
#[derive(Debug)]
pub(crate) struct SeriesTable {
    bytes: Vec<u8>,
    checks: Vec<u8>,
    columns: Vec<Column>,
    entries: Vec<Entry>,
}

/// Where a series is in the table: 16 bytes, for there may be millions.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Where it starts in the table.
    start: u32,
    first_chunk: u32,
    /// Where its first chunk starts in `values`, and, in the low bits, how many bytes of it come before its chunks.
    values_and_head: u64,
}

/// Kind, form and labels of a series take fewer bytes than this: 64 labels of five bytes, and a little.
const HEAD_BITS: u32 = 12;

impl Entry {
    fn new(start: u32, first_chunk: u32, values: u64, head_bytes: usize) -> Option<Entry> {
        let head_bytes = u64::try_from(head_bytes).ok().filter(|bytes| bytes >> HEAD_BITS == 0)?;
        let values = values.checked_mul(1 << HEAD_BITS)?;
        Some(Entry { start, first_chunk, values_and_head: values | head_bytes })
    }

    fn values(self) -> u64 {
        self.values_and_head >> HEAD_BITS
    }

    fn head_bytes(self) -> usize {
        (self.values_and_head & ((1 << HEAD_BITS) - 1)) as usize
    }
}

impl SeriesTable {
    /// Reads a table; says what is wrong where it is not one.
    pub(crate) fn parse(
        bytes: Vec<u8>,
        content: BlockContent,
        checks: Vec<u8>,
        columns: Vec<Column>,
        values_bytes: u64,
    ) -> Result<SeriesTable, &'static str> {
        let mut cursor = Cursor::new(&bytes);
        let count = cursor.count(SERIES_ENTRY_BYTES_MIN as usize).ok_or("it is shorter than its series")?;
        let mut entries = Vec::with_capacity(count);
        let (mut first_chunk, mut values) = (0u32, 0u64);
        for _ in 0..count {
            let start = u32::try_from(cursor.offset()).map_err(|_| "it is larger than 4 GiB")?;
            skip_pairs(&mut cursor, content).ok_or("a series cannot be read")?;
            let entry = Entry::new(start, first_chunk, values, cursor.offset() - start as usize);
            entries.push(entry.ok_or("a series with too many labels")?);
            let chunks = cursor.count(2).filter(|&chunks| chunks > 0).ok_or("a series without chunks")?;
            let (mut expected, mut last) = (0, i64::MIN);
            for _ in 0..chunks {
                let (column, bytes) = chunk(&mut cursor, &mut expected, &columns).ok_or("a bad chunk")?;
                if column.first <= last {
                    return Err("the chunks of a series overlap");
                }
                last = column.last;
                values = values.checked_add(bytes).ok_or("a chunk too long")?;
            }
            first_chunk = first_chunk.checked_add(chunks as u32).ok_or("too many chunks")?;
        }
        if !cursor.is_empty() {
            return Err("bytes after the last series");
        }
        if values != values_bytes {
            return Err("chunks do not fill their section");
        }
        if u64::from(first_chunk) * 4 != checks.len() as u64 {
            return Err("there are not as many checks as chunks");
        }
        Ok(SeriesTable { bytes, checks, columns, entries })
    }

    /// How much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let entries = size_of_val(self.entries.as_slice());
        self.bytes.len() + self.checks.len() + size_of_val(self.columns.as_slice()) + entries
    }

    /// How many chunks there are.
    pub(crate) fn chunk_count(&self) -> usize {
        self.checks.len() / 4
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The columns of timestamps.
    pub(crate) fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The kind of a series, and its pairs' numbers.
    pub(crate) fn head(&self, ordinal: u32) -> Option<(SeriesKind, Vec<u32>)> {
        let mut pairs = Vec::new();
        let kind = self.head_into(ordinal, &mut pairs)?;
        Some((kind, pairs))
    }

    /// The kind of a series; replaces `pairs` by its pairs' numbers.
    pub(crate) fn head_into(&self, ordinal: u32, pairs: &mut Vec<u32>) -> Option<SeriesKind> {
        let mut cursor = self.entry(ordinal)?.1;
        let kind = SeriesKind::from_tag(cursor.u8()?)?;
        // The form, which was looked at when the table was read.
        cursor.u8()?;
        pairs.clear();
        let mut pair = 0u32;
        for _ in 0..cursor.count(1)? {
            pair = u32::try_from(u64::from(pair).checked_add(cursor.varint()?)?).ok()?;
            pairs.push(pair);
        }
        Some(kind)
    }

    /// The kind of a series.
    pub(crate) fn kind(&self, ordinal: u32) -> Option<SeriesKind> {
        SeriesKind::from_tag(self.entry(ordinal)?.1.u8()?)
    }

    /// The chunks of a series, in time order.
    pub(crate) fn chunks(&self, ordinal: u32) -> Option<Chunks<'_>> {
        let (entry, mut cursor) = self.entry(ordinal)?;
        cursor.take(entry.head_bytes())?;
        let left = cursor.count(2)?;
        Some(Chunks {
            table: self,
            cursor,
            left,
            expected: 0,
            ordinal: entry.first_chunk,
            values: entry.values(),
        })
    }

    fn entry(&self, ordinal: u32) -> Option<(Entry, Cursor<'_>)> {
        let entry = *self.entries.get(ordinal as usize)?;
        Some((entry, Cursor::new(self.bytes.get(entry.start as usize..)?)))
    }

    fn check(&self, chunk: u32) -> Option<u32> {
        self.checks.as_chunks::<4>().0.get(chunk as usize).map(|bytes| u32::from_le_bytes(*bytes))
    }
}

/// Iterates over the chunks of a series.
pub(crate) struct Chunks<'a> {
    table: &'a SeriesTable,
    cursor: Cursor<'a>,
    left: usize,
    expected: i64,
    ordinal: u32,
    values: u64,
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        self.left = self.left.checked_sub(1)?;
        let (column, bytes) = chunk(&mut self.cursor, &mut self.expected, &self.table.columns)?;
        let check = self.table.check(self.ordinal)?;
        let ordinal = u64::from(self.ordinal);
        let part =
            Part { kind: SectionKind::Values, ordinal, offset: self.values, bytes: bytes as usize, check };
        self.ordinal += 1;
        self.values += bytes;
        Some(Chunk { column, part })
    }
}

fn skip_pairs(cursor: &mut Cursor<'_>, content: BlockContent) -> Option<()> {
    let kind = SeriesKind::from_tag(cursor.u8()?)?;
    cursor.u8().filter(|&found| found == Form::of(content, kind) as u8)?;
    for _ in 0..cursor.count(1)? {
        cursor.varint()?;
    }
    Some(())
}

fn chunk(cursor: &mut Cursor<'_>, expected: &mut i64, columns: &[Column]) -> Option<(Column, u64)> {
    let number = expected.checked_add(cursor.varint_signed()?)?;
    let column = *columns.get(usize::try_from(number).ok()?)?;
    *expected = number + 1;
    Some((column, cursor.varint()?))
}
