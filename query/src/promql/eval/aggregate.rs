//! Aggregations. They take series as they stream by and hold only their groups; `quantile` holds all values and looks at
//! some steps at a time.

use std::sync::Arc;

use annals_model::{FloatForm, Histogram, format_float};
use foldhash::quality::FixedState;
use hashbrown::HashMap;

use super::column::{
    ABSENT, Charge, Column, Grid, Vector, histogram_at, histogram_bytes, is_absent, set_histogram,
};
use super::fold::{Mean, Sum, quantile};
use super::groups::{Grouping, Groups};
use super::labels::{Labels, with_label};
use super::sums::HistogramMean;
use super::{Evaluator, merged, not_evaluated, text_of};
use crate::promql::ast::{Aggregate, Expr};
use crate::promql::error::{PromqlError, QueryError, Span};
use crate::promql::signature::Aggregator;

/// What one group has gathered, in columns of one number per step:
///
/// | aggregator       | `value`            | `rest`                                |
/// |------------------|--------------------|---------------------------------------|
/// | `sum`            | sum                | its compensation                      |
/// | `avg`            | sum, or mean       | its compensation                      |
/// | `min` `max`      | the extreme so far | -                                     |
/// | `stddev`,`stdvar`| mean               | sum of squared distances from it      |
#[derive(Debug)]
struct Cells {
    count: Vec<f64>,
    value: Vec<f64>,
    rest: Vec<f64>,
    /// Whether a sum might overflow: then each value is looked at by itself.
    huge: bool,
    /// Of `avg`, where values are huge: `value` is the mean already, because the sum would overflow.
    incremental: Vec<bool>,
}

/// What a [`Cells`] takes per step.
const CELL_BYTES: usize = 24;
/// Sums of smaller values do not overflow, however many there are.
const HUGE: f64 = 1e290;
/// Steps whose values a quantile gathers together.
const STEPS_AT_ONCE: usize = 16;

impl Cells {
    fn new(steps: usize) -> Cells {
        let zeros = || vec![0.0; steps];
        Cells { count: zeros(), value: zeros(), rest: zeros(), huge: false, incremental: Vec::new() }
    }

    fn sum(&self, step: usize) -> Sum {
        Sum { sum: self.value[step], compensation: self.rest[step] }
    }

    fn mean(&self, step: usize) -> Mean {
        let incremental = self.incremental.get(step).copied().unwrap_or_default();
        Mean { sum: self.sum(step), count: self.count[step], incremental }
    }

    /// Adds a series.
    fn add(&mut self, op: Aggregator, values: &[f64]) {
        let columns = self.count.iter_mut().zip(&mut self.value).zip(&mut self.rest).zip(values);
        match op {
            Aggregator::Count | Aggregator::Group => {
                for (count, &value) in self.count.iter_mut().zip(values) {
                    *count += if is_absent(value) { 0.0 } else { 1.0 };
                }
            }
            Aggregator::Sum | Aggregator::Avg => {
                self.huge |= values.iter().fold(false, |huge, value| huge | (value.abs() > HUGE));
                if self.huge {
                    return self.add_each(op, values);
                }
                for (((count, sum), lost), &value) in columns {
                    let present = !is_absent(value);
                    // Knuth's two-sum: what Neumaier's keeps, without a branch.
                    let total = *sum + value;
                    let shadow = total - *sum;
                    let kept = *lost + ((*sum - (total - shadow)) + (value - shadow));
                    *count += if present { 1.0 } else { 0.0 };
                    *sum = if present { total } else { *sum };
                    *lost = if present { kept } else { *lost };
                }
            }
            Aggregator::Min | Aggregator::Max => {
                for (((count, best), _), &value) in columns {
                    if is_absent(value) {
                        continue;
                    }
                    let better = if op == Aggregator::Min { value < *best } else { value > *best };
                    if *count == 0.0 || better || best.is_nan() {
                        *best = value;
                    }
                    *count += 1.0;
                }
            }
            _ => {
                for (((count, mean), squares), &value) in columns {
                    if is_absent(value) {
                        continue;
                    }
                    let delta = value - *mean;
                    *mean += delta / (*count + 1.0);
                    *squares += delta * (value - *mean);
                    *count += 1.0;
                }
            }
        }
    }

    /// Adds a series to sums or means that may overflow.
    fn add_each(&mut self, op: Aggregator, values: &[f64]) {
        if op == Aggregator::Avg {
            self.incremental.resize(values.len(), false);
        }
        for (step, &value) in values.iter().enumerate().filter(|(_, value)| !is_absent(**value)) {
            let mut mean = self.mean(step);
            if op == Aggregator::Sum {
                mean.sum.add(value);
            } else {
                mean.add(value);
            }
            (self.value[step], self.rest[step]) = (mean.sum.sum, mean.sum.compensation);
            self.count[step] += 1.0;
            if let Some(incremental) = self.incremental.get_mut(step) {
                *incremental = mean.incremental;
            }
        }
    }

    fn result(&self, op: Aggregator, step: usize) -> f64 {
        let count = self.count[step];
        if count == 0.0 {
            return ABSENT;
        }
        match op {
            Aggregator::Sum => self.sum(step).total(),
            Aggregator::Avg => self.mean(step).mean(),
            Aggregator::Count => count,
            Aggregator::Group => 1.0,
            Aggregator::Stdvar => self.rest[step] / count,
            Aggregator::Stddev => (self.rest[step] / count).sqrt(),
            _ => self.value[step],
        }
    }
}

/// The histograms that one group has gathered at one step.
#[derive(Debug, Clone)]
enum HistogramCell {
    Mean(Box<HistogramMean>),
    /// Exponential and custom buckets met.
    Impossible,
}

impl Default for HistogramCell {
    fn default() -> HistogramCell {
        HistogramCell::Mean(Box::default())
    }
}

impl HistogramCell {
    fn is_empty(&self) -> bool {
        matches!(self, HistogramCell::Mean(mean) if mean.is_empty())
    }

    fn collided(&self) -> bool {
        matches!(self, HistogramCell::Mean(mean) if mean.resets_collided())
    }

    fn result(&self, op: Aggregator) -> Option<Histogram> {
        match self {
            HistogramCell::Mean(mean) if op == Aggregator::Sum => mean.sum(),
            HistogramCell::Mean(mean) => mean.mean(),
            HistogramCell::Impossible => None,
        }
    }
}

impl Aggregate {
    /// What tells its groups apart.
    pub(super) fn groups(&self) -> Grouping<'_> {
        grouping(self.without, &self.grouping)
    }
}

fn grouping(without: bool, labels: &[String]) -> Grouping<'_> {
    if without { Grouping::without(labels) } else { Grouping::by(labels) }
}

impl<'a> Evaluator<'a> {
    pub(super) fn aggregate(
        &self,
        expr: &Expr,
        aggregate: &Aggregate,
        grid: Grid,
    ) -> Result<Vector<'a>, QueryError> {
        match aggregate.op {
            Aggregator::Topk | Aggregator::Bottomk | Aggregator::Limitk => self.chosen(aggregate, grid),
            Aggregator::Quantile => self.quantiles(aggregate, grid),
            Aggregator::CountValues => self.count_values(expr, aggregate, grid),
            Aggregator::LimitRatio => self.limit_ratio(aggregate, grid),
            _ => self.gathered(aggregate, grid),
        }
    }

    fn gathered(&self, aggregate: &Aggregate, grid: Grid) -> Result<Vector<'a>, QueryError> {
        let op = aggregate.op;
        let mut groups = Groups::new(aggregate.groups());
        let mut out = Vector::new(self.budget);
        let mut gathered: Vec<(Cells, Vec<HistogramCell>)> = Vec::new();
        self.stream(&aggregate.expr, grid, &mut |series| {
            let group = groups.of_member(&series.labels, series.drop_name);
            if group == gathered.len() {
                out.charge.add(grid.count.saturating_mul(CELL_BYTES))?;
                gathered.push((Cells::new(grid.count), Vec::new()));
            }
            let Some((cells, of_histograms)) = gathered.get_mut(group) else { return Ok(()) };
            cells.add(op, series.values);
            if series.histograms.is_empty() {
                return Ok(());
            }
            match op {
                Aggregator::Count | Aggregator::Group => {
                    let present = cells.count.iter_mut().zip(series.histograms.iter());
                    present.filter(|(_, own)| own.is_some()).for_each(|(count, _)| *count += 1.0);
                }
                Aggregator::Sum | Aggregator::Avg => {
                    if of_histograms.is_empty() {
                        out.charge.add(grid.count.saturating_mul(size_of::<HistogramCell>()))?;
                        of_histograms.resize(grid.count, HistogramCell::default());
                    }
                    for (cell, own) in of_histograms.iter_mut().zip(series.histograms.iter()) {
                        if let Some(own) = own {
                            if cell.is_empty() {
                                out.charge.add(2 * histogram_bytes(own))?;
                            }
                            self.gather(cell, own, (op, aggregate.expr.span), &series.labels);
                        }
                    }
                }
                _ => self.inform_ignored(op, aggregate.expr.span),
            }
            Ok(())
        })?;
        for ((labels, drop_name), (cells, of_histograms)) in groups.finish().zip(gathered) {
            let values: Vec<f64> = (0..grid.count).map(|step| cells.result(op, step)).collect();
            let mut column = Column::floats(labels, drop_name, values);
            for (step, cell) in of_histograms.iter().enumerate() {
                if cell.is_empty() {
                    continue;
                }
                if !column.values.get(step).is_none_or(|value| is_absent(*value)) {
                    let text = "encountered a mix of histograms and floats for aggregation";
                    self.warn(Some(aggregate.expr.span), text.to_owned());
                    column.clear(step);
                    continue;
                }
                let own = cell.result(op).map(Arc::new);
                set_histogram(&mut column.histograms, grid.count, step, own);
                if cell.collided() {
                    self.warn_collision("aggregation", aggregate.expr.span);
                }
            }
            out.push(column)?;
        }
        Ok(out)
    }

    /// Adds a histogram to a group's step.
    fn gather(
        &self,
        cell: &mut HistogramCell,
        own: &Histogram,
        (op, span): (Aggregator, Span),
        labels: &Labels<'_>,
    ) {
        let HistogramCell::Mean(mean) = cell else { return };
        let added = if op == Aggregator::Sum { mean.add_plainly(own) } else { mean.add(own) };
        match added {
            Some(added) => {
                self.remark_bounds(added, "aggregation", span);
            }
            None => {
                self.warn_mixed_schemas(span, labels.get().metric_name());
                *cell = HistogramCell::Impossible;
            }
        }
    }

    pub(super) fn inform_ignored(&self, op: Aggregator, span: Span) {
        self.inform(span, format!("ignored histogram in {} aggregation", op.name()));
    }

    /// A parameter per step.
    pub(super) fn parameter(
        &self,
        aggregate: &Aggregate,
        grid: Grid,
    ) -> Result<(Vec<f64>, Span), QueryError> {
        match &aggregate.parameter {
            Some(parameter) => Ok((self.scalar(parameter, grid)?.values, parameter.span)),
            // The parser lets none of those through.
            None => Err(not_evaluated(aggregate.expr.span, "an aggregation without its parameter")),
        }
    }

    fn quantiles(&self, aggregate: &Aggregate, grid: Grid) -> Result<Vector<'a>, QueryError> {
        let (phis, span) = self.parameter(aggregate, grid)?;
        self.check_quantiles(&phis, span);
        let mut groups = Groups::new(aggregate.groups());
        let mut out = Vector::new(self.budget);
        // Per group: the columns of its members.
        let mut members: Vec<Vec<Vec<f64>>> = Vec::new();
        let mut held = Charge::none(self.budget);
        self.stream(&aggregate.expr, grid, &mut |series| {
            if !series.histograms.is_empty() {
                self.inform_ignored(aggregate.op, aggregate.expr.span);
            }
            if series.values.iter().all(|value| is_absent(*value)) {
                return Ok(());
            }
            let group = groups.of_member(&series.labels, series.drop_name);
            members.resize_with(members.len().max(group + 1), Vec::new);
            held.add_column(series.values.len())?;
            if let Some(members) = members.get_mut(group) {
                members.push(std::mem::take(series.values));
            }
            Ok(())
        })?;
        let mut present: [Vec<f64>; STEPS_AT_ONCE] = Default::default();
        for ((labels, drop_name), members) in groups.finish().zip(members) {
            out.charge.add_column(grid.count)?;
            let mut values = Vec::with_capacity(grid.count);
            for (first, phis) in (0..).step_by(STEPS_AT_ONCE).zip(phis.chunks(STEPS_AT_ONCE)) {
                self.budget.poll()?;
                // Columns are read some steps at a time: each step alone would touch all of memory.
                for (present, step) in present.iter_mut().zip(first..) {
                    present.clear();
                    present.reserve(if step < grid.count { members.len() } else { 0 });
                }
                for values in &members {
                    let steps = values.get(first..).unwrap_or_default();
                    for (present, &value) in present.iter_mut().zip(steps) {
                        if !is_absent(value) {
                            present.push(value);
                        }
                    }
                }
                values.extend(
                    phis.iter().zip(&mut present).map(|(&phi, present)| {
                        if present.is_empty() { ABSENT } else { quantile(phi, present) }
                    }),
                );
            }
            out.columns.push(Column::floats(labels, drop_name, values));
        }
        Ok(out)
    }

    fn count_values(&self, expr: &Expr, aggregate: &Aggregate, grid: Grid) -> Result<Vector<'a>, QueryError> {
        let Some(parameter) = &aggregate.parameter else {
            return Err(not_evaluated(expr.span, "`count_values` without a label"));
        };
        let label = text_of(parameter);
        if label.is_empty() {
            return Err(PromqlError::new(parameter.span, format!("invalid label name {label:?}")).into());
        }
        // The label is written before groups are made, so as a grouping label it is the value's.
        let grouping_labels: Vec<String> = if aggregate.without {
            aggregate.grouping.iter().cloned().chain(std::iter::once(label.clone())).collect()
        } else {
            aggregate.grouping.iter().filter(|own| **own != label).cloned().collect()
        };
        let grouping = grouping(aggregate.without, &grouping_labels);
        let keeps_name = grouping.keeps_name();
        let mut groups = Groups::new(grouping);
        let mut out = Vector::new(self.budget);
        let mut by_value: HashMap<(usize, String), usize, FixedState> =
            HashMap::with_hasher(FixedState::default());
        self.stream(&aggregate.expr, grid, &mut |series| {
            let group = groups.of(&series.labels);
            // Neighbouring steps mostly show the same value.
            let mut latest: Option<(u64, usize)> = None;
            for (step, &value) in series.values.iter().enumerate() {
                let histogram = histogram_at(series.histograms, step);
                if is_absent(value) && histogram.is_none() {
                    continue;
                }
                let bits = if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() };
                let column = match latest {
                    Some((own, column)) if own == bits && histogram.is_none() => column,
                    _ => {
                        let text = histogram
                            .map_or_else(|| format_float(value, FloatForm::Plain), |own| own.to_string());
                        let key = (group, text);
                        match by_value.get(&key) {
                            Some(&column) => column,
                            None => {
                                let labels = with_label(&groups.labels(group), &label, &key.1)
                                    .map_err(|error| PromqlError::new(parameter.span, error.to_string()))?;
                                let drop_name = series.drop_name && keeps_name;
                                let column = out.push_absent(Labels::Own(labels), drop_name, grid.count)?;
                                by_value.insert(key, column);
                                column
                            }
                        }
                    }
                };
                latest = histogram.is_none().then_some((bits, column));
                if let Some(count) = out.columns.get_mut(column).and_then(|c| c.values.get_mut(step)) {
                    *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
                }
            }
            Ok(())
        })?;
        out.columns = merged(out.columns, expr.span)?;
        Ok(out)
    }
}
