//! The shipped command: where it is, and the oracle of what it does. A file is imported; whatever happens meanwhile,
//! importing it again in peace ends with every line counted, once.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use super::process;

/// The variable that names the command where it is not to be built.
const VARIABLE: &str = "ANNALS_COMMAND";
/// Rows of the file that is imported: three chunks and a bit.
const ROWS: u64 = 3_100;
/// How long one run may take, under strace on a busy machine.
pub const TIME: Duration = Duration::from_secs(600);

/// Finds the command, and builds it where it is not named.
pub fn find() -> Result<PathBuf, String> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        return Ok(PathBuf::from(named));
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    // Tests lie one directory deeper.
    let folder = program.ancestors().skip(1).find(|folder| !folder.ends_with("deps"));
    let folder = folder.ok_or_else(|| format!("{} lies nowhere", program.display()))?;
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.current_dir(&workspace).args(["build", "--quiet", "-p", "annals-cli", "--bin", "annals"]);
    if folder.ends_with("release") {
        build.arg("--release");
    }
    if let Some(target) = folder.parent() {
        build.arg("--target-dir").arg(target);
    }
    let command = folder.join("annals");
    match build.output() {
        Ok(output) if output.status.success() => Ok(command),
        Ok(output) => Err(format!("it cannot be built: {}", String::from_utf8_lossy(&output.stderr).trim())),
        // No toolchain here: what was built elsewhere has to do.
        Err(_) if command.exists() => Ok(command),
        Err(error) => Err(format!("cargo: {error}; name the command with {VARIABLE}")),
    }
}

/// A directory with a file to import and a store.
#[derive(Debug)]
pub struct Desk {
    /// The command.
    pub command: PathBuf,
    /// The store.
    pub store: PathBuf,
    file: PathBuf,
}

/// What the command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Reads the file into the store, which is made where there is none.
    Import,
    /// Makes blocks of what the log holds.
    Compact,
    /// Asks how many samples there are.
    Query,
    /// Reads every file.
    Verify,
    /// Makes a store of two weeks.
    Demo,
}

impl Verb {
    /// As on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Verb::Import => "import",
            Verb::Compact => "compact",
            Verb::Query => "query",
            Verb::Verify => "verify",
            Verb::Demo => "demo",
        }
    }
}

impl Desk {
    /// A desk in a directory of memory or disk; the store is elsewhere where a campaign wants it there.
    pub fn new(command: &Path, directory: &Path, store: &Path) -> io::Result<Desk> {
        let file = directory.join("rows.csv");
        let mut text = String::from("timestamp,value\n");
        for row in 0..ROWS {
            let _ = writeln!(text, "{},{}", 1_704_067_200 + row * 60, row % 97);
        }
        std::fs::write(&file, text)?;
        Ok(Desk { command: command.to_owned(), store: store.to_owned(), file })
    }

    /// The arguments of a verb.
    #[must_use]
    pub fn arguments(&self, verb: Verb) -> Vec<OsString> {
        let mut words: Vec<OsString> = match verb {
            Verb::Import => {
                let words = "import --tenant acme --site www --create archive --format csv --metric rows";
                words.split(' ').map(Into::into).chain([self.file.clone().into_os_string()]).collect()
            }
            Verb::Query => ["query", "sum(count_over_time(rows[9d]))", "--at", "2024-01-05", "-o", "csv"]
                .map(Into::into)
                .into(),
            Verb::Compact | Verb::Verify | Verb::Demo => vec![verb.name().into()],
        };
        words.extend(["--data".into(), self.store.clone().into_os_string()]);
        words
    }

    /// Runs the command by itself.
    pub fn run(&self, verb: Verb) -> io::Result<Output> {
        let mut command = Command::new(&self.command);
        process::output_within(command.args(self.arguments(verb)).env("COLUMNS", "200"), TIME)
    }

    /// Holds an output against what a verb may do, whatever the disk did meanwhile: a documented exit code, no panic,
    /// an error that says where, and an answer that is right or not given, or that says what it lacks.
    pub fn judge(&self, verb: Verb, output: &Output) -> Result<(), String> {
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        let Some(code) = output.status.code() else { return Err(format!("killed: {}", said(output))) };
        if err.contains("panicked") || !(matches!(code, 0 | 1) || verb == Verb::Verify && code == 3) {
            return Err(format!("not a documented end: {}", said(output)));
        }
        let root = self.store.to_string_lossy();
        if code != 0 && !err.contains(&*root) && !out.contains(&*root) {
            return Err(format!("it does not say where: {}", said(output)));
        }
        match verb {
            Verb::Query if code == 0 && count(&out) != Some(ROWS) && !err.contains(&*root) => {
                Err(format!("wrong in silence: {}", said(output)))
            }
            _ => Ok(()),
        }
    }

    /// The disk is well again: the file is imported once more, and then every row is there once, and nothing is
    /// damaged.
    pub fn finish(&self) -> Result<(), String> {
        for verb in [Verb::Import, Verb::Compact, Verb::Query, Verb::Verify] {
            let output = self.run(verb).map_err(|error| error.to_string())?;
            let out = text(&output.stdout);
            if output.status.code() != Some(0) || verb == Verb::Query && count(&out) != Some(ROWS) {
                return Err(format!("afterwards {verb:?}: {}", said(&output)));
            }
        }
        Ok(())
    }

    /// The disk is well again: nothing is damaged, where there is a store.
    pub fn undamaged(&self) -> Result<(), String> {
        let output = self.run(Verb::Verify).map_err(|error| error.to_string())?;
        let no_store = output.status.code() == Some(1) && text(&output.stderr).contains("there is no store");
        if output.status.code() == Some(0) || no_store {
            return Ok(());
        }
        Err(format!("afterwards: {}", said(&output)))
    }
}

/// How a command ended, and what it wrote.
fn said(output: &Output) -> String {
    format!("{}\n{}\n{}", output.status, text(&output.stdout).trim(), text(&output.stderr).trim())
}

/// The number that the query's answer is.
fn count(out: &str) -> Option<u64> {
    match out.lines().nth(1) {
        Some(line) => line.rsplit(',').next()?.trim().parse::<f64>().ok().map(|number| number as u64),
        None => Some(0),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
