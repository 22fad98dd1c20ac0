//! Chunks: runs of lines that become one batch each, with an identity that another import finds again.
//!
//! A chunk ends at every line whose number is a multiple of 1,000, after a line that brings its records to 50,000, and
//! before a last line that has no line end (it may be half written). Where chunks end depends on what comes before
//! only, so a file that has grown has the same chunks as before, except that its last one may have become longer.
//!
//! A batch's id is the first 16 bytes of SHA-256 over these, each with its length in front:
//!
//! | what                                                            |
//! |-----------------------------------------------------------------|
//! | `annals import 1`                                               |
//! | format, site                                                    |
//! | options that change what a line means: year, metric, precision, time |
//! | SHA-256 of the file's first line                                |
//! | number of the chunk's first line, from 1, in eight bytes        |
//! | SHA-256 of the chunk's first line                               |

use std::collections::BTreeMap;

use annals::signals::read::{Line, MetricLine, Names, SampleSink};
use annals::{
    BatchId, LabelSet, RefusalReason, SampleBatch, SeriesKind, Signal, SignalBatch, SiteName, Timestamp,
};
use aws_lc_rs::digest::{Context, SHA256, digest};

use super::format::LineReader;
use super::summary::LineCounts;
use crate::error::CliError;

/// A chunk ends at line numbers that are multiples of this.
const CHUNK_LINES: u64 = 1_000;
/// And where it holds so many records: a row of a table may hold thousands.
const CHUNK_RECORDS: usize = 50_000;
/// What is kept of a chunk's lines, in bytes: a table's row may have millions.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// What is remembered of the names of a file's series.
const NAMES_BYTES_MAX: usize = 64 << 20;

/// What of a batch's id all chunks of a file share.
#[derive(Debug, Clone)]
pub(super) struct FileIdentity {
    format: &'static str,
    site: String,
    meaning: String,
    first_line: Vec<u8>,
}

impl FileIdentity {
    /// The identity of a file whose first line is still to come.
    pub(super) fn new(format: &'static str, site: &str, meaning: String) -> FileIdentity {
        FileIdentity { format, site: site.to_owned(), meaning, first_line: Vec::new() }
    }

    fn batch(&self, line: u64, content: &[u8]) -> BatchId {
        let mut context = Context::new(&SHA256);
        let mut feed = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_le_bytes());
            context.update(bytes);
        };
        feed(b"annals import 1");
        feed(self.format.as_bytes());
        feed(self.site.as_bytes());
        feed(self.meaning.as_bytes());
        feed(&self.first_line);
        feed(&line.to_le_bytes());
        feed(content);
        let mut id = [0; 16];
        id.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
        BatchId(id)
    }
}

/// What the lines of a chunk hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Records {
    signals: Vec<Signal>,
    series: Vec<(LabelSet, SeriesKind)>,
    samples: Vec<(u32, Timestamp, f64)>,
}

/// A line of a chunk: its identity, and how much the chunk holds up to it.
#[derive(Debug, Clone)]
struct Mark {
    content: Content,
    /// Records up to the line, included.
    records: usize,
    /// Series that are first named up to the line, included.
    series: usize,
}

/// What a line is known by: its SHA-256. Few lines are ever asked for it, so it is made where one is.
#[derive(Debug, Clone)]
enum Content {
    /// Where the line stands in the chunk's text.
    At(std::ops::Range<usize>),
    /// Of a line that the text has no room for.
    Hash([u8; 32]),
}

/// Lines that are written as one batch.
#[derive(Debug, Clone)]
pub(super) struct Chunk {
    file: FileIdentity,
    /// Number of the first line, from 1.
    first_line: u64,
    marks: Vec<Mark>,
    /// The lines, up to [`TEXT_BYTES_MAX`].
    text: Vec<u8>,
    records: Records,
    /// Finds a series' index again.
    index: BTreeMap<Vec<u8>, u32>,
}

/// A batch of either kind.
#[derive(Debug)]
pub(super) enum Batch {
    Signals(SignalBatch),
    Samples(SampleBatch),
}

impl Chunk {
    fn new(file: FileIdentity, first_line: u64) -> Chunk {
        Chunk {
            file,
            first_line,
            marks: Vec::new(),
            text: Vec::new(),
            records: Records::default(),
            index: BTreeMap::new(),
        }
    }

    /// How many lines it has.
    pub(super) fn lines(&self) -> u64 {
        self.marks.len() as u64
    }

    /// Its first and last line, by number.
    pub(super) fn line_numbers(&self) -> (u64, u64) {
        (self.first_line, (self.first_line + self.lines()).saturating_sub(1))
    }

    /// How many records it has.
    pub(super) fn records(&self) -> usize {
        self.records.signals.len() + self.records.samples.len()
    }

    /// The chunk as a batch, which takes its records until they are [put back](Chunk::put_back).
    pub(super) fn take_batch(&mut self, site: &SiteName) -> Batch {
        let id = self.id();
        let Records { signals, series, samples } = std::mem::take(&mut self.records);
        if samples.is_empty() {
            return Batch::Signals(SignalBatch { id, site: site.clone(), signals });
        }
        let mut batch = SampleBatch::new(id, site.clone());
        (batch.series, batch.samples) = (series, samples);
        Batch::Samples(batch)
    }

    /// Gives back what [`Chunk::take_batch`] took.
    pub(super) fn put_back(&mut self, batch: Batch) {
        match batch {
            Batch::Signals(batch) => self.records.signals = batch.signals,
            Batch::Samples(batch) => {
                (self.records.series, self.records.samples) = (batch.series, batch.samples);
            }
        }
    }

    fn id(&self) -> BatchId {
        let first = self.marks.first().map_or([0; 32], |mark| self.hash(mark));
        self.file.batch(self.first_line, &first)
    }

    /// SHA-256 of a line.
    fn hash(&self, mark: &Mark) -> [u8; 32] {
        match &mark.content {
            Content::At(range) => sha256(self.text.get(range.clone()).unwrap_or_default()),
            Content::Hash(hash) => *hash,
        }
    }

    fn content(&mut self, line: &[u8]) -> Content {
        let start = self.text.len();
        match start + line.len() <= TEXT_BYTES_MAX {
            true => {
                self.text.extend_from_slice(line);
                Content::At(start..self.text.len())
            }
            false => Content::Hash(sha256(line)),
        }
    }

    /// The first so many lines as a batch, exactly as a file would make it that ends there.
    pub(super) fn prefix(&self, lines: usize, site: &SiteName) -> Batch {
        let id = self.id();
        let (records, series) = match lines.checked_sub(1).and_then(|last| self.marks.get(last)) {
            Some(mark) => (mark.records, mark.series),
            None => (0, 0),
        };
        if self.records.samples.is_empty() {
            let signals = self.records.signals.get(..records).unwrap_or_default().to_vec();
            return Batch::Signals(SignalBatch { id, site: site.clone(), signals });
        }
        let mut batch = SampleBatch::new(id, site.clone());
        batch.series = self.records.series.get(..series).unwrap_or_default().to_vec();
        batch.samples = self.records.samples.get(..records).unwrap_or_default().to_vec();
        Batch::Samples(batch)
    }

    /// The lengths, ascending and shorter than the whole, at which a shorter file would have made another batch: of
    /// lines that add nothing only the first is one. Ascending, because beginnings cost what they hold: a file that is
    /// imported every minute is cut into many short pieces, and each is found at once.
    pub(super) fn shorter_lengths(&self) -> Vec<usize> {
        let whole = self.records();
        let mut lengths = Vec::new();
        let mut before = 0;
        for (index, mark) in self.marks.iter().enumerate() {
            if mark.records > before && mark.records < whole {
                lengths.push(index + 1);
            }
            before = mark.records;
        }
        lengths
    }

    /// What follows the first so many lines, as a chunk of its own.
    pub(super) fn after(&self, lines: usize) -> Chunk {
        let mut rest = Chunk::new(self.file.clone(), self.first_line + lines as u64);
        let start = lines.checked_sub(1).and_then(|last| self.marks.get(last)).map_or(0, |mark| mark.records);
        let mut done = start;
        for mark in self.marks.get(lines..).unwrap_or_default() {
            // Series are named anew, in the order in which the rest needs them.
            for signal in self.records.signals.get(done..mark.records).unwrap_or_default() {
                rest.records.signals.push(signal.clone());
            }
            for &(series, time, value) in self.records.samples.get(done..mark.records).unwrap_or_default() {
                if let Some((labels, kind)) = self.records.series.get(series as usize) {
                    let series = rest.series(labels, *kind);
                    rest.records.samples.push((series, time, value));
                }
            }
            done = mark.records;
            rest.end_line(Content::Hash(self.hash(mark)));
        }
        rest
    }

    /// The index of a series, which is added where it is not there.
    fn series(&mut self, labels: &LabelSet, kind: SeriesKind) -> u32 {
        let mut key = labels.as_bytes().to_vec();
        key.push(kind.tag());
        let next = u32::try_from(self.records.series.len()).unwrap_or(u32::MAX);
        let index = *self.index.entry(key).or_insert(next);
        if index == next {
            self.records.series.push((labels.clone(), kind));
        }
        index
    }

    fn end_line(&mut self, content: Content) {
        self.marks.push(Mark { content, records: self.records(), series: self.records.series.len() });
    }
}

/// Cuts a file's lines into chunks.
pub(super) struct Chunker {
    reader: LineReader,
    chunk: Chunk,
    line: u64,
    /// What lines were.
    pub(super) counts: LineCounts,
    series: FileSeries,
}

/// The series that a file's lines have named.
struct FileSeries {
    names: Names,
    /// By number.
    known: Vec<KnownSeries>,
    /// How many chunks came before this one.
    chunk: u64,
}

/// A series, or a part of names, which has no labels.
struct KnownSeries {
    /// `None` where no series may have them.
    labels: Option<LabelSet>,
    kind: SeriesKind,
    /// The last chunk that has it, and its index there.
    place: Option<(u64, u32)>,
}

/// Adds a line's samples to its chunk.
struct LineSink<'a> {
    file: &'a mut FileSeries,
    chunk: &'a mut Chunk,
    default_time: Option<Timestamp>,
    /// There is a sample without a time.
    timeless: bool,
    /// Samples of series that there can be none of.
    invalid: u64,
}

impl FileSeries {
    fn new() -> FileSeries {
        FileSeries { names: Names::new(0), known: Vec::new(), chunk: 0 }
    }

    /// Begins a chunk; a file may name any number of series, so what is known of them is forgotten now and then.
    fn begin_chunk(&mut self) {
        self.chunk += 1;
        if self.names.memory_bytes() > NAMES_BYTES_MAX {
            *self = FileSeries { chunk: self.chunk, ..FileSeries::new() };
        }
    }
}

impl SampleSink for LineSink<'_> {
    fn find(&mut self, within: u32, name: &[u8]) -> Option<u32> {
        self.file.names.find(within, name)
    }

    fn part(&mut self, within: u32, name: &[u8]) -> u32 {
        self.file.known.push(KnownSeries { labels: None, kind: SeriesKind::Gauge, place: None });
        self.file.names.insert(within, name)
    }

    fn series(&mut self, within: u32, name: &[u8], labels: &[(&str, &str)], kind: SeriesKind) -> u32 {
        let labels = LabelSet::from_pairs(labels.iter().copied()).ok();
        self.file.known.push(KnownSeries { labels, kind, place: None });
        self.file.names.insert(within, name)
    }

    fn sample(&mut self, series: u32, time: Option<Timestamp>, value: f64) {
        let Some(time) = time.or(self.default_time) else {
            self.timeless = true;
            return;
        };
        let Some(KnownSeries { labels: Some(labels), kind, place }) =
            self.file.known.get_mut(Names::position(series))
        else {
            self.invalid += 1;
            return;
        };
        let index = match *place {
            Some((chunk, index)) if chunk == self.file.chunk => index,
            _ => self.chunk.series(labels, *kind),
        };
        *place = Some((self.file.chunk, index));
        self.chunk.records.samples.push((index, time, value));
    }
}

impl Chunker {
    /// Starts a file.
    pub(super) fn new(reader: LineReader, identity: FileIdentity) -> Chunker {
        Chunker {
            reader,
            chunk: Chunk::new(identity, 1),
            line: 0,
            counts: LineCounts::default(),
            series: FileSeries::new(),
        }
    }

    /// The longest line that the format has.
    pub(super) fn line_bytes_max(&self) -> usize {
        self.reader.line_bytes_max()
    }

    /// Takes a line; `ended` where a line end followed it. Hands on the chunk that it completes.
    pub(super) fn line(
        &mut self,
        bytes: &[u8],
        ended: bool,
        each: &mut dyn FnMut(Chunk) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        self.line += 1;
        if self.line == 1 {
            self.chunk.file.first_line = sha256(bytes).to_vec();
        }
        if !ended {
            self.hand_on(self.line, each)?;
        }
        let content = self.chunk.content(bytes);
        self.read(bytes)?;
        self.chunk.end_line(content);
        if self.line.is_multiple_of(CHUNK_LINES) || self.chunk.records() >= CHUNK_RECORDS {
            self.hand_on(self.line + 1, each)?;
        }
        Ok(())
    }

    /// Hands on the last chunk.
    pub(super) fn finish(
        &mut self,
        each: &mut dyn FnMut(Chunk) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        self.hand_on(self.line + 1, each)
    }

    fn hand_on(
        &mut self,
        next_line: u64,
        each: &mut dyn FnMut(Chunk) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let mut next = Chunk::new(self.chunk.file.clone(), next_line);
        next.text.reserve(self.chunk.text.len());
        let chunk = std::mem::replace(&mut self.chunk, next);
        self.series.begin_chunk();
        if chunk.records() == 0 { Ok(()) } else { each(chunk) }
    }

    /// Adds what a line holds to the chunk.
    fn read(&mut self, bytes: &[u8]) -> Result<(), CliError> {
        self.counts.lines += 1;
        let (chunk, counts) = (&mut self.chunk, &mut self.counts);
        match &mut self.reader {
            LineReader::Signals { reader, .. } => match reader.line(bytes) {
                Line::Signal(signal) => chunk.records.signals.push(signal),
                Line::Repeated(signal, times) => {
                    counts.repeating += 1;
                    counts.repeated += u64::from(times);
                    chunk.records.signals.extend(std::iter::repeat_n(signal, times as usize));
                }
                Line::Refused(refusal) => counts.refuse(refusal.reason, 1),
                Line::Skipped => counts.skipped += 1,
                Line::Unreadable => counts.unreadable(self.line),
            },
            LineReader::Samples { reader, default_time, .. } => {
                let (file, default_time) = (&mut self.series, *default_time);
                let mut sink = LineSink { file, chunk, default_time, timeless: false, invalid: 0 };
                let read = reader.line(bytes, &mut sink);
                counts.refuse(RefusalReason::InvalidLabels, sink.invalid);
                if sink.timeless {
                    return Err(CliError::failed(format_args!("line {} carries no time", self.line))
                        .help("say with --at when it was measured; importing again with the same --at counts nothing twice"));
                }
                match read {
                    MetricLine::Samples(_) => {}
                    MetricLine::Skipped => counts.skipped += 1,
                    MetricLine::Unreadable => counts.unreadable(self.line),
                }
            }
        }
        Ok(())
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut content = [0; 32];
    content.iter_mut().zip(digest(&SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
    content
}
