//! The plan of a tenant, the one that waits, and what has expired under those of before.
//!
//! When a plan takes effect is the store's to say, from its date on; what it may say, and what has expired until then for
//! good, is worked out here.

use annals::{BlockContent, Floors, MaintenanceError, PLAN_GRACE_MS, Plan, Tenant, TenantError, Timestamp};

use super::Violation;
use super::account::Account;

/// A plan that waits, and from when on it may take effect.
type Next = Option<(Timestamp, Plan)>;

/// The plans of a tenant.
#[derive(Debug, Clone)]
pub(super) struct Plans {
    /// The one in effect.
    pub(super) plan: Plan,
    next: Next,
    /// What holds where a change took place of which nobody knows: the next open shows it.
    doubt: Option<(Plan, Next)>,
    /// What has expired at least under plans of before, and at most.
    least: Floors,
    most: Floors,
    /// Days up to this may have been closed under plans of before.
    closed: Timestamp,
}

impl Plans {
    pub(super) fn new(plan: Plan) -> Plans {
        Plans {
            plan,
            next: None,
            doubt: None,
            least: Floors::NONE,
            most: Floors::NONE,
            closed: Timestamp::MIN,
        }
    }

    /// Whether another plan may be in effect soon.
    pub(super) fn is_waiting(&self) -> bool {
        self.next.is_some() || self.is_doubtful()
    }

    pub(super) fn is_doubtful(&self) -> bool {
        self.doubt.is_some()
    }

    /// Between which stamps a content begins to be shown: what the plan says now, and what it said at the latest time seen.
    pub(super) fn floors(&self, content: BlockContent, now: Timestamp, latest: Timestamp) -> (i64, i64) {
        let by = |at| self.plan.keep(content).map_or(Timestamp::MIN, |keep| keep.floor(at));
        (by(now).max(self.least.get(content)).0, by(latest).max(self.most.get(content)).0)
    }

    /// The same for the metrics of all tiers.
    pub(super) fn metrics_floors(&self, now: Timestamp, latest: Timestamp) -> (i64, i64) {
        let tiers = self.plan.tiers.iter().map(|tier| BlockContent::of_tier(tier.resolution));
        let floors = tiers.map(|tier| self.floors(tier, now, latest));
        floors.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1))).unwrap_or((i64::MIN, i64::MAX))
    }

    /// The same for what is refused as too late or expired.
    pub(super) fn admission_floors(&self, now: Timestamp, latest: Timestamp) -> (i64, i64) {
        let (least, most) = self.floors(BlockContent::RawMetrics, now, latest);
        let late = |at| self.plan.late_floor(at).0;
        (least.max(late(now)), most.max(late(latest)).max(self.closed.0))
    }

    /// What came of asking for a plan. `now` where the store believes the clock.
    pub(super) fn asked(
        &mut self,
        plan: Plan,
        answer: &Result<Timestamp, TenantError>,
        now: Option<Timestamp>,
        latest: Timestamp,
    ) -> Result<(), Violation> {
        let less = BlockContent::ALL.into_iter().any(|content| plan.keep(content) < self.plan.keep(content));
        match answer {
            Ok(effective) => {
                let due = now.map(|now| now.saturating_add(if less { PLAN_GRACE_MS } else { 0 }));
                if due.is_some_and(|due| due != *effective) {
                    let what =
                        format!("{} in place of {} takes effect at {effective}", plan.name, self.plan.name);
                    return Err(Violation::new("P6", what));
                }
                match less {
                    true => self.next = Some((*effective, plan)),
                    false => self.takes_effect(plan, now, latest),
                }
            }
            Err(error) if is_in_doubt(error) => {
                self.doubt = Some(match less {
                    true => (self.plan.clone(), Some((Timestamp::MIN, plan))),
                    false => (plan, None),
                });
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// What came of taking that back.
    pub(super) fn undone(&mut self, answer: &Result<Option<Plan>, TenantError>) -> Result<(), Violation> {
        match answer {
            Ok(undone) if undone.as_ref() != self.next.as_ref().map(|(_, plan)| plan) => {
                let what = format!("{:?} waited, and {undone:?} was taken back", self.next);
                return Err(Violation::new("P6", what));
            }
            Ok(_) => self.next = None,
            Err(error) if is_in_doubt(error) => self.doubt = Some((self.plan.clone(), None)),
            Err(_) => {}
        }
        Ok(())
    }

    /// What the store says: one plan is in effect and another may wait. `now` where it believes the clock.
    pub(super) fn seen(
        &mut self,
        plan: &Plan,
        next: Option<&(Timestamp, Plan)>,
        reopened: bool,
        now: Option<Timestamp>,
        latest: Timestamp,
    ) -> Result<(), Violation> {
        let doubt = if reopened { self.doubt.take() } else { None };
        if self.plan == *plan && self.next.as_ref() == next {
            return Ok(());
        }
        let is_due = |(at, due): &(Timestamp, Plan)| *at <= latest && due == plan;
        if next.is_none() && self.next.as_ref().is_some_and(is_due) {
            self.takes_effect(plan.clone(), now, latest);
            return Ok(());
        }
        let waits = next.map(|(_, plan)| plan);
        if doubt.is_some_and(|(then, later)| then == *plan && later.as_ref().map(|(_, plan)| plan) == waits) {
            if self.plan != *plan {
                // What had expired then is not known for certain.
                self.takes_effect(plan.clone(), None, latest);
            }
            self.next = next.cloned();
            return Ok(());
        }
        let (had, waited) = (&self.plan.name, self.next.as_ref().map(|(_, plan)| &plan.name));
        let what =
            format!("{had} with {waited:?} became {} with {:?}", plan.name, waits.map(|plan| &plan.name));
        Err(Violation::new("P6", what))
    }

    /// From here on another plan holds. What has expired under the one before stays so; a tier that it did not have begins
    /// with what raw there is.
    fn takes_effect(&mut self, plan: Plan, now: Option<Timestamp>, latest: Timestamp) {
        for content in BlockContent::ALL {
            let of = if self.plan.keep(content).is_some() { content } else { BlockContent::RawMetrics };
            let (least, most) = self.floors(of, now.unwrap_or(Timestamp::MIN), latest);
            self.least = self.least.raised(content, Timestamp(least));
            self.most = self.most.raised(content, Timestamp(most));
        }
        self.closed = self.closed.max(self.plan.late_floor(latest));
        (self.plan, self.next) = (plan, None);
    }
}

impl Account {
    /// Asks a store which plan is in effect and which one waits.
    pub(super) fn learn_plan(
        &mut self,
        tenant: &Tenant,
        reopened: bool,
        now: Option<Timestamp>,
        latest: Timestamp,
    ) -> Result<(), Violation> {
        let retention = tenant.retention();
        self.plans.seen(retention.plan(), retention.next_plan(), reopened, now, latest)
    }
}

/// Whether the next open may find that it was done.
pub(super) fn is_in_doubt(error: &TenantError) -> bool {
    matches!(error, TenantError::Change(MaintenanceError::Indeterminate { .. }))
}
