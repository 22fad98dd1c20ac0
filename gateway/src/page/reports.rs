//! Reports, and what there is to report on. Who asks with a token for reports gets a reader that cannot name a raw signal.

use std::sync::Arc;
use std::time::Duration;

use annals::query::report::{Report, ReportError, ReportRequest, Scope, Span};
use annals::{Budget, OperatorReader, QueryLimits, ReportReader, SiteName, Tenant, TimeRange};
use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::document;
use crate::access::{Caller, Right};
use crate::app::Gateway;
use crate::params::Params;
use crate::reply::{ApiError, json_text};

/// Somebody who may read reports.
enum ReportDoor {
    Tenant(ReportReader),
    Operator(OperatorReader),
}

impl ReportDoor {
    fn sites(&self) -> Result<Vec<String>, ApiError> {
        match self {
            ReportDoor::Tenant(reader) => Ok(reader.sites(TimeRange::ALL)?),
            ReportDoor::Operator(reader) => Ok(reader.sites(TimeRange::ALL)?),
        }
    }

    fn report(&self, request: &ReportRequest) -> Result<Report, ApiError> {
        match self {
            ReportDoor::Tenant(reader) => Ok(reader.report(request)?),
            ReportDoor::Operator(reader) => Ok(reader.report(request)?),
        }
    }
}

impl From<ReportError> for ApiError {
    fn from(error: ReportError) -> ApiError {
        match error {
            ReportError::Calendar(_) => ApiError::parameter("of", error),
            _ => ApiError::execution(error.to_string()),
        }
    }
}

/// Has a report's reader used on a thread that may block.
async fn read<T: Send + 'static>(
    gateway: &Arc<Gateway>,
    headers: &HeaderMap,
    work: impl FnOnce(&ReportDoor, &Tenant) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let Caller { tenant, operator } = Caller::of(gateway, headers, Right::Report)?;
    let door = match operator {
        None => ReportDoor::Tenant(tenant.report_reader()),
        Some(operator) => ReportDoor::Operator(tenant.operator_reader(operator)),
    };
    let config = gateway.config();
    let (most, wait) =
        (config.rates(tenant.id().as_str()).queries, Duration::from_millis(config.limits.query_ms));
    // A report has limits of its own; this is only for the place among those that are answered at one time.
    let budget = Arc::new(Budget::new(QueryLimits::default()));
    gateway.pool.query(tenant.number(), most, wait, budget, move |_| work(&door, &tenant)).await?
}

/// `sites`
pub(crate) async fn sites(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let sites = read(&gateway, &headers, |door, _| door.sites()).await?;
    let sites = sites.into_iter().map(|name| json!({ "name": name }));
    Ok(json_text(StatusCode::OK, document(&sites.collect::<Value>())))
}

/// The forms of a report.
#[derive(Clone, Copy)]
enum Form {
    Html,
    Json,
    Markdown,
}

/// `report`: the period that holds a day, on the clock of a zone, of a site or of all.
pub(crate) async fn report(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let scope = match params.get("site") {
        None => Scope::Tenant,
        Some(site) => Scope::Site(SiteName::new(site).map_err(|error| ApiError::parameter("site", error))?),
    };
    let span = match params.get("span") {
        Some("day") => Span::Day,
        None | Some("week") => Span::WEEK,
        Some("month") => Span::Month,
        Some(_) => return Err(ApiError::parameter("span", "there are day, week and month")),
    };
    let of = params.get("of").unwrap_or_default().parse::<Date>();
    let of = of.map_err(|_| ApiError::parameter("of", "a day of the period is needed, as 2026-11-16"))?;
    let zone = TimeZone::get(params.get("tz").unwrap_or("UTC"));
    let zone = zone.map_err(|_| ApiError::parameter("tz", "there is no time zone of that name"))?;
    let form = match params.get("format") {
        None | Some("html") => Form::Html,
        Some("json") => Form::Json,
        Some("markdown") => Form::Markdown,
        Some(_) => return Err(ApiError::parameter("format", "there are html, json and markdown")),
    };
    let text = read(&gateway, &headers, move |door, tenant| {
        let report = door.report(&ReportRequest::new(tenant.id().clone(), scope, zone, span, of))?;
        Ok(match form {
            Form::Html => report.to_html(),
            Form::Json => report.to_json(),
            Form::Markdown => report.to_markdown(),
        })
    });
    let mut response = json_text(StatusCode::OK, text.await?.into_bytes());
    let kind = match form {
        Form::Html => "text/html; charset=utf-8",
        Form::Json => "application/json",
        Form::Markdown => "text/markdown; charset=utf-8",
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    // As a page by itself it has its style, and can do nothing.
    let policy = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    Ok(response)
}
