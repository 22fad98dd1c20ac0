//! Draws from a seed.

use annals::vfs::SimEntropy;

/// A stream of draws. The same seed gives the same draws.
#[derive(Debug)]
pub(super) struct Draws(SimEntropy);

impl Draws {
    pub(super) fn new(seed: u64) -> Draws {
        Draws(SimEntropy::new(seed))
    }

    pub(super) fn next(&self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&self, bound: u64) -> u64 {
        self.next() % bound
    }

    /// A number from `least` to `most`.
    pub(super) fn within(&self, least: u64, most: u64) -> u64 {
        least + self.below(most - least + 1)
    }

    /// Whether something of so many percent happens.
    pub(super) fn percent(&self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(super) fn one_of<T: Copy>(&self, all: &[T]) -> T {
        all[self.below(all.len() as u64) as usize]
    }

    /// The index of a weight, drawn in proportion. At least one is not 0.
    pub(super) fn weighted(&self, weights: &[u64]) -> usize {
        let mut at = self.below(weights.iter().sum());
        for (index, &weight) in weights.iter().enumerate() {
            match at.checked_sub(weight) {
                Some(rest) => at = rest,
                None => return index,
            }
        }
        weights.len() - 1
    }
}
