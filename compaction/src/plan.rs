//! What should happen to a tenant's blocks, as values: decided here, done elsewhere.
//!
//! Drops come first, the longest overdue first. Seals come last. In between come merges, at most one per day and content:
//!
//! ```text
//!   blocks of one day and content, by LSN:   L2  L1 L1  L0 L0 L0 L0        one level, 4 or more: merge them
//!                                                       └────┬────┘
//!   a day that is over, more than one block: L2  L1 L1  L0                 merge to one
//! ```
//!
//! What is merged as far as it goes is sealed: its rollups are made. They are never merged themselves.
//!
//! A single block of metrics is written once more, by a merge with nothing, when its day is over and again when that was
//! a week ago: where its chunks were made for a younger day, and it will stay at least as long as it has lived.
//!
//! What must hold of a merge: its inputs are neighbours in LSN order, with no other block of that day and content
//! between them, so that the later write stays the later one. None of them is due, held or set aside. Each sample
//! is rewritten once per level, and levels grow with the logarithm of a day's blocks. A day that may take old data
//! for ever is not rewritten for each trickle: what is to be merged in must be a fair part of what is there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use annals_model::{BlockContent, BlockId, BlockMeta, ChunkAge, DAY_MS, Day, HOUR_MS, Plan, Timestamp};

use crate::fate::{Days, Rule, Standing, State};

/// Neighbours of one level that are merged.
const LEVEL_BLOCKS: usize = 4;
/// The most inputs of one merge: bounds open blocks and the time until the step's effect.
const INPUTS_MAX: usize = 16;
/// The most bytes of one merge's inputs: its output is held in memory until it is published.
const INPUT_BYTES_MAX: u64 = 512 << 20;
/// How long after its end a day counts as over at the earliest.
const OVER_MARGIN_MS: i64 = HOUR_MS;
/// Smaller blocks are not written again by themselves: there is nothing to gain.
const SHRUNK_BYTES_MIN: u64 = 64 << 10;
/// How long after its end a day of metrics is read often: the speed of its chunks counts for more than their size.
const OLD_AFTER_MS: i64 = 7 * DAY_MS;
/// In a day that may grow for ever, the largest block is rewritten once the others have this part of its bytes.
/// Each rewrite then grows it by a quarter or more, so all rewrites together write five times its last size.
const TAIL_PART: u64 = 4;

const _: () = assert!(2 <= LEVEL_BLOCKS && LEVEL_BLOCKS <= INPUTS_MAX);

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Take a block out of the manifest and remove its file.
    Drop {
        /// Which block.
        block: BlockId,
        /// When it should have gone.
        due: Timestamp,
        /// Why.
        rule: Rule,
    },
    /// Make the rollups of a day from all its raw blocks.
    Seal {
        /// Which day.
        day: Day,
        /// Its raw blocks, in LSN order.
        inputs: Vec<BlockId>,
        /// Which tiers.
        tiers: Vec<BlockContent>,
    },
    /// Put one block in place of several, or of one whose chunks can be smaller.
    Merge {
        /// Which blocks, in LSN order: the later write last.
        inputs: Vec<BlockId>,
        /// The day of all of them.
        day: Day,
        /// What all of them hold.
        content: BlockContent,
    },
}

/// What should happen to a tenant's blocks, in order of urgency. No two steps touch the same block.
///
/// To be asked again after a step is done: merges may follow on merges.
#[must_use]
pub fn plan(blocks: &[BlockMeta], plan: &Plan, now: Timestamp, standing: &Standing) -> Vec<Step> {
    let mut groups: BTreeMap<(Day, BlockContent), Vec<&BlockMeta>> = BTreeMap::new();
    for block in blocks {
        groups.entry((block.id.day, block.id.content)).or_default().push(block);
    }
    let days = Days::of(blocks, plan, now, standing);
    let (mut drops, mut merges, mut seals) = (Vec::new(), Vec::new(), Vec::new());
    for ((day, content), mut group) in groups {
        group.sort_by_key(|block| (block.lsns.after, block.lsns.through, block.id.sequence));
        let (rule, due, state) = days.fate(day, content);
        match (state, due) {
            (State::Due, due) => {
                let due = due.unwrap_or(now);
                drops.extend(group.into_iter().map(|block| Step::Drop { block: block.id, due, rule }));
            }
            (State::Held, _) => seals.extend(to_seal(&days, &group, state, plan, now, standing)),
            (State::Live, _) if content.window_ms().is_some() => {}
            (State::Live, _) => {
                let growth = Growth::of(day, plan, now);
                let merge = runs(&group, standing).into_iter().find_map(|run| merge_of(run, growth));
                let inputs = match merge {
                    Some(inputs) => inputs.iter().map(|block| block.id).collect(),
                    None if growth == Growth::Open => Vec::new(),
                    None => Vec::from_iter(to_shrink(&group, due, now, standing)),
                };
                if !inputs.is_empty() {
                    merges.push(Step::Merge { inputs, day, content });
                } else if content == BlockContent::RawMetrics {
                    seals.extend(to_seal(&days, &group, state, plan, now, standing));
                }
            }
        }
    }
    drops.sort_by_key(|step| match step {
        Step::Drop { due, .. } => *due,
        Step::Merge { .. } | Step::Seal { .. } => Timestamp::MAX,
    });
    // The more blocks, the more each query of that day has to open.
    merges.sort_by_key(|step| match step {
        Step::Merge { inputs, .. } => Reverse(inputs.len()),
        Step::Drop { .. } | Step::Seal { .. } => Reverse(0),
    });
    drops.append(&mut merges);
    drops.append(&mut seals);
    drops
}

/// The next instant at which [`plan`] may ask for something else, as long as blocks, plan and standing stay as they are;
/// `None` where it never does.
///
/// Until then it need not be asked again: of many tenants, nearly none has anything to do.
#[must_use]
pub fn next_change(blocks: &[BlockMeta], plan: &Plan, now: Timestamp) -> Option<Timestamp> {
    let keeps = || plan.tiers.iter().map(|tier| tier.keep).chain([plan.signals_keep]);
    let of_day = |day: Day| {
        let over = day.end().saturating_add(margin_ms(plan));
        let old = day.end().saturating_add(OLD_AFTER_MS);
        let dues = keeps().filter_map(move |keep| keep.due(day)).flat_map(move |due| {
            // Half of its life is over: what is not shrunk by then is not worth it.
            let half = day.end().saturating_add(due.0.saturating_sub(day.end().0) / 2 + 1);
            [half, due]
        });
        [over, old].into_iter().chain(dues)
    };
    let days: BTreeSet<Day> = blocks.iter().map(|block| block.id.day).collect();
    days.into_iter().flat_map(of_day).filter(|at| *at > now).min()
}

/// The seal that is owed of a day whose raw blocks these are.
///
/// A closed day is sealed once, and again where the plan wants further tiers of it. A day that may take old data for ever
/// is sealed when it is over, and again once a fair part is new, or when its raw metrics are about to go. Nothing is made
/// from less than was sealed before.
fn to_seal(
    days: &Days<'_>,
    group: &[&BlockMeta],
    state: State,
    plan: &Plan,
    now: Timestamp,
    standing: &Standing,
) -> Option<Step> {
    let day = group.first()?.id.day;
    let (found, tiers) = (days.blocks(day)?, days.wanted(day).collect::<Vec<_>>());
    let seal = standing.seals.get(&day);
    let less = seal.is_some_and(|seal| found.rows < seal.rows);
    let damaged = group.iter().any(|block| standing.set_aside.contains(&block.id));
    if tiers.is_empty() || less || damaged || days.is_complete(day) || days.has_unflushed(day) {
        return None;
    }
    let is_new = seal.is_none_or(|seal| {
        let lacks_tier = tiers.iter().any(|tier| !found.tiers.contains(tier));
        lacks_tier || found.rows - seal.rows >= (seal.rows / TAIL_PART).max(1)
    });
    let wanted = match Growth::of(day, plan, now) {
        _ if state == State::Held => true,
        Growth::Open => false,
        Growth::Over => is_new,
        Growth::Sealed => true,
    };
    wanted.then(|| Step::Seal { day, inputs: group.iter().map(|block| block.id).collect(), tiers })
}

/// What the chunks of a day's metrics are made for when it is merged.
#[must_use]
pub fn chunk_age(day: Day, now: Timestamp) -> ChunkAge {
    if now < day.end().saturating_add(OLD_AFTER_MS) { ChunkAge::Merged } else { ChunkAge::Old }
}

/// A block of a day that is over, whose chunks were made for a younger day.
fn to_shrink(
    group: &[&BlockMeta],
    due: Option<Timestamp>,
    now: Timestamp,
    standing: &Standing,
) -> Option<BlockId> {
    let found = group.iter().find(|block| {
        block.id.content == BlockContent::RawMetrics
            && block.age < chunk_age(block.id.day, now)
            && (SHRUNK_BYTES_MIN..=INPUT_BYTES_MAX).contains(&block.bytes)
            && !standing.set_aside.contains(&block.id)
    })?;
    let lived_ms = now.0.saturating_sub(found.id.day.end().0);
    let stays = due.is_none_or(|due| due.0.saturating_sub(now.0) >= lived_ms);
    stays.then_some(found.id)
}

/// What may still come into a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growth {
    /// Its data comes in now.
    Open,
    /// It is over; old data may come at any time.
    Over,
    /// It is over and its late window has passed.
    Sealed,
}

impl Growth {
    fn of(day: Day, plan: &Plan, now: Timestamp) -> Growth {
        if now < day.end().saturating_add(margin_ms(plan)) {
            Growth::Open
        } else if plan.late_window_ms.is_none() || plan.rights.backfill {
            Growth::Over
        } else {
            Growth::Sealed
        }
    }
}

/// How long after its end a day is over.
fn margin_ms(plan: &Plan) -> i64 {
    plan.late_window_ms.unwrap_or(0).max(OVER_MARGIN_MS)
}

/// The runs of neighbours among which merging is allowed. Blocks whose records interleave with another's have no
/// order that a merge could keep; no flush or merge makes such.
fn runs<'a, 'b>(group: &'b [&'a BlockMeta], standing: &Standing) -> Vec<&'b [&'a BlockMeta]> {
    let may_merge = |block: &BlockMeta| {
        !standing.set_aside.contains(&block.id)
            && group.iter().all(|other| follows(block, other) || follows(other, block))
    };
    group.chunk_by(move |a, b| may_merge(a) && may_merge(b)).filter(|run| run.len() > 1).collect()
}

/// Whether all records of one block come before all of the other's. Blocks that one flush cut apart count as
/// such: they share no sample.
fn follows(before: &BlockMeta, after: &BlockMeta) -> bool {
    before.lsns.through <= after.lsns.after || before.lsns == after.lsns
}

/// What to merge of a run of at least two neighbours.
fn merge_of<'a, 'b>(run: &'b [&'a BlockMeta], growth: Growth) -> Option<&'b [&'a BlockMeta]> {
    if growth != Growth::Open && fits(run) && is_worthwhile(run, growth) {
        return Some(run);
    }
    let of_one_level = run
        .chunk_by(|a, b| a.level == b.level)
        .filter(|level| level.len() >= LEVEL_BLOCKS)
        .find_map(|level| windows_that_fit(level).next());
    if of_one_level.is_some() || growth == Growth::Open || fits(run) {
        return of_one_level;
    }
    // Too much for one merge: the most blocks for the fewest bytes.
    windows_that_fit(run)
        .filter(|window| is_worthwhile(window, growth))
        .min_by_key(|window| (Reverse(window.len()), bytes(window)))
}

/// From each block, the longest run that one merge takes.
fn windows_that_fit<'a, 'b>(run: &'b [&'a BlockMeta]) -> impl Iterator<Item = &'b [&'a BlockMeta]> {
    (0..run.len()).filter_map(|start| {
        let from_start = &run[start..];
        (2..=from_start.len().min(INPUTS_MAX))
            .map(|count| &from_start[..count])
            .take_while(|window| fits(window))
            .last()
    })
}

fn fits(run: &[&BlockMeta]) -> bool {
    run.len() <= INPUTS_MAX && bytes(run) <= INPUT_BYTES_MAX
}

fn is_worthwhile(run: &[&BlockMeta], growth: Growth) -> bool {
    let largest = run.iter().map(|block| block.bytes).max().unwrap_or(0);
    growth == Growth::Sealed || bytes(run) - largest >= largest / TAIL_PART
}

fn bytes(run: &[&BlockMeta]) -> u64 {
    run.iter().fold(0, |sum, block| sum.saturating_add(block.bytes))
}
