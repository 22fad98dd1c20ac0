//! What a power cut leaves of the changes that were pending.

use super::content::Content;
use super::disk::{Change, Disk, Inode};
use crate::SimEntropy;

/// The unit that a disk writes whole, or nearly so.
const SECTOR_BYTES: usize = 512;

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
}

impl SimCut {
    /// Every kind of cut, for loops over all of them.
    #[must_use]
    pub fn all(seed: u64) -> [SimCut; 6] {
        [
            SimCut::Nothing,
            SimCut::Everything,
            SimCut::Prefix { seed },
            SimCut::Torn { seed },
            SimCut::LengthsOnly,
            SimCut::BytesOnly,
        ]
    }
}

/// Cuts the power: afterwards only what is durable is there, with what the policy lets survive.
pub(super) fn cut(disk: &mut Disk, policy: SimCut) {
    let entropy = match policy {
        SimCut::Prefix { seed } | SimCut::Torn { seed } => SimEntropy::new(seed),
        SimCut::Nothing | SimCut::Everything | SimCut::LengthsOnly | SimCut::BytesOnly => SimEntropy::new(0),
    };
    let last = match policy {
        SimCut::Prefix { .. } => drawn_moment(disk, &entropy),
        _ => u64::MAX,
    };
    for inode in disk.inodes_mut() {
        let Inode::File(file) = inode else { continue };
        match policy {
            SimCut::Nothing => {}
            SimCut::Everything | SimCut::BytesOnly | SimCut::Prefix { .. } => {
                for pending in file.pending.iter().filter(|pending| pending.sequence <= last) {
                    pending.change.apply(&mut file.durable);
                }
            }
            SimCut::Torn { .. } => {
                for pending in &file.pending {
                    tear(&pending.change, &mut file.durable, &entropy);
                }
                if one_in(&entropy, 2) {
                    file.durable.grow(file.volatile.len());
                }
            }
            SimCut::LengthsOnly => file.durable.grow(file.volatile.len()),
        }
    }
    for pending in std::mem::take(&mut disk.names) {
        let survives = match policy {
            SimCut::Nothing | SimCut::BytesOnly => false,
            SimCut::Everything | SimCut::LengthsOnly => true,
            SimCut::Prefix { .. } => pending.sequence <= last,
            SimCut::Torn { .. } => one_in(&entropy, 2),
        };
        if survives {
            disk.make_durable(&pending);
        }
    }
    disk.forget_volatile();
}

/// The last pending change that survives: any of them, or none.
fn drawn_moment(disk: &mut Disk, entropy: &SimEntropy) -> u64 {
    let mut moments: Vec<u64> = disk.names.iter().map(|pending| pending.sequence).collect();
    for inode in disk.inodes_mut() {
        if let Inode::File(file) = inode {
            moments.extend(file.pending.iter().map(|pending| pending.sequence));
        }
    }
    moments.push(0);
    moments.sort_unstable();
    moments[(entropy.next_u64() % moments.len() as u64) as usize]
}

/// Applies a part of a change: for a write, some of its sectors, and of some of those only the beginning.
fn tear(change: &Change, durable: &mut Content, entropy: &SimEntropy) {
    match change {
        Change::Write { offset, bytes } => {
            // A quarter is lost whole, a quarter survives whole, the rest is torn.
            let fate = entropy.next_u64() % 4;
            if fate == 0 {
                return;
            }
            let mut at = 0;
            while at < bytes.len() {
                let within = ((offset + at as u64) % SECTOR_BYTES as u64) as usize;
                let sector = &bytes[at..bytes.len().min(at + SECTOR_BYTES - within)];
                let keep = match entropy.next_u64() % 16 {
                    _ if fate == 1 => sector.len(),
                    0..=6 => 0,
                    7..=13 => sector.len(),
                    _ => (entropy.next_u64() % (sector.len() as u64 + 1)) as usize,
                };
                durable.write(&sector[..keep], offset + at as u64);
                at += sector.len();
            }
        }
        Change::Grow { len } => {
            let grown = len.saturating_sub(durable.len());
            let kept = if one_in(entropy, 2) { grown } else { entropy.next_u64() % (grown + 1) };
            durable.grow(durable.len() + kept);
        }
        Change::Clear if one_in(entropy, 2) => durable.clear(),
        Change::Clear => {}
    }
}

fn one_in(entropy: &SimEntropy, count: u64) -> bool {
    entropy.next_u64().is_multiple_of(count)
}
