//! Processes and places: starting the child alone or under strace, listening to it, ending it, and the directories
//! that stores lie in.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::check::Book;
use super::child::Orders;

/// How often a process is looked at that may have ended.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// How often unmounting is tried: a process that was just killed may still be on its way out.
const UNMOUNT_TRIES: u32 = 50;
/// Between two tries.
const UNMOUNT_PAUSE: Duration = Duration::from_millis(20);
/// A directory in memory, where the system has one.
const MEMORY: &str = "/dev/shm";

/// A child that writes, and what it says.
#[derive(Debug)]
pub struct Running {
    process: Child,
    lines: Receiver<String>,
    depth: u64,
    /// The child itself, where `process` is what it runs under.
    pid: Option<u32>,
}

impl Running {
    /// Starts `program` as a child with orders; under what `wrapper` says, where it says anything.
    pub fn start(
        program: &Path,
        wrapper: &[OsString],
        orders: &Orders,
        book: &mut Book,
    ) -> io::Result<Running> {
        book.begin(orders.depth);
        let mut words = wrapper.iter().cloned().chain([program.as_os_str().to_owned()]);
        let first = words.next().unwrap_or_default();
        let mut process = Command::new(first)
            .args(words)
            .args(orders.to_arguments())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (sender, lines) = channel();
        let pipe = process.stdout.take().ok_or_else(|| io::Error::other("no pipe"))?;
        std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = String::new();
            // Whole lines only: a kill may tear the last one.
            while pipe.read_line(&mut line).is_ok() && line.ends_with('\n') {
                line.pop();
                if sender.send(std::mem::take(&mut line)).is_err() {
                    return;
                }
            }
        });
        Ok(Running { process, lines, depth: orders.depth, pid: None })
    }

    /// Listens until the child says nothing more or the time is over. True where it has ended.
    pub fn listen(&mut self, book: &mut Book, time: Duration) -> bool {
        self.listen_for(book, time, |_| false).is_none()
    }

    /// Listens until a line is as asked; `Some(false)` where the time is over, `None` where the child has ended.
    pub fn listen_for(
        &mut self,
        book: &mut Book,
        time: Duration,
        mut asked: impl FnMut(&str) -> bool,
    ) -> Option<bool> {
        let until = Instant::now() + time;
        loop {
            match self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    if let Some(pid) = line.strip_prefix("pid ") {
                        self.pid = pid.parse().ok();
                    }
                    book.hear(&line, self.depth);
                    if asked(&line) {
                        return Some(true);
                    }
                }
                Err(RecvTimeoutError::Timeout) => return Some(false),
                Err(RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// The child's process, once it has said so.
    pub fn pid_within(&mut self, book: &mut Book, time: Duration) -> Option<u32> {
        self.listen_for(book, time, |line| line.starts_with("pid "));
        self.pid
    }

    /// Kills it, hears the rest, and says how it ended.
    pub fn kill(mut self, book: &mut Book) -> io::Result<ExitStatus> {
        self.end();
        let status = self.process.wait()?;
        self.listen(book, Duration::from_secs(10));
        Ok(status)
    }

    /// Hears it to its end; kills it where that takes too long.
    pub fn wait(mut self, book: &mut Book, time: Duration) -> io::Result<Option<ExitStatus>> {
        if self.listen(book, time) {
            return self.process.wait().map(Some);
        }
        self.kill(book).map(|_| None)
    }

    fn end(&mut self) {
        // What runs under strace would outlive it.
        if let Some(pid) = self.pid.filter(|pid| *pid != self.process.id()) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
        } else {
            let _ = self.process.kill();
        }
    }
}

/// Never leaves a child behind.
impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.process.try_wait(), Ok(None)) {
            self.end();
            let _ = self.process.wait();
        }
    }
}

/// Runs a command to its end and returns what it wrote; an error where it takes longer than `time`.
pub fn output_within(command: &mut Command, time: Duration) -> io::Result<Output> {
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (mut out, mut err) = (process.stdout.take(), process.stderr.take());
    let out = std::thread::spawn(move || read_all(out.as_mut()));
    let err = std::thread::spawn(move || read_all(err.as_mut()));
    let until = Instant::now() + time;
    let status = loop {
        if let Some(status) = process.try_wait()? {
            break status;
        }
        if Instant::now() > until {
            process.kill()?;
            process.wait()?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it did not end"));
        }
        std::thread::sleep(LOOK_EVERY);
    };
    Ok(Output { status, stdout: out.join().unwrap_or_default(), stderr: err.join().unwrap_or_default() })
}

fn read_all(from: Option<&mut impl io::Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        // What was read before an error is what there is.
        let _ = from.read_to_end(&mut bytes);
    }
    bytes
}

/// Runs a command that must succeed; the error is what it says.
pub fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{program} {}: {}", arguments.join(" "), said.trim()))
}

/// Whether a program can be started.
#[must_use]
pub fn has(program: &str) -> bool {
    let version = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    version.is_ok()
}

/// Whether this process may mount file systems.
#[must_use]
pub fn is_root() -> bool {
    run("id", &["-u"]).is_ok_and(|id| id.trim() == "0")
}

/// Looks for programs, and asks the system's package manager for those that are missing where this process is root.
pub fn provide(programs: &[(&str, &str)]) -> Result<(), String> {
    let missing: Vec<_> = programs.iter().filter(|(program, _)| !has(program)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if is_root() {
        for (_, package) in &missing {
            // Whether it worked shows below.
            let _ = run("apt-get", &["install", "-y", "--no-install-recommends", package]);
        }
    }
    match missing.iter().find(|(program, _)| !has(program)) {
        Some((program, package)) => Err(format!("there is no `{program}` (package {package})")),
        None => Ok(()),
    }
}

/// A directory in memory where there is one, else the temporary directory.
#[must_use]
pub fn memory() -> PathBuf {
    let memory = PathBuf::from(MEMORY);
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

/// Unmounts what is mounted at a path, if anything is.
pub fn unmount(path: &Path) -> Result<(), String> {
    for _ in 0..UNMOUNT_TRIES {
        let mounts = fs::read_to_string("/proc/self/mounts").map_err(|error| error.to_string())?;
        let mounted = |line: &str| line.split(' ').nth(1).is_some_and(|at| Path::new(at) == path);
        if !mounts.lines().any(mounted) {
            return Ok(());
        }
        if run("umount", &[&path.to_string_lossy()]).is_err() {
            std::thread::sleep(UNMOUNT_PAUSE);
        }
    }
    Err(format!("{} cannot be unmounted", path.display()))
}

/// Copies a directory with all that is in it.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Removes a directory with all that is in it, if it is there.
pub fn remove(directory: &Path) -> io::Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// Copies what failed to where it stays, and says where.
#[must_use]
pub fn keep(store: &Path, campaign: &str, round: u64) -> String {
    let kept = std::env::temp_dir().join(format!("annals-kept-{campaign}-{}-{round}", std::process::id()));
    match copy(store, &kept) {
        Ok(()) => format!("the store is kept in {}", kept.display()),
        Err(error) => format!("the store could not be kept: {error}"),
    }
}

/// Directories in `base` whose name is a prefix, the number of a process that is gone, and anything behind a dash: what
/// campaigns left that were killed themselves.
#[must_use]
pub fn leftovers(base: &Path, prefix: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(base) else { return Vec::new() };
    let is_left = |name: &str| {
        let pid = name.strip_prefix(prefix).and_then(|rest| rest.split('-').next());
        pid.is_some_and(|pid| pid.parse::<u32>().is_ok() && !Path::new("/proc").join(pid).exists())
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(is_left))
        .map(|entry| entry.path())
        .collect()
}

/// A directory of this process, under a name that [`leftovers`] finds.
pub fn directory(base: &Path, prefix: &str) -> io::Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix(&format!("{prefix}{}-", std::process::id())).tempdir_in(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_process_left_is_a_leftover() {
        let base = tempfile::tempdir().expect("a directory");
        let alive = directory(base.path(), "annals-x-").expect("a directory");
        // No process has this number: the largest there can be is smaller.
        let left = [base.path().join("annals-x-4294967295"), base.path().join("annals-x-4294967295-a")];
        for path in left.iter().chain([&base.path().join("annals-x-y"), &base.path().join("other")]) {
            fs::create_dir(path).expect("created");
        }
        let mut found = leftovers(base.path(), "annals-x-");
        found.sort();
        assert_eq!(found, left);
        assert!(alive.path().exists());
    }
}
