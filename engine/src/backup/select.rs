//! Which snapshot, and which pieces of the log, make up what a store had at an instant.

use annals_model::{Lsn, Timestamp};
use annals_vfs::Vfs;

use super::snapshot::{PieceName, Snapshot};
use super::{BackupError, Backups};
use crate::record;

/// Which state of a store is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum At {
    /// The newest snapshot.
    #[default]
    Newest,
    /// The snapshot of that number.
    Snapshot(u64),
    /// What was acknowledged until then.
    Instant(Timestamp),
}

/// What was selected: a snapshot, and the log after it.
pub(crate) struct Selected<'a> {
    pub(crate) backups: &'a Backups,
    pub(crate) number: u64,
    pub(crate) snapshot: &'a Snapshot,
    /// Of whichever snapshot has them, one after the other.
    pieces: Vec<(&'a Snapshot, PieceName)>,
    /// Records from the first on that was admitted later do not count.
    until: Option<Timestamp>,
}

impl Backups {
    pub(crate) fn select(&self, at: At) -> Result<Selected<'_>, BackupError> {
        let (number, until) = match at {
            At::Snapshot(number) => (number, None),
            At::Newest => {
                let newest = self.snapshots.keys().last().max(self.damaged.keys().last());
                (newest.copied().unwrap_or_default(), None)
            }
            At::Instant(at) => (self.before(at)?, Some(at)),
        };
        if let Some(why) = self.damaged.get(&number) {
            return Err(BackupError::Damaged {
                path: self.place.snapshots().path(number),
                what: why.clone(),
            });
        }
        let directory = self.place.directory.clone();
        let snapshot = self.snapshots.get(&number).ok_or(BackupError::NoSnapshot { directory, number })?;
        let own = snapshot.pieces.iter().map(|piece| (snapshot, *piece));
        let mut selected = Selected { backups: self, number, snapshot, pieces: own.collect(), until };
        match until {
            Some(at) if at > snapshot.taken => selected.go_on(at)?,
            _ => selected.pieces.extend(snapshot.tail.map(|tail| (snapshot, tail))),
        }
        Ok(selected)
    }

    /// The newest snapshot that was taken by then.
    fn before(&self, at: Timestamp) -> Result<u64, BackupError> {
        let taken = |(_, snapshot): &(&u64, &Snapshot)| snapshot.taken <= at;
        if let Some((number, _)) = self.snapshots.iter().rev().find(taken) {
            return Ok(*number);
        }
        let first = self.snapshots.values().map(|snapshot| snapshot.taken).min();
        let why = first
            .map_or("there is no snapshot".to_owned(), |first| format!("the first snapshot is of {first}"));
        Err(self.no_instant(at, why))
    }

    fn no_instant(&self, at: Timestamp, why: String) -> BackupError {
        BackupError::NoInstant { directory: self.place.directory.clone(), at, why }
    }
}

impl Selected<'_> {
    /// Adds the log of later snapshots, until one was taken after the instant.
    fn go_on(&mut self, at: Timestamp) -> Result<(), BackupError> {
        let (mut number, mut snapshot) = (self.number, self.snapshot);
        while snapshot.taken < at {
            let next = self.backups.snapshots.iter().find(|(_, next)| next.continues == number);
            let Some((&next_number, next)) = next else {
                let later = self
                    .backups
                    .snapshots
                    .values()
                    .map(|later| later.taken)
                    .filter(|&later| later >= at)
                    .min();
                let why = match later {
                    Some(later) => format!(
                        "there is no log between the snapshots of {} and {later}; either of these can be",
                        snapshot.taken
                    ),
                    None => format!("the newest snapshot is of {}", snapshot.taken),
                };
                return Err(self.backups.no_instant(at, why));
            };
            let known = snapshot.durable;
            let new = next.pieces.iter().filter(|piece| piece.through > known);
            self.pieces.extend(new.map(|piece| (next, *piece)));
            if next.taken >= at {
                self.pieces.extend(next.tail.map(|tail| (next, tail)));
            }
            (number, snapshot) = (next_number, next);
        }
        Ok(())
    }

    /// Hands out the records of the log, oldest first, each once; up to which one.
    pub(crate) fn records(
        &self,
        vfs: &dyn Vfs,
        on_record: &mut dyn FnMut(Lsn, u8, &[u8]),
    ) -> Result<Lsn, BackupError> {
        let (mut last, mut over) = (Lsn(0), false);
        for (snapshot, piece) in &self.pieces {
            self.backups.read_piece(vfs, snapshot, piece, &mut |lsn, kind, payload| {
                let later = |until: Timestamp| {
                    record::decode(payload).is_some_and(|record| record.header.written > until)
                };
                over |= self.until.is_some_and(later);
                if !over && lsn > last {
                    last = lsn;
                    on_record(lsn, kind, payload);
                }
            })?;
            if over {
                break;
            }
            last = last.max(piece.through);
        }
        Ok(last)
    }
}
