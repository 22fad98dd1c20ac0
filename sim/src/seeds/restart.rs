//! What goes wrong in a run, and how a store comes back.

use std::path::PathBuf;

use annals::vfs::SimCut;
use annals::{Annals, TenantId};

use super::draw::Draws;
use super::operation::{End, cut};
use super::run::Run;
use crate::oracle::{Shown, Violation};

/// After how many recoveries of one disk the next does what the last did. Where heads may hold less than the log does, each
/// makes blocks of a part of it.
const RECOVERIES_MAX: usize = 12;
/// Of so many crashes, one is followed by a look at every byte that it left.
const VERIFIED_OF: u64 = 4;
/// How many opens may fail while faults are planted.
const OPENS_MAX: usize = 3;

impl Run<'_> {
    pub(super) fn rot(&mut self, draws: &Draws) {
        let blocks: Vec<PathBuf> = (self.machine.vfs.paths().into_iter())
            .filter(|path| path.starts_with("/data/t"))
            .filter(|path| path.extension().is_some_and(|end| end == "blk"))
            .collect();
        let numbers: Vec<(String, TenantId)> =
            self.store().tenants().into_iter().map(|tenant| (tenant.number.to_string(), tenant.id)).collect();
        if blocks.is_empty() {
            return;
        }
        let path = &blocks[draws.below(blocks.len() as u64) as usize];
        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let Some((_, id)) = numbers.into_iter().find(|(number, _)| parts.contains(number)) else { return };
        let bytes = self.machine.vfs.read_file(path).map_or(0, |bytes| bytes.len() as u64);
        if bytes > 0 && self.machine.vfs.corrupt(path, draws.below(bytes), 1 << draws.below(8)).is_ok() {
            self.outcome.faults += 1;
            self.note(|| format!("  {} of {id} rots", path.display()));
            self.oracle.damaged(&id);
            let bytes = self.machine.vfs.read_file(path).unwrap_or_default();
            self.rotten.insert(path.clone(), (id, bytes));
        }
    }

    /// Ends the store, in a way that is drawn where none is given, and opens it again.
    pub(super) fn end_and_open(&mut self, end: Option<End>, draws: &Draws) -> Result<(), Violation> {
        let crashed = self.machine.vfs.crashed();
        let end = match end {
            Some(End::Close) if crashed => End::Kill,
            Some(end) => end,
            None if !crashed && draws.percent(20) => End::Close,
            None if draws.percent(30) => End::Kill,
            None => End::Cut(cut(self.config, draws)),
        };
        self.note(|| format!("  ends: {end:?}"));
        let store = self.store.take();
        match end {
            End::Close => {
                let closed = store.map(Annals::close);
                let whole = matches!(closed, Some(Ok(())));
                self.answer("closed", whole);
                if whole {
                    self.oracle.synced();
                } else {
                    self.oracle.log_failed();
                }
            }
            End::Kill => {
                // The store's own end must not touch what it leaves.
                self.machine.vfs.set_crash_at(0);
                drop(store);
                self.machine.vfs.process_crash();
                self.outcome.crashes += 1;
            }
            End::Cut(policy) => {
                self.machine.vfs.set_crash_at(0);
                drop(store);
                self.cut(policy);
            }
        }
        if self.outcome.crashes % VERIFIED_OF == 1 {
            self.verify_ended()?;
        }
        self.open(draws)
    }

    pub(super) fn cut(&mut self, policy: SimCut) {
        self.machine.vfs.power_cut(policy);
        self.oracle.power_cut();
        self.outcome.crashes += 1;
    }

    /// Opens the store; where planted faults keep it from that, it is tried again, in the end without them.
    pub(super) fn open(&mut self, draws: &Draws) -> Result<(), Violation> {
        if draws.percent(self.config.twice_percent) && self.opens > 0 && !self.reads_fail {
            self.recover_twice()?;
        }
        for attempt in 0.. {
            match self.machine.open() {
                Ok(store) => {
                    self.opens += 1;
                    self.store = Some(store);
                    break;
                }
                Err(error) => {
                    self.answer("not opened", &error);
                    if attempt >= OPENS_MAX {
                        return Err(Violation::new("I11", format!("without a fault: {error}")));
                    }
                    if self.machine.vfs.crashed() {
                        if draws.percent(50) {
                            self.machine.vfs.process_crash();
                            self.outcome.crashes += 1;
                        } else {
                            self.cut(cut(self.config, draws));
                        }
                    } else {
                        self.heal();
                    }
                }
            }
        }
        if self.machine.vfs.crashed() {
            return self.end_and_open(None, draws);
        }
        if self.reads_fail {
            self.machine.vfs.clear_faults();
            self.reads_fail = false;
        }
        let unavailable = self.store().recovery().unavailable.clone();
        if !unavailable.is_empty() {
            // Opened while something failed: without that, everyone must be there.
            self.answer("unavailable", unavailable.len());
            if self.machine.vfs.crashed() || self.opens == 0 {
                return Ok(());
            }
            self.heal();
            self.store = None;
            let store =
                self.machine.open().map_err(|e| Violation::new("I11", format!("without a fault: {e}")))?;
            if !store.recovery().unavailable.is_empty() && self.rotten.is_empty() {
                return Err(Violation::new("I11", format!("{:?}", store.recovery().unavailable)));
            }
            self.store = Some(store);
        }
        self.oracle.allow_partial(false);
        self.outcome.checks += 1;
        self.note(|| "  opened".to_owned());
        let store = self.store.take();
        let checked = self.oracle.reopened(store.as_ref().expect("open"), self.machine.now());
        self.store = store;
        checked
    }

    /// Recovers a copy of the disk again and again: each time it finds the same, and soon, when what the first has
    /// left to tidy up (older manifests, blocks of what was replayed) is gone, it makes the same calls as the time before.
    pub(super) fn recover_twice(&mut self) -> Result<(), Violation> {
        let copy = self.machine.fork();
        let mut before: Option<(Vec<String>, usize)> = None;
        for round in 0..RECOVERIES_MAX {
            copy.vfs.take_trace();
            let Ok(store) = copy.open() else { return Ok(()) };
            let calls = copy.vfs.take_trace();
            let calls: Vec<String> =
                calls.iter().map(|call| format!("{:?} {}", call.op, call.path.display())).collect();
            let mut shown = 0;
            for tenant in store.tenants() {
                let Ok(tenant) = store.tenant(&tenant.id) else { continue };
                let all = Shown::read(&tenant.reader())?;
                shown += all.rows.len();
                shown += all.series.iter().map(|(_, samples)| samples.timestamps.len()).sum::<usize>();
            }
            copy.vfs.set_crash_at(0);
            drop(store);
            copy.vfs.process_crash();
            if let Some((_, first)) = before
                && first != shown
            {
                return Err(Violation::new(
                    "I12",
                    format!("recovered again, {shown} records instead of {first}"),
                ));
            }
            match &before {
                Some((last, _)) if *last == calls => return Ok(()),
                Some((last, _)) if round + 1 == RECOVERIES_MAX => {
                    let what = format!("recovery {round} still calls {calls:#?}, the one before {last:#?}");
                    return Err(Violation::new("I12", what));
                }
                _ => {}
            }
            before = Some((calls, shown));
        }
        Ok(())
    }

    /// Nothing fails any more.
    pub(super) fn heal(&mut self) {
        self.machine.vfs.clear_faults();
        self.machine.vfs.set_space(u64::MAX);
        self.machine.vfs.set_crash_at(u64::MAX / 2);
        self.reads_fail = false;
    }
}
