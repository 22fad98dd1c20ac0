//! PromQL: lexer, parser and evaluator, over a [`SeriesSource`] and nothing else.
//!
//! ```text
//!   text ── lexer ──► tokens ── parser ──► Expr ── check (types) ──► instant() or range()
//!                                                                        │
//!            selectors: one select() each, one read() per series ◄───────┤  eval/select.rs
//!            windows over decoded columns, one pass over all steps ◄─────┤  eval/window.rs
//!            operators, aggregations, functions on columns of steps ◄────┘  eval/*.rs
//! ```
//!
//! The whole language of Prometheus 3.14, experimental parts included: native histograms stand beside floats from
//! the source to the answer. `docs/promql.md` says what was checked, and where answers differ from Prometheus.
//!
//! What differs from Prometheus on purpose: series of kind delta hold the events of one cell per sample, so
//! `increase` is their exact sum over the window, `rate` that sum per second, without any extrapolation.
//!
//! ```
//! use annals_model::{Budget, SeriesKind, Timestamp};
//! use annals_query::promql::{QueryOptions, Value, instant, parse, testing::MemorySource};
//!
//! let mut source = MemorySource::default();
//! source.add(&[("__name__", "logins"), ("site", "a")], SeriesKind::Delta, &[(60_000, 2.0), (120_000, 3.0)]);
//! let expr = parse("sum(increase(logins[2m]))")?;
//! let answer = instant(&source, &expr, Timestamp(120_000), &QueryOptions::default(), &Budget::default())?;
//! let Value::Vector(vector) = answer.value else { panic!("a vector") };
//! assert_eq!(vector[0].2.float(), Some(5.0));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod ast;
mod check;
mod complete;
mod error;
mod eval;
mod explain;
mod lexer;
mod parser;
mod pretty;
mod print;
pub mod script;
mod signature;
pub mod testing;
mod tree;
mod value;

pub use ast::{
    Aggregate, At, Binary, BinaryOp, DEPTH_MAX, DurationExpr, DurationKind, Expr, ExprKind, Extended, Group,
    Matching, Number, Selector, Subquery, TimeShift,
};
pub use complete::{Completion, Wanted, complete};
pub use error::{Annotation, PromqlError, QueryError, Span, Spanned};
pub use eval::{PartCost, QueryOptions, SelectorCost, instant, range};
pub use explain::{Explained, Explanation, Times, explain};
pub use lexer::QUERY_BYTES_MAX;
pub use parser::parse;
pub use pretty::format;
pub use signature::{Aggregator, FUNCTIONS, Function, ValueType, function};
pub use tree::{selectors, tree};
pub use value::{Answer, Sample, Series, Value};

#[cfg(doc)]
use annals_model::SeriesSource;
