//! Calendar periods of a time zone, as left-open ranges of stamps.
//!
//! Periods follow each other without gap or overlap: the end of one is the start of the next. Days are
//! 23, 24 or 25 hours long, weeks 167, 168 or 169 hours, as the zone's clock changes say. A day that a zone
//! left out (Samoa's 30 December 2011) is an empty range and is not listed.

use annals_model::{TimeRange, Timestamp};
use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;

/// The most periods that one call lists: over eleven years of hours.
pub const PERIODS_MAX: usize = 100_000;

/// A kind of calendar period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Period {
    /// Ends where the zone's clock shows a full hour, or is set.
    Hour,
    /// From midnight to midnight, or from the first instant of the day where midnight is skipped.
    Day,
    /// Seven days.
    Week {
        /// The first of them.
        starts_on: Weekday,
    },
    /// From the first of a month to the first of the next.
    Month,
}

/// Why a calendar question has no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CalendarError {
    /// The instant lies outside the years that calendars are computed for.
    #[error("the instant {0} lies outside the calendar's years -9999 to 9999; choose a nearer range")]
    OutOfRange(Timestamp),
    /// More periods than one call lists.
    #[error("the range has more than {PERIODS_MAX} periods; ask for longer periods or a shorter range")]
    TooManyPeriods,
}

impl Period {
    /// The period that holds a stamp. A stamp at midnight belongs to the day that it ends.
    pub fn of(self, stamp: Timestamp, zone: &TimeZone) -> Result<TimeRange, CalendarError> {
        // Left-open ranges: the stamp belongs to the period of the instant just before it.
        let date = local(stamp.saturating_add(-1), zone)?.date();
        let out = CalendarError::OutOfRange(stamp);
        let (first, next) = match self {
            Period::Hour => return hour_of(stamp, date, zone),
            Period::Day => (date, date.tomorrow().map_err(|_| out)?),
            Period::Week { starts_on } => {
                let back = i32::from(date.weekday().since(starts_on));
                let first = date.checked_sub(back.days()).map_err(|_| out)?;
                (first, first.checked_add(7.days()).map_err(|_| out)?)
            }
            Period::Month => {
                let first = date.first_of_month();
                (first, first.checked_add(1.month()).map_err(|_| out)?)
            }
        };
        let range = TimeRange::new(start_of_day(first, zone)?, start_of_day(next, zone)?);
        Ok(range)
    }

    /// All periods that overlap a range, whole, ascending, each starting where the one before it ends.
    pub fn over(self, range: TimeRange, zone: &TimeZone) -> Result<Vec<TimeRange>, CalendarError> {
        let mut periods = Vec::new();
        if range.is_empty() {
            return Ok(periods);
        }
        let mut next = self.of(range.start.saturating_add(1), zone)?;
        loop {
            if periods.len() == PERIODS_MAX {
                return Err(CalendarError::TooManyPeriods);
            }
            periods.push(next);
            if next.end >= range.end {
                return Ok(periods);
            }
            next = match self {
                Period::Hour => TimeRange::new(next.end, hour_end(next.end, zone)?),
                _ => self.of(next.end.saturating_add(1), zone)?,
            };
        }
    }
}

/// The stamps of a local day; empty where the zone left that day out.
pub fn day_range(date: Date, zone: &TimeZone) -> Result<TimeRange, CalendarError> {
    let start = start_of_day(date, zone)?;
    let tomorrow = date.tomorrow().map_err(|_| CalendarError::OutOfRange(start))?;
    Ok(TimeRange::new(start, start_of_day(tomorrow, zone)?))
}

/// The first instant of a local day.
fn start_of_day(date: Date, zone: &TimeZone) -> Result<Timestamp, CalendarError> {
    // "Compatible" is the first of two midnights, and the end of a gap that swallows midnight.
    match zone.to_ambiguous_timestamp(DateTime::from_parts(date, jiff::civil::Time::midnight())).compatible()
    {
        Ok(instant) => Ok(Timestamp(instant.as_millisecond())),
        Err(_) if date.year() > 0 => Err(CalendarError::OutOfRange(Timestamp::MAX)),
        Err(_) => Err(CalendarError::OutOfRange(Timestamp::MIN)),
    }
}

/// What the zone's clock shows at an instant.
pub(crate) fn local(at: Timestamp, zone: &TimeZone) -> Result<DateTime, CalendarError> {
    Ok(zone.to_datetime(instant(at)?))
}

fn instant(at: Timestamp) -> Result<jiff::Timestamp, CalendarError> {
    jiff::Timestamp::from_millisecond(at.0).map_err(|_| CalendarError::OutOfRange(at))
}

/// The hour that holds a stamp, found from the start of its day: at most 25 steps.
fn hour_of(stamp: Timestamp, date: Date, zone: &TimeZone) -> Result<TimeRange, CalendarError> {
    let mut start = start_of_day(date, zone)?;
    loop {
        let range = TimeRange::new(start, hour_end(start, zone)?);
        if range.end >= stamp {
            return Ok(range);
        }
        start = range.end;
    }
}

/// The end of the hour that starts at `start`: the next full hour on the clock, or the instant it is set.
fn hour_end(start: Timestamp, zone: &TimeZone) -> Result<Timestamp, CalendarError> {
    let from = instant(start)?;
    let clock = zone.to_datetime(from);
    let past_the_hour = (i64::from(clock.minute()) * 60 + i64::from(clock.second())) * 1000
        + i64::from(clock.subsec_nanosecond()) / 1_000_000;
    let full = start.saturating_add(3_600_000 - past_the_hour);
    let offset = zone.to_offset(from);
    let set = zone
        .following(from)
        .take_while(|change| change.timestamp().as_millisecond() < full.0)
        .find(|change| change.offset() != offset);
    Ok(set.map_or(full, |change| Timestamp(change.timestamp().as_millisecond())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_model::HOUR_MS;
    use jiff::civil::date;

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).expect("a zone of the system's database")
    }

    fn midnight(day: Date, zone: &TimeZone) -> Timestamp {
        day_range(day, zone).expect("in range").start
    }

    #[test]
    fn a_week_with_a_clock_change_has_167_or_169_hours() {
        let berlin = zone("Europe/Berlin");
        for (monday, hours) in [(date(2026, 3, 23), 167), (date(2026, 10, 19), 169), (date(2026, 5, 4), 168)]
        {
            let start = midnight(monday, &berlin);
            let week = Period::Week { starts_on: Weekday::Monday };
            let range = week.of(start.saturating_add(1), &berlin).expect("in range");
            assert_eq!(range.start, start);
            assert_eq!(range.end.0 - range.start.0, hours * HOUR_MS);
            assert_eq!(Period::Hour.over(range, &berlin).expect("in range").len() as i64, hours);
            assert_eq!(Period::Day.over(range, &berlin).expect("in range").len(), 7);
        }
    }

    #[test]
    fn a_stamp_at_midnight_belongs_to_what_it_ends() {
        let berlin = zone("Europe/Berlin");
        let first = midnight(date(2026, 6, 1), &berlin);
        for period in [Period::Hour, Period::Day, Period::Week { starts_on: Weekday::Monday }, Period::Month]
        {
            assert_eq!(period.of(first, &berlin).expect("in range").end, first, "{period:?}");
            let next = period.of(first.saturating_add(1), &berlin).expect("in range");
            assert_eq!(next.start, first, "{period:?}");
        }
    }

    #[test]
    fn periods_join_without_gap_in_every_kind_of_zone() {
        let zones = ["UTC", "Asia/Kolkata", "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu"];
        for zone in zones.map(zone) {
            let year = TimeRange::new(Timestamp(1_514_764_800_000), Timestamp(1_546_300_800_000));
            for period in
                [Period::Hour, Period::Day, Period::Week { starts_on: Weekday::Sunday }, Period::Month]
            {
                let periods = period.over(year, &zone).expect("in range");
                assert!(periods.windows(2).all(|pair| pair[0].end == pair[1].start));
                assert!(periods.iter().all(|range| !range.is_empty()));
                for range in periods.iter().step_by(97) {
                    assert_eq!(period.of(range.end, &zone), Ok(*range));
                    assert_eq!(period.of(range.start.saturating_add(1), &zone), Ok(*range));
                }
            }
        }
    }

    #[test]
    fn an_hour_ends_where_the_clock_is_set() {
        // Lord Howe sets its clock by half an hour: 02:00 becomes 02:30, and that hour has 30 minutes.
        let howe = zone("Australia/Lord_Howe");
        let day = day_range(date(2026, 10, 4), &howe).expect("in range");
        let lengths: Vec<i64> = Period::Hour
            .over(day, &howe)
            .expect("in range")
            .iter()
            .map(|hour| (hour.end.0 - hour.start.0) / 60_000)
            .collect();
        assert_eq!(lengths[..4], [60, 60, 30, 60]);
        assert_eq!(lengths.iter().sum::<i64>(), 23 * 60 + 30);
    }

    #[test]
    fn a_day_that_a_zone_left_out_is_empty_and_not_listed() {
        let apia = zone("Pacific/Apia");
        assert!(day_range(date(2011, 12, 30), &apia).expect("in range").is_empty());
        let week = TimeRange::new(midnight(date(2011, 12, 26), &apia), midnight(date(2012, 1, 2), &apia));
        assert_eq!(Period::Day.over(week, &apia).expect("in range").len(), 6);
    }

    #[test]
    fn the_ends_of_time_are_refused_not_wrapped() {
        for stamp in [Timestamp::MIN, Timestamp::MAX] {
            assert!(Period::Day.of(stamp, &TimeZone::UTC).is_err());
        }
        assert_eq!(
            Period::Hour.over(TimeRange::new(Timestamp(0), Timestamp(i64::MAX / 100_000)), &TimeZone::UTC),
            Err(CalendarError::TooManyPeriods)
        );
    }
}
