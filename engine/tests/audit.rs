//! The audit log: what an operator reads is written down first, in a chain that shows each change.

mod common;

use annals::vfs::{SimCalls, SimCut, SimError, SimFault, SimVfs, Vfs};
use annals::{AuditTrail, Operator, OperatorError, TimeRange, audit_trail};
use common::*;

fn ann() -> Operator {
    Operator::new("ann", "ticket 4711: no sign-ins since Monday").expect("valid")
}

fn trail(vfs: &SimVfs) -> AuditTrail {
    audit_trail(vfs, "/data".as_ref()).expect("readable")
}

/// A store with one tenant.
fn machine() -> Machine {
    let machine = Machine::new();
    machine.open().create_tenant(&id("acme"), plan("archive")).expect("created");
    machine
}

#[test]
fn p8_an_operator_is_a_name_and_a_reason() {
    for (name, reason) in [("", "why"), ("ann", " "), ("ann\nbob", "why"), ("ann", "a\tb")] {
        assert!(Operator::new(name, reason).is_err(), "{name:?} {reason:?}");
    }
    assert!(Operator::new(&"n".repeat(201), "why").is_err());
    assert_eq!(Operator::new(" ann ", "why"), Operator::new("ann", "why"));
}

#[test]
fn p8_what_an_operator_reads_survives_a_power_cut_right_after_the_answer() {
    let machine = machine();
    let store = machine.open();
    let reader = store.tenant(&id("acme")).expect("there").operator_reader(ann());
    reader.query("a\tb{} or \"\\\n\"", machine.now()).expect_err("no query, and written all the same");
    reader.query("up", machine.now()).expect("answered");
    reader.scan_signals(TimeRange::ALL, &[], &mut |_| {}).expect("answered");
    machine.vfs.power_cut(SimCut::Nothing);
    let trail = trail(&machine.vfs);
    assert_eq!((trail.findings.as_slice(), trail.notes.as_slice()), ([].as_slice(), [].as_slice()));
    let seen: Vec<_> = trail.entries.iter().map(|entry| (entry.number, entry.action.as_str())).collect();
    assert_eq!(seen, [(1, "query"), (2, "query"), (3, "signals")]);
    let first = &trail.entries[0];
    assert!(first.what.starts_with("a\tb{} or \"\\\n\" at 2026-09-21T14:13:20Z"), "{}", first.what);
    assert_eq!((first.operator.as_str(), first.tenant.as_str()), ("ann", "acme"));
    assert_eq!((first.reason.as_str(), first.time), ("ticket 4711: no sign-ins since Monday", machine.now()));
}

#[test]
fn p8_nothing_is_read_that_cannot_be_written_down_and_the_chain_goes_on_afterwards() {
    let (mut refused, mut call) = (0, 0);
    loop {
        let machine = machine();
        let store = machine.open();
        let reader = store.tenant(&id("acme")).expect("there").operator_reader(ann());
        machine.vfs.fail(SimFault::once(SimCalls::Mutating, call, SimError::Io));
        let answers = [reader.query("up", machine.now()), reader.query("up", machine.now())];
        let failed = answers.iter().filter(|answer| matches!(answer, Err(OperatorError::Audit(_)))).count();
        machine.vfs.clear_faults();
        reader.query("up", machine.now()).expect("answered");
        machine.vfs.power_cut(SimCut::Nothing);
        let trail = trail(&machine.vfs);
        assert_eq!(trail.findings, [""; 0], "call {call}");
        assert!(trail.entries.len() >= 3 - failed, "call {call}: {trail:?}");
        if failed == 0 {
            break;
        }
        refused += failed;
        call += 1;
    }
    assert!(refused > 6, "only {refused} calls can fail");
}

#[test]
fn p8_a_crash_at_any_call_leaves_a_chain_that_others_go_on_with() {
    let mut call = 0;
    loop {
        let machine = machine();
        let reader = machine.read_only().operator_reader(&id("acme"), ann()).expect("there");
        reader.query("up", machine.now()).expect("answered");
        machine.vfs.set_crash_at(call);
        let answered = reader.query("up", machine.now()).is_ok();
        if !machine.vfs.crashed() {
            break;
        }
        if call % 2 == 0 {
            machine.vfs.power_cut(SimCut::Nothing);
        } else {
            machine.vfs.process_crash();
        }
        let after = machine.read_only().operator_reader(&id("acme"), ann()).expect("there");
        after.query("up", machine.now()).expect("answered");
        machine.vfs.power_cut(SimCut::Nothing);
        let trail = trail(&machine.vfs);
        assert_eq!(trail.findings, [""; 0], "call {call}");
        assert!(trail.entries.len() >= 2 + usize::from(answered), "call {call}: {trail:?}");
        call += 1;
    }
    assert!(call >= 3, "only {call} calls");
}

#[test]
fn p8_processes_that_take_turns_write_one_chain() {
    let machine = machine();
    let store = machine.open();
    let live = store.tenant(&id("acme")).expect("there").operator_reader(ann());
    let beside = machine.read_only();
    let beside = beside
        .operator_reader(&id("acme"), Operator::new("bob", "monthly check").expect("valid"))
        .expect("there");
    for _ in 0..3 {
        live.query("up", machine.now()).expect("answered");
        live.query("up", machine.now()).expect("answered");
        beside.query("up", machine.now()).expect("answered");
    }
    let trail = trail(&machine.vfs);
    assert_eq!((trail.findings.as_slice(), trail.notes.as_slice()), ([].as_slice(), [].as_slice()));
    let numbers: Vec<u64> = trail.entries.iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(trail.entries.iter().filter(|entry| entry.operator == "bob").count(), 3);
}

#[test]
fn p8_every_changed_byte_and_every_lost_file_shows() {
    let machine = machine();
    for _ in 0..3 {
        let reader = machine.read_only().operator_reader(&id("acme"), ann()).expect("there");
        reader.query("up", machine.now()).expect("answered");
        reader.query("down", machine.now()).expect("answered");
    }
    let whole = trail(&machine.vfs);
    assert_eq!((whole.entries.len(), whole.findings.len()), (6, 0));
    let differs = |what: &str, changed: &AuditTrail| {
        // The last entry of a file stands in the next one too. Who keeps the head sees what the chain does not show.
        let shows = !changed.findings.is_empty() || changed.hashes.last() != whole.hashes.last();
        assert!(
            shows || (changed.entries == whole.entries && !changed.notes.is_empty()),
            "{what}: {changed:?}"
        );
    };
    let files: Vec<_> = (1..=3).map(|number| format!("/data/audit/{number:08}.log")).collect();
    for (at, path) in files.iter().enumerate() {
        let bytes = machine.vfs.read_file(path).expect("there");
        for offset in 0..bytes.len() {
            let changed = machine.vfs.snapshot();
            changed.corrupt(path, offset as u64, 0x04).expect("in the file");
            differs(&format!("{path} at {offset}"), &trail(&changed));
        }
        let lost = machine.vfs.snapshot();
        lost.unlink(path.as_ref()).expect("there");
        differs(path, &trail(&lost));
        assert_eq!(
            trail(&lost).findings.is_empty(),
            at == 2,
            "{path}: only the last may go unseen without its head"
        );
    }
}
