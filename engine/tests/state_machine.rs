//! The engine against a map: whatever is written, retried, flushed, merged, cut and reopened, each tenant answers what
//! the map holds, and each generation of its manifest is whole or the one before. Histories are random and shrink to the
//! shortest that fails.

mod common;

use std::collections::BTreeMap;

use annals::query::promql::Value;
use annals::vfs::SimCut;
use annals::{Annals, SampleBatch, SeriesKind, Tenant, TenantError, Timestamp};
use common::{Machine, NOW, gauges, id, labels, plan, write_samples};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

const TENANTS: [&str; 3] = ["ada", "bob", "eve"];
/// Where all samples are: one day, so that merges meet.
const START: i64 = NOW - 40 * 60_000;

/// How the machine stops.
#[derive(Debug, Clone, Copy)]
enum Stop {
    Close,
    Kill,
    /// A power cut of that policy, of those that [`SimCut::all`] gives for a seed.
    Cut(usize, u64),
}

#[derive(Debug, Clone)]
enum Transition {
    /// Samples of a tenant: series, slot of time, value; and one event each in a counter.
    Write(usize, Vec<Written>),
    /// One of the batches before, again.
    Retry(usize),
    Flush(usize),
    Step,
    Settle,
    Pass(u64),
    Stop(Stop),
    /// The machine stops at that call of a flush of all tenants and their merges.
    StopWithinSettle(u64, Stop),
    /// The machine stops at that call of the next open, and again before the one after.
    StopWithinOpen(u64, Stop, Stop),
    /// A tenant is created, the machine stopping at that call, and then again where it is not there.
    Create(usize, u64, Stop),
}

/// A sample: series, slot of its time, value.
type Written = (usize, usize, u32);

/// What the store must answer, and what was written.
#[derive(Debug, Clone, Default)]
struct Model {
    tenants: BTreeMap<usize, Content>,
    batches: Vec<(usize, Vec<Written>)>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Content {
    gauges: BTreeMap<(usize, i64), f64>,
    events: BTreeMap<i64, f64>,
}

fn stop() -> impl Strategy<Value = Stop> {
    prop_oneof![
        Just(Stop::Close),
        Just(Stop::Kill),
        (0usize..64, any::<u64>()).prop_map(|(policy, seed)| Stop::Cut(policy, seed)),
    ]
}

fn stamp(slot: usize) -> i64 {
    START + slot as i64 * 10_000
}

impl ReferenceStateMachine for Model {
    type State = Model;
    type Transition = Transition;

    fn init_state() -> BoxedStrategy<Model> {
        Just(Model { tenants: BTreeMap::from([(0, Content::default())]), ..Model::default() }).boxed()
    }

    fn transitions(model: &Model) -> BoxedStrategy<Transition> {
        let samples = prop::collection::vec((0usize..3, 0usize..60, any::<u32>()), 1..6);
        let known: Vec<usize> = model.tenants.keys().copied().collect();
        let tenant = prop::sample::select(known);
        prop_oneof![
            6 => (tenant.clone(), samples).prop_map(|(tenant, samples)| Transition::Write(tenant, samples)),
            2 => (0..model.batches.len().max(1)).prop_map(Transition::Retry),
            2 => tenant.prop_map(Transition::Flush),
            1 => Just(Transition::Step),
            1 => Just(Transition::Settle),
            1 => (0u64..8 * 3_600_000).prop_map(Transition::Pass),
            2 => stop().prop_map(Transition::Stop),
            2 => (0u64..50, stop()).prop_map(|(call, stop)| Transition::StopWithinSettle(call, stop)),
            2 => (0u64..30, stop(), stop()).prop_map(|(call, a, b)| Transition::StopWithinOpen(call, a, b)),
            1 => (0usize..3, 0u64..40, stop()).prop_map(|(tenant, call, stop)| Transition::Create(tenant, call, stop)),
        ]
        .boxed()
    }

    fn preconditions(model: &Model, transition: &Transition) -> bool {
        match transition {
            Transition::Retry(batch) => *batch < model.batches.len(),
            Transition::Write(tenant, _) | Transition::Flush(tenant) => model.tenants.contains_key(tenant),
            _ => true,
        }
    }

    fn apply(mut model: Model, transition: &Transition) -> Model {
        match transition {
            Transition::Write(tenant, samples) => {
                model.batches.push((*tenant, samples.clone()));
                let content = model.tenants.entry(*tenant).or_default();
                for &(series, slot, value) in samples {
                    content.gauges.insert((series, stamp(slot)), f64::from(value));
                    *content.events.entry(stamp(slot)).or_default() += 1.0;
                }
            }
            Transition::Create(tenant, ..) => {
                model.tenants.entry(*tenant).or_default();
            }
            _ => {}
        }
        model
    }
}

struct Engine {
    machine: Machine,
    store: Option<Annals>,
}

impl Engine {
    fn store(&self) -> &Annals {
        self.store.as_ref().expect("every transition leaves the store open")
    }

    fn tenant(&self, tenant: usize) -> Tenant {
        self.store().tenant(&id(TENANTS[tenant])).expect("created and not damaged")
    }

    fn write(&self, tenant: usize, number: usize, samples: &[Written]) -> bool {
        let acknowledged = write_samples(&self.tenant(tenant), &batch(number, samples));
        let acknowledged = acknowledged.expect("a disk without faults");
        assert_eq!(acknowledged.refused, []);
        acknowledged.duplicate
    }

    /// Ends the process so, whatever it was doing.
    fn stop(&mut self, stop: Stop) {
        match stop {
            Stop::Close => {
                let closed = self.store.take().map(Annals::close);
                assert!(closed.is_none_or(|closed| closed.is_ok()) || self.machine.vfs.crashed());
                self.machine.vfs.process_crash();
            }
            Stop::Kill => self.machine.vfs.process_crash(),
            Stop::Cut(policy, seed) => {
                let cuts = SimCut::all(seed);
                self.machine.vfs.power_cut(cuts[policy % cuts.len()]);
            }
        }
        self.store = None;
    }

    fn start(&mut self) {
        let store = self.machine.open();
        let report = store.recovery();
        assert_eq!(
            (&report.unavailable[..], &report.lost[..]),
            (&[][..], &[][..]),
            "a crash damages nothing"
        );
        // A torn tail is set aside.
        assert!(report.quarantined.is_empty() || report.tail_bytes_discarded > 0, "{report:?}");
        self.store = Some(store);
    }
}

fn batch(number: usize, samples: &[Written]) -> SampleBatch {
    let gauge: Vec<_> =
        samples.iter().map(|&(series, slot, value)| (series, stamp(slot), f64::from(value))).collect();
    let mut batch = gauges(number as u64, "gauge", &gauge);
    let events = batch.series(labels(&[("__name__", "events")]), SeriesKind::Delta);
    for &(_, slot, _) in samples {
        batch.push(events, Timestamp(stamp(slot)), 1.0);
    }
    batch
}

impl StateMachineTest for Engine {
    type SystemUnderTest = Engine;
    type Reference = Model;

    fn init_test(_: &Model) -> Engine {
        let machine = Machine::new();
        let store = machine.open();
        store.create_tenant(&id(TENANTS[0]), plan("archive")).expect("a disk without faults");
        Engine { machine, store: Some(store) }
    }

    fn apply(mut engine: Engine, model: &Model, transition: Transition) -> Engine {
        match transition {
            Transition::Write(tenant, samples) => {
                assert!(!engine.write(tenant, model.batches.len() - 1, &samples), "it is new");
            }
            Transition::Retry(number) => {
                let (tenant, samples) = &model.batches[number];
                assert!(engine.write(*tenant, number, samples), "it was counted before");
            }
            Transition::Flush(tenant) => {
                engine.tenant(tenant).flush().expect("a disk without faults");
            }
            Transition::Step => {
                engine.store().maintenance_step().expect("a disk without faults");
            }
            Transition::Settle => {
                engine.store().settle().expect("a disk without faults");
                assert!(
                    engine.store().tenants().iter().all(|tenant| tenant.metric_blocks <= 1),
                    "one day, one block"
                );
            }
            Transition::Pass(ms) => engine.machine.clock.advance_ms(ms),
            Transition::Stop(stop) => {
                engine.stop(stop);
                engine.start();
            }
            Transition::StopWithinSettle(call, stop) => {
                engine.machine.vfs.set_crash_within(call);
                let settled = engine.store().settle();
                assert!(settled.is_ok() || engine.machine.vfs.crashed(), "{settled:?}");
                engine.stop(stop);
                engine.start();
            }
            Transition::StopWithinOpen(call, first, second) => {
                engine.stop(first);
                engine.machine.vfs.set_crash_at(call);
                let opened = engine.machine.try_open();
                assert!(opened.is_ok() || engine.machine.vfs.crashed(), "a disk without faults");
                engine.store = opened.ok();
                engine.stop(second);
                engine.start();
            }
            Transition::Create(tenant, call, stop) => {
                engine.machine.vfs.set_crash_at(call);
                let _ = engine.store().create_tenant(&id(TENANTS[tenant]), plan("archive"));
                engine.stop(stop);
                engine.start();
                match engine.store().create_tenant(&id(TENANTS[tenant]), plan("archive")) {
                    Ok(_) | Err(TenantError::Exists(_)) => {}
                    Err(error) => panic!("a tenant that is there or not: {error}"),
                }
            }
        }
        engine
    }

    fn check_invariants(engine: &Engine, model: &Model) {
        let found = engine.store().tenants();
        assert_eq!(found.len(), model.tenants.len(), "tenants: {found:?}");
        for (&tenant, content) in &model.tenants {
            assert_eq!(&read(&engine.tenant(tenant)), content, "tenant {}", TENANTS[tenant]);
        }
    }
}

fn read(tenant: &Tenant) -> Content {
    let (reader, mut content) = (tenant.reader(), Content::default());
    for (series, selector) in [
        (0, "gauge{series=\"0\"}[2d]"),
        (1, "gauge{series=\"1\"}[2d]"),
        (2, "gauge{series=\"2\"}[2d]"),
        (3, "events[2d]"),
    ] {
        let answer = reader.query(selector, Timestamp(NOW + 60_000)).expect("a disk without faults");
        assert!(answer.coverage.iter().all(|coverage| coverage.missing.is_empty()), "nothing is missing");
        let Value::Matrix(matrix) = answer.value else { panic!("a range selector answers a matrix") };
        for (time, value) in matrix.iter().flat_map(|series| &series.points) {
            match series {
                3 => content.events.insert(time.0, *value),
                _ => content.gauges.insert((series, time.0), *value),
            };
        }
    }
    content
}

prop_state_machine! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        max_shrink_iters: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn every_tenant_answers_what_the_map_holds(sequential 1..25 => Engine);
}
