//! A host of the engine, made of steps: it writes, retries, opens again where it must, and keeps a book.

use std::path::Path;
use std::sync::Arc;

use annals::vfs::{Clock, SimFault, Vfs};
use annals::{
    Annals, At, BackupError, Deletion, FileKeyStore, HOUR_MS, KeyClass, KeyState, KeyUse, MaintenanceError,
    Matcher, OpenError, RestoreError, RestoreInto, Restored, Tenant, TenantError, Ticket, TimeRange,
    prune_backup, snapshots, verify_backup,
};

use super::book::{Advice, Book, Look, MISSING, SWITCHED, State, TENANTS, id, plan};
use super::rules::{judge, verdict};
use crate::world::Machine;

/// Where the backup is.
const BACKUP: &str = "/safe/backup";
/// Where it is restored to.
const SECOND: &str = "/second";

/// Something that a host does, or that happens to its machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    /// Opens the store, unless it is open.
    Open,
    /// Closes it.
    Close,
    /// The process ends without a word, and the store is closed for that reason.
    Kill,
    /// Creates a tenant.
    Create(usize),
    /// Writes a batch of so many samples for a tenant.
    Samples(usize, usize),
    /// Writes a batch of so many signals for a tenant.
    Signals(usize, usize),
    /// Writes a batch of so many long series, of a KiB each.
    Fat(usize, usize),
    /// Eight writers of all tenants, one commit.
    Group,
    /// Erases a tenant.
    Erase(usize),
    /// Deletes what a tenant holds of the series that all its batches write to.
    Delete(usize),
    /// Cancels a tenant.
    Cancel(usize),
    /// Takes that back.
    UndoCancel(usize),
    /// Gives a tenant new keys of every class that can be replaced; those of before are to go within so many hours.
    Rotate(usize, i64),
    /// Gives a tenant another plan.
    Plan(usize, &'static str),
    /// Takes back a change of plan that waits.
    UndoPlan(usize),
    /// Switches [`SWITCHED`] off for a tenant, or on again.
    Switch(usize, bool),
    /// Makes blocks of what a tenant has in memory.
    Flush(usize),
    /// One piece of background work.
    Maintain,
    /// Flushes and merges all there is.
    Settle,
    /// So many hours pass.
    Hours(u64),
    /// Takes a snapshot into the backup.
    Backup,
    /// Restores the newest snapshot to a directory of its own.
    Restore,
    /// Leaves the newest snapshot alone there, and nothing of tenants whose keys are destroyed.
    Prune,
    /// Opens the store read-only, and looks at everything.
    ReadOnly,
    /// Writes again all that was tried: what counted must not count again, what did not must count now.
    Retry,
    /// Not a byte is left on the disk, and not an inode.
    Full,
    /// There is space again.
    Space,
    /// A fault strikes later.
    Fault(SimFault),
    /// A byte of the newest manifest's first copy rots.
    SpoilCopy(usize),
    /// Both copies of the newest manifest rot.
    Wreck(usize),
    /// A byte of the log's first record rots.
    SpoilLog,
    /// Files are there that writes of an earlier process left behind.
    Leftovers,
    /// A block lies in quarantine under a name that does not say whose it is, with a record that does not either, and another
    /// beside the tenant's, which does not name it.
    Aside,
    /// Looks into every file, and at the store's own metrics.
    Inspect,
    /// Reads the backup against what its snapshots say.
    VerifyBackup,
}

/// A host, its machine, its store where it is open, and its book.
pub(super) struct Host {
    pub(super) machine: Machine,
    pub(super) store: Option<Annals>,
    pub(super) book: Book,
    /// What was told, for a failure's text.
    pub(super) told: Vec<String>,
    /// How often the store had to be opened again.
    pub(super) reopened: u64,
    /// The disk fails at times: a look that says that it is not whole is taken for what it says.
    pub(super) faulty: bool,
}

impl Host {
    /// A host whose store is closed.
    pub(super) fn new(machine: Machine, book: Book) -> Host {
        judge(&machine);
        Host { machine, store: None, book, told: Vec::new(), reopened: 0, faulty: false }
    }

    /// Whether the machine stands still.
    fn stopped(&self) -> bool {
        self.machine.vfs.crashed()
    }

    /// Takes steps until the machine stops; an error says what the engine did that it must not do.
    pub(super) fn run(&mut self, steps: &[Step]) -> Result<(), String> {
        for step in steps {
            self.step(step).map_err(|what| format!("{step:?}: {what}"))?;
            if self.stopped() {
                break;
            }
        }
        verdict(&self.machine)
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let vfs = self.machine.vfs.clone();
        match *step {
            Step::Open => self.open().map(|_| ()),
            Step::Close => {
                if let Some(store) = self.store.take() {
                    let closed = store.close();
                    self.note("close", &closed);
                }
                Ok(())
            }
            Step::Kill => {
                vfs.process_crash();
                self.store = None;
                vfs.process_crash();
                Ok(())
            }
            Step::Create(tenant) => self.create(tenant),
            Step::Samples(tenant, records) => {
                let n = self.book.add_samples(tenant, self.machine.now(), records, 0);
                self.write(&[(tenant, n)])
            }
            Step::Signals(tenant, records) => {
                let n = self.book.add_signals(tenant, self.machine.now(), records);
                self.write(&[(tenant, n)])
            }
            Step::Fat(tenant, series) => {
                let n = self.book.add_samples(tenant, self.machine.now(), 1, series);
                self.write(&[(tenant, n)])
            }
            Step::Group => {
                let now = self.machine.now();
                let mut group = Vec::new();
                for writer in 0..8 {
                    let tenant = writer % TENANTS.len();
                    group.push(match TENANTS[tenant].1 {
                        "starter" => (tenant, self.book.add_signals(tenant, now, 2)),
                        _ => (tenant, self.book.add_samples(tenant, now, 2, 0)),
                    });
                }
                self.write(&group)
            }
            Step::Delete(tenant) => self.delete(tenant),
            Step::Erase(tenant) => self.erase(tenant),
            Step::Cancel(tenant) => self.cancel(tenant, true),
            Step::UndoCancel(tenant) => self.cancel(tenant, false),
            Step::Rotate(tenant, hours) => {
                let classes = [KeyClass::Metrics, KeyClass::Signals, KeyClass::Wrapping];
                self.change(tenant, "rotate keys", &mut |_, handle| {
                    handle.rotate_keys(&classes, hours * HOUR_MS).map(|_| ())
                })
            }
            Step::Plan(tenant, name) => {
                self.book.changing_plan(tenant, name);
                let plan = annals::Plan::built_in(name).ok_or("there is no such plan")?;
                self.change(tenant, "change plan", &mut |_, handle| {
                    handle.change_plan(plan.clone()).map(|_| ())
                })
            }
            Step::UndoPlan(tenant) => {
                self.change(tenant, "undo plan", &mut |_, handle| handle.undo_plan().map(|_| ()))
            }
            Step::Switch(tenant, on) => self.change(tenant, "switch a kind", &mut |book, handle| {
                book.switching(tenant);
                handle.switch_kind(SWITCHED, on).map(|_| book.switched(tenant, on))
            }),
            Step::Flush(tenant) => {
                self.maintain("flush", Some(tenant), &mut |store| match store.tenant(&id(tenant)) {
                    Ok(tenant) => tenant.flush().map(|_| ()),
                    Err(_) => Ok(()),
                })
            }
            Step::Maintain => {
                self.maintain("maintain", None, &mut |store| store.maintenance_step().map(|_| ()))
            }
            Step::Settle => self.maintain("settle", None, &mut |store| store.settle().map(|_| ())),
            Step::Hours(hours) => {
                self.machine.clock.advance_ms(hours * HOUR_MS as u64);
                self.book.passes(self.machine.now());
                Ok(())
            }
            Step::Backup => self.backup(),
            Step::Restore => {
                let restored = self.restore(At::Newest, SECOND);
                self.note("restore", &restored);
                let lacks = |restored: Restored| !restored.faults.is_empty() || !restored.left_out.is_empty();
                if self.faulty && restored.is_ok_and(lacks) {
                    self.book.restored_in_part();
                }
                Ok(())
            }
            Step::Prune => self.prune(),
            Step::ReadOnly => self.read_only(),
            Step::Retry => {
                let all = self.all();
                self.write(&all)
            }
            Step::Full => {
                vfs.set_space(0);
                vfs.set_inodes(0);
                Ok(())
            }
            Step::Space => {
                vfs.set_space(u64::MAX);
                vfs.set_inodes(u64::MAX);
                Ok(())
            }
            Step::Fault(fault) => {
                vfs.fail(fault);
                Ok(())
            }
            Step::SpoilCopy(tenant) => self.spoil(tenant, &[100]),
            Step::Wreck(tenant) => {
                self.book.wreck(tenant);
                self.spoil(tenant, &[100, 4096 + 100])
            }
            Step::SpoilLog => {
                let segment = vfs.paths().into_iter().filter(|path| path.starts_with("/data/wal")).min();
                let segment = segment.ok_or("there is no log to damage")?;
                // A segment's header takes 4096 bytes.
                vfs.corrupt(&segment, 4096 + 40, 0x10).map_err(|error| error.to_string())
            }
            Step::Aside => {
                let block = vfs.paths().into_iter().find(|path| path.extension().is_some_and(|e| e == "blk"));
                let block = block.ok_or("there is no block")?;
                let beside = block.with_file_name("20240101-00000099.blk");
                let bytes = vfs.read_file(block).map_err(|error| error.to_string())?;
                let quarantine = Path::new("/data/quarantine");
                let record = b"file: found.blk\nowner: -\nclass: damaged\ndue: never\n";
                [
                    (quarantine.join("found.blk").as_path(), bytes.as_slice()),
                    (&quarantine.join("found.blk.record"), record),
                    (&beside, &bytes),
                ]
                .iter()
                .try_for_each(|(path, bytes)| vfs.write_file(path, bytes))
                .map_err(|error| error.to_string())
            }
            Step::Inspect => {
                for path in vfs.paths() {
                    // What cannot be read or is no file of a store says so.
                    let _ = annals::inspect(Arc::new(vfs.clone()), &path);
                }
                if let Some(store) = &self.store {
                    // It tells what it can see.
                    let _ = store.metrics();
                }
                Ok(())
            }
            Step::VerifyBackup if self.book.backups().is_empty() => Ok(()),
            Step::VerifyBackup => {
                let checked = verify_backup(&vfs, BACKUP.as_ref());
                self.note("verify the backup", &checked);
                match checked.ok().and_then(|check| check.findings.into_iter().next()) {
                    Some(found) if !self.faulty => Err(format!("the backup: {found:?}")),
                    _ => Ok(()),
                }
            }
            Step::Leftovers => {
                let drafts = Path::new(BACKUP).join("tmp");
                let backup = vfs.exists(&drafts).then(|| drafts.join("a-block"));
                ["/data/tmp/0000000000000099.seg", "/data/tmp/a-block"]
                    .iter()
                    .map(Path::new)
                    .chain(backup.as_deref())
                    .try_for_each(|path| vfs.write_file(path, &[7; 300]))
                    .map_err(|error| error.to_string())
            }
        }
    }

    /// Every batch of every tenant that can be written to.
    pub(super) fn all(&self) -> Vec<(usize, usize)> {
        self.book.usable().flat_map(|tenant| (0..self.book.tried(tenant)).map(move |n| (tenant, n))).collect()
    }

    fn note<T, E: std::fmt::Display>(&mut self, what: &str, result: &Result<T, E>) {
        if let Err(error) = result {
            self.told.push(format!("{what}: {error}"));
        }
    }

    /// Opens the store unless it is open. False where it does not open; an error where it opens and is not what it
    /// should be.
    pub(super) fn open(&mut self) -> Result<bool, String> {
        if self.store.is_some() {
            return Ok(true);
        }
        let opened = self.machine.open();
        self.note("open", &opened);
        let Ok(store) = opened else { return Ok(false) };
        let looked = match self.book.check(&store, self.machine.now(), Look::First) {
            // Where a fault strikes a read, the answer must say so; a tenant may be unavailable until the next open.
            Err(what) if self.may_be_incomplete(&store, &what) => Ok(()),
            looked => looked,
        };
        self.store = Some(store);
        if self.stopped() { Ok(true) } else { looked.map(|()| true) }
    }

    /// Whether a look may have failed because the disk does.
    fn may_be_incomplete(&self, store: &Annals, what: &str) -> bool {
        self.faulty && (what.contains(MISSING) || !store.recovery().unavailable.is_empty())
    }

    fn reopen(&mut self) -> Result<bool, String> {
        self.reopened += 1;
        self.store = None;
        self.open()
    }

    fn create(&mut self, tenant: usize) -> Result<(), String> {
        if self.book.tenant(tenant) == State::Present {
            // What was to be erased was not.
            return Ok(());
        }
        for _ in 0..3 {
            if !self.open()? || self.stopped() {
                return Ok(());
            }
            let Some(store) = &self.store else { return Ok(()) };
            let created = store.create_tenant(&id(tenant), plan(tenant));
            // Whose manifest the disk did not give keeps its name until the next open.
            let unread = matches!(store.tenant(&id(tenant)), Err(TenantError::Unavailable { .. }));
            self.note("create", &created);
            if self.faulty && unread && matches!(created, Err(TenantError::Exists(_))) {
                return Ok(());
            }
            let advice = self.book.learn_tenant(tenant, &created)?;
            if self.stopped() || advice == Advice::GoOn {
                return Ok(());
            }
            if advice == Advice::Reopen {
                self.reopen()?;
            }
            if self.stopped() || self.book.tenant(tenant) == State::Present {
                return Ok(());
            }
        }
        Ok(())
    }

    fn cancel(&mut self, tenant: usize, cancelled: bool) -> Result<(), String> {
        if !self.open()? || self.stopped() || self.tenant(tenant).is_none() {
            return Ok(());
        }
        let (now, mut done) = (self.machine.now(), false);
        self.change(tenant, "cancel", &mut |book, handle| {
            book.cancelling(tenant, now);
            let changed = match cancelled {
                true => handle.cancel().map(|_| ()),
                false => handle.undo_cancel().map(|_| ()),
            };
            done = changed.is_ok();
            changed
        })?;
        if done {
            self.book.cancelled(tenant, cancelled);
        }
        Ok(())
    }

    fn delete(&mut self, tenant: usize) -> Result<(), String> {
        if !self.open()? || self.stopped() || self.tenant(tenant).is_none() {
            return Ok(());
        }
        let (matchers, range) = (vec![Matcher::equal("__name__", "last")], TimeRange::ALL);
        let deletion = Deletion { matchers, range, metrics: true, signals: false };
        let mut done = false;
        self.change(tenant, "delete", &mut |book, handle| {
            book.deleting(tenant);
            let deleted = handle.delete(&deletion).map(|_| ());
            done = deleted.is_ok();
            deleted
        })?;
        if done {
            self.book.deleted(tenant);
        }
        Ok(())
    }

    /// By the store where it is open, else of its files.
    fn backup(&mut self) -> Result<(), String> {
        let Machine { vfs, clock, .. } = &self.machine;
        let taken = match &self.store {
            Some(store) => store.backup(BACKUP.as_ref()),
            None => annals::backup(vfs, &**clock, "/data".as_ref(), BACKUP.as_ref()),
        };
        self.note("backup", &taken);
        if taken.is_err() {
            self.book.backup_failed();
        }
        if let Ok(taken) = taken {
            // What the disk did not give is not in it.
            match taken.faults.first() {
                None => self.book.backed_up(taken.number),
                Some(_) if self.faulty => {}
                Some(fault) => {
                    return Err(format!("a fault of the store without a fault of the disk: {fault}"));
                }
            }
        }
        Ok(())
    }

    fn prune(&mut self) -> Result<(), String> {
        if self.book.backups().is_empty() {
            // None was taken, and there may be no directory either.
            return Ok(());
        }
        let Machine { vfs, clock, .. } = &self.machine;
        self.book.pruning();
        let shared: Arc<dyn Vfs> = Arc::new(vfs.clone());
        let keys = FileKeyStore::new(shared, "/data/keys".as_ref(), "/data/tmp".as_ref());
        let pruned = prune_backup(vfs, &**clock, BACKUP.as_ref(), 1, Some(&keys));
        self.note("prune", &pruned);
        Ok(())
    }

    fn restore(&self, at: At, root: &str) -> Result<Restored, RestoreError> {
        let Machine { vfs, clock, entropy, options } = &self.machine;
        let vfs: Arc<dyn Vfs> = Arc::new(vfs.clone());
        let keys = FileKeyStore::new(vfs.clone(), "/data/keys".as_ref(), "/data/tmp".as_ref());
        let into = RestoreInto { root: root.as_ref(), options };
        annals::restore(&vfs, &**clock, &**entropy, BACKUP.as_ref(), at, Some(&keys), into)
    }

    /// Every snapshot that was taken can be restored, and shows what was known then; so does a store that was being
    /// restored, if it is one, and else it can be restored anew.
    pub(super) fn check_restored(&self) -> Result<(), String> {
        for (number, then) in self.book.backups() {
            let alone = Host::new(self.machine.fork(), self.book.restored(then));
            let root = format!("/restored/{number}");
            alone
                .must_restore(At::Snapshot(*number), &root)
                .map_err(|what| format!("snapshot {number}: {what}"))?;
        }
        // Of the first snapshot: no other was there then.
        match self.book.backups().first_key_value() {
            Some((number, then)) if self.machine.vfs.exists(SECOND) && !self.book.lacks() => {
                let alone = Host::new(self.machine.fork(), self.book.restored(then));
                let at = At::Snapshot(*number);
                alone.must_restore(at, SECOND).map_err(|what| format!("what was being restored: {what}"))
            }
            _ => Ok(()),
        }
    }

    fn must_restore(mut self, at: At, root: &str) -> Result<(), String> {
        match self.restore(at, root) {
            Err(RestoreError::Nobody { .. }) if self.book.is_empty() => return Ok(()),
            // It had come to its end, untold.
            Err(RestoreError::Occupied { .. }) if root == SECOND => {}
            Ok(restored) if !restored.faults.is_empty() || !restored.left_out.is_empty() => {
                return Err(format!("{restored:?}"));
            }
            restored => drop(restored.map_err(|error| error.to_string())?),
        }
        let store = self.machine.open_at(root).map_err(|error| error.to_string())?;
        if let Some(finding) = store.recovery().findings.first() {
            return Err(finding.clone());
        }
        let now = self.machine.now();
        self.book.check(&store, now, Look::First)
    }

    /// The snapshots that were taken are there, and every file that any snapshot needs is what it was.
    pub(super) fn check_backup(&self) -> Result<(), String> {
        let (vfs, directory) = (&self.machine.vfs, BACKUP.as_ref());
        if !vfs.exists(BACKUP) {
            return match self.book.backups().is_empty() {
                true => Ok(()),
                false => Err("the backup is gone".to_owned()),
            };
        }
        let listed = match snapshots(vfs, directory) {
            Err(BackupError::Empty { .. }) => Vec::new(),
            // Of a backup that was never begun.
            Err(BackupError::Io { .. }) if self.book.backups().is_empty() => Vec::new(),
            listed => listed.map_err(|error| format!("the backup: {error}"))?,
        };
        for number in self.book.backups().keys() {
            if !listed.iter().any(|snapshot| snapshot.number == *number && snapshot.damaged.is_none()) {
                return Err(format!("snapshot {number} was taken and is not there: {listed:?}"));
            }
        }
        if listed.is_empty() {
            return Ok(());
        }
        let check = verify_backup(vfs, directory).map_err(|error| format!("the backup: {error}"))?;
        check.findings.first().map_or(Ok(()), |found| Err(format!("the backup: {found:?}")))
    }

    /// Keys whose date has come are gone, and each class has one that is used.
    pub(super) fn old_keys_are_gone(&self) -> Result<(), String> {
        let now = self.machine.now();
        for tenant in self.book.usable() {
            let keys = self.tenant(tenant).map(|handle| handle.keys()).unwrap_or_default();
            let stays =
                |key: &&KeyUse| key.state == KeyState::Old && key.until.is_some_and(|until| until <= now);
            if let Some(key) = keys.iter().find(stays) {
                return Err(format!("tenant {}: {key:?} stays after its date", id(tenant)));
            }
        }
        Ok(())
    }

    fn erase(&mut self, tenant: usize) -> Result<(), String> {
        for _ in 0..2 {
            if !self.open()? || self.stopped() {
                return Ok(());
            }
            let Some(store) = &self.store else { return Ok(()) };
            if store.tenant(&id(tenant)).is_err() {
                return Ok(());
            }
            self.book.erasing(tenant);
            let erased = store.erase_tenant(&id(tenant));
            self.note("erase", &erased);
            match erased {
                Ok(_) | Err(TenantError::KeyNotDestroyed { .. }) => {
                    self.book.erase(tenant);
                    return Ok(());
                }
                Err(TenantError::Change(
                    MaintenanceError::Indeterminate { .. } | MaintenanceError::Suspended { .. },
                )) if !self.stopped() => {
                    self.reopen()?;
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn tenant(&self, tenant: usize) -> Option<Tenant> {
        self.store.as_ref()?.tenant(&id(tenant)).ok()
    }

    /// Queues batches, commits them together, and tries each again that was not taken, once.
    fn write(&mut self, batches: &[(usize, usize)]) -> Result<(), String> {
        let mut left = batches.to_vec();
        for _ in 0..2 {
            if left.is_empty() || !self.open()? || self.stopped() {
                return Ok(());
            }
            let mut tickets: Vec<(usize, usize, Ticket)> = Vec::new();
            let mut again = Vec::new();
            let mut reopen = false;
            for &(tenant, n) in &left {
                let Some(handle) = self.tenant(tenant) else { continue };
                match self.book.queue(&handle, tenant, n) {
                    Ok(ticket) => tickets.push((tenant, n, ticket)),
                    Err(error) => {
                        let answer = Err(error);
                        self.note("write", &answer);
                        reopen |= self.book.learn(tenant, n, &answer)? == Advice::Reopen;
                        again.push((tenant, n));
                    }
                }
            }
            for (tenant, n, ticket) in tickets {
                let answer = ticket.wait();
                self.note("write", &answer);
                match self.book.learn(tenant, n, &answer)? {
                    Advice::GoOn => {}
                    advice => {
                        reopen |= advice == Advice::Reopen;
                        again.push((tenant, n));
                    }
                }
            }
            if self.stopped() {
                return Ok(());
            }
            if reopen {
                self.reopen()?;
            }
            left = again;
        }
        Ok(())
    }

    fn maintain(
        &mut self,
        what: &str,
        settles: Option<usize>,
        work: &mut dyn FnMut(&Annals) -> Result<(), MaintenanceError>,
    ) -> Result<(), String> {
        for _ in 0..2 {
            if !self.open()? || self.stopped() {
                return Ok(());
            }
            let Some(store) = &self.store else { return Ok(()) };
            let done = work(store);
            self.note(what, &done);
            if self.stopped() {
                return Ok(());
            }
            match done {
                Ok(()) => {
                    if let Some(tenant) = settles
                        && self.tenant(tenant).is_some()
                    {
                        self.book.settle(tenant);
                    }
                    return Ok(());
                }
                Err(MaintenanceError::Indeterminate { .. } | MaintenanceError::Suspended { .. }) => {
                    self.reopen()?;
                }
                Err(MaintenanceError::Build { what, .. }) => return Err(what),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Changes a tenant, and tries again once where it was refused.
    fn change(
        &mut self,
        tenant: usize,
        what: &str,
        work: &mut dyn FnMut(&mut Book, &Tenant) -> Result<(), TenantError>,
    ) -> Result<(), String> {
        for _ in 0..2 {
            if !self.open()? || self.stopped() {
                return Ok(());
            }
            let Some(handle) = self.tenant(tenant) else { return Ok(()) };
            // An open before this try has settled what became of the one before.
            let done = work(&mut self.book, &handle);
            drop(handle);
            self.note(what, &done);
            if self.stopped() || done.is_ok() {
                return Ok(());
            }
            if let Err(TenantError::Change(
                MaintenanceError::Indeterminate { .. } | MaintenanceError::Suspended { .. },
            )) = done
            {
                self.reopen()?;
            }
        }
        Ok(())
    }

    fn read_only(&mut self) -> Result<(), String> {
        let opened = self.machine.open_read_only();
        if let Err(OpenError::NoStore { .. }) = &opened {
            return match self.book.usable().next() {
                Some(_) => Err("a store that is there is not found".to_owned()),
                None => Ok(()),
            };
        }
        self.note("open read-only", &opened);
        let store = match opened {
            Ok(store) => store,
            Err(_) if self.faulty || self.stopped() => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        // Nobody lives who could acknowledge more: all of the log counts.
        let look = if self.store.is_some() { Look::Beside } else { Look::Live };
        match self.book.check_read_only(&store, self.machine.now(), look) {
            // A tenant whose manifest could not be read says so.
            Err(what)
                if self.faulty
                    && (what.contains(MISSING)
                        || what.contains("is unavailable")
                        || !store.findings().is_empty()) =>
            {
                Ok(())
            }
            looked => looked,
        }
    }

    fn spoil(&mut self, tenant: usize, offsets: &[u64]) -> Result<(), String> {
        // The only tenant that has that name's manifest: names are in the content, which both copies hold.
        let name = TENANTS[tenant].0.as_bytes();
        let newest = self
            .machine
            .vfs
            .paths()
            .into_iter()
            .filter(|path| path.to_string_lossy().contains("/manifest-"))
            .filter(|path| {
                self.machine
                    .vfs
                    .read_file(path)
                    .is_ok_and(|bytes| bytes.windows(name.len()).any(|w| w == name))
            })
            .max()
            .ok_or("there is no manifest to damage")?;
        for &offset in offsets {
            self.machine.vfs.corrupt(&newest, offset, 0x10).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

/// A number that stands for all that a disk holds: names and bytes of files, and names of directories.
pub(super) fn fingerprint(machine: &Machine, hasher: &mut impl std::hash::Hasher) {
    use std::hash::Hash;
    let vfs = &machine.vfs;
    let mut directories = vec![std::path::PathBuf::from("/")];
    while let Some(directory) = directories.pop() {
        for entry in vfs.list(&directory).unwrap_or_default() {
            let path = directory.join(&entry.name);
            entry.name.hash(hasher);
            if entry.kind == annals::vfs::DirEntryKind::Directory {
                directories.push(path);
            } else if let Ok(bytes) = vfs.read_file(&path) {
                // Segments end in zeros that were written ahead.
                let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                (bytes.len(), &bytes[..end]).hash(hasher);
            }
        }
    }
    machine.clock.now_ms().hash(hasher);
}
