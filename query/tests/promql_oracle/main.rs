//! Random queries over random series, against a second evaluator that is slow and obvious.
//!
//! The obvious one (`obvious.rs`) looks at one time only, filters all samples by their stamps, and computes what each
//! definition says in the simplest way. It shares the parser with the real one and nothing else. What depends on
//! the last bit of a number (comparisons, ranks) is asked only of values that are exact.

mod chunked;
mod obvious;

use std::cell::Cell;
use std::collections::BTreeMap;

use annals_model::{Budget, LabelSet, SeriesKind, Timestamp};
use annals_query::promql::testing::{MemorySample, MemorySource};
use annals_query::promql::{Answer, QueryError, QueryOptions, Value, parse, range};
use chunked::Chunked;
use obvious::{Data, Obvious, Sample};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Metric, labels, kind.
type Declared = (&'static str, &'static [(&'static str, &'static str)], SeriesKind);

/// The series that queries name.
const SERIES: [Declared; 8] = [
    ("m", &[("a", "x"), ("b", "1")], SeriesKind::Gauge),
    ("m", &[("a", "x"), ("b", "2")], SeriesKind::Gauge),
    ("m", &[("a", "y"), ("b", "1")], SeriesKind::Gauge),
    ("n", &[("a", "x")], SeriesKind::Gauge),
    ("n", &[("a", "y")], SeriesKind::Gauge),
    ("c_total", &[("a", "x")], SeriesKind::Counter),
    ("c_total", &[("a", "y")], SeriesKind::Counter),
    ("d", &[("a", "x")], SeriesKind::Delta),
];

fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
    // Quarters add, subtract and multiply without rounding.
    let value = prop_oneof![
        20 => (-40i32..40).prop_map(|quarters| f64::from(quarters) / 4.0),
        1 => Just(f64::from_bits(annals_model::STALE_NAN_BITS)),
        1 => Just(f64::NAN),
    ];
    let gap = prop_oneof![6 => Just(15_000i64), 2 => 1i64..60_000, 1 => 60_000i64..400_000];
    prop::collection::vec((gap, value), 0..40).prop_map(|gaps| {
        let mut time = 0;
        let place = |(gap, value)| {
            time += gap;
            (time, value)
        };
        gaps.into_iter().map(place).collect()
    })
}

/// When what each sample counts began, as senders say it; 0 where they do not.
fn begun(samples: Vec<(i64, f64)>) -> impl Strategy<Value = Vec<Sample>> {
    // Of the process, of the sample before as deltas have it, just before, of no sense, none.
    let how =
        prop_oneof![4 => Just(0u8), 2 => Just(1), 2 => Just(2), 1 => Just(3), 1 => Just(4), 1 => Just(5)];
    let starts = prop::collection::vec((how, 0i64..600_000), samples.len());
    (any::<bool>(), starts).prop_map(move |(known, starts)| {
        let mut process = starts.first().map_or(0, |start| start.1 / 8);
        let mut place = |at: usize, (time, value): (i64, f64), (how, other): (u8, i64)| {
            let before = at.checked_sub(1).and_then(|at| samples.get(at)).map_or(1, |sample| sample.0);
            if how == 1 {
                process = (before + time) / 2;
            }
            let start = match how {
                0 | 1 => process,
                2 => before,
                3 => time - 1,
                4 => other,
                _ => 0,
            };
            (time, value, if known { start } else { 0 })
        };
        samples
            .iter()
            .zip(&starts)
            .enumerate()
            .map(|(at, (&sample, &start))| place(at, sample, start))
            .collect()
    })
}

fn counts() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let value = (0u32..30).prop_map(f64::from);
    prop::collection::vec((prop_oneof![4 => Just(15_000i64), 1 => 1i64..90_000], value), 0..40).prop_map(
        |gaps| {
            let mut time = 0;
            let place = |(gap, value)| {
                time += gap;
                (time, value)
            };
            gaps.into_iter().map(place).collect()
        },
    )
}

fn data() -> impl Strategy<Value = Vec<Vec<Sample>>> {
    let of = |(_, _, kind): &Declared| match kind {
        SeriesKind::Gauge => samples().prop_flat_map(begun).boxed(),
        SeriesKind::Counter => counts().prop_flat_map(begun).boxed(),
        _ => counts()
            .prop_map(|counts| counts.into_iter().map(|(time, value)| (time, value, 0)).collect())
            .boxed(),
    };
    SERIES.iter().map(of).collect::<Vec<_>>()
}

fn selector() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "m",
        "n",
        "c_total",
        "d",
        "m{b=\"1\"}",
        "m{a=~\"x|z\"}",
        "{a=\"x\"}",
        "n{a!=\"x\"}",
        "absent_metric",
    ]);
    let shift = prop_oneof![
        6 => Just(String::new()),
        1 => (-90i64..200).prop_map(|s| format!(" offset {}{}s", if s < 0 { "-" } else { "" }, s.abs())),
        1 => (0i64..600).prop_map(|s| format!(" @ {s}")),
        1 => Just(" @ end() offset 20s".to_owned()),
        1 => Just(" @ start()".to_owned()),
    ];
    (name, shift).prop_map(|(name, shift)| format!("{name}{shift}"))
}

/// A range vector with its shift behind the brackets.
fn window(inner: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let range = prop::sample::select(vec!["15s", "40s", "1m", "2m30s", "5m"]);
    let plain = (selector(), range.clone()).prop_map(|(selector, range)| match selector.find(" ") {
        Some(at) if !selector.starts_with('{') => format!("{}[{range}]{}", &selector[..at], &selector[at..]),
        _ => format!("{}[{range}]", selector.split(" ").next().unwrap_or_default()),
    });
    let step = prop::sample::select(vec!["", "10s", "15s", "1m"]);
    let sub = (inner, range, step).prop_map(|(inner, range, step)| format!("({inner})[{range}:{step}]"));
    prop_oneof![3 => plain, 1 => sub]
}

/// Queries whose values are exact.
fn exact() -> impl Strategy<Value = String> {
    let number = (-20i32..20).prop_map(|quarters| format!("{}", f64::from(quarters) / 4.0));
    let leaf = prop_oneof![6 => selector(), 1 => number.clone().prop_map(|n| format!("vector({n})"))];
    leaf.prop_recursive(3, 12, 2, move |inner| {
        let by =
            prop::sample::select(vec!["", " by (a)", " by (b)", " without (a)", " by (a, b)", " without ()"]);
        let op = prop::sample::select(vec!["sum", "count", "min", "max", "group"]);
        let arithmetic = prop::sample::select(vec!["+", "-", "*"]);
        let comparison = prop::sample::select(vec!["==", "!=", "<", ">=", "> bool", "<= bool"]);
        let set = prop::sample::select(vec!["and", "or", "unless"]);
        let matching = prop::sample::select(vec![
            "",
            " on (a)",
            " ignoring (b)",
            " on (a) group_left ()",
            " ignoring (b) group_right ()",
            " on ()",
        ]);
        let one_to_one = prop::sample::select(vec!["", " on (a)", " ignoring (b)", " on ()"]);
        let over = prop::sample::select(vec![
            "sum_over_time",
            "count_over_time",
            "min_over_time",
            "max_over_time",
            "last_over_time",
            "first_over_time",
            "present_over_time",
            "changes",
            "resets",
            "ts_of_last_over_time",
            "idelta",
            "ts_of_min_over_time",
            "ts_of_max_over_time",
            "ts_of_first_over_time",
        ]);
        // Which of equal ones is chosen does not show.
        let chosen = prop::sample::select(vec![
            ("count", "topk"),
            ("sum", "topk"),
            ("sum", "bottomk"),
            ("max", "bottomk"),
            ("count", "limitk"),
        ]);
        let of_one = prop::sample::select(vec![
            "abs",
            "ceil",
            "floor",
            "sgn",
            "-",
            "timestamp",
            "start_timestamp",
            "round",
            "absent",
        ]);
        prop_oneof![
            (op, by.clone(), inner.clone()).prop_map(|(op, by, inner)| format!("{op}{by} ({inner})")),
            (inner.clone(), arithmetic.clone(), number.clone())
                .prop_map(|(a, op, b)| format!("({a}) {op} {b}")),
            (inner.clone(), comparison.clone(), number.clone())
                .prop_map(|(a, op, b)| format!("({a}) {op} {b}")),
            (inner.clone(), arithmetic, matching.clone(), inner.clone())
                .prop_map(|(a, op, m, b)| format!("({a}) {op}{m} ({b})")),
            (inner.clone(), comparison, matching, inner.clone())
                .prop_map(|(a, op, m, b)| format!("({a}) {op}{m} ({b})")),
            (inner.clone(), set, one_to_one, inner.clone())
                .prop_map(|(a, op, m, b)| format!("({a}) {op}{m} ({b})")),
            (over, window(inner.clone())).prop_map(|(over, window)| format!("{over}({window})")),
            (of_one, inner.clone()).prop_map(|(f, inner)| format!("{f}({inner})")),
            (inner.clone(), number.clone()).prop_map(|(a, n)| format!("clamp({a}, -2, {n})")),
            (inner.clone(), by.clone()).prop_map(|(a, by)| format!("count_values{by} (\"v\", {a})")),
            (chosen, inner.clone(), by, 0u32..4)
                .prop_map(|((all, op), a, by, k)| format!("{all}({op}{by} ({k}, {a}))")),
            inner.clone().prop_map(|a| format!("scalar({a}) + ({a})")),
            inner.prop_map(|a| format!("label_replace({a}, \"c\", \"$1-\", \"a\", \"(.*)\")")),
        ]
    })
}

/// Queries whose values are rounded.
fn rounded() -> impl Strategy<Value = String> {
    let by = prop::sample::select(vec!["", " by (a)", " without (b)"]);
    let op = prop::sample::select(vec!["avg", "stddev", "stdvar"]);
    let over = prop::sample::select(vec![
        "avg_over_time",
        "stddev_over_time",
        "stdvar_over_time",
        "rate",
        "increase",
        "delta",
        "irate",
        "deriv",
        "mad_over_time",
    ]);
    prop_oneof![
        (op, by.clone(), exact()).prop_map(|(op, by, inner)| format!("{op}{by} ({inner})")),
        (over.clone(), window(exact())).prop_map(|(over, window)| format!("{over}({window})")),
        (by.clone(), over, window(exact()))
            .prop_map(|(by, over, window)| format!("sum{by} ({over}({window}))")),
        (by, exact()).prop_map(|(by, inner)| format!("quantile{by} (0.3, {inner})")),
        window(exact()).prop_map(|window| format!("quantile_over_time(0.7, {window})")),
        window(exact()).prop_map(|window| format!("predict_linear({window}, 30)")),
        (exact(), exact()).prop_map(|(a, b)| format!("({a}) / on (a) ({b})")),
        exact().prop_map(|a| format!("({a}) % 3 ^ 2")),
        exact(),
    ]
}

/// The points of an answer by labels and time.
fn points(answer: &Answer) -> BTreeMap<(String, i64), f64> {
    let Value::Matrix(series) = &answer.value else { panic!("a range query gives a matrix") };
    let all = series.iter().flat_map(|own| own.points.iter().map(|point| (own.labels.to_string(), point)));
    all.map(|(labels, point)| ((labels, point.0.0), point.1)).collect()
}

fn near_points(a: &BTreeMap<(String, i64), f64>, b: &BTreeMap<(String, i64), f64>, terms: f64) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && near(*a.1, *b.1, terms))
}

/// The points by labels without the name, and time; several where only the name told them apart.
fn nameless(points: &BTreeMap<(String, i64), f64>) -> BTreeMap<(String, i64), Vec<f64>> {
    let mut out: BTreeMap<_, Vec<f64>> = BTreeMap::new();
    for ((labels, time), value) in points {
        let labels = labels.find('{').map_or("", |at| &labels[at..]);
        out.entry((labels.to_owned(), *time)).or_default().push(*value);
    }
    out.values_mut().for_each(|values| values.sort_by(f64::total_cmp));
    out
}

fn near_all(
    a: &BTreeMap<(String, i64), Vec<f64>>,
    b: &BTreeMap<(String, i64), Vec<f64>>,
    terms: f64,
) -> bool {
    let near_each =
        |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| near(*a, *b, terms));
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0 && near_each(a.1, b.1))
}

/// Whether two answers are the same but for the rounding of sums.
fn same(a: &Result<Answer, QueryError>, b: &Result<Answer, QueryError>, terms: f64) -> bool {
    match (a, b) {
        (Ok(a), Ok(b)) => near_points(&points(a), &points(b), terms),
        (a, b) => a.is_err() && b.is_err(),
    }
}

/// Near for numbers that were rounded in different orders: terms are at most ten, and fewer than a thousand of them make a
/// number, so that this is 1e-12 of the sum of their absolute values at most; where they are larger, `terms` is that sum.
fn near(a: f64, b: f64, terms: f64) -> bool {
    let allowed = 1e-9 * (1.0 + a.abs().max(b.abs())) + 1e-12 * terms;
    (a.is_nan() && b.is_nan()) || a == b || (a - b).abs() <= allowed
}

proptest! {
    // PROPTEST_CASES asks for more.
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(3000),
        // The same cases in every run, unless PROPTEST_RNG_SEED asks for others.
        rng_seed: match ProptestConfig::default().rng_seed {
            RngSeed::Random => RngSeed::Fixed(1),
            fixed => fixed,
        },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn random_queries_agree_with_the_obvious_evaluator(
        data in data(),
        query in rounded(),
        start_s in -60i64..500,
        step_ms in prop_oneof![Just(15_000i64), Just(60_000), 1i64..90_000],
        steps in 1i64..8,
        chunk in 1usize..12,
        cut in 0i64..8,
    ) {
        let mut source = MemorySource::default();
        let mut own = Data::new();
        for ((name, labels, kind), samples) in SERIES.iter().zip(&data) {
            let pairs = labels.iter().copied().chain([("__name__", *name)]);
            let started = |&(time, value, start)| MemorySample { start, ..MemorySample::float(time, value) };
            let labels = LabelSet::from_pairs(pairs.clone()).expect("labels");
            source.add_samples(labels, *kind, samples.iter().map(started).collect());
            let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
            own.push((pairs.collect(), *kind, samples.clone()));
        }
        let expr = parse(&query).unwrap_or_else(|error| panic!("{}", error.render(&query)));
        let (start, end) = (start_s * 1000, start_s * 1000 + step_ms * (steps - 1));
        let (options, budget) = (QueryOptions::default(), Budget::default());
        let found = range(&source, &expr, Timestamp(start), Timestamp(end), step_ms, &options, &budget);
        let obvious = Obvious { data: &own, start, end, terms: Cell::new(0.0) };
        let wanted = obvious.answers(&expr, (0..steps).map(|step| start + step * step_ms));
        let terms = obvious.terms.get();
        // The same from chunks, some of which come as their aggregates.
        let chunked = Chunked { source: &source, chunk };
        let from_chunks = range(&chunked, &expr, Timestamp(start), Timestamp(end), step_ms, &options, &budget);
        prop_assert!(same(&found, &from_chunks, terms), "{query} in chunks of {chunk}:\n{found:?}\n{from_chunks:?}");
        // Both parts of the range, where no part of the query asks for its ends.
        if cut < steps - 1 && !query.contains('@') {
            let middle = start + cut * step_ms;
            let part = |start, end| {
                range(&source, &expr, Timestamp(start), Timestamp(end), step_ms, &options, &budget)
            };
            let parts = (part(start, middle), part(middle + step_ms, end));
            if let (Ok(found), (Ok(first), Ok(second))) = (&found, parts) {
                let joined = points(&first).into_iter().chain(points(&second)).collect();
                let whole = points(found);
                // What a series is called may hang on a sample of the first part, where sides of an `or` take turns.
                let same = if query.contains(" or") {
                    near_all(&nameless(&whole), &nameless(&joined), terms)
                } else {
                    near_points(&whole, &joined, terms)
                };
                prop_assert!(same, "{query} cut at {middle}: {found:?}");
            }
        }
        match (found, wanted) {
            (Err(_), Err(_)) => {}
            // A subquery is evaluated between the windows too, where the obvious evaluator never looks.
            (Err(QueryError::Promql(_)), Ok(_)) if query.contains(":]") || query.contains("s:") || query.contains("m:") => {}
            (Ok(answer), Ok(wanted)) => {
                let Value::Matrix(series) = answer.value else { panic!("a range query gives a matrix") };
                for (step, wanted) in (0..).zip(wanted) {
                    let at = start + step * step_ms;
                    let value = |s: &annals_query::promql::Series| s.points.iter().find(|p| p.0.0 == at).map(|p| p.1);
                    let here: Vec<_> = series.iter().filter_map(|s| Some((&s.labels, value(s)?))).collect();
                    let same = here.len() == wanted.len()
                        && here.iter().all(|(labels, value)| {
                            let labels: obvious::Labels =
                                labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
                            wanted.get(&labels).is_some_and(|wanted| near(*value, *wanted, terms))
                        });
                    prop_assert!(same, "{query} at {at}:\n found {here:?}\nwanted {wanted:?}");
                }
            }
            (found, wanted) => prop_assert!(false, "{query}:\n found {:?}\nwanted {wanted:?}", found.map(|answer| answer.value)),
        }
    }
}

#[test]
fn a_series_has_the_name_that_its_first_sample_has() {
    let mut source = MemorySource::default();
    let labels = LabelSet::from_pairs([("__name__", "m"), ("b", "1")]).expect("labels");
    source.add_set(labels, SeriesKind::Gauge, &[(0, 1.0), (60_000, 2.0)]);
    let ask = |query: &str| {
        let expr = parse(query).expect("valid");
        let (options, budget) =
            (QueryOptions { lookback_ms: 10_000, ..QueryOptions::default() }, Budget::default());
        let (start, end) = (Timestamp(0), Timestamp(60_000));
        let answer = range(&source, &expr, start, end, 30_000, &options, &budget).expect("answered");
        let Value::Matrix(series) = answer.value else { panic!("a range query gives a matrix") };
        series.iter().map(|series| (series.labels.to_string(), series.points.len())).collect::<Vec<_>>()
    };
    let named = |name: &str, points| vec![(format!("{name}{{b=\"1\"}}"), points)];
    // At 0 and 60 s it comes from the right, at 30 s from the left, and the other way round.
    assert_eq!(ask("abs(m offset 30s) or m"), named("m", 3));
    assert_eq!(ask("m offset 30s or abs(m)"), named("", 3));
    // A side that is empty at every step says nothing.
    assert_eq!(ask("clamp(m, 2, 1) or m"), named("m", 2));
}

#[test]
fn a_series_that_an_or_takes_from_both_sides_is_one_series() {
    let mut source = MemorySource::default();
    let labels = LabelSet::from_pairs([("__name__", "m"), ("b", "1")]).expect("labels");
    source.add_set(labels, SeriesKind::Gauge, &[(15_000, -0.25), (30_000, 0.0)]);
    let expr = parse("avg_over_time((m + 0 or m offset -15s)[40s:10s])").expect("valid");
    let at = Timestamp(30_000);
    let answer =
        range(&source, &expr, at, at, 1, &QueryOptions::default(), &Budget::default()).expect("answered");
    let Value::Matrix(series) = answer.value else { panic!("a range query gives a matrix") };
    assert_eq!(series.len(), 1);
    // At 0 and 10 s it comes from the right, at 20 and 30 s from the left.
    assert!(near(series[0].points[0].1, -0.1875, 0.0), "{:?}", series[0].points);
}
