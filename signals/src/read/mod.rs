//! Readers of real logs and metric files: pure functions of the lines handed to them.
//!
//! ```text
//!   bytes in chunks ──▶ LineSplitter ──▶ SignalReader ──▶ Line ──▶ Signal      access.rs, sshd.rs, json_signals.rs
//!                                   └──▶ MetricReader ──▶ SampleSink           openmetrics.rs, influx.rs, csv.rs, json_samples.rs
//! ```
//!
//! No file, no clock: years, zones, default times and names are arguments, and decompressing is the caller's. A line
//! is read whole or not at all, and what is wrong with one harms no other. A reader never repeats a line: callers
//! count, and name line numbers. Lines over the cap are unreadable, so memory is bounded whatever the file holds.
//!
//! ```
//! use annals_signals::read::{AccessLog, read_signals};
//!
//! let log = b"10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"GET /blog/a?q=secret HTTP/1.1\" 200 12\nnonsense\n";
//! let mut routes = Vec::new();
//! let tally = read_signals(&mut AccessLog::apache(), log, |signal| routes.push(signal.fields[2].clone()));
//! assert_eq!(routes, [("route".into(), "/blog/:rest".into())]);
//! assert_eq!((tally.read, tally.unreadable, tally.first_unreadable), (1, 1, Some(2)));
//! ```

mod access;
mod csv;
mod influx;
mod json_samples;
mod json_signals;
mod lines;
mod names;
mod number;
mod openmetrics;
mod route;
mod series;
mod sshd;
mod stamp;

use annals_model::{Refusal, SeriesKind, Signal, Timestamp};

pub use access::{AccessLog, TrailingDuration};
pub use csv::{CsvMetrics, gauges, kind_by_suffix};
pub use influx::{InfluxLines, Precision};
pub use json_samples::JsonSamples;
pub use json_signals::{JsonBatch, JsonFault, JsonSignals, json_batch};
pub use lines::LineSplitter;
pub use names::{EachSample, Names, SampleSink, by_itself};
pub use openmetrics::{Dialect, MetricsText};
pub use route::route;
pub use series::parse_series;
pub use sshd::SshdLog;

/// The longest line of a log.
pub const LOG_LINE_BYTES_MAX: usize = 64 * 1024;
/// The longest line of a metric file: a row may hold a day of one series.
pub const METRIC_LINE_BYTES_MAX: usize = 16 << 20;

/// What a log line says.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// One event.
    Signal(Signal),
    /// That many equal events.
    Repeated(Signal, u32),
    /// An event that the schema does not take as it is written.
    Refused(Refusal),
    /// Nothing that concerns Annals, knowingly.
    Skipped,
    /// Not a line of this log, or over [`LOG_LINE_BYTES_MAX`].
    Unreadable,
}

/// What became of a line of a metric file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricLine {
    /// That many samples were given to the sink.
    Samples(usize),
    /// A comment, a header, an empty line.
    Skipped,
    /// Not a line of this format, or over [`METRIC_LINE_BYTES_MAX`]; no sample of it was given to the sink.
    Unreadable,
}

/// Reads a log line by line, in file order.
pub trait SignalReader {
    /// What one line says; its line end may be there or not.
    fn line(&mut self, line: &[u8]) -> Line;
}

/// Reads a metric file line by line, in file order.
pub trait MetricReader {
    /// Gives the samples of one line to the sink; its line end may be there or not.
    fn line(&mut self, line: &[u8], sink: &mut dyn SampleSink) -> MetricLine;
}

/// What a file added up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Lines.
    pub lines: u64,
    /// Signals or samples read from them.
    pub read: u64,
    /// Lines knowingly skipped.
    pub skipped: u64,
    /// Lines that could not be read, or say what the schema does not take.
    pub unreadable: u64,
    /// The number of the first such line, from 1.
    pub first_unreadable: Option<u64>,
}

impl Tally {
    /// Counts the next line: what was read from it, or that it was skipped, or unreadable.
    fn count(&mut self, read: Option<u64>, skipped: bool) {
        self.lines += 1;
        match read {
            Some(read) => self.read += read,
            None if skipped => self.skipped += 1,
            None => {
                self.unreadable += 1;
                self.first_unreadable.get_or_insert(self.lines);
            }
        }
    }

    /// Counts a log line; the signal of a repeated one counts as often.
    pub fn count_line(&mut self, line: &Line) {
        let read = match line {
            Line::Signal(_) => Some(1),
            Line::Repeated(_, times) => Some(u64::from(*times)),
            Line::Refused(_) | Line::Skipped | Line::Unreadable => None,
        };
        self.count(read, *line == Line::Skipped);
    }

    /// Counts a line of a metric file.
    pub fn count_metric_line(&mut self, line: MetricLine) {
        let read = if let MetricLine::Samples(count) = line { Some(count as u64) } else { None };
        self.count(read, line == MetricLine::Skipped);
    }
}

/// Reads a whole log from memory; a repeated event is given that many times.
pub fn read_signals(reader: &mut dyn SignalReader, bytes: &[u8], mut each: impl FnMut(Signal)) -> Tally {
    let mut tally = Tally::default();
    let mut splitter = LineSplitter::new(LOG_LINE_BYTES_MAX);
    let mut one = |bytes: &[u8]| {
        let line = reader.line(bytes);
        tally.count_line(&line);
        match line {
            Line::Signal(signal) => each(signal),
            Line::Repeated(signal, times) => (0..times).for_each(|_| each(signal.clone())),
            Line::Refused(_) | Line::Skipped | Line::Unreadable => {}
        }
    };
    splitter.feed(bytes, &mut one);
    splitter.finish(&mut one);
    tally
}

/// Reads a whole metric file from memory; each sample is given with its series' labels.
pub fn read_samples(
    reader: &mut dyn MetricReader,
    bytes: &[u8],
    each: impl FnMut(&[(&str, &str)], SeriesKind, Option<Timestamp>, f64),
) -> Tally {
    read_into(reader, bytes, &mut EachSample::new(each))
}

/// Reads a whole metric file from memory into a sink.
pub fn read_into(reader: &mut dyn MetricReader, bytes: &[u8], sink: &mut dyn SampleSink) -> Tally {
    let mut tally = Tally::default();
    let mut splitter = LineSplitter::new(METRIC_LINE_BYTES_MAX);
    let mut one = |bytes: &[u8]| tally.count_metric_line(reader.line(bytes, sink));
    splitter.feed(bytes, &mut one);
    splitter.finish(&mut one);
    tally
}

#[cfg(test)]
mod tests;
