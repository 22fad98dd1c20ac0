//! Writes a block of raw signals: rows in any order, sorted by time at the end, cut into groups of columns (`rows.rs`),
//! of which the section `groups` says where they are and what is in them (`groups.rs`).

use std::sync::Arc;

use annals_model::bytes::PutBytes;
use annals_model::schema::KindSchema;
use annals_model::{BlockContent, ChunkAge, FieldValue, LsnRange, SignalRow, TimeRange, Timestamp};
use hashbrown::HashMap;

use crate::FixedHash;
use crate::codec::ints::IntEncoder;
use crate::container::{ContainerWriter, EncodedBlock, SectionKind, Totals};
use crate::error::{BlockIdentity, WriteError};
use crate::groups::GroupsWriter;
use crate::rows::{Row, RowEncoder, cell};
use crate::schemas::{FIELDS_MAX, encode_schemas};
use crate::sealing::SealWith;
use crate::symbols::{EncodedSymbols, Interner, SYMBOL_BYTES_MAX};

/// Rows per group: what a scan decodes at least.
const GROUP_ROWS: usize = 4096;

/// Writes a block of raw signals.
pub struct SignalBlockWriter {
    container: ContainerWriter,
    kinds: Vec<Arc<KindSchema>>,
    numbers: HashMap<Arc<str>, u32, FixedHash>,
    symbols: Interner,
    rows: Vec<Row>,
    repeated: Option<Arc<str>>,
    /// A kind has more fields than a block takes.
    too_wide: bool,
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
        let too_wide = kinds.iter().any(|kind| kind.fields.len() > FIELDS_MAX);
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
            too_wide,
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
        if self.too_wide {
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
        let mut data = Vec::new();
        let groups = self.rows.chunks(GROUP_ROWS);
        let mut directory = GroupsWriter::new(groups.len());
        for (ordinal, rows) in (0u64..).zip(groups) {
            let start = data.len();
            data.put(&encoder.encode(rows, day_start, &self.kinds));
            let check = self.container.seal_part(SectionKind::Rows, ordinal, &mut data, start);
            directory.add(rows, day_start, data.len() - start, check, &encoder.symbols);
        }
        let directory = directory.finish();
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
