//! Blocks of rollups: written and read like blocks of samples, with windows in place of values.
//!
//! One block holds one tier of one UTC day. The frame, columns (of the windows' ends), symbols, labels and the series table
//! are those of a block of samples; a series' form in the table is 2, its chunks are those of `windows.rs` (of histograms: 1,
//! and `histograms.rs`), and the sections of aggregates are empty, as each window is one. A reader of samples refuses such a block by its content.

use annals_model::{
    BlockContent, BlockMeta, ChunkAge, DataKeys, HistogramSamples, KeyId, LabelSet, LsnRange, Matcher,
    ReadPlan, Rollup, SeriesKind, TimeRange,
};
use annals_vfs::Sealed;
use roaring::RoaringBitmap;

use crate::codec::ints::Effort;
use crate::container::{EncodedBlock, FEATURE_STARTS, SectionKind};
use crate::error::{BlockError, BlockIdentity, Damage, SectionInfo, WriteError};
use crate::metric_block::MetricBlock;
use crate::metric_writer::MetricBlockWriter;
use crate::scratch::{Scratch, with_scratch};
use crate::sealing::SealWith;
use crate::series::Chunk;
use crate::windows;

/// Windows per chunk: no day has as many.
const CHUNK_WINDOWS: usize = 1024;

/// Writes a block of rollups, series by series in label order.
pub struct RollupBlockWriter {
    inner: MetricBlockWriter,
    identity: BlockIdentity,
    ends: Vec<i64>,
}

impl RollupBlockWriter {
    /// A block without series.
    #[must_use]
    pub fn new(identity: BlockIdentity, lsns: LsnRange) -> RollupBlockWriter {
        let inner = MetricBlockWriter::new(identity, lsns, 0, ChunkAge::Old);
        RollupBlockWriter { inner, identity, ends: Vec::new() }
    }

    /// Seals the block. Before the first series.
    #[must_use]
    pub fn seal_with(self, seal: SealWith<'_>) -> RollupBlockWriter {
        RollupBlockWriter { inner: self.inner.seal_with(seal), ..self }
    }

    /// Adds a series, which must come after all others in label order. Windows are those of the block's tier, ascending,
    /// within its day. What is refused leaves the block as it was.
    pub fn add_series(
        &mut self,
        labels: &LabelSet,
        kind: SeriesKind,
        rollups: &[Rollup],
    ) -> Result<(), WriteError> {
        let id = self.identity.id;
        let window_ms = id.content.window_ms().ok_or(WriteError::WrongContent { id, content: id.content })?;
        self.ends.clear();
        self.ends.extend(rollups.iter().map(|window| window.end));
        if let Some(&timestamp) = self.ends.iter().find(|end| end.rem_euclid(window_ms) != 0) {
            return Err(WriteError::OutsideDay { ordinal: 0, timestamp, day: id.day });
        }
        let columns = (self.ends.as_slice(), rollups.len(), &[][..]);
        let ordinal = self.inner.check_series(id.content, labels, kind, false, columns)?;
        if rollups.iter().any(windows::knows_starts) {
            self.inner.require(FEATURE_STARTS);
        }
        self.inner.add_chunks(
            ordinal,
            labels,
            kind,
            (&self.ends, &[]),
            |_| CHUNK_WINDOWS,
            |encoder, at, out| {
                let rollups = rollups.get(at).unwrap_or_default();
                windows::encode(rollups, window_ms, encoder, Effort::Hot, out);
            },
        );
        Ok(())
    }

    /// Adds a series of histograms, of which `samples` is what thinning left, as [`RollupBlockWriter::add_series`] does.
    pub fn add_histograms(
        &mut self,
        labels: &LabelSet,
        kind: SeriesKind,
        samples: &HistogramSamples,
    ) -> Result<(), WriteError> {
        let id = self.identity.id;
        if id.content.window_ms().is_none() {
            return Err(WriteError::WrongContent { id, content: id.content });
        }
        self.inner.add_histograms(labels, kind, samples)
    }

    /// The block; none where no series was added.
    pub fn finish(self) -> Result<Option<EncodedBlock>, WriteError> {
        self.inner.finish()
    }
}

/// An opened block of rollups. Series are known by their ordinal, which counts them in label order.
#[derive(Debug)]
pub struct RollupBlock {
    inner: MetricBlock,
    window_ms: i64,
}

impl RollupBlock {
    /// Opens a block from its file's bytes; `name` is the file's, for errors.
    pub fn open(bytes: Sealed, identity: BlockIdentity, name: &str) -> Result<RollupBlock, BlockError> {
        let content = match identity.id.content {
            rollup @ (BlockContent::Rollup5m | BlockContent::Rollup1h) => rollup,
            // Refused by what the file says of itself.
            BlockContent::RawMetrics | BlockContent::RawSignals => BlockContent::Rollup1h,
        };
        let inner = MetricBlock::open_as(bytes, identity, content, name)?;
        Ok(RollupBlock { inner, window_ms: content.window_ms().unwrap_or_default() })
    }

    /// Gives it the keys of its tenant and content, as [`MetricBlock::unlock`] does.
    pub fn unlock(self, keys: Option<&dyn DataKeys>) -> Result<RollupBlock, BlockError> {
        Ok(RollupBlock { inner: self.inner.unlock(keys)?, ..self })
    }

    pub(crate) fn inner(&self) -> &MetricBlock {
        &self.inner
    }

    /// The key that it is sealed with; `None` where it is not.
    #[must_use]
    pub fn key(&self) -> Option<KeyId> {
        self.inner.key()
    }

    /// What the manifest should know of the block.
    #[must_use]
    pub fn meta(&self) -> &BlockMeta {
        self.inner.meta()
    }

    /// How many series there are.
    #[must_use]
    pub fn series_count(&self) -> u32 {
        self.inner.series_count()
    }

    /// The ordinals of the series that satisfy all matchers, as [`MetricBlock::find`] finds them.
    pub fn find(&self, matchers: &[Matcher]) -> Result<RoaringBitmap, BlockError> {
        self.inner.find(matchers)
    }

    /// The labels of a series.
    pub fn labels(&self, ordinal: u32) -> Result<LabelSet, BlockError> {
        self.inner.labels(ordinal)
    }

    /// The kind of a series.
    pub fn kind(&self, ordinal: u32) -> Result<SeriesKind, BlockError> {
        self.inner.kind(ordinal)
    }

    /// Appends the windows of a series that end in a range, in time order; names each damaged chunk, with the times that
    /// its windows cover.
    pub fn read_lossy(
        &self,
        ordinal: u32,
        range: TimeRange,
        into: &mut Vec<Rollup>,
        on_damage: &mut dyn FnMut(TimeRange, BlockError),
    ) {
        let chunks = match self.inner.chunks(ordinal) {
            Ok(chunks) => chunks,
            Err(error) => return on_damage(self.covers(self.meta().time), error),
        };
        with_scratch(|scratch| {
            for chunk in chunks.filter(|chunk| chunk.column.range().overlaps(range)) {
                let first = into.len();
                match self.inner.read_windows(&chunk, self.window_ms, scratch, into) {
                    Ok(()) => {
                        let read = into.get(first..).unwrap_or_default();
                        let from = read.partition_point(|window| window.end <= range.start.0);
                        let to = read.partition_point(|window| window.end <= range.end.0);
                        into.truncate(first + to);
                        into.drain(first..first + from.min(to));
                    }
                    Err(error) => on_damage(self.covers(chunk.column.range()), error),
                }
            }
        });
    }

    /// What [`RollupBlock::read_lossy`] takes: whole chunks of windows.
    pub fn plan(&self, ordinal: u32, range: TimeRange) -> Result<ReadPlan, BlockError> {
        let chunks = self.inner.chunks(ordinal)?.filter(|chunk| chunk.column.range().overlaps(range));
        Ok(chunks.fold(ReadPlan::default(), |plan, chunk| ReadPlan {
            windows: plan.windows + chunk.column.count as u64,
            bytes: plan.bytes + chunk.part.bytes as u64,
            ..plan
        }))
    }

    /// Appends what is left of a series of histograms in a range, as [`MetricBlock::read_histograms_lossy`] does.
    pub fn read_histograms_lossy(
        &self,
        ordinal: u32,
        range: TimeRange,
        into: &mut HistogramSamples,
        on_damage: &mut dyn FnMut(TimeRange, BlockError),
    ) {
        self.inner.read_histograms_lossy(ordinal, range, into, on_damage);
    }

    /// The stamps that windows cover which end in a range.
    #[must_use]
    pub fn covers(&self, ends: TimeRange) -> TimeRange {
        TimeRange::new(ends.start.saturating_add(1 - self.window_ms), ends.end)
    }

    /// Checks everything, as [`MetricBlock::verify`] does.
    #[must_use]
    pub fn verify(&self) -> Vec<Damage> {
        self.inner.verify()
    }

    /// The sections and their sizes, header and footer included.
    #[must_use]
    pub fn sections(&self) -> Vec<SectionInfo> {
        self.inner.sections()
    }

    /// What is kept in memory of its index, in bytes: nothing before it was first used.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        self.inner.index_bytes()
    }
}

impl MetricBlock {
    /// Appends a chunk's windows; on error, nothing.
    pub(crate) fn read_windows(
        &self,
        chunk: &Chunk<'_>,
        window_ms: i64,
        scratch: &mut Scratch,
        into: &mut Vec<Rollup>,
    ) -> Result<(), BlockError> {
        let Scratch { copy, decoding, columns, windows, .. } = scratch;
        let ends = self.stamps(chunk.column, copy, decoding, columns)?;
        self.container().copy_part(chunk.part, copy)?;
        let first = into.len();
        windows::decode(copy, ends, window_ms, (decoding, windows), into).ok_or_else(|| {
            into.truncate(first);
            let what = "it is not a chunk of rollups";
            self.container().corrupt(SectionKind::Values, Some(chunk.part.ordinal), what)
        })
    }
}
