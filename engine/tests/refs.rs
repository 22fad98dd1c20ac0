//! Series by reference: they outlast flushes, failed commits and reopens, and are good for one tenant only.

mod common;

use std::sync::Arc;

use annals::vfs::SimEntropy;
use annals::*;
use common::*;

/// References to gauges `m{series="i"}`.
fn refs(tenant: &Tenant, series: std::ops::Range<usize>) -> Vec<SeriesRef> {
    let of = |i: usize| labels(&[("__name__", "m"), ("series", &i.to_string())]);
    series.map(|i| tenant.series_ref(&of(i), SeriesKind::Gauge)).collect()
}

fn write(
    tenant: &Tenant,
    number: u64,
    series: &[SeriesRef],
    samples: &[(u32, Timestamp, f64)],
) -> Result<Acknowledgement, WriteError> {
    tenant.write_refs(&RefBatch { id: batch_id(number), site: site("host"), series, samples })?.wait()
}

/// A sample for each of `count` series, of a value that only this batch has.
fn samples(number: u64, count: usize) -> Vec<(u32, Timestamp, f64)> {
    let time = Timestamp(NOW + number as i64);
    (0..count as u32).map(|index| (index, time, (number * 100) as f64 + f64::from(index))).collect()
}

/// Every series' samples, as `series: value ..` by time.
fn shown(tenant: &Tenant) -> Vec<String> {
    let (reader, budget) = (tenant.reader(), Budget::new(QueryLimits::default()));
    let selected =
        reader.select(&[Matcher::equal("__name__", "m")], TimeRange::ALL, &budget).expect("selected");
    let mut held = Samples::default();
    (0..selected.len())
        .map(|index| {
            selected.read(index, &budget, &mut held).expect("read");
            assert_eq!(held.missing, []);
            let values: Vec<String> = held.values.iter().map(f64::to_string).collect();
            format!("{}: {}", selected.labels(index).get("series"), values.join(" "))
        })
        .collect()
}

#[test]
fn references_outlast_flushes_and_reopens() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    let series = refs(&tenant, 0..3);
    assert_eq!(write(&tenant, 1, &series, &samples(1, 3)).expect("written").accepted(), 3);
    tenant.flush().expect("flushed");
    // In the new table the numbers are others.
    let other = gauges(2, "m", &[(7, NOW + 2, 207.0)]);
    write_samples(&tenant, &other).expect("written");
    assert_eq!(write(&tenant, 3, &series[1..], &samples(3, 2)).expect("written").accepted(), 2);
    drop((store, tenant));
    let store = machine.open();
    let tenant = store.tenant(&id("acme")).expect("there");
    // The numbers begin at 0 again, with another series.
    write_samples(&tenant, &gauges(4, "m", &[(8, NOW + 4, 408.0)])).expect("written");
    assert_eq!(write(&tenant, 5, &series, &samples(5, 3)).expect("written").accepted(), 3);
    let expected = ["0: 100 500", "1: 101 300 501", "2: 102 301 502", "7: 207", "8: 408"];
    assert_eq!(shown(&tenant), expected);
    tenant.flush().expect("flushed");
    assert_eq!(shown(&tenant), expected);
}

#[test]
fn references_outlast_failed_commits_and_refused_batches() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    // Each batch defines a series, and fills the log, until one never becomes durable.
    machine.vfs.set_space(0);
    let mut number = 10;
    let (failed, error) = loop {
        let failed = refs(&tenant, number..number + 2);
        let fill = (0..3000).map(|at| (0, Timestamp(NOW - 10_000_000 + (number * 3000 + at) as i64), 0.5));
        let batch: Vec<_> = fill.chain([(1, Timestamp(NOW), 7.0)]).collect();
        match write(&tenant, number as u64, &failed, &batch) {
            Ok(acknowledgement) => assert_eq!(acknowledgement.accepted(), 3001),
            Err(error) => break (failed, error),
        }
        number += 2;
        assert!(number < 10_000, "a full disk takes no end of writes");
    };
    assert!(matches!(error, WriteError::NoSpace(_)), "{error}");
    machine.vfs.set_space(u64::MAX);
    let series = refs(&tenant, 0..4);
    assert_eq!(write(&tenant, 1, &series[2..], &samples(1, 2)).expect("written").accepted(), 2);
    assert_eq!(write(&tenant, 2, &failed, &samples(2, 2)).expect("written").accepted(), 2);
    assert_eq!(write(&tenant, 3, &series, &samples(3, 4)).expect("written").accepted(), 4);
    let (first, second) = (number, number + 1);
    let expected = ["0: 300".into(), "1: 301".into(), format!("{first}: 200"), format!("{second}: 201")];
    let expected: Vec<String> =
        expected.into_iter().chain(["2: 100 302".into(), "3: 101 303".into()]).collect();
    let of_these = |tenant: &Tenant| -> Vec<String> {
        let names: Vec<&str> = expected.iter().filter_map(|of| of.split(' ').next()).collect();
        shown(tenant)
            .into_iter()
            .filter(|of| of.split(' ').next().is_some_and(|name| names.contains(&name)))
            .collect()
    };
    let sorted = |mut all: Vec<String>| {
        all.sort();
        all
    };
    let expected = sorted(expected.clone());
    assert_eq!(sorted(of_these(&tenant)), expected);
    // A record that the log does not take: its series are taken back, and their numbers go to others.
    let long = "x".repeat(LABEL_VALUE_BYTES_MAX);
    let large: Vec<SeriesRef> = (0..3000)
        .map(|i| labels(&[("__name__", "m"), ("series", &format!("{i}{}", &long[8..]))]))
        .map(|labels| tenant.series_ref(&labels, SeriesKind::Gauge))
        .collect();
    let error = write(&tenant, 4, &large, &samples(4, 3000)).expect_err("too large");
    assert!(matches!(error, WriteError::RecordTooLarge { .. }), "{error}");
    let more = refs(&tenant, 4..6);
    write(&tenant, 5, &more, &samples(5, 2)).expect("written");
    write(&tenant, 6, &large[..2], &samples(6, 2)).expect("written");
    let all = shown(&tenant);
    for (of, value) in [("4: ", "500"), ("5: ", "501"), ("0xx", "600"), ("1xx", "601")] {
        let found: Vec<&String> = all.iter().filter(|shown| shown.starts_with(of)).collect();
        assert!(found.len() == 1 && found[0].ends_with(&format!(": {value}")), "{of}");
    }
    drop((store, tenant));
    let store = machine.open();
    let tenant = store.tenant(&id("acme")).expect("there");
    assert_eq!(sorted(of_these(&tenant)), expected);
    assert_eq!(shown(&tenant), all);
}

#[test]
fn references_of_another_tenant_are_refused_one_by_one() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    let other = store.create_tenant(&id("other"), plan("archive")).expect("created");
    let series = [refs(&tenant, 0..1), refs(&other, 1..2), refs(&tenant, 2..3)].concat();
    // Resolved in its own tenant first: that place means nothing here.
    write(&other, 1, &series[1..2], &samples(1, 1)).expect("written");
    let mut batch = samples(2, 3);
    batch.push((9, Timestamp(NOW), 0.0));
    let acknowledgement = write(&tenant, 2, &series, &batch).expect("written");
    let reasons: Vec<_> = acknowledgement.refused.iter().map(|(at, refusal)| (*at, refusal.reason)).collect();
    assert_eq!(reasons, [(1, RefusalReason::UnknownSeries), (3, RefusalReason::UnknownSeries)]);
    assert_eq!(shown(&tenant), ["0: 200", "2: 202"]);
    // Nor does a tenant of the same number in another store take them.
    let elsewhere = Machine { entropy: Arc::new(SimEntropy::new(2)), ..Machine::new() };
    let store = elsewhere.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    assert_eq!(write(&tenant, 1, &series[..1], &samples(1, 1)).expect("answered").accepted(), 0);
}

#[test]
fn what_admission_decides_holds_for_references_that_were_used_before() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    write_signals(&tenant, &attempts(1, &[NOW])).expect("written");
    // The series is in the table, and stays what Annals derives.
    let derived = labels(&[("__name__", "signals"), ("kind", "auth.attempt"), ("site", "shop.example")]);
    let delta = labels(&[("__name__", "d")]);
    let series = [
        tenant.series_ref(&derived, SeriesKind::Delta),
        tenant.series_ref(&delta, SeriesKind::Delta),
        tenant.series_ref(&delta, SeriesKind::Gauge),
    ];
    for number in 2..4 {
        let time = Timestamp(NOW);
        let batch =
            [(0, time, 1.0), (1, time, f64::NAN), (1, time, 1.0), (2, time, 1.0), (1, Timestamp::MAX, 1.0)];
        let acknowledgement = write(&tenant, number, &series, &batch).expect("written");
        let reasons: Vec<_> =
            acknowledgement.refused.iter().map(|(at, refusal)| (*at, refusal.reason)).collect();
        use RefusalReason::*;
        assert_eq!(reasons, [(0, ReservedMetric), (1, OutOfBounds), (3, KindConflict), (4, Future)]);
    }
    assert_eq!(number(&tenant.reader(), "sum_over_time(d[1h])", Timestamp(NOW)), 2.0);
    let starter = store.create_tenant(&id("starter"), plan("starter")).expect("created");
    let series = refs(&starter, 0..1);
    let acknowledgement = write(&starter, 1, &series, &samples(0, 1)).expect("answered");
    let reasons: Vec<_> = acknowledgement.refused.iter().map(|(_, refusal)| refusal.reason).collect();
    assert_eq!(reasons, [RefusalReason::NotEntitled]);
}

#[test]
fn a_retry_by_reference_counts_nothing_and_other_content_is_a_conflict() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    let series = refs(&tenant, 0..2);
    write(&tenant, 1, &series, &samples(1, 2)).expect("written");
    tenant.flush().expect("flushed");
    // New references to the same series make the same batch.
    assert!(write(&tenant, 1, &refs(&tenant, 0..2), &samples(1, 2)).expect("answered").duplicate);
    for other in [refs(&tenant, 1..3), refs(&tenant, 0..3)] {
        let error = write(&tenant, 1, &other, &samples(1, 2)).expect_err("a conflict");
        assert_eq!(error, WriteError::Conflict { id: batch_id(1) });
    }
}
