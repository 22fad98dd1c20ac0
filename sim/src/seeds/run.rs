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
//! | I4 of backups | `Run::backup`: what was acknowledged before a snapshot is in what it restores |
//! | I12 recovery twice | `Run::recover_twice`: the same answers, and in the end the same calls |
//! | I14 full disks | `Run::live`: after space is back writes succeed without an open |
//! | I17 isolation | `seeds::isolation`: the same answers without the other tenants |
//! | I19 no nonce twice with one key, crashes or not | `Run::whole`, from what the cipher was asked for |
//! | I18 no panic, nothing left open | `seeds::run_operations`: a panic is a failure; `Run::whole` counts handles |

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;

use annals::vfs::SimVfs;
use annals::{Annals, BatchId, MaintenanceError, Tenant, TenantError, TenantId, Trouble, WriteError};

use super::config::Config;
use super::draw::Draws;
use super::operation::{Operation, What, strikes_reads};
use crate::oracle::{Oracle, Shown, State, Tried, Violation};
use crate::world::{Machine, Order};

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
    /// Windows that stood for samples in them.
    pub windows: u64,
}

/// A run as it stands.
pub(super) struct Run<'a> {
    pub(super) config: &'a Config,
    pub(super) machine: Machine,
    pub(super) oracle: Oracle,
    pub(super) store: Option<Annals>,
    /// How often the store was opened, and how often a crash came: what a held view may still be asked.
    pub(super) opens: u64,
    pub(super) outcome: Outcome,
    pub(super) reads_fail: bool,
    /// Blocks that were damaged: whose, and the bytes that the damage has left.
    pub(super) rotten: BTreeMap<PathBuf, (TenantId, Vec<u8>)>,
    pub(super) notes: Option<Vec<String>>,
    /// Batches of other tenants are drawn and not written.
    pub(super) only_first: bool,
}

impl<'a> Run<'a> {
    /// A machine, a store, the first tenants.
    pub(super) fn new(config: &'a Config, notes: bool) -> Result<Run<'a>, Violation> {
        annals::seal_trace::start();
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
        let (sealed, twice) = annals::seal_trace::take();
        if let Some(what) = twice.first() {
            return Err(Violation::new("I19", format!("{what} sealed two things")));
        }
        if (sealed > 0) != self.config.sealed {
            return Err(Violation::new("I19", format!("{sealed} parts were sealed")));
        }
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
        self.outcome.windows = self.oracle.windows();
        Ok(self.outcome)
    }

    /// From here on batches of other tenants than the first are drawn and not written.
    pub(super) fn only_first(&mut self, only_first: bool) {
        self.only_first = only_first;
    }

    /// What a tenant shows, as text.
    pub(super) fn text_of(&self, id: &TenantId) -> Result<String, Violation> {
        let handle = match self.store().tenant(id) {
            // It was erased.
            Err(TenantError::Unknown(_)) => return Ok("it is not there".to_owned()),
            found => found.map_err(|error| Violation::new("I1", error.to_string()))?,
        };
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
            self.learn_plans()?;
            self.judged()?;
            let spent = self.is_spent();
            if self.machine.vfs.crashed() || spent && draws.percent(70) {
                self.end_and_open(None, &draws)?;
            } else if draws.percent(self.config.check_percent) {
                let tenant = draws.below(self.config.plans.len() as u64) as usize;
                self.check_one(tenant)?;
            }
        }
        Ok(())
    }

    pub(super) fn act(&mut self, what: &What, draws: &Draws, number: u64) -> Result<(), Violation> {
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
            What::Cancel { tenant } => self.cancel(*tenant),
            What::Erase { tenant } => self.erase(*tenant),
            What::Rotate { tenant, classes, hours } => self.rotate(*tenant, *classes, *hours),
            What::Plan { tenant, name } => self.change_plan(*tenant, name)?,
            What::UndoPlan { tenant } => self.undo_plan(*tenant)?,
            What::Switch { tenant, kind, on } => self.switch_kind(*tenant, kind, *on)?,
            What::Delete { tenant } => self.delete(*tenant, draws)?,
            What::Backup => self.backup()?,
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

    // What was answered.

    pub(super) fn learn(
        &mut self,
        tried: &Tried,
        answer: Result<annals::Acknowledgement, WriteError>,
    ) -> Result<(), Violation> {
        match &answer {
            Ok(ack) => self.answer("acknowledged", format!("{tried:?} {} {:?}", ack.duplicate, ack.refused)),
            Err(error) => {
                self.answer("not acknowledged", format!("{tried:?} {error}"));
            }
        }
        self.oracle.learn(tried, &answer)
    }

    /// What maintenance says. An error is none of the oracle's business, unless it is a defect by itself.
    pub(super) fn learn_maintenance(
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
                let damaged = matches!(error, MaintenanceError::Damaged { .. });
                let excused = !self.rotten.is_empty() || self.reads_fail || self.machine.vfs.crashed();
                if matches!(error, MaintenanceError::Build { .. }) || damaged && !excused {
                    return Err(Violation::new("I7", format!("{what}: {error}")));
                }
            }
        }
        Ok(())
    }

    /// Whether plans that waited have taken effect, before the clock goes on.
    pub(super) fn learn_plans(&mut self) -> Result<(), Violation> {
        let store = self.store.as_ref().expect("open between operations");
        self.oracle.learn_plans(store, self.machine.now())
    }

    pub(super) fn store(&self) -> &Annals {
        self.store.as_ref().expect("open between operations")
    }

    /// Whether the store says that some of it takes no changes before it is opened again.
    pub(super) fn is_spent(&mut self) -> bool {
        let troubles = self.store().troubles();
        if troubles.contains(&Trouble::LogFailed) {
            self.oracle.log_failed();
        }
        troubles.iter().any(|trouble| {
            matches!(
                trouble,
                Trouble::LogFailed | Trouble::CatalogueSuspended | Trouble::TenantSuspended { .. }
            )
        })
    }

    pub(super) fn tenant(&self, tenant: usize) -> Option<Tenant> {
        let id = id(tenant);
        if self.oracle.tenant_state(&id) != State::Present {
            return None;
        }
        self.store().tenant(&id).ok()
    }

    pub(super) fn pick(&self, tenant: usize, at: u64) -> Option<(Tried, Tenant)> {
        let handle = self.tenant(tenant)?;
        let count = self.oracle.batches(&id(tenant)).count() as u64;
        let index = (at * count / 1_000) as usize;
        // Without an id, what is written again is another batch.
        let named = |tried: &Tried| self.oracle.content(tried).id() != BatchId::NONE;
        self.oracle.batches(&id(tenant)).nth(index).filter(named).map(|tried| (tried, handle))
    }

    pub(super) fn answer(&mut self, what: &str, answer: impl Display) {
        let text = format!("  {what}: {answer}");
        self.hash(text.as_bytes());
        self.note(|| text);
    }

    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(notes) = &mut self.notes {
            notes.push(text());
        }
    }

    pub(super) fn hash(&mut self, bytes: &[u8]) {
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
