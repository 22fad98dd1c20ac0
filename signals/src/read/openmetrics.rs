//! Prometheus' text exposition and OpenMetrics.
//!
//! | `# TYPE`               | sample                              | kind    |
//! |------------------------|-------------------------------------|---------|
//! | counter                | the family's name, or with `_total` | counter |
//! | histogram, summary     | `_bucket`, `_count`, `_sum`         | counter |
//! | gaugehistogram         | `_bucket`, `_gcount`, `_gsum`       | gauge   |
//! | any other, or none     |                                     | gauge   |
//!
//! A family's `_created` is a gauge. The two dialects differ in their times: whole milliseconds in Prometheus' text,
//! seconds with a fraction in OpenMetrics, which ends with `# EOF` ([`Dialect::detect`]). Exemplars are dropped.

use annals_model::{SeriesKind, Timestamp};
use hashbrown::HashMap;

use super::names::number_of;
use super::{METRIC_LINE_BYTES_MAX, MetricLine, MetricReader, SampleSink, by_itself, number, series, stamp};

/// The most `# TYPE` lines that are remembered; series of further families are gauges.
const FAMILIES_MAX: usize = 100_000;

/// Which of the two text formats a file is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Prometheus' text format 0.0.4 and later.
    Prometheus,
    /// OpenMetrics 1.
    OpenMetrics,
}

impl Dialect {
    /// OpenMetrics where the text ends with `# EOF`; its last bytes are enough.
    #[must_use]
    pub fn detect(text: &[u8]) -> Dialect {
        let text = text.trim_ascii_end();
        let last = text.rsplit(|&byte| byte == b'\n').next().unwrap_or(text);
        if last == b"# EOF" { Dialect::OpenMetrics } else { Dialect::Prometheus }
    }
}

/// Reads exposition text.
#[derive(Debug)]
pub struct MetricsText {
    dialect: Dialect,
    default_time: Option<Timestamp>,
    families: HashMap<String, Family, foldhash::fast::FixedState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Family {
    Counter,
    /// Histogram or summary.
    Distribution,
    Gauge,
}

impl MetricsText {
    /// A reader that gives `default_time` to samples without a time.
    #[must_use]
    pub fn new(dialect: Dialect, default_time: Option<Timestamp>) -> MetricsText {
        MetricsText { dialect, default_time, families: HashMap::default() }
    }

    fn comment(&mut self, comment: &str) {
        let mut words = comment.split_ascii_whitespace();
        let (Some("TYPE"), Some(name), Some(word)) = (words.next(), words.next(), words.next()) else {
            return;
        };
        let family = match word {
            "counter" => Family::Counter,
            "histogram" | "summary" => Family::Distribution,
            _ => Family::Gauge,
        };
        let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
        if self.families.len() < FAMILIES_MAX {
            self.families.insert(name.to_owned(), family);
        }
    }

    fn kind(&self, name: &str) -> SeriesKind {
        if let Some(family) = self.families.get(name) {
            // A summary's own name carries its quantiles.
            return if *family == Family::Counter { SeriesKind::Counter } else { SeriesKind::Gauge };
        }
        let is_part = |suffix: &str, of: Family| {
            name.strip_suffix(suffix).and_then(|family| self.families.get(family)) == Some(&of)
        };
        let counts = is_part("_total", Family::Counter)
            || ["_bucket", "_count", "_sum"].into_iter().any(|suffix| is_part(suffix, Family::Distribution));
        if counts { SeriesKind::Counter } else { SeriesKind::Gauge }
    }

    fn sample(&self, line: &str, sink: &mut dyn SampleSink) -> Option<()> {
        let end = series::series_end(line)?;
        let (name, rest) = line.split_at_checked(end)?;
        let mut words = rest.split_ascii_whitespace();
        // `up1` is a name and no value; `up{} 1` needs no space after the brace.
        if !rest.starts_with([' ', '\t']) && !name.ends_with('}') {
            return None;
        }
        let value = number::value(words.next()?)?;
        let time = match words.next() {
            None => self.default_time,
            Some("#") => {
                // An exemplar: the rest is its own.
                words = "".split_ascii_whitespace();
                self.default_time
            }
            Some(time) => Some(match self.dialect {
                Dialect::Prometheus => Timestamp(time.parse().ok()?),
                Dialect::OpenMetrics => stamp::unix_seconds(time)?,
            }),
        };
        if words.next().is_some_and(|word| word != "#") {
            return None;
        }
        let series = self.series(name, sink)?;
        sink.sample(series, time, value);
        Some(())
    }

    fn series(&self, name: &str, sink: &mut dyn SampleSink) -> Option<u32> {
        // A metric in quotes is known once it is taken apart.
        let plain = series::metric_of(name);
        let known = plain.and_then(|metric| sink.find(by_itself(self.kind(metric)), name.as_bytes()));
        if known.is_some() {
            return known;
        }
        let pairs = series::parse_series(name)?;
        let labels: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (&**name, &**value)).collect();
        let metric = labels.first().map_or("", |&(_, metric)| metric);
        Some(number_of(sink, name.as_bytes(), &labels, self.kind(metric)))
    }
}

impl MetricReader for MetricsText {
    fn line(&mut self, line: &[u8], sink: &mut dyn SampleSink) -> MetricLine {
        if line.len() > METRIC_LINE_BYTES_MAX {
            return MetricLine::Unreadable;
        }
        let Ok(line) = std::str::from_utf8(line.trim_ascii()) else { return MetricLine::Unreadable };
        if let Some(comment) = line.strip_prefix('#') {
            self.comment(comment);
            return MetricLine::Skipped;
        }
        if line.is_empty() {
            return MetricLine::Skipped;
        }
        self.sample(line, sink).map_or(MetricLine::Unreadable, |()| MetricLine::Samples(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::{EachSample, read_samples};

    fn read(text: &str) -> (Vec<String>, Vec<u64>) {
        let mut reader = MetricsText::new(Dialect::detect(text.as_bytes()), Some(Timestamp(7)));
        let mut samples = Vec::new();
        let sink = |labels: &[(&str, &str)], kind: SeriesKind, time: Option<Timestamp>, value: f64| {
            let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            samples.push(format!(
                "{} {} {} {value:?}",
                labels.join(","),
                kind.name(),
                time.expect("given").0
            ));
        };
        let tally = read_samples(&mut reader, text.as_bytes(), sink);
        (samples, vec![tally.lines, tally.read, tally.skipped, tally.unreadable])
    }

    #[test]
    fn prometheus_text_is_read_with_its_types_times_and_escapes() {
        let text = r#"# HELP http_requests_total The total.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9
metric_without_timestamp_and_labels 12.47
something_weird{problem="division by zero"} +Inf -3982045
# TYPE rpc_duration_seconds summary
rpc_duration_seconds{quantile="0.01"} 3102
rpc_duration_seconds_sum 1.7560473e+07
rpc_duration_seconds_count 2693
# TYPE h histogram
h_bucket{le="+Inf",} 0x1p4
h_count{}16
h NaN
# TYPE g gauge
g_total 1
	 spaced  {a = "b"}	 2	 3
"#;
        let (samples, counts) = read(text);
        assert_eq!(
            samples,
            [
                "__name__=http_requests_total,method=post,code=200 counter 1395066363000 1027.0",
                "__name__=http_requests_total,method=post,code=400 counter 1395066363000 3.0",
                "__name__=msdos_file_access_time_seconds,path=C:\\DIR\\FILE.TXT,error=Cannot find file:\n\"FILE.TXT\" gauge 7 1458255915.0",
                "__name__=metric_without_timestamp_and_labels gauge 7 12.47",
                "__name__=something_weird,problem=division by zero gauge -3982045 inf",
                "__name__=rpc_duration_seconds,quantile=0.01 gauge 7 3102.0",
                "__name__=rpc_duration_seconds_sum counter 7 17560473.0",
                "__name__=rpc_duration_seconds_count counter 7 2693.0",
                "__name__=h_bucket,le=+Inf counter 7 16.0",
                "__name__=h_count counter 7 16.0",
                "__name__=h gauge 7 NaN",
                "__name__=g_total gauge 7 1.0",
                "__name__=spaced,a=b gauge 3 2.0",
            ]
        );
        assert_eq!(counts, [19, 13, 6, 0]);
    }

    #[test]
    fn openmetrics_has_seconds_totals_and_exemplars() {
        let text = r#"# TYPE a counter
# UNIT a seconds
a_total{x="1"} 17.0 1520879607.789 # {trace_id="K # x"} 0.5 1
a_created 1520430000.123
# TYPE b gaugehistogram
b_bucket{le="1"} 4 # {} 0.5
{"c.d",x="1"} 1 1
# EOF
"#;
        let (samples, counts) = read(text);
        assert_eq!(
            samples,
            [
                "__name__=a_total,x=1 counter 1520879607789 17.0",
                "__name__=a_created gauge 7 1520430000.123",
                "__name__=b_bucket,le=1 gauge 7 4.0",
                "__name__=c.d,x=1 gauge 1000 1.0",
            ]
        );
        assert_eq!(counts, [8, 4, 4, 0]);
    }

    #[test]
    fn lines_that_are_none_are_unreadable() {
        for bad in [
            "up",
            "up x",
            "up 1 x",
            "up 1 1.5",
            "up 1 2 3",
            "up{a=\"1\" 1",
            "9up 1",
            "up{a=1} 1",
            "a-b 1",
            "up 1_0",
            "1",
            "\u{1}",
            "up{} ",
            "{a=\"b\"} 1",
        ] {
            assert_eq!(read(bad), (vec![], vec![1, 0, 0, 1]), "{bad}");
        }
        let mut nothing = EachSample::new(|_: &[(&str, &str)], _, _, _| panic!("no sample"));
        let mut reader = MetricsText::new(Dialect::Prometheus, None);
        assert_eq!(reader.line(b"up{a=\"\xff\"} 1", &mut nothing), MetricLine::Unreadable);
        assert_eq!(reader.line(&vec![b' '; METRIC_LINE_BYTES_MAX + 1], &mut nothing), MetricLine::Unreadable);
    }
}
