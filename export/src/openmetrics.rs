//! OpenMetrics text: a day of samples that are numbers, family by family.
//!
//! Counters keep their names whether or not these end with `_total`, as Prometheus reads them. The format has no type for
//! deltas: they are written as gauges, whose `sum_over_time` is what was counted. It cannot say that a series has ended, nor
//! of a series that it has no name: such samples are left out and counted.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::io::Write;

use annals::{LabelSet, METRIC_NAME, SeriesKind, is_stale};

use crate::error::ExportError;
use crate::output::Output;
use crate::sheet::{Rows, Sheet};
use crate::text::{Number, Seconds};

/// A file of OpenMetrics text.
pub(crate) struct OpenMetrics {
    output: Output,
    /// What was written last, so that it is announced once.
    family: Option<(String, SeriesKind)>,
    ended: u64,
    nameless: u64,
}

impl OpenMetrics {
    pub(crate) fn new(output: Output) -> OpenMetrics {
        OpenMetrics { output, family: None, ended: 0, nameless: 0 }
    }

    fn line(&mut self, line: fmt::Arguments<'_>) -> Result<(), ExportError> {
        let written = self.output.write_fmt(line);
        written.map_err(ExportError::io("write", self.output.draft()))
    }

    fn announce(&mut self, name: &str, kind: SeriesKind) -> Result<(), ExportError> {
        if self.family.as_ref().is_some_and(|(known, of)| known == name && *of == kind) {
            return Ok(());
        }
        let (family, word) = match kind {
            SeriesKind::Counter => (name.strip_suffix("_total").unwrap_or(name), "counter"),
            _ => (name, "gauge"),
        };
        if is_metric_name(family) {
            self.line(format_args!("# TYPE {family} {word}\n"))?;
        } else {
            self.line(format_args!("# TYPE {} {word}\n", Quoted(family)))?;
        }
        if kind == SeriesKind::Delta {
            self.line(format_args!(
                "# HELP {family} Each sample is what was counted since the one before.\n"
            ))?;
        }
        self.family = Some((name.to_owned(), kind));
        Ok(())
    }
}

impl Sheet for OpenMetrics {
    fn add(&mut self, rows: &Rows<'_>) -> Result<(), ExportError> {
        let Rows::Samples(series, samples) = rows else { return Ok(()) };
        let name = series.labels.metric_name();
        if name.is_empty() {
            self.nameless += samples.timestamps.len() as u64;
            return Ok(());
        }
        self.announce(name, series.kind)?;
        let written = selector(&series.labels);
        for (time, value) in samples.timestamps.iter().zip(&samples.values) {
            if is_stale(*value) {
                self.ended += 1;
            } else {
                self.line(format_args!("{written} {} {}\n", Number(*value), Seconds(*time)))?;
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(Output, BTreeMap<String, u64>), ExportError> {
        self.line(format_args!("# EOF\n"))?;
        let left_out = [("marks of a series' end", self.ended), ("samples without a metric", self.nameless)];
        let left_out = left_out.into_iter().filter(|(_, count)| *count > 0);
        Ok((self.output, left_out.map(|(what, count)| (what.to_owned(), count)).collect()))
    }
}

/// A series as it stands at the beginning of a line.
fn selector(labels: &LabelSet) -> String {
    let name = labels.metric_name();
    let is_plain = is_metric_name(name);
    let mut text = if is_plain { name.to_owned() } else { format!("{{{}", Quoted(name)) };
    let mut before = if is_plain { '{' } else { ',' };
    for (label, value) in labels.iter().filter(|(label, _)| *label != METRIC_NAME) {
        text.push(before);
        before = ',';
        match is_label_name(label) {
            true => text.push_str(label),
            false => text.push_str(&Quoted(label).to_string()),
        }
        text.push('=');
        text.push_str(&Quoted(value).to_string());
    }
    if before == ',' {
        text.push('}');
    }
    text
}

/// A text in quotes.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for part in self.0.split_inclusive(['\\', '"', '\n']) {
            match part.chars().next_back() {
                Some(last @ ('\\' | '"' | '\n')) => {
                    f.write_str(part.strip_suffix(last).unwrap_or_default())?;
                    f.write_str(match last {
                        '\\' => "\\\\",
                        '"' => "\\\"",
                        _ => "\\n",
                    })?;
                }
                _ => f.write_str(part)?,
            }
        }
        f.write_str("\"")
    }
}

fn is_metric_name(name: &str) -> bool {
    is_name(name, |c| c == '_' || c == ':')
}

fn is_label_name(name: &str) -> bool {
    is_name(name, |c| c == '_')
}

fn is_name(name: &str, other: impl Fn(char) -> bool) -> bool {
    let is_start = |c: char| c.is_ascii_alphabetic() || other(c);
    name.starts_with(is_start) && name.chars().all(|c| is_start(c) || c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_written_so_that_any_name_and_value_is_read_back() {
        let text =
            |pairs: &[(&str, &str)]| selector(&LabelSet::from_pairs(pairs.iter().copied()).expect("valid"));
        assert_eq!(text(&[("__name__", "up")]), "up");
        assert_eq!(text(&[("__name__", "up"), ("a", "x\\y\"z\nw")]), r#"up{a="x\\y\"z\nw"}"#);
        assert_eq!(text(&[("__name__", "c.d"), ("e-f", "ü")]), r#"{"c.d","e-f"="ü"}"#);
        assert_eq!(text(&[("__name__", "c.d")]), r#"{"c.d"}"#);
    }
}
