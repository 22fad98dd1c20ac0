//! Writes a block of metric samples.
//!
//! ```text
//!   add_series ── cut into chunks ─► stamps, starts ── distinct ─► columns
//!                                 └► values ── smallest codec ─► chunks
//!   finish ──── symbols, pairs, postings, series ─► the block
//! ```

use std::ops::Range;

use annals_model::{
    Aggregate, BlockContent, ChunkAge, LABELS_MAX, LabelSet, LsnRange, START_UNKNOWN, SeriesKind, TimeRange,
    Timestamp,
};
use hashbrown::HashMap;

use crate::FixedHash;
use crate::aggregates::AggregateWriter;
use crate::codec::ints::Effort;
use crate::codec::pack::MINI;
use crate::codec::values::ValueEncoder;
use crate::columns::{CHUNK_SAMPLES_MAX, ColumnWriter, Held};
use crate::container::{ContainerWriter, EncodedBlock, FEATURE_STARTS, SectionKind, Totals};
use crate::error::{BlockIdentity, WriteError};
use crate::labels::{PairRuns, encode_labels};
use crate::sealing::SealWith;
use crate::series::{Form, put_series};
use crate::symbols::{EncodedSymbols, Interner};

/// Samples per chunk straight from the head: decoded in full even for a narrow query, so they are short.
const FRESH_SAMPLES: usize = 1024;
/// The most samples per chunk after a merge: longer runs pay for their code tables.
const MERGED_SAMPLES: usize = 8192;
/// A table entry takes 5 bytes at least, and offsets in tables are 32 bits.
const SERIES_MAX: u32 = 1 << 28;

const _: () = assert!(MERGED_SAMPLES <= CHUNK_SAMPLES_MAX && MERGED_SAMPLES.is_multiple_of(MINI));

/// How hard chunks of an age are encoded.
pub(crate) fn effort(age: ChunkAge) -> Effort {
    match age {
        ChunkAge::Fresh => Effort::Hot,
        ChunkAge::Merged => Effort::Warm,
        ChunkAge::Old => Effort::Cold,
    }
}

/// How long the chunks of a series of `samples` are; the last one takes what is left.
fn chunk_samples(age: ChunkAge, samples: usize) -> usize {
    match age {
        ChunkAge::Fresh => FRESH_SAMPLES,
        ChunkAge::Merged | ChunkAge::Old => {
            let chunks = samples.div_ceil(MERGED_SAMPLES).max(1);
            samples.div_ceil(chunks).next_multiple_of(MINI)
        }
    }
}

/// Writes a block of metric samples, series by series in label order.
pub struct MetricBlockWriter {
    container: ContainerWriter,
    encoder: ValueEncoder,
    columns: ColumnWriter,
    starts: ColumnWriter,
    values: Vec<u8>,
    checks: Vec<u8>,
    aggregates: AggregateWriter,
    symbols: Interner,
    pairs: HashMap<(u32, u32), u32, FixedHash>,
    runs: Vec<PairRuns>,
    series: Vec<Series>,
    /// The pairs of all series, by provisional number, one series after the other.
    members: Vec<u32>,
    /// Column and bytes of the chunks of all series, likewise.
    chunks: Vec<(u32, u32)>,
    /// For each of these chunks, as the series table has it, its column of starts; empty until one has any.
    chunk_starts: Vec<u32>,
    last_labels: Option<LabelSet>,
    time: Option<(i64, i64)>,
    rows: u64,
}

/// A series that was added. There may be millions, so that none has an allocation of its own.
struct Series {
    kind: SeriesKind,
    pairs: u8,
    chunks: u32,
}

const _: () = assert!(LABELS_MAX <= u8::MAX as usize);

impl MetricBlockWriter {
    /// A block without series.
    #[must_use]
    pub fn new(identity: BlockIdentity, lsns: LsnRange, level: u8, age: ChunkAge) -> MetricBlockWriter {
        MetricBlockWriter {
            container: ContainerWriter::new(identity, lsns, level, age),
            encoder: ValueEncoder::new(),
            columns: ColumnWriter::new(Held::Stamps(identity.id.day)),
            starts: ColumnWriter::new(Held::Starts),
            values: Vec::new(),
            checks: Vec::new(),
            aggregates: AggregateWriter::default(),
            symbols: Interner::default(),
            pairs: HashMap::default(),
            runs: Vec::new(),
            series: Vec::new(),
            members: Vec::new(),
            chunks: Vec::new(),
            chunk_starts: Vec::new(),
            last_labels: None,
            time: None,
            rows: 0,
        }
    }

    /// Seals the block. Before the first series.
    #[must_use]
    pub fn seal_with(mut self, seal: SealWith<'_>) -> MetricBlockWriter {
        assert!(self.series.is_empty(), "what was added is not sealed");
        self.container.seal_with(seal);
        self
    }

    /// Adds a series, which must come after all others in label order. Timestamps ascend strictly within the
    /// block's day; start times are none, or as many. What is refused leaves the block as it was.
    pub fn add_series(
        &mut self,
        labels: &LabelSet,
        kind: SeriesKind,
        timestamps: &[i64],
        values: &[f64],
        starts: &[i64],
    ) -> Result<(), WriteError> {
        let content = BlockContent::RawMetrics;
        let columns = (timestamps, values.len(), starts);
        let ordinal = self.check_series(content, labels, kind, false, columns)?;
        let age = self.container.age();
        let (chunk_samples, effort) = (chunk_samples(age, timestamps.len()), effort(age));
        self.add_chunks(
            ordinal,
            labels,
            kind,
            (timestamps, starts),
            |_| chunk_samples,
            |encoder, at, out| {
                encoder.encode(values.get(at).unwrap_or_default(), effort, out);
            },
        );
        let chunks = timestamps.chunks(chunk_samples).zip(values.chunks(chunk_samples));
        for (at, (stamps, values)) in (0..).step_by(chunk_samples).zip(chunks) {
            let starts = starts.get(at..at + stamps.len()).unwrap_or_default();
            let aggregate = Aggregate::of(kind, stamps, values, starts);
            self.aggregates.push(aggregate.as_ref(), &mut self.encoder, &mut self.container);
        }
        Ok(())
    }

    pub(crate) fn content(&self) -> BlockContent {
        self.container.identity().id.content
    }

    pub(crate) fn age(&self) -> ChunkAge {
        self.container.age()
    }

    /// Says of so many chunks that they have no aggregate.
    pub(crate) fn push_no_aggregates(&mut self, chunks: u32) {
        (0..chunks).for_each(|_| self.aggregates.push(None, &mut self.encoder, &mut self.container));
    }

    /// Says that the block cannot be read by who does not know this feature.
    pub(crate) fn require(&mut self, feature: u32) {
        self.container.require(feature);
    }

    /// Adds a series that was checked, with its stamps and starts; `cut` says how many stamps the chunk takes that begins at a position, `encode`
    /// appends what a chunk holds at these positions. Returns how many chunks that made.
    pub(crate) fn add_chunks(
        &mut self,
        ordinal: u32,
        labels: &LabelSet,
        kind: SeriesKind,
        (timestamps, starts): (&[i64], &[i64]),
        cut: impl Fn(usize) -> usize,
        mut encode: impl FnMut(&mut ValueEncoder, Range<usize>, &mut Vec<u8>),
    ) -> u32 {
        let effort = effort(self.container.age());
        let chunks_before = self.chunks.len();
        let (mut position, mut rest) = (0, timestamps);
        while !rest.is_empty() {
            let (stamps, later) = rest.split_at(cut(position).clamp(1, rest.len()));
            rest = later;
            let column = self.columns.number(stamps, &mut self.encoder.ints, effort);
            let start = self.values.len();
            let at = position..position + stamps.len();
            position = at.end;
            let begun = starts.get(at.clone()).unwrap_or_default();
            if begun.iter().any(|&start| start != START_UNKNOWN) {
                let column = self.starts.number(begun, &mut self.encoder.ints, effort);
                self.chunk_starts.resize(self.chunks.len(), 0);
                self.chunk_starts.push(column + 1);
                self.container.require(FEATURE_STARTS);
            }
            encode(&mut self.encoder, at, &mut self.values);
            let chunk = (self.checks.len() / 4) as u64;
            let check = self.container.seal_part(SectionKind::Values, chunk, &mut self.values, start);
            self.checks.extend(check.to_le_bytes());
            // At most 2^16 values of 8 bytes.
            self.chunks.push((column, (self.values.len() - start) as u32));
        }
        let members_before = self.members.len();
        for (name, value) in labels.iter() {
            let pair = (self.symbols.number(name), self.symbols.number(value));
            let next = self.pairs.len() as u32;
            let number = *self.pairs.entry(pair).or_insert(next);
            if number == next {
                self.runs.push(PairRuns::default());
            }
            if let Some(runs) = self.runs.get_mut(number as usize) {
                runs.push(ordinal);
            }
            self.members.push(number);
        }
        // A day has fewer than 2^32 stamps, and a label set at most LABELS_MAX pairs.
        let chunks = (self.chunks.len() - chunks_before) as u32;
        self.series.push(Series { kind, pairs: (self.members.len() - members_before) as u8, chunks });
        self.last_labels = Some(labels.clone());
        let (first, last) = (timestamps.first().copied(), timestamps.last().copied());
        if let (Some(first), Some(last)) = (first, last) {
            let (least, greatest) = self.time.unwrap_or((first, last));
            self.time = Some((least.min(first), greatest.max(last)));
        }
        self.rows += timestamps.len() as u64;
        chunks
    }

    /// The block; none where no series was added.
    pub fn finish(self) -> Result<Option<EncodedBlock>, WriteError> {
        let Some((first, last)) = self.time else { return Ok(None) };
        let content = self.content();
        let mut pairs: Vec<(u32, u32, u32)> =
            self.pairs.into_iter().map(|((name, value), number)| (name, value, number)).collect();
        let EncodedSymbols { bytes: symbols, ranks, text_bytes } = self.symbols.finish();
        let rank = |number: u32| ranks.get(number as usize).copied().unwrap_or(0);
        for (name, value, _) in &mut pairs {
            (*name, *value) = (rank(*name), rank(*value));
        }
        drop(ranks);
        pairs.sort_unstable();
        let mut pair_ranks = vec![0u32; pairs.len()];
        for (rank, &(.., number)) in (0u32..).zip(&pairs) {
            if let Some(slot) = pair_ranks.get_mut(number as usize) {
                *slot = rank;
            }
        }
        let mut table = Vec::new();
        annals_model::bytes::PutBytes::put_varint(&mut table, self.series.len() as u64);
        let mut numbers = Vec::new();
        let (mut members, mut chunks) = (self.members.as_slice(), self.chunks.as_slice());
        let mut starts = self.chunk_starts.as_slice();
        for series in &self.series {
            numbers.clear();
            let (pairs, others) = members.split_at_checked(usize::from(series.pairs)).unwrap_or_default();
            numbers.extend(pairs.iter().filter_map(|&number| pair_ranks.get(number as usize)));
            let (own, rest) = chunks.split_at_checked(series.chunks as usize).unwrap_or_default();
            // Chunks after the last one with starts are in no list.
            let (begun, others_begun) = starts.split_at(own.len().min(starts.len()));
            put_series(series.kind, Form::of(content, series.kind), &numbers, own, begun, &mut table);
            (members, chunks, starts) = (others, rest, others_begun);
        }
        // What is no longer needed goes before more is made: of a million series it is most of the memory.
        drop((self.members, self.chunks, self.chunk_starts, pair_ranks));
        let postings: Vec<(u32, u32, &PairRuns)> = pairs
            .iter()
            .filter_map(|&(name, value, number)| Some((name, value, self.runs.get(number as usize)?)))
            .collect();
        let labels = encode_labels(&postings);
        drop(postings);
        drop((pairs, self.runs));
        let fits = |bytes: &[u8]| u32::try_from(bytes.len()).is_ok();
        if !fits(&table) || !fits(&labels) {
            return Err(WriteError::TooMany { what: "bytes of labels", max: u64::from(u32::MAX) });
        }
        let (mut container, mut encoder) = (self.container, self.encoder);
        let (stamps, columns) = self.columns.finish(&mut container);
        let has_starts = !self.starts.is_empty();
        let (starts, begun) = self.starts.finish(&mut container);
        let (aggregates, pages) = self.aggregates.finish(&mut encoder, &mut container);
        let mut squeezer = encoder.ints.squeezer;
        container.put_data(SectionKind::Stamps, &stamps);
        container.put_data(SectionKind::Values, &self.values);
        drop(self.values);
        container.put_data(SectionKind::Aggregates, &aggregates);
        drop(aggregates);
        if has_starts {
            container.put_data(SectionKind::Starts, &starts);
            container.put_index(SectionKind::Begun, &begun, &mut squeezer);
        }
        container.put_index(SectionKind::Columns, &columns, &mut squeezer);
        container.put_folded(SectionKind::Symbols, &symbols, text_bytes, &mut squeezer);
        container.put_index(SectionKind::Labels, &labels, &mut squeezer);
        container.put_index(SectionKind::Series, &table, &mut squeezer);
        container.put_data(SectionKind::Checks, &self.checks);
        container.put_data(SectionKind::Pages, &pages);
        Ok(Some(container.finish(Totals {
            time: TimeRange::new(Timestamp(first - 1), Timestamp(last)),
            series: self.series.len() as u64,
            rows: self.rows,
        })))
    }

    /// Checks a series, of which are given its stamps, how many values, and its starts, against the block and itself;
    /// returns its ordinal.
    pub(crate) fn check_series(
        &self,
        content: BlockContent,
        labels: &LabelSet,
        kind: SeriesKind,
        histograms: bool,
        (timestamps, values, starts): (&[i64], usize, &[i64]),
    ) -> Result<u32, WriteError> {
        let id = self.container.identity().id;
        if id.content != content {
            return Err(WriteError::WrongContent { id, content: id.content });
        }
        if kind.is_histogram() != histograms {
            return Err(WriteError::WrongKind { kind: kind.name() });
        }
        let ordinal = u32::try_from(self.series.len()).ok().filter(|&ordinal| ordinal < SERIES_MAX);
        let ordinal = ordinal.ok_or(WriteError::TooMany { what: "series", max: u64::from(SERIES_MAX) })?;
        if self.last_labels.as_ref().is_some_and(|last| labels <= last) {
            return Err(WriteError::SeriesOrder { ordinal });
        }
        if timestamps.len() != values || timestamps.is_empty() {
            let timestamps = timestamps.len();
            return Err(WriteError::Lengths { ordinal, timestamps, values });
        }
        if !starts.is_empty() && starts.len() != values {
            return Err(WriteError::Starts { ordinal, values, starts: starts.len() });
        }
        let unordered = timestamps.iter().zip(timestamps.iter().skip(1)).position(|(a, b)| a >= b);
        if let Some(before) = unordered {
            return Err(WriteError::TimeOrder { ordinal, position: before + 1 });
        }
        let range = id.day.range();
        let mut ends = timestamps.first().into_iter().chain(timestamps.last());
        if let Some(&timestamp) = ends.find(|&&stamp| !range.contains(Timestamp(stamp))) {
            return Err(WriteError::OutsideDay { ordinal: u64::from(ordinal), timestamp, day: id.day });
        }
        Ok(ordinal)
    }
}
