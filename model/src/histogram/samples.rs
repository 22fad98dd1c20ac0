//! The samples of a series of histograms.

use std::sync::Arc;

use super::Histogram;
use crate::{
    STALE_NAN_BITS, START_UNKNOWN, Samples, SeriesKind, TimeRange, Timestamp, append_starts,
    replace_last_start, starts_anew, window_end,
};

/// What a series of histograms holds at one stamp: a histogram, or `None`, the marker that the series has ended.
pub type HistogramSample = Option<Arc<Histogram>>;

/// Samples of a series of histograms, in columns.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistogramSamples {
    /// Milliseconds. Strictly ascending, but for samples that are not merged yet.
    pub timestamps: Vec<i64>,
    /// One per timestamp.
    pub histograms: Vec<HistogramSample>,
    /// Empty where none is known, else one per timestamp.
    pub start_times: Vec<i64>,
}

/// Two samples of one series of histograms and one instant become one: those of delta histograms add up where their
/// buckets can be added, otherwise the later write wins.
#[must_use]
pub fn merge_histograms(
    kind: SeriesKind,
    earlier: &HistogramSample,
    later: &HistogramSample,
) -> HistogramSample {
    match (kind, earlier, later) {
        (SeriesKind::DeltaHistogram, Some(one), Some(other)) => {
            one.plus(other).map_or_else(|_| later.clone(), |(sum, _)| Some(Arc::new(sum.compacted())))
        }
        _ => later.clone(),
    }
}

impl HistogramSamples {
    /// Empties the columns and keeps their memory.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.histograms.clear();
        self.start_times.clear();
    }

    /// Appends a sample.
    pub fn push(&mut self, time: i64, histogram: HistogramSample, start: i64) {
        append_starts(&mut self.start_times, self.timestamps.len(), 1, &[start]);
        self.timestamps.push(time);
        self.histograms.push(histogram);
    }

    /// The samples: time, histogram, start.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &HistogramSample, i64)> {
        let starts = self.start_times.iter().copied().chain(std::iter::repeat(START_UNKNOWN));
        self.timestamps
            .iter()
            .zip(&self.histograms)
            .zip(starts)
            .map(|((&time, own), start)| (time, own, start))
    }

    /// Appends those of another in a range.
    pub fn extend_from(&mut self, other: &HistogramSamples, range: TimeRange) {
        for (time, histogram, start) in other.iter().filter(|(time, ..)| range.contains(Timestamp(*time))) {
            self.push(time, histogram.clone(), start);
        }
    }

    /// Brings samples that were appended part by part, in the order of their writes, into time order, one per stamp.
    pub fn merge(&mut self, kind: SeriesKind) {
        if self.timestamps.is_sorted_by(|a, b| a < b) {
            return;
        }
        let mut parts: Vec<(i64, HistogramSample, i64)> =
            self.iter().map(|(time, histogram, start)| (time, histogram.clone(), start)).collect();
        self.clear();
        // Stable: samples of one stamp stay in the order of their writes.
        parts.sort_by_key(|&(time, ..)| time);
        for (time, histogram, start) in parts {
            match (self.timestamps.last(), self.histograms.last_mut()) {
                (Some(&last), Some(held)) if last == time => {
                    *held = merge_histograms(kind, held, &histogram);
                    replace_last_start(&mut self.start_times, self.timestamps.len(), start);
                }
                _ => self.push(time, histogram, start),
            }
        }
    }

    /// What is left of them where only windows of this length are kept. Of delta histograms: their sum, at the window's
    /// end. Of others: the first and the last, the two on either side of each reset
    /// and change of start, and the marker of the series' end where nothing of the window comes after it. So what buckets
    /// grew by over whole windows stays exact. What was thinned before stays as it is.
    #[must_use]
    pub fn thinned(&self, kind: SeriesKind, window_ms: i64) -> HistogramSamples {
        let mut out = HistogramSamples::default();
        let mut at = 0;
        while let Some(&first) = self.timestamps.get(at) {
            let end = window_end(first, window_ms);
            let rest = self.timestamps.get(at..).unwrap_or_default();
            let next = at + rest.partition_point(|&stamp| stamp <= end);
            let window: Vec<(i64, &Arc<Histogram>, i64)> = self
                .iter()
                .take(next)
                .skip(at)
                .filter_map(|(time, histogram, start)| Some((time, histogram.as_ref()?, start)))
                .collect();
            if kind == SeriesKind::DeltaHistogram {
                let all = self.histograms.get(at..next).unwrap_or_default();
                let sum = all.iter().cloned().reduce(|sum, next| merge_histograms(kind, &sum, &next));
                out.push(end, sum.flatten(), START_UNKNOWN);
            } else {
                let is_reset = |one: usize| match (window.get(one), window.get(one + 1)) {
                    (Some(&(time_before, before, start_before)), Some(&(time, after, start))) => {
                        // A start that changes says something of its neighbours only.
                        let anew = starts_anew((time_before, start_before), (time, start));
                        after.is_reset_after(before) || start != start_before || anew
                    }
                    // The last is kept.
                    _ => true,
                };
                for (position, &(time, histogram, start)) in window.iter().enumerate() {
                    let after_reset = position.checked_sub(1).is_none_or(is_reset);
                    if after_reset || is_reset(position) {
                        out.push(time, Some(Arc::clone(histogram)), start);
                    }
                }
                if let (Some(&time), Some(None)) =
                    (self.timestamps.get(next - 1), self.histograms.get(next - 1))
                {
                    out.push(time, None, START_UNKNOWN);
                }
            }
            at = next;
        }
        out
    }

    /// Appends them to the samples of a query.
    pub fn append_to(&self, into: &mut Samples) {
        for (time, histogram, start) in self.iter() {
            append_starts(&mut into.start_times, into.timestamps.len(), 1, &[start]);
            into.timestamps.push(time);
            let is_marker = histogram.is_none();
            into.values.push(if is_marker { f64::from_bits(STALE_NAN_BITS) } else { f64::NAN });
            into.histograms.push(histogram.clone());
        }
    }

    /// How much memory they take, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let of_one = |histogram: &HistogramSample| histogram.as_ref().map_or(0, |h| h.bytes());
        self.histograms.iter().map(of_one).sum::<usize>()
            + self.timestamps.len() * 16
            + self.start_times.len() * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HOUR_MS;
    use proptest::prelude::*;

    fn one(count: f64) -> HistogramSample {
        Some(Arc::new(Histogram { count, sum: count, positive: vec![(1, count)], ..Histogram::default() }))
    }

    fn counts(samples: &HistogramSamples) -> Vec<(i64, Option<f64>)> {
        samples.iter().map(|(time, histogram, _)| (time, histogram.as_ref().map(|h| h.count))).collect()
    }

    fn of(samples: &[(i64, Option<f64>)]) -> HistogramSamples {
        let mut out = HistogramSamples::default();
        samples.iter().for_each(|&(time, count)| out.push(time, count.and_then(one), 0));
        out
    }

    #[test]
    fn parts_merge_by_the_law_of_the_kind() {
        let parts = of(&[(10, Some(1.0)), (20, Some(2.0)), (20, Some(5.0)), (15, Some(4.0))]);
        let merged = |kind| {
            let mut parts = parts.clone();
            parts.merge(kind);
            counts(&parts)
        };
        let expected = |at_20| [(10, Some(1.0)), (15, Some(4.0)), (20, Some(at_20))];
        assert_eq!(merged(SeriesKind::Histogram), expected(5.0));
        assert_eq!(merged(SeriesKind::DeltaHistogram), expected(7.0));
    }

    #[test]
    fn buckets_that_cannot_be_added_are_replaced() {
        let custom = Histogram { schema: crate::CUSTOM_BUCKETS_SCHEMA, ..Histogram::default() };
        let later = Some(Arc::new(custom));
        assert_eq!(merge_histograms(SeriesKind::DeltaHistogram, &one(1.0), &later), later);
    }

    #[test]
    fn thinning_keeps_ends_resets_and_the_marker() {
        let samples = of(&[
            (1, Some(1.0)),
            (2, Some(2.0)),
            (3, Some(9.0)),
            (4, Some(3.0)),
            (5, Some(4.0)),
            (6, Some(5.0)),
            (7, None),
            (11, None),
            (12, Some(1.0)),
        ]);
        let kept =
            [(1, Some(1.0)), (3, Some(9.0)), (4, Some(3.0)), (6, Some(5.0)), (7, None), (12, Some(1.0))];
        assert_eq!(counts(&samples.thinned(SeriesKind::Histogram, 10)), kept);
        let deltas = of(&[(1, Some(1.0)), (10, Some(2.0)), (11, Some(4.0))]);
        assert_eq!(
            counts(&deltas.thinned(SeriesKind::DeltaHistogram, 10)),
            [(10, Some(3.0)), (20, Some(4.0))]
        );
    }

    proptest! {
        #[test]
        fn thinning_loses_no_increase_and_is_done_once(
            steps in prop::collection::vec((1i64..400_000, 0u32..9, prop::bool::weighted(0.1)), 1..200),
            delta in any::<bool>(),
        ) {
            let kind = if delta { SeriesKind::DeltaHistogram } else { SeriesKind::Histogram };
            let (mut time, mut count) = (0, 0.0);
            let mut samples = HistogramSamples::default();
            for (step, grows, reset) in steps {
                time += step;
                count = f64::from(grows) + if reset || delta { 0.0 } else { count };
                samples.push(time, one(count), 0);
            }
            let grown = |samples: &HistogramSamples| {
                let counts: Vec<f64> = samples.histograms.iter().flatten().map(|h| h.count).collect();
                let steps = counts.windows(2).map(|pair| if pair[1] < pair[0] { pair[1] } else { pair[1] - pair[0] });
                if delta { counts.iter().sum::<f64>() } else { steps.sum() }
            };
            let thinned = samples.thinned(kind, HOUR_MS);
            prop_assert_eq!(grown(&thinned), grown(&samples));
            prop_assert_eq!(&thinned.thinned(kind, HOUR_MS), &thinned);
        }
    }
}
