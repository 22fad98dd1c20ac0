//! Answers in Prometheus' text format, with timestamps: what `annals import --format openmetrics` and other stores read.
//!
//! Samples of one metric stand together, as the format asks. It has no place for native histograms, nor for series without a
//! metric's name: those are refused.

use std::io::Write;

use annals::query::promql::{Sample, Value};
use annals::{LabelSet, METRIC_NAME};

use super::answer::samples;
use super::{Screen, words};
use crate::error::CliError;

/// Writes it.
pub(super) fn write(screen: &mut Screen, value: &Value) -> Result<(), CliError> {
    if let Value::Scalar(..) | Value::String(_) = value {
        return Err(nameless());
    }
    let mut lines: Vec<_> = samples(value).collect();
    lines.sort_by(|a, b| a.0.metric_name().cmp(b.0.metric_name()));
    for (labels, time, sample) in lines {
        let Sample::Float(number) = sample else {
            return Err(CliError::usage("native histograms have no place in prom").help(
                "-o json and -o jsonl hold them; histogram_quantile() and the like make numbers of them",
            ));
        };
        if labels.metric_name().is_empty() {
            return Err(nameless());
        }
        writeln!(screen, "{} {} {}", selector(labels), words::value(number), time.0)?;
    }
    Ok(())
}

fn nameless() -> CliError {
    CliError::usage("a series without a metric's name cannot be written as prom")
        .help("give it one: label_replace(.., \"__name__\", \"a_name\", \"\", \"\")")
}

/// A series as it stands at the beginning of a line; names that are not plain are quoted.
fn selector(labels: &LabelSet) -> String {
    let name = labels.metric_name();
    let mut inner: Vec<String> = Vec::new();
    let is_plain = is_name(name, true);
    if !is_plain {
        inner.push(quoted(name));
    }
    for (label, value) in labels.iter().filter(|(label, _)| *label != METRIC_NAME) {
        let label = if is_name(label, false) { label.to_owned() } else { quoted(label) };
        inner.push(format!("{label}={}", quoted(value)));
    }
    let outer = if is_plain { name } else { "" };
    if inner.is_empty() { outer.to_owned() } else { format!("{outer}{{{}}}", inner.join(",")) }
}

fn is_name(name: &str, colon: bool) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_' || colon && c == ':';
    name.starts_with(letter) && name.chars().all(|c| letter(c) || c.is_ascii_digit())
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_not_plain_are_quoted() {
        let written =
            |pairs: &[(&str, &str)]| selector(&LabelSet::from_pairs(pairs.iter().copied()).expect("valid"));
        assert_eq!(written(&[("__name__", "up")]), "up");
        assert_eq!(written(&[("__name__", "a:b"), ("x", "1\"\\\n")]), r#"a:b{x="1\"\\\n"}"#);
        assert_eq!(
            written(&[("__name__", "http.requests"), ("k.8s", "1")]),
            r#"{"http.requests","k.8s"="1"}"#
        );
    }
}
