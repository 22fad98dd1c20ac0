//! The head: a tenant's newest data, in memory until a flush makes blocks of it.
//!
//! ```text
//!   SeriesTable (shared with admission)  labels of series ◄── number ──► Runs            numbers of series
//!                                                                        HistogramRuns   histograms of series
//!                                                                        StartRuns       start times of both
//! ```
//!
//! A tenant has one head per epoch (see [`crate::record`]). Records are applied in log order after they are durable,
//! so what a head holds at one stamp is already merged by the law of the series' kind.

use std::collections::BTreeSet;
use std::sync::Arc;

use annals_model::{
    Budget, Day, HistogramSample, HistogramSamples, LabelSet, Lsn, Matcher, START_UNKNOWN, Samples,
    SeriesKind, SeriesSamples, SignalRow, SourceError, TimeRange, Timestamp,
};

use crate::histogram_runs::HistogramRuns;
use crate::ingest::NumberedSamples;
use crate::record::{MetricRows, NumberedHistogram, NumberedSample};
use crate::runs::{Runs, reserve};
use crate::series_table::{SeriesTable, SharedTable};
use crate::start_runs::StartRuns;
use crate::view::{self, Wanted};

/// What the fields of a stored signal cost, about.
const ROW_FIELDS_BYTES: usize = 128;

/// A tenant's data of one epoch.
pub(crate) struct Head {
    pub(crate) epoch: u64,
    /// The first record applied: it and those after it are needed until this head is in blocks.
    pub(crate) first: Lsn,
    /// When that record was written.
    pub(crate) since: Timestamp,
    table: SharedTable,
    /// Of the table, when the last record was made.
    table_bytes: usize,
    runs: Runs,
    histograms: HistogramRuns,
    starts: StartRuns,
    rows: Vec<SignalRow>,
    /// Samples whose series' definition was lost to damage of the log.
    pub(crate) orphans: u64,
    /// What was said of its size so far: what is told when it goes is the same as what was told while it grew.
    charged: usize,
}

/// A series' samples in a range.
pub(crate) struct HeadSeries {
    pub(crate) labels: LabelSet,
    pub(crate) kind: SeriesKind,
    pub(crate) timestamps: Vec<i64>,
    /// Of a series of numbers.
    pub(crate) values: Vec<f64>,
    /// Of a series of histograms: then it has no numbers.
    pub(crate) histograms: Vec<HistogramSample>,
    /// Empty where none is known.
    pub(crate) start_times: Vec<i64>,
}

/// Series that a search found among the first ones of a table.
pub(crate) struct Candidates {
    table: SharedTable,
    /// How many were searched.
    series: usize,
    numbers: Vec<u32>,
}

impl Head {
    pub(crate) fn new(epoch: u64, first: Lsn, since: Timestamp, table: SharedTable) -> Head {
        Head {
            epoch,
            first,
            since,
            table,
            table_bytes: 0,
            runs: Runs::default(),
            histograms: HistogramRuns::default(),
            starts: StartRuns::default(),
            rows: Vec::new(),
            orphans: 0,
            charged: 0,
        }
    }

    /// Applies a record that was read from the log; returns how many bytes the head has grown by.
    pub(crate) fn apply_record(&mut self, metrics: &MetricRows, rows: Vec<SignalRow>) -> usize {
        let mut table = self.table.write();
        for ((labels, kind), number) in metrics.definitions.iter().zip(metrics.first_number..) {
            table.define(number, labels, *kind);
        }
        for number in self.runs.len()..table.len() {
            self.runs.push_series(table.kind(number as u32));
        }
        self.table_bytes = table.bytes();
        drop(table);
        self.take(&metrics.samples, &metrics.histograms, &metrics.starts, rows)
    }

    /// Applies a batch; returns how many bytes the head has grown by. Does not touch the table, on which a query may be at
    /// work.
    pub(crate) fn apply(&mut self, batch: &NumberedSamples, rows: Vec<SignalRow>) -> usize {
        while self.runs.len() < batch.first {
            self.runs.push_series(None);
        }
        for &kind in batch.kinds.iter().skip(self.runs.len() - batch.first) {
            self.runs.push_series(Some(kind));
        }
        self.table_bytes = batch.table_bytes;
        self.take(&batch.samples, &batch.histograms, &batch.starts, rows)
    }

    fn take(
        &mut self,
        samples: &[NumberedSample],
        histograms: &[NumberedHistogram],
        starts: &[i64],
        rows: Vec<SignalRow>,
    ) -> usize {
        // A sample that does not know its start may replace one that does.
        let with_starts = !starts.is_empty() || !self.starts.is_empty();
        let mut starts = starts.iter().copied().chain(std::iter::repeat(START_UNKNOWN));
        let mut start = || starts.next().unwrap_or(START_UNKNOWN);
        for &(number, time, value) in samples {
            let known = self.runs.add(number, time, value);
            self.orphans += u64::from(!known);
            if with_starts {
                let start = start();
                if known {
                    self.starts.set(number, time, start, self.runs.is_newest(number, time));
                }
            }
        }
        for (number, time, histogram) in histograms {
            let start = start();
            match self.runs.kind(*number) {
                Some(kind) => {
                    self.histograms.add(*number, kind, *time, histogram);
                    if with_starts {
                        self.starts.set(*number, *time, start, self.histograms.is_newest(*number, *time));
                    }
                }
                None => self.orphans += 1,
            }
        }
        reserve(&mut self.rows, rows.len());
        self.rows.extend(rows);
        let before = self.charged;
        self.charged = before.max(self.allocated());
        self.charged - before
    }

    /// Forgets samples and signals but not which number stands for which series. For a replay that has made blocks
    /// of what it read so far. Returns how many bytes it has shrunk by.
    pub(crate) fn clear_data(&mut self) -> usize {
        self.runs.clear();
        self.histograms.clear();
        self.starts.clear();
        self.rows = Vec::new();
        let before = self.charged;
        self.charged = before.min(self.allocated());
        before - self.charged
    }

    /// No more records come: the head is about to become blocks, which takes memory too.
    pub(crate) fn end_admission(&self) {
        self.table.write().end_admission();
    }

    fn allocated(&self) -> usize {
        let rows = self.rows.capacity() * size_of::<SignalRow>() + self.rows.len() * ROW_FIELDS_BYTES;
        self.runs.bytes() + self.histograms.bytes() + self.starts.bytes() + self.table_bytes + rows
    }

    /// What it takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.charged
    }

    /// Series that it may have samples of.
    pub(crate) fn series(&self) -> usize {
        self.runs.len()
    }

    pub(crate) fn samples(&self) -> u64 {
        self.runs.samples() + self.histograms.samples()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.samples() == 0 && self.rows.is_empty()
    }

    /// Stamps of the first and the last sample.
    pub(crate) fn ends(&self) -> Option<(Timestamp, Timestamp)> {
        let ends = [self.runs.ends(), self.histograms.ends()].into_iter().flatten();
        ends.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
    }

    /// The days that have samples.
    fn days(&self) -> impl Iterator<Item = Day> {
        self.runs.days().chain(self.histograms.days())
    }

    /// Whether a series may have samples in a range.
    fn may_overlap(&self, number: u32, range: TimeRange) -> bool {
        self.runs.may_overlap(number, range) || self.histograms.overlaps(number, range)
    }

    /// The series that satisfy all matchers, found on the table alone: the head goes on taking records meanwhile.
    pub(crate) fn search(table: &SharedTable, series: usize, matchers: &[Matcher]) -> Candidates {
        let numbers = table.read().matching(matchers, 0..series);
        Candidates { table: table.clone(), series, numbers }
    }

    /// What a search needs: the table, and how many of its series are known here.
    pub(crate) fn searchable(&self) -> (SharedTable, usize) {
        (self.table.clone(), self.runs.len())
    }

    /// Copies the series that satisfy all matchers and have samples in the range. Where a search found some before, only
    /// those that came since are searched.
    pub(crate) fn copy(
        &self,
        matchers: &[Matcher],
        (range, wanted): (TimeRange, Wanted),
        candidates: &[Candidates],
        budget: &Budget,
    ) -> Result<Vec<HeadSeries>, SourceError> {
        let found = candidates.iter().find(|found| Arc::ptr_eq(&found.table, &self.table));
        let (numbers, searched) = found.map_or((&[][..], 0), |found| (&found.numbers, found.series));
        let table = self.table.read();
        let newer = table.matching(matchers, searched..self.runs.len());
        let mut copied = Vec::new();
        for &number in numbers.iter().chain(&newer) {
            if !self.may_overlap(number, range) {
                continue;
            }
            let Some(kind) = table.kind(number) else { continue };
            let (mut timestamps, mut values) = (Vec::new(), Vec::new());
            let mut histograms = Vec::new();
            if wanted == Wanted::Labels {
                let (labels, start_times) = (table.labels(number), Vec::new());
                copied.push(HeadSeries { labels, kind, timestamps, values, histograms, start_times });
                continue;
            }
            if kind.is_histogram() {
                let mut samples = HistogramSamples::default();
                self.histograms.read(number, range, &mut samples);
                HistogramSamples { timestamps, histograms, .. } = samples;
            } else {
                self.runs.read(number, range, &mut timestamps, &mut values);
            }
            if timestamps.is_empty() {
                continue;
            }
            let mut start_times = Vec::new();
            self.starts.read(number, &timestamps, 0, &mut start_times);
            // Histograms themselves are shared, not copied.
            budget.charge_memory((timestamps.len() * 16 + start_times.len() * 8) as u64)?;
            let labels = table.labels(number);
            copied.push(HeadSeries { labels, kind, timestamps, values, histograms, start_times });
        }
        Ok(copied)
    }

    /// Adds the names of its series' labels.
    pub(crate) fn label_names(&self, names: &mut BTreeSet<String>) {
        let table = self.table.read();
        for number in 0..self.runs.len() as u32 {
            for (name, _) in table.label_bytes(number).filter_map(annals_model::decode_pair) {
                if !names.contains(name) {
                    names.insert(name.to_owned());
                }
            }
        }
    }

    pub(crate) fn rows(&self) -> &[SignalRow] {
        &self.rows
    }
}

impl std::fmt::Debug for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Head(epoch {}, {} samples)", self.epoch, self.samples())
    }
}

/// The series of several heads in label order, for a flush. A series that more than one head has comes once.
pub(crate) struct InOrder<'a> {
    heads: &'a [Arc<Head>],
    /// (head, series), in label order, then in that of the heads, which is the log's.
    series: Vec<(u32, u32)>,
}

impl InOrder<'_> {
    pub(crate) fn of(heads: &[Arc<Head>]) -> InOrder<'_> {
        let everything = |head: &Head| 0..head.runs.len() as u32;
        let mut series = Vec::new();
        for (at, head) in (0u32..).zip(heads) {
            let with_samples = everything(head).filter(|&number| head.may_overlap(number, TimeRange::ALL));
            let ordered = head.table.read().in_label_order(with_samples);
            series.extend(ordered.into_iter().map(|number| (at, number)));
        }
        if heads.len() > 1 {
            let tables: Vec<_> = heads.iter().map(|head| head.table.read()).collect();
            let table = |at: u32| tables.get(at as usize);
            // Stable, and fast where there are long runs in order.
            series.sort_by(|&(a, one), &(b, other)| match (table(a), table(b)) {
                (Some(table), Some(others)) => table.compare(one, others, other),
                _ => std::cmp::Ordering::Equal,
            });
        }
        InOrder { heads, series }
    }

    /// The days that have samples, ascending.
    pub(crate) fn days(&self) -> Vec<Day> {
        let mut days: Vec<Day> = self.heads.iter().flat_map(|head| head.days()).collect();
        days.sort_unstable();
        days.dedup();
        days
    }

    /// Hands out each series that has samples in the range.
    pub(crate) fn read<E>(
        &self,
        range: TimeRange,
        mut each: impl FnMut(&LabelSet, SeriesKind, SeriesSamples<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let tables: Vec<_> = self.heads.iter().map(|head| head.table.read()).collect();
        let table = |at: u32| tables.get(at as usize).map(|table| &**table);
        let same = |a: &(u32, u32), b: &(u32, u32)| {
            let (one, other): (Option<&SeriesTable>, _) = (table(a.0), table(b.0));
            // Within one head a series has one number.
            a.0 != b.0 && one.zip(other).is_some_and(|(one, other)| one.compare(a.1, other, b.1).is_eq())
        };
        let (mut samples, mut histograms) = (Samples::default(), HistogramSamples::default());
        for parts in self.series.chunk_by(same) {
            let Some(&(first, number)) = parts.first() else { continue };
            let Some((table, kind)) = table(first).and_then(|table| Some((table, table.kind(number)?)))
            else {
                continue;
            };
            samples.clear();
            histograms.clear();
            for &(at, number) in parts {
                if let Some(head) = self.heads.get(at as usize) {
                    let before = samples.timestamps.len();
                    head.runs.read(number, range, &mut samples.timestamps, &mut samples.values);
                    let new = samples.timestamps.get(before..).unwrap_or_default();
                    head.starts.read(number, new, before, &mut samples.start_times);
                    let before = histograms.timestamps.len();
                    head.histograms.read(number, range, &mut histograms);
                    let new = histograms.timestamps.get(before..).unwrap_or_default();
                    head.starts.read(number, new, before, &mut histograms.start_times);
                }
            }
            if parts.len() > 1 {
                view::merge(kind, &mut samples);
                histograms.merge(kind);
            }
            let samples = match kind.is_histogram() {
                true => SeriesSamples::Histograms(&histograms),
                false => SeriesSamples::Numbers(&samples.timestamps, &samples.values, &samples.start_times),
            };
            if !samples.is_empty() {
                each(&table.labels(number), kind, samples)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_model::QueryLimits;

    fn labels(job: &str) -> LabelSet {
        LabelSet::from_pairs([("__name__", "m"), ("job", job)]).expect("valid")
    }

    fn head() -> Head {
        Head::new(0, Lsn(1), Timestamp(0), SeriesTable::shared())
    }

    #[test]
    fn samples_of_a_series_whose_definition_is_lost_are_counted() {
        let mut head = head();
        head.apply_record(
            &MetricRows {
                first_number: 0,
                definitions: vec![],
                samples: vec![(7, 1, 1.0)],
                ..MetricRows::default()
            },
            vec![],
        );
        let definitions = vec![(labels("a"), SeriesKind::Gauge)];
        let samples = vec![(8, 1, 1.0), (9, 1, 1.0), (9, 2, 1.0)];
        head.apply_record(
            &MetricRows { first_number: 9, definitions, samples, ..MetricRows::default() },
            vec![],
        );
        assert_eq!((head.orphans, head.samples()), (2, 2));
    }

    #[test]
    fn found_series_satisfy_matchers_and_range() {
        let mut head = head();
        head.apply_record(
            &MetricRows {
                first_number: 0,
                definitions: vec![(labels("a"), SeriesKind::Gauge), (labels("b"), SeriesKind::Gauge)],
                samples: vec![(0, 10, 1.0), (1, 20, 2.0)],
                ..MetricRows::default()
            },
            vec![],
        );
        let count = |matcher: Matcher, a, b| {
            let range = TimeRange::new(Timestamp(a), Timestamp(b));
            head.copy(&[matcher], (range, Wanted::Samples), &[], &Budget::new(QueryLimits::default()))
                .expect("within limits")
                .len()
        };
        let name = || Matcher::equal("__name__", "m");
        assert_eq!(count(name(), 0, 20), 2);
        let labels_of = |a, b| {
            let range = (TimeRange::new(Timestamp(a), Timestamp(b)), Wanted::Labels);
            let found = head.copy(&[name()], range, &[], &Budget::new(QueryLimits::default()));
            let found = found.expect("within limits");
            assert!(found.iter().all(|series| series.timestamps.is_empty()), "nothing is copied");
            found.len()
        };
        let found = [(0, 20), (10, 20), (9, 10), (0, 9), (20, 99)].map(|(a, b)| labels_of(a, b));
        assert_eq!(found, [2, 1, 1, 0, 0]);
        // What came after a search is found too, and nothing twice.
        let (table, _) = head.searchable();
        for series in 0..=2 {
            let found = Head::search(&table, series, &[name()]);
            let budget = Budget::new(QueryLimits::default());
            assert_eq!(
                head.copy(&[name()], (TimeRange::ALL, Wanted::Samples), &[found], &budget)
                    .expect("within limits")
                    .len(),
                2
            );
        }
        assert_eq!(count(name(), 10, 20), 1);
        assert_eq!(count(Matcher::equal("job", "a"), 0, 9), 0);
        assert_eq!(count(Matcher::equal("__name__", "x"), 0, 90), 0);
    }

    #[test]
    fn a_series_of_two_heads_is_flushed_as_one_in_label_order() {
        let definitions = |jobs: &[&str]| jobs.iter().map(|job| (labels(job), SeriesKind::Delta)).collect();
        let (mut one, mut other) = (head(), head());
        one.apply_record(
            &MetricRows {
                first_number: 0,
                definitions: definitions(&["c", "b", "a"]),
                samples: vec![(0, 10, 1.0), (1, 10, 2.0), (0, 20, 3.0)],
                ..MetricRows::default()
            },
            vec![],
        );
        other.apply_record(
            &MetricRows {
                first_number: 0,
                definitions: definitions(&["a", "d", "c"]),
                samples: vec![(2, 10, 4.0), (1, 10, 5.0), (0, 10, 6.0)],
                ..MetricRows::default()
            },
            vec![],
        );
        let heads = [Arc::new(one), Arc::new(other)];
        let mut read = Vec::new();
        let order = InOrder::of(&heads);
        let each = |labels: &LabelSet, _, samples: SeriesSamples<'_>| {
            let SeriesSamples::Numbers(timestamps, values, _) = samples else { return Err(()) };
            read.push((labels.get("job").to_owned(), timestamps.to_vec(), values.to_vec()));
            Ok::<(), ()>(())
        };
        order.read(TimeRange::ALL, each).expect("taken");
        let expected = [
            ("a", vec![10], vec![6.0]),
            ("b", vec![10], vec![2.0]),
            ("c", vec![10, 20], vec![5.0, 3.0]),
            ("d", vec![10], vec![5.0]),
        ];
        assert_eq!(read, expected.map(|(job, times, values)| (job.to_owned(), times, values)));
        assert_eq!(order.days(), [Day(0)]);
    }
}
