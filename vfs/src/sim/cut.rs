//! What a power cut leaves of the changes that were pending.
//!
//! Bytes that were synced survive every cut, also where they share a sector with bytes that were being written:
//! garbage lands only on what was dirty. Disks that tear a sector beyond the written bytes are outside of the model,
//! as they are for every log that appends.

use super::content::Content;
use super::disk::{Change, Disk, FileState, Inode};
use crate::SimEntropy;

/// The unit that a disk writes whole, or nearly so.
const SECTOR_BYTES: usize = 512;
/// How many bytes of other files a cut draws stale sectors from, at most.
const STALE_BYTES_MAX: usize = 64 << 10;

/// Which pending changes, of bytes and of names, survive a power cut. Synced ones always do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SimCut {
    /// None: the strictest reading of what was promised.
    Nothing,
    /// All: as if the cut had come a moment later.
    Everything,
    /// Those up to a random moment, in the order in which they were made.
    Prefix {
        /// Draws the moment.
        seed: u64,
    },
    /// Any: each name change and each 512-byte sector by itself, some sectors torn, some lengths without data.
    Torn {
        /// Draws what survives.
        seed: u64,
    },
    /// Names and lengths, no bytes: grown files read as zeros.
    LengthsOnly,
    /// Bytes, no names.
    BytesOnly,
    /// Those from a random moment on: what came first is lost.
    Suffix {
        /// Draws the moment.
        seed: u64,
    },
    /// Names and lengths, no bytes: grown files read as what lay there before, zeros, garbage or other files' bytes.
    LengthsOverGarbage {
        /// Draws the garbage.
        seed: u64,
    },
    /// Names and bytes, no lengths: what lies past a file's old end is lost.
    WithoutLengths,
    /// Names, neither bytes nor lengths.
    NamesOnly,
    /// Names up to a random moment, in their order, as a journal keeps them; sectors and lengths in any order.
    Journaled {
        /// Draws the moment and what survives.
        seed: u64,
    },
    /// As [`SimCut::Torn`], and some of the dirty sectors that are lost hold garbage or other files' bytes.
    Garbled {
        /// Draws what survives, and the garbage.
        seed: u64,
    },
}

impl SimCut {
    /// Every kind of cut, for loops over all of them.
    #[must_use]
    pub fn all(seed: u64) -> [SimCut; 12] {
        [
            SimCut::Nothing,
            SimCut::Everything,
            SimCut::Prefix { seed },
            SimCut::Torn { seed },
            SimCut::LengthsOnly,
            SimCut::BytesOnly,
            SimCut::Suffix { seed },
            SimCut::LengthsOverGarbage { seed },
            SimCut::WithoutLengths,
            SimCut::NamesOnly,
            SimCut::Journaled { seed },
            SimCut::Garbled { seed },
        ]
    }

    /// The seed of a cut that draws.
    #[must_use]
    pub fn seed(self) -> Option<u64> {
        match self {
            SimCut::Prefix { seed }
            | SimCut::Torn { seed }
            | SimCut::Suffix { seed }
            | SimCut::LengthsOverGarbage { seed }
            | SimCut::Journaled { seed }
            | SimCut::Garbled { seed } => Some(seed),
            SimCut::Nothing
            | SimCut::Everything
            | SimCut::LengthsOnly
            | SimCut::BytesOnly
            | SimCut::WithoutLengths
            | SimCut::NamesOnly => None,
        }
    }
}

/// Cuts the power: afterwards only what is durable is there, with what the policy lets survive.
pub(super) fn cut(disk: &mut Disk, policy: SimCut) {
    let mut dice = Dice::new(policy.seed().unwrap_or(0));
    if matches!(policy, SimCut::LengthsOverGarbage { .. } | SimCut::Garbled { .. }) {
        dice.stale = stale_bytes(disk);
    }
    let moment = match policy {
        SimCut::Prefix { .. } | SimCut::Suffix { .. } => dice.moment(disk, true),
        SimCut::Journaled { .. } => dice.moment(disk, false),
        _ => 0,
    };
    for inode in disk.inodes_mut() {
        let Inode::File(file) = inode else { continue };
        if !file.pending.is_empty() {
            cut_file(file, policy, moment, &dice);
        }
    }
    for pending in std::mem::take(&mut disk.names) {
        let survives = match policy {
            SimCut::Nothing | SimCut::BytesOnly => false,
            SimCut::Everything
            | SimCut::LengthsOnly
            | SimCut::LengthsOverGarbage { .. }
            | SimCut::WithoutLengths
            | SimCut::NamesOnly => true,
            SimCut::Prefix { .. } | SimCut::Journaled { .. } => pending.sequence <= moment,
            SimCut::Suffix { .. } => pending.sequence > moment,
            SimCut::Torn { .. } | SimCut::Garbled { .. } => dice.one_in(2),
        };
        if survives {
            disk.make_durable(&pending);
        }
    }
    disk.forget_volatile();
}

fn cut_file(file: &mut FileState, policy: SimCut, moment: u64, dice: &Dice) {
    let FileState { volatile, durable, pending, .. } = file;
    let before = durable.len();
    match policy {
        SimCut::Nothing | SimCut::NamesOnly => {}
        SimCut::Everything | SimCut::BytesOnly => {
            pending.iter().for_each(|pending| pending.change.apply(durable));
        }
        SimCut::Prefix { .. } | SimCut::Suffix { .. } => {
            let is_prefix = matches!(policy, SimCut::Prefix { .. });
            for pending in pending.iter().filter(|pending| (pending.sequence <= moment) == is_prefix) {
                pending.change.apply(durable);
            }
        }
        SimCut::LengthsOnly => durable.grow(volatile.len()),
        SimCut::LengthsOverGarbage { .. } => {
            durable.grow(volatile.len());
            let grown = durable.len().saturating_sub(before);
            dice.garble(durable, before, grown);
        }
        SimCut::WithoutLengths => {
            for pending in pending.iter() {
                if let Change::Write { offset, bytes } = &pending.change {
                    let room = usize::try_from(before.saturating_sub(*offset)).unwrap_or(usize::MAX);
                    durable.write(&bytes[..bytes.len().min(room)], *offset);
                }
            }
        }
        SimCut::Torn { .. } | SimCut::Journaled { .. } | SimCut::Garbled { .. } => {
            let garbles = matches!(policy, SimCut::Garbled { .. });
            pending.iter().for_each(|pending| dice.tear(&pending.change, durable, garbles));
            if dice.one_in(2) {
                durable.grow(volatile.len());
            }
        }
    }
}

/// What may lie where a file grows: durable bytes of other files, from a few places of each.
fn stale_bytes(disk: &mut Disk) -> Vec<u8> {
    let mut stale = Vec::new();
    let mut sector = [0; SECTOR_BYTES];
    for inode in disk.inodes_mut() {
        let Inode::File(file) = inode else { continue };
        let sectors = file.durable.len() / SECTOR_BYTES as u64;
        for at in [0, 1, 2, 8, sectors / 2, sectors.saturating_sub(1)] {
            if at < sectors && stale.len() < STALE_BYTES_MAX {
                file.durable.read(&mut sector, at * SECTOR_BYTES as u64);
                stale.extend_from_slice(&sector);
            }
        }
    }
    stale
}

/// What a cut draws from.
struct Dice {
    entropy: SimEntropy,
    /// Whole sectors of other files.
    stale: Vec<u8>,
}

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice { entropy: SimEntropy::new(seed), stale: Vec::new() }
    }

    fn below(&self, limit: u64) -> u64 {
        self.entropy.next_u64() % limit
    }

    fn one_in(&self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// The last pending change that survives, or none: of all, or of names alone.
    fn moment(&self, disk: &mut Disk, with_bytes: bool) -> u64 {
        let mut moments: Vec<u64> = disk.names.iter().map(|pending| pending.sequence).collect();
        if with_bytes {
            for inode in disk.inodes_mut() {
                if let Inode::File(file) = inode {
                    moments.extend(file.pending.iter().map(|pending| pending.sequence));
                }
            }
        }
        moments.push(0);
        moments.sort_unstable();
        moments[self.below(moments.len() as u64) as usize]
    }

    /// Applies a part of a change: for a write, some of its sectors, and of some of those only the beginning; where
    /// it garbles, some of the others' bytes turn into something else.
    fn tear(&self, change: &Change, durable: &mut Content, garbles: bool) {
        match change {
            Change::Write { offset, bytes } => {
                // A quarter is lost whole, a quarter survives whole, the rest is torn.
                let fate = self.below(4);
                if fate == 0 {
                    return;
                }
                let mut at = 0;
                while at < bytes.len() {
                    let sector_at = offset + at as u64;
                    let within = (sector_at % SECTOR_BYTES as u64) as usize;
                    let sector = &bytes[at..bytes.len().min(at + SECTOR_BYTES - within)];
                    let keep = match self.below(16) {
                        _ if fate == 1 => sector.len(),
                        0..=6 => 0,
                        7..=13 => sector.len(),
                        _ => self.below(sector.len() as u64 + 1) as usize,
                    };
                    durable.write(&sector[..keep], sector_at);
                    if garbles && keep < sector.len() && self.one_in(2) {
                        self.garble(durable, sector_at + keep as u64, (sector.len() - keep) as u64);
                    }
                    at += sector.len();
                }
            }
            Change::Grow { len } => {
                let grown = len.saturating_sub(durable.len());
                let kept = if self.one_in(2) { grown } else { self.below(grown + 1) };
                durable.grow(durable.len() + kept);
            }
            Change::Clear if self.one_in(2) => durable.clear(),
            Change::Clear => {}
        }
    }

    /// Fills bytes, sector by sector, with zeros, noise, or what other files hold.
    fn garble(&self, content: &mut Content, offset: u64, len: u64) {
        let mut at = offset;
        while at < offset + len {
            let within = (at % SECTOR_BYTES as u64) as usize;
            let count = (SECTOR_BYTES - within).min((offset + len - at) as usize);
            let mut sector = [0; SECTOR_BYTES];
            match self.below(4) {
                0 => {}
                1 => sector.fill_with(|| self.entropy.next_u64() as u8),
                _ => {
                    let sectors = (self.stale.len() / SECTOR_BYTES) as u64;
                    if sectors > 0 {
                        let from = self.below(sectors) as usize * SECTOR_BYTES;
                        sector.copy_from_slice(&self.stale[from..from + SECTOR_BYTES]);
                    }
                }
            }
            content.write(&sector[within..within + count], at);
            at += count as u64;
        }
    }
}
