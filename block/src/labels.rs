//! The label index: every (name, value) pair of the block, and the series that have it.
//!
//! | bytes  | field     | notes                                                                     |
//! |-------:|-----------|---------------------------------------------------------------------------|
//! | varint | `names`   | then per label name, ascending:                                           |
//! | varint | `name`    | its symbol, as the difference to the name before                          |
//! | varint | `values`  | how many values it has; then their symbols, ascending, as differences     |
//! |        |           | to the one before (the first as it is)                                    |
//! |        | `postings`| per pair, in that order: `head` (varint), then                            |
//! |        |           | head odd: `head / 2` runs of series: gap to the run before, length - 1    |
//! |        |           | head even: `head / 2` bytes of a serialised roaring bitmap                |
//!
//! Series are numbered in label order, so that those that share their first labels are one run. A pair's
//! number is its position; series refer to pairs by it.

use std::hash::BuildHasher;
use std::ops::Range;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::{Candidates, LABEL_NAME_BYTES_MAX, LABEL_SET_BYTES_MAX, LABELS_MAX, MatchOp, Matcher};
use roaring::RoaringBitmap;

use crate::FixedHash;
use crate::symbols::Symbols;

/// Up to this many runs are cheaper as such than any bitmap.
const RUNS_MAX: usize = 4;

/// The series of a pair while a block is written: runs of (first, last). Most pairs of a large block have one series.
#[derive(Debug, Default)]
pub(crate) enum PairRuns {
    #[default]
    None,
    One((u32, u32)),
    #[expect(
        clippy::box_collection,
        reason = "a pair takes 16 bytes instead of 24, and few have more than one run"
    )]
    Many(Box<Vec<(u32, u32)>>),
}

impl PairRuns {
    /// Adds a series after all that were added before.
    pub(crate) fn push(&mut self, series: u32) {
        let last = match self {
            PairRuns::None => None,
            PairRuns::One(run) => Some(run),
            PairRuns::Many(runs) => runs.last_mut(),
        };
        if let Some((_, last)) = last
            && *last + 1 == series
        {
            *last = series;
            return;
        }
        *self = match std::mem::take(self) {
            PairRuns::None => PairRuns::One((series, series)),
            PairRuns::One(run) => PairRuns::Many(Box::new(vec![run, (series, series)])),
            PairRuns::Many(mut runs) => {
                runs.push((series, series));
                PairRuns::Many(runs)
            }
        };
    }

    fn runs(&self) -> &[(u32, u32)] {
        match self {
            PairRuns::None => &[],
            PairRuns::One(run) => std::slice::from_ref(run),
            PairRuns::Many(runs) => runs,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        let mut runs = Vec::new();
        let mut next = 0;
        for &(first, last) in self.runs() {
            runs.put_varint(u64::from(first - next));
            runs.put_varint(u64::from(last - first));
            next = last + 1;
        }
        if self.runs().len() > RUNS_MAX {
            let mut bitmap = RoaringBitmap::new();
            self.runs().iter().for_each(|&(first, last)| {
                bitmap.insert_range(first..=last);
            });
            bitmap.optimize();
            let mut bytes = Vec::with_capacity(bitmap.serialized_size());
            if bytes.capacity() < runs.len() && bitmap.serialize_into(&mut bytes).is_ok() {
                out.put_varint((bytes.len() as u64) << 1);
                return out.put(&bytes);
            }
        }
        out.put_varint((self.runs().len() as u64) << 1 | 1);
        out.put(&runs);
    }
}

/// Encodes the index of pairs (name symbol, value symbol, series) that ascend.
pub(crate) fn encode_labels(pairs: &[(u32, u32, &PairRuns)]) -> Vec<u8> {
    let mut out = Vec::new();
    let names = pairs.chunk_by(|a, b| a.0 == b.0);
    out.put_varint(names.clone().count() as u64);
    let mut name_before = 0;
    for values in names {
        let name = values.first().map_or(0, |pair| pair.0);
        out.put_varint(u64::from(name - name_before));
        name_before = name;
        out.put_varint(values.len() as u64);
        let mut value_before = 0;
        for &(_, value, _) in values {
            out.put_varint(u64::from(value - value_before));
            value_before = value;
        }
    }
    pairs.iter().for_each(|(.., series)| series.put(&mut out));
    out
}

/// An index that was read: symbols exist, names and values ascend, postings lie inside.
#[derive(Debug)]
pub(crate) struct LabelIndex {
    pub(crate) symbols: Symbols,
    names: Vec<Name>,
    /// The value symbol of each pair.
    values: Vec<u32>,
    /// Where each pair's postings start in `bytes`.
    postings: Vec<u32>,
    bytes: Vec<u8>,
    series_count: u32,
}

#[derive(Debug, Clone, Copy)]
struct Name {
    symbol: u32,
    first_pair: u32,
    pairs: u32,
}

impl LabelIndex {
    /// Reads an index; says what is wrong where it is not one.
    pub(crate) fn parse(
        bytes: Vec<u8>,
        symbols: Symbols,
        series_count: u32,
    ) -> Result<LabelIndex, &'static str> {
        const SHORT: &str = "it ends within a label";
        let mut cursor = Cursor::new(&bytes);
        let (mut names, mut values) = (Vec::new(), Vec::new());
        let ascend = |before: Option<u32>, step: u64| {
            let next = u64::from(before.unwrap_or(0)).checked_add(step)?;
            (before.is_none() || step > 0).then_some(())?;
            u32::try_from(next).ok().filter(|&symbol| (symbol as usize) < symbols.len())
        };
        let mut name = None;
        for _ in 0..cursor.count(2).ok_or(SHORT)? {
            name = ascend(name, cursor.varint().ok_or(SHORT)?);
            let symbol = name.ok_or("label names do not ascend, or are no symbols")?;
            let length = name.and_then(|name| symbols.get(name)).map_or(0, str::len);
            if length == 0 || length > LABEL_NAME_BYTES_MAX {
                return Err("a label name is empty or too long");
            }
            let pairs = cursor.count(1).ok_or(SHORT)?;
            names.push(Name { symbol, first_pair: values.len() as u32, pairs: pairs as u32 });
            let mut value = None;
            for _ in 0..pairs {
                value = ascend(value, cursor.varint().ok_or(SHORT)?);
                values.push(value.ok_or("label values do not ascend, or are no symbols")?);
            }
        }
        let mut postings = Vec::with_capacity(values.len());
        for _ in &values {
            postings.push(u32::try_from(cursor.offset()).map_err(|_| "it is larger than 4 GiB")?);
            skip_posting(&mut cursor).ok_or("it ends within a posting")?;
        }
        if !cursor.is_empty() {
            return Err("bytes after the last posting");
        }
        Ok(LabelIndex { names, values, postings, symbols, bytes, series_count })
    }

    /// How much memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let pairs = size_of_val(self.values.as_slice()) + size_of_val(self.postings.as_slice());
        self.bytes.len() + self.symbols.bytes() + pairs
    }

    /// Name and value of a pair.
    pub(crate) fn pair(&self, pair: u32) -> Option<(&str, &str)> {
        let after = self.names.partition_point(|name| name.first_pair <= pair);
        let name = self.names.get(after.checked_sub(1)?)?;
        let value = *self.values.get(pair as usize)?;
        Some((self.symbols.get(name.symbol)?, self.symbols.get(value)?))
    }

    /// Whether these are the numbers of pairs that make a valid set of labels: no name is there twice, nothing is too long.
    pub(crate) fn is_label_set(&self, pairs: &[u32]) -> bool {
        let (mut next, mut name_at) = (0, 0);
        for &pair in pairs {
            // Both ascend: the search starts at the name of the pair before.
            let rest = self.names.get(name_at..).unwrap_or_default();
            name_at += rest.partition_point(|name| name.first_pair <= pair).saturating_sub(1);
            let Some(name) = self.names.get(name_at) else { return false };
            let end = name.first_pair.saturating_add(name.pairs);
            if pair < next || pair < name.first_pair || pair >= end {
                return false;
            }
            next = end;
        }
        let longest = 2 * self.symbols.bytes_max();
        let text = |pair: &u32| self.pair(*pair).map_or(0, |(name, value)| name.len() + value.len());
        let bytes = || pairs.iter().map(text).sum::<usize>();
        pairs.len() <= LABELS_MAX
            && (pairs.len().saturating_mul(longest) <= LABEL_SET_BYTES_MAX || bytes() <= LABEL_SET_BYTES_MAX)
    }

    /// The numbers of the pairs of a name.
    pub(crate) fn pairs_named(&self, name: &str) -> Range<u32> {
        // Both were added up when the index was read.
        self.name(name).map_or(0..0, |name| name.first_pair..name.first_pair + name.pairs)
    }

    /// All label names, ascending.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.names.iter().filter_map(|name| self.symbols.get(name.symbol)).collect()
    }

    /// All values of a label, ascending.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        self.pairs_of(name).filter_map(|(_, symbol)| self.symbols.get(symbol)).collect()
    }

    /// The series that satisfy all matchers.
    pub(crate) fn find(&self, matchers: &[Matcher]) -> Result<RoaringBitmap, &'static str> {
        let mut found = RoaringBitmap::new();
        found.insert_range(0..self.series_count);
        // What is missing is empty: where that satisfies a matcher, the others are subtracted.
        for matcher in matchers.iter().filter(|matcher| !matcher.matches_empty()) {
            found &= self.union(matcher, true)?;
            if found.is_empty() {
                return Ok(found);
            }
        }
        for matcher in matchers.iter().filter(|matcher| matcher.matches_empty()) {
            found -= self.union(matcher, false)?;
        }
        Ok(found)
    }

    /// The series with a value of the matcher's label for which it says `wanted`.
    fn union(&self, matcher: &Matcher, wanted: bool) -> Result<RoaringBitmap, &'static str> {
        let mut union = RoaringBitmap::new();
        let Some(name) = self.name(matcher.name()) else { return Ok(union) };
        // What a matcher says of the candidates is what it says where it is not negated.
        let positive = wanted == matches!(matcher.op(), MatchOp::Equal | MatchOp::Regex);
        let candidates = if positive { matcher.candidates() } else { Candidates::All };
        let ranges: Vec<Range<u32>> = match candidates {
            Candidates::Exact(texts) => texts.iter().map(|text| self.starting_at(name, text, 1)).collect(),
            Candidates::Prefixes(prefixes) => {
                prefixes.iter().map(|prefix| self.starting_at(name, prefix, u32::MAX)).collect()
            }
            Candidates::All => std::iter::once(name.first_pair..name.first_pair + name.pairs).collect(),
        };
        for pair in ranges.into_iter().flatten() {
            let (_, value) = self.pair(pair).ok_or("a value that is no symbol")?;
            if matcher.matches(value) == wanted {
                self.add_posting(pair, &mut union)?;
            }
        }
        Ok(union)
    }

    /// The pairs of a name whose values start with `prefix`; at most the first so many.
    fn starting_at(&self, name: Name, prefix: &[u8], count_max: u32) -> Range<u32> {
        let pairs = name.first_pair..name.first_pair + name.pairs;
        let values = self.values.get(pairs.start as usize..pairs.end as usize).unwrap_or_default();
        let text = |&symbol: &u32| self.symbols.get(symbol).unwrap_or_default().as_bytes();
        let first = values.partition_point(|symbol| text(symbol) < prefix);
        let after = values.get(first..).unwrap_or_default();
        let count =
            after.iter().take(count_max as usize).take_while(|symbol| text(symbol).starts_with(prefix));
        let first = pairs.start + first as u32;
        first..first + count.count() as u32
    }

    fn name(&self, name: &str) -> Option<Name> {
        let symbol = self.symbols.rank(name)?;
        let at = self.names.binary_search_by_key(&symbol, |name| name.symbol).ok()?;
        self.names.get(at).copied()
    }

    /// The pairs of a name and their value symbols.
    fn pairs_of(&self, name: &str) -> impl Iterator<Item = (u32, u32)> {
        let (first, count) = self.name(name).map_or((0, 0), |name| (name.first_pair, name.pairs));
        (first..).zip(self.values.iter().skip(first as usize).take(count as usize).copied())
    }

    fn add_posting(&self, pair: u32, into: &mut RoaringBitmap) -> Result<(), &'static str> {
        const DAMAGED: &str = "a posting cannot be read";
        let start = *self.postings.get(pair as usize).ok_or(DAMAGED)? as usize;
        let mut cursor = Cursor::new(self.bytes.get(start..).ok_or(DAMAGED)?);
        let head = cursor.varint().ok_or(DAMAGED)?;
        if head & 1 == 0 {
            let bytes = cursor.take((head >> 1) as usize).ok_or(DAMAGED)?;
            let bitmap = RoaringBitmap::deserialize_from(bytes).map_err(|_| DAMAGED)?;
            if bitmap.max().is_some_and(|last| last >= self.series_count) {
                return Err("a posting names a series that is not there");
            }
            *into |= bitmap;
            return Ok(());
        }
        let mut next = 0u64;
        for _ in 0..head >> 1 {
            let first = cursor.varint().and_then(|gap| next.checked_add(gap)).ok_or(DAMAGED)?;
            let last = cursor.varint().and_then(|more| first.checked_add(more)).ok_or(DAMAGED)?;
            if last >= u64::from(self.series_count) {
                return Err("a posting names a series that is not there");
            }
            into.insert_range(first as u32..=last as u32);
            next = last + 1;
        }
        Ok(())
    }

    /// Reads every posting. Returns the sum of [`membership`] over them: with that over the series' own lists of pairs,
    /// it says whether both are the same, without holding either.
    pub(crate) fn verify(&self) -> Result<u64, &'static str> {
        let mut sum = 0u64;
        for pair in 0..self.values.len() as u32 {
            let mut series = RoaringBitmap::new();
            self.add_posting(pair, &mut series)?;
            sum = series.iter().fold(sum, |sum, series| sum.wrapping_add(membership(pair, series)));
        }
        Ok(sum)
    }
}

/// Stands for a series having a pair, in sums whose order does not matter.
pub(crate) fn membership(pair: u32, series: u32) -> u64 {
    FixedHash::default().hash_one((pair, series))
}

fn skip_posting(cursor: &mut Cursor<'_>) -> Option<()> {
    let head = cursor.varint()?;
    if head & 1 == 0 {
        return cursor.take(usize::try_from(head >> 1).ok()?).map(|_| ());
    }
    for _ in 0..head >> 1 {
        cursor.varint()?;
        cursor.varint()?;
    }
    Some(())
}
