//! Where series come in: selectors at an instant, and windows over selectors and subqueries.
//!
//! Each selector makes one `select()` over all the time that it needs, and each series one `read()`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use annals_model::{
    Coverage, FloatForm, Histogram, LabelSet, METRIC_NAME, Matcher, Missing, Piece, ResetHint, Samples,
    SelectedSeries, SeriesKind, TimeRange, Timestamp, Whole, format_float, is_stale,
};

use super::column::{ABSENT, Charge, Grid, Histograms, has_nan, histogram_bytes, nothing};
use super::labels::{Labels, Selection};
use super::latest::Wanted;
use super::mixed::Place;
use super::parts::{self, Segments};
use super::runs::{Frame, Run, Track, drop_stale, run_of};
use super::series::Buffers;
use super::window::{Parameters, Reach, WindowFn, Windows, evaluate, find_bounds};
use super::{Evaluator, Hints, Sink, Streamed, labels, not_evaluated};
use crate::promql::ast::{Expr, ExprKind, Selector};
use crate::promql::error::{PromqlError, QueryError, Span};
use crate::promql::signature::Function;
use crate::promql::value::Series;

/// Endings of the names that Prometheus takes for counters.
const COUNTER_ENDINGS: [&str; 4] = ["_total", "_sum", "_count", "_bucket"];

/// A call of a function over windows.
struct WindowJob<'j> {
    function: WindowFn,
    span: Span,
    frame: &'j Frame,
    /// Where windows may join.
    segments: Option<Segments>,
    parameters: &'j Parameters,
    /// How many steps one value is spread over under `@`.
    spread_over: Option<usize>,
    /// Whether it has met series of kind delta, and others.
    deltas: AtomicBool,
    others: AtomicBool,
}

fn is_whole(piece: &Piece) -> bool {
    matches!(piece, Piece::Whole(_))
}

impl<'a> Evaluator<'a> {
    pub(super) fn select(
        &self,
        selector: &Selector,
        span: Span,
        range: TimeRange,
    ) -> Result<Selection<'a>, QueryError> {
        let matchers: Vec<Matcher> = selector.matchers.iter().map(|matcher| matcher.item.clone()).collect();
        let selected: Selection<'a> = self.source.select(&matchers, range, self.budget)?.into();
        if let Some(trace) = self.trace {
            trace.found(span.start, range, &*selected);
        }
        let coverage: &Coverage = selected.coverage();
        if let Some(through) = coverage.expired_through.filter(|through| *through > range.start) {
            self.warn(
                Some(span),
                format!("samples up to {through} have expired and are not part of the answer"),
            );
        }
        for (part, resolution) in &coverage.coarser {
            let (resolution, TimeRange { start, end }) = (resolution.word(), part);
            self.inform(
                span,
                format!("from {start} to {end} only rollups of {resolution} are left: exact for windows of whole {resolution}"),
            );
        }
        self.warn_missing(span, &coverage.missing);
        self.notes.borrow_mut().coverage.push(coverage.clone());
        Ok(selected)
    }

    pub(super) fn warn_missing(&self, span: Span, missing: &[Missing]) {
        for part in missing {
            self.warn(Some(span), format!("data {} cannot be read: {}", part.range, part.why));
        }
    }

    pub(super) fn read(
        &self,
        selected: &dyn SelectedSeries,
        index: usize,
        span: Span,
        samples: &mut Samples,
    ) -> Result<bool, QueryError> {
        if self.trace.is_some_and(|trace| !trace.reads(selected, index, Whole::of(&|_| false))) {
            samples.clear();
            return Ok(false);
        }
        selected.read(index, self.budget, samples)?;
        Ok(self.finish_samples(span, samples))
    }

    /// Makes of samples that were read what evaluation goes by.
    /// Returns whether there are any NaNs, stale markers among them.
    pub(super) fn finish_samples(&self, span: Span, samples: &mut Samples) -> bool {
        let any = has_nan(&samples.values);
        // A NaN of any other bits could become the mark of an absent step by losing its sign.
        if any {
            for value in samples.values.iter_mut().filter(|value| value.is_nan() && !is_stale(**value)) {
                *value = f64::NAN;
            }
        }
        if self.hints.get() == Hints::Resolved {
            resolve_hints(samples);
        }
        self.warn_missing(span, &samples.missing);
        any
    }

    /// The latest sample of each series at each step, where it is young enough and not stale.
    pub(super) fn stream_selector(
        &self,
        expr: &Expr,
        selector: &Selector,
        grid: Grid,
        sink: Sink<'_, 'a>,
    ) -> Result<(), QueryError> {
        if selector.extended.is_some() {
            return self.stream_smoothed(expr, selector, grid, sink);
        }
        self.stream_latest(expr, selector, grid, Wanted::Value, sink)
    }

    /// A function over windows, one series after the other.
    pub(super) fn stream_windows(
        &self,
        function: &Function,
        arguments: &[Expr],
        expr: &Expr,
        grid: Grid,
        sink: Sink<'_, 'a>,
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
        charge.add(frame.ends.len().saturating_mul(48))?;
        let job = WindowJob {
            function: window_fn,
            span: matrix.span,
            frame: &frame,
            segments: None,
            parameters: &parameters,
            spread_over,
            deltas: AtomicBool::new(false),
            others: AtomicBool::new(false),
        };
        let drop_name = !window_fn.keeps_name();
        match &matrix.unparen().kind {
            ExprKind::Matrix(selector, range) => {
                let selected = self.select(selector, matrix.span, self.needed(selector, range, grid)?)?;
                let kinds = || (0..selected.len()).map(|index| selected.kind(index));
                let plain = frame.extended.is_none();
                let job = if plain && kinds().any(|kind| parts::joins(window_fn, kind)) {
                    charge.add(Segments::bytes(frame.ends.len()))?;
                    WindowJob { segments: Some(Segments::new(&frame.ends, frame.range_ms)), ..job }
                } else {
                    job
                };
                let whole = |range| job.segments.as_ref().is_some_and(|segments| segments.is_whole(range));
                self.each_series(
                    &*selected,
                    Whole::of(&whole),
                    &|evaluator, index, buffers| evaluator.windows_of(&selected, &job, index, buffers),
                    &mut |index, values, histograms| {
                        sink(Streamed {
                            labels: Labels::Of(Arc::clone(&selected), index),
                            drop_name,
                            values,
                            histograms,
                        })
                    },
                )?;
                self.remark_mixture(function, &job);
                Ok(())
            }
            _ => {
                let mut buffers = Buffers::default();
                self.stream_runs(matrix, grid, &mut |run| {
                    if !self.windows_of_run(&job, &run, &mut buffers)? {
                        return Ok(());
                    }
                    sink(Streamed {
                        labels: run.labels,
                        drop_name: run.drop_name || drop_name,
                        values: &mut buffers.values,
                        histograms: &mut buffers.histograms,
                    })
                })
            }
        }
    }

    /// All windows of a selected series; false where there is nothing in any.
    fn windows_of(
        &self,
        selected: &Selection<'_>,
        job: &WindowJob<'_>,
        index: usize,
        buffers: &mut Buffers,
    ) -> Result<bool, QueryError> {
        let kind = selected.kind(index);
        match job.segments.as_ref().filter(|_| parts::joins(job.function, kind)) {
            Some(segments) => {
                let whole = |range: TimeRange| segments.is_whole(range);
                selected.read_pieces(index, Whole::of(&whole), self.budget, &mut buffers.pieces)?;
                if let Some(any) = self.windows_of_pieces(job, segments, (selected, index), buffers) {
                    return Ok(any);
                }
                if buffers.pieces.pieces.iter().any(is_whole) {
                    selected.read(index, self.budget, &mut buffers.pieces.samples)?;
                }
            }
            None => selected.read(index, self.budget, &mut buffers.pieces.samples)?,
        }
        let mut samples = std::mem::take(&mut buffers.pieces.samples);
        let mut apart = std::mem::take(&mut buffers.apart);
        if self.finish_samples(job.span, &mut samples) {
            drop_stale(&mut samples);
        }
        let run = run_of(selected, index, &samples, &mut apart);
        let result = self.windows_of_run(job, &run, buffers);
        (buffers.pieces.samples, buffers.apart) = (samples, apart);
        result
    }

    /// The same from pieces, whether there is anything in any window; `None` where the series must be looked at window by
    /// window, or where that is faster.
    fn windows_of_pieces(
        &self,
        job: &WindowJob<'_>,
        segments: &Segments,
        (selected, index): (&Selection<'_>, usize),
        buffers: &mut Buffers,
    ) -> Option<bool> {
        let Buffers { pieces, cuts, values, histograms, .. } = buffers;
        let kind = selected.kind(index);
        if !parts::gains(job.function, kind) && !pieces.pieces.iter().any(is_whole) {
            return None;
        }
        let samples = &pieces.samples;
        if !samples.histograms.is_empty() || has_nan(&samples.values) {
            return None;
        }
        let windows = (segments, job.frame.ends.as_slice(), job.frame.range_ms);
        let overlaps = parts::evaluate(job.function, kind, windows, pieces, cuts, values)?;
        let labels = Labels::Of(Arc::clone(selected), index);
        self.remark_kind(job, &labels, kind, !pieces.pieces.is_empty());
        if overlaps {
            let place = Place { function: job.function, delta: false, span: job.span, labels: &labels };
            self.warn_overlap(&place);
        }
        self.warn_missing(job.span, &pieces.samples.missing);
        histograms.clear();
        if let Some(steps) = job.spread_over {
            spread(values, histograms, steps);
        }
        Some(!nothing(values, histograms))
    }

    /// All windows of a run; false where there is nothing in any.
    fn windows_of_run(
        &self,
        job: &WindowJob<'_>,
        run: &Run<'_, '_>,
        buffers: &mut Buffers,
    ) -> Result<bool, QueryError> {
        let WindowJob { function, frame, parameters, span, .. } = *job;
        let Buffers { values, histograms, windows, reaches, .. } = buffers;
        if let Some(kind) = run.kind {
            self.remark_kind(job, &run.labels, kind, !run.floats.times.is_empty());
        }
        histograms.clear();
        let delta = run.kind.is_some_and(SeriesKind::is_delta);
        let place = Place { function, delta, span, labels: &run.labels };
        // The sum of events within a window has no ends to look for.
        let events = delta && matches!(function, WindowFn::Rate | WindowFn::Increase);
        if let Some(extended) = frame.extended.filter(|_| !events) {
            self.extended_windows(extended, run, frame, &place, (values, histograms))?;
        } else {
            let (times, ends) = (run.floats.times, frame.ends.as_slice());
            let bounds = windows.get(run.version, |bounds| find_bounds(times, ends, frame.range_ms, bounds));
            let reaches = if function.is_extrapolated() && !events {
                reaches.get(run.version, |into| Reach::of_all(times, bounds, (ends, frame.range_ms), into))
            } else {
                &[][..]
            };
            let windows = Windows { floats: run.floats, ends, bounds, range_ms: frame.range_ms, reaches };
            evaluate(function, run.kind, &windows, parameters, values);
            self.warn_overlaps(run, frame, &place);
            if !run.histograms.times.is_empty() {
                self.mixed_windows(run, frame, &place, bounds, (values, histograms))?;
            }
        }
        if let Some(steps) = job.spread_over {
            spread(values, histograms, steps);
        }
        Ok(!nothing(values, histograms))
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
                        delta: run.kind.is_some_and(SeriesKind::is_delta),
                        span: matrix.span,
                        labels: &run.labels,
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
            self.budget.charge_points((floats.len() + histograms.len()) as u64)?;
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

    /// Says so where a function meets a kind that it is not made for.
    fn remark_kind(&self, job: &WindowJob<'_>, labels: &Labels<'_>, kind: SeriesKind, any: bool) {
        if !job.function.wants_counter() {
            return;
        }
        let seen = if kind.is_delta() { &job.deltas } else { &job.others };
        seen.store(true, Ordering::Relaxed);
        if any && job.function != WindowFn::Irate && kind == SeriesKind::Gauge {
            let labels = labels.get();
            let name = labels.metric_name();
            if !COUNTER_ENDINGS.iter().any(|ending| name.ends_with(ending)) {
                let text = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket";
                self.inform(job.span, format!("{text}: {name:?}"));
            }
        }
    }

    /// Says so where a function met series of kind delta beside others.
    fn remark_mixture(&self, function: &Function, job: &WindowJob<'_>) {
        if job.deltas.load(Ordering::Relaxed) && job.others.load(Ordering::Relaxed) {
            self.warn(
                Some(job.span),
                format!(
                    "{} met series of kind delta beside others; each was evaluated by its own kind",
                    function.name
                ),
            );
        }
    }

    /// Warns of quantiles that are none.
    pub(super) fn check_quantiles(&self, quantiles: &[f64], span: Span) {
        for &phi in quantiles {
            if !(0.0..=1.0).contains(&phi) {
                let phi = format_float(phi, FloatForm::Reply);
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
