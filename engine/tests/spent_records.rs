//! Records whose data is in blocks stay in the log for a while: what becomes of them then concerns nobody.

mod common;

use annals::vfs::SimVfs;
use annals::{TenantReader, Timestamp};
use common::{Machine, NOW, gauges, id, plan, write_samples};

/// The payload of the first record: its segment's header and its own come before.
const FIRST_PAYLOAD: u64 = 4096 + 32 + 8;

fn damage_of_first_record(vfs: &SimVfs) {
    let segments = vfs.paths().into_iter().filter(|path| path.starts_with("/data/wal"));
    let first = segments.min().expect("a log");
    vfs.corrupt(first, FIRST_PAYLOAD, 1).expect("long enough");
}

/// How many samples a tenant answers, and how many parts it says are missing.
fn answer(reader: &TenantReader) -> (f64, usize) {
    let answer = reader.query("sum(count_over_time(cpu[1d]))", Timestamp(NOW)).expect("answered");
    let missing = answer.coverage.iter().map(|coverage| coverage.missing.len()).sum();
    match answer.value {
        annals::query::promql::Value::Vector(vector) => {
            (vector.first().and_then(|one| one.2.float()).unwrap_or(0.0), missing)
        }
        other => panic!("{other:?}"),
    }
}

/// One record that is in a block, one that is not; and another tenant with the same or, where it is not flushed, none.
fn machine(flush_other: bool) -> Machine {
    let machine = Machine::new();
    let store = machine.open();
    // Both before any record: a tenant needs none of those from before its creation.
    let [tenant, other] =
        ["ada", "bob"].map(|name| store.create_tenant(&id(name), plan("archive")).expect("created"));
    for tenant in [&tenant, &other] {
        write_samples(tenant, &gauges(1, "cpu", &[(0, NOW - 60_000, 1.0)])).expect("written");
    }
    tenant.flush().expect("flushed");
    if flush_other {
        other.flush().expect("flushed");
    }
    write_samples(&tenant, &gauges(2, "cpu", &[(0, NOW - 30_000, 2.0)])).expect("written");
    store.close().expect("closed");
    machine
}

#[test]
fn damage_of_a_record_that_is_in_blocks_is_found_and_is_no_loss() {
    let machine = machine(true);
    damage_of_first_record(&machine.vfs);
    let read_only = machine.read_only();
    assert_eq!(answer(&read_only.tenant(&id("ada")).expect("served")), (2.0, 0));
    let store = machine.open();
    assert!(store.recovery().findings.iter().any(|finding| finding.contains("payload")), "it is named");
    assert_eq!(store.recovery().lost, []);
    assert_eq!(answer(&store.tenant(&id("ada")).expect("served").reader()), (2.0, 0));
    assert_eq!(answer(&store.tenant(&id("bob")).expect("served").reader()), (1.0, 0));
}

#[test]
fn damage_of_a_record_that_another_tenant_may_need_is_said_by_every_answer() {
    let machine = machine(false);
    damage_of_first_record(&machine.vfs);
    let read_only = machine.read_only();
    assert_eq!(answer(&read_only.tenant(&id("ada")).expect("served")).1, 1);
    let store = machine.open();
    assert_eq!(store.recovery().lost.len(), 1);
    assert_eq!(answer(&store.tenant(&id("ada")).expect("served").reader()).1, 1);
}
