//! What the write protocols promise where the disk is full, a file is gone, or one directory fails.

mod common;

use annals::vfs::{SimCalls, SimCut, SimDecay, SimError, SimFault, SimOp, SimRot, Vfs};
use annals::*;
use common::*;

/// Leaves the disk no room for as much as a manifest.
fn fill_disk(machine: &Machine) {
    let used: u64 = machine
        .vfs
        .paths()
        .iter()
        .map(|path| machine.vfs.read_file(path).expect("listed").len() as u64 + 256)
        .sum();
    machine.vfs.set_space(used + 4_096);
}

/// When every minute that was written to has ended.
fn later(machine: &Machine) -> Timestamp {
    Timestamp(machine.now().0 + HOUR_MS)
}

/// Runs maintenance until it has nothing to do or fails.
fn maintain(store: &Annals) -> Result<Vec<Done>, MaintenanceError> {
    let mut all = Vec::new();
    while let Some(done) = store.maintenance_step()? {
        all.push(done);
        assert!(all.len() < 1_000, "maintenance never ends");
    }
    Ok(all)
}

fn two_tenants(machine: &Machine) -> (Annals, Tenant, Tenant) {
    let store = machine.open();
    let acme = store.create_tenant(&id("acme"), plan("starter")).expect("created");
    let other = store.create_tenant(&id("other"), plan("starter")).expect("created");
    (store, acme, other)
}

#[test]
fn expired_data_leaves_a_full_disk_and_writes_resume_by_themselves() {
    let machine = Machine::new();
    let (store, acme, _) = two_tenants(&machine);
    // Several blocks, so that what leaves is more than what a new log segment takes.
    for n in 0..40 {
        let times: Vec<i64> = (0..2_000).map(|i| NOW - n * 1_000 - i).collect();
        write_signals(&acme, &attempts(n as u64, &times)).expect("written");
        acme.flush().expect("flushed");
    }
    maintain(&store).expect("maintained");
    machine.clock.advance_ms(30 * DAY_MS as u64);
    fill_disk(&machine);
    // The log's room runs out, and then writes are refused, for certain.
    let refused = (100..).find_map(|n| {
        let batch = attempts(n, &vec![machine.now().0; 5_000]);
        write_signals(&acme, &batch).err().map(|error| (n, error))
    });
    let (n, error) = refused.expect("the disk is full");
    assert!(matches!(error, WriteError::NoSpace(_)), "{error}");
    assert_eq!(failures(&acme.reader(), later(&machine)), (n - 100) as f64 * 5_000.0, "reads go on");
    let mut dropped = 0;
    while let Ok(Some(done)) = store.maintenance_step() {
        dropped += if let Done::Dropped { blocks, .. } = done { blocks.len() } else { 0 };
    }
    assert!(dropped > 0, "what has expired leaves");
    machine.vfs.set_space(u64::MAX);
    write_signals(&acme, &attempts(99, &[machine.now().0])).expect("writes resume without an open");
    maintain(&store).expect("maintained");
    assert_eq!(store.troubles(), [], "{:?}", store.troubles());
    assert!(machine.vfs.exists("/data/RESERVE"), "space is kept back again");
}

#[test]
fn a_store_opens_on_a_full_disk_after_an_unclean_end() {
    let machine = Machine::new();
    let (store, acme, _) = two_tenants(&machine);
    write_signals(&acme, &attempts(1, &[NOW])).expect("written");
    maintain(&store).expect("maintained");
    write_signals(&acme, &attempts(2, &[NOW, NOW])).expect("written");
    machine.vfs.set_crash_at(0);
    drop((acme, store));
    machine.vfs.power_cut(SimCut::Nothing);
    fill_disk(&machine);
    let store = machine.open();
    let acme = store.tenant(&id("acme")).expect("there");
    assert_eq!(failures(&acme.reader(), later(&machine)), 3.0);
    assert!(!machine.vfs.exists("/data/RESERVE"), "it was used");
    machine.vfs.set_space(0);
    while let Ok(Some(_)) = store.maintenance_step() {}
    assert!(store.troubles().contains(&Trouble::NoReserve), "{:?}", store.troubles());
}

#[test]
fn an_older_manifest_is_not_taken_for_the_newest() {
    let machine = Machine::new();
    let (store, acme, other) = two_tenants(&machine);
    write_signals(&acme, &attempts(1, &[NOW])).expect("written");
    let manifest = |generation: u64| format!("/data/t/1/manifest-{generation:08}");
    let first = machine.vfs.read_file(manifest(1)).expect("there");
    acme.flush().expect("flushed");
    assert!(!machine.vfs.exists(manifest(1)), "no older generation is kept");
    write_signals(&acme, &attempts(2, &[NOW])).expect("written");
    write_signals(&other, &attempts(3, &[NOW])).expect("written");
    drop((acme, other, store));
    let second = machine.vfs.read_file(manifest(2)).expect("there");
    let blocks = || {
        let paths = machine.vfs.paths();
        paths.into_iter().filter(|path| path.extension().is_some_and(|e| e == "blk")).collect::<Vec<_>>()
    };
    let before = blocks();
    assert_eq!(before.len(), 2);
    machine.vfs.write_file(manifest(1), &first).expect("restored from a backup, say");
    machine.vfs.unlink(manifest(2).as_ref()).expect("lost");
    for _ in 0..2 {
        let store = machine.open();
        let error = store.tenant(&id("acme")).expect_err("it would show less than was acknowledged");
        let text = error.to_string();
        assert!(text.contains("manifest-00000002 is missing"), "{text}");
        let other = store.tenant(&id("other")).expect("served").reader();
        assert_eq!(failures(&other, later(&machine)), 1.0);
        assert!(machine.read_only().tenant(&id("acme")).is_err(), "read-only neither");
        assert_eq!(blocks(), before, "nothing is removed");
    }
    machine.vfs.unlink(manifest(1).as_ref()).expect("removed");
    machine.vfs.write_file(manifest(2), &second).expect("restored");
    let store = machine.open();
    let reader = store.tenant(&id("acme")).expect("there again").reader();
    assert_eq!(failures(&reader, later(&machine)), 2.0);
}

#[test]
fn a_tenant_whose_directory_cannot_be_synced_does_not_keep_others_from_being_served() {
    let machine = Machine::new();
    let (store, acme, other) = two_tenants(&machine);
    write_signals(&acme, &attempts(1, &[NOW])).expect("written");
    write_signals(&other, &attempts(2, &[NOW])).expect("written");
    drop((acme, other, store));
    // The root's directory is synced first, then each tenant's.
    machine.vfs.fail(SimFault::once(SimCalls::Of(SimOp::SyncDir), 1, SimError::Io));
    let store = machine.open();
    assert!(matches!(store.troubles()[..], [Trouble::TenantUnavailable { .. }]), "{:?}", store.troubles());
    let served: Vec<f64> = ["acme", "other"]
        .iter()
        .filter_map(|name| store.tenant(&id(name)).ok())
        .map(|tenant| failures(&tenant.reader(), later(&machine)))
        .collect();
    assert_eq!(served, [1.0]);
    drop(store);
    let store = machine.open();
    for name in ["acme", "other"] {
        assert_eq!(failures(&store.tenant(&id(name)).expect("there").reader(), later(&machine)), 1.0);
    }
}

#[test]
fn a_block_that_could_not_be_mapped_for_a_moment_is_read_later() {
    let machine = Machine::new();
    let (store, acme, _) = two_tenants(&machine);
    write_signals(&acme, &attempts(1, &[NOW])).expect("written");
    acme.flush().expect("flushed");
    machine.vfs.fail(SimFault::forever(SimCalls::Of(SimOp::MapSealed), 0, SimError::TooManyFiles));
    let mut count = 0;
    let missing = acme.reader().scan_signals(TimeRange::ALL, &[], &mut |_| count += 1);
    assert_eq!((count, missing.len()), (0, 1), "said, not silent");
    machine.vfs.clear_faults();
    assert_eq!(raw_signals(&acme.reader()), 1);
    drop(store);
}

#[test]
fn a_bad_sector_in_the_log_costs_what_lies_on_it_and_a_dead_disk_costs_nothing() {
    let machine = Machine::new();
    let (store, acme, _) = two_tenants(&machine);
    for n in 0..40 {
        let times: Vec<i64> = (0..100).map(|i| NOW - i).collect();
        write_signals(&acme, &attempts(n, &times)).expect("written");
    }
    // Records lie on several pages of the first segment.
    store.close().expect("closed");
    let segment = machine.vfs.paths().into_iter().find(|path| path.ends_with("0000000000000001.seg"));
    let segment = segment.expect("there is a log");
    let dead = Machine { vfs: machine.vfs.snapshot(), ..Machine::new() };
    dead.vfs.decay(SimDecay { bytes: 4096..u64::MAX, ..SimDecay::of(&segment, SimRot::Unreadable) });
    let error = dead.try_open().expect_err("nothing is given up for lost");
    assert!(error.to_string().contains("0000000000000001.seg"), "{error}");
    dead.vfs.clear_faults();
    let acme = dead.open().tenant(&id("acme")).expect("there");
    assert_eq!(failures(&acme.reader(), later(&dead)), 4_000.0);

    machine.vfs.decay(SimDecay { bytes: 8192..8193, ..SimDecay::of(&segment, SimRot::Unreadable) });
    let store = machine.open();
    let findings = store.recovery().findings.join("; ");
    assert!(findings.contains("the device cannot read it") && findings.contains("are lost"), "{findings}");
    let acme = store.tenant(&id("acme")).expect("there");
    let left = failures(&acme.reader(), later(&machine));
    assert!((3_000.0..4_000.0).contains(&left), "{left} are left");
}

#[test]
fn a_tenant_that_is_created_after_an_unsynced_write_does_not_make_its_loss_look_like_damage() {
    let mut machine = Machine::new();
    machine.options.durability = Durability::Buffered;
    let store = machine.open();
    let acme = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    write_signals(&acme, &attempts(1, &[NOW])).expect("acknowledged, and not synced");
    store.create_tenant(&id("bolt"), plan("archive")).expect("created");
    machine.vfs.set_crash_at(0);
    drop((acme, store));
    machine.vfs.power_cut(SimCut::Nothing);
    let found = verify(std::sync::Arc::new(machine.vfs.clone()), "/data".as_ref()).expect("readable");
    assert_eq!(found.findings, []);
    assert_eq!(raw_signals(&machine.open().tenant(&id("acme")).expect("there").reader()), 0);
}

/// A wall clock that an administrator sets a day ahead again and again.
#[derive(Default)]
struct Jumping(std::sync::atomic::AtomicI64);

impl vfs::Clock for Jumping {
    fn now_ms(&self) -> i64 {
        NOW + DAY_MS * self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }

    fn monotonic(&self) -> std::time::Duration {
        std::time::Duration::from_secs(7)
    }
}

#[test]
fn a_wall_clock_that_jumps_ends_no_query() {
    let machine = Machine::new();
    let (store, acme, _) = two_tenants(&machine);
    write_signals(&acme, &attempts(1, &[NOW])).expect("written");
    drop((acme, store));
    let disk = std::sync::Arc::new(machine.vfs.clone());
    let store =
        ReadOnly::open(disk, std::sync::Arc::new(Jumping::default()), "/data".as_ref()).expect("opens");
    let limits = QueryLimits { time_ms_max: 60_000, ..QueryLimits::default() };
    let reader = store.tenant(&id("acme")).expect("there").with_limits(limits);
    assert!(reader.query("sum(auth_attempts) + sum(auth_attempts)", Timestamp(NOW)).is_ok());
}
