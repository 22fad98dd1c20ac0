//! The inner form of values: one dense column of steps per series.
//!
//! A step without a value holds [`ABSENT`], the stale marker's NaN. No operation on a value makes that
//! bit pattern: NaNs that are read become the one quiet NaN, and results of arithmetic are quiet. Every operation asks
//! [`is_absent`] first, so the mark is never taken for a value either.
//!
//! Native histograms stand beside the floats, in a list that stays empty where there are none: a step holds a float, or
//! a histogram while its float is absent, or neither. What looks only at floats ignores histograms by that alone.

use std::sync::Arc;

use annals_model::{Budget, Histogram, LabelSet, STALE_NAN_BITS, is_stale};

use super::labels::Labels;

use crate::promql::error::QueryError;

/// The mark of a step without a value.
pub(super) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

/// Whether a step has no value.
pub(super) fn is_absent(value: f64) -> bool {
    is_stale(value)
}

/// Whether any value is a NaN, marks of absence among them.
pub(super) fn has_nan(values: &[f64]) -> bool {
    // In strides without a branch in them.
    values.chunks(512).any(|stride| stride.iter().fold(false, |nan, value| nan | value.is_nan()))
}

/// The times at which an expression is evaluated: `start`, `start + step`, and so on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Grid {
    pub(super) start: i64,
    pub(super) step: i64,
    pub(super) count: usize,
}

impl Grid {
    pub(super) fn instant(time: i64) -> Grid {
        Grid { start: time, step: 0, count: 1 }
    }

    pub(super) fn time(self, index: usize) -> i64 {
        self.start.saturating_add(self.step.saturating_mul(i64::try_from(index).unwrap_or(i64::MAX)))
    }

    pub(super) fn last(self) -> i64 {
        self.time(self.count.saturating_sub(1))
    }

    /// Times as PromQL's numbers are: seconds.
    pub(super) fn seconds(self) -> impl Iterator<Item = f64> {
        (0..self.count).map(move |index| self.time(index) as f64 / 1000.0)
    }
}

/// Memory that is counted against the query's budget for as long as this lives.
#[derive(Debug)]
pub(super) struct Charge<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl<'a> Charge<'a> {
    pub(super) fn none(budget: &'a Budget) -> Charge<'a> {
        Charge { budget, bytes: 0 }
    }

    /// Counts more, before it is allocated.
    pub(super) fn add(&mut self, bytes: usize) -> Result<(), QueryError> {
        // Counted even where it is refused: the budget counts it too, and the drop gives it back.
        self.bytes += bytes as u64;
        Ok(self.budget.charge_memory(bytes as u64)?)
    }

    /// Counts so much in all, where that is more than it counts.
    pub(super) fn grow_to(&mut self, bytes: usize) -> Result<(), QueryError> {
        match bytes.checked_sub(self.bytes as usize) {
            None | Some(0) => Ok(()),
            Some(more) => self.add(more),
        }
    }

    /// Counts a column of so many steps.
    pub(super) fn add_column(&mut self, steps: usize) -> Result<(), QueryError> {
        self.add(steps.saturating_mul(8).saturating_add(64))
    }

    /// Counts histograms; steps that share one with the step before cost nothing more.
    pub(super) fn add_histograms(&mut self, histograms: &Histograms) -> Result<(), QueryError> {
        let (mut bytes, mut before) = (8 * histograms.len(), None);
        for own in histograms.iter().flatten() {
            if before.replace(own).is_none_or(|before| !Arc::ptr_eq(before, own)) {
                bytes += histogram_bytes(own);
            }
        }
        self.add(bytes)
    }

    /// Takes over what another counts.
    pub(super) fn absorb(&mut self, other: Charge<'a>) {
        self.bytes += other.bytes;
        std::mem::forget(other);
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.budget.release_memory(self.bytes);
    }
}

/// Native histograms per step; empty where there are none at all.
pub(super) type Histograms = Vec<Option<Arc<Histogram>>>;

/// The histogram of a step.
pub(super) fn histogram_at(histograms: &Histograms, step: usize) -> Option<&Arc<Histogram>> {
    histograms.get(step).and_then(Option::as_ref)
}

/// Puts a histogram at a step.
pub(super) fn set_histogram(
    histograms: &mut Histograms,
    steps: usize,
    step: usize,
    histogram: Option<Arc<Histogram>>,
) {
    if histograms.is_empty() && histogram.is_some() {
        histograms.resize(steps, None);
    }
    if let Some(own) = histograms.get_mut(step) {
        *own = histogram;
    }
}

/// Bytes that a histogram takes, about.
pub(super) fn histogram_bytes(histogram: &Histogram) -> usize {
    let buckets = histogram.positive.len() + histogram.negative.len() + histogram.custom_bounds.len();
    size_of::<Histogram>() + 16 * buckets
}

/// One series' values, one per step.
#[derive(Clone)]
pub(super) struct Column<'a> {
    pub(super) labels: Labels<'a>,
    /// The metric's name goes away at the end, unless a label function keeps it.
    pub(super) drop_name: bool,
    pub(super) values: Vec<f64>,
    pub(super) histograms: Histograms,
}

impl<'a> Column<'a> {
    /// A column of floats.
    pub(super) fn floats(labels: LabelSet, drop_name: bool, values: Vec<f64>) -> Column<'a> {
        Column { labels: Labels::Own(labels), drop_name, values, histograms: Vec::new() }
    }

    /// Whether a step holds anything.
    pub(super) fn holds(&self, step: usize) -> bool {
        self.values.get(step).is_some_and(|value| !is_absent(*value))
            || histogram_at(&self.histograms, step).is_some()
    }

    /// The first step that holds anything; the greatest number where none does.
    pub(super) fn first_step(&self) -> usize {
        (0..self.values.len()).find(|&step| self.holds(step)).unwrap_or(usize::MAX)
    }

    /// Whether no step holds anything.
    pub(super) fn is_empty(&self) -> bool {
        nothing(&self.values, &self.histograms)
    }

    /// Empties a step.
    pub(super) fn clear(&mut self, step: usize) {
        clear(&mut self.values, &mut self.histograms, step);
    }
}

/// Empties a step.
pub(super) fn clear(values: &mut [f64], histograms: &mut Histograms, step: usize) {
    if let Some(value) = values.get_mut(step) {
        *value = ABSENT;
    }
    if let Some(histogram) = histograms.get_mut(step) {
        *histogram = None;
    }
}

/// Whether no step holds anything.
pub(super) fn nothing(values: &[f64], histograms: &Histograms) -> bool {
    values.iter().all(|value| is_absent(*value)) && histograms.iter().all(Option::is_none)
}

/// Many series' values.
pub(super) struct Vector<'a> {
    pub(super) columns: Vec<Column<'a>>,
    pub(super) charge: Charge<'a>,
}

impl<'a> Vector<'a> {
    pub(super) fn new(budget: &'a Budget) -> Vector<'a> {
        Vector { columns: Vec::new(), charge: Charge::none(budget) }
    }

    pub(super) fn push(&mut self, column: Column<'a>) -> Result<(), QueryError> {
        self.charge.add_column(column.values.len())?;
        self.charge.add_histograms(&column.histograms)?;
        self.columns.push(column);
        Ok(())
    }

    /// Adds a column of absent steps and returns its index.
    pub(super) fn push_absent(
        &mut self,
        labels: Labels<'a>,
        drop_name: bool,
        steps: usize,
    ) -> Result<usize, QueryError> {
        self.charge.add_column(steps)?;
        let (values, histograms) = (vec![ABSENT; steps], Vec::new());
        self.columns.push(Column { labels, drop_name, values, histograms });
        Ok(self.columns.len() - 1)
    }
}

/// A number per step.
#[derive(Debug)]
pub(super) struct Scalar<'a> {
    pub(super) values: Vec<f64>,
    #[expect(dead_code, reason = "held for its drop, which gives the memory back")]
    pub(super) charge: Charge<'a>,
}
