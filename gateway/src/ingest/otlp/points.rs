//! From points of OpenTelemetry to samples.
//!
//! | sent                                    | becomes                                                            |
//! |-----------------------------------------|--------------------------------------------------------------------|
//! | gauge, cumulative sum that may fall     | gauge                                                              |
//! | cumulative sum that only grows          | counter, `_total`                                                  |
//! | delta sum                               | delta: what Annals keeps of events itself                          |
//! | cumulative histogram                    | counters `_bucket{le}`, `_sum`, `_count`                            |
//! | delta histogram                         | delta histogram with custom buckets                                |
//! | exponential histogram                   | native histogram, cumulative or delta; scales above 8 are brought to 8 |
//! | summary                                 | gauge by `quantile`, counters `_sum`, `_count`                      |
//! | point without a recorded value          | the mark of a series' end; nothing, of a delta                     |

use std::collections::BTreeMap;

use annals::signals::read::{SampleSink, by_itself};
use annals::{
    CUSTOM_BUCKETS_SCHEMA, FloatForm, Histogram, METRIC_NAME, RefusalReason, STALE_NAN_BITS, SeriesKind,
    Timestamp, format_float,
};

use super::super::series::Samples;
use super::names::{self, Ending};

/// How far the zero bucket reaches where nobody says, as in Prometheus.
const ZERO_THRESHOLD: f64 = 1e-128;
/// The finest schema there is.
const SCHEMA_MAX: i32 = 8;

/// Labels by name.
pub(super) type Labels = BTreeMap<String, String>;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Gauge,
    Sum { monotonic: bool },
    Histogram,
    Exponential,
    Summary,
}

/// What a metric's points add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Temporality {
    Unknown,
    Delta,
    Cumulative,
}

/// A metric, without its points.
#[derive(Debug)]
pub(super) struct Metric {
    name: String,
    shape: Shape,
    temporality: Temporality,
}

/// One side of an exponential histogram: the index of its first bucket, and what each counts.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) offset: i64,
    pub(super) counts: Vec<u64>,
}

/// A point's value.
#[derive(Debug)]
pub(super) enum Value {
    Number(f64),
    Histogram { bounds: Vec<f64>, counts: Vec<u64> },
    Exponential { scale: i64, zero_threshold: f64, zero_count: u64, positive: Side, negative: Side },
    Summary { quantiles: Vec<(f64, f64)> },
}

/// A point.
#[derive(Debug)]
pub(super) struct Point {
    pub(super) labels: Labels,
    /// `None` where it tells none.
    pub(super) time: Option<Timestamp>,
    /// When what it counts began; `None` where it does not tell.
    pub(super) start: Option<Timestamp>,
    /// No value was recorded.
    pub(super) ended: bool,
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    pub(super) value: Value,
}

/// What a resource says of all its points.
#[derive(Debug, Default)]
pub(super) struct Resource {
    /// `job` and `instance`.
    target: Labels,
    /// All else.
    info: Labels,
    /// When its latest point was.
    latest: Option<Timestamp>,
}

impl Resource {
    /// What attributes say.
    pub(super) fn new(mut attributes: BTreeMap<String, String>) -> Resource {
        let mut target = Labels::new();
        let namespace = attributes.remove("service.namespace").filter(|own| !own.is_empty());
        if let Some(service) = attributes.remove("service.name").filter(|own| !own.is_empty()) {
            let job = namespace.map_or(service.clone(), |namespace| format!("{namespace}/{service}"));
            target.insert("job".to_owned(), job);
        }
        if let Some(instance) = attributes.remove("service.instance.id").filter(|own| !own.is_empty()) {
            target.insert("instance".to_owned(), instance);
        }
        Resource { target, info: labels(attributes), latest: None }
    }

    /// Adds `target_info`, which queries join what the resource says by.
    pub(super) fn finish(&self, samples: &mut Samples<'_>) {
        if let Some(latest) = self.latest
            && !self.target.is_empty()
            && !self.info.is_empty()
        {
            let mut all = self.info.clone();
            all.extend(self.target.clone());
            let series = number_of(samples, "target_info", &all, None, SeriesKind::Gauge);
            samples.sample(series, Some(latest), 1.0);
        }
    }
}

/// Attributes as labels: those that become one label share it.
pub(super) fn labels(attributes: BTreeMap<String, String>) -> Labels {
    let mut labels = Labels::new();
    for (key, value) in attributes {
        let name = names::label(&key);
        if name == METRIC_NAME || value.is_empty() {
            continue;
        }
        let shared = labels.entry(name).or_default();
        if !shared.is_empty() {
            shared.push(';');
        }
        shared.push_str(&value);
    }
    labels
}

/// The number of a series.
fn number_of(
    samples: &mut Samples<'_>,
    name: &str,
    labels: &Labels,
    more: Option<(&str, &str)>,
    kind: SeriesKind,
) -> u32 {
    let named = labels.iter().filter(|(name, _)| more.is_none_or(|(own, _)| own != **name));
    let named = named.map(|(name, value)| (name.as_str(), value.as_str()));
    let all: Vec<(&str, &str)> = [(METRIC_NAME, name)].into_iter().chain(named).chain(more).collect();
    let mut key = Vec::with_capacity(256);
    for text in all.iter().flat_map(|(name, value)| [name, value]) {
        key.extend_from_slice(&(text.len() as u64).to_le_bytes());
        key.extend_from_slice(text.as_bytes());
    }
    let within = by_itself(kind);
    samples.find(within, &key).unwrap_or_else(|| samples.series(within, &key, &all, kind))
}

impl Metric {
    /// A metric as its sender names it.
    pub(super) fn new(name: &str, unit: &str, shape: Shape, temporality: Temporality) -> Metric {
        let ending = match shape {
            Shape::Sum { monotonic: true } => Ending::Total,
            Shape::Gauge => Ending::Gauge,
            _ => Ending::None,
        };
        Metric { name: names::metric(name, unit, ending), shape, temporality }
    }

    /// Adds the samples of a point; says where it is refused, why.
    pub(super) fn point(
        &self,
        resource: &mut Resource,
        point: Point,
        samples: &mut Samples<'_>,
    ) -> Result<(), RefusalReason> {
        let Point { mut labels, time, start, ended, count, sum, value } = point;
        labels.extend(resource.target.clone());
        resource.latest = resource.latest.max(time);
        let delta = match (self.shape, self.temporality) {
            (Shape::Gauge | Shape::Summary, _) | (_, Temporality::Cumulative) => false,
            (_, Temporality::Delta) => true,
            (_, Temporality::Unknown) => return Err(RefusalReason::WrongType),
        };
        if ended && delta {
            return Ok(());
        }
        let or_end = |value: f64| if ended { f64::from_bits(STALE_NAN_BITS) } else { value };
        let mut number = |name: &str, more: Option<(&str, &str)>, kind: SeriesKind, value: f64| {
            let series = number_of(samples, name, &labels, more, kind);
            let start = start.filter(|_| kind == SeriesKind::Counter && !ended);
            samples.sample_since(series, time, or_end(value), start);
        };
        match (self.shape, value) {
            (Shape::Gauge, Value::Number(value)) => number(&self.name, None, SeriesKind::Gauge, value),
            (Shape::Sum { monotonic }, Value::Number(value)) => {
                let kind = match (delta, monotonic) {
                    (true, _) => SeriesKind::Delta,
                    (false, true) => SeriesKind::Counter,
                    (false, false) => SeriesKind::Gauge,
                };
                number(&self.name, None, kind, value);
            }
            (Shape::Summary, Value::Summary { quantiles }) => {
                for (quantile, value) in quantiles {
                    let quantile = format_float(quantile, FloatForm::Short);
                    number(&self.name, Some(("quantile", &quantile)), SeriesKind::Gauge, value);
                }
                number(&format!("{}_sum", self.name), None, SeriesKind::Counter, sum.unwrap_or_default());
                number(&format!("{}_count", self.name), None, SeriesKind::Counter, count as f64);
            }
            (Shape::Histogram, Value::Histogram { bounds, counts }) if !delta => {
                if !fit(&bounds, &counts) {
                    return Err(RefusalReason::OutOfBounds);
                }
                let bucket = format!("{}_bucket", self.name);
                let mut below = 0u64;
                for (bound, own) in bounds.iter().zip(&counts) {
                    below = below.saturating_add(*own);
                    number(
                        &bucket,
                        Some(("le", &format_float(*bound, FloatForm::Short))),
                        SeriesKind::Counter,
                        below as f64,
                    );
                }
                number(&bucket, Some(("le", "+Inf")), SeriesKind::Counter, count as f64);
                if let Some(sum) = sum {
                    number(&format!("{}_sum", self.name), None, SeriesKind::Counter, sum);
                }
                number(&format!("{}_count", self.name), None, SeriesKind::Counter, count as f64);
            }
            (Shape::Histogram, Value::Histogram { bounds, counts }) => {
                if !fit(&bounds, &counts) {
                    return Err(RefusalReason::OutOfBounds);
                }
                let buckets = (0..).zip(&counts).filter(|(_, count)| **count > 0);
                let own = Histogram {
                    schema: CUSTOM_BUCKETS_SCHEMA,
                    count: count as f64,
                    sum: sum.unwrap_or_default(),
                    positive: buckets.map(|(index, count)| (index, *count as f64)).collect(),
                    custom_bounds: bounds.into(),
                    ..Histogram::default()
                };
                let series = number_of(samples, &self.name, &labels, None, SeriesKind::DeltaHistogram);
                samples.histogram(series, time, own, None);
            }
            (Shape::Exponential, Value::Exponential { .. }) if ended => {
                let series = number_of(samples, &self.name, &labels, None, SeriesKind::Histogram);
                samples.sample(series, time, f64::from_bits(STALE_NAN_BITS));
            }
            (
                Shape::Exponential,
                Value::Exponential { scale, zero_threshold, zero_count, positive, negative },
            ) => {
                let scale = i32::try_from(scale).map_err(|_| RefusalReason::OutOfBounds)?;
                let own = Histogram {
                    schema: i8::try_from(scale.min(SCHEMA_MAX)).map_err(|_| RefusalReason::OutOfBounds)?,
                    zero_threshold: if zero_threshold > 0.0 { zero_threshold } else { ZERO_THRESHOLD },
                    zero_count: zero_count as f64,
                    count: count as f64,
                    sum: sum.unwrap_or_default(),
                    positive: buckets(positive, scale).ok_or(RefusalReason::OutOfBounds)?,
                    negative: buckets(negative, scale).ok_or(RefusalReason::OutOfBounds)?,
                    ..Histogram::default()
                };
                own.check().map_err(|_| RefusalReason::OutOfBounds)?;
                let kind = if delta { SeriesKind::DeltaHistogram } else { SeriesKind::Histogram };
                let series = number_of(samples, &self.name, &labels, None, kind);
                samples.histogram(series, time, own, start.filter(|_| !delta));
            }
            _ => return Err(RefusalReason::WrongType),
        }
        Ok(())
    }
}

/// Whether there is one bucket more than bounds, or neither; bounds ascend.
fn fit(bounds: &[f64], counts: &[u64]) -> bool {
    let both = counts.len() == bounds.len() + 1 || (counts.is_empty() && bounds.is_empty());
    both && bounds.is_sorted_by(|a, b| a < b) && bounds.iter().all(|bound| bound.is_finite())
}

/// Index and count of each bucket that counts anything: bucket `i` of OpenTelemetry is `i + 1` here, and buckets of a finer
/// scale are joined.
fn buckets(side: Side, scale: i32) -> Option<Vec<(i32, f64)>> {
    let by = u32::try_from(scale.saturating_sub(SCHEMA_MAX).max(0)).ok()?.min(31);
    let mut all: Vec<(i32, f64)> = Vec::new();
    for (at, count) in (0..).zip(side.counts) {
        if count == 0 {
            continue;
        }
        let index = (side.offset.checked_add(at)? >> by).checked_add(1)?;
        let index = i32::try_from(index).ok()?;
        match all.last_mut() {
            Some((last, sum)) if *last == index => *sum += count as f64,
            _ => all.push((index, count as f64)),
        }
    }
    Some(all)
}
