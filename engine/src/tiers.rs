//! Which tier shows which day of a tenant's metrics.
//!
//! ```text
//!     expired     │      1h       │      5m       │        raw
//!  ───────────────┴───────────────┴───────────────┴───────────────────► time
//!               floor of 1h     floor of 5m     floor of raw
//! ```
//!
//! Right of its floor raw is shown. Left of it each day is shown by the finest tier that has not expired: from the rollup
//! block where that is there and says all that raw says, else from what raw there still is, rolled up as it is read. So
//! an answer never depends on whether background work has come to a day yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_compaction::DayBlocks;
use annals_model::{BlockContent, BlockMeta, Day, DaySeal, Resolution, TimeRange, Timestamp};
use annals_query::report::{DayState, SnapshotDay};

use crate::head::Head;
use crate::manifest::Manifest;

/// A tenant's tiers at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tiers {
    /// Those of the plan, finest first, and up to which stamp each has expired.
    floors: Vec<(BlockContent, Timestamp)>,
    seals: Arc<BTreeMap<Day, DaySeal>>,
    /// How long after its end a day takes data; of plans that take it for ever, none: such a day is sealed again.
    late_window_ms: i64,
    /// Stamps of what is not in blocks.
    unflushed: Option<TimeRange>,
}

/// The days of some blocks, and what of them is sealed.
pub(crate) struct Days<'a> {
    tiers: &'a Tiers,
    blocks: BTreeMap<Day, DayBlocks>,
}

impl Tiers {
    pub(crate) fn new<'h>(
        manifest: &Manifest,
        heads: impl Iterator<Item = &'h Head>,
        now: Timestamp,
    ) -> Tiers {
        let contents = manifest.plan.tiers.iter().map(|tier| BlockContent::of_tier(tier.resolution));
        Tiers {
            floors: contents.map(|content| (content, manifest.floor(content, now))).collect(),
            seals: manifest.seals.clone(),
            late_window_ms: manifest.plan.late_window_ms.unwrap_or(0),
            unflushed: unflushed(heads),
        }
    }

    /// Raw metrics up to this are not shown as samples.
    pub(crate) fn raw_floor(&self) -> Timestamp {
        self.floors.first().map_or(Timestamp::MIN, |(_, floor)| *floor)
    }

    /// Nothing up to this is shown.
    pub(crate) fn floor(&self) -> Timestamp {
        self.floors.iter().map(|(_, floor)| *floor).min().unwrap_or(Timestamp::MIN)
    }

    /// The finest tier that has not expired for a day.
    pub(crate) fn of_day(&self, day: Day) -> Option<BlockContent> {
        self.floors.iter().find(|(_, floor)| *floor < day.end()).map(|(content, _)| *content)
    }

    /// The part of a range that raw shows, and the part that coarser tiers show.
    pub(crate) fn split(&self, range: TimeRange) -> (TimeRange, TimeRange) {
        let raw = TimeRange::new(range.start.max(self.raw_floor()), range.end);
        let rolled = TimeRange::new(range.start.max(self.floor()), range.end.min(self.raw_floor()));
        (raw, if rolled.is_empty() { TimeRange::EMPTY } else { rolled })
    }

    /// What has to be read for a range: windows are read whole.
    pub(crate) fn needed(&self, range: TimeRange) -> TimeRange {
        let (raw, rolled) = self.split(range);
        if rolled.is_empty() {
            return raw;
        }
        let start = rolled.start.saturating_add(1).day().range().start;
        TimeRange::new(start.max(self.floor()), rolled.end.day().end().max(raw.end))
    }

    /// The parts of a range that a coarser tier shows, oldest first.
    pub(crate) fn coarser(&self, range: TimeRange) -> Vec<(TimeRange, Resolution)> {
        let (_, rolled) = self.split(range);
        let mut parts = Vec::new();
        let mut end = rolled.end;
        for &(content, floor) in self.floors.iter().skip(1) {
            let part = TimeRange::new(floor.max(rolled.start), end);
            if let (Some(resolution), false) = (content.resolution(), rolled.is_empty() || part.is_empty()) {
                parts.push((part, resolution));
                end = part.start;
            }
        }
        parts.reverse();
        parts
    }

    pub(crate) fn days<'a, 'b>(&'a self, blocks: impl Iterator<Item = &'b BlockMeta>) -> Days<'a> {
        let blocks: Vec<BlockMeta> = blocks.copied().collect();
        Days { tiers: self, blocks: DayBlocks::of(&blocks) }
    }
}

impl Days<'_> {
    /// What each UTC day of a range is to a report that is made now.
    pub(crate) fn states(&self, range: TimeRange, now: Timestamp) -> Vec<SnapshotDay> {
        if range.is_empty() {
            return Vec::new();
        }
        let (first, last) = (range.start.saturating_add(1).day(), range.end.day());
        (first.0..=last.0).map(Day).map(|day| SnapshotDay { day, state: self.state(day, now) }).collect()
    }

    fn state(&self, day: Day, now: Timestamp) -> DayState {
        let (tiers, blocks) = (self.tiers, self.blocks.get(&day));
        if day.end() <= tiers.floor() {
            return DayState::Expired;
        }
        let has_unflushed = tiers.unflushed.is_some_and(|range| range.overlaps(day.range()));
        if let (Some(blocks), Some(seal)) = (blocks, tiers.seals.get(&day))
            && blocks.is_sealed(Some(seal), has_unflushed)
        {
            return DayState::Sealed(seal.digest);
        }
        let has_data = blocks.is_some() || has_unflushed;
        let is_over = day.end().saturating_add(tiers.late_window_ms) <= now;
        // Without any tier of rollups no day is ever sealed.
        match (has_data, is_over, tiers.floors.len() > 1) {
            (_, false, _) | (true, true, true) => DayState::Open,
            (true, true, false) => DayState::Closed,
            (false, true, _) => DayState::Empty,
        }
    }

    /// Whether so many samples are all that the day's rollups were made from.
    pub(crate) fn is_whole(&self, day: Day, rows: u64) -> bool {
        self.tiers.seals.get(&day).is_some_and(|seal| seal.rows == rows)
            && self.blocks.get(&day).is_some_and(|blocks| blocks.rows == rows)
    }

    /// Whether a day's rollups of a tier are there and say all that its raw metrics say.
    pub(crate) fn has(&self, day: Day, content: BlockContent) -> bool {
        let Some(blocks) = self.blocks.get(&day) else { return false };
        let has_unflushed = self.tiers.unflushed.is_some_and(|range| range.overlaps(day.range()));
        blocks.tiers.contains(&content) && blocks.is_sealed(self.tiers.seals.get(&day), has_unflushed)
    }
}

/// The stamps between which lies what is not in blocks.
pub(crate) fn unflushed<'h>(heads: impl Iterator<Item = &'h Head>) -> Option<TimeRange> {
    heads.filter_map(Head::ends).fold(None, |all: Option<TimeRange>, (first, last)| {
        let range = TimeRange::new(first.saturating_add(-1), last);
        Some(all.map_or(range, |all| TimeRange::new(all.start.min(range.start), all.end.max(range.end))))
    })
}
