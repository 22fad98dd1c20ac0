//! Which places have seen a call fail, and what is still open.

use super::*;

#[test]
fn a_site_is_counted_where_the_caller_stands_also_through_a_trait_object() {
    let vfs = disk();
    let sites = SimSites::new();
    vfs.count_sites(&sites);
    let object: &dyn Vfs = &vfs;
    let file = object.create(p("/d/x")).expect("created");
    let line = line!() - 1;
    for _ in 0..3 {
        file.is_empty().expect("asked");
    }
    vfs.fail(SimFault::once(SimCalls::Any, 0, SimError::Io));
    assert!(object.list(p("/d")).is_err());

    let found = sites.sites();
    let seen: Vec<_> =
        found.iter().map(|site| (site.line - line, site.op, site.calls, site.failed)).collect();
    assert_eq!(seen, [(0, SimOp::Create, 1, 0), (3, SimOp::Len, 3, 0), (6, SimOp::List, 1, 1)]);
    assert!(found.iter().all(|site| site.file == file!()), "{found:?}");
    assert_eq!(found[0].to_string(), format!("{}:{line}:23 Create", file!()));
}

#[test]
fn errors_that_the_caller_asked_for_are_not_injected_and_a_full_disk_is() {
    let vfs = disk();
    let sites = SimSites::new();
    vfs.count_sites(&sites);
    let create = || vfs.create(p("/d/x"));
    let file = create().expect("created");
    assert!(create().is_err(), "it exists");
    vfs.set_crash_at(0);
    assert!(create().is_err(), "a crash is no error");
    vfs.process_crash();
    assert_eq!(sites.coverage(&["vfs/"]).0, 0);

    vfs.set_space(0);
    let other = vfs.snapshot();
    assert!(other.rename(p("/d/x"), p("/d/y")).is_err());
    assert!(other.create(p("/d/y")).is_err());
    assert_eq!(sites.coverage(&["vfs/"]).0, 2, "snapshots count along");
    let (failed, all, without) = sites.coverage(&["vfs/src/sim/tests/sites.rs"]);
    assert_eq!((failed, all), (2, 3));
    assert_eq!(without.iter().map(|site| (site.op, site.calls)).collect::<Vec<_>>(), [(SimOp::Create, 3)]);
    assert_eq!(sites.coverage(&["wal/src"]), (0, 0, vec![]));

    let elsewhere = SimSites::new();
    elsewhere.absorb(&sites);
    elsewhere.absorb(&sites);
    assert_eq!(elsewhere.coverage(&["vfs/"]).2[0].calls, 6);
    drop(file);
}

#[test]
fn publishing_is_counted_where_it_calls() {
    let vfs = SimVfs::new();
    vfs.make_dirs(["/tmp", "/b"]);
    let sites = SimSites::new();
    vfs.count_sites(&sites);
    for call in 0..10 {
        for error in SimError::all() {
            let vfs = vfs.snapshot();
            vfs.fail(SimFault::once(SimCalls::Any, call, error));
            let _ = publish(&vfs, b"bytes");
        }
    }
    // What is done about a rename that found no space may fail too.
    let vfs = vfs.snapshot();
    vfs.fail(SimFault::once(SimCalls::Of(SimOp::Rename), 0, SimError::NoSpace));
    vfs.fail(SimFault::once(SimCalls::Of(SimOp::Open), 1, SimError::Io));
    let _ = publish(&vfs, b"bytes");
    let (failed, all, without) = sites.coverage(&["vfs/src/publish.rs"]);
    assert!(failed >= 6 && failed + without.len() == all, "{failed}/{all}");
    // A draft that cannot be removed, or was left over, takes two faults, or a file.
    assert!(without.iter().all(|site| matches!(site.op, SimOp::Unlink | SimOp::Create)), "{without:?}");
}

#[test]
fn what_is_open_is_counted_until_it_is_dropped_or_the_machine_stops() {
    let vfs = disk();
    assert_eq!(vfs.open_handles(), 0);
    let file = create(&vfs, "/d/x", b"x");
    let again = vfs.open(p("/d/x")).expect("opened");
    let guard = vfs.lock(p("/d/LOCK"), "me").expect("free");
    assert_eq!(vfs.open_handles(), 3);
    drop((file, again));
    let map = vfs.map_sealed(p("/d/x")).expect("mapped");
    let clone = map.clone();
    assert_eq!(vfs.open_handles(), 2);
    drop(map);
    assert_eq!(vfs.open_handles(), 2, "a clone keeps the mapping");
    assert_eq!(vfs.snapshot().open_handles(), 0);
    drop(guard);
    vfs.unlink(p("/d/x")).expect("unlinked");
    assert_eq!(vfs.open_handles(), 1, "a mapping outlives the name");
    drop(clone);
    assert_eq!(vfs.open_handles(), 0);

    let file = create(&vfs, "/d/y", b"y");
    vfs.process_crash();
    assert_eq!(vfs.open_handles(), 0);
    drop(file);
    assert_eq!(vfs.open_handles(), 0);
}

#[test]
fn a_mapped_page_may_change_between_two_uses() {
    let vfs = disk();
    vfs.write_file("/d/x", b"abc").expect("put");
    let map = vfs.map_sealed(p("/d/x")).expect("mapped");
    let taken = || {
        let mut taken = Vec::new();
        map.copy(0..3, &mut taken).map(|()| taken).expect("held")
    };
    assert_eq!(taken(), b"abc");
    assert_eq!(vfs.corrupt_mapped("/d/x", 1, 0b11, 2).expect("a file"), 1);
    assert_eq!([taken(), taken(), taken(), taken()], [b"abc", b"abc", b"aac", b"aac"]);
    assert_eq!(vfs.read_file("/d/x").expect("there"), b"abc");
    assert_eq!(vfs.corrupt_mapped("/d/x", 0, 1, 0).expect("a file"), 0, "it changes once");
    assert_eq!(vfs.corrupt_mapped("/d/x", 3, 1, 0).expect("a file"), 0, "it is not that long");
}
