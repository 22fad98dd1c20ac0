//! The formats: their names, how one is guessed, and the reader of each.

use annals::signals::read::{
    AccessLog, CsvMetrics, Dialect, EachSample, InfluxLines, JsonSamples, JsonSignals, LOG_LINE_BYTES_MAX,
    Line, METRIC_LINE_BYTES_MAX, MetricLine, MetricReader, MetricsText, Precision as InfluxPrecision,
    SignalReader, SshdLog, gauges, kind_by_suffix,
};
use annals::{SeriesKind, SignalValue, Timestamp};
use jiff::tz::TimeZone;

use crate::args::{Format, ImportArgs, Precision};
use crate::error::CliError;

/// Lines that a format is guessed from.
const GUESS_LINES: usize = 40;

/// Reads the lines of one file.
pub(super) enum LineReader {
    Signals { reader: Box<dyn SignalReader>, meaning: String },
    Samples { reader: Box<dyn MetricReader>, default_time: Option<Timestamp>, meaning: String },
}

/// The name of a format, as on the command line.
pub(super) fn name(format: Format) -> &'static str {
    match format {
        Format::Apache => "apache",
        Format::Nginx => "nginx",
        Format::Sshd => "sshd",
        Format::Openmetrics => "openmetrics",
        Format::Csv => "csv",
        Format::Influx => "influx",
        Format::Jsonl => "jsonl",
        Format::Signals => "signals",
    }
}

impl LineReader {
    /// A reader of a file that starts with `start` and, where that is known, ends with `end`.
    pub(super) fn new(
        format: Format,
        args: &ImportArgs,
        now: Timestamp,
        start: &[u8],
        end: Option<&[u8]>,
    ) -> Result<LineReader, CliError> {
        let default_time = args.at.map(|at| at.resolve(now, &TimeZone::UTC));
        let at = default_time.map_or(String::new(), |at| format!("at {}", at.0));
        Ok(match format {
            Format::Apache => LineReader::signals(AccessLog::apache(), String::new()),
            Format::Nginx => LineReader::signals(AccessLog::nginx(), String::new()),
            Format::Sshd => {
                let year = match args.year {
                    Some(year) => year,
                    None => year_of(now, start)?,
                };
                LineReader::signals(SshdLog::new(year, TimeZone::UTC), format!("year {year}"))
            }
            Format::Openmetrics => {
                let reader = MetricsText::new(dialect(start, end), None);
                LineReader::Samples { reader: Box::new(reader), default_time, meaning: at }
            }
            Format::Influx => {
                let (precision, unit) = match args.precision {
                    Precision::Ns => (InfluxPrecision::Nanoseconds, "ns"),
                    Precision::Us => (InfluxPrecision::Microseconds, "us"),
                    Precision::Ms => (InfluxPrecision::Milliseconds, "ms"),
                    Precision::S => (InfluxPrecision::Seconds, "s"),
                };
                let reader = InfluxLines::new(precision, None);
                let meaning = format!("precision {unit} {at}");
                LineReader::Samples { reader: Box::new(reader), default_time, meaning }
            }
            Format::Jsonl => {
                let reader = Box::new(JsonSamples);
                LineReader::Samples { reader, default_time: None, meaning: String::new() }
            }
            Format::Signals => {
                LineReader::signals(JsonSignals::new(annals::signals::builtin()), String::new())
            }
            Format::Csv => {
                let header = first_line(start).to_ascii_lowercase();
                let by_rows = header.starts_with("series,");
                let nameless = header.split(',').nth(1).is_some_and(|column| column.trim() == "value");
                if args.metric.is_none() && nameless {
                    return Err(CliError::usage("the table has a column `value` and no name for it")
                        .help("name its metric with --metric, as in --metric cpu_percent"));
                }
                let metric = args.metric.as_deref().unwrap_or("value");
                // Rows of series are what exporters were asked for, and their names tell counters.
                let kind_of: fn(&str) -> SeriesKind = if by_rows { kind_by_suffix } else { gauges };
                let reader = CsvMetrics::new(metric, kind_of);
                let meaning = format!("metric {metric}");
                LineReader::Samples { reader: Box::new(reader), default_time: None, meaning }
            }
        })
    }

    fn signals(reader: impl SignalReader + 'static, meaning: String) -> LineReader {
        LineReader::Signals { reader: Box::new(reader), meaning }
    }

    /// The options that change what a line means: part of the identity of what is read.
    pub(super) fn meaning(&self) -> String {
        match self {
            LineReader::Signals { meaning, .. } | LineReader::Samples { meaning, .. } => meaning.clone(),
        }
    }

    /// The longest line that the format has.
    pub(super) fn line_bytes_max(&self) -> usize {
        match self {
            LineReader::Signals { .. } => LOG_LINE_BYTES_MAX,
            LineReader::Samples { .. } => METRIC_LINE_BYTES_MAX,
        }
    }
}

/// This year, where lines that carry none need one.
fn year_of(now: Timestamp, start: &[u8]) -> Result<i16, CliError> {
    let instant = jiff::Timestamp::from_millisecond(now.0).map_err(CliError::failed)?;
    let year = TimeZone::UTC.to_datetime(instant).year();
    if first_line(start).starts_with(|first: char| first.is_ascii_alphabetic()) {
        eprintln!("note: its lines carry no year and are taken for {year}; another with --year");
    }
    Ok(year)
}

/// Which dialect of the text format: the file's end tells; of a pipe, the size of its times does.
fn dialect(start: &[u8], end: Option<&[u8]>) -> Dialect {
    if let Some(end) = end {
        return Dialect::detect(end);
    }
    if Dialect::detect(start) == Dialect::OpenMetrics {
        return Dialect::OpenMetrics;
    }
    let text = String::from_utf8_lossy(start);
    let in_seconds = text.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
        let after = line.rsplit_once('}').map_or(line, |(_, after)| after);
        let time: f64 =
            after.split_ascii_whitespace().nth(if line.contains('}') { 1 } else { 2 })?.parse().ok()?;
        Some(time.abs() < 1e11)
    });
    if in_seconds == Some(true) { Dialect::OpenMetrics } else { Dialect::Prometheus }
}

fn first_line(start: &[u8]) -> String {
    let line = start.split(|&byte| byte == b'\n').next().unwrap_or_default();
    String::from_utf8_lossy(line).trim_start_matches('\u{feff}').trim().to_owned()
}

/// The format whose reader understands the first lines best, where one understands most of them; else the one that
/// understands any, how many, and of how many.
pub(super) fn guess(start: &[u8]) -> Result<Format, Option<(Format, usize, usize)>> {
    let mut lines: Vec<&[u8]> = start.split(|&byte| byte == b'\n').collect();
    // The last one may be cut.
    if lines.len() > 1 {
        lines.pop();
    }
    lines.retain(|line| !line.trim_ascii().is_empty());
    lines.truncate(GUESS_LINES);
    let mut best: Option<(usize, Format)> = None;
    for format in [
        Format::Apache,
        Format::Sshd,
        // Before signals: a series may state its kind as well.
        Format::Jsonl,
        Format::Signals,
        Format::Csv,
        Format::Openmetrics,
        Format::Influx,
    ] {
        let understood = understood(format, &lines);
        if understood > best.map_or(0, |(most, _)| most) {
            best = Some((understood, format));
        }
    }
    let (understood, format) = best.ok_or(None)?;
    if understood * 2 <= lines.len() {
        return Err(Some((format, understood, lines.len())));
    }
    Ok(if format == Format::Apache && has_durations(&lines) { Format::Nginx } else { format })
}

/// How many lines a format's reader understands; none where it finds nothing to count in any.
fn understood(format: Format, lines: &[&[u8]]) -> usize {
    let mut nothing = EachSample::new(|_: &[(&str, &str)], _: SeriesKind, _: Option<Timestamp>, _: f64| {});
    let signals = |reader: &mut dyn SignalReader| {
        let read = |line: &&&[u8]| matches!(reader.line(line), Line::Signal(_) | Line::Refused(_));
        lines.iter().filter(read).count()
    };
    let mut metrics = |reader: &mut dyn MetricReader| {
        let read: Vec<MetricLine> = lines.iter().map(|line| reader.line(line, &mut nothing)).collect();
        match read.iter().any(|line| matches!(line, MetricLine::Samples(_))) {
            true => read.iter().filter(|line| **line != MetricLine::Unreadable).count(),
            false => 0,
        }
    };
    match format {
        Format::Apache | Format::Nginx => signals(&mut AccessLog::apache()),
        Format::Signals => signals(&mut JsonSignals::new(annals::signals::builtin())),
        Format::Sshd => {
            let mut reader = SshdLog::new(2000, TimeZone::UTC);
            let is_of_sshd = lines.iter().any(|line| String::from_utf8_lossy(line).contains(" sshd"));
            let readable = lines.iter().filter(|line| reader.line(line) != Line::Unreadable).count();
            if is_of_sshd { readable } else { 0 }
        }
        Format::Jsonl => metrics(&mut JsonSamples),
        Format::Csv => metrics(&mut CsvMetrics::new("value", gauges)),
        Format::Openmetrics => metrics(&mut MetricsText::new(Dialect::Prometheus, Some(Timestamp(0)))),
        Format::Influx => metrics(&mut InfluxLines::new(InfluxPrecision::Nanoseconds, Some(Timestamp(0)))),
    }
}

/// Whether access log lines end with the time that nginx took.
fn has_durations(lines: &[&[u8]]) -> bool {
    let mut reader = AccessLog::nginx();
    lines.iter().any(|line| match reader.line(line) {
        Line::Signal(signal) => signal
            .fields
            .iter()
            .any(|(name, value)| &**name == "duration" && matches!(value, SignalValue::Integer(_))),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_lines() {
        let access = b"10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"GET / HTTP/1.1\" 200 12 \"-\" \"x\"";
        let guessed = |text: &[u8]| guess(&[text, b"\n"].concat());
        assert_eq!(guessed(access), Ok(Format::Apache));
        assert_eq!(guessed(&[&access[..], b" 0.012"].concat()), Ok(Format::Nginx));
        assert_eq!(
            guessed(b"Mar 27 13:06:56 host sshd[1291]: Server listening on :: port 22."),
            Ok(Format::Sshd)
        );
        assert_eq!(guessed(b"timestamp,value\n2014-02-14 14:30:00,0.132"), Ok(Format::Csv));
        assert_eq!(guessed(b"# TYPE up gauge\nup{job=\"a\"} 1"), Ok(Format::Openmetrics));
        assert_eq!(guessed(b"cpu,host=a usage=0.5,idle=3i 1700000000000000000"), Ok(Format::Influx));
        assert_eq!(
            guessed(b"{\"metric\":{\"__name__\":\"m\"},\"values\":[1],\"timestamps\":[1]}"),
            Ok(Format::Jsonl)
        );
        assert_eq!(
            guessed(
                b"{\"metric\":{\"__name__\":\"m\"},\"kind\":\"delta\",\"values\":[1],\"timestamps\":[1]}"
            ),
            Ok(Format::Jsonl)
        );
        assert_eq!(guessed(b"{\"kind\":\"mail.sent\",\"timestamp\":1}"), Ok(Format::Signals));
        assert_eq!(guessed(b"{\"a\":1}"), Err(None));
        assert_eq!(guessed(b"Dear reader,\nthis is a letter."), Err(None));
        assert_eq!(guess(b""), Err(None));
        assert_eq!(guessed(&[b"one\ntwo\n", &access[..]].concat()), Err(Some((Format::Apache, 1, 3))));
    }

    #[test]
    fn the_dialect_of_a_pipe_is_told_by_its_times() {
        assert_eq!(dialect(b"up 1 1700000000.5\nup 1 17", None), Dialect::OpenMetrics);
        assert_eq!(dialect(b"up{a=\"b c\"} 1 1700000000500\n", None), Dialect::Prometheus);
        assert_eq!(dialect(b"up 1\n", None), Dialect::Prometheus);
        assert_eq!(dialect(b"up 1\n", Some(b"up 2\n# EOF\n")), Dialect::OpenMetrics);
    }
}
