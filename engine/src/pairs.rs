//! The distinct (name, value) pairs of an epoch's labels: each is held once, has a number, and knows its series.

use std::cmp::Ordering;
use std::hash::BuildHasher;
use std::ops::Range;

use annals_model::{MatchOp, Matcher, decode_pair};
use hashbrown::{HashMap, HashTable};
use roaring::RoaringBitmap;

use crate::runs::reserve;

/// No series has the pair.
const NO_SERIES: u32 = u32::MAX;
/// Set where a posting is the index of a set; else it is the one series.
const IS_SET: u32 = 1 << 31;
/// What a set costs with its containers and its list of them, about.
const SET_BYTES: usize = 128;
/// What a series costs in a set: two bytes in an array that has grown, or its part of a bitmap.
const SET_SERIES_BYTES: usize = 3;

/// What a label name costs beside its pairs.
const NAME_BYTES: usize = 64;

/// Numbered pairs.
#[derive(Default)]
pub(crate) struct Pairs {
    /// All pairs, one after the other, each as in `LabelSet::as_bytes`.
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<u32>,
    numbers: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
    /// The pairs of each label name, ascending by number.
    names: HashMap<Box<str>, Vec<u32>, foldhash::fast::FixedState>,
    /// Per pair: no series, one, or a set.
    postings: Vec<u32>,
    sets: Vec<RoaringBitmap>,
    /// Series in sets, each as often as it is in one.
    in_sets: usize,
}

impl Pairs {
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// A pair's bytes; empty where there is no such pair.
    pub(crate) fn bytes_of(&self, number: u32) -> &[u8] {
        let end = self.ends.get(number as usize).map_or(0, |&end| end as usize);
        let start = number
            .checked_sub(1)
            .and_then(|before| self.ends.get(before as usize))
            .map_or(0, |&end| end as usize);
        self.bytes.get(start..end).unwrap_or_default()
    }

    pub(crate) fn pair(&self, number: u32) -> Option<(&str, &str)> {
        decode_pair(self.bytes_of(number))
    }

    fn find(&self, pair: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(pair);
        self.numbers.find(hash, |&number| self.bytes_of(number) == pair).copied()
    }

    /// The number of a pair of a label set, a new one where it has none; `None` where there is no place for more.
    pub(crate) fn number(&mut self, pair: &[u8]) -> Option<u32> {
        if let Some(number) = self.find(pair) {
            return Some(number);
        }
        let number = u32::try_from(self.ends.len()).ok().filter(|&number| number < NO_SERIES)?;
        let end = u32::try_from(self.bytes.len() + pair.len()).ok()?;
        let (name, _) = decode_pair(pair)?;
        let of_name = self.names.entry(name.into()).or_default();
        reserve(of_name, 1);
        of_name.push(number);
        reserve(&mut self.bytes, pair.len());
        self.bytes.extend_from_slice(pair);
        reserve(&mut self.ends, 1);
        self.ends.push(end);
        reserve(&mut self.postings, 1);
        self.postings.push(NO_SERIES);
        let mut numbers = std::mem::take(&mut self.numbers);
        numbers.insert_unique(self.hasher.hash_one(pair), number, |&number| {
            self.hasher.hash_one(self.bytes_of(number))
        });
        self.numbers = numbers;
        Some(number)
    }

    /// A series, above all that were added before, has the pair.
    pub(crate) fn add_series(&mut self, pair: u32, series: u32) {
        let Some(posting) = self.postings.get_mut(pair as usize) else { return };
        match *posting {
            NO_SERIES => *posting = series,
            set if set & IS_SET != 0 => {
                if let Some(set) = self.sets.get_mut((set & !IS_SET) as usize) {
                    self.in_sets += usize::from(set.try_push(series).is_ok());
                }
            }
            one => {
                *posting = self.sets.len() as u32 | IS_SET;
                self.sets.push(RoaringBitmap::from_iter([one, series]));
                self.in_sets += 2;
            }
        }
    }

    /// Forgets that a series has the pair.
    pub(crate) fn remove_series(&mut self, pair: u32, series: u32) {
        let Some(posting) = self.postings.get_mut(pair as usize) else { return };
        if *posting == series {
            *posting = NO_SERIES;
        } else if *posting != NO_SERIES
            && *posting & IS_SET != 0
            && let Some(set) = self.sets.get_mut((*posting & !IS_SET) as usize)
        {
            self.in_sets -= usize::from(set.remove(series));
        }
    }

    /// Forgets pairs from `first` on, which no series has any more.
    pub(crate) fn truncate(&mut self, first: usize) {
        for number in (first..self.ends.len()).rev() {
            let hash = self.hasher.hash_one(self.bytes_of(number as u32));
            if let Ok(entry) = self.numbers.find_entry(hash, |&held| held as usize == number) {
                entry.remove();
            }
        }
        self.names.retain(|_, pairs| {
            pairs.truncate(pairs.partition_point(|&number| (number as usize) < first));
            !pairs.is_empty()
        });
        // Their sets are the last ones: a pair gets its set after it got its number, and not before those of others
        // are given back together with them. A set in between stays, empty, until the epoch ends.
        self.postings.truncate(first);
        let in_use = self.postings.iter().filter(|&&p| p != NO_SERIES && p & IS_SET != 0);
        self.sets.truncate(in_use.map(|set| (set & !IS_SET) as usize + 1).max().unwrap_or(0));
        self.ends.truncate(first);
        self.bytes.truncate(self.ends.last().map_or(0, |&end| end as usize));
    }

    /// The series among some that satisfy the matchers.
    ///
    /// Matchers that a missing label satisfies too are left to the caller, and so are those whose label has more values
    /// than there are series left to look at. Returns which matchers the series satisfy already.
    pub(crate) fn find_series(&self, matchers: &[Matcher], among: Range<u32>) -> (RoaringBitmap, Vec<bool>) {
        let mut found = RoaringBitmap::new();
        found.insert_range(among);
        let mut done = vec![false; matchers.len()];
        // What costs one look-up goes first.
        for (matcher, done) in matchers.iter().zip(&mut done) {
            if matcher.op() == MatchOp::Equal && !matcher.value().is_empty() {
                *done = true;
                self.keep(&mut found, self.equal(matcher.name(), matcher.value()));
            }
        }
        for (matcher, done) in matchers.iter().zip(&mut done) {
            if *done || matcher.matches_empty() {
                continue;
            }
            let pairs = self.names.get(matcher.name()).map_or(&[][..], |pairs| pairs);
            if pairs.len() as u64 > found.len() {
                continue;
            }
            *done = true;
            let mut union = RoaringBitmap::new();
            for &pair in pairs {
                if self.pair(pair).is_some_and(|(_, value)| matcher.matches(value)) {
                    match self.posting(pair) {
                        Posting::One(series) => _ = union.insert(series),
                        Posting::Set(set) => union |= set,
                        Posting::Empty => {}
                    }
                }
            }
            found &= union;
        }
        (found, done)
    }

    fn keep(&self, found: &mut RoaringBitmap, pair: Option<u32>) {
        match pair.map_or(Posting::Empty, |pair| self.posting(pair)) {
            Posting::Set(set) => *found &= set,
            Posting::One(series) => {
                let there = found.contains(series);
                found.clear();
                if there {
                    found.insert(series);
                }
            }
            Posting::Empty => found.clear(),
        }
    }

    fn equal(&self, name: &str, value: &str) -> Option<u32> {
        // Longer than any label can be: no series has it.
        let (name_len, value_len) = (u8::try_from(name.len()).ok()?, u16::try_from(value.len()).ok()?);
        let pair = [&[name_len], name.as_bytes(), &value_len.to_le_bytes(), value.as_bytes()].concat();
        self.find(&pair)
    }

    fn posting(&self, pair: u32) -> Posting<'_> {
        match self.postings.get(pair as usize) {
            None | Some(&NO_SERIES) => Posting::Empty,
            Some(set) if set & IS_SET != 0 => {
                self.sets.get((set & !IS_SET) as usize).map_or(Posting::Empty, Posting::Set)
            }
            Some(&one) => Posting::One(one),
        }
    }

    /// The rank of each pair in the order of label sets: by name, then by value.
    pub(crate) fn ranks(&self) -> Vec<u32> {
        let mut names: Vec<_> = self.names.iter().collect();
        names.sort_unstable_by_key(|(name, _)| *name);
        let mut ranks = vec![0; self.len()];
        let mut rank = 0;
        for (_, pairs) in names {
            for pair in self.by_value(pairs) {
                if let Some(slot) = ranks.get_mut(pair as usize) {
                    *slot = rank;
                }
                rank += 1;
            }
        }
        ranks
    }

    /// Pairs of one name in the order of their values.
    fn by_value(&self, pairs: &[u32]) -> Vec<u32> {
        let value = |pair: u32| self.pair(pair).map_or(&[][..], |(_, value)| value.as_bytes());
        let one = pairs.first().map_or(&[][..], |&pair| value(pair));
        let common = pairs.iter().fold(one.len(), |common, &pair| {
            let same = one.iter().zip(value(pair)).take_while(|(a, b)| a == b).count();
            common.min(same)
        });
        // The bytes after what all values begin with decide nearly always, without a look at the values.
        let key = |pair: u32| {
            let mut key = [0; 8];
            key.iter_mut().zip(value(pair).iter().skip(common)).for_each(|(to, from)| *to = *from);
            u64::from_be_bytes(key)
        };
        let mut keyed: Vec<(u64, u32)> = pairs.iter().map(|&pair| (key(pair), pair)).collect();
        keyed.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| value(a.1).cmp(value(b.1))));
        keyed.into_iter().map(|(_, pair)| pair).collect()
    }

    /// Bytes that are allocated, but for what the sets take, which is estimated.
    pub(crate) fn allocated(&self) -> usize {
        let of_names: usize = self.names.values().map(|pairs| pairs.capacity() * size_of::<u32>()).sum();
        self.bytes.capacity()
            + (self.ends.capacity() + self.postings.capacity()) * size_of::<u32>()
            + self.numbers.allocation_size()
            + of_names
            + self.names.capacity() * NAME_BYTES
            + self.sets.len() * SET_BYTES
            + self.in_sets * SET_SERIES_BYTES
    }
}

enum Posting<'a> {
    Empty,
    One(u32),
    Set(&'a RoaringBitmap),
}

/// Pairs in the order of label sets.
pub(crate) fn compare(a: &[u8], b: &[u8]) -> Ordering {
    decode_pair(a).cmp(&decode_pair(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_model::LabelSet;

    #[test]
    fn what_is_said_to_be_allocated_is_within_a_fifth_of_it() {
        // Pairs of one series, of some, of a hundredth and of all, as labels have them.
        let mut pairs = Pairs::default();
        for series in 0..100_000u32 {
            let labels = LabelSet::from_pairs([
                ("__name__", "container_cpu_usage".to_owned()),
                ("pod", format!("pod-{series:016x}")),
                ("host", format!("host-{}", series / 10)),
                ("node", format!("node-{}", series % 1000)),
                ("namespace", format!("ns-{}", series % 100)),
            ]);
            for pair in labels.expect("valid").encoded_pairs() {
                let number = pairs.number(pair).expect("there is room");
                pairs.add_series(number, series);
            }
        }
        let in_sets: u64 = pairs
            .sets
            .iter()
            .map(|set| {
                let told = set.statistics();
                let containers = u64::from(told.n_containers) * 32;
                let arrays = told.n_bytes_array_containers + told.n_bytes_bitset_containers;
                size_of::<RoaringBitmap>() as u64 + containers + arrays + told.n_bytes_run_containers
            })
            .sum();
        let rest = pairs.allocated() - pairs.sets.len() * SET_BYTES - pairs.in_sets * SET_SERIES_BYTES;
        let (told, actual) = (pairs.allocated() as f64, (rest as u64 + in_sets) as f64);
        assert!(
            (0.8..1.2).contains(&(told / actual)),
            "{told} told, {actual} allocated, {in_sets} of it in sets"
        );
        assert!(pairs.sets.len() > 10_000);
    }
}
