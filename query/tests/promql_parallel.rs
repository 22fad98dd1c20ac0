//! Several threads give the bits of one; what a plan says is what an evaluation does.

use std::cell::Cell;

use annals_model::{Budget, QueryLimits, SeriesKind, Timestamp};
use annals_query::promql::testing::MemorySource;
use annals_query::promql::{Answer, QueryOptions, Times, Value, explain, parse, range};

/// Many series that do not divide evenly, with gaps, resets and values of every digit.
fn source() -> MemorySource {
    let mut source = MemorySource::default();
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / 7.0
    };
    for series in 0..333 {
        let (name, group) = (series.to_string(), (series % 7).to_string());
        let samples = |next: &mut dyn FnMut() -> f64| -> Vec<(i64, f64)> {
            (0..60).filter(|step| (step + series) % 11 != 0).map(|step| (step * 15_000, next())).collect()
        };
        let (gauge, counter) = (samples(&mut next), samples(&mut next));
        source.add(&[("__name__", "m"), ("i", &name), ("g", &group)], SeriesKind::Gauge, &gauge);
        source.add(&[("__name__", "c_total"), ("i", &name), ("g", &group)], SeriesKind::Counter, &counter);
    }
    source
}

const QUERIES: [&str; 9] = [
    "sum by (g) (m)",
    "avg(rate(c_total[2m]))",
    "stddev by (g) (avg_over_time(m[3m]))",
    "topk by (g) (2, m)",
    "quantile(0.3, max_over_time(m[1m]))",
    "rate(m[2m])",
    "sum(rate({__name__=~\"m|c_total\"}[5m]))",
    "count(m > 900000) or min by (g) (m)",
    "sum_over_time(m[10m]) - on (i, g) increase(c_total[4m])",
];

fn ask(source: &MemorySource, query: &str, parallelism: usize) -> Answer {
    let options = QueryOptions { parallelism, ..QueryOptions::default() };
    let expr = parse(query).expect(query);
    let (start, end) = (Timestamp(0), Timestamp(900_000));
    range(source, &expr, start, end, 20_000, &options, &Budget::default()).expect(query)
}

fn bits(answer: &Answer) -> Vec<(String, Vec<(i64, u64)>)> {
    let Value::Matrix(series) = &answer.value else { panic!("a range query gives a matrix") };
    let points = |own: &annals_query::promql::Series| {
        own.points.iter().map(|(time, value)| (time.0, value.to_bits())).collect()
    };
    series.iter().map(|own| (own.labels.to_string(), points(own))).collect()
}

#[test]
fn threads_give_the_bits_and_the_annotations_of_one() {
    let source = source();
    for query in QUERIES {
        let one = ask(&source, query, 1);
        assert!(!bits(&one).is_empty(), "{query}");
        for threads in [2, 3, 5] {
            let many = ask(&source, query, threads);
            assert_eq!(bits(&one), bits(&many), "{query} with {threads}");
            assert_eq!((&one.warnings, &one.infos), (&many.warnings, &many.infos), "{query} with {threads}");
        }
    }
}

#[test]
fn a_part_that_is_repeated_is_evaluated_once() {
    let source = source();
    let samples = |query: &str| {
        let (budget, expr) = (Budget::default(), parse(query).expect(query));
        let (start, end, options) = (Timestamp(0), Timestamp(900_000), QueryOptions::default());
        let answer = range(&source, &expr, start, end, 20_000, &options, &budget).expect(query);
        assert_eq!(budget.memory_bytes(), 0, "{query}: what was kept is given back");
        (bits(&answer), budget.samples())
    };
    let once = samples("sum by (g) (rate(c_total[2m]))");
    let share = samples("sum by (g) (rate(c_total[2m])) / (sum by (g) (rate(c_total[2m])) + 1)");
    assert_eq!(share.1, once.1);
    let written_otherwise =
        samples("sum by (g) (rate(c_total[2m])) / (1 + sum by (g) ((rate(c_total[2m]))))");
    assert_eq!((written_otherwise.1, &written_otherwise.0), (2 * once.1, &share.0));
    // Other steps are another question.
    let windows = samples("sum(rate(c_total[2m])) + max_over_time(sum(rate(c_total[2m]))[1m:5s])");
    assert!(windows.1 > once.1);
}

#[test]
fn a_limit_crossed_in_a_thread_ends_the_query() {
    let source = source();
    let options = QueryOptions { parallelism: 3, ..QueryOptions::default() };
    let budget = Budget::new(QueryLimits { samples_max: 5_000, ..QueryLimits::default() });
    let expr = parse("sum(m)").expect("valid");
    let times = (Timestamp(0), Timestamp(900_000));
    let error = range(&source, &expr, times.0, times.1, 20_000, &options, &budget).expect_err("too many");
    assert!(error.to_string().contains("samples, over the limit of 5000"), "{error}");
}

#[test]
fn a_plan_reads_nothing_and_an_analysis_tells_what_each_part_took() {
    let source = source();
    let expr = parse("sum by (g) (rate(c_total[2m])) / 2 > scalar(max(m))").expect("valid");
    let times = Times::Range { start: Timestamp(0), end: Timestamp(900_000), step_ms: 20_000 };
    let options = QueryOptions::default();
    let budget = Budget::default();
    let plan = explain(&source, &expr, times, &options, &budget, None).expect("planned");
    assert_eq!(budget.samples(), 0);
    assert!(plan.answer.is_none() && plan.parts.iter().all(|part| part.cost.is_none()));
    let found: Vec<(usize, &str, Option<u64>)> = plan
        .parts
        .iter()
        .map(|part| (part.depth, part.what.as_str(), part.selector.as_ref().map(|selector| selector.series)))
        .collect();
    assert_eq!(
        found,
        [
            (0, "operator `>`", None),
            (1, "operator `/`", None),
            (2, "aggregation `sum by (g)`", None),
            (3, "call `rate`", None),
            (4, "window `c_total[2m]`", Some(333)),
            (2, "number `2`", None),
            (1, "call `scalar`", None),
            (2, "aggregation `max`", None),
            (3, "selector `m`", Some(333)),
        ]
    );
    let now = Cell::new(0);
    let clock = || {
        now.set(now.get() + 1_000);
        now.get()
    };
    let analysis = explain(&source, &expr, times, &options, &budget, Some(&clock)).expect("evaluated");
    assert!(budget.samples() > 0 && analysis.answer.is_some());
    let series = |what: &str| {
        let part = analysis.parts.iter().find(|part| part.what == what).expect(what);
        let cost = part.cost.expect(what);
        assert!(cost.nanoseconds > 0, "{what}");
        cost.series
    };
    assert_eq!((series("call `rate`"), series("aggregation `sum by (g)`")), (333, 7));
    assert_eq!((series("selector `m`"), series("aggregation `max`")), (333, 1));
}
