//! Prometheus and OpenMetrics text, `POST /api/v1/import/prometheus`: 204 where all of it was taken. `timestamp`, in
//! milliseconds, is the time of samples that tell none; else they are of now, and sent again they are other samples.

use std::collections::HashMap;
use std::sync::Arc;

use annals::signals::read::{Dialect, MetricsText, read_samples};
use annals::{LabelSet, SampleBatch, SeriesKind, Timestamp};
use axum::extract::State;
use axum::http::StatusCode;

use super::{Incoming, IngestError};
use crate::app::Gateway;

const OPENMETRICS: &str = "application/openmetrics-text";

/// Takes a body.
pub(crate) async fn import(
    State(gateway): State<Arc<Gateway>>,
    incoming: Incoming,
) -> Result<StatusCode, IngestError> {
    let now = Timestamp(gateway.clock.now_ms());
    let default_time = match incoming.params.get("timestamp").map(str::parse) {
        None => None,
        Some(Ok(ms)) => Some(Timestamp(ms)),
        Some(Err(_)) => return Err(IngestError::bad("timestamp is no number of milliseconds")),
    };
    let (by_body, fresh, site) = (incoming.batch_id(), incoming.fresh_id()?, incoming.site()?);
    let by_type = (incoming.content_type == OPENMETRICS).then_some(Dialect::OpenMetrics);
    let written = incoming.write(move |tenant, body| {
        let mut batch = SampleBatch::new(by_body, site);
        let mut series: HashMap<(LabelSet, SeriesKind), u32> = HashMap::new();
        let mut wrong = None;
        let mut reader = MetricsText::new(by_type.unwrap_or_else(|| Dialect::detect(body)), default_time);
        let mut sink =
            |labels: &[(&str, &str)], kind, time: Option<Timestamp>, value| match LabelSet::from_pairs(
                labels.iter().copied(),
            ) {
                Ok(labels) => {
                    let known = series.entry((labels, kind));
                    let at = *known.or_insert_with_key(|(labels, kind)| batch.series(labels.clone(), *kind));
                    if time.is_none() {
                        batch.id = fresh;
                    }
                    batch.samples.push((at, time.unwrap_or(now), value));
                }
                Err(error) => wrong = Some(error.to_string()),
            };
        let tally = read_samples(&mut reader, body, &mut sink);
        if let Some(line) = tally.first_unreadable {
            return Err(IngestError::Bad(format!(
                "line {line} is not of the text format; nothing was written"
            )));
        }
        if let Some(wrong) = wrong {
            return Err(IngestError::Bad(format!("{wrong}; nothing was written")));
        }
        Ok(vec![tenant.write_samples(&batch)?])
    });
    let refused =
        written.await?.iter().find_map(|own| own.refused.first().map(|(_, refusal)| refusal.to_string()));
    match refused {
        None => Ok(StatusCode::NO_CONTENT),
        Some(why) => {
            Err(IngestError::Bad(format!("some samples were refused, the others are counted: {why}")))
        }
    }
}
