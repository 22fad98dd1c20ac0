//! One target per decoder: arbitrary bytes in, no panic out, and what is accepted makes sense.
//!
//! `cargo run --release -p annals-fuzz -- TARGET [--seconds N] [--seed N]` mutates valid inputs of one target, or of
//! `all`, for a while and prints how many it tried. `cargo test -p annals-fuzz` runs a short slice of each. The same
//! functions serve a coverage-guided fuzzer: each takes bytes and returns nothing.

mod mutate;
mod seeds;
mod targets;

pub use mutate::{Random, mutate};
pub use targets::{TARGETS, Target};

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
        let bytes = mutate(&seeds[index], &seeds, &mut random);
        let guard = Case { target: target.name, seed, case };
        (target.run)(&bytes);
        std::mem::forget(guard);
    }
}

/// Names the case while a panic unwinds through it.
struct Case {
    target: &'static str,
    seed: u64,
    case: u64,
}

impl Drop for Case {
    fn drop(&mut self) {
        eprintln!("target {} failed in case {} of seed {}", self.target, self.case, self.seed);
    }
}
