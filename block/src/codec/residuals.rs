//! Small numbers left over by a predictor, in mini-blocks: the fast form, and the form behind entropy coding.
//!
//! **Packed**, per mini-block of 256 numbers (the last may have fewer):
//!
//! | bytes    | field       | notes                                                               |
//! |---------:|-------------|---------------------------------------------------------------------|
//! |        1 | `width`     | 0 to 64; and 0x80 where there are patches                           |
//! |   0 or 1 | `patches`   | how many numbers do not fit `base + width bits`                     |
//! |   varint | `base`      | zigzag                                                              |
//! | see pack | `packed`    | number - base, `width` bits each; 0 where patched                   |
//! |  patches | `positions` | one byte each, ascending                                            |
//! | varints  | `offsets`   | zigzag, number - base                                               |
//!
//! **Entropy**, for the chunk as a whole:
//!
//! | bytes    | field       | notes                                                               |
//! |---------:|-------------|---------------------------------------------------------------------|
//! |        1 | `width`     | 1 to 64                                                             |
//! |        1 | `top`       | how many of them are entropy coded, 1 to 8                          |
//! |   varint | `base`      | zigzag                                                              |
//! |   varint | `patches`   | then per patch: gap to the one before (varint), number - base       |
//! | see pack | `low`       | the low `width - top` bits, packed in mini-blocks                   |
//! |     blob | `symbols`   | zstd of one byte per number: its `top` high bits                    |
//!
//! Differences wrap, so that every 64-bit number has a form.

use annals_model::bytes::{Cursor, PutBytes};

use super::pack::{MINI, bits, pack, packed_bytes, unpack};
use crate::squeeze::{Squeezer, Unsqueezer};

const HAS_PATCHES: u8 = 0x80;
/// More patches than one in eight and packing has lost its point.
const PATCHED_ONE_IN: usize = 8;
/// Ranges of up to this many bits are sorted by counting.
const COUNTED_BITS_MAX: u32 = 8;
/// How many high bits are tried as symbols: 8 hold the most, fewer need a smaller code table.
const TOP_BITS: [u32; 2] = [TOP_BITS_MAX, 6];
const TOP_BITS_MAX: u32 = u8::BITS;

/// The window of numbers that is packed; the rest are patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Window {
    base: i64,
    width: u32,
}

impl Window {
    /// The offset of a number above the base, where it fits.
    fn offset(self, number: i64) -> Option<u64> {
        let offset = number.wrapping_sub(self.base) as u64;
        (bits(offset) <= self.width).then_some(offset)
    }
}

/// Appends mini-blocks. `sorted` is scratch.
pub(crate) fn encode_packed(numbers: &[i64], sorted: &mut Vec<i64>, out: &mut Vec<u8>) {
    let mut offsets = [0u64; MINI];
    for mini in numbers.chunks(MINI) {
        let window = choose_window(mini, sorted);
        let mut patches: Vec<(u8, i64)> = Vec::new();
        for (position, (offset, &number)) in offsets.iter_mut().zip(mini).enumerate() {
            *offset = window.offset(number).unwrap_or_else(|| {
                patches.push((position as u8, number.wrapping_sub(window.base)));
                0
            });
        }
        if patches.is_empty() {
            out.put_u8(window.width as u8);
        } else {
            out.put_u8(window.width as u8 | HAS_PATCHES);
            out.put_u8(patches.len() as u8);
        }
        out.put_varint_signed(window.base);
        pack(offsets.get(..mini.len()).unwrap_or_default(), window.width, out);
        patches.iter().for_each(|&(position, _)| out.put_u8(position));
        patches.iter().for_each(|&(_, offset)| out.put_varint_signed(offset));
    }
}

/// Fills `out` from mini-blocks; `None` where the bytes are not that.
pub(crate) fn decode_packed(cursor: &mut Cursor<'_>, out: &mut [i64]) -> Option<()> {
    let mut offsets = [0u64; MINI];
    for mini in out.chunks_mut(MINI) {
        let head = cursor.u8()?;
        let width = u32::from(Some(head & !HAS_PATCHES).filter(|&width| width <= 64)?);
        let patches = if head & HAS_PATCHES == 0 { 0 } else { usize::from(cursor.u8()?) };
        let base = cursor.varint_signed()?;
        let packed = cursor.take(packed_bytes(mini.len(), width))?;
        if width == 0 {
            mini.fill(base);
        } else {
            let offsets = offsets.get_mut(..mini.len())?;
            unpack(packed, width, offsets);
            for (number, &offset) in mini.iter_mut().zip(&*offsets) {
                *number = base.wrapping_add(offset as i64);
            }
        }
        for &position in cursor.take(patches)? {
            *mini.get_mut(usize::from(position))? = base.wrapping_add(cursor.varint_signed()?);
        }
    }
    Some(())
}

/// Appends the entropy form; false, with nothing appended, where it has none or none below `bytes_max`.
pub(crate) fn encode_entropy(
    numbers: &[i64],
    bytes_max: usize,
    sorted: &mut Vec<i64>,
    squeezer: &mut Squeezer,
    out: &mut Vec<u8>,
) -> bool {
    let window = choose_window(numbers, sorted);
    if window.width == 0 {
        return false;
    }
    let offsets: Vec<u64> = numbers.iter().map(|&number| window.offset(number).unwrap_or(0)).collect();
    let symbols_of = |low: u32| -> Vec<u8> { offsets.iter().map(|&offset| (offset >> low) as u8).collect() };
    let estimates = TOP_BITS.iter().filter(|&&top| top == TOP_BITS_MAX || top < window.width).map(|&top| {
        let top = top.min(window.width);
        let low = window.width - top;
        let symbols = symbols_of(low);
        (entropy_bytes(&symbols) + packed_bytes(numbers.len(), low), top, symbols)
    });
    let best = estimates.min_by_key(|&(bytes, ..)| bytes).filter(|&(bytes, ..)| bytes <= bytes_max);
    let Some((_, top, symbols)) = best else { return false };
    let Some(symbols) = squeezer.symbols(&symbols) else { return false };
    out.put_u8(window.width as u8);
    out.put_u8(top as u8);
    out.put_varint_signed(window.base);
    let patched = || numbers.iter().enumerate().filter(|&(_, &number)| window.offset(number).is_none());
    out.put_varint(patched().count() as u64);
    let mut next = 0;
    for (position, &number) in patched() {
        out.put_varint((position - next) as u64);
        out.put_varint_signed(number.wrapping_sub(window.base));
        next = position + 1;
    }
    let low = window.width - top;
    let low_mask = (1u64 << low) - 1;
    for mini in offsets.chunks(MINI) {
        let lows: Vec<u64> = mini.iter().map(|&offset| offset & low_mask).collect();
        pack(&lows, low, out);
    }
    out.put_blob(&symbols);
    true
}

/// Fills `out` from the entropy form; `None` where the bytes are not that.
pub(crate) fn decode_entropy(
    cursor: &mut Cursor<'_>,
    unsqueezer: &mut Unsqueezer,
    out: &mut [i64],
) -> Option<()> {
    let width = u32::from(cursor.u8().filter(|&width| (1..=64).contains(&width))?);
    let top = u32::from(cursor.u8().filter(|&top| (1..=8).contains(&top))?);
    let low = width.checked_sub(top)?;
    let base = cursor.varint_signed()?;
    let patches = cursor.count(2)?;
    let mut patch_cursor = cursor.clone();
    for _ in 0..patches {
        cursor.varint()?;
        cursor.varint_signed()?;
    }
    let mut lows = [0u64; MINI];
    let mut low_cursor = cursor.clone();
    for mini in out.chunks(MINI) {
        cursor.take(packed_bytes(mini.len(), low))?;
    }
    let symbols = unsqueezer.exactly(cursor.blob()?, out.len())?;
    for (mini, symbols) in out.chunks_mut(MINI).zip(symbols.chunks(MINI)) {
        if low == 0 {
            for (number, &symbol) in mini.iter_mut().zip(symbols) {
                *number = base.wrapping_add(i64::from(symbol));
            }
            continue;
        }
        let lows = lows.get_mut(..mini.len())?;
        unpack(low_cursor.take(packed_bytes(mini.len(), low))?, low, lows);
        for ((number, &symbol), &offset) in mini.iter_mut().zip(symbols).zip(&*lows) {
            *number = base.wrapping_add((u64::from(symbol).wrapping_shl(low) | offset) as i64);
        }
    }
    let mut next = 0usize;
    for _ in 0..patches {
        let position = next.checked_add(usize::try_from(patch_cursor.varint()?).ok()?)?;
        *out.get_mut(position)? = base.wrapping_add(patch_cursor.varint_signed()?);
        next = position + 1;
    }
    Some(())
}

/// About how many bytes the best code of single symbols takes, without its table: n log n - sum of c log c bits,
/// in integers, so that it is the same on every machine.
fn entropy_bytes(symbols: &[u8]) -> usize {
    let mut counts = [0u64; 256];
    for &symbol in symbols {
        if let Some(count) = counts.get_mut(usize::from(symbol)) {
            *count += 1;
        }
    }
    // 16 bits of fraction, linear between powers of two: at most 0.09 bit too low.
    let log = |count: u64| {
        let whole = count.max(1).ilog2();
        (u64::from(whole) << 16) + ((count.max(1) << 16 >> whole) - (1 << 16))
    };
    let all = symbols.len() as u64;
    let saved: u64 = counts.iter().map(|&count| count * log(count)).sum();
    ((all * log(all)).saturating_sub(saved) >> 19) as usize
}

/// The window that makes packed numbers and patches smallest together.
fn choose_window(numbers: &[i64], sorted: &mut Vec<i64>) -> Window {
    let (Some(&least), Some(&greatest)) = (numbers.iter().min(), numbers.iter().max()) else {
        return Window { base: 0, width: 0 };
    };
    let full = bits(greatest.wrapping_sub(least) as u64);
    let mut best = Window { base: least, width: full };
    if full == 0 {
        return best;
    }
    sort(numbers, least, full, sorted);
    let patch_bytes = 2 + full as usize / 7;
    let patches_max = (numbers.len() / PATCHED_ONE_IN).min(usize::from(u8::MAX));
    let mut best_bytes = packed_bytes(numbers.len(), full);
    for width in (0..full).rev() {
        let (base, inside) = densest(sorted, width);
        let patches = numbers.len() - inside;
        if patches > patches_max {
            break;
        }
        let bytes = packed_bytes(numbers.len(), width) + patches * patch_bytes;
        if bytes < best_bytes {
            best_bytes = bytes;
            best = Window { base, width };
        }
    }
    best
}

/// Sorts numbers of which the least and the bits of the range are known, by counting where that is faster.
fn sort(numbers: &[i64], least: i64, range_bits: u32, sorted: &mut Vec<i64>) {
    sorted.clear();
    if range_bits > COUNTED_BITS_MAX || numbers.len() < 1 << range_bits {
        sorted.extend_from_slice(numbers);
        return sorted.sort_unstable();
    }
    let mut counts = [0usize; 1 << COUNTED_BITS_MAX];
    for &number in numbers {
        if let Some(count) = counts.get_mut(number.wrapping_sub(least) as usize) {
            *count += 1;
        }
    }
    // The slots behind the greatest number may lie past the end of i64; they count nothing.
    for (above, &count) in (0..1 << range_bits).zip(&counts) {
        sorted.extend(std::iter::repeat_n(least.wrapping_add(above), count));
    }
}

/// The base from which `width` bits hold most of the sorted numbers, and how many.
fn densest(sorted: &[i64], width: u32) -> (i64, usize) {
    let mut best = (0, 0);
    let mut ends = sorted.iter().enumerate().peekable();
    let mut end = 0;
    for (start, &base) in sorted.iter().enumerate() {
        while let Some((at, _)) = ends.next_if(|&(_, &n)| bits(n.wrapping_sub(base) as u64) <= width) {
            end = at + 1;
        }
        if end - start > best.1 {
            best = (base, end - start);
        }
        if end == sorted.len() {
            break;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorting_by_counting_reaches_the_ends_of_i64() {
        for (least, greatest) in [(i64::MAX - 2, i64::MAX), (i64::MIN, i64::MIN + 2), (-1, 1)] {
            let numbers: Vec<i64> = (least..=greatest).rev().cycle().take(12).collect();
            let mut expected = numbers.clone();
            expected.sort_unstable();
            let mut sorted = Vec::new();
            sort(&numbers, least, 2, &mut sorted);
            assert_eq!(sorted, expected);
        }
    }
}
