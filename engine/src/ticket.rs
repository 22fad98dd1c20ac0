//! Tickets: what a host holds while its batch is on its way to the disk.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use annals_model::{Lsn, Refusal, Verdict};
use annals_vfs::sync::{Condvar, Mutex};

use crate::error::WriteError;

/// How durable an acknowledged batch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is on the disk: it survives a power cut.
    Synced,
    /// It is with the operating system: it survives the end of the process, and a power cut once the next sync is done.
    Buffered,
}

/// What became of a batch that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledgement {
    /// How durable it is.
    pub durability: Durability,
    /// Its record in the log; `None` where nothing was logged: a duplicate, or every record refused.
    pub lsn: Option<Lsn>,
    /// The batch was counted before; nothing was counted now.
    pub duplicate: bool,
    /// How many records the batch has.
    pub records: usize,
    /// The records that were refused, by ascending index.
    pub refused: Vec<(usize, Refusal)>,
}

impl Acknowledgement {
    /// How many records were counted by this write.
    #[must_use]
    pub fn accepted(&self) -> usize {
        if self.duplicate { 0 } else { self.records - self.refused.len() }
    }

    /// A verdict per record, in the batch's order.
    pub fn verdicts(&self) -> impl Iterator<Item = Verdict> + '_ {
        let mut refused = self.refused.iter().peekable();
        (0..self.records).map(move |index| match refused.next_if(|(at, _)| *at == index) {
            Some((_, refusal)) => Verdict::Refused(refusal.clone()),
            None if self.duplicate => Verdict::Duplicate,
            None => Verdict::Accepted,
        })
    }
}

/// A batch on its way: wait for it, or await it. Dropping it does not take the batch back.
#[must_use = "a batch is acknowledged only by its ticket"]
pub struct Ticket {
    shared: Arc<TicketState>,
    /// Set where this ticket is of a retry: the first write's outcome becomes a duplicate's.
    retry: Option<usize>,
    /// Drives the log where the host runs no commit thread.
    drive: Option<Arc<dyn Fn() + Send + Sync>>,
}

/// The outcome, shared between the ticket, its retries and the commit.
pub(crate) struct TicketState {
    outcome: Mutex<Outcome>,
    done: Condvar,
}

struct Outcome {
    result: Option<Result<Acknowledgement, WriteError>>,
    wakers: Vec<Waker>,
}

impl TicketState {
    pub(crate) fn pending() -> Arc<TicketState> {
        Arc::new(TicketState {
            outcome: Mutex::new(Outcome { result: None, wakers: Vec::new() }),
            done: Condvar::new(),
        })
    }

    pub(crate) fn resolve(&self, result: Result<Acknowledgement, WriteError>) {
        let mut outcome = self.outcome.lock();
        outcome.result = Some(result);
        outcome.wakers.drain(..).for_each(Waker::wake);
        self.done.notify_all();
    }
}

impl Ticket {
    pub(crate) fn new(shared: Arc<TicketState>, drive: Option<Arc<dyn Fn() + Send + Sync>>) -> Ticket {
        Ticket { shared, retry: None, drive }
    }

    pub(crate) fn retry_of(
        shared: Arc<TicketState>,
        records: usize,
        drive: Option<Arc<dyn Fn() + Send + Sync>>,
    ) -> Ticket {
        Ticket { shared, retry: Some(records), drive }
    }

    pub(crate) fn resolved(acknowledgement: Acknowledgement) -> Ticket {
        let shared = TicketState::pending();
        shared.resolve(Ok(acknowledgement));
        Ticket::new(shared, None)
    }

    /// Waits until the batch is as durable as the store's options say.
    pub fn wait(self) -> Result<Acknowledgement, WriteError> {
        loop {
            let mut outcome = self.shared.outcome.lock();
            if let Some(result) = &outcome.result {
                return self.translate(result);
            }
            match &self.drive {
                Some(drive) => {
                    drop(outcome);
                    drive();
                }
                None => self.shared.done.wait(&mut outcome),
            }
        }
    }

    fn translate(&self, result: &Result<Acknowledgement, WriteError>) -> Result<Acknowledgement, WriteError> {
        let first = result.clone()?;
        Ok(match self.retry {
            None => first,
            Some(records) => {
                Acknowledgement { lsn: None, duplicate: true, records, refused: Vec::new(), ..first }
            }
        })
    }
}

impl Future for Ticket {
    type Output = Result<Acknowledgement, WriteError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(drive) = &self.drive
            && self.shared.outcome.lock().result.is_none()
        {
            drive();
        }
        let mut outcome = self.shared.outcome.lock();
        match &outcome.result {
            Some(result) => Poll::Ready(self.translate(result)),
            None => {
                let waker = context.waker();
                if !outcome.wakers.iter().any(|known| known.will_wake(waker)) {
                    outcome.wakers.push(waker.clone());
                }
                Poll::Pending
            }
        }
    }
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ticket")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_model::{FieldRef, RefusalReason};

    #[test]
    fn there_is_a_verdict_per_record() {
        let refusal = Refusal::at(RefusalReason::WrongType, FieldRef::Position(2));
        let acknowledgement = Acknowledgement {
            durability: Durability::Synced,
            lsn: Some(Lsn(1)),
            duplicate: false,
            records: 3,
            refused: vec![(1, refusal.clone())],
        };
        let verdicts: Vec<_> = acknowledgement.verdicts().collect();
        assert_eq!(verdicts, [Verdict::Accepted, Verdict::Refused(refusal), Verdict::Accepted]);
        assert_eq!(acknowledgement.accepted(), 2);
    }
}
