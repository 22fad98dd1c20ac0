//! A machine with a store on it, and an oracle of what the store must say: every batch that was tried, and what became
//! of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use annals::vfs::{SimClock, SimEntropy, SimVfs};
use annals::{
    Annals, Background, BatchId, Budget, LabelSet, METRIC_NAME, Matcher, OpenError, Options, Plan,
    QueryLimits, SampleBatch, Samples, SeriesKind, SeriesSource, SiteName, Tenant, TenantId, TenantReader,
    TimeRange, Timestamp, WriteError,
};

use crate::seeds::NOW;

/// The tenants of the machine.
pub(super) const TENANTS: [&str; 2] = ["ada", "bob"];
/// A day before the clock's start: when samples are of, so that the counter and the gauges share a block.
const START: i64 = NOW - 86_400_000;

/// What is known of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was acknowledged: there, once, for ever.
    Acknowledged,
    /// It was refused: not there.
    Refused,
    /// Nobody was told: there or not, as a whole; the next open decides for ever.
    Unknown,
}

/// A batch that was tried: gauges at times of its own, and one event in the counter that all batches share.
#[derive(Debug, Clone)]
pub(super) struct Attempt {
    pub(super) tenant: usize,
    pub(super) batch: SampleBatch,
    pub(super) fate: Fate,
}

pub(super) struct Machine {
    pub(super) vfs: SimVfs,
    pub(super) clock: Arc<SimClock>,
    entropy: Arc<SimEntropy>,
    pub(super) attempts: Vec<Attempt>,
    /// Whether a fault was armed since the open: what the store then could not read, it says is missing.
    pub(super) struck: bool,
    next_stamp: i64,
}

impl Machine {
    pub(super) fn new() -> Machine {
        let machine = Machine {
            vfs: SimVfs::new(),
            clock: Arc::new(SimClock::new(NOW)),
            entropy: Arc::new(SimEntropy::new(1)),
            attempts: Vec::new(),
            struck: false,
            next_stamp: START,
        };
        let store = machine.open().expect("an empty disk becomes a store");
        for name in TENANTS {
            let plan = Plan::built_in("archive").expect("built in");
            store.create_tenant(&id(name), plan).expect("a disk without faults");
        }
        drop(store);
        machine
    }

    pub(super) fn open(&self) -> Result<Annals, OpenError> {
        let options =
            Options { background: Background::Steps, log_bytes_max: 512 << 10, ..Options::default() };
        let vfs = Arc::new(self.vfs.clone());
        Annals::open(vfs, self.clock.clone(), self.entropy.clone(), Path::new("/data"), options)
    }

    /// A new batch of that many gauge samples.
    pub(super) fn batch(&mut self, samples: usize, series: usize, value: u64) -> SampleBatch {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(self.attempts.len() as u64).to_le_bytes());
        let site = SiteName::new("host").expect("valid");
        let mut batch = SampleBatch::new(BatchId(id), site);
        let gauge =
            LabelSet::from_pairs([("__name__", "gauge"), ("series", ["a", "b", "c", "d"][series % 4])]);
        let gauge = batch.series(gauge.expect("valid"), SeriesKind::Gauge);
        for step in 0..samples as u64 {
            self.next_stamp += 1_000;
            batch.push(gauge, Timestamp(self.next_stamp), f64::from_bits(value.wrapping_add(step)));
        }
        let events = LabelSet::from_pairs([("__name__", "events")]).expect("valid");
        let events = batch.series(events, SeriesKind::Delta);
        batch.push(events, Timestamp(START), 1.0);
        batch
    }

    /// Writes a batch that was tried before, or is new, and learns its fate.
    pub(super) fn write(&mut self, store: &Annals, attempt: usize) {
        let Attempt { tenant, batch, fate } = self.attempts[attempt].clone();
        let Ok(tenant) = store.tenant(&id(TENANTS[tenant])) else { return };
        let result = tenant.write_samples(&batch).and_then(|ticket| ticket.wait());
        let new = match result {
            Ok(acknowledgement) => {
                assert_eq!(acknowledgement.refused, [], "every sample is admissible");
                assert!(
                    fate != Fate::Acknowledged || acknowledgement.duplicate,
                    "batch {attempt} was acknowledged twice as new"
                );
                assert!(
                    fate != Fate::Refused || !acknowledgement.duplicate,
                    "batch {attempt} was refused, and is a duplicate now"
                );
                Fate::Acknowledged
            }
            // A retry that fails says nothing of the first time; a machine that stands still, nothing at all.
            Err(_) if fate != Fate::Refused || self.vfs.crashed() => {
                if fate == Fate::Acknowledged {
                    Fate::Acknowledged
                } else {
                    Fate::Unknown
                }
            }
            Err(WriteError::Indeterminate(_) | WriteError::Failed(_)) => Fate::Unknown,
            Err(WriteError::Conflict { .. }) => panic!("batch {attempt} conflicts with itself"),
            Err(_) => Fate::Refused,
        };
        self.attempts[attempt].fate = new;
    }

    /// Checks what a tenant answers against what is known of its batches. After an open, what was unknown is known.
    pub(super) fn check(&mut self, tenant: &Tenant, number: usize, decide: bool) {
        let Some(found) = samples(tenant) else {
            assert!(self.struck, "a disk that never failed answers whole");
            return;
        };
        let Found { gauges, events } = found;
        let (mut expected, mut present) = (BTreeSet::new(), 0);
        for (index, attempt) in self.attempts.iter_mut().enumerate().filter(|(_, a)| a.tenant == number) {
            let gauge = attempt.batch.samples.iter().filter(|sample| sample.0 == 0);
            let own: Vec<(i64, u64)> = gauge.map(|&(_, time, value)| (time.0, value.to_bits())).collect();
            let there = own.iter().filter(|(time, bits)| gauges.get(time) == Some(bits)).count();
            assert!(there == 0 || there == own.len(), "batch {index}: {there} of {} samples", own.len());
            match attempt.fate {
                Fate::Acknowledged => assert!(there > 0, "batch {index} was acknowledged and is not there"),
                Fate::Refused => assert!(there == 0, "batch {index} was refused and is there"),
                Fate::Unknown if decide => {
                    attempt.fate = if there > 0 { Fate::Acknowledged } else { Fate::Refused };
                }
                Fate::Unknown => {}
            }
            if there > 0 {
                expected.extend(own.iter().map(|(time, _)| *time));
                present += 1;
            }
        }
        assert!(gauges.keys().all(|time| expected.contains(time)), "samples that nobody wrote");
        assert_eq!(events, f64::from(present), "each batch counts once");
    }
}

/// What a tenant answers: all gauge samples by time, as bits, and the sum of the counter.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Found {
    pub(super) gauges: BTreeMap<i64, u64>,
    pub(super) events: f64,
}

/// Everything that a tenant has; `None` where an answer fails or says that it is not whole.
pub(super) fn samples(tenant: &Tenant) -> Option<Found> {
    let (reader, mut found) = (tenant.reader(), Found::default());
    for (time, (bits, _)) in stored(&reader, "gauge")? {
        let before = found.gauges.insert(time, bits);
        assert_eq!(before, None, "a stamp is of one batch and one series");
    }
    found.events = stored(&reader, "events")?.iter().map(|&(_, (bits, _))| f64::from_bits(bits)).sum();
    Some(found)
}

/// The samples of a metric as they are stored, their bits and starts, below any query, which normalises NaN; `None` where it
/// cannot be read or not whole.
pub(super) fn stored(reader: &TenantReader, metric: &str) -> Option<Vec<(i64, (u64, i64))>> {
    let budget = Budget::new(QueryLimits::default());
    let selected = reader.select(&[Matcher::equal(METRIC_NAME, metric)], TimeRange::ALL, &budget).ok()?;
    let (mut all, mut samples) = (Vec::new(), Samples::default());
    if !selected.coverage().missing.is_empty() {
        return None;
    }
    for index in 0..selected.len() {
        selected.read(index, &budget, &mut samples).ok()?;
        if !samples.missing.is_empty() {
            return None;
        }
        samples.start_times.resize(samples.values.len(), 0);
        let bits = samples.values.iter().map(|value| value.to_bits());
        all.extend(samples.timestamps.iter().copied().zip(bits.zip(samples.start_times.iter().copied())));
    }
    Some(all)
}

pub(super) fn id(name: &str) -> TenantId {
    TenantId::new(name).expect("valid")
}
