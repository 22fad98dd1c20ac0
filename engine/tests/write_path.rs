//! What a batch may hold, what each of its records is told, and that it counts once.

mod common;

use annals::vfs::SimCut;
use annals::*;
use common::*;

#[test]
fn an_acknowledged_batch_is_visible_and_a_retry_counts_nothing() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("starter")).expect("created");
    let batch = attempts(1, &[NOW - 5, NOW - 5, NOW - 70_000]);
    let first = write_signals(&tenant, &batch).expect("written");
    assert_eq!((first.accepted(), first.duplicate, first.durability), (3, false, Durability::Synced));
    assert!(first.verdicts().all(|v| v.is_accepted()));
    let again = write_signals(&tenant, &batch).expect("answered");
    assert_eq!((again.accepted(), again.duplicate), (0, true));
    assert!(again.verdicts().all(|v| v == Verdict::Duplicate));
    let later = Timestamp(NOW + 60_000);
    assert_eq!(failures(&tenant.reader(), later), 3.0);
    assert_eq!(number(&tenant.reader(), "sum(increase(signals{kind=\"auth.attempt\"}[1h]))", later), 3.0);
    assert_eq!(raw_signals(&tenant.reader()), 3);
}

#[test]
fn a_batch_without_an_id_is_a_new_one_each_time_and_leaves_nothing_to_remember() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    let levels = |value| SampleBatch { id: BatchId::NONE, ..gauges(0, "level", &[(0, NOW, value)]) };
    let deltas =
        SampleBatch { id: BatchId::NONE, ..samples_of(0, "more", SeriesKind::Delta, &[(0, NOW, 2.0)]) };
    for value in [1.0, 1.0, 3.0] {
        for batch in [&levels(value), &deltas] {
            let acknowledged = write_samples(&tenant, batch).expect("written");
            assert_eq!((acknowledged.accepted(), acknowledged.duplicate), (1, false));
        }
    }
    let at = Timestamp(NOW);
    let asserts_shown = |reader: &TenantReader| {
        assert_eq!((number(reader, "level", at), number(reader, "sum_over_time(more[1m])", at)), (3.0, 6.0));
    };
    asserts_shown(&tenant.reader());
    drop((tenant, store));
    // Each is replayed, the last one wins.
    machine.vfs.power_cut(SimCut::Nothing);
    let store = machine.open();
    let tenant = store.tenant(&id("acme")).expect("there");
    asserts_shown(&tenant.reader());
    let manifest_bytes = || {
        let manifests =
            machine.vfs.paths().into_iter().filter(|path| path.to_string_lossy().contains("manifest"));
        manifests.map(|path| machine.vfs.read_file(&path).expect("readable").len()).max()
    };
    tenant.flush().expect("flushed");
    let before = manifest_bytes();
    for round in 0..200 {
        write_samples(&tenant, &levels(f64::from(round))).expect("written");
    }
    tenant.flush().expect("flushed");
    assert!(manifest_bytes() < before.map(|bytes| bytes + 200), "{before:?} and {:?}", manifest_bytes());
}

#[test]
fn a_retry_before_the_first_is_committed_waits_for_its_outcome() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("starter")).expect("created");
    let batch = attempts(1, &[NOW]);
    let first = tenant.write_signals(&batch).expect("queued");
    let retry = tenant.write_signals(&batch).expect("queued");
    assert!(retry.wait().expect("answered").duplicate);
    assert_eq!(first.wait().expect("answered").accepted(), 1);
    assert_eq!(failures(&tenant.reader(), Timestamp(NOW + 60_000)), 1.0);
}

#[test]
fn the_same_id_with_other_content_is_a_conflict_and_ids_are_per_site() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("starter")).expect("created");
    write_signals(&tenant, &attempts(1, &[NOW])).expect("written");
    let other = attempts(1, &[NOW - 1]);
    assert_eq!(tenant.write_signals(&other).err(), Some(WriteError::Conflict { id: batch_id(1) }));
    let elsewhere = SignalBatch { site: site("blog.example"), ..other };
    assert_eq!(write_signals(&tenant, &elsewhere).expect("written").accepted(), 1);
    assert_eq!(failures(&tenant.reader(), Timestamp(NOW + 60_000)), 2.0);
}

#[test]
fn a_bad_record_does_not_harm_its_neighbours_and_its_content_is_not_echoed() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("starter")).expect("created");
    let good = Signal::new("auth.attempt", Timestamp(NOW)).with("result", "success").with("method", "key");
    let signals = vec![
        good.clone(),
        Signal::new("auth.secretkind", Timestamp(NOW)),
        good.clone().with("secretfield", "secretvalue"),
        Signal::new("auth.attempt", Timestamp(NOW)).with("result", "secretvalue").with("method", "key"),
        Signal::new("auth.attempt", Timestamp(NOW)).with("result", 5).with("method", "key"),
        Signal { time: Timestamp(NOW + 11 * 60_000), ..good.clone() },
        Signal { time: Timestamp(NOW - 3 * DAY_MS), ..good.clone() },
        Signal { time: Timestamp(NOW - 30 * DAY_MS), ..good.clone() },
        good.with("user", "secretvalue"),
    ];
    let batch = SignalBatch { id: batch_id(1), site: site("s"), signals };
    let acknowledgement = write_signals(&tenant, &batch).expect("written");
    let reasons: Vec<(usize, RefusalReason)> =
        acknowledgement.refused.iter().map(|(at, refusal)| (*at, refusal.reason)).collect();
    use RefusalReason::*;
    let expected = [
        (1, UnknownKind),
        (2, UnknownField),
        (3, NotAllowed),
        (4, WrongType),
        (5, Future),
        (6, Late),
        (7, Expired),
    ];
    assert_eq!(reasons, expected);
    for (_, refusal) in &acknowledgement.refused {
        assert!(!refusal.to_string().contains("secret"), "{refusal}");
    }
    assert_eq!(number(&tenant.reader(), "sum(increase(auth_attempts[1h]))", Timestamp(NOW + 60_000)), 2.0);
    tenant.flush().expect("flushed");
    for path in machine.vfs.paths() {
        let bytes = machine.vfs.read_file(&path).expect("readable");
        let found = bytes.windows(6).any(|window| window == b"secret");
        assert!(!found, "{} holds content that no schema allows", path.display());
    }
}

#[test]
fn samples_need_the_right_a_free_name_and_one_kind() {
    let machine = Machine::new();
    let store = machine.open();
    let starter = store.create_tenant(&id("small"), plan("starter")).expect("created");
    let refused = write_samples(&starter, &gauges(1, "up", &[(0, NOW, 1.0)])).expect("answered");
    assert_eq!(refused.refused[0].1.reason, RefusalReason::NotEntitled);

    let tenant = store.create_tenant(&id("big"), plan("enterprise")).expect("created");
    let written =
        write_samples(&tenant, &gauges(1, "up", &[(0, NOW, 1.0), (1, NOW, f64::NAN)])).expect("written");
    assert_eq!(written.accepted(), 2);
    let reason = |batch: &SampleBatch| {
        write_samples(&tenant, batch).expect("answered").refused.first().map(|(_, refusal)| refusal.reason)
    };
    let conflict = samples_of(2, "up", SeriesKind::Delta, &[(0, NOW, 1.0)]);
    assert_eq!(reason(&conflict), Some(RefusalReason::KindConflict));
    assert_eq!(reason(&gauges(3, "http_requests", &[(0, NOW, 1.0)])), Some(RefusalReason::ReservedMetric));
    let buckets = gauges(4, "http_response_seconds_bucket", &[(0, NOW, 1.0)]);
    assert_eq!(reason(&buckets), Some(RefusalReason::ReservedMetric));
    let infinite = samples_of(5, "d", SeriesKind::Delta, &[(0, NOW, f64::INFINITY)]);
    assert_eq!(reason(&infinite), Some(RefusalReason::OutOfBounds));
    let mut nameless = SampleBatch::new(batch_id(6), site("s"));
    let series = nameless.series(labels(&[("job", "x")]), SeriesKind::Gauge);
    nameless.push(series, Timestamp(NOW), 1.0);
    nameless.push(99, Timestamp(NOW), 1.0);
    assert_eq!(reason(&nameless), Some(RefusalReason::InvalidLabels));
    // A batch of which nothing counted is not remembered: sent again it is judged again.
    assert!(!write_samples(&tenant, &nameless).expect("answered").duplicate);
}

#[test]
fn limits_are_named() {
    let machine = Machine::new();
    let store = machine.open();
    let mut small = plan("enterprise");
    small.limits = Limits { series_max: 2, batch_records_max: 3, ..small.limits };
    let tenant = store.create_tenant(&id("small"), small).expect("created");
    let four: Vec<_> = (0..4).map(|i| (i, NOW, 1.0)).collect();
    assert_eq!(
        tenant.write_samples(&gauges(1, "m", &four)).err(),
        Some(WriteError::BatchTooLarge { records: 4, limit: 3 })
    );
    let three = write_samples(&tenant, &gauges(2, "m", &four[..3])).expect("written");
    assert_eq!(three.refused, [(2, Refusal::of(RefusalReason::SeriesLimit))]);
    // Known series still take samples.
    let more = [(0, NOW + 1, 1.0), (1, NOW + 1, 1.0)];
    assert_eq!(write_samples(&tenant, &gauges(3, "m", &more)).expect("written").accepted(), 2);
}

#[test]
fn a_ticket_can_be_awaited() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("starter")).expect("created");
    let mut ticket = Box::pin(tenant.write_signals(&attempts(1, &[NOW])).expect("queued"));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let outcome = Future::poll(ticket.as_mut(), &mut context);
    assert!(matches!(outcome, std::task::Poll::Ready(Ok(a)) if a.accepted() == 1));
}

#[test]
fn tenants_do_not_see_each_other() {
    let machine = Machine::new();
    let store = machine.open();
    let one = store.create_tenant(&id("one"), plan("starter")).expect("created");
    let two = store.create_tenant(&id("two"), plan("starter")).expect("created");
    write_signals(&one, &attempts(1, &[NOW])).expect("written");
    let later = Timestamp(NOW + 60_000);
    assert_eq!((failures(&one.reader(), later), failures(&two.reader(), later)), (1.0, 0.0));
    // The same id from another tenant is another batch.
    assert!(!write_signals(&two, &attempts(1, &[NOW])).expect("written").duplicate);
    assert!(matches!(store.create_tenant(&id("one"), plan("starter")), Err(TenantError::Exists(_))));
    assert!(matches!(store.tenant(&id("three")), Err(TenantError::Unknown(_))));
    assert_eq!(store.tenants().len(), 2);
}

#[test]
fn threads_commit_for_many_writers() {
    let machine = Machine {
        options: Options { background: Background::Threads, ..Machine::new().options },
        ..Machine::new()
    };
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("starter")).expect("created");
    std::thread::scope(|scope| {
        for writer in 0..4u64 {
            let tenant = &tenant;
            scope.spawn(move || {
                for batch in 0..25 {
                    let batch = attempts(writer * 1000 + batch, &[NOW, NOW + 1]);
                    assert_eq!(write_signals(tenant, &batch).expect("written").accepted(), 2);
                }
            });
        }
    });
    assert_eq!(failures(&tenant.reader(), Timestamp(NOW + 60_000)), 200.0);
    assert!(write_signals(&tenant, &attempts(1, &[NOW, NOW + 1])).expect("answered").duplicate);
    store.close().expect("closed");
    assert_eq!(tenant.write_signals(&attempts(9_999, &[NOW])).err(), Some(WriteError::Closed));
}

#[test]
fn a_buffered_acknowledgement_says_so() {
    let options = Options { durability: Durability::Buffered, ..Machine::new().options };
    let machine = Machine { options, ..Machine::new() };
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("starter")).expect("created");
    let acknowledgement = write_signals(&tenant, &attempts(1, &[NOW])).expect("written");
    assert_eq!(acknowledgement.durability, Durability::Buffered);
    assert_eq!(failures(&tenant.reader(), Timestamp(NOW + 60_000)), 1.0);
    drop((tenant, store));
    let store = machine.open();
    assert_eq!(failures(&store.tenant(&id("acme")).expect("there").reader(), Timestamp(NOW + 60_000)), 1.0);
}

#[test]
fn a_check_answers_as_a_write_would_and_leaves_nothing_behind() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    let batch = attempts(1, &[NOW, NOW + 3_600_000]);
    let checked = tenant.check_signals(&batch).expect("checked");
    assert_eq!((checked.accepted(), checked.duplicate, checked.lsn), (1, false, None));
    let written = write_signals(&tenant, &batch).expect("written");
    assert_eq!((&checked.refused, false), (&written.refused, written.duplicate));
    assert!(tenant.check_signals(&batch).expect("checked").duplicate);

    let mut samples = SampleBatch::new(batch_id(2), site("host"));
    let labels = LabelSet::from_pairs([("__name__", "load")]).expect("valid");
    let load = samples.series(labels, SeriesKind::Gauge);
    samples.push(load, Timestamp(NOW), 1.0);
    assert_eq!(tenant.check_samples(&samples).expect("checked").accepted(), 1);
    // Neither the series nor its kind is known by that.
    assert_eq!(tenant.metric_kind("load"), None);
    samples.series[0].1 = SeriesKind::Counter;
    let written = tenant.write_samples(&samples).expect("queued").wait().expect("written");
    assert_eq!((written.accepted(), tenant.metric_kind("load")), (1, Some(SeriesKind::Counter)));
    let other = attempts(2, &[NOW]);
    assert!(tenant.check_signals(&SignalBatch { site: site("host"), ..other }).is_err(), "a conflict");
}
