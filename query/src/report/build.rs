//! The report: its sections, in the order that they are told, and its three forms.

use std::slice;

use annals_model::{Budget, InvalidMatcher, SelectedSeries, SiteName};
use serde::Serialize;

use super::coverage::{Coverage, coverage};
use super::document::document;
use super::grid::Grid;
use super::read::{Reading, read};
use super::request::{ReportRequest, Scope, Span};
use super::responses::{Responses, responses};
use super::signins::{SignIns, signins};
use super::sites::{Sites, sites};
use super::snapshot::{DayState, Snapshot, SnapshotDay, snapshot};
use super::summary::{Change, changed, summary};
use super::traffic::{Traffic, traffic};
use super::work::{Changes, Errors, Mail, Schedule, changes, errors, mail, schedule};
use super::{html, markdown, words};
use crate::exact::{BucketError, CalendarError, ExactError};

/// Names the form of the JSON, which `docs/report.schema.json` describes; a change that readers could trip over raises
/// the number.
pub const SCHEMA: &str = "annals.report/2";

/// Why there is no report.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The metrics cannot be read, or a limit was crossed.
    #[error(transparent)]
    Exact(ExactError),
    /// The period lies outside the calendar.
    #[error(transparent)]
    Calendar(#[from] CalendarError),
    /// The names of the metrics make no matcher.
    #[error(transparent)]
    Matcher(#[from] InvalidMatcher),
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

/// A period of a site, or of all of a tenant's. Breakdowns are folded already: nothing here may not be shown.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: &'static str,
    /// Whose.
    pub tenant: String,
    /// Which site; none where it is all of them.
    pub site: Option<String>,
    /// The zone of all days and hours.
    pub zone: String,
    /// `day`, `week` or `month`.
    pub span: Span,
    /// The period.
    pub period: PeriodSpan,
    /// What the period is compared with.
    pub before: PeriodSpan,
    /// The days of the period.
    pub dates: Vec<String>,
    /// What counts per step are of: the hours of a day, the days of a week or month.
    pub steps: Vec<String>,
    /// The date of the first day that trends are of.
    pub trend_from: String,
    /// What usual ranges are of, in words.
    pub usual_words: String,
    /// The data that it was made from.
    pub snapshot: Snapshot,
    /// Days of the period that are not sealed: their counts may still grow.
    pub provisional_days: Vec<String>,
    /// Counts of free names under this are not told, and others are told in multiples of it.
    pub few: u64,
    /// What happened, in a few sentences.
    pub summary: Vec<String>,
    /// What changed most against the period before; at most three.
    pub changed: Vec<Change>,
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
    /// The sites; none where the report is about one.
    pub sites: Option<Sites>,
    /// What the data covers.
    pub coverage: Coverage,
}

/// A period in numbers and words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeriodSpan {
    /// Its first day.
    pub first: String,
    /// Its last day.
    pub last: String,
    /// The period in words.
    pub words: String,
    /// Its first instant (outside; the first event counts after it).
    pub start: String,
    /// Its last instant.
    pub end: String,
    /// Its hours: a week has 167 or 169 where the clock changes.
    pub hours: u64,
}

/// Builds a report of what [`ReportRequest::selection`] has selected.
///
/// `days` are the UTC days of the selected range, as they were when it was selected.
pub fn build(
    request: &ReportRequest,
    selected: &dyn SelectedSeries,
    days: &[SnapshotDay],
    budget: &Budget,
) -> Result<Report, ReportError> {
    let grid = Grid::of(request)?;
    let mut reading = Reading::new(request, &grid, selected.coverage());
    read(slice::from_mut(&mut reading), selected, budget)?;
    report_of(&reading, days)
}

/// Builds one report for each of these sites, of what [`ReportRequest::selection_of_sites`] has selected; `like` says all
/// but the site. What could not be read is named in all of them, whosever it is: who wants it told apart builds them one by
/// one.
///
/// Series of many sites lie beside each other, so that one pass over all costs far less than a pass for each.
pub fn build_sites(
    like: &ReportRequest,
    sites: &[SiteName],
    selected: &dyn SelectedSeries,
    days: &[SnapshotDay],
    budget: &Budget,
) -> Result<Vec<Report>, ReportError> {
    let requests: Vec<ReportRequest> = sites.iter().map(|site| like.of_site(site)).collect();
    let grid = Grid::of(like)?;
    let new = |request| Reading::new(request, &grid, selected.coverage());
    let mut readings: Vec<Reading<'_>> = requests.iter().map(new).collect();
    read(&mut readings, selected, budget)?;
    readings.iter().map(|reading| report_of(reading, days)).collect()
}

/// The report of what was read.
fn report_of(reading: &Reading<'_>, days: &[SnapshotDay]) -> Result<Report, ReportError> {
    let (request, grid) = (reading.request, reading.grid);
    let open = |day: &&SnapshotDay| day.state == DayState::Open;
    let is_open = |range| days.iter().filter(open).any(|open: &SnapshotDay| open.day.range().overlaps(range));
    let period_days = grid.days.get(grid.period.clone()).unwrap_or_default();
    let mut report = Report {
        schema: SCHEMA,
        tenant: request.tenant.to_string(),
        site: match &request.scope {
            Scope::Site(site) => Some(site.to_string()),
            Scope::Tenant => None,
        },
        zone: grid.zone_name(),
        span: request.span,
        period: period_span(grid, &grid.period),
        before: period_span(grid, &grid.before),
        dates: period_days.iter().map(|day| day.date.to_string()).collect(),
        steps: grid.steps.iter().map(|step| step.words.clone()).collect(),
        trend_from: grid.days.first().map_or_else(String::new, |day| day.date.to_string()),
        usual_words: period_days.first().map_or_else(String::new, |first| {
            words::usual_words(request.span, first.date, reading.usual_periods())
        }),
        snapshot: snapshot(days, reading),
        provisional_days: period_days
            .iter()
            .filter(|day| is_open(day.range))
            .map(|day| day.date.to_string())
            .collect(),
        few: request.few,
        summary: Vec::new(),
        changed: Vec::new(),
        traffic: traffic(reading),
        responses: responses(reading)?,
        signins: signins(reading),
        errors: errors(reading),
        schedule: schedule(reading),
        mail: mail(reading),
        changes: changes(reading),
        sites: sites(reading),
        coverage: coverage(reading),
    };
    report.changed = changed(&report);
    report.summary = summary(&report);
    Ok(report)
}

fn period_span(grid: &Grid, days: &std::ops::Range<usize>) -> PeriodSpan {
    let stamps = grid.stamps(days);
    let dates = grid.days.get(days.clone()).unwrap_or_default();
    let date = |day: Option<&super::grid::LocalDay>| day.map_or_else(String::new, |day| day.date.to_string());
    PeriodSpan {
        first: date(dates.first()),
        last: date(dates.last()),
        words: match (dates.first(), dates.last()) {
            (Some(first), Some(last)) => words::period(grid.span, first.date, last.date),
            _ => String::new(),
        },
        start: words::rfc3339(stamps.start, &grid.zone),
        end: words::rfc3339(stamps.end, &grid.zone),
        hours: grid.slots_of(days).len() as u64,
    }
}

impl Report {
    /// Of each step whether its counts may still grow.
    pub(crate) fn provisional_steps(&self) -> Vec<bool> {
        let all = self.provisional_days.len() as u64 == self.coverage.days;
        let mut steps = vec![all; self.steps.len()];
        if self.span != Span::Day {
            for (step, date) in steps.iter_mut().zip(&self.dates) {
                *step = self.provisional_days.contains(date);
            }
        }
        steps
    }

    /// What ended first: `data`, or the period.
    pub(crate) fn data_or_period(&self) -> &'static str {
        if self.coverage.steps_with_data.last() == Some(&true) { self.span.noun() } else { "data" }
    }

    /// Whether the period has any signal.
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
