//! Sorted distinct strings, referred to by their rank.
//!
//! | bytes  | field    | notes                                                              |
//! |-------:|----------|--------------------------------------------------------------------|
//! | varint | `count`  | then for each, ascending by bytes:                                 |
//! | varint | `shared` | bytes that it has in common with the start of the one before       |
//! |   blob | `rest`   | the other bytes                                                    |
//!
//! A symbol takes at least one byte per [`UNFOLD_FACTOR`] of its length: where it has more than that in common with the one
//! before, it shares less than it could. So the texts of a table are never much longer than the table, and a reader need
//! not believe one that says otherwise.

use std::hash::BuildHasher;

use annals_model::bytes::{Cursor, PutBytes};
use hashbrown::HashTable;

use crate::FixedHash;
use crate::container::UNFOLD_FACTOR;

/// No symbol is longer: the longest label value is.
pub(crate) const SYMBOL_BYTES_MAX: usize = annals_model::LABEL_VALUE_BYTES_MAX;
/// All symbols of a block together.
const SYMBOLS_BYTES_MAX: usize = 1 << 30;
/// `shared` and the length of `rest` take at least a byte each.
const ENTRY_BYTES_MIN: usize = 2;

/// Collects strings and gives them provisional numbers, in order of arrival.
///
/// A block may have millions: their texts lie one after the other, not in an allocation each.
#[derive(Default)]
pub(crate) struct Interner {
    text: String,
    /// Where each ends in `text`.
    ends: Vec<usize>,
    numbers: HashTable<u32>,
}

impl Interner {
    /// The provisional number of a string.
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        let hash = |text: &str| FixedHash::default().hash_one(text);
        let (held, ends) = (&self.text, &self.ends);
        if let Some(&number) = self.numbers.find(hash(text), |&number| get(held, ends, number) == text) {
            return number;
        }
        // Strings come with series or rows, of which there are fewer than 2^32 / 64.
        let number = self.ends.len() as u32;
        self.text.push_str(text);
        self.ends.push(self.text.len());
        let (held, ends) = (&self.text, &self.ends);
        self.numbers.insert_unique(hash(text), number, |&number| hash(get(held, ends, number)));
        number
    }

    /// The encoded table, and the final number of each provisional one.
    pub(crate) fn finish(self) -> EncodedSymbols {
        let Interner { text: held, ends, numbers } = self;
        let mut sorted: Vec<u32> = numbers.into_iter().collect();
        sorted.sort_unstable_by_key(|&number| get(&held, &ends, number));
        let mut ranks = vec![0; sorted.len()];
        let (mut bytes, mut text_bytes) = (Vec::new(), 0);
        bytes.put_varint(sorted.len() as u64);
        let mut before: &[u8] = &[];
        for (rank, &number) in (0u32..).zip(&sorted) {
            if let Some(slot) = ranks.get_mut(number as usize) {
                *slot = rank;
            }
            let text = get(&held, &ends, number).as_bytes();
            let common = before.iter().zip(text).take_while(|(a, b)| a == b).count();
            let rest_min = text.len().div_ceil(UNFOLD_FACTOR).saturating_sub(ENTRY_BYTES_MIN);
            let shared = common.min(text.len() - rest_min);
            bytes.put_varint(shared as u64);
            bytes.put_blob(text.get(shared..).unwrap_or_default());
            text_bytes += text.len();
            before = text;
        }
        EncodedSymbols { bytes, ranks, text_bytes }
    }
}

/// The string of that number.
fn get<'a>(text: &'a str, ends: &[usize], number: u32) -> &'a str {
    let start = number.checked_sub(1).and_then(|before| ends.get(before as usize)).copied().unwrap_or(0);
    let end = ends.get(number as usize).copied().unwrap_or(start);
    text.get(start..end).unwrap_or_default()
}

/// A table as it is written.
pub(crate) struct EncodedSymbols {
    pub(crate) bytes: Vec<u8>,
    /// The final number of each provisional one.
    pub(crate) ranks: Vec<u32>,
    /// What a reader makes of the table.
    pub(crate) text_bytes: usize,
}

/// A table that was read: every string is UTF-8, and they ascend.
#[derive(Debug)]
pub(crate) struct Symbols {
    text: String,
    /// Where each ends in `text`; one starts where the one before ends.
    ends: Vec<u32>,
    bytes_max: usize,
}

impl Symbols {
    /// Reads a table whose texts are at most so long; says what is wrong where it is not one.
    pub(crate) fn parse(bytes: &[u8], text_bytes_max: usize) -> Result<Symbols, &'static str> {
        const SHORT: &str = "it ends within a symbol";
        let text_bytes_max = text_bytes_max.min(SYMBOLS_BYTES_MAX);
        let mut cursor = Cursor::new(bytes);
        let count = cursor.count(ENTRY_BYTES_MIN).ok_or(SHORT)?;
        let (mut text, mut ends) = (String::new(), Vec::with_capacity(count));
        let (mut before, mut symbol, mut bytes_max) = (Vec::new(), Vec::new(), 0);
        for position in 0..count {
            let shared = usize::try_from(cursor.varint().ok_or(SHORT)?).map_err(|_| SHORT)?;
            symbol.clear();
            symbol.extend_from_slice(before.get(..shared).ok_or("a symbol shares more than there is")?);
            symbol.extend_from_slice(cursor.blob().ok_or(SHORT)?);
            if symbol.len() > SYMBOL_BYTES_MAX || text.len() + symbol.len() > text_bytes_max {
                return Err("its symbols are longer than allowed");
            }
            if position > 0 && symbol <= before {
                return Err("symbols do not ascend");
            }
            text.push_str(std::str::from_utf8(&symbol).map_err(|_| "a symbol is not UTF-8")?);
            bytes_max = bytes_max.max(symbol.len());
            // Bounded by SYMBOLS_BYTES_MAX.
            ends.push(text.len() as u32);
            std::mem::swap(&mut before, &mut symbol);
        }
        if !cursor.is_empty() {
            return Err("bytes after the last symbol");
        }
        Ok(Symbols { text, ends, bytes_max })
    }

    /// How much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.text.len() + size_of_val(self.ends.as_slice())
    }

    /// The length of the longest.
    pub(crate) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The symbol of that rank.
    pub(crate) fn get(&self, rank: u32) -> Option<&str> {
        let rank = rank as usize;
        let end = *self.ends.get(rank)? as usize;
        let start = match rank.checked_sub(1) {
            Some(before) => *self.ends.get(before)? as usize,
            None => 0,
        };
        self.text.get(start..end)
    }

    /// The rank of a string, where it is a symbol.
    pub(crate) fn rank(&self, text: &str) -> Option<u32> {
        let (mut low, mut high) = (0u32, self.ends.len() as u32);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.get(middle)?.cmp(text) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Some(middle),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn every_string_is_found_by_rank_and_by_text(
            texts in prop::collection::vec("[a-c]{0,3}|\\PC{0,12}|x{300,1500}[a-c]", 0..40),
        ) {
            let mut interner = Interner::default();
            let numbers: Vec<u32> = texts.iter().map(|text| interner.number(text)).collect();
            let EncodedSymbols { bytes, ranks, text_bytes } = interner.finish();
            prop_assert!(text_bytes <= UNFOLD_FACTOR * bytes.len());
            let symbols = Symbols::parse(&bytes, text_bytes).expect("our own");
            for (text, number) in texts.iter().zip(numbers) {
                let rank = ranks[number as usize];
                prop_assert_eq!(symbols.get(rank), Some(text.as_str()));
                prop_assert_eq!(symbols.rank(text), Some(rank));
            }
            prop_assert_eq!(symbols.get(symbols.len() as u32), None);
            prop_assert_eq!(symbols.rank("never"), None);
        }

        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Symbols::parse(&bytes, 1 << 12);
        }
    }
}
