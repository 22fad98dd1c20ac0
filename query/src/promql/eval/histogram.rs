//! Quantiles and fractions of classic histograms: counters with an upper bound `le` each.

use annals_model::LabelSet;
use foldhash::quality::FixedState;
use hashbrown::HashMap;

use super::column::{ABSENT, Grid, Vector, is_absent};
use super::labels::{LabelMap, filtered};
use super::{Evaluator, not_evaluated};
use crate::promql::ast::Expr;
use crate::promql::error::QueryError;

/// Counts nearer to each other than this, in proportion, are the same: only float arithmetic parts them.
const DELTA_TOLERANCE: f64 = 1e-12;

/// The observations up to and including an upper bound.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// What is asked of each histogram, per step.
enum Asked {
    Quantile(Vec<f64>),
    Fraction(Vec<f64>, Vec<f64>),
}

impl<'a> Evaluator<'a> {
    /// `histogram_quantile` and `histogram_fraction`.
    pub(super) fn classic_histogram(
        &self,
        name: &str,
        arguments: &[Expr],
        expr: &Expr,
        grid: Grid,
    ) -> Result<Vector<'a>, QueryError> {
        let (asked, argument) = match arguments {
            [phi, buckets] => {
                let phis = self.scalar(phi, grid)?.values;
                self.check_quantiles(&phis, phi.span);
                (Asked::Quantile(phis), buckets)
            }
            [lower, upper, buckets] => {
                let bounds = (self.scalar(lower, grid)?.values, self.scalar(upper, grid)?.values);
                (Asked::Fraction(bounds.0, bounds.1), buckets)
            }
            _ => return Err(not_evaluated(expr.span, name)),
        };
        let vector = self.vector(argument, grid)?;
        let mut index: LabelMap<usize> = HashMap::with_hasher(FixedState::default());
        let mut histograms: Vec<(LabelSet, Vec<(f64, usize)>)> = Vec::new();
        for (at, column) in vector.columns.iter().enumerate() {
            let le = column.labels.get("le");
            let Some(bound) = parse_bound(le) else {
                self.warn(
                    Some(argument.span),
                    format!(
                        "bucket label \"le\" is missing or has a malformed value of {le:?} for metric name {:?}",
                        column.labels.metric_name()
                    ),
                );
                continue;
            };
            let labels = filtered(&column.labels, |name| name != "le");
            let histogram = *index.entry(labels.clone()).or_insert(histograms.len());
            if histogram == histograms.len() {
                histograms.push((labels, Vec::new()));
            }
            if let Some((_, buckets)) = histograms.get_mut(histogram) {
                buckets.push((bound, at));
            }
        }
        let mut out = Vector::new(self.budget);
        for (labels, mut members) in histograms {
            members.sort_by(|a, b| a.0.total_cmp(&b.0));
            let metric = labels.metric_name().to_owned();
            let column = out.push_absent(labels, true, grid.count)?;
            let Some(column) = out.columns.get_mut(column) else { continue };
            let mut buckets = Vec::new();
            for (step, into) in column.values.iter_mut().enumerate() {
                buckets.clear();
                buckets.extend(members.iter().filter_map(|&(bound, at)| {
                    let count = *vector.columns.get(at)?.values.get(step)?;
                    (!is_absent(count)).then_some(Bucket { bound, count })
                }));
                if buckets.is_empty() {
                    continue;
                }
                let of = |values: &[f64]| values.get(step).copied().unwrap_or(ABSENT);
                *into = match &asked {
                    Asked::Quantile(phis) => {
                        let (value, forced) = bucket_quantile(of(phis), &mut buckets);
                        if forced {
                            self.inform(
                                argument.span,
                                format!(
                                    "input to histogram_quantile needed to be fixed for monotonicity (see \
                                     https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile) \
                                     for metric name {metric:?}"
                                ),
                            );
                        }
                        value
                    }
                    Asked::Fraction(lower, upper) => bucket_fraction(of(lower), of(upper), &mut buckets),
                };
            }
        }
        Ok(out)
    }
}

fn parse_bound(le: &str) -> Option<f64> {
    if le.is_empty() { None } else { le.parse().ok() }
}

/// Buckets of one bound become one; `None` where the last is not `+Inf`.
fn coalesced(buckets: &mut Vec<Bucket>) -> Option<()> {
    buckets.dedup_by(|next, kept| {
        let same = next.bound == kept.bound;
        if same {
            kept.count += next.count;
        }
        same
    });
    (buckets.last()?.bound == f64::INFINITY).then_some(())
}

/// Whether any count had to be raised by more than float arithmetic explains.
fn forced_monotonic(buckets: &mut [Bucket]) -> bool {
    let mut forced = false;
    let mut before = buckets.first().map_or(0.0, |bucket| bucket.count);
    for bucket in buckets.iter_mut().skip(1) {
        if bucket.count == before {
            continue;
        }
        let near = almost_equal(before, bucket.count);
        if near || bucket.count < before {
            forced |= !near;
            bucket.count = before;
            continue;
        }
        before = bucket.count;
    }
    forced
}

fn almost_equal(a: f64, b: f64) -> bool {
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        difference < DELTA_TOLERANCE * f64::MIN_POSITIVE
    } else {
        difference / sum.min(f64::MAX) < DELTA_TOLERANCE
    }
}

fn bucket_quantile(phi: f64, buckets: &mut Vec<Bucket>) -> (f64, bool) {
    if phi.is_nan() {
        return (f64::NAN, false);
    }
    if phi < 0.0 {
        return (f64::NEG_INFINITY, false);
    }
    if phi > 1.0 {
        return (f64::INFINITY, false);
    }
    if coalesced(buckets).is_none() {
        return (f64::NAN, false);
    }
    let forced = forced_monotonic(buckets);
    let [.., before_last, last] = buckets.as_slice() else { return (f64::NAN, forced) };
    let mut rank = phi * last.count;
    if last.count == 0.0 || last.count.is_nan() {
        return (f64::NAN, forced);
    }
    let finite = buckets.len() - 1;
    let at = buckets.iter().take(finite).position(|bucket| bucket.count >= rank);
    let Some((at, bucket)) = at.and_then(|at| Some((at, buckets.get(at)?))) else {
        return (before_last.bound, forced);
    };
    let Some(before) = at.checked_sub(1).and_then(|at| buckets.get(at)) else {
        // The first bucket starts at zero, unless it ends below.
        let value = if bucket.bound <= 0.0 { bucket.bound } else { bucket.bound * (rank / bucket.count) };
        return (value, forced);
    };
    rank -= before.count;
    let count = bucket.count - before.count;
    (before.bound + (bucket.bound - before.bound) * (rank / count), forced)
}

fn bucket_fraction(lower: f64, upper: f64, buckets: &mut Vec<Bucket>) -> f64 {
    if coalesced(buckets).is_none() {
        return f64::NAN;
    }
    let count = buckets.last().map_or(0.0, |bucket| bucket.count);
    if count == 0.0 || count.is_nan() || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    (rank_of(upper, buckets, count) - rank_of(lower, buckets, count)) / count
}

/// How many observations lie at or below a value, on the line within its bucket.
fn rank_of(value: f64, buckets: &[Bucket], count: f64) -> f64 {
    let (mut rank, mut start) = (0.0, f64::NEG_INFINITY);
    for (index, bucket) in buckets.iter().enumerate() {
        if index == 0 && bucket.bound > 0.0 {
            start = 0.0;
        }
        if start >= value {
            return rank;
        }
        if bucket.bound > value {
            // An infinitely wide bucket has all its observations at its finite end.
            if start == f64::NEG_INFINITY {
                return rank;
            }
            return rank + (bucket.count - rank) * ((value - start) / (bucket.bound - start));
        }
        (rank, start) = (bucket.count, bucket.bound);
    }
    count
}
