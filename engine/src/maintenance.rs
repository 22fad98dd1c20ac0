//! Background work, as steps that a thread or a test can call.
//!
//! Most urgent first: tenants whose time is over are erased, what is left of erased tenants goes; plans whose time has come
//! take effect; the sweep takes expired blocks out of manifests and removes files that nobody reads any more; heads are flushed
//! that are too large, too old, or hold the log back; blocks are merged; days are sealed. A step that fails changes nothing
//! and is tried again.
//!
//! The sweep has a budget, after which a flush that is due has its turn. So neither waits for the end of the other, however
//! much expires or is written. Whose turn it is, `round.rs` says.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use annals_block::BlockIdentity;
use annals_compaction::{Step, chunk_age, merge_metrics, merge_signals};
use annals_model::{BlockContent, BlockId, BlockMeta, Day, KeyId, TenantId, Timestamp};
use annals_vfs::planted::{Bug, planted};
use annals_vfs::sync::atomic::Ordering;

use crate::cancel;
use crate::counters::Work;
use crate::delete;
use crate::erase;
use crate::error::MaintenanceError;
use crate::flush::{self, discard_unnamed, publish_new, truncate_log};
use crate::manifest::Manifest;
use crate::open_block::OpenBlock;
use crate::owed::{Owed, owed};
use crate::plan_change;
use crate::quarantine;
use crate::rotation::{self, Turn};
use crate::seal_days as seal;
use crate::shared::Shared;
use crate::tenant::{Data, TenantShared};
use crate::work::Working;

/// The most blocks that one merge takes when a store is settled.
const SETTLE_INPUTS_MAX: usize = 16;

/// Files that one piece of sweeping removes.
const REMOVED_MAX: usize = 64;

/// A piece of background work that was done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Done {
    /// A head became blocks.
    Flushed {
        /// Whose.
        tenant: TenantId,
        /// The blocks.
        blocks: Vec<BlockMeta>,
    },
    /// Blocks became one.
    Merged {
        /// Whose.
        tenant: TenantId,
        /// The blocks that went.
        inputs: Vec<BlockMeta>,
        /// The block that came; `None` where all of their data had expired.
        output: Option<BlockMeta>,
    },
    /// The rollups of a day were made.
    Sealed {
        /// Whose.
        tenant: TenantId,
        /// Which day.
        day: Day,
        /// The blocks of rollups.
        blocks: Vec<BlockMeta>,
    },
    /// A plan took effect.
    PlanChanged {
        /// Whose.
        tenant: TenantId,
        /// Its name.
        plan: String,
    },
    /// Nothing is left of what was deleted.
    Deleted {
        /// Whose.
        tenant: TenantId,
        /// When that was.
        since: Timestamp,
    },
    /// The time of a cancelled tenant is over: it is erased.
    Cancelled {
        /// Whose.
        tenant: TenantId,
        /// By when its bytes are removed.
        due: Timestamp,
    },
    /// Nothing is left of a tenant that was erased.
    Erased {
        /// Whose.
        tenant: TenantId,
        /// What proves it.
        receipt: PathBuf,
    },
    /// Nothing is sealed with old keys any more: they are gone.
    KeysRetired {
        /// Whose.
        tenant: TenantId,
        /// Which.
        keys: Vec<KeyId>,
    },
    /// Blocks expired.
    Dropped {
        /// Whose.
        tenant: TenantId,
        /// The blocks.
        blocks: Vec<BlockMeta>,
    },
    /// Files that no manifest names were removed.
    Removed {
        /// Which.
        files: Vec<PathBuf>,
    },
}

/// Does the most urgent piece of work; `None` where there is none. One tenant's trouble does not keep others from their turn.
pub(crate) fn step(shared: &Shared) -> Result<Option<Done>, MaintenanceError> {
    let now = shared.retention_now();
    let mut failed = None;
    shared.round.lock().go_on(shared);
    loop {
        let next = shared.round.lock().next(shared, now);
        let Some(piece) = next else {
            if shared.round.lock().end() {
                continue;
            }
            return failed.map_or(Ok(None), Err);
        };
        match piece.work(shared, now) {
            Ok(Some(done)) => {
                shared.round.lock().done(piece);
                return Ok(Some(done));
            }
            Ok(None) => {}
            Err(error) => failed = failed.or(Some(error)),
        }
    }
}

/// Flushes everything, merges each day's blocks into one, removes what is left over.
pub(crate) fn settle(shared: &Shared) -> Result<Vec<Done>, MaintenanceError> {
    let mut done = Vec::new();
    let now = shared.retention_now();
    for tenant in shared.open_tenants() {
        if let Some(erased) = cancel::erase_cancelled(shared, &tenant, now)? {
            done.push(erased);
            continue;
        }
        done.extend(plan_change::apply_plan(shared, &tenant, now)?);
        while let Some(dropped) = drop_expired(shared, &tenant, now)? {
            done.push(dropped);
        }
        if let Some(blocks) = flush::flush(shared, &tenant)? {
            done.push(Done::Flushed { tenant: tenant.id.clone(), blocks });
        }
        while let Some(inputs) = whole_day(&tenant, now) {
            done.push(merge(shared, &tenant, &inputs, now, Expired::LeftOut)?);
        }
        while let Some(merged) = merge_next(shared, &tenant, now)? {
            done.push(merged);
        }
        while let Some(sealed) = seal::seal_next(shared, &tenant, now)? {
            done.push(sealed);
        }
    }
    truncate_log(shared)?;
    while let Some(erased) = erase::step(shared)? {
        done.push(erased);
    }
    // The last step of a rotation waits for the files of before.
    remove_all_retired(shared, &mut done)?;
    for tenant in shared.open_tenants() {
        while let Some(rotated) = rotation::step(shared, &tenant, now, Turn::Settle)? {
            done.push(rotated);
            remove_all_retired(shared, &mut done)?;
        }
    }
    done.extend(sweep_quarantine(shared)?);
    for tenant in shared.open_tenants() {
        done.extend(delete::leave(shared, &tenant)?);
    }
    Ok(done)
}

/// Makes durable, with each tenant, what time it is.
pub(crate) fn note_time(shared: &Shared) -> Result<(), MaintenanceError> {
    let now = shared.retention_now();
    for tenant in shared.open_tenants() {
        let mut change = tenant.change()?;
        let manifest = tenant.data.read().manifest.clone();
        let manifest =
            Manifest { sealed: manifest.sealed.max(manifest.plan.late_floor(now)), ..manifest.expire(now) };
        tenant.commit_manifest(shared, &mut change, manifest, "note the time", |_| ())?;
    }
    Ok(())
}

/// Removes from the log what a flush could not: until that is done, a full log takes no writes that would bring the
/// next flush.
pub(crate) fn truncate(shared: &Shared) -> Result<Option<Done>, MaintenanceError> {
    truncate_log(shared).map(|()| None)
}

/// Keeps space back. That there is none is no failure: nothing else waits for it.
pub(crate) fn keep_reserve(shared: &Shared) -> Result<Option<Done>, MaintenanceError> {
    let segment_bytes = shared.commits.wal.status().segment_bytes_max;
    let kept = shared.reserve.fill(&*shared.vfs, &shared.layout, segment_bytes);
    shared.reserve_failed.store(kept.is_err(), Ordering::Relaxed);
    Ok(None)
}

/// Gets the log's next segment ready. A full disk shows here first; writes say so themselves.
pub(crate) fn prepare(shared: &Shared) -> Result<Option<Done>, MaintenanceError> {
    match shared.commits.wal.prepare() {
        Ok(()) => Ok(None),
        Err(error) => Err(MaintenanceError::Log(error.to_string())),
    }
}

/// Takes expired blocks out of the manifest. Reads hide them anyway from the instant at which they expire.
pub(crate) fn drop_expired(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
    now: Timestamp,
) -> Result<Option<Done>, MaintenanceError> {
    let due = |data: &Data| -> Vec<BlockId> {
        owed(data, Owed::Drop, now)
            .into_iter()
            .filter_map(|step| match step {
                Step::Drop { block, .. } => Some(block),
                Step::Merge { .. } | Step::Seal { .. } => None,
            })
            .collect()
    };
    if due(&tenant.data.read()).is_empty() {
        return Ok(None);
    }
    let mut change = tenant.change()?;
    let (ids, manifest) = {
        let data = tenant.data.read();
        (due(&data), data.manifest.clone())
    };
    let (dropped, kept): (Vec<BlockMeta>, Vec<BlockMeta>) =
        manifest.blocks.iter().copied().partition(|block| ids.contains(&block.id));
    if dropped.is_empty() {
        return Ok(None);
    }
    let working = Working::begin(shared, Work::Sweep, &tenant.id);
    let manifest = Manifest { blocks: kept, ..manifest.expire(now) }.forget_seals();
    let mut removed = Vec::new();
    tenant.commit_manifest(shared, &mut change, manifest, "drop expired blocks", |data| {
        removed = data.remove_blocks(&ids);
    })?;
    retire(shared, tenant, removed);
    working.done(&dropped);
    Ok(Some(Done::Dropped { tenant: tenant.id.clone(), blocks: dropped }))
}

/// Does the first merge that the plan asks for.
pub(crate) fn merge_next(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
    now: Timestamp,
) -> Result<Option<Done>, MaintenanceError> {
    let inputs = owed(&tenant.data.read(), Owed::Merge, now).into_iter().find_map(|step| match step {
        Step::Merge { inputs, .. } => Some(inputs),
        Step::Drop { .. } | Step::Seal { .. } => None,
    });
    inputs.map(|inputs| merge(shared, tenant, &inputs, now, Expired::LeftOut)).transpose()
}

/// Neighbours in log order of a day that has more than one block. Nothing is merged across a block that is set aside: it
/// still serves what is whole of it, and what is older must not come after that.
fn whole_day(tenant: &TenantShared, now: Timestamp) -> Option<Vec<BlockId>> {
    let data = tenant.data.read();
    let mut days: BTreeMap<(Day, BlockContent), Vec<&BlockMeta>> = BTreeMap::new();
    for block in &data.manifest.blocks {
        if block.id.day.end() > data.manifest.floor(block.id.content, now) {
            days.entry((block.id.day, block.id.content)).or_default().push(block);
        }
    }
    days.into_values().find_map(|mut blocks| {
        blocks.sort_by_key(|block| (block.lsns.through, block.id.sequence));
        let whole = |block: &&BlockMeta| !data.set_aside.contains(&block.id);
        let mut runs = blocks.chunk_by(|a, b| whole(a) && whole(b));
        let run = runs.find(|run| run.len() > 1)?;
        Some(run.iter().take(SETTLE_INPUTS_MAX).map(|block| block.id).collect())
    })
}

/// What becomes of samples and signals that no query sees any more when their block is written anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expired {
    LeftOut,
    /// A rollup may be owed of them.
    Kept,
}

/// Puts one block in place of several, or of one.
pub(crate) fn merge(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
    ids: &[BlockId],
    now: Timestamp,
    expired: Expired,
) -> Result<Done, MaintenanceError> {
    let mut change = tenant.change()?;
    let (inputs, floors) = {
        let data = tenant.data.read();
        let inputs: Vec<Arc<OpenBlock>> =
            ids.iter().filter_map(|id| data.blocks.iter().find(|b| b.meta.id == *id).cloned()).collect();
        let floor = |content| match expired {
            Expired::LeftOut => data.manifest.floor(content, now),
            Expired::Kept => Timestamp::MIN,
        };
        (inputs, (floor(BlockContent::RawMetrics), floor(BlockContent::RawSignals)))
    };
    let metas: Vec<BlockMeta> = inputs.iter().map(|block| block.meta).collect();
    let Some(first) = metas.first().filter(|_| metas.len() == ids.len()) else {
        // The inputs have gone since they were chosen.
        return Ok(Done::Merged { tenant: tenant.id.clone(), inputs: metas, output: None });
    };
    let working = Working::begin(shared, Work::Merge, &tenant.id);
    let age = chunk_age(first.id.day, now);
    let id = BlockId { sequence: change.next_sequence, ..first.id };
    let identity = BlockIdentity { tenant: tenant.number, id };
    let seal = tenant.keys.seal_block(first.id.content, &*shared.entropy).map_err(|source| {
        MaintenanceError::Io { doing: "draw a key for a block", tenant: tenant.id.clone(), source }
    })?;
    let seal = seal.as_ref().map(|seal| seal.with());
    let merged = match first.id.content {
        BlockContent::RawMetrics => {
            inputs.iter().map(|b| b.metrics()).collect::<Result<Vec<_>, _>>().map_err(|m| m.why).and_then(
                |blocks| merge_metrics(&blocks, identity, floors.0, age, seal).map_err(|e| e.to_string()),
            )
        }
        BlockContent::Rollup5m | BlockContent::Rollup1h => match &inputs[..] {
            [block] => {
                let opened = block.rollups().map_err(|missing| missing.why);
                opened.and_then(|block| delete::rewrite_windows(&block, identity, seal, &mut |_, _| true))
            }
            _ => Err("rollups are not merged".to_owned()),
        },
        BlockContent::RawSignals => {
            inputs.iter().map(|b| b.signals()).collect::<Result<Vec<_>, _>>().map_err(|m| m.why).and_then(
                |blocks| merge_signals(&blocks, identity, floors.1, seal).map_err(|e| e.to_string()),
            )
        }
    };
    let output = match merged {
        Ok(output) => output,
        Err(what) => {
            // Left as they are: queries serve what is whole and name what is not.
            tenant.data.write().set_aside.extend(ids.iter().copied());
            return Err(MaintenanceError::Damaged { tenant: tenant.id.clone(), what });
        }
    };
    let output: Vec<_> = output.into_iter().collect();
    publish_new(shared, tenant, &mut change, &output, "write the merged block")?;
    let output_meta = output.first().map(|block| block.meta);
    let manifest = tenant.data.read().manifest.clone();
    let manifest = Manifest {
        next_sequence: change.next_sequence,
        blocks: manifest
            .blocks
            .iter()
            .filter(|block| !ids.contains(&block.id))
            .copied()
            .chain(output_meta)
            .collect(),
        ..manifest.expire(now)
    };
    if planted(Bug::InputsRemovedEarly) {
        for input in &inputs {
            let _ = shared.vfs.unlink(&input.path);
        }
    }
    let opened = output_meta.map(|meta| OpenBlock::new(&shared.shelf, tenant.number, &tenant.keys, meta));
    let mut removed = Vec::new();
    let committed = tenant.commit_manifest(shared, &mut change, manifest, "publish the merge", |data| {
        removed = data.remove_blocks(ids);
        data.blocks.extend(opened);
    });
    discard_unnamed(shared, tenant, &output, committed)?;
    drop(inputs);
    retire(shared, tenant, removed);
    working.done(output_meta.as_slice());
    Ok(Done::Merged { tenant: tenant.id.clone(), inputs: metas, output: output_meta })
}

/// Blocks that no manifest names wait here for their last reader.
pub(crate) fn retire(shared: &Shared, tenant: &Arc<TenantShared>, blocks: Vec<Arc<OpenBlock>>) {
    shared.retired.lock().extend(blocks.into_iter().map(|block| (tenant.clone(), block)));
}

/// Removes what is due in quarantine. It is looked at when something is, and once a day.
pub(crate) fn sweep_quarantine(shared: &Shared) -> Result<Option<Done>, MaintenanceError> {
    let now = shared.retention_now();
    let mut next = shared.quarantine_due.lock();
    if now < *next {
        return Ok(None);
    }
    let swept = quarantine::sweep(&*shared.vfs, &shared.layout, now).map_err(MaintenanceError::Quarantine)?;
    *next = swept.next;
    Ok(Some(swept.removed).filter(|files| !files.is_empty()).map(|files| Done::Removed { files }))
}

/// Removes the files of all retired blocks that nobody reads any more.
fn remove_all_retired(shared: &Shared, done: &mut Vec<Done>) -> Result<(), MaintenanceError> {
    while let Some(removed) = remove_retired(shared)? {
        done.push(removed);
    }
    Ok(())
}

/// Removes the files of retired blocks that nobody reads any more, as many as a piece of sweeping takes.
pub(crate) fn remove_retired(shared: &Shared) -> Result<Option<Done>, MaintenanceError> {
    let free: Vec<(Arc<TenantShared>, Arc<OpenBlock>)> = {
        let mut retired = shared.retired.lock();
        let (mut free, mut read): (Vec<_>, Vec<_>) =
            retired.drain(..).partition(|(_, block)| Arc::strong_count(block) == 1);
        read.extend(free.drain(REMOVED_MAX.min(free.len())..));
        *retired = read;
        free
    };
    if free.is_empty() {
        return Ok(None);
    }
    let mut files = Vec::new();
    let mut failed = None;
    for (tenant, block) in free {
        match shared.vfs.unlink(&block.path) {
            Ok(()) => files.push(block.path.clone()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => {
                let tenant_id = tenant.id.clone();
                shared.retired.lock().push((tenant, block));
                failed = Some(MaintenanceError::Io { doing: "remove a block", tenant: tenant_id, source });
            }
        }
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(Some(Done::Removed { files })),
    }
}
