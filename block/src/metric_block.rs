//! Reads a block of metric samples.
//!
//! Opening checks header and footer. Index sections are copied out, checked and parsed when first used, and
//! kept; chunks are copied out, checked and decoded each time, because a mapped page that was dropped is read
//! again from a disk that may have rotted since. Many threads read one block without locks.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use annals_model::{
    Aggregate, BlockContent, BlockMeta, DataKeys, HistogramSamples, KeyId, LabelSet, Matcher, Samples,
    SeriesKind, TimeRange, append_starts,
};
use annals_vfs::Sealed;
use roaring::RoaringBitmap;

use crate::codec::ints::Decoding;
use crate::codec::kernel::Level;
use crate::codec::values;
use crate::columns::{Column, Held, parse_columns};
use crate::container::{Container, Part, SectionKind};
use crate::error::{BlockError, BlockIdentity, CodecUse, Damage, Findings, SectionInfo};
use crate::labels::{LabelIndex, membership};
use crate::scratch::{Kept, Scratch, with_scratch};
use crate::series::{Chunk, SERIES_ENTRY_BYTES_MIN, SeriesTable};
use crate::symbols::Symbols;

/// An opened block of metric samples. Series are known by their ordinal, which counts them in label order.
#[derive(Debug)]
pub struct MetricBlock {
    container: Container,
    series_count: u32,
    labels: OnceLock<Box<LabelIndex>>,
    /// Set once the labels of all series were found to be valid.
    labels_checked: OnceLock<()>,
    series: OnceLock<Box<SeriesTable>>,
    pages: OnceLock<Vec<Part>>,
    /// Tells it from every other opened block of this process, for what threads keep of it.
    number: u64,
}

static OPENED: AtomicU64 = AtomicU64::new(0);

impl MetricBlock {
    /// Opens a block from its file's bytes; `name` is the file's, for errors.
    pub fn open(bytes: Sealed, identity: BlockIdentity, name: &str) -> Result<MetricBlock, BlockError> {
        MetricBlock::open_as(bytes, identity, BlockContent::RawMetrics, name)
    }

    /// The same of a block whose chunks hold what `content` says.
    pub(crate) fn open_as(
        bytes: Sealed,
        identity: BlockIdentity,
        content: BlockContent,
        name: &str,
    ) -> Result<MetricBlock, BlockError> {
        let container = Container::open(bytes, identity, content, name)?;
        // Before anything is sized by it: sets of series are built up to this number.
        let room = container.plain_bytes(SectionKind::Series)? / SERIES_ENTRY_BYTES_MIN;
        let series_count = u32::try_from(container.meta().series)
            .ok()
            .filter(|&count| u64::from(count) <= room)
            .ok_or_else(|| {
                container.corrupt(SectionKind::Series, None, "more series than its table has room for")
            })?;
        Ok(MetricBlock {
            container,
            series_count,
            labels: OnceLock::new(),
            labels_checked: OnceLock::new(),
            series: OnceLock::new(),
            pages: OnceLock::new(),
            number: OPENED.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// Gives it the keys of its tenant and content; none where the tenant's blocks are not sealed. Until then nothing of a
    /// sealed block can be read but what its footer says.
    pub fn unlock(self, keys: Option<&dyn DataKeys>) -> Result<MetricBlock, BlockError> {
        Ok(MetricBlock { container: self.container.unlock(keys)?, ..self })
    }

    /// The key that it is sealed with; `None` where it is not.
    #[must_use]
    pub fn key(&self) -> Option<KeyId> {
        self.container.key()
    }

    /// What the manifest should know of the block.
    #[must_use]
    pub fn meta(&self) -> &BlockMeta {
        self.container.meta()
    }

    /// How many series there are.
    #[must_use]
    pub fn series_count(&self) -> u32 {
        self.series_count
    }

    /// The ordinals of the series that satisfy all matchers; all series where there is none. Expressions run
    /// once per value of their label, not per series.
    pub fn find(&self, matchers: &[Matcher]) -> Result<RoaringBitmap, BlockError> {
        let found = self.label_index()?.find(matchers);
        found.map_err(|what| self.container.corrupt(SectionKind::Labels, None, what))
    }

    /// The labels of a series.
    pub fn labels(&self, ordinal: u32) -> Result<LabelSet, BlockError> {
        let index = self.label_index()?;
        let (_, pairs) = self.head(ordinal)?;
        let pairs: Option<Vec<(&str, &str)>> = pairs.iter().map(|&pair| index.pair(pair)).collect();
        let labels = pairs.and_then(|pairs| LabelSet::from_sorted(pairs.iter().copied()).ok());
        labels.ok_or_else(|| {
            let what = "the labels of a series are not valid";
            self.container.corrupt(SectionKind::Series, Some(u64::from(ordinal)), what)
        })
    }

    /// The kind of a series.
    pub fn kind(&self, ordinal: u32) -> Result<SeriesKind, BlockError> {
        self.series_table()?.kind(ordinal).ok_or_else(|| self.no_such(ordinal))
    }

    /// Whether the labels of these series can be read: what [`MetricBlock::labels`] would say of each, for less.
    pub fn check_labels(&self, ordinals: &RoaringBitmap) -> Result<(), BlockError> {
        if self.labels_checked.get().is_some() {
            return Ok(());
        }
        // Where most are asked for, all are looked at, so that it need not be done again.
        if ordinals.len() > u64::from(self.series_count / 16) && self.check_each(0..self.series_count).is_ok()
        {
            let _ = self.labels_checked.set(());
            return Ok(());
        }
        self.check_each(ordinals.iter())
    }

    fn check_each(&self, ordinals: impl Iterator<Item = u32>) -> Result<(), BlockError> {
        let (index, table) = (self.label_index()?, self.series_table()?);
        let mut pairs = Vec::new();
        for ordinal in ordinals {
            table.head_into(ordinal, &mut pairs).ok_or_else(|| self.no_such(ordinal))?;
            if !index.is_label_set(&pairs) {
                let what = "the labels of a series are not valid";
                return Err(self.container.corrupt(SectionKind::Series, Some(u64::from(ordinal)), what));
            }
        }
        Ok(())
    }

    /// Replaces `into` by the numbers of a series' labels, which stand for name and value within this block and order as
    /// they do.
    pub fn pair_numbers(&self, ordinal: u32, into: &mut Vec<u32>) -> Result<(), BlockError> {
        self.series_table()?.head_into(ordinal, into).map(|_| ()).ok_or_else(|| self.no_such(ordinal))
    }

    /// Name and value of a label by its number; `None` where there is none.
    pub fn pair(&self, number: u32) -> Result<Option<(&str, &str)>, BlockError> {
        Ok(self.label_index()?.pair(number))
    }

    /// The numbers of all labels of a name.
    pub fn pairs_named(&self, name: &str) -> Result<Range<u32>, BlockError> {
        Ok(self.label_index()?.pairs_named(name))
    }

    /// The names of all labels, ascending.
    pub fn label_names(&self) -> Result<Vec<&str>, BlockError> {
        Ok(self.label_index()?.names())
    }

    /// The values of a label, ascending.
    pub fn label_values(&self, name: &str) -> Result<Vec<&str>, BlockError> {
        Ok(self.label_index()?.values(name))
    }

    /// Appends the samples of a series of numbers in a range, in time order. Stops at the first damaged chunk, of which
    /// nothing is appended; what came before it stays.
    pub fn read(&self, ordinal: u32, range: TimeRange, into: &mut Samples) -> Result<(), BlockError> {
        with_scratch(|scratch| {
            self.chunks(ordinal)?
                .filter(|chunk| chunk.column.range().overlaps(range))
                .try_for_each(|chunk| self.read_chunk(&chunk, range, scratch, true, into))
        })
    }

    /// Appends what undamaged chunks hold of a series in a range; names each damaged one, with its times
    /// within the range.
    pub fn read_lossy(
        &self,
        ordinal: u32,
        range: TimeRange,
        into: &mut Samples,
        on_damage: &mut dyn FnMut(TimeRange, BlockError),
    ) {
        self.read_chunks(ordinal, range, true, into, on_damage);
    }

    /// The same without the timestamps, for a caller that has them.
    pub fn read_values_lossy(
        &self,
        ordinal: u32,
        range: TimeRange,
        into: &mut Samples,
        on_damage: &mut dyn FnMut(TimeRange, BlockError),
    ) {
        self.read_chunks(ordinal, range, false, into, on_damage);
    }

    fn read_chunks(
        &self,
        ordinal: u32,
        range: TimeRange,
        with_stamps: bool,
        into: &mut Samples,
        on_damage: &mut dyn FnMut(TimeRange, BlockError),
    ) {
        let chunks = match self.chunks(ordinal) {
            Ok(chunks) => chunks,
            Err(error) => return on_damage(self.meta().time.intersect(range), error),
        };
        with_scratch(|scratch| {
            for chunk in chunks.filter(|chunk| chunk.column.range().overlaps(range)) {
                if let Err(error) = self.read_chunk(&chunk, range, scratch, with_stamps, into) {
                    on_damage(chunk.column.range().intersect(range), error);
                }
            }
        });
    }

    /// How many samples reading a series in a range decodes: at least as many as there are, known without
    /// decoding.
    pub fn samples_in(&self, ordinal: u32, range: TimeRange) -> Result<u64, BlockError> {
        self.columns_in(ordinal, range, &mut |_| {})
    }

    /// The same; names the columns of timestamps that are read. Within a process, columns of the same name are the same.
    pub fn columns_in(
        &self,
        ordinal: u32,
        range: TimeRange,
        each: &mut dyn FnMut((u64, u64)),
    ) -> Result<u64, BlockError> {
        let mut samples = 0;
        for chunk in self.chunks(ordinal)?.filter(|chunk| chunk.column.range().overlaps(range)) {
            samples += chunk.column.count as u64;
            each((self.number, chunk.column.part.ordinal));
        }
        Ok(samples)
    }

    /// Checks everything: the whole file, every section, every chunk decoded, every series and posting. Without keys,
    /// the file and its sections.
    #[must_use]
    pub fn verify(&self) -> Vec<Damage> {
        let mut found = Findings::default();
        if self.container.is_locked() {
            return found.finish(self.container.verify());
        }
        let whole = Some(self.meta().time);
        let (labels_whole, postings) = match self.label_index().map(LabelIndex::verify) {
            Err(error) => {
                found.add(Damage::of(&error, whole));
                (false, None)
            }
            Ok(Err(what)) => {
                found.add(Damage::of(&self.container.corrupt(SectionKind::Labels, None, what), whole));
                (true, None)
            }
            Ok(Ok(postings)) => (true, Some(postings)),
        };
        match self.series_table() {
            Err(error) => found.add(Damage::of(&error, whole)),
            Ok(table) => {
                self.verify_series(table, labels_whole, &mut found);
                if postings.is_some_and(|postings| self.memberships(table) != Some(postings)) {
                    let what = "its postings are not those of the series";
                    found.add(Damage::of(&self.container.corrupt(SectionKind::Labels, None, what), whole));
                }
            }
        }
        found.finish(self.container.verify())
    }

    /// What [`LabelIndex::verify`] must give where the postings are those of the series.
    fn memberships(&self, table: &SeriesTable) -> Option<u64> {
        let mut sum = 0u64;
        for ordinal in 0..self.series_count {
            let (_, pairs) = table.head(ordinal)?;
            sum = pairs.iter().fold(sum, |sum, &pair| sum.wrapping_add(membership(pair, ordinal)));
        }
        Some(sum)
    }

    fn verify_series(&self, table: &SeriesTable, labels_whole: bool, found: &mut Findings) {
        let whole = Some(self.meta().time);
        let (mut samples, mut before) = (0u64, None);
        let window_ms = self.meta().id.content.window_ms();
        let (mut numbers, mut windows, mut timestamps) = (Samples::default(), Vec::new(), Vec::new());
        let mut histograms = HistogramSamples::default();
        for ordinal in 0..self.series_count {
            let mut digest = None;
            let kind = table.head(ordinal).map(|(kind, _)| kind);
            // Where no label can be read at all, that was said.
            match self.labels(ordinal) {
                Err(error) if labels_whole => found.add_for(ordinal, None, 0, Damage::of(&error, whole)),
                Err(_) => {}
                Ok(labels) => {
                    digest = Some(crc32fast::hash(labels.as_bytes()));
                    if before.as_ref().is_some_and(|before| labels <= *before) {
                        let what = "series are not in label order";
                        let error =
                            self.container.corrupt(SectionKind::Series, Some(u64::from(ordinal)), what);
                        found.add_for(ordinal, digest, 0, Damage::of(&error, whole));
                    }
                    before = Some(labels);
                }
            }
            for chunk in table.chunks(ordinal).into_iter().flatten() {
                let rows = chunk.column.count as u64;
                samples += rows;
                timestamps.clear();
                numbers.clear();
                windows.clear();
                histograms.clear();
                let range = chunk.column.range();
                let read = with_scratch(|scratch| match window_ms {
                    _ if kind.is_some_and(SeriesKind::is_histogram) => {
                        self.read_histogram_chunk(&chunk, range, scratch, &mut histograms)?;
                        timestamps.extend_from_slice(&histograms.timestamps);
                        Ok(())
                    }
                    None => {
                        self.read_chunk(&chunk, range, scratch, true, &mut numbers)?;
                        timestamps.extend_from_slice(&numbers.timestamps);
                        Ok(())
                    }
                    Some(window_ms) => {
                        self.read_windows(&chunk, window_ms, scratch, &mut windows)?;
                        timestamps.extend(windows.iter().map(|window| window.end));
                        Ok(())
                    }
                });
                let ascends = || timestamps.iter().zip(timestamps.iter().skip(1)).all(|(a, b)| a < b);
                let sound = match read {
                    Ok(()) if ascends() && timestamps.len() == chunk.column.count => match window_ms {
                        None => self.verify_aggregate(kind, &chunk, &numbers),
                        Some(_) => Ok(()),
                    },
                    Ok(()) => {
                        let part = chunk.column.part;
                        Err(self.container.corrupt(part.kind, Some(part.ordinal), "timestamps do not ascend"))
                    }
                    Err(error) => Err(error),
                };
                if let Err(error) = sound {
                    found.add_for(ordinal, digest, rows, Damage::of(&error, Some(range)));
                }
            }
        }
        if samples != self.meta().rows && found.is_empty() {
            let what = "not as many samples as the footer says";
            found.add(Damage::of(&self.container.corrupt(SectionKind::Series, None, what), whole));
        }
    }

    /// Whether a chunk's aggregate is what its samples come to.
    fn verify_aggregate(
        &self,
        kind: Option<SeriesKind>,
        chunk: &Chunk<'_>,
        samples: &Samples,
    ) -> Result<(), BlockError> {
        // Of a histogram there is none, and no value.
        let Some(kind) = kind else { return Ok(()) };
        let found = with_scratch(|scratch| self.aggregate(chunk, scratch))?;
        let Samples { timestamps, values, start_times, .. } = samples;
        if found != Aggregate::of(kind, timestamps, values, start_times) {
            let what = "an aggregate is not that of its chunk";
            return Err(self.container.corrupt(SectionKind::Aggregates, Some(chunk.part.ordinal), what));
        }
        Ok(())
    }

    /// The sections and their sizes, header and footer included.
    #[must_use]
    pub fn sections(&self) -> Vec<SectionInfo> {
        self.container.sections()
    }

    /// What is kept in memory of its index, in bytes: nothing before it was first used.
    #[must_use]
    pub fn index_bytes(&self) -> usize {
        let labels = self.labels.get().map_or(0, |index| index.bytes());
        let series = self.series.get().map_or(0, |table| table.bytes());
        labels + series + self.pages.get().map_or(0, |pages| size_of_val(pages.as_slice()))
    }

    /// How many distinct columns of timestamps there are.
    pub fn column_count(&self) -> Result<u64, BlockError> {
        Ok(self.series_table()?.columns().len() as u64)
    }

    /// How many chunks each codec holds, by name.
    pub fn codecs(&self) -> Result<Vec<CodecUse>, BlockError> {
        let mut uses: Vec<CodecUse> = Vec::new();
        for ordinal in 0..self.series_count {
            let is_histogram = self.kind(ordinal)?.is_histogram();
            for chunk in self.chunks(ordinal)? {
                let codec = with_scratch(|scratch| {
                    if is_histogram {
                        return Ok("histograms");
                    }
                    self.container.copy_part(chunk.part, &mut scratch.copy)?;
                    Ok(values::codec_name(&scratch.copy).unwrap_or("unknown"))
                })?;
                let at = match uses.binary_search_by(|entry| entry.codec.cmp(codec)) {
                    Ok(at) => at,
                    Err(at) => {
                        uses.insert(at, CodecUse { codec, chunks: 0, samples: 0, bytes: 0 });
                        at
                    }
                };
                if let Some(entry) = uses.get_mut(at) {
                    entry.chunks += 1;
                    entry.samples += chunk.column.count as u64;
                    entry.bytes += chunk.part.bytes as u64;
                }
            }
        }
        Ok(uses)
    }

    /// Appends a chunk's samples in a range; on error, nothing.
    pub(crate) fn read_chunk(
        &self,
        chunk: &Chunk<'_>,
        range: TimeRange,
        scratch: &mut Scratch,
        with_stamps: bool,
        into: &mut Samples,
    ) -> Result<(), BlockError> {
        let Scratch { copy, decoding, columns, starts, .. } = scratch;
        let column = chunk.column;
        let stamps = self.stamps(column, copy, decoding, columns)?;
        let positions: Range<usize> = stamps.partition_point(|&stamp| stamp <= range.start.0)
            ..stamps.partition_point(|&stamp| stamp <= range.end.0);
        let taken = stamps.get(positions.clone()).unwrap_or_default();
        if taken.is_empty() {
            return Ok(());
        }
        let starts = self.starts(chunk, copy, decoding, starts)?.get(positions.clone()).unwrap_or_default();
        self.container.copy_part(chunk.part, copy)?;
        let before = into.values.len();
        values::decode(copy, column.count, Level::widest(), decoding, positions, &mut into.values)
            .ok_or_else(|| {
                let what = "it is not a chunk of values";
                self.container.corrupt(SectionKind::Values, Some(chunk.part.ordinal), what)
            })?;
        append_starts(&mut into.start_times, before, taken.len(), starts);
        if with_stamps {
            into.timestamps.extend_from_slice(taken);
        }
        Ok(())
    }

    /// The start times of a chunk, as [`MetricBlock::stamps`] gives a column; none where none is known.
    pub(crate) fn starts<'k>(
        &self,
        chunk: &Chunk<'_>,
        copy: &mut Vec<u8>,
        decoding: &mut Decoding,
        kept: &'k mut Kept<Vec<i64>>,
    ) -> Result<&'k [i64], BlockError> {
        match &chunk.starts {
            None => Ok(&[]),
            Some(column) => self.stamps(column, copy, decoding, kept),
        }
    }

    /// The stamps of a column, checked and decoded, or as they were kept.
    pub(crate) fn stamps<'k>(
        &self,
        column: &Column,
        copy: &mut Vec<u8>,
        decoding: &mut Decoding,
        kept: &'k mut Kept<Vec<i64>>,
    ) -> Result<&'k [i64], BlockError> {
        let stamps = kept.get((self.number, column.part.ordinal), |stamps| {
            self.container.copy_part(column.part, copy)?;
            let corrupt = |what| self.container.corrupt(column.part.kind, Some(column.part.ordinal), what);
            column.decode(copy, decoding, stamps).map_err(corrupt)
        })?;
        Ok(stamps.map_or(&[], Vec::as_slice))
    }

    fn head(&self, ordinal: u32) -> Result<(SeriesKind, Vec<u32>), BlockError> {
        self.series_table()?.head(ordinal).ok_or_else(|| self.no_such(ordinal))
    }

    pub(crate) fn chunks(&self, ordinal: u32) -> Result<impl Iterator<Item = Chunk<'_>>, BlockError> {
        self.series_table()?.chunks(ordinal).ok_or_else(|| self.no_such(ordinal))
    }

    pub(crate) fn chunk_count(&self) -> Result<usize, BlockError> {
        self.series_table().map(SeriesTable::chunk_count)
    }

    pub(crate) fn container(&self) -> &Container {
        &self.container
    }

    pub(crate) fn pages(&self) -> &OnceLock<Vec<Part>> {
        &self.pages
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    fn no_such(&self, ordinal: u32) -> BlockError {
        if ordinal < self.series_count {
            let what = "a series cannot be read";
            return self.container.corrupt(SectionKind::Series, Some(u64::from(ordinal)), what);
        }
        BlockError::NoSuchSeries { name: self.container.name().clone(), ordinal, count: self.series_count }
    }

    fn label_index(&self) -> Result<&LabelIndex, BlockError> {
        if let Some(index) = self.labels.get() {
            return Ok(index);
        }
        let symbols = Symbols::parse(
            &self.container.section(SectionKind::Symbols)?,
            self.container.unfolded_bytes_max(),
        )
        .map_err(|what| self.container.corrupt(SectionKind::Symbols, None, what))?;
        let bytes = self.container.section(SectionKind::Labels)?;
        let index = LabelIndex::parse(bytes, symbols, self.series_count)
            .map_err(|what| self.container.corrupt(SectionKind::Labels, None, what))?;
        // Another thread may have been faster; either result is the same.
        Ok(self.labels.get_or_init(|| Box::new(index)))
    }

    fn series_table(&self) -> Result<&SeriesTable, BlockError> {
        if let Some(table) = self.series.get() {
            return Ok(table);
        }
        let container = &self.container;
        let day = container.meta().id.day;
        let stamps_bytes = container.section_bytes(SectionKind::Stamps)?;
        let columns =
            parse_columns(&container.section(SectionKind::Columns)?, Held::Stamps(day), stamps_bytes)
                .map_err(|what| container.corrupt(SectionKind::Columns, None, what))?;
        let starts = match container.has(SectionKind::Begun) {
            false => Vec::new(),
            true => {
                let starts_bytes = container.section_bytes(SectionKind::Starts)?;
                parse_columns(&container.section(SectionKind::Begun)?, Held::Starts, starts_bytes)
                    .map_err(|what| container.corrupt(SectionKind::Begun, None, what))?
            }
        };
        let bytes = container.section(SectionKind::Series)?;
        let checks = container.section(SectionKind::Checks)?;
        let values_bytes = container.section_bytes(SectionKind::Values)?;
        let content = container.meta().id.content;
        let corrupt = |what| container.corrupt(SectionKind::Series, None, what);
        let columns = (columns, starts);
        let table = SeriesTable::parse(bytes, content, checks, columns, values_bytes).map_err(corrupt)?;
        if table.len() as u64 != container.meta().series {
            return Err(corrupt("not as many series as the footer says"));
        }
        Ok(self.series.get_or_init(|| Box::new(table)))
    }
}
