//! The steps in 512-bit instructions, where they are faster than the 256-bit ones.
#![expect(unsafe_code, reason = "instructions that the target as a whole does not have")]

use std::arch::x86_64::*;

use super::super::pack::{MINI, NARROW_LANES};
use super::avx2::{self, narrow_offsets, narrow_rows};
use super::{Plain, Vectors};

/// Only used from a function that is compiled for AVX2 and AVX-512 (F, BW, DQ, VL), which only a [`super::Level`] of this
/// machine reaches.
pub(super) struct Wide;

impl Vectors for Wide {
    #[inline(always)]
    fn unpack_narrow(bytes: &[u8], width: u32, base: i64, out: &mut [i64; MINI]) {
        let rows = narrow_rows(bytes);
        let (groups, _) = out.as_chunks_mut::<NARROW_LANES>();
        for (position, group) in groups.iter_mut().enumerate() {
            let Some(offsets) = narrow_offsets(&rows, position, width) else { return };
            // SAFETY: a group is 64 bytes and need not be aligned; the instructions as for the type.
            unsafe {
                let numbers = _mm512_add_epi64(_mm512_cvtepu32_epi64(offsets), _mm512_set1_epi64(base));
                _mm512_storeu_si512(group.as_mut_ptr().cast(), numbers);
            }
        }
    }

    #[inline(always)]
    fn unpack_wide(bytes: &[u8], width: u32, base: i64, out: &mut [i64; MINI]) {
        avx2::Wide::unpack_wide(bytes, width, base, out);
    }

    #[inline(always)]
    fn sum(numbers: &mut [i64], before: i64) -> i64 {
        let (groups, rest) = numbers.as_chunks_mut::<8>();
        // SAFETY: groups are 64 bytes and need not be aligned; the instructions as for the type.
        let before = unsafe {
            let (zero, last) = (_mm512_setzero_si512(), _mm512_set1_epi64(7));
            let mut before = _mm512_set1_epi64(before);
            for group in groups {
                // Sums of 2, then of 4, then of 8 neighbours; then what came before them. From group to group only one
                // addition waits for the one before.
                let mut sum = _mm512_loadu_si512(group.as_ptr().cast());
                sum = _mm512_add_epi64(sum, _mm512_alignr_epi64::<7>(sum, zero));
                sum = _mm512_add_epi64(sum, _mm512_alignr_epi64::<6>(sum, zero));
                sum = _mm512_add_epi64(sum, _mm512_alignr_epi64::<4>(sum, zero));
                _mm512_storeu_si512(group.as_mut_ptr().cast(), _mm512_add_epi64(sum, before));
                before = _mm512_add_epi64(before, _mm512_permutexvar_epi64(last, sum));
            }
            _mm_cvtsi128_si64(_mm512_castsi512_si128(before))
        };
        Plain::sum(rest, before)
    }
}
