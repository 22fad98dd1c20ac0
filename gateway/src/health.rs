//! Whether it lives, and whether it can be given work: for supervisors and load balancers, without a credential.

use std::sync::Arc;

use annals::Trouble;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;

use crate::app::Gateway;

/// Its routes.
pub(crate) fn router() -> Router<Arc<Gateway>> {
    Router::new().route("/-/healthy", get(|| async { "Annals is healthy.\n" })).route("/-/ready", get(ready))
}

/// It is not ready while it stops, and where the log takes no writes any more.
async fn ready(State(gateway): State<Arc<Gateway>>) -> (StatusCode, &'static str) {
    if gateway.is_stopping() {
        return (StatusCode::SERVICE_UNAVAILABLE, "Annals is stopping.\n");
    }
    if gateway.store.troubles().iter().any(|trouble| matches!(trouble, Trouble::LogFailed)) {
        return (StatusCode::SERVICE_UNAVAILABLE, "Annals takes no writes.\n");
    }
    (StatusCode::OK, "Annals is ready.\n")
}
