//! What goes wrong, and when: faults, crash points, and the record of calls that they are counted by.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::panic::Location;
use std::path::{Path, PathBuf};

use super::sites::{Caller, SimSites};

/// How many calls the trace keeps: the newest.
const TRACE_CALLS_MAX: usize = 1 << 16;

const EINTR: i32 = 4;
const EIO: i32 = 5;
const EACCES: i32 = 13;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// A call of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SimOp {
    /// [`crate::Vfs::create`]
    Create,
    /// [`crate::Vfs::open`]
    Open,
    /// [`crate::Vfs::map_sealed`]
    MapSealed,
    /// [`crate::Vfs::rename`]
    Rename,
    /// [`crate::Vfs::link`]
    Link,
    /// [`crate::Vfs::unlink`]
    Unlink,
    /// [`crate::Vfs::create_dir`]
    CreateDir,
    /// [`crate::Vfs::remove_dir`]
    RemoveDir,
    /// [`crate::Vfs::sync_dir`]
    SyncDir,
    /// [`crate::Vfs::list`]
    List,
    /// [`crate::Vfs::lock`]
    Lock,
    /// [`crate::Vfs::is_locked`]
    IsLocked,
    /// [`crate::File::read_at`]
    ReadAt,
    /// [`crate::File::write_at`]
    WriteAt,
    /// [`crate::File::allocate`]
    Allocate,
    /// [`crate::File::sync`]
    Sync,
    /// [`crate::File::len`]
    Len,
}

impl SimOp {
    /// Whether the call may change what a power cut leaves: the points at which a crash is worth trying.
    #[must_use]
    pub fn mutates(self) -> bool {
        match self {
            SimOp::Create
            | SimOp::Rename
            | SimOp::Link
            | SimOp::Unlink
            | SimOp::CreateDir
            | SimOp::RemoveDir
            | SimOp::SyncDir
            | SimOp::Lock
            | SimOp::WriteAt
            | SimOp::Allocate
            | SimOp::Sync => true,
            SimOp::Open | SimOp::MapSealed | SimOp::List | SimOp::IsLocked | SimOp::ReadAt | SimOp::Len => {
                false
            }
        }
    }
}

/// A mutating call that was made, whatever came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimCall {
    /// What was called.
    pub op: SimOp,
    /// The path it was called for; of a rename, the new name; of a file, the name it was opened by.
    pub path: PathBuf,
    /// The bytes to be written, or the length to be allocated; 0 for other calls.
    pub len: u64,
}

/// Which calls a fault counts and strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimCalls {
    /// All.
    Any,
    /// Those for which [`SimOp::mutates`] holds.
    Mutating,
    /// Those of one operation.
    Of(SimOp),
}

/// The error that a fault gives, and what it leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimError {
    /// EIO. Half of a read, write or allocation is done; a sync loses what was unsynced.
    Io,
    /// ENOSPC, with the same effects.
    NoSpace,
    /// EIO after all but the last byte of a read, write or allocation; elsewhere as [`SimError::Io`].
    Short,
    /// EINTR, and nothing is done. The real file system tries most calls again by itself; here the error reaches
    /// the caller, to whom it is an error as any other.
    Interrupted,
    /// EMFILE, and nothing is done.
    TooManyFiles,
    /// EACCES, and nothing is done.
    Permission,
    /// EROFS: nothing is done; a sync loses what was unsynced, as where the kernel gave up on the file system.
    ReadOnly,
}

impl SimError {
    /// Every error, for loops over all of them.
    #[must_use]
    pub fn all() -> [SimError; 7] {
        [
            SimError::Io,
            SimError::NoSpace,
            SimError::Short,
            SimError::Interrupted,
            SimError::TooManyFiles,
            SimError::Permission,
            SimError::ReadOnly,
        ]
    }

    pub(super) fn to_io(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            SimError::Io | SimError::Short => EIO,
            SimError::NoSpace => ENOSPC,
            SimError::Interrupted => EINTR,
            SimError::TooManyFiles => EMFILE,
            SimError::Permission => EACCES,
            SimError::ReadOnly => EROFS,
        })
    }

    /// How many of a call's bytes are read, written or allocated before it fails.
    pub(super) fn part_of(self, len: u64) -> u64 {
        match self {
            SimError::Io | SimError::NoSpace => len / 2,
            SimError::Short => len.saturating_sub(1),
            SimError::Interrupted | SimError::TooManyFiles | SimError::Permission | SimError::ReadOnly => 0,
        }
    }

    /// Whether a sync that fails so loses what was unsynced.
    pub(super) fn drops_unsynced(self) -> bool {
        match self {
            SimError::Io | SimError::NoSpace | SimError::Short | SimError::ReadOnly => true,
            SimError::Interrupted | SimError::TooManyFiles | SimError::Permission => false,
        }
    }
}

/// A call that will fail.
///
/// A failed write leaves the first part of its bytes in the file, a failed read in the buffer; a failed sync loses
/// the file's unsynced bytes for good (see [`crate::SimFailedSync`]): [`SimError`] says which. Other failed calls
/// leave no trace, unless `done` says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimFault {
    /// Which calls it counts and strikes.
    pub calls: SimCalls,
    /// How many of them pass first, from now: 0 strikes the next one.
    pub after: u64,
    /// What the caller gets.
    pub error: SimError,
    /// Whether all later ones fail too, until [`crate::SimVfs::clear_faults`].
    pub forever: bool,
    /// Whether the call does all its work and reports failure nevertheless.
    pub done: bool,
}

impl SimFault {
    /// A fault that strikes once, without effect.
    #[must_use]
    pub fn once(calls: SimCalls, after: u64, error: SimError) -> SimFault {
        SimFault { calls, after, error, forever: false, done: false }
    }

    /// A fault that strikes from a call on, without effect.
    #[must_use]
    pub fn forever(calls: SimCalls, after: u64, error: SimError) -> SimFault {
        SimFault { forever: true, ..SimFault::once(calls, after, error) }
    }
}

/// The error of every call from a crash point on; found inside an [`io::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimCrash;

impl fmt::Display for SimCrash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the simulated machine has stopped")
    }
}

impl std::error::Error for SimCrash {}

impl SimCrash {
    /// Whether an error says that a crash point was reached.
    #[must_use]
    pub fn caused(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<SimCrash>())
    }
}

/// How far a call gets, and what its caller is told.
#[derive(Debug)]
pub(super) enum Fate {
    /// As it should be.
    Normal,
    /// It does nothing, or what a failed call of its kind leaves behind.
    Fails(SimError),
    /// It does all its work; the caller is told that it failed.
    FailsAfter(SimError),
    /// The machine stops within it: a write gets half its bytes down, other calls do their work unseen.
    StopsWithin,
    /// The machine has stopped.
    Stopped,
}

impl Fate {
    /// The result of a call that is done whole or not at all: `None` where it is not to be done.
    pub(super) fn of_whole<T>(self, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match self {
            Fate::Normal => work(),
            Fate::Fails(error) => Err(error.to_io()),
            Fate::FailsAfter(error) => work().and(Err(error.to_io())),
            Fate::StopsWithin => work().and(Err(io::Error::other(SimCrash))),
            Fate::Stopped => Err(io::Error::other(SimCrash)),
        }
    }

    /// How many of a call's bytes get through although the caller is told that it failed; `None` where it is not.
    pub(super) fn part_of(&self, len: u64) -> Option<u64> {
        match self {
            Fate::Fails(error) => Some(error.part_of(len)),
            Fate::StopsWithin => Some(len / 2),
            Fate::Normal | Fate::FailsAfter(_) | Fate::Stopped => None,
        }
    }
}

/// Counts calls and decides the fate of each.
#[derive(Debug, Default)]
pub(super) struct Gate {
    faults: Vec<SimFault>,
    crash: Option<CrashPoint>,
    stopped: bool,
    mutating_calls: u64,
    trace: VecDeque<SimCall>,
    /// Who counts the places that call, and which one called last.
    sites: Option<(SimSites, Option<Caller>)>,
}

#[derive(Debug, Clone, Copy)]
struct CrashPoint {
    after: u64,
    within: bool,
}

impl Gate {
    #[track_caller]
    pub(super) fn enter(&mut self, op: SimOp, path: &Path, len: u64) -> Fate {
        if self.stopped {
            return Fate::Stopped;
        }
        if let Some((sites, last)) = &mut self.sites {
            let caller = (Location::caller(), op);
            sites.called(caller);
            *last = Some(caller);
        }
        if op.mutates() {
            self.mutating_calls += 1;
            if self.trace.len() == TRACE_CALLS_MAX {
                self.trace.pop_front();
            }
            self.trace.push_back(SimCall { op, path: path.to_owned(), len });
            match &mut self.crash {
                Some(CrashPoint { after: 0, within }) => {
                    let within = *within;
                    self.stopped = true;
                    return if within { Fate::StopsWithin } else { Fate::Stopped };
                }
                Some(point) => point.after -= 1,
                None => {}
            }
        }
        let mut struck: Option<SimFault> = None;
        self.faults.retain_mut(|fault| {
            let counts = match fault.calls {
                SimCalls::Any => true,
                SimCalls::Mutating => op.mutates(),
                SimCalls::Of(one) => one == op,
            };
            match (counts, fault.after) {
                (false, _) => true,
                (true, 0) => {
                    struck.get_or_insert(*fault);
                    fault.forever
                }
                (true, _) => {
                    fault.after -= 1;
                    true
                }
            }
        });
        if struck.is_some() {
            self.struck();
        }
        match struck {
            None => Fate::Normal,
            Some(fault) if fault.done => Fate::FailsAfter(fault.error),
            Some(fault) => Fate::Fails(fault.error),
        }
    }

    /// The call that was last counted meets an error that was put in its way.
    pub(super) fn struck(&mut self) {
        if let Some((sites, Some(caller))) = &self.sites {
            sites.failed(*caller);
        }
    }

    pub(super) fn count_sites(&mut self, sites: Option<SimSites>) {
        self.sites = sites.map(|sites| (sites, None));
    }

    pub(super) fn sites(&self) -> Option<SimSites> {
        self.sites.as_ref().map(|(sites, _)| sites.clone())
    }

    pub(super) fn add_fault(&mut self, fault: SimFault) {
        self.faults.push(fault);
    }

    pub(super) fn clear_faults(&mut self) {
        self.faults.clear();
    }

    pub(super) fn set_crash(&mut self, after: u64, within: bool) {
        self.crash = Some(CrashPoint { after, within });
    }

    /// The machine is switched on again.
    pub(super) fn restart(&mut self) {
        self.crash = None;
        self.stopped = false;
    }

    pub(super) fn stopped(&self) -> bool {
        self.stopped
    }

    pub(super) fn mutating_calls(&self) -> u64 {
        self.mutating_calls
    }

    pub(super) fn trace(&self) -> Vec<SimCall> {
        self.trace.iter().cloned().collect()
    }

    pub(super) fn take_trace(&mut self) -> Vec<SimCall> {
        self.trace.drain(..).collect()
    }
}
