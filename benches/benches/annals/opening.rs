//! How soon a store answers after it is opened: with a thousand blocks of one tenant, and with ten thousand tenants. Each
//! store is opened in a process of its own, so that its peak of memory is its own.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use annals::vfs::{RealVfs, SystemClock};
use annals::{
    BatchId, DAY_MS, LabelSet, METRIC_NAME, Plan, ReadOnly, SampleBatch, SeriesKind, SiteName, TenantId,
    Timestamp,
};
use annals_benches::memory;
use annals_benches::sets::START;

use crate::host::{SMALL_SERIES, create, open, small_series, tenant_id, write};

/// Says which store a child is to open, and where.
const WHAT: &str = "ANNALS_BENCH_OPENING";
const ROOT: &str = "ANNALS_BENCH_OPENING_ROOT";

const BLOCKS: i64 = 1_000;
const TENANTS: usize = 10_000;

pub(crate) fn is_child() -> bool {
    std::env::var_os(WHAT).is_some()
}

pub(crate) fn run() {
    for (what, build) in [("blocks", build_blocks as fn(&Path)), ("tenants", build_tenants)] {
        let root = tempfile::tempdir().expect("a directory");
        build(root.path());
        let program = std::env::current_exe().expect("this program");
        let status = Command::new(program).env(WHAT, what).env(ROOT, root.path()).status().expect("runs");
        assert!(status.success(), "{what}: {status}");
    }
}

pub(crate) fn child() {
    let root = std::env::var_os(ROOT).expect("the parent names a root");
    let root = Path::new(&root);
    let peak = || memory::peak_bytes().map_or(String::new(), |bytes| format!(" peak-mib={}", bytes >> 20));
    if std::env::var(WHAT).as_deref() == Ok("blocks") {
        // As a command does that asks one thing.
        let started = Instant::now();
        let store =
            ReadOnly::open(Arc::new(RealVfs), Arc::new(SystemClock::default()), root).expect("opened");
        let reader = store.tenant(&tenant_id()).expect("there");
        let opened = started.elapsed();
        let at = START.saturating_add(-DAY_MS / 2);
        reader.query("m", at).expect("answered");
        let answered = started.elapsed();
        println!(
            "opening: blocks={BLOCKS} read-only-ms={:.1} first-answer-ms={:.1}{}",
            opened.as_secs_f64() * 1e3,
            answered.as_secs_f64() * 1e3,
            peak()
        );
    }
    let started = Instant::now();
    let store = open(root);
    let opened = started.elapsed();
    let tenants = store.tenants().len();
    println!("opening: tenants={tenants} writer-ms={:.1}{}", opened.as_secs_f64() * 1e3, peak());
    store.close().expect("closed");
}

/// One sample of one series on each of many days, in a block each.
fn build_blocks(root: &Path) {
    let (store, tenant) = create(root);
    let mut batch = SampleBatch::new(BatchId([1; 16]), SiteName::new("bench").expect("valid"));
    let labels = LabelSet::from_pairs([(METRIC_NAME, "m")]).expect("valid");
    let series = batch.series(labels, SeriesKind::Gauge);
    for day in 0..BLOCKS {
        batch.push(series, START.saturating_add(-day * DAY_MS - DAY_MS / 2), 1.0);
    }
    write(&tenant, vec![batch]);
    tenant.flush().expect("flushed");
    assert!(tenant.summary().metric_blocks >= BLOCKS as usize);
    drop(tenant);
    store.close().expect("closed");
}

/// Many tenants with a few hundred series each, all in blocks.
fn build_tenants(root: &Path) {
    let store = open(root);
    let series = small_series();
    let started = Instant::now();
    for number in 0..TENANTS {
        let id = TenantId::new(&format!("tenant-{number}")).expect("valid");
        let tenant = store.create_tenant(&id, Plan::built_in("archive").expect("built in")).expect("created");
        let samples =
            (0..SMALL_SERIES as u32).map(|series| (series, Timestamp(START.0), f64::from(series))).collect();
        let batch = SampleBatch::new(BatchId([2; 16]), SiteName::new("bench").expect("valid"));
        write(&tenant, vec![SampleBatch { series: series.clone(), samples, ..batch }]);
    }
    let written = started.elapsed();
    store.settle().expect("settled");
    println!(
        "opening: created and written tenants={TENANTS} series={SMALL_SERIES} s={:.1} settle-s={:.1}",
        written.as_secs_f64(),
        (started.elapsed() - written).as_secs_f64()
    );
    store.close().expect("closed");
}
