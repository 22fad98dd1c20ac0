//! P8: a report sees aggregates only, and is the same whenever it is made.

mod common;

use std::collections::BTreeSet;
use std::path::PathBuf;

use annals::query::report::{Report, ReportRequest, Scope, Span};
use annals::*;
use common::*;
use jiff::civil::date;
use jiff::tz::TimeZone;

/// The Monday of the week of [`NOW`].
const MONDAY: i64 = 1_789_948_800_000;

fn maintain(store: &Annals) {
    while store.maintenance_step().expect("maintenance works").is_some() {}
}

/// Sign-ins, requests and scheduled work of two weeks, some hours without any, one hour with a burst.
fn fill(tenant: &Tenant) {
    fill_site(tenant, "shop.example", 0);
}

fn fill_site(tenant: &Tenant, name: &str, mut number: u64) {
    for hour in (0..14 * 24_i64).filter(|hour| hour % 24 != 3 && hour % 7 != 2) {
        let at = |minute: i64| Timestamp(MONDAY - 7 * DAY_MS + hour * HOUR_MS + minute * MINUTE_MS + 1);
        let attempts = if hour == 200 { 400 } else { hour % 5 };
        let attempt = |count: i64| {
            Signal::new("auth.attempt", at(count % 50))
                .with("result", if count % 9 == 0 { "success" } else { "failure" })
                .with("method", "password")
        };
        let hook = |count: i64| {
            Signal::new("wp.cron", at(count))
                .with("hook", if count == 3 { "cleanup" } else { "send_mail" })
                .with("result", if hour % 11 == 0 { "failed" } else { "ok" })
        };
        // Fractions, whose sums have no exact double.
        let request = |count: i64| {
            Signal::new("http.request", at(count % 60))
                .with("method", "GET")
                .with("status", if count % 7 == 0 { 500 } else { 200 })
                .with("route", "/")
                .with("duration", 13 * (count + hour) % 997)
        };
        number += 1;
        let requests = (0..hour % 23).map(request);
        let signals = (0..attempts).map(attempt).chain((0..4).map(hook)).chain(requests).collect();
        let batch = SignalBatch { id: batch_id(number), site: site(name), signals };
        let acknowledged = write_signals(tenant, &batch).expect("written");
        assert_eq!(acknowledged.refused.len(), 0, "{acknowledged:?}");
    }
}

fn request(span: Span) -> ReportRequest {
    ReportRequest::new(id("acme"), Scope::Site(site("shop.example")), TimeZone::UTC, span, date(2026, 9, 21))
}

fn forms(report: &Report) -> [String; 3] {
    [report.to_markdown(), report.to_html(), report.to_json()]
}

/// A report without what names its snapshot and what is not sealed.
fn counts(mut report: Report) -> Report {
    report.snapshot.id = String::new();
    (report.snapshot.days_sealed, report.snapshot.days_empty, report.snapshot.days_open) = (0, 0, 0);
    report.provisional_days.clear();
    report
}

#[test]
fn p8_a_report_is_the_same_bytes_at_each_age_of_its_data() {
    let machine = Machine::new();
    machine.clock.set_ms(MONDAY + 7 * DAY_MS);
    let mut plan = plan("enterprise");
    plan.late_window_ms = Some(15 * DAY_MS);
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan).expect("created");
    fill(&tenant);
    let ask = || tenant.report_reader().report(&request(Span::WEEK)).expect("built");
    let fresh = ask();
    let text = fresh.to_markdown();
    assert!(text.contains("wave of 355") && text.contains("cleanup"), "{text}");
    assert_eq!(fresh.provisional_days.len(), 7);
    assert!(text.contains("Provisional: this week is not sealed yet"), "{text}");
    // Merged and sealed: the same counts, of another snapshot.
    machine.clock.set_ms(MONDAY + 27 * DAY_MS);
    maintain(&store);
    let sealed = ask();
    assert_eq!(counts(sealed.clone()), counts(fresh.clone()));
    assert_eq!(sealed.provisional_days, Vec::<String>::new());
    assert_ne!(sealed.snapshot.id, fresh.snapshot.id);
    assert_eq!((sealed.snapshot.days_sealed, sealed.snapshot.days_open), (14, 0));
    // From windows of five minutes, from hours: the same bytes of the same snapshot, from the first day on.
    for days in [28, 89, 200, 500] {
        machine.clock.set_ms(MONDAY + (7 + days) * DAY_MS);
        assert!(forms(&ask()) == forms(&sealed), "{days} days, before maintenance");
        maintain(&store);
        let now = ask();
        assert!(
            forms(&now) == forms(&sealed),
            "{days} days\n{}\n{}",
            sealed.to_markdown(),
            now.to_markdown()
        );
    }
    machine.clock.set_ms(MONDAY + 1_200 * DAY_MS);
    maintain(&store);
    let expired = ask();
    assert!(expired.to_markdown().contains("has expired under the plan"), "what is not kept is said");
    assert_eq!(expired.traffic.requests.count, None, "and is no zero");
    assert_ne!(expired.snapshot.id, sealed.snapshot.id);
}

#[test]
fn p8_a_snapshot_is_named_after_its_data() {
    let machine = Machine::new();
    machine.clock.set_ms(MONDAY + 7 * DAY_MS);
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    fill(&tenant);
    machine.clock.set_ms(MONDAY + 8 * DAY_MS);
    maintain(&store);
    let ask = || tenant.report_reader().report(&request(Span::WEEK)).expect("built");
    let sealed = ask();
    assert!(forms(&sealed).iter().all(|form| form.contains(&sealed.snapshot.id)));
    assert_eq!(sealed.snapshot.days_open, 0, "{:?}", sealed.snapshot);
    // A process that reads the files alone says the same.
    let beside = machine.read_only().report_reader(&id("acme")).expect("known").report(&request(Span::WEEK));
    assert!(forms(&beside.expect("built")) == forms(&sealed));
    // One more signal, in a day that takes old data for ever: that day is open until it is sealed again.
    let wednesday = Timestamp(MONDAY + 2 * DAY_MS + 5 * HOUR_MS);
    let late = Signal::new("mail.sent", wednesday).with("result", "failed");
    let batch = SignalBatch { id: batch_id(9_999), site: site("shop.example"), signals: vec![late] };
    write_signals(&tenant, &batch).expect("written");
    let open = ask();
    assert_eq!(open.provisional_days, ["2026-09-23"]);
    assert!(open.to_markdown().contains("| Wed 23 Sep \\* "), "{}", open.to_markdown());
    assert_eq!(open.mail.bad.count, Some(1));
    assert_ne!(open.snapshot.id, sealed.snapshot.id);
    // Too little for a seal of its own: the day stays open, and as long as nothing comes, the snapshot is the same.
    machine.clock.set_ms(MONDAY + 9 * DAY_MS);
    maintain(&store);
    assert!(forms(&ask()) == forms(&open));
    let other = Signal::new("mail.sent", wednesday).with("result", "sent");
    let batch = SignalBatch { id: batch_id(10_000), site: site("other"), signals: vec![other] };
    write_signals(&tenant, &batch).expect("written");
    assert_eq!(ask().snapshot, open.snapshot, "another site's signals change nothing of this report");
}

#[test]
fn a_week_from_before_the_tenant_was_there_is_no_data_and_not_zero() {
    let machine = Machine::new();
    machine.clock.set_ms(MONDAY + 7 * DAY_MS);
    let store = machine.open();
    let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
    let thursday = MONDAY + 3 * DAY_MS;
    let signal =
        |hour: i64| Signal::new("mail.sent", Timestamp(thursday + hour * HOUR_MS + 1)).with("result", "sent");
    let signals = (0..4 * 24).map(signal).collect();
    write_signals(&tenant, &SignalBatch { id: batch_id(1), site: site("shop.example"), signals })
        .expect("written");
    let report = tenant.report_reader().report(&request(Span::WEEK)).expect("built");
    assert_eq!((report.mail.mails.count, report.mail.mails.before), (Some(96), None));
    assert_eq!(report.coverage.days_without_data, ["2026-09-21", "2026-09-22", "2026-09-23"]);
    assert_eq!((report.coverage.hours, report.coverage.hours_with_data), (168, 96));
    assert_eq!(report.mail.mails.usual, None);
    let text = report.to_markdown();
    assert!(text.contains("3 days have no data; in all 72 of 168 hours have none"), "{text}");
    // Days and months of the same data.
    let day = tenant.report_reader().report(&request(Span::Day)).expect("built");
    assert!(day.to_markdown().contains("There is no data for this day"), "{}", day.to_markdown());
    let month = tenant.report_reader().report(&request(Span::Month)).expect("built");
    assert_eq!((month.coverage.hours, month.mail.mails.count), (30 * 24, Some(96)));
}

/// Makes a report of each site, together and alone, which must be the same; in how many of them something is missing.
fn together_and_alone(reader: &ReportReader, sites: &[SiteName], what: &str) -> usize {
    let together = reader.site_reports(&request(Span::WEEK), sites);
    assert_eq!(together.len(), sites.len(), "{what}");
    let mut damaged = 0;
    for (site, report) in sites.iter().zip(together) {
        let alone = reader.report(&request(Span::WEEK).of_site(site)).expect("built");
        assert!(forms(&report.expect("built")) == forms(&alone), "{what}: {site}");
        damaged += usize::from(alone.coverage.missing_parts > 0);
    }
    damaged
}

#[test]
fn reports_of_several_sites_are_those_of_each() {
    let machine = Machine::new();
    machine.clock.set_ms(MONDAY + 7 * DAY_MS);
    let store = machine.open();
    let plan = Plan { late_window_ms: Some(15 * DAY_MS), ..plan("enterprise") };
    let tenant = store.create_tenant(&id("acme"), plan).expect("created");
    // Names that one would take for the other as a pattern, and more of them than are looked at together.
    let mut names = vec!["a.b".to_owned(), "a-b".to_owned(), "axb".to_owned(), "shop.example".to_owned()];
    for (number, name) in (0..).zip(&names) {
        fill_site(&tenant, name, number * 1_000);
    }
    names.extend((0..40).map(|number| format!("silent-{number}.example")));
    names.extend(["axb".to_owned(), "very-long-name.".repeat(3) + "example"]);
    let sites: Vec<SiteName> = names.iter().map(|name| site(name)).collect();
    let reader = tenant.report_reader();
    assert_eq!(together_and_alone(&reader, &sites, "from the head"), 0);
    tenant.flush().expect("flushed");
    let whole = machine.vfs.snapshot();
    machine.clock.set_ms(MONDAY + 27 * DAY_MS);
    maintain(&store);
    assert_eq!(together_and_alone(&reader, &sites, "sealed"), 0);
    machine.clock.set_ms(MONDAY + 200 * DAY_MS);
    maintain(&store);
    assert_eq!(together_and_alone(&reader, &sites, "of windows"), 0);

    machine.clock.set_ms(MONDAY + 8 * DAY_MS);
    let is_raw = |path: &&PathBuf| path.to_string_lossy().contains("-raw-");
    let block = whole.paths().into_iter().rev().find(|path| is_raw(&path)).expect("there is one");
    let bytes = whole.read_file(&block).expect("readable").len() as u64;
    // Of one site, and of all.
    let mut damaged = BTreeSet::new();
    for at in (0..bytes).step_by(bytes as usize / 70) {
        let machine = Machine { vfs: whole.snapshot(), clock: machine.clock.clone(), ..Machine::new() };
        machine.vfs.corrupt(&block, at, 0x10).expect("there");
        let reader = machine.read_only().report_reader(&id("acme")).expect("known");
        damaged.insert(together_and_alone(&reader, &sites, &format!("damaged at byte {at}")));
    }
    assert!(damaged.contains(&1) && damaged.contains(&sites.len()), "{damaged:?}");
}
