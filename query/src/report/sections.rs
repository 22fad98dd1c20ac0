//! The sections of a report's document: which tables, charts and sentences stand under which heading.

use jiff::ToSpan;
use jiff::civil::Date;

use super::build::Report;
use super::document::{Bars, Block, Grid, GridRow, Heat, Name, Section, Stack, Trend, TrendRow};
use super::numbers::{Breakdown, Cell, Compared, Tally};
use super::request::Span;
use super::responses::{Between, Responses};
use super::signins::SignInWave;
use super::sites::SiteCounts;
use super::words::{self, change, count, maybe, plural, share, usual};

/// All sections; of a period without data only what the data covers.
pub(crate) fn sections(report: &Report, empty: bool) -> Vec<Section> {
    if empty {
        return vec![coverage(report)];
    }
    let mut nothing = Vec::new();
    let mut sections: Vec<Section> = Vec::new();
    for (what, section) in [
        ("requests", traffic(report)),
        ("", response_times(report)),
        ("", sites(report)),
        ("sign-ins", sign_ins(report)),
        ("errors", errors(report)),
        ("scheduled work", schedule(report)),
        ("mail", mail(report)),
        ("changes of configuration and files", changes(report)),
    ] {
        match section {
            Some(section) => sections.push(section),
            None if what.is_empty() => {}
            None => nothing.push(what.to_owned()),
        }
    }
    let mut coverage = coverage(report);
    if !nothing.is_empty() {
        let noun = report.span.noun();
        let before = match report.coverage.before_hours_with_data {
            0 => format!("; the {noun} before has no data"),
            _ => format!(", nor the {noun} before"),
        };
        let text = format!("Nothing was recorded this {noun} of {}{before}.", words::list(&nothing));
        coverage.blocks.insert(0, Block::Text(text));
    }
    sections.push(coverage);
    sections
}

/// Whether neither period counted anything.
fn is_nothing(counts: &[Compared]) -> bool {
    counts.iter().all(|counts| counts.is_nothing())
}

/// The upper bound of a quantile.
pub(crate) fn at_most(between: Between) -> String {
    match between.0.at_most.is_finite() {
        true => words::seconds(between.0.at_most),
        false => format!("over {}", words::seconds(between.0.above)),
    }
}

/// `Requests per day`, or per hour of a day.
fn per_step(report: &Report, what: &str) -> String {
    format!("{what} per {}", if report.span == Span::Day { "hour" } else { "day" })
}

fn bars(report: &Report, what: &str, counts: &[Compared], bad: bool) -> Block {
    Block::Bars(Bars {
        title: per_step(report, what),
        span: report.span,
        labels: report.steps.clone(),
        counts: counts.to_vec(),
        provisional: report.provisional_steps(),
        bad,
    })
}

/// The days of a trend, by weeks or months; `None` where only the period has data.
fn trend(report: &Report, what: &str, counts: &[Option<u64>], bad: bool) -> Option<Block> {
    let period_days = report.coverage.days as usize;
    let earlier = counts.len().checked_sub(period_days)?;
    if counts.get(..earlier)?.iter().all(Option::is_none) {
        return None;
    }
    let mut first: Date = report.trend_from.parse().ok()?;
    let (mut rest, mut rows) = (counts, Vec::new());
    while !rest.is_empty() {
        let days = match report.span {
            Span::Month => usize::try_from(first.days_in_month()).ok()?,
            Span::Day | Span::Week { .. } => 7,
        };
        let (row, more) = rest.split_at(days.min(rest.len()));
        rows.push(TrendRow { label: words::day_only(first), counts: row.to_vec() });
        first = first.checked_add(i64::try_from(row.len()).ok()?.days()).ok()?;
        rest = more;
    }
    // What lies before all data, or is not kept any more, needs no room.
    let empty = rows.iter().take_while(|row| row.counts.iter().all(Option::is_none)).count();
    rows.drain(..empty);
    let since = match report.span {
        Span::Month => "eight months",
        Span::Day | Span::Week { .. } => "eight weeks",
    };
    let title = format!("{what} per day, with the {since} before");
    Some(Block::Trend(Trend { title, rows, period_days, bad }))
}

fn traffic(report: &Report) -> Option<Section> {
    let (heading, traffic) = ("Traffic", &report.traffic);
    if is_nothing(&[traffic.requests]) {
        return None;
    }
    let mut blocks = vec![bars(report, "Requests", &traffic.steps, false)];
    if traffic.requests.count() > 0 {
        blocks.push(Block::Stack(Stack {
            title: format!("{}, as shares", per_step(report, "Status classes")),
            labels: report.steps.clone(),
            layers: traffic
                .classes
                .iter()
                .zip(&traffic.class_steps)
                .map(|(class, steps)| (class.name.clone(), steps.clone()))
                .collect(),
        }));
    }
    blocks.extend(trend(report, "Requests", &traffic.trend, false));
    blocks.push(tallies(report, "Status classes", "Class", &traffic.classes, Some(traffic.requests)));
    blocks.extend(names(report, "Routes", "Route", &traffic.routes, traffic.requests));
    Some(Section { heading, blocks })
}

fn response_times(report: &Report) -> Option<Section> {
    let heading = "Response times";
    let Some(responses) = &report.responses else {
        let text = "Not recorded: the logs carry no durations.".to_owned();
        let answered = report.traffic.requests.count() > 0;
        return answered.then(|| Section { heading, blocks: vec![Block::Text(text)] });
    };
    let mut rows = vec![GridRow {
        name: Name::Word("average".to_owned()),
        cells: [responses.average, responses.average_before]
            .map(|average| average.map_or("no data".to_owned(), words::seconds))
            .to_vec(),
    }];
    let between = |between: &Option<Between>| between.map_or("no data".to_owned(), range);
    rows.extend(responses.quantiles.iter().map(|quantile| GridRow {
        name: Name::Word(quantile.name.clone()),
        cells: vec![between(&quantile.value), between(&quantile.before)],
    }));
    let head = vec![String::new(), words::capital(report.span.noun()), "Before".to_owned()];
    let mut blocks = vec![
        Block::Text(measured(responses, report.traffic.requests)),
        Block::Grid(Grid { caption: "How long responses took".to_owned(), head, rows }),
    ];
    blocks.extend(p95_per_step(report, responses));
    if !responses.slowest.is_empty() {
        let rows = responses.slowest.iter().map(|route| GridRow {
            name: Name::Given(route.name.clone()),
            cells: vec![
                words::cell(route.responses),
                route.p50.map_or("–".to_owned(), range),
                route.p95.map_or("–".to_owned(), range),
                route.p95_before.map_or("–".to_owned(), range),
            ],
        });
        blocks.push(Block::Grid(Grid {
            caption: "Slowest routes, by their 95th percentile".to_owned(),
            head: ["Route", "Responses", "p50", "p95", "p95 before"].map(str::to_owned).to_vec(),
            rows: rows.collect(),
        }));
    }
    Some(Section { heading, blocks })
}

/// The 95th percentile of each day of a week: one sentence where it is the same for all.
fn p95_per_step(report: &Report, responses: &Responses) -> Option<Block> {
    if !matches!(report.span, Span::Week { .. }) {
        return None;
    }
    let mut known = responses.p95_steps.iter().flatten();
    let first = *known.next()?;
    if known.all(|p95| *p95 == first) {
        let text = format!("On each day that has any, the 95th percentile was {}.", range(first));
        return Some(Block::Text(text));
    }
    let steps = report.steps.iter().zip(&responses.p95_steps);
    let rows = steps.map(|(step, p95)| GridRow {
        name: Name::Word(step.clone()),
        cells: vec![p95.map_or("–".to_owned(), range)],
    });
    Some(Block::Grid(Grid {
        caption: per_step(report, "95th percentile"),
        head: ["Day", "p95"].map(str::to_owned).to_vec(),
        rows: rows.collect(),
    }))
}

fn measured(responses: &Responses, requests: Compared) -> String {
    let measured = responses.measured.count();
    let share = match requests.count() {
        0 => String::new(),
        _ => format!(" ({} of requests)", share(measured.min(requests.count()), requests.count())),
    };
    let have = if measured == 1 { "has" } else { "have" };
    format!(
        "{}{share} {have} a recorded duration. Durations are counted in steps, so a percentile is known to lie \
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

fn sites(report: &Report) -> Option<Section> {
    let sites = report.sites.as_ref()?;
    let noun = report.span.noun();
    let mut text = format!(
        "{} sent signals this {noun}, {} the {noun} before.",
        plural(sites.active, "site", "sites"),
        count(sites.active_before)
    );
    if sites.silent_sites > 0 {
        let more = sites.silent_sites.saturating_sub(sites.silent.len() as u64);
        let mut names = sites.silent.clone();
        if more > 0 {
            names.push(format!("{} more", count(more)));
        }
        text.push_str(&format!(" Silent since: {}.", words::list(&names)));
    }
    let cells = |counts: &SiteCounts| {
        let [requests, before] = counts.requests;
        vec![
            count(requests),
            change(Compared { count: Some(requests), before: Some(before), usual: None }),
            count(counts.refused[0]),
            count(counts.errors[0]),
            count(counts.signals[0]),
        ]
    };
    let mut rows: Vec<GridRow> = sites
        .largest
        .iter()
        .map(|site| GridRow { name: Name::Given(site.name.clone()), cells: cells(&site.counts) })
        .collect();
    rows.extend(sites.rest.iter().map(|rest| GridRow {
        name: Name::Word(format!("{} more", count(rest.sites))),
        cells: cells(&rest.counts),
    }));
    let head = ["Site", "Requests", "Change", "Refused sign-ins", "Errors", "Signals"].map(str::to_owned);
    let grid = Grid { caption: "Sites, by requests".to_owned(), head: head.to_vec(), rows };
    Some(Section { heading: "Sites", blocks: vec![Block::Text(text), Block::Grid(grid)] })
}

fn sign_ins(report: &Report) -> Option<Section> {
    let (heading, signins) = ("Sign-ins", &report.signins);
    if is_nothing(&[signins.attempts]) {
        return None;
    }
    let mut blocks: Vec<Block> =
        signins.waves.iter().map(|wave| Block::Alarm(wave_words(wave, report))).collect();
    if signins.waves_more > 0 {
        let more = plural(signins.waves_more, "smaller wave is", "smaller waves are");
        blocks.push(Block::Text(format!("{more} not listed.")));
    }
    if signins.waves.is_empty() {
        blocks.push(Block::Text("No brute-force wave stood out.".to_owned()));
    }
    if !signins.refused.is_nothing() {
        blocks.push(bars(report, "Refused sign-ins", &signins.refused_steps, true));
    }
    if signins.refused.count() > 0 && !signins.refused_hours.is_empty() {
        blocks.push(Block::Heat(Heat {
            title: "Refused sign-ins by hour".to_owned(),
            labels: report.steps.clone(),
            rows: signins.refused_hours.clone(),
        }));
    }
    blocks.extend(trend(report, "Sign-in attempts", &signins.trend, true));
    blocks.push(tallies(report, "Sign-in attempts", "Result", &signins.results, Some(signins.attempts)));
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
    Some(Section { heading, blocks })
}

fn wave_words(wave: &SignInWave, report: &Report) -> String {
    let start = match wave.began_before {
        true => format!("running when the {} began", report.span.noun()),
        false => format!("from {}", wave.start_words),
    };
    let end = match wave.goes_on {
        true => format!("still running when the {} ended", report.data_or_period()),
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

fn errors(report: &Report) -> Option<Section> {
    let (heading, errors) = ("Errors", &report.errors);
    if is_nothing(&[errors.errors]) {
        return None;
    }
    let mut blocks =
        vec![tallies(report, "Errors by severity", "Severity", &errors.severities, Some(errors.errors))];
    if errors.errors.count() > 0 {
        blocks.push(bars(report, "Errors of all severities", &errors.steps, true));
    }
    Some(Section { heading, blocks })
}

fn schedule(report: &Report) -> Option<Section> {
    let (heading, schedule) = ("Scheduled work", &report.schedule);
    if is_nothing(&[schedule.runs]) {
        return None;
    }
    let mut blocks =
        vec![tallies(report, "Scheduled runs", "Result", &schedule.results, Some(schedule.runs))];
    if !schedule.hooks.is_nothing() {
        let mut head = vec!["Hook".to_owned()];
        head.extend(schedule.hooks.columns.iter().cloned());
        let rows = breakdown_rows(&schedule.hooks, |cells| cells.iter().map(|&c| words::cell(c)).collect());
        let caption = format!("By hook, this {}", report.span.noun());
        blocks.push(Block::Grid(Grid { caption, head, rows }));
    }
    Some(Section { heading, blocks })
}

fn mail(report: &Report) -> Option<Section> {
    let (heading, mail) = ("Mail", &report.mail);
    if is_nothing(&[mail.mails]) {
        return None;
    }
    let grid = tallies(report, "Mails", "Result", &mail.results, Some(mail.mails));
    Some(Section { heading, blocks: vec![grid] })
}

fn changes(report: &Report) -> Option<Section> {
    let (heading, changes) = ("Configuration and files", &report.changes);
    if is_nothing(&[changes.config, changes.files]) {
        return None;
    }
    let mut blocks = Vec::new();
    let config = Tally { name: "options changed".to_owned(), count: changes.config };
    blocks.push(tallies(report, "Configuration", "", &[config], None));
    blocks.extend(names(report, "Options changed", "Option", &changes.options, changes.config));
    if !changes.files.is_nothing() {
        blocks.push(tallies(report, "Files edited", "Area", &changes.areas, Some(changes.files)));
    }
    Some(Section { heading, blocks })
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
        " Of the {} before, {} of {} have none.",
        report.span.noun(),
        count(coverage.before_hours - coverage.before_hours_with_data),
        count(coverage.before_hours)
    ));
    let mut blocks = vec![Block::Text(text)];
    // The whole period without data was said above.
    if !coverage.gaps.is_empty() && coverage.hours_with_data > 0 {
        let gaps: Vec<String> = coverage
            .gaps
            .iter()
            .map(|gap| format!("{} ({})", gap.words, plural(gap.hours, "hour", "hours")))
            .collect();
        blocks.push(Block::Text(format!("Longest without data: {}.", gaps.join("; "))));
    }
    if !coverage.signals.is_empty() {
        blocks.push(tallies(report, "Signals admitted", "Kind", &coverage.signals, None));
    }
    let snapshot = &report.snapshot;
    let mut days = vec![format!("{} sealed", count(snapshot.days_sealed))];
    for (days_of, word) in [
        (snapshot.days_empty, "empty"),
        (snapshot.days_closed, "closed"),
        (snapshot.days_open, "open"),
        (snapshot.days_expired, "not kept"),
    ] {
        if days_of > 0 {
            days.push(format!("{} {word}", count(days_of)));
        }
    }
    blocks.push(Block::Aside(format!(
        "Made from snapshot {}, of {} UTC days: {}. The same request on the same snapshot gives the same bytes.",
        snapshot.id,
        count(snapshot.days()),
        words::list(&days)
    )));
    for part in &coverage.missing {
        blocks.push(Block::Text(format!("Not readable, {} to {}: {}", part.start, part.end, part.why)));
    }
    let more = coverage.missing_parts.saturating_sub(coverage.missing.len() as u64);
    if more > 0 {
        blocks.push(Block::Text(format!("And {} not readable.", plural(more, "part more", "parts more"))));
    }
    Section { heading: "Coverage", blocks }
}

/// `Week, Before, Change, Usual`, the last only where any usual range is known.
fn compared_head(report: &Report, first: &str) -> Vec<String> {
    let noun = words::capital(report.span.noun());
    let mut head = vec![first.to_owned(), noun, "Before".to_owned(), "Change".to_owned()];
    if report.coverage.usual_periods > 0 {
        head.push("Usual".to_owned());
    }
    head
}

fn compared_cells(report: &Report, counts: Compared) -> Vec<String> {
    let mut cells = vec![maybe(counts.count), maybe(counts.before), change(counts)];
    if report.coverage.usual_periods > 0 {
        cells.push(usual(counts.usual));
    }
    cells
}

/// A table of a closed enumeration; with shares and their sum where that is given.
fn tallies(report: &Report, caption: &str, first: &str, tallies: &[Tally], all: Option<Compared>) -> Block {
    let mut head = compared_head(report, first);
    if all.is_some() {
        head.insert(2, "Share".to_owned());
    }
    let row = |name: Name, counts: Compared| {
        let mut cells = compared_cells(report, counts);
        if let Some(all) = all {
            cells.insert(1, share(counts.count(), all.count()));
        }
        GridRow { name, cells }
    };
    let mut rows: Vec<GridRow> =
        tallies.iter().map(|tally| row(Name::Word(tally.name.clone()), tally.count)).collect();
    if let Some(all) = all.filter(|_| tallies.len() > 1) {
        rows.push(row(Name::All("all"), all));
    }
    Block::Grid(Grid { caption: caption.to_owned(), head, rows })
}

/// A table of free names, where there are any.
fn names(report: &Report, caption: &str, first: &str, names: &Breakdown, all: Compared) -> Option<Block> {
    if names.is_nothing() {
        return None;
    }
    let noun = words::capital(report.span.noun());
    let head = [first, &noun, "Share", "Before", "Change"].map(str::to_owned).to_vec();
    let rows = breakdown_rows(names, |cells| {
        let (now, before) = match cells {
            [now, before, ..] => (*now, *before),
            _ => (Cell::NoData, Cell::NoData),
        };
        let part = match now {
            Cell::Count(part) => share(part, all.count()),
            Cell::Few | Cell::NoData => "–".to_owned(),
        };
        vec![words::cell(now), part, words::cell(before), words::cell_change(now, before)]
    });
    Some(Block::Grid(Grid { caption: caption.to_owned(), head, rows }))
}

fn breakdown_rows(table: &Breakdown, cells: impl Fn(&[Cell]) -> Vec<String>) -> Vec<GridRow> {
    let mut rows: Vec<GridRow> = table
        .rows
        .iter()
        .map(|row| GridRow { name: Name::Given(row.name.clone()), cells: cells(&row.cells) })
        .collect();
    if table.other.iter().any(|cell| matches!(cell, Cell::Count(1..))) {
        let name = match table.names_more {
            0 => "other".to_owned(),
            more => format!("other, {} among them", plural(more, "larger name", "larger names")),
        };
        rows.push(GridRow { name: Name::Word(name), cells: cells(&table.other) });
    }
    rows
}
