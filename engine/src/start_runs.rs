//! When what a head's samples count began: per series, from which stamp on samples have which start.
//!
//! All samples of one life of a process have one start, so that a series takes an entry for each of its lives, and series
//! whose samples do not know their starts take none. Series are those of [`crate::runs::Runs`].

use std::collections::BTreeMap;

use annals_model::{START_UNKNOWN, append_starts};
use hashbrown::HashMap;

/// What an entry costs: its share of a tree's node.
const CHANGE_BYTES: usize = 40;
/// What a series costs: its tree and its place in the map.
const SERIES_BYTES: usize = 64;

/// The starts of samples that are held elsewhere.
#[derive(Debug, Default)]
pub(crate) struct StartRuns {
    /// Per series: from this stamp on, to the next one here, samples have this start.
    series: HashMap<u32, BTreeMap<i64, i64>, foldhash::fast::FixedState>,
    changes: usize,
}

impl StartRuns {
    /// Whether no sample knows its start.
    pub(crate) fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Says what start a sample has that was just written. That of other samples stays: there are some after it unless it is
    /// the newest of its series.
    pub(crate) fn set(&mut self, number: u32, time: i64, start: i64, is_newest: bool) {
        let run = match self.series.get_mut(&number) {
            Some(run) => run,
            None if start == START_UNKNOWN => return,
            None => self.series.entry(number).or_default(),
        };
        let held = run.range(..=time).next_back().map_or(START_UNKNOWN, |(_, &start)| start);
        if held == start {
            return;
        }
        let mut change = |time, start, run: &mut BTreeMap<i64, i64>| {
            self.changes += usize::from(run.insert(time, start).is_none());
        };
        if !is_newest && !run.contains_key(&time.saturating_add(1)) {
            change(time.saturating_add(1), held, run);
        }
        change(time, start, run);
    }

    /// Appends the starts of a series' samples of these stamps, ascending, to a column of `before` samples.
    pub(crate) fn read(&self, number: u32, times: &[i64], before: usize, into: &mut Vec<i64>) {
        let (Some(run), Some(&first)) = (self.series.get(&number), times.first()) else {
            return append_starts(into, before, times.len(), &[]);
        };
        let mut start = run.range(..=first).next_back().map_or(START_UNKNOWN, |(_, &start)| start);
        let mut later = run.range(first..).peekable();
        let starts: Vec<i64> = times
            .iter()
            .map(|&time| {
                while let Some((_, &changed)) = later.next_if(|(at, _)| **at <= time) {
                    start = changed;
                }
                start
            })
            .collect();
        append_starts(into, before, times.len(), &starts);
    }

    /// Forgets all, and gives the memory back.
    pub(crate) fn clear(&mut self) {
        *self = StartRuns::default();
    }

    /// Bytes that are allocated, about.
    pub(crate) fn bytes(&self) -> usize {
        self.changes * CHANGE_BYTES + self.series.capacity() * SERIES_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_life_of_a_process_takes_one_entry() {
        let mut starts = StartRuns::default();
        for time in 1..1_000 {
            starts.set(3, time * 10, if time < 500 { 7 } else { 4_995 }, true);
        }
        assert_eq!(starts.changes, 2);
        starts.set(4, 10, START_UNKNOWN, true);
        assert_eq!(starts.series.len(), 1);
    }

    proptest! {
        #[test]
        fn each_sample_has_the_start_of_its_last_write(
            writes in prop::collection::vec((0i64..60, prop::sample::select(vec![0i64, 0, 5, 9, 40])), 1..200),
        ) {
            let (mut starts, mut expected) = (StartRuns::default(), BTreeMap::new());
            for (time, start) in writes {
                expected.insert(time, start);
                starts.set(1, time, start, expected.keys().next_back() == Some(&time));
            }
            for first in [0, 17, 45] {
                let times: Vec<i64> = expected.range(first..).map(|(&time, _)| time).collect();
                let mut read = Vec::new();
                starts.read(1, &times, 0, &mut read);
                read.resize(times.len(), START_UNKNOWN);
                prop_assert_eq!(read, expected.range(first..).map(|(_, &start)| start).collect::<Vec<_>>());
            }
        }
    }
}
