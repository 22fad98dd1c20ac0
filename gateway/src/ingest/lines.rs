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

#[cfg(test)]
mod tests {
    use super::super::testing::{Bench, NOW};
    use super::*;

    #[test]
    fn lines_and_fields_are_told_apart_in_whatever_order_they_come() {
        let bench = Bench::new();
        let lines = [
            ("m", "f=1,fg=2"),
            ("m,t=a", "f=3,fg=4,g=5"),
            ("m,t=a\\ b", "f=6"),
            ("m,t=a,u=b", "fg=7,f=8"),
            ("mm", "f=9"),
        ];
        for (id, order) in (0..).zip([[0, 1, 2, 3, 4], [0, 1, 2, 3, 4], [4, 3, 1, 2, 0], [1, 0, 3, 3, 2]]) {
            let nanoseconds = i128::from(NOW - 10_000 + i64::from(id) * 1000) * 1_000_000;
            let body: String =
                order.map(|which| format!("{} {} {nanoseconds}\n", lines[which].0, lines[which].1)).concat();
            let mut reader = InfluxLines::new(Precision::Nanoseconds, None);
            let taken = bench.take(Form::Influx, id, |samples| {
                Ok::<_, IngestError>(read_into(&mut reader, body.as_bytes(), samples).unreadable)
            });
            let (outcome, unreadable) = taken.expect("taken");
            assert_eq!((unreadable, outcome.refusals()), (0, None));
        }
        for (query, value) in [
            ("m_f{t=\"\"}", 1),
            ("m_fg{t=\"\"}", 2),
            ("m_f{t=\"a\",u=\"\"}", 3),
            ("m_fg{t=\"a\",u=\"\"}", 4),
            ("m_g", 5),
            ("m_f{t=\"a b\"}", 6),
            ("m_fg{u=\"b\"}", 7),
            ("m_f{u=\"b\"}", 8),
            ("mm_f", 9),
        ] {
            // Each value it ever had is its own.
            let asked = format!("min_over_time({query}[1m]) == max_over_time({query}[1m]) == {value}");
            assert!(bench.ask(&asked).contains("Float"), "{query}");
        }
    }
}
