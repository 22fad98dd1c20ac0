//! What the page at `/ui` asks beside the Prometheus API, below `/api/annals`. Documents are as there: `status` and `data`.
//!
//! | address | role | says |
//! |---|---|---|
//! | `whoami` | any | whose data this token opens, and from when to when there is any |
//! | `sites` | report, viewer | the sites that have sent signals |
//! | `report` | report, viewer | a day, week or month of a site or of all, as HTML, JSON or Markdown |
//! | `explain` | viewer | how a query is answered, and what each part takes |
//! | `queries` | viewer | the tenant's most expensive queries since the gateway was started |
//! | `retention` | viewer | what is kept, until when, by which rule |
//! | `intake` | ingest, viewer | what became of what was sent, refusals by reason |
//!
//! A manager may all of it; an operator too, and what is looked at stands in the audit log before.

mod explain;
mod queries;
mod reports;
mod standing;

use std::sync::Arc;

use annals::Tenant;
use axum::Router;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use crate::access::{Caller, Door, Reader, Right};
use crate::app::Gateway;
use crate::read::{query_limits, run};
use crate::reply::ApiError;

pub(crate) use queries::{AskedQueries, Took};

/// All routes.
pub(crate) fn router() -> Router<Arc<Gateway>> {
    let own = Router::new()
        .route("/whoami", get(standing::whoami))
        .route("/retention", get(standing::retention))
        .route("/intake", get(standing::intake))
        .route("/sites", get(reports::sites))
        .route("/report", get(reports::report))
        .route("/explain", get(explain::explain).post(explain::explain))
        .route("/queries", get(queries::queries));
    Router::new().nest("/api/annals", own)
}

/// Has something of a tenant looked at, on a thread that may block, and written down before where an operator looks.
async fn look(
    gateway: &Arc<Gateway>,
    headers: &HeaderMap,
    (right, what): (Right, &'static str),
    work: impl FnOnce(&Gateway, &Tenant) -> Value + Send + 'static,
) -> Result<Response, ApiError> {
    let Reader { tenant, door } = Reader::of(Caller::of(gateway, headers, right)?);
    let limits = query_limits(&gateway.config().limits, None)?;
    let (own, of) = (gateway.clone(), tenant.clone());
    run(gateway, (&tenant, limits.time_ms_max), door, move |door, _| {
        if let Door::Operator(reader) = door {
            reader.note(what)?;
        }
        Ok(document(&work(&own, &of)))
    })
    .await
}

/// A document as those of the Prometheus API are.
fn document(data: &Value) -> Vec<u8> {
    json!({ "status": "success", "data": data }).to_string().into_bytes()
}
