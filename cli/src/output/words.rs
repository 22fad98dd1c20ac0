//! Numbers, sizes, times and names as people read them.

use annals::{DAY_MS, HOUR_MS, LabelSet, MINUTE_MS, Timestamp};
use jiff::tz::TimeZone;

use crate::times::zoned;

/// A value in its shortest form that reads back bit for bit (of a NaN only that it is one).
pub(crate) fn value(value: f64) -> String {
    annals::format_float(value, annals::FloatForm::Reply)
}

/// A value in few characters: four digits that count, for axes and legends.
pub(crate) fn brief(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() || size == 0.0 {
        return self::value(value);
    }
    if !(1e-3..1e15).contains(&size) {
        return format!("{value:.1e}");
    }
    let (scaled, unit) = match size {
        1e12.. => (value / 1e12, "T"),
        1e9.. => (value / 1e9, "G"),
        1e6.. => (value / 1e6, "M"),
        1e4.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let decimals = match scaled.abs() {
        1e3.. => 0,
        100.0.. => 1,
        10.0.. => 2,
        1.0.. => 3,
        _ => 4,
    };
    let text = format!("{scaled:.decimals$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    format!("{text}{unit}")
}

/// An instant: sorted as text, unmistakable, and no longer than it must be.
pub(crate) fn time(time: Timestamp, zone: &TimeZone) -> String {
    if *zone == TimeZone::UTC {
        return time.to_string().replacen('T', " ", 1).replace(":00Z", "Z");
    }
    let here = zoned(time, zone);
    let clock = here.datetime().to_string().replacen('T', " ", 1);
    let clock = clock.strip_suffix(":00").unwrap_or(&clock);
    format!("{clock}{}", here.strftime("%:z"))
}

/// Writes many instants as [`Timestamp`] does, and remembers what the day before the clock is.
#[derive(Default)]
pub(crate) struct Stamps {
    day: Option<i64>,
    /// Such as `2015-05-17T`; empty where the year has not four digits.
    date: String,
}

impl Stamps {
    /// Appends an instant.
    pub(crate) fn write(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        let (day, ms) = (time.0.div_euclid(DAY_MS), time.0.rem_euclid(DAY_MS));
        if self.day != Some(day) {
            let midnight = Timestamp(time.0.saturating_sub(ms)).to_string();
            self.date = midnight.split_once('T').map_or_else(String::new, |(date, _)| format!("{date}T"));
            self.day = Some(day);
        }
        if self.date.is_empty() || ms % 1000 != 0 {
            out.extend_from_slice(time.to_string().as_bytes());
            return;
        }
        out.extend_from_slice(self.date.as_bytes());
        for (number, end) in [(ms / HOUR_MS, b':'), (ms / MINUTE_MS % 60, b':'), (ms / 1000 % 60, b'Z')] {
            // Below 60, so that both digits are digits.
            out.extend_from_slice(&[b'0' + (number / 10) as u8, b'0' + (number % 10) as u8, end]);
        }
    }
}

/// A count with a comma between thousands.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count and its noun.
pub(crate) fn plural(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// A size in bytes.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut scaled = bytes as f64;
    let mut unit = 0;
    while scaled >= 1023.95 && unit + 1 < UNITS.len() {
        scaled /= 1024.0;
        unit += 1;
    }
    let name = UNITS.get(unit).copied().unwrap_or_default();
    if unit == 0 { format!("{bytes} {name}") } else { format!("{scaled:.1} {name}") }
}

/// Text that may have come from anywhere, made harmless for a terminal: control characters are written out.
pub(crate) fn harmless(text: &str) -> String {
    let plain = |c: char| {
        !c.is_control()
            && !matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.chars().all(plain) {
        return text.to_owned();
    }
    text.chars().map(|c| if plain(c) { c.to_string() } else { c.escape_default().to_string() }).collect()
}

/// A text over several lines in one, harmless.
pub(crate) fn one_line(text: &str) -> String {
    harmless(&text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Cuts a text to a width, with an ellipsis where it is cut.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// How a set without labels is written.
pub(crate) const NO_LABELS: &str = "{}";

/// What all label sets share, and what tells each apart; names for a title and for legends.
pub(crate) fn titles(sets: &[&LabelSet]) -> (String, Vec<String>) {
    let Some((first, rest)) = sets.split_first() else { return (String::new(), Vec::new()) };
    if rest.is_empty() {
        return (harmless(&first.to_string()), vec![harmless(&first.to_string())]);
    }
    let shared: Vec<(&str, &str)> =
        first.iter().filter(|(name, value)| rest.iter().all(|set| set.get(name) == *value)).collect();
    let common = LabelSet::from_pairs(shared.iter().copied()).unwrap_or_else(|_| LabelSet::empty());
    let own = |set: &LabelSet| {
        let pairs: Vec<(&str, &str)> = set.iter().filter(|pair| !shared.contains(pair)).collect();
        match pairs[..] {
            // One label tells them apart: its value says enough.
            [(name, value)] if name != annals::METRIC_NAME => format!("{name}={value}"),
            _ => LabelSet::from_pairs(pairs).map_or_else(|_| set.to_string(), |own| own.to_string()),
        }
    };
    let title = if common.is_empty() { String::new() } else { harmless(&common.to_string()) };
    (title, sets.iter().map(|set| harmless(&own(set))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_reads_back_bit_for_bit() {
        let mut state = 7u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let number = f64::from_bits(state ^ (state >> 29));
            if number.is_nan() {
                continue;
            }
            let read: f64 = value(number).parse().expect("it is a number");
            assert_eq!(read.to_bits(), number.to_bits(), "{number:e}");
        }
        assert_eq!(
            [0.0, -0.0, 0.1, 3.0, 1e21, 1.5e-9].map(value),
            ["0", "-0", "0.1", "3", "1e+21", "1.5e-09"]
        );
        assert_eq!([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(value), ["NaN", "+Inf", "-Inf"]);
    }

    #[test]
    fn brief_values_keep_what_counts() {
        let cases = [
            (0.0, "0"),
            (0.25, "0.25"),
            (1234.0, "1234"),
            (12_345.0, "12.35k"),
            (2.5e9, "2.5G"),
            (1e-9, "1.0e-9"),
        ];
        for (number, text) in cases {
            assert_eq!(brief(number), text);
        }
        assert_eq!(
            [0, 999, 1024, 1_048_575, 1 << 40].map(size),
            ["0 B", "999 B", "1.0 KiB", "1.0 MiB", "1.0 TiB"]
        );
        assert_eq!(count(1_234_567), "1,234,567");
    }

    #[test]
    fn times_are_those_of_the_zone_and_say_so() {
        let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
        for (at, utc, there) in [
            (0, "1970-01-01 00:00Z", "1970-01-01 01:00+01:00"),
            (1_431_857_103_250, "2015-05-17 10:05:03.250Z", "2015-05-17 12:05:03.25+02:00"),
        ] {
            assert_eq!(time(Timestamp(at), &TimeZone::UTC), utc);
            assert_eq!(time(Timestamp(at), &berlin), there);
        }
    }

    #[test]
    fn instants_that_are_written_one_after_another_are_the_same_text() {
        let mut stamps = Stamps::default();
        let odd = [
            0,
            -1,
            1,
            999,
            86_399_000,
            86_400_000,
            1_431_857_103_250,
            i64::MIN,
            i64::MAX,
            -62_200_000_000_000,
        ];
        for at in odd.into_iter().chain((0..2_000).map(|step| step * 7_777_000)) {
            let mut out = Vec::new();
            stamps.write(Timestamp(at), &mut out);
            assert_eq!(String::from_utf8(out).expect("text"), Timestamp(at).to_string());
        }
    }

    #[test]
    fn control_characters_reach_no_terminal() {
        assert_eq!(harmless("a\u{1b}[2Jb\n\u{202e}"), "a\\u{1b}[2Jb\\n\\u{202e}");
        assert_eq!(harmless("plain é"), "plain é");
    }

    #[test]
    fn titles_say_what_is_shared_once() {
        let set = |pairs: &[(&str, &str)]| LabelSet::from_pairs(pairs.iter().copied()).expect("valid");
        let a = set(&[("__name__", "http_requests"), ("site", "x"), ("status", "200")]);
        let b = set(&[("__name__", "http_requests"), ("site", "x"), ("status", "404")]);
        let (title, own) = titles(&[&a, &b]);
        assert_eq!(title, r#"http_requests{site="x"}"#);
        assert_eq!(own, ["status=200", "status=404"]);
        let (title, own) = titles(&[&LabelSet::empty()]);
        assert_eq!((title.as_str(), own.len()), ("{}", 1));
    }
}
