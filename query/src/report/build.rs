//! The report: its sections, in the order that they are read from the metrics, and its three forms.

use annals_model::{Budget, SeriesSource};
use serde::Serialize;

use super::coverage::{Coverage, coverage};
use super::document::document;
use super::read::Reader;
use super::request::{ReportRequest, Weeks};
use super::signins::{SignIns, signins};
use super::summary::summary;
use super::traffic::{Responses, Traffic, responses, traffic};
use super::work::{Changes, Errors, Mail, Schedule, changes, errors, mail, schedule};
use super::{html, markdown, words};
use crate::exact::{BucketError, CalendarError, ExactError};

/// Names the form of the JSON; a change that readers could trip over raises the number.
pub const SCHEMA: &str = "annals.report/1";

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The metrics cannot be read, or a limit was crossed.
    #[error(transparent)]
    Exact(ExactError),
    /// The week lies outside the calendar.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
    /// A metric of counts holds something else, so it was not written by Annals.
    #[error("`{metric}` holds a value that is not a count; find who writes it, the name is reserved")]
    NotACount {
        /// The metric.
        metric: &'static str,
    },
    /// A bound of a duration bucket that is no number.
    #[error("a series of `http_response_seconds_bucket` has a label `le` that is not a number")]
    BucketBound,
    /// Duration buckets that contradict each other.
    #[error("`http_response_seconds_bucket`: {0}")]
    Buckets(#[from] BucketError),
}

/// One site's week. Breakdowns are folded already: nothing here may not be shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Whose.
    pub tenant: String,
    /// Which site.
    pub site: String,
    /// The zone of all days and hours.
    pub zone: String,
    /// The week.
    pub week: WeekSpan,
    /// Counts after this moment may still grow; none where nothing of the week can.
    pub provisional_after: Option<String>,
    /// Counts of free names under this are not told.
    pub few: u64,
    /// What happened, in a few sentences.
    pub summary: Vec<String>,
    /// Requests.
    pub traffic: Traffic,
    /// Response times; none where none were recorded.
    pub responses: Option<Responses>,
    /// Sign-ins.
    pub signins: SignIns,
    /// Errors.
    pub errors: Errors,
    /// Scheduled work.
    pub schedule: Schedule,
    /// Mail.
    pub mail: Mail,
    /// Configuration changes and file edits.
    pub changes: Changes,
    /// What the data covers.
    pub coverage: Coverage,
}

/// The week in numbers and words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WeekSpan {
    /// Its seven dates.
    pub dates: Vec<String>,
    /// The dates in words, short.
    pub day_words: Vec<String>,
    /// The week in words.
    pub words: String,
    /// Its first instant (outside; the first event counts after it).
    pub start: String,
    /// Its last instant.
    pub end: String,
    /// Its hours: 167 or 169 where the clock changes.
    pub hours: u64,
}

/// Builds the report of one site's week.
///
/// The source is the tenant's; only metrics of the site are read from it.
pub fn build(
    source: &dyn SeriesSource,
    request: &ReportRequest,
    budget: &Budget,
) -> Result<Report, ReportError> {
    let weeks = Weeks::of(request)?;
    let mut reader = Reader::new(source, request, budget, &weeks)?;
    let traffic = traffic(&mut reader)?;
    let responses = responses(&mut reader)?;
    let signins = signins(&mut reader)?;
    let errors = errors(&mut reader)?;
    let schedule = schedule(&mut reader)?;
    let mail = mail(&mut reader)?;
    let changes = changes(&mut reader)?;
    let coverage = coverage(&mut reader)?;
    let mut report = Report {
        schema: SCHEMA,
        tenant: request.tenant.to_string(),
        site: request.site.to_string(),
        zone: weeks.zone_name(),
        week: week_span(&weeks),
        provisional_after: request
            .provisional_after
            .filter(|&after| after < weeks.week().end)
            .map(|after| words::rfc3339(after.max(weeks.week().start), &weeks.zone)),
        few: request.few,
        summary: Vec::new(),
        traffic,
        responses,
        signins,
        errors,
        schedule,
        mail,
        changes,
        coverage,
    };
    report.summary = summary(&report);
    Ok(report)
}

fn week_span(weeks: &Weeks) -> WeekSpan {
    let dates: Vec<_> = weeks.week_days().iter().map(|day| day.date).collect();
    let words = match (dates.first(), dates.last()) {
        (Some(&first), Some(&last)) => words::days(first, last),
        _ => String::new(),
    };
    WeekSpan {
        dates: dates.iter().map(ToString::to_string).collect(),
        day_words: dates.iter().map(|&date| words::day_short(date)).collect(),
        words,
        start: words::rfc3339(weeks.week().start, &weeks.zone),
        end: words::rfc3339(weeks.week().end, &weeks.zone),
        hours: (weeks.hours.len() - weeks.first_hour()) as u64,
    }
}

impl Report {
    /// Whether the week has any signal.
    #[must_use]
    pub fn has_data(&self) -> bool {
        self.coverage.hours_with_data > 0
    }

    /// As Markdown that reads well as plain text.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        markdown::render(&document(self))
    }

    /// As one HTML file without script and without any outside request.
    #[must_use]
    pub fn to_html(&self) -> String {
        html::render(&document(self))
    }

    /// As JSON, with the fields in the order of this type.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Only maps with keys that are no strings and failing `Serialize`s can fail; there are none here.
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}
