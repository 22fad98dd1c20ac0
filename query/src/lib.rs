//! Questions over series, asked through [`annals_model::SeriesSource`] only.
//!
//! ```text
//!   promql    the dashboards' language: lexer, parser with spans, evaluator
//!   exact     counts and sums of delta series by calendar period, nothing estimated
//!   report    a day, week or month of a site or a tenant in words and charts, from metrics alone
//! ```

pub mod exact;
pub mod promql;
pub mod report;
