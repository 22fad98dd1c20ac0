//! Blocking work: as many queries and writes at one time as are allowed, each on a thread of its own.
//!
//! A query whose client has gone is cancelled: its future is dropped, and that cancels the budget that the query looks at
//! while it runs. Its place is free again once it has noticed.

use std::collections::HashMap;
use std::hash::Hash;
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
    asked_max: usize,
    writes: Arc<Semaphore>,
    /// In units of 1 KiB.
    bodies: Arc<Semaphore>,
    by_tenant: Counted<TenantNumber>,
}

/// A permit counts so many bytes.
const BODY_UNIT: usize = 1 << 10;

impl Pool {
    pub(crate) fn new(limits: &Limits) -> Pool {
        let permits = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        let asked_max = limits.queries.saturating_add(limits.queries_waiting).min(Semaphore::MAX_PERMITS);
        Pool {
            queries: permits(limits.queries),
            asked: permits(asked_max),
            asked_max,
            writes: permits(limits.writes),
            bodies: permits(limits.bodies_bytes / BODY_UNIT),
            by_tenant: Counted::default(),
        }
    }

    /// How many threads that takes at most.
    pub(crate) fn threads(limits: &Limits) -> usize {
        // Besides: compressing answers, opening files.
        limits.queries.saturating_add(limits.writes).saturating_add(4)
    }

    /// Queries that run or wait now.
    pub(crate) fn queries_now(&self) -> usize {
        self.asked_max.saturating_sub(self.asked.available_permits())
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
        let own = self.by_tenant.take(tenant, most).ok_or(Busy::Tenant)?;
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

/// How many things each key has at one time.
pub(crate) struct Counted<K>(Arc<Mutex<HashMap<K, usize>>>);

/// One of them.
pub(crate) struct Own<K: Eq + Hash> {
    all: Arc<Mutex<HashMap<K, usize>>>,
    key: K,
}

impl<K> Default for Counted<K> {
    fn default() -> Counted<K> {
        Counted(Arc::default())
    }
}

impl<K: Eq + Hash + Copy> Counted<K> {
    /// One more, where the key has fewer than this.
    pub(crate) fn take(&self, key: K, most: usize) -> Option<Own<K>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(key).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Own { all: self.0.clone(), key })
    }
}

impl<K: Eq + Hash> Drop for Own<K> {
    fn drop(&mut self) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = all.get_mut(&self.key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                all.remove(&self.key);
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
