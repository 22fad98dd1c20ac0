//! How a query is answered: its parts as a tree, what each selector finds, and what of that is read.
//!
//! A plan looks series up and reads nothing; an analysis evaluates the query as well and tells what each part took.

use annals_model::{Budget, SeriesSource, Timestamp};

use super::ast::{Expr, ExprKind};
use super::error::{QueryError, Span};
use super::eval::{self, PartCost, QueryOptions, SelectorCost, Trace};
use super::tree;
use super::value::Answer;

/// A part of a query and how it is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// How many parts it lies within.
    pub depth: usize,
    /// Where it stands.
    pub span: Span,
    /// What it is.
    pub what: String,
    /// Of a selector: what it finds, where it was looked up.
    pub selector: Option<SelectorCost>,
    /// What it took, where the query was evaluated.
    pub cost: Option<PartCost>,
}

/// How a query is answered.
#[derive(Debug, Clone)]
pub struct Explanation {
    /// Its parts, each before those within it.
    pub parts: Vec<Explained>,
    /// The most bytes of memory that were charged at one time.
    pub memory_bytes_peak: u64,
    /// The answer, where the query was evaluated.
    pub answer: Option<Answer>,
}

/// The times that a query is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// One.
    Instant(Timestamp),
    /// `start`, `start + step`, and so on up to `end`.
    Range {
        /// The first.
        start: Timestamp,
        /// None is after it.
        end: Timestamp,
        /// Milliseconds.
        step_ms: i64,
    },
}

/// Explains a query. With `clock`, which tells nanoseconds, it is evaluated too.
pub fn explain(
    source: &dyn SeriesSource,
    expr: &Expr,
    times: Times,
    options: &QueryOptions,
    budget: &Budget,
    clock: Option<&dyn Fn() -> u64>,
) -> Result<Explanation, QueryError> {
    let trace = Trace::new(clock.unwrap_or(&|| 0), clock.is_none());
    let answer = match times {
        Times::Instant(time) => eval::instant_traced(source, expr, time, options, budget, Some(&trace)),
        Times::Range { start, end, step_ms } => {
            eval::range_traced(source, expr, (start, end, step_ms), options, budget, Some(&trace))
        }
    };
    let answer = match answer {
        Ok(answer) => clock.is_some().then_some(answer),
        // A plan computes with nothing, where parameters may make no sense; what was found by then is still true.
        Err(QueryError::Promql(_)) if clock.is_none() => None,
        Err(error) => return Err(error),
    };
    let mut parts = Vec::new();
    visit(expr, 0, &trace, clock.is_some(), &mut parts);
    budget.poll()?;
    Ok(Explanation { parts, memory_bytes_peak: budget.memory_bytes_peak(), answer })
}

fn visit(expr: &Expr, depth: usize, trace: &Trace<'_>, analyzed: bool, parts: &mut Vec<Explained>) {
    let expr = expr.unparen();
    let selects = matches!(expr.kind, ExprKind::Selector(_) | ExprKind::Matrix(..));
    parts.push(Explained {
        depth,
        span: expr.span,
        what: tree::describe(expr),
        selector: if selects { trace.selector(expr.span.start) } else { None },
        cost: if analyzed { trace.part(expr) } else { None },
    });
    tree::each_inner(expr, &mut |inner| visit(inner, depth + 1, trace, analyzed, parts));
}
