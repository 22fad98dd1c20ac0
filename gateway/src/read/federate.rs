//! `/federate`: the newest sample of each series that selectors find, as another server scrapes it.
//!
//! As text, which cannot say native histograms and leaves them out; or, where `Accept` asks for it, as Protobuf, a message
//! `io.prometheus.client.MetricFamily` behind its length for each metric:
//!
//! ```text
//! MetricFamily  1 name, 3 type (3 untyped, 4 histogram, 5 one that is no counter), 4 metric
//! Metric        1 label (1 name, 2 value), 5 untyped (1 value), 7 histogram, 6 ms
//! ```
//!
//! That has no words for custom buckets: histograms of such are left out in either form.

use std::sync::Arc;

use annals::query::promql::QueryOptions;
use annals::{
    Budget, Histogram, LabelSet, METRIC_NAME, Matcher, ResetHint, Samples, TimeRange, Timestamp, is_stale,
};
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;

use super::histograms::{SCRAPED, put_histogram};
use super::json::{Json, too_long};
use super::query::{query_limits, run};
use super::whole;
use crate::access::{Door, Reader};
use crate::app::Gateway;
use crate::params::Params;
use crate::reply::ApiError;
use crate::wire::put;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// The types of families of Protobuf.
const UNTYPED: u64 = 3;
const HISTOGRAM: u64 = 4;
const GAUGE_HISTOGRAM: u64 = 5;

/// The newest sample of a series.
struct Newest {
    labels: LabelSet,
    time: i64,
    value: Value,
}

enum Value {
    Float(f64),
    Native(Arc<Histogram>),
}

/// `/federate`
pub(crate) async fn federate(
    State(gateway): State<Arc<Gateway>>,
    reader: Reader,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let selectors = params.selectors()?;
    let config = gateway.config();
    let limits = query_limits(&config.limits, None)?;
    let options = QueryOptions::default();
    let (now, bytes_max) = (Timestamp(gateway.clock.now_ms()), config.limits.answer_bytes);
    let range = TimeRange::new(now.saturating_add(-options.lookback_ms), now);
    let door = reader.door.with(limits, options);
    let protobuf = takes_protobuf(&headers);
    let mut response = run(&gateway, (&reader.tenant, limits.time_ms_max), door, move |door, budget| {
        let found = newest(door, &selectors, range, budget)?;
        let write = if protobuf { families } else { text };
        write(&found, bytes_max).ok_or_else(|| too_long(bytes_max))
    })
    .await?;
    let form = HeaderValue::from_static(if protobuf { PROTOBUF } else { TEXT });
    response.headers_mut().insert(CONTENT_TYPE, form);
    Ok(response)
}

/// Whether the first form that a scraper names is that one.
fn takes_protobuf(headers: &HeaderMap) -> bool {
    let accepted = headers.get(ACCEPT).and_then(|own| own.to_str().ok()).unwrap_or_default();
    let first = accepted.split(',').next().unwrap_or_default().replace(' ', "");
    first.starts_with("application/vnd.google.protobuf;")
        && first.contains("proto=io.prometheus.client.MetricFamily")
        && first.contains("encoding=delimited")
}

fn newest(
    door: &Door,
    selectors: &[Vec<Matcher>],
    range: TimeRange,
    budget: &Budget,
) -> Result<Vec<Newest>, ApiError> {
    let mut found = Vec::new();
    let mut samples = Samples::default();
    for matchers in selectors {
        let selected = door.source().select(matchers, range, budget)?;
        whole(&selected.coverage().missing)?;
        for index in 0..selected.len() {
            selected.read(index, budget, &mut samples)?;
            whole(&samples.missing)?;
            let (Some(&time), Some(&value)) = (samples.timestamps.last(), samples.values.last()) else {
                continue;
            };
            let value = match samples.histograms.last() {
                Some(Some(histogram)) => Value::Native(histogram.clone()),
                _ if is_stale(value) => continue,
                _ => Value::Float(value),
            };
            found.push(Newest { labels: selected.labels(index), time, value });
        }
    }
    found.sort_by(|a, b| a.labels.cmp(&b.labels));
    found.dedup_by(|a, b| a.labels == b.labels);
    Ok(found)
}

/// As text; `None` where that is longer than this.
fn text(found: &[Newest], bytes_max: usize) -> Option<Vec<u8>> {
    let mut text = Json::new();
    let mut metric = "";
    for Newest { labels, time, value } in found {
        let Value::Float(value) = value else { continue };
        if metric != labels.get(METRIC_NAME) {
            metric = labels.get(METRIC_NAME);
            text.raw(&format!("# TYPE {} untyped\n", name(metric)));
        }
        text.raw(&series(labels));
        text.raw(" ");
        text.number(*value);
        text.raw(" ");
        text.raw_whole(*time);
        text.raw("\n");
        if text.len() > bytes_max {
            return None;
        }
    }
    Some(text.finish())
}

fn series(labels: &LabelSet) -> String {
    let metric = labels.get(METRIC_NAME);
    let plain = name(metric);
    // A name of other characters stands within the braces.
    let (mut text, mut all) = match plain == metric {
        true => (metric.to_owned(), Vec::new()),
        false => (String::new(), vec![plain]),
    };
    let labels = labels.iter().filter(|(own, _)| *own != METRIC_NAME);
    all.extend(labels.map(|(own, value)| format!("{}=\"{}\"", name(own), escaped(value))));
    if !all.is_empty() {
        text.push('{');
        text.push_str(&all.join(","));
        text.push('}');
    }
    text
}

/// In quotes where it is not of letters, digits and `_` alone.
fn name(name: &str) -> String {
    let plain = |(at, byte): (usize, u8)| {
        byte == b'_' || byte == b':' || byte.is_ascii_alphabetic() || at > 0 && byte.is_ascii_digit()
    };
    if name.bytes().enumerate().all(plain) { name.to_owned() } else { format!("\"{}\"", escaped(name)) }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// As Protobuf; `None` where that is longer than this. A metric that is floats and histograms makes two families.
fn families(found: &[Newest], bytes_max: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for of_metric in found.chunk_by(|a, b| a.labels.get(METRIC_NAME) == b.labels.get(METRIC_NAME)) {
        for kind in [UNTYPED, HISTOGRAM, GAUGE_HISTOGRAM] {
            let mut family = Vec::new();
            for own in of_metric.iter().filter(|own| own.kind() == Some(kind)) {
                if family.is_empty() {
                    put::bytes(&mut family, 1, own.labels.get(METRIC_NAME).as_bytes());
                    put::varint(&mut family, 3, kind);
                }
                put::bytes(&mut family, 4, &own.metric());
            }
            if !family.is_empty() {
                put::delimited(&mut out, &family);
            }
        }
        if out.len() > bytes_max {
            return None;
        }
    }
    Some(out)
}

impl Newest {
    /// The type of its family; `None` where there is none for it.
    fn kind(&self) -> Option<u64> {
        match &self.value {
            Value::Float(_) => Some(UNTYPED),
            Value::Native(own) if own.is_custom() => None,
            Value::Native(own) if own.reset_hint == ResetHint::Gauge => Some(GAUGE_HISTOGRAM),
            Value::Native(_) => Some(HISTOGRAM),
        }
    }

    fn metric(&self) -> Vec<u8> {
        let (mut metric, mut message) = (Vec::new(), Vec::new());
        for (name, value) in self.labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
            message.clear();
            put::bytes(&mut message, 1, name.as_bytes());
            put::bytes(&mut message, 2, value.as_bytes());
            put::bytes(&mut metric, 1, &message);
        }
        message.clear();
        match &self.value {
            Value::Float(value) => {
                put::double(&mut message, 1, *value);
                put::bytes(&mut metric, 5, &message);
            }
            Value::Native(own) => {
                put_histogram(&mut message, own, &SCRAPED);
                if own.positive.is_empty() && own.negative.is_empty() {
                    // A span of nothing tells it from a classic histogram.
                    put::bytes(&mut message, 12, &[]);
                }
                put::bytes(&mut metric, 7, &message);
            }
        }
        put::varint(&mut metric, 6, self.time as u64);
        metric
    }
}
