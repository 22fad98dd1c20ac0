//! How long each block is kept, and by which rule.
//!
//! | content     | dropped                                                                              |
//! |-------------|--------------------------------------------------------------------------------------|
//! | signals     | the plan's `signals_keep` after the day's end                                          |
//! | raw metrics | the raw tier's `keep` after the day's end, once the rollups that the plan still wants   |
//! |             | of the day are sealed; without them, when the last tier's `keep` is over              |
//! | rollups     | their tier's `keep` after the day's end                                                |
//! | any         | at once, where the day is at or below the content's floor, or the plan has no such tier |
//!
//! A day expires whole. Raw metrics whose rollup is owed are *held*: queries do not see them as samples, and what they
//! come to is shown in the place of the rollup.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use annals_model::{
    BlockContent, BlockId, BlockMeta, Day, DaySeal, Floors, Keep, Lsn, Plan, Resolution, TimeRange, Timestamp,
};

/// What holds for a tenant beyond its plan and the clock.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// What has expired once never comes back, whatever plan and clock say now.
    pub floors: Floors,
    /// Blocks that a merge or a seal has failed on: they stay as they are, and nothing is merged across them.
    pub set_aside: BTreeSet<BlockId>,
    /// What the rollups of each day were made from.
    pub seals: BTreeMap<Day, DaySeal>,
    /// Stamps that data may have which is not in blocks yet.
    pub unflushed: Option<TimeRange>,
}

/// Why a block goes when it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Raw signals are kept that long after their day.
    Signals(Keep),
    /// Raw metrics are kept that long after their day.
    RawMetrics(Keep),
    /// Rollups of a tier are kept that long after their day.
    Rollups(Resolution, Keep),
    /// Raw metrics would go after `raw`; a coarser tier lives on until `held` and is not sealed, so the raw block is kept
    /// in its place.
    UntilRollup {
        /// How long queries see raw.
        raw: Keep,
        /// How long the longest tier is kept.
        held: Keep,
    },
    /// The day has expired before, under another plan or a clock that was ahead: it does not come back.
    ExpiredBefore,
    /// The plan has no such tier.
    NotInPlan(Resolution),
    /// The tenant is cancelled, and erased then. No block's fate by itself: whoever knows of tenants says so.
    Cancelled,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Signals(keep) => write!(f, "raw signals are kept {keep}"),
            Rule::RawMetrics(keep) => write!(f, "raw metrics are kept {keep}"),
            Rule::Rollups(resolution, keep) => write!(f, "rollups of {} are kept {keep}", resolution.word()),
            Rule::UntilRollup { raw, held } => {
                write!(f, "raw metrics are shown {raw} and, without a rollup in their place, held {held}")
            }
            Rule::ExpiredBefore => f.write_str("the day has expired before"),
            Rule::Cancelled => f.write_str("the tenant is cancelled"),
            Rule::NotInPlan(resolution) => write!(f, "the plan has no tier of {}", resolution.word()),
        }
    }
}

/// Where a block stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Queries see it.
    Live,
    /// Hidden from queries, kept until its rule's due date.
    Held,
    /// To be dropped now.
    Due,
}

/// What will become of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockFate {
    /// Which block.
    pub block: BlockId,
    /// The rule that decides.
    pub rule: Rule,
    /// When it goes; `None` is never. Of a day that has expired before: now.
    pub due: Option<Timestamp>,
    /// Where it stands at the time of asking.
    pub state: State,
}

/// The fate of each block, in the order given.
#[must_use]
pub fn explain(blocks: &[BlockMeta], plan: &Plan, now: Timestamp, standing: &Standing) -> Vec<BlockFate> {
    let days = Days::of(blocks, plan, now, standing);
    blocks
        .iter()
        .map(|block| {
            let (rule, due, state) = days.fate(block.id.day, block.id.content);
            BlockFate { block: block.id, rule, due, state }
        })
        .collect()
}

/// What decides over the blocks of each day.
pub(crate) struct Days<'a> {
    plan: &'a Plan,
    now: Timestamp,
    standing: &'a Standing,
    days: BTreeMap<Day, DayBlocks>,
}

/// A day's blocks of metrics, in short.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DayBlocks {
    /// The last log record of its raw blocks.
    pub through: Lsn,
    /// Samples in its raw blocks: of one series and stamp there may be several.
    pub rows: u64,
    /// The tiers of which it has rollups.
    pub tiers: BTreeSet<BlockContent>,
}

impl DayBlocks {
    /// The blocks of metrics of each day.
    #[must_use]
    pub fn of(blocks: &[BlockMeta]) -> BTreeMap<Day, DayBlocks> {
        let mut days: BTreeMap<Day, DayBlocks> = BTreeMap::new();
        for block in blocks.iter().filter(|block| block.id.content != BlockContent::RawSignals) {
            let day = days.entry(block.id.day).or_default();
            if block.id.content == BlockContent::RawMetrics {
                day.through = day.through.max(block.lsns.through);
                day.rows = day.rows.saturating_add(block.rows);
            } else {
                day.tiers.insert(block.id.content);
            }
        }
        days
    }

    /// Whether the rollups of the day say all that its raw blocks say. They do too where less is left of those than they
    /// were made from.
    #[must_use]
    pub fn is_sealed(&self, seal: Option<&DaySeal>, has_unflushed: bool) -> bool {
        seal.is_some_and(|seal| self.through <= seal.through && !has_unflushed || self.rows < seal.rows)
    }
}

impl<'a> Days<'a> {
    pub(crate) fn of(
        blocks: &[BlockMeta],
        plan: &'a Plan,
        now: Timestamp,
        standing: &'a Standing,
    ) -> Days<'a> {
        Days { plan, now, standing, days: DayBlocks::of(blocks) }
    }

    /// The rollup tiers that the plan wants of a day and that have not expired.
    pub(crate) fn wanted(&self, day: Day) -> impl Iterator<Item = BlockContent> + '_ {
        let live = move |content: &BlockContent| {
            let due = self.plan.keep(*content).map(|keep| keep.due(day));
            due.is_some_and(|due| due.is_none_or(|due| due > self.now))
                && day.end() > self.standing.floors.get(*content)
        };
        let tiers = self.plan.tiers.iter().map(|tier| BlockContent::of_tier(tier.resolution));
        tiers.filter(|content| *content != BlockContent::RawMetrics).filter(live)
    }

    /// Whether every rollup that the plan wants of a day is there and says all that raw says.
    pub(crate) fn is_complete(&self, day: Day) -> bool {
        let Some(blocks) = self.days.get(&day) else { return false };
        blocks.is_sealed(self.standing.seals.get(&day), self.has_unflushed(day))
            && self.wanted(day).all(|tier| blocks.tiers.contains(&tier))
    }

    pub(crate) fn has_unflushed(&self, day: Day) -> bool {
        self.standing.unflushed.is_some_and(|range| range.overlaps(day.range()))
    }

    pub(crate) fn blocks(&self, day: Day) -> Option<&DayBlocks> {
        self.days.get(&day)
    }

    /// All blocks of one day and content share one fate.
    pub(crate) fn fate(&self, day: Day, content: BlockContent) -> (Rule, Option<Timestamp>, State) {
        let Days { plan, now, standing, .. } = self;
        let is_past = |due: Option<Timestamp>| due.is_some_and(|due| due <= *now);
        let expired_before = day.end() <= standing.floors.get(content);
        let (rule, due) = match (content.resolution(), plan.keep(content)) {
            (None, _) => (Rule::Signals(plan.signals_keep), plan.signals_keep.due(day)),
            (Some(resolution), None) => return (Rule::NotInPlan(resolution), Some(*now), State::Due),
            (Some(Resolution::Raw), Some(raw)) => {
                let held = plan.longest_keep();
                // Raw that expired under a plan of before may have its rollup owed under one that keeps both as long.
                let waits = (held > raw || expired_before) && !self.is_complete(day);
                if waits && self.wanted(day).next().is_some() {
                    let hidden = expired_before || is_past(raw.due(day));
                    let state = if hidden { State::Held } else { State::Live };
                    return (Rule::UntilRollup { raw, held }, held.due(day), state);
                }
                if waits && is_past(held.due(day)) {
                    (Rule::UntilRollup { raw, held }, held.due(day))
                } else {
                    (Rule::RawMetrics(raw), raw.due(day))
                }
            }
            (Some(resolution), Some(keep)) => (Rule::Rollups(resolution, keep), keep.due(day)),
        };
        if is_past(due) {
            (rule, due, State::Due)
        } else if expired_before {
            (Rule::ExpiredBefore, Some(*now), State::Due)
        } else {
            (rule, due, State::Live)
        }
    }
}
