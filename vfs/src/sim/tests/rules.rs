//! What the disk as a judge calls a violation, and what it does not.

use super::*;

/// Blocks lie in `b`, segments in `w`, manifests are `m/<generation>` and `k/<generation>`, and name one file per line: as
/// one that comes before after `<`, as a family after `*`.
struct Rules;

impl SimRules for Rules {
    fn role(&self, path: &Path) -> SimRole {
        match path.parent().and_then(Path::to_str) {
            Some("/w") => SimRole::Published,
            Some("/b") => SimRole::Sealed,
            Some("/m" | "/k") => SimRole::Manifest,
            _ => SimRole::Scratch,
        }
    }

    fn manifest(&self, path: &Path, bytes: &[u8]) -> Option<SimManifest> {
        let generation = path.file_name()?.to_str()?.parse().ok()?;
        let lines: Vec<&str> = std::str::from_utf8(bytes).ok()?.lines().collect();
        let after =
            |mark| lines.iter().filter_map(move |line| line.strip_prefix(mark)).map(PathBuf::from).collect();
        let names = lines.iter().filter(|line| line.starts_with('/')).map(PathBuf::from).collect();
        let (family, families) = (path.parent()?.to_owned(), after('*'));
        Some(SimManifest { family, generation, names, after: after('<'), families })
    }
}

fn judged() -> SimVfs {
    let vfs = SimVfs::new();
    vfs.make_dirs(["/tmp", "/b", "/w", "/m", "/k"]);
    vfs.set_rules(Arc::new(Rules));
    vfs
}

/// Steps of a publication, any of which may be left out.
struct Steps {
    sync: bool,
    sync_dir: bool,
}

const ALL: Steps = Steps { sync: true, sync_dir: true };

fn put(vfs: &SimVfs, path: &str, bytes: &[u8], steps: Steps) -> Box<dyn File> {
    let file = create(vfs, "/tmp/x", bytes);
    if steps.sync {
        file.sync().expect("synced");
    }
    vfs.rename(p("/tmp/x"), p(path)).expect("renamed");
    if steps.sync_dir {
        vfs.sync_dir(p(path).parent().expect("has one")).expect("synced");
    }
    file
}

#[track_caller]
fn accused(vfs: &SimVfs, expected: &[&str]) {
    let violations = vfs.violations();
    assert_eq!(violations.len(), expected.len(), "{violations:#?}");
    for (found, expected) in violations.iter().zip(expected) {
        assert!(found.contains(expected), "{found} has no {expected}");
    }
}

#[test]
fn the_right_order_is_no_violation() {
    let vfs = judged();
    put(&vfs, "/b/1", b"block", ALL);
    put(&vfs, "/m/1", b"/b/1", ALL);
    put(&vfs, "/b/2", b"block", ALL);
    put(&vfs, "/m/2", b"/b/2", ALL);
    vfs.unlink(p("/b/1")).expect("unlinked");
    vfs.unlink(p("/m/1")).expect("unlinked");
    let segment = put(&vfs, "/w/1", b"header", ALL);
    segment.write_at(b"record", 6).expect("a segment may grow");
    segment.sync().expect("synced");
    vfs.process_crash();
    vfs.unlink(p("/w/1")).expect("unlinked");
    accused(&vfs, &[]);
}

#[test]
fn a_manifest_that_overtakes_a_file_it_names_is_a_violation() {
    for (sync, sync_dir, why) in
        [(true, false, "/b/1 has a name that is not durable"), (false, true, "/b/1 has unsynced bytes")]
    {
        let vfs = judged();
        let block = put(&vfs, "/b/1", b"block", Steps { sync, sync_dir });
        put(&vfs, "/m/1", b"/b/1", Steps { sync_dir: false, ..ALL });
        let before = vfs.violations().len();
        vfs.sync_dir(p("/m")).expect("synced");
        let violations = vfs.violations();
        assert_eq!(violations.len(), before + 1, "{violations:#?}");
        assert!(violations[before].contains("/m/1") && violations[before].contains(why), "{violations:#?}");
        drop(block);
    }
    let vfs = judged();
    put(&vfs, "/m/1", b"/b/none", ALL);
    accused(&vfs, &["/b/none does not exist"]);
}

#[test]
fn a_manifest_whose_blocks_lie_in_a_directory_that_may_vanish_is_a_violation() {
    let vfs = judged();
    vfs.create_dir(p("/b/sub")).expect("created");
    put(&vfs, "/b/sub/1", b"block", ALL);
    put(&vfs, "/m/1", b"/b/sub/1", ALL);
    accused(&vfs, &["/b/sub/1 lies in a directory whose name is not durable"]);
}

#[test]
fn a_file_that_lost_bytes_in_a_failed_sync_is_not_durable() {
    let vfs = judged();
    let file = create(&vfs, "/tmp/x", b"block");
    vfs.fail(SimFault::once(SimCalls::Of(SimOp::Sync), 0, SimError::Io));
    assert!(file.sync().is_err());
    vfs.process_crash();
    vfs.rename(p("/tmp/x"), p("/b/1")).expect("renamed");
    vfs.sync_dir(p("/b")).expect("synced");
    put(&vfs, "/m/1", b"/b/1", ALL);
    accused(&vfs, &["/b/1 lost bytes in a failed sync"]);
}

#[test]
fn what_the_newest_durable_manifest_names_must_not_be_unlinked() {
    let vfs = judged();
    put(&vfs, "/b/1", b"block", ALL);
    put(&vfs, "/m/1", b"/b/1", ALL);
    put(&vfs, "/m/2", b"", Steps { sync_dir: false, ..ALL });
    let early = vfs.snapshot();
    early.unlink(p("/b/1")).expect("unlinked");
    accused(&early, &["/b/1: unlinked although generation 1 of /m"]);

    // The cut decides which manifest is the newest.
    for (cut, expected) in [(SimCut::Nothing, 1), (SimCut::Everything, 0)] {
        let left = vfs.snapshot();
        left.power_cut(cut);
        left.unlink(p("/b/1")).expect("unlinked");
        assert_eq!(left.violations().len(), expected, "{cut:?}: {:?}", left.violations());
    }
    vfs.process_crash();
    vfs.sync_dir(p("/m")).expect("synced");
    vfs.unlink(p("/b/1")).expect("unlinked");
    accused(&vfs, &[]);
}

#[test]
fn a_file_whose_write_or_sync_failed_is_not_to_be_used_again() {
    for op in [SimOp::WriteAt, SimOp::Allocate, SimOp::Sync] {
        for done in [false, true] {
            let vfs = judged();
            let file = create(&vfs, "/tmp/x", b"x");
            vfs.fail(SimFault { done, ..SimFault::once(SimCalls::Of(op), 0, SimError::Io) });
            let failed = match op {
                SimOp::WriteAt => file.write_at(b"y", 0),
                SimOp::Allocate => file.allocate(100),
                _ => file.sync(),
            };
            assert!(failed.is_err());
            accused(&vfs, &[]);
            file.write_at(b"z", 0).expect("the disk lets it");
            file.sync().expect("the disk lets it");
            accused(
                &vfs,
                &["/tmp/x: written after call 3 failed on it", "/tmp/x: synced after call 3 failed on it"],
            );
            assert!(vfs.violations()[0].starts_with("call 4: "));
            vfs.unlink(p("/tmp/x")).expect("removing it is right");
            assert_eq!(vfs.violations().len(), 2);
            assert_eq!(vfs.snapshot().violations(), Vec::<String>::new());
        }
    }
}

#[test]
fn a_full_disk_is_a_failure_too() {
    let vfs = judged();
    let file = create(&vfs, "/tmp/x", b"x");
    vfs.set_space(0);
    assert!(file.write_at(b"yy", 0).is_err());
    vfs.set_space(u64::MAX);
    file.write_at(b"yy", 0).expect("there is space");
    accused(&vfs, &["written after call 3 failed"]);
}

#[test]
fn published_names_are_for_whole_files_and_sealed_files_do_not_change() {
    let vfs = judged();
    drop(create(&vfs, "/w/in-place", b"x"));
    accused(&vfs, &["/w/in-place: created under a published name"]);
    let unsynced = put(&vfs, "/w/unsynced", b"x", Steps { sync: false, sync_dir: true });
    drop(unsynced);
    let block = put(&vfs, "/b/1", b"x", ALL);
    block.write_at(b"y", 0).expect("the disk lets it");
    block.allocate(2).expect("the disk lets it");
    block.sync().expect("the disk lets it");
    accused(
        &vfs,
        &[
            "in-place",
            "/w/unsynced: renamed to a published name with unsynced",
            "published for good",
            "published for good",
        ],
    );
    vfs.rename(p("/b/1"), p("/tmp/quarantined")).expect("renamed");
    assert_eq!(vfs.violations().len(), 4);
}

#[test]
fn without_rules_nothing_is_recorded() {
    let vfs = disk();
    let file = create(&vfs, "/d/x", b"x");
    vfs.fail(SimFault::once(SimCalls::Of(SimOp::Sync), 0, SimError::Io));
    assert!(file.sync().is_err());
    file.sync().expect("the disk lets it");
    assert_eq!(vfs.violations(), Vec::<String>::new());
}

#[test]
fn a_family_that_a_manifest_names_may_go_on_and_must_not_end() {
    let vfs = judged();
    put(&vfs, "/m/1", b"*/k", ALL);
    accused(&vfs, &["/m/1: became durable although no /k is"]);
    let vfs = judged();
    put(&vfs, "/k/1", b"", ALL);
    put(&vfs, "/m/1", b"*/k", ALL);
    put(&vfs, "/k/2", b"", ALL);
    vfs.unlink(p("/k/1")).expect("unlinked");
    put(&vfs, "/m/2", b"*/k", ALL);
    accused(&vfs, &[]);
    vfs.unlink(p("/k/2")).expect("unlinked");
    accused(&vfs, &["/k/2: unlinked although generation 2 of /m"]);
}

#[test]
fn what_comes_before_a_manifest_may_go_after_it() {
    let vfs = judged();
    put(&vfs, "/b/1", b"block", ALL);
    put(&vfs, "/m/1", b"</b/1", ALL);
    vfs.unlink(p("/b/1")).expect("unlinked");
    accused(&vfs, &[]);
    put(&vfs, "/m/2", b"</b/2", ALL);
    accused(&vfs, &["/b/2 does not exist"]);
}
