//! Whole series of the sets that are measured: a day at 10 s unless the set is real.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use annals::{LabelSet, SeriesKind};

use crate::sets::{Cpu, Random, START, STEP_MS, hicard as many};

/// Samples of a day.
pub const SAMPLES: usize = 8_640;

/// One series of a set.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its labels.
    pub labels: LabelSet,
    /// Its kind.
    pub kind: SeriesKind,
    /// Milliseconds, ascending, within one day.
    pub timestamps: Vec<i64>,
    /// One per timestamp.
    pub values: Vec<f64>,
}

/// A set's name and what makes it; `None` where its files are missing.
pub type Set = (&'static str, fn() -> Option<Vec<Series>>);

/// All sets.
pub const SETS: [Set; 8] = [
    ("cpu", || Some(cpu())),
    ("counter", || Some(counter())),
    ("latency", || Some(latency())),
    ("sparse", || Some(sparse())),
    ("doubles", || Some(doubles())),
    ("hicard", || Some(hicard())),
    ("node_exporter", node_exporter),
    ("nab", nab),
];

fn labels(pairs: &[(&str, String)]) -> LabelSet {
    LabelSet::from_pairs(pairs.iter().map(|(name, value)| (*name, value))).expect("valid labels")
}

/// Stamps lie in `(start, start + 24 h]`, as a day's do.
fn regular() -> Vec<i64> {
    (1..=SAMPLES as i64).map(|i| START.0 + i * STEP_MS).collect()
}

fn gauge(labels: LabelSet, values: Vec<f64>) -> Series {
    Series { labels, kind: SeriesKind::Gauge, timestamps: regular(), values }
}

fn cpu() -> Vec<Series> {
    let mut cpu = Cpu::new();
    let mut series: Vec<Series> =
        cpu.labels.iter().map(|labels| gauge(labels.clone(), Vec::with_capacity(SAMPLES))).collect();
    let mut step = Vec::new();
    for _ in 0..SAMPLES {
        cpu.step(&mut step);
        series.iter_mut().zip(&step).for_each(|(series, &value)| series.values.push(value));
    }
    series
}

/// A thousand counters with increments drawn evenly from 0 to twice a mean, and rare resets.
fn counter() -> Vec<Series> {
    let one = |i: usize| {
        let (mut random, mean, first) = counter_mean(i);
        let mut total = first;
        let values = (0..SAMPLES).map(|_| {
            total = if random.below(20_000) == 0 { 0 } else { total + random.below(2 * mean + 1) };
            total as f64
        });
        let values = values.collect();
        let labels = labels(&[
            ("__name__", "http_requests_total".to_owned()),
            ("job", "api".to_owned()),
            ("instance", format!("10.0.{}.{}:9100", i / 200, i / 5 % 40)),
            ("handler", format!("/api/v1/h{}", i % 5)),
            ("code", ["200", "204", "404", "500", "503"][i % 5].to_owned()),
            ("shard", (i / 5).to_string()),
        ]);
        Series { labels, kind: SeriesKind::Counter, timestamps: regular(), values }
    };
    (0..1000).map(one).collect()
}

fn counter_mean(i: usize) -> (Random, u64, u64) {
    let mut random = Random::new(0xc0b0_0000_0000 + i as u64 * 0x1_0001);
    let mean = (1 << random.below(14)) + random.below(4);
    let first = random.below(1 << 30) / 16;
    (random, mean, first)
}

/// How many bytes a sample of `counter` takes at least, by what its increments are drawn from: no code is smaller.
#[must_use]
pub fn counter_entropy_bytes() -> f64 {
    let bits: f64 = (0..1000).map(|i| ((2 * counter_mean(i).1 + 1) as f64).log2()).sum();
    bits / 8_000.0
}

/// Five hundred latencies in milliseconds, with three decimals.
fn latency() -> Vec<Series> {
    let one = |i: usize| {
        let mut random = Random::new(0x1a7e_0000_0000 + i as u64 * 0x1_0001);
        let base = (1u64 << random.below(9)) as f64 * (1.0 + random.unit());
        let mut x = 0f64;
        let values = (0..SAMPLES).map(|_| {
            x = (x * 0.9 + random.normal() * 0.436).clamp(-4.0, 4.0);
            let q = 1.0 + 0.18 * x;
            (base * q * q * q * q * 1000.0).round() / 1000.0
        });
        let values = values.collect();
        let labels = labels(&[
            ("__name__", "latency_ms".to_owned()),
            ("service", format!("svc-{}", i % 25)),
            ("instance", format!("10.1.{}.{}:9100", i / 100, i % 100)),
            ("zone", ["a", "b", "c"][i % 3].to_owned()),
        ]);
        gauge(labels, values)
    };
    (0..500).map(one).collect()
}

/// A value that changes once in a hundred samples.
fn sparse() -> Vec<Series> {
    let one = |i: u64| {
        let mut random = Random::new(i);
        let mut level = 5.0;
        let values = (0..SAMPLES).map(|_| {
            if random.below(100) == 0 {
                level = random.below(1000) as f64;
            }
            level
        });
        gauge(labels(&[("__name__", "state".to_owned()), ("instance", i.to_string())]), values.collect())
    };
    (0..300).map(one).collect()
}

/// Doubles that no short decimal gives.
fn doubles() -> Vec<Series> {
    let one = |i: u64| {
        let mut random = Random::new(i);
        let values = (0..SAMPLES).map(|_| 20.0 + random.unit()).collect();
        gauge(labels(&[("__name__", "ratio".to_owned()), ("instance", i.to_string())]), values)
    };
    (0..100).map(one).collect()
}

/// A tenth of `hicard`, series by series.
fn hicard() -> Vec<Series> {
    let one = |series: usize| Series {
        labels: many::labels(series),
        kind: SeriesKind::Gauge,
        timestamps: (0..10).map(|sweep| many::time(sweep).0).collect(),
        values: (0..10).map(|sweep| many::value(series, sweep)).collect(),
    };
    (0..100_000).map(one).collect()
}

/// Where real data lies, beside the project.
#[must_use]
pub fn real_data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/real")
}

/// A capture of node_exporter at 1 s: rows of `name,v,v,..` under a row of times.
fn node_exporter() -> Option<Vec<Series>> {
    let file = fs::File::open(real_data().join("node_exporter_capture/node_exporter_1s.csv.gz")).ok()?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(file).read_to_string(&mut text).ok()?;
    let mut lines = text.lines();
    let times: Vec<i64> = lines.next()?.split(',').skip(1).filter_map(|time| time.parse().ok()).collect();
    let first = *times.first()?;
    let timestamps: Vec<i64> = times.iter().map(|time| START.0 + 1 + time - first).collect();
    let series = lines.filter_map(|line| {
        // Names hold commas inside of quotes only; values never hold quotes.
        let (name, rest) = match line.rfind('"') {
            Some(quote) => line.split_at(quote + 1),
            None => line.split_at(line.find(',')?),
        };
        let values: Vec<f64> = rest.split(',').filter_map(|value| value.parse().ok()).collect();
        if values.len() != timestamps.len() {
            return None;
        }
        let labels = labels(&[("__name__", "node".to_owned()), ("series", name.to_owned())]);
        Some(Series { labels, kind: SeriesKind::Gauge, timestamps: timestamps.clone(), values })
    });
    Some(series.collect())
}

/// The Numenta benchmark's series of the cloud and of known causes; the times are replaced by their position.
fn nab() -> Option<Vec<Series>> {
    let mut series = Vec::new();
    for part in ["realAWSCloudwatch", "realKnownCause"] {
        for file in fs::read_dir(real_data().join("nab").join(part)).ok()?.flatten() {
            let text = fs::read_to_string(file.path()).ok()?;
            let rows = text.lines().skip(1).filter_map(|line| line.split_once(','));
            let values: Vec<f64> = rows.filter_map(|(_, value)| value.trim().parse().ok()).collect();
            let timestamps = (1..=values.len() as i64).map(|i| START.0 + i * 1_000).collect();
            let labels = labels(&[("file", file.file_name().to_string_lossy().into_owned())]);
            series.push(Series { labels, kind: SeriesKind::Gauge, timestamps, values });
        }
    }
    Some(series)
}
