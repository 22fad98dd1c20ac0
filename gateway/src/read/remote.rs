//! Remote read: raw samples of series, as Protobuf in a Snappy block. Answers are of the kind `SAMPLES`, floats and native
//! histograms.
//!
//! ```text
//! prometheus.ReadRequest   1 queries    1 start ms, 2 end ms, 3 matchers (1 type: 0 =, 1 !=, 2 =~, 3 !~; 2 name, 3 value)
//! prometheus.ReadResponse  1 results    1 series    1 labels (1 name, 2 value), 2 samples (1 value, 2 ms), 4 histograms
//! ```

use std::sync::Arc;

use annals::query::promql::QueryOptions;
use annals::{Budget, Histogram, LabelSet, MatchOp, Matcher, ResetHint, Samples, TimeRange, Timestamp};
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::Response;

use super::histograms::{REMOTE, put_histogram};
use super::json::too_long;
use super::query::{query_limits, run};
use super::whole;
use crate::access::{Door, Reader};
use crate::app::Gateway;
use crate::body::read_body;
use crate::ingest::{Encoding, decompressed};
use crate::reply::ApiError;
use crate::wire::{Broken, Message, put};

/// A question is as long at most, as it is sent and once it is decompressed.
const QUESTION_BYTES_MAX: usize = 1 << 20;
/// Questions of one request.
const QUERIES_MAX: usize = 100;
/// Matchers of one question.
const MATCHERS_MAX: usize = 1_000;

/// A question: what to select, and when.
pub(crate) type Question = (Vec<Matcher>, TimeRange);

/// Reads what was asked.
pub(crate) fn questions(body: &[u8]) -> Result<Vec<Question>, ApiError> {
    asked(&decompressed(Encoding::Snappy, body, QUESTION_BYTES_MAX).map_err(|error| error.api())?)
}

/// Reads what was asked, once it is decompressed.
pub(crate) fn asked(plain: &[u8]) -> Result<Vec<Question>, ApiError> {
    let mut request = Message::new(plain);
    let mut questions = Vec::new();
    while let Some((number, field)) = request.next()? {
        if number != 1 {
            continue;
        }
        if questions.len() == QUERIES_MAX {
            return Err(ApiError::bad_data(format!("at most {QUERIES_MAX} queries may be asked at once")));
        }
        questions.push(question(field.message(&request)?)?);
    }
    Ok(questions)
}

fn question(mut query: Message<'_>) -> Result<Question, ApiError> {
    let (mut start, mut end, mut matchers) = (Timestamp(0), Timestamp(0), Vec::new());
    while let Some((number, field)) = query.next()? {
        match number {
            1 => start = Timestamp(field.varint(&query)? as i64),
            2 => end = Timestamp(field.varint(&query)? as i64),
            3 if matchers.len() == MATCHERS_MAX => {
                return Err(ApiError::bad_data(format!("a query has at most {MATCHERS_MAX} matchers")));
            }
            3 => matchers.push(matcher(field.message(&query)?)?),
            _ => {}
        }
    }
    if matchers.is_empty() {
        return Err(ApiError::bad_data("a query must have matchers"));
    }
    if end < start {
        return Err(ApiError::bad_data("end timestamp must not be before start time"));
    }
    // Both ends belong to it.
    Ok((matchers, TimeRange::new(start.saturating_add(-1), end)))
}

fn matcher(mut message: Message<'_>) -> Result<Matcher, ApiError> {
    let (mut kind, mut name, mut value) = (0, "", "");
    while let Some((number, field)) = message.next()? {
        match number {
            1 => kind = field.varint(&message)?,
            2 => name = field.message(&message)?.text()?,
            3 => value = field.message(&message)?.text()?,
            _ => {}
        }
    }
    let op = match kind {
        0 => MatchOp::Equal,
        1 => MatchOp::NotEqual,
        2 => MatchOp::Regex,
        3 => MatchOp::NotRegex,
        _ => return Err(ApiError::bad_data("a matcher is of a kind that is not known")),
    };
    Matcher::new(name, op, value).map_err(|error| ApiError::bad_data(error.to_string()))
}

impl From<Broken> for ApiError {
    fn from(broken: Broken) -> ApiError {
        ApiError::bad_data(broken.to_string())
    }
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
        let mut answer = Vec::new();
        for question in &questions {
            let left = bytes_max.saturating_sub(answer.len());
            let result = result(door, question, budget, left)?.ok_or_else(|| too_long(bytes_max))?;
            put::bytes(&mut answer, 1, &result);
        }
        snap::raw::Encoder::new().compress_vec(&answer).map_err(|_| too_long(bytes_max))
    })
    .await?;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    Ok(response)
}

/// The answer to one question; `None` where it is longer than this.
fn result(
    door: &Door,
    (matchers, range): &Question,
    budget: &Budget,
    bytes_max: usize,
) -> Result<Option<Vec<u8>>, ApiError> {
    let (mut result, mut series) = (Vec::new(), Vec::new());
    let mut samples = Samples::default();
    let selected = door.source().select(matchers, *range, budget)?;
    whole(&selected.coverage().missing)?;
    for index in 0..selected.len() {
        selected.read(index, budget, &mut samples)?;
        whole(&samples.missing)?;
        if samples.timestamps.is_empty() {
            continue;
        }
        budget.charge_points(samples.timestamps.len() as u64)?;
        series.clear();
        put_series(&mut series, &selected.labels(index), &samples);
        if result.len().saturating_add(series.len()) > bytes_max {
            return Ok(None);
        }
        put::bytes(&mut result, 1, &series);
    }
    Ok(Some(result))
}

fn put_series(out: &mut Vec<u8>, labels: &LabelSet, samples: &Samples) {
    let mut message = Vec::new();
    // Readers expect them in order.
    let mut pairs: Vec<(&str, &str)> = labels.iter().collect();
    pairs.sort_unstable();
    for (name, value) in pairs {
        message.clear();
        put::bytes(&mut message, 1, name.as_bytes());
        put::bytes(&mut message, 2, value.as_bytes());
        put::bytes(out, 1, &message);
    }
    for (at, (&time, &value)) in samples.timestamps.iter().zip(&samples.values).enumerate() {
        message.clear();
        match samples.histograms.get(at).and_then(Option::as_ref) {
            None => {
                put::double(&mut message, 1, value);
                put::varint(&mut message, 2, time as u64);
                put::bytes(out, 2, &message);
            }
            Some(histogram) => {
                put_native(&mut message, time, histogram);
                put::bytes(out, 4, &message);
            }
        }
    }
}

/// A native histogram with its hint, time and bounds, which this message alone has.
fn put_native(out: &mut Vec<u8>, time: i64, histogram: &Histogram) {
    put_histogram(out, histogram, &REMOTE);
    let hint = match histogram.reset_hint {
        ResetHint::Unknown => 0,
        ResetHint::Reset => 1,
        ResetHint::NotReset => 2,
        ResetHint::Gauge => 3,
    };
    put::varint(out, 14, hint);
    put::varint(out, 15, time as u64);
    if !histogram.custom_bounds.is_empty() {
        put::doubles(out, 16, &histogram.custom_bounds);
    }
}
