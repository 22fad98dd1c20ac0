//! A day, week or month of a site, or of all of a tenant's, in words and charts, from delta metrics alone.
//!
//! ```text
//!   request.rs    whose, which sites, which period, which zone; what a source has to select for that
//!   grid.rs       its days and hours on the zone's clock, and the periods that it is compared with
//!   read.rs       one pass over the selected series: whole counts per hour or day, and what could not be read
//!   snapshot.rs   what it was made from, as an id
//!   numbers.rs    counts beside the period before and the usual range; breakdowns that tell no small count
//!   traffic.rs responses.rs signins.rs waves.rs work.rs sites.rs coverage.rs      the sections' numbers
//!   summary.rs    what happened, in a few sentences; what changed most
//!   document.rs   the report as headings, texts, tables and charts; sections.rs has those of each section
//!   markdown.rs   html.rs  svg.rs  style.css                the document on paper
//! ```
//!
//! What holds: the same request on the same snapshot gives the same bytes. No raw signal is read. Site totals over
//! closed enumerations are always told, exactly; in breakdowns by free names, counts under the request's `few` never are,
//! nor does the difference of two reports give them away. An hour without any signal has no data, which is not zero, and
//! is said so.
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
//! use annals_query::report::{ReportRequest, Scope, Span, build};
//!
//! let request = ReportRequest::new(
//!     TenantId::new("acme")?,
//!     Scope::Site(SiteName::new("shop.example")?),
//!     jiff::tz::TimeZone::UTC,
//!     Span::WEEK,
//!     jiff::civil::date(2026, 5, 6),
//! );
//! let budget = Budget::new(QueryLimits::default());
//! let (matchers, range) = request.selection()?;
//! let selected = source.select(&matchers, range, &budget)?;
//! let report = build(&request, &*selected, &[], &budget)?;
//! assert!(report.to_markdown().starts_with("# shop.example: week of 4 to 10 May 2026"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod build;
mod coverage;
mod document;
mod grid;
mod html;
mod markdown;
mod numbers;
mod read;
mod request;
mod responses;
mod sections;
mod signins;
mod sites;
mod snapshot;
mod summary;
mod svg;
mod traffic;
mod waves;
mod words;
mod work;

pub use build::{PeriodSpan, Report, ReportError, SCHEMA, build, build_sites};
pub use coverage::{Coverage, Gap, MissingPart};
pub use html::STYLE;
pub use numbers::{Breakdown, BreakdownRow, Cell, Compared, FEW, Tally, Usual};
pub use request::{ReportRequest, Scope, Span};
pub use responses::{Between, Quantile, Responses, SlowRoute};
pub use signins::{HeavyHour, SignInWave, SignIns};
pub use sites::{Rest, Site, SiteCounts, Sites};
pub use snapshot::{DayState, Snapshot, SnapshotDay};
pub use summary::Change;
pub use traffic::Traffic;
pub use work::{Changes, Errors, Mail, Schedule};
