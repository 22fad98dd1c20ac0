//! What was tried, what is known of it, and whether a store shows exactly that.
//!
//! Each batch leaves marks that only it leaves (stamps of its own), so that whether a doubtful one is there can be
//! seen; it also adds to sums that all batches share (a delta whose value is a power of two, counts derived from
//! signals), so that a batch that counts twice is seen as well, and it writes a stamp that others write too, so that
//! the order of batches is seen.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use annals::{
    Acknowledgement, Annals, BatchId, Budget, HOUR_MS, LabelSet, Matcher, Plan, QueryLimits, ReadOnly,
    STALE_NAN_BITS, SampleBatch, Samples, SeriesKind, SeriesSource, Signal, SignalBatch, SiteName, Tenant,
    TenantError, TenantId, TenantReader, Ticket, TimeRange, Timestamp, WriteError, window_end,
};

/// The tenants there may be, and their plans.
pub(super) const TENANTS: [(&str, &str); 3] =
    [("acme", "enterprise"), ("bolt", "archive"), ("cora", "starter")];
/// The signal kind that scenarios switch off and on; no batch has any of it.
pub(super) const SWITCHED: &str = "wp.cron";
/// A delta's value says which batch it is of; sums of these are exact.
const BATCHES_MAX: usize = 52;

/// What is known of a batch or a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum State {
    /// It is not there, and must not come back by itself.
    Absent,
    /// It may be there; the first complete look decides for ever.
    Doubtful,
    /// It was acknowledged, or seen.
    Present,
}

/// What a batch holds.
#[derive(Debug)]
pub(super) enum Content {
    /// Samples.
    Samples(SampleBatch),
    /// Signals.
    Signals(SignalBatch),
}

#[derive(Debug, Clone)]
struct Batch {
    content: Arc<Content>,
    state: State,
    /// Which of its records were refused.
    refused: Vec<usize>,
    /// Its place among the batches that were, or may have been, written.
    order: u64,
    /// A flush or an open came after it: whoever reads beside the writer must see it.
    settled: bool,
}

#[derive(Debug, Clone)]
struct Account {
    state: State,
    /// Its files were damaged beyond use: it must be unavailable, and everyone else must not notice.
    wrecked: bool,
    /// It was to be erased, and whether it is shows at the next open.
    erasing: bool,
    /// How often it was erased.
    erased: usize,
    /// `last` of batches up to this place in the order was deleted; and, where that is not known, may be up to the other.
    deleted: u64,
    deleting: u64,
    /// Whether it is cancelled, and when it ends if it is; `None` where that is not known.
    cancelled: Option<bool>,
    ends: Timestamp,
    /// The plans that it may have.
    plans: Vec<&'static str>,
    /// Whether it takes signals of [`SWITCHED`]; `None` where that is not known.
    takes_switched: Option<bool>,
    batches: Vec<Batch>,
}

/// What a host does after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Advice {
    /// It goes on.
    GoOn,
    /// It tries the same again.
    Retry,
    /// It opens the store again, and then tries the same again.
    Reopen,
}

/// How much a look may leave open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// The first one after an open: what was doubtful is decided by it.
    First,
    /// In the middle: what is doubtful may be there or not.
    Live,
    /// From beside a writer: what is not known to be durable may be missing.
    Beside,
}

/// What was tried with all tenants.
#[derive(Debug, Clone)]
pub(super) struct Book {
    accounts: Vec<Account>,
    order: u64,
    /// Snapshots that were taken whole, and what was known then.
    backups: BTreeMap<u64, Arc<Book>>,
    /// Whether there may be a later one.
    doubtful_backup: bool,
    /// Whether the restored store lacks what it said that it lacks.
    restored_in_part: bool,
}

/// What a tenant holds, as a reader sees it or a book expects it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Held {
    gauges: BTreeMap<i64, u64>,
    deltas: BTreeMap<i64, u64>,
    last: BTreeMap<i64, u64>,
    fat: BTreeMap<i64, usize>,
    rows: BTreeMap<i64, usize>,
    derived: u64,
}

impl Hash for Book {
    /// By what is known, not by how it came to be known.
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for account in &self.accounts {
            (account.state, account.wrecked, account.batches.len()).hash(hasher);
            (account.erasing, account.erased, account.cancelled).hash(hasher);
            (account.deleted, account.deleting).hash(hasher);
            account.batches.iter().for_each(|batch| (batch.state, batch.settled).hash(hasher));
        }
        self.backups.keys().for_each(|number| number.hash(hasher));
        (self.doubtful_backup, self.restored_in_part).hash(hasher);
    }
}

/// The tenant's id.
pub(super) fn id(tenant: usize) -> TenantId {
    TenantId::new(TENANTS[tenant].0).expect("valid")
}

/// The tenant's plan.
pub(super) fn plan(tenant: usize) -> Plan {
    Plan::built_in(TENANTS[tenant].1).expect("built in")
}

fn labels(pairs: &[(&str, &str)]) -> LabelSet {
    LabelSet::from_pairs(pairs.iter().copied()).expect("valid")
}

impl Book {
    /// Nothing was tried.
    pub(super) fn new() -> Book {
        let account = |(_, plan): (&str, &'static str)| Account {
            state: State::Absent,
            wrecked: false,
            erasing: false,
            erased: 0,
            deleted: 0,
            deleting: 0,
            cancelled: Some(false),
            ends: Timestamp::MAX,
            plans: vec![plan],
            takes_switched: Some(true),
            batches: Vec::new(),
        };
        Book {
            accounts: TENANTS.map(account).to_vec(),
            order: 0,
            backups: BTreeMap::new(),
            doubtful_backup: false,
            restored_in_part: false,
        }
    }

    /// What is known of a tenant.
    pub(super) fn tenant(&self, tenant: usize) -> State {
        self.accounts[tenant].state
    }

    /// The tenants that a host may write to.
    pub(super) fn usable(&self) -> impl Iterator<Item = usize> + '_ {
        (0..TENANTS.len()).filter(|&t| self.accounts[t].state == State::Present && !self.accounts[t].wrecked)
    }

    /// A tenant may get another plan, now or when its time has come.
    pub(super) fn changing_plan(&mut self, tenant: usize, plan: &'static str) {
        self.accounts[tenant].plans.push(plan);
    }

    /// A kind is about to be switched for a tenant.
    pub(super) fn switching(&mut self, tenant: usize) {
        self.accounts[tenant].takes_switched = None;
    }

    /// It is switched, and stays so.
    pub(super) fn switched(&mut self, tenant: usize, on: bool) {
        self.accounts[tenant].takes_switched = Some(on);
    }

    /// A tenant is about to be erased.
    pub(super) fn erasing(&mut self, tenant: usize) {
        self.accounts[tenant].erasing = true;
    }

    /// A tenant is erased: it is not there, and nothing of it may ever come back.
    pub(super) fn erase(&mut self, tenant: usize) {
        let account = &mut self.accounts[tenant];
        account.state = State::Absent;
        account.erasing = false;
        account.erased += 1;
        account.plans.truncate(1);
        account.takes_switched = Some(true);
        account.cancelled = Some(false);
        account.ends = Timestamp::MAX;
        (account.deleted, account.deleting) = (0, 0);
        for batch in &mut account.batches {
            let content = batch.content.clone();
            *batch = Batch { content, state: State::Absent, refused: Vec::new(), order: 0, settled: false };
        }
    }

    /// What `last` holds of a tenant is about to be deleted.
    pub(super) fn deleting(&mut self, tenant: usize) {
        self.accounts[tenant].deleting = self.order;
    }

    /// It is, and stays so.
    pub(super) fn deleted(&mut self, tenant: usize) {
        let account = &mut self.accounts[tenant];
        account.deleted = account.deleting.max(account.deleted);
    }

    /// A tenant is about to be cancelled, or that to be taken back.
    pub(super) fn cancelling(&mut self, tenant: usize, now: Timestamp) {
        let account = &mut self.accounts[tenant];
        account.cancelled = None;
        account.ends = account.ends.min(plan(tenant).cancelled_due(now));
    }

    /// It is cancelled, or is not.
    pub(super) fn cancelled(&mut self, tenant: usize, cancelled: bool) {
        let account = &mut self.accounts[tenant];
        account.cancelled = Some(cancelled);
        if !cancelled {
            account.erasing = false;
            account.ends = Timestamp::MAX;
        }
    }

    /// The clock says this: tenants that are cancelled may be erased by it.
    pub(super) fn passes(&mut self, now: Timestamp) {
        for account in self.accounts.iter_mut().filter(|account| account.state == State::Present) {
            account.erasing |= account.ends <= now && account.cancelled != Some(false);
        }
    }

    /// How many tenants were erased.
    pub(super) fn erased(&self) -> usize {
        self.accounts.iter().map(|account| account.erased).sum()
    }

    /// A tenant's files were damaged beyond use.
    pub(super) fn wreck(&mut self, tenant: usize) {
        self.accounts[tenant].wrecked = true;
    }

    /// A snapshot was taken, of all that is known.
    pub(super) fn backed_up(&mut self, number: u64) {
        let now = Book { backups: BTreeMap::new(), ..self.clone() };
        self.backups.insert(number, Arc::new(now));
        self.doubtful_backup = false;
    }

    /// A snapshot was not taken, or was and that was not told.
    pub(super) fn backup_failed(&mut self) {
        self.doubtful_backup = true;
    }

    /// What was restored said that it lacks something.
    pub(super) fn restored_in_part(&mut self) {
        self.restored_in_part = true;
    }

    /// Whether it did.
    pub(super) fn lacks(&self) -> bool {
        self.restored_in_part
    }

    /// Snapshots before the newest may go.
    pub(super) fn pruning(&mut self) {
        let kept = usize::from(!self.doubtful_backup);
        while self.backups.len() > kept {
            self.backups.pop_first();
        }
    }

    /// What a store shows that is restored now from a snapshot of then: who was erased since is not there.
    pub(super) fn restored(&self, then: &Book) -> Book {
        let mut book = then.clone();
        for (tenant, account) in self.accounts.iter().enumerate() {
            if account.erased > then.accounts[tenant].erased {
                book.erase(tenant);
            }
            book.accounts[tenant].wrecked = false;
        }
        book
    }

    /// Whether no tenant is there for sure.
    pub(super) fn is_empty(&self) -> bool {
        self.accounts.iter().all(|account| account.state != State::Present)
    }

    /// The snapshots that must be there.
    pub(super) fn backups(&self) -> &BTreeMap<u64, Arc<Book>> {
        &self.backups
    }

    /// How many batches were tried with a tenant.
    pub(super) fn tried(&self, tenant: usize) -> usize {
        self.accounts[tenant].batches.len()
    }

    /// How many batches were acknowledged or seen.
    pub(super) fn present(&self) -> u64 {
        let present = |batch: &&Batch| batch.state == State::Present;
        self.accounts.iter().map(|account| account.batches.iter().filter(present).count() as u64).sum()
    }

    /// Enters a batch of samples that is about to be written: `records` of a series of its own, at stamps of its own,
    /// with what all batches share, and `fat` long series, which take a KiB of log each.
    pub(super) fn add_samples(&mut self, tenant: usize, now: Timestamp, records: usize, fat: usize) -> usize {
        let n = self.accounts[tenant].batches.len();
        assert!(n < BATCHES_MAX, "a delta holds no more batches");
        // Every other batch lies in the day before, so that a flush makes several blocks.
        let unique = now.0 - n as i64 * 10_000 - 16 * HOUR_MS * (n as i64 % 2);
        let hour = (unique - 1).div_euclid(HOUR_MS) * HOUR_MS + 1;
        let mut batch = SampleBatch::new(batch_id(tenant, n), SiteName::new("host").expect("valid"));
        let gauge = batch.series(labels(&[("__name__", "g"), ("batch", &n.to_string())]), SeriesKind::Gauge);
        for record in 0..records as i64 {
            let bits = match (n as i64 + record) % 3 {
                0 => 0x7ff8_0000_dead_0000 | n as u64,
                1 => STALE_NAN_BITS,
                _ => (record as f64 + n as f64 / 64.0).to_bits(),
            };
            batch.push(gauge, Timestamp(unique - record * 3), f64::from_bits(bits));
        }
        let delta = batch.series(labels(&[("__name__", "d")]), SeriesKind::Delta);
        batch.push(delta, Timestamp(hour), (1u64 << n) as f64);
        let last = batch.series(labels(&[("__name__", "last")]), SeriesKind::Gauge);
        batch.push(last, Timestamp(hour), n as f64);
        for i in 0..fat {
            let long = format!("{n}-{i}-{}", "x".repeat(1000));
            let fat = batch.series(labels(&[("__name__", "fat"), ("long", &long)]), SeriesKind::Gauge);
            batch.push(fat, Timestamp(unique), 1.0);
        }
        self.enter(tenant, Content::Samples(batch))
    }

    /// Enters a batch of signals that is about to be written, at stamps of its own.
    pub(super) fn add_signals(&mut self, tenant: usize, now: Timestamp, records: usize) -> usize {
        let n = self.accounts[tenant].batches.len();
        assert!(n < BATCHES_MAX, "as for samples");
        let before = if TENANTS[tenant].1 == "starter" { 0 } else { 16 * HOUR_MS * (n as i64 % 2) };
        let attempt = |record: i64| {
            let time = Timestamp(now.0 - n as i64 * 10_000 - record * 3 - before);
            Signal::new("auth.attempt", time).with("result", "failure").with("method", "password")
        };
        let signals = (0..records as i64).map(attempt).collect();
        let site = SiteName::new("shop.example").expect("valid");
        self.enter(tenant, Content::Signals(SignalBatch { id: batch_id(tenant, n), site, signals }))
    }

    fn enter(&mut self, tenant: usize, content: Content) -> usize {
        let batches = &mut self.accounts[tenant].batches;
        let content = Arc::new(content);
        batches.push(Batch { content, state: State::Absent, refused: Vec::new(), order: 0, settled: false });
        batches.len() - 1
    }

    /// Queues a batch with a store.
    pub(super) fn queue(&self, store: &Tenant, tenant: usize, n: usize) -> Result<Ticket, WriteError> {
        match &*self.accounts[tenant].batches[n].content {
            Content::Samples(batch) => store.write_samples(batch),
            Content::Signals(batch) => store.write_signals(batch),
        }
    }

    /// What an answer says of a batch.
    pub(super) fn learn(
        &mut self,
        tenant: usize,
        n: usize,
        answer: &Result<Acknowledgement, WriteError>,
    ) -> Result<Advice, String> {
        self.order += 1;
        let batch = &mut self.accounts[tenant].batches[n];
        let named = format!("batch {n} of {}", TENANTS[tenant].0);
        match answer {
            Ok(told) if told.duplicate => {
                if batch.state == State::Absent {
                    return Err(format!("{named} was refused and is taken for a duplicate"));
                }
                batch.state = State::Present;
            }
            // Forgotten, because nothing of it can count any more.
            Ok(told) if told.accepted() == 0 => {}
            Ok(told) => {
                if batch.state == State::Present {
                    return Err(format!("{named} is counted twice"));
                }
                batch.refused = told.refused.iter().map(|(at, _)| *at).collect();
                batch.order = self.order;
                batch.state = State::Present;
                batch.settled = false;
            }
            Err(WriteError::Indeterminate(_)) => {
                if batch.state == State::Absent {
                    batch.state = State::Doubtful;
                    batch.order = self.order;
                }
                return Ok(Advice::Reopen);
            }
            Err(WriteError::Failed(_) | WriteError::Closed) => return Ok(Advice::Reopen),
            Err(WriteError::Conflict { .. }) => return Err(format!("{named} is taken for another")),
            Err(_) => return Ok(Advice::Retry),
        }
        Ok(Advice::GoOn)
    }

    /// What an answer says of a tenant.
    pub(super) fn learn_tenant(
        &mut self,
        tenant: usize,
        answer: &Result<Tenant, TenantError>,
    ) -> Result<Advice, String> {
        let account = &mut self.accounts[tenant];
        let named = TENANTS[tenant].0;
        match answer {
            Ok(_) if account.state == State::Present => return Err(format!("{named} was created twice")),
            Ok(_) => account.state = State::Present,
            Err(TenantError::Exists(_)) if account.state == State::Absent => {
                return Err(format!("{named} exists and was never created"));
            }
            Err(TenantError::Exists(_)) => {}
            Err(error) => {
                if account.state == State::Absent {
                    account.state = State::Doubtful;
                }
                // Unavailable: whether the catalogue names it is not known before the next open.
                let unavailable = matches!(error, TenantError::Unavailable { .. });
                return Ok(if unavailable { Advice::Reopen } else { Advice::Retry });
            }
        }
        Ok(Advice::GoOn)
    }

    /// What was acknowledged for a tenant so far is in blocks, or was replayed: it must be seen from beside.
    pub(super) fn settle(&mut self, tenant: usize) {
        for batch in &mut self.accounts[tenant].batches {
            batch.settled = batch.state == State::Present;
        }
    }

    /// Looks at every tenant through a store. The first look after an open decides what was doubtful.
    pub(super) fn check(&mut self, store: &Annals, now: Timestamp, look: Look) -> Result<(), String> {
        for (tenant, (name, _)) in TENANTS.iter().enumerate() {
            let found = store.tenant(&id(tenant));
            if let Some(handle) = self.expect_tenant(tenant, found, look)? {
                let plan = handle.summary().plan.map(|plan| plan.name).unwrap_or_default();
                if !self.accounts[tenant].plans.contains(&plan.as_str()) {
                    return Err(format!("{name} has plan {plan}, which nobody gave it"));
                }
                let takes = !handle.summary().kinds_off.iter().any(|kind| kind == SWITCHED);
                if self.accounts[tenant].takes_switched.is_some_and(|told| told != takes) {
                    return Err(format!("{name} takes signals of {SWITCHED}: {takes}"));
                }
                if look == Look::First {
                    self.accounts[tenant].takes_switched = Some(takes);
                }
                let (account, found) = (&mut self.accounts[tenant], handle.summary().cancelled.is_some());
                if account.cancelled.is_some_and(|cancelled| cancelled != found) {
                    return Err(format!("{name} is cancelled: {found}"));
                }
                if look == Look::First {
                    account.cancelled = Some(found);
                }
                let reader = handle.reader();
                self.check_reader(tenant, &reader, now, look)?;
                if look == Look::First {
                    self.settle(tenant);
                }
            }
        }
        let strangers =
            store.tenants().iter().filter(|t| TENANTS.iter().all(|(name, _)| *name != t.id.as_str())).count();
        if strangers > 0 { Err("there is a tenant that nobody created".to_owned()) } else { Ok(()) }
    }

    /// Looks at every tenant from beside a writer, or, where none lives, at all that there is.
    pub(super) fn check_read_only(
        &mut self,
        store: &ReadOnly,
        now: Timestamp,
        look: Look,
    ) -> Result<(), String> {
        for tenant in 0..TENANTS.len() {
            let found = store.tenant(&id(tenant));
            // What it sees of a tenant's end a power cut may take back.
            if let Some(reader) = self.expect_tenant(tenant, found, Look::Beside)? {
                self.check_reader(tenant, &reader, now, look)?;
            }
        }
        Ok(())
    }

    /// The tenant where it is to be there; an error where it should and is not, or is and should not.
    fn expect_tenant<T>(
        &mut self,
        tenant: usize,
        found: Result<T, TenantError>,
        look: Look,
    ) -> Result<Option<T>, String> {
        let account = &mut self.accounts[tenant];
        let named = TENANTS[tenant].0;
        match (found, account.state) {
            (Ok(_), _) if account.wrecked => Err(format!("{named} is served although its files are damaged")),
            (Ok(_), State::Absent) => Err(format!("{named} is there and was never created")),
            (Ok(found), _) => {
                if look == Look::First {
                    account.state = State::Present;
                    // One that is cancelled may be erased at any time now.
                    account.erasing = account.ends < Timestamp::MAX && account.erasing;
                }
                Ok(Some(found))
            }
            (Err(TenantError::Unavailable { .. }), _) if account.wrecked => Ok(None),
            (Err(TenantError::Unknown(_)), State::Absent) => Ok(None),
            (Err(TenantError::Unknown(_)), State::Doubtful) => {
                if look == Look::First {
                    account.state = State::Absent;
                }
                Ok(None)
            }
            (Err(TenantError::Unknown(_)), State::Present) if account.erasing => {
                // Who looks from beside may see what a power cut takes back.
                if look != Look::Beside {
                    self.erase(tenant);
                }
                Ok(None)
            }
            (Err(error), _) => Err(format!("{named}: {error}")),
        }
    }

    fn check_reader(
        &mut self,
        tenant: usize,
        reader: &TenantReader,
        now: Timestamp,
        look: Look,
    ) -> Result<(), String> {
        let held = hold(reader).map_err(|what| format!("{}: {what}", TENANTS[tenant].0))?;
        let mut present = Vec::new();
        // Batches that may or may not be there and of which no mark can show any more.
        let mut unknown = Vec::new();
        for n in 0..self.accounts[tenant].batches.len() {
            let batch = &self.accounts[tenant].batches[n];
            let open = match (batch.state, look) {
                (State::Absent, _) => false,
                (State::Present, Look::Beside) => !batch.settled,
                (State::Present, _) => false,
                (State::Doubtful, _) => true,
            };
            let shown = if open { self.shows(tenant, n, &held, now) } else { None };
            match (open, shown) {
                (true, None) => unknown.push(n),
                (true, Some(true)) => present.push(n),
                (true, Some(false)) => {}
                (false, _) if batch.state == State::Present => present.push(n),
                (false, _) => {}
            }
            if let (Look::First, true, Some(there)) = (look, open, shown) {
                self.accounts[tenant].batches[n].state = if there { State::Present } else { State::Absent };
            }
        }
        let (deleted, deleting) = (self.accounts[tenant].deleted, self.accounts[tenant].deleting);
        let mut differs = None;
        for (chosen, through) in (0..1u32 << unknown.len().min(4))
            .flat_map(|chosen| [(chosen, deleted), (chosen, deleting.max(deleted))])
        {
            let also = unknown.iter().enumerate().filter(|(at, _)| chosen >> at & 1 == 1).map(|(_, &n)| n);
            let expected = self.expected(tenant, present.iter().copied().chain(also), now, through);
            match difference(&expected, &held) {
                None => {
                    // What an open finds to be deleted, or not to be, stays so.
                    if look == Look::First {
                        let account = &mut self.accounts[tenant];
                        (account.deleted, account.deleting) = (through, through);
                    }
                    return Ok(());
                }
                Some(what) => differs = differs.or(Some(what)),
            }
        }
        Err(format!("{}: {}", TENANTS[tenant].0, differs.unwrap_or_default()))
    }

    /// Stamps up to these have expired: metrics, signals.
    fn floors(tenant: usize, now: Timestamp) -> (i64, i64) {
        let plan = plan(tenant);
        (plan.longest_keep().floor(now).0, plan.signals_keep.floor(now).0)
    }

    /// How long the windows are in which a stamp is shown; `None` where samples are.
    fn window_ms(tenant: usize, now: Timestamp, time: i64) -> Option<i64> {
        let plan = plan(tenant);
        let tier = plan.tiers.iter().find(|tier| tier.keep.floor(now).0 < time)?;
        tier.resolution.window_ms()
    }

    /// What a batch alone makes visible.
    fn add_to(&self, held: &mut Held, tenant: usize, n: usize, now: Timestamp, deleted: u64) {
        let (metrics_floor, signals_floor) = Book::floors(tenant, now);
        let batch = &self.accounts[tenant].batches[n];
        match &*batch.content {
            Content::Samples(samples) => {
                let mut gauges = BTreeMap::new();
                for (at, &(series, time, value)) in samples.samples.iter().enumerate() {
                    if time.0 <= metrics_floor || batch.refused.contains(&at) {
                        continue;
                    }
                    match samples.series[series as usize].0.metric_name() {
                        "g" => drop(gauges.insert(time.0, value.to_bits())),
                        "d" => *held.deltas.entry(time.0).or_default() += value as u64,
                        "last" if batch.order <= deleted => {}
                        "last" => drop(held.last.insert(time.0, value.to_bits())),
                        _ => *held.fat.entry(time.0).or_default() += 1,
                    }
                }
                // Each batch has a series of its own.
                held.gauges.extend(thinned(gauges, tenant, now));
            }
            Content::Signals(signals) => {
                for (at, signal) in signals.signals.iter().enumerate() {
                    if batch.refused.contains(&at) {
                        continue;
                    }
                    // Derived cells of a minute expire with their day.
                    held.derived += u64::from(signal.time.day().end().0 > metrics_floor);
                    if signal.time.0 > signals_floor {
                        *held.rows.entry(signal.time.0).or_default() += 1;
                    }
                }
            }
        }
    }

    fn expected(
        &self,
        tenant: usize,
        present: impl Iterator<Item = usize>,
        now: Timestamp,
        deleted: u64,
    ) -> Held {
        let mut order: Vec<usize> = present.collect();
        order.sort_by_key(|&n| self.accounts[tenant].batches[n].order);
        let mut held = Held::default();
        order.iter().for_each(|&n| self.add_to(&mut held, tenant, n, now, deleted));
        held.last = thinned(held.last, tenant, now);
        let mut deltas = BTreeMap::new();
        for (time, value) in held.deltas {
            let window = Book::window_ms(tenant, now, time);
            *deltas.entry(window.map_or(time, |window_ms| window_end(time, window_ms))).or_default() += value;
        }
        Held { deltas, ..held }
    }

    /// Whether a batch is there, by a mark that only it leaves; `None` where it can leave none.
    fn shows(&self, tenant: usize, n: usize, held: &Held, now: Timestamp) -> Option<bool> {
        let mut alone = Held::default();
        self.add_to(&mut alone, tenant, n, now, 0);
        let stamp = alone.gauges.keys().map(|time| held.gauges.contains_key(time)).next();
        stamp.or_else(|| alone.rows.keys().map(|time| held.rows.contains_key(time)).next())
    }
}

/// What is shown of the samples of a gauge: where only windows are, the first and last of each, and its end.
fn thinned(samples: BTreeMap<i64, u64>, tenant: usize, now: Timestamp) -> BTreeMap<i64, u64> {
    let is_stale = |bits: u64| bits == STALE_NAN_BITS;
    let shown = |time: i64, bits: u64| {
        let Some(window_ms) = Book::window_ms(tenant, now, time) else { return true };
        let end = window_end(time, window_ms);
        let of_window = || samples.range(end - window_ms + 1..=end);
        let first = of_window().find(|(_, bits)| !is_stale(**bits));
        let last = of_window().rfind(|(_, bits)| !is_stale(**bits));
        let ends = first.into_iter().chain(last).any(|(&at, _)| at == time);
        ends || is_stale(bits) && of_window().next_back().is_some_and(|(&at, _)| at == time)
    };
    samples.iter().filter(|(time, bits)| shown(**time, **bits)).map(|(&time, &bits)| (time, bits)).collect()
}

fn batch_id(tenant: usize, n: usize) -> BatchId {
    let mut id = [0; 16];
    id[0] = n as u8;
    id[1] = tenant as u8;
    BatchId(id)
}

/// All that a reader shows; an error where it says that something is missing.
fn hold(reader: &TenantReader) -> Result<Held, String> {
    let mut held = Held::default();
    each(reader, "g", &mut |time, value| match held.gauges.insert(time, value.to_bits()) {
        None => Ok(()),
        Some(_) => Err(format!("two samples at {time}")),
    })?;
    each(reader, "d", &mut |time, value| {
        *held.deltas.entry(time).or_default() += value as u64;
        Ok(())
    })?;
    each(reader, "last", &mut |time, value| {
        held.last.insert(time, value.to_bits());
        Ok(())
    })?;
    each(reader, "fat", &mut |time, _| {
        *held.fat.entry(time).or_default() += 1;
        Ok(())
    })?;
    each(reader, "auth_attempts", &mut |_, value| {
        held.derived += value as u64;
        Ok(())
    })?;
    let missing = reader.scan_signals(TimeRange::ALL, &[], &mut |row| {
        *held.rows.entry(row.time.0).or_default() += 1;
    });
    match missing.first() {
        None => Ok(held),
        Some(missing) => Err(format!("{MISSING} of raw signals: {}", missing.why)),
    }
}

/// How an answer begins that says that it is not whole.
pub(super) const MISSING: &str = "a part is missing";

fn each(
    reader: &TenantReader,
    name: &str,
    take: &mut dyn FnMut(i64, f64) -> Result<(), String>,
) -> Result<(), String> {
    let budget = Budget::new(QueryLimits::default());
    let selected = reader
        .select(&[Matcher::equal("__name__", name)], TimeRange::ALL, &budget)
        .map_err(|error| format!("{MISSING} of `{name}`: {error}"))?;
    if let Some(missing) = selected.coverage().missing.first() {
        return Err(format!("{MISSING} of `{name}`: {}", missing.why));
    }
    let mut samples = Samples::default();
    for index in 0..selected.len() {
        selected
            .read(index, &budget, &mut samples)
            .map_err(|error| format!("{MISSING} of `{name}`: {error}"))?;
        if let Some(missing) = samples.missing.first() {
            return Err(format!("{MISSING} of `{name}`: {}", missing.why));
        }
        for (time, value) in samples.timestamps.iter().zip(&samples.values) {
            take(*time, *value)?;
        }
    }
    Ok(())
}

/// The first thing in which what was found differs from what was expected.
fn difference(expected: &Held, found: &Held) -> Option<String> {
    fn first<V: PartialEq + std::fmt::Debug>(
        what: &str,
        expected: &BTreeMap<i64, V>,
        found: &BTreeMap<i64, V>,
    ) -> Option<String> {
        let times = expected.keys().chain(found.keys());
        let time = times.filter(|time| expected.get(time) != found.get(time)).min()?;
        Some(format!("{what} at {time}: expected {:?}, found {:?}", expected.get(time), found.get(time)))
    }
    first("gauge", &expected.gauges, &found.gauges)
        .or_else(|| first("sum of deltas", &expected.deltas, &found.deltas))
        .or_else(|| first("last write", &expected.last, &found.last))
        .or_else(|| first("long series", &expected.fat, &found.fat))
        .or_else(|| first("raw signals", &expected.rows, &found.rows))
        .or_else(|| {
            (expected.derived != found.derived)
                .then(|| format!("derived count: expected {}, found {}", expected.derived, found.derived))
        })
}
