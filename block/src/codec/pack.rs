//! Bit packing of unsigned numbers, `width` bits each, 0 to 64.
//!
//! | count          | bytes                  | layout                                                          |
//! |----------------|-----------------------:|-----------------------------------------------------------------|
//! | [`MINI`] (256) | 32 * width             | four lanes of 64-bit words, interleaved: value `i` is in lane   |
//! |                |                        | `i % 4`, at bit `(i / 4) * width` of that lane                  |
//! | fewer          | ceil(count * width / 8)| one stream, low bits first, the last byte filled with zeros     |
//!
//! Four lanes let the compiler unpack with vector shifts that are the same for all lanes: no branch and no
//! shift count depends on a value. All arithmetic wraps, as overflow checks would break the vector loops.

/// How many numbers make a full mini-block.
pub(crate) const MINI: usize = 256;
const LANES: usize = 4;
const LANE_WORDS_MAX: usize = MINI / LANES;

const _: () = assert!(LANE_WORDS_MAX == 64, "a lane of 64 values of width w fills w words exactly");

/// How many bits a number takes.
pub(crate) fn bits(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

/// How many bytes `count` numbers of `width` bits take.
pub(crate) fn packed_bytes(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// Appends the low `width` bits of each number; at most [`MINI`] numbers, none wider than `width`.
pub(crate) fn pack(values: &[u64], width: u32, out: &mut Vec<u8>) {
    debug_assert!(values.len() <= MINI && values.iter().all(|&value| bits(value) <= width));
    if width == 0 {
        return;
    }
    let Ok(values) = <&[u64; MINI]>::try_from(values) else { return pack_tail(values, width, out) };
    let mut rows = [[0u64; LANES]; LANE_WORDS_MAX + 1];
    let (groups, _) = values.as_chunks::<LANES>();
    for (position, group) in groups.iter().enumerate() {
        let (word, shift) = word_and_shift(position, width);
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

/// Reads what [`pack`] wrote: fills `out`, at most [`MINI`] numbers, from exactly [`packed_bytes`] bytes.
pub(crate) fn unpack(bytes: &[u8], width: u32, out: &mut [u64]) {
    debug_assert_eq!(bytes.len(), packed_bytes(out.len(), width));
    if width == 0 {
        return out.fill(0);
    }
    match <&mut [u64; MINI]>::try_from(&mut *out) {
        Ok(out) => unpack_full(bytes, width, out),
        Err(_) => unpack_tail(bytes, width, out),
    }
}

fn word_and_shift(position: usize, width: u32) -> (usize, u32) {
    let bit = position.wrapping_mul(width as usize);
    ((bit >> 6) & (LANE_WORDS_MAX - 1), (bit & 63) as u32)
}

fn mask(width: u32) -> u64 {
    u64::MAX.wrapping_shr(64 - width)
}

#[expect(clippy::indexing_slicing, reason = "64 rows and one more; the index is masked to 63")]
fn unpack_full(bytes: &[u8], width: u32, out: &mut [u64; MINI]) {
    // The row past the last is only read for bits that the mask then drops.
    let mut rows = [[0u64; LANES]; LANE_WORDS_MAX + 1];
    let (stored, _) = bytes.as_chunks::<{ 8 * LANES }>();
    for (row, stored) in rows.iter_mut().zip(stored) {
        let (words, _) = stored.as_chunks::<8>();
        for (word, bytes) in row.iter_mut().zip(words) {
            *word = u64::from_le_bytes(*bytes);
        }
    }
    let mask = mask(width);
    let (groups, _) = out.as_chunks_mut::<LANES>();
    for (position, group) in groups.iter_mut().enumerate() {
        let (word, shift) = word_and_shift(position, width);
        let (low, high) = (&rows[word], &rows[word + 1]);
        for lane in 0..LANES {
            let above = high[lane].wrapping_shl(1).wrapping_shl(63 - shift);
            group[lane] = (low[lane].wrapping_shr(shift) | above) & mask;
        }
    }
}

fn pack_tail(values: &[u64], width: u32, out: &mut Vec<u8>) {
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

fn unpack_tail(bytes: &[u8], width: u32, out: &mut [u64]) {
    let mask = mask(width);
    let (mut pending, mut have) = (0u128, 0u32);
    let mut bytes = bytes.iter();
    for value in out {
        while have < width {
            pending |= u128::from(bytes.next().copied().unwrap_or(0)) << have;
            have += 8;
        }
        *value = pending as u64 & mask;
        pending >>= width;
        have -= width;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    #[test]
    fn every_width_and_count_round_trips() {
        let mut rng = Rng(7);
        for width in 0..=64u32 {
            for count in [0, 1, 2, 3, 63, 64, 100, 255, 256] {
                let values: Vec<u64> =
                    (0..count).map(|_| if width == 0 { 0 } else { rng.next() & mask(width) }).collect();
                let mut bytes = Vec::new();
                pack(&values, width, &mut bytes);
                assert_eq!(bytes.len(), packed_bytes(count, width), "width {width}, count {count}");
                let mut back = vec![1; count];
                unpack(&bytes, width, &mut back);
                assert_eq!(back, values, "width {width}, count {count}");
            }
        }
    }

    #[test]
    fn the_lanes_are_interleaved() {
        let values: Vec<u64> = (0..256).map(|i| i % 4).collect();
        let mut bytes = Vec::new();
        pack(&values, 2, &mut bytes);
        let lane = |byte: u8| [byte; 8];
        let word = [lane(0), lane(0b0101_0101), lane(0b1010_1010), lane(0b1111_1111)].concat();
        assert_eq!(bytes, [word.clone(), word].concat());
    }
}
