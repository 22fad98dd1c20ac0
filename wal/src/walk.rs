//! Going through one segment of the chain: frames to one side, damage to the other.

use std::io;

use annals_vfs::File;

use crate::chain::Link;
use crate::error::{Damage, DamageKind};
use crate::frame::Frame;
use crate::header::HEADER_BYTES;
use crate::lsn::{Lsn, LsnSpan};
use crate::scan::{Cut, Found, Position, Scan, Survey};

/// How far a segment is to be trusted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// No frame at or after this offset.
    end: u64,
    /// No record after this one, and no damage that cost only later ones.
    through: Lsn,
    /// Whether its frames must reach up to the end, as the next segment says.
    stated: Option<Position>,
    /// The torn tail, where acknowledged records were at its start, or it cannot be read.
    lost: Option<Cut>,
    /// Whether anything in the segment is known to be durable, so that its header must be whole.
    settled: bool,
    /// Up to this record all is known to be durable. A crash may garble what comes after, and of a frame that verifies the
    /// padding alone.
    durable: Lsn,
}

impl Extent {
    /// Of a segment that is not the last.
    pub(crate) fn of_closed(link: &Link) -> Extent {
        let stated = link.stated.map(|previous| Position {
            offset: previous.end,
            last: previous.last,
            check: previous.check,
        });
        let end = stated.map_or(u64::MAX, |position| position.offset);
        // Half 1 of a header becomes durable with the first batch, and there may have been none.
        let settled = stated.is_none_or(|stated| stated.offset > HEADER_BYTES);
        Extent { end, through: Lsn(u64::MAX), stated, lost: None, settled, durable: Lsn(u64::MAX) }
    }

    /// Of the last segment, up to its torn tail.
    pub(crate) fn of_last(survey: &Survey) -> Extent {
        let cut = survey.cut();
        Extent {
            end: cut.map_or(survey.position.offset, |cut| cut.offset),
            through: Lsn(u64::MAX),
            stated: None,
            lost: cut.filter(|cut| cut.lost.is_some() || cut.kind == DamageKind::Unreadable),
            settled: survey.settled(),
            durable: survey.durable,
        }
    }

    /// Of a last segment that a writer may be writing: only what is known to be durable.
    pub(crate) fn of_live(survey: &Survey) -> Extent {
        let (durable, settled) = (survey.durable, survey.settled());
        Extent { end: u64::MAX, through: durable, stated: None, lost: None, settled, durable }
    }
}

/// Hands every trusted frame to `on_frame`, in order, and adds what is damaged. Says where the trusted part ends.
pub(crate) fn walk(
    link: &Link,
    file: &dyn File,
    extent: Extent,
    damage: &mut Vec<Damage>,
    on_frame: &mut dyn FnMut(Frame, &[u8]) -> io::Result<()>,
) -> io::Result<Position> {
    let segment = &link.segment;
    let mut found_here = 0;
    let mut report = |offset: u64, lsns: Option<LsnSpan>, kind: DamageKind| {
        found_here += 1;
        damage.push(Damage { path: segment.path.clone(), offset, lsns, kind });
    };
    if extent.settled && !segment.header_whole {
        report(0, None, DamageKind::HeaderHalf);
    }
    let file_bytes = file.len()?;
    if file_bytes < segment.header.file_bytes {
        report(file_bytes, None, DamageKind::FileShort { expected: segment.header.file_bytes });
    }
    let mut scan = Scan::new(file, segment.header.key(), &link.activation, extent.end)?;
    let mut position = scan.position();
    loop {
        match scan.next()? {
            Found::Frame { frame, offset, payload, padding_zero } => {
                if frame.lsn > extent.through {
                    break;
                }
                if !padding_zero && frame.lsn <= extent.durable {
                    report(offset, None, DamageKind::Padding);
                }
                on_frame(frame, payload)?;
                position = scan.position();
            }
            Found::Bad(bad) => {
                if bad.first > extent.through {
                    break;
                }
                // A segment whose end nobody states may end in anything: what is lost there is reported as missing
                // by the segment after it.
                let last = match (bad.last, extent.stated) {
                    (Some(last), _) => last.min(extent.through),
                    (None, Some(stated)) => stated.last,
                    (None, None) if extent.through < Lsn(u64::MAX) => extent.through,
                    (None, None) => break,
                };
                report(bad.offset, LsnSpan::new(bad.first, last), bad.kind);
                position = scan.position();
                if bad.last.is_none() {
                    position.last = position.last.max(last);
                    break;
                }
            }
            Found::End => {
                if let Some(stated) = extent.stated
                    && position.offset != stated.offset
                {
                    report(
                        position.offset,
                        LsnSpan::new(position.last.next(), stated.last),
                        DamageKind::Frame,
                    );
                }
                break;
            }
        }
    }
    if let Some(cut) = extent.lost {
        report(cut.offset, cut.lost, cut.kind);
        position.last = cut.lost.map_or(position.last, |lost| lost.last);
    }
    if found_here == 0 && extent.stated.is_some_and(|stated| stated != position) {
        damage.push(Damage {
            path: segment.path.clone(),
            offset: 0,
            lsns: None,
            kind: DamageKind::OtherFrames,
        });
    }
    Ok(position)
}

impl Survey {
    /// Whether a frame proves that a sync of the segment succeeded after its first record.
    fn settled(&self) -> bool {
        self.frames > 0 && self.durable >= self.first
    }
}
