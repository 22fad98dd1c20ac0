//! Start times, from a batch to an answer: in the log, the head, blocks and rollups, after merges, deletions and crashes.

mod common;

use std::collections::BTreeMap;

use annals::query::promql::testing::{MemorySample, MemorySource};
use annals::query::promql::{self, QueryOptions};
use annals::vfs::SimCut;
use annals::*;
use common::*;
use proptest::prelude::*;

/// Of each kind a series.
const KINDS: [SeriesKind; 4] =
    [SeriesKind::Counter, SeriesKind::Gauge, SeriesKind::Delta, SeriesKind::Histogram];

/// Per kind and stamp: the value, or the count, its bits; and the start.
type Rows = BTreeMap<(usize, i64), (u64, i64)>;

fn name(kind: usize) -> &'static str {
    KINDS[kind].name()
}

fn set(kind: usize) -> LabelSet {
    labels(&[("__name__", name(kind)), ("series", "0")])
}

fn histogram(count: f64) -> Histogram {
    Histogram { count, sum: count, positive: vec![(1, count)], ..Histogram::default() }.compacted()
}

/// What the store holds.
fn stored(reader: &TenantReader) -> Rows {
    let budget = Budget::new(QueryLimits::default());
    let mut rows = Rows::new();
    for kind in 0..KINDS.len() {
        let matchers = [Matcher::equal("__name__", name(kind))];
        let selected = reader.select(&matchers, TimeRange::ALL, &budget).expect("selected");
        let mut samples = Samples::default();
        for index in 0..selected.len() {
            selected.read(index, &budget, &mut samples).expect("read");
            assert_eq!(samples.missing, []);
            assert!(samples.start_times.is_empty() || samples.start_times.len() == samples.values.len());
            for (at, (&time, &value)) in samples.timestamps.iter().zip(&samples.values).enumerate() {
                let own = samples.histograms.get(at).and_then(Option::as_ref);
                let value = own.map_or(value, |own| own.count);
                let start = samples.start_times.get(at).copied().unwrap_or(START_UNKNOWN);
                rows.insert((kind, time), (value.to_bits(), start));
            }
        }
    }
    rows
}

/// Kind, time, value, start.
type Write = (usize, i64, f64, i64);

fn batch(number: u64, writes: &[Write]) -> SampleBatch {
    let mut batch = SampleBatch::new(batch_id(number), site("host"));
    let series: Vec<u32> = (0..KINDS.len()).map(|kind| batch.series(set(kind), KINDS[kind])).collect();
    for &(kind, time, value, start) in writes {
        let (index, time, start) = (series[kind], Timestamp(time), Timestamp(start));
        match KINDS[kind] {
            SeriesKind::Histogram if is_stale(value) => batch.push(index, time, value),
            SeriesKind::Histogram => batch.push_histogram_since(index, time, histogram(value), start),
            _ => batch.push_since(index, time, value, start),
        }
    }
    batch
}

/// What is left of writes, one after the other.
fn note(rows: &mut Rows, writes: &[Write]) {
    for &(kind, time, value, start) in writes {
        let held = rows.get(&(kind, time)).map_or(0.0, |held| f64::from_bits(held.0));
        let row = match KINDS[kind] {
            SeriesKind::Delta => ((held + value).to_bits(), START_UNKNOWN),
            SeriesKind::Histogram if is_stale(value) => (value.to_bits(), START_UNKNOWN),
            _ => (value.to_bits(), start),
        };
        rows.insert((kind, time), row);
    }
}

fn writes(times: std::ops::Range<i64>) -> impl Strategy<Value = Vec<Write>> {
    let stale = f64::from_bits(STALE_NAN_BITS);
    let value = prop_oneof![20 => (0u32..50).prop_map(f64::from), 1 => Just(stale)];
    let start = prop_oneof![
        4 => Just(-100_000i64),
        2 => Just(i64::MIN),
        2 => -30_000i64..0,
        1 => Just(0i64),
        1 => 1i64..50_000,
    ];
    let write = (0..KINDS.len(), times, value, start).prop_map(move |(kind, step, value, start)| {
        let time = NOW - HOUR_MS + step * 1_000;
        let value = if KINDS[kind] == SeriesKind::Delta && is_stale(value) { 1.0 } else { value };
        let start = match start {
            i64::MIN => START_UNKNOWN,
            // That of the process.
            -100_000 => NOW - HOUR_MS - 100_000 + step / 40 * 40_000,
            start => time + start,
        };
        (kind, time, value, start)
    });
    prop::collection::vec(write, 1..60)
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<Write>),
    Flush,
    Settle,
    /// The power goes, and with it what is not durable.
    Crash,
    /// All kinds but deltas, from one second of the hour to another.
    Delete(i64, i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => writes(0..120).prop_map(Step::Write),
        2 => Just(Step::Flush),
        1 => Just(Step::Settle),
        2 => Just(Step::Crash),
        1 => (0i64..120, 1i64..40).prop_map(|(start, length)| Step::Delete(start, start + length)),
    ];
    prop::collection::vec(step, 1..12)
}

/// The same series in memory.
fn memory(rows: &Rows) -> MemorySource {
    let mut memory = MemorySource::default();
    for (&(kind, time), &(bits, start)) in rows {
        let value = f64::from_bits(bits);
        let is_histogram = KINDS[kind].is_histogram() && !is_stale(value);
        let histogram = is_histogram.then(|| std::sync::Arc::new(histogram(value)));
        memory.add_samples(set(kind), KINDS[kind], vec![MemorySample { time, value, histogram, start }]);
    }
    memory
}

const QUERIES: [&str; 13] = [
    "rate(counter[47s])",
    "rate(gauge[47s])",
    "rate(histogram[47s])",
    "increase(counter[20s])",
    "increase(counter[1h])",
    "irate(counter[1m])",
    "irate(histogram[1m])",
    "sum_over_time(counter[30s])",
    "start_timestamp(counter)",
    "start_timestamp(gauge)",
    "start_timestamp(histogram)",
    "timestamp(gauge)",
    "histogram_count(increase(histogram[10m]))",
];

/// The answers from a source, with what was remarked: at many times, and at one that sees chunks whole.
fn answers(source: &dyn SeriesSource) -> Vec<String> {
    let ask = |(query, start): (&&str, i64)| {
        let (start, end) = (Timestamp(NOW - HOUR_MS + start), Timestamp(NOW - HOUR_MS + 130_000));
        let (options, budget) = (QueryOptions::default(), Budget::default());
        let parsed = promql::parse(query).expect(query);
        let answer = promql::range(source, &parsed, start, end, 7_000, &options, &budget).expect(query);
        format!("{query}: {:?} {:?} {:?}", answer.value, answer.warnings, answer.infos)
    };
    QUERIES.iter().flat_map(|query| [(query, 0), (query, 130_000)]).map(ask).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn each_sample_keeps_the_start_of_its_last_write_whatever_becomes_of_it(steps in steps()) {
        let machine = Machine::new();
        let mut store = machine.open();
        let mut tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
        let mut rows = Rows::new();
        for (number, step) in (0..).zip(&steps) {
            match step {
                Step::Write(writes) => {
                    let taken = write_samples(&tenant, &batch(number, writes)).expect("written");
                    prop_assert_eq!(taken.refused, vec![]);
                    note(&mut rows, &batch_order(writes));
                }
                Step::Flush => drop(tenant.flush().expect("flushed")),
                Step::Settle => drop(store.settle().expect("settled")),
                Step::Crash => {
                    drop((tenant, store));
                    machine.vfs.power_cut(SimCut::Nothing);
                    store = machine.open();
                    tenant = store.tenant(&id("acme")).expect("opened");
                }
                &Step::Delete(start, end) => {
                    let at = |second| Timestamp(NOW - HOUR_MS + second * 1_000);
                    let range = TimeRange::new(at(start), at(end));
                    let matchers = vec![Matcher::new("__name__", MatchOp::NotEqual, "delta").expect("valid")];
                    let deletion = Deletion { matchers, range, metrics: true, signals: false };
                    tenant.delete(&deletion).expect("deleted");
                    rows.retain(|&(kind, time), _| {
                        KINDS[kind] == SeriesKind::Delta || !range.contains(Timestamp(time))
                    });
                }
            }
            prop_assert_eq!(&stored(&tenant.reader()), &rows, "after {:?}", step);
        }
        prop_assert_eq!(answers(&tenant.reader()), answers(&memory(&rows)));
        drop((tenant, store));
        let beside = machine.read_only().tenant(&id("acme")).expect("there");
        prop_assert_eq!(stored(&beside), rows, "read-only");
        let verified = verify(std::sync::Arc::new(machine.vfs.clone()), "/data".as_ref()).expect("verified");
        prop_assert!(verified.findings.is_empty(), "{:?}", verified.findings);
    }

    #[test]
    fn p5_increases_over_sealed_days_equal_those_over_raw_for_aligned_windows(
        samples in prop::collection::vec(
            (prop_oneof![9 => 1i64..1_000, 1 => 1i64..DAY_MS / 2_000], 0u32..50, 0u8..6),
            1..200,
        ),
        flushed in any::<bool>(),
    ) {
        let machine = Machine::new();
        let store = machine.open();
        let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
        let day = Timestamp(NOW - DAY_MS).day();
        let (mut time, mut process) = (day.range().start.0, day.range().start.0 - 1_000);
        let mut all: Vec<Write> = Vec::new();
        for &(gap, value, fate) in &samples {
            let before = time;
            time += gap * 500;
            if fate == 0 {
                process = (before + time) / 2;
            }
            let start = match fate {
                1 => before,
                2 => START_UNKNOWN,
                _ => process,
            };
            if time <= day.end().0 {
                all.extend([(0, time, f64::from(value), start), (3, time, f64::from(value), start)]);
            }
        }
        prop_assume!(!all.is_empty());
        for (number, part) in (0..).zip(all.chunks(all.len().div_ceil(3))) {
            write_samples(&tenant, &batch(number, part)).expect("written");
            if flushed {
                tenant.flush().expect("flushed");
            }
        }
        let ask = || {
            let hours = |text: &str| {
                let start = Timestamp(day.range().start.0 + HOUR_MS);
                let answer = tenant.reader().query_range(text, start, day.end(), HOUR_MS).expect("answered");
                let promql::Value::Matrix(series) = answer.value else { panic!("a range") };
                let points = series.iter().flat_map(|one| one.points.iter());
                let points: Vec<(i64, u64)> = points.map(|(time, value)| (time.0, value.to_bits())).collect();
                // That starts overlap is known of windows too.
                (points, answer.warnings)
            };
            ["increase(counter[1h])", "rate(counter[1h])", "increase(counter[3h])"].map(hours)
        };
        // What buckets grew by: extrapolation looks at how many samples there were.
        let grown = || {
            let rows = stored(&tenant.reader());
            let of_hour = |time: i64| window_end(time, HOUR_MS);
            let mut grown: BTreeMap<i64, f64> = BTreeMap::new();
            let histograms: Vec<_> = rows.iter().filter(|((kind, _), _)| *kind == 3).collect();
            for pair in histograms.windows(2) {
                let [((_, before), (was, begun)), ((_, time), (is, start))] = pair else { continue };
                if of_hour(*before) == of_hour(*time) {
                    let (was, is) = (f64::from_bits(*was), f64::from_bits(*is));
                    let anew = is < was || starts_anew((*before, *begun), (*time, *start));
                    *grown.entry(of_hour(*time)).or_default() += if anew { is } else { is - was };
                }
            }
            grown.retain(|_, grown| *grown != 0.0);
            grown
        };
        let (raw, raw_grown) = (ask(), grown());
        for days in [2, 91, 401] {
            machine.clock.set_ms(day.end().0 + days * DAY_MS);
            prop_assert_eq!(&ask(), &raw, "{} days, before maintenance", days);
            prop_assert_eq!(&grown(), &raw_grown, "{} days, before maintenance", days);
            store.settle().expect("settled");
            while store.maintenance_step().expect("maintenance works").is_some() {}
            prop_assert_eq!(&ask(), &raw, "{} days", days);
            prop_assert_eq!(&grown(), &raw_grown, "{} days", days);
        }
        // A window that goes leaves the others as they were.
        let mut left = stored(&tenant.reader());
        let gone = left.keys().next().map_or(0, |&(_, time)| window_end(time, HOUR_MS));
        let range = TimeRange::new(Timestamp(gone - HOUR_MS), Timestamp(gone));
        let deletion = Deletion { matchers: Vec::new(), range, metrics: true, signals: false };
        prop_assert!(tenant.delete(&deletion).expect("deleted").windows > 0);
        left.retain(|&(_, time), _| !range.contains(Timestamp(time)));
        prop_assert_eq!(stored(&tenant.reader()), left);
    }
}

/// Numbers come before histograms, as records of a batch do.
fn batch_order(writes: &[Write]) -> Vec<Write> {
    let is_histogram = |write: &&Write| KINDS[write.0].is_histogram() && !is_stale(write.2);
    let numbers = writes.iter().filter(|write| !is_histogram(write));
    numbers.chain(writes.iter().filter(is_histogram)).copied().collect()
}

#[test]
fn a_sample_that_is_written_again_without_its_start_has_none() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    let with = [(0, NOW, 1.0, NOW - 5), (0, NOW + 9, 2.0, NOW - 5), (3, NOW, 1.0, NOW - 5)];
    write_samples(&tenant, &batch(1, &with)).expect("written");
    let without =
        SampleBatch { sample_starts: vec![], histogram_starts: vec![], ..batch(2, &[with[0], with[2]]) };
    write_samples(&tenant, &without).expect("written");
    let of = |value: f64, start| (value.to_bits(), start);
    let left = Rows::from([
        ((0, NOW), of(1.0, START_UNKNOWN)),
        ((0, NOW + 9), of(2.0, NOW - 5)),
        ((3, NOW), of(1.0, START_UNKNOWN)),
    ]);
    assert_eq!(stored(&tenant.reader()), left);
    tenant.flush().expect("flushed");
    assert_eq!(stored(&tenant.reader()), left);
}

#[test]
fn a_start_that_would_look_like_a_restart_is_not_shown_of_a_window() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    // From the third sample on a sender says when it saw the counter first: that is no restart.
    let hour = window_end(NOW, HOUR_MS) - HOUR_MS;
    let (first, second) = (hour + 1_000, hour + 2_000);
    let samples =
        [(0, first, 1.0, 0), (0, second, 2.0, 0), (0, second + 1, 3.0, second), (0, second + 2, 9.0, second)];
    write_samples(&tenant, &batch(1, &samples)).expect("written");
    machine.clock.set_ms(Timestamp(hour).day().end().0 + 401 * DAY_MS);
    store.settle().expect("settled");
    while store.maintenance_step().expect("maintenance works").is_some() {}
    let of = |value: f64| (value.to_bits(), START_UNKNOWN);
    let left = Rows::from([((0, first), of(1.0)), ((0, second + 2), of(9.0))]);
    assert_eq!(stored(&tenant.reader()), left);
    // Looked at from within the hour, so by these samples.
    let at = Timestamp(second + 500_000);
    assert_eq!(number(&tenant.reader(), "irate(counter[20m])", at), 8.0 / 1.002);
}

#[test]
fn a_batch_with_another_start_is_another_batch() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    let one = |start| batch(1, &[(0, NOW, 5.0, start), (3, NOW, 5.0, start)]);
    assert!(!write_samples(&tenant, &one(NOW - 9)).expect("written").duplicate);
    assert!(write_samples(&tenant, &one(NOW - 9)).expect("answered").duplicate);
    assert!(matches!(write_samples(&tenant, &one(NOW - 8)), Err(WriteError::Conflict { .. })));
}

#[test]
fn a_start_that_no_calendar_has_is_refused_with_its_sample() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    let writes =
        [(0, NOW, 1.0, i64::MAX), (0, NOW + 1, 2.0, NOW), (3, NOW, 1.0, i64::MIN), (2, NOW, 1.0, i64::MIN)];
    let taken = write_samples(&tenant, &batch(1, &writes)).expect("answered");
    let refused: Vec<(usize, RefusalReason)> =
        taken.refused.iter().map(|(index, refusal)| (*index, refusal.reason)).collect();
    assert_eq!(refused, [(0, RefusalReason::OutOfBounds), (3, RefusalReason::OutOfBounds)]);
    let bits = |value: f64| value.to_bits();
    let expected = [((0, NOW + 1), (bits(2.0), NOW)), ((2, NOW), (bits(1.0), START_UNKNOWN))];
    assert_eq!(stored(&tenant.reader()), Rows::from(expected));
}
