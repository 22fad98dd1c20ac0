//! Full disks: by bytes, by inodes, at a write or at a sync.

use super::*;

fn full<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == ErrorKind::StorageFull)
}

#[test]
fn a_disk_without_inodes_refuses_what_needs_one_and_serves_the_rest() {
    let vfs = disk();
    vfs.set_inodes(2);
    let file = create(&vfs, "/d/x", b"0123");
    assert!(full(vfs.create(p("/d/y"))) && full(vfs.create_dir(p("/d/z"))));
    let refused = vfs.lock(p("/d/LOCK"), "me");
    assert!(matches!(refused, Err(LockError::Io { source, .. }) if source.kind() == ErrorKind::StorageFull));
    file.write_at(&[1; 10_000], 0).expect("bytes are not inodes");
    vfs.rename(p("/d/x"), p("/d/y")).expect("a rename needs no inode");

    vfs.unlink(p("/d/y")).expect("unlinked");
    assert!(full(vfs.create(p("/d/z"))), "a handle holds on to its inode");
    drop(file);
    let other = vfs.create(p("/d/z")).expect("there is an inode again");
    vfs.set_inodes(u64::MAX);
    vfs.create(p("/d/w")).expect("no limit");
    drop(other);
}

#[test]
fn a_rename_needs_room_for_a_name() {
    let vfs = disk();
    vfs.write_file("/d/x", &[0; 100]).expect("put");
    vfs.set_space(2 * 256 + 100);
    assert!(full(vfs.rename(p("/d/x"), p("/d/y"))));
    assert_eq!(vfs.paths(), [p("/d/x")]);
    vfs.set_space(3 * 256 + 100);
    vfs.rename(p("/d/x"), p("/d/y")).expect("there is room");
}

#[test]
fn late_allocation_fails_at_the_sync_and_loses_what_was_unsynced() {
    for (effect, seen) in [(SimFailedSync::KeepsBytes, 1_000), (SimFailedSync::RevertsBytes, 10)] {
        let vfs = disk();
        vfs.set_failed_sync(effect);
        vfs.set_late_allocation(true);
        vfs.set_space(2 * 256 + 100);
        let file = create(&vfs, "/d/x", &[1; 10]);
        file.sync().expect("fits");
        vfs.sync_dir(p("/d")).expect("synced");
        file.write_at(&[2; 1_000], 0).expect("nobody has looked for space yet");
        assert!(full(file.sync()));
        assert_eq!(vfs.read_file("/d/x").expect("there").len(), seen);
        vfs.power_cut(SimCut::Everything);
        assert_eq!(vfs.read_file("/d/x").expect("there"), [1; 10]);
    }
}

#[test]
fn budgets_go_with_a_snapshot_and_through_a_cut() {
    let vfs = disk();
    vfs.set_inodes(1);
    vfs.set_space(600);
    let copy = vfs.snapshot();
    copy.power_cut(SimCut::Everything);
    assert!(full(copy.create(p("/d/x"))));
    copy.set_inodes(2);
    let file = copy.create(p("/d/x")).expect("an inode");
    assert!(full(file.write_at(&[0; 600], 0)));
}
