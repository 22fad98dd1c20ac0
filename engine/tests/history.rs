//! Random histories against a naive oracle: what was acknowledged is there once and bit for bit, what was refused never
//! comes back, what was in doubt is whole or absent and stays as the first reopen found it.
//!
//! `ANNALS_HISTORIES` sets how many histories run, `ANNALS_HISTORY` runs the one of that seed.

mod common;

use std::collections::BTreeMap;

use annals::vfs::{SimCalls, SimCut, SimEntropy, SimError, SimFailedSync, SimFault};
use annals::*;
use common::*;

const TENANTS: [&str; 3] = ["archive", "enterprise", "starter"];
/// A delta's value says which batch it is of; sums of these are exact.
const BATCHES_MAX: usize = 48;

#[derive(Clone)]
enum Content {
    Samples(SampleBatch),
    Signals(SignalBatch),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Absent,
    Present,
    Doubtful,
}

/// A batch that was tried, and what is known of it.
struct Tried {
    content: Content,
    state: State,
    /// Which of its records were refused.
    refused: Vec<usize>,
    /// Others of the same stamp were written when its place in the log was not known.
    unordered: bool,
    /// Its place among the answers.
    order: u64,
    /// A flush or an open came after it: whoever reads beside the writer must see it.
    settled: bool,
}

/// What a tenant holds, as a reader sees it or the oracle expects it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Held {
    gauges: BTreeMap<i64, u64>,
    deltas: BTreeMap<i64, u64>,
    last: BTreeMap<i64, u64>,
    fat: BTreeMap<i64, usize>,
    rows: BTreeMap<i64, usize>,
    derived: u64,
}

#[derive(Default)]
struct Account {
    tried: Vec<Tried>,
}

impl Account {
    fn settle(&mut self) {
        self.tried.iter_mut().for_each(|tried| tried.settled = tried.state == State::Present);
    }
}

struct History {
    machine: Machine,
    draws: SimEntropy,
    store: Option<Annals>,
    accounts: Vec<Account>,
    operations: Vec<String>,
    seed: u64,
    order: u64,
}

impl Drop for History {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("ANNALS_HISTORY={}", self.seed);
            self.operations.iter().for_each(|operation| eprintln!("  {operation}"));
        }
    }
}

impl History {
    fn new(seed: u64) -> History {
        let draws = SimEntropy::new(seed);
        let head_bytes_max = [1 << 20, 12_000][draws.next_u64() as usize % 2];
        let machine = Machine::new();
        let options = Options { head_bytes_max, log_bytes_max: 512 << 10, ..machine.options.clone() };
        let machine = Machine { options, ..machine };
        machine.vfs.set_failed_sync(if draws.next_u64().is_multiple_of(2) {
            SimFailedSync::KeepsBytes
        } else {
            SimFailedSync::RevertsBytes
        });
        let store = machine.open();
        for name in TENANTS {
            store.create_tenant(&id(name), plan(name)).expect("created");
        }
        History {
            machine,
            draws,
            store: Some(store),
            accounts: TENANTS.iter().map(|_| Account::default()).collect(),
            operations: Vec::new(),
            seed,
            order: 0,
        }
    }

    fn below(&self, bound: u64) -> u64 {
        self.draws.next_u64() % bound
    }

    fn note(&mut self, what: impl Into<String>) {
        self.operations.push(what.into());
    }

    fn store(&self) -> &Annals {
        self.store.as_ref().expect("open between operations")
    }

    fn tenant(&self, index: usize) -> Tenant {
        self.store().tenant(&id(TENANTS[index])).expect("there")
    }

    /// A batch of stamps that no plan takes for late and that no other batch has.
    fn content(&self, index: usize) -> Content {
        let n = self.accounts[index].tried.len();
        let now = self.machine.now().0;
        let today = now.rem_euclid(DAY_MS) / HOUR_MS;
        let hours = if TENANTS[index] == "starter" { today } else { today + 24 };
        let slot = (n * 37 % BATCHES_MAX) as i64;
        let unique = now - self.below(hours as u64 + 1) as i64 * HOUR_MS - slot * 1_000;
        let number = (index * 1_000 + n) as u64;
        if TENANTS[index] == "starter" || self.below(2) == 0 {
            let times: Vec<i64> = (0..=self.below(3) as i64).map(|i| unique - i * 137).collect();
            return Content::Signals(attempts(number, &times));
        }
        let hour = (unique - 1).div_euclid(HOUR_MS) * HOUR_MS + 1;
        let mut batch = SampleBatch::new(batch_id(number), site("host"));
        let gauge = batch.series(labels(&[("__name__", "g"), ("batch", &n.to_string())]), SeriesKind::Gauge);
        let bits = match self.below(3) {
            0 => 0x7ff8_0000_dead_0000 | n as u64,
            1 => STALE_NAN_BITS,
            _ => self.draws.next_u64(),
        };
        batch.push(gauge, Timestamp(unique), f64::from_bits(bits));
        let delta = batch.series(labels(&[("__name__", "d")]), SeriesKind::Delta);
        batch.push(delta, Timestamp(hour), (1u64 << n) as f64);
        let last = batch.series(labels(&[("__name__", "last")]), SeriesKind::Gauge);
        batch.push(last, Timestamp(hour), n as f64);
        batch.push(last, Timestamp(hour), n as f64 + 0.5);
        if self.below(4) == 0 {
            for i in 0..8 {
                let long = format!("{n}-{i}-{}", "x".repeat(900));
                let fat = batch.series(labels(&[("__name__", "fat"), ("long", &long)]), SeriesKind::Gauge);
                batch.push(fat, Timestamp(unique), 1.0);
            }
        }
        Content::Samples(batch)
    }

    fn queue(&self, index: usize, content: &Content) -> Result<Ticket, WriteError> {
        match content {
            Content::Samples(batch) => self.tenant(index).write_samples(batch),
            Content::Signals(batch) => self.tenant(index).write_signals(batch),
        }
    }

    /// What an answer says of a batch. Says whether the store has to be opened again.
    fn learn(&mut self, index: usize, n: usize, answer: Result<Acknowledgement, WriteError>) -> bool {
        self.order += 1;
        let order = self.order;
        let told = match &answer {
            Ok(a) => format!("ok duplicate {} refused {}", a.duplicate, a.refused.len()),
            Err(error) => error.to_string(),
        };
        self.note(format!("  {} {n}: {told}", TENANTS[index]));
        let tried = &mut self.accounts[index].tried[n];
        match answer {
            Ok(acknowledgement) if acknowledgement.duplicate => {
                assert_ne!(tried.state, State::Absent, "batch {n} was refused and is taken for a duplicate");
                tried.state = State::Present;
                false
            }
            Ok(acknowledgement) => {
                assert_ne!(tried.state, State::Present, "batch {n} is counted twice");
                tried.refused = acknowledgement.refused.iter().map(|(at, _)| *at).collect();
                tried.order = order;
                if acknowledgement.accepted() > 0 {
                    tried.state = State::Present;
                }
                false
            }
            Err(WriteError::Indeterminate(_)) => {
                if tried.state == State::Absent {
                    tried.state = State::Doubtful;
                    tried.order = order;
                    tried.unordered = true;
                }
                true
            }
            Err(WriteError::Failed(_) | WriteError::Closed) => true,
            Err(_) => false,
        }
    }

    fn write(&mut self) {
        let mut tickets = Vec::new();
        let mut reopen = false;
        for _ in 0..=self.below(3) {
            let index = self.below(TENANTS.len() as u64) as usize;
            if self.accounts[index].tried.len() == BATCHES_MAX {
                continue;
            }
            let content = self.content(index);
            let n = self.accounts[index].tried.len();
            let ticket = self.queue(index, &content);
            self.accounts[index].tried.push(Tried {
                content,
                state: State::Absent,
                refused: Vec::new(),
                unordered: false,
                order: 0,
                settled: false,
            });
            self.note(format!("write {} {n}", TENANTS[index]));
            match ticket {
                Ok(ticket) => tickets.push((index, n, ticket)),
                Err(error) => reopen |= self.learn(index, n, Err(error)),
            }
        }
        for (index, n, ticket) in tickets {
            reopen |= self.learn(index, n, ticket.wait());
        }
        if reopen {
            self.reopen();
        }
    }

    fn retry(&mut self) {
        let index = self.below(TENANTS.len() as u64) as usize;
        let count = self.accounts[index].tried.len() as u64;
        if count == 0 {
            return;
        }
        let n = self.below(count) as usize;
        self.note(format!("retry {} {n}", TENANTS[index]));
        let content = self.accounts[index].tried[n].content.clone();
        let answer = self.queue(index, &content).and_then(Ticket::wait);
        let was = self.accounts[index].tried[n].state;
        if was == State::Present
            && let Ok(acknowledgement) = &answer
            && !acknowledgement.duplicate
        {
            // Forgotten, because nothing of it can count any more.
            assert_eq!(acknowledgement.accepted(), 0, "batch {n} is counted twice");
            return;
        }
        if self.learn(index, n, answer) {
            self.reopen();
        }
    }

    /// Closes or crashes, opens again, and holds what was in doubt to what is found.
    fn reopen(&mut self) {
        let crashed = self.machine.vfs.crashed();
        let how = if crashed { 1 + self.below(7) } else { self.below(8) };
        if how == 0 {
            self.note("close");
            if let Some(store) = self.store.take() {
                let _ = store.close();
            }
        } else if how < 3 {
            self.note("process crash");
            self.machine.vfs.process_crash();
            self.store = None;
            self.machine.vfs.process_crash();
        } else {
            let cut = SimCut::all(self.draws.next_u64())[self.below(6) as usize];
            self.note(format!("power cut {cut:?}"));
            // The store's end must not touch what the cut leaves.
            self.machine.vfs.set_crash_at(0);
            self.store = None;
            self.machine.vfs.power_cut(cut);
        }
        if self.below(3) == 0 {
            self.plant();
        }
        for attempt in 0.. {
            match self.machine.try_open() {
                Ok(store) => {
                    assert_eq!(store.recovery().unavailable, []);
                    self.store = Some(store);
                    break;
                }
                Err(error) => {
                    assert!(attempt < 3, "without a fault: {error}");
                    self.note(format!("open failed: {error}"));
                    self.machine.vfs.clear_faults();
                    self.machine.vfs.set_space(u64::MAX);
                    if self.machine.vfs.crashed() {
                        let cut = SimCut::all(self.draws.next_u64())[self.below(6) as usize];
                        if self.below(2) == 0 {
                            self.machine.vfs.process_crash();
                        } else {
                            self.machine.vfs.power_cut(cut);
                        }
                        self.note(format!("again after a crash in recovery {cut:?}"));
                    }
                }
            }
        }
        for index in 0..TENANTS.len() {
            self.resolve(index);
            self.accounts[index].settle();
        }
        self.check();
    }

    /// A fault or a crash some calls from now.
    fn plant(&mut self) {
        let after = self.below(40);
        match self.below(4) {
            0 => {
                self.note(format!("crash at {after}"));
                self.machine.vfs.set_crash_at(after);
            }
            1 => {
                self.note(format!("crash within {after}"));
                self.machine.vfs.set_crash_within(after);
            }
            kind => {
                let error = if self.below(2) == 0 { SimError::Io } else { SimError::NoSpace };
                let fault = SimFault { done: kind == 2, ..SimFault::once(SimCalls::Mutating, after, error) };
                self.note(format!("{fault:?}"));
                self.machine.vfs.fail(fault);
            }
        }
    }

    /// Stamps up to these have expired: metrics, signals.
    fn floors(&self, index: usize) -> (i64, i64) {
        let (plan, now) = (plan(TENANTS[index]), self.machine.now());
        (plan.raw_keep().floor(now).0, plan.signals_keep.floor(now).0)
    }

    /// What a batch alone makes visible.
    fn add(&self, index: usize, n: usize, held: &mut Held) {
        let (metrics_floor, signals_floor) = self.floors(index);
        let tried = &self.accounts[index].tried[n];
        match &tried.content {
            Content::Samples(batch) => {
                for (at, &(series, time, value)) in batch.samples.iter().enumerate() {
                    if tried.refused.contains(&at) || time.0 <= metrics_floor {
                        continue;
                    }
                    match batch.series[series as usize].0.metric_name() {
                        "g" => {
                            assert_eq!(
                                held.gauges.insert(time.0, value.to_bits()),
                                None,
                                "stamps are unique"
                            );
                        }
                        "d" => *held.deltas.entry(time.0).or_default() += value as u64,
                        "last" => {
                            held.last.insert(time.0, value.to_bits());
                        }
                        _ => *held.fat.entry(time.0).or_default() += 1,
                    }
                }
            }
            Content::Signals(batch) => {
                for (at, signal) in batch.signals.iter().enumerate() {
                    if tried.refused.contains(&at) {
                        continue;
                    }
                    held.derived += u64::from(signal.time.day().end().0 > metrics_floor);
                    if signal.time.0 > signals_floor {
                        *held.rows.entry(signal.time.0).or_default() += 1;
                    }
                }
            }
        }
    }

    fn expected(&self, index: usize, present: impl Fn(usize) -> bool) -> Held {
        let mut held = Held::default();
        let tried = &self.accounts[index].tried;
        let mut order: Vec<usize> = (0..tried.len()).filter(|&n| present(n)).collect();
        order.sort_by_key(|&n| tried[n].order);
        order.iter().for_each(|&n| self.add(index, n, &mut held));
        for &n in order.iter().filter(|&&n| tried[n].unordered) {
            // Which of two writes of one stamp is the later one is not known where a retry may have been first.
            let mut alone = Held::default();
            self.add(index, n, &mut alone);
            alone.last.keys().for_each(|time| {
                held.last.remove(time);
            });
        }
        held
    }

    fn held(&self, reader: &TenantReader) -> Held {
        let mut held = Held::default();
        let all = |name: &str, each: &mut dyn FnMut(i64, f64)| {
            let budget = Budget::new(QueryLimits::default());
            let selected = reader
                .select(&[Matcher::equal("__name__", name)], TimeRange::ALL, &budget)
                .expect("selected");
            assert_eq!(selected.coverage().missing, []);
            let mut samples = Samples::default();
            for index in 0..selected.len() {
                selected.read(index, &budget, &mut samples).expect("read");
                assert_eq!(samples.missing, []);
                samples.timestamps.iter().zip(&samples.values).for_each(|(time, value)| each(*time, *value));
            }
        };
        all("g", &mut |time, value| assert_eq!(held.gauges.insert(time, value.to_bits()), None));
        all("d", &mut |time, value| *held.deltas.entry(time).or_default() += value as u64);
        all("last", &mut |time, value| assert_eq!(held.last.insert(time, value.to_bits()), None));
        all("fat", &mut |time, _| *held.fat.entry(time).or_default() += 1);
        all("auth_attempts", &mut |_, value| held.derived += value as u64);
        let missing = reader.scan_signals(TimeRange::ALL, None, None, &mut |row| {
            *held.rows.entry(row.time.0).or_default() += 1;
        });
        assert_eq!(missing, []);
        held
    }

    /// Whether a batch is there, by a mark that only it leaves; `None` where it can leave none.
    fn shows(&self, index: usize, n: usize, held: &Held) -> Option<bool> {
        let mut alone = Held::default();
        self.add(index, n, &mut alone);
        let stamp = alone.gauges.keys().map(|t| held.gauges.contains_key(t)).next();
        stamp.or_else(|| alone.rows.keys().map(|t| held.rows.contains_key(t)).next())
    }

    fn resolve(&mut self, index: usize) {
        let held = self.held(&self.tenant(index).reader());
        for n in 0..self.accounts[index].tried.len() {
            if self.accounts[index].tried[n].state == State::Doubtful {
                let there =
                    self.shows(index, n, &held).expect("nothing expires between a write and the reopen");
                self.note(format!(
                    "  {} {n} is {}",
                    TENANTS[index],
                    if there { "there" } else { "not there" }
                ));
                self.accounts[index].tried[n].state = if there { State::Present } else { State::Absent };
            }
        }
    }

    fn same(&self, found: Held, expected: Held, index: usize, where_: &str) {
        let mut found = found;
        found.last.retain(|time, _| expected.last.contains_key(time));
        assert_eq!(found, expected, "{}, {where_}", TENANTS[index]);
    }

    /// What the store shows is what it was told and nothing else.
    fn check(&mut self) {
        for index in 0..TENANTS.len() {
            let tried = &self.accounts[index].tried;
            let found = self.held(&self.tenant(index).reader());
            self.same(found, self.expected(index, |n| tried[n].state == State::Present), index, "live");
        }
    }

    fn read_only(&mut self) {
        self.note("read only");
        if self.machine.vfs.crashed() {
            return;
        }
        let reader = self.machine.read_only();
        for (index, name) in TENANTS.into_iter().enumerate() {
            let found = self.held(&reader.tenant(&id(name)).expect("there"));
            let account = &self.accounts[index];
            let present = |n: usize| {
                let tried = &account.tried[n];
                (tried.state == State::Present && tried.settled)
                    || (tried.state != State::Absent && self.shows(index, n, &found).unwrap_or(false))
            };
            let mut expected = self.expected(index, present);
            // The last batches may not be known to be durable, and raw rows may have expired before their counts.
            if (0..account.tried.len())
                .any(|n| !account.tried[n].settled && self.shows(index, n, &found).is_none())
            {
                expected.derived = found.derived;
            }
            self.same(found, expected, index, "read only");
        }
    }

    fn flush(&mut self) {
        let index = self.below(TENANTS.len() as u64) as usize;
        let result = self.tenant(index).flush();
        self.note(format!("flush {}: {}", TENANTS[index], told(&result)));
        if result.is_ok() {
            self.accounts[index].settle();
        }
    }

    fn step(&mut self) {
        match self.below(24) {
            0..=8 => self.write(),
            9..=10 => self.retry(),
            11..=12 => self.flush(),
            13 => {
                let result = self.store().settle();
                self.note(format!("settle: {}", told(&result)));
            }
            14..=15 => {
                for _ in 0..4 {
                    let result = self.store().maintenance_step();
                    self.note(format!("maintenance: {}", told(&result)));
                }
            }
            16 => {
                let hours = [1, 5, 24, 30, 24 * 8, 24 * 95][self.below(6) as usize];
                self.note(format!("{hours} hours pass"));
                self.machine.clock.advance_ms(hours * HOUR_MS as u64);
            }
            17..=18 => self.reopen(),
            19..=20 => self.plant(),
            21 => {
                let full = self.below(2) == 0;
                self.note(format!("disk full: {full}"));
                self.machine.vfs.set_space(if full { self.below(200_000) } else { u64::MAX });
            }
            _ => self.read_only(),
        }
        if self.machine.vfs.crashed() {
            self.reopen();
        } else {
            self.check();
        }
    }

    /// After everything: without faults, all of it can be written, flushed, merged and opened.
    fn end(&mut self) {
        self.note("end");
        self.machine.vfs.clear_faults();
        self.machine.vfs.set_space(u64::MAX);
        self.machine.vfs.set_crash_at(u64::MAX / 2);
        self.reopen();
        self.machine.vfs.clear_faults();
        self.machine.vfs.set_crash_at(u64::MAX / 2);
        if self.machine.vfs.crashed() {
            self.reopen();
        }
        for index in 0..TENANTS.len() {
            for n in 0..self.accounts[index].tried.len() {
                if self.accounts[index].tried[n].state == State::Absent {
                    let content = self.accounts[index].tried[n].content.clone();
                    self.accounts[index].tried[n].unordered = true;
                    let answer = self.queue(index, &content).and_then(Ticket::wait);
                    assert!(!self.learn(index, n, answer), "nothing fails any more");
                }
            }
        }
        self.check();
        self.store().settle().ok();
        self.check();
        self.store.take().expect("open").close().ok();
        for account in &mut self.accounts {
            account.settle();
        }
        self.read_only();
    }
}

fn told<T>(result: &Result<T, MaintenanceError>) -> String {
    result.as_ref().map_or_else(ToString::to_string, |_| "ok".to_owned())
}

fn run(seed: u64) {
    let mut history = History::new(seed);
    for _ in 0..history.below(30) + 5 {
        history.step();
    }
    history.end();
}

#[test]
fn every_history_keeps_what_was_acknowledged_once_and_nothing_else() {
    if let Some(seed) = std::env::var("ANNALS_HISTORY").ok().and_then(|seed| seed.parse().ok()) {
        return run(seed);
    }
    let count = std::env::var("ANNALS_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(300);
    (0..count).for_each(run);
}
