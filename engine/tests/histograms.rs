//! Native histograms, from a batch to an answer: in the head, in blocks, in rollups, and what is refused.

mod common;

use annals::query::promql::Value;
use annals::query::promql::testing::{MemorySample, MemorySource};
use annals::query::promql::{self, QueryOptions};
use annals::*;
use common::*;
use proptest::prelude::*;

/// A histogram of schema 0 whose buckets count these.
fn histogram(counts: &[u32]) -> Histogram {
    let positive: Vec<(i32, f64)> =
        (0..).zip(counts).map(|(index, &count)| (index, f64::from(count))).collect();
    let count = counts.iter().map(|&count| f64::from(count)).sum();
    Histogram { count, sum: count * 1.5, positive, ..Histogram::default() }.compacted()
}

/// Histograms of the series `name{series="0"}`.
fn batch(number: u64, name: &str, kind: SeriesKind, samples: &[(i64, Option<&[u32]>)]) -> SampleBatch {
    let mut batch = SampleBatch::new(batch_id(number), site("host"));
    let series = batch.series(labels(&[("__name__", name), ("series", "0")]), kind);
    for &(time, counts) in samples {
        match counts {
            Some(counts) => batch.push_histogram(series, Timestamp(time), histogram(counts)),
            None => batch.push(series, Timestamp(time), f64::from_bits(STALE_NAN_BITS)),
        }
    }
    batch
}

fn maintain(store: &Annals) {
    store.settle().expect("settled");
    while store.maintenance_step().expect("maintenance works").is_some() {}
}

/// The counts of the histograms of all series, by stamp; `None` for a marker.
fn stored(tenant: &Tenant) -> Vec<(i64, Option<f64>)> {
    let (reader, budget) = (tenant.reader(), Budget::new(QueryLimits::default()));
    let selected = reader.select(&[], TimeRange::ALL, &budget).expect("selected");
    let (mut samples, mut all) = (Samples::default(), Vec::new());
    for index in 0..selected.len() {
        selected.read(index, &budget, &mut samples).expect("read");
        assert!(samples.missing.is_empty() && samples.histograms.len() == samples.timestamps.len());
        for (&time, histogram) in samples.timestamps.iter().zip(&samples.histograms) {
            all.push((time, histogram.as_ref().map(|histogram| histogram.count)));
        }
    }
    all
}

#[test]
fn histograms_are_the_same_in_log_head_block_and_after_a_merge() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    let write = |batch: &SampleBatch| {
        let taken = write_samples(&tenant, batch).expect("written");
        assert_eq!((taken.records, taken.refused), (batch.samples.len() + batch.histograms.len(), vec![]));
    };
    write(&batch(1, "h", SeriesKind::Histogram, &[(NOW, Some(&[1, 2])), (NOW + 2, Some(&[3, 4, 5]))]));
    write(&batch(2, "d", SeriesKind::DeltaHistogram, &[(NOW, Some(&[1])), (NOW + 2, Some(&[1, 1]))]));
    tenant.flush().expect("flushed");
    // Later writes of one stamp, one that comes late, and a marker.
    let late: [(i64, Option<&[u32]>); 3] = [(NOW + 2, Some(&[9])), (NOW + 1, Some(&[2])), (NOW + 3, None)];
    write(&batch(3, "h", SeriesKind::Histogram, &late));
    write(&batch(4, "d", SeriesKind::DeltaHistogram, &[(NOW + 2, Some(&[9])), (NOW + 1, Some(&[2]))]));
    let deltas = [(NOW, Some(1.0)), (NOW + 1, Some(2.0)), (NOW + 2, Some(11.0))];
    let levels = [(NOW, Some(3.0)), (NOW + 1, Some(2.0)), (NOW + 2, Some(9.0)), (NOW + 3, None)];
    let expected = [&deltas[..], &levels].concat();
    assert_eq!(stored(&tenant), expected, "block and head");
    drop((tenant, store));
    let store = machine.open();
    let tenant = store.tenant(&id("acme")).expect("opened");
    assert_eq!(stored(&tenant), expected, "read from the log");
    tenant.flush().expect("flushed");
    assert_eq!(stored(&tenant), expected, "two blocks");
    store.settle().expect("settled");
    assert_eq!(stored(&tenant), expected, "merged");
    drop((tenant, store));
    let verified = verify(std::sync::Arc::new(machine.vfs.clone()), "/data".as_ref()).expect("verified");
    assert!(verified.findings.is_empty(), "{:?}", verified.findings);
}

#[test]
fn what_cannot_be_a_sample_of_the_series_is_refused() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    let mut batch = SampleBatch::new(batch_id(1), site("host"));
    let number = batch.series(labels(&[("__name__", "n")]), SeriesKind::Gauge);
    let level = batch.series(labels(&[("__name__", "h")]), SeriesKind::Histogram);
    let delta = batch.series(labels(&[("__name__", "d")]), SeriesKind::DeltaHistogram);
    let at = Timestamp(NOW);
    batch.push(level, at, 1.0);
    batch.push(delta, at, f64::from_bits(STALE_NAN_BITS));
    batch.push_histogram(number, at, histogram(&[1]));
    batch.push_histogram(level, at, Histogram { schema: 9, ..Histogram::default() });
    batch.push_histogram(level, at, Histogram { positive: vec![(0, -1.0)], ..Histogram::default() });
    batch.push_histogram(delta, at, Histogram { sum: f64::NAN, ..Histogram::default() });
    let many = (0..=HISTOGRAM_BUCKETS_MAX as i32).map(|index| (index, 1.0)).collect();
    batch.push_histogram(level, at, Histogram { positive: many, ..Histogram::default() });
    batch.push_histogram(7, at, histogram(&[1]));
    batch.push_histogram(level, at, histogram(&[1]));
    let taken = write_samples(&tenant, &batch).expect("answered");
    let reasons: Vec<(usize, RefusalReason)> =
        taken.refused.iter().map(|(index, refusal)| (*index, refusal.reason)).collect();
    assert_eq!(
        reasons,
        [
            (0, RefusalReason::WrongType),
            (1, RefusalReason::WrongType),
            (2, RefusalReason::WrongType),
            (3, RefusalReason::OutOfBounds),
            (4, RefusalReason::OutOfBounds),
            (5, RefusalReason::OutOfBounds),
            (6, RefusalReason::OutOfBounds),
            (7, RefusalReason::UnknownSeries),
        ]
    );
    assert_eq!(stored(&tenant), [(NOW, Some(1.0))]);
    // The same id with another histogram is another batch.
    if let Some((.., last)) = batch.histograms.last_mut() {
        last.sum += 1.0;
    }
    assert!(matches!(write_samples(&tenant, &batch), Err(WriteError::Conflict { .. })));
}

#[test]
fn p5_an_increase_over_whole_hours_outlives_its_raw_histograms() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    let hour = window_end(NOW, HOUR_MS);
    let (mut levels, mut deltas) = (Vec::new(), Vec::new());
    let mut count = 0;
    for minute in 0..120u32 {
        // A reset in the second hour.
        count = if minute == 90 { 1 } else { count + minute % 7 };
        levels.push((hour + i64::from(minute) * 60_000 + 1, vec![count, count / 2]));
        deltas.push((hour + i64::from(minute) * 60_000 + 1, vec![minute % 3, 1]));
    }
    let as_batch = |number, name, kind, samples: &[(i64, Vec<u32>)]| {
        let samples: Vec<(i64, Option<&[u32]>)> =
            samples.iter().map(|(time, counts)| (*time, Some(&counts[..]))).collect();
        batch(number, name, kind, &samples)
    };
    machine.clock.set_ms(hour + 3 * HOUR_MS);
    for batch in [
        as_batch(1, "h", SeriesKind::Histogram, &levels),
        as_batch(2, "d", SeriesKind::DeltaHistogram, &deltas),
    ] {
        assert_eq!(write_samples(&tenant, &batch).expect("written").refused, []);
    }
    let ask = |hours: i64| {
        let (reader, at) = (tenant.reader(), Timestamp(hour + hours * HOUR_MS));
        [
            "histogram_count(increase(d[1h]))",
            "histogram_sum(increase(d[1h]))",
            "histogram_quantile(0.5, rate(d[1h]))",
        ]
        .map(|text| number(&reader, text, at))
    };
    let before = [ask(1), ask(2)];
    assert_eq!(before[0][0], 120.0);
    // Prometheus extrapolates; what buckets grew by is what must stay.
    let grown = || {
        let counts: Vec<f64> = stored(&tenant)[..].iter().filter_map(|(_, count)| *count).collect();
        counts
    };
    assert_eq!(grown().len(), 240);
    let last = |reader: &TenantReader| {
        number(reader, "histogram_count(last_over_time(h[1h]))", Timestamp(hour + 2 * HOUR_MS))
    };
    let level = last(&tenant.reader());
    for days in [90, 400] {
        machine.clock.advance_ms(((Timestamp(hour).day().end().0 + days * DAY_MS) - machine.now().0) as u64);
        assert_eq!([ask(1), ask(2)], before, "{days} days, before maintenance");
        assert_eq!(last(&tenant.reader()), level);
        maintain(&store);
        assert_eq!([ask(1), ask(2)], before, "{days} days");
        assert_eq!(last(&tenant.reader()), level);
    }
    // Each hour's first and last, and the two at the reset; one sum of deltas an hour.
    assert_eq!(stored(&tenant).len(), 2 + 4 + 2);
}

#[test]
fn p7_histograms_are_deleted_by_matchers_and_range_from_raw_and_from_rollups() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    let hour = window_end(NOW, HOUR_MS);
    let at = |hours: i64| hour + hours * HOUR_MS - 1;
    for (number, name) in [(1, "h"), (2, "kept")] {
        let three: Vec<(i64, Option<&[u32]>)> = (1..=3).map(|hours| (at(hours), Some(&[5u32][..]))).collect();
        machine.clock.set_ms(hour + 4 * HOUR_MS);
        write_samples(&tenant, &batch(number, name, SeriesKind::Histogram, &three)).expect("written");
    }
    let one = |hours: i64| Deletion {
        matchers: vec![Matcher::equal("__name__", "h")],
        range: TimeRange::new(Timestamp(at(hours) - 1), Timestamp(at(hours))),
        metrics: true,
        signals: false,
    };
    assert_eq!(tenant.delete(&one(2)).expect("deleted").samples, 1);
    let left = |hours: &[i64]| -> Vec<(i64, Option<f64>)> {
        let stamps = hours.iter().chain(&[1, 2, 3]).map(|&hours| (at(hours), Some(5.0)));
        stamps.collect()
    };
    assert_eq!(stored(&tenant), left(&[1, 3]));
    // The day's rollups are all that is left: the window that the range touches goes.
    for days in [200, 400] {
        machine.clock.set_ms(Timestamp(hour).day().end().0 + days * DAY_MS);
        maintain(&store);
        assert_eq!(stored(&tenant), left(&[1, 3]));
    }
    assert_eq!(tenant.delete(&one(3)).expect("deleted").windows, 1);
    assert_eq!(stored(&tenant), left(&[1]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn promql_over_stored_histograms_is_promql_over_the_same_in_memory(
        steps in prop::collection::vec((1i64..40_000, prop::collection::vec(0u32..6, 0..5), 0u8..10), 1..80),
        delta in any::<bool>(),
        flushes in prop::collection::btree_set(0usize..80, 0..4),
        settles in any::<bool>(),
    ) {
        let machine = Machine::new();
        let store = machine.open();
        let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
        let kind = if delta { SeriesKind::DeltaHistogram } else { SeriesKind::Histogram };
        let mut source = MemorySource::default();
        let set = labels(&[("__name__", "h"), ("series", "0")]);
        let mut time = NOW - HOUR_MS;
        let mut totals = [0u32; 5];
        for (index, (step, grows, fate)) in steps.iter().enumerate() {
            time += step;
            if *fate == 0 || delta {
                totals = [0; 5];
            }
            totals.iter_mut().zip(grows).for_each(|(total, grows)| *total += grows);
            let marker = *fate == 1 && !delta;
            let sample: [(i64, Option<&[u32]>); 1] = [(time, (!marker).then_some(&totals[..]))];
            write_samples(&tenant, &batch(index as u64, "h", kind, &sample)).expect("written");
            let histogram = (!marker).then(|| std::sync::Arc::new(histogram(&totals)));
            let value = f64::from_bits(STALE_NAN_BITS);
            source.add_samples(set.clone(), kind, vec![MemorySample { time, value, histogram, start: 0 }]);
            if flushes.contains(&index) {
                tenant.flush().expect("flushed");
            }
        }
        if settles {
            store.settle().expect("settled");
        }
        for text in [
            "h",
            "rate(h[5m])",
            "increase(h[7m])",
            "histogram_quantile(0.9, sum(rate(h[5m])))",
            "histogram_avg(h)",
            "resets(h[10m])",
            "changes(h[10m])",
            "sum_over_time(h[3m])",
            "h offset 1m",
            "count_over_time(h[10m])",
        ] {
            for at in [NOW - HOUR_MS / 2, time, time + 200_000] {
                let asked = tenant.reader().query(text, Timestamp(at)).expect("answered");
                let (parsed, budget) = (promql::parse(text).expect("valid"), Budget::new(QueryLimits::default()));
                let options = QueryOptions::default();
                let due = promql::instant(&source, &parsed, Timestamp(at), &options, &budget).expect("answered");
                prop_assert_eq!(shown(&asked.value), shown(&due.value), "{} at {}", text, at);
            }
        }
    }
}

fn shown(value: &Value) -> String {
    format!("{value:?}")
}
