//! The part of a verification that reads the log.
//!
//! What a crash may leave is no damage: a torn tail, and the space after it. What cannot come of a crash is: bytes after
//! the seal of a clean close, or in a segment that was made ready and never used. Damage of records that every tenant has
//! in blocks is worth a note: no reader needs them, and they go when the log is next cut.

use std::path::Path;

use annals_model::Lsn;
use annals_vfs::Vfs;
use annals_wal::{Damage, DamageKind, FrameSummary, FrameType, HeaderFault, Tail};

use crate::layout::Layout;
use crate::verify::{Finding, FindingKind, Note, Verification};

/// A segment's header; frames follow.
const SEGMENT_HEADER_BYTES: u64 = 4096;
/// How much is looked through at a time for a byte that is not zero.
const ZERO_CHECK_BYTES: usize = 1 << 16;
/// How often a log that moves while it is read is looked at.
const LOOKS_MAX: usize = 5;

/// Reads the whole log. `floors` are the records up to which each tenant has its data in blocks.
pub(crate) fn verify_log(
    vfs: &dyn Vfs,
    layout: &Layout,
    root: [u8; 16],
    live: bool,
    floors: &[Option<Lsn>],
    found: &mut Verification,
) {
    let tail = if live { Tail::KnownDurable } else { Tail::AllValid };
    let read = || annals_wal::read(vfs, &layout.wal, &root, annals_wal::Lsn(0), tail, &mut |_| {});
    let mut report = read();
    for _ in 1..LOOKS_MAX {
        if !report.as_ref().is_ok_and(|report| report.interrupted) {
            break;
        }
        report = read();
    }
    let report = match report {
        Ok(report) => report,
        Err(error) => return found.report(of_error(layout, &error)),
    };
    let highest = floors.iter().flatten().max().copied().unwrap_or_default();
    if let Some((what, lost)) = end_missing(&report, live, highest) {
        found.report(Finding::new(layout.wal.clone(), FindingKind::Missing, &what, lost));
    }
    // Where a tenant's manifest cannot be used, which of its records are in blocks is not known.
    let in_blocks = floors.iter().copied().min().flatten().unwrap_or_default();
    for damage in &report.damage {
        match damage.lsns {
            Some(lsns) if lsns.last.0 <= in_blocks.0 && damage.kind != DamageKind::SegmentMissing => {
                let at = damage.offset;
                let what = format!(
                    "byte {at}: {}; records {lsns} were there, and nobody needs them: data up to record {in_blocks} is \
                     in blocks",
                    damage.kind
                );
                found.notes.push(Note { path: damage.path.clone(), what });
            }
            _ => found.report(of_damage(damage)),
        }
    }
    for entry in vfs.list(&layout.wal).unwrap_or_default() {
        let path = layout.wal.join(&entry.name);
        found.count(vfs, &path);
        let told = report.damage.iter().any(|damage| damage.path == path);
        // A writer fills what is free; what it has not finished yet is not damage.
        if !live && !told {
            verify_unused(vfs, &path, found);
        }
    }
}

/// What is missing at the end of a log without other damage, and what is lost with it. `highest` is the record up to which
/// some manifest says that it was written.
pub(crate) fn end_missing(
    report: &annals_wal::ReadReport,
    live: bool,
    highest: Lsn,
) -> Option<(String, &'static str)> {
    if !report.damage.is_empty() {
        return None;
    }
    if report.first.is_none() && highest > Lsn(0) {
        // The last segment is never removed.
        let what = "there is no segment of the log, and there was one".to_owned();
        return Some((what, "what is not in blocks yet"));
    }
    (!live && report.last.0 < highest.0).then(|| {
        let what = format!("the log ends at record {}, and record {highest} was in it", report.last.0);
        (what, "records after that one which are not in blocks yet")
    })
}

fn of_error(layout: &Layout, error: &annals_wal::WalError) -> Finding {
    let (path, kind, what) = match error {
        annals_wal::WalError::Io { path, source, .. } => {
            (path, FindingKind::Unreadable, format!("it cannot be read: {source}"))
        }
        annals_wal::WalError::VersionTooNew { path, found, newest_known } => {
            let what = format!("format version {found} is newer than {newest_known}, the newest known");
            (path, FindingKind::Newer, what)
        }
        other => (&layout.wal, FindingKind::Damaged, other.to_string()),
    };
    Finding::new(path.clone(), kind, &what, "what is not in blocks yet")
}

fn of_damage(damage: &Damage) -> Finding {
    let kind = match damage.kind {
        DamageKind::SegmentMissing => FindingKind::Missing,
        DamageKind::UnknownFile => FindingKind::Foreign,
        DamageKind::Header(HeaderFault::ForeignRoot | HeaderFault::OtherNumber(_)) => FindingKind::Misplaced,
        DamageKind::HeaderHalf => FindingKind::Copy,
        DamageKind::Unreadable => FindingKind::Unreadable,
        DamageKind::Header(_) | DamageKind::OtherFrames | DamageKind::Unchained => FindingKind::Damaged,
        _ => FindingKind::Part,
    };
    let lost = match damage.lsns {
        Some(lsns) => format!("records {lsns} of the log, where they are not in blocks"),
        None => "nothing that is known".to_owned(),
    };
    let whole_file = matches!(kind, FindingKind::Missing | FindingKind::Foreign | FindingKind::Misplaced);
    let part = (!whole_file).then(|| format!("byte {}", damage.offset));
    Finding { part, ..Finding::new(damage.path.clone(), kind, &damage.kind.to_string(), &lost) }
}

/// What lies in a segment where no record is: after the last of the log, or where none was ever written.
fn verify_unused(vfs: &dyn Vfs, path: &Path, found: &mut Verification) {
    let (mut last_frame, mut tail) = (None, None);
    let summary = annals_wal::inspect(vfs, path, &mut |frame| match frame {
        FrameSummary::Sound { frame_type, .. } => (last_frame, tail) = (Some(frame_type), None),
        FrameSummary::Bad { offset, .. } => tail = tail.or(Some(offset)),
    });
    // What cannot be read at all was said when the log was read.
    let Ok(summary) = summary else { return };
    let lost = "nothing: no record was ever there";
    if summary.fault.is_none() && summary.first.is_none() {
        if let Ok(Some(offset)) = first_nonzero(vfs, path, SEGMENT_HEADER_BYTES) {
            let what = "bytes that are not zero in a segment that was never used";
            let finding = Finding::new(path.to_owned(), FindingKind::Part, what, lost);
            found.report(Finding { part: Some(format!("byte {offset}")), ..finding });
        }
    } else if let Some(offset) = tail {
        if last_frame == Some(FrameType::Seal) {
            let what = "bytes that are not zero after the end of a log that was closed";
            let finding = Finding::new(path.to_owned(), FindingKind::Part, what, lost);
            found.report(Finding { part: Some(format!("byte {offset}")), ..finding });
        } else {
            let what = format!(
                "byte {offset}: what follows is no record, as a crash leaves writes that were never acknowledged; it \
                 is set aside when the store is next opened for writing"
            );
            found.notes.push(Note { path: path.to_owned(), what });
        }
    }
}

/// The first byte from `offset` on that is not zero.
fn first_nonzero(vfs: &dyn Vfs, path: &Path, mut offset: u64) -> std::io::Result<Option<u64>> {
    let file = vfs.open(path)?;
    let mut buffer = vec![0; ZERO_CHECK_BYTES];
    loop {
        let count = file.read_at(&mut buffer, offset)?;
        let Some(read) = buffer.get(..count).filter(|read| !read.is_empty()) else { return Ok(None) };
        if let Some(at) = read.iter().position(|&byte| byte != 0) {
            return Ok(Some(offset + at as u64));
        }
        offset += count as u64;
    }
}
