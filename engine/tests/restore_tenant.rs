//! Restoring one tenant into a store in use: all of it or nothing, under keys of its own.

mod common;

use std::path::Path;

use annals::vfs::{SimCalls, SimCut, SimError, SimFault, SimSites};
use annals::{
    Annals, At, RestoreError, RestoreTenant, Restored, TenantError, TenantReader, Timestamp, verify,
};
use common::{
    Machine, NOW, attempts, failures, gauges, id, number, plan, raw_signals, write_samples, write_signals,
};

const BACKUP: &str = "/safe/backup";
const DAY: u64 = 24 * 3_600_000;

fn write(store: &Annals, name: &str, batch: u64) {
    let tenant = store.tenant(&id(name)).expect("there");
    let stamp = NOW - 1_000_000 + batch as i64;
    write_signals(&tenant, &attempts(batch, &[stamp])).expect("written");
    let samples = gauges(1000 + batch, "load", &[(batch as usize, stamp, batch as f64)]);
    write_samples(&tenant, &samples).expect("written");
}

/// A store with a backup in which `acme` has blocks of every content, and a log.
fn store(machine: &Machine) -> Annals {
    let store = machine.open();
    for name in ["other", "acme"] {
        store.create_tenant(&id(name), plan("enterprise")).expect("created");
        write(&store, name, 1);
    }
    machine.clock.advance_ms(3 * DAY);
    store.settle().expect("settled and sealed");
    for batch in [2, 3] {
        let tenant = store.tenant(&id("acme")).expect("there");
        write_signals(&tenant, &attempts(batch, &[machine.now().0 - 5000])).expect("written");
    }
    store.backup(Path::new(BACKUP)).expect("taken");
    store
}

fn try_restore(store: &Annals, tenant: &str, name: &str) -> Result<Restored, RestoreError> {
    let (tenant, name) = (&id(tenant), &id(name));
    store.restore_tenant(&RestoreTenant {
        directory: Path::new(BACKUP),
        at: At::Newest,
        keys: None,
        tenant,
        name,
    })
}

fn reader(store: &Annals, name: &str) -> TenantReader {
    store.tenant(&id(name)).expect("there").reader()
}

/// Sign-ins as metrics count them and as they are, and the gauge.
fn held(machine: &Machine, store: &Annals, name: &str) -> (f64, usize, f64) {
    let reader = reader(store, name);
    let load = number(&reader, "sum(sum_over_time(load[30d]))", Timestamp(NOW + DAY as i64));
    (failures(&reader, machine.now().saturating_add(60_000)), raw_signals(&reader), load)
}

fn whole(machine: &Machine) {
    let found = verify(std::sync::Arc::new(machine.vfs.clone()), Path::new("/data")).expect("read");
    assert_eq!(found.findings, []);
}

#[test]
fn a_tenant_comes_back_under_another_name_with_keys_of_its_own() {
    let machine = Machine::new();
    let store = store(&machine);
    write(&store, "other", 9);
    let restored = try_restore(&store, "acme", "copy").expect("restored");
    assert!(restored.faults.is_empty() && restored.blocks >= 3 && restored.from_log >= 1, "{restored:?}");
    assert_eq!(held(&machine, &store, "copy"), held(&machine, &store, "acme"));
    assert_eq!(held(&machine, &store, "copy").1, 3);
    // What was counted counts once, what is new counts.
    let tenant = store.tenant(&id("copy")).expect("there");
    assert!(write_signals(&tenant, &attempts(2, &[machine.now().0 - 5000])).expect("written").duplicate);
    write_signals(&tenant, &attempts(8, &[machine.now().0 - 4000])).expect("written");
    assert_eq!(held(&machine, &store, "copy").1, 4);
    assert_eq!(held(&machine, &store, "acme").1, 3);
    store.settle().expect("settled");
    whole(&machine);
    // Neither has a key of the other.
    store.erase_tenant(&id("acme")).expect("erased");
    store.settle().expect("settled");
    drop((tenant, store));
    let store = machine.open();
    assert_eq!((store.recovery().findings.len(), held(&machine, &store, "copy").1), (0, 4));
    let refused = try_restore(&store, "acme", "again").expect_err("its key is destroyed");
    assert!(refused.to_string().contains("acme: it was erased: its key is destroyed"), "{refused}");
    whole(&machine);
}

#[test]
fn names_that_are_taken_or_unknown_and_backups_of_later_times_are_refused() {
    let machine = Machine::new();
    let store = store(&machine);
    let refused = |tenant, name| try_restore(&store, tenant, name).expect_err("refused");
    assert!(matches!(refused("acme", "other"), RestoreError::Tenant(TenantError::Exists(_))));
    assert!(matches!(refused("nobody", "copy"), RestoreError::Tenant(TenantError::Unknown(_))));
    let keys = annals::FileKeyStore::new(
        std::sync::Arc::new(machine.vfs.clone()),
        Path::new("/data/keys"),
        Path::new("/data/tmp"),
    );
    let other = Machine { vfs: machine.vfs.clone(), ..Machine::new() };
    let vfs = std::sync::Arc::new(other.vfs.clone());
    let second = Annals::open(
        vfs,
        other.clock.clone(),
        other.entropy.clone(),
        Path::new("/second"),
        other.options.clone(),
    )
    .expect("opens");
    let (tenant, name) = (&id("acme"), &id("acme"));
    let wanted =
        RestoreTenant { directory: Path::new(BACKUP), at: At::Newest, keys: Some(&keys), tenant, name };
    let ahead = second.restore_tenant(&wanted).expect_err("its records have later numbers");
    assert!(matches!(ahead, RestoreError::Ahead { .. }), "{ahead}");
    assert!(second.tenants().is_empty());
    assert!(
        !other
            .vfs
            .paths()
            .iter()
            .any(|path| path.starts_with("/second/t") || path.starts_with("/second/keys/1"))
    );
}

#[test]
fn a_crash_at_any_call_leaves_all_of_it_or_nothing() {
    let machine = Machine::new();
    drop(store(&machine));
    let run =
        |machine: &Machine| machine.try_open().is_ok_and(|store| try_restore(&store, "acme", "copy").is_ok());
    let whole_run = Machine { vfs: machine.vfs.snapshot(), ..Machine::new() };
    whole_run.clock.advance_ms(3 * DAY);
    assert!(run(&whole_run));
    let (mut there, mut not) = (0, 0);
    for call in 0..whole_run.vfs.calls() {
        let after = Machine { vfs: machine.vfs.snapshot(), ..Machine::new() };
        after.clock.advance_ms(3 * DAY);
        after.vfs.set_crash_at(call);
        let done = run(&after);
        after.vfs.power_cut(SimCut::all(call)[call as usize % 12]);
        let store = after.open();
        assert_eq!(store.recovery().findings, Vec::<String>::new(), "call {call}");
        if store.tenant(&id("copy")).is_ok() {
            there += 1;
        } else {
            assert!(!done, "call {call}: it was restored");
            not += 1;
            try_restore(&store, "acme", "copy").unwrap_or_else(|error| panic!("call {call}: {error}"));
        }
        assert_eq!(held(&after, &store, "copy"), held(&after, &store, "acme"), "call {call}");
        assert_eq!(held(&after, &store, "copy").1, 3, "call {call}");
    }
    assert!(there > 0 && not > 20, "{there} and {not}");
}

#[test]
fn an_error_at_any_call_leaves_nothing_that_is_in_the_way() {
    let machine = Machine::new();
    drop(store(&machine));
    let sites = SimSites::new();
    let count = Machine { vfs: machine.vfs.snapshot(), ..Machine::new() };
    count.clock.advance_ms(3 * DAY);
    let store = count.open();
    count.vfs.count_sites(&sites);
    try_restore(&store, "acme", "copy").expect("restored");
    drop(store);
    let calls: u64 = sites.sites().iter().map(|site| site.calls).sum();
    for after in 0..calls {
        let disk = Machine { vfs: machine.vfs.snapshot(), ..Machine::new() };
        disk.clock.advance_ms(3 * DAY);
        let store = disk.open();
        let fault = SimFault {
            calls: SimCalls::Any,
            after,
            error: SimError::Io,
            forever: false,
            done: after % 2 == 1,
        };
        disk.vfs.fail(fault);
        let first = try_restore(&store, "acme", "copy");
        disk.vfs.clear_faults();
        let lacks = first.as_ref().is_ok_and(|restored| !restored.faults.is_empty());
        let store = match first {
            Ok(_) => store,
            Err(_) => {
                // Whether the catalogue is durable may be known to the next open only.
                drop(store);
                let store = disk.open();
                if store.tenant(&id("copy")).is_err() {
                    try_restore(&store, "acme", "copy")
                        .unwrap_or_else(|error| panic!("call {after}: {error}"));
                }
                store
            }
        };
        let same = held(&disk, &store, "copy") == held(&disk, &store, "acme");
        assert!(same || lacks, "call {after}: what is missing is named");
    }
}
