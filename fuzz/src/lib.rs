//! One target per decoder: arbitrary bytes in, no panic out, and what is accepted makes sense.
//!
//! ```text
//!   seeds.rs     valid inputs, made by the encoders                repair/   checks and sizes made to fit again
//!   mutate.rs    mutations from a seed                             model.rs  bytes read as choices
//!   targets/     files (segments, manifests, blocks), index and codecs, texts,
//!                round trips, operations on a store against an oracle
//!   corpus/      what coverage-guided runs have found worth keeping, per target
//! ```
//!
//! Three drivers call the same functions:
//!
//! - `cargo test -p annals-fuzz` replays the corpus and a short slice of mutations;
//! - `cargo run --release -p annals-fuzz -- TARGET [--seconds N] [--seed N]` mutates valid inputs of one target, or of
//!   `all`, with nothing but a stable compiler;
//! - `fuzz/run.sh SECONDS [TARGET…]` runs libFuzzer, which sees what each input reaches (`fuzz_targets/`).
//!
//! In half of the cases a mutation is repaired: checksums and lengths are recomputed, so that what lies behind them is
//! reached too.

mod model;
mod mutate;
mod repair;
mod seeds;
mod targets;

pub use mutate::{Random, mutate};
pub use targets::{TARGETS, Target};

#[cfg(feature = "libfuzzer")]
#[doc(hidden)]
pub use libfuzzer_sys;

/// Runs one target on its seeds and then on `cases` mutations of them.
///
/// # Panics
/// Where the target does: that is the finding. The panic hook prints seed and case before.
pub fn run(target: &Target, seed: u64, cases: u64) {
    let seeds = (target.seeds)();
    for bytes in &seeds {
        (target.run)(bytes);
    }
    let mut random = Random::new(seed);
    for case in 0..cases {
        let index = random.below(seeds.len() as u64) as usize;
        let mut bytes = mutate(&seeds[index], &seeds, &mut random);
        if random.below(2) == 0 {
            (target.repair)(&mut bytes);
        }
        let guard = Case { target: target.name, seed, case, bytes: &bytes };
        (target.run)(&bytes);
        std::mem::forget(guard);
    }
}

/// The target of that name.
///
/// # Panics
/// Where there is none.
#[must_use]
pub fn target(name: &str) -> &'static Target {
    TARGETS.iter().find(|target| target.name == name).expect("a program of each target's name")
}

/// Names the case while a panic unwinds through it, and says its bytes where they are few.
struct Case<'a> {
    target: &'static str,
    seed: u64,
    case: u64,
    bytes: &'a [u8],
}

impl Drop for Case<'_> {
    fn drop(&mut self) {
        eprintln!("target {} failed in case {} of seed {}", self.target, self.case, self.seed);
        if self.bytes.len() <= 2048 {
            eprintln!("b\"{}\"", self.bytes.escape_ascii());
        }
    }
}

/// A program for libFuzzer of one target: runs it, and mutates with a repair in half of the cases.
#[cfg(feature = "libfuzzer")]
#[macro_export]
macro_rules! libfuzzer {
    ($name:literal) => {
        use $crate::libfuzzer_sys;

        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
            ($crate::target($name).run)(bytes);
        });
        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            let size = libfuzzer_sys::fuzzer_mutate(data, size, max_size);
            if seed.is_multiple_of(2) {
                ($crate::target($name).repair)(&mut data[..size]);
            }
            size
        });
    };
}
