//! SIGKILL: at random times, and in front of a random system call by strace. What was acknowledged is there, once.
//!
//! A store lives through some rounds, in memory and on the disk of the temporary directory by turns, then a new one
//! begins: so kills meet the making of a store, of tenants, of blocks, merges, and recoveries of earlier kills, some
//! of which nobody looked at. An acknowledgement that is only buffered promises as much here: the kernel lives on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use annals::Durability;

use super::check::{self, Book};
use super::child::Orders;
use super::load::Chance;
use super::process::{self, Running};
use crate::campaign::{Report, Size};

const CAMPAIGN: &str = "kill";
/// Names of its directories begin so.
const PREFIX: &str = "annals-kill-";
/// Rounds of a full run.
const ROUNDS: u64 = 5_000;
/// Rounds that a store lives through.
const ROUNDS_PER_STORE: u64 = 40;
/// The longest life of a child that is killed at a random time.
const LIFE_MS_MAX: u64 = 70;
/// Calls that change a file system or make it durable.
const CALLS: [&str; 6] = ["pwrite64", "fdatasync", "fsync", "rename", "unlink", "openat"];
/// How long a child under strace may take.
const TRACED_TIME: Duration = Duration::from_secs(20);
/// Batches of a writer in a child under strace: few, since each call is slow there.
const TRACED_BATCHES: u64 = 60;

/// Runs the campaign with this program as the child.
#[must_use]
pub fn run(size: &Size) -> Report {
    match std::env::current_exe() {
        Ok(program) => run_with(&program, size),
        Err(error) => Report { skipped: Some(error.to_string()), ..Report::new(CAMPAIGN) },
    }
}

/// Runs the campaign with a program that can be the child.
#[must_use]
pub fn run_with(program: &Path, size: &Size) -> Report {
    let mut report = Report::new(CAMPAIGN);
    let traced = match process::provide(&[("strace", "strace")]) {
        Ok(()) => true,
        Err(reason) => {
            report.skipped = Some(format!("kills at a system call: {reason}"));
            false
        }
    };
    let rounds = size.count.unwrap_or(ROUNDS);
    let mut totals = Totals::default();
    let mut store = None;
    for round in size.from..size.from + rounds {
        if size.is_over() {
            break;
        }
        let fresh = (round - size.from).is_multiple_of(ROUNDS_PER_STORE);
        let mut living = match store.take() {
            Some(living) if !fresh => living,
            _ => match Living::new(round) {
                Ok(living) => living,
                Err(error) => {
                    report.failures.push(format!("kill: round {round}: no place for a store: {error}"));
                    break;
                }
            },
        };
        match living.round(program, traced, round, &mut totals) {
            Ok(()) => store = Some(living),
            // The next round begins with another store.
            Err(what) => report.failures.push(format!("kill: round {round}: {what}")),
        }
        report.states += 1;
    }
    report.seeds = format!("{}..{}", size.from, size.from + report.states);
    report.count("at_calls", totals.at_calls);
    report.count("acknowledged", totals.acknowledged);
    report.count("found_unannounced", totals.unannounced);
    report.count("unchecked", totals.unchecked);
    report
}

#[derive(Debug, Default)]
struct Totals {
    acknowledged: u64,
    unannounced: u64,
    at_calls: u64,
    unchecked: u64,
}

/// A store and what is known of it.
struct Living {
    place: tempfile::TempDir,
    book: Book,
}

impl Living {
    fn new(round: u64) -> std::io::Result<Living> {
        let base = if (round / ROUNDS_PER_STORE).is_multiple_of(2) {
            process::memory()
        } else {
            std::env::temp_dir()
        };
        for left in process::leftovers(&base, PREFIX) {
            process::remove(&left)?;
        }
        let place = process::directory(&base, PREFIX)?;
        Ok(Living { place, book: Book::default() })
    }

    fn root(&self) -> PathBuf {
        self.place.path().join("store")
    }

    /// Lets a child write, kills it, and looks at what it left.
    fn round(&mut self, program: &Path, traced: bool, round: u64, totals: &mut Totals) -> Result<(), String> {
        let chance = Chance::new(round);
        let traced = traced && chance.one_in(4);
        let root = self.root();
        let orders = Orders {
            root: root.clone(),
            durability: if chance.one_in(3) { Durability::Buffered } else { Durability::Synced },
            seed: round,
            depth: 1 + chance.below(4),
            batches: if traced { TRACED_BATCHES } else { u64::MAX },
            newcomer: self.book.next_newcomer(),
            first: self.book.first(),
        };
        let wrapper = if traced { strace(&chance) } else { Vec::new() };
        let said = self.book.acknowledged;
        let mut child =
            Running::start(program, &wrapper, &orders, &mut self.book).map_err(|error| error.to_string())?;
        if traced {
            let ended = child.wait(&mut self.book, TRACED_TIME).map_err(|error| error.to_string())?;
            totals.at_calls += u64::from(ended.is_some_and(|status| status.code() != Some(0)));
        } else {
            child.listen(&mut self.book, Duration::from_micros(chance.below(LIFE_MS_MAX * 1_000)));
            child.kill(&mut self.book).map_err(|error| error.to_string())?;
        }
        totals.acknowledged += self.book.acknowledged - said;
        if let Some(what) = self.book.wrong.first() {
            return Err(format!(
                "the child saw: {what}; {orders:?}; {}",
                process::keep(&root, CAMPAIGN, round)
            ));
        }
        if let Some(what) = &self.book.failed {
            return Err(format!(
                "the child gave up: {what}; {orders:?}; {}",
                process::keep(&root, CAMPAIGN, round)
            ));
        }
        // The next child recovers from two kills at once.
        if chance.one_in(4) || !root.exists() {
            totals.unchecked += 1;
            return Ok(());
        }
        let left = self.place.path().join("left");
        process::remove(&left)
            .and_then(|()| process::copy(&root, &left))
            .map_err(|error| error.to_string())?;
        totals.unannounced += self.look(&chance).map_err(|what| {
            format!("{what}; {orders:?} under {wrapper:?}; {}", process::keep(&left, CAMPAIGN, round))
        })?;
        Ok(())
    }

    fn look(&self, chance: &Chance) -> Result<u64, String> {
        let root = self.root();
        // Before anybody repairs anything. Where the kill came before the catalogue, there is no store yet.
        if chance.one_in(3) && self.book.first() != [0; 3] {
            check::verify(&root)?;
            check::compare_read_only(&root, &self.book)?;
        }
        let (store, checked) = check::open_and_compare(&root, &self.book)?;
        if chance.one_in(4) {
            store.settle().map_err(|error| error.to_string())?;
            check::compare_open(&store, &self.book)
                .map_err(|what| format!("after it was settled: {what}"))?;
        }
        store.close().map_err(|error| error.to_string())?;
        if chance.one_in(4) {
            let (_, again) = check::open_and_compare(&root, &self.book)?;
            if again != checked {
                return Err(format!("{checked:?} after the first open, {again:?} after the second"));
            }
        }
        Ok(checked.unannounced)
    }
}

/// strace, made to kill the child in front of a system call: one of its first, or a late one.
fn strace(chance: &Chance) -> Vec<OsString> {
    let call = CALLS[chance.below(CALLS.len() as u64) as usize];
    let within = 1 << chance.below(9);
    let when = 1 + chance.below(within);
    let inject = format!("inject={call}:signal=SIGKILL:when={when}");
    [
        "strace",
        "-f",
        "-qqq",
        "--seccomp-bpf",
        "-o",
        "/dev/null",
        "-e",
        &format!("trace={call}"),
        "-e",
        &inject,
    ]
    .map(OsString::from)
    .into()
}
