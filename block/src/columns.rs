//! Columns of timestamps: each distinct one is stored once per block and shared by the chunks of all series
//! that were sampled together. Columns of start times, where series have them, likewise: the series of one process share
//! the time at which it began.
//!
//! The section `stamps` holds the columns one after the other, each as a run of `codec/ints.rs`. The section
//! `columns` says where each is:
//!
//! | bytes     | field    | notes                                                             |
//! |----------:|----------|-------------------------------------------------------------------|
//! |    varint | `count`  | then for each column:                                             |
//! |    varint | `stamps` | how many, 1 to [`CHUNK_SAMPLES_MAX`]                              |
//! |    varint | `first`  | the first stamp, from the day's start: 1 to 86,400,000            |
//! |    varint | `span`   | from the first to the last                                        |
//! |    varint | `bytes`  | its size in `stamps`                                              |
//! | 4 * count | `checks` | the check of each column, with its position as ordinal            |
//!
//! Stamps ascend strictly within a column and lie in the block's day.
//!
//! The sections `starts` and `begun` are the same for start times, which are any numbers of milliseconds: there `first` and
//! `span` are in zigzag, `first` is the first start itself, and `span` wraps. They are only there where some series' form in
//! the table says that it has starts (`series.rs`).

use std::hash::BuildHasher;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{DAY_MS, Day, TimeRange, Timestamp};
use hashbrown::HashTable;

use crate::FixedHash;
use crate::codec::ints::{self, Decoding, Effort, IntEncoder};
use crate::container::{ContainerWriter, Part, SectionKind};

/// No chunk holds more samples; a reader allocates for this many at most.
pub(crate) const CHUNK_SAMPLES_MAX: usize = 1 << 16;

/// What columns hold.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Held {
    /// Stamps within a day.
    Stamps(Day),
    /// Start times.
    Starts,
}

impl Held {
    fn section(self) -> SectionKind {
        match self {
            Held::Stamps(_) => SectionKind::Stamps,
            Held::Starts => SectionKind::Starts,
        }
    }

    fn put_ends(self, (first, last): (i64, i64), out: &mut Vec<u8>) {
        match self {
            Held::Stamps(day) => {
                out.put_varint((first - day.range().start.0) as u64);
                out.put_varint((last - first) as u64);
            }
            Held::Starts => {
                out.put_varint_signed(first);
                out.put_varint_signed(last.wrapping_sub(first));
            }
        }
    }

    /// The first and the last of so many.
    fn ends(self, cursor: &mut Cursor<'_>, count: usize) -> Result<(i64, i64), &'static str> {
        match self {
            Held::Stamps(day) => {
                let (first, span) = cursor.varint().zip(cursor.varint()).ok_or(SHORT)?;
                if first == 0 || first.checked_add(span).is_none_or(|last| last > DAY_MS as u64) {
                    return Err("a column lies outside the block's day");
                }
                if count as u64 > span + 1 {
                    return Err("a column has more stamps than milliseconds");
                }
                // Both are below a day.
                let first = day.range().start.0 + first as i64;
                Ok((first, first + span as i64))
            }
            Held::Starts => {
                let (first, span) = cursor.varint_signed().zip(cursor.varint_signed()).ok_or(SHORT)?;
                Ok((first, first.wrapping_add(span)))
            }
        }
    }
}

const SHORT: &str = "it ends within a column";

/// What is known of a column without decoding it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) count: usize,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) part: Part,
}

impl Column {
    /// From just before its first stamp to its last.
    pub(crate) fn range(&self) -> TimeRange {
        TimeRange::new(Timestamp(self.first - 1), Timestamp(self.last))
    }

    /// Decodes the column from its checked bytes.
    pub(crate) fn decode(
        &self,
        bytes: &[u8],
        decoding: &mut Decoding,
        stamps: &mut Vec<i64>,
    ) -> Result<(), &'static str> {
        let mut cursor = Cursor::new(bytes);
        let decoded = ints::decode_into(&mut cursor, self.count, decoding, stamps);
        let ends = stamps.first().copied().zip(stamps.last().copied());
        if decoded.is_none() || !cursor.is_empty() {
            return Err("it is not a column");
        }
        if ends != Some((self.first, self.last)) {
            return Err("its ends are not those of the columns section");
        }
        Ok(())
    }
}

/// Collects columns, each distinct one once.
pub(crate) struct ColumnWriter {
    held: Held,
    data: Vec<u8>,
    columns: Vec<Column>,
    hashes: Vec<u64>,
    known: HashTable<u32>,
    decoding: Decoding,
    decoded: Vec<i64>,
}

impl ColumnWriter {
    pub(crate) fn new(held: Held) -> ColumnWriter {
        ColumnWriter {
            held,
            data: Vec::new(),
            columns: Vec::new(),
            hashes: Vec::new(),
            known: HashTable::new(),
            decoding: Decoding::default(),
            decoded: Vec::new(),
        }
    }

    /// Whether there is no column.
    pub(crate) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// The number of the column with these stamps, which ascend where they are not starts, are at least one and few enough
    /// for a chunk.
    pub(crate) fn number(&mut self, stamps: &[i64], ints: &mut IntEncoder, effort: Effort) -> u32 {
        let hash = FixedHash::default().hash_one(stamps);
        let (columns, hashes, data) = (&self.columns, &self.hashes, &self.data);
        let (decoding, decoded) = (&mut self.decoding, &mut self.decoded);
        let known = self.known.find(hash, |&number| {
            let number = number as usize;
            hashes.get(number) == Some(&hash)
                && columns.get(number).is_some_and(|column| {
                    let start = column.part.offset as usize;
                    let bytes = data.get(start..start + column.part.bytes).unwrap_or_default();
                    column.count == stamps.len()
                        && column.decode(bytes, decoding, decoded).is_ok()
                        && decoded == stamps
                })
        });
        if let Some(&number) = known {
            return number;
        }
        let number = self.columns.len() as u32;
        let offset = self.data.len();
        ints.encode(stamps, effort, &mut self.data);
        let bytes = self.data.get(offset..).unwrap_or_default();
        let (first, last) = (stamps.first().copied().unwrap_or(0), stamps.last().copied().unwrap_or(0));
        self.columns.push(Column {
            count: stamps.len(),
            first,
            last,
            part: Part {
                kind: self.held.section(),
                ordinal: u64::from(number),
                offset: offset as u64,
                bytes: bytes.len(),
                check: 0,
            },
        });
        self.hashes.push(hash);
        let hashes = &self.hashes;
        self.known.insert_unique(hash, number, |&number| hashes.get(number as usize).copied().unwrap_or(0));
        number
    }

    /// The sections `stamps` and `columns`, or `starts` and `begun`. Columns are sealed only now: new ones were compared with them.
    pub(crate) fn finish(mut self, container: &mut ContainerWriter) -> (Vec<u8>, Vec<u8>) {
        let mut stamps = Vec::with_capacity(self.data.len());
        for column in &mut self.columns {
            let part = &mut column.part;
            let plain = (part.offset as usize).checked_add(part.bytes).map(|end| part.offset as usize..end);
            let offset = stamps.len();
            stamps.put(plain.and_then(|plain| self.data.get(plain)).unwrap_or_default());
            part.check = container.seal_part(part.kind, part.ordinal, &mut stamps, offset);
            (part.offset, part.bytes) = (offset as u64, stamps.len() - offset);
        }
        let directory = self.directory();
        (stamps, directory)
    }

    fn directory(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_varint(self.columns.len() as u64);
        for column in &self.columns {
            out.put_varint(column.count as u64);
            self.held.put_ends((column.first, column.last), &mut out);
            out.put_varint(column.part.bytes as u64);
        }
        self.columns.iter().for_each(|column| out.put_u32(column.part.check));
        out
    }
}

/// Reads the section `columns`, or `begun`; says what is wrong where it is not one.
pub(crate) fn parse_columns(
    bytes: &[u8],
    held: Held,
    stamps_bytes: u64,
) -> Result<Vec<Column>, &'static str> {
    let mut cursor = Cursor::new(bytes);
    let count = cursor.count(8).ok_or(SHORT)?;
    let mut columns = Vec::with_capacity(count);
    let mut offset = 0u64;
    for ordinal in 0..count as u64 {
        let count = usize::try_from(cursor.varint().ok_or(SHORT)?).unwrap_or(usize::MAX);
        if count == 0 || count > CHUNK_SAMPLES_MAX {
            return Err("a column has more stamps than a chunk may have, or none");
        }
        let (first, last) = held.ends(&mut cursor, count)?;
        let bytes = cursor.varint().ok_or(SHORT)?;
        let part = Part { kind: held.section(), ordinal, offset, bytes: bytes as usize, check: 0 };
        columns.push(Column { count, first, last, part });
        offset = offset.checked_add(bytes).filter(|&end| end <= stamps_bytes).ok_or("a column too long")?;
    }
    for column in &mut columns {
        column.part.check = cursor.u32().ok_or(SHORT)?;
    }
    if offset != stamps_bytes || !cursor.is_empty() {
        return Err("columns do not fill their section");
    }
    Ok(columns)
}
