//! System calls that fail: strace makes the n-th call of a kind return an error, once or from then on, in the shipped
//! command and in the child. This holds `RealVfs` against what the simulated disk assumes of errors.
//!
//! The command is run once in peace under strace, which says which files of the store it touches and how often each
//! call is made on them. Then every call on them fails by turns with each error that it can give. Whatever comes,
//! the end is a documented one, an error names the store's file, an answer is right or not given, and afterwards
//! everything is there, once ([`Desk::judge`], [`Desk::finish`]). The child is given failures at random.
//!
//! `0` stands for a call that does nothing and says so: a write of no bytes, the end of a file too early. Writes that
//! are cut short in earnest come from full disks, which another campaign has.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use annals::Durability;

use super::check::{self, Book};
use super::child::Orders;
use super::command::{self, Desk, Verb};
use super::load::Chance;
use super::process::{self, Running};
use crate::campaign::{Report, Size};

const CAMPAIGN: &str = "calls";
/// Rounds of the child in a full run.
const CHILD_ROUNDS: u64 = 300;
/// Batches of a writer in such a round.
const CHILD_BATCHES: u64 = 40;
/// How long such a round takes at most: where every call fails, the child tries for ever.
const CHILD_TIME: Duration = Duration::from_secs(3);
/// Failures of the demo, which makes far too many calls for each to fail: the n-th and all that follow.
const OF_THE_DEMO: [(&str, &str, u64); 7] = [
    ("mkdir", "ENOSPC", 4),
    ("openat", "EMFILE", 60),
    ("pwrite64", "ENOSPC", 9),
    ("pwrite64", "0", 30),
    ("fdatasync", "EIO", 5),
    ("fsync", "EIO", 9),
    ("rename", "EIO", 5),
];

/// Calls, and what each can say.
const CALLS: [(&str, &[&str]); 14] = [
    ("pwrite64", &["EIO", "ENOSPC", "EINTR", "0"]),
    ("fdatasync", &["EIO", "ENOSPC", "EINTR"]),
    ("fsync", &["EIO", "EINTR"]),
    ("rename", &["EIO", "ENOSPC"]),
    ("openat", &["EIO", "ENOSPC", "EMFILE", "EINTR", "EACCES"]),
    ("mkdir", &["EIO", "ENOSPC"]),
    ("unlink", &["EIO", "EACCES"]),
    ("mmap", &["ENOMEM", "ENODEV"]),
    ("pread64", &["EIO", "EINTR", "0"]),
    ("getdents64", &["EIO"]),
    ("statx", &["EIO"]),
    ("ftruncate", &["EIO"]),
    ("flock", &["ENOLCK"]),
    ("fallocate", &["ENOSPC", "EIO"]),
];

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
    let command = match process::provide(&[("strace", "strace")]).and_then(|()| command::find()) {
        Ok(command) => command,
        Err(reason) => {
            report.skipped = Some(reason);
            return report;
        }
    };
    let mut totals = Totals::default();
    if let Err(what) = of_the_command(&command, size, &mut report, &mut totals) {
        report.failures.push(format!("calls: {what}"));
    }
    let rounds = size.count.map_or(CHILD_ROUNDS, |count| count.div_ceil(3));
    for round in size.from..size.from + rounds {
        if size.is_over() {
            break;
        }
        if let Err(what) = of_the_child(program, round, &mut totals) {
            report.failures.push(format!("calls: round {round}: {what}"));
        }
        report.seeds = format!("{}..{}", size.from, round + 1);
        report.states += 1;
    }
    report.count("of_the_command", totals.of_the_command);
    report.count("refused", totals.refused);
    report.count("survived", totals.survived);
    report.count("not_reached", totals.not_reached);
    report.count("acknowledged", totals.acknowledged);
    report
}

#[derive(Debug, Default)]
struct Totals {
    /// Failures that were put into the command.
    of_the_command: u64,
    /// Of these, how often it ended with an error, and how often it did what was asked all the same.
    refused: u64,
    survived: u64,
    /// Calls that a second run did not make.
    not_reached: u64,
    /// Batches of the child.
    acknowledged: u64,
}

/// A call that is to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fault {
    verb: Verb,
    call: &'static str,
    error: &'static str,
    /// Which of its calls, from 1 on.
    when: u64,
    /// And all that follow.
    lasting: bool,
}

impl Fault {
    fn expression(&self) -> String {
        inject(self.call, self.error, self.when, self.lasting)
    }
}

fn inject(call: &str, error: &str, when: u64, lasting: bool) -> String {
    let effect = if error == "0" { "retval=0".to_owned() } else { format!("error={error}") };
    format!("inject={call}:{effect}:when={when}{}", if lasting { "+" } else { "" })
}

fn of_the_command(
    command: &Path,
    size: &Size,
    report: &mut Report,
    totals: &mut Totals,
) -> Result<(), String> {
    let place = tempfile::Builder::new().prefix("annals-calls-").tempdir_in(process::memory());
    let place = place.map_err(|error| error.to_string())?;
    let bench = Bench::new(command, place.path())?;
    let mut faults = Vec::new();
    let mut touched = BTreeMap::new();
    for verb in [Verb::Import, Verb::Compact, Verb::Query, Verb::Verify] {
        let peace = bench.watch(verb)?;
        faults.extend(peace.faults(verb));
        touched.insert(verb.name(), peace.paths);
    }
    // On whatever files: the numbers are beyond the calls that start a program.
    let of_the_demo = OF_THE_DEMO.iter().map(|&(call, error, when)| Fault {
        verb: Verb::Demo,
        call,
        error,
        when,
        lasting: true,
    });
    faults.extend(of_the_demo);
    // A slice is spread over all of them.
    let wanted = size.count.map_or(faults.len(), |count| usize::try_from(count).unwrap_or(usize::MAX));
    let step = (faults.len() / wanted.max(1)).max(1);
    for fault in faults.iter().step_by(step).take(wanted) {
        if size.is_over() {
            return Ok(());
        }
        let paths = touched.get(fault.verb.name()).map(Vec::as_slice).unwrap_or_default();
        match bench.fail(fault, paths) {
            Ok(None) => totals.not_reached += 1,
            Ok(Some(refused)) => {
                report.states += 1;
                totals.of_the_command += 1;
                totals.refused += u64::from(refused);
                totals.survived += u64::from(!refused);
            }
            Err(what) => {
                report.states += 1;
                report.failures.push(format!("calls: {:?} with {}: {what}", fault.verb, fault.expression()));
            }
        }
    }
    Ok(())
}

/// The command, a store before each of its verbs, and the store that is worked on.
struct Bench {
    desk: Desk,
    directory: PathBuf,
}

/// What a verb does in peace.
struct Peace {
    /// Files of the store that it touches.
    paths: Vec<PathBuf>,
    /// How often it makes each call on them: the most of any thread, since strace counts by thread.
    calls: BTreeMap<String, u64>,
}

impl Bench {
    fn new(command: &Path, directory: &Path) -> Result<Bench, String> {
        let desk =
            Desk::new(command, directory, &directory.join("store")).map_err(|error| error.to_string())?;
        let bench = Bench { desk, directory: directory.to_owned() };
        // What is imported, and then made blocks of: what the other verbs find.
        for (verb, saved) in [(Verb::Import, "imported"), (Verb::Compact, "compacted")] {
            let output = bench.desk.run(verb).map_err(|error| error.to_string())?;
            if output.status.code() != Some(0) {
                return Err(format!("{verb:?} in peace: {output:?}"));
            }
            process::copy(&bench.desk.store, &directory.join(saved)).map_err(|error| error.to_string())?;
        }
        Ok(bench)
    }

    /// Puts the store in the state that a verb begins with.
    fn prepare(&self, verb: Verb) -> Result<(), String> {
        let store = &self.desk.store;
        let from = match verb {
            Verb::Import | Verb::Demo => None,
            Verb::Compact => Some("imported"),
            Verb::Query | Verb::Verify => Some("compacted"),
        };
        process::remove(store)
            .and_then(|()| from.map_or(Ok(()), |from| process::copy(&self.directory.join(from), store)))
            .map_err(|error| error.to_string())
    }

    fn strace(&self, verb: Verb, words: &[String]) -> Result<(std::process::Output, String), String> {
        let log = self.directory.join("log");
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-qq", "--seccomp-bpf", "-y", "-s", "0", "-o"])
            .arg(&log)
            .args(words)
            .env("COLUMNS", "200");
        strace.arg(&self.desk.command).args(self.desk.arguments(verb));
        let output = process::output_within(&mut strace, command::TIME).map_err(|error| error.to_string())?;
        let log = std::fs::read(&log).map_err(|error| error.to_string())?;
        Ok((output, String::from_utf8_lossy(&log).into_owned()))
    }

    /// Runs a verb in peace, and reads off what it does to the store.
    fn watch(&self, verb: Verb) -> Result<Peace, String> {
        self.prepare(verb)?;
        let names: Vec<&str> = CALLS.iter().map(|(call, _)| *call).collect();
        // Paths in full: `-s` shortens only what is written and read.
        let (output, log) = self.strace(verb, &["-e".to_owned(), format!("trace={}", names.join(","))])?;
        if output.status.code() != Some(0) {
            return Err(format!("{verb:?} in peace: {output:?}"));
        }
        Ok(Peace::read(&log, &self.desk.store.to_string_lossy()))
    }

    /// Lets a call fail. Whether the command ended with an error; `None` where the call was not made.
    fn fail(&self, fault: &Fault, paths: &[PathBuf]) -> Result<Option<bool>, String> {
        self.prepare(fault.verb)?;
        let mut words = vec!["-e".to_owned(), format!("trace={}", fault.call), "-e".to_owned()];
        words.push(fault.expression());
        for path in paths {
            words.extend(["-P".to_owned(), path.to_string_lossy().into_owned()]);
        }
        let (output, log) = self.strace(fault.verb, &words)?;
        let hits: Vec<&str> = log.lines().filter(|line| line.ends_with("(INJECTED)")).collect();
        if hits.is_empty() {
            return Ok(None);
        }
        let context = |what: String| format!("{what}\n{}", hits[..hits.len().min(3)].join("\n"));
        self.desk.judge(fault.verb, &output).map_err(context)?;
        let refused = output.status.code() != Some(0);
        match fault.verb {
            Verb::Demo => self.desk.undamaged().map_err(context)?,
            _ => self.desk.finish().map_err(context)?,
        }
        Ok(Some(refused))
    }
}

impl Peace {
    /// From what strace wrote down.
    fn read(log: &str, root: &str) -> Peace {
        let mut paths = BTreeSet::new();
        let mut calls: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for line in log.lines() {
            let Some((pid, rest)) = line.split_once(char::is_whitespace) else { continue };
            let Some((call, arguments)) = rest.trim_start().split_once('(') else { continue };
            let mut named = false;
            for (at, _) in arguments.match_indices(root) {
                let path = arguments[at..].split(['"', '>']).next().unwrap_or_default();
                named |= paths.insert(PathBuf::from(path)) || !path.is_empty();
            }
            if named {
                *calls.entry((call, pid)).or_default() += 1;
            }
        }
        let mut most: BTreeMap<String, u64> = BTreeMap::new();
        for ((call, _), count) in calls {
            let most = most.entry(call.to_owned()).or_default();
            *most = count.max(*most);
        }
        Peace { paths: paths.into_iter().collect(), calls: most }
    }

    /// Each call failing with each error, once; and every call from the first or the middle on.
    fn faults(&self, verb: Verb) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (call, errors) in CALLS {
            let count = self.calls.get(call).copied().unwrap_or(0);
            for &error in errors {
                let fault = |when, lasting| Fault { verb, call, error, when, lasting };
                faults.extend((1..=count).map(|when| fault(when, false)));
                // A call that is interrupted for ever is made for ever.
                if count > 0 && error != "EINTR" {
                    faults.extend([fault(1, true), fault(count / 2 + 1, true)]);
                }
            }
        }
        faults
    }
}

/// The child under random failures: what it had acknowledged is there.
fn of_the_child(program: &Path, round: u64, totals: &mut Totals) -> Result<(), String> {
    let chance = Chance::new(round);
    let place = tempfile::Builder::new().prefix("annals-calls-").tempdir_in(process::memory());
    let place = place.map_err(|error| error.to_string())?;
    let root = place.path().join("store");
    let (call, errors) = CALLS[chance.below(CALLS.len() as u64) as usize];
    let error = errors[chance.below(errors.len() as u64) as usize];
    let within = 1 << chance.below(8);
    let expression = inject(call, error, 1 + chance.below(within), error != "EINTR" && chance.one_in(4));
    let words =
        ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &expression];
    let wrapper: Vec<OsString> = words.map(OsString::from).into();
    let mut book = Book::default();
    // Once in peace, so that the other begins with blocks and a log.
    for (wrapper, seed) in [(&[][..], round), (&wrapper[..], round + 1)] {
        let orders = Orders {
            root: root.clone(),
            durability: if chance.one_in(3) { Durability::Buffered } else { Durability::Synced },
            seed,
            depth: 1 + chance.below(4),
            batches: CHILD_BATCHES,
            newcomer: book.next_newcomer(),
            first: book.first(),
        };
        let child =
            Running::start(program, wrapper, &orders, &mut book).map_err(|error| error.to_string())?;
        child.wait(&mut book, CHILD_TIME).map_err(|error| error.to_string())?;
    }
    totals.acknowledged += book.acknowledged;
    let context = |what: String| format!("{what}; {expression}; {}", process::keep(&root, CAMPAIGN, round));
    if let Some(what) = book.wrong.first() {
        return Err(context(format!("the child saw: {what}")));
    }
    let (store, _) = check::open_and_compare(&root, &book).map_err(context)?;
    store.settle().map_err(|error| context(error.to_string()))?;
    check::compare_open(&store, &book).map_err(context)?;
    store.close().map_err(|error| context(error.to_string()))?;
    check::verify(&root).map_err(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_thread_and_only_on_files_of_the_store() {
        let log = "7 openat(AT_FDCWD</>, \"/lib/libc.so\", O_RDONLY) = 3</lib/libc.so>\n\
                   7 openat(AT_FDCWD</>, \"/s/wal\", O_RDONLY) = 3</s/wal>\n\
                   8 pwrite64(4</s/wal/1.seg>, \"\"..., 1, 0) = 1\n\
                   8 pwrite64(4</s/wal/1.seg>, \"\"..., 1, 1 <unfinished ...>\n\
                   7 pwrite64(4</s/wal/1.seg>, \"\"..., 1, 2) = 1\n\
                   8 <... pwrite64 resumed>) = 1\n\
                   7 rename(\"/s/tmp/a\", \"/s/b\") = 0\n";
        let peace = Peace::read(log, "/s");
        assert_eq!(peace.paths, ["/s/b", "/s/tmp/a", "/s/wal", "/s/wal/1.seg"].map(PathBuf::from));
        let calls: Vec<(&str, u64)> = peace.calls.iter().map(|(call, count)| (&**call, *count)).collect();
        assert_eq!(calls, [("openat", 1), ("pwrite64", 2), ("rename", 1)]);
        let faults = peace.faults(Verb::Import);
        assert!(faults.iter().any(|fault| fault.expression() == "inject=pwrite64:retval=0:when=2"));
        assert!(faults.iter().any(|fault| fault.expression() == "inject=rename:error=EIO:when=1+"));
    }
}
