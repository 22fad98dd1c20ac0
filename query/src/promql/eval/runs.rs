//! What windows look into: one series' samples over all the time that any window needs, floats and histograms apart.

use std::sync::Arc;

use annals_model::{
    Histogram, ResetHint, START_UNKNOWN, Samples, SeriesKind, TimeRange, Timestamp, is_stale, starts_anew,
    starts_overlap,
};

use super::column::{Charge, Grid, Histograms, histogram_at, is_absent};
use super::labels::{Labels, Selection};
use super::{Evaluator, Hints, not_evaluated};
use crate::promql::ast::{DurationExpr, Expr, ExprKind, Extended, Selector, Subquery};
use crate::promql::error::{PromqlError, QueryError, Span};

/// Samples of one type: times ascending, values, and where known when each began to count (else empty).
#[derive(Debug)]
pub(super) struct Track<'r, T> {
    pub(super) times: &'r [i64],
    pub(super) values: &'r [T],
    pub(super) starts: &'r [i64],
}

impl<T> Clone for Track<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Track<'_, T> {}

impl<'r, T> Track<'r, T> {
    /// Part of it, by index.
    pub(super) fn part(self, (low, high): (usize, usize)) -> Track<'r, T> {
        let starts = if self.starts.is_empty() { self.starts } else { &self.starts[low..high] };
        Track { times: &self.times[low..high], values: &self.values[low..high], starts }
    }

    /// When a sample began to count; 0 where that is not known.
    pub(super) fn start(self, index: usize) -> i64 {
        self.starts.get(index).copied().unwrap_or(START_UNKNOWN)
    }

    /// Whether a sample says by its start that counting began anew since the one before it.
    pub(super) fn starts_anew(self, index: usize) -> bool {
        self.neighbours(index).is_some_and(|(before, own)| starts_anew(before, own))
    }

    /// Whether a sample's start lies within what the one before it counted.
    pub(super) fn overlaps(self, index: usize) -> bool {
        self.neighbours(index).is_some_and(|(before, own)| starts_overlap(before, own))
    }

    /// Time and start of the sample before, and of this one.
    fn neighbours(self, index: usize) -> Option<((i64, i64), (i64, i64))> {
        let begun = |index: usize| Some((*self.times.get(index)?, self.start(index)));
        begun(index.checked_sub(1)?).zip(begun(index))
    }
}

/// One series' samples, of a selector or a subquery.
pub(super) struct Run<'r, 'a> {
    pub(super) labels: Labels<'a>,
    pub(super) drop_name: bool,
    /// Of its floats' timestamps, where other series may have the same.
    pub(super) version: Option<u64>,
    /// The kind of a selected series; values of a subquery have none.
    pub(super) kind: Option<SeriesKind>,
    pub(super) floats: Track<'r, f64>,
    pub(super) histograms: Track<'r, Arc<Histogram>>,
}

/// The windows that a function sees: their ends, and their length.
pub(super) struct Frame {
    pub(super) ends: Vec<i64>,
    pub(super) range_ms: i64,
    /// One window stands for all steps.
    pub(super) fixed: bool,
    /// How values at a window's ends are found.
    pub(super) extended: Option<Extended>,
}

/// Floats and histograms of a series that has both, taken apart; kept for its memory.
#[derive(Default)]
pub(super) struct Apart {
    times: Vec<i64>,
    values: Vec<f64>,
    starts: Vec<i64>,
    histogram_times: Vec<i64>,
    histograms: Vec<Arc<Histogram>>,
    histogram_starts: Vec<i64>,
}

impl Apart {
    fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.starts.clear();
        self.histogram_times.clear();
        self.histograms.clear();
        self.histogram_starts.clear();
    }

    fn push(&mut self, time: i64, value: f64, histogram: Option<&Arc<Histogram>>, start: Option<i64>) {
        match histogram {
            Some(histogram) => {
                self.histogram_times.push(time);
                self.histograms.push(Arc::clone(histogram));
                self.histogram_starts.extend(start);
            }
            None => {
                self.times.push(time);
                self.values.push(value);
                self.starts.extend(start);
            }
        }
    }

    fn floats(&self) -> Track<'_, f64> {
        Track { times: &self.times, values: &self.values, starts: &self.starts }
    }

    fn histograms(&self) -> Track<'_, Arc<Histogram>> {
        Track { times: &self.histogram_times, values: &self.histograms, starts: &self.histogram_starts }
    }
}

impl<'a> Evaluator<'a> {
    pub(super) fn frame(&self, matrix: &Expr, grid: Grid) -> Result<Frame, QueryError> {
        let (time, range, extended) = match &matrix.unparen().kind {
            ExprKind::Matrix(selector, range) => (&selector.time, range, selector.extended),
            ExprKind::Subquery(subquery) => (&subquery.time, &subquery.range, None),
            _ => return Err(not_evaluated(matrix.span, "this range vector")),
        };
        let (shifted, fixed) = self.shifted(time, grid)?;
        let range_ms = self.length_ms(range)?;
        let ends = (0..shifted.count).map(|step| shifted.time(step)).collect();
        Ok(Frame { ends, range_ms, fixed, extended })
    }

    /// The samples of each series that any window could hold.
    pub(super) fn stream_runs(
        &self,
        matrix: &Expr,
        grid: Grid,
        sink: &mut dyn FnMut(Run<'_, 'a>) -> Result<(), QueryError>,
    ) -> Result<(), QueryError> {
        let (selector, range) = match &matrix.unparen().kind {
            ExprKind::Matrix(selector, range) => (selector, range),
            ExprKind::Subquery(subquery) => return self.stream_subquery(matrix.span, subquery, grid, sink),
            _ => return Err(not_evaluated(matrix.span, "this range vector")),
        };
        let selected = self.select(selector, matrix.span, self.needed(selector, range, grid)?)?;
        let (mut samples, mut apart) = (Samples::default(), Apart::default());
        for index in 0..selected.len() {
            if self.read(&*selected, index, matrix.span, &mut samples)? {
                drop_stale(&mut samples);
            }
            sink(run_of(&selected, index, &samples, &mut apart))?;
        }
        Ok(())
    }

    /// The time in which samples of any window lie.
    pub(super) fn needed(
        &self,
        selector: &Selector,
        range: &DurationExpr,
        grid: Grid,
    ) -> Result<TimeRange, QueryError> {
        let (shifted, _) = self.shifted(&selector.time, grid)?;
        let mut back_ms = self.length_ms(range)?;
        let mut last = shifted.last();
        // Extended windows also see what lies around them, as far as a selector at their ends would.
        if selector.extended.is_some() {
            back_ms = back_ms.saturating_add(self.options.lookback_ms);
        }
        if selector.extended == Some(Extended::Smoothed) {
            last = last.saturating_add(self.options.lookback_ms);
        }
        Ok(TimeRange::new(Timestamp(shifted.start.saturating_sub(back_ms)), Timestamp(last)))
    }

    fn stream_subquery(
        &self,
        span: Span,
        subquery: &Subquery,
        grid: Grid,
        sink: &mut dyn FnMut(Run<'_, 'a>) -> Result<(), QueryError>,
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
        let mut apart = Apart::default();
        let hints = self.hints.replace(Hints::AsStored);
        let result = self.stream(&subquery.expr, inner, &mut |series| {
            apart.clear();
            let mut charge = Charge::none(self.budget);
            charge.add_histograms(series.histograms)?;
            forget_resets(series.histograms);
            for (step, &value) in series.values.iter().enumerate() {
                let histogram = histogram_at(series.histograms, step);
                if histogram.is_some() || !is_absent(value) {
                    apart.push(inner.time(step), value, histogram, None);
                }
            }
            sink(Run {
                labels: series.labels,
                drop_name: series.drop_name,
                version: None,
                kind: None,
                floats: apart.floats(),
                histograms: apart.histograms(),
            })
        });
        self.hints.set(hints);
        result
    }
}

/// A selected series' samples, none of which is a stale marker, as windows see them.
pub(super) fn run_of<'r, 'a>(
    selected: &Selection<'a>,
    index: usize,
    samples: &'r Samples,
    apart: &'r mut Apart,
) -> Run<'r, 'a> {
    let mut run = Run {
        labels: Labels::Of(Arc::clone(selected), index),
        drop_name: false,
        version: samples.histograms.is_empty().then(|| samples.stamps.version()),
        kind: Some(selected.kind(index)),
        floats: Track { times: &samples.timestamps, values: &samples.values, starts: &samples.start_times },
        histograms: Track { times: &[], values: &[], starts: &[] },
    };
    if !samples.histograms.is_empty() {
        apart.clear();
        for (at, (&time, &value)) in samples.timestamps.iter().zip(&samples.values).enumerate() {
            let histogram = samples.histograms.get(at).and_then(Option::as_ref);
            apart.push(time, value, histogram, samples.start_times.get(at).copied());
        }
        (run.floats, run.histograms) = (apart.floats(), apart.histograms());
    }
    run
}

/// Steps leave samples out, so what a histogram knows of the one before it says nothing of the step before.
fn forget_resets(histograms: &mut Histograms) {
    // Steps that show one sample go on sharing it.
    let mut latest: Option<(Arc<Histogram>, Arc<Histogram>)> = None;
    for histogram in histograms.iter_mut().flatten() {
        if !matches!(histogram.reset_hint, ResetHint::Reset | ResetHint::NotReset) {
            continue;
        }
        let forgotten = match &latest {
            Some((own, forgotten)) if Arc::ptr_eq(own, histogram) => Arc::clone(forgotten),
            _ => Arc::new(Histogram { reset_hint: ResetHint::Unknown, ..Histogram::clone(histogram) }),
        };
        latest = Some((Arc::clone(histogram), Arc::clone(&forgotten)));
        *histogram = forgotten;
    }
}

/// Windows hold samples, not the marks that a series ended.
pub(super) fn drop_stale(samples: &mut Samples) {
    if !samples.values.iter().any(|&value| is_stale(value)) {
        return;
    }
    samples.stamps.set(&[]);
    let stale: Vec<bool> = samples.values.iter().map(|&value| is_stale(value)).collect();
    let keep = |at: &mut usize| {
        *at += 1;
        !stale.get(*at - 1).copied().unwrap_or_default()
    };
    let (mut a, mut b, mut c, mut d) = (0, 0, 0, 0);
    samples.timestamps.retain(|_| keep(&mut a));
    samples.values.retain(|_| keep(&mut b));
    samples.histograms.retain(|_| keep(&mut c));
    samples.start_times.retain(|_| keep(&mut d));
}
