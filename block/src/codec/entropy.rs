//! Small numbers whose high bits are entropy coded.
//!
//! | bytes    | field       | notes                                                               |
//! |---------:|-------------|---------------------------------------------------------------------|
//! |        1 | `width`     | 1 to 64                                                             |
//! |        1 | `top`       | how many of them are entropy coded, 1 to 8                          |
//! |   varint | `base`      | zigzag                                                              |
//! |   varint | `patches`   | then per patch: gap to the one before (varint), number - base       |
//! |          |             | (zigzag varint)                                                     |
//! | see pack | `low`       | the low `width - top` bits, packed in mini-blocks                   |
//! |     blob | `symbols`   | zstd of one byte per number: its `top` high bits                    |

use annals_model::bytes::{Cursor, PutBytes};

use super::ints::Source;
use super::kernel::Vectors;
use super::pack::{MINI, pack, packed_bytes, unpack};
use super::packed::{Window, choose_window};
use crate::squeeze::{Squeezer, Unsqueezer};

/// How many high bits are tried as symbols: 8 hold the most, fewer need a smaller code table.
const TOP_BITS: [u32; 2] = [TOP_BITS_MAX, 6];
const TOP_BITS_MAX: u32 = u8::BITS;
/// So many numbers of a long run are looked at first.
const SAMPLE: usize = 128;
/// What a sample may promise more than is asked for, as few numbers seem to need.
const SAMPLE_SLACK_ONE_IN: usize = 8;

/// A way to split numbers into symbols and low bits, and about how many bytes both take.
struct Split {
    window: Window,
    offsets: Vec<u64>,
    top: u32,
    symbols: Vec<u8>,
    bytes: usize,
}

/// The best split; none of numbers that are all equal.
fn split(numbers: &[i64]) -> Option<Split> {
    let window = choose_window(numbers);
    if window.width == 0 {
        return None;
    }
    let offsets: Vec<u64> = numbers.iter().map(|&number| window.offset(number).unwrap_or(0)).collect();
    let symbols_of = |low: u32| -> Vec<u8> { offsets.iter().map(|&offset| (offset >> low) as u8).collect() };
    let splits = TOP_BITS.iter().filter(|&&top| top == TOP_BITS_MAX || top < window.width).map(|&top| {
        let top = top.min(window.width);
        let low = window.width - top;
        let symbols = symbols_of(low);
        (entropy_bytes(&symbols) + packed_bytes(numbers.len(), low), top, symbols)
    });
    let (bytes, top, symbols) = splits.min_by_key(|&(bytes, ..)| bytes)?;
    Some(Split { window, offsets, top, symbols, bytes })
}

/// Whether a part of a long run says that the whole is not below `bytes_max`.
fn is_hopeless(numbers: &[i64], bytes_max: usize) -> bool {
    let every = numbers.len() / SAMPLE;
    if every < 4 {
        return false;
    }
    let sample: Vec<i64> = numbers.iter().step_by(every).copied().collect();
    let share = bytes_max.saturating_mul(sample.len()) / numbers.len();
    split(&sample).is_some_and(|split| split.bytes > share + share / SAMPLE_SLACK_ONE_IN)
}

/// Appends the form; false, with nothing appended, where it has none or none below `bytes_max`.
pub(crate) fn encode(numbers: &[i64], bytes_max: usize, squeezer: &mut Squeezer, out: &mut Vec<u8>) -> bool {
    if is_hopeless(numbers, bytes_max) {
        return false;
    }
    let best = split(numbers).filter(|split| split.bytes <= bytes_max);
    let Some(Split { window, offsets, top, symbols, .. }) = best else { return false };
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

/// Reads the form, mini-block by mini-block.
pub(crate) struct Entropy<'a, 's> {
    low: u32,
    base: i64,
    lows: Cursor<'a>,
    symbols: &'s [u8],
    patches: Patches<'a>,
}

impl<'a, 's> Entropy<'a, 's> {
    /// Takes the form of `count` numbers off the cursor; `None` where the bytes are not that.
    pub(crate) fn open(
        cursor: &mut Cursor<'a>,
        count: usize,
        unsqueezer: &'s mut Unsqueezer,
    ) -> Option<Entropy<'a, 's>> {
        let width = u32::from(cursor.u8().filter(|&width| (1..=64).contains(&width))?);
        let top = u32::from(cursor.u8().filter(|&top| (1..=8).contains(&top))?);
        let low = width.checked_sub(top)?;
        let base = cursor.varint_signed()?;
        let patches = Patches::open(cursor, count)?;
        let lows = cursor.clone();
        cursor.take(packed_bytes(MINI, low).checked_mul(count / MINI)?)?;
        cursor.take(packed_bytes(count % MINI, low))?;
        let symbols = unsqueezer.exactly(cursor.blob()?, count)?;
        Some(Entropy { low, base, lows, symbols, patches })
    }
}

impl Source for Entropy<'_, '_> {
    #[inline(always)]
    fn next<V: Vectors>(&mut self, residuals: &mut [i64]) -> Option<()> {
        let (symbols, rest) = self.symbols.split_at_checked(residuals.len())?;
        self.symbols = rest;
        let (low, base) = (self.low, self.base);
        unpack::<V>(self.lows.take(packed_bytes(residuals.len(), low))?, low, base, residuals);
        for (residual, &symbol) in residuals.iter_mut().zip(symbols) {
            *residual = residual.wrapping_add(i64::from(symbol).wrapping_shl(low));
        }
        self.patches.apply(residuals, |offset| base.wrapping_add(offset))
    }
}

/// Numbers of their own at ascending positions of a run: count, then per number the gap to the one before and itself
/// (zigzag).
pub(crate) struct Patches<'a> {
    cursor: Cursor<'a>,
    left: usize,
    /// Positions from here to the next one.
    gap: usize,
}

impl<'a> Patches<'a> {
    /// Takes patches of a run of `count` numbers off the cursor.
    pub(crate) fn open(cursor: &mut Cursor<'a>, count: usize) -> Option<Patches<'a>> {
        let left = cursor.count(2)?;
        let start = cursor.clone();
        let mut next = 0usize;
        for _ in 0..left {
            next = next.checked_add(usize::try_from(cursor.varint()?).ok()?)?.checked_add(1)?;
            cursor.varint_signed()?;
        }
        let mut patches = Patches { cursor: start, left, gap: 0 };
        patches.read_gap()?;
        (next <= count).then_some(patches)
    }

    fn read_gap(&mut self) -> Option<()> {
        if self.left > 0 {
            self.gap = usize::try_from(self.cursor.varint()?).ok()?;
        }
        Some(())
    }

    /// Replaces those of the run's next numbers that are patched.
    #[inline(always)]
    pub(crate) fn apply(&mut self, numbers: &mut [i64], value: impl Fn(i64) -> i64) -> Option<()> {
        let mut at = 0usize;
        while self.left > 0 {
            let position = at.checked_add(self.gap)?;
            let Some(number) = numbers.get_mut(position) else { break };
            *number = value(self.cursor.varint_signed()?);
            self.left -= 1;
            at = position + 1;
            self.read_gap()?;
        }
        self.gap = self.gap.saturating_sub(numbers.len() - at);
        Some(())
    }
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
