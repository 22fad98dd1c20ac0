//! Log sequence numbers.

use std::fmt;

/// The number of a record. The first record is 1; 0 stands before it. Numbers only grow, over the whole life of a
/// root; a number whose record was refused or lost is never given out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The number after this one; the last number is its own successor (the log refuses records long before).
    pub(crate) fn next(self) -> Lsn {
        Lsn(self.0.saturating_add(1))
    }

    /// The number before this one; 0 is its own predecessor.
    pub(crate) fn before(self) -> Lsn {
        Lsn(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A run of numbers, both ends inside. Never empty: made by [`LsnSpan::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LsnSpan {
    /// The lowest.
    pub first: Lsn,
    /// The highest.
    pub last: Lsn,
}

impl LsnSpan {
    /// The run from `first` to `last`, unless it is empty.
    #[must_use]
    pub fn new(first: Lsn, last: Lsn) -> Option<LsnSpan> {
        (first <= last).then_some(LsnSpan { first, last })
    }

    /// Whether a number is in the run.
    #[must_use]
    pub fn contains(&self, lsn: Lsn) -> bool {
        self.first <= lsn && lsn <= self.last
    }
}

impl fmt::Display for LsnSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{} to {}", self.first, self.last)
        }
    }
}
