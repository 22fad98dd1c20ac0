//! Start times: when what a sample counts began, as senders of cumulative counters and histograms say it.
//!
//! A column of start times is empty where no sample knows its own, and else has one per sample: milliseconds, and
//! [`START_UNKNOWN`] where that sample does not know it. So series without start times pay nothing for them. Delta series have
//! none: each of their samples counts its own cell.

/// Where a sample does not know when what it counts began.
pub const START_UNKNOWN: i64 = 0;

/// No start is further from 1970, in milliseconds: a double holds each.
pub const START_MAX: u64 = 1 << 53;

/// Whether a sample says by its start that counting began anew since the one before it; both as time and start.
///
/// A start at the time of the sample before is that of a delta, unless that sample did not know its own start, or
/// began at its own time: then it is the start of a count whose beginning nobody saw.
#[must_use]
pub fn starts_anew((time_before, start_before): (i64, i64), (time, start): (i64, i64)) -> bool {
    if start == START_UNKNOWN || start >= time {
        return false;
    }
    start > time_before || start == time_before && start_before != START_UNKNOWN && start_before < time_before
}

/// Whether a sample's start lies within what the one before it counted: one of the two is wrong. Both as time and start.
#[must_use]
pub fn starts_overlap((time_before, start_before): (i64, i64), (_, start): (i64, i64)) -> bool {
    start != START_UNKNOWN && start < time_before && start != start_before
}

/// Appends the starts of `count` more samples to the column of `before` samples; none are given where none is known.
pub fn append_starts(column: &mut Vec<i64>, before: usize, count: usize, more: &[i64]) {
    if column.is_empty() && more.iter().all(|&start| start == START_UNKNOWN) {
        return;
    }
    column.resize(before, START_UNKNOWN);
    column.extend_from_slice(more.get(..count).unwrap_or(more));
    column.resize(before + count, START_UNKNOWN);
}

/// A later write of the last sample of `count` replaces its start too: by none where it does not know it.
pub fn replace_last_start(column: &mut Vec<i64>, count: usize, start: i64) {
    if let Some(before) = count.checked_sub(1) {
        column.truncate(before);
        append_starts(column, before, 1, &[start]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_after_the_sample_before_is_a_new_count() {
        assert!(starts_anew((10, 5), (20, 15)));
        assert!(!starts_anew((10, 5), (20, 5)));
        assert!(!starts_anew((10, 0), (20, 0)));
        // Invalid: the sample was before what it counts.
        assert!(!starts_anew((10, 5), (20, 20)));
        assert!(!starts_anew((10, 5), (20, 25)));
    }

    #[test]
    fn a_start_at_the_sample_before_is_one_where_that_sample_has_its_own() {
        assert!(starts_anew((10, 5), (20, 10)));
        assert!(!starts_anew((10, 0), (20, 10)));
        assert!(!starts_anew((10, 10), (20, 10)));
        assert!(!starts_anew((10, 12), (20, 10)));
    }

    #[test]
    fn starts_overlap_where_they_differ_and_the_later_is_within() {
        assert!(starts_overlap((10, 5), (20, 7)));
        assert!(starts_overlap((10, 0), (20, 7)));
        assert!(!starts_overlap((10, 7), (20, 7)));
        assert!(!starts_overlap((10, 5), (20, 10)));
        assert!(!starts_overlap((10, 5), (20, 0)));
    }

    #[test]
    fn a_column_is_empty_until_one_start_is_known_and_full_from_then_on() {
        let mut column = Vec::new();
        append_starts(&mut column, 0, 2, &[]);
        append_starts(&mut column, 2, 1, &[0]);
        assert!(column.is_empty());
        append_starts(&mut column, 3, 2, &[7, 0]);
        append_starts(&mut column, 5, 2, &[]);
        assert_eq!(column, [0, 0, 0, 7, 0, 0, 0]);
    }
}
