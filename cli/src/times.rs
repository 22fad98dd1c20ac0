//! Times and time spans as people write them.
//!
//! | written                                        | means                                              |
//! |------------------------------------------------|----------------------------------------------------|
//! | `1431857103`, `1431857103.25`, `1431857103250` | unix seconds; from twelve digits on, milliseconds  |
//! | `2015-05-17T10:05:03Z`, `…+02:00`              | RFC 3339                                           |
//! | `2015-05-17T10:05:03`, `2015-05-17 10:05`      | UTC                                                |
//! | `2015-05-17`                                   | that midnight, UTC                                 |
//! | `now`, `now-1h30m`, `now-1d/d`                 | relative; `/h`, `/d`, `/w` cut back to its start   |
//! | `5m`, `1h30m`, `250ms`, `90`                   | spans; a bare number is seconds                    |

use annals::{DAY_MS, HOUR_MS, MINUTE_MS, Timestamp};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;

/// A time as it was written, to be resolved once "now" is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// An instant.
    At(Timestamp),
    /// So long from now, then cut back to the start of a unit.
    Now {
        /// Added to now, in milliseconds.
        shift_ms: i64,
        /// The unit's length, where it is cut back.
        unit_ms: Option<i64>,
    },
}

impl When {
    /// The present.
    pub(crate) const NOW: When = When::Now { shift_ms: 0, unit_ms: None };

    /// The instant that is meant.
    pub(crate) fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            When::At(time) => time,
            When::Now { shift_ms, unit_ms } => {
                let time = now.saturating_add(shift_ms);
                match unit_ms {
                    None => time,
                    // Weeks start on Monday; day 0 was a Thursday.
                    Some(unit) => {
                        let phase = if unit == 7 * DAY_MS { 3 * DAY_MS } else { 0 };
                        Timestamp(time.0 - (time.0.saturating_add(phase)).rem_euclid(unit))
                    }
                }
            }
        }
    }
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
    instant(text).map(When::At).ok_or_else(|| {
        "write unix seconds, RFC 3339 (2015-05-17T10:05:03Z), a date (2015-05-17), `now` or `now-1h`"
            .to_owned()
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
    let shift_ms = match shift.trim() {
        "" => 0,
        shift => match shift.split_at_checked(1)? {
            ("-", length) => -span(length.trim())?,
            ("+", length) => span(length.trim())?,
            _ => return None,
        },
    };
    let unit_ms = match unit {
        None => None,
        Some("m") => Some(MINUTE_MS),
        Some("h") => Some(HOUR_MS),
        Some("d") => Some(DAY_MS),
        Some("w") => Some(7 * DAY_MS),
        Some(_) => return None,
    };
    Some(When::Now { shift_ms, unit_ms })
}

fn instant(text: &str) -> Option<Timestamp> {
    if let Ok(whole) = text.parse::<i64>() {
        let ms = if whole.unsigned_abs() >= 100_000_000_000 { whole } else { whole * 1000 };
        return Some(Timestamp(ms));
    }
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1000.0).round();
        return (ms.abs() < 1e17).then_some(Timestamp(ms as i64));
    }
    if let Ok(instant) = text.parse::<jiff::Timestamp>() {
        return Some(Timestamp(instant.as_millisecond()));
    }
    let local: DateTime = text.parse().ok()?;
    let instant = local.to_zoned(TimeZone::UTC).ok()?;
    Some(Timestamp(instant.timestamp().as_millisecond()))
}

fn span(text: &str) -> Option<i64> {
    if text.is_empty() {
        return None;
    }
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1000.0).round();
        return (0.0..1e17).contains(&ms).then_some(ms as i64);
    }
    let (mut rest, mut total) = (text, 0i64);
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len() - after.trim_start_matches(|c: char| c.is_ascii_alphabetic()).len();
        let (unit, after) = after.split_at(letters);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => MINUTE_MS,
            "h" => HOUR_MS,
            "d" => DAY_MS,
            "w" => 7 * DAY_MS,
            "y" => 365 * DAY_MS,
            _ => return None,
        };
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(unit_ms)?)?;
        rest = after;
    }
    Some(total)
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
        parse_when(text).map_or_else(|error| error, |when| when.resolve(NOW).to_string())
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
