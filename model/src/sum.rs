//! Sums of floats that lose as little as Neumaier's: what rounding takes away is kept beside the sum.

/// One step of Neumaier's summation: the new sum and its compensation.
#[must_use]
pub fn add_compensated(value: f64, sum: f64, compensation: f64) -> (f64, f64) {
    let total = sum + value;
    let compensation = if total.is_infinite() {
        0.0
    } else if sum.abs() >= value.abs() {
        compensation + ((sum - total) + value)
    } else {
        compensation + ((value - total) + sum)
    };
    (total, compensation)
}

/// A compensated sum.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sum {
    /// What adding as usual gives.
    pub sum: f64,
    /// What that lost.
    pub compensation: f64,
}

impl Sum {
    /// The sum of one value.
    #[must_use]
    pub fn of(value: f64) -> Sum {
        Sum { sum: value, compensation: 0.0 }
    }

    /// Adds a value.
    pub fn add(&mut self, value: f64) {
        (self.sum, self.compensation) = add_compensated(value, self.sum, self.compensation);
    }

    /// This sum and then that one.
    #[must_use]
    pub fn plus(self, later: Sum) -> Sum {
        let (sum, compensation) = add_compensated(later.sum, self.sum, self.compensation);
        let compensation = if sum.is_infinite() { 0.0 } else { compensation + later.compensation };
        Sum { sum, compensation }
    }

    /// The sum.
    #[must_use]
    pub fn total(self) -> f64 {
        self.sum + self.compensation
    }
}
