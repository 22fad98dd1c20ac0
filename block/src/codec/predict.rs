//! Predictors: what each expects of a run's next number, and what that leaves over.
//!
//! With residual `r`, number `i` is
//!
//! | predictor      | number                                                                               |
//! |----------------|--------------------------------------------------------------------------------------|
//! | `Plain`        | `start + factor * r[i]`                                                              |
//! | `Delta`        | `number[i - 1] + factor * r[i]`, from `start`                                        |
//! | `DeltaOfDelta` | `number[i - 1] + delta[i]`, `delta[i] = delta[i - 1] + factor * r[i]`, from `step`   |
//! | `Linear`       | `start + i * step + factor * r[i]`                                                   |
//!
//! All arithmetic wraps, so that every run has a form in each predictor and damage cannot overflow.

use super::kernel::Vectors;
use super::pack::{MINI, bits};

/// How a number is predicted from those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Predictor {
    Plain = 0,
    Delta = 1,
    DeltaOfDelta = 2,
    Linear = 3,
}

pub(crate) const PREDICTORS: [Predictor; 4] =
    [Predictor::Plain, Predictor::Delta, Predictor::DeltaOfDelta, Predictor::Linear];

impl Predictor {
    /// Whether a run says its `step`.
    pub(crate) fn has_step(self) -> bool {
        matches!(self, Predictor::DeltaOfDelta | Predictor::Linear)
    }
}

/// Runs that span less than this can be multiplied, doubled and redoubled without wrapping.
const WRAP_FREE_RANGE: u64 = 1 << 60;
/// How many mini-blocks a guess looks at, and how many numbers of each.
const MINIS_GUESSED: usize = 4;
const GUESSED_OF_MINI: usize = 96;

/// Where a decoder stands in a run: residuals become numbers, piece by piece.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) predictor: Predictor,
    pub(crate) start: i64,
    pub(crate) step: i64,
    pub(crate) factor: i64,
}

impl Run {
    /// Turns the next residuals into numbers.
    #[inline(always)]
    pub(crate) fn advance<V: Vectors>(&mut self, numbers: &mut [i64]) {
        if self.factor != 1 {
            numbers.iter_mut().for_each(|number| *number = number.wrapping_mul(self.factor));
        }
        match self.predictor {
            Predictor::Plain if self.start == 0 => {}
            Predictor::Plain => {
                numbers.iter_mut().for_each(|number| *number = number.wrapping_add(self.start));
            }
            Predictor::Delta => self.start = V::sum(numbers, self.start),
            Predictor::DeltaOfDelta => {
                self.step = V::sum(numbers, self.step);
                self.start = V::sum(numbers, self.start);
            }
            Predictor::Linear => {
                for (position, number) in (0i64..).zip(numbers.iter_mut()) {
                    let line = self.start.wrapping_add(self.step.wrapping_mul(position));
                    *number = number.wrapping_add(line);
                }
                self.start = self.start.wrapping_add(self.step.wrapping_mul(numbers.len() as i64));
            }
        }
    }
}

/// What an encoder knows of a run before it predicts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    least: i64,
    first: i64,
    last: i64,
    /// The greatest factor of all differences, where their arithmetic cannot wrap; otherwise 1.
    pub(crate) factor: i64,
    wraps: bool,
}

impl Shape {
    pub(crate) fn of(numbers: &[i64]) -> Shape {
        let (mut least, mut greatest) = (i64::MAX, i64::MIN);
        for &number in numbers {
            least = least.min(number);
            greatest = greatest.max(number);
        }
        let (first, last) = (numbers.first().copied().unwrap_or(0), numbers.last().copied().unwrap_or(0));
        let wraps = greatest.wrapping_sub(least) as u64 >= WRAP_FREE_RANGE;
        let mut shape = Shape { least, first, last, factor: 1, wraps };
        if numbers.is_empty() {
            return Shape { least: 0, ..shape };
        }
        if !wraps {
            let mut factor = 0u64;
            for &number in numbers {
                factor = gcd(factor, number.wrapping_sub(least) as u64);
                if factor == 1 {
                    break;
                }
            }
            shape.factor = factor.max(1) as i64;
        }
        shape
    }

    /// How `predictor` begins; `None` where it needs more numbers or a smaller range.
    ///
    /// Where a predictor looks back, its start is set so that the first residuals equal the ones after them and do not
    /// widen the first mini-block.
    pub(crate) fn begin(&self, numbers: &[i64], predictor: Predictor) -> Option<Run> {
        let mut run = Run { predictor, start: self.least, step: 0, factor: self.factor };
        match predictor {
            Predictor::Plain => {}
            Predictor::Delta => {
                let &[first, second, ..] = numbers else { return None };
                run.start = first.wrapping_sub(second.wrapping_sub(first));
            }
            Predictor::DeltaOfDelta => {
                let &[first, second, third, ..] = numbers else { return None };
                let delta = second.wrapping_sub(first);
                let bend = third.wrapping_sub(second).wrapping_sub(delta);
                let first_delta = delta.wrapping_sub(bend);
                run.step = first_delta.wrapping_sub(bend);
                run.start = first.wrapping_sub(first_delta);
            }
            Predictor::Linear => {
                if self.wraps || numbers.len() < 2 {
                    return None;
                }
                let steps = i64::try_from(numbers.len() - 1).ok()?;
                run.start = self.first;
                run.step = self.last.wrapping_sub(self.first) / steps / self.factor * self.factor;
            }
        }
        Some(run)
    }
}

impl Run {
    /// What the predictor leaves of the numbers from `position` on; the run is where they begin.
    fn residuals_at(&self, numbers: &[i64], position: usize, count: usize, residuals: &mut Vec<i64>) {
        residuals.clear();
        let part = numbers.get(position..).unwrap_or_default();
        let part = part.get(..count.min(part.len())).unwrap_or_default();
        let back = |by: usize| position.checked_sub(by).and_then(|at| numbers.get(at)).copied();
        match self.predictor {
            Predictor::Plain => residuals.extend(part.iter().map(|number| number.wrapping_sub(self.start))),
            Predictor::Delta => {
                let mut last = back(1).unwrap_or(self.start);
                residuals.extend(part.iter().map(|&number| {
                    let delta = number.wrapping_sub(last);
                    last = number;
                    delta
                }));
            }
            Predictor::DeltaOfDelta => {
                let mut last = back(1).unwrap_or(self.start);
                let mut delta = match (position, back(2)) {
                    (_, Some(before)) => last.wrapping_sub(before),
                    (1, None) => last.wrapping_sub(self.start),
                    _ => self.step,
                };
                residuals.extend(part.iter().map(|&number| {
                    let delta_now = number.wrapping_sub(last);
                    let bend = delta_now.wrapping_sub(delta);
                    (last, delta) = (number, delta_now);
                    bend
                }));
            }
            Predictor::Linear => {
                let first = self.start.wrapping_add(self.step.wrapping_mul(position as i64));
                residuals.extend(
                    (0i64..).zip(part).map(|(at, number)| {
                        number.wrapping_sub(first.wrapping_add(self.step.wrapping_mul(at)))
                    }),
                );
            }
        }
        if self.factor != 1 {
            residuals.iter_mut().for_each(|residual| *residual /= self.factor);
        }
    }

    /// What the predictor leaves of a whole run.
    pub(crate) fn residuals(&self, numbers: &[i64], residuals: &mut Vec<i64>) {
        self.residuals_at(numbers, 0, numbers.len(), residuals);
    }

    /// How far residuals lie from the first of their mini-block, in bits, in parts of the run: a guess at the
    /// packed size that outliers do not dominate.
    pub(crate) fn spread(&self, numbers: &[i64], residuals: &mut Vec<i64>) -> u64 {
        let minis = numbers.len().div_ceil(MINI);
        let stride = minis.div_ceil(MINIS_GUESSED).max(1);
        let mut spread = 0;
        for mini in (0..minis).step_by(stride) {
            self.residuals_at(numbers, mini * MINI, GUESSED_OF_MINI, residuals);
            let first = residuals.first().copied().unwrap_or(0);
            let distance = |&residual: &i64| u64::from(bits(residual.wrapping_sub(first).unsigned_abs()));
            spread += residuals.iter().map(distance).sum::<u64>();
        }
        spread
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::kernel::Plain;
    use crate::testing::Rng;

    #[test]
    fn what_a_predictor_leaves_gives_the_run_back_from_every_cut() {
        let mut rng = Rng(11);
        for length in [1usize, 2, 3, 4, 255, 256, 257, 700] {
            let mut last = 0i64;
            let numbers: Vec<i64> = (0..length)
                .map(|_| {
                    last += (rng.next() % 100) as i64 * 5;
                    last
                })
                .collect();
            let shape = Shape::of(&numbers);
            for predictor in PREDICTORS {
                let Some(run) = shape.begin(&numbers, predictor) else { continue };
                let mut whole = Vec::new();
                run.residuals(&numbers, &mut whole);
                for position in [0, 1, 2, 3, length / 2, length - 1] {
                    let mut part = Vec::new();
                    run.residuals_at(&numbers, position, 40, &mut part);
                    let end = whole.len().min(position + 40);
                    assert_eq!(
                        part,
                        whole.get(position..end).unwrap_or_default(),
                        "{predictor:?} {position}"
                    );
                }
                let mut back = whole.clone();
                let mut from = run;
                back.chunks_mut(100).for_each(|piece| from.advance::<Plain>(piece));
                assert_eq!(back, numbers, "{predictor:?}");
            }
        }
    }
}
