//! Random histories on the real engine, one thread and one seed each, against an oracle.
//!
//! ```text
//!   config      what a seed decides: sizes, probabilities, kinds of faults
//!   operation   what happens, decided before the run begins
//!   content     what batches hold
//!   run         one seed on its machine, operation by operation
//!   host        what hosts do
//!   life        what operators do with a tenant
//!   backup      snapshots, and what they restore
//!   restart     what goes wrong, and how a store comes back
//!   check       what must hold
//!   isolation   a run with and without the other tenants
//!   shrink      makes a failing run small
//! ```
//!
//! First everything goes wrong that the seed says; then nothing does any more, and all of it must recover. A failure
//! prints seed, configuration and the operations that are left after shrinking. `annals-sim seeds --from S --seeds 1`
//! runs one seed again, bit for bit.

mod backup;
mod check;
mod config;
mod content;
mod draw;
mod host;
mod isolation;
mod life;
mod operation;
mod restart;
mod run;
mod shrink;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, Once, PoisonError};

pub use config::{Actor, Config, Shape};
pub use operation::{End, Operation, What, operations};
pub use run::Outcome;

use crate::campaign::{Campaign, Report, Size};
use crate::oracle::Violation;
use run::Run;

/// The campaigns of this module.
pub const CAMPAIGNS: &[Campaign] = &[
    Campaign {
        name: "seeds",
        about: "random histories with faults, against an oracle",
        run: |size| campaign("seeds", size, &Kind { config: Config::new, run: run_seed }),
    },
    Campaign {
        name: "rollups",
        about: "short random histories in which days are sealed and tiers expire: rollups equal raw",
        run: |size| campaign("rollups", size, &Kind { config: Config::of_rollups, run: run_rollups }),
    },
];

/// A kind of random histories.
struct Kind {
    config: fn(u64) -> Config,
    run: fn(u64) -> Result<Outcome, Failure>,
}

/// Seeds of a full run.
const SEEDS: u64 = 100_000;
/// One in so many seeds runs twice and must do the same.
const TWICE_EVERY: u64 = 100;
/// One in so many seeds runs with and without the other tenants.
const ISOLATED_EVERY: u64 = 50;
/// A campaign stops after so many failures.
const FAILURES_MAX: usize = 5;
/// How many threads run seeds. Each seed is one thread's.
const THREADS: usize = 2;

/// A seed that broke a promise.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// Which promise.
    pub invariant: &'static str,
    /// How it shows.
    pub what: String,
    /// What happened, line by line.
    pub notes: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

thread_local! {
    /// What the last panic of this thread said, and where.
    static PANIC: RefCell<Option<String>> = const { RefCell::new(None) };
    static SILENT: Cell<bool> = const { Cell::new(false) };
}

/// Runs a seed's operations, or some of them. A panic is a failure as any other.
pub fn run_operations(config: &Config, operations: &[Operation], notes: bool) -> Result<Outcome, Failure> {
    let mut run = None;
    let result = guarded(|| {
        let run = run.insert(Run::new(config, notes)?);
        run.whole(operations)
    });
    result.map_err(|failure| Failure {
        notes: run.map(|mut run| run.take_notes()).unwrap_or_default(),
        ..failure
    })
}

/// Runs a seed.
pub fn run_seed(seed: u64) -> Result<Outcome, Failure> {
    let config = Config::new(seed);
    let all = operations(&config);
    let outcome = run_operations(&config, &all, false)?;
    if seed.is_multiple_of(TWICE_EVERY) {
        let again = run_operations(&config, &all, false)?;
        if again != outcome {
            let what = format!("the same seed gives {outcome:?}, then {again:?}");
            return Err(Failure { invariant: "determinism", what, notes: Vec::new() });
        }
    }
    if seed.is_multiple_of(ISOLATED_EVERY) {
        guarded(|| isolation::isolation(seed))?;
    }
    Ok(outcome)
}

/// Runs a seed of the histories of rollups.
pub fn run_rollups(seed: u64) -> Result<Outcome, Failure> {
    let config = Config::of_rollups(seed);
    run_operations(&config, &operations(&config), false)
}

/// Makes a failure of a violation, and of a panic.
fn guarded<T>(work: impl FnOnce() -> Result<T, Violation>) -> Result<T, Failure> {
    listen();
    SILENT.set(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    SILENT.set(false);
    let (invariant, what) = match result {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(violation)) => (violation.invariant, violation.what),
        Err(_) => ("I18", PANIC.take().unwrap_or_else(|| "a panic".to_owned())),
    };
    Err(Failure { invariant, what, notes: Vec::new() })
}

/// Everything there is to say about a seed that fails: configuration, the operations that are needed, what happened.
#[must_use]
pub fn explain(config: &Config, failure: &Failure) -> String {
    let seed = config.seed;
    let again = |config: &Config, operations: &[Operation]| run_operations(config, operations, false).err();
    let needed = shrink::shrink(config, operations(config), failure.invariant, &again);
    let shrunk = run_operations(config, &needed, true).err();
    let mut text = format!("seed {seed}: {failure}\n{config:#?}\n");
    match shrunk {
        Some(shrunk) => {
            text += &format!("{} operations are needed: {shrunk}\n", needed.len());
            shrunk.notes.iter().for_each(|note| text += &format!("  {note}\n"));
        }
        None => text += "it does not fail by its operations alone\n",
    }
    text + &format!("again: the same campaign with --from {seed} --seeds 1")
}

fn campaign(name: &str, size: &Size, kind: &Kind) -> Report {
    let mut report = Report::new(name);
    let count = size.count.unwrap_or(SEEDS);
    let end = size.from.saturating_add(count);
    let next = AtomicU64::new(size.from);
    let total = Mutex::new((Outcome::default(), 0u64, Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || size.is_over() {
                        return;
                    }
                    let result = (kind.run)(seed);
                    let failure = result.as_ref().err().map(|failure| match size.is_to_first_failure() {
                        true => failure.to_string(),
                        false => explain(&(kind.config)(seed), failure),
                    });
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    let (sum, seeds, failures) = &mut *total;
                    *seeds += 1;
                    if let Ok(outcome) = result {
                        sum.add(&outcome);
                    }
                    failures.extend(failure);
                    let enough = if size.is_to_first_failure() { 1 } else { FAILURES_MAX };
                    if failures.len() >= enough {
                        return;
                    }
                }
            });
        }
    });
    let (sum, seeds, failures) = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.seeds = format!("{}..{}", size.from, size.from.saturating_add(seeds));
    report.states = seeds;
    report.failures = failures;
    report.count("calls", sum.calls);
    report.count("acknowledged", sum.acknowledged);
    report.count("crashes", sum.crashes);
    report.count("faults", sum.faults);
    report.count("checks", sum.checks);
    report.count("windows", sum.windows);
    report
}

impl Outcome {
    fn add(&mut self, other: &Outcome) {
        self.calls += other.calls;
        self.acknowledged += other.acknowledged;
        self.crashes += other.crashes;
        self.faults += other.faults;
        self.checks += other.checks;
        self.windows += other.windows;
    }
}

/// Keeps what a panic says for the failure that it becomes, instead of printing it.
fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if SILENT.get() {
                PANIC.set(Some(info.to_string()));
            } else {
                before(info);
            }
        }));
    });
}
