//! Questions in PromQL.

use std::sync::Arc;
use std::time::Duration;

use annals::query::promql::{self, Expr, QueryOptions, Times, Value};
use annals::{Budget, QueryLimits, Timestamp};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::json::{self, Said};
use crate::access::{Door, Reader};
use crate::app::Gateway;
use crate::config::Limits;
use crate::page::Took;
use crate::params::{Params, parse_error};
use crate::reply::{ApiError, json_text, success};

/// `query`: at one time.
pub(crate) async fn instant(
    State(gateway): State<Arc<Gateway>>,
    reader: Reader,
    params: Params,
) -> Result<Response, ApiError> {
    let time = params.time("time")?.unwrap_or(Timestamp(gateway.clock.now_ms()));
    ask(&gateway, reader, &params, Times::Instant(time)).await
}

/// `query_range`: at `start`, then every `step` up to `end`.
pub(crate) async fn range(
    State(gateway): State<Arc<Gateway>>,
    reader: Reader,
    params: Params,
) -> Result<Response, ApiError> {
    let needed = |name: &str| params.time(name)?.ok_or_else(|| missing_time(name));
    let (start, end) = (needed("start")?, needed("end")?);
    if end < start {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    let step_ms = params.duration_ms("step")?;
    let step_ms =
        step_ms.ok_or_else(|| ApiError::parameter("step", "cannot parse \"\" to a valid duration"))?;
    if step_ms <= 0 {
        let what = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::parameter("step", what));
    }
    ask(&gateway, reader, &params, Times::Range { start, end, step_ms }).await
}

fn missing_time(name: &str) -> ApiError {
    ApiError::parameter(name, "cannot parse \"\" to a valid timestamp")
}

/// `format_query`
pub(crate) async fn format(params: Params) -> Result<Response, ApiError> {
    let (_, expr) = expression(&params)?;
    Ok(success(&json!(promql::format(&expr))))
}

/// `query_exemplars`: none are kept.
pub(crate) async fn exemplars(_: Reader, params: Params) -> Result<Response, ApiError> {
    expression(&params)?;
    params.range()?;
    Ok(success(&json!([])))
}

/// The query of a request, parsed.
pub(crate) fn expression(params: &Params) -> Result<(String, Expr), ApiError> {
    let text = params.get("query").unwrap_or_default().to_owned();
    let expr =
        promql::parse(&text).map_err(|error| ApiError::parameter("query", parse_error(&error, &text)))?;
    Ok((text, expr))
}

/// What one query may use.
pub(crate) fn query_limits(limits: &Limits, timeout_ms: Option<i64>) -> Result<QueryLimits, ApiError> {
    let asked = timeout_ms.map(|ms| u64::try_from(ms).unwrap_or(0));
    if asked == Some(0) {
        return Err(ApiError::parameter("timeout", "it must be more than nothing"));
    }
    Ok(QueryLimits {
        series_max: limits.query_series,
        samples_max: limits.query_samples,
        memory_bytes_max: limits.query_memory_bytes,
        steps_max: limits.query_steps,
        time_ms_max: asked.unwrap_or(limits.query_ms).min(limits.query_ms),
        ..QueryLimits::default()
    })
}

/// Which stats are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stats {
    None,
    Some,
    All,
}

/// All that is asked of a query but where its data comes from.
struct Asked {
    text: String,
    expr: Expr,
    times: Times,
    limit: Option<usize>,
    stats: Stats,
    bytes_max: usize,
}

async fn ask(
    gateway: &Arc<Gateway>,
    reader: Reader,
    params: &Params,
    times: Times,
) -> Result<Response, ApiError> {
    let (text, expr) = expression(params)?;
    let config = gateway.config();
    let limits = query_limits(&config.limits, params.duration_ms("timeout")?)?;
    let lookback_ms = match params.duration_ms("lookback_delta")? {
        None => QueryOptions::default().lookback_ms,
        Some(ms) if ms > 0 => ms,
        Some(_) => return Err(ApiError::parameter("lookback_delta", "it must be more than nothing")),
    };
    let stats = match params.get("stats") {
        None => Stats::None,
        Some("all") => Stats::All,
        Some(_) => Stats::Some,
    };
    let bytes_max = config.limits.answer_bytes;
    let asked = Asked { text, expr, times, limit: params.limit()?, stats, bytes_max };
    let door = reader.door.with(limits, QueryOptions { lookback_ms, ..QueryOptions::default() });
    let (clock, own, number) = (gateway.clock.clone(), gateway.clone(), reader.tenant.number());
    let since = clock.monotonic();
    run(gateway, (&reader.tenant, limits.time_ms_max), door, move |door, budget| {
        let started = clock.monotonic();
        let queued = started.saturating_sub(since);
        let elapsed = || clock.monotonic().saturating_sub(started);
        let answered = answer(door, &asked, budget, queued, &elapsed);
        // What an operator asks is in the audit log, and nothing that a tenant is shown.
        if matches!(door, Door::Tenant(_)) {
            let is_answered = answered.is_ok();
            let at = Timestamp(clock.now_ms());
            own.asked.add(
                number,
                &asked.text,
                Took { time: elapsed(), samples: budget.samples(), is_answered, at },
            );
        }
        answered
    })
    .await
}

/// Has blocking work done for a reader, within what its tenant may have, and answers with its document.
pub(crate) async fn run(
    gateway: &Arc<Gateway>,
    (tenant, time_ms): (&annals::Tenant, u64),
    door: Door,
    work: impl FnOnce(&Door, &Budget) -> Result<Vec<u8>, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    let most = gateway.config().rates(tenant.id().as_str()).queries;
    let budget = Arc::new(door.budget());
    let wait = Duration::from_millis(time_ms);
    let done = gateway.pool.query(tenant.number(), most, wait, budget, move |budget| work(&door, budget));
    Ok(json_text(StatusCode::OK, done.await??))
}

fn answer(
    door: &Door,
    asked: &Asked,
    budget: &Budget,
    queued: Duration,
    elapsed: &dyn Fn() -> Duration,
) -> Result<Vec<u8>, ApiError> {
    let mut answer = door.answer(&asked.expr, asked.times, budget)?;
    let evaluated = elapsed();
    let render = |notes: &[promql::Annotation]| notes.iter().map(|note| note.render(&asked.text)).collect();
    let mut said = Said { stats: None, warnings: render(&answer.warnings), infos: render(&answer.infos) };
    if let Some(limit) = asked.limit
        && truncate(&mut answer.value, limit)
    {
        said.warnings.push("results truncated due to limit".to_owned());
    }
    if asked.stats != Stats::None {
        said.stats = Some(stats(asked, budget, queued, evaluated));
    }
    let at = match asked.times {
        Times::Instant(time) => time,
        Times::Range { start, .. } => start,
    };
    json::answer(&answer, at, &said, asked.bytes_max)
}

/// Whether there were more.
fn truncate(value: &mut Value, limit: usize) -> bool {
    let before = match value {
        Value::Vector(samples) => {
            let before = samples.len();
            samples.truncate(limit);
            before
        }
        Value::Matrix(series) => {
            let before = series.len();
            series.truncate(limit);
            before
        }
        Value::Scalar(..) | Value::String(_) => 0,
    };
    before > limit
}

/// The document of `data.stats`. Times of steps that this evaluator does not have are nothing.
fn stats(asked: &Asked, budget: &Budget, queued: Duration, evaluated: Duration) -> String {
    let (queued, evaluated) = (queued.as_secs_f64(), evaluated.as_secs_f64());
    // One column of 16 bytes a sample. All samples are read once for all steps: they count with the first.
    let (total, peak) = (budget.samples(), budget.memory_bytes_peak() / 16);
    let mut samples = json!({ "totalQueryableSamples": total, "peakSamples": peak });
    if let (Stats::All, Some(samples)) = (asked.stats, samples.as_object_mut()) {
        let at = match asked.times {
            Times::Instant(time) => time,
            Times::Range { start, .. } => start,
        };
        samples.insert("totalQueryableSamplesPerStep".to_owned(), json!([[at.0 as f64 / 1e3, total]]));
    }
    json!({
        "timings": {
            "evalTotalTime": queued + evaluated,
            "resultSortTime": 0.0,
            "queryPreparationTime": 0.0,
            "innerEvalTime": evaluated,
            "execQueueTime": queued,
            "execTotalTime": queued + evaluated,
        },
        "samples": samples,
    })
    .to_string()
}
