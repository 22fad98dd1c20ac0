//! Replies as the API of Prometheus gives them: `{"status":"success","data":..}`, or an error with its type.

use std::time::Duration;

use annals::query::promql::QueryError;
use annals::{AuditError, LimitExceeded, OperatorError, SourceError};
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::access::Denied;
use crate::pool::Busy;

/// A client that went away is answered with this, which nobody reads.
const CLOSED_REQUEST: u16 = 499;

/// An error of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) status: StatusCode,
    /// The type, as clients match it.
    pub(crate) kind: &'static str,
    pub(crate) message: String,
    /// When to come back.
    pub(crate) retry_after: Option<Duration>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { status, kind, message: message.into(), retry_after: None }
    }

    /// The request is wrong.
    pub(crate) fn bad_data(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::BAD_REQUEST, "bad_data", message)
    }

    /// A parameter of the request is wrong.
    pub(crate) fn parameter(name: &str, what: impl std::fmt::Display) -> ApiError {
        ApiError::bad_data(format!("invalid parameter \"{name}\": {what}"))
    }

    /// It can be asked again later.
    pub(crate) fn unavailable(message: impl Into<String>) -> ApiError {
        let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message);
        ApiError { retry_after: Some(Duration::from_secs(1)), ..error }
    }

    /// The question makes sense and could not be answered.
    pub(crate) fn execution(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "execution", message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> ApiError {
        ApiError::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// A body that did not come whole, or is too large.
    pub(crate) fn body(status: StatusCode, message: impl Into<String>) -> ApiError {
        ApiError::new(status, "bad_data", message)
    }
}

impl From<LimitExceeded> for ApiError {
    fn from(limit: LimitExceeded) -> ApiError {
        match limit {
            LimitExceeded::Over { what: "milliseconds", limit, .. } => {
                let message = format!("query timed out in expression evaluation, after {limit} ms");
                ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "timeout", message)
            }
            LimitExceeded::Over { what: "steps", .. } => ApiError::bad_data(limit.to_string()),
            LimitExceeded::Over { .. } => ApiError::execution(limit.to_string()),
            LimitExceeded::Cancelled => {
                let status = StatusCode::from_u16(CLOSED_REQUEST).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
                ApiError::new(status, "canceled", "query was canceled")
            }
        }
    }
}

impl From<SourceError> for ApiError {
    fn from(error: SourceError) -> ApiError {
        match error {
            SourceError::Limit(limit) => limit.into(),
            SourceError::Unavailable(why) => ApiError::unavailable(why),
        }
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> ApiError {
        match error {
            QueryError::Promql(error) => ApiError::execution(error.to_string()),
            QueryError::Limit(limit) => limit.into(),
            QueryError::Source(error) => error.into(),
            QueryError::Times(what) => ApiError::bad_data(what),
        }
    }
}

impl<E: Into<ApiError> + std::fmt::Display> From<OperatorError<E>> for ApiError {
    fn from(error: OperatorError<E>) -> ApiError {
        match error {
            OperatorError::Read(error) => error.into(),
            other => ApiError::unavailable(other.to_string()),
        }
    }
}

impl From<AuditError> for ApiError {
    fn from(error: AuditError) -> ApiError {
        ApiError::unavailable(error.to_string())
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> ApiError {
        match denied {
            Denied::Unauthenticated => {
                ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "no valid credential")
            }
            Denied::Forbidden => ApiError::new(StatusCode::FORBIDDEN, "forbidden", "not allowed"),
            Denied::NoReason => ApiError::new(
                StatusCode::FORBIDDEN,
                "forbidden",
                "an operator says why, in a line of 1 to 200 characters, in the header X-Annals-Reason",
            ),
            Denied::TooMany(wait) => {
                let message = "the tenant has used more than it may; try again later";
                let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message);
                ApiError { retry_after: Some(wait), ..error }
            }
        }
    }
}

impl From<Busy> for ApiError {
    fn from(busy: Busy) -> ApiError {
        match busy {
            Busy::Queue => ApiError::unavailable("too many queries are waiting; try again later"),
            Busy::Tenant => ApiError::from(Denied::TooMany(Duration::from_secs(1))),
            Busy::Late => ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "timeout",
                "query timed out while it waited for a place",
            ),
            Busy::Panicked => ApiError::internal("it could not be done; the gateway's log says why"),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({ "status": "error", "errorType": self.kind, "error": self.message });
        let mut response = json_text(self.status, body.to_string().into_bytes());
        if self.status == StatusCode::UNAUTHORIZED {
            response
                .headers_mut()
                .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"annals\""));
        }
        if let Some(wait) = self.retry_after {
            // Whole seconds, rounded up: who comes back sooner is refused again.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, seconds.max(1).into());
        }
        response
    }
}

/// A reply of JSON.
pub(crate) fn json_text(status: StatusCode, text: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A small document.
pub(crate) fn success(data: &serde_json::Value) -> Response {
    json_text(StatusCode::OK, json!({ "status": "success", "data": data }).to_string().into_bytes())
}
