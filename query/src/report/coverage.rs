//! What the week's data covers: hours without a signal, expired and unreadable parts.

use serde::Serialize;

use super::ReportError;
use super::numbers::Tally;
use super::read::{Counts, Reader};
use super::request::WEEK_DAYS;
use super::words;

/// Gaps that are told one by one.
const GAPS_MAX: usize = 5;
/// A gap shorter than this is not told by itself: a small site is quiet for hours.
const GAP_HOURS_MIN: u64 = 6;
/// Unreadable parts that are told one by one.
const MISSING_MAX: usize = 5;

/// What the data covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Hours of the week.
    pub hours: u64,
    /// Hours of the week with at least one signal of any kind.
    pub hours_with_data: u64,
    /// Hours of the week before.
    pub before_hours: u64,
    /// Hours of the week before with at least one signal of any kind.
    pub before_hours_with_data: u64,
    /// Days of the week without any signal, by date.
    pub days_without_data: Vec<String>,
    /// The longest runs of hours without a signal, by time; only runs of at least six hours.
    pub gaps: Vec<Gap>,
    /// Signals by kind.
    pub signals: Vec<Tally>,
    /// Until when data has expired, where that touches the two weeks.
    pub expired_through: Option<String>,
    /// Parts that should be there and could not be read.
    pub missing: Vec<MissingPart>,
    /// How many such parts there are in all.
    pub missing_parts: u64,
}

/// Consecutive hours without a signal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// When it starts, on the zone's clock.
    pub start: String,
    /// When it ends.
    pub end: String,
    /// Start and end in words.
    pub words: String,
    /// Its hours.
    pub hours: u64,
}

/// A part of the data that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MissingPart {
    /// From when on, on the zone's clock.
    pub start: String,
    /// Until when.
    pub end: String,
    /// Why, naming file and place.
    pub why: String,
}

/// Reads signals by kind, and tells what everything read so far has covered; so it comes last.
pub(crate) fn coverage(reader: &mut Reader<'_>) -> Result<Coverage, ReportError> {
    let kinds: Counts = reader.daily("signals", &["kind"])?;
    let signals = reader.tallies(&kinds, 0, &[]);
    let weeks = reader.weeks;
    let (before, week) = reader.hour_data.split_at(weeks.first_hour());
    let with_data = |hours: &[bool]| hours.iter().filter(|data| **data).count() as u64;
    let zone = &weeks.zone;
    let span = |range: annals_model::TimeRange| {
        let clip = weeks.days.first().map_or(range.start, |day| day.range.start);
        let (start, end) = (range.start.max(clip), range.end.min(weeks.week().end));
        (words::rfc3339(start, zone), words::rfc3339(end, zone))
    };
    Ok(Coverage {
        hours: week.len() as u64,
        hours_with_data: with_data(week),
        before_hours: before.len() as u64,
        before_hours_with_data: with_data(before),
        days_without_data: weeks
            .days
            .iter()
            .zip(&reader.day_data)
            .skip(WEEK_DAYS)
            .filter(|(_, data)| !**data)
            .map(|(day, _)| day.date.to_string())
            .collect(),
        gaps: gaps(reader),
        signals,
        expired_through: reader
            .expired_through
            .filter(|&through| weeks.days.first().is_some_and(|day| day.range.start < through))
            .map(|through| words::rfc3339(through, zone)),
        missing: reader
            .missing
            .iter()
            .take(MISSING_MAX)
            .map(|part| {
                let (start, end) = span(part.range);
                MissingPart { start, end, why: part.why.clone() }
            })
            .collect(),
        missing_parts: reader.missing.len() as u64,
    })
}

fn gaps(reader: &Reader<'_>) -> Vec<Gap> {
    let weeks = reader.weeks;
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (index, data) in reader.hour_data.iter().enumerate().skip(weeks.first_hour()) {
        match runs.last_mut() {
            _ if *data => {}
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => runs.push((index, index)),
        }
    }
    let hours = |&(first, last): &(usize, usize)| (last - first + 1) as u64;
    runs.retain(|run| hours(run) >= GAP_HOURS_MIN);
    runs.sort_by_key(|run| (std::cmp::Reverse(hours(run)), run.0));
    runs.truncate(GAPS_MAX);
    runs.sort_unstable();
    runs.iter()
        .filter_map(|run| {
            let start = weeks.hours.get(run.0)?.range.start;
            let end = weeks.hours.get(run.1)?.range.end;
            let zone = &weeks.zone;
            Some(Gap {
                start: words::rfc3339(start, zone),
                end: words::rfc3339(end, zone),
                words: format!("{} to {}", words::moment(start, zone, false), words::moment(end, zone, true)),
                hours: hours(run),
            })
        })
        .collect()
}
