//! Reading a sealed day in pieces by its rollups: windows that a query takes whole need no sample decoded.
//!
//! Of the tiers that a day has, the coarsest is asked first: each of its windows that lies in the range and that no edge of
//! the query cuts comes as its rollup. What is left between them goes to the next finer tier, and in the end to raw.

use std::sync::Arc;

use annals_block::{MetricBlock, RollupBlock};
use annals_model::{
    BlockId, Missing, Piece, Pieces, ReadPlan, Rollup, SourceError, TimeRange, Timestamp, Whole,
};

/// A stretch of a day, in time order with the others.
enum Stretch {
    /// Windows that are taken whole.
    Whole(Vec<Rollup>),
    /// What has to be read from samples.
    Raw(TimeRange),
}

/// Appends a series of a sealed day whose raw block and rollup blocks, coarsest first, have the same series. False where
/// that gains nothing: then nothing was appended.
pub(crate) fn read_by_windows(
    raw: &MetricBlock,
    rollups: &[&RollupBlock],
    ordinal: u32,
    range: TimeRange,
    whole: &dyn Fn(TimeRange) -> bool,
    charge: &mut dyn FnMut(u64) -> Result<(), SourceError>,
    into: &mut Pieces,
) -> Result<bool, SourceError> {
    let range = range.intersect(raw.meta().id.day.range());
    let mut stretches = vec![Stretch::Raw(range)];
    for rollup in rollups {
        stretches = stretches
            .into_iter()
            .flat_map(|stretch| match stretch {
                Stretch::Whole(windows) => vec![Stretch::Whole(windows)],
                Stretch::Raw(range) => split(rollup, ordinal, range, whole),
            })
            .collect();
    }
    if stretches.iter().all(|stretch| matches!(stretch, Stretch::Raw(_))) {
        return Ok(false);
    }
    for stretch in stretches {
        match stretch {
            Stretch::Whole(windows) => {
                charge(windows.len() as u64)?;
                into.pieces.extend(windows.iter().filter_map(|window| window.all).map(Piece::Whole));
            }
            Stretch::Raw(range) => {
                let plan = raw.plan_pieces(ordinal, range, Whole::of(whole)).unwrap_or_default();
                charge(plan.samples + plan.chunks_skipped)?;
                let mut missing = std::mem::take(&mut into.samples.missing);
                raw.read_pieces(ordinal, range, Whole::of(whole), into, &mut |range, error| {
                    missing.push(Missing { range, why: error.to_string() });
                });
                into.samples.missing = missing;
            }
        }
    }
    Ok(true)
}

/// What [`read_by_windows`] takes, known without reading a window; `None` where it would append nothing. Of windows without
/// samples it is not known yet that there are none.
pub(crate) fn plan_by_windows(
    raw: &MetricBlock,
    rollups: &[Arc<RollupBlock>],
    ordinal: u32,
    range: TimeRange,
    whole: &dyn Fn(TimeRange) -> bool,
) -> Option<ReadPlan> {
    let extent = raw.extent(ordinal).ok()?.intersect(range);
    let mut plan = ReadPlan::default();
    let mut stretches = vec![range.intersect(raw.meta().id.day.range())];
    for rollup in rollups {
        let window_ms = rollup.meta().id.content.window_ms()?;
        let before = plan.windows;
        let mut rest = Vec::new();
        for stretch in stretches {
            let mut at = stretch.start;
            for end in whole_ends(stretch, window_ms, whole) {
                let window = TimeRange::new(Timestamp(end - window_ms), Timestamp(end));
                plan.windows += u64::from(window.overlaps(extent));
                rest.push(TimeRange::new(at, window.start));
                at = window.end;
            }
            rest.push(TimeRange::new(at, stretch.end));
        }
        stretches = rest;
        if plan.windows > before {
            plan.bytes += rollup.plan(ordinal, range).map_or(0, |plan| plan.bytes);
        }
    }
    let left = stretches.iter().filter(|stretch| !stretch.is_empty());
    let raw = left.filter_map(|&stretch| raw.plan_pieces(ordinal, stretch, Whole::of(whole)).ok());
    (plan.windows > 0).then(|| raw.fold(plan, ReadPlan::plus))
}

/// Whether a query takes any window of a rollup block whole.
pub(crate) fn any_whole(id: BlockId, range: TimeRange, whole: &dyn Fn(TimeRange) -> bool) -> bool {
    let range = range.intersect(id.day.range());
    id.content.window_ms().is_some_and(|window_ms| whole_ends(range, window_ms, whole).next().is_some())
}

/// The ends of the windows that lie in a range and are taken whole.
fn whole_ends<'a>(
    range: TimeRange,
    window_ms: i64,
    whole: &'a dyn Fn(TimeRange) -> bool,
) -> impl Iterator<Item = i64> + 'a {
    let first = range.start.0.saturating_add(window_ms - 1).div_euclid(window_ms) * window_ms + window_ms;
    (first..=range.end.0)
        .step_by(usize::try_from(window_ms).unwrap_or(usize::MAX))
        .filter(move |&end| whole(TimeRange::new(Timestamp(end - window_ms), Timestamp(end))))
}

/// Takes the windows of one tier out of a stretch.
fn split(
    rollup: &RollupBlock,
    ordinal: u32,
    range: TimeRange,
    whole: &dyn Fn(TimeRange) -> bool,
) -> Vec<Stretch> {
    let kept = || vec![Stretch::Raw(range)];
    let Some(window_ms) = rollup.meta().id.content.window_ms() else { return kept() };
    let ends: Vec<i64> = whole_ends(range, window_ms, whole).collect();
    if ends.is_empty() {
        return kept();
    }
    let (mut windows, mut damaged) = (Vec::new(), false);
    rollup.read_lossy(ordinal, range, &mut windows, &mut |_, _| damaged = true);
    if damaged {
        // Costs time, not the answer.
        return kept();
    }
    let mut stretches = Vec::new();
    let mut at = range.start;
    let mut windows = windows.into_iter().peekable();
    for end in ends {
        while windows.next_if(|window| window.end < end).is_some() {}
        let found = windows.next_if(|window| window.end == end);
        // A sum that is not finite, a series that ended, starts that overlap: for those who look at each sample.
        let plain = |window: &Rollup| {
            window.stale_at.is_none()
                && window
                    .all
                    .is_some_and(|all| all.sum.is_finite() && all.correction.is_finite() && !all.overlaps)
        };
        if found.as_ref().is_some_and(|found| !plain(found)) {
            continue;
        }
        let start = Timestamp(end - window_ms);
        if at < start {
            stretches.push(Stretch::Raw(TimeRange::new(at, start)));
        }
        match stretches.last_mut() {
            Some(Stretch::Whole(run)) => run.extend(found),
            _ => stretches.push(Stretch::Whole(found.into_iter().collect())),
        }
        at = Timestamp(end);
    }
    if at < range.end {
        stretches.push(Stretch::Raw(TimeRange::new(at, range.end)));
    }
    stretches
}
