//! Errors, scheduled work, mail, configuration changes and file edits.

use std::collections::BTreeMap;

use serde::Serialize;

use super::numbers::{Breakdown, Compared, Tally, breakdown};
use super::read::Reading;
use super::traffic::{by_name, shown};

/// Names that are listed in one table.
const NAMES_MAX: usize = 10;
/// Severities, from the mildest; other ones that a host registers follow by name.
const SEVERITIES: [&str; 5] = ["notice", "warning", "error", "critical", "fatal"];
/// What became of a scheduled run, in the order that it is shown.
const RUN_RESULTS: [&str; 4] = ["ok", "failed", "missed", "late"];
/// What became of a mail.
const MAIL_RESULTS: [&str; 3] = ["sent", "failed", "deferred"];
/// Where files are edited.
const AREAS: [&str; 5] = ["core", "plugin", "theme", "upload", "other"];

/// Errors of the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// All of them.
    pub errors: Compared,
    /// By severity, from the mildest.
    pub severities: Vec<Tally>,
    /// All severities, per step.
    pub steps: Vec<Compared>,
}

/// Scheduled work of the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// All runs, those that were missed among them.
    pub runs: Compared,
    /// Those that failed, were missed or late.
    pub bad: Compared,
    /// By result.
    pub results: Vec<Tally>,
    /// By hook; columns are the results of the period.
    pub hooks: Breakdown,
}

impl Schedule {
    /// Runs that failed or were missed.
    pub(crate) fn failed(&self) -> u64 {
        let failed = self.results.iter().filter(|tally| ["failed", "missed"].contains(&tally.name.as_str()));
        failed.map(|tally| tally.count.count()).sum()
    }
}

/// Mail of the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mail {
    /// All mails.
    pub mails: Compared,
    /// Those that failed or were deferred.
    pub bad: Compared,
    /// By result.
    pub results: Vec<Tally>,
}

/// Configuration changes and file edits of the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// All configuration changes.
    pub config: Compared,
    /// By option.
    pub options: Breakdown,
    /// All file edits.
    pub files: Compared,
    /// By area.
    pub areas: Vec<Tally>,
}

/// The errors section.
pub(crate) fn errors(reading: &Reading<'_>) -> Errors {
    let all = reading.sum("errors", |_| true);
    Errors {
        errors: reading.compared(&all),
        severities: reading.tallies("errors", &SEVERITIES),
        steps: reading.steps(&all),
    }
}

/// The scheduled work.
pub(crate) fn schedule(reading: &Reading<'_>) -> Schedule {
    let of = |wanted: &dyn Fn(&str) -> bool| reading.compared(&reading.sum("cron_runs", wanted));
    let results = reading.tallies("cron_runs", &RUN_RESULTS);
    let names: Vec<&str> = results.iter().map(|tally| tally.name.as_str()).collect();
    let mut hooks: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (labels, [count, _]) in reading.by_names("cron_runs") {
        let [hook, result] = labels else { continue };
        let row = hooks.entry(shown(hook)).or_insert_with(|| vec![0; names.len()]);
        let column = names.iter().position(|name| name == result);
        if let Some(cell) = column.and_then(|column| row.get_mut(column)) {
            *cell = cell.saturating_add(count);
        }
    }
    let data = reading.has_data(&reading.grid.period);
    let columns: Vec<(&str, bool)> = names.iter().map(|&name| (name, data)).collect();
    Schedule {
        runs: of(&|_| true),
        bad: of(&|result| ["failed", "missed", "late"].contains(&result)),
        hooks: breakdown(&columns, hooks, NAMES_MAX, reading.few()),
        results,
    }
}

/// The mail section.
pub(crate) fn mail(reading: &Reading<'_>) -> Mail {
    let of = |wanted: &dyn Fn(&str) -> bool| reading.compared(&reading.sum("mails", wanted));
    Mail {
        mails: of(&|_| true),
        bad: of(&|result| ["failed", "deferred"].contains(&result)),
        results: reading.tallies("mails", &MAIL_RESULTS),
    }
}

/// The changes section.
pub(crate) fn changes(reading: &Reading<'_>) -> Changes {
    Changes {
        config: reading.compared(&reading.sum("config_changes", |_| true)),
        options: by_name(reading, "config_changes", NAMES_MAX),
        files: reading.compared(&reading.sum("file_edits", |_| true)),
        areas: reading.tallies("file_edits", &AREAS),
    }
}
