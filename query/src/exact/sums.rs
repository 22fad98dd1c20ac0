//! Sums of delta series by labels and periods.
//!
//! Each series is read once, for all periods together: its samples are ascending, the periods too, and one
//! pointer into each moves forward. Runs that no period's edge cuts come as their aggregates, undecoded. Whole numbers
//! below 2^53 add exactly. Sums of fractions (seconds) carry their rounding along and add it at the end, so that the order
//! of series does not show in the result.

use std::cell::Cell;
use std::collections::BTreeMap;

use annals_model::{
    Budget, LabelSet, Matcher, Missing, Piece, Pieces, Resolution, SelectedSeries, SeriesKind, SeriesSource,
    SourceError, TimeRange, Timestamp, Whole, is_stale,
};

use super::CalendarError;

/// Why there is no exact answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ExactError {
    /// The source cannot answer, or a limit was crossed.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A selected series counts no events.
    #[error("exact sums exist for delta series only, and a selected one is a {}; name the metric in a matcher", kind.name())]
    NotDelta {
        /// The kind it has.
        kind: SeriesKind,
    },
    /// Periods out of order or overlapping.
    #[error(
        "period {position} starts before the one in front of it ends, or ends before it starts; pass periods ascending and disjoint"
    )]
    Periods {
        /// Which period, from 0.
        position: usize,
    },
    /// The calendar has no such period.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
}

/// Sums by label values and periods.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The labels that rows are told apart by, as asked.
    pub by: Vec<String>,
    /// The periods, as asked.
    pub periods: Vec<TimeRange>,
    /// One row per combination of label values that has a sample in some period, in order of the values.
    pub rows: Vec<Row>,
    /// Samples up to this stamp have expired and are in no sum.
    pub expired_through: Option<Timestamp>,
    /// Stamps of which only rollups are left, oldest first, and how long their windows are.
    pub coarser: Vec<(TimeRange, Resolution)>,
    /// Parts of the data that should have been counted and could not be read.
    pub missing: Vec<Missing>,
}

/// The sums of one combination of label values.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// One value per label of [`Table::by`]; empty where a series has no such label.
    pub labels: Vec<String>,
    /// One sum per period; `None` where no sample lies in it, which is not the same as a sum of zero.
    pub sums: Vec<Option<f64>>,
}

impl Table {
    /// The sum of all rows per period; `None` where no row has a sample in it.
    #[must_use]
    pub fn totals(&self) -> Vec<Option<f64>> {
        let mut totals = vec![Sum::default(); self.periods.len()];
        for row in &self.rows {
            for (total, sum) in totals.iter_mut().zip(&row.sums) {
                if let Some(sum) = sum {
                    total.add(*sum);
                }
            }
        }
        totals.iter().map(Sum::value).collect()
    }

    /// How fine the data is that a period was summed from: the coarsest where it was several.
    #[must_use]
    pub fn resolution(&self, period: usize) -> Resolution {
        let period = self.periods.get(period).copied().unwrap_or(TimeRange::EMPTY);
        let of_period = self.coarser.iter().filter(|(range, _)| range.overlaps(period));
        of_period.map(|(_, resolution)| *resolution).max().unwrap_or(Resolution::Raw)
    }

    /// Whether a period's sums are those of every event in it: nothing of it has expired or is missing, and it begins and
    /// ends where windows do wherever only rollups are left. A window that a period's edge cuts is summed as a whole where
    /// it ends.
    #[must_use]
    pub fn is_exact(&self, period: usize) -> bool {
        let Some(&period) = self.periods.get(period) else { return false };
        let cuts = |(range, resolution): &(TimeRange, Resolution)| {
            let window_ms = resolution.window_ms().unwrap_or(1);
            [period.start, period.end]
                .iter()
                .any(|edge| range.start < *edge && *edge < range.end && edge.0.rem_euclid(window_ms) != 0)
        };
        period.is_empty()
            || self.expired_through.is_none_or(|expired| expired <= period.start)
                && !self.missing.iter().any(|missing| missing.range.overlaps(period))
                && !self.coarser.iter().any(cuts)
    }

    /// How many rows have a sample per period: how many distinct values of the labels were seen.
    #[must_use]
    pub fn distinct(&self) -> Vec<u64> {
        let mut distinct = vec![0; self.periods.len()];
        for row in &self.rows {
            for (count, sum) in distinct.iter_mut().zip(&row.sums) {
                *count += u64::from(sum.is_some());
            }
        }
        distinct
    }

    /// The rows with the greatest sums in a period, at most so many, the greatest first; equal ones in order of their
    /// labels. Rows without a sample in it are none of them.
    #[must_use]
    pub fn top(&self, period: usize, count: usize) -> Vec<(&Row, f64)> {
        let sum = |row: &Row| row.sums.get(period).copied().flatten();
        let mut rows: Vec<(&Row, f64)> = self.rows.iter().filter_map(|row| Some((row, sum(row)?))).collect();
        // Stable, and rows are in order of their labels.
        rows.sort_by(|a, b| b.1.total_cmp(&a.1));
        rows.truncate(count);
        rows
    }
}

/// Sums delta series per period, told apart by the labels in `by`.
///
/// Periods are ascending and disjoint; gaps between them are allowed and are not summed.
pub fn sums(
    source: &dyn SeriesSource,
    matchers: &[Matcher],
    by: &[&str],
    periods: &[TimeRange],
    budget: &Budget,
) -> Result<Table, ExactError> {
    check_periods(periods)?;
    let mut table = Table {
        by: by.iter().map(|&name| name.to_owned()).collect(),
        periods: periods.to_vec(),
        rows: Vec::new(),
        expired_through: None,
        coarser: Vec::new(),
        missing: Vec::new(),
    };
    let (Some(first), Some(last)) = (periods.first(), periods.last()) else { return Ok(table) };
    let selected = source.select(matchers, TimeRange::new(first.start, last.end), budget)?;
    table.expired_through = selected.coverage().expired_through;
    table.coarser.clone_from(&selected.coverage().coarser);
    table.missing.extend_from_slice(&selected.coverage().missing);

    let mut rows: BTreeMap<Vec<String>, Vec<Sum>> = BTreeMap::new();
    each_series(&*selected, periods, budget, &mut table.missing, |labels, sums| {
        let key: Vec<String> = by.iter().map(|name| labels.get(name).to_owned()).collect();
        if !rows.contains_key(&key) {
            let bytes = key.iter().map(String::len).sum::<usize>() + size_of_val(periods);
            budget.charge_memory(bytes as u64).map_err(SourceError::Limit)?;
        }
        let row = rows.entry(key).or_insert_with(|| vec![Sum::default(); periods.len()]);
        row.iter_mut().zip(sums).for_each(|(sum, part)| sum.join(part));
        Ok::<(), ExactError>(())
    })?;
    table.rows = rows
        .into_iter()
        .map(|(labels, sums)| Row { labels, sums: sums.iter().map(Sum::value).collect() })
        .filter(|row| row.sums.iter().any(Option::is_some))
        .collect();
    Ok(table)
}

/// Which periods hold at least one sample of the series that match: data, told apart from zero.
pub fn presence(
    source: &dyn SeriesSource,
    matchers: &[Matcher],
    periods: &[TimeRange],
    budget: &Budget,
) -> Result<Vec<bool>, ExactError> {
    let table = sums(source, matchers, &[], periods, budget)?;
    Ok(table.totals().iter().map(Option::is_some).collect())
}

fn check_periods(periods: &[TimeRange]) -> Result<(), ExactError> {
    let mut before = Timestamp::MIN;
    for (position, period) in periods.iter().enumerate() {
        if period.start < before || period.end < period.start {
            return Err(ExactError::Periods { position });
        }
        before = period.end;
    }
    Ok(())
}

/// Sums each selected series per period, in label order, and adds what could not be read to `missing`.
pub(crate) fn each_series<E: From<ExactError>>(
    selected: &dyn SelectedSeries,
    periods: &[TimeRange],
    budget: &Budget,
    missing: &mut Vec<Missing>,
    mut each: impl FnMut(LabelSet, &[Sum]) -> Result<(), E>,
) -> Result<(), E> {
    // Pieces are asked about in time order: nearly always it is the period of the one before, or the next.
    let last = Cell::new(0);
    let fits = |time: TimeRange| {
        let covers = |at: usize| periods.get(at).is_some_and(|period| period.covers(time));
        let near = last.get();
        let at = match (covers(near), covers(near + 1)) {
            (true, _) => near,
            (false, true) => near + 1,
            (false, false) => periods.partition_point(|period| period.end < time.end),
        };
        last.set(at);
        covers(at)
    };
    let (mut pieces, mut sums) = (Pieces::default(), Vec::new());
    for index in 0..selected.len() {
        let kind = selected.kind(index);
        if kind != SeriesKind::Delta {
            return Err(ExactError::NotDelta { kind }.into());
        }
        pieces.clear();
        selected.read_pieces(index, Whole::of(&fits), budget, &mut pieces).map_err(ExactError::Source)?;
        missing.append(&mut pieces.samples.missing);
        sums.clear();
        sums.resize(periods.len(), Sum::default());
        add_pieces(&mut sums, periods, &pieces);
        each(selected.labels(index), &sums)?;
    }
    Ok(())
}

/// Adds one series' pieces to the periods that they lie in.
fn add_pieces(sums: &mut [Sum], periods: &[TimeRange], pieces: &Pieces) {
    let mut cells = sums.iter_mut().zip(periods).peekable();
    let mut add = |stamp: i64, parts: [f64; 2]| {
        while cells.next_if(|(_, period)| period.end.0 < stamp).is_some() {}
        if let Some((sum, period)) = cells.peek_mut()
            && period.contains(Timestamp(stamp))
        {
            sum.add(parts[0]);
            sum.low += parts[1];
        }
    };
    for piece in &pieces.pieces {
        match piece {
            Piece::Whole(run) => add(run.last_time, [run.sum, run.sum_low]),
            Piece::Samples(range) => {
                let values = pieces.samples.values.get(range.clone()).unwrap_or_default();
                let stamps = pieces.samples.timestamps.get(range.clone()).unwrap_or_default();
                let samples = stamps.iter().zip(values).filter(|(_, value)| !is_stale(**value));
                samples.for_each(|(&stamp, &value)| add(stamp, [value, 0.0]));
            }
        }
    }
}

/// A sum that carries its rounding error along, and knows whether anything was added.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    high: f64,
    low: f64,
    any: bool,
}

impl Sum {
    pub(crate) fn add(&mut self, value: f64) {
        let total = self.high + value;
        // Neumaier: the part of the smaller term that the sum has lost.
        self.low += if self.high.abs() >= value.abs() {
            (self.high - total) + value
        } else {
            (value - total) + self.high
        };
        self.high = total;
        self.any = true;
    }

    /// Adds another sum.
    pub(crate) fn join(&mut self, other: &Sum) {
        if other.any {
            self.add(other.high);
            self.low += other.low;
        }
    }

    /// The sum; `None` where nothing was added.
    pub(crate) fn value(&self) -> Option<f64> {
        // Where infinities met, the carried error is no number; the plain sum says what there is.
        let sum = if self.low.is_finite() { self.high + self.low } else { self.high };
        self.any.then_some(sum)
    }
}
