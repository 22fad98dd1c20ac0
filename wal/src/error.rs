//! What can go wrong, by what its caller would do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use annals_vfs::is_no_space;

use crate::lsn::{Lsn, LsnSpan};

/// Why the log cannot be opened, read or tended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WalError {
    /// The disk refused; a later try may succeed.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A newer engine wrote this segment; nothing was changed. Open the root with that engine.
    #[error("{} has format version {found}, and this engine knows {newest_known}: use a newer engine", path.display())]
    VersionTooNew {
        /// The segment.
        path: PathBuf,
        /// Its version.
        found: u16,
        /// The newest version that this engine reads.
        newest_known: u16,
    },
    /// An option that no log can have.
    #[error("WAL option {option} is {value}; it must be {rule}")]
    InvalidOption {
        /// Which.
        option: &'static str,
        /// As given.
        value: u64,
        /// What it must be.
        rule: &'static str,
    },
    /// Log or segment numbers have reached their end: only possible from forged files.
    #[error("the log numbers of {} are used up at {last}: restore the root from a backup", directory.display())]
    NumbersExhausted {
        /// The log's directory.
        directory: PathBuf,
        /// The number that has no successor.
        last: u64,
    },
}

impl WalError {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> WalError {
        WalError::Io { action, path: path.to_owned(), source }
    }

    /// Whether the disk was full.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        matches!(self, WalError::Io { source, .. } if is_no_space(source))
    }
}

/// Why a record was not taken. Nothing was queued, and no LSN was given out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnqueueError {
    /// The record is larger than any may be.
    #[error("a record of {bytes} bytes is over record_bytes_max ({limit})")]
    TooLarge {
        /// Its payload's size.
        bytes: u64,
        /// The limit.
        limit: u32,
    },
    /// Too much waits to be committed: try again after the next commit.
    #[error("{queued} bytes wait to be committed, and {bytes} more are over queue_bytes_max ({limit})")]
    QueueFull {
        /// What waits, in bytes.
        queued: u64,
        /// What the record adds.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The log holds as much as it may: flush laggards and truncate, then try again.
    #[error(
        "the log holds {held} bytes, and {bytes} more are over log_bytes_max ({limit}): flush and truncate"
    )]
    LogFull {
        /// What the log holds, queue included.
        held: u64,
        /// What the record adds.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// Two writes in a row failed: the log takes no more until the root is opened again.
    #[error("the log has failed and takes no more records: open the root again")]
    Failed,
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

/// Why queued records were not committed. LSNs at or below [`Wal::durable`](crate::Wal::durable) are unaffected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The disk is full. These records were not written, for certain, and never will be. The log stays usable: a
    /// later commit tries for space again.
    #[error(
        "no space for a WAL segment; records {lsns} were refused and nothing of them was written: {source}"
    )]
    NoSpace {
        /// The refused records.
        lsns: LsnSpan,
        /// What the system says.
        source: WalError,
    },
    /// A new segment could not be had for another reason. These records were not written, for certain, and never
    /// will be. The log stays usable.
    #[error("no new WAL segment; records {lsns} were refused and nothing of them was written: {source}")]
    NoSegment {
        /// The refused records.
        lsns: LsnSpan,
        /// What failed.
        source: WalError,
    },
    /// Writing failed in one segment and again in the next. Each of these records may or may not be there when the
    /// root is opened again, and stays as it is found then. The log takes no more.
    #[error(
        "writing failed twice; records {lsns} may or may not be found when the root is opened again: {source}"
    )]
    Indeterminate {
        /// The records in doubt.
        lsns: LsnSpan,
        /// The second failure.
        source: WalError,
    },
    /// A watermark or seal could not be written. Every acknowledged record is durable; the next commit starts a new
    /// segment.
    #[error("cannot mark the log durable: {source}")]
    Unmarked {
        /// What failed.
        source: WalError,
    },
    /// No new segment could be had for the log to go on in. Nothing waits on it: the log goes on where it was, or in the
    /// next segment that can be had.
    #[error("the log cannot go on in a new segment: {source}")]
    NotRotated {
        /// What failed.
        source: WalError,
    },
    /// The log failed earlier: open the root again.
    #[error("the log has failed: open the root again")]
    Failed,
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

/// A damaged place. Everything else was still read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// The LSNs that may be lost with it, where that is known; `None` where no record is lost, or none is known to be.
    pub lsns: Option<LsnSpan>,
    /// What is wrong.
    pub kind: DamageKind,
}

/// What is wrong at a damaged place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DamageKind {
    /// A record's payload does not match its check.
    Payload,
    /// No frame verifies here, and one should.
    Frame,
    /// The device cannot read it. What else it may have held is not known.
    Unreadable,
    /// Bytes between frames are not zero; no record is lost.
    Padding,
    /// One half of the segment's header does not verify; the other was used.
    HeaderHalf,
    /// The header cannot be used: no record of the segment can be read.
    Header(HeaderFault),
    /// A later segment names this one as its predecessor, and it is not there.
    SegmentMissing,
    /// The file is shorter than it was made.
    FileShort {
        /// The length that it was made with.
        expected: u64,
    },
    /// All frames verify, and yet they are not those that the next segment says were written.
    OtherFrames,
    /// The segment was never part of the chain, and yet holds something.
    Unchained,
    /// Not a segment; left alone.
    UnknownFile,
}

/// Why a segment's header cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HeaderFault {
    /// Neither half verifies.
    Unreadable,
    /// A half verifies, and its fields contradict each other.
    Impossible,
    /// It belongs to another root.
    ForeignRoot,
    /// It is the header of another segment, of this number.
    OtherNumber(u64),
    /// A newer engine wrote it.
    VersionTooNew(u16),
}

impl fmt::Display for HeaderFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HeaderFault::Unreadable => f.write_str("neither half of the header verifies"),
            HeaderFault::Impossible => f.write_str("the header contradicts itself"),
            HeaderFault::ForeignRoot => f.write_str("the segment belongs to another root"),
            HeaderFault::OtherNumber(number) => write!(f, "the header is that of segment {number}"),
            HeaderFault::VersionTooNew(version) => write!(f, "format version {version} is too new"),
        }
    }
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DamageKind::Payload => f.write_str("a record's payload does not match its check"),
            DamageKind::Frame => f.write_str("no frame verifies"),
            DamageKind::Unreadable => f.write_str("the device cannot read it"),
            DamageKind::Padding => f.write_str("padding is not zero"),
            DamageKind::HeaderHalf => f.write_str("one half of the header does not verify"),
            DamageKind::Header(fault) => fault.fmt(f),
            DamageKind::SegmentMissing => f.write_str("the segment is missing"),
            DamageKind::FileShort { expected } => {
                write!(f, "the file ends here and was made {expected} bytes long")
            }
            DamageKind::OtherFrames => f.write_str("the frames are not those that the next segment names"),
            DamageKind::Unchained => f.write_str("the segment is in no chain and is not empty"),
            DamageKind::UnknownFile => f.write_str("not a segment"),
        }
    }
}

impl Damage {
    /// Whether records may be lost with it, known ones or not.
    #[must_use]
    pub fn may_lose_records(&self) -> bool {
        let hides = matches!(
            self.kind,
            DamageKind::Header(_)
                | DamageKind::SegmentMissing
                | DamageKind::FileShort { .. }
                | DamageKind::Unreadable
                | DamageKind::Unchained
        );
        hides || self.lsns.is_some()
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.path.display(), self.offset, self.kind)?;
        match self.lsns {
            Some(lsns) => write!(f, "; records {lsns} are lost"),
            None => Ok(()),
        }
    }
}

/// The last LSN that the log gives out: far from the type's end, so that arithmetic on numbers from disk is safe.
pub(crate) const LSN_MAX: Lsn = Lsn(u64::MAX >> 1);
