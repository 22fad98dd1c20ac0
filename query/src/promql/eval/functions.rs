//! Functions of instant vectors and of scalars.

use std::sync::Arc;

use annals_model::LabelSet;
use regex::{Regex, RegexBuilder};

use super::calendar::date_part;
use super::column::{ABSENT, Charge, Column, Grid, Scalar, Vector, histogram_bytes, is_absent};
use super::labels::{Labels, with_label};
use super::latest::Wanted;
use super::select::absent_labels;
use super::{Evaluator, Hints, merged, native, not_evaluated, text_of};
use crate::promql::ast::{Expr, ExprKind, Selector};
use crate::promql::error::{PromqlError, QueryError};
use crate::promql::signature::Function;

/// Applies a function to every value; the metric's name goes, because it no longer says what the value is. Histograms
/// go too: functions of numbers have no result for them.
pub(super) fn map(vector: &mut Vector<'_>, function: impl Fn(f64) -> f64) {
    for column in &mut vector.columns {
        column.drop_name = true;
        column.histograms.clear();
        for value in column.values.iter_mut().filter(|value| !is_absent(**value)) {
            *value = function(*value);
        }
    }
}

/// Turns the sign of every value.
pub(super) fn negate(vector: &mut Vector<'_>) -> Result<(), QueryError> {
    for column in &mut vector.columns {
        column.drop_name = true;
        column.values.iter_mut().filter(|value| !is_absent(**value)).for_each(|value| *value = -*value);
        for own in column.histograms.iter_mut().flatten() {
            *own = Arc::new(own.scaled(-1.0));
        }
        // Steps that shared one have one each now.
        vector.charge.add(column.histograms.iter().flatten().map(|own| histogram_bytes(own)).sum())?;
    }
    Ok(())
}

/// The same with a number per step.
fn map_steps(vector: &mut Vector<'_>, steps: &[f64], function: impl Fn(f64, f64) -> f64) {
    for column in &mut vector.columns {
        column.drop_name = true;
        column.histograms.clear();
        for (value, &number) in column.values.iter_mut().zip(steps) {
            if !is_absent(*value) {
                *value = function(*value, number);
            }
        }
    }
}

/// Functions of one number.
fn pointwise(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "acos" => f64::acos,
        "acosh" => f64::acosh,
        "asin" => f64::asin,
        "asinh" => f64::asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "ceil" => f64::ceil,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        "deg" => f64::to_degrees,
        "exp" => f64::exp,
        "floor" => f64::floor,
        "ln" => f64::ln,
        "log10" => f64::log10,
        "log2" => f64::log2,
        "rad" => f64::to_radians,
        "sgn" => |v| {
            if v > 0.0 {
                1.0
            } else if v < 0.0 {
                -1.0
            } else {
                v
            }
        },
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "sqrt" => f64::sqrt,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        _ => return date_part(name),
    })
}

/// The lesser of two; NaN where either is.
fn min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// The greater of two; NaN where either is.
fn max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

impl<'a> Evaluator<'a> {
    fn constant(&self, value: f64, grid: Grid) -> Result<Scalar<'a>, QueryError> {
        let mut charge = Charge::none(self.budget);
        charge.add_column(grid.count)?;
        Ok(Scalar { values: vec![value; grid.count], charge })
    }

    pub(super) fn scalar_call(
        &self,
        function: &Function,
        arguments: &[Expr],
        expr: &Expr,
        grid: Grid,
    ) -> Result<Scalar<'a>, QueryError> {
        let (start, end, step) = self.times;
        let seconds = |ms: i64| ms as f64 / 1000.0;
        match (function.name, arguments) {
            ("pi", []) => self.constant(std::f64::consts::PI, grid),
            ("start", []) => self.constant(seconds(start), grid),
            ("end", []) => self.constant(seconds(end), grid),
            ("range", []) => self.constant(seconds(end.saturating_sub(start)), grid),
            ("step", []) => self.constant(seconds(step), grid),
            ("time", []) => {
                let mut scalar = self.constant(0.0, grid)?;
                scalar.values.iter_mut().zip(grid.seconds()).for_each(|(value, now)| *value = now);
                Ok(scalar)
            }
            ("min_of" | "max_of", [a, b]) => {
                let (mut a, b) = (self.scalar(a, grid)?, self.scalar(b, grid)?);
                let choose = if function.name == "min_of" { min } else { max };
                a.values.iter_mut().zip(&b.values).for_each(|(a, b)| *a = choose(*a, *b));
                Ok(a)
            }
            ("scalar", [vector]) => {
                let mut scalar = self.constant(ABSENT, grid)?;
                self.stream(vector, grid, &mut |series| {
                    for (into, &value) in scalar.values.iter_mut().zip(series.values.iter()) {
                        if !is_absent(value) {
                            // A second series makes it NaN, which no third one changes.
                            *into = if is_absent(*into) { value } else { f64::NAN };
                        }
                    }
                    Ok(())
                })?;
                scalar
                    .values
                    .iter_mut()
                    .filter(|value| is_absent(**value))
                    .for_each(|value| *value = f64::NAN);
                Ok(scalar)
            }
            _ => Err(not_evaluated(expr.span, &format!("the function `{}`", function.name))),
        }
    }

    pub(super) fn vector_call(
        &self,
        function: &Function,
        arguments: &[Expr],
        expr: &Expr,
        grid: Grid,
    ) -> Result<Vector<'a>, QueryError> {
        if let Some(pointwise) = pointwise(function.name) {
            let mut vector = match arguments {
                [argument] => self.vector(argument, grid)?,
                // Dates are those of the evaluation time where nothing else is given.
                _ => self.numbers(grid.seconds().collect())?,
            };
            map(&mut vector, pointwise);
            return Ok(vector);
        }
        match (function.name, arguments) {
            ("absent", [argument]) => self.absent(argument, grid),
            ("absent_over_time", [matrix]) => {
                let present = self.present_windows(matrix, grid)?;
                self.absences(absent_labels(matrix), present.into_iter())
            }
            ("clamp", [argument, low, high]) => self.clamp(argument, low, high, grid),
            ("clamp_min", [argument, low]) => self.with_number(argument, low, grid, |v, low| max(low, v)),
            ("clamp_max", [argument, high]) => self.with_number(argument, high, grid, |v, high| min(high, v)),
            ("round", [argument]) => {
                let mut vector = self.vector(argument, grid)?;
                map(&mut vector, |v| (v + 0.5).floor());
                Ok(vector)
            }
            ("round", [argument, nearest]) => self.with_number(argument, nearest, grid, |v, nearest| {
                // The inverse, because 1/0.1 is exact where 0.1 is not.
                let inverse = 1.0 / nearest;
                (v * inverse + 0.5).floor() / inverse
            }),
            ("vector", [argument]) => {
                let values = self.scalar(argument, grid)?.values;
                self.numbers(values)
            }
            ("timestamp", [argument]) => self.timestamp(argument, grid),
            ("start_timestamp", [argument]) => match &argument.unparen().kind {
                ExprKind::Selector(selector) => {
                    self.latest(argument.unparen(), selector, Wanted::Start, grid)
                }
                // Values that were computed have no start.
                _ => self.vector(argument, grid).map(|_| Vector::new(self.budget)),
            },
            ("info", [argument, rest @ ..]) => self.info(argument, rest.first(), expr, grid),
            ("histogram_count" | "histogram_sum" | "histogram_avg", [argument]) => {
                let hints = self.hints.get();
                if hints == Hints::AsStored {
                    self.hints.set(Hints::Resolved);
                }
                let vector = self.vector(argument, grid);
                self.hints.set(hints);
                Ok(native::scalars(function.name, vector?))
            }
            ("histogram_stddev" | "histogram_stdvar", [argument]) => {
                Ok(native::scalars(function.name, self.vector(argument, grid)?))
            }
            ("sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc", [argument, labels @ ..]) => {
                let vector = self.vector(argument, grid)?;
                Ok(self.sorted(function, vector, labels, expr))
            }
            ("label_replace", [argument, rest @ ..]) => self.label_replace(argument, rest, expr, grid),
            ("label_join", [argument, rest @ ..]) => self.label_join(argument, rest, expr, grid),
            ("histogram_quantile" | "histogram_quantiles" | "histogram_fraction", _) => {
                self.histogram_function(function.name, arguments, expr, grid)
            }
            _ => Err(not_evaluated(expr.span, &format!("the function `{}`", function.name))),
        }
    }

    /// One series without labels.
    fn numbers(&self, values: Vec<f64>) -> Result<Vector<'a>, QueryError> {
        let mut vector = Vector::new(self.budget);
        vector.push(Column::floats(LabelSet::empty(), false, values))?;
        Ok(vector)
    }

    fn with_number(
        &self,
        argument: &Expr,
        number: &Expr,
        grid: Grid,
        function: impl Fn(f64, f64) -> f64,
    ) -> Result<Vector<'a>, QueryError> {
        let mut vector = self.vector(argument, grid)?;
        let numbers = self.scalar(number, grid)?;
        map_steps(&mut vector, &numbers.values, function);
        Ok(vector)
    }

    fn clamp(&self, argument: &Expr, low: &Expr, high: &Expr, grid: Grid) -> Result<Vector<'a>, QueryError> {
        let mut vector = self.vector(argument, grid)?;
        let (low, high) = (self.scalar(low, grid)?, self.scalar(high, grid)?);
        map_steps(&mut vector, &high.values, |v, high| min(high, v));
        map_steps(&mut vector, &low.values, |v, low| max(low, v));
        for column in &mut vector.columns {
            for (value, (low, high)) in column.values.iter_mut().zip(low.values.iter().zip(&high.values)) {
                if high < low {
                    *value = ABSENT;
                }
            }
        }
        Ok(vector)
    }

    fn absent(&self, argument: &Expr, grid: Grid) -> Result<Vector<'a>, QueryError> {
        let mut present = vec![false; grid.count];
        self.stream(argument, grid, &mut |series| {
            for (step, present) in present.iter_mut().enumerate() {
                *present |= series.holds(step);
            }
            Ok(())
        })?;
        self.absences(absent_labels(argument), present.into_iter())
    }

    /// 1 where nothing is present.
    fn absences(
        &self,
        labels: LabelSet,
        present: impl Iterator<Item = bool>,
    ) -> Result<Vector<'a>, QueryError> {
        let values: Vec<f64> = present.map(|present| if present { ABSENT } else { 1.0 }).collect();
        let mut vector = Vector::new(self.budget);
        if values.iter().any(|value| !is_absent(*value)) {
            vector.push(Column::floats(labels, false, values))?;
        }
        Ok(vector)
    }

    /// The sample's own time for a selector, the evaluation time for anything else.
    fn timestamp(&self, argument: &Expr, grid: Grid) -> Result<Vector<'a>, QueryError> {
        let inner = argument.unparen();
        if let ExprKind::Selector(selector) = &inner.kind
            && selector.extended.is_none()
        {
            return self.latest(inner, selector, Wanted::Time, grid);
        }
        let mut vector = self.vector(argument, grid)?;
        for column in &mut vector.columns {
            column.drop_name = true;
            for (step, time) in grid.seconds().enumerate() {
                if column.holds(step) {
                    column.clear(step);
                    column.values[step] = time;
                }
            }
        }
        Ok(vector)
    }

    /// Something of the sample that a selector finds.
    fn latest(
        &self,
        expr: &Expr,
        selector: &Selector,
        wanted: Wanted,
        grid: Grid,
    ) -> Result<Vector<'a>, QueryError> {
        let mut vector = Vector::new(self.budget);
        self.stream_latest(expr, selector, grid, wanted, &mut |mut series| vector.push(series.take()))?;
        Ok(vector)
    }

    fn sorted(
        &self,
        function: &Function,
        mut vector: Vector<'a>,
        labels: &[Expr],
        expr: &Expr,
    ) -> Vector<'a> {
        if self.times.2 > 0 {
            let text = "sort is ineffective for range queries since results are always ordered by labels";
            self.warn(Some(expr.span), text.to_owned());
            return vector;
        }
        let value = |column: &Column<'_>| column.values.first().copied().unwrap_or(f64::NAN);
        match function.name {
            "sort" | "sort_desc" => {
                let descending = function.name == "sort_desc";
                vector.columns.retain(|column| column.histograms.is_empty());
                vector.columns.sort_by(|a, b| {
                    let (a, b) = (value(a), value(b));
                    let order = a.is_nan().cmp(&b.is_nan());
                    let values = a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal);
                    order.then(if descending { values.reverse() } else { values })
                });
            }
            _ => {
                let names: Vec<String> = labels.iter().map(text_of).collect();
                let descending = function.name == "sort_by_label_desc";
                let mut labelled: Vec<_> =
                    vector.columns.drain(..).map(|mut column| (column.labels.settle(), column)).collect();
                labelled.sort_by(|(a, _), (b, _)| {
                    let by_name = names.iter().map(|name| natural(a.get(name), b.get(name)));
                    let order = by_name.fold(std::cmp::Ordering::Equal, |order, next| order.then(next));
                    let order = order.then_with(|| a.cmp(b));
                    if descending { order.reverse() } else { order }
                });
                vector.columns.extend(labelled.into_iter().map(|(_, column)| column));
            }
        }
        vector
    }

    fn label_replace(
        &self,
        argument: &Expr,
        rest: &[Expr],
        expr: &Expr,
        grid: Grid,
    ) -> Result<Vector<'a>, QueryError> {
        let [target, replacement, source, pattern] = rest else {
            return Err(not_evaluated(expr.span, "`label_replace` without its four texts"));
        };
        let regex = anchored(&text_of(pattern)).map_err(|reason| {
            PromqlError::new(pattern.span, format!("invalid regular expression in label_replace(): {reason}"))
        })?;
        let (target_name, replacement, source) = (text_of(target), text_of(replacement), text_of(source));
        if target_name.is_empty() {
            let message = format!("invalid destination label name in label_replace(): {target_name:?}");
            return Err(PromqlError::new(target.span, message).into());
        }
        self.relabelled(argument, &target_name, expr, grid, |labels| {
            let captures = regex.captures(labels.get(&source))?;
            let mut value = String::new();
            captures.expand(&replacement, &mut value);
            Some(value)
        })
    }

    fn label_join(
        &self,
        argument: &Expr,
        rest: &[Expr],
        expr: &Expr,
        grid: Grid,
    ) -> Result<Vector<'a>, QueryError> {
        let [target, separator, sources @ ..] = rest else {
            return Err(not_evaluated(expr.span, "`label_join` without its texts"));
        };
        let (target_name, separator) = (text_of(target), text_of(separator));
        let sources: Vec<String> = sources.iter().map(text_of).collect();
        if target_name.is_empty() || sources.iter().any(String::is_empty) {
            let message = "invalid label name in label_join(): it is empty";
            return Err(PromqlError::new(target.span, message).into());
        }
        self.relabelled(argument, &target_name, expr, grid, |labels| {
            let values: Vec<&str> = sources.iter().map(|source| labels.get(source)).collect();
            Some(values.join(&separator))
        })
    }

    /// Writes one label of each series, where there is something to write.
    fn relabelled(
        &self,
        argument: &Expr,
        target: &str,
        expr: &Expr,
        grid: Grid,
        value: impl Fn(&LabelSet) -> Option<String>,
    ) -> Result<Vector<'a>, QueryError> {
        let mut vector = self.vector(argument, grid)?;
        for column in &mut vector.columns {
            let labels = column.labels.settle();
            let Some(value) = value(&labels) else { continue };
            let labels = with_label(&labels, target, &value)
                .map_err(|error| PromqlError::new(expr.span, error.to_string()))?;
            column.labels = Labels::Own(labels);
            if target == annals_model::METRIC_NAME {
                column.drop_name = false;
            }
        }
        vector.columns = merged(vector.columns, expr.span)?;
        Ok(vector)
    }
}

fn anchored(pattern: &str) -> Result<Regex, String> {
    let build = |text: &str| RegexBuilder::new(text).dot_matches_new_line(true).size_limit(1 << 20).build();
    if pattern.len() > annals_model::REGEX_BYTES_MAX {
        return Err(format!("it has over {} bytes", annals_model::REGEX_BYTES_MAX));
    }
    // Alone first, so that `)(` cannot close the anchoring group.
    build(pattern)
        .and_then(|_| build(&format!("^(?:{pattern})$")))
        .map_err(|error| error.to_string().lines().last().unwrap_or_default().to_owned())
}

/// Orders texts so that numbers within them count as numbers: `a9` before `a10`.
fn natural(a: &str, b: &str) -> std::cmp::Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (Some(x), Some(y)) = (a.chars().next(), b.chars().next()) else { return a.len().cmp(&b.len()) };
        let order = if x.is_ascii_digit() && y.is_ascii_digit() {
            let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            let (a_number, a_rest) = a.split_at(digits(a));
            let (b_number, b_rest) = b.split_at(digits(b));
            (a, b) = (a_rest, b_rest);
            let (x, y) = (a_number.trim_start_matches('0'), b_number.trim_start_matches('0'));
            x.len().cmp(&y.len()).then_with(|| x.cmp(y)).then_with(|| a_number.len().cmp(&b_number.len()))
        } else {
            (a, b) = (a.get(x.len_utf8()..).unwrap_or_default(), b.get(y.len_utf8()..).unwrap_or_default());
            x.cmp(&y)
        };
        if order.is_ne() {
            return order;
        }
    }
}
