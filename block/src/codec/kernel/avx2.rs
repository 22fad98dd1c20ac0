//! Unpacking in 256-bit instructions. Left to itself, the compiler unpacks with gathers.
#![expect(unsafe_code, reason = "instructions that the target as a whole does not have")]

use std::arch::x86_64::*;

use super::super::pack::{self, MINI, NARROW_LANES, NARROW_WORDS_MAX, WIDE_LANES, WIDE_WORDS_MAX};
use super::Vectors;

/// Only used from a function that is compiled for AVX2, which only a [`super::Level`] of this machine reaches.
pub(super) struct Wide;

impl Vectors for Wide {
    #[inline(always)]
    fn unpack_narrow(bytes: &[u8], width: u32, base: i64, out: &mut [i64; MINI]) {
        let rows = narrow_rows(bytes);
        let (groups, _) = out.as_chunks_mut::<NARROW_LANES>();
        for (position, group) in groups.iter_mut().enumerate() {
            let Some(offsets) = narrow_offsets(&rows, position, width) else { return };
            let (first, second) = group.split_at_mut(NARROW_LANES / 2);
            // SAFETY: both halves are 32 bytes and need not be aligned; the instructions as for the type.
            unsafe {
                let base = _mm256_set1_epi64x(base);
                let low = _mm256_cvtepu32_epi64(_mm256_castsi256_si128(offsets));
                let high = _mm256_cvtepu32_epi64(_mm256_extracti128_si256::<1>(offsets));
                _mm256_storeu_si256(first.as_mut_ptr().cast(), _mm256_add_epi64(low, base));
                _mm256_storeu_si256(second.as_mut_ptr().cast(), _mm256_add_epi64(high, base));
            }
        }
    }

    #[inline(always)]
    fn unpack_wide(bytes: &[u8], width: u32, base: i64, out: &mut [i64; MINI]) {
        let mut rows = [[0u64; WIDE_LANES]; WIDE_WORDS_MAX + 1];
        let (stored, _) = bytes.as_chunks::<{ 8 * WIDE_LANES }>();
        for (row, stored) in rows.iter_mut().zip(stored) {
            // SAFETY: both sides are 32 bytes and need not be aligned; the instructions as for the type.
            unsafe {
                _mm256_storeu_si256(row.as_mut_ptr().cast(), _mm256_loadu_si256(stored.as_ptr().cast()));
            }
        }
        let mask = u64::MAX.wrapping_shr(64 - width);
        let (groups, _) = out.as_chunks_mut::<WIDE_LANES>();
        for (position, group) in groups.iter_mut().enumerate() {
            let (word, shift) = pack::wide_place(position, width);
            let Some([low, high]) = rows.get(word..).and_then(|rows| rows.first_chunk::<2>()) else { return };
            // SAFETY: rows and groups are 32 bytes and need not be aligned; the instructions as for the type. A shift by
            // 64 gives zero.
            unsafe {
                let low = _mm256_loadu_si256(low.as_ptr().cast());
                let high = _mm256_loadu_si256(high.as_ptr().cast());
                let low = _mm256_srl_epi64(low, _mm_cvtsi32_si128(shift as i32));
                let high = _mm256_sll_epi64(high, _mm_cvtsi32_si128(64 - shift as i32));
                let offsets = _mm256_and_si256(_mm256_or_si256(low, high), _mm256_set1_epi64x(mask as i64));
                let numbers = _mm256_add_epi64(offsets, _mm256_set1_epi64x(base));
                _mm256_storeu_si256(group.as_mut_ptr().cast(), numbers);
            }
        }
    }
}

/// The packed words, and one row more than there can be, so that every row has a next one; its bits are masked off.
pub(super) type NarrowRows = [[u32; NARROW_LANES]; NARROW_WORDS_MAX + 1];

#[inline(always)]
pub(super) fn narrow_rows(bytes: &[u8]) -> NarrowRows {
    let mut rows = [[0u32; NARROW_LANES]; NARROW_WORDS_MAX + 1];
    let (stored, _) = bytes.as_chunks::<{ 4 * NARROW_LANES }>();
    for (row, stored) in rows.iter_mut().zip(stored) {
        // SAFETY: both sides are 32 bytes and need not be aligned; the instructions as for `Wide`.
        unsafe {
            _mm256_storeu_si256(row.as_mut_ptr().cast(), _mm256_loadu_si256(stored.as_ptr().cast()));
        }
    }
    rows
}

/// The eight numbers of a position, 32 bits each.
#[inline(always)]
pub(super) fn narrow_offsets(rows: &NarrowRows, position: usize, width: u32) -> Option<__m256i> {
    let mask = u32::MAX.wrapping_shr(32 - width);
    let (word, shift) = pack::narrow_place(position, width);
    let [low, high] = rows.get(word..)?.first_chunk::<2>()?;
    // SAFETY: rows are 32 bytes and need not be aligned; the instructions as for `Wide`. A shift by 32 gives zero.
    unsafe {
        let low = _mm256_loadu_si256(low.as_ptr().cast());
        let high = _mm256_loadu_si256(high.as_ptr().cast());
        let low = _mm256_srl_epi32(low, _mm_cvtsi32_si128(shift as i32));
        let high = _mm256_sll_epi32(high, _mm_cvtsi32_si128(32 - shift as i32));
        Some(_mm256_and_si256(_mm256_or_si256(low, high), _mm256_set1_epi32(mask as i32)))
    }
}
