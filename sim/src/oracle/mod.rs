//! What was tried, what the store said about it, and what a reader must therefore see.
//!
//! An oracle stands beside a store and is told of every attempt and every answer. From that it knows, naively and
//! without looking at the store, what each tenant holds, and compares all of it by bits.
//!
//! ```
//! # use annals::{BatchId, LabelSet, Options, Plan, SampleBatch, SeriesKind, SiteName, TenantId, Ticket};
//! use annals_sim::oracle::{Beside, Content, Oracle};
//! use annals_sim::world::Machine;
//!
//! let machine = Machine::new(Options::default());
//! let store = machine.open()?;
//! let mut oracle = Oracle::new();
//! let (id, plan) = (TenantId::new("acme")?, Plan::built_in("archive").expect("built in"));
//! oracle.creating(&id, &plan);
//! let tenant = oracle.created(&id, store.create_tenant(&id, plan)).expect("created");
//!
//! let mut batch = SampleBatch::new(BatchId([1; 16]), SiteName::new("host")?);
//! let up = batch.series(LabelSet::from_pairs([("__name__", "up")])?, SeriesKind::Gauge);
//! // Of 1 the start is not known.
//! batch.push(up, machine.now(), 1.0);
//! let tried = oracle.trying(&id, Content::Samples(batch), machine.now());
//! let answer = oracle.content(&tried).write(&tenant).and_then(Ticket::wait);
//! oracle.learn(&tried, &answer)?;
//! oracle.check(&store, machine.now())?;
//! # drop((tenant, store));
//! machine.vfs.power_cut(annals::vfs::SimCut::Nothing);
//! oracle.power_cut();
//! let store = machine.open()?;
//! oracle.reopened(&store, machine.now())?;
//! oracle.check_read_only(&machine.open_read_only()?, Beside::Writer, machine.now())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | invariant | where it is checked here |
//! |---|---|
//! | I1 acknowledged is there, by bits | [`Oracle::check`] after [`Oracle::reopened`], in `shown` |
//! | I2 exactly once | [`Oracle::learn`]: a retry that counts again; sums of deltas and rows in `shown` |
//! | I3 refused is absent, in doubt is whole or absent for good | [`Oracle::learn`], [`Oracle::reopened`] |
//! | I4 no hole | [`Oracle::reopened`], [`Oracle::check_read_only`]: what survives of one tenant is a prefix |
//! | I5 never silently wrong | `shown`: what is missing lies in a range that the answer names |
//! | I7 damage is isolated | [`Oracle::damaged`]: only a damaged tenant may miss something |
//! | P7 nothing of an erased tenant returns | [`Oracle::erased`]: it is not there, and another of its name is empty |
//! | I9 expired data never returns | `shown`: each tier's floor lies where plan and clock put it |
//! | P5 rollups equal raw | `thinned`: what is shown of days whose raw metrics have expired |
//! | P6 plans hold from their date on, what expired stays so | `plans`; [`Oracle::learn_plans`] |
//! | I1 kinds that are switched off stay so | `kinds` |
//! | I9 deleted data never returns | `deletions`: what is held is worked out without it |
//! | I11 every tenant opens | [`Oracle::reopened`] |
//! | I16 what was seen by a reader beside the writer stays | [`Oracle::check_read_only`], then [`Oracle::reopened`] |
//!
//! Batches must each hold a record whose place (series and stamp, or stamp of a signal) no other batch of the tenant
//! uses: by it a batch in doubt is found. Samples know the starts that [`start_of`] says. Signals must be of kinds without names and pseudonyms in what is compared.

mod account;
mod batch;
mod deletions;
mod held;
mod histograms;
mod kinds;
mod plans;
mod shown;
mod starts;
mod thinned;

use std::collections::BTreeMap;
use std::fmt;

use annals::{
    Acknowledgement, Annals, BlockContent, Deleted, Deletion, Durability, Erasure, Plan, ReadOnly, Tenant,
    TenantError, TenantId, TenantReader, Timestamp, Trouble, WriteError,
};

use account::Account;
pub use batch::Content;
pub use histograms::histogram_of;
use plans::Plans;
pub use shown::Shown;
pub use starts::start_of;

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which one, `I1` to `I18`.
    pub invariant: &'static str,
    /// What was seen and what was expected.
    pub what: String,
}

impl Violation {
    /// A promise that was broken, and how it shows.
    pub fn new(invariant: &'static str, what: impl Into<String>) -> Violation {
        Violation { invariant, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.what)
    }
}

impl std::error::Error for Violation {}

/// A batch that the oracle knows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tried {
    /// Whose.
    pub tenant: TenantId,
    /// Its place among the tenant's batches.
    pub index: usize,
}

/// What is known of a batch, or of a tenant's creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Refused, or never tried: it is not there.
    Absent,
    /// Acknowledged, or found by an open.
    Present,
    /// It may be found by the next open, and is not there before.
    Doubtful,
}

/// Who else is there when a store is opened read-only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// A writer: what is acknowledged and not yet known to be durable may be left out, from its end.
    Writer,
    /// Nobody: all that the log holds is read.
    Nobody,
}

/// What was tried, what came of it, and what must be seen.
#[derive(Debug, Default)]
pub struct Oracle {
    accounts: BTreeMap<TenantId, Account>,
    /// The latest time that was seen: the clock may go back, what was sealed by it does not open again.
    latest: Option<Timestamp>,
    /// Counts attempts: the order of the log.
    attempts: u64,
    partial: bool,
    /// The log has failed since the last open.
    log_failed: bool,
    works: batch::Works,
}

impl Oracle {
    /// An oracle of an empty store.
    #[must_use]
    pub fn new() -> Oracle {
        Oracle::default()
    }

    /// Whether answers may, until further notice, miss data where they say so: while reads fail.
    pub fn allow_partial(&mut self, partial: bool) {
        self.partial = partial;
    }

    /// A file of the tenant was damaged: from here on its answers may miss data where they say so.
    pub fn damaged(&mut self, tenant: &TenantId) {
        if let Some(account) = self.accounts.get_mut(tenant) {
            account.damaged = true;
        }
    }

    /// The clock says this: what expires or is sealed by it may be so for good, wherever the clock goes from there.
    pub fn passes(&mut self, now: Timestamp) {
        self.see(now);
    }

    /// A tenant is about to be created.
    pub fn creating(&mut self, id: &TenantId, plan: &Plan) {
        let account = self.accounts.entry(id.clone()).or_insert_with(|| Account::new(plan.clone()));
        if account.state == State::Absent {
            account.plans = Plans::new(plan.clone());
        }
    }

    /// What came of it. The tenant, where it was created.
    pub fn created(
        &mut self,
        id: &TenantId,
        answer: Result<Tenant, TenantError>,
    ) -> Result<Tenant, TenantError> {
        if let Some(account) = self.accounts.get_mut(id) {
            account.state = match (&answer, account.state) {
                (Ok(_), _) | (Err(_), State::Present) => State::Present,
                (Err(TenantError::Full | TenantError::Unavailable { .. }), before) => before,
                (Err(_), _) => State::Doubtful,
            };
        }
        answer
    }

    /// A tenant is about to be cancelled, and would end then; or that was taken back (`Some(None)`), or may have been.
    pub fn cancelled(&mut self, id: &TenantId, ends: Option<Option<Timestamp>>) {
        let account = self.account(id);
        match ends {
            Some(Some(end)) => account.ends = Some(account.ends.map_or(end, |known| known.min(end))),
            Some(None) => account.ends = None,
            None => {}
        }
    }

    /// What came of asking for another plan. The store says whether it believes the clock.
    pub fn plan_asked(
        &mut self,
        id: &TenantId,
        plan: Plan,
        answer: &Result<Timestamp, TenantError>,
        store: &Annals,
        now: Timestamp,
    ) -> Result<(), Violation> {
        let (latest, believed) = (self.see(now), believed(store, now));
        self.account(id)
            .plans
            .asked(plan, answer, believed, latest)
            .map_err(|v| at(v, id, "asked for a plan"))
    }

    /// What came of switching a signal kind.
    pub fn kind_switched(
        &mut self,
        id: &TenantId,
        kind: &str,
        on: bool,
        answer: &Result<bool, TenantError>,
    ) -> Result<(), Violation> {
        self.account(id).kinds.switched(kind, on, answer).map_err(|v| at(v, id, "switched a kind"))
    }

    /// What came of taking a change of plan back.
    pub fn plan_undone(
        &mut self,
        id: &TenantId,
        answer: &Result<Option<Plan>, TenantError>,
    ) -> Result<(), Violation> {
        self.account(id).plans.undone(answer).map_err(|v| at(v, id, "took a plan back"))
    }

    /// The plan that a tenant has.
    ///
    /// # Panics
    /// Where the tenant was never created.
    #[must_use]
    pub fn plan(&self, id: &TenantId) -> &Plan {
        &self.accounts.get(id).expect(CREATED).plans.plan
    }

    /// Whether it is not known which plan a tenant has, which kinds are off, or whether something of it was deleted: the next open shows it.
    #[must_use]
    pub fn is_in_doubt(&self, id: &TenantId) -> bool {
        self.accounts.get(id).is_some_and(|account| {
            account.plans.is_doubtful() || account.kinds.is_doubtful() || account.deleting.is_some()
        })
    }

    /// Up to which stamp raw metrics of a tenant may have expired.
    #[must_use]
    pub fn raw_floor(&self, id: &TenantId) -> Timestamp {
        let (of, latest) = (self.accounts.get(id), self.latest());
        let floors = of.map(|account| account.plans.floors(BlockContent::RawMetrics, latest, latest));
        floors.map_or(Timestamp::MIN, |(_, most)| Timestamp(most))
    }

    /// Looks whether plans that waited have taken effect. To be asked before the clock moves.
    pub fn learn_plans(&mut self, store: &Annals, now: Timestamp) -> Result<(), Violation> {
        let (latest, believed) = (self.see(now), believed(store, now));
        for (id, account) in &mut self.accounts {
            if account.state == State::Present
                && account.plans.is_waiting()
                && let Ok(tenant) = store.tenant(id)
            {
                account.learn_plan(&tenant, false, believed, latest).map_err(|v| at(v, id, "live"))?;
            }
        }
        Ok(())
    }

    /// A deletion is about to be made.
    pub fn deleting(&mut self, id: &TenantId, deletion: Deletion) {
        self.attempts += 1;
        let order = self.attempts;
        self.account(id).deleting(order, deletion);
    }

    /// What came of it. From then on nothing of it may be seen.
    pub fn deleted(&mut self, id: &TenantId, answer: &Result<Deleted, TenantError>, now: Timestamp) {
        let latest = self.see(now);
        self.account(id).deleted(answer, now, latest);
    }

    /// Windows that stood for samples and were compared.
    #[must_use]
    pub fn windows(&self) -> u64 {
        self.accounts.values().map(|account| account.windows).sum()
    }

    /// A tenant is about to be erased.
    pub fn erasing(&mut self, id: &TenantId) {
        self.account(id).erasing = true;
    }

    /// What came of it. From then on nothing of it may be seen, whatever tenant gets its name.
    pub fn erased(&mut self, id: &TenantId, answer: &Result<Erasure, TenantError>) {
        if let Ok(_) | Err(TenantError::KeyNotDestroyed { .. }) = answer {
            self.account(id).erase();
        }
    }

    /// How many tenants were erased.
    #[must_use]
    pub fn erasures(&self) -> usize {
        self.accounts.values().map(|account| account.erased).sum()
    }

    /// The tenants that are there for certain.
    pub fn tenants(&self) -> impl Iterator<Item = &TenantId> {
        self.accounts.iter().filter(|(_, account)| account.state == State::Present).map(|(id, _)| id)
    }

    /// What is known of a tenant's creation.
    #[must_use]
    pub fn tenant_state(&self, id: &TenantId) -> State {
        self.accounts.get(id).map_or(State::Absent, |account| account.state)
    }

    /// A batch is about to be written for the first time.
    ///
    /// # Panics
    /// Where the tenant was never created.
    pub fn trying(&mut self, tenant: &TenantId, content: Content, now: Timestamp) -> Tried {
        let latest = self.see(now);
        self.attempts += 1;
        let account = self.accounts.get_mut(tenant).expect(CREATED);
        let index = account.add(&mut self.works, content, self.attempts, now, latest);
        Tried { tenant: tenant.clone(), index }
    }

    /// A batch is about to be written once more, with the same content.
    pub fn retrying(&mut self, tried: &Tried, now: Timestamp) {
        let latest = self.see(now);
        self.attempts += 1;
        let account = self.accounts.get_mut(&tried.tenant).expect(CREATED);
        account.attempt(&mut self.works, tried.index, self.attempts, now, latest);
    }

    /// What is in a batch.
    #[must_use]
    pub fn content(&self, tried: &Tried) -> &Content {
        &self.accounts[&tried.tenant].tried[tried.index].content
    }

    /// What is known of a batch.
    #[must_use]
    pub fn state(&self, tried: &Tried) -> State {
        self.accounts[&tried.tenant].tried[tried.index].state
    }

    /// The batches of a tenant, in the order of their first attempts.
    pub fn batches<'a>(&'a self, tenant: &TenantId) -> impl Iterator<Item = Tried> + 'a {
        let tenant = tenant.clone();
        let count = self.accounts.get(&tenant).map_or(0, |account| account.tried.len());
        (0..count).map(move |index| Tried { tenant: tenant.clone(), index })
    }

    /// What the store answered to the last attempt of a batch.
    pub fn learn(
        &mut self,
        tried: &Tried,
        answer: &Result<Acknowledgement, WriteError>,
    ) -> Result<(), Violation> {
        let Tried { tenant, index } = tried;
        // It then says of all that is not synced that it may not be found: that includes what was acknowledged as
        // being with the operating system only.
        self.log_failed |= matches!(answer, Err(WriteError::Indeterminate(_)));
        self.account(tenant)
            .learn(*index, answer)
            .map_err(|v| Violation { what: format!("{tenant}, batch {index}: {}", v.what), ..v })
    }

    /// All that the tenant had been acknowledged is durable now: a flush of it has succeeded.
    pub fn flushed(&mut self, tenant: &TenantId) {
        self.account(tenant).settle();
    }

    /// All that was acknowledged is durable now: the store was closed in order, or its log synced.
    pub fn synced(&mut self) {
        self.accounts.values_mut().for_each(Account::settle);
    }

    /// The latest time that was seen.
    #[must_use]
    pub fn latest(&self) -> Timestamp {
        self.latest.unwrap_or(Timestamp::MIN)
    }

    /// The log failed, or could not be closed in order: what was acknowledged as buffered only may be gone.
    pub fn log_failed(&mut self) {
        self.log_failed = true;
    }

    /// The power was cut: what was acknowledged as buffered only may be gone. Nothing else may.
    pub fn power_cut(&mut self) {
        self.accounts.values_mut().for_each(Account::power_cut);
    }

    /// The store was opened again: what was in doubt is found or is absent for good, and all of it is compared.
    pub fn reopened(&mut self, store: &Annals, now: Timestamp) -> Result<(), Violation> {
        let latest = self.see(now);
        if std::mem::take(&mut self.log_failed) {
            self.power_cut();
        }
        for (id, account) in &mut self.accounts {
            let there = match store.tenant(id) {
                Ok(tenant) => Some(tenant),
                Err(TenantError::Unknown(_)) => None,
                Err(error) => return Err(Violation::new("I11", format!("{id} after an open: {error}"))),
            };
            match (there, account.state) {
                (Some(tenant), State::Present | State::Doubtful) => {
                    account.state = State::Present;
                    account.erasing = false;
                    account.learn_kinds(&tenant, true).map_err(|v| at(v, id, "after an open"))?;
                    account
                        .learn_plan(&tenant, true, None, latest)
                        .map_err(|v| at(v, id, "after an open"))?;
                    let shown = Shown::read(&tenant.reader()).map_err(|v| at(v, id, "after an open"))?;
                    account.resolve(&shown, now, latest).map_err(|v| at(v, id, "after an open"))?;
                }
                (None, State::Absent | State::Doubtful) => account.state = State::Absent,
                (None, State::Present) if account.may_be_erased(latest) => account.erase(),
                (None, State::Present) => {
                    return Err(Violation::new("I1", format!("{id} was created and is not there")));
                }
                (Some(_), State::Absent) => {
                    return Err(Violation::new("I3", format!("{id} was not created and is there")));
                }
            }
        }
        self.check(store, now)
    }

    /// Everything that the store shows is what it was told, and nothing else.
    pub fn check(&mut self, store: &Annals, now: Timestamp) -> Result<(), Violation> {
        for summary in store.tenants() {
            if self.tenant_state(&summary.id) == State::Absent {
                return Err(Violation::new("I3", format!("{} was not created and is there", summary.id)));
            }
        }
        let latest = self.see(now);
        let present: Vec<TenantId> = self.tenants().cloned().collect();
        for id in present {
            if matches!(store.tenant(&id), Err(TenantError::Unknown(_)))
                && self.account(&id).may_be_erased(latest)
            {
                self.account(&id).erase();
                continue;
            }
            let tenant = store
                .tenant(&id)
                .map_err(|error| Violation::new("I1", format!("{id} was created: {error}")))?;
            self.check_tenant(&id, &tenant.reader(), now)?;
        }
        Ok(())
    }

    /// The same for one tenant of a store that is open for writing.
    pub fn check_tenant(
        &mut self,
        id: &TenantId,
        reader: &TenantReader,
        now: Timestamp,
    ) -> Result<(), Violation> {
        let latest = self.see(now);
        let partial = self.partial;
        let account = self.account(id);
        let shown = Shown::read(reader).map_err(|v| at(v, id, "live"))?;
        account.compare(&shown, now, latest, partial).map_err(|v| at(v, id, "live"))
    }

    /// The same for a store that was opened read-only. What it shows must stay from here on.
    pub fn check_read_only(
        &mut self,
        store: &ReadOnly,
        beside: Beside,
        now: Timestamp,
    ) -> Result<(), Violation> {
        let latest = self.see(now);
        let partial = self.partial;
        let there: Vec<TenantId> = store.tenants().into_iter().map(|summary| summary.id).collect();
        for id in &there {
            if self.tenant_state(id) == State::Absent {
                return Err(Violation::new("I3", format!("{id} was not created and is there, read only")));
            }
        }
        for (id, account) in &mut self.accounts {
            if (account.state != State::Present || account.may_be_erased(latest)) && !there.contains(id) {
                continue;
            }
            if account.plans.is_doubtful() {
                // It may read by the one plan or the other.
                continue;
            }
            let reader = store
                .tenant(id)
                .map_err(|error| Violation::new("I11", format!("{id} was created, read only: {error}")))?;
            let shown = Shown::read(&reader).map_err(|v| at(v, id, "read only"))?;
            account
                .compare_read_only(&shown, beside, now, latest, partial)
                .map_err(|v| at(v, id, "read only"))?;
        }
        Ok(())
    }

    /// Acknowledged batches so far, over all tenants.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.accounts.values().map(|account| account.acknowledged).sum()
    }

    /// The sum of all increments of a derived or written delta metric that a query over `(start, end]` must find.
    #[must_use]
    pub fn increase(&self, id: &TenantId, metric: &str, start: Timestamp, end: Timestamp) -> f64 {
        self.accounts.get(id).map_or(0.0, |account| account.increase(metric, start, end))
    }

    /// Whether some cell of the tenant is not known for certain, so that sums are not either.
    #[must_use]
    pub fn is_loose(&self, id: &TenantId) -> bool {
        self.accounts.get(id).is_some_and(Account::is_loose)
    }

    fn see(&mut self, now: Timestamp) -> Timestamp {
        let latest = self.latest.map_or(now, |latest| latest.max(now));
        self.latest = Some(latest);
        latest
    }

    fn account(&mut self, tenant: &TenantId) -> &mut Account {
        self.accounts.get_mut(tenant).expect(CREATED)
    }
}

/// The time, where a store believes the clock.
fn believed(store: &Annals, now: Timestamp) -> Option<Timestamp> {
    let suspect = |trouble: &Trouble| matches!(trouble, Trouble::ClockSuspect { .. });
    (!store.troubles().iter().any(suspect)).then_some(now)
}

const CREATED: &str = "a tenant is created before it is used";

/// How durable acknowledged batches are that an oracle hears of.
fn is_buffered(acknowledgement: &Acknowledgement) -> bool {
    acknowledgement.durability == Durability::Buffered
}

fn at(violation: Violation, id: &TenantId, place: &str) -> Violation {
    Violation { what: format!("{id}, {place}: {}", violation.what), ..violation }
}
