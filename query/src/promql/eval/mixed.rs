//! Functions over windows that hold native histograms, alone or beside floats.
//!
//! | functions                                                   | floats and histograms in one window               |
//! |-------------------------------------------------------------|---------------------------------------------------|
//! | `sum`, `avg`, `rate`, `increase`, `delta`, `irate`, `idelta` | no result, and a warning                         |
//! | `last`, `first`, `count`, `present`, `changes`, `resets`    | both count, in the order of time                  |
//! | all others                                                  | histograms are ignored, and an info says so       |

use std::sync::Arc;

use annals_model::{Added, Histogram, HistogramSum, ResetHint};

use super::Evaluator;
use super::column::{ABSENT, Charge, Histograms, histogram_bytes, is_absent, set_histogram};
use super::labels::Labels;
use super::runs::{Frame, Run, Track};
use super::window::{Begins, WindowFn, extrapolation, find_bounds};
use crate::promql::error::{QueryError, Span};

/// Which call it is that looks at which metric.
pub(super) struct Place<'p> {
    pub(super) function: WindowFn,
    /// The series counts events, one cell per sample.
    pub(super) delta: bool,
    pub(super) span: Span,
    pub(super) labels: &'p Labels<'p>,
}

impl Place<'_> {
    /// The metric's name.
    pub(super) fn name(&self) -> String {
        self.labels.get().metric_name().to_owned()
    }
}

/// What a window gives.
pub(super) enum Outcome {
    Nothing,
    Float(f64),
    Histogram(Histogram),
}

/// A sample of either type.
#[derive(Clone, Copy)]
pub(super) enum Either<'e> {
    Float(f64),
    Histogram(&'e Arc<Histogram>),
}

/// The samples of both tracks in the order of time.
fn in_order<'e>(
    floats: Track<'e, f64>,
    histograms: Track<'e, Arc<Histogram>>,
) -> impl Iterator<Item = (i64, Either<'e>)> {
    let mut floats = floats.times.iter().zip(floats.values).peekable();
    let mut histograms = histograms.times.iter().zip(histograms.values).peekable();
    std::iter::from_fn(move || {
        let before = match (floats.peek(), histograms.peek()) {
            (Some((float, _)), Some((histogram, _))) => float <= histogram,
            (float, _) => float.is_some(),
        };
        if before {
            floats.next().map(|(&time, &value)| (time, Either::Float(value)))
        } else {
            histograms.next().map(|(&time, own)| (time, Either::Histogram(own)))
        }
    })
}

impl Evaluator<'_> {
    /// Completes the columns that floats alone have given.
    pub(super) fn mixed_windows(
        &self,
        run: &Run<'_, '_>,
        frame: &Frame,
        place: &Place<'_>,
        bounds: &[(usize, usize)],
        (values, histograms): (&mut [f64], &mut Histograms),
    ) -> Result<(), QueryError> {
        let mut charge = Charge::none(self.budget);
        let mut own_bounds = Vec::new();
        find_bounds(run.histograms.times, &frame.ends, frame.range_ms, &mut own_bounds);
        let steps = values.len();
        for (step, (value, (&floats, &own))) in
            values.iter_mut().zip(bounds.iter().zip(&own_bounds)).enumerate()
        {
            if own.0 == own.1 {
                continue;
            }
            let end = frame.ends.get(step).copied().unwrap_or_default();
            let window = (run.floats.part(floats), run.histograms.part(own));
            match self.mixed_window(window, (end, frame.range_ms), *value, place) {
                Outcome::Nothing => *value = ABSENT,
                Outcome::Float(float) => *value = float,
                Outcome::Histogram(histogram) => {
                    *value = ABSENT;
                    charge.add(histogram_bytes(&histogram))?;
                    set_histogram(histograms, steps, step, Some(Arc::new(histogram)));
                }
            }
        }
        Ok(())
    }

    /// One window that holds at least one histogram; `of_floats` is what its floats give.
    fn mixed_window(
        &self,
        (floats, histograms): (Track<'_, f64>, Track<'_, Arc<Histogram>>),
        window: (i64, i64),
        of_floats: f64,
        place: &Place<'_>,
    ) -> Outcome {
        let latest_is_float = || floats.times.last() > histograms.times.last();
        let earliest_is_float = || {
            floats.times.first().is_some_and(|float| histograms.times.first().is_none_or(|own| float < own))
        };
        let seconds = |ms: Option<&i64>| ms.map_or(ABSENT, |&ms| ms as f64 / 1000.0);
        let either = |float: bool, own: Option<&Arc<Histogram>>| match own {
            _ if float => Outcome::Float(of_floats),
            Some(own) => Outcome::Histogram(Histogram::clone(own)),
            None => Outcome::Nothing,
        };
        match place.function {
            WindowFn::Last => either(latest_is_float(), histograms.values.last()),
            WindowFn::First => either(earliest_is_float(), histograms.values.first()),
            WindowFn::TsOfLast => Outcome::Float(seconds(floats.times.last().max(histograms.times.last()))),
            WindowFn::TsOfFirst => {
                let first = if earliest_is_float() { floats.times.first() } else { histograms.times.first() };
                Outcome::Float(seconds(first))
            }
            WindowFn::Count => Outcome::Float((floats.values.len() + histograms.values.len()) as f64),
            WindowFn::Present => Outcome::Float(1.0),
            WindowFn::Changes | WindowFn::Resets => {
                let samples = in_order(floats, histograms).map(|(_, sample)| sample);
                Outcome::Float(transitions(samples, place.function))
            }
            WindowFn::Irate | WindowFn::Idelta => self.last_two(floats, histograms, place),
            WindowFn::Sum | WindowFn::Avg | WindowFn::Rate | WindowFn::Increase | WindowFn::Delta => {
                if !floats.values.is_empty() {
                    self.warn_mixed_types(place);
                    return Outcome::Nothing;
                }
                match place.function {
                    WindowFn::Sum | WindowFn::Avg => self.sum_of_histograms(histograms.values, place),
                    WindowFn::Increase if place.delta => self.sum_of_histograms(histograms.values, place),
                    WindowFn::Rate if place.delta => match self.sum_of_histograms(histograms.values, place) {
                        Outcome::Histogram(sum) => Outcome::Histogram(sum.divided(window.1 as f64 / 1000.0)),
                        other => other,
                    },
                    _ => self.rate_of_histograms(histograms, window, place),
                }
            }
            _ => {
                if !floats.values.is_empty() {
                    let text = "ignored histograms in a range containing both floats and histograms";
                    self.inform(place.span, named(text, &place.name()));
                }
                if is_absent(of_floats) { Outcome::Nothing } else { Outcome::Float(of_floats) }
            }
        }
    }

    /// `sum_over_time` and `avg_over_time`.
    fn sum_of_histograms(&self, histograms: &[Arc<Histogram>], place: &Place<'_>) -> Outcome {
        let mut sum = HistogramMean::default();
        for histogram in histograms {
            let added =
                if place.function == WindowFn::Avg { sum.add(histogram) } else { sum.add_plainly(histogram) };
            match added {
                Some(added) => {
                    self.remark_bounds(added, "aggregation", place.span);
                }
                None => {
                    self.warn_mixed_schemas(place.span, &place.name());
                    return Outcome::Nothing;
                }
            }
        }
        if sum.resets_collided() {
            self.warn_collision("aggregation", place.span);
        }
        let result = if place.function == WindowFn::Avg { sum.mean() } else { sum.sum() };
        result.map_or(Outcome::Nothing, Outcome::Histogram)
    }

    /// `rate`, `increase` and `delta`.
    fn rate_of_histograms(
        &self,
        samples: Track<'_, Arc<Histogram>>,
        window: (i64, i64),
        place: &Place<'_>,
    ) -> Outcome {
        let counter = place.function != WindowFn::Delta;
        let begins =
            if counter { Begins::of(samples, window.0.saturating_sub(window.1)) } else { Begins::Before };
        let zero_start = matches!(begins, Begins::Within(_));
        if samples.values.len() < 2 && !zero_start {
            return Outcome::Nothing;
        }
        let Some(mut increase) = self.difference(samples, counter, place) else { return Outcome::Nothing };
        let Some(first) = samples.values.first() else { return Outcome::Nothing };
        if zero_start {
            match increase.plus(first) {
                Ok((sum, _)) => increase = Histogram { reset_hint: ResetHint::Gauge, ..sum },
                Err(_) => {
                    self.warn_mixed_schemas(place.span, &place.name());
                    return Outcome::Nothing;
                }
            }
        }
        let zero =
            (counter && increase.count > 0.0 && first.count >= 0.0).then(|| first.count / increase.count);
        let rate = place.function == WindowFn::Rate;
        match extrapolation(samples.times, window, begins, rate, zero) {
            Some(factor) => Outcome::Histogram(increase.scaled(factor)),
            None => Outcome::Nothing,
        }
    }

    /// Last less first, resets made good; a gauge.
    fn difference(
        &self,
        samples: Track<'_, Arc<Histogram>>,
        counter: bool,
        place: &Place<'_>,
    ) -> Option<Histogram> {
        let (first, last) = (samples.values.first()?, samples.values.last()?);
        let gauge = |histogram: &Histogram| histogram.reset_hint == ResetHint::Gauge;
        if counter && samples.values.iter().any(|own| gauge(own)) {
            self.warn(
                Some(place.span),
                format!("this native histogram metric is not a counter: {:?}", &place.name()),
            );
        }
        if !(counter || gauge(first) && gauge(last)) {
            self.warn(
                Some(place.span),
                format!("this native histogram metric is not a gauge: {:?}", &place.name()),
            );
        }
        let anew = |index: usize, before: &Histogram| {
            samples.starts_anew(index)
                || samples.values.get(index).is_some_and(|own| own.is_reset_after(before))
        };
        // What lies before a reset adds nothing of its own, so its buckets need not fit those after.
        let mut before: Arc<Histogram> = Arc::clone(first);
        if let Some(second) = samples.values.get(1).filter(|_| counter && anew(1, first)) {
            before = Arc::new(Histogram {
                schema: second.schema,
                custom_bounds: Arc::clone(&second.custom_bounds),
                ..Histogram::default()
            });
        }
        let custom = before.is_custom();
        let inner = samples.values.get(1..).unwrap_or_default();
        let looked_at = if counter { inner } else { std::slice::from_ref(last) };
        if looked_at.iter().any(|own| own.is_custom() != custom) {
            self.warn_mixed_schemas(place.span, &place.name());
            return None;
        }
        let mut sum = HistogramSum::of(last);
        let negative = Histogram { reset_hint: before.reset_hint, ..before.scaled(-1.0) };
        let added = sum.add(&negative).ok()?;
        self.remark_bounds(added, "subtraction", place.span);
        if counter {
            for (index, own) in samples.values.iter().enumerate().skip(1) {
                if anew(index, &before) {
                    let added = sum.add(&before).ok()?;
                    self.remark_bounds(added, "addition", place.span);
                }
                before = Arc::clone(own);
            }
        }
        Some(Histogram { reset_hint: ResetHint::Gauge, ..sum.total() })
    }

    /// `irate` and `idelta`.
    fn last_two(
        &self,
        floats: Track<'_, f64>,
        histograms: Track<'_, Arc<Histogram>>,
        place: &Place<'_>,
    ) -> Outcome {
        let rate = place.function == WindowFn::Irate;
        let mut two: [Option<(i64, Either<'_>)>; 2] = [None, None];
        for sample in in_order(floats, histograms) {
            two = [two[1], Some(sample)];
        }
        let [Some((before_ms, before)), Some((now_ms, now))] = two else { return Outcome::Nothing };
        let seconds = now_ms.saturating_sub(before_ms) as f64 / 1000.0;
        match (before, now) {
            (Either::Float(before), Either::Float(now)) => {
                let anew = place.delta || now < before || floats.starts_anew(floats.times.len() - 1);
                let difference = if rate && anew { now } else { now - before };
                Outcome::Float(if rate { difference / seconds } else { difference })
            }
            (Either::Histogram(before), Either::Histogram(now)) => {
                let gauges = [before, now].map(|own| own.reset_hint == ResetHint::Gauge);
                if rate && gauges.contains(&true) {
                    let text = format!("this native histogram metric is not a counter: {:?}", &place.name());
                    self.warn(Some(place.span), text);
                }
                if !rate && gauges.contains(&false) {
                    let text = format!("this native histogram metric is not a gauge: {:?}", &place.name());
                    self.warn(Some(place.span), text);
                }
                let anew = place.delta
                    || now.is_reset_after(before)
                    || histograms.starts_anew(histograms.times.len() - 1);
                let mut result = Histogram::clone(now);
                if !(rate && anew) {
                    let Ok((difference, added)) = now.minus(before) else {
                        self.warn_mixed_schemas(place.span, &place.name());
                        return Outcome::Nothing;
                    };
                    self.remark_bounds(added, "subtraction", place.span);
                    result = difference;
                }
                result.reset_hint = ResetHint::Gauge;
                Outcome::Histogram(if rate { result.divided(seconds) } else { result })
            }
            _ => {
                self.warn_mixed_types(place);
                Outcome::Nothing
            }
        }
    }

    pub(super) fn warn_mixed_types(&self, place: &Place<'_>) {
        self.warn(Some(place.span), named("encountered a mix of histograms and floats", &place.name()));
    }

    pub(super) fn warn_mixed_schemas(&self, span: Span, name: &str) {
        let text = "vector contains a mix of histograms with exponential and custom buckets schemas";
        self.warn(Some(span), named(text, name));
    }

    /// Says what adding histograms had to do.
    pub(super) fn remark_added(&self, added: Added, operation: &str, span: Span) {
        self.remark_bounds(added, operation, span);
        if added.resets_collided {
            self.warn_collision(operation, span);
        }
    }

    /// The same where resets are looked at anyway.
    pub(super) fn remark_bounds(&self, added: Added, operation: &str, span: Span) {
        if added.bounds_reconciled {
            self.inform(span, format!("mismatched custom buckets were reconciled during {operation}"));
        }
    }

    pub(super) fn warn_collision(&self, operation: &str, span: Span) {
        self.warn(Some(span), format!("conflicting counter resets during histogram {operation}"));
    }

    /// Says so where a sample's start lies within what the one before it counted.
    pub(super) fn warn_overlaps(&self, run: &Run<'_, '_>, frame: &Frame, place: &Place<'_>) {
        if !matches!(place.function, WindowFn::Rate | WindowFn::Increase | WindowFn::Irate) {
            return;
        }
        let warn = |times: &[i64], overlaps: &dyn Fn(usize) -> bool| {
            let overlapping: Vec<usize> = (1..times.len()).filter(|&index| overlaps(index)).collect();
            let mut bounds = Vec::new();
            find_bounds(times, &frame.ends, frame.range_ms, &mut bounds);
            let seen = |index: usize| bounds.iter().any(|&(low, high)| (low + 1..high).contains(&index));
            if overlapping.into_iter().any(seen) {
                let text = "sample has start time that overlaps with previous sample timestamp";
                self.warn(Some(place.span), for_metric(text, &place.name()));
            }
        };
        if !run.floats.starts.is_empty() {
            warn(run.floats.times, &|index| run.floats.overlaps(index));
        }
        if !run.histograms.starts.is_empty() {
            warn(run.histograms.times, &|index| run.histograms.overlaps(index));
        }
    }
}

/// How often neighbours differ, or counters begin anew between them.
pub(super) fn transitions<'e>(samples: impl Iterator<Item = Either<'e>>, function: WindowFn) -> f64 {
    let (mut count, mut before) = (0u32, None);
    for now in samples {
        let Some(earlier) = before.replace(now) else { continue };
        let differs = match (earlier, now) {
            (Either::Float(before), Either::Float(now)) if function == WindowFn::Resets => now < before,
            (Either::Float(before), Either::Float(now)) => {
                now != before && !(now.is_nan() && before.is_nan())
            }
            (Either::Histogram(before), Either::Histogram(now)) if function == WindowFn::Resets => {
                now.is_reset_after(before)
            }
            (Either::Histogram(before), Either::Histogram(now)) => !now.equals(before),
            _ => true,
        };
        count += u32::from(differs);
    }
    f64::from(count)
}

/// A remark about a metric, where its name is known.
pub(super) fn named(text: &str, name: &str) -> String {
    if name.is_empty() { text.to_owned() } else { format!("{text} for metric name {name:?}") }
}

fn for_metric(text: &str, name: &str) -> String {
    if name.is_empty() { text.to_owned() } else { format!("{text} for metric {name:?}") }
}

/// A sum or mean of histograms: directly while every number fits a float, incrementally once one would overflow.
#[derive(Debug, Clone, Default)]
pub(super) struct HistogramMean {
    sum: Option<HistogramSum>,
    count: f64,
    incremental: bool,
    reset: bool,
    not_reset: bool,
}

impl HistogramMean {
    /// Adds one to what becomes a mean; `None` where exponential and custom buckets meet.
    pub(super) fn add(&mut self, histogram: &Histogram) -> Option<Added> {
        self.count(histogram);
        let Some(sum) = &mut self.sum else {
            self.sum = Some(HistogramSum::of(histogram));
            return Some(Added::default());
        };
        if !self.incremental {
            let mut next = sum.clone();
            let added = next.add(histogram).ok()?;
            if !next.overflowed() {
                *sum = next;
                return Some(added);
            }
            self.incremental = true;
            sum.divide(self.count - 1.0);
        }
        sum.scale((self.count - 1.0) / self.count);
        sum.add(&histogram.divided(self.count)).ok()
    }

    /// Adds one to what becomes a sum.
    pub(super) fn add_plainly(&mut self, histogram: &Histogram) -> Option<Added> {
        self.count(histogram);
        match &mut self.sum {
            Some(sum) => sum.add(histogram).ok(),
            None => {
                self.sum = Some(HistogramSum::of(histogram));
                Some(Added::default())
            }
        }
    }

    fn count(&mut self, histogram: &Histogram) {
        self.count += 1.0;
        self.reset |= histogram.reset_hint == ResetHint::Reset;
        self.not_reset |= histogram.reset_hint == ResetHint::NotReset;
    }

    /// Whether nothing was added.
    pub(super) fn is_empty(&self) -> bool {
        self.sum.is_none()
    }

    /// Whether one was known to be reset and another not to be.
    pub(super) fn resets_collided(&self) -> bool {
        self.reset && self.not_reset
    }

    pub(super) fn sum(&self) -> Option<Histogram> {
        self.sum.as_ref().map(HistogramSum::total)
    }

    pub(super) fn mean(&self) -> Option<Histogram> {
        let sum = self.sum.as_ref()?;
        if self.incremental {
            return Some(sum.total());
        }
        let mut mean = sum.clone();
        mean.divide(self.count);
        Some(mean.total())
    }
}
