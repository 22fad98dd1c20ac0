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
/// Numbers are counted by so many bits at a time.
const BUCKET_BITS: u32 = 8;
const BUCKETS: usize = 1 << BUCKET_BITS;

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

/// Appends mini-blocks.
pub(crate) fn encode(numbers: &[i64], out: &mut Vec<u8>) {
    let mut offsets = [0u64; MINI];
    for mini in numbers.chunks(MINI) {
        let window = choose_window(mini);
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

/// The window that makes packed numbers and patches smallest together, but for the place of its base, which is found to a
/// 256th of the range.
///
/// Numbers are counted by their high bits; where nearly all share them, those are looked at again by their next bits.
pub(crate) fn choose_window(numbers: &[i64]) -> Window {
    let (mut least, mut greatest) = (i64::MAX, i64::MIN);
    for &number in numbers {
        least = least.min(number);
        greatest = greatest.max(number);
    }
    if numbers.is_empty() {
        return Window { base: 0, width: 0 };
    }
    let full = bits(greatest.wrapping_sub(least) as u64);
    let mut best = Window { base: least, width: full };
    let patch_bytes = 2 + full as usize / 7;
    let patches_max = (numbers.len() / PATCHED_ONE_IN).min(usize::from(u8::MAX));
    let mut best_bytes = packed_bytes(numbers.len(), full);
    // The part of the range that is looked at: all other numbers would be patches.
    let mut inside = best;
    while inside.width > 0 {
        let shift = inside.width.saturating_sub(BUCKET_BITS);
        let mut counts = [0u32; BUCKETS + 1];
        for &number in numbers {
            let offset = number.wrapping_sub(inside.base) as u64;
            // Those above the part go where no window ends.
            let bucket = (offset >> shift).min(BUCKETS as u64) as usize;
            if let Some(count) = counts.get_mut(bucket) {
                *count += 1;
            }
        }
        let mut sums = [0u32; BUCKETS + 1];
        let mut sum = 0;
        for (slot, count) in sums.iter_mut().skip(1).zip(counts) {
            sum += count;
            *slot = sum;
        }
        let used = 1usize << (inside.width - shift);
        let sums = sums.get(..=used).unwrap_or_default();
        let mut narrowest = None;
        for width in (shift..inside.width).rev() {
            let (bucket, held) = densest(sums, 1 << (width - shift));
            let patches = numbers.len() - held;
            if patches > patches_max {
                narrowest = None;
                break;
            }
            let base = inside.base.wrapping_add((bucket << shift) as i64);
            narrowest = Some(Window { base, width });
            let bytes = packed_bytes(numbers.len(), width) + patches * patch_bytes;
            if bytes < best_bytes {
                best_bytes = bytes;
                best = Window { base, width };
            }
        }
        // Down to a single bucket: it is looked into.
        match narrowest {
            Some(window) => inside = window,
            None => break,
        }
    }
    best
}

/// The first bucket from which `buckets` of them hold most, and how many numbers that is; `sums` are those before each
/// bucket and after the last.
fn densest(sums: &[u32], buckets: usize) -> (usize, usize) {
    let windows = sums.iter().zip(sums.iter().skip(buckets)).map(|(before, through)| through - before);
    let (mut best, mut most) = (0, 0);
    for (bucket, held) in windows.enumerate() {
        if held > most {
            (best, most) = (bucket, held);
        }
    }
    (best, most as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Rng;

    fn patches(numbers: &[i64], window: Window) -> usize {
        numbers.iter().filter(|&&number| window.offset(number).is_none()).count()
    }

    #[test]
    fn outliers_do_not_widen_the_rest() {
        let mut rng = Rng(3);
        for (outlier, at) in [(i64::MAX, 3), (i64::MIN, 250), (1 << 40, 0), (-(1 << 20), 100)] {
            let mut numbers: Vec<i64> = (0..256).map(|_| 5_000 + (rng.next() % 16) as i64).collect();
            numbers[at] = outlier;
            let window = choose_window(&numbers);
            assert!(window.width <= 5 && patches(&numbers, window) == 1, "{outlier} {window:?}");
        }
    }

    #[test]
    fn the_ends_of_i64_are_a_window_like_any_other() {
        for (least, greatest) in
            [(i64::MAX - 2, i64::MAX), (i64::MIN, i64::MIN + 2), (-1, 1), (i64::MIN, i64::MAX)]
        {
            let middle = least.wrapping_add(1);
            let numbers: Vec<i64> = [greatest, middle, least].into_iter().cycle().take(12).collect();
            let window = choose_window(&numbers);
            assert_eq!(patches(&numbers, window), 0, "{window:?}");
            assert_eq!(window.width, bits(greatest.wrapping_sub(least) as u64));
        }
        assert_eq!(choose_window(&[7; 40]), Window { base: 7, width: 0 });
    }
}
