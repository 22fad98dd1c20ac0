//! The API of Prometheus, for reading: what Grafana, promtool and every other client of it already speak to.
//!
//! ```text
//!   query.rs    query, query_range, format_query, parse_query     the evaluator's answers
//!   series.rs   series, labels, label values, metadata            what there is to ask about
//!   status.rs   status/.., rules, alerts, targets                 what a store without rules and scraping has to say
//!   json.rs     answers as text, into one buffer
//! ```

mod json;
mod query;
mod series;
mod status;

pub(crate) use query::{expression, query_limits, run};

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::app::Gateway;

/// All routes, GET and POST where Prometheus has both.
pub(crate) fn router() -> Router<Arc<Gateway>> {
    let api = Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route("/format_query", get(query::format).post(query::format))
        .route("/series", get(series::series).post(series::series))
        .route("/labels", get(series::labels).post(series::labels))
        .route("/label/{name}/values", get(series::label_values))
        .route("/metadata", get(series::metadata))
        .merge(status::router());
    Router::new().nest("/api/v1", api)
}
