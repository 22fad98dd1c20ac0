//! What operators do with a tenant in a run: create it, cancel it, change its plan, delete of it, erase it, give it keys.

use annals::{
    DAY_MS, Deletion, HOUR_MS, KeyClass, MaintenanceError, Matcher, TenantError, TimeRange, Timestamp,
};

use super::draw::Draws;
use super::run::{Run, id};
use crate::oracle::{State, Violation};

impl Run<'_> {
    pub(super) fn create(&mut self, tenant: usize) {
        let (id, plan) = (id(tenant), self.config.plan_of(self.config.plans[tenant]));
        if self.oracle.tenant_state(&id) != State::Absent {
            return;
        }
        self.oracle.creating(&id, &plan);
        let created = self.oracle.created(&id, self.store().create_tenant(&id, plan));
        match created {
            Ok(_) => self.answer("created", &id),
            Err(error) => {
                self.answer("not created", error);
            }
        }
    }

    /// Cancels a tenant, or takes that back.
    pub(super) fn cancel(&mut self, tenant: usize) {
        let id = id(tenant);
        let Some(handle) = self.tenant(tenant) else { return };
        if handle.summary().cancelled.is_some() {
            let undone = handle.undo_cancel();
            self.oracle.cancelled(&id, undone.is_ok().then_some(None));
            return self.answer("cancellation taken back", undone.is_ok());
        }
        let now = self.machine.now();
        self.oracle
            .cancelled(&id, Some(Some(handle.summary().plan.map_or(now, |plan| plan.cancelled_due(now)))));
        let cancelled = handle.cancel();
        self.answer("cancelled", cancelled.is_ok());
    }

    pub(super) fn erase(&mut self, tenant: usize) {
        let id = id(tenant);
        if self.tenant(tenant).is_none() {
            return;
        }
        self.oracle.erasing(&id);
        let erased = self.store().erase_tenant(&id);
        self.oracle.erased(&id, &erased);
        match erased {
            Ok(erasure) => self.answer("erased", erasure.number),
            Err(error) => self.answer("not erased", error),
        }
    }

    pub(super) fn rotate(&mut self, tenant: usize, classes: u64, hours: u64) {
        let Some(handle) = self.tenant(tenant).filter(|_| self.config.sealed) else { return };
        let all = [KeyClass::Metrics, KeyClass::Signals, KeyClass::Wrapping];
        let chosen = (0..).zip(all).filter(|(bit, _)| classes >> bit & 1 == 1);
        let chosen: Vec<KeyClass> = chosen.map(|(_, class)| class).collect();
        match handle.rotate_keys(&chosen, hours as i64 * HOUR_MS) {
            Ok(until) => self.answer("keys replaced until", until),
            Err(error) => self.answer("keys not replaced", error),
        }
    }

    /// Asks for another plan.
    pub(super) fn change_plan(&mut self, tenant: usize, name: &'static str) -> Result<(), Violation> {
        let (id, plan) = (id(tenant), self.config.plan_of(name));
        let Some(handle) = self.tenant(tenant) else { return Ok(()) };
        let changed = handle.change_plan(plan.clone());
        match &changed {
            Ok(effective) => self.answer("another plan", format!("{name} from {effective}")),
            Err(error) => self.answer("no other plan", error),
        }
        let now = self.machine.now();
        let store = self.store.as_ref().expect("open between operations");
        self.oracle.plan_asked(&id, plan, &changed, store, now)
    }

    /// Takes back a change of plan that waits.
    pub(super) fn undo_plan(&mut self, tenant: usize) -> Result<(), Violation> {
        let Some(handle) = self.tenant(tenant) else { return Ok(()) };
        let undone = handle.undo_plan();
        self.answer(
            "plan taken back",
            format!("{:?}", undone.as_ref().map(|plan| plan.as_ref().map(|p| &p.name))),
        );
        self.oracle.plan_undone(&id(tenant), &undone)
    }

    /// Switches a signal kind.
    pub(super) fn switch_kind(&mut self, tenant: usize, kind: &str, on: bool) -> Result<(), Violation> {
        let Some(handle) = self.tenant(tenant) else { return Ok(()) };
        let switched = handle.switch_kind(kind, on);
        self.answer("switched", format!("{switched:?}"));
        self.oracle.kind_switched(&id(tenant), kind, on, &switched)
    }

    /// Deletes something of a tenant.
    pub(super) fn delete(&mut self, tenant: usize, draws: &Draws) -> Result<(), Violation> {
        let Some(handle) = self.tenant(tenant) else { return Ok(()) };
        let (id, now) = (id(tenant), self.machine.now());
        let deletion = deletion(draws, now);
        self.note(|| format!("  {deletion:?}"));
        self.oracle.deleting(&id, deletion.clone());
        let deleted = handle.delete(&deletion);
        match &deleted {
            Ok(deleted) => self.answer("deleted", format!("{deleted:?}")),
            Err(error) => self.answer("not deleted", error),
        }
        self.oracle.deleted(&id, &deleted, now);
        match deleted {
            Err(TenantError::Change(MaintenanceError::Damaged { what, .. }))
                if self.rotten.is_empty() && !self.reads_fail && !self.machine.vfs.crashed() =>
            {
                Err(Violation::new("I7", format!("a deletion finds damage: {what}")))
            }
            _ => Ok(()),
        }
    }
}

/// Something to delete: of series and signals that are drawn, for ever, of days, of hours, or of any range.
fn deletion(draws: &Draws, now: Timestamp) -> Deletion {
    let equal = |name, value: &str| vec![Matcher::equal(name, value)];
    let matchers = match draws.below(8) {
        0 => Vec::new(),
        1 => equal("__name__", draws.one_of(&["gauge", "counter", "delta", "mark", "signals", "mails"])),
        2 => equal("__name__", draws.one_of(&["histogram", "delta_histogram"])),
        3 | 4 => equal("series", &draws.below(10).to_string()),
        5 => equal("site", draws.one_of(&["host", "shop.example"])),
        _ => equal("kind", draws.one_of(&["auth.attempt", "http.request", "mail.sent"])),
    };
    let ending = |end: i64, length: i64| TimeRange::new(Timestamp(end - length), Timestamp(end));
    let (today, hour) = (now.day().range().start.0, now.0.div_euclid(HOUR_MS) * HOUR_MS);
    let range = match draws.below(6) {
        0 => TimeRange::ALL,
        1 | 2 => ending(today + DAY_MS - draws.below(12) as i64 * DAY_MS, DAY_MS),
        3 => ending(hour - draws.below(48) as i64 * HOUR_MS, draws.within(1, 20) as i64 * HOUR_MS),
        4 => ending(today - draws.below(100) as i64 * DAY_MS, draws.within(1, 30) as i64 * DAY_MS),
        _ => ending(now.0 - draws.below(4 * DAY_MS as u64) as i64, draws.within(1, 2 * DAY_MS as u64) as i64),
    };
    let metrics = draws.percent(85);
    Deletion { matchers, range, metrics, signals: !metrics || draws.percent(50) }
}
