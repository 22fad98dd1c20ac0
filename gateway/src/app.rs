//! What all requests share, and what happens to each of them before and after its handler.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use annals::vfs::{Clock, Entropy};
use annals::{Annals, Timestamp};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_MAX_AGE, CACHE_CONTROL, CONTENT_ENCODING, ORIGIN, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};

use crate::access::{AccessError, AccessList, AccessStore};
use crate::config::Config;
use crate::counters::Counters;
use crate::page::AskedQueries;
use crate::pool::{Counted, Pool};
use crate::rate::Rates;
use crate::reply::ApiError;
use crate::signed::Nonces;
use crate::{health, ingest, metrics, page, read, signed, ui};

/// A shorter answer is not worth compressing.
const COMPRESS_BYTES_MIN: usize = 1 << 10;
/// A longer one is compressed off the async threads.
const COMPRESS_HERE_MAX: usize = 32 << 10;

/// What all requests share.
pub(crate) struct Gateway {
    pub(crate) store: Annals,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) pool: Pool,
    pub(crate) rates: Rates,
    pub(crate) asked: AskedQueries,
    pub(crate) series: ingest::SeriesCaches,
    pub(crate) started: Timestamp,
    pub(crate) counters: Counters,
    /// Nonces of signed requests.
    pub(crate) nonces: Nonces,
    /// Signed bodies that are being read, by key.
    pub(crate) reading: Counted<[u8; 16]>,
    config: RwLock<Arc<Config>>,
    access: AccessStore,
    /// The generation that was read, and what it grants.
    granted: RwLock<(u64, Arc<AccessList>)>,
    stopping: AtomicBool,
}

impl Gateway {
    pub(crate) fn new(
        store: Annals,
        access: AccessStore,
        config: Config,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Gateway, AccessError> {
        let generation = access.generation()?;
        let granted = access.load_generation(generation)?;
        Ok(Gateway {
            store,
            pool: Pool::new(&config.limits),
            rates: Rates::default(),
            asked: AskedQueries::default(),
            series: ingest::SeriesCaches::new(config.limits.writes),
            started: Timestamp(clock.now_ms()),
            counters: Counters::default(),
            nonces: Nonces::default(),
            reading: Counted::default(),
            clock,
            entropy,
            config: RwLock::new(Arc::new(config)),
            access,
            granted: RwLock::new((generation, Arc::new(granted))),
            stopping: AtomicBool::new(false),
        })
    }

    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn reconfigure(&self, config: Config) {
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    pub(crate) fn access_list(&self) -> Arc<AccessList> {
        self.granted.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Looks whether what is granted has changed. Where that cannot be told, nobody is let in by what was granted before:
    /// it may have been taken back.
    pub(crate) fn refresh_access(&self) {
        let known = self.granted.read().unwrap_or_else(PoisonError::into_inner).0;
        let newest = match self.access.generation() {
            Ok(generation) if generation == known => return,
            newest => newest,
        };
        let loaded = newest
            .and_then(|generation| Ok((generation, Arc::new(self.access.load_generation(generation)?))));
        let (generation, list) = loaded.unwrap_or_else(|error| {
            tracing::error!(%error, "tokens cannot be read: nobody is let in");
            // Read again next time.
            (u64::MAX, Arc::default())
        });
        self.nonces.retain(|key| list.site(key, Timestamp(self.clock.now_ms())).is_some());
        *self.granted.write().unwrap_or_else(PoisonError::into_inner) = (generation, list);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}

/// All routes.
pub(crate) fn router(gateway: Arc<Gateway>) -> Router {
    Router::new()
        .merge(health::router())
        .merge(read::router())
        .merge(ingest::router())
        .merge(page::router())
        .merge(signed::router())
        .merge(metrics::router())
        .merge(ui::router())
        .fallback(|| async { ApiError::not_found("there is nothing at this address") })
        .layer(from_fn_with_state(gateway.clone(), frame))
        .with_state(gateway)
}

/// What every request has: a line in the log, headers that keep browsers careful, compression.
async fn frame(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let since = gateway.clock.monotonic();
    let method = request.method().clone();
    // The route, never the address: that holds what was asked.
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let gzip = accepts_gzip(request.headers());
    let origin = allowed_origin(&gateway.config(), request.headers());
    let response = match (&origin, &method) {
        (Some(_), &Method::OPTIONS) => StatusCode::NO_CONTENT.into_response(),
        _ => next.run(request).await,
    };
    let mut response = if gzip { compressed(response).await } else { response };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    if let Some(origin) = origin {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, OPTIONS"));
        let allowed = "Accept, Authorization, Content-Type, X-Annals-Tenant, X-Annals-Reason, X-Scope-OrgID";
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(allowed));
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        headers.append(VARY, HeaderValue::from_static("Origin"));
    }
    let took = gateway.clock.monotonic().saturating_sub(since);
    let route = route.as_deref().unwrap_or("-");
    gateway.counters.request(route, response.status().as_u16(), took);
    log(&method, route, response.status(), took);
    response
}

fn log(method: &Method, route: &str, status: StatusCode, took: Duration) {
    let (status, took_ms) = (status.as_u16(), took.as_secs_f64() * 1e3);
    if status >= 500 {
        tracing::warn!(%method, route, status, took_ms, "request");
    } else {
        tracing::debug!(%method, route, status, took_ms, "request");
    }
}

/// The origin that may read the answer, as it is to be written back.
fn allowed_origin(config: &Config, headers: &HeaderMap) -> Option<HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    if config.cors_origins.iter().any(|allowed| allowed == "*") {
        return Some(HeaderValue::from_static("*"));
    }
    config.cors_origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| origin.clone())
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let all = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|own| own.to_str().ok());
    all.flat_map(|own| own.split(',')).any(|one| {
        let (name, weight) = one.split_once(';').unwrap_or((one, ""));
        name.trim().eq_ignore_ascii_case("gzip")
            && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
    })
}

/// The response with its body compressed, where that is worth it.
async fn compressed(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if parts.headers.contains_key(CONTENT_ENCODING) {
        return Response::from_parts(parts, body);
    }
    // Bodies are made whole by their handlers: this copies nothing and cannot fail.
    let Ok(bytes) = to_bytes(body, usize::MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    parts.headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    if bytes.len() < COMPRESS_BYTES_MIN {
        return Response::from_parts(parts, Body::from(bytes));
    }
    let packed = if bytes.len() <= COMPRESS_HERE_MAX {
        gzip(&bytes)
    } else {
        let input = bytes.clone();
        tokio::task::spawn_blocking(move || gzip(&input)).await.ok().flatten()
    };
    let Some(packed) = packed else { return Response::from_parts(parts, Body::from(bytes)) };
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(parts, Body::from(packed))
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    use std::io::Write;
    let mut out =
        flate2::write::GzEncoder::new(Vec::with_capacity(bytes.len() / 4), flate2::Compression::fast());
    out.write_all(bytes).ok()?;
    out.finish().ok()
}
