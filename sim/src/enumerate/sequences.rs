//! All sequences of up to three operations, each with a crash at every call of its last operation: those of the
//! others are the shorter sequences' own.

use std::sync::OnceLock;

use super::book::Book;
use super::host::{Host, Step};
use super::recover::{Depth, recovers};
use super::scenarios::machine;
use super::sweep::{Seen, Tally, caught, copy, cuts, sweep};
use crate::campaign::{Report, Size};
use crate::world::Machine;

/// What a sequence is made of.
const ALPHABET: &[(&str, &[Step])] = &[
    ("samples", &[Step::Samples(0, 2)]),
    ("signals", &[Step::Signals(0, 2)]),
    ("flush", &[Step::Flush(0)]),
    ("maintain", &[Step::Maintain]),
    ("settle", &[Step::Settle]),
    ("create", &[Step::Create(1), Step::Samples(1, 1)]),
    ("a day", &[Step::Hours(24)]),
    ("reopen", &[Step::Close, Step::Open]),
    ("read-only", &[Step::ReadOnly]),
    ("retry", &[Step::Retry]),
    ("delete", &[Step::Delete(0), Step::Maintain]),
    ("erase", &[Step::Erase(0), Step::Maintain]),
    ("backup", &[Step::Backup]),
    ("full", &[Step::Full]),
    ("space", &[Step::Space]),
];
const LENGTH_MAX: u32 = 3;

/// The campaign.
pub(super) fn run(size: &Size) -> Report {
    let mut report = Report::new("sequences");
    let base = match base() {
        Ok(base) => base,
        Err(what) => {
            report.failures.push(what);
            return report;
        }
    };
    let all: Vec<Vec<usize>> = (1..=LENGTH_MAX).flat_map(sequences).collect();
    let seen = Seen::default();
    report.seeds = format!("{}..{}", size.from, size.from + 1);
    let tally = sweep(size, &all, |sequence, tally| at(&base, sequence, size.from, &seen, tally));
    report.count("sequences", all.len());
    tally.report(&mut report);
    report
}

/// All sequences of a length.
fn sequences(length: u32) -> impl Iterator<Item = Vec<usize>> {
    let letters = ALPHABET.len();
    (0..letters.pow(length))
        .map(move |number| (0..length).map(|place| number / letters.pow(place) % letters).collect())
}

/// A store with blocks and a tail, closed.
fn base() -> Result<(Machine, Book), String> {
    let mut host = Host::new(machine(1 << 20), Book::new());
    host.run(&[
        Step::Open,
        Step::Create(0),
        Step::Samples(0, 2),
        Step::Signals(0, 2),
        Step::Flush(0),
        Step::Samples(0, 2),
        Step::Close,
    ])?;
    match host.told.first() {
        None => Ok((copy(&host.machine, 1), host.book.clone())),
        Some(told) => Err(told.clone()),
    }
}

fn at(base: &(Machine, Book), sequence: &[usize], seed: u64, seen: &Seen, tally: &mut Tally) {
    let Some((&last, first)) = sequence.split_last() else { return };
    let names: Vec<&str> = sequence.iter().map(|&letter| ALPHABET[letter].0).collect();
    for call in 0.. {
        for within in [false, true] {
            let reached = caught(|| {
                let mut host = Host::new(copy(&base.0, 2), base.1.clone());
                host.run(&[Step::Open])?;
                for &letter in first {
                    host.run(ALPHABET[letter].1)?;
                }
                if within {
                    host.machine.vfs.set_crash_within(call);
                } else {
                    host.machine.vfs.set_crash_at(call);
                }
                host.run(ALPHABET[last].1)?;
                Ok(host)
            });
            let how = if within { "within" } else { "before" };
            let place = |end: &str| format!("{names:?}, {how} call {call} of the last, {end}");
            let mut host = match reached {
                Ok(host) => host,
                Err(what) => {
                    tally.check(|| place("nothing more"), || Err(what));
                    return;
                }
            };
            if !host.machine.vfs.crashed() {
                return;
            }
            host.store = None;
            let trace = OnceLock::new();
            let named = |end: &str| {
                let call = trace.get_or_init(|| host.machine.vfs.trace().pop());
                let call =
                    call.as_ref().map_or_else(String::new, |c| format!(" ({:?} {})", c.op, c.path.display()));
                format!("{}{call}", place(end))
            };
            for cut in cuts(seed, 1) {
                let after = host.machine.fork();
                after.vfs.power_cut(cut);
                if seen.is_new(&after, &host.book, ()) {
                    let depth = Depth::default();
                    tally.check(|| named(&format!("then {cut:?}")), || recovers(&after, &host.book, depth));
                } else {
                    tally.add("equal", 1);
                }
            }
            let after = host.machine.fork();
            after.vfs.process_crash();
            tally.check(|| named("the process ends"), || recovers(&after, &host.book, Depth::default()));
        }
    }
}
