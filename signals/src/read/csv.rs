//! Metric tables in CSV, in three shapes that their first line tells.
//!
//! | first line                        | shape                                                                  |
//! |-----------------------------------|------------------------------------------------------------------------|
//! | `timestamp,value`                 | one series, named by the caller                                        |
//! | `timestamp,<series>,<series>,…`   | one series per column                                                  |
//! | `series,<time>,<time>,…`          | one series per row: its first cell in PromQL notation                  |
//!
//! For `timestamp` also `time`, `date`, `datetime`, `ts`, in any case. A column that is not in PromQL notation becomes
//! the caller's metric with the label `column`. Empty cells are absent samples. Times are UTC where they say nothing
//! else: dates, RFC 3339, Unix times in any unit. Values are read exactly.
//!
//! Quotes are as in RFC 4180, but a record is one line: so a quote that is never closed costs a line, not the
//! rest of the file, and memory is bounded by the line cap. A row with another number of cells than the first line
//! is unreadable: the value that a cut-off file ends with may be half of one.

use std::borrow::Cow;

use annals_model::{METRIC_NAME, SeriesKind, Timestamp};

use super::names::number_of;
use super::{METRIC_LINE_BYTES_MAX, MetricLine, MetricReader, SampleSink, number, parse_series, stamp};

/// Every series is a gauge: the rule for tables, which tell nothing of kinds.
#[must_use]
pub fn gauges(_metric: &str) -> SeriesKind {
    SeriesKind::Gauge
}

/// The kind that a metric's name suggests by the conventions of Prometheus: `_total`, `_bucket`, `_count` and `_sum`
/// are counters. For tables that were captured from an exporter.
#[must_use]
pub fn kind_by_suffix(metric: &str) -> SeriesKind {
    let counts = ["_total", "_bucket", "_count", "_sum"].into_iter().any(|suffix| metric.ends_with(suffix));
    if counts { SeriesKind::Counter } else { SeriesKind::Gauge }
}

/// Reads a table.
#[derive(Debug)]
pub struct CsvMetrics {
    metric: String,
    kind_of: fn(&str) -> SeriesKind,
    shape: Shape,
}

/// A column of samples: its title, and the series that it stands for.
#[derive(Debug)]
struct Column {
    title: String,
    labels: Vec<(String, String)>,
}

#[derive(Debug)]
enum Shape {
    /// The first line has not come yet.
    Unknown,
    /// The first line was no header: nothing can be read.
    None,
    Columns(Vec<Column>),
    Rows(Vec<Timestamp>),
}

impl CsvMetrics {
    /// A reader that names a nameless series `metric`, and gives series the kinds that `kind_of` tells by their names
    /// ([`gauges`], [`kind_by_suffix`]).
    #[must_use]
    pub fn new(metric: &str, kind_of: fn(&str) -> SeriesKind) -> CsvMetrics {
        CsvMetrics { metric: metric.to_owned(), kind_of, shape: Shape::Unknown }
    }

    fn header(&self, cells: &[Cow<'_, str>]) -> Option<Shape> {
        let (first, rest) = cells.split_first()?;
        if rest.is_empty() {
            return None;
        }
        let first = first.trim().to_ascii_lowercase();
        if first == "series" {
            return Some(Shape::Rows(
                rest.iter().map(|cell| stamp::cell(cell.trim())).collect::<Option<_>>()?,
            ));
        }
        if !["timestamp", "time", "date", "datetime", "ts"].contains(&first.as_str()) {
            return None;
        }
        let own = || vec![(METRIC_NAME.to_owned(), self.metric.clone())];
        let title = |cell: &str| cell.trim().to_owned();
        if let [value] = rest
            && value.trim().eq_ignore_ascii_case("value")
        {
            return Some(Shape::Columns(vec![Column { title: title(value), labels: own() }]));
        }
        let column = |cell: &Cow<'_, str>| {
            let labels = match parse_series(cell.trim()) {
                Some(pairs) => {
                    pairs.into_iter().map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
                }
                None => own().into_iter().chain([("column".to_owned(), title(cell))]).collect(),
            };
            Column { title: title(cell), labels }
        };
        Some(Shape::Columns(rest.iter().map(column).collect()))
    }

    fn kind(&self, labels: &[(&str, &str)]) -> SeriesKind {
        (self.kind_of)(labels.first().map_or("", |&(_, metric)| metric))
    }

    /// How many samples the row gave: none before all of it was read.
    fn row(&self, cells: &[Cow<'_, str>], sink: &mut dyn SampleSink) -> Option<usize> {
        let (first, rest) = cells.split_first()?;
        let values: Vec<Option<f64>> = rest.iter().map(|cell| cell_value(cell)).collect::<Option<_>>()?;
        match &self.shape {
            Shape::Unknown | Shape::None => None,
            Shape::Columns(columns) => {
                let time = stamp::cell(first.trim())?;
                if columns.len() != values.len() {
                    return None;
                }
                for (Column { title, labels }, value) in columns.iter().zip(&values) {
                    if let Some(value) = value {
                        let labels: Vec<(&str, &str)> =
                            labels.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                        let series = number_of(sink, title.as_bytes(), &labels, self.kind(&labels));
                        sink.sample(series, Some(time), *value);
                    }
                }
                Some(values.iter().flatten().count())
            }
            Shape::Rows(times) => {
                let pairs = parse_series(first.trim())?;
                if times.len() != values.len() {
                    return None;
                }
                let labels: Vec<(&str, &str)> =
                    pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
                let series = number_of(sink, first.trim().as_bytes(), &labels, self.kind(&labels));
                for (time, value) in times.iter().zip(&values) {
                    if let Some(value) = value {
                        sink.sample(series, Some(*time), *value);
                    }
                }
                Some(values.iter().flatten().count())
            }
        }
    }
}

impl MetricReader for CsvMetrics {
    fn line(&mut self, line: &[u8], sink: &mut dyn SampleSink) -> MetricLine {
        if line.len() > METRIC_LINE_BYTES_MAX {
            return MetricLine::Unreadable;
        }
        let Ok(line) = std::str::from_utf8(line.trim_ascii()) else { return MetricLine::Unreadable };
        if line.is_empty() || line.starts_with('#') {
            return MetricLine::Skipped;
        }
        let Some(cells) = split(line) else { return MetricLine::Unreadable };
        if matches!(self.shape, Shape::Unknown) {
            self.shape = self.header(&cells).unwrap_or(Shape::None);
            let is_header = !matches!(self.shape, Shape::None);
            return if is_header { MetricLine::Skipped } else { MetricLine::Unreadable };
        }
        self.row(&cells, sink).map_or(MetricLine::Unreadable, MetricLine::Samples)
    }
}

/// A cell's value, `None` inside where it is empty.
fn cell_value(cell: &str) -> Option<Option<f64>> {
    match cell.trim() {
        "" => Some(None),
        text => number::value(text).map(Some),
    }
}

/// The cells of a line; `None` where its quotes are not closed or not followed by a comma.
fn split(line: &str) -> Option<Vec<Cow<'_, str>>> {
    let mut cells = Vec::new();
    let mut rest = line;
    loop {
        let after = match rest.strip_prefix('"') {
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (cell, after) = rest.split_at_checked(end)?;
                cells.push(Cow::Borrowed(cell));
                after
            }
            Some(inner) => {
                let end = closing_quote(inner)?;
                let (cell, after) = inner.split_at_checked(end)?;
                let has_quotes = cell.contains('"');
                cells.push(if has_quotes { cell.replace("\"\"", "\"").into() } else { cell.into() });
                after.get(1..)?
            }
        };
        if after.is_empty() {
            return Some(cells);
        }
        rest = after.strip_prefix(',')?;
    }
}

/// Where a quote stands that is not one of two.
fn closing_quote(text: &str) -> Option<usize> {
    let mut bytes = text.bytes().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        if byte == b'"' && bytes.next_if(|&(_, next)| next == b'"').is_none() {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::read_samples;
    use proptest::prelude::*;

    fn read(text: &str) -> (Vec<String>, Vec<u64>) {
        let mut reader = CsvMetrics::new("m", kind_by_suffix);
        let mut samples = Vec::new();
        let mut sink = |labels: &[(&str, &str)], kind: SeriesKind, time: Option<Timestamp>, value: f64| {
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            samples.push(format!(
                "{} {} {} {value:?}",
                labels.join(","),
                kind.name(),
                time.expect("given").0
            ));
        };
        let tally = read_samples(&mut reader, text.as_bytes(), &mut sink);
        (samples, vec![tally.lines, tally.read, tally.skipped, tally.unreadable])
    }

    #[test]
    fn all_three_shapes_are_read() {
        let (samples, counts) = read("timestamp,value\r\n2014-02-14 14:30:00,0.132\r\n1392388200,-1e-7\n");
        assert_eq!(samples, ["__name__=m gauge 1392388200000 0.132", "__name__=m gauge 1392388200000 -1e-7"]);
        assert_eq!(counts, [3, 2, 1, 0]);

        let (samples, counts) = read("Time,up,\"a_total{x=\"\"1,2\"\"}\",CPU %\n5,1,,3\n6,,,\n7,NaN, 4 ,\n");
        assert_eq!(
            samples,
            [
                "__name__=up gauge 5000 1.0",
                "__name__=m,column=CPU % gauge 5000 3.0",
                "__name__=up gauge 7000 NaN",
                "__name__=a_total,x=1,2 counter 7000 4.0",
            ]
        );
        assert_eq!(counts, [4, 4, 1, 0]);

        let (samples, counts) =
            read("series,1795301190243,1795301191243\n\"g{q=\"\"0\"\"}\",0,1.8617e-05\nc_sum,,7\n");
        assert_eq!(
            samples,
            [
                "__name__=g,q=0 gauge 1795301190243 0.0",
                "__name__=g,q=0 gauge 1795301191243 1.8617e-5",
                "__name__=c_sum counter 1795301191243 7.0",
            ]
        );
        assert_eq!(counts, [3, 3, 1, 0]);
    }

    #[test]
    fn a_bad_row_costs_itself_and_a_bad_header_the_file() {
        for (text, unreadable) in [
            ("timestamp,value\n1,x\n2\n3,1,1\nx,1\n\"5,1\n\"6\"x,1\n7,1", 6),
            ("timestamp,a,b\n1,1,x\n2,1\n3,1,1,1\n4,1,", 3),
            ("series,1,2\nup,1\nup,1,2,3\nup{,1,2\nup,1,x\nup,1,2", 4),
        ] {
            let (samples, counts) = read(text);
            assert_eq!(counts[3], unreadable, "{text}");
            assert!(!samples.is_empty(), "{text}");
        }
        for text in ["a,b\n1,2", "timestamp\n1", "series,x\nup,1", "series\nup", "1,2\n1,2", "\"\n1,2"] {
            let (samples, counts) = read(text);
            assert_eq!((samples.len(), counts[3]), (0, 2), "{text}");
        }
    }

    proptest! {
        #[test]
        fn values_come_back_bit_for_bit(bits in prop::collection::vec(any::<u64>(), 1..9)) {
            let numbers: Vec<f64> = bits.into_iter().map(f64::from_bits).filter(|number| !number.is_nan()).collect();
            let lines: Vec<String> = numbers.iter().map(|number| format!("1,{number}")).collect();
            let mut found = Vec::new();
            let mut sink = |_: &[(&str, &str)], _, _, value: f64| found.push(value.to_bits());
            let text = format!("timestamp,value\n{}", lines.join("\n"));
            read_samples(&mut CsvMetrics::new("m", gauges), text.as_bytes(), &mut sink);
            prop_assert_eq!(found, numbers.iter().map(|number| number.to_bits()).collect::<Vec<_>>());
        }

        #[test]
        fn no_table_panics(header in "(series|time)?[,1\"a]{0,9}", rows in "[,1\"a{}=\n]{0,40}") {
            let _ = read(&format!("{header}\n{rows}"));
        }
    }
}
