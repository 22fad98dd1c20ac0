//! Reads a group of signal rows (`rows.rs` has the layout): times, kinds and sites at once, fields when they are asked for.

use std::sync::Arc;

use annals_model::bytes::Cursor;
use annals_model::schema::{FieldType, KindSchema};
use annals_model::{FieldValue, Matcher, Pseudonym};

use crate::codec::ints::{self, Decoding};
use crate::rows::{ALL_PRESENT, NONE_PRESENT, SOME_PRESENT, Storage};

/// A group: what all of its rows have is decoded, the fields of each kind are not yet.
#[derive(Debug)]
pub(crate) struct Group<'a> {
    /// Milliseconds since the epoch.
    pub(crate) times: Vec<i64>,
    /// Positions in the schemas; each is there.
    pub(crate) kinds: Vec<i64>,
    /// Positions in `site_symbols`; each is there.
    pub(crate) sites: Vec<i64>,
    pub(crate) site_symbols: Vec<i64>,
    /// Per kind: how many rows, and the bytes of each field; nothing where there are none.
    pub(crate) of_kind: Vec<(usize, Vec<&'a [u8]>)>,
}

/// What decoding needs to know of a group and its block.
pub(crate) struct RowReader<'a> {
    pub(crate) rows: usize,
    pub(crate) day_start: i64,
    pub(crate) kinds: &'a [Arc<KindSchema>],
    pub(crate) symbols: &'a [Arc<str>],
    pub(crate) decoding: &'a mut Decoding,
}

/// A field of one kind, a value or none for each of the kind's rows.
#[derive(Debug)]
pub(crate) struct Column<'a> {
    rows: usize,
    presence: Presence<'a>,
    values: Values,
}

#[derive(Debug)]
enum Presence<'a> {
    All,
    None,
    /// One bit for each row, lowest first.
    Some(&'a [u8]),
}

/// The values of the rows that have one, in row order.
#[derive(Debug)]
enum Values {
    /// Positions in symbols that are there.
    Names {
        symbols: Vec<i64>,
        at: Vec<i64>,
    },
    Integers(Vec<i64>),
    Flags(Vec<i64>),
    /// Positions in what is there.
    Pseudonyms {
        distinct: Vec<Pseudonym>,
        at: Vec<i64>,
    },
    /// The same, twice as many: before, after.
    Changes {
        distinct: Vec<Pseudonym>,
        at: Vec<i64>,
    },
}

impl RowReader<'_> {
    /// Splits a group. `None` where it is not one.
    pub(crate) fn group<'b>(&mut self, bytes: &'b [u8]) -> Option<Group<'b>> {
        let mut cursor = Cursor::new(bytes);
        let mut times = self.run(&mut cursor, self.rows)?;
        times.iter_mut().for_each(|time| *time = time.wrapping_add(self.day_start));
        let kinds = self.run(&mut cursor, self.rows)?;
        let (site_symbols, sites) = self.names(&mut cursor, self.rows)?;
        let mut of_kind = vec![(0, Vec::new()); self.kinds.len()];
        for &kind in &kinds {
            of_kind.get_mut(usize::try_from(kind).ok()?)?.0 += 1;
        }
        for (kind, (rows, fields)) in self.kinds.iter().zip(&mut of_kind) {
            if *rows > 0 {
                let mut cursor = Cursor::new(cursor.blob()?);
                *fields = kind.fields.iter().map(|_| cursor.blob()).collect::<Option<_>>()?;
                cursor.is_empty().then_some(())?;
            }
        }
        cursor.is_empty().then_some(Group { times, kinds, sites, site_symbols, of_kind })
    }

    /// Decodes a field of a kind that has so many rows in the group.
    pub(crate) fn column<'b>(
        &mut self,
        bytes: &'b [u8],
        rows: usize,
        field: &FieldType,
    ) -> Option<Column<'b>> {
        let mut cursor = Cursor::new(bytes);
        let (presence, present) = match cursor.u8()? {
            ALL_PRESENT => (Presence::All, rows),
            NONE_PRESENT => (Presence::None, 0),
            SOME_PRESENT => {
                let bits = cursor.take(rows.div_ceil(8))?;
                let present = (0..rows).filter(|&row| is_set(bits, row)).count();
                (Presence::Some(bits), present)
            }
            _ => return None,
        };
        let values = match Storage::of(field) {
            _ if matches!(presence, Presence::None) => Values::Integers(Vec::new()),
            Storage::Names => {
                let (symbols, at) = self.names(&mut cursor, present)?;
                let known = |&symbol: &i64| usize::try_from(symbol).is_ok_and(|at| at < self.symbols.len());
                symbols.iter().all(known).then_some(())?;
                Values::Names { symbols, at }
            }
            Storage::Integers => Values::Integers(self.run(&mut cursor, present)?),
            Storage::Flags => Values::Flags(self.run(&mut cursor, present)?),
            Storage::Pseudonyms => {
                let (distinct, at) = self.pseudonyms(&mut cursor, present)?;
                Values::Pseudonyms { distinct, at }
            }
            Storage::Changes => {
                let (distinct, at) = self.pseudonyms(&mut cursor, present.checked_mul(2)?)?;
                Values::Changes { distinct, at }
            }
        };
        cursor.is_empty().then_some(Column { rows, presence, values })
    }

    /// Symbols, and positions among them that are checked.
    fn names(&mut self, cursor: &mut Cursor<'_>, count: usize) -> Option<(Vec<i64>, Vec<i64>)> {
        let distinct = usize::try_from(cursor.varint()?).ok().filter(|&distinct| distinct <= count)?;
        let symbols = self.run(cursor, distinct)?;
        let positions = self.run(cursor, count)?;
        within(&positions, distinct).then_some((symbols, positions))
    }

    /// Distinct ones, and positions among them that are checked.
    fn pseudonyms(&mut self, cursor: &mut Cursor<'_>, count: usize) -> Option<(Vec<Pseudonym>, Vec<i64>)> {
        let distinct = cursor.count(16).filter(|&distinct| distinct <= count)?;
        let (hashes, _) = cursor.take(distinct.checked_mul(16)?)?.as_chunks::<16>();
        let lengths = self.run(cursor, distinct)?;
        let all: Vec<Pseudonym> = hashes
            .iter()
            .zip(lengths)
            .map(|(&hash, length)| Some(Pseudonym { hash, length: u16::try_from(length).ok()? }))
            .collect::<Option<_>>()?;
        let positions = self.run(cursor, count)?;
        within(&positions, all.len()).then_some((all, positions))
    }

    fn run(&mut self, cursor: &mut Cursor<'_>, count: usize) -> Option<Vec<i64>> {
        let mut numbers = Vec::new();
        ints::decode_into(cursor, count, self.decoding, &mut numbers)?;
        Some(numbers)
    }
}

impl Column<'_> {
    /// Takes out of `kept` the rows whose text does not satisfy a matcher. Each distinct value is looked at once.
    pub(crate) fn keep_matching(
        &self,
        matcher: &Matcher,
        field: &FieldType,
        symbols: &[Arc<str>],
        kept: &mut [bool],
    ) {
        let is_match = |value: &FieldValue| matcher.matches(&field.text(value));
        let absent = matcher.matches_empty();
        // Numbers repeat: those that were looked at last are remembered by their low bits.
        let mut verdicts: [Option<(i64, bool)>; 64] = [None; 64];
        let mut of_number = |number: i64, value: FieldValue| {
            let known = verdicts.get_mut((number & 63) as usize)?;
            match *known {
                Some((same, verdict)) if same == number => Some(verdict),
                _ => Some(known.insert((number, is_match(&value))).1),
            }
        };
        match &self.values {
            Values::Names { symbols: names, at } => {
                let of_name: Vec<bool> =
                    names.iter().map(|&symbol| matcher.matches(symbol_of(symbols, symbol))).collect();
                self.keep(kept, absent, |rank| at_of(at, rank).and_then(|at| of_name.get(at).copied()));
            }
            Values::Integers(numbers) => self.keep(kept, absent, |rank| {
                numbers.get(rank).and_then(|&number| of_number(number, FieldValue::Integer(number)))
            }),
            Values::Flags(numbers) => self.keep(kept, absent, |rank| {
                numbers.get(rank).and_then(|&bits| of_number(bits, FieldValue::Flags(bits as u64)))
            }),
            Values::Pseudonyms { distinct, at } => {
                let of_each: Vec<bool> =
                    distinct.iter().map(|&pseudonym| is_match(&FieldValue::Pseudonym(pseudonym))).collect();
                self.keep(kept, absent, |rank| at_of(at, rank).and_then(|at| of_each.get(at).copied()));
            }
            Values::Changes { .. } => {
                self.keep(kept, absent, |rank| self.value(rank, symbols).map(|value| is_match(&value)));
            }
        }
    }

    /// `verdict` is asked by the position among the values that are there.
    fn keep(&self, kept: &mut [bool], absent: bool, mut verdict: impl FnMut(usize) -> Option<bool>) {
        for (kept, rank) in kept.iter_mut().zip(self.ranks()) {
            *kept = *kept && rank.map_or(absent, |rank| verdict(rank) == Some(true));
        }
    }

    /// For each row, the position of its value among those that are there.
    pub(crate) fn ranks(&self) -> impl Iterator<Item = Option<usize>> {
        (0..self.rows).scan(0, |next, row| {
            let is_present = match self.presence {
                Presence::All => true,
                Presence::None => false,
                Presence::Some(bits) => is_set(bits, row),
            };
            let rank = is_present.then_some(*next);
            *next += usize::from(is_present);
            Some(rank)
        })
    }

    /// A value, by its position among those that are there.
    pub(crate) fn value(&self, rank: usize, symbols: &[Arc<str>]) -> Option<FieldValue> {
        let one = |distinct: &[Pseudonym], at: &[i64], rank| distinct.get(at_of(at, rank)?).copied();
        Some(match &self.values {
            Values::Names { symbols: names, at } => {
                let symbol = usize::try_from(*names.get(at_of(at, rank)?)?).ok()?;
                FieldValue::Name(Arc::clone(symbols.get(symbol)?))
            }
            Values::Integers(numbers) => FieldValue::Integer(*numbers.get(rank)?),
            Values::Flags(bits) => FieldValue::Flags(*bits.get(rank)? as u64),
            Values::Pseudonyms { distinct, at } => FieldValue::Pseudonym(one(distinct, at, rank)?),
            Values::Changes { distinct, at } => FieldValue::Change {
                before: one(distinct, at, 2 * rank)?,
                after: one(distinct, at, 2 * rank + 1)?,
            },
        })
    }
}

fn at_of(at: &[i64], rank: usize) -> Option<usize> {
    at.get(rank).and_then(|&at| usize::try_from(at).ok())
}

/// The text of a symbol; nothing where it is none.
pub(crate) fn symbol_of(symbols: &[Arc<str>], symbol: i64) -> &str {
    usize::try_from(symbol).ok().and_then(|at| symbols.get(at)).map_or("", |text| &**text)
}

fn is_set(bits: &[u8], row: usize) -> bool {
    bits.get(row / 8).is_some_and(|byte| byte >> (row % 8) & 1 == 1)
}

fn within(positions: &[i64], count: usize) -> bool {
    positions.iter().all(|&at| usize::try_from(at).is_ok_and(|at| at < count))
}
