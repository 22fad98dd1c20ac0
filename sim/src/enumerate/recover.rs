//! What must hold once a machine is on again.

use std::path::PathBuf;
use std::sync::Arc;

use annals::{Lsn, Receipt};

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
    host.check_backup()?;
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
    undo_cancellations(host)?;
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
        if !depth.damaged {
            host.old_keys_are_gone()?;
        }
        host.run(&[Step::ReadOnly]).map_err(|what| format!("beside the writer, at last: {what}"))?;
        host.run(&[Step::Kill])?;
        open(host, true).map_err(|what| format!("opened again: {what}"))?;
        all_there(host, "another end")?;
    }
    erased_are_gone(host)?;
    if !host.book.backups().is_empty() {
        expect(host, Step::Backup)?;
        host.check_backup()?;
        if depth.more {
            host.check_restored()?;
        }
    }
    host.run(&[Step::Close])?;
    host.told.first().map_or(Ok(()), |told| Err(told.clone()))
}

/// Takes all cancellations back: tenants that are cancelled take no data.
pub(super) fn undo_cancellations(host: &mut Host) -> Result<(), String> {
    (0..TENANTS.len()).try_for_each(|tenant| host.run(&[Step::UndoCancel(tenant)]))
}

/// Nothing is left of erased tenants once background work has come to them, and each has left one receipt.
fn erased_are_gone(host: &Host) -> Result<(), String> {
    let (Some(store), erased) = (&host.store, host.book.erased()) else { return Ok(()) };
    if erased == 0 {
        return Ok(());
    }
    while store
        .maintenance_step()
        .map_err(|error| format!("what is left of erased tenants: {error}"))?
        .is_some()
    {}
    if let Some(erasing) = store.erasures().first() {
        return Err(format!("{} is erased and is not gone", erasing.tenant));
    }
    let key = store.receipt_key().map_err(|error| error.to_string())?;
    let paths = host.machine.vfs.paths();
    let receipts: Vec<_> = paths.iter().filter(|path| path.starts_with("/data/receipts")).collect();
    if receipts.len() != erased {
        return Err(format!("{erased} tenants were erased, and the receipts are {receipts:?}"));
    }
    for path in receipts {
        let receipt = host.machine.vfs.read_file(path).map_err(|error| error.to_string())?;
        let receipt =
            Receipt::verify(&receipt, &key).map_err(|error| format!("{}: {error}", path.display()))?;
        let own = format!("/data/t/{}", receipt.number);
        let keys = format!("/data/keys/{}-", receipt.number);
        let is_left = |path: &&PathBuf| path.starts_with(&own) || path.to_string_lossy().starts_with(&keys);
        if let Some(left) = paths.iter().find(is_left) {
            return Err(format!("{} is left of an erased tenant", left.display()));
        }
        if log_has(host, receipt.log_through) {
            return Err("records of an erased tenant are left in the log".to_owned());
        }
    }
    Ok(())
}

/// Whether any segment of the log has a record up to this one.
fn log_has(host: &Host, through: Lsn) -> bool {
    let vfs = &host.machine.vfs;
    let is_old = |row: &Vec<String>| {
        let number = row.get(3).and_then(|cell| cell.parse().ok());
        row.get(1).is_some_and(|word| word == "record") && number.is_some_and(|lsn| Lsn(lsn) <= through)
    };
    let has_old = |path: &PathBuf| {
        let tables =
            annals::inspect(Arc::new(vfs.clone()), path).map_or_else(|_| Vec::new(), |found| found.tables);
        tables.iter().any(|table| table.rows.iter().any(is_old))
    };
    vfs.paths().iter().filter(|path| path.starts_with("/data/wal")).any(has_old)
}

/// A step that must work at once.
fn expect(host: &mut Host, step: Step) -> Result<(), String> {
    host.run(&[step]).map_err(|what| format!("after the open: {what}"))?;
    match host.told.first() {
        None => Ok(()),
        Some(told) => Err(format!("after the open, {step:?}: {told}")),
    }
}
