//! Series of histograms: written and read like series of numbers, without aggregates.
//!
//! They stand among the others in the table of a block of samples. In a block of rollups a series of histograms is what
//! [`HistogramSamples::thinned`] leaves of it.

use annals_model::{HistogramSamples, LabelSet, SeriesKind, SeriesSamples, TimeRange, append_starts};

use crate::container::{FEATURE_HISTOGRAMS, SectionKind};
use crate::error::{BlockError, WriteError};
use crate::histograms::{chunk_length, decode, encode};
use crate::metric_block::MetricBlock;
use crate::metric_writer::{MetricBlockWriter, effort};
use crate::scratch::{Scratch, with_scratch};
use crate::series::Chunk;

impl MetricBlockWriter {
    /// Adds a series of either.
    pub fn add(
        &mut self,
        labels: &LabelSet,
        kind: SeriesKind,
        samples: SeriesSamples<'_>,
    ) -> Result<(), WriteError> {
        match samples {
            SeriesSamples::Numbers(timestamps, values, starts) => {
                self.add_series(labels, kind, timestamps, values, starts)
            }
            SeriesSamples::Histograms(samples) => self.add_histograms(labels, kind, samples),
        }
    }

    /// Adds a series of histograms, as [`MetricBlockWriter::add_series`] adds one of numbers.
    pub fn add_histograms(
        &mut self,
        labels: &LabelSet,
        kind: SeriesKind,
        samples: &HistogramSamples,
    ) -> Result<(), WriteError> {
        let content = self.content();
        let HistogramSamples { timestamps, histograms, start_times } = samples;
        let columns = (timestamps.as_slice(), histograms.len(), start_times.as_slice());
        let ordinal = self.check_series(content, labels, kind, true, columns)?;
        let effort = effort(self.age());
        let cut = |from: usize| chunk_length(histograms.get(from..).unwrap_or_default());
        let columns = (timestamps.as_slice(), start_times.as_slice());
        let chunks = self.add_chunks(ordinal, labels, kind, columns, cut, |encoder, at, out| {
            encode(histograms.get(at).unwrap_or_default(), encoder, effort, out);
        });
        // Blocks of rollups have no aggregates at all.
        if content.window_ms().is_none() {
            self.push_no_aggregates(chunks);
        }
        self.require(FEATURE_HISTOGRAMS);
        Ok(())
    }
}

impl MetricBlock {
    /// Appends the samples of a series of histograms in a range, in time order, as [`MetricBlock::read`] does.
    pub fn read_histograms(
        &self,
        ordinal: u32,
        range: TimeRange,
        into: &mut HistogramSamples,
    ) -> Result<(), BlockError> {
        with_scratch(|scratch| {
            self.chunks(ordinal)?
                .filter(|chunk| chunk.column.range().overlaps(range))
                .try_for_each(|chunk| self.read_histogram_chunk(&chunk, range, scratch, into))
        })
    }

    /// Appends what undamaged chunks hold, as [`MetricBlock::read_lossy`] does.
    pub fn read_histograms_lossy(
        &self,
        ordinal: u32,
        range: TimeRange,
        into: &mut HistogramSamples,
        on_damage: &mut dyn FnMut(TimeRange, BlockError),
    ) {
        let chunks = match self.chunks(ordinal) {
            Ok(chunks) => chunks,
            Err(error) => return on_damage(self.meta().time.intersect(range), error),
        };
        with_scratch(|scratch| {
            for chunk in chunks.filter(|chunk| chunk.column.range().overlaps(range)) {
                if let Err(error) = self.read_histogram_chunk(&chunk, range, scratch, into) {
                    on_damage(chunk.column.range().intersect(range), error);
                }
            }
        });
    }

    /// Appends a chunk's samples in a range; on error, nothing.
    pub(crate) fn read_histogram_chunk(
        &self,
        chunk: &Chunk<'_>,
        range: TimeRange,
        scratch: &mut Scratch,
        into: &mut HistogramSamples,
    ) -> Result<(), BlockError> {
        let Scratch { copy, decoding, columns, starts, .. } = scratch;
        let column = chunk.column;
        let stamps = self.stamps(column, copy, decoding, columns)?;
        let positions = stamps.partition_point(|&stamp| stamp <= range.start.0)
            ..stamps.partition_point(|&stamp| stamp <= range.end.0);
        let taken = stamps.get(positions.clone()).unwrap_or_default();
        if taken.is_empty() {
            return Ok(());
        }
        let starts = self.starts(chunk, copy, decoding, starts)?.get(positions.clone()).unwrap_or_default();
        self.container().copy_part(chunk.part, copy)?;
        let first = into.histograms.len();
        decode(copy, column.count, positions, decoding, &mut into.histograms).ok_or_else(|| {
            into.histograms.truncate(first);
            let what = "it is not a chunk of histograms";
            self.container().corrupt(SectionKind::Values, Some(chunk.part.ordinal), what)
        })?;
        append_starts(&mut into.start_times, first, taken.len(), starts);
        into.timestamps.extend_from_slice(taken);
        Ok(())
    }
}
