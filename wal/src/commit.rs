//! Group commit: what waits goes into the active segment by one write and one sync.
//!
//! The writer moves through these states; each arrow is one failure or one full segment:
//!
//! ```text
//!            full: next segment ready ──> sync, close, activate next ──> append there
//!          ┌──────────────────────────────────────────────────────────────────┐
//!   append ┤ full, and no next segment can be made: refuse what waits (NoSpace, NoSegment); nothing was
//!          │ written, the active segment stays as it is, the refused LSNs become a gap
//!          └ write or sync failed: close at the last durable offset, activate the next segment, write all that is
//!            not durable there, sync ──> as if nothing had happened
//!                                   └ that failed too: Indeterminate; the log has failed
//! ```
//!
//! - From the moment that a successor's activation is tried, nothing more is written to a segment: the successor's
//!   header may be on disk, and it says where this one ends.
//! - A record stays in `pending`, payload and all, until a sync covered it, so that it can be written again.
//! - LSNs are never given out twice. Those of refused records are explained by a gap frame before the next record,
//!   or by the first LSN of the next segment.

use std::io;
use std::path::PathBuf;

use annals_vfs::Vfs;
use annals_vfs::sync::Mutex;

use crate::error::{CommitError, WalError};
use crate::frame::{FRAME_HEADER_BYTES, Frame, FrameType, GAP_UNWRITTEN};
use crate::header::{Activation, Previous};
use crate::lsn::{Lsn, LsnSpan};
use crate::queue::{Entry, Queue};
use crate::segment::{Active, Provision, Standby};
use crate::segments::{SegmentRange, Segments};

/// What of a write buffer is kept between commits.
const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// When a commit counts as done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After a sync: the records survive a power cut.
    Synced,
    /// After the write: the records survive the process, and survive a power cut after the next sync.
    Written,
}

/// What a commit needs besides its own state. All shared with other threads.
pub(crate) struct Shared<'w> {
    pub(crate) vfs: &'w dyn Vfs,
    pub(crate) queue: &'w Queue,
    pub(crate) provision: &'w Mutex<Provision>,
    pub(crate) segments: &'w Mutex<Segments>,
    pub(crate) pending_bytes_max: u64,
}

/// The state of the one thread that commits.
pub(crate) struct Writer {
    active: Option<Active>,
    /// Facts of the last closed segment, for the next header. Meaningful while there is no active one.
    closed: Previous,
    /// Not durable yet, oldest first; the first `written` of them are in the active segment.
    pending: Vec<Entry>,
    pending_bytes: u64,
    written: usize,
    buffer: Vec<u8>,
    pub(crate) deferred: Option<CommitError>,
}

impl Writer {
    pub(crate) fn new(active: Option<Active>, closed: Previous) -> Writer {
        Writer {
            active,
            closed,
            pending: Vec::new(),
            pending_bytes: 0,
            written: 0,
            buffer: Vec::new(),
            deferred: None,
        }
    }

    /// Commits waiting records through `target`, as many as fit into one segment. `None` when there are none.
    pub(crate) fn round(
        &mut self,
        shared: &Shared<'_>,
        target: Lsn,
        durability: Durability,
        durable: &mut dyn FnMut(Lsn),
    ) -> Result<Option<LsnSpan>, CommitError> {
        let Some((first_bytes, first)) = shared.queue.front(target) else {
            return if durability == Durability::Synced {
                self.sync_pending(shared, durable)
            } else {
                Ok(None)
            };
        };
        if self.room() < first_bytes {
            self.rotate(shared, first_bytes, first, durable)?;
        }
        let room = self.room();
        shared.queue.take(target, room, &mut self.pending);
        let new = self.pending.get(self.written..).unwrap_or(&[]);
        let added = new.first().zip(new.last()).and_then(|(first, last)| LsnSpan::new(first.lsn, last.lsn));
        self.pending_bytes += new.iter().map(Entry::frames_bytes).sum::<u64>();
        let sync = durability == Durability::Synced || self.pending_bytes > shared.pending_bytes_max;
        if let Err(source) = self.write_pending() {
            let span = self.replace(shared, None, source, durable)?;
            return Ok(if sync { span } else { added });
        }
        self.report_active(shared);
        if sync {
            let span = self.sync_pending(shared, durable)?;
            return Ok(if durability == Durability::Synced { span } else { added });
        }
        Ok(added)
    }

    /// Makes durable what was only written.
    pub(crate) fn sync_pending(
        &mut self,
        shared: &Shared<'_>,
        durable: &mut dyn FnMut(Lsn),
    ) -> Result<Option<LsnSpan>, CommitError> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        match self.sync_active() {
            Ok(()) => Ok(self.settle(durable)),
            Err(source) => self.replace(shared, None, source, durable),
        }
    }

    /// Says by a frame that everything is durable, if something became durable since the last such frame.
    pub(crate) fn mark(&mut self, shared: &Shared<'_>, frame_type: FrameType) -> Result<bool, CommitError> {
        assert!(self.pending.is_empty(), "a mark follows a sync");
        let Some(active) = &mut self.active else { return Ok(false) };
        if !active.unmarked && frame_type == FrameType::Watermark {
            return Ok(false);
        }
        match active.mark(frame_type, &mut self.buffer) {
            Ok(()) => {
                if frame_type == FrameType::Seal {
                    self.close_active(shared);
                } else {
                    self.report_active(shared);
                }
                Ok(true)
            }
            Err(source) => {
                let source = WalError::io("mark", &active.path, source);
                shared.segments.lock().count_abandoned(source.to_string());
                self.close_active(shared);
                Err(CommitError::Unmarked { source })
            }
        }
    }

    /// Leaves the last segment, where it has records, for a new one that begins at `first`.
    pub(crate) fn leave(
        &mut self,
        shared: &Shared<'_>,
        first: Lsn,
        durable: &mut dyn FnMut(Lsn),
    ) -> Result<(), CommitError> {
        self.sync_pending(shared, durable)?;
        let has_records = match &self.active {
            Some(active) => active.written.last >= active.first,
            None => shared.segments.lock().count() > 0,
        };
        if !has_records {
            return Ok(());
        }
        let standby = shared.provision.lock().take(shared.vfs, 0);
        standby
            .and_then(|standby| self.activate(shared, standby, first))
            .map_err(|source| CommitError::NotRotated { source })
    }

    /// Where the active segment is, if there is one.
    fn active_path(&self) -> Option<PathBuf> {
        self.active.as_ref().map(|active| active.path.clone())
    }

    fn room(&self) -> u64 {
        self.active.as_ref().map_or(0, Active::room)
    }

    /// Goes on to a new segment. Errors are determinate for all that waits in the queue, and it is refused.
    fn rotate(
        &mut self,
        shared: &Shared<'_>,
        frames_bytes: u64,
        first: Lsn,
        durable: &mut dyn FnMut(Lsn),
    ) -> Result<(), CommitError> {
        // First of all: where this fails, the active segment goes on with smaller records.
        let take = || shared.provision.lock().take(shared.vfs, frames_bytes);
        let mut standby = take().map_err(|source| Writer::refuse(shared, first, source))?;
        if !self.pending.is_empty() {
            match self.sync_active() {
                Ok(()) => {
                    self.settle(durable);
                }
                Err(source) => {
                    self.replace(shared, Some(standby), source, durable)?;
                    if self.room() >= frames_bytes {
                        return Ok(());
                    }
                    standby = take().map_err(|source| Writer::refuse(shared, first, source))?;
                }
            }
        }
        self.activate(shared, standby, first).map_err(|source| Writer::refuse(shared, first, source))
    }

    /// Refuses what waits, from `first` on; nothing of it was written.
    fn refuse(shared: &Shared<'_>, first: Lsn, source: WalError) -> CommitError {
        let lsns = shared.queue.refuse_all().unwrap_or(LsnSpan { first, last: first });
        if source.is_no_space() {
            CommitError::NoSpace { lsns, source }
        } else {
            CommitError::NoSegment { lsns, source }
        }
    }

    /// Closes the active segment where it is durable, and makes another one active.
    fn activate(&mut self, shared: &Shared<'_>, standby: Standby, first: Lsn) -> Result<(), WalError> {
        self.close_active(shared);
        let path = standby.path.clone();
        let active = standby.activate(Activation { first, previous: self.closed, superseded: 0 });
        let active = active.inspect_err(|_| {
            // No frame went in, so nothing depends on whether this succeeds: the next open ignores and removes it.
            let _ = shared.vfs.unlink(&path);
        })?;
        shared.segments.lock().open(active.number, active.path.clone(), active.first, active.file_bytes);
        self.active = Some(active);
        self.report_active(shared);
        Ok(())
    }

    /// From here on nothing is written to the active segment, and what follows its last durable frame is void.
    fn close_active(&mut self, shared: &Shared<'_>) {
        let Some(active) = self.active.take() else { return };
        self.closed = active.durable.previous(active.number);
        let mut segments = shared.segments.lock();
        segments.close(active.durable.last);
        shared.queue.set_closed_bytes(segments.closed_bytes());
        shared.queue.set_active_bytes(0);
    }

    fn report_active(&self, shared: &Shared<'_>) {
        let used = self.active.as_ref().map_or(0, |active| active.written.offset);
        shared.queue.set_active_bytes(used);
        shared.segments.lock().set_used(used);
    }

    /// Writes what is pending and not written, with one write.
    fn write_pending(&mut self) -> io::Result<()> {
        let Some(active) = &mut self.active else { return Err(io::Error::other("no segment is active")) };
        let durable = active.durable.last;
        let mut batch = active.batch(&mut self.buffer);
        for entry in self.pending.iter().skip(self.written) {
            let frame = Frame { frame_type: FrameType::Record, kind: entry.kind, lsn: entry.lsn, durable };
            batch.push_record(frame, &entry.payload, GAP_UNWRITTEN);
        }
        if batch.bytes() > 0 {
            active.write(&batch)?;
        }
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        self.written = self.pending.len();
        Ok(())
    }

    fn sync_active(&mut self) -> io::Result<()> {
        self.active.as_mut().map_or(Ok(()), Active::sync)
    }

    /// Everything pending is durable.
    fn settle(&mut self, durable: &mut dyn FnMut(Lsn)) -> Option<LsnSpan> {
        let span = self.pending.first().zip(self.pending.last()).map(|(first, last)| (first.lsn, last.lsn));
        self.pending.clear();
        self.pending_bytes = 0;
        self.written = 0;
        let (first, last) = span?;
        durable(last);
        LsnSpan::new(first, last)
    }

    /// After a failed write or sync: writes and syncs all that is pending in the next segment.
    fn replace(
        &mut self,
        shared: &Shared<'_>,
        standby: Option<Standby>,
        source: io::Error,
        durable: &mut dyn FnMut(Lsn),
    ) -> Result<Option<LsnSpan>, CommitError> {
        // The failure itself is counted, not returned: it becomes the caller's only if the second try fails too.
        let failure = WalError::io("write", &self.active_path().unwrap_or_default(), source);
        shared.segments.lock().count_abandoned(failure.to_string());
        match self.rewrite(shared, standby) {
            Ok(()) => Ok(self.settle(durable)),
            Err(source) => {
                let first = self.pending.first().map_or(Lsn(0), |entry| entry.lsn);
                self.close_active(shared);
                self.pending.clear();
                self.pending_bytes = 0;
                self.written = 0;
                let last = shared.queue.fail();
                let lsns = LsnSpan { first, last: last.max(first) };
                Err(CommitError::Indeterminate { lsns, source })
            }
        }
    }

    fn rewrite(&mut self, shared: &Shared<'_>, standby: Option<Standby>) -> Result<(), WalError> {
        self.close_active(shared);
        self.written = 0;
        let bytes = self.pending.iter().map(Entry::frames_bytes).sum::<u64>() + FRAME_HEADER_BYTES as u64;
        let standby = match standby {
            Some(standby) if standby.frames_bytes_max() >= bytes => standby,
            too_small => {
                too_small.into_iter().for_each(|standby| standby.discard(shared.vfs));
                shared.provision.lock().take(shared.vfs, bytes)?
            }
        };
        let first = self.pending.first().map_or(self.closed.last.next(), |entry| entry.lsn);
        self.activate(shared, standby, first)?;
        let failed = |path: Option<PathBuf>, source| WalError::io("write", &path.unwrap_or_default(), source);
        self.write_pending().map_err(|source| failed(self.active_path(), source))?;
        self.sync_active().map_err(|source| failed(self.active_path(), source))?;
        self.report_active(shared);
        Ok(())
    }
}

/// What [`Segments`] starts from.
pub(crate) fn range(active: &Active) -> SegmentRange {
    SegmentRange {
        number: active.number,
        path: active.path.clone(),
        first: active.first,
        last: active.written.last,
        file_bytes: active.file_bytes,
        used_bytes: active.written.offset,
    }
}
