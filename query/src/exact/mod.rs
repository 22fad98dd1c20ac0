//! Exact aggregates by calendar period: counts of delta series, nothing estimated, nothing extrapolated.
//!
//! ```text
//!   calendar.rs   hours, days, weeks, months of a time zone as left-open ranges of stamps
//!   sums.rs       sums of delta series by labels and periods; which periods have data at all
//!   quantile.rs   quantiles from summed duration buckets, with the bounds that they are known by
//! ```
//!
//! A delta sample stamped `t` holds the events of the cell that ends at `t`, and ranges of stamps are
//! left-open, so a period `(start, end]` holds exactly the cells that lie in it: parts sum to the whole,
//! however the whole is cut, as long as the cuts fall between cells. All zones in use today are whole
//! minutes from UTC, and cells are minutes.

mod calendar;
mod quantile;
mod sums;

pub(crate) use calendar::local;
pub use calendar::{CalendarError, PERIODS_MAX, Period, day_range};
pub use quantile::{Bucket, BucketError, QuantileBounds, quantile_from_buckets};
pub use sums::{ExactError, Row, Table, presence, sums};
pub(crate) use sums::{Sum, each_series};
