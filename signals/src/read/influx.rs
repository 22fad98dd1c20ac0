//! Influx line protocol: `measurement[,tag=value…] field=value[,field=value…] [time]`.
//!
//! Each field becomes a gauge named `<measurement>_<field>`, with the tags as labels. Numbers keep every bit, integers
//! (`7i`, `7u`) as the nearest f64; booleans are 1 and 0; strings are dropped. A backslash escapes a comma, an equals
//! sign and a space in names and tags, a quote and itself in strings; before anything else it stands for itself. The
//! time is in the caller's precision, rounded down to milliseconds.

use annals_model::{METRIC_NAME, SeriesKind, Timestamp};

use super::{METRIC_LINE_BYTES_MAX, MetricLine, MetricReader, SampleSink, by_itself};

/// The unit of times in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precision {
    /// The protocol's default.
    #[default]
    Nanoseconds,
    /// 10^-6 s.
    Microseconds,
    /// 10^-3 s.
    Milliseconds,
    /// Whole seconds.
    Seconds,
    /// Whole minutes.
    Minutes,
    /// Whole hours.
    Hours,
}

/// Reads line protocol.
#[derive(Debug)]
pub struct InfluxLines {
    precision: Precision,
    default_time: Option<Timestamp>,
    /// The samples of the line that is being read.
    values: Vec<(u32, f64)>,
}

impl InfluxLines {
    /// A reader of times in `precision` that gives `default_time` to lines without one.
    #[must_use]
    pub fn new(precision: Precision, default_time: Option<Timestamp>) -> InfluxLines {
        InfluxLines { precision, default_time, values: Vec::new() }
    }

    fn time(&self, text: &str) -> Option<Timestamp> {
        let number: i64 = text.parse().ok()?;
        Some(Timestamp(match self.precision {
            Precision::Nanoseconds => number.div_euclid(1_000_000),
            Precision::Microseconds => number.div_euclid(1_000),
            Precision::Milliseconds => number,
            Precision::Seconds => number.checked_mul(1_000)?,
            Precision::Minutes => number.checked_mul(60_000)?,
            Precision::Hours => number.checked_mul(3_600_000)?,
        }))
    }

    /// How many samples the line gave: none before all of it was read.
    ///
    /// Lines that share measurement and tags share them byte by byte: they are taken apart once, and so is each field's
    /// name of them.
    fn parse(&mut self, line: &str, sink: &mut dyn SampleSink) -> Option<usize> {
        let mut labels = None;
        let within = by_itself(SeriesKind::Gauge);
        let (known, end) = named(sink, within, line, b" ");
        let (head, rest) = line.split_at_checked(end)?;
        let mut rest = rest.strip_prefix(' ')?.trim_start_matches(' ');
        let head_number = match known.or_else(|| sink.find(within, head.as_bytes())) {
            Some(known) => known,
            None => {
                labels = Some(parse_head(head)?);
                sink.part(within, head.as_bytes())
            }
        };
        self.values.clear();
        loop {
            let (known, end) = named(sink, head_number, rest, b"=, ");
            let (field, after) = rest.split_at_checked(end)?;
            let (value, after) = field_value(after.strip_prefix('=')?)?;
            if field.is_empty() {
                return None;
            }
            if let Some(value) = value {
                let series = match known.or_else(|| sink.find(head_number, field.as_bytes())) {
                    Some(known) => known,
                    None => {
                        let (measurement, tags) = match &mut labels {
                            Some(labels) => labels,
                            none => none.insert(parse_head(head)?),
                        };
                        let name = format!("{measurement}_{}", unescaped(field));
                        let tags = tags.iter().map(|(tag, value)| (tag.as_str(), value.as_str()));
                        let labels: Vec<(&str, &str)> =
                            [(METRIC_NAME, &*name)].into_iter().chain(tags).collect();
                        sink.series(head_number, field.as_bytes(), &labels, SeriesKind::Gauge)
                    }
                };
                self.values.push((series, value));
            }
            rest = after;
            match rest.strip_prefix(',') {
                Some(after) => rest = after,
                None => break,
            }
        }
        let time = match rest.trim_matches(' ') {
            "" => self.default_time,
            time if rest.starts_with(' ') => Some(self.time(time)?),
            _ => return None,
        };
        for &(series, value) in &self.values {
            sink.sample(series, time, value);
        }
        Some(self.values.len())
    }
}

impl MetricReader for InfluxLines {
    fn line(&mut self, line: &[u8], sink: &mut dyn SampleSink) -> MetricLine {
        if line.len() > METRIC_LINE_BYTES_MAX {
            return MetricLine::Unreadable;
        }
        let Ok(line) = std::str::from_utf8(line.trim_ascii()) else { return MetricLine::Unreadable };
        if line.is_empty() || line.starts_with('#') {
            return MetricLine::Skipped;
        }
        self.parse(line, sink).map_or(MetricLine::Unreadable, MetricLine::Samples)
    }
}

/// Where the name that a text begins with ends, at one of `ends`; and its number, where the sink has guessed it. A name that
/// was taken apart before holds none of `ends` but escaped ones, so that the first thereafter is its end.
fn named(sink: &mut dyn SampleSink, within: u32, text: &str, ends: &[u8]) -> (Option<u32>, usize) {
    match sink.guess(within, text.as_bytes()) {
        Some((known, end)) if text.as_bytes().get(end).is_some_and(|byte| ends.contains(byte)) => {
            (Some(known), end)
        }
        _ => (None, end_of(text, ends)),
    }
}

/// The measurement and the tags, unescaped.
type Head = (String, Vec<(String, String)>);

fn parse_head(head: &str) -> Option<Head> {
    let (measurement, mut rest) = head.split_at_checked(end_of(head, b","))?;
    if measurement.is_empty() {
        return None;
    }
    let mut tags = Vec::new();
    while let Some(after) = rest.strip_prefix(',') {
        let (tag, after) = after.split_at_checked(end_of(after, b"=,"))?;
        let value = after.strip_prefix('=')?;
        let (value, after) = value.split_at_checked(end_of(value, b"=,"))?;
        if tag.is_empty() || value.is_empty() || tag == METRIC_NAME {
            return None;
        }
        tags.push((unescaped(tag), unescaped(value)));
        rest = after;
    }
    rest.is_empty().then(|| (unescaped(measurement), tags))
}

/// Where one of `ends` stands first that no backslash escapes, or the text's end.
fn end_of(text: &str, ends: &[u8]) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte == b'\\' && bytes.get(at + 1).is_some_and(|next| matches!(next, b',' | b'=' | b' ')) {
            at += 2;
        } else if ends.contains(&byte) {
            return at;
        } else {
            at += 1;
        }
    }
    bytes.len()
}

/// A name without the backslashes that escape something in it.
fn unescaped(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    let mut chars = name.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = (c == '\\').then(|| chars.next_if(|next| matches!(next, ',' | '=' | ' '))).flatten();
        plain.push(escaped.unwrap_or(c));
    }
    plain
}

/// A field's value, `None` inside for a string, and what follows.
fn field_value(text: &str) -> Option<(Option<f64>, &str)> {
    if let Some(inner) = text.strip_prefix('"') {
        let mut bytes = inner.bytes().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'\\' => _ = bytes.next(),
                b'"' => return Some((None, inner.get(at + 1..)?)),
                _ => {}
            }
        }
        return None;
    }
    let end = text.find([',', ' ']).unwrap_or(text.len());
    let (value, rest) = text.split_at_checked(end)?;
    let number = match value {
        "t" | "T" | "true" | "True" | "TRUE" => 1.0,
        "f" | "F" | "false" | "False" | "FALSE" => 0.0,
        _ => match (value.strip_suffix('i'), value.strip_suffix('u')) {
            (Some(signed), _) => signed.parse::<i64>().ok()? as f64,
            (_, Some(unsigned)) => unsigned.parse::<u64>().ok()? as f64,
            // The protocol has no NaN and no infinity, which Rust would read.
            _ if value.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) => {
                value.parse().ok()?
            }
            _ => return None,
        },
    };
    Some((Some(number), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::EachSample;
    use proptest::prelude::*;

    fn read(precision: Precision, line: &str) -> Vec<String> {
        let mut samples = Vec::new();
        let mut sink =
            EachSample::new(|labels: &[(&str, &str)], kind, time: Option<Timestamp>, value: f64| {
                assert_eq!(kind, SeriesKind::Gauge);
                let labels: Vec<String> =
                    labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
                samples.push(format!("{} {} {value:?}", labels.join(","), time.expect("given").0));
            });
        let mut reader = InfluxLines::new(precision, Some(Timestamp(7)));
        let read = reader.line(line.as_bytes(), &mut sink);
        drop(sink);
        match read {
            MetricLine::Samples(count) => assert_eq!(count, samples.len()),
            other => samples.push(format!("{other:?}")),
        }
        samples
    }

    #[test]
    fn lines_are_read_in_every_form() {
        use Precision::*;
        for (precision, line, expected) in [
            (
                Nanoseconds,
                "m,a=1,b=2 x=1.5,y=2i 1465839830100400200",
                &["__name__=m_x,a=1,b=2 1465839830100 1.5", "__name__=m_y,a=1,b=2 1465839830100 2.0"][..],
            ),
            (Microseconds, "m x=-1e3 1465839830100400", &["__name__=m_x 1465839830100 -1000.0"]),
            (Milliseconds, "m x=18446744073709551615u 5", &["__name__=m_x 5 1.8446744073709552e19"]),
            (Seconds, "m x=t,y=False -5", &["__name__=m_x -5000 1.0", "__name__=m_y -5000 0.0"]),
            (Nanoseconds, "m x=1 -1", &["__name__=m_x -1 1.0"]),
            (Seconds, "m x=1", &["__name__=m_x 7 1.0"]),
            (Seconds, "m  x=1   5  \r\n", &["__name__=m_x 5000 1.0"]),
            (
                Seconds,
                r#"m\ n\,o,t\=u=v\ w\x s="a, \"b=1 c\\",z=2 5"#,
                &[r"__name__=m n,o_z,t=u=v w\x 5000 2.0"],
            ),
            (Seconds, "m s=\"x\" 5", &[]),
            (Seconds, "wétter,ort=Köln grad=1 5", &["__name__=wétter_grad,ort=Köln 5000 1.0"]),
            (Seconds, "", &["Skipped"]),
            (Seconds, "# comment", &["Skipped"]),
        ] {
            assert_eq!(read(precision, line), expected, "{line}");
        }
        for bad in [
            "m",
            "m ",
            "m x",
            "m x=",
            "m x=y",
            "m =1",
            ",a=1 x=1",
            "m,a x=1",
            "m,a= x=1",
            "m,=1 x=1",
            "m x=1 5 6",
            "m x=1 y",
            "m x=1,",
            "m x=\"a",
            "m x=\"a\"b",
            "m x=1.5i",
            "m x=NaN",
            "m x=inf",
            "m x=1 9223372036854775807",
            "m,__name__=n x=1",
        ] {
            assert_eq!(read(Seconds, bad), ["Unreadable"], "{bad}");
        }
    }

    proptest! {
        #[test]
        fn values_come_back_bit_for_bit(bits in any::<u64>()) {
            let number = f64::from_bits(bits);
            prop_assume!(number.is_finite());
            let mut found = None;
            let mut sink = EachSample::new(|_: &[(&str, &str)], _, _, value: f64| found = Some(value.to_bits()));
            InfluxLines::new(Precision::Seconds, None).line(format!("m x={number} 1").as_bytes(), &mut sink);
            drop(sink);
            prop_assert_eq!(found, Some(bits));
        }

        #[test]
        fn no_line_panics(line in "[mx,= \\\\\"1iué-]{0,30}") {
            let _ = read(Precision::Nanoseconds, &line);
        }
    }
}
