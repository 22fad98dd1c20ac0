//! SIGKILL under load: a child writes and says what was acknowledged, is killed at a random time, and the store is
//! opened again: everything acknowledged is there, once.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use annals::query::promql::Value;
use annals::vfs::{RealVfs, SystemClock, SystemEntropy};
use annals::{
    Annals, BatchId, DAY_MS, LabelSet, Options, Plan, SampleBatch, SeriesKind, Signal, SignalBatch, SiteName,
    TenantError, TenantId, TenantReader, Timestamp,
};

use crate::sets::Random;

/// Tenants that are written to at the same time, one thread each.
pub const WRITERS: u64 = 3;
const START: i64 = 1_793_491_200_000;

/// What many rounds found.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Kills.
    pub rounds: u64,
    /// Batches that were acknowledged.
    pub acknowledged: u64,
    /// Batches that were found though their acknowledgement never came out.
    pub unannounced: u64,
}

/// The tenant of a writer.
#[must_use]
pub fn tenant(writer: u64) -> TenantId {
    TenantId::new(&format!("writer-{writer}")).expect("valid")
}

/// Opens the store as a host would.
#[must_use]
pub fn open(root: &Path) -> Annals {
    // Small heads, so that kills also meet flushes and merges.
    let options = Options { head_bytes_max: 1 << 20, ..Options::default() };
    let (clock, entropy) = (Arc::new(SystemClock::default()), Arc::new(SystemEntropy::default()));
    Annals::open(Arc::new(RealVfs), clock, entropy, root, options).expect("the store opens after every kill")
}

/// The `n`-th batch of signals of every writer.
#[must_use]
pub fn signals(n: u64) -> SignalBatch {
    let signals = (0..=n % 7).map(|i| {
        let time = Timestamp(START + (n * 1_000 % DAY_MS as u64) as i64 + i as i64);
        Signal::new("auth.attempt", time).with("result", "failure").with("method", "password")
    });
    SignalBatch {
        id: batch_id(2 * n),
        site: SiteName::new("shop.example").expect("valid"),
        signals: signals.collect(),
    }
}

/// The `n`-th batch of samples of every writer: `n` at a stamp of its own, in every series.
#[must_use]
pub fn samples(n: u64) -> SampleBatch {
    let mut batch = SampleBatch::new(batch_id(2 * n + 1), SiteName::new("host").expect("valid"));
    for series in 0..20 {
        let labels = [("__name__", "n".to_owned()), ("series", (series + n / 500 * 20).to_string())];
        let index = batch.series(LabelSet::from_pairs(labels).expect("valid"), SeriesKind::Gauge);
        batch.push(index, Timestamp(START + n as i64), n as f64);
    }
    batch
}

fn batch_id(number: u64) -> BatchId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    BatchId(id)
}

/// Writes for ever, from each writer's first batch on, and prints `writer batch` after each acknowledgement.
pub fn write_for_ever(root: &Path, first: &[u64]) -> ! {
    let store = open(root);
    std::thread::scope(|scope| {
        for (writer, &first) in first.iter().enumerate() {
            let writer = writer as u64;
            let tenant =
                match store.create_tenant(&tenant(writer), Plan::built_in("archive").expect("built in")) {
                    Err(TenantError::Exists(id)) => store.tenant(&id),
                    created => created,
                };
            let tenant = tenant.expect("the tenant is there");
            scope.spawn(move || {
                for n in first.. {
                    tenant.write_signals(&signals(n)).and_then(|ticket| ticket.wait()).expect("written");
                    tenant.write_samples(&samples(n)).and_then(|ticket| ticket.wait()).expect("written");
                    // Before the next write, by one call: what the parent reads was acknowledged.
                    println!("{writer} {n}");
                }
            });
        }
    });
    unreachable!("the writers never end")
}

/// Runs rounds of the child `writer` on `root`.
///
/// # Panics
/// Where something acknowledged is lost, or something is counted twice.
pub fn run(writer: &Path, root: &Path, rounds: u64, seed: u64) -> Outcome {
    let mut random = Random::new(seed);
    let mut acknowledged: BTreeMap<u64, u64> = (0..WRITERS).map(|writer| (writer, 0)).collect();
    let mut outcome = Outcome::default();
    for round in 0..rounds {
        let mut child = Command::new(writer)
            .arg(root)
            .args(acknowledged.values().map(u64::to_string))
            .stdout(Stdio::piped())
            .spawn()
            .expect("the writer starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<String>>());
        std::thread::sleep(Duration::from_millis(20 + random.below(250)));
        child.kill().expect("it was alive");
        child.wait().expect("it ends");
        for line in reader.join().expect("no panic") {
            // The last line may be torn by the kill: then it was not read whole, and does not count.
            let Some((writer, n)) = line.split_once(' ') else { continue };
            let (Ok(writer), Ok(n)) = (writer.parse::<u64>(), n.parse::<u64>()) else { continue };
            if let Some(next) = acknowledged.get_mut(&writer).filter(|next| **next == n) {
                *next += 1;
                outcome.acknowledged += 1;
            }
        }
        outcome.rounds += 1;
        let store = open(root);
        for (&writer, &next) in &acknowledged {
            match store.tenant(&tenant(writer)) {
                Ok(tenant) => {
                    let context = format!("round {round}, writer {writer}");
                    outcome.unannounced += check(&tenant.reader(), next, &context);
                }
                Err(error) => assert_eq!(next, 0, "round {round}: {error}"),
            }
        }
        store.close().expect("closed");
    }
    outcome
}

/// Checks what is there of batches before `next`, which were acknowledged, and of `next` itself, which may be.
fn check(reader: &TenantReader, next: u64, context: &str) -> u64 {
    let end = Timestamp(START + 2 * DAY_MS);
    let events = |through: u64| (0..through).map(|n| n % 7 + 1).sum::<u64>();
    let counted = value(reader, "sum(increase(auth_attempts[3d]))", end);
    assert!(
        counted == events(next) || counted == events(next + 1),
        "{context}: {counted} events, {} acknowledged",
        events(next)
    );
    let stored = value(reader, "sum(count_over_time(n[3d]))", end);
    assert!(
        stored == next * 20 || stored == (next + 1) * 20,
        "{context}: {stored} samples, {} acknowledged",
        next * 20
    );
    u64::from(counted > events(next))
}

fn value(reader: &TenantReader, expression: &str, at: Timestamp) -> u64 {
    let answer = reader.query(expression, at).expect("answered");
    assert_eq!(answer.warnings, [], "{expression}");
    match answer.value {
        Value::Vector(vector) => vector.first().map_or(0, |(_, _, value)| *value as u64),
        other => panic!("{expression}: {other:?}"),
    }
}
