//! Remote read: raw samples of series, as protobuf in a Snappy block. Answers are of the kind `SAMPLES`; native histograms
//! are left out.

use std::sync::Arc;

use annals::query::promql::QueryOptions;
use annals::{METRIC_NAME, MatchOp, Matcher, Samples, TimeRange, Timestamp};
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::Response;
use prost::Message;

use super::json::too_long;
use super::query::{query_limits, run};
use crate::access::Reader;
use crate::app::Gateway;
use crate::ingest::{Encoding, decompressed};
use crate::params::read_body;
use crate::reply::ApiError;

/// A question is as long at most, as it is sent and once it is decompressed.
const QUESTION_BYTES_MAX: usize = 1 << 20;
/// Questions of one request.
const QUERIES_MAX: usize = 100;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReadRequest {
    #[prost(message, repeated, tag = "1")]
    queries: Vec<Query>,
}

#[derive(Clone, PartialEq, Message)]
struct Query {
    #[prost(int64, tag = "1")]
    start: i64,
    #[prost(int64, tag = "2")]
    end: i64,
    #[prost(message, repeated, tag = "3")]
    matchers: Vec<LabelMatcher>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelMatcher {
    /// 0 `=`, 1 `!=`, 2 `=~`, 3 `!~`.
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, tag = "3")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct ReadResponse {
    #[prost(message, repeated, tag = "1")]
    results: Vec<QueryResult>,
}

#[derive(Clone, PartialEq, Message)]
struct QueryResult {
    #[prost(message, repeated, tag = "1")]
    series: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    time: i64,
}

/// A question: what to select, and when.
pub(crate) type Question = (Vec<Matcher>, TimeRange);

/// Reads what was asked.
pub(crate) fn questions(body: &[u8]) -> Result<Vec<Question>, ApiError> {
    let plain = decompressed(Encoding::Snappy, body, QUESTION_BYTES_MAX).map_err(|error| error.api())?;
    let request =
        ReadRequest::decode(&plain[..]).map_err(|_| ApiError::bad_data("this is no request to read"))?;
    if request.queries.len() > QUERIES_MAX {
        return Err(ApiError::bad_data(format!("at most {QUERIES_MAX} queries may be asked at once")));
    }
    let one = |query: &Query| {
        if query.matchers.is_empty() {
            return Err(ApiError::bad_data("a query must have matchers"));
        }
        let matchers = query.matchers.iter().map(matcher).collect::<Result<Vec<_>, _>>()?;
        // Both ends belong to it.
        let (start, end) = (Timestamp(query.start), Timestamp(query.end));
        if end < start {
            return Err(ApiError::bad_data("end timestamp must not be before start time"));
        }
        Ok((matchers, TimeRange::new(start.saturating_add(-1), end)))
    };
    request.queries.iter().map(one).collect()
}

fn matcher(matcher: &LabelMatcher) -> Result<Matcher, ApiError> {
    let op = match matcher.kind {
        0 => MatchOp::Equal,
        1 => MatchOp::NotEqual,
        2 => MatchOp::Regex,
        3 => MatchOp::NotRegex,
        _ => return Err(ApiError::bad_data("a matcher is of a kind that is not known")),
    };
    Matcher::new(&matcher.name, op, &matcher.value).map_err(|error| ApiError::bad_data(error.to_string()))
}

/// `read`
pub(crate) async fn read(
    State(gateway): State<Arc<Gateway>>,
    reader: Reader,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_body(&gateway, request.into_body(), QUESTION_BYTES_MAX).await?;
    let questions = questions(&body)?;
    let config = gateway.config();
    let (limits, bytes_max) = (query_limits(&config.limits, None)?, config.limits.answer_bytes);
    let door = reader.door.with(limits, QueryOptions::default());
    let mut response = run(&gateway, (&reader.tenant, limits.time_ms_max), door, move |door, budget| {
        let (mut answer, mut bytes) = (ReadResponse::default(), 0_usize);
        let mut samples = Samples::default();
        for (matchers, range) in &questions {
            let mut result = QueryResult::default();
            let selected = door.source().select(matchers, *range, budget)?;
            for index in 0..selected.len() {
                selected.read(index, budget, &mut samples)?;
                let labels = selected.labels(index);
                // Readers expect the name among the labels, and those in order.
                let mut pairs: Vec<(&str, &str)> = labels.iter().collect();
                pairs.sort_by_key(|(name, _)| (*name != METRIC_NAME, *name));
                let label =
                    |(name, value): (&str, &str)| Label { name: name.to_owned(), value: value.to_owned() };
                let is_float = |at: usize| samples.histograms.get(at).is_none_or(Option::is_none);
                let points = samples.timestamps.iter().zip(&samples.values).enumerate();
                let points = points.filter(|(at, _)| is_float(*at));
                let series = TimeSeries {
                    labels: pairs.into_iter().map(label).collect(),
                    samples: points.map(|(_, (&time, &value))| Sample { value, time }).collect(),
                };
                if series.samples.is_empty() {
                    continue;
                }
                budget.charge_points(series.samples.len() as u64)?;
                bytes = bytes.saturating_add(series.encoded_len());
                if bytes > bytes_max {
                    return Err(too_long(bytes_max));
                }
                result.series.push(series);
            }
            answer.results.push(result);
        }
        let packed = snap::raw::Encoder::new().compress_vec(&answer.encode_to_vec());
        packed.map_err(|_| too_long(bytes_max))
    })
    .await?;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    Ok(response)
}
