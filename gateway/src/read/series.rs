//! What there is to ask about: series, labels, and kinds of metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals::query::promql::QueryOptions;
use annals::{Budget, LabelSet, METRIC_NAME, Matcher, SelectedSeries, SeriesKind, TimeRange};
use axum::extract::{Path, State};
use axum::response::Response;

use super::json::{Json, Said, too_long};
use super::query::{query_limits, run};
use crate::access::{Door, Reader};
use crate::app::Gateway;
use crate::params::Params;
use crate::reply::ApiError;

const TRUNCATED: &str = "results truncated due to limit";

/// `series`: those that any of the selectors finds.
pub(crate) async fn series(
    State(gateway): State<Arc<Gateway>>,
    reader: Reader,
    params: Params,
) -> Result<Response, ApiError> {
    let selectors = params.selectors()?;
    if selectors.is_empty() {
        return Err(ApiError::bad_data("no match[] parameter provided"));
    }
    let (range, limit) = (params.range()?, params.limit()?);
    look(&gateway, reader, move |door, budget, bytes_max| {
        let mut found: Vec<LabelSet> = Vec::new();
        let mut said = Said::default();
        for matchers in &selectors {
            let selected = door.source().select_labels(matchers, range, budget)?;
            found.extend((0..selected.len()).map(|index| selected.labels(index)));
            said.warn_of(&*selected);
        }
        found.sort_unstable();
        found.dedup();
        reply(&found, limit, said, bytes_max, |json, labels| json.labels(labels))
    })
    .await
}

/// `labels`: names.
pub(crate) async fn labels(
    State(gateway): State<Arc<Gateway>>,
    reader: Reader,
    params: Params,
) -> Result<Response, ApiError> {
    texts(&gateway, reader, &params, |selected| selected.label_names()).await
}

/// `label/<name>/values`
pub(crate) async fn label_values(
    State(gateway): State<Arc<Gateway>>,
    reader: Reader,
    Path(name): Path<String>,
    params: Params,
) -> Result<Response, ApiError> {
    let name = unescaped(&name).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| ApiError::bad_data("invalid label name"))?;
    texts(&gateway, reader, &params, move |selected| selected.label_values(&name)).await
}

/// `metadata`: the kind of each metric; help and unit are not kept.
pub(crate) async fn metadata(
    State(gateway): State<Arc<Gateway>>,
    reader: Reader,
    params: Params,
) -> Result<Response, ApiError> {
    let matchers = match params.get("metric") {
        Some(metric) => vec![Matcher::equal(METRIC_NAME, metric)],
        None => Vec::new(),
    };
    let limit = params.limit()?;
    look(&gateway, reader, move |door, budget, bytes_max| {
        let selected = door.source().select_labels(&matchers, TimeRange::ALL, budget)?;
        let mut kinds: BTreeMap<String, SeriesKind> = BTreeMap::new();
        for index in 0..selected.len() {
            let labels = selected.labels(index);
            kinds.entry(labels.get(METRIC_NAME).to_owned()).or_insert_with(|| selected.kind(index));
        }
        let mut json = Json::new();
        json.raw("{\"status\":\"success\",\"data\":{");
        let mut first = true;
        for (metric, kind) in kinds.iter().take(limit.unwrap_or(usize::MAX)) {
            json.comma(&mut first);
            json.text(metric);
            json.raw(":[{\"type\":");
            json.text(kind_name(*kind));
            json.raw(",\"help\":\"\",\"unit\":\"\"}]");
            if json.len() > bytes_max {
                return Err(too_long(bytes_max));
            }
        }
        json.raw("}");
        let mut said = Said::default();
        said.warn_of(&*selected);
        json.end(&said);
        Ok(json.finish())
    })
    .await
}

/// What Prometheus calls a kind of series.
fn kind_name(kind: SeriesKind) -> &'static str {
    match kind {
        SeriesKind::Gauge => "gauge",
        SeriesKind::Counter | SeriesKind::Delta => "counter",
        SeriesKind::Histogram | SeriesKind::DeltaHistogram => "histogram",
    }
}

/// A list of texts, of what any of the selectors finds or, without one, of all.
async fn texts(
    gateway: &Arc<Gateway>,
    reader: Reader,
    params: &Params,
    of: impl Fn(&dyn SelectedSeries) -> Vec<String> + Send + 'static,
) -> Result<Response, ApiError> {
    let (mut selectors, range, limit) = (params.selectors()?, params.range()?, params.limit()?);
    if selectors.is_empty() {
        selectors.push(Vec::new());
    }
    look(gateway, reader, move |door, budget, bytes_max| {
        let (mut found, mut said) = (Vec::new(), Said::default());
        for matchers in &selectors {
            let selected = door.source().select_labels(matchers, range, budget)?;
            found.extend(of(&*selected));
            said.warn_of(&*selected);
        }
        found.sort_unstable();
        found.dedup();
        reply(&found, limit, said, bytes_max, |json, text| json.text(text))
    })
    .await
}

/// The document of a list, cut where a limit says so.
fn reply<T>(
    found: &[T],
    limit: Option<usize>,
    mut said: Said,
    bytes_max: usize,
    write: impl FnMut(&mut Json, &T),
) -> Result<Vec<u8>, ApiError> {
    let limit = limit.unwrap_or(usize::MAX);
    if found.len() > limit {
        said.warnings.push(TRUNCATED.to_owned());
    }
    let mut json = Json::new();
    json.raw("{\"status\":\"success\",\"data\":");
    json.list(found.iter().take(limit), bytes_max, write)?;
    json.end(&said);
    Ok(json.finish())
}

/// Has something looked up, within what a query may use.
async fn look(
    gateway: &Arc<Gateway>,
    reader: Reader,
    work: impl FnOnce(&Door, &Budget, usize) -> Result<Vec<u8>, ApiError> + Send + 'static,
) -> Result<Response, ApiError> {
    let config = gateway.config();
    let limits = query_limits(&config.limits, None)?;
    let door = reader.door.with(limits, QueryOptions::default());
    let bytes_max = config.limits.answer_bytes;
    run(gateway, (&reader.tenant, limits.time_ms_max), door, move |door, budget| {
        work(door, budget, bytes_max)
    })
    .await
}

/// A name that clients escape because it is not of letters, digits and `_` alone: `U__`, then `_` doubled and other characters
/// as their code between `_`.
fn unescaped(name: &str) -> Option<String> {
    let Some(rest) = name.strip_prefix("U__") else { return Some(name.to_owned()) };
    let mut text = String::with_capacity(rest.len());
    let mut left = rest;
    while let Some((plain, after)) = left.split_once('_') {
        text.push_str(plain);
        if let Some(after) = after.strip_prefix('_') {
            text.push('_');
            left = after;
            continue;
        }
        let (code, after) = after.split_once('_')?;
        let code = (1..=6).contains(&code.len()).then(|| u32::from_str_radix(code, 16).ok())??;
        text.push(char::from_u32(code)?);
        left = after;
    }
    text.push_str(left);
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_read_as_clients_write_them() {
        for (escaped, name) in [
            ("job", Some("job")),
            ("U__a_2e_b", Some("a.b")),
            ("U__http_2e_status__code", Some("http.status_code")),
            ("U___1f600_", Some("😀")),
            ("U__a_2e", None),
            ("U__a_zz_", None),
            ("U__a_110000_", None),
            ("U__a_1234567_", None),
        ] {
            assert_eq!(unescaped(escaped).as_deref(), name, "{escaped}");
        }
    }
}
