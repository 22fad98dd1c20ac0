//! P5: rollups equal raw. Raw goes only after its rollup, and what is asked of sealed days is what raw would say.

mod common;

use annals::query::promql;
use annals::*;
use common::*;
use proptest::prelude::*;

/// Runs maintenance until it has nothing to do.
fn maintain(store: &Annals) -> Vec<Done> {
    let mut all = Vec::new();
    while let Some(done) = store.maintenance_step().expect("maintenance works") {
        all.push(done);
        assert!(all.len() < 1_000, "maintenance never ends");
    }
    all
}

fn contents(machine: &Machine) -> Vec<String> {
    let paths = machine.vfs.paths().into_iter().filter(|path| path.extension().is_some_and(|e| e == "blk"));
    let mut words: Vec<String> = paths
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().split('-').nth(1)?.to_owned()))
        .collect();
    words.sort();
    words
}

fn coarser(reader: &TenantReader) -> Vec<Resolution> {
    let budget = Budget::new(QueryLimits::default());
    let selected = reader.select(&[], TimeRange::ALL, &budget).expect("selected");
    selected.coverage().coarser.iter().map(|(_, resolution)| *resolution).collect()
}

/// What the only selector of a query reads, and which tiers show the time that it looks at.
fn read_of(reader: &TenantReader, query: &str, at: Timestamp) -> (ReadPlan, Vec<Resolution>) {
    let found = reader.explain(query, promql::Times::Instant(at), false).expect("explained");
    let selector = found.parts.into_iter().find_map(|part| part.selector).expect("a selector");
    (selector.read, selector.coarser.into_iter().map(|(_, resolution)| resolution).collect())
}

#[test]
fn p5_raw_goes_on_its_date_after_its_rollup_and_each_tier_shows_what_raw_would() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    let day = Timestamp(NOW).day();
    write_signals(&tenant, &attempts(1, &[NOW, NOW + 1, NOW + 70_000])).expect("written");
    write_samples(&tenant, &gauges(2, "m", &[(0, NOW, 4.0), (0, NOW + 10_000, 1.0), (0, NOW + 20_000, 3.0)]))
        .expect("written");
    let sealed_at = day.end().0 + 24 * HOUR_MS;
    machine.clock.set_ms(sealed_at - 1);
    maintain(&store);
    assert_eq!(contents(&machine), ["raw", "signals"], "data may still come");
    machine.clock.set_ms(sealed_at);
    let done = maintain(&store);
    assert!(
        done.iter().any(|done| matches!(done, Done::Sealed { blocks, .. } if blocks.len() == 2)),
        "{done:?}"
    );
    assert_eq!(contents(&machine), ["1h", "5m", "raw", "signals"]);
    // The same at each age: as raw, from 5-minute windows, from hours.
    let hour_end = Timestamp(window_end(NOW, HOUR_MS));
    let ask = || {
        let reader = tenant.reader();
        let sum = |text: &str| number(&reader, text, hour_end);
        [
            sum("sum(increase(auth_attempts{result=\"failure\"}[1h]))"),
            sum("sum_over_time(m[1h])"),
            sum("count_over_time(m[1h])"),
            sum("min_over_time(m[1h])"),
            sum("max_over_time(m[1h])"),
            sum("last_over_time(m[1h])"),
        ]
    };
    let raw = ask();
    assert_eq!(raw, [3.0, 8.0, 3.0, 1.0, 4.0, 3.0]);
    for (days, left, tier) in [
        (90, vec!["1h", "5m"], Some(Resolution::FiveMinutes)),
        (400, vec!["1h"], Some(Resolution::Hour)),
        (1100, vec![], None),
    ] {
        machine.clock.advance_ms((day.end().0 + days * DAY_MS - machine.now().0) as u64);
        let zones = coarser(&tenant.reader());
        assert!(tier.is_none_or(|tier| zones.contains(&tier)), "{days} days: {zones:?}");
        let expected = if tier.is_none() { [0.0; 6] } else { raw };
        assert_eq!(ask(), expected, "{days} days, before maintenance");
        maintain(&store);
        assert_eq!(contents(&machine), left, "{days} days");
        assert_eq!(ask(), expected, "{days} days");
        // What explains it says the same: its tier, and windows in place of samples.
        if let Some(tier) = tier {
            let (read, shown) = read_of(&tenant.reader(), "sum_over_time(m[1h])", hour_end);
            assert_eq!((read.windows, read.samples, read.chunks_decoded), (1, 0, 0), "{days} days");
            assert_eq!(shown, [tier], "{days} days");
        }
    }
    drop((tenant, store));
    assert!(
        verify(std::sync::Arc::new(machine.vfs.clone()), "/data".as_ref())
            .expect("verified")
            .findings
            .is_empty()
    );
}

#[test]
fn p5_raw_that_nothing_has_sealed_is_rolled_up_as_it_is_read() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    write_signals(&tenant, &attempts(1, &[NOW, NOW + 70_000])).expect("written");
    machine.clock.advance_ms(95 * DAY_MS as u64);
    // In the head, then in a raw block, then in rollups: one answer.
    let ask = || {
        number(
            &tenant.reader(),
            "sum(increase(auth_attempts{result=\"failure\"}[1h]))",
            Timestamp(window_end(NOW, HOUR_MS)),
        )
    };
    assert_eq!(ask(), 2.0);
    tenant.flush().expect("flushed");
    assert_eq!((ask(), contents(&machine)), (2.0, vec!["raw".to_owned()]));
    let (read, shown) = read_of(
        &tenant.reader(),
        "sum_over_time(auth_attempts{result=\"failure\"}[1h])",
        Timestamp(window_end(NOW, HOUR_MS)),
    );
    assert_eq!((read.windows, read.samples, read.chunks_decoded), (0, 2, 1));
    assert_eq!(shown, [Resolution::FiveMinutes]);
    let answer = tenant.reader().query("m", machine.now()).expect("answered");
    assert!(answer.infos.is_empty(), "nothing coarse is asked for");
    maintain(&store);
    assert_eq!((ask(), contents(&machine)), (2.0, vec!["1h".to_owned(), "5m".to_owned()]));
    let answer = tenant.reader().query("increase(auth_attempts[1h])", Timestamp(window_end(NOW, HOUR_MS)));
    let infos = format!("{:?}", answer.expect("answered").infos);
    assert!(infos.contains("only rollups of 5m are left"), "{infos}");
}

#[test]
fn a_plan_counts_the_windows_that_stand_for_samples_which_are_still_there() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    let day = Timestamp(NOW - DAY_MS).day();
    let at = |minute: i64| Timestamp(day.range().start.0 + minute * 60_000);
    let samples: Vec<(usize, i64, f64)> =
        (1..=24 * 60).map(|minute| (0, at(minute).0, minute as f64)).collect();
    write_samples(&tenant, &gauges(1, "m", &samples)).expect("written");
    store.settle().expect("settled");
    let read = |query: &str, minute: i64| {
        let read = read_of(&tenant.reader(), query, at(minute)).0;
        (read.windows, read.chunks_skipped, read.chunks_decoded, read.samples)
    };
    let asked =
        [("sum_over_time(m[3h])", 300), ("sum_over_time(m[90m])", 330), ("sum_over_time(m[4m])", 303)];
    for (query, minute) in asked {
        let (windows, _, decoded, _) = read(query, minute);
        assert_eq!((windows, decoded > 0), (0, true), "not sealed: {query}");
    }
    machine.clock.set_ms(day.end().0 + 25 * HOUR_MS);
    maintain(&store);
    assert!(contents(&machine).contains(&"raw".to_owned()));
    assert_eq!(read(asked[0].0, asked[0].1), (3, 0, 0, 0), "hours");
    assert_eq!(read(asked[1].0, asked[1].1), (1 + 6, 0, 0, 0), "an hour, and six times five minutes");
    let (windows, _, decoded, samples) = read(asked[2].0, asked[2].1);
    assert_eq!((windows, decoded, samples > 0), (0, 1, true), "less than a window");
    let (windows, skipped, decoded, _) = read("sum_over_time(m[2d])", 24 * 60);
    assert_eq!((windows, skipped > 0, decoded), (0, true, 0), "chunks are longer than windows");
}

#[test]
fn p5_late_data_is_refused_once_a_day_is_sealed_and_counted() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("starter")).expect("created");
    write_signals(&tenant, &attempts(1, &[NOW])).expect("written");
    machine.clock.set_ms(Timestamp(NOW).day().end().0 + 2 * HOUR_MS);
    maintain(&store);
    assert!(contents(&machine).contains(&"1h".to_owned()));
    let late = write_signals(&tenant, &attempts(2, &[NOW])).expect("answered");
    assert_eq!(late.refused, [(0, Refusal::of(RefusalReason::Late))]);
    // Backfill: an open day is sealed as it is, and again once a fair part is new.
    let open = store.create_tenant(&id("old"), plan("archive")).expect("created");
    let count = || {
        let (day, reader) = (Timestamp(NOW).day(), open.reader());
        number(&reader, "sum(increase(auth_attempts[1d]))", day.end())
    };
    for (batch, expected) in [(10, 1.0), (11, 2.0), (12, 3.0)] {
        write_signals(&open, &attempts(batch, &[NOW + batch as i64])).expect("written");
        assert_eq!(count(), expected, "in the head");
        store.settle().expect("settled");
        assert_eq!(count(), expected, "sealed again");
    }
}

#[test]
fn p5_a_damaged_day_is_not_sealed_from_less_than_there_was() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    let noise = |i: i64| f64::from_bits((i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2);
    let samples: Vec<(usize, i64, f64)> = (0..3_000).map(|i| (0, NOW + i * 7, noise(i))).collect();
    write_samples(&tenant, &gauges(1, "noise", &samples)).expect("written");
    tenant.flush().expect("flushed");
    drop((tenant, store));
    let block = machine
        .vfs
        .paths()
        .into_iter()
        .find(|path| path.extension().is_some_and(|e| e == "blk"))
        .expect("a block");
    let bytes = machine.vfs.read_file(&block).expect("there");
    machine.vfs.corrupt(&block, bytes.len() as u64 / 2, 0x10).expect("there");
    let store = machine.open();
    machine.clock.advance_ms(95 * DAY_MS as u64);
    while store.maintenance_step().is_ok_and(|done| done.is_some()) {}
    assert_eq!(contents(&machine), ["raw"], "it stays in the place of the rollup that cannot be made");
}

/// What a query gives for windows that end at each hour, by raw and after raw has gone.
fn hours(tenant: &Tenant, expression: &str, day: Day) -> Vec<(i64, u64)> {
    let start = Timestamp(day.range().start.0 + HOUR_MS);
    let answer = tenant.reader().query_range(expression, start, day.end(), HOUR_MS).expect("answered");
    let promql::Value::Matrix(series) = answer.value else { panic!("a range") };
    series.iter().flat_map(|one| one.points.iter().map(|(time, value)| (time.0, value.to_bits()))).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn p5_promql_over_sealed_days_equals_promql_over_raw_for_aligned_windows(
        samples in prop::collection::vec((1i64..DAY_MS, -50i32..50, 0usize..3), 1..120),
        kind in prop::sample::select(vec![SeriesKind::Gauge, SeriesKind::Counter, SeriesKind::Delta]),
        batches in 1usize..4,
    ) {
        let machine = Machine::new();
        let store = machine.open();
        let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
        let day = Timestamp(NOW - DAY_MS).day();
        for (number, part) in samples.chunks(samples.len().div_ceil(batches)).enumerate() {
            let part: Vec<(usize, i64, f64)> =
                part.iter().map(|&(at, value, series)| (series, day.range().start.0 + at, f64::from(value))).collect();
            write_samples(&tenant, &samples_of(number as u64, "m", kind, &part)).expect("written");
            tenant.flush().expect("flushed");
        }
        let functions: &[&str] = match kind {
            SeriesKind::Gauge => &["sum_over_time", "count_over_time", "min_over_time", "max_over_time", "last_over_time", "avg_over_time"],
            SeriesKind::Counter => &["increase", "rate", "last_over_time"],
            _ => &["increase", "rate", "sum_over_time"],
        };
        let ask = || -> Vec<Vec<(i64, u64)>> {
            functions.iter().map(|function| hours(&tenant, &format!("{function}(m[1h])"), day)).collect()
        };
        let raw = ask();
        prop_assert!(raw.iter().any(|answer| !answer.is_empty()));
        // Sealed beside raw, then in place of raw: of 5 minutes, then of hours.
        for days in [2, 91, 401] {
            machine.clock.set_ms(day.end().0 + days * DAY_MS);
            let unsealed = ask();
            maintain(&store);
            for ((function, raw), (before, after)) in functions.iter().zip(&raw).zip(unsealed.iter().zip(&ask())) {
                prop_assert_eq!(raw, before, "{} at {} days, before maintenance", function, days);
                prop_assert_eq!(raw, after, "{} at {} days", function, days);
            }
        }
    }
}
