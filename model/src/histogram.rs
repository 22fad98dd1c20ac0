//! Native histograms: how many observations fell into each of many buckets.
//!
//! | schema     | bucket `i` of `positive`                  | `negative`  | zero bucket                         |
//! |-----------:|-------------------------------------------|-------------|-------------------------------------|
//! | -4 to 8    | (2^((i-1) / 2^schema), 2^(i / 2^schema)]  | mirrored    | [-`zero_threshold`, `zero_threshold`] |
//! | -53        | (`custom_bounds[i-1]`, `custom_bounds[i]`] | none        | none                                |
//!
//! Buckets without observations are not listed. Counts are floats, because rates of histograms are histograms. Values
//! of the arithmetic are those of Prometheus: schemas are brought to the coarser one, zero buckets to the wider
//! one, custom bounds to those that both have.

mod bytes;
mod samples;
mod sum;
mod text;

use std::sync::Arc;

pub use samples::{HistogramSample, HistogramSamples, merge_histograms};
pub use sum::{Added, HistogramSum, MixedBuckets};

/// The schema of histograms whose bounds are listed.
pub const CUSTOM_BUCKETS_SCHEMA: i8 = -53;
/// The most custom bounds of a histogram.
pub const CUSTOM_BOUNDS_MAX: usize = 10_000;
/// The most buckets on one side of zero of a histogram that is stored.
pub const HISTOGRAM_BUCKETS_MAX: usize = CUSTOM_BOUNDS_MAX + 1;

/// What is known of the time between a histogram and the one before it in its series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ResetHint {
    /// Nothing: buckets have to be compared.
    #[default]
    Unknown,
    /// The counter was reset.
    Reset,
    /// The counter was not reset.
    NotReset,
    /// It is no counter.
    Gauge,
}

/// A native histogram.
///
/// - Bucket indexes ascend strictly; no bucket lists a count of zero. Checked by [`Histogram::check`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Histogram {
    /// Whether counters began anew since the histogram before.
    pub reset_hint: ResetHint,
    /// The resolution: -4 (coarsest) to 8, or [`CUSTOM_BUCKETS_SCHEMA`].
    pub schema: i8,
    /// How far from zero the zero bucket reaches.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations; more than the buckets hold where some were NaN.
    pub count: f64,
    /// The sum of all observations.
    pub sum: f64,
    /// Index and count of the buckets above zero (of all buckets under custom bounds).
    pub positive: Vec<(i32, f64)>,
    /// Index and count of the buckets below zero.
    pub negative: Vec<(i32, f64)>,
    /// The upper bounds of custom buckets, ascending, without the infinite one.
    pub custom_bounds: Arc<[f64]>,
}

/// A bucket with its bounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// Its lower bound.
    pub lower: f64,
    /// Its upper bound.
    pub upper: f64,
    /// Whether the lower bound lies within.
    pub lower_inclusive: bool,
    /// Whether the upper bound lies within.
    pub upper_inclusive: bool,
    /// Its observations.
    pub count: f64,
}

/// Why bytes or text are no histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHistogram {
    /// A schema that does not exist.
    #[error("schema {0} is neither from -4 to 8 nor {CUSTOM_BUCKETS_SCHEMA}")]
    Schema(i8),
    /// Indexes of buckets out of order or of range.
    #[error("bucket {0} is out of order or out of range")]
    Buckets(usize),
    /// Bounds that are not finite, do not ascend, are too many, or stand where there can be none.
    #[error("custom bound {0} is not finite, does not ascend, or cannot be there")]
    Bounds(usize),
    /// A zero bucket of no or of negative width where none can be.
    #[error("the zero bucket is not possible")]
    ZeroBucket,
}

/// A number that buckets count with.
trait Term: Copy {
    fn plus(self, other: Self) -> Self;
    fn is_zero(self) -> bool;
}

impl Term for f64 {
    fn plus(self, other: f64) -> f64 {
        self + other
    }

    fn is_zero(self) -> bool {
        self == 0.0
    }
}

/// The upper bound of an exponential bucket.
fn exponential_bound(schema: i8, index: i32) -> f64 {
    let exponent = if schema <= 0 {
        f64::from(index) * f64::from(-i32::from(schema)).exp2()
    } else {
        f64::from(index) / f64::from(schema).exp2()
    };
    // The last bucket of finite numbers ends at the greatest one.
    if exponent == 1024.0 { f64::MAX } else { exponent.exp2() }
}

/// Buckets at a resolution that is coarser by so many steps.
fn reduced<T: Term>(buckets: &[(i32, T)], by: u32) -> Vec<(i32, T)> {
    let mut out: Vec<(i32, T)> = Vec::with_capacity(buckets.len());
    for &(index, count) in buckets {
        let index = (index.saturating_sub(1) >> by.min(31)).saturating_add(1);
        match out.last_mut() {
            Some((last, sum)) if *last == index => *sum = sum.plus(count),
            _ => out.push((index, count)),
        }
    }
    out
}

/// What the zero bucket counts once it reaches `threshold`, or as far beyond as the populated bucket in which
/// `threshold` lies does; and how far that is.
fn widened<T: Term>(
    schema: i8,
    zero_count: T,
    positive: &[(i32, T)],
    negative: &[(i32, T)],
    mut threshold: f64,
) -> (T, f64) {
    loop {
        let (mut count, before) = (zero_count, threshold);
        for side in [positive, negative] {
            for &(index, own) in side {
                if exponential_bound(schema, index.saturating_sub(1)) >= threshold {
                    break;
                }
                count = count.plus(own);
                let upper = exponential_bound(schema, index);
                if upper > threshold {
                    if !own.is_zero() {
                        threshold = upper;
                    }
                    break;
                }
            }
        }
        // A threshold that the negative side moved may hold more of the positive one.
        if threshold.to_bits() == before.to_bits() {
            return (count, threshold);
        }
    }
}

/// The bounds that both have.
fn common_bounds(a: &[f64], b: &[f64]) -> Arc<[f64]> {
    a.iter().copied().filter(|bound| b.binary_search_by(|own| own.total_cmp(bound)).is_ok()).collect()
}

/// Custom buckets under fewer bounds.
fn rebinned<T: Term>(buckets: &[(i32, T)], from: &[f64], to: &[f64]) -> Vec<(i32, T)> {
    let mut out: Vec<(i32, T)> = Vec::with_capacity(buckets.len());
    for &(index, count) in buckets {
        let upper = usize::try_from(index).ok().and_then(|index| from.get(index)).copied();
        let target = upper.map_or(to.len(), |upper| to.partition_point(|bound| *bound < upper));
        let target = i32::try_from(target).unwrap_or(i32::MAX);
        match out.last_mut() {
            Some((last, sum)) if *last == target => *sum = sum.plus(count),
            _ => out.push((target, count)),
        }
    }
    out
}

/// Whether a bucket holds fewer than before. Both lists ascend.
fn any_less(now: &[(i32, f64)], before: &[(i32, f64)]) -> bool {
    let mut now = now.iter().peekable();
    before.iter().any(|&(index, count)| {
        while now.next_if(|(own, _)| *own < index).is_some() {}
        let own = now.peek().filter(|(own, _)| *own == index).map_or(0.0, |&&(_, own)| own);
        own < count
    })
}

impl Histogram {
    /// Whether its bounds are listed.
    #[must_use]
    pub fn is_custom(&self) -> bool {
        self.schema == CUSTOM_BUCKETS_SCHEMA
    }

    /// Whether its buckets lie as those of another do: such histograms add up in any order.
    #[must_use]
    pub fn has_layout_of(&self, other: &Histogram) -> bool {
        self.schema == other.schema
            && self.zero_threshold.to_bits() == other.zero_threshold.to_bits()
            && (Arc::ptr_eq(&self.custom_bounds, &other.custom_bounds)
                || self.custom_bounds == other.custom_bounds)
    }

    /// Whether it is what the type says; everything that comes from disk or network must be asked.
    pub fn check(&self) -> Result<(), InvalidHistogram> {
        if !self.is_custom() && !(-4..=8).contains(&self.schema) {
            return Err(InvalidHistogram::Schema(self.schema));
        }
        let (least, most) = if self.is_custom() {
            (0, i32::try_from(self.custom_bounds.len()).unwrap_or(i32::MAX))
        } else {
            // Beyond, bounds are zero or infinite at every resolution.
            (-(1 << 19), 1 << 19)
        };
        for side in [&self.positive, &self.negative] {
            let mut before = None;
            for (position, &(index, _)) in side.iter().enumerate() {
                if before.is_some_and(|before| index <= before) || index < least || index > most {
                    return Err(InvalidHistogram::Buckets(position));
                }
                before = Some(index);
            }
        }
        if self.is_custom() {
            if !self.negative.is_empty() || self.zero_count != 0.0 || self.zero_threshold != 0.0 {
                return Err(InvalidHistogram::ZeroBucket);
            }
            if self.custom_bounds.len() > CUSTOM_BOUNDS_MAX {
                return Err(InvalidHistogram::Bounds(CUSTOM_BOUNDS_MAX));
            }
            let fault = self.custom_bounds.iter().enumerate().position(|(position, bound)| {
                let before = position.checked_sub(1).and_then(|before| self.custom_bounds.get(before));
                !bound.is_finite() || before.is_some_and(|before| before >= bound)
            });
            return fault.map_or(Ok(()), |position| Err(InvalidHistogram::Bounds(position)));
        }
        if !self.custom_bounds.is_empty() {
            return Err(InvalidHistogram::Bounds(0));
        }
        if self.zero_threshold.is_nan() || self.zero_threshold < 0.0 {
            return Err(InvalidHistogram::ZeroBucket);
        }
        Ok(())
    }

    /// Drops buckets that count nothing.
    #[must_use]
    pub fn compacted(mut self) -> Histogram {
        self.positive.retain(|(_, count)| *count != 0.0);
        self.negative.retain(|(_, count)| *count != 0.0);
        self
    }

    /// How much memory it takes, about.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let buckets = size_of_val(self.positive.as_slice()) + size_of_val(self.negative.as_slice());
        size_of::<Histogram>() + buckets + size_of_val(&*self.custom_bounds)
    }

    /// The upper bound of a bucket of `positive`.
    fn bound(&self, index: i32) -> f64 {
        if !self.is_custom() {
            return exponential_bound(self.schema, index);
        }
        match usize::try_from(index) {
            Ok(index) => self.custom_bounds.get(index).copied().unwrap_or(f64::INFINITY),
            Err(_) => f64::NEG_INFINITY,
        }
    }

    /// Its buckets above zero, or all custom ones, ascending.
    pub fn positive_buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> {
        self.positive.iter().map(|&(index, count)| {
            let (lower, upper) = (self.bound(index.saturating_sub(1)), self.bound(index));
            let lower_inclusive = self.is_custom() && index == 0;
            Bucket { lower, upper, lower_inclusive, upper_inclusive: true, count }
        })
    }

    /// Its buckets below zero, ascending.
    pub fn negative_buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> {
        self.negative.iter().rev().map(|&(index, count)| {
            let (lower, upper) = (-self.bound(index), -self.bound(index.saturating_sub(1)));
            Bucket { lower, upper, lower_inclusive: true, upper_inclusive: false, count }
        })
    }

    /// Its zero bucket, where it holds anything.
    #[must_use]
    pub fn zero_bucket(&self) -> Option<Bucket> {
        let bucket = Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        };
        (self.zero_count != 0.0 && !self.is_custom()).then_some(bucket)
    }

    /// All buckets, ascending.
    pub fn buckets(&self) -> impl DoubleEndedIterator<Item = Bucket> {
        self.negative_buckets().chain(self.zero_bucket()).chain(self.positive_buckets())
    }

    /// Whether both say the same; how each came about (the hint) does not matter. A NaN is equal to itself.
    #[must_use]
    pub fn equals(&self, other: &Histogram) -> bool {
        let bits = |h: &Histogram| [h.zero_threshold, h.zero_count, h.count, h.sum].map(f64::to_bits);
        let same = |a: &[(i32, f64)], b: &[(i32, f64)]| {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && a.1.to_bits() == b.1.to_bits())
        };
        self.schema == other.schema
            && bits(self) == bits(other)
            && self.custom_bounds == other.custom_bounds
            && same(&self.positive, &other.positive)
            && same(&self.negative, &other.negative)
    }

    /// All counts and the sum times a factor; a negative one leaves no counter.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Histogram {
        self.mapped(factor < 0.0, |count| count * factor)
    }

    /// All counts and the sum divided; by zero, no bucket is left.
    #[must_use]
    pub fn divided(&self, by: f64) -> Histogram {
        let mut out = self.mapped(by < 0.0, |count| count / by);
        if by == 0.0 {
            out.positive.clear();
            out.negative.clear();
        }
        out
    }

    fn mapped(&self, gauge: bool, value: impl Fn(f64) -> f64) -> Histogram {
        let side = |buckets: &[(i32, f64)]| buckets.iter().map(|&(i, count)| (i, value(count))).collect();
        Histogram {
            reset_hint: if gauge { ResetHint::Gauge } else { self.reset_hint },
            zero_count: value(self.zero_count),
            count: value(self.count),
            sum: value(self.sum),
            positive: side(&self.positive),
            negative: side(&self.negative),
            ..self.clone()
        }
        .compacted()
    }

    /// The sum of two.
    pub fn plus(&self, other: &Histogram) -> Result<(Histogram, Added), MixedBuckets> {
        let mut sum = HistogramSum::of(self);
        let added = sum.add(other)?;
        Ok((sum.total(), added))
    }

    /// The difference of two, which is no counter.
    pub fn minus(&self, other: &Histogram) -> Result<(Histogram, Added), MixedBuckets> {
        let mut sum = HistogramSum::of(self);
        let added = sum.add(&Histogram { reset_hint: other.reset_hint, ..other.scaled(-1.0) })?;
        Ok((Histogram { reset_hint: ResetHint::Gauge, ..sum.total() }, added))
    }

    /// Whether counters began anew between `before` and this one.
    #[must_use]
    pub fn is_reset_after(&self, before: &Histogram) -> bool {
        match self.reset_hint {
            ResetHint::Reset => return true,
            ResetHint::NotReset => return false,
            ResetHint::Unknown | ResetHint::Gauge => {}
        }
        if self.count < before.count || self.is_custom() != before.is_custom() {
            return true;
        }
        if self.is_custom() {
            if self.custom_bounds == before.custom_bounds {
                return any_less(&self.positive, &before.positive);
            }
            let common = common_bounds(&self.custom_bounds, &before.custom_bounds);
            return any_less(
                &rebinned(&self.positive, &self.custom_bounds, &common),
                &rebinned(&before.positive, &before.custom_bounds, &common),
            );
        }
        if self.schema > before.schema || self.zero_threshold < before.zero_threshold {
            return true;
        }
        let (zero_count, threshold) = widened(
            before.schema,
            before.zero_count,
            &before.positive,
            &before.negative,
            self.zero_threshold,
        );
        // The zero bucket cannot have grown over half of a bucket in which something lies.
        if threshold != self.zero_threshold || self.zero_count < zero_count {
            return true;
        }
        let by = u32::try_from(i32::from(before.schema) - i32::from(self.schema)).unwrap_or(0);
        [(&self.positive, &before.positive), (&self.negative, &before.negative)].into_iter().any(
            |(now, before_side)| {
                let mut outside = before_side.clone();
                outside.retain(|&(index, _)| exponential_bound(before.schema, index) > threshold);
                any_less(now, &reduced(&outside, by))
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exponential(schema: i8, positive: &[(i32, f64)]) -> Histogram {
        let count = positive.iter().map(|(_, count)| count).sum();
        Histogram { schema, count, sum: count, positive: positive.to_vec(), ..Histogram::default() }
    }

    fn custom(bounds: &[f64], counts: &[f64]) -> Histogram {
        let positive: Vec<(i32, f64)> = (0..).zip(counts.iter().copied()).collect();
        Histogram { custom_bounds: bounds.into(), ..exponential(CUSTOM_BUCKETS_SCHEMA, &positive) }
            .compacted()
    }

    #[test]
    fn bounds_of_all_schemas_double_after_so_many_buckets() {
        for schema in 0..=8 {
            assert_eq!(exponential_bound(schema, 1 << schema), 2.0);
            assert_eq!(exponential_bound(schema, 0), 1.0);
            assert_eq!(exponential_bound(schema, 1024 << schema), f64::MAX);
        }
        assert_eq!(exponential_bound(-4, 1), 65536.0);
        assert_eq!(exponential_bound(-2, -1), 0.0625);
    }

    #[test]
    fn sums_take_the_coarser_schema() {
        let (sum, added) = exponential(1, &[(1, 1.0), (2, 2.0), (3, 4.0)])
            .plus(&exponential(0, &[(2, 8.0)]))
            .expect("same kind");
        assert_eq!(sum.positive, [(1, 3.0), (2, 12.0)]);
        assert_eq!((sum.schema, added), (0, Added::default()));
    }

    #[test]
    fn a_zero_bucket_swallows_populated_buckets_whole() {
        let narrow = exponential(0, &[(0, 3.0), (1, 5.0), (3, 7.0)]);
        let wide = Histogram { zero_threshold: 1.5, zero_count: 2.0, count: 2.0, ..Histogram::default() };
        for (sum, _) in [narrow.plus(&wide), wide.plus(&narrow)].map(|sum| sum.expect("same kind")) {
            assert_eq!((sum.zero_threshold, sum.zero_count), (2.0, 10.0));
            assert_eq!(sum.positive, [(3, 7.0)]);
        }
    }

    #[test]
    fn custom_bounds_meet_in_those_that_both_have() {
        let (sum, added) = custom(&[1.0, 2.0, 4.0], &[1.0, 1.0, 1.0, 1.0])
            .plus(&custom(&[2.0, 3.0], &[5.0, 5.0, 5.0]))
            .expect("custom");
        assert!(added.bounds_reconciled);
        assert_eq!(*sum.custom_bounds, [2.0]);
        assert_eq!(sum.positive, [(0, 7.0), (1, 12.0)]);
        assert_eq!(custom(&[1.0], &[1.0]).plus(&exponential(0, &[])), Err(MixedBuckets));
    }

    #[test]
    fn a_reset_shows_in_any_bucket() {
        let before = exponential(1, &[(1, 1.0), (2, 2.0)]);
        assert!(!exponential(1, &[(1, 1.0), (2, 2.0), (9, 1.0)]).is_reset_after(&before));
        assert!(!exponential(0, &[(1, 3.0)]).is_reset_after(&before));
        assert!(exponential(1, &[(1, 3.0)]).is_reset_after(&before));
        assert!(exponential(2, &[(1, 3.0)]).is_reset_after(&before));
        let hinted = Histogram { reset_hint: ResetHint::NotReset, ..exponential(1, &[]) };
        assert!(!hinted.is_reset_after(&before));
        assert!(!custom(&[1.0, 2.0], &[3.0, 3.0]).is_reset_after(&custom(&[2.0, 9.0], &[6.0])));
        assert!(custom(&[1.0, 2.0], &[3.0, 2.0, 9.0]).is_reset_after(&custom(&[2.0, 9.0], &[6.0])));
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        assert_eq!(exponential(9, &[]).check(), Err(InvalidHistogram::Schema(9)));
        assert_eq!(exponential(0, &[(1, 1.0), (1, 1.0)]).check(), Err(InvalidHistogram::Buckets(1)));
        assert_eq!(exponential(0, &[(i32::MAX, 1.0)]).check(), Err(InvalidHistogram::Buckets(0)));
        assert_eq!(custom(&[1.0, 1.0], &[]).check(), Err(InvalidHistogram::Bounds(1)));
        assert_eq!(custom(&[1.0], &[1.0, 1.0, 1.0]).check(), Err(InvalidHistogram::Buckets(2)));
        let zero = Histogram { zero_threshold: f64::NAN, ..Histogram::default() };
        assert_eq!(zero.check(), Err(InvalidHistogram::ZeroBucket));
        assert_eq!(exponential(8, &[(-5, 1.0), (7, 2.0)]).check(), Ok(()));
    }
}
