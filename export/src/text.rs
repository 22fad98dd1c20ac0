//! Numbers, times and names as text.

use std::fmt::{self, Write};

use annals::{Day, Timestamp};

/// The fewest digits that are read back as the same double.
pub(crate) struct Number(pub(crate) f64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Number(value) = *self;
        if value.is_nan() {
            return f.write_str("NaN");
        }
        if value.is_infinite() {
            return f.write_str(if value > 0.0 { "+Inf" } else { "-Inf" });
        }
        let text = format!("{value:?}");
        f.write_str(text.strip_suffix(".0").unwrap_or(&text))
    }
}

/// A stamp in seconds, as OpenMetrics has it.
pub(crate) struct Seconds(pub(crate) i64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.unsigned_abs();
        if self.0 < 0 {
            f.write_char('-')?;
        }
        write!(f, "{}", ms / 1000)?;
        if !ms.is_multiple_of(1000) {
            write!(f, ".{:03}", ms % 1000)?;
        }
        Ok(())
    }
}

/// A day as in file names: `2015-05-17`.
pub(crate) fn date(day: Day) -> String {
    let start = day.range().start.to_string();
    start.split_once('T').map_or_else(|| day.to_string(), |(date, _)| date.to_owned())
}

/// A stamp as in the manifest.
pub(crate) fn time(ms: i64) -> String {
    Timestamp(ms).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_back_as_they_were() {
        for value in [0.0, -0.0, 1.0, 0.1, 1e300, -5e-324, 123_456_789.25, f64::MAX, f64::INFINITY] {
            let text = Number(value).to_string();
            let back: f64 = text.parse().expect("a number");
            assert_eq!(back.to_bits(), value.to_bits(), "{text}");
        }
        assert_eq!(Number(f64::NAN).to_string(), "NaN");
        assert_eq!(Number(42.0).to_string(), "42");
    }

    #[test]
    fn times_are_exact_to_the_millisecond() {
        let texts = [1_431_857_100_007, 1_431_857_100_000, -1, -1500, 0].map(|ms| Seconds(ms).to_string());
        assert_eq!(texts, ["1431857100.007", "1431857100", "-0.001", "-1.500", "0"]);
        assert_eq!(date(Day(16_572)), "2015-05-17");
    }
}
