//! The body of a request as it comes: in pieces, of which no more are held than fit the limit.

use std::pin::pin;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::StatusCode;

use crate::app::Gateway;
use crate::reply::ApiError;

/// Reads a body whole, if it comes in time and is not longer than this.
pub(crate) async fn read_body(gateway: &Gateway, body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let mut whole = Whole::default();
    each_piece(gateway, body, bytes_max, |piece| whole.push(piece)).await?;
    Ok(whole.finish())
}

/// Hands out a body piece by piece, if it comes in time and is not longer than this.
pub(crate) async fn each_piece(
    gateway: &Gateway,
    body: Body,
    bytes_max: usize,
    mut take: impl FnMut(Bytes),
) -> Result<(), ApiError> {
    let limit = Duration::from_millis(gateway.config().limits.body_ms);
    let pieces = async {
        let (mut body, mut length) = (pin!(body), 0_usize);
        while let Some(frame) = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
            let broken = |_| ApiError::body(StatusCode::BAD_REQUEST, "the body did not come whole");
            // What is not data are trailers.
            let Ok(piece) = frame.map_err(broken)?.into_data() else { continue };
            length = length.saturating_add(piece.len());
            if length > bytes_max {
                return Err(too_long(bytes_max));
            }
            take(piece);
        }
        Ok(())
    };
    let late = |_| ApiError::body(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
    tokio::time::timeout(limit, pieces).await.map_err(late)?
}

/// The answer to a body that is longer than this.
pub(crate) fn too_long(bytes_max: usize) -> ApiError {
    let message = format!("the body is over the limit of {bytes_max} bytes");
    ApiError::body(StatusCode::PAYLOAD_TOO_LARGE, message)
}

/// A body that is put together: of one piece without a copy, of many in one stretch, however small they are.
#[derive(Default)]
pub(crate) struct Whole {
    only: Option<Bytes>,
    all: Vec<u8>,
}

impl Whole {
    pub(crate) fn push(&mut self, piece: Bytes) {
        if self.only.is_none() && self.all.is_empty() {
            self.only = Some(piece);
            return;
        }
        if let Some(first) = self.only.take() {
            self.all.extend_from_slice(&first);
        }
        self.all.extend_from_slice(&piece);
    }

    pub(crate) fn finish(self) -> Bytes {
        self.only.unwrap_or_else(|| self.all.into())
    }
}
