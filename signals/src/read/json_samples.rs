//! Lines of samples as `annals tenant export` and VictoriaMetrics write them:
//! `{"metric":{"__name__":"hits","site":"www"},"kind":"delta","values":[1,4],"timestamps":[1431857100000,1431857160000]}`.
//!
//! `kind` may be missing: then the name tells, as elsewhere. A value is a number, or a text for what is none (`"NaN"`,
//! `"Infinity"`, `"-Inf"`), or `null`, the mark of a series' end.

use std::collections::BTreeMap;
use std::fmt;

use annals_model::{METRIC_NAME, STALE_NAN_BITS, SeriesKind, Timestamp};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use super::names::number_of;
use super::{METRIC_LINE_BYTES_MAX, MetricLine, MetricReader, SampleSink, kind_by_suffix};

/// Reads such lines.
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonSamples;

/// The parts of a line that are looked at.
#[derive(Deserialize)]
struct Line {
    metric: BTreeMap<String, String>,
    kind: Option<String>,
    values: Vec<Value>,
    timestamps: Vec<i64>,
}

/// A value, by its bits.
struct Value(f64);

impl MetricReader for JsonSamples {
    fn line(&mut self, line: &[u8], sink: &mut dyn SampleSink) -> MetricLine {
        if line.len() > METRIC_LINE_BYTES_MAX {
            return MetricLine::Unreadable;
        }
        if line.trim_ascii().is_empty() {
            return MetricLine::Skipped;
        }
        let Ok(Line { metric, kind, values, timestamps }) = serde_json::from_slice::<Line>(line) else {
            return MetricLine::Unreadable;
        };
        let name = metric.get(METRIC_NAME).map_or("", String::as_str);
        let kind = match &kind {
            None => Some(kind_by_suffix(name)),
            Some(word) => {
                SeriesKind::ALL.into_iter().find(|kind| kind.name() == word && !kind.is_histogram())
            }
        };
        let Some(kind) = kind.filter(|_| values.len() == timestamps.len()) else {
            return MetricLine::Unreadable;
        };
        let mut labels: Vec<(&str, &str)> =
            metric.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        // The name comes first.
        labels.sort_by_key(|(name, _)| *name != METRIC_NAME);
        // In the order of names, however the line has them.
        let mut key = Vec::with_capacity(128);
        for (name, value) in &labels {
            [name, value].iter().for_each(|text| {
                key.extend_from_slice(&(text.len() as u64).to_le_bytes());
                key.extend_from_slice(text.as_bytes());
            });
        }
        let series = number_of(sink, &key, &labels, kind);
        for (Value(value), time) in values.iter().zip(&timestamps) {
            sink.sample(series, Some(Timestamp(*time)), *value);
        }
        MetricLine::Samples(values.len())
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Value, D::Error> {
        from.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl Visitor<'_> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, its name, or null")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value(f64::from_bits(STALE_NAN_BITS)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value(value as f64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        text.parse().map(Value).map_err(|_| E::custom("no number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::EachSample;

    fn read(line: &str) -> (MetricLine, Vec<(String, SeriesKind, i64, u64)>) {
        let mut samples = Vec::new();
        let mut sink =
            EachSample::new(|labels: &[(&str, &str)], kind, time: Option<Timestamp>, value: f64| {
                samples.push((format!("{labels:?}"), kind, time.expect("given").0, value.to_bits()));
            });
        let read = JsonSamples.line(line.as_bytes(), &mut sink);
        drop(sink);
        (read, samples)
    }

    #[test]
    fn values_of_every_kind_are_read_bit_for_bit() {
        let line = r#"{"metric":{"a":"x","__name__":"hits"},"kind":"delta","values":[1,-0,0.1,"NaN","+Inf","-Infinity",null],"timestamps":[1,2,3,4,5,6,7]}"#;
        let (read, samples) = read(line);
        assert_eq!(read, MetricLine::Samples(7));
        let bits: Vec<u64> = samples.iter().map(|(.., bits)| *bits).collect();
        let expected =
            [1.0, -0.0, 0.1, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::from_bits(STALE_NAN_BITS)];
        assert_eq!(bits, expected.map(f64::to_bits));
        assert_eq!(samples[0].0, r#"[("__name__", "hits"), ("a", "x")]"#);
        assert!(samples.iter().all(|(_, kind, ..)| *kind == SeriesKind::Delta));
    }

    #[test]
    fn lines_without_a_kind_go_by_their_names() {
        let line = r#"{"metric":{"__name__":"hits_total"},"values":[1],"timestamps":[1]}"#;
        assert_eq!(read(line).1[0].1, SeriesKind::Counter);
    }

    #[test]
    fn other_lines_are_unreadable_and_give_no_sample() {
        for line in [
            r#"{"metric":{"__name__":"m"},"values":[1,2],"timestamps":[1]}"#,
            r#"{"metric":{"__name__":"m"},"kind":"other","values":[1],"timestamps":[1]}"#,
            r#"{"metric":{"__name__":"m"},"kind":"histogram","timestamp":1,"histogram":{"count":1}}"#,
            r#"{"metric":{"__name__":"m"},"kind":"delta","end":3600000,"count":1,"sum":1}"#,
            r#"{"metric":{"__name__":"m"},"values":["x"],"timestamps":[1]}"#,
            r#"{"timestamp":1,"kind":"auth.attempt","site":"www"}"#,
            "[]",
            "{",
        ] {
            assert_eq!(read(line), (MetricLine::Unreadable, vec![]), "{line}");
        }
    }
}
