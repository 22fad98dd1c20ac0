//! What a store does and holds, in numbers: for its host, and as OpenMetrics text (`metrics_text.rs`).
//!
//! What it costs to ask: the counts, nothing; a short lock per tenant, and the plan of its background work, which looks at each
//! of its blocks; one listing of the quarantine. Ask every few seconds at most.

use std::sync::Arc;

use annals_compaction::Step;
use annals_model::{BlockContent, TenantId, Timestamp};

use crate::counters::Activity;
use crate::head::Head;
use crate::health;
use crate::key_file::KeyState;
use crate::keys::TenantKeys;
use crate::open_block::OpenBlock;
use crate::quarantine::{self, Quarantined};
use crate::retention::Retention;
use crate::rotation;
use crate::shared::{Shared, TenantSlot};

/// A store in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// When these were taken.
    pub at: Timestamp,
    /// What has been done since the store was opened; `None` of one that was opened read-only.
    pub activity: Option<Activity>,
    /// Tenants that can be used, by id.
    pub tenants: Vec<TenantMetrics>,
    /// Tenants that cannot be used.
    pub tenants_unavailable: u64,
    /// Segments of the log.
    pub log_segments: u64,
    /// What they take on disk.
    pub log_file_bytes: u64,
    /// Files in quarantine.
    pub quarantine_files: u64,
    /// Their bytes.
    pub quarantine_bytes: u64,
    /// What is not as it should be, as [`crate::Annals::troubles`] has it.
    pub troubles: u64,
}

/// A tenant in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantMetrics {
    /// Its id.
    pub id: TenantId,
    /// Series that are in memory.
    pub head_series: u64,
    /// Samples that are not in blocks yet.
    pub head_samples: u64,
    /// Raw signals that are not in blocks yet.
    pub head_signals: u64,
    /// Memory that these take.
    pub head_bytes: u64,
    /// Its blocks, by each content there is.
    pub blocks: Vec<(BlockContent, BlockTotals)>,
    /// Merges that are owed.
    pub merges_due: u64,
    /// Days whose rollups are owed.
    pub seals_due: u64,
    /// How long the block that should have gone first has been due, in milliseconds.
    pub retention_lag_ms: u64,
    /// Damaged blocks, which no merge takes.
    pub damaged_blocks: u64,
    /// Keys that a rotation has replaced, and that are not gone yet.
    pub old_keys: u64,
    /// Bytes of blocks that are sealed with those.
    pub old_key_bytes: u64,
    /// How long the first of them should have been out of use, in milliseconds.
    pub old_keys_lag_ms: u64,
}

/// Blocks of one content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockTotals {
    /// How many.
    pub blocks: u64,
    /// Their samples, windows or signals.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl TenantMetrics {
    pub(crate) fn of<'h>(
        id: TenantId,
        retention: &Retention,
        heads: impl Iterator<Item = &'h Head>,
        damaged_blocks: usize,
    ) -> TenantMetrics {
        let mut metrics = TenantMetrics {
            id,
            head_series: 0,
            head_samples: 0,
            head_signals: 0,
            head_bytes: 0,
            blocks: BlockContent::ALL.map(|content| (content, BlockTotals::default())).to_vec(),
            merges_due: 0,
            seals_due: 0,
            retention_lag_ms: u64::try_from(retention.lag_ms()).unwrap_or(0),
            damaged_blocks: damaged_blocks as u64,
            old_keys: 0,
            old_key_bytes: 0,
            old_keys_lag_ms: 0,
        };
        for head in heads {
            metrics.head_series += head.series() as u64;
            metrics.head_samples += head.samples();
            metrics.head_signals += head.rows().len() as u64;
            metrics.head_bytes += head.bytes() as u64;
        }
        for kept in retention.blocks() {
            let of_content = metrics.blocks.iter_mut().find(|(content, _)| *content == kept.block.id.content);
            if let Some((_, totals)) = of_content {
                totals.blocks += 1;
                totals.rows += kept.block.rows;
                totals.bytes += kept.block.bytes;
            }
        }
        for step in retention.steps() {
            match step {
                Step::Merge { .. } => metrics.merges_due += 1,
                Step::Seal { .. } => metrics.seals_due += 1,
                Step::Drop { .. } => {}
            }
        }
        metrics
    }

    /// The same with what there is of old keys.
    pub(crate) fn with_keys(
        self,
        keys: &TenantKeys,
        blocks: &[Arc<OpenBlock>],
        now: Timestamp,
    ) -> TenantMetrics {
        if keys.is_settled() {
            return self;
        }
        let old = rotation::uses(&keys.known().file, blocks.iter());
        let old = || old.iter().filter(|key| key.state == KeyState::Old);
        let lag = old().filter_map(|key| key.until).map(|until| now.0.saturating_sub(until.0)).max();
        TenantMetrics {
            old_keys: old().count() as u64,
            old_key_bytes: old().map(|key| key.bytes).sum(),
            old_keys_lag_ms: u64::try_from(lag.unwrap_or(0)).unwrap_or(0),
            ..self
        }
    }
}

/// Files of the quarantine, and their bytes.
pub(crate) fn quarantined(files: &[Quarantined]) -> (u64, u64) {
    (files.len() as u64, files.iter().filter_map(|file| file.bytes).sum())
}

/// A store that is open for writing.
pub(crate) fn of_store(shared: &Shared) -> Metrics {
    let now = shared.now();
    let (mut tenants, mut tenants_unavailable) = (Vec::new(), 0);
    for (id, slot) in shared.tenants.read().iter() {
        match slot {
            TenantSlot::Unavailable { .. } => tenants_unavailable += 1,
            TenantSlot::Open(tenant) => {
                let data = tenant.data.read();
                let retention = Retention::of_data(&data, now);
                let damaged = data.set_aside.len();
                let metrics = TenantMetrics::of(id.clone(), &retention, data.heads(), damaged);
                tenants.push(metrics.with_keys(&tenant.keys, &data.blocks, now));
            }
        }
    }
    let log = shared.commits.wal.status();
    let (quarantine_files, quarantine_bytes) = quarantined(&quarantine::list(&*shared.vfs, &shared.layout));
    Metrics {
        at: now,
        activity: Some(shared.counters.activity(log.abandoned, shared.shelf.totals())),
        tenants,
        tenants_unavailable,
        log_segments: log.segments as u64,
        log_file_bytes: log.file_bytes,
        quarantine_files,
        quarantine_bytes,
        troubles: health::troubles(shared).len() as u64,
    }
}
