//! What each chunk comes to, so that a query that takes it whole need not decode it.
//!
//! The section `aggregates` holds pages: each is the aggregates of [`PAGE_CHUNKS`] chunks in the order of the series
//! table (the last page of fewer), as eight columns of doubles, each a length (varint) and a chunk of values as
//! `codec/values.rs` encodes them: `sum`, `sum_low`, `min`, `max`, `first`, `last`, `resets`, `correction`. A chunk that has
//! no aggregate, as a value is not finite or start times overlap, has NaN as its sum, and zeros. Counts and times are those of
//! the chunk's column of timestamps, starts those of its column of start times. A column that is constant, as `sum_low` is for whole numbers, takes a few bytes a page.
//!
//! The section `pages` says where each is:
//!
//! | bytes     | field    | notes                                             |
//! |----------:|----------|---------------------------------------------------|
//! |    varint | `count`  | then for each page:                               |
//! |    varint | `bytes`  | its size in `aggregates`                          |
//! | 4 * count | `checks` | the check of each page, with its position as ordinal |

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{Aggregate, START_UNKNOWN};

use crate::container::{ContainerWriter, Part, SectionKind};

use crate::codec::ints::{Decoding, Effort};
use crate::codec::kernel::Level;
use crate::codec::values::{self, ValueEncoder};
use crate::columns::Column;
use crate::series::Chunk;

/// Chunks whose aggregates are coded, checked and read together.
pub(crate) const PAGE_CHUNKS: usize = 512;
const FIELDS: usize = 8;

/// The columns of a page.
#[derive(Debug, Default)]
pub(crate) struct Page([Vec<f64>; FIELDS]);

impl Page {
    pub(crate) fn len(&self) -> usize {
        self.0.first().map_or(0, Vec::len)
    }

    /// Adds a chunk's aggregate.
    pub(crate) fn push(&mut self, aggregate: Option<&Aggregate>) {
        let row = match aggregate {
            Some(all) => [
                all.sum,
                all.sum_low,
                all.min,
                all.max,
                all.first,
                all.last,
                // Less than 2^53: no chunk has as many samples.
                all.resets as f64,
                all.correction,
            ],
            None => [f64::NAN, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        };
        self.0.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
    }

    /// Appends the page and empties it.
    pub(crate) fn encode(&mut self, encoder: &mut ValueEncoder, out: &mut Vec<u8>) {
        let mut bytes = Vec::new();
        for column in &mut self.0 {
            bytes.clear();
            encoder.encode(column, Effort::Hot, &mut bytes);
            out.put_blob(&bytes);
            column.clear();
        }
    }

    /// Replaces the page by one of `count` chunks that was read; `None` where the bytes are not that.
    pub(crate) fn decode(&mut self, bytes: &[u8], count: usize, decoding: &mut Decoding) -> Option<()> {
        let mut cursor = Cursor::new(bytes);
        for column in &mut self.0 {
            column.clear();
            values::decode(cursor.blob()?, count, Level::widest(), decoding, 0..count, column)?;
        }
        cursor.is_empty().then_some(())
    }

    /// The aggregate of the chunk at this position.
    pub(crate) fn get(&self, position: usize, chunk: &Chunk<'_>) -> Option<Aggregate> {
        let column = chunk.column;
        let start = |of: fn(&Column) -> i64| chunk.starts.map_or(START_UNKNOWN, of);
        let [sum, sum_low, min, max, first, last, resets, correction] = &self.0;
        let value = |column: &Vec<f64>| column.get(position).copied();
        Some(Aggregate {
            count: column.count as u64,
            sum: value(sum).filter(|sum| !sum.is_nan())?,
            sum_low: value(sum_low)?,
            min: value(min)?,
            max: value(max)?,
            first: value(first)?,
            last: value(last)?,
            first_time: column.first,
            last_time: column.last,
            // Saturates, whatever is there.
            resets: value(resets)? as u64,
            correction: value(correction)?,
            first_start: start(|starts| starts.first),
            last_start: start(|starts| starts.last),
            overlaps: false,
        })
    }
}

/// Collects pages while chunks are added.
#[derive(Default)]
pub(crate) struct AggregateWriter {
    page: Page,
    data: Vec<u8>,
    /// Bytes and check of each page.
    pages: Vec<(u64, u32)>,
}

impl AggregateWriter {
    /// Adds the next chunk's aggregate.
    pub(crate) fn push(
        &mut self,
        aggregate: Option<&Aggregate>,
        encoder: &mut ValueEncoder,
        container: &mut ContainerWriter,
    ) {
        self.page.push(aggregate);
        if self.page.len() == PAGE_CHUNKS {
            self.end_page(encoder, container);
        }
    }

    fn end_page(&mut self, encoder: &mut ValueEncoder, container: &mut ContainerWriter) {
        let start = self.data.len();
        self.page.encode(encoder, &mut self.data);
        let ordinal = self.pages.len() as u64;
        let check = container.seal_part(SectionKind::Aggregates, ordinal, &mut self.data, start);
        self.pages.push(((self.data.len() - start) as u64, check));
    }

    /// The sections `aggregates` and `pages`.
    pub(crate) fn finish(
        mut self,
        encoder: &mut ValueEncoder,
        container: &mut ContainerWriter,
    ) -> (Vec<u8>, Vec<u8>) {
        if self.page.len() > 0 {
            self.end_page(encoder, container);
        }
        let mut directory = Vec::new();
        directory.put_varint(self.pages.len() as u64);
        self.pages.iter().for_each(|&(bytes, _)| directory.put_varint(bytes));
        self.pages.iter().for_each(|&(_, check)| directory.put_u32(check));
        (self.data, directory)
    }
}

/// Reads the `pages` section of a block of so many chunks; says what is wrong where it is not one.
pub(crate) fn parse_pages(bytes: &[u8], chunks: usize, data_bytes: u64) -> Result<Vec<Part>, &'static str> {
    const SHORT: &str = "it ends within a page";
    let mut cursor = Cursor::new(bytes);
    let count = cursor.count(5).ok_or(SHORT)?;
    if count != chunks.div_ceil(PAGE_CHUNKS) {
        return Err("not as many pages as its chunks take");
    }
    let mut pages = Vec::with_capacity(count);
    let mut offset = 0u64;
    for ordinal in 0..count as u64 {
        let bytes = cursor.varint().ok_or(SHORT)?;
        let end = offset.checked_add(bytes).filter(|&end| end <= data_bytes).ok_or("a page too long")?;
        pages.push(Part { kind: SectionKind::Aggregates, ordinal, offset, bytes: bytes as usize, check: 0 });
        offset = end;
    }
    for page in &mut pages {
        page.check = cursor.u32().ok_or(SHORT)?;
    }
    if offset != data_bytes || !cursor.is_empty() {
        return Err("pages do not fill their section");
    }
    Ok(pages)
}
