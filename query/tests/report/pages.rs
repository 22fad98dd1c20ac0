//! The three forms of a report, on fixed data: golden files, escaping, empty and extreme weeks.

use crate::common::{Memory, RICH, make, one_event, request, rich, zone};
use annals_model::{Missing, TimeRange, Timestamp};
use annals_query::report::{DayState, Report, ReportRequest, Scope, SnapshotDay, Span};
use jiff::civil::date;

fn report(memory: &Memory) -> Report {
    make(memory, &request(RICH))
}

/// Compares a form of a report with its snapshot under `testdata/`, as it was when somebody looked at it.
fn snapshot(name: &str, form: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../testdata");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| match form {
        // A file by itself, for the browser.
        "html" => insta::assert_binary_snapshot!(&format!("{name}_html.html"), text.as_bytes().to_vec()),
        form => insta::assert_snapshot!(format!("{name}_{form}"), text),
    });
}

#[test]
fn the_rich_week_reads_as_recorded() {
    let report = report(&rich());
    snapshot("report_rich", "md", &report.to_markdown());
    snapshot("report_rich", "json", &report.to_json());
    snapshot("report_rich", "html", &report.to_html());
}

#[test]
fn a_day_a_month_and_a_tenant_read_as_recorded() {
    let mut memory = rich();
    for hour in 0..24 {
        let at = 1_777_880_000_000 + hour * 3_600_000;
        memory.add("signals", &[("site", "blog"), ("kind", "http.request")], at / 60_000 * 60_000, 7.0);
        memory.add("http_requests", &[("site", "blog"), ("status", "200")], at / 60_000 * 60_000, 7.0);
    }
    // A site that has sent nothing since the week before.
    memory.add("signals", &[("site", "gone"), ("kind", "mail.sent")], 1_777_380_000_000, 3.0);
    let of = |span, scope| make(&memory, &ReportRequest { span, scope, ..request(date(2026, 5, 6)) });
    let site = request(RICH).scope;
    let (day, month) = (of(Span::Day, site.clone()), of(Span::Month, site));
    let tenant = of(Span::WEEK, Scope::Tenant);
    snapshot("report_day", "md", &day.to_markdown());
    snapshot("report_day", "html", &day.to_html());
    snapshot("report_month", "md", &month.to_markdown());
    snapshot("report_month", "html", &month.to_html());
    snapshot("report_tenant", "md", &tenant.to_markdown());
    snapshot("report_tenant", "html", &tenant.to_html());
    let requests = |report: &Report| report.traffic.requests.count();
    let sites = tenant.sites.as_ref().expect("a tenant has sites");
    assert_eq!((sites.active, sites.active_before, &*sites.silent), (2, 2, &["gone".to_owned()][..]));
    let of_sites: u64 = sites.largest.iter().map(|site| site.counts.requests[0]).sum();
    assert_eq!(of_sites, requests(&tenant));
    assert_eq!(day.traffic.steps.iter().map(|step| step.count()).sum::<u64>(), requests(&day));
    assert!(requests(&day) < requests(&month));
}

#[test]
fn an_empty_week_says_so() {
    let report = report(&Memory::default());
    assert!(!report.has_data());
    snapshot("report_empty", "md", &report.to_markdown());
    snapshot("report_empty", "html", &report.to_html());
    let text = report.to_markdown();
    assert!(text.contains("There is no data for this week"));
    assert!(!text.contains("| 0"));
}

#[test]
fn a_single_event_makes_a_sensible_page() {
    let report = report(&one_event());
    snapshot("report_one_event", "md", &report.to_markdown());
    snapshot("report_one_event", "html", &report.to_html());
    assert!(report.to_markdown().contains("The site answered 1 request"));
}

#[test]
fn p8_the_same_data_gives_the_same_bytes() {
    let (a, b) = (report(&rich()), report(&rich()));
    assert_eq!(a.to_markdown(), b.to_markdown());
    assert_eq!(a.to_html(), b.to_html());
    assert_eq!(a.to_json(), b.to_json());
}

#[test]
fn a_page_asks_nothing_of_the_outside_and_is_small() {
    let memories = [rich(), one_event(), crowded(), Memory::default()];
    let spans = [Span::Day, Span::WEEK, Span::Month];
    for (memory, span) in memories.iter().flat_map(|memory| spans.map(|span| (memory, span))) {
        let html = make(memory, &ReportRequest { span, scope: Scope::Tenant, ..request(RICH) }).to_html();
        for forbidden in
            ["http://", "https://", "<script", "javascript:", " on", "url(", "@import", "<link", "<img"]
        {
            let found = html.to_lowercase();
            let found = if forbidden == " on" { !no_handlers(&found) } else { found.contains(forbidden) };
            assert!(!found, "{forbidden}");
        }
        assert!(html.len() < 200 << 10, "{} bytes", html.len());
    }
}

/// As many and as long names as signals may have.
fn crowded() -> Memory {
    let mut memory = rich();
    for index in 0..500 {
        let (at, long) = (1_777_880_000_000, format!("{:/<60}{index:04}", "/a"));
        memory.count("http_requests", &[("status", "200"), ("route", &long)], at, 1_000_000 + index);
        memory.durations(&long, at, index * 20, 1_000);
        memory.count("config_changes", &[("option", &format!("{long}{long}"))], at, 50);
        for result in ["ok", "failed", "missed", "late"] {
            memory.count("cron_runs", &[("hook", &format!("{long}{long}")), ("result", result)], at, 50);
        }
        memory.add("signals", &[("site", &long), ("kind", "mail.sent")], at / 60_000 * 60_000, 1.0);
    }
    memory
}

/// Whether no tag has an attribute that starts with `on`.
fn no_handlers(html: &str) -> bool {
    let tags = html.split('<').skip(1).filter_map(|tag| tag.split('>').next());
    tags.into_iter().all(|tag| !tag.split_whitespace().skip(1).any(|part| part.starts_with("on")))
}

/// Checks that elements nest: a hostile name that got through as markup would break it.
fn well_formed(html: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in html.split('<').skip(1) {
        let tag = tag.split('>').next().expect("split gives one part at least");
        let name = tag.split_whitespace().next().unwrap_or_default();
        if let Some(closed) = name.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed));
        } else if !tag.ends_with('/') && !["!doctype", "meta"].contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, Vec::<&str>::new());
}

#[test]
fn hostile_names_stay_text() {
    let mut memory = rich();
    let monday = Timestamp(1_777_880_000_000);
    let names = [
        "<script>alert(1)</script>",
        "\"><img src=x onerror=alert(1)>",
        "https://evil.example/?a='b'&c",
        "a|b`c\n## heading",
        "\u{202e}gnp.exe\u{0}",
        "]]></style></svg><style>*{display:none}",
    ];
    for name in names {
        memory.count("http_requests", &[("status", "200"), ("route", name)], monday.0, 900_000);
        memory.count("cron_runs", &[("hook", name), ("result", name)], monday.0, 900);
        memory.count("config_changes", &[("option", name)], monday.0, 900);
        memory.count("file_edits", &[("area", name)], monday.0, 900);
        memory.count("errors", &[("severity", name)], monday.0, 900);
        memory.count("auth_attempts", &[("result", name)], monday.0, 900);
        memory.count("mails", &[("result", name)], monday.0, 900);
    }
    memory.coverage.missing.push(Missing { range: TimeRange::ALL, why: "<b>block</b> https://x".to_owned() });
    let report = report(&memory);
    let html = report.to_html();
    for text in ["<script", "<img", "https://", "<b>", "\u{202e}", "\u{0}"] {
        assert!(!html.contains(text), "{text:?}");
    }
    assert!(no_handlers(&html) && html.contains("&lt;script&gt;alert(1)"));
    well_formed(&html);
    well_formed(&super::pages::report(&rich()).to_html());
    let markdown = report.to_markdown();
    assert!(!markdown.contains("\n## heading") && !markdown.contains('\u{202e}'));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&report.to_json()).expect("JSON")["schema"],
        "annals.report/2"
    );
}

#[test]
fn p8_small_counts_of_free_names_are_told_nowhere() {
    let mut memory = rich();
    for (at, metric, label) in [(1, "http_requests", "route"), (2, "config_changes", "option")] {
        memory.count(metric, &[(label, "planted-few"), ("status", "200")], 1_777_880_000_000 + at, 4);
    }
    memory.count("cron_runs", &[("hook", "planted-few"), ("result", "failed")], 1_777_880_000_000, 4);
    memory.count("config_changes", &[("option", "planted-more")], 1_777_880_000_000, 11);
    let told = |few: u64, name: &str| {
        let report = make(&memory, &ReportRequest { few, ..request(RICH) });
        let told = [report.to_markdown(), report.to_html(), report.to_json()].map(|text| text.contains(name));
        assert!(told.iter().all(|each| *each == told[0]), "{told:?}");
        told[0]
    };
    let default = request(RICH).few;
    assert!(!told(default, "planted-few") && told(default, "planted-more"));
    assert!(told(4, "planted-few") && told(11, "planted-more") && !told(12, "planted-more"));
}

#[test]
fn huge_zero_and_equal_counts_keep_charts_sensible() {
    for size in [1, 7, 1 << 20, 1 << 40] {
        let mut memory = Memory::default();
        let monday = annals_query::exact::day_range(RICH, &zone("Europe/Berlin")).expect("in range").start.0;
        for day in -7..7 {
            let at = monday + day * 86_400_000 + 40_000_000;
            memory.count("http_requests", &[("status", "200"), ("route", "/")], at, size / 7 + 1);
            memory.count("auth_attempts", &[("result", "failure")], at, size / 14 + 1);
        }
        let html = report(&memory).to_html();
        well_formed(&html);
        for height in html.split(" height=\"").skip(1) {
            let value: u64 = height.split('"').next().expect("a value").parse().expect("a whole number");
            assert!(value <= 120, "{value}");
        }
    }
}

#[test]
fn weeks_with_a_clock_change_show_their_hours() {
    for (monday, hours) in [(date(2026, 3, 23), 167), (date(2026, 10, 19), 169)] {
        let report = make(&Memory::default(), &request(monday));
        assert_eq!(report.period.hours, hours);
        assert!(report.to_markdown().contains(&format!("the week has {hours} hours")));
    }
}

#[test]
fn what_is_provisional_expired_or_unreadable_is_said() {
    let mut memory = rich();
    let monday = annals_query::exact::day_range(RICH, &zone("Europe/Berlin")).expect("in range").start;
    memory.coverage.expired_through = Some(monday.saturating_add(-3 * 86_400_000));
    let range = TimeRange::new(monday, monday.saturating_add(86_400_000));
    memory.coverage.missing.push(Missing { range, why: "block 20260504-raw-00000001: bad check".to_owned() });
    // The UTC day holds the ends of one day of Berlin and nearly all of the next.
    let day = monday.saturating_add(5 * 86_400_000 + 7_200_001).day();
    memory.days.retain(|sealed| sealed.day != day);
    memory.days.push(SnapshotDay { day, state: DayState::Open });
    let report = make(&memory, &request(RICH));
    let text = report.to_markdown();
    assert_eq!(report.provisional_days, ["2026-05-09", "2026-05-10"]);
    assert!(text.contains("Provisional: 2026-05-09 and 2026-05-10 are not sealed yet"), "{text}");
    assert!(text.contains("| Sat 9 May \\* ") && text.contains("| Fri 8 May  "), "{text}");
    assert!(text.contains("has expired under the plan"));
    assert!(text.contains("1 part of the data could not be read"));
    assert!(text.contains("20260504-raw-00000001: bad check"));
}
