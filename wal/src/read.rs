//! Reading a log without owning it: beside its writer, or with none; and looking into one segment.
//!
//! Nothing here changes a file. Segments may appear and go while they are read: the writer publishes before it writes,
//! removes oldest first, and never changes a byte that a frame knows as durable, so what was read is right, and the
//! report says how far it reaches.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use annals_vfs::{File, Vfs};

use crate::chain::{Chain, Link, Segment, read_any_header};
use crate::error::{Damage, DamageKind, HeaderFault, WalError};
use crate::frame::{Frame, FrameType};
use crate::header::{Header, VERSION};
use crate::lsn::{Lsn, LsnSpan};
use crate::recover::report_missing;
use crate::scan::{Found, Scan, Survey};
use crate::wal::Record;
use crate::walk::{Extent, walk};

/// How far into the newest segment a reader goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// A writer may live: up to the highest LSN that a frame knows as durable. What was read is never lost by a
    /// power cut.
    KnownDurable,
    /// No writer lives: every frame up to the torn tail, as a recovery would find them.
    AllValid,
}

/// What a reader got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadReport {
    /// The lowest LSN that the log still reaches back to; records before it were truncated. `None` of an empty log.
    pub first: Option<Lsn>,
    /// Everything above the LSN that was asked for, back to `first` and up to this one, was handed out, or is named
    /// by the damage.
    pub through: Lsn,
    /// Where the log ends, whatever was asked for.
    pub last: Lsn,
    /// How many records were handed out.
    pub records: u64,
    /// What is damaged.
    pub damage: Vec<Damage>,
    /// A segment went away before it was read: what is above `through` is now in a newer segment, or was truncated.
    /// Load the manifests again and read on.
    pub interrupted: bool,
}

/// The lowest LSN that a log still reaches back to; `None` of an empty log.
pub fn first(vfs: &dyn Vfs, directory: &Path, root_id: &[u8; 16]) -> Result<Option<Lsn>, WalError> {
    Ok(reach(&Chain::read(vfs, directory, root_id)?))
}

fn reach(chain: &Chain) -> Option<Lsn> {
    chain.links.first().map(|oldest| oldest.activation.previous.last.next())
}

/// Hands out the records above `after`, oldest first.
pub fn read(
    vfs: &dyn Vfs,
    directory: &Path,
    root_id: &[u8; 16],
    after: Lsn,
    tail: Tail,
    on_record: &mut dyn FnMut(Record<'_>),
) -> Result<ReadReport, WalError> {
    let mut chain = Chain::read(vfs, directory, root_id)?;
    let mut report = ReadReport {
        through: after,
        damage: std::mem::take(&mut chain.damage),
        first: reach(&chain),
        ..ReadReport::default()
    };
    let count = chain.links.len();
    let mut before = Lsn(0);
    for (index, link) in chain.links.iter().enumerate() {
        if link.previous_missing {
            report_missing(&mut report.damage, link, before);
        }
        if let Some(stated) = link.stated
            && stated.last <= after
        {
            before = stated.last;
            continue;
        }
        let file = match vfs.open(&link.segment.path) {
            Ok(file) => file,
            Err(source) if source.kind() == ErrorKind::NotFound => {
                report.interrupted = true;
                return Ok(report);
            }
            Err(source) => return Err(WalError::io("open", &link.segment.path, source)),
        };
        let failed = |source| WalError::io("read", &link.segment.path, source);
        let extent = extent(link, &*file, tail, index + 1 == count).map_err(failed)?;
        let mut last = report.through.max(before);
        let mut records = 0;
        let mut deliver = |frame: Frame, payload: &[u8]| {
            if frame.frame_type == FrameType::Record && frame.lsn > last {
                records += 1;
                on_record(Record { lsn: frame.lsn, kind: frame.kind, payload });
            }
            last = frame.lsn.max(last);
            Ok(())
        };
        let position = walk(link, &*file, extent, &mut report.damage, &mut deliver).map_err(failed)?;
        before = position.last.max(before);
        report.records += records;
        report.through = report.through.max(link.stated.map_or(position.last, |stated| stated.last));
    }
    report.last = before;
    Ok(report)
}

fn extent(link: &Link, file: &dyn File, tail: Tail, is_last: bool) -> io::Result<Extent> {
    if !is_last {
        return Ok(Extent::of_closed(link));
    }
    let mut scan = Scan::new(file, link.segment.header.key(), &link.activation, u64::MAX)?;
    let survey = Survey::of(&mut scan)?;
    Ok(match tail {
        Tail::KnownDurable => Extent::of_live(&survey),
        Tail::AllValid => Extent::of_last(&survey),
    })
}

/// Reads a whole log that no writer has open, and says what is damaged. A torn tail is not damage.
pub fn verify(vfs: &dyn Vfs, directory: &Path, root_id: &[u8; 16]) -> Result<Vec<Damage>, WalError> {
    read(vfs, directory, root_id, Lsn(0), Tail::AllValid, &mut |_| {}).map(|report| report.damage)
}

/// A frame, or a place where there should be one, as inspection sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameSummary {
    /// A frame that verifies.
    Sound {
        /// Where it starts.
        offset: u64,
        /// What it is.
        frame_type: FrameType,
        /// Of a record: the caller's kind.
        kind: u8,
        /// Its number.
        lsn: Lsn,
        /// What it knew as durable.
        durable: Lsn,
        /// How long its payload is.
        payload_bytes: u64,
    },
    /// A stretch that does not verify: damage, or a torn tail.
    Bad {
        /// Where it starts.
        offset: u64,
        /// What is wrong.
        kind: DamageKind,
        /// The records that may have been there, where a later frame tells.
        lsns: Option<LsnSpan>,
    },
}

/// What one segment says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentSummary {
    /// The file.
    pub path: PathBuf,
    /// Its length.
    pub file_bytes: u64,
    /// Why nothing more is known, if that is so.
    pub fault: Option<HeaderFault>,
    /// The root that it belongs to.
    pub root_id: [u8; 16],
    /// Its number.
    pub number: u64,
    /// The first LSN; `None` of a standby.
    pub first: Option<Lsn>,
    /// The segment before it; 0: none.
    pub previous_number: u64,
    /// Where that one ends.
    pub previous_end: u64,
    /// The segment that it repeats; 0: none.
    pub superseded_number: u64,
    /// How many records verify.
    pub records: u64,
    /// How many stretches do not.
    pub bad: u64,
    /// The LSN of the last frame.
    pub last: Lsn,
    /// The highest LSN that a frame knows as durable.
    pub durable: Lsn,
    /// Where the last frame ends.
    pub end: u64,
}

/// Looks into one segment file, wherever it lies: in a log, or in quarantine.
pub fn inspect(
    vfs: &dyn Vfs,
    path: &Path,
    on_frame: &mut dyn FnMut(FrameSummary),
) -> Result<SegmentSummary, WalError> {
    let failed = |source| WalError::io("read", path, source);
    let file = vfs.open(path).map_err(|source| WalError::io("open", path, source))?;
    let file_bytes = file.len().map_err(failed)?;
    let mut summary = SegmentSummary {
        path: path.to_owned(),
        file_bytes,
        fault: None,
        root_id: [0; 16],
        number: 0,
        first: None,
        previous_number: 0,
        previous_end: 0,
        superseded_number: 0,
        records: 0,
        bad: 0,
        last: Lsn(0),
        durable: Lsn(0),
        end: 0,
    };
    match read_any_header(path, &*file)? {
        Err(HeaderFault::VersionTooNew(found)) => {
            Err(WalError::VersionTooNew { path: path.to_owned(), found, newest_known: VERSION })
        }
        Err(fault) => {
            summary.fault = Some(fault);
            Ok(summary)
        }
        Ok((header, header_whole)) => {
            summary.root_id = header.root_id;
            summary.number = header.number;
            let segment = Segment { path: path.to_owned(), header, file_bytes, header_whole };
            inspect_frames(&segment, &*file, &mut summary, on_frame).map_err(failed)?;
            Ok(summary)
        }
    }
}

fn inspect_frames(
    segment: &Segment,
    file: &dyn File,
    summary: &mut SegmentSummary,
    on_frame: &mut dyn FnMut(FrameSummary),
) -> io::Result<()> {
    let Header { activation: Some(activation), .. } = segment.header else { return Ok(()) };
    summary.first = Some(activation.first);
    summary.previous_number = activation.previous.number;
    summary.previous_end = activation.previous.end;
    summary.superseded_number = activation.superseded;
    let mut scan = Scan::new(file, segment.header.key(), &activation, u64::MAX)?;
    loop {
        match scan.next()? {
            Found::Frame { frame, offset, payload, .. } => {
                summary.records += u64::from(frame.frame_type == FrameType::Record);
                summary.durable = summary.durable.max(frame.durable);
                let Frame { frame_type, kind, lsn, durable } = frame;
                let payload_bytes = payload.len() as u64;
                on_frame(FrameSummary::Sound { offset, frame_type, kind, lsn, durable, payload_bytes });
            }
            Found::Bad(bad) => {
                summary.bad += 1;
                let lsns = bad.last.and_then(|last| LsnSpan::new(bad.first, last));
                on_frame(FrameSummary::Bad { offset: bad.offset, kind: bad.kind, lsns });
            }
            Found::End => {
                let position = scan.position();
                summary.last = position.last;
                summary.end = position.offset;
                return Ok(());
            }
        }
    }
}
