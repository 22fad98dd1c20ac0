//! The commit queue: batches of all tenants in log order, from admission to the head.
//!
//! ```text
//!   write ── enqueue ──► log queue + pending ── commit_step ──► one write, one sync ──► heads ──► tickets
//! ```
//!
//! A batch becomes visible only after it is as durable as the options promise. When the log fails, every pending
//! batch fails with it and the generation rises: a batch that was encoded against an earlier generation may refer to
//! series whose definition never became durable, so it is encoded again.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use annals_model::{Lsn, SignalRow};
use annals_vfs::planted::{Bug, planted};
use annals_vfs::sync::atomic::{AtomicU64, Ordering};
use annals_vfs::sync::{Condvar, Mutex};
use annals_wal::{CommitError, EnqueueError, Wal};

use crate::counters::Counters;
use crate::error::WriteError;
use crate::ingest::NumberedSamples;
use crate::record::BATCH;
use crate::remembered::RememberedBatch;
use crate::tenant::TenantShared;
use crate::ticket::{Acknowledgement, Durability, TicketState};

/// How often one who waits for the commit thread looks whether there still is one.
const DRIVE_LOOK: Duration = Duration::from_millis(100);

/// A batch between admission and the head.
pub(crate) struct PendingBatch {
    pub(crate) tenant: Arc<TenantShared>,
    pub(crate) batch: RememberedBatch,
    pub(crate) epoch: u64,
    pub(crate) metrics: NumberedSamples,
    pub(crate) rows: Vec<SignalRow>,
    /// Of its record.
    pub(crate) bytes: usize,
    /// Without its log number, which it gets when it is queued.
    pub(crate) acknowledgement: Acknowledgement,
    pub(crate) ticket: Arc<TicketState>,
}

/// What the commit has to do and has done.
pub(crate) struct CommitQueue {
    pub(crate) wal: Wal,
    durability: Durability,
    counters: Arc<Counters>,
    pending: Mutex<Pending>,
    applied: Mutex<Lsn>,
    /// The last record that was written, synced where that was promised.
    committed: AtomicU64,
    progress: Condvar,
    /// Held during a step, so that steps follow one another.
    step: Mutex<()>,
}

struct Pending {
    batches: VecDeque<(Lsn, PendingBatch)>,
    generation: u64,
}

/// Why a batch was not queued.
pub(crate) enum NotQueued {
    /// It was encoded against an earlier generation: encode it again.
    Stale,
    Refused(WriteError),
}

impl CommitQueue {
    pub(crate) fn new(wal: Wal, durability: Durability, counters: Arc<Counters>) -> CommitQueue {
        let applied = Lsn(wal.last_enqueued().0);
        CommitQueue {
            wal,
            durability,
            counters,
            pending: Mutex::new(Pending { batches: VecDeque::new(), generation: 0 }),
            applied: Mutex::new(applied),
            committed: AtomicU64::new(applied.0),
            progress: Condvar::new(),
            step: Mutex::new(()),
        }
    }

    /// The generation that batches must be encoded against.
    pub(crate) fn generation(&self) -> u64 {
        self.pending.lock().generation
    }

    /// Puts a batch behind all others of its tenant and of the log.
    pub(crate) fn enqueue(
        &self,
        generation: u64,
        payload: Vec<u8>,
        batch: PendingBatch,
    ) -> Result<Lsn, NotQueued> {
        let mut pending = self.pending.lock();
        if pending.generation != generation {
            return Err(NotQueued::Stale);
        }
        let lsn = self.wal.enqueue(BATCH, payload).map_err(|error| NotQueued::Refused(refused(&error)))?;
        let lsn = Lsn(lsn.0);
        pending.batches.push_back((lsn, batch));
        Ok(lsn)
    }

    /// Commits what is queued, applies it to the heads and answers the tickets. False where nothing was committed:
    /// nothing was queued, or all of it failed.
    ///
    /// `grow` is told by how many bytes heads grew, before anyone can see that the batches are applied: a flush takes
    /// the bytes of what it freezes off again.
    pub(crate) fn step(&self, grow: &dyn Fn(usize)) -> bool {
        let _step = self.step.lock();
        let mode = match self.durability {
            Durability::Synced if planted(Bug::AcknowledgedBeforeSync) => annals_wal::Durability::Written,
            Durability::Synced => annals_wal::Durability::Synced,
            Durability::Buffered => annals_wal::Durability::Written,
        };
        let (through, done) = match self.wal.commit(mode) {
            Ok(None) => return false,
            Ok(Some(committed)) => {
                let through = Lsn(committed.last.0);
                self.committed.store(through.0, Ordering::Release);
                let mut pending = self.pending.lock();
                let count = pending.batches.partition_point(|(lsn, _)| *lsn <= through);
                (through, pending.batches.drain(..count).collect::<Vec<_>>())
            }
            Err(error) => {
                self.counters.log_failures.add(1);
                self.fail_waiting(&failed(&error));
                return false;
            }
        };
        self.counters.log_commits.add(1);
        for (lsn, pending) in done {
            let PendingBatch { tenant, batch, epoch, metrics, rows, bytes, mut acknowledgement, ticket } =
                pending;
            self.counters.log_bytes.add(bytes as u64);
            let samples = metrics.samples.len() + metrics.histograms.len();
            self.counters.samples.add(samples as u64);
            self.counters.signals.add(rows.len() as u64);
            for counts in [&self.counters.intake, &tenant.intake] {
                counts.written(&acknowledgement);
            }
            {
                let mut data = tenant.data.write();
                // Taken before its tenant was erased, and gone with it.
                if !tenant.is_erased() {
                    grow(data.apply(epoch, lsn, batch.written, &metrics, rows));
                }
            }
            tenant.batches.lock().remember(batch, lsn);
            acknowledgement.lsn = Some(lsn);
            ticket.resolve(Ok(acknowledgement));
        }
        *self.applied.lock() = through;
        self.progress.notify_all();
        true
    }

    /// Every record up to this one is in a head or in blocks, or has failed.
    pub(crate) fn applied(&self) -> Lsn {
        *self.applied.lock()
    }

    /// The last record that was written, synced where that was promised.
    pub(crate) fn committed(&self) -> Lsn {
        Lsn(self.committed.load(Ordering::Acquire))
    }

    /// Waits until every batch up to `lsn` is applied or has failed. Where no thread commits, or none any more, it
    /// commits.
    pub(crate) fn wait_applied(&self, lsn: Lsn, drive: &dyn Fn() -> bool, grow: &dyn Fn(usize)) {
        loop {
            let mut applied = self.applied.lock();
            if *applied >= lsn {
                return;
            }
            if drive() {
                drop(applied);
                // Nothing was committed: what was waited for has failed, together with the log.
                if !self.step(grow) {
                    return;
                }
            } else {
                // The thread that commits may end while this one waits.
                self.progress.wait_for(&mut applied, DRIVE_LOOK);
            }
        }
    }

    /// Answers every pending batch with an error, once the step that runs is over: what it committed and has not applied
    /// yet would else be passed by [`applied`](Self::applied), and a flush could let the log forget it.
    pub(crate) fn fail_all(&self, error: &WriteError) {
        let _step = self.step.lock();
        self.fail_waiting(error);
    }

    /// Commits what waits, seals the log, and answers what was queued too late. No step runs meanwhile, so that each batch
    /// is applied by the step that committed it, or failed here, and none is both durable and forgotten by a step.
    pub(crate) fn close(&self) -> Result<(), CommitError> {
        let _step = self.step.lock();
        let closed = self.wal.close();
        // Queued in the very moment of closing: the log may have taken it with its seal.
        self.fail_waiting(&WriteError::Indeterminate("the store was closed meanwhile".to_owned()));
        closed.map(|_| ())
    }

    /// Within a step, or instead of one.
    fn fail_waiting(&self, error: &WriteError) {
        let (failed, last) = {
            let mut pending = self.pending.lock();
            pending.generation += u64::from(!planted(Bug::GenerationKept));
            // Queued since the failure: encoded against a generation that is over, and never to be written.
            self.wal.refuse_waiting();
            (std::mem::take(&mut pending.batches), Lsn(self.wal.last_enqueued().0))
        };
        for (_, pending) in failed {
            for counts in [&self.counters.intake, &pending.tenant.intake] {
                counts.failed(error);
            }
            pending.tenant.batches.lock().forget(&pending.batch.site, pending.batch.id);
            pending.ticket.resolve(Err(error.clone()));
        }
        let mut applied = self.applied.lock();
        *applied = last.max(*applied);
        self.progress.notify_all();
    }
}

fn refused(error: &EnqueueError) -> WriteError {
    match error {
        EnqueueError::TooLarge { bytes, limit } => {
            WriteError::RecordTooLarge { bytes: *bytes, limit: u64::from(*limit) }
        }
        EnqueueError::QueueFull { limit, .. } => {
            WriteError::Overloaded { what: "the queue for the log", limit: *limit }
        }
        EnqueueError::LogFull { limit, .. } => WriteError::Overloaded { what: "the log", limit: *limit },
        EnqueueError::Closed => WriteError::Closed,
        other => WriteError::Failed(other.to_string()),
    }
}

fn failed(error: &CommitError) -> WriteError {
    match error {
        CommitError::NoSpace { .. } => WriteError::NoSpace(error.to_string()),
        CommitError::NoSegment { .. } => WriteError::NotWritten(error.to_string()),
        CommitError::Failed => WriteError::Failed(error.to_string()),
        CommitError::Closed => WriteError::Closed,
        other => WriteError::Indeterminate(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use annals_vfs::{SimEntropy, SimVfs};

    use super::*;

    fn queue() -> CommitQueue {
        let vfs = SimVfs::new();
        vfs.make_dirs(["/wal", "/tmp", "/quarantine"]);
        let place = annals_wal::Place {
            directory: "/wal".into(),
            temporary: "/tmp".into(),
            quarantine: "/quarantine".into(),
            root_id: [1; 16],
        };
        let (options, floor) = (annals_wal::Options::default(), annals_wal::Lsn(0));
        let (wal, _) = Wal::open(Arc::new(vfs), &SimEntropy::new(1), place, &options, floor, &mut |_| {})
            .expect("an empty log opens");
        CommitQueue::new(wal, Durability::Synced, Arc::default())
    }

    #[test]
    fn a_failure_does_not_overtake_the_step_that_runs() {
        let queue = Arc::new(queue());
        let lsn = Lsn(queue.wal.enqueue(BATCH, vec![0; 8]).expect("queued").0);
        let before = queue.applied();
        // A step that has committed the record and has not applied it.
        let step = queue.step.lock();
        queue.wal.commit(annals_wal::Durability::Synced).expect("committed");
        let failing = std::thread::spawn({
            let queue = queue.clone();
            move || queue.fail_all(&WriteError::Closed)
        });
        std::thread::sleep(Duration::from_millis(30));
        assert_eq!(queue.applied(), before, "a flush could let the log forget {lsn:?}");
        drop(step);
        failing.join().expect("it ends");
        assert_eq!(queue.applied(), lsn);
    }

    #[test]
    fn who_waits_for_a_commit_thread_that_has_ended_commits_itself() {
        let queue = Arc::new(queue());
        let lsn = Lsn(queue.wal.enqueue(BATCH, vec![0; 8]).expect("queued").0);
        let ended = Arc::new(AtomicBool::new(false));
        let (done, waited) = std::sync::mpsc::channel();
        std::thread::spawn({
            let (queue, ended) = (queue.clone(), ended.clone());
            move || {
                queue.wait_applied(lsn, &|| ended.load(Ordering::Acquire), &|_| {});
                done.send(()).expect("the test waits");
            }
        });
        assert!(waited.recv_timeout(Duration::from_millis(30)).is_err(), "a thread may still commit");
        ended.store(true, Ordering::Release);
        waited.recv_timeout(Duration::from_secs(30)).expect("it does not wait for ever");
        assert_eq!(queue.applied(), lsn);
    }
}
