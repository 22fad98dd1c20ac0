//! What queries return, in every form.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

use annals::query::promql::{Answer, Sample, Series, Value};
use annals::{LabelSet, METRIC_NAME, TimeRange, Timestamp};

use super::picture::Picture;
use super::{AnswerForm, Cell, Grid, ListForm, Screen, json, prom, svg};
use crate::error::CliError;

/// Wider answers are printed one sample per row.
const PIVOT_SERIES_MAX: usize = 8;

/// What was asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// In words, for the title of a picture.
    pub(crate) question: &'a str,
    /// For the axis of a chart.
    pub(crate) range: TimeRange,
}

/// Writes an answer.
pub(crate) fn write(
    screen: &mut Screen,
    answer: &Answer,
    form: AnswerForm,
    asked: Asked<'_>,
) -> Result<(), CliError> {
    let value = &answer.value;
    match form {
        AnswerForm::Json => writeln!(screen, "{}", json::document(answer))?,
        AnswerForm::Jsonl => json::write_lines(screen, value)?,
        AnswerForm::Prom => prom::write(screen, value)?,
        AnswerForm::Table => screen.list(&wide(value), Some(ListForm::Table))?,
        AnswerForm::Markdown => screen.list(&wide(value), Some(ListForm::Markdown))?,
        AnswerForm::Csv => screen.list(&long(value), Some(ListForm::Csv))?,
        AnswerForm::Tsv => screen.list(&long(value), Some(ListForm::Tsv))?,
        AnswerForm::Parquet => screen.list(&long(value), Some(ListForm::Parquet))?,
        AnswerForm::Chart => {
            if let Some(picture) = Picture::of(value) {
                let text = picture.draw(asked, screen.look());
                screen.people(&text)?;
            }
        }
        AnswerForm::Svg => {
            let page = svg::draw(Picture::of(value).as_ref(), asked, &screen.look().zone);
            screen.write_all(page.as_bytes())?;
        }
    }
    Ok(())
}

/// Writes a ranking: a list, or a bar per name.
pub(crate) fn write_ranking(
    screen: &mut Screen,
    grid: &Grid,
    bars: &[(String, f64)],
    form: AnswerForm,
    question: &str,
) -> Result<(), CliError> {
    if let Some(form) = form.of_list() {
        return screen.list(grid, Some(form));
    }
    let (names, values) = bars.iter().map(|(name, value)| (super::words::harmless(name), *value)).unzip();
    let picture = Picture::Bars { title: String::new(), names, values };
    let asked = Asked { question, range: TimeRange::ALL };
    match form {
        AnswerForm::Chart => {
            let text = picture.draw(asked, screen.look());
            screen.people(&text)?;
        }
        AnswerForm::Svg => {
            let page = svg::draw(Some(&picture), asked, &screen.look().zone);
            screen.write_all(page.as_bytes())?;
        }
        _ => {
            return Err(CliError::usage(format_args!("a ranking cannot be written as {}", form.word()))
                .help("every other form holds it"));
        }
    }
    Ok(())
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
pub(super) fn samples(value: &Value) -> Box<dyn Iterator<Item = (&LabelSet, Timestamp, Sample)> + '_> {
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
pub(super) fn in_order(series: &Series) -> impl Iterator<Item = (Timestamp, Sample)> {
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::output) fn matrix() -> Value {
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
        grid.write(&mut out, form, &super::super::Look::plain(80)).expect("memory");
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
}
