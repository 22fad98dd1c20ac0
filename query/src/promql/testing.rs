//! A source of series in memory, for tests of queries without a disk.

use annals_model::{
    Budget, Coverage, LabelSet, Matcher, SelectedSeries, SeriesKind, SeriesSource, SourceError, TimeRange,
    Timestamp,
};

pub use annals_model::Samples;

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
        let found = self.series.binary_search_by(|own| own.0.cmp(&labels));
        let index = found.unwrap_or_else(|index| {
            self.series.insert(index, (labels, kind, Vec::new()));
            index
        });
        if let Some((_, _, own)) = self.series.get_mut(index) {
            own.extend_from_slice(samples);
            // Stable, so of two samples of one instant the later one stays.
            own.sort_by_key(|&(time, _)| time);
            own.reverse();
            own.dedup_by_key(|&mut (time, _)| time);
            own.reverse();
        }
    }

    /// Whether it holds no series.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }
}

type MemorySeries = (LabelSet, SeriesKind, Vec<(i64, f64)>);

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
                    && samples.iter().any(|&(time, _)| range.contains(Timestamp(time)))
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

    fn labels(&self, index: usize) -> &LabelSet {
        &self.series[index].0
    }

    fn kind(&self, index: usize) -> SeriesKind {
        self.series[index].1
    }

    fn read(&self, index: usize, budget: &Budget, into: &mut Samples) -> Result<(), SourceError> {
        into.clear();
        for &(time, value) in &self.series[index].2 {
            if self.range.contains(Timestamp(time)) {
                into.timestamps.push(time);
                into.values.push(value);
            }
        }
        budget.charge_samples(into.timestamps.len() as u64)?;
        Ok(())
    }

    fn coverage(&self) -> &Coverage {
        self.coverage
    }
}
