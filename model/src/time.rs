//! Instants, left-open ranges and UTC days.

use std::fmt;

/// Milliseconds in a minute.
pub const MINUTE_MS: i64 = 60_000;
/// Milliseconds in an hour.
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
/// Milliseconds in a UTC day.
pub const DAY_MS: i64 = 24 * HOUR_MS;

/// An instant: milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The earliest instant.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// The latest instant.
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// This instant moved by `ms`, kept inside the representable range.
    #[must_use]
    pub fn saturating_add(self, ms: i64) -> Timestamp {
        Timestamp(self.0.saturating_add(ms))
    }

    /// The UTC day whose left-open range holds this stamp: midnight belongs to the day it ends.
    #[must_use]
    pub fn day(self) -> Day {
        // Saturating at the left end only shifts stamps that no day can hold anyway.
        Day(i32::try_from(self.0.saturating_sub(1).div_euclid(DAY_MS)).unwrap_or(i32::MAX))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds where they are not zero; beyond year 9999 the bare number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, ms) = (self.0.div_euclid(DAY_MS), self.0.rem_euclid(DAY_MS));
        let (year, month, day) = civil_from_days(days);
        if !(0..=9999).contains(&year) {
            return write!(f, "{}", self.0);
        }
        let (hour, minute, second) = (ms / HOUR_MS, ms / MINUTE_MS % 60, ms / 1000 % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if ms % 1000 != 0 {
            write!(f, ".{:03}", ms % 1000)?;
        }
        f.write_str("Z")
    }
}

/// A left-open range of stamps: `start` is outside, `end` is inside. Empty where `start >= end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeRange {
    /// The last instant before the range.
    pub start: Timestamp,
    /// The last instant of the range.
    pub end: Timestamp,
}

impl fmt::Display for TimeRange {
    /// `from START to END`; an end that is open is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TimeRange { start, end } = *self;
        match (start == Timestamp::MIN, end == Timestamp::MAX) {
            (true, true) => f.write_str("of any time"),
            (true, false) => write!(f, "up to {end}"),
            (false, true) => write!(f, "from {start} on"),
            (false, false) => write!(f, "from {start} to {end}"),
        }
    }
}

impl TimeRange {
    /// The range of all stamps but the very first.
    pub const ALL: TimeRange = TimeRange { start: Timestamp::MIN, end: Timestamp::MAX };

    /// The range without stamps.
    pub const EMPTY: TimeRange = TimeRange { start: Timestamp(0), end: Timestamp(0) };

    /// The range `(start, end]`.
    #[must_use]
    pub fn new(start: Timestamp, end: Timestamp) -> TimeRange {
        TimeRange { start, end }
    }

    /// Whether `t` lies in the range.
    #[must_use]
    pub fn contains(self, t: Timestamp) -> bool {
        self.start < t && t <= self.end
    }

    /// Whether no stamp lies in the range.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start >= self.end
    }

    /// Whether some stamp lies in both ranges.
    #[must_use]
    pub fn overlaps(self, other: TimeRange) -> bool {
        !self.intersect(other).is_empty()
    }

    /// Whether all stamps of the other lie in this one.
    #[must_use]
    pub fn covers(self, other: TimeRange) -> bool {
        other.is_empty() || (self.start <= other.start && other.end <= self.end)
    }

    /// The stamps that lie in both ranges.
    #[must_use]
    pub fn intersect(self, other: TimeRange) -> TimeRange {
        TimeRange { start: self.start.max(other.start), end: self.end.min(other.end) }
    }
}

/// A UTC day by number: day 0 holds the stamps in (1970-01-01 00:00, 1970-01-02 00:00].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

impl Day {
    /// The stamps of the day.
    #[must_use]
    pub fn range(self) -> TimeRange {
        let start = i64::from(self.0) * DAY_MS;
        TimeRange::new(Timestamp(start), Timestamp(start + DAY_MS))
    }

    /// The last stamp of the day: midnight of the next.
    #[must_use]
    pub fn end(self) -> Timestamp {
        self.range().end
    }
}

impl fmt::Display for Day {
    /// `YYYYMMDD`, as in block names; outside the years 0 to 9999 the bare number with a `d`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil_from_days(i64::from(self.0));
        if (0..=9999).contains(&year) {
            write!(f, "{year:04}{month:02}{day:02}")
        } else {
            write!(f, "d{}", self.0)
        }
    }
}

/// Year, month, day of a day number; H. Hinnant, "chrono-compatible low-level date algorithms".
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let day_of_era = z.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn midnight_belongs_to_the_day_it_ends() {
        assert_eq!(Timestamp(DAY_MS).day(), Day(0));
        assert_eq!(Timestamp(DAY_MS + 1).day(), Day(1));
        assert_eq!(Timestamp(0).day(), Day(-1));
        for t in [-DAY_MS, -1, 0, 1, DAY_MS, 5 * DAY_MS + 17] {
            assert!(Timestamp(t).day().range().contains(Timestamp(t)), "{t}");
        }
    }

    #[test]
    fn times_print_as_rfc_3339() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp(1_431_856_803_250).to_string(), "2015-05-17T10:00:03.250Z");
        assert_eq!(Timestamp(-1).to_string(), "1969-12-31T23:59:59.999Z");
        assert_eq!(Timestamp(951_782_400_000).to_string(), "2000-02-29T00:00:00Z");
        assert_eq!(Timestamp(1_431_856_803_000).day().to_string(), "20150517");
        assert_eq!(Timestamp::MAX.to_string(), i64::MAX.to_string());
    }

    #[test]
    fn ranges_print_without_ends_that_are_open() {
        let (start, end) = (Timestamp(0), Timestamp(MINUTE_MS));
        let texts = [
            (TimeRange { start, end }, "from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z"),
            (TimeRange { start, end: Timestamp::MAX }, "from 1970-01-01T00:00:00Z on"),
            (TimeRange { start: Timestamp::MIN, end }, "up to 1970-01-01T00:01:00Z"),
            (TimeRange::ALL, "of any time"),
        ];
        for (range, text) in texts {
            assert_eq!(range.to_string(), text);
        }
    }

    #[test]
    fn ranges_are_left_open() {
        let a = TimeRange::new(Timestamp(0), Timestamp(10));
        let b = TimeRange::new(Timestamp(10), Timestamp(20));
        assert!(!a.overlaps(b));
        assert!(TimeRange::new(Timestamp(5), Timestamp(5)).is_empty());
        assert!(!TimeRange::ALL.is_empty());
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        assert!(Timestamp::MIN.day() < Timestamp::MAX.day() || Timestamp::MIN.day() == Day(i32::MAX));
        let _ = Timestamp::MIN.to_string();
    }
}
