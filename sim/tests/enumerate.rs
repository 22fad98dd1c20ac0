//! A slice of each enumeration; `cargo run --release -p annals-sim -- crash` (double, errors, space, sequences) runs one
//! whole. And what a recovery must do that no crash point shows: replays that are larger than memory.

use annals::query::promql::Value;
use annals::{
    BatchId, LabelSet, Options, Plan, SampleBatch, SeriesKind, SiteName, Tenant, TenantId, TenantReader,
    Ticket, Timestamp,
};
use annals_sim::campaign::Size;
use annals_sim::world::{Machine, NOW};

/// Runs a part of a campaign.
fn slice(campaign: &str, states: u64) {
    let named = annals_sim::campaigns().find(|named| named.name == campaign);
    let report = (named.expect("there is one of that name").run)(&Size::new(Some(states), 1, None));
    println!("{report}");
    assert!(report.failures.is_empty(), "{report}\n{}", report.failures.join("\n"));
    assert!(report.states >= states, "{report}");
}

#[test]
fn every_crash_point_of_a_slice_recovers_what_was_acknowledged_once() {
    slice("crash", 20_000);
}

#[test]
fn a_crash_in_a_recovery_changes_nothing() {
    slice("double", 1_200);
}

#[test]
fn every_error_of_a_slice_is_survived_by_the_store_that_saw_it() {
    slice("errors", 400);
}

#[test]
fn a_disk_that_is_too_small_refuses_and_goes_on() {
    slice("space", 120);
}

#[test]
fn every_crash_point_of_some_sequences_recovers() {
    slice("sequences", 2_000);
}

fn store_with(machine: &Machine, batches: impl Iterator<Item = SampleBatch>) {
    let store = machine.open().expect("it opens");
    let plan = Plan::built_in("enterprise").expect("built in");
    let tenant = store.create_tenant(&id(), plan).expect("created");
    for batch in batches {
        tenant.write_samples(&batch).and_then(Ticket::wait).expect("written");
    }
}

fn id() -> TenantId {
    TenantId::new("acme").expect("valid")
}

/// One sample of a gauge `m{series="i"}` for each of some series.
fn gauges(number: u64, series: std::ops::Range<u64>) -> SampleBatch {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.to_le_bytes());
    let mut batch = SampleBatch::new(BatchId(id), SiteName::new("host").expect("valid"));
    for i in series {
        let labels = LabelSet::from_pairs([("__name__", "m"), ("series", &i.to_string())]).expect("valid");
        let series = batch.series(labels, SeriesKind::Gauge);
        // A stamp of its own, so that heads grow with each batch.
        batch.push(series, Timestamp(NOW - 1_000 * number as i64), number as f64);
    }
    batch
}

/// How many series of `m` there are.
fn count(reader: &TenantReader) -> f64 {
    match reader.query("count(m)", Timestamp(NOW)).expect("answered").value {
        Value::Vector(vector) => vector.first().and_then(|one| one.2.float()).unwrap_or(0.0),
        other => panic!("{other:?}"),
    }
}

/// The same disk, on a machine that has so many bytes for heads.
fn smaller(machine: &Machine, head_bytes_max: usize) -> Machine {
    Machine { options: Options { head_bytes_max, ..machine.options.clone() }, ..machine.fork() }
}

fn acme(store: &annals::Annals) -> Tenant {
    store.tenant(&id()).expect("there")
}

#[test]
fn a_log_larger_than_memory_is_replayed_into_blocks() {
    let machine = Machine::new(Options { log_bytes_max: 8 << 20, ..Options::default() });
    store_with(&machine, (0..120).map(|n| gauges(n, 0..40)));
    let small = smaller(&machine, 20_000);
    for _ in 0..2 {
        // The second time, records that are in blocks are not counted again, and still say what their series are.
        let store = small.open().expect("it opens");
        let tenant = acme(&store);
        assert!(tenant.summary().metric_blocks > 2, "blocks were made while the log was read");
        assert_eq!(count(&tenant.reader()), 40.0);
        let retried = tenant.write_samples(&gauges(7, 0..40)).and_then(Ticket::wait).expect("answered");
        assert!(retried.duplicate);
    }
}

#[test]
fn series_that_fill_the_memory_by_themselves_do_not_make_a_block_of_each_record() {
    let machine = Machine::new(Options { log_bytes_max: 8 << 20, ..Options::default() });
    store_with(&machine, (0..200).map(|n| gauges(n, n..n + 1)));
    let store = smaller(&machine, 10_000).open().expect("it opens");
    let blocks = acme(&store).summary().metric_blocks;
    assert!((2..50).contains(&blocks), "{blocks} blocks");
    assert_eq!(count(&acme(&store).reader()), 200.0);
}

#[test]
fn series_that_a_replay_has_made_blocks_of_do_not_keep_writes_out() {
    let machine = Machine::new(Options { log_bytes_max: 8 << 20, ..Options::default() });
    store_with(&machine, std::iter::empty());
    let store = machine.open().expect("it opens");
    for n in 0..60 {
        acme(&store).write_samples(&gauges(n, n..n + 1)).and_then(Ticket::wait).expect("written");
        let small = smaller(&machine, 2_000);
        let store = small.open().expect("it opens");
        while store.maintenance_step().expect("nothing fails").is_some() {}
        let written = acme(&store).write_samples(&gauges(1_000, 0..1)).and_then(Ticket::wait);
        written.unwrap_or_else(|error| panic!("after {n}: {error}"));
    }
}
