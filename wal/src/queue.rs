//! Records that wait to be committed. The only lock that [`Wal::enqueue`](crate::Wal::enqueue) takes, never held
//! during I/O.
//!
//! - LSNs of waiting records are consecutive: made by [`Queue::enqueue_with`], and nothing but a prefix or all is
//!   ever taken out.
//! - `waiting_bytes` is what they take as frames; one method adds, two subtract.

use std::collections::VecDeque;
use std::time::Duration;

use annals_vfs::sync::{Condvar, Mutex};

use crate::error::{EnqueueError, LSN_MAX};
use crate::lsn::{Lsn, LsnSpan};
use crate::segment::record_bytes;
use crate::wal::Options;

/// A record between enqueue and durability.
pub(crate) struct Entry {
    pub(crate) lsn: Lsn,
    pub(crate) kind: u8,
    pub(crate) payload: Vec<u8>,
}

impl Entry {
    pub(crate) fn frames_bytes(&self) -> u64 {
        record_bytes(self.payload.len())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Failed,
    Closed,
}

struct Inner {
    entries: VecDeque<Entry>,
    waiting_bytes: u64,
    last: Lsn,
    state: State,
    /// Bytes of closed segments, and those used of the active one.
    closed_bytes: u64,
    active_bytes: u64,
    /// An error that the next commit is to report: there is something to do although nothing waits.
    deferred: bool,
}

pub(crate) struct Queue {
    inner: Mutex<Inner>,
    work: Condvar,
    queue_bytes_max: u64,
    log_bytes_max: u64,
    record_bytes_max: u32,
}

impl Queue {
    pub(crate) fn new(options: &Options, last: Lsn) -> Queue {
        Queue {
            inner: Mutex::new(Inner {
                entries: VecDeque::new(),
                waiting_bytes: 0,
                last,
                state: State::Open,
                closed_bytes: 0,
                active_bytes: 0,
                deferred: false,
            }),
            work: Condvar::new(),
            queue_bytes_max: options.queue_bytes_max,
            log_bytes_max: options.log_bytes_max,
            record_bytes_max: options.record_bytes_max,
        }
    }

    pub(crate) fn enqueue_with(
        &self,
        kind: u8,
        payload_bytes: usize,
        build: impl FnOnce(Lsn) -> Vec<u8>,
    ) -> Result<Lsn, EnqueueError> {
        let too_large =
            |bytes: usize| EnqueueError::TooLarge { bytes: bytes as u64, limit: self.record_bytes_max };
        let fits = |bytes: usize| u32::try_from(bytes).is_ok_and(|bytes| bytes <= self.record_bytes_max);
        if !fits(payload_bytes) {
            return Err(too_large(payload_bytes));
        }
        let mut inner = self.inner.lock();
        match inner.state {
            State::Open => {}
            State::Failed => return Err(EnqueueError::Failed),
            State::Closed => return Err(EnqueueError::Closed),
        }
        let bytes = record_bytes(payload_bytes);
        let (queued, limit) = (inner.waiting_bytes, self.queue_bytes_max);
        // An empty queue takes any record that is not too large by itself, so that each gets its turn.
        if queued > 0 && queued + bytes > limit {
            return Err(EnqueueError::QueueFull { queued, bytes, limit });
        }
        let (held, limit) = (inner.closed_bytes + inner.active_bytes + queued, self.log_bytes_max);
        if held + bytes > limit {
            return Err(EnqueueError::LogFull { held, bytes, limit });
        }
        if inner.last >= LSN_MAX {
            return Err(EnqueueError::Failed);
        }
        let lsn = inner.last.next();
        let payload = build(lsn);
        if !fits(payload.len()) {
            return Err(too_large(payload.len()));
        }
        let entry = Entry { lsn, kind, payload };
        inner.last = lsn;
        inner.waiting_bytes += entry.frames_bytes();
        inner.entries.push_back(entry);
        drop(inner);
        self.work.notify_one();
        Ok(lsn)
    }

    /// Waits until a commit has something to do or the log is no longer open. Says whether there is something to do.
    pub(crate) fn wait(&self, timeout: Duration) -> bool {
        let mut inner = self.inner.lock();
        let idle =
            |inner: &mut Inner| inner.entries.is_empty() && !inner.deferred && inner.state == State::Open;
        self.work.wait_while_for(&mut inner, idle, timeout);
        !inner.entries.is_empty() || inner.deferred
    }

    /// The bytes that the first waiting record takes at most, and its LSN, if one waits at or below `target`.
    pub(crate) fn front(&self, target: Lsn) -> Option<(u64, Lsn)> {
        let inner = self.inner.lock();
        let entry = inner.entries.front().filter(|entry| entry.lsn <= target)?;
        Some((entry.frames_bytes(), entry.lsn))
    }

    /// Moves waiting records up to `target` to the end of `into`, as long as they fit into `room`.
    pub(crate) fn take(&self, target: Lsn, mut room: u64, into: &mut Vec<Entry>) {
        let mut inner = self.inner.lock();
        while let Some(entry) = inner.entries.front()
            && entry.lsn <= target
            && entry.frames_bytes() <= room
            && let Some(entry) = inner.entries.pop_front()
        {
            room -= entry.frames_bytes();
            inner.waiting_bytes -= entry.frames_bytes();
            into.push(entry);
        }
    }

    /// Drops all that waits; says which LSNs that were.
    pub(crate) fn refuse_all(&self) -> Option<LsnSpan> {
        let mut inner = self.inner.lock();
        let span = inner.entries.front().zip(inner.entries.back()).map(|(first, last)| (first.lsn, last.lsn));
        inner.entries.clear();
        inner.waiting_bytes = 0;
        span.and_then(|(first, last)| LsnSpan::new(first, last))
    }

    /// Takes no more, and drops all that waits. Says what the last LSN is.
    pub(crate) fn fail(&self) -> Lsn {
        let mut inner = self.inner.lock();
        inner.state = State::Failed;
        inner.entries.clear();
        inner.waiting_bytes = 0;
        self.work.notify_all();
        inner.last
    }

    /// Takes no more; what waits can still be committed.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        if inner.state == State::Open {
            inner.state = State::Closed;
        }
        self.work.notify_all();
    }

    pub(crate) fn state(&self) -> State {
        self.inner.lock().state
    }

    pub(crate) fn last(&self) -> Lsn {
        self.inner.lock().last
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.inner.lock().entries.is_empty()
    }

    pub(crate) fn set_deferred(&self, deferred: bool) {
        self.inner.lock().deferred = deferred;
    }

    pub(crate) fn set_closed_bytes(&self, bytes: u64) {
        self.inner.lock().closed_bytes = bytes;
    }

    pub(crate) fn set_active_bytes(&self, bytes: u64) {
        self.inner.lock().active_bytes = bytes;
    }
}
