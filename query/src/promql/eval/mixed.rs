//! Functions over windows that hold native histograms, alone or beside floats.
//!
//! | functions                                                   | floats and histograms in one window               |
//! |-------------------------------------------------------------|---------------------------------------------------|
//! | `sum`, `avg`, `rate`, `increase`, `delta`, `irate`, `idelta` | no result, and a warning                         |
//! | `last`, `first`, `count`, `present`, `changes`, `resets`    | both count, in the order of time                  |
//! | all others                                                  | histograms are ignored, and an info says so       |

use std::sync::Arc;

use annals_model::{Added, Histogram, ResetHint};

use super::Evaluator;
use super::column::{ABSENT, Charge, Histograms, histogram_bytes, is_absent, set_histogram};
use super::increase::{Neighbours, Tally};
use super::labels::Labels;
use super::runs::{Frame, Run, Track};
use super::sums::Sums;
use super::window::{WindowFn, find_bounds};
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
    /// Whether the samples of a window add up to what is asked for.
    fn adds_up(&self) -> bool {
        match self.function {
            WindowFn::Sum | WindowFn::Avg => true,
            WindowFn::Rate | WindowFn::Increase => self.delta,
            _ => false,
        }
    }

    /// The metric's name.
    pub(super) fn name(&self) -> String {
        self.labels.get().metric_name().to_owned()
    }
}

/// What a window gives.
pub(super) enum Outcome {
    Nothing,
    Float(f64),
    Histogram(Arc<Histogram>),
}

impl Outcome {
    pub(super) fn of(histogram: Histogram) -> Outcome {
        Outcome::Histogram(Arc::new(histogram))
    }
}

/// A window that holds at least one histogram.
struct Mixed<'w> {
    run: &'w Run<'w, 'w>,
    /// Its floats and its histograms, from and to below which position.
    floats: (usize, usize),
    histograms: (usize, usize),
    /// Its end and its length.
    time: (i64, i64),
    /// What its floats give.
    of_floats: f64,
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

/// What windows of a series share: looked at once, so that a window costs what enters and leaves it and not what it holds.
struct Shared {
    neighbours: Option<Neighbours>,
    sums: Option<Sums>,
    /// How many of the first so many samples, in the order of time, differ from (or are reset after) the one before.
    transitions: Option<Tally>,
}

impl Shared {
    fn of(run: &Run<'_, '_>, place: &Place<'_>, windows: &[(usize, usize)]) -> Shared {
        let mut shared = Shared { neighbours: None, sums: None, transitions: None };
        let function = place.function;
        match function {
            WindowFn::Changes | WindowFn::Resets => {
                let samples = || in_order(run.floats, run.histograms).map(|(_, sample)| sample);
                let pairs = samples().zip(samples().skip(1));
                let moves = pairs.map(|(before, now)| is_transition(before, now, function));
                shared.transitions = Some(Tally::of(std::iter::once(false).chain(moves)));
            }
            WindowFn::Rate | WindowFn::Increase | WindowFn::Delta if !place.adds_up() => {
                let counter = function != WindowFn::Delta;
                shared.neighbours = Some(Neighbours::of(run.histograms, counter));
            }
            _ if place.adds_up() => shared.sums = Some(Sums::of(run.histograms.values, windows)),
            _ => {}
        }
        shared
    }
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
        let mut shared = Shared::of(run, place, &own_bounds);
        if let Some(sums) = &shared.sums {
            charge.add(sums.bytes())?;
        }
        let steps = values.len();
        let mut latest: Option<Arc<Histogram>> = None;
        for (step, (value, (&floats, &own))) in
            values.iter_mut().zip(bounds.iter().zip(&own_bounds)).enumerate()
        {
            if own.0 == own.1 {
                continue;
            }
            self.budget.poll()?;
            let end = frame.ends.get(step).copied().unwrap_or_default();
            let window =
                Mixed { run, floats, histograms: own, time: (end, frame.range_ms), of_floats: *value };
            match self.mixed_window(&window, &mut shared, place) {
                Outcome::Nothing => *value = ABSENT,
                Outcome::Float(float) => *value = float,
                Outcome::Histogram(histogram) => {
                    *value = ABSENT;
                    if latest.as_ref().is_none_or(|latest| !Arc::ptr_eq(latest, &histogram)) {
                        charge.add(histogram_bytes(&histogram))?;
                        latest = Some(Arc::clone(&histogram));
                    }
                    set_histogram(histograms, steps, step, Some(histogram));
                }
            }
        }
        Ok(())
    }

    fn mixed_window(&self, window: &Mixed<'_>, shared: &mut Shared, place: &Place<'_>) -> Outcome {
        let of_floats = window.of_floats;
        let floats = window.run.floats.part(window.floats);
        let histograms = window.run.histograms.part(window.histograms);
        let latest_is_float = || floats.times.last() > histograms.times.last();
        let earliest_is_float = || {
            floats.times.first().is_some_and(|float| histograms.times.first().is_none_or(|own| float < own))
        };
        let seconds = |ms: Option<&i64>| ms.map_or(ABSENT, |&ms| ms as f64 / 1000.0);
        let either = |float: bool, own: Option<&Arc<Histogram>>| match own {
            _ if float => Outcome::Float(of_floats),
            Some(own) => Outcome::Histogram(Arc::clone(own)),
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
                // The first one has nothing before it in the window.
                let first = window.floats.0 + window.histograms.0 + 1;
                let all = (first, window.floats.1 + window.histograms.1);
                let count = shared.transitions.as_ref().map_or(0, |transitions| transitions.within(all));
                Outcome::Float(count as f64)
            }
            WindowFn::Irate | WindowFn::Idelta => self.last_two(floats, histograms, place),
            WindowFn::Sum | WindowFn::Avg | WindowFn::Rate | WindowFn::Increase | WindowFn::Delta => {
                if !floats.values.is_empty() {
                    self.warn_mixed_types(place);
                    return Outcome::Nothing;
                }
                match (&shared.neighbours, &mut shared.sums) {
                    (Some(neighbours), _) => self.rate_of_histograms(
                        window.run.histograms,
                        neighbours,
                        window.histograms,
                        window.time,
                        place,
                    ),
                    (None, Some(sums)) => {
                        let values = window.run.histograms.values;
                        let sum = self.sum_of_histograms(values, sums, window.histograms, place);
                        let rate = place.function == WindowFn::Rate;
                        let seconds = window.time.1 as f64 / 1000.0;
                        let result = sum.map(|sum| if rate { sum.divided(seconds) } else { sum });
                        result.map_or(Outcome::Nothing, Outcome::of)
                    }
                    (None, None) => Outcome::Nothing,
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

    /// `irate` and `idelta`.
    fn last_two(
        &self,
        floats: Track<'_, f64>,
        histograms: Track<'_, Arc<Histogram>>,
        place: &Place<'_>,
    ) -> Outcome {
        let rate = place.function == WindowFn::Irate;
        let (floats, histograms) = (last(floats), last(histograms));
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
                Outcome::of(if rate { result.divided(seconds) } else { result })
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
                self.warn_overlap(place);
            }
        };
        if !run.floats.starts.is_empty() {
            warn(run.floats.times, &|index| run.floats.overlaps(index));
        }
        if !run.histograms.starts.is_empty() {
            warn(run.histograms.times, &|index| run.histograms.overlaps(index));
        }
    }

    pub(super) fn warn_overlap(&self, place: &Place<'_>) {
        let text = "sample has start time that overlaps with previous sample timestamp";
        self.warn(Some(place.span), for_metric(text, &place.name()));
    }
}

/// How often neighbours differ, or counters begin anew between them.
pub(super) fn transitions<'e>(samples: impl Iterator<Item = Either<'e>>, function: WindowFn) -> f64 {
    let (mut count, mut before) = (0u32, None);
    for now in samples {
        let Some(earlier) = before.replace(now) else { continue };
        count += u32::from(is_transition(earlier, now, function));
    }
    f64::from(count)
}

fn is_transition(earlier: Either<'_>, now: Either<'_>, function: WindowFn) -> bool {
    match (earlier, now) {
        (Either::Float(before), Either::Float(now)) if function == WindowFn::Resets => now < before,
        (Either::Float(before), Either::Float(now)) => now != before && !(now.is_nan() && before.is_nan()),
        (Either::Histogram(before), Either::Histogram(now)) if function == WindowFn::Resets => {
            now.is_reset_after(before)
        }
        (Either::Histogram(before), Either::Histogram(now)) => !now.equals(before),
        _ => true,
    }
}

/// The last two samples.
fn last<T>(track: Track<'_, T>) -> Track<'_, T> {
    track.part((track.times.len().saturating_sub(2), track.times.len()))
}

/// A remark about a metric, where its name is known.
pub(super) fn named(text: &str, name: &str) -> String {
    if name.is_empty() { text.to_owned() } else { format!("{text} for metric name {name:?}") }
}

fn for_metric(text: &str, name: &str) -> String {
    if name.is_empty() { text.to_owned() } else { format!("{text} for metric {name:?}") }
}
