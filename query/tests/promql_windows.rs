//! Functions over windows against slow and obvious ones, and what is ours alone: delta series.
//!
//! The obvious evaluator looks at each step by itself: it filters all samples by their time, then computes what the
//! function's definition says, in the simplest way.

use std::collections::BTreeMap;

use annals_model::{Budget, STALE_NAN_BITS, SeriesKind, Timestamp, is_stale};
use annals_query::promql::testing::MemorySource;
use annals_query::promql::{Answer, QueryOptions, Value, instant, parse, range};
use proptest::prelude::*;

type Points = BTreeMap<i64, f64>;

fn ask_range(source: &MemorySource, query: &str, start: i64, end: i64, step: i64) -> Answer {
    let expr = parse(query).unwrap_or_else(|error| panic!("{}", error.render(query)));
    let (options, budget) = (QueryOptions::default(), Budget::default());
    range(source, &expr, Timestamp(start), Timestamp(end), step, &options, &budget)
        .unwrap_or_else(|error| panic!("{query}: {error}"))
}

/// The points of the only series; none where there is no series.
fn only_series(answer: Answer) -> Points {
    let Value::Matrix(series) = answer.value else { panic!("a range query gives a matrix") };
    assert!(series.len() <= 1, "{series:?}");
    series.into_iter().flat_map(|series| series.points).map(|(time, value)| (time.0, value)).collect()
}

/// A window's samples, by the definition: after the start, up to the end, not stale.
fn window(samples: &[(i64, f64)], end: i64, range_ms: i64) -> Vec<(i64, f64)> {
    let within = |&&(time, value): &&(i64, f64)| time > end - range_ms && time <= end && !is_stale(value);
    samples.iter().filter(within).copied().collect()
}

/// What a function gives for one window, and how far off a good answer may be.
fn obvious(function: &str, window: &[(i64, f64)], end: i64, range_ms: i64) -> Option<(f64, f64)> {
    let values: Vec<f64> = window.iter().map(|sample| sample.1).collect();
    let (&(first_ms, first), &(last_ms, last)) = (window.first()?, window.last()?);
    let count = values.len() as f64;
    let finite = || values.iter().copied().filter(|value| value.is_finite()).map(f64::abs);
    let (size, largest) = (finite().sum::<f64>(), finite().fold(0.0, f64::max));
    let real: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    let pairs = || values.windows(2).map(|pair| (pair[0], pair[1]));
    let exact = |value: f64| Some((value, 0.0));
    match function {
        "sum_over_time" => Some((values.iter().sum(), 1e-12 * size)),
        "avg_over_time" => Some((values.iter().sum::<f64>() / count, 1e-12 * size / count)),
        "count_over_time" => exact(count),
        "min_over_time" => exact(real.iter().copied().reduce(f64::min).unwrap_or(f64::NAN)),
        "max_over_time" => exact(real.iter().copied().reduce(f64::max).unwrap_or(f64::NAN)),
        "last_over_time" => exact(last),
        "first_over_time" => exact(first),
        "present_over_time" => exact(1.0),
        "ts_of_last_over_time" => exact(last_ms as f64 / 1000.0),
        "ts_of_first_over_time" => exact(first_ms as f64 / 1000.0),
        "changes" => exact(pairs().filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count() as f64),
        "resets" => exact(pairs().filter(|(a, b)| b < a).count() as f64),
        "stdvar_over_time" => {
            let mean = values.iter().sum::<f64>() / count;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
            Some((variance, 1e-9 * largest * largest))
        }
        "quantile_over_time" => {
            let mut sorted = values.clone();
            sorted.sort_by(|a, b| b.is_nan().cmp(&a.is_nan()).then(a.total_cmp(b)));
            let rank = 0.3 * (count - 1.0);
            let at = rank.floor() as usize;
            let above = sorted[(at + 1).min(sorted.len() - 1)];
            Some((sorted[at] * (1.0 - rank.fract()) + above * rank.fract(), 1e-12 * largest))
        }
        "irate" | "idelta" => {
            let [.., (before_ms, before), (now_ms, now)] = window else { return None };
            let rate = function == "irate";
            let difference = if rate && now < before { *now } else { now - before };
            exact(if rate { difference / ((now_ms - before_ms) as f64 / 1000.0) } else { difference })
        }
        "rate" | "increase" | "delta" => {
            if window.len() < 2 {
                return None;
            }
            let counter = function != "delta";
            let mut increase = last - first;
            for (before, now) in pairs() {
                if counter && now < before {
                    increase += before;
                }
            }
            let sampled = (last_ms - first_ms) as f64 / 1000.0;
            let average = sampled / (count - 1.0);
            let mut to_start = (first_ms - (end - range_ms)) as f64 / 1000.0;
            let mut to_end = (end - last_ms) as f64 / 1000.0;
            if to_start >= average * 1.1 {
                to_start = average / 2.0;
            }
            if counter && increase > 0.0 && first >= 0.0 {
                to_start = to_start.min(sampled * first / increase);
            }
            if to_end >= average * 1.1 {
                to_end = average / 2.0;
            }
            let mut factor = (sampled + to_start + to_end) / sampled;
            if function == "rate" {
                factor /= range_ms as f64 / 1000.0;
            }
            Some((increase * factor, 1e-11 * size * factor))
        }
        other => panic!("{other}"),
    }
}

const FUNCTIONS: [&str; 19] = [
    "sum_over_time",
    "avg_over_time",
    "count_over_time",
    "min_over_time",
    "max_over_time",
    "last_over_time",
    "first_over_time",
    "present_over_time",
    "ts_of_last_over_time",
    "ts_of_first_over_time",
    "changes",
    "resets",
    "stdvar_over_time",
    "quantile_over_time",
    "irate",
    "idelta",
    "rate",
    "increase",
    "delta",
];

fn same(found: Option<f64>, wanted: Option<(f64, f64)>) -> bool {
    match (found, wanted) {
        (None, None) => true,
        (Some(found), Some((wanted, tolerance))) => {
            (found.is_nan() && wanted.is_nan()) || found == wanted || (found - wanted).abs() <= tolerance
        }
        _ => false,
    }
}

/// Milliseconds between two bounds, more often than not whole seconds.
fn time(from_s: i64, to_s: i64) -> impl Strategy<Value = i64> {
    prop_oneof![2 => (from_s..to_s).prop_map(|seconds| seconds * 1000), 1 => from_s * 1000..to_s * 1000]
}

/// Samples at irregular times: counters that reset, levels, huge beside tiny, now and then NaN, infinite, stale.
fn samples() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let value = prop_oneof![
        6 => (0u32..50).prop_map(f64::from),
        3 => -1e3f64..1e3,
        2 => prop::sample::select(vec![1e15, -1e15, 1e-9, 0.1]),
        1 => prop::sample::select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::from_bits(STALE_NAN_BITS)]),
    ];
    // Times on a grid meet the ends of windows exactly; others never do.
    let gap = || prop_oneof![2 => (1i64..40).prop_map(|seconds| seconds * 1000), 1 => 1i64..40_000];
    let wild = prop::collection::vec((gap(), value), 0..60);
    let tame = prop::collection::vec((gap(), (0u32..50).prop_map(f64::from)), 0..60);
    prop_oneof![wild, tame].prop_map(|gaps| {
        let mut time = 0;
        gaps.into_iter()
            .map(|(gap, value)| {
                time += gap;
                (time, value)
            })
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn window_functions_agree_with_the_obvious_ones(
        samples in samples(),
        range_ms in time(1, 200),
        step in time(1, 100),
        start in time(-100, 300),
        offset in prop_oneof![Just(0i64), time(-50, 50)],
    ) {
        let mut source = MemorySource::default();
        source.add(&[("__name__", "m_total")], SeriesKind::Counter, &samples);
        let end = start + step * 20;
        for function in FUNCTIONS {
            let phi = if function == "quantile_over_time" { "0.3, " } else { "" };
            let query = format!("{function}({phi}m_total[{range_ms}ms] offset {}{}ms)",
                if offset < 0 { "-" } else { "" }, offset.abs());
            let found = only_series(ask_range(&source, &query, start, end, step));
            for at in (0..=20).map(|index| start + index * step) {
                let window = window(&samples, at - offset, range_ms);
                let wanted = obvious(function, &window, at - offset, range_ms);
                prop_assert!(
                    same(found.get(&at).copied(), wanted),
                    "{query} at {at}: {:?}, wanted {wanted:?} of {window:?}", found.get(&at)
                );
            }
        }
    }

    #[test]
    fn a_selector_gives_the_latest_sample_unless_it_is_old_or_stale(
        samples in samples(),
        step in time(1, 100),
        start in time(-100, 900),
    ) {
        let mut source = MemorySource::default();
        source.add(&[("__name__", "m")], SeriesKind::Gauge, &samples);
        let found = only_series(ask_range(&source, "m", start, start + step * 30, step));
        for at in (0..=30).map(|index| start + index * step) {
            let latest = samples.iter().rfind(|(time, _)| *time <= at);
            let wanted = latest.filter(|(time, value)| *time > at - 300_000 && !is_stale(*value));
            prop_assert!(same(found.get(&at).copied(), wanted.map(|(_, value)| (*value, 0.0))), "at {at}");
        }
    }

    #[test]
    fn the_parts_of_a_delta_series_sum_to_the_whole_for_every_step(
        gaps in prop::collection::vec((1i64..20, 0u32..1000), 1..80),
        cells in 1i64..12,
    ) {
        let mut time = 0;
        let samples: Vec<(i64, f64)> = gaps
            .iter()
            .map(|&(gap, value)| {
                time += gap * 60_000;
                (time, f64::from(value))
            })
            .collect();
        let mut source = MemorySource::default();
        source.add(&[("__name__", "events")], SeriesKind::Delta, &samples);
        let part = cells * 60_000;
        let parts = only_series(ask_range(&source, &format!("increase(events[{part}ms])"), 0, time + part, part));
        let whole: f64 = samples.iter().map(|sample| sample.1).sum();
        // Windows that touch share nothing and leave nothing out.
        prop_assert_eq!(parts.values().sum::<f64>(), whole);
        let mut until = 0.0;
        for (at, value) in &parts {
            until += value;
            let length = at + 1;
            let all = only_series(ask_range(&source, &format!("increase(events[{length}ms])"), *at, *at, 1));
            prop_assert_eq!(all.get(at).copied(), Some(until));
        }
        let rates = only_series(ask_range(&source, &format!("rate(events[{part}ms])"), 0, time + part, part));
        for (at, value) in &parts {
            prop_assert_eq!(rates.get(at).copied(), Some(value / (part as f64 / 1000.0)));
        }
    }

    #[test]
    fn a_range_query_gives_what_instant_queries_give(samples in samples(), other in samples(), start in 0i64..300_000) {
        let mut source = MemorySource::default();
        source.add(&[("__name__", "m"), ("a", "x")], SeriesKind::Gauge, &samples);
        source.add(&[("__name__", "m"), ("a", "y")], SeriesKind::Gauge, &other);
        source.add(&[("__name__", "d"), ("a", "y")], SeriesKind::Delta, &other);
        for query in [
            "sum(m)", "avg by (a) (m)", "m * on (a) d", "m or -d", "m unless d", "topk(1, m)", "bottomk(1, m)",
            "quantile(0.5, m)", "stddev(m)", "count_values(\"v\", m > 5)", "absent(m > 5)", "m > bool 3",
            "max_over_time(sum(m)[3m:30s])", "rate(m[2m] @ 200)", "m @ end() - m", "label_replace(m, \"a\", \"z\", \"a\", \"x\")",
            "timestamp(m)", "scalar(d) + m", "predict_linear(m[3m], 60)", "absent_over_time(m[20s])", "m + fill(1) d",
            "sum(increase(d[1m]))", "clamp(m, 1, 2)", "minute(m)", "mad_over_time(m[2m])", "limitk(1, m)",
        ] {
            let expr = parse(query).expect(query);
            let (options, budget) = (QueryOptions::default(), Budget::default());
            let end = start + 5 * 40_000;
            let whole = range(&source, &expr, Timestamp(start), Timestamp(end), 40_000, &options, &budget);
            let Ok(Answer { value: Value::Matrix(whole), .. }) = whole else { panic!("{query}: {whole:?}") };
            for at in (0..=5).map(|index| start + index * 40_000) {
                // `@ end()` means the range's end, so the instants ask for it by its time.
                let expr = parse(&query.replace("end()", &format!("{}", end as f64 / 1000.0))).expect(query);
                let one = instant(&source, &expr, Timestamp(at), &options, &budget);
                let Ok(Answer { value: Value::Vector(mut one), .. }) = one else { panic!("{query}: {one:?}") };
                one.sort_by(|a, b| a.0.cmp(&b.0));
                let step: Vec<_> = whole
                    .iter()
                    .flat_map(|s| s.points.iter().filter(|p| p.0.0 == at).map(|p| (s.labels.clone(), p.1)))
                    .collect();
                prop_assert_eq!(one.len(), step.len(), "{} at {}", query, at);
                for ((labels, _, a), (wanted, b)) in one.iter().zip(&step) {
                    prop_assert_eq!(labels, wanted);
                    let a = a.float().expect("a number");
                    prop_assert!(same(Some(a), Some((*b, 1e-9 * b.abs()))), "{} at {}: {} and {}", query, at, a, b);
                }
            }
        }
    }
}

#[test]
fn the_first_event_of_a_delta_series_counts() {
    let mut source = MemorySource::default();
    source.add(&[("__name__", "logins")], SeriesKind::Delta, &[(60_000, 3.0), (600_000, 4.0)]);
    let found = only_series(ask_range(&source, "increase(logins[1m])", 0, 660_000, 60_000));
    assert_eq!(found, Points::from([(60_000, 3.0), (600_000, 4.0)]));
    // As a level it is the last cell, for as long as samples look back.
    let found = only_series(ask_range(&source, "logins", 0, 660_000, 60_000));
    assert_eq!(
        found.keys().copied().collect::<Vec<_>>(),
        [60_000, 120_000, 180_000, 240_000, 300_000, 600_000, 660_000]
    );
}

#[test]
fn mixed_kinds_are_each_their_own_and_said_so() {
    let mut source = MemorySource::default();
    let samples: Vec<(i64, f64)> = (0..11).map(|index| (index * 60_000, (index * 10) as f64)).collect();
    source.add(&[("__name__", "x_total"), ("k", "counter")], SeriesKind::Counter, &samples);
    source.add(&[("__name__", "x_total"), ("k", "delta")], SeriesKind::Delta, &samples);
    let answer = ask_range(&source, "increase(x_total[10m])", 600_000, 600_000, 1);
    assert_eq!(answer.warnings.len(), 1);
    assert!(answer.warnings[0].text.contains("kind delta"), "{:?}", answer.warnings);
    let Value::Matrix(series) = answer.value else { panic!("a matrix") };
    let value = |index: usize| series[index].points[0].1;
    assert_eq!((value(0), value(1)), (100.0, 550.0));
}

#[test]
fn what_has_left_a_window_leaves_no_trace() {
    let mut source = MemorySource::default();
    let values = [1.0, 1e300, f64::INFINITY, f64::NAN, 0.1, 0.2, 0.3, 0.4];
    let samples: Vec<(i64, f64)> = values.iter().enumerate().map(|(i, v)| (i as i64 * 1000, *v)).collect();
    source.add(&[("__name__", "m")], SeriesKind::Gauge, &samples);
    for function in ["sum_over_time", "avg_over_time", "stddev_over_time", "max_over_time"] {
        let found = only_series(ask_range(&source, &format!("{function}(m[2s])"), 5_000, 7_000, 1_000));
        assert!(found.values().all(|value| value.is_finite() && *value < 1.0), "{function}: {found:?}");
    }
}

#[test]
fn no_bits_of_a_nan_make_a_value_vanish() {
    let mut source = MemorySource::default();
    for bits in [STALE_NAN_BITS | 1 << 63, 0x7ff0_0000_0000_0001, 0xffff_ffff_ffff_ffff] {
        source.add(
            &[("__name__", "m"), ("bits", &format!("{bits:x}"))],
            SeriesKind::Gauge,
            &[(0, f64::from_bits(bits))],
        );
    }
    for query in
        ["count(m)", "count(-m)", "count(abs(m))", "count(abs(m) + 0)", "count(last_over_time(m[1m]))"]
    {
        let found = only_series(ask_range(&source, query, 0, 0, 1));
        assert_eq!(found, Points::from([(0, 3.0)]), "{query}");
    }
}
