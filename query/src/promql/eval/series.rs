//! Series of a selection, one after the other or several at a time: each is read and turned into its column by itself,
//! and handed on in label order, so that answers are the same bits however many threads are at work.

use std::io;
use std::ops::Range;
use std::thread::{Builder, ScopedJoinHandle};

use annals_model::{Pieces, SelectedSeries, Whole};

use super::column::{Charge, Histograms};
use super::latest::Shown;
use super::runs::Apart;
use super::window::Reach;
use super::{Evaluator, Notes};
use crate::promql::error::QueryError;

/// How many series a thread takes at a time.
const SERIES_AT_ONCE: usize = 64;

/// What turning a series into its column needs; kept from series to series.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) pieces: Pieces,
    pub(super) apart: Apart,
    /// The column: a value per step, and histograms where there are any.
    pub(super) values: Vec<f64>,
    pub(super) histograms: Histograms,
    pub(super) windows: OfStamps<Vec<(usize, usize)>>,
    pub(super) reaches: OfStamps<Vec<Reach>>,
    pub(super) cuts: OfStamps<Vec<usize>>,
    pub(super) shown: OfStamps<Vec<Shown>>,
}

impl Buffers {
    /// Counts what a series has made them grow by: they are kept for the next one.
    fn charge(&self, charge: &mut Charge<'_>) -> Result<(), QueryError> {
        let Pieces { samples, pieces } = &self.pieces;
        let columns =
            samples.timestamps.capacity() + samples.values.capacity() + samples.start_times.capacity();
        let bytes = 8 * (columns + self.values.capacity() + samples.histograms.capacity())
            + size_of::<annals_model::Piece>() * pieces.capacity();
        charge.grow_to(bytes)
    }
}

/// What was computed from a series' timestamps. Series that were sampled together share them, and it.
#[derive(Default)]
pub(super) struct OfStamps<T> {
    version: Option<u64>,
    value: T,
}

impl<T> OfStamps<T> {
    /// As it was computed for timestamps of this version, or as `compute` makes it; without a version, always anew.
    pub(super) fn get(&mut self, version: Option<u64>, compute: impl FnOnce(&mut T)) -> &T {
        if version.is_none() || self.version != version {
            compute(&mut self.value);
            self.version = version;
        }
        &self.value
    }
}

/// Makes the column of a series; says whether there is anything in it.
pub(super) type Work<'w> =
    &'w (dyn Fn(&Evaluator<'_>, usize, &mut Buffers) -> Result<bool, QueryError> + Sync);

/// Takes a series' column.
pub(super) type Take<'t> = &'t mut dyn FnMut(usize, &mut Vec<f64>, &mut Histograms) -> Result<(), QueryError>;

impl<'a> Evaluator<'a> {
    /// Makes the columns of all series of a selection and hands out those in which there is anything, in label order.
    /// `whole` says what chunks may come as aggregates.
    pub(super) fn each_series(
        &self,
        selected: &dyn SelectedSeries,
        whole: Whole<'_>,
        work: Work<'_>,
        take: Take<'_>,
    ) -> Result<(), QueryError> {
        if let Some(trace) = self.trace {
            let reads = (0..selected.len()).fold(true, |_, index| trace.reads(selected, index, whole));
            if !reads {
                return Ok(());
            }
        }
        let threads = self.options.parallelism.min(selected.len() / SERIES_AT_ONCE);
        if threads > 1 {
            return self.each_series_in_threads(selected.len(), threads, work, take);
        }
        let mut buffers = Buffers::default();
        let mut charge = Charge::none(self.budget);
        for index in 0..selected.len() {
            let any = work(self, index, &mut buffers)?;
            buffers.charge(&mut charge)?;
            if any {
                take(index, &mut buffers.values, &mut buffers.histograms)?;
            }
        }
        Ok(())
    }

    fn each_series_in_threads(
        &self,
        count: usize,
        threads: usize,
        work: Work<'_>,
        take: Take<'_>,
    ) -> Result<(), QueryError> {
        let mut buffers: Vec<Buffers> = (0..threads).map(|_| Buffers::default()).collect();
        for first in (0..count).step_by(SERIES_AT_ONCE * threads) {
            let slices = (0..threads).map(|thread| {
                let start = first + thread * SERIES_AT_ONCE;
                start.min(count)..(start + SERIES_AT_ONCE).min(count)
            });
            let (source, options, budget, times) = (self.source, self.options, self.budget, self.times);
            let hints = self.hints.get();
            let parts: Vec<Result<Part<'_>, QueryError>> = std::thread::scope(|scope| {
                let part = move |slice, buffers: &mut Buffers| {
                    let own = Evaluator::new(source, options, budget, times);
                    own.hints.set(hints);
                    own.part(slice, buffers, work)
                };
                let started: Vec<_> = slices
                    .zip(&mut buffers)
                    .map(|(slice, buffers)| {
                        let of_thread = slice.clone();
                        let thread = Builder::new().spawn_scoped(scope, move || part(of_thread, buffers));
                        (slice, thread)
                    })
                    .collect();
                let join = |(slice, thread): (_, io::Result<ScopedJoinHandle<'_, _>>)| match thread {
                    Ok(thread) => match thread.join() {
                        Ok(part) => part,
                        Err(panic) => std::panic::resume_unwind(panic),
                    },
                    // The system has no thread to give: this one does it.
                    Err(_) => part(slice, &mut Buffers::default()),
                };
                started.into_iter().map(join).collect()
            });
            for part in parts {
                let Part { series, charge: _charge } = part?;
                for (index, notes, column) in series {
                    self.take_notes(notes);
                    if let Some((mut values, mut histograms)) = column {
                        take(index, &mut values, &mut histograms)?;
                    }
                }
            }
        }
        Ok(())
    }

    /// The columns of some series, by a thread of its own.
    fn part(
        self,
        slice: Range<usize>,
        buffers: &mut Buffers,
        work: Work<'_>,
    ) -> Result<Part<'a>, QueryError> {
        let (mut series, mut charge) = (Vec::new(), Charge::none(self.budget));
        let mut of_buffers = Charge::none(self.budget);
        for index in slice {
            let mut column = None;
            let any = work(&self, index, buffers)?;
            buffers.charge(&mut of_buffers)?;
            if any {
                charge.add_column(buffers.values.len())?;
                charge.add_histograms(&buffers.histograms)?;
                column = Some((std::mem::take(&mut buffers.values), std::mem::take(&mut buffers.histograms)));
            }
            series.push((index, self.notes.take(), column));
        }
        Ok(Part { series, charge })
    }
}

/// A column's values, and its histograms.
type MadeColumn = (Vec<f64>, Histograms);

/// What one thread made of its series: by index, what it remarked, and the column where there is anything in it.
struct Part<'a> {
    series: Vec<(usize, Notes, Option<MadeColumn>)>,
    charge: Charge<'a>,
}
