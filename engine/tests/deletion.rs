//! Deleting by matchers and times, by the public door: what is hidden, what stays, and that no byte of it is left.

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;

use annals::vfs::{SimCalls, SimCut, SimError, SimFault, SimVfs};
use annals::{
    Annals, Budget, DAY_MS, Deleted, Deletion, Done, Encryption, HOUR_MS, Histogram, Matcher, Options,
    QueryLimits, SampleBatch, Samples, SeriesKind, SeriesSource, Signal, SignalBatch, Tenant, TenantReader,
    TimeRange, Timestamp,
};
use common::{Machine, NOW, batch_id, id, labels, plan, site, write_samples, write_signals};
use proptest::prelude::*;

fn machine(encryption: Encryption) -> Machine {
    let machine = Machine::new();
    Machine { options: Options { encryption, ..machine.options.clone() }, ..machine }
}

fn of_host(host: &str) -> Vec<Matcher> {
    vec![Matcher::equal("host", host)]
}

fn metrics(matchers: Vec<Matcher>, range: TimeRange) -> Deletion {
    Deletion { matchers, range, metrics: true, signals: false }
}

fn work_off(store: &Annals) -> Vec<Done> {
    std::iter::from_fn(|| store.maintenance_step().expect("done")).collect()
}

/// All samples, by host and stamp.
fn shown(reader: &TenantReader) -> BTreeMap<(String, i64), u64> {
    let budget = Budget::new(QueryLimits::default());
    let selected = reader.select(&[], TimeRange::ALL, &budget).expect("selected");
    assert_eq!(selected.coverage().missing, []);
    let (mut samples, mut all) = (Samples::default(), BTreeMap::new());
    for index in 0..selected.len() {
        selected.read(index, &budget, &mut samples).expect("read");
        assert_eq!(samples.missing, []);
        let host = selected.labels(index).get("host").to_owned();
        for (time, value) in samples.timestamps.iter().zip(&samples.values) {
            assert_eq!(all.insert((host.clone(), *time), value.to_bits()), None);
        }
    }
    all
}

fn write(tenant: &Tenant, number: u64, samples: &[(&str, i64, f64)]) {
    let mut batch = SampleBatch::new(batch_id(number), site("host"));
    for &(host, time, value) in samples {
        let series = batch.series(labels(&[("__name__", "load"), ("host", host)]), SeriesKind::Gauge);
        batch.push(series, Timestamp(time), value);
    }
    let refused = write_samples(tenant, &batch).expect("written").refused;
    assert_eq!(refused, []);
}

fn cron(tenant: &Tenant, number: u64, from: &str, time: i64, hook: &str) {
    let signal = Signal::new("wp.cron", Timestamp(time)).with("hook", hook).with("result", "ok");
    let batch = SignalBatch { id: batch_id(number), site: site(from), signals: vec![signal] };
    assert_eq!(write_signals(tenant, &batch).expect("written").refused, []);
}

fn raw_sites(reader: &TenantReader) -> Vec<String> {
    let mut sites = Vec::new();
    assert_eq!(reader.scan_signals(TimeRange::ALL, &[], &mut |row| sites.push(row.site.to_string())), []);
    sites
}

fn holding(vfs: &SimVfs, marker: &str) -> Vec<PathBuf> {
    let holds = |path: &PathBuf| {
        let bytes = vfs.read_file(path).expect("there");
        bytes.windows(marker.len()).any(|window| window == marker.as_bytes())
    };
    vfs.paths().into_iter().filter(holds).collect()
}

#[test]
fn p7_what_is_deleted_is_hidden_at_once_and_no_byte_of_it_is_left() {
    let machine = machine(Encryption::None);
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    let other = store.create_tenant(&id("other"), plan("archive")).expect("created");
    write(&other, 1, &[("kept-host", NOW, 1.0)]);
    write(&tenant, 1, &[("gone-host", NOW - DAY_MS, 1.0), ("kept-host", NOW - DAY_MS, 2.0)]);
    tenant.flush().expect("flushed");
    write(&tenant, 2, &[("gone-host", NOW, 3.0), ("kept-host", NOW, 4.0)]);
    assert!(!holding(&machine.vfs, "gone-host").is_empty());
    let before = tenant.reader();

    let deleted = tenant.delete(&metrics(of_host("gone-host"), TimeRange::ALL)).expect("deleted");
    assert_eq!((deleted.samples, deleted.signals, deleted.blocks), (2, 0, 2));
    let expected = BTreeMap::from([
        (("kept-host".to_owned(), NOW - DAY_MS), 2.0_f64.to_bits()),
        (("kept-host".to_owned(), NOW), 4.0_f64.to_bits()),
    ]);
    assert_eq!(shown(&before), expected);
    assert_eq!(shown(&machine.read_only().tenant(&id("acme")).expect("there")), expected);
    let again = tenant.delete(&metrics(of_host("gone-host"), TimeRange::ALL)).expect("nothing is found");
    assert_eq!(again, Deleted::default());

    let done = work_off(&store);
    assert!(done.iter().any(|done| matches!(done, Done::Deleted { .. })), "{done:?}");
    assert_eq!(holding(&machine.vfs, "gone-host"), Vec::<PathBuf>::new());
    drop((tenant, other, store));
    machine.vfs.power_cut(SimCut::Nothing);
    let store = machine.open();
    assert_eq!(shown(&store.tenant(&id("acme")).expect("there").reader()), expected);
    assert_eq!(shown(&store.tenant(&id("other")).expect("there").reader()).len(), 1);
}

#[test]
fn p7_only_the_range_goes_and_what_comes_later_for_it_stays() {
    let machine = machine(Encryption::Files);
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    let stamps: Vec<_> = (0..10).map(|i| ("a", NOW + i * 1000, i as f64)).collect();
    write(&tenant, 1, &stamps);
    let range = TimeRange::new(Timestamp(NOW + 2000), Timestamp(NOW + 5000));
    assert_eq!(tenant.delete(&metrics(of_host("a"), range)).expect("deleted").samples, 3);
    let left = |reader: &TenantReader| -> Vec<i64> {
        shown(reader).into_keys().map(|(_, time)| (time - NOW) / 1000).collect()
    };
    assert_eq!(left(&tenant.reader()), [0, 1, 2, 6, 7, 8, 9], "left-open, like every range");
    // A retry counts nothing; another batch for the same time does.
    let mut batch = SampleBatch::new(batch_id(1), site("host"));
    for &(host, time, value) in &stamps {
        let series = batch.series(labels(&[("__name__", "load"), ("host", host)]), SeriesKind::Gauge);
        batch.push(series, Timestamp(time), value);
    }
    assert!(write_samples(&tenant, &batch).expect("known").duplicate);
    write(&tenant, 2, &[("a", NOW + 4000, 7.0)]);
    assert_eq!(left(&tenant.reader()), [0, 1, 2, 4, 6, 7, 8, 9]);
    drop(tenant);
    store.close().expect("closed");
    let store = machine.open();
    work_off(&store);
    store.settle().expect("merged");
    assert_eq!(left(&store.tenant(&id("acme")).expect("there").reader()), [0, 1, 2, 4, 6, 7, 8, 9]);
}

#[test]
fn p7_signals_are_deleted_by_kind_site_and_fields() {
    let machine = machine(Encryption::None);
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    for (number, from, hook) in [(1, "gone.example", "a"), (2, "kept.example", "a"), (3, "kept.example", "b")]
    {
        cron(&tenant, number, from, NOW + number as i64, hook);
        if number == 2 {
            tenant.flush().expect("flushed");
        }
    }
    let all = |matchers| Deletion { matchers, range: TimeRange::ALL, metrics: true, signals: true };
    let deleted = tenant.delete(&all(vec![Matcher::equal("site", "gone.example")])).expect("deleted");
    assert_eq!(deleted.signals, 1);
    assert!(deleted.samples > 0, "the metrics that were derived from it too: {deleted:?}");
    assert_eq!(raw_sites(&tenant.reader()), ["kept.example"; 2]);
    let hook = Deletion { metrics: false, ..all(vec![Matcher::equal("hook", "b")]) };
    assert_eq!(
        tenant.delete(&hook).expect("deleted"),
        Deleted { signals: 1, blocks: 1, due: deleted.due, ..Deleted::default() }
    );
    assert_eq!(raw_sites(&tenant.reader()), ["kept.example"]);
    work_off(&store);
    let left = holding(&machine.vfs, "gone.example");
    let remembers = |path: &PathBuf| path.to_string_lossy().contains("/manifest-");
    assert!(
        left.iter().all(remembers),
        "only the ids of its batches, so that they do not count again: {left:?}"
    );
}

#[test]
fn p7_rollups_are_made_again_of_what_raw_is_left_and_lose_whole_windows_where_none_is() {
    let machine = machine(Encryption::Files);
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    let day = NOW.div_euclid(DAY_MS) * DAY_MS;
    let samples: Vec<_> = (0..6 * 60)
        .flat_map(|minute| [("gone", minute), ("kept", minute)])
        .map(|(host, minute)| (host, day + (minute + 1) * 60_000, (minute + 1) as f64))
        .collect();
    write(&tenant, 1, &samples);
    machine.clock.set_ms(day + 3 * DAY_MS);
    work_off(&store);
    let sum = |host: &str| {
        let text = format!("sum(sum_over_time(load{{host=\"{host}\"}}[6h]))");
        common::number(&tenant.reader(), &text, Timestamp(day + 6 * HOUR_MS))
    };
    let whole: f64 = (1..=360).map(f64::from).sum();
    assert_eq!((sum("gone"), sum("kept")), (whole, whole));

    // Raw is there: exactly the range goes, and the rollups say so too once they are made again.
    let range = TimeRange::new(Timestamp(day + 30 * 60_000), Timestamp(day + 90 * 60_000));
    let deleted = tenant.delete(&metrics(of_host("gone"), range)).expect("deleted");
    assert_eq!((deleted.samples, deleted.windows), (60, 0));
    let partly = whole - (31..=90).map(f64::from).sum::<f64>();
    assert_eq!((sum("gone"), sum("kept")), (partly, whole));
    let done = work_off(&store);
    assert!(done.iter().any(|done| matches!(done, Done::Sealed { .. })), "{done:?}");
    assert_eq!((sum("gone"), sum("kept")), (partly, whole));

    // Raw has expired: windows of 5 minutes and of hours go whole.
    machine.clock.set_ms(day + 95 * DAY_MS);
    work_off(&store);
    assert_eq!((sum("gone"), sum("kept")), (partly, whole));
    let range = TimeRange::new(Timestamp(day + 181 * 60_000), Timestamp(day + 182 * 60_000));
    let deleted = tenant.delete(&metrics(of_host("gone"), range)).expect("deleted");
    assert_eq!((deleted.samples, deleted.windows), (0, 2), "one of 5m, one of 1h");
    let partly = partly - (181..=185).map(f64::from).sum::<f64>();
    assert_eq!((sum("gone"), sum("kept")), (partly, whole));
    work_off(&store);
    machine.clock.set_ms(day + 500 * DAY_MS);
    store.confirm_clock().expect("confirmed");
    work_off(&store);
    let hourly = whole - (31..=90).map(f64::from).sum::<f64>() - (181..=240).map(f64::from).sum::<f64>();
    assert_eq!((sum("gone"), sum("kept")), (hourly, whole));
}

#[test]
fn p7_histograms_are_deleted_like_numbers_in_raw_and_in_rollups() {
    let machine = machine(Encryption::Files);
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("enterprise")).expect("created");
    let day = NOW.div_euclid(DAY_MS) * DAY_MS;
    let mut batch = SampleBatch::new(batch_id(1), site("host"));
    for host in ["gone", "kept"] {
        let labels = labels(&[("__name__", "took"), ("host", host)]);
        let series = batch.series(labels, SeriesKind::DeltaHistogram);
        for minute in 1..=180 {
            let histogram =
                Histogram { count: 1.0, sum: 2.0, positive: vec![(0, 1.0)], ..Histogram::default() };
            batch.push_histogram(series, Timestamp(day + minute * 60_000), histogram);
        }
    }
    assert_eq!(write_samples(&tenant, &batch).expect("written").refused, []);
    let count = |host: &str| {
        let text = format!("histogram_count(sum_over_time(took{{host=\"{host}\"}}[3h]))");
        common::number(&tenant.reader(), &text, Timestamp(day + 3 * HOUR_MS))
    };
    assert_eq!((count("gone"), count("kept")), (180.0, 180.0));
    let range = TimeRange::new(Timestamp(day + 10 * 60_000), Timestamp(day + 20 * 60_000));
    assert_eq!(tenant.delete(&metrics(of_host("gone"), range)).expect("deleted").samples, 10);
    assert_eq!((count("gone"), count("kept")), (170.0, 180.0));
    machine.clock.set_ms(day + 95 * DAY_MS);
    work_off(&store);
    assert_eq!((count("gone"), count("kept")), (170.0, 180.0));
    let range = TimeRange::new(Timestamp(day + 61 * 60_000), Timestamp(day + 62 * 60_000));
    let deleted = tenant.delete(&metrics(of_host("gone"), range)).expect("deleted");
    assert_eq!((deleted.samples, deleted.windows), (0, 2), "one of 5m, one of 1h");
    assert_eq!((count("gone"), count("kept")), (165.0, 180.0));
}

#[test]
fn p7_nothing_is_deleted_of_a_tenant_of_which_a_part_cannot_be_read() {
    let machine = machine(Encryption::Files);
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    write(&tenant, 1, &[("a", NOW - DAY_MS, 1.0), ("a", NOW, 2.0)]);
    tenant.flush().expect("flushed");
    let block = machine.vfs.paths().into_iter().rfind(|path| path.to_string_lossy().contains("/t/1/b/"));
    let block = block.expect("a block");
    let whole = machine.vfs.read_file(&block).expect("there");
    drop(tenant);
    drop(store);
    for at in [100, 200, whole.len() as u64 - 40] {
        machine.vfs.corrupt(&block, at, 1).expect("there");
    }
    let store = machine.open();
    let tenant = store.tenant(&id("acme")).expect("there");
    let files = machine.vfs.paths();
    let refused = tenant.delete(&metrics(of_host("a"), TimeRange::ALL)).expect_err("damaged").to_string();
    assert!(refused.contains(block.file_name().expect("a name").to_string_lossy().as_ref()), "{refused}");
    assert_eq!(machine.vfs.paths(), files, "no file was left behind");
    drop((tenant, store));
    machine.vfs.write_file(&block, &whole).expect("put back");
    let store = machine.open();
    assert_eq!(shown(&store.tenant(&id("acme")).expect("there").reader()).len(), 2);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// Random writes, late ones among them, flushes, merges, seals, deletions and power cuts, against a map.
    #[test]
    fn p7_what_is_left_is_what_was_written_and_not_deleted_before(
        steps in prop::collection::vec((0_u8..10, 0_usize..3, 0_i64..80, 1_i64..40), 1..40),
        sealed in any::<bool>(),
    ) {
        let machine = machine(if sealed { Encryption::Files } else { Encryption::None });
        let mut store = machine.open();
        drop(store.create_tenant(&id("acme"), plan("archive")).expect("created"));
        let mut expected: BTreeMap<(String, i64), u64> = BTreeMap::new();
        for (number, (what, host, hour, length)) in (0..).zip(steps) {
            let tenant = store.tenant(&id("acme")).expect("there");
            let (host, start) = (["a", "b", "c"][host], NOW - 96 * HOUR_MS + hour * HOUR_MS);
            match what {
                0..=4 => {
                    let samples: Vec<_> =
                        (0..length).map(|i| (host, start + i * 1_000_000, (number * 100) as f64 + i as f64)).collect();
                    write(&tenant, number, &samples);
                    expected.extend(samples.iter().map(|s| ((s.0.to_owned(), s.1), s.2.to_bits())));
                }
                5 => drop(tenant.flush().expect("flushed")),
                6 => drop(store.settle().expect("merged")),
                7 => {
                    drop((tenant, store));
                    machine.vfs.power_cut(SimCut::Nothing);
                    store = machine.open();
                }
                _ => {
                    let range = TimeRange::new(Timestamp(start), Timestamp(start + length * HOUR_MS));
                    let gone = |(of, time): &(String, i64)| of == host && range.contains(Timestamp(*time));
                    let count = expected.keys().filter(|key| gone(key)).count() as u64;
                    let deleted = tenant.delete(&metrics(of_host(host), range)).expect("deleted");
                    // Of one stamp there may be several samples in several blocks.
                    prop_assert!(deleted.samples >= count && (count > 0) == (deleted.samples > 0));
                    expected.retain(|key, _| !gone(key));
                }
            }
            let reader = store.tenant(&id("acme")).expect("there").reader();
            prop_assert_eq!(shown(&reader), expected.clone());
        }
        work_off(&store);
        store.settle().expect("merged");
        prop_assert_eq!(shown(&store.tenant(&id("acme")).expect("there").reader()), expected);
    }
}

#[test]
fn p7_what_a_manifest_names_stays_where_it_is_not_known_which_one_is_durable() {
    let (mut in_doubt, mut call) = (0, 0);
    for done in [false, true] {
        for at in 0.. {
            let machine = Machine::new();
            let store = machine.open();
            let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
            write(&tenant, 1, &[("a", NOW, 1.0), ("b", NOW, 2.0), ("c", NOW, 3.0)]);
            tenant.delete(&metrics(of_host("a"), TimeRange::ALL)).expect("deleted");
            // What is left of the first is still to go when the second fails.
            let fault = SimFault::once(SimCalls::Mutating, at, SimError::Io);
            machine.vfs.fail(SimFault { done, ..fault });
            let second = tenant.delete(&metrics(of_host("b"), TimeRange::ALL));
            machine.vfs.clear_faults();
            in_doubt += usize::from(!store.troubles().is_empty() && second.is_err());
            for _ in 0..20 {
                let _ = store.maintenance_step();
            }
            drop((tenant, store));
            machine.vfs.power_cut(SimCut::Everything);
            let store = machine.open();
            let tenant = store.tenant(&id("acme")).expect("there");
            let left = shown(&tenant.reader());
            assert!(left.contains_key(&("c".to_owned(), NOW)), "call {at}: {left:?}");
            assert!(!left.contains_key(&("a".to_owned(), NOW)), "call {at}: {left:?}");
            if second.is_ok() && at > 40 {
                call = at;
                break;
            }
        }
    }
    assert!(in_doubt > 0 && call > 0, "some call leaves it open which manifest is durable");
}
