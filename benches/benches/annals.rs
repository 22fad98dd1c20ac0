//! Runs the measurements that its arguments name; all of them without arguments. See the crate's docs.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use annals::query::promql;
use annals::vfs::{RealVfs, SystemClock, SystemEntropy};
use annals::{
    Annals, BatchId, Budget, Matcher, Options, Plan, QueryLimits, SampleBatch, Samples, SeriesKind,
    SeriesSource, SiteName, Tenant, TenantId, Ticket, TimeRange, Timestamp,
};
use annals_benches::cpu_time;
use annals_benches::sets::{Cpu, START, STEP_MS};

/// Batches on their way at the same time, as a gateway would have them.
const IN_FLIGHT: usize = 8;
const DAY_STEPS: i64 = 8_640;

fn main() {
    let named: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let wanted = |name: &str| named.is_empty() || named.iter().any(|n| n == name);
    if wanted("ingest") {
        ingest();
    }
    if wanted("store") {
        store();
    }
}

/// The set `cpu` through the public API, synced, 4,000 samples a batch.
fn ingest() {
    let root = tempfile::tempdir().expect("a directory");
    let (store, tenant) = open(root.path());
    let steps = 1_500;
    let batches = batches(steps);
    let samples = steps as f64 * 4_000.0;
    let (wall, cpu) = (Instant::now(), cpu_time::seconds());
    write(&tenant, batches);
    let seconds = wall.elapsed().as_secs_f64();
    print!("ingest: set=cpu batch=4000 synced samples/s={:.0}", samples / seconds);
    if let (Some(before), Some(after)) = (cpu, cpu_time::seconds()) {
        print!(" samples/s/core={:.0}", samples / (after - before));
    }
    println!();
    store.close().expect("closed");
}

/// A day of `cpu`, settled: its size, and how fast it is read.
fn store() {
    let root = tempfile::tempdir().expect("a directory");
    let (store, tenant) = open(root.path());
    let mut cpu = Cpu::new();
    let mut step = 0;
    while step < DAY_STEPS {
        write(&tenant, next_batches(&mut cpu, step, 360));
        step += 360;
    }
    store.settle().expect("settled");
    let summary = tenant.summary();
    assert_eq!(summary.samples, (DAY_STEPS * 4_000) as u64);
    println!(
        "store: set=cpu samples={} blocks={} bytes/sample={:.3}",
        summary.samples,
        summary.metric_blocks,
        summary.metric_bytes as f64 / summary.samples as f64
    );
    let reader = tenant.reader();
    let range = TimeRange::new(START.saturating_add(-1), START.saturating_add(DAY_STEPS * STEP_MS));
    let limits = QueryLimits { samples_max: u64::MAX, memory_bytes_max: u64::MAX, ..QueryLimits::default() };
    let mut best = f64::MAX;
    let (mut scanned, mut cpu_seconds) = (0, 0.0);
    for _ in 0..10 {
        let budget = Budget::new(limits);
        let selected = reader.select(&[Matcher::equal("os", "")], range, &budget).expect("selected");
        assert!(selected.is_empty());
        let selected = reader.select(&[], range, &budget).expect("selected");
        let cpu = cpu_time::seconds();
        let (started, mut samples, mut count, mut sum) = (Instant::now(), Samples::default(), 0, 0.0);
        for series in 0..selected.len() {
            selected.read(series, &budget, &mut samples).expect("read");
            count += samples.values.len();
            sum += sum_in_lanes(&samples.values);
        }
        assert_eq!(count as u64, summary.samples);
        assert!(sum > 0.0);
        scanned += count;
        cpu_seconds += cpu_time::seconds().zip(cpu).map_or(0.0, |(after, before)| after - before);
        best = best.min(started.elapsed().as_secs_f64());
    }
    print!(
        "store: scan with sum over decoded chunks, one thread, samples/s={:.0}",
        summary.samples as f64 / best
    );
    if cpu_seconds > 0.0 {
        print!(" samples/s/core={:.0}", scanned as f64 / cpu_seconds);
    }
    println!();
    let reader = reader.with_limits(limits);
    let end = START.saturating_add(DAY_STEPS * STEP_MS);
    for (name, expression) in [
        ("sum_day", "sum(sum_over_time(cpu_usage_user[24h]))"),
        ("hourly_mean", "avg by (hostname) (avg_over_time(cpu_usage_user[1h]))"),
        ("above_90", "cpu_usage_user > 90"),
    ] {
        let mut best = f64::MAX;
        for _ in 0..3 {
            let started = Instant::now();
            let answer = match name {
                "sum_day" => reader.query(expression, end),
                "hourly_mean" => {
                    reader.query_range(expression, Timestamp(end.0 - 12 * 3_600_000), end, 3_600_000)
                }
                _ => reader.query_range(expression, Timestamp(end.0 - 12 * 3_600_000), end, STEP_MS),
            };
            let answer = answer.unwrap_or_else(|error| panic!("{expression}: {error}"));
            assert!(!matches!(answer.value, promql::Value::String(_)));
            best = best.min(started.elapsed().as_secs_f64());
        }
        println!("store: query {name} ms={:.1}", best * 1_000.0);
    }
    store.close().expect("closed");
}

/// A sum in eight lanes: one running sum waits for each addition before the next.
fn sum_in_lanes(values: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let chunks = values.chunks_exact(8);
    let rest: f64 = chunks.remainder().iter().sum();
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().sum::<f64>() + rest
}

fn open(root: &Path) -> (Annals, Tenant) {
    let (clock, entropy) = (Arc::new(SystemClock::default()), Arc::new(SystemEntropy::default()));
    let store = Annals::open(Arc::new(RealVfs), clock, entropy, root, Options::default()).expect("opened");
    let id = TenantId::new("bench").expect("valid");
    let tenant = store.create_tenant(&id, Plan::built_in("archive").expect("built in")).expect("created");
    (store, tenant)
}

fn batches(steps: i64) -> Vec<SampleBatch> {
    next_batches(&mut Cpu::new(), 0, steps)
}

fn next_batches(cpu: &mut Cpu, first: i64, steps: i64) -> Vec<SampleBatch> {
    let series: Vec<_> = cpu.labels.iter().map(|labels| (labels.clone(), SeriesKind::Gauge)).collect();
    let site = SiteName::new("bench").expect("valid");
    let mut values = Vec::new();
    (first..first + steps)
        .map(|step| {
            cpu.step(&mut values);
            let mut id = [0; 16];
            id[..8].copy_from_slice(&step.to_le_bytes());
            let time = START.saturating_add(step * STEP_MS);
            let samples =
                values.iter().enumerate().map(|(index, &value)| (index as u32, time, value)).collect();
            SampleBatch { id: BatchId(id), site: site.clone(), series: series.clone(), samples }
        })
        .collect()
}

/// Writes batches with several on their way, and waits for every acknowledgement.
fn write(tenant: &Tenant, batches: Vec<SampleBatch>) {
    let mut tickets: std::collections::VecDeque<Ticket> = std::collections::VecDeque::new();
    let settle = |ticket: Ticket| {
        let acknowledgement = ticket.wait().expect("written");
        assert!(acknowledgement.refused.is_empty(), "{:?}", acknowledgement.refused.first());
    };
    for batch in batches {
        if tickets.len() >= IN_FLIGHT
            && let Some(oldest) = tickets.pop_front()
        {
            settle(oldest);
        }
        tickets.push_back(tenant.write_samples(&batch).expect("queued"));
    }
    tickets.into_iter().for_each(settle);
}
