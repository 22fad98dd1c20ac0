//! One site's week in words and charts, from delta metrics alone.
//!
//! ```text
//!   request.rs    which site and week; its days and hours on the zone's clock
//!   read.rs       metrics as whole counts per day or hour, and what could not be read
//!   numbers.rs    counts beside the week before; breakdowns with small counts folded
//!   traffic.rs signins.rs waves.rs work.rs coverage.rs      the sections
//!   summary.rs    what happened, in a few sentences
//!   document.rs   the report as headings, texts, tables and charts
//!   markdown.rs   html.rs  svg.rs  style.css                the document on paper
//! ```
//!
//! What holds: the same request on the same data gives the same bytes. No raw signal is read. Site totals over
//! closed enumerations are always told; in breakdowns by free names, counts under the request's `few` never are. An hour
//! without any signal has no data, which is not zero, and is said so.
//!
//! ```
//! # use annals_model::*;
//! # struct Nothing;
//! # impl SelectedSeries for Nothing {
//! #     fn len(&self) -> usize { 0 }
//! #     fn labels(&self, _: usize) -> LabelSet { unreachable!() }
//! #     fn kind(&self, _: usize) -> SeriesKind { unreachable!() }
//! #     fn read(&self, _: usize, _: &Budget, _: &mut Samples) -> Result<(), SourceError> { Ok(()) }
//! #     fn coverage(&self) -> &Coverage {
//! #         static COVERAGE: Coverage = Coverage {
//! #             expired_through: None,
//! #             coarser: Vec::new(),
//! #             missing: Vec::new(),
//! #         };
//! #         &COVERAGE
//! #     }
//! # }
//! # impl SeriesSource for Nothing {
//! #     fn select<'a>(&'a self, _: &[Matcher], _: TimeRange, _: &Budget)
//! #         -> Result<Box<dyn SelectedSeries + 'a>, SourceError> { Ok(Box::new(Nothing)) }
//! # }
//! # let source = Nothing;
//! use annals_query::report::{ReportRequest, build};
//!
//! let request = ReportRequest::new(
//!     TenantId::new("acme")?,
//!     SiteName::new("shop.example")?,
//!     jiff::tz::TimeZone::UTC,
//!     jiff::civil::date(2026, 5, 6),
//! );
//! let report = build(&source, &request, &Budget::new(QueryLimits::default()))?;
//! assert!(report.to_markdown().starts_with("# shop.example: week of 4 to 10 May 2026"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod build;
mod coverage;
mod document;
mod html;
mod markdown;
mod numbers;
mod read;
mod request;
mod signins;
mod summary;
mod svg;
mod traffic;
mod waves;
mod words;
mod work;

pub use build::{Report, ReportError, SCHEMA, WeekSpan, build};
pub use coverage::{Coverage, Gap, MissingPart};
pub use numbers::{Breakdown, BreakdownRow, Cell, Compared, FEW, Rest, Tally};
pub use request::ReportRequest;
pub use signins::{HeavyHour, SignInWave, SignIns};
pub use traffic::{Between, Quantile, Responses, Traffic};
pub use work::{Changes, Errors, Mail, Schedule};
