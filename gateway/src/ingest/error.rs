//! Why nothing, or not all, was written, and what a sender should do.
//!
//! | status | a sender | when |
//! |---:|---|---|
//! | 400 | drops it | it is not what its format says, or cannot be decompressed |
//! | 401, 403 | drops it, tells its operator | credential or right are missing; the tenant was cancelled |
//! | 408 | sends it again | the body did not come in time |
//! | 409 | drops it | the batch id was used for other content |
//! | 413 | splits it | a limit of its size |
//! | 415 | drops it | an encoding or type that is not known |
//! | 429 | waits as long as `Retry-After` says | a limit of the tenant's rate |
//! | 500, 503 | sends it again | disk, memory or log; a retry counts nothing twice |

use std::time::Duration;

use annals::WriteError;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::access::Denied;
use crate::reply::ApiError;

/// Why a body was not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IngestError {
    /// Who sends it may not, or not now.
    Denied(Denied),
    /// The body did not come: the error says which way.
    Body(ApiError),
    /// It is not what its format says; the text names the place, never content.
    Bad(String),
    /// It is too large.
    TooLarge(String),
    /// Its encoding or type is not known.
    Unsupported(String),
    /// The engine did not take it.
    Write(WriteError),
    /// It cannot be done now.
    Busy(String),
    /// It could not be done; the log says why.
    Failed,
}

impl IngestError {
    /// What is wrong with a body.
    pub(crate) fn bad(what: impl std::fmt::Display) -> IngestError {
        IngestError::Bad(what.to_string())
    }

    /// The same as an error of the API: its status tells a sender what to do.
    pub(crate) fn api(&self) -> ApiError {
        let status = |status, message: String| ApiError::body(status, message);
        match self {
            IngestError::Denied(denied) => (*denied).into(),
            IngestError::Body(error) => error.clone(),
            IngestError::Bad(what) => ApiError::bad_data(what.clone()),
            IngestError::TooLarge(what) => status(StatusCode::PAYLOAD_TOO_LARGE, what.clone()),
            IngestError::Unsupported(what) => status(StatusCode::UNSUPPORTED_MEDIA_TYPE, what.clone()),
            IngestError::Write(error) => of_write(error),
            IngestError::Busy(why) => ApiError::unavailable(why.clone()),
            IngestError::Failed => ApiError::internal("it could not be done; the gateway's log says why"),
        }
    }
}

fn of_write(error: &WriteError) -> ApiError {
    let message = error.to_string();
    match error {
        WriteError::BatchTooLarge { .. } | WriteError::RecordTooLarge { .. } => {
            ApiError::body(StatusCode::PAYLOAD_TOO_LARGE, message)
        }
        WriteError::Conflict { .. } => ApiError::body(StatusCode::CONFLICT, message),
        WriteError::Cancelled { .. } => ApiError::body(StatusCode::FORBIDDEN, message),
        // As if it had never been.
        WriteError::Erased => Denied::Forbidden.into(),
        WriteError::Overloaded { .. } => {
            ApiError { retry_after: Some(Duration::from_secs(5)), ..ApiError::unavailable(message) }
        }
        WriteError::NoSpace(_) => {
            let message = "no space is left; nothing was written, reads go on";
            ApiError { retry_after: Some(Duration::from_secs(30)), ..ApiError::unavailable(message) }
        }
        // What the disk said names files: that is for the log.
        other => {
            tracing::error!(error = %other, "a batch was not written");
            let message = match other {
                WriteError::Indeterminate(_) => {
                    "the batch may or may not have been written; send it again as it is, it is counted once"
                }
                _ => "the batch was not written; send it again",
            };
            ApiError { retry_after: Some(Duration::from_secs(5)), ..ApiError::unavailable(message) }
        }
    }
}

impl From<Denied> for IngestError {
    fn from(denied: Denied) -> IngestError {
        IngestError::Denied(denied)
    }
}

impl IntoResponse for IngestError {
    fn into_response(self) -> Response {
        self.api().into_response()
    }
}
