//! Merging: one block in the place of several, with nothing lost on the way.
//!
//! ```text
//!   block A (lsn 1-10)   a  b     d          one series at a time, in label order;
//!   block B (lsn 11-20)     b  c  d    ──►   a b c d     per instant: the later write wins,
//!   block C (lsn 21-30)  a     c                         deltas add up (model::merge_values)
//! ```
//!
//! Inputs come in LSN order, the later write last, with no block of their day and content between any two: then
//! merging neighbours first or all at once gives the same block. What cannot be read is an error that names the
//! block and the place in it, never a gap; the inputs then stay as they are.

use std::borrow::Borrow;
use std::ops::Range;
use std::sync::Arc;

use annals_block::{
    BlockError, BlockIdentity, EncodedBlock, MetricBlock, MetricBlockWriter, SealWith, WriteError,
};
use annals_model::{
    BlockId, BlockMeta, ChunkAge, HistogramSamples, LabelSet, LsnRange, Samples, SeriesKind, SeriesSamples,
    TimeRange, Timestamp, append_starts, merge_values,
};

/// Why blocks were not merged. The inputs are as they were; no output exists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// An input cannot be read whole: set it aside (`Standing::set_aside`), so that its neighbours can be merged.
    #[error("block {block} was not merged: {source}")]
    Damaged {
        /// Which input.
        block: BlockId,
        /// Where it is damaged, and how.
        source: BlockError,
    },
    /// An input is of another day or content than the output, or does not come after the input before it.
    #[error("block {block} was not merged: it is not of the output's day and content, or not in LSN order")]
    NotMergeable {
        /// Which input.
        block: BlockId,
    },
    /// A series has another kind than in the inputs before: its values cannot be merged. Set the block aside.
    #[error("block {block} was not merged: its series {series} is of another kind in an earlier block")]
    KindConflict {
        /// Which input.
        block: BlockId,
        /// The series' ordinal in it.
        series: u32,
    },
    /// A signal kind has another schema than in the inputs before. Set the block aside; its rows stay readable.
    #[error("block {block} was not merged: it has another schema of `{kind}` than an earlier block")]
    SchemaConflict {
        /// Which input.
        block: BlockId,
        /// The signal kind.
        kind: Arc<str>,
    },
    /// The output cannot be written as one block.
    #[error("block {block} was not written: {source}")]
    Write {
        /// The output.
        block: BlockId,
        /// What was refused.
        source: WriteError,
    },
}

/// What a merged block is called in the manifest: the records and the level that follow from its inputs.
///
/// # Errors
/// Where the inputs are not all of the output's day and content, in LSN order.
pub(crate) fn lineage<'a>(
    inputs: impl Iterator<Item = &'a BlockMeta>,
    output: BlockId,
) -> Result<Option<(LsnRange, u8)>, MergeError> {
    let mut lineage: Option<(LsnRange, u8)> = None;
    for meta in inputs {
        let of_output = (meta.id.day, meta.id.content) == (output.day, output.content);
        let (lsns, level) = match lineage {
            None => (meta.lsns, meta.level),
            // Parts of one flush have the same range.
            Some((before, level)) if before.through <= meta.lsns.after || before == meta.lsns => {
                (LsnRange { after: before.after, through: meta.lsns.through }, level.max(meta.level))
            }
            Some(_) => return Err(MergeError::NotMergeable { block: meta.id }),
        };
        if !of_output {
            return Err(MergeError::NotMergeable { block: meta.id });
        }
        lineage = Some((lsns, level));
    }
    Ok(lineage.map(|(lsns, level)| (lsns, level.saturating_add(1))))
}

/// Merges metric blocks, given in LSN order, into one; samples at or before `floor` are left out. `None` where
/// nothing remains. The output's chunks are made for `age`; `seal` is for the output, inputs have their keys.
///
/// Holds one series of all inputs in memory at a time, and the output.
pub fn merge_metrics(
    inputs: &[impl Borrow<MetricBlock>],
    output: BlockIdentity,
    floor: Timestamp,
    age: ChunkAge,
    seal: Option<SealWith<'_>>,
) -> Result<Option<EncodedBlock>, MergeError> {
    let inputs: Vec<&MetricBlock> = inputs.iter().map(Borrow::borrow).collect();
    let Some((lsns, level)) = lineage(inputs.iter().map(|block| block.meta()), output.id)? else {
        return Ok(None);
    };
    let in_output = |source| MergeError::Write { block: output.id, source };
    let mut writer = MetricBlockWriter::new(output, lsns, level, age);
    if let Some(seal) = seal {
        writer = writer.seal_with(seal);
    }
    each_series(&inputs, floor, |Series { labels, kind, samples }| {
        writer.add(labels, kind, samples).map_err(in_output)
    })?;
    writer.finish().map_err(in_output)
}

/// One series of all inputs.
pub(crate) struct Series<'a> {
    pub(crate) labels: &'a LabelSet,
    pub(crate) kind: SeriesKind,
    /// At least one.
    pub(crate) samples: SeriesSamples<'a>,
}

/// Hands out the series of blocks, given in LSN order, in label order; samples at or before `floor` are left out.
pub(crate) fn each_series(
    inputs: &[&MetricBlock],
    floor: Timestamp,
    mut take: impl FnMut(Series<'_>) -> Result<(), MergeError>,
) -> Result<(), MergeError> {
    let range = TimeRange::new(floor, Timestamp::MAX);
    let mut cursors = inputs.iter().map(|&block| Cursor::open(block)).collect::<Result<Vec<_>, _>>()?;
    let (mut merged, mut next, mut room) = (Samples::default(), Samples::default(), Samples::default());
    let mut histograms = HistogramSamples::default();
    while let Some(labels) = cursors.iter().filter_map(|cursor| cursor.labels.clone()).min() {
        merged.clear();
        histograms.clear();
        let mut kind_so_far = None;
        for cursor in cursors.iter_mut().filter(|cursor| cursor.labels.as_ref() == Some(&labels)) {
            let kind = cursor.kind()?;
            if *kind_so_far.get_or_insert(kind) != kind {
                return Err(MergeError::KindConflict {
                    block: cursor.block.meta().id,
                    series: cursor.ordinal,
                });
            }
            if kind.is_histogram() {
                cursor.read_histograms(range, &mut histograms)?;
            } else {
                next.clear();
                cursor.read(range, &mut next)?;
                merge_later(kind, &mut merged, &mut next, &mut room);
            }
            cursor.advance()?;
        }
        let Some(kind) = kind_so_far else { continue };
        histograms.merge(kind);
        let samples = match kind.is_histogram() {
            true => SeriesSamples::Histograms(&histograms),
            false => SeriesSamples::Numbers(&merged.timestamps, &merged.values, &merged.start_times),
        };
        if !samples.is_empty() {
            take(Series { labels: &labels, kind, samples })?;
        }
    }
    Ok(())
}

/// The series of one input, in label order.
struct Cursor<'a> {
    block: &'a MetricBlock,
    ordinal: u32,
    /// Of the series at `ordinal`; `None` after the last.
    labels: Option<LabelSet>,
}

impl<'a> Cursor<'a> {
    fn open(block: &'a MetricBlock) -> Result<Cursor<'a>, MergeError> {
        let mut cursor = Cursor { block, ordinal: 0, labels: None };
        cursor.load()?;
        Ok(cursor)
    }

    fn advance(&mut self) -> Result<(), MergeError> {
        self.ordinal += 1;
        self.load()
    }

    fn load(&mut self) -> Result<(), MergeError> {
        self.labels = match self.ordinal < self.block.series_count() {
            true => Some(self.block.labels(self.ordinal).map_err(|source| self.damaged(source))?),
            false => None,
        };
        Ok(())
    }

    fn kind(&self) -> Result<SeriesKind, MergeError> {
        self.block.kind(self.ordinal).map_err(|source| self.damaged(source))
    }

    fn read(&self, range: TimeRange, into: &mut Samples) -> Result<(), MergeError> {
        self.block.read(self.ordinal, range, into).map_err(|source| self.damaged(source))
    }

    fn read_histograms(&self, range: TimeRange, into: &mut HistogramSamples) -> Result<(), MergeError> {
        self.block.read_histograms(self.ordinal, range, into).map_err(|source| self.damaged(source))
    }

    fn damaged(&self, source: BlockError) -> MergeError {
        MergeError::Damaged { block: self.block.meta().id, source }
    }
}

/// Merges samples of later writes into these; of one instant the later value has its own start. `later` and `room` are lent:
/// what they hold afterwards is of no use.
fn merge_later(kind: SeriesKind, earlier: &mut Samples, later: &mut Samples, room: &mut Samples) {
    if earlier.timestamps.is_empty() {
        return std::mem::swap(earlier, later);
    }
    let (Some(first), last) = (later.timestamps.first(), earlier.timestamps.last()) else { return };
    if last.is_none_or(|last| last < first) {
        append(earlier, later, 0..later.timestamps.len());
        return;
    }
    room.clear();
    // How many of the samples from a position on come before a stamp.
    let before = |samples: &Samples, from: usize, stamp: i64| {
        samples.timestamps.iter().skip(from).take_while(|&&other| other < stamp).count()
    };
    let (mut own, mut next) = (0, 0);
    while let (Some(&mine), Some(&theirs)) = (earlier.timestamps.get(own), later.timestamps.get(next)) {
        let (mine_first, theirs_first) = (before(earlier, own, theirs), before(later, next, mine));
        append(room, earlier, own..own + mine_first);
        append(room, later, next..next + theirs_first);
        (own, next) = (own + mine_first, next + theirs_first);
        if mine == theirs {
            append(room, later, next..next + 1);
            if let (Some(held), Some(&value)) = (room.values.last_mut(), earlier.values.get(own)) {
                *held = merge_values(kind, value, *held);
            }
            (own, next) = (own + 1, next + 1);
        }
    }
    append(room, earlier, own..earlier.timestamps.len());
    append(room, later, next..later.timestamps.len());
    std::mem::swap(earlier, room);
}

/// Appends some samples, by their positions.
fn append(into: &mut Samples, from: &Samples, at: Range<usize>) {
    let starts = from.start_times.get(at.clone()).unwrap_or_default();
    append_starts(&mut into.start_times, into.timestamps.len(), at.len(), starts);
    into.timestamps.extend_from_slice(from.timestamps.get(at.clone()).unwrap_or_default());
    into.values.extend_from_slice(from.values.get(at).unwrap_or_default());
}
