//! Reports: one site's week, with the eight weeks before it, and those of a thousand sites.
//!
//! Two tenants of nine weeks each, settled: one with a site of 5,000 signals a day, one with a thousand sites of 20. What is
//! timed is what a host waits for: finding and reading the metrics, the report, its page of HTML. Of one site that is the
//! CPU time of its thread; of a thousand, made on two threads, the clock on the wall and the CPU time of all threads.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use annals::query::report::{Report, ReportRequest, Scope, Span};
use annals::vfs::{RealVfs, SimClock, SystemEntropy};
use annals::{
    Annals, BatchId, DAY_MS, Options, Plan, ReportReader, Signal, SignalBatch, SiteName, Tenant, TenantId,
    Ticket, Timestamp,
};
use annals_benches::cpu_time;
use jiff::civil::date;
use jiff::tz::TimeZone;

/// 2026-03-02, a Monday; the week that is reported is the ninth.
const MONDAY: i64 = 1_772_409_600_000;
const DAYS: i64 = 63;
const SITES: usize = 1_000;
const BUSY_A_DAY: i64 = 5_000;
const QUIET_A_DAY: i64 = 20;
const IN_FLIGHT: usize = 64;
const RUNS: usize = 15;
const THREADS: usize = 2;
/// Room for the indexes of nine weeks of a thousand sites, as `annals report --each` has it.
const INDEX_BYTES: usize = 1 << 30;

/// Named by the store, so that one that another version made is not read as this one's.
const STORE_VERSION: u32 = 1;

/// Measures both. The store is made once and kept under the target directory.
pub(crate) fn run() {
    let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("reports-{STORE_VERSION}"));
    let [busy, many] = ["busy", "many"].map(|name| TenantId::new(name).expect("valid"));
    let made = root.join("made");
    if !made.exists() {
        if root.exists() {
            std::fs::remove_dir_all(&root).expect("what is left of a store that was not finished goes");
        }
        std::fs::create_dir_all(&root).expect("a directory");
        make(&root, &busy, &many);
        std::fs::write(&made, "").expect("written");
    }
    let store = open(&root);
    let reader = |id: &TenantId| store.tenant(id).expect("there").report_reader();
    one(&reader(&busy));
    thousand(&reader(&many));
    store.close().expect("closed");
}

fn make(root: &Path, busy: &TenantId, many: &TenantId) {
    let store = open(root);
    let plan = || Plan::built_in("archive").expect("built in");
    let seconds = |of: &dyn Fn()| {
        let started = Instant::now();
        of();
        started.elapsed().as_secs_f64()
    };
    let busy_s = seconds(&|| fill(&store.create_tenant(busy, plan()).expect("created"), 1, BUSY_A_DAY));
    let many_s = seconds(&|| fill(&store.create_tenant(many, plan()).expect("created"), SITES, QUIET_A_DAY));
    let settled_s = seconds(&|| drop(store.settle().expect("settled")));
    let signals = |sites: usize, a_day: i64| DAYS * a_day * sites as i64;
    println!(
        "reports: {} signals of a site written in {busy_s:.1} s; {} of {SITES} sites in {many_s:.1} s; settled in {settled_s:.1} s",
        signals(1, BUSY_A_DAY),
        signals(SITES, QUIET_A_DAY)
    );
    store.close().expect("closed");
}

fn open(root: &Path) -> Annals {
    let clock = Arc::new(SimClock::new(MONDAY + (DAYS + 2) * DAY_MS));
    let entropy = Arc::new(SystemEntropy::default());
    let options = Options { index_bytes_max: INDEX_BYTES, ..Options::default() };
    Annals::open(Arc::new(RealVfs), clock, entropy, root, options).expect("opened")
}

fn site(number: usize) -> SiteName {
    SiteName::new(&format!("site-{number}.example")).expect("valid")
}

/// Signals of every kind, spread over each day.
fn fill(tenant: &Tenant, sites: usize, a_day: i64) {
    let mut tickets: VecDeque<Ticket> = VecDeque::new();
    for (number, (day, of)) in (0..DAYS).flat_map(|day| (0..sites).map(move |of| (day, of))).enumerate() {
        let midnight = MONDAY + day * DAY_MS;
        let signals = (0..a_day).map(|index| {
            let at = Timestamp(midnight + index * (DAY_MS / a_day) + (of as i64 % 60) * 1_000 + 1);
            signal(index + day + of as i64, at)
        });
        let mut id = [0; 16];
        id[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let batch = SignalBatch { id: BatchId(id), site: site(of), signals: signals.collect() };
        if tickets.len() == IN_FLIGHT
            && let Some(oldest) = tickets.pop_front()
        {
            settle(oldest);
        }
        tickets.push_back(tenant.write_signals(&batch).expect("queued"));
    }
    tickets.into_iter().for_each(settle);
}

fn settle(ticket: Ticket) {
    let acknowledged = ticket.wait().expect("written");
    assert!(acknowledged.refused.is_empty(), "{:?}", acknowledged.refused.first());
}

fn signal(number: i64, at: Timestamp) -> Signal {
    const ROUTES: [&str; 8] = ["/", "/cart", "/checkout", "/search", "/login", "/feed", "/item/:id", "/old"];
    let route = ROUTES[(number % 8) as usize];
    match number % 20 {
        0 => Signal::new("auth.attempt", at)
            .with("result", if number % 3 == 0 { "success" } else { "failure" })
            .with("method", "password"),
        1 => Signal::new("wp.cron", at).with("hook", "backup").with("result", "ok"),
        2 => Signal::new("mail.sent", at).with("result", "sent"),
        3 => Signal::new("error.raised", at).with("severity", "warning"),
        _ => Signal::new("http.request", at)
            .with("method", "GET")
            .with("status", if number % 13 == 0 { 404 } else { 200 })
            .with("route", route)
            .with("duration", number % 900),
    }
}

fn week(reader: &ReportReader, site: SiteName) -> ReportRequest {
    let scope = Scope::Site(site);
    ReportRequest::new(reader.id().clone(), scope, TimeZone::UTC, Span::WEEK, date(2026, 4, 27))
}

fn html_of(report: &Report, a_day: i64) -> usize {
    let signals: u64 = report.coverage.signals.iter().map(|kind| kind.count.count()).sum();
    assert_eq!((signals, report.coverage.usual_periods), ((7 * a_day) as u64, 8));
    report.to_html().len()
}

fn one(reader: &ReportReader) {
    let mut times = Vec::new();
    let mut bytes = 0;
    for _ in 0..RUNS {
        let (cpu, clock) = (cpu_time::of_thread(), Instant::now());
        bytes = html_of(&reader.report(&week(reader, site(0))).expect("built"), BUSY_A_DAY);
        let wall = clock.elapsed().as_secs_f64();
        times.push(cpu.zip(cpu_time::of_thread()).map_or(wall, |(before, after)| after - before));
    }
    times.sort_by(f64::total_cmp);
    println!(
        "reports: one site's week, {BUSY_A_DAY} signals a day: {:.1} ms (median of {RUNS}, worst {:.1}; target 20), {bytes} bytes of HTML",
        times[RUNS / 2] * 1e3,
        times[RUNS - 1] * 1e3
    );
}

/// As a host makes them: each thread those of some sites that are neighbours in the order of names.
fn thousand(reader: &ReportReader) {
    let mut sites: Vec<SiteName> = (0..SITES).map(site).collect();
    sites.sort();
    let (next, largest) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (cpu, clock) = (cpu_time::seconds(), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let first = next.fetch_add(ReportReader::SITES_TOGETHER, Ordering::Relaxed);
                    let Some(some) = sites.get(first..).filter(|left| !left.is_empty()) else { return };
                    let some = some.get(..ReportReader::SITES_TOGETHER).unwrap_or(some);
                    let like = week(reader, site(0));
                    for report in reader.site_reports(&like, some) {
                        largest.fetch_max(html_of(&report.expect("built"), QUIET_A_DAY), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    println!(
        "reports: {SITES} sites' weeks on {THREADS} threads: {:.1} s, {:.1} s of CPU (target 10 s), at most {} bytes of HTML",
        clock.elapsed().as_secs_f64(),
        cpu.zip(cpu_time::seconds()).map_or(f64::NAN, |(before, after)| after - before),
        largest.load(Ordering::Relaxed)
    );
}
