//! Answers: values, and what they lack.

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
