//! Signals of sites, `POST /v1/signals`: batches that are signed with the site's own secret.
//!
//! The order of work, so that who cannot sign costs as little as can be and learns nothing:
//!
//! ```text
//!   the header is read ─► the key is looked up ─► the body is read and hashed ─► the signature is compared
//!   ─► its time ─► its nonce ─► the tenant's rate ─► only now the body is decompressed, parsed, admitted
//! ```
//!
//! Where there is no such key the body is hashed all the same, and not kept, and the signature compared with that of another
//! key, whatever it comes to: no answer and no time (`benches/unknown.py`) tells which keys there are. Whatever is wrong with
//! a signature, the answer is the same; the reason stands in the counters and, without content, in the log. It is not in the
//! audit log of operators' reads: whoever can reach the port could fill that.
//!
//! A request whose time is not after the start of this process is refused and must be signed again: its nonce may have been
//! used before the restart. The batch id makes it harmless to send a batch again, by whatever chance.

mod nonces;
mod signature;

use std::sync::Arc;
use std::time::Duration;

use annals::signals::read::{JsonBatch, json_batch};
use annals::{
    Acknowledgement, Durability, FieldRef, Refusal, SignalBatch, SiteName, Tenant, TenantId, TenantNumber,
    Ticket, Timestamp, Zeroizing,
};
use aws_lc_rs::{digest, hmac};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

pub(crate) use crate::access::hex;
pub(crate) use nonces::Nonces;
pub(crate) use signature::{Signature, bytes};

use crate::access::{Denied, SiteKey};
use crate::app::Gateway;
use crate::body::{Whole, each_piece};
use crate::counters::Unsigned;
use crate::ingest::{Encoding, IngestError, plain, room, told_bytes};
use crate::reply::{ApiError, json_text};
use nonces::{Nonce, WINDOW_S};

/// Bodies of one key that are read at one time: a key id is no secret, and must not fill the gateway's memory.
const OF_KEY_MAX: usize = 8;
/// Records of one batch; a tenant's plan may allow fewer.
const RECORDS_MAX: usize = 500_000;
/// When a key that has used too many nonces may come back: some are forgotten by then.
const NONCES_WAIT: Duration = Duration::from_secs(60);

/// Its route.
pub(crate) fn router() -> Router<Arc<Gateway>> {
    Router::new().route("/v1/signals", post(signals))
}

async fn signals(State(gateway): State<Arc<Gateway>>, request: Request) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let (signed, body, _held) = authenticate(&gateway, &parts, body).await?;
    let rates = gateway.config().rates(signed.tenant.id().as_str());
    let now = gateway.clock.monotonic();
    gateway.rates.request(signed.tenant.number(), rates, now).map_err(Denied::TooMany)?;
    let encoding = Encoding::of(&parts.headers).map_err(|error| error.api())?;
    if encoding == Encoding::Snappy || encoding == Encoding::Deflate {
        return Err(ApiError::body(StatusCode::UNSUPPORTED_MEDIA_TYPE, "signals come plain, gzip or zstd"));
    }
    let limits = gateway.config().limits.clone();
    let number = signed.tenant.number();
    let store = gateway.clone();
    let admitted = gateway.pool.write(move || {
        let plain = plain(&limits, encoding, &body)?;
        store.rates.bytes(number, rates, store.clock.monotonic(), plain.len());
        admit(&store, &signed, &plain)
    });
    let (batch, ticket) = admitted.await?.map_err(|error: IngestError| error.api())?;
    let acknowledgement = ticket.await.map_err(|error| IngestError::Write(error).api())?;
    Ok(json_text(StatusCode::OK, verdicts(&batch, &acknowledgement).to_string().into_bytes()))
}

/// Who has signed.
struct Signed {
    tenant: Tenant,
    site: SiteName,
}

/// The body of a request whose signature is right, and whose it is.
async fn authenticate(
    gateway: &Arc<Gateway>,
    parts: &Parts,
    body: Body,
) -> Result<(Signed, Bytes, OwnedSemaphorePermit), ApiError> {
    let refuse = |why: Unsigned| {
        gateway.counters.unsigned(why);
        tracing::debug!(reason = why.name(), "a signature was refused");
        ApiError::from(Denied::Unauthenticated)
    };
    let signature = header(&parts.headers).map_err(refuse)?;
    let list = gateway.access_list();
    let now = Timestamp(gateway.clock.now_ms());
    let known = list.site(&signature.key, now).and_then(|key| of_key(gateway, key));
    let is_known = known.is_some();
    // Where there is no such key, as much work is done with another one: the newest whose tenant is there.
    let signer = known.or_else(|| list.sites.iter().rev().find_map(|key| of_key(gateway, key)));
    let _reading = gateway.reading.take(signature.key, OF_KEY_MAX);
    let _reading = _reading.ok_or(Denied::TooMany(Duration::from_secs(1)))?;
    let (hash, kept) = hashed(gateway, &parts.headers, body, is_known).await.inspect_err(|_| {
        gateway.counters.unsigned(Unsigned::Body);
    })?;
    let right = signer.as_ref().is_some_and(|(signed, secret)| {
        is_right(secret, &signature, parts, signed.tenant.id().as_str(), &hash)
    });
    let (true, Some((signed, _)), Some((body, held))) = (is_known, signer, kept) else {
        return Err(refuse(Unsigned::UnknownKey));
    };
    if !right {
        return Err(refuse(Unsigned::BadSignature));
    }
    if parts.headers.get("x-annals-tenant").is_some_and(|named| named != signed.tenant.id().as_str()) {
        return Err(refuse(Unsigned::OtherTenant));
    }
    in_time(gateway, signature.time).map_err(refuse)?;
    match gateway.nonces.take(signature.key, signature.nonce, signature.time, gateway.clock.monotonic()) {
        Nonce::Fresh => Ok((signed, body, held)),
        Nonce::Used => Err(refuse(Unsigned::Replayed)),
        Nonce::Forgotten => Err(refuse(Unsigned::Stale)),
        Nonce::Full => {
            gateway.counters.unsigned(Unsigned::Full);
            Err(Denied::TooMany(NONCES_WAIT).into())
        }
    }
}

fn header(headers: &HeaderMap) -> Result<Signature, Unsigned> {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let first = all.next().ok_or(Unsigned::Missing)?;
    if all.next().is_some() {
        return Err(Unsigned::Malformed);
    }
    Signature::parse(first.as_bytes()).ok_or(Unsigned::Malformed)
}

/// Whose key it is, and its secret, where its tenant is there.
fn of_key(gateway: &Gateway, key: &SiteKey) -> Option<(Signed, Zeroizing<[u8; 32]>)> {
    let site = SiteName::new(&key.site).ok()?;
    let tenant = gateway.store.tenant(&TenantId::new(&key.tenant).ok()?).ok()?;
    if tenant.number() != TenantNumber(key.number) {
        return None;
    }
    let secret = tenant.site_secret(&site, &key.id_bytes());
    Some((Signed { tenant, site }, secret))
}

fn is_right(secret: &[u8; 32], signature: &Signature, parts: &Parts, tenant: &str, body: &[u8; 32]) -> bool {
    let query = parts.uri.query().unwrap_or_default();
    let text = signature.text(parts.method.as_str(), parts.uri.path(), query, tenant, body);
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    // In constant time.
    hmac::verify(&key, text.as_bytes(), &signature.tag).is_ok()
}

/// Whether a request of this time may be taken now, so far as clocks tell; nonces know the rest.
fn in_time(gateway: &Gateway, time: i64) -> Result<(), Unsigned> {
    let now = gateway.clock.now_ms() / 1000;
    if time < now.saturating_sub(WINDOW_S) || time <= gateway.started.0 / 1000 {
        return Err(Unsigned::Stale);
    }
    if time > now.saturating_add(WINDOW_S) { Err(Unsigned::Future) } else { Ok(()) }
}

fn array(bytes: &[u8]) -> [u8; 32] {
    let mut array = [0; 32];
    array.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    array
}

/// The hash of a body, and the body where it is kept, with its room.
async fn hashed(
    gateway: &Gateway,
    headers: &HeaderMap,
    body: Body,
    keep: bool,
) -> Result<([u8; 32], Option<(Bytes, OwnedSemaphorePermit)>), ApiError> {
    let most = gateway.config().limits.body_bytes;
    let told = told_bytes(headers, most)?;
    let held = if keep { Some(room(gateway, told).await?) } else { None };
    let (mut context, mut whole) = (digest::Context::new(&digest::SHA256), Whole::default());
    each_piece(gateway, body, most, |piece| {
        context.update(&piece);
        if keep {
            whole.push(piece);
        }
    })
    .await?;
    Ok((array(context.finish().as_ref()), held.map(|held| (whole.finish(), held))))
}

/// Parses and queues a batch.
fn admit(gateway: &Gateway, signed: &Signed, body: &[u8]) -> Result<(JsonBatch, Ticket), IngestError> {
    let mut batch = json_batch(gateway.store.schema(), body, RECORDS_MAX).map_err(IngestError::bad)?;
    if batch.site.as_ref().is_some_and(|site| site != signed.site.as_str()) {
        return Err(IngestError::bad("`site` is not the site of the key; it may be left out"));
    }
    let id = batch.batch.ok_or_else(|| {
        IngestError::bad(
            "`batch` is missing: 32 hexadecimal digits, drawn once for each batch and kept for its retries",
        )
    })?;
    let signals = SignalBatch { id, site: signed.site.clone(), signals: std::mem::take(&mut batch.signals) };
    let ticket = signed.tenant.write_signals(&signals)?;
    batch.signals = signals.signals;
    Ok((batch, ticket))
}

/// The answer: what became of each record, and how durable that is.
fn verdicts(batch: &JsonBatch, acknowledgement: &Acknowledgement) -> Value {
    let refused = batch.all_refused(&acknowledgement.refused);
    let one = |(record, refusal): &(usize, Refusal)| {
        let field = refusal.field.as_ref().map(|field| match field {
            FieldRef::Known(name) => Value::from(&**name),
            FieldRef::Position(at) => Value::from(*at),
        });
        json!({ "record": record, "reason": refusal.reason.word(), "field": field })
    };
    json!({ "status": "success", "data": {
        "batch": batch.batch.map(|id| hex(&id.0)),
        "duplicate": acknowledgement.duplicate,
        "durability": match acknowledgement.durability {
            Durability::Synced => "synced",
            Durability::Buffered => "buffered",
        },
        "records": batch.records(),
        // Of all records that are not listed below.
        "verdict": if acknowledgement.duplicate { "duplicate" } else { "accepted" },
        "accepted": acknowledgement.accepted(),
        "refused": refused.iter().map(one).collect::<Vec<_>>(),
    }})
}
