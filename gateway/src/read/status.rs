//! What clients of Prometheus ask about the server itself. There are no rules, alerts or targets here: those lists are empty.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals::query::promql::QueryOptions;
use annals::{TimeRange, Timestamp};
use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use serde_json::{Value, json};

use super::query::{query_limits, run};
use crate::access::Reader;
use crate::app::Gateway;
use crate::params::Params;
use crate::reply::{ApiError, success};

/// The release of Prometheus whose language and API this is: clients look at it to know what they may ask.
const SPEAKS: &str = "3.14.0";
/// Entries of each list of `status/tsdb`, where no other number is asked for, and at most.
const TOP: usize = 10;
const TOP_MAX: usize = 10_000;

/// Its routes.
pub(crate) fn router() -> Router<Arc<Gateway>> {
    let nothing = |document: fn() -> Value| get(move |_: Reader| async move { success(&document()) });
    Router::new()
        .route("/status/buildinfo", get(build_info))
        .route("/status/runtimeinfo", get(runtime_info))
        .route("/status/flags", get(flags))
        .route("/status/tsdb", get(tsdb))
        .route("/status/config", nothing(|| json!({ "yaml": "" })))
        .route("/status/walreplay", nothing(|| json!({ "min": 0, "max": 0, "current": 0 })))
        .route("/rules", nothing(|| json!({ "groups": [] })))
        .route("/alerts", nothing(|| json!({ "alerts": [] })))
        .route(
            "/targets",
            nothing(|| json!({ "activeTargets": [], "droppedTargets": [], "droppedTargetCounts": {} })),
        )
        .route("/targets/metadata", nothing(|| json!([])))
        .route("/scrape_pools", nothing(|| json!({ "scrapePools": [] })))
        .route("/alertmanagers", nothing(|| json!({ "activeAlertmanagers": [], "droppedAlertmanagers": [] })))
}

async fn build_info(_: Reader) -> Response {
    success(&json!({
        "version": SPEAKS,
        "revision": "",
        "branch": format!("annals {}", env!("CARGO_PKG_VERSION")),
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

async fn runtime_info(State(gateway): State<Arc<Gateway>>, reader: Reader) -> Response {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let retention = reader.tenant.summary().plan.map(|plan| plan.name).unwrap_or_default();
    // Machine and directory are not the tenant's to know.
    success(&json!({
        "startTime": gateway.started.to_string(),
        "CWD": "",
        "hostname": "",
        "serverTime": Timestamp(gateway.clock.now_ms()).to_string(),
        "reloadConfigSuccess": true,
        "lastConfigTime": gateway.started.to_string(),
        "corruptionCount": 0,
        "goroutineCount": 0,
        "GOMAXPROCS": threads,
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": format!("plan {retention}"),
    }))
}

async fn flags(State(gateway): State<Arc<Gateway>>, _: Reader) -> Response {
    let config = gateway.config();
    let limits = &config.limits;
    success(&json!({
        "query.lookback-delta": format!("{}ms", QueryOptions::default().lookback_ms),
        "query.max-concurrency": limits.queries.to_string(),
        "query.max-samples": limits.query_samples.to_string(),
        "query.timeout": format!("{}ms", limits.query_ms),
    }))
}

/// How many series there are, of which metrics, and by which labels: of the tenant, in all that is kept.
async fn tsdb(
    State(gateway): State<Arc<Gateway>>,
    reader: Reader,
    params: Params,
) -> Result<Response, ApiError> {
    let top = match params.limit()? {
        Some(limit) if limit > TOP_MAX => {
            return Err(ApiError::parameter("limit", format_args!("at most {TOP_MAX} are possible")));
        }
        limit => limit.unwrap_or(TOP),
    };
    let limits = query_limits(&gateway.config().limits, None)?;
    let door = reader.door.with(limits, QueryOptions::default());
    let summary = reader.tenant.summary();
    run(&gateway, (&reader.tenant, limits.time_ms_max), door, move |door, budget| {
        let selected = door.source().select_labels(&[], TimeRange::ALL, budget)?;
        let (mut metrics, mut pairs) = (BTreeMap::<String, u64>::new(), BTreeMap::<(String, String), u64>::new());
        for index in 0..selected.len() {
            budget.poll()?;
            let labels = selected.labels(index);
            *metrics.entry(labels.get(annals::METRIC_NAME).to_owned()).or_default() += 1;
            for (name, value) in labels.iter() {
                *pairs.entry((name.to_owned(), value.to_owned())).or_default() += 1;
            }
        }
        let (mut values, mut bytes) = (BTreeMap::<&str, u64>::new(), BTreeMap::<&str, u64>::new());
        for (name, value) in pairs.keys() {
            *values.entry(name).or_default() += 1;
            *bytes.entry(name).or_default() += value.len() as u64;
        }
        let data = json!({
            "headStats": {
                "numSeries": selected.len(),
                "numLabelPairs": pairs.len(),
                "chunkCount": summary.metric_blocks,
                "minTime": summary.earliest.map_or(0, |time| time.0),
                "maxTime": summary.latest.map_or(0, |time| time.0),
            },
            "seriesCountByMetricName": largest(metrics, top),
            "labelValueCountByLabelName": largest(values.into_iter().map(own), top),
            "memoryInBytesByLabelName": largest(bytes.into_iter().map(own), top),
            "seriesCountByLabelValuePair":
                largest(pairs.into_iter().map(|((name, value), count)| (format!("{name}={value}"), count)), top),
        });
        Ok(json!({ "status": "success", "data": data }).to_string().into_bytes())
    })
    .await
}

fn own((name, count): (&str, u64)) -> (String, u64) {
    (name.to_owned(), count)
}

/// The largest counts, largest first.
fn largest(counts: impl IntoIterator<Item = (String, u64)>, top: usize) -> Vec<Value> {
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_by(|(a, left), (b, right)| right.cmp(left).then_with(|| a.cmp(b)));
    counts.truncate(top);
    counts.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}
