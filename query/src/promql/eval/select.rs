//! Where series come in: selectors at an instant, and windows over selectors and subqueries.
//!
//! Each selector makes one `select()` over all the time that it needs, and each series one `read()`.

use annals_model::{
    Coverage, LabelSet, METRIC_NAME, Matcher, Missing, Samples, SelectedSeries, SeriesKind, TimeRange,
    Timestamp, is_stale,
};

use super::column::{ABSENT, Charge, Grid, is_absent};
use super::window::{Parameters, WindowFn, Windows, evaluate, find_bounds};
use super::{Evaluator, Sink, Streamed, labels, not_evaluated};
use crate::promql::ast::{Expr, ExprKind, Selector, Subquery};
use crate::promql::error::{PromqlError, QueryError, Span};
use crate::promql::signature::Function;
use crate::promql::value::Series;

/// Endings of the names that Prometheus takes for counters.
const COUNTER_ENDINGS: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];

/// One series' samples, of a selector or a subquery.
struct Run<'r> {
    labels: &'r LabelSet,
    drop_name: bool,
    /// The kind of a selected series; values of a subquery have none.
    kind: Option<SeriesKind>,
    times: &'r [i64],
    values: &'r [f64],
}

/// The windows that a function sees: their ends, and their length.
struct Frame {
    ends: Vec<i64>,
    range_ms: i64,
    /// One window stands for all steps.
    fixed: bool,
}

impl Evaluator<'_> {
    fn select<'s>(
        &'s self,
        selector: &Selector,
        span: Span,
        range: TimeRange,
    ) -> Result<Box<dyn SelectedSeries + 's>, QueryError> {
        let matchers: Vec<Matcher> = selector.matchers.iter().map(|matcher| matcher.item.clone()).collect();
        let selected = self.source.select(&matchers, range, self.budget)?;
        let coverage: &Coverage = selected.coverage();
        if let Some(through) = coverage.expired_through.filter(|through| *through > range.start) {
            self.warn(
                Some(span),
                format!("samples up to {through} have expired and are not part of the answer"),
            );
        }
        self.warn_missing(span, &coverage.missing);
        self.notes.borrow_mut().coverage.push(coverage.clone());
        Ok(selected)
    }

    fn warn_missing(&self, span: Span, missing: &[Missing]) {
        for part in missing {
            self.warn(
                Some(span),
                format!("data from {} to {} cannot be read: {}", part.range.start, part.range.end, part.why),
            );
        }
    }

    fn read(
        &self,
        selected: &dyn SelectedSeries,
        index: usize,
        span: Span,
        samples: &mut Samples,
    ) -> Result<(), QueryError> {
        selected.read(index, self.budget, samples)?;
        // A NaN of any other bits could become the mark of an absent step by losing its sign.
        for value in samples.values.iter_mut().filter(|value| value.is_nan() && !is_stale(**value)) {
            *value = f64::NAN;
        }
        self.warn_missing(span, &samples.missing);
        Ok(())
    }

    /// The latest sample of each series at each step, where it is young enough and not stale.
    pub(super) fn stream_selector(
        &self,
        expr: &Expr,
        selector: &Selector,
        grid: Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        self.stream_latest(expr, selector, grid, false, sink)
    }

    /// The same with the samples' times in seconds instead of their values.
    pub(super) fn stream_timestamps(
        &self,
        expr: &Expr,
        selector: &Selector,
        grid: Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        self.stream_latest(expr, selector, grid, true, sink)
    }

    fn stream_latest(
        &self,
        expr: &Expr,
        selector: &Selector,
        grid: Grid,
        stamps: bool,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        if selector.extended.is_some() {
            return Err(not_evaluated(expr.span, "the smoothed modifier"));
        }
        let (shifted, fixed) = self.shifted(&selector.time, grid)?;
        let lookback_ms = self.options.lookback_ms;
        let range =
            TimeRange::new(Timestamp(shifted.start.saturating_sub(lookback_ms)), Timestamp(shifted.last()));
        let selected = self.select(selector, expr.span, range)?;
        let mut charge = Charge::none(self.budget);
        charge.add_column(grid.count)?;
        let mut samples = Samples::default();
        let mut values = Vec::new();
        for index in 0..selected.len() {
            self.read(&*selected, index, expr.span, &mut samples)?;
            values.clear();
            values.reserve(grid.count);
            let mut next = 0;
            for step in 0..shifted.count {
                let now = shifted.time(step);
                while samples.timestamps.get(next).is_some_and(|&time| time <= now) {
                    next += 1;
                }
                let latest = next
                    .checked_sub(1)
                    .and_then(|at| Some((*samples.timestamps.get(at)?, *samples.values.get(at)?)));
                values.push(match latest {
                    Some((time, value)) if time > now.saturating_sub(lookback_ms) && !is_stale(value) => {
                        if stamps {
                            time as f64 / 1000.0
                        } else {
                            value
                        }
                    }
                    _ => ABSENT,
                });
            }
            if fixed {
                spread(&mut values, grid.count);
            }
            if values.iter().all(|value| is_absent(*value)) {
                continue;
            }
            sink(Streamed { labels: selected.labels(index), drop_name: stamps, values: &mut values })?;
        }
        Ok(())
    }

    /// A function over windows, one series after the other.
    pub(super) fn stream_windows(
        &self,
        function: &Function,
        arguments: &[Expr],
        expr: &Expr,
        grid: Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let Some(window_fn) = WindowFn::of(function.name) else {
            return Err(not_evaluated(expr.span, function.name));
        };
        let Some(matrix) = arguments.iter().find(|argument| is_matrix(argument)) else {
            return Err(not_evaluated(expr.span, function.name));
        };
        let parameters = self.window_parameters(window_fn, arguments, grid)?;
        let mut frame = self.frame(matrix, grid)?;
        let spread_over = if frame.fixed && !window_fn.sees_step() {
            Some(grid.count)
        } else {
            if frame.fixed {
                let end = frame.ends.first().copied().unwrap_or_default();
                frame.ends = vec![end; grid.count];
            }
            None
        };
        let mut charge = Charge::none(self.budget);
        charge.add(frame.ends.len().saturating_mul(32))?;
        let (mut bounds, mut values) = (Vec::new(), Vec::new());
        let mut kinds = (false, false);
        self.stream_runs(matrix, grid, &mut |run| {
            self.remark_kinds(window_fn, function, &run, matrix, &mut kinds);
            find_bounds(run.times, &frame.ends, frame.range_ms, &mut bounds);
            let windows = Windows {
                times: run.times,
                values: run.values,
                ends: &frame.ends,
                bounds: &bounds,
                range_ms: frame.range_ms,
            };
            evaluate(window_fn, run.kind, &windows, &parameters, &mut values);
            if let Some(steps) = spread_over {
                spread(&mut values, steps);
            }
            if values.iter().all(|value| is_absent(*value)) {
                return Ok(());
            }
            sink(Streamed {
                labels: run.labels,
                drop_name: run.drop_name || !window_fn.keeps_name(),
                values: &mut values,
            })
        })
    }

    /// The samples of each window of an instant query that asks for them.
    pub(super) fn window_samples(&self, expr: &Expr, grid: Grid) -> Result<Vec<Series>, QueryError> {
        let matrix = expr.unparen();
        let frame = self.frame(matrix, grid)?;
        let mut charge = Charge::none(self.budget);
        let mut series = Vec::new();
        let mut bounds = Vec::new();
        self.stream_runs(matrix, grid, &mut |run| {
            find_bounds(run.times, &frame.ends, frame.range_ms, &mut bounds);
            let (low, high) = bounds.first().copied().unwrap_or_default();
            if low == high {
                return Ok(());
            }
            charge.add((high - low).saturating_mul(16))?;
            let points = run.times.iter().zip(run.values).take(high).skip(low);
            let points = points.map(|(&time, &value)| (Timestamp(time), value)).collect();
            let labels = if run.drop_name { labels::without_name(run.labels) } else { run.labels.clone() };
            series.push(Series { labels, points });
            Ok(())
        })?;
        Ok(series)
    }

    /// At which steps some series has a sample in its window.
    pub(super) fn present_windows(&self, matrix: &Expr, grid: Grid) -> Result<Vec<bool>, QueryError> {
        let frame = self.frame(matrix, grid)?;
        let mut present = vec![false; frame.ends.len()];
        let mut bounds = Vec::new();
        self.stream_runs(matrix, grid, &mut |run| {
            find_bounds(run.times, &frame.ends, frame.range_ms, &mut bounds);
            for (present, (low, high)) in present.iter_mut().zip(&bounds) {
                *present |= low < high;
            }
            Ok(())
        })?;
        if frame.fixed {
            let first = present.first().copied().unwrap_or_default();
            present = vec![first; grid.count];
        }
        Ok(present)
    }

    fn window_parameters(
        &self,
        function: WindowFn,
        arguments: &[Expr],
        grid: Grid,
    ) -> Result<Parameters, QueryError> {
        let mut parameters = Parameters::default();
        let mut scalars = arguments.iter().filter(|argument| !is_matrix(argument));
        if let Some(argument) = scalars.next() {
            parameters.first = self.scalar(argument, grid)?.values;
            if function == WindowFn::Quantile {
                self.check_quantiles(&parameters.first, argument.span);
            }
            if function == WindowFn::Smoothing {
                check_factor(&parameters.first, argument.span, "smoothing")?;
            }
        }
        if let Some(argument) = scalars.next() {
            parameters.second = self.scalar(argument, grid)?.values;
            check_factor(&parameters.second, argument.span, "trend")?;
        }
        if function == WindowFn::PredictLinear {
            parameters.step_times = (0..grid.count).map(|step| grid.time(step)).collect();
        }
        Ok(parameters)
    }

    /// Says so where a function meets kinds that it is not made for.
    fn remark_kinds(
        &self,
        window_fn: WindowFn,
        function: &Function,
        run: &Run<'_>,
        matrix: &Expr,
        kinds: &mut (bool, bool),
    ) {
        let Some(kind) = run.kind else { return };
        let name = run.labels.metric_name();
        if window_fn.wants_counter() {
            if kind == SeriesKind::Gauge && !COUNTER_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
                self.inform(
                    matrix.span,
                    format!("metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name:?}"),
                );
            }
            let (deltas, others) = kinds;
            *deltas |= kind == SeriesKind::Delta;
            *others |= kind != SeriesKind::Delta;
            if *deltas && *others {
                self.warn(
                    Some(matrix.span),
                    format!(
                        "{} met series of kind delta beside others; each was evaluated by its own kind",
                        function.name
                    ),
                );
            }
        }
    }

    fn frame(&self, matrix: &Expr, grid: Grid) -> Result<Frame, QueryError> {
        let (time, range) = match &matrix.unparen().kind {
            ExprKind::Matrix(selector, range) => (&selector.time, range),
            ExprKind::Subquery(subquery) => (&subquery.time, &subquery.range),
            _ => return Err(not_evaluated(matrix.span, "this range vector")),
        };
        let (shifted, fixed) = self.shifted(time, grid)?;
        let range_ms = self.length_ms(range)?;
        Ok(Frame { ends: (0..shifted.count).map(|step| shifted.time(step)).collect(), range_ms, fixed })
    }

    /// The samples of each series that any window could hold.
    fn stream_runs(
        &self,
        matrix: &Expr,
        grid: Grid,
        sink: &mut dyn FnMut(Run<'_>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        match &matrix.unparen().kind {
            ExprKind::Matrix(selector, range) => {
                if selector.extended.is_some() {
                    return Err(not_evaluated(matrix.span, "a range with anchored or smoothed"));
                }
                let (shifted, _) = self.shifted(&selector.time, grid)?;
                let range_ms = self.length_ms(range)?;
                let needed = TimeRange::new(
                    Timestamp(shifted.start.saturating_sub(range_ms)),
                    Timestamp(shifted.last()),
                );
                let selected = self.select(selector, matrix.span, needed)?;
                let mut samples = Samples::default();
                for index in 0..selected.len() {
                    self.read(&*selected, index, matrix.span, &mut samples)?;
                    drop_stale(&mut samples);
                    sink(Run {
                        labels: selected.labels(index),
                        drop_name: false,
                        kind: Some(selected.kind(index)),
                        times: &samples.timestamps,
                        values: &samples.values,
                    })?;
                }
                Ok(())
            }
            ExprKind::Subquery(subquery) => self.stream_subquery(matrix.span, subquery, grid, sink),
            _ => Err(not_evaluated(matrix.span, "this range vector")),
        }
    }

    fn stream_subquery(
        &self,
        span: Span,
        subquery: &Subquery,
        grid: Grid,
        sink: &mut dyn FnMut(Run<'_>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let (shifted, _) = self.shifted(&subquery.time, grid)?;
        let range_ms = self.length_ms(&subquery.range)?;
        let step = match &subquery.step {
            Some(step) => self.length_ms(step)?,
            None => self.options.subquery_step_ms.max(1),
        };
        // Steps are multiples of the step, whatever the window; the first lies within the first window.
        let before = shifted.start.saturating_sub(range_ms);
        let start = before.div_euclid(step).saturating_mul(step).saturating_add(step);
        let steps = (i128::from(shifted.last()) - i128::from(start)).div_euclid(i128::from(step)) + 1;
        let Ok(count) = usize::try_from(steps.max(0)) else {
            return Err(PromqlError::new(span, "the subquery has too many steps").into());
        };
        let inner = Grid { start, step, count };
        let mut charge = Charge::none(self.budget);
        charge.add(count.saturating_mul(24))?;
        let (mut times, mut values) = (Vec::new(), Vec::new());
        self.stream(&subquery.expr, inner, &mut |series| {
            times.clear();
            values.clear();
            for (step, &value) in series.values.iter().enumerate() {
                if !is_absent(value) {
                    times.push(inner.time(step));
                    values.push(value);
                }
            }
            sink(Run {
                labels: series.labels,
                drop_name: series.drop_name,
                kind: None,
                times: &times,
                values: &values,
            })
        })
    }

    /// Warns of quantiles that are none.
    pub(super) fn check_quantiles(&self, quantiles: &[f64], span: Span) {
        for &phi in quantiles {
            if !(0.0..=1.0).contains(&phi) {
                let phi = crate::promql::format_value(phi);
                self.warn(Some(span), format!("quantile value should be between 0 and 1, got {phi}"));
            }
        }
    }
}

fn check_factor(factors: &[f64], span: Span, which: &str) -> Result<(), QueryError> {
    match factors.iter().find(|factor| !(0.0..=1.0).contains(*factor)) {
        None => Ok(()),
        Some(factor) => Err(PromqlError::new(
            span,
            format!("invalid {which} factor. Expected: 0 <= factor <= 1, got: {factor}"),
        )
        .into()),
    }
}

fn is_matrix(expr: &Expr) -> bool {
    matches!(expr.unparen().kind, ExprKind::Matrix(..) | ExprKind::Subquery(_))
}

/// One value for all steps.
fn spread(values: &mut Vec<f64>, steps: usize) {
    let value = values.first().copied().unwrap_or(ABSENT);
    values.clear();
    values.resize(steps, value);
}

/// Windows hold samples, not the marks that a series ended.
fn drop_stale(samples: &mut Samples) {
    if !samples.values.iter().any(|&value| is_stale(value)) {
        return;
    }
    let mut stale = samples.values.iter().map(|&value| is_stale(value)).collect::<Vec<_>>().into_iter();
    samples.timestamps.retain(|_| !stale.next().unwrap_or_default());
    samples.values.retain(|&value| !is_stale(value));
}

/// The labels that `absent` can know: those that one equality matcher fixes.
pub(super) fn absent_labels(expr: &Expr) -> LabelSet {
    let (ExprKind::Selector(selector) | ExprKind::Matrix(selector, _)) = &expr.unparen().kind else {
        return LabelSet::empty();
    };
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for matcher in selector.matchers.iter().map(|matcher| &matcher.item) {
        if matcher.name() == METRIC_NAME {
            continue;
        }
        if matcher.op() == annals_model::MatchOp::Equal && !seen.contains(&matcher.name()) {
            pairs.push((matcher.name(), matcher.value()));
        } else {
            pairs.retain(|(name, _)| *name != matcher.name());
        }
        seen.push(matcher.name());
    }
    LabelSet::from_pairs(pairs).unwrap_or_else(|_| LabelSet::empty())
}
