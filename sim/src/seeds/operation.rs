//! Operations: what happens in a run, decided before it begins.
//!
//! An operation carries all that it draws, so that a run of some of them does with each what the run of all did: that
//! is what makes a failure shrink.

use annals::HOUR_MS;
use annals::vfs::{SimCalls, SimCut, SimFault, SimOp};

use super::config::{Actor, Config, PLANS};
use super::draw::Draws;

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its place in the whole run.
    pub number: u64,
    /// What its content is drawn from.
    pub seed: u64,
    /// What it is.
    pub what: What,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A batch for each of these tenants, queued together, then committed.
    Write {
        /// Which.
        tenants: Vec<usize>,
        /// A flush of the first comes before anyone waits.
        flush: bool,
    },
    /// A tenant's batch once more; which one, in parts of a thousand.
    Retry {
        /// Whose.
        tenant: usize,
        /// Which.
        at: u64,
        /// Twice in one commit.
        twice: bool,
    },
    /// Other content under the id of a batch that counts.
    Conflict {
        /// Whose.
        tenant: usize,
        /// Which, in parts of a thousand.
        at: u64,
    },
    /// A query whose answer is known.
    Query {
        /// Whose.
        tenant: usize,
    },
    /// A selection, or a store opened read-only, that is read to its end after so many operations more.
    Hold {
        /// Whose.
        tenant: usize,
        /// How many.
        operations: usize,
        /// Whether the store is opened read-only for it.
        read_only: bool,
    },
    /// A flush.
    Flush {
        /// Whose.
        tenant: usize,
    },
    /// Steps of maintenance.
    Maintain {
        /// How many.
        steps: u64,
    },
    /// Everything is flushed and merged.
    Settle,
    /// The clock moves by so many milliseconds.
    Clock {
        /// How many.
        ms: i64,
    },
    /// A tenant is created, where it is not there.
    Create {
        /// Which.
        tenant: usize,
    },
    /// A tenant is cancelled, or that is taken back.
    Cancel {
        /// Which.
        tenant: usize,
    },
    /// A tenant is erased, where it is there.
    Erase {
        /// Which.
        tenant: usize,
    },
    /// A tenant gets new keys, where it is there and sealed.
    Rotate {
        /// Which.
        tenant: usize,
        /// Which of metrics, signals and wrapping, a bit each.
        classes: u64,
        /// By when those of before are to be gone.
        hours: u64,
    },
    /// A tenant is to have another plan, where it is there.
    Plan {
        /// Which.
        tenant: usize,
        /// The plan's name.
        name: &'static str,
    },
    /// A change of plan that waits is taken back.
    UndoPlan {
        /// Whose.
        tenant: usize,
    },
    /// A signal kind is switched for a tenant.
    Switch {
        /// Whose.
        tenant: usize,
        /// Its name.
        kind: &'static str,
        /// On again, or off.
        on: bool,
    },
    /// Something of a tenant is deleted.
    Delete {
        /// Whose.
        tenant: usize,
    },
    /// A snapshot is taken, and what it restores is compared.
    Backup,
    /// The store is opened read-only and compared.
    ReadOnly,
    /// Every byte is read.
    Verify,
    /// The store ends and is opened again.
    Reopen(End),
    /// Something will fail.
    Fault(SimFault),
    /// The machine will stop.
    Crash {
        /// At which mutating call from now.
        after: u64,
        /// Within it.
        within: bool,
    },
    /// Nothing fails any more.
    Clear,
    /// So much space beside what is used, or no limit.
    Space(Option<u64>),
    /// A bit of a block is flipped.
    Rot,
}

/// How a store ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is closed.
    Close,
    /// Its process is killed.
    Kill,
    /// The power is cut.
    Cut(SimCut),
}

impl What {
    /// Whether the operation makes something go wrong.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(
            self,
            What::Fault(_) | What::Crash { .. } | What::Space(Some(_)) | What::Rot | What::Reopen(_)
        )
    }

    /// Whether it acts on that tenant alone.
    #[must_use]
    pub fn is_of(&self, of: usize) -> bool {
        match self {
            What::Write { tenants, .. } => tenants.as_slice() == [of],
            What::Retry { tenant, .. }
            | What::Conflict { tenant, .. }
            | What::Query { tenant }
            | What::Hold { tenant, .. }
            | What::Flush { tenant }
            | What::Cancel { tenant }
            | What::Erase { tenant }
            | What::Rotate { tenant, .. }
            | What::Plan { tenant, .. }
            | What::UndoPlan { tenant }
            | What::Switch { tenant, .. }
            | What::Delete { tenant }
            | What::Create { tenant } => *tenant == of,
            _ => false,
        }
    }
}

/// The operations of a run.
#[must_use]
pub fn operations(config: &Config) -> Vec<Operation> {
    let draws = Draws::new(config.seed);
    let weights: Vec<u64> = config.weights.iter().map(|(_, weight)| *weight).collect();
    let tenants = config.plans.len() as u64;
    (0..config.operations)
        .map(|number| {
            let tenant = draws.below(tenants) as usize;
            let what = match config.weights[draws.weighted(&weights)].0 {
                Actor::Write => {
                    let mut all = vec![tenant];
                    if draws.percent(30) {
                        all.extend((0..draws.below(7)).map(|_| draws.below(tenants) as usize));
                    }
                    What::Write { tenants: all, flush: draws.percent(5) }
                }
                Actor::Retry => What::Retry { tenant, at: draws.below(1_000), twice: draws.percent(20) },
                Actor::Conflict => What::Conflict { tenant, at: draws.below(1_000) },
                Actor::Query => What::Query { tenant },
                Actor::Hold => {
                    let operations = draws.within(1, 12) as usize;
                    What::Hold { tenant, operations, read_only: draws.percent(40) }
                }
                Actor::Flush => What::Flush { tenant },
                Actor::Maintain => What::Maintain { steps: draws.within(1, 6) },
                Actor::Settle => What::Settle,
                Actor::Clock => {
                    let most = config.clock_hours_max * HOUR_MS as u64;
                    let ms = draws.within(1, most) as i64;
                    What::Clock { ms: if draws.percent(config.clock_back_percent) { -ms } else { ms } }
                }
                Actor::Create => What::Create { tenant },
                Actor::Cancel => What::Cancel { tenant },
                Actor::Erase => What::Erase { tenant },
                Actor::Rotate => {
                    let hours = draws.one_of(&[0, 0, 1, 24, 24 * 30]);
                    What::Rotate { tenant, classes: draws.within(1, 7), hours }
                }
                Actor::Plan if draws.percent(25) => What::UndoPlan { tenant },
                Actor::Plan => What::Plan { tenant, name: draws.one_of(&PLANS) },
                Actor::Switch => {
                    let kind = draws.one_of(&["auth.attempt", "mail.sent", "http.request", "wp.cron"]);
                    What::Switch { tenant, kind, on: draws.percent(60) }
                }
                Actor::Delete => What::Delete { tenant },
                Actor::Backup => What::Backup,
                Actor::ReadOnly => What::ReadOnly,
                Actor::Verify => What::Verify,
                Actor::Close => What::Reopen(End::Close),
                Actor::Kill => What::Reopen(End::Kill),
                Actor::Cut => What::Reopen(End::Cut(cut(config, &draws))),
                Actor::Fault => What::Fault(fault(config, &draws)),
                Actor::Crash => {
                    let after = draws.below(config.fault_calls_max);
                    What::Crash { after, within: config.crash_within && draws.percent(50) }
                }
                Actor::Clear => What::Clear,
                Actor::Space => What::Space(draws.percent(60).then(|| draws.below(100_000))),
                Actor::Rot => What::Rot,
            };
            Operation { number, seed: draws.next(), what }
        })
        .collect()
}

/// One of the cuts that the configuration allows.
pub(super) fn cut(config: &Config, draws: &Draws) -> SimCut {
    let kind = draws.one_of(&config.cuts);
    SimCut::all(draws.next())[kind]
}

fn fault(config: &Config, draws: &Draws) -> SimFault {
    let mut calls = vec![
        SimCalls::Mutating,
        SimCalls::Mutating,
        SimCalls::Mutating,
        SimCalls::Of(SimOp::Sync),
        SimCalls::Of(SimOp::SyncDir),
        SimCalls::Of(SimOp::WriteAt),
        SimCalls::Of(SimOp::Rename),
        SimCalls::Of(SimOp::Unlink),
        SimCalls::Of(SimOp::Allocate),
    ];
    if config.read_faults {
        let reads = [SimOp::Open, SimOp::ReadAt, SimOp::MapSealed, SimOp::List, SimOp::Len];
        calls.extend(reads.map(SimCalls::Of));
        calls.push(SimCalls::Any);
    }
    let once = SimFault::once(
        draws.one_of(&calls),
        draws.below(config.fault_calls_max),
        draws.one_of(&config.errors),
    );
    SimFault { forever: draws.percent(config.forever_percent), done: draws.percent(30), ..once }
}

/// Whether a fault strikes calls that only read.
pub(super) fn strikes_reads(fault: &SimFault) -> bool {
    match fault.calls {
        SimCalls::Any => true,
        SimCalls::Mutating => false,
        SimCalls::Of(op) => !op.mutates(),
    }
}
