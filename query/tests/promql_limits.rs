//! Limits, the ends of time, gaps in the data, and queries that must not panic.

use annals_model::{Budget, Coverage, LimitExceeded, Missing, QueryLimits, SeriesKind, TimeRange, Timestamp};
use annals_query::promql::testing::MemorySource;
use annals_query::promql::{Answer, QueryError, QueryOptions, Value, instant, parse, range};
use proptest::prelude::*;

fn source() -> MemorySource {
    let mut source = MemorySource::default();
    for (site, scale) in [("a", 1.0), ("b", 2.0), ("c", 3.0)] {
        let samples: Vec<(i64, f64)> = (0..60).map(|i| (i * 60_000, scale * i as f64)).collect();
        source.add(&[("__name__", "m_total"), ("site", site)], SeriesKind::Counter, &samples);
        source.add(&[("__name__", "h_bucket"), ("site", site), ("le", "1")], SeriesKind::Counter, &samples);
        source.add(
            &[("__name__", "h_bucket"), ("site", site), ("le", "+Inf")],
            SeriesKind::Counter,
            &samples,
        );
    }
    source
}

fn ask(limits: QueryLimits, query: &str, steps: i64) -> Result<Answer, QueryError> {
    let expr = parse(query).expect(query);
    let budget = Budget::new(limits);
    let end = Timestamp(steps * 1000);
    range(&source(), &expr, Timestamp(0), end, 1000, &QueryOptions::default(), &budget)
}

fn over(result: Result<Answer, QueryError>) -> (&'static str, u64) {
    match result {
        Err(QueryError::Limit(LimitExceeded::Over { what, limit, asked })) if asked > limit => (what, limit),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_limit_is_an_error_that_names_it() {
    let free = QueryLimits::default();
    assert_eq!(over(ask(QueryLimits { series_max: 2, ..free }, "m_total", 10)), ("series", 2));
    assert_eq!(over(ask(QueryLimits { samples_max: 100, ..free }, "m_total", 3_000)), ("samples", 100));
    assert_eq!(over(ask(QueryLimits { steps_max: 100, ..free }, "m_total", 100)), ("steps", 100));
    assert!(ask(QueryLimits { steps_max: 101, ..free }, "m_total", 100).is_ok());
    let small = QueryLimits { memory_bytes_max: 10_000, ..free };
    for query in [
        "m_total",
        "sum by (site) (m_total)",
        "1 + time()",
        "max_over_time(m_total[1h:1s])",
        "vector(1)[30d:1ms]",
        "time() + m_total",
    ] {
        let query =
            if query.starts_with("vector") { format!("sum_over_time({query})") } else { query.to_owned() };
        assert_eq!(over(ask(small, &query, 1_000)), ("bytes of memory", 10_000), "{query}");
    }
    assert_eq!(over(ask(free, "sum_over_time(vector(1)[290y:1ms])", 10)).0, "bytes of memory");
}

#[test]
fn an_aggregation_holds_its_groups_and_not_its_series() {
    let mut source = MemorySource::default();
    for series in 0..500 {
        let name = format!("{series}");
        source.add(&[("__name__", "m"), ("i", &name)], SeriesKind::Gauge, &[(1000, 1.0)]);
    }
    let budget = Budget::new(QueryLimits { memory_bytes_max: 1 << 20, ..QueryLimits::default() });
    let ask = |query: &str| {
        let expr = parse(query).expect(query);
        range(&source, &expr, Timestamp(1000), Timestamp(1_001_000), 1000, &QueryOptions::default(), &budget)
    };
    assert!(ask("sum(m)").is_ok());
    assert!(ask("sum(max_over_time(m[5m]))").is_ok());
    // Of those that are chosen from, what is chosen.
    for chosen in ["topk(3, m)", "bottomk(3, m)", "limitk(3, m)", "topk(3, max_over_time(m[5m]))"] {
        assert!(ask(chosen).is_ok(), "{chosen}");
    }
    assert!(ask("topk(200, m)").is_err());
    assert!(ask("m").is_err());
    // What a query held, it has given back: also the one that failed.
    assert!(ask("sum(m)").is_ok());
}

#[test]
fn the_points_of_an_answer_and_its_time_are_limited() {
    let free = QueryLimits::default();
    let few = QueryLimits { points_max: 100, ..free };
    assert_eq!(over(ask(few, "m_total", 100)), ("points in the answer", 100));
    assert!(ask(few, "sum(m_total)", 99).is_ok());
    let ask_one = |query: &str| {
        let expr = parse(query).expect(query);
        let budget = Budget::new(QueryLimits { points_max: 2, ..free });
        instant(&source(), &expr, Timestamp(600_000), &QueryOptions::default(), &budget)
    };
    assert_eq!(over(ask_one("m_total")), ("points in the answer", 2));
    assert_eq!(over(ask_one("m_total[5m]")), ("points in the answer", 2));
    // Each look at the clock finds it a second later.
    let now = std::sync::atomic::AtomicI64::new(0);
    let clock = move || now.fetch_add(1_000, std::sync::atomic::Ordering::Relaxed);
    let budget = Budget::new(QueryLimits { time_ms_max: 2_500, ..free }).with_clock(Box::new(clock));
    let expr = parse("quantile(0.5, m_total)").expect("valid");
    let (start, end) = (Timestamp(0), Timestamp(3_000_000));
    let result = range(&source(), &expr, start, end, 1_000, &QueryOptions::default(), &budget);
    assert_eq!(over(result), ("milliseconds", 2_500));
}

/// What a query is refused with; the source answers as before.
fn refused(query: &str, limits: QueryLimits, times: (i64, i64, i64)) -> String {
    let source = source();
    let budget = Budget::new(limits);
    let asked = parse(query).map_err(QueryError::from).and_then(|expr| {
        let (start, end, step) = times;
        let options = QueryOptions::default();
        range(&source, &expr, Timestamp(start), Timestamp(end), step, &options, &budget)
    });
    let error = asked.err().unwrap_or_else(|| panic!("{query} is answered"));
    assert!(ask(QueryLimits::default(), "sum(m_total)", 10).is_ok());
    assert_eq!(budget.memory_bytes(), 0, "{query}: what it held is given back");
    match error {
        QueryError::Promql(error) => error.render(query),
        other => other.to_string(),
    }
}

#[test]
fn each_kind_of_bad_query_is_refused_with_place_and_reason() {
    let (free, times) = (QueryLimits::default(), (0, 60_000, 1_000));
    let brackets = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
    let bomb = format!("m{{a=~\"{}\"}}", "(a{1,1000}){1,1000}");
    let long = format!("m{{a=~\"{}\"}}", "x".repeat(5_000));
    for (query, reason) in [
        ("sum(m_total", "line 1, column 12"),
        ("m_total +", "line 1, column 10"),
        ("rate(m_total)", "line 1, column 6"),
        ("sum(m_total[5m])", "line 1, column 5"),
        (&brackets, "nests more than"),
        (&bomb, "line 1, column"),
        (&long, "line 1, column"),
        ("m_total + on () m_total", "many-to-many"),
        ("m_total * on () group_left m_total", "many-to-many"),
    ] {
        let error = refused(query, free, times);
        assert!(error.contains(reason), "{}: {error}", query.get(..40).unwrap_or(query));
    }
    // A join makes as many series as it has pairs: they are charged as they are made.
    let small = QueryLimits { memory_bytes_max: 20_000, ..free };
    let join = "m_total * on (site) group_right (nothing) h_bucket";
    assert!(refused(join, small, (0, 400_000, 1_000)).contains("over the limit of 20000"));
    assert!(refused("m_total", free, (0, 1_000_000, 1)).contains("1000001 steps, over the limit of 30000"));
    assert!(refused("m_total", free, (0, 10, 0)).contains("the step is 0 ms"));
    assert!(refused("m_total", free, (0, 10, -7)).contains("the step is -7 ms"));
    assert!(refused("m_total", free, (i64::MIN, i64::MAX, 1)).contains("steps, over the limit"));
}

#[test]
fn a_cancelled_query_stops() {
    let budget = Budget::default();
    budget.cancel();
    let expr = parse("sum(m_total)").expect("query");
    let result = instant(&source(), &expr, Timestamp(0), &QueryOptions::default(), &budget);
    assert_eq!(result.err(), Some(QueryError::Limit(LimitExceeded::Cancelled)));
}

#[test]
fn times_that_make_no_sense_are_refused() {
    let expr = parse("m_total").expect("query");
    let ask = |start: i64, end: i64, step: i64| {
        let (options, budget) = (QueryOptions::default(), Budget::default());
        range(&source(), &expr, Timestamp(start), Timestamp(end), step, &options, &budget)
    };
    assert!(matches!(ask(0, 10, 0), Err(QueryError::Times(_))));
    assert!(matches!(ask(0, 10, -5), Err(QueryError::Times(_))));
    assert!(matches!(ask(10, 0, 5), Err(QueryError::Times(_))));
    assert!(matches!(ask(i64::MIN, i64::MAX, 1), Err(QueryError::Limit(_))));
    let text = parse("\"text\"").expect("query");
    let (options, budget) = (QueryOptions::default(), Budget::default());
    let error =
        range(&source(), &text, Timestamp(0), Timestamp(1), 1, &options, &budget).expect_err("no text");
    assert!(error.to_string().contains("invalid expression type string for range query"));
}

#[test]
fn the_ends_of_time_do_not_overflow() {
    let queries = [
        "m_total",
        "rate(m_total[290y])",
        "m_total offset -290y",
        "m_total offset 290y",
        "m_total @ -9000000000000000",
        "m_total @ 9000000000000000 offset -290y",
        "predict_linear(m_total[1h] @ 3600, 60)",
        "max_over_time(m_total[1h:1m] offset 290y)",
        "max_over_time(m_total[1h:1m] offset -290y)",
        "deriv(m_total[1h])",
        "timestamp(m_total) + time()",
        "year() + days_in_month(vector(1e300)) + hour(vector(-Inf)) + month(vector(NaN))",
        "absent_over_time(m_total[1h])",
    ];
    let mut source = source();
    for (time, value) in [(i64::MIN, 1.0), (i64::MIN + 1, 5.0), (i64::MAX - 1, 2.0), (i64::MAX, 1.0)] {
        source.add(&[("__name__", "m_total"), ("site", "z")], SeriesKind::Counter, &[(time, value)]);
    }
    for query in queries {
        let expr = parse(query).expect(query);
        let (options, budget) = (QueryOptions::default(), Budget::default());
        for time in [i64::MIN, i64::MIN + 1, -1, 0, i64::MAX - 1, i64::MAX] {
            instant(&source, &expr, Timestamp(time), &options, &budget).expect(query);
        }
        let huge = i64::MAX / 2;
        for (start, end, step) in
            [(i64::MIN, i64::MIN + 10, 1), (i64::MAX - 10, i64::MAX, 3), (i64::MIN, i64::MAX, huge)]
        {
            let result = range(&source, &expr, Timestamp(start), Timestamp(end), step, &options, &budget);
            // A subquery fills the time between steps, and here there is too much of it.
            assert!(matches!(result, Ok(_) | Err(QueryError::Limit(_))), "{query}: {result:?}");
        }
    }
}

#[test]
fn what_is_missing_is_said_once_with_its_place() {
    let mut source = source();
    let missing = Missing {
        range: TimeRange::new(Timestamp(0), Timestamp(60_000)),
        why: "block 20150517-raw-0000002a is corrupt at byte 17".to_owned(),
    };
    source.coverage =
        Coverage { expired_through: Some(Timestamp(30_000)), missing: vec![missing], ..Coverage::default() };
    let query = "sum(rate(m_total[5m]))";
    let (options, budget) = (QueryOptions::default(), Budget::default());
    let expr = parse(query).expect(query);
    let answer = instant(&source, &expr, Timestamp(60_000), &options, &budget).expect(query);
    let said: Vec<String> = answer.warnings.iter().map(|warning| warning.render(query)).collect();
    assert_eq!(
        said,
        [
            "samples up to 1970-01-01T00:00:30Z have expired and are not part of the answer (1:10)",
            "data from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z cannot be read: block \
             20150517-raw-0000002a is corrupt at byte 17 (1:10)",
        ]
    );
    assert_eq!(answer.coverage.len(), 1);
}

#[test]
fn the_deepest_query_that_parses_is_evaluated_on_a_small_stack() {
    let depth = annals_query::promql::DEPTH_MAX as usize - 2;
    for query in [
        format!("{}m_total{}", "(".repeat(depth), ")".repeat(depth)),
        format!("{}m_total{}", "abs(".repeat(depth), ")".repeat(depth)),
        format!("{}m_total{}", "sum(".repeat(depth / 2), ")".repeat(depth / 2)),
        format!("m_total{}", " + m_total".repeat(depth)),
        format!("1{}", " + 1".repeat(depth)),
        format!("m_total{}", " or m_total".repeat(depth)),
    ] {
        let expr = parse(&query).expect("within the limit");
        let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
            instant(&source(), &expr, Timestamp(60_000), &QueryOptions::default(), &Budget::default()).is_ok()
        });
        assert!(thread.expect("a thread").join().expect("no overflow"), "{}", &query[..40]);
    }
}

/// Queries of every evaluated form, over series that are there and some that are not.
fn query() -> impl Strategy<Value = String> {
    let number =
        prop::sample::select(vec!["1", "0", "-2.5", "NaN", "Inf", "time()", "scalar(m_total)", "pi()"]);
    let selector = prop::sample::select(vec![
        "m_total",
        "h_bucket",
        "{site=~\"a|b\"}",
        "m_total offset 5m",
        "m_total @ 100",
        "h_bucket{le=\"1\"} @ end() offset -1h",
        "nothing",
        "vector(time())",
    ]);
    let matrix =
        prop::sample::select(vec!["m_total[5m]", "h_bucket[90s] offset 1m", "{site=\"a\"}[1h] @ 700"]);
    let over = prop::sample::select(vec![
        "rate",
        "increase",
        "delta",
        "irate",
        "idelta",
        "resets",
        "changes",
        "deriv",
        "avg_over_time",
        "min_over_time",
        "mad_over_time",
        "stddev_over_time",
        "present_over_time",
        "absent_over_time",
        "last_over_time",
    ]);
    let leaf = prop_oneof![
        selector.prop_map(str::to_owned),
        (over.clone(), matrix).prop_map(|(function, matrix)| format!("{function}({matrix})")),
    ];
    leaf.prop_recursive(4, 24, 3, move |inner| {
        let one = prop::sample::select(vec![
            "-X",
            "(X)",
            "abs(X)",
            "sqrt(X)",
            "minute(X)",
            "absent(X)",
            "sort(X)",
            "timestamp(X)",
            "round(X, 0)",
            "sum(X)",
            "avg by (site) (X)",
            "stddev without (le) (X)",
            "count_values(\"site\", X)",
            "count_values by (le) (\"v\", X)",
            "topk(2, X)",
            "bottomk by (site) (1, X)",
            "limitk(1, X)",
            "group(X)",
            "quantile(0.5, X)",
            "quantile(2, X)",
            "histogram_quantile(0.9, X)",
            "histogram_fraction(0, 1, X)",
            "label_replace(X, \"site\", \"\", \"site\", \".*\")",
            "label_replace(X, \"__name__\", \"$1\", \"site\", \"(.*)\")",
            "label_join(X, \"j\", \"-\", \"site\", \"le\")",
            "clamp(X, 1, 2)",
            "clamp_min(X, scalar(X))",
            "sgn(X) * 2",
            "sum by (__name__) (X)",
            "sort_by_label(X, \"site\")",
        ]);
        let two = prop::sample::select(vec![
            "X + Y",
            "X / on (site) Y",
            "X * ignoring (le) group_left () Y",
            "X - on (site) group_right (le) Y",
            "X > Y",
            "X == bool Y",
            "X and Y",
            "X or Y",
            "X unless on () Y",
            "X + fill(0) Y",
            "X ^ on (site) group_left fill_right(2) Y",
            "X % Y",
            "X atan2 Y",
            "X != ignoring (site) Y",
        ]);
        prop_oneof![
            (one, inner.clone()).prop_map(|(form, x)| form.replace('X', &format!("({x})"))),
            (two, inner.clone(), inner.clone()).prop_map(|(form, x, y)| form
                .replace('X', &format!("({x})"))
                .replace('Y', &format!("({y})"))),
            (inner.clone(), number.clone()).prop_map(|(x, number)| format!("({x}) * {number}")),
            (number.clone(), inner.clone()).prop_map(|(number, x)| format!("{number} <= ({x})")),
            (over.clone(), inner.clone())
                .prop_map(|(function, x)| format!("{function}(({x})[6m:2m] offset 1m)")),
            (inner, number.clone()).prop_map(|(x, number)| format!("predict_linear(({x})[6m:], {number})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_parses_is_answered_or_refused_and_never_repeats_a_series(text in query()) {
        let expr = parse(&text).map_err(|error| TestCaseError::fail(error.render(&text)))?;
        let (source, options, budget) = (source(), QueryOptions::default(), Budget::default());
        if let Ok(Answer { value: Value::Vector(vector), .. }) =
            instant(&source, &expr, Timestamp(600_000), &options, &budget)
        {
            let mut labels: Vec<_> = vector.iter().map(|sample| &sample.0).collect();
            labels.sort();
            labels.dedup();
            prop_assert_eq!(labels.len(), vector.len(), "{} repeats a series", text);
        }
        let (start, end) = (Timestamp(-60_000), Timestamp(1_200_000));
        if let Ok(Answer { value: Value::Matrix(series), .. }) =
            range(&source, &expr, start, end, 90_000, &options, &budget)
        {
            prop_assert!(series.windows(2).all(|pair| pair[0].labels < pair[1].labels), "{} is not sorted", text);
            prop_assert!(series.iter().all(|s| s.points.windows(2).all(|pair| pair[0].0 < pair[1].0)));
            prop_assert!(series.iter().all(|s| !s.points.is_empty()));
        }
        // Everything that was charged was given back.
        prop_assert!(budget.charge_memory(budget.limits().memory_bytes_max).is_ok());
    }
}
