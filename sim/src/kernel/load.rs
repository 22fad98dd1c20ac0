//! What is written to a store on a real kernel: the n-th batch of every writer is a function of `n`, so that whoever
//! finds a sample or a row in a store knows which batch it came with and what else must be there.
//!
//! | batch  | holds                                                                     | stamps                  |
//! |--------|---------------------------------------------------------------------------|-------------------------|
//! | even n | `n % 7 + 1` signals, of which `auth_attempts` is derived                    | [`stamp`] and the next  |
//! | odd n  | a sample in each of [`SERIES`] series, of bits that only `n` has            | [`stamp`]               |

use annals::vfs::SimEntropy;
use annals::{
    BatchId, DAY_MS, LabelSet, Options, SampleBatch, SeriesKind, Signal, SignalBatch, SiteName, TenantId,
    Timestamp,
};

/// Tenants that are written to at the same time, one thread each.
pub const WRITERS: usize = 3;
/// Series of a batch of samples.
pub const SERIES: u64 = 8;
/// The metric that all samples are of.
pub const METRIC: &str = "n";
/// 2024-01-01T00:00:00Z: in the past wherever a campaign runs.
pub const START: i64 = 1_704_067_200_000;
/// Days that batches are spread over, so that a flush makes several blocks.
pub const DAYS: i64 = 3;

/// After how many batches the next day's turn is.
const BATCHES_PER_DAY: u64 = 40;
/// After how many batches new series take the place of the old ones.
const BATCHES_PER_SERIES: u64 = 500;
/// Stamps of a batch; more than the signals of any.
const STAMPS_PER_BATCH: u64 = 8;
/// A quiet NaN whose low bits are free: a payload that only a store that keeps bits gives back.
const NAN_BITS: u64 = 0x7ff8_dead_0000_0000;

/// Sizes that make a few hundred batches meet rotations, flushes and merges.
#[must_use]
pub fn options() -> Options {
    Options { head_bytes_max: 96 << 10, log_bytes_max: 512 << 10, ..Options::default() }
}

/// The tenant of a writer.
#[must_use]
pub fn tenant(writer: usize) -> TenantId {
    TenantId::new(&format!("writer-{writer}")).expect("valid")
}

/// A tenant that is created while others are written to.
#[must_use]
pub fn newcomer(number: u64) -> TenantId {
    TenantId::new(&format!("newcomer-{number}")).expect("valid")
}

/// The `n`-th batch of a writer.
#[derive(Debug, Clone)]
pub enum Batch {
    /// Of an even number.
    Signals(SignalBatch),
    /// Of an odd one.
    Samples(SampleBatch),
}

/// The `n`-th batch of every writer.
#[must_use]
pub fn batch(n: u64) -> Batch {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&n.to_le_bytes());
    let (id, site) = (BatchId(id), SiteName::new("shop.example").expect("valid"));
    let first = stamp(n);
    if n.is_multiple_of(2) {
        let signals = (0..signals_of(n)).map(|i| {
            Signal::new("auth.attempt", Timestamp(first + i as i64))
                .with("result", "failure")
                .with("method", "password")
        });
        return Batch::Signals(SignalBatch { id, site, signals: signals.collect() });
    }
    let mut batch = SampleBatch::new(id, site);
    for series in 0..SERIES {
        let labels = [("__name__", METRIC.to_owned()), ("series", series_name(n, series))];
        let index = batch.series(LabelSet::from_pairs(labels).expect("valid"), SeriesKind::Gauge);
        batch.push(index, Timestamp(first), value(n, series));
    }
    Batch::Samples(batch)
}

/// How many signals the `n`-th batch has, where it has any.
#[must_use]
pub fn signals_of(n: u64) -> u64 {
    n % 7 + 1
}

/// The `n`-th batch's first stamp.
#[must_use]
pub fn stamp(n: u64) -> i64 {
    let day = (n / BATCHES_PER_DAY) as i64 % DAYS;
    START + day * DAY_MS + (n * STAMPS_PER_BATCH) as i64 % DAY_MS
}

/// The batch whose stamp this is; `None` where no batch has it.
#[must_use]
pub fn batch_of(time: i64) -> Option<u64> {
    let n = u64::try_from((time - START) % DAY_MS).ok()? / STAMPS_PER_BATCH;
    let of_batch = stamp(n)..stamp(n) + STAMPS_PER_BATCH as i64;
    of_batch.contains(&time).then_some(n)
}

/// The label of the `series`-th series of the `n`-th batch.
#[must_use]
pub fn series_name(n: u64, series: u64) -> String {
    (series + n / BATCHES_PER_SERIES * SERIES).to_string()
}

/// The sample of the `n`-th batch in its `series`-th series.
#[must_use]
pub fn value(n: u64, series: u64) -> f64 {
    match series {
        0 => n as f64,
        1 => f64::from_bits(NAN_BITS | n & 0xffff_ffff),
        2 => -(n as f64) / 7.0,
        _ => (n * series) as f64 * 0.5,
    }
}

/// Seeded chance.
#[derive(Debug)]
pub struct Chance(SimEntropy);

impl Chance {
    /// The same seed draws the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Chance {
        Chance(SimEntropy::new(seed))
    }

    /// A number from 0 to below `bound`.
    #[must_use]
    pub fn below(&self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True once in so many times.
    #[must_use]
    pub fn one_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stamp_leads_back_to_its_batch() {
        for n in (0..3_000).chain([123_456, 1_000_001]) {
            assert_eq!(batch_of(stamp(n)), Some(n));
            assert_eq!(batch_of(stamp(n) + signals_of(n) as i64 - 1), Some(n));
        }
        assert_eq!(batch_of(START - 1), None);
        assert_eq!(batch_of(stamp(50) - DAY_MS), None, "the day is part of it");
    }

    #[test]
    fn no_two_batches_share_a_sample() {
        let bits = |n| (0..SERIES).map(|series| value(n, series).to_bits()).collect::<Vec<_>>();
        assert!((1..2_000).all(|n| bits(n) != bits(n - 1)));
        assert!(value(77, 1).is_nan());
    }
}
