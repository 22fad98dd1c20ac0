//! `rate`, `increase` and `delta` of windows of native histograms: last less first, resets made good.
//!
//! What lies between neighbours is looked at once per series, so that a window costs its two ends and the resets within.

use std::sync::Arc;

use annals_model::{Histogram, HistogramSum, ResetHint};

use super::Evaluator;
use super::mixed::{Outcome, Place};
use super::runs::Track;
use super::window::{Begins, WindowFn, extrapolation};

/// What a series' histograms say of each other.
pub(super) struct Neighbours {
    /// Those before which counters began anew, by index, ascending.
    anew: Vec<usize>,
    gauges: Tally,
    customs: Tally,
}

/// How many of the first so many are something.
pub(super) struct Tally(Vec<usize>);

impl Tally {
    pub(super) fn of(are: impl Iterator<Item = bool>) -> Tally {
        let counts = are.scan(0, |count, is| {
            *count += usize::from(is);
            Some(*count)
        });
        Tally(std::iter::once(0).chain(counts).collect())
    }

    /// How many from `low` to below `high`.
    pub(super) fn within(&self, (low, high): (usize, usize)) -> usize {
        let first = |count: usize| self.0.get(count).copied().unwrap_or_default();
        first(high).saturating_sub(first(low))
    }
}

impl Neighbours {
    /// Looks at all; only of a counter it matters where it began anew.
    pub(super) fn of(samples: Track<'_, Arc<Histogram>>, counter: bool) -> Neighbours {
        let is_anew = |&index: &usize| match samples.values.get(index - 1..=index) {
            Some([before, own]) => samples.starts_anew(index) || own.is_reset_after(before),
            _ => false,
        };
        let all = || samples.values.iter();
        Neighbours {
            anew: if counter { (1..samples.values.len()).filter(is_anew).collect() } else { Vec::new() },
            gauges: Tally::of(all().map(|own| own.reset_hint == ResetHint::Gauge)),
            customs: Tally::of(all().map(|own| own.is_custom())),
        }
    }
}

impl Evaluator<'_> {
    /// The samples from `low` to below `high`, in a window that ends so and is so long.
    pub(super) fn rate_of_histograms(
        &self,
        samples: Track<'_, Arc<Histogram>>,
        neighbours: &Neighbours,
        (low, high): (usize, usize),
        window: (i64, i64),
        place: &Place<'_>,
    ) -> Outcome {
        let counter = place.function != WindowFn::Delta;
        let part = samples.part((low, high));
        let (Some(&first_time), Some(&last_time)) = (part.times.first(), part.times.last()) else {
            return Outcome::Nothing;
        };
        let begins = match counter {
            true => Begins::of(part.start(0), first_time, window.0.saturating_sub(window.1)),
            false => Begins::Before,
        };
        let zero_start = matches!(begins, Begins::Within(_));
        if part.values.len() < 2 && !zero_start {
            return Outcome::Nothing;
        }
        let Some(mut increase) = self.difference(samples, neighbours, (low, high), counter, place) else {
            return Outcome::Nothing;
        };
        let Some(first) = part.values.first() else { return Outcome::Nothing };
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
        match extrapolation((first_time, last_time, part.times.len()), window, begins, rate, zero) {
            Some(factor) => Outcome::of(increase.scaled(factor)),
            None => Outcome::Nothing,
        }
    }

    /// Last less first, resets made good; a gauge.
    fn difference(
        &self,
        samples: Track<'_, Arc<Histogram>>,
        neighbours: &Neighbours,
        (low, high): (usize, usize),
        counter: bool,
        place: &Place<'_>,
    ) -> Option<Histogram> {
        let (first, last) = (samples.values.get(low)?, samples.values.get(high.checked_sub(1)?)?);
        let gauge = |histogram: &Histogram| histogram.reset_hint == ResetHint::Gauge;
        if counter && neighbours.gauges.within((low, high)) > 0 {
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
        let after_first = neighbours.anew.partition_point(|&index| index <= low);
        let anew = neighbours.anew.get(after_first..).unwrap_or_default();
        let anew = anew.get(..anew.partition_point(|&index| index < high)).unwrap_or_default();
        // What lies before a reset adds nothing of its own, so its buckets need not fit those after.
        let mut before: Arc<Histogram> = Arc::clone(first);
        let second = samples.values.get(low + 1).filter(|_| anew.first() == Some(&(low + 1)));
        if let Some(second) = second {
            before = Arc::new(Histogram {
                schema: second.schema,
                custom_bounds: Arc::clone(&second.custom_bounds),
                ..Histogram::default()
            });
        }
        let others = if counter { (low + 1, high) } else { (high - 1, high) };
        let customs = if before.is_custom() { others.1 - others.0 } else { 0 };
        if neighbours.customs.within(others) != customs {
            self.warn_mixed_schemas(place.span, &place.name());
            return None;
        }
        let mut sum = HistogramSum::of(last);
        let negative = Histogram { reset_hint: before.reset_hint, ..before.scaled(-1.0) };
        let added = sum.add(&negative).ok()?;
        self.remark_bounds(added, "subtraction", place.span);
        for &index in anew {
            let lost = match second.filter(|_| index == low + 1) {
                None => samples.values.get(index - 1)?,
                Some(second) if samples.starts_anew(index) || second.is_reset_after(&before) => &before,
                Some(_) => continue,
            };
            let added = sum.add(lost).ok()?;
            self.remark_bounds(added, "addition", place.span);
        }
        Some(Histogram { reset_hint: ResetHint::Gauge, ..sum.total() })
    }
}
