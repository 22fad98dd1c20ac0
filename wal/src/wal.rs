//! The log as its owner sees it.
//!
//! Locks, and the order in which they may be taken together: `writer` (held during a commit's I/O), then `provision`
//! (held while a segment is made), then `segments`, then the queue's. The last two are never held during I/O, and
//! [`Wal::enqueue`] takes the queue's alone.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use annals_vfs::sync::Mutex;
use annals_vfs::sync::atomic::{AtomicU64, Ordering};
use annals_vfs::{Entropy, Vfs};

use crate::commit::{Durability, Shared, Writer};
use crate::error::{CommitError, EnqueueError, WalError};
use crate::frame::FrameType;
use crate::lsn::{Lsn, LsnSpan};
use crate::queue::{Queue, State};
use crate::recover::{RecoveryReport, recover};
use crate::segment::Provision;
use crate::segments::Segments;

/// The smallest segment that is of use.
const SEGMENT_BYTES_MIN: u64 = 8 << 10;
/// What a segment holds besides its largest record, rounded up.
const SEGMENT_OVERHEAD_BYTES: u64 = 16 << 10;

/// Sizes and limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The length of the first segment that a process makes; each further one is twice as long as the one before.
    pub first_segment_bytes: u64,
    /// Segments get no longer than this, unless for a single larger record.
    pub segment_bytes_max: u64,
    /// Enqueues are refused when closed segments, the used part of the active one and the queue hold more. The disk
    /// holds up to two segments beyond it: the unused part of the active one, and the one made ahead of need.
    pub log_bytes_max: u64,
    /// A record's payload is at most so long.
    pub record_bytes_max: u32,
    /// Enqueues are refused when more than this waits to be committed. Also how much may be written and not synced.
    pub queue_bytes_max: u64,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            first_segment_bytes: 1 << 20,
            segment_bytes_max: 64 << 20,
            log_bytes_max: 1 << 30,
            record_bytes_max: 64 << 20,
            queue_bytes_max: 64 << 20,
        }
    }
}

impl Options {
    fn check(&self) -> Result<(), WalError> {
        let largest = self.segment_bytes_max.max(u64::from(self.record_bytes_max)) + SEGMENT_OVERHEAD_BYTES;
        let rules = [
            ("first_segment_bytes", self.first_segment_bytes, SEGMENT_BYTES_MIN, "at least 8 KiB"),
            (
                "segment_bytes_max",
                self.segment_bytes_max,
                self.first_segment_bytes,
                "at least first_segment_bytes",
            ),
            ("record_bytes_max", self.record_bytes_max.into(), 1, "at least 1"),
            ("queue_bytes_max", self.queue_bytes_max, 1, "at least 1"),
            (
                "log_bytes_max",
                self.log_bytes_max,
                2 * largest,
                "at least twice the larger of segment_bytes_max and record_bytes_max, and 32 KiB",
            ),
        ];
        match rules.into_iter().find(|(_, value, least, _)| value < least) {
            Some((option, value, _, rule)) => Err(WalError::InvalidOption { option, value, rule }),
            // So that sums of limits stay far from the type's end.
            None if self.log_bytes_max > 1 << 56 => Err(WalError::InvalidOption {
                option: "log_bytes_max",
                value: self.log_bytes_max,
                rule: "at most 2^56",
            }),
            None => Ok(()),
        }
    }
}

/// Where a log lives. All three directories are on one file system; those that are missing are created at open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Holds the segments and nothing else.
    pub directory: PathBuf,
    /// For drafts. Those named like segments are removed at open.
    pub temporary: PathBuf,
    /// For files that cannot be used: they are renamed into it, never deleted.
    pub quarantine: PathBuf,
    /// Which root this is; in the header of every segment.
    pub root_id: [u8; 16],
}

/// A record read from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number.
    pub lsn: Lsn,
    /// As given at enqueue.
    pub kind: u8,
    /// As given at enqueue.
    pub payload: &'a [u8],
}

/// What the log holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalStatus {
    /// Segments, the active one included.
    pub segments: usize,
    /// What they take on disk, without the one made ahead of need.
    pub file_bytes: u64,
    /// The longest of them.
    pub segment_bytes_max: u64,
    /// The first LSN of the oldest segment, unless there is none.
    pub first: Option<Lsn>,
    /// How many segments were closed early since open because a write or sync failed. Not zero: look at the disk.
    pub abandoned: u64,
    /// How the last of them failed.
    pub last_failure: Option<String>,
}

/// A write-ahead log, open for writing. The caller holds the root's lock.
///
/// - LSNs at or below [`durable`](Self::durable) are durable, or were refused; made by `commit` after its sync.
/// - Records become durable in the order of their LSNs.
pub struct Wal {
    vfs: Arc<dyn Vfs>,
    place: Place,
    pending_bytes_max: u64,
    writer: Mutex<Writer>,
    provision: Mutex<Provision>,
    segments: Mutex<Segments>,
    queue: Queue,
    durable: AtomicU64,
    /// Held by the one truncation that runs.
    truncation: Mutex<()>,
}

impl fmt::Debug for Wal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wal")
            .field("directory", &self.place.directory)
            .field("durable", &self.durable())
            .finish()
    }
}

impl Wal {
    /// Opens a log, creating it where there is none, and hands out all its records, oldest first.
    ///
    /// `floor` is the highest LSN that the caller knows of from elsewhere: new LSNs are above it even where the
    /// segments that held it are gone.
    pub fn open(
        vfs: Arc<dyn Vfs>,
        entropy: &dyn Entropy,
        place: Place,
        options: &Options,
        floor: Lsn,
        on_record: &mut dyn FnMut(Record<'_>),
    ) -> Result<(Wal, RecoveryReport), WalError> {
        options.check()?;
        for directory in [&place.directory, &place.temporary, &place.quarantine] {
            ensure_directory(&*vfs, directory)?;
        }
        let recovered = recover(&*vfs, entropy, &place, options, floor, on_record)?;
        let last = recovered.report.last;
        // Less than the last number that was given out, where the rest of those were refused, or went with their segments.
        let durable = recovered.closed.last;
        let segments = Segments::new(recovered.ranges, recovered.active.is_some());
        let queue = Queue::new(options, last);
        queue.set_closed_bytes(segments.closed_bytes());
        queue.set_active_bytes(recovered.active.as_ref().map_or(0, |active| active.written.offset));
        let wal = Wal {
            vfs,
            place,
            pending_bytes_max: options.queue_bytes_max,
            writer: Mutex::new(Writer::new(recovered.active, recovered.closed)),
            provision: Mutex::new(recovered.provision),
            segments: Mutex::new(segments),
            queue,
            durable: AtomicU64::new(durable.0),
            truncation: Mutex::new(()),
        };
        Ok((wal, recovered.report))
    }

    /// Queues a record for the next commit. Does no I/O.
    pub fn enqueue(&self, kind: u8, payload: Vec<u8>) -> Result<Lsn, EnqueueError> {
        let payload_bytes = payload.len();
        self.queue.enqueue_with(kind, payload_bytes, |_| payload)
    }

    /// As [`enqueue`](Self::enqueue), for a payload that depends on its LSN: one sealed with the LSN as nonce.
    ///
    /// `build` runs under the lock that orders records, so it should be quick, and must not call this log.
    /// `payload_bytes` says how long the payload will be, for the limits that are checked before it is built.
    pub fn enqueue_with(
        &self,
        kind: u8,
        payload_bytes: usize,
        build: impl FnOnce(Lsn) -> Vec<u8>,
    ) -> Result<Lsn, EnqueueError> {
        self.queue.enqueue_with(kind, payload_bytes, build)
    }

    /// Refuses what waits to be committed and says which records that were: for an owner whose later records depend
    /// on earlier ones that failed.
    pub fn refuse_waiting(&self) -> Option<LsnSpan> {
        self.queue.refuse_all()
    }

    /// Commits all that was queued when it was called, and says which records that were; `None` if there were none.
    /// One write and one sync, unless a segment fills up in between.
    ///
    /// With [`Durability::Synced`] that includes what was only written before. An error concerns the LSNs that it
    /// names; where others were committed before it struck, they are returned and the error comes from the next call.
    pub fn commit(&self, durability: Durability) -> Result<Option<LsnSpan>, CommitError> {
        let mut writer = self.writer.lock();
        if let Some(error) = writer.deferred.take() {
            self.queue.set_deferred(false);
            return Err(error);
        }
        if self.queue.state() == State::Failed {
            return Err(CommitError::Failed);
        }
        let target = self.queue.last();
        let mut committed: Option<LsnSpan> = None;
        loop {
            let round = writer.round(&self.shared(), target, durability, &mut |lsn| self.set_durable(lsn));
            match (round, committed) {
                (Ok(None), _) => return Ok(committed),
                (Ok(Some(span)), Some(earlier)) => {
                    committed = Some(LsnSpan { first: earlier.first.min(span.first), last: span.last });
                }
                (Ok(Some(span)), None) => committed = Some(span),
                (Err(error), Some(_)) => {
                    writer.deferred = Some(error);
                    self.queue.set_deferred(true);
                    return Ok(committed);
                }
                (Err(error), None) => return Err(error),
            }
        }
    }

    /// Makes durable what was only written, and says which records that were.
    pub fn sync(&self) -> Result<Option<LsnSpan>, CommitError> {
        let mut writer = self.writer.lock();
        if self.queue.state() == State::Failed {
            return Err(CommitError::Failed);
        }
        writer.sync_pending(&self.shared(), &mut |lsn| self.set_durable(lsn))
    }

    /// Waits until there is something to commit, the log is closed or has failed, or the time is over. Says whether
    /// there is something to commit.
    pub fn wait_for_work(&self, timeout: Duration) -> bool {
        self.queue.wait(timeout)
    }

    /// The highest LSN such that it and all before it are durable, or were refused.
    pub fn durable(&self) -> Lsn {
        Lsn(self.durable.load(Ordering::Acquire))
    }

    /// The last LSN that was given out.
    pub fn last_enqueued(&self) -> Lsn {
        self.queue.last()
    }

    /// For idle moments: writes and syncs a watermark if anything became durable since the last one, after making
    /// durable what was only written. Does nothing while records wait. Says whether it wrote one.
    ///
    /// A watermark lets readers in other processes see the last commit, spares the next open its copy, and tells
    /// damage of the last commit from a torn tail.
    pub fn watermark(&self) -> Result<bool, CommitError> {
        let mut writer = self.writer.lock();
        match self.queue.state() {
            State::Failed => return Err(CommitError::Failed),
            State::Closed => return Err(CommitError::Closed),
            State::Open => {}
        }
        if !self.queue.is_empty() {
            return Ok(false);
        }
        writer.sync_pending(&self.shared(), &mut |lsn| self.set_durable(lsn))?;
        writer.mark(&self.shared(), FrameType::Watermark)
    }

    /// Makes the next segment ahead of need, unless there is one. A commit that finds none makes one itself.
    pub fn prepare(&self) -> Result<(), WalError> {
        if self.queue.state() != State::Open {
            return Ok(());
        }
        self.provision.lock().prepare(&*self.vfs)
    }

    /// Goes on in a new segment, so that [`truncate`](Self::truncate) can let go of all records up to now. Does nothing
    /// where the last one has none. Nothing is lost by an error: the log goes on where it can.
    pub fn rotate(&self) -> Result<(), CommitError> {
        let mut writer = self.writer.lock();
        match self.queue.state() {
            State::Failed => return Err(CommitError::Failed),
            State::Closed => return Err(CommitError::Closed),
            State::Open => {}
        }
        // In this order: what is queued meanwhile comes after both.
        let last = self.queue.last();
        let first = self.queue.front(last).map_or(last.next(), |(_, lsn)| lsn);
        writer.leave(&self.shared(), first, &mut |lsn| self.set_durable(lsn))
    }

    /// Removes the segments whose every record is at or below `floor`, oldest first, but never the last one. Says how
    /// many bytes that freed.
    ///
    /// The directory is synced after each removal: whatever a crash undoes, what is left has no hole.
    pub fn truncate(&self, floor: Lsn) -> Result<u64, WalError> {
        let _one_at_a_time = self.truncation.lock();
        let mut freed = 0;
        loop {
            let Some(oldest) = self.segments.lock().removable(floor).cloned() else { return Ok(freed) };
            match self.vfs.unlink(&oldest.path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(WalError::io("remove", &oldest.path, source));
                }
                _ => {}
            }
            self.vfs
                .sync_dir(&self.place.directory)
                .map_err(|source| WalError::io("sync", &self.place.directory, source))?;
            freed += oldest.file_bytes;
            let mut segments = self.segments.lock();
            segments.remove_oldest(oldest.number);
            self.queue.set_closed_bytes(segments.closed_bytes());
        }
    }

    /// The last record of the segment that goes next: it stays as long as a record up to this one is needed. `None` where
    /// there is only the one that is written to.
    pub fn next_to_go(&self) -> Option<Lsn> {
        self.segments.lock().removable(Lsn(u64::MAX)).map(|oldest| oldest.last)
    }

    /// Whether the log takes no more records until the root is opened again.
    pub fn has_failed(&self) -> bool {
        self.queue.state() == State::Failed
    }

    /// What the log holds.
    pub fn status(&self) -> WalStatus {
        let segments = self.segments.lock();
        WalStatus {
            segments: segments.count(),
            file_bytes: segments.file_bytes(),
            segment_bytes_max: segments.longest_bytes(),
            first: segments.first(),
            abandoned: segments.abandoned,
            last_failure: segments.last_failure.clone(),
        }
    }

    /// How many bytes of the log are kept for records above `lsn`: whose flush would let them go.
    pub fn bytes_after(&self, lsn: Lsn) -> u64 {
        self.segments.lock().bytes_after(lsn)
    }

    /// Closes the log: takes no more records, commits what waits, and seals the end, so that the next open need not
    /// copy anything. Dropping a log without closing it loses only what was not committed.
    pub fn close(&self) -> Result<Option<LsnSpan>, CommitError> {
        if self.queue.state() == State::Failed {
            return Err(CommitError::Failed);
        }
        let first_close = self.queue.state() == State::Open;
        self.queue.close();
        let committed = self.commit(Durability::Synced)?;
        let mut writer = self.writer.lock();
        if let Some(error) = writer.deferred.take() {
            return Err(error);
        }
        if first_close {
            writer.mark(&self.shared(), FrameType::Seal)?;
            self.provision.lock().release(&*self.vfs);
        }
        Ok(committed)
    }

    fn shared(&self) -> Shared<'_> {
        Shared {
            vfs: &*self.vfs,
            queue: &self.queue,
            provision: &self.provision,
            segments: &self.segments,
            pending_bytes_max: self.pending_bytes_max,
        }
    }

    fn set_durable(&self, lsn: Lsn) {
        self.durable.fetch_max(lsn.0, Ordering::AcqRel);
    }
}

/// Creates a directory, durably, where it is missing.
fn ensure_directory(vfs: &dyn Vfs, directory: &Path) -> Result<(), WalError> {
    match vfs.list(directory) {
        Ok(_) => Ok(()),
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
            vfs.create_dir(directory).map_err(|source| WalError::io("create", directory, source))?;
            let Some(parent) = directory.parent() else { return Ok(()) };
            vfs.sync_dir(parent).map_err(|source| WalError::io("sync", parent, source))
        }
        Err(source) => Err(WalError::io("list", directory, source)),
    }
}
