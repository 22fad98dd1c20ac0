//! Sealing days: the rollups of a day are made, and a manifest names them together with what they were made from.
//!
//! Order: a durable manifest says that the day takes no more data - records that were admitted before are applied - what
//! heads hold of the day is in blocks - rollups are built from all raw blocks of the day and published - the manifest
//! that names them is the commit point. Raw may go only after that. A day that takes old data for ever is sealed as it
//! is: its seal says through which record, and what comes later makes it be sealed again.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_block::BlockIdentity;
use annals_compaction::{RollupOutput, Step, seal_day};
use annals_model::{BlockContent, BlockId, BlockMeta, Day, DaySeal, Lsn, Timestamp};
use annals_vfs::sync::atomic::Ordering;

use crate::counters::Work;
use crate::error::MaintenanceError;
use crate::flush::{self, discard_unnamed, publish_new};
use crate::maintenance::{Done, retire};
use crate::manifest::Manifest;
use crate::open_block::OpenBlock;
use crate::options::Background;
use crate::owed::{Owed, owed};
use crate::shared::Shared;
use crate::tenant::TenantShared;
use crate::tiers::unflushed;
use crate::work::Working;

/// Makes the first seal that is owed.
pub(crate) fn seal_next(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
    now: Timestamp,
) -> Result<Option<Done>, MaintenanceError> {
    let step = owed(&tenant.data.read(), Owed::Seal, now).into_iter().find_map(|step| match step {
        Step::Seal { day, inputs, tiers } => Some((day, inputs, tiers)),
        Step::Drop { .. } | Step::Merge { .. } => None,
    });
    let Some((day, inputs, tiers)) = step else { return Ok(None) };
    close_day(shared, tenant, day)?;
    if tenant
        .data
        .read()
        .heads()
        .any(|head| unflushed([head].into_iter()).is_some_and(|r| r.overlaps(day.range())))
    {
        let flushed = flush::flush(shared, tenant)?;
        return Ok(flushed.map(|blocks| Done::Flushed { tenant: tenant.id.clone(), blocks }));
    }
    seal(shared, tenant, day, &inputs, &tiers, now).map(Some)
}

/// Waits until all is applied that a day may still get, where its late window has passed.
fn close_day(shared: &Shared, tenant: &Arc<TenantShared>, day: Day) -> Result<(), MaintenanceError> {
    let closes = tenant.data.read().manifest.plan.late_window_ms.is_some();
    if closes && tenant.data.read().manifest.sealed < day.end() {
        let mut change = tenant.change()?;
        let manifest = tenant.data.read().manifest.clone();
        let manifest = Manifest { sealed: manifest.sealed.max(day.end()), ..manifest };
        tenant.commit_manifest(shared, &mut change, manifest, "close a day", |_| ())?;
    }
    // What was admitted before is queued: nobody is admitting now.
    let cut = {
        let _ingest = tenant.ingest.lock();
        Lsn(shared.commits.wal.last_enqueued().0)
    };
    let drive = || shared.options.background == Background::Steps || shared.closed.load(Ordering::Acquire);
    shared.commits.wait_applied(cut, &drive, &|bytes| shared.grow(bytes));
    Ok(())
}

fn seal(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
    day: Day,
    ids: &[BlockId],
    tiers: &[BlockContent],
    now: Timestamp,
) -> Result<Done, MaintenanceError> {
    let mut change = tenant.change()?;
    let (inputs, manifest) = {
        let data = tenant.data.read();
        let of_day = |block: &&BlockMeta| (block.id.day, block.id.content) == (day, BlockContent::RawMetrics);
        let now_there = data.manifest.blocks.iter().filter(of_day).count();
        let inputs: Vec<Arc<OpenBlock>> =
            ids.iter().filter_map(|id| data.blocks.iter().find(|b| b.meta.id == *id).cloned()).collect();
        // They have changed since they were chosen: the next step chooses again.
        if inputs.len() != ids.len() || now_there != ids.len() {
            return Ok(Done::Sealed { tenant: tenant.id.clone(), day, blocks: Vec::new() });
        }
        (inputs, data.manifest.clone())
    };
    let working = Working::begin(shared, Work::Seal, &tenant.id);
    let draw =
        |source| MaintenanceError::Io { doing: "draw a key for a block", tenant: tenant.id.clone(), source };
    let seals = tiers
        .iter()
        .map(|&content| tenant.keys.seal_block(content, &*shared.entropy).map_err(draw))
        .collect::<Result<Vec<_>, _>>()?;
    let outputs = (change.next_sequence..)
        .zip(tiers.iter().zip(&seals))
        .map(|(sequence, (&content, seal))| RollupOutput {
            identity: BlockIdentity { tenant: tenant.number, id: BlockId { day, content, sequence } },
            seal: seal.as_ref().map(|seal| seal.with()),
        })
        .collect();
    let mut sealed = None;
    let digest = tenant.keys.digest(|feed| {
        let opened = inputs.iter().map(|block| block.metrics()).collect::<Result<Vec<_>, _>>();
        sealed = Some(
            opened
                .map_err(|missing| missing.why)
                .and_then(|blocks| seal_day(&blocks, outputs, feed).map_err(|error| error.to_string())),
        );
    });
    let sealed = match sealed {
        Some(Ok(Some(sealed))) => Ok(sealed),
        Some(Ok(None)) | None => Err("there is no sample in its blocks".to_owned()),
        Some(Err(what)) => Err(what),
    };
    let sealed = match sealed {
        Ok(sealed) => sealed,
        Err(what) => {
            // Raw stays in its rollup's place for as long as that would be kept.
            tenant.data.write().set_aside.extend(ids.iter().copied());
            return Err(MaintenanceError::Damaged { tenant: tenant.id.clone(), what });
        }
    };
    if manifest.seals.get(&day).is_some_and(|before| sealed.rows < before.rows) {
        tenant.data.write().set_aside.extend(ids.iter().copied());
        let what = format!("{day} has fewer samples than it was sealed with; its rollups stay as they are");
        return Err(MaintenanceError::Damaged { tenant: tenant.id.clone(), what });
    }
    publish_new(shared, tenant, &mut change, &sealed.blocks, "write the rollups")?;
    let metas: Vec<BlockMeta> = sealed.blocks.iter().map(|block| block.meta).collect();
    let replaced: Vec<BlockId> = manifest
        .blocks
        .iter()
        .map(|block| block.id)
        .filter(|id| id.day == day && id.content.window_ms().is_some())
        .collect();
    let mut by_day: BTreeMap<Day, DaySeal> = (*manifest.seals).clone();
    by_day.insert(day, DaySeal { through: sealed.lsns.through, rows: sealed.rows, digest });
    let kept = manifest.blocks.iter().filter(|block| !replaced.contains(&block.id)).chain(&metas);
    let manifest = Manifest {
        next_sequence: change.next_sequence,
        blocks: kept.copied().collect(),
        seals: Arc::new(by_day),
        ..manifest.expire(now)
    };
    let opened: Vec<Arc<OpenBlock>> =
        metas.iter().map(|&meta| OpenBlock::new(&shared.shelf, tenant.number, &tenant.keys, meta)).collect();
    let mut removed = Vec::new();
    let committed = tenant.commit_manifest(shared, &mut change, manifest, "publish the rollups", |data| {
        removed = data.remove_blocks(&replaced);
        data.blocks.extend(opened);
    });
    discard_unnamed(shared, tenant, &sealed.blocks, committed)?;
    retire(shared, tenant, removed);
    working.done(&metas);
    Ok(Done::Sealed { tenant: tenant.id.clone(), day, blocks: metas })
}
