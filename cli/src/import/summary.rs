//! What an import came to, in numbers; of lines only their numbers are ever shown.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use annals::RefusalReason;

use crate::output::words::{count, harmless, plural};

/// Numbers of lines that could not be read are listed up to here.
const LISTED_MAX: usize = 5;

/// What the lines of a file were.
#[derive(Debug, Clone, Default)]
pub(super) struct LineCounts {
    pub(super) lines: u64,
    pub(super) skipped: u64,
    /// Lines that say that an event was repeated, and how many events they stand for.
    pub(super) repeating: u64,
    pub(super) repeated: u64,
    pub(super) unreadable: u64,
    pub(super) first_unreadable: Vec<u64>,
    /// Records that are refused before the store sees them, by reason.
    pub(super) refused: BTreeMap<&'static str, u64>,
}

impl LineCounts {
    /// Counts records that need no store to be refused.
    pub(super) fn refuse(&mut self, reason: RefusalReason, records: u64) {
        if records > 0 {
            *self.refused.entry(reason.word()).or_default() += records;
        }
    }

    /// Counts a line that could not be read.
    pub(super) fn unreadable(&mut self, line: u64) {
        self.unreadable += 1;
        if self.first_unreadable.len() < LISTED_MAX {
            self.first_unreadable.push(line);
        }
    }
}

/// What became of everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Summary {
    pub(super) lines: LineCounts,
    /// The file whose unreadable lines are listed, where there were several files.
    listed: Option<String>,
    /// Records that were counted.
    pub(super) accepted: u64,
    /// Records that had been counted before.
    pub(super) duplicates: u64,
    /// Records that were refused, by reason.
    pub(super) refused: BTreeMap<&'static str, u64>,
    /// Lines whose place had been imported with other content.
    pub(super) conflicting_lines: u64,
    /// The first and last line of the first such run.
    pub(super) first_conflict: Option<(u64, u64)>,
    pub(super) took: Duration,
}

impl Summary {
    /// Adds another file's.
    pub(super) fn add(&mut self, path: &Path, other: Summary) {
        self.lines.lines += other.lines.lines;
        self.lines.skipped += other.lines.skipped;
        self.lines.repeating += other.lines.repeating;
        self.lines.repeated += other.lines.repeated;
        self.lines.unreadable += other.lines.unreadable;
        if self.lines.first_unreadable.is_empty() && !other.lines.first_unreadable.is_empty() {
            self.lines.first_unreadable = other.lines.first_unreadable;
            self.listed = Some(harmless(&path.display().to_string()));
        }
        self.accepted += other.accepted;
        self.duplicates += other.duplicates;
        for (reason, more) in &other.refused {
            *self.refused.entry(reason).or_default() += more;
        }
        self.conflicting_lines += other.conflicting_lines;
        self.first_conflict = self.first_conflict.or(other.first_conflict);
        self.took += other.took;
    }

    /// Counts refused records.
    pub(super) fn refuse(&mut self, reason: &'static str, records: u64) {
        if records > 0 {
            *self.refused.entry(reason).or_default() += records;
        }
    }

    /// Prints it.
    pub(super) fn write(&self, dry_run: bool, out: &mut dyn Write) -> io::Result<()> {
        if dry_run {
            writeln!(out, "dry run     nothing was written; this is what an import would do")?;
        }
        let seconds = self.took.as_secs_f64().max(1e-3);
        let rate = (self.lines.lines as f64 / seconds) as u64;
        writeln!(
            out,
            "read        {} in {seconds:.1} s ({}/s)",
            plural(self.lines.lines, "line", "lines"),
            count(rate)
        )?;
        writeln!(out, "accepted    {}", plural(self.accepted, "record", "records"))?;
        if self.duplicates > 0 {
            writeln!(
                out,
                "duplicates  {} counted before, not counted again",
                plural(self.duplicates, "record", "records")
            )?;
        }
        if self.lines.repeating > 0 {
            writeln!(
                out,
                "repeated    {} (\"message repeated N times\") for {}",
                plural(self.lines.repeating, "line", "lines"),
                plural(self.lines.repeated, "event", "events")
            )?;
        }
        if self.lines.skipped > 0 {
            writeln!(
                out,
                "skipped     {} that say nothing to count",
                plural(self.lines.skipped, "line", "lines")
            )?;
        }
        for (reason, records) in &self.refused {
            writeln!(
                out,
                "refused     {}: {reason}{}",
                plural(*records, "record", "records"),
                advice(reason)
            )?;
        }
        if self.lines.unreadable > 0 {
            let numbers: Vec<String> = self.lines.first_unreadable.iter().map(ToString::to_string).collect();
            let more = if self.lines.unreadable > numbers.len() as u64 { ", .." } else { "" };
            let noun = if self.lines.unreadable == 1 { "line" } else { "lines" };
            writeln!(
                out,
                "unreadable  {} {noun} not of this format ({}, line {}{more})",
                count(self.lines.unreadable),
                self.listed.as_deref().unwrap_or("-"),
                numbers.join(", ")
            )?;
        }
        if let Some((first, last)) = self.first_conflict {
            writeln!(
                out,
                "conflict    {} imported before with other content, not counted (from line {first} to {last})",
                plural(self.conflicting_lines, "line", "lines")
            )?;
        }
        Ok(())
    }
}

/// What to do about a refusal.
fn advice(reason: &str) -> &'static str {
    match reason {
        "late" => " (their day is sealed under the tenant's plan; old data goes to a tenant of plan archive)",
        "expired" => " (the tenant's plan no longer keeps their day)",
        "future" => " (their time lies ahead of the clock; is --year or --precision right?)",
        "not_entitled" => " (the tenant's plan takes no metrics of its own; enterprise and archive do)",
        "reserved_metric" => " (Annals derives a metric of that name itself)",
        "kind_conflict" => " (the metric was first written with another kind)",
        _ => "",
    }
}
