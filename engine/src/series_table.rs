//! Which number stands for which series in an epoch, and which series have which labels.
//!
//! One table serves admission, which adds series, the epoch's head, and queries on it. A series above what the head
//! knows belongs to a record that is on its way, and may be taken back.

use std::hash::BuildHasher;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_model::{LabelSet, Matcher, SeriesKind};
use annals_vfs::sync::RwLock;
use hashbrown::HashTable;

use crate::pairs::{self, Pairs};
use crate::runs::reserve;

/// The highest number of series that is believed. A host's limit on series is far below it.
pub(crate) const SERIES_MAX: usize = 16_000_000;

/// Where the next table's identity comes from.
static TABLES: AtomicU64 = AtomicU64::new(1);

/// A table that admission and head share.
pub(crate) type SharedTable = Arc<RwLock<SeriesTable>>;

/// Numbers from 0 upward, in the order in which series were first used.
pub(crate) struct SeriesTable {
    id: u64,
    pairs: Pairs,
    /// The pairs of all series, one series after the other.
    members: Vec<u32>,
    series: Vec<Series>,
    numbers: HashTable<u32>,
    hasher: foldhash::fast::FixedState,
}

#[derive(Clone, Copy)]
struct Series {
    /// Where its pairs end.
    end: u32,
    /// The upper half of the hash of its labels' bytes.
    hash: u32,
    /// None where its definition is lost.
    kind: Option<SeriesKind>,
    /// Derived from signals, so that no host may write it.
    derived: bool,
}

/// How much a table had at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) series: usize,
    pairs: usize,
}

/// A series that the table has.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub(crate) number: u32,
    pub(crate) kind: SeriesKind,
    pub(crate) derived: bool,
}

impl SeriesTable {
    pub(crate) fn new() -> SeriesTable {
        SeriesTable {
            id: TABLES.fetch_add(1, Ordering::Relaxed),
            pairs: Pairs::default(),
            members: Vec::new(),
            series: Vec::new(),
            numbers: HashTable::new(),
            hasher: foldhash::fast::FixedState::default(),
        }
    }

    pub(crate) fn shared() -> SharedTable {
        Arc::new(RwLock::new(SeriesTable::new()))
    }

    /// Different for each table of this process, and for one that has taken series back.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// What there is now, for [`truncate`](Self::truncate).
    pub(crate) fn mark(&self) -> Mark {
        Mark { series: self.series.len(), pairs: self.pairs.len() }
    }

    pub(crate) fn find(&self, labels: &LabelSet) -> Option<Known> {
        let hash = self.hash(labels.as_bytes());
        let number = *self.numbers.find(spread(hash), |&number| self.is(number, hash, labels.as_bytes()))?;
        let series = self.series.get(number as usize)?;
        Some(Known { number, kind: series.kind?, derived: series.derived })
    }

    /// The series' number, a new one where it has none; `None` where there is no place for more.
    pub(crate) fn number(&mut self, labels: &LabelSet, kind: SeriesKind, derived: bool) -> Option<u32> {
        if let Some(known) = self.find(labels) {
            return Some(known.number);
        }
        let number =
            u32::try_from(self.series.len()).ok().filter(|&number| (number as usize) < SERIES_MAX)?;
        let start = self.members.len();
        for pair in labels.encoded_pairs() {
            let Some(pair) = self.pairs.number(pair) else {
                self.members.truncate(start);
                return None;
            };
            reserve(&mut self.members, 1);
            self.members.push(pair);
        }
        let hash = self.hash(labels.as_bytes());
        let end = u32::try_from(self.members.len()).ok()?;
        for &pair in self.members.get(start..).unwrap_or_default() {
            self.pairs.add_series(pair, number);
        }
        reserve(&mut self.series, 1);
        self.series.push(Series { end, hash, kind: Some(kind), derived });
        let series = &self.series;
        self.numbers.insert_unique(spread(hash), number, |&number| {
            series.get(number as usize).map_or(0, |series| spread(series.hash))
        });
        Some(number)
    }

    /// Makes a series known under a number that a record gives it. Numbers in between were defined by records that are
    /// lost. A number that is in use keeps its meaning.
    pub(crate) fn define(&mut self, number: u32, labels: &LabelSet, kind: SeriesKind) {
        let (number, end) = (number as usize, self.members.len() as u32);
        if number < self.series.len() || number >= SERIES_MAX {
            return;
        }
        self.series.resize(number, Series { end, hash: 0, kind: None, derived: false });
        if self.number(labels, kind, false).is_some_and(|given| given as usize != number) {
            // The same series under two numbers, which no writer does: the later one's samples count as lost.
            self.series.push(Series { end, hash: 0, kind: None, derived: false });
        }
    }

    /// Forgets what came after the mark: the record that was to define it was not queued.
    pub(crate) fn truncate(&mut self, to: Mark) {
        if self.series.len() <= to.series {
            return;
        }
        // References may remember numbers that will be given to other series.
        self.id = TABLES.fetch_add(1, Ordering::Relaxed);
        for number in (to.series..self.series.len()).rev() {
            let Some(series) = self.series.get(number) else { break };
            if let Ok(entry) = self.numbers.find_entry(spread(series.hash), |&n| n as usize == number) {
                entry.remove();
            }
            let start = self.start(number);
            for &pair in self.members.get(start..).unwrap_or_default() {
                self.pairs.remove_series(pair, number as u32);
            }
            self.members.truncate(start);
        }
        self.series.truncate(to.series);
        self.pairs.truncate(to.pairs);
    }

    /// Gives back what only finding a series by its labels needs: the table's epoch is over.
    pub(crate) fn end_admission(&mut self) {
        self.numbers = HashTable::new();
    }

    /// A series' kind; `None` where its definition is lost.
    pub(crate) fn kind(&self, number: u32) -> Option<SeriesKind> {
        self.series.get(number as usize)?.kind
    }

    /// A series' labels.
    pub(crate) fn labels(&self, number: u32) -> LabelSet {
        let pairs = self.members_of(number as usize).iter().filter_map(|&pair| self.pairs.pair(pair));
        // They came from a label set.
        LabelSet::from_sorted(pairs).unwrap_or_else(|_| LabelSet::empty())
    }

    /// The bytes of a series' labels, as of its label set, pair by pair.
    pub(crate) fn label_bytes(&self, number: u32) -> impl Iterator<Item = &[u8]> + Clone {
        self.members_of(number as usize).iter().map(|&pair| self.pairs.bytes_of(pair))
    }

    /// The series among some that satisfy all matchers, ascending.
    pub(crate) fn matching(&self, matchers: &[Matcher], among: Range<usize>) -> Vec<u32> {
        let end = among.end.min(self.series.len());
        if among.start >= end {
            return Vec::new();
        }
        // Fewer than SERIES_MAX.
        let (found, done) = self.pairs.find_series(matchers, among.start as u32..end as u32);
        let rest: Vec<&Matcher> =
            matchers.iter().zip(done).filter_map(|(matcher, done)| (!done).then_some(matcher)).collect();
        found
            .into_iter()
            .filter(|&number| rest.iter().all(|matcher| self.satisfies(number, matcher)))
            .collect()
    }

    fn satisfies(&self, number: u32, matcher: &Matcher) -> bool {
        let pairs = self.members_of(number as usize).iter().filter_map(|&pair| self.pairs.pair(pair));
        let value =
            pairs.into_iter().find(|(name, _)| *name == matcher.name()).map_or("", |(_, value)| value);
        matcher.matches(value)
    }

    /// The given series in label order.
    pub(crate) fn in_label_order(&self, numbers: impl Iterator<Item = u32>) -> Vec<u32> {
        let ranks = self.pairs.ranks();
        let rank = |pair: &u32| ranks.get(*pair as usize).map_or(0, |rank| rank + 1);
        // As many ranks as fit, highest first; a series without one more comes first.
        let bits = (u32::BITS - (ranks.len() as u32).leading_zeros()).max(1);
        let key = |number: u32| {
            let mut left = u128::BITS;
            let mut key = 0u128;
            for pair in self.members_of(number as usize) {
                let Some(rest) = left.checked_sub(bits) else { break };
                left = rest;
                key |= u128::from(rank(pair)) << left;
            }
            key
        };
        let mut keyed: Vec<(u128, u32)> = numbers.map(|number| (key(number), number)).collect();
        keyed.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0).then_with(|| {
                let ranks = |number: u32| self.members_of(number as usize).iter().map(rank);
                ranks(a.1).cmp(ranks(b.1))
            })
        });
        keyed.into_iter().map(|(_, number)| number).collect()
    }

    /// Compares a series' labels with those of a series of another table.
    pub(crate) fn compare(&self, number: u32, other: &SeriesTable, others: u32) -> std::cmp::Ordering {
        let mut pairs = self.label_bytes(number);
        let mut others = other.label_bytes(others);
        loop {
            match (pairs.next(), others.next()) {
                (None, None) => return std::cmp::Ordering::Equal,
                (None, Some(_)) => return std::cmp::Ordering::Less,
                (Some(_), None) => return std::cmp::Ordering::Greater,
                (Some(a), Some(b)) => match pairs::compare(a, b) {
                    std::cmp::Ordering::Equal => {}
                    unequal => return unequal,
                },
            }
        }
    }

    /// Bytes that are allocated.
    pub(crate) fn bytes(&self) -> usize {
        self.pairs.allocated()
            + self.members.capacity() * size_of::<u32>()
            + self.series.capacity() * size_of::<Series>()
            + self.numbers.allocation_size()
    }

    fn start(&self, number: usize) -> usize {
        number
            .checked_sub(1)
            .and_then(|before| self.series.get(before))
            .map_or(0, |series| series.end as usize)
    }

    fn members_of(&self, number: usize) -> &[u32] {
        let end = self.series.get(number).map_or(0, |series| series.end as usize);
        self.members.get(self.start(number)..end).unwrap_or_default()
    }

    fn hash(&self, labels: &[u8]) -> u32 {
        (self.hasher.hash_one(labels) >> 32) as u32
    }

    fn is(&self, number: u32, hash: u32, labels: &[u8]) -> bool {
        if self.series.get(number as usize).is_none_or(|series| series.hash != hash) {
            return false;
        }
        let mut rest = labels;
        for pair in self.label_bytes(number) {
            let Some(after) = rest.strip_prefix(pair) else { return false };
            rest = after;
        }
        rest.is_empty()
    }
}

/// A hash for a table that uses the upper bits too.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_model::MatchOp;
    use proptest::prelude::*;

    fn labels(i: usize) -> LabelSet {
        LabelSet::from_pairs([("__name__", format!("m{}", i % 3)), ("i", i.to_string())]).expect("valid")
    }

    #[test]
    fn forgotten_series_get_new_numbers_and_leave_no_labels() {
        let mut table = SeriesTable::new();
        let number = |table: &mut SeriesTable, i| table.number(&labels(i), SeriesKind::Gauge, false);
        for i in 0..40 {
            assert_eq!(number(&mut table, i), Some(i as u32));
        }
        let (id, mark) = (table.id(), table.mark());
        for _ in 0..3 {
            for i in 40..100 {
                assert_eq!(number(&mut table, i), Some(i as u32));
            }
            table.truncate(mark);
            assert_eq!((table.len(), table.mark()), (40, mark));
        }
        assert_ne!(table.id(), id, "references would take other series for theirs");
        assert_eq!(table.find(&labels(39)).map(|known| known.number), Some(39));
        assert!(table.find(&labels(40)).is_none());
        assert_eq!(number(&mut table, 77), Some(40));
        assert_eq!(table.labels(40), labels(77));
        assert_eq!(number(&mut table, 3), Some(3));
        assert_eq!(table.matching(&[Matcher::equal("__name__", "m2")], 0..100).len(), 14);
        assert!(table.matching(&[Matcher::equal("i", "60")], 0..100).is_empty());
        assert_eq!(table.matching(&[Matcher::equal("i", "77")], 0..100), [40]);
    }

    #[test]
    fn a_lost_definition_leaves_the_others_their_numbers() {
        let mut table = SeriesTable::new();
        table.define(0, &labels(0), SeriesKind::Gauge);
        table.define(5, &labels(5), SeriesKind::Delta);
        table.define(6, &labels(5), SeriesKind::Delta);
        table.define(5, &labels(7), SeriesKind::Gauge);
        table.define(u32::MAX, &labels(8), SeriesKind::Gauge);
        let kinds: Vec<_> = (0..8).map(|number| table.kind(number)).collect();
        let (gauge, delta) = (Some(SeriesKind::Gauge), Some(SeriesKind::Delta));
        assert_eq!(kinds, [gauge, None, None, None, None, delta, None, None]);
        assert_eq!((table.labels(0), table.labels(5)), (labels(0), labels(5)));
    }

    fn set() -> impl Strategy<Value = LabelSet> {
        let pairs = prop::collection::btree_map("[a-d]{1,2}", "[a-c]{1,12}", 0..6);
        pairs.prop_map(|pairs| LabelSet::from_pairs(pairs).expect("valid"))
    }

    proptest! {
        #[test]
        fn matching_and_order_are_those_of_the_label_sets(
            sets in prop::collection::btree_set(set().prop_map(|set| set.as_bytes().to_vec()), 1..60),
            matchers in prop::collection::vec(("[a-d]", 0usize..4, "[abc.|+]{0,3}"), 0..4),
        ) {
            let sets: Vec<LabelSet> = sets.iter().filter_map(|bytes| LabelSet::from_bytes(bytes)).collect();
            let mut table = SeriesTable::new();
            for set in &sets {
                table.number(set, SeriesKind::Gauge, false).expect("there is room");
            }
            for (number, set) in (0u32..).zip(&sets) {
                prop_assert_eq!(&table.labels(number), set);
                prop_assert_eq!(table.find(set).map(|known| known.number), Some(number));
            }
            let mut order: Vec<u32> = (0..sets.len() as u32).collect();
            order.sort_by_key(|&number| sets[number as usize].clone());
            prop_assert_eq!(table.in_label_order((0..sets.len() as u32).rev()), order);
            for (a, one) in sets.iter().enumerate() {
                for (b, other) in sets.iter().enumerate() {
                    prop_assert_eq!(table.compare(a as u32, &table, b as u32), one.cmp(other));
                }
            }
            let ops = [MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex];
            let matchers: Vec<Matcher> = matchers
                .iter()
                .filter_map(|(name, op, value)| Matcher::new(name, ops[*op], value).ok())
                .collect();
            for among in [0..sets.len(), 0..sets.len() / 2, sets.len() / 2..sets.len()] {
                let expected: Vec<u32> = (among.start as u32..among.end as u32)
                    .filter(|&number| matchers.iter().all(|m| m.matches(sets[number as usize].get(m.name()))))
                    .collect();
                prop_assert_eq!(table.matching(&matchers, among), expected);
            }
        }
    }
}
