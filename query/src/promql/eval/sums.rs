//! Sums and means of native histograms: of groups, and of windows that move.
//!
//! Histograms of one layout (schema, zero bucket, bounds) add up bucket by bucket in any order, so windows over them slide
//! as those of floats do ([`Sliding`]). Where layouts differ, what a sum comes to depends on its order: then each
//! window is added up by itself, in the order of time. So it is where a number is not finite.

use std::sync::Arc;

use annals_model::{Added, Histogram, HistogramSum, ResetHint};

use super::Evaluator;
use super::fold::{Fold, Sliding};
use super::increase::Tally;
use super::mixed::Place;
use super::window::WindowFn;

impl Fold for HistogramSum {
    fn join(mut self, later: HistogramSum) -> HistogramSum {
        self.append(&later);
        self
    }
}

/// Sums of windows over a series.
pub(super) struct Sums {
    /// The window at hand, where histograms are of one layout.
    fold: Option<Sliding<HistogramSum>>,
    /// What is in it, from and to below which position.
    window: (usize, usize),
    resets: Tally,
    no_resets: Tally,
    bytes: usize,
}

impl Sums {
    /// For these windows, which only move forward.
    pub(super) fn of(histograms: &[Arc<Histogram>], windows: &[(usize, usize)]) -> Sums {
        let slides = histograms.windows(2).all(|pair| pair[0].has_layout_of(&pair[1]));
        let hints = |hint: ResetHint| Tally::of(histograms.iter().map(|own| own.reset_hint == hint));
        let longest = windows.iter().map(|(low, high)| high - low).max().unwrap_or_default();
        // A bucket of a sum is a number and its compensation.
        let largest = histograms.iter().map(|own| 2 * own.bytes()).max().unwrap_or_default();
        Sums {
            fold: slides.then(Sliding::new),
            window: (0, 0),
            resets: hints(ResetHint::Reset),
            no_resets: hints(ResetHint::NotReset),
            bytes: if slides { longest * largest } else { 0 },
        }
    }

    /// How much memory it takes, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The sum of the next window, where that does not depend on an order.
    fn slide(&mut self, histograms: &[Arc<Histogram>], (low, high): (usize, usize)) -> Option<HistogramSum> {
        let fold = self.fold.as_mut()?;
        if low >= self.window.1 {
            fold.clear();
            self.window = (low, low);
        }
        let entering = histograms.get(self.window.1..high).unwrap_or_default();
        entering.iter().for_each(|own| fold.push(HistogramSum::of(own)));
        (self.window.0..low).for_each(|_| fold.pop());
        self.window = (low, high);
        fold.fold().filter(HistogramSum::is_finite)
    }
}

impl Evaluator<'_> {
    /// The sum of a window, or its mean for `avg_over_time`.
    pub(super) fn sum_of_histograms(
        &self,
        histograms: &[Arc<Histogram>],
        sums: &mut Sums,
        (low, high): (usize, usize),
        place: &Place<'_>,
    ) -> Option<Histogram> {
        let mean = place.function == WindowFn::Avg;
        if sums.resets.within((low, high)) > 0 && sums.no_resets.within((low, high)) > 0 {
            self.warn_collision("aggregation", place.span);
        }
        if let Some(mut sum) = sums.slide(histograms, (low, high)) {
            if mean {
                sum.divide((high - low) as f64);
            }
            return Some(sum.total());
        }
        let mut sum = HistogramMean::default();
        for histogram in histograms.get(low..high).unwrap_or_default() {
            match if mean { sum.add(histogram) } else { sum.add_plainly(histogram) } {
                Some(added) => self.remark_bounds(added, "aggregation", place.span),
                None => {
                    self.warn_mixed_schemas(place.span, &place.name());
                    return None;
                }
            }
        }
        if mean { sum.mean() } else { sum.sum() }
    }
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
