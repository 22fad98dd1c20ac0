//! What must hold once a machine is on again.

use super::book::{Book, Look, State, TENANTS};
use super::host::{Host, Step};
use super::sweep::copy;
use crate::world::Machine;

/// What else is tried with a state, beside what is always tried.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Depth {
    /// A damage was there before, so that an open has something to report.
    pub(super) damaged: bool,
    /// Looks from beside, merges everything, ends the process and looks again.
    pub(super) more: bool,
}

/// Opens a copy of the machine and lives on: what was acknowledged is there once, what was refused is not, what was
/// doubtful is whole or absent; retries count once; writes and a flush work.
pub(super) fn recovers(machine: &Machine, book: &Book, depth: Depth) -> Result<(), String> {
    let mut host = Host::new(copy(machine, 3), book.clone());
    host.machine.vfs.set_space(u64::MAX);
    host.machine.vfs.set_inodes(u64::MAX);
    open(&mut host, depth.damaged)?;
    live_on(&mut host, depth)
}

/// Opens a store that must open, with nothing to report.
pub(super) fn open(host: &mut Host, damaged: bool) -> Result<(), String> {
    if !host.open()? {
        return Err(host.told.pop().unwrap_or_default());
    }
    let Some(store) = &host.store else { return Ok(()) };
    let recovery = store.recovery();
    match recovery.findings.first() {
        Some(finding) if !damaged => return Err(format!("a finding without damage: {finding}")),
        _ => {}
    }
    match recovery.unavailable.first() {
        Some((tenant, why)) if !damaged => Err(format!("{tenant} is unavailable without damage: {why}")),
        _ => Ok(()),
    }
}

/// Goes on with an open store on a disk without faults.
pub(super) fn live_on(host: &mut Host, depth: Depth) -> Result<(), String> {
    if depth.more {
        host.run(&[Step::ReadOnly]).map_err(|what| format!("beside the writer: {what}"))?;
    }
    // Tenants whose creation was in doubt and is not there can be created now.
    for tenant in 0..TENANTS.len() {
        if host.book.tried(tenant) > 0 && host.book.tenant(tenant) == State::Absent {
            expect(host, Step::Create(tenant))?;
        }
    }
    expect(host, Step::Retry)?;
    let all_there = |host: &mut Host, after: &str| {
        let now = host.machine.now();
        match &host.store {
            Some(store) => {
                host.book.check(store, now, Look::Live).map_err(|what| format!("after {after}: {what}"))
            }
            None => Err(format!("after {after}, the store is not open")),
        }
    };
    all_there(host, "retries")?;
    let usable = host.book.usable().next();
    if let Some(tenant) = usable {
        expect(host, Step::Signals(tenant, 1))?;
        expect(host, Step::Flush(tenant))?;
        all_there(host, "a flush")?;
    }
    if depth.more {
        expect(host, Step::Settle)?;
        all_there(host, "all is merged")?;
        host.run(&[Step::ReadOnly]).map_err(|what| format!("beside the writer, at last: {what}"))?;
        host.run(&[Step::Kill])?;
        open(host, true).map_err(|what| format!("opened again: {what}"))?;
        all_there(host, "another end")?;
    }
    host.run(&[Step::Close])?;
    host.told.first().map_or(Ok(()), |told| Err(told.clone()))
}

/// A step that must work at once.
fn expect(host: &mut Host, step: Step) -> Result<(), String> {
    host.run(&[step]).map_err(|what| format!("after the open: {what}"))?;
    match host.told.first() {
        None => Ok(()),
        Some(told) => Err(format!("after the open, {step:?}: {told}")),
    }
}
