//! What damage does to a file's bytes.

use std::fmt;
use std::sync::Arc;

/// A deterministic source of numbers; small, and the same on each machine.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x616e_6e61_6c73)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

/// A disk's sector.
const SECTOR_BYTES: usize = 512;

/// One damage of one file.
#[derive(Debug, Clone)]
pub(super) enum Change {
    /// One bit, counted from the file's start.
    Flip(u64),
    /// The file ends early.
    Cut(u64),
    /// A sector has another content.
    Sector(u64, Fill),
    /// Bytes after the end.
    Append(u64, Fill),
    /// Several bytes at several places, drawn from a seed.
    Garble(u64),
    /// Another file's bytes.
    Replace(&'static str, Arc<Vec<u8>>),
}

/// What takes the place of bytes.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fill {
    Zeros,
    Ones,
    Random(u64),
}

impl Fill {
    fn fill(self, bytes: &mut [u8]) {
        match self {
            Fill::Zeros => bytes.fill(0),
            Fill::Ones => bytes.fill(0xff),
            Fill::Random(seed) => {
                let mut dice = Dice::new(seed);
                bytes.iter_mut().for_each(|byte| *byte = dice.next() as u8);
            }
        }
    }
}

impl Change {
    /// The damaged bytes; the same as before where the damage changes none.
    pub(super) fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        match self {
            Change::Flip(bit) => {
                if let Some(byte) = damaged.get_mut((bit / 8) as usize) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Change::Cut(length) => damaged.truncate(*length as usize),
            Change::Sector(sector, fill) => {
                let start = (*sector as usize * SECTOR_BYTES).min(damaged.len());
                let end = (start + SECTOR_BYTES).min(damaged.len());
                fill.fill(&mut damaged[start..end]);
            }
            Change::Append(count, fill) => {
                let mut tail = vec![0; *count as usize];
                fill.fill(&mut tail);
                damaged.extend(tail);
            }
            Change::Garble(seed) => {
                let mut dice = Dice::new(*seed);
                for _ in 0..1 + dice.below(4) {
                    let (start, count) =
                        (dice.below(damaged.len() as u64) as usize, 1 + dice.below(64) as usize);
                    let end = (start + count).min(damaged.len());
                    damaged[start..end].iter_mut().for_each(|byte| *byte = dice.next() as u8);
                }
            }
            Change::Replace(_, other) => damaged.clone_from(other),
        }
        damaged
    }

    /// All damages of a kind that a file of that length can have.
    pub(super) fn sectors(length: u64) -> impl Iterator<Item = Change> {
        (0..length.div_ceil(SECTOR_BYTES as u64)).flat_map(|sector| {
            [Fill::Zeros, Fill::Ones, Fill::Random(sector)].map(|fill| Change::Sector(sector, fill))
        })
    }

    /// Bytes after the end, as many as confuse an alignment or a block.
    pub(super) fn appends() -> impl Iterator<Item = Change> {
        [1, 7, 8, 511, 512, 4_095, 4_096, 8_192].into_iter().flat_map(|count| {
            [Fill::Zeros, Fill::Ones, Fill::Random(count)].map(|fill| Change::Append(count, fill))
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Flip(bit) => write!(f, "bit {} of byte {} flipped", bit % 8, bit / 8),
            Change::Cut(length) => write!(f, "cut to {length} bytes"),
            Change::Sector(sector, fill) => write!(f, "sector {sector} filled with {fill:?}"),
            Change::Append(count, fill) => write!(f, "{count} bytes appended, {fill:?}"),
            Change::Garble(seed) => write!(f, "garbled with seed {seed}"),
            Change::Replace(what, _) => write!(f, "replaced by {what}"),
        }
    }
}
