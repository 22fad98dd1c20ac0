//! Sums, means and spreads that lose as little as Prometheus' do, and their sliding forms.
//!
//! A window that moves is folded with two stacks: elements leave by the front, whose suffix folds are kept, and enter
//! at the back, whose fold is kept. Nothing is ever subtracted, so an infinity or a huge value that has left a window
//! leaves no trace, and each element costs a constant number of joins, however much windows overlap.

pub(super) use annals_model::Sum;
use annals_model::add_compensated;

/// Something that folds: `join` associates (up to rounding).
pub(super) trait Fold: Clone {
    /// This, then that.
    fn join(self, later: Self) -> Self;
}

/// A queue that knows the fold of all its elements.
#[derive(Debug)]
pub(super) struct Sliding<T> {
    /// Folds of suffixes of the older part; the last one is of all of it.
    front: Vec<T>,
    /// The newer part, and its fold.
    back: Vec<T>,
    back_fold: Option<T>,
}

impl<T: Fold> Sliding<T> {
    pub(super) fn new() -> Sliding<T> {
        Sliding { front: Vec::new(), back: Vec::new(), back_fold: None }
    }

    pub(super) fn push(&mut self, value: T) {
        self.back_fold = Some(match self.back_fold.take() {
            Some(fold) => fold.join(value.clone()),
            None => value.clone(),
        });
        self.back.push(value);
    }

    pub(super) fn pop(&mut self) {
        if self.front.is_empty() {
            while let Some(value) = self.back.pop() {
                let suffix = match self.front.last() {
                    Some(fold) => value.join(fold.clone()),
                    None => value,
                };
                self.front.push(suffix);
            }
            self.back_fold = None;
        }
        self.front.pop();
    }

    pub(super) fn clear(&mut self) {
        self.front.clear();
        self.back.clear();
        self.back_fold = None;
    }

    /// The fold of all elements, oldest first.
    pub(super) fn fold(&self) -> Option<T> {
        match (self.front.last().cloned(), self.back_fold.clone()) {
            (Some(front), Some(back)) => Some(front.join(back)),
            (front, back) => front.or(back),
        }
    }
}

impl Fold for Sum {
    fn join(self, later: Sum) -> Sum {
        self.plus(later)
    }
}

/// A mean: directly while the sum fits a float, incrementally once it would overflow.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mean {
    /// The sum, or the mean once that is kept instead.
    pub(super) sum: Sum,
    pub(super) count: f64,
    pub(super) incremental: bool,
}

impl Mean {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.incremental {
            let next = self.sum.join(Sum::of(value));
            // The first value stands even where it is infinite: there is no mean yet to fall back to.
            if self.count == 1.0 || !next.sum.is_infinite() {
                self.sum = next;
                return;
            }
            self.incremental = true;
            self.sum.sum /= self.count - 1.0;
            self.sum.compensation /= self.count - 1.0;
        }
        let weight = (self.count - 1.0) / self.count;
        let (sum, compensation) =
            add_compensated(value / self.count, weight * self.sum.sum, weight * self.sum.compensation);
        self.sum = Sum { sum, compensation };
    }

    pub(super) fn mean(self) -> f64 {
        if self.incremental {
            self.sum.total()
        } else {
            self.sum.sum / self.count + self.sum.compensation / self.count
        }
    }
}

/// Count, mean and sum of squared distances from it; joins as Chan, Golub and LeVeque do.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Spread {
    pub(super) fn of(value: f64) -> Spread {
        Spread { count: 1.0, mean: value, squares: if value.is_finite() { 0.0 } else { f64::NAN } }
    }

    pub(super) fn variance(self) -> f64 {
        self.squares / self.count
    }
}

impl Fold for Spread {
    fn join(self, later: Spread) -> Spread {
        let count = self.count + later.count;
        let delta = later.mean - self.mean;
        Spread {
            count,
            mean: self.mean + delta * (later.count / count),
            squares: self.squares + later.squares + delta * delta * (self.count * later.count / count),
        }
    }
}

/// The φ-quantile of values, which are brought into another order; NaN comes first.
pub(super) fn quantile(phi: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || phi.is_nan() {
        return f64::NAN;
    }
    if phi < 0.0 {
        return f64::NEG_INFINITY;
    }
    if phi > 1.0 {
        return f64::INFINITY;
    }
    let last = values.len() - 1;
    let rank = phi * last as f64;
    let lower = (rank.floor() as usize).min(last);
    let weight = rank - rank.floor();
    let (_, &mut low, above) = values.select_nth_unstable_by(lower, |a, b| nan_first(*a, *b));
    let high = above.iter().copied().min_by(|a, b| nan_first(*a, *b)).unwrap_or(low);
    low * (1.0 - weight) + high * weight
}

/// Ascending, NaN before everything.
pub(super) fn nan_first(a: f64, b: f64) -> std::cmp::Ordering {
    // Of a number and a NaN neither is less.
    match a.partial_cmp(&b) {
        Some(order) => order,
        None => b.is_nan().cmp(&a.is_nan()),
    }
}
