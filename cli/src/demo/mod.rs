//! `demo`: a store with weeks of made-up activity, written exactly as a gateway would have written it.
//!
//! ```text
//!   cast.rs       tenants and sites          activity.rs   signals of an hour, the attack
//!   dice.rs       seeded chance              hosts.rs      ordinary metrics
//!   show.rs       what it came to: numbers, charts, report, commands to try
//! ```
//!
//! The store is opened with a clock that starts weeks ago and moves an hour at a time: each hour is written once it is
//! over, with synced acknowledgements, and background work runs as time passes. So every plan's rules have applied as
//! they do in production: late windows, retention, sealed days. The last full week (Monday first) and the week before
//! are whole; the data ends at the last midnight, UTC.

mod activity;
mod cast;
mod dice;
mod hosts;
mod show;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use annals::vfs::{SimClock, SystemEntropy};
use annals::{
    Annals, Background, BatchId, DAY_MS, HOUR_MS, Options, SignalBatch, SiteName, Tenant, TenantId, Ticket,
    Timestamp,
};
use indicatif::{ProgressBar, ProgressStyle};

use crate::access;
use crate::args::DemoArgs;
use crate::error::{CliError, Outcome};
use crate::output::Screen;

use activity::Activity;
use cast::{COMPANIES, Company};
use hosts::Hosts;

const WEEK_MS: i64 = 7 * DAY_MS;
/// The attack begins on Wednesday of the week before the last full one, at ten in the evening ..
const BEGINS_AFTER_MS: i64 = 2 * DAY_MS + 22 * HOUR_MS;
/// .. and ends on Thursday of the last full week, at ten in the morning.
const FIXED_AFTER_MS: i64 = 3 * DAY_MS + 10 * HOUR_MS;
/// The release that breaks pages comes on Tuesday of the last full week, at one in the afternoon.
const RELEASED_AFTER_MS: i64 = DAY_MS + 13 * HOUR_MS;
/// The site that ordinary metrics come from.
const FLEET: &str = "fleet";

/// When the demo happens.
#[derive(Debug, Clone, Copy)]
struct Span {
    start: Timestamp,
    end: Timestamp,
    /// Midnight before the last full week.
    last_week: Timestamp,
    /// When the attack begins, and when it is ended.
    attacked: Timestamp,
    fixed: Timestamp,
}

impl Span {
    fn until(now: Timestamp) -> Span {
        let end = Timestamp(now.0.div_euclid(DAY_MS) * DAY_MS);
        // Day 0 was a Thursday: a Monday is three days short of a week later.
        let monday = Timestamp(end.0 - (end.0 + 3 * DAY_MS).rem_euclid(WEEK_MS));
        let last_week = monday.saturating_add(-WEEK_MS);
        let start = last_week.saturating_add(-WEEK_MS);
        Span {
            start,
            end,
            last_week,
            attacked: start.saturating_add(BEGINS_AFTER_MS),
            fixed: last_week.saturating_add(FIXED_AFTER_MS),
        }
    }

    fn hours(&self) -> impl Iterator<Item = Timestamp> + use<> {
        let (start, end) = (self.start.0, self.end.0);
        (start..end).step_by(HOUR_MS as usize).map(Timestamp)
    }
}

/// What was written, and how fast.
#[derive(Debug, Clone, Copy, Default)]
struct Written {
    signals: u64,
    samples: u64,
    refused: u64,
    /// From handing batches in to having them acknowledged.
    signals_took: Duration,
    samples_took: Duration,
    /// Blocks made, merged and dropped while the clock moved.
    upkeep_took: Duration,
}

/// Makes the demo and shows it.
pub(crate) fn run(args: &DemoArgs, screen: &mut Screen) -> Outcome {
    let root = place(args.data.as_deref())?;
    let span = Span::until(access::now());
    eprintln!("making {} of activity in {}", weeks(&span), root.display());
    let started = Instant::now();
    let written = write(&root, args.seed, &span)?;
    let took = started.elapsed();
    show::show(screen, &root, &span, &written, took)?;
    Ok(0)
}

fn weeks(span: &Span) -> String {
    let days = (span.end.0 - span.start.0) / DAY_MS;
    match days % 7 {
        0 => "two weeks".to_owned(),
        1 => "two weeks and a day".to_owned(),
        more => format!("two weeks and {more} days"),
    }
}

/// Where to make the store. Nothing that is there is ever touched.
fn place(asked: Option<&Path>) -> Result<PathBuf, CliError> {
    let free = |path: &Path| match std::fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    };
    match asked {
        Some(path) if free(path) => Ok(path.to_owned()),
        Some(path) => Err(CliError::failed(format_args!("{} is not empty", path.display()))
            .help("the demo is made in a new or empty directory; name another with --data")),
        None => (1..1_000)
            .map(|number| match number {
                1 => PathBuf::from("annals-demo"),
                _ => PathBuf::from(format!("annals-demo-{number}")),
            })
            .find(|path| free(path))
            .ok_or_else(|| CliError::failed("there are too many demos here; name a directory with --data")),
    }
}

fn write(root: &Path, seed: u64, span: &Span) -> Result<Written, CliError> {
    let clock = Arc::new(SimClock::new(span.start.0));
    let options = Options { background: Background::Steps, ..Options::default() };
    if let Some(parent) = root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)
            .map_err(|error| CliError::failed(format_args!("cannot create {}: {error}", parent.display())))?;
    }
    let annals =
        Annals::open(access::vfs(), clock.clone(), Arc::new(SystemEntropy::default()), root, options)
            .map_err(|error| access::open_error(root, &error))?;
    let mut tenants = Vec::new();
    for company in COMPANIES {
        let id = TenantId::new(company.tenant).map_err(CliError::failed)?;
        let tenant = annals.create_tenant(&id, access::plan(company.plan)?).map_err(CliError::failed)?;
        tenants.push((company, tenant, Hosts::new(seed, company.hosts)));
    }
    let release = span.last_week.saturating_add(RELEASED_AFTER_MS);
    let activity = Activity::new(seed, span.attacked, span.fixed, release);
    let bar = progress(span);
    let mut written = Written::default();
    for (hour, start) in span.hours().enumerate() {
        clock.advance_ms(HOUR_MS as u64);
        for (number, (company, tenant, hosts)) in tenants.iter_mut().enumerate() {
            let place = (number as u64) << 8;
            write_signals(company, tenant, &activity, place, hour as u64, start, &mut written)?;
            write_samples(company, tenant, hosts, place, hour as u64, start, &mut written)?;
        }
        upkeep(&annals, &mut written)?;
        bar.set_position(hour as u64 + 1);
        bar.set_message(start.to_string());
    }
    bar.set_message("writing the last blocks");
    let settling = Instant::now();
    annals.settle().map_err(CliError::failed)?;
    written.upkeep_took += settling.elapsed();
    bar.finish_and_clear();
    annals.close().map_err(CliError::failed)?;
    Ok(written)
}

/// Writes what happened at a tenant's sites in an hour, all sites at once.
fn write_signals(
    company: &Company,
    tenant: &Tenant,
    activity: &Activity,
    place: u64,
    hour: u64,
    start: Timestamp,
    written: &mut Written,
) -> Result<(), CliError> {
    let mut batches = Vec::new();
    for (index, site) in company.sites.iter().enumerate() {
        let place = place + index as u64;
        let signals = activity.hour(place, site, start);
        let name = SiteName::new(site.name).map_err(CliError::failed)?;
        batches.push(SignalBatch { id: batch_id(place, hour), site: name, signals });
    }
    let started = Instant::now();
    let tickets: Vec<Ticket> = batches
        .iter()
        .map(|batch| tenant.write_signals(batch))
        .collect::<Result<_, _>>()
        .map_err(CliError::failed)?;
    for ticket in tickets {
        let acknowledgement = ticket.wait().map_err(CliError::failed)?;
        written.signals += acknowledgement.accepted() as u64;
        written.refused += acknowledgement.refused.len() as u64;
    }
    written.signals_took += started.elapsed();
    Ok(())
}

/// Writes the hour's ordinary metrics.
fn write_samples(
    company: &Company,
    tenant: &Tenant,
    hosts: &mut Hosts,
    place: u64,
    hour: u64,
    start: Timestamp,
    written: &mut Written,
) -> Result<(), CliError> {
    if company.hosts == 0 {
        return Ok(());
    }
    let site = SiteName::new(FLEET).map_err(CliError::failed)?;
    let batch = hosts.hour(batch_id(place + 0xff, hour), site, start);
    let started = Instant::now();
    let acknowledgement = tenant.write_samples(&batch).and_then(Ticket::wait).map_err(CliError::failed)?;
    written.samples_took += started.elapsed();
    written.samples += acknowledgement.accepted() as u64;
    written.refused += acknowledgement.refused.len() as u64;
    Ok(())
}

/// The background work that the passing of time makes due.
fn upkeep(annals: &Annals, written: &mut Written) -> Result<(), CliError> {
    let started = Instant::now();
    while annals.maintenance_step().map_err(CliError::failed)?.is_some() {}
    written.upkeep_took += started.elapsed();
    Ok(())
}

fn batch_id(place: u64, hour: u64) -> BatchId {
    let mut id = [0; 16];
    let bytes = place.to_le_bytes().into_iter().chain(hour.to_le_bytes());
    id.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    BatchId(id)
}

fn progress(span: &Span) -> ProgressBar {
    let bar = ProgressBar::new(span.hours().count() as u64);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} hour {pos} of {len}  {msg}  {eta} left") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_moves_the_clock_and_everything_is_admitted_in_time() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let start = Timestamp(1_793_577_600_000);
        let span = Span {
            start,
            end: start.saturating_add(5 * HOUR_MS),
            last_week: start,
            attacked: start,
            fixed: start.saturating_add(3 * HOUR_MS),
        };
        let root = directory.path().join("demo");
        let written = write(&root, 1, &span).expect("written");
        assert_eq!(written.refused, 0);
        assert_eq!(written.samples, 5 * 60 * 500);
        let clock = Arc::new(SimClock::new(span.end.0));
        let store = annals::ReadOnly::open(access::vfs(), clock, &root).expect("opened");
        let signals: u64 = store.tenants().iter().map(|tenant| tenant.signals + tenant.head_signals).sum();
        assert_eq!(signals, written.signals);
    }

    #[test]
    fn the_demo_ends_at_midnight_and_holds_two_whole_weeks() {
        // Every hour of two weeks around 2026-11-22, a Sunday.
        for hour in 0..14 * 24 {
            let now = Timestamp(1_795_305_600_000 + hour * HOUR_MS + 1);
            let span = Span::until(now);
            assert!(span.end <= now && now.0 - span.end.0 < DAY_MS);
            assert_eq!(span.last_week.0 - span.start.0, WEEK_MS);
            assert!((14..=20).contains(&((span.end.0 - span.start.0) / DAY_MS)));
            assert!(span.last_week.0 + WEEK_MS <= span.end.0);
            // Both weeks start on a Monday, as 1970-01-05 was one.
            assert_eq!((span.start.0 - 4 * DAY_MS).rem_euclid(WEEK_MS), 0);
        }
    }
}
