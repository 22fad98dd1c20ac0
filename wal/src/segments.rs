//! Which segments there are and which LSNs each holds: what truncation and back-pressure go by.
//!
//! - Oldest first, LSNs ascending; the last one is active, or was when the log was closed, and is never removed.

use std::collections::VecDeque;
use std::path::PathBuf;

use crate::lsn::Lsn;

/// One segment.
#[derive(Debug, Clone)]
pub(crate) struct SegmentRange {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) first: Lsn,
    /// Of the active segment: not kept up to date.
    pub(crate) last: Lsn,
    pub(crate) file_bytes: u64,
    /// Of a closed segment: all of it.
    pub(crate) used_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Segments {
    ranges: VecDeque<SegmentRange>,
    active: bool,
    /// How many were closed early because a write or sync failed, and how the last of them failed.
    pub(crate) abandoned: u64,
    pub(crate) last_failure: Option<String>,
}

impl Segments {
    /// `active` says whether the last one is.
    pub(crate) fn new(ranges: VecDeque<SegmentRange>, active: bool) -> Segments {
        Segments { ranges, active, ..Segments::default() }
    }

    /// A new segment becomes the active one.
    pub(crate) fn open(&mut self, number: u64, path: PathBuf, first: Lsn, file_bytes: u64) {
        let last = first.before();
        self.ranges.push_back(SegmentRange { number, path, first, last, file_bytes, used_bytes: 0 });
        self.active = true;
    }

    /// The active segment ends with this LSN.
    pub(crate) fn close(&mut self, last: Lsn) {
        if let Some(range) = self.ranges.back_mut().filter(|_| self.active) {
            range.last = last;
            range.used_bytes = range.file_bytes;
        }
        self.active = false;
    }

    /// The active segment is given up.
    pub(crate) fn count_abandoned(&mut self, failure: String) {
        self.abandoned += 1;
        self.last_failure = Some(failure);
    }

    pub(crate) fn set_used(&mut self, bytes: u64) {
        if let Some(range) = self.ranges.back_mut().filter(|_| self.active) {
            range.used_bytes = bytes;
        }
    }

    /// The oldest segment, if all its records are at or below `floor` and it is not the last one.
    pub(crate) fn removable(&self, floor: Lsn) -> Option<&SegmentRange> {
        self.ranges.front().filter(|range| self.ranges.len() > 1 && range.last <= floor)
    }

    /// The oldest segment is gone.
    pub(crate) fn remove_oldest(&mut self, number: u64) {
        assert_eq!(self.ranges.front().map(|range| range.number), Some(number), "oldest first");
        self.ranges.pop_front();
    }

    /// What closed segments take on disk.
    pub(crate) fn closed_bytes(&self) -> u64 {
        let closed = self.ranges.len() - usize::from(self.active);
        self.ranges.iter().take(closed).map(|range| range.file_bytes).sum()
    }

    /// What all segments take on disk.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.file_bytes).sum()
    }

    /// What the longest segment takes on disk.
    pub(crate) fn longest_bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.file_bytes).max().unwrap_or(0)
    }

    /// How many segments there are.
    pub(crate) fn count(&self) -> usize {
        self.ranges.len()
    }

    /// What the segments that hold records above `lsn` take: what would go if the log were truncated at its end.
    pub(crate) fn bytes_after(&self, lsn: Lsn) -> u64 {
        let active = self.active.then(|| self.ranges.back()).flatten().map(|range| range.number);
        self.ranges
            .iter()
            .filter(|range| range.last > lsn || Some(range.number) == active)
            .map(|range| range.used_bytes)
            .sum()
    }

    /// The first LSN of the oldest segment.
    pub(crate) fn first(&self) -> Option<Lsn> {
        self.ranges.front().map(|range| range.first)
    }
}
