//! What an operator should know of a store that is running.

use annals_model::{TenantId, Timestamp};
use annals_vfs::sync::atomic::Ordering;

use crate::rotation;
use crate::shared::{Shared, TenantSlot};

/// Something that is not as it should be. Its text says what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Trouble {
    /// A tenant cannot be used.
    #[error("tenant `{tenant}` is unavailable: {why}")]
    TenantUnavailable {
        /// The tenant.
        tenant: TenantId,
        /// Which file is at fault, and how.
        why: String,
    },
    /// Whether a tenant's newest manifest is durable is not known. It is written to and read; nothing of it becomes
    /// blocks, and the log keeps growing.
    #[error("tenant `{tenant}` takes no changes of its blocks since a sync failed: open the store again")]
    TenantSuspended {
        /// The tenant.
        tenant: TenantId,
    },
    /// Whether the newest catalogue is durable is not known: no tenant can be created.
    #[error("no tenant can be created since a sync failed: open the store again")]
    CatalogueSuspended,
    /// Something is left of an erased tenant although the date has passed by which it was to go.
    #[error("erased tenant `{tenant}` was to be removed by {due}, and something is left: {why}")]
    ErasureOverdue {
        /// Who it was.
        tenant: TenantId,
        /// By when.
        due: Timestamp,
        /// What to look at.
        why: &'static str,
    },
    /// Something is left of what was deleted although the date has passed by which it was to go.
    #[error("what was deleted of tenant `{tenant}` was to be gone by {due}, and something is left: {why}")]
    DeletionOverdue {
        /// The tenant.
        tenant: TenantId,
        /// By when.
        due: Timestamp,
        /// What to look at.
        why: &'static str,
    },
    /// Keys that a rotation has replaced are still needed although the date has passed by which they were to be gone.
    #[error("old keys of tenant `{tenant}` were to be out of use by {due}, and are not: {why}")]
    KeysOverdue {
        /// The tenant.
        tenant: TenantId,
        /// By when.
        due: Timestamp,
        /// What to look at.
        why: &'static str,
    },
    /// Blocks that no merge takes because they are damaged. What is whole in them is served.
    #[error("tenant `{tenant}` has {blocks} damaged blocks: `annals verify` names them")]
    DamagedBlocks {
        /// The tenant.
        tenant: TenantId,
        /// How many.
        blocks: usize,
    },
    /// Writes or syncs of the log failed, and it went on in new segments.
    #[error("the log had to leave {segments} segments, the last because: {failure}; look at the disk")]
    LogFailures {
        /// How many segments it left.
        segments: u64,
        /// The last failure.
        failure: String,
    },
    /// The log takes no writes any more.
    #[error("the log has failed: open the store again")]
    LogFailed,
    /// The space that is kept back for deletions on a full disk is missing: it was used, or there never was enough.
    #[error("no space is kept back for deletions on a full disk: free some")]
    NoReserve,
    /// The clock has jumped ahead by more than a year: nothing is removed by it.
    #[error(
        "the clock says {now}, and should say about {expected}: nothing is removed by it; set it right, or confirm it: annals retention confirm-clock"
    )]
    ClockSuspect {
        /// What it says.
        now: Timestamp,
        /// The time that was last believed and what has passed since.
        expected: Timestamp,
    },
    /// The last piece of background work failed; it is tried again.
    #[error("background work fails: {failure}")]
    Maintenance {
        /// How.
        failure: String,
    },
}

/// What keeps bytes that are to go.
const HELD_UP: &str =
    "tenants that are unavailable keep records in the log, readers keep blocks, or background work fails";

/// Looks at all parts of a store.
pub(crate) fn troubles(shared: &Shared) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if let Some(expected) = shared.trusted.suspect(&*shared.clock) {
        troubles.push(Trouble::ClockSuspect { now: shared.now(), expected });
    }
    let wal = &shared.commits.wal;
    if wal.has_failed() {
        troubles.push(Trouble::LogFailed);
    }
    let status = wal.status();
    if let Some(failure) = status.last_failure {
        troubles.push(Trouble::LogFailures { segments: status.abandoned, failure });
    }
    if shared.catalogue.lock().suspended {
        troubles.push(Trouble::CatalogueSuspended);
    }
    for (id, slot) in shared.tenants.read().iter() {
        let tenant = id.clone();
        match slot {
            TenantSlot::Unavailable { why, .. } => {
                troubles.push(Trouble::TenantUnavailable { tenant, why: why.clone() });
            }
            TenantSlot::Open(open) => {
                if open.suspended.load(Ordering::Relaxed) {
                    troubles.push(Trouble::TenantSuspended { tenant: tenant.clone() });
                }
                if let Some(leaving) = open.data.read().manifest.leaving.filter(|l| l.due < shared.now()) {
                    let (tenant, due) = (tenant.clone(), leaving.due);
                    troubles.push(Trouble::DeletionOverdue { tenant, due, why: HELD_UP });
                }
                if let Some(due) = rotation::overdue(&open.keys, shared.now()) {
                    let why = "damaged blocks need them, the key store cannot be reached, readers keep blocks, or \
                               background work fails";
                    troubles.push(Trouble::KeysOverdue { tenant: tenant.clone(), due, why });
                }
                let blocks = open.data.read().set_aside.len();
                if blocks > 0 {
                    troubles.push(Trouble::DamagedBlocks { tenant, blocks });
                }
            }
        }
    }
    for erasing in shared.erasing.lock().values() {
        if erasing.suspended {
            troubles.push(Trouble::TenantSuspended { tenant: erasing.id.clone() });
        }
        if let Some(erased) = erasing.erased().filter(|erased| erased.due < shared.now()) {
            let (tenant, due) = (erasing.id.clone(), erased.due);
            troubles.push(Trouble::ErasureOverdue { tenant, due, why: HELD_UP });
        }
    }
    if shared.reserve_failed.load(Ordering::Relaxed) {
        troubles.push(Trouble::NoReserve);
    }
    if let Some(failure) = shared.maintenance_failure.lock().clone() {
        troubles.push(Trouble::Maintenance { failure });
    }
    troubles
}
