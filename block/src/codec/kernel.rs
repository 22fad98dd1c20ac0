//! Hot loops, written once and compiled for the vectors of the machine that runs them.
//!
//! A loop is a [`Work`] whose `run` is inlined into a function for each [`Level`]: the compiler makes wider vectors of
//! the same source, so that all levels compute the same by construction, and the portable one is the safe twin against
//! which the others are tested.

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

    fn run(self) -> Self::Output;
}

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
            Level::Portable => work.run(),
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
    work.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512dq,avx512vl")]
fn avx512<W: Work>(work: W) -> W::Output {
    work.run()
}
