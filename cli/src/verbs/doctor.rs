//! `doctor`: looks at a store from all sides that are cheap, and says in sentences what is odd and what to do.
//!
//! It reads manifests, the log, labels and what the file system tells; `verify` reads every byte. A gateway is asked
//! instead where one is named.

mod gateway;

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use annals::{Budget, HOUR_MS, QueryLimits, ReadOnly, SeriesSource, TenantSummary, TimeRange, Timestamp};

use crate::access;
use crate::args::DoctorArgs;
use crate::error::{CliError, Outcome};
use crate::output::{Cell, Grid, ListForm, Screen, words};
use crate::times::print_span;

/// The exit code where something is odd.
const ODD: u8 = 3;
/// Background work that is owed beyond this is not keeping up.
const MERGES_MANY: u64 = 20;
const SEALS_MANY: u64 = 3;
/// A log of more than this takes long to open.
const LOG_BYTES_MANY: u64 = 2 << 30;
/// A metric with more series, and a label with more values, than this is seldom meant.
const SERIES_MANY: u64 = 50_000;
const VALUES_MANY: usize = 10_000;
/// The part of what a plan allows beyond which it is told, in percent.
const NEAR_LIMIT: u64 = 80;
/// A writer that wrote nothing for so long may have lost its sources.
const SILENT_MS: i64 = 24 * HOUR_MS;
/// Less than this part of the disk is little, in percent, unless it is more than so many bytes.
const FREE_PERCENT: u64 = 5;
const FREE_BYTES: u64 = 50 << 30;

/// What is odd.
#[derive(Debug)]
struct Oddity {
    about: &'static str,
    what: String,
    /// What to do next.
    advice: String,
}

/// What was looked at.
#[derive(Default)]
struct Visit {
    found: Vec<Oddity>,
}

/// Looks at a store.
pub(crate) fn doctor(args: &DoctorArgs, screen: &mut Screen) -> Outcome {
    if let Some(url) = &args.url {
        let mut visit = Visit::default();
        let looked = gateway::look(&mut visit, url, args)?;
        return visit.end(args.output, url, &looked, screen);
    }
    let root = access::directory(&args.store);
    access::must_exist(&root)?;
    let mut visit = Visit::default();
    visit.permissions(&root);
    visit.disk(&root);
    let mut looked = "the store cannot be opened".to_owned();
    match access::open_to_read(&root) {
        Err(error) => {
            let (what, advice) = error.into_parts();
            visit.odd(
                "store",
                what,
                advice.unwrap_or_else(|| "`annals verify` names what is damaged".to_owned()),
            );
        }
        Ok(store) => {
            let writer = access::vfs().is_locked(&root.join("LOCK")).unwrap_or(false);
            visit.store(&store);
            let tenants = store.tenants();
            for tenant in &tenants {
                visit.tenant(tenant, &store, writer);
            }
            let blocks: usize =
                tenants.iter().map(|own| own.metric_blocks + own.rollup_blocks + own.signal_blocks).sum();
            let writing = if writer { "a writer has it open" } else { "nobody writes to it" };
            looked = format!(
                "{} in {}; {writing}",
                words::plural(tenants.len() as u64, "tenant", "tenants"),
                words::plural(blocks as u64, "block", "blocks"),
            );
        }
    }
    visit.end(args.output, &root.display().to_string(), &looked, screen)
}

impl Visit {
    fn odd(&mut self, about: &'static str, what: impl Into<String>, advice: impl Into<String>) {
        self.found.push(Oddity { about, what: what.into(), advice: advice.into() });
    }

    fn permissions(&mut self, root: &Path) {
        let keys = root.join("keys");
        let inside = std::fs::read_dir(&keys).into_iter().flatten().flatten().map(|entry| entry.path());
        let open: Vec<PathBuf> =
            inside.filter(|path| mode(path).is_some_and(|mode| mode & 0o077 != 0)).collect();
        if let Some(first) = open.first()
            && mode(&keys).is_none_or(|mode| mode & 0o077 != 0)
        {
            let what = format!("others than the owner can read keys, such as {}", first.display());
            self.odd("permissions", what, format!("chmod -R go-rwx {}", keys.display()));
        }
        if mode(root).is_some_and(|mode| mode & 0o002 != 0) {
            self.odd(
                "permissions",
                format!("everybody can change {}", root.display()),
                format!("chmod o-w {}", root.display()),
            );
        }
        let owner = |path: &Path| std::fs::metadata(path).ok().map(|meta| meta.uid());
        let owners: HashSet<u32> = [root.to_path_buf(), root.join("wal"), root.join("t"), keys]
            .iter()
            .filter_map(|path| owner(path))
            .collect();
        if owners.len() > 1 {
            self.odd(
                "permissions",
                "parts of the store belong to different users".to_owned(),
                format!("chown -R USER {}, for the user that writes to it", root.display()),
            );
        }
    }

    fn disk(&mut self, root: &Path) {
        let Ok(disk) = rustix::fs::statvfs(root) else { return };
        let (free, all) =
            (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize));
        if is_little(free, all) {
            let what = format!("{} of {} are free on the disk", words::size(free), words::size(all));
            self.odd(
                "disk",
                what,
                "free some, or keep less: `annals retention explain` shows what goes when",
            );
        }
        if matches!(root.join("RESERVE").try_exists(), Ok(false)) {
            self.odd(
                "disk",
                "no space is kept back for deletions on a full disk",
                "the next writer makes it, where there is room",
            );
        }
    }

    fn store(&mut self, store: &ReadOnly) {
        for finding in store.findings() {
            self.odd("damage", finding.as_str(), "`annals verify` says what is lost by it");
        }
        let metrics = store.metrics();
        if metrics.quarantine_files > 0 {
            let files = words::plural(metrics.quarantine_files, "file lies", "files lie");
            let size = words::size(metrics.quarantine_bytes);
            self.odd(
                "quarantine",
                format!("{files} in quarantine, {size}"),
                "`annals verify` names them and when they go",
            );
        }
        if metrics.log_file_bytes > LOG_BYTES_MANY {
            let size = words::size(metrics.log_file_bytes);
            let what = format!("the log has {size} in {} segments", metrics.log_segments);
            self.odd("lag", what, "`annals compact` makes blocks of it, where no writer does");
        }
        for own in &metrics.tenants {
            let id = &own.id;
            if own.retention_lag_ms > 0 {
                let lag = print_span(i64::try_from(own.retention_lag_ms / 1000 * 1000).unwrap_or(i64::MAX));
                let what = format!("tenant `{id}`: blocks are due since {lag}");
                self.odd("lag", what, "a writer removes them as it works, and so does `annals compact`");
            }
            if own.merges_due > MERGES_MANY || own.seals_due > SEALS_MANY {
                let merges = words::plural(own.merges_due, "merge", "merges");
                let seals = words::plural(own.seals_due, "day is", "days are");
                let what = format!("tenant `{id}`: {merges} owed, {seals} not sealed");
                self.odd("lag", what, "`annals compact` does it at once");
            }
            if own.damaged_blocks > 0 {
                let blocks = words::plural(own.damaged_blocks, "block is", "blocks are");
                self.odd("damage", format!("tenant `{id}`: {blocks} damaged"), "`annals verify` names them");
            }
        }
    }

    fn tenant(&mut self, tenant: &TenantSummary, store: &ReadOnly, writer: bool) {
        let id = &tenant.id;
        if let Some(why) = &tenant.unavailable {
            self.odd(
                "damage",
                format!("tenant `{id}` is unavailable: {why}"),
                "`annals verify` names the file; a backup may have it",
            );
            return;
        }
        let now = access::now();
        let limits = tenant.plan.as_ref().map(|plan| plan.limits);
        let ahead = limits.map_or(0, |limits| limits.future_max_ms);
        match tenant.latest {
            Some(latest) if latest > now.saturating_add(ahead) => {
                let what =
                    format!("tenant `{id}`: there is data of {latest}, and this clock says {}", second(now));
                self.odd("clock", what, "set the clock right, here or where the data comes from");
            }
            Some(latest) if writer && latest < now.saturating_add(-SILENT_MS) => {
                let ago = print_span((now.0 - latest.0) / HOUR_MS * HOUR_MS);
                let what = format!("tenant `{id}`: a writer is there, and the newest data is {ago} old");
                self.odd("lag", what, "look whether its sources still send");
            }
            _ => {}
        }
        if tenant.created > now.saturating_add(HOUR_MS) {
            let what = format!(
                "tenant `{id}` was created at {}, and this clock says {}",
                tenant.created,
                second(now)
            );
            self.odd("clock", what, "set the clock right; `annals retention confirm-clock` where it is");
        }
        self.cardinality(tenant, store, limits.map_or(u64::MAX, |limits| limits.series_max as u64));
    }

    fn cardinality(&mut self, tenant: &TenantSummary, store: &ReadOnly, series_max: u64) {
        let id = &tenant.id;
        let in_head =
            store.metrics().tenants.iter().find(|own| own.id == *id).map_or(0, |own| own.head_series);
        if in_head.saturating_mul(100) > series_max.saturating_mul(NEAR_LIMIT) {
            let (series, most) = (words::count(in_head), words::count(series_max));
            let what = format!("tenant `{id}`: {series} series in memory, and the plan allows {most}");
            self.odd("cardinality", what, "`annals top` shows where they come from");
        }
        let Ok(reader) = store.tenant(id) else { return };
        let Ok(all) = reader.select_labels(&[], TimeRange::ALL, &Budget::new(QueryLimits::NONE)) else {
            return;
        };
        for missing in &all.coverage().missing {
            self.odd(
                "damage",
                format!("tenant `{id}`: {}", missing.why),
                "`annals verify` says what is lost by it",
            );
        }
        let mut metrics: BTreeMap<String, u64> = BTreeMap::new();
        let mut values: BTreeMap<String, HashSet<String>> = BTreeMap::new();
        for labels in (0..all.len()).map(|index| all.labels(index)) {
            *metrics.entry(labels.metric_name().to_owned()).or_default() += 1;
            for (name, value) in labels.iter().filter(|(name, _)| *name != annals::METRIC_NAME) {
                let known = values.entry(name.to_owned()).or_default();
                if !known.contains(value) {
                    known.insert(value.to_owned());
                }
            }
        }
        for (metric, series) in metrics.iter().filter(|(_, series)| **series > SERIES_MANY) {
            let what = format!("tenant `{id}`: `{metric}` has {} series", words::count(*series));
            self.odd(
                "cardinality",
                what,
                "`annals top labels --match` with its name shows which label makes them",
            );
        }
        for (label, values) in values.iter().filter(|(_, values)| values.len() > VALUES_MANY) {
            let what = format!(
                "tenant `{id}`: the label `{label}` has {} values",
                words::count(values.len() as u64)
            );
            self.odd("cardinality", what, "a label that names each user or request makes a series of each");
        }
    }

    /// Tells what was found, and whether anything was.
    fn end(&self, form: Option<ListForm>, whom: &str, looked: &str, screen: &mut Screen) -> Outcome {
        self.tell(form, whom, looked, screen)?;
        Ok(if self.found.is_empty() { 0 } else { ODD })
    }

    fn tell(
        &self,
        form: Option<ListForm>,
        whom: &str,
        looked: &str,
        screen: &mut Screen,
    ) -> Result<(), CliError> {
        if let Some(form) = form {
            let mut grid = Grid::new(["about", "what", "advice"]);
            for Oddity { about, what, advice } in &self.found {
                grid.row(vec![Cell::text(*about), Cell::text(what.as_str()), Cell::text(advice.as_str())]);
            }
            return screen.list(&grid, Some(form));
        }
        let width = self.found.iter().map(|odd| odd.about.len()).max().unwrap_or(0);
        for Oddity { about, what, advice } in &self.found {
            let (what, advice) = (words::harmless(what), words::harmless(advice));
            writeln!(screen, "{about:width$}  {what}\n{:width$}  {advice}", "")?;
        }
        let odd = match self.found.len() as u64 {
            0 => "nothing is odd".to_owned(),
            count => words::plural(count, "thing is odd", "things are odd"),
        };
        writeln!(screen, "{odd} about {whom}: {looked}")?;
        Ok(())
    }
}

/// Whether so many free bytes of a disk are little.
fn is_little(free: u64, all: u64) -> bool {
    free < all / 100 * FREE_PERCENT && free < FREE_BYTES
}

fn mode(path: &Path) -> Option<u32> {
    std::fs::metadata(path).ok().map(|meta| meta.mode())
}

/// Without what nobody reads.
fn second(time: Timestamp) -> Timestamp {
    Timestamp(time.0 / 1000 * 1000)
}

#[cfg(test)]
mod tests {
    use super::is_little;

    #[test]
    fn little_space_is_both_a_small_part_and_few_bytes() {
        let gib = 1 << 30;
        assert!(is_little(0, 100 * gib) && is_little(5 * gib - 1, 100 * gib));
        assert!(!is_little(5 * gib, 100 * gib));
        assert!(is_little(49 * gib, 4000 * gib) && !is_little(50 * gib, 4000 * gib));
    }
}
