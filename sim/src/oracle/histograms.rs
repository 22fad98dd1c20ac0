//! Histograms that stand for numbers, so that one oracle does for both.
//!
//! A whole number `n` is the histogram that counts `n` observations in one bucket, and whose sum is `n`; of a delta
//! histogram the bucket changes with `n`, so that those that were added up have several. What is read back stands for its
//! count, where its buckets and its sum agree.

use annals::{Histogram, Samples, SeriesKind};

/// Buckets over which delta histograms are spread.
const BUCKETS: f64 = 7.0;

/// The histogram of a number.
#[must_use]
pub fn histogram_of(kind: SeriesKind, number: f64) -> Histogram {
    let bucket = if kind == SeriesKind::DeltaHistogram { (number % BUCKETS) as i32 } else { 0 };
    Histogram {
        schema: 3,
        zero_threshold: 0.001,
        count: number,
        sum: number,
        positive: vec![(bucket, number)],
        ..Histogram::default()
    }
    .compacted()
}

/// Puts its number in the place of each histogram. What stands for none is told from every number by its bits.
pub(super) fn as_numbers(samples: &mut Samples) {
    for (value, histogram) in samples.values.iter_mut().zip(&samples.histograms) {
        let Some(histogram) = histogram else { continue };
        let buckets: f64 = histogram.positive.iter().map(|(_, count)| count).sum();
        let sound = (histogram.schema, histogram.zero_threshold) == (3, 0.001)
            && histogram.negative.is_empty()
            && [buckets, histogram.sum] == [histogram.count; 2];
        *value = if sound { histogram.count } else { f64::from_bits(0x7ff8_0000_0000_0bad) };
    }
}
