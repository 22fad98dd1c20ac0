//! `topk`, `bottomk`, `limitk`: some series of each group, as they are.
//!
//! Series stream by; at each step a heap holds the best so far, the worst of them on top. A series is held as long as it
//! is among the best at any step, so memory is that of the answer and not that of what was asked about, and labels
//! are made for what is held.

use std::collections::{BTreeMap, BinaryHeap};

use annals_model::{FloatForm, format_float};

use super::column::{ABSENT, Charge, Column, Grid, Vector};
use super::groups::Groups;
use super::{Evaluator, Streamed};
use crate::promql::ast::Aggregate;
use crate::promql::error::{PromqlError, QueryError, Span};
use crate::promql::signature::Aggregator;

/// The place of a value in an order: the lower the better, those of equal values in the order in which they came.
type Rank = (u64, usize);

/// A series that is among the best at some steps.
struct Held<'a> {
    column: Column<'a>,
    steps: usize,
    charge: Charge<'a>,
}

/// What is chosen so far.
struct Chosen<'a> {
    op: Aggregator,
    /// How many series each step takes.
    limits: Vec<usize>,
    /// Per group and step: the ranks of the best.
    best: Vec<Vec<BinaryHeap<Rank>>>,
    /// Those of all groups, by the order in which they came.
    held: BTreeMap<usize, Held<'a>>,
    /// How many series came.
    count: usize,
    /// What heaps take.
    charge: Charge<'a>,
}

impl<'a> Evaluator<'a> {
    pub(super) fn chosen(&self, aggregate: &Aggregate, grid: Grid) -> Result<Vector<'a>, QueryError> {
        let (limits, span) = self.parameter(aggregate, grid)?;
        let limits = limits.into_iter().map(|limit| count_of(limit, span)).collect::<Result<Vec<_>, _>>()?;
        let any = limits.iter().any(|limit| *limit > 0);
        let mut groups = Groups::new(aggregate.groups());
        let charge = Charge::none(self.budget);
        let op = aggregate.op;
        let mut chosen = Chosen { op, limits, best: Vec::new(), held: BTreeMap::new(), count: 0, charge };
        self.stream(&aggregate.expr, grid, &mut |mut series| {
            self.budget.poll()?;
            if op != Aggregator::Limitk && !series.histograms.is_empty() {
                if any {
                    self.inform_ignored(op, aggregate.expr.span);
                }
                series.histograms.clear();
            }
            let group = groups.of(&series.labels);
            chosen.add(group, &mut series, Charge::none(self.budget))
        })?;
        let mut out = Vector::new(self.budget);
        let Chosen { best, mut held, .. } = chosen;
        let mut take = |own: Held<'a>| {
            out.charge.absorb(own.charge);
            out.columns.push(own.column);
        };
        if grid.count == 1 {
            // One step has an order of its own: group by group, the best first.
            for heap in best.into_iter().flatten() {
                heap.into_sorted_vec().iter().filter_map(|(_, at)| held.remove(at)).for_each(&mut take);
            }
        } else {
            held.into_values().for_each(take);
        }
        Ok(out)
    }
}

impl<'a> Chosen<'a> {
    /// Takes the next series, where it is among the best of its group at any step.
    fn add(
        &mut self,
        group: usize,
        series: &mut Streamed<'_, 'a>,
        mut charge: Charge<'a>,
    ) -> Result<(), QueryError> {
        let (at, op) = (self.count, self.op);
        self.count += 1;
        if self.best.len() <= group {
            self.charge.add(size_of::<BinaryHeap<Rank>>().saturating_mul(self.limits.len()))?;
            self.best.resize_with(group + 1, || vec![BinaryHeap::new(); self.limits.len()]);
        }
        let Some(heaps) = self.best.get_mut(group) else { return Ok(()) };
        let mut steps = 0;
        for (step, (heap, &limit)) in heaps.iter_mut().zip(&self.limits).enumerate() {
            if !series.holds(step) {
                continue;
            }
            let rank = (key(op, series.values.get(step).copied().unwrap_or(ABSENT)), at);
            if heap.len() < limit {
                self.charge.add(size_of::<Rank>())?;
                heap.push(rank);
                steps += 1;
                continue;
            }
            match heap.peek_mut() {
                Some(mut worst) if rank < *worst => {
                    let (_, out) = std::mem::replace(&mut *worst, rank);
                    steps += 1;
                    release(&mut self.held, out, step);
                }
                _ => series.clear(step),
            }
        }
        if steps > 0 {
            charge.add_column(series.values.len())?;
            charge.add_histograms(series.histograms)?;
            let column = series.take();
            self.held.insert(at, Held { column, steps, charge });
        }
        Ok(())
    }
}

/// A better one has taken the place of a series at a step.
fn release(held: &mut BTreeMap<usize, Held<'_>>, at: usize, step: usize) {
    let Some(own) = held.get_mut(&at) else { return };
    own.column.clear(step);
    own.steps -= 1;
    if own.steps == 0 {
        held.remove(&at);
    }
}

/// A number that is lower for what comes earlier: greater values for `topk`, lesser ones for `bottomk`, NaN at the end.
fn key(op: Aggregator, value: f64) -> u64 {
    if op == Aggregator::Limitk {
        return 0;
    }
    if value.is_nan() {
        return u64::MAX;
    }
    // Zeros of both signs are equal; bits of negative numbers descend.
    let bits = (value + 0.0).to_bits();
    let ascending = if bits >> 63 == 1 { !bits } else { bits | 1 << 63 };
    if op == Aggregator::Topk { !ascending } else { ascending }
}

/// How many series to choose.
fn count_of(limit: f64, span: Span) -> Result<usize, QueryError> {
    if limit.is_nan() {
        return Err(PromqlError::new(span, "Parameter value is NaN").into());
    }
    if limit.abs() >= i64::MAX as f64 {
        let side = if limit > 0.0 { "overflows" } else { "underflows" };
        return Err(PromqlError::new(
            span,
            format!("Scalar value {} {side} int64", format_float(limit, FloatForm::Reply)),
        )
        .into());
    }
    // Below one, nothing is chosen.
    Ok(limit.max(0.0) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_in_the_order_of_the_values_and_nan_comes_last() {
        let ascending = [f64::NEG_INFINITY, -1.5, -1e-310, -0.0, 5e-324, 1.5, f64::INFINITY];
        let bottom = ascending.map(|value| key(Aggregator::Bottomk, value));
        assert!(bottom.is_sorted_by(|a, b| a < b) && bottom[6] < key(Aggregator::Bottomk, f64::NAN));
        let top = ascending.map(|value| key(Aggregator::Topk, value));
        assert!(top.is_sorted_by(|a, b| a > b) && top[0] < key(Aggregator::Topk, -f64::NAN));
        assert_eq!(key(Aggregator::Topk, 0.0), key(Aggregator::Topk, -0.0));
    }
}
