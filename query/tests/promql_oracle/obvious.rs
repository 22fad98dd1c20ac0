//! The obvious evaluator.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use annals_model::{METRIC_NAME, SeriesKind, is_stale};
use annals_query::promql::{
    Aggregator, At, Binary, BinaryOp, DurationExpr, Expr, ExprKind, Selector, TimeShift, ValueType,
};

pub(crate) type Labels = BTreeMap<String, String>;
/// Time, value, start.
pub(crate) type Sample = (i64, f64, i64);
pub(crate) type Data = Vec<(Labels, SeriesKind, Vec<Sample>)>;
type Answer<T> = Result<T, String>;

/// One element of an instant vector.
#[derive(Debug, Clone)]
struct One {
    labels: Labels,
    value: f64,
    /// The name goes at the end.
    drop: bool,
}

/// One series within a window.
struct Window {
    labels: Labels,
    drop: bool,
    delta: bool,
    samples: Vec<(i64, f64)>,
    /// Of each sample; 0 where it is not known.
    starts: Vec<i64>,
    start: i64,
    end: i64,
}

pub(crate) struct Obvious<'a> {
    pub(crate) data: &'a Data,
    pub(crate) start: i64,
    pub(crate) end: i64,
    /// The largest sum of absolute values of terms of a number in an answer: what rounding is measured against.
    pub(crate) terms: Cell<f64>,
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn nameless(labels: &Labels) -> Labels {
    labels.iter().filter(|(name, _)| *name != METRIC_NAME).map(|(n, v)| (n.clone(), v.clone())).collect()
}

/// The labels that tell sides or groups apart.
fn key(labels: &Labels, only: bool, listed: &[String]) -> Labels {
    let keep = |name: &String| {
        if only { listed.contains(name) } else { name != METRIC_NAME && !listed.contains(name) }
    };
    labels.iter().filter(|(name, _)| keep(name)).map(|(n, v)| (n.clone(), v.clone())).collect()
}

fn distinct(vector: &[One]) -> Answer<()> {
    let mut seen = BTreeSet::new();
    if vector.iter().all(|one| seen.insert(one.labels.clone())) {
        Ok(())
    } else {
        Err("duplicates".to_owned())
    }
}

fn quantile(phi: f64, mut values: Vec<f64>) -> f64 {
    values.sort_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)));
    let rank = phi * (values.len() as f64 - 1.0);
    let at = rank.floor() as usize;
    let above = values[(at + 1).min(values.len() - 1)];
    values[at] * (1.0 - rank.fract()) + above * rank.fract()
}

fn variance(values: &[f64]) -> f64 {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count
}

/// Slope and value at a time, of the line of least squares.
fn line(samples: &[(i64, f64)], at: i64) -> (f64, f64) {
    if samples.iter().all(|sample| sample.1 == samples[0].1) {
        return (0.0, samples[0].1);
    }
    let count = samples.len() as f64;
    let x_mean = samples.iter().map(|sample| seconds(sample.0 - at)).sum::<f64>() / count;
    let y_mean = samples.iter().map(|sample| sample.1).sum::<f64>() / count;
    let covariance: f64 = samples.iter().map(|s| (seconds(s.0 - at) - x_mean) * (s.1 - y_mean)).sum();
    let spread: f64 = samples.iter().map(|s| (seconds(s.0 - at) - x_mean).powi(2)).sum();
    let slope = covariance / spread;
    (slope, y_mean - slope * x_mean)
}

/// The sum of absolute values of the terms of a prediction from sums of `x`, `y`, their products and squares: where all
/// samples lie close together and far from `at`, far more than the prediction itself.
fn terms_of_line(samples: &[(i64, f64)], at: i64, slope: f64, ahead: f64) -> f64 {
    let count = samples.len() as f64;
    let x = || samples.iter().map(|sample| seconds(sample.0 - at));
    let x_mean = x().sum::<f64>() / count;
    let spread: f64 = x().map(|x| (x - x_mean).powi(2)).sum();
    let products: f64 = x().zip(samples).map(|(x, sample)| (x * sample.1).abs()).sum();
    let squares: f64 = x().map(|x| x * x).sum();
    if spread > 0.0 { (products + slope.abs() * squares) / spread * (ahead + x_mean.abs()) } else { 0.0 }
}

fn apply(op: BinaryOp, a: f64, b: f64) -> f64 {
    let truth = |is: bool| f64::from(u8::from(is));
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Equal => truth(a == b),
        BinaryOp::NotEqual => truth(a != b),
        BinaryOp::Less => truth(a < b),
        BinaryOp::LessEqual => truth(a <= b),
        BinaryOp::Greater => truth(a > b),
        BinaryOp::GreaterEqual => truth(a >= b),
        other => panic!("{other:?}"),
    }
}

impl Obvious<'_> {
    /// The answers at these times, ascending. Whether a series loses its name is what its first sample says.
    pub(crate) fn answers(
        &self,
        expr: &Expr,
        times: impl Iterator<Item = i64>,
    ) -> Answer<Vec<BTreeMap<Labels, f64>>> {
        let mut drops: BTreeMap<Labels, bool> = BTreeMap::new();
        times
            .map(|at| {
                let mut out = BTreeMap::new();
                for one in self.vector(expr, at)? {
                    let drop = *drops.entry(one.labels.clone()).or_insert(one.drop);
                    let labels = if drop { nameless(&one.labels) } else { one.labels };
                    if out.insert(labels, one.value).is_some() {
                        return Err("duplicates in the answer".to_owned());
                    }
                }
                Ok(out)
            })
            .collect()
    }

    fn ms(&self, duration: &DurationExpr) -> i64 {
        (duration.seconds(0.0, seconds(self.end - self.start)) * 1000.0).round() as i64
    }

    fn shift(&self, time: &TimeShift, at: i64) -> i64 {
        let base = match time.at {
            None => at,
            Some(At::Time(ms)) => ms,
            Some(At::Start) => self.start,
            Some(At::End) => self.end,
        };
        base - time.offset.as_ref().map_or(0, |offset| self.ms(offset))
    }

    fn found(&self, selector: &Selector) -> impl Iterator<Item = &(Labels, SeriesKind, Vec<Sample>)> {
        let value = |labels: &Labels, name: &str| labels.get(name).cloned().unwrap_or_default();
        self.data.iter().filter(move |(labels, ..)| {
            selector.matchers.iter().all(|m| m.item.matches(&value(labels, m.item.name())))
        })
    }

    fn scalar(&self, expr: &Expr, at: i64) -> Answer<f64> {
        Ok(match &expr.unparen().kind {
            ExprKind::Number(number) => number.value,
            ExprKind::Unary(negative, inner) => {
                let value = self.scalar(inner, at)?;
                if *negative { -value } else { value }
            }
            ExprKind::Binary(binary) => {
                apply(binary.op, self.scalar(&binary.left, at)?, self.scalar(&binary.right, at)?)
            }
            ExprKind::Call(function, arguments) if function.name == "scalar" => {
                match self.vector(&arguments[0], at)?.as_slice() {
                    [one] => one.value,
                    _ => f64::NAN,
                }
            }
            other => panic!("{other:?}"),
        })
    }

    fn windows(&self, expr: &Expr, at: i64) -> Answer<Vec<Window>> {
        let mut out = Vec::new();
        match &expr.unparen().kind {
            ExprKind::Matrix(selector, range) => {
                let end = self.shift(&selector.time, at);
                let start = end - self.ms(range);
                for (labels, kind, samples) in self.found(selector) {
                    let inside =
                        || samples.iter().filter(|(t, v, _)| *t > start && *t <= end && !is_stale(*v));
                    out.push(Window {
                        labels: labels.clone(),
                        drop: false,
                        delta: *kind == SeriesKind::Delta,
                        samples: inside().map(|&(time, value, _)| (time, value)).collect(),
                        starts: inside().map(|&(.., start)| start).collect(),
                        start,
                        end,
                    });
                }
            }
            ExprKind::Subquery(subquery) => {
                let end = self.shift(&subquery.time, at);
                let start = end - self.ms(&subquery.range);
                let step = subquery.step.as_ref().map_or(60_000, |step| self.ms(step));
                let mut series: BTreeMap<Labels, Window> = BTreeMap::new();
                for time in (start + 1..=end).filter(|time| time.rem_euclid(step) == 0) {
                    for one in self.vector(&subquery.expr, time)? {
                        let window = series.entry(one.labels.clone()).or_insert(Window {
                            labels: one.labels,
                            drop: one.drop,
                            delta: false,
                            samples: Vec::new(),
                            starts: Vec::new(),
                            start,
                            end,
                        });
                        window.drop |= one.drop;
                        window.samples.push((time, one.value));
                        window.starts.push(0);
                    }
                }
                out.extend(series.into_values());
            }
            other => panic!("{other:?}"),
        }
        out.retain(|window| !window.samples.is_empty());
        Ok(out)
    }

    fn vector(&self, expr: &Expr, at: i64) -> Answer<Vec<One>> {
        match &expr.unparen().kind {
            ExprKind::Selector(selector) => {
                let now = self.shift(&selector.time, at);
                let latest = |(labels, _, samples): &(Labels, SeriesKind, Vec<Sample>)| {
                    let &(time, value, _) = samples.iter().rfind(|(time, ..)| *time <= now)?;
                    let fresh = time > now - 300_000 && !is_stale(value);
                    fresh.then(|| One { labels: labels.clone(), value, drop: false })
                };
                Ok(self.found(selector).filter_map(latest).collect())
            }
            ExprKind::Unary(negative, inner) => {
                let sign = if *negative { -1.0 } else { 1.0 };
                let turned = |one: One| One { value: sign * one.value, drop: one.drop || *negative, ..one };
                Ok(self.vector(inner, at)?.into_iter().map(turned).collect())
            }
            ExprKind::Binary(binary) => self.binary(binary, at),
            ExprKind::Aggregate(aggregate) if aggregate.op == Aggregator::CountValues => {
                // The label is there before groups are made, in place of one that has its name.
                let mut listed = aggregate.grouping.clone();
                if !aggregate.without {
                    listed.push("v".to_owned());
                }
                let mut counts: BTreeMap<Labels, f64> = BTreeMap::new();
                for mut one in self.vector(&aggregate.expr, at)? {
                    one.labels.insert("v".to_owned(), format!("{}", one.value));
                    *counts.entry(key(&one.labels, !aggregate.without, &listed)).or_default() += 1.0;
                }
                Ok(counts.into_iter().map(|(labels, value)| One { labels, value, drop: false }).collect())
            }
            ExprKind::Aggregate(aggregate) => {
                let mut groups: BTreeMap<Labels, Vec<One>> = BTreeMap::new();
                for one in self.vector(&aggregate.expr, at)? {
                    groups
                        .entry(key(&one.labels, !aggregate.without, &aggregate.grouping))
                        .or_default()
                        .push(one);
                }
                let mut out = Vec::new();
                for (labels, members) in groups {
                    let values: Vec<f64> = members.iter().map(|one| one.value).collect();
                    let (count, sum) = (values.len() as f64, values.iter().sum::<f64>());
                    let real = values.iter().copied().filter(|value| !value.is_nan());
                    let mut push = |value: f64| out.push(One { labels: labels.clone(), value, drop: false });
                    match aggregate.op {
                        Aggregator::Sum => push(sum),
                        Aggregator::Avg => push(sum / count),
                        Aggregator::Count => push(count),
                        Aggregator::Group => push(1.0),
                        Aggregator::Min => push(real.reduce(f64::min).unwrap_or(f64::NAN)),
                        Aggregator::Max => push(real.reduce(f64::max).unwrap_or(f64::NAN)),
                        Aggregator::Stdvar => push(variance(&values)),
                        Aggregator::Stddev => push(variance(&values).sqrt()),
                        Aggregator::Quantile => push(quantile(0.3, values)),
                        Aggregator::Topk | Aggregator::Bottomk | Aggregator::Limitk => {
                            let limit = self.scalar(aggregate.parameter.as_ref().expect("k"), at)? as usize;
                            let sign = match aggregate.op {
                                Aggregator::Topk => -1.0,
                                Aggregator::Bottomk => 1.0,
                                _ => 0.0,
                            };
                            let mut ranked = members;
                            let rank =
                                |one: &One| if one.value.is_nan() { f64::INFINITY } else { sign * one.value };
                            ranked.sort_by(|a, b| rank(a).total_cmp(&rank(b)));
                            out.extend(ranked.into_iter().take(limit));
                        }
                        other => panic!("{other:?}"),
                    }
                }
                Ok(out)
            }
            ExprKind::Call(function, arguments) => self.call(function.name, arguments, at),
            other => panic!("{other:?}"),
        }
    }

    fn binary(&self, binary: &Binary, at: i64) -> Answer<Vec<One>> {
        let Binary { op, left, right, return_bool, matching, .. } = binary;
        let keeps = op.is_comparison() && !return_bool;
        let result = |a: f64, b: f64, kept: f64| {
            let value = apply(*op, a, b);
            if keeps { (value == 1.0).then_some(kept) } else { Some(value) }
        };
        if left.value_type() == ValueType::Scalar || right.value_type() == ValueType::Scalar {
            let scalar_left = left.value_type() == ValueType::Scalar;
            let (scalar, vector) = if scalar_left { (left, right) } else { (right, left) };
            let (number, vector) = (self.scalar(scalar, at)?, self.vector(vector, at)?);
            let of = |one: One| {
                let (a, b) = if scalar_left { (number, one.value) } else { (one.value, number) };
                Some(One { value: result(a, b, one.value)?, drop: one.drop || !keeps, ..one })
            };
            return Ok(vector.into_iter().filter_map(of).collect());
        }
        let (lefts, rights) = (self.vector(left, at)?, self.vector(right, at)?);
        let (only, listed) = matching.labels.clone().unwrap_or((false, Vec::new()));
        let key = |one: &One| key(&one.labels, only, &listed);
        let has = |side: &[One], one: &One| side.iter().any(|other| key(other) == key(one));
        match op {
            BinaryOp::And => return Ok(lefts.iter().filter(|one| has(&rights, one)).cloned().collect()),
            BinaryOp::Unless => return Ok(lefts.iter().filter(|one| !has(&rights, one)).cloned().collect()),
            BinaryOp::Or => {
                let others = rights.iter().filter(|one| !has(&lefts, one)).cloned();
                let all: Vec<One> = lefts.iter().cloned().chain(others).collect();
                return Ok(all);
            }
            _ => {}
        }
        let many_left = matching.group.as_ref().is_none_or(|group| group.many_left);
        let (many, ones) = if many_left { (&lefts, &rights) } else { (&rights, &lefts) };
        if many.is_empty() || ones.is_empty() {
            return Ok(Vec::new());
        }
        let mut by_key: BTreeMap<Labels, &One> = BTreeMap::new();
        for one in ones {
            if by_key.insert(key(one), one).is_some() {
                return Err("two on the one side".to_owned());
            }
        }
        let mut out: Vec<One> = Vec::new();
        let mut met = BTreeSet::new();
        for own in many {
            let Some(one) = by_key.get(&key(own)) else { continue };
            if matching.group.is_none() && !met.insert(key(own)) {
                return Err("two on the many side".to_owned());
            }
            let (a, b) = if many_left { (own, *one) } else { (*one, own) };
            let Some(value) = result(a.value, b.value, a.value) else { continue };
            let mut labels = own.labels.clone();
            if !op.is_comparison() {
                labels.remove(METRIC_NAME);
            }
            if matching.group.is_none() {
                labels.retain(|name, _| listed.contains(name) == only);
            }
            let drop = !keeps || own.drop;
            if out.iter().any(|other| other.labels == labels) {
                return Err("two results of the same labels".to_owned());
            }
            out.push(One { labels, value, drop });
        }
        Ok(out)
    }

    fn call(&self, name: &str, arguments: &[Expr], at: i64) -> Answer<Vec<One>> {
        let matrix = arguments.iter().find(|argument| argument.value_type() == ValueType::Matrix);
        if let Some(matrix) = matrix {
            let mut out = Vec::new();
            for window in self.windows(matrix, at)? {
                let keeps = matches!(name, "last_over_time" | "first_over_time");
                if let Some(value) = over_time(name, &window, at, &self.terms) {
                    out.push(One { value, drop: window.drop || !keeps, labels: window.labels });
                }
            }
            return Ok(out);
        }
        if name == "vector" {
            return Ok(vec![One {
                labels: Labels::new(),
                value: self.scalar(&arguments[0], at)?,
                drop: false,
            }]);
        }
        let vector = self.vector(&arguments[0], at)?;
        let map = |f: &dyn Fn(f64) -> f64| {
            vector
                .iter()
                .map(|one| One { value: f(one.value), drop: true, ..one.clone() })
                .collect::<Vec<_>>()
        };
        Ok(match name {
            "abs" => map(&f64::abs),
            "ceil" => map(&f64::ceil),
            "floor" => map(&f64::floor),
            "round" => map(&|v| (v + 0.5).floor()),
            "sgn" => map(&|v| {
                if v > 0.0 {
                    1.0
                } else if v < 0.0 {
                    -1.0
                } else {
                    v
                }
            }),
            "clamp" => {
                let (low, high) = (self.scalar(&arguments[1], at)?, self.scalar(&arguments[2], at)?);
                if high < low {
                    return Ok(Vec::new());
                }
                map(&|v| if v.is_nan() { v } else { v.min(high).max(low) })
            }
            "timestamp" | "start_timestamp" => match &arguments[0].unparen().kind {
                ExprKind::Selector(selector) => {
                    let now = self.shift(&selector.time, at);
                    let about = |one: &One| {
                        let (.., samples) =
                            self.data.iter().find(|(labels, ..)| *labels == one.labels).expect("series");
                        let (time, _, start) =
                            samples.iter().rfind(|(time, ..)| *time <= now).expect("sample");
                        let asked = if name == "timestamp" { time } else { start };
                        (name == "timestamp" || *start != 0).then(|| seconds(*asked))
                    };
                    let of = |one: &One| Some(One { value: about(one)?, drop: true, ..one.clone() });
                    vector.iter().filter_map(of).collect()
                }
                _ if name == "timestamp" => map(&|_| seconds(at)),
                _ => Vec::new(),
            },
            "absent" if !vector.is_empty() => Vec::new(),
            "absent" => {
                let mut labels = Labels::new();
                if let ExprKind::Selector(selector) = &arguments[0].unparen().kind {
                    for matcher in selector.matchers.iter().map(|matcher| &matcher.item) {
                        if matcher.op() == annals_model::MatchOp::Equal && matcher.name() != METRIC_NAME {
                            labels.insert(matcher.name().to_owned(), matcher.value().to_owned());
                        }
                    }
                }
                vec![One { labels, value: 1.0, drop: false }]
            }
            "label_replace" => {
                let replaced: Vec<One> = vector
                    .into_iter()
                    .map(|mut one| {
                        let value = format!("{}-", one.labels.get("a").cloned().unwrap_or_default());
                        one.labels.insert("c".to_owned(), value);
                        one
                    })
                    .collect();
                distinct(&replaced)?;
                replaced
            }
            other => panic!("{other}"),
        })
    }
}

fn over_time(name: &str, window: &Window, at: i64, terms: &Cell<f64>) -> Option<f64> {
    let samples = &window.samples;
    let values: Vec<f64> = samples.iter().map(|sample| sample.1).collect();
    let (&(first_ms, first), &(last_ms, last)) = (samples.first()?, samples.last()?);
    let (count, sum) = (values.len() as f64, values.iter().sum::<f64>());
    let pairs = || values.windows(2).map(|pair| (pair[0], pair[1]));
    // Whether what a sample counts began after the one before it was taken.
    let anew = |at: usize| {
        let ((before, start_before), (time, start)) =
            ((samples[at - 1].0, window.starts[at - 1]), (samples[at].0, window.starts[at]));
        let is_delta = start == before && start_before != 0 && start_before < before;
        start != 0 && start < time && (start > before || is_delta)
    };
    let real: Vec<(i64, f64)> = samples.iter().copied().filter(|sample| !sample.1.is_nan()).collect();
    // The latest of equal ones; where all are NaN, the last.
    let extreme = |better: fn(f64, f64) -> bool| {
        let chosen = real.iter().copied().reduce(|a, b| if better(a.1, b.1) { a } else { b });
        chosen.unwrap_or((last_ms, f64::NAN))
    };
    let range = seconds(window.end - window.start);
    Some(match name {
        "sum_over_time" => sum,
        "avg_over_time" => sum / count,
        "count_over_time" => count,
        "min_over_time" => extreme(|a, b| a < b).1,
        "max_over_time" => extreme(|a, b| a > b).1,
        "ts_of_min_over_time" => seconds(extreme(|a, b| a < b).0),
        "ts_of_max_over_time" => seconds(extreme(|a, b| a > b).0),
        "last_over_time" => last,
        "first_over_time" => first,
        "present_over_time" => 1.0,
        "ts_of_last_over_time" => seconds(last_ms),
        "ts_of_first_over_time" => seconds(first_ms),
        "changes" => pairs().filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count() as f64,
        "resets" => pairs().filter(|(a, b)| b < a).count() as f64,
        "stdvar_over_time" => variance(&values),
        "stddev_over_time" => variance(&values).sqrt(),
        "quantile_over_time" => quantile(0.7, values),
        "mad_over_time" => {
            if values.iter().any(|value| value.is_nan()) {
                return Some(f64::NAN);
            }
            let median = quantile(0.5, values.clone());
            quantile(0.5, values.iter().map(|value| (value - median).abs()).collect())
        }
        "deriv" | "predict_linear" if values.len() < 2 => return None,
        "deriv" => line(samples, first_ms).0,
        "predict_linear" => {
            let (slope, value) = line(samples, at);
            terms.set(terms.get().max(terms_of_line(samples, at, slope, 30.0)));
            slope * 30.0 + value
        }
        "increase" if window.delta => sum,
        "rate" if window.delta => sum / range,
        "irate" | "idelta" => {
            let [.., (before_ms, before), (now_ms, now)] = samples.as_slice() else { return None };
            let rate = name == "irate";
            let reset = window.delta || now < before || anew(values.len() - 1);
            let difference = if rate && reset { *now } else { now - before };
            if rate { difference / seconds(now_ms - before_ms) } else { difference }
        }
        "rate" | "increase" | "delta" => {
            let counter = name != "delta";
            let begun = window.starts[0];
            let knows = counter && begun != 0 && begun > window.start && begun <= first_ms;
            let zero = knows && begun < first_ms;
            if values.len() < 2 && !zero {
                return None;
            }
            let is_reset = |at: &usize| counter && (values[*at] < values[at - 1] || anew(*at));
            let resets: f64 = (1..values.len()).filter(is_reset).map(|at| values[at - 1]).sum();
            let mut increase = last - first + resets;
            let (mut sampled, mut average) = (seconds(last_ms - first_ms), 0.0);
            if zero {
                // As if there were a sample of zero at the start.
                increase += first;
                sampled = seconds(last_ms - begun);
                average = sampled / count;
            } else {
                average += sampled / (count - 1.0);
            }
            let reach = |gap: f64| if gap >= average * 1.1 { average / 2.0 } else { gap };
            let mut to_start = if knows { 0.0 } else { reach(seconds(first_ms - window.start)) };
            if counter && !knows && increase > 0.0 && first >= 0.0 {
                to_start = to_start.min(sampled * first / increase);
            }
            let factor = (sampled + to_start + reach(seconds(window.end - last_ms))) / sampled;
            increase * if name == "rate" { factor / range } else { factor }
        }
        other => panic!("{other}"),
    })
}
