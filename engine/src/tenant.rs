//! One tenant inside a store that is open for writing: what ingest, commit, flush and readers share.
//!
//! Locks, in the order in which they may be taken together:
//!
//! 1. `manifest_change` - one change of the manifest at a time (flush, merge, drop).
//! 2. `ingest` - admission and encoding of a batch; held while it is queued, so that records are in log order.
//! 3. `batches` - remembered ids. 4. `data` - what readers see; held for moments only. 5. the series table of an epoch.

use std::collections::BTreeSet;
use std::sync::Arc;

use annals_model::{
    BlockContent, BlockId, Lsn, Missing, SeriesKind, SignalRow, TenantId, TenantNumber, Timestamp,
};
use annals_signals::{Deriver, NameTable};
use annals_vfs::PublishError;
use annals_vfs::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use annals_vfs::sync::{Mutex, MutexGuard, RwLock};
use hashbrown::HashMap;

use crate::batches::BatchIds;
use crate::counters::IntakeCounts;
use crate::error::MaintenanceError;
use crate::head::Head;
use crate::ingest::NumberedSamples;
use crate::keys::TenantKeys;
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::open_block::OpenBlock;
use crate::owed::NothingOwed;
use crate::record::RecordSealer;
use crate::recover::Opening;
use crate::replay::{self, ReplayTenant};
use crate::rotation::LeavesLog;
use crate::series_table::{SeriesTable, SharedTable};
use crate::shared::Shared;
use crate::tiers::Tiers;
use crate::twin::{Role, TwinFiles};
use crate::view::View;

/// A tenant that is being written to.
pub(crate) struct TenantShared {
    pub(crate) number: TenantNumber,
    pub(crate) id: TenantId,
    pub(crate) root: [u8; 16],
    pub(crate) keys: Arc<TenantKeys>,
    /// Of the newest manifest that is known to be durable.
    pub(crate) generation: AtomicU64,
    /// As in the change, for those who must not wait for it.
    pub(crate) suspended: AtomicBool,
    /// Set once its manifest says so: nothing is admitted, applied or changed from then on.
    pub(crate) erased: AtomicBool,
    /// The last record of the segments that are to go because of a deletion; 0 where none are.
    pub(crate) leaves: AtomicU64,
    pub(crate) intake: IntakeCounts,
    /// The log, on its way to let go of what is sealed with old keys.
    pub(crate) rotation: LeavesLog,
    manifest_change: Mutex<ManifestChange>,
    pub(crate) ingest: Mutex<Ingest>,
    pub(crate) batches: Mutex<BatchIds>,
    pub(crate) data: RwLock<Data>,
}

/// What changes of the manifest need to know.
pub(crate) struct ManifestChange {
    pub(crate) generation: u64,
    /// Of the next block. Rises even where a block was not published in the end: its name may be there.
    pub(crate) next_sequence: u64,
    /// Whether the last change is durable is unknown: no further change before a reopen.
    pub(crate) suspended: bool,
}

/// What admission and encoding need.
pub(crate) struct Ingest {
    /// What records are sealed with.
    pub(crate) records: RecordSealer,
    /// The commit generation that the epoch's definitions belong to.
    pub(crate) generation: u64,
    pub(crate) epoch: u64,
    pub(crate) table: SharedTable,
    /// The kind of each metric, fixed by its first write.
    pub(crate) kinds: HashMap<Box<str>, SeriesKind, foldhash::fast::FixedState>,
    pub(crate) names: NameTable,
    pub(crate) deriver: Deriver,
}

/// What readers see.
pub(crate) struct Data {
    pub(crate) manifest: Manifest,
    pub(crate) blocks: Vec<Arc<OpenBlock>>,
    /// Heads that a flush is making blocks of, in log order.
    pub(crate) frozen: Vec<Arc<Head>>,
    /// Heads that still take records, by ascending epoch.
    pub(crate) live: Vec<Head>,
    /// What the open could not read: every answer says so until the next open.
    pub(crate) missing: Vec<Missing>,
    /// Damaged blocks, which no merge takes.
    pub(crate) set_aside: BTreeSet<BlockId>,
    pub(crate) nothing_owed: NothingOwed,
}

impl Ingest {
    pub(crate) fn new(
        records: RecordSealer,
        generation: u64,
        epoch: u64,
        names: NameTable,
        kinds: HashMap<Box<str>, SeriesKind, foldhash::fast::FixedState>,
        deriver: Deriver,
    ) -> Ingest {
        Ingest { records, generation, epoch, table: SeriesTable::shared(), kinds, names, deriver }
    }

    /// Starts a numbering of series that no earlier record has a part in.
    pub(crate) fn begin_epoch(&mut self, generation: u64) {
        self.generation = generation;
        self.epoch += 1;
        self.table = SeriesTable::shared();
    }
}

impl TenantShared {
    /// A tenant as its manifest and the log describe it.
    pub(crate) fn open(
        opening: &Opening<'_>,
        number: TenantNumber,
        id: TenantId,
        replayed: ReplayTenant,
    ) -> TenantShared {
        let Opening { shelf, root, options, log_salt, .. } = *opening;
        let ReplayTenant { keys, manifest, generation, heads, batches, names, kinds, epoch, .. } = replayed;
        let blocks = manifest.blocks.iter().map(|&meta| OpenBlock::new(shelf, number, &keys, meta)).collect();
        // A new epoch: nothing that is written from here on depends on what the log held before.
        let records = RecordSealer::new(&keys, log_salt);
        let ingest = Ingest::new(records, 0, epoch + 1, names, kinds, Deriver::new(&options.schema));
        TenantShared {
            number,
            id,
            root,
            keys,
            generation: AtomicU64::new(generation),
            suspended: AtomicBool::new(false),
            erased: AtomicBool::new(false),
            leaves: AtomicU64::new(0),
            intake: IntakeCounts::default(),
            rotation: LeavesLog::default(),
            manifest_change: Mutex::new(ManifestChange {
                generation,
                next_sequence: manifest.next_sequence,
                suspended: false,
            }),
            ingest: Mutex::new(ingest),
            batches: Mutex::new(batches),
            data: RwLock::new(Data {
                manifest,
                blocks,
                frozen: Vec::new(),
                live: heads,
                missing: Vec::new(),
                set_aside: BTreeSet::new(),
                nothing_owed: NothingOwed::default(),
            }),
        }
    }

    /// Begins a change of the manifest, after those that are under way. An error where the tenant was erased.
    pub(crate) fn change(&self) -> Result<MutexGuard<'_, ManifestChange>, MaintenanceError> {
        let change = self.manifest_change.lock();
        match self.is_erased() {
            true => Err(MaintenanceError::Erased { tenant: self.id.clone() }),
            false => Ok(change),
        }
    }

    /// Whether it was erased since it was found.
    pub(crate) fn is_erased(&self) -> bool {
        self.erased.load(Ordering::Acquire)
    }

    /// The first record of the log that its heads hold.
    pub(crate) fn first_needed(&self) -> Option<Lsn> {
        self.data.read().heads().map(|head| head.first).min()
    }

    /// What its heads take.
    pub(crate) fn head_bytes(&self) -> usize {
        self.data.read().heads().map(Head::bytes).sum()
    }

    /// Takes no further change before a reopen: whether the last one is durable is unknown.
    pub(crate) fn suspend(&self, change: &mut ManifestChange) {
        change.suspended = true;
        self.suspended.store(true, Ordering::Relaxed);
    }

    pub(crate) fn manifest_files(&self, layout: &Layout) -> TwinFiles {
        manifest_files(layout, self.number)
    }

    /// Makes a changed manifest durable, then shows it to readers together with what `swap` does to the data.
    ///
    /// The new generation is the commit point: before it is durable nothing has changed.
    pub(crate) fn commit_manifest(
        &self,
        shared: &Shared,
        change: &mut ManifestChange,
        manifest: Manifest,
        doing: &'static str,
        swap: impl FnOnce(&mut Data),
    ) -> Result<(), MaintenanceError> {
        if change.suspended {
            return Err(MaintenanceError::Suspended { tenant: self.id.clone() });
        }
        let files = self.manifest_files(&shared.layout);
        let generation = change.generation + 1;
        match shared.store_twin(&files, generation, &manifest.encode()) {
            Ok(()) => {}
            Err(PublishError::Nothing(source)) => {
                return Err(MaintenanceError::Io { doing, tenant: self.id.clone(), source });
            }
            Err(PublishError::Indeterminate(source)) => {
                self.suspend(change);
                return Err(MaintenanceError::Indeterminate { tenant: self.id.clone(), source });
            }
        }
        change.generation = generation;
        self.generation.store(generation, Ordering::Relaxed);
        {
            let mut data = self.data.write();
            data.manifest = manifest;
            data.nothing_owed = NothingOwed::default();
            swap(&mut data);
        }
        // Old generations are only garbage: what cannot be removed now is removed after a later change.
        let _ = files.remove_older(&*shared.vfs, generation);
        Ok(())
    }
}

impl Data {
    /// Applies a durable record to the head of its epoch; returns how many bytes that head grew by.
    pub(crate) fn apply(
        &mut self,
        epoch: u64,
        lsn: Lsn,
        written: Timestamp,
        metrics: &NumberedSamples,
        rows: Vec<SignalRow>,
    ) -> usize {
        let head = replay::head_of(&mut self.live, epoch, lsn, written, || metrics.table.clone());
        head.map_or(0, |head| head.apply(metrics, rows))
    }

    /// All heads, in log order.
    pub(crate) fn heads(&self) -> impl Iterator<Item = &Head> {
        self.frozen.iter().map(|head| &**head).chain(&self.live)
    }

    /// Takes the heads of epochs before `epoch` out of service for writing; readers go on seeing them.
    pub(crate) fn freeze_before(&mut self, epoch: u64) {
        let count = self.live.partition_point(|head| head.epoch < epoch);
        self.frozen.extend(self.live.drain(..count).map(Arc::new));
    }

    /// The blocks and frozen heads, with the floors at `now`.
    pub(crate) fn view(&self, now: Timestamp) -> View {
        View {
            blocks: self.blocks.clone(),
            heads: self.frozen.clone(),
            tiers: Tiers::new(&self.manifest, self.heads(), now),
            signals_floor: self.manifest.floor(BlockContent::RawSignals, now),
            missing: self.missing.clone(),
        }
    }

    pub(crate) fn remove_blocks(&mut self, ids: &[BlockId]) -> Vec<Arc<OpenBlock>> {
        let (removed, kept) =
            std::mem::take(&mut self.blocks).into_iter().partition(|b| ids.contains(&b.meta.id));
        self.blocks = kept;
        removed
    }
}

/// The files of a tenant's manifest.
pub(crate) fn manifest_files(layout: &Layout, number: TenantNumber) -> TwinFiles {
    TwinFiles { directory: layout.tenant(number), role: Role::Manifest, owner: number.0 }
}
