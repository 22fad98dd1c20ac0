//! Another plan for a tenant: one manifest is the commit point, so that a crash leaves the one plan or the other.
//!
//! A plan that keeps as much or more takes effect at once: blocks that were not due yet stay as long as it says. One that
//! keeps less of anything waits for [`PLAN_GRACE_MS`]: until then the plan before holds in everything, and the change can
//! be undone. Background work then puts it in effect. What has expired once stays so under any plan.

use std::sync::Arc;

use annals_model::{Plan, Timestamp};
use annals_vfs::planted::{Bug, planted};

use crate::error::{MaintenanceError, TenantError};
use crate::maintenance::Done;
use crate::manifest::Manifest;
use crate::retention::{PLAN_GRACE_MS, keeps_less};
use crate::shared::Shared;
use crate::tenant::TenantShared;

/// Gives a tenant another plan; when it takes effect.
pub(crate) fn change_plan(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
    plan: Plan,
) -> Result<Timestamp, TenantError> {
    plan.check().map_err(TenantError::Plan)?;
    let mut change = tenant.change().map_err(TenantError::Change)?;
    let (manifest, now) = (tenant.data.read().manifest.clone(), shared.retention_now());
    // What has expired by the plan that held does not come back by the next.
    let manifest = if planted(Bug::ExpiredForgotten) { manifest } else { manifest.expire(now) };
    let (effective, manifest) = if keeps_less(&manifest.plan, &plan) {
        let effective = now.saturating_add(PLAN_GRACE_MS);
        (effective, Manifest { next_plan: Some((effective, plan)), ..manifest })
    } else {
        (now, Manifest { plan, next_plan: None, ..manifest })
    };
    tenant
        .commit_manifest(shared, &mut change, manifest, "change the plan", |_| ())
        .map_err(TenantError::Change)?;
    Ok(effective)
}

/// Takes back a change that has not taken effect; the plan that it was to. `None` where there was none.
pub(crate) fn undo_plan(shared: &Shared, tenant: &Arc<TenantShared>) -> Result<Option<Plan>, TenantError> {
    let mut change = tenant.change().map_err(TenantError::Change)?;
    let manifest = tenant.data.read().manifest.clone();
    let Some((_, plan)) = manifest.next_plan.clone() else { return Ok(None) };
    let manifest = Manifest { next_plan: None, ..manifest };
    tenant
        .commit_manifest(shared, &mut change, manifest, "keep the plan", |_| ())
        .map_err(TenantError::Change)?;
    Ok(Some(plan))
}

/// Puts a plan in effect whose time has come.
pub(crate) fn apply_plan(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
    now: Timestamp,
) -> Result<Option<Done>, MaintenanceError> {
    let is_due = |manifest: &Manifest| manifest.next_plan.as_ref().is_some_and(|(at, _)| *at <= now);
    if !is_due(&tenant.data.read().manifest) {
        return Ok(None);
    }
    let mut change = tenant.change()?;
    let manifest = tenant.data.read().manifest.clone();
    let Some((_, plan)) = manifest.next_plan.clone().filter(|_| is_due(&manifest)) else { return Ok(None) };
    let name = plan.name.clone();
    let manifest = Manifest { plan, next_plan: None, ..manifest.expire(now) };
    tenant.commit_manifest(shared, &mut change, manifest, "put a plan in effect", |_| ())?;
    Ok(Some(Done::PlanChanged { tenant: tenant.id.clone(), plan: name }))
}
