//! Whether two processes draw different salts: no crash shows it, and everything that tells a record of one from a stale
//! record of the other rests on it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use annals::Options;

use crate::world::Machine;

/// Where a segment's header has its salt; see `wal/src/header.rs`.
const SALT: std::ops::Range<usize> = 40..56;

/// Continues one disk twice: segments of one name, made by two processes, must differ in their salts.
pub(super) fn differ() -> bool {
    let machine = Machine::new(Options::default());
    drop(machine.open());
    let (one, other) = (salts(&machine.fork()), salts(&machine.fork()));
    let mut common = one.iter().filter_map(|(path, salt)| Some((salt, other.get(path)?))).peekable();
    common.peek().is_some() && common.all(|(one, other)| one != other)
}

/// The salts of all segments once a process has made one ready.
fn salts(machine: &Machine) -> BTreeMap<PathBuf, Vec<u8>> {
    let Ok(store) = machine.open() else { return BTreeMap::new() };
    while let Ok(Some(_)) = store.maintenance_step() {}
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "seg");
    machine
        .vfs
        .paths()
        .into_iter()
        .filter(is_segment)
        .filter_map(|path| {
            let bytes = machine.vfs.read_file(&path).ok()?;
            Some((path, bytes.get(SALT)?.to_vec()))
        })
        .collect()
}
