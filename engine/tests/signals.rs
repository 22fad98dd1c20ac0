//! Raw signals are found and counted by matchers wherever they are: in blocks of several flushes, in the head, in a store
//! that is open for reading only.

mod common;

use std::collections::BTreeMap;

use annals::vfs::SimCut;
use annals::{
    CountedSignals, MatchOp, Matcher, RefusalReason, Signal, SignalBatch, SignalRow, SiteName, TenantError,
    TenantReader, TimeRange, Timestamp,
};
use common::{Machine, NOW, attempts, batch_id, id, plan, raw_signals, site, write_signals};

const HOUR: i64 = 3_600_000;

/// Requests and sign-ins of two sites; every few at the same instant.
fn batch(number: u64, count: i64) -> SignalBatch {
    let signal = |i: i64| {
        let time = Timestamp(NOW - 40 * HOUR + (i * 7919 % 400) * HOUR / 10);
        match i % 3 {
            0 => Signal::new("auth.attempt", time)
                .with("result", if i % 2 == 0 { "failure" } else { "success" })
                .with("method", "password"),
            _ => Signal::new("http.request", time)
                .with("method", "GET")
                .with("status", 200 + i % 5 * 51)
                .with("route", format!("/r/{}", i % 4).as_str()),
        }
    };
    let site = site(if number.is_multiple_of(2) { "shop.example" } else { "blog.example" });
    SignalBatch {
        id: batch_id(number),
        site,
        signals: (0..count).map(|i| signal(i * 31 + number as i64)).collect(),
    }
}

fn scan(reader: &TenantReader, range: TimeRange, matchers: &[Matcher]) -> Vec<SignalRow> {
    let mut rows = Vec::new();
    assert_eq!(reader.scan_signals(range, matchers, &mut |row| rows.push(row.clone())), []);
    rows
}

#[test]
fn what_matchers_find_is_what_they_find_among_all_rows_and_as_many_as_are_counted() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    let mut written = Vec::new();
    for number in 0..9 {
        let batch = batch(number, 60);
        written.extend(batch.signals.iter().map(|signal| (signal.time, batch.site.clone())));
        let acknowledged = write_signals(&tenant, &batch).expect("written");
        assert_eq!(acknowledged.refused, []);
        if number % 3 == 1 {
            tenant.flush().expect("flushed");
        }
    }
    written.sort_by_key(|(time, _)| *time);
    holds(&tenant.reader(), &written);
    drop((tenant, store));
    holds(&machine.read_only().tenant(&id("acme")).expect("there"), &written);
}

/// All that was written is found by a reader, and matchers find of it what they say.
fn holds(reader: &TenantReader, written: &[(Timestamp, SiteName)]) {
    let matcher = |name, op, value| Matcher::new(name, op, value).expect("valid");
    let cases = [
        vec![],
        vec![matcher("kind", MatchOp::Equal, "auth.attempt")],
        vec![matcher("site", MatchOp::Regex, "shop.*")],
        vec![
            matcher("status", MatchOp::Regex, "4..|3.."),
            matcher("site", MatchOp::NotEqual, "blog.example"),
        ],
        vec![matcher("result", MatchOp::NotEqual, "failure")],
        vec![matcher("route", MatchOp::Equal, "")],
        vec![matcher("method", MatchOp::Equal, "password"), matcher("result", MatchOp::Equal, "success")],
        vec![matcher("kind", MatchOp::Equal, "none")],
    ];
    let ranges = [TimeRange::ALL, TimeRange::new(Timestamp(NOW - 30 * HOUR), Timestamp(NOW - 11 * HOUR))];
    let schema = annals::signals::builtin();
    let all = scan(reader, TimeRange::ALL, &[]);
    // Once each, by time, at one instant as they came.
    let told: Vec<_> = all.iter().map(|row| (row.time, row.site.clone())).collect();
    assert_eq!(told.len(), written.len());
    let differs = told.iter().zip(written).find(|(told, written)| told != written);
    assert_eq!(differs, None);
    for (range, matchers) in ranges.iter().flat_map(|range| cases.iter().map(move |case| (*range, case))) {
        let is_wanted = |row: &&SignalRow| {
            range.contains(row.time) && row.matches(schema.kind(&row.kind).expect("known"), matchers)
        };
        let expected: Vec<SignalRow> = all.iter().filter(is_wanted).cloned().collect();
        assert_eq!(scan(reader, range, matchers), expected, "{matchers:?}");
        let mut by_kind = BTreeMap::new();
        for row in expected {
            *by_kind.entry((row.kind, row.site)).or_insert(0) += 1;
        }
        let counted = CountedSignals { rows: by_kind, missing: Vec::new() };
        assert_eq!(reader.count_signals(range, matchers), counted, "{matchers:?}");
    }
}

#[test]
fn a_kind_that_is_switched_off_is_refused_by_name_and_stays_off() {
    let machine = Machine::new();
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    store.create_tenant(&id("other"), plan("archive")).expect("created");
    assert_eq!(write_signals(&tenant, &attempts(1, &[NOW])).expect("written").accepted(), 1);
    assert_eq!(tenant.switch_kind("auth.attempt", false).ok(), Some(true));
    assert_eq!(tenant.switch_kind("auth.attempt", false).ok(), Some(false), "it is off");
    assert!(matches!(tenant.switch_kind("no.such", false), Err(TenantError::UnknownKind { .. })));
    drop((tenant, store));
    machine.vfs.power_cut(SimCut::Nothing);
    let store = machine.open();
    let tenant = store.tenant(&id("acme")).expect("there");
    assert_eq!(tenant.summary().kinds_off, ["auth.attempt"]);
    let mut mixed = attempts(2, &[NOW - 1]);
    let request = Signal::new("http.request", Timestamp(NOW)).with("method", "GET").with("status", 200);
    mixed.signals.push(request.with("route", "/"));
    let acknowledged = write_signals(&tenant, &mixed).expect("written");
    let refused: Vec<_> = acknowledged.refused.iter().map(|(at, refusal)| (*at, refusal.reason)).collect();
    assert_eq!((acknowledged.accepted(), refused), (1, vec![(0, RefusalReason::KindOff)]));
    assert!(
        write_signals(&tenant, &attempts(1, &[NOW])).expect("answered").duplicate,
        "it was counted before"
    );
    assert_eq!(raw_signals(&tenant.reader()), 2);
    let other = store.tenant(&id("other")).expect("there");
    assert_eq!(write_signals(&other, &attempts(1, &[NOW])).expect("written").accepted(), 1);
    assert_eq!(tenant.switch_kind("auth.attempt", true).ok(), Some(true));
    assert_eq!(write_signals(&tenant, &attempts(3, &[NOW])).expect("written").accepted(), 1);
}
