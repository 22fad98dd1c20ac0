//! Formats, and a day's files of one content in each of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals::schema::KindSchema;
use annals::{LabelSet, Rollup, Samples, SeriesKind, SignalRow};

use crate::error::ExportError;
use crate::json_lines::JsonLines;
use crate::manifest::{Content, FileEntry};
use crate::openmetrics::OpenMetrics;
use crate::output::{Destination, Output};
use crate::parquet::{HistogramTable, LabelColumns, SampleTable, SignalTable, WindowTable};
use crate::text;

/// The formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// Tables; all contents.
    Parquet,
    /// OpenMetrics text; samples that are numbers.
    OpenMetrics,
    /// A JSON object per line; all contents.
    JsonLines,
}

impl Format {
    /// What its files' names end with.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Format::Parquet => "parquet",
            Format::OpenMetrics => "om",
            Format::JsonLines => "jsonl",
        }
    }

    fn holds(self, content: Content) -> bool {
        self != Format::OpenMetrics || content == Content::Samples
    }
}

/// A series, as all of its rows have it.
pub(crate) struct Series {
    pub(crate) labels: LabelSet,
    pub(crate) kind: SeriesKind,
}

/// Rows of a series, or of signals.
pub(crate) enum Rows<'a> {
    Samples(&'a Series, &'a Samples),
    Histograms(&'a Series, &'a Samples),
    Windows(&'a Series, &'a [Rollup]),
    Signal(&'a Arc<KindSchema>, &'a SignalRow),
}

impl Rows<'_> {
    fn count(&self) -> u64 {
        match self {
            Rows::Samples(_, samples) | Rows::Histograms(_, samples) => samples.timestamps.len() as u64,
            Rows::Windows(_, windows) => windows.len() as u64,
            Rows::Signal(..) => 1,
        }
    }

    /// The first and the last stamp.
    fn ends(&self) -> Option<(i64, i64)> {
        match self {
            Rows::Samples(_, samples) | Rows::Histograms(_, samples) => {
                Some((*samples.timestamps.first()?, *samples.timestamps.last()?))
            }
            Rows::Windows(_, windows) => Some((windows.first()?.end, windows.last()?.end)),
            Rows::Signal(_, row) => Some((row.time.0, row.time.0)),
        }
    }
}

/// A file of one content in one format.
pub(crate) trait Sheet {
    /// Adds rows of its content.
    fn add(&mut self, rows: &Rows<'_>) -> Result<(), ExportError>;

    /// Writes what is still to be written. What it could not hold, by what that is.
    fn finish(self: Box<Self>) -> Result<(Output, BTreeMap<String, u64>), ExportError>;
}

/// What all tables of an export have in common.
pub(crate) struct Shape {
    pub(crate) labels: Arc<LabelColumns>,
    /// The schemas of each kind of signals.
    pub(crate) kinds: Vec<Arc<KindSchema>>,
}

/// A day's files of one content: made with their first row.
pub(crate) struct Sheets {
    content: Content,
    resolution: &'static str,
    /// Without what tells formats apart.
    stem: String,
    sheets: Option<Vec<Box<dyn Sheet>>>,
    rows: u64,
    ends: Option<(i64, i64)>,
}

impl Sheets {
    /// Files in a folder, of a day.
    pub(crate) fn new(content: Content, resolution: &'static str, folder: &str, date: &str) -> Sheets {
        let stem = format!("{folder}/{date}");
        Sheets { content, resolution, stem, sheets: None, rows: 0, ends: None }
    }

    /// Adds rows in all formats that can hold them.
    pub(crate) fn add(
        &mut self,
        rows: &Rows<'_>,
        formats: &[Format],
        shape: &Shape,
        destination: &mut Destination<'_>,
    ) -> Result<(), ExportError> {
        let Some((first, last)) = rows.ends() else { return Ok(()) };
        self.rows += rows.count();
        self.ends = Some(self.ends.map_or((first, last), |(from, to)| (from.min(first), to.max(last))));
        let sheets = match &mut self.sheets {
            Some(sheets) => sheets,
            None => {
                let mut made = Vec::new();
                for &format in formats.iter().filter(|format| format.holds(self.content)) {
                    let output = destination.create(&format!("{}.{}", self.stem, format.extension()))?;
                    made.push(sheet(format, rows, shape, output)?);
                }
                self.sheets.insert(made)
            }
        };
        sheets.iter_mut().try_for_each(|sheet| sheet.add(rows))
    }

    /// Ends the files, and says what they are; where there is none that could hold the rows, these are left out.
    pub(crate) fn finish(
        self,
        destination: &mut Destination<'_>,
        files: &mut Vec<FileEntry>,
        left_out: &mut BTreeMap<String, u64>,
    ) -> Result<(), ExportError> {
        let (Some(sheets), Some((from, to))) = (self.sheets, self.ends) else { return Ok(()) };
        if sheets.is_empty() {
            *left_out.entry(self.content.word().to_owned()).or_default() += self.rows;
        }
        for sheet in sheets {
            let (output, left_out) = sheet.finish()?;
            let whole = destination.finish(output)?;
            files.push(FileEntry {
                name: whole.name,
                content: self.content,
                resolution: self.resolution.to_owned(),
                bytes: whole.bytes,
                sha256: whole.sha256,
                rows: self.rows.saturating_sub(left_out.values().sum()),
                from: text::time(from),
                to: text::time(to),
                left_out,
            });
        }
        Ok(())
    }
}

fn sheet(
    format: Format,
    rows: &Rows<'_>,
    shape: &Shape,
    output: Output,
) -> Result<Box<dyn Sheet>, ExportError> {
    Ok(match (format, rows) {
        (Format::OpenMetrics, _) => Box::new(OpenMetrics::new(output)),
        (Format::JsonLines, _) => Box::new(JsonLines::new(output)),
        (Format::Parquet, Rows::Samples(..)) => Box::new(SampleTable::new(output, &shape.labels)?),
        (Format::Parquet, Rows::Histograms(..)) => Box::new(HistogramTable::new(output, &shape.labels)?),
        (Format::Parquet, Rows::Windows(..)) => Box::new(WindowTable::new(output, &shape.labels)?),
        (Format::Parquet, Rows::Signal(kind, _)) => {
            Box::new(SignalTable::new(output, &kind.name, &shape.kinds)?)
        }
    })
}
