//! Exact sums against a slow and obvious oracle.

use std::collections::BTreeMap;

use crate::common::{Memory, budget, zone};
use annals_model::{
    Budget, HOUR_MS, LimitExceeded, MINUTE_MS, Matcher, Missing, QueryLimits, Resolution, STALE_NAN_BITS,
    SeriesKind, SourceError, TimeRange, Timestamp,
};
use annals_query::exact::{ExactError, Period, Row, day_range, presence, sums};
use annals_query::promql::testing::MemorySource;
use jiff::civil::{Weekday, date};
use proptest::prelude::*;

const ZONES: [&str; 6] =
    ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Chatham"];
const PERIODS: [Period; 4] =
    [Period::Hour, Period::Day, Period::Week { starts_on: Weekday::Monday }, Period::Month];

fn requests() -> [Matcher; 1] {
    [Matcher::equal("__name__", "http_requests")]
}

/// The period of an instant, by the clock on the wall alone.
fn wall_label(period: Period, at: i64, zone: &jiff::tz::TimeZone) -> String {
    let instant = jiff::Timestamp::from_millisecond(at).expect("in range");
    let clock = zone.to_datetime(instant);
    match period {
        // The offset tells the two hours of one name apart.
        Period::Hour => format!("{} {} {}", clock.date(), clock.hour(), zone.to_offset(instant)),
        Period::Day => clock.date().to_string(),
        Period::Week { .. } => {
            format!("{:?}", (clock.date().iso_week_date().year(), clock.date().iso_week_date().week()))
        }
        Period::Month => format!("{}-{}", clock.year(), clock.month()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Events are grouped by what the wall clock shows at the instant they happen.
    #[test]
    fn sums_equal_a_count_of_events_by_the_wall_clock(
        zone_name in prop::sample::select(ZONES.to_vec()),
        period in prop::sample::select(PERIODS.to_vec()),
        around in prop::sample::select(vec![
            date(2026, 3, 23), date(2026, 10, 19), date(2026, 4, 5), date(2026, 10, 4), date(2026, 11, 1),
            date(2026, 3, 8), date(2026, 12, 28),
        ]),
        events in prop::collection::vec((0i64..15 * 24 * 60, 0usize..4, 0usize..3, 1u64..5), 0..120),
        edges in prop::collection::vec((0i64..15, 0u64..3), 0..8),
    ) {
        let zone = zone(zone_name);
        let start = day_range(around, &zone).expect("in range").start.0;
        let mut events: Vec<(i64, usize, usize, u64)> =
            events.into_iter().map(|(minute, a, b, n)| (start + minute * MINUTE_MS + 17, a, b, n)).collect();
        // Events at midnight itself, and in the last millisecond before it.
        for (day, back) in edges {
            let midnight = day_range(around.checked_add(jiff::Span::new().days(day)).expect("near"), &zone)
                .expect("in range")
                .start
                .0;
            events.push((midnight - back as i64, 0, 0, 1));
        }
        let mut memory = Memory::default();
        let mut oracle: BTreeMap<(String, String), u64> = BTreeMap::new();
        for &(at, route, status, n) in &events {
            let (route, status) = (format!("/r{route}"), format!("{}", 200 + status));
            memory.count("http_requests", &[("route", &route), ("status", &status)], at, n);
            *oracle.entry((route, wall_label(period, at, &zone))).or_default() += n;
        }
        let whole = TimeRange::new(Timestamp(start - 86_400_000), Timestamp(start + 17 * 86_400_000));
        let periods = period.over(whole, &zone).expect("in range");
        let table = sums(&memory, &requests(), &["route"], &periods, &budget()).expect("sums");
        let mut found: BTreeMap<(String, String), u64> = BTreeMap::new();
        for Row { labels, sums } in &table.rows {
            for (period_range, sum) in periods.iter().zip(sums) {
                if let Some(sum) = sum {
                    let label = wall_label(period, period_range.start.0, &zone);
                    *found.entry((labels[0].clone(), label)).or_default() += *sum as u64;
                }
            }
        }
        prop_assert_eq!(found, oracle);
        // Parts sum to the whole, for every cut.
        let total: f64 = table.totals().into_iter().flatten().sum();
        prop_assert_eq!(total as u64, events.iter().map(|event| event.3).sum::<u64>());
        let data = presence(&memory, &requests(), &periods, &budget()).expect("presence");
        prop_assert_eq!(data, table.totals().iter().map(Option::is_some).collect::<Vec<_>>());
    }

    #[test]
    fn periods_with_gaps_count_what_lies_in_them_and_nothing_else(
        stamps in prop::collection::btree_map(0i64..60, 1u64..9, 0..40),
        cuts in prop::collection::btree_set(0i64..60, 2..10),
    ) {
        let mut memory = Memory::default();
        for (&stamp, &n) in &stamps {
            memory.add("http_requests", &[], stamp, n as f64);
        }
        let cuts: Vec<i64> = cuts.into_iter().collect();
        let periods: Vec<TimeRange> = cuts
            .chunks_exact(2)
            .map(|pair| TimeRange::new(Timestamp(pair[0]), Timestamp(pair[1])))
            .collect();
        let table = sums(&memory, &requests(), &[], &periods, &budget()).expect("sums");
        for (period, total) in periods.iter().zip(table.totals()) {
            let within: Vec<u64> = stamps
                .iter()
                .filter(|&(&stamp, _)| period.start.0 < stamp && stamp <= period.end.0)
                .map(|(_, &n)| n)
                .collect();
            let expected = (!within.is_empty()).then(|| within.iter().sum::<u64>() as f64);
            prop_assert_eq!(total, expected);
        }
    }
}

#[test]
fn a_stamp_at_the_end_of_a_week_is_in_it_and_one_at_its_start_is_not() {
    let berlin = zone("Europe/Berlin");
    let weeks: Vec<TimeRange> = [date(2026, 3, 23), date(2026, 3, 30)]
        .map(|monday| {
            let first = day_range(monday, &berlin).expect("in range").start;
            let week = Period::Week { starts_on: Weekday::Monday };
            week.of(first.saturating_add(1), &berlin).expect("in range")
        })
        .to_vec();
    assert_eq!(weeks[0].end, weeks[1].start);
    let mut memory = Memory::default();
    memory.add("http_requests", &[], weeks[0].start.0, 1.0);
    memory.add("http_requests", &[], weeks[0].end.0, 10.0);
    memory.add("http_requests", &[], weeks[1].end.0, 100.0);
    memory.add("http_requests", &[], weeks[1].end.0 + 1, 1000.0);
    let table = sums(&memory, &requests(), &[], &weeks, &budget()).expect("sums");
    assert_eq!(table.totals(), [Some(10.0), Some(100.0)]);
}

#[test]
fn a_sum_of_zero_is_not_the_same_as_no_data() {
    let mut memory = Memory::default();
    memory.add("http_requests", &[("route", "/")], 5, 0.0);
    let periods = [TimeRange::new(Timestamp(0), Timestamp(10)), TimeRange::new(Timestamp(10), Timestamp(20))];
    let table = sums(&memory, &requests(), &["route", "absent"], &periods, &budget()).expect("sums");
    assert_eq!(table.rows, [Row { labels: vec!["/".into(), String::new()], sums: vec![Some(0.0), None] }]);
    assert_eq!(presence(&memory, &requests(), &periods, &budget()), Ok(vec![true, false]));
}

#[test]
fn a_period_whose_edge_cuts_a_window_is_not_called_exact() {
    let mut memory = MemorySource::default();
    memory.add(&[("__name__", "http_requests")], SeriesKind::Delta, &[(HOUR_MS, 1.0), (5 * HOUR_MS, 2.0)]);
    let hours = |a: i64, b: i64| TimeRange::new(Timestamp(a * HOUR_MS), Timestamp(b * HOUR_MS));
    let half = |range: TimeRange| {
        TimeRange::new(range.start.saturating_add(HOUR_MS / 2), range.end.saturating_add(HOUR_MS / 2))
    };
    let said = |memory: &MemorySource, period: TimeRange| {
        let table = sums(memory, &requests(), &[], &[period], &budget()).expect("sums");
        (table.resolution(0), table.is_exact(0))
    };
    assert_eq!(said(&memory, half(hours(0, 1))), (Resolution::Raw, true));
    memory.coverage.coarser = vec![(hours(0, 2), Resolution::Hour), (hours(2, 4), Resolution::FiveMinutes)];
    assert_eq!(said(&memory, hours(0, 1)), (Resolution::Hour, true));
    // As hours of India lie.
    assert_eq!(said(&memory, half(hours(0, 1))), (Resolution::Hour, false));
    assert_eq!(said(&memory, half(hours(2, 3))), (Resolution::FiveMinutes, true));
    assert_eq!(said(&memory, half(hours(1, 3))), (Resolution::Hour, false));
    assert_eq!(said(&memory, half(hours(4, 5))), (Resolution::Raw, true));
    memory.coverage.expired_through = Some(Timestamp(HOUR_MS));
    assert!(!said(&memory, hours(0, 2)).1 && said(&memory, hours(1, 2)).1);
    memory.coverage.missing = vec![Missing { range: hours(5, 6), why: "a block".to_owned() }];
    assert!(said(&memory, hours(4, 5)).1 && !said(&memory, half(hours(4, 5))).1);
}

#[test]
fn a_stale_marker_counts_nothing() {
    let mut memory = Memory::default();
    memory.add("http_requests", &[], 5, 3.0);
    let (_, samples) = memory.series.values_mut().next().expect("one series");
    samples.insert(7, f64::from_bits(STALE_NAN_BITS));
    let table = sums(&memory, &requests(), &[], &[TimeRange::ALL], &budget()).expect("sums");
    assert_eq!(table.totals(), [Some(3.0)]);
}

#[test]
fn fractions_add_up_the_same_in_any_order_of_series() {
    let sum = |names: [&str; 3]| {
        let mut memory = Memory::default();
        for (name, value) in names.iter().zip([1e16, 1.0, -1e16]) {
            memory.add("http_requests", &[("route", name)], 5, value);
        }
        sums(&memory, &requests(), &[], &[TimeRange::ALL], &budget()).expect("sums").totals()
    };
    assert_eq!(sum(["a", "b", "c"]), [Some(1.0)]);
    assert_eq!(sum(["c", "a", "b"]), [Some(1.0)]);
}

#[test]
fn what_cannot_be_summed_is_refused_by_name() {
    let mut memory = Memory::default();
    memory.add("http_requests", &[], 5, 3.0);
    let range = |a, b| TimeRange::new(Timestamp(a), Timestamp(b));
    for (periods, position) in [
        (vec![range(0, 10), range(5, 20)], 1),
        (vec![range(10, 20), range(0, 5)], 1),
        (vec![range(10, 0)], 0),
    ] {
        let error = sums(&memory, &requests(), &[], &periods, &budget());
        assert_eq!(error.map(|_| ()), Err(ExactError::Periods { position }));
    }
    assert_eq!(sums(&memory, &requests(), &[], &[], &budget()).expect("sums").rows, []);
    let few = Budget::new(QueryLimits { samples_max: 0, ..QueryLimits::default() });
    assert!(matches!(
        sums(&memory, &requests(), &[], &[TimeRange::ALL], &few),
        Err(ExactError::Source(SourceError::Limit(LimitExceeded::Over { what: "samples", .. })))
    ));
    let small = Budget::new(QueryLimits { memory_bytes_max: 0, ..QueryLimits::default() });
    assert!(matches!(
        sums(&memory, &requests(), &[], &[TimeRange::ALL], &small),
        Err(ExactError::Source(SourceError::Limit(LimitExceeded::Over { what: "bytes of memory", .. })))
    ));
    memory.series.values_mut().next().expect("one series").0 = Some(SeriesKind::Counter);
    let error = sums(&memory, &requests(), &[], &[TimeRange::ALL], &budget()).expect_err("a counter");
    assert_eq!(error, ExactError::NotDelta { kind: SeriesKind::Counter });
    assert!(error.to_string().contains("a selected one is a counter"));
}

#[test]
fn the_greatest_rows_come_first_and_rows_without_data_are_not_counted() {
    let row =
        |label: &str, sums: [Option<f64>; 2]| Row { labels: vec![label.to_owned()], sums: sums.to_vec() };
    let day = |n: i64| TimeRange::new(Timestamp(n * 86_400_000), Timestamp((n + 1) * 86_400_000));
    let table = annals_query::exact::Table {
        by: vec!["route".to_owned()],
        periods: vec![day(0), day(1)],
        rows: vec![
            row("a", [Some(2.0), None]),
            row("b", [Some(7.0), Some(0.0)]),
            row("c", [Some(2.0), Some(9.0)]),
            row("d", [None, None]),
        ],
        expired_through: None,
        coarser: Vec::new(),
        missing: Vec::new(),
    };
    // Zero is data.
    assert_eq!(table.distinct(), [3, 2]);
    let top = |period, count| -> Vec<(String, f64)> {
        table.top(period, count).into_iter().map(|(row, sum)| (row.labels[0].clone(), sum)).collect()
    };
    assert_eq!(top(0, 2), [("b".to_owned(), 7.0), ("a".to_owned(), 2.0)]);
    assert_eq!(top(0, 9).len(), 3);
    assert_eq!(top(1, 1), [("c".to_owned(), 9.0)]);
    assert_eq!(top(2, 1), []);
}
