//! What the period's data covers: hours without a signal, expired and unreadable parts, what it is compared with.

use serde::Serialize;

use super::numbers::Tally;
use super::read::Reading;
use super::words;

/// Gaps that are told one by one.
const GAPS_MAX: usize = 5;
/// A gap shorter than this is not told by itself: a small site is quiet for hours.
pub(crate) const GAP_HOURS_MIN: u64 = 6;
/// Unreadable parts that are told one by one.
const MISSING_MAX: usize = 5;

/// What the data covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// Days of the period.
    pub days: u64,
    /// Hours of the period.
    pub hours: u64,
    /// Hours of the period with at least one signal of any kind.
    pub hours_with_data: u64,
    /// Hours of the period before.
    pub before_hours: u64,
    /// Hours of the period before with at least one signal of any kind.
    pub before_hours_with_data: u64,
    /// How many periods before the usual ranges are of: those with data on each of their days, of eight.
    pub usual_periods: u64,
    /// Of each of the period's steps whether it has any signal.
    pub steps_with_data: Vec<bool>,
    /// Days of the period without any signal, by date.
    pub days_without_data: Vec<String>,
    /// The longest runs of hours without a signal, by time; only runs of at least six hours.
    pub gaps: Vec<Gap>,
    /// Signals by kind.
    pub signals: Vec<Tally>,
    /// Until when data has expired, where that touches the period or the one before.
    pub expired_through: Option<String>,
    /// Until when counts were added up from hours, or from windows of five minutes, that days or hours of the zone cut.
    pub rounded_through: Option<String>,
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

/// What the data covers.
pub(crate) fn coverage(reading: &Reading<'_>) -> Coverage {
    let grid = reading.grid;
    let (zone, whole) = (&grid.zone, grid.range());
    let hours = |days| reading.slot_data.get(grid.slots_of(days)).unwrap_or_default();
    let (period, before) = (hours(&grid.period), hours(&grid.before));
    let with_data = |hours: &[bool]| hours.iter().filter(|data| **data).count() as u64;
    let both = grid.stamps(&grid.before).start;
    let missing = reading.missing.iter().take(MISSING_MAX).map(|part| MissingPart {
        start: words::rfc3339(part.range.start.max(whole.start), zone),
        end: words::rfc3339(part.range.end.min(whole.end), zone),
        why: part.why.clone(),
    });
    let days = grid.days.iter().zip(&reading.day_data).skip(grid.period.start);
    let step_data = |step: &super::grid::Step| {
        reading.slot_data.get(step.slots.clone()).unwrap_or_default().iter().any(|&data| data)
    };
    Coverage {
        days: grid.period.len() as u64,
        hours: period.len() as u64,
        hours_with_data: with_data(period),
        before_hours: before.len() as u64,
        before_hours_with_data: with_data(before),
        usual_periods: reading.usual_periods(),
        steps_with_data: grid.steps.iter().map(step_data).collect(),
        days_without_data: days.filter(|(_, data)| !**data).map(|(day, _)| day.date.to_string()).collect(),
        gaps: gaps(reading),
        signals: reading.tallies("signals", &[]),
        expired_through: reading
            .expired_through
            .filter(|&through| both < through)
            .map(|through| words::rfc3339(through, zone)),
        rounded_through: reading
            .rounded
            .filter(|&(through, _)| both < through)
            .map(|(through, _)| words::rfc3339(through.min(whole.end), zone)),
        missing: missing.collect(),
        missing_parts: reading.missing.len() as u64,
    }
}

fn gaps(reading: &Reading<'_>) -> Vec<Gap> {
    let grid = reading.grid;
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let period = grid.slots_of(&grid.period);
    for (index, data) in reading.slot_data.iter().enumerate().skip(period.start) {
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
    let told = runs.iter().filter_map(|run| {
        let start = grid.slots.get(run.0)?.range.start;
        let end = grid.slots.get(run.1)?.range.end;
        let zone = &grid.zone;
        Some(Gap {
            start: words::rfc3339(start, zone),
            end: words::rfc3339(end, zone),
            words: format!("{} to {}", words::moment(start, zone, false), words::moment(end, zone, true)),
            hours: hours(run),
        })
    });
    told.collect()
}
