//! How long each block is kept, and by which rule.
//!
//! | content    | dropped                                                                              |
//! |------------|--------------------------------------------------------------------------------------|
//! | signals    | the plan's `signals_keep` after the day's end                                          |
//! | raw metrics| the raw tier's `keep` after the day's end; where a coarser tier lives longer, its `keep`|
//! | either     | at once, where the day is at or below the tenant's floor and nothing waits for it      |
//!
//! A day expires whole. Raw metrics may go only when their rollup is sealed and durable. This version builds no
//! rollups, so raw of a plan whose coarser tier lives longer than raw is *held* for that tier's time. What is held
//! is hidden from queries by the engine all the same: a plan's promise to forget does not wait.

use std::collections::BTreeSet;
use std::fmt;

use annals_model::{BlockContent, BlockId, BlockMeta, Day, Keep, Plan, Timestamp};

/// What holds for a tenant beyond its plan and the clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Samples up to this have expired once; they never come back, whatever plan and clock say now.
    pub metrics_floor: Timestamp,
    /// The same of signals.
    pub signals_floor: Timestamp,
    /// Blocks that a merge has failed on: they stay as they are, and nothing is merged across them.
    pub set_aside: BTreeSet<BlockId>,
}

impl Default for Standing {
    fn default() -> Standing {
        Standing { metrics_floor: Timestamp::MIN, signals_floor: Timestamp::MIN, set_aside: BTreeSet::new() }
    }
}

/// Why a block goes when it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Raw signals are kept that long after their day.
    Signals(Keep),
    /// Raw metrics are kept that long after their day.
    RawMetrics(Keep),
    /// Raw metrics would go after `raw`; a coarser tier lives on until `held` and its rollup is not built, so the
    /// raw block is kept in its place.
    UntilRollup {
        /// How long queries see raw.
        raw: Keep,
        /// How long the longest tier is kept.
        held: Keep,
    },
    /// The day has expired before, under another plan or a clock that was ahead: it does not come back.
    ExpiredBefore,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Signals(keep) => write!(f, "raw signals are kept {}", keep),
            Rule::RawMetrics(keep) => write!(f, "raw metrics are kept {}", keep),
            Rule::UntilRollup { raw, held } => {
                write!(f, "raw metrics are shown {} and, without a rollup in their place, held {}", raw, held)
            }
            Rule::ExpiredBefore => f.write_str("the day has expired before"),
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
    blocks
        .iter()
        .map(|block| {
            let (rule, due, state) = fate(block.id.day, block.id.content, plan, now, standing);
            BlockFate { block: block.id, rule, due, state }
        })
        .collect()
}

/// All blocks of one day and content share one fate.
pub(crate) fn fate(
    day: Day,
    content: BlockContent,
    plan: &Plan,
    now: Timestamp,
    standing: &Standing,
) -> (Rule, Option<Timestamp>, State) {
    let (rule, shown, kept, floor) = match content {
        BlockContent::RawSignals => {
            let keep = plan.signals_keep;
            (Rule::Signals(keep), keep, keep, standing.signals_floor)
        }
        BlockContent::RawMetrics => {
            let (raw, held) = (plan.raw_keep(), plan.longest_keep());
            let rule = if held > raw { Rule::UntilRollup { raw, held } } else { Rule::RawMetrics(raw) };
            (rule, raw, held.max(raw), standing.metrics_floor)
        }
    };
    let is_past = |due: Option<Timestamp>| due.is_some_and(|due| due <= now);
    let due = kept.due(day);
    let expired_before = day.end() <= floor;
    if is_past(due) {
        (rule, due, State::Due)
    } else if matches!(rule, Rule::UntilRollup { .. }) && (expired_before || is_past(shown.due(day))) {
        (rule, due, State::Held)
    } else if expired_before {
        (Rule::ExpiredBefore, Some(now), State::Due)
    } else {
        (rule, due, State::Live)
    }
}
