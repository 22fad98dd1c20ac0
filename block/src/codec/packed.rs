//! Small numbers in patched mini-blocks: the fast form.
//!
//! Per mini-block of 256 numbers (the last may have fewer):
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
//! Differences wrap, so that every 64-bit number has a form.

use annals_model::bytes::{Cursor, PutBytes};

use super::ints::Source;
use super::kernel::Vectors;
use super::pack::{MINI, bits, pack, packed_bytes, unpack};

const HAS_PATCHES: u8 = 0x80;
/// More patches than one in eight and packing has lost its point.
const PATCHED_ONE_IN: usize = 8;
/// Ranges of up to this many bits are sorted by counting.
const COUNTED_BITS_MAX: u32 = 8;

/// The window of numbers that is packed; the rest are patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) base: i64,
    pub(crate) width: u32,
}

impl Window {
    /// The offset of a number above the base, where it fits.
    pub(crate) fn offset(self, number: i64) -> Option<u64> {
        let offset = number.wrapping_sub(self.base) as u64;
        (bits(offset) <= self.width).then_some(offset)
    }
}

/// Appends mini-blocks. `sorted` is scratch.
pub(crate) fn encode(numbers: &[i64], sorted: &mut Vec<i64>, out: &mut Vec<u8>) {
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

/// Reads mini-blocks.
pub(crate) struct Packed<'c, 'a>(pub(crate) &'c mut Cursor<'a>);

impl Source for Packed<'_, '_> {
    #[inline(always)]
    fn next<V: Vectors>(&mut self, residuals: &mut [i64]) -> Option<()> {
        let cursor = &mut *self.0;
        let head = cursor.u8()?;
        let width = u32::from(head & !HAS_PATCHES);
        if width > 64 {
            return None;
        }
        let patches = if head & HAS_PATCHES == 0 { 0 } else { usize::from(cursor.u8()?) };
        let base = cursor.varint_signed()?;
        let packed = cursor.take(packed_bytes(residuals.len(), width))?;
        unpack::<V>(packed, width, base, residuals);
        for &position in cursor.take(patches)? {
            *residuals.get_mut(usize::from(position))? = base.wrapping_add(cursor.varint_signed()?);
        }
        Some(())
    }
}

/// The window that makes packed numbers and patches smallest together.
pub(crate) fn choose_window(numbers: &[i64], sorted: &mut Vec<i64>) -> Window {
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
