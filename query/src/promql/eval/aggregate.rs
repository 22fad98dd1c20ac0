//! Aggregations. The simple ones take series as they stream by and hold only their groups; those that choose or sort
//! (`topk`, `quantile`, ...) hold all series and look at one step at a time.

use std::cmp::Ordering;
use std::sync::Arc;

use annals_model::{Histogram, LabelSet, SeriesGroups};
use foldhash::quality::FixedState;
use hashbrown::HashMap;

use super::column::{ABSENT, Column, Grid, Vector, histogram_at, histogram_bytes, is_absent, set_histogram};
use super::fold::{Mean, Sum, nan_first, quantile};
use super::labels::{Grouping, LabelMap, with_label};
use super::mixed::HistogramMean;
use super::{Evaluator, Labels, merged, not_evaluated, text_of};
use crate::promql::ast::{Aggregate, Expr};
use crate::promql::error::{PromqlError, QueryError, Span};
use crate::promql::signature::Aggregator;
use crate::promql::value::{format_plain, format_value};

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

/// Groups by their labels, in the order in which they were met.
struct Groups<'g> {
    grouping: Grouping<'g>,
    index: LabelMap<usize>,
    labels: Vec<(LabelSet, bool)>,
    /// Of series that come from one selection: its groups, and which of ours each is.
    selected: Option<(SeriesGroups, Vec<Option<usize>>)>,
}

impl<'g> Groups<'g> {
    fn new(aggregate: &'g Aggregate) -> Groups<'g> {
        let grouping = Grouping { only: !aggregate.without, labels: &aggregate.grouping };
        let index = HashMap::with_hasher(FixedState::default());
        Groups { grouping, index, labels: Vec::new(), selected: None }
    }

    /// The group of a series of a stream. A name among the group's labels goes away where it goes away for any member.
    fn of_streamed(&mut self, labels: Labels<'_>, drop_name: bool) -> usize {
        let (selected, index) = match labels {
            Labels::Own(labels) => return self.of(labels, drop_name),
            Labels::Of(selected, index) => (selected, index),
        };
        let (of, known) = self.selected.get_or_insert_with(|| {
            let groups = self.grouping.of_all(selected);
            let known = vec![None; groups.labels.len()];
            (groups, known)
        });
        let number = of.of.get(index).map_or(0, |&number| number as usize);
        let group = match known.get(number) {
            Some(&Some(group)) => group,
            _ => {
                let labels = of.labels.get(number).cloned().unwrap_or_else(LabelSet::empty);
                let group = self.insert(labels);
                if let Some((_, known)) = &mut self.selected
                    && let Some(known) = known.get_mut(number)
                {
                    *known = Some(group);
                }
                group
            }
        };
        self.remember(group, drop_name);
        group
    }

    /// The group of a series.
    fn of(&mut self, labels: &LabelSet, drop_name: bool) -> usize {
        let group = self.insert(self.grouping.of(labels));
        self.remember(group, drop_name);
        group
    }

    fn insert(&mut self, own: LabelSet) -> usize {
        let next = self.labels.len();
        let group = *self.index.entry(own.clone()).or_insert(next);
        if group == next {
            self.labels.push((own, false));
        }
        group
    }

    fn remember(&mut self, group: usize, drop_name: bool) {
        if let Some((_, dropped)) = self.labels.get_mut(group) {
            *dropped |= drop_name && self.grouping.keeps_name();
        }
    }
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
        let mut groups = Groups::new(aggregate);
        let mut out = Vector::new(self.budget);
        let mut gathered: Vec<(Cells, Vec<HistogramCell>)> = Vec::new();
        self.stream(&aggregate.expr, grid, &mut |series| {
            let group = groups.of_streamed(series.labels, series.drop_name);
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
                            self.gather(cell, own, (op, aggregate.expr.span), series.labels);
                        }
                    }
                }
                _ => self.inform_ignored(op, aggregate.expr.span),
            }
            Ok(())
        })?;
        for ((labels, drop_name), (cells, of_histograms)) in groups.labels.into_iter().zip(gathered) {
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
        labels: Labels<'_>,
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

    fn inform_ignored(&self, op: Aggregator, span: Span) {
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

    /// The members of each group, by index into `columns`.
    fn members<'g>(aggregate: &'g Aggregate, columns: &[Column]) -> (Groups<'g>, Vec<Vec<usize>>) {
        let mut groups = Groups::new(aggregate);
        let mut members: Vec<Vec<usize>> = Vec::new();
        for (at, column) in columns.iter().enumerate() {
            let group = groups.of(&column.labels, column.drop_name);
            if group == members.len() {
                members.push(Vec::new());
            }
            if let Some(members) = members.get_mut(group) {
                members.push(at);
            }
        }
        (groups, members)
    }

    /// `topk`, `bottomk`, `limitk`: some series of each group, as they are.
    fn chosen(&self, aggregate: &Aggregate, grid: Grid) -> Result<Vector<'a>, QueryError> {
        let (limits, span) = self.parameter(aggregate, grid)?;
        let limits = limits.into_iter().map(|limit| count_of(limit, span)).collect::<Result<Vec<_>, _>>()?;
        let mut vector = self.vector(&aggregate.expr, grid)?;
        if aggregate.op != Aggregator::Limitk
            && vector.columns.iter().any(|column| !column.histograms.is_empty())
        {
            if limits.iter().any(|limit| *limit > 0) {
                self.inform_ignored(aggregate.op, aggregate.expr.span);
            }
            vector.columns.iter_mut().for_each(|column| column.histograms.clear());
        }
        let (_, members) = Self::members(aggregate, &vector.columns);
        let mut order = Vec::new();
        let mut present: Vec<(f64, usize)> = Vec::new();
        for members in &members {
            for (step, &limit) in limits.iter().enumerate() {
                self.budget.poll()?;
                present.clear();
                for &at in members {
                    let Some(column) = vector.columns.get(at).filter(|column| column.holds(step)) else {
                        continue;
                    };
                    present.push((column.values.get(step).copied().unwrap_or(f64::NAN), at));
                }
                match aggregate.op {
                    Aggregator::Topk => present.sort_by(|a, b| nan_last(b.0, a.0, a.0, b.0)),
                    Aggregator::Bottomk => present.sort_by(|a, b| nan_last(a.0, b.0, a.0, b.0)),
                    _ => {}
                }
                let limit = limit.min(present.len());
                for &(_, at) in present.iter().skip(limit) {
                    if let Some(column) = vector.columns.get_mut(at) {
                        column.clear(step);
                    }
                }
                if grid.count == 1 {
                    order.extend(present.iter().take(limit).map(|&(_, at)| at));
                }
            }
        }
        if grid.count == 1 {
            // One step has an order of its own: group by group, the chosen ones as they were ranked.
            let mut columns: Vec<Option<Column>> = vector.columns.drain(..).map(Some).collect();
            let ranked = order.into_iter().filter_map(|at| columns.get_mut(at).and_then(Option::take));
            vector.columns.extend(ranked);
        } else {
            vector.columns.retain(|column| !column.is_empty());
        }
        Ok(vector)
    }

    fn quantiles(&self, aggregate: &Aggregate, grid: Grid) -> Result<Vector<'a>, QueryError> {
        let (phis, span) = self.parameter(aggregate, grid)?;
        self.check_quantiles(&phis, span);
        let mut vector = self.vector(&aggregate.expr, grid)?;
        if vector.columns.iter().any(|column| !column.histograms.is_empty()) {
            self.inform_ignored(aggregate.op, aggregate.expr.span);
        }
        vector.columns.retain(|column| column.values.iter().any(|value| !is_absent(*value)));
        let (groups, members) = Self::members(aggregate, &vector.columns);
        let mut out = Vector::new(self.budget);
        let mut present: [Vec<f64>; STEPS_AT_ONCE] = Default::default();
        for ((labels, drop_name), members) in groups.labels.into_iter().zip(members) {
            out.charge.add_column(grid.count)?;
            let mut values = Vec::with_capacity(grid.count);
            for (first, phis) in (0..).step_by(STEPS_AT_ONCE).zip(phis.chunks(STEPS_AT_ONCE)) {
                self.budget.poll()?;
                // Columns are read some steps at a time: each step alone would touch all of memory.
                for (present, step) in present.iter_mut().zip(first..) {
                    present.clear();
                    present.reserve(if step < grid.count { members.len() } else { 0 });
                }
                for column in members.iter().filter_map(|&at| vector.columns.get(at)) {
                    let steps = column.values.get(first..).unwrap_or_default();
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
        let grouping = Grouping { only: !aggregate.without, labels: &grouping_labels };
        let mut out = Vector::new(self.budget);
        let mut by_value: HashMap<(LabelSet, String), usize, FixedState> =
            HashMap::with_hasher(FixedState::default());
        self.stream(&aggregate.expr, grid, &mut |series| {
            let group = grouping.of(&series.labels.get());
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
                        let text = histogram.map_or_else(|| format_plain(value), |own| own.to_string());
                        let key = (group.clone(), text);
                        match by_value.get(&key) {
                            Some(&column) => column,
                            None => {
                                let labels = with_label(&group, &label, &key.1)
                                    .map_err(|error| PromqlError::new(parameter.span, error.to_string()))?;
                                let drop_name = series.drop_name && grouping.keeps_name();
                                let column = out.push_absent(labels, drop_name, grid.count)?;
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

/// How many series to choose.
fn count_of(limit: f64, span: Span) -> Result<usize, QueryError> {
    if limit.is_nan() {
        return Err(PromqlError::new(span, "Parameter value is NaN").into());
    }
    if limit.abs() >= i64::MAX as f64 {
        let side = if limit > 0.0 { "overflows" } else { "underflows" };
        return Err(
            PromqlError::new(span, format!("Scalar value {} {side} int64", format_value(limit))).into()
        );
    }
    // Below one, nothing is chosen.
    Ok(limit.max(0.0) as usize)
}

/// Orders `x` against `y`, but NaN (told by `a` and `b`) behind everything.
fn nan_last(x: f64, y: f64, a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) => nan_first(x, y),
        (a, b) => a.cmp(&b),
    }
}
