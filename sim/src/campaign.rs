//! What a campaign reports: how much it tried, what failed, how long it took.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Something that can be run.
#[derive(Debug)]
pub struct Campaign {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Runs it.
    pub run: fn(&Size) -> Report,
}

/// How much of a campaign runs.
#[derive(Debug, Clone)]
pub struct Size {
    /// How many states, seeds or rounds at most; all, or the campaign's full size, where it is not given.
    pub count: Option<u64>,
    /// The first seed.
    pub from: u64,
    until: Option<Instant>,
    first_failure: bool,
}

impl Size {
    /// So many states from a first seed on, for so many seconds at most.
    #[must_use]
    pub fn new(count: Option<u64>, from: u64, seconds: Option<u64>) -> Size {
        let until = seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
        Size { count, from, until, first_failure: false }
    }

    /// The same, but no further than to a failure, of which nothing need be told.
    #[must_use]
    pub fn to_first_failure(self) -> Size {
        Size { first_failure: true, ..self }
    }

    /// Whether one failure is enough, and nothing need be told of it.
    #[must_use]
    pub fn is_to_first_failure(&self) -> bool {
        self.first_failure
    }

    /// Whether the time is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.until.is_some_and(|until| Instant::now() >= until)
    }
}

/// What a campaign found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Its name, as on the command line.
    pub campaign: String,
    /// The seeds it drew from, as `first..end`; empty where it draws nothing.
    pub seeds: String,
    /// States checked: crash points, seeds, damages, rounds.
    pub states: u64,
    /// What failed, each with all that is needed to see it again.
    pub failures: Vec<String>,
    /// Further counts, by name: I/O calls, sites, batches.
    pub counts: Vec<(&'static str, String)>,
    /// Why it, or a part of it, did not run.
    pub skipped: Option<String>,
    /// Seconds of wall-clock time; set by whoever ran it.
    pub seconds: u64,
}

impl Report {
    /// An empty report of a campaign.
    #[must_use]
    pub fn new(campaign: &str) -> Report {
        Report { campaign: campaign.to_owned(), ..Report::default() }
    }

    /// Adds a count to those that the report's line shows.
    pub fn count(&mut self, name: &'static str, value: impl fmt::Display) {
        self.counts.push((name, value.to_string()));
    }

    /// Appends a row to a ledger: commit, campaign, seeds, states, failures, seconds, and the further counts.
    ///
    /// A commit with changes on top of it that are not committed ends in `+`.
    pub fn record(&self, ledger: &Path) -> io::Result<()> {
        let counts: Vec<String> = self.counts.iter().map(|(name, value)| format!("{name} {value}")).collect();
        let mut file = OpenOptions::new().append(true).open(ledger)?;
        writeln!(
            file,
            "| {} | {} | {} | {} | {} | {} | {} |",
            commit(),
            self.campaign,
            self.seeds,
            self.states,
            self.failures.len(),
            self.seconds,
            counts.join(", ")
        )
    }
}

/// One line, without the failures' texts.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(reason) = &self.skipped {
            writeln!(f, "SKIPPED {}: {reason}", self.campaign)?;
        }
        write!(f, "campaign={}", self.campaign)?;
        if !self.seeds.is_empty() {
            write!(f, " seeds={}", self.seeds)?;
        }
        write!(f, " states={} failures={}", self.states, self.failures.len())?;
        for (name, value) in &self.counts {
            write!(f, " {name}={value}")?;
        }
        write!(f, " seconds={}", self.seconds)
    }
}

/// The commit that runs, as far as git can say.
fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return "unknown".to_owned() };
    match git(&["status", "--porcelain", "--", "*.rs", "*.toml"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => commit + "+",
    }
}
