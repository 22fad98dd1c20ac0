//! A year of many tenants of all plans: how long anything that has expired stays.
//!
//! Hour by hour: some tenants write, the clock goes on, what is overdue is looked at, and background work gets so many steps
//! and no more. Now and then a plan changes, a tenant is cancelled, the power is cut. Nothing may be overdue by more than a
//! block's span.

use annals::vfs::SimCut;
use annals::{
    Annals, BatchId, DAY_MS, HOUR_MS, Options, Plan, Signal, SignalBatch, SiteName, Tenant, TenantId, Ticket,
    Timestamp,
};

use crate::campaign::{Campaign, Report, Size};
use crate::world::Machine;

/// The campaigns of this kind.
pub const CAMPAIGNS: &[Campaign] = &[Campaign {
    name: "year",
    about: "a year of 200 tenants of all plans: nothing that has expired stays longer than a block spans",
    run: |size| run(size, TENANTS),
}];

const DAYS: u64 = 365;
const TENANTS: usize = 200;
/// Steps of background work in an hour, for each tenant.
const STEPS_PER_TENANT: usize = 4;
/// A tenant writes once in so many hours.
const WRITE_HOURS: u64 = 7;
/// The power is cut once in so many hours.
const CUT_HOURS: u64 = 24 * 9 + 5;

/// A year, or so many days as are asked for, of so many tenants.
pub fn run(size: &Size, tenants: usize) -> Report {
    let mut report = Report::new("year");
    let mut year = match Year::begin(tenants) {
        Ok(year) => year,
        Err(what) => {
            report.failures.push(what);
            return report;
        }
    };
    let days = size.count.unwrap_or(DAYS);
    for hour in 0..days * 24 {
        if size.is_over() {
            break;
        }
        if let Err(what) = year.hour(hour) {
            report.failures.push(format!("hour {hour}: {what}"));
            break;
        }
        report.states += 1;
    }
    report.count("tenants", tenants);
    report.count("days", report.states / 24);
    report.count("batches", year.batches);
    report.count("blocks", year.blocks());
    report.count("steps", year.steps);
    report.count("lag-minutes", year.lag_ms_max / 60_000);
    if year.lag_ms_max > DAY_MS {
        report.failures.push(format!("{} was overdue by {} ms", year.latest, year.lag_ms_max));
    }
    report
}

struct Year {
    machine: Machine,
    store: Option<Annals>,
    tenants: Vec<TenantId>,
    batches: u64,
    steps: u64,
    lag_ms_max: i64,
    /// Whose block that was.
    latest: String,
}

impl Year {
    fn begin(tenants: usize) -> Result<Year, String> {
        let options = Options { head_bytes_max: 1 << 20, ..Options::default() };
        let machine = Machine::new(options);
        let store = machine.open().map_err(|error| error.to_string())?;
        let ids = (0..tenants).map(|number| {
            let id = TenantId::new(&format!("tenant-{number}")).map_err(|error| error.to_string())?;
            store.create_tenant(&id, plan(number)).map_err(|error| error.to_string())?;
            Ok(id)
        });
        let tenants = ids.collect::<Result<Vec<_>, String>>()?;
        let latest = "nobody".to_owned();
        Ok(Year { machine, store: Some(store), tenants, batches: 0, steps: 0, lag_ms_max: 0, latest })
    }

    fn hour(&mut self, hour: u64) -> Result<(), String> {
        for number in 0..self.tenants.len() {
            if (number as u64 + hour).is_multiple_of(WRITE_HOURS) {
                self.write(number, hour)?;
            }
        }
        if hour.is_multiple_of(24) {
            self.change(hour / 24)?;
            self.machine.vfs.take_trace();
        }
        self.machine.clock.advance_ms(HOUR_MS as u64);
        self.look();
        if hour % CUT_HOURS == CUT_HOURS - 1 {
            self.store = None;
            self.machine.vfs.power_cut(SimCut::Nothing);
            self.store = Some(self.machine.open().map_err(|error| error.to_string())?);
        }
        for _ in 0..STEPS_PER_TENANT * self.tenants.len() {
            let done = self.store()?.maintenance_step().map_err(|error| error.to_string())?;
            if done.is_none() {
                break;
            }
            self.steps += 1;
        }
        Ok(())
    }

    fn store(&self) -> Result<&Annals, String> {
        self.store.as_ref().ok_or_else(|| "the store is not open".to_owned())
    }

    fn tenant(&self, number: usize) -> Option<Tenant> {
        self.store.as_ref()?.tenant(self.tenants.get(number)?).ok()
    }

    fn write(&mut self, number: usize, hour: u64) -> Result<(), String> {
        let Some(tenant) = self.tenant(number) else { return Ok(()) };
        if tenant.summary().cancelled.is_some() {
            return Ok(());
        }
        let mut id = [0; 16];
        id[..8].copy_from_slice(&hour.to_le_bytes());
        let signal = |minutes: i64| {
            let time = Timestamp(self.machine.now().0 - minutes * 60_000);
            Signal::new("auth.attempt", time).with("result", "failure").with("method", "password")
        };
        let site = SiteName::new("shop.example").map_err(|error| error.to_string())?;
        // An hour late, so that days get data after their end.
        let batch = SignalBatch { id: BatchId(id), site, signals: [0, 3, 61].map(signal).to_vec() };
        let written = tenant.write_signals(&batch).and_then(Ticket::wait);
        self.batches += u64::from(written.map_err(|error| error.to_string())?.accepted() > 0);
        Ok(())
    }

    /// Something of a tenant's life: each day another tenant's.
    fn change(&self, day: u64) -> Result<(), String> {
        let number = (day * 7) as usize % self.tenants.len();
        let Some(tenant) = self.tenant(number) else { return Ok(()) };
        let changed = match day % 10 {
            0..=4 => tenant.change_plan(plan(number + day as usize)).map(|_| ()),
            5 => tenant.undo_plan().map(|_| ()),
            6 => tenant.cancel().map(|_| ()),
            7 => tenant.undo_cancel().map(|_| ()),
            _ => return Ok(()),
        };
        changed.map_err(|error| error.to_string())
    }

    /// What is overdue, before background work comes to it.
    fn look(&mut self) {
        for number in 0..self.tenants.len() {
            let lag_ms = self.tenant(number).map_or(0, |tenant| tenant.retention().lag_ms());
            if lag_ms > self.lag_ms_max {
                (self.lag_ms_max, self.latest) = (lag_ms, self.tenants[number].to_string());
            }
        }
    }

    fn blocks(&self) -> usize {
        let tenants = (0..self.tenants.len()).filter_map(|number| self.tenant(number));
        tenants.map(|tenant| tenant.retention().blocks().len()).sum()
    }
}

/// The built-in plans, in turn.
fn plan(number: usize) -> Plan {
    let name = Plan::BUILT_IN[number % Plan::BUILT_IN.len()];
    Plan::built_in(name).expect("built in")
}
