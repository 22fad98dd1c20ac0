//! Tables of samples, native histograms and windows.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals::{Aggregate, Histogram, Rollup, START_UNKNOWN, Samples, is_stale};

use super::labels::LabelColumns;
use super::reset_word;
use super::table::{Column, Kind, Spec, Table};
use crate::error::ExportError;
use crate::output::Output;
use crate::sheet::{Rows, Series, Sheet};

/// The columns that all tables of metrics have, and then those of their own.
struct MetricTable {
    table: Table,
    labels: Arc<LabelColumns>,
}

impl MetricTable {
    fn new(
        output: Output,
        labels: &Arc<LabelColumns>,
        own: &[(&str, Kind)],
    ) -> Result<MetricTable, ExportError> {
        let mut specs = vec![Spec::new("timestamp", Kind::Stamp), Spec::new("metric", Kind::Word)];
        specs.extend(labels.specs());
        specs.push(Spec::new("series_kind", Kind::Word));
        specs.extend(own.iter().map(|(name, kind)| Spec::new(name, *kind)));
        Ok(MetricTable { table: Table::new(output, &specs)?, labels: labels.clone() })
    }

    /// Adds rows of a series; `fill` gets the columns of the table's own.
    fn add(
        &mut self,
        series: &Series,
        stamps: impl ExactSizeIterator<Item = i64>,
        fill: impl FnOnce(&mut [Column]),
    ) -> Result<(), ExportError> {
        let rows = stamps.len();
        let columns = self.table.columns();
        if let [stamp, metric, columns @ ..] = columns
            && let Some((labels, [kind, own @ ..])) = columns.split_at_mut_checked(self.labels.len())
        {
            stamp.integers(stamps.map(Some));
            metric.words(Some(series.labels.metric_name()), rows);
            self.labels.add(labels, &series.labels, rows)?;
            kind.words(Some(series.kind.name()), rows);
            fill(own);
        }
        self.table.end_rows(rows)
    }

    fn finish(self) -> Result<(Output, BTreeMap<String, u64>), ExportError> {
        Ok((self.table.finish()?, BTreeMap::new()))
    }
}

/// Samples that are numbers.
pub(crate) struct SampleTable(MetricTable);

impl SampleTable {
    pub(crate) fn new(output: Output, labels: &Arc<LabelColumns>) -> Result<SampleTable, ExportError> {
        MetricTable::new(output, labels, &[("value", Kind::Float), ("start_time", Kind::Time)])
            .map(SampleTable)
    }
}

impl Sheet for SampleTable {
    fn add(&mut self, rows: &Rows<'_>) -> Result<(), ExportError> {
        let Rows::Samples(series, samples) = rows else { return Ok(()) };
        let Samples { timestamps, values, .. } = samples;
        self.0.add(series, timestamps.iter().copied(), |own| {
            if let [value, start] = own {
                value.floats(values.iter().map(|value| (!is_stale(*value)).then_some(*value)));
                start.integers(starts(samples));
            }
        })
    }

    fn finish(self: Box<Self>) -> Result<(Output, BTreeMap<String, u64>), ExportError> {
        self.0.finish()
    }
}

/// Native histograms.
pub(crate) struct HistogramTable(MetricTable);

impl HistogramTable {
    pub(crate) fn new(output: Output, labels: &Arc<LabelColumns>) -> Result<HistogramTable, ExportError> {
        let own = [
            ("count", Kind::Float),
            ("sum", Kind::Float),
            ("bucket_schema", Kind::Integer),
            ("zero_threshold", Kind::Float),
            ("zero_count", Kind::Float),
            ("reset", Kind::Word),
            ("positive_index", Kind::Integers),
            ("positive_count", Kind::Floats),
            ("negative_index", Kind::Integers),
            ("negative_count", Kind::Floats),
            ("custom_bounds", Kind::Floats),
            ("start_time", Kind::Time),
        ];
        MetricTable::new(output, labels, &own).map(HistogramTable)
    }
}

impl Sheet for HistogramTable {
    fn add(&mut self, rows: &Rows<'_>) -> Result<(), ExportError> {
        let Rows::Histograms(series, samples) = rows else { return Ok(()) };
        let Samples { timestamps, histograms, .. } = samples;
        self.0.add(series, timestamps.iter().copied(), |own| {
            // Each stamp has one, or the mark of the series' end.
            let none = std::iter::repeat(&None);
            let Some((start, own)) = own.split_last_mut() else { return };
            for histogram in histograms.iter().chain(none).take(timestamps.len()) {
                add_histogram(own, histogram.as_deref());
            }
            start.integers(starts(samples));
        })
    }

    fn finish(self: Box<Self>) -> Result<(Output, BTreeMap<String, u64>), ExportError> {
        self.0.finish()
    }
}

/// When what each sample counts began; nothing where it does not know.
fn starts(samples: &Samples) -> impl Iterator<Item = Option<i64>> + '_ {
    let start = |at: usize| samples.start_times.get(at).copied().filter(|&start| start != START_UNKNOWN);
    (0..samples.timestamps.len()).map(start)
}

fn add_histogram(columns: &mut [Column], own: Option<&Histogram>) {
    let [count, sum, schema, threshold, zeros, reset, above, above_counts, below, below_counts, bounds] =
        columns
    else {
        return;
    };
    count.floats([own.map(|own| own.count)]);
    sum.floats([own.map(|own| own.sum)]);
    schema.integers([own.map(|own| i64::from(own.schema))]);
    threshold.floats([own.map(|own| own.zero_threshold)]);
    zeros.floats([own.map(|own| own.zero_count)]);
    reset.words(own.map(|own| reset_word(own.reset_hint)), 1);
    let indexes = |side: &[(i32, f64)]| side.iter().map(|(index, _)| i64::from(*index)).collect::<Vec<_>>();
    let counts = |side: &[(i32, f64)]| side.iter().map(|(_, count)| *count).collect::<Vec<_>>();
    above.integer_list(own.map(|own| indexes(&own.positive)));
    above_counts.float_list(own.map(|own| counts(&own.positive)));
    below.integer_list(own.map(|own| indexes(&own.negative)));
    below_counts.float_list(own.map(|own| counts(&own.negative)));
    bounds.float_list(own.map(|own| own.custom_bounds.iter().copied()));
}

/// Windows of samples that have expired.
pub(crate) struct WindowTable(MetricTable);

impl WindowTable {
    pub(crate) fn new(output: Output, labels: &Arc<LabelColumns>) -> Result<WindowTable, ExportError> {
        let own = [
            ("count", Kind::Integer),
            ("sum", Kind::Float),
            ("sum_low", Kind::Float),
            ("min", Kind::Float),
            ("max", Kind::Float),
            ("first", Kind::Float),
            ("last", Kind::Float),
            ("first_time", Kind::Time),
            ("last_time", Kind::Time),
            ("resets", Kind::Integer),
            ("correction", Kind::Float),
            ("ended_at", Kind::Time),
            ("first_start", Kind::Time),
            ("last_start", Kind::Time),
        ];
        MetricTable::new(output, labels, &own).map(WindowTable)
    }
}

impl Sheet for WindowTable {
    fn add(&mut self, rows: &Rows<'_>) -> Result<(), ExportError> {
        let Rows::Windows(series, windows) = rows else { return Ok(()) };
        let stamps = windows.iter().map(|window| window.end);
        self.0.add(series, stamps, |own| add_windows(own, windows))
    }

    fn finish(self: Box<Self>) -> Result<(Output, BTreeMap<String, u64>), ExportError> {
        self.0.finish()
    }
}

fn add_windows(columns: &mut [Column], windows: &[Rollup]) {
    let [count, sum, low, min, max, first, last, first_time, last_time, rest @ ..] = columns else { return };
    let [resets, correction, ended, first_start, last_start] = rest else { return };
    let whole =
        |value: fn(&Aggregate) -> i64| windows.iter().map(move |window| window.all.as_ref().map(value));
    let float =
        |value: fn(&Aggregate) -> f64| windows.iter().map(move |window| window.all.as_ref().map(value));
    count.integers(whole(|all| i64::try_from(all.count).unwrap_or(i64::MAX)));
    sum.floats(float(|all| all.sum));
    low.floats(float(|all| all.sum_low));
    min.floats(float(|all| all.min));
    max.floats(float(|all| all.max));
    first.floats(float(|all| all.first));
    last.floats(float(|all| all.last));
    first_time.integers(whole(|all| all.first_time));
    last_time.integers(whole(|all| all.last_time));
    resets.integers(whole(|all| i64::try_from(all.resets).unwrap_or(i64::MAX)));
    correction.floats(float(|all| all.correction));
    ended.integers(windows.iter().map(|window| window.stale_at));
    let begun =
        |of: fn(&Aggregate) -> i64| whole(of).map(|start| start.filter(|&start| start != START_UNKNOWN));
    first_start.integers(begun(|all| all.first_start));
    last_start.integers(begun(|all| all.last_start));
}
