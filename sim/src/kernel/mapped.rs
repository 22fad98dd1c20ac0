//! Blocks that are cut or removed while a reader has them open.
//!
//! The engine maps published blocks and never cuts or removes one in use; another program may. What then happens to
//! a process that reads, which is a child here:
//!
//! | to a block                    | before the store was opened  | under an open reader                              |
//! |-------------------------------|------------------------------|---------------------------------------------------|
//! | removed                       | an error that names the file | goes on: the mapping keeps the file               |
//! | cut within its last page      | an error that names the file | an error, or right: the page's rest reads as zeros |
//! | cut further                   | an error that names the file | SIGBUS ends the process as it reads there         |
//!
//! Never an answer that is wrong in silence. A host that must survive the last case must keep other programs away
//! from the store's files; the engine installs no signal handler.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use annals::vfs::{RealVfs, SystemClock};
use annals::{Annals, Background, Durability, Options, Plan, ReadOnly};

use super::check;
use super::child;
use super::load::{self, Batch};
use super::process;
use crate::campaign::{Report, Size};

/// The first argument of this program where it is to be the reader.
pub const VERB: &str = "kernel-reader";

const CAMPAIGN: &str = "mapped";
/// Batches in the store.
const BATCHES: u64 = 4_000;
/// What a process is killed by that reads a mapped page behind a file's end.
const SIGBUS: i32 = 7;

/// What is done to a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    Removed,
    /// Cut to its whole pages and one byte.
    CutInLastPage,
    CutToHalf,
    CutToNothing,
}

const DAMAGES: [Damage; 4] =
    [Damage::Removed, Damage::CutInLastPage, Damage::CutToHalf, Damage::CutToNothing];

/// Runs the campaign with this program as the reader.
#[must_use]
pub fn run(_: &Size) -> Report {
    match std::env::current_exe() {
        Ok(program) => run_with(&program),
        Err(error) => Report { skipped: Some(error.to_string()), ..Report::new(CAMPAIGN) },
    }
}

/// Runs the campaign with a program that can be the reader.
#[must_use]
pub fn run_with(program: &Path) -> Report {
    let mut report = Report::new(CAMPAIGN);
    let place = match tempfile::Builder::new().prefix("annals-mapped-").tempdir_in(process::memory()) {
        Ok(place) => place,
        Err(error) => {
            report.skipped = Some(error.to_string());
            return report;
        }
    };
    let whole_store = place.path().join("whole");
    if let Err(error) = make(&whole_store) {
        report.failures.push(format!("mapped: the store cannot be made: {error}"));
        return report;
    }
    let (mut signals, mut named, mut whole) = (0, 0, 0);
    for stage in [Stage::Closed, Stage::Opened, Stage::Read] {
        for damage in DAMAGES {
            report.states += 1;
            match damage_once(program, &whole_store, damage, stage) {
                Ok(seen) if !stage.allows(damage, &seen) => {
                    report.failures.push(format!("mapped: {damage:?}, {stage:?}: {seen:?}"));
                }
                Ok(Seen::Whole) => whole += 1,
                Ok(Seen::Named) => named += 1,
                Ok(Seen::Killed) => signals += 1,
                Err(what) => report.failures.push(format!("mapped: {damage:?}, {stage:?}: {what}")),
            }
        }
    }
    report.count("whole", whole);
    report.count("named", named);
    report.count("ended_by_sigbus", signals);
    report
}

/// How far the reader has come when the block is hurt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Closed,
    Opened,
    Read,
}

impl Stage {
    fn allows(self, damage: Damage, seen: &Seen) -> bool {
        match (self, damage) {
            (Stage::Closed, _) => *seen == Seen::Named,
            (_, Damage::Removed) => *seen == Seen::Whole,
            (_, Damage::CutInLastPage) => *seen != Seen::Killed,
            (_, Damage::CutToHalf | Damage::CutToNothing) => *seen != Seen::Whole,
        }
    }
}

/// What the reader made of it.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// All batches.
    Whole,
    /// An error that names the file.
    Named,
    /// Its own end.
    Killed,
}

fn damage_once(program: &Path, whole: &Path, damage: Damage, stage: Stage) -> Result<Seen, String> {
    let root = whole.with_file_name("store");
    process::remove(&root).and_then(|()| process::copy(whole, &root)).map_err(|error| error.to_string())?;
    let block = largest_block(&root).ok_or("there is no block")?;
    if stage == Stage::Closed {
        hurt(&block, damage).map_err(|error| error.to_string())?;
    }
    let mut reader = Command::new(program)
        .arg(VERB)
        .arg(&root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let (input, output) = (reader.stdin.take(), reader.stdout.take());
    let (Some(mut input), Some(output)) = (input, output) else { return Err("no pipe".to_owned()) };
    let mut answers = BufReader::new(output).lines().map_while(Result::ok);
    let opened = answers.next();
    let mut ask = || {
        // Where it is gone, the missing answer says so.
        let _ = input.write_all(b"look\n");
        answers.next()
    };
    if opened.is_none() || stage == Stage::Read && ask().as_deref() != Some("whole") {
        return Err("it did not read the store before the damage".to_owned());
    }
    if stage != Stage::Closed {
        hurt(&block, damage).map_err(|error| error.to_string())?;
    }
    let answer = ask();
    drop(input);
    let status = reader.wait().map_err(|error| error.to_string())?;
    let name = block.file_name().unwrap_or_default().to_string_lossy().into_owned();
    match answer.as_deref() {
        Some("whole") => Ok(Seen::Whole),
        Some(text) if text.contains(&name) => Ok(Seen::Named),
        None if status.signal() == Some(SIGBUS) => Ok(Seen::Killed),
        answer => Err(format!("{answer:?}, {status}")),
    }
}

/// A store of one tenant, all of it in blocks.
fn make(root: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let options =
        Options { background: Background::Steps, durability: Durability::Buffered, ..Options::default() };
    let store: Annals = child::open(root, options)?;
    let tenant = store.create_tenant(&load::tenant(0), Plan::built_in("archive").ok_or("built in")?)?;
    for n in 0..BATCHES {
        match load::batch(n) {
            Batch::Signals(batch) => tenant.write_signals(&batch)?.wait()?,
            Batch::Samples(batch) => tenant.write_samples(&batch)?.wait()?,
        };
    }
    store.settle()?;
    store.close()?;
    Ok(())
}

fn largest_block(root: &Path) -> Option<PathBuf> {
    let blocks = root.join("t").join("1").join("b");
    let entries = std::fs::read_dir(blocks).ok()?.flatten();
    entries
        .max_by_key(|entry| entry.metadata().map_or(0, |metadata| metadata.len()))
        .map(|entry| entry.path())
}

fn hurt(block: &Path, damage: Damage) -> std::io::Result<()> {
    if damage == Damage::Removed {
        return std::fs::remove_file(block);
    }
    let file = std::fs::OpenOptions::new().write(true).open(block)?;
    let length = file.metadata()?.len();
    file.set_len(match damage {
        Damage::CutInLastPage => (length - 1) / 4096 * 4096 + 1,
        Damage::CutToHalf => length / 2,
        Damage::Removed | Damage::CutToNothing => 0,
    })
}

/// The reader: opens the store, says so, and reads all of it each time that it is asked.
pub(crate) fn read(arguments: &[OsString]) -> ! {
    let root = arguments.first().map(PathBuf::from).unwrap_or_default();
    let store = ReadOnly::open(Arc::new(RealVfs), Arc::new(SystemClock::default()), &root);
    println!("opened");
    for _ in std::io::stdin().lines().map_while(Result::ok) {
        let reader = store
            .as_ref()
            .map_err(ToString::to_string)
            .and_then(|store| store.tenant(&load::tenant(0)).map_err(|error| error.to_string()));
        match reader.and_then(|reader| check::look(&reader).map_err(|trouble| trouble.to_string())) {
            Ok(found) if found.is_all_below(BATCHES) => println!("whole"),
            Ok(found) => println!("wrong in silence: {found:?}"),
            Err(what) => println!("{}", what.replace('\n', " ")),
        }
    }
    std::process::exit(0);
}
