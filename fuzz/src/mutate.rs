//! Mutations of bytes, from a seed.

/// splitmix64.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers.
    #[must_use]
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

/// Numbers at which decoders go wrong.
const EDGES: [u64; 10] = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 63, u64::MAX];

/// One to eight random changes of `bytes`.
#[must_use]
pub fn mutate(bytes: &[u8], others: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..=random.below(8) {
        let at = random.below(out.len() as u64 + 1) as usize;
        match random.below(8) {
            0 if at < out.len() => out[at] ^= 1 << random.below(8),
            1 if at < out.len() => out[at] = random.next_u64() as u8,
            2 => out.truncate(at),
            3 => out.insert(at, random.next_u64() as u8),
            4 => {
                let end = (at + random.below(16) as usize).min(out.len());
                out.drain(at..end);
            }
            5 => {
                let edge = EDGES[random.below(EDGES.len() as u64) as usize].to_le_bytes();
                let width = [1, 2, 4, 8][random.below(4) as usize];
                for (byte, new) in out.iter_mut().skip(at).zip(&edge[..width]) {
                    *byte = *new;
                }
            }
            6 => {
                let end = (at + random.below(64) as usize).min(out.len());
                let copy = out[at..end].to_vec();
                let to = random.below(out.len() as u64 + 1) as usize;
                out.splice(to..to, copy);
            }
            _ => {
                let other = &others[random.below(others.len() as u64) as usize];
                let from = random.below(other.len() as u64 + 1) as usize;
                out.truncate(at);
                out.extend_from_slice(&other[from..]);
            }
        }
    }
    out.truncate(1 << 20);
    out
}
