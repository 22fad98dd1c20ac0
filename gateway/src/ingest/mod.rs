//! Metrics in: the formats that senders already speak.
//!
//! A handler takes an [`Incoming`], which is made only for who may write and only of a body within all limits, has it
//! decoded and admitted off the async threads, and answers with what became of it:
//!
//! ```text
//! async fn lines(incoming: Incoming) -> Result<Response, IngestError> {
//!     let (id, site) = (incoming.batch_id(), incoming.site()?);
//!     let precision = incoming.params.get("precision").map(str::to_owned);
//!     let written = incoming.write(move |tenant, body| {
//!         let batch = decode(body, id, site, precision).map_err(IngestError::bad)?;  // may take its time
//!         Ok(vec![tenant.write_samples(&batch)?])                                   // does not wait for the disk
//!     }).await?;                                                                    // does
//!     Ok(StatusCode::NO_CONTENT.into_response())
//! }
//! ```
//!
//! - `incoming.body` is plain: `Content-Encoding` gzip, zstd, deflate, and snappy (a block, as remote write sends it) was
//!   undone within `limits.plain_bytes` and `limits.plain_ratio`; encodings of encodings are refused. `content_type` is
//!   lower case and without its parameters, `headers` are all there.
//! - [`Incoming::batch_id`] follows from the body: who sends the same body again because the answer was lost counts nothing
//!   twice. A decoder that reads a clock (lines without a time) takes [`Incoming::fresh_id`] instead.
//! - Errors become statuses by which senders know what to do: [`IngestError`]. A format whose errors have a form of their
//!   own (OTLP) makes it from status and message of [`IngestError::api`].
//! - A record that is refused by itself is no error: [`Acknowledgement`] lists those, and how to tell the sender is the
//!   format's business.

mod body;
mod error;
mod text;

use std::sync::Arc;

use annals::{Acknowledgement, BatchId, SiteName, Tenant, Ticket, WriteError};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use tokio::sync::OwnedSemaphorePermit;

use crate::access::{Caller, Right};
use crate::app::Gateway;
use crate::params::Params;

pub(crate) use body::{Encoding, decompressed, receive};
pub(crate) use error::IngestError;

const SITE_HEADER: &str = "x-annals-site";
const SITE_DEFAULT: &str = "metrics";

/// The routes of all formats.
pub(crate) fn router() -> Router<Arc<Gateway>> {
    Router::new().route("/api/v1/import/prometheus", post(text::import))
}

/// A body of somebody who may write.
pub(crate) struct Incoming {
    pub(crate) tenant: Tenant,
    /// Decompressed.
    pub(crate) body: Bytes,
    /// Lower case, without parameters; empty where there is none.
    pub(crate) content_type: String,
    pub(crate) headers: HeaderMap,
    /// Of the address.
    pub(crate) params: Params,
    gateway: Arc<Gateway>,
    /// What the body takes of all that may be held.
    held: OwnedSemaphorePermit,
}

impl Incoming {
    /// The id under which this body is counted once.
    pub(crate) fn batch_id(&self) -> BatchId {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.body);
        let mut id = [0; 16];
        id.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        BatchId(id)
    }

    /// An id that no other body has.
    pub(crate) fn fresh_id(&self) -> Result<BatchId, IngestError> {
        let mut id = [0; 16];
        self.gateway.entropy.fill(&mut id).map_err(|error| IngestError::Busy(error.to_string()))?;
        Ok(BatchId(id))
    }

    /// Where it comes from: `X-Annals-Site`, else `metrics`. It names the batch, and is no label.
    pub(crate) fn site(&self) -> Result<SiteName, IngestError> {
        let named = self.headers.get(SITE_HEADER).map_or(Ok(SITE_DEFAULT), |own| own.to_str());
        SiteName::new(named.unwrap_or_default()).map_err(IngestError::bad)
    }

    /// Has the body decoded and admitted by `work`, within what may be done at one time, and waits until all that it
    /// queued is as durable as it gets.
    pub(crate) async fn write(
        self,
        work: impl FnOnce(&Tenant, &[u8]) -> Result<Vec<Ticket>, IngestError> + Send + 'static,
    ) -> Result<Vec<Acknowledgement>, IngestError> {
        let Incoming { tenant, body, gateway, held, .. } = self;
        let done = gateway.pool.write(move || {
            let tickets = work(&tenant, &body);
            drop((body, held));
            tickets
        });
        let tickets = done.await.map_err(|_| IngestError::Failed)??;
        let mut written = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            written.push(ticket.await?);
        }
        Ok(written)
    }
}

impl FromRequest<Arc<Gateway>> for Incoming {
    type Rejection = IngestError;

    async fn from_request(request: Request, gateway: &Arc<Gateway>) -> Result<Incoming, IngestError> {
        let (parts, raw) = request.into_parts();
        let tenant = Caller::of(gateway, &parts.headers, Right::Write)?.tenant;
        let encoding = Encoding::of(&parts.headers)?;
        let (body, held) = body::read(gateway, &tenant, &parts.headers, raw, encoding).await?;
        let content_type =
            parts.headers.get(CONTENT_TYPE).and_then(|own| own.to_str().ok()).unwrap_or_default();
        let content_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let params = Params::of_query(parts.uri.query().unwrap_or_default());
        Ok(Incoming {
            tenant,
            body,
            content_type,
            headers: parts.headers,
            params,
            gateway: gateway.clone(),
            held,
        })
    }
}

impl From<WriteError> for IngestError {
    fn from(error: WriteError) -> IngestError {
        IngestError::Write(error)
    }
}
