//! Erasure, by the public door: what is hidden at once, what is left afterwards, what the receipt proves.

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals::vfs::{SimCalls, SimCut, SimError, SimFault, SimOp, SimVfs, Vfs as _};
use annals::{
    Annals, At, DAY_MS, Done, ERASURE_DUE_MS, Encryption, FileKeyStore, MaintenanceError, Options, PublicKey,
    Receipt, ReceiptError, RestoreInto, SampleBatch, SeriesKind, Signal, SignalBatch, TenantError, TimeRange,
    Timestamp, Trouble, WriteError, prune_backup, restore, verify,
};
use common::{
    Machine, NOW, attempts, batch_id, failures, gauges, id, labels, number, plan, site, write_samples,
    write_signals,
};

const ROOT: &str = "/data";

fn machine(encryption: Encryption) -> Machine {
    let machine = Machine::new();
    Machine { options: Options { encryption, ..machine.options.clone() }, ..machine }
}

/// Texts that only `acme` has written, in blocks, in the log, and in its manifest.
fn fill(store: &Annals, name: &str) {
    let tenant = store.create_tenant(&id(name), plan("archive")).expect("created");
    for round in 0..3 {
        let mut batch = SampleBatch::new(batch_id(round), site(&format!("{name}.marked")));
        let series = labels(&[("__name__", &format!("{name}_marked")), ("host", &format!("{name}-host"))]);
        let series = batch.series(series, SeriesKind::Gauge);
        batch.push(series, Timestamp(NOW - 1000 + round as i64), 1.0);
        write_samples(&tenant, &batch).expect("written");
        let cron = Signal::new("wp.cron", Timestamp(NOW - 5000 + round as i64))
            .with("hook", format!("{name}-hook").as_str())
            .with("result", "ok");
        let batch = SignalBatch {
            id: batch_id(100 + round),
            site: site(&format!("{name}.marked")),
            signals: vec![cron],
        };
        assert_eq!(write_signals(&tenant, &batch).expect("written").refused, []);
        if round < 2 {
            tenant.flush().expect("flushed");
        }
    }
}

fn files(vfs: &SimVfs) -> Vec<(PathBuf, Vec<u8>)> {
    vfs.paths().into_iter().map(|path| (path.clone(), vfs.read_file(&path).expect("there"))).collect()
}

/// Every run of 24 bytes that came between two looks at the disk, but for manifests and the catalogue, and for runs of few
/// different bytes: what may not be found again, sealed or not.
fn traces(before: &[(PathBuf, Vec<u8>)], after: &[(PathBuf, Vec<u8>)]) -> BTreeSet<Vec<u8>> {
    let mut found = BTreeSet::new();
    let plain = |path: &Path| {
        let path = path.to_string_lossy();
        ["/manifest-", "/catalog-", "/LOCK", "/destroyed-"].iter().any(|part| path.contains(part))
    };
    for (path, bytes) in after.iter().filter(|(path, _)| !plain(path)) {
        let old = before.iter().find(|(other, _)| other == path).map_or(&[][..], |(_, bytes)| bytes);
        let is_new = |at: &usize| old.get(*at..at + 24) != bytes.get(*at..at + 24);
        for at in (0..bytes.len().saturating_sub(24)).step_by(24).filter(is_new) {
            let window = &bytes[at..at + 24];
            if window.iter().collect::<BTreeSet<_>>().len() > 14 {
                found.insert(window.to_vec());
            }
        }
    }
    // What is not sealed looks alike in parts.
    for window in before.iter().flat_map(|(_, bytes)| bytes.windows(24)) {
        found.remove(window);
    }
    found
}

fn holding(vfs: &SimVfs, traces: &BTreeSet<Vec<u8>>) -> Vec<PathBuf> {
    let holds = |bytes: &[u8]| bytes.windows(24).any(|window| traces.contains(window));
    files(vfs).into_iter().filter(|(_, bytes)| holds(bytes)).map(|(path, _)| path).collect()
}

fn work_off(store: &Annals) -> Vec<Done> {
    std::iter::from_fn(|| store.maintenance_step().expect("done")).collect()
}

/// Two tenants; then all that `acme`, which is number 2, leaves on the disk.
fn two_tenants(machine: &Machine) -> (Annals, BTreeSet<Vec<u8>>) {
    let store = machine.open();
    fill(&store, "other");
    let before = files(&machine.vfs);
    fill(&store, "acme");
    let left = traces(&before, &files(&machine.vfs));
    let holders = holding(&machine.vfs, &left);
    let holds = |part: &str| holders.iter().any(|path| path.to_string_lossy().contains(part));
    assert!(["/wal/", "/t/2/b/", "/t/2/s/", "/t/2/keys-"].into_iter().all(holds), "{holders:?}");
    (store, left)
}

fn served(store: &Annals, name: &str) -> f64 {
    let reader = store.tenant(&id(name)).expect("available").reader();
    number(&reader, &format!("{name}_marked"), Timestamp(NOW))
}

fn key_of(store: &Annals) -> PublicKey {
    store.receipt_key().expect("a key")
}

#[test]
fn p7_an_erased_tenant_is_hidden_at_once_and_nothing_of_it_is_left() {
    for encryption in [Encryption::Files, Encryption::None] {
        let sealed = matches!(encryption, Encryption::Files);
        let machine = machine(encryption);
        let (store, left) = two_tenants(&machine);
        let handle = store.tenant(&id("acme")).expect("available");
        let (live, beside) = (handle.reader(), machine.read_only().tenant(&id("acme")).expect("there"));
        let erasure = store.erase_tenant(&id("acme")).expect("erased");
        assert_eq!(erasure.due, Timestamp(erasure.since.0 + ERASURE_DUE_MS));
        assert_eq!(store.erase_tenant(&id("acme")).expect("asked again"), erasure);
        assert_eq!(store.erasures(), std::slice::from_ref(&erasure));

        assert!(matches!(store.tenant(&id("acme")), Err(TenantError::Unknown(_))));
        assert_eq!(store.tenants().len(), 1);
        assert!(machine.vfs.read_file("/data/keys/2-4.key").is_err(), "its key is gone");
        for reader in [live, beside, handle.reader()] {
            let answer = reader.query("acme_marked", Timestamp(NOW)).expect("answered");
            assert!(format!("{answer:?}").contains("the tenant was erased"), "{answer:?}");
            assert_eq!(reader.scan_signals(TimeRange::ALL, &[], &mut |row| panic!("{row:?}")).len(), 1);
        }
        assert!(machine.read_only().tenant(&id("acme")).is_err());
        assert_eq!(write_samples(&handle, &gauges(9, "up", &[(0, NOW, 1.0)])), Err(WriteError::Erased));
        assert!(matches!(handle.flush(), Err(MaintenanceError::Erased { .. })));
        assert!(handle.change_plan(plan("starter")).is_err());
        let verified = verify(Arc::new(machine.vfs.clone()), ROOT.as_ref()).expect("readable");
        assert_eq!(verified.findings, [], "half way");

        let done = work_off(&store);
        assert!(
            done.contains(&Done::Erased { tenant: id("acme"), receipt: erasure.receipt.clone() }),
            "{done:?}"
        );
        assert_eq!(store.erasures(), []);
        assert_eq!(holding(&machine.vfs, &left), Vec::<PathBuf>::new());
        assert!(!machine.vfs.paths().iter().any(|path| path.starts_with("/data/t/2")));
        assert_eq!(served(&store, "other"), 1.0);
        let receipt = machine.vfs.read_file(&erasure.receipt).expect("there");
        let proved = Receipt::verify(&receipt, &key_of(&store)).expect("genuine");
        assert_eq!((proved.tenant, proved.hidden, proved.sealed), (id("acme"), erasure.since, sealed));
        assert_eq!(proved.blocks, 4, "two flushes, of metrics and of signals");
        let verified = verify(Arc::new(machine.vfs.clone()), ROOT.as_ref()).expect("readable");
        assert_eq!(verified.findings, []);

        // Its name is free, and has nothing to do with what it was.
        fill(&store, "acme");
        drop((handle, store));
        let store = machine.open();
        assert_eq!(store.recovery().findings, Vec::<String>::new());
        assert_eq!((served(&store, "acme"), served(&store, "other")), (1.0, 1.0));
        let again = store.erase_tenant(&id("acme")).expect("erased");
        assert_ne!(again.receipt, erasure.receipt);
        work_off(&store);
        assert_eq!(
            machine.vfs.read_file(&erasure.receipt).expect("there"),
            receipt,
            "the first stays as it is"
        );
        assert!(machine.vfs.read_file(&again.receipt).is_ok());
    }
}

#[test]
fn p7_planted_markers_are_readable_in_no_byte_of_root_log_or_backups_of_before() {
    let machine = machine(Encryption::Files);
    let before = files(&machine.vfs);
    let store = machine.open();
    fill(&store, "other");
    fill(&store, "acme");
    let backup = Path::new("/safe/backup");
    // One with acme in the log and in blocks, one with more of it.
    store.backup(backup).expect("taken");
    store.tenant(&id("acme")).expect("there").flush().expect("flushed");
    store.backup(backup).expect("taken");
    let left = traces(&before, &files(&machine.vfs));
    let secrets: Vec<Vec<u8>> = files(&machine.vfs)
        .into_iter()
        .filter(|(path, _)| path.to_string_lossy().contains("/keys/2-"))
        .map(|(_, bytes)| bytes[bytes.len() - 32..].to_vec())
        .collect();
    assert_eq!(secrets.len(), 1, "one key opens all of it");
    let markers = ["acme.marked", "acme_marked", "acme-host", "acme-hook"];
    let readable = |vfs: &SimVfs| -> Vec<PathBuf> {
        let marked = markers.iter().map(|marker| marker.as_bytes()).chain(secrets.iter().map(Vec::as_slice));
        let marked: Vec<&[u8]> = marked.collect();
        let holds = |bytes: &[u8]| marked.iter().any(|part| bytes.windows(part.len()).any(|w| w == *part));
        files(vfs).into_iter().filter(|(_, bytes)| holds(bytes)).map(|(path, _)| path).collect()
    };
    assert_eq!(readable(&machine.vfs).len(), 1, "before, the key alone");
    store.erase_tenant(&id("acme")).expect("erased");
    work_off(&store);
    assert_eq!(readable(&machine.vfs), Vec::<PathBuf>::new());
    drop(store);

    let vfs: Arc<dyn annals::vfs::Vfs> = Arc::new(machine.vfs.clone());
    let keys = FileKeyStore::new(vfs.clone(), "/data/keys".as_ref(), "/data/tmp".as_ref());
    for (number, root) in [(1, "/first"), (2, "/second")] {
        let into = RestoreInto { root: root.as_ref(), options: &machine.options };
        let at = At::Snapshot(number);
        let restored = restore(&vfs, &*machine.clock, &*machine.entropy, backup, at, Some(&keys), into)
            .expect("restored");
        assert_eq!((restored.erased, restored.tenants), (vec![id("acme")], vec![id("other")]));
        assert_eq!(readable(&machine.vfs), Vec::<PathBuf>::new(), "restored from snapshot {number}");
    }
    // The backup has bytes that nobody can read, and lets go of them too.
    let sealed = |vfs: &SimVfs| {
        let of_acme = |path: &PathBuf| path.to_string_lossy().contains("/files/2-");
        holding(vfs, &left).iter().filter(|path| of_acme(path)).count()
    };
    assert!(sealed(&machine.vfs) > 0);
    prune_backup(&machine.vfs, &*machine.clock, backup, 2, Some(&keys)).expect("pruned");
    assert_eq!(sealed(&machine.vfs), 0);
}

#[test]
fn p7_an_erasure_that_was_cut_short_goes_on_at_the_next_open() {
    let machine = machine(Encryption::Files);
    let (store, left) = two_tenants(&machine);
    let erasure = store.erase_tenant(&id("acme")).expect("erased");
    drop(store);
    machine.vfs.power_cut(SimCut::Nothing);
    let store = machine.open();
    assert!(store.tenant(&id("acme")).is_err());
    assert_eq!(store.erasures(), std::slice::from_ref(&erasure));
    work_off(&store);
    assert_eq!(holding(&machine.vfs, &left), Vec::<PathBuf>::new());
    Receipt::verify(&machine.vfs.read_file(&erasure.receipt).expect("there"), &key_of(&store))
        .expect("genuine");
}

#[test]
fn p7_a_receipt_waits_for_records_that_somebody_else_keeps_in_the_log() {
    let machine = machine(Encryption::Files);
    let (store, left) = two_tenants(&machine);
    drop(store);
    // The other's key is lost: its records wait in the log for it to be found again.
    let key = machine.vfs.read_file("/data/keys/1-4.key").expect("there");
    machine.vfs.unlink("/data/keys/1-4.key".as_ref()).expect("removed");
    let store = machine.open();
    let erasure = store.erase_tenant(&id("acme")).expect("erased");
    work_off(&store);
    assert!(machine.vfs.read_file(&erasure.receipt).is_err(), "its records are still there");
    assert_eq!(store.erasures(), std::slice::from_ref(&erasure));
    machine.clock.advance_ms(ERASURE_DUE_MS as u64 + 1);
    let overdue = |trouble: &Trouble| matches!(trouble, Trouble::ErasureOverdue { .. });
    assert!(store.troubles().iter().any(overdue));
    drop(store);
    machine.vfs.write_file("/data/keys/1-4.key", &key).expect("put back");
    let store = machine.open();
    work_off(&store);
    assert_eq!(store.erasures(), []);
    assert!(!store.troubles().iter().any(overdue));
    assert_eq!(holding(&machine.vfs, &left), Vec::<PathBuf>::new());
    assert_eq!(served(&store, "other"), 1.0);
}

#[test]
fn p7_quarantined_files_and_drafts_of_an_erased_tenant_go_too() {
    let machine = machine(Encryption::Files);
    let (store, left) = two_tenants(&machine);
    drop(store);
    let block = |part: &str| {
        let paths = machine.vfs.paths();
        paths.into_iter().find(|path| path.to_string_lossy().contains(part)).expect("a block")
    };
    let (damaged, theirs) = (block("/t/2/b/"), block("/t/1/b/"));
    for path in [&damaged, &theirs] {
        machine.vfs.corrupt(path, 200, 1).expect("there");
    }
    let repaired = annals::repair(
        Arc::new(machine.vfs.clone()),
        machine.clock.clone(),
        machine.entropy.clone(),
        ROOT.as_ref(),
        machine.options.clone(),
    );
    assert_eq!(repaired.expect("repaired").after.findings, []);
    machine.vfs.write_file("/data/tmp/2-draft.blk", b"a draft").expect("written");
    let aside = |number: u32| {
        let stem = format!("/data/quarantine/t-{number}-");
        machine.vfs.paths().iter().filter(|path| path.to_string_lossy().starts_with(&stem)).count()
    };
    assert_eq!((aside(1), aside(2)), (2, 2), "each with its record");
    let store = machine.open();
    store.erase_tenant(&id("acme")).expect("erased");
    machine.vfs.write_file("/data/tmp/2-draft.blk", b"a draft").expect("written");
    work_off(&store);
    assert_eq!(store.erasures(), []);
    assert_eq!((aside(1), aside(2)), (2, 0));
    assert_eq!(holding(&machine.vfs, &left), Vec::<PathBuf>::new());
    assert!(machine.vfs.read_file("/data/tmp/2-draft.blk").is_err());
}

#[test]
fn p7_no_receipt_is_written_while_a_file_aside_cannot_be_looked_at() {
    let (mut held_up, mut written) = (0, 0);
    for at in 0..120 {
        let machine = machine(Encryption::Files);
        let (store, _) = two_tenants(&machine);
        let paths = machine.vfs.paths();
        let block = paths.iter().find(|path| path.to_string_lossy().contains("/t/2/b/")).expect("a block");
        // Its name does not say whose it is.
        let aside = Path::new("/data/quarantine/found.blk");
        machine.vfs.write_file(aside, &machine.vfs.read_file(block).expect("there")).expect("written");
        store.erase_tenant(&id("acme")).expect("erased");
        machine.vfs.fail(SimFault::once(SimCalls::Any, at, SimError::Io));
        // A fault may leave it open what is durable, and end the work of this process.
        let _ = store.maintenance_step();
        let is_held_up = machine.vfs.read_file(aside).is_ok();
        held_up += usize::from(is_held_up);
        machine.vfs.clear_faults();
        (0..20).for_each(|_| drop(store.maintenance_step()));
        let has_receipt = machine.vfs.paths().iter().any(|path| path.starts_with("/data/receipts"));
        let is_there = machine.vfs.read_file(aside).is_ok();
        assert!(!(has_receipt && is_there), "call {at}: the receipt says that nothing is left");
        drop(store);
        let store = machine.open();
        work_off(&store);
        written += usize::from(store.erasures().is_empty() && machine.vfs.read_file(aside).is_err());
    }
    assert!(held_up > 0 && written == 120, "{held_up} were held up, {written} went on");
}

#[test]
fn p7_an_older_copy_of_the_folder_does_not_bring_it_back() {
    let machine = machine(Encryption::Files);
    let (store, _) = two_tenants(&machine);
    let copy: Vec<_> = files(&machine.vfs);
    let in_keys = |path: &Path| path.starts_with("/data/keys");
    let erasure = store.erase_tenant(&id("acme")).expect("erased");
    work_off(&store);
    drop(store);
    // All but the key store is as it was: that is what is outside of every backup.
    for path in machine.vfs.paths().iter().filter(|path| !in_keys(path)) {
        machine.vfs.unlink(path).expect("removed");
    }
    machine.vfs.make_dirs(["/data/t/2", "/data/t/2/b", "/data/t/2/s"]);
    for (path, bytes) in copy.iter().filter(|(path, _)| !in_keys(path)) {
        machine.vfs.write_file(path, bytes).expect("written");
    }
    let store = machine.open();
    let why = store.tenant(&id("acme")).expect_err("unavailable").to_string();
    assert!(why.contains("the tenant's key was destroyed"), "{why}");
    assert_eq!(served(&store, "other"), 1.0);
    // Its bytes are of no use to anybody, and go when that is said once more.
    let again = store.erase_tenant(&id("acme")).expect("erased");
    work_off(&store);
    assert_eq!((store.erasures(), &again.receipt), (Vec::new(), &erasure.receipt));
    assert!(!machine.vfs.paths().iter().any(|path| path.starts_with("/data/t/2")));
    // The key itself, put back where it was, opens nothing.
    let key = copy.iter().find(|(path, _)| path.ends_with("keys/2-4.key")).expect("it had a key");
    machine.vfs.write_file(&key.0, &key.1).expect("written");
    drop(store);
    for (path, bytes) in copy.iter().filter(|(path, _)| !in_keys(path)) {
        machine.vfs.make_dirs(["/data/t/2", "/data/t/2/b", "/data/t/2/s"]);
        machine.vfs.write_file(path, bytes).expect("written");
    }
    for path in
        machine.vfs.paths().iter().filter(|path| !copy.iter().any(|(old, _)| old == *path) && !in_keys(path))
    {
        machine.vfs.unlink(path).expect("removed");
    }
    assert!(machine.open().tenant(&id("acme")).is_err());
}

#[test]
fn p7_a_receipt_is_believed_only_whole_and_by_the_right_key() {
    let machine = machine(Encryption::Files);
    let (store, _) = two_tenants(&machine);
    let key = key_of(&store);
    let erasure = store.erase_tenant(&id("acme")).expect("erased");
    work_off(&store);
    let receipt = machine.vfs.read_file(&erasure.receipt).expect("there");
    assert_eq!(key.to_string().parse(), Ok(key));
    Receipt::verify(&receipt, &key).expect("genuine");
    for at in 0..receipt.len() {
        for mask in [1, 0x10, 0x80] {
            let mut changed = receipt.clone();
            changed[at] ^= mask;
            assert!(Receipt::verify(&changed, &key).is_err(), "byte {at}");
        }
        assert!(Receipt::verify(&receipt[..at], &key).is_err(), "cut at {at}");
    }
    for longer in [[&receipt[..], b"x"].concat(), [&receipt[..], b"\n"].concat()] {
        assert!(Receipt::verify(&longer, &key).is_err());
    }
    let other = PublicKey([7; 32]);
    assert_eq!(Receipt::verify(&receipt, &other), Err(ReceiptError::OtherKey { signer: key }));
    // Another store's key signs another store's receipts: this text, signed by whoever, is not believed.
    let text =
        String::from_utf8(receipt.clone()).expect("text").replace(&key.to_string(), &other.to_string());
    assert_eq!(Receipt::verify(text.as_bytes(), &other), Err(ReceiptError::Forged));
    // A receipt that rots is named.
    machine.vfs.corrupt(&erasure.receipt, 40, 1).expect("there");
    let verified = verify(Arc::new(machine.vfs.clone()), ROOT.as_ref()).expect("readable");
    assert_eq!(verified.findings.iter().map(|found| &found.path).collect::<Vec<_>>(), [&erasure.receipt]);
}

#[test]
fn p7_what_blocks_were_is_in_the_receipt() {
    use std::fmt::Write as _;
    let machine = machine(Encryption::Files);
    let (store, _) = two_tenants(&machine);
    let blocks: Vec<_> = files(&machine.vfs)
        .into_iter()
        .filter(|(path, _)| path.starts_with("/data/t/2") && path.extension().is_some_and(|end| end == "blk"))
        .collect();
    let erasure = store.erase_tenant(&id("acme")).expect("erased");
    work_off(&store);
    let receipt = machine.vfs.read_file(&erasure.receipt).expect("there");
    let receipt = String::from_utf8(receipt).expect("text");
    for (path, bytes) in &blocks {
        let mut digest = String::new();
        let sum = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
        sum.as_ref().iter().for_each(|byte| write!(digest, "{byte:02x}").expect("memory"));
        let name = path.file_name().expect("a file").to_string_lossy();
        let line = format!("block: {name} {} sha256:{digest}\n", bytes.len());
        assert!(receipt.contains(&line), "{line} in\n{receipt}");
    }
    assert!(receipt.contains(&format!("blocks: {}\n", blocks.len())));
    for class in ["1 identity", "2 metrics", "3 signals"] {
        assert!(receipt.contains(&format!("key: {class}\n")), "{receipt}");
    }
    assert!(!receipt.contains("marked"), "it holds no content");
}

#[test]
fn p7_batches_on_their_way_go_with_the_tenant() {
    let machine = machine(Encryption::None);
    let (store, left) = two_tenants(&machine);
    let tenant = store.tenant(&id("acme")).expect("available");
    let ticket = tenant.write_signals(&attempts(50, &[NOW - 7])).expect("queued");
    store.erase_tenant(&id("acme")).expect("erased");

    ticket.wait().expect("what was queued is committed, and nobody sees it");
    assert_eq!(failures(&tenant.reader(), Timestamp(NOW)), 0.0);
    let site = b"shop.example";
    let shows = || files(&machine.vfs).iter().any(|(_, bytes)| bytes.windows(site.len()).any(|w| w == site));
    assert!(shows(), "it is in the log");
    work_off(&store);
    assert!(!shows());
    assert_eq!(holding(&machine.vfs, &left), Vec::<PathBuf>::new());
}

#[test]
fn p7_erasures_of_one_name_do_not_wait_for_each_other() {
    for kill_after in 0..40 {
        let machine = machine(Encryption::Files);
        let store = machine.open();
        for name in ["one", "acme", "cora"] {
            fill(&store, name);
        }
        store.erase_tenant(&id("acme")).expect("erased");
        store.close().expect("closed");
        let store = machine.open();
        store.erase_tenant(&id("cora")).expect("erased");
        fill(&store, "acme");
        machine.vfs.set_crash_at(kill_after);
        let _ = store.erase_tenant(&id("acme"));
        drop(store);
        machine.vfs.power_cut(SimCut::Nothing);
        let store = machine.open();
        fill(&store, "dora");
        if store.tenant(&id("acme")).is_ok() {
            store.erase_tenant(&id("acme")).expect("erased");
        } else {
            fill(&store, "acme");
        }
        work_off(&store);
        assert_eq!(store.erasures(), [], "{kill_after}");
    }
}

#[test]
fn p7_a_cancelled_tenant_is_read_takes_nothing_and_ends_at_its_date() {
    for (name, days) in [("starter", 8), ("professional", 30), ("archive", 30)] {
        let machine = machine(Encryption::Files);
        let store = machine.open();
        let tenant = store.create_tenant(&id("acme"), plan(name)).expect("created");
        write_signals(&tenant, &attempts(1, &[NOW])).expect("written");
        tenant.flush().expect("flushed");
        let due = tenant.cancel().expect("cancelled");
        assert!(due.0 - NOW <= days * DAY_MS && due.0 - NOW > (days - 1) * DAY_MS, "{name}: {due}");
        assert_eq!(write_signals(&tenant, &attempts(2, &[NOW])), Err(WriteError::Cancelled { due }));
        machine.clock.advance_ms(60_000);
        assert_eq!(tenant.cancel().expect("asked again"), due, "asking again gives no more time");
        assert_eq!(failures(&tenant.reader(), Timestamp(NOW + 60_000)), 1.0);
        let retention = tenant.retention();
        assert_eq!(retention.cancelled(), Some(due));
        assert!(retention.blocks().iter().all(|kept| kept.due.is_some_and(|at| at <= due)), "{retention:?}");
        drop((tenant, store));

        let store = machine.open();
        let tenant = store.tenant(&id("acme")).expect("available");
        assert_eq!(tenant.summary().cancelled, Some(due));
        assert!(tenant.undo_cancel().expect("taken back"));
        assert!(!tenant.undo_cancel().expect("nothing to take back"));
        assert_eq!(write_signals(&tenant, &attempts(2, &[NOW])).expect("written").accepted(), 1);
        let due = tenant.cancel().expect("cancelled");
        machine.clock.set_ms(due.0 - 1);
        work_off(&store);
        assert!(store.tenant(&id("acme")).is_ok(), "one millisecond before");
        machine.clock.set_ms(due.0);
        let done = work_off(&store);
        assert!(done.iter().any(|done| matches!(done, Done::Cancelled { .. })), "{done:?}");
        assert!(store.tenant(&id("acme")).is_err());
        let receipt = machine.vfs.read_file("/data/receipts/1.receipt").expect("there");
        assert_eq!(Receipt::verify(&receipt, &key_of(&store)).expect("genuine").tenant, id("acme"));
    }
}

#[test]
fn p7_a_clock_that_jumps_ends_no_cancelled_tenant() {
    let machine = machine(Encryption::Files);
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    write_signals(&tenant, &attempts(1, &[NOW])).expect("written");
    tenant.cancel().expect("cancelled");
    machine.clock.set_ms(NOW + 400 * DAY_MS);
    work_off(&store);
    assert!(store.tenant(&id("acme")).is_ok());
    store.confirm_clock().expect("confirmed");
    work_off(&store);
    assert!(store.tenant(&id("acme")).is_err());
}

#[test]
fn p7_an_erasure_ends_in_its_receipt_whichever_call_of_it_or_of_the_next_open_fails_once() {
    for encryption in [Encryption::None, Encryption::Files] {
        for at_open in [false, true] {
            let mut hit = 0;
            for call in 0..120 {
                let machine = machine(encryption.clone());
                let (store, _) = two_tenants(&machine);
                let fault = SimFault::once(SimCalls::Any, call, SimError::Io);
                if !at_open {
                    machine.vfs.fail(fault);
                }
                let mut erased = store.erase_tenant(&id("acme"));
                hit += usize::from(erased.is_err());
                while store.tenants().iter().any(|tenant| tenant.id == id("acme")) {
                    erased = store.erase_tenant(&id("acme"));
                    if matches!(erased, Err(TenantError::Change(_))) {
                        break;
                    }
                }
                drop(store);
                if at_open {
                    machine.vfs.fail(fault);
                }
                let store = match machine.try_open() {
                    Ok(store) => store,
                    Err(_) => {
                        hit += 1;
                        machine.open()
                    }
                };
                machine.vfs.clear_faults();
                let there = store.tenants().iter().any(|tenant| tenant.id == id("acme"));
                if there {
                    store.erase_tenant(&id("acme")).expect("nothing fails any more");
                }
                // What a failed sync has left in doubt, and a tenant that could not be opened, wait for the next open.
                while let Ok(Some(_)) = store.maintenance_step() {}
                drop(store);
                let store = machine.open();
                work_off(&store);
                assert_eq!(store.erasures(), [], "call {call}, {encryption:?}");
                let receipts = machine.vfs.paths();
                let receipts = receipts.iter().filter(|path| path.starts_with("/data/receipts")).count();
                assert_eq!(receipts, 1, "call {call}, {encryption:?}, {erased:?}");
            }
            assert!(hit > 5, "only {hit} calls can fail");
        }
    }
}

#[test]
fn p7_a_receipt_is_never_signed_with_a_key_that_a_power_cut_takes() {
    let mut hit = 0;
    for call in 0..60 {
        let machine = machine(Encryption::Files);
        let (store, _) = two_tenants(&machine);
        let erasure = store.erase_tenant(&id("acme")).expect("erased");
        // The first syncs of directories from here on are those of the removal, of the key and of the receipt.
        machine.vfs.fail(SimFault::once(SimCalls::Of(SimOp::SyncDir), call, SimError::Io));
        let mut failed = 0;
        for _ in 0..40 {
            failed += usize::from(store.maintenance_step().is_err());
        }
        drop(store);
        machine.vfs.clear_faults();
        machine.vfs.power_cut(SimCut::Nothing);
        let store = machine.open();
        work_off(&store);
        let receipt = machine.vfs.read_file(&erasure.receipt).expect("written");
        Receipt::verify(&receipt, &key_of(&store)).unwrap_or_else(|error| panic!("call {call}: {error}"));
        hit += failed;
    }
    assert!(hit > 3, "only {hit} syncs can fail");
}
