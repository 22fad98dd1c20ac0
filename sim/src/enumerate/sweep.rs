//! How a sweep runs: pieces of work on two threads, counted, and failures of one kind told once.

use std::any::Any;
use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use annals::vfs::{SimCut, SimEntropy};
use foldhash::quality::FixedState;

use super::book::Book;
use super::host::fingerprint;
use crate::campaign::{Report, Size};
use crate::world::Machine;

/// Threads of a sweep. Each piece of work is deterministic by itself.
const THREADS: usize = 2;
/// Pieces between two looks at the clock and at the number of states, so that a slice is the same in every run.
const PIECES: usize = 8;
/// Kinds of failures that are told whole.
const FAILURES_TOLD_MAX: usize = 40;

/// What a piece of work, or many, came to.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// States that were checked.
    pub(super) states: u64,
    /// Further counts.
    pub(super) counts: BTreeMap<&'static str, u64>,
    /// By kind: the first of it, and how many.
    failures: BTreeMap<String, (String, u64)>,
}

impl Tally {
    /// Adds to a count.
    pub(super) fn add(&mut self, name: &'static str, count: u64) {
        *self.counts.entry(name).or_default() += count;
    }

    /// Checks a state. A panic is a failure like any other.
    pub(super) fn check(
        &mut self,
        place: impl FnOnce() -> String,
        work: impl FnOnce() -> Result<(), String>,
    ) -> bool {
        self.states += 1;
        match caught(work) {
            Ok(()) => true,
            Err(what) => {
                let first = || format!("{}\n    {what}", place());
                self.failures.entry(kind_of(&what)).or_insert_with(|| (first(), 0)).1 += 1;
                false
            }
        }
    }

    fn merge(&mut self, other: Tally) {
        self.states += other.states;
        other.counts.into_iter().for_each(|(name, count)| self.add(name, count));
        for (kind, (first, count)) in other.failures {
            self.failures.entry(kind).or_insert_with(|| (first, 0)).1 += count;
        }
    }

    /// Puts all of it into a report.
    pub(super) fn report(self, report: &mut Report) {
        report.states = self.states;
        for (name, count) in self.counts {
            report.count(name, count);
        }
        let kinds = self.failures.len();
        for (first, count) in self.failures.into_values().take(FAILURES_TOLD_MAX) {
            report.failures.push(match count {
                1 => first,
                more => format!("{first}\n    ({} more of this kind)", more - 1),
            });
        }
        if kinds > FAILURES_TOLD_MAX {
            report.failures.push(format!("and {} other kinds of failures", kinds - FAILURES_TOLD_MAX));
        }
    }
}

/// A failure without its numbers: what differs only in them is of one kind.
fn kind_of(what: &str) -> String {
    what.lines().next().unwrap_or_default().chars().filter(|c| !c.is_ascii_digit() && *c != '-').collect()
}

/// Runs what may panic; a panic becomes an error.
pub(super) fn caught<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(format!("it panicked: {}", text(&*panic))))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let known = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
    known.unwrap_or("without a text").to_owned()
}

/// Does pieces of work until all are done, or as many states are checked as the size wants, or its time is over.
///
/// Pieces are taken in an order that mixes near and far ones, so that a slice sees some of everything.
pub(super) fn sweep<T: Sync>(size: &Size, pieces: &[T], work: impl Fn(&T, &mut Tally) + Sync) -> Tally {
    let mut total = Tally::default();
    let order = mixed(pieces.len());
    for some in order.chunks(PIECES) {
        let enough = size.is_to_first_failure() && !total.failures.is_empty();
        if enough || size.is_over() || size.count.is_some_and(|count| total.states >= count) {
            break;
        }
        let next = AtomicUsize::new(0);
        let worker = || {
            let mut done = Vec::new();
            while let Some(&piece) = some.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut tally = Tally::default();
                work(&pieces[piece], &mut tally);
                done.push((piece, tally));
            }
            done
        };
        let done: BTreeMap<usize, Tally> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(worker)).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("failures are caught")).collect()
        });
        done.into_values().for_each(|tally| total.merge(tally));
    }
    total
}

/// All numbers below a bound, each once, with a stride near the golden ratio.
fn mixed(bound: usize) -> Vec<usize> {
    let mut stride = (bound as f64 * 0.618) as usize | 1;
    while gcd(stride, bound.max(1)) != 1 {
        stride += 2;
    }
    (0..bound).map(|i| i * stride % bound).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// States that were seen, by all threads of a sweep: an equal one is not checked, nor counted, again.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<HashSet<u64>>);

impl Seen {
    /// Whether a machine with this disk, of which this is known, is seen for the first time.
    pub(super) fn is_new(&self, machine: &Machine, book: &Book, also: impl Hash) -> bool {
        let mut hasher = FixedState::with_seed(1).build_hasher();
        fingerprint(machine, &mut hasher);
        book.hash(&mut hasher);
        also.hash(&mut hasher);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(hasher.finish())
    }
}

/// A copy of a machine that goes on with draws of its own.
pub(super) fn copy(machine: &Machine, seed: u64) -> Machine {
    Machine { entropy: Arc::new(SimEntropy::new(seed)), ..machine.fork() }
}

/// Every policy of a power cut; those that draw, with so many seeds from one on.
pub(super) fn cuts(from: u64, seeds: u64) -> Vec<SimCut> {
    let mut cuts = SimCut::all(from).to_vec();
    for seed in from + 1..from + seeds {
        cuts.extend(SimCut::all(seed).into_iter().filter(|cut| cut.seed().is_some()));
    }
    cuts
}

/// The same, where something is pending on the machine's disk; one, where all of them leave the same.
pub(super) fn cuts_that_differ(machine: &Machine, from: u64, seeds: u64) -> Vec<SimCut> {
    let left = |cut| {
        let after = machine.fork();
        after.vfs.power_cut(cut);
        let mut hasher = FixedState::with_seed(1).build_hasher();
        fingerprint(&after, &mut hasher);
        hasher.finish()
    };
    let lefts: HashSet<u64> = cuts(from, 1).into_iter().map(left).collect();
    if lefts.len() == 1 { vec![SimCut::Nothing] } else { cuts(from, seeds) }
}
