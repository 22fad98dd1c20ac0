//! A day of the set `cpu`: how many bytes it takes, and how fast it is read.

use std::time::Instant;

use annals::query::promql;
use annals::{Budget, Matcher, QueryLimits, Samples, SeriesSource, Tenant, TimeRange, Timestamp};
use annals_benches::cpu_time;
use annals_benches::sets::{Cpu, START, STEP_MS};

use crate::host::{create, next_batches, open_after, tenant_id, write};

const DAY_STEPS: i64 = 8_640;

/// A day of `cpu`, settled: its size, and how fast it is read.
pub(crate) fn run() {
    let root = tempfile::tempdir().expect("a directory");
    let (store, tenant) = create(root.path());
    let mut cpu = Cpu::new();
    let mut step = 0;
    while step < DAY_STEPS {
        write(&tenant, next_batches(&mut cpu, step, 360));
        step += 360;
    }
    store.settle().expect("settled");
    measure("over", &tenant);
    drop(tenant);
    store.close().expect("closed");
    let store = open_after(root.path(), 8);
    store.settle().expect("settled");
    measure("old", &store.tenant(&tenant_id()).expect("there"));
    store.close().expect("closed");
}

/// Size and speed of a day that is over, or old.
fn measure(age: &str, tenant: &Tenant) {
    let summary = tenant.summary();
    assert_eq!(summary.samples, (DAY_STEPS * 4_000) as u64);
    println!(
        "store: set=cpu day={age} samples={} blocks={} bytes/sample={:.3}",
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
        let cpu = cpu_time::of_thread();
        let (started, mut samples, mut count, mut sum) = (Instant::now(), Samples::default(), 0, 0.0);
        for series in 0..selected.len() {
            selected.read(series, &budget, &mut samples).expect("read");
            count += samples.values.len();
            sum += sum_in_lanes(&samples.values);
        }
        assert_eq!(count as u64, summary.samples);
        assert!(sum > 0.0);
        scanned += count;
        cpu_seconds += cpu_time::of_thread().zip(cpu).map_or(0.0, |(after, before)| after - before);
        best = best.min(started.elapsed().as_secs_f64());
    }
    print!(
        "store: day={age} scan with sum over decoded chunks, one thread, samples/s={:.0}",
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
        println!("store: day={age} query {name} ms={:.1}", best * 1_000.0);
    }
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
