//! Full disks: a tmpfs that is small in bytes or in files, and a limit on the length of files. Writes are refused and
//! reads go on; once there is room, writing goes on by itself, and nothing is lost or counted twice.
//!
//! ```text
//!   bytes, files   the child fills a small tmpfs, is refused, finds what it wrote; the tmpfs grows; it is acknowledged again
//!   length         the same below a limit on file lengths, with its signal ignored; and killed by it
//!   command        `annals import` on a small tmpfs, then again on one with room
//! ```

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use annals::Durability;

use super::check::{self, Book};
use super::child::Orders;
use super::command::{self, Desk, Verb};
use super::load::Chance;
use super::process::{self, Running, run as run_command};
use crate::campaign::{Report, Size};

const CAMPAIGN: &str = "tmpfs";
/// Names of its directories begin so, and the tmpfs is mounted there.
const PREFIX: &str = "annals-space-";
const MOUNT: &str = "small";
/// Sizes of a full run.
const ROUNDS: u64 = 120;
/// How long a child may take to fill what it has.
const FILL_TIME: Duration = Duration::from_secs(4);
/// How long it is watched while there is no room.
const REFUSED_TIME: Duration = Duration::from_millis(60);
/// How long it may take to go on once there is room.
const RESUME_TIME: Duration = Duration::from_secs(20);
/// Room for all that a campaign writes.
const ROOM: &str = "remount,size=256m,nr_inodes=100000";
/// What a process is killed by that writes beyond its limit and does not ignore it.
const SIGXFSZ: i32 = 25;

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
    if !process::is_root() {
        report.skipped = Some("mounting needs root".to_owned());
        return report;
    }
    let command =
        process::provide(&[("prlimit", "util-linux"), ("mount", "mount")]).and_then(|()| command::find());
    let command = match command {
        Ok(command) => command,
        Err(reason) => {
            report.skipped = Some(reason);
            return report;
        }
    };
    for left in process::leftovers(&std::env::temp_dir(), PREFIX) {
        // Never through a mount.
        if process::unmount(&left.join(MOUNT)).is_ok() {
            let _ = process::remove(&left);
        }
    }
    let rounds = size.count.unwrap_or(ROUNDS);
    let mut totals = Totals::default();
    for round in size.from..size.from + rounds {
        if size.is_over() {
            break;
        }
        let chance = Chance::new(round);
        let outcome = match round % 4 {
            0 => in_small_space(program, &chance, round, &mut totals, |chance| {
                format!("nr_inodes={}", 8 + chance.below(60))
            }),
            1 => below_a_length(program, &chance, round, &mut totals),
            2 => of_the_command(&command, &chance, round, &mut totals),
            _ => in_small_space(program, &chance, round, &mut totals, |chance| {
                format!("size={}k", (48 << chance.below(6)) + 4 * chance.below(24))
            }),
        };
        if let Err(what) = outcome {
            report.failures.push(format!("tmpfs: round {round}: {what}"));
        }
        report.states += 1;
    }
    report.seeds = format!("{}..{}", size.from, size.from + report.states);
    report.count("refused", totals.refused);
    report.count("resumed", totals.resumed);
    report.count("reads_while_full", totals.looks);
    report.count("too_small_to_open", totals.too_small);
    report.count("killed_by_limit", totals.killed);
    report
}

#[derive(Debug, Default)]
struct Totals {
    refused: u64,
    resumed: u64,
    looks: u64,
    too_small: u64,
    killed: u64,
}

/// A tmpfs of its own, unmounted when it is dropped.
struct Small {
    place: tempfile::TempDir,
}

impl Small {
    fn new(options: &str) -> Result<Small, String> {
        let place =
            tempfile::Builder::new().prefix("annals-space-").tempdir().map_err(|error| error.to_string())?;
        let small = Small { place };
        let mount = small.mount();
        std::fs::create_dir(&mount).map_err(|error| error.to_string())?;
        run_command("mount", &["-t", "tmpfs", "-o", options, "none", &mount.to_string_lossy()])?;
        Ok(small)
    }

    fn mount(&self) -> PathBuf {
        self.place.path().join(MOUNT)
    }

    fn make_room(&self) -> Result<(), String> {
        run_command("mount", &["-o", ROOM, &self.mount().to_string_lossy()]).map(|_| ())
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // What cannot be unmounted stays, and the next run finds it.
        let _ = process::unmount(&self.mount());
    }
}

fn orders(root: &Path, chance: &Chance, book: &Book) -> Orders {
    Orders {
        root: root.to_owned(),
        durability: if chance.one_in(3) { Durability::Buffered } else { Durability::Synced },
        seed: chance.below(u64::MAX),
        depth: 1 + chance.below(4),
        batches: u64::MAX,
        newcomer: book.next_newcomer(),
        first: book.first(),
    }
}

fn in_small_space(
    program: &Path,
    chance: &Chance,
    round: u64,
    totals: &mut Totals,
    options: impl Fn(&Chance) -> String,
) -> Result<(), String> {
    let options = options(chance);
    let small = Small::new(&options)?;
    let mut book = Book::default();
    let root = small.mount().join("store");
    let context = |what: String| format!("{what}; {options}; {}", process::keep(&root, CAMPAIGN, round));
    let orders = orders(&root, chance, &book);
    let child = Running::start(program, &[], &orders, &mut book).map_err(|error| error.to_string())?;
    fill_and_resume(child, &mut book, totals, || small.make_room()).map_err(context)?;
    compare(&root, &book).map_err(context)
}

/// Lets a child run into its limit, looks at what it says there, lifts the limit, and waits until it goes on.
fn fill_and_resume(
    mut child: Running,
    book: &mut Book,
    totals: &mut Totals,
    lift: impl FnOnce() -> Result<(), String>,
) -> Result<(), String> {
    let refused = child.listen_for(book, FILL_TIME, |line| line.starts_with("r "));
    if refused == Some(true) {
        totals.refused += 1;
        child.listen(book, REFUSED_TIME);
    }
    lift()?;
    match refused {
        // It could not even open: that is said, and what is there does not stand in the way of the next.
        None => {
            totals.too_small += 1;
            let said = book.failed.take().unwrap_or_default();
            if !said.contains("No space") && !said.contains("File too large") {
                return Err(format!("it gave up for another reason: {said}"));
            }
        }
        Some(true) => {
            if child.listen_for(book, RESUME_TIME, |line| line.starts_with("a ")) != Some(true) {
                let why = book.failed.take();
                return Err(format!("there is room, and nothing is acknowledged: {why:?}"));
            }
            totals.resumed += 1;
            child.listen(book, REFUSED_TIME);
        }
        Some(false) => {}
    }
    totals.looks += book.looks;
    child.kill(book).map_err(|error| error.to_string())?;
    match (book.wrong.first().or(book.missing.first()), &book.failed) {
        (Some(what), _) => Err(format!("the child saw: {what}")),
        (None, Some(what)) => Err(format!("the child gave up although there was room: {what}")),
        (None, None) => Ok(()),
    }
}

fn compare(root: &Path, book: &Book) -> Result<(), String> {
    let (store, _) = check::open_and_compare(root, book)?;
    store.settle().map_err(|error| error.to_string())?;
    check::compare_open(&store, book)?;
    store.close().map_err(|error| error.to_string())?;
    check::verify(root)
}

/// A limit on the length of files: with its signal ignored a full disk of another error, else a kill.
fn below_a_length(program: &Path, chance: &Chance, round: u64, totals: &mut Totals) -> Result<(), String> {
    let place = process::directory(&process::memory(), PREFIX);
    let place = place.map_err(|error| error.to_string())?;
    let root = place.path().join("store");
    let (limit, ignored) = (512 << chance.below(9), chance.one_in(2));
    let context =
        |what: String| format!("{what}; files of {limit} bytes; {}", process::keep(&root, CAMPAIGN, round));
    let mut book = Book::default();
    let trap = if ignored { "trap '' XFSZ; " } else { "" };
    let script = format!("{trap}exec prlimit --core=0 --fsize={limit}:unlimited \"$@\"");
    let wrapper: Vec<OsString> = ["sh", "-c", &script, "sh"].map(OsString::from).into();
    let orders = orders(&root, chance, &book);
    let mut child =
        Running::start(program, &wrapper, &orders, &mut book).map_err(|error| error.to_string())?;
    if ignored {
        let Some(pid) = child.pid_within(&mut book, FILL_TIME) else {
            return Err("it did not start".to_owned());
        };
        let lift = || run_command("prlimit", &["--fsize=unlimited", "--pid", &pid.to_string()]).map(|_| ());
        // Where it could not open, it is gone, and there is no limit to lift.
        fill_and_resume(child, &mut book, totals, || lift().or(Ok(()))).map_err(context)?;
    } else {
        match child.wait(&mut book, FILL_TIME).map_err(|error| error.to_string())? {
            Some(status) if status.signal() == Some(SIGXFSZ) => totals.killed += 1,
            Some(status) => return Err(context(format!("it ended otherwise: {status}"))),
            None => {}
        }
    }
    compare(&root, &book).map_err(context)
}

/// The shipped command where there is too little room, and then where there is enough.
fn of_the_command(command: &Path, chance: &Chance, round: u64, totals: &mut Totals) -> Result<(), String> {
    let options = match chance.below(2) {
        0 => format!("size={}k", 64 + 4 * chance.below(700)),
        _ => format!("nr_inodes={}", 8 + chance.below(24)),
    };
    let small = Small::new(&options)?;
    let root = small.mount().join("store");
    let desk = Desk::new(command, small.place.path(), &root).map_err(|error| error.to_string())?;
    let context = |what: String| format!("{what}; {options}; {}", process::keep(&root, CAMPAIGN, round));
    for verb in [Verb::Import, Verb::Compact] {
        let output = desk.run(verb).map_err(|error| error.to_string())?;
        if output.status.code() == Some(0) {
            continue;
        }
        totals.refused += 1;
        desk.judge(verb, &output).map_err(context)?;
        if verb == Verb::Import && !String::from_utf8_lossy(&output.stderr).contains("o space") {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(context(format!("it does not say that the disk is full: {said}")));
        }
    }
    small.make_room()?;
    desk.finish().map_err(context)
}
