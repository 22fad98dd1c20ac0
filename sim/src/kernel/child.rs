//! The process that is killed, cut off, starved of space: it writes and says what was acknowledged.
//!
//! It says so on standard output, a line by one call, before it writes on:
//!
//! ```text
//!   pid P              first of all
//!   open               the store is open
//!   a W N              batch N of writer W is acknowledged
//!   f W N              every batch of W below N is in blocks
//!   t K                newcomer K is created
//!   r W N text         batch N of writer W was refused; it is tried again
//!   q W                what writer W had acknowledged could be read after a refusal
//!   m W text           it could not, and the store said so
//!   wrong text         it saw what must not be
//!   failed text        it could not go on; it ends with code 1
//! ```
//!
//! Each writer keeps a few batches on their way, so that several share a commit.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use annals::vfs::{RealVfs, SystemClock, SystemEntropy};
use annals::{Annals, Durability, OpenError, Options, Plan, Tenant, TenantError, Ticket, WriteError};

use super::check::{self, Trouble};
use super::load::{self, Batch, Chance, WRITERS};

/// The first argument of this program where it is to be the child.
pub const VERB: &str = "kernel-writer";

/// After a refusal, how long until the next try.
const RETRY_PAUSE: Duration = Duration::from_millis(2);
/// Of how many refusals one is followed by a look at what can be read.
const LOOK_EVERY: u64 = 8;

/// What a child does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orders {
    /// The store.
    pub root: PathBuf,
    /// What an acknowledgement means.
    pub durability: Durability,
    /// Draws when it flushes and creates tenants.
    pub seed: u64,
    /// Batches of a writer that are on their way at one time.
    pub depth: u64,
    /// Each writer ends after so many batches, and the process after all of them, without closing the store.
    pub batches: u64,
    /// The next newcomer's number.
    pub newcomer: u64,
    /// The first batch of each writer.
    pub first: [u64; WRITERS],
}

impl Orders {
    /// As arguments of a process.
    #[must_use]
    pub fn to_arguments(&self) -> Vec<OsString> {
        let buffered = u64::from(self.durability == Durability::Buffered);
        let numbers = [buffered, self.seed, self.depth, self.batches, self.newcomer];
        let numbers = numbers.iter().chain(&self.first).map(|number| number.to_string().into());
        [VERB.into(), self.root.clone().into_os_string()].into_iter().chain(numbers).collect()
    }

    /// From the arguments behind the verb.
    fn from_arguments(arguments: &[OsString]) -> Option<Orders> {
        let (root, numbers) = arguments.split_first()?;
        let numbers: Vec<u64> = numbers
            .iter()
            .map(|text| text.to_str().and_then(|text| text.parse().ok()))
            .collect::<Option<_>>()?;
        let [buffered, seed, depth, batches, newcomer, first @ ..] = &numbers[..] else { return None };
        Some(Orders {
            root: PathBuf::from(root),
            durability: if *buffered == 1 { Durability::Buffered } else { Durability::Synced },
            seed: *seed,
            depth: *depth,
            batches: *batches,
            newcomer: *newcomer,
            first: first.try_into().ok()?,
        })
    }
}

/// Opens a store as a host would, on the machine's files, clock and entropy.
pub fn open(root: &Path, options: Options) -> Result<Annals, OpenError> {
    let (clock, entropy) = (Arc::new(SystemClock::default()), Arc::new(SystemEntropy::default()));
    Annals::open(Arc::new(RealVfs), clock, entropy, root, options)
}

/// Runs the child that the arguments behind [`VERB`] ask for.
///
/// Never returns: it is killed, or ends the process.
pub(crate) fn run(arguments: &[OsString]) -> ! {
    // A panic of any thread is heard, whatever becomes of the others.
    std::panic::set_hook(Box::new(|panic| {
        // What a thread needs before any of our code runs, the runtime does not get: the process ends, as in a crash.
        if panic.location().is_some_and(|location| location.file().contains("/std/src/sys/")) {
            std::process::exit(0);
        }
        say(format_args!("wrong {}", panic.to_string().replace('\n', " ")));
    }));
    say(format_args!("pid {}", std::process::id()));
    let Some(orders) = Orders::from_arguments(arguments) else {
        fail("it was not told what to do");
    };
    let options = Options { durability: orders.durability, ..load::options() };
    let store = open(&orders.root, options).unwrap_or_else(|error| fail(error));
    say("open");
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (store, orders) = (&store, &orders);
            let write = move || Writer::new(store, orders, writer).write();
            if std::thread::Builder::new().spawn_scoped(scope, write).is_err() {
                // The system has no thread to give, and the others end as in a crash.
                std::process::exit(0);
            }
        }
    });
    // As a crash would: nothing is sealed.
    std::process::exit(0);
}

/// One line by one write: a kill leaves a whole line or none.
fn say(line: impl Display) {
    println!("{line}");
}

fn fail(why: impl Display) -> ! {
    say(format_args!("failed {why}"));
    eprintln!("error: {why}");
    std::process::exit(1);
}

/// One tenant's writer.
struct Writer<'a> {
    store: &'a Annals,
    tenant: Tenant,
    orders: &'a Orders,
    writer: usize,
    chance: Chance,
    /// The next batch to be written, and what is on its way, oldest first.
    next: u64,
    on_the_way: VecDeque<(u64, Ticket)>,
    refusals: u64,
    newcomers: u64,
}

impl<'a> Writer<'a> {
    fn new(store: &'a Annals, orders: &'a Orders, writer: usize) -> Writer<'a> {
        Writer {
            store,
            tenant: tenant(store, writer),
            orders,
            writer,
            chance: Chance::new(orders.seed.wrapping_mul(WRITERS as u64).wrapping_add(writer as u64)),
            next: orders.first[writer],
            on_the_way: VecDeque::new(),
            refusals: 0,
            newcomers: orders.newcomer,
        }
    }

    fn write(&mut self) {
        let end = self.orders.first[self.writer].saturating_add(self.orders.batches);
        while self.next < end || !self.on_the_way.is_empty() {
            if self.next < end && (self.on_the_way.len() as u64) < self.orders.depth {
                self.send();
            } else {
                self.wait_for_one();
            }
        }
    }

    fn send(&mut self) {
        let written = match load::batch(self.next) {
            Batch::Signals(batch) => self.tenant.write_signals(&batch),
            Batch::Samples(batch) => self.tenant.write_samples(&batch),
        };
        match written {
            Ok(ticket) => {
                self.on_the_way.push_back((self.next, ticket));
                self.next += 1;
            }
            Err(error) => self.refused(self.next, &error),
        }
    }

    fn wait_for_one(&mut self) {
        let Some((n, ticket)) = self.on_the_way.pop_front() else { return };
        match ticket.wait() {
            Ok(acknowledgement) => {
                let whole = acknowledgement.duplicate || acknowledgement.refused.is_empty();
                if !whole {
                    say(format_args!("wrong writer {} batch {n}: {acknowledgement:?}", self.writer));
                }
                say(format_args!("a {} {n}", self.writer));
                self.between(n + 1);
            }
            Err(error) => {
                self.refused(n, &error);
                // What follows is tried again behind it; what was taken all the same is then a duplicate.
                for (later, ticket) in self.on_the_way.drain(..) {
                    if ticket.wait().is_ok() {
                        say(format_args!("a {} {later}", self.writer));
                    }
                }
                self.next = n;
            }
        }
    }

    /// Now and then makes blocks or a tenant.
    fn between(&mut self, through: u64) {
        if self.chance.one_in(48) && self.tenant.flush().is_ok() {
            say(format_args!("f {} {through}", self.writer));
        }
        if self.writer == 0 && self.chance.one_in(96) {
            let newcomer = load::newcomer(self.newcomers);
            match self.store.create_tenant(&newcomer, plan()) {
                Ok(_) | Err(TenantError::Exists(_)) => say(format_args!("t {}", self.newcomers)),
                // Whether it is there is open.
                Err(_) => {}
            }
            self.newcomers += 1;
        }
    }

    /// Says that a batch was refused, and whether reads go on.
    fn refused(&mut self, n: u64, error: &WriteError) {
        say(format_args!("r {} {n} {error}", self.writer));
        if matches!(error, WriteError::Failed(_) | WriteError::Closed) {
            fail(error);
        }
        self.refusals += 1;
        if self.refusals % LOOK_EVERY == 1 {
            match check::look(&self.tenant.reader()) {
                Ok(_) => say(format_args!("q {}", self.writer)),
                Err(Trouble::Missing(what)) => say(format_args!("m {} {what}", self.writer)),
                Err(Trouble::Wrong(what)) => say(format_args!("wrong writer {}: {what}", self.writer)),
            }
        }
        std::thread::sleep(RETRY_PAUSE);
    }
}

fn plan() -> Plan {
    Plan::built_in("archive").expect("built in")
}

/// The writer's tenant. A disk that is full refuses to create it; space may come.
fn tenant(store: &Annals, writer: usize) -> Tenant {
    let id = load::tenant(writer);
    let mut refused = false;
    loop {
        let created = match store.create_tenant(&id, plan()) {
            Err(TenantError::Exists(id)) => store.tenant(&id),
            created => created,
        };
        match created {
            Ok(tenant) => return tenant,
            Err(error) if is_no_space(&error) => {
                if !refused {
                    say(format_args!("r {writer} {} {error}", 0));
                }
                refused = true;
                std::thread::sleep(RETRY_PAUSE);
            }
            Err(error) => fail(error),
        }
    }
}

/// Whether a tenant was refused for want of space, for its files or for its key: a key store says so in words alone.
fn is_no_space(error: &TenantError) -> bool {
    match error {
        TenantError::Io { source, .. } => source.kind() == std::io::ErrorKind::StorageFull,
        TenantError::Keys { source, .. } => source.to_string().contains("No space left on device"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_command_line() {
        let orders = Orders {
            root: "/somewhere/else".into(),
            durability: Durability::Buffered,
            seed: 7,
            depth: 3,
            batches: u64::MAX,
            newcomer: 2,
            first: [10, 20, 30],
        };
        assert_eq!(Orders::from_arguments(&orders.to_arguments()[1..]), Some(orders));
        assert_eq!(Orders::from_arguments(&[]), None);
    }
}
