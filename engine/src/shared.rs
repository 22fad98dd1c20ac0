//! What the parts of a store that is open for writing share.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use annals_model::{Lsn, TenantId, TenantNumber, Timestamp};
use annals_signals::ReservedMetrics;
use annals_vfs::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use annals_vfs::sync::{Condvar, Mutex, RwLock};
use annals_vfs::{Clock, Entropy, PublishError, Vfs, is_no_space};

use crate::audit::AuditLog;
use crate::catalog::Catalogue;
use crate::commit::CommitQueue;
use crate::counters::Counters;
use crate::erase::Erasing;
use crate::error::WriteError;
use crate::key_store::KeyStore;
use crate::layout::Layout;
use crate::open_block::OpenBlock;
use crate::options::{Background, Options};
use crate::record::LOG_SALT_BYTES;
use crate::reserve::Reserve;
use crate::round::Round;
use crate::shelf::Shelf;
use crate::tenant::TenantShared;
use crate::trusted_clock::TrustedClock;
use crate::twin::TwinFiles;

/// How long a writer waits for a flush before it is told that the store is overloaded.
const ROOM_WAIT: Duration = Duration::from_secs(10);
/// Over the budget of heads, a tenant waits once its own take so many times what is left. One that floods then leaves a fifth
/// of twice the budget, two leave a ninth, and each writes on beside the flush that the budget has brought.
const HEAD_SHARE: usize = 4;

/// The inside of a store that is open for writing.
pub(crate) struct Shared {
    pub(crate) vfs: Arc<dyn Vfs>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// The time that whatever deletes goes by.
    pub(crate) trusted: TrustedClock,
    pub(crate) layout: Layout,
    /// The blocks that are open.
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) root: [u8; 16],
    pub(crate) options: Options,
    pub(crate) reserved: ReservedMetrics,
    /// Who holds the keys of tenants.
    pub(crate) key_store: Option<Arc<dyn KeyStore>>,
    /// Who signs receipts of erasures.
    pub(crate) signer: Arc<dyn KeyStore>,
    /// Where it is written who reads as an operator.
    pub(crate) audit: Arc<AuditLog>,
    /// Of this writer alone: records are sealed under keys derived with it, and numbered by the counter.
    pub(crate) log_salt: [u8; LOG_SALT_BYTES],
    pub(crate) log_counter: AtomicU64,
    pub(crate) commits: CommitQueue,
    pub(crate) counters: Arc<Counters>,
    pub(crate) tenants: RwLock<BTreeMap<TenantId, TenantSlot>>,
    pub(crate) catalogue: Mutex<CatalogueState>,
    /// Erased tenants of which something is left. Before `catalogue`, where both are locked.
    pub(crate) erasing: Mutex<BTreeMap<TenantNumber, Erasing>>,
    /// A tenant that needed the oldest segment of the log when it was last looked for one.
    pub(crate) log_needed_by: Mutex<Weak<TenantShared>>,
    /// Bytes of all heads, frozen ones included.
    pub(crate) head_bytes: AtomicUsize,
    /// Blocks that no manifest names any more, waiting for their last reader.
    pub(crate) retired: Mutex<Vec<(Arc<TenantShared>, Arc<OpenBlock>)>>,
    /// Whose turn it is in background work.
    pub(crate) round: Mutex<Round>,
    /// When something in quarantine is due, or it is to be looked at again.
    pub(crate) quarantine_due: Mutex<Timestamp>,
    pub(crate) reserve: Reserve,
    /// Whether there was no space for the reserve when it was last made.
    pub(crate) reserve_failed: AtomicBool,
    /// How the last piece of background work of the store's own thread failed, if it did.
    pub(crate) maintenance_failure: Mutex<Option<String>>,
    pub(crate) closed: AtomicBool,
    /// Wakes the maintenance thread, and writers that wait for room.
    pub(crate) attention: Signal,
    pub(crate) room: Signal,
    pub(crate) this: OnceLock<Weak<Shared>>,
}

/// A tenant of the catalogue.
pub(crate) enum TenantSlot {
    Open(Arc<TenantShared>),
    /// Its manifest or keys cannot be used.
    Unavailable {
        why: String,
        number: TenantNumber,
        /// The first record of the log that may be its: that and what follows stays until it can be used again. It gets
        /// no more records before then.
        needs: Option<Lsn>,
    },
}

pub(crate) struct CatalogueState {
    pub(crate) catalogue: Catalogue,
    pub(crate) generation: u64,
    /// Whether the last change is durable is unknown.
    pub(crate) suspended: bool,
    /// Numbers that are not free although no tenant has had them, once they were looked for. This process leaves no more
    /// of them: what it tries is used up.
    leftovers: Option<BTreeSet<TenantNumber>>,
}

impl CatalogueState {
    pub(crate) fn new(catalogue: Catalogue, generation: u64) -> CatalogueState {
        CatalogueState { catalogue, generation, suspended: false, leftovers: None }
    }

    /// What was made durable is the catalogue from here on.
    pub(crate) fn replace(&mut self, catalogue: Catalogue, generation: u64) {
        (self.catalogue, self.generation, self.suspended) = (catalogue, generation, false);
    }

    /// The first number that nobody has had, and under which nothing was left; `None` where there is none.
    pub(crate) fn free_number(&mut self, vfs: &dyn Vfs, layout: &Layout) -> io::Result<Option<TenantNumber>> {
        let next = self.catalogue.next;
        let leftovers = match &mut self.leftovers {
            Some(leftovers) => leftovers,
            unknown => unknown.insert(layout.leftovers(vfs, next)?),
        };
        Ok((next..u32::MAX).map(TenantNumber).find(|number| !leftovers.contains(number)))
    }
}

/// A condition that is looked at again when someone says so, or after a while.
#[derive(Default)]
pub(crate) struct Signal {
    lock: Mutex<()>,
    condvar: Condvar,
}

impl Signal {
    pub(crate) fn notify(&self) {
        let _lock = self.lock.lock();
        self.condvar.notify_all();
    }

    /// Waits for a notification where `ready` does not hold; at most for `timeout`.
    pub(crate) fn wait_unless(&self, timeout: Duration, ready: impl Fn() -> bool) {
        let mut lock = self.lock.lock();
        if !ready() {
            self.condvar.wait_for(&mut lock, timeout);
        }
    }
}

impl Shared {
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp(self.clock.now_ms())
    }

    /// The time by which what has expired may be removed.
    pub(crate) fn retention_now(&self) -> Timestamp {
        self.trusted.now(&*self.clock)
    }

    pub(crate) fn check_writable(&self) -> Result<(), WriteError> {
        if self.closed.load(Ordering::Acquire) { Err(WriteError::Closed) } else { Ok(()) }
    }

    /// What a ticket calls to make progress where no thread commits.
    pub(crate) fn drive(&self) -> Option<Arc<dyn Fn() + Send + Sync>> {
        match self.options.background {
            Background::Threads => None,
            Background::Steps => {
                let this = self.this.get().cloned()?;
                Some(Arc::new(move || {
                    if let Some(shared) = this.upgrade() {
                        shared.commit_step();
                    }
                }))
            }
        }
    }

    /// Makes a content the newest generation of a manifest or catalogue; gives up the reserve where the disk is full: what
    /// frees space must not wait for space.
    pub(crate) fn store_twin(
        &self,
        files: &TwinFiles,
        generation: u64,
        content: &[u8],
    ) -> Result<(), PublishError> {
        let (vfs, layout) = (&*self.vfs, &self.layout);
        let store = || files.store(vfs, &layout.temporary, self.root, generation, content);
        match store() {
            Err(PublishError::Nothing(error)) if is_no_space(&error) && self.reserve.release(vfs, layout) => {
                store()
            }
            stored => stored,
        }
    }

    /// Commits what is queued; false where nothing was committed.
    pub(crate) fn commit_step(&self) -> bool {
        self.commits.step(&|bytes| self.grow(bytes))
    }

    pub(crate) fn grow(&self, bytes: usize) {
        let before = self.head_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.options.head_bytes_max {
            self.attention.notify();
        }
    }

    pub(crate) fn shrink(&self, bytes: usize) {
        self.head_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.room.notify();
    }

    /// Back-pressure: heads stay below twice their budget, and a tenant's below a few times what is left of that. So one that
    /// writes more than can be put into blocks waits by itself, as do several, and what is left is for the others.
    pub(crate) fn wait_for_room(&self, tenant: &TenantShared) -> Result<(), WriteError> {
        let limit = self.options.head_bytes_max.saturating_mul(2);
        let has_room = || {
            let held = self.head_bytes.load(Ordering::Relaxed);
            held < self.options.head_bytes_max
                || tenant.head_bytes() < limit.saturating_sub(held).saturating_mul(HEAD_SHARE)
        };
        if has_room() {
            return Ok(());
        }
        if self.options.background == Background::Threads {
            self.attention.notify();
            self.room.wait_unless(ROOM_WAIT, || has_room() || self.closed.load(Ordering::Acquire));
        }
        if has_room() {
            Ok(())
        } else {
            Err(WriteError::Overloaded {
                what: "the memory for data that is not in blocks yet",
                limit: limit as u64,
            })
        }
    }

    /// All tenants that can be used, by id.
    pub(crate) fn open_tenants(&self) -> Vec<Arc<TenantShared>> {
        self.tenants
            .read()
            .values()
            .filter_map(|slot| match slot {
                TenantSlot::Open(tenant) => Some(tenant.clone()),
                TenantSlot::Unavailable { .. } => None,
            })
            .collect()
    }
}
