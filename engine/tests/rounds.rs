//! Whose turn it is in background work, with many tenants.

mod common;

use annals::*;
use common::*;

const TENANTS: usize = 100;

fn tenants(store: &Annals, plan_name: &str) -> Vec<Tenant> {
    let create = |n: usize| store.create_tenant(&id(&format!("t{n:03}")), plan(plan_name)).expect("created");
    (0..TENANTS).map(create).collect()
}

/// A day of every tenant in a block, that is owed its rollups.
fn owing_seals(machine: &Machine, store: &Annals) -> Vec<Tenant> {
    let tenants = tenants(store, "enterprise");
    for tenant in &tenants {
        write_samples(tenant, &gauges(1, "m", &[(0, NOW, 1.0)])).expect("written");
        tenant.flush().expect("flushed");
    }
    machine.clock.advance_ms(4 * DAY_MS as u64);
    tenants
}

fn step(store: &Annals) -> Done {
    store.maintenance_step().expect("nothing fails").expect("there is work")
}

/// What is done until there is nothing to do.
fn maintain(store: &Annals) -> Vec<Done> {
    std::iter::from_fn(|| store.maintenance_step().expect("nothing fails")).collect()
}

fn sealed(done: &[Done]) -> usize {
    done.iter().filter(|done| matches!(done, Done::Sealed { .. })).count()
}

#[test]
fn all_that_is_owed_is_done_before_there_is_nothing_to_do() {
    let machine = Machine::new();
    let store = machine.open();
    let tenants = owing_seals(&machine, &store);
    assert_eq!(sealed(&maintain(&store)), TENANTS);
    assert_eq!(maintain(&store), []);
    for tenant in &tenants {
        assert_eq!(number(&tenant.reader(), "sum_over_time(m[1d])", Timestamp(NOW + HOUR_MS)), 1.0);
    }
}

#[test]
fn what_becomes_urgent_waits_for_few_pieces_of_what_is_not() {
    let machine = Machine::new();
    let store = machine.open();
    let tenants = owing_seals(&machine, &store);
    let effective = tenants[70].change_plan(plan("starter")).expect("asked for");
    for _ in 0..5 {
        assert!(matches!(step(&store), Done::Sealed { .. }));
    }
    machine.clock.set_ms(effective.0);
    let changed = maintain(&store).iter().position(|done| matches!(done, Done::PlanChanged { .. }));
    assert!(changed.is_some_and(|at| at <= 32), "{changed:?}");
}

#[test]
fn a_head_over_the_budget_is_flushed_at_once() {
    let options = Options { head_bytes_max: 400_000, ..Machine::new().options };
    let machine = Machine { options, ..Machine::new() };
    let store = machine.open();
    let tenants = owing_seals(&machine, &store);
    let times: Vec<i64> = (0..20).map(|i| machine.now().0 - i).collect();
    for tenant in [&tenants[40], &tenants[20]] {
        assert!(matches!(step(&store), Done::Sealed { .. }));
        let full = |n: &u64| {
            matches!(write_signals(tenant, &attempts(*n, &times)), Err(WriteError::Overloaded { .. }))
        };
        (10..).find(full).expect("in the end");
        let done = step(&store);
        assert!(matches!(&done, Done::Flushed { tenant: of, .. } if of == tenant.id()), "{done:?}");
    }
    assert!(matches!(step(&store), Done::Sealed { .. }), "and nobody else is");
}

#[test]
fn heads_over_the_budget_are_flushed_the_largest_first_and_one_after_the_other() {
    let options = Options { head_bytes_max: 400_000, ..Machine::new().options };
    let machine = Machine { options, ..Machine::new() };
    let store = machine.open();
    let tenants = tenants(&store, "archive");
    let times: Vec<i64> = (0..20).map(|i| NOW - i).collect();
    let is_full = |tenant: usize, n: u64| {
        let written = write_signals(&tenants[tenant], &attempts(n, &times));
        matches!(written, Err(WriteError::Overloaded { .. }))
    };
    let all = |n: &u64| {
        let full = is_full(40, *n) || is_full(20, *n) || is_full(30, *n);
        full || (n.is_multiple_of(8) && is_full(40, 1_000 + *n))
    };
    (0..).find(all).expect("in the end");
    let largest = step(&store);
    assert!(matches!(&largest, Done::Flushed { tenant, .. } if tenant == tenants[40].id()), "{largest:?}");
    assert!(!is_full(40, 2_000));
    let next = step(&store);
    assert!(matches!(&next, Done::Flushed { tenant, .. } if tenant != tenants[40].id()), "{next:?}");
}

#[test]
fn a_log_that_is_half_full_is_let_go_at_once() {
    let options = Options { log_bytes_max: 512 << 10, ..Machine::new().options };
    let machine = Machine { options, ..Machine::new() };
    let store = machine.open();
    let tenants = owing_seals(&machine, &store);
    let times: Vec<i64> = (0..200).map(|i| machine.now().0 - i).collect();
    assert!(matches!(step(&store), Done::Sealed { .. }));
    for n in 10.. {
        match write_signals(&tenants[80], &attempts(n, &times)) {
            Ok(_) => {}
            Err(WriteError::Overloaded { .. }) => break,
            Err(other) => panic!("{other}"),
        }
    }
    let done = step(&store);
    assert!(matches!(&done, Done::Flushed { tenant, .. } if tenant == tenants[80].id()), "{done:?}");
    write_signals(&tenants[80], &attempts(9, &times)).expect("there is room again");
}

#[test]
fn tenants_in_trouble_keep_no_other_waiting() {
    let machine = Machine::new();
    let store = machine.open();
    let tenants = tenants(&store, "enterprise");
    for tenant in &tenants {
        write_samples(tenant, &gauges(1, "m", &[(0, NOW, 1.0)])).expect("written");
    }
    let (last, troubled) = tenants.split_last().expect("some");
    for tenant in troubled {
        // The directories of the block and of drafts, then the manifest's.
        machine.vfs.fail(vfs::SimFault::once(vfs::SimCalls::Of(vfs::SimOp::SyncDir), 2, vfs::SimError::Io));
        let error = tenant.flush().expect_err("not known to be durable");
        assert!(matches!(error, MaintenanceError::Indeterminate { .. }), "{error}");
    }
    machine.clock.advance_ms(4 * DAY_MS as u64);
    let done: Vec<Done> = std::iter::from_fn(|| store.maintenance_step().ok().flatten()).collect();
    assert!(
        matches!(&done[..], [Done::Flushed { tenant, .. }, Done::Sealed { .. }] if tenant == last.id()),
        "{done:?}"
    );
    let error = store.maintenance_step().expect_err("the others are told of");
    assert!(matches!(error, MaintenanceError::Suspended { .. }), "{error}");
}

#[test]
fn what_a_host_has_flushed_meanwhile_is_not_flushed_again() {
    let machine = Machine::new();
    let store = machine.open();
    let tenants = tenants(&store, "archive");
    for tenant in &tenants[..3] {
        write_samples(tenant, &gauges(1, "m", &[(0, NOW, 1.0)])).expect("written");
    }
    machine.clock.advance_ms(DAY_MS as u64);
    let first = step(&store);
    assert!(matches!(&first, Done::Flushed { tenant, .. } if tenant == tenants[0].id()), "{first:?}");
    tenants[1].flush().expect("flushed");
    for tenant in &tenants[..2] {
        write_samples(tenant, &gauges(2, "m", &[(0, machine.now().0, 2.0)])).expect("written");
    }
    let flushed = maintain(&store).into_iter().filter_map(|done| match done {
        Done::Flushed { tenant, .. } => Some(tenant),
        _ => None,
    });
    assert_eq!(flushed.collect::<Vec<_>>(), [tenants[2].id().clone()]);
}

#[test]
fn the_space_of_what_was_merged_is_free_before_the_next_merge() {
    let machine = Machine::new();
    let store = machine.open();
    let tenants = tenants(&store, "archive");
    for n in 0..4 {
        for tenant in &tenants[..10] {
            write_samples(tenant, &gauges(n, "m", &[(0, NOW + n as i64, 1.0)])).expect("written");
            tenant.flush().expect("flushed");
        }
    }
    let done = maintain(&store);
    assert_eq!(done.len(), 20, "{done:?}");
    for pair in done.chunks(2) {
        assert!(
            matches!(pair, [Done::Merged { .. }, Done::Removed { files }] if files.len() == 4),
            "{pair:?}"
        );
    }
}

#[test]
fn a_tenant_that_is_erased_within_a_round_is_no_trouble() {
    let machine = Machine::new();
    let store = machine.open();
    let tenants = owing_seals(&machine, &store);
    assert!(matches!(step(&store), Done::Sealed { .. }));
    for tenant in &tenants[5..10] {
        store.erase_tenant(tenant.id()).expect("erased");
    }
    let done = maintain(&store);
    assert_eq!(sealed(&done), TENANTS - 6);
    assert_eq!(done.iter().filter(|done| matches!(done, Done::Erased { .. })).count(), 5);
    // Nor where the host has done all that was left of the round.
    machine.clock.advance_ms(100 * DAY_MS as u64);
    assert!(matches!(step(&store), Done::Dropped { .. }));
    store.erase_tenant(tenants[11].id()).expect("erased");
    store.settle().expect("settled");
    assert_eq!(maintain(&store), []);
}

#[test]
fn the_log_lets_go_as_soon_as_nobody_needs_its_oldest_segment() {
    let options = Options { log_bytes_max: 512 << 10, ..Machine::new().options };
    let machine = Machine { options, ..Machine::new() };
    let store = machine.open();
    let tenants = tenants(&store, "archive");
    let times: Vec<i64> = (0..200).map(|i| NOW - i).collect();
    let segments = || machine.vfs.paths().iter().filter(|path| path.starts_with("/data/wal")).count();
    // All of them need the first segment, four of them the following ones too.
    for (n, tenant) in tenants.iter().enumerate() {
        write_signals(tenant, &attempts(n as u64, &[NOW])).expect("written");
    }
    let fill = |tenant: &Tenant, mut n: u64| {
        let before = segments();
        while segments() < before + 2 {
            n += 1;
            write_signals(tenant, &attempts(n, &times)).expect("written");
        }
    };
    fill(&tenants[0], 1_000);
    let full = segments();
    for tenant in &tenants[..98] {
        tenant.flush().expect("flushed");
        assert_eq!(segments(), full, "two need the first one");
    }
    store.erase_tenant(tenants[99].id()).expect("erased");
    fill(&tenants[0], 2_000);
    let fuller = segments();
    assert_eq!(fuller, full + 2, "one needs it");
    tenants[98].flush().expect("flushed");
    assert_eq!(segments(), fuller - full + 1, "what nobody needs is gone");
    tenants[0].flush().expect("flushed");
    assert!(segments() <= 2, "{}", segments());
}
