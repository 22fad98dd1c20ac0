//! Damage at rest: what a disk, or a person, does to files that nobody is writing.
//!
//! ```text
//!   store     the fixed stores that are damaged        change   what damage does to a file's bytes
//!   memory    files as byte vectors                    judge    reads a damaged file and says what it noticed
//!   single    one file damaged                         hostile  sizes and counts behind checks that fit
//!   moved     files and chunks in each other's place   whole    a damaged store, opened, queried and repaired
//! ```
//!
//! A damage must be *detected*: the decoder refuses the file, or the verification names it, once, and no other file. A
//! damage that nothing notices is a failure even where every answer is still right: the next one would not be. So is a
//! panic.

mod change;
mod hostile;
mod judge;
mod memory;
mod moved;
mod single;
mod store;
mod whole;

use crate::campaign::{Campaign, Report, Size};

/// The campaigns of this kind.
pub const CAMPAIGNS: &[Campaign] = &[
    Campaign { name: "damage", about: "every kind of damage at rest: detected, located, isolated", run },
    Campaign { name: "damage-flips", about: "every bit of every kind of file flipped", run: run_flips },
];

/// How many failures are kept in words; the rest only as a count.
const FAILURES_KEPT: usize = 20;

/// Every part, one after the other.
fn run(size: &Size) -> Report {
    let mut report = Report::new("damage");
    for part in [single::flips, single::others, moved::run, hostile::run, whole::run] {
        part(size, &mut report);
    }
    report
}

fn run_flips(size: &Size) -> Report {
    let mut report = Report::new("damage-flips");
    single::flips(size, &mut report);
    report
}

/// What a part of a campaign tells.
#[derive(Default)]
struct Tally {
    states: u64,
    failures: Vec<String>,
    failed: u64,
}

impl Tally {
    /// Counts a case and what is wrong with it.
    fn case(&mut self, outcome: Result<(), String>) {
        self.states += 1;
        if let Err(failure) = outcome {
            self.failed += 1;
            if self.failures.len() < FAILURES_KEPT {
                self.failures.push(failure);
            }
        }
    }

    fn take(&mut self, other: Tally) {
        self.states += other.states;
        self.failed += other.failed;
        self.failures.extend(other.failures);
    }

    /// Adds it to a report.
    fn add_to(self, report: &mut Report, name: &'static str) {
        report.states += self.states;
        report.count(name, self.states);
        let kept = self.failures.len() as u64;
        report.failures.extend(self.failures);
        if self.failed > kept {
            report.failures.push(format!("{name}: {} more failures", self.failed - kept));
        }
    }
}

/// Runs a case; a panic is a failure like any other.
fn guarded(name: &dyn std::fmt::Display, case: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(case));
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(format!("{name}: {failure}")),
        Err(_) => Err(format!("{name}: a panic")),
    }
}

/// Runs cases by number, `0..count`, on two threads: the numbers that one takes do not depend on the other.
fn in_two(size: &Size, count: u64, case: &(dyn Fn(u64) -> Result<(), String> + Sync)) -> Tally {
    let half = |first: u64| {
        let mut tally = Tally::default();
        for number in (first..count).step_by(2) {
            if number % 1_024 == first && size.is_over() {
                break;
            }
            tally.case(case(number));
        }
        tally
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        let mut tally = half(0);
        match other.join() {
            Ok(more) => tally.take(more),
            Err(_) => tally.case(Err("a thread of the campaign panicked".to_owned())),
        }
        tally
    })
}

#[doc(hidden)]
pub mod slice {
    //! The parts by themselves, for tests that run a short slice of each.

    pub use super::hostile::run as hostile;
    pub use super::moved::run as moved;
    pub use super::single::{flips, others};
    pub use super::whole::run as whole;
}
