//! Starts that follow from what is written, so that one oracle does for both: a sample that is shown with another start than
//! its value and its stamp ask for has lost its own, or has that of another.

use annals::{HOUR_MS, STALE_NAN_BITS, START_UNKNOWN, SeriesKind};

/// The start of a sample of this kind, stamp and value, or count. Of 1, of a marker and of what adds up it is not known.
#[must_use]
pub fn start_of(kind: SeriesKind, time: i64, value: f64) -> i64 {
    let bits = value.to_bits();
    if kind.is_delta() || bits == 1.0f64.to_bits() || bits == STALE_NAN_BITS {
        return START_UNKNOWN;
    }
    match (bits >> 44 ^ bits >> 20 ^ bits) % 5 {
        0 => START_UNKNOWN,
        // Of a delta, as some senders have it; within a sample before; and of processes that live for an hour.
        1 => time - 1,
        2 => time - 600_000,
        _ => time.div_euclid(HOUR_MS) * HOUR_MS - 7,
    }
}

/// Whether counting began anew with a sample, by the time and start of it and of the one before.
pub(super) fn is_anew((time_before, start_before): (i64, i64), (time, start): (i64, i64)) -> bool {
    let of_delta = start == time_before && start_before != START_UNKNOWN && start_before < time_before;
    start != START_UNKNOWN && start < time && (start > time_before || of_delta)
}
