//! Opening: from whatever a crash left behind to a log that can be served and continued.
//!
//! ```text
//!   1 read all headers, order them (chain.rs)                    nothing is changed before a newer version is refused
//!   2 sync quarantine/ and wal/: what this process sees by name may not be durable; remove drafts from tmp/
//!   3 survey the last segment: where does its torn tail begin?
//!   4 unless header and records there are whole, and proven durable: copy the survivors, same LSNs, into a new segment;
//!     sync; rename; sync wal/, sync tmp/                         [commit] the new header names what it supersedes
//!   5 remove or quarantine what is not in the chain; sync quarantine/, sync wal/
//!   6 hand out the records, oldest first
//! ```
//!
//! Step 4 exists because a process crash leaves bytes in the page cache that no disk holds: what is served must not
//! vanish at a later power cut, and what is cut off must not come back. A segment proves its records durable when a
//! frame, in practice a watermark or seal at its end, knows all of them as durable, and nothing but zeros follows:
//! such a frame was only written after a sync of everything before it. So a log that was closed, or idle, or recovered
//! is opened without a write.
//!
//! Step 2 syncs the directory for the same reason: the copy of an earlier recovery may be visible by a name that no
//! disk holds yet, and its original must not be removed before it does.
//!
//! A crash before the rename of step 4 leaves a draft, removed by the next step 2. A crash after it leaves both
//! segments; the new one's header retires the old one. Either way the next recovery finds the same records.
//!
//! What a tail or an unusable segment may have held of higher LSNs is never given out again, and neither is what the host
//! knows of: the copy ends in a gap frame that covers them.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use annals_vfs::planted::{Bug, planted};
use annals_vfs::{DirEntryKind, Entropy, Vfs};

use crate::chain::{Chain, Link, Segment, Unusable, read_segment};
use crate::commit::range;
use crate::error::{Damage, DamageKind, LSN_MAX, WalError};
use crate::frame::{FRAME_HEADER_BYTES, Frame, FrameType, GAP_LOST, GAP_UNWRITTEN};
use crate::header::{Activation, HEADER_BYTES, Previous, segment_number};
use crate::lsn::{Lsn, LsnSpan};
use crate::scan::{Position, Scan, Survey};
use crate::segment::{Active, Provision};
use crate::segments::SegmentRange;
use crate::wal::Options;
use crate::wal::{Place, Record};
use crate::walk::{Extent, walk};

/// How much is copied by one write.
const COPY_BYTES: usize = 1 << 20;
/// Far more than one process can use up.
const LSNS_LEFT_MIN: u64 = 1 << 40;

/// What opening found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// How many records were handed out.
    pub records: u64,
    /// The last LSN that is in use, by a record or not; the next one goes on from there.
    pub last: Lsn,
    /// How many segments the log has now.
    pub segments: usize,
    /// Whether the log ends in the seal of a clean close.
    pub sealed: bool,
    /// What is damaged. Everything else was handed out.
    pub damage: Vec<Damage>,
    /// How much of the last segment was discarded as a torn tail: never acknowledged, as far as any frame knows. Its
    /// bytes are in the quarantine.
    pub tail_bytes_discarded: u64,
    /// Where files went that could not be used, or of which not everything was.
    pub quarantined: Vec<PathBuf>,
}

/// Everything that a writer starts from.
pub(crate) struct Recovered {
    pub(crate) provision: Provision,
    pub(crate) ranges: VecDeque<SegmentRange>,
    pub(crate) active: Option<Active>,
    pub(crate) closed: Previous,
    pub(crate) report: RecoveryReport,
}

/// The last segment, surveyed.
struct Last {
    link: Link,
    survey: Survey,
    /// The highest LSN that its bytes may have held.
    highest: Lsn,
    discarded_bytes: u64,
}

/// Recovers the log of a directory.
pub(crate) fn recover(
    vfs: &dyn Vfs,
    entropy: &dyn Entropy,
    place: &Place,
    options: &Options,
    floor: Lsn,
    on_record: &mut dyn FnMut(Record<'_>),
) -> Result<Recovered, WalError> {
    let mut chain = Chain::read(vfs, &place.directory, &place.root_id)?;
    if chain.number_max > 0 && !planted(Bug::OpenDoesNotSync) {
        // First where files went, so that none can be in neither.
        for directory in [&place.quarantine, &place.directory] {
            vfs.sync_dir(directory).map_err(|source| WalError::io("sync", directory, source))?;
        }
    }
    sweep(vfs, &place.temporary)?;
    let mut provision = Provision::new(place, entropy, chain.number_max, options)?;
    let mut report =
        RecoveryReport { damage: std::mem::take(&mut chain.damage), ..RecoveryReport::default() };

    let last = chain.links.pop().map(|link| survey_last(vfs, link)).transpose()?;
    let unusable =
        hidden_lsns(&chain.unusable, last.as_ref().map_or(0, |last| last.link.segment.header.number));
    let mut retire = Retire::default();
    let (mut active, mut data_end) = (None, None);
    match last {
        // Where records are known of that it does not reach, it is made to say so too: what relies on numbers up to there
        // must not find a log that ends before them.
        Some(last) if last.proven() && last.sound() && unusable == 0 && last.highest >= floor => {
            report.sealed = last.survey.sealed;
            data_end = Some(last.survey.data_end);
            chain.links.push(last.link);
        }
        Some(last) => {
            let through = Lsn(last.highest.0.saturating_add(unusable)).max(floor);
            let found = report.damage.len();
            let copy = copy(vfs, &mut provision, Some(&last), through, &mut report.damage)?;
            report.tail_bytes_discarded = last.discarded_bytes;
            let whole = last.discarded_bytes == 0 && report.damage.len() == found;
            retire.add(last.link.segment.path.clone(), whole);
            chain.links.push(relink(vfs, place, &copy, &last.link)?);
            active = Some(copy);
        }
        // Where records are known of and no segment, one says from now on up to where the log went.
        None if unusable > 0 || floor > Lsn(0) || !chain.unusable.is_empty() => {
            let through = Lsn(floor.0.saturating_add(unusable));
            active = Some(copy(vfs, &mut provision, None, through, &mut report.damage)?);
        }
        None => {}
    }
    retire.unchained(vfs, &chain, &mut report.damage);
    report.quarantined = retire.run(vfs, place)?;

    let mut replay = Replay { vfs, report: &mut report, last: Lsn(0), on_record };
    let mut closed = Previous::default();
    let mut ranges = VecDeque::new();
    let count = chain.links.len();
    for (index, link) in chain.links.iter().enumerate() {
        let position = replay.link(link, index + 1 == count)?;
        let number = link.segment.header.number;
        // The seal itself may be in this process's cache only: what the next segment says must not rest on it.
        let end = data_end.filter(|_| index + 1 == count).unwrap_or(position);
        closed = end.previous(number);
        ranges.push_back(SegmentRange {
            number,
            path: link.segment.path.clone(),
            first: link.activation.first,
            last: link.stated.map_or(position.last, |stated| stated.last),
            file_bytes: link.segment.file_bytes,
            used_bytes: link.segment.file_bytes,
        });
    }
    if let Some(active) = &active {
        ranges.pop_back_if(|range| range.number == active.number);
        ranges.push_back(range(active));
        closed = active.durable.previous(active.number);
    }
    report.last = closed.last.max(floor);
    report.segments = ranges.len();
    if report.last.0 > LSN_MAX.0 - LSNS_LEFT_MIN {
        let directory = place.directory.clone();
        return Err(WalError::NumbersExhausted { directory, last: report.last.0 });
    }
    Ok(Recovered { provision, ranges, active, closed, report })
}

/// Removes drafts that an earlier process left behind.
fn sweep(vfs: &dyn Vfs, temporary: &Path) -> Result<(), WalError> {
    let entries = vfs.list(temporary).map_err(|source| WalError::io("list", temporary, source))?;
    for entry in entries {
        if entry.kind == DirEntryKind::File && segment_number(&entry.name).is_some() {
            let path = temporary.join(&entry.name);
            vfs.unlink(&path).map_err(|source| WalError::io("remove", &path, source))?;
        }
    }
    Ok(())
}

/// How many LSNs may have been in segments after the last usable one.
fn hidden_lsns(unusable: &[Unusable], last_number: u64) -> u64 {
    unusable
        .iter()
        .filter(|file| file.number > last_number)
        .map(|file| file.file_bytes.saturating_sub(HEADER_BYTES).div_ceil(FRAME_HEADER_BYTES as u64))
        .sum()
}

fn survey_last(vfs: &dyn Vfs, link: Link) -> Result<Last, WalError> {
    let file = link.segment.open(vfs)?;
    let survey = || {
        let mut scan = Scan::new(&*file, link.segment.header.key(), &link.activation, u64::MAX)?;
        Survey::of(&mut scan)
    };
    let survey = survey().map_err(|source| WalError::io("read", &link.segment.path, source))?;
    let cut = survey.cut();
    let discarded_bytes = cut.map_or(0, |cut| cut.nonzero_end - cut.offset);
    let highest = Lsn(survey.highest.0.saturating_add(discarded_bytes.div_ceil(FRAME_HEADER_BYTES as u64)));
    Ok(Last { link, survey, highest, discarded_bytes })
}

impl Last {
    /// Whether all that the segment holds is known to be durable.
    fn proven(&self) -> bool {
        let survey = &self.survey;
        let durable = survey.durable >= survey.position.last || planted(Bug::TailNotCopied);
        survey.frames > 0 && durable && survey.cut().is_none()
    }

    /// Whether both halves of its header are whole, the file is as long as it was made, and every record verifies: the
    /// next damage of the half that is left would cost all of it, and what is lost is told once, not at each open.
    fn sound(&self) -> bool {
        let segment = &self.link.segment;
        let full_size = segment.file_bytes >= segment.header.file_bytes;
        segment.header_whole && full_size && self.survey.bad.is_empty()
    }
}

/// Writes a segment that repeats what survives of the last one, and publishes it. Its LSNs reach up to `through`.
fn copy(
    vfs: &dyn Vfs,
    provision: &mut Provision,
    last: Option<&Last>,
    through: Lsn,
    damage: &mut Vec<Damage>,
) -> Result<Active, WalError> {
    let activation = match last {
        Some(last) => Activation { superseded: last.link.segment.header.number, ..last.link.activation },
        None => Activation { first: through.next(), previous: Previous::default(), superseded: 0 },
    };
    let frames_bytes = last.map_or(0, |last| {
        // Each bad stretch may become a gap, and so may the tail, twice; then the watermark.
        let survivors = last.survey.position.offset.saturating_sub(HEADER_BYTES);
        survivors + (last.survey.bad.len() as u64 + 2) * FRAME_HEADER_BYTES as u64
    });
    let mut active = provision.draft_active(vfs, frames_bytes + FRAME_HEADER_BYTES as u64, activation)?;
    let draft = active.path.clone();
    let filled = fill(vfs, &mut active, last, through, damage);
    let published = filled.and_then(|()| provision.publish_active(vfs, active));
    if published.is_err() {
        // Gives the space back if the draft is still there; if not, the new segment counts.
        let _ = vfs.unlink(&draft);
    }
    published
}

fn fill(
    vfs: &dyn Vfs,
    active: &mut Active,
    last: Option<&Last>,
    through: Lsn,
    damage: &mut Vec<Damage>,
) -> Result<(), WalError> {
    let path = active.path.clone();
    let failed = |source: io::Error| WalError::io("write", &path, source);
    let mut buffer = Vec::new();
    if let Some(last) = last {
        let file = last.link.segment.open(vfs)?;
        let mut batch = active.batch(&mut buffer);
        let mut spill = |frame: Frame, payload: &[u8]| -> io::Result<()> {
            match frame.frame_type {
                FrameType::Record => batch.push_record(frame, payload, GAP_LOST),
                FrameType::Gap => batch.push_gap(frame.lsn, frame.durable, frame.kind),
                FrameType::Watermark | FrameType::Seal => return Ok(()),
            }
            if batch.bytes() >= COPY_BYTES {
                active.write(&batch)?;
                batch.written();
            }
            Ok(())
        };
        let end =
            walk(&last.link, &*file, Extent::of_last(&last.survey), damage, &mut spill).map_err(failed)?;
        batch.push_gap(end.last, Lsn(0), GAP_LOST);
        active.write(&batch).map_err(failed)?;
    }
    let mut batch = active.batch(&mut buffer);
    batch.push_gap(through, Lsn(0), GAP_UNWRITTEN);
    // True as soon as anyone can see it: the file gets its name after a sync.
    let lsn = batch.last();
    batch.push(Frame { frame_type: FrameType::Watermark, kind: 0, lsn, durable: lsn }, &[]);
    active.write(&batch).map_err(failed)
}

/// The copy as a link of the chain, read back.
fn relink(vfs: &dyn Vfs, place: &Place, copy: &Active, original: &Link) -> Result<Link, WalError> {
    let segment = read_segment(vfs, &copy.path, &place.root_id, copy.number)?;
    let activation = Activation { superseded: original.segment.header.number, ..original.activation };
    Ok(Link { segment, activation, stated: None, previous_missing: original.previous_missing })
}

/// What is to leave the directory.
#[derive(Default)]
struct Retire {
    unlink: Vec<PathBuf>,
    quarantine: Vec<PathBuf>,
}

impl Retire {
    /// Nothing but what another segment repeats, or zeros, may be unlinked.
    fn add(&mut self, path: PathBuf, nothing_lost: bool) {
        if nothing_lost { self.unlink.push(path) } else { self.quarantine.push(path) }
    }

    /// All that is in the directory and not in the chain.
    fn unchained(&mut self, vfs: &dyn Vfs, chain: &Chain, damage: &mut Vec<Damage>) {
        for segment in &chain.superseded {
            self.add(segment.path.clone(), was_copied_whole(vfs, segment).unwrap_or(false));
        }
        for segment in chain.strays.iter().chain(&chain.standbys) {
            // Twice: a read that fails for a moment must not make it look like damage.
            let empty = is_empty(vfs, segment).or_else(|_| is_empty(vfs, segment)).unwrap_or(false);
            if !empty {
                let (path, kind) = (segment.path.clone(), DamageKind::Unchained);
                damage.push(Damage { path, offset: HEADER_BYTES, lsns: None, kind });
            }
            self.add(segment.path.clone(), empty);
        }
        self.quarantine.extend(chain.unusable.iter().map(|file| file.path.clone()));
    }

    /// Says where the quarantined files went.
    fn run(self, vfs: &dyn Vfs, place: &Place) -> Result<Vec<PathBuf>, WalError> {
        let (directory, quarantine) = (&place.directory, &place.quarantine);
        if self.unlink.is_empty() && self.quarantine.is_empty() {
            return Ok(Vec::new());
        }
        let mut moved = Vec::new();
        if !self.quarantine.is_empty() {
            let entries = vfs.list(quarantine).map_err(|source| WalError::io("list", quarantine, source))?;
            let mut taken: BTreeSet<String> = entries.into_iter().map(|entry| entry.name).collect();
            for from in self.quarantine {
                let stem =
                    from.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
                let free =
                    (0_u64..).map(|n| format!("wal-{stem}-{n}.seg")).find(|name| !taken.contains(name));
                let name = free.unwrap_or_default();
                let to = quarantine.join(&name);
                vfs.rename(&from, &to).map_err(|source| WalError::io("quarantine", &from, source))?;
                taken.insert(name);
                moved.push(to);
            }
            vfs.sync_dir(quarantine).map_err(|source| WalError::io("sync", quarantine, source))?;
        }
        for path in self.unlink {
            match vfs.unlink(&path) {
                Err(source) if source.kind() != ErrorKind::NotFound => {
                    return Err(WalError::io("remove", &path, source));
                }
                _ => {}
            }
        }
        vfs.sync_dir(directory).map_err(|source| WalError::io("sync", directory, source))?;
        Ok(moved)
    }
}

/// Whether a superseded segment held nothing that its copy does not.
fn was_copied_whole(vfs: &dyn Vfs, segment: &Segment) -> Result<bool, WalError> {
    let Some(activation) = segment.header.activation else { return Ok(false) };
    let link = Link { segment: segment.clone(), activation, stated: None, previous_missing: false };
    let last = survey_last(vfs, link)?;
    Ok(last.survey.bad.is_empty() && last.discarded_bytes == 0)
}

/// Whether no frame was ever begun in a segment.
fn is_empty(vfs: &dyn Vfs, segment: &Segment) -> Result<bool, WalError> {
    let file = segment.open(vfs)?;
    let mut bytes = [0; FRAME_HEADER_BYTES];
    file.read_at(&mut bytes, HEADER_BYTES).map_err(|source| WalError::io("read", &segment.path, source))?;
    Ok(bytes.iter().all(|byte| *byte == 0))
}

/// Hands out records, each LSN at most once and in order.
struct Replay<'r> {
    vfs: &'r dyn Vfs,
    report: &'r mut RecoveryReport,
    last: Lsn,
    on_record: &'r mut dyn FnMut(Record<'_>),
}

impl Replay<'_> {
    fn link(&mut self, link: &Link, is_last: bool) -> Result<Position, WalError> {
        if link.previous_missing {
            report_missing(&mut self.report.damage, link, self.last);
        }
        let file = link.segment.open(self.vfs)?;
        let failed = |source| WalError::io("read", &link.segment.path, source);
        let extent = if is_last {
            let mut scan =
                Scan::new(&*file, link.segment.header.key(), &link.activation, u64::MAX).map_err(failed)?;
            Extent::of_last(&Survey::of(&mut scan).map_err(failed)?)
        } else {
            Extent::of_closed(link)
        };
        let (last, records, on_record) = (&mut self.last, &mut self.report.records, &mut self.on_record);
        let mut deliver = |frame: Frame, payload: &[u8]| {
            if frame.frame_type == FrameType::Record && frame.lsn > *last {
                *records += 1;
                on_record(Record { lsn: frame.lsn, kind: frame.kind, payload });
            }
            *last = frame.lsn.max(*last);
            Ok(())
        };
        walk(link, &*file, extent, &mut self.report.damage, &mut deliver).map_err(failed)
    }
}

/// Adds that a link's predecessor is missing, and what was in it above `last`.
pub(crate) fn report_missing(damage: &mut Vec<Damage>, link: &Link, last: Lsn) {
    let Some(path) = link.missing_path() else { return };
    let lsns = LsnSpan::new(last.next(), link.activation.previous.last).filter(|_| last > Lsn(0));
    match damage.iter_mut().find(|known| known.path == path) {
        Some(known) => known.lsns = lsns,
        None => damage.push(Damage { path, offset: 0, lsns, kind: DamageKind::SegmentMissing }),
    }
}
