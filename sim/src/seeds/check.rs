//! What must hold in a run: at any time, and once nothing fails any more.

use std::path::PathBuf;
use std::sync::Arc;

use annals::{MaintenanceError, Receipt, TenantId, Ticket, Verification, WriteError};

use super::draw::Draws;
use super::operation::End;
use super::run::{Run, id};
use crate::oracle::{Beside, State, Tried, Violation};

/// How many steps of maintenance may follow one another before there is nothing left to do.
const STEPS_MAX: usize = 10_000;

impl Run<'_> {
    /// The disk has seen no call out of order.
    pub(super) fn judged(&self) -> Result<(), Violation> {
        match self.machine.vfs.violations().first() {
            None => Ok(()),
            Some(what) => Err(Violation::new("order", what.clone())),
        }
    }

    pub(super) fn check_one(&mut self, tenant: usize) -> Result<(), Violation> {
        let Some(handle) = self.tenant(tenant) else { return Ok(()) };
        self.outcome.checks += 1;
        self.note(|| format!("  {} is compared", id(tenant)));
        let checked = self.oracle.check_tenant(&id(tenant), &handle.reader(), self.machine.now());
        if self.machine.vfs.crashed() { Ok(()) } else { checked }
    }

    pub(super) fn check(&mut self) -> Result<(), Violation> {
        self.outcome.checks += 1;
        let store = self.store.as_ref().expect("open between operations");
        self.oracle.check(store, self.machine.now())
    }

    /// Reads every byte. `exact` where every damaged block that is still there must be found.
    pub(super) fn verify(&mut self, exact: bool) -> Result<(), Violation> {
        let found = annals::verify(Arc::new(self.machine.vfs.clone()), "/data".as_ref());
        if self.reads_fail {
            return Ok(());
        }
        self.is_found(&found.map_err(|error| Violation::new("I6", format!("cannot verify: {error}")))?, exact)
    }

    /// Reads every byte of what a store left when it ended: what a crash leaves is not damage. The history itself makes no
    /// call for it.
    pub(super) fn verify_ended(&self) -> Result<(), Violation> {
        let ended = self.machine.fork();
        ended.vfs.clear_faults();
        let found = annals::verify(Arc::new(ended.vfs), "/data".as_ref());
        match found {
            // A store that ended before it began.
            Err(_) if self.opens == 0 => Ok(()),
            Err(error) => Err(Violation::new("I6", format!("cannot verify what ended: {error}"))),
            Ok(found) => self.is_found(&found, false),
        }
    }

    fn is_found(&self, found: &Verification, exact: bool) -> Result<(), Violation> {
        for finding in &found.findings {
            if !self.rotten.contains_key(&finding.path) {
                let inspected = annals::inspect(Arc::new(self.machine.vfs.clone()), &finding.path);
                let what = format!("found where nothing was damaged: {finding:?}; in it: {inspected:?}");
                return Err(Violation::new("I6", what));
            }
        }
        if exact {
            // A name may be given to another block, once the damaged one is gone.
            let is_there = |(path, (_, bytes)): &(&PathBuf, &(TenantId, Vec<u8>))| {
                self.machine.vfs.read_file(path).is_ok_and(|now| now == *bytes)
            };
            for (path, _) in self.rotten.iter().filter(is_there) {
                if !found.findings.iter().any(|finding| finding.path == *path) {
                    return Err(Violation::new(
                        "I6",
                        format!("{} was damaged and is not named", path.display()),
                    ));
                }
            }
        }
        Ok(())
    }

    /// Nothing fails any more: all that was refused can be written, all work gets done, everything is exact.
    pub(super) fn live(&mut self, draws: &Draws) -> Result<(), Violation> {
        self.note(|| "nothing fails any more".to_owned());
        if self.machine.vfs.crashed() {
            self.end_and_open(None, draws)?;
        }
        self.heal();
        if self.is_spent() || !self.rotten.is_empty() || draws.percent(30) {
            self.end_and_open(Some(End::Close), draws)?;
        }
        self.oracle.allow_partial(!self.rotten.is_empty());
        self.work_off()?;
        let tenants: Vec<TenantId> = self.oracle.tenants().cloned().collect();
        for id in &tenants {
            let Ok(handle) = self.store().tenant(id) else { continue };
            handle.undo_cancel().map_err(|error| Violation::new("I14", error.to_string()))?;
            self.oracle.cancelled(id, Some(None));
            let missing: Vec<Tried> =
                self.oracle.batches(id).filter(|tried| self.oracle.state(tried) == State::Absent).collect();
            for tried in missing {
                if self.oracle.content(&tried).len() > self.config.batch_records_max {
                    continue;
                }
                for attempt in 0.. {
                    self.oracle.retrying(&tried, self.machine.now());
                    let answer = self.oracle.content(&tried).write(&handle).and_then(Ticket::wait);
                    let overloaded = matches!(answer, Err(WriteError::Overloaded { .. }));
                    let failed = answer.as_ref().err().map(ToString::to_string);
                    self.learn(&tried, answer)?;
                    match failed {
                        None => break,
                        Some(_) if overloaded && attempt == 0 => self.work_off()?,
                        Some(error) => {
                            return Err(Violation::new(
                                "I14",
                                format!("nothing fails any more, but: {error}"),
                            ));
                        }
                    }
                }
            }
        }
        self.check()?;
        let settled = self.store().settle();
        self.learn_maintenance(&settled.map(|done| done.len()), "settle", None)?;
        self.learn_plans()?;
        self.work_off()?;
        self.check()?;
        self.erased_are_gone()?;
        let store = self.store.take().expect("open");
        store
            .close()
            .map_err(|error| Violation::new("I14", format!("nothing fails any more, but: {error}")))?;
        self.oracle.synced();
        let read_only = self.machine.open_read_only();
        let read_only = read_only.map_err(|error| Violation::new("I11", format!("read only: {error}")))?;
        self.oracle.check_read_only(&read_only, Beside::Nobody, self.machine.now())?;
        drop(read_only);
        self.open(draws)?;
        self.verify(true)
    }

    /// Nothing is left of the tenants that were erased, but their receipts.
    fn erased_are_gone(&mut self) -> Result<(), Violation> {
        let violated = |what: String| Err(Violation::new("P7", what));
        if let Some(erasing) = self.store().erasures().first() {
            return violated(format!("{} is erased and is not gone", erasing.tenant));
        }
        let paths = self.machine.vfs.paths();
        let receipts: Vec<_> = paths.iter().filter(|path| path.starts_with("/data/receipts")).collect();
        if receipts.len() != self.oracle.erasures() {
            return violated(format!(
                "{} were erased, the receipts are {receipts:?}",
                self.oracle.erasures()
            ));
        }
        if receipts.is_empty() {
            return Ok(());
        }
        let key = self.store().receipt_key().map_err(|error| Violation::new("P7", error.to_string()))?;
        for path in receipts {
            let bytes = self.machine.vfs.read_file(path).unwrap_or_default();
            match Receipt::verify(&bytes, &key) {
                Err(error) => return violated(format!("{}: {error}", path.display())),
                Ok(receipt) => {
                    let own = format!("/data/t/{}", receipt.number);
                    if let Some(left) = paths.iter().find(|path| path.starts_with(&own)) {
                        return violated(format!("{} is left of an erased tenant", left.display()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Does maintenance until nothing is left to do.
    pub(super) fn work_off(&mut self) -> Result<(), Violation> {
        for _ in 0..STEPS_MAX {
            match self.store().maintenance_step() {
                Ok(None) => return self.learn_plans(),
                Ok(Some(done)) => self.answer("done", format!("{done:?}")),
                Err(MaintenanceError::Damaged { .. }) if !self.rotten.is_empty() => {}
                Err(error) => {
                    return Err(Violation::new("I14", format!("nothing fails any more, but: {error}")));
                }
            }
        }
        Err(Violation::new("I14", format!("maintenance finds work after {STEPS_MAX} steps")))
    }
}
