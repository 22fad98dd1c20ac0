//! Cancelling a tenant: from then on it takes no data, and when its time is over it is erased.
//!
//! It is read as before, its plan goes on to hold, and until its date all of that can be taken back. One manifest is the
//! commit point of each: a crash leaves the one or the other. The date is fixed when it is cancelled: when the last of
//! its data would have expired, and at the latest what the plan says. From that date on the next step of background work
//! erases it, as it would if it were asked to.

use std::sync::Arc;

use annals_model::Timestamp;

use crate::erase;
use crate::error::{MaintenanceError, TenantError};
use crate::life::Life;
use crate::maintenance::Done;
use crate::manifest::Manifest;
use crate::shared::Shared;
use crate::tenant::TenantShared;

/// Cancels a tenant; when it is erased. Asking again changes nothing.
pub(crate) fn cancel(shared: &Shared, tenant: &Arc<TenantShared>) -> Result<Timestamp, TenantError> {
    let mut change = tenant.change().map_err(TenantError::Change)?;
    let manifest = tenant.data.read().manifest.clone();
    // Not the time that deletions go by alone: where the clock is not believed yet, that lies far back, and once it is, the
    // date would have passed already.
    let since = shared.now().max(shared.retention_now());
    if let Some(due) = manifest.life.cancelled() {
        return Ok(due);
    }
    let due = manifest.plan.cancelled_due(since);
    let manifest = Manifest { life: Life::Cancelled { since, due }, ..manifest };
    // What is admitted after this was refused; what was admitted before is in the log.
    let _ingest = tenant.ingest.lock();
    tenant.commit_manifest(shared, &mut change, manifest, "cancel", |_| ()).map_err(TenantError::Change)?;
    Ok(due)
}

/// Takes it back; false where there is nothing to take back.
pub(crate) fn undo_cancel(shared: &Shared, tenant: &Arc<TenantShared>) -> Result<bool, TenantError> {
    let mut change = tenant.change().map_err(TenantError::Change)?;
    let manifest = tenant.data.read().manifest.clone();
    if manifest.life.cancelled().is_none() {
        return Ok(false);
    }
    let manifest = Manifest { life: Life::Live, ..manifest };
    tenant
        .commit_manifest(shared, &mut change, manifest, "take back the cancellation", |_| ())
        .map_err(TenantError::Change)?;
    Ok(true)
}

/// Erases a tenant whose time is over.
pub(crate) fn erase_cancelled(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
    now: Timestamp,
) -> Result<Option<Done>, MaintenanceError> {
    let is_due = |manifest: &Manifest| manifest.life.cancelled().is_some_and(|due| due <= now);
    if !is_due(&tenant.data.read().manifest) {
        return Ok(None);
    }
    match erase::erase_tenant(shared, &tenant.id, &is_due) {
        Ok(erasure) => Ok(Some(Done::Cancelled { tenant: tenant.id.clone(), due: erasure.due })),
        Err(TenantError::Change(error)) => Err(error),
        // Hidden, and gone on with like any other.
        Err(TenantError::KeyNotDestroyed { tenant, source }) => {
            Err(MaintenanceError::KeyNotDestroyed { tenant, source })
        }
        // It was taken back, or erased, meanwhile.
        Err(_) => Ok(None),
    }
}
