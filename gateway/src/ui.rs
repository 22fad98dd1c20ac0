//! The page at `/ui`.

use std::sync::Arc;

use axum::Router;

use crate::app::Gateway;

/// Its routes.
pub(crate) fn router() -> Router<Arc<Gateway>> {
    Router::new()
}
