//! What a report was made from, so that two can be told to be of the same data.
//!
//! The id is a digest over the UTC days that the report reads: of a sealed day the digest that its rollups were sealed
//! with, which stays the same when its raw data expires. As long as some day is not sealed, its data may change without
//! any seal saying so; then all counts that were read are digested too.

use annals_model::Day;
use aws_lc_rs::digest::{Context, SHA256};
use serde::Serialize;

use super::read::Reading;

/// Bytes of the id that are printed, each as two digits.
const ID_BYTES: usize = 16;

/// One UTC day of a source, as far as it can still change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotDay {
    /// The day.
    pub day: Day,
    /// What is known of it.
    pub state: DayState,
}

/// Whether a day can still change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DayState {
    /// Sealed, with the digest of all that it holds.
    Sealed([u8; 16]),
    /// Over and without data.
    Empty,
    /// Over, with data that nothing will ever seal.
    Closed,
    /// Not sealed yet, or not over: it may still take data.
    Open,
    /// Not kept any more.
    Expired,
}

/// The data that a report was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Equal for equal data: 32 hexadecimal digits.
    pub id: String,
    /// UTC days whose seals are in the id.
    pub days_sealed: u64,
    /// UTC days that are over and have no data.
    pub days_empty: u64,
    /// UTC days that take no more data and are never sealed.
    pub days_closed: u64,
    /// UTC days that may still take data.
    pub days_open: u64,
    /// UTC days that are not kept any more.
    pub days_expired: u64,
}

impl Snapshot {
    /// All UTC days that the report reads.
    #[must_use]
    pub fn days(&self) -> u64 {
        self.days_sealed + self.days_empty + self.days_closed + self.days_open + self.days_expired
    }
}

/// The snapshot of what was read.
pub(crate) fn snapshot(days: &[SnapshotDay], reading: &Reading<'_>) -> Snapshot {
    let mut hash = Context::new(&SHA256);
    hash.update(b"annals.snapshot/1\0");
    let [mut days_sealed, mut days_empty, mut days_closed, mut days_open, mut days_expired] = [0; 5];
    for SnapshotDay { day, state } in days {
        hash.update(&day.0.to_le_bytes());
        let (tag, count) = match state {
            DayState::Sealed(_) => (1, &mut days_sealed),
            DayState::Empty => (2, &mut days_empty),
            DayState::Open => (3, &mut days_open),
            DayState::Expired => (4, &mut days_expired),
            DayState::Closed => (5, &mut days_closed),
        };
        *count += 1;
        hash.update(&[tag]);
        if let DayState::Sealed(digest) = state {
            hash.update(digest);
        }
    }
    if days_open + days_closed > 0 {
        reading.digest(&mut |bytes| hash.update(bytes));
    }
    for missing in &reading.missing {
        hash.update(&missing.range.start.0.to_le_bytes());
        hash.update(&missing.range.end.0.to_le_bytes());
    }
    let digest = hash.finish();
    let id = digest.as_ref().iter().take(ID_BYTES).map(|byte| format!("{byte:02x}")).collect();
    Snapshot { id, days_sealed, days_empty, days_closed, days_open, days_expired }
}
