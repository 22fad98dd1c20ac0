//! Sums of many histograms, every bucket compensated, as Prometheus adds them.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{
    CUSTOM_BUCKETS_SCHEMA, Histogram, ResetHint, Term, common_bounds, exponential_bound, rebinned, reduced,
    widened,
};
use crate::Sum;

/// Exponential and custom buckets cannot be added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("histograms with exponential and with custom buckets cannot be added")]
pub struct MixedBuckets;

/// What an addition had to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Added {
    /// The custom bounds differed.
    pub bounds_reconciled: bool,
    /// One was known to be reset and the other known not to be.
    pub resets_collided: bool,
}

impl Term for Sum {
    fn plus(self, other: Sum) -> Sum {
        Sum::plus(self, other)
    }

    fn is_zero(self) -> bool {
        self.total() == 0.0
    }
}

/// What is added to a bucket.
trait Addend: Copy {
    fn add_to(self, sum: &mut Sum);
    fn alone(self) -> Sum;
}

impl Addend for f64 {
    fn add_to(self, sum: &mut Sum) {
        sum.add(self);
    }

    fn alone(self) -> Sum {
        Sum::of(self)
    }
}

impl Addend for Sum {
    fn add_to(self, sum: &mut Sum) {
        *sum = sum.plus(self);
    }

    fn alone(self) -> Sum {
        self
    }
}

/// A sum of histograms.
#[derive(Debug, Clone)]
pub struct HistogramSum {
    reset_hint: ResetHint,
    schema: i8,
    zero_threshold: f64,
    zero_count: Sum,
    count: Sum,
    sum: Sum,
    positive: Vec<(i32, Sum)>,
    negative: Vec<(i32, Sum)>,
    custom_bounds: Arc<[f64]>,
}

impl HistogramSum {
    /// The sum of one.
    #[must_use]
    pub fn of(first: &Histogram) -> HistogramSum {
        HistogramSum {
            reset_hint: first.reset_hint,
            schema: first.schema,
            zero_threshold: first.zero_threshold,
            zero_count: Sum::of(first.zero_count),
            count: Sum::of(first.count),
            sum: Sum::of(first.sum),
            positive: summed(&first.positive),
            negative: summed(&first.negative),
            custom_bounds: Arc::clone(&first.custom_bounds),
        }
    }

    /// Adds another; where it cannot be added, nothing changes.
    pub fn add(&mut self, other: &Histogram) -> Result<Added, MixedBuckets> {
        if (self.schema == CUSTOM_BUCKETS_SCHEMA) != other.is_custom() {
            return Err(MixedBuckets);
        }
        let mut added = Added { resets_collided: self.adjust_hint(other.reset_hint), ..Added::default() };
        self.count.add(other.count);
        self.sum.add(other.sum);
        if other.is_custom() {
            if self.custom_bounds == other.custom_bounds {
                merge(&mut self.positive, &other.positive);
                return Ok(added);
            }
            added.bounds_reconciled = true;
            let common = common_bounds(&self.custom_bounds, &other.custom_bounds);
            self.positive = rebinned(&self.positive, &self.custom_bounds, &common);
            merge(&mut self.positive, &rebinned(&other.positive, &other.custom_bounds, &common));
            self.custom_bounds = common;
            return Ok(added);
        }
        let zero_count = self.reconcile_zero_buckets(other);
        self.zero_count.add(zero_count);
        let schema = self.schema.min(other.schema);
        let coarser = |own: i8| u32::try_from(i32::from(own) - i32::from(schema)).unwrap_or(0);
        for (own, theirs) in [(&mut self.positive, &other.positive), (&mut self.negative, &other.negative)] {
            let bound = |index: i32| exponential_bound(other.schema, index);
            let outside: Vec<(i32, f64)> =
                theirs.iter().copied().filter(|&(index, _)| bound(index) > self.zero_threshold).collect();
            if coarser(self.schema) > 0 {
                *own = reduced(own, coarser(self.schema));
            }
            merge(own, &reduced(&outside, coarser(other.schema)));
        }
        self.schema = schema;
        Ok(added)
    }

    /// Adds a sum of histograms that all have the layout of those in this one
    /// ([`Histogram::has_layout_of`]).
    pub fn append(&mut self, later: &HistogramSum) {
        self.adjust_hint(later.reset_hint);
        self.count = self.count.plus(later.count);
        self.sum = self.sum.plus(later.sum);
        self.zero_count = self.zero_count.plus(later.zero_count);
        merge(&mut self.positive, &later.positive);
        merge(&mut self.negative, &later.negative);
    }

    /// Brings the zero bucket to the width at which both fit it, and returns what the other's counts then.
    fn reconcile_zero_buckets(&mut self, other: &Histogram) -> f64 {
        let (mut count, mut threshold) = (other.zero_count, other.zero_threshold);
        // Each round widens one of them to the bound of a bucket, until both agree.
        loop {
            match threshold.partial_cmp(&self.zero_threshold) {
                Some(Ordering::Less) => {
                    (count, threshold) = widened(
                        other.schema,
                        other.zero_count,
                        &other.positive,
                        &other.negative,
                        self.zero_threshold,
                    );
                }
                Some(Ordering::Greater) => {
                    (self.zero_count, self.zero_threshold) =
                        widened(self.schema, self.zero_count, &self.positive, &self.negative, threshold);
                    let (schema, threshold) = (self.schema, self.zero_threshold);
                    for side in [&mut self.positive, &mut self.negative] {
                        side.retain(|&(index, _)| exponential_bound(schema, index) > threshold);
                    }
                }
                Some(Ordering::Equal) | None => return count,
            }
        }
    }

    /// What is known of resets once another has been added; whether what was known contradicts itself.
    fn adjust_hint(&mut self, other: ResetHint) -> bool {
        let own = self.reset_hint;
        self.reset_hint = match (own, other) {
            (own, other) if own == other => own,
            (ResetHint::Gauge, _) | (_, ResetHint::Gauge) => ResetHint::Gauge,
            _ => ResetHint::Unknown,
        };
        matches!(
            (own, other),
            (ResetHint::Reset, ResetHint::NotReset) | (ResetHint::NotReset, ResetHint::Reset)
        )
    }

    /// Multiplies everything.
    pub fn scale(&mut self, factor: f64) {
        self.map(|value| value * factor);
    }

    /// Divides everything.
    pub fn divide(&mut self, by: f64) {
        self.map(|value| value / by);
    }

    fn map(&mut self, value: impl Fn(f64) -> f64) {
        let scalars = [&mut self.zero_count, &mut self.count, &mut self.sum].into_iter();
        let buckets = self.positive.iter_mut().chain(&mut self.negative).map(|(_, sum)| sum);
        for sum in scalars.chain(buckets) {
            *sum = Sum { sum: value(sum.sum), compensation: value(sum.compensation) };
        }
    }

    /// Whether any of its numbers has become infinite.
    #[must_use]
    pub fn overflowed(&self) -> bool {
        self.sums().any(|sum| sum.sum.is_infinite())
    }

    /// Whether all of its numbers are finite.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.sums().all(|sum| sum.sum.is_finite())
    }

    fn sums(&self) -> impl Iterator<Item = &Sum> {
        let scalars = [&self.zero_count, &self.count, &self.sum].into_iter();
        scalars.chain(self.positive.iter().chain(&self.negative).map(|(_, sum)| sum))
    }

    /// The sum.
    #[must_use]
    pub fn total(&self) -> Histogram {
        let totals =
            |side: &[(i32, Sum)]| side.iter().map(|&(index, sum)| (index, sum.total())).collect::<Vec<_>>();
        Histogram {
            reset_hint: self.reset_hint,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count.total(),
            count: self.count.total(),
            sum: self.sum.total(),
            positive: totals(&self.positive),
            negative: totals(&self.negative),
            custom_bounds: Arc::clone(&self.custom_bounds),
        }
        .compacted()
    }
}

fn summed(side: &[(i32, f64)]) -> Vec<(i32, Sum)> {
    side.iter().map(|&(index, count)| (index, Sum::of(count))).collect()
}

/// Adds ascending buckets to ascending buckets.
fn merge<T: Addend>(own: &mut Vec<(i32, Sum)>, theirs: &[(i32, T)]) {
    // Series keep their buckets, so the indexes are nearly always the same.
    if own.len() == theirs.len() && own.iter().zip(theirs).all(|(own, theirs)| own.0 == theirs.0) {
        own.iter_mut().zip(theirs).for_each(|((_, sum), (_, count))| count.add_to(sum));
        return;
    }
    let mut out = Vec::with_capacity(own.len() + theirs.len());
    let mut theirs = theirs.iter().peekable();
    for &(index, mut sum) in own.iter() {
        while let Some(&(before, count)) = theirs.next_if(|(own, _)| *own < index) {
            out.push((before, count.alone()));
        }
        if let Some(&(_, count)) = theirs.next_if(|(own, _)| *own == index) {
            count.add_to(&mut sum);
        }
        out.push((index, sum));
    }
    out.extend(theirs.map(|&(index, count)| (index, count.alone())));
    *own = out;
}
