//! Latencies of one hour at 10 s as classic histograms, a counter per bucket, and as native ones.

use annals::{BatchId, Histogram, LabelSet, SampleBatch, SeriesKind, SiteName};

use crate::series::Series;
use crate::sets::{Random, START, STEP_MS};

/// Samples of a series.
pub const SAMPLES: usize = 360;
const INSTANCES: usize = 1_000;
const NATIVES: usize = 100;
const BOUNDS: [&str; 10] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"];
/// Buckets of a native histogram, of which each sample fills some.
const BUCKETS: i32 = 40;

fn labels(name: &str, instance: usize, le: &str) -> LabelSet {
    let (instance, job) =
        (format!("10.2.{}.{}:9100", instance / 250, instance % 250), format!("job-{}", instance % 20));
    let pairs = [("__name__", name), ("instance", &instance), ("job", &job), ("le", le)];
    LabelSet::from_pairs(pairs).expect("valid labels")
}

fn times() -> impl Iterator<Item = i64> {
    (1..=SAMPLES as i64).map(|at| START.0 + at * STEP_MS)
}

/// `rpc_seconds_bucket`: ten buckets of each of a thousand instances.
#[must_use]
pub fn buckets() -> Vec<Series> {
    let of_instance = |instance: usize| {
        let mut random = Random::new(instance as u64);
        let mut counts = [0u64; BOUNDS.len()];
        let mut values = vec![Vec::with_capacity(SAMPLES); BOUNDS.len()];
        for _ in 0..SAMPLES {
            let mut seen = 0;
            for (count, values) in counts.iter_mut().zip(&mut values) {
                seen += random.below(20);
                *count += seen;
                values.push(*count as f64);
            }
        }
        BOUNDS.into_iter().zip(values).map(move |(le, values)| Series {
            labels: labels("rpc_seconds_bucket", instance, le),
            kind: SeriesKind::Counter,
            timestamps: times().collect(),
            values,
        })
    };
    (0..INSTANCES).flat_map(of_instance).collect()
}

/// `rpc_seconds`: a hundred counters of forty exponential buckets.
#[must_use]
pub fn natives() -> SampleBatch {
    let mut batch = SampleBatch::new(BatchId([9; 16]), SiteName::new("bench").expect("valid"));
    for instance in 0..NATIVES {
        let mut random = Random::new(instance as u64);
        let series = batch.series(labels("rpc_seconds", instance, ""), SeriesKind::Histogram);
        let mut counts = vec![0u64; BUCKETS as usize];
        for time in times() {
            for _ in 0..30 {
                let bucket = (random.below(BUCKETS as u64 / 2) + random.below(BUCKETS as u64 / 2)) as usize;
                counts[bucket] += 1;
            }
            let filled = (-20..).zip(&counts).filter(|(_, count)| **count > 0);
            let positive: Vec<(i32, f64)> = filled.map(|(index, &count)| (index, count as f64)).collect();
            let count = positive.iter().map(|(_, count)| count).sum();
            let sum = positive.iter().map(|&(index, count)| count * f64::from(index + 30)).sum();
            let histogram = Histogram { schema: 3, count, sum, positive, ..Histogram::default() };
            batch.push_histogram(series, annals::Timestamp(time), histogram);
        }
    }
    batch
}
