//! Flush: a tenant's head becomes blocks, and the log may forget its records.
//!
//! Order: cut the log at a record (a new epoch begins after it) - wait until all records up to the cut are applied -
//! freeze the heads - build one block per day and content - publish the files - commit the manifest, which names the
//! blocks and says that records up to the cut are in them - release the heads - truncate the log.

use std::path::PathBuf;
use std::sync::{Arc, Weak};

use annals_block::{BlockIdentity, EncodedBlock, MetricBlockWriter, SignalBlockWriter};
use annals_model::schema::SignalSchema;
use annals_model::{
    BlockContent, BlockId, BlockMeta, ChunkAge, Day, Lsn, LsnRange, SignalRow, TenantNumber, Timestamp,
};
use annals_vfs::planted::{Bug, planted};
use annals_vfs::sync::atomic::Ordering;
use annals_vfs::{Draft, Entropy, PublishError, Vfs, publish};

use crate::counters::Work;
use crate::error::{MaintenanceError, WriteError};
use crate::head::{Head, InOrder};
use crate::keys::{BlockSeal, TenantKeys};
use crate::layout::{Layout, block_file_name};
use crate::manifest::Manifest;
use crate::open_block::OpenBlock;
use crate::options::Background;
use crate::remembered::Remembered;
use crate::shared::{Shared, TenantSlot};
use crate::tenant::{Ingest, ManifestChange, TenantShared};
use crate::ticket::Durability;
use crate::work::Working;

/// What heads are made into.
pub(crate) struct BuildRequest<'a> {
    pub(crate) tenant: TenantNumber,
    pub(crate) keys: &'a TenantKeys,
    pub(crate) entropy: &'a dyn Entropy,
    pub(crate) schema: &'a SignalSchema,
    pub(crate) lsns: LsnRange,
    pub(crate) first_sequence: u64,
    pub(crate) metrics_floor: Timestamp,
    pub(crate) signals_floor: Timestamp,
}

impl BuildRequest<'_> {
    fn seal(&self, content: BlockContent) -> Result<Option<BlockSeal>, String> {
        let drawn = self.keys.seal_block(content, self.entropy);
        drawn.map_err(|error| format!("cannot draw a key: {error}"))
    }
}

/// Makes blocks of a tenant's data in memory. `None` where there was nothing to flush.
pub(crate) fn flush(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
) -> Result<Option<Vec<BlockMeta>>, MaintenanceError> {
    let mut change = tenant.change()?;
    if change.suspended {
        return Err(MaintenanceError::Suspended { tenant: tenant.id.clone() });
    }
    let now = shared.retention_now();
    let (cut, epoch, kinds, names) = {
        let mut ingest = tenant.ingest.lock();
        ingest.begin_epoch(shared.commits.generation());
        let cut = Lsn(shared.commits.wal.last_enqueued().0);
        (cut, ingest.epoch, sorted_kinds(&ingest), sorted_names(&ingest))
    };
    let drive = || shared.options.background == Background::Steps || shared.closed.load(Ordering::Acquire);
    shared.commits.wait_applied(cut, &drive, &|bytes| shared.grow(bytes));
    // What blocks hold, the log held for sure.
    if shared.options.durability == Durability::Buffered
        && let Err(error) = shared.commits.wal.sync()
    {
        shared.commits.fail_all(&WriteError::Indeterminate(error.to_string()));
        return Err(MaintenanceError::Log(error.to_string()));
    }
    // What was refused after the last record was never in the log.
    let cut = cut.min(shared.commits.committed());
    let in_doubt = shared.commits.wal.has_failed();
    let (heads, manifest) = {
        let mut data = tenant.data.write();
        data.freeze_before(epoch);
        (data.frozen.clone(), data.manifest.clone())
    };
    if heads.iter().all(|head| head.is_empty()) {
        let mut data = tenant.data.write();
        let bytes: usize = data.frozen.drain(..).map(|head| head.bytes()).sum();
        drop(data);
        shared.shrink(bytes);
        return Ok(None);
    }
    if in_doubt {
        // What is in doubt may be in the log, and needs the records before it: the next open knows.
        let what = "it failed; what it holds becomes blocks once the store was opened again".to_owned();
        return Err(MaintenanceError::Log(what));
    }
    let working = Working::begin(shared, Work::Flush, &tenant.id);
    heads.iter().for_each(|head| head.end_admission());
    let encoded = build_blocks(
        &heads,
        &BuildRequest {
            tenant: tenant.number,
            keys: &tenant.keys,
            entropy: &*shared.entropy,
            schema: &shared.options.schema,
            lsns: LsnRange { after: manifest.data_floor, through: cut },
            first_sequence: change.next_sequence,
            metrics_floor: manifest.build_floor(BlockContent::RawMetrics, now),
            signals_floor: manifest.build_floor(BlockContent::RawSignals, now),
        },
    )
    .map_err(|what| MaintenanceError::Build { tenant: tenant.id.clone(), what })?;
    let published = publish_new(shared, tenant, &mut change, &encoded, "write the blocks");
    if planted(Bug::HeadLostAfterFailedFlush) && published.is_err() {
        tenant.data.write().frozen.clear();
    }
    published?;
    let metas: Vec<BlockMeta> = encoded.iter().map(|block| block.meta).collect();
    let mut batches = tenant.batches.lock().remembered(&manifest.plan, now, cut);
    if planted(Bug::BatchIdsNotStored) {
        batches.clear();
    }
    let remembered = Remembered { batches, kinds, names }.seal(&tenant.keys, &*shared.entropy);
    let remembered = match remembered {
        Ok(remembered) => remembered,
        Err(source) => {
            let tenant_id = tenant.id.clone();
            let failed = MaintenanceError::Io { doing: "seal the manifest", tenant: tenant_id, source };
            return discard_unnamed(shared, tenant, &encoded, Err(failed)).map(|()| None);
        }
    };
    if planted(Bug::LogTruncatedEarly) {
        let _ = shared.commits.wal.truncate(annals_wal::Lsn(cut.0));
    }
    let manifest = Manifest {
        data_floor: cut,
        replay_from: cut,
        epoch,
        sealed: manifest.sealed.max(manifest.plan.late_floor(now)),
        next_sequence: change.next_sequence,
        blocks: manifest.blocks.iter().chain(&metas).copied().collect(),
        remembered,
        ..manifest.expire(now)
    };
    let opened: Vec<Arc<OpenBlock>> =
        metas.iter().map(|&meta| OpenBlock::new(&shared.shelf, tenant.number, &tenant.keys, meta)).collect();
    let mut released = 0;
    let committed = tenant.commit_manifest(shared, &mut change, manifest, "publish the manifest", |data| {
        data.blocks.extend(opened);
        released = data.frozen.drain(..).map(|head| head.bytes()).sum();
    });
    discard_unnamed(shared, tenant, &encoded, committed)?;
    drop(change);
    shared.shrink(released);
    working.done(&metas);
    truncate_log(shared)?;
    Ok(Some(metas))
}

/// No tenant needs records up to this one.
pub(crate) fn log_floor(shared: &Shared) -> Lsn {
    // Taken before the heads are looked at: what is queued or applied meanwhile lies after it.
    let mut floor = shared.commits.applied();
    for slot in shared.tenants.read().values() {
        let first = match slot {
            TenantSlot::Open(tenant) => tenant.first_needed(),
            TenantSlot::Unavailable { needs, .. } => *needs,
        };
        if let Some(first) = first {
            floor = floor.min(Lsn(first.0.saturating_sub(1)));
        }
    }
    floor
}

/// Removes log segments that hold no record that any tenant still needs.
///
/// Where there are many tenants, nearly always one of them needs the oldest segment still: it is asked before all others are.
pub(crate) fn truncate_log(shared: &Shared) -> Result<(), MaintenanceError> {
    let wal = &shared.commits.wal;
    let Some(next_to_go) = wal.next_to_go() else { return Ok(()) };
    let needs = |tenant: &TenantShared| tenant.first_needed().filter(|first| first.0 <= next_to_go.0);
    let asked = shared.log_needed_by.lock().upgrade();
    if asked.is_some_and(|tenant| needs(&tenant).is_some()) {
        return Ok(());
    }
    let floor = log_floor(shared);
    if floor.0 < next_to_go.0 {
        // Of those that need it, who wrote last: heads are flushed the oldest first where the log is full.
        let tenants = shared.open_tenants();
        let last = tenants
            .iter()
            .filter_map(|tenant| Some((needs(tenant)?, tenant)))
            .max_by_key(|(first, _)| *first);
        *shared.log_needed_by.lock() = last.map_or_else(Weak::new, |(_, tenant)| Arc::downgrade(tenant));
        return Ok(());
    }
    match wal.truncate(annals_wal::Lsn(floor.0)) {
        Ok(_) => Ok(()),
        Err(error) => Err(MaintenanceError::Log(error.to_string())),
    }
}

/// Publishes the files of new blocks. Their sequence numbers are used up whatever happens.
pub(crate) fn publish_new(
    shared: &Shared,
    tenant: &TenantShared,
    change: &mut ManifestChange,
    encoded: &[EncodedBlock],
    doing: &'static str,
) -> Result<(), MaintenanceError> {
    change.next_sequence += encoded.len() as u64;
    let published = publish_blocks(&*shared.vfs, &shared.layout, tenant.number, encoded).map_err(|error| {
        MaintenanceError::Io { doing, tenant: tenant.id.clone(), source: error.into_source() }
    });
    discard_unnamed(shared, tenant, encoded, published)
}

/// Removes the files of new blocks where it is certain that no manifest names them: a full disk would otherwise fill
/// up with one more copy at every try. What cannot be removed now goes at the next open.
pub(crate) fn discard_unnamed(
    shared: &Shared,
    tenant: &TenantShared,
    encoded: &[EncodedBlock],
    result: Result<(), MaintenanceError>,
) -> Result<(), MaintenanceError> {
    if let Err(MaintenanceError::Io { .. }) = &result {
        for block in encoded {
            let _ = shared.vfs.unlink(&draft_path(&shared.layout, tenant.number, block.meta.id));
            let _ = shared.vfs.unlink(&shared.layout.block(tenant.number, block.meta.id));
        }
    }
    result
}

fn draft_path(layout: &Layout, tenant: TenantNumber, id: BlockId) -> PathBuf {
    layout.temporary.join(format!("{tenant}-{}", block_file_name(id)))
}

pub(crate) fn publish_blocks(
    vfs: &dyn Vfs,
    layout: &Layout,
    tenant: TenantNumber,
    encoded: &[EncodedBlock],
) -> Result<(), PublishError> {
    let drafts: Vec<Draft<'_>> = encoded
        .iter()
        .map(|block| Draft {
            draft: draft_path(layout, tenant, block.meta.id),
            directory: layout.blocks(tenant, block.meta.id.content),
            name: block_file_name(block.meta.id),
            bytes: &block.bytes,
        })
        .collect();
    publish(vfs, &drafts)
}

/// Builds one block per day and content from heads in log order. Expired data is left out.
pub(crate) fn build_blocks(
    heads: &[Arc<Head>],
    request: &BuildRequest<'_>,
) -> Result<Vec<EncodedBlock>, String> {
    let mut blocks = Vec::new();
    let mut sequence = request.first_sequence;
    let series = InOrder::of(heads);
    for day in series.days().into_iter().filter(|day| day.end() > request.metrics_floor) {
        let identity = identity(request, BlockContent::RawMetrics, day, sequence);
        let mut writer = MetricBlockWriter::new(identity, request.lsns, 0, ChunkAge::Fresh);
        if let Some(seal) = request.seal(BlockContent::RawMetrics)? {
            writer = writer.seal_with(seal.with());
        }
        series.read(day.range(), |labels, kind, samples| {
            writer.add(labels, kind, samples).map_err(|e| e.to_string())
        })?;
        if let Some(block) = writer.finish().map_err(|e| e.to_string())? {
            sequence += 1;
            blocks.push(block);
        }
    }
    build_signal_blocks(heads, request, sequence, &mut blocks)?;
    Ok(blocks)
}

fn build_signal_blocks(
    heads: &[Arc<Head>],
    request: &BuildRequest<'_>,
    mut sequence: u64,
    blocks: &mut Vec<EncodedBlock>,
) -> Result<(), String> {
    let mut rows: Vec<&SignalRow> = heads
        .iter()
        .flat_map(|head| head.rows())
        .filter(|row| row.time.day().end() > request.signals_floor)
        .collect();
    // Stable: events of one instant stay in the order in which they were written.
    rows.sort_by_key(|row| row.time);
    for day_rows in rows.chunk_by(|a, b| a.time.day() == b.time.day()) {
        let Some(day) = day_rows.first().map(|row| row.time.day()) else { continue };
        let identity = identity(request, BlockContent::RawSignals, day, sequence);
        let mut writer = SignalBlockWriter::new(identity, request.lsns, 0, request.schema.kinds.clone());
        if let Some(seal) = request.seal(BlockContent::RawSignals)? {
            writer = writer.seal_with(seal.with());
        }
        for row in day_rows {
            writer.add(row).map_err(|e| e.to_string())?;
        }
        if let Some(block) = writer.finish().map_err(|e| e.to_string())? {
            sequence += 1;
            blocks.push(block);
        }
    }
    Ok(())
}

fn identity(request: &BuildRequest<'_>, content: BlockContent, day: Day, sequence: u64) -> BlockIdentity {
    BlockIdentity { tenant: request.tenant, id: BlockId { day, content, sequence } }
}

fn sorted_kinds(ingest: &Ingest) -> Vec<(String, annals_model::SeriesKind)> {
    let mut kinds: Vec<_> = ingest.kinds.iter().map(|(name, kind)| (name.to_string(), *kind)).collect();
    kinds.sort_unstable();
    kinds
}

fn sorted_names(ingest: &Ingest) -> Vec<(String, String, String)> {
    ingest
        .names
        .iter()
        .map(|(kind, field, name)| (kind.to_owned(), field.to_owned(), name.to_owned()))
        .collect()
}

/// Whether the heads together are over their budget.
pub(crate) fn over_budget(shared: &Shared) -> bool {
    shared.head_bytes.load(Ordering::Relaxed) > shared.options.head_bytes_max
}
