//! Times as logs and tables write them.

use annals_model::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};

/// `17/May/2015:10:05:03 +0000`, as access logs have it; else RFC 3339.
pub(super) fn access_log(text: &[u8]) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let Some((day, rest)) = text.split_once('/') else { return rfc_3339(text) };
    let (month, rest) = rest.split_once('/')?;
    let (year, rest) = rest.split_once(':')?;
    let (clock, offset) = rest.split_once(' ')?;
    let (hour, minute, second) = clock_parts(clock)?;
    let date_time =
        DateTime::new(digits(year, 4)?, month_number(month)?, digits(day, 2)?, hour, minute, second, 0)
            .ok()?;
    at_offset(date_time, numeric_offset(offset)?)
}

/// Reads times of access logs, and remembers the day of the last one: the next is mostly of the same.
#[derive(Debug, Default)]
pub(super) struct AccessDays {
    /// `17/May/2015:`, then ` +0000`.
    day: [u8; DAY_BYTES],
    offset: [u8; OFFSET_BYTES],
    /// When that day begins, where there was one.
    start_ms: Option<i64>,
}

const DAY_BYTES: usize = "17/May/2015:".len();
const CLOCK_BYTES: usize = "10:05:03".len();
const OFFSET_BYTES: usize = " +0000".len();

impl AccessDays {
    /// As [`access_log`].
    pub(super) fn time(&mut self, text: &[u8]) -> Option<Timestamp> {
        let parts = || {
            let (day, rest) = text.split_first_chunk::<DAY_BYTES>()?;
            let (clock, rest) = rest.split_first_chunk::<CLOCK_BYTES>()?;
            Some((day, clock_ms(clock)?, <&[u8; OFFSET_BYTES]>::try_from(rest).ok()?))
        };
        let Some((day, clock_ms, offset)) = parts() else { return access_log(text) };
        if let Some(start_ms) = self.start_ms
            && self.day == *day
            && self.offset == *offset
        {
            return Some(Timestamp(start_ms + clock_ms));
        }
        let time = access_log(text)?;
        *self = AccessDays { day: *day, offset: *offset, start_ms: Some(time.0 - clock_ms) };
        Some(time)
    }
}

/// Milliseconds from midnight to `10:05:03`; none of what is no such time, or a leap second.
fn clock_ms(clock: &[u8; CLOCK_BYTES]) -> Option<i64> {
    let [h, hh, b':', m, mm, b':', s, ss] = clock else { return None };
    let two = |ten: &u8, one: &u8| {
        let digits = ten.is_ascii_digit() && one.is_ascii_digit();
        digits.then(|| i64::from(ten - b'0') * 10 + i64::from(one - b'0'))
    };
    let (hours, minutes, seconds) = (two(h, hh)?, two(m, mm)?, two(s, ss)?);
    (hours < 24 && minutes < 60 && seconds < 60).then_some(((hours * 60 + minutes) * 60 + seconds) * 1000)
}

/// A time of syslog without year, `Mar 27 13:06:56`: month and the rest, to be dated by the caller.
pub(super) struct YearlessTime {
    pub(super) month: i8,
    day: i8,
    clock: (i8, i8, i8),
}

impl YearlessTime {
    /// The time at the start of a line, and what follows it.
    pub(super) fn parse(line: &str) -> Option<(YearlessTime, &str)> {
        let (month, rest) = line.split_once(' ')?;
        let (day, rest) = rest.trim_start_matches(' ').split_once(' ')?;
        let (clock, rest) = rest.split_once(' ')?;
        let day = digits(day, 1).or_else(|| digits(day, 2))?;
        Some((YearlessTime { month: month_number(month)?, day, clock: clock_parts(clock)? }, rest))
    }

    pub(super) fn in_year(&self, year: i16, zone: &TimeZone) -> Option<Timestamp> {
        let (hour, minute, second) = self.clock;
        let date_time = DateTime::new(year, self.month, self.day, hour, minute, second, 0).ok()?;
        Some(millis(date_time.to_zoned(zone.clone()).ok()?.timestamp()))
    }
}

/// RFC 3339 with its offset, also with a space for the `T`.
pub(super) fn rfc_3339(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(millis)
}

/// A cell of a table: `2014-02-14 14:30:00` (UTC), RFC 3339, or a Unix time whose unit follows from its size: whole
/// numbers below 10^11 and fractions are seconds, then milliseconds, from 10^14 microseconds, from 10^17 nanoseconds.
pub(super) fn cell(text: &str) -> Option<Timestamp> {
    if let Ok(number) = text.parse::<i64>() {
        return match number.unsigned_abs() {
            0..100_000_000_000 => Some(Timestamp(number * 1000)),
            100_000_000_000..100_000_000_000_000 => Some(Timestamp(number)),
            100_000_000_000_000..100_000_000_000_000_000 => Some(Timestamp(number.div_euclid(1_000))),
            _ => Some(Timestamp(number.div_euclid(1_000_000))),
        };
    }
    if text.bytes().all(|byte| byte.is_ascii_digit() || b"-+.eE".contains(&byte)) && !is_date(text) {
        return unix_seconds(text);
    }
    rfc_3339(text).or_else(|| at_offset(text.parse().ok()?, Offset::UTC))
}

/// Unix seconds with a fraction, to the nearest millisecond.
pub(super) fn unix_seconds(text: &str) -> Option<Timestamp> {
    let ms = (text.parse::<f64>().ok()? * 1000.0).round();
    // Past 2^53 milliseconds are no longer what the text says; that is the year 287,000.
    (ms.abs() < 9_007_199_254_740_992.0).then_some(Timestamp(ms as i64))
}

/// `2014-02-14`: dashes after a year.
fn is_date(text: &str) -> bool {
    text.as_bytes().get(4) == Some(&b'-')
}

fn clock_parts(clock: &str) -> Option<(i8, i8, i8)> {
    let (hour, rest) = clock.split_once(':')?;
    let (minute, second) = rest.split_once(':')?;
    // A leap second is told as the second before it, as Unix time does.
    Some((
        digits(hour, 2)?,
        digits(minute, 2)?,
        digits::<i8>(second, 2)?.min(if second == "60" { 59 } else { 99 }),
    ))
}

fn digits<T: std::str::FromStr>(text: &str, count: usize) -> Option<T> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

fn month_number(name: &str) -> Option<i8> {
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    months.into_iter().zip(1..).find(|&(month, _)| month == name).map(|(_, number)| number)
}

/// `+0130`.
fn numeric_offset(text: &str) -> Option<Offset> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hours, minutes) = rest.split_at_checked(2)?;
    let (hours, minutes): (i32, i32) = (digits(hours, 2)?, digits(minutes, 2)?);
    if minutes > 59 {
        return None;
    }
    Offset::from_seconds(sign * (hours * 3600 + minutes * 60)).ok()
}

fn at_offset(date_time: DateTime, offset: Offset) -> Option<Timestamp> {
    offset.to_timestamp(date_time).ok().map(millis)
}

/// Rounded down, like every cell.
fn millis(time: jiff::Timestamp) -> Timestamp {
    Timestamp(i64::try_from(time.as_nanosecond().div_euclid(1_000_000)).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_log_times_are_read_with_their_offset() {
        for (text, expected) in [
            ("17/May/2015:10:05:03 +0000", "2015-05-17T10:05:03Z"),
            ("17/May/2015:10:05:03 -0730", "2015-05-17T17:35:03Z"),
            ("29/Feb/2016:23:59:60 +0100", "2016-02-29T22:59:59Z"),
            ("2015-05-17T10:05:03+02:00", "2015-05-17T08:05:03Z"),
        ] {
            assert_eq!(access_log(text.as_bytes()).expect(text).to_string(), expected);
        }
        for bad in [
            "",
            "17/May/2015",
            "17/may/2015:10:05:03 +0000",
            "29/Feb/2015:10:05:03 +0000",
            "17/May/2015:24:05:03 +0000",
            "17/May/2015:10:05:61 +0000",
            "17/May/2015:10:05:03 0000",
            "17/May/2015:10:05:03 +9900",
            "17/May/2015:10:05:03 +0060",
            "+7/May/2015:10:05:03 +0000",
            "2015-05-17T10:05:03",
        ] {
            assert_eq!(access_log(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_day_that_is_remembered_changes_no_time() {
        let mut days = AccessDays::default();
        for text in [
            "17/May/2015:10:05:03 +0000",
            "17/May/2015:23:59:60 +0000",
            "17/May/2015:23:59:59 +0000",
            "17/May/2015:24:00:00 +0000",
            "17/May/2015:00:60:00 +0000",
            "17/May/2015:00:00:0x +0000",
            "17/May/2015:00:00:00 -0730",
            "17/May/2015:00:00:00 -0730 ",
            "17/May/2015:00:00:00 +0000",
            "18/May/2015:00:00:00 +0000",
            "2015-05-17T10:05:03+02:00",
            "31/Jun/2015:00:00:00 +0000",
            "18/May/2015:10:05:03 +0000",
        ] {
            for _ in 0..2 {
                assert_eq!(days.time(text.as_bytes()), access_log(text.as_bytes()), "{text}");
            }
        }
    }

    #[test]
    fn table_times_are_read_in_every_unit() {
        for (text, expected) in [
            ("2014-02-14 14:30:00", 1_392_388_200_000),
            ("2014-02-14T14:30:00.250", 1_392_388_200_250),
            ("2014-02-14T14:30:00+01:00", 1_392_384_600_000),
            ("2014-02-14 14:30:00Z", 1_392_388_200_000),
            ("1392388200", 1_392_388_200_000),
            ("1392388200.5", 1_392_388_200_500),
            ("1.3923882e9", 1_392_388_200_000),
            ("1392388200123", 1_392_388_200_123),
            ("1392388200123456", 1_392_388_200_123),
            ("1392388200123456789", 1_392_388_200_123),
            ("-5", -5_000),
            ("0", 0),
        ] {
            assert_eq!(cell(text), Some(Timestamp(expected)), "{text}");
        }
        for bad in
            ["", "x", "NaN", "inf", "1e300", "2014-13-01 00:00:00", "2014-02-30", "1-2-3", "12:00", "--1"]
        {
            assert_eq!(cell(bad), None, "{bad}");
        }
    }
}
