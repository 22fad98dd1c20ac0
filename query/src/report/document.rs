//! The report as a document: headings, texts, tables and charts, still without any markup.
//!
//! Markdown and HTML are two renderings of the same document, so that both say the same.

use super::build::Report;
use super::numbers::{Breakdown, Cell, Compared, Tally, sum_of};
use super::signins::SignInWave;
use super::traffic::{Between, Responses};
use super::words::{self, change, count, maybe, plural, share};
use super::work::all;

/// A whole report.
pub(crate) struct Document {
    /// The site.
    pub(crate) title: String,
    /// The week in words.
    pub(crate) week: String,
    /// Tenant, zone, hours.
    pub(crate) origin: String,
    /// What a reader must know before the numbers: provisional, expired, unreadable.
    pub(crate) notices: Vec<String>,
    /// The summary's sentences.
    pub(crate) summary: Vec<String>,
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
    /// Bars per day.
    Days(Days),
    /// Stacked bars per day.
    Stack(Stack),
    /// A strip of hours per day.
    Heat(Heat),
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
    /// A name that the site chose: hostile until escaped.
    Given(String),
}

/// A count per day beside the same weekday of the week before.
pub(crate) struct Days {
    /// What is counted.
    pub(crate) title: String,
    /// The days in words.
    pub(crate) labels: Vec<String>,
    /// Their counts.
    pub(crate) counts: Vec<Compared>,
    /// Whether high bars are bad news.
    pub(crate) bad: bool,
}

/// Counts per day in layers.
pub(crate) struct Stack {
    /// What is counted.
    pub(crate) title: String,
    /// The days in words.
    pub(crate) labels: Vec<String>,
    /// Layers from the bottom: name and count per day.
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

/// Writes a report as a document.
pub(crate) fn document(report: &Report) -> Document {
    let empty = !report.has_data() && report.traffic.requests.week.is_none();
    let sections = match empty {
        true => vec![coverage(report)],
        false => vec![
            traffic(report),
            response_times(report),
            sign_ins(report),
            errors(report),
            schedule(report),
            mail(report),
            changes(report),
            coverage(report),
        ],
    };
    Document {
        title: report.site.clone(),
        week: report.week.words.clone(),
        origin: format!(
            "Tenant {}. Days and hours in {}; the week has {} hours.",
            report.tenant, report.zone, report.week.hours
        ),
        notices: notices(report),
        summary: report.summary.clone(),
        figures: if empty { Vec::new() } else { figures(report) },
        sections,
        notes: if empty { Vec::new() } else { notes(report) },
    }
}

fn notes(report: &Report) -> Vec<String> {
    vec![
        "Counts are exact sums of recorded events; changes are against the week before.".to_owned(),
        "An hour without any signal has no data, which is not the same as zero.".to_owned(),
        format!(
            "“few” stands for a name's count under {}, and now and then for a larger one folded with it so \
                 that neither can be told; all of them are in the row “other (few)”.",
            report.few
        ),
    ]
}

fn notices(report: &Report) -> Vec<String> {
    let mut notices = Vec::new();
    if let Some(after) = &report.provisional_after {
        notices.push(format!("Provisional: counts after {after} may still grow."));
    }
    if let Some(through) = &report.coverage.expired_through {
        notices.push(format!("Data up to {through} has expired under the plan and is in no count."));
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
    let server_errors = sum_of(&report.traffic.classes, &["5xx"]);
    let refused = report.signins.refused();
    let bad_runs = sum_of(&report.schedule.results, &["failed", "missed", "late"]);
    let p95 = report.responses.as_ref().and_then(|responses| responses.quantiles.get(1));
    vec![
        Figure { label: "Requests", value: maybe(requests.week), note: figure_note(requests), alarm: false },
        Figure {
            label: "Server errors",
            value: maybe(server_errors.week),
            note: match requests.count() {
                0 => "no requests".to_owned(),
                requests => format!("{} of requests", share(server_errors.count(), requests)),
            },
            alarm: server_errors.count().saturating_mul(100) > requests.count(),
        },
        Figure {
            label: "95 % answered within",
            value: p95.and_then(|p95| p95.week).map_or("–".to_owned(), at_most),
            note: match p95 {
                None => "not recorded".to_owned(),
                Some(p95) => match p95.before {
                    None => "no data before".to_owned(),
                    Some(before) => format!("{} before", at_most(before)),
                },
            },
            alarm: false,
        },
        Figure {
            label: "Refused sign-ins",
            value: maybe(refused.week),
            note: figure_note(refused),
            alarm: !report.signins.waves.is_empty(),
        },
        Figure {
            label: "Jobs not on time",
            value: maybe(bad_runs.week),
            note: format!("of {}", plural(all(&report.schedule.results).count(), "run", "runs")),
            alarm: sum_of(&report.schedule.results, &["failed", "missed"]).count() > 0,
        },
    ]
}

fn figure_note(counts: Compared) -> String {
    match (counts.week, counts.before) {
        (Some(_), None) => "no data before".to_owned(),
        _ => change(counts),
    }
}

/// One sentence instead of tables of zeros, where neither week counted anything.
fn none(what: &str, counts: Compared) -> Option<Block> {
    (counts.count() == 0 && counts.before.unwrap_or(0) == 0).then(|| {
        Block::Text(match counts.before {
            Some(_) => format!("No {what}, this week or the week before."),
            None => format!("No {what} this week; the week before has no data."),
        })
    })
}

fn at_most(between: Between) -> String {
    match between.0.at_most.is_finite() {
        true => words::seconds(between.0.at_most),
        false => format!("over {}", words::seconds(between.0.above)),
    }
}

fn traffic(report: &Report) -> Section {
    let traffic = &report.traffic;
    if let Some(none) = none("request was recorded", traffic.requests) {
        return Section { heading: "Traffic", blocks: vec![none] };
    }
    let mut blocks = vec![Block::Days(Days {
        title: "Requests per day".to_owned(),
        labels: report.week.day_words.clone(),
        counts: traffic.days.clone(),
        bad: false,
    })];
    if traffic.requests.count() > 0 {
        blocks.push(Block::Stack(Stack {
            title: "Status classes per day, as shares".to_owned(),
            labels: report.week.day_words.clone(),
            layers: traffic
                .classes
                .iter()
                .zip(&traffic.class_days)
                .map(|(class, days)| (class.name.clone(), days.clone()))
                .collect(),
        }));
    }
    blocks.push(Block::Grid(tallies("Status classes", "Class", &traffic.classes, true)));
    blocks.extend(names("Routes", "Route", &traffic.routes, traffic.requests));
    Section { heading: "Traffic", blocks }
}

fn response_times(report: &Report) -> Section {
    let heading = "Response times";
    let Some(responses) = &report.responses else {
        let text = "Not recorded: the site's logs carry no durations.".to_owned();
        return Section { heading, blocks: vec![Block::Text(text)] };
    };
    let mut rows = vec![GridRow {
        name: Name::Word("average".to_owned()),
        cells: [responses.average_week, responses.average_before]
            .map(|average| average.map_or("no data".to_owned(), words::seconds))
            .to_vec(),
    }];
    let between = |between: &Option<Between>| between.map_or("no data".to_owned(), range);
    rows.extend(responses.quantiles.iter().map(|quantile| GridRow {
        name: Name::Word(quantile.name.clone()),
        cells: vec![between(&quantile.week), between(&quantile.before)],
    }));
    let head = ["", "Week", "Before"].map(str::to_owned).to_vec();
    let per_day = report
        .week
        .day_words
        .iter()
        .zip(&responses.p95_days)
        .map(|(day, p95)| GridRow {
            name: Name::Word(day.clone()),
            cells: vec![p95.map_or("–".to_owned(), range)],
        })
        .collect();
    Section {
        heading,
        blocks: vec![
            Block::Text(measured(responses, report.traffic.requests)),
            Block::Grid(Grid { caption: "How long responses took".to_owned(), head, rows }),
            Block::Grid(Grid {
                caption: "95th percentile per day".to_owned(),
                head: ["Day", "p95"].map(str::to_owned).to_vec(),
                rows: per_day,
            }),
        ],
    }
}

fn measured(responses: &Responses, requests: Compared) -> String {
    let measured = responses.measured.count();
    let share = match requests.count() {
        0 => String::new(),
        _ => format!(" ({} of requests)", share(measured.min(requests.count()), requests.count())),
    };
    format!(
        "{}{share} have a recorded duration. Durations are counted in steps, so a percentile is known to lie \
         between two steps, and both are given; the average is exact.",
        plural(measured, "response", "responses")
    )
}

/// `over 100 ms, up to 250 ms` in short.
fn range(between: Between) -> String {
    let bounds = between.0;
    match (bounds.above == 0.0, bounds.at_most.is_finite()) {
        (_, false) => format!("over {}", words::seconds(bounds.above)),
        (true, _) => format!("up to {}", words::seconds(bounds.at_most)),
        _ => format!("{} to {}", words::seconds(bounds.above), words::seconds(bounds.at_most)),
    }
}

fn sign_ins(report: &Report) -> Section {
    let signins = &report.signins;
    if let Some(none) = none("sign-in was attempted", all(&signins.results)) {
        return Section { heading: "Sign-ins", blocks: vec![none] };
    }
    let mut blocks: Vec<Block> = signins.waves.iter().map(|wave| Block::Alarm(wave_words(wave))).collect();
    if signins.waves_more > 0 {
        let more = plural(signins.waves_more, "smaller wave is", "smaller waves are");
        blocks.push(Block::Text(format!("{more} not listed.")));
    }
    if signins.waves.is_empty() {
        blocks.push(Block::Text("No brute-force wave stood out.".to_owned()));
    }
    let refused = signins.refused();
    if refused.count() > 0 || refused.before.unwrap_or(0) > 0 {
        blocks.push(Block::Days(Days {
            title: "Refused sign-ins per day".to_owned(),
            labels: report.week.day_words.clone(),
            counts: signins.refused_days.clone(),
            bad: true,
        }));
    }
    if refused.count() > 0 {
        blocks.push(Block::Heat(Heat {
            title: "Refused sign-ins by hour".to_owned(),
            labels: report.week.day_words.clone(),
            rows: signins.refused_hours.clone(),
        }));
    }
    blocks.push(Block::Grid(tallies("Sign-in attempts", "Result", &signins.results, true)));
    let heaviest: Vec<String> =
        signins.heaviest.iter().map(|hour| format!("{} ({})", hour.words, count(hour.refused))).collect();
    let heaviest = match heaviest.len() {
        0 => String::new(),
        1 => format!("The heaviest hour: {}. ", words::list(&heaviest)),
        _ => format!("The heaviest hours: {}. ", words::list(&heaviest)),
    };
    blocks.push(Block::Aside(format!(
        "{heaviest}How a wave is told: {} The background here is at most {} an hour.",
        signins.rule,
        count(signins.background_max)
    )));
    Section { heading: "Sign-ins", blocks }
}

fn wave_words(wave: &SignInWave) -> String {
    let start = match wave.began_before {
        true => "running when the week began".to_owned(),
        false => format!("from {}", wave.start_words),
    };
    let end = match wave.goes_on {
        true => "still running when the data ended".to_owned(),
        false => format!("to {}", wave.end_words),
    };
    let got_in = match wave.succeeded {
        0 => "No sign-in succeeded in that time.".to_owned(),
        some => {
            format!("{} in that time: check whose.", plural(some, "sign-in succeeded", "sign-ins succeeded"))
        }
    };
    format!(
        "Brute-force wave: {} in {}, {start} {end}. Peak: {} in the hour from {}. {got_in}",
        plural(wave.refused, "refused sign-in", "refused sign-ins"),
        plural(wave.hours, "hour", "hours"),
        count(wave.peak.refused),
        wave.peak.words
    )
}

fn errors(report: &Report) -> Section {
    let errors = &report.errors;
    if let Some(none) = none("error was raised", all(&errors.severities)) {
        return Section { heading: "Errors", blocks: vec![none] };
    }
    let mut blocks = vec![Block::Grid(tallies("Errors by severity", "Severity", &errors.severities, false))];
    if all(&errors.severities).count() > 0 {
        blocks.push(Block::Days(Days {
            title: "Errors per day, all severities".to_owned(),
            labels: report.week.day_words.clone(),
            counts: errors.days.clone(),
            bad: true,
        }));
    }
    Section { heading: "Errors", blocks }
}

fn schedule(report: &Report) -> Section {
    let schedule = &report.schedule;
    if let Some(none) = none("scheduled work ran or was missed", all(&schedule.results)) {
        return Section { heading: "Scheduled work", blocks: vec![none] };
    }
    let mut blocks = vec![Block::Grid(tallies("Scheduled runs", "Result", &schedule.results, true))];
    if !schedule.hooks.rows.is_empty() || schedule.hooks.few.is_some() {
        let mut head = vec!["Hook".to_owned()];
        head.extend(schedule.hooks.columns.iter().cloned());
        let rows = breakdown_rows(&schedule.hooks, |cells| cells.iter().map(|&c| words::cell(c)).collect());
        blocks.push(Block::Grid(Grid { caption: "By hook, this week".to_owned(), head, rows }));
    }
    Section { heading: "Scheduled work", blocks }
}

fn mail(report: &Report) -> Section {
    if let Some(none) = none("mail was sent or tried", all(&report.mail.results)) {
        return Section { heading: "Mail", blocks: vec![none] };
    }
    let grid = tallies("Mails", "Result", &report.mail.results, true);
    Section { heading: "Mail", blocks: vec![Block::Grid(grid)] }
}

fn changes(report: &Report) -> Section {
    let changes = &report.changes;
    if let Some(none) =
        none("configuration changed and no file was edited", changes.config.plus(changes.files))
    {
        return Section { heading: "Configuration and files", blocks: vec![none] };
    }
    let mut blocks = vec![Block::Grid(Grid {
        caption: "Changes".to_owned(),
        head: compared_head(""),
        rows: vec![
            compared_row(Name::Word("configuration changes".to_owned()), changes.config),
            compared_row(Name::Word("file edits".to_owned()), changes.files),
        ],
    })];
    blocks.extend(names("Options changed", "Option", &changes.options, changes.config));
    blocks.extend(names("Files edited", "Area", &changes.areas, changes.files));
    Section { heading: "Configuration and files", blocks }
}

fn coverage(report: &Report) -> Section {
    let coverage = &report.coverage;
    let without = coverage.hours - coverage.hours_with_data;
    let mut text = match without {
        0 => format!("All {} hours have data.", count(coverage.hours)),
        all if all == coverage.hours => format!("None of the {} hours has data.", count(all)),
        without => format!(
            "{} of {} hours have no data: not a single signal of any kind.",
            count(without),
            count(coverage.hours)
        ),
    };
    text.push_str(&format!(
        " Of the week before, {} of {} have none.",
        count(coverage.before_hours - coverage.before_hours_with_data),
        count(coverage.before_hours)
    ));
    let mut blocks = vec![Block::Text(text)];
    // The whole week without data was said above.
    if !coverage.gaps.is_empty() && coverage.hours_with_data > 0 {
        let gaps: Vec<String> = coverage
            .gaps
            .iter()
            .map(|gap| format!("{} ({})", gap.words, plural(gap.hours, "hour", "hours")))
            .collect();
        blocks.push(Block::Text(format!("Longest without data: {}.", gaps.join("; "))));
    }
    if !coverage.signals.is_empty() {
        blocks.push(Block::Grid(tallies("Signals admitted", "Kind", &coverage.signals, false)));
    }
    for part in &coverage.missing {
        blocks.push(Block::Text(format!("Not readable, {} to {}: {}", part.start, part.end, part.why)));
    }
    let more = coverage.missing_parts.saturating_sub(coverage.missing.len() as u64);
    if more > 0 {
        blocks.push(Block::Text(format!("And {} not readable.", plural(more, "part more", "parts more"))));
    }
    Section { heading: "Coverage", blocks }
}

fn compared_head(first: &str) -> Vec<String> {
    [first, "Week", "Before", "Change"].map(str::to_owned).to_vec()
}

fn compared_row(name: Name, counts: Compared) -> GridRow {
    GridRow { name, cells: vec![maybe(counts.week), maybe(counts.before), change(counts)] }
}

/// A table of a closed enumeration, with shares where asked.
fn tallies(caption: &str, first: &str, tallies: &[Tally], shares: bool) -> Grid {
    let whole = all(tallies).count();
    let mut head = compared_head(first);
    if shares {
        head.insert(2, "Share".to_owned());
    }
    let row = |name: &str, counts: Compared| {
        let mut row = compared_row(Name::Word(name.to_owned()), counts);
        if shares {
            row.cells.insert(1, share(counts.count(), whole));
        }
        row
    };
    let mut rows: Vec<GridRow> = tallies.iter().map(|tally| row(&tally.name, tally.count)).collect();
    if tallies.len() > 1 {
        rows.push(row("all", all(tallies)));
    }
    Grid { caption: caption.to_owned(), head, rows }
}

/// A table of free names, where there are any.
fn names(caption: &str, first: &str, names: &Breakdown, whole: Compared) -> Option<Block> {
    if names.rows.is_empty() && names.few.is_none() {
        return None;
    }
    let mut head = compared_head(first);
    head.insert(2, "Share".to_owned());
    let rows = breakdown_rows(names, |cells| {
        let (week, before) = match cells {
            [week, before, ..] => (*week, *before),
            _ => (Cell::NoData, Cell::NoData),
        };
        let part = match week {
            Cell::Count(part) => share(part, whole.count()),
            Cell::Few | Cell::NoData => "–".to_owned(),
        };
        vec![words::cell(week), part, words::cell(before), words::cell_change(week, before)]
    });
    Some(Block::Grid(Grid { caption: caption.to_owned(), head, rows }))
}

fn breakdown_rows(table: &Breakdown, cells: impl Fn(&[Cell]) -> Vec<String>) -> Vec<GridRow> {
    let mut rows: Vec<GridRow> = table
        .rows
        .iter()
        .map(|row| GridRow { name: Name::Given(row.name.clone()), cells: cells(&row.cells) })
        .collect();
    if let Some(rest) = &table.rest {
        let name = Name::Word(format!("{} more", count(rest.names)));
        rows.push(GridRow { name, cells: cells(&rest.cells) });
    }
    if let Some(few) = &table.few {
        rows.push(GridRow { name: Name::Word("other (few)".to_owned()), cells: cells(few) });
    }
    rows
}
