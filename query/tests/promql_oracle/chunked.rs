//! A source whose series lie in chunks, each with its aggregate, as those of blocks do.

use annals_model::{
    Aggregate, Budget, Coverage, LabelSet, Matcher, Piece, Pieces, Samples, SelectedSeries, SeriesKind,
    SeriesSource, SourceError, TimeRange, Timestamp, Whole, append_starts,
};
use annals_query::promql::testing::MemorySource;

/// Series in memory, cut into chunks of some samples.
pub(crate) struct Chunked<'s> {
    pub(crate) source: &'s MemorySource,
    /// How many samples each chunk has.
    pub(crate) chunk: usize,
}

struct Selected<'s> {
    /// What was selected, and all there is: chunks reach out of the range.
    range: TimeRange,
    found: Box<dyn SelectedSeries + 's>,
    all: Box<dyn SelectedSeries + 's>,
    /// Per series found: its index among all.
    places: Vec<usize>,
    chunk: usize,
}

impl SeriesSource for Chunked<'_> {
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Box<dyn SelectedSeries + 'a>, SourceError> {
        let found = self.source.select(matchers, range, budget)?;
        let all = self.source.select(matchers, TimeRange::ALL, &Budget::default())?;
        let place = |index: usize| (0..all.len()).find(|&at| all.labels(at) == found.labels(index));
        let places = (0..found.len()).filter_map(place).collect();
        Ok(Box::new(Selected { range, found, all, places, chunk: self.chunk }))
    }
}

impl SelectedSeries for Selected<'_> {
    fn len(&self) -> usize {
        self.found.len()
    }

    fn labels(&self, index: usize) -> LabelSet {
        self.found.labels(index)
    }

    fn kind(&self, index: usize) -> SeriesKind {
        self.found.kind(index)
    }

    fn read(&self, index: usize, budget: &Budget, into: &mut Samples) -> Result<(), SourceError> {
        self.found.read(index, budget, into)
    }

    fn read_pieces(
        &self,
        index: usize,
        whole: Whole<'_>,
        budget: &Budget,
        into: &mut Pieces,
    ) -> Result<(), SourceError> {
        into.clear();
        let mut all = Samples::default();
        self.all.read(self.places[index], budget, &mut all)?;
        let chunks = all.timestamps.chunks(self.chunk).zip(all.values.chunks(self.chunk));
        for (at, (times, values)) in (0..).step_by(self.chunk).zip(chunks) {
            let starts = all.start_times.get(at..at + times.len()).unwrap_or_default();
            let (Some(&first), Some(&last)) = (times.first(), times.last()) else { continue };
            let time = TimeRange::new(Timestamp(first - 1), Timestamp(last));
            if whole.takes(time, self.range)
                && let Some(aggregate) = Aggregate::of(self.kind(index), times, values, starts)
            {
                into.pieces.push(Piece::Whole(aggregate));
                continue;
            }
            let before = into.samples.values.len();
            for (at, (&time, &value)) in times.iter().zip(values).enumerate() {
                if self.range.contains(Timestamp(time)) {
                    let start = starts.get(at..=at).unwrap_or_default();
                    append_starts(&mut into.samples.start_times, into.samples.values.len(), 1, start);
                    into.samples.timestamps.push(time);
                    into.samples.values.push(value);
                }
            }
            into.push_samples_since(before);
        }
        Ok(())
    }

    fn coverage(&self) -> &Coverage {
        self.found.coverage()
    }
}
