//! The histograms of a head's series, by series and stamp.
//!
//! A histogram is large beside what finding it costs, so each series has a tree. Series and their kinds are those of
//! [`crate::runs::Runs`]; what is held at one stamp is already merged by the law of the series' kind.

use std::collections::{BTreeMap, BTreeSet};

use annals_model::{
    Day, HistogramSample, HistogramSamples, START_UNKNOWN, SeriesKind, TimeRange, Timestamp, merge_histograms,
};
use hashbrown::HashMap;

/// What a sample costs beside its histogram: its share of a tree's node.
const SAMPLE_BYTES: usize = 40;
/// What a series costs: its tree and its place in the map.
const SERIES_BYTES: usize = 64;

/// The samples of series of histograms.
#[derive(Debug, Default)]
pub(crate) struct HistogramRuns {
    series: HashMap<u32, BTreeMap<i64, HistogramSample>, foldhash::fast::FixedState>,
    samples: u64,
    /// Of histograms alone.
    bytes: usize,
    days: BTreeSet<Day>,
}

impl HistogramRuns {
    /// Adds a sample to a series of this kind.
    pub(crate) fn add(&mut self, number: u32, kind: SeriesKind, time: i64, sample: &HistogramSample) {
        let run = self.series.entry(number).or_default();
        let size = |sample: &HistogramSample| sample.as_ref().map_or(0, |histogram| histogram.bytes());
        if let Some(held) = run.get_mut(&time) {
            let merged = merge_histograms(kind, held, sample);
            self.bytes = self.bytes.saturating_add(size(&merged)).saturating_sub(size(held));
            *held = merged;
            return;
        }
        run.insert(time, sample.clone());
        self.bytes += size(sample);
        self.samples += 1;
        self.days.insert(Timestamp(time).day());
    }

    /// Whether no sample of a series comes after this stamp.
    pub(crate) fn is_newest(&self, number: u32, time: i64) -> bool {
        let last = self.series.get(&number).and_then(|run| run.last_key_value());
        last.is_none_or(|(&last, _)| last <= time)
    }

    /// Appends a series' samples in a range, ascending, without their starts.
    pub(crate) fn read(&self, number: u32, range: TimeRange, into: &mut HistogramSamples) {
        for (&time, sample) in self.of(number, range) {
            into.push(time, sample.clone(), START_UNKNOWN);
        }
    }

    /// Whether a series has samples in a range.
    pub(crate) fn overlaps(&self, number: u32, range: TimeRange) -> bool {
        self.of(number, range).next().is_some()
    }

    fn of(&self, number: u32, range: TimeRange) -> impl Iterator<Item = (&i64, &HistogramSample)> {
        let held = self.series.get(&number).filter(|_| !range.is_empty());
        let (after, through) = (range.start.0, range.end.0);
        held.into_iter().flat_map(move |run| {
            run.range((std::ops::Bound::Excluded(after), std::ops::Bound::Included(through)))
        })
    }

    /// Forgets all samples, and gives their memory back.
    pub(crate) fn clear(&mut self) {
        *self = HistogramRuns::default();
    }

    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    /// Stamps of the first and the last sample of all.
    pub(crate) fn ends(&self) -> Option<(Timestamp, Timestamp)> {
        let first = self.series.values().filter_map(|run| run.first_key_value()).map(|(&time, _)| time).min();
        let last = self.series.values().filter_map(|run| run.last_key_value()).map(|(&time, _)| time).max();
        first.zip(last).map(|(first, last)| (Timestamp(first), Timestamp(last)))
    }

    /// The days that have samples.
    pub(crate) fn days(&self) -> impl Iterator<Item = Day> + '_ {
        self.days.iter().copied()
    }

    /// Bytes that are allocated, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.samples as usize * SAMPLE_BYTES + self.series.capacity() * SERIES_BYTES
    }
}
