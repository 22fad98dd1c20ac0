//! Which days of which site, or of all of a tenant's sites, a report is about.

use annals_model::{METRIC_NAME, MatchOp, Matcher, SiteName, TenantId, TimeRange};
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use jiff::{Error, ToSpan};
use serde::Serialize;

use super::ReportError;
use super::grid::Grid;
use super::numbers::FEW;
use super::read::METRICS;
use crate::exact::CalendarError;

/// What a report is asked about. It holds no present time: the same request on the same data gives the same
/// bytes.
#[derive(Debug, Clone)]
pub struct ReportRequest {
    /// Whose data; printed, and already decided by the source that is read.
    pub tenant: TenantId,
    /// Which of the tenant's sites.
    pub scope: Scope,
    /// The zone that days and hours are those of.
    pub zone: TimeZone,
    /// How long the period is.
    pub span: Span,
    /// Any day of the period.
    pub of: Date,
    /// Counts under this are not told in breakdowns by free names, and others are told in multiples of it; [`FEW`] unless
    /// it is changed. 0 and 1 tell all.
    pub few: u64,
}

/// Which sites a report adds up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// One.
    Site(SiteName),
    /// All of the tenant, together.
    Tenant,
}

/// The length of a report's period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// From midnight to midnight.
    Day,
    /// Seven days.
    Week {
        /// The first of them.
        starts_on: Weekday,
    },
    /// From the first of a month to the first of the next.
    Month,
}

impl Serialize for Span {
    /// Its word.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.noun())
    }
}

impl Span {
    /// The week that starts on Monday.
    pub const WEEK: Span = Span::Week { starts_on: Weekday::Monday };

    /// `day`, `week` or `month`.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Span::Day => "day",
            Span::Week { .. } => "week",
            Span::Month => "month",
        }
    }

    /// The first day of the period that holds a day.
    pub fn first(self, of: Date) -> Result<Date, CalendarError> {
        match self {
            Span::Day => Ok(of),
            Span::Week { starts_on } => near(of.checked_sub(i32::from(of.weekday().since(starts_on)).days())),
            Span::Month => Ok(of.first_of_month()),
        }
    }

    /// The first day of the period after, or of so many periods before where `by` is negative.
    pub fn shift(self, first: Date, by: i32) -> Result<Date, CalendarError> {
        near(match self {
            Span::Day => first.checked_add(by.days()),
            Span::Week { .. } => first.checked_add((by * 7).days()),
            Span::Month => first.checked_add(by.months()),
        })
    }
}

/// A date that the calendar has.
pub(crate) fn near(date: Result<Date, Error>) -> Result<Date, CalendarError> {
    date.map_err(|_| CalendarError::OutOfRange(annals_model::Timestamp::MAX))
}

impl ReportRequest {
    /// The period that holds a day.
    #[must_use]
    pub fn new(tenant: TenantId, scope: Scope, zone: TimeZone, span: Span, of: Date) -> ReportRequest {
        ReportRequest { tenant, scope, zone, span, of, few: FEW }
    }

    /// The same of one site.
    #[must_use]
    pub fn of_site(&self, site: &SiteName) -> ReportRequest {
        ReportRequest { scope: Scope::Site(site.clone()), ..self.clone() }
    }

    /// All that the report reads: what a source has to select, once.
    pub fn selection(&self) -> Result<(Vec<Matcher>, TimeRange), ReportError> {
        let mut matchers = vec![of_metrics()?];
        if let Scope::Site(site) = &self.scope {
            matchers.push(Matcher::equal("site", site.as_str()));
        }
        Ok((matchers, Grid::of(self)?.range()))
    }

    /// The same of one report for each of these sites, which [`build_sites`](super::build_sites) makes of one selection. An
    /// error where their names are longer together than a matcher may be.
    pub fn selection_of_sites(&self, sites: &[SiteName]) -> Result<(Vec<Matcher>, TimeRange), ReportError> {
        let names: Vec<String> = sites.iter().map(escaped).collect();
        let matchers = vec![of_metrics()?, Matcher::new("site", MatchOp::Regex, &names.join("|"))?];
        Ok((matchers, Grid::of(self)?.range()))
    }
}

fn of_metrics() -> Result<Matcher, ReportError> {
    let names = METRICS.map(|metric| metric.name).join("|");
    Ok(Matcher::new(METRIC_NAME, MatchOp::Regex, &names)?)
}

/// A regular expression that matches a name alone. Of what names may hold, only the dot means something else in one.
fn escaped(site: &SiteName) -> String {
    site.as_str().replace('.', "\\.")
}
