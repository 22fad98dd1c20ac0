//! What a manifest knows of a block.

use std::fmt;

use crate::time::{Day, TimeRange};

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

/// What a block holds. Rollup tiers will be further contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BlockContent {
    /// Raw metric samples of one UTC day.
    RawMetrics,
    /// Raw signals of one UTC day.
    RawSignals,
}

impl BlockContent {
    /// The word in block names.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            BlockContent::RawMetrics => "raw",
            BlockContent::RawSignals => "signals",
        }
    }

    /// The number that stands for it on disk. 2 and 3 are kept for the 5-minute and hour tiers.
    #[must_use]
    pub fn tag(self) -> u8 {
        match self {
            BlockContent::RawMetrics => 1,
            BlockContent::RawSignals => 4,
        }
    }

    /// The content of a number read from disk.
    #[must_use]
    pub fn from_tag(tag: u8) -> Option<BlockContent> {
        [BlockContent::RawMetrics, BlockContent::RawSignals].into_iter().find(|content| content.tag() == tag)
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
    /// Samples, or signals.
    pub rows: u64,
    /// The file's size in bytes.
    pub bytes: u64,
    /// The check over the whole file.
    pub check: u32,
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
