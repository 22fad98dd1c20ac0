//! Generated data sets: integer arithmetic and no libm, so that every machine makes the same bits.

use annals::{LabelSet, Timestamp};

/// 2026-11-01T00:00:00Z.
pub const START: Timestamp = Timestamp(1_793_491_200_000);
/// Time between two samples of a series.
pub const STEP_MS: i64 = 10_000;
/// Hosts of the `cpu` set; ten series each.
pub const HOSTS: usize = 400;

const FIELDS: [&str; 10] = [
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "usage_softirq",
    "usage_steal",
    "usage_guest",
    "usage_guest_nice",
];
const REGIONS: [&str; 9] = [
    "us-east-1",
    "us-west-1",
    "us-west-2",
    "eu-west-1",
    "eu-central-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-northeast-1",
    "sa-east-1",
];

/// splitmix64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// A number from 0 to below 1.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Mean 0, variance 1: the sum of four uniform numbers.
    pub fn normal(&mut self) -> f64 {
        let bits = self.next_u64();
        let sum = (bits & 0xffff) + ((bits >> 16) & 0xffff) + ((bits >> 32) & 0xffff) + (bits >> 48);
        (sum as f64 / 65_536.0 - 2.0) * 1.732_050_807_568_877_2
    }
}

/// The `cpu` set: 400 hosts with ten whole-number random walks from 0 to 100 each, and ten tags a host.
pub struct Cpu {
    /// The series, host by host.
    pub labels: Vec<LabelSet>,
    walks: Vec<(f64, Random)>,
}

impl Cpu {
    /// The set before its first sample.
    #[must_use]
    pub fn new() -> Cpu {
        let labels = (0..HOSTS).flat_map(|host| {
            let tags = host_tags(host);
            FIELDS.map(|field| {
                let name = ("__name__", format!("cpu_{field}"));
                LabelSet::from_pairs(std::iter::once(&name).chain(&tags).map(|(n, v)| (*n, v)))
                    .expect("valid labels")
            })
        });
        let walks = (0..HOSTS * 10).map(|series| {
            let mut random = Random::new(0x0cb0_0000_0000 + series as u64 * 0x1_0001);
            (random.unit() * 100.0, random)
        });
        Cpu { labels: labels.collect(), walks: walks.collect() }
    }

    /// The next value of every series, in the order of `labels`.
    pub fn step(&mut self, into: &mut Vec<f64>) {
        into.clear();
        into.extend(self.walks.iter_mut().map(|(value, random)| {
            *value = (*value + random.normal()).clamp(0.0, 100.0);
            value.floor()
        }));
    }
}

impl Default for Cpu {
    fn default() -> Cpu {
        Cpu::new()
    }
}

fn host_tags(host: usize) -> Vec<(&'static str, String)> {
    let mut random = Random::new(0x00c0_ffee ^ ((host as u64) << 20));
    let region = REGIONS[random.below(9) as usize];
    let datacenter = format!("{region}{}", ["a", "b", "c"][random.below(3) as usize]);
    let rack = random.below(100).to_string();
    let mut pick = |of: &[&str]| of[random.below(of.len() as u64) as usize].to_owned();
    let (os, arch) = (pick(&["Ubuntu16.10", "Ubuntu16.04LTS", "Ubuntu15.10"]), pick(&["x64", "x86"]));
    let team = pick(&["SF", "NYC", "LON", "CHI"]);
    let (service, version) = (random.below(20).to_string(), random.below(2).to_string());
    let environment = ["production", "staging", "test"][random.below(3) as usize].to_owned();
    vec![
        ("hostname", format!("host_{host}")),
        ("region", region.to_owned()),
        ("datacenter", datacenter),
        ("rack", rack),
        ("os", os),
        ("arch", arch),
        ("team", team),
        ("service", service),
        ("service_version", version),
        ("service_environment", environment),
    ]
}

/// The `hicard` set: 1,000,000 series of one metric with 10 samples each, sampled together, one sweep after the other.
///
/// Made one at a time, so that a measurement of memory does not count the set.
pub mod hicard {
    use annals::{LabelSet, Timestamp};

    use super::{Random, START, STEP_MS};

    /// How many series.
    pub const SERIES: usize = 1_000_000;
    /// How many samples each.
    pub const SWEEPS: usize = 10;

    /// The labels of a series.
    #[must_use]
    pub fn labels(series: usize) -> LabelSet {
        let pod = format!("pod-{:016x}", Random::new(series as u64).next_u64());
        let (namespace, node) = (format!("ns-{}", series % 100), format!("node-{}", series % 1000));
        LabelSet::from_pairs([
            ("__name__", "container_cpu_usage"),
            ("pod", &pod),
            ("namespace", &namespace),
            ("node", &node),
            ("container", ["app", "sidecar", "init", "log"][series % 4]),
        ])
        .expect("valid labels")
    }

    /// The value of a series in a sweep.
    #[must_use]
    pub fn value(series: usize, sweep: usize) -> f64 {
        Random::new(series as u64 ^ ((sweep as u64) << 32)).below(100) as f64
    }

    /// The stamp of a sweep.
    #[must_use]
    pub fn time(sweep: usize) -> Timestamp {
        START.saturating_add((sweep as i64 + 1) * STEP_MS)
    }
}
