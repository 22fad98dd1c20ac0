//! What happened, in three to six plain sentences.

use super::build::Report;
use super::numbers::{Compared, sum_of};
use super::words::{self, change_sentence, count, plural, share};
use super::work::all;

/// A change is worth a sentence from this many events on.
const CHANGE_MIN: u64 = 10;
/// And from this share of the week before on, in percent.
const CHANGE_PERCENT_MIN: u64 = 25;
/// Changes that are named.
const CHANGES_MAX: usize = 3;

/// The summary of a report whose other sections are complete.
pub(crate) fn summary(report: &Report) -> Vec<String> {
    if !report.has_data() && all_zero(report) {
        return nothing(report);
    }
    let mut sentences = vec![requests(report)];
    sentences.extend(server_errors(report));
    sentences.push(sign_ins(report));
    sentences.extend(trouble(report));
    sentences.extend(largest_changes(report));
    sentences.extend(gaps(report));
    sentences
}

/// Whether no section counted anything in the week.
fn all_zero(report: &Report) -> bool {
    headline(report).iter().all(|(_, counts)| counts.count() == 0)
        && report.traffic.requests.count() == 0
        && all(&report.signins.results).count() == 0
}

fn nothing(report: &Report) -> Vec<String> {
    let mut sentences =
        vec!["There is no data for this week: the site sent no signal in any of its hours.".to_owned()];
    sentences.push(match report.coverage.before_hours_with_data {
        0 => "The week before has none either.".to_owned(),
        hours => format!(
            "The week before has data in {} of its {}.",
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
    let requests = report.traffic.requests;
    let missed = report.coverage.hours.saturating_sub(report.coverage.hours_with_data);
    let basis = if missed * 4 > report.coverage.hours {
        format!(" in {} with data", plural(report.coverage.hours_with_data, "hour", "hours"))
    } else {
        String::new()
    };
    match requests.count() {
        0 if requests.before.unwrap_or(0) == 0 => format!("No request was recorded{basis}."),
        0 => format!(
            "The site recorded no request{basis}; {}.",
            match requests.before {
                Some(before) => format!("{} the week before", count(before)),
                None => "the week before has no data".to_owned(),
            }
        ),
        answered => {
            let before = report.coverage.before_hours_with_data;
            let thin = requests.before.is_some() && before * 4 < report.coverage.before_hours * 3;
            let before = match thin {
                true => format!(", which has data in {} only", plural(before, "hour", "hours")),
                false => String::new(),
            };
            format!(
                "The site answered {}{basis}; {}{before}.",
                plural(answered, "request", "requests"),
                change_sentence(requests)
            )
        }
    }
}

fn server_errors(report: &Report) -> Option<String> {
    let errors = sum_of(&report.traffic.classes, &["5xx"]);
    if errors.count() == 0 && errors.before.unwrap_or(0) == 0 {
        return None;
    }
    Some(match errors.count() {
        0 => format!(
            "None failed on the server's side, against {} the week before.",
            plural(errors.before.unwrap_or(0), "request", "requests")
        ),
        failed => format!(
            "{} ({}) failed on the server's side (5xx); {}.",
            plural(failed, "request", "requests"),
            share(failed, report.traffic.requests.count()),
            change_sentence(errors)
        ),
    })
}

fn sign_ins(report: &Report) -> String {
    let (refused, succeeded) = (report.signins.refused().count(), report.signins.succeeded().count());
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
        true => "had begun before the week".to_owned(),
        false => format!("began {}", wave.start_words),
    };
    let end = match wave.goes_on {
        true => "had not ended when the data did".to_owned(),
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
    let runs = all(&report.schedule.results).count();
    let bad_runs = sum_of(&report.schedule.results, &["failed", "missed", "late"]).count();
    let mails = all(&report.mail.results).count();
    let bad_mails = sum_of(&report.mail.results, &["failed", "deferred"]).count();
    let mut parts = Vec::new();
    match (runs, bad_runs) {
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
    match (mails, bad_mails) {
        (0, _) => {}
        (mails, 0) => {
            parts.push(format!("{} sent", plural(mails, "mail was", "mails were")));
        }
        (mails, bad) => parts.push(format!(
            "{} of {} failed or {} deferred",
            count(bad),
            plural(mails, "mail", "mails"),
            if bad == 1 { "was" } else { "were" }
        )),
    }
    (!parts.is_empty()).then(|| format!("{}.", parts.join("; ")))
}

/// The counts that compete for the largest change; requests and sign-ins have their own sentences.
fn headline(report: &Report) -> Vec<(String, Compared)> {
    let mut all_counts = Vec::new();
    let mut tallies = |prefix: &str, tallies: &[super::Tally], suffix: &str| {
        all_counts
            .extend(tallies.iter().map(|tally| (format!("{prefix}{}{suffix}", tally.name), tally.count)));
    };
    tallies("errors of severity ", &report.errors.severities, "");
    tallies("scheduled runs ", &report.schedule.results, "");
    tallies("mails ", &report.mail.results, "");
    tallies("", report.traffic.classes.get(2..3).unwrap_or_default(), " responses");
    all_counts.push(("configuration changes".to_owned(), report.changes.config));
    all_counts.push(("file edits".to_owned(), report.changes.files));
    all_counts.push(("successful sign-ins".to_owned(), report.signins.succeeded()));
    if report.signins.waves.is_empty() {
        all_counts.push(("refused sign-ins".to_owned(), report.signins.refused()));
    }
    all_counts
}

fn largest_changes(report: &Report) -> Option<String> {
    let mut changed: Vec<(u128, String)> = headline(report)
        .into_iter()
        .filter_map(|(name, counts)| {
            let (week, before) = (counts.week?, counts.before?);
            let difference = week.abs_diff(before);
            let large = difference >= CHANGE_MIN
                && difference.saturating_mul(100) >= before.saturating_mul(CHANGE_PERCENT_MIN);
            // Ranked by the difference in standard deviations of counts, so that 4 → 40 beats 4,000 → 5,100.
            let rank = u128::from(difference).pow(2) / u128::from(week.saturating_add(before).max(1));
            large.then(|| (rank, format!("{name} {} → {}", count(before), count(week))))
        })
        .collect();
    changed.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    changed.truncate(CHANGES_MAX);
    let named: Vec<String> = changed.into_iter().map(|(_, words)| words).collect();
    (!named.is_empty()).then(|| format!("Changed most against the week before: {}.", words::list(&named)))
}

fn gaps(report: &Report) -> Option<String> {
    let coverage = &report.coverage;
    let without = coverage.hours.saturating_sub(coverage.hours_with_data);
    let days = coverage.days_without_data.len() as u64;
    let mut text = match (days, without) {
        (_, 0) => String::new(),
        (0, hours) if hours * 4 <= coverage.hours => String::new(),
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
