//! Seeded chance: the same seed makes the same two weeks.

/// A splitmix64 generator and the draws that the demo needs of it.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The dice of one place and time: draws for one never shift those of another.
    pub(crate) fn of(seed: u64, place: u64, time: u64) -> Dice {
        let mut dice =
            Dice(seed ^ place.wrapping_mul(0x9e6c_63d0_876a_68ee) ^ time.wrapping_mul(0xd1b5_4a32_d192_ed03));
        dice.next();
        dice
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A whole number below `bound`, which is above zero.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// One of several things.
    pub(crate) fn pick<'a, T>(&mut self, things: &'a [T]) -> &'a T {
        let at = self.below(things.len() as u64) as usize;
        &things[at]
    }

    /// One of several things by weight.
    pub(crate) fn weighted<'a, T>(&mut self, things: &'a [(u32, T)]) -> &'a T {
        let total: u32 = things.iter().map(|(weight, _)| weight).sum();
        let mut left = self.below(u64::from(total)) as u32;
        for (weight, thing) in things {
            if left < *weight {
                return thing;
            }
            left -= weight;
        }
        &things[0].1
    }

    /// A normal draw of mean 0 and deviation 1.
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }

    /// How many of many rare things happen, where `mean` do on average.
    pub(crate) fn count(&mut self, mean: f64) -> u64 {
        if mean > 30.0 {
            return (mean + mean.sqrt() * self.normal()).round().max(0.0) as u64;
        }
        // Knuth: as many factors as fit above e^-mean.
        let (least, mut product, mut count) = ((-mean).exp(), self.unit(), 0);
        while product > least {
            product *= self.unit();
            count += 1;
        }
        count
    }

    /// A time span around a median with a long tail, in milliseconds.
    pub(crate) fn duration_ms(&mut self, median: f64) -> i64 {
        (median * (0.7 * self.normal()).exp()).round().clamp(0.0, 60_000.0) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_and_means_hold() {
        let (mut a, mut b) = (Dice::of(1, 2, 3), Dice::of(1, 2, 3));
        assert!((0..100).all(|_| a.next() == b.next()));
        assert_ne!(Dice::of(1, 2, 4).next(), Dice::of(1, 2, 3).next());
        for mean in [0.04, 3.0, 102.0] {
            let total: u64 = (0..20_000).map(|_| a.count(mean)).sum();
            assert!((total as f64 / 20_000.0 - mean).abs() < mean * 0.1, "{mean}: {total}");
        }
    }
}
