//! Selectors at an instant: the latest sample of each series at each step, where it is young enough and not stale.

use std::sync::Arc;

use annals_model::{
    Aggregate, Piece, Pieces, START_UNKNOWN, TimeRange, Timestamp, Whole, append_starts, is_stale,
};

use super::column::has_nan;
use super::column::{ABSENT, Charge, Grid, is_absent, set_histogram};
use super::labels::{Labels, Selection};
use super::select::spread;
use super::series::Buffers;
use super::{Evaluator, Sink, Streamed};
use crate::promql::ast::{Expr, Selector};
use crate::promql::error::{QueryError, Span};

/// What of the latest sample is wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Value,
    /// Its time, in seconds.
    Time,
    /// When what it counts began, in seconds; nothing where that is not known.
    Start,
}

/// Steps, one after the other, and what they show.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shown {
    /// So many steps show nothing.
    Nothing(usize),
    /// So many steps show the sample at this position.
    Same(usize, usize),
    /// So many steps show the samples from this position on, one each.
    Each(usize, usize),
}

/// Finds what steps show of samples with these timestamps.
fn show(times: &[i64], grid: Grid, lookback_ms: i64, shown: &mut Vec<Shown>) {
    shown.clear();
    let mut next = 0;
    for step in 0..grid.count {
        let now = grid.time(step);
        while times.get(next).is_some_and(|&time| time <= now) {
            next += 1;
        }
        let young = |at: &usize| times.get(*at).is_some_and(|&time| time > now.saturating_sub(lookback_ms));
        match (next.checked_sub(1).filter(young), shown.last_mut()) {
            (None, Some(Shown::Nothing(steps))) => *steps += 1,
            (None, _) => shown.push(Shown::Nothing(1)),
            (Some(at), Some(Shown::Same(steps, of))) if *of == at => *steps += 1,
            (Some(at), Some(Shown::Each(steps, first))) if *first + *steps == at => *steps += 1,
            (Some(at), Some(one @ Shown::Same(1, _))) => match *one {
                Shown::Same(1, before) if before + 1 == at => *one = Shown::Each(2, before),
                _ => shown.push(Shown::Same(1, at)),
            },
            (Some(at), _) => shown.push(Shown::Same(1, at)),
        }
    }
}

/// A selector that is evaluated.
struct Job<'j> {
    selected: Selection<'j>,
    span: Span,
    /// The steps, as the selector sees them.
    grid: Grid,
    /// How many steps one value is spread over under `@`.
    spread_over: Option<usize>,
    wanted: Wanted,
}

impl Job<'_> {
    /// Whether no step sees a part of the samples in this range: then only the last one counts.
    fn is_whole(&self, range: TimeRange) -> bool {
        let Grid { start, step, count } = self.grid;
        let (after, until) = (range.start.0, range.end.0);
        if count <= 1 || step <= 0 {
            return start <= after || start >= until;
        }
        // The first step after the range begins.
        let next = (i128::from(after) - i128::from(start)).div_euclid(i128::from(step)) + 1;
        let next = next.max(0);
        next >= count as i128 || i128::from(start) + next * i128::from(step) >= i128::from(until)
    }
}

impl<'a> Evaluator<'a> {
    /// The latest sample of each series at each step, or something else of that sample.
    pub(super) fn stream_latest(
        &self,
        expr: &Expr,
        selector: &Selector,
        grid: Grid,
        wanted: Wanted,
        sink: Sink<'_, 'a>,
    ) -> Result<(), QueryError> {
        let (shifted, fixed) = self.shifted(&selector.time, grid)?;
        let since = shifted.start.saturating_sub(self.options.lookback_ms);
        let range = TimeRange::new(Timestamp(since), Timestamp(shifted.last()));
        let selected = self.select(selector, expr.span, range)?;
        let mut charge = Charge::none(self.budget);
        charge.add_column(grid.count)?;
        let job = Job {
            selected: Arc::clone(&selected),
            span: expr.span,
            grid: shifted,
            spread_over: fixed.then_some(grid.count),
            wanted,
        };
        let drop_name = wanted != Wanted::Value;
        self.each_series(
            &*selected,
            Whole::of_last(&|range| job.is_whole(range)),
            &|evaluator, index, buffers| evaluator.latest_of(&job, index, buffers),
            &mut |index, values, histograms| {
                let labels = Labels::Of(Arc::clone(&selected), index);
                sink(Streamed { labels, drop_name, values, histograms })
            },
        )
    }

    /// One series' column.
    fn latest_of(&self, job: &Job<'_>, index: usize, buffers: &mut Buffers) -> Result<bool, QueryError> {
        let whole = |range: TimeRange| job.is_whole(range);
        job.selected.read_pieces(index, Whole::of_last(&whole), self.budget, &mut buffers.pieces)?;
        if job.wanted == Wanted::Value
            && job.grid.count == 1
            && let &[Piece::Whole(all)] = buffers.pieces.pieces.as_slice()
        {
            return Ok(self.latest_of_whole(job, &all, buffers));
        }
        flatten(&mut buffers.pieces);
        let samples = &mut buffers.pieces.samples;
        self.finish_samples(job.span, samples);
        let (values, histograms) = (&mut buffers.values, &mut buffers.histograms);
        values.clear();
        histograms.clear();
        values.reserve(job.grid.count);
        let grid = job.grid;
        let lookback_ms = self.options.lookback_ms;
        let version = Some(samples.stamps.version());
        let shown = buffers.shown.get(version, |shown| show(&samples.timestamps, grid, lookback_ms, shown));
        let mut any = false;
        for &part in shown {
            match (job.wanted, part) {
                (_, Shown::Nothing(steps)) => values.extend(std::iter::repeat_n(ABSENT, steps)),
                // A stale marker is the mark of an absent step.
                (Wanted::Value, Shown::Same(steps, at)) => {
                    let value = samples.values.get(at).copied().unwrap_or(ABSENT);
                    values.extend(std::iter::repeat_n(value, steps));
                    any |= !is_absent(value);
                }
                (Wanted::Value, Shown::Each(steps, first)) => {
                    let shown = samples.values.get(first..first + steps).unwrap_or_default();
                    values.extend_from_slice(shown);
                    any = any || !has_nan(shown) || shown.iter().any(|&value| !is_absent(value));
                }
                (wanted, Shown::Same(steps, at)) => {
                    let value = about(wanted, samples, at);
                    values.extend(std::iter::repeat_n(value, steps));
                    any |= !is_absent(value);
                }
                (wanted, Shown::Each(steps, first)) => {
                    values.extend((first..first + steps).map(|at| about(wanted, samples, at)));
                    any = any || values.iter().any(|&value| !is_absent(value));
                }
            }
        }
        if job.wanted == Wanted::Value && !samples.histograms.is_empty() {
            let mut step = 0;
            for &part in shown {
                let (steps, first, stride) = match part {
                    Shown::Nothing(steps) => {
                        step += steps;
                        continue;
                    }
                    Shown::Same(steps, at) => (steps, at, 0),
                    Shown::Each(steps, first) => (steps, first, 1),
                };
                for nth in 0..steps {
                    let own = samples.histograms.get(first + nth * stride).and_then(Option::as_ref);
                    if let Some(own) = own {
                        set_histogram(histograms, grid.count, step + nth, Some(Arc::clone(own)));
                        if let Some(value) = values.get_mut(step + nth) {
                            *value = ABSENT;
                        }
                        any = true;
                    }
                }
                step += steps;
            }
        }
        if let Some(steps) = job.spread_over {
            spread(values, histograms, steps);
        }
        Ok(any)
    }

    /// The column of one step that sees all of a chunk.
    fn latest_of_whole(&self, job: &Job<'_>, all: &Aggregate, buffers: &mut Buffers) -> bool {
        self.warn_missing(job.span, &buffers.pieces.samples.missing);
        let young = all.last_time > job.grid.start.saturating_sub(self.options.lookback_ms);
        buffers.histograms.clear();
        buffers.values.clear();
        let value = if young { all.last } else { ABSENT };
        buffers.values.resize(job.spread_over.unwrap_or(1), value);
        young
    }
}

/// What is wanted of a sample besides its value.
fn about(wanted: Wanted, samples: &annals_model::Samples, at: usize) -> f64 {
    if samples.values.get(at).is_none_or(|&value| is_stale(value)) {
        return ABSENT;
    }
    let seconds = |ms: i64| ms as f64 / 1000.0;
    match wanted {
        Wanted::Start => match samples.start_times.get(at) {
            None | Some(&START_UNKNOWN) => ABSENT,
            Some(&start) => seconds(start),
        },
        Wanted::Time | Wanted::Value => samples.timestamps.get(at).map_or(ABSENT, |&time| seconds(time)),
    }
}

/// Brings aggregates among samples, each as the last sample that it stands for.
fn flatten(pieces: &mut Pieces) {
    if pieces.pieces.iter().all(|piece| matches!(piece, Piece::Samples(_))) {
        return;
    }
    let (mut times, mut values, mut starts) = (Vec::new(), Vec::new(), Vec::new());
    for piece in pieces.pieces.drain(..) {
        let before = times.len();
        match piece {
            Piece::Samples(range) => {
                let own = pieces.samples.start_times.get(range.clone()).unwrap_or_default();
                append_starts(&mut starts, before, range.len(), own);
                times.extend_from_slice(pieces.samples.timestamps.get(range.clone()).unwrap_or_default());
                values.extend_from_slice(pieces.samples.values.get(range).unwrap_or_default());
            }
            Piece::Whole(all) => {
                append_starts(&mut starts, before, 1, &[all.last_start]);
                times.push(all.last_time);
                values.push(all.last);
            }
        }
    }
    pieces.samples.stamps.set(&[]);
    pieces.samples.timestamps = times;
    pieces.samples.values = values;
    pieces.samples.start_times = starts;
}
