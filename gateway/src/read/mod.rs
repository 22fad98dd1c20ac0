//! The API of Prometheus, for reading: what Grafana, promtool and every other client of it already speak to.
//!
//! ```text
//!   query.rs    query, query_range, format_query                  the evaluator's answers
//!   series.rs   series, labels, label values, metadata            what there is to ask about
//!   status.rs   status/.., rules, alerts, targets                 what a store without rules and scraping has to say
//!   tree.rs     parse_query                                       a query taken apart
//!   federate.rs, remote.rs                                        samples as they are, for other servers
//!   histograms.rs                                                 native histograms as Protobuf, for both
//!   json.rs     answers as text, into one buffer
//! ```

mod federate;
mod histograms;
mod json;
mod query;
pub(crate) mod remote;
mod series;
mod status;
mod tree;

pub(crate) use query::{expression, query_limits, run};

use std::sync::Arc;

use annals::Missing;
use axum::Router;
use axum::routing::{get, post};

use crate::app::Gateway;
use crate::reply::ApiError;

/// All routes, GET and POST where Prometheus has both.
pub(crate) fn router() -> Router<Arc<Gateway>> {
    let api = Router::new()
        .route("/query", get(query::instant).post(query::instant))
        .route("/query_range", get(query::range).post(query::range))
        .route("/format_query", get(query::format).post(query::format))
        .route("/parse_query", get(tree::parse).post(tree::parse))
        .route("/query_exemplars", get(query::exemplars).post(query::exemplars))
        .route("/read", post(remote::read))
        .route("/series", get(series::series).post(series::series))
        .route("/labels", get(series::labels).post(series::labels))
        .route("/label/{name}/values", get(series::label_values))
        .route("/metadata", get(series::metadata))
        .merge(status::router());
    Router::new()
        .nest("/api/v1", api)
        .route("/federate", get(federate::federate))
        .route("/", get(|| async { "Annals speaks the API of Prometheus, at /api/v1.\n" }))
}

/// Whether nothing is missing, for answers that have no place to say what is.
fn whole(missing: &[Missing]) -> Result<(), ApiError> {
    match missing.first() {
        None => Ok(()),
        Some(first) => Err(ApiError::execution(format!(
            "part of the data cannot be served: {}; /api/v1/query_range answers with the rest",
            first.why
        ))),
    }
}
