//! Parts of a UTC date, from seconds since the epoch.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// The function of that name over a number of seconds; NaN where the seconds name no date.
pub(super) fn date_part(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "minute" => |seconds| part(seconds, |date| i32::from(date.minute())),
        "hour" => |seconds| part(seconds, |date| i32::from(date.hour())),
        "day_of_week" => |seconds| part(seconds, |date| i32::from(date.weekday().to_sunday_zero_offset())),
        "day_of_month" => |seconds| part(seconds, |date| i32::from(date.day())),
        "day_of_year" => |seconds| part(seconds, |date| i32::from(date.day_of_year())),
        "days_in_month" => |seconds| part(seconds, |date| i32::from(date.days_in_month())),
        "month" => |seconds| part(seconds, |date| i32::from(date.month())),
        "year" => |seconds| part(seconds, |date| i32::from(date.year())),
        _ => return None,
    })
}

fn part(seconds: f64, part: impl Fn(DateTime) -> i32) -> f64 {
    // Fractions are cut off towards zero, as Go's conversion does.
    let whole = if seconds.is_finite() { Timestamp::from_second(seconds as i64).ok() } else { None };
    whole.map_or(f64::NAN, |whole| f64::from(part(TimeZone::UTC.to_datetime(whole))))
}
