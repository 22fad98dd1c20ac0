//! What must be left of samples where only rollups are shown, worked out from every cell there is.

use std::collections::BTreeMap;

use annals::{Aggregate, LabelSet, Resolution, STALE_NAN_BITS, SeriesKind, TimeRange, Timestamp};

use super::held::Place;
use super::starts::{is_anew, start_of};

/// How far two sums of the same terms may be apart, in parts of the sum of their absolute values.
const ROUNDING: f64 = 1e-12;

/// Which stamps are shown in windows.
#[derive(Debug, Clone, Default)]
pub(super) struct Zones(Vec<(TimeRange, i64)>);

impl Zones {
    /// As an answer says it.
    pub(super) fn of(coarser: &[(TimeRange, Resolution)]) -> Zones {
        let window = |resolution: &Resolution| resolution.window_ms().unwrap_or(1);
        Zones(coarser.iter().map(|(range, resolution)| (*range, window(resolution))).collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The window of a stamp; `None` where samples are shown as they are.
    pub(super) fn window(&self, time: i64) -> Option<TimeRange> {
        let (_, length) = self.0.iter().find(|(range, _)| range.contains(Timestamp(time)))?;
        let end = (time - 1).div_euclid(*length) * length + length;
        Some(TimeRange::new(Timestamp(end - length), Timestamp(end)))
    }

    /// What is to be shown of cells: those of windows thinned, the others as they are.
    pub(super) fn thin(&self, kind: SeriesKind, cells: &BTreeMap<i64, u64>) -> BTreeMap<i64, u64> {
        let mut shown = BTreeMap::new();
        for (&time, &bits) in cells {
            let Some(window) = self.window(time) else {
                shown.insert(time, bits);
                continue;
            };
            let of_window = || cells.range(window.start.0 + 1..=window.end.0);
            let values = || of_window().filter(|&(_, &bits)| bits != STALE_NAN_BITS);
            let is_last = of_window().next_back().is_some_and(|(&last, _)| last == time);
            let is_edge =
                [values().next(), values().next_back()].into_iter().flatten().any(|(&at, _)| at == time);
            match kind {
                SeriesKind::Delta | SeriesKind::DeltaHistogram => {
                    let sum: f64 = values().map(|(_, &bits)| f64::from_bits(bits)).sum();
                    shown.insert(window.end.0, sum.to_bits());
                }
                SeriesKind::Gauge | SeriesKind::Counter | SeriesKind::Histogram => {
                    let changes = |a: Option<(&i64, &u64)>, b: Option<(&i64, &u64)>| {
                        a.zip(b).is_some_and(|((&at, &a), (&then, &b))| {
                            let (a, b) = (f64::from_bits(a), f64::from_bits(b));
                            b < a || start_of(kind, at, a) != start_of(kind, then, b)
                        })
                    };
                    // Both sides of a reset or a change of start, between which markers may lie.
                    let here = Some((&time, &bits)).filter(|_| kind == SeriesKind::Histogram);
                    let after = values().find(|(at, _)| **at > time);
                    let before = values().rfind(|(at, _)| **at < time);
                    let at_reset = bits != STALE_NAN_BITS && (changes(here, after) || changes(before, here));
                    if is_edge || at_reset || is_last && bits == STALE_NAN_BITS {
                        shown.insert(time, bits);
                    }
                }
            }
        }
        shown
    }

    /// Whether a value stands for another: the sum of a window is as exact as sums are.
    pub(super) fn same(
        &self,
        kind: SeriesKind,
        cells: &BTreeMap<i64, u64>,
        time: i64,
        found: f64,
        due: u64,
    ) -> bool {
        let Some(window) = self.window(time).filter(|_| kind.is_delta()) else {
            return found.to_bits() == due;
        };
        let terms =
            cells.range(window.start.0 + 1..=window.end.0).map(|(_, &bits)| f64::from_bits(bits).abs());
        (found - f64::from_bits(due)).abs() <= ROUNDING * terms.sum::<f64>()
    }

    /// Whether what an answer gives for a whole window is what its cells come to.
    pub(super) fn check_whole(
        &self,
        labels: &LabelSet,
        kind: SeriesKind,
        cells: &BTreeMap<i64, u64>,
        all: &Aggregate,
    ) -> Result<(), String> {
        let Some(window) = self.window(all.last_time) else { return Ok(()) };
        let values: Vec<(i64, f64)> = cells
            .range(window.start.0 + 1..=window.end.0)
            .filter(|&(_, &bits)| bits != STALE_NAN_BITS)
            .map(|(&time, &bits)| (time, f64::from_bits(bits)))
            .collect();
        let terms: f64 = values.iter().map(|(_, value)| value.abs()).sum();
        let sum: f64 = values.iter().map(|(_, value)| value).sum();
        let near = |a: f64, b: f64| {
            a.to_bits() == b.to_bits() || a.is_nan() && b.is_nan() || (a - b).abs() <= ROUNDING * terms
        };
        let least = values.iter().map(|(_, value)| *value).fold(f64::NAN, f64::min);
        let most = values.iter().map(|(_, value)| *value).fold(f64::NAN, f64::max);
        let begun = |(time, value): (i64, f64)| (time, start_of(kind, time, value));
        let drops = values.windows(2).filter(|pair| {
            let anew = is_anew(begun(pair[0]), begun(pair[1]));
            kind == SeriesKind::Counter && (pair[1].1 < pair[0].1 || anew)
        });
        let (mut resets, mut lost) = (0, 0.0);
        drops.for_each(|pair| {
            resets += 1;
            lost += pair[0].1;
        });
        let ends = |at: Option<&(i64, f64)>| at.map(|(time, value)| (*time, value.to_bits()));
        let right = all.count == values.len() as u64
            && ends(values.first()) == Some((all.first_time, all.first.to_bits()))
            && ends(values.last()) == Some((all.last_time, all.last.to_bits()))
            && (all.min == least || all.min.is_nan() && least.is_nan())
            && (all.max == most || all.max.is_nan() && most.is_nan())
            && all.resets == resets
            && values.first().is_some_and(|&first| begun(first).1 == all.first_start)
            && values.last().is_some_and(|&last| begun(last).1 == all.last_start)
            && near(all.correction, lost)
            // An infinite term leaves no other.
            && (near(all.sum, sum) || !terms.is_finite());
        if right { Ok(()) } else { Err(format!("{labels}: {values:?} came to {all:?}")) }
    }

    /// The stamps that are as doubtful as this one: those of its window.
    pub(super) fn around(&self, time: i64) -> TimeRange {
        self.window(time).unwrap_or(TimeRange::new(Timestamp(time - 1), Timestamp(time)))
    }
}

/// Whether some cell of a series in a range is among these.
pub(super) fn any_within(loose: &std::collections::BTreeSet<Place>, number: u32, range: TimeRange) -> bool {
    loose.range((number, range.start.0 + 1)..=(number, range.end.0)).next().is_some()
}
