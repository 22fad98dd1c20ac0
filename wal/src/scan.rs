//! Reading one segment's frames, with every byte treated as hostile.
//!
//! A [`Scan`] goes frame by frame. Where none verifies it looks for the next place where one does: at every multiple
//! of 8, header and payload check both, seeded by salt and offset, with an LSN that may follow. What lies between is
//! a [`Bad`] stretch. A record whose payload alone is damaged is a bad stretch by itself.
//!
//! Whether a bad stretch is damage or a torn tail is not for the scan to say: a [`Survey`] of a whole segment
//! compares it with the highest LSN that any frame knows as durable.

use std::io;
use std::ops::Range;

use annals_vfs::planted::{Bug, planted};
use annals_vfs::{File, read_around};

use crate::error::{DamageKind, LSN_MAX};
use crate::frame::{
    FRAME_ALIGN, FRAME_HEADER_BYTES, FRAME_TYPE_OFFSET, Frame, FrameHeader, FrameKey, FrameType,
};
use crate::header::{Activation, HEADER_BYTES, Previous};
use crate::lsn::{Lsn, LsnSpan};

/// How much is read at once.
const WINDOW_BYTES: usize = 256 << 10;
/// How far ahead of the last frame an LSN found after a bad stretch may be: more than any queue can refuse or lose.
const LSN_JUMP_MAX: u64 = 1 << 32;

const HEADER_BYTES_U64: u64 = FRAME_HEADER_BYTES as u64;

/// A stretch of a file in memory: at most [`WINDOW_BYTES`], or one payload where that is larger.
struct Window<'f> {
    file: &'f dyn File,
    end: u64,
    buffer: Vec<u8>,
    start: u64,
    filled: usize,
    /// What the device could not read.
    unreadable: Vec<Range<u64>>,
}

impl<'f> Window<'f> {
    /// `count` bytes at `offset`; fewer where the file ends. Never allocates more than is left before `end`.
    fn bytes(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = count.min(left);
        let held = offset >= self.start && offset - self.start + count as u64 <= self.filled as u64;
        if !held {
            let size = count.max(WINDOW_BYTES).min(left);
            if self.buffer.len() < size {
                self.buffer.resize(size, 0);
            }
            self.filled = 0;
            if let Some(into) = self.buffer.get_mut(..size) {
                self.filled = read_around(self.file, into, offset, &mut self.unreadable)?;
            }
            self.start = offset;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let through = from.saturating_add(count).min(self.filled);
        Ok(self.buffer.get(from..through).unwrap_or(&[]))
    }

    /// What is wrong with a stretch that does not verify: `kind`, unless it could not be read.
    fn fault(&self, stretch: Range<u64>, kind: DamageKind) -> DamageKind {
        let overlaps = |range: &Range<u64>| range.start < stretch.end && stretch.start < range.end;
        if self.unreadable.iter().any(overlaps) { DamageKind::Unreadable } else { kind }
    }
}

/// A stretch where no whole frame verifies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bad {
    /// Where it starts.
    pub(crate) offset: u64,
    /// Where its last byte that is not zero ends, or it starts.
    pub(crate) nonzero_end: u64,
    /// What is wrong.
    pub(crate) kind: DamageKind,
    /// The LSN that is expected here.
    pub(crate) first: Lsn,
    /// The last LSN that can have been here; below `first` where only a watermark was. `None` where no later frame
    /// verifies.
    pub(crate) last: Option<Lsn>,
}

/// What a scan comes upon.
pub(crate) enum Found<'s> {
    /// A frame that verifies.
    Frame { frame: Frame, offset: u64, payload: &'s [u8], padding_zero: bool },
    /// A stretch where none does.
    Bad(Bad),
    /// Zeros, or nothing, up to the end.
    End,
}

/// Goes through the frames of a segment.
pub(crate) struct Scan<'f> {
    window: Window<'f>,
    key: FrameKey,
    offset: u64,
    last: Lsn,
    check: u32,
    end: u64,
}

/// A place in a segment, and what was before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Where the next frame goes.
    pub(crate) offset: u64,
    /// The LSN of the frame before it.
    pub(crate) last: Lsn,
    /// The running check through that frame.
    pub(crate) check: u32,
}

impl Position {
    /// The place of a segment's first frame.
    pub(crate) fn start(first: Lsn) -> Position {
        Position { offset: HEADER_BYTES, last: first.before(), check: 0 }
    }

    /// The running check with one more frame.
    pub(crate) fn check_with(&self, header_check: u32) -> u32 {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.check);
        hasher.update(&header_check.to_le_bytes());
        hasher.finalize()
    }

    /// What the next segment says of the one that ends here.
    pub(crate) fn previous(&self, number: u64) -> Previous {
        Previous { number, end: self.offset, last: self.last, check: self.check }
    }
}

impl<'f> Scan<'f> {
    /// Starts at a segment's first frame; bytes from `end` on are not looked at.
    pub(crate) fn new(
        file: &'f dyn File,
        key: FrameKey,
        activation: &Activation,
        end: u64,
    ) -> io::Result<Scan<'f>> {
        let end = end.min(file.len()?);
        let start = Position::start(activation.first);
        Ok(Scan {
            window: Window { file, end, buffer: Vec::new(), start: 0, filled: 0, unreadable: Vec::new() },
            key,
            offset: start.offset,
            last: start.last,
            check: start.check,
            end,
        })
    }

    /// The place after the last frame that verified.
    pub(crate) fn position(&self) -> Position {
        Position { offset: self.offset, last: self.last, check: self.check }
    }

    /// The next frame, bad stretch, or end. After the end it is the end again.
    pub(crate) fn next(&mut self) -> io::Result<Found<'_>> {
        let offset = self.offset;
        let expected = self.last.next();
        let Some(header) = self.header_at(offset)?.filter(|header| self.follows(header)) else {
            return self.resync();
        };
        let frame = header.frame;
        let sound = self.payload_verifies(offset, &header)?;
        self.check = self.position().check_with(header.header_check);
        self.last = frame.lsn;
        self.offset = offset + header.frame_bytes();
        if !sound {
            return Ok(Found::Bad(Bad {
                offset,
                nonzero_end: self.offset,
                kind: self.window.fault(offset..self.offset, DamageKind::Payload),
                first: expected,
                last: Some(frame.lsn),
            }));
        }
        let payload_bytes = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX);
        let padded = payload_bytes.next_multiple_of(FRAME_ALIGN);
        let bytes = self.window.bytes(offset + HEADER_BYTES_U64, padded)?;
        let (payload, padding) = bytes.split_at_checked(payload_bytes).unwrap_or((bytes, &[]));
        let padding_zero = padding.iter().all(|byte| *byte == 0);
        Ok(Found::Frame { frame, offset, payload, padding_zero })
    }

    /// The header at an offset, if one verifies whose frame fits before the end.
    fn header_at(&mut self, offset: u64) -> io::Result<Option<FrameHeader>> {
        let Some(bytes) = self.window.bytes(offset, FRAME_HEADER_BYTES)?.first_chunk() else {
            return Ok(None);
        };
        let header = self.key.decode(offset, bytes);
        Ok(header.filter(|header| header.frame_bytes() <= self.end - offset && header.frame.lsn <= LSN_MAX))
    }

    fn payload_verifies(&mut self, offset: u64, header: &FrameHeader) -> io::Result<bool> {
        let count = usize::try_from(header.payload_bytes).unwrap_or(usize::MAX);
        let key = self.key;
        let payload = self.window.bytes(offset + HEADER_BYTES_U64, count)?;
        Ok(payload.len() == count && key.payload_check(offset, payload) == header.payload_check)
    }

    /// Whether a frame may come right after the last.
    fn follows(&self, header: &FrameHeader) -> bool {
        let lsn = header.frame.lsn;
        match header.frame.frame_type {
            FrameType::Record => lsn == self.last.next(),
            FrameType::Gap => lsn > self.last,
            FrameType::Watermark | FrameType::Seal => lsn == self.last,
        }
    }

    /// Whether a frame may come somewhere after the last.
    fn may_follow(&self, header: &FrameHeader) -> bool {
        let lsn = header.frame.lsn;
        let near = lsn.0 <= self.last.0.saturating_add(LSN_JUMP_MAX);
        near && match header.frame.frame_type {
            FrameType::Record | FrameType::Gap => lsn > self.last,
            FrameType::Watermark | FrameType::Seal => lsn >= self.last,
        }
    }

    /// Looks for the next frame that verifies, and moves there.
    fn resync(&mut self) -> io::Result<Found<'_>> {
        let start = self.offset;
        let mut at = start;
        let mut nonzero_end = start;
        while at < self.end {
            let chunk = self.window.bytes(at, WINDOW_BYTES)?;
            if chunk.is_empty() {
                break;
            }
            let mut candidate = None;
            let mut skipped = 0;
            while let Some(word) = chunk.get(skipped..).and_then(|rest| rest.first_chunk::<FRAME_ALIGN>()) {
                // Random bytes pass this in one place of 64; zeros never do.
                let frame_type = chunk.get(skipped + FRAME_TYPE_OFFSET).copied();
                let reserved = chunk.get(skipped + FRAME_TYPE_OFFSET + 1..skipped + FRAME_HEADER_BYTES);
                match (frame_type, reserved) {
                    (Some(1..=4), Some([0, 0])) => {
                        candidate = Some(skipped);
                        break;
                    }
                    (Some(_), Some(_)) => {}
                    // The header would reach past this chunk: read on from here, unless the file ends.
                    _ if at + (skipped as u64) + HEADER_BYTES_U64 <= self.end && skipped > 0 => break,
                    _ => {}
                }
                if u64::from_le_bytes(*word) != 0 {
                    nonzero_end = at + (skipped + FRAME_ALIGN) as u64;
                }
                skipped += FRAME_ALIGN;
            }
            if candidate.is_none() && skipped == 0 {
                // Less than a word is left.
                if chunk.iter().any(|byte| *byte != 0) {
                    nonzero_end = at + chunk.len() as u64;
                }
                break;
            }
            at += skipped as u64;
            if candidate.is_some() {
                if let Some(header) = self.header_at(at)?
                    && self.may_follow(&header)
                    && self.payload_verifies(at, &header)?
                {
                    return Ok(Found::Bad(self.bad_before(start, nonzero_end, at, &header)));
                }
                if self.window.bytes(at, FRAME_ALIGN)?.iter().any(|byte| *byte != 0) {
                    nonzero_end = at + FRAME_ALIGN as u64;
                }
                at += FRAME_ALIGN as u64;
            }
        }
        if nonzero_end == start {
            return Ok(Found::End);
        }
        // Nothing verifies any more: from here on it is the end.
        self.end = start;
        Ok(Found::Bad(Bad {
            offset: start,
            nonzero_end,
            kind: self.window.fault(start..nonzero_end, DamageKind::Frame),
            first: self.last.next(),
            last: None,
        }))
    }

    /// The stretch before a frame found at `at`, after moving there.
    fn bad_before(&mut self, start: u64, nonzero_end: u64, at: u64, found: &FrameHeader) -> Bad {
        let first = self.last.next();
        let lsn = found.frame.lsn;
        let (lost, last) = match found.frame.frame_type {
            FrameType::Record => (lsn.before(), lsn.before()),
            FrameType::Watermark | FrameType::Seal => (lsn, lsn),
            // A gap does not say where it starts: any of its LSNs may have been a record here.
            FrameType::Gap => (lsn, lsn.before().max(self.last)),
        };
        self.last = last;
        self.offset = at;
        let kind = self.window.fault(start..at, DamageKind::Frame);
        Bad { offset: start, nonzero_end, kind, first, last: Some(lost) }
    }
}

/// What a segment holds, as far as its own frames tell.
#[derive(Debug)]
pub(crate) struct Survey {
    /// The first LSN of the segment.
    pub(crate) first: Lsn,
    /// The highest LSN that a frame knows as durable; the LSN before the first where none does.
    pub(crate) durable: Lsn,
    /// The bad stretches, in order.
    pub(crate) bad: Vec<Bad>,
    /// The highest LSN of a frame that verifies, torn or not.
    pub(crate) highest: Lsn,
    /// How many frames verify.
    pub(crate) frames: u64,
    /// Whether the last frame is a seal.
    pub(crate) sealed: bool,
    /// The place after the last frame that verifies.
    pub(crate) position: Position,
    /// The place after the last of them that is no watermark or seal: such a frame says that all before it is durable,
    /// and nothing says so of itself.
    pub(crate) data_end: Position,
}

/// Where the trusted part of a segment ends, and its torn tail begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cut {
    /// The first byte of the torn tail.
    pub(crate) offset: u64,
    /// Acknowledged records that were in it.
    pub(crate) lost: Option<LsnSpan>,
    /// The last byte of it that is not zero ends here at the earliest.
    pub(crate) nonzero_end: u64,
    /// What is wrong where it starts.
    pub(crate) kind: DamageKind,
}

impl Survey {
    /// Reads a segment through.
    pub(crate) fn of(scan: &mut Scan<'_>) -> io::Result<Survey> {
        let before_first = scan.position().last;
        let mut survey = Survey {
            first: before_first.next(),
            durable: before_first,
            bad: Vec::new(),
            highest: before_first,
            frames: 0,
            sealed: false,
            position: scan.position(),
            data_end: scan.position(),
        };
        loop {
            match scan.next()? {
                Found::Frame { frame, .. } => {
                    survey.durable = survey.durable.max(frame.durable);
                    survey.highest = survey.highest.max(frame.lsn);
                    survey.frames += 1;
                    survey.sealed = frame.frame_type == FrameType::Seal;
                    if matches!(frame.frame_type, FrameType::Record | FrameType::Gap) {
                        survey.data_end = scan.position();
                    }
                }
                Found::Bad(bad) => {
                    survey.highest = survey.highest.max(bad.last.unwrap_or(before_first));
                    survey.bad.push(bad);
                    survey.data_end = scan.position();
                }
                Found::End => {
                    survey.position = scan.position();
                    return Ok(survey);
                }
            }
        }
    }

    /// The torn tail, if there is one: it starts at the first bad stretch that was not durable as a whole.
    ///
    /// A stretch that the device cannot read was not torn by a crash: what verifies after it is kept.
    pub(crate) fn cut(&self) -> Option<Cut> {
        let torn = |bad: &&Bad| match bad.last {
            _ if planted(Bug::DamageTakenForTail) => true,
            Some(last) => last > self.durable && bad.kind != DamageKind::Unreadable,
            None => true,
        };
        let torn = self.bad.iter().find(torn)?;
        Some(Cut {
            offset: torn.offset,
            lost: LsnSpan::new(torn.first, self.durable),
            nonzero_end: self
                .bad
                .last()
                .map_or(torn.nonzero_end, |bad| bad.nonzero_end)
                .max(self.position.offset),
            kind: torn.kind,
        })
    }
}
