//! `/federate`: the newest sample of each series that selectors find, as text that another server scrapes.
//!
//! Native histograms, which this text cannot say, are left out.

use std::sync::Arc;

use annals::query::promql::QueryOptions;
use annals::{LabelSet, METRIC_NAME, Samples, TimeRange, Timestamp, is_stale};
use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;

use super::json::{Json, too_long};
use super::query::{query_limits, run};
use crate::access::Reader;
use crate::app::Gateway;
use crate::params::Params;
use crate::reply::ApiError;

const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/federate`
pub(crate) async fn federate(
    State(gateway): State<Arc<Gateway>>,
    reader: Reader,
    params: Params,
) -> Result<Response, ApiError> {
    let selectors = params.selectors()?;
    let config = gateway.config();
    let limits = query_limits(&config.limits, None)?;
    let options = QueryOptions::default();
    let (now, bytes_max) = (Timestamp(gateway.clock.now_ms()), config.limits.answer_bytes);
    let range = TimeRange::new(now.saturating_add(-options.lookback_ms), now);
    let door = reader.door.with(limits, options);
    let mut response = run(&gateway, (&reader.tenant, limits.time_ms_max), door, move |door, budget| {
        let mut found: Vec<(LabelSet, f64, i64)> = Vec::new();
        let mut samples = Samples::default();
        for matchers in &selectors {
            let selected = door.source().select(matchers, range, budget)?;
            for index in 0..selected.len() {
                selected.read(index, budget, &mut samples)?;
                let (Some(&time), Some(&value)) = (samples.timestamps.last(), samples.values.last()) else {
                    continue;
                };
                let histogram = samples.histograms.last().is_some_and(Option::is_some);
                if !histogram && !is_stale(value) {
                    found.push((selected.labels(index), value, time));
                }
            }
        }
        found.sort_by(|(a, ..), (b, ..)| a.cmp(b));
        found.dedup_by(|(a, ..), (b, ..)| a == b);
        let mut text = Json::new();
        let mut metric = "";
        for (labels, value, time) in &found {
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
                return Err(too_long(bytes_max));
            }
        }
        Ok(text.finish())
    })
    .await?;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT));
    Ok(response)
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
