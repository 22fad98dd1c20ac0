//! What the simulated disk promises to lose and to keep.

use std::cell::Cell;

use super::*;
use crate::{Draft, File, LockError, PublishError, Vfs};

mod cuts;
mod decay;
mod faults;
mod rules;
mod sites;
mod space;

fn p(path: &str) -> &Path {
    Path::new(path)
}

/// A durable directory `/d`.
fn disk() -> SimVfs {
    let vfs = SimVfs::new();
    vfs.make_dirs(["/d"]);
    vfs
}

fn create(vfs: &SimVfs, path: &str, bytes: &[u8]) -> Box<dyn File> {
    let file = vfs.create(p(path)).expect("created");
    file.write_at(bytes, 0).expect("written");
    file
}

#[test]
fn unsynced_bytes_and_names_vanish_and_synced_ones_survive() {
    let vfs = disk();
    let nameless = create(&vfs, "/d/nameless", b"synced bytes, unsynced name");
    nameless.sync().expect("synced");
    vfs.power_cut(SimCut::Nothing);
    assert_eq!(vfs.paths(), Vec::<PathBuf>::new());

    let file = create(&vfs, "/d/x", b"old");
    file.sync().expect("synced");
    vfs.sync_dir(p("/d")).expect("synced");
    file.write_at(b"new, longer", 0).expect("written");
    assert_eq!(vfs.read_file("/d/x").expect("there"), b"new, longer");
    vfs.power_cut(SimCut::Nothing);
    assert_eq!(vfs.read_file("/d/x").expect("there"), b"old");

    vfs.unlink(p("/d/x")).expect("unlinked");
    assert!(!vfs.exists("/d/x"));
    vfs.power_cut(SimCut::Nothing);
    assert!(vfs.exists("/d/x"), "an unlink is not durable by itself");
    vfs.unlink(p("/d/x")).expect("unlinked");
    vfs.sync_dir(p("/d")).expect("synced");
    vfs.power_cut(SimCut::Nothing);
    assert!(!vfs.exists("/d/x"));
}

#[test]
fn a_directory_lasts_once_its_parent_is_synced_and_not_before() {
    let vfs = disk();
    for synced in [false, true] {
        vfs.create_dir(p("/d/sub")).expect("created");
        create(&vfs, "/d/sub/x", b"x").sync().expect("synced");
        vfs.sync_dir(p("/d/sub")).expect("synced");
        if synced {
            vfs.sync_dir(p("/d")).expect("synced");
        }
        vfs.power_cut(SimCut::Nothing);
        assert_eq!(vfs.exists("/d/sub/x"), synced);
    }
}

#[test]
fn a_rename_without_sync_dir_is_undone_and_never_loses_the_file() {
    let vfs = disk();
    vfs.make_dirs(["/e"]);
    vfs.write_file("/d/x", b"x").expect("put");
    vfs.rename(p("/d/x"), p("/e/y")).expect("renamed");
    assert_eq!(vfs.paths(), [p("/e/y")]);

    let undone = vfs.snapshot();
    undone.power_cut(SimCut::Nothing);
    assert_eq!(undone.paths(), [p("/d/x")]);

    // The directory that lost the name forgets it only when the other has it for good.
    let lost = vfs.snapshot();
    lost.sync_dir(p("/d")).expect("synced");
    lost.snapshot().power_cut(SimCut::Nothing);
    let kept = lost.snapshot();
    kept.power_cut(SimCut::Nothing);
    assert_eq!(kept.paths(), [p("/d/x")]);
    lost.sync_dir(p("/e")).expect("synced");
    lost.power_cut(SimCut::Nothing);
    assert_eq!(lost.paths(), [p("/e/y")]);

    vfs.sync_dir(p("/e")).expect("synced");
    let both = vfs.snapshot();
    both.power_cut(SimCut::Nothing);
    assert_eq!(both.paths(), [p("/d/x"), p("/e/y")]);
    vfs.sync_dir(p("/d")).expect("synced");
    vfs.power_cut(SimCut::Nothing);
    assert_eq!(vfs.paths(), [p("/e/y")]);
    assert_eq!(vfs.read_file("/e/y").expect("there"), b"x");
}

#[test]
fn handles_and_locks_of_before_a_cut_are_dead() {
    let vfs = disk();
    let file = create(&vfs, "/d/x", b"x");
    vfs.sync_dir(p("/d")).expect("synced");
    let guard = vfs.lock(p("/d/LOCK"), "me").expect("free");
    for cut in [true, false] {
        if cut {
            vfs.power_cut(SimCut::Everything);
        } else {
            vfs.process_crash();
        }
        assert_eq!(file.write_at(b"y", 0).map_err(|e| e.raw_os_error()), Err(Some(5)));
        assert!(file.sync().is_err() && file.len().is_err() && file.read_at(&mut [0], 0).is_err());
        assert!(!vfs.is_locked(p("/d/LOCK")).expect("asked"));
    }
    let other = vfs.lock(p("/d/LOCK"), "other").expect("free");
    drop(guard);
    assert!(vfs.is_locked(p("/d/LOCK")).expect("asked"), "a dead guard releases nothing");
    let held = vfs.lock(p("/d/LOCK"), "third").expect_err("held");
    assert!(matches!(&held, LockError::Held { holder, .. } if holder == "other"), "{held}");
    drop(other);
    assert!(!vfs.is_locked(p("/d/LOCK")).expect("asked"));
}

#[test]
fn a_process_crash_keeps_what_a_later_cut_loses() {
    let vfs = disk();
    let file = create(&vfs, "/d/x", b"x");
    vfs.process_crash();
    drop(file);
    assert_eq!(vfs.read_file("/d/x").expect("there"), b"x");
    vfs.power_cut(SimCut::Nothing);
    assert!(!vfs.exists("/d/x"));
}

#[test]
fn a_failed_sync_loses_its_bytes_although_a_later_one_succeeds() {
    for (effect, seen) in [
        (SimFailedSync::KeepsBytes, b"lost, kept".as_slice()),
        (SimFailedSync::RevertsBytes, b"base, kept".as_slice()),
    ] {
        let vfs = disk();
        vfs.set_failed_sync(effect);
        let file = create(&vfs, "/d/x", b"base");
        file.sync().expect("synced");
        vfs.sync_dir(p("/d")).expect("synced");
        file.write_at(b"lost", 0).expect("written");
        vfs.fail(SimFault::once(SimCalls::Of(SimOp::Sync), 0, SimError::Io));
        assert_eq!(file.sync().map_err(|e| e.raw_os_error()), Err(Some(5)));
        file.write_at(b", kept", 4).expect("written");
        file.sync().expect("the second sync has nothing to complain of");
        assert_eq!(vfs.read_file("/d/x").expect("there"), seen);
        vfs.power_cut(SimCut::Everything);
        assert_eq!(vfs.read_file("/d/x").expect("there"), b"base, kept");
    }
}

#[test]
fn faults_strike_the_call_they_count_to_once_or_for_ever() {
    let vfs = disk();
    let file = create(&vfs, "/d/x", b"0123");
    vfs.fail(SimFault::once(SimCalls::Of(SimOp::WriteAt), 1, SimError::NoSpace));
    file.write_at(b"a", 0).expect("the first passes");
    let error = file.write_at(b"bcde", 0).expect_err("the second fails");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(vfs.read_file("/d/x").expect("there"), b"bc23", "half of it is there");
    file.write_at(b"c", 0).expect("the third passes");

    vfs.fail(SimFault::forever(SimCalls::Any, 1, SimError::Io));
    file.len().expect("one passes");
    for _ in 0..3 {
        assert!(file.len().is_err() && vfs.list(p("/d")).is_err() && vfs.create(p("/d/y")).is_err());
    }
    vfs.clear_faults();
    assert_eq!(file.len().expect("cleared"), 4);

    let done = SimFault { done: true, ..SimFault::once(SimCalls::Mutating, 0, SimError::Io) };
    vfs.fail(done);
    assert!(vfs.rename(p("/d/x"), p("/d/z")).is_err());
    assert_eq!(vfs.paths(), [p("/d/z")], "an error is no proof that nothing happened");
    vfs.fail(done);
    assert!(vfs.create(p("/d/w")).is_err());
    assert!(vfs.exists("/d/w"));
    vfs.fail(done);
    assert!(vfs.lock(p("/d/LOCK"), "me").is_err());
    assert!(!vfs.is_locked(p("/d/LOCK")).expect("asked"));
}

#[test]
fn a_crash_point_stops_the_machine_until_it_is_switched_on() {
    let vfs = disk();
    let file = create(&vfs, "/d/x", b"old!");
    vfs.set_crash_at(1);
    file.sync().expect("one call passes");
    let error = file.write_at(b"new!", 0).expect_err("stopped");
    assert!(SimCrash::caused(&error) && vfs.crashed());
    assert!(SimCrash::caused(&vfs.list(p("/d")).expect_err("reads stop too")));
    vfs.process_crash();
    assert!(!vfs.crashed());
    assert_eq!(vfs.read_file("/d/x").expect("there"), b"old!");

    let file = create(&vfs, "/d/y", b"old!");
    vfs.set_crash_within(0);
    assert!(file.write_at(b"new!", 0).is_err());
    vfs.process_crash();
    assert_eq!(vfs.read_file("/d/y").expect("there"), b"ned!");
    vfs.set_crash_within(0);
    assert!(vfs.unlink(p("/d/y")).is_err());
    vfs.process_crash();
    assert!(!vfs.exists("/d/y"), "the call was done, unseen");
}

#[test]
fn a_full_disk_refuses_and_recovers() {
    let vfs = disk();
    // The root is free of charge; the directory is not.
    vfs.set_space(2 * 256 + 10);
    let file = create(&vfs, "/d/x", b"0123");
    assert_eq!(file.write_at(b"abcdefghij", 4).map_err(|e| e.kind()), Err(ErrorKind::StorageFull));
    assert_eq!(vfs.read_file("/d/x").expect("there"), b"0123abcdef", "what fits is there");
    file.write_at(b"X", 0).expect("overwriting needs no space");
    assert_eq!(file.allocate(11).map_err(|e| e.kind()), Err(ErrorKind::StorageFull));
    assert!(vfs.create(p("/d/y")).is_err() && vfs.create_dir(p("/d/z")).is_err());
    assert!(matches!(vfs.lock(p("/d/LOCK"), "me"), Err(LockError::Io { .. })));

    vfs.set_space(4 * 256 + 10);
    let other = create(&vfs, "/d/y", b"");
    other.allocate(200).expect("there is space again");
    assert!(file.allocate(200).is_err());
    vfs.unlink(p("/d/y")).expect("unlinking needs no space");
    assert!(file.allocate(200).is_err(), "a handle holds on to its space");
    drop(other);
    file.allocate(200).expect("freed");
    vfs.set_space(u64::MAX);
    file.allocate(1 << 20).expect("no limit");
}

#[test]
fn flipped_bits_are_read_and_stay_and_mappings_do_not_see_them() {
    let vfs = disk();
    vfs.write_file("/d/x", b"abc").expect("put");
    let mapped = vfs.map_sealed(p("/d/x")).expect("mapped");
    vfs.corrupt("/d/x", 1, 0b11).expect("in range");
    let both = (mapped.to_vec().expect("held"), vfs.read_file("/d/x").expect("there"));
    assert_eq!((&*both.0, &*both.1), (b"abc".as_slice(), b"aac".as_slice()));
    vfs.power_cut(SimCut::Nothing);
    assert_eq!(vfs.read_file("/d/x").expect("there"), b"aac");
    assert!(vfs.corrupt("/d/x", 3, 1).is_err());
}

#[test]
#[should_panic(expected = "mapped as sealed")]
fn writing_to_a_mapped_file_is_caught() {
    let vfs = disk();
    let file = create(&vfs, "/d/x", b"x");
    let _mapped = vfs.map_sealed(p("/d/x")).expect("mapped");
    let _ = file.write_at(b"y", 0);
}

#[test]
fn a_snapshot_and_its_origin_go_their_own_ways() {
    let vfs = disk();
    let file = create(&vfs, "/d/x", &[1; 10_000]);
    let copy = vfs.snapshot();
    file.write_at(&[2; 10], 5_000).expect("written");
    vfs.unlink(p("/d/x")).expect("unlinked");
    assert_eq!(copy.read_file("/d/x").expect("there"), [1; 10_000]);
    assert_eq!(copy.calls(), 0);
    copy.power_cut(SimCut::Nothing);
    assert!(!copy.exists("/d/x"), "what was pending is pending in the copy");
}

#[test]
fn the_trace_names_each_mutating_call() {
    let vfs = disk();
    let file = create(&vfs, "/d/x", b"abc");
    file.sync().expect("synced");
    let _ = file.len();
    vfs.rename(p("/d/x"), p("/d/y")).expect("renamed");
    let calls: Vec<_> = vfs.take_trace().into_iter().map(|call| (call.op, call.path, call.len)).collect();
    assert_eq!(
        calls,
        [
            (SimOp::Create, "/d/x".into(), 0),
            (SimOp::WriteAt, "/d/x".into(), 3),
            (SimOp::Sync, "/d/x".into(), 0),
            (SimOp::Rename, "/d/y".into(), 0),
        ]
    );
    assert_eq!((vfs.calls(), vfs.trace().len()), (4, 0));
}

#[test]
fn each_kind_of_cut_leaves_what_its_name_says() {
    let base = vec![b'o'; 2_000];
    let new = vec![b'n'; 3_000];
    let vfs = disk();
    vfs.write_file("/d/x", &base).expect("put");
    let file = create(&vfs, "/d/y", &new);
    file.sync().expect("synced");
    vfs.rename(p("/d/x"), p("/d/z")).expect("renamed");
    let grown = create(&vfs, "/d/g", &new);
    let after = |cut| {
        let copy = vfs.snapshot();
        copy.power_cut(cut);
        copy
    };
    assert_eq!(after(SimCut::Nothing).paths(), [p("/d/x")]);
    assert_eq!(after(SimCut::BytesOnly).paths(), [p("/d/x")]);
    let all = after(SimCut::Everything);
    assert_eq!(all.paths(), [p("/d/g"), p("/d/y"), p("/d/z")]);
    assert_eq!(all.read_file("/d/g").expect("there"), new);
    let lengths = after(SimCut::LengthsOnly);
    assert_eq!(lengths.read_file("/d/g").expect("there"), [0; 3_000]);
    assert_eq!(lengths.read_file("/d/y").expect("there"), new, "synced bytes always survive");

    let mut prefixes: Vec<_> = (0..64).map(|seed| after(SimCut::Prefix { seed }).paths()).collect();
    prefixes.sort();
    prefixes.dedup();
    // Nothing; y; z; g without and with its bytes.
    assert_eq!(prefixes.len(), 4, "{prefixes:?}");
    drop(grown);
}

#[test]
fn a_torn_cut_mixes_old_and_new_sectors_and_is_replayed_by_its_seed() {
    let vfs = disk();
    vfs.write_file("/d/old", &[b'o'; 8 * 512]).expect("put");
    let file = create(&vfs, "/d/x", &[b'o'; 8 * 512]);
    file.sync().expect("synced");
    vfs.sync_dir(p("/d")).expect("synced");
    file.write_at(&[b'n'; 8 * 512], 0).expect("written");
    let (mut mixed, mut within_sector) = (0, 0);
    for seed in 0..100 {
        let torn = |vfs: &SimVfs| {
            let copy = vfs.snapshot();
            copy.power_cut(SimCut::Torn { seed });
            copy.read_file("/d/x").expect("there")
        };
        let bytes = torn(&vfs);
        assert_eq!(bytes, torn(&vfs));
        assert!(bytes.len() == 8 * 512 && bytes.iter().all(|byte| b"on".contains(byte)));
        mixed += u32::from(bytes.contains(&b'o') && bytes.contains(&b'n'));
        within_sector += u32::from(bytes.chunks(512).any(|sector| sector[0] != sector[511]));
    }
    assert!(mixed > 20 && within_sector > 5, "{mixed} {within_sector}");
}

/// Cuts at every call, before it and within it, with every policy, and hands over what is left.
fn cut_everywhere(base: &SimVfs, work: impl Fn(&SimVfs) -> io::Result<()>, check: impl Fn(&SimVfs, &str)) {
    let clean = base.snapshot();
    work(&clean).expect("without faults it works");
    for call in 0..clean.calls() {
        for within in [false, true] {
            let crashed = base.snapshot();
            if within {
                crashed.set_crash_within(call);
            } else {
                crashed.set_crash_at(call);
            }
            assert!(SimCrash::caused(&work(&crashed).expect_err("it stops")));
            for seed in 0..20 {
                for policy in SimCut::all(seed) {
                    let left = crashed.snapshot();
                    left.power_cut(policy);
                    check(&left, &format!("call {call}, within {within}, {policy:?}"));
                }
            }
        }
    }
    for policy in SimCut::all(1) {
        let done = clean.snapshot();
        done.power_cut(policy);
        check(&done, "done");
    }
}

/// Publishes `/b/x` by way of `/tmp/x`.
fn publish(vfs: &SimVfs, bytes: &[u8]) -> Result<(), PublishError> {
    let draft = Draft { draft: p("/tmp/x").into(), directory: p("/b").into(), name: "x".into(), bytes };
    crate::publish(vfs, &[draft])
}

#[test]
fn a_published_file_is_whole_or_absent_after_a_cut_at_any_call() {
    let base = SimVfs::new();
    base.make_dirs(["/tmp", "/b"]);
    let bytes: Vec<u8> = (0..5_000u32).map(|i| i as u8).collect();
    cut_everywhere(
        &base,
        |vfs| publish(vfs, &bytes).map_err(PublishError::into_source),
        |left, context| {
            if left.exists("/b/x") {
                assert_eq!(left.read_file("/b/x").expect("a file"), bytes, "{context}");
            }
            assert!(left.exists("/b/x") || context != "done", "what was reported done survives");
        },
    );
}

#[test]
fn a_publication_that_forgets_to_sync_is_found_out() {
    let base = SimVfs::new();
    base.make_dirs(["/tmp", "/b"]);
    let careless = |vfs: &SimVfs| {
        vfs.create(p("/tmp/x"))?.write_at(&[7; 2_000], 0)?;
        vfs.rename(p("/tmp/x"), p("/b/x"))?;
        vfs.sync_dir(p("/b"))
    };
    let torn = Cell::new(0);
    cut_everywhere(&base, careless, |left, _| {
        if left.read_file("/b/x").is_ok_and(|bytes| bytes != [7; 2_000]) {
            torn.set(torn.get() + 1);
        }
    });
    assert!(torn.get() > 0, "a planted bug must be seen");
}

#[test]
fn a_publication_that_fails_leaves_whole_or_nothing_and_a_left_over_draft_is_replaced() {
    let base = SimVfs::new();
    base.make_dirs(["/tmp", "/b"]);
    for call in 0..6 {
        for error in [SimError::Io, SimError::NoSpace] {
            let vfs = base.snapshot();
            vfs.fail(SimFault::once(SimCalls::Mutating, call, error));
            let published = publish(&vfs, b"bytes");
            assert!(published.is_err(), "call {call}");
            let nothing = matches!(published, Err(PublishError::Nothing(_)));
            assert!(!nothing || !vfs.exists("/b/x"), "call {call}: it says that nothing happened");
            assert!(!vfs.exists("/b/x") || vfs.read_file("/b/x").expect("a file") == b"bytes");
            assert!(call >= 3 || vfs.paths().is_empty(), "a failed draft is removed");
        }
    }
    base.write_file("/tmp/x", b"of an earlier try").expect("put");
    publish(&base, b"bytes").expect("published");
    assert_eq!(base.read_file("/b/x").expect("there"), b"bytes");
}

#[test]
fn a_long_run_of_files_does_not_pile_up() {
    let vfs = disk();
    for round in 0..2_000 {
        let path = format!("/d/{round}");
        create(&vfs, &path, b"x").sync().expect("synced");
        vfs.sync_dir(p("/d")).expect("synced");
        vfs.unlink(p(&path)).expect("unlinked");
        vfs.sync_dir(p("/d")).expect("synced");
    }
    assert!(vfs.disk.lock().inodes_mut().count() < 200);
}
