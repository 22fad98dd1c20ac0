//! Errors, scheduled work, mail, configuration changes and file edits.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ReportError;
use super::numbers::{Breakdown, Compared, Tally, breakdown};
use super::read::{Reader, add_to, halves, total};
use super::traffic::by_name;

/// Names that are listed in one table.
const NAMES_MAX: usize = 10;
/// Severities, from the mildest; other ones that a host registers follow by name.
const SEVERITIES: [&str; 5] = ["notice", "warning", "error", "critical", "fatal"];
/// What became of a scheduled run, in the order that it is shown.
const RUN_RESULTS: [&str; 4] = ["ok", "failed", "missed", "late"];
/// What became of a mail.
const MAIL_RESULTS: [&str; 3] = ["sent", "failed", "deferred"];

/// Errors of the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// By severity, from the mildest.
    pub severities: Vec<Tally>,
    /// All severities, per day of the week.
    pub days: Vec<Compared>,
}

/// Scheduled work of the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// By result.
    pub results: Vec<Tally>,
    /// By hook; columns are the results of the week.
    pub hooks: Breakdown,
}

/// Mail of the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mail {
    /// By result.
    pub results: Vec<Tally>,
}

/// Configuration changes and file edits of the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// All configuration changes.
    pub config: Compared,
    /// By option.
    pub options: Breakdown,
    /// All file edits.
    pub files: Compared,
    /// By area.
    pub areas: Breakdown,
}

/// The sum of all tallies.
pub(crate) fn all(tallies: &[Tally]) -> Compared {
    tallies.iter().map(|tally| tally.count).reduce(Compared::plus).unwrap_or_default()
}

/// Reads the errors section.
pub(crate) fn errors(reader: &mut Reader<'_>) -> Result<Errors, ReportError> {
    let counts = reader.daily("errors", &["severity"])?;
    Ok(Errors { severities: reader.tallies(&counts, 0, &SEVERITIES), days: reader.days(&total(&counts)) })
}

/// Reads the scheduled work.
pub(crate) fn schedule(reader: &mut Reader<'_>) -> Result<Schedule, ReportError> {
    let counts = reader.daily("cron_runs", &["hook", "result"])?;
    let results = reader.tallies(&counts, 1, &RUN_RESULTS);
    let names: Vec<&str> = results.iter().map(|tally| tally.name.as_str()).collect();
    let mut hooks: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (labels, daily) in &counts {
        let (Some(hook), Some(result)) = (labels.first(), labels.get(1)) else { continue };
        let Some(column) = names.iter().position(|name| name == result) else { continue };
        let hook = if hook.is_empty() { "(none)" } else { hook.as_str() };
        let mut row = vec![0; names.len()];
        if let Some(cell) = row.get_mut(column) {
            *cell = halves(daily)[0];
        }
        add_to(hooks.entry(hook.to_owned()).or_default(), &row);
    }
    let data = reader.week_has_data();
    let columns: Vec<(&str, bool)> = names.iter().map(|&name| (name, data)).collect();
    let hooks = breakdown(&columns, hooks, NAMES_MAX, reader.few());
    Ok(Schedule { hooks, results })
}

/// Reads the mail section.
pub(crate) fn mail(reader: &mut Reader<'_>) -> Result<Mail, ReportError> {
    let counts = reader.daily("mails", &["result"])?;
    Ok(Mail { results: reader.tallies(&counts, 0, &MAIL_RESULTS) })
}

/// Reads the changes section.
pub(crate) fn changes(reader: &mut Reader<'_>) -> Result<Changes, ReportError> {
    let config = reader.daily("config_changes", &["option"])?;
    let files = reader.daily("file_edits", &["area"])?;
    Ok(Changes {
        config: reader.weekly(&total(&config)),
        options: by_name(reader, &config, 0, NAMES_MAX),
        files: reader.weekly(&total(&files)),
        areas: by_name(reader, &files, 0, NAMES_MAX),
    })
}
