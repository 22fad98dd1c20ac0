//! The head: a tenant's newest data, in memory until a flush makes blocks of it.
//!
//! A tenant has one head per epoch (see [`crate::record`]). Records are applied in log order after they are durable,
//! so what a head holds at one stamp is already merged by the law of the series' kind.

use std::sync::Arc;

use annals_model::{
    LabelSet, Lsn, METRIC_NAME, MatchOp, Matcher, SeriesKind, SignalRow, TimeRange, Timestamp, merge_values,
};
use hashbrown::HashMap;

use crate::record::MetricRows;

/// The highest series number that is believed. A host's limit on series is far below it.
const SERIES_NUMBER_MAX: u32 = 16_000_000;
/// What a series costs beside its samples and labels: columns' headers, its place in the index.
const SERIES_BYTES: usize = 160;
/// What a stored signal costs, about.
const ROW_BYTES: usize = 224;
const SAMPLE_BYTES: usize = 16;

/// A tenant's data of one epoch.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) epoch: u64,
    /// The first record applied: it and those after it are needed until this head is in blocks.
    pub(crate) first: Lsn,
    /// When that record was written.
    pub(crate) since: Timestamp,
    series: Vec<Option<HeadSeries>>,
    by_metric: HashMap<Box<str>, Vec<u32>, foldhash::fast::FixedState>,
    rows: Vec<SignalRow>,
    /// Samples whose series' definition was lost to damage of the log.
    pub(crate) orphans: u64,
    samples: u64,
    bytes: usize,
}

/// One series' samples, ascending and one per stamp.
#[derive(Debug)]
pub(crate) struct HeadSeries {
    pub(crate) labels: LabelSet,
    pub(crate) kind: SeriesKind,
    pub(crate) timestamps: Vec<i64>,
    pub(crate) values: Vec<f64>,
}

impl Head {
    pub(crate) fn new(epoch: u64, first: Lsn, since: Timestamp) -> Head {
        Head {
            epoch,
            first,
            since,
            series: Vec::new(),
            by_metric: HashMap::default(),
            rows: Vec::new(),
            orphans: 0,
            samples: 0,
            bytes: 0,
        }
    }

    /// Applies one record; returns how many bytes the head has grown by.
    pub(crate) fn apply(&mut self, metrics: &MetricRows, rows: Vec<SignalRow>) -> usize {
        let before = self.bytes;
        for ((labels, kind), number) in metrics.definitions.iter().zip(metrics.first_number..) {
            self.define(number, labels, *kind);
        }
        for &(number, time, value) in &metrics.samples {
            match self.series.get_mut(number as usize) {
                Some(Some(series)) => {
                    let added = series.add(time, value);
                    self.samples += u64::from(added);
                    self.bytes += usize::from(added) * SAMPLE_BYTES;
                }
                _ => self.orphans += 1,
            }
        }
        self.bytes += rows.len() * ROW_BYTES;
        self.rows.extend(rows);
        self.bytes - before
    }

    fn define(&mut self, number: u32, labels: &LabelSet, kind: SeriesKind) {
        if number > SERIES_NUMBER_MAX {
            return;
        }
        let index = number as usize;
        if self.series.len() <= index {
            self.series.resize_with(index + 1, || None);
        }
        if let Some(slot @ None) = self.series.get_mut(index) {
            let empty =
                HeadSeries { labels: labels.clone(), kind, timestamps: Vec::new(), values: Vec::new() };
            *slot = Some(empty);
            self.by_metric.entry(labels.metric_name().into()).or_default().push(number);
            self.bytes += SERIES_BYTES + labels.as_bytes().len();
        }
    }

    /// Forgets samples and signals but not which number stands for which series. For a replay that has made blocks
    /// of what it read so far.
    pub(crate) fn clear_data(&mut self) -> usize {
        let before = self.bytes;
        self.bytes = 0;
        for series in self.series.iter_mut().flatten() {
            series.timestamps = Vec::new();
            series.values = Vec::new();
            self.bytes += SERIES_BYTES + series.labels.as_bytes().len();
        }
        self.rows = Vec::new();
        self.samples = 0;
        before - self.bytes
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn samples(&self) -> u64 {
        self.samples
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.samples == 0 && self.rows.is_empty()
    }

    /// All series that have samples.
    pub(crate) fn series(&self) -> impl Iterator<Item = &HeadSeries> {
        self.series.iter().flatten().filter(|series| !series.timestamps.is_empty())
    }

    /// The series that satisfy all matchers and have samples in the range.
    pub(crate) fn find<'a>(
        &'a self,
        matchers: &'a [Matcher],
        range: TimeRange,
    ) -> impl Iterator<Item = &'a HeadSeries> + 'a {
        let name = matchers
            .iter()
            .find(|m| m.name() == METRIC_NAME && m.op() == MatchOp::Equal && !m.value().is_empty());
        let candidates: Box<dyn Iterator<Item = &HeadSeries> + 'a> = match name {
            Some(name) => Box::new(
                self.by_metric
                    .get(name.value())
                    .into_iter()
                    .flatten()
                    .filter_map(|&number| self.series.get(number as usize)?.as_ref()),
            ),
            None => Box::new(self.series.iter().flatten()),
        };
        candidates.filter(move |series| {
            let (from, to) = series.bounds(range);
            from < to && matchers.iter().all(|m| m.matches(series.labels.get(m.name())))
        })
    }

    pub(crate) fn rows(&self) -> &[SignalRow] {
        &self.rows
    }
}

impl HeadSeries {
    /// Adds a sample; false where it merged with one of the same stamp.
    fn add(&mut self, time: i64, value: f64) -> bool {
        let at = match self.timestamps.last() {
            Some(&last) if last >= time => self.timestamps.partition_point(|&t| t < time),
            _ => {
                self.timestamps.push(time);
                self.values.push(value);
                return true;
            }
        };
        match (self.timestamps.get(at), self.values.get_mut(at)) {
            (Some(&there), Some(held)) if there == time => {
                *held = merge_values(self.kind, *held, value);
                false
            }
            _ => {
                self.timestamps.insert(at, time);
                self.values.insert(at, value);
                true
            }
        }
    }

    /// The indices of the samples in a range.
    pub(crate) fn bounds(&self, range: TimeRange) -> (usize, usize) {
        let from = self.timestamps.partition_point(|&t| t <= range.start.0);
        let to = self.timestamps.partition_point(|&t| t <= range.end.0);
        (from, to)
    }

    /// The samples in a range.
    pub(crate) fn slice(&self, range: TimeRange) -> (&[i64], &[f64]) {
        let (from, to) = self.bounds(range);
        let timestamps = self.timestamps.get(from..to).unwrap_or_default();
        (timestamps, self.values.get(from..to).unwrap_or_default())
    }
}

/// Several heads' series of one label set, for a flush.
pub(crate) type SeriesParts<'a> = Vec<&'a HeadSeries>;

/// The series of several heads by labels, each with its parts in log order.
pub(crate) fn by_labels(heads: &[Arc<Head>]) -> Vec<SeriesParts<'_>> {
    let mut all: Vec<&HeadSeries> = heads.iter().flat_map(|head| head.series()).collect();
    // Stable: parts of one series stay in the heads' order, which is the log's.
    all.sort_by(|a, b| a.labels.cmp(&b.labels));
    let mut groups: Vec<SeriesParts<'_>> = Vec::new();
    for series in all {
        match groups.last_mut() {
            Some(group) if group.first().is_some_and(|first| first.labels == series.labels) => {
                group.push(series);
            }
            _ => groups.push(vec![series]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn labels(job: &str) -> LabelSet {
        LabelSet::from_pairs([("__name__", "m"), ("job", job)]).expect("valid")
    }

    proptest! {
        #[test]
        fn samples_in_any_order_end_up_merged_and_ascending(
            samples in prop::collection::vec((0i64..20, -5i32..5), 1..60),
            delta in any::<bool>(),
        ) {
            let kind = if delta { SeriesKind::Delta } else { SeriesKind::Gauge };
            let mut head = Head::new(0, Lsn(1), Timestamp(0));
            let mut expected = BTreeMap::new();
            head.apply(&MetricRows {
                first_number: 0,
                definitions: vec![(labels("a"), kind)],
                samples: samples.iter().map(|&(t, v)| (0, t, f64::from(v))).collect(),
            }, Vec::new());
            for (t, v) in samples {
                let held = expected.entry(t).or_insert(0.0);
                *held = if delta { *held + f64::from(v) } else { f64::from(v) };
            }
            let series = head.series().next().expect("one series");
            prop_assert_eq!(&series.timestamps, &expected.keys().copied().collect::<Vec<_>>());
            prop_assert_eq!(&series.values, &expected.values().copied().collect::<Vec<_>>());
            prop_assert_eq!(head.samples(), expected.len() as u64);
        }
    }

    #[test]
    fn samples_of_a_series_whose_definition_is_lost_are_counted() {
        let mut head = Head::new(0, Lsn(1), Timestamp(0));
        head.apply(&MetricRows { first_number: 0, definitions: vec![], samples: vec![(7, 1, 1.0)] }, vec![]);
        assert_eq!((head.orphans, head.samples()), (1, 0));
    }

    #[test]
    fn found_series_satisfy_matchers_and_range() {
        let mut head = Head::new(0, Lsn(1), Timestamp(0));
        head.apply(
            &MetricRows {
                first_number: 0,
                definitions: vec![(labels("a"), SeriesKind::Gauge), (labels("b"), SeriesKind::Gauge)],
                samples: vec![(0, 10, 1.0), (1, 20, 2.0)],
            },
            vec![],
        );
        let name = [Matcher::equal("__name__", "m")];
        let range = |a, b| TimeRange::new(Timestamp(a), Timestamp(b));
        assert_eq!(head.find(&name, range(0, 20)).count(), 2);
        assert_eq!(head.find(&name, range(10, 20)).count(), 1);
        assert_eq!(head.find(&[Matcher::equal("job", "a")], range(0, 9)).count(), 0);
        assert_eq!(head.find(&[Matcher::equal("__name__", "x")], range(0, 90)).count(), 0);
    }
}
