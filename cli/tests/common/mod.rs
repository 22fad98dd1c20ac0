//! What the tests of the command share: a directory, a way to run it, logs to import.

#![expect(dead_code, reason = "each test file uses a part of it")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use tempfile::TempDir;

/// A directory with a store in it, removed at the end.
pub(crate) struct Bench {
    directory: TempDir,
}

/// What a run left behind.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Bench {
    /// A directory without a store.
    pub(crate) fn new() -> Bench {
        Bench { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    /// A directory with a store that has one tenant, `acme`, of a plan.
    pub(crate) fn with_tenant(plan: &str) -> Bench {
        let bench = Bench::new();
        bench.ok(&["tenant", "create", "acme", "--plan", plan]);
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("annals-data")
    }

    /// Writes a file and returns its name.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), content).expect("written");
        name.to_owned()
    }

    /// Runs the command in the directory, whatever comes of it.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "")
    }

    /// Runs the command with standard input.
    pub(crate) fn run_with(&self, args: &[&str], input: impl Into<Vec<u8>>) -> Ran {
        let output = Command::new(env!("CARGO_BIN_EXE_annals"))
            .args(args)
            .current_dir(self.directory.path())
            .env_remove("ANNALS_DATA")
            .env_remove("COLUMNS")
            .write_stdin(input)
            .output()
            .expect("the command runs");
        Ran {
            code: output.status.code().expect("it ends by itself"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// Runs the command, which must succeed; returns its output.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args:?}\n{}\n{}", ran.out, ran.err);
        ran.out
    }

    /// The value of a query whose answer is one number.
    pub(crate) fn number(&self, expression: &str, at: &str) -> f64 {
        let out = self.ok(&["query", expression, "--at", at, "-o", "csv"]);
        let value = out.lines().nth(1).and_then(|line| line.rsplit(',').next());
        value.unwrap_or("0").parse().expect("a number")
    }
}

/// The real data beside the repository; prints that a test is skipped where it is missing.
pub(crate) fn real(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/real").join(name);
    if path.exists() {
        return Some(path);
    }
    let _ = writeln!(std::io::stderr(), "SKIPPED: {} is not there", path.display());
    None
}

/// Whether `doctor` would find the disk of these tests nearly full; prints that a test is skipped where it would.
pub(crate) fn disk_is_nearly_full() -> bool {
    let disk = rustix::fs::statvfs(std::env::temp_dir()).expect("a disk");
    let (free, all) = (disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize);
    let is_full = free < all / 20 && free < 50 << 30;
    if is_full {
        let _ = writeln!(std::io::stderr(), "SKIPPED: under 5 % of the disk are free, and `doctor` says so");
    }
    is_full
}

/// An access log of so many requests, one every 20 seconds from 2015-05-17 10:00 on; every tenth is a 404.
pub(crate) fn access_log(lines: std::ops::Range<usize>) -> String {
    let mut log = String::new();
    for line in lines {
        let (status, second) = (if line % 10 == 9 { 404 } else { 200 }, 10 * 3600 + line * 20);
        let (day, clock) = (17 + second / 86_400, second % 86_400);
        let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
        writeln!(
            log,
            "192.0.2.{} - - [{day}/May/2015:{hour:02}:{minute:02}:{second:02} +0000] \"GET /news/{line} HTTP/1.1\" {status} 512 \"-\" \"agent\"",
            line % 200,
        )
        .expect("memory");
    }
    log
}
