//! Histograms as Prometheus writes them: `{count:4, sum:5, [-0.001,0.001]:1, (0.5,1]:3}`.

use std::fmt::{self, Display, Formatter};

use super::{Bucket, Histogram};

/// A float with the fewest digits that read back to it, and an exponent below 1e-4 and from 1e6 on, as Go's `%g`.
#[must_use]
pub fn short_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let power: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 || (-4..6).contains(&power) {
        return format!("{value}");
    }
    match exponent.strip_prefix('-') {
        Some(exponent) => format!("{digits}e-{exponent:0>2}"),
        None => format!("{digits}e+{exponent:0>2}"),
    }
}

impl Display for Bucket {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (open, close) =
            (if self.lower_inclusive { '[' } else { '(' }, if self.upper_inclusive { ']' } else { ')' });
        write!(
            f,
            "{open}{},{}{close}:{}",
            short_float(self.lower),
            short_float(self.upper),
            short_float(self.count)
        )
    }
}

impl Display for Histogram {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", short_float(self.count), short_float(self.sum))?;
        for bucket in self.buckets().filter(|bucket| bucket.count != 0.0) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_shows_its_populated_buckets_from_the_lowest() {
        let histogram = Histogram {
            zero_threshold: 0.001,
            zero_count: 1.0,
            count: 6.5,
            sum: 1e-5,
            positive: vec![(0, 2.0), (2, 0.5)],
            negative: vec![(1, 3.0)],
            ..Histogram::default()
        };
        assert_eq!(
            histogram.to_string(),
            "{count:6.5, sum:1e-05, [-2,-1):3, [-0.001,0.001]:1, (0.5,1]:2, (2,4]:0.5}"
        );
    }
}
