//! Quantiles and fractions of histograms: of native ones, and of classic ones, which are counters with an upper
//! bound `le` each.

use super::column::{ABSENT, Column, Grid, Vector, histogram_at, is_absent};
use super::groups::{Grouping, Groups};
use super::labels::{Labels, with_label};
use super::mixed::named;
use super::native::{self, NanFault};
use super::{Evaluator, Hints, merged, not_evaluated, text_of};
use crate::promql::ast::Expr;
use crate::promql::error::{PromqlError, QueryError, Span};
use annals_model::{FloatForm, format_float};

/// The most values that one quantile of `histogram_quantiles` may take over a range; each is a series.
const QUANTILES_MAX: usize = 1000;

/// Counts nearer to each other than this, in proportion, are the same: only float arithmetic parts them.
const DELTA_TOLERANCE: f64 = 1e-12;

/// The observations up to and including an upper bound.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// What is asked of each histogram.
struct Asked {
    question: Question,
    /// A label that tells the answer apart.
    label: Option<(String, String)>,
}

/// Per step.
enum Question {
    /// NaN bits of an absent step: nothing is asked there.
    Quantile(Vec<f64>),
    Fraction(Vec<f64>, Vec<f64>),
}

/// A histogram of a vector.
struct Member<'a> {
    /// Those of a classic one are without the bound.
    labels: Labels<'a>,
    of: OfColumns,
    /// At which steps a native one stands beside a classic one of the same labels; empty where none does.
    conflicts: Vec<bool>,
}

/// A classic histogram by the bounds of its buckets, or a native one; indexes of columns.
enum OfColumns {
    Classic(Vec<(f64, usize)>),
    Native(usize),
}

impl<'a> Evaluator<'a> {
    /// `histogram_quantile`, `histogram_quantiles` and `histogram_fraction`, of classic and native histograms.
    pub(super) fn histogram_function(
        &self,
        name: &str,
        arguments: &[Expr],
        expr: &Expr,
        grid: Grid,
    ) -> Result<Vector<'a>, QueryError> {
        let (asked, argument) = match (name, arguments) {
            ("histogram_quantile", [phi, buckets]) => {
                let phis = self.scalar(phi, grid)?.values;
                self.check_quantiles(&phis, phi.span);
                (vec![Asked { question: Question::Quantile(phis), label: None }], buckets)
            }
            ("histogram_quantiles", [buckets, label, phis @ ..]) => {
                (self.quantiles_by_label(&text_of(label), label.span, phis, grid)?, buckets)
            }
            ("histogram_fraction", [lower, upper, buckets]) => {
                let bounds = (self.scalar(lower, grid)?.values, self.scalar(upper, grid)?.values);
                (vec![Asked { question: Question::Fraction(bounds.0, bounds.1), label: None }], buckets)
            }
            _ => return Err(not_evaluated(expr.span, name)),
        };
        let hints = self.hints.replace(Hints::Kept);
        let vector = self.vector(argument, grid);
        self.hints.set(hints);
        let vector = vector?;
        let members = self.members_of_histograms(&vector, argument.span, grid);
        let mut out = Vector::new(self.budget);
        for asked in &asked {
            for member in &members {
                let labels = match &asked.label {
                    None => member.labels.clone(),
                    Some((name, value)) => {
                        let labels = with_label(&member.labels.get(), name, value)
                            .map_err(|error| PromqlError::new(expr.span, error.to_string()))?;
                        Labels::Own(labels)
                    }
                };
                let at = out.push_absent(labels, true, grid.count)?;
                let Some(column) = out.columns.get_mut(at) else { continue };
                self.answer_histogram(asked, member, &vector, argument.span, column);
            }
        }
        out.columns.retain(|column| !column.is_empty());
        out.columns = merged(out.columns, expr.span)?;
        Ok(out)
    }

    /// One question per quantile, told apart by a label.
    fn quantiles_by_label(
        &self,
        label: &str,
        span: Span,
        phis: &[Expr],
        grid: Grid,
    ) -> Result<Vec<Asked>, QueryError> {
        if label.is_empty() {
            return Err(
                PromqlError::new(span, "invalid label name in histogram_quantiles(): it is empty").into()
            );
        }
        let mut asked = Vec::new();
        for phi in phis {
            let phis = self.scalar(phi, grid)?.values;
            self.check_quantiles(&phis, phi.span);
            let mut distinct: Vec<u64> = Vec::new();
            for phi in &phis {
                if !distinct.contains(&phi.to_bits()) {
                    distinct.push(phi.to_bits());
                }
            }
            if distinct.len() > QUANTILES_MAX {
                let message = format!(
                    "a quantile takes {} values over the range, at most {QUANTILES_MAX} are allowed",
                    distinct.len()
                );
                return Err(PromqlError::new(phi.span, message).into());
            }
            for bits in distinct {
                let only = phis.iter().map(|phi| if phi.to_bits() == bits { *phi } else { ABSENT });
                let value = open_metrics_float(f64::from_bits(bits));
                asked.push(Asked {
                    question: Question::Quantile(only.collect()),
                    label: Some((label.to_owned(), value)),
                });
            }
        }
        Ok(asked)
    }

    /// The histograms of a vector.
    fn members_of_histograms(&self, vector: &Vector<'a>, span: Span, grid: Grid) -> Vec<Member<'a>> {
        let mut bounds = Groups::new(Grouping::of_one("le", true));
        let mut parsed: Vec<Option<f64>> = Vec::new();
        let mut groups = Groups::new(Grouping::of_one("le", false));
        // By group: the classic histogram.
        let mut classic: Vec<Option<usize>> = Vec::new();
        let mut members: Vec<Member<'a>> = Vec::new();
        for (at, column) in vector.columns.iter().enumerate() {
            if column.values.iter().all(|value| is_absent(*value)) {
                continue;
            }
            let bound = bounds.of(&column.labels);
            if bound == parsed.len() {
                parsed.push(parse_bound(bounds.labels(bound).get("le")));
            }
            let Some(bound) = parsed.get(bound).copied().flatten() else {
                let labels = column.labels.get();
                let le = labels.get("le");
                let text = format!("bucket label \"le\" is missing or has a malformed value of {le:?}");
                self.warn(Some(span), named(&text, labels.metric_name()));
                continue;
            };
            let group = groups.of(&column.labels);
            classic.resize(classic.len().max(group + 1), None);
            let Some(member) = classic.get_mut(group) else { continue };
            let member = *member.get_or_insert_with(|| {
                let labels = Labels::Own(groups.labels(group));
                members.push(Member { labels, of: OfColumns::Classic(Vec::new()), conflicts: Vec::new() });
                members.len() - 1
            });
            if let Some(OfColumns::Classic(buckets)) = members.get_mut(member).map(|member| &mut member.of) {
                buckets.push((bound, at));
            }
        }
        let natives = vector.columns.iter().enumerate().filter(|(_, column)| !column.histograms.is_empty());
        for (at, column) in natives {
            let group = groups.of(&column.labels);
            let mut conflicts = Vec::new();
            let beside = classic.get(group).copied().flatten().and_then(|member| members.get_mut(member));
            if let Some(Member { of: OfColumns::Classic(buckets), conflicts: of_classic, .. }) = beside {
                let both = |step: usize| {
                    let float = |at: usize| vector.columns.get(at).and_then(|column| column.values.get(step));
                    histogram_at(&column.histograms, step).is_some()
                        && buckets.iter().any(|&(_, at)| float(at).is_some_and(|value| !is_absent(*value)))
                };
                conflicts = (0..grid.count).map(both).collect();
                if conflicts.contains(&true) {
                    let text = "vector contains a mix of classic and native histograms";
                    self.warn(Some(span), named(text, column.labels.get().metric_name()));
                }
                of_classic.clone_from(&conflicts);
            }
            members.push(Member { labels: column.labels.clone(), of: OfColumns::Native(at), conflicts });
        }
        for member in &mut members {
            if let OfColumns::Classic(buckets) = &mut member.of {
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            }
        }
        members
    }

    fn answer_histogram(
        &self,
        asked: &Asked,
        member: &Member<'a>,
        vector: &Vector<'a>,
        span: Span,
        into: &mut Column<'a>,
    ) {
        let own = match &member.of {
            OfColumns::Classic(buckets) => buckets.first().and_then(|&(_, at)| vector.columns.get(at)),
            OfColumns::Native(at) => vector.columns.get(*at),
        };
        let Some(own) = own else { return };
        let remark = |text: &str| {
            self.inform(span, named(text, own.labels.get().metric_name()));
        };
        let mut buckets = Vec::new();
        for (step, into) in into.values.iter_mut().enumerate() {
            if member.conflicts.get(step).copied().unwrap_or_default() {
                continue;
            }
            let of = |values: &[f64]| values.get(step).copied().unwrap_or(ABSENT);
            match &member.of {
                OfColumns::Native(_) => {
                    let Some(histogram) = histogram_at(&own.histograms, step) else { continue };
                    let (value, fault) = match &asked.question {
                        Question::Quantile(phis) if is_absent(of(phis)) => continue,
                        Question::Quantile(phis) => native::quantile(of(phis), histogram),
                        Question::Fraction(lower, upper) => native::fraction(of(lower), of(upper), histogram),
                    };
                    *into = value;
                    if let Some(fault) = fault {
                        let text = match fault {
                            NanFault::IsNan => {
                                "input to histogram_quantile has NaN observations, result is NaN"
                            }
                            NanFault::Skewed => {
                                "input to histogram_quantile has NaN observations, result is skewed higher"
                            }
                            NanFault::Excluded => {
                                "input to histogram_fraction has NaN observations, which are excluded from all \
                                 fractions"
                            }
                        };
                        remark(text);
                    }
                }
                OfColumns::Classic(members) => {
                    buckets.clear();
                    buckets.extend(members.iter().filter_map(|&(bound, at)| {
                        let count = *vector.columns.get(at)?.values.get(step)?;
                        (!is_absent(count)).then_some(Bucket { bound, count })
                    }));
                    if buckets.is_empty() {
                        continue;
                    }
                    *into = match &asked.question {
                        Question::Quantile(phis) if is_absent(of(phis)) => continue,
                        Question::Quantile(phis) => {
                            let (value, forced) = bucket_quantile(of(phis), &mut buckets);
                            if forced {
                                let text = "input to histogram_quantile needed to be fixed for monotonicity (see \
                                            https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)";
                                remark(text);
                            }
                            value
                        }
                        Question::Fraction(lower, upper) => {
                            bucket_fraction(of(lower), of(upper), &mut buckets)
                        }
                    };
                }
            }
        }
    }
}

/// A float as OpenMetrics writes it into labels: never without a point or an exponent.
fn open_metrics_float(value: f64) -> String {
    let text = format_float(value, FloatForm::Short);
    if value.is_finite() && !text.contains(['.', 'e']) { format!("{text}.0") } else { text }
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
