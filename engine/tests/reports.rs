//! P8: a report sees aggregates only, and is the same whenever it is made.

mod common;

use annals::query::report::ReportRequest;
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
    let mut number = 0;
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
        number += 1;
        let signals = (0..attempts).map(attempt).chain((0..4).map(hook)).collect();
        let batch = SignalBatch { id: batch_id(number), site: site("shop.example"), signals };
        let acknowledged = write_signals(tenant, &batch).expect("written");
        assert_eq!(acknowledged.refused.len(), 0, "{acknowledged:?}");
    }
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
    let request = ReportRequest::new(id("acme"), site("shop.example"), TimeZone::UTC, date(2026, 9, 21));
    let ask = || {
        let report = tenant.report_reader().report(&request).expect("built");
        [report.to_markdown(), report.to_html(), report.to_json()]
    };
    let fresh = ask();
    assert!(fresh[0].contains("wave of 355") && fresh[0].contains("cleanup"), "{}", fresh[0]);
    // Merged, sealed, from windows of five minutes, from hours.
    for days in [1, 20, 89, 200, 500] {
        machine.clock.set_ms(MONDAY + (7 + days) * DAY_MS);
        assert!(ask() == fresh, "{days} days, before maintenance");
        maintain(&store);
        let now = ask();
        assert!(now == fresh, "{days} days\n{}\n{}", fresh[0], now[0]);
    }
    machine.clock.set_ms(MONDAY + 1_200 * DAY_MS);
    maintain(&store);
    assert!(ask()[0].contains("has expired under the plan"), "what is not kept is said, and no zero");
}
