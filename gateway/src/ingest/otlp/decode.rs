//! `ExportMetricsServiceRequest`, read as it lies: only one point at a time is held.

use std::collections::BTreeMap;

use annals::{
    FloatForm, HISTOGRAM_BUCKETS_MAX, LABEL_VALUE_BYTES_MAX, RefusalReason, Timestamp, format_float,
};

use super::super::series::Samples;
use super::points::{self, Metric, Point, Resource, Shape, Side, Temporality, Value};
use crate::wire::{Broken, Field, Message, zigzag};

/// The most attributes of a point or resource that are looked at: labels are fewer.
const ATTRIBUTES_MAX: usize = 256;
/// The most quantiles of a summary.
const QUANTILES_MAX: usize = 1_000;

/// What became of a request's points.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Points {
    pub(super) all: u64,
    /// Those that are no samples, by reason.
    pub(super) rejected: BTreeMap<&'static str, u64>,
}

/// Takes the points of a body.
pub(super) fn decode(body: &[u8], samples: &mut Samples<'_>) -> Result<Points, Broken> {
    let mut points = Points::default();
    let mut request = Message::new(body);
    while let Some((number, field)) = request.next()? {
        if number == 1 {
            resource_metrics(field.message(&request)?, samples, &mut points)?;
        }
    }
    Ok(points)
}

fn resource_metrics(
    message: Message<'_>,
    samples: &mut Samples<'_>,
    points: &mut Points,
) -> Result<(), Broken> {
    let mut attributes = BTreeMap::new();
    let mut all = message;
    while let Some((number, field)) = all.next()? {
        if number == 1 {
            let mut resource = field.message(&all)?;
            while let Some((number, field)) = resource.next()? {
                if number == 1 {
                    attribute(field.message(&resource)?, &mut attributes)?;
                }
            }
        }
    }
    let mut resource = Resource::new(attributes);
    let mut all = message;
    while let Some((number, field)) = all.next()? {
        if number == 2 {
            let mut scope = field.message(&all)?;
            while let Some((number, field)) = scope.next()? {
                if number == 2 {
                    metric(field.message(&scope)?, &mut resource, samples, points)?;
                }
            }
        }
    }
    resource.finish(samples);
    Ok(())
}

fn metric(
    message: Message<'_>,
    resource: &mut Resource,
    samples: &mut Samples<'_>,
    points: &mut Points,
) -> Result<(), Broken> {
    let (mut name, mut unit, mut data) = ("", "", None);
    let mut all = message;
    while let Some((number, field)) = all.next()? {
        match number {
            1 => name = field.message(&all)?.text()?,
            3 => unit = field.message(&all)?.text()?,
            5 | 7 | 9 | 10 | 11 => data = Some((number, field.message(&all)?)),
            _ => {}
        }
    }
    let Some((which, data)) = data else { return Ok(()) };
    let (mut temporality, mut monotonic) = (Temporality::Unknown, false);
    let mut all = data;
    while let Some((number, field)) = all.next()? {
        match number {
            2 => {
                temporality = match field.varint(&all)? {
                    1 => Temporality::Delta,
                    2 => Temporality::Cumulative,
                    _ => Temporality::Unknown,
                }
            }
            3 => monotonic = field.varint(&all)? != 0,
            _ => {}
        }
    }
    let shape = match which {
        5 => Shape::Gauge,
        7 => Shape::Sum { monotonic },
        9 => Shape::Histogram,
        10 => Shape::Exponential,
        _ => Shape::Summary,
    };
    let metric = Metric::new(name, unit, shape, temporality);
    let mut all = data;
    while let Some((number, field)) = all.next()? {
        if number == 1 {
            let point = point(shape, field.message(&all)?)?;
            points.all += 1;
            if let Err(reason) = metric.point(resource, point, samples) {
                reject(points, reason);
            }
        }
    }
    Ok(())
}

fn reject(points: &mut Points, reason: RefusalReason) {
    *points.rejected.entry(reason.word()).or_default() += 1;
}

fn point(shape: Shape, mut message: Message<'_>) -> Result<Point, Broken> {
    let mut attributes = BTreeMap::new();
    let (mut time, mut start, mut flags, mut count, mut sum, mut value) = (0, 0, 0, 0, None, 0.0);
    let (mut bounds, mut counts, mut quantiles) = (Vec::new(), Vec::new(), Vec::new());
    let (mut scale, mut zero_threshold, mut zero_count) = (0, 0.0, 0);
    let (mut positive, mut negative) = (Side::default(), Side::default());
    while let Some((number, field)) = message.next()? {
        match (shape, number) {
            (Shape::Gauge | Shape::Sum { .. } | Shape::Summary, 7)
            | (Shape::Histogram, 9)
            | (Shape::Exponential, 1) => attribute(field.message(&message)?, &mut attributes)?,
            (_, 2) => start = field.fixed64(&message)?,
            (_, 3) => time = field.fixed64(&message)?,
            (Shape::Gauge | Shape::Sum { .. }, 4) => value = field.double(&message)?,
            (Shape::Gauge | Shape::Sum { .. }, 6) => value = field.fixed64(&message)? as i64 as f64,
            (Shape::Gauge | Shape::Sum { .. } | Shape::Summary, 8)
            | (Shape::Histogram | Shape::Exponential, 10) => flags = field.varint(&message)?,
            (Shape::Histogram | Shape::Exponential | Shape::Summary, 4) => count = field.fixed64(&message)?,
            (Shape::Histogram | Shape::Exponential | Shape::Summary, 5) => {
                sum = Some(field.double(&message)?);
            }
            (Shape::Histogram, 6) => field.fixed64s(&message, HISTOGRAM_BUCKETS_MAX, &mut counts)?,
            (Shape::Histogram, 7) => field.fixed64s(&message, HISTOGRAM_BUCKETS_MAX, &mut bounds)?,
            (Shape::Exponential, 6) => scale = zigzag(field.varint(&message)?),
            (Shape::Exponential, 7) => zero_count = field.fixed64(&message)?,
            (Shape::Exponential, 8) => positive = side(field.message(&message)?)?,
            (Shape::Exponential, 9) => negative = side(field.message(&message)?)?,
            (Shape::Exponential, 14) => zero_threshold = field.double(&message)?,
            (Shape::Summary, 6) => quantiles.push(quantile(field.message(&message)?)?),
            _ => {}
        }
        if quantiles.len() > QUANTILES_MAX {
            return Err(message.broken());
        }
    }
    let value = match shape {
        Shape::Gauge | Shape::Sum { .. } => Value::Number(value),
        Shape::Histogram => {
            Value::Histogram { bounds: bounds.into_iter().map(f64::from_bits).collect(), counts }
        }
        Shape::Exponential => Value::Exponential { scale, zero_threshold, zero_count, positive, negative },
        Shape::Summary => Value::Summary { quantiles },
    };
    let known = |nanos: u64| (nanos > 0).then_some(Timestamp((nanos / 1_000_000) as i64));
    let (time, start) = (known(time), known(start));
    Ok(Point { labels: points::labels(attributes), time, start, ended: flags & 1 == 1, count, sum, value })
}

fn side(mut message: Message<'_>) -> Result<Side, Broken> {
    let mut side = Side::default();
    while let Some((number, field)) = message.next()? {
        match number {
            1 => side.offset = zigzag(field.varint(&message)?),
            2 => field.varints(&message, HISTOGRAM_BUCKETS_MAX, &mut side.counts)?,
            _ => {}
        }
    }
    Ok(side)
}

fn quantile(mut message: Message<'_>) -> Result<(f64, f64), Broken> {
    let mut own = (0.0, 0.0);
    while let Some((number, field)) = message.next()? {
        match number {
            1 => own.0 = field.double(&message)?,
            2 => own.1 = field.double(&message)?,
            _ => {}
        }
    }
    Ok(own)
}

/// Adds a `KeyValue`.
fn attribute(mut message: Message<'_>, into: &mut BTreeMap<String, String>) -> Result<(), Broken> {
    let (mut key, mut value) = ("", String::new());
    while let Some((number, field)) = message.next()? {
        match number {
            1 => key = field.message(&message)?.text()?,
            2 => value = any_value(field.message(&message)?, true)?,
            _ => {}
        }
    }
    if !key.is_empty() && into.len() < ATTRIBUTES_MAX {
        into.insert(key.to_owned(), value);
    }
    Ok(())
}

/// A value as text, as OpenTelemetry has it outside its own protocol: lists in brackets, what lies deeper is left out. More
/// than a label may hold is not gone through.
fn any_value(mut message: Message<'_>, lists: bool) -> Result<String, Broken> {
    let mut text = String::new();
    while let Some((number, field)) = message.next()? {
        text = match (number, field) {
            (1, Field::Bytes(own)) => own.text()?.to_owned(),
            (2, Field::Varint(own)) => (own != 0).to_string(),
            (3, Field::Varint(own)) => (own as i64).to_string(),
            (4, Field::Fixed64(bits)) => format_float(f64::from_bits(bits), FloatForm::Short),
            (5, Field::Bytes(mut own)) if lists => {
                let mut all = "[".to_owned();
                while let Some((number, field)) = own.next()? {
                    if number == 1 && all.len() <= LABEL_VALUE_BYTES_MAX {
                        let item = field.message(&own)?;
                        let is_text = item.bytes().first() == Some(&0x0a);
                        let item = any_value(item, false)?;
                        if all.len() > 1 {
                            all.push(',');
                        }
                        all.push_str(&if is_text { format!("{item:?}") } else { item });
                    }
                }
                all + "]"
            }
            _ => continue,
        };
    }
    Ok(text)
}
