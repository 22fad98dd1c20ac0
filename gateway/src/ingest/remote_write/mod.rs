//! Remote write 1.0 and 2.0 of Prometheus, `POST /api/v1/write`: `prometheus.WriteRequest`, the default, and
//! `io.prometheus.write.v2.Request`, as `proto` in the Content-Type says.
//!
//! | sent                | becomes                                                                              |
//! |---------------------|--------------------------------------------------------------------------------------|
//! | sample              | a sample; the stale marker of a series of histograms ends that series                |
//! | native histogram    | the same, schemas -4 to 8 and custom buckets                                         |
//! | type (2.0)          | counter or gauge; in 1.0, which says types apart from series, the name's ending tells |
//! | start time (2.0)    | when the counter or histogram began                                                  |
//! | exemplar, help, unit | nothing                                                                             |
//!
//! What is wrong with one series harms no other: its samples are counted as refused. A body that is no Protobuf of this
//! kind leaves nothing behind.
//!
//! Answers: 204, or 400 with how many were refused for which reason; the others are counted either way, so there is nothing to
//! send again. Version 2 is also told how many samples, histograms and exemplars were written. A body that is sent again is
//! counted once, as long as the engine remembers its batches.

mod histogram;
mod v1;
mod v2;

use std::sync::Arc;

use annals::{METRIC_NAME, Timestamp};
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::series::{Form, Samples};
use super::{Incoming, IngestError};
use crate::app::Gateway;
use crate::reply::ApiError;
use crate::wire::{Broken, Message};

/// The most labels of a series that are looked at: one more than it may have.
const LABELS_LOOKED_AT: usize = annals::LABELS_MAX + 1;

const SAMPLES_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-samples-written");
const HISTOGRAMS_WRITTEN: HeaderName =
    HeaderName::from_static("x-prometheus-remote-write-histograms-written");
const EXEMPLARS_WRITTEN: HeaderName = HeaderName::from_static("x-prometheus-remote-write-exemplars-written");

/// What a request held besides its samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Extras {
    pub(crate) exemplars: u64,
}

/// Which of the two versions a body is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

impl Version {
    fn of(headers: &HeaderMap) -> Result<Version, IngestError> {
        let told = headers.get(CONTENT_TYPE).and_then(|own| own.to_str().ok()).unwrap_or_default();
        let mut parts = told.split(';').map(str::trim);
        if !matches!(parts.next(), Some("" | "application/x-protobuf")) {
            return Err(IngestError::Unsupported("remote write is application/x-protobuf".to_owned()));
        }
        match parts.find_map(|part| part.strip_prefix("proto=")) {
            None | Some("prometheus.WriteRequest") => Ok(Version::One),
            Some("io.prometheus.write.v2.Request") => Ok(Version::Two),
            Some(_) => Err(IngestError::Unsupported(
                "proto is neither prometheus.WriteRequest nor io.prometheus.write.v2.Request".to_owned(),
            )),
        }
    }
}

/// Takes a body.
pub(crate) async fn write(
    State(gateway): State<Arc<Gateway>>,
    incoming: Incoming,
) -> Result<Response, IngestError> {
    let version = Version::of(&incoming.headers)?;
    let form = if version == Version::One { Form::RemoteWrite } else { Form::RemoteWrite2 };
    let decoded = incoming.samples(&gateway, form, String::new(), move |body, samples| {
        decode(version, body, samples).map_err(IngestError::bad)
    });
    let (outcome, extras) = decoded.await?;
    let mut reply = match outcome.refusals() {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(refused) => ApiError::bad_data(refused).into_response(),
    };
    if version == Version::Two {
        let written = [
            (SAMPLES_WRITTEN, outcome.samples),
            (HISTOGRAMS_WRITTEN, outcome.histograms),
            (EXEMPLARS_WRITTEN, 0),
        ];
        reply.headers_mut().extend(written.map(|(name, count)| (name, HeaderValue::from(count))));
    }
    if extras.exemplars > 0 {
        tracing::debug!(exemplars = extras.exemplars, "exemplars are not kept");
    }
    Ok(reply)
}

/// Takes the samples of a body.
pub(crate) fn decode(version: Version, body: &[u8], samples: &mut Samples<'_>) -> Result<Extras, Broken> {
    match version {
        Version::One => v1::decode(body, samples),
        Version::Two => v2::decode(body, samples),
    }
}

fn metric_of<'a>(labels: &[(&str, &'a str)]) -> &'a str {
    labels.iter().find(|(name, _)| *name == METRIC_NAME).map_or("", |(_, metric)| metric)
}

/// When a sample says that what it counts began, or its series; 0 is nothing said.
fn began(start: i64, created: i64) -> Option<Timestamp> {
    [start, created].into_iter().find(|told| *told != 0).map(Timestamp)
}

/// Time, value and start (0 where it says none) of a sample, of either version.
#[inline]
fn sample(mut message: Message<'_>) -> Result<(Timestamp, f64, i64), Broken> {
    let (mut time, mut value, mut start) = (0, 0.0, 0);
    while let Some((number, field)) = message.next()? {
        match number {
            1 => value = field.double(&message)?,
            2 => time = field.varint(&message)? as i64,
            3 => start = field.varint(&message)? as i64,
            _ => {}
        }
    }
    Ok((Timestamp(time), value, start))
}

#[cfg(test)]
mod tests;
