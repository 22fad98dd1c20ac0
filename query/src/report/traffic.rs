//! Requests: per day, by status class, by route; and how long responses took.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::ReportError;
use super::numbers::{Breakdown, Compared, Tally, breakdown};
use super::read::{Counts, Reader, add_to, halves, total};
use super::request::WEEK_DAYS;
use crate::exact::{Bucket, QuantileBounds, quantile_from_buckets};

/// Routes that are listed by name.
const ROUTES_MAX: usize = 10;
/// The status classes, in the order that they are shown.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];
/// The quantiles that are told, in thousandths.
const QUANTILES: [(&str, u16); 3] = [("p50", 500), ("p95", 950), ("p99", 990)];

/// The finite bounds, in seconds, into which durations are counted when they are derived.
const BOUNDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Requests of the week.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// All requests.
    pub requests: Compared,
    /// All requests, per day of the week.
    pub days: Vec<Compared>,
    /// By status class; shares are of [`Traffic::requests`].
    pub classes: Vec<Tally>,
    /// By status class and day of the week, in the order of `classes`.
    pub class_days: Vec<Vec<Option<u64>>>,
    /// By route.
    pub routes: Breakdown,
}

/// Reads the traffic section.
pub(crate) fn traffic(reader: &mut Reader<'_>) -> Result<Traffic, ReportError> {
    let counts = reader.daily("http_requests", &["status", "route"])?;
    let by_class: Counts = counts
        .iter()
        .map(|(labels, daily)| (vec![class(labels.first().map_or("", String::as_str))], daily.clone()))
        .collect();
    let classes = reader.tallies(&by_class, 0, &CLASSES);
    let class_days = classes
        .iter()
        .map(|class| {
            let of_class = by_class.iter().filter(|(labels, _)| labels.first() == Some(&class.name));
            let daily = total(&of_class.cloned().collect());
            reader.days(&daily).iter().map(|day| day.week).collect()
        })
        .collect();
    let daily = total(&counts);
    Ok(Traffic {
        requests: reader.weekly(&daily),
        days: reader.days(&daily),
        classes,
        class_days,
        routes: by_name(reader, &counts, 1, ROUTES_MAX),
    })
}

/// A breakdown of the week and the week before by a free name.
pub(crate) fn by_name(reader: &Reader<'_>, counts: &Counts, label: usize, rows_max: usize) -> Breakdown {
    let mut names: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (labels, daily) in counts {
        let name = labels.get(label).map_or("", String::as_str);
        let name = if name.is_empty() { "(none)" } else { name };
        add_to(names.entry(name.to_owned()).or_default(), &halves(daily));
    }
    let columns = [("week", reader.week_has_data()), ("week before", reader.before_has_data())];
    breakdown(&columns, names, rows_max, reader.few())
}

fn class(status: &str) -> String {
    match status.as_bytes() {
        [first @ b'1'..=b'5', _, _] => format!("{}xx", char::from(*first)),
        _ => "other".to_owned(),
    }
}

/// How long responses took.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Responses {
    /// Responses whose duration is known.
    pub measured: Compared,
    /// The exact average in seconds, of the week.
    pub average_week: Option<f64>,
    /// The exact average in seconds, of the week before.
    pub average_before: Option<f64>,
    /// The median, 95th and 99th percentile.
    pub quantiles: Vec<Quantile>,
    /// The 95th percentile per day of the week.
    pub p95_days: Vec<Option<Between>>,
}

/// One quantile of the week and the week before, each as two bounds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Quantile {
    /// `p50`, `p95` or `p99`.
    pub name: String,
    /// Of the week.
    pub week: Option<Between>,
    /// Of the week before.
    pub before: Option<Between>,
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

/// The daily counts of a bucket without a series.
static NEVER: Vec<u64> = Vec::new();

/// Reads the response times; `None` where neither week recorded any.
pub(crate) fn responses(reader: &mut Reader<'_>) -> Result<Option<Responses>, ReportError> {
    let buckets = reader.daily("http_response_seconds_bucket", &["le"])?;
    let sums = reader.weekly_fraction("http_response_seconds_sum")?;
    let [week, before] = halves(&total(&reader.daily("http_response_seconds_count", &[])?));
    if week == 0 && before == 0 {
        return Ok(None);
    }
    let mut bounds = Vec::new();
    for (labels, daily) in &buckets {
        let le = labels.first().map_or("", String::as_str);
        let bound: f64 = le.parse().map_err(|_| ReportError::BucketBound)?;
        bounds.push((bound, daily));
    }
    bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
    // Buckets that nothing ever fell into have no series; under the first that has one they count zero. Only
    // for the bounds that Annals itself derives: with others, it is not known where they lie.
    if bounds.iter().all(|(bound, _)| bound.is_infinite() || BOUNDS.contains(bound)) {
        let lowest = bounds.first().map_or(f64::INFINITY, |(bound, _)| *bound);
        let below = BOUNDS.iter().filter(|bound| **bound < lowest).map(|&bound| (bound, &NEVER));
        bounds = below.chain(bounds).collect();
    }
    let between = |thousandths: u16, from: usize, to: usize| -> Result<Option<Between>, ReportError> {
        let buckets: Vec<Bucket> = bounds
            .iter()
            .map(|(bound, daily)| Bucket {
                bound: *bound,
                count: daily.get(from..to).unwrap_or_default().iter().sum(),
            })
            .collect();
        Ok(quantile_from_buckets(&buckets, thousandths)?.map(Between))
    };
    let quantiles = QUANTILES
        .iter()
        .map(|&(name, thousandths)| {
            Ok(Quantile {
                name: name.to_owned(),
                week: between(thousandths, WEEK_DAYS, 2 * WEEK_DAYS)?,
                before: between(thousandths, 0, WEEK_DAYS)?,
            })
        })
        .collect::<Result<_, ReportError>>()?;
    let p95_days = (WEEK_DAYS..2 * WEEK_DAYS)
        .map(|day| between(950, day, day + 1))
        .collect::<Result<_, ReportError>>()?;
    let average = |sum: Option<f64>, count: u64| sum.filter(|_| count > 0).map(|sum| sum / count as f64);
    Ok(Some(Responses {
        measured: reader.compared(week, before),
        average_week: average(sums[0], week),
        average_before: average(sums[1], before),
        quantiles,
        p95_days,
    }))
}
