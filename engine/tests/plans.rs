//! P6: retention is the plan's, explains itself, and can be previewed; a plan that keeps less can be undone until its date.

mod common;

use annals::*;
use common::*;

fn maintain(store: &Annals) {
    while store.maintenance_step().expect("maintenance works").is_some() {}
}

fn with_signals(machine: &Machine, name: &str) -> (Annals, Tenant) {
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan(name)).expect("created");
    write_signals(&tenant, &attempts(1, &[NOW])).expect("written");
    tenant.flush().expect("flushed");
    (store, tenant)
}

fn count(tenant: &Tenant) -> f64 {
    number(&tenant.reader(), "sum(increase(auth_attempts[1h]))", Timestamp(window_end(NOW, HOUR_MS)))
}

fn blocks(machine: &Machine) -> usize {
    machine.vfs.paths().iter().filter(|path| path.extension().is_some_and(|e| e == "blk")).count()
}

#[test]
fn p6_each_block_says_by_which_rule_and_when_it_goes() {
    let machine = Machine::new();
    let (store, tenant) = with_signals(&machine, "starter");
    let day = Timestamp(NOW).day();
    let told = |retention: &Retention| -> Vec<(String, Option<i64>, BlockState)> {
        let days = |due: Timestamp| (due.0 - day.end().0) / DAY_MS;
        retention
            .blocks()
            .iter()
            .map(|kept| (kept.rule.to_string(), kept.due.map(days), kept.state))
            .collect()
    };
    let expected = |state| {
        vec![
            ("raw metrics are kept 7 days".to_owned(), Some(7), BlockState::Live),
            ("raw signals are kept 1 day".to_owned(), Some(1), state),
        ]
    };
    assert_eq!(told(&tenant.retention()), expected(BlockState::Live));
    assert_eq!(tenant.retention().lag_ms(), 0);
    machine.clock.set_ms(day.end().0 + DAY_MS + HOUR_MS);
    assert_eq!(told(&tenant.retention()), expected(BlockState::Due));
    assert_eq!(tenant.retention().lag_ms(), HOUR_MS);
    let beside = machine.read_only();
    assert_eq!(told(beside.retention(&id("acme")).expect("there")), expected(BlockState::Due));
    maintain(&store);
    assert_eq!(tenant.retention().lag_ms(), 0);
    assert!(tenant.retention().blocks().iter().all(|kept| kept.state == BlockState::Live));
}

#[test]
fn p6_a_plan_that_keeps_more_rescues_what_is_not_due_yet_and_nothing_that_was() {
    let machine = Machine::new();
    let (store, tenant) = with_signals(&machine, "starter");
    let due = Timestamp(NOW).day().end().0 + 7 * DAY_MS;
    machine.clock.set_ms(due - 1);
    maintain(&store);
    let preview = tenant.retention().preview(&plan("professional"));
    assert_eq!(preview.effective, machine.now());
    assert!(preview.blocks.iter().all(|(old, new)| old.due < new.due), "{preview:?}");
    assert_eq!(tenant.change_plan(plan("professional")).expect("changed"), machine.now());
    machine.clock.set_ms(due + 5 * DAY_MS);
    maintain(&store);
    assert_eq!((count(&tenant), raw_signals(&tenant.reader())), (1.0, 0), "signals were due before");
    drop((tenant, store));
    let store = machine.open();
    let tenant = store.tenant(&id("acme")).expect("there");
    assert_eq!(tenant.summary().plan.map(|plan| plan.name).as_deref(), Some("professional"));
    machine.clock.set_ms(Timestamp(NOW).day().end().0 + 30 * DAY_MS);
    assert_eq!(count(&tenant), 0.0);
    maintain(&store);
    // What has expired does not come back by any plan.
    tenant.change_plan(plan("archive")).expect("changed");
    assert_eq!((count(&tenant), blocks(&machine)), (0.0, 0));
}

#[test]
fn p6_another_plan_hides_no_hours_loses_no_rollup_that_is_owed_and_brings_nothing_back() {
    let tier = |resolution, days| Tier { resolution, keep: Keep::Days(days) };
    let tiers = vec![tier(Resolution::Raw, 2), tier(Resolution::Hour, 9)];
    let signals_keep = Keep::Days(1);
    let hours = Plan { name: "hours".to_owned(), tiers, signals_keep, ..plan("enterprise") };
    let day = Timestamp(NOW).day();
    for (days, is_shown) in [(3, 1.0), (10, 0.0)] {
        // With another tier, and with raw metrics that are kept as long as hours.
        for (name, swept) in
            ["enterprise", "professional"].into_iter().flat_map(|name| [(name, false), (name, true)])
        {
            let case = format!("{days} days, then {name}, swept: {swept}");
            let machine = Machine::new();
            let store = machine.open();
            let tenant = store.create_tenant(&id("acme"), hours.clone()).expect("created");
            write_signals(&tenant, &attempts(1, &[NOW])).expect("written");
            tenant.flush().expect("flushed");
            machine.clock.set_ms(day.end().0 + days * DAY_MS);
            if swept {
                maintain(&store);
            }
            assert_eq!(count(&tenant), is_shown, "{case}");
            assert_eq!(tenant.change_plan(plan(name)).expect("changed"), machine.now());
            assert_eq!(count(&tenant), is_shown, "{case}, under the other plan");
            maintain(&store);
            assert_eq!(count(&tenant), is_shown, "{case}, maintained");
        }
    }
}

#[test]
fn p6_a_plan_that_keeps_less_waits_can_be_undone_and_then_takes_effect_whole() {
    let machine = Machine::new();
    let (store, tenant) = with_signals(&machine, "enterprise");
    machine.clock.advance_ms(20 * DAY_MS as u64);
    maintain(&store);
    let before = blocks(&machine);
    let effective = tenant.change_plan(plan("starter")).expect("changed");
    assert_eq!(effective, machine.now().saturating_add(PLAN_GRACE_MS));
    assert_eq!(
        tenant.retention().next_plan().map(|(at, plan)| (*at, plan.name.as_str())),
        Some((effective, "starter"))
    );
    machine.clock.set_ms(effective.0 - 1);
    maintain(&store);
    assert_eq!((count(&tenant), blocks(&machine)), (1.0, before), "nothing goes by it before its date");
    assert_eq!(tenant.undo_plan().expect("undone").map(|plan| plan.name).as_deref(), Some("starter"));
    assert_eq!(tenant.undo_plan().expect("nothing to undo"), None);
    machine.clock.set_ms(effective.0 + DAY_MS);
    maintain(&store);
    assert_eq!((count(&tenant), blocks(&machine)), (1.0, before));
    // Once more, and not undone; the store is closed meanwhile.
    let effective = tenant.change_plan(plan("starter")).expect("changed");
    drop((tenant, store));
    machine.clock.set_ms(effective.0);
    let store = machine.open();
    let tenant = store.tenant(&id("acme")).expect("there");
    maintain(&store);
    assert_eq!((count(&tenant), blocks(&machine)), (0.0, 0));
    assert_eq!(tenant.summary().plan.map(|plan| plan.name).as_deref(), Some("starter"));
}

#[test]
fn p6_a_plan_that_makes_no_sense_changes_nothing() {
    let machine = Machine::new();
    let (_store, tenant) = with_signals(&machine, "starter");
    let mut wrong = plan("enterprise");
    wrong.tiers.swap(0, 1);
    assert!(matches!(tenant.change_plan(wrong), Err(TenantError::Plan(_))));
    assert_eq!(tenant.summary().plan.map(|plan| plan.name).as_deref(), Some("starter"));
}

#[test]
fn p6_with_a_sweep_a_day_nothing_is_ever_overdue_by_more_than_a_block_span() {
    let machine = Machine::new();
    let store = machine.open();
    let tenants: Vec<Tenant> = Plan::BUILT_IN
        .iter()
        .map(|name| store.create_tenant(&id(name), plan(name)).expect("created"))
        .collect();
    let mut lag_max = 0;
    for day in 0..120 {
        for (number, tenant) in tenants.iter().enumerate() {
            let batch = attempts(day * 10 + number as u64, &[machine.now().0]);
            write_signals(tenant, &batch).expect("written");
        }
        machine.clock.advance_ms(DAY_MS as u64);
        lag_max = tenants.iter().map(|tenant| tenant.retention().lag_ms()).max().unwrap_or(0).max(lag_max);
        maintain(&store);
        assert!(tenants.iter().all(|tenant| tenant.retention().lag_ms() == 0), "day {day}");
    }
    assert!(0 < lag_max && lag_max <= DAY_MS, "{lag_max}");
    let of =
        |name: &str| tenants.iter().find(|tenant| tenant.id().as_str() == name).expect("there").summary();
    assert!(of("starter").metric_blocks <= 9 && of("starter").signal_blocks <= 3);
    assert_eq!(of("archive").metric_blocks, 120);
    assert!(of("enterprise").rollup_blocks > 200 && of("enterprise").metric_blocks <= 93);
}

#[test]
fn p6_a_clock_that_jumps_by_years_deletes_nothing_until_it_is_confirmed() {
    let machine = Machine::new();
    let (store, tenant) = with_signals(&machine, "starter");
    let before = blocks(&machine);
    // While it runs, and over a restart.
    machine.clock.set_ms(NOW + 5 * 365 * DAY_MS);
    maintain(&store);
    tenant.flush().expect("flushed");
    assert_eq!((blocks(&machine), count(&tenant)), (before, 0.0), "hidden, and there");
    let suspect = |store: &Annals| {
        store.troubles().iter().any(|trouble| matches!(trouble, Trouble::ClockSuspect { .. }))
    };
    assert!(suspect(&store));
    drop((tenant, store));
    let store = machine.open();
    maintain(&store);
    assert!(suspect(&store) && blocks(&machine) == before);
    machine.clock.set_ms(NOW + HOUR_MS);
    let tenant = store.tenant(&id("acme")).expect("there");
    assert_eq!((count(&tenant), raw_signals(&tenant.reader())), (1.0, 1), "the clock is right again");
    assert!(!suspect(&store));
    // Where it was right all along, someone says so; that holds over a restart too.
    machine.clock.set_ms(NOW + 5 * 365 * DAY_MS);
    // Who is cancelled before that has its time from now on, and not from what was believed last.
    let cancelled = store.create_tenant(&id("bakery"), plan("starter")).expect("created");
    assert!(suspect(&store) && cancelled.cancel().expect("cancelled") > machine.now());
    store.confirm_clock().expect("confirmed");
    maintain(&store);
    assert!(store.tenant(&id("bakery")).is_ok(), "its time is not over");
    assert!(!suspect(&store));
    drop((tenant, store));
    let store = machine.open();
    assert!(!suspect(&store));
    maintain(&store);
    assert_eq!(blocks(&machine), 0);
}
