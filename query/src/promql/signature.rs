//! The 90 functions and 14 aggregators of Prometheus 3.14: their names and their types.

use std::fmt;

/// The type of an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// One number per step.
    Scalar,
    /// A text.
    String,
    /// One number per series and step.
    Vector,
    /// A window of samples per series and step.
    Matrix,
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ValueType::Scalar => "scalar",
            ValueType::String => "string",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
        })
    }
}

/// A function's signature.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name; names are case-sensitive.
    pub name: &'static str,
    /// The types of its arguments; the last one repeats.
    pub arguments: &'static [ValueType],
    /// The fewest arguments.
    pub arguments_min: usize,
    /// The most arguments.
    pub arguments_max: usize,
    /// The type of its result.
    pub returns: ValueType,
}

const S: ValueType = ValueType::Scalar;
const T: ValueType = ValueType::String;
const V: ValueType = ValueType::Vector;
const M: ValueType = ValueType::Matrix;
const ANY: usize = usize::MAX;

const fn exact(name: &'static str, arguments: &'static [ValueType], returns: ValueType) -> Function {
    Function { name, arguments, arguments_min: arguments.len(), arguments_max: arguments.len(), returns }
}

const fn between(
    name: &'static str,
    arguments: &'static [ValueType],
    arguments_min: usize,
    arguments_max: usize,
) -> Function {
    Function { name, arguments, arguments_min, arguments_max, returns: V }
}

/// All functions, by name.
pub static FUNCTIONS: [Function; 90] = [
    exact("abs", &[V], V),
    exact("absent", &[V], V),
    exact("absent_over_time", &[M], V),
    exact("acos", &[V], V),
    exact("acosh", &[V], V),
    exact("asin", &[V], V),
    exact("asinh", &[V], V),
    exact("atan", &[V], V),
    exact("atanh", &[V], V),
    exact("avg_over_time", &[M], V),
    exact("ceil", &[V], V),
    exact("changes", &[M], V),
    exact("clamp", &[V, S, S], V),
    exact("clamp_max", &[V, S], V),
    exact("clamp_min", &[V, S], V),
    exact("cos", &[V], V),
    exact("cosh", &[V], V),
    exact("count_over_time", &[M], V),
    between("day_of_month", &[V], 0, 1),
    between("day_of_week", &[V], 0, 1),
    between("day_of_year", &[V], 0, 1),
    between("days_in_month", &[V], 0, 1),
    exact("deg", &[V], V),
    exact("delta", &[M], V),
    exact("deriv", &[M], V),
    exact("double_exponential_smoothing", &[M, S, S], V),
    exact("end", &[], S),
    exact("exp", &[V], V),
    exact("first_over_time", &[M], V),
    exact("floor", &[V], V),
    exact("histogram_avg", &[V], V),
    exact("histogram_count", &[V], V),
    exact("histogram_fraction", &[S, S, V], V),
    exact("histogram_quantile", &[S, V], V),
    between("histogram_quantiles", &[V, T, S], 3, 12),
    exact("histogram_stddev", &[V], V),
    exact("histogram_stdvar", &[V], V),
    exact("histogram_sum", &[V], V),
    between("hour", &[V], 0, 1),
    exact("idelta", &[M], V),
    exact("increase", &[M], V),
    between("info", &[V, V], 1, 2),
    exact("irate", &[M], V),
    between("label_join", &[V, T, T, T], 3, ANY),
    exact("label_replace", &[V, T, T, T, T], V),
    exact("last_over_time", &[M], V),
    exact("ln", &[V], V),
    exact("log10", &[V], V),
    exact("log2", &[V], V),
    exact("mad_over_time", &[M], V),
    exact("max_of", &[S, S], S),
    exact("max_over_time", &[M], V),
    exact("min_of", &[S, S], S),
    exact("min_over_time", &[M], V),
    between("minute", &[V], 0, 1),
    between("month", &[V], 0, 1),
    exact("pi", &[], S),
    exact("predict_linear", &[M, S], V),
    exact("present_over_time", &[M], V),
    exact("quantile_over_time", &[S, M], V),
    exact("rad", &[V], V),
    exact("range", &[], S),
    exact("rate", &[M], V),
    exact("resets", &[M], V),
    between("round", &[V, S], 1, 2),
    exact("scalar", &[V], S),
    exact("sgn", &[V], V),
    exact("sin", &[V], V),
    exact("sinh", &[V], V),
    exact("sort", &[V], V),
    between("sort_by_label", &[V, T], 1, ANY),
    between("sort_by_label_desc", &[V, T], 1, ANY),
    exact("sort_desc", &[V], V),
    exact("sqrt", &[V], V),
    exact("start", &[], S),
    exact("start_timestamp", &[V], V),
    exact("stddev_over_time", &[M], V),
    exact("stdvar_over_time", &[M], V),
    exact("step", &[], S),
    exact("sum_over_time", &[M], V),
    exact("tan", &[V], V),
    exact("tanh", &[V], V),
    exact("time", &[], S),
    exact("timestamp", &[V], V),
    exact("ts_of_first_over_time", &[M], V),
    exact("ts_of_last_over_time", &[M], V),
    exact("ts_of_max_over_time", &[M], V),
    exact("ts_of_min_over_time", &[M], V),
    exact("vector", &[S], V),
    between("year", &[V], 0, 1),
];

/// The function of that name.
#[must_use]
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().and_then(|index| FUNCTIONS.get(index))
}

/// The functions whose argument may be `anchored`.
pub(super) const ANCHORED: [&str; 5] = ["changes", "delta", "increase", "rate", "resets"];
/// The functions whose argument may be `smoothed`.
pub(super) const SMOOTHED: [&str; 3] = ["delta", "increase", "rate"];

/// An aggregation operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the operator of its name")]
pub enum Aggregator {
    Avg,
    Bottomk,
    Count,
    CountValues,
    Group,
    LimitRatio,
    Limitk,
    Max,
    Min,
    Quantile,
    Stddev,
    Stdvar,
    Sum,
    Topk,
}

/// All aggregators with their names and the type of their parameter.
const AGGREGATORS: [(Aggregator, &str, Option<ValueType>); 14] = [
    (Aggregator::Avg, "avg", None),
    (Aggregator::Bottomk, "bottomk", Some(S)),
    (Aggregator::Count, "count", None),
    (Aggregator::CountValues, "count_values", Some(T)),
    (Aggregator::Group, "group", None),
    (Aggregator::LimitRatio, "limit_ratio", Some(S)),
    (Aggregator::Limitk, "limitk", Some(S)),
    (Aggregator::Max, "max", None),
    (Aggregator::Min, "min", None),
    (Aggregator::Quantile, "quantile", Some(S)),
    (Aggregator::Stddev, "stddev", None),
    (Aggregator::Stdvar, "stdvar", None),
    (Aggregator::Sum, "sum", None),
    (Aggregator::Topk, "topk", Some(S)),
];

impl Aggregator {
    /// The aggregator of that name, in any case of letters.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Aggregator> {
        AGGREGATORS.iter().find(|(_, own, _)| own.eq_ignore_ascii_case(name)).map(|&(op, _, _)| op)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        AGGREGATORS.iter().find(|(op, _, _)| *op == self).map_or("", |&(_, name, _)| name)
    }

    /// The type of its parameter, where it takes one.
    #[must_use]
    pub fn parameter(self) -> Option<ValueType> {
        AGGREGATORS.iter().find(|(op, _, _)| *op == self).and_then(|&(_, _, parameter)| parameter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_found_by_its_name() {
        assert!(FUNCTIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for own in &FUNCTIONS {
            assert_eq!(function(own.name), Some(own));
        }
        assert_eq!(function("holt_winters"), None);
    }
}
