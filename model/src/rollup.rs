//! Rollups: what the samples of a series come to in each window of a tier.
//!
//! A window of length `w` is named by its end `t`, a multiple of `w`, and covers the stamps in (t - w, t]. Neighbouring
//! windows join by the law of [`Aggregate`]. A rollup is a type of its own: nothing takes one for samples.

use crate::{Aggregate, START_UNKNOWN, SeriesKind, is_stale, starts_anew};

/// One window of one series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rollup {
    /// The window's last stamp.
    pub end: i64,
    /// What the samples come to, stale markers left out; `None` where there are none but markers. Unlike elsewhere, values
    /// need not be finite: a NaN among them makes a NaN of the sum.
    pub all: Option<Aggregate>,
    /// When the series was marked as ended, where no sample of the window comes after that.
    pub stale_at: Option<i64>,
}

/// Appends a rollup for each window that holds any of the samples, which ascend, in time order; starts are none, or as many.
pub fn roll_up(
    kind: SeriesKind,
    window_ms: i64,
    timestamps: &[i64],
    values: &[f64],
    starts: &[i64],
    into: &mut Vec<Rollup>,
) {
    let (mut rest, mut count) = ((timestamps, values, starts), 0);
    while let Some(&first) = rest.0.first() {
        let end = window_end(first, window_ms);
        // Of regular samples each window has as many as the one before it.
        let is_whole = |count: usize| {
            let (within, after) = rest.0.split_at_checked(count).unwrap_or_default();
            within.last().is_some_and(|&last| last <= end) && after.first().is_some_and(|&next| next > end)
        };
        if !is_whole(count) {
            count = rest.0.partition_point(|&stamp| stamp <= end);
        }
        let (stamps, later_stamps) = rest.0.split_at_checked(count).unwrap_or_default();
        let (values, later_values) = rest.1.split_at_checked(count).unwrap_or_default();
        let (starts, later_starts) = rest.2.split_at_checked(count).unwrap_or_default();
        rest = (later_stamps, later_values, later_starts);
        let all = Aggregate::of_any(kind, stamps, values, starts);
        let is_marker = values.last().is_some_and(|&last| is_stale(last));
        into.push(Rollup { end, all, stale_at: stamps.last().copied().filter(|_| is_marker) });
    }
}

/// Appends the windows of a coarser tier that finer ones come to, whose length divides theirs: the same as of the samples
/// themselves, sums within a rounding of their second part. False, with nothing appended, where a sum is not finite: which
/// one the whole has depends on its order.
pub fn roll_up_further(kind: SeriesKind, window_ms: i64, finer: &[Rollup], into: &mut Vec<Rollup>) -> bool {
    if finer.iter().any(|window| window.all.is_some_and(|all| !all.sum.is_finite())) {
        return false;
    }
    let same_window = |a: &Rollup, b: &Rollup| window_end(a.end, window_ms) == window_end(b.end, window_ms);
    into.extend(finer.chunk_by(same_window).filter_map(|windows| {
        let last = windows.last()?;
        let all = windows.iter().filter_map(|window| window.all).reduce(|mut all, next| {
            all.join(kind, &next);
            all
        });
        Some(Rollup { end: window_end(last.end, window_ms), all, stale_at: last.stale_at })
    }));
    true
}

/// The end of the window that holds a stamp.
#[must_use]
pub fn window_end(stamp: i64, window_ms: i64) -> i64 {
    stamp.saturating_sub(1).div_euclid(window_ms).saturating_add(1).saturating_mul(window_ms)
}

impl Rollup {
    /// What is left of the window's samples where only this is kept, as samples: of a delta series its sum at the
    /// window's end; else the first and the last with their starts, and the marker of its end. Hands out time, value, start.
    pub fn thinned(&self, kind: SeriesKind, mut each: impl FnMut(i64, f64, i64)) {
        match (&self.all, kind) {
            (Some(all), SeriesKind::Delta) => each(self.end, all.sum, START_UNKNOWN),
            (Some(all), SeriesKind::Gauge | SeriesKind::Counter) => {
                each(all.first_time, all.first, all.first_start);
                if all.last_time > all.first_time {
                    let (first, last) = ((all.first_time, all.first_start), (all.last_time, all.last_start));
                    // The samples between, which are gone, said that it was no reset.
                    let misleads = kind == SeriesKind::Counter && all.resets == 0 && starts_anew(first, last);
                    each(all.last_time, all.last, if misleads { START_UNKNOWN } else { all.last_start });
                }
            }
            // Histograms have no windows of numbers.
            (Some(_), SeriesKind::Histogram | SeriesKind::DeltaHistogram) | (None, _) => {}
        }
        if let Some(at) = self.stale_at {
            each(at, f64::from_bits(crate::STALE_NAN_BITS), START_UNKNOWN);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HOUR_MS, STALE_NAN_BITS};
    use proptest::prelude::*;

    #[test]
    fn a_window_holds_its_end_and_not_its_start() {
        let mut windows = Vec::new();
        roll_up(SeriesKind::Delta, 10, &[1, 10, 11, 20, 31], &[1.0, 2.0, 4.0, 8.0, 16.0], &[], &mut windows);
        let sums: Vec<(i64, f64)> =
            windows.iter().map(|window| (window.end, window.all.expect("samples").sum)).collect();
        assert_eq!(sums, [(10, 3.0), (20, 12.0), (40, 16.0)]);
    }

    #[test]
    fn the_end_of_a_series_stays_known() {
        let stale = f64::from_bits(STALE_NAN_BITS);
        let mut windows = Vec::new();
        roll_up(
            SeriesKind::Gauge,
            10,
            &[1, 2, 3, 15, 21, 22],
            &[1.0, stale, 3.0, stale, 5.0, stale],
            &[],
            &mut windows,
        );
        let known: Vec<_> =
            windows.iter().map(|w| (w.all.map(|all| (all.count, all.last)), w.stale_at)).collect();
        assert_eq!(known, [(Some((2, 3.0)), None), (None, Some(15)), (Some((1, 5.0)), Some(22))]);
        let mut thinned = Vec::new();
        windows.iter().for_each(|window| window.thinned(SeriesKind::Gauge, |time, _, _| thinned.push(time)));
        assert_eq!(thinned, [1, 3, 15, 21, 22]);
    }

    #[test]
    fn what_has_no_finite_sum_is_not_rolled_up_further() {
        let mut fine = Vec::new();
        roll_up(SeriesKind::Gauge, 10, &[1, 12], &[f64::INFINITY, 1.0], &[], &mut fine);
        let mut coarse = Vec::new();
        assert!(!roll_up_further(SeriesKind::Gauge, 20, &fine, &mut coarse));
        assert!(coarse.is_empty());
    }

    proptest! {
        #[test]
        fn windows_of_any_cut_join_to_the_same(
            steps in prop::collection::vec((1i64..400_000, -1000i32..1200, 0i64..40_000_000), 1..200),
            known in any::<bool>(),
            kind in prop::sample::select(vec![SeriesKind::Gauge, SeriesKind::Counter, SeriesKind::Delta]),
        ) {
            let stamps: Vec<i64> = steps.iter().scan(0, |at, step| { *at += step.0; Some(*at) }).collect();
            let marker = |value: i32| if value < 1000 { f64::from(value) } else { f64::from_bits(STALE_NAN_BITS) };
            let values: Vec<f64> = steps.iter().map(|step| marker(step.1)).collect();
            let starts: Vec<i64> = steps.iter().filter(|_| known).map(|step| step.2).collect();
            let (mut fine, mut coarse) = (Vec::new(), Vec::new());
            roll_up(kind, 5 * 60_000, &stamps, &values, &starts, &mut fine);
            roll_up(kind, HOUR_MS, &stamps, &values, &starts, &mut coarse);
            let mut further = Vec::new();
            prop_assert!(roll_up_further(kind, HOUR_MS, &fine, &mut further));
            prop_assert_eq!(&further, &coarse);
            let count: u64 = coarse.iter().filter_map(|w| w.all).map(|all| all.count).sum();
            prop_assert_eq!(count, values.iter().filter(|value| !is_stale(**value)).count() as u64);
        }
    }
}
