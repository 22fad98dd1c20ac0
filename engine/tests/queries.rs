//! The same answers from samples in memory and from a store, whatever form its data has: head, fresh blocks, merged and old
//! ones, days beside each other and parts that reach into each other.

mod common;

use annals::query::promql::testing::MemorySource;
use annals::query::promql::{Answer, QueryOptions, Value, parse, range};
use annals::{Budget, DAY_MS, SeriesKind, Tenant, Timestamp};
use common::{Machine, NOW, id, labels, plan, samples_of, write_samples};

const STEP_MS: i64 = 30_000;
/// From two days before now on.
const START: i64 = NOW - 2 * DAY_MS;
const SAMPLES: i64 = 2 * DAY_MS / STEP_MS;

fn value(kind: SeriesKind, series: usize, step: i64) -> f64 {
    let mixed = (step as u64 * 2_654_435_761 + series as u64 * 40_503) % 1_000;
    match kind {
        // It restarts now and then.
        SeriesKind::Counter => (step % 777 * 3) as f64 + mixed as f64 / 1_000.0,
        _ => mixed as f64 / 8.0 - 40.0,
    }
}

fn name(kind: SeriesKind) -> &'static str {
    match kind {
        SeriesKind::Gauge => "g",
        SeriesKind::Counter => "c_total",
        _ => "d",
    }
}

const KINDS: [SeriesKind; 3] = [SeriesKind::Gauge, SeriesKind::Counter, SeriesKind::Delta];

const QUERIES: [(&str, i64); 16] = [
    ("g", 600_000),
    ("g > 0", STEP_MS),
    ("sum_over_time(g[1d])", 6 * 3_600_000),
    ("avg_over_time(g[13h])", 3_600_000),
    ("min_over_time(g[1d]) + max_over_time(g[1d])", 7_200_000),
    ("count_over_time(c_total[30h])", 3_600_000),
    ("rate(c_total[5m])", 60_000),
    ("increase(c_total[1d])", 3 * 3_600_000),
    ("delta(g[20h])", 3_600_000),
    ("increase(d[1d])", 3_600_000),
    ("rate(d[10m])", 600_000),
    ("first_over_time(g[20h]) - last_over_time(g[20h])", 3_600_000),
    ("sum by (series) (present_over_time({__name__=~\"g|d\"}[1d]))", 3_600_000),
    ("quantile(0.4, g)", 600_000),
    ("stddev_over_time(g[3h])", 3_600_000),
    ("timestamp(g offset 1h)", 900_000),
];

fn compare(memory: &MemorySource, tenant: &Tenant, form: &str) {
    let reader = tenant.reader();
    let ask = |source: &dyn annals::SeriesSource, query: &str, step_ms, parallelism| -> Answer {
        let options = QueryOptions { parallelism, ..QueryOptions::default() };
        let expr = parse(query).expect(query);
        let (start, end) = (Timestamp(START), Timestamp(NOW));
        range(source, &expr, start, end, step_ms, &options, &Budget::default()).expect(query)
    };
    for (query, step_ms) in QUERIES {
        let (wanted, found) = (ask(memory, query, step_ms, 1), ask(&reader, query, step_ms, 1));
        assert_eq!(found.warnings, wanted.warnings, "{form}: {query}");
        let (Value::Matrix(wanted), Value::Matrix(found)) = (&wanted.value, &found.value) else {
            panic!("range queries give matrices")
        };
        assert!(!wanted.is_empty(), "{form}: {query} finds nothing");
        assert_eq!(found.len(), wanted.len(), "{form}: {query}");
        for (found, wanted) in found.iter().zip(wanted) {
            assert_eq!(found.labels, wanted.labels, "{form}: {query}");
            assert_eq!(found.points.len(), wanted.points.len(), "{form}: {query} of {}", found.labels);
            for (found, wanted) in found.points.iter().zip(&wanted.points) {
                let near = (found.1 - wanted.1).abs() <= 1e-12 * 1e6;
                assert!(found.0 == wanted.0 && near, "{form}: {query}: {found:?}, not {wanted:?}");
            }
        }
    }
}

#[test]
fn a_store_answers_as_memory_does_in_every_form_of_its_data() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    let mut memory = MemorySource::default();
    let mut number = 0;
    let mut write = |steps: &mut dyn Iterator<Item = i64>, memory: &mut MemorySource| {
        let steps: Vec<i64> = steps.collect();
        for kind in KINDS {
            // Series that start later than others.
            let samples: Vec<(usize, i64, f64)> = (0..3)
                .flat_map(|series| steps.iter().map(move |&step| (series, step)))
                .filter(|&(series, step)| step >= series as i64 * 500)
                .map(|(series, step)| (series, START + step * STEP_MS, value(kind, series, step)))
                .collect();
            if samples.is_empty() {
                continue;
            }
            number += 1;
            write_samples(&tenant, &samples_of(number, name(kind), kind, &samples)).expect("written");
            for series in 0..3 {
                let own: Vec<(i64, f64)> =
                    samples.iter().filter(|own| own.0 == series).map(|own| (own.1, own.2)).collect();
                let set = labels(&[("__name__", name(kind)), ("series", &series.to_string())]);
                memory.add_set(set, kind, &own);
            }
        }
    };
    let third = SAMPLES / 3;
    write(&mut (0..third), &mut memory);
    compare(&memory, &tenant, "head");
    tenant.flush().expect("flushed");
    compare(&memory, &tenant, "fresh blocks");
    // Every other sample first, then those between: neither part of a day is apart from the other.
    write(&mut (third..2 * third).step_by(2), &mut memory);
    tenant.flush().expect("flushed");
    write(&mut (third + 1..2 * third).step_by(2), &mut memory);
    compare(&memory, &tenant, "blocks under a head");
    tenant.flush().expect("flushed");
    write(&mut (2 * third..=SAMPLES), &mut memory);
    compare(&memory, &tenant, "blocks that overlap, and a head");
    store.settle().expect("settled");
    compare(&memory, &tenant, "merged blocks");
    machine.clock.advance_ms(9 * DAY_MS as u64);
    store.settle().expect("settled");
    compare(&memory, &tenant, "old blocks");
}
