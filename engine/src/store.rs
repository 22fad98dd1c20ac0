//! A store that is open for writing.

use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use annals_model::schema::SignalSchema;
use annals_model::{
    BlockMeta, LabelSet, Lsn, Plan, SampleBatch, SeriesKind, SignalBatch, SiteName, TenantId, TenantNumber,
    TimeRange, Timestamp,
};
use annals_signals::reserved_metrics;
use annals_vfs::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use annals_vfs::sync::thread::{self, JoinHandle};
use annals_vfs::sync::{Mutex, RwLock};
use annals_vfs::{Clock, Entropy, LockError, LockGuard, PublishError, Vfs};
use zeroize::Zeroizing;

use crate::audit::{AuditLog, Operator};
use crate::backup::{self, Backup, BackupError};
use crate::cancel;
use crate::catalog::Catalogue;
use crate::commit::CommitQueue;
use crate::counters::{Counters, Intake, Work as Counted};
use crate::delete::{self, Deleted, Deletion};
use crate::derive_back::{self, DerivedBack};
use crate::erase::{self, Erasure};
use crate::error::{MaintenanceError, OpenError, TenantError, WriteError};
use crate::file_keys::discard_keys;
use crate::health::{self, Trouble};
use crate::ingest::{self, Asked};
use crate::key_file::KeyClass;
use crate::key_store::{KeyName, KeyStoreError};
use crate::keys::{self, KeyHolder};
use crate::kinds_off;
use crate::layout::Layout;
use crate::maintenance::{self, Done};
use crate::manifest::Manifest;
use crate::metrics::{self, Metrics};
use crate::operator::OperatorReader;
use crate::options::{Background, Encryption, Options};
use crate::plan_change;
use crate::reader::{ReportReader, TenantReader};
use crate::receipt::PublicKey;
use crate::recover::{self, Opening, Recovered, RecoveryReport, catalogue_files};
use crate::refs::{RefBatch, SeriesRef};
use crate::remembered::Remembered;
use crate::replay::ReplayTenant;
use crate::reserve::Reserve;
use crate::restore::{self, RestoreError, RestoreTenant, Restored};
use crate::retention::Retention;
use crate::rotation::{self, KeyUse};
use crate::shared::{Shared, Signal, TenantSlot};
use crate::summary::TenantSummary;
use crate::tenant::{TenantShared, manifest_files};
use crate::ticket::{Acknowledgement, Durability, Ticket};
use crate::trusted_clock::TrustedClock;

/// How long the commit thread sleeps where nobody wakes it; also how soon an idle log says what is durable.
const COMMIT_IDLE: Duration = Duration::from_millis(50);
/// How long the maintenance thread sleeps where nobody wakes it.
const MAINTENANCE_IDLE: Duration = Duration::from_secs(1);

/// A store that is open for writing: one per root and machine.
///
/// Dropping it ends its threads without a flush: what was acknowledged is in the log. [`Annals::close`] does the same
/// and reports errors.
pub struct Annals {
    shared: Arc<Shared>,
    recovery: RecoveryReport,
    threads: Mutex<Vec<JoinHandle<()>>>,
    _lock: LockGuard,
}

/// A tenant of a store that is open for writing. Cheap to clone.
#[derive(Clone)]
pub struct Tenant {
    shared: Arc<Shared>,
    pub(crate) tenant: Arc<TenantShared>,
}

impl Annals {
    /// Opens a root for writing, creating the store where there is none, and recovers what the log holds.
    ///
    /// A tenant whose manifest or keys are damaged is unavailable; the others are served. See [`Annals::recovery`].
    pub fn open(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        root: &Path,
        options: Options,
    ) -> Result<Annals, OpenError> {
        let layout = Layout::new(root);
        layout.create(&*vfs).map_err(OpenError::io("create", root))?;
        let holder = format!("process {} since {}", std::process::id(), Timestamp(clock.now_ms()));
        let lock = vfs.lock(&layout.lock, &holder).map_err(|error| match error {
            held @ LockError::Held { .. } => OpenError::AlreadyOpen(held),
            LockError::Io { path, source } => OpenError::Io { doing: "lock", path, source },
        })?;
        let (since, recovering) =
            (clock.monotonic(), tracing::info_span!("work", kind = Counted::Recover.word()).entered());
        let reserve = Reserve::find(&*vfs, &layout);
        let now = Timestamp(clock.now_ms());
        let key_store = options.encryption.key_store(&vfs, &layout);
        let recover = || recover::recover(&vfs, &*entropy, &layout, &options, key_store.as_deref(), now);
        let recovered = match recover() {
            // The log's end is copied before it is served, which takes space.
            Err(error) if error.is_no_space() && reserve.release(&*vfs, &layout) => {
                layout.empty_temporary(&*vfs).map_err(OpenError::io("empty", &layout.temporary))?;
                recover()?
            }
            recovered => recovered?,
        };
        // After the log has looked for its own drafts.
        layout.empty_temporary(&*vfs).map_err(OpenError::io("empty", &layout.temporary))?;
        let Recovered { report: recovery, root, log_salt, catalogue, erasing, wal, .. } = recovered;
        let Recovered { shelf, slots, head_bytes, known, .. } = recovered;
        let trusted = TrustedClock::new(&*clock, known);
        let counters = Arc::new(Counters::default());
        let (took, records) = (clock.monotonic().saturating_sub(since), recovery.replay.records);
        counters.work(Counted::Recover, true, records, 0, took);
        tracing::info!(records, took_ms = took.as_secs_f64() * 1e3, "done");
        drop(recovering);
        let commits = CommitQueue::new(wal, options.durability, counters.clone());
        let signer = options.encryption.signer(&vfs, &layout);
        let audit = Arc::new(AuditLog::new(vfs.clone(), clock.clone(), layout.audit.clone()));
        let shared = Arc::new(Shared {
            audit,
            vfs,
            clock,
            trusted,
            entropy,
            layout,
            shelf,
            root,
            reserved: reserved_metrics(&options.schema),
            signer,
            key_store,
            log_salt,
            log_counter: AtomicU64::new(0),
            commits,
            counters,
            tenants: RwLock::new(slots),
            catalogue: Mutex::new(catalogue),
            erasing: Mutex::new(erasing.into_iter().map(|erasing| (erasing.number, erasing)).collect()),
            head_bytes: AtomicUsize::new(head_bytes),
            retired: Mutex::new(Vec::new()),
            reserve,
            round: Mutex::default(),
            log_needed_by: Mutex::default(),
            quarantine_due: Mutex::new(Timestamp::MIN),
            reserve_failed: AtomicBool::new(false),
            maintenance_failure: Mutex::new(None),
            closed: AtomicBool::new(false),
            attention: Signal::default(),
            room: Signal::default(),
            this: OnceLock::new(),
            options,
        });
        let _ = shared.this.set(Arc::downgrade(&shared));
        let works: &[(&str, Work)] = match shared.options.background {
            Background::Steps => &[],
            Background::Threads => {
                &[("annals-commit", commit_loop), ("annals-maintenance", maintenance_loop)]
            }
        };
        // Where a thread cannot be started, dropping the store ends those before it.
        let store = Annals { shared, recovery, threads: Mutex::new(Vec::new()), _lock: lock };
        for &(name, work) in works {
            let thread = spawn(name, &store.shared, work)
                .map_err(OpenError::io("start a thread for", &store.shared.layout.root))?;
            store.threads.lock().push(thread);
        }
        Ok(store)
    }

    /// What the open found and did.
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.recovery
    }

    /// What is not as it should be now; empty where all is well.
    #[must_use]
    pub fn troubles(&self) -> Vec<Trouble> {
        health::troubles(&self.shared)
    }

    /// What it does and holds, in numbers; [`Metrics::to_openmetrics`] makes text of them.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        metrics::of_store(&self.shared)
    }

    /// Says that the clock is right although it has jumped ahead by years: until then nothing is removed by it, and
    /// [`Trouble::ClockSuspect`] says so.
    pub fn confirm_clock(&self) -> Result<(), MaintenanceError> {
        self.shared.trusted.confirm(&*self.shared.clock);
        maintenance::note_time(&self.shared)
    }

    /// Creates a tenant. It is durable when this returns.
    pub fn create_tenant(&self, id: &TenantId, plan: Plan) -> Result<Tenant, TenantError> {
        plan.check().map_err(TenantError::Plan)?;
        let shared = &self.shared;
        let mut state = shared.catalogue.lock();
        if shared.tenants.read().contains_key(id) {
            return Err(TenantError::Exists(id.clone()));
        }
        let io = |path: &Path, source| TenantError::Io { tenant: id.clone(), path: path.to_owned(), source };
        if state.suspended {
            return Err(TenantError::Unavailable {
                tenant: id.clone(),
                why: "whether an earlier change of the catalogue is durable is unknown; open the store again"
                    .to_owned(),
            });
        }
        let (vfs, layout) = (&*shared.vfs, &shared.layout);
        let number = state.free_number(vfs, layout);
        let number = number.map_err(|e| io(&layout.tenants, e))?.ok_or(TenantError::Full)?;
        let directory = layout.tenant(number);
        let next = number.0.checked_add(1).ok_or(TenantError::Full)?;
        // A number is used up even where its creation fails: what is left under it is garbage, never data.
        state.catalogue.next = next;
        // On a full disk each try would otherwise leave as much again.
        let unmade = |error: TenantError| {
            self.discard_creation(number);
            error
        };
        layout.create_tenant(vfs, number).map_err(|e| unmade(io(&directory, e)))?;
        let name = KeyName { store: shared.root, tenant: number };
        let holder = KeyHolder { name, store: shared.key_store.as_deref() };
        let refused = |source| unmade(TenantError::Keys { tenant: id.clone(), source });
        keys::create(vfs, &*shared.entropy, layout, holder, shared.now()).map_err(refused)?;
        let keys = Arc::new(keys::load(vfs, layout, holder).map_err(refused)?);
        // Where acknowledgements do not wait for a sync, a power cut may take the log's last records.
        let after = shared.commits.committed().min(Lsn(shared.commits.wal.durable().0));
        let remembered = Remembered::default();
        let sealed = remembered.seal(&keys, &*shared.entropy).map_err(|e| unmade(io(&directory, e)))?;
        let manifest = Manifest::new(id.clone(), plan, shared.now(), after, sealed);
        manifest_files(layout, number)
            .store(vfs, &layout.temporary, shared.root, 1, &manifest.encode())
            .map_err(|e| unmade(io(&directory, e.into_source())))?;
        let mut tenants = state.catalogue.tenants.clone();
        tenants.push((number, id.clone()));
        let catalogue = Catalogue { next, tenants, erased: state.catalogue.erased.clone() };
        let generation = state.generation + 1;
        let files = catalogue_files(layout);
        match files.store(vfs, &layout.temporary, shared.root, generation, &catalogue.encode()) {
            Ok(()) => {}
            Err(PublishError::Nothing(source)) => return Err(unmade(io(&layout.root, source))),
            Err(PublishError::Indeterminate(source)) => {
                state.suspended = true;
                return Err(io(&layout.root, source));
            }
        }
        state.replace(catalogue, generation);
        let _ = files.remove_older(vfs, generation);
        let replayed = ReplayTenant::new(manifest, &remembered, 1, keys);
        let opening = Opening {
            shelf: &shared.shelf,
            vfs: &shared.vfs,
            entropy: &*shared.entropy,
            layout,
            root: shared.root,
            log_salt: shared.log_salt,
            options: &shared.options,
            now: shared.now(),
        };
        let tenant = Arc::new(TenantShared::open(&opening, number, id.clone(), replayed));
        shared.tenants.write().insert(id.clone(), TenantSlot::Open(tenant.clone()));
        Ok(Tenant { shared: shared.clone(), tenant })
    }

    /// Removes what the creation of a tenant that no catalogue names has left, as far as that goes.
    fn discard_creation(&self, number: TenantNumber) {
        let Shared { vfs, layout, options, .. } = &*self.shared;
        let directory = layout.tenant(number);
        for entry in vfs.list(&directory).unwrap_or_default() {
            let path = directory.join(entry.name);
            let _ = vfs.unlink(&path).or_else(|_| vfs.remove_dir(&path));
        }
        let _ = vfs.remove_dir(&directory);
        // A host's key store keeps a key of a number that nobody has.
        if matches!(options.encryption, Encryption::Files) {
            discard_keys(&**vfs, layout, number);
        }
    }

    /// Erases a tenant. When this returns, nobody sees it and its key-encryption key is destroyed: no copy of its files can
    /// be read again, wherever it is. Background work removes its bytes, by the date that is returned, and then writes a
    /// receipt, which [`Receipt::verify`] checks. Its id can be given to another tenant soon. Asking again changes nothing.
    ///
    /// Where tenants are not sealed ([`Encryption::None`]) there is no key: old copies of its files stay readable.
    ///
    /// [`Receipt::verify`]: crate::Receipt::verify
    pub fn erase_tenant(&self, id: &TenantId) -> Result<Erasure, TenantError> {
        erase::erase_tenant(&self.shared, id, &|_| true)
    }

    /// Erased tenants of which something is left to be removed.
    #[must_use]
    pub fn erasures(&self) -> Vec<Erasure> {
        let erasing = self.shared.erasing.lock();
        erasing.values().filter_map(|erasing| erasing.told(&self.shared.layout)).collect()
    }

    /// The public key by which this store's receipts are checked. It is to be handed out before it is needed.
    pub fn receipt_key(&self) -> Result<PublicKey, KeyStoreError> {
        self.shared.signer.signer(self.shared.root, &*self.shared.entropy)
    }

    /// The tenant of that id.
    pub fn tenant(&self, id: &TenantId) -> Result<Tenant, TenantError> {
        match self.shared.tenants.read().get(id) {
            Some(TenantSlot::Open(tenant)) => {
                Ok(Tenant { shared: self.shared.clone(), tenant: tenant.clone() })
            }
            Some(TenantSlot::Unavailable { why, .. }) => {
                Err(TenantError::Unavailable { tenant: id.clone(), why: why.clone() })
            }
            None => Err(TenantError::Unknown(id.clone())),
        }
    }

    /// All tenants, by id.
    #[must_use]
    pub fn tenants(&self) -> Vec<TenantSummary> {
        let now = self.shared.now();
        self.shared
            .tenants
            .read()
            .iter()
            .map(|(id, slot)| match slot {
                TenantSlot::Open(tenant) => TenantSummary::of_data(&tenant.data.read(), tenant.number, now),
                TenantSlot::Unavailable { why, .. } => TenantSummary::unavailable(id.clone(), why.clone()),
            })
            .collect()
    }

    /// The kinds of signals that it takes.
    #[must_use]
    pub fn schema(&self) -> &SignalSchema {
        &self.shared.options.schema
    }

    /// Commits what is queued; false where nothing was committed. For hosts that run without threads.
    pub fn commit_step(&self) -> bool {
        self.shared.commit_step()
    }

    /// Does the most urgent piece of background work; `None` where there is none. For hosts that run without threads.
    pub fn maintenance_step(&self) -> Result<Option<Done>, MaintenanceError> {
        maintenance::step(&self.shared)
    }

    /// Takes a snapshot of the store into the backup at `directory`, which is made where it is not there. What was
    /// acknowledged before this was called is in it. Writes go on meanwhile.
    pub fn backup(&self, directory: &Path) -> Result<Backup, BackupError> {
        let Shared { vfs, clock, layout, commits, .. } = &*self.shared;
        self.shared.commit_step();
        // Until the log notes that it is durable, what was acknowledged last is not seen by who reads it.
        let failed = commits.wal.watermark().err();
        let fault = failed.map(|error| format!("what was acknowledged last may not be in it: {error}"));
        backup::take(&**vfs, &**clock, layout, directory, fault)
    }

    /// Restores one tenant of a backup under a name that nobody has. It is durable when this returns, and nothing of it is
    /// there where that fails. Others are written to and read meanwhile.
    pub fn restore_tenant(&self, wanted: &RestoreTenant<'_>) -> Result<Restored, RestoreError> {
        restore::restore_tenant(&self.shared, wanted)
    }

    /// Flushes every tenant and merges each day's blocks into one, now.
    pub fn settle(&self) -> Result<Vec<Done>, MaintenanceError> {
        maintenance::settle(&self.shared)
    }

    /// Ends the store's threads, commits what is queued and seals the log. Nothing is flushed: the log has it.
    pub fn close(self) -> Result<(), WriteError> {
        self.stop()
    }

    fn stop(&self) -> Result<(), WriteError> {
        let shared = &self.shared;
        if shared.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        shared.attention.notify();
        shared.room.notify();
        for thread in self.threads.lock().drain(..) {
            // A panic of a thread was its own report; what is durable is durable.
            let _ = thread.join();
        }
        while shared.commit_step() {}
        shared.commits.close().map_err(|error| WriteError::Failed(error.to_string()))
    }
}

impl Drop for Annals {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

impl Tenant {
    /// The tenant's id.
    #[must_use]
    pub fn id(&self) -> &TenantId {
        &self.tenant.id
    }

    /// Its number: that of no other tenant, even where one is erased and another gets its id.
    #[must_use]
    pub fn number(&self) -> TenantNumber {
        self.tenant.number
    }

    /// The secret by which a site signs what it sends, under a key id that the host draws and keeps. Whoever opens the store
    /// with its keys gets the same one; once the tenant is erased nobody does.
    #[must_use]
    pub fn site_secret(&self, site: &SiteName, id: &[u8; 16]) -> Zeroizing<[u8; 32]> {
        self.tenant.keys.site_secret(site, id)
    }

    /// Admits and queues a batch of samples. The ticket says what became of it.
    pub fn write_samples(&self, batch: &SampleBatch) -> Result<Ticket, WriteError> {
        ingest::write_samples(&self.shared, &self.tenant, batch, Asked::Write)
    }

    /// What [`Tenant::write_samples`] would answer now. Nothing is written: batches that are checked one after another do
    /// not see each other.
    pub fn check_samples(&self, batch: &SampleBatch) -> Result<Acknowledgement, WriteError> {
        ingest::write_samples(&self.shared, &self.tenant, batch, Asked::Check)?.wait()
    }

    /// A reference to one of the tenant's series, for [`Tenant::write_refs`].
    #[must_use]
    pub fn series_ref(&self, labels: &LabelSet, kind: SeriesKind) -> SeriesRef {
        SeriesRef::new(&self.tenant, labels, kind)
    }

    /// The kind that a metric was first written with, which is the one that its samples must have.
    #[must_use]
    pub fn metric_kind(&self, metric: &str) -> Option<SeriesKind> {
        self.tenant.ingest.lock().kinds.get(metric).copied()
    }

    /// Admits and queues a batch of samples of series that the host has references to. The ticket says what became of it.
    pub fn write_refs(&self, batch: &RefBatch<'_>) -> Result<Ticket, WriteError> {
        ingest::write_refs(&self.shared, &self.tenant, batch)
    }

    /// Admits and queues a batch of signals, with the metrics derived from them. The ticket says what became of it.
    pub fn write_signals(&self, batch: &SignalBatch) -> Result<Ticket, WriteError> {
        ingest::write_signals(&self.shared, &self.tenant, batch, Asked::Write)
    }

    /// What [`Tenant::write_signals`] would answer now. Nothing is written: batches that are checked one after another do
    /// not see each other.
    pub fn check_signals(&self, batch: &SignalBatch) -> Result<Acknowledgement, WriteError> {
        ingest::write_signals(&self.shared, &self.tenant, batch, Asked::Check)?.wait()
    }

    /// Reads the tenant's metrics and raw signals, including what was acknowledged a moment ago.
    #[must_use]
    pub fn reader(&self) -> TenantReader {
        let schema = Arc::new(self.shared.options.schema.clone());
        let (clock, counters) = (self.shared.clock.clone(), self.shared.counters.clone());
        TenantReader::live(clock, schema, self.tenant.clone(), counters)
    }

    /// Reads reports only: it cannot name a raw signal.
    #[must_use]
    pub fn report_reader(&self) -> ReportReader {
        ReportReader::new(self.reader())
    }

    /// Reads as somebody who is not the tenant: each call is written into the store's audit log before it reads.
    #[must_use]
    pub fn operator_reader(&self, operator: Operator) -> OperatorReader {
        OperatorReader::new(self.reader(), operator, self.shared.audit.clone())
    }

    /// Makes blocks of what is in memory. What was made; empty where there was nothing.
    pub fn flush(&self) -> Result<Vec<BlockMeta>, MaintenanceError> {
        Ok(crate::flush::flush(&self.shared, &self.tenant)?.unwrap_or_default())
    }

    /// What becomes of each of the tenant's blocks, and what another plan would change.
    #[must_use]
    pub fn retention(&self) -> Retention {
        Retention::of_data(&self.tenant.data.read(), self.shared.now())
    }

    /// Gives the tenant another plan; when it takes effect. One that keeps less of anything waits for [`PLAN_GRACE_MS`], and
    /// can be undone until then; [`Retention::preview`] shows what it would change.
    ///
    /// [`PLAN_GRACE_MS`]: crate::PLAN_GRACE_MS
    pub fn change_plan(&self, plan: Plan) -> Result<Timestamp, TenantError> {
        plan_change::change_plan(&self.shared, &self.tenant, plan)
    }

    /// Takes back a change of plan that has not taken effect, and says to which plan it was; `None` where there was none.
    pub fn undo_plan(&self) -> Result<Option<Plan>, TenantError> {
        plan_change::undo_plan(&self.shared, &self.tenant)
    }

    /// Deletes samples and signals. They are hidden for good when this returns; by the date that is returned no byte of them
    /// is left in blocks, the log, or the quarantine's blocks. What is written later, for whatever time, is new and stays.
    ///
    /// Takes the time to write anew each block that has any of it. An error leaves everything as it was.
    pub fn delete(&self, deletion: &Deletion) -> Result<Deleted, TenantError> {
        delete::delete(&self.shared, &self.tenant, deletion)
    }

    /// Derives metrics of raw signals that were admitted before the host's schema had them, for each UTC day that the range
    /// touches: of the metrics named as the schema names them, of all where none is. What is there already is not added
    /// again, so that asking twice, or again after a crash, is safe; nothing is taken away.
    ///
    /// Each day is durable by itself, and its rollups are made again. Days whose raw metrics have expired are left as they
    /// are, and named. Takes the time to read the raw signals of those days, and what is derived from them. Metrics that were
    /// deleted and whose signals were not come back.
    pub fn derive_back(&self, range: TimeRange, metrics: &[&str]) -> Result<DerivedBack, TenantError> {
        derive_back::derive_back(&self.shared, &self.tenant, range, metrics)
    }

    /// Switches a signal kind off, or on again; false where it was so already. Signals of a kind that is off are refused as
    /// [`RefusalReason::KindOff`]; what was written before stays. Durable when this returns.
    ///
    /// [`RefusalReason::KindOff`]: annals_model::RefusalReason::KindOff
    pub fn switch_kind(&self, kind: &str, on: bool) -> Result<bool, TenantError> {
        kinds_off::switch_kind(&self.shared, &self.tenant, kind, on)
    }

    /// Gives the tenant new keys of these classes; by when those of before are out of use. New files and records are sealed
    /// with the new ones when this returns. Background work writes what the old ones sealed anew, and destroys them then; an
    /// old wrapping key stays until the date, so that snapshots of before can be restored until then.
    /// [`ROTATION_DUE_MS`] is a usual time for that; with 0 it is done as soon as possible.
    ///
    /// The identity of a tenant is not rotated: pseudonyms follow from it.
    ///
    /// [`ROTATION_DUE_MS`]: crate::ROTATION_DUE_MS
    pub fn rotate_keys(&self, classes: &[KeyClass], within_ms: i64) -> Result<Timestamp, TenantError> {
        rotation::rotate(&self.shared, &self.tenant, classes, within_ms)
    }

    /// The tenant's keys, those that are gone included, and what is sealed with each. Reads the header of each block once.
    #[must_use]
    pub fn keys(&self) -> Vec<KeyUse> {
        rotation::uses(&self.tenant.keys.known().file, self.tenant.data.read().blocks.iter())
    }

    /// Cancels the tenant: from now on it takes no data, it is read as before, and at the date that is returned it is erased,
    /// unless that is taken back before. The date is fixed: when the last of its data would have expired, at the latest
    /// the plan's `cancelled_keep_days`. Asking again changes nothing.
    pub fn cancel(&self) -> Result<Timestamp, TenantError> {
        cancel::cancel(&self.shared, &self.tenant)
    }

    /// Takes back a cancellation; false where there is none.
    pub fn undo_cancel(&self) -> Result<bool, TenantError> {
        cancel::undo_cancel(&self.shared, &self.tenant)
    }

    /// What became of its batches since the store was opened.
    #[must_use]
    pub fn intake(&self) -> Intake {
        self.tenant.intake.intake()
    }

    /// What the tenant has.
    #[must_use]
    pub fn summary(&self) -> TenantSummary {
        TenantSummary::of_data(&self.tenant.data.read(), self.tenant.number, self.shared.now())
    }
}

impl std::fmt::Debug for Annals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Annals({})", self.shared.layout.root.display())
    }
}

impl std::fmt::Debug for Tenant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tenant({})", self.tenant.id)
    }
}

/// What a thread of a store does until it is closed.
type Work = fn(&Shared);

fn spawn(name: &str, shared: &Arc<Shared>, work: Work) -> std::io::Result<JoinHandle<()>> {
    let shared = shared.clone();
    thread::Builder::new().name(name.to_owned()).spawn(move || work(&shared))
}

fn commit_loop(shared: &Shared) {
    let wal = &shared.commits.wal;
    let mut synced_at = shared.clock.monotonic();
    while !shared.closed.load(Ordering::Acquire) {
        let busy = wal.wait_for_work(COMMIT_IDLE);
        shared.commit_step();
        if shared.options.durability == Durability::Buffered {
            let now = shared.clock.monotonic();
            if now.saturating_sub(synced_at) >= shared.options.sync_every {
                synced_at = now;
                if wal.sync().is_err() {
                    // The log has moved on to a new segment or says so with the next commit.
                    shared
                        .commits
                        .fail_all(&WriteError::Indeterminate("the log could not be synced".to_owned()));
                }
            }
        }
        if !busy {
            // Tells readers beside this writer what is durable. A failure shows at the next commit.
            let _ = wal.watermark();
        }
    }
}

fn maintenance_loop(shared: &Shared) {
    while !shared.closed.load(Ordering::Acquire) {
        let done = maintenance::step(shared);
        *shared.maintenance_failure.lock() = done.as_ref().err().map(ToString::to_string);
        match done {
            Ok(Some(_)) => {}
            // What failed is tried again after a while; writers meanwhile feel back-pressure.
            Ok(None) | Err(_) => {
                shared.attention.wait_unless(MAINTENANCE_IDLE, || shared.closed.load(Ordering::Acquire));
            }
        }
    }
}
