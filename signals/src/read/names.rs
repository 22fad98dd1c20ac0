//! Series by the text that names them, so that a reader takes labels apart once and then says a number.

use annals_model::{SeriesKind, Timestamp};
use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher as _;

/// Takes samples. A reader first asks for the number of a series by the text that names it, and only where the sink does
/// not know it takes the labels apart.
///
/// Texts stand within a number: that of a kind ([`by_itself`]), or one that the sink gave to a part of names, such as
/// the measurement and tags that all fields of a line share. Texts of different formats are never to meet in one sink.
pub trait SampleSink {
    /// The number of what is named so.
    fn find(&mut self, within: u32, name: &[u8]) -> Option<u32>;
    /// A guess: the number of what came after what was found last, and its name's length, where a text begins with that
    /// name. Senders name the same series in the same order again and again. Whether the name ends there is for the
    /// caller to see.
    fn guess(&mut self, _within: u32, _text: &[u8]) -> Option<(u32, usize)> {
        None
    }
    /// Numbers a part of names. It must not be known yet.
    fn part(&mut self, within: u32, name: &[u8]) -> u32;
    /// Numbers a series: its labels (the name as `__name__`, first), in the file's order and unchecked. It must not be
    /// known yet.
    fn series(&mut self, within: u32, name: &[u8], labels: &[(&str, &str)], kind: SeriesKind) -> u32;
    /// One sample of a numbered series: the time that the file tells, else the reader's default; the value, bit for bit.
    fn sample(&mut self, series: u32, time: Option<Timestamp>, value: f64);
}

/// What the names of series of a kind stand within.
#[must_use]
pub fn by_itself(kind: SeriesKind) -> u32 {
    u32::from(kind.tag())
}

/// The number of a series that stands by itself and whose labels are at hand.
pub(super) fn number_of(
    sink: &mut dyn SampleSink,
    name: &[u8],
    labels: &[(&str, &str)],
    kind: SeriesKind,
) -> u32 {
    let within = by_itself(kind);
    sink.find(within, name).unwrap_or_else(|| sink.series(within, name, labels, kind))
}

/// The least number that [`Names`] gives: those below are kinds'.
const FIRST: u32 = 8;

const _: () = assert!(SeriesKind::ALL.len() <= FIRST as usize);

/// Numbers for texts within numbers, ascending by one.
#[derive(Debug)]
pub struct Names {
    index: HashTable<u32>,
    /// By number: what it stands within, and where its text ends in `bytes`.
    entries: Vec<(u32, usize)>,
    bytes: Vec<u8>,
    hasher: FixedState,
}

impl Names {
    /// No names; `seed` keeps those who choose names from choosing where they meet.
    #[must_use]
    pub fn new(seed: u64) -> Names {
        let hasher = FixedState::with_seed(seed);
        Names { index: HashTable::new(), entries: Vec::new(), bytes: Vec::new(), hasher }
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The memory that they take, nearly.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.bytes.len() + self.entries.len() * (size_of::<(u32, usize)>() + 2 * size_of::<u32>())
    }

    /// Where in the order of numbers one is, from 0; what a sink keeps of each is found by that.
    #[must_use]
    pub fn position(number: u32) -> usize {
        number.wrapping_sub(FIRST) as usize
    }

    /// The number of a text.
    #[must_use]
    pub fn find(&self, within: u32, name: &[u8]) -> Option<u32> {
        self.index
            .find(hash(&self.hasher, within, name), |&at| self.is(at, within, name))
            .map(|at| at + FIRST)
    }

    /// The number after `last`, or the first where that is the last one, and its name's length, where a text begins with its
    /// name.
    #[must_use]
    pub fn after(&self, last: u32, within: u32, text: &[u8]) -> Option<(u32, usize)> {
        let next = Names::position(last).wrapping_add(1);
        let at = if next < self.entries.len() { next as u32 } else { 0 };
        if self.entries.is_empty() {
            return None;
        }
        let (own, name) = entry(&self.entries, &self.bytes, at);
        (own == within && text.starts_with(name)).then_some((at + FIRST, name.len()))
    }

    /// Numbers a text, which must not be known yet. Whoever holds names drops them long before there are 2^32.
    pub fn insert(&mut self, within: u32, name: &[u8]) -> u32 {
        let at = self.entries.len() as u32;
        self.bytes.extend_from_slice(name);
        self.entries.push((within, self.bytes.len()));
        let (entries, bytes, hasher) = (&self.entries, &self.bytes, &self.hasher);
        self.index.insert_unique(hash(hasher, within, name), at, |&at| {
            let (within, name) = entry(entries, bytes, at);
            hash(hasher, within, name)
        });
        at + FIRST
    }

    fn is(&self, at: u32, within: u32, name: &[u8]) -> bool {
        entry(&self.entries, &self.bytes, at) == (within, name)
    }
}

fn entry<'a>(entries: &[(u32, usize)], bytes: &'a [u8], at: u32) -> (u32, &'a [u8]) {
    let start = match at.checked_sub(1) {
        Some(before) => entries[before as usize].1,
        None => 0,
    };
    let (within, end) = entries[at as usize];
    (within, &bytes[start..end])
}

fn hash(hasher: &FixedState, within: u32, name: &[u8]) -> u64 {
    hasher.hash_one((within, name))
}

/// A sink that hands each sample to a function with its labels: for those who look at a file and do not store it.
pub struct EachSample<F> {
    names: Names,
    series: Vec<(Vec<(String, String)>, SeriesKind)>,
    each: F,
}

impl<F: FnMut(&[(&str, &str)], SeriesKind, Option<Timestamp>, f64)> EachSample<F> {
    /// A sink that hands on to `each`.
    pub fn new(each: F) -> EachSample<F> {
        EachSample { names: Names::new(0), series: Vec::new(), each }
    }
}

impl<F: FnMut(&[(&str, &str)], SeriesKind, Option<Timestamp>, f64)> SampleSink for EachSample<F> {
    fn find(&mut self, within: u32, name: &[u8]) -> Option<u32> {
        self.names.find(within, name)
    }

    fn part(&mut self, within: u32, name: &[u8]) -> u32 {
        self.series(within, name, &[], SeriesKind::Gauge)
    }

    fn series(&mut self, within: u32, name: &[u8], labels: &[(&str, &str)], kind: SeriesKind) -> u32 {
        let own = labels.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        self.series.push((own, kind));
        self.names.insert(within, name)
    }

    fn sample(&mut self, series: u32, time: Option<Timestamp>, value: f64) {
        let Some((labels, kind)) = self.series.get(Names::position(series)) else { return };
        let labels: Vec<(&str, &str)> = labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        (self.each)(&labels, *kind, time, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_number_within_each_other_and_they_ascend() {
        let mut names = Names::new(7);
        let mut all = Vec::new();
        for within in [by_itself(SeriesKind::Gauge), by_itself(SeriesKind::Counter), FIRST] {
            for name in 0..1000u32 {
                let name = "n".repeat(name as usize % 7) + &name.to_string();
                assert_eq!(names.find(within, name.as_bytes()), None);
                all.push((within, name.clone(), names.insert(within, name.as_bytes())));
            }
        }
        for (position, (within, name, number)) in all.iter().enumerate() {
            assert_eq!(names.find(*within, name.as_bytes()), Some(*number));
            assert_eq!(Names::position(*number), position);
        }
        assert_eq!((names.len(), names.find(FIRST + 1, b"n1")), (3000, None));
    }
}
