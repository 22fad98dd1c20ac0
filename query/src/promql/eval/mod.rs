//! Evaluation: an expression and a grid of times to columns, one per series.
//!
//! Every expression is evaluated once for all steps. Selectors and window functions *stream*: each series is decoded,
//! turned into its column of steps, and handed on, so that an aggregation over them holds only its groups. All other
//! values are [`Vector`]s, whose memory is charged to the budget while they live.
//!
//! Names of metrics are removed at the very end (`drop_name`), so label functions still see them.

mod aggregate;
mod binary;
mod calendar;
mod chosen;
mod column;
mod extended;
mod fold;
mod functions;
mod groups;
mod histogram;
mod increase;
mod info;
mod labels;
mod latest;
mod limit;
mod mixed;
mod native;
mod parts;
mod repeated;
mod runs;
mod select;
mod series;
mod sums;
mod trace;
mod window;

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use annals_model::{Budget, Coverage, LabelSet, LimitExceeded, SeriesSource, Timestamp};

use super::ast::{At, DurationExpr, Expr, ExprKind, TimeShift};
use super::error::{Annotation, PromqlError, QueryError, Span};
use super::signature::ValueType;
use super::value::{Answer, Sample, Series, Value};
pub use trace::{PartCost, SelectorCost};

pub(super) use trace::Trace;

use repeated::Repeated;

use column::{Charge, Column, Grid, Histograms, Scalar, Vector, histogram_at, is_absent};
use labels::Labels;

/// How queries are evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryOptions {
    /// How old a sample may be and still be the latest one.
    pub lookback_ms: i64,
    /// The step of subqueries that name none.
    pub subquery_step_ms: i64,
    /// How many threads read series at the same time, at most. The answer is the same with any number.
    pub parallelism: usize,
}

impl Default for QueryOptions {
    fn default() -> QueryOptions {
        QueryOptions { lookback_ms: 5 * 60_000, subquery_step_ms: 60_000, parallelism: 1 }
    }
}

/// Evaluates at one time.
pub fn instant(
    source: &dyn SeriesSource,
    expr: &Expr,
    time: Timestamp,
    options: &QueryOptions,
    budget: &Budget,
) -> Result<Answer, QueryError> {
    instant_traced(source, expr, time, options, budget, None)
}

/// The same, telling what each part takes.
pub(super) fn instant_traced(
    source: &dyn SeriesSource,
    expr: &Expr,
    time: Timestamp,
    options: &QueryOptions,
    budget: &Budget,
    trace: Option<&Trace<'_>>,
) -> Result<Answer, QueryError> {
    let mut evaluator = Evaluator::new(source, options, budget, (time.0, time.0, 0));
    evaluator.trace = trace;
    evaluator.repeated = Repeated::of(expr);
    let grid = Grid::instant(time.0);
    let value = match expr.value_type() {
        ValueType::String => Value::String(text_of(expr)),
        ValueType::Scalar => {
            Value::Scalar(time, evaluator.scalar(expr, grid)?.values.first().copied().unwrap_or(f64::NAN))
        }
        ValueType::Matrix => Value::Matrix(evaluator.window_samples(expr, grid)?),
        ValueType::Vector => {
            let columns = evaluator.finished(expr, grid)?;
            let value = |column: &Column<'_>| match histogram_at(&column.histograms, 0) {
                Some(histogram) => Some(Sample::Histogram(Arc::clone(histogram))),
                None => column.values.first().copied().filter(|value| !is_absent(*value)).map(Sample::Float),
            };
            budget.charge_points(columns.len() as u64)?;
            let samples =
                columns.into_iter().filter_map(|c| value(&c).map(|value| (c.labels.get(), time, value)));
            Value::Vector(samples.collect())
        }
    };
    Ok(evaluator.answer(value))
}

/// Evaluates at `start`, `start + step`, and so on up to `end`; the answer is always a matrix, in label order.
pub fn range(
    source: &dyn SeriesSource,
    expr: &Expr,
    start: Timestamp,
    end: Timestamp,
    step_ms: i64,
    options: &QueryOptions,
    budget: &Budget,
) -> Result<Answer, QueryError> {
    range_traced(source, expr, (start, end, step_ms), options, budget, None)
}

/// The same, telling what each part takes.
pub(super) fn range_traced(
    source: &dyn SeriesSource,
    expr: &Expr,
    (start, end, step_ms): (Timestamp, Timestamp, i64),
    options: &QueryOptions,
    budget: &Budget,
    trace: Option<&Trace<'_>>,
) -> Result<Answer, QueryError> {
    if step_ms <= 0 {
        return Err(QueryError::Times(format!("the step is {step_ms} ms; it must be at least 1 ms")));
    }
    if start > end {
        return Err(QueryError::Times("the end lies before the start".to_owned()));
    }
    let steps = (i128::from(end.0) - i128::from(start.0)) / i128::from(step_ms) + 1;
    let asked = u64::try_from(steps).unwrap_or(u64::MAX);
    let limit = budget.limits().steps_max;
    if asked > limit {
        return Err(LimitExceeded::Over { what: "steps", limit, asked }.into());
    }
    let mut evaluator = Evaluator::new(source, options, budget, (start.0, end.0, step_ms));
    evaluator.trace = trace;
    evaluator.repeated = Repeated::of(expr);
    let count = usize::try_from(asked).unwrap_or(usize::MAX);
    let grid = Grid { start: start.0, step: step_ms, count };
    let mut series = match expr.value_type() {
        other @ (ValueType::String | ValueType::Matrix) => {
            let message =
                format!("invalid expression type {other} for range query, must be scalar or instant vector");
            return Err(PromqlError::new(expr.span, message).into());
        }
        ValueType::Scalar => {
            let values = evaluator.scalar(expr, grid)?.values;
            let column = Column::floats(LabelSet::empty(), false, values);
            evaluator.points(vec![column], grid)?
        }
        ValueType::Vector => {
            let columns = evaluator.finished(expr, grid)?;
            evaluator.points(columns, grid)?
        }
    };
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(evaluator.answer(Value::Matrix(series)))
}

/// What evaluation has remarked so far.
#[derive(Debug, Default)]
struct Notes {
    warnings: Vec<Annotation>,
    infos: Vec<Annotation>,
    coverage: Vec<Coverage>,
}

struct Evaluator<'a> {
    source: &'a dyn SeriesSource,
    options: &'a QueryOptions,
    budget: &'a Budget,
    /// The query's first and last time and its step, in milliseconds; an instant query has step 0.
    times: (i64, i64, i64),
    notes: RefCell<Notes>,
    /// What selectors make of the reset hints of histograms.
    hints: Cell<Hints>,
    /// Parts that stand in the query more than once, and the memory that their results take.
    repeated: Repeated<'a>,
    kept: RefCell<Charge<'a>>,
    /// Where what each part takes is told, where anybody asks.
    trace: Option<&'a Trace<'a>>,
}

/// What selectors make of what histograms know of resets before them.
///
/// Prometheus reads only counts and sums where a query asks for no more (`histogram_count`, `histogram_sum`,
/// `histogram_avg`), and then finds out about each reset while it reads. What an answer is warned of depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Hints {
    /// As stored; a function that asks for count or sum may resolve them.
    AsStored,
    /// Each is found out.
    Resolved,
    /// As stored: a function further out looks at buckets.
    Kept,
}

impl<'a> Evaluator<'a> {
    fn new(
        source: &'a dyn SeriesSource,
        options: &'a QueryOptions,
        budget: &'a Budget,
        times: (i64, i64, i64),
    ) -> Evaluator<'a> {
        Evaluator {
            source,
            options,
            budget,
            times,
            notes: RefCell::default(),
            hints: Cell::new(Hints::AsStored),
            repeated: Repeated::default(),
            kept: RefCell::new(Charge::none(budget)),
            trace: None,
        }
    }

    fn answer(self, value: Value) -> Answer {
        let Notes { warnings, infos, coverage } = self.notes.into_inner();
        Answer { value, warnings, infos, coverage }
    }

    /// Adds what another thread has remarked.
    fn take_notes(&self, notes: Notes) {
        let Notes { warnings, infos, coverage } = notes;
        let mut own = self.notes.borrow_mut();
        warnings.into_iter().for_each(|warning| note(&mut own.warnings, warning));
        infos.into_iter().for_each(|info| note(&mut own.infos, info));
        own.coverage.extend(coverage);
    }

    fn warn(&self, span: Option<Span>, text: String) {
        note(&mut self.notes.borrow_mut().warnings, Annotation { span, text });
    }

    fn inform(&self, span: Span, text: String) {
        note(&mut self.notes.borrow_mut().infos, Annotation { span: Some(span), text });
    }

    /// A vector as the caller may see it: names removed, each label set once.
    fn finished(&self, expr: &Expr, grid: Grid) -> Result<Vec<Column<'a>>, QueryError> {
        let mut vector = self.vector(expr, grid)?;
        for column in &mut vector.columns {
            if std::mem::take(&mut column.drop_name) {
                column.labels = Labels::Own(labels::without_name(&column.labels.get()));
            }
        }
        merged(vector.columns, expr.span)
    }

    fn points(&self, columns: Vec<Column<'a>>, grid: Grid) -> Result<Vec<Series>, QueryError> {
        let mut charge = Charge::none(self.budget);
        let mut series = Vec::new();
        for column in columns {
            if column.is_empty() {
                continue;
            }
            let count = column.values.iter().filter(|value| !is_absent(**value)).count();
            self.budget.charge_points(count as u64)?;
            charge.add(count.saturating_mul(16))?;
            charge.add_histograms(&column.histograms)?;
            let histograms = column.histograms.into_iter().enumerate();
            let histograms =
                histograms.filter_map(|(step, own)| Some((Timestamp(grid.time(step)), own?))).collect();
            let values = column.values.iter().enumerate().filter(|(_, value)| !is_absent(**value));
            let mut points = Vec::with_capacity(count);
            points.extend(values.map(|(step, &value)| (Timestamp(grid.time(step)), value)));
            series.push(Series { labels: column.labels.get(), points, histograms });
        }
        Ok(series)
    }

    /// A number per step.
    fn scalar(&self, expr: &Expr, grid: Grid) -> Result<Scalar<'a>, QueryError> {
        let mut charge = Charge::none(self.budget);
        let values = match &expr.kind {
            ExprKind::Paren(inner) => return self.scalar(inner, grid),
            ExprKind::Number(number) => {
                charge.add_column(grid.count)?;
                vec![number.value; grid.count]
            }
            ExprKind::Unary(negative, inner) => {
                let mut scalar = self.scalar(inner, grid)?;
                if *negative {
                    scalar.values.iter_mut().for_each(|value| *value = -*value);
                }
                return Ok(scalar);
            }
            ExprKind::Binary(binary) => return self.scalar_binary(binary, grid),
            ExprKind::Call(function, arguments) => return self.scalar_call(function, arguments, expr, grid),
            _ => return Err(not_evaluated(expr.span, "this expression as a scalar")),
        };
        Ok(Scalar { values, charge })
    }

    /// A number per series and step.
    fn vector(&self, expr: &Expr, grid: Grid) -> Result<Vector<'a>, QueryError> {
        let Some(trace) = self.trace.filter(|trace| trace.open(expr)) else {
            return self.once(expr, grid, || self.vector_of(expr, grid));
        };
        let (started, held) = (trace.now(), self.budget.memory_bytes());
        let result = self.once(expr, grid, || self.vector_of(expr, grid));
        trace.close(PartCost {
            nanoseconds: trace.now().saturating_sub(started),
            series: result.as_ref().map_or(0, |vector| vector.columns.len() as u64),
            memory_bytes: self.budget.memory_bytes().saturating_sub(held),
        });
        result
    }

    fn vector_of(&self, expr: &Expr, grid: Grid) -> Result<Vector<'a>, QueryError> {
        match &expr.kind {
            ExprKind::Paren(inner) => self.vector(inner, grid),
            ExprKind::Unary(negative, inner) => {
                let mut vector = self.vector(inner, grid)?;
                if *negative {
                    functions::negate(&mut vector)?;
                }
                Ok(vector)
            }
            ExprKind::Binary(binary) => {
                let hints = self.hints.replace(Hints::AsStored);
                let result = self.vector_binary(expr, binary, grid);
                self.hints.set(hints);
                result
            }
            ExprKind::Aggregate(aggregate) => self.aggregate(expr, aggregate, grid),
            ExprKind::Call(function, arguments) if !streams(expr) => {
                self.vector_call(function, arguments, expr, grid)
            }
            _ => {
                let mut vector = Vector::new(self.budget);
                self.stream(expr, grid, &mut |mut series| vector.push(series.take()))?;
                Ok(vector)
            }
        }
    }

    /// The same, one series after the other; only what does not stream is held as a whole.
    fn stream(&self, expr: &Expr, grid: Grid, sink: Sink<'_, 'a>) -> Result<(), QueryError> {
        let Some(trace) = self.trace.filter(|trace| trace.open(expr)) else {
            return self.stream_of(expr, grid, sink);
        };
        let (mut taken, mut series, mut held_most) = (0, 0, 0);
        let (started, held) = (trace.now(), self.budget.memory_bytes());
        let result = self.stream_of(expr, grid, &mut |streamed| {
            series += 1;
            held_most = self.budget.memory_bytes().saturating_sub(held).max(held_most);
            let before = trace.now();
            let result = sink(streamed);
            taken += trace.now().saturating_sub(before);
            result
        });
        let nanoseconds = trace.now().saturating_sub(started).saturating_sub(taken);
        trace.close(PartCost { nanoseconds, series, memory_bytes: held_most });
        result
    }

    fn stream_of(&self, expr: &Expr, grid: Grid, sink: Sink<'_, 'a>) -> Result<(), QueryError> {
        match &expr.kind {
            ExprKind::Paren(inner) => self.stream(inner, grid, sink),
            ExprKind::Selector(selector) => self.stream_selector(expr, selector, grid, sink),
            ExprKind::Call(function, arguments) if streams(expr) => {
                self.stream_windows(function, arguments, expr, grid, sink)
            }
            _ => {
                let vector = self.vector(expr, grid)?;
                for mut column in vector.columns {
                    sink(Streamed {
                        labels: column.labels,
                        drop_name: column.drop_name,
                        values: &mut column.values,
                        histograms: &mut column.histograms,
                    })?;
                }
                Ok(())
            }
        }
    }

    /// A duration in milliseconds.
    fn duration_ms(&self, duration: &DurationExpr) -> Result<i64, QueryError> {
        let (start, end, step) = self.times;
        let seconds = duration.seconds(step as f64 / 1000.0, end.saturating_sub(start) as f64 / 1000.0);
        let nanoseconds = (seconds * 1e9).round();
        // A division by zero leaves NaN.
        if nanoseconds.is_nan() || nanoseconds.abs() >= i64::MAX as f64 {
            return Err(PromqlError::new(duration.span, "duration out of range").into());
        }
        Ok(nanoseconds as i64 / 1_000_000)
    }

    /// A duration that must be more than nothing.
    fn length_ms(&self, duration: &DurationExpr) -> Result<i64, QueryError> {
        match self.duration_ms(duration)? {
            ms if ms > 0 => Ok(ms),
            _ => Err(PromqlError::new(duration.span, "duration must be greater than 0").into()),
        }
    }

    /// The times that a selector looks at. Under `@` there is only one, which stands for all steps (true).
    fn shifted(&self, time: &TimeShift, grid: Grid) -> Result<(Grid, bool), QueryError> {
        let offset = time.offset.as_ref().map_or(Ok(0), |offset| self.duration_ms(offset))?;
        Ok(match time.at {
            None => (Grid { start: grid.start.saturating_sub(offset), ..grid }, false),
            Some(at) => {
                let at = match at {
                    At::Time(ms) => ms,
                    At::Start => self.times.0,
                    At::End => self.times.1,
                };
                (Grid::instant(at.saturating_sub(offset)), true)
            }
        })
    }
}

/// One series on its way to whoever wants it; the values may be taken.
struct Streamed<'s, 'a> {
    labels: Labels<'a>,
    drop_name: bool,
    values: &'s mut Vec<f64>,
    histograms: &'s mut Histograms,
}

impl<'a> Streamed<'_, 'a> {
    /// Whether a step holds anything.
    fn holds(&self, step: usize) -> bool {
        self.values.get(step).is_some_and(|value| !is_absent(*value))
            || histogram_at(self.histograms, step).is_some()
    }

    /// Empties a step.
    fn clear(&mut self, step: usize) {
        column::clear(self.values, self.histograms, step);
    }

    /// Its column, which takes the values.
    fn take(&mut self) -> Column<'a> {
        Column {
            labels: self.labels.clone(),
            drop_name: self.drop_name,
            values: std::mem::take(self.values),
            histograms: std::mem::take(self.histograms),
        }
    }
}

type Sink<'s, 'a> = &'s mut dyn FnMut(Streamed<'_, 'a>) -> Result<(), QueryError>;

/// Whether it is a function over windows, which gives one series after the other.
fn streams(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Call(function, _) if window::WindowFn::of(function.name).is_some())
}

fn note(notes: &mut Vec<Annotation>, annotation: Annotation) {
    if !notes.contains(&annotation) {
        notes.push(annotation);
    }
}

fn merged(columns: Vec<Column<'_>>, span: Span) -> Result<Vec<Column<'_>>, QueryError> {
    let message = "vector cannot contain metrics with the same labelset";
    labels::merged(columns).ok_or_else(|| PromqlError::new(span, message).into())
}

fn not_evaluated(span: Span, what: &str) -> QueryError {
    PromqlError::new(span, format!("{what} parses, but is not evaluated")).into()
}

/// The text of a string expression.
fn text_of(expr: &Expr) -> String {
    match &expr.unparen().kind {
        ExprKind::Text(text) => text.clone(),
        _ => String::new(),
    }
}
