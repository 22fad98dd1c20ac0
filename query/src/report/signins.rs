//! Sign-ins: successes, failures, blocked attempts; their hours; brute-force waves.

use std::ops::Range;

use serde::Serialize;

use super::grid::Grid;
use super::numbers::{Compared, Tally};
use super::read::Reading;
use super::waves::{self, Hour, waves};
use super::{request::Span, words};

/// Waves that are told one by one.
const WAVES_MAX: usize = 5;
/// Hours that are named as the heaviest.
const HEAVIEST_MAX: usize = 3;
/// The results of an attempt, in the order that they are shown.
const RESULTS: [&str; 3] = ["success", "failure", "blocked"];

/// Sign-in attempts of the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SignIns {
    /// All attempts.
    pub attempts: Compared,
    /// Refused attempts: all but successes.
    pub refused: Compared,
    /// By result.
    pub results: Vec<Tally>,
    /// Successes per step.
    pub success_steps: Vec<Compared>,
    /// Refused attempts per step.
    pub refused_steps: Vec<Compared>,
    /// All attempts of each day that was read, the oldest first; none where a day has no data or is not kept.
    pub trend: Vec<Option<u64>>,
    /// Of a week: refused attempts by day and hour of the day; none where the hour has no data or the clock left it out.
    /// An hour that the clock shows twice holds both.
    pub refused_hours: Vec<Vec<Option<u64>>>,
    /// The hours with the most refused attempts, largest first.
    pub heaviest: Vec<HeavyHour>,
    /// The rule by which a wave is one.
    pub rule: String,
    /// The background at its highest hour of the day.
    pub background_max: u64,
    /// The largest waves that touch the period, by time.
    pub waves: Vec<SignInWave>,
    /// How many smaller waves are not listed.
    pub waves_more: u64,
}

impl SignIns {
    /// Attempts that succeeded.
    #[must_use]
    pub fn succeeded(&self) -> Compared {
        self.results.first().map_or_else(Compared::default, |tally| tally.count)
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

/// A brute-force wave, as far as it lies in the period.
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
    /// Whether it was already running when the period began.
    pub began_before: bool,
    /// Whether it was still running when the period, or its data, ended.
    pub goes_on: bool,
}

/// The hours of a report, as far as its slots are hours.
struct Hours<'a> {
    grid: &'a Grid,
    /// The first hour, as a slot.
    first: usize,
    refused: Vec<Hour>,
    succeeded: &'a [u64],
    /// Which of them are the period's.
    period: Range<usize>,
}

/// The sign-in section.
pub(crate) fn signins(reading: &Reading<'_>) -> SignIns {
    let metric = "auth_attempts";
    let grid = reading.grid;
    let attempts = reading.sum(metric, |_| true);
    let refused = reading.sum(metric, |result| result != "success");
    let succeeded = reading.sum(metric, |result| result == "success");
    let first = grid.first_hour();
    let hour = |slot: usize| {
        let refused = refused.get(slot).copied().unwrap_or(0);
        let data = reading.slot_data.get(slot) == Some(&true) || refused > 0;
        Some(Hour { clock: grid.slots.get(slot)?.clock?, refused: data.then_some(refused) })
    };
    let period = grid.slots_of(&grid.period);
    let hours = Hours {
        grid,
        first,
        refused: (first..grid.slots.len()).filter_map(hour).collect(),
        succeeded: succeeded.get(first..).unwrap_or_default(),
        period: period.start.saturating_sub(first)..period.end.saturating_sub(first),
    };
    let (told, waves_more) = hours.waves();
    SignIns {
        attempts: reading.compared(&attempts),
        refused: reading.compared(&refused),
        results: reading.tallies(metric, &RESULTS),
        success_steps: reading.steps(&succeeded),
        refused_steps: reading.steps(&refused),
        trend: reading.trend(&attempts),
        refused_hours: if matches!(grid.span, Span::Week { .. }) { hours.strip() } else { Vec::new() },
        heaviest: hours.heaviest(),
        rule: hours.rule(),
        background_max: waves::backgrounds(&hours.refused).into_iter().max().unwrap_or(0),
        waves: told,
        waves_more,
    }
}

impl Hours<'_> {
    fn rule(&self) -> String {
        let day = |slot: usize| self.grid.slots.get(slot).map_or(0, |slot| slot.day);
        let days = self.grid.slots.len().checked_sub(1).map_or(0, |last| day(last) + 1 - day(self.first));
        format!(
            "an hour stands out with at least {} refused sign-ins and {} times the background, which is what \
             a third of the days stay at or under in that hour of the day (over the {days} days that end with the \
             {}); such hours no more than {} hours apart are one wave, from {} refused sign-ins on.",
            waves::HOUR_MIN,
            waves::TIMES,
            self.grid.span.noun(),
            waves::PAUSE_HOURS,
            waves::WAVE_MIN
        )
    }

    fn in_period(&self) -> impl Iterator<Item = (usize, &Hour)> {
        self.refused.iter().enumerate().filter(|(index, _)| self.period.contains(index))
    }

    fn strip(&self) -> Vec<Vec<Option<u64>>> {
        let mut strip = vec![vec![None; 24]; self.grid.period.len()];
        for (index, hour) in self.in_period() {
            let day = self.grid.slots.get(self.first + index).map(|slot| slot.day);
            let row = day.and_then(|day| strip.get_mut(day.checked_sub(self.grid.period.start)?));
            if let (Some(cell), Some(refused)) = (row.and_then(|row| row.get_mut(hour.clock)), hour.refused) {
                *cell = Some(cell.unwrap_or(0u64).saturating_add(refused));
            }
        }
        strip
    }

    fn heaviest(&self) -> Vec<HeavyHour> {
        let hours = self.in_period();
        let mut heavy: Vec<(usize, u64)> = hours
            .filter_map(|(index, hour)| Some((index, hour.refused.filter(|&refused| refused > 0)?)))
            .collect();
        heavy.sort_by_key(|&(index, refused)| (std::cmp::Reverse(refused), index));
        heavy.truncate(HEAVIEST_MAX);
        heavy.iter().filter_map(|&(index, refused)| self.heavy_hour(index, refused)).collect()
    }

    fn heavy_hour(&self, index: usize, refused: u64) -> Option<HeavyHour> {
        let start = self.grid.slots.get(self.first + index)?.range.start;
        Some(HeavyHour {
            start: words::rfc3339(start, &self.grid.zone),
            words: words::moment(start, &self.grid.zone, false),
            refused,
        })
    }

    /// The waves that touch the period, cut to it: the largest by time, and how many more there are.
    fn waves(&self) -> (Vec<SignInWave>, u64) {
        let zone = &self.grid.zone;
        let data_end = self.refused.iter().rposition(|hour| hour.refused.is_some()).unwrap_or(0);
        let mut told: Vec<SignInWave> = Vec::new();
        let found = waves(&self.refused);
        for wave in found.iter().filter(|wave| wave.last >= self.period.start) {
            let within = waves::Wave { first: wave.first.max(self.period.start), last: wave.last };
            let span = within.first..=within.last;
            let peak = span
                .clone()
                .map(|index| (self.refused.get(index).and_then(|hour| hour.refused).unwrap_or(0), index))
                .max_by_key(|&(refused, index)| (refused, std::cmp::Reverse(index)));
            let slot = |index: usize| self.grid.slots.get(self.first + index).map(|slot| slot.range);
            let (Some((peak, at)), Some(first), Some(last)) = (peak, slot(within.first), slot(within.last))
            else {
                continue;
            };
            let Some(peak) = self.heavy_hour(at, peak) else { continue };
            told.push(SignInWave {
                start: words::rfc3339(first.start, zone),
                end: words::rfc3339(last.end, zone),
                start_words: words::moment(first.start, zone, false),
                end_words: words::moment(last.end, zone, true),
                hours: (within.last - within.first + 1) as u64,
                refused: within.refused(&self.refused),
                succeeded: self.succeeded.get(span).unwrap_or_default().iter().sum(),
                peak,
                began_before: wave.first < self.period.start,
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
}
