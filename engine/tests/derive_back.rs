//! Deriving metrics of signals that were admitted before the schema had them.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use annals::schema::{KindSchema, SignalSchema};
use annals::vfs::{SimCalls, SimCut, SimError, SimFault};
use annals::{
    Annals, Budget, Deletion, Matcher, Options, QueryLimits, Samples, SeriesSource, Signal, SignalBatch,
    Tenant, TenantError, TenantReader, TimeRange, Timestamp,
};
use common::{Machine, NOW, attempts, batch_id, id, number, plan, site, write_signals};
use proptest::prelude::*;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;

/// The built-in kinds; of those named, without what is derived from them.
fn schema_without(kinds: &[&str]) -> SignalSchema {
    let mut schema = annals::signals::builtin();
    for kind in &mut schema.kinds {
        if kinds.contains(&&*kind.name) {
            *kind = Arc::new(KindSchema { metrics: Vec::new(), ..(**kind).clone() });
        }
    }
    schema
}

fn with_schema(machine: Machine, schema: SignalSchema) -> Machine {
    Machine { options: Options { schema, ..machine.options.clone() }, ..machine }
}

type Shown = BTreeMap<(String, i64), f64>;

/// Every sample that is shown.
fn shown(reader: &TenantReader) -> Shown {
    let budget = Budget::new(QueryLimits::default());
    let found = reader.select(&[], TimeRange::ALL, &budget).expect("selected");
    assert_eq!(found.coverage().missing, []);
    let (mut all, mut samples) = (Shown::new(), Samples::default());
    for index in 0..found.len() {
        found.read(index, &budget, &mut samples).expect("read");
        let labels = found.labels(index).to_string();
        let of_series = samples.timestamps.iter().zip(&samples.values);
        all.extend(of_series.map(|(&time, &value)| ((labels.clone(), time), value)));
    }
    all
}

/// Equal but for what rounding sums of fractions leaves.
fn assert_like(found: &Shown, expected: &Shown) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for ((place, found), expected) in found.iter().zip(expected.values()) {
        let near = (found - expected).abs() <= 1e-12 * expected.abs();
        prop_assert!(near, "{place:?}: {found} and not {expected}");
    }
    Ok(())
}

/// What whole days come to, which rollups answer where they can.
fn of_days(reader: &TenantReader) -> Vec<f64> {
    let ends = (-4..=2).map(|day| Timestamp(NOW.div_euclid(DAY) * DAY + day * DAY));
    let metrics = ["http_requests", "http_response_seconds_bucket", "mails", "signals"];
    ends.flat_map(|end| metrics.map(|metric| number(reader, &format!("sum(increase({metric}[1d]))"), end)))
        .collect()
}

fn request(time: i64, status: i64, duration: i64) -> Signal {
    Signal::new("http.request", Timestamp(time))
        .with("method", "GET")
        .with("status", status)
        .with("duration", duration)
}

fn work_off(store: &Annals) {
    while store.maintenance_step().expect("done").is_some() {}
}

#[derive(Debug, Clone)]
enum Step {
    Write(Vec<(i64, u8, i64)>),
    Flush,
    Work,
    Hours(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let ago = prop_oneof![0..3 * HOUR, 0..2 * DAY, Just(DAY), Just(0i64)];
    let signals = prop::collection::vec((ago, 0u8..4, 0i64..4_000), 1..12);
    prop_oneof![
        4 => signals.prop_map(Step::Write),
        1 => Just(Step::Flush),
        1 => Just(Step::Work),
        1 => (1i64..40).prop_map(Step::Hours),
    ]
}

fn play(machine: &Machine, store: &Annals, steps: &[Step], first: u64) {
    let tenant = store.tenant(&id("acme")).expect("there");
    for (at, step) in (first..).zip(steps) {
        match step {
            Step::Write(signals) => {
                let signal = |&(ago, which, value): &(i64, u8, i64)| {
                    let time = machine.now().0 - ago;
                    match which {
                        0 => Signal::new("mail.sent", Timestamp(time)).with("result", "sent"),
                        1 => attempts(0, &[time]).signals.remove(0),
                        // At midnight itself.
                        2 => request(time.div_euclid(DAY) * DAY, 200, value),
                        _ => request(time, 200 + value % 3, value),
                    }
                };
                let signals = signals.iter().map(signal).collect();
                let site = site(if at % 3 == 0 { "a.example" } else { "b.example" });
                let batch = SignalBatch { id: batch_id(at), site, signals };
                write_signals(&tenant, &batch).expect("written");
            }
            Step::Flush => drop(tenant.flush().expect("flushed")),
            Step::Work => work_off(store),
            Step::Hours(hours) => machine.clock.advance_ms((hours * HOUR) as u64),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// At every age: as samples, and as the rollups that are left of them.
    #[test]
    fn what_is_derived_back_is_what_would_have_been_derived_at_once(
        before in prop::collection::vec(step(), 1..16),
        after in prop::collection::vec(step(), 0..8),
        plan_name in prop::sample::select(vec!["starter", "enterprise", "archive"]),
    ) {
        let late = with_schema(Machine::new(), schema_without(&["http.request", "mail.sent"]));
        let at_once = Machine::new();
        for machine in [&late, &at_once] {
            let store = machine.open();
            store.create_tenant(&id("acme"), plan(plan_name)).expect("created");
            play(machine, &store, &before, 1);
            store.close().expect("closed");
        }
        let late = with_schema(late, annals::signals::builtin());
        let (store, expected) = (late.open(), at_once.open());
        play(&late, &store, &after, 100);
        play(&at_once, &expected, &after, 100);
        // What has expired is not derived: of those days the other has more.
        let age = late.now().0 - NOW;
        let keep = plan(plan_name).signals_keep;
        let complete = keep.floor(late.now()).0 < NOW - 3 * DAY || age == 0;
        let (tenant, of_expected) =
            (store.tenant(&id("acme")).expect("there"), expected.tenant(&id("acme")).expect("there"));
        let done = tenant.derive_back(TimeRange::ALL, &[]).expect("derived");
        prop_assert_eq!(&done.missing, &[]);
        if complete {
            assert_like(&shown(&tenant.reader()), &shown(&of_expected.reader()))?;
            prop_assert_eq!(of_days(&tenant.reader()), of_days(&of_expected.reader()));
        }
        let again = tenant.derive_back(TimeRange::ALL, &[]).expect("derived");
        prop_assert_eq!((again.samples, again.days), (0, Vec::new()));
        for days in [0, 5, 60, 100] {
            late.clock.advance_ms((days * DAY) as u64);
            at_once.clock.advance_ms((days * DAY) as u64);
            work_off(&store);
            work_off(&expected);
            if complete {
                assert_like(&shown(&tenant.reader()), &shown(&of_expected.reader()))?;
                prop_assert_eq!(of_days(&tenant.reader()), of_days(&of_expected.reader()));
            }
        }
    }
}

/// Three days of signals, written under a schema that derives nothing from requests; the oldest are sealed.
fn filled() -> Machine {
    let machine = with_schema(Machine::new(), schema_without(&["http.request"]));
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    for day in 0..3 {
        let now = machine.now().0;
        let signals = (0..40).map(|i| request(now - i * 90_000, 200 + i % 2, 100 * i)).collect();
        let batch = SignalBatch { id: batch_id(day), site: site("a.example"), signals };
        write_signals(&tenant, &batch).expect("written");
        tenant.flush().expect("flushed");
        work_off(&store);
        machine.clock.advance_ms(DAY as u64);
    }
    store.close().expect("closed");
    with_schema(machine, annals::signals::builtin())
}

fn requests(tenant: &Tenant, at: Timestamp) -> f64 {
    number(&tenant.reader(), "sum(increase(http_requests[10d]))", at)
}

#[test]
fn a_failure_or_a_cut_at_any_call_adds_nothing_twice() {
    let expected = {
        let machine = filled();
        let store = machine.open();
        let tenant = store.tenant(&id("acme")).expect("there");
        assert_eq!(requests(&tenant, machine.now()), 0.0);
        let done = tenant.derive_back(TimeRange::ALL, &[]).expect("derived");
        assert_eq!((done.signals, requests(&tenant, machine.now())), (120, 120.0));
        assert!(done.days.len() >= 3 && done.left_out.is_empty(), "{done:?}");
        shown(&tenant.reader())
    };
    let mut struck = 0;
    for done in [false, true] {
        for call in 0.. {
            let machine = filled();
            let store = machine.open();
            let tenant = store.tenant(&id("acme")).expect("there");
            let fault = SimFault::once(SimCalls::Mutating, call, SimError::Io);
            machine.vfs.fail(SimFault { done, ..fault });
            let derived = tenant.derive_back(TimeRange::ALL, &[]);
            machine.vfs.clear_faults();
            drop((tenant, store));
            machine.vfs.power_cut(if call % 2 == 0 { SimCut::Nothing } else { SimCut::Everything });
            let store = machine.open();
            let tenant = store.tenant(&id("acme")).expect("there");
            tenant.derive_back(TimeRange::ALL, &[]).expect("derived");
            assert_eq!(shown(&tenant.reader()), expected, "call {call}");
            work_off(&store);
            assert_eq!(shown(&tenant.reader()), expected, "call {call}");
            let found = annals::verify(Arc::new(machine.vfs.clone()), "/data".as_ref()).expect("readable");
            assert_eq!(found.findings, [], "call {call}");
            if derived.is_ok() {
                break;
            }
            struck += 1;
        }
    }
    assert!(struck > 20, "{struck} calls failed");
}

/// No record has come since the day was sealed, so that nothing but the commit says that its rollups are of before.
#[test]
fn the_rollups_of_a_sealed_day_are_made_again() {
    let machine = with_schema(Machine::new(), schema_without(&["http.request"]));
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    let noon = NOW.div_euclid(DAY) * DAY + DAY / 2;
    let signals = (0..9).map(|i| request(noon - i * HOUR, 200, 100)).collect();
    write_signals(&tenant, &SignalBatch { id: batch_id(1), site: site("a.example"), signals })
        .expect("written");
    drop(tenant);
    machine.clock.advance_ms(3 * DAY as u64);
    store.settle().expect("settled");
    store.close().expect("closed");
    let machine = with_schema(machine, annals::signals::builtin());
    let store = machine.open();
    let tenant = store.tenant(&id("acme")).expect("there");
    assert!(tenant.summary().rollup_blocks >= 2, "it is sealed");
    tenant.derive_back(TimeRange::ALL, &[]).expect("derived");
    let midnight = Timestamp(noon + DAY / 2);
    let of_day = || number(&tenant.reader(), "sum(increase(http_requests[1d]))", midnight);
    assert_eq!((of_day(), tenant.summary().rollup_blocks), (9.0, 0));
    work_off(&store);
    assert_eq!((of_day(), tenant.summary().rollup_blocks), (9.0, 2));
    machine.clock.advance_ms(95 * DAY as u64);
    work_off(&store);
    assert_eq!(of_day(), 9.0);
}

#[test]
fn only_what_is_named_is_derived_and_only_of_days_whose_raw_metrics_are_kept() {
    let machine = filled();
    let store = machine.open();
    let tenant = store.tenant(&id("acme")).expect("there");
    let unknown = tenant.derive_back(TimeRange::ALL, &["http_request"]);
    let Err(TenantError::UnknownMetric { metrics, .. }) = unknown else { panic!("{unknown:?}") };
    assert!(metrics.iter().any(|name| name == "http_requests"), "{metrics:?}");
    // One day of three.
    let day = Timestamp(NOW).day().range();
    tenant.derive_back(day, &["http_requests", "http_requests"]).expect("derived");
    assert_eq!(requests(&tenant, machine.now()), 40.0);
    let durations = |at| number(&tenant.reader(), "sum(increase(http_response_seconds_count[10d]))", at);
    assert_eq!(durations(machine.now()), 0.0);
    tenant.derive_back(TimeRange::ALL, &["http_response_seconds"]).expect("derived");
    assert_eq!((requests(&tenant, machine.now()), durations(machine.now())), (40.0, 120.0));
    // A day stays closed though it was derived of again.
    work_off(&store);
    let late = write_signals(&tenant, &attempts(77, &[NOW])).expect("answered");
    assert_eq!(late.refused.len(), 1, "{late:?}");
    // What was deleted of metrics alone comes back: its signals are kept.
    let deletion = Deletion {
        matchers: vec![Matcher::equal("__name__", "http_requests")],
        range: TimeRange::ALL,
        metrics: true,
        signals: false,
    };
    tenant.delete(&deletion).expect("deleted");
    assert_eq!(requests(&tenant, machine.now()), 0.0);
    tenant.derive_back(TimeRange::ALL, &["http_requests"]).expect("derived");
    assert_eq!(requests(&tenant, machine.now()), 120.0);
}
