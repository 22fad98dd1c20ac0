//! Histograms as Prometheus writes them: `{count:4, sum:5, [-0.001,0.001]:1, (0.5,1]:3}`.

use std::fmt::{self, Display, Formatter};

use super::{Bucket, Histogram};
use crate::{FloatForm, format_float};

fn short(value: f64) -> String {
    format_float(value, FloatForm::Short)
}

impl Display for Bucket {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (open, close) =
            (if self.lower_inclusive { '[' } else { '(' }, if self.upper_inclusive { ']' } else { ')' });
        write!(f, "{open}{},{}{close}:{}", short(self.lower), short(self.upper), short(self.count))
    }
}

impl Display for Histogram {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", short(self.count), short(self.sum))?;
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
