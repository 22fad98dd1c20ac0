//! OTLP, `POST /v1/metrics` and `/api/v1/otlp/v1/metrics`: `application/x-protobuf` or `application/json`.
//!
//! Names and labels become what Prometheus makes of them (`names.rs`); deltas stay deltas and exponential histograms stay
//! what they are (`points.rs`). Of a resource, service and instance become `job` and `instance`, all else is in
//! `target_info`. Cumulative points keep when they began. Exemplars, descriptions, and
//! what a scope says are not kept.
//!
//! | answer                     | when                                                                            |
//! |----------------------------|---------------------------------------------------------------------------------|
//! | 200, empty                 | all of it is counted                                                            |
//! | 200, `partial_success`     | how many points or samples were refused, by reason; the others are counted       |
//! | another, `google.rpc.Status` | nothing is counted: 429 and 503 are sent again, all else is dropped            |
//!
//! Points that tell their times are counted once however often a request is sent.

mod decode;
mod json;
mod names;
mod points;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::series::Form;
use super::{Incoming, IngestError};
use crate::app::Gateway;
use crate::wire::put;

const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// Takes a body.
pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>, incoming: Incoming) -> Response {
    let in_json = match incoming.content_type.as_str() {
        PROTOBUF => false,
        JSON => true,
        _ => {
            let what = format!("OTLP is {PROTOBUF} or {JSON}");
            return IngestError::Unsupported(what).into_response();
        }
    };
    let decoded = incoming.samples(&gateway, Form::Otlp, String::new(), move |body, samples| {
        let from_json = if in_json { Some(json::to_protobuf(body)?) } else { None };
        // A place in what JSON was turned into helps nobody.
        let broken = |broken| match in_json {
            true => IngestError::bad("this is not OTLP"),
            false => IngestError::bad(broken),
        };
        decode::decode(from_json.as_deref().unwrap_or(body), samples).map_err(broken)
    });
    let (outcome, points) = match decoded.await {
        Ok(done) => done,
        Err(error) => return failure(&error, in_json),
    };
    let mut refused = outcome.refused;
    for (reason, points) in points.rejected {
        *refused.entry(reason).or_default() += points;
    }
    let reasons: Vec<String> = refused.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    let rejected = refused.values().sum::<u64>().min(points.all);
    let mut body = Vec::new();
    if in_json {
        let partial = serde_json::json!({"rejectedDataPoints": rejected.to_string(), "errorMessage": reasons.join(", ")});
        let whole =
            if rejected > 0 { serde_json::json!({"partialSuccess": partial}) } else { serde_json::json!({}) };
        body = whole.to_string().into_bytes();
    } else if rejected > 0 {
        let mut partial = Vec::new();
        put::varint(&mut partial, 1, rejected);
        put::bytes(&mut partial, 2, reasons.join(", ").as_bytes());
        put::bytes(&mut body, 1, &partial);
    }
    reply(StatusCode::OK.into_response(), body, in_json)
}

/// Decodes a body, for fuzzing.
#[cfg(feature = "fuzzing")]
pub(super) fn look(body: &[u8], samples: &mut super::series::Samples<'_>) {
    drop(decode::decode(body, samples));
}

/// Decodes a body in JSON, for fuzzing.
#[cfg(feature = "fuzzing")]
pub(super) fn look_json(body: &[u8], samples: &mut super::series::Samples<'_>) {
    if let Some(body) = from_json(body) {
        // What was turned into Protobuf is Protobuf.
        drop(decode::decode(&body, samples));
    }
}

/// A body in JSON as Protobuf, for fuzzing.
#[cfg(feature = "fuzzing")]
pub(super) fn from_json(body: &[u8]) -> Option<Vec<u8>> {
    json::to_protobuf(body).ok()
}

/// The same status and headers as for every other format, with a body that OTLP asks for.
fn failure(error: &IngestError, in_json: bool) -> Response {
    /// `INVALID_ARGUMENT` and `UNAVAILABLE` of gRPC.
    const CODES: (u64, u64) = (3, 14);
    let api = error.api();
    let code = if api.status.is_client_error() { CODES.0 } else { CODES.1 };
    let body = if in_json {
        serde_json::json!({"code": code, "message": api.message}).to_string().into_bytes()
    } else {
        let mut status = Vec::new();
        put::varint(&mut status, 1, code);
        put::bytes(&mut status, 2, api.message.as_bytes());
        status
    };
    reply(api.into_response(), body, in_json)
}

fn reply(with: Response, body: Vec<u8>, in_json: bool) -> Response {
    let (mut parts, _) = with.into_parts();
    let content_type = HeaderValue::from_static(if in_json { JSON } else { PROTOBUF });
    parts.headers.insert(CONTENT_TYPE, content_type);
    Response::from_parts(parts, body.into())
}

#[cfg(test)]
mod tests;
