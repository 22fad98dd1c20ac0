//! Backups, by the public door: what a snapshot takes, what it costs, what it says of damage, what is removed.

mod common;

use std::path::Path;

use annals::vfs::{SimCalls, SimError, SimFault, SimOp, Vfs as _};
use annals::{
    Annals, Backup, BackupError, Encryption, FileKeyStore, Tenant, prune_backup, snapshots, verify_backup,
};
use common::{Machine, NOW, attempts, gauges, id, plan, write_samples, write_signals};

const ROOT: &str = "/data";
const BACKUP: &str = "/safe/backup";

fn tenant(store: &Annals, name: &str) -> Tenant {
    store
        .tenant(&id(name))
        .unwrap_or_else(|_| store.create_tenant(&id(name), plan("archive")).expect("created"))
}

/// Writes a batch that no other is like.
fn write(store: &Annals, name: &str, number: u64) {
    let tenant = tenant(store, name);
    write_signals(&tenant, &attempts(number, &[NOW - 9000 + number as i64])).expect("written");
    let samples = gauges(1000 + number, "load", &[(0, NOW - 9000 + number as i64, number as f64)]);
    write_samples(&tenant, &samples).expect("written");
}

fn take(machine: &Machine) -> Backup {
    annals::backup(&machine.vfs, &*machine.clock, Path::new(ROOT), Path::new(BACKUP)).expect("taken")
}

fn whole(machine: &Machine) {
    let check = verify_backup(&machine.vfs, Path::new(BACKUP)).expect("readable");
    assert_eq!((check.findings, check.faults), (Vec::new(), Vec::new()));
}

/// A store of two tenants with blocks and a log.
fn store(machine: &Machine) -> Annals {
    let store = machine.open();
    for name in ["acme", "other"] {
        write(&store, name, 1);
        tenant(&store, name).flush().expect("flushed");
        write(&store, name, 2);
    }
    store
}

#[test]
fn a_second_snapshot_takes_only_what_is_new_and_blocks_are_not_copied() {
    let machine = Machine::new();
    let store = store(&machine);
    let first = store.backup(Path::new(BACKUP)).expect("taken");
    assert_eq!((first.number, first.tenants, first.linked), (1, 2, 4));
    assert!(!first.continues && first.faults.is_empty(), "{first:?}");
    let again = store.backup(Path::new(BACKUP)).expect("taken");
    assert_eq!((again.number, again.linked, again.written, again.written_bytes), (2, 0, 0, 0));
    assert_eq!((again.files, again.bytes, again.continues), (first.files, first.bytes, true));
    write(&store, "acme", 3);
    let third = store.backup(Path::new(BACKUP)).expect("taken");
    assert_eq!((third.linked, third.written), (0, 1), "one piece of the log: {third:?}");
    tenant(&store, "acme").flush().expect("flushed");
    let fourth = store.backup(Path::new(BACKUP)).expect("taken");
    assert_eq!((fourth.linked, fourth.continues), (2, true), "{fourth:?}");
    whole(&machine);
    let listed = snapshots(&machine.vfs, Path::new(BACKUP)).expect("listed");
    let numbers: Vec<u64> = listed.iter().map(|snapshot| snapshot.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);
    assert_eq!((listed[1].new_bytes, listed[1].since), (0, Some(first.taken)));
}

#[test]
fn where_no_second_name_can_be_given_blocks_are_copied() {
    let machine = Machine::new();
    let store = store(&machine);
    let elsewhere = SimFault {
        calls: SimCalls::Of(SimOp::Link),
        after: 0,
        error: SimError::Permission,
        forever: true,
        done: false,
    };
    machine.vfs.fail(elsewhere);
    let taken = store.backup(Path::new(BACKUP)).expect("taken");
    assert_eq!(taken.linked, 0);
    assert!(taken.written >= 8 && taken.written_bytes == taken.bytes, "{taken:?}");
    whole(&machine);
    assert_eq!(store.backup(Path::new(BACKUP)).expect("taken").written, 0);
}

#[test]
fn a_snapshot_beside_a_writer_and_of_a_closed_store_are_whole() {
    let machine = Machine::new();
    let store = store(&machine);
    take(&machine);
    store.close().expect("closed");
    take(&machine);
    // A process that ended without a word: what its log does not say to be durable is taken as well.
    let store = machine.open();
    write(&store, "acme", 7);
    machine.vfs.process_crash();
    drop(store);
    machine.vfs.process_crash();
    let taken = take(&machine);
    assert_eq!(taken.written, 2, "a piece of the log and its tail: {taken:?}");
    whole(&machine);
    let store = machine.open();
    write(&store, "acme", 8);
    store.backup(Path::new(BACKUP)).expect("taken");
    whole(&machine);
}

#[test]
fn damage_in_the_store_is_named_and_a_block_that_was_taken_whole_stays_whole() {
    let machine = Machine::new();
    let store = store(&machine);
    store.backup(Path::new(BACKUP)).expect("taken");
    let block = |number: u32| {
        let front = format!("{ROOT}/t/{number}/b/");
        let paths = machine.vfs.paths();
        paths.into_iter().find(|path| path.to_string_lossy().starts_with(&front)).expect("a block")
    };
    // Another file of that name: the backup's is not the store's any more.
    let mut bytes = machine.vfs.read_file(block(1)).expect("there");
    bytes.truncate(bytes.len() / 2);
    machine.vfs.write_file(block(1), &bytes).expect("put");
    assert_eq!(store.backup(Path::new(BACKUP)).expect("taken").faults, Vec::<String>::new());
    whole(&machine);
    // Into a new backup it goes as it is found.
    let elsewhere = Path::new("/safe/other");
    let taken = store.backup(elsewhere).expect("taken");
    assert_eq!(taken.faults.len(), 1, "{taken:?}");
    assert!(taken.faults[0].contains("bytes instead of"), "{taken:?}");
    machine.vfs.unlink(&block(1)).expect("removed");
    let taken = store.backup(elsewhere).expect("taken");
    assert!(taken.faults.len() == 1 && taken.faults[0].contains("it is not in it"), "{taken:?}");
    let check = verify_backup(&machine.vfs, elsewhere).expect("readable");
    assert_eq!((check.findings, check.faults.len()), (Vec::new(), 2));
    // The newest snapshot that lacks nothing may be all that there is of the block.
    store.backup(Path::new(BACKUP)).expect("taken");
    let keys =
        machine.vfs.paths().into_iter().filter(|path| path.to_string_lossy().starts_with("/data/t/2/keys-"));
    keys.for_each(|path| machine.vfs.unlink(&path).expect("removed"));
    for _ in 0..2 {
        let taken = store.backup(Path::new(BACKUP)).expect("taken");
        assert!(taken.tenants == 1 && taken.faults.len() == 1, "{taken:?}");
    }
    let pruned = prune_backup(&machine.vfs, &*machine.clock, Path::new(BACKUP), 1, None).expect("pruned");
    assert_eq!(pruned.snapshots, [1, 2, 4], "3 is whole, 5 is the newest");
}

#[test]
fn every_damaged_file_of_a_backup_is_named_with_the_snapshots_that_need_it() {
    let machine = Machine::new();
    let store = store(&machine);
    store.backup(Path::new(BACKUP)).expect("taken");
    write(&store, "other", 5);
    store.backup(Path::new(BACKUP)).expect("taken");
    drop(store);
    let files: Vec<_> =
        machine.vfs.paths().into_iter().filter(|path| path.starts_with("/safe/backup/files")).collect();
    assert!(files.len() >= 10, "{files:?}");
    for path in files {
        for damage in 0..3 {
            let disk = machine.vfs.snapshot();
            let bytes = disk.read_file(&path).expect("there");
            match damage {
                0 => disk.corrupt(&path, bytes.len() as u64 / 2, 1).expect("damaged"),
                1 => disk.write_file(&path, &bytes[..bytes.len() - 1]).expect("cut"),
                _ => disk.unlink(&path).expect("removed"),
            }
            let check = verify_backup(&disk, Path::new(BACKUP)).expect("readable");
            let named: Vec<_> = check.findings.iter().filter(|finding| finding.path == path).collect();
            assert!(matches!(&named[..], [one] if !one.snapshots.is_empty()), "{path:?} {damage}: {check:?}");
            assert_eq!(check.findings.len(), 1, "{check:?}");
        }
    }
}

#[test]
fn directories_that_are_no_backup_say_so_and_are_left_alone() {
    let machine = Machine::new();
    drop(store(&machine));
    let (vfs, clock) = (&machine.vfs, &*machine.clock);
    let backup = |to: &str| annals::backup(vfs, clock, Path::new(ROOT), Path::new(to));
    vfs.make_dirs(["/safe/full", "/safe/empty"]);
    vfs.write_file("/safe/full/letter", b"dear").expect("put");
    let before = vfs.paths();
    assert!(matches!(backup("/safe/full"), Err(BackupError::NotABackup { .. })));
    assert!(matches!(backup(ROOT), Err(BackupError::NotABackup { .. })));
    assert!(matches!(verify_backup(vfs, Path::new("/safe/empty")), Err(BackupError::Empty { .. })));
    assert!(matches!(snapshots(vfs, Path::new("/nowhere")), Err(BackupError::Io { .. })));
    let nowhere = annals::backup(vfs, clock, Path::new("/nowhere"), Path::new(BACKUP));
    assert!(matches!(nowhere, Err(BackupError::NoStore { .. })));
    assert_eq!(vfs.paths(), before);
    backup("/safe/empty").expect("taken");
}

#[test]
fn a_backup_takes_one_store_only_and_notices_one_that_was_put_back() {
    let machine = Machine::new();
    let store = store(&machine);
    let earlier = machine.vfs.snapshot();
    write(&store, "acme", 3);
    tenant(&store, "acme").flush().expect("flushed");
    take(&machine);
    drop(store);
    let backup =
        |root: &str| annals::backup(&machine.vfs, &*machine.clock, Path::new(root), Path::new(BACKUP));
    let files = earlier.paths();
    for path in machine.vfs.paths().iter().filter(|path| path.starts_with(ROOT)) {
        machine.vfs.unlink(path).expect("removed");
    }
    for path in files.iter().filter(|path| path.starts_with(ROOT)) {
        machine.vfs.write_file(path, &earlier.read_file(path).expect("there")).expect("put");
    }
    assert!(matches!(backup(ROOT), Err(BackupError::PutBack { .. })));
    let vfs = std::sync::Arc::new(machine.vfs.clone());
    let (clock, entropy) = (machine.clock.clone(), machine.entropy.clone());
    drop(Annals::open(vfs, clock, entropy, Path::new("/second"), machine.options.clone()).expect("opens"));
    assert!(matches!(backup("/second"), Err(BackupError::OtherStore { .. })));
    whole(&machine);
}

#[test]
fn a_damaged_snapshot_keeps_everything_from_being_removed_and_later_ones_are_taken() {
    let machine = Machine::new();
    let store = store(&machine);
    store.backup(Path::new(BACKUP)).expect("taken");
    write(&store, "acme", 3);
    store.backup(Path::new(BACKUP)).expect("taken");
    let first = Path::new(BACKUP).join("snapshot-00000001");
    let half = machine.vfs.read_file(&first).expect("there").len() as u64 / 2;
    machine.vfs.corrupt(&first, 60, 1).expect("damaged");
    whole(&machine);
    machine.vfs.corrupt(&first, half + 60, 1).expect("damaged");
    let listed = snapshots(&machine.vfs, Path::new(BACKUP)).expect("listed");
    assert!(listed[0].damaged.is_some() && listed[1].damaged.is_none());
    let prune = || prune_backup(&machine.vfs, &*machine.clock, Path::new(BACKUP), 1, None);
    assert!(matches!(prune(), Err(BackupError::Unreadable { .. })));
    assert_eq!(store.backup(Path::new(BACKUP)).expect("taken").number, 3);
    let check = verify_backup(&machine.vfs, Path::new(BACKUP)).expect("readable");
    assert!(matches!(&check.findings[..], [one] if one.path == first), "{check:?}");
    machine.vfs.unlink(&first).expect("removed");
    assert_eq!(prune().expect("pruned").snapshots, [2]);
    whole(&machine);
}

#[test]
fn old_snapshots_are_pruned_with_what_only_they_need() {
    let machine = Machine::new();
    let store = store(&machine);
    for round in 0..4 {
        write(&store, "acme", 10 + round);
        tenant(&store, "acme").flush().expect("flushed");
        store.settle().expect("settled");
        store.backup(Path::new(BACKUP)).expect("taken");
    }
    let files = || machine.vfs.paths().iter().filter(|path| path.starts_with("/safe/backup/files")).count();
    let before = files();
    let pruned = prune_backup(&machine.vfs, &*machine.clock, Path::new(BACKUP), 2, None).expect("pruned");
    assert_eq!((pruned.snapshots, pruned.erased), (vec![1, 2], Vec::new()));
    assert_eq!(files() as u64, before as u64 - pruned.files);
    assert!(pruned.files >= 4);
    whole(&machine);
    let needed: u64 =
        snapshots(&machine.vfs, Path::new(BACKUP)).expect("listed").iter().map(|s| s.new_bytes).sum();
    let there: u64 = machine
        .vfs
        .files()
        .iter()
        .filter(|(path, _)| path.starts_with("/safe/backup/files"))
        .map(|(_, bytes)| bytes)
        .sum();
    assert_eq!(needed, there);
    let again = prune_backup(&machine.vfs, &*machine.clock, Path::new(BACKUP), 0, None).expect("pruned");
    assert_eq!(again.snapshots, [3], "one is always kept");
    whole(&machine);
}

#[test]
fn files_of_erased_tenants_leave_a_backup_and_no_key_was_ever_in_it() {
    let machine = Machine::new();
    let store = store(&machine);
    store.backup(Path::new(BACKUP)).expect("taken");
    let secret: Vec<Vec<u8>> = machine
        .vfs
        .paths()
        .into_iter()
        .filter(|path| path.starts_with("/data/keys"))
        .map(|path| machine.vfs.read_file(path).expect("there"))
        .collect();
    assert_eq!(secret.len(), 2);
    for path in machine.vfs.paths().iter().filter(|path| path.starts_with("/safe")) {
        let bytes = machine.vfs.read_file(path).expect("there");
        for key in &secret {
            assert!(!bytes.windows(32).any(|window| window == &key[key.len() - 32..]), "{path:?}");
        }
    }
    store.erase_tenant(&id("acme")).expect("erased");
    let vfs = std::sync::Arc::new(machine.vfs.clone());
    let keys = FileKeyStore::new(vfs, Path::new("/data/keys"), Path::new("/data/tmp"));
    let prune = |keep| prune_backup(&machine.vfs, &*machine.clock, Path::new(BACKUP), keep, Some(&keys));
    let pruned = prune(5).expect("pruned");
    assert_eq!((pruned.snapshots, pruned.erased), (Vec::new(), vec![id("acme")]));
    let left = machine.vfs.paths();
    assert!(!left.iter().any(|path| path.to_string_lossy().contains("/files/1-")), "{left:?}");
    whole(&machine);
    let listed = snapshots(&machine.vfs, Path::new(BACKUP)).expect("listed");
    assert_eq!(listed[0].tenants, [id("other")]);
    assert_eq!(prune(5).expect("pruned").erased, []);
    // Another tenant of that name is another tenant.
    write(&store, "acme", 1);
    store.backup(Path::new(BACKUP)).expect("taken");
    assert_eq!(prune(5).expect("pruned").erased, []);
    assert_eq!(snapshots(&machine.vfs, Path::new(BACKUP)).expect("listed")[1].tenants.len(), 2);
    whole(&machine);
}

#[test]
fn tenants_that_are_not_sealed_are_taken_too() {
    let machine = Machine::new();
    let machine = Machine {
        options: annals::Options { encryption: Encryption::None, ..machine.options.clone() },
        ..machine
    };
    let store = store(&machine);
    assert_eq!(store.backup(Path::new(BACKUP)).expect("taken").tenants, 2);
    whole(&machine);
}
