//! Blocking work: as many queries and writes at one time as are allowed, each on a thread of its own.
//!
//! A query whose client has gone is cancelled: its future is dropped, and that cancels the budget that the query looks at
//! while it runs. Its place is free again once it has noticed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use annals::{Budget, TenantNumber};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use crate::config::Limits;

/// Why something was not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Busy {
    /// As many queries wait as may.
    Queue,
    /// The tenant has as many queries as it may.
    Tenant,
    /// It waited for longer than it may run.
    Late,
    /// It panicked; the log says where.
    Panicked,
}

/// What limits blocking work.
pub(crate) struct Pool {
    queries: Arc<Semaphore>,
    /// Running and waiting ones.
    asked: Arc<Semaphore>,
    writes: Arc<Semaphore>,
    /// In units of 1 KiB.
    bodies: Arc<Semaphore>,
    by_tenant: Arc<Mutex<HashMap<TenantNumber, usize>>>,
}

/// A permit counts so many bytes.
const BODY_UNIT: usize = 1 << 10;

impl Pool {
    pub(crate) fn new(limits: &Limits) -> Pool {
        let permits = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Pool {
            queries: permits(limits.queries),
            asked: permits(limits.queries.saturating_add(limits.queries_waiting)),
            writes: permits(limits.writes),
            bodies: permits(limits.bodies_bytes / BODY_UNIT),
            by_tenant: Arc::default(),
        }
    }

    /// How many threads that takes at most.
    pub(crate) fn threads(limits: &Limits) -> usize {
        // Besides: compressing answers, opening files.
        limits.queries.saturating_add(limits.writes).saturating_add(4)
    }

    /// Runs a query for a tenant, which may have `most` at one time.
    pub(crate) async fn query<T: Send + 'static>(
        &self,
        tenant: TenantNumber,
        most: usize,
        wait: Duration,
        budget: Arc<Budget>,
        work: impl FnOnce(&Budget) -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let asked = self.asked.clone().try_acquire_owned().map_err(|_| Busy::Queue)?;
        let own = Own::take(&self.by_tenant, tenant, most).ok_or(Busy::Tenant)?;
        let place = tokio::time::timeout(wait, self.queries.clone().acquire_owned());
        let place = place.await.map_err(|_| Busy::Late)?.map_err(|_| Busy::Queue)?;
        let _cancel = CancelOnDrop(budget.clone());
        let done = spawn_blocking(move || {
            let _held = (asked, own, place);
            work(&budget)
        });
        done.await.map_err(|_| Busy::Panicked)
    }

    /// Decodes and admits a body.
    pub(crate) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let place = self.writes.clone().acquire_owned().await.map_err(|_| Busy::Queue)?;
        let done = spawn_blocking(move || {
            let _held = place;
            work()
        });
        done.await.map_err(|_| Busy::Panicked)
    }

    /// Waits until a body of so many bytes may be held.
    pub(crate) async fn body(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let units = u32::try_from(bytes.div_ceil(BODY_UNIT)).unwrap_or(u32::MAX);
        self.bodies.clone().acquire_many_owned(units).await.ok()
    }
}

/// One of a tenant's queries.
struct Own {
    by_tenant: Arc<Mutex<HashMap<TenantNumber, usize>>>,
    tenant: TenantNumber,
}

impl Own {
    fn take(
        by_tenant: &Arc<Mutex<HashMap<TenantNumber, usize>>>,
        tenant: TenantNumber,
        most: usize,
    ) -> Option<Own> {
        let mut all = by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(tenant).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Own { by_tenant: by_tenant.clone(), tenant })
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let mut all = self.by_tenant.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.tenant) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                all.remove(&self.tenant);
            }
        }
    }
}

struct CancelOnDrop(Arc<Budget>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}
