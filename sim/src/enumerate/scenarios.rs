//! What the enumerations go through: pieces of a store's life, each with what came before it.

use annals::Options;
use annals::vfs::{SimCalls, SimCut, SimError, SimFault, SimOp};

use super::book::Book;
use super::host::{Host, Step};
use super::sweep::copy;
use crate::world::Machine;
use Step::*;

/// A piece of a store's life.
#[derive(Debug)]
pub(super) struct Scenario {
    /// Its name in failures.
    pub(super) name: &'static str,
    /// What heads may hold, in bytes.
    head_bytes_max: usize,
    /// What was done before, without a fault.
    before: &'static [Step],
    /// What is enumerated.
    pub(super) steps: &'static [Step],
    /// Files were damaged before: an open has something to report.
    pub(super) damaged: bool,
}

const USUAL: Scenario =
    Scenario { name: "", head_bytes_max: 1 << 20, before: &[], steps: &[], damaged: false };

/// The next call of that kind fails.
const fn once(op: SimOp) -> SimFault {
    SimFault { calls: SimCalls::Of(op), after: 0, error: SimError::Io, forever: false, done: false }
}

const ALL_TENANTS: &[Step] = &[Open, Create(0), Create(1), Create(2), Close];
const FOUR_BLOCKS: &[Step] = &[
    Open,
    Create(0),
    Samples(0, 4),
    Signals(0, 2),
    Flush(0),
    Samples(0, 4),
    Signals(0, 2),
    Flush(0),
    Samples(0, 4),
    Signals(0, 2),
    Flush(0),
    Samples(0, 4),
    Signals(0, 2),
    Flush(0),
    Close,
];

/// All scenarios. To add one, add it here: every enumeration goes through all of them.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario { name: "an empty open", steps: &[Open], ..USUAL },
    Scenario {
        name: "a first write",
        steps: &[Open, Create(0), Samples(0, 3), Signals(0, 3), ReadOnly],
        ..USUAL
    },
    Scenario {
        name: "eight writers in one commit",
        before: ALL_TENANTS,
        steps: &[Open, Group, Group, ReadOnly],
        ..USUAL
    },
    Scenario {
        name: "a rotation of the log",
        before: ALL_TENANTS,
        steps: &[Open, Fat(0, 25), Fat(1, 25), Maintain, Fat(0, 25), Signals(2, 3), Fat(1, 25), Fat(0, 25)],
        ..USUAL
    },
    Scenario {
        name: "a flush to blocks",
        before: ALL_TENANTS,
        steps: &[
            Open,
            Samples(0, 5),
            Samples(0, 5),
            Signals(0, 3),
            Signals(0, 3),
            Samples(1, 2),
            Flush(0),
            Samples(0, 2),
        ],
        ..USUAL
    },
    Scenario {
        name: "a merge of four blocks",
        before: FOUR_BLOCKS,
        steps: &[Open, Samples(0, 2), Settle, Signals(0, 2), Maintain],
        ..USUAL
    },
    Scenario {
        name: "background work until none is left",
        before: FOUR_BLOCKS,
        steps: &[
            Open,
            Signals(0, 2),
            Hours(25),
            Maintain,
            Maintain,
            Maintain,
            Maintain,
            Maintain,
            Samples(0, 3),
            Maintain,
        ],
        ..USUAL
    },
    Scenario {
        name: "data that expires",
        before: FOUR_BLOCKS,
        steps: &[
            Open,
            Samples(0, 3),
            Signals(0, 2),
            Hours(24 * 16),
            Maintain,
            Maintain,
            Signals(0, 2),
            ReadOnly,
            Hours(24 * 80),
            Maintain,
            Maintain,
            Samples(0, 2),
        ],
        ..USUAL
    },
    Scenario {
        name: "a day that is sealed, and raw that goes for its rollups",
        before: FOUR_BLOCKS,
        steps: &[
            Open,
            Samples(0, 3),
            Hours(49),
            Maintain,
            Maintain,
            Maintain,
            Maintain,
            Maintain,
            Maintain,
            ReadOnly,
            Hours(24 * 91),
            ReadOnly,
            Maintain,
            Maintain,
            Maintain,
            ReadOnly,
            Hours(24 * 320),
            Maintain,
            Maintain,
        ],
        ..USUAL
    },
    Scenario {
        name: "a plan that is changed, undone and put in effect, a kind off and on",
        before: ALL_TENANTS,
        steps: &[
            Open,
            Signals(2, 2),
            Plan(2, "professional"),
            Flush(2),
            Plan(2, "starter"),
            UndoPlan(2),
            Signals(2, 2),
            Switch(2, false),
            Plan(2, "starter"),
            Hours(24 * 7),
            Maintain,
            Switch(2, true),
            ReadOnly,
            Maintain,
        ],
        ..USUAL
    },
    Scenario {
        name: "a tenant that is erased, and another of its name",
        before: FOUR_BLOCKS,
        steps: &[
            Open,
            Create(1),
            Samples(1, 2),
            Samples(0, 2),
            Signals(0, 2),
            Erase(0),
            ReadOnly,
            Samples(1, 2),
            Maintain,
            Maintain,
            Create(0),
            Samples(0, 2),
            Maintain,
            ReadOnly,
        ],
        ..USUAL
    },
    Scenario {
        name: "keys that are replaced, and those of before that go",
        before: FOUR_BLOCKS,
        steps: &[
            Open,
            Create(1),
            Samples(1, 2),
            Samples(0, 2),
            Rotate(0, 0),
            ReadOnly,
            Signals(0, 2),
            Maintain,
            Maintain,
            Samples(0, 1),
            Settle,
            ReadOnly,
            Rotate(0, 1),
            Samples(0, 1),
            Flush(0),
            Hours(2),
            Maintain,
            Maintain,
            Close,
            ReadOnly,
            Open,
            Maintain,
            Maintain,
            Maintain,
            Maintain,
        ],
        ..USUAL
    },
    Scenario {
        name: "keys that are replaced between snapshots",
        before: &[Open, Create(0), Samples(0, 3), Signals(0, 2), Flush(0), Samples(0, 2), Backup, Close],
        steps: &[
            Open,
            Rotate(0, 24 * 30),
            Samples(0, 2),
            Backup,
            Hours(24),
            Signals(0, 2),
            Settle,
            Rotate(0, 24 * 30),
            Backup,
            Samples(0, 1),
        ],
        ..USUAL
    },
    Scenario {
        name: "a tenant that is erased while its keys are replaced",
        before: ALL_TENANTS,
        steps: &[
            Open,
            Samples(0, 2),
            Flush(0),
            Rotate(0, 1),
            Samples(0, 1),
            Maintain,
            Rotate(0, 24),
            Erase(0),
            Maintain,
            Maintain,
            Create(0),
            Samples(0, 1),
        ],
        ..USUAL
    },
    Scenario {
        name: "samples that are deleted, and more of their series",
        before: FOUR_BLOCKS,
        steps: &[
            Open,
            Samples(0, 2),
            Aside,
            Delete(0),
            ReadOnly,
            Samples(0, 2),
            Inspect,
            Maintain,
            Maintain,
            Maintain,
            Samples(0, 1),
            Delete(0),
            Settle,
            Samples(0, 2),
            ReadOnly,
        ],
        ..USUAL
    },
    Scenario {
        name: "deletions of days that are sealed, and of rollups",
        before: FOUR_BLOCKS,
        steps: &[
            Open,
            Hours(49),
            Maintain,
            Maintain,
            Maintain,
            Maintain,
            Delete(0),
            Maintain,
            Maintain,
            Maintain,
            Samples(0, 2),
            Hours(24 * 91),
            Maintain,
            Maintain,
            Maintain,
            Delete(0),
            Maintain,
            Maintain,
        ],
        ..USUAL
    },
    Scenario {
        name: "snapshots that are taken, and pruned",
        before: FOUR_BLOCKS,
        steps: &[
            Open,
            Samples(0, 2),
            Backup,
            Signals(0, 2),
            Flush(0),
            Samples(0, 2),
            Backup,
            Close,
            Leftovers,
            Backup,
            VerifyBackup,
            Open,
            Create(1),
            Samples(1, 2),
            Settle,
            Erase(0),
            Backup,
            Prune,
            Samples(1, 1),
            Backup,
        ],
        ..USUAL
    },
    Scenario {
        name: "a backup that is restored beside its store",
        before: &[
            Open,
            Create(0),
            Create(1),
            Samples(0, 3),
            Signals(0, 2),
            Flush(0),
            Samples(0, 2),
            Samples(1, 2),
            Backup,
            Close,
        ],
        steps: &[Restore, Open, Samples(0, 1)],
        ..USUAL
    },
    Scenario {
        name: "a restoration that was cut short, and is begun again",
        before: &[Open, Create(0), Samples(0, 3), Signals(0, 2), Flush(0), Samples(0, 2), Backup, Close],
        steps: &[Fault(SimFault { after: 3, ..once(SimOp::Rename) }), Restore, Restore, Open, Samples(0, 1)],
        ..USUAL
    },
    Scenario {
        name: "snapshots on another file system",
        before: FOUR_BLOCKS,
        steps: &[
            Open,
            Samples(0, 2),
            Fault(SimFault { forever: true, error: SimError::Permission, ..once(SimOp::Link) }),
            Backup,
            Flush(0),
            Kill,
            Backup,
            Open,
            Prune,
        ],
        ..USUAL
    },
    Scenario {
        name: "tenants that are cancelled: one is taken back, one ends",
        before: ALL_TENANTS,
        steps: &[
            Open,
            Samples(0, 2),
            Signals(2, 2),
            Flush(0),
            Cancel(0),
            Cancel(2),
            ReadOnly,
            UndoCancel(2),
            Signals(2, 1),
            Hours(24 * 31),
            Maintain,
            Maintain,
            Maintain,
            Create(0),
            Samples(0, 2),
        ],
        ..USUAL
    },
    Scenario {
        name: "a tenant that is erased while an erasure is under way",
        before: ALL_TENANTS,
        steps: &[
            Open,
            Samples(0, 2),
            Signals(2, 2),
            Flush(2),
            Erase(0),
            Close,
            Open,
            Erase(2),
            Create(0),
            Samples(0, 1),
            Erase(0),
            Maintain,
            Maintain,
            Maintain,
        ],
        ..USUAL
    },
    Scenario {
        name: "tenants that are created",
        before: &[Open, Create(0), Samples(0, 2), Close],
        steps: &[Open, Create(1), Samples(1, 2), Create(2), Signals(2, 2), Samples(0, 2), ReadOnly],
        ..USUAL
    },
    Scenario {
        name: "large batches with flushes between",
        before: &[Open, Create(1), Close],
        steps: &[
            Open,
            Samples(1, 400),
            Samples(1, 400),
            Flush(1),
            Samples(1, 400),
            Samples(1, 400),
            Flush(1),
            Settle,
        ],
        ..USUAL
    },
    Scenario {
        name: "a manifest of which one copy is damaged",
        before: &[
            Open,
            Create(0),
            Samples(0, 3),
            Signals(0, 2),
            Flush(0),
            Samples(0, 2),
            Close,
            SpoilCopy(0),
        ],
        steps: &[Open, Samples(0, 2), Flush(0), Signals(0, 2)],
        damaged: true,
        ..USUAL
    },
    Scenario {
        name: "an unclean end with blocks and a tail",
        before: &[
            Open,
            Create(0),
            Create(1),
            Samples(0, 3),
            Signals(0, 2),
            Flush(0),
            Samples(0, 2),
            Samples(1, 2),
            Signals(0, 1),
            Kill,
        ],
        steps: &[Open, Samples(0, 2), ReadOnly],
        ..USUAL
    },
    Scenario {
        name: "drafts that were left, and a damaged record that blocks hold",
        before: &[
            Open,
            Create(0),
            Samples(0, 3),
            Flush(0),
            Samples(0, 2),
            Signals(0, 2),
            Kill,
            SpoilLog,
            Leftovers,
        ],
        steps: &[Open, Samples(0, 2), Flush(0), ReadOnly],
        damaged: true,
        ..USUAL
    },
    Scenario {
        name: "a log that is larger than memory",
        head_bytes_max: 6_000,
        before: &[
            Open,
            Create(0),
            Create(1),
            Samples(0, 30),
            Signals(0, 9),
            Samples(1, 30),
            Signals(0, 9),
            Samples(0, 30),
            Kill,
        ],
        steps: &[Open, Samples(0, 2), Maintain, Maintain],
        ..USUAL
    },
    Scenario {
        name: "a tenant that is unavailable beside others",
        before: &[
            Open,
            Create(0),
            Create(1),
            Create(2),
            Samples(0, 3),
            Samples(1, 2),
            Flush(0),
            Samples(0, 2),
            Signals(2, 2),
            Kill,
            Wreck(0),
        ],
        steps: &[Open, Samples(1, 2), Signals(2, 2), Flush(1), Maintain, Settle, ReadOnly],
        damaged: true,
        ..USUAL
    },
    Scenario {
        name: "clean closes",
        before: ALL_TENANTS,
        steps: &[Open, Samples(0, 2), Close, ReadOnly, Open, Signals(0, 2), Close, Open, Close],
        ..USUAL
    },
    Scenario {
        name: "a log that is cut short after flushes",
        before: ALL_TENANTS,
        steps: &[
            Open,
            Fat(0, 40),
            Fat(0, 40),
            Signals(2, 2),
            Flush(0),
            Fat(1, 40),
            Flush(1),
            Maintain,
            Flush(2),
            Maintain,
            Samples(0, 2),
        ],
        ..USUAL
    },
    Scenario {
        name: "three tenants for some days",
        before: ALL_TENANTS,
        steps: &[
            Open,
            Group,
            Flush(0),
            Group,
            Flush(1),
            Flush(2),
            Maintain,
            Group,
            Settle,
            Hours(25),
            Group,
            Maintain,
            Maintain,
            Flush(0),
            Samples(1, 3),
            Close,
            Open,
            Group,
            Flush(1),
            Settle,
            Hours(30),
            Signals(2, 2),
            Group,
            Maintain,
            Maintain,
            Maintain,
            ReadOnly,
            Hours(24 * 15),
            Group,
            Settle,
            Maintain,
            Maintain,
            Close,
        ],
        ..USUAL
    },
    Scenario {
        name: "a disk that is full and then is not",
        before: ALL_TENANTS,
        steps: &[
            Open,
            Samples(0, 2),
            Full,
            Fat(0, 45),
            Samples(1, 2),
            Flush(0),
            Maintain,
            ReadOnly,
            Space,
            Maintain,
            Retry,
            Flush(0),
        ],
        ..USUAL
    },
    Scenario {
        name: "data that expires on a full disk",
        before: FOUR_BLOCKS,
        steps: &[
            Open,
            Signals(0, 2),
            Settle,
            Maintain,
            Maintain,
            Full,
            Hours(24 * 16),
            Maintain,
            Maintain,
            Maintain,
            Space,
        ],
        ..USUAL
    },
    Scenario {
        name: "a directory that cannot grow",
        before: ALL_TENANTS,
        steps: &[
            Open,
            Samples(0, 2),
            Fault(SimFault {
                calls: SimCalls::Of(SimOp::Rename),
                after: 0,
                error: SimError::NoSpace,
                forever: false,
                done: false,
            }),
            Flush(0),
            Samples(0, 2),
        ],
        ..USUAL
    },
    Scenario {
        name: "a draft that could not be removed",
        before: ALL_TENANTS,
        steps: &[
            Open,
            Samples(0, 2),
            Fault(once(SimOp::WriteAt)),
            Fault(once(SimOp::Unlink)),
            Flush(0),
            Flush(0),
            Samples(0, 2),
        ],
        ..USUAL
    },
    Scenario {
        name: "a tenant whose creation fails at its last file, which cannot be removed",
        before: &[Open, Create(0), Close],
        steps: &[
            Open,
            Fault(SimFault { after: 3, ..once(SimOp::WriteAt) }),
            Fault(once(SimOp::Unlink)),
            Create(1),
            Create(2),
            Samples(2, 2),
        ],
        ..USUAL
    },
    Scenario {
        name: "a sync that fails",
        before: ALL_TENANTS,
        steps: &[
            Open,
            Samples(0, 2),
            Fault(once(SimOp::Sync)),
            Samples(1, 2),
            Signals(0, 2),
            Fault(once(SimOp::WriteAt)),
            Samples(0, 2),
            Samples(1, 2),
            Maintain,
            Samples(0, 1),
        ],
        ..USUAL
    },
];

/// A scenario and the machine on which it begins.
pub(super) struct Stage {
    /// What it is.
    pub(super) scenario: &'static Scenario,
    /// What is done.
    pub(super) steps: &'static [Step],
    /// What is done with what the scenario left, where it is not the scenario itself.
    then: &'static str,
    machine: Machine,
    book: Book,
    /// How many mutating calls it makes where nothing fails.
    pub(super) calls: u64,
}

impl Stage {
    /// A host that is about to begin.
    pub(super) fn host(&self) -> Host {
        Host::new(copy(&self.machine, 2), self.book.clone())
    }

    /// Names it.
    pub(super) fn named(&self) -> String {
        format!("{}{}", self.scenario.name, self.then)
    }

    /// The recovery from a power cut in which the scenario ends.
    pub(super) fn recovery(&self) -> Stage {
        self.after(", the recovery after it", &[Open, Retry, Maintain, Settle])
    }

    /// A read-only open of what the scenario leaves when the power is cut.
    pub(super) fn read_only(&self) -> Stage {
        self.after(", read only after it", &[ReadOnly])
    }

    fn after(&self, then: &'static str, steps: &'static [Step]) -> Stage {
        let mut host = self.host();
        // It ran before, and told what there is to tell.
        let _ = host.run(self.steps);
        // The end of the store must not touch what the cut leaves.
        host.machine.vfs.set_crash_at(0);
        host.store = None;
        host.machine.vfs.clear_faults();
        host.machine.vfs.set_space(u64::MAX);
        host.machine.vfs.power_cut(SimCut::Torn { seed: 7 });
        Stage { steps, then, machine: copy(&host.machine, 2), book: host.book.clone(), calls: 0, ..*self }
    }
}

/// The machine of every scenario, and of sequences.
pub(super) fn machine(head_bytes_max: usize) -> Machine {
    // Segments of 64 KiB, so that few batches make a rotation.
    Machine::new(Options { head_bytes_max, log_bytes_max: 512 << 10, ..Options::default() })
}

/// Does what comes before each scenario, and each scenario once. An error where the engine fails without a fault.
pub(super) fn stages() -> Result<Vec<Stage>, String> {
    let stage = |scenario: &'static Scenario| -> Result<Stage, String> {
        let mut host = Host::new(machine(scenario.head_bytes_max), Book::new());
        host.run(scenario.before).and_then(|()| told_nothing(&host))?;
        host.store = None;
        let (steps, machine, book) = (scenario.steps, copy(&host.machine, 1), host.book.clone());
        let mut stage = Stage { scenario, steps, then: "", machine, book, calls: 0 };
        let mut whole = stage.host();
        whole.run(steps)?;
        if !steps.iter().any(|step| matches!(step, Full | Fault(_))) {
            told_nothing(&whole)?;
        }
        stage.calls = whole.machine.vfs.calls();
        Ok(stage)
    };
    let named =
        |scenario| stage(scenario).map_err(|what| format!("{}, where nothing fails: {what}", scenario.name));
    SCENARIOS.iter().map(named).collect()
}

fn told_nothing(host: &Host) -> Result<(), String> {
    host.told.first().map_or(Ok(()), |told| Err(told.clone()))
}
