//! A store's own numbers: each moves when its thing happens, and not otherwise.

mod common;

use std::collections::BTreeSet;

use annals::signals::read::{Dialect, EachSample, MetricLine, MetricReader as _, MetricsText};
use annals::vfs::{SimCalls, SimError, SimFault, SimOp};
use annals::*;
use common::*;

fn activity(store: &Annals) -> Activity {
    store.metrics().activity.expect("open for writing")
}

fn work(store: &Annals, work: Work) -> WorkDone {
    activity(store).work.into_iter().find(|(own, _)| *own == work).expect("there").1
}

fn refused(store: &Annals, reason: RefusalReason) -> u64 {
    activity(store).intake.refused.into_iter().find(|(own, _)| *own == reason).expect("there").1
}

#[test]
fn each_outcome_of_a_batch_and_each_reason_of_a_refusal_is_counted() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    let neighbour = store.create_tenant(&id("other"), plan("archive")).expect("created");
    let none = activity(&store);
    assert_eq!(
        (none.intake.batches_written, none.intake.records, none.log_commits, none.log_bytes),
        (0, 0, 0, 0)
    );
    let far = NOW + 10 * DAY_MS;
    let batch = gauges(1, "m", &[(0, NOW, 1.0), (0, NOW + 1, 2.0), (0, far, 3.0)]);
    write_samples(&tenant, &batch).expect("written");
    let one = activity(&store);
    assert_eq!((one.intake.batches_written, one.intake.records, one.samples, one.signals), (1, 2, 2, 0));
    assert_eq!((one.log_commits, refused(&store, RefusalReason::Future)), (1, 1));
    assert!(one.log_bytes > 0);
    write_samples(&tenant, &batch).expect("a duplicate");
    assert_eq!((activity(&store).intake.batches_duplicate, activity(&store).intake.records), (1, 2));
    write_samples(&tenant, &gauges(1, "m", &[(0, NOW, 9.0)])).expect_err("a conflict");
    assert_eq!(activity(&store).intake.batches_conflicting, 1);
    // Nothing of it is taken, and nothing logged.
    write_samples(&tenant, &gauges(2, "signals", &[(0, NOW, 1.0)])).expect("all refused");
    assert_eq!(
        (activity(&store).intake.batches_written, refused(&store, RefusalReason::ReservedMetric)),
        (1, 1)
    );
    // Two signals, and the cells that are derived from them.
    write_signals(&tenant, &attempts(3, &[NOW, NOW + 1])).expect("written");
    let two = activity(&store);
    assert_eq!((two.intake.batches_written, two.intake.records, two.signals), (2, 4, 2));
    assert!(two.samples > 2, "{two:?}");
    // A segment that fails once is left, and the batch goes into the next one.
    machine.vfs.fail(SimFault::once(SimCalls::Of(SimOp::Sync), 0, SimError::Io));
    write_signals(&tenant, &attempts(4, &[NOW])).expect("written");
    machine.vfs.clear_faults();
    let left = activity(&store);
    assert_eq!((left.intake.batches_failed, left.log_failures, left.log_segments_abandoned), (0, 0, 1));
    machine.vfs.fail(SimFault::forever(SimCalls::Mutating, 0, SimError::Io));
    write_signals(&tenant, &attempts(5, &[NOW])).expect_err("not written");
    machine.vfs.clear_faults();
    let failed = activity(&store);
    assert_eq!((failed.intake.batches_failed, failed.log_failures), (1, 1));
    assert_eq!(
        (failed.intake.batches_written, failed.intake.records),
        (left.intake.batches_written, left.intake.records)
    );
    // All of that was one tenant's, and the other has nothing of it.
    assert_eq!(tenant.intake(), failed.intake);
    assert_eq!(neighbour.intake(), none.intake);
}

#[test]
fn each_kind_of_background_work_is_counted_with_what_it_made() {
    let machine = Machine::new();
    let store = machine.open();
    assert_eq!(work(&store, Work::Recover).done, 1);
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    for number in 0..3 {
        let samples: Vec<_> = (0..100).map(|n| (0, NOW + number * 100 + n, n as f64)).collect();
        write_samples(&tenant, &gauges(number as u64, "m", &samples)).expect("written");
        tenant.flush().expect("flushed");
    }
    let flushed = work(&store, Work::Flush);
    assert_eq!((flushed.done, flushed.failed, flushed.rows), (3, 0, 300));
    assert!(flushed.bytes > 0);
    // A flush of nothing is none.
    tenant.flush().expect("nothing to do");
    assert_eq!(work(&store, Work::Flush).done, 3);
    let merges = store.metrics().tenants[0].merges_due;
    store.settle().expect("settled");
    assert_eq!((work(&store, Work::Merge).done, work(&store, Work::Merge).rows), (1, 300));
    assert!(store.metrics().tenants[0].merges_due <= merges);
    machine.clock.set_ms(NOW + 3 * DAY_MS);
    assert_eq!((store.metrics().tenants[0].seals_due, work(&store, Work::Seal).done), (1, 0));
    store.settle().expect("sealed");
    assert_eq!((store.metrics().tenants[0].seals_due, work(&store, Work::Seal).done), (0, 1));
    assert_eq!(work(&store, Work::Seal).rows, 2, "a window of 5 minutes and one of an hour");
    machine.clock.set_ms(NOW + 120 * DAY_MS);
    let lag = store.metrics().tenants[0].retention_lag_ms;
    assert!(lag > 20 * DAY_MS as u64, "{lag}");
    while store.maintenance_step().expect("swept").is_some() {}
    assert_eq!((work(&store, Work::Sweep).done, work(&store, Work::Sweep).rows), (1, 300));
    assert_eq!(store.metrics().tenants[0].retention_lag_ms, 0);
    write_samples(&tenant, &gauges(9, "d", &[(0, machine.now().0, 1.0)])).expect("written");
    machine.vfs.fail(SimFault::once(SimCalls::Of(SimOp::Create), 0, SimError::NoSpace));
    tenant.flush().expect_err("no space");
    machine.vfs.clear_faults();
    assert_eq!((work(&store, Work::Flush).done, work(&store, Work::Flush).failed), (3, 1));
    let matchers = vec![Matcher::equal("__name__", "d")];
    let deletion = Deletion { matchers, range: TimeRange::ALL, metrics: true, signals: true };
    tenant.delete(&deletion).expect("deleted");
    assert_eq!(work(&store, Work::Delete).done, 1);
    drop(tenant);
    store.erase_tenant(&id("acme")).expect("erased");
    store.settle().expect("removed");
    assert_eq!(work(&store, Work::Erase).done, 1);
}

#[test]
fn what_is_in_memory_in_blocks_and_in_the_log_is_told() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    write_samples(&tenant, &gauges(1, "m", &[(0, NOW, 1.0), (1, NOW, 2.0)])).expect("written");
    write_signals(&tenant, &attempts(2, &[NOW])).expect("written");
    let before = store.metrics();
    let own = &before.tenants[0];
    assert_eq!(
        (own.head_signals, own.head_samples > 2, own.head_series > 2, own.head_bytes > 0),
        (1, true, true, true)
    );
    assert!(own.blocks.iter().all(|(_, totals)| *totals == BlockTotals::default()));
    assert!(before.log_segments > 0 && before.log_file_bytes > 0);
    let samples = own.head_samples;
    tenant.flush().expect("flushed");
    let after = store.metrics();
    let own = &after.tenants[0];
    assert_eq!((own.head_series, own.head_samples, own.head_signals), (0, 0, 0));
    let of = |content| own.blocks.iter().find(|(own, _)| *own == content).expect("there").1;
    assert_eq!((of(BlockContent::RawMetrics).blocks, of(BlockContent::RawMetrics).rows), (1, samples));
    assert_eq!((of(BlockContent::RawSignals).blocks, of(BlockContent::RawSignals).rows), (1, 1));
    // Beside the writer the same is seen, but for what only the writer knows.
    let beside = machine.read_only().metrics();
    assert_eq!((beside.activity, beside.tenants), (None, after.tenants.clone()));
}

#[test]
fn queries_and_the_blocks_that_they_open_are_counted() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    write_samples(&tenant, &gauges(1, "m", &[(0, NOW, 1.0), (0, NOW + 1, 2.0)])).expect("written");
    tenant.flush().expect("flushed");
    let reader = tenant.reader();
    let before = activity(&store);
    assert_eq!((before.queries, before.queries_failed), (0, 0));
    assert_eq!(number(&reader, "sum_over_time(m[1h])", Timestamp(NOW + 1)), 3.0);
    reader.query("sum(", Timestamp(NOW)).expect_err("no query");
    let after = activity(&store);
    assert_eq!((after.queries, after.queries_failed, after.queries_slow), (1, 1, 0));
    assert!(after.query_samples > 0);
    assert_eq!((after.index.opens - before.index.opens, after.index.blocks), (1, 1));
    number(&reader, "sum_over_time(m[1h])", Timestamp(NOW + 1));
    let again = activity(&store);
    assert_eq!(again.index.opens, after.index.opens);
    assert!(again.index.uses > after.index.uses && again.index.bytes > 0);
}

#[test]
fn the_text_is_openmetrics_and_names_nothing_that_a_tenant_wrote() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    write_samples(&tenant, &gauges(1, "secret_metric", &[(0, NOW, 1.0)])).expect("written");
    write_signals(&tenant, &attempts(2, &[NOW])).expect("written");
    let text = store.metrics().to_openmetrics();
    assert!(text.ends_with("\n# EOF\n"));
    assert!(text.contains("annals_batches_total{outcome=\"written\"} 2\n"), "{text}");
    assert!(text.contains(
        "# TYPE annals_retention_lag_seconds gauge\n# UNIT annals_retention_lag_seconds seconds\n"
    ));
    assert!(text.contains("annals_tenant_head_series{tenant=\"acme\"} "));
    assert!(!text.contains("secret") && !text.contains("shop.example"), "{text}");
    let mut reader = MetricsText::new(Dialect::OpenMetrics, Some(Timestamp(NOW)));
    let mut families = BTreeSet::new();
    let mut series = BTreeSet::new();
    for line in text.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            assert!(families.insert(family.to_owned()), "{family} twice");
        }
        let mut sink =
            EachSample::new(|labels: &[(&str, &str)], _: SeriesKind, _: Option<Timestamp>, _: f64| {
                assert!(series.insert(format!("{labels:?}")), "{labels:?} twice");
            });
        assert_ne!(reader.line(line.as_bytes(), &mut sink), MetricLine::Unreadable, "{line}");
    }
    assert!(families.len() > 40 && series.len() > 80, "{} families, {} series", families.len(), series.len());
    // What only the writer knows is not told as zero by others.
    assert!(!machine.read_only().metrics().to_openmetrics().contains("annals_batches"));
}
