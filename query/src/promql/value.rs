//! Answers: values, what they lack, and floats as Prometheus prints them.

use std::sync::Arc;

use annals_model::{Coverage, Histogram, LabelSet, Timestamp};

use super::error::Annotation;

/// What a query answers.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The value.
    pub value: Value,
    /// What makes the value doubtful, each said once.
    pub warnings: Vec<Annotation>,
    /// What is odd about the question, each said once.
    pub infos: Vec<Annotation>,
    /// What each selector's data covers, in the order in which they were evaluated.
    pub coverage: Vec<Coverage>,
}

/// The value of a query.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A number at the evaluation time.
    Scalar(Timestamp, f64),
    /// A text.
    String(String),
    /// A sample per series, at the evaluation time.
    Vector(Vec<(LabelSet, Timestamp, Sample)>),
    /// Many numbers per series; the answer of every range query.
    Matrix(Vec<Series>),
}

/// The value of one series at one time.
#[derive(Debug, Clone, PartialEq)]
pub enum Sample {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

impl Sample {
    /// The number, where it is one.
    #[must_use]
    pub fn float(&self) -> Option<f64> {
        match self {
            Sample::Float(value) => Some(*value),
            Sample::Histogram(_) => None,
        }
    }
}

/// One series of a matrix: floats or histograms, or both at different times.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: LabelSet,
    /// Times ascending, and values.
    pub points: Vec<(Timestamp, f64)>,
    /// Times ascending, and native histograms; none of the times is that of a point.
    pub histograms: Vec<(Timestamp, Arc<Histogram>)>,
}

/// A float as Prometheus prints it in replies: shortest digits that read back to the same float, an exponent
/// only below 1e-6 and from 1e21 on, `+Inf`, `-Inf`, `NaN`.
///
/// ```
/// use annals_query::promql::format_value;
/// assert_eq!(format_value(0.1), "0.1");
/// assert_eq!(format_value(1e21), "1e+21");
/// assert_eq!(format_value(-2.5e-7), "-2.5e-07");
/// assert_eq!(format_value(f64::INFINITY), "+Inf");
/// ```
#[must_use]
pub fn format_value(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || size == 0.0 || (1e-6..1e21).contains(&size) {
        return format_plain(value);
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// A float without an exponent, as `count_values` writes it into labels.
pub(super) fn format_plain(value: f64) -> String {
    if value.is_nan() {
        "NaN".to_owned()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() }
    } else {
        format!("{value}")
    }
}
