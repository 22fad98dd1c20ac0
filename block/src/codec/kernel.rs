//! Hot loops, written once and compiled for the vectors of the machine that runs them.
//!
//! A loop is a [`Work`] whose `run` is inlined into a function for each [`Level`]: the compiler makes wider vectors of
//! the same source. Two steps that it does badly by itself are [`Vectors`]: written in plain Rust for every machine, and
//! with the machine's own instructions where a benchmark shows that it pays. The tests hold each level against the
//! portable one.

use super::pack::{self, MINI};

/// Vector instructions that a loop is compiled for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// What every machine of the target has.
    Portable,
    /// 256-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512-bit vectors.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Something that gains from wide vectors. `run` must be `#[inline(always)]`.
pub(crate) trait Work {
    type Output;

    fn run<V: Vectors>(self) -> Self::Output;
}

/// Steps that a level may do in its own way. All give the same. Must be `#[inline(always)]`.
pub(crate) trait Vectors {
    /// Unpacks a full mini-block of 1 to 32 bits a number from exactly `32 * width` bytes, and adds `base`.
    #[inline(always)]
    fn unpack_narrow(bytes: &[u8], width: u32, base: i64, out: &mut [i64; MINI]) {
        pack::unpack_narrow(bytes, width, base, out);
    }

    /// The same for 33 to 64 bits a number.
    #[inline(always)]
    fn unpack_wide(bytes: &[u8], width: u32, base: i64, out: &mut [i64; MINI]) {
        pack::unpack_wide(bytes, width, base, out);
    }

    /// Replaces each number by the wrapping sum of `before` and all up to it; returns the last.
    #[inline(always)]
    fn sum(numbers: &mut [i64], mut before: i64) -> i64 {
        for number in numbers {
            before = before.wrapping_add(*number);
            *number = before;
        }
        before
    }
}

/// Nothing but what the compiler makes of plain Rust.
pub(crate) struct Plain;

impl Vectors for Plain {}

impl Level {
    /// The widest that this machine has.
    pub(crate) fn widest() -> Level {
        Level::all().next_back().unwrap_or(Level::Portable)
    }

    /// Those that this machine has, widest last.
    pub(crate) fn all() -> impl DoubleEndedIterator<Item = Level> {
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        let wide = {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl");
            [avx2.then_some(Level::Avx2), avx512.then_some(Level::Avx512)]
        };
        #[cfg(any(not(target_arch = "x86_64"), miri))]
        let wide: [Option<Level>; 0] = [];
        std::iter::once(Level::Portable).chain(wide.into_iter().flatten())
    }

    /// Runs `work`, compiled for this level, which the machine must have.
    #[inline]
    pub(crate) fn run<W: Work>(self, work: W) -> W::Output {
        match self {
            Level::Portable => work.run::<Plain>(),
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "calls a function that is compiled for more than the target")]
            // SAFETY: a level is only made by `all`, which asked this machine for every feature that is enabled below.
            Level::Avx2 => unsafe { avx2(work) },
            #[cfg(target_arch = "x86_64")]
            #[expect(unsafe_code, reason = "calls a function that is compiled for more than the target")]
            // SAFETY: as above.
            Level::Avx512 => unsafe { avx512(work) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
fn avx2<W: Work>(work: W) -> W::Output {
    work.run::<avx2::Wide>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<W: Work>(work: W) -> W::Output {
    work.run::<avx512::Wide>()
}

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
