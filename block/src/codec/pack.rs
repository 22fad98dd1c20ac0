//! Bit packing of unsigned numbers, `width` bits each, 0 to 64.
//!
//! | count          | width    | bytes                  | layout                                               |
//! |----------------|----------|-----------------------:|------------------------------------------------------|
//! | [`MINI`] (256) | up to 32 | 32 * width             | eight lanes of 32-bit words, interleaved: value `i`  |
//! |                |          |                        | is in lane `i % 8`, at bit `(i / 8) * width` of it   |
//! | [`MINI`] (256) | over 32  | 32 * width             | four lanes of 64-bit words: value `i` is in lane     |
//! |                |          |                        | `i % 4`, at bit `(i / 4) * width` of it              |
//! | fewer          | any      | ceil(count * width / 8)| one stream, low bits first, zeros at the end         |
//!
//! Lanes let the compiler unpack with vector shifts that are the same for all lanes: no branch and no shift count
//! depends on a value. All arithmetic wraps, as overflow checks would break the vector loops.

use super::kernel::Vectors;

/// How many numbers make a full mini-block.
pub(crate) const MINI: usize = 256;
/// Up to this width, lanes are of 32 bits.
const NARROW_BITS_MAX: u32 = 32;
pub(crate) const NARROW_LANES: usize = 8;
pub(crate) const WIDE_LANES: usize = 4;
pub(crate) const NARROW_WORDS_MAX: usize = MINI / NARROW_LANES;
pub(crate) const WIDE_WORDS_MAX: usize = MINI / WIDE_LANES;

const _: () = assert!(NARROW_WORDS_MAX == 32, "a lane of 32 values of width w fills w words exactly");
const _: () = assert!(WIDE_WORDS_MAX == 64, "a lane of 64 values of width w fills w words exactly");

/// How many bits a number takes.
#[inline(always)]
pub(crate) fn bits(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// How many bytes `count` numbers of `width` bits take.
#[inline(always)]
pub(crate) fn packed_bytes(count: usize, width: u32) -> usize {
    count.wrapping_mul(width as usize).div_ceil(8)
}

/// Appends the low `width` bits of each number; at most [`MINI`] numbers, none wider than `width`.
pub(crate) fn pack(values: &[u64], width: u32, out: &mut Vec<u8>) {
    debug_assert!(values.len() <= MINI && values.iter().all(|&value| bits(value) <= width));
    if width == 0 {
        return;
    }
    match <&[u64; MINI]>::try_from(values) {
        Ok(values) if width <= NARROW_BITS_MAX => pack_narrow(values, width, out),
        Ok(values) => pack_wide(values, width, out),
        Err(_) => pack_stream(values, width, out),
    }
}

fn pack_narrow(values: &[u64; MINI], width: u32, out: &mut Vec<u8>) {
    let mut rows = [[0u32; NARROW_LANES]; NARROW_WORDS_MAX + 1];
    let (groups, _) = values.as_chunks::<NARROW_LANES>();
    for (position, group) in groups.iter().enumerate() {
        let (word, shift) = narrow_place(position, width);
        if let Some([low, high]) = rows.get_mut(word..word + 2) {
            for ((low, high), &value) in low.iter_mut().zip(high).zip(group) {
                *low |= (value as u32).wrapping_shl(shift);
                *high |= (value as u32).wrapping_shr(1).wrapping_shr(31 - shift);
            }
        }
    }
    for row in rows.iter().take(width as usize) {
        row.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    }
}

fn pack_wide(values: &[u64; MINI], width: u32, out: &mut Vec<u8>) {
    let mut rows = [[0u64; WIDE_LANES]; WIDE_WORDS_MAX + 1];
    let (groups, _) = values.as_chunks::<WIDE_LANES>();
    for (position, group) in groups.iter().enumerate() {
        let (word, shift) = wide_place(position, width);
        if let Some([low, high]) = rows.get_mut(word..word + 2) {
            for ((low, high), &value) in low.iter_mut().zip(high).zip(group) {
                *low |= value.wrapping_shl(shift);
                *high |= value.wrapping_shr(1).wrapping_shr(63 - shift);
            }
        }
    }
    for row in rows.iter().take(width as usize) {
        row.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
    }
}

/// Reads what [`pack`] wrote: fills `out`, at most [`MINI`] numbers, with `base` and what exactly [`packed_bytes`] bytes
/// hold.
#[inline(always)]
pub(crate) fn unpack<V: Vectors>(bytes: &[u8], width: u32, base: i64, out: &mut [i64]) {
    debug_assert_eq!(bytes.len(), packed_bytes(out.len(), width));
    if width == 0 {
        return out.fill(base);
    }
    match <&mut [i64; MINI]>::try_from(&mut *out) {
        Ok(out) if width <= NARROW_BITS_MAX => V::unpack_narrow(bytes, width, base, out),
        Ok(out) => V::unpack_wide(bytes, width, base, out),
        Err(_) => unpack_stream(bytes, width, base, out),
    }
}

/// The word of its lane in which a number begins, and the bit.
#[inline(always)]
pub(crate) fn narrow_place(position: usize, width: u32) -> (usize, u32) {
    let bit = position.wrapping_mul(width as usize);
    ((bit >> 5) & (NARROW_WORDS_MAX - 1), (bit & 31) as u32)
}

/// The same for wide numbers.
#[inline(always)]
pub(crate) fn wide_place(position: usize, width: u32) -> (usize, u32) {
    let bit = position.wrapping_mul(width as usize);
    ((bit >> 6) & (WIDE_WORDS_MAX - 1), (bit & 63) as u32)
}

#[inline(always)]
fn mask(width: u32) -> u64 {
    u64::MAX.wrapping_shr(64 - width)
}

#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "32 rows and one more; the index is masked to 31")]
pub(crate) fn unpack_narrow(bytes: &[u8], width: u32, base: i64, out: &mut [i64; MINI]) {
    // The row past the last is only read for bits that the mask then drops.
    let mut rows = [[0u32; NARROW_LANES]; NARROW_WORDS_MAX + 1];
    let (stored, _) = bytes.as_chunks::<{ 4 * NARROW_LANES }>();
    for (row, stored) in rows.iter_mut().zip(stored) {
        let (words, _) = stored.as_chunks::<4>();
        for (word, bytes) in row.iter_mut().zip(words) {
            *word = u32::from_le_bytes(*bytes);
        }
    }
    let mask = mask(width) as u32;
    let (groups, _) = out.as_chunks_mut::<NARROW_LANES>();
    for (position, group) in groups.iter_mut().enumerate() {
        let (word, shift) = narrow_place(position, width);
        let (low, high) = (&rows[word], &rows[word + 1]);
        for lane in 0..NARROW_LANES {
            let above = high[lane].wrapping_shl(1).wrapping_shl(31 - shift);
            let offset = (low[lane].wrapping_shr(shift) | above) & mask;
            group[lane] = base.wrapping_add(i64::from(offset));
        }
    }
}

#[inline(always)]
#[expect(clippy::indexing_slicing, reason = "64 rows and one more; the index is masked to 63")]
pub(crate) fn unpack_wide(bytes: &[u8], width: u32, base: i64, out: &mut [i64; MINI]) {
    let mut rows = [[0u64; WIDE_LANES]; WIDE_WORDS_MAX + 1];
    let (stored, _) = bytes.as_chunks::<{ 8 * WIDE_LANES }>();
    for (row, stored) in rows.iter_mut().zip(stored) {
        let (words, _) = stored.as_chunks::<8>();
        for (word, bytes) in row.iter_mut().zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
    }
    let mask = mask(width);
    let (groups, _) = out.as_chunks_mut::<WIDE_LANES>();
    for (position, group) in groups.iter_mut().enumerate() {
        let (word, shift) = wide_place(position, width);
        let (low, high) = (&rows[word], &rows[word + 1]);
        for lane in 0..WIDE_LANES {
            let above = high[lane].wrapping_shl(1).wrapping_shl(63 - shift);
            let offset = (low[lane].wrapping_shr(shift) | above) & mask;
            group[lane] = base.wrapping_add(offset as i64);
        }
    }
}

fn pack_stream(values: &[u64], width: u32, out: &mut Vec<u8>) {
    let (mut pending, mut have) = (0u128, 0u32);
    for &value in values {
        pending |= u128::from(value) << have;
        have += width;
        while have >= 8 {
            out.push(pending as u8);
            pending >>= 8;
            have -= 8;
        }
    }
    if have > 0 {
        out.push(pending as u8);
    }
}

#[inline(always)]
fn unpack_stream(bytes: &[u8], width: u32, base: i64, out: &mut [i64]) {
    let mask = mask(width);
    for (position, value) in out.iter_mut().enumerate() {
        let bit = position.wrapping_mul(width as usize);
        let (from, shift) = (bit >> 3, (bit & 7) as u32);
        let rest = bytes.get(from..).unwrap_or_default();
        let word = match rest.first_chunk::<8>() {
            Some(word) => u64::from_le_bytes(*word),
            None => {
                let mut word = [0; 8];
                word.iter_mut().zip(rest).for_each(|(byte, stored)| *byte = *stored);
                u64::from_le_bytes(word)
            }
        };
        let above = u64::from(rest.get(8).copied().unwrap_or(0));
        let offset = (word.wrapping_shr(shift) | above.wrapping_shl(1).wrapping_shl(63 - shift)) & mask;
        *value = base.wrapping_add(offset as i64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::kernel::{Level, Work};
    use crate::testing::Rng;

    struct Unpack<'a>(&'a [u8], u32, i64, &'a mut [i64]);

    impl Work for Unpack<'_> {
        type Output = ();

        #[inline(always)]
        fn run<V: Vectors>(self) {
            unpack::<V>(self.0, self.1, self.2, self.3);
        }
    }

    #[test]
    fn every_width_and_count_round_trips_on_every_level() {
        let mut rng = Rng(7);
        for width in 0..=64u32 {
            for count in [0, 1, 2, 3, 63, 64, 100, 255, 256] {
                let values: Vec<u64> =
                    (0..count).map(|_| if width == 0 { 0 } else { rng.next() & mask(width) }).collect();
                let mut bytes = Vec::new();
                pack(&values, width, &mut bytes);
                assert_eq!(bytes.len(), packed_bytes(count, width), "width {width}, count {count}");
                for level in Level::all() {
                    for base in [0, 1, -7, i64::MAX] {
                        let mut back = vec![1; count];
                        level.run(Unpack(&bytes, width, base, &mut back));
                        let expected: Vec<i64> =
                            values.iter().map(|&value| base.wrapping_add(value as i64)).collect();
                        assert_eq!(back, expected, "width {width}, count {count}, {level:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn narrow_lanes_are_interleaved() {
        let values: Vec<u64> = (0..256).map(|i| i % 8).collect();
        let mut bytes = Vec::new();
        pack(&values, 4, &mut bytes);
        let lanes: Vec<u8> = (0..8u8).flat_map(|lane| [lane << 4 | lane; 4]).collect();
        assert_eq!(bytes, lanes.repeat(4));
    }

    #[test]
    fn wide_lanes_are_interleaved() {
        let values: Vec<u64> = (0..256).map(|i| (1 << 39) | (i % 4)).collect();
        let mut bytes = Vec::new();
        pack(&values, 40, &mut bytes);
        let first: Vec<u8> = (0..4u8).flat_map(|lane| [lane, 0, 0, 0, 0x80, lane, 0, 0]).collect();
        assert_eq!(bytes[..32], first);
    }
}
