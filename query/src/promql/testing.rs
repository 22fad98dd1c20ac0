//! A source of series in memory, for tests of queries without a disk.

use std::sync::Arc;

use annals_model::{
    Budget, Coverage, Histogram, LabelSet, Matcher, SelectedSeries, SeriesKind, SeriesSource, SourceError,
    TimeRange, Timestamp,
};

pub use annals_model::Samples;

/// One sample of a series in memory.
#[derive(Debug, Clone)]
pub struct MemorySample {
    /// Its time in milliseconds.
    pub time: i64,
    /// Its number; not looked at beside a histogram.
    pub value: f64,
    /// Its histogram, where it is one.
    pub histogram: Option<Arc<Histogram>>,
    /// When what it counts began, in milliseconds; 0 where that is not known.
    pub start: i64,
}

impl MemorySample {
    /// A number.
    #[must_use]
    pub fn float(time: i64, value: f64) -> MemorySample {
        MemorySample { time, value, histogram: None, start: 0 }
    }
}

/// Series in memory, each a label set, a kind, and samples ascending in time.
///
/// It charges the budget as the storage engine does: series when they are selected, samples before they are
/// handed out.
#[derive(Debug, Clone, Default)]
pub struct MemorySource {
    /// In label order.
    series: Vec<MemorySeries>,
    /// What every selection says that it covers.
    pub coverage: Coverage,
}

impl MemorySource {
    /// Adds a series with samples of (milliseconds, value), or appends them to the series of these labels.
    ///
    /// # Panics
    /// Where the labels are not valid.
    pub fn add(&mut self, labels: &[(&str, &str)], kind: SeriesKind, samples: &[(i64, f64)]) {
        let labels = LabelSet::from_pairs(labels.iter().copied()).expect("valid labels");
        self.add_set(labels, kind, samples);
    }

    /// The same with a label set.
    pub fn add_set(&mut self, labels: LabelSet, kind: SeriesKind, samples: &[(i64, f64)]) {
        let samples = samples.iter().map(|&(time, value)| MemorySample::float(time, value));
        self.add_samples(labels, kind, samples.collect());
    }

    /// The same with samples of any type.
    pub fn add_samples(&mut self, labels: LabelSet, kind: SeriesKind, samples: Vec<MemorySample>) {
        let found = self.series.binary_search_by(|own| own.0.cmp(&labels));
        let index = found.unwrap_or_else(|index| {
            self.series.insert(index, (labels, kind, Vec::new()));
            index
        });
        if let Some((_, _, own)) = self.series.get_mut(index) {
            own.extend(samples);
            // Stable, so of two samples of one instant the later one stays.
            own.sort_by_key(|sample| sample.time);
            own.reverse();
            own.dedup_by_key(|sample| sample.time);
            own.reverse();
        }
    }

    /// The samples of the series of these labels, ascending in time.
    #[must_use]
    pub fn samples(&self, labels: &LabelSet) -> &[MemorySample] {
        let found = self.series.binary_search_by(|own| own.0.cmp(labels)).ok();
        found.and_then(|index| self.series.get(index)).map_or(&[], |(_, _, samples)| samples)
    }

    /// Whether it holds no series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }
}

type MemorySeries = (LabelSet, SeriesKind, Vec<MemorySample>);

struct Selected<'a> {
    series: Vec<&'a MemorySeries>,
    range: TimeRange,
    coverage: &'a Coverage,
}

impl SeriesSource for MemorySource {
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Box<dyn SelectedSeries + 'a>, SourceError> {
        let series: Vec<_> = self
            .series
            .iter()
            .filter(|(labels, _, samples)| {
                matchers.iter().all(|matcher| matcher.matches(labels.get(matcher.name())))
                    && samples.iter().any(|sample| range.contains(Timestamp(sample.time)))
            })
            .collect();
        budget.charge_series(series.len() as u64)?;
        Ok(Box::new(Selected { series, range, coverage: &self.coverage }))
    }
}

impl SelectedSeries for Selected<'_> {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn labels(&self, index: usize) -> LabelSet {
        self.series[index].0.clone()
    }

    fn kind(&self, index: usize) -> SeriesKind {
        self.series[index].1
    }

    fn read(&self, index: usize, budget: &Budget, into: &mut Samples) -> Result<(), SourceError> {
        into.clear();
        let samples = &self.series[index].2;
        let histograms = samples.iter().any(|sample| sample.histogram.is_some());
        let starts = samples.iter().any(|sample| sample.start != 0);
        for sample in samples.iter().filter(|sample| self.range.contains(Timestamp(sample.time))) {
            into.timestamps.push(sample.time);
            into.values.push(if sample.histogram.is_some() { f64::NAN } else { sample.value });
            if histograms {
                into.histograms.push(sample.histogram.clone());
            }
            if starts {
                into.start_times.push(sample.start);
            }
        }
        budget.charge_samples(into.timestamps.len() as u64)?;
        Ok(())
    }

    fn coverage(&self) -> &Coverage {
        self.coverage
    }
}
