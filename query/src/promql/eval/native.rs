//! What a native histogram says: quantiles, fractions, spread, and the histogram of a part of its range.
//!
//! Within an exponential bucket observations are taken to lie evenly on a logarithmic scale, within a custom or a zero
//! bucket evenly. The zero bucket of a histogram without negative buckets begins at zero, and the other way around;
//! the first custom bucket begins at zero where it ends above.

use annals_model::{Bucket, Histogram, Sum};

use super::column::{Vector, is_absent};
use crate::promql::ast::BinaryOp;

/// What a result has to be doubted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NanFault {
    /// Observations that were NaN are the result.
    IsNan,
    /// They push the result up.
    Skewed,
    /// They are in no fraction.
    Excluded,
}

/// Functions of one histogram to one number; floats have none.
pub(super) fn scalars<'a>(name: &str, mut vector: Vector<'a>) -> Vector<'a> {
    let value = |own: &Histogram| match name {
        "histogram_count" => own.count,
        "histogram_sum" => own.sum,
        "histogram_avg" => own.sum / own.count,
        "histogram_stddev" => variance(own).sqrt(),
        _ => variance(own),
    };
    for column in &mut vector.columns {
        column.drop_name = true;
        let histograms = std::mem::take(&mut column.histograms);
        for (step, into) in column.values.iter_mut().enumerate() {
            let own = histograms.get(step).and_then(Option::as_ref);
            *into = own.map_or(super::column::ABSENT, |own| value(own));
        }
    }
    vector.columns.retain(|column| column.values.iter().any(|value| !is_absent(*value)));
    vector
}

fn variance(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut sum = Sum::default();
    for bucket in histogram.buckets().filter(|bucket| bucket.count != 0.0) {
        let value = if histogram.is_custom() {
            f64::midpoint(bucket.upper, bucket.lower)
        } else if holds_zero(&bucket) {
            0.0
        } else {
            geometric(&bucket)
        };
        let delta = value - mean;
        sum.add(bucket.count * delta * delta);
    }
    sum.total() / histogram.count
}

fn holds_zero(bucket: &Bucket) -> bool {
    bucket.lower <= 0.0 && bucket.upper >= 0.0
}

/// The geometric mean of a bucket's bounds.
fn geometric(bucket: &Bucket) -> f64 {
    let mean = (bucket.upper * bucket.lower).sqrt();
    if bucket.upper < 0.0 { -mean } else { mean }
}

/// A bucket as far as observations can lie in it.
fn narrowed(histogram: &Histogram, mut bucket: Bucket) -> Bucket {
    if histogram.is_custom() {
        if bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 {
            bucket.lower = 0.0;
        }
    } else if holds_zero(&bucket) {
        match (histogram.negative.is_empty(), histogram.positive.is_empty()) {
            (true, false) => bucket.lower = 0.0,
            (false, true) => bucket.upper = 0.0,
            _ => {}
        }
    }
    bucket
}

/// The φ-quantile.
pub(super) fn quantile(phi: f64, histogram: &Histogram) -> (f64, Option<NanFault>) {
    if phi < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if phi > 1.0 {
        return (f64::INFINITY, None);
    }
    if histogram.count == 0.0 || phi.is_nan() {
        return (f64::NAN, None);
    }
    let nan = histogram.sum.is_nan();
    // Observations that are NaN are in no bucket, so ranks are counted from the lower end.
    let forward = nan || phi < 0.5;
    let mut rank = if forward { phi * histogram.count } else { (1.0 - phi) * histogram.count };
    let (mut count, mut found) = (0.0, None);
    let mut look = |bucket: Bucket| {
        if bucket.count == 0.0 {
            return false;
        }
        count += bucket.count;
        found = Some(bucket);
        count >= rank
    };
    if forward {
        let _ = histogram.buckets().any(&mut look);
    } else {
        let _ = histogram.buckets().rev().any(&mut look);
    }
    let Some(bucket) = found else { return (f64::NAN, nan.then_some(NanFault::IsNan)) };
    let skewed = nan.then_some(NanFault::Skewed);
    let bucket = narrowed(histogram, bucket);
    count = f64::min(count, histogram.count);
    if count < rank {
        return if nan { (f64::NAN, Some(NanFault::IsNan)) } else { (bucket.upper, None) };
    }
    if bucket.lower == f64::NEG_INFINITY {
        return (bucket.upper, skewed);
    }
    if bucket.upper == f64::INFINITY && histogram.is_custom() {
        return (bucket.lower, skewed);
    }
    rank = if forward { rank - (count - bucket.count) } else { count - rank };
    let fraction = rank / bucket.count;
    let value = if histogram.is_custom() || holds_zero(&bucket) {
        bucket.lower + (bucket.upper - bucket.lower) * fraction
    } else {
        let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
        if bucket.lower > 0.0 {
            (lower + (upper - lower) * fraction).exp2()
        } else {
            -(upper + (lower - upper) * (1.0 - fraction)).exp2()
        }
    };
    (value, skewed)
}

/// How much of a bucket lies at or below a value within it; the bucket is narrowed already.
fn part_below(histogram: &Histogram, bucket: &Bucket, value: f64) -> f64 {
    // An infinitely wide bucket has all its observations at its finite end.
    if bucket.lower == f64::NEG_INFINITY {
        return 1.0;
    }
    if histogram.is_custom() || holds_zero(bucket) {
        return (value - bucket.lower) / (bucket.upper - bucket.lower);
    }
    let (lower, upper, at) = (bucket.lower.abs().log2(), bucket.upper.abs().log2(), value.abs().log2());
    if value > 0.0 { (at - lower) / (upper - lower) } else { 1.0 - (at - upper) / (lower - upper) }
}

/// The share of observations above `lower` and up to `upper`.
pub(super) fn fraction(lower: f64, upper: f64, histogram: &Histogram) -> (f64, Option<NanFault>) {
    let fault = histogram.sum.is_nan().then_some(NanFault::Excluded);
    if histogram.count == 0.0 || lower.is_nan() || upper.is_nan() {
        return (f64::NAN, None);
    }
    if lower >= upper {
        return (0.0, fault);
    }
    let total = if histogram.sum.is_nan() {
        histogram.buckets().map(|bucket| bucket.count).sum()
    } else {
        histogram.count
    };
    let rank_of = |value: f64| {
        let mut rank = 0.0;
        for bucket in histogram.buckets().map(|bucket| narrowed(histogram, bucket)) {
            if bucket.lower >= value {
                return f64::min(rank, total);
            }
            if bucket.upper > value {
                return f64::min(rank + bucket.count * part_below(histogram, &bucket, value), total);
            }
            rank += bucket.count;
        }
        total
    };
    ((rank_of(upper) - rank_of(lower)) / histogram.count, fault)
}

/// What is left of a histogram below (`</`) or above (`>/`) a value. The sum is estimated anew where anything is cut.
pub(super) fn trimmed(op: BinaryOp, histogram: &Histogram, at: f64) -> Histogram {
    let keep_lower = op == BinaryOp::TrimUpper;
    let (mut count, mut sum, mut cut) = (Sum::default(), Sum::default(), false);
    let mut keep = |bucket: Bucket| {
        // Nobody knows where in a bucket of all numbers anything lies.
        let boundless = bucket.lower == f64::NEG_INFINITY && bucket.upper == f64::INFINITY;
        let whole = if boundless { bucket } else { narrowed(histogram, bucket) };
        let (mut kept, part) = remaining(histogram, whole, at, keep_lower);
        kept.count = bucket.count * part;
        cut |= part < 1.0 || kept != Bucket { count: kept.count, ..whole };
        if kept.count != 0.0 {
            count.add(kept.count);
            sum.add(kept.count * representative(histogram, &kept));
        }
        kept.count
    };
    let kept: Vec<f64> = histogram.buckets().map(&mut keep).collect();
    if !cut {
        return histogram.clone();
    }
    let mut kept = kept.into_iter();
    let mut out = histogram.clone();
    for (own, kept) in out.negative.iter_mut().rev().zip(&mut kept) {
        own.1 = kept;
    }
    if histogram.zero_bucket().is_some() {
        out.zero_count = kept.next().unwrap_or(0.0);
    }
    for (own, kept) in out.positive.iter_mut().zip(&mut kept) {
        own.1 = kept;
    }
    (out.count, out.sum) = (count.total(), sum.total());
    out.compacted()
}

/// What of a bucket's range is left, and how much of its observations.
fn remaining(histogram: &Histogram, bucket: Bucket, at: f64, keep_lower: bool) -> (Bucket, f64) {
    if at >= bucket.upper || at <= bucket.lower {
        // All of it is on one side; a value at both ends is at the infinite one.
        let below = at >= bucket.upper && (at > bucket.lower || keep_lower);
        return (bucket, if below == keep_lower { 1.0 } else { 0.0 });
    }
    if at.is_nan() || (bucket.lower == f64::NEG_INFINITY && bucket.upper == f64::INFINITY) {
        return (bucket, 0.0);
    }
    let below = if bucket.upper == f64::INFINITY { 0.0 } else { part_below(histogram, &bucket, at) };
    if keep_lower {
        (Bucket { upper: at, ..bucket }, below)
    } else {
        (Bucket { lower: at, ..bucket }, 1.0 - below)
    }
}

/// The value that stands for the observations of a bucket.
fn representative(histogram: &Histogram, bucket: &Bucket) -> f64 {
    if bucket.lower == f64::NEG_INFINITY {
        return bucket.upper;
    }
    if bucket.upper == f64::INFINITY {
        return bucket.lower;
    }
    if histogram.is_custom() || holds_zero(bucket) || near_zero(histogram, bucket) {
        return f64::midpoint(bucket.lower, bucket.upper);
    }
    geometric(bucket)
}

/// Whether it is what is left of the zero bucket.
fn near_zero(histogram: &Histogram, bucket: &Bucket) -> bool {
    bucket.lower >= -histogram.zero_threshold && bucket.upper <= histogram.zero_threshold
}
