//! A run: the operations of one seed on the real engine, with the oracle beside it.
//!
//! | invariant | where it is checked |
//! |---|---|
//! | I1-I5, I7, I9, I16 | the [`oracle`](crate::oracle), after operations and after every open |
//! | I5 of queries | `Run::query`: the increase of all signals |
//! | I6 damage is found and named | `Run::verify`: the damaged blocks and nothing else |
//! | I8 cursors | `Run::hold`: a selection that is read late shows the same, or says what it lacks |
//! | I10, I13, I15 order of calls | the disk, by the rules of [`Order`], `Run::judged` |
//! | I11 every crash recovers | `Run::open`: an open without faults succeeds |
//! | I12 recovery twice | `Run::recover_twice`: the same answers, and in the end the same calls |
//! | I14 full disks | `Run::live`: after space is back writes succeed without an open |
//! | I17 isolation | `seeds::isolation`: the same answers without the other tenants |
//! | I18 no panic, nothing left open | `seeds::run_operations`: a panic is a failure; `Run::whole` counts handles |

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;

use annals::query::promql::Value;
use annals::vfs::{SimCut, SimVfs};
use annals::{
    Annals, Budget, DAY_MS, MaintenanceError, QueryLimits, SeriesSource, Tenant, TenantError, TenantId,
    Ticket, TimeRange, Timestamp, Trouble, WriteError,
};

use super::config::Config;
use super::content::{altered, content};
use super::draw::Draws;
use super::operation::{End, Operation, What, cut, strikes_reads};
use crate::oracle::{Beside, Oracle, Shown, State, Tried, Violation};
use crate::world::{Machine, Order};

/// How many steps of maintenance may follow one another before there is nothing left to do.
const STEPS_MAX: usize = 10_000;
/// After how many recoveries of one disk the next does what the last did.
const RECOVERIES_MAX: usize = 6;
/// How many opens may fail while faults are planted.
const OPENS_MAX: usize = 3;

/// What a run amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// Of all calls, answers and files: the same for the same seed.
    pub hash: u64,
    /// Mutating calls of the disk.
    pub calls: u64,
    /// Acknowledged batches.
    pub acknowledged: u64,
    /// Crashes of process or power, those in recovery included.
    pub crashes: u64,
    /// Faults planted, full disks and damages included.
    pub faults: u64,
    /// Comparisons with the oracle.
    pub checks: u64,
}

/// A run as it stands.
pub(super) struct Run<'a> {
    config: &'a Config,
    machine: Machine,
    oracle: Oracle,
    store: Option<Annals>,
    /// How often the store was opened, and how often a crash came: what a held view may still be asked.
    opens: u64,
    outcome: Outcome,
    reads_fail: bool,
    /// The store has said that it takes no changes before it is opened again.
    spent: bool,
    rotten: BTreeMap<PathBuf, TenantId>,
    notes: Option<Vec<String>>,
    /// Batches of other tenants are drawn and not written.
    only_first: bool,
}

impl<'a> Run<'a> {
    /// A machine, a store, the first tenants.
    pub(super) fn new(config: &'a Config, notes: bool) -> Result<Run<'a>, Violation> {
        let machine = Machine::new(config.options());
        machine.vfs.set_failed_sync(config.failed_sync);
        machine.vfs.set_rules(Arc::new(Order));
        let mut run = Run {
            config,
            machine,
            oracle: Oracle::new(),
            store: None,
            opens: 0,
            outcome: Outcome { hash: 0xcbf2_9ce4_8422_2325, ..Outcome::default() },
            reads_fail: false,
            spent: false,
            rotten: BTreeMap::new(),
            notes: notes.then(Vec::new),
            only_first: false,
        };
        run.open(&Draws::new(config.seed))?;
        for tenant in 0..config.plans.len().div_ceil(2) {
            run.create(tenant);
        }
        Ok(run)
    }

    /// What happened, line by line, where that is wanted.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
        self.notes.take().unwrap_or_default()
    }

    /// Does the operations, then lets everything recover.
    pub(super) fn whole(&mut self, operations: &[Operation]) -> Result<Outcome, Violation> {
        self.operate(operations)?;
        self.live(&Draws::new(self.config.seed ^ 1))?;
        self.judged()?;
        self.store = None;
        let open = self.machine.vfs.open_handles();
        if open > 0 {
            return Err(Violation::new("I18", format!("{open} files or locks are open when all has ended")));
        }
        let files = self.machine.vfs.paths();
        for path in files {
            let bytes = self.machine.vfs.read_file(&path).unwrap_or_default();
            self.hash(path.to_string_lossy().as_bytes());
            self.hash(&bytes);
        }
        self.outcome.calls = self.machine.vfs.calls();
        self.outcome.acknowledged = self.oracle.acknowledged();
        Ok(self.outcome)
    }

    /// From here on batches of other tenants than the first are drawn and not written.
    pub(super) fn only_first(&mut self, only_first: bool) {
        self.only_first = only_first;
    }

    /// What a tenant shows, as text.
    pub(super) fn text_of(&self, id: &TenantId) -> Result<String, Violation> {
        let handle = self.store().tenant(id).map_err(|error| Violation::new("I1", error.to_string()))?;
        let shown = Shown::read(&handle.reader())?;
        let mut text = format!("{:?} {:?}", shown.expired_through, shown.rows);
        for (labels, samples) in &shown.series {
            let bits: Vec<u64> = samples.values.iter().map(|value| value.to_bits()).collect();
            text += &format!("{labels} {:?} {bits:?}", samples.timestamps);
        }
        Ok(text)
    }

    /// Does operations.
    pub(super) fn operate(&mut self, operations: &[Operation]) -> Result<(), Violation> {
        let mut rest = operations;
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            self.note(|| format!("{} {:?}", first.number, first.what));
            let draws = Draws::new(first.seed);
            if let What::Hold { tenant, operations, read_only } = first.what {
                let (held, later) = rest.split_at(operations.min(rest.len()));
                rest = later;
                self.hold(tenant, read_only, held)?;
            } else {
                self.act(&first.what, &draws, first.number)?;
            }
            self.judged()?;
            if self.machine.vfs.crashed() || self.spent && draws.percent(70) {
                self.end_and_open(None, &draws)?;
            } else if draws.percent(self.config.check_percent) {
                let tenant = draws.below(self.config.plans.len() as u64) as usize;
                self.check_one(tenant)?;
            }
        }
        Ok(())
    }

    fn act(&mut self, what: &What, draws: &Draws, number: u64) -> Result<(), Violation> {
        match what {
            What::Write { tenants, flush } => self.write(tenants, *flush, draws, number)?,
            What::Retry { tenant, at, twice } => self.retry(*tenant, *at, *twice)?,
            What::Conflict { tenant, at } => self.conflict(*tenant, *at)?,
            What::Query { tenant } => self.query(*tenant)?,
            What::Hold { .. } => {}
            What::Flush { tenant } => {
                let id = id(*tenant);
                if let Some(tenant) = self.tenant(*tenant) {
                    let flushed = tenant.flush();
                    self.learn_maintenance(&flushed.map(|blocks| blocks.len()), "flush", Some(&id))?;
                }
            }
            What::Maintain { steps } => {
                for _ in 0..*steps {
                    let done = self.store().maintenance_step();
                    self.learn_maintenance(&done.map(|done| format!("{done:?}")), "maintenance", None)?;
                }
            }
            What::Settle => {
                let done = self.store().settle();
                self.learn_maintenance(&done.map(|done| done.len()), "settle", None)?;
            }
            What::Clock { ms } => {
                self.machine.clock.advance_ms(ms.unsigned_abs());
                if *ms >= 0 {
                    self.oracle.passes(self.machine.now());
                } else {
                    self.machine.clock.set_ms(self.machine.now().0 + 2 * ms);
                }
            }
            What::Create { tenant } => self.create(*tenant),
            What::ReadOnly => self.read_only()?,
            What::Verify => self.verify(false)?,
            What::Reopen(end) => self.end_and_open(Some(*end), draws)?,
            What::Fault(fault) => {
                self.outcome.faults += 1;
                self.machine.vfs.fail(*fault);
                if strikes_reads(fault) {
                    self.reads_fail = true;
                    self.oracle.allow_partial(true);
                }
            }
            What::Crash { after, within: true } => self.machine.vfs.set_crash_within(*after),
            What::Crash { after, within: false } => self.machine.vfs.set_crash_at(*after),
            What::Clear => {
                self.machine.vfs.clear_faults();
                self.reads_fail = false;
            }
            What::Space(beside) => {
                self.outcome.faults += u64::from(beside.is_some());
                let space = beside.map_or(u64::MAX, |beside| used(&self.machine.vfs) + beside);
                self.machine.vfs.set_space(space);
            }
            What::Rot => self.rot(draws),
        }
        Ok(())
    }

    // What hosts do.

    fn write(&mut self, tenants: &[usize], flush: bool, draws: &Draws, number: u64) -> Result<(), Violation> {
        let seed = draws.next();
        let mut tickets = Vec::new();
        for (part, &tenant) in (0..).zip(tenants) {
            let Some(handle) = self.tenant(tenant) else { continue };
            let plan = self.config.plan(tenant);
            // Drawn from a stream of its own: whether the others write makes no difference.
            let draws = Draws::new(seed ^ (part << 56));
            let content = content(&draws, &self.config.shape, &plan, number * 8 + part, self.machine.now());
            if self.only_first && tenant != 0 {
                continue;
            }
            let tried = self.oracle.trying(&id(tenant), content, self.machine.now());
            match self.oracle.content(&tried).write(&handle) {
                Ok(ticket) => tickets.push((tried, ticket)),
                Err(error) => self.learn(&tried, Err(error))?,
            }
        }
        if flush && let Some(handle) = self.tenant(tenants[0]) {
            // What it flushes may be acknowledged without anyone having been told: that comes now.
            let flushed = handle.flush();
            for (tried, ticket) in tickets {
                self.learn(&tried, ticket.wait())?;
            }
            return self.learn_maintenance(
                &flushed.map(|blocks| blocks.len()),
                "flush",
                Some(&id(tenants[0])),
            );
        }
        if draws.percent(30) {
            let committed = self.store().commit_step();
            self.answer("commit", committed);
        }
        for (tried, ticket) in tickets {
            self.learn(&tried, ticket.wait())?;
        }
        Ok(())
    }

    fn retry(&mut self, tenant: usize, at: u64, twice: bool) -> Result<(), Violation> {
        let Some((tried, handle)) = self.pick(tenant, at) else { return Ok(()) };
        self.oracle.retrying(&tried, self.machine.now());
        let first = self.oracle.content(&tried).write(&handle);
        let second = twice.then(|| self.oracle.content(&tried).write(&handle));
        let answer = first.and_then(Ticket::wait);
        let counted = answer.as_ref().is_ok_and(|ack| ack.accepted() > 0);
        self.learn(&tried, answer)?;
        if let Some(second) = second {
            let answer = second.and_then(Ticket::wait);
            if counted && !answer.as_ref().is_ok_and(|ack| ack.duplicate) {
                let what = format!("{tried:?}: the second of two attempts in flight is {answer:?}");
                return Err(Violation::new("I2", what));
            }
        }
        Ok(())
    }

    fn conflict(&mut self, tenant: usize, at: u64) -> Result<(), Violation> {
        let Some((tried, handle)) = self.pick(tenant, at) else { return Ok(()) };
        if self.oracle.state(&tried) != State::Present {
            return Ok(());
        }
        match altered(self.oracle.content(&tried)).write(&handle).and_then(Ticket::wait) {
            // Its id was forgotten because nothing of it could count any more.
            Ok(ack) if ack.accepted() == 0 && !ack.duplicate => {}
            Ok(ack) => {
                let what = format!("{tried:?}: other content under its id is taken: {ack:?}");
                return Err(Violation::new("I2", what));
            }
            Err(error) => self.answer("conflict", error),
        }
        Ok(())
    }

    fn create(&mut self, tenant: usize) {
        let (id, plan) = (id(tenant), self.config.plan(tenant));
        if self.oracle.tenant_state(&id) != State::Absent {
            return;
        }
        self.oracle.creating(&id, &plan);
        let created = self.oracle.created(&id, self.store().create_tenant(&id, plan));
        match created {
            Ok(_) => self.answer("created", &id),
            Err(error) => {
                self.spent |= matches!(error, TenantError::Unavailable { .. });
                self.answer("not created", error);
            }
        }
    }

    fn query(&mut self, tenant: usize) -> Result<(), Violation> {
        let Some(handle) = self.tenant(tenant) else { return Ok(()) };
        let id = id(tenant);
        let now = self.machine.now();
        let end = Timestamp(now.0 + DAY_MS);
        // Within what every plan keeps, so that no day expires in its middle.
        let start = Timestamp(now.0.div_euclid(DAY_MS) * DAY_MS - 2 * DAY_MS);
        let text = format!("sum(increase(signals[{}ms]))", end.0 - start.0);
        let answer = match handle.reader().query(&text, end) {
            Ok(answer) => answer,
            Err(_) if self.reads_fail => return Ok(()),
            Err(error) => return Err(Violation::new("I5", format!("{id}: {text}: {error}"))),
        };
        let found = match answer.value {
            Value::Vector(vector) => vector.first().map_or(0.0, |(_, _, value)| *value),
            other => return Err(Violation::new("I5", format!("{id}: {text} is {other:?}"))),
        };
        self.answer("query", found.to_bits());
        let expected = self.oracle.increase(&id, "signals", start, end);
        // The clock went back, and what had expired stays so.
        let expired = self.config.plan(tenant).raw_keep().floor(self.oracle.latest()) > start;
        let excused = expired
            || self.reads_fail
            || self.oracle.is_loose(&id)
            || self.rotten.values().any(|of| *of == id);
        if found == expected || excused {
            Ok(())
        } else {
            Err(Violation::new("I5", format!("{id}: {text} is {found}, not {expected}")))
        }
    }

    /// Opens a view, lets other things happen, and reads it.
    fn hold(&mut self, tenant: usize, read_only: bool, held: &[Operation]) -> Result<(), Violation> {
        let (opens, crashes) = (self.opens, self.outcome.crashes);
        let reader = match read_only {
            true => self.machine.open_read_only().ok().and_then(|store| store.tenant(&id(tenant)).ok()),
            false => self.tenant(tenant).map(|handle| handle.reader()),
        };
        let Some(reader) = reader.filter(|_| !self.reads_fail) else { return self.operate(held) };
        let budget = Budget::new(QueryLimits::default());
        let select = || {
            reader
                .select(&[], TimeRange::ALL, &budget)
                .map_err(|error| Violation::new("I5", format!("a selection fails: {error}")))
        };
        let first = Shown::of(&*select()?)?;
        let late = select()?;
        self.operate(held)?;
        if self.outcome.crashes > crashes {
            // The reader's process has ended too.
            return Ok(());
        }
        self.note(|| "  a held view is read".to_owned());
        let second = Shown::of(&*late)?;
        let excused = self.opens > opens || self.reads_fail || !self.rotten.is_empty();
        if second.is_partial() && !excused && !first.is_partial() {
            return Err(Violation::new("I8", "a view that was whole lacks something when it is read late"));
        }
        first.same_or_less(&second).map_err(|what| Violation::new("I8", format!("{}: {what}", id(tenant))))
    }

    fn read_only(&mut self) -> Result<(), Violation> {
        let store = match self.machine.open_read_only() {
            Ok(store) => store,
            Err(_) if self.reads_fail => return Ok(()),
            Err(error) => return Err(Violation::new("I11", format!("read only, beside a writer: {error}"))),
        };
        self.outcome.checks += 1;
        self.oracle.check_read_only(&store, Beside::Writer, self.machine.now())
    }

    // What goes wrong.

    fn rot(&mut self, draws: &Draws) {
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
            self.rotten.insert(path.clone(), id);
        }
    }

    /// Ends the store, in a way that is drawn where none is given, and opens it again.
    fn end_and_open(&mut self, end: Option<End>, draws: &Draws) -> Result<(), Violation> {
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
        self.open(draws)
    }

    fn cut(&mut self, policy: SimCut) {
        self.machine.vfs.power_cut(policy);
        self.oracle.power_cut();
        self.outcome.crashes += 1;
    }

    /// Opens the store; where planted faults keep it from that, it is tried again, in the end without them.
    fn open(&mut self, draws: &Draws) -> Result<(), Violation> {
        if draws.percent(self.config.twice_percent) && self.opens > 0 && !self.reads_fail {
            self.recover_twice()?;
        }
        for attempt in 0.. {
            match self.machine.open() {
                Ok(store) => {
                    self.opens += 1;
                    self.spent = false;
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
    fn recover_twice(&mut self) -> Result<(), Violation> {
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
    fn heal(&mut self) {
        self.machine.vfs.clear_faults();
        self.machine.vfs.set_space(u64::MAX);
        self.machine.vfs.set_crash_at(u64::MAX / 2);
        self.reads_fail = false;
    }

    // What must hold.

    /// The disk has seen no call out of order.
    fn judged(&self) -> Result<(), Violation> {
        match self.machine.vfs.violations().first() {
            None => Ok(()),
            Some(what) => Err(Violation::new("order", what.clone())),
        }
    }

    fn check_one(&mut self, tenant: usize) -> Result<(), Violation> {
        let Some(handle) = self.tenant(tenant) else { return Ok(()) };
        self.outcome.checks += 1;
        self.note(|| format!("  {} is compared", id(tenant)));
        let checked = self.oracle.check_tenant(&id(tenant), &handle.reader(), self.machine.now());
        if self.machine.vfs.crashed() { Ok(()) } else { checked }
    }

    fn check(&mut self) -> Result<(), Violation> {
        self.outcome.checks += 1;
        let store = self.store.as_ref().expect("open between operations");
        self.oracle.check(store, self.machine.now())
    }

    /// Reads every byte. `exact` where every damaged block that is still there must be found.
    fn verify(&mut self, exact: bool) -> Result<(), Violation> {
        let vfs = Arc::new(self.machine.vfs.clone());
        let found = match annals::verify(vfs, "/data".as_ref()) {
            Ok(found) => found,
            Err(_) if self.reads_fail => return Ok(()),
            Err(error) => return Err(Violation::new("I6", format!("cannot verify: {error}"))),
        };
        if self.reads_fail {
            return Ok(());
        }
        for finding in &found.findings {
            if !self.rotten.contains_key(&finding.path) {
                let inspected = annals::inspect(&self.machine.vfs, &finding.path);
                let what = format!("found where nothing was damaged: {finding:?}; in it: {inspected:?}");
                return Err(Violation::new("I6", what));
            }
        }
        if exact {
            for path in self.rotten.keys().filter(|path| self.machine.vfs.exists(path)) {
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
    fn live(&mut self, draws: &Draws) -> Result<(), Violation> {
        self.note(|| "nothing fails any more".to_owned());
        if self.machine.vfs.crashed() {
            self.end_and_open(None, draws)?;
        }
        self.heal();
        if self.spent || !self.rotten.is_empty() || draws.percent(30) {
            self.end_and_open(Some(End::Close), draws)?;
        }
        self.oracle.allow_partial(!self.rotten.is_empty());
        self.work_off()?;
        let tenants: Vec<TenantId> = self.oracle.tenants().cloned().collect();
        for id in &tenants {
            let Ok(handle) = self.store().tenant(id) else { continue };
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
        self.work_off()?;
        self.check()?;
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

    /// Does maintenance until nothing is left to do.
    fn work_off(&mut self) -> Result<(), Violation> {
        for _ in 0..STEPS_MAX {
            match self.store().maintenance_step() {
                Ok(None) => return Ok(()),
                Ok(Some(done)) => self.answer("done", format!("{done:?}")),
                Err(MaintenanceError::Damaged { .. }) if !self.rotten.is_empty() => {}
                Err(error) => {
                    return Err(Violation::new("I14", format!("nothing fails any more, but: {error}")));
                }
            }
        }
        Err(Violation::new("I14", format!("maintenance finds work after {STEPS_MAX} steps")))
    }

    // What was answered.

    fn learn(
        &mut self,
        tried: &Tried,
        answer: Result<annals::Acknowledgement, WriteError>,
    ) -> Result<(), Violation> {
        match &answer {
            Ok(ack) => self.answer("acknowledged", format!("{tried:?} {} {:?}", ack.duplicate, ack.refused)),
            Err(error) => {
                self.spent |= matches!(
                    error,
                    WriteError::Indeterminate(_) | WriteError::Failed(_) | WriteError::Closed
                );
                self.answer("not acknowledged", format!("{tried:?} {error}"));
            }
        }
        self.oracle.learn(tried, &answer)
    }

    /// What maintenance says. An error is none of the oracle's business, unless it is a defect by itself.
    fn learn_maintenance(
        &mut self,
        result: &Result<impl Display, MaintenanceError>,
        what: &str,
        flushed: Option<&TenantId>,
    ) -> Result<(), Violation> {
        match result {
            Ok(done) => {
                self.answer(what, done);
                if let Some(id) = flushed {
                    self.oracle.flushed(id);
                }
            }
            Err(error) => {
                self.answer(what, error);
                self.spent |= matches!(
                    error,
                    MaintenanceError::Indeterminate { .. } | MaintenanceError::Suspended { .. }
                );
                if self.store.as_ref().is_some_and(|store| store.troubles().contains(&Trouble::LogFailed)) {
                    self.spent = true;
                    self.oracle.log_failed();
                }
                let damaged = matches!(error, MaintenanceError::Damaged { .. });
                let excused = !self.rotten.is_empty() || self.reads_fail || self.machine.vfs.crashed();
                if matches!(error, MaintenanceError::Build { .. }) || damaged && !excused {
                    return Err(Violation::new("I7", format!("{what}: {error}")));
                }
            }
        }
        Ok(())
    }

    fn store(&self) -> &Annals {
        self.store.as_ref().expect("open between operations")
    }

    fn tenant(&self, tenant: usize) -> Option<Tenant> {
        let id = id(tenant);
        if self.oracle.tenant_state(&id) != State::Present {
            return None;
        }
        self.store().tenant(&id).ok()
    }

    fn pick(&self, tenant: usize, at: u64) -> Option<(Tried, Tenant)> {
        let handle = self.tenant(tenant)?;
        let count = self.oracle.batches(&id(tenant)).count() as u64;
        let index = (at * count / 1_000) as usize;
        self.oracle.batches(&id(tenant)).nth(index).map(|tried| (tried, handle))
    }

    fn answer(&mut self, what: &str, answer: impl Display) {
        let text = format!("  {what}: {answer}");
        self.hash(text.as_bytes());
        self.note(|| text);
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.notes {
            notes.push(text());
        }
    }

    fn hash(&mut self, bytes: &[u8]) {
        // FNV-1a over eight bytes at a time: only sameness counts.
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.outcome.hash = (self.outcome.hash ^ u64::from_le_bytes(word)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

pub(super) fn id(tenant: usize) -> TenantId {
    TenantId::new(&format!("tenant-{tenant}")).expect("valid")
}

/// The bytes that a disk's files take, about.
fn used(vfs: &SimVfs) -> u64 {
    vfs.paths().iter().map(|path| 256 + vfs.read_file(path).map_or(0, |bytes| bytes.len() as u64)).sum()
}
