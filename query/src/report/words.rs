//! Numbers, changes and dates in words, in one fixed way.

use annals_model::Timestamp;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use super::numbers::{Cell, Compared, Usual};
use super::request::Span;

/// A count with a comma between thousands.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count in little room: 6 characters at most.
pub(crate) fn compact(value: u64) -> String {
    const UNITS: [&str; 6] = ["k", "M", "G", "T", "P", "E"];
    if value < 100_000 {
        return count(value);
    }
    let (mut unit, mut of) = (0, 1_000u64);
    while value / of >= 1_000 && unit + 1 < UNITS.len() {
        (unit, of) = (unit + 1, of.saturating_mul(1_000));
    }
    let unit = UNITS.get(unit).copied().unwrap_or_default();
    match value / of {
        whole @ ..100 => format!("{whole}.{} {unit}", value % of / (of / 10)),
        whole => format!("{whole} {unit}"),
    }
}

/// A count, or that there is no data.
pub(crate) fn maybe(value: Option<u64>) -> String {
    value.map_or_else(|| "no data".to_owned(), count)
}

/// A cell of a breakdown.
pub(crate) fn cell(cell: Cell) -> String {
    match cell {
        Cell::NoData => "no data".to_owned(),
        Cell::Count(value) => count(value),
        Cell::Few => "few".to_owned(),
    }
}

/// A count and its noun, in the plural where that is due.
pub(crate) fn plural(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// A share in percent, with one decimal; a share that is not zero never prints as 0.0 %.
pub(crate) fn share(part: u64, whole: u64) -> String {
    match per_mille(part, whole) {
        None => "–".to_owned(),
        Some(0) if part > 0 => "< 0.1 %".to_owned(),
        Some(1000) if part < whole => "> 99.9 %".to_owned(),
        Some(value) => format!("{}.{} %", value / 10, value % 10),
    }
}

fn per_mille(part: u64, whole: u64) -> Option<u64> {
    let whole = u128::from(whole);
    let rounded = (u128::from(part) * 1000 + whole / 2).checked_div(whole)?;
    Some(u64::try_from(rounded).unwrap_or(u64::MAX))
}

/// The change against the period before, in percent.
pub(crate) fn change(counts: Compared) -> String {
    match (counts.count, counts.before) {
        (None, _) => "no data".to_owned(),
        // The column of the period before says that it has no data.
        (Some(_), None) => "–".to_owned(),
        (Some(now), Some(before)) if now == before => "same".to_owned(),
        (Some(_), Some(0)) => "new".to_owned(),
        (Some(now), Some(before)) => {
            let sign = if now > before { "+" } else { "−" };
            format!("{sign}{}", percent(now.abs_diff(before), before))
        }
    }
}

/// The usual range: "9,000–12,500", one number where all periods have it.
pub(crate) fn usual(range: Option<Usual>) -> String {
    match range {
        None => "–".to_owned(),
        Some(range) if range.least == range.most => count(range.least),
        Some(range) => format!("{}–{}", count(range.least), count(range.most)),
    }
}

/// The change between two cells of a breakdown: only where both may be told.
pub(crate) fn cell_change(now: Cell, before: Cell) -> String {
    match (now, before) {
        (Cell::Count(now), Cell::Count(before)) => {
            change(Compared { count: Some(now), before: Some(before), usual: None })
        }
        (Cell::NoData, _) => "no data".to_owned(),
        (Cell::Few, _) | (_, Cell::Few | Cell::NoData) => "–".to_owned(),
    }
}

/// Percent of a change: one decimal under 100, whole above.
fn percent(part: u64, whole: u64) -> String {
    let value = per_mille(part, whole).unwrap_or(0);
    match value {
        0 => "< 0.1 %".to_owned(),
        1000.. if part < whole => "99.9 %".to_owned(),
        1..1000 => format!("{}.{} %", value / 10, value % 10),
        _ => format!("{} %", count(value.saturating_add(5) / 10)),
    }
}

/// The change in a sentence: "8.3 % more than the week before (11,400)".
pub(crate) fn change_sentence(counts: Compared, span: Span) -> String {
    let noun = span.noun();
    match (counts.count, counts.before) {
        (None, _) => "no data".to_owned(),
        (Some(_), None) => format!("the {noun} before has no data to compare with"),
        (Some(now), Some(before)) if now == before => format!("as many as the {noun} before"),
        (Some(_), Some(0)) => format!("none the {noun} before"),
        (Some(now), Some(before)) => {
            let word = if now > before { "more" } else { "fewer" };
            let difference = percent(now.abs_diff(before), before);
            format!("{difference} {word} than the {noun} before ({})", count(before))
        }
    }
}

/// The change as a movement: "rose from 78 to 7,708 (+9,782 %)".
pub(crate) fn movement(now: u64, before: u64) -> String {
    let (word, sign) = if now > before { ("rose", "+") } else { ("fell", "−") };
    let share = match before {
        0 => String::new(),
        before => format!(" ({sign}{})", percent(now.abs_diff(before), before)),
    };
    format!("{word} from {} to {}{share}", count(before), count(now))
}

/// Where a count lies in the usual range: "above the range of the eight weeks before (9,000–12,500)".
pub(crate) fn usual_sentence(counts: Compared, usual_words: &str) -> Option<String> {
    let (now, range) = (counts.count?, counts.usual?);
    let place = match now {
        now if now > range.most => "above",
        now if now < range.least => "below",
        _ => "within",
    };
    Some(format!("{place} the range of {usual_words} ({})", usual(Some(range))))
}

/// What the usual range is of: "the eight weeks before", "3 of the eight Mondays before".
pub(crate) fn usual_words(span: Span, first: Date, periods: u64) -> String {
    let noun = match span {
        Span::Day => format!("{}s", weekday(first)),
        Span::Week { .. } => "weeks".to_owned(),
        Span::Month => "months".to_owned(),
    };
    match periods {
        0 | 8 => format!("the eight {noun} before"),
        some => format!("{some} of the eight {noun} before"),
    }
}

/// Seconds in the unit that reads best: the bounds of buckets and averages.
pub(crate) fn seconds(value: f64) -> String {
    let trim = |text: String| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text,
    };
    if value == 0.0 {
        "0".to_owned()
    } else if value < 1.0 {
        format!("{} ms", trim(format!("{:.1}", value * 1000.0)))
    } else {
        format!("{} s", trim(format!("{value:.2}")))
    }
}

/// `Monday`.
pub(crate) fn weekday(date: Date) -> &'static str {
    match date.weekday() {
        Weekday::Monday => "Monday",
        Weekday::Tuesday => "Tuesday",
        Weekday::Wednesday => "Wednesday",
        Weekday::Thursday => "Thursday",
        Weekday::Friday => "Friday",
        Weekday::Saturday => "Saturday",
        Weekday::Sunday => "Sunday",
    }
}

/// `May`.
fn month(date: Date) -> &'static str {
    const MONTHS: [&str; 12] = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let index = usize::try_from(date.month()).unwrap_or(1).saturating_sub(1);
    MONTHS.get(index).copied().unwrap_or_default()
}

/// `Mon 4 May`.
pub(crate) fn day_short(date: Date) -> String {
    let (day, month) = (weekday(date), month(date));
    format!("{} {} {}", day.get(..3).unwrap_or(day), date.day(), month.get(..3).unwrap_or(month))
}

/// `4 May`.
pub(crate) fn day_only(date: Date) -> String {
    let month = month(date);
    format!("{} {}", date.day(), month.get(..3).unwrap_or(month))
}

/// A word with a capital.
pub(crate) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase()).into_iter();
    first.chain(letters).collect()
}

/// `Week of` in the middle of a line.
pub(crate) fn uncapital(text: &str) -> String {
    text.strip_prefix("Week of").map_or_else(|| text.to_owned(), |rest| format!("week of{rest}"))
}

/// `Monday 4 May`.
pub(crate) fn day_long(date: Date) -> String {
    format!("{} {} {}", weekday(date), date.day(), month(date))
}

/// A period: `Monday 4 May 2026`, `4 to 10 May 2026`, `May 2026`.
pub(crate) fn period(span: Span, first: Date, last: Date) -> String {
    match span {
        Span::Day => format!("{} {}", day_long(first), first.year()),
        Span::Week { .. } => days(first, last),
        Span::Month => format!("{} {}", month(first), first.year()),
    }
}

/// `4 to 10 May 2026`, `29 June to 5 July 2026`, `28 December 2026 to 3 January 2027`.
fn days(first: Date, last: Date) -> String {
    let end = format!("{} {} {}", last.day(), month(last), last.year());
    if first.year() != last.year() {
        format!("{} {} {} to {end}", first.day(), month(first), first.year())
    } else if first.month() != last.month() {
        format!("{} {} to {end}", first.day(), month(first))
    } else {
        format!("{} to {end}", first.day())
    }
}

/// `Monday 4 May 13:00`; the end of a day reads 24:00 of that day where `end` is set.
pub(crate) fn moment(at: Timestamp, zone: &TimeZone, end: bool) -> String {
    let Ok(instant) = jiff::Timestamp::from_millisecond(at.0) else { return at.to_string() };
    let clock = zone.to_datetime(instant);
    if end
        && (clock.hour(), clock.minute()) == (0, 0)
        && let Ok(yesterday) = clock.date().yesterday()
    {
        return format!("{} 24:00", day_long(yesterday));
    }
    format!("{} {:02}:{:02}", day_long(clock.date()), clock.hour(), clock.minute())
}

/// An instant with the zone's distance from UTC, as in RFC 3339.
pub(crate) fn rfc3339(at: Timestamp, zone: &TimeZone) -> String {
    match jiff::Timestamp::from_millisecond(at.0) {
        Ok(instant) => instant.display_with_offset(zone.to_offset(instant)).to_string(),
        Err(_) => at.to_string(),
    }
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(count(u64::MAX), "18,446,744,073,709,551,615");
        assert_eq!([99_999, 123_456, 12_345_678].map(compact), ["99,999", "123 k", "12.3 M"]);
        assert!([u64::MAX, 999_999, 1 << 40].iter().all(|&value| compact(value).len() <= 6));
        assert_eq!(share(1, 3), "33.3 %");
        assert_eq!(share(1, 1_000_000), "< 0.1 %");
        assert_eq!(share(999_999, 1_000_000), "> 99.9 %");
        assert_eq!(share(0, 0), "–");
        assert_eq!([0.005, 0.1, 1.0, 2.5].map(seconds), ["5 ms", "100 ms", "1 s", "2.5 s"]);
    }

    #[test]
    fn changes_say_new_same_and_no_data() {
        let of = |count, before| change(Compared { count, before, usual: None });
        assert_eq!(of(Some(12), Some(10)), "+20.0 %");
        assert_eq!(of(Some(1), Some(2448)), "−99.9 %");
        assert_eq!(of(Some(7), Some(0)), "new");
        assert_eq!(of(Some(0), Some(0)), "same");
        assert_eq!(of(Some(7), None), "–");
        assert_eq!(of(None, Some(7)), "no data");
        assert!(of(Some(u64::MAX), Some(1)).starts_with("+1,8"));
    }

    #[test]
    fn a_count_is_placed_in_its_usual_range() {
        let of = |count| {
            let usual = Usual::of([9, 12, 10].into_iter());
            usual_sentence(Compared { count: Some(count), before: None, usual }, "the eight weeks before")
        };
        assert_eq!(of(8).as_deref(), Some("below the range of the eight weeks before (9–12)"));
        assert_eq!(of(9).as_deref(), Some("within the range of the eight weeks before (9–12)"));
        assert_eq!(of(13).as_deref(), Some("above the range of the eight weeks before (9–12)"));
        assert_eq!(usual(Usual::of([3, 3].into_iter())), "3");
        assert_eq!(usual_words(Span::Day, date(2026, 5, 4), 3), "3 of the eight Mondays before");
    }

    #[test]
    fn weeks_across_months_and_years_read_well() {
        assert_eq!(days(date(2026, 5, 4), date(2026, 5, 10)), "4 to 10 May 2026");
        assert_eq!(days(date(2026, 6, 29), date(2026, 7, 5)), "29 June to 5 July 2026");
        assert_eq!(days(date(2026, 12, 28), date(2027, 1, 3)), "28 December 2026 to 3 January 2027");
        assert_eq!(day_short(date(2026, 5, 4)), "Mon 4 May");
    }
}
