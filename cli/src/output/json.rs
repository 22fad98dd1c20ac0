//! Answers as JSON: a line per sample, or the document of the Prometheus HTTP API.
//!
//! A sample per line: `{"labels":{..},"time":"2015-05-17T10:05:00Z","value":3}`; a value that JSON has no number
//! for is a string (`"NaN"`, `"+Inf"`, `"-Inf"`).

use std::io::{self, Write};

use annals::query::promql::{Answer, Sample, Series, Value};
use annals::{Bucket, Histogram, LabelSet, Timestamp};
use serde_json::{Map, json};

use super::answer::in_order;
use super::grid::json_number;
use super::words;

/// A line per sample. Millions of them are what people pipe into other programs, so that numbers are written in place.
pub(super) fn write_lines(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    match value {
        Value::Scalar(time, value) => writeln!(out, "{}", line("{}", *time, &Sample::Float(*value))),
        Value::String(text) => writeln!(out, "{}", json!({ "value": text })),
        Value::Vector(samples) => samples.iter().try_for_each(|(labels, time, value)| {
            writeln!(out, "{}", line(&label_object(labels).to_string(), *time, value))
        }),
        Value::Matrix(series) => {
            let mut stamps = words::Stamps::default();
            let mut text: Vec<u8> = Vec::with_capacity(256);
            for one in series {
                let labels = label_object(&one.labels).to_string();
                if !one.histograms.is_empty() {
                    for (time, value) in in_order(one) {
                        writeln!(out, "{}", line(&labels, time, &value))?;
                    }
                    continue;
                }
                text.clear();
                text.extend_from_slice(b"{\"labels\":");
                text.extend_from_slice(labels.as_bytes());
                text.extend_from_slice(b",\"time\":\"");
                let start = text.len();
                for &(time, value) in &one.points {
                    text.truncate(start);
                    stamps.write(time, &mut text);
                    text.extend_from_slice(b"\",\"value\":");
                    write_number(value, &mut text);
                    text.extend_from_slice(b"}\n");
                    out.write_all(&text)?;
                }
            }
            Ok(())
        }
    }
}

/// A value as [`json_number`] has it. Most are whole, and small enough to be written as such.
fn write_number(value: f64, text: &mut Vec<u8>) {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    if value.trunc() == value && value.abs() < EXACT_MAX && !(value == 0.0 && value.is_sign_negative()) {
        // Whole and below 2^53: the same digits, in a tenth of the time.
        let _ = write!(text, "{}", value as i64);
    } else {
        text.extend_from_slice(json_number(value).as_bytes());
    }
}

fn line(labels: &str, time: Timestamp, sample: &Sample) -> String {
    match sample {
        Sample::Float(value) => {
            format!(r#"{{"labels":{labels},"time":"{time}","value":{}}}"#, json_number(*value))
        }
        Sample::Histogram(own) => {
            format!(r#"{{"labels":{labels},"time":"{time}","histogram":{}}}"#, histogram(own))
        }
    }
}

/// A histogram as in the documents of the Prometheus HTTP API.
fn histogram(own: &Histogram) -> serde_json::Value {
    let number = |value: f64| words::value(value);
    let bucket = |bucket: Bucket| {
        let bounds = match (bucket.lower_inclusive, bucket.upper_inclusive) {
            (false, true) => 0,
            (true, false) => 1,
            (false, false) => 2,
            (true, true) => 3,
        };
        json!([bounds, number(bucket.lower), number(bucket.upper), number(bucket.count)])
    };
    let buckets: Vec<_> = own.buckets().filter(|bucket| bucket.count != 0.0).map(bucket).collect();
    let mut document = json!({ "count": number(own.count), "sum": number(own.sum) });
    if !buckets.is_empty() {
        document["buckets"] = buckets.into();
    }
    document
}

fn label_object(labels: &LabelSet) -> serde_json::Value {
    serde_json::Value::Object(
        labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<_, _>>(),
    )
}

/// The document of the Prometheus HTTP API.
pub(super) fn document(answer: &Answer) -> serde_json::Value {
    let point = |time: Timestamp, value: f64| json!([time.0 as f64 / 1000.0, words::value(value)]);
    let bucketed = |time: Timestamp, own: &Histogram| json!([time.0 as f64 / 1000.0, histogram(own)]);
    let (kind, result) = match &answer.value {
        Value::Scalar(time, value) => ("scalar", point(*time, *value)),
        Value::String(text) => ("string", json!([0, text])),
        Value::Vector(samples) => {
            let one = |(labels, time, sample): &(LabelSet, Timestamp, Sample)| match sample {
                Sample::Float(value) => {
                    json!({ "metric": label_object(labels), "value": point(*time, *value) })
                }
                Sample::Histogram(own) => {
                    json!({ "metric": label_object(labels), "histogram": bucketed(*time, own) })
                }
            };
            ("vector", samples.iter().map(one).collect())
        }
        Value::Matrix(series) => {
            let one = |series: &Series| {
                let points: Vec<_> = series.points.iter().map(|&(time, value)| point(time, value)).collect();
                let mut document = json!({ "metric": label_object(&series.labels) });
                if !points.is_empty() {
                    document["values"] = points.into();
                }
                if !series.histograms.is_empty() {
                    document["histograms"] =
                        series.histograms.iter().map(|(time, own)| bucketed(*time, own)).collect();
                }
                document
            };
            ("matrix", series.iter().map(one).collect())
        }
    };
    let mut document = json!({ "status": "success", "data": { "resultType": kind, "result": result } });
    for (name, notes) in [("warnings", &answer.warnings), ("infos", &answer.infos)] {
        if !notes.is_empty() {
            document[name] = notes.iter().map(|note| note.text.clone()).collect();
        }
    }
    document
}

#[cfg(test)]
mod tests {
    use super::super::answer::tests::matrix;
    use super::*;

    #[test]
    fn json_lines_name_what_json_has_no_number_for() {
        let mut out = Vec::new();
        write_lines(&mut out, &matrix()).expect("memory");
        let lines = String::from_utf8(out).expect("text");
        assert_eq!(
            lines.lines().nth(1),
            Some(r#"{"labels":{"__name__":"m","site":"a"},"time":"1970-01-01T00:02:00Z","value":"NaN"}"#)
        );
    }

    #[test]
    fn numbers_that_are_written_in_place_are_the_same_text() {
        for value in [
            0.0,
            -0.0,
            1.0,
            -7.0,
            0.5,
            1e15,
            9_007_199_254_740_993.0,
            1e21,
            -1e300,
            f64::MIN_POSITIVE,
            f64::NAN,
        ] {
            let mut text = Vec::new();
            write_number(value, &mut text);
            assert_eq!(String::from_utf8(text).expect("text"), json_number(value));
        }
    }

    #[test]
    fn the_document_is_that_of_the_prometheus_api() {
        let answer = Answer { value: matrix(), warnings: vec![], infos: vec![], coverage: vec![] };
        let document = document(&answer);
        assert_eq!(document["data"]["resultType"], "matrix");
        assert_eq!(document["data"]["result"][0]["values"][1], json!([120.0, "NaN"]));
    }
}
