//! The report as a document: headings, texts, tables and charts, still without any markup.
//!
//! Markdown and HTML are two renderings of the same document, so that both say the same.

use super::build::Report;
use super::numbers::Compared;
use super::request::Span;
use super::responses::Between;
use super::sections::{at_most, sections};
use super::words::{self, change, count, maybe, plural, share};

/// A whole report.
pub(crate) struct Document {
    /// The site, or the tenant.
    pub(crate) title: String,
    /// The period in words.
    pub(crate) period: String,
    /// Tenant, zone, hours.
    pub(crate) origin: String,
    /// What a reader must know before the numbers: provisional, expired, unreadable.
    pub(crate) notices: Vec<String>,
    /// The summary's sentences.
    pub(crate) summary: Vec<String>,
    /// What changed most, the largest change first.
    pub(crate) changed: Vec<String>,
    /// The numbers to see first.
    pub(crate) figures: Vec<Figure>,
    /// The sections.
    pub(crate) sections: Vec<Section>,
    /// How to read the numbers.
    pub(crate) notes: Vec<String>,
}

/// A number to see first.
pub(crate) struct Figure {
    /// What it counts.
    pub(crate) label: &'static str,
    /// The number.
    pub(crate) value: String,
    /// Its change, or what it is made of.
    pub(crate) note: String,
    /// Its usual range, where that is known.
    pub(crate) usual: Option<String>,
    /// Whether it deserves a second look.
    pub(crate) alarm: bool,
}

/// A heading and what stands under it.
pub(crate) struct Section {
    /// The heading.
    pub(crate) heading: &'static str,
    /// Its content.
    pub(crate) blocks: Vec<Block>,
}

/// A piece of a section.
pub(crate) enum Block {
    /// A paragraph.
    Text(String),
    /// A paragraph beside the piece before it.
    Aside(String),
    /// A paragraph to be seen first.
    Alarm(String),
    /// A table.
    Grid(Grid),
    /// Bars per step.
    Bars(Bars),
    /// Stacked bars per step.
    Stack(Stack),
    /// A strip of hours per day.
    Heat(Heat),
    /// A bar for each day of a long time.
    Trend(Trend),
}

/// A table: the first column names, the others count.
pub(crate) struct Grid {
    /// What it shows, in a few words.
    pub(crate) caption: String,
    /// Column headings.
    pub(crate) head: Vec<String>,
    /// Rows.
    pub(crate) rows: Vec<GridRow>,
}

/// One row of a table.
pub(crate) struct GridRow {
    /// What the row is about.
    pub(crate) name: Name,
    /// Its cells.
    pub(crate) cells: Vec<String>,
}

/// What a row is about.
pub(crate) enum Name {
    /// A word of ours.
    Word(String),
    /// The sum of the other rows.
    All(&'static str),
    /// A name that the site chose: hostile until escaped.
    Given(String),
}

/// A count per step beside the same step of the period before.
pub(crate) struct Bars {
    /// What is counted.
    pub(crate) title: String,
    /// What a period is.
    pub(crate) span: Span,
    /// The steps in words.
    pub(crate) labels: Vec<String>,
    /// Their counts.
    pub(crate) counts: Vec<Compared>,
    /// Steps whose counts may still grow.
    pub(crate) provisional: Vec<bool>,
    /// Whether high bars are bad news.
    pub(crate) bad: bool,
}

/// Counts per step in layers.
pub(crate) struct Stack {
    /// What is counted.
    pub(crate) title: String,
    /// The steps in words.
    pub(crate) labels: Vec<String>,
    /// Layers from the bottom: name and count per step.
    pub(crate) layers: Vec<(String, Vec<Option<u64>>)>,
}

/// A count per hour of the day and day.
pub(crate) struct Heat {
    /// What is counted.
    pub(crate) title: String,
    /// The days in words.
    pub(crate) labels: Vec<String>,
    /// 24 counts per day.
    pub(crate) rows: Vec<Vec<Option<u64>>>,
}

/// A count per day over the period and all that it is compared with.
pub(crate) struct Trend {
    /// What is counted.
    pub(crate) title: String,
    /// Rows of days: weeks or months, each by its first day.
    pub(crate) rows: Vec<TrendRow>,
    /// How many of the last days are the period.
    pub(crate) period_days: usize,
    /// Whether high bars are bad news.
    pub(crate) bad: bool,
}

/// The days of a week or of a month.
pub(crate) struct TrendRow {
    /// Its first day in words.
    pub(crate) label: String,
    /// The count of each day; none without data.
    pub(crate) counts: Vec<Option<u64>>,
}

/// Writes a report as a document.
pub(crate) fn document(report: &Report) -> Document {
    let empty = !report.has_data() && report.traffic.requests.count.is_none();
    let (whose, sites) = match &report.site {
        Some(_) => (format!("Tenant {}. ", report.tenant), String::new()),
        None => (String::new(), ", all sites together".to_owned()),
    };
    Document {
        title: report.site.clone().unwrap_or_else(|| report.tenant.clone()),
        period: match report.span {
            Span::Week { .. } => format!("Week of {}{sites}", report.period.words),
            Span::Day | Span::Month => format!("{}{sites}", report.period.words),
        },
        origin: format!(
            "{whose}Days and hours in {}; the {} has {} hours.",
            report.zone,
            report.span.noun(),
            report.period.hours
        ),
        notices: notices(report),
        summary: report.summary.clone(),
        changed: match empty {
            true => Vec::new(),
            false => report.changed.iter().map(|change| change.words.clone()).collect(),
        },
        figures: if empty { Vec::new() } else { figures(report) },
        sections: sections(report, empty),
        notes: if empty { Vec::new() } else { notes(report) },
    }
}

fn notes(report: &Report) -> Vec<String> {
    let noun = report.span.noun();
    let usual = match report.coverage.usual_periods {
        0 => format!(
            "There is no usual range: too few of {} have data on each of their days.",
            report.usual_words
        ),
        _ => format!(
            "“Usual” is from the least to the most of {} that have data on each of their days.",
            report.usual_words
        ),
    };
    vec![
        format!("Counts are exact sums of recorded events; changes are against the {noun} before. {usual}"),
        "An hour without any signal has no data, which is not the same as zero.".to_owned(),
        match report.few {
            0 | 1 => "Counts by name are told as they are.".to_owned(),
            few => format!(
                "Counts by route, hook and option are told in multiples of {few}, rounded down, and as “few” under \
                 {few} (now and then of none), so that no report gives away what few people did; “other” is what they leave of the exact \
                 total."
            ),
        },
    ]
}

fn notices(report: &Report) -> Vec<String> {
    let mut notices = Vec::new();
    let noun = report.span.noun();
    match report.provisional_days.len() {
        0 => {}
        all if all == report.coverage.days as usize => {
            notices
                .push(format!("Provisional: this {noun} is not sealed yet, and its counts may still grow."));
        }
        _ => notices.push(format!(
            "Provisional: {} not sealed yet, and counts marked * may still grow.",
            match &report.provisional_days[..] {
                [one] => format!("{one} is"),
                days => format!("{} are", words::list(days)),
            }
        )),
    }
    let coverage = &report.coverage;
    let (hours, before) = (coverage.hours_with_data, coverage.before_hours_with_data);
    if hours > 0 && before > 0 && hours.min(before) * 4 < hours.max(before) * 3 {
        notices.push(format!(
            "The {noun} has data in {}, the {noun} before in {}: changes between them tell as much of that as of what \
             happened.",
            plural(hours, "hour", "hours"),
            plural(before, "hour", "hours")
        ));
    }
    if let Some(through) = &report.coverage.expired_through {
        notices.push(format!("Data up to {through} has expired under the plan and is in no count."));
    }
    if let Some(through) = &report.coverage.rounded_through {
        notices.push(format!(
            "Rounded: up to {through} only sums of whole windows are kept, which days in {} cut; such a window \
             counts where it ends.",
            report.zone
        ));
    }
    if report.coverage.missing_parts > 0 {
        notices.push(format!(
            "{} could not be read; counts may be too low. See Coverage.",
            plural(report.coverage.missing_parts, "part of the data", "parts of the data")
        ));
    }
    notices
}

fn figures(report: &Report) -> Vec<Figure> {
    let requests = report.traffic.requests;
    let server_errors = report.traffic.server_errors().unwrap_or_default();
    let refused = report.signins.refused;
    let bad_runs = report.schedule.bad;
    let p95 = report.responses.as_ref().and_then(|responses| responses.quantiles.get(1));
    let usual = |counts: Compared| counts.usual.map(|range| format!("usual {}", words::usual(Some(range))));
    let bound = |between: Option<Between>| between.map_or("–".to_owned(), at_most);
    vec![
        Figure {
            label: "Requests",
            value: maybe(requests.count),
            note: figure_note(requests),
            usual: usual(requests),
            alarm: false,
        },
        Figure {
            label: "Server errors",
            value: maybe(server_errors.count),
            note: match requests.count() {
                0 => "no requests".to_owned(),
                requests => format!("{} of requests", share(server_errors.count(), requests)),
            },
            usual: usual(server_errors),
            alarm: server_errors.count().saturating_mul(100) > requests.count(),
        },
        Figure {
            label: "95 % answered within",
            value: bound(p95.and_then(|p95| p95.value)),
            note: match p95 {
                None => "not recorded".to_owned(),
                Some(p95) => match p95.before {
                    None => "no data before".to_owned(),
                    before => format!("{} before", bound(before)),
                },
            },
            usual: None,
            alarm: false,
        },
        Figure {
            label: "Refused sign-ins",
            value: maybe(refused.count),
            note: figure_note(refused),
            usual: usual(refused),
            alarm: !report.signins.waves.is_empty(),
        },
        Figure {
            label: "Jobs not on time",
            value: maybe(bad_runs.count),
            note: format!("of {}", plural(report.schedule.runs.count(), "run", "runs")),
            usual: usual(bad_runs),
            alarm: report.schedule.failed() > 0,
        },
    ]
}

fn figure_note(counts: Compared) -> String {
    match (counts.count, counts.before) {
        (Some(_), None) => "no data before".to_owned(),
        (Some(now), Some(before)) if now != before => format!("{} from {}", change(counts), count(before)),
        _ => change(counts),
    }
}
