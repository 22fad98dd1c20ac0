//! Functions over windows: one pass over a series' decoded samples gives all steps.
//!
//! Two cursors find each step's samples, those with stamps in `(end - range, end]`; both only move forward, because
//! steps ascend. What can be kept from step to step is kept: sums, means and spreads by [`Sliding`] folds, minima and
//! maxima by a monotonic queue, counts of changes and resets by running totals. Quantiles and regressions look at
//! each window anew.

use std::collections::VecDeque;

use annals_model::{START_UNKNOWN, SeriesKind};

use super::column::ABSENT;
use super::fold::{Fold, Mean, Sliding, Spread, Sum, quantile};
use super::runs::Track;

/// A function over windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WindowFn {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    Changes,
    Resets,
    Deriv,
    PredictLinear,
    Smoothing,
    Avg,
    Min,
    Max,
    Sum,
    Count,
    Quantile,
    Stddev,
    Stdvar,
    Last,
    First,
    Present,
    Mad,
    TsOfMax,
    TsOfMin,
    TsOfLast,
    TsOfFirst,
}

impl WindowFn {
    /// The function of that name, where it is one over windows.
    pub(super) fn of(name: &str) -> Option<WindowFn> {
        Some(match name {
            "rate" => WindowFn::Rate,
            "increase" => WindowFn::Increase,
            "delta" => WindowFn::Delta,
            "irate" => WindowFn::Irate,
            "idelta" => WindowFn::Idelta,
            "changes" => WindowFn::Changes,
            "resets" => WindowFn::Resets,
            "deriv" => WindowFn::Deriv,
            "predict_linear" => WindowFn::PredictLinear,
            "double_exponential_smoothing" => WindowFn::Smoothing,
            "avg_over_time" => WindowFn::Avg,
            "min_over_time" => WindowFn::Min,
            "max_over_time" => WindowFn::Max,
            "sum_over_time" => WindowFn::Sum,
            "count_over_time" => WindowFn::Count,
            "quantile_over_time" => WindowFn::Quantile,
            "stddev_over_time" => WindowFn::Stddev,
            "stdvar_over_time" => WindowFn::Stdvar,
            "last_over_time" => WindowFn::Last,
            "first_over_time" => WindowFn::First,
            "present_over_time" => WindowFn::Present,
            "mad_over_time" => WindowFn::Mad,
            "ts_of_max_over_time" => WindowFn::TsOfMax,
            "ts_of_min_over_time" => WindowFn::TsOfMin,
            "ts_of_last_over_time" => WindowFn::TsOfLast,
            "ts_of_first_over_time" => WindowFn::TsOfFirst,
            _ => return None,
        })
    }

    /// Whether the metric's name stays.
    pub(super) fn keeps_name(self) -> bool {
        matches!(self, WindowFn::Last | WindowFn::First)
    }

    /// Whether a step's value depends on more than its window.
    pub(super) fn sees_step(self) -> bool {
        matches!(self, WindowFn::PredictLinear | WindowFn::Quantile | WindowFn::Smoothing)
    }

    /// Whether what was sampled is carried on to the window's ends.
    pub(super) fn is_extrapolated(self) -> bool {
        matches!(self, WindowFn::Rate | WindowFn::Increase | WindowFn::Delta)
    }

    /// Whether it takes counters.
    pub(super) fn wants_counter(self) -> bool {
        matches!(self, WindowFn::Rate | WindowFn::Increase | WindowFn::Irate)
    }
}

/// One series' samples and, per step, the window's end and the samples within.
#[derive(Debug)]
pub(super) struct Windows<'w> {
    pub(super) floats: Track<'w, f64>,
    pub(super) ends: &'w [i64],
    /// Per step: index of the first sample within, and index past the last.
    pub(super) bounds: &'w [(usize, usize)],
    pub(super) range_ms: i64,
    /// Per step: how far what was sampled is from the window's ends; needed by `rate`, `increase` and `delta`.
    pub(super) reaches: &'w [Reach],
}

/// What a function takes besides the window, one entry per step.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    pub(super) first: Vec<f64>,
    pub(super) second: Vec<f64>,
    /// Evaluation times, which differ from window ends under `offset` and `@`.
    pub(super) step_times: Vec<i64>,
}

/// Finds each step's samples; `ends` must ascend.
pub(super) fn find_bounds(times: &[i64], ends: &[i64], range_ms: i64, bounds: &mut Vec<(usize, usize)>) {
    bounds.clear();
    let (mut low, mut high) = (0, 0);
    for &end in ends {
        let start = end.saturating_sub(range_ms);
        while times.get(high).is_some_and(|&time| time <= end) {
            high += 1;
        }
        while low < high && times.get(low).is_some_and(|&time| time <= start) {
            low += 1;
        }
        bounds.push((low, high));
    }
}

/// Evaluates a function for all steps.
pub(super) fn evaluate(
    function: WindowFn,
    kind: Option<SeriesKind>,
    windows: &Windows<'_>,
    parameters: &Parameters,
    out: &mut Vec<f64>,
) {
    out.clear();
    let delta_kind = kind.is_some_and(SeriesKind::is_delta);
    match function {
        WindowFn::Increase if delta_kind => sums(windows, out),
        WindowFn::Rate if delta_kind => {
            sums(windows, out);
            let seconds = windows.range_ms as f64 / 1000.0;
            out.iter_mut()
                .filter(|value| !super::column::is_absent(**value))
                .for_each(|value| *value /= seconds);
        }
        WindowFn::Rate => extrapolated(windows, true, true, out),
        WindowFn::Increase => extrapolated(windows, true, false, out),
        WindowFn::Delta => extrapolated(windows, false, false, out),
        WindowFn::Irate => windows.each(out, |w| w.last_two(true, delta_kind)),
        WindowFn::Idelta => windows.each(out, |w| w.last_two(false, false)),
        WindowFn::Changes => {
            counted(windows, out, |before, now| now != before && !(now.is_nan() && before.is_nan()));
        }
        WindowFn::Resets => counted(windows, out, |before, now| now < before),
        WindowFn::Deriv => windows.each(out, |w| {
            let intercept_ms = *w.floats.times.first()?;
            (w.floats.values.len() > 1).then(|| regression(&w, intercept_ms).0)
        }),
        WindowFn::PredictLinear => windows.each(out, |w| {
            let ahead = *parameters.first.get(w.step)?;
            let now = *parameters.step_times.get(w.step)?;
            (w.floats.values.len() > 1).then(|| {
                let (slope, intercept) = regression(&w, now);
                slope * ahead + intercept
            })
        }),
        WindowFn::Smoothing => windows.each(out, |w| {
            let (smoothing, trend) = (*parameters.first.get(w.step)?, *parameters.second.get(w.step)?);
            smoothed(w.floats.values, smoothing, trend)
        }),
        WindowFn::Sum => sums(windows, out),
        WindowFn::Avg => averages(windows, out),
        WindowFn::Stdvar => {
            slide(windows, |index| Spread::of(windows.floats.values[index]), |_, s| s.variance(), out);
        }
        WindowFn::Stddev => {
            slide(windows, |index| Spread::of(windows.floats.values[index]), |_, s| s.variance().sqrt(), out);
        }
        WindowFn::Min => extremes(windows, false, false, |index| windows.floats.values[index], out),
        WindowFn::Max => extremes(windows, true, false, |index| windows.floats.values[index], out),
        WindowFn::TsOfMin => {
            extremes(windows, false, true, |index| windows.floats.times[index] as f64 / 1000.0, out);
        }
        WindowFn::TsOfMax => {
            extremes(windows, true, true, |index| windows.floats.times[index] as f64 / 1000.0, out);
        }
        WindowFn::Count => windows.each(out, |w| Some(w.floats.values.len() as f64)),
        WindowFn::Present => windows.each(out, |_| Some(1.0)),
        WindowFn::Last => windows.each(out, |w| w.floats.values.last().copied()),
        WindowFn::First => windows.each(out, |w| w.floats.values.first().copied()),
        WindowFn::TsOfLast => windows.each(out, |w| w.floats.times.last().map(|&time| time as f64 / 1000.0)),
        WindowFn::TsOfFirst => {
            windows.each(out, |w| w.floats.times.first().map(|&time| time as f64 / 1000.0));
        }
        WindowFn::Quantile => {
            let mut sorted = Vec::new();
            windows.each(out, |w| {
                sorted.clear();
                sorted.extend_from_slice(w.floats.values);
                Some(quantile(*parameters.first.get(w.step)?, &mut sorted))
            });
        }
        WindowFn::Mad => {
            let mut sorted = Vec::new();
            windows.each(out, |w| {
                if w.floats.values.iter().any(|value| value.is_nan()) {
                    return Some(f64::NAN);
                }
                sorted.clear();
                sorted.extend_from_slice(w.floats.values);
                let median = quantile(0.5, &mut sorted);
                sorted.iter_mut().for_each(|value| *value = (*value - median).abs());
                Some(quantile(0.5, &mut sorted))
            });
        }
    }
}

/// One step's samples; never empty.
struct Window<'w> {
    step: usize,
    floats: Track<'w, f64>,
}

impl Windows<'_> {
    fn each(&self, out: &mut Vec<f64>, mut value: impl FnMut(Window<'_>) -> Option<f64>) {
        out.extend(self.bounds.iter().enumerate().map(|(step, &(low, high))| {
            if low == high {
                return ABSENT;
            }
            let window = Window { step, floats: self.floats.part((low, high)) };
            value(window).unwrap_or(ABSENT)
        }));
    }
}

impl Window<'_> {
    /// The difference of the last two samples, per second where a rate is asked for.
    fn last_two(&self, rate: bool, delta_kind: bool) -> Option<f64> {
        let &[.., before, now] = self.floats.values else { return None };
        let &[.., before_ms, now_ms] = self.floats.times else { return None };
        // After a reset a counter started at zero; a delta series starts at zero with every sample.
        let anew = delta_kind || now < before || self.floats.starts_anew(self.floats.times.len() - 1);
        let difference = if rate && anew { now } else { now - before };
        let seconds = now_ms.saturating_sub(before_ms) as f64 / 1000.0;
        Some(if rate { difference / seconds } else { difference })
    }
}

/// Folds each window, keeping what it shares with the one before.
fn slide<T: Fold>(
    windows: &Windows<'_>,
    leaf: impl Fn(usize) -> T,
    result: impl Fn((usize, usize), T) -> f64,
    out: &mut Vec<f64>,
) {
    let mut fold = Sliding::new();
    let (mut low, mut high) = (0, 0);
    for &(next_low, next_high) in windows.bounds {
        if next_low >= high {
            fold.clear();
            (low, high) = (next_low, next_low);
        }
        while high < next_high {
            fold.push(leaf(high));
            high += 1;
        }
        while low < next_low {
            fold.pop();
            low += 1;
        }
        out.push(fold.fold().map_or(ABSENT, |fold| result((next_low, next_high), fold)));
    }
}

fn sums(windows: &Windows<'_>, out: &mut Vec<f64>) {
    let result = |(low, high): (usize, usize), sum: Sum| {
        if sum.sum.is_finite() {
            return sum.total();
        }
        // Which infinity or NaN it is depends on the order of the terms: the order of time counts.
        let mut sum = Sum::default();
        windows.floats.values[low..high].iter().for_each(|&value| sum.add(value));
        sum.total()
    };
    slide(windows, |index| Sum::of(windows.floats.values[index]), result, out);
}

fn averages(windows: &Windows<'_>, out: &mut Vec<f64>) {
    let result = |(low, high): (usize, usize), sum: Sum| {
        if sum.sum.is_finite() {
            let count = (high - low) as f64;
            return sum.sum / count + sum.compensation / count;
        }
        let mut mean = Mean::default();
        windows.floats.values[low..high].iter().for_each(|&value| mean.add(value));
        mean.mean()
    };
    slide(windows, |index| Sum::of(windows.floats.values[index]), result, out);
}

/// How many neighbours within each window are in a relation.
fn counted(windows: &Windows<'_>, out: &mut Vec<f64>, relation: impl Fn(f64, f64) -> bool) {
    // `totals[n]`: pairs in relation whose later sample is among the first n + 1.
    let mut totals = Vec::with_capacity(windows.floats.values.len());
    let mut total = 0u64;
    totals.push(0);
    for pair in windows.floats.values.windows(2) {
        total += u64::from(relation(pair[0], pair[1]));
        totals.push(total);
    }
    out.extend(
        windows.bounds.iter().map(
            |&(low, high)| {
                if low == high { ABSENT } else { (totals[high - 1] - totals[low]) as f64 }
            },
        ),
    );
}

/// The least or greatest sample of each window: the front of a queue in which values only grow (or shrink).
fn extremes(
    windows: &Windows<'_>,
    greatest: bool,
    latest: bool,
    result: impl Fn(usize) -> f64,
    out: &mut Vec<f64>,
) {
    let mut queue: VecDeque<usize> = VecDeque::new();
    let mut entered = 0;
    for &(low, high) in windows.bounds {
        while entered < high {
            let value = windows.floats.values[entered];
            if !value.is_nan() {
                while let Some(&before) = queue.back() {
                    let before = windows.floats.values[before];
                    let stays = match (greatest, latest) {
                        (false, false) => before <= value,
                        (false, true) => before < value,
                        (true, false) => before >= value,
                        (true, true) => before > value,
                    };
                    if stays {
                        break;
                    }
                    queue.pop_back();
                }
                queue.push_back(entered);
            }
            entered += 1;
        }
        while queue.front().is_some_and(|&index| index < low) {
            queue.pop_front();
        }
        out.push(match queue.front() {
            _ if low == high => ABSENT,
            Some(&index) => result(index),
            // Nothing but NaN: the last one stands for all.
            None => result(high - 1),
        });
    }
}

/// Prometheus' `rate`, `increase` and `delta`: the difference of first and last sample, resets made good, carried
/// on to the window's ends where samples come close to them.
fn extrapolated(windows: &Windows<'_>, counter: bool, rate: bool, out: &mut Vec<f64>) {
    let floats = windows.floats;
    // The samples at which a counter was reset, and what it had reached before.
    let mut resets: Vec<(usize, f64)> = Vec::new();
    if counter {
        find_resets(floats, &mut resets);
    }
    let seconds = windows.range_ms as f64 / 1000.0;
    let mut correction = Sliding::new();
    let (mut entered, mut left) = (0, 0);
    out.reserve(windows.bounds.len());
    for ((&(low, high), &end), reach) in windows.bounds.iter().zip(windows.ends).zip(windows.reaches) {
        while let Some(&(_, before)) = resets.get(entered).filter(|(index, _)| *index < high) {
            correction.push(Sum::of(before));
            entered += 1;
        }
        while left < entered && resets[left].0 <= low {
            correction.pop();
            left += 1;
        }
        if low == high {
            out.push(ABSENT);
            continue;
        }
        let (first, last) = (floats.values[low], floats.values[high - 1]);
        let made_good = if resets.is_empty() { 0.0 } else { correction.fold().map_or(0.0, Sum::total) };
        let mut increase = last - first + made_good;
        if counter && !floats.starts.is_empty() {
            let part = floats.part((low, high));
            let window_start = end.saturating_sub(windows.range_ms);
            let begins = Begins::of(part.start(0), floats.times[low], window_start);
            if let Begins::Within(_) = begins {
                increase += first;
            }
            let zero = (increase > 0.0 && first >= 0.0).then(|| first / increase);
            let sampled = (floats.times[low], floats.times[high - 1], high - low);
            let factor = extrapolation(sampled, (end, windows.range_ms), begins, rate, zero);
            out.push(factor.map_or(ABSENT, |factor| increase * factor));
            continue;
        }
        if !reach.is_some() {
            out.push(ABSENT);
            continue;
        }
        let falling_short = counter && increase > 0.0 && first >= 0.0 && reach.may_meet_zero(first, increase);
        let factor = reach.factor(falling_short.then(|| first / increase));
        out.push(increase * if rate { factor / seconds } else { factor });
    }
}

/// Finds the samples at which a counter was reset, and what it had reached before.
fn find_resets(floats: Track<'_, f64>, resets: &mut Vec<(usize, f64)>) {
    const STRIDE: usize = 128;
    let values = floats.values;
    for start in (1..values.len()).step_by(STRIDE) {
        let end = (start + STRIDE).min(values.len());
        let (before, now) = (&values[start - 1..end - 1], &values[start..end]);
        // First without a branch: most strides have none.
        if floats.starts.is_empty() && !before.iter().zip(now).fold(false, |falls, (a, b)| falls | (b < a)) {
            continue;
        }
        let is_reset = |&index: &usize| values[index] < values[index - 1] || floats.starts_anew(index);
        resets.extend((start..end).filter(is_reset).map(|index| (index, values[index - 1])));
    }
}

/// What was sampled of a window, and how far it is to the window's ends, in seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    sampled: f64,
    to_start: f64,
    to_end: f64,
    /// By how much the difference of first and last sample is carried on, where the start does not come too early.
    factor: f64,
}

impl Reach {
    /// Where there are too few samples.
    const NONE: Reach = Reach { sampled: 0.0, to_start: 0.0, to_end: 0.0, factor: f64::NAN };

    /// Of so many samples, the first and last of them at these times, in a window; `None` where they are too few.
    pub(super) fn of((first, last, count): (i64, i64, u64), window: (i64, i64)) -> Option<Reach> {
        Reach::between((first, first, last), count.checked_sub(1)?, window, true)
    }

    /// Per window: of the samples within.
    pub(super) fn of_all(
        times: &[i64],
        bounds: &[(usize, usize)],
        (ends, range_ms): (&[i64], i64),
        into: &mut Vec<Reach>,
    ) {
        into.clear();
        into.extend(bounds.iter().zip(ends).map(|(&(low, high), &end)| {
            let within = times.get(low..high).unwrap_or_default();
            let ends = within.first().zip(within.last());
            ends.and_then(|(&first, &last)| Reach::of((first, last, within.len() as u64), (end, range_ms)))
                .unwrap_or(Reach::NONE)
        }));
    }

    fn is_some(&self) -> bool {
        !self.factor.is_nan()
    }

    /// Of what was counted from `from` on, the first sample being at `first`, with so many gaps between.
    fn between(
        (from, first, last): (i64, i64, i64),
        gaps: u64,
        (end, range_ms): (i64, i64),
        open: bool,
    ) -> Option<Reach> {
        if gaps == 0 {
            return None;
        }
        let sampled = last.saturating_sub(from) as f64 / 1000.0;
        let average = sampled / gaps as f64;
        let threshold = average * 1.1;
        let mut to_end = end.saturating_sub(last) as f64 / 1000.0;
        if to_end >= threshold {
            to_end = average / 2.0;
        }
        let mut to_start = 0.0;
        if open {
            to_start = first.saturating_sub(end.saturating_sub(range_ms)) as f64 / 1000.0;
            if to_start >= threshold {
                to_start = average / 2.0;
            }
        }
        Some(Reach { sampled, to_start, to_end, factor: (sampled + to_start + to_end) / sampled })
    }

    /// Whether a counter that grew so much from `first` may have been zero within the reach of its start: not surely not.
    fn may_meet_zero(&self, first: f64, increase: f64) -> bool {
        // Twice as far as it must be: well beyond what rounding could hide.
        first * self.sampled < 2.0 * self.to_start * increase
    }

    /// By how much the difference of first and last sample is carried on to the window's ends. A counter was not below
    /// zero: it started where its slope meets zero, or later; `zero` is how far before the first sample that is, in lengths
    /// of what was sampled.
    pub(super) fn factor(&self, zero: Option<f64>) -> f64 {
        let Some(zero) = zero else { return self.factor };
        let to_start = self.to_start.min(self.sampled * zero);
        (self.sampled + to_start + self.to_end) / self.sampled
    }
}

/// Where a window's first sample says that it began to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    /// Before the window, or nobody knows.
    Before,
    /// In the window, at zero.
    Within(i64),
    /// With itself: what was before it is not known, but it is not carried on to the left.
    Here,
}

impl Begins {
    /// By the start of the first sample, and its time.
    pub(super) fn of(start: i64, first: i64, window_start: i64) -> Begins {
        match start {
            START_UNKNOWN => Begins::Before,
            start if start > first || start <= window_start => Begins::Before,
            start if start == first => Begins::Here,
            start => Begins::Within(start),
        }
    }
}

/// By how much the difference of first and last of so many samples is carried on to the window's ends; `None` where there
/// are too few. A counter was not below zero: it started where its slope meets zero, or later; `zero` is how far before
/// the first sample that is, in lengths of what was sampled.
pub(super) fn extrapolation(
    (first, last, count): (i64, i64, usize),
    (end, range_ms): (i64, i64),
    begins: Begins,
    rate: bool,
    zero: Option<f64>,
) -> Option<f64> {
    // A beginning in the window counts as a sample of zero.
    let (from, gaps) = match begins {
        Begins::Within(start) => (start, count),
        Begins::Before | Begins::Here => (first, count.checked_sub(1)?),
    };
    let open = begins == Begins::Before;
    let reach = Reach::between((from, first, last), gaps as u64, (end, range_ms), open)?;
    let factor = reach.factor(zero.filter(|_| open));
    Some(if rate { factor / (range_ms as f64 / 1000.0) } else { factor })
}

/// Slope per second and value at a time, of the line of least squares.
fn regression(window: &Window<'_>, intercept_ms: i64) -> (f64, f64) {
    let first = window.floats.values.first().copied().unwrap_or(f64::NAN);
    if window.floats.values.iter().all(|&value| value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) =
        (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for (&time, &y) in window.floats.times.iter().zip(window.floats.values) {
        let x = time.saturating_sub(intercept_ms) as f64 / 1000.0;
        x_sum.add(x);
        y_sum.add(y);
        xy_sum.add(x * y);
        xx_sum.add(x * x);
    }
    let count = window.floats.values.len() as f64;
    let (x, y) = (x_sum.total(), y_sum.total());
    let slope = (xy_sum.total() - x * y / count) / (xx_sum.total() - x * x / count);
    (slope, y / count - slope * x / count)
}

/// Double exponential smoothing; the factors were checked to lie between 0 and 1.
fn smoothed(values: &[f64], smoothing: f64, trend_factor: f64) -> Option<f64> {
    let (&first, &second) = (values.first()?, values.get(1)?);
    let (mut before, mut level, mut trend) = (0.0, first, second - first);
    for (index, &value) in values.iter().enumerate().skip(1) {
        if index > 1 {
            trend = trend_factor * (level - before) + (1.0 - trend_factor) * trend;
        }
        let next = smoothing * value + (1.0 - smoothing) * (level + trend);
        (before, level) = (level, next);
    }
    Some(level)
}
