//! Sign-ins: successes, failures, blocked attempts; their hours; brute-force waves.

use serde::Serialize;

use super::ReportError;
use super::numbers::{Compared, Tally, sum_of};
use super::read::{Counts, Reader, total};
use super::request::{WEEK_DAYS, Weeks};
use super::waves::{self, Hour, waves};
use super::words;

/// Waves that are told one by one.
const WAVES_MAX: usize = 5;
/// Hours that are named as the heaviest.
const HEAVIEST_MAX: usize = 3;
/// The results of an attempt, in the order that they are shown.
const RESULTS: [&str; 3] = ["success", "failure", "blocked"];

/// Sign-in attempts of the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignIns {
    /// By result.
    pub results: Vec<Tally>,
    /// Successes per day of the week.
    pub success_days: Vec<Compared>,
    /// Refused attempts (failures and blocked ones) per day of the week.
    pub refused_days: Vec<Compared>,
    /// Refused attempts by day of the week and hour of the day; none where the hour has no data or the
    /// clock left it out. An hour that the clock shows twice holds both.
    pub refused_hours: Vec<Vec<Option<u64>>>,
    /// The hours with the most refused attempts, largest first.
    pub heaviest: Vec<HeavyHour>,
    /// The rule by which a wave is one.
    pub rule: String,
    /// The background at its highest hour of the day.
    pub background_max: u64,
    /// The largest waves that touch the week, by time.
    pub waves: Vec<SignInWave>,
    /// How many smaller waves are not listed.
    pub waves_more: u64,
}

impl SignIns {
    /// Refused attempts: failures and blocked ones.
    #[must_use]
    pub fn refused(&self) -> Compared {
        sum_of(&self.results, &["failure", "blocked"])
    }

    /// Attempts that succeeded.
    #[must_use]
    pub fn succeeded(&self) -> Compared {
        sum_of(&self.results, &["success"])
    }
}

/// An hour and its refused attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeavyHour {
    /// When it starts, on the zone's clock.
    pub start: String,
    /// The same in words.
    pub words: String,
    /// Refused attempts.
    pub refused: u64,
}

/// A brute-force wave, as far as it lies in the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignInWave {
    /// When its first hour starts, on the zone's clock.
    pub start: String,
    /// When its last hour ends.
    pub end: String,
    /// Start in words.
    pub start_words: String,
    /// End in words.
    pub end_words: String,
    /// Whole hours from start to end.
    pub hours: u64,
    /// Refused attempts.
    pub refused: u64,
    /// Attempts that succeeded meanwhile, whoever made them.
    pub succeeded: u64,
    /// Its heaviest hour.
    pub peak: HeavyHour,
    /// Whether it was already running when the week began.
    pub began_before: bool,
    /// Whether it was still running when the week, or its data, ended.
    pub goes_on: bool,
}

/// Reads the sign-in section.
pub(crate) fn signins(reader: &mut Reader<'_>) -> Result<SignIns, ReportError> {
    let hourly = reader.hourly("auth_attempts", &["result"])?;
    let weeks = reader.weeks;
    let daily: Counts =
        hourly.iter().map(|(labels, hours)| (labels.clone(), per_day(weeks, hours))).collect();
    let of = |names: &[&str]| {
        let rows = hourly.iter().filter(|(labels, _)| labels.iter().all(|l| names.contains(&l.as_str())));
        let mut hours = total(&rows.cloned().collect());
        hours.resize(weeks.hours.len(), 0);
        hours
    };
    let (refused, succeeded) = (of(&["failure", "blocked"]), of(&["success"]));
    let hours: Vec<Hour> = weeks
        .hours
        .iter()
        .zip(refused.iter().zip(&reader.hour_data))
        .map(|(hour, (&refused, &data))| Hour {
            clock: hour.clock,
            refused: (data || refused > 0).then_some(refused),
        })
        .collect();
    let (waves, waves_more) = week_waves(reader, &hours, &succeeded);
    Ok(SignIns {
        results: reader.tallies(&daily, 0, &RESULTS),
        success_days: reader.days(&per_day(weeks, &succeeded)),
        refused_days: reader.days(&per_day(weeks, &refused)),
        refused_hours: strip(weeks, &hours),
        heaviest: heaviest(weeks, &hours),
        rule: format!(
            "an hour stands out with at least {} refused sign-ins and {} times the background, which is what \
             a third of the days stay at or under in that hour of the day (both weeks together); such hours \
             no more than {} hours apart are one wave, from {} refused sign-ins on.",
            waves::HOUR_MIN,
            waves::TIMES,
            waves::PAUSE_HOURS,
            waves::WAVE_MIN
        ),
        background_max: waves::backgrounds(&hours).into_iter().max().unwrap_or(0),
        waves,
        waves_more,
    })
}

fn per_day(weeks: &Weeks, hours: &[u64]) -> Vec<u64> {
    let mut days = vec![0u64; weeks.days.len()];
    for (hour, &count) in weeks.hours.iter().zip(hours) {
        if let Some(day) = days.get_mut(hour.day) {
            *day = day.saturating_add(count);
        }
    }
    days
}

fn strip(weeks: &Weeks, hours: &[Hour]) -> Vec<Vec<Option<u64>>> {
    let mut strip = vec![vec![None; 24]; WEEK_DAYS];
    for (place, hour) in weeks.hours.iter().zip(hours).skip(weeks.first_hour()) {
        let day = place.day.checked_sub(WEEK_DAYS).and_then(|day| strip.get_mut(day));
        if let (Some(cell), Some(refused)) = (day.and_then(|day| day.get_mut(hour.clock)), hour.refused) {
            *cell = Some(cell.unwrap_or(0u64).saturating_add(refused));
        }
    }
    strip
}

fn heaviest(weeks: &Weeks, hours: &[Hour]) -> Vec<HeavyHour> {
    let mut heavy: Vec<(usize, u64)> = hours
        .iter()
        .enumerate()
        .skip(weeks.first_hour())
        .filter_map(|(index, hour)| Some((index, hour.refused.filter(|&refused| refused > 0)?)))
        .collect();
    heavy.sort_by_key(|&(index, refused)| (std::cmp::Reverse(refused), index));
    heavy
        .iter()
        .take(HEAVIEST_MAX)
        .filter_map(|&(index, refused)| heavy_hour(weeks, index, refused))
        .collect()
}

fn heavy_hour(weeks: &Weeks, index: usize, refused: u64) -> Option<HeavyHour> {
    let start = weeks.hours.get(index)?.range.start;
    Some(HeavyHour {
        start: words::rfc3339(start, &weeks.zone),
        words: words::moment(start, &weeks.zone, false),
        refused,
    })
}

/// The waves that touch the week, cut to it: the largest by time, and how many more there are.
fn week_waves(reader: &Reader<'_>, hours: &[Hour], succeeded: &[u64]) -> (Vec<SignInWave>, u64) {
    let weeks = reader.weeks;
    let first_hour = weeks.first_hour();
    let data_end = hours.iter().rposition(|hour| hour.refused.is_some()).unwrap_or(0);
    let mut told: Vec<SignInWave> = Vec::new();
    let found = waves(hours);
    for wave in found.iter().filter(|wave| wave.last >= first_hour) {
        let within = waves::Wave { first: wave.first.max(first_hour), last: wave.last };
        let span = within.first..=within.last;
        let peak = span
            .clone()
            .map(|index| (hours.get(index).and_then(|hour| hour.refused).unwrap_or(0), index))
            .max_by_key(|&(refused, index)| (refused, std::cmp::Reverse(index)));
        let (Some((peak, at)), Some(first), Some(last)) =
            (peak, weeks.hours.get(within.first), weeks.hours.get(within.last))
        else {
            continue;
        };
        let Some(peak) = heavy_hour(weeks, at, peak) else { continue };
        told.push(SignInWave {
            start: words::rfc3339(first.range.start, &weeks.zone),
            end: words::rfc3339(last.range.end, &weeks.zone),
            start_words: words::moment(first.range.start, &weeks.zone, false),
            end_words: words::moment(last.range.end, &weeks.zone, true),
            hours: (within.last - within.first + 1) as u64,
            refused: within.refused(hours),
            succeeded: succeeded.get(span).unwrap_or_default().iter().sum(),
            peak,
            began_before: wave.first < first_hour,
            goes_on: wave.last >= data_end,
        });
    }
    let mut order: Vec<usize> = (0..told.len()).collect();
    order.sort_by_key(|&index| (std::cmp::Reverse(told.get(index).map_or(0, |w| w.refused)), index));
    let more = order.len().saturating_sub(WAVES_MAX) as u64;
    order.truncate(WAVES_MAX);
    let kept = told.into_iter().enumerate().filter(|(index, _)| order.contains(index));
    (kept.map(|(_, wave)| wave).collect(), more)
}
