//! Restoring backups, by the public door: what comes back, up to which instant, what never does, what a crash leaves.

mod common;

use std::path::Path;
use std::sync::Arc;

use annals::vfs::{SimCut, SimVfs, Vfs as _};
use annals::{
    Annals, At, BackupError, DAY_MS, Encryption, FileKeyStore, OpenError, Options, RestoreError, RestoreInto,
    Restored, TenantReader, Timestamp, backup, restore, verify,
};
use common::{
    Machine, NOW, attempts, failures, gauges, id, number, plan, raw_signals, write_samples, write_signals,
};

const ROOT: &str = "/data";
const BACKUP: &str = "/safe/backup";
const NEW: &str = "/new/store";

/// Sign-ins and a gauge, at stamps of their own.
fn write(store: &Annals, name: &str, batch: u64) {
    let tenant = store
        .tenant(&id(name))
        .unwrap_or_else(|_| store.create_tenant(&id(name), plan("archive")).expect("created"));
    let stamp = NOW - 1_000_000 + batch as i64;
    assert_eq!(write_signals(&tenant, &attempts(batch, &[stamp])).expect("written").refused, []);
    let samples = gauges(1000 + batch, "load", &[(batch as usize, stamp, batch as f64)]);
    write_samples(&tenant, &samples).expect("written");
}

fn take(machine: &Machine) -> u64 {
    let taken = backup(&machine.vfs, &*machine.clock, Path::new(ROOT), Path::new(BACKUP)).expect("taken");
    assert_eq!(taken.faults, Vec::<String>::new());
    taken.number
}

fn keys(vfs: &SimVfs, root: &str) -> FileKeyStore {
    let (keys, tmp) = (format!("{root}/keys"), format!("{root}/tmp"));
    FileKeyStore::new(Arc::new(vfs.clone()), Path::new(&keys), Path::new(&tmp))
}

fn try_restore(machine: &Machine, vfs: &SimVfs, at: At) -> Result<Restored, RestoreError> {
    let (shared, keys): (Arc<dyn annals::vfs::Vfs>, _) = (Arc::new(vfs.clone()), keys(vfs, ROOT));
    let into = RestoreInto { root: Path::new(NEW), options: &machine.options };
    restore(&shared, &*machine.clock, &*machine.entropy, Path::new(BACKUP), at, Some(&keys), into)
}

/// Restores on a copy of the disk and opens what came of it.
fn restored(machine: &Machine, at: At) -> (SimVfs, Annals, Restored) {
    let disk = machine.vfs.snapshot();
    let restored = try_restore(machine, &disk, at).expect("restored");
    assert_eq!((&restored.left_out, &restored.faults), (&Vec::new(), &Vec::new()));
    let found = verify(Arc::new(disk.clone()), Path::new(NEW)).expect("read");
    assert_eq!((found.findings, found.notes), (Vec::new(), Vec::new()));
    let store = open(machine, &disk).expect("opens");
    assert_eq!(store.recovery().findings, Vec::<String>::new());
    (disk, store, restored)
}

fn open(machine: &Machine, disk: &SimVfs) -> Result<Annals, OpenError> {
    let (clock, entropy) = (machine.clock.clone(), machine.entropy.clone());
    Annals::open(Arc::new(disk.clone()), clock, entropy, Path::new(NEW), machine.options.clone())
}

fn reader(store: &Annals, name: &str) -> TenantReader {
    store.tenant(&id(name)).expect("there").reader()
}

/// Which batches of `write` are there.
fn batches(store: &Annals, name: &str) -> Vec<u64> {
    let reader = reader(store, name);
    let seen = |batch: &u64| {
        number(&reader, &format!("last_over_time(load{{series=\"{batch}\"}}[1d])"), Timestamp(NOW))
            == *batch as f64
    };
    let there: Vec<u64> = (1..40).filter(seen).collect();
    assert_eq!(failures(&reader, Timestamp(NOW)), there.len() as f64);
    assert_eq!(raw_signals(&reader), there.len());
    there
}

fn store(machine: &Machine) -> Annals {
    let store = machine.open();
    write(&store, "acme", 1);
    write(&store, "other", 1);
    store.settle().expect("settled");
    write(&store, "acme", 2);
    store
}

#[test]
fn all_of_a_snapshot_comes_back_and_what_was_counted_counts_once() {
    let machine = Machine::new();
    let store = store(&machine);
    store.backup(Path::new(BACKUP)).expect("taken");
    write(&store, "acme", 3);
    store.close().expect("closed");
    take(&machine);
    for (at, expected) in [(At::Snapshot(1), vec![1, 2]), (At::Newest, vec![1, 2, 3])] {
        let (disk, store, restored) = restored(&machine, at);
        assert_eq!((restored.tenants.len(), restored.from_log > 0), (2, true), "{restored:?}");
        assert_eq!((batches(&store, "acme"), batches(&store, "other")), (expected, vec![1]));
        // Retries count nothing; what is new does.
        write(&store, "acme", 1);
        write(&store, "acme", 2);
        write(&store, "acme", 9);
        assert!(batches(&store, "acme").ends_with(&[9]));
        store.settle().expect("settled");
        drop(store);
        assert!(batches(&open(&machine, &disk).expect("opens"), "acme").ends_with(&[9]));
        // It is another store, whose backups are its own.
        let own = Path::new("/safe/own");
        assert!(matches!(
            backup(&disk, &*machine.clock, Path::new(NEW), Path::new(BACKUP)),
            Err(BackupError::OtherStore { .. })
        ));
        assert_eq!(
            backup(&disk, &*machine.clock, Path::new(NEW), own).expect("taken").faults,
            Vec::<String>::new()
        );
    }
}

#[test]
fn any_instant_between_snapshots_comes_back_as_it_was() {
    let machine = Machine::new();
    let store = store(&machine);
    take(&machine);
    let mut instants = Vec::new();
    for batch in 3..12 {
        machine.clock.advance_ms(1000);
        write(&store, "acme", batch);
        instants.push((machine.now(), batch));
        machine.clock.advance_ms(1000);
        match batch {
            5 => drop(store.tenant(&id("acme")).expect("there").flush().expect("flushed")),
            6 | 9 => drop(store.backup(Path::new(BACKUP)).expect("taken")),
            _ => {}
        }
    }
    store.backup(Path::new(BACKUP)).expect("taken");
    drop(store);
    for (instant, last) in instants {
        for (at, last) in
            [(instant, last), (instant.saturating_add(999), last), (instant.saturating_add(-1), last - 1)]
        {
            let (_, store, _) = restored(&machine, At::Instant(at));
            assert_eq!(batches(&store, "acme"), (1..=last).collect::<Vec<_>>(), "at {at}");
        }
    }
    let refused =
        |at| try_restore(&machine, &machine.vfs.snapshot(), At::Instant(at)).expect_err("no such instant");
    let text = refused(Timestamp(NOW - 1)).to_string();
    assert!(text.contains("the first snapshot is of"), "{text}");
    let text = refused(machine.now().saturating_add(1)).to_string();
    assert!(text.contains("the newest snapshot is of"), "{text}");
    let text =
        try_restore(&machine, &machine.vfs.snapshot(), At::Snapshot(77)).expect_err("none").to_string();
    assert!(text.contains("there is no snapshot 77"), "{text}");
}

#[test]
fn an_instant_whose_log_was_cut_before_it_was_taken_is_refused_by_name() {
    let machine = Machine::new();
    let store = store(&machine);
    take(&machine);
    machine.clock.advance_ms(1000);
    write(&store, "acme", 3);
    let between = machine.now();
    machine.clock.advance_ms(1000);
    // All of it goes into blocks, and an erasure makes the log let go of every segment.
    store.create_tenant(&id("gone"), plan("archive")).expect("created");
    write(&store, "gone", 4);
    store.settle().expect("settled");
    store.erase_tenant(&id("gone")).expect("erased");
    while store.maintenance_step().expect("done").is_some() {}
    machine.clock.advance_ms(1000);
    let taken = store.backup(Path::new(BACKUP)).expect("taken");
    assert!(!taken.continues && taken.faults.is_empty(), "{taken:?}");
    drop(store);
    let refused = try_restore(&machine, &machine.vfs.snapshot(), At::Instant(between)).expect_err("a hole");
    assert!(refused.to_string().contains("there is no log between the snapshots of"), "{refused}");
    let (_, store, _) = restored(&machine, At::Newest);
    assert_eq!(batches(&store, "acme"), [1, 2, 3]);
}

#[test]
fn an_erased_tenant_does_not_come_back_and_others_do() {
    let machine = Machine::new();
    let store = store(&machine);
    take(&machine);
    store.erase_tenant(&id("acme")).expect("erased");
    drop(store);
    let (_, store, found) = restored(&machine, At::Newest);
    assert_eq!((found.erased, found.tenants), (vec![id("acme")], vec![id("other")]));
    assert_eq!(batches(&store, "other"), [1]);
    assert!(store.tenant(&id("acme")).is_err());
    drop(store);
    // Of the new store's own key store: of an older backup nothing can be read with it.
    let disk = machine.vfs.snapshot();
    try_restore(&machine, &disk, At::Newest).expect("restored");
    let (shared, keys): (Arc<dyn annals::vfs::Vfs>, _) = (Arc::new(disk.clone()), keys(&disk, NEW));
    let into = RestoreInto { root: Path::new("/third"), options: &machine.options };
    let refused = restore(
        &shared,
        &*machine.clock,
        &*machine.entropy,
        Path::new(BACKUP),
        At::Newest,
        Some(&keys),
        into,
    );
    assert!(matches!(refused, Err(RestoreError::Nobody { .. })), "{refused:?}");
    let store = machine.open();
    store.erase_tenant(&id("other")).expect("erased");
    drop(store);
    let refused = try_restore(&machine, &machine.vfs.snapshot(), At::Newest).expect_err("nobody is left");
    assert!(refused.to_string().contains("acme: it was erased: its key is destroyed"), "{refused}");
    assert!(!machine.vfs.exists(NEW), "nothing is made where nothing can be restored");
}

#[test]
fn what_has_expired_since_is_hidden_and_goes_with_the_first_sweep() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("starter")).expect("created");
    write_signals(&tenant, &attempts(1, &[NOW - 1000])).expect("written");
    tenant.flush().expect("flushed");
    write_signals(&tenant, &attempts(2, &[NOW - 500])).expect("written");
    take(&machine);
    drop((tenant, store));
    machine.clock.advance_ms(3 * DAY_MS as u64);
    let (disk, store, _) = restored(&machine, At::Newest);
    assert_eq!(raw_signals(&reader(&store, "acme")), 0, "kept for a day");
    while store.maintenance_step().expect("done").is_some() {}
    assert!(!disk.paths().iter().any(|path| path.starts_with(NEW) && path.to_string_lossy().contains("/s/")));
}

#[test]
fn tenants_that_are_not_sealed_come_back_without_keys() {
    let machine = Machine::new();
    let options = Options { encryption: Encryption::None, ..machine.options.clone() };
    let machine = Machine { options, ..machine };
    drop(store(&machine));
    take(&machine);
    let disk = machine.vfs.snapshot();
    let shared: Arc<dyn annals::vfs::Vfs> = Arc::new(disk.clone());
    let into = RestoreInto { root: Path::new(NEW), options: &machine.options };
    restore(&shared, &*machine.clock, &*machine.entropy, Path::new(BACKUP), At::Newest, None, into)
        .expect("restored");
    assert_eq!(batches(&open(&machine, &disk).expect("opens"), "acme"), [1, 2]);
}

#[test]
fn a_damaged_block_is_missing_and_named_and_everything_else_comes_back() {
    let machine = Machine::new();
    drop(store(&machine));
    take(&machine);
    let paths = machine.vfs.paths();
    let blocks: Vec<_> = paths.iter().filter(|path| path.starts_with("/safe/backup/files/")).collect();
    let block =
        blocks.iter().find(|path| path.to_string_lossy().ends_with("-raw-00000001.blk")).expect("a block");
    let disk = machine.vfs.snapshot();
    disk.corrupt(block, 5000, 1).or_else(|_| disk.corrupt(block, 100, 1)).expect("damaged");
    let found = try_restore(&machine, &disk, At::Newest).expect("restored");
    assert!(found.faults.len() == 1 && found.faults[0].contains("the block is missing"), "{found:?}");
    let store = open(&machine, &disk).expect("opens");
    let mut answered = 0;
    for name in ["acme", "other"] {
        let answer =
            reader(&store, name).query("count(last_over_time(load[1d]))", Timestamp(NOW)).expect("answered");
        answered += usize::from(answer.warnings.is_empty());
    }
    assert_eq!(answered, 1, "the tenant that lacks a block says so in its answers");
}

#[test]
fn a_restoration_that_is_cut_short_leaves_no_store_and_is_done_anew() {
    let machine = Machine::new();
    drop(store(&machine));
    take(&machine);
    let whole = machine.vfs.snapshot();
    try_restore(&machine, &whole, At::Newest).expect("restored");
    let (calls, mut unfinished) = (whole.calls(), 0);
    for call in 0..calls {
        let disk = machine.vfs.snapshot();
        disk.set_crash_at(call);
        let _ = try_restore(&machine, &disk, At::Newest);
        disk.power_cut(SimCut::all(call)[call as usize % 12]);
        match open(&machine, &disk.snapshot()) {
            Ok(store) if store.tenants().is_empty() => {}
            Ok(store) => {
                assert_eq!(batches(&store, "acme"), [1, 2], "call {call}: all of it or nothing");
                continue;
            }
            Err(OpenError::Restoring { .. }) => unfinished += 1,
            Err(other) => panic!("call {call}: {other}"),
        }
        let again = try_restore(&machine, &disk, At::Newest);
        again.unwrap_or_else(|error| panic!("call {call}: {error}"));
        assert_eq!(batches(&open(&machine, &disk).expect("opens"), "acme"), [1, 2], "call {call}");
    }
    assert!(unfinished > 20, "{unfinished} of {calls}");
}

#[test]
fn a_directory_that_holds_something_is_not_restored_into() {
    let machine = Machine::new();
    drop(store(&machine));
    take(&machine);
    machine.vfs.make_dirs([NEW]);
    machine.vfs.write_file(format!("{NEW}/letter"), b"dear").expect("put");
    let refused = try_restore(&machine, &machine.vfs, At::Newest);
    assert!(matches!(refused, Err(RestoreError::Occupied { .. })), "{refused:?}");
    machine.vfs.unlink(Path::new(&format!("{NEW}/letter"))).expect("removed");
    try_restore(&machine, &machine.vfs, At::Newest).expect("restored");
    assert!(matches!(try_restore(&machine, &machine.vfs, At::Newest), Err(RestoreError::Occupied { .. })));
}
