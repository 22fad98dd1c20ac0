//! Segment files being made and written.
//!
//! ```text
//!   Provision ── create ──> Standby ── activate ──> Active ── append, sync ──> closed, for ever
//!                  │           │                       │
//!                  │           │                       └ one write_at per batch, one sync per commit
//!                  │           └ header half 0, sync, half 1: only now may frames go in
//!                  └ tmp/: create, zero-fill, header, sync; rename to wal/; sync wal/, sync tmp/
//! ```
//!
//! A segment is written through the handle that created it, and by nothing else: what another process left behind is
//! never opened for writing. After a failed write or sync an [`Active`] must be dropped.

use std::io;
use std::path::PathBuf;

use annals_vfs::planted::{Bug, planted};
use annals_vfs::{Entropy, File, Vfs};

use crate::error::WalError;
use crate::frame::{FRAME_HEADER_BYTES, Frame, FrameKey, FrameType, GAP_LOST, GAP_UNWRITTEN, frame_bytes};
use crate::header::{Activation, HALF_BYTES, HEADER_BYTES, Header, NUMBER_MAX, segment_name};
use crate::lsn::Lsn;
use crate::scan::Position;
use crate::wal::{Options, Place};

/// Kept free at the end of a segment, so that what was acknowledged can always be marked, and the end sealed.
const RESERVED_BYTES: u64 = 2 * FRAME_HEADER_BYTES as u64;
/// Segments are as long as some whole number of these.
const PAGE_BYTES: u64 = 4096;

/// What a record of this payload takes at most: a gap may have to go before it.
pub(crate) fn record_bytes(payload_bytes: usize) -> u64 {
    FRAME_HEADER_BYTES as u64 + frame_bytes(payload_bytes as u64)
}

/// Makes standby segments.
pub(crate) struct Provision {
    directory: PathBuf,
    temporary: PathBuf,
    root_id: [u8; 16],
    salt_seed: [u8; 16],
    next_number: u64,
    next_bytes: u64,
    bytes_max: u64,
    ready: Option<Standby>,
}

/// A published segment that no frame may go into yet.
pub(crate) struct Standby {
    file: Box<dyn File>,
    pub(crate) path: PathBuf,
    header: Header,
}

/// The segment that frames go into.
pub(crate) struct Active {
    file: Box<dyn File>,
    pub(crate) path: PathBuf,
    pub(crate) number: u64,
    key: FrameKey,
    pub(crate) file_bytes: u64,
    pub(crate) first: Lsn,
    /// Where the next frame goes.
    pub(crate) written: Position,
    /// What the last successful sync covered.
    pub(crate) durable: Position,
    /// Whether anything was made durable since the last watermark.
    pub(crate) unmarked: bool,
}

impl Provision {
    /// `number_max` is the highest number in use.
    pub(crate) fn new(
        place: &Place,
        entropy: &dyn Entropy,
        number_max: u64,
        options: &Options,
    ) -> Result<Provision, WalError> {
        let mut salt_seed = [0; 16];
        entropy
            .fill(&mut salt_seed)
            .map_err(|source| WalError::io("draw a salt for segments of", &place.directory, source))?;
        if planted(Bug::SaltReused) {
            salt_seed = [7; 16];
        }
        Ok(Provision {
            directory: place.directory.clone(),
            temporary: place.temporary.clone(),
            root_id: place.root_id,
            salt_seed,
            next_number: number_max.saturating_add(1),
            next_bytes: options.first_segment_bytes,
            bytes_max: options.segment_bytes_max,
            ready: None,
        })
    }

    /// Makes a segment ready, if none is.
    pub(crate) fn prepare(&mut self, vfs: &dyn Vfs) -> Result<(), WalError> {
        if self.ready.is_none() {
            self.ready = Some(self.create(vfs, 0)?);
        }
        Ok(())
    }

    /// Hands out a segment with room for frames of so many bytes.
    pub(crate) fn take(&mut self, vfs: &dyn Vfs, frames_bytes: u64) -> Result<Standby, WalError> {
        match self.ready.take() {
            Some(standby) if standby.header.file_bytes >= file_bytes_for(frames_bytes) => Ok(standby),
            too_small => {
                too_small.into_iter().for_each(|standby| standby.discard(vfs));
                self.create(vfs, frames_bytes)
            }
        }
    }

    /// Removes the segment that is ready, if one is.
    pub(crate) fn release(&mut self, vfs: &dyn Vfs) {
        self.ready.take().into_iter().for_each(|standby| standby.discard(vfs));
    }

    /// A header for the next segment; its number is used up, whatever becomes of it.
    fn next_header(&mut self, frames_bytes: u64) -> Result<Header, WalError> {
        let number = self.next_number;
        if number > NUMBER_MAX {
            return Err(WalError::NumbersExhausted { directory: self.directory.clone(), last: NUMBER_MAX });
        }
        self.next_number += 1;
        let file_bytes = self.next_bytes.max(file_bytes_for(frames_bytes)).next_multiple_of(PAGE_BYTES);
        Ok(Header {
            root_id: self.root_id,
            number,
            salt: derive_salt(&self.salt_seed, number),
            file_bytes,
            activation: None,
        })
    }

    /// Creates and publishes a standby; the next one will be twice as long.
    fn create(&mut self, vfs: &dyn Vfs, frames_bytes: u64) -> Result<Standby, WalError> {
        let header = self.next_header(frames_bytes)?;
        let standby = self.draft(vfs, header)?;
        let published = self.publish(vfs, standby)?;
        self.next_bytes = self.next_bytes.saturating_mul(2).min(self.bytes_max);
        Ok(published)
    }

    /// Starts a segment that is active before it is published, for recovery to fill.
    pub(crate) fn draft_active(
        &mut self,
        vfs: &dyn Vfs,
        frames_bytes: u64,
        activation: Activation,
    ) -> Result<Active, WalError> {
        let header = Header { activation: Some(activation), ..self.next_header(frames_bytes)? };
        let standby = self.draft(vfs, header)?;
        Ok(standby.into_active(activation.first))
    }

    /// Publishes what [`draft_active`](Self::draft_active) began. Everything in it is durable before it has its name.
    pub(crate) fn publish_active(&mut self, vfs: &dyn Vfs, mut active: Active) -> Result<Active, WalError> {
        if let Err(source) = active.sync() {
            return Err(WalError::io("sync", &active.path, source));
        }
        active.path = self.rename(vfs, &active.path, active.number)?;
        Ok(active)
    }

    /// Creates, fills and writes the header of a file in the temporary directory.
    fn draft(&self, vfs: &dyn Vfs, header: Header) -> Result<Standby, WalError> {
        let path = self.temporary.join(segment_name(header.number));
        let file = vfs.create(&path).map_err(|source| WalError::io("create", &path, source))?;
        let filled = file.allocate(header.file_bytes).and_then(|()| file.write_at(&header.encode(), 0));
        match filled {
            Ok(()) => Ok(Standby { file, path, header }),
            Err(source) => {
                // Gives the space back; what cannot be removed now goes at the next open.
                let _ = vfs.unlink(&path);
                Err(WalError::io("fill", &path, source))
            }
        }
    }

    fn publish(&self, vfs: &dyn Vfs, mut standby: Standby) -> Result<Standby, WalError> {
        if let Err(source) = standby.file.sync() {
            let _ = vfs.unlink(&standby.path);
            return Err(WalError::io("sync", &standby.path, source));
        }
        let published = self.rename(vfs, &standby.path, standby.header.number);
        standby.path = published.inspect_err(|_| {
            // Whichever name it has: it holds no frame, so its space may be given back at once.
            let _ = vfs.unlink(&standby.path);
            let _ = vfs.unlink(&self.directory.join(segment_name(standby.header.number)));
        })?;
        Ok(standby)
    }

    /// Moves a synced draft to its final name. After an error its number is not used again.
    fn rename(&self, vfs: &dyn Vfs, draft: &std::path::Path, number: u64) -> Result<PathBuf, WalError> {
        let path = self.directory.join(segment_name(number));
        vfs.rename(draft, &path).map_err(|source| WalError::io("publish", &path, source))?;
        for directory in [&self.directory, &self.temporary] {
            if planted(Bug::SegmentNameNotSynced) {
                continue;
            }
            vfs.sync_dir(directory).map_err(|source| WalError::io("sync", directory, source))?;
        }
        Ok(path)
    }
}

/// The length of a file with room for frames of so many bytes, without rounding.
fn file_bytes_for(frames_bytes: u64) -> u64 {
    HEADER_BYTES + frames_bytes + RESERVED_BYTES
}

/// A salt per segment from the one drawn at open (splitmix64 over each half): what a payload's author cannot guess.
fn derive_salt(seed: &[u8; 16], number: u64) -> [u8; 16] {
    let mix = |state: u64| {
        let mut z = state.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let seed = u128::from_le_bytes(*seed);
    let (low, high) = (seed as u64, (seed >> 64) as u64);
    (u128::from(mix(low)) | u128::from(mix(high)) << 64).to_le_bytes()
}

impl Standby {
    /// Removes it; it holds nothing, so it does not matter whether that succeeds, now or ever.
    pub(crate) fn discard(self, vfs: &dyn Vfs) {
        let _ = vfs.unlink(&self.path);
    }

    /// How many bytes of records fit.
    pub(crate) fn frames_bytes_max(&self) -> u64 {
        self.header.file_bytes.saturating_sub(HEADER_BYTES + RESERVED_BYTES)
    }

    /// Makes it the active segment: rewrites half 0 of the header, syncs, rewrites half 1. The second half becomes
    /// durable with the first batch.
    ///
    /// After an error the file may or may not say that its predecessor has ended: nothing may be written to that one
    /// any more.
    pub(crate) fn activate(self, activation: Activation) -> Result<Active, WalError> {
        let header = Header { activation: Some(activation), ..self.header };
        let written = self
            .file
            .write_at(&header.encode_half(0), 0)
            .and_then(|()| self.file.sync())
            .and_then(|()| self.file.write_at(&header.encode_half(1), HALF_BYTES as u64));
        match written {
            Ok(()) => Ok(self.into_active(activation.first)),
            Err(source) => Err(WalError::io("activate", &self.path, source)),
        }
    }

    fn into_active(self, first: Lsn) -> Active {
        let start = Position::start(first);
        Active {
            file: self.file,
            path: self.path,
            number: self.header.number,
            key: self.header.key(),
            file_bytes: self.header.file_bytes,
            first,
            written: start,
            durable: start,
            unmarked: false,
        }
    }
}

impl Active {
    /// How many bytes of records still fit.
    pub(crate) fn room(&self) -> u64 {
        self.file_bytes.saturating_sub(self.written.offset + RESERVED_BYTES)
    }

    /// Starts a batch of frames, to be encoded into a buffer that is reused.
    pub(crate) fn batch<'b>(&self, buffer: &'b mut Vec<u8>) -> Batch<'b> {
        buffer.clear();
        Batch { key: self.key, start: self.written, position: self.written, buffer }
    }

    /// Writes a batch, with one write. After an error the segment is not to be used again.
    pub(crate) fn write(&mut self, batch: &Batch<'_>) -> io::Result<()> {
        assert_eq!(batch.start, self.written, "batches are written in order");
        assert!(batch.position.offset <= self.file_bytes, "a batch fits into its segment");
        match self.file.write_at(batch.buffer, batch.start.offset) {
            Err(_) if planted(Bug::ShortWriteIgnored) => {}
            Err(_) if planted(Bug::SegmentKeptAfterFailure) => {
                self.file.write_at(batch.buffer, batch.start.offset)?;
            }
            written => written?,
        }
        self.written = batch.position;
        Ok(())
    }

    /// Makes what was written durable. After an error the segment is not to be used again.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        match self.file.sync() {
            Err(_) if planted(Bug::SyncRetried) => self.file.sync()?,
            _ if planted(Bug::LogNotSynced) => {}
            synced => synced?,
        }
        self.unmarked |= self.durable.last != self.written.last;
        self.durable = self.written;
        Ok(())
    }

    /// Writes a watermark or a seal, and syncs it. Everything before it must be durable already: that is what it says.
    pub(crate) fn mark(&mut self, frame_type: FrameType, buffer: &mut Vec<u8>) -> io::Result<()> {
        assert_eq!(self.durable, self.written, "a mark follows a sync");
        let mut batch = self.batch(buffer);
        let last = batch.position.last;
        batch.push(Frame { frame_type, kind: 0, lsn: last, durable: last }, &[]);
        self.write(&batch)?;
        self.sync()?;
        self.unmarked = false;
        Ok(())
    }
}

/// Frames on their way into a segment.
pub(crate) struct Batch<'b> {
    key: FrameKey,
    start: Position,
    position: Position,
    buffer: &'b mut Vec<u8>,
}

impl Batch<'_> {
    /// Bytes encoded so far.
    pub(crate) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    /// The LSN of the last frame, in this batch or before it.
    pub(crate) fn last(&self) -> Lsn {
        self.position.last
    }

    /// What was encoded so far has been written.
    pub(crate) fn written(&mut self) {
        self.start = self.position;
        self.buffer.clear();
    }

    /// Adds a frame.
    pub(crate) fn push(&mut self, frame: Frame, payload: &[u8]) {
        let check = self.key.encode(self.position.offset, frame, payload, self.buffer);
        self.position = Position {
            offset: self.start.offset + self.buffer.len() as u64,
            last: frame.lsn,
            check: self.position.check_with(check),
        };
    }

    /// Adds a record, and before it a gap where LSNs were left out.
    pub(crate) fn push_record(&mut self, frame: Frame, payload: &[u8], gap_kind: u8) {
        assert!(frame.lsn > self.position.last, "LSNs grow");
        self.push_gap(frame.lsn.before(), frame.durable.min(frame.lsn.before()), gap_kind);
        self.push(frame, payload);
    }

    /// Adds a gap up to an LSN, unless that is where the log is already.
    pub(crate) fn push_gap(&mut self, through: Lsn, durable: Lsn, kind: u8) {
        debug_assert!(kind == GAP_LOST || kind == GAP_UNWRITTEN);
        if through > self.position.last {
            self.push(Frame { frame_type: FrameType::Gap, kind, lsn: through, durable }, &[]);
        }
    }
}
