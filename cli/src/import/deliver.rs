//! Chunks to the store: several on their way at once, and chunks of a file that has grown cut where an earlier import
//! ended.
//!
//! A chunk whose id is known with other content was shorter when it was first imported. Where it ended is found by
//! writing longer and longer beginnings of it under the same id, until the store calls one a duplicate: nothing that
//! is written under a used id can count. What follows that beginning is a chunk of its own.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use annals::{Acknowledgement, SiteName, Tenant, Ticket, WriteError};

use super::chunk::{Batch, Chunk};
use super::summary::{LineCounts, Summary};
use crate::error::CliError;

/// Batches on their way at one time: enough to keep the log busy while lines are read.
const IN_FLIGHT_MAX: usize = 16;
/// How long a store that is over its limits is given, in all.
const OVERLOAD_PATIENCE: Duration = Duration::from_secs(60);
/// And between two tries.
const OVERLOAD_PAUSE: Duration = Duration::from_millis(50);

/// Delivers one file's chunks.
pub(super) struct Delivery<'a> {
    tenant: &'a Tenant,
    site: SiteName,
    /// Nothing is written: the store is asked what it would do.
    dry_run: bool,
    in_flight: VecDeque<Ticket>,
    summary: Summary,
    started: Instant,
}

/// What the store says to a batch at once.
enum Taken {
    Ticket(Ticket),
    Checked(Acknowledgement),
    Conflict,
}

impl<'a> Delivery<'a> {
    /// Starts a file.
    pub(super) fn new(tenant: &'a Tenant, site: SiteName, dry_run: bool) -> Delivery<'a> {
        Delivery {
            tenant,
            site,
            dry_run,
            in_flight: VecDeque::new(),
            summary: Summary::default(),
            started: Instant::now(),
        }
    }

    /// Takes a chunk.
    pub(super) fn chunk(&mut self, chunk: Chunk) -> Result<(), CliError> {
        let mut chunk = chunk;
        while chunk.records() > 0 {
            let batch = chunk.take_batch(&self.site);
            match self.write(&batch, &chunk)? {
                Taken::Ticket(ticket) => {
                    self.in_flight.push_back(ticket);
                    if self.in_flight.len() > IN_FLIGHT_MAX {
                        self.wait_for_one()?;
                    }
                    return Ok(());
                }
                Taken::Checked(acknowledgement) => {
                    self.count(&acknowledgement);
                    return Ok(());
                }
                Taken::Conflict => {
                    chunk.put_back(batch);
                    match self.imported_before(&chunk)? {
                        Some(lines) => chunk = chunk.after(lines),
                        None => {
                            self.summary.conflicting_lines += chunk.lines();
                            self.summary.first_conflict.get_or_insert(chunk.line_numbers());
                            return Ok(());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits for every batch that is on its way.
    pub(super) fn wait_for_all(&mut self) -> Result<(), CliError> {
        let mut first_error = Ok(());
        while !self.in_flight.is_empty() {
            let waited = self.wait_for_one();
            first_error = first_error.and(waited);
        }
        first_error
    }

    /// Adds what the file's lines were.
    pub(super) fn count_lines(&mut self, counts: &LineCounts) {
        counts.refused.iter().for_each(|(reason, records)| self.summary.refuse(reason, *records));
        self.summary.lines = counts.clone();
    }

    /// What it came to.
    pub(super) fn finish(mut self) -> Summary {
        self.summary.took = self.started.elapsed();
        self.summary
    }

    /// How many of a chunk's first lines an earlier import counted.
    fn imported_before(&mut self, chunk: &Chunk) -> Result<Option<usize>, CliError> {
        for lines in chunk.shorter_lengths() {
            let acknowledgement = match self.write(&chunk.prefix(lines, &self.site), chunk)? {
                Taken::Ticket(ticket) => ticket.wait().map_err(|error| write_error(&error, chunk))?,
                Taken::Checked(acknowledgement) => acknowledgement,
                Taken::Conflict => continue,
            };
            self.count(&acknowledgement);
            return Ok(Some(lines));
        }
        Ok(None)
    }

    fn write(&self, batch: &Batch, chunk: &Chunk) -> Result<Taken, CliError> {
        let asked = Instant::now();
        loop {
            let taken = match (batch, self.dry_run) {
                (Batch::Signals(batch), false) => self.tenant.write_signals(batch).map(Taken::Ticket),
                (Batch::Samples(batch), false) => self.tenant.write_samples(batch).map(Taken::Ticket),
                (Batch::Signals(batch), true) => self.tenant.check_signals(batch).map(Taken::Checked),
                (Batch::Samples(batch), true) => self.tenant.check_samples(batch).map(Taken::Checked),
            };
            match taken {
                Ok(taken) => return Ok(taken),
                Err(WriteError::Conflict { .. }) => return Ok(Taken::Conflict),
                // The store makes room by itself.
                Err(WriteError::Overloaded { .. }) if asked.elapsed() < OVERLOAD_PATIENCE => {
                    std::thread::sleep(OVERLOAD_PAUSE);
                }
                Err(error) => return Err(write_error(&error, chunk)),
            }
        }
    }

    fn wait_for_one(&mut self) -> Result<(), CliError> {
        let Some(ticket) = self.in_flight.pop_front() else { return Ok(()) };
        let acknowledgement = ticket.wait().map_err(|error| {
            CliError::failed(error).help("import the file again: what was counted is not counted twice")
        })?;
        self.count(&acknowledgement);
        Ok(())
    }

    fn count(&mut self, acknowledgement: &Acknowledgement) {
        self.summary.accepted += acknowledgement.accepted() as u64;
        if acknowledgement.duplicate {
            self.summary.duplicates += acknowledgement.records as u64;
        }
        for (_, refusal) in &acknowledgement.refused {
            self.summary.refuse(refusal.reason.word(), 1);
        }
    }
}

fn write_error(error: &WriteError, chunk: &Chunk) -> CliError {
    let (first, last) = chunk.line_numbers();
    let failed = CliError::failed(format_args!("lines {first} to {last}: {error}"));
    match error {
        WriteError::BatchTooLarge { .. } => failed.help("its rows are too long: split the table by time"),
        _ => failed.help("import the file again: what was counted is not counted twice"),
    }
}
