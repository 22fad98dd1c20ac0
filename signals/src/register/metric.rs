//! Metrics of a registered kind.

use std::sync::Arc;

use annals_model::schema::{FieldSchema, FieldType, MetricSchema};
use serde::Deserialize;
use toml::Spanned;

use super::{METRICS_MAX, Place, SchemaError, SchemaFault, is_word};
use crate::reserved::{DURATION_SUFFIXES, ReservedMetrics};

/// The most labels of a metric, `site` and `le` aside.
const METRIC_LABELS_MAX: usize = 8;
/// The most bucket bounds of a durations metric.
const BUCKETS_MAX: usize = 32;
/// Bounds stay below 10^6 s: from there on Prometheus prints them with an exponent.
const BOUND_MS_MAX: i64 = 999_999_999;
/// The most different values of an integer that may become a label.
const INTEGER_LABEL_VALUES_MAX: u64 = 1_000;

/// A `[[kind.metric]]` table: the keys of both types at once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMetric {
    name: Spanned<String>,
    r#type: Spanned<String>,
    #[serde(default)]
    labels: Vec<Spanned<String>>,
    field: Option<Spanned<String>>,
    bounds_ms: Option<Spanned<Vec<Spanned<i64>>>>,
}

/// Checks the metrics of one kind and reserves their names.
pub(super) fn metrics(
    raw: Vec<RawMetric>,
    fields: &[FieldSchema],
    reserved: &mut ReservedMetrics,
    place: &mut Place<'_>,
) -> Result<Vec<MetricSchema>, SchemaError> {
    if raw.len() > METRICS_MAX {
        return Err(place.fault(SchemaFault::TooMany {
            what: "metrics",
            count: raw.len(),
            limit: METRICS_MAX,
        }));
    }
    let mut metrics = Vec::with_capacity(raw.len());
    for metric in raw {
        place.part = None;
        let name: Arc<str> = metric.name.get_ref().as_str().into();
        if !is_word(&name) {
            let rule = "[a-z0-9_], beginning with a letter";
            return Err(place.at(&metric.name, "name", SchemaFault::InvalidName { rule }));
        }
        place.part = Some(("metric", name.clone()));
        let checked = match metric.r#type.get_ref().as_str() {
            "count" => count(&metric, name, fields, place)?,
            "durations" => durations(&metric, name, fields, place)?,
            _ => {
                let types = "count, durations";
                return Err(place.at(&metric.r#type, "type", SchemaFault::UnknownType { types }));
            }
        };
        if !reserved.reserve(&checked) {
            let by = "another derived metric, or one of its parts";
            return Err(place.at(&metric.name, "name", SchemaFault::NameTaken { by }));
        }
        metrics.push(checked);
    }
    place.part = None;
    Ok(metrics)
}

fn count(
    raw: &RawMetric,
    name: Arc<str>,
    fields: &[FieldSchema],
    place: &Place<'_>,
) -> Result<MetricSchema, SchemaError> {
    let unused = SchemaFault::KeyUnused { of: "count" };
    if let Some(field) = &raw.field {
        return Err(place.at(field, "field", unused));
    }
    if let Some(bounds) = &raw.bounds_ms {
        return Err(place.at(bounds, "bounds_ms", unused));
    }
    if DURATION_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) {
        let rule = "without the suffixes _bucket, _sum and _count, which mean parts of a durations metric";
        return Err(place.at(&raw.name, "name", SchemaFault::InvalidName { rule }));
    }
    Ok(MetricSchema::Count { name, labels: labels(raw, fields, place)? })
}

fn durations(
    raw: &RawMetric,
    name: Arc<str>,
    fields: &[FieldSchema],
    place: &Place<'_>,
) -> Result<MetricSchema, SchemaError> {
    let missing = |key| place.at(&raw.r#type, key, SchemaFault::KeyMissing { of: "durations" });
    let field_name = raw.field.as_ref().ok_or_else(|| missing("field"))?;
    let list = raw.bounds_ms.as_ref().ok_or_else(|| missing("bounds_ms"))?;
    let (field, field_type) = find(field_name, "field", fields, place)?;
    if !matches!(field_type, FieldType::Duration { .. }) {
        let of = type_word(field_type);
        return Err(place.at(field_name, "field", SchemaFault::NotADuration { of }));
    }
    let bounds = list.get_ref();
    if bounds.is_empty() {
        return Err(place.at(list, "bounds_ms", SchemaFault::Empty));
    }
    if bounds.len() > BUCKETS_MAX {
        let fault = SchemaFault::TooMany { what: "bounds", count: bounds.len(), limit: BUCKETS_MAX };
        return Err(place.at(list, "bounds_ms", fault));
    }
    let mut bounds_ms: Vec<i64> = Vec::with_capacity(bounds.len());
    for bound in bounds {
        let number = *bound.get_ref();
        if !(1..=BOUND_MS_MAX).contains(&number) {
            return Err(place.at(bound, "bounds_ms", SchemaFault::OutOfRange { min: 1, max: BOUND_MS_MAX }));
        }
        if bounds_ms.last().is_some_and(|&before| number <= before) {
            return Err(place.at(bound, "bounds_ms", SchemaFault::BoundsNotAscending));
        }
        bounds_ms.push(number);
    }
    Ok(MetricSchema::Durations { name, labels: labels(raw, fields, place)?, field, bounds_ms })
}

fn labels(raw: &RawMetric, fields: &[FieldSchema], place: &Place<'_>) -> Result<Vec<usize>, SchemaError> {
    if raw.labels.len() > METRIC_LABELS_MAX {
        let (count, limit) = (raw.labels.len(), METRIC_LABELS_MAX);
        return Err(place.fault(SchemaFault::TooMany { what: "labels", count, limit }));
    }
    let mut labels = Vec::with_capacity(raw.labels.len());
    for label in &raw.labels {
        let (position, field_type) = find(label, "labels", fields, place)?;
        let why = match field_type {
            FieldType::Enumeration(_) | FieldType::HttpStatus | FieldType::Name { .. } => None,
            FieldType::Integer { min, max } => (max.abs_diff(*min) >= INTEGER_LABEL_VALUES_MAX)
                .then_some("its bounds span over 1,000 values"),
            FieldType::Pseudonym | FieldType::ChangeDigest => Some("keyed hashes stay in raw signals"),
            FieldType::Duration { .. } | FieldType::SizeDelta => Some("its values have no small bound"),
            FieldType::Flags(_) => Some("a set is not one value"),
        };
        if let Some(why) = why {
            let of = type_word(field_type);
            return Err(place.at(label, "labels", SchemaFault::NotALabel { of, why }));
        }
        if labels.contains(&position) {
            return Err(place.at(
                label,
                "labels",
                SchemaFault::NameTaken { by: "an earlier label of the metric" },
            ));
        }
        labels.push(position);
    }
    Ok(labels)
}

fn find<'f>(
    name: &Spanned<String>,
    key: &'static str,
    fields: &'f [FieldSchema],
    place: &Place<'_>,
) -> Result<(usize, &'f FieldType), SchemaError> {
    let found = fields.iter().enumerate().find(|(_, field)| &*field.name == name.get_ref().as_str());
    found
        .map(|(position, field)| (position, &field.field_type))
        .ok_or_else(|| place.at(name, key, SchemaFault::UnknownField))
}

fn type_word(field_type: &FieldType) -> &'static str {
    match field_type {
        FieldType::Enumeration(_) => "enumeration",
        FieldType::Integer { .. } => "integer",
        FieldType::Duration { .. } => "duration",
        FieldType::HttpStatus => "http_status",
        FieldType::Name { .. } => "name",
        FieldType::Pseudonym => "pseudonym",
        FieldType::ChangeDigest => "change_digest",
        FieldType::SizeDelta => "size_delta",
        FieldType::Flags(_) => "flags",
    }
}
