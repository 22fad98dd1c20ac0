//! A crash at every mutating I/O call, under every policy of what survives: what was acknowledged is there once, what
//! was not is there whole or not at all, and nothing else is.

mod common;

use annals::vfs::SimCut;
use annals::*;
use common::*;

/// Batch `n` holds `n + 1` failed sign-ins and, for the enterprise tenant, as many samples.
fn signals(n: u64) -> SignalBatch {
    let times: Vec<i64> = (0..=n as i64).map(|i| NOW - 2 * DAY_MS / 3 * (n as i64 % 2) + i * 1_000).collect();
    attempts(n, &times)
}

fn samples(n: u64) -> SampleBatch {
    let rows: Vec<_> = (0..=n as usize).map(|i| (i, NOW + n as i64, n as f64)).collect();
    gauges(100 + n, "m", &rows)
}

/// What the scenario has been told.
#[derive(Default, Clone)]
struct Told {
    acknowledged: Vec<u64>,
    unknown: Vec<u64>,
}

/// Writes, flushes, merges; stops at the first error, which a crash makes of every call.
fn scenario(machine: &Machine, told: &mut Told) -> Option<()> {
    let store = machine.try_open().ok()?;
    let tenant = match store.create_tenant(&id("acme"), plan("enterprise")) {
        Ok(tenant) => tenant,
        Err(TenantError::Exists(_)) => store.tenant(&id("acme")).ok()?,
        Err(_) => return None,
    };
    for round in 0..3u64 {
        for n in [2 * round, 2 * round + 1] {
            if told.acknowledged.contains(&n) {
                continue;
            }
            told.unknown.push(n);
            write_signals(&tenant, &signals(n)).ok()?;
            write_samples(&tenant, &samples(n)).ok()?;
            told.unknown.retain(|m| *m != n);
            told.acknowledged.push(n);
        }
        if round < 2 {
            tenant.flush().ok()?;
        }
    }
    store.settle().ok()?;
    store.close().ok()
}

/// What is there after a reopen agrees with what was told. Batches that were in doubt are retried and then count once:
/// what is told from then on.
fn check(machine: &Machine, told: &Told, context: &str) -> Told {
    let store = machine.try_open().unwrap_or_else(|error| panic!("{context}: {error}"));
    assert_eq!(store.recovery().findings, Vec::<String>::new(), "{context}");
    assert_eq!(store.recovery().unavailable, [], "{context}");
    let later = Timestamp(NOW + HOUR_MS);
    let tenant = match store.tenant(&id("acme")) {
        Ok(tenant) => tenant,
        Err(TenantError::Unknown(_)) if told.acknowledged.is_empty() => store
            .create_tenant(&id("acme"), plan("enterprise"))
            .unwrap_or_else(|error| panic!("{context}: created after a crash: {error}")),
        Err(error) => panic!("{context}: {error}"),
    };
    let acknowledged: u64 = told.acknowledged.iter().map(|n| n + 1).sum();
    let in_doubt: u64 = told.unknown.iter().map(|n| n + 1).sum();
    let counted = failures(&tenant.reader(), later);
    assert!(
        counted == acknowledged as f64 || counted == (acknowledged + in_doubt) as f64,
        "{context}: {counted} counted, {acknowledged} acknowledged, {in_doubt} in doubt"
    );
    assert_eq!(raw_signals(&tenant.reader()) as f64, counted, "{context}");
    for n in &told.acknowledged {
        let expression = format!("count(last_over_time(m[2h]) >= {n})");
        let series = number(&tenant.reader(), &expression, later);
        assert!(series >= (n + 1) as f64, "{context}: batch {n}, {series} series");
    }
    for n in told.unknown.iter().chain(&told.acknowledged) {
        write_signals(&tenant, &signals(*n)).unwrap_or_else(|error| panic!("{context}: {error}"));
        write_samples(&tenant, &samples(*n)).unwrap_or_else(|error| panic!("{context}: {error}"));
    }
    assert_eq!(
        failures(&tenant.reader(), later),
        (acknowledged + in_doubt) as f64,
        "{context}, after retries"
    );
    assert_eq!(raw_signals(&tenant.reader()) as u64, acknowledged + in_doubt, "{context}, after retries");
    let all = told.acknowledged.iter().chain(&told.unknown).copied().collect();
    Told { acknowledged: all, unknown: Vec::new() }
}

/// A machine whose heads may hold so many bytes before a replay makes blocks of them.
fn machine(head_bytes_max: usize) -> Machine {
    let machine = Machine::new();
    Machine { options: Options { head_bytes_max, ..machine.options.clone() }, ..machine }
}

fn enumerate(within: bool, head_bytes_max: usize) {
    let whole = machine(head_bytes_max);
    let mut told = Told::default();
    scenario(&whole, &mut told).expect("nothing fails without a crash");
    let calls = whole.vfs.calls();
    assert!(calls > 60, "{calls} calls make a scenario too small to show anything");
    check(&whole, &told, "without a crash");
    for call in 0..calls {
        let machine = machine(head_bytes_max);
        if within {
            machine.vfs.set_crash_within(call);
        } else {
            machine.vfs.set_crash_at(call);
        }
        let mut told = Told::default();
        let finished = scenario(&machine, &mut told).is_some();
        assert!(machine.vfs.crashed() || finished, "call {call}");
        for cut in SimCut::all(call) {
            let after =
                Machine { vfs: machine.vfs.snapshot(), options: machine.options.clone(), ..Machine::new() };
            after.vfs.power_cut(cut);
            check(&after, &told, &format!("call {call} within {within}, {cut:?}"));
        }
        machine.vfs.process_crash();
        // What the next process saw and built upon is there after a power cut too.
        let told = check(&machine, &told, &format!("call {call} within {within}, process crash"));
        for cut in [SimCut::Nothing, SimCut::BytesOnly] {
            let after =
                Machine { vfs: machine.vfs.snapshot(), options: machine.options.clone(), ..Machine::new() };
            after.vfs.power_cut(cut);
            check(&after, &told, &format!("call {call} within {within}, process crash, {cut:?}"));
        }
    }
}

#[test]
fn acknowledged_batches_survive_a_crash_before_every_call() {
    enumerate(false, 1 << 20);
}

#[test]
fn acknowledged_batches_survive_a_crash_within_every_call() {
    enumerate(true, 1 << 20);
}

#[test]
fn acknowledged_batches_survive_a_crash_where_every_replay_makes_blocks() {
    enumerate(false, 3_000);
}

#[test]
fn a_crash_in_recovery_changes_nothing() {
    let machine = Machine::new();
    let mut told = Told::default();
    // Stopped in the middle of the third round, with blocks, a log tail and unknown batches.
    let whole = Machine::new();
    scenario(&whole, &mut Told::default()).expect("nothing fails without a crash");
    machine.vfs.set_crash_at(whole.vfs.calls() * 3 / 5);
    assert!(scenario(&machine, &mut told).is_none());
    machine.vfs.power_cut(SimCut::Torn { seed: 5 });
    let calls = {
        let clean = Machine { vfs: machine.vfs.snapshot(), ..Machine::new() };
        drop(clean.try_open().expect("opens"));
        clean.vfs.calls()
    };
    assert!(calls > 0);
    for call in 0..calls {
        for cut in SimCut::all(call) {
            let again = Machine { vfs: machine.vfs.snapshot(), ..Machine::new() };
            again.vfs.set_crash_at(call);
            assert!(again.try_open().is_err() || again.vfs.crashed());
            again.vfs.power_cut(cut);
            check(&again, &told, &format!("recovery call {call}, {cut:?}"));
        }
    }
}

#[test]
fn a_log_larger_than_memory_is_replayed_into_blocks() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    let mut expected = 0;
    for n in 0..40 {
        write_signals(&tenant, &signals(n)).expect("written");
        write_samples(&tenant, &samples(n)).expect("written");
        expected += n + 1;
    }
    drop((tenant, store));
    let small = Machine {
        options: Options { head_bytes_max: 20_000, ..machine.options.clone() },
        vfs: machine.vfs.snapshot(),
        ..Machine::new()
    };
    let later = Timestamp(NOW + HOUR_MS);
    let store = small.open();
    let tenant = store.tenant(&id("acme")).expect("there");
    assert!(tenant.summary().metric_blocks > 2, "blocks were made while the log was read");
    assert_eq!(failures(&tenant.reader(), later), expected as f64);
    assert_eq!(number(&tenant.reader(), "count(last_over_time(m[2h]))", later), 40.0);
    drop((tenant, store));
    // Once more: records that are in blocks now are not counted again, and still say what their series are.
    let store = small.open();
    let tenant = store.tenant(&id("acme")).expect("there");
    assert_eq!(failures(&tenant.reader(), later), expected as f64);
    assert_eq!(raw_signals(&tenant.reader()) as u64, expected);
    assert!(write_signals(&tenant, &signals(7)).expect("answered").duplicate);
}

#[test]
fn series_that_fill_the_memory_by_themselves_do_not_make_a_block_of_each_record() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    for n in 0..200 {
        write_samples(&tenant, &gauges(n, "m", &[(n as usize, NOW, n as f64)])).expect("written");
    }
    drop((tenant, store));
    let options = Options { head_bytes_max: 10_000, ..machine.options.clone() };
    let small = Machine { options, vfs: machine.vfs.snapshot(), ..Machine::new() };
    let store = small.open();
    let tenant = store.tenant(&id("acme")).expect("there");
    let blocks = tenant.summary().metric_blocks;
    assert!((2..50).contains(&blocks), "{blocks} blocks");
    assert_eq!(number(&tenant.reader(), "count(m)", Timestamp(NOW)), 200.0);
}

#[test]
fn series_that_a_replay_has_made_blocks_of_do_not_keep_writes_out() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    for n in 0..60 {
        write_samples(&tenant, &gauges(n, "m", &[(n as usize, NOW, n as f64)])).expect("written");
        let options = Options { head_bytes_max: 2_000, ..machine.options.clone() };
        let small = Machine { options, vfs: machine.vfs.snapshot(), ..Machine::new() };
        let store = small.open();
        while store.maintenance_step().expect("nothing fails").is_some() {}
        let tenant = store.tenant(&id("acme")).expect("there");
        let batch = gauges(1_000, "m", &[(0, NOW, 1.0)]);
        write_samples(&tenant, &batch).unwrap_or_else(|error| panic!("after {n}: {error}"));
    }
}
