//! How a query is answered, as a tree with times.

use std::sync::Arc;

use annals::TimeRange;
use annals::query::promql::{Explained, Explanation, QueryOptions, Times};
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::document;
use crate::access::{Door, Reader};
use crate::app::Gateway;
use crate::params::Params;
use crate::read::{expression, query_limits, run};
use crate::reply::ApiError;

/// `explain`: the query is evaluated, so that each part's time is known.
pub(crate) async fn explain(
    State(gateway): State<Arc<Gateway>>,
    reader: Reader,
    params: Params,
) -> Result<Response, ApiError> {
    let (text, _) = expression(&params)?;
    let times = times(&params)?;
    let limits = query_limits(&gateway.config().limits, params.duration_ms("timeout")?)?;
    let door = reader.door.with(limits, QueryOptions::default());
    run(&gateway, (&reader.tenant, limits.time_ms_max), door, move |door, _| {
        let found = match door {
            Door::Tenant(reader) => reader.explain(&text, times, true)?,
            Door::Operator(reader) => reader.explain(&text, times, true)?,
        };
        Ok(document(&tree(&found, &text)))
    })
    .await
}

fn times(params: &Params) -> Result<Times, ApiError> {
    let needed = |name: &str| {
        params.time(name)?.ok_or_else(|| ApiError::parameter(name, "it is needed: seconds or RFC 3339"))
    };
    if params.get("time").is_some() {
        return Ok(Times::Instant(needed("time")?));
    }
    let (start, end) = (needed("start")?, needed("end")?);
    let step_ms = params.duration_ms("step")?.filter(|step| *step > 0);
    let step_ms = step_ms.ok_or_else(|| ApiError::parameter("step", "it must be more than nothing"))?;
    if end < start {
        return Err(ApiError::parameter("end", "it must not be before start"));
    }
    Ok(Times::Range { start, end, step_ms })
}

fn tree(found: &Explanation, text: &str) -> Value {
    let warnings = found.answer.iter().flat_map(|answer| &answer.warnings).map(|own| own.render(text));
    json!({
        "parts": found.parts.iter().map(part).collect::<Value>(),
        "memory_bytes_peak": found.memory_bytes_peak,
        "warnings": warnings.collect::<Value>(),
    })
}

fn part(part: &Explained) -> Value {
    let range = |range: &TimeRange| json!({ "from": range.start.0, "to": range.end.0 });
    let selector = part.selector.as_ref().map(|found| {
        let coarser =
            found.coarser.iter().map(|(part, tier)| json!({ "range": range(part), "tier": tier.word() }));
        json!({
            "range": range(&found.range),
            "series": found.series,
            "coarser": coarser.collect::<Value>(),
            "windows": found.read.windows,
            "chunks_decoded": found.read.chunks_decoded,
            "chunks_skipped": found.read.chunks_skipped,
            "samples": found.read.samples,
            "bytes": found.read.bytes,
        })
    });
    let cost = part.cost.map(|cost| {
        json!({ "nanoseconds": cost.nanoseconds, "series": cost.series, "memory_bytes": cost.memory_bytes })
    });
    json!({ "depth": part.depth, "what": part.what, "selector": selector, "cost": cost })
}
