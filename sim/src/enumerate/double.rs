//! A crash at every call of the recovery from a crash, before and within it, and on a sample once more; and a
//! recovery that is done again changes nothing but what every open does.

use std::ops::Range;

use std::path::PathBuf;

use annals::vfs::{SimCall, SimCut, SimOp};

use super::book::Book;
use super::crash::{Point, points};
use super::host::{Host, Step};
use super::recover::{Depth, open, recovers};
use super::scenarios::stages;
use super::sweep::{Seen, Tally, caught, copy, cuts, sweep};
use crate::campaign::{Report, Size};
use crate::world::Machine;

/// Of so many points of a scenario, one is recovered from with crashes.
const POINTS_OF: usize = 5;
/// Seeds of each policy that draws: in a slice, and in a full run.
const SEEDS: [u64; 2] = [2, 4];
/// Of so many crashes in a recovery, one is followed by a third, at every call.
const TRIPLE_OF: u64 = 97;

/// The campaign.
pub(super) fn run(size: &Size) -> Report {
    let mut report = Report::new("double");
    let stages = match stages() {
        Ok(stages) => stages,
        Err(what) => {
            report.failures.push(what);
            return report;
        }
    };
    let points: Vec<(usize, Point<'_>)> = points(&stages).into_iter().enumerate().collect();
    let chosen: Vec<_> = points.into_iter().filter(|(index, _)| index % POINTS_OF == 0).collect();
    let seen = Seen::default();
    let seeds = size.from..size.from + SEEDS[usize::from(size.count.is_none())];
    report.seeds = format!("{}..{}", seeds.start, seeds.end);
    let tally = sweep(size, &chosen, |(index, point), tally| at_point(*index, point, &seeds, &seen, tally));
    report.count("points", chosen.len());
    tally.report(&mut report);
    report
}

fn at_point(index: usize, point: &Point<'_>, seeds: &Range<u64>, seen: &Seen, tally: &mut Tally) {
    let Ok(host) = caught(|| point.reach()) else {
        // Told by the campaign of single crashes.
        return;
    };
    let all = cuts(seeds.start, 1);
    // One policy for each point, and the end of the process for some.
    let cut = (!index.is_multiple_of(7)).then(|| all[index / POINTS_OF % all.len()]);
    let base = host.machine.fork();
    end(&base, cut);
    // Opens of full disks are another campaign's.
    base.vfs.set_space(u64::MAX);
    base.vfs.set_inodes(u64::MAX);
    let damaged = point.stage.scenario.damaged;
    let named = || format!("{}, then {}", point.named(), told(cut));
    if !tally
        .check(|| format!("{}, recovered four times", named()), || is_settled(&base, &host.book, damaged))
    {
        return;
    }
    crashes(&base, &host.book, damaged, seeds, seen, tally, true, &named);
}

/// Crashes at every call of the recovery of a machine.
#[expect(clippy::too_many_arguments, reason = "one loop, called from one other place, one level deeper")]
fn crashes(
    base: &Machine,
    book: &Book,
    damaged: bool,
    seeds: &Range<u64>,
    seen: &Seen,
    tally: &mut Tally,
    deeper: bool,
    named: &dyn Fn() -> String,
) {
    let clean = copy(base, 3);
    drop(clean.open());
    let calls = clean.vfs.calls();
    for call in 0..calls {
        for within in [false, true] {
            let machine = copy(base, 3);
            if within {
                machine.vfs.set_crash_within(call);
            } else {
                machine.vfs.set_crash_at(call);
            }
            let opened = caught(|| {
                drop(machine.open());
                Ok(())
            });
            if opened.is_err() {
                tally.check(named, || Err(format!("an open that stops at call {call} panicked")));
                continue;
            }
            let how = if within { "within" } else { "before" };
            let ends = cuts(seeds.start, seeds.end - seeds.start).into_iter().map(Some).chain([None]);
            for cut in ends {
                let after = machine.fork();
                end(&after, cut);
                // What is pending differs where the process only ended.
                if !seen.is_new(&after, book, cut.is_none().then_some((call, within))) {
                    tally.add("equal", 1);
                    continue;
                }
                let place = || format!("{}, {how} call {call} of the recovery, then {}", named(), told(cut));
                let depth = Depth { damaged, more: false };
                let whole = tally.check(place, || recovers(&after, book, depth));
                if deeper && whole && tally.states.is_multiple_of(TRIPLE_OF) {
                    let before = tally.states;
                    crashes(&after, book, damaged, seeds, seen, tally, false, &place);
                    tally.add("triple", tally.states - before);
                }
            }
        }
    }
}

fn end(machine: &Machine, cut: Option<SimCut>) {
    match cut {
        Some(cut) => machine.vfs.power_cut(cut),
        None => machine.vfs.process_crash(),
    }
}

fn told(cut: Option<SimCut>) -> String {
    cut.map_or_else(|| "the process ends".to_owned(), |cut| format!("{cut:?}"))
}

/// What an open did and left, for the next one that finds the same.
struct Left {
    calls: Vec<SimCall>,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Left {
    /// What was done, without the removal of what an earlier open has made unneeded: the blocks that it made of a log
    /// that is larger than memory let the next open remove segments.
    fn done(&self) -> Vec<SimOp> {
        let calls = self.calls.iter().map(|call| call.op);
        calls.filter(|op| !matches!(op, SimOp::Unlink | SimOp::SyncDir)).collect()
    }

    fn told(&self) -> Vec<String> {
        self.calls.iter().map(|call| format!("{:?} {}", call.op, call.path.display())).collect()
    }
}

/// Opens four times, with nothing between but the process's end: the second open makes nothing that the third does not
/// make, the third and the fourth do the same calls, all leave the same files, and what is answered never changes.
fn is_settled(base: &Machine, book: &Book, damaged: bool) -> Result<(), String> {
    let mut host = Host::new(copy(base, 3), book.clone());
    let mut lefts = Vec::new();
    for time in ["once", "twice", "three times", "four times"] {
        host.machine.vfs.take_trace();
        open(&mut host, damaged || time != "once").map_err(|what| format!("opened {time}: {what}"))?;
        let calls = host.machine.vfs.take_trace();
        host.run(&[Step::Kill])?;
        let vfs = &host.machine.vfs;
        let mut files: Vec<(PathBuf, Vec<u8>)> = vfs
            .paths()
            .into_iter()
            // Segments get new numbers and salts, and the lock names who holds it.
            .filter(|path| !path.starts_with("/data/wal") && !path.ends_with("LOCK"))
            .map(|path| (path.clone(), vfs.read_file(path).unwrap_or_default()))
            .collect();
        files.sort();
        lefts.push(Left { calls, files });
    }
    let [_, second, third, fourth] = &lefts[..] else { return Ok(()) };
    if second.files != third.files || third.files != fourth.files {
        return Err("a later open changes files that the second has settled".to_owned());
    }
    let ops = |left: &Left| left.calls.iter().map(|call| call.op).collect::<Vec<_>>();
    if second.done() != third.done() || ops(third) != ops(fourth) {
        let told: Vec<Vec<String>> = lefts.iter().skip(1).map(Left::told).collect();
        return Err(format!("later opens do other calls: {told:#?}"));
    }
    Ok(())
}
