//! Repair: what is damaged goes to quarantine, all else stays, and a crash in between loses nothing.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals::vfs::{self, Vfs};
use annals::{DAY_MS, FindingKind, HOUR_MS, Repair, Timestamp, Verification, repair, verify};
use common::{
    Machine, NOW, attempts, failures, gauges, id, number, plan, raw_signals, write_samples, write_signals,
};

const ROOT: &str = "/data";

fn verified(machine: &Machine) -> Verification {
    verify(Arc::new(machine.vfs.clone()), ROOT.as_ref()).expect("readable")
}

fn repaired(machine: &Machine) -> Repair {
    let vfs = Arc::new(machine.vfs.clone());
    repair(vfs, machine.clock.clone(), machine.entropy.clone(), ROOT.as_ref(), machine.options.clone())
        .expect("repaired")
}

/// Two tenants with two days of blocks each, of many chunks, and a log tail.
fn filled() -> Machine {
    let machine = Machine::new();
    let store = machine.open();
    for name in ["one", "two"] {
        let tenant = store.create_tenant(&id(name), plan("archive")).expect("created");
        let samples: Vec<(usize, i64, f64)> = (0..6_000)
            .flat_map(|i| {
                (0..3).map(move |series| (series, NOW - 7 * HOUR_MS + i * 4_000, (i * 7 % 100) as f64))
            })
            .collect();
        write_samples(&tenant, &gauges(7, "load", &samples)).expect("written");
        write_signals(&tenant, &attempts(1, &[NOW, NOW - DAY_MS])).expect("written");
        tenant.flush().expect("flushed");
        write_signals(&tenant, &attempts(2, &[NOW + 1])).expect("written");
    }
    store.close().expect("closed");
    machine
}

fn fork(whole: &Machine) -> Machine {
    Machine { vfs: whole.vfs.snapshot(), ..Machine::new() }
}

fn files(machine: &Machine, part: &str) -> Vec<PathBuf> {
    machine.vfs.paths().into_iter().filter(|p| p.to_string_lossy().contains(part)).collect()
}

fn largest(machine: &Machine, part: &str) -> PathBuf {
    let size = |path: &PathBuf| machine.vfs.read_file(path).map_or(0, |bytes| bytes.len());
    files(machine, part)
        .into_iter()
        .filter(|p| p.extension().is_some_and(|e| e == "blk"))
        .max_by_key(size)
        .expect("one")
}

fn samples(machine: &Machine, tenant: &str) -> f64 {
    let reader = machine.read_only().tenant(&id(tenant)).expect("there");
    number(&reader, "sum(count_over_time(load[2d]))", Timestamp(NOW + HOUR_MS))
}

/// Nothing of the other tenant changed.
fn other_is_whole(machine: &Machine) {
    let reader = machine.read_only().tenant(&id("two")).expect("there");
    assert_eq!(samples(machine, "two"), 18_000.0);
    assert_eq!((failures(&reader, Timestamp(NOW + HOUR_MS)), raw_signals(&reader)), (3.0, 3));
}

#[test]
fn a_whole_store_is_left_as_it_is() {
    let machine = filled();
    let before = machine.vfs.paths();
    let done = repaired(&machine);
    assert_eq!((done.steps, done.after.findings), (vec![], vec![]));
    assert_eq!(machine.vfs.paths(), before);
}

#[test]
fn one_damaged_chunk_costs_that_chunk_and_no_more() {
    let machine = filled();
    let block = largest(&machine, "/t/1/b/");
    let bytes = machine.vfs.read_file(&block).expect("there");
    machine.vfs.corrupt(&block, bytes.len() as u64 / 2, 0x10).expect("there");
    let found = verified(&machine).findings;
    let [one] = found.as_slice() else { panic!("one damage, one finding: {found:?}") };
    assert_eq!((one.kind, &one.path, one.tenant.as_ref()), (FindingKind::Part, &block, Some(&id("one"))));
    assert!(one.part.is_some() && one.range.is_some(), "{one:?}");
    let lost: f64 = one.lost.split(' ').next().and_then(|count| count.parse().ok()).expect("a count");
    assert!((1.0..=3.0 * 1_024.0).contains(&lost), "{one:?}");
    let damaged = machine.vfs.read_file(&block).expect("there");

    let done = repaired(&machine);
    assert_eq!(done.after.findings, []);
    assert_eq!(done.steps.len(), 1, "{:?}", done.steps);
    assert_eq!(samples(&machine, "one"), 18_000.0 - lost);
    let [aside] = done.after.quarantined.as_slice() else { panic!("{:?}", done.after.quarantined) };
    assert_eq!((aside.owner.as_deref(), aside.class.as_str()), (Some("one"), "part"));
    assert_eq!(machine.vfs.read_file(&aside.path).expect("there"), damaged, "nothing is deleted");
    other_is_whole(&machine);
    // It goes on as any other store: it opens, takes writes, and merges.
    let store = machine.open();
    assert_eq!(store.recovery().findings, Vec::<String>::new());
    write_signals(&store.tenant(&id("one")).expect("there"), &attempts(9, &[NOW])).expect("written");
    store.settle().expect("settled");
    store.close().expect("closed");
    assert_eq!(verified(&machine).findings, []);
    assert_eq!(samples(&machine, "one"), 18_000.0 - lost);
    assert!(machine.vfs.exists(&aside.path));
}

#[test]
fn a_block_that_cannot_be_opened_goes_to_quarantine_with_a_due_date() {
    let machine = filled();
    let block = largest(&machine, "/t/1/s/");
    machine.vfs.corrupt(&block, 20, 0x10).expect("there");
    let done = repaired(&machine);
    assert_eq!(done.after.findings, []);
    let [aside] = done.after.quarantined.as_slice() else { panic!("{:?}", done.after.quarantined) };
    assert_eq!((aside.class.as_str(), aside.owner.as_deref()), ("damaged", Some("one")));
    assert!(!machine.vfs.exists(&block) && machine.vfs.exists(&aside.path));
    other_is_whole(&machine);
}

#[test]
fn two_blocks_that_changed_places_are_put_back() {
    let machine = filled();
    let (a, b) = (largest(&machine, "/t/1/b/"), largest(&machine, "/t/2/b/"));
    let (of_a, of_b) = (machine.vfs.read_file(&a).expect("there"), machine.vfs.read_file(&b).expect("there"));
    machine.vfs.write_file(&a, &of_b).expect("written");
    machine.vfs.write_file(&b, &of_a).expect("written");
    let found = verified(&machine).findings;
    assert_eq!(
        found.iter().map(|f| (f.kind, &f.path)).collect::<Vec<_>>(),
        [(FindingKind::Misplaced, &a), (FindingKind::Misplaced, &b)]
    );
    let done = repaired(&machine);
    assert_eq!((done.after.findings, done.after.quarantined), (vec![], vec![]));
    assert_eq!(machine.vfs.read_file(&a).expect("there"), of_a);
    assert_eq!(machine.vfs.read_file(&b).expect("there"), of_b);
    assert_eq!(samples(&machine, "one"), 18_000.0);
    other_is_whole(&machine);
}

#[test]
fn a_missing_block_leaves_a_record_of_what_is_lost() {
    let machine = filled();
    let block = largest(&machine, "/t/1/b/");
    Vfs::unlink(&machine.vfs, &block).expect("there");
    let found = verified(&machine).findings;
    assert_eq!(found.iter().map(|f| (f.kind, &f.path)).collect::<Vec<_>>(), [(FindingKind::Missing, &block)]);
    let done = repaired(&machine);
    assert_eq!(done.after.findings, []);
    let [aside] = done.after.quarantined.as_slice() else { panic!("{:?}", done.after.quarantined) };
    assert_eq!((aside.bytes, aside.class.as_str()), (None, "missing"));
    assert!(aside.lost.contains("samples"), "{aside:?}");
    other_is_whole(&machine);
}

#[test]
fn a_damaged_copy_is_written_afresh_and_two_are_left_alone() {
    for part in ["/t/1/manifest-", "/data/catalog-"] {
        let whole = filled();
        let file = files(&whole, part).pop().expect("there is one");
        let half = whole.vfs.read_file(&file).expect("readable").len() as u64 / 2;
        let machine = fork(&whole);
        machine.vfs.corrupt(&file, half + 60, 0xff).expect("there");
        assert_eq!(verified(&machine).findings.len(), 1);
        let done = repaired(&machine);
        assert_eq!((done.after.findings.len(), done.steps.len()), (0, 1), "{part}");
        assert_eq!(samples(&machine, "one"), 18_000.0);
        other_is_whole(&machine);

        machine.vfs.process_crash();
        let machine = fork(&whole);
        machine.vfs.corrupt(&file, 60, 0xff).expect("there");
        machine.vfs.corrupt(&file, half + 60, 0xff).expect("there");
        let before = machine.vfs.paths();
        let done = repaired(&machine);
        assert_eq!(done.after.findings.len(), 1, "{part}: {:?}", done.after.findings);
        assert!(done.steps.is_empty(), "{:?}", done.steps);
        assert_eq!(machine.vfs.paths(), before, "nothing is adopted, nothing is deleted");
    }
}

#[test]
fn foreign_files_go_to_quarantine() {
    let machine = filled();
    for path in ["/data/t/1/b/notes.txt", "/data/keys/x", "/data/t/1/core"] {
        machine.vfs.write_file(path, b"not ours").expect("written");
    }
    let found = verified(&machine).findings;
    assert!(found.len() == 3 && found.iter().all(|f| f.kind == FindingKind::Foreign), "{found:?}");
    let done = repaired(&machine);
    assert_eq!((done.after.findings.len(), done.after.quarantined.len()), (0, 3));
}

#[test]
fn a_damaged_record_of_the_log_leaves_it_with_the_repair() {
    let whole = filled();
    let segments = files(&whole, "/data/wal/");
    let mut hurt = 0;
    for segment in &segments {
        let bytes = whole.vfs.read_file(segment).expect("there");
        for at in (0..bytes.len().min(20_000)).step_by(401) {
            let machine = fork(&whole);
            machine.vfs.corrupt(segment, at as u64, 0x20).expect("there");
            let before = verified(&machine);
            if before.findings.is_empty() {
                continue;
            }
            hurt += 1;
            assert!(before.findings.iter().all(|f| f.path == *segment), "byte {at}: {:?}", before.findings);
            let done = repaired(&machine);
            assert_eq!(done.after.findings, [], "byte {at}: {:?}", before.findings);
            assert!(!done.after.quarantined.is_empty());
            assert_eq!(samples(&machine, "one"), 18_000.0);
            assert_eq!(samples(&machine, "two"), 18_000.0);
        }
    }
    assert!(hurt > 3, "{hurt}");
}

/// A tenant whose only record that is not in blocks is damaged has nothing to flush: its record is given up by name.
#[test]
fn a_damaged_only_record_of_a_tenant_does_not_outlast_the_repair() {
    let machine = Machine::new();
    let store = machine.open();
    for name in ["one", "two"] {
        let tenant = store.create_tenant(&id(name), plan("archive")).expect("created");
        write_samples(&tenant, &gauges(7, "load", &[(0, NOW, 1.0)])).expect("written");
    }
    store.close().expect("closed");
    let segment = files(&machine, "/data/wal/").remove(0);
    // Within the payload of the first record.
    machine.vfs.corrupt(&segment, 4096 + 60, 0x10).expect("there");
    assert_eq!(verified(&machine).findings.len(), 1);
    let done = repaired(&machine);
    assert_eq!(done.after.findings, []);
    assert_eq!((samples(&machine, "one"), samples(&machine, "two")), (0.0, 1.0));
    let store = machine.open();
    let tenant = store.tenant(&id("one")).expect("there");
    write_samples(&tenant, &gauges(8, "load", &[(0, NOW + 1, 1.0)])).expect("written");
    drop((tenant, store));
    drop(machine.open());
    assert_eq!(samples(&machine, "one"), 1.0, "what is written after a repair is replayed");
}

/// The last record's payload and all after it are zero: its header still verifies, and nothing says that it was durable.
#[test]
fn a_torn_last_record_is_noted_though_no_crash_can_be_told_from_it() {
    let machine = filled();
    let segment = files(&machine, "/data/wal/").pop().expect("a segment");
    let mut bytes = machine.vfs.read_file(&segment).expect("there");
    let used = bytes.iter().rposition(|&byte| byte != 0).expect("not empty");
    // The seal is 32 bytes; a few of the record before it go too.
    bytes[used - 60..].fill(0);
    machine.vfs.write_file(&segment, &bytes).expect("written");
    let found = verified(&machine);
    assert_eq!(found.findings, []);
    assert!(found.notes.iter().any(|note| note.path == segment), "{:?}", found.notes);
}

#[test]
fn a_crash_at_every_call_of_a_repair_loses_nothing_and_the_next_one_ends_it() {
    let whole = filled();
    let (chunk, header) = (largest(&whole, "/t/1/b/"), largest(&whole, "/t/1/s/"));
    let bytes = whole.vfs.read_file(&chunk).expect("there");
    whole.vfs.corrupt(&chunk, bytes.len() as u64 / 2, 0x10).expect("there");
    whole.vfs.corrupt(&header, 20, 0x10).expect("there");
    let (damaged, unusable) =
        (whole.vfs.read_file(&chunk).expect("there"), whole.vfs.read_file(&header).expect("there"));
    let reference = fork(&whole);
    let expected = repaired(&reference).after.findings;
    assert_eq!(expected, []);
    let kept = samples(&reference, "one");
    for call in 0.. {
        let machine = fork(&whole);
        machine.vfs.set_crash_at(machine.vfs.calls() + call);
        let vfs = Arc::new(machine.vfs.clone());
        let outcome = repair(
            vfs,
            machine.clock.clone(),
            machine.entropy.clone(),
            ROOT.as_ref(),
            machine.options.clone(),
        );
        let crashed = machine.vfs.crashed();
        machine.vfs.power_cut(vfs::SimCut::all(call)[call as usize % 6]);
        let done = repaired(&machine);
        assert_eq!(done.after.findings, [], "call {call}: {:?}", done.steps);
        assert_eq!(samples(&machine, "one"), kept, "call {call}");
        let all: Vec<Vec<u8>> =
            machine.vfs.paths().iter().filter_map(|path| machine.vfs.read_file(path).ok()).collect();
        assert!(all.contains(&damaged) && all.contains(&unusable), "call {call}: a damaged file is gone");
        other_is_whole(&machine);
        if !crashed {
            outcome.expect("nothing failed");
            assert!(call > 10, "{call} calls");
            return;
        }
    }
}

#[test]
fn a_repair_needs_the_store_to_itself() {
    let machine = filled();
    let block = largest(&machine, "/t/1/b/");
    machine.vfs.corrupt(&block, 20, 0x10).expect("there");
    let store = machine.open();
    let vfs = Arc::new(machine.vfs.clone());
    let refused =
        repair(vfs, machine.clock.clone(), machine.entropy.clone(), Path::new(ROOT), machine.options.clone());
    assert!(matches!(refused, Err(annals::OpenError::AlreadyOpen(_))));
    drop(store);
    assert_eq!(repaired(&machine).after.findings, []);
}
