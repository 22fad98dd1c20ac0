//! What becomes of each block of a tenant, and what would under another plan.

use annals_compaction::{BlockFate, Rule, Standing, State, Step, explain, plan};
use annals_model::{BlockContent, BlockMeta, DAY_MS, Plan, Timestamp};

use crate::head::Head;
use crate::manifest::Manifest;
use crate::tenant::Data;
use crate::tiers::unflushed;

/// How long a plan that keeps less waits before it takes effect: until then it can be undone, and nothing goes by it.
pub const PLAN_GRACE_MS: i64 = 7 * DAY_MS;

/// A tenant's blocks, and what decides how long each is kept.
#[derive(Debug, Clone)]
pub struct Retention {
    now: Timestamp,
    plan: Plan,
    next: Option<(Timestamp, Plan)>,
    cancelled: Option<Timestamp>,
    blocks: Vec<BlockMeta>,
    standing: Standing,
}

/// A block, and what becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptBlock {
    /// The block.
    pub block: BlockMeta,
    /// The rule that decides.
    pub rule: Rule,
    /// When it goes; `None` is never.
    pub due: Option<Timestamp>,
    /// Where it stands now.
    pub state: State,
}

/// What another plan would change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanPreview {
    /// When it would take effect: now, or after a time in which it can be undone where it keeps less of anything.
    pub effective: Timestamp,
    /// Each block: what becomes of it by the plan that holds, and by the other from then on.
    pub blocks: Vec<(KeptBlock, KeptBlock)>,
}

impl PlanPreview {
    /// The bytes of blocks that would go on another date.
    #[must_use]
    pub fn bytes_changed(&self) -> u64 {
        self.blocks.iter().filter(|(old, new)| old.due != new.due).map(|(old, _)| old.block.bytes).sum()
    }
}

impl Retention {
    pub(crate) fn of_data(data: &Data, now: Timestamp) -> Retention {
        let standing =
            Standing { set_aside: data.set_aside.clone(), ..standing(&data.manifest, data.heads()) };
        Retention { standing, ..Retention::of(&data.manifest, std::iter::empty(), now) }
    }

    pub(crate) fn of<'h>(
        manifest: &Manifest,
        heads: impl Iterator<Item = &'h Head>,
        now: Timestamp,
    ) -> Retention {
        Retention {
            now,
            plan: manifest.plan.clone(),
            next: manifest.next_plan.clone(),
            cancelled: manifest.life.cancelled(),
            blocks: manifest.blocks.clone(),
            standing: standing(manifest, heads),
        }
    }

    /// The plan that holds.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The plan that will hold, and from when on; `None` where none was asked for.
    #[must_use]
    pub fn next_plan(&self) -> Option<&(Timestamp, Plan)> {
        self.next.as_ref()
    }

    /// When the tenant is erased, where it is cancelled: its blocks go then, where they do not before.
    #[must_use]
    pub fn cancelled(&self) -> Option<Timestamp> {
        self.cancelled
    }

    /// Each block and what becomes of it, by day.
    #[must_use]
    pub fn blocks(&self) -> Vec<KeptBlock> {
        self.under(&self.plan, self.now)
    }

    /// The background work that is owed.
    pub(crate) fn steps(&self) -> Vec<Step> {
        plan(&self.blocks, &self.plan, self.now, &self.standing)
    }

    /// How long the block that should have gone first has been due, in milliseconds; 0 where none is.
    #[must_use]
    pub fn lag_ms(&self) -> i64 {
        let due = |kept: KeptBlock| kept.due.filter(|_| kept.state == State::Due);
        let longest =
            self.blocks().into_iter().filter_map(due).map(|due| self.now.0.saturating_sub(due.0)).max();
        longest.unwrap_or(0).max(0)
    }

    /// What another plan would change.
    #[must_use]
    pub fn preview(&self, plan: &Plan) -> PlanPreview {
        let effective =
            if keeps_less(&self.plan, plan) { self.now.saturating_add(PLAN_GRACE_MS) } else { self.now };
        let blocks = self.blocks().into_iter().zip(self.under(plan, effective)).collect();
        PlanPreview { effective, blocks }
    }

    fn under(&self, plan: &Plan, now: Timestamp) -> Vec<KeptBlock> {
        let mut blocks = self.blocks.clone();
        blocks.sort_by_key(|block| block.id);
        let fates = explain(&blocks, plan, now, &self.standing);
        let kept = |(block, fate): (BlockMeta, BlockFate)| {
            let BlockFate { rule, due, state, .. } = fate;
            match self.cancelled.filter(|end| due.is_none_or(|due| due > *end)) {
                Some(end) if end <= now => {
                    KeptBlock { block, rule: Rule::Cancelled, due: Some(end), state: State::Due }
                }
                Some(end) => KeptBlock { block, rule: Rule::Cancelled, due: Some(end), state },
                None => KeptBlock { block, rule, due, state },
            }
        };
        blocks.into_iter().zip(fates).map(kept).collect()
    }
}

/// What holds for a tenant beyond its plan and the clock.
pub(crate) fn standing<'h>(manifest: &Manifest, heads: impl Iterator<Item = &'h Head>) -> Standing {
    Standing {
        floors: manifest.floors,
        seals: (*manifest.seals).clone(),
        unflushed: unflushed(heads),
        ..Standing::default()
    }
}

/// Whether a plan keeps anything for less time than another, or does not have a tier that that has.
pub(crate) fn keeps_less(old: &Plan, new: &Plan) -> bool {
    BlockContent::ALL.into_iter().any(|content| new.keep(content) < old.keep(content))
}
