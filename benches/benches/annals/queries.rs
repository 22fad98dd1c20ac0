//! Queries on settled stores of the sets `cpu`, `counter`, `latency`, `hicard` and two of histograms, in the library on one
//! core.
//!
//! A store is made once and kept under the target directory. Each query runs in a process of its own, so that its peak of
//! memory is its own; its first run, which also reads the index, is not counted. Times are CPU time of the one thread that
//! answers.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use annals::query::promql::{self, QueryOptions, Value};
use annals::{BatchId, Budget, HOUR_MS, QueryLimits, SampleBatch, SiteName, Tenant, Timestamp};
use annals_benches::histograms;
use annals_benches::series::{SETS, Series};
use annals_benches::sets::START;
use annals_benches::{cpu_time, memory};

use crate::host::{create, open, tenant_id};

/// Says which query a child is to run.
const QUERY: &str = "ANNALS_BENCH_QUERY";
/// Named by stores, so that those that another version made are not read as this one's.
const STORES_VERSION: u32 = 3;
const RUNS_MAX: usize = 31;
const SECONDS_MAX: f64 = 2.0;
/// Samples of a batch.
const BATCH: usize = 200_000;

const FIELDS: [&str; 10] = [
    "usage_user",
    "usage_system",
    "usage_idle",
    "usage_nice",
    "usage_iowait",
    "usage_irq",
    "usage_softirq",
    "usage_steal",
    "usage_guest",
    "usage_guest_nice",
];

/// A query and what is asked of it.
struct Query {
    name: &'static str,
    set: &'static str,
    expression: String,
    /// First and last time, in milliseconds from the start of the day, and the step; an instant has step 0.
    times: (i64, i64, i64),
    /// Samples that the query is about.
    covered: u64,
    /// Milliseconds to reach, where the design says.
    target_ms: Option<f64>,
}

fn queries() -> Vec<Query> {
    const DAY: i64 = 24 * HOUR_MS;
    let hour = HOUR_MS;
    let union = |of: &dyn Fn(&str) -> String| {
        FIELDS
            .map(|field| format!("label_replace({}, \"field\", \"{field}\", \"\", \"\")", of(field)))
            .join(" or ")
    };
    let query = |name, set, expression: &str, times, covered, target_ms: f64| Query {
        name,
        set,
        expression: expression.to_owned(),
        times,
        covered,
        target_ms: (target_ms > 0.0).then_some(target_ms),
    };
    let pods = "container_cpu_usage{node=~\"node-7..\"}";
    let ratio = format!("{pods} / ignoring () {pods}");
    let share = format!("{pods} / on (node) group_left sum by (node) ({pods})");
    let (sweep, quarter) = ((100_000, 100_000, 0), (300_000, hour, 15_000));
    let means = union(&|field| format!("avg by (hostname) (avg_over_time(cpu_{field}[1h]))"));
    let sums = FIELDS.map(|field| format!("sum(sum_over_time(cpu_{field}[24h]))")).join(" + ");
    let one = "max(max_over_time(cpu_usage_user{hostname=\"host_249\"}[1m]))";
    vec![
        query("hourly-means", "cpu", &means, (7 * hour, 18 * hour, hour), 17_280_000, 25.0),
        query("day-sums", "cpu", &sums, (DAY, DAY, 0), 34_560_000, 15.0),
        query(
            "sum-rate",
            "counter",
            "sum(rate(http_requests_total[5m]))",
            (300_000, DAY, 60_000),
            8_640_000,
            20.0,
        ),
        query(
            "quantile",
            "latency",
            "quantile(0.99, latency_ms)",
            (0, DAY - 60_000, 60_000),
            4_320_000,
            30.0,
        ),
        query(
            "over-90",
            "cpu",
            "cpu_usage_user > 90",
            (6 * hour, 18 * hour - 10_000, 10_000),
            1_728_000,
            20.0,
        ),
        query("last-points", "cpu", "{__name__=~\"cpu_usage_.+\"}", (DAY, DAY, 0), 4_000, 5.0),
        query("one-host-one-hour", "cpu", one, (10 * hour + 60_000, 11 * hour, 60_000), 360, 0.05),
        query(
            "count-by-namespace",
            "hicard",
            "count by (namespace) (container_cpu_usage)",
            sweep,
            1_000_000,
            200.0,
        ),
        query(
            "regex-nodes",
            "hicard",
            "sum by (node) (container_cpu_usage{node=~\"node-7..\"})",
            sweep,
            100_000,
            20.0,
        ),
        query("top-pods", "hicard", "topk(10, container_cpu_usage)", sweep, 1_000_000, 0.0),
        query("top-of-nodes", "hicard", "topk by (node) (1, container_cpu_usage)", sweep, 1_000_000, 0.0),
        query("pod-ratio", "hicard", &ratio, sweep, 200_000, 0.0),
        query("share-of-node", "hicard", &share, sweep, 200_000, 0.0),
        query(
            "host-ratio",
            "cpu",
            "cpu_usage_user / on (hostname) cpu_usage_system",
            (6 * hour, 18 * hour, 60_000),
            3_456_000,
            0.0,
        ),
        query(
            "bucket-quantile",
            "buckets",
            "histogram_quantile(0.99, sum by (le) (rate(rpc_seconds_bucket[5m])))",
            quarter,
            3_600_000,
            0.0,
        ),
        query(
            "bucket-quantiles",
            "buckets",
            "histogram_quantile(0.99, rate(rpc_seconds_bucket[5m]))",
            quarter,
            3_600_000,
            0.0,
        ),
        query("native-rate", "natives", "rate(rpc_seconds[5m])", quarter, 36_000, 0.0),
        query("native-sum", "natives", "sum_over_time(rpc_seconds[5m])", quarter, 36_000, 0.0),
    ]
}

pub(crate) fn is_child() -> bool {
    std::env::var_os(QUERY).is_some()
}

pub(crate) fn run() {
    let wanted = std::env::var("ANNALS_BENCH_QUERIES").unwrap_or_default();
    println!(
        "queries: {:<19} {:>9} {:>9} {:>7}  {:>11} {:>11}  memory",
        "", "p50 ms", "best ms", "reach", "samples", "decoded"
    );
    for query in queries().iter().filter(|query| query.name.contains(&wanted)) {
        make_store(query.set);
        let program = std::env::current_exe().expect("this program");
        let arguments = std::env::args().skip(1);
        let status = Command::new(program).args(arguments).env(QUERY, query.name).status().expect("runs");
        assert!(status.success(), "{}: {status}", query.name);
    }
}

pub(crate) fn child() {
    let name = std::env::var(QUERY).expect("the parent names a query");
    let queries = queries();
    let query = queries.iter().find(|query| query.name == name).expect("one of these");
    let store = open(&root(query.set));
    measure(query, &store.tenant(&tenant_id()).expect("there"));
    store.close().expect("closed");
}

fn measure(query: &Query, tenant: &Tenant) {
    let before = memory::peak_bytes();
    let reader = tenant.reader();
    let (start, end, step) = query.times;
    let (start, end) = (START.saturating_add(start), START.saturating_add(end));
    let once = || {
        let (budget, options) = (Budget::new(QueryLimits::NONE), QueryOptions::default());
        let started = cpu_time::of_thread();
        let expr = promql::parse(&query.expression).expect("valid");
        let answer = if step == 0 {
            promql::instant(&reader, &expr, end, &options, &budget)
        } else {
            promql::range(&reader, &expr, start, end, step, &options, &budget)
        };
        let answer = answer.unwrap_or_else(|error| panic!("{}: {error}", query.name));
        let spent = cpu_time::of_thread().zip(started).map_or(0.0, |(after, before)| after - before);
        let ms = spent * 1_000.0;
        assert!(answer.warnings.is_empty(), "{}: {:?}", query.name, answer.warnings.first());
        assert!(!is_empty(&answer.value), "{}: nothing is found", query.name);
        (ms, budget)
    };
    once();
    let mut runs = Vec::new();
    let (mut decoded, mut accounted) = (0, 0);
    let started = Instant::now();
    while runs.len() < RUNS_MAX && (runs.len() < 5 || started.elapsed().as_secs_f64() < SECONDS_MAX) {
        let (ms, budget) = once();
        runs.push(ms);
        (decoded, accounted) = (budget.samples(), budget.memory_bytes_peak());
    }
    runs.sort_by(f64::total_cmp);
    let (p50, best) = (runs[runs.len() / 2], runs[0]);
    let digits = if p50 < 1.0 { 3 } else { 1 };
    print!(
        "queries: {:<19} {p50:>9.digits$} {best:>9.digits$} {:>7}  {:>11} {decoded:>11}  accounted {:.2} MiB",
        query.name,
        query.target_ms.map_or_else(|| "-".to_owned(), |ms| ms.to_string()),
        query.covered,
        accounted as f64 / f64::from(1 << 20)
    );
    match (before, memory::peak_bytes()) {
        (Some(before), Some(peak)) => println!(", process {} MiB, {} before", peak >> 20, before >> 20),
        _ => println!(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Scalar(..) | Value::String(_) => false,
        Value::Vector(vector) => vector.is_empty(),
        Value::Matrix(series) => series.is_empty(),
    }
}

fn root(set: &str) -> PathBuf {
    let plain = if std::env::args().any(|argument| argument == "--plain") { "-plain" } else { "" };
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("queries-{STORES_VERSION}-{set}{plain}"))
}

/// Makes the settled store of a set where it is not there yet.
fn make_store(set: &str) {
    let (root, made) = (root(set), root(set).join("made"));
    if made.exists() {
        return;
    }
    if root.exists() {
        std::fs::remove_dir_all(&root).expect("what is left of a store that was not finished goes");
    }
    std::fs::create_dir_all(&root).expect("a directory");
    let (store, tenant) = create(&root);
    if set == "hicard" {
        for first in (0..annals_benches::sets::hicard::SERIES).step_by(BATCH / 10) {
            write(&tenant, first as u64, &hicard(first, BATCH / 10));
        }
    } else if set == "natives" {
        write_batch(&tenant, &histograms::natives());
    } else if set == "buckets" {
        for (number, part) in histograms::buckets().chunks(BATCH / histograms::SAMPLES).enumerate() {
            write(&tenant, number as u64, part);
        }
    } else {
        let make = SETS.iter().find(|(name, _)| *name == set).expect("a set").1;
        let series = make().expect("a set that is generated");
        // By time, as samples arrive.
        let (samples, mut number) = (series.first().map_or(0, |one| one.values.len()), 0);
        let at_once = BATCH / series.len();
        for first in (0..samples).step_by(at_once) {
            let part = |one: &Series| {
                let range = first..(first + at_once).min(samples);
                Series {
                    labels: one.labels.clone(),
                    kind: one.kind,
                    timestamps: one.timestamps[range.clone()].to_vec(),
                    values: one.values[range].to_vec(),
                }
            };
            write(&tenant, number, &series.iter().map(part).collect::<Vec<_>>());
            number += 1;
        }
    }
    store.settle().expect("settled");
    drop(tenant);
    store.close().expect("closed");
    std::fs::write(made, "").expect("written");
}

fn hicard(first: usize, count: usize) -> Vec<Series> {
    use annals_benches::sets::hicard::{SWEEPS, labels, time, value};
    (first..first + count)
        .map(|series| Series {
            labels: labels(series),
            kind: annals::SeriesKind::Gauge,
            timestamps: (0..SWEEPS).map(|sweep| time(sweep).0).collect(),
            values: (0..SWEEPS).map(|sweep| value(series, sweep)).collect(),
        })
        .collect()
}

fn write(tenant: &Tenant, number: u64, series: &[Series]) {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    let mut batch = SampleBatch::new(BatchId(id), SiteName::new("bench").expect("valid"));
    for one in series {
        let index = batch.series(one.labels.clone(), one.kind);
        for (&time, &value) in one.timestamps.iter().zip(&one.values) {
            batch.push(index, Timestamp(time), value);
        }
    }
    write_batch(tenant, &batch);
}

fn write_batch(tenant: &Tenant, batch: &SampleBatch) {
    let acknowledgement = tenant.write_samples(batch).expect("queued").wait().expect("written");
    assert!(acknowledgement.refused.is_empty(), "{:?}", acknowledgement.refused.first());
}
