//! Encryption at rest, by the public door: what files show, what a lost, wrong or destroyed key costs, and whom.

mod common;
mod service;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use annals::vfs::{SimVfs, Vfs};
use annals::{
    Encryption, FileKeyStore, KeyId, KeyName, KeyStanding, KeyStore, KeyStoreError, Options, ReadOnly,
    SeriesKind, Signal, SignalBatch, TenantNumber, Timestamp, verify, verify_with,
};
use common::{
    Machine, NOW, attempts, batch_id, failures, gauges, id, labels, number, plan, site, write_samples,
    write_signals,
};
use service::Service;

const ROOT: &str = "/data";

fn machine(encryption: Encryption) -> Machine {
    let machine = Machine::new();
    Machine { options: Options { encryption, ..machine.options.clone() }, ..machine }
}

/// Two tenants, each with blocks of both contents and records in the log.
fn filled(encryption: Encryption) -> Machine {
    let machine = machine(encryption);
    let store = machine.open();
    for name in ["one", "two"] {
        let tenant = store.create_tenant(&id(name), plan("archive")).expect("created");
        write_signals(&tenant, &attempts(1, &[NOW, NOW - 1])).expect("written");
        write_samples(&tenant, &gauges(2, "up", &[(0, NOW - 60_000, 1.0)])).expect("written");
        tenant.flush().expect("flushed");
        write_signals(&tenant, &attempts(3, &[NOW - 2])).expect("written");
    }
    store.close().expect("closed");
    machine
}

fn asserts_served(machine: &Machine, name: &str) {
    let store = machine.open();
    let reader = store.tenant(&id(name)).expect("available").reader();
    assert_eq!(failures(&reader, Timestamp(NOW + 60_000)), 3.0);
    assert_eq!(number(&reader, "up", Timestamp(NOW)), 1.0);
    store.close().expect("closed");
}

/// Why a tenant cannot be used, as the writer and a reader are told.
fn refusal(machine: &Machine, name: &str) -> String {
    let why = machine.open().tenant(&id(name)).map(|_| ()).expect_err("unavailable").to_string();
    let encryption = &machine.options.encryption;
    let reader = ReadOnly::open_with(
        Arc::new(machine.vfs.clone()),
        machine.clock.clone(),
        ROOT.as_ref(),
        &annals::signals::builtin(),
        encryption,
    );
    let read = reader.expect("the others are served").tenant(&id(name)).map(|_| ());
    assert_eq!(read.expect_err("unavailable").to_string(), why);
    why
}

/// The files of a part of the root, as somebody may have copied them.
fn copies(vfs: &SimVfs, part: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let paths = vfs.paths().into_iter().filter(|path| path.starts_with(Path::new(ROOT).join(part)));
    paths.map(|path| (path.clone(), vfs.read_file(&path).expect("there"))).collect()
}

fn remove(vfs: &SimVfs, path: &Path) {
    vfs.unlink(path).expect("it was there");
}

fn put_back(vfs: &SimVfs, copies: &[(PathBuf, Vec<u8>)]) {
    for (path, bytes) in copies {
        vfs.write_file(path, bytes).expect("the directory is there");
    }
}

/// Which files hold one of the markers.
fn holding(vfs: &SimVfs, markers: &[&str]) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = vfs.read_file(path).expect("there");
        markers.iter().any(|marker| bytes.windows(marker.len()).any(|window| window == marker.as_bytes()))
    };
    vfs.paths().into_iter().filter(holds).collect()
}

/// Writes text of users wherever it may go, and looks at every file at every step.
fn texts_in_files(encryption: Encryption) -> Vec<PathBuf> {
    let markers =
        ["marked-label", "marked_metric", "/marked-route", "marked.site", "marked-hook", "marked-user"];
    let machine = machine(encryption);
    let mut found = Vec::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    for round in 0..3 {
        let mut batch = annals::SampleBatch::new(batch_id(round), site("marked.site"));
        let series = labels(&[("__name__", "marked_metric"), ("host", "marked-label")]);
        let series = batch.series(series, SeriesKind::Gauge);
        batch.push(series, Timestamp(NOW - 1000 + round as i64), 1.0);
        write_samples(&tenant, &batch).expect("written");
        let at = Timestamp(NOW - 5000 + round as i64);
        let signals = vec![
            Signal::new("http.request", at)
                .with("method", "GET")
                .with("status", 200)
                .with("route", "/marked-route"),
            Signal::new("wp.cron", at).with("hook", "marked-hook").with("result", "ok"),
            Signal::new("auth.attempt", at)
                .with("result", "failure")
                .with("method", "password")
                .with("user", "marked-user"),
        ];
        let batch = SignalBatch { id: batch_id(100 + round), site: site("marked.site"), signals };
        assert_eq!(write_signals(&tenant, &batch).expect("written").refused, []);
        found.extend(holding(&machine.vfs, &markers));
        tenant.flush().expect("flushed");
        found.extend(holding(&machine.vfs, &markers));
    }
    store.settle().expect("merged");
    found.extend(holding(&machine.vfs, &markers));
    drop((tenant, store));
    machine.open().close().expect("closed");
    found.extend(holding(&machine.vfs, &markers));
    found
}

#[test]
fn no_text_of_users_is_in_any_file() {
    assert_eq!(texts_in_files(Encryption::Files), Vec::<PathBuf>::new());
    // What would be found, were it there: log, manifest, blocks (those of metrics compress it).
    let plain = texts_in_files(Encryption::None);
    for part in ["/wal/", "/manifest-", "/s/"] {
        assert!(plain.iter().any(|path| path.to_string_lossy().contains(part)), "{part}: {plain:?}");
    }
}

#[test]
fn a_destroyed_key_leaves_nothing_to_read_whatever_old_copies_come_back() {
    let machine = filled(Encryption::Files);
    let (data, keys) = (copies(&machine.vfs, "t/1"), copies(&machine.vfs, "keys"));
    let twin = machine.vfs.read_file("/data/catalog-00000003").expect("two tenants were created");
    let store: [u8; 16] = *twin[20..].first_chunk().expect("a twin file's header");
    let name = KeyName { store, tenant: TenantNumber(1) };
    let vfs = Arc::new(machine.vfs.clone());
    let key_store = FileKeyStore::new(vfs, "/data/keys".as_ref(), "/data/tmp".as_ref());
    assert_eq!(key_store.standing(name), Ok(KeyStanding::Present));
    key_store.destroy(name).expect("destroyed");
    key_store.destroy(name).expect("safe to repeat");
    assert_eq!(key_store.standing(name), Ok(KeyStanding::Destroyed));
    assert_eq!(key_store.create(name, KeyId(4), &*machine.entropy), Err(KeyStoreError::Destroyed));

    let gone = "the tenant's key was destroyed";
    for put in [&[][..], &data, &keys] {
        machine.vfs.power_cut(annals::vfs::SimCut::Nothing);
        put_back(&machine.vfs, put);
        let why = refusal(&machine, "one");
        assert!(why.contains(gone), "{why}");
        let opened = machine.open();
        assert_eq!((opened.recovery().replay.foreign, opened.recovery().replay.undecodable.len()), (3, 0));
        opened.create_tenant(&id(&format!("n{}", put.len())), plan("starter")).expect("others are made");
        drop(opened);
        asserts_served(&machine, "two");
        let verified = verify(Arc::new(machine.vfs.clone()), ROOT.as_ref()).expect("readable");
        assert_eq!(verified.findings, []);
        assert!(verified.notes.iter().any(|note| note.what.contains(gone)), "{:?}", verified.notes);
    }
}

#[test]
fn a_lost_or_wrong_key_costs_its_tenant_alone_and_is_named() {
    let machine = filled(Encryption::Files);
    let (one, two) = (copies(&machine.vfs, "keys/1-4.key"), copies(&machine.vfs, "keys/2-4.key"));
    let data_keys = copies(&machine.vfs, "t/1/keys-00000001");
    let path = &one[0].0;
    let cases = [
        ("lost", None, "keys/1-4.key is not there; restore it"),
        ("another tenant's", Some(two[0].1.clone()), "is the key of another tenant or store"),
        ("damaged", Some(one[0].1[1..].to_vec()), "keys/1-4.key is damaged; restore it"),
    ];
    for (what, bytes, told) in cases {
        match bytes {
            Some(bytes) => machine.vfs.write_file(path, &bytes).expect("there"),
            None => remove(&machine.vfs, path),
        }
        let why = refusal(&machine, "one");
        assert!(why.contains(told), "{what}: {why}");
        asserts_served(&machine, "two");
        let verified = verify(Arc::new(machine.vfs.clone()), ROOT.as_ref()).expect("readable");
        assert_eq!(verified.findings.iter().map(|found| &found.path).collect::<Vec<_>>(), [path], "{what}");
        put_back(&machine.vfs, &one);
        asserts_served(&machine, "one");
    }
    // The data keys of another tenant, wrapped by that one's key.
    let theirs = copies(&machine.vfs, "t/2/keys-00000001");
    machine.vfs.write_file(&data_keys[0].0, &theirs[0].1).expect("there");
    assert!(refusal(&machine, "one").contains("t/1/keys-00000001"));
    put_back(&machine.vfs, &data_keys);
    asserts_served(&machine, "one");
}

#[test]
fn records_that_wait_for_a_lost_key_stay_in_the_log() {
    let machine = filled(Encryption::Files);
    let key = copies(&machine.vfs, "keys/1-4.key");
    remove(&machine.vfs, &key[0].0);
    let store = machine.open();
    let two = store.tenant(&id("two")).expect("available");
    for round in 0..40 {
        let samples: Vec<_> = (0..500).map(|i| (i, NOW - i as i64, 0.5 + round as f64)).collect();
        write_samples(&two, &gauges(10 + round, "fill", &samples)).expect("written");
        two.flush().expect("flushed");
    }
    while store.maintenance_step().expect("maintained").is_some() {}
    drop((two, store));
    put_back(&machine.vfs, &key);
    asserts_served(&machine, "one");
}

#[test]
fn without_keys_a_store_is_checked_and_not_decoded() {
    let machine = filled(Encryption::Files);
    let check = |machine: &Machine| {
        verify_with(Arc::new(machine.vfs.clone()), ROOT.as_ref(), &Encryption::None).expect("readable")
    };
    let verified = check(&machine);
    assert_eq!(verified.findings, []);
    let unopened = verified.notes.iter().filter(|note| note.what.contains("sealed and was not opened"));
    assert_eq!(unopened.count(), 2);
    // A copy of the data as a backup has it.
    copies(&machine.vfs, "keys").iter().for_each(|(path, _)| remove(&machine.vfs, path));
    assert_eq!(check(&machine).findings, []);
    for part in ["t/1/b", "t/2/s"] {
        let block = copies(&machine.vfs, part).pop().expect("a block");
        machine.vfs.corrupt(&block.0, 200, 1).expect("there");
        let found = check(&machine).findings;
        assert_eq!(found.iter().map(|found| &found.path).collect::<Vec<_>>(), [&block.0]);
        put_back(&machine.vfs, &[block]);
    }
}

#[test]
fn a_hosts_key_store_is_all_that_opens_its_tenants() {
    let service = Arc::new(Service::default());
    let machine = filled(Encryption::Keys(service.clone()));
    assert_eq!(copies(&machine.vfs, "keys"), []);
    asserts_served(&machine, "one");
    // No secret of the service is in any file.
    let secrets = service.secrets();
    assert_eq!(secrets.len(), 2 * 3);
    for path in machine.vfs.paths() {
        let bytes = machine.vfs.read_file(&path).expect("there");
        let shown = |secret: &Vec<u8>| bytes.windows(secret.len()).any(|window| window == secret);
        assert!(!secrets.iter().any(shown), "{}", path.display());
    }
    service.down.store(true, Ordering::Relaxed);
    assert!(refusal(&machine, "one").contains("the service is down"));
    service.down.store(false, Ordering::Relaxed);
    asserts_served(&machine, "one");
    let first = service.names()[0];
    service.destroy(first).expect("destroyed");
    assert!(refusal(&machine, "one").contains("was destroyed"));
    asserts_served(&machine, "two");
}

#[test]
fn whether_a_tenant_is_sealed_is_decided_when_it_is_created() {
    let plain = filled(Encryption::None);
    assert_eq!(copies(&plain.vfs, "keys"), []);
    let files = Machine {
        options: Options { encryption: Encryption::Files, ..plain.options.clone() },
        vfs: plain.vfs.clone(),
        ..machine(Encryption::Files)
    };
    asserts_served(&files, "one");
    files.open().create_tenant(&id("three"), plan("archive")).expect("created");
    assert_eq!(copies(&files.vfs, "keys").len(), 1);
    // Without a key store the sealed one waits, and the others go on.
    let why = refusal(&plain, "three");
    assert!(why.contains("the tenant's data is sealed; open the store with its key store"), "{why}");
    asserts_served(&plain, "two");
}
