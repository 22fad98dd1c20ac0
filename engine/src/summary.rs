//! What a tenant has, in numbers.

use annals_model::{BlockContent, Plan, TenantId, TenantNumber, Timestamp};

use crate::head::Head;
use crate::manifest::Manifest;
use crate::tenant::Data;

/// What a tenant has, in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSummary {
    /// Its id.
    pub id: TenantId,
    /// Why it cannot be used; `None` where it can. Then all numbers below are zero.
    pub unavailable: Option<String>,
    /// The number that stands for it on disk.
    pub number: TenantNumber,
    /// When it is erased, where it is cancelled.
    pub cancelled: Option<Timestamp>,
    /// Its plan.
    pub plan: Option<Plan>,
    /// Signal kinds that are switched off for it.
    pub kinds_off: Vec<String>,
    /// When it was created.
    pub created: Timestamp,
    /// Blocks of metrics.
    pub metric_blocks: usize,
    /// Blocks of rollups.
    pub rollup_blocks: usize,
    /// Bytes of blocks of rollups.
    pub rollup_bytes: u64,
    /// Blocks of raw signals.
    pub signal_blocks: usize,
    /// Samples in blocks.
    pub samples: u64,
    /// Raw signals in blocks.
    pub signals: u64,
    /// Bytes of metric blocks.
    pub metric_bytes: u64,
    /// Bytes of raw-signal blocks.
    pub signal_bytes: u64,
    /// Samples that are not in blocks yet.
    pub head_samples: u64,
    /// Raw signals that are not in blocks yet.
    pub head_signals: u64,
    /// The first stamp that is there and not expired, of metrics; `None` where there is none.
    pub earliest: Option<Timestamp>,
    /// The last stamp that is there, of metrics; `None` where there is none.
    pub latest: Option<Timestamp>,
}

impl TenantSummary {
    pub(crate) fn unavailable(id: TenantId, why: String) -> TenantSummary {
        TenantSummary {
            id,
            unavailable: Some(why),
            number: TenantNumber(0),
            cancelled: None,
            plan: None,
            kinds_off: Vec::new(),
            created: Timestamp(0),
            metric_blocks: 0,
            rollup_blocks: 0,
            rollup_bytes: 0,
            signal_blocks: 0,
            samples: 0,
            signals: 0,
            metric_bytes: 0,
            signal_bytes: 0,
            head_samples: 0,
            head_signals: 0,
            earliest: None,
            latest: None,
        }
    }

    pub(crate) fn of_data(data: &Data, number: TenantNumber, now: Timestamp) -> TenantSummary {
        TenantSummary::of(&data.manifest, data.heads(), number, now)
    }

    pub(crate) fn of<'a>(
        manifest: &Manifest,
        heads: impl Iterator<Item = &'a Head>,
        number: TenantNumber,
        now: Timestamp,
    ) -> TenantSummary {
        let mut summary = TenantSummary::unavailable(manifest.id.clone(), String::new());
        summary.unavailable = None;
        summary.number = number;
        summary.cancelled = manifest.life.cancelled();
        summary.plan = Some(manifest.plan.clone());
        summary.kinds_off = manifest.kinds_off.iter().map(ToString::to_string).collect();
        summary.created = manifest.created;
        let floor = manifest.floor(BlockContent::RawMetrics, now);
        for block in &manifest.blocks {
            match block.id.content {
                BlockContent::RawMetrics => {
                    summary.metric_blocks += 1;
                    summary.samples += block.rows;
                    summary.metric_bytes += block.bytes;
                    if block.time.end > floor {
                        // A block's time is left-open: its first stamp is one millisecond after the start.
                        summary.cover(block.time.start.saturating_add(1).max(floor.saturating_add(1)));
                        summary.cover(block.time.end);
                    }
                }
                BlockContent::Rollup5m | BlockContent::Rollup1h => {
                    summary.rollup_blocks += 1;
                    summary.rollup_bytes += block.bytes;
                }
                BlockContent::RawSignals => {
                    summary.signal_blocks += 1;
                    summary.signals += block.rows;
                    summary.signal_bytes += block.bytes;
                }
            }
        }
        for head in heads {
            summary.head_samples += head.samples();
            summary.head_signals += head.rows().len() as u64;
            if let Some((first, last)) = head.ends().filter(|&(_, last)| last > floor) {
                summary.cover(first.max(floor.saturating_add(1)));
                summary.cover(last);
            }
        }
        summary
    }

    fn cover(&mut self, time: Timestamp) {
        self.earliest = Some(self.earliest.map_or(time, |earliest| earliest.min(time)));
        self.latest = Some(self.latest.map_or(time, |latest| latest.max(time)));
    }
}
