//! Times and time spans as people write them.
//!
//! | written                                        | means                                                   |
//! |------------------------------------------------|---------------------------------------------------------|
//! | `1431857103`, `1431857103.25`, `1431857103250` | unix seconds; from twelve digits on, milliseconds       |
//! | `2015-05-17T10:05:03Z`, `…+02:00`              | RFC 3339                                                |
//! | `2015-05-17T10:05:03`, `2015-05-17 10:05`      | in the zone of `--tz`, else UTC                         |
//! | `2015-05-17`                                   | that day's start, in that zone                          |
//! | `now`, `now-1h30m`, `now-1d/d`                 | relative; `/h`, `/d`, `/w` cut back to its start there  |
//! | `5m`, `1h30m`, `250ms`, `90`                   | spans; a bare number is seconds                         |
//!
//! Days and weeks that are taken from `now` are those of the calendar: `now-1d/d` is the start of yesterday, also where
//! yesterday had 23 hours.

use annals::{DAY_MS, HOUR_MS, MINUTE_MS, Timestamp, nearest};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};

/// A time as it was written, to be resolved once "now" and the zone are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// An instant.
    At(Timestamp),
    /// What a clock on the wall shows.
    Civil(DateTime),
    /// So long from now, then cut back to the start of a unit.
    Now {
        /// Days of the calendar, added to now.
        days: i64,
        /// Added to that, in milliseconds.
        shift_ms: i64,
        /// Where it is cut back.
        cut: Option<Unit>,
    },
}

/// What times are cut back to the start of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Minute,
    Hour,
    Day,
    Week,
}

impl When {
    /// The present.
    pub(crate) const NOW: When = When::Now { days: 0, shift_ms: 0, cut: None };

    /// The instant that is meant.
    pub(crate) fn resolve(self, now: Timestamp, zone: &TimeZone) -> Timestamp {
        match self {
            When::At(time) => time,
            When::Civil(clock) => at_clock(clock, zone),
            When::Now { days, shift_ms, cut } => {
                let by_calendar = zoned(now, zone).checked_add(days.days()).ok();
                let time = match by_calendar {
                    Some(time) if days != 0 => Timestamp(time.timestamp().as_millisecond()),
                    _ => now.saturating_add(days.saturating_mul(DAY_MS)),
                };
                cut.map_or(time.saturating_add(shift_ms), |unit| {
                    unit.start(time.saturating_add(shift_ms), zone)
                })
            }
        }
    }
}

impl Unit {
    /// The start of the unit that a time lies in.
    fn start(self, time: Timestamp, zone: &TimeZone) -> Timestamp {
        let here = zoned(time, zone);
        let offset_ms = i64::from(here.offset().seconds()) * 1000;
        let cut = |unit_ms: i64| Timestamp(time.0 - (time.0 + offset_ms).rem_euclid(unit_ms));
        let since_monday = match self {
            Unit::Minute => return cut(MINUTE_MS),
            Unit::Hour => return cut(HOUR_MS),
            Unit::Day => 0,
            Unit::Week => i64::from(here.weekday().to_monday_zero_offset()),
        };
        let start = here.checked_sub(since_monday.days()).and_then(|day| day.start_of_day());
        start.map_or(time, |start| Timestamp(start.timestamp().as_millisecond()))
    }
}

/// An instant on the clocks of a zone; the ends of time where it is not on any.
pub(crate) fn zoned(time: Timestamp, zone: &TimeZone) -> Zoned {
    let instant = jiff::Timestamp::from_millisecond(time.0).unwrap_or(match time.0 {
        ..0 => jiff::Timestamp::MIN,
        _ => jiff::Timestamp::MAX,
    });
    instant.to_zoned(zone.clone())
}

/// The instant at which clocks of a zone show something; the first where they show it twice.
pub(crate) fn at_clock(clock: DateTime, zone: &TimeZone) -> Timestamp {
    let instant = zone.to_timestamp(clock).or_else(|_| TimeZone::UTC.to_timestamp(clock));
    Timestamp(instant.map_or(i64::MAX, jiff::Timestamp::as_millisecond))
}

/// Reads the name of a time zone. The error names the nearest known one.
pub(crate) fn parse_zone(name: &str) -> Result<TimeZone, String> {
    TimeZone::get(name).map_err(|_| {
        let known: Vec<String> = jiff::tz::db().available().map(|known| known.to_string()).collect();
        // People write cities: what follows the last slash may be all that they know.
        let city = known.iter().find(|known| {
            known.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(&name.replace(' ', "_")))
        });
        match city.map(String::as_str).or_else(|| nearest(name, known.iter().map(String::as_str))) {
            Some(near) => format!("there is no such time zone; did you mean `{near}`?"),
            None => "there is no such time zone; write one as Europe/Berlin".to_owned(),
        }
    })
}

/// Reads a time. The error says what is understood.
pub(crate) fn parse_when(text: &str) -> Result<When, String> {
    let text = text.trim();
    if let Some(rest) = text.strip_prefix("now") {
        return relative(rest).ok_or_else(|| {
            "after `now` only a shift such as `-1h` or `-1d/d` may follow, with units ms, s, m, h, d, w"
                .to_owned()
        });
    }
    instant(text).ok_or_else(|| {
        let near = nearest(text, ["now", "now-1h", "now-1d", "now-1d/d", "now/d"]);
        let near = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        format!(
            "write unix seconds, RFC 3339 (2015-05-17T10:05:03Z), a date (2015-05-17), `now` or `now-1h`{near}"
        )
    })
}

/// Reads a time span in milliseconds, above zero. The error says what is understood.
pub(crate) fn parse_span(text: &str) -> Result<i64, String> {
    span(text.trim())
        .filter(|&ms| ms > 0)
        .ok_or_else(|| "write a span above zero such as 30s, 5m, 1h30m, 7d, or seconds".to_owned())
}

/// Reads a calendar day.
pub(crate) fn parse_date(text: &str) -> Result<Date, String> {
    text.parse().map_err(|_| "write a day such as 2026-11-09".to_owned())
}

/// Reads an ISO 8601 week such as `2026-W46`; its Monday.
pub(crate) fn parse_week(text: &str) -> Result<Date, String> {
    let week = || {
        let (year, week) = text.split_once('-')?;
        let week = week.strip_prefix(['W', 'w'])?;
        let (year, week) = (year.parse().ok()?, week.parse().ok()?);
        jiff::civil::ISOWeekDate::new(year, week, jiff::civil::Weekday::Monday).ok().map(|day| day.date())
    };
    week().ok_or_else(|| "write a week as 2026-W46 (ISO 8601, Monday first)".to_owned())
}

/// Reads a month such as `2026-11`; its first day.
pub(crate) fn parse_month(text: &str) -> Result<Date, String> {
    format!("{text}-01").parse().map_err(|_| "write a month as 2026-11".to_owned())
}

fn relative(rest: &str) -> Option<When> {
    let (shift, unit) = match rest.split_once('/') {
        Some((shift, unit)) => (shift, Some(unit)),
        None => (rest, None),
    };
    let (days, shift_ms) = match shift.trim() {
        "" => (0, 0),
        shift => match shift.split_at_checked(1)? {
            ("-", length) => days_and_rest(length.trim()).map(|(days, ms)| (-days, -ms))?,
            ("+", length) => days_and_rest(length.trim())?,
            _ => return None,
        },
    };
    let cut = match unit {
        None => None,
        Some("m") => Some(Unit::Minute),
        Some("h") => Some(Unit::Hour),
        Some("d") => Some(Unit::Day),
        Some("w") => Some(Unit::Week),
        Some(_) => return None,
    };
    Some(When::Now { days, shift_ms, cut })
}

fn instant(text: &str) -> Option<When> {
    if let Ok(whole) = text.parse::<i64>() {
        let ms = if whole.unsigned_abs() >= 100_000_000_000 { whole } else { whole * 1000 };
        return Some(When::At(Timestamp(ms)));
    }
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1000.0).round();
        return (ms.abs() < 1e17).then_some(When::At(Timestamp(ms as i64)));
    }
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(When::At(Timestamp(instant.as_millisecond())));
    }
    text.parse().ok().map(When::Civil)
}

fn span(text: &str) -> Option<i64> {
    let (days, ms) = days_and_rest(text)?;
    days.checked_mul(DAY_MS)?.checked_add(ms)
}

/// A span as whole days, where it is written in such, and what is left in milliseconds.
fn days_and_rest(text: &str) -> Option<(i64, i64)> {
    if text.is_empty() {
        return None;
    }
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1000.0).round();
        return (0.0..1e17).contains(&ms).then_some((0, ms as i64));
    }
    let (mut rest, mut days, mut total) = (text, 0i64, 0i64);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, after) = after.split_at(letters);
        let number = number.parse::<i64>().ok()?;
        let (of_days, unit_ms) = match unit {
            "ms" => (0, 1),
            "s" => (0, 1000),
            "m" => (0, MINUTE_MS),
            "h" => (0, HOUR_MS),
            "d" => (1, 0),
            "w" => (7, 0),
            "y" => (365, 0),
            _ => return None,
        };
        days = days.checked_add(number.checked_mul(of_days)?)?;
        total = total.checked_add(number.checked_mul(unit_ms)?)?;
        rest = after;
    }
    Some((days, total))
}

/// A span in the largest units that say it exactly: `1h30m`.
pub(crate) fn print_span(ms: i64) -> String {
    let mut rest = ms;
    let mut text = String::new();
    for (unit, unit_ms) in [("d", DAY_MS), ("h", HOUR_MS), ("m", MINUTE_MS), ("s", 1000), ("ms", 1)] {
        if rest >= unit_ms {
            text += &format!("{}{unit}", rest / unit_ms);
            rest %= unit_ms;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The least round step at which a range has at most `points` points.
pub(crate) fn round_step(range_ms: i64, points: i64) -> i64 {
    const SECOND_MS: i64 = 1000;
    const STEPS_MS: [i64; 18] = [
        SECOND_MS,
        2 * SECOND_MS,
        5 * SECOND_MS,
        10 * SECOND_MS,
        15 * SECOND_MS,
        30 * SECOND_MS,
        MINUTE_MS,
        2 * MINUTE_MS,
        5 * MINUTE_MS,
        10 * MINUTE_MS,
        15 * MINUTE_MS,
        30 * MINUTE_MS,
        HOUR_MS,
        2 * HOUR_MS,
        3 * HOUR_MS,
        6 * HOUR_MS,
        12 * HOUR_MS,
        DAY_MS,
    ];
    let least = range_ms / points.max(1);
    STEPS_MS.into_iter().find(|&step| step >= least).unwrap_or_else(|| {
        // Whole days above that.
        least.saturating_add(DAY_MS - 1) / DAY_MS * DAY_MS
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_431_857_103_250); // 2015-05-17T10:05:03.250Z, a Sunday

    fn at(text: &str) -> String {
        parse_when(text).map_or_else(|error| error, |when| when.resolve(NOW, &TimeZone::UTC).to_string())
    }

    #[test]
    fn every_way_of_writing_a_time_means_the_same() {
        for text in [
            "1431857103.25",
            "1431857103250",
            "2015-05-17T10:05:03.25Z",
            "2015-05-17T12:05:03.250+02:00",
            "2015-05-17T10:05:03.25",
            "2015-05-17 10:05:03.25",
            "now",
        ] {
            assert_eq!(at(text), "2015-05-17T10:05:03.250Z", "{text}");
        }
        assert_eq!(at("2015-05-17"), "2015-05-17T00:00:00Z");
        assert_eq!(at("2015-05-17 10:05"), "2015-05-17T10:05:00Z");
        assert_eq!(at("0"), "1970-01-01T00:00:00Z");
        assert_eq!(at("-1.5"), "1969-12-31T23:59:58.500Z");
    }

    #[test]
    fn relative_times_shift_and_then_cut() {
        assert_eq!(at("now-1h"), "2015-05-17T09:05:03.250Z");
        assert_eq!(at("now-1h30m"), "2015-05-17T08:35:03.250Z");
        assert_eq!(at("now+5m"), "2015-05-17T10:10:03.250Z");
        assert_eq!(at("now-1d/d"), "2015-05-16T00:00:00Z");
        assert_eq!(at("now/h"), "2015-05-17T10:00:00Z");
        assert_eq!(at("now/w"), "2015-05-11T00:00:00Z");
    }

    #[test]
    fn clocks_and_calendars_are_those_of_the_zone() {
        let berlin = parse_zone("Europe/Berlin").expect("a zone");
        let at = |text: &str, now: &str| {
            let now = jiff::Timestamp::as_millisecond(now.parse().expect("an instant"));
            parse_when(text).expect("a time").resolve(Timestamp(now), &berlin).to_string()
        };
        assert_eq!(at("2015-05-17", "2015-05-17T10:05:03Z"), "2015-05-16T22:00:00Z");
        assert_eq!(at("2015-05-17 10:05", "2015-05-17T10:05:03Z"), "2015-05-17T08:05:00Z");
        assert_eq!(at("2015-05-17T10:05:00Z", "2015-05-17T10:05:03Z"), "2015-05-17T10:05:00Z");
        assert_eq!(at("now/w", "2015-05-17T10:05:03Z"), "2015-05-10T22:00:00Z");
        // Sunday 29 March 2015 had 23 hours there; half past midnight on Monday, 24 hours ago was Saturday.
        assert_eq!(at("now-1d/d", "2015-03-29T22:30:00Z"), "2015-03-28T23:00:00Z");
        assert_eq!(at("now-24h/d", "2015-03-29T22:30:00Z"), "2015-03-27T23:00:00Z");
        let nepal = parse_zone("Asia/Kathmandu").expect("a zone");
        assert_eq!(Unit::Hour.start(NOW, &nepal).to_string(), "2015-05-17T09:15:00Z");
    }

    #[test]
    fn a_zone_that_is_none_is_told_with_the_nearest() {
        for (wrong, near) in [
            ("Europe/Berln", "`Europe/Berlin`"),
            ("berlin", "`Europe/Berlin`"),
            ("New York", "`America/New_York`"),
        ] {
            let error = parse_zone(wrong).expect_err("no zone");
            assert!(error.contains(near), "{error}");
        }
        assert!(parse_when("nwo").is_err_and(|error| error.contains("did you mean `now`?")));
    }

    #[test]
    fn nonsense_is_refused_with_what_is_understood() {
        for text in ["", "yesterday", "2015-13-01", "now1h", "now-", "now-5parsec", "nan", "inf", "1e300"] {
            assert!(parse_when(text).is_err(), "{text}");
        }
        for text in ["", "0", "-5", "5 minutes", "m", "99999999999999999999d", "nan"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_read_and_print() {
        for (text, ms) in
            [("5m", 300_000), ("1h30m", 5_400_000), ("250ms", 250), ("90", 90_000), ("0.5", 500)]
        {
            assert_eq!(parse_span(text), Ok(ms), "{text}");
        }
        assert_eq!(print_span(5_400_000), "1h30m");
        assert_eq!(print_span(93_784_005), "1d2h3m4s5ms");
        assert_eq!(print_span(0), "0s");
    }

    #[test]
    fn a_step_is_round_and_keeps_the_points_few() {
        assert_eq!(round_step(HOUR_MS, 250), 15_000);
        assert_eq!(round_step(7 * DAY_MS, 250), HOUR_MS);
        assert_eq!(round_step(10_000 * DAY_MS, 250), 40 * DAY_MS);
        assert_eq!(round_step(0, 250), 1000);
    }

    #[test]
    fn weeks_are_those_of_iso_8601() {
        assert_eq!(parse_week("2026-W46").map(|day| day.to_string()), Ok("2026-11-09".to_owned()));
        assert_eq!(parse_week("2015-W01").map(|day| day.to_string()), Ok("2014-12-29".to_owned()));
        for text in ["2026-46", "2026-W54", "W46", "2026-W"] {
            assert!(parse_week(text).is_err(), "{text}");
        }
    }
}
