//! A group of signal rows, in columns: the part of a signals block that is checked and decoded at once.
//!
//! | field    | notes                                                                                        |
//! |----------|----------------------------------------------------------------------------------------------|
//! | `times`  | run: stamps, from the day's start; they ascend, equal ones in order of arrival               |
//! | `kinds`  | run: the kind's position in the schemas                                                      |
//! | `sites`  | names column                                                                                 |
//! | per kind | for each kind that occurs, ascending: bytes that follow for it (varint), then its fields     |
//!
//! A *run* is one of `codec/ints.rs`; its count is known from what precedes it. A field of a kind:
//!
//! | bytes  | field      | notes                                                                               |
//! |-------:|------------|-------------------------------------------------------------------------------------|
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

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::schema::{FieldType, KindSchema};
use annals_model::{FieldValue, Pseudonym};
use hashbrown::HashMap;

use crate::FixedHash;
use crate::codec::ints::{self, Decoding, Effort, IntEncoder};

const ALL_PRESENT: u8 = 0;
const NONE_PRESENT: u8 = 1;
const SOME_PRESENT: u8 = 2;

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
enum Storage {
    Names,
    Integers,
    Flags,
    Pseudonyms,
    Changes,
}

impl Storage {
    fn of(field_type: &FieldType) -> Storage {
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
            let mut fields = Vec::new();
            for (position, field) in kind.fields.iter().enumerate() {
                let cells: Vec<Option<Cell>> =
                    of_kind.iter().map(|row| row.fields.get(position).copied().flatten()).collect();
                self.field(&cells, Storage::of(&field.field_type), &mut fields);
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

/// A group that was decoded.
#[derive(Debug)]
pub(crate) struct Group {
    /// Milliseconds since the epoch.
    pub(crate) times: Vec<i64>,
    /// Positions in the schemas; each is there.
    pub(crate) kinds: Vec<i64>,
    /// Positions in `site_symbols`; each is there.
    pub(crate) sites: Vec<i64>,
    pub(crate) site_symbols: Vec<i64>,
    /// Per kind that was asked for: its columns, each with a value for every row of the kind.
    pub(crate) fields: Vec<Option<Vec<Column>>>,
}

/// The values of a field, in row order.
pub(crate) type Column = Vec<Option<FieldValue>>;

/// What decoding needs to know of a group and its block.
pub(crate) struct RowDecoder<'a> {
    pub(crate) rows: usize,
    pub(crate) day_start: i64,
    pub(crate) kinds: &'a [Arc<KindSchema>],
    pub(crate) symbols: &'a [Arc<str>],
    pub(crate) decoding: &'a mut Decoding,
}

impl RowDecoder<'_> {
    /// Decodes a group; fields only of the kind `only`, where one is given. `None` where it is not a group.
    pub(crate) fn decode(&mut self, bytes: &[u8], only: Option<usize>) -> Option<Group> {
        let mut cursor = Cursor::new(bytes);
        let mut times = self.run(&mut cursor, self.rows)?;
        times.iter_mut().for_each(|time| *time = time.wrapping_add(self.day_start));
        let kinds = self.run(&mut cursor, self.rows)?;
        let (site_symbols, sites) = self.names(&mut cursor, self.rows)?;
        let mut counts = vec![0usize; self.kinds.len()];
        for &kind in &kinds {
            *counts.get_mut(usize::try_from(kind).ok()?)? += 1;
        }
        let mut fields = Vec::with_capacity(self.kinds.len());
        for (number, (kind, &count)) in self.kinds.iter().zip(&counts).enumerate() {
            if count == 0 {
                fields.push(None);
                continue;
            }
            let mut cursor = Cursor::new(cursor.blob()?);
            if only.is_some_and(|only| only != number) {
                fields.push(None);
                continue;
            }
            let mut columns = Vec::with_capacity(kind.fields.len());
            for field in &kind.fields {
                columns.push(self.field(&mut cursor, count, &field.field_type)?);
            }
            cursor.is_empty().then_some(())?;
            fields.push(Some(columns));
        }
        cursor.is_empty().then_some(Group { times, kinds, sites, site_symbols, fields })
    }

    fn field(&mut self, cursor: &mut Cursor<'_>, rows: usize, field_type: &FieldType) -> Option<Column> {
        let bitmap = match cursor.u8()? {
            ALL_PRESENT => None,
            NONE_PRESENT => return Some(vec![None; rows]),
            SOME_PRESENT => Some(cursor.take(rows.div_ceil(8))?),
            _ => return None,
        };
        let is_present = |row: usize| {
            bitmap.is_none_or(|bits| bits.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1))
        };
        let present = (0..rows).filter(|&row| is_present(row)).count();
        let mut values = self.values(cursor, present, field_type)?.into_iter();
        let column = (0..rows).map(|row| if is_present(row) { values.next() } else { None }).collect();
        Some(column)
    }

    fn values(
        &mut self,
        cursor: &mut Cursor<'_>,
        count: usize,
        field: &FieldType,
    ) -> Option<Vec<FieldValue>> {
        match Storage::of(field) {
            Storage::Names => {
                let (symbols, positions) = self.names(cursor, count)?;
                let names: Vec<&Arc<str>> =
                    symbols.iter().map(|&symbol| self.symbol(symbol)).collect::<Option<_>>()?;
                let name = |&at: &i64| names.get(at as usize).map(|&name| FieldValue::Name(Arc::clone(name)));
                positions.iter().map(name).collect()
            }
            Storage::Integers => {
                Some(self.run(cursor, count)?.into_iter().map(FieldValue::Integer).collect())
            }
            Storage::Flags => Some(
                self.run(cursor, count)?.into_iter().map(|bits| FieldValue::Flags(bits as u64)).collect(),
            ),
            Storage::Pseudonyms => {
                Some(self.pseudonyms(cursor, count)?.into_iter().map(FieldValue::Pseudonym).collect())
            }
            Storage::Changes => {
                let all = self.pseudonyms(cursor, count.checked_mul(2)?)?;
                let (pairs, _) = all.as_chunks::<2>();
                Some(pairs.iter().map(|&[before, after]| FieldValue::Change { before, after }).collect())
            }
        }
    }

    /// Symbols, and positions among them that are checked.
    fn names(&mut self, cursor: &mut Cursor<'_>, count: usize) -> Option<(Vec<i64>, Vec<i64>)> {
        let distinct = usize::try_from(cursor.varint()?).ok().filter(|&distinct| distinct <= count)?;
        let symbols = self.run(cursor, distinct)?;
        let positions = self.run(cursor, count)?;
        within(&positions, distinct).then_some((symbols, positions))
    }

    fn pseudonyms(&mut self, cursor: &mut Cursor<'_>, count: usize) -> Option<Vec<Pseudonym>> {
        let distinct = cursor.count(16).filter(|&distinct| distinct <= count)?;
        let (hashes, _) = cursor.take(distinct.checked_mul(16)?)?.as_chunks::<16>();
        let lengths = self.run(cursor, distinct)?;
        let all: Vec<Pseudonym> = hashes
            .iter()
            .zip(lengths)
            .map(|(&hash, length)| Some(Pseudonym { hash, length: u16::try_from(length).ok()? }))
            .collect::<Option<_>>()?;
        let positions = self.run(cursor, count)?;
        positions.iter().map(|&at| all.get(usize::try_from(at).ok()?).copied()).collect()
    }

    fn run(&mut self, cursor: &mut Cursor<'_>, count: usize) -> Option<Vec<i64>> {
        let mut numbers = Vec::new();
        ints::decode_into(cursor, count, self.decoding, &mut numbers)?;
        Some(numbers)
    }

    fn symbol(&self, symbol: i64) -> Option<&Arc<str>> {
        self.symbols.get(usize::try_from(symbol).ok()?)
    }
}

fn within(positions: &[i64], count: usize) -> bool {
    positions.iter().all(|&at| usize::try_from(at).is_ok_and(|at| at < count))
}
