//! The log against a list: whatever is appended, committed, cut, reopened and truncated, the log holds what the list
//! holds. Histories are random and shrink to the shortest that fails.

mod support;

use std::collections::VecDeque;

use annals_wal::{CommitError, Durability, Lsn, Wal};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use support::{Fault, MemVfs, Records, Survives, open};

/// How the process ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// It closes the log.
    Close,
    /// It is killed, or the power is cut, and that survives of what was not synced.
    Crash(Survives),
}

#[derive(Debug, Clone)]
enum Transition {
    /// A record of that kind and length.
    Append(u8, usize),
    /// All that waits is committed.
    Commit,
    /// The same, while one call on the way fails once: the log goes on in another segment.
    CommitThroughFault(u64),
    Watermark,
    Prepare,
    /// Records up to this part of them, in percent, are no longer needed.
    Truncate(usize),
    Reopen(End),
    /// The process ends, and the next one is killed at that call of its recovery; a third opens the log.
    ReopenTwice(End, u64, Survives),
}

/// What the log must hold: records in order, as they were appended.
#[derive(Debug, Clone, Default)]
struct Model {
    /// Payloads, first byte to last a function of this number.
    appended: u64,
    committed: VecDeque<(u8, Vec<u8>)>,
    waiting: Vec<(u8, Vec<u8>)>,
    /// How many of the first ones may be gone.
    needless: usize,
    /// What one of the last transitions asks of the log.
    truncate: Option<usize>,
}

impl Model {
    /// Payloads that tell records apart, and imitate frames now and then.
    fn payload(&self, length: usize) -> Vec<u8> {
        (0..length).map(|at| (self.appended as usize * 31 + at / 3) as u8).collect()
    }

    fn commit(&mut self) {
        self.committed.extend(self.waiting.drain(..));
    }
}

fn survives() -> impl Strategy<Value = Survives> {
    prop_oneof![
        Just(Survives::Cache),
        Just(Survives::Nothing),
        Just(Survives::Everything),
        any::<u64>().prop_map(Survives::Some),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![1 => Just(End::Close), 3 => survives().prop_map(End::Crash)]
}

impl ReferenceStateMachine for Model {
    type State = Model;
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model::default()).boxed()
    }

    fn transitions(_: &Model) -> BoxedStrategy<Transition> {
        let length = prop_oneof![6 => 0usize..100, 2 => 1_000usize..6_000, 1 => 10_000usize..40_000];
        prop_oneof![
            6 => (any::<u8>(), length).prop_map(|(kind, length)| Transition::Append(kind, length)),
            4 => Just(Transition::Commit),
            2 => (0u64..4).prop_map(Transition::CommitThroughFault),
            1 => Just(Transition::Watermark),
            1 => Just(Transition::Prepare),
            1 => (0usize..=100).prop_map(Transition::Truncate),
            2 => end().prop_map(Transition::Reopen),
            2 => (end(), 0u64..24, survives()).prop_map(|(end, at, then)| Transition::ReopenTwice(end, at, then)),
        ]
        .boxed()
    }

    fn apply(mut model: Model, transition: &Transition) -> Model {
        match transition {
            Transition::Append(kind, length) => {
                model.appended += 1;
                let payload = model.payload(*length);
                model.waiting.push((*kind, payload));
            }
            Transition::Commit | Transition::CommitThroughFault(_) => model.commit(),
            Transition::Truncate(percent) => {
                let floor = model.committed.len() * percent / 100;
                model.needless = model.needless.max(floor);
                model.truncate = Some(floor);
            }
            // A close commits; a crash forgets what was not committed.
            Transition::Reopen(End::Close) | Transition::ReopenTwice(End::Close, ..) => model.commit(),
            Transition::Reopen(End::Crash(_)) | Transition::ReopenTwice(End::Crash(_), ..) => {
                model.waiting.clear();
            }
            Transition::Watermark | Transition::Prepare => {}
        }
        model
    }
}

struct Log {
    vfs: MemVfs,
    wal: Wal,
    /// LSNs of all records that were committed, in order.
    lsns: Vec<u64>,
    waiting: Vec<u64>,
    /// What the last open handed out, and how many records had been committed by then.
    recovered: Option<(Records, usize)>,
}

impl Log {
    fn append(&mut self, kind: u8, payload: &[u8]) {
        let lsn = self.wal.enqueue(kind, payload.to_vec()).expect("far below every limit").0;
        assert!(self.lsns.last().is_none_or(|&last| lsn > last), "no number is given out twice");
        self.waiting.push(lsn);
    }

    fn commit(&mut self) {
        self.wal.commit(Durability::Synced).expect("a disk without faults");
        if let Some(&last) = self.waiting.last() {
            assert_eq!(self.wal.durable().0, last);
        }
        self.lsns.append(&mut self.waiting);
    }

    /// One call fails. Either the log goes on in another segment, or it had none and could not make one: then it names the
    /// records of which it wrote nothing, at once or, where others got through before, with the next commit. Those are
    /// appended again.
    fn commit_through_fault(&mut self, ahead: u64, records: &[(u8, Vec<u8>)]) {
        self.vfs.fault_in(ahead, Fault::Once(std::io::ErrorKind::Other));
        let first = self.wal.commit(Durability::Synced);
        self.vfs.heal();
        let mut refused = Vec::new();
        for committed in [first, self.wal.commit(Durability::Synced)] {
            match committed {
                Ok(_) => {}
                Err(CommitError::NoSegment { lsns, .. }) => refused.push(lsns.first.0..=lsns.last.0),
                Err(error) => panic!("one failure of the disk leaves nothing undecided: {error}"),
            }
        }
        for (lsn, (kind, payload)) in std::mem::take(&mut self.waiting).into_iter().zip(records) {
            if refused.iter().any(|span| span.contains(&lsn)) {
                self.append(*kind, payload);
            } else {
                assert!(self.waiting.is_empty(), "what is refused is the end of what waited");
                self.lsns.push(lsn);
            }
        }
        self.commit();
    }

    /// Ends the process; the disk as the next one finds it.
    fn end(&mut self, end: End) -> MemVfs {
        match end {
            End::Close => {
                self.wal.close().expect("a disk without faults");
                self.lsns.append(&mut self.waiting);
                self.vfs.after_crash(Survives::Nothing)
            }
            End::Crash(survives) => {
                self.waiting.clear();
                self.vfs.after_crash(survives)
            }
        }
    }

    fn start(&mut self, vfs: MemVfs) {
        let (wal, report, records) = open(&vfs).expect("what no fault has struck opens");
        assert_eq!(report.damage, [], "a crash damages nothing");
        let (first, last) = (records.keys().next().copied(), records.keys().last().copied());
        assert!(last.is_none() || last == self.lsns.last().copied(), "ends where the commits did");
        let suffix = self.lsns.iter().filter(|&&lsn| first.is_some_and(|first| lsn >= first));
        assert!(suffix.eq(records.keys()), "no hole and nothing twice");
        (self.vfs, self.wal, self.recovered) = (vfs, wal, Some((records, self.lsns.len())));
    }
}

impl StateMachineTest for Log {
    type SystemUnderTest = Log;
    type Reference = Model;

    fn init_test(_: &Model) -> Log {
        let vfs = MemVfs::default();
        let (wal, ..) = open(&vfs).expect("an empty disk becomes a log");
        Log { vfs, wal, lsns: Vec::new(), waiting: Vec::new(), recovered: None }
    }

    fn apply(mut log: Log, model: &Model, transition: Transition) -> Log {
        match transition {
            Transition::Append(kind, length) => {
                let payload = &model.waiting.last().expect("just appended").1;
                assert_eq!(payload.len(), length);
                log.append(kind, payload);
            }
            Transition::Commit => log.commit(),
            Transition::CommitThroughFault(ahead) => {
                let first = model.committed.len() - log.waiting.len();
                let records: Vec<_> = model.committed.range(first..).cloned().collect();
                log.commit_through_fault(ahead, &records);
            }
            Transition::Watermark => {
                log.wal.watermark().expect("a disk without faults");
            }
            Transition::Prepare => log.wal.prepare().expect("a disk without faults"),
            Transition::Truncate(_) => {
                let floor = model.truncate.expect("just set");
                let lsn = floor.checked_sub(1).map_or(0, |last| log.lsns[last]);
                log.wal.truncate(Lsn(lsn)).expect("a disk without faults");
            }
            Transition::Reopen(end) => {
                let vfs = log.end(end);
                log.start(vfs);
            }
            Transition::ReopenTwice(end, at, survives) => {
                let vfs = log.end(end);
                vfs.fault_in(at, Fault::CrashInside);
                let _ = open(&vfs);
                let vfs = vfs.after_crash(survives);
                log.start(vfs);
            }
        }
        log
    }

    /// After each open: the suffix of the list that is still needed is there, byte for byte.
    fn check_invariants(log: &Log, model: &Model) {
        assert_eq!(log.lsns.len(), model.committed.len(), "each committed record has a number");
        let Some((records, committed)) = &log.recovered else { return };
        let expected = log.lsns.iter().zip(&model.committed).take(*committed);
        for (position, (lsn, record)) in expected.enumerate() {
            match records.get(lsn) {
                Some(found) => assert_eq!(found, record),
                None => assert!(position < model.needless, "record {lsn} was committed and is needed"),
            }
        }
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        max_shrink_iters: 4_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_log_holds_what_the_list_holds(sequential 1..40 => Log);
}
