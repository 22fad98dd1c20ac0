//! Reading a series in pieces: chunks as a whole where that is enough, their samples where it is not.

use annals_model::{Aggregate, Piece, Pieces, ReadPlan, Samples, SeriesKind, TimeRange, Whole};

use crate::aggregates::{PAGE_CHUNKS, parse_pages};
use crate::container::{Part, SectionKind};
use crate::error::BlockError;
use crate::metric_block::MetricBlock;
use crate::scratch::{Scratch, with_scratch};
use crate::series::Chunk;

/// A chunk of so many samples is decoded sooner than a page of aggregates.
const FEW_SAMPLES: usize = 16;

impl MetricBlock {
    /// Appends a series in a range, piece by piece in time order; names each damaged chunk, with its times within the
    /// range.
    ///
    /// A chunk that `whole` takes as one comes as its aggregate, without being decoded, where it
    /// has one.
    pub fn read_pieces(
        &self,
        ordinal: u32,
        range: TimeRange,
        whole: Whole<'_>,
        into: &mut Pieces,
        on_damage: &mut dyn FnMut(TimeRange, BlockError),
    ) {
        let (chunks, kind) = match self.chunks(ordinal).and_then(|chunks| Ok((chunks, self.kind(ordinal)?))) {
            Ok(found) => found,
            Err(error) => return on_damage(self.meta().time.intersect(range), error),
        };
        with_scratch(|scratch| {
            for chunk in chunks {
                let time = chunk.column.range();
                if !time.overlaps(range) {
                    continue;
                }
                // A damaged page costs time, not the answer.
                if whole.takes(time, range)
                    && let Ok(Some(aggregate)) = self.made_or_read(kind, &chunk, scratch)
                {
                    into.pieces.push(Piece::Whole(aggregate));
                    continue;
                }
                let first = into.samples.values.len();
                if let Err(error) = self.read_chunk(&chunk, range, scratch, true, &mut into.samples) {
                    on_damage(time.intersect(range), error);
                }
                into.push_samples_since(first);
            }
        });
    }

    /// What [`MetricBlock::read_pieces`] takes, where every chunk has an aggregate.
    pub fn plan_pieces(
        &self,
        ordinal: u32,
        range: TimeRange,
        whole: Whole<'_>,
    ) -> Result<ReadPlan, BlockError> {
        let mut plan = ReadPlan::default();
        for chunk in self.chunks(ordinal)? {
            let time = chunk.column.range();
            if whole.takes(time, range) {
                plan.chunks_skipped += 1;
            } else if time.overlaps(range) {
                plan.chunks_decoded += 1;
                plan.samples += chunk.column.count as u64;
                plan.bytes += chunk.part.bytes as u64;
            }
        }
        Ok(plan)
    }

    /// From just before the first sample of a series to its last.
    pub fn extent(&self, ordinal: u32) -> Result<TimeRange, BlockError> {
        let mut chunks = self.chunks(ordinal)?;
        let first = chunks.next().map_or(TimeRange::EMPTY, |chunk| chunk.column.range());
        let last = chunks.last().map_or(first, |chunk| chunk.column.range());
        Ok(TimeRange::new(first.start, last.end))
    }

    /// The aggregate of a chunk, where it has one: from its page, or from the samples of a chunk that has few, where that is
    /// the first that is asked for of its page. The same either way.
    fn made_or_read(
        &self,
        kind: SeriesKind,
        chunk: &Chunk<'_>,
        scratch: &mut Scratch,
    ) -> Result<Option<Aggregate>, BlockError> {
        let page = (self.number(), chunk.part.ordinal / PAGE_CHUNKS as u64);
        if chunk.column.count <= FEW_SAMPLES && scratch.pages.is_first_miss(page) {
            let mut samples = std::mem::take(&mut scratch.samples);
            samples.clear();
            let read = self.read_chunk(chunk, chunk.column.range(), scratch, true, &mut samples);
            let Samples { timestamps, values, start_times, .. } = &samples;
            let made = Aggregate::of(kind, timestamps, values, start_times);
            scratch.samples = samples;
            // Its page may be whole where it is damaged.
            if read.is_ok() {
                return Ok(made);
            }
        }
        self.aggregate(chunk, scratch)
    }

    /// The aggregate of a chunk, where it has one.
    pub(crate) fn aggregate(
        &self,
        chunk: &Chunk<'_>,
        scratch: &mut Scratch,
    ) -> Result<Option<Aggregate>, BlockError> {
        let Scratch { copy, decoding, pages: kept, .. } = scratch;
        let (number, position) =
            (chunk.part.ordinal / PAGE_CHUNKS as u64, (chunk.part.ordinal % PAGE_CHUNKS as u64) as usize);
        let pages = self.page_parts()?;
        let corrupt = |what| self.container().corrupt(SectionKind::Aggregates, Some(number), what);
        let part = *pages.get(number as usize).ok_or_else(|| corrupt("there is no such page"))?;
        let chunks = self.chunk_count()? - number as usize * PAGE_CHUNKS;
        let page = kept.get((self.number(), number), |page| {
            self.container().copy_part(part, copy)?;
            let decoded = page.decode(copy, chunks.min(PAGE_CHUNKS), decoding);
            decoded.ok_or_else(|| corrupt("it is not a page of aggregates"))
        })?;
        Ok(page.and_then(|page| page.get(position, chunk)))
    }

    fn page_parts(&self) -> Result<&[Part], BlockError> {
        if let Some(pages) = self.pages().get() {
            return Ok(pages);
        }
        let container = self.container();
        let bytes = container.section(SectionKind::Pages)?;
        let data_bytes = container.section_bytes(SectionKind::Aggregates)?;
        let pages = parse_pages(&bytes, self.chunk_count()?, data_bytes)
            .map_err(|what| container.corrupt(SectionKind::Pages, None, what))?;
        Ok(self.pages().get_or_init(|| pages))
    }
}
