//! The series table, in label order, and the chunks of each series.
//!
//! | bytes  | field    | notes                                                                        |
//! |-------:|----------|------------------------------------------------------------------------------|
//! | varint | `count`  | then per series:                                                             |
//! |      1 | `kind`   | `SeriesKind::tag`                                                            |
//! |      1 | `form`   | bits 0 to 2: what its chunks are: 1 histograms where its kind says so, else by the |
//! |        |          | block's content 0 doubles or 2 rollups (3, columns of events, and bit 4, metadata,  |
//! |        |          | are kept for blocks that say so in their required features); bit 3: it has starts   |
//! | varint | `pairs`  | how many labels; then the number of each pair, ascending, as the difference  |
//! |        |          | to the one before (the first as it is)                                       |
//! | varint | `chunks` | how many, at least one; then per chunk:                                      |
//! | varint | `column` | zigzag: its column of timestamps, less one more than that of the chunk before|
//! | varint | `bytes`  | its size in `values`                                                         |
//! | varint | `starts` | only where bit 3 says so: its column of start times and one more; 0: none is known |
//!
//! The section `values` holds the chunks in this order, without gaps; the section `checks` 4 bytes for each,
//! apart from the table because they do not compress. A chunk has as many values as its column has stamps, and its column
//! of start times as many.
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

/// In a series' form: its chunks have columns of start times.
pub(crate) const HAS_STARTS: u8 = 0x08;

/// Appends a series' entry: kind, pairs (ascending), chunks (column, bytes); `starts` as the table has them, where there are
/// any.
pub(crate) fn put_series(
    kind: SeriesKind,
    form: Form,
    pairs: &[u32],
    chunks: &[(u32, u32)],
    starts: &[u32],
    out: &mut Vec<u8>,
) {
    let has_starts = starts.iter().any(|&starts| starts > 0);
    out.put_u8(kind.tag());
    out.put_u8(form as u8 | if has_starts { HAS_STARTS } else { 0 });
    out.put_varint(pairs.len() as u64);
    let mut before = 0;
    for &pair in pairs {
        out.put_varint(u64::from(pair - before));
        before = pair;
    }
    out.put_varint(chunks.len() as u64);
    let mut expected = 0i64;
    for (at, &(column, bytes)) in chunks.iter().enumerate() {
        out.put_varint_signed(i64::from(column) - expected);
        out.put_varint(u64::from(bytes));
        if has_starts {
            out.put_varint(starts.get(at).copied().unwrap_or(0).into());
        }
        expected = i64::from(column) + 1;
    }
}

/// A chunk of a series.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chunk<'a> {
    pub(crate) column: &'a Column,
    /// Its column of start times, where any is known.
    pub(crate) starts: Option<&'a Column>,
    /// Where its values are; the ordinal counts the block's chunks.
    pub(crate) part: Part,
}

/// A table that was read. Every entry has been parsed once, its chunks lie in `values`, in time order.
#[derive(Debug)]
pub(crate) struct SeriesTable {
    bytes: Vec<u8>,
    checks: Vec<u8>,
    columns: Vec<Column>,
    /// Of start times.
    starts: Vec<Column>,
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
        (columns, starts): (Vec<Column>, Vec<Column>),
        values_bytes: u64,
    ) -> Result<SeriesTable, &'static str> {
        let mut cursor = Cursor::new(&bytes);
        let count = cursor.count(SERIES_ENTRY_BYTES_MIN as usize).ok_or("it is shorter than its series")?;
        let mut entries = Vec::with_capacity(count);
        let (mut first_chunk, mut values) = (0u32, 0u64);
        for _ in 0..count {
            let start = u32::try_from(cursor.offset()).map_err(|_| "it is larger than 4 GiB")?;
            let has_starts = skip_pairs(&mut cursor, content).ok_or("a series cannot be read")?;
            let of_chunks =
                ChunkColumns { columns: &columns, starts: has_starts.then_some(starts.as_slice()) };
            let entry = Entry::new(start, first_chunk, values, cursor.offset() - start as usize);
            entries.push(entry.ok_or("a series with too many labels")?);
            let chunks = cursor.count(2).filter(|&chunks| chunks > 0).ok_or("a series without chunks")?;
            let (mut expected, mut last) = (0, i64::MIN);
            for _ in 0..chunks {
                let read = of_chunks.chunk(&mut cursor, &mut expected);
                let (column, _, bytes) = read.ok_or("a bad chunk")?;
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
        Ok(SeriesTable { bytes, checks, columns, starts, entries })
    }

    /// How much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let entries = size_of_val(self.entries.as_slice());
        let columns = size_of_val(self.columns.as_slice()) + size_of_val(self.starts.as_slice());
        self.bytes.len() + self.checks.len() + columns + entries
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
        let head = cursor.take(entry.head_bytes())?;
        let has_starts = head.get(1).is_some_and(|form| form & HAS_STARTS != 0);
        let left = cursor.count(2)?;
        Some(Chunks {
            table: self,
            columns: ChunkColumns {
                columns: &self.columns,
                starts: has_starts.then_some(self.starts.as_slice()),
            },
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
    columns: ChunkColumns<'a>,
    cursor: Cursor<'a>,
    left: usize,
    expected: i64,
    ordinal: u32,
    values: u64,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (column, starts, bytes) = self.columns.chunk(&mut self.cursor, &mut self.expected)?;
        let check = self.table.check(self.ordinal)?;
        let ordinal = u64::from(self.ordinal);
        let part =
            Part { kind: SectionKind::Values, ordinal, offset: self.values, bytes: bytes as usize, check };
        self.ordinal += 1;
        self.values += bytes;
        Some(Chunk { column, starts, part })
    }
}

/// Whether the series has starts.
fn skip_pairs(cursor: &mut Cursor<'_>, content: BlockContent) -> Option<bool> {
    let kind = SeriesKind::from_tag(cursor.u8()?)?;
    let form = cursor.u8().filter(|&found| found & !HAS_STARTS == Form::of(content, kind) as u8)?;
    for _ in 0..cursor.count(1)? {
        cursor.varint()?;
    }
    Some(form & HAS_STARTS != 0)
}

/// What the chunks of a series refer to.
#[derive(Clone, Copy)]
struct ChunkColumns<'a> {
    columns: &'a [Column],
    /// Where its form says that it has some.
    starts: Option<&'a [Column]>,
}

impl<'a> ChunkColumns<'a> {
    /// A chunk's column of timestamps, that of start times, and how many bytes its values take.
    fn chunk(
        self,
        cursor: &mut Cursor<'_>,
        expected: &mut i64,
    ) -> Option<(&'a Column, Option<&'a Column>, u64)> {
        let number = expected.checked_add(cursor.varint_signed()?)?;
        let column = self.columns.get(usize::try_from(number).ok()?)?;
        *expected = number + 1;
        let bytes = cursor.varint()?;
        let starts = match self.starts {
            None => None,
            Some(starts) => match usize::try_from(cursor.varint()?).ok()? {
                0 => None,
                number => Some(starts.get(number - 1).filter(|starts| starts.count == column.count)?),
            },
        };
        Some((column, starts, bytes))
    }
}
