//! The fixed stores that are damaged: a full one, whose blocks and log segments are large enough to hold every codec
//! and content, and a small one, in which whole verifications are cheap.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals::{
    BatchId, DAY_MS, Encryption, LabelSet, Options, Plan, START_UNKNOWN, SampleBatch, SeriesKind, Signal,
    SignalBatch, SiteName, Tenant, TenantId, Timestamp,
};

use super::memory::Memory;
use crate::oracle::histogram_of;
use crate::world::{Machine, NOW};

/// Where the store is.
pub(super) const ROOT: &str = "/data";
/// Whose data there is: the same data, so that bytes could pass for each other's.
pub(super) const TENANTS: [&str; 2] = ["one", "two"];

/// A store, on its disk and as bytes.
pub(super) struct Fixed {
    /// The machine, switched off: no store is open.
    pub(super) machine: Machine,
    /// Its files.
    pub(super) memory: Memory,
}

/// How much a store holds.
#[derive(Clone, Copy)]
pub(super) struct Content {
    /// Samples of each series.
    samples: i64,
    /// Signals.
    signals: i64,
    /// Samples of each series that are in the log only.
    logged: i64,
}

impl Content {
    /// Blocks and log segments of 64 KiB and more.
    pub(super) const FULL: Content = Content { samples: 900, signals: 2_600, logged: 700 };
    /// A few of each.
    pub(super) const SMALL: Content = Content { samples: 20, signals: 10, logged: 3 };
}

/// A mixing function: content that does not compress, the same in each run.
fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The value of a series' sample: each series is of another shape, so that each codec has its own.
fn value(series: i64, i: i64) -> f64 {
    let random = mixed((series * 1_000_003 + i) as u64);
    match series % 10 {
        0 => 42.0,
        1 => (i / 7) as f64,
        2 => (random % 100) as f64,
        3 => (random % 10_000) as f64 / 100.0,
        4 => (random % 2) as f64,
        5 => i as f64 * 1e12,
        6 => f64::from_bits(random & !(0x7ff << 52) | 0x3fe << 52),
        7 => [0.5, 1.25, -3.0, 1e300][(random % 4) as usize],
        8 => -(i as f64) - (random % 3) as f64,
        _ => f64::from_bits(0x3ff0_0000_0000_0000 + (random >> 12)),
    }
}

fn samples(id: u64, from: i64, count: i64) -> SampleBatch {
    let mut batch = SampleBatch::new(batch_id(id), SiteName::new("host").expect("valid"));
    for series in 0..20i64 {
        let (name, number) = (format!("shape_{}", series % 10), series.to_string());
        let labels = [("__name__", name.as_str()), ("series", number.as_str())];
        let labels = LabelSet::from_pairs(labels).expect("valid");
        batch.series.push((labels, SeriesKind::Gauge));
        for i in from..from + count {
            // Half of the series are sampled together, the others each at times of their own.
            let jitter = if series < 10 { 0 } else { mixed((series * 7 + i) as u64) % 9_000 };
            let time = Timestamp(NOW - DAY_MS / 4 + i * 10_000 + jitter as i64);
            // Some know the start of their process, which lives for a while.
            let start = if series % 4 == 0 { NOW - DAY_MS / 2 + i / 300 } else { START_UNKNOWN };
            batch.push_since(series as u32, time, value(series, i), Timestamp(start));
        }
    }
    for (kind, name) in [(SeriesKind::Histogram, "levels"), (SeriesKind::DeltaHistogram, "events")] {
        let series = batch.series(LabelSet::from_pairs([("__name__", name)]).expect("valid"), kind);
        for i in from..from + count {
            let time = Timestamp(NOW - DAY_MS / 4 + i * 10_000);
            let histogram = histogram_of(kind, (i * 50 + i % 7) as f64);
            batch.push_histogram_since(series, time, histogram, Timestamp(NOW - DAY_MS / 2));
        }
    }
    batch
}

fn signals(id: u64, count: i64) -> SignalBatch {
    let signal = |i: i64| {
        let time = Timestamp(NOW - DAY_MS / 4 + i * 3_000);
        let random = mixed(i as u64);
        if i % 2 == 0 {
            let result = ["failure", "success", "blocked"][(random % 3) as usize];
            let user = format!("user-{}", random % 100_000);
            Signal::new("auth.attempt", time)
                .with("result", result)
                .with("method", "password")
                .with("user", user.as_str())
                .with("client", format!("10.0.{}.{}", random % 256, random / 256 % 256).as_str())
        } else {
            Signal::new("http.request", time)
                .with("method", "GET")
                .with("status", 200 + (random % 3) as i64 * 100)
                .with("route", format!("/r/{}", random % 50).as_str())
                .with("bytes", (random % 1_000_000) as i64)
                .with("client", format!("10.1.{}.{}", random % 256, random / 256 % 256).as_str())
        }
    };
    SignalBatch {
        id: batch_id(id),
        site: SiteName::new("shop.example").expect("valid"),
        signals: (0..count).map(signal).collect(),
    }
}

fn batch_id(id: u64) -> BatchId {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&id.to_le_bytes());
    BatchId(bytes)
}

fn write(tenant: &Tenant, batch: &SampleBatch) {
    tenant.write_samples(batch).expect("taken").wait().expect("written");
}

/// Builds a store; the same in each run.
pub(super) fn build(content: Content, encryption: Encryption) -> Fixed {
    // Segments of 128 KiB: several of them, each small enough for every bit of it to be flipped.
    let machine = Machine::new(Options { log_bytes_max: 1 << 20, encryption, ..Options::default() });
    let store = machine.open().expect("an empty disk opens");
    for name in TENANTS {
        let id = TenantId::new(name).expect("valid");
        let tenant = store.create_tenant(&id, Plan::built_in("archive").expect("built in")).expect("created");
        for part in 0..content.samples / 20 {
            write(&tenant, &samples(100 + part as u64, part * 20, 20));
        }
        let batch = signals(1, content.signals);
        for (part, signals) in (0u64..).zip(batch.signals.chunks(500)) {
            let batch = SignalBatch { id: batch_id(2 + part), signals: signals.to_vec(), ..batch.clone() };
            tenant.write_signals(&batch).expect("taken").wait().expect("written");
        }
        tenant.flush().expect("flushed");
    }
    // After both flushes: the log holds records of both tenants, one after the other.
    for part in 0..content.logged.div_euclid(20).max(1) {
        for name in TENANTS {
            let tenant = store.tenant(&TenantId::new(name).expect("valid")).expect("there");
            write(
                &tenant,
                &samples(10_000 + part as u64, content.samples + part * 20, content.logged.min(20)),
            );
        }
    }
    store.close().expect("closed");
    let memory = Memory::of(&machine.vfs, ROOT.as_ref());
    Fixed { machine, memory }
}

impl Fixed {
    /// The files whose path has a part, by name.
    pub(super) fn files(&self, part: &str) -> Vec<PathBuf> {
        self.memory.paths().into_iter().filter(|path| path.to_string_lossy().contains(part)).collect()
    }

    /// The bytes of a file that is there.
    pub(super) fn read(&self, path: &Path) -> Arc<Vec<u8>> {
        self.memory.read(path).expect("it was listed")
    }
}
