//! The inner form of values: one dense column of steps per series.
//!
//! A step without a value holds [`ABSENT`], the stale marker's NaN. No operation on a value makes that
//! bit pattern: NaNs that are read become the one quiet NaN, and results of arithmetic are quiet. Every operation asks
//! [`is_absent`] first, so the mark is never taken for a value either.

use annals_model::{Budget, LabelSet, STALE_NAN_BITS, is_stale};

use crate::promql::error::QueryError;

/// The mark of a step without a value.
pub(super) const ABSENT: f64 = f64::from_bits(STALE_NAN_BITS);

/// Whether a step has no value.
pub(super) fn is_absent(value: f64) -> bool {
    is_stale(value)
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

    /// Counts a column of so many steps.
    pub(super) fn add_column(&mut self, steps: usize) -> Result<(), QueryError> {
        self.add(steps.saturating_mul(8).saturating_add(64))
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

/// One series' values, one per step.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) labels: LabelSet,
    /// The metric's name goes away at the end, unless a label function keeps it.
    pub(super) drop_name: bool,
    pub(super) values: Vec<f64>,
}

/// Many series' values.
#[derive(Debug)]
pub(super) struct Vector<'a> {
    pub(super) columns: Vec<Column>,
    pub(super) charge: Charge<'a>,
}

impl<'a> Vector<'a> {
    pub(super) fn new(budget: &'a Budget) -> Vector<'a> {
        Vector { columns: Vec::new(), charge: Charge::none(budget) }
    }

    pub(super) fn push(&mut self, column: Column) -> Result<(), QueryError> {
        self.charge.add_column(column.values.len())?;
        self.columns.push(column);
        Ok(())
    }

    /// Adds a column of absent steps and returns its index.
    pub(super) fn push_absent(
        &mut self,
        labels: LabelSet,
        drop_name: bool,
        steps: usize,
    ) -> Result<usize, QueryError> {
        self.charge.add_column(steps)?;
        self.columns.push(Column { labels, drop_name, values: vec![ABSENT; steps] });
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
