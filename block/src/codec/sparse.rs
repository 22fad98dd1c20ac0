//! A run of residuals that are zero but for a few.
//!
//! | bytes  | field   | notes                                                                    |
//! |-------:|---------|--------------------------------------------------------------------------|
//! | varint | `count` | how many are not zero; then for each:                                    |
//! | varint | `gap`   | how many zeros lie before it                                             |
//! | varint | `value` | zigzag                                                                   |

use annals_model::bytes::PutBytes;

use super::entropy::Patches;
use super::ints::Source;
use super::kernel::Vectors;

/// More numbers other than zero than one in this many, and other forms are smaller or faster.
const SPARSE_ONE_IN: usize = 16;

/// Appends the form; false, with nothing appended, where too many numbers are not zero.
pub(crate) fn encode(numbers: &[i64], out: &mut Vec<u8>) -> bool {
    let count = numbers.iter().filter(|&&number| number != 0).count();
    if count * SPARSE_ONE_IN > numbers.len() {
        return false;
    }
    out.put_varint(count as u64);
    let mut next = 0;
    for (position, &number) in numbers.iter().enumerate().filter(|&(_, &number)| number != 0) {
        out.put_varint((position - next) as u64);
        out.put_varint_signed(number);
        next = position + 1;
    }
    true
}

/// Reads the form.
pub(crate) struct Sparse<'a>(pub(crate) Patches<'a>);

impl Source for Sparse<'_> {
    #[inline(always)]
    fn next<V: Vectors>(&mut self, residuals: &mut [i64]) -> Option<()> {
        residuals.fill(0);
        self.0.apply(residuals, |value| value)
    }
}
