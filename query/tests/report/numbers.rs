//! The numbers of a report against what was put in.

use crate::common::{Memory, RICH, make, request, rich, try_make, zone};
use annals_model::SeriesKind;
use annals_query::exact::day_range;
use annals_query::report::{Report, ReportError};
use jiff::ToSpan;
use jiff::civil::{Date, date};
use proptest::prelude::*;

fn report(memory: &Memory, week_of: Date) -> Report {
    make(memory, &request(week_of))
}

fn start(day: Date) -> i64 {
    day_range(day, &zone("Europe/Berlin")).expect("in range").start.0
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_event_counts_on_its_local_day_and_no_other(
        monday in prop::sample::select(vec![date(2026, 3, 23), date(2026, 10, 19), date(2026, 5, 4)]),
        events in prop::collection::vec((-8i64..9, 0i64..23 * 60, 0usize..4, 1u64..40), 1..60),
    ) {
        let mut memory = Memory::default();
        let (mut days, mut classes) = ([[0u64; 7]; 2], [[0u64; 4]; 2]);
        for &(day, minute, class, n) in &events {
            let at = start(monday.checked_add(day.days()).expect("near")) + minute * 60_000;
            let status = ["200", "301", "404", "503"][class];
            memory.count("http_requests", &[("status", status), ("route", "/")], at, n);
            if (-7..7).contains(&day) {
                let week = usize::from(day >= 0);
                days[week][day.rem_euclid(7) as usize] += n;
                classes[week][class] += n;
            }
        }
        let report = report(&memory, monday);
        let some = |week: usize, count: u64| (days[week].iter().sum::<u64>() > 0).then_some(count);
        for (day, found) in report.traffic.steps.iter().enumerate() {
            // A day without any signal has no data.
            let of = |week: usize| Some(days[week][day]).filter(|&count| count > 0);
            prop_assert_eq!((found.count, found.before), (of(1), of(0)));
        }
        for (class, tally) in report.traffic.classes.iter().enumerate() {
            let of = |week: usize| some(week, classes[week][class]);
            prop_assert_eq!((tally.count.count, tally.count.before), (of(1), of(0)));
        }
        let signals = report.coverage.signals.iter().map(|tally| tally.count.count()).sum::<u64>();
        prop_assert_eq!(signals, report.traffic.requests.count());
    }
}

#[test]
fn the_planted_wave_is_told_by_start_end_peak_and_size() {
    let report = report(&rich(), RICH);
    let [wave] = &report.signins.waves[..] else { panic!("{:?}", report.signins.waves) };
    assert_eq!(wave.start, "2026-05-05T02:00:00+02:00");
    assert_eq!(wave.end, "2026-05-07T08:00:00+02:00");
    assert_eq!((wave.hours, wave.began_before, wave.goes_on), (54, false, false));
    assert_eq!(wave.peak.refused, report.signins.heaviest[0].refused);
    let strip: u64 = report.signins.refused_hours.iter().flatten().flatten().sum();
    assert_eq!(strip, report.signins.refused.count());
    assert!(report.summary.join(" ").contains("A brute-force wave of 7,081 refused sign-ins began"));
}

#[test]
fn an_attack_of_2448_a_day_that_dies_down_to_1_a_day_is_told_in_the_summary() {
    let mut memory = Memory::default();
    for day in -7..7i64 {
        let midnight = start(RICH.checked_add(day.days()).expect("near"));
        let count = |memory: &mut Memory, hour: i64, n| {
            let labels = [("result", "failure"), ("method", "password")];
            memory.count("auth_attempts", &labels, midnight + hour * 3_600_000, n);
        };
        for hour in 0..24 {
            memory.count("http_requests", &[("status", "200")], midnight + hour * 3_600_000, 3);
            if day < 2 {
                count(&mut memory, hour, 102);
            }
        }
        if day >= 2 {
            count(&mut memory, 9, 1);
        }
    }
    let report = report(&memory, RICH);
    let days: Vec<u64> = report.signins.refused_steps.iter().filter_map(|day| day.count).collect();
    assert_eq!(days, [2448, 2448, 1, 1, 1, 1, 1]);
    let [wave] = &report.signins.waves[..] else { panic!("{:?}", report.signins.waves) };
    assert!(wave.began_before && !wave.goes_on);
    assert_eq!((wave.refused, wave.hours), (4896, 48));
    assert!(report.summary.join(" ").contains(
        "A brute-force wave of 4,896 refused sign-ins had begun before the week and ended Tuesday 5 May 24:00"
    ));
}

#[test]
fn a_wave_that_runs_into_silence_is_said_to_go_on() {
    let mut memory = Memory::default();
    for hour in 0..40 {
        let at = start(RICH) + hour * 3_600_000;
        memory.count("http_requests", &[("status", "200")], at, 1);
        memory.count("auth_attempts", &[("result", "blocked")], at, if hour >= 30 { 90 } else { 0 });
    }
    let report = report(&memory, RICH);
    assert!(report.signins.waves[0].goes_on);
    assert_eq!(report.signins.waves[0].refused, 900);
}

#[test]
fn a_week_without_data_is_not_a_week_of_zeros() {
    let mut memory = Memory::default();
    memory.count("mails", &[("result", "sent")], start(RICH) - 86_400_000, 12);
    let report = report(&memory, RICH);
    let requests = report.traffic.requests;
    assert_eq!((requests.count, requests.before), (None, Some(0)));
    let sent = report.mail.results[0].count;
    assert_eq!((sent.count, sent.before), (None, Some(12)));
    assert_eq!(report.coverage.hours_with_data, 0);
    assert!(report.summary[0].starts_with("There is no data for this week"));
    assert!(report.summary[1].contains("The week before has data in 1 of its 168 hours"));
}

#[test]
fn another_site_is_not_counted() {
    let mut memory = rich();
    let before = report(&memory, RICH).to_json();
    for metric in ["http_requests", "signals", "auth_attempts"] {
        memory.add(metric, &[("site", "other.example"), ("result", "failure")], start(RICH) + 60_000, 900.0);
    }
    assert_eq!(report(&memory, RICH).to_json(), before);
}

#[test]
fn values_that_are_no_counts_are_refused_not_rounded() {
    for value in [0.5, -1e9, f64::NAN, f64::INFINITY, 1e300] {
        let mut memory = rich();
        memory.add("mails", &[("site", "shop.example"), ("result", "sent")], start(RICH) + 60_000, value);
        let error = try_make(&memory, &request(RICH));
        assert_eq!(error, Err(ReportError::NotACount { metric: "mails" }), "{value}");
    }
    let mut memory = rich();
    let labels = [("site", "shop.example"), ("le", "soon")];
    memory.add("http_response_seconds_bucket", &labels, start(RICH) + 60_000, 1.0);
    assert_eq!(try_make(&memory, &request(RICH)), Err(ReportError::BucketBound));
    let mut memory = rich();
    for (kind, _) in memory.series.values_mut() {
        *kind = Some(SeriesKind::Gauge);
    }
    assert!(matches!(try_make(&memory, &request(RICH)), Err(ReportError::Exact(_))));
}

#[test]
fn quantiles_are_told_as_the_bounds_of_their_bucket() {
    let mut memory = Memory::default();
    for (ms, n) in [(30, 94), (700, 5), (20_000, 1)] {
        memory.count("http_requests", &[("status", "200"), ("route", "/")], start(RICH), n);
        memory.durations("/", start(RICH), ms, n);
    }
    let text = report(&memory, RICH).to_markdown();
    let row = |name: &str| text.lines().find(|line| line.starts_with(&format!("| {name} "))).expect("a row");
    assert!(row("p50").contains("25 ms to 50 ms") && row("p95").contains("500 ms to 1 s"), "{text}");
    assert!(row("p99").contains("500 ms to 1 s") && row("average").contains("263.2 ms"));
    memory.durations("/", start(RICH), 20_000, 1);
    assert!(report(&memory, RICH).to_markdown().contains("over 10 s"));
}

#[test]
fn weeks_at_the_ends_of_the_calendar_are_refused() {
    for day in [Date::MIN, Date::MAX] {
        assert!(matches!(
            try_make(&Memory::default(), &request(day)),
            Err(ReportError::Calendar(_) | ReportError::Exact(_))
        ));
    }
}
