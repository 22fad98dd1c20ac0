//! Sizes and decode speed of metric blocks over generated and, where present, real data:
//! `cargo run --release -p annals-block --example sizes [directory of real data]`.

use std::path::Path;
use std::time::Instant;

use annals_block::{BlockIdentity, ChunkAge, MetricBlock, MetricBlockWriter};
use annals_model::{
    BlockContent, BlockId, Day, LabelSet, Lsn, LsnRange, SeriesKind, TenantNumber, TimeRange,
};
use annals_vfs::Sealed;

const DAY: Day = Day(19_676);
const STEP_MS: i64 = 10_000;
const SAMPLES: usize = 8640;

/// splitmix64.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Mean 0, variance 1: the sum of four uniform numbers.
    fn normal(&mut self) -> f64 {
        let sum: f64 = (0..4).map(|_| self.unit()).sum();
        (sum - 2.0) * 3f64.sqrt()
    }
}

/// A name, and what makes the set.
type Set = (&'static str, fn() -> Vec<Series>);

struct Series {
    labels: LabelSet,
    kind: SeriesKind,
    stamps: Vec<i64>,
    values: Vec<f64>,
}

fn labels(pairs: &[(&str, String)]) -> LabelSet {
    LabelSet::from_pairs(pairs.iter().map(|(name, value)| (*name, value))).expect("valid labels")
}

fn regular() -> Vec<i64> {
    (1..=SAMPLES as i64).map(|i| DAY.range().start.0 + i * STEP_MS).collect()
}

fn host_tags(rng: &mut Rng, host: usize) -> Vec<(&'static str, String)> {
    let region = ["us-east-1", "us-west-1", "us-west-2", "eu-west-1", "eu-central-1", "sa-east-1"]
        [rng.below(6) as usize];
    let mut pick = |from: &[&str]| from[rng.below(from.len() as u64) as usize].to_owned();
    vec![
        ("hostname", format!("host_{host}")),
        ("region", region.to_owned()),
        ("datacenter", region.to_owned() + &pick(&["a", "b", "c"])),
        ("os", pick(&["Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10"])),
        ("arch", pick(&["x64", "x86"])),
        ("team", pick(&["SF", "NYC", "LON", "CHI"])),
        ("service_environment", pick(&["production", "staging", "test"])),
        ("rack", rng.below(100).to_string()),
        ("service", rng.below(20).to_string()),
        ("service_version", rng.below(2).to_string()),
    ]
}

/// 400 hosts, 10 gauges each: whole numbers of a walk with steps of about one.
fn cpu() -> Vec<Series> {
    let mut series = Vec::new();
    for host in 0..400 {
        let mut rng = Rng(host as u64);
        let tags = host_tags(&mut rng, host);
        for field in 0..10 {
            let mut pairs = vec![("__name__", format!("cpu_usage_{field}"))];
            pairs.extend(tags.iter().cloned());
            let mut level = rng.unit() * 100.0;
            let walk = (0..SAMPLES).map(|_| {
                level = (level + rng.normal()).clamp(0.0, 100.0);
                level.floor()
            });
            let values = walk.collect();
            series.push(Series {
                labels: labels(&pairs),
                kind: SeriesKind::Gauge,
                stamps: regular(),
                values,
            });
        }
    }
    series
}

/// Counters with random increments, and a rare reset.
fn counters() -> Vec<Series> {
    (0..400u64)
        .map(|i| {
            let mut rng = Rng(i);
            let mean = 1 << rng.below(14);
            let mut total = rng.below(1 << 26);
            let values = (0..SAMPLES)
                .map(|_| {
                    total = if rng.below(20_000) == 0 { 0 } else { total + rng.below(2 * mean + 1) };
                    total as f64
                })
                .collect();
            let pairs = [("__name__", "http_requests_total".to_owned()), ("shard", i.to_string())];
            Series { labels: labels(&pairs), kind: SeriesKind::Counter, stamps: regular(), values }
        })
        .collect()
}

/// Latencies in milliseconds with three decimals.
fn latencies() -> Vec<Series> {
    (0..300u64)
        .map(|i| {
            let mut rng = Rng(i);
            let base = f64::from(1 << rng.below(9)) * (1.0 + rng.unit());
            let mut x = 0f64;
            let values = (0..SAMPLES)
                .map(|_| {
                    x = (x * 0.9 + rng.normal() * 0.436).clamp(-4.0, 4.0);
                    (base * (1.0 + 0.18 * x).powi(4) * 1000.0).round() / 1000.0
                })
                .collect();
            let pairs = [("__name__", "latency_ms".to_owned()), ("instance", i.to_string())];
            Series { labels: labels(&pairs), kind: SeriesKind::Gauge, stamps: regular(), values }
        })
        .collect()
}

/// A value that changes once in a hundred samples, at jittered times of its own.
fn sparse() -> Vec<Series> {
    (0..300u64)
        .map(|i| {
            let mut rng = Rng(i);
            let mut level = 5.0;
            let values = (0..SAMPLES)
                .map(|_| {
                    if rng.below(100) == 0 {
                        level = rng.below(1000) as f64;
                    }
                    level
                })
                .collect();
            let stamps = regular().iter().map(|t| t - rng.below(5) as i64).collect();
            let pairs = [("__name__", "state".to_owned()), ("instance", i.to_string())];
            Series { labels: labels(&pairs), kind: SeriesKind::Gauge, stamps, values }
        })
        .collect()
}

/// Many series of few samples.
fn short() -> Vec<Series> {
    (0..100_000u64)
        .map(|i| {
            let mut rng = Rng(i);
            let pairs = [
                ("__name__", "container_cpu_usage".to_owned()),
                ("pod", format!("pod-{:016x}", rng.next())),
                ("namespace", format!("ns-{}", i % 100)),
                ("node", format!("node-{}", i % 1000)),
            ];
            let stamps = regular().into_iter().take(10).collect();
            let values = (0..10).map(|_| rng.below(100) as f64).collect();
            Series { labels: labels(&pairs), kind: SeriesKind::Gauge, stamps, values }
        })
        .collect()
}

/// Rows of `name,v,v,..` under a row of times; the capture's names are kept as one label.
fn node_exporter(text: &str) -> Vec<Series> {
    let mut lines = text.lines();
    let start = DAY.range().start.0;
    let times: Vec<i64> =
        lines.next().unwrap_or_default().split(',').skip(1).map(|t| t.parse().expect("a time")).collect();
    let first = times.first().copied().unwrap_or(0);
    let stamps: Vec<i64> = times.iter().map(|t| start + 1 + t - first).collect();
    lines
        .filter_map(|line| {
            // Names hold commas inside of quotes only; values never hold quotes.
            let (name, rest) = match line.rfind('"') {
                Some(quote) => line.split_at(quote + 1),
                None => line.split_at(line.find(',')?),
            };
            let values: Vec<f64> = rest.split(',').filter_map(|value| value.parse().ok()).collect();
            if values.len() != stamps.len() {
                return None;
            }
            let pairs = [("__name__", "node".to_owned()), ("series", name.to_owned())];
            Some(Series { labels: labels(&pairs), kind: SeriesKind::Gauge, stamps: stamps.clone(), values })
        })
        .collect()
}

/// Files of `timestamp,value` with sorted, mostly regular times; the times are replaced by their position.
fn nab(directory: &Path) -> Vec<Series> {
    let mut series = Vec::new();
    for part in ["realAWSCloudwatch", "realKnownCause"] {
        let Ok(files) = std::fs::read_dir(directory.join("nab").join(part)) else { continue };
        for file in files.flatten() {
            let Ok(text) = std::fs::read_to_string(file.path()) else { continue };
            let rows = text.lines().skip(1).filter_map(|line| line.split_once(','));
            let values: Vec<f64> = rows.filter_map(|(_, value)| value.trim().parse().ok()).collect();
            let stamps = (1..=values.len() as i64).map(|i| DAY.range().start.0 + i * 1000).collect();
            let pairs = [("file", file.file_name().to_string_lossy().into_owned())];
            series.push(Series { labels: labels(&pairs), kind: SeriesKind::Gauge, stamps, values });
        }
    }
    series
}

/// Seconds that this thread has run: what else runs on the machine does not count.
fn cpu_s(started: Instant) -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = stat.and_then(|stat| stat.split(' ').next()?.parse::<u64>().ok());
    ns.map_or_else(|| started.elapsed().as_secs_f64(), |ns| ns as f64 / 1e9)
}

fn measure(name: &str, mut series: Vec<Series>) {
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    let samples: usize = series.iter().map(|one| one.stamps.len()).sum();
    let epoch = Instant::now();
    for age in [ChunkAge::Fresh, ChunkAge::Merged] {
        let id = BlockId { day: DAY, content: BlockContent::RawMetrics, sequence: 1 };
        let identity = BlockIdentity { tenant: TenantNumber(1), id };
        let lsns = LsnRange { after: Lsn(0), through: Lsn(1) };
        let started = cpu_s(epoch);
        let mut writer = MetricBlockWriter::new(identity, lsns, 0, age);
        for one in &series {
            writer.add_series(&one.labels, one.kind, &one.stamps, &one.values).expect("valid series");
        }
        let encoded = writer.finish().expect("small enough").expect("not empty");
        let encode_s = cpu_s(epoch) - started;
        let bytes = encoded.bytes.len();
        let block = MetricBlock::open(Sealed::new(encoded.bytes), identity, name).expect("our own");
        let (mut stamps, mut values, mut decode_s, mut sum) = (Vec::new(), Vec::new(), f64::MAX, 0.0);
        // Small sets are read several times: the clock of a thread is coarse.
        let passes = 1 + 20_000_000 / samples;
        for _ in 0..3 {
            let started = cpu_s(epoch);
            sum = 0.0;
            for ordinal in (0..passes).flat_map(|_| 0..block.series_count()) {
                stamps.clear();
                values.clear();
                block.read(ordinal, TimeRange::ALL, &mut stamps, &mut values).expect("undamaged");
                // Four sums at a time, as an aggregate over a column is computed.
                let (groups, rest) = values.as_chunks::<4>();
                let mut lanes = [0.0; 4];
                groups.iter().for_each(|group| lanes.iter_mut().zip(group).for_each(|(lane, v)| *lane += v));
                sum += lanes.iter().chain(rest).sum::<f64>();
            }
            decode_s = ((cpu_s(epoch) - started) / passes as f64).min(decode_s);
        }
        println!(
            "{name} {age:?}: {samples} samples in {} series, {:.4} bytes/sample; encode {:.1} M/s, decode and sum {:.0} M/s ({sum:e})",
            series.len(),
            bytes as f64 / samples as f64,
            samples as f64 / encode_s / 1e6,
            samples as f64 / decode_s / 1e6,
        );
        let sections: Vec<String> =
            block.sections().iter().map(|s| format!("{} {}", s.name, s.bytes)).collect();
        println!("  {}", sections.join(", "));
        let codecs = block.codecs().expect("undamaged");
        let codecs: Vec<String> = codecs
            .iter()
            .map(|c| format!("{} x{} {:.3}", c.codec, c.chunks, c.bytes as f64 / c.samples as f64))
            .collect();
        println!("  {}", codecs.join(", "));
    }
}

fn main() {
    let only = std::env::args().nth(2);
    let wanted = |name: &str| only.as_deref().is_none_or(|only| only == name);
    let generated: [Set; 5] =
        [("cpu", cpu), ("counter", counters), ("latency", latencies), ("sparse", sparse), ("short", short)];
    for (name, generate) in generated {
        if wanted(name) {
            measure(name, generate());
        }
    }
    let directory = std::env::args().nth(1).unwrap_or_else(|| "../shared/data/real".to_owned());
    let directory = Path::new(&directory);
    let capture = directory.join("node_exporter_capture/node_exporter_1s.csv.gz");
    match std::fs::File::open(&capture) {
        Err(_) => println!("SKIPPED real data: {} is missing", capture.display()),
        Ok(file) => {
            let mut text = String::new();
            std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut text).expect("gzip");
            if wanted("node_exporter") {
                measure("node_exporter", node_exporter(&text));
            }
            if wanted("nab") {
                measure("nab", nab(directory));
            }
        }
    }
}
