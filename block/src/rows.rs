//! A group of signal rows, in columns: the part of a signals block that is checked at once. This module writes one,
//! `row_reader.rs` reads it.
//!
//! | field    | notes                                                                                        |
//! |----------|----------------------------------------------------------------------------------------------|
//! | `times`  | run: stamps, from the day's start; they ascend, equal ones in order of arrival               |
//! | `kinds`  | run: the kind's position in the schemas                                                      |
//! | `sites`  | names column                                                                                 |
//! | per kind | for each kind that occurs, ascending: bytes that follow for it (varint), then its fields     |
//!
//! A *run* is one of `codec/ints.rs`; its count is known from what precedes it. A field of a kind, so that fields nobody
//! asks for are passed over:
//!
//! | bytes  | field      | notes                                                                               |
//! |-------:|------------|-------------------------------------------------------------------------------------|
//! | varint | `bytes`    | that follow for it                                                                  |
//! |      1 | `presence` | 0: every row has it; 1: none has; 2: a bitmap follows, lowest bit first, unused 0   |
//! |        | `values`   | of the rows that have it                                                            |
//!
//! | type                                      | values                                                           |
//! |-------------------------------------------|------------------------------------------------------------------|
//! | enumeration, name                         | names column: distinct symbols (count, run), then a run of       |
//! |                                           | positions among them                                             |
//! | integer, duration, HTTP status, size delta| run                                                              |
//! | flags                                     | run of the sets' bits                                            |
//! | pseudonym                                 | distinct ones in order of appearance: count (varint), 16 bytes   |
//! |                                           | each, run of lengths; then a run of positions among them         |
//! | change digest                             | as twice as many pseudonyms: before, after, before, after, ...   |

use std::sync::Arc;

use annals_model::bytes::PutBytes;
use annals_model::schema::{FieldType, KindSchema};
use annals_model::{FieldValue, Pseudonym};
use hashbrown::HashMap;

use crate::FixedHash;
use crate::codec::ints::{Effort, IntEncoder};

pub(crate) const ALL_PRESENT: u8 = 0;
pub(crate) const NONE_PRESENT: u8 = 1;
pub(crate) const SOME_PRESENT: u8 = 2;

/// A row while a block is written: strings have symbols.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) time: i64,
    pub(crate) kind: u32,
    pub(crate) site: u32,
    pub(crate) fields: Box<[Option<Cell>]>,
}

/// A stored field value; names are symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cell {
    Symbol(u32),
    /// Integers, and the bits of flags.
    Integer(i64),
    Pseudonym(Pseudonym),
    Change {
        before: Pseudonym,
        after: Pseudonym,
    },
}

/// How a field's values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Storage {
    Names,
    Integers,
    Flags,
    Pseudonyms,
    Changes,
}

impl Storage {
    pub(crate) fn of(field_type: &FieldType) -> Storage {
        match field_type {
            FieldType::Enumeration(_) | FieldType::Name { .. } => Storage::Names,
            FieldType::Integer { .. }
            | FieldType::Duration { .. }
            | FieldType::HttpStatus
            | FieldType::SizeDelta => Storage::Integers,
            FieldType::Flags(_) => Storage::Flags,
            FieldType::Pseudonym => Storage::Pseudonyms,
            FieldType::ChangeDigest => Storage::Changes,
        }
    }
}

/// The cell of a value, where the value is of the field's type. `symbol` numbers names.
pub(crate) fn cell(
    value: &FieldValue,
    field_type: &FieldType,
    symbol: impl FnOnce(&str) -> u32,
) -> Option<Cell> {
    Some(match (Storage::of(field_type), value) {
        (Storage::Names, FieldValue::Name(name)) => Cell::Symbol(symbol(name)),
        (Storage::Integers, FieldValue::Integer(number)) => Cell::Integer(*number),
        (Storage::Flags, FieldValue::Flags(bits)) => Cell::Integer(*bits as i64),
        (Storage::Pseudonyms, FieldValue::Pseudonym(pseudonym)) => Cell::Pseudonym(*pseudonym),
        (Storage::Changes, &FieldValue::Change { before, after }) => Cell::Change { before, after },
        _ => return None,
    })
}

/// Encodes groups of rows.
pub(crate) struct RowEncoder {
    pub(crate) ints: IntEncoder,
    /// The final symbol of each provisional one.
    pub(crate) symbols: Vec<u32>,
}

impl RowEncoder {
    /// Encodes rows that are in time order. Each has as many fields as its kind's schema, of its types.
    pub(crate) fn encode(&mut self, rows: &[Row], day_start: i64, kinds: &[Arc<KindSchema>]) -> Vec<u8> {
        let mut out = Vec::new();
        self.run(rows.iter().map(|row| row.time - day_start), &mut out);
        self.run(rows.iter().map(|row| i64::from(row.kind)), &mut out);
        self.names(rows.iter().map(|row| row.site), &mut out);
        for (number, kind) in (0u32..).zip(kinds) {
            let of_kind: Vec<&Row> = rows.iter().filter(|row| row.kind == number).collect();
            if of_kind.is_empty() {
                continue;
            }
            let (mut fields, mut column) = (Vec::new(), Vec::new());
            for (position, field) in kind.fields.iter().enumerate() {
                let cells: Vec<Option<Cell>> =
                    of_kind.iter().map(|row| row.fields.get(position).copied().flatten()).collect();
                column.clear();
                self.field(&cells, Storage::of(&field.field_type), &mut column);
                fields.put_blob(&column);
            }
            out.put_blob(&fields);
        }
        out
    }

    fn field(&mut self, cells: &[Option<Cell>], storage: Storage, out: &mut Vec<u8>) {
        let present: Vec<Cell> = cells.iter().copied().flatten().collect();
        if present.is_empty() {
            return out.put_u8(NONE_PRESENT);
        }
        if present.len() == cells.len() {
            out.put_u8(ALL_PRESENT);
        } else {
            out.put_u8(SOME_PRESENT);
            for eight in cells.chunks(8) {
                let bits = eight.iter().enumerate().map(|(bit, cell)| u8::from(cell.is_some()) << bit);
                out.put_u8(bits.fold(0, |all, bit| all | bit));
            }
        }
        let pseudonyms = |cell| match cell {
            Cell::Pseudonym(one) => [Some(one), None],
            Cell::Change { before, after } => [Some(before), Some(after)],
            Cell::Symbol(_) | Cell::Integer(_) => [None, None],
        };
        let number = |cell: &Cell| match *cell {
            Cell::Integer(number) => number,
            Cell::Symbol(symbol) => i64::from(symbol),
            Cell::Pseudonym(_) | Cell::Change { .. } => 0,
        };
        match storage {
            Storage::Names => self.names(present.iter().map(|cell| number(cell) as u32), out),
            Storage::Integers | Storage::Flags => self.run(present.iter().map(number), out),
            Storage::Pseudonyms | Storage::Changes => {
                self.pseudonyms(present.iter().flat_map(|&cell| pseudonyms(cell)).flatten(), out);
            }
        }
    }

    fn run(&mut self, numbers: impl Iterator<Item = i64>, out: &mut Vec<u8>) {
        let numbers: Vec<i64> = numbers.collect();
        self.ints.encode(&numbers, Effort::Warm, out);
    }

    fn names(&mut self, provisional: impl Iterator<Item = u32>, out: &mut Vec<u8>) {
        let symbols: Vec<u32> =
            provisional.map(|number| self.symbols.get(number as usize).copied().unwrap_or(0)).collect();
        let mut distinct = symbols.clone();
        distinct.sort_unstable();
        distinct.dedup();
        out.put_varint(distinct.len() as u64);
        self.run(distinct.iter().map(|&symbol| i64::from(symbol)), out);
        let position = |symbol: &u32| distinct.binary_search(symbol).map_or(0, |at| at as i64);
        self.run(symbols.iter().map(position), out);
    }

    fn pseudonyms(&mut self, all: impl Iterator<Item = Pseudonym>, out: &mut Vec<u8>) {
        let mut numbers: HashMap<Pseudonym, i64, FixedHash> = HashMap::default();
        let mut distinct: Vec<Pseudonym> = Vec::new();
        let mut positions: Vec<i64> = Vec::new();
        for pseudonym in all {
            let next = distinct.len() as i64;
            let number = *numbers.entry(pseudonym).or_insert(next);
            if number == next {
                distinct.push(pseudonym);
            }
            positions.push(number);
        }
        out.put_varint(distinct.len() as u64);
        distinct.iter().for_each(|pseudonym| out.put(&pseudonym.hash));
        self.run(distinct.iter().map(|pseudonym| i64::from(pseudonym.length)), out);
        self.run(positions.into_iter(), out);
    }
}
