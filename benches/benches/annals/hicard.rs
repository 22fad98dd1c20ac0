//! A million series: how fast they become durable, in how much memory, how soon they are back after a kill, and how
//! many bytes they take. Each phase runs in a process of its own, so that its peak of memory is its own.

use std::collections::VecDeque;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use annals::{Annals, BatchId, SampleBatch, SeriesKind, SiteName, Tenant, Ticket};
use annals_benches::cpu_time::Stopwatch;
use annals_benches::memory;
use annals_benches::sets::hicard::{SERIES, SWEEPS, labels, time, value};

use crate::host::{IN_FLIGHT, create, open, tenant_id};

/// Says which phase a child is to run, and where.
const PHASE: &str = "ANNALS_BENCH_HICARD_PHASE";
const ROOT: &str = "ANNALS_BENCH_HICARD_ROOT";
const BATCH: usize = 10_000;

pub(crate) fn is_child() -> bool {
    std::env::var_os(PHASE).is_some()
}

pub(crate) fn run() {
    for phases in [&["flushed"][..], &["killed", "restarted"]] {
        let root = tempfile::tempdir().expect("a directory");
        for phase in phases {
            let program = std::env::current_exe().expect("this program");
            let status =
                Command::new(program).env(PHASE, phase).env(ROOT, root.path()).status().expect("runs");
            // A phase that is to be killed ends by a signal.
            assert!(status.success() || *phase == "killed", "{phase}: {status}");
        }
    }
}

pub(crate) fn child() {
    let root = std::env::var_os(ROOT).expect("the parent names a root");
    let root = Path::new(&root);
    match std::env::var(PHASE).as_deref() {
        Ok("flushed") => {
            let (store, tenant) = create(root);
            ingest(&tenant);
            flush(&store, &tenant);
        }
        Ok("killed") => {
            let (_store, tenant) = create(root);
            ingest(&tenant);
            std::process::abort();
        }
        Ok("restarted") => {
            let started = Instant::now();
            let cpu = Stopwatch::start();
            let store = open(root);
            print!("hicard: restart s={:.2}", started.elapsed().as_secs_f64());
            cpu.seconds().into_iter().for_each(|seconds| print!(" cpu-s={seconds:.2}"));
            println!("{}", peak());
            let tenant = store.tenant(&tenant_id()).expect("there");
            flush(&store, &tenant);
        }
        other => panic!("no such phase: {other:?}"),
    }
}

/// Every series once per sweep, by labels, 10,000 samples a batch, synced.
fn ingest(tenant: &Tenant) {
    let mut tickets: VecDeque<Ticket> = VecDeque::new();
    let settle = |ticket: Ticket| {
        let acknowledgement = ticket.wait().expect("written");
        assert!(acknowledgement.refused.is_empty(), "{:?}", acknowledgement.refused.first());
    };
    for sweeps in [0..1, 1..SWEEPS] {
        let (mut cpu, wall) = (Stopwatch::start(), Instant::now());
        let samples = (sweeps.len() * SERIES) as f64;
        for sweep in sweeps.clone() {
            for first in (0..SERIES).step_by(BATCH) {
                let batch = cpu.uncounted(|| batch(sweep, first));
                if tickets.len() >= IN_FLIGHT
                    && let Some(oldest) = tickets.pop_front()
                {
                    settle(oldest);
                }
                tickets.push_back(tenant.write_samples(&batch).expect("queued"));
                cpu.uncounted(|| drop(batch));
            }
        }
        tickets.drain(..).for_each(settle);
        let what = if sweeps.start == 0 { "new series" } else { "known series" };
        print!("hicard: {what} batch={BATCH} synced samples/s={:.0}", samples / wall.elapsed().as_secs_f64());
        cpu.seconds().into_iter().for_each(|seconds| print!(" samples/s/core={:.0}", samples / seconds));
        println!("{}", peak());
    }
}

fn batch(sweep: usize, first: usize) -> SampleBatch {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&((sweep * SERIES + first) as u64).to_le_bytes());
    let mut batch = SampleBatch::new(BatchId(id), SiteName::new("bench").expect("valid"));
    for series in first..first + BATCH {
        let index = batch.series(labels(series), SeriesKind::Gauge);
        batch.push(index, time(sweep), value(series, sweep));
    }
    batch
}

fn flush(store: &Annals, tenant: &Tenant) {
    let (cpu, wall) = (Stopwatch::start(), Instant::now());
    tenant.flush().expect("flushed");
    print!("hicard: flush s={:.2}", wall.elapsed().as_secs_f64());
    cpu.seconds().into_iter().for_each(|seconds| print!(" cpu-s={seconds:.2}"));
    let summary = tenant.summary();
    assert_eq!(summary.samples, (SERIES * SWEEPS) as u64);
    println!(" bytes/sample={:.2}{}", summary.metric_bytes as f64 / summary.samples as f64, peak());
    assert!(store.troubles().is_empty());
}

fn peak() -> String {
    memory::peak_bytes().map_or(String::new(), |bytes| format!(" peak-MiB={}", bytes >> 20))
}
