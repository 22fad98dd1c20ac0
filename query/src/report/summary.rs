//! What happened, in a few plain sentences, and what changed most.

use serde::Serialize;

use super::build::Report;
use super::coverage::GAP_HOURS_MIN;
use super::numbers::{Compared, Usual};
use super::responses::Between;
use super::words::{self, change_sentence, count, plural, share, usual_sentence};

/// A change is worth telling from this many events on.
const CHANGE_MIN: u64 = 10;
/// And from this share of the period before on, in percent.
const CHANGE_PERCENT_MIN: u64 = 25;
/// Changes that are told.
const CHANGES_MAX: usize = 3;
/// A count within the range of so many usual periods, or more, has not changed.
const USUAL_MIN: u64 = 4;

/// A count that changed much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What was counted.
    pub what: String,
    /// Of the period.
    pub count: u64,
    /// Of the period before.
    pub before: u64,
    /// Of the eight periods before.
    pub usual: Option<Usual>,
    /// The change in a sentence.
    pub words: String,
}

/// The summary of a report whose other sections are complete.
pub(crate) fn summary(report: &Report) -> Vec<String> {
    if !report.has_data() && headline(report).iter().all(|(_, counts)| counts.count() == 0) {
        return nothing(report);
    }
    let mut sentences = vec![requests(report)];
    sentences.extend(server_errors(report));
    sentences.extend(slower(report));
    sentences.push(sign_ins(report));
    sentences.extend(trouble(report));
    sentences.extend(silent_sites(report));
    sentences.extend(gaps(report));
    sentences
}

/// What a report is about, in a sentence.
fn subject(report: &Report) -> &'static str {
    if report.site.is_some() { "The site" } else { "The sites" }
}

fn nothing(report: &Report) -> Vec<String> {
    let noun = report.span.noun();
    let who = match &report.site {
        Some(_) => "the site sent no signal",
        None => "no site sent a signal",
    };
    let mut sentences = vec![format!("There is no data for this {noun}: {who} in any of its hours.")];
    sentences.push(match report.coverage.before_hours_with_data {
        0 => format!("The {noun} before has none either."),
        hours => format!(
            "The {noun} before has data in {} of its {}.",
            count(hours),
            plural(report.coverage.before_hours, "hour", "hours")
        ),
    });
    sentences.push(match &report.coverage.expired_through {
        Some(through) => format!("Data up to {through} has expired and is no longer kept."),
        None => "A site that is up sends signals; check that its sender is running and its clock is right."
            .to_owned(),
    });
    sentences
}

fn requests(report: &Report) -> String {
    let (requests, span) = (report.traffic.requests, report.span);
    let missed = report.coverage.hours.saturating_sub(report.coverage.hours_with_data);
    let basis = if missed * 4 > report.coverage.hours {
        format!(" in {} with data", plural(report.coverage.hours_with_data, "hour", "hours"))
    } else {
        String::new()
    };
    let subject = subject(report);
    match requests.count() {
        0 if requests.before.unwrap_or(0) == 0 => format!("No request was recorded{basis}."),
        0 => format!(
            "{subject} recorded no request{basis}; {}.",
            match requests.before {
                Some(before) => format!("{} the {} before", count(before), span.noun()),
                None => format!("the {} before has no data", span.noun()),
            }
        ),
        answered => {
            let before = report.coverage.before_hours_with_data;
            let thin = requests.before.is_some() && before * 4 < report.coverage.before_hours * 3;
            let before = match thin {
                true => format!(", which has data in {} only", plural(before, "hour", "hours")),
                false => String::new(),
            };
            let usual = usual_sentence(requests, &report.usual_words);
            let usual = usual.map_or_else(String::new, |usual| format!(", {usual}"));
            format!(
                "{subject} answered {}{basis}; {}{before}{usual}.",
                plural(answered, "request", "requests"),
                change_sentence(requests, span)
            )
        }
    }
}

fn server_errors(report: &Report) -> Option<String> {
    let (errors, span) = (report.traffic.server_errors()?, report.span);
    if errors.is_nothing() {
        return None;
    }
    Some(match errors.count() {
        0 => format!(
            "None failed on the server's side, against {} the {} before.",
            plural(errors.before.unwrap_or(0), "request", "requests"),
            span.noun()
        ),
        failed => format!(
            "{} ({}) failed on the server's side (5xx); {}.",
            plural(failed, "request", "requests"),
            share(failed, report.traffic.requests.count()),
            change_sentence(errors, span)
        ),
    })
}

/// That the 95th percentile lies between other bounds than in the period before.
fn slower(report: &Report) -> Option<String> {
    let p95 = report.responses.as_ref()?.quantiles.iter().find(|quantile| quantile.name == "p95")?;
    let (Between(now), Between(before)) = (p95.value?, p95.before?);
    if now == before {
        return None;
    }
    let within = |at_most: f64, above: f64| match at_most.is_finite() {
        true => format!("within {}", words::seconds(at_most)),
        false => format!("within more than {}", words::seconds(above)),
    };
    Some(format!(
        "95 % of requests were answered {}, {} the {} before.",
        within(now.at_most, now.above),
        within(before.at_most, before.above),
        report.span.noun()
    ))
}

fn sign_ins(report: &Report) -> String {
    let (refused, succeeded) = (report.signins.refused.count(), report.signins.succeeded().count());
    let Some(wave) = report.signins.waves.iter().max_by_key(|wave| wave.refused) else {
        return match (succeeded, refused) {
            (0, 0) => "Nobody signed in or tried to.".to_owned(),
            _ => format!(
                "{}, {} refused, and no brute-force wave stood out.",
                plural(succeeded, "sign-in succeeded", "sign-ins succeeded"),
                if refused == 1 { "1 was".to_owned() } else { format!("{} were", count(refused)) }
            ),
        };
    };
    let others = report.signins.waves.len() as u64 + report.signins.waves_more - 1;
    let more = match others {
        0 => String::new(),
        _ => format!(" ({} besides)", plural(others, "smaller wave", "smaller waves")),
    };
    let start = match wave.began_before {
        true => format!("had begun before the {}", report.span.noun()),
        false => format!("began {}", wave.start_words),
    };
    let end = match wave.goes_on {
        true => format!("had not ended when the {} did", report.data_or_period()),
        false => format!("ended {}", wave.end_words),
    };
    let got_in = match wave.succeeded {
        0 => "no sign-in succeeded meanwhile".to_owned(),
        some => format!("{} succeeded meanwhile", plural(some, "sign-in", "sign-ins")),
    };
    format!(
        "A brute-force wave of {}{more} {start} and {end}, at its worst {} in the hour from {}; {got_in}.",
        plural(wave.refused, "refused sign-in", "refused sign-ins"),
        count(wave.peak.refused),
        wave.peak.words
    )
}

/// Runs and mails that went wrong.
fn trouble(report: &Report) -> Option<String> {
    let mut parts = Vec::new();
    match (report.schedule.runs.count(), report.schedule.bad.count()) {
        (0, _) => {}
        (runs, 0) => parts.push(format!(
            "{} on time",
            plural(runs, "scheduled run went well and", "scheduled runs went well and")
        )),
        (runs, bad) => parts.push(format!(
            "{} of {} failed, {} missed or late",
            count(bad),
            plural(runs, "scheduled run", "scheduled runs"),
            if bad == 1 { "was" } else { "were" }
        )),
    }
    match (report.mail.mails.count(), report.mail.bad.count()) {
        (0, _) => {}
        (mails, 0) => parts.push(plural(mails, "mail was sent", "mails were sent")),
        (mails, bad) => parts.push(format!(
            "{} of {} failed or {} deferred",
            count(bad),
            plural(mails, "mail", "mails"),
            if bad == 1 { "was" } else { "were" }
        )),
    }
    (!parts.is_empty()).then(|| format!("{}.", parts.join("; ")))
}

/// The counts that compete for the largest change.
fn headline(report: &Report) -> Vec<(String, Compared)> {
    let mut all_counts = vec![("requests".to_owned(), report.traffic.requests)];
    let mut tallies = |prefix: &str, tallies: &[super::Tally], suffix: &str| {
        all_counts
            .extend(tallies.iter().map(|tally| (format!("{prefix}{}{suffix}", tally.name), tally.count)));
    };
    let classes = report.traffic.classes.iter().filter(|class| ["4xx", "5xx"].contains(&class.name.as_str()));
    tallies("", &classes.cloned().collect::<Vec<_>>(), " responses");
    tallies("errors of severity ", &report.errors.severities, "");
    tallies("scheduled runs that were ", &report.schedule.results, "");
    tallies("mails ", &report.mail.results, "");
    tallies("file edits in ", &report.changes.areas, "");
    all_counts.push(("configuration changes".to_owned(), report.changes.config));
    all_counts.push(("successful sign-ins".to_owned(), report.signins.succeeded()));
    all_counts.push(("refused sign-ins".to_owned(), report.signins.refused));
    all_counts
}

/// What changed most against the period before, the largest change first.
pub(crate) fn changed(report: &Report) -> Vec<Change> {
    let mut changed: Vec<(u128, Change)> = headline(report)
        .into_iter()
        .filter_map(|(what, counts)| {
            let (now, before) = (counts.count?, counts.before?);
            let difference = now.abs_diff(before);
            let large = difference >= CHANGE_MIN
                && difference.saturating_mul(100) >= before.saturating_mul(CHANGE_PERCENT_MIN);
            let is_usual = counts
                .usual
                .is_some_and(|usual| usual.periods >= USUAL_MIN && (usual.least..=usual.most).contains(&now));
            // Ranked by the difference in standard deviations of counts, so that 4 → 40 beats 4,000 → 4,200.
            let rank = u128::from(difference).pow(2) / u128::from(now.saturating_add(before).max(1));
            let words = in_words(report, &what, [now, before], counts.usual);
            let change = Change { what, count: now, before, usual: counts.usual, words };
            (large && !is_usual).then_some((rank, change))
        })
        .collect();
    changed.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.what.cmp(&b.1.what)));
    changed.into_iter().map(|(_, change)| change).take(CHANGES_MAX).collect()
}

/// "Mails deferred rose from 0 to 30; 0–2 in the eight weeks before."
fn in_words(report: &Report, what: &str, [now, before]: [u64; 2], usual: Option<Usual>) -> String {
    let usual = usual.map_or_else(String::new, |usual| {
        format!("; {} in {}", words::usual(Some(usual)), report.usual_words)
    });
    format!("{} {}{usual}.", words::capital(what), words::movement(now, before))
}

fn silent_sites(report: &Report) -> Option<String> {
    let sites = report.sites.as_ref().filter(|sites| sites.silent_sites > 0)?;
    let more = sites.silent_sites.saturating_sub(sites.silent.len() as u64);
    let mut names = sites.silent.clone();
    if more > 0 {
        names.push(format!("{} more", count(more)));
    }
    Some(format!(
        "{} sent no signal, and had the {} before: {}.",
        plural(sites.silent_sites, "site", "sites"),
        report.span.noun(),
        words::list(&names)
    ))
}

fn gaps(report: &Report) -> Option<String> {
    let coverage = &report.coverage;
    let without = coverage.hours.saturating_sub(coverage.hours_with_data);
    let before_without = coverage.before_hours.saturating_sub(coverage.before_hours_with_data);
    let days = coverage.days_without_data.len() as u64;
    let mut text = match (days, without) {
        (_, 0) => String::new(),
        // Hours of quiet nights go without saying, and those of a longer silence do not.
        (0, hours) if hours * 4 <= coverage.hours && hours < before_without + GAP_HOURS_MIN => String::new(),
        (0, hours) => {
            format!("{} of {} hours have no data", count(hours), count(coverage.hours))
        }
        (days, hours) => format!(
            "{} no data; in all {} of {} hours have none",
            if days == 1 { "1 day has".to_owned() } else { format!("{} days have", count(days)) },
            count(hours),
            count(coverage.hours)
        ),
    };
    if coverage.missing_parts > 0 {
        let parts = plural(coverage.missing_parts, "part of the data", "parts of the data");
        let separator = if text.is_empty() { "" } else { "; " };
        text.push_str(&format!("{separator}{parts} could not be read, so counts may be too low"));
    }
    (!text.is_empty()).then(|| format!("{text}."))
}
