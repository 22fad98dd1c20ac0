//! Deleting samples and signals by matchers and a range of time.
//!
//! ```text
//!   1  what is in memory becomes blocks, so that all that was acknowledged before is in blocks, and nothing later is
//!   2  each block that has something to be deleted is written anew without it, and published
//!   3  a manifest names the new ones in place of the old      the commit point: all of it is hidden from here on
//!   4  the old files go; the log goes on in a new segment and lets go of the old ones
//!   5  a manifest says that nothing is left
//! ```
//!
//! 1 to 3 are done when [`delete`] returns, 4 and 5 are background work: the manifest says until then what is left, and by
//! when it goes. So no read has to know of deletions: what a query sees of a block is all that there is in it.
//!
//! **Rollups** say what raw said. Where a day's raw blocks are there, its rollups go, and are made again of what is left.
//! Where raw has expired, each window that touches the range goes whole: less than a window cannot be taken out of it.
//!
//! **What comes later** for times in the range is new data and stays. A retry of a batch that was counted before counts
//! nothing, also where the batch was deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use annals_block::{
    BlockIdentity, EncodedBlock, MetricBlock, MetricBlockWriter, RollupBlock, RollupBlockWriter, SealWith,
    SignalBlock, SignalBlockWriter,
};
use annals_compaction::DayBlocks;
use annals_model::{
    BlockContent, BlockId, BlockMeta, Day, DaySeal, HistogramSamples, Lsn, Matcher, Rollup, Samples,
    SeriesKind, SeriesSamples, TimeRange, Timestamp, window_end,
};
use annals_vfs::planted::{Bug, planted};

use crate::counters::Work;
use crate::erase::{ERASURE_DUE_MS, leave_log};
use crate::error::{MaintenanceError, TenantError};
use crate::flush::{self, publish_new};
use crate::keys::BlockSeal;
use crate::layout::block_file_name;
use crate::maintenance::{Done, retire};
use crate::manifest::{Leaving, Manifest};
use crate::open_block::OpenBlock;
use crate::quarantine;
use crate::shared::Shared;
use crate::tenant::{ManifestChange, TenantShared};
use crate::work::Working;

/// What is to be deleted.
#[derive(Debug, Clone)]
pub struct Deletion {
    /// All of these must hold: of the labels of a series; of kind, site and fields of a signal.
    pub matchers: Vec<Matcher>,
    /// Only what lies in this.
    pub range: TimeRange,
    /// Whether metrics are deleted.
    pub metrics: bool,
    /// Whether raw signals are deleted.
    pub signals: bool,
}

/// What was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Samples of raw metrics.
    pub samples: u64,
    /// Windows of rollups whose raw metrics had expired: each goes whole, though only a part of it may lie in the range.
    pub windows: u64,
    /// Raw signals.
    pub signals: u64,
    /// Blocks that were written anew, or are not needed any more.
    pub blocks: usize,
    /// By when no byte of it is left; `None` where nothing was found.
    pub due: Option<Timestamp>,
}

/// Deletes what a tenant has now. It is hidden, for good, when this returns.
pub(crate) fn delete(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
    deletion: &Deletion,
) -> Result<Deleted, TenantError> {
    flush::flush(shared, tenant).map_err(TenantError::Change)?;
    let mut change = tenant.change().map_err(TenantError::Change)?;
    if change.suspended {
        return Err(TenantError::Change(MaintenanceError::Suspended { tenant: tenant.id.clone() }));
    }
    let mut rewriting = Rewriting {
        shared,
        tenant,
        deletion,
        change: &mut change,
        published: Vec::new(),
        gone: BTreeSet::new(),
        forgotten: BTreeSet::new(),
        deleted: Deleted::default(),
    };
    let working = Working::begin(shared, Work::Delete, &tenant.id);
    let deleted = rewriting.all().and_then(|()| rewriting.commit());
    if deleted.is_ok() {
        working.done(&rewriting.published);
    }
    if let Err(MaintenanceError::Indeterminate { .. }) = &deleted {
        // The new blocks may be what a durable manifest names.
    } else if deleted.is_err() {
        for block in &rewriting.published {
            let _ = shared.vfs.unlink(&shared.layout.block(tenant.number, block.id));
        }
    }
    deleted.map_err(TenantError::Change)
}

struct Rewriting<'a> {
    shared: &'a Shared,
    tenant: &'a Arc<TenantShared>,
    deletion: &'a Deletion,
    change: &'a mut ManifestChange,
    published: Vec<BlockMeta>,
    gone: BTreeSet<BlockId>,
    /// Days whose rollups are made again.
    forgotten: BTreeSet<Day>,
    deleted: Deleted,
}

/// A block without what is deleted, and how much that was.
type Without = (Option<EncodedBlock>, u64);

impl Rewriting<'_> {
    /// Publishes what takes the place of each block that has something to be deleted.
    fn all(&mut self) -> Result<(), MaintenanceError> {
        let (blocks, manifest) = {
            let data = self.tenant.data.read();
            (data.blocks.clone(), data.manifest.clone())
        };
        let days = DayBlocks::of(&manifest.blocks);
        let wanted = |block: &&Arc<OpenBlock>| match block.meta.id.content {
            BlockContent::RawSignals => self.deletion.signals,
            _ => self.deletion.metrics,
        };
        let touched: Vec<Arc<OpenBlock>> = blocks.iter().filter(wanted).cloned().collect();
        // Raw first: what becomes of a day's rollups follows from it.
        let (raw, rollups): (Vec<_>, Vec<_>) =
            touched.into_iter().partition(|block| block.meta.id.content.window_ms().is_none());
        for block in raw {
            if block.meta.time.overlaps(self.deletion.range) && self.without(&block)? {
                let day = block.meta.id.day;
                let rolled_up = block.meta.id.content == BlockContent::RawMetrics;
                if rolled_up && is_whole(&days, &manifest.seals, day) && !planted(Bug::DeletedInRollups) {
                    self.forgotten.insert(day);
                }
            }
        }
        for block in rollups {
            let day = block.meta.id.day;
            if self.forgotten.contains(&day) {
                self.gone.insert(block.meta.id);
            } else if !is_whole(&days, &manifest.seals, day)
                && block.meta.id.day.range().overlaps(self.deletion.range)
            {
                self.without(&block)?;
            }
        }
        Ok(())
    }

    /// Publishes what takes a block's place; false where the block stays.
    fn without(&mut self, block: &OpenBlock) -> Result<bool, MaintenanceError> {
        let (tenant, meta) = (self.tenant, block.meta);
        let seal = tenant.keys.seal_block(meta.id.content, &*self.shared.entropy);
        let seal = seal.map_err(|source| MaintenanceError::Io {
            doing: "draw a key for a block",
            tenant: tenant.id.clone(),
            source,
        })?;
        let id = BlockId { sequence: self.change.next_sequence, ..meta.id };
        let identity = BlockIdentity { tenant: tenant.number, id };
        let (seal, deletion) = (seal.as_ref().map(BlockSeal::with), self.deletion);
        let without = match meta.id.content {
            BlockContent::RawMetrics => {
                let opened = block.metrics().map_err(|missing| missing.why);
                opened.and_then(|block| without_samples(&block, identity, seal, deletion))
            }
            BlockContent::Rollup5m | BlockContent::Rollup1h => {
                let opened = block.rollups().map_err(|missing| missing.why);
                opened.and_then(|block| without_windows(&block, identity, seal, deletion))
            }
            BlockContent::RawSignals => {
                let opened = block.signals().map_err(|missing| missing.why);
                opened.and_then(|block| without_signals(&block, identity, seal, deletion))
            }
        };
        // Nothing is deleted of a tenant of which it is not known what there is to delete.
        let damaged = |what| MaintenanceError::Damaged { tenant: tenant.id.clone(), what };
        let Some((encoded, count)) = without.map_err(damaged)? else { return Ok(false) };
        match meta.id.content {
            BlockContent::RawMetrics => self.deleted.samples += count,
            BlockContent::Rollup5m | BlockContent::Rollup1h => self.deleted.windows += count,
            BlockContent::RawSignals => self.deleted.signals += count,
        }
        self.gone.insert(meta.id);
        if let Some(encoded) = encoded {
            let meta = encoded.meta;
            publish_new(self.shared, tenant, self.change, &[encoded], "write a block anew")?;
            self.published.push(meta);
        }
        Ok(true)
    }

    fn commit(&mut self) -> Result<Deleted, MaintenanceError> {
        if self.gone.is_empty() {
            return Ok(self.deleted);
        }
        let (shared, tenant, now) = (self.shared, self.tenant, self.shared.retention_now());
        let manifest = tenant.data.read().manifest.clone();
        let due = now.saturating_add(ERASURE_DUE_MS);
        let leaving = Leaving { since: now, due, through: manifest.data_floor, range: self.deletion.range };
        let kept = manifest.blocks.iter().filter(|block| !self.gone.contains(&block.id)).copied();
        let mut seals: BTreeMap<Day, DaySeal> = (*manifest.seals).clone();
        seals.retain(|day, _| !self.forgotten.contains(day));
        let manifest = Manifest {
            next_sequence: self.change.next_sequence,
            blocks: kept.chain(self.published.iter().copied()).collect(),
            seals: Arc::new(seals),
            leaving: Some(manifest.leaving.map_or(leaving, |earlier| earlier.with(leaving))),
            ..manifest.expire(now)
        };
        let opened: Vec<Arc<OpenBlock>> = self
            .published
            .iter()
            .map(|&meta| OpenBlock::new(&shared.shelf, tenant.number, &tenant.keys, meta))
            .collect();
        let gone: Vec<BlockId> = self.gone.iter().copied().collect();
        let mut removed = Vec::new();
        tenant.commit_manifest(shared, self.change, manifest, "delete", |data| {
            removed = data.remove_blocks(&gone);
            data.blocks.extend(opened);
        })?;
        retire(shared, tenant, removed);
        tenant.leave_again();
        self.deleted.blocks = gone.len();
        self.deleted.due = Some(due);
        Ok(self.deleted)
    }
}

/// Whether the raw metrics of a day are all that its rollups were made from, or will be.
pub(crate) fn is_whole(days: &BTreeMap<Day, DayBlocks>, seals: &BTreeMap<Day, DaySeal>, day: Day) -> bool {
    let rows = days.get(&day).map_or(0, |blocks| blocks.rows);
    rows > 0 && seals.get(&day).is_none_or(|seal| seal.rows <= rows)
}

fn without_samples(
    block: &MetricBlock,
    identity: BlockIdentity,
    seal: Option<SealWith<'_>>,
    deletion: &Deletion,
) -> Result<Option<Without>, String> {
    let text = |error: annals_block::BlockError| error.to_string();
    let found = block.find(&deletion.matchers).map_err(text)?;
    let (mut numbers, mut histograms) = (Samples::default(), HistogramSamples::default());
    let mut read = |ordinal, kind: SeriesKind, ranges: &[TimeRange], take: Take<'_>| {
        numbers.clear();
        histograms.clear();
        for &range in ranges {
            if kind.is_histogram() {
                block.read_histograms(ordinal, range, &mut histograms).map_err(text)?;
            } else {
                block.read(ordinal, range, &mut numbers).map_err(text)?;
            }
        }
        take(match kind.is_histogram() {
            true => SeriesSamples::Histograms(&histograms),
            false => SeriesSamples::Numbers(&numbers.timestamps, &numbers.values, &numbers.start_times),
        })
    };
    let mut count = 0;
    for ordinal in &found {
        let kind = block.kind(ordinal).map_err(text)?;
        read(ordinal, kind, &[deletion.range], &mut |samples| {
            count += samples.len() as u64;
            Ok(())
        })?;
    }
    if count == 0 {
        return Ok(None);
    }
    let meta = block.meta();
    let mut writer = MetricBlockWriter::new(identity, meta.lsns, meta.level, meta.age);
    if let Some(seal) = seal {
        writer = writer.seal_with(seal);
    }
    let around = [
        TimeRange::new(Timestamp::MIN, deletion.range.start),
        TimeRange::new(deletion.range.end, Timestamp::MAX),
    ];
    for ordinal in 0..block.series_count() {
        let (labels, kind) = (block.labels(ordinal).map_err(text)?, block.kind(ordinal).map_err(text)?);
        let kept = if found.contains(ordinal) { &around[..] } else { &[TimeRange::ALL] };
        read(ordinal, kind, kept, &mut |samples| match samples.is_empty() {
            true => Ok(()),
            false => writer.add(&labels, kind, samples).map_err(|error| error.to_string()),
        })?;
    }
    Ok(Some((writer.finish().map_err(|error| error.to_string())?, count)))
}

/// Takes what was read of a series.
type Take<'a> = &'a mut dyn FnMut(SeriesSamples<'_>) -> Result<(), String>;

fn without_windows(
    block: &RollupBlock,
    identity: BlockIdentity,
    seal: Option<SealWith<'_>>,
    deletion: &Deletion,
) -> Result<Option<Without>, String> {
    let window_ms = identity.id.content.window_ms().unwrap_or_default();
    let found = block.find(&deletion.matchers).map_err(|error| error.to_string())?;
    let mut gone = BTreeSet::new();
    let written = rewrite_windows(block, identity, seal, &mut |ordinal, end| {
        let window = TimeRange::new(Timestamp(end).saturating_add(-window_ms), Timestamp(end));
        let kept = !(found.contains(ordinal) && window.overlaps(deletion.range));
        if !kept {
            // A series' histograms of one window are one window.
            gone.insert((ordinal, end));
        }
        kept
    })?;
    Ok((!gone.is_empty()).then_some((written, gone.len() as u64)))
}

/// A block of the windows that `keep` keeps, by the series' ordinal and their ends; `None` where there is none.
pub(crate) fn rewrite_windows(
    block: &RollupBlock,
    identity: BlockIdentity,
    seal: Option<SealWith<'_>>,
    keep: &mut dyn FnMut(u32, i64) -> bool,
) -> Result<Option<EncodedBlock>, String> {
    let text = |error: annals_block::BlockError| error.to_string();
    let window_ms = identity.id.content.window_ms().unwrap_or_default();
    let mut writer = RollupBlockWriter::new(identity, block.meta().lsns);
    if let Some(seal) = seal {
        writer = writer.seal_with(seal);
    }
    let (mut windows, mut histograms) = (Vec::new(), HistogramSamples::default());
    let mut lost = None;
    let mut fault = |error: annals_block::BlockError| lost = Some(error.to_string());
    for ordinal in 0..block.series_count() {
        let (labels, kind) = (block.labels(ordinal).map_err(text)?, block.kind(ordinal).map_err(text)?);
        if kind.is_histogram() {
            histograms.clear();
            let mut fault = |_, error| fault(error);
            block.read_histograms_lossy(ordinal, TimeRange::ALL, &mut histograms, &mut fault);
            let mut kept = HistogramSamples::default();
            for (time, histogram, start) in histograms.iter() {
                if keep(ordinal, window_end(time, window_ms)) {
                    kept.push(time, histogram.clone(), start);
                }
            }
            if !kept.timestamps.is_empty() {
                writer.add_histograms(&labels, kind, &kept).map_err(|error| error.to_string())?;
            }
            continue;
        }
        windows.clear();
        block.read_lossy(ordinal, TimeRange::ALL, &mut windows, &mut |_, error| fault(error));
        windows.retain(|window: &Rollup| keep(ordinal, window.end));
        if !windows.is_empty() {
            writer.add_series(&labels, kind, &windows).map_err(|error| error.to_string())?;
        }
    }
    match lost {
        Some(lost) => Err(lost),
        None => writer.finish().map_err(|error| error.to_string()),
    }
}

fn without_signals(
    block: &SignalBlock,
    identity: BlockIdentity,
    seal: Option<SealWith<'_>>,
    deletion: &Deletion,
) -> Result<Option<Without>, String> {
    let text = |error: annals_block::BlockError| error.to_string();
    let kinds = block.kinds().map_err(text)?.to_vec();
    let mut any = block.scan(deletion.range, &deletion.matchers).map_err(text)?;
    if any.next().transpose().map_err(|lost| lost.error.to_string())?.is_none() {
        return Ok(None);
    }
    drop(any);
    let meta = block.meta();
    let mut writer = SignalBlockWriter::new(identity, meta.lsns, meta.level, kinds.clone());
    if let Some(seal) = seal {
        writer = writer.seal_with(seal);
    }
    let mut count = 0;
    for row in block.scan(TimeRange::ALL, &[]).map_err(text)? {
        let row = row.map_err(|lost| lost.error.to_string())?;
        let kind = kinds.iter().find(|kind| kind.name == row.kind);
        let matches = kind.is_some_and(|kind| row.matches(kind, &deletion.matchers));
        if matches && deletion.range.contains(row.time) {
            count += 1;
        } else {
            writer.add(&row).map_err(|error| error.to_string())?;
        }
    }
    Ok(Some((writer.finish().map_err(|error| error.to_string())?, count)))
}

/// Lets go of what is left of what was deleted; a step of background work.
pub(crate) fn leave(shared: &Shared, tenant: &Arc<TenantShared>) -> Result<Option<Done>, MaintenanceError> {
    let Some(leaving) = tenant.data.read().manifest.leaving else { return Ok(None) };
    let mut left = tenant.left();
    let has_left = leave_log(shared, &mut left, leaving.through);
    tenant.set_left(left);
    let read = shared.retired.lock().iter().any(|(owner, _)| Arc::ptr_eq(owner, tenant));
    if !has_left? || read {
        return Ok(None);
    }
    let mut change = tenant.change()?;
    if change.suspended {
        // What a durable manifest names is unknown, so nothing that this one does not name may go.
        return Err(MaintenanceError::Suspended { tenant: tenant.id.clone() });
    }
    let manifest = tenant.data.read().manifest.clone();
    // Another deletion has come meanwhile.
    if manifest.leaving != Some(leaving) {
        return Ok(None);
    }
    remove_unnamed(shared, tenant, &manifest, leaving.range).map_err(|source| MaintenanceError::Io {
        doing: "remove what was deleted",
        tenant: tenant.id.clone(),
        source,
    })?;
    let manifest = Manifest { leaving: None, ..manifest };
    tenant.commit_manifest(shared, &mut change, manifest, "say that nothing is left", |_| ())?;
    Ok(Some(Done::Deleted { tenant: tenant.id.clone(), since: leaving.since }))
}

/// Removes block files that the manifest does not name, and those that were set aside of the days of the range: they hold
/// what was deleted, and nothing serves them.
fn remove_unnamed(
    shared: &Shared,
    tenant: &TenantShared,
    manifest: &Manifest,
    range: TimeRange,
) -> io::Result<()> {
    let (vfs, layout) = (&*shared.vfs, &shared.layout);
    let named: BTreeSet<String> = manifest.blocks.iter().map(|block| block_file_name(block.id)).collect();
    for content in [BlockContent::RawMetrics, BlockContent::RawSignals] {
        let directory = layout.blocks(tenant.number, content);
        for entry in vfs.list(&directory)? {
            if entry.name.ends_with(".blk") && !named.contains(&entry.name) {
                vfs.unlink(&directory.join(&entry.name))?;
            }
        }
        vfs.sync_dir(&directory)?;
    }
    for (path, identity) in quarantine::of_tenant(vfs, layout, tenant.number)? {
        if identity.is_some_and(|block| block.id.day.range().overlaps(range)) {
            vfs.unlink(&path)?;
        }
    }
    vfs.sync_dir(&layout.quarantine)
}

impl Leaving {
    /// Both: the earlier date holds for all of it, and the log has to let go of the later records too.
    fn with(self, later: Leaving) -> Leaving {
        Leaving {
            since: self.since.min(later.since),
            due: self.due.min(later.due),
            through: self.through.max(later.through),
            range: TimeRange::new(
                self.range.start.min(later.range.start),
                self.range.end.max(later.range.end),
            ),
        }
    }
}

impl TenantShared {
    /// The last record of the segments that are to go because of a deletion.
    fn left(&self) -> Option<Lsn> {
        Some(self.leaves.load(annals_vfs::sync::atomic::Ordering::Relaxed)).filter(|&lsn| lsn > 0).map(Lsn)
    }

    fn set_left(&self, left: Option<Lsn>) {
        let left = left.map_or(0, |left| left.0);
        self.leaves.store(left, annals_vfs::sync::atomic::Ordering::Relaxed);
    }

    /// Another deletion: the log has to go on in another segment again.
    fn leave_again(&self) {
        self.set_left(None);
    }
}
