//! `anchored` and `smoothed`: windows whose ends have values of their own.
//!
//! | at the window's | `anchored`                           | `smoothed`                                      |
//! |-----------------|--------------------------------------|-------------------------------------------------|
//! | start           | the latest sample at or before it    | on the line between the samples around it       |
//! | end             | the latest sample at or before it    | on the line between the samples around it       |
//!
//! Where there is no sample on the far side, the nearest one stands in. Nothing is extrapolated. A line of a counter
//! that is reset between its ends begins at zero.

use std::sync::Arc;

use annals_model::{Histogram, HistogramSum, ResetHint, Samples, TimeRange, Timestamp};

use super::column::{ABSENT, Charge, Grid, Histograms, histogram_bytes, nothing, set_histogram};
use super::labels::Labels;
use super::mixed::{Either, Outcome, Place, transitions};
use super::runs::{Frame, Run, Track};
use super::select::spread;
use super::window::WindowFn;
use super::{Evaluator, Sink, Streamed};
use crate::promql::ast::{Expr, Extended, Selector};
use crate::promql::error::QueryError;

/// What can lie on a line.
trait Value: Clone {
    /// Whether `self` can only follow `before` if counters began anew.
    fn is_reset_after(&self, before: &Self) -> bool;
    /// The value at a fraction of the way to `next`; `None` where there is no line between them.
    fn toward(&self, next: &Self, fraction: f64, counter: bool) -> Option<Self>;
}

impl Value for f64 {
    fn is_reset_after(&self, before: &f64) -> bool {
        self < before
    }

    fn toward(&self, next: &f64, fraction: f64, counter: bool) -> Option<f64> {
        let from = if counter && next < self { 0.0 } else { *self };
        Some(from + (next - from) * fraction)
    }
}

impl Value for Arc<Histogram> {
    fn is_reset_after(&self, before: &Arc<Histogram>) -> bool {
        Histogram::is_reset_after(self, before)
    }

    fn toward(&self, next: &Arc<Histogram>, fraction: f64, counter: bool) -> Option<Arc<Histogram>> {
        if self.is_custom() != next.is_custom() {
            return None;
        }
        if counter && Histogram::is_reset_after(next, self) {
            return Some(Arc::new(next.scaled(fraction)));
        }
        let (difference, _) = next.minus(self).ok()?;
        let (value, _) = self.plus(&difference.scaled(fraction)).ok()?;
        // Whether it follows a reset is seen in its buckets.
        let gauges = [self, next].iter().all(|own| own.reset_hint == ResetHint::Gauge);
        let reset_hint = if gauges { ResetHint::Gauge } else { ResetHint::Unknown };
        Some(Arc::new(Histogram { reset_hint, ..value }))
    }
}

/// The values at both ends of a window, and the samples strictly between that count.
struct Ends<'e, V> {
    left: V,
    right: V,
    /// Between the ends, oldest first.
    inner: &'e [V],
    /// The left value lies on a line that a reset broke: the next value follows it without one.
    left_after_reset: bool,
    /// Whether both ends are the same sample, or lie on the same line.
    one_piece: bool,
}

/// Why a window has no value.
enum NoEnds {
    Empty,
    /// A line would join exponential and custom buckets.
    Mixed,
}

fn ends<'e, V: Value>(
    samples: Track<'e, V>,
    (start, end): (i64, i64),
    extended: Extended,
    counter: bool,
) -> Result<Ends<'e, V>, NoEnds> {
    let times = samples.times;
    let smoothed = extended == Extended::Smoothed;
    let first = times.partition_point(|&time| time <= start).saturating_sub(1);
    let last = if smoothed {
        times.partition_point(|&time| time < end).min(times.len().saturating_sub(1))
    } else {
        times.partition_point(|&time| time <= end).checked_sub(1).ok_or(NoEnds::Empty)?
    };
    let sample = |index: usize| Some((*times.get(index)?, samples.values.get(index)?));
    let (first_time, first_value) = sample(first).ok_or(NoEnds::Empty)?;
    let (last_time, last_value) = sample(last).ok_or(NoEnds::Empty)?;
    if last_time <= start || first_time > end || first > last {
        return Err(NoEnds::Empty);
    }
    let line = |before: usize, time: i64| {
        let ((a, from), (b, to)) = sample(before).zip(sample(before + 1)).ok_or(NoEnds::Empty)?;
        let fraction = time.saturating_sub(a) as f64 / b.saturating_sub(a) as f64;
        let value = from.toward(to, fraction, counter).ok_or(NoEnds::Mixed)?;
        Ok((value, counter && to.is_reset_after(from)))
    };
    let (mut left, mut left_after_reset) = (first_value.clone(), false);
    if smoothed && first_time < start {
        (left, left_after_reset) = line(first, start)?;
    }
    let mut right = last_value.clone();
    if smoothed && last_time > end && last > 0 {
        (right, _) = line(last - 1, end)?;
    }
    let inner = samples.values.get(first + 1..last).unwrap_or_default();
    let one_piece = first == last || (left_after_reset && first + 1 == last);
    Ok(Ends { left, right, inner, left_after_reset, one_piece })
}

impl<V: Value> Ends<'_, V> {
    /// Calls with each value after which counters began anew.
    fn resets(&self, mut lost: impl FnMut(&V)) {
        let mut before = &self.left;
        for (index, own) in self.inner.iter().enumerate() {
            if !(index == 0 && self.left_after_reset) && own.is_reset_after(before) {
                lost(before);
            }
            before = own;
        }
        if !self.one_piece && self.right.is_reset_after(before) {
            lost(before);
        }
    }
}

impl<'a> Evaluator<'a> {
    /// A function over extended windows, for all steps of one series.
    pub(super) fn extended_windows(
        &self,
        extended: Extended,
        run: &Run<'_, '_>,
        frame: &Frame,
        place: &Place<'_>,
        (values, histograms): (&mut Vec<f64>, &mut Histograms),
    ) -> Result<(), QueryError> {
        let mut charge = Charge::none(self.budget);
        values.clear();
        for (step, &end) in frame.ends.iter().enumerate() {
            values.push(ABSENT);
            match self.extended_window(extended, run, (end, frame.range_ms), place) {
                Outcome::Nothing => {}
                Outcome::Float(float) => values[step] = float,
                Outcome::Histogram(histogram) => {
                    charge.add(histogram_bytes(&histogram))?;
                    set_histogram(histograms, frame.ends.len(), step, Some(histogram));
                }
            }
        }
        Ok(())
    }

    fn extended_window(
        &self,
        extended: Extended,
        run: &Run<'_, '_>,
        (end, range_ms): (i64, i64),
        place: &Place<'_>,
    ) -> Outcome {
        let start = end.saturating_sub(range_ms);
        let (floats, histograms) = self.around(extended, run, (start, end));
        if matches!(place.function, WindowFn::Changes | WindowFn::Resets) {
            return changes(floats, histograms, start, place.function);
        }
        if !floats.times.is_empty() && !histograms.times.is_empty() {
            self.warn_mixed_types(place);
            return Outcome::Nothing;
        }
        let counter = place.function != WindowFn::Delta;
        let seconds = if place.function == WindowFn::Rate { range_ms as f64 / 1000.0 } else { 1.0 };
        if histograms.times.is_empty() {
            let Ok(ends) = ends(floats, (start, end), extended, counter) else { return Outcome::Nothing };
            let mut increase = ends.right - ends.left;
            if counter {
                let mut correction = 0.0;
                ends.resets(|lost| correction += lost);
                increase += correction;
            }
            return Outcome::Float(increase / seconds);
        }
        self.histogram_increase(histograms, (start, end), extended, place)
            .map_or(Outcome::Nothing, |increase| Outcome::of(increase.divided(seconds)))
    }

    fn histogram_increase(
        &self,
        samples: Track<'_, Arc<Histogram>>,
        window: (i64, i64),
        extended: Extended,
        place: &Place<'_>,
    ) -> Option<Histogram> {
        let counter = place.function != WindowFn::Delta;
        let ends = match ends(samples, window, extended, counter) {
            Ok(ends) => ends,
            Err(NoEnds::Empty) => return None,
            Err(NoEnds::Mixed) => {
                self.warn_mixed_schemas(place.span, &place.name());
                return None;
            }
        };
        let gauge = |own: &Arc<Histogram>| own.reset_hint == ResetHint::Gauge;
        if counter && [&ends.left, &ends.right].into_iter().chain(ends.inner).any(gauge) {
            self.warn(
                Some(place.span),
                format!("this native histogram metric is not a counter: {:?}", &place.name()),
            );
        }
        if !(counter || gauge(&ends.left) && gauge(&ends.right)) {
            self.warn(
                Some(place.span),
                format!("this native histogram metric is not a gauge: {:?}", &place.name()),
            );
        }
        let custom = ends.right.is_custom();
        if ends.left.is_custom() != custom
            || (counter && ends.inner.iter().any(|own| own.is_custom() != custom))
        {
            self.warn_mixed_schemas(place.span, &place.name());
            return None;
        }
        let mut sum = HistogramSum::of(&ends.right);
        let added = sum.add(&ends.left.scaled(-1.0)).ok()?;
        self.remark_bounds(added, "subtraction", place.span);
        if counter {
            ends.resets(|lost| {
                if let Ok(added) = sum.add(lost) {
                    self.remark_bounds(added, "addition", place.span);
                }
            });
        }
        Some(Histogram { reset_hint: ResetHint::Gauge, ..sum.total() })
    }

    /// The samples of a window and those around it that its ends may look at.
    fn around<'r>(
        &self,
        extended: Extended,
        run: &Run<'r, '_>,
        (start, end): (i64, i64),
    ) -> (Track<'r, f64>, Track<'r, Arc<Histogram>>) {
        let earliest = start.saturating_sub(self.options.lookback_ms);
        let latest = match extended {
            Extended::Anchored => end,
            Extended::Smoothed => end.saturating_add(self.options.lookback_ms),
        };
        let bounds = |times: &[i64]| {
            let low = times.partition_point(|&time| time <= earliest);
            (low, times.partition_point(|&time| time <= latest).max(low))
        };
        let (mut floats, mut histograms) = (bounds(run.floats.times), bounds(run.histograms.times));
        // Only the latest sample at or before the start is looked at, whichever type it has.
        let anchor = |times: &[i64], (low, high): (usize, usize)| {
            let at = times.get(low..high).unwrap_or_default().partition_point(|&time| time <= start);
            at.checked_sub(1).map(|at| low + at)
        };
        let anchors = (anchor(run.floats.times, floats), anchor(run.histograms.times, histograms));
        let time = |times: &[i64], at: Option<usize>| at.and_then(|at| times.get(at).copied());
        let newer_float = time(run.floats.times, anchors.0) >= time(run.histograms.times, anchors.1);
        if let Some(at) = anchors.0 {
            floats.0 = if newer_float { at } else { at + 1 };
        }
        if let Some(at) = anchors.1 {
            histograms.0 = if newer_float { at + 1 } else { at };
        }
        // In the same way, only the earliest sample at or after the end.
        let beyond = |times: &[i64], (low, high): (usize, usize)| {
            let at = low + times.get(low..high).unwrap_or_default().partition_point(|&time| time < end);
            (at < high).then_some(at)
        };
        let beyonds = (beyond(run.floats.times, floats), beyond(run.histograms.times, histograms));
        let earlier_float = match (time(run.floats.times, beyonds.0), time(run.histograms.times, beyonds.1)) {
            (Some(float), Some(own)) => float <= own,
            (float, _) => float.is_some(),
        };
        if let Some(at) = beyonds.0 {
            floats.1 = if earlier_float { at + 1 } else { at };
        }
        if let Some(at) = beyonds.1 {
            histograms.1 = if earlier_float { at } else { at + 1 };
        }
        (run.floats.part(floats), run.histograms.part(histograms))
    }

    /// The samples of an extended window, with those that stand at its ends.
    #[expect(clippy::type_complexity, reason = "two lists of points")]
    pub(super) fn extended_samples(
        &self,
        extended: Extended,
        run: &Run<'_, '_>,
        (start, end): (i64, i64),
        place: &Place<'_>,
    ) -> (Vec<(i64, f64)>, Vec<(i64, Arc<Histogram>)>) {
        let (floats, histograms) = self.around(extended, run, (start, end));
        if !floats.times.is_empty() && !histograms.times.is_empty() {
            self.warn_mixed_types(place);
            return (Vec::new(), Vec::new());
        }
        (with_ends(floats, (start, end), extended), with_ends(histograms, (start, end), extended))
    }

    /// `selector smoothed`: values on the lines between samples.
    pub(super) fn stream_smoothed(
        &self,
        expr: &Expr,
        selector: &Selector,
        grid: Grid,
        sink: Sink<'_, 'a>,
    ) -> Result<(), QueryError> {
        let (shifted, fixed) = self.shifted(&selector.time, grid)?;
        let lookback_ms = self.options.lookback_ms;
        let range = TimeRange::new(
            Timestamp(shifted.start.saturating_sub(lookback_ms)),
            Timestamp(shifted.last().saturating_add(lookback_ms)),
        );
        let selected = self.select(selector, expr.span, range)?;
        let mut charge = Charge::none(self.budget);
        charge.add_column(grid.count)?;
        let mut samples = Samples::default();
        let (mut values, mut histograms) = (Vec::new(), Histograms::new());
        for index in 0..selected.len() {
            self.read(&*selected, index, expr.span, &mut samples)?;
            let labels = Labels::Of(Arc::clone(&selected), index);
            let place = Place { function: WindowFn::Last, delta: false, span: expr.span, labels: &labels };
            super::runs::drop_stale(&mut samples);
            values.clear();
            histograms.clear();
            for step in 0..shifted.count {
                values.push(ABSENT);
                match self.smoothed_at(&samples, shifted.time(step), &place) {
                    Outcome::Nothing => {}
                    Outcome::Float(float) => values[step] = float,
                    Outcome::Histogram(own) => {
                        charge.add(histogram_bytes(&own))?;
                        set_histogram(&mut histograms, shifted.count, step, Some(own));
                    }
                }
            }
            if fixed {
                spread(&mut values, &mut histograms, grid.count);
            }
            if !nothing(&values, &histograms) {
                sink(Streamed {
                    labels,
                    drop_name: false,
                    values: &mut values,
                    histograms: &mut histograms,
                })?;
            }
        }
        Ok(())
    }

    /// The value of a series at a time, between the samples around it.
    fn smoothed_at(&self, samples: &Samples, now: i64, place: &Place<'_>) -> Outcome {
        let lookback_ms = self.options.lookback_ms;
        let after = samples.timestamps.partition_point(|&time| time <= now);
        let sample = |at: usize| {
            let (&time, &value) = (samples.timestamps.get(at)?, samples.values.get(at)?);
            let either = match samples.histograms.get(at).and_then(Option::as_ref) {
                Some(own) => Either::Histogram(own),
                None => Either::Float(value),
            };
            Some((time, either))
        };
        let before = after.checked_sub(1).and_then(sample);
        let Some((time, before)) = before.filter(|(time, _)| *time > now.saturating_sub(lookback_ms)) else {
            return Outcome::Nothing;
        };
        let as_it_is = match before {
            Either::Float(value) => Outcome::Float(value),
            Either::Histogram(own) => Outcome::Histogram(Arc::clone(own)),
        };
        let next = sample(after).filter(|(next, _)| *next <= now.saturating_add(lookback_ms));
        let Some((next_time, next)) = next.filter(|_| time < now) else { return as_it_is };
        let fraction = now.saturating_sub(time) as f64 / next_time.saturating_sub(time) as f64;
        match (before, next) {
            (Either::Float(a), Either::Float(b)) => {
                a.toward(&b, fraction, false).map_or(Outcome::Nothing, Outcome::Float)
            }
            (Either::Histogram(a), Either::Histogram(b)) => {
                let counter = b.reset_hint != ResetHint::Gauge;
                match a.toward(b, fraction, counter) {
                    Some(value) => Outcome::Histogram(value),
                    None => {
                        self.warn_mixed_schemas(place.span, &place.name());
                        Outcome::Nothing
                    }
                }
            }
            _ => {
                self.warn_mixed_types(place);
                Outcome::Nothing
            }
        }
    }
}

/// `changes` and `resets` of an anchored window.
fn changes(
    floats: Track<'_, f64>,
    histograms: Track<'_, Arc<Histogram>>,
    start: i64,
    function: WindowFn,
) -> Outcome {
    if floats.times.last().max(histograms.times.last()).is_none_or(|&last| last <= start) {
        return Outcome::Nothing;
    }
    let floats = floats.times.iter().zip(floats.values).map(|(&time, &value)| (time, Either::Float(value)));
    let histograms =
        histograms.times.iter().zip(histograms.values).map(|(&time, own)| (time, Either::Histogram(own)));
    let mut samples: Vec<(i64, Either<'_>)> = floats.chain(histograms).collect();
    samples.sort_by_key(|(time, _)| *time);
    Outcome::Float(transitions(samples.into_iter().map(|(_, sample)| sample), function))
}

fn with_ends<V: Value>(samples: Track<'_, V>, window: (i64, i64), extended: Extended) -> Vec<(i64, V)> {
    let Ok(ends) = ends(samples, window, extended, false) else { return Vec::new() };
    let inside = samples.times.iter().zip(samples.values);
    let inside = inside.filter(|(time, _)| **time > window.0 && **time < window.1);
    let inside = inside.map(|(&time, value)| (time, value.clone()));
    std::iter::once((window.0, ends.left))
        .chain(inside)
        .chain(std::iter::once((window.1, ends.right)))
        .collect()
}
