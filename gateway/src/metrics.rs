//! The gateway's own numbers and the store's, `GET /metrics`: OpenMetrics text for whoever looks after the machine.
//!
//! Tenants' ids stand in it, and nothing of what they hold. It is for loopback and for operators' tokens: a tenant's token
//! does not open it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::access::{Denied, Grant, granted};
use crate::app::Gateway;
use crate::reply::ApiError;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Its route.
pub(crate) fn router() -> Router<Arc<Gateway>> {
    Router::new().route("/metrics", get(metrics))
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

async fn metrics(State(gateway): State<Arc<Gateway>>, request: Request) -> Result<Response, ApiError> {
    // Behind a proxy everybody comes from loopback: then the proxy must not hand this address on, or asks for a token.
    let forwarded =
        request.headers().contains_key("x-forwarded-for") || request.headers().contains_key("forwarded");
    let local =
        !forwarded && request.extensions().get::<Peer>().is_some_and(|peer| peer.0.ip().is_loopback());
    if !local && !matches!(granted(&gateway, request.headers()), Ok(Grant::Operator { .. })) {
        return Err(Denied::Unauthenticated.into());
    }
    let text = tokio::task::spawn_blocking(move || text(&gateway)).await;
    let text = text.map_err(|_| ApiError::internal("it could not be done; the gateway's log says why"))?;
    Ok(([(CONTENT_TYPE, HeaderValue::from_static(OPENMETRICS))], text).into_response())
}

fn text(gateway: &Gateway) -> String {
    let mut text = gateway.store.metrics().to_openmetrics();
    // It ends with the mark of the end, which comes later now.
    text.truncate(text.trim_end().strip_suffix("# EOF").map_or(text.len(), str::len));
    let counters = &gateway.counters;
    let requests = counters.requests();
    let mut family =
        |name: &str, kind: &str, help: &str, lines: &mut dyn Iterator<Item = (String, String)>| {
            let total = match kind {
                "counter" => "_total",
                "info" => "_info",
                _ => "",
            };
            // Writing to memory does not fail.
            let _ =
                writeln!(text, "# TYPE annals_gateway_{name} {kind}\n# HELP annals_gateway_{name} {help}");
            for (labels, value) in lines {
                let _ = writeln!(text, "annals_gateway_{name}{total}{labels} {value}");
            }
        };
    let alone = |value: u64| std::iter::once((String::new(), value.to_string()));
    let labelled = |route: &str, status: u16| format!("{{route=\"{route}\",status=\"{status}\"}}");
    let version = format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    family("build", "info", "Which gateway it is.", &mut std::iter::once((version, "1".to_owned())));
    let started = (gateway.started.0 as f64 / 1e3).to_string();
    family("start_seconds", "gauge", "When it was started.", &mut std::iter::once((String::new(), started)));
    family(
        "requests",
        "counter",
        "Requests by route and status.",
        &mut requests.iter().map(|((route, status), one)| (labelled(route, *status), one.count.to_string())),
    );
    family(
        "request_seconds",
        "counter",
        "Time from a request's head to its answer's.",
        &mut requests
            .iter()
            .map(|((route, status), one)| (labelled(route, *status), one.took.as_secs_f64().to_string())),
    );
    family(
        "signatures_refused",
        "counter",
        "Signed requests that were refused, by the reason that they were not told.",
        &mut counters
            .unsigned_by_reason()
            .map(|(reason, count)| (format!("{{reason=\"{reason}\"}}"), count.to_string())),
    );
    let connections = counters.connections.load(Ordering::Relaxed);
    family("connections", "gauge", "Connections now.", &mut alone(connections));
    let refused = counters.connections_refused.load(Ordering::Relaxed);
    family("connections_refused", "counter", "Connections that had no place.", &mut alone(refused));
    family(
        "queries",
        "gauge",
        "Queries that run or wait now.",
        &mut alone(gateway.pool.queries_now() as u64),
    );
    text.push_str("# EOF\n");
    text
}
