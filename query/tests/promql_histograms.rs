//! Native histograms: against the float counters that they generalise, against themselves, and over any split of time.

use std::collections::BTreeSet;
use std::sync::Arc;

use annals_model::{
    Budget, CUSTOM_BUCKETS_SCHEMA, Histogram, LabelSet, LimitExceeded, QueryLimits, ResetHint, SeriesKind,
    Timestamp,
};
use annals_query::promql::testing::{MemorySample, MemorySource};
use annals_query::promql::{Answer, QueryError, QueryOptions, Sample, Value, instant, parse, range};
use proptest::prelude::*;

fn labels(name: &str, site: &str) -> LabelSet {
    LabelSet::from_pairs([("__name__", name), ("site", site)]).expect("labels")
}

/// A histogram whose observations all lie in one bucket.
fn counter(count: f64) -> Histogram {
    Histogram { count, sum: count, positive: vec![(1, count)], ..Histogram::default() }.compacted()
}

fn sample(time: i64, histogram: Histogram) -> MemorySample {
    MemorySample { histogram: Some(Arc::new(histogram)), ..MemorySample::float(time, f64::NAN) }
}

fn whole_counts(most: u32) -> impl Strategy<Value = f64> {
    (0..most).prop_map(f64::from)
}

fn exponential() -> impl Strategy<Value = Histogram> {
    let side = || prop::collection::btree_map(-2i32..7, whole_counts(9), 0..5);
    (
        prop::sample::select(vec![-1i8, 0, 1, 3]),
        side(),
        side(),
        whole_counts(5),
        prop::sample::select(vec![0.0, 0.001, 0.5]),
    )
        .prop_map(|(schema, positive, negative, zero_count, zero_threshold)| {
            // Buckets begin where the zero bucket ends.
            let outside =
                |index: i32| (f64::from(index - 1) / f64::from(schema).exp2()).exp2() >= zero_threshold;
            let side = |buckets: std::collections::BTreeMap<i32, f64>| -> Vec<(i32, f64)> {
                buckets.into_iter().filter(|(index, _)| outside(*index)).collect()
            };
            let (positive, negative) = (side(positive), side(negative));
            let all = |side: &[(i32, f64)]| side.iter().map(|(_, count)| count).sum::<f64>();
            let count = zero_count + all(&positive) + all(&negative);
            let sum = all(&positive) - all(&negative);
            Histogram {
                schema,
                count,
                sum,
                zero_count,
                zero_threshold,
                positive,
                negative,
                ..Histogram::default()
            }
            .compacted()
        })
}

fn custom() -> impl Strategy<Value = Histogram> {
    let bounds = prop::sample::subsequence(vec![-1.0, 0.0, 1.0, 2.0, 5.0], 0..5);
    bounds.prop_flat_map(|bounds| {
        let counts = prop::collection::vec(whole_counts(9), bounds.len() + 1);
        (Just(bounds), counts).prop_map(|(bounds, counts)| {
            let count = counts.iter().sum();
            let positive = (0i32..).zip(counts).collect();
            let custom_bounds = bounds.into();
            Histogram {
                schema: CUSTOM_BUCKETS_SCHEMA,
                count,
                sum: 2.0 * count,
                positive,
                custom_bounds,
                ..Histogram::default()
            }
            .compacted()
        })
    })
}

fn any_histogram() -> impl Strategy<Value = Histogram> {
    let hint = prop::sample::select(vec![
        ResetHint::Unknown,
        ResetHint::Unknown,
        ResetHint::Reset,
        ResetHint::NotReset,
        ResetHint::Gauge,
    ]);
    (prop_oneof![3 => exponential(), 1 => custom()], hint)
        .prop_map(|(own, reset_hint)| Histogram { reset_hint, ..own })
}

/// Samples of both types at irregular times, some with a start.
fn mixed() -> impl Strategy<Value = Vec<MemorySample>> {
    let value = prop_oneof![
        4 => any_histogram().prop_map(|own| sample(0, own)),
        2 => whole_counts(20).prop_map(|value| MemorySample::float(0, value)),
        1 => Just(MemorySample::float(0, f64::from_bits(annals_model::STALE_NAN_BITS))),
    ];
    let gap = prop_oneof![3 => Just(15_000i64), 1 => 1i64..60_000];
    let start = prop_oneof![3 => Just(None), 1 => (-5_000i64..70_000).prop_map(Some)];
    prop::collection::vec((gap, value, start), 0..14).prop_map(|samples| {
        let mut time = 0;
        let place = |(gap, value, start): (i64, MemorySample, Option<i64>)| {
            time += gap;
            MemorySample { time, start: start.map_or(0, |start| time - start), ..value }
        };
        samples.into_iter().map(place).collect()
    })
}

/// Histograms of one layout, as a series mostly has them.
fn of_one_layout() -> impl Strategy<Value = Vec<MemorySample>> {
    let histograms = any_histogram().prop_flat_map(|first| {
        let layout = move |other: Histogram| {
            let fits = other.has_layout_of(&first);
            if fits { other } else { first.scaled(other.count) }
        };
        prop::collection::vec(any_histogram().prop_map(layout), 0..14)
    });
    histograms
        .prop_map(|histograms| (1..).zip(histograms).map(|(at, own)| sample(at * 15_000, own)).collect())
}

fn ask(source: &MemorySource, query: &str, at: i64) -> Answer {
    let expr = parse(query).unwrap_or_else(|error| panic!("{}", error.render(query)));
    instant(source, &expr, Timestamp(at), &QueryOptions::default(), &Budget::default())
        .unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// The only number of an answer.
fn number(source: &MemorySource, query: &str, at: i64) -> Option<f64> {
    let Value::Vector(vector) = ask(source, query, at).value else { panic!("{query}: a vector") };
    assert!(vector.len() <= 1, "{query}: {vector:?}");
    vector.first().map(|one| one.2.float().unwrap_or_else(|| panic!("{query}: a number")))
}

fn near(a: f64, b: f64) -> bool {
    (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()))
}

/// Everything that looks at histograms.
const QUERIES: [&str; 44] = [
    "h",
    "h * 2",
    "h / 3",
    "-h",
    "h + h",
    "h - h offset 20s",
    "h == h offset 15s",
    "h != h offset 15s",
    "h </ 1.5",
    "h >/ 0.2",
    "sum(h)",
    "avg(h)",
    "count(h)",
    "sum by (site) (h)",
    "min(h)",
    "topk(1, h)",
    "count_values(\"v\", h)",
    "limitk(1, h)",
    "limit_ratio(0.5, h)",
    "rate(h[1m])",
    "increase(h[50s])",
    "delta(h[1m])",
    "irate(h[1m])",
    "idelta(h[1m])",
    "sum_over_time(h[1m])",
    "avg_over_time(h[1m])",
    "count_over_time(h[1m])",
    "last_over_time(h[1m])",
    "first_over_time(h[40s])",
    "changes(h[1m])",
    "resets(h[1m])",
    "max_over_time(h[1m])",
    "ts_of_last_over_time(h[1m])",
    "increase(h[40s] anchored)",
    "rate(h[40s] smoothed)",
    "changes(h[40s] anchored)",
    "h smoothed",
    "histogram_quantile(0.3, h)",
    "histogram_fraction(-1, 2, rate(h[1m]))",
    "histogram_stddev(h)",
    "histogram_count(increase(h[1m:10s]))",
    "h or g",
    "start_timestamp(h)",
    "timestamp(h)",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_range_says_at_each_step_what_an_instant_says(
        a in mixed(), b in of_one_layout(), g in mixed(), start in -30i64..120, step_ms in prop_oneof![Just(15_000i64), 1i64..40_000],
    ) {
        let mut source = MemorySource::default();
        source.add_samples(labels("h", "a"), SeriesKind::Counter, a);
        source.add_samples(labels("h", "b"), SeriesKind::Counter, b);
        source.add_samples(labels("g", "b"), SeriesKind::Counter, g);
        let (start, steps) = (start * 1000, 5);
        for query in QUERIES {
            let expr = parse(query).expect(query);
            let (options, budget) = (QueryOptions::default(), Budget::default());
            let end = start + (steps - 1) * step_ms;
            let whole = range(&source, &expr, Timestamp(start), Timestamp(end), step_ms, &options, &budget);
            let Ok(Answer { value: Value::Matrix(whole), warnings, infos, .. }) = whole else { panic!("{query}: {whole:?}") };
            let mut remarks: BTreeSet<String> = BTreeSet::new();
            for at in (0..steps).map(|step| start + step * step_ms) {
                let Answer { value: Value::Vector(one), warnings, infos, .. } = ask(&source, query, at) else { panic!("a vector") };
                remarks.extend(warnings.iter().chain(&infos).map(|remark| format!("{remark:?}")));
                let mut here = 0;
                for series in &whole {
                    let float = series.points.iter().find(|point| point.0.0 == at).map(|point| Sample::Float(point.1));
                    let own = series.histograms.iter().find(|point| point.0.0 == at);
                    let Some(found) = float.or(own.map(|point| Sample::Histogram(Arc::clone(&point.1)))) else { continue };
                    here += 1;
                    let wanted = one.iter().find(|one| one.0 == series.labels).map(|one| &one.2);
                    let same = match (&found, wanted) {
                        (Sample::Float(a), Some(Sample::Float(b))) => near(*a, *b),
                        (Sample::Histogram(a), Some(Sample::Histogram(b))) => a.equals(b),
                        _ => false,
                    };
                    prop_assert!(same, "{query} at {at}: {found:?}, as an instant {wanted:?}");
                    if let Sample::Histogram(own) = found {
                        prop_assert_eq!(own.check(), Ok(()), "{}", query);
                    }
                }
                prop_assert_eq!(here, one.len(), "{} at {}", query, at);
            }
            let of_range: BTreeSet<String> = warnings.iter().chain(&infos).map(|remark| format!("{remark:?}")).collect();
            prop_assert_eq!(of_range, remarks, "{}", query);
        }
    }

    #[test]
    fn the_count_of_a_histogram_behaves_as_a_counter(
        counts in prop::collection::vec((prop_oneof![Just(15_000i64), 1i64..60_000], whole_counts(40), any::<bool>()), 1..20),
        at in 0i64..400,
    ) {
        let mut source = MemorySource::default();
        let mut time = 0;
        for (gap, count, starts) in counts {
            time += gap;
            let start = if starts { (time - gap / 2).max(1) } else { 0 };
            let float = MemorySample { start, ..MemorySample::float(time, count) };
            source.add_samples(labels("c_total", "a"), SeriesKind::Counter, vec![float]);
            source.add_samples(labels("h", "a"), SeriesKind::Counter, vec![MemorySample { start, ..sample(time, counter(count)) }]);
        }
        for (function, extended) in [
            ("rate", ""), ("increase", ""), ("delta", ""), ("irate", ""), ("idelta", ""), ("sum_over_time", ""),
            ("avg_over_time", ""), ("last_over_time", ""), ("first_over_time", ""), ("increase", " anchored"),
            ("rate", " smoothed"), ("delta", " smoothed"),
        ] {
            for window in ["30s", "1m1ms", "3m"] {
                let own = number(&source, &format!("histogram_count({function}(h[{window}]{extended}))"), at * 1000);
                let float = number(&source, &format!("{function}(c_total[{window}]{extended})"), at * 1000);
                let same = match (own, float) {
                    (Some(own), Some(float)) => near(own, float),
                    (own, float) => own == float,
                };
                prop_assert!(same, "{function}[{window}]{extended} at {at}: {own:?}, of floats {float:?}");
            }
        }
        for function in ["changes", "resets", "count_over_time", "present_over_time", "ts_of_last_over_time"] {
            let own = number(&source, &format!("{function}(h[2m])"), at * 1000);
            prop_assert_eq!(own, number(&source, &format!("{function}(c_total[2m])"), at * 1000), "{}", function);
        }
    }

    #[test]
    fn what_is_trimmed_below_and_above_is_the_whole(own in prop_oneof![exponential(), custom()], cut in -6.0f64..9.0) {
        let mut source = MemorySource::default();
        let count = own.count;
        source.add_samples(labels("h", "a"), SeriesKind::Gauge, vec![sample(1000, own.clone())]);
        let below = number(&source, &format!("histogram_count(h </ ({cut}))"), 1000).expect("a count");
        let above = number(&source, &format!("histogram_count(h >/ ({cut}))"), 1000).expect("a count");
        // In an infinite bucket nobody knows, so its observations can be on neither side.
        let infinite = own.is_custom() && (own.custom_bounds.is_empty() || own.custom_bounds.iter().all(|bound| *bound <= cut));
        prop_assert!(near(below + above, count) || infinite, "{below} and {above} of {count}");
        let fraction = number(&source, &format!("histogram_fraction(-Inf, {cut}, h)"), 1000).expect("a fraction");
        prop_assert!(count == 0.0 || infinite || near(fraction * count, below), "{fraction} of {count}, {below} below {cut}");
    }

    #[test]
    fn sums_of_one_zero_bucket_do_not_depend_on_the_order(a in exponential(), b in exponential(), c in exponential()) {
        // A wider zero bucket swallows whole buckets, and how wide those are depends on what was added before.
        let [a, b, c] = [a, b, c].map(|own| Histogram {
            zero_threshold: 0.0,
            ..own
        });
        let sum = |x: &Histogram, y: &Histogram, z: &Histogram| {
            let (first, _) = x.plus(y).expect("exponential");
            first.plus(z).expect("exponential").0
        };
        let all = sum(&a, &b, &c);
        prop_assert!(all.equals(&sum(&c, &b, &a)) && all.equals(&sum(&b, &c, &a)));
        prop_assert_eq!(all.check(), Ok(()));
        let buckets: f64 = all.buckets().map(|bucket| bucket.count).sum();
        prop_assert_eq!(buckets, all.count);
        let (rest, _) = all.minus(&c).expect("exponential");
        prop_assert!(near(rest.count, a.count + b.count));
    }

    #[test]
    fn a_quantile_lies_where_its_fraction_says(own in exponential(), phi in 0.01f64..0.99) {
        prop_assume!(own.count > 0.0);
        let mut source = MemorySource::default();
        source.add_samples(labels("h", "a"), SeriesKind::Gauge, vec![sample(1000, own)]);
        let value = number(&source, &format!("histogram_quantile({phi}, h)"), 1000).expect("a quantile");
        let below = |at: f64| number(&source, &format!("histogram_fraction(-Inf, {at:?}, h)"), 1000).expect("a fraction");
        let room = 1e-9 * (1.0 + value.abs());
        prop_assert!(below(value - room) <= phi + 1e-6 && phi - 1e-6 <= below(value + room), "{phi} at {value}");
    }
}

#[test]
fn histograms_count_against_the_memory_of_a_query() {
    let mut source = MemorySource::default();
    let wide = |count: f64| (0..2000).map(|index| (index, count)).collect();
    let samples = (0..100).map(|i| {
        sample(
            i * 1000,
            Histogram {
                schema: 8,
                count: 2000.0 * i as f64,
                positive: wide(i as f64),
                ..Histogram::default()
            },
        )
    });
    source.add_samples(labels("h", "a"), SeriesKind::Counter, samples.collect());
    let limits = QueryLimits { memory_bytes_max: 1 << 20, ..QueryLimits::default() };
    for query in
        ["h", "rate(h[10s])", "h * 2", "sum(h)", "rate(h[10s] smoothed)", "-h", "sum_over_time(h[20s:1s])"]
    {
        let expr = parse(query).expect(query);
        let (options, budget) = (QueryOptions::default(), Budget::new(limits));
        let result = range(&source, &expr, Timestamp(0), Timestamp(99_000), 1000, &options, &budget);
        let over =
            matches!(result, Err(QueryError::Limit(LimitExceeded::Over { what: "bytes of memory", .. })));
        assert!(over, "{query}: {:?}", result.map(|_| ()));
    }
}

#[test]
fn plain_floats_pay_nothing_for_histograms() {
    let mut source = MemorySource::default();
    source.add(&[("__name__", "m")], SeriesKind::Gauge, &[(0, 1.0)]);
    let Value::Vector(vector) = ask(&source, "m", 0).value else { panic!("a vector") };
    assert_eq!(vector[0].2, Sample::Float(1.0));
    assert_eq!(annals_model::Samples::default().histograms.capacity(), 0);
}

#[test]
fn histograms_of_events_add_up_without_extrapolation() {
    let mut source = MemorySource::default();
    let samples =
        [(60_000, 2.0), (120_000, 1.0), (180_000, 4.0)].map(|(time, count)| sample(time, counter(count)));
    source.add_samples(labels("h", "a"), SeriesKind::Delta, samples.to_vec());
    assert_eq!(number(&source, "histogram_count(increase(h[2m]))", 180_000), Some(5.0));
    assert_eq!(number(&source, "histogram_count(increase(h[5m]))", 180_000), Some(7.0));
    assert_eq!(number(&source, "histogram_count(rate(h[100s]))", 180_000), Some(0.05));
    assert_eq!(number(&source, "histogram_count(increase(h[2m] anchored))", 180_000), Some(5.0));
    assert_eq!(number(&source, "histogram_count(irate(h[2m]))", 180_000), Some(4.0 / 60.0));
}
