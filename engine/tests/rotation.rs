//! Rotation of keys, by the public door: what is sealed with which, what goes when, and what an old copy still opens.

mod common;
mod service;

use std::sync::Arc;

use annals::vfs::{SimCut, Vfs};
use annals::{
    Annals, At, Background, Done, Encryption, FileKeyStore, KeyClass, KeyId, KeyState, KeyUse, Options,
    ROTATION_DUE_MS, Receipt, RestoreInto, TenantError, TenantReader, TimeRange, Timestamp, Trouble, restore,
    verify,
};
use common::{
    Machine, NOW, attempts, failures, gauges, id, number, plan, raw_signals, write_samples, write_signals,
};
use service::Service;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
const ALL: [KeyClass; 3] = [KeyClass::Metrics, KeyClass::Signals, KeyClass::Wrapping];
const DATA: [KeyClass; 2] = [KeyClass::Metrics, KeyClass::Signals];

fn machine(encryption: Encryption) -> Machine {
    let machine = Machine::new();
    Machine { options: Options { encryption, ..machine.options.clone() }, ..machine }
}

/// Blocks of every content on several days, and records in the log.
fn filled(machine: &Machine) -> Annals {
    let store = machine.open();
    let tenant = store.create_tenant(&id("one"), plan("archive")).expect("created");
    store.create_tenant(&id("two"), plan("archive")).expect("created");
    for (batch, days) in [(1, 3), (2, 2), (3, 0)] {
        write_signals(&tenant, &attempts(batch, &[NOW - days * DAY, NOW - days * DAY - 1])).expect("written");
        write_samples(&tenant, &gauges(10 + batch, "up", &[(0, NOW - days * DAY, batch as f64)]))
            .expect("written");
        tenant.flush().expect("flushed");
    }
    store.settle().expect("settled");
    write_signals(&tenant, &attempts(4, &[NOW - 2])).expect("written");
    store
}

/// What the tenant has, whatever its keys are.
fn asserts_served(store: &Annals, attempts: usize) {
    let reader = store.tenant(&id("one")).expect("there").reader();
    assert_eq!((failures(&reader, Timestamp(NOW + HOUR)), raw_signals(&reader)), (attempts as f64, attempts));
    let up = |days: i64| number(&reader, "up", Timestamp(NOW - days * DAY));
    assert_eq!((up(3), up(2), up(0)), (1.0, 2.0, 3.0));
    let keys = store.tenant(&id("one")).expect("there").keys();
    for class in KeyClass::ALL {
        let active = keys.iter().filter(|key| key.class == class && key.state == KeyState::Active);
        assert_eq!(active.count(), 1, "{class:?}: {keys:?}");
    }
}

fn in_state(store: &Annals, state: KeyState) -> Vec<KeyUse> {
    let all = store.tenant(&id("one")).expect("there").keys();
    all.into_iter().filter(|key| key.state == state).collect()
}

fn ids(keys: &[KeyUse]) -> Vec<u32> {
    keys.iter().map(|key| key.id.0).collect()
}

/// Background work until there is none.
fn work(store: &Annals) -> Vec<Done> {
    std::iter::from_fn(|| store.maintenance_step().expect("done")).collect()
}

#[test]
fn p7_after_a_rotation_nothing_is_sealed_with_the_keys_of_before() {
    let machine = machine(Encryption::Files);
    let store = filled(&machine);
    let tenant = store.tenant(&id("one")).expect("there");
    let before = ids(&in_state(&store, KeyState::Active));
    assert_eq!(before, [1, 2, 3, 4]);
    let until = tenant.rotate_keys(&ALL, ROTATION_DUE_MS).expect("rotated");
    assert_eq!(until.0, NOW + ROTATION_DUE_MS);
    let old = in_state(&store, KeyState::Old);
    assert_eq!((ids(&old), ids(&in_state(&store, KeyState::Active))), (vec![2, 3, 4], vec![1, 5, 6, 7]));
    assert!(old.iter().all(|key| key.until == Some(until)), "{old:?}");
    assert!(old[0].blocks >= 4 && old[1].blocks >= 3 && old[2].blocks == 0, "{old:?}");
    let metrics = &store.metrics().tenants[0];
    assert_eq!(metrics.old_keys, 3);
    assert_eq!(metrics.old_key_bytes, old.iter().map(|key| key.bytes).sum::<u64>());
    // What is written from now on is sealed with the new ones.
    write_signals(&tenant, &attempts(5, &[NOW - 3])).expect("written");
    tenant.flush().expect("flushed");
    asserts_served(&store, 8);
    let done = work(&store);
    assert!(
        done.iter().any(|done| matches!(done, Done::Merged { inputs, .. } if inputs.len() == 1)),
        "{done:?}"
    );
    asserts_served(&store, 8);
    // Until the log has let go of records of before, and until its date, something of each class is there.
    let old = in_state(&store, KeyState::Old);
    assert_eq!(old.iter().map(|key| key.bytes).sum::<u64>(), 0, "{old:?}");
    machine.clock.advance_ms(ROTATION_DUE_MS as u64 / 2);
    let done = work(&store);
    let gone = Done::KeysRetired { tenant: id("one"), keys: vec![KeyId(2), KeyId(3)] };
    assert!(done.contains(&gone), "{done:?}");
    assert_eq!(ids(&in_state(&store, KeyState::Old)), [4], "snapshots of before can be restored");
    machine.clock.advance_ms(ROTATION_DUE_MS as u64 / 2);
    assert!(work(&store).contains(&Done::KeysRetired { tenant: id("one"), keys: vec![KeyId(4)] }));
    assert_eq!(
        (ids(&in_state(&store, KeyState::Old)), ids(&in_state(&store, KeyState::Destroyed))),
        (vec![], vec![2, 3, 4])
    );
    assert!(!machine.vfs.exists("/data/keys/1-4.key"), "its file is gone");
    assert_eq!((store.metrics().tenants[0].old_keys, store.troubles()), (0, vec![]));
    asserts_served(&store, 8);
    store.close().expect("closed");
    let found = verify(Arc::new(machine.vfs.clone()), "/data".as_ref()).expect("readable");
    assert_eq!(found.findings, []);
    machine.vfs.power_cut(SimCut::Nothing);
    let store = machine.open();
    assert_eq!(store.recovery().replay.sealed, 0);
    asserts_served(&store, 8);
}

#[test]
fn a_rotation_at_once_is_done_with_the_next_settling() {
    let service = Arc::new(Service::default());
    for encryption in [Encryption::Files, Encryption::Keys(service.clone())] {
        let machine = machine(encryption);
        let store = filled(&machine);
        for round in 1..=3 {
            store.tenant(&id("one")).expect("there").rotate_keys(&ALL, 0).expect("rotated");
            store.settle().expect("settled");
            assert_eq!(ids(&in_state(&store, KeyState::Destroyed)).len(), 3 * round);
            asserts_served(&store, 7);
        }
        drop(store);
        asserts_served(&machine.open(), 7);
    }
    // Of the second tenant the first, of the first the last.
    assert_eq!(service.live_keys().len(), 2);
}

#[test]
fn two_rotations_one_after_the_other_leave_two_generations_of_old_keys_until_the_nearer_date() {
    let machine = machine(Encryption::Files);
    let store = filled(&machine);
    let tenant = store.tenant(&id("one")).expect("there");
    tenant.rotate_keys(&DATA, ROTATION_DUE_MS).expect("rotated");
    write_samples(&tenant, &gauges(20, "other", &[(1, NOW, 1.0)])).expect("written");
    tenant.flush().expect("flushed");
    let until = tenant.rotate_keys(&[KeyClass::Metrics], DAY).expect("rotated");
    let old = in_state(&store, KeyState::Old);
    assert_eq!(ids(&old), [2, 3, 5]);
    let dates: Vec<i64> = old.iter().map(|key| key.until.expect("old").0 - NOW).collect();
    assert_eq!((dates, until.0), (vec![DAY, ROTATION_DUE_MS, DAY], NOW + DAY));
    drop((store, tenant));
    // As after a crash: who opens it goes on.
    machine.vfs.power_cut(SimCut::Nothing);
    let store = machine.open();
    assert_eq!(ids(&in_state(&store, KeyState::Old)), [2, 3, 5]);
    work(&store);
    assert_eq!(ids(&in_state(&store, KeyState::Old)), [0u32; 0], "a day is soon: none is left");
    asserts_served(&store, 7);
}

#[test]
fn a_damaged_block_keeps_its_key_and_that_is_told_when_the_date_has_passed() {
    let machine = machine(Encryption::Files);
    let store = filled(&machine);
    let tenant = store.tenant(&id("one")).expect("there");
    tenant.rotate_keys(&DATA, DAY).expect("rotated");
    let mut blocks = machine.vfs.paths();
    blocks.retain(|path| path.starts_with("/data/t/1/s") && path.extension().is_some_and(|end| end == "blk"));
    machine.vfs.corrupt(&blocks[0], 300, 1).expect("there");
    for _ in 0..64 {
        let _ = store.maintenance_step();
    }
    let overdue = |trouble: &Trouble| matches!(trouble, Trouble::KeysOverdue { .. });
    assert_eq!(ids(&in_state(&store, KeyState::Old)), [2, 3]);
    assert!(!store.troubles().iter().any(overdue));
    machine.clock.advance_ms(DAY as u64 + 1);
    assert!(store.troubles().iter().any(overdue), "{:?}", store.troubles());
    assert_eq!(store.metrics().tenants[0].old_keys_lag_ms, 1);
}

#[test]
fn what_expires_before_the_date_is_not_written_anew() {
    let machine = machine(Encryption::Files);
    let store = machine.open();
    let tenant = store.create_tenant(&id("one"), plan("starter")).expect("created");
    write_signals(&tenant, &attempts(1, &[NOW - 1])).expect("written");
    tenant.flush().expect("flushed");
    tenant.rotate_keys(&DATA, ROTATION_DUE_MS).expect("rotated");
    let merged = |done: &Done| matches!(done, Done::Merged { .. });
    assert!(!work(&store).iter().any(merged));
    assert!(in_state(&store, KeyState::Old).iter().all(|key| key.blocks > 0));
    machine.clock.advance_ms(ROTATION_DUE_MS as u64 / 2);
    work(&store);
    assert_eq!(in_state(&store, KeyState::Old), [], "all of it has expired");
}

#[test]
fn an_identity_is_not_rotated_and_neither_is_what_is_not_sealed() {
    let sealed = machine(Encryption::Files);
    let store = filled(&sealed);
    let refused = store.tenant(&id("one")).expect("there").rotate_keys(&KeyClass::ALL, 0);
    assert!(matches!(refused, Err(TenantError::KeysStay { .. })), "{refused:?}");
    let plain = machine(Encryption::None);
    let store = plain.open();
    let tenant = store.create_tenant(&id("one"), plan("archive")).expect("created");
    assert!(matches!(tenant.rotate_keys(&DATA, 0), Err(TenantError::KeysStay { .. })));
    assert_eq!(tenant.keys().len(), 1);
}

#[test]
fn p7_an_old_copy_of_the_keys_opens_nothing_after_the_wrapping_key_is_gone() {
    let machine = machine(Encryption::Files);
    let store = filled(&machine);
    let copy = machine.vfs.read_file("/data/t/1/keys-00000001").expect("there");
    let key = machine.vfs.read_file("/data/keys/1-4.key").expect("there");
    store.tenant(&id("one")).expect("there").rotate_keys(&ALL, 0).expect("rotated");
    store.settle().expect("settled");
    drop(store);
    for path in machine.vfs.paths().iter().filter(|path| path.starts_with("/data/t/1")) {
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("keys-")) {
            machine.vfs.unlink(path).expect("removed");
        }
    }
    machine.vfs.write_file("/data/t/1/keys-00000001", &copy).expect("put back");
    machine.vfs.write_file("/data/keys/1-4.key", &key).expect("put back");
    let store = machine.open();
    let why = store.tenant(&id("one")).expect_err("unavailable").to_string();
    assert!(why.contains("has been replaced and destroyed; restore the newest key file"), "{why}");
    assert!(store.tenant(&id("two")).is_ok());
}

#[test]
fn p7_an_erasure_destroys_all_keys_and_its_receipt_names_every_key_there_was() {
    let machine = machine(Encryption::Files);
    let store = filled(&machine);
    let tenant = store.tenant(&id("one")).expect("there");
    tenant.rotate_keys(&ALL, ROTATION_DUE_MS).expect("rotated");
    work(&store);
    tenant.rotate_keys(&[KeyClass::Wrapping], ROTATION_DUE_MS).expect("rotated");
    let erasure = store.erase_tenant(&id("one")).expect("erased");
    assert!(!machine.vfs.paths().iter().any(|path| path.starts_with("/data/keys/1-")), "no key is left");
    work(&store);
    let text = machine.vfs.read_file(&erasure.receipt).expect("written");
    Receipt::verify(&text, &store.receipt_key().expect("a key")).expect("good");
    let text = String::from_utf8(text).expect("text");
    let expected = [
        "1 identity",
        "2 metrics",
        "3 signals",
        "4 wrapping",
        "5 wrapping",
        "6 metrics",
        "7 signals",
        "8 wrapping",
    ];
    for key in expected {
        assert!(text.lines().any(|line| line == format!("key: {key}")), "{key}: {text}");
    }
}

#[test]
fn a_reader_that_was_opened_before_a_rotation_goes_on() {
    let machine = machine(Encryption::Files);
    let store = filled(&machine);
    let beside = machine.read_only();
    let tenant = store.tenant(&id("one")).expect("there");
    let reader = tenant.reader();
    let see = |reader: &TenantReader| (failures(reader, Timestamp(NOW + HOUR)), raw_signals(reader));
    let (seen, seen_beside) = (see(&reader), see(&beside.tenant(&id("one")).expect("there")));
    tenant.rotate_keys(&ALL, 0).expect("rotated");
    work(&store);
    assert_eq!(in_state(&store, KeyState::Old), []);
    assert_eq!((see(&reader), seen), (seen, (7.0, 7)));
    assert_eq!(see(&beside.tenant(&id("one")).expect("there")), seen_beside);
    assert_eq!(ids(&beside.keys(&id("one")).expect("there")), [1, 2, 3, 4]);
    let now = machine.read_only();
    assert_eq!(raw_signals(&now.tenant(&id("one")).expect("there")), 7);
    assert_eq!(now.keys(&id("one")).expect("there").len(), 7);
}

fn restored(machine: &Machine, at: At, root: &str) -> Result<usize, String> {
    let vfs: Arc<dyn Vfs> = Arc::new(machine.vfs.clone());
    let keys = FileKeyStore::new(vfs.clone(), "/data/keys".as_ref(), "/data/tmp".as_ref());
    let into = RestoreInto { root: root.as_ref(), options: &machine.options };
    let restored = restore(&vfs, &*machine.clock, &*machine.entropy, "/safe".as_ref(), at, Some(&keys), into);
    let restored = restored.map_err(|error| error.to_string())?;
    if let Some((_, why)) = restored.left_out.into_iter().next() {
        return Err(why);
    }
    assert_eq!(restored.faults, Vec::<String>::new());
    let options = machine.options.clone();
    let store = Annals::open(vfs, machine.clock.clone(), machine.entropy.clone(), root.as_ref(), options);
    let store = store.expect("opens");
    assert_eq!(store.recovery().findings, Vec::<String>::new());
    let count = raw_signals(&store.tenant(&id("one")).expect("there").reader());
    // Whatever keys it came with, it goes on as every store.
    store.tenant(&id("one")).expect("there").rotate_keys(&ALL, 0).expect("rotated");
    store.settle().expect("settled");
    assert_eq!(in_state(&store, KeyState::Old), []);
    assert_eq!(raw_signals(&store.tenant(&id("one")).expect("there").reader()), count);
    Ok(count)
}

#[test]
fn a_backup_of_before_a_rotation_is_restored_until_the_date_and_then_with_a_later_snapshot() {
    let machine = machine(Encryption::Files);
    let store = filled(&machine);
    store.backup("/safe".as_ref()).expect("taken");
    let tenant = store.tenant(&id("one")).expect("there");
    tenant.rotate_keys(&ALL, ROTATION_DUE_MS).expect("rotated");
    write_signals(&tenant, &attempts(5, &[NOW - 3])).expect("written");
    assert_eq!(restored(&machine, At::Newest, "/a"), Ok(7));
    machine.clock.advance_ms(ROTATION_DUE_MS as u64);
    work(&store);
    let gone = restored(&machine, At::Newest, "/b").expect_err("the key is gone");
    assert!(gone.contains("has been replaced and destroyed"), "{gone}");
    // The data keys of then are gone from the store too, so that nothing brings these back.
    store.backup("/safe".as_ref()).expect("taken");
    assert_eq!(restored(&machine, At::Newest, "/c"), Ok(8));
}

#[test]
fn any_instant_across_a_rotation_is_restored() {
    let machine = machine(Encryption::Files);
    let store = filled(&machine);
    store.backup("/safe".as_ref()).expect("taken");
    let tenant = store.tenant(&id("one")).expect("there");
    machine.clock.advance_ms(1_000);
    tenant.rotate_keys(&ALL, ROTATION_DUE_MS).expect("rotated");
    write_signals(&tenant, &attempts(5, &[NOW - 3])).expect("written");
    let instant = machine.now();
    machine.clock.advance_ms(1_000);
    write_signals(&tenant, &attempts(6, &[NOW - 4])).expect("written");
    assert!(store.backup("/safe".as_ref()).expect("taken").continues);
    assert_eq!(
        restored(&machine, At::Instant(instant), "/a"),
        Ok(8),
        "its record is sealed with a later key"
    );
    assert_eq!(restored(&machine, At::Snapshot(1), "/b"), Ok(7));
    // A wrapping key alone: the data keys are there under the later one.
    tenant.rotate_keys(&[KeyClass::Wrapping], 0).expect("rotated");
    work(&store);
    store.backup("/safe".as_ref()).expect("taken");
    assert_eq!(restored(&machine, At::Snapshot(1), "/c"), Ok(7));
    assert_eq!(restored(&machine, At::Instant(instant), "/d"), Ok(8));
}

#[test]
fn writes_queries_and_rotations_at_once_lose_nothing() {
    let machine = machine(Encryption::Files);
    let machine = Machine {
        options: Options { background: Background::Threads, ..machine.options.clone() },
        ..machine
    };
    let store = machine.open();
    let tenant = store.create_tenant(&id("one"), plan("archive")).expect("created");
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let tenant = tenant.clone();
                scope.spawn(move || {
                    for n in 0..60 {
                        let batch = attempts(1_000 * writer + n, &[NOW - n as i64]);
                        write_signals(&tenant, &batch).expect("written");
                    }
                })
            })
            .collect();
        for _ in 0..12 {
            tenant.rotate_keys(&ALL, 0).expect("rotated");
            tenant.flush().expect("flushed");
            let mut count = 0;
            assert_eq!(tenant.reader().scan_signals(TimeRange::ALL, &[], &mut |_| count += 1), []);
        }
        writers.into_iter().for_each(|writer| writer.join().expect("no panic"));
    });
    store.settle().expect("settled");
    assert_eq!(raw_signals(&tenant.reader()), 120);
    drop((store, tenant));
    let store = machine.open();
    assert_eq!((store.recovery().replay.sealed, store.recovery().findings.len()), (0, 0));
    assert_eq!(raw_signals(&store.tenant(&id("one")).expect("there").reader()), 120);
}
