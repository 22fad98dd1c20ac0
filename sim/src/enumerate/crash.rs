//! A crash at every mutating call of every scenario, before and within it; then every power cut, and the end of the
//! process alone, and a power cut after what the next process did.

use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Range;

use foldhash::quality::FixedState;

use annals::vfs::SimCut;

use super::book::Book;
use super::host::Host;
use super::recover::{Depth, live_on, open, recovers};
use super::scenarios::{Stage, stages};
use super::sweep::{Seen, Tally, copy, cuts_that_differ, sweep};
use crate::campaign::{Report, Size};
use crate::world::Machine;

/// Seeds of each policy that draws: in a slice, and where points are looked at closely.
const SEEDS: [u64; 2] = [32, 192];
/// States of the largest slice that looks at points closely.
const CLOSELY_MAX: u64 = 5_000;
/// Of so many states, one is looked at in more ways.
const MORE_OF: u64 = 8;

/// A point in a scenario.
#[derive(Clone, Copy)]
pub(super) struct Point<'a> {
    /// Where.
    pub(super) stage: &'a Stage,
    /// Which mutating call.
    pub(super) call: u64,
    /// Whether the machine stops in the middle of it.
    pub(super) within: bool,
}

/// Every point of every scenario.
pub(super) fn points(stages: &[Stage]) -> Vec<Point<'_>> {
    let mut points = Vec::new();
    for stage in stages {
        for call in 0..stage.calls {
            points.extend([false, true].map(|within| Point { stage, call, within }));
        }
    }
    points
}

impl Point<'_> {
    /// Runs the scenario up to this point. The machine stands still then, and the host's store is gone.
    pub(super) fn reach(&self) -> Result<Host, String> {
        let mut host = self.stage.host();
        if self.within {
            host.machine.vfs.set_crash_within(self.call);
        } else {
            host.machine.vfs.set_crash_at(self.call);
        }
        host.run(self.stage.scenario.steps)?;
        host.store = None;
        Ok(host)
    }

    /// Names the point, and the call.
    pub(super) fn named(&self) -> String {
        let call = self.reach().ok().and_then(|host| host.machine.vfs.trace().pop());
        let how = if self.within { "within" } else { "before" };
        let call = call.map_or_else(String::new, |call| format!(" ({:?} {})", call.op, call.path.display()));
        format!("{}, {how} call {}{call}", self.stage.scenario.name, self.call)
    }
}

/// The campaign.
pub(super) fn run(size: &Size) -> Report {
    let mut report = Report::new("crash");
    let stages = match stages() {
        Ok(stages) => stages,
        Err(what) => {
            report.failures.push(what);
            return report;
        }
    };
    let points = points(&stages);
    let seen = Seen::default();
    // Whoever looks for one failure in few states looks closely at few points.
    let closely = size.count.is_none_or(|count| size.is_to_first_failure() && count <= CLOSELY_MAX);
    let seeds = size.from..size.from + SEEDS[usize::from(closely)];
    report.seeds = format!("{}..{}", seeds.start, seeds.end);
    let tally = sweep(size, &points, |point, tally| at_point(point, seeds.clone(), &seen, tally));
    report.count("scenarios", stages.len());
    report.count("points", points.len());
    tally.report(&mut report);
    report
}

fn at_point(point: &Point<'_>, seeds: Range<u64>, seen: &Seen, tally: &mut Tally) {
    let host = match super::sweep::caught(|| point.reach()) {
        Ok(host) => host,
        Err(what) => {
            tally.check(|| point.named(), || Err(what));
            return;
        }
    };
    tally.add("calls", host.machine.vfs.calls());
    tally.add("acknowledged", host.book.present());
    let damaged = point.stage.scenario.damaged;
    for cut in cuts_that_differ(&host.machine, seeds.start, seeds.end - seeds.start) {
        let after = host.machine.fork();
        after.vfs.power_cut(cut);
        if !seen.is_new(&after, &host.book, ()) {
            tally.add("equal", 1);
            continue;
        }
        let depth = Depth { damaged, more: is_chosen(&after, &host.book) };
        tally.check(|| format!("{}, then {cut:?}", point.named()), || recovers(&after, &host.book, depth));
    }
    let after = host.machine.fork();
    after.vfs.process_crash();
    if seen.is_new(&after, &host.book, (point.call, point.within)) {
        let depth = Depth { damaged, more: point.call.is_multiple_of(MORE_OF) };
        tally
            .check(|| format!("{}, the process ends", point.named()), || recovers(&after, &host.book, depth));
    }
    after_another_process(point, &host, tally);
}

/// What the next process saw, it saw for ever: a power cut takes nothing of it, nor of what that process built on it.
fn after_another_process(point: &Point<'_>, host: &Host, tally: &mut Tally) {
    let damaged = point.stage.scenario.damaged;
    for lives_on in [false, true] {
        let mut next = Host::new(copy(&host.machine, 4), host.book.clone());
        next.machine.vfs.process_crash();
        let lived = super::sweep::caught(|| {
            open(&mut next, damaged)?;
            if lives_on { live_on(&mut next, Depth { damaged, more: false }) } else { Ok(()) }
        });
        if lived.is_err() {
            // Told already, by the process that only opened.
            return;
        }
        // The end of a store must not touch what the cut leaves.
        next.machine.vfs.set_crash_at(0);
        next.store = None;
        for cut in [SimCut::Nothing, SimCut::BytesOnly] {
            let after = next.machine.fork();
            after.vfs.power_cut(cut);
            let then = if lives_on { "lives on" } else { "opens" };
            tally.check(
                || format!("{}, the process ends, another {then}, then {cut:?}", point.named()),
                || recovers(&after, &next.book, Depth { damaged, more: false }),
            );
        }
    }
}

/// One of [`MORE_OF`], by what the state holds.
fn is_chosen(machine: &Machine, book: &Book) -> bool {
    let mut hasher = FixedState::with_seed(1).build_hasher();
    super::host::fingerprint(machine, &mut hasher);
    book.hash(&mut hasher);
    hasher.finish().is_multiple_of(MORE_OF)
}
