//! Operations on a store over a simulated disk: bytes decide what happens, an oracle what must be there afterwards.

use annals::Annals;
use annals::vfs::{SimCalls, SimCut, SimError, SimFault, SimOp};

use super::oracle::{Attempt, Fate, Machine, TENANTS, id};
use crate::model::Choices;

/// No input does more: what takes longer finds nothing that a short one does not.
const OPERATIONS_MAX: usize = 40;

pub(super) fn engine_ops(bytes: &[u8]) {
    let mut choices = Choices(bytes);
    let mut machine = Machine::new();
    let mut store = Some(machine.open().expect("a disk without faults"));
    for _ in 0..OPERATIONS_MAX {
        if choices.is_empty() {
            break;
        }
        store = step(&mut machine, store, &mut choices);
        if machine.vfs.crashed() {
            store = reopen(&mut machine, store, Some(cut(&mut choices)));
        }
    }
    drop(reopen(&mut machine, store, Some(SimCut::Nothing)));
}

fn step(machine: &mut Machine, store: Option<Annals>, choices: &mut Choices<'_>) -> Option<Annals> {
    let open = store.as_ref().expect("every step leaves the store open");
    let tenant = |choices: &mut Choices<'_>| choices.below(TENANTS.len());
    match choices.below(16) {
        0..=4 => {
            let (tenant, series) = (tenant(choices), choices.below(4));
            let (samples, value) = (1 + choices.below(8), choices.bits());
            let batch = machine.batch(samples, series, value);
            machine.attempts.push(Attempt { tenant, batch, fate: Fate::Refused });
            machine.write(open, machine.attempts.len() - 1);
        }
        5 if !machine.attempts.is_empty() => {
            let which = choices.below(machine.attempts.len().min(256));
            machine.write(open, which);
        }
        6 => {
            if let Ok(tenant) = open.tenant(&id(TENANTS[tenant(choices)])) {
                let _ = tenant.flush();
            }
        }
        7 => {
            let _ = open.maintenance_step();
        }
        8 => {
            let _ = open.settle();
        }
        9 => return reopen(machine, store, None),
        10 => return reopen(machine, store, Some(cut(choices))),
        11 => {
            machine.vfs.process_crash();
            return reopen(machine, store, None);
        }
        12 => {
            machine.struck = true;
            machine.vfs.fail(fault(choices));
        }
        13 => check(machine, open),
        14 => machine.clock.advance_ms(u64::from(choices.u16()) * 10_000),
        15 if choices.below(2) == 0 => machine.vfs.set_crash_at(u64::from(choices.byte() % 64)),
        15 => machine.vfs.set_crash_within(u64::from(choices.byte() % 64)),
        _ => {}
    }
    store
}

/// What a running store answers. What is armed may strike a query: the oracle then learns nothing.
fn check(machine: &mut Machine, store: &Annals) {
    machine.vfs.clear_faults();
    for (number, name) in TENANTS.iter().enumerate() {
        let tenant = store.tenant(&id(name)).expect("no tenant is damaged");
        machine.check(&tenant, number, false);
    }
}

/// Ends the process, by a cut of the power where one is given, and starts another. With faults armed it may fail to
/// open; without them it must open, with all that was acknowledged and nothing that was refused.
fn reopen(machine: &mut Machine, store: Option<Annals>, power: Option<SimCut>) -> Option<Annals> {
    if let Some(power) = power {
        machine.vfs.power_cut(power);
    }
    drop(store);
    let first = machine.open();
    let store = match first {
        Ok(store) if !machine.struck && !machine.vfs.crashed() => store,
        Err(error) if !machine.struck && !machine.vfs.crashed() => panic!("a disk without faults: {error}"),
        struck => {
            // The disk struck, or the machine stood still: a process that ends here is one more crash.
            machine.vfs.clear_faults();
            machine.vfs.process_crash();
            drop(struck);
            machine.open().expect("a disk without faults")
        }
    };
    machine.struck = false;
    assert_eq!(store.recovery().unavailable, [], "no tenant is damaged");
    for (number, name) in TENANTS.iter().enumerate() {
        let tenant = store.tenant(&id(name)).expect("no tenant is damaged");
        machine.check(&tenant, number, true);
    }
    Some(store)
}

fn cut(choices: &mut Choices<'_>) -> SimCut {
    let cuts = SimCut::all(u64::from(choices.byte()));
    cuts[choices.below(cuts.len())]
}

fn fault(choices: &mut Choices<'_>) -> SimFault {
    let calls = match choices.below(8) {
        0 => SimCalls::Any,
        1 => SimCalls::Of(SimOp::Sync),
        2 => SimCalls::Of(SimOp::WriteAt),
        3 => SimCalls::Of(SimOp::SyncDir),
        4 => SimCalls::Of(SimOp::Rename),
        5 => SimCalls::Of(SimOp::Allocate),
        _ => SimCalls::Mutating,
    };
    let error = if choices.below(2) == 0 { SimError::Io } else { SimError::NoSpace };
    let after = u64::from(choices.byte() % 32);
    let fault = if choices.below(4) == 0 {
        SimFault::forever(calls, after, error)
    } else {
        SimFault::once(calls, after, error)
    };
    SimFault { done: choices.below(4) == 0, ..fault }
}

/// Histories that reach far: writes and flushes, crashes within them, faults.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    vec![
        b"\x00\x00\x00\x03\x40\x01\x02\x01\x01\x01\x04\x50\x03\x04\x06\x00\x0d\x09\x0a\x01\x00".to_vec(),
        b"\x00\x00\x00\x07\x01\x06\x00\x00\x00\x00\x07\x01\x06\x00\x08\x0a\x07\x03\x05\x00\x0d".to_vec(),
        b"\x00\x00\x00\x03\x40\x01\x02\x0c\x01\x00\x00\x01\x00\x00\x00\x03\x40\x01\x02\x05\x01\x0b\x0d"
            .to_vec(),
        b"\x00\x01\x00\x03\x40\x01\x02\x0f\x00\x05\x00\x01\x00\x02\x40\x01\x02\x06\x01\x0b\x08\x0d\x09"
            .to_vec(),
        b"\x0c\x06\x01\x20\x00\x03\x00\x00\x00\x03\x40\x01\x02\x06\x00\x08\x0e\x00\x20\x08\x0a\x04\x04\x0d"
            .to_vec(),
    ]
}
