//! Writes a block of raw signals: rows in any order, sorted by time at the end, cut into groups of columns.
//!
//! The section `rows` holds the groups (`rows.rs`) one after the other. The section `groups` says where:
//!
//! | bytes     | field    | notes                                                                |
//! |----------:|----------|----------------------------------------------------------------------|
//! |    varint | `count`  | then for each group:                                                 |
//! |    varint | `rows`   | how many, 1 to [`GROUP_ROWS_MAX`]                                    |
//! |    varint | `first`  | the first stamp, from the day's start: 1 to 86,400,000               |
//! |    varint | `span`   | from the first to the last                                           |
//! |    varint | `bytes`  | its size in `rows`                                                   |
//! | 4 * count | `checks` | the check of each group, with its position as ordinal                |

use std::sync::Arc;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::schema::KindSchema;
use annals_model::{
    BlockContent, ChunkAge, DAY_MS, Day, FieldValue, LsnRange, SignalRow, TimeRange, Timestamp,
};
use hashbrown::HashMap;

use crate::FixedHash;
use crate::codec::ints::IntEncoder;
use crate::container::{ContainerWriter, EncodedBlock, Part, SectionKind, Totals};
use crate::error::{BlockIdentity, WriteError};
use crate::rows::{Row, RowEncoder, cell};
use crate::schemas::{FIELDS_MAX, encode_schemas};
use crate::sealing::SealWith;
use crate::symbols::{EncodedSymbols, Interner, SYMBOL_BYTES_MAX};

/// Rows per group: what a scan decodes at least.
const GROUP_ROWS: usize = 4096;
/// The most that a reader accepts.
const GROUP_ROWS_MAX: u64 = 1 << 16;

/// Writes a block of raw signals.
pub struct SignalBlockWriter {
    container: ContainerWriter,
    kinds: Vec<Arc<KindSchema>>,
    numbers: HashMap<Arc<str>, u32, FixedHash>,
    symbols: Interner,
    rows: Vec<Row>,
    repeated: Option<Arc<str>>,
}

impl SignalBlockWriter {
    /// A block without rows. It stores the schemas of `kinds`, each of at most 64 fields; every row must be of one of them.
    #[must_use]
    pub fn new(
        identity: BlockIdentity,
        lsns: LsnRange,
        level: u8,
        kinds: Vec<Arc<KindSchema>>,
    ) -> SignalBlockWriter {
        let mut numbers = HashMap::default();
        let mut repeated = None;
        for (number, kind) in (0u32..).zip(&kinds) {
            if numbers.insert(Arc::clone(&kind.name), number).is_some() {
                repeated = Some(Arc::clone(&kind.name));
            }
        }
        SignalBlockWriter {
            container: ContainerWriter::new(
                identity,
                lsns,
                level,
                if level == 0 { ChunkAge::Fresh } else { ChunkAge::Merged },
            ),
            kinds,
            numbers,
            symbols: Interner::default(),
            rows: Vec::new(),
            repeated,
        }
    }

    /// Seals the block.
    #[must_use]
    pub fn seal_with(mut self, seal: SealWith<'_>) -> SignalBlockWriter {
        self.container.seal_with(seal);
        self
    }

    /// Adds a row, at any time of the block's day. What is refused leaves the block as it was.
    pub fn add(&mut self, signal: &SignalRow) -> Result<(), WriteError> {
        let id = self.container.identity().id;
        if id.content != BlockContent::RawSignals {
            return Err(WriteError::WrongContent { id, content: id.content });
        }
        if let Some(kind) = &self.repeated {
            return Err(WriteError::RepeatedKind { kind: Arc::clone(kind) });
        }
        if self.kinds.iter().any(|kind| kind.fields.len() > FIELDS_MAX) {
            return Err(WriteError::TooMany { what: "fields of a kind", max: FIELDS_MAX as u64 });
        }
        let row = self.rows.len() as u64;
        if !id.day.range().contains(signal.time) {
            return Err(WriteError::OutsideDay { ordinal: row, timestamp: signal.time.0, day: id.day });
        }
        let number = self.numbers.get(&signal.kind).copied();
        let Some((number, kind)) = number.and_then(|at| Some((at, self.kinds.get(at as usize)?))) else {
            return Err(WriteError::UnknownKind { row });
        };
        let (fields, expected) = (signal.fields.len(), kind.fields.len());
        if fields != expected {
            return Err(WriteError::FieldCount { row, fields, expected });
        }
        // All are checked before any name is taken: what is refused leaves no trace in the file.
        for (value, field) in signal.fields.iter().zip(&kind.fields) {
            let fits = match value {
                Some(FieldValue::Name(name)) if name.len() > SYMBOL_BYTES_MAX => false,
                Some(value) => cell(value, &field.field_type, |_| 0).is_some(),
                None => true,
            };
            if !fits {
                return Err(WriteError::FieldType { row, field: Arc::clone(&field.name) });
            }
        }
        let symbols = &mut self.symbols;
        let cells = signal.fields.iter().zip(&kind.fields).map(|(value, field)| {
            value.as_ref().and_then(|value| cell(value, &field.field_type, |name| symbols.number(name)))
        });
        let fields = cells.collect();
        let site = self.symbols.number(signal.site.as_str());
        self.rows.push(Row { time: signal.time.0, kind: number, site, fields });
        Ok(())
    }

    /// The block, its rows sorted by time, rows of one instant in order of arrival; none where no row was
    /// added.
    pub fn finish(mut self) -> Result<Option<EncodedBlock>, WriteError> {
        self.rows.sort_by_key(|row| row.time);
        let (Some(first), Some(last)) = (self.rows.first(), self.rows.last()) else { return Ok(None) };
        let time = TimeRange::new(Timestamp(first.time - 1), Timestamp(last.time));
        let day_start = self.container.identity().id.day.range().start.0;
        let EncodedSymbols { bytes: symbols, ranks, text_bytes } = self.symbols.finish();
        let mut encoder = RowEncoder { ints: IntEncoder::new(), symbols: ranks };
        let (mut data, mut directory, mut checks) = (Vec::new(), Vec::new(), Vec::new());
        let groups = self.rows.chunks(GROUP_ROWS);
        directory.put_varint(groups.len() as u64);
        for (ordinal, rows) in (0u64..).zip(groups) {
            let start = data.len();
            data.put(&encoder.encode(rows, day_start, &self.kinds));
            let check = self.container.seal_part(SectionKind::Rows, ordinal, &mut data, start);
            let (Some(first), Some(last)) = (rows.first(), rows.last()) else { continue };
            directory.put_varint(rows.len() as u64);
            directory.put_varint((first.time - day_start) as u64);
            directory.put_varint((last.time - first.time) as u64);
            directory.put_varint((data.len() - start) as u64);
            checks.put_u32(check);
        }
        directory.put(&checks);
        let mut container = self.container;
        let mut squeezer = encoder.ints.squeezer;
        container.put_data(SectionKind::Rows, &data);
        container.put_index(SectionKind::Schemas, &encode_schemas(&self.kinds), &mut squeezer);
        container.put_folded(SectionKind::Symbols, &symbols, text_bytes, &mut squeezer);
        container.put_index(SectionKind::Groups, &directory, &mut squeezer);
        let (series, rows) = (self.kinds.len() as u64, self.rows.len() as u64);
        Ok(Some(container.finish(Totals { time, series, rows })))
    }
}

/// Where a group is, and what is known of it without decoding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupEntry {
    pub(crate) rows: usize,
    pub(crate) range: TimeRange,
    pub(crate) part: Part,
}

/// Reads the `groups` section; says what is wrong where it is not one.
pub(crate) fn parse_groups(bytes: &[u8], day: Day, rows_bytes: u64) -> Result<Vec<GroupEntry>, &'static str> {
    const SHORT: &str = "it ends within a group";
    let mut cursor = Cursor::new(bytes);
    let count = cursor.count(8).ok_or(SHORT)?;
    let mut groups: Vec<GroupEntry> = Vec::with_capacity(count);
    let (mut offset, mut before) = (0u64, 0);
    for ordinal in 0..count as u64 {
        let rows = cursor.varint().ok_or(SHORT)?;
        let first = cursor.varint().ok_or(SHORT)?;
        let span = cursor.varint().ok_or(SHORT)?;
        let bytes = cursor.varint().ok_or(SHORT)?;
        if rows == 0 || rows > GROUP_ROWS_MAX {
            return Err("a group has more rows than it may have, or none");
        }
        let last = first.checked_add(span).filter(|&last| last <= DAY_MS as u64);
        let last = last.filter(|_| first > 0 && first >= before).ok_or("a group lies outside its times")?;
        before = last;
        // Both are below a day.
        let stamp = |from_start: u64| Timestamp(day.range().start.0 + from_start as i64);
        let part = Part { kind: SectionKind::Rows, ordinal, offset, bytes: bytes as usize, check: 0 };
        groups.push(GroupEntry {
            rows: rows as usize,
            range: TimeRange::new(stamp(first - 1), stamp(last)),
            part,
        });
        offset = offset.checked_add(bytes).filter(|&end| end <= rows_bytes).ok_or("a group too long")?;
    }
    for group in &mut groups {
        group.part.check = cursor.u32().ok_or(SHORT)?;
    }
    if offset != rows_bytes || !cursor.is_empty() {
        return Err("groups do not fill their section");
    }
    Ok(groups)
}
