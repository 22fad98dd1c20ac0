//! What a store has done since it was opened, counted where it is done.
//!
//! A count is one relaxed addition, per batch or per piece of work and never per record; numbers that are counted together
//! may be read a moment apart. Not the atomics that interleavings are explored with: nothing is ever decided by a count.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use annals_model::{Refusal, RefusalReason};

use crate::error::WriteError;
use crate::ticket::Acknowledgement;

/// A piece of background work, by what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// Reads the log when the store is opened.
    Recover,
    /// Makes blocks of what is in memory.
    Flush,
    /// Puts one block in the place of several.
    Merge,
    /// Makes the rollups of a day.
    Seal,
    /// Takes expired blocks out.
    Sweep,
    /// Deletes by matchers and times.
    Delete,
    /// Removes an erased tenant.
    Erase,
    /// Derives metrics of signals of before.
    Derive,
}

impl Work {
    /// All of it.
    pub const ALL: [Work; 8] = [
        Work::Recover,
        Work::Flush,
        Work::Merge,
        Work::Seal,
        Work::Sweep,
        Work::Delete,
        Work::Erase,
        Work::Derive,
    ];

    /// A stable word for it, as in metrics and traces.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Work::Recover => "recover",
            Work::Flush => "flush",
            Work::Merge => "merge",
            Work::Seal => "seal",
            Work::Sweep => "sweep",
            Work::Delete => "delete",
            Work::Erase => "erase",
            Work::Derive => "derive",
        }
    }
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// All counts of a store.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) intake: IntakeCounts,
    pub(crate) samples: Count,
    pub(crate) signals: Count,
    pub(crate) log_commits: Count,
    pub(crate) log_failures: Count,
    pub(crate) log_bytes: Count,
    work: [WorkCounts; Work::ALL.len()],
    pub(crate) queries: Count,
    pub(crate) queries_failed: Count,
    pub(crate) queries_slow: Count,
    pub(crate) query_samples: Count,
    pub(crate) query_nanos: Count,
}

#[derive(Debug, Default)]
struct WorkCounts {
    done: Count,
    failed: Count,
    rows: Count,
    bytes: Count,
    nanos: Count,
}

/// What became of batches: of a store, and of each of its tenants.
#[derive(Debug, Default)]
pub(crate) struct IntakeCounts {
    batches_written: Count,
    batches_duplicate: Count,
    batches_conflicting: Count,
    batches_failed: Count,
    records: Count,
    refused: [Count; RefusalReason::ALL.len()],
}

impl IntakeCounts {
    /// Counts records that were refused.
    pub(crate) fn refused(&self, refused: &[(usize, Refusal)]) {
        for (_, refusal) in refused {
            if let Some(count) = self.refused.get(refusal.reason as usize) {
                count.add(1);
            }
        }
    }

    /// Counts a batch that is in a head.
    pub(crate) fn written(&self, acknowledgement: &Acknowledgement) {
        self.batches_written.add(1);
        self.records.add(acknowledgement.accepted() as u64);
        self.refused(&acknowledgement.refused);
    }

    /// Counts a batch that was counted before.
    pub(crate) fn duplicate(&self) {
        self.batches_duplicate.add(1);
    }

    /// Counts a batch that was not taken.
    pub(crate) fn failed(&self, error: &WriteError) {
        match error {
            WriteError::Conflict { .. } => self.batches_conflicting.add(1),
            _ => self.batches_failed.add(1),
        }
    }

    /// What they are now.
    pub(crate) fn intake(&self) -> Intake {
        let refused = RefusalReason::ALL.into_iter().zip(&self.refused);
        Intake {
            batches_written: self.batches_written.get(),
            batches_duplicate: self.batches_duplicate.get(),
            batches_conflicting: self.batches_conflicting.get(),
            batches_failed: self.batches_failed.get(),
            records: self.records.get(),
            refused: refused.map(|(reason, count)| (reason, count.get())).collect(),
        }
    }
}

impl Counters {
    /// Counts a piece of work.
    pub(crate) fn work(&self, work: Work, is_done: bool, rows: u64, bytes: u64, took: Duration) {
        let Some(counts) = self.work.get(work as usize) else { return };
        if is_done { &counts.done } else { &counts.failed }.add(1);
        counts.rows.add(rows);
        counts.bytes.add(bytes);
        counts.nanos.add(nanos(took));
    }

    /// What they are now.
    pub(crate) fn activity(&self, log_segments_abandoned: u64, index: IndexMetrics) -> Activity {
        let work = Work::ALL.into_iter().zip(&self.work);
        Activity {
            intake: self.intake.intake(),
            samples: self.samples.get(),
            signals: self.signals.get(),
            log_commits: self.log_commits.get(),
            log_failures: self.log_failures.get(),
            log_bytes: self.log_bytes.get(),
            log_segments_abandoned,
            index,
            work: work
                .map(|(work, counts)| {
                    let done = WorkDone {
                        done: counts.done.get(),
                        failed: counts.failed.get(),
                        rows: counts.rows.get(),
                        bytes: counts.bytes.get(),
                        took: Duration::from_nanos(counts.nanos.get()),
                    };
                    (work, done)
                })
                .collect(),
            queries: self.queries.get(),
            queries_failed: self.queries_failed.get(),
            queries_slow: self.queries_slow.get(),
            query_samples: self.query_samples.get(),
            query_took: Duration::from_nanos(self.query_nanos.get()),
        }
    }
}

/// Nanoseconds; saturates after 584 years.
pub(crate) fn nanos(took: Duration) -> u64 {
    u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
}

/// What became of batches since the store was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intake {
    /// Batches that are in the store.
    pub batches_written: u64,
    /// Batches that were counted before.
    pub batches_duplicate: u64,
    /// Batches under an id that other content had.
    pub batches_conflicting: u64,
    /// Batches that were not taken, or of which that is not known.
    pub batches_failed: u64,
    /// Records of hosts that were accepted: samples and signals.
    pub records: u64,
    /// Records that were refused, by each reason there is.
    pub refused: Vec<(RefusalReason, u64)>,
}

/// What a store has done since it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Activity {
    /// What became of batches, of all tenants together.
    pub intake: Intake,
    /// Samples and histograms that were stored, those derived from signals included.
    pub samples: u64,
    /// Raw signals that were stored.
    pub signals: u64,
    /// Commits of the log: each is one write, and where that was promised one sync.
    pub log_commits: u64,
    /// Commits that failed.
    pub log_failures: u64,
    /// Bytes of records that were committed.
    pub log_bytes: u64,
    /// Segments of the log that were left because a write or sync of them failed.
    pub log_segments_abandoned: u64,
    /// What is kept of blocks in memory.
    pub index: IndexMetrics,
    /// Background work, by each kind there is.
    pub work: Vec<(Work, WorkDone)>,
    /// PromQL queries that were answered.
    pub queries: u64,
    /// PromQL queries that were not.
    pub queries_failed: u64,
    /// Those that took longer than a second, answered or not.
    pub queries_slow: u64,
    /// Samples that queries decoded.
    pub query_samples: u64,
    /// How long queries took, all together.
    pub query_took: Duration,
}

/// What is kept of blocks in memory, and how that is used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IndexMetrics {
    /// Blocks whose index is in memory.
    pub blocks: u64,
    /// What these take.
    pub bytes: u64,
    /// How often a block was asked for.
    pub uses: u64,
    /// How often it had to be opened for that.
    pub opens: u64,
}

/// What one kind of work came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WorkDone {
    /// Pieces that were done.
    pub done: u64,
    /// Pieces that failed, and are tried again.
    pub failed: u64,
    /// Rows of what it made, or took away.
    pub rows: u64,
    /// Bytes of what it made, or took away.
    pub bytes: u64,
    /// How long it took, all together.
    pub took: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_and_each_kind_of_work_has_a_count_of_its_own() {
        assert!(RefusalReason::ALL.into_iter().enumerate().all(|(at, reason)| reason as usize == at));
        assert!(Work::ALL.into_iter().enumerate().all(|(at, work)| work as usize == at));
    }
}
