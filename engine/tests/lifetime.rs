//! How long data lives: late windows, retention, flushes by age and size, merges.

mod common;

use annals::*;
use common::*;

/// Runs maintenance until it has nothing to do.
fn maintain(store: &Annals) -> Vec<Done> {
    let mut all = Vec::new();
    while let Some(done) = store.maintenance_step().expect("maintenance works") {
        all.push(done);
        assert!(all.len() < 1_000, "maintenance never ends");
    }
    all
}

#[test]
fn expired_samples_are_never_returned_and_their_bytes_go() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("starter")).expect("created");
    write_signals(&tenant, &attempts(1, &[NOW])).expect("written");
    tenant.flush().expect("flushed");
    write_signals(&tenant, &attempts(2, &[NOW + 1_000])).expect("written");
    let day = Timestamp(NOW).day();
    // Starter keeps raw metrics 7 days after the day's end, raw signals one day.
    let signals_due = day.end().0 + DAY_MS;
    machine.clock.set_ms(signals_due - 1);
    assert_eq!(raw_signals(&tenant.reader()), 2);
    machine.clock.set_ms(signals_due);
    assert_eq!(raw_signals(&tenant.reader()), 0, "hidden at once, before any maintenance");
    assert_eq!(failures(&tenant.reader(), machine.now()), 2.0);
    let metrics_due = day.end().0 + 7 * DAY_MS;
    machine.clock.set_ms(metrics_due - 1);
    assert_eq!(failures(&tenant.reader(), machine.now()), 2.0);
    machine.clock.set_ms(metrics_due);
    assert_eq!(failures(&tenant.reader(), machine.now()), 0.0);
    maintain(&store);
    let summary = tenant.summary();
    assert_eq!((summary.metric_blocks, summary.signal_blocks, summary.head_samples), (0, 0, 0));
    let blocks: Vec<_> =
        machine.vfs.paths().into_iter().filter(|path| path.extension().is_some_and(|e| e == "blk")).collect();
    assert_eq!(blocks, Vec::<std::path::PathBuf>::new());
    // The clock going back does not bring anything back, in this process or the next.
    machine.clock.set_ms(NOW + 10_000);
    assert_eq!(failures(&tenant.reader(), machine.now()), 0.0);
    drop((tenant, store));
    assert_eq!(failures(&machine.open().tenant(&id("acme")).expect("there").reader(), machine.now()), 0.0);
}

#[test]
fn what_a_flush_leaves_of_an_expired_day_is_not_taken_for_the_whole_when_the_clock_goes_back() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("starter")).expect("created");
    write_signals(&tenant, &attempts(1, &[NOW])).expect("written");
    tenant.flush().expect("flushed");
    write_signals(&tenant, &attempts(2, &[NOW + 1_000])).expect("written");
    machine.clock.set_ms(NOW + 60 * DAY_MS);
    // The second batch has expired before it came into a block; the first is in one that nothing has dropped yet.
    tenant.flush().expect("flushed");
    machine.clock.set_ms(NOW + 10_000);
    assert_eq!(failures(&tenant.reader(), machine.now()), 0.0, "2 or nothing, never 1");
    assert_eq!(raw_signals(&tenant.reader()), 0);
}

#[test]
fn a_sealed_day_stays_sealed_when_the_clock_goes_back() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("starter")).expect("created");
    write_signals(&tenant, &attempts(1, &[NOW])).expect("written");
    let sealed = Timestamp(NOW).day().end().0 + 2 * HOUR_MS;
    machine.clock.set_ms(sealed - 1);
    assert_eq!(write_signals(&tenant, &attempts(2, &[NOW])).expect("written").accepted(), 1);
    machine.clock.set_ms(sealed);
    let late = write_signals(&tenant, &attempts(3, &[NOW])).expect("answered");
    assert_eq!(late.refused, [(0, Refusal::of(RefusalReason::Late))]);
    maintain(&store);
    machine.clock.set_ms(NOW + 1_000);
    let late = write_signals(&tenant, &attempts(4, &[NOW])).expect("answered");
    assert_eq!(late.refused, [(0, Refusal::of(RefusalReason::Late))]);
    assert_eq!(failures(&tenant.reader(), Timestamp(sealed)), 2.0);
}

#[test]
fn archive_takes_data_of_any_age_and_never_lets_it_expire() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("old"), plan("archive")).expect("created");
    let ages = [NOW - 20_000 * DAY_MS, NOW - 4_000 * DAY_MS, NOW - DAY_MS, NOW];
    write_signals(&tenant, &attempts(1, &ages)).expect("written");
    write_samples(&tenant, &gauges(2, "m", &ages.map(|t| (0, t, t as f64)))).expect("written");
    machine.clock.advance_ms(900 * DAY_MS as u64);
    maintain(&store);
    let reader = tenant.reader();
    for age in ages {
        let at = Timestamp(age + 60_000);
        assert_eq!(number(&reader, "sum(increase(auth_attempts[2m]))", at), 1.0);
        assert_eq!(number(&reader, "m", at), age as f64);
    }
    assert_eq!(raw_signals(&reader), 4);
    assert_eq!(tenant.summary().earliest, Some(Timestamp(ages[0])));
}

#[test]
fn a_head_is_flushed_by_age_and_by_memory_and_the_log_shrinks() {
    let machine =
        Machine { options: Options { head_bytes_max: 100_000, ..Machine::new().options }, ..Machine::new() };
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    write_signals(&tenant, &attempts(1, &[NOW])).expect("written");
    assert_eq!(maintain(&store), []);
    machine.clock.advance_ms(DAY_MS as u64);
    assert!(maintain(&store).iter().any(|done| matches!(done, Done::Flushed { .. })), "by age");
    let mut written = 1;
    for n in 2..400u64 {
        let times: Vec<i64> = (0..20).map(|i| NOW + i).collect();
        match write_signals(&tenant, &attempts(n, &times)) {
            Ok(acknowledgement) => written += acknowledgement.accepted(),
            Err(WriteError::Overloaded { .. }) => {
                assert!(
                    maintain(&store).iter().any(|done| matches!(done, Done::Flushed { .. })),
                    "by memory"
                );
            }
            Err(error) => panic!("{error}"),
        }
    }
    store.settle().expect("settled");
    assert_eq!(failures(&tenant.reader(), Timestamp(NOW + HOUR_MS)), written as f64);
    assert_eq!((tenant.summary().metric_blocks, tenant.summary().head_samples), (1, 0));
    let segments = machine.vfs.paths().iter().filter(|p| p.starts_with("/data/wal")).count();
    assert!(segments <= 2, "{segments} segments are left of a log that nobody needs");
}

#[test]
fn merging_keeps_every_count_and_the_latest_gauge() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    for n in 0..9u64 {
        write_signals(&tenant, &attempts(n, &[NOW, NOW + 1, NOW - DAY_MS])).expect("written");
        write_samples(&tenant, &gauges(100 + n, "m", &[(0, NOW, n as f64), (n as usize, NOW + 1, 1.0)]))
            .expect("written");
        tenant.flush().expect("flushed");
    }
    let later = Timestamp(NOW + 60_000);
    let see = |reader: &TenantReader| {
        (failures(reader, later), raw_signals(reader), number(reader, "m{series=\"0\"} @ 1790000000", later))
    };
    let before = see(&tenant.reader());
    assert_eq!(before, (27.0, 27, 8.0));
    maintain(&store);
    assert_eq!(see(&tenant.reader()), before);
    store.settle().expect("settled");
    assert_eq!(see(&tenant.reader()), before);
    assert_eq!((tenant.summary().metric_blocks, tenant.summary().signal_blocks), (2, 2));
    drop((tenant, store));
    assert_eq!(see(&machine.open().tenant(&id("acme")).expect("there").reader()), before);
}

#[test]
fn what_a_damaged_block_still_serves_stays_newer_than_what_is_merged_around_it() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    let noise = |number: u64| -> Vec<(usize, i64, f64)> {
        let value = |i: i64| f64::from_bits((i as u64 + number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2);
        (0..3_000).map(|i| (0, NOW + i * 7, value(i))).collect()
    };
    let flush = |block: u64, time: i64, level: f64| {
        write_samples(&tenant, &gauges(2 * block, "level", &[(0, time, level)])).expect("written");
        write_samples(&tenant, &gauges(2 * block + 1, "noise", &noise(block))).expect("written");
        tenant.flush().expect("flushed");
    };
    let level = || number(&tenant.reader(), "level", Timestamp(NOW));
    let blocks = || -> std::collections::BTreeSet<_> {
        machine.vfs.paths().into_iter().filter(|path| path.extension().is_some_and(|e| e == "blk")).collect()
    };
    // Four that are merged, then four of which the first overrides them and is damaged, then one more.
    (0..4).for_each(|block| flush(block, NOW, 1.0));
    maintain(&store);
    assert_eq!((level(), tenant.summary().metric_blocks), (1.0, 1));
    let before = blocks();
    flush(4, NOW, 2.0);
    let damaged = blocks().difference(&before).next().expect("a new block").clone();
    let bytes = machine.vfs.read_file(&damaged).expect("there");
    machine.vfs.corrupt_mapped(&damaged, bytes.len() as u64 / 2, 0x10, 0).expect("there");
    machine.vfs.corrupt(&damaged, bytes.len() as u64 / 2, 0x10).expect("there");
    (5..8).for_each(|block| flush(block, NOW + 60_000, 3.0));
    while store.maintenance_step().is_ok_and(|done| done.is_some()) {}
    assert_eq!((level(), tenant.summary().metric_blocks), (2.0, 5), "four are set aside");
    flush(8, NOW + 60_000, 4.0);
    store.settle().expect("settled");
    assert_eq!((level(), tenant.summary().metric_blocks), (2.0, 6));
}

#[test]
fn tenants_that_flood_wait_and_leave_room_for_one_that_does_not() {
    let machine =
        Machine { options: Options { head_bytes_max: 200_000, ..Machine::new().options }, ..Machine::new() };
    let store = machine.open();
    let [loud, louder, quiet] = ["loud", "louder", "quiet"]
        .map(|name| store.create_tenant(&id(name), plan("archive")).expect("created"));
    let write = |tenant: &Tenant, n: u64| {
        let times: Vec<i64> = (0..20).map(|i| NOW + i).collect();
        write_signals(tenant, &attempts(n, &times))
    };
    let takes = |tenant: &Tenant, from: u64| {
        let waits = |n: &u64| matches!(write(tenant, *n), Err(WriteError::Overloaded { .. }));
        (from..).find(waits).expect("in the end") - from
    };
    let alone = takes(&loud, 0);
    assert!(write(&loud, 10_000).is_err(), "it goes on to wait");
    let beside = takes(&louder, 0);
    assert!(write(&louder, 10_000).is_err(), "so does another");
    assert!(alone > beside && beside * 10 > alone, "{beside} batches beside {alone}");
    for n in 0..beside / 10 {
        write(&quiet, n).expect("what they leave is for others");
    }
    assert!(maintain(&store).iter().any(|done| matches!(done, Done::Flushed { .. })));
    for tenant in [&loud, &louder, &quiet] {
        write(tenant, 20_000).expect("there is room again");
    }
}

#[test]
fn the_sweep_lets_a_flush_that_is_due_have_its_turn() {
    let machine = Machine::new();
    let store = machine.open();
    let tenants: Vec<Tenant> = (0..40)
        .map(|n| store.create_tenant(&id(&format!("t{n:02}")), plan("starter")).expect("created"))
        .collect();
    for tenant in &tenants {
        write_signals(tenant, &attempts(1, &[NOW])).expect("written");
        tenant.flush().expect("flushed");
    }
    machine.clock.advance_ms(9 * DAY_MS as u64);
    let last = tenants.last().expect("some");
    write_signals(last, &attempts(2, &[machine.now().0])).expect("written");
    machine.clock.advance_ms(DAY_MS as u64);
    let done = maintain(&store);
    let at = |wanted: fn(&Done) -> bool| done.iter().position(wanted).expect("done");
    assert_eq!(at(|done| matches!(done, Done::Dropped { .. })), 0, "what has expired goes first");
    assert_eq!(at(|done| matches!(done, Done::Flushed { .. })), 16, "{done:?}");
    let dropped = done.iter().filter(|done| matches!(done, Done::Dropped { .. })).count();
    assert_eq!(dropped, 40, "and all of it goes");
    let removed = |done: &Done| matches!(done, Done::Removed { files } if files.len() > 64);
    assert!(!done.iter().any(removed));
}
