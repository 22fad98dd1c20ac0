//! Quantiles of durations that were counted into buckets.
//!
//! A bucket tells how many events lay at or under its bound, so a quantile is known to lie between two bounds
//! and no closer. Both are given; nothing is interpolated.

/// A bucket: how many events had a value of at most `bound`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// The greatest value that it counts; infinity for the last.
    pub bound: f64,
    /// The events at or under the bound, those of lower buckets included.
    pub count: u64,
}

/// Where a quantile lies: over `above`, at most `at_most`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantileBounds {
    /// The bound of the bucket before; zero for the first.
    pub above: f64,
    /// The bound of the quantile's bucket; infinity where it lies over all finite bounds.
    pub at_most: f64,
}

/// Buckets that no count of events can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BucketError {
    /// Bounds that do not ascend.
    #[error("the bound of bucket {position} is not over the one before it; sort the buckets by bound")]
    Bounds {
        /// Which bucket, from 0.
        position: usize,
    },
    /// A bucket that counts fewer events than a lower one.
    #[error("bucket {position} counts fewer events than the one before it, so a part of the data is missing")]
    Counts {
        /// Which bucket, from 0.
        position: usize,
    },
}

/// The bounds of a quantile, given in thousandths (950 is the 95th percentile): the smallest value that at
/// least that share of the events does not exceed. `None` where there are no events.
///
/// ```
/// use annals_query::exact::{Bucket, QuantileBounds, quantile_from_buckets};
/// let buckets =
///     [(0.1, 90), (0.5, 99), (f64::INFINITY, 100)].map(|(bound, count)| Bucket { bound, count });
/// assert_eq!(
///     quantile_from_buckets(&buckets, 950)?,
///     Some(QuantileBounds { above: 0.1, at_most: 0.5 })
/// );
/// # Ok::<(), annals_query::exact::BucketError>(())
/// ```
pub fn quantile_from_buckets(
    buckets: &[Bucket],
    thousandths: u16,
) -> Result<Option<QuantileBounds>, BucketError> {
    let mut before = Bucket { bound: f64::NEG_INFINITY, count: 0 };
    for (position, bucket) in buckets.iter().enumerate() {
        if bucket.bound.is_nan() || bucket.bound <= before.bound {
            return Err(BucketError::Bounds { position });
        }
        if bucket.count < before.count {
            return Err(BucketError::Counts { position });
        }
        before = *bucket;
    }
    let rank = (u128::from(before.count) * u128::from(thousandths.min(1000))).div_ceil(1000).max(1);
    let mut above = 0.0;
    for bucket in buckets {
        if u128::from(bucket.count) >= rank {
            return Ok(Some(QuantileBounds { above, at_most: bucket.bound }));
        }
        above = bucket.bound;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: [f64; 4] = [0.1, 0.5, 1.0, f64::INFINITY];

    fn counted(values: &[f64]) -> Vec<Bucket> {
        BOUNDS
            .iter()
            .map(|&bound| Bucket { bound, count: values.iter().filter(|&&v| v <= bound).count() as u64 })
            .collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_true_quantile_lies_within_the_bounds(
            mut values in prop::collection::vec(0.001f64..3.0, 1..60),
            thousandths in 0u16..=1000,
        ) {
            let bounds = quantile_from_buckets(&counted(&values), thousandths)
                .expect("counted")
                .expect("not empty");
            values.sort_by(f64::total_cmp);
            let rank = (values.len() * usize::from(thousandths)).div_ceil(1000).max(1);
            let truth = values[rank - 1];
            prop_assert!(bounds.above < truth && truth <= bounds.at_most);
        }
    }

    #[test]
    fn no_events_have_no_quantile() {
        assert_eq!(quantile_from_buckets(&[], 500), Ok(None));
        assert_eq!(quantile_from_buckets(&counted(&[]), 500), Ok(None));
    }

    #[test]
    fn impossible_buckets_are_refused() {
        let buckets = [Bucket { bound: 1.0, count: 5 }, Bucket { bound: 2.0, count: 4 }];
        assert_eq!(quantile_from_buckets(&buckets, 500), Err(BucketError::Counts { position: 1 }));
        let buckets = [Bucket { bound: 1.0, count: 5 }, Bucket { bound: 1.0, count: 6 }];
        assert_eq!(quantile_from_buckets(&buckets, 500), Err(BucketError::Bounds { position: 1 }));
        let buckets = [Bucket { bound: f64::NAN, count: 5 }];
        assert_eq!(quantile_from_buckets(&buckets, 500), Err(BucketError::Bounds { position: 0 }));
    }
}
