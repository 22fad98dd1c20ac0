//! Functions over windows that join: a window's value follows from those of its parts.
//!
//! The ends of all windows cut time into segments. Each segment of a series is folded once, whole chunks of it from their
//! aggregates, and each window joins its segments:
//!
//! ```text
//!   samples    .. . ...|. ..  ..|. [a whole chunk] |.. .
//!   segments          0|       1|                 2|      sums, counts, extremes, ends
//!   windows    step 0: 0 + 1      step 1: 1 + 2           sliding, so that overlap costs nothing
//! ```
//!
//! Series with a value that is not finite, or with histograms, do not join: they are looked at window by window.

use std::cell::Cell;

use annals_model::{
    Aggregate, Piece, Pieces, START_UNKNOWN, SeriesKind, TimeRange, starts_anew, starts_overlap,
};

use super::column::ABSENT;
use super::fold::{Fold, Sliding, Sum};
use super::series::OfStamps;
use super::window::{Begins, WindowFn, extrapolation};

/// The ends of windows, and what lies between them.
#[derive(Debug)]
pub(super) struct Segments {
    /// Ascending. A segment reaches from after one bound up to and including the next.
    bounds: Vec<i64>,
    /// Per window: its first segment, and the one after its last.
    windows: Vec<(usize, usize)>,
    /// Whether each window is one segment.
    single: bool,
}

impl Segments {
    /// Of windows that end at `ends`, ascending.
    pub(super) fn new(ends: &[i64], range_ms: i64) -> Segments {
        let starts = || ends.iter().map(|end| end.saturating_sub(range_ms));
        let mut bounds: Vec<i64> = starts().chain(ends.iter().copied()).collect();
        bounds.sort_unstable();
        bounds.dedup();
        let (mut low, mut high) = (0, 0);
        let place = |at: &mut usize, time: i64| {
            while bounds.get(*at).is_some_and(|&bound| bound < time) {
                *at += 1;
            }
            *at
        };
        let windows: Vec<(usize, usize)> =
            starts().zip(ends).map(|(start, &end)| (place(&mut low, start), place(&mut high, end))).collect();
        let single = windows.iter().all(|(low, high)| low + 1 == *high);
        Segments { bounds, windows, single }
    }

    /// Bytes that it and what is made of it per series take.
    pub(super) fn bytes(steps: usize) -> usize {
        steps.saturating_mul(16 + 2 * (8 + 8 + size_of::<Option<Ends<true>>>()))
    }

    /// Whether no window begins or ends within a range.
    pub(super) fn is_whole(&self, range: TimeRange) -> bool {
        let next = self.bounds.partition_point(|&bound| bound <= range.start.0);
        self.bounds.get(next).is_none_or(|&bound| bound >= range.end.0)
    }
}

/// Whether windows of a function join, for series of a kind.
pub(super) fn joins(function: WindowFn, kind: SeriesKind) -> bool {
    match function {
        WindowFn::Sum
        | WindowFn::Avg
        | WindowFn::Count
        | WindowFn::Present
        | WindowFn::Min
        | WindowFn::Max
        | WindowFn::First
        | WindowFn::Last
        | WindowFn::TsOfFirst
        | WindowFn::TsOfLast => true,
        // Aggregates of other kinds do not know where values fall.
        WindowFn::Rate | WindowFn::Increase => kind != SeriesKind::Gauge,
        WindowFn::Delta => true,
        _ => false,
    }
}

/// Whether joining is faster than looking at each window even where no part is whole.
pub(super) fn gains(function: WindowFn, kind: SeriesKind) -> bool {
    match function {
        WindowFn::Sum | WindowFn::Avg | WindowFn::Min | WindowFn::Max => true,
        WindowFn::Rate | WindowFn::Increase => kind == SeriesKind::Delta,
        _ => false,
    }
}

/// Something that a run of finite samples, or its aggregate, comes to.
trait Part: Fold + Copy {
    /// Of samples, at least one, with their starts where any is known; `None` where they do not join.
    fn of(times: &[i64], values: &[f64], starts: &[i64]) -> Option<Self>;
    fn of_aggregate(aggregate: &Aggregate) -> Self;
}

/// A sum, and of how many.
#[derive(Debug, Clone, Copy)]
struct Total {
    sum: Sum,
    count: u64,
}

impl Fold for Total {
    fn join(self, later: Total) -> Total {
        Total { sum: self.sum.plus(later.sum), count: self.count + later.count }
    }
}

/// Sums that run beside each other: one alone waits for each addition before the next.
const LANES: usize = 8;

impl Part for Total {
    fn of(_: &[i64], values: &[f64], _: &[i64]) -> Option<Total> {
        let (mut sums, mut lost) = ([0.0f64; LANES], [0.0f64; LANES]);
        // Lanes cost a joining each.
        let in_lanes = if values.len() < 8 * LANES { &[] } else { values };
        let (groups, rest) = in_lanes.as_chunks::<LANES>();
        for group in groups {
            for lane in 0..LANES {
                // Knuth's two-sum: what Neumaier's keeps, without a branch.
                let total = sums[lane] + group[lane];
                let shadow = total - sums[lane];
                lost[lane] += (sums[lane] - (total - shadow)) + (group[lane] - shadow);
                sums[lane] = total;
            }
        }
        let lanes = sums.iter().zip(lost).map(|(&sum, compensation)| Sum { sum, compensation });
        let mut sum = lanes.fold(Sum::default(), Sum::plus);
        let rest = if in_lanes.is_empty() { values } else { rest };
        rest.iter().for_each(|&value| sum.add(value));
        // Which infinity or NaN it is depends on the order of the terms.
        sum.total().is_finite().then_some(Total { sum, count: values.len() as u64 })
    }

    fn of_aggregate(all: &Aggregate) -> Total {
        Total { sum: Sum { sum: all.sum, compensation: all.sum_low }, count: all.count }
    }
}

/// How many.
#[derive(Debug, Clone, Copy)]
struct Count(u64);

impl Fold for Count {
    fn join(self, later: Count) -> Count {
        Count(self.0 + later.0)
    }
}

impl Part for Count {
    fn of(times: &[i64], _: &[f64], _: &[i64]) -> Option<Count> {
        Some(Count(times.len() as u64))
    }

    fn of_aggregate(all: &Aggregate) -> Count {
        Count(all.count)
    }
}

/// The least value, of equal ones the first.
#[derive(Debug, Clone, Copy)]
struct Least(f64);

/// The greatest value, of equal ones the first.
#[derive(Debug, Clone, Copy)]
struct Greatest(f64);

/// The value that goes before all others, and of equal ones, as the two zeros are, the first.
fn extreme(values: &[f64], goes_before: impl Fn(f64, f64) -> bool) -> Option<f64> {
    let first = *values.first()?;
    let mut lanes = [first; LANES];
    let (groups, rest) = values.as_chunks::<LANES>();
    for group in groups {
        for lane in 0..LANES {
            lanes[lane] = if goes_before(group[lane], lanes[lane]) { group[lane] } else { lanes[lane] };
        }
    }
    let choose = |best: f64, &value: &f64| if goes_before(value, best) { value } else { best };
    let best = rest.iter().fold(lanes.iter().fold(first, choose), choose);
    if best == 0.0 { values.iter().copied().find(|&value| value == 0.0) } else { Some(best) }
}

impl Fold for Least {
    fn join(self, later: Least) -> Least {
        if later.0 < self.0 { later } else { self }
    }
}

impl Part for Least {
    fn of(_: &[i64], values: &[f64], _: &[i64]) -> Option<Least> {
        extreme(values, |a, b| a < b).map(Least)
    }

    fn of_aggregate(all: &Aggregate) -> Least {
        Least(all.min)
    }
}

impl Fold for Greatest {
    fn join(self, later: Greatest) -> Greatest {
        if later.0 > self.0 { later } else { self }
    }
}

impl Part for Greatest {
    fn of(_: &[i64], values: &[f64], _: &[i64]) -> Option<Greatest> {
        extreme(values, |a, b| a > b).map(Greatest)
    }

    fn of_aggregate(all: &Aggregate) -> Greatest {
        Greatest(all.max)
    }
}

/// First and last sample, how many there are, and by how much a counter is corrected.
#[derive(Debug, Clone, Copy)]
struct Ends<const COUNTER: bool> {
    count: u64,
    first: End,
    last: End,
    correction: Sum,
    /// Whether starts of counters overlap.
    overlaps: bool,
}

/// The sample at an end.
#[derive(Debug, Clone, Copy)]
struct End {
    time: i64,
    value: f64,
    start: i64,
}

impl End {
    fn begun(self) -> (i64, i64) {
        (self.time, self.start)
    }

    /// Whether a counter began anew with the sample that follows this one.
    fn is_before_reset(self, next: End) -> bool {
        next.value < self.value || starts_anew(self.begun(), next.begun())
    }
}

impl<const COUNTER: bool> Fold for Ends<COUNTER> {
    fn join(self, later: Self) -> Self {
        let mut correction = self.correction;
        if COUNTER && self.last.is_before_reset(later.first) {
            correction.add(self.last.value);
        }
        let overlap = COUNTER && starts_overlap(self.last.begun(), later.first.begun());
        Ends {
            count: self.count + later.count,
            first: self.first,
            last: later.last,
            correction: correction.plus(later.correction),
            overlaps: self.overlaps | later.overlaps | overlap,
        }
    }
}

impl<const COUNTER: bool> Part for Ends<COUNTER> {
    fn of(times: &[i64], values: &[f64], starts: &[i64]) -> Option<Self> {
        let end = |at: usize| {
            let start = starts.get(at).copied().unwrap_or(START_UNKNOWN);
            Some(End { time: *times.get(at)?, value: *values.get(at)?, start })
        };
        let (first, last) = (end(0)?, end(values.len().checked_sub(1)?)?);
        let (mut correction, mut overlaps) = (Sum::default(), false);
        if COUNTER && starts.is_empty() {
            for pair in values.windows(2) {
                if pair[1] < pair[0] {
                    correction.add(pair[0]);
                }
            }
        } else if COUNTER {
            for at in 1..values.len() {
                let (before, own) = (end(at - 1)?, end(at)?);
                if before.is_before_reset(own) {
                    correction.add(before.value);
                }
                overlaps |= starts_overlap(before.begun(), own.begun());
            }
        }
        Some(Ends { count: times.len() as u64, first, last, correction, overlaps })
    }

    fn of_aggregate(all: &Aggregate) -> Self {
        Ends {
            count: all.count,
            first: End { time: all.first_time, value: all.first, start: all.first_start },
            last: End { time: all.last_time, value: all.last, start: all.last_start },
            correction: if COUNTER { Sum::of(all.correction) } else { Sum::default() },
            overlaps: COUNTER && all.overlaps,
        }
    }
}

impl<T: Fold> Fold for Option<T> {
    fn join(self, later: Option<T>) -> Option<T> {
        match (self, later) {
            (Some(a), Some(b)) => Some(a.join(b)),
            (a, b) => a.or(b),
        }
    }
}

/// Evaluates a function that joins for all windows; `None` where the series does not join after all, otherwise whether
/// starts of a counter overlap in a window.
pub(super) fn evaluate(
    function: WindowFn,
    kind: SeriesKind,
    (segments, ends, range_ms): (&Segments, &[i64], i64),
    pieces: &Pieces,
    cuts: &mut OfStamps<Vec<usize>>,
    out: &mut Vec<f64>,
) -> Option<bool> {
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let span = range_ms as f64 / 1000.0;
    let overlaps = Cell::new(false);
    let grown = |step: usize, all: Ends<true>, rate: bool| {
        overlaps.set(overlaps.get() | all.overlaps);
        all.carried_on(ends.get(step).copied(), range_ms, rate)
    };
    let mut each = Joining { segments, pieces, cuts, out };
    let joined = match function {
        WindowFn::Sum => each.join(|_, all: Total| all.sum.total()),
        WindowFn::Increase if kind == SeriesKind::Delta => each.join(|_, all: Total| all.sum.total()),
        WindowFn::Rate if kind == SeriesKind::Delta => each.join(|_, all: Total| all.sum.total() / span),
        WindowFn::Avg => each.join(|_, all: Total| {
            let count = all.count as f64;
            all.sum.sum / count + all.sum.compensation / count
        }),
        WindowFn::Count => each.join(|_, Count(count)| count as f64),
        WindowFn::Present => each.join(|_, Count(_)| 1.0),
        WindowFn::Min => each.join(|_, Least(value)| value),
        WindowFn::Max => each.join(|_, Greatest(value)| value),
        WindowFn::First => each.join(|_, all: Ends<false>| all.first.value),
        WindowFn::Last => each.join(|_, all: Ends<false>| all.last.value),
        WindowFn::TsOfFirst => each.join(|_, all: Ends<false>| seconds(all.first.time)),
        WindowFn::TsOfLast => each.join(|_, all: Ends<false>| seconds(all.last.time)),
        WindowFn::Rate => each.join(|step, all| grown(step, all, true)),
        WindowFn::Increase => each.join(|step, all| grown(step, all, false)),
        WindowFn::Delta => {
            each.join(|step, all: Ends<false>| all.carried_on(ends.get(step).copied(), range_ms, false))
        }
        _ => false,
    };
    joined.then(|| overlaps.get())
}

impl<const COUNTER: bool> Ends<COUNTER> {
    /// The difference of first and last, carried on to the window's ends.
    fn carried_on(self, end: Option<i64>, range_ms: i64, rate: bool) -> f64 {
        let (End { time, value, start }, end) = (self.first, end.unwrap_or_default());
        let begins = match COUNTER {
            true => Begins::of(start, time, end.saturating_sub(range_ms)),
            false => Begins::Before,
        };
        let mut increase = self.last.value - value + self.correction.total();
        if let Begins::Within(_) = begins {
            increase += value;
        }
        let zero = (COUNTER && increase > 0.0 && value >= 0.0).then(|| value / increase);
        let sampled = (time, self.last.time, self.count as usize);
        let factor = extrapolation(sampled, (end, range_ms), begins, rate, zero);
        factor.map_or(ABSENT, |factor| increase * factor)
    }
}

/// What joining a series needs.
struct Joining<'j> {
    segments: &'j Segments,
    pieces: &'j Pieces,
    cuts: &'j mut OfStamps<Vec<usize>>,
    out: &'j mut Vec<f64>,
}

impl Joining<'_> {
    fn join<P: Part>(&mut self, result: impl Fn(usize, P) -> f64) -> bool {
        let Some(parts) = self.parts::<P>() else { return false };
        self.out.clear();
        let value = |step: usize, part: Option<P>| part.map_or(ABSENT, |part| result(step, part));
        let windows = self.segments.windows.iter().enumerate();
        if self.segments.single {
            self.out.extend(windows.map(|(step, &(low, _))| value(step, parts.get(low).copied().flatten())));
            return true;
        }
        let mut fold = Sliding::new();
        let (mut left, mut entered) = (0, 0);
        for (step, &(low, high)) in windows {
            if low >= entered {
                fold.clear();
                (left, entered) = (low, low);
            }
            while entered < high {
                fold.push(parts.get(entered).copied().flatten());
                entered += 1;
            }
            while left < low {
                fold.pop();
                left += 1;
            }
            self.out.push(value(step, fold.fold().flatten()));
        }
        true
    }

    /// What each segment comes to; `None` where the series does not join.
    fn parts<P: Part>(&mut self) -> Option<Vec<Option<P>>> {
        let bounds = &self.segments.bounds;
        let samples = &self.pieces.samples;
        let mut parts: Vec<Option<P>> = vec![None; bounds.len().saturating_sub(1)];
        let mut add = |segment: usize, part: P| {
            if let Some(own) = parts.get_mut(segment) {
                *own = own.join(Some(part));
            }
        };
        let find = |cuts: &mut Vec<usize>| {
            let times = &samples.timestamps;
            cuts.clear();
            let mut at = 0;
            cuts.extend(bounds.iter().map(|&bound| {
                at += position_after(times.get(at..).unwrap_or_default(), bound);
                at
            }));
        };
        let cuts = self.cuts.get(Some(samples.stamps.version()), find);
        for piece in &self.pieces.pieces {
            match piece {
                Piece::Whole(all) => {
                    let next = bounds.partition_point(|&bound| bound < all.first_time);
                    if let Some(segment) = next.checked_sub(1) {
                        add(segment, P::of_aggregate(all));
                    }
                }
                Piece::Samples(range) => {
                    // The segments that the piece reaches into.
                    let first = cuts.partition_point(|&cut| cut <= range.start).saturating_sub(1);
                    for (segment, cut) in cuts.windows(2).enumerate().skip(first) {
                        let (start, end) = (cut[0].max(range.start), cut[1].min(range.end));
                        if cut[0] >= range.end {
                            break;
                        }
                        if start < end {
                            let times = samples.timestamps.get(start..end)?;
                            let starts = samples.start_times.get(start..end).unwrap_or_default();
                            add(segment, P::of(times, samples.values.get(start..end)?, starts)?);
                        }
                    }
                }
            }
        }
        Some(parts)
    }
}

/// How many of the first times are not after a bound: they are few beside all, or evenly spread.
fn position_after(times: &[i64], bound: i64) -> usize {
    let mut step = 1;
    while times.get(step - 1).is_some_and(|&time| time <= bound) {
        step *= 2;
    }
    let low = step / 2;
    let high = (step - 1).min(times.len());
    low + times.get(low..high).map_or(0, |part| part.partition_point(|&time| time <= bound))
}
