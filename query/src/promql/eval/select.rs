//! Where series come in: selectors at an instant, and windows over selectors and subqueries.
//!
//! Each selector makes one `select()` over all the time that it needs, and each series one `read()`.

use std::sync::Arc;

use annals_model::{
    Coverage, Histogram, LabelSet, METRIC_NAME, Matcher, Missing, ResetHint, Samples, SelectedSeries,
    SeriesKind, TimeRange, Timestamp, is_stale,
};

use super::column::{ABSENT, Charge, Grid, Histograms, histogram_bytes, nothing, set_histogram};
use super::mixed::Place;
use super::runs::{Run, Track};
use super::window::{Parameters, WindowFn, Windows, evaluate, find_bounds};
use super::{Evaluator, Hints, Labels, Sink, Streamed, labels, not_evaluated};
use crate::promql::ast::{Expr, ExprKind, Selector};
use crate::promql::error::{PromqlError, QueryError, Span};
use crate::promql::signature::Function;
use crate::promql::value::Series;

/// Endings of the names that Prometheus takes for counters.
const COUNTER_ENDINGS: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];

/// What of the latest sample is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Value,
    /// Its time, in seconds.
    Time,
    /// When what it counts began, in seconds; nothing where that is not known.
    Start,
}

impl Evaluator<'_> {
    pub(super) fn select<'s>(
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

    pub(super) fn read(
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
        if self.hints.get() == Hints::Resolved {
            resolve_hints(samples);
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
        if selector.extended.is_some() {
            return self.stream_smoothed(expr, selector, grid, sink);
        }
        self.stream_latest(expr, selector, grid, Wanted::Value, sink)
    }

    /// The same, or something else of that sample.
    pub(super) fn stream_latest(
        &self,
        expr: &Expr,
        selector: &Selector,
        grid: Grid,
        wanted: Wanted,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let (shifted, fixed) = self.shifted(&selector.time, grid)?;
        let lookback_ms = self.options.lookback_ms;
        let range =
            TimeRange::new(Timestamp(shifted.start.saturating_sub(lookback_ms)), Timestamp(shifted.last()));
        let selected = self.select(selector, expr.span, range)?;
        let mut charge = Charge::none(self.budget);
        charge.add_column(grid.count)?;
        let mut samples = Samples::default();
        let (mut values, mut histograms) = (Vec::new(), Histograms::new());
        for index in 0..selected.len() {
            self.read(&*selected, index, expr.span, &mut samples)?;
            values.clear();
            values.reserve(grid.count);
            histograms.clear();
            let mut next = 0;
            for step in 0..shifted.count {
                let now = shifted.time(step);
                while samples.timestamps.get(next).is_some_and(|&time| time <= now) {
                    next += 1;
                }
                let latest = next
                    .checked_sub(1)
                    .and_then(|at| Some((at, *samples.timestamps.get(at)?, *samples.values.get(at)?)))
                    .filter(|(_, time, value)| *time > now.saturating_sub(lookback_ms) && !is_stale(*value));
                let Some((at, time, value)) = latest else {
                    values.push(ABSENT);
                    continue;
                };
                values.push(match wanted {
                    Wanted::Time => time as f64 / 1000.0,
                    Wanted::Start => match samples.start_times.get(at) {
                        None | Some(0) => ABSENT,
                        Some(&start) => start as f64 / 1000.0,
                    },
                    Wanted::Value => match samples.histograms.get(at).and_then(Option::as_ref) {
                        None => value,
                        Some(histogram) => {
                            set_histogram(&mut histograms, shifted.count, step, Some(Arc::clone(histogram)));
                            ABSENT
                        }
                    },
                });
            }
            if fixed {
                spread(&mut values, &mut histograms, grid.count);
            }
            if nothing(&values, &histograms) {
                continue;
            }
            sink(Streamed {
                labels: Labels::Of(&*selected, index),
                drop_name: wanted != Wanted::Value,
                values: &mut values,
                histograms: &mut histograms,
            })?;
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
        let (mut bounds, mut values, mut histograms) = (Vec::new(), Vec::new(), Histograms::new());
        let mut kinds = (false, false);
        self.stream_runs(matrix, grid, &mut |run| {
            self.remark_kinds(window_fn, function, &run, matrix, &mut kinds);
            histograms.clear();
            // The sum of events within a window has no ends to look for.
            let events = run.kind == Some(SeriesKind::Delta)
                && matches!(window_fn, WindowFn::Rate | WindowFn::Increase);
            if let Some(extended) = frame.extended.filter(|_| !events) {
                let place = Place {
                    function: window_fn,
                    delta: run.kind == Some(SeriesKind::Delta),
                    span: matrix.span,
                    labels: run.labels,
                };
                self.extended_windows(extended, &run, &frame, &place, (&mut values, &mut histograms))?;
            } else {
                find_bounds(run.floats.times, &frame.ends, frame.range_ms, &mut bounds);
                let windows = Windows {
                    floats: run.floats,
                    ends: &frame.ends,
                    bounds: &bounds,
                    range_ms: frame.range_ms,
                };
                evaluate(window_fn, run.kind, &windows, &parameters, &mut values);
                let place = Place {
                    function: window_fn,
                    delta: run.kind == Some(SeriesKind::Delta),
                    span: matrix.span,
                    labels: run.labels,
                };
                self.warn_overlaps(&run, &frame, &place);
                if !run.histograms.times.is_empty() {
                    self.mixed_windows(&run, &frame, &place, &bounds, (&mut values, &mut histograms))?;
                }
            }
            if let Some(steps) = spread_over {
                spread(&mut values, &mut histograms, steps);
            }
            if nothing(&values, &histograms) {
                return Ok(());
            }
            sink(Streamed {
                labels: run.labels,
                drop_name: run.drop_name || !window_fn.keeps_name(),
                values: &mut values,
                histograms: &mut histograms,
            })
        })
    }

    /// The samples of each window of an instant query that asks for them.
    pub(super) fn window_samples(&self, expr: &Expr, grid: Grid) -> Result<Vec<Series>, QueryError> {
        let matrix = expr.unparen();
        let frame = self.frame(matrix, grid)?;
        let end = frame.ends.first().copied().unwrap_or_default();
        let mut charge = Charge::none(self.budget);
        let mut series = Vec::new();
        self.stream_runs(matrix, grid, &mut |run| {
            let (floats, histograms) = match frame.extended {
                Some(extended) => {
                    let place = Place {
                        function: WindowFn::Last,
                        delta: run.kind == Some(SeriesKind::Delta),
                        span: matrix.span,
                        labels: run.labels,
                    };
                    self.extended_samples(extended, &run, (end.saturating_sub(frame.range_ms), end), &place)
                }
                None => {
                    let floats = within(run.floats, end, frame.range_ms);
                    let histograms = within(run.histograms, end, frame.range_ms);
                    let pairs = floats.times.iter().zip(floats.values).map(|(&time, &value)| (time, value));
                    let own = histograms.times.iter().zip(histograms.values);
                    (pairs.collect(), own.map(|(&time, histogram)| (time, Arc::clone(histogram))).collect())
                }
            };
            if floats.is_empty() && histograms.is_empty() {
                return Ok(());
            }
            let bytes = histograms.iter().map(|(_, histogram)| histogram_bytes(histogram)).sum::<usize>();
            charge.add(floats.len().saturating_mul(16).saturating_add(bytes))?;
            let own = run.labels.get();
            let labels = if run.drop_name { labels::without_name(&own) } else { own };
            let points = floats.into_iter().map(|(time, value)| (Timestamp(time), value)).collect();
            let histograms = histograms.into_iter().map(|(time, own)| (Timestamp(time), own)).collect();
            series.push(Series { labels, points, histograms });
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
            for times in [run.floats.times, run.histograms.times] {
                find_bounds(times, &frame.ends, frame.range_ms, &mut bounds);
                for (present, (low, high)) in present.iter_mut().zip(&bounds) {
                    *present |= low < high;
                }
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
        if window_fn.wants_counter() {
            let asked = window_fn != WindowFn::Irate && !run.floats.times.is_empty();
            if asked && kind == SeriesKind::Gauge {
                let labels = run.labels.get();
                let name = labels.metric_name();
                if !COUNTER_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
                    let text =
                        "metric might not be a counter, name does not end in _total/_sum/_count/_bucket";
                    self.inform(matrix.span, format!("{text}: {name:?}"));
                }
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
pub(super) fn spread(values: &mut Vec<f64>, histograms: &mut Histograms, steps: usize) {
    let value = values.first().copied().unwrap_or(ABSENT);
    values.clear();
    values.resize(steps, value);
    if let Some(Some(histogram)) = histograms.first().cloned() {
        histograms.clear();
        histograms.resize(steps, Some(histogram));
    }
}

/// Finds out, where it is not known, whether each histogram's counters were reset.
fn resolve_hints(samples: &mut Samples) {
    let mut before: Option<Arc<Histogram>> = None;
    for own in samples.histograms.iter_mut().flatten() {
        let original = Arc::clone(own);
        if let Some(before) = before.filter(|_| own.reset_hint == ResetHint::Unknown) {
            let reset = own.is_reset_after(&before);
            let reset_hint = if reset { ResetHint::Reset } else { ResetHint::NotReset };
            *own = Arc::new(Histogram { reset_hint, ..Histogram::clone(own) });
        }
        before = Some(original);
    }
}

/// The part of a track that one window holds.
fn within<T>(track: Track<'_, T>, end: i64, range_ms: i64) -> Track<'_, T> {
    let mut bounds = Vec::new();
    find_bounds(track.times, &[end], range_ms, &mut bounds);
    track.part(bounds.first().copied().unwrap_or_default())
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
