//! What hosts do in a run: write, retry, ask, hold on to what they read.

use annals::query::promql::Value;
use annals::{Budget, DAY_MS, QueryLimits, SeriesSource, Ticket, TimeRange, Timestamp};

use super::content::{altered, content};
use super::draw::Draws;
use super::operation::Operation;
use super::run::{Run, id};
use crate::oracle::{Beside, Shown, State, Violation};

impl Run<'_> {
    pub(super) fn write(
        &mut self,
        tenants: &[usize],
        flush: bool,
        draws: &Draws,
        number: u64,
    ) -> Result<(), Violation> {
        let seed = draws.next();
        let mut tickets = Vec::new();
        for (part, &tenant) in (0..).zip(tenants) {
            let Some(handle) = self.tenant(tenant) else { continue };
            let plan = self.oracle.plan(&id(tenant)).clone();
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

    pub(super) fn retry(&mut self, tenant: usize, at: u64, twice: bool) -> Result<(), Violation> {
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

    pub(super) fn conflict(&mut self, tenant: usize, at: u64) -> Result<(), Violation> {
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

    pub(super) fn query(&mut self, tenant: usize) -> Result<(), Violation> {
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
            Value::Vector(vector) => vector.first().and_then(|one| one.2.float()).unwrap_or(0.0),
            other => return Err(Violation::new("I5", format!("{id}: {text} is {other:?}"))),
        };
        self.answer("query", found.to_bits());
        let expected = self.oracle.increase(&id, "signals", start, end);
        // The clock went back, and what had expired stays so.
        let expired = self.oracle.raw_floor(&id) > start;
        let excused = expired
            || self.reads_fail
            || self.oracle.is_loose(&id)
            || self.rotten.values().any(|(of, _)| *of == id);
        if found == expected || excused {
            Ok(())
        } else {
            Err(Violation::new("I5", format!("{id}: {text} is {found}, not {expected}")))
        }
    }

    /// Opens a view, lets other things happen, and reads it.
    pub(super) fn hold(
        &mut self,
        tenant: usize,
        read_only: bool,
        held: &[Operation],
    ) -> Result<(), Violation> {
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

    pub(super) fn read_only(&mut self) -> Result<(), Violation> {
        let store = match self.machine.open_read_only() {
            Ok(store) => store,
            Err(_) if self.reads_fail => return Ok(()),
            Err(error) => return Err(Violation::new("I11", format!("read only, beside a writer: {error}"))),
        };
        self.outcome.checks += 1;
        self.oracle.check_read_only(&store, Beside::Writer, self.machine.now())
    }
}
