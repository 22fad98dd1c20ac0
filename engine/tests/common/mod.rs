//! A store on a simulated disk, and the words that tests use about it.
#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;

use annals::query::promql::Value;
use annals::vfs::{SimClock, SimEntropy, SimVfs};
use annals::{
    Acknowledgement, Annals, Background, BatchId, LabelSet, OpenError, Options, Plan, ReadOnly, SampleBatch,
    SeriesKind, Signal, SignalBatch, SiteName, Tenant, TenantId, TenantReader, Timestamp, WriteError,
};

/// 2026-09-21T14:13:20Z.
pub(crate) const NOW: i64 = 1_790_000_000_000;

/// A machine: disk, clock, entropy.
pub(crate) struct Machine {
    pub(crate) vfs: SimVfs,
    pub(crate) clock: Arc<SimClock>,
    pub(crate) entropy: Arc<SimEntropy>,
    pub(crate) options: Options,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        Machine {
            vfs: SimVfs::new(),
            clock: Arc::new(SimClock::new(NOW)),
            entropy: Arc::new(SimEntropy::new(1)),
            options: Options { background: Background::Steps, log_bytes_max: 8 << 20, ..Options::default() },
        }
    }

    pub(crate) fn try_open(&self) -> Result<Annals, OpenError> {
        let vfs = Arc::new(self.vfs.clone());
        Annals::open(vfs, self.clock.clone(), self.entropy.clone(), "/data".as_ref(), self.options.clone())
    }

    pub(crate) fn open(&self) -> Annals {
        self.try_open().expect("the store opens")
    }

    pub(crate) fn read_only(&self) -> ReadOnly {
        ReadOnly::open(Arc::new(self.vfs.clone()), self.clock.clone(), "/data".as_ref())
            .expect("opens read-only")
    }

    pub(crate) fn now(&self) -> Timestamp {
        use annals::vfs::Clock;
        Timestamp(self.clock.now_ms())
    }
}

pub(crate) fn id(name: &str) -> TenantId {
    TenantId::new(name).expect("valid")
}

pub(crate) fn site(name: &str) -> SiteName {
    SiteName::new(name).expect("valid")
}

pub(crate) fn plan(name: &str) -> Plan {
    Plan::built_in(name).expect("built in")
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> LabelSet {
    LabelSet::from_pairs(pairs.iter().copied()).expect("valid")
}

pub(crate) fn batch_id(number: u64) -> BatchId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    BatchId(id)
}

/// Samples of gauges `name{series="i"}`.
pub(crate) fn gauges(number: u64, name: &str, samples: &[(usize, i64, f64)]) -> SampleBatch {
    samples_of(number, name, SeriesKind::Gauge, samples)
}

pub(crate) fn samples_of(
    number: u64,
    name: &str,
    kind: SeriesKind,
    samples: &[(usize, i64, f64)],
) -> SampleBatch {
    let mut batch = SampleBatch::new(batch_id(number), site("host"));
    let mut indices = std::collections::BTreeMap::new();
    for &(series, time, value) in samples {
        let index = *indices.entry(series).or_insert_with(|| {
            batch.series.push((labels(&[("__name__", name), ("series", &series.to_string())]), kind));
            batch.series.len() as u32 - 1
        });
        batch.push(index, Timestamp(time), value);
    }
    batch
}

/// Failed sign-ins at the given times.
pub(crate) fn attempts(number: u64, times: &[i64]) -> SignalBatch {
    let attempt = |&time: &i64| {
        Signal::new("auth.attempt", Timestamp(time)).with("result", "failure").with("method", "password")
    };
    SignalBatch {
        id: batch_id(number),
        site: site("shop.example"),
        signals: times.iter().map(attempt).collect(),
    }
}

pub(crate) fn write_signals(tenant: &Tenant, batch: &SignalBatch) -> Result<Acknowledgement, WriteError> {
    tenant.write_signals(batch)?.wait()
}

pub(crate) fn write_samples(tenant: &Tenant, batch: &SampleBatch) -> Result<Acknowledgement, WriteError> {
    tenant.write_samples(batch)?.wait()
}

/// The single value of an instant query; 0 where its answer is empty.
pub(crate) fn number(reader: &TenantReader, expression: &str, at: Timestamp) -> f64 {
    match reader.query(expression, at).expect("the query is answered").value {
        Value::Vector(vector) => match vector.as_slice() {
            [] => 0.0,
            [(_, _, value)] => value.float().expect("a number"),
            more => panic!("{expression}: {} values", more.len()),
        },
        Value::Scalar(_, value) => value,
        other => panic!("{expression}: {other:?}"),
    }
}

/// The exact number of failed sign-ins that metrics know of, over all time.
pub(crate) fn failures(reader: &TenantReader, at: Timestamp) -> f64 {
    number(reader, "sum(increase(auth_attempts{result=\"failure\"}[60d]))", at)
}

/// The number of raw signals.
pub(crate) fn raw_signals(reader: &TenantReader) -> usize {
    let mut count = 0;
    let missing = reader.scan_signals(annals::TimeRange::ALL, &[], &mut |_| count += 1);
    assert_eq!(missing, []);
    count
}
