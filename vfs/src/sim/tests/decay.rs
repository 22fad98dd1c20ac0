//! Bad places on the disk: what reads, maps and writes make of them.

use super::*;

fn read(vfs: &SimVfs, path: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut into = vec![0; len];
    let count = vfs.open(p(path))?.read_at(&mut into, offset)?;
    into.truncate(count);
    Ok(into)
}

/// A durable file of ten digits.
fn digits() -> SimVfs {
    let vfs = disk();
    vfs.write_file("/d/x", b"0123456789").expect("put");
    vfs
}

fn at(bytes: std::ops::Range<u64>, rot: SimRot) -> SimDecay {
    SimDecay { bytes, ..SimDecay::of("/d/x", rot) }
}

#[test]
fn unreadable_bytes_fail_reads_and_maps_that_touch_them_for_ever() {
    let vfs = digits();
    let mapped = vfs.map_sealed(p("/d/x")).expect("mapped");
    vfs.decay(at(4..6, SimRot::Unreadable));
    for _ in 0..3 {
        for (offset, len) in [(0, 5), (5, 1), (3, 9)] {
            assert_eq!(read(&vfs, "/d/x", offset, len).map_err(|e| e.raw_os_error()), Err(Some(5)));
        }
        assert_eq!(read(&vfs, "/d/x", 0, 4).expect("good bytes"), b"0123");
        assert_eq!(read(&vfs, "/d/x", 6, 100).expect("good bytes"), b"6789");
        assert_eq!(vfs.map_sealed(p("/d/x")).map(|_| ()).map_err(|e| e.raw_os_error()), Err(Some(5)));
    }
    assert_eq!(mapped.to_vec().expect("held"), b"0123456789");
    vfs.power_cut(SimCut::Nothing);
    assert!(read(&vfs, "/d/x", 0, 10).is_err(), "a bad sector outlives a cut");
    vfs.clear_faults();
    assert_eq!(read(&vfs, "/d/x", 0, 10).expect("replaced"), b"0123456789");
}

#[test]
fn a_decay_counts_the_calls_that_touch_it_and_those_below_a_directory() {
    let vfs = digits();
    vfs.write_file("/d/y", b"y").expect("put");
    vfs.decay(SimDecay { path: "/d".into(), after: 1, times: 2, ..at(0..2, SimRot::Unreadable) });
    assert!(read(&vfs, "/d/x", 5, 1).is_ok(), "it touches nothing");
    let answers: Vec<bool> =
        ["/d/x", "/d/y", "/d/x", "/d/x"].map(|path| read(&vfs, path, 0, 1).is_ok()).into();
    assert_eq!(answers, [true, false, false, true]);
}

#[test]
fn a_read_may_see_flipped_bits_or_an_older_version_while_the_disk_holds_the_right_one() {
    let vfs = digits();
    vfs.decay(SimDecay { times: 1, ..at(2..4, SimRot::Flipped { mask: 1 }) });
    assert_eq!(read(&vfs, "/d/x", 1, 4).expect("read"), b"1324");
    assert_eq!(read(&vfs, "/d/x", 1, 4).expect("read"), b"1234");
    vfs.decay(SimDecay { times: 1, ..at(0..1, SimRot::Flipped { mask: 1 }) });
    let mapped = vfs.map_sealed(p("/d/x")).and_then(|mapped| mapped.to_vec());
    assert_eq!(mapped.expect("mapped"), b"1123456789");

    let file = create(&vfs, "/d/y", b"old");
    vfs.decay(SimDecay { path: "/d/y".into(), ..at(1..5, SimRot::Stale) });
    file.write_at(b"newer", 0).expect("written");
    assert_eq!(read(&vfs, "/d/y", 0, 5).expect("read"), b"nld\0\0");
    vfs.clear_faults();
    assert_eq!(read(&vfs, "/d/y", 0, 5).expect("read"), b"newer");
}

#[test]
fn a_lost_write_is_seen_until_the_cache_is_gone() {
    for cut in [false, true] {
        let vfs = digits();
        let file = create(&vfs, "/d/y", b"0123456789");
        file.sync().expect("synced");
        vfs.sync_dir(p("/d")).expect("synced");
        vfs.decay(SimDecay { path: "/d/y".into(), times: 1, ..at(4..6, SimRot::Lost) });
        file.write_at(b"abcdefghij++", 0).expect("acknowledged");
        file.sync().expect("acknowledged");
        assert_eq!(vfs.read_file("/d/y").expect("there"), b"abcdefghij++");
        if cut {
            vfs.power_cut(SimCut::Everything);
        } else {
            vfs.drop_caches();
        }
        assert_eq!(vfs.read_file("/d/y").expect("there"), b"abcd45ghij++");
    }
}

#[test]
fn a_misdirected_write_damages_where_it_lands_and_lacks_where_it_should() {
    let vfs = digits();
    let file = create(&vfs, "/tmp-y", b"----------");
    file.sync().expect("synced");
    vfs.decay(SimDecay {
        path: "/tmp-y".into(),
        bytes: 0..u64::MAX,
        rot: SimRot::Misdirected { path: "/d/x".into(), offset: 7 },
        after: 1,
        times: 1,
    });
    file.write_at(b"a", 0).expect("passes");
    vfs.rename(p("/tmp-y"), p("/d/y")).expect("renamed");
    file.write_at(b"bcdef", 1).expect("acknowledged");
    file.sync().expect("acknowledged");
    vfs.sync_dir(p("/d")).expect("synced");
    vfs.sync_dir(p("/")).expect("synced");
    vfs.power_cut(SimCut::Nothing);
    assert_eq!(vfs.read_file("/d/y").expect("there"), b"a---------");
    assert_eq!(vfs.read_file("/d/x").expect("there"), b"0123456bcd", "it lands within the file");
}

#[test]
fn dropping_caches_keeps_what_is_still_to_be_written_and_shows_what_a_failed_sync_lost() {
    let vfs = disk();
    let file = create(&vfs, "/d/x", b"lost");
    vfs.fail(SimFault::once(SimCalls::Of(SimOp::Sync), 0, SimError::Io));
    assert!(file.sync().is_err());
    file.write_at(b"+", 4).expect("written");
    assert_eq!(vfs.read_file("/d/x").expect("there"), b"lost+");
    vfs.drop_caches();
    assert_eq!(vfs.read_file("/d/x").expect("there"), b"\0\0\0\0+");
}

#[test]
fn drawn_decays_are_of_every_kind_and_are_replayed_by_their_seeds() {
    let vfs = digits();
    vfs.write_file("/d/large", &[1; 100_000]).expect("put");
    let files = vfs.files();
    assert_eq!(files, [("/d/large".into(), 100_000), ("/d/x".into(), 10)]);
    let mut kinds = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let drawn = SimDecay::drawn(&files, seed).expect("there are files");
        assert_eq!(Some(&drawn), SimDecay::drawn(&files, seed).as_ref());
        let len = files.iter().find(|(path, _)| *path == drawn.path).expect("one of them").1;
        assert!(drawn.bytes.start < len && drawn.bytes.end - drawn.bytes.start <= 8 * 512, "{drawn:?}");
        kinds.insert(format!("{:?}", drawn.rot).split(' ').next().map(str::to_owned));
        vfs.decay(drawn);
    }
    assert_eq!(kinds.len(), 5);
    assert_eq!(SimDecay::drawn(&[], 1), None);
}
