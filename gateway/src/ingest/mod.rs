//! Metrics in: the formats that senders already speak.
//!
//! A handler takes an [`Incoming`], which is made only for who may write and only of a body within all limits, has it
//! decoded and admitted off the async threads, and answers with what became of it:
//!
//! ```text
//! async fn lines(State(gateway): State<Arc<Gateway>>, incoming: Incoming) -> Result<StatusCode, IngestError> {
//!     let decoded = incoming.samples(&gateway, Form::Text, String::new(), |body, samples| {
//!         decode(body, samples).map_err(IngestError::bad) // on a thread of its own: may take its time
//!     });
//!     let (outcome, _) = decoded.await?;                  // once it is on the disk
//!     outcome.refusals().map_or(Ok(StatusCode::NO_CONTENT), |refused| Err(IngestError::Bad(refused)))
//! }
//! ```
//!
//! - What `decode` is given is plain: `Content-Encoding` gzip, zstd, deflate, and snappy (a block, as remote write sends
//!   it) was undone on the same thread, within `limits.plain_bytes` and `limits.plain_ratio`, so that as many plain bodies
//!   are held as are decoded; encodings of encodings are refused. `content_type` is lower case and without its parameters,
//!   `headers` are all there.
//! - Samples go to a sink that knows the tenant's series by the text that names them (`series.rs`); nothing is written before
//!   the whole body was read.
//! - The batch's id follows from the body as it was sent: who sends the same body again because the answer was lost counts
//!   nothing twice. Where a sample's time is that of the gateway's clock, the id is a new one.
//! - Errors become statuses by which senders know what to do: [`IngestError`]. A format whose errors have a form of their
//!   own (OTLP) makes it from status and message of [`IngestError::api`].
//! - A record that is refused by itself is no error: [`Outcome`] counts those by reason, and how to tell the sender is the
//!   format's business.

mod body;
mod error;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod lines;
mod otlp;
mod remote_write;
mod series;
#[cfg(any(test, feature = "fuzzing"))]
mod testing;

use std::sync::Arc;

use annals::{BatchId, SiteName, Tenant, Timestamp, WriteError};
use aws_lc_rs::digest;
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

use series::{Form, Outcome, Samples, Written};

pub(crate) use body::{Encoding, decompressed, plain, receive, room, told_bytes};
pub(crate) use error::IngestError;
pub(crate) use series::SeriesCaches;

const SITE_HEADER: &str = "x-annals-site";
const SITE_DEFAULT: &str = "metrics";

/// The routes of all formats.
pub(crate) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/api/v1/write", post(remote_write::write))
        .route("/v1/metrics", post(otlp::metrics))
        .route("/api/v1/otlp/v1/metrics", post(otlp::metrics))
        .route("/api/v1/import/prometheus", post(lines::text))
        .route("/api/v1/import", post(lines::json))
        .route("/write", post(lines::influx_1))
        .route("/influx/write", post(lines::influx_1))
        .route("/api/v2/write", post(lines::influx_2))
        .route("/influx/api/v2/write", post(lines::influx_2))
}

/// A body of somebody who may write.
pub(crate) struct Incoming {
    pub(crate) tenant: Tenant,
    /// The body as it was sent, and how it is compressed.
    raw: Bytes,
    encoding: Encoding,
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
    /// Has the samples of the body taken by `decode`, within what may be done at one time, and waits until they are as durable
    /// as they get. A body of deltas that is sent again is counted once where all of its samples tell their times; `meaning` is what
    /// besides the body says what they are.
    pub(crate) async fn samples<T: Send + 'static>(
        self,
        gateway: &Arc<Gateway>,
        form: Form,
        meaning: String,
        decode: impl FnOnce(&[u8], &mut Samples<'_>) -> Result<T, IngestError> + Send + 'static,
    ) -> Result<(Outcome, T), IngestError> {
        let (site, fresh) = (self.site()?, self.fresh_id()?);
        let seed = fresh.0.iter().fold(0, |seed, byte| seed << 8 | u64::from(*byte));
        let Incoming { tenant, raw, encoding, held, .. } = self;
        let (number, shared) = (tenant.number(), gateway.clone());
        let done = gateway.pool.write(move || {
            let (config, now) = (shared.config(), Timestamp(shared.clock.now_ms()));
            let body = plain(&config.limits, encoding, &raw)?;
            let rates = config.rates(tenant.id().as_str());
            shared.rates.bytes(tenant.number(), rates, shared.clock.monotonic(), body.len());
            let mut samples = Samples::new(&shared.series, &tenant, form, now, seed);
            let decoded = decode(&body, &mut samples)?;
            let id = match (samples.adds_up(), samples.timeless) {
                // Levels are the same however often they are written: no id need be remembered of them.
                (false, _) => BatchId::NONE,
                (true, true) => fresh,
                (true, false) => id_of(&meaning, &raw),
            };
            let written = samples.write(id, &site, shared.clock.monotonic())?;
            drop((body, raw, held));
            Ok::<_, IngestError>((written, decoded))
        });
        let (Written { tickets, numbers, refused }, decoded) =
            done.await.map_err(|_| IngestError::Failed)??;
        let mut acknowledged = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            acknowledged.push(ticket.await?);
        }
        let outcome = Outcome::of(&acknowledged, numbers, refused);
        if outcome.conflicting_kinds() {
            gateway.series.forget(number);
        }
        Ok((outcome, decoded))
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
}

/// The id of a body as it was sent, and of what else says what it means.
fn id_of(meaning: &str, raw: &[u8]) -> BatchId {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&(meaning.len() as u64).to_le_bytes());
    context.update(meaning.as_bytes());
    context.update(raw);
    let mut id = [0; 16];
    id.iter_mut().zip(context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    BatchId(id)
}

impl FromRequest<Arc<Gateway>> for Incoming {
    type Rejection = IngestError;

    async fn from_request(request: Request, gateway: &Arc<Gateway>) -> Result<Incoming, IngestError> {
        let (parts, raw) = request.into_parts();
        let tenant = Caller::of(gateway, &parts.headers, Right::Write)?.tenant;
        let encoding = Encoding::of(&parts.headers)?;
        let (raw, held) = receive(gateway, &parts.headers, raw).await.map_err(IngestError::Body)?;
        let content_type =
            parts.headers.get(CONTENT_TYPE).and_then(|own| own.to_str().ok()).unwrap_or_default();
        let content_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let params = Params::of_query(parts.uri.query().unwrap_or_default());
        Ok(Incoming {
            tenant,
            raw,
            encoding,
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
