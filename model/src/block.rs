//! What a manifest knows of a block.

use std::fmt;

use crate::plan::Resolution;
use crate::time::{Day, TimeRange, Timestamp};

/// The number of a WAL record: one more than the record before it. 0 is before the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The log records whose data a block holds: left-open, like all ranges, so neighbours share a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LsnRange {
    /// The last record before the block's.
    pub after: Lsn,
    /// The last record of the block.
    pub through: Lsn,
}

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockContent {
    /// Raw metric samples of one UTC day.
    RawMetrics,
    /// Rollups of one UTC day, per 5 minutes.
    Rollup5m,
    /// Rollups of one UTC day, per hour.
    Rollup1h,
    /// Raw signals of one UTC day.
    RawSignals,
}

impl BlockContent {
    /// All there are.
    pub const ALL: [BlockContent; 4] =
        [BlockContent::RawMetrics, BlockContent::Rollup5m, BlockContent::Rollup1h, BlockContent::RawSignals];

    /// What blocks of a metric tier hold.
    #[must_use]
    pub fn of_tier(resolution: Resolution) -> BlockContent {
        match resolution {
            Resolution::Raw => BlockContent::RawMetrics,
            Resolution::FiveMinutes => BlockContent::Rollup5m,
            Resolution::Hour => BlockContent::Rollup1h,
        }
    }

    /// How fine the metrics are; `None` of raw signals.
    #[must_use]
    pub fn resolution(self) -> Option<Resolution> {
        match self {
            BlockContent::RawMetrics => Some(Resolution::Raw),
            BlockContent::Rollup5m => Some(Resolution::FiveMinutes),
            BlockContent::Rollup1h => Some(Resolution::Hour),
            BlockContent::RawSignals => None,
        }
    }

    /// How long the windows of rollups are, in milliseconds; `None` of what is raw.
    #[must_use]
    pub fn window_ms(self) -> Option<i64> {
        self.resolution().and_then(Resolution::window_ms)
    }

    /// What its rows are called, of several.
    #[must_use]
    pub fn rows_word(self) -> &'static str {
        match self {
            BlockContent::RawMetrics => "samples",
            BlockContent::Rollup5m | BlockContent::Rollup1h => "windows",
            BlockContent::RawSignals => "raw signals",
        }
    }

    /// The word in block names.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            BlockContent::RawMetrics => "raw",
            BlockContent::Rollup5m => "5m",
            BlockContent::Rollup1h => "1h",
            BlockContent::RawSignals => "signals",
        }
    }

    /// The number that stands for it on disk.
    #[must_use]
    pub fn tag(self) -> u8 {
        match self {
            BlockContent::RawMetrics => 1,
            BlockContent::Rollup5m => 2,
            BlockContent::Rollup1h => 3,
            BlockContent::RawSignals => 4,
        }
    }

    /// The content of a number read from disk.
    #[must_use]
    pub fn from_tag(tag: u8) -> Option<BlockContent> {
        BlockContent::ALL.into_iter().find(|content| content.tag() == tag)
    }
}

/// A block's name within its tenant; the sequence number alone is unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId {
    /// The UTC day that it covers.
    pub day: Day,
    /// What it holds.
    pub content: BlockContent,
    /// Counts the tenant's blocks; never reused.
    pub sequence: u64,
}

impl fmt::Display for BlockId {
    /// As in its file name: `20150517-raw-0000002a`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:08x}", self.day, self.content.word(), self.sequence)
    }
}

/// What a manifest knows of a block, enough to plan with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockMeta {
    /// Its name, which holds day and content.
    pub id: BlockId,
    /// From just before its first stamp to its last, within its day.
    pub time: TimeRange,
    /// The log records whose data it holds.
    pub lsns: LsnRange,
    /// How many merges made it: 0 from the head.
    pub level: u8,
    /// What its chunks were made for.
    pub age: ChunkAge,
    /// Series, or signal kinds.
    pub series: u64,
    /// Samples, windows of rollups, or signals.
    pub rows: u64,
    /// The file's size in bytes.
    pub bytes: u64,
    /// The check over the whole file.
    pub check: u32,
}

/// Up to which stamp each content has expired. Floors never go down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Floors([Timestamp; BlockContent::ALL.len()]);

impl Floors {
    /// Nothing has expired.
    pub const NONE: Floors = Floors([Timestamp::MIN; BlockContent::ALL.len()]);

    /// Stamps up to this have expired.
    #[must_use]
    pub fn get(&self, content: BlockContent) -> Timestamp {
        let [raw, five_minutes, hour, signals] = self.0;
        match content {
            BlockContent::RawMetrics => raw,
            BlockContent::Rollup5m => five_minutes,
            BlockContent::Rollup1h => hour,
            BlockContent::RawSignals => signals,
        }
    }

    /// The same with stamps up to `floor` of a content expired.
    #[must_use]
    pub fn raised(self, content: BlockContent, floor: Timestamp) -> Floors {
        let [raw, five_minutes, hour, signals] = self.0;
        Floors(match content {
            BlockContent::RawMetrics => [raw.max(floor), five_minutes, hour, signals],
            BlockContent::Rollup5m => [raw, five_minutes.max(floor), hour, signals],
            BlockContent::Rollup1h => [raw, five_minutes, hour.max(floor), signals],
            BlockContent::RawSignals => [raw, five_minutes, hour, signals.max(floor)],
        })
    }
}

impl Default for Floors {
    fn default() -> Floors {
        Floors::NONE
    }
}

/// What the rollups of a day were made from: all raw metrics that there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaySeal {
    /// The last log record whose data is in them.
    pub through: Lsn,
    /// Samples, one per series and stamp.
    pub rows: u64,
    /// Keyed digest of series, stamps and values, whatever blocks held them.
    pub digest: [u8; 16],
}

/// What the chunks of a block are made for: the newer, the faster they decode; the older, the smaller they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChunkAge {
    /// From the head: chunks of 1024, entropy coded only where that saves a quarter.
    Fresh,
    /// From a merge: chunks of 4096 to 8192 where there are as many samples, entropy coded where that pays.
    Merged,
    /// From a merge of what is seldom read any more: as small as it gets.
    Old,
}

impl ChunkAge {
    /// The number that stands for it on disk.
    #[must_use]
    pub fn tag(self) -> u8 {
        match self {
            ChunkAge::Fresh => 0,
            ChunkAge::Merged => 1,
            ChunkAge::Old => 2,
        }
    }

    /// What a number read from disk stands for.
    #[must_use]
    pub fn from_tag(tag: u8) -> Option<ChunkAge> {
        [ChunkAge::Fresh, ChunkAge::Merged, ChunkAge::Old].into_iter().find(|age| age.tag() == tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_named_by_day_content_and_sequence() {
        let id = BlockId { day: Day(16_572), content: BlockContent::RawMetrics, sequence: 42 };
        assert_eq!(id.to_string(), "20150517-raw-0000002a");
    }
}
