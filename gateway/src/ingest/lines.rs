//! Formats of lines: Prometheus and OpenMetrics text, Influx line protocol, JSON.
//!
//! | address                          | format                                                                   |
//! |----------------------------------|--------------------------------------------------------------------------|
//! | `POST /api/v1/import/prometheus` | text; OpenMetrics where Content-Type or a last line `# EOF` say so          |
//! | `POST /api/v1/import`            | JSON lines of samples, as VictoriaMetrics and `annals tenant export` write them |
//! | `POST /write`                    | Influx line protocol, version 1: `precision` n, ns, u, us, ms, s, m or h    |
//! | `POST /api/v2/write`             | the same, version 2; both also below `/influx`, as VictoriaMetrics has them |
//!
//! `db`, `bucket` and `org` name nothing here: the token says whose data it is. Answers: 204, or 400 with how many lines
//! were no lines of the format, the number of the first, and how many samples were refused for which reason; all
//! others are counted either way. Samples without a time are of now (for text, of `timestamp` where that is given, in
//! milliseconds), so that sent again they are other samples.

use std::sync::Arc;

use annals::Timestamp;
use annals::signals::read::{
    Dialect, InfluxLines, JsonSamples, MetricReader, MetricsText, Precision, read_into,
};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::series::{Form, Samples};
use super::{Incoming, IngestError};
use crate::app::Gateway;

const OPENMETRICS: &str = "application/openmetrics-text";

/// How refusals are told.
#[derive(Debug, Clone, Copy)]
enum Style {
    Prometheus,
    /// `{"error":".."}`
    Influx1,
    /// `{"code":"..","message":".."}`
    Influx2,
}

impl Style {
    fn error(self, status: StatusCode, message: &str, reply: Response) -> Response {
        let body = match self {
            Style::Prometheus => return reply,
            Style::Influx1 => json!({"error": message}),
            Style::Influx2 => json!({"code": influx_code(status), "message": message}),
        };
        let (mut parts, _) = reply.into_parts();
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Response::from_parts(parts, body.to_string().into())
    }
}

/// The words of Influx for statuses.
fn influx_code(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::CONFLICT => "invalid",
        StatusCode::UNAUTHORIZED => "unauthorized",
        StatusCode::FORBIDDEN => "forbidden",
        StatusCode::PAYLOAD_TOO_LARGE => "request too large",
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "unsupported media type",
        StatusCode::TOO_MANY_REQUESTS => "too many requests",
        StatusCode::SERVICE_UNAVAILABLE => "unavailable",
        _ => "internal error",
    }
}

/// Prometheus or OpenMetrics text.
pub(crate) async fn text(State(gateway): State<Arc<Gateway>>, incoming: Incoming) -> Response {
    let default_time = match incoming.params.get("timestamp").map(str::parse) {
        None => None,
        Some(Ok(ms)) => Some(Timestamp(ms)),
        Some(Err(_)) => return IngestError::bad("timestamp is no number of milliseconds").into_response(),
    };
    let by_type = (incoming.content_type == OPENMETRICS).then_some(Dialect::OpenMetrics);
    let meaning = format!("{default_time:?} {by_type:?}");
    let reader =
        move |body: &[u8]| MetricsText::new(by_type.unwrap_or_else(|| Dialect::detect(body)), default_time);
    lines(&gateway, incoming, Form::Text, Style::Prometheus, meaning, reader).await
}

/// Lines of samples as JSON.
pub(crate) async fn json(State(gateway): State<Arc<Gateway>>, incoming: Incoming) -> Response {
    lines(&gateway, incoming, Form::Json, Style::Prometheus, String::new(), |_| JsonSamples).await
}

/// Influx line protocol, version 1.
pub(crate) async fn influx_1(State(gateway): State<Arc<Gateway>>, incoming: Incoming) -> Response {
    influx(&gateway, incoming, Style::Influx1).await
}

/// Influx line protocol, version 2.
pub(crate) async fn influx_2(State(gateway): State<Arc<Gateway>>, incoming: Incoming) -> Response {
    influx(&gateway, incoming, Style::Influx2).await
}

async fn influx(gateway: &Arc<Gateway>, incoming: Incoming, style: Style) -> Response {
    let precision = match incoming.params.get("precision").unwrap_or("ns") {
        "n" | "ns" => Precision::Nanoseconds,
        "u" | "us" | "\u{b5}" => Precision::Microseconds,
        "ms" => Precision::Milliseconds,
        "s" => Precision::Seconds,
        "m" => Precision::Minutes,
        "h" => Precision::Hours,
        _ => {
            let message = "precision is none of ns, us, ms, s, m, h";
            let status = StatusCode::BAD_REQUEST;
            return style.error(status, message, IngestError::bad(message).into_response());
        }
    };
    let meaning = format!("{precision:?}");
    lines(gateway, incoming, Form::Influx, style, meaning, move |_| InfluxLines::new(precision, None)).await
}

/// Takes the lines that a reader reads.
async fn lines<R: MetricReader>(
    gateway: &Arc<Gateway>,
    incoming: Incoming,
    form: Form,
    style: Style,
    meaning: String,
    reader: impl FnOnce(&[u8]) -> R + Send + 'static,
) -> Response {
    let decoded = incoming.samples(gateway, form, meaning, move |body, samples: &mut Samples<'_>| {
        let tally = read_into(&mut reader(body), body, samples);
        Ok((tally.unreadable, tally.first_unreadable))
    });
    let failed = match decoded.await {
        Err(error) => error,
        Ok((outcome, (unreadable, first))) => {
            let unreadable = first
                .map(|line| format!("{unreadable} lines are not of the format, line {line} is the first"));
            match (unreadable, outcome.refusals()) {
                (None, None) => return StatusCode::NO_CONTENT.into_response(),
                (Some(lines), None) => {
                    IngestError::Bad(format!("{lines}; the other {} samples are counted", outcome.samples))
                }
                (None, Some(refused)) => IngestError::Bad(refused),
                (Some(lines), Some(refused)) => IngestError::Bad(format!("{lines}; {refused}")),
            }
        }
    };
    let reply = failed.api();
    style.error(reply.status, &reply.message, failed.into_response())
}
