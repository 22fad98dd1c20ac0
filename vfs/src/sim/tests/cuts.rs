//! What each kind of cut leaves of names, lengths and bytes.

use std::collections::BTreeSet;

use super::*;

/// `/d/old` grew from one synced page to three, its first sector rewritten; `/d/new` is new; `/d/x` is now `/d/z`.
fn pending() -> SimVfs {
    let vfs = disk();
    vfs.write_file("/d/x", &[b'x'; 4096]).expect("put");
    let old = create(&vfs, "/d/old", &[b'o'; 4096]);
    old.sync().expect("synced");
    vfs.sync_dir(p("/d")).expect("synced");
    old.write_at(&[b'n'; 512], 0).expect("written");
    old.write_at(&[b'n'; 8192], 4096).expect("written");
    drop(create(&vfs, "/d/new", &[b'n'; 4096]));
    vfs.rename(p("/d/x"), p("/d/z")).expect("renamed");
    vfs
}

fn after(vfs: &SimVfs, cut: SimCut) -> SimVfs {
    let copy = vfs.snapshot();
    copy.power_cut(cut);
    copy
}

fn bytes(vfs: &SimVfs, path: &str) -> Vec<u8> {
    vfs.read_file(path).expect("there")
}

#[test]
fn all_cuts_differ_and_are_replayed_by_their_seeds() {
    let vfs = pending();
    let left = |cut| {
        let left = after(&vfs, cut);
        left.paths()
            .into_iter()
            .map(|path| (bytes(&left, path.to_str().expect("UTF-8")), path))
            .collect::<Vec<_>>()
    };
    let mut seen = BTreeSet::new();
    for seed in 0..30 {
        for cut in SimCut::all(seed) {
            assert_eq!(left(cut), left(cut), "{cut:?}");
            seen.insert((format!("{cut:?}").split(' ').next().map(str::to_owned), left(cut)));
            assert!(cut.seed().is_none_or(|drawn| drawn == seed), "{cut:?}");
        }
    }
    let states: BTreeSet<_> = seen.iter().map(|(_, state)| state).collect();
    assert!(states.len() > 60, "{} states", states.len());
    let kinds: BTreeSet<_> = seen.iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds.len(), SimCut::all(0).len());
}

#[test]
fn a_suffix_keeps_what_came_last_without_what_came_first() {
    let vfs = disk();
    let (first, second) = (create(&vfs, "/d/a", b"first"), create(&vfs, "/d/b", b"second"));
    let seen: BTreeSet<_> = (0..40).map(|seed| after(&vfs, SimCut::Suffix { seed }).paths()).collect();
    assert!(seen.contains(&vec![p("/d/b").to_owned()]), "{seen:?}");
    assert!(!seen.contains(&vec![p("/d/a").to_owned()]), "the first alone is no suffix");
    drop((first, second));
}

#[test]
fn grown_space_holds_zeros_noise_or_bytes_of_other_files_and_nothing_synced_changes() {
    let vfs = pending();
    let (mut zeros, mut noise, mut stale) = (0, 0, 0);
    for seed in 0..40 {
        let left = after(&vfs, SimCut::LengthsOverGarbage { seed });
        assert_eq!(left.paths(), [p("/d/new"), p("/d/old"), p("/d/z")]);
        let old = bytes(&left, "/d/old");
        assert_eq!((old.len(), &old[..4096]), (4096 + 8192, [b'o'; 4096].as_slice()));
        for sector in old[4096..].chunks(512) {
            zeros += u32::from(sector.iter().all(|byte| *byte == 0));
            stale += u32::from(sector.iter().all(|byte| *byte == b'x' || *byte == b'o'));
            noise += u32::from(sector.iter().collect::<BTreeSet<_>>().len() > 20);
        }
    }
    assert!(zeros > 20 && noise > 20 && stale > 20, "{zeros} {noise} {stale}");
}

#[test]
fn without_lengths_bytes_end_where_the_file_ended() {
    let left = after(&pending(), SimCut::WithoutLengths);
    assert_eq!(left.paths(), [p("/d/new"), p("/d/old"), p("/d/z")]);
    assert_eq!(bytes(&left, "/d/new"), b"");
    let old = bytes(&left, "/d/old");
    assert_eq!(
        (old.len(), &old[..512], &old[512..]),
        (4096, [b'n'; 512].as_slice(), [b'o'; 3584].as_slice())
    );
}

#[test]
fn names_only_changes_names_and_no_byte() {
    let left = after(&pending(), SimCut::NamesOnly);
    assert_eq!(left.paths(), [p("/d/new"), p("/d/old"), p("/d/z")]);
    assert_eq!(bytes(&left, "/d/new"), b"");
    assert_eq!(bytes(&left, "/d/old"), [b'o'; 4096]);
}

#[test]
fn a_journal_keeps_names_in_order_and_bytes_in_any() {
    let vfs = pending();
    let (mut names, mut synced_later) = (BTreeSet::new(), 0);
    for seed in 0..60 {
        let left = after(&vfs, SimCut::Journaled { seed });
        names.insert(left.paths());
        synced_later += u32::from(left.exists("/d/z") && bytes(&left, "/d/old")[..512] == [b'o'; 512]);
    }
    let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
    let prefixes = [
        paths(&["/d/new", "/d/old", "/d/x"]),
        paths(&["/d/new", "/d/old", "/d/z"]),
        paths(&["/d/old", "/d/x"]),
    ];
    assert_eq!(names, BTreeSet::from(prefixes));
    assert!(synced_later > 5, "the last name survives while the first bytes are lost");
}

#[test]
fn garbage_lands_on_dirty_bytes_only() {
    let vfs = disk();
    let file = create(&vfs, "/d/f", &[b'o'; 4096]);
    file.sync().expect("synced");
    vfs.sync_dir(p("/d")).expect("synced");
    // Dirty from the middle of one sector to the middle of another.
    file.write_at(&[b'n'; 2048], 700).expect("written");
    let mut garbled = 0;
    for seed in 0..120 {
        let left = bytes(&after(&vfs, SimCut::Garbled { seed }), "/d/f");
        assert!(left[..700].iter().chain(&left[2748..]).all(|byte| *byte == b'o'), "seed {seed}");
        garbled += u32::from(left[700..2748].iter().any(|byte| !b"on".contains(byte)));
    }
    assert!(garbled > 10, "{garbled}");
}

#[test]
fn a_second_name_lasts_from_the_sync_of_its_directory_on_and_the_file_as_long_as_either() {
    let vfs = disk();
    vfs.make_dirs(["/e"]);
    vfs.write_file("/d/x", b"bytes").expect("put");
    vfs.link(p("/d/x"), p("/e/x")).expect("linked");
    assert!(!after(&vfs, SimCut::Nothing).exists("/e/x"));
    vfs.sync_dir(p("/e")).expect("synced");
    vfs.unlink(p("/d/x")).expect("removed");
    vfs.sync_dir(p("/d")).expect("synced");
    let left = after(&vfs, SimCut::Nothing);
    assert_eq!((left.exists("/d/x"), bytes(&left, "/e/x")), (false, b"bytes".to_vec()));
}
