//! How long responses took: quantiles between the bounds that they are known by, and the slowest routes.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::ReportError;
use super::numbers::{Cell, Compared, told};
use super::read::{Pair, Reading, total};
use super::traffic::shown;
use crate::exact::{Bucket, QuantileBounds, quantile_from_buckets};

/// The quantiles that are told, in thousandths.
const QUANTILES: [(&str, u16); 3] = [("p50", 500), ("p95", 950), ("p99", 990)];
/// Routes that are named as the slowest.
const SLOWEST_MAX: usize = 5;
/// Fewer responses than this do not make a route one of the slowest: its 95th percentile would be its slowest response.
const SLOWEST_RESPONSES_MIN: u64 = 20;
/// Averages are told in microseconds: what a sum of fractions loses in its last bits does not show.
const AVERAGE_STEPS_PER_SECOND: f64 = 1e6;

/// The finite bounds, in seconds, into which durations are counted when they are derived.
const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// How long responses took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Responses {
    /// Responses whose duration is known.
    pub measured: Compared,
    /// The average in seconds, of the period, exact to the microsecond.
    pub average: Option<f64>,
    /// The same of the period before.
    pub average_before: Option<f64>,
    /// The median, 95th and 99th percentile.
    pub quantiles: Vec<Quantile>,
    /// The 95th percentile per step.
    pub p95_steps: Vec<Option<Between>>,
    /// The routes with the highest 95th percentile.
    pub slowest: Vec<SlowRoute>,
}

/// One quantile of the period and the period before, each as two bounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quantile {
    /// `p50`, `p95` or `p99`.
    pub name: String,
    /// Of the period.
    pub value: Option<Between>,
    /// Of the period before.
    pub before: Option<Between>,
}

/// A route and how long its responses took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SlowRoute {
    /// The route, as the site chose it: escape it wherever it is shown.
    pub name: String,
    /// Its responses, in multiples of the request's `few`.
    pub responses: Cell,
    /// Its median.
    pub p50: Option<Between>,
    /// Its 95th percentile.
    pub p95: Option<Between>,
    /// Its 95th percentile of the period before, where that has as many responses.
    pub p95_before: Option<Between>,
}

/// Two bounds in seconds: over the first, at most the second, which is none where no bucket bounds it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Between(pub QuantileBounds);

impl Serialize for Between {
    /// `{"above": seconds, "at_most": seconds or null}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;
        let mut between = serializer.serialize_struct("Between", 2)?;
        between.serialize_field("above", &self.0.above)?;
        between.serialize_field("at_most", &Some(self.0.at_most).filter(|bound| bound.is_finite()))?;
        between.end()
    }
}

/// The response times; `None` where neither period recorded any.
pub(crate) fn responses(reading: &Reading<'_>) -> Result<Option<Responses>, ReportError> {
    let measured = reading.sum("http_response_seconds_count", |_| true);
    let grid = reading.grid;
    let [slots, slots_before] = [&grid.period, &grid.before].map(|days| grid.slots_of(days));
    let [count, before] = [&slots, &slots_before].map(|slots| total(&measured, slots));
    if count == 0 && before == 0 {
        return Ok(None);
    }
    let is_whole = reading.missing.is_empty();
    let mut bounds = Vec::new();
    for (le, counts) in reading.by_label("http_response_seconds_bucket") {
        bounds.push((bound(le)?, counts));
    }
    let between = |thousandths, slots: &std::ops::Range<usize>| {
        let counted = bounds.iter().map(|&(bound, counts)| Bucket { bound, count: total(counts, slots) });
        quantile(counted.collect(), thousandths, is_whole)
    };
    let quantiles = QUANTILES.iter().map(|&(name, thousandths)| {
        let (value, before) = (between(thousandths, &slots)?, between(thousandths, &slots_before)?);
        Ok(Quantile { name: name.to_owned(), value, before })
    });
    let quantiles = quantiles.collect::<Result<_, ReportError>>()?;
    let p95_steps = grid.steps.iter().map(|step| between(950, &step.slots)).collect::<Result<_, _>>()?;
    let average = |sum: Option<f64>, count: u64| {
        let average = sum.filter(|_| count > 0)? / count as f64;
        Some((average * AVERAGE_STEPS_PER_SECOND).round() / AVERAGE_STEPS_PER_SECOND)
    };
    let sums = reading.fractions();
    Ok(Some(Responses {
        measured: reading.compared(&measured),
        average: average(sums[0], count),
        average_before: average(sums[1], before),
        quantiles,
        p95_steps,
        slowest: slowest(reading)?,
    }))
}

fn slowest(reading: &Reading<'_>) -> Result<Vec<SlowRoute>, ReportError> {
    let mut routes: BTreeMap<&str, Vec<(f64, Pair)>> = BTreeMap::new();
    for (names, pair) in reading.by_names("http_response_seconds_bucket") {
        let [route, le] = names else { continue };
        routes.entry(route).or_default().push((bound(le)?, pair));
    }
    let is_whole = reading.missing.is_empty();
    let least = SLOWEST_RESPONSES_MIN.max(reading.few());
    let mut slowest = Vec::new();
    for (route, buckets) in routes {
        let of = |side: usize| -> Vec<Bucket> {
            let count = |pair: &Pair| pair.get(side).copied().unwrap_or(0);
            buckets.iter().map(|(bound, pair)| Bucket { bound: *bound, count: count(pair) }).collect()
        };
        let responses = |side| of(side).iter().map(|bucket| bucket.count).max().unwrap_or(0);
        if responses(0) < least {
            continue;
        }
        slowest.push(SlowRoute {
            name: shown(route),
            responses: told(responses(0), reading.few()),
            p50: quantile(of(0), 500, is_whole)?,
            p95: quantile(of(0), 950, is_whole)?,
            p95_before: if responses(1) < least { None } else { quantile(of(1), 950, is_whole)? },
        });
    }
    // Bounds are no NaN, so that their bits ascend with them; equal ones stay in name order.
    let at_most = |between: Option<Between>| between.map_or(0, |between| between.0.at_most.to_bits());
    let responses = |route: &SlowRoute| if let Cell::Count(count) = route.responses { count } else { 0 };
    slowest.sort_by_key(|route| Reverse((at_most(route.p95), at_most(route.p50), responses(route))));
    slowest.truncate(SLOWEST_MAX);
    Ok(slowest)
}

fn bound(le: &str) -> Result<f64, ReportError> {
    le.parse().map_err(|_| ReportError::BucketBound)
}

/// Where a quantile lies. Buckets that nothing ever fell into have no series; under the first that has one they count zero.
/// Only for the bounds that Annals itself derives: with others, it is not known where they lie.
///
/// Buckets of which a part could not be read may contradict each other: then the quantile is not known.
fn quantile(
    mut buckets: Vec<Bucket>,
    thousandths: u16,
    is_whole: bool,
) -> Result<Option<Between>, ReportError> {
    buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    if buckets.iter().all(|bucket| bucket.bound.is_infinite() || BOUNDS.contains(&bucket.bound)) {
        let lowest = buckets.first().map_or(f64::INFINITY, |bucket| bucket.bound);
        let below = BOUNDS.iter().filter(|bound| **bound < lowest).map(|&bound| Bucket { bound, count: 0 });
        buckets.splice(0..0, below.collect::<Vec<_>>());
    }
    match quantile_from_buckets(&buckets, thousandths) {
        Err(_) if !is_whole => Ok(None),
        found => Ok(found?.map(Between)),
    }
}
