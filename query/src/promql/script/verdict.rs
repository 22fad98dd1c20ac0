//! Whether an answer is what a script expects.

use std::sync::Arc;

use annals_model::{Budget, Histogram, LabelSet, Timestamp};

use super::notation::Cell;
use super::{Expected, Text, When};
use crate::promql::ast::{At, Expr, ExprKind, Selector, TimeShift};
use crate::promql::testing::MemorySource;
use crate::promql::{Annotation, QueryOptions, Sample, Value, instant, range};

/// Series, step, value.
type Points = Vec<(LabelSet, usize, Sample)>;
/// The same as wanted; for histograms, whether the hint matters.
type Wanted = Vec<(LabelSet, usize, Sample, bool)>;

/// Checks the answer at the time that the script says.
pub(super) fn holds(
    source: &MemorySource,
    when: When,
    expr: &Expr,
    query: &str,
    expected: &Expected,
) -> Result<(), String> {
    let (options, budget) = (QueryOptions::default(), Budget::default());
    let result = match when {
        When::Instant(time) => instant(source, expr, Timestamp(time), &options, &budget),
        When::Range(start, end, step) => {
            range(source, expr, Timestamp(start), Timestamp(end), step, &options, &budget)
        }
    };
    let answer = match (result, &expected.fail) {
        (Err(error), Some(text)) if text.holds(&error.to_string()) => return Ok(()),
        (Err(error), _) => return Err(error.to_string()),
        (Ok(_), Some(_)) => return Err("should fail".to_owned()),
        (Ok(answer), None) => answer,
    };
    let said = |list: &[Annotation], class: &str| -> Vec<String> {
        list.iter().map(|note| format!("PromQL {class}: {}", note.render(query))).collect()
    };
    annotations(&said(&answer.warnings, "warning"), &expected.warnings, expected.no_warn)?;
    annotations(&said(&answer.infos, "info"), &expected.infos, expected.no_info)?;
    match (answer.value, when) {
        (Value::String(text), _) if expected.string.as_deref() == Some(&text) => Ok(()),
        (Value::String(text), _) => Err(format!("found the string {text:?}")),
        (Value::Scalar(_, value), _) => match expected.scalar {
            Some(scalar) if near(value, scalar) => Ok(()),
            other => Err(format!("found the scalar {value}, wanted {other:?}")),
        },
        (Value::Vector(samples), _) => {
            let number = |index: usize| if expected.ordered { index } else { 0 };
            let found: Points = samples
                .into_iter()
                .enumerate()
                .map(|(index, (labels, _, value))| (labels, number(index), value))
                .collect();
            let mut wanted = at_instant(expected);
            wanted.iter_mut().enumerate().for_each(|(index, own)| own.1 = number(index));
            compare(&found, &wanted)
        }
        (Value::Matrix(series), when) => {
            let (start, end, step) = match (when, expected.window) {
                (When::Range(start, end, step), _) | (_, Some((start, end, step))) => (start, end, step),
                _ => return Err("found a range vector".to_owned()),
            };
            let mut found = Points::new();
            for own in series {
                let floats = own.points.into_iter().map(|(time, value)| (time, Sample::Float(value)));
                let histograms = own.histograms.into_iter().map(|(time, own)| (time, Sample::Histogram(own)));
                for (time, sample) in floats.chain(histograms) {
                    let since = time.0.saturating_sub(start);
                    let place = usize::try_from(since / step.max(1)).unwrap_or(usize::MAX);
                    if since % step.max(1) != 0 {
                        return Err(format!("found a point at {} ms", time.0));
                    }
                    found.push((own.labels.clone(), place, sample));
                }
            }
            let steps = usize::try_from(end.saturating_sub(start) / step.max(1))
                .map_or(0, |last| last.saturating_add(1));
            let wanted = expected.series.iter().flat_map(|(labels, cells)| {
                let cells = cells.iter().take(steps).enumerate();
                cells.filter_map(|(step, cell)| {
                    let (sample, hinted) = sample(cell)?;
                    Some((labels.clone(), step, sample, hinted))
                })
            });
            compare(&found, &wanted.collect())
        }
    }
}

/// Checks that an instant's answer is also that of a range, and of the same selectors under `@` at other instants.
pub(super) fn holds_otherwise(
    source: &MemorySource,
    time: i64,
    expr: &Expr,
    query: &str,
    expected: &Expected,
) -> Result<(), String> {
    if expected.fail.is_some() || expected.window.is_some() || expected.string.is_some() {
        return Ok(());
    }
    if !calls(expr, &OF_TIME) && expected.scalar.is_none() {
        let mut fixed = expr.clone();
        fix_time(&mut fixed, time);
        for moved in [time.saturating_add(7_777), time.saturating_sub(1_000_000)] {
            holds(source, When::Instant(moved), &fixed, query, expected)
                .map_err(|why| format!("with @ on every selector: {why}"))?;
        }
    }
    let of_the_query = expr.to_string();
    let of_the_query =
        ["start()", "end()", "step()", "range()"].iter().any(|call| of_the_query.contains(call));
    if expected.ordered || of_the_query || calls(expr, &SORTS) {
        return Ok(());
    }
    let (options, budget) = (QueryOptions::default(), Budget::default());
    let (start, end) = (Timestamp(time.saturating_sub(60_000)), Timestamp(time.saturating_add(60_000)));
    let as_range = |why: String| format!("as a range query: {why}");
    let answer = range(source, expr, start, end, 60_000, &options, &budget)
        .map_err(|error| as_range(error.to_string()))?;
    let Value::Matrix(series) = answer.value else {
        return Err("a range query gave no range vector".to_owned());
    };
    let mut found = Points::new();
    for own in series {
        let float = own.points.iter().find(|point| point.0.0 == time).map(|point| Sample::Float(point.1));
        let histogram = own.histograms.iter().find(|point| point.0.0 == time);
        let histogram = histogram.map(|point| Sample::Histogram(Arc::clone(&point.1)));
        found.extend(float.or(histogram).map(|sample| (own.labels, 0, sample)));
    }
    let wanted = match expected.scalar {
        Some(scalar) => vec![(LabelSet::empty(), 0, Sample::Float(scalar), false)],
        None => at_instant(expected),
    };
    compare(&found, &wanted).map_err(as_range)
}

/// Functions whose value depends on the evaluation time.
const OF_TIME: [&str; 18] = [
    "time",
    "timestamp",
    "predict_linear",
    "minute",
    "hour",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "days_in_month",
    "month",
    "year",
    "start",
    "end",
    "step",
    "range",
    "info",
    "start_timestamp",
    "scalar",
];
/// Functions that do nothing in range queries.
const SORTS: [&str; 4] = ["sort", "sort_desc", "sort_by_label", "sort_by_label_desc"];

/// Whether any of the functions is called.
fn calls(expr: &Expr, names: &[&str]) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) => false,
        ExprKind::Selector(selector) | ExprKind::Matrix(selector, _) => depends_on_query(&selector.time),
        ExprKind::Subquery(subquery) => depends_on_query(&subquery.time) || calls(&subquery.expr, names),
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => calls(inner, names),
        ExprKind::Binary(binary) => calls(&binary.left, names) || calls(&binary.right, names),
        ExprKind::Aggregate(aggregate) => {
            calls(&aggregate.expr, names)
                || aggregate.parameter.as_ref().is_some_and(|parameter| calls(parameter, names))
        }
        ExprKind::Call(function, arguments) => {
            names.contains(&function.name) || arguments.iter().any(|argument| calls(argument, names))
        }
    }
}

fn depends_on_query(time: &TimeShift) -> bool {
    matches!(time.at, Some(At::Start | At::End))
}

/// Puts `@ time` on every selector and subquery that has none, but not within subqueries.
fn fix_time(expr: &mut Expr, time: i64) {
    let fix = |shift: &mut TimeShift| {
        shift.at.get_or_insert(At::Time(time));
    };
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) => {}
        ExprKind::Selector(Selector { time: shift, .. })
        | ExprKind::Matrix(Selector { time: shift, .. }, _) => fix(shift),
        ExprKind::Subquery(subquery) => fix(&mut subquery.time),
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => fix_time(inner, time),
        ExprKind::Binary(binary) => {
            fix_time(&mut binary.left, time);
            fix_time(&mut binary.right, time);
        }
        ExprKind::Aggregate(aggregate) => {
            fix_time(&mut aggregate.expr, time);
            aggregate.parameter.iter_mut().for_each(|parameter| fix_time(parameter, time));
        }
        ExprKind::Call(_, arguments) => arguments.iter_mut().for_each(|argument| fix_time(argument, time)),
    }
}

fn annotations(found: &[String], wanted: &[Text], none: bool) -> Result<(), String> {
    if none && !found.is_empty() {
        return Err(format!("found the remarks {found:?}, wanted none"));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let missing = wanted.iter().any(|text| !found.iter().any(|own| text.holds(own)));
    let surplus = found.iter().any(|own| !wanted.iter().any(|text| text.holds(own)));
    if missing || surplus { Err(format!("found the remarks {found:?}, wanted {wanted:?}")) } else { Ok(()) }
}

fn sample(cell: &Cell) -> Option<(Sample, bool)> {
    match cell {
        Cell::Nothing | Cell::Stale => None,
        Cell::Float(value) => Some((Sample::Float(*value), false)),
        Cell::Histogram(own, hinted) => Some((Sample::Histogram(Arc::new(Histogram::clone(own))), *hinted)),
    }
}

fn at_instant(expected: &Expected) -> Wanted {
    let first = expected.series.iter().filter_map(|(labels, cells)| {
        let (sample, hinted) = sample(cells.first()?)?;
        Some((labels.clone(), 0, sample, hinted))
    });
    first.collect()
}

fn near(a: f64, b: f64) -> bool {
    if a.is_nan() || b.is_nan() {
        return a.is_nan() && b.is_nan();
    }
    a == b || (a - b).abs() <= 1e-6 * a.abs().max(b.abs())
}

fn alike(found: &Sample, wanted: &Sample, hinted: bool) -> bool {
    let (a, b) = match (found, wanted) {
        (Sample::Float(a), Sample::Float(b)) => return near(*a, *b),
        (Sample::Histogram(a), Sample::Histogram(b)) => (a, b),
        _ => return false,
    };
    let side = |a: &[(i32, f64)], b: &[(i32, f64)]| {
        a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && near(a.1, b.1))
    };
    a.schema == b.schema
        && near(a.zero_threshold, b.zero_threshold)
        && near(a.zero_count, b.zero_count)
        && near(a.count, b.count)
        && near(a.sum, b.sum)
        && side(&a.positive, &b.positive)
        && side(&a.negative, &b.negative)
        && a.custom_bounds.len() == b.custom_bounds.len()
        && a.custom_bounds.iter().zip(b.custom_bounds.iter()).all(|(a, b)| near(*a, *b))
        && (!hinted || a.reset_hint == b.reset_hint)
}

fn compare(found: &Points, wanted: &Wanted) -> Result<(), String> {
    let same = found.len() == wanted.len()
        && wanted.iter().all(|(labels, step, value, hinted)| {
            found.iter().any(|own| own.0 == *labels && own.1 == *step && alike(&own.2, value, *hinted))
        });
    if same {
        return Ok(());
    }
    let show = |labels: &LabelSet, step: usize, sample: &Sample| match sample {
        Sample::Float(value) => format!("{labels} [{step}] {value}"),
        Sample::Histogram(own) => format!("{labels} [{step}] {own} {:?}", own.reset_hint),
    };
    let found: Vec<String> = found.iter().map(|(labels, step, value)| show(labels, *step, value)).collect();
    let wanted: Vec<String> =
        wanted.iter().map(|(labels, step, value, _)| show(labels, *step, value)).collect();
    Err(format!("found [{}], wanted [{}]", found.join(", "), wanted.join(", ")))
}
