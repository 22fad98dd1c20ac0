//! What a run of samples comes to: enough to answer for it whole, and to join it with its neighbours.

use crate::{START_UNKNOWN, SeriesKind, is_stale, starts_anew, starts_overlap};

/// The aggregate of a run of samples of one series: ascending, at least one, all of them finite, and so is their sum.
///
/// Joining the aggregates of neighbouring runs gives that of both together: exactly for all but the sum, which is exact
/// for whole numbers and otherwise within a few units of 2^-105 of the sum of the terms' absolute values, as it is carried
/// in two parts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Aggregate {
    /// How many samples.
    pub count: u64,
    /// Their sum, as the nearest double.
    pub sum: f64,
    /// What the sum is more than `sum`.
    pub sum_low: f64,
    /// The least value.
    pub min: f64,
    /// The greatest value.
    pub max: f64,
    /// The first value.
    pub first: f64,
    /// The last value.
    pub last: f64,
    /// When the first was.
    pub first_time: i64,
    /// When the last was.
    pub last_time: i64,
    /// How often counting began anew: a value is below the one before it, or its start time says so.
    pub resets: u64,
    /// The values before those, added up: by so much a counter is corrected. Zero for other kinds.
    pub correction: f64,
    /// When what the first sample counts began; 0 where it does not know.
    pub first_start: i64,
    /// The same of the last.
    pub last_start: i64,
    /// Whether a sample's start lies within what the one before it counted.
    pub overlaps: bool,
}

impl Aggregate {
    /// The aggregate of samples, which are as many as their timestamps, and as their starts where any is known. `None`
    /// where there is none, where one is not finite, as stale markers are, or where starts overlap: such a run must be
    /// looked at sample by sample.
    #[must_use]
    pub fn of(kind: SeriesKind, timestamps: &[i64], values: &[f64], starts: &[i64]) -> Option<Aggregate> {
        if values.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let all = Aggregate::of_any(kind, timestamps, values, starts)?;
        (all.sum.is_finite() && all.correction.is_finite() && !all.overlaps).then_some(all)
    }

    /// The same of any values, stale markers left out; `None` where nothing else is there.
    pub(crate) fn of_any(
        kind: SeriesKind,
        timestamps: &[i64],
        values: &[f64],
        starts: &[i64],
    ) -> Option<Aggregate> {
        if starts.is_empty()
            && let Some(all) = Aggregate::of_finite(kind, timestamps, values)
        {
            return Some(all);
        }
        let samples = || {
            let starts = starts.iter().copied().chain(std::iter::repeat(START_UNKNOWN));
            let all = timestamps.iter().copied().zip(values.iter().copied()).zip(starts);
            all.filter(|((_, value), _)| !is_stale(*value))
        };
        let ((first_time, first), first_start) = samples().next()?;
        let mut all = Aggregate {
            count: 0,
            sum: 0.0,
            sum_low: 0.0,
            min: first,
            max: first,
            first,
            last: first,
            first_time,
            last_time: first_time,
            resets: 0,
            correction: 0.0,
            first_start,
            last_start: first_start,
            overlaps: false,
        };
        for ((time, value), start) in samples() {
            all.count += 1;
            (all.sum, all.sum_low) = add(all.sum, all.sum_low, value);
            all.widen(value, value);
            if all.is_reset(kind, value, (time, start)) {
                all.resets += 1;
                all.correction += all.last;
            }
            all.overlaps |= starts_overlap((all.last_time, all.last_start), (time, start));
            (all.last, all.last_time, all.last_start) = (value, time, start);
        }
        Some(all)
    }

    /// The same of finite values of which no start is known; `None` where one is not finite, or their sum. Nothing but one
    /// addition waits for the value before: the two parts of the sum are made not to overlap once, at the end.
    fn of_finite(kind: SeriesKind, timestamps: &[i64], values: &[f64]) -> Option<Aggregate> {
        let (&first, &last) = (values.first()?, values.last()?);
        let (&first_time, &last_time) = (timestamps.first()?, timestamps.last()?);
        let (mut sum, mut low, mut min, mut max, mut finite) = (0.0, 0.0, first, first, true);
        for &value in values {
            let error;
            (sum, error) = two_sum(sum, value);
            low += error;
            min = if value < min { value } else { min };
            max = if value > max { value } else { max };
            finite &= value.is_finite();
        }
        let (sum, sum_low) = fast_two_sum(sum, low);
        let (mut resets, mut correction) = (0, 0.0);
        if kind == SeriesKind::Counter {
            for (&before, &value) in values.iter().zip(values.iter().skip(1)) {
                if value < before {
                    resets += 1;
                    correction += before;
                }
            }
        }
        (finite && sum.is_finite()).then_some(Aggregate {
            count: values.len() as u64,
            sum,
            sum_low,
            min,
            max,
            first,
            last,
            first_time,
            last_time,
            resets,
            correction,
            first_start: START_UNKNOWN,
            last_start: START_UNKNOWN,
            overlaps: false,
        })
    }

    /// Of equal values, 0.0 and -0.0 among them, the first stays; NaN only where there is nothing else.
    fn widen(&mut self, min: f64, max: f64) {
        if min < self.min || self.min.is_nan() {
            self.min = min;
        }
        if max > self.max || self.max.is_nan() {
            self.max = max;
        }
    }

    /// Adds the aggregate of the run that follows.
    pub fn join(&mut self, kind: SeriesKind, next: &Aggregate) {
        self.count += next.count;
        (self.sum, self.sum_low) = add(self.sum, self.sum_low, next.sum);
        (self.sum, self.sum_low) = add(self.sum, self.sum_low, next.sum_low);
        self.widen(next.min, next.max);
        let began = (next.first_time, next.first_start);
        if self.is_reset(kind, next.first, began) {
            self.resets += 1;
            self.correction += self.last;
        }
        self.overlaps |= next.overlaps || starts_overlap((self.last_time, self.last_start), began);
        self.resets += next.resets;
        self.correction += next.correction;
        self.last = next.last;
        self.last_time = next.last_time;
        self.last_start = next.last_start;
    }

    /// Whether a counter began anew with the sample that follows, of this time and start.
    fn is_reset(&self, kind: SeriesKind, value: f64, began: (i64, i64)) -> bool {
        kind == SeriesKind::Counter
            && (value < self.last || starts_anew((self.last_time, self.last_start), began))
    }

    /// How much a counter has grown from the first sample to the last, resets counted as starts from zero.
    #[must_use]
    pub fn increase(&self) -> f64 {
        self.last - self.first + self.correction
    }
}

/// A sum in two parts and one more term, after Knuth's two-sum; the parts do not overlap.
fn add(high: f64, low: f64, term: f64) -> (f64, f64) {
    let (sum, error) = two_sum(high, term);
    if !sum.is_finite() {
        // One NaN for all: which bits one is left with depends on the machine.
        return (if sum.is_nan() { f64::NAN } else { sum }, 0.0);
    }
    fast_two_sum(sum, low + error)
}

/// A sum and what rounding it dropped: Knuth's two-sum.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let shadow = sum - a;
    (sum, (a - (sum - shadow)) + (b - shadow))
}

/// The same where the second part is the smaller one: Dekker's.
fn fast_two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    (sum, b - (sum - a))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [SeriesKind; 3] = [SeriesKind::Gauge, SeriesKind::Counter, SeriesKind::Delta];

    fn whole(kind: SeriesKind, values: &[f64]) -> Option<Aggregate> {
        let timestamps: Vec<i64> = (1..=values.len() as i64).collect();
        Aggregate::of(kind, &timestamps, values, &[])
    }

    fn joined(kind: SeriesKind, values: &[f64], starts: &[i64], cuts: &[usize]) -> Option<Aggregate> {
        let timestamps: Vec<i64> = (1..=values.len() as i64).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (values.len() + 1)).collect();
        cuts.extend([0, values.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut all: Option<Aggregate> = None;
        for cut in cuts.windows(2) {
            let (low, high) = (cut[0], cut[1]);
            let starts = starts.get(low..high).unwrap_or_default();
            let next = Aggregate::of_any(kind, &timestamps[low..high], &values[low..high], starts)?;
            match &mut all {
                Some(all) => all.join(kind, &next),
                None => all = Some(next),
            }
        }
        all
    }

    #[test]
    fn a_run_with_nan_or_a_stale_marker_has_none() {
        assert_eq!(whole(SeriesKind::Gauge, &[1.0, f64::NAN]), None);
        assert_eq!(whole(SeriesKind::Gauge, &[f64::from_bits(crate::STALE_NAN_BITS)]), None);
        assert_eq!(whole(SeriesKind::Gauge, &[]), None);
    }

    #[test]
    fn a_sum_keeps_what_one_double_drops() {
        let all = whole(SeriesKind::Gauge, &[1e100, 1.0, -1e100]).expect("finite");
        assert_eq!((all.sum, all.sum_low), (1.0, 0.0));
        assert_eq!(whole(SeriesKind::Gauge, &[f64::MAX, f64::MAX]), None);
    }

    proptest! {
        #[test]
        fn known_and_unknown_starts_make_no_difference_where_there_are_none(
            values in prop::collection::vec(prop_oneof![-1e9f64..1e9, -9f64..9.0, Just(f64::MAX), Just(-0.0)], 1..80),
        ) {
            let timestamps: Vec<i64> = (1..=values.len() as i64).collect();
            let terms: f64 = values.iter().map(|value| value.abs()).sum();
            for kind in KINDS {
                let all = Aggregate::of_any(kind, &timestamps, &values, &[]).expect("samples");
                let unknown = vec![START_UNKNOWN; values.len()];
                let one_by_one = Aggregate::of_any(kind, &timestamps, &values, &unknown).expect("samples");
                if terms.is_finite() {
                    let off = (all.sum - one_by_one.sum) + (all.sum_low - one_by_one.sum_low);
                    prop_assert!(off.abs() <= terms * 1e-28, "{all:?} and {one_by_one:?}");
                    prop_assert_eq!(all.sum + all.sum_low, all.sum, "its parts overlap");
                }
                let sums = |all: Aggregate| Aggregate { sum: 0.0, sum_low: 0.0, ..all };
                prop_assert_eq!(sums(all), sums(one_by_one));
            }
        }

        #[test]
        fn joining_parts_gives_the_whole_of_whole_numbers_bit_for_bit(
            values in prop::collection::vec(-1000i32..1000, 1..60),
            cuts in prop::collection::vec(any::<usize>(), 0..6),
        ) {
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            for kind in KINDS {
                prop_assert_eq!(joined(kind, &values, &[], &cuts), whole(kind, &values));
            }
        }

        #[test]
        fn joining_parts_gives_the_whole_of_counts_that_know_their_starts(
            samples in prop::collection::vec((0i32..1000, -3i64..60), 1..60),
            cuts in prop::collection::vec(any::<usize>(), 0..6),
        ) {
            let values: Vec<f64> = samples.iter().map(|&(value, _)| f64::from(value)).collect();
            let starts: Vec<i64> = samples.iter().map(|&(_, start)| start).collect();
            let timestamps: Vec<i64> = (1..=values.len() as i64).collect();
            let all = Aggregate::of_any(SeriesKind::Counter, &timestamps, &values, &starts).expect("finite");
            prop_assert_eq!(joined(SeriesKind::Counter, &values, &starts, &cuts), Some(all));
            let at = |index: usize| (timestamps[index], starts[index]);
            let pairs = || (1..values.len()).map(|index| (at(index - 1), at(index)));
            let anew = pairs().zip(values.windows(2)).filter(|((a, b), values)| values[1] < values[0] || starts_anew(*a, *b));
            prop_assert_eq!(all.correction, anew.map(|(_, values)| values[0]).sum::<f64>());
            prop_assert_eq!(all.overlaps, pairs().any(|(a, b)| starts_overlap(a, b)));
            prop_assert_eq!((all.first_start, all.last_start), (starts[0], starts[starts.len() - 1]));
        }

        #[test]
        fn joining_parts_gives_the_whole_of_doubles_within_a_rounding(
            values in prop::collection::vec(-1e12f64..1e12, 1..60),
            cuts in prop::collection::vec(any::<usize>(), 0..6),
        ) {
            let (a, b) = (joined(SeriesKind::Counter, &values, &[], &cuts), whole(SeriesKind::Counter, &values));
            let (a, b) = (a.expect("finite"), b.expect("finite"));
            let terms: f64 = values.iter().map(|value| value.abs()).sum();
            prop_assert!((a.sum - b.sum).abs() <= terms * 1e-15);
            prop_assert!((a.increase() - b.increase()).abs() <= terms * 1e-12);
            let rest = |all: Aggregate| (all.count, all.min, all.max, all.first, all.last, all.resets);
            prop_assert_eq!(rest(a), rest(b));
        }
    }
}
