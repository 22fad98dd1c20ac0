//! Crashes and failures at every operation that changes the disk, single and double, against what was acknowledged.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;

use annals_wal::{CommitError, Durability, Lsn, Wal};
use support::{Fault, MemVfs, Records, Rng, Survives, open};

/// What a caller was told.
#[derive(Default, Clone)]
struct History {
    attempted: Records,
    acknowledged: BTreeSet<u64>,
    refused: BTreeSet<u64>,
    /// Asked to be truncated, up to here.
    floor: u64,
    /// An operation failed in a way that ends the run.
    over: bool,
}

impl History {
    fn note(&mut self, wal: &Wal, result: Result<(), CommitError>) {
        // What is durable is acknowledged, but for what was refused.
        let durable = wal.durable().0;
        match result {
            Ok(()) => {}
            Err(CommitError::NoSpace { lsns, .. } | CommitError::NoSegment { lsns, .. }) => {
                self.refused.extend(lsns.first.0..=lsns.last.0);
            }
            Err(CommitError::Unmarked { .. }) => {}
            Err(_) => self.over = true,
        }
        let refused = &self.refused;
        let durable = self.attempted.range(..=durable).map(|(lsn, _)| *lsn);
        self.acknowledged.extend(durable.filter(|lsn| !refused.contains(lsn)));
    }

    fn enqueue(&mut self, wal: &Wal, kind: u8, payload: Vec<u8>) {
        match wal.enqueue(kind, payload.clone()) {
            Ok(lsn) => {
                assert!(self.attempted.insert(lsn.0, (kind, payload)).is_none(), "an LSN is given out once");
            }
            Err(_) => self.over = true,
        }
    }

    /// A recovery has decided: what it did not find is gone, and its LSN was known to the dead process only.
    fn settle(&mut self, found: &Records) {
        let floor = self.floor;
        self.attempted.retain(|lsn, _| *lsn <= floor || found.contains_key(lsn));
        self.refused.clear();
        self.acknowledged.extend(found.keys());
    }

    /// Two recoveries found the same, but for what was to be truncated anyway.
    fn assert_same(&self, one: &Records, two: &Records, context: &str) {
        let above = |records: &Records| -> Vec<(u64, usize)> {
            let above = records.iter().filter(|(lsn, _)| **lsn > self.floor);
            above.map(|(lsn, (_, payload))| (*lsn, payload.len())).collect()
        };
        assert_eq!(above(one), above(two), "{context}: the answer changed");
    }

    /// What a recovery must and may find.
    fn check(&self, found: &Records, context: &str) {
        for lsn in self.acknowledged.range(self.floor + 1..) {
            assert!(
                found.get(lsn) == self.attempted.get(lsn),
                "{context}: acknowledged {lsn} is lost or altered"
            );
        }
        for (lsn, record) in found {
            assert!(self.attempted.get(lsn) == Some(record), "{context}: {lsn} was never queued like this");
            assert!(!self.refused.contains(lsn), "{context}: {lsn} was refused");
        }
        if let Some((newest, _)) = found.last_key_value().filter(|(newest, _)| **newest > self.floor) {
            let before = self.attempted.range(self.floor + 1..=*newest).map(|(lsn, _)| lsn);
            let holes: Vec<_> =
                before.filter(|lsn| !found.contains_key(lsn) && !self.refused.contains(lsn)).collect();
            assert!(holes.is_empty(), "{context}: hole at {holes:?} below {newest}");
        }
    }
}

/// A life of a log, from a seed: as far as it gets before the disk stops it.
fn live(vfs: &MemVfs, seed: u64, steps: usize, history: &mut History) {
    let mut rng = Rng(seed);
    let Ok((mut wal, _, _)) = open(vfs) else {
        history.over = true;
        return;
    };
    for _ in 0..steps {
        if history.over {
            return;
        }
        match rng.below(12) {
            0..=5 => {
                for _ in 0..=rng.below(3) {
                    let length = match rng.below(12) {
                        0 => 0,
                        1 => 20_000,
                        2..4 => rng.below(5_000),
                        _ => rng.below(300),
                    };
                    let kind = rng.below(256) as u8;
                    let payload = (0..length).map(|_| rng.next() as u8).collect();
                    history.enqueue(&wal, kind, payload);
                }
                let durability = if rng.below(4) == 0 { Durability::Written } else { Durability::Synced };
                let result = wal.commit(durability).map(|_| ());
                history.note(&wal, result);
            }
            6 => {
                let result = wal.sync().map(|_| ());
                history.note(&wal, result);
            }
            7 | 8 => {
                let result = wal.watermark().map(|_| ());
                history.note(&wal, result);
            }
            9 => {
                let _ = wal.prepare();
            }
            10 => {
                let floor = wal.durable().0.saturating_sub(rng.below(6));
                history.floor = history.floor.max(floor);
                let _ = wal.truncate(Lsn(floor));
            }
            _ => {
                if rng.below(2) == 0 {
                    let result = wal.close().map(|_| ());
                    history.note(&wal, result);
                }
                drop(wal);
                match open(vfs) {
                    Ok((reopened, report, found)) => {
                        assert_eq!(report.damage, []);
                        history.check(&found, "reopened");
                        history.settle(&found);
                        wal = reopened;
                    }
                    Err(_) => {
                        history.over = true;
                        return;
                    }
                }
            }
        }
    }
}

fn operations(seed: u64, steps: usize) -> u64 {
    let vfs = MemVfs::default();
    let mut history = History::default();
    live(&vfs, seed, steps, &mut history);
    assert!(!history.over, "a life without faults runs to its end");
    vfs.operations()
}

/// Opens, checks, and returns what is there.
fn reopen(vfs: &MemVfs, history: &History, context: &str) -> Records {
    let (wal, report, found) = open(vfs).unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(report.damage, [], "{context}");
    history.check(&found, context);
    assert!(wal.last_enqueued().0 >= found.last_key_value().map_or(0, |(lsn, _)| *lsn), "{context}");
    found
}

fn policies(seed: u64) -> [Survives; 5] {
    [
        Survives::Cache,
        Survives::Nothing,
        Survives::Everything,
        Survives::Some(seed),
        Survives::Some(seed.wrapping_mul(31) + 1),
    ]
}

#[test]
fn a_crash_at_any_operation_loses_nothing_acknowledged_and_the_answer_stays() {
    for (seed, steps) in [(1, 40), (2, 40), (3, 60)] {
        for at in 0..operations(seed, steps) {
            let fault = if at % 3 == 0 { Fault::CrashInside } else { Fault::Crash };
            let vfs = MemVfs::default();
            vfs.fault(at, fault);
            let mut history = History::default();
            live(&vfs, seed, steps, &mut history);
            for survives in policies(seed * 1_000 + at) {
                let context = format!("seed {seed}, operation {at}, {survives:?}");
                let crashed = vfs.after_crash(survives);
                let found = reopen(&crashed, &history, &context);
                // The recovered log dies without a word, and then the power goes: the answer does not change.
                for again in [Survives::Cache, Survives::Nothing, Survives::Some(at)] {
                    let again =
                        reopen(&crashed.after_crash(again), &history, &format!("{context}, then {again:?}"));
                    history.assert_same(&again, &found, &context);
                }
            }
        }
    }
}

#[test]
fn a_crash_inside_recovery_recovers_to_the_same_records() {
    let mut states = 0;
    for (seed, steps) in [(1, 40), (6, 30)] {
        for at in (0..operations(seed, steps)).step_by(5) {
            let vfs = MemVfs::default();
            vfs.fault(at, Fault::CrashInside);
            let mut history = History::default();
            live(&vfs, seed, steps, &mut history);
            for first in policies(at) {
                let crashed = vfs.after_crash(first);
                let whole = crashed.fork();
                let found = reopen(&whole, &history, "undisturbed");
                for second_at in 0..whole.operations() {
                    let disturbed = crashed.fork();
                    let fault = if second_at % 2 == 0 { Fault::Crash } else { Fault::CrashInside };
                    disturbed.fault(second_at, fault);
                    assert!(open(&disturbed).is_err(), "recovery does not go on without a disk");
                    for second in [Survives::Cache, Survives::Nothing, Survives::Some(second_at + at)] {
                        let context =
                            format!("seed {seed}, operation {at}, {first:?}, then {second_at}, {second:?}");
                        let again = reopen(&disturbed.after_crash(second), &history, &context);
                        if first == Survives::Cache && second != Survives::Cache {
                            // Nothing was served yet, so a tail that no disk held may still go.
                            continue;
                        }
                        history.assert_same(&again, &found, &context);
                        states += 1;
                    }
                }
            }
        }
    }
    assert!(states > 1_000, "{states} states");
}

#[test]
fn a_failure_at_any_operation_is_refused_survived_or_indeterminate() {
    for (seed, steps) in [(1, 30), (8, 40)] {
        for at in 0..operations(seed, steps) {
            for kind in [ErrorKind::Other, ErrorKind::StorageFull] {
                for fault in [Fault::Once(kind), Fault::Forever(kind)] {
                    let vfs = MemVfs::default();
                    vfs.fault(at, fault);
                    let mut history = History::default();
                    live(&vfs, seed, steps, &mut history);
                    for survives in [Survives::Cache, Survives::Nothing, Survives::Some(at)] {
                        let context = format!("seed {seed}, operation {at}, {fault:?}, {survives:?}");
                        let crashed = vfs.after_crash(survives);
                        let found = reopen(&crashed, &history, &context);
                        let again = reopen(&crashed.after_crash(Survives::Nothing), &history, &context);
                        history.assert_same(&again, &found, &context);
                    }
                }
            }
        }
    }
}

#[test]
fn a_second_recovery_of_a_quiet_log_writes_nothing() {
    let vfs = MemVfs::default();
    let mut history = History::default();
    live(&vfs, 1, 40, &mut history);
    let crashed = vfs.after_crash(Survives::Nothing);
    reopen(&crashed, &history, "first");
    let settled = crashed.fork();
    reopen(&settled, &history, "second");
    assert_eq!(settled.trace(), ["0 sync_dir /r/quarantine", "1 sync_dir /r/wal"]);
}

#[test]
fn lsns_of_different_lives_never_collide() {
    // Each life stops at some operation; the next goes on with the same disk.
    let mut history: BTreeMap<u64, u64> = BTreeMap::new();
    let mut vfs = MemVfs::default();
    let mut rng = Rng(99);
    for life in 0..60 {
        vfs = vfs.after_crash(if life % 2 == 0 { Survives::Cache } else { Survives::Some(life) });
        let Ok((wal, _, found)) = open(&vfs) else { continue };
        for lsn in found.keys() {
            assert!(history.contains_key(lsn));
        }
        vfs.fault_in(rng.below(30), Fault::CrashInside);
        for _ in 0..10 {
            let Ok(lsn) = wal.enqueue(1, life.to_le_bytes().to_vec()) else { break };
            assert!(!found.contains_key(&lsn.0));
            history.insert(lsn.0, life);
            if wal.commit(Durability::Synced).is_err() {
                break;
            }
        }
    }
}
