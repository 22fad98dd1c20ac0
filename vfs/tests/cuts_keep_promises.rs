//! Whatever a cut does to pending changes, it keeps what was synced: names, absences and bytes.

use std::collections::BTreeMap;
use std::path::Path;

use annals_vfs::{File, SimCut, SimFailedSync, SimVfs, Vfs};
use proptest::prelude::*;

const NAMES: [&str; 6] = ["/d/a", "/d/b", "/d/c", "/e/a", "/e/b", "/e/c"];

#[derive(Debug, Clone)]
enum Step {
    Create(usize),
    Write { at: usize, offset: u64, len: usize, byte: u8 },
    Allocate(usize, u64),
    Sync(usize),
    Rename(usize, usize),
    Unlink(usize),
    SyncDir(bool),
    ProcessCrash,
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES.len();
    prop_oneof![
        4 => name.clone().prop_map(Step::Create),
        4 => (name.clone(), 0..3_000u64, 1..3_000usize, 1..=255u8)
            .prop_map(|(at, offset, len, byte)| Step::Write { at, offset, len, byte }),
        1 => (name.clone(), 1..6_000u64).prop_map(|(at, len)| Step::Allocate(at, len)),
        4 => name.clone().prop_map(Step::Sync),
        3 => (name.clone(), name.clone()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => name.prop_map(Step::Unlink),
        4 => any::<bool>().prop_map(Step::SyncDir),
        1 => Just(Step::ProcessCrash),
    ]
}

/// What is known for sure of a name, by the rules alone.
#[derive(Debug, Clone, Default)]
struct Known {
    /// Its file's number, where it has one.
    file: Option<usize>,
    /// Whether its directory was synced since the name last changed.
    is_durable: bool,
}

struct Open {
    handle: Option<Box<dyn File>>,
    /// The bytes of the last sync, where nothing was written since.
    synced: Option<Vec<u8>>,
    bytes: Vec<u8>,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_cut_takes_back_what_was_synced(
        steps in prop::collection::vec(step(), 1..50),
        seed in any::<u64>(),
        reverts in any::<bool>(),
    ) {
        let vfs = SimVfs::new();
        vfs.make_dirs(["/d", "/e"]);
        if reverts {
            vfs.set_failed_sync(SimFailedSync::RevertsBytes);
        }
        let mut names: BTreeMap<&str, Known> =
            NAMES.iter().map(|name| (*name, Known { file: None, is_durable: true })).collect();
        let mut files: Vec<Open> = Vec::new();
        for step in &steps {
            let file_of = |names: &BTreeMap<&str, Known>, at: usize| names[NAMES[at]].file;
            match *step {
                Step::Create(at) => {
                    let created = vfs.create(Path::new(NAMES[at]));
                    prop_assert_eq!(created.is_ok(), file_of(&names, at).is_none());
                    if let Ok(handle) = created {
                        names.insert(NAMES[at], Known { file: Some(files.len()), is_durable: false });
                        files.push(Open { handle: Some(handle), synced: None, bytes: Vec::new() });
                    }
                }
                Step::Write { at, offset, len, byte } => {
                    let Some(file) = file_of(&names, at).map(|file| &mut files[file]) else { continue };
                    let Some(handle) = &file.handle else { continue };
                    handle.write_at(&vec![byte; len], offset).expect("no faults");
                    let offset = offset as usize;
                    file.bytes.resize(file.bytes.len().max(offset + len), 0);
                    file.bytes[offset..offset + len].fill(byte);
                    file.synced = None;
                }
                Step::Allocate(at, len) => {
                    let Some(file) = file_of(&names, at).map(|file| &mut files[file]) else { continue };
                    let Some(handle) = &file.handle else { continue };
                    handle.allocate(len).expect("no faults");
                    if len as usize > file.bytes.len() {
                        file.bytes.resize(len as usize, 0);
                        file.synced = None;
                    }
                }
                Step::Sync(at) => {
                    let Some(file) = file_of(&names, at).map(|file| &mut files[file]) else { continue };
                    let Some(handle) = &file.handle else { continue };
                    handle.sync().expect("no faults");
                    file.synced = Some(file.bytes.clone());
                }
                Step::Rename(from, to) => {
                    let free = file_of(&names, to).is_none() && file_of(&names, from).is_some();
                    let renamed = vfs.rename(Path::new(NAMES[from]), Path::new(NAMES[to]));
                    prop_assert_eq!(renamed.is_ok(), free);
                    if free {
                        let file = file_of(&names, from);
                        names.insert(NAMES[to], Known { file, is_durable: false });
                        names.insert(NAMES[from], Known { file: None, is_durable: false });
                    }
                }
                Step::Unlink(at) => {
                    let unlinked = vfs.unlink(Path::new(NAMES[at]));
                    prop_assert_eq!(unlinked.is_ok(), file_of(&names, at).is_some());
                    names.insert(NAMES[at], Known { file: None, is_durable: false });
                }
                Step::SyncDir(first) => {
                    let dir = if first { "/d" } else { "/e" };
                    vfs.sync_dir(Path::new(dir)).expect("no faults");
                    for (name, known) in &mut names {
                        // A name given up to another directory is surely gone once that one is synced, too.
                        known.is_durable |= name.starts_with(dir) && known.file.is_some();
                    }
                }
                Step::ProcessCrash => {
                    vfs.process_crash();
                    files.iter_mut().for_each(|file| file.handle = None);
                }
            }
        }
        for (name, known) in &names {
            let seen = known.file.map(|file| files[file].bytes.clone());
            prop_assert_eq!(vfs.read_file(name).ok(), seen, "{}", name);
        }
        // Both directories synced, in either order: every name and absence is durable.
        let settled = vfs.snapshot();
        for dir in if seed % 2 == 0 { ["/d", "/e", "/d"] } else { ["/e", "/d", "/e"] } {
            settled.sync_dir(Path::new(dir)).expect("no faults");
        }
        for policy in SimCut::all(seed) {
            for (disk, all_durable) in [(&vfs, false), (&settled, true)] {
                let left = disk.snapshot();
                left.power_cut(policy);
                for (name, known) in &names {
                    let found = left.read_file(name).ok();
                    if !(known.is_durable || all_durable) {
                        continue;
                    }
                    prop_assert_eq!(found.is_some(), known.file.is_some(), "{} after {:?}", name, policy);
                    let synced = known.file.and_then(|file| files[file].synced.as_ref());
                    if let (Some(synced), Some(found)) = (synced, &found) {
                        prop_assert_eq!(synced, found, "{} after {:?}", name, policy);
                    }
                }
                // A second cut finds nothing pending.
                let again = left.snapshot();
                again.power_cut(SimCut::Torn { seed });
                prop_assert_eq!(again.paths(), left.paths());
            }
        }
    }
}
