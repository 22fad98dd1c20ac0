//! What queries return, in every form.
//!
//! A sample per line: `{"labels":{..},"time":"2015-05-17T10:05:00Z","value":3}`; a value that JSON has no number
//! for is a string (`"NaN"`, `"+Inf"`, `"-Inf"`). `json` is the document that the Prometheus HTTP API returns.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use annals::query::promql::{Answer, Sample, Series, Value};
use annals::{Bucket, Histogram, LabelSet, METRIC_NAME, TimeRange, Timestamp};
use serde_json::{Map, json};

use super::grid::json_number;
use super::{AnswerForm, Cell, Grid, ListForm, Screen, bars, lines};

/// Wider answers are printed one sample per row.
const PIVOT_SERIES_MAX: usize = 8;

/// Writes an answer. `range` is what was asked for, for the axis of a chart.
pub(crate) fn write(
    screen: &mut Screen,
    answer: &Answer,
    form: AnswerForm,
    range: TimeRange,
) -> io::Result<()> {
    match form {
        AnswerForm::Json => writeln!(screen, "{}", document(answer)),
        AnswerForm::Jsonl => write_json_lines(screen, &answer.value),
        AnswerForm::Chart => write_chart(screen, &answer.value, range),
        AnswerForm::Csv => screen.list(&long(&answer.value), Some(ListForm::Csv)),
        AnswerForm::Table => screen.list(&wide(&answer.value), Some(ListForm::Table)),
        AnswerForm::Markdown => screen.list(&wide(&answer.value), Some(ListForm::Markdown)),
    }
}

/// Whether an answer holds no sample.
pub(crate) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Scalar(..) | Value::String(_) => false,
        Value::Vector(samples) => samples.is_empty(),
        Value::Matrix(series) => series.is_empty(),
    }
}

/// Every sample of an answer, with its labels.
fn samples(value: &Value) -> Box<dyn Iterator<Item = (&LabelSet, Timestamp, Sample)> + '_> {
    match value {
        Value::Scalar(..) | Value::String(_) => Box::new(std::iter::empty()),
        Value::Vector(samples) => {
            Box::new(samples.iter().map(|(labels, time, value)| (labels, *time, value.clone())))
        }
        Value::Matrix(series) => Box::new(
            series.iter().flat_map(|one| in_order(one).map(|(time, value)| (&one.labels, time, value))),
        ),
    }
}

/// The samples of a series by time, numbers and histograms together.
fn in_order(series: &Series) -> impl Iterator<Item = (Timestamp, Sample)> {
    let floats = series.points.iter().map(|&(time, value)| (time, Sample::Float(value)));
    let histograms = series.histograms.iter().map(|(time, own)| (*time, Sample::Histogram(Arc::clone(own))));
    let mut all: Vec<_> = floats.chain(histograms).collect();
    all.sort_by_key(|(time, _)| *time);
    all.into_iter()
}

/// A sample in a listing; a histogram is shown as Prometheus writes it.
fn cell(sample: &Sample) -> Cell {
    match sample {
        Sample::Float(value) => Cell::Value(*value),
        Sample::Histogram(own) => Cell::text(own.to_string()),
    }
}

/// A histogram as in the documents of the Prometheus HTTP API.
fn histogram(own: &Histogram) -> serde_json::Value {
    let number = |value: f64| super::words::value(value);
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

fn write_json_lines(out: &mut dyn Write, value: &Value) -> io::Result<()> {
    let line = |out: &mut dyn Write, labels: &str, time: Timestamp, sample: &Sample| match sample {
        Sample::Float(value) => {
            writeln!(out, r#"{{"labels":{labels},"time":"{time}","value":{}}}"#, json_number(*value))
        }
        Sample::Histogram(own) => {
            writeln!(out, r#"{{"labels":{labels},"time":"{time}","histogram":{}}}"#, histogram(own))
        }
    };
    match value {
        Value::Scalar(time, value) => line(out, "{}", *time, &Sample::Float(*value)),
        Value::String(text) => writeln!(out, "{}", json!({ "value": text })),
        Value::Vector(samples) => samples
            .iter()
            .try_for_each(|(labels, time, value)| line(out, &label_object(labels).to_string(), *time, value)),
        Value::Matrix(series) => series.iter().try_for_each(|one| {
            let labels = label_object(&one.labels).to_string();
            in_order(one).try_for_each(|(time, value)| line(out, &labels, time, &value))
        }),
    }
}

fn label_object(labels: &LabelSet) -> serde_json::Value {
    serde_json::Value::Object(
        labels.iter().map(|(name, value)| (name.to_owned(), value.into())).collect::<Map<_, _>>(),
    )
}

/// The document of the Prometheus HTTP API.
fn document(answer: &Answer) -> serde_json::Value {
    let point = |time: Timestamp, value: f64| json!([time.0 as f64 / 1000.0, super::words::value(value)]);
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

/// The names of all labels, the metric's name first.
fn label_names<'a>(sets: impl Iterator<Item = &'a LabelSet>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for set in sets {
        for (name, _) in set.iter() {
            if !names.iter().any(|known| known == name) {
                names.push(name.to_owned());
            }
        }
    }
    names.sort_by_key(|name| (name != METRIC_NAME, name.clone()));
    names
}

/// A row per sample: labels, time, value.
fn long(value: &Value) -> Grid {
    match value {
        Value::Scalar(time, value) => {
            let mut grid = Grid::new(["time", "value"]);
            grid.row(vec![Cell::Time(*time), Cell::Value(*value)]);
            grid
        }
        Value::String(text) => {
            let mut grid = Grid::new(["value"]);
            grid.row(vec![Cell::text(text.as_str())]);
            grid
        }
        Value::Vector(_) | Value::Matrix(_) => {
            let mut seen: Vec<&LabelSet> = Vec::new();
            match value {
                Value::Vector(samples) => seen.extend(samples.iter().map(|(labels, _, _)| labels)),
                Value::Matrix(series) => seen.extend(series.iter().map(|one| &one.labels)),
                Value::Scalar(..) | Value::String(_) => {}
            }
            let names = label_names(seen.into_iter());
            let mut grid =
                Grid::new(names.iter().map(String::as_str).chain(["time", "value"]).collect::<Vec<_>>());
            for (labels, time, value) in samples(value) {
                let mut row: Vec<Cell> = names.iter().map(|name| Cell::text(labels.get(name))).collect();
                row.extend([Cell::Time(time), cell(&value)]);
                grid.row(row);
            }
            grid
        }
    }
}

/// As people read it: an instant without its times, a range of few series with a column per series.
fn wide(value: &Value) -> Grid {
    match value {
        Value::Vector(samples) => {
            let names = label_names(samples.iter().map(|(labels, _, _)| labels));
            let mut grid = Grid::new(names.iter().map(String::as_str).chain(["value"]).collect::<Vec<_>>());
            for (labels, _, value) in samples {
                let mut row: Vec<Cell> = names.iter().map(|name| Cell::text(labels.get(name))).collect();
                row.push(cell(value));
                grid.row(row);
            }
            grid
        }
        Value::Matrix(series) if !series.is_empty() && series.len() <= PIVOT_SERIES_MAX => pivot(series),
        Value::Scalar(..) | Value::String(_) | Value::Matrix(_) => long(value),
    }
}

fn pivot(series: &[Series]) -> Grid {
    let (_, titles) = super::words::titles(&series.iter().map(|one| &one.labels).collect::<Vec<_>>());
    let mut rows: BTreeMap<Timestamp, Vec<Cell>> = BTreeMap::new();
    for (column, one) in series.iter().enumerate() {
        for (time, value) in in_order(one) {
            let row = rows.entry(time).or_insert_with(|| vec![Cell::None; series.len()]);
            if let Some(cell) = row.get_mut(column) {
                *cell = self::cell(&value);
            }
        }
    }
    let mut grid = Grid::new(std::iter::once("time".to_owned()).chain(titles));
    for (time, cells) in rows {
        grid.row(std::iter::once(Cell::Time(time)).chain(cells).collect());
    }
    grid
}

fn write_chart(screen: &mut Screen, value: &Value, range: TimeRange) -> io::Result<()> {
    if is_empty(value) {
        return Ok(());
    }
    let (width, colour) = (screen.width(), screen.colour());
    let text = match value {
        Value::Scalar(_, number) => format!("{}\n", super::words::value(*number)),
        Value::String(text) => format!("{}\n", super::words::harmless(text)),
        Value::Vector(samples) => {
            let sets: Vec<&LabelSet> = samples.iter().map(|(labels, _, _)| labels).collect();
            let (title, names) = super::words::titles(&sets);
            let values: Vec<f64> =
                samples.iter().map(|(_, _, value)| value.float().unwrap_or(f64::NAN)).collect();
            bars::draw(&title, &names, &values, width)
        }
        Value::Matrix(series) => {
            let sets: Vec<&LabelSet> = series.iter().map(|one| &one.labels).collect();
            let (title, names) = super::words::titles(&sets);
            let drawn: Vec<lines::Line<'_>> = names
                .iter()
                .zip(series)
                .map(|(name, one)| lines::Line { name, points: &one.points })
                .collect();
            lines::draw(&title, &drawn, range, lines::Canvas { width, height: 14, colour })
        }
    };
    screen.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Value {
        let labels = |site: &str| LabelSet::from_pairs([("__name__", "m"), ("site", site)]).expect("valid");
        let point = |minute: i64, value: f64| (Timestamp(minute * 60_000), value);
        Value::Matrix(vec![
            Series {
                labels: labels("a"),
                points: vec![point(1, 1.0), point(2, f64::NAN)],
                histograms: vec![],
            },
            Series { labels: labels("b"), points: vec![point(2, 0.1)], histograms: vec![] },
        ])
    }

    fn written(grid: &Grid, form: ListForm) -> String {
        let mut out = Vec::new();
        grid.write(&mut out, form, None).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn csv_has_a_row_per_sample() {
        assert_eq!(
            written(&long(&matrix()), ListForm::Csv),
            "__name__,site,time,value\nm,a,1970-01-01T00:01:00Z,1\nm,a,1970-01-01T00:02:00Z,NaN\nm,b,1970-01-01T00:02:00Z,0.1\n"
        );
    }

    #[test]
    fn a_table_of_few_series_has_a_column_each() {
        assert_eq!(
            written(&wide(&matrix()), ListForm::Csv),
            "time,site=a,site=b\n1970-01-01T00:01:00Z,1,\n1970-01-01T00:02:00Z,NaN,0.1\n"
        );
    }

    #[test]
    fn json_lines_name_what_json_has_no_number_for() {
        let mut out = Vec::new();
        write_json_lines(&mut out, &matrix()).expect("memory");
        let lines = String::from_utf8(out).expect("text");
        assert_eq!(
            lines.lines().nth(1),
            Some(r#"{"labels":{"__name__":"m","site":"a"},"time":"1970-01-01T00:02:00Z","value":"NaN"}"#)
        );
    }

    #[test]
    fn the_document_is_that_of_the_prometheus_api() {
        let answer = Answer { value: matrix(), warnings: vec![], infos: vec![], coverage: vec![] };
        let document = document(&answer);
        assert_eq!(document["data"]["resultType"], "matrix");
        assert_eq!(document["data"]["result"][0]["values"][1], json!([120.0, "NaN"]));
    }
}
