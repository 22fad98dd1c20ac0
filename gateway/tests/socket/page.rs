//! The page: its files and their policy, and what it asks beside the Prometheus API.

use annals::vfs::RealVfs;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::common::{Bench, Reply, now_ms};

const REPORT: &str = "/api/annals/report?site=shop.example&of=2026-11-16";

#[test]
fn the_page_loads_its_own_files_and_its_policy_allows_nothing_else() {
    let bench = Bench::new();
    let get = |target: &str| bench.send("GET", target, &[], b"");
    // Relative: right below any path.
    let slash = get("/ui");
    assert_eq!((slash.status, slash.header("location")), (308, Some("ui/")));
    let page = get("/ui/");
    let policy = page.header("content-security-policy").expect("a policy").to_owned();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self' 'sha256-"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
    let text = page.text();
    let named: Vec<&str> = text
        .split(['"'])
        .filter(|word| [".js", ".css", ".svg"].iter().any(|end| word.ends_with(end)))
        .collect();
    assert_eq!(named, ["icon.svg", "app.css", "app.js"]);
    assert!(!text.contains("://") && !text.contains("<style") && !text.contains("style="), "{text}");
    for name in named {
        let file = get(&format!("/ui/{name}"));
        assert_eq!(
            (file.status, file.header("content-security-policy")),
            (200, Some(policy.as_str())),
            "{name}"
        );
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
        // A browser that has it is not sent it again.
        let tag = file.header("etag").expect("a tag");
        let again =
            bench.send("GET", &format!("/ui/{name}"), &[("If-None-Match", &format!("\"x\", W/{tag}"))], b"");
        assert_eq!((again.status, again.body.len()), (304, 0), "{name}");
    }
    assert_eq!(get("/ui/nothing.js").error(), (404, "not_found".to_owned()));
    assert_eq!(get("/ui/..%2f..%2fsrc%2fui.rs").status, 404);
}

#[test]
fn the_policy_knows_the_style_of_reports_and_no_other() {
    let bench = Bench::new();
    let report = bench.get(REPORT);
    assert_eq!(report.header("content-type"), Some("text/html; charset=utf-8"));
    let text = report.text();
    let styles: Vec<&str> = text.split("<style>").skip(1).collect();
    assert_eq!(styles.len(), 1);
    let style = styles[0].split("</style>").next().expect("closed");
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, style.as_bytes());
    let page = bench.send("GET", "/ui/", &[], b"");
    let allowed = format!("style-src 'self' 'sha256-{}';", BASE64_STANDARD.encode(hash));
    assert!(page.header("content-security-policy").expect("a policy").contains(&allowed));
    assert!(!text.contains("style=\"") && !text.contains("<script"));
}

#[test]
fn each_role_sees_what_is_its_own() {
    let bench = Bench::new();
    let targets = [
        "/api/annals/whoami",
        REPORT,
        "/api/annals/sites",
        "/api/annals/intake",
        "/api/annals/retention",
        "/api/annals/queries",
        "/api/annals/explain?query=up&time=1",
    ];
    for (token, statuses) in [
        (&bench.viewer, [200, 200, 200, 200, 200, 200, 200]),
        (&bench.manager, [200, 200, 200, 200, 200, 200, 200]),
        (&bench.report, [200, 200, 200, 403, 403, 403, 403]),
        (&bench.ingest, [200, 403, 403, 200, 403, 403, 403]),
        (&"annals_000000000000_0".to_owned(), [401; 7]),
    ] {
        assert_eq!(targets.map(|target| bench.get_as(token, target).status), statuses);
    }
    let who = |token: &str| bench.get_as(token, "/api/annals/whoami").data();
    assert_eq!(
        (&who(&bench.report)["tenant"], &who(&bench.report)["role"]),
        (&Value::from("acme"), &Value::from("report"))
    );
    assert_eq!(who(&bench.other)["tenant"], "other");
    assert_eq!(who(&bench.viewer)["latest"], Value::Null);
    let at = now_ms() - 60_000;
    bench.write(&format!("up 1 {at}\n"));
    assert_eq!(who(&bench.viewer)["latest"], at);
    // Who only writes is told nothing of what is there.
    assert_eq!(who(&bench.ingest)["latest"], Value::Null);
}

#[test]
fn what_an_operator_looks_at_is_written_down_first() {
    let bench = Bench::new();
    let token = format!("Bearer {}", bench.operator);
    let ask = |target: &str, headers: &[(&str, &str)]| -> Reply {
        bench.send("GET", target, &[&[("Authorization", token.as_str())], headers].concat(), b"")
    };
    let trail = || annals::audit_trail(&RealVfs, bench.directory.path()).expect("read").entries;
    // It is told that it is one, so that it can be asked for tenant and reason.
    let who = ask("/api/annals/whoami", &[]).data();
    assert_eq!(
        (&who["operator"], &who["tenant"], &who["latest"]),
        (&Value::from("ann"), &Value::Null, &Value::Null)
    );
    assert_eq!(ask("/api/annals/retention", &[("X-Annals-Tenant", "acme")]).status, 403);
    assert_eq!(trail(), []);
    let why = [("X-Annals-Tenant", "acme"), ("X-Annals-Reason", "ticket 7")];
    for target in [
        "/api/annals/whoami",
        "/api/annals/retention",
        "/api/annals/intake",
        "/api/annals/queries",
        REPORT,
        "/api/annals/sites",
        "/api/annals/explain?query=up&time=1",
    ] {
        let before = trail().len();
        assert_eq!(ask(target, &why).status, 200, "{target}");
        assert_eq!(trail().len(), before + 1, "{target}");
    }
    let actions: Vec<String> = trail().into_iter().map(|entry| entry.action).collect();
    assert_eq!(actions, ["note", "note", "note", "note", "report", "sites", "explain"]);
}

#[test]
fn what_became_of_what_was_sent_is_told_to_its_tenant_alone() {
    let bench = Bench::new();
    let (at, ahead) = (now_ms() - 60_000, now_ms() + 40 * 86_400_000);
    let token = format!("Bearer {}", bench.ingest);
    let text = format!("up 1 {at}\nup 1 {ahead}\n");
    bench.send("POST", "/api/v1/import/prometheus", &[("Authorization", &token)], text.as_bytes());
    let own = bench.get("/api/annals/intake").data();
    let refused = |data: &Value| -> Vec<(String, u64)> {
        let all = data["refused"].as_array().expect("a list").iter();
        let pair = |one: &Value| Some((one["reason"].as_str()?.to_owned(), one["count"].as_u64()?));
        all.filter_map(pair).filter(|(_, count)| *count > 0).collect()
    };
    assert_eq!((&own["records"], refused(&own)), (&Value::from(1), vec![("future".to_owned(), 1)]));
    let other = bench.get_as(&bench.other, "/api/annals/intake").data();
    assert_eq!((&other["records"], refused(&other)), (&Value::from(0), vec![]));
}

#[test]
fn a_tenant_sees_its_own_queries_and_not_what_an_operator_asked() {
    let bench = Bench::new();
    for _ in 0..2 {
        bench.get("/api/v1/query?query=sum(up)");
    }
    bench.get_as(&bench.other, "/api/v1/query?query=hidden");
    let token = format!("Bearer {}", bench.operator);
    let headers =
        [("Authorization", token.as_str()), ("X-Annals-Tenant", "acme"), ("X-Annals-Reason", "ticket 7")];
    assert_eq!(bench.send("GET", "/api/v1/query?query=audited", &headers, b"").status, 200);
    let own = bench.get("/api/annals/queries").data();
    let own = own.as_array().expect("a list");
    assert_eq!(
        (own.len(), &own[0]["query"], &own[0]["asked"]),
        (1, &Value::from("sum(up)"), &Value::from(2))
    );
}

#[test]
fn a_query_is_explained_with_what_each_part_took() {
    let bench = Bench::new();
    let second = now_ms() / 1000 - 60;
    bench.write(&format!("up{{job=\"a\"}} 1 {0}\nup{{job=\"b\"}} 1 {0}\n", second * 1000));
    let found = bench.get(&format!("/api/annals/explain?query=sum(up)&time={second}")).data();
    let parts = found["parts"].as_array().expect("a list");
    assert_eq!(parts.iter().map(|part| part["depth"].as_u64()).collect::<Vec<_>>(), [Some(0), Some(1)]);
    assert_eq!(parts[1]["selector"]["series"], 2);
    assert!(parts[0]["cost"]["nanoseconds"].as_u64().is_some_and(|took| took > 0), "{parts:?}");
    let wrong = bench.get("/api/annals/explain?query=sum(up&time=1");
    assert_eq!(wrong.error().0, 400);
    let text = wrong.text();
    assert!(text.contains("1:7: parse error"), "{text}");
}

#[test]
fn a_report_comes_in_each_form_and_wrong_questions_are_refused() {
    let bench = Bench::new();
    assert!(bench.get(REPORT).text().starts_with("<!doctype html>"));
    assert!(
        bench.get(&format!("{REPORT}&format=markdown&tz=Europe/Berlin")).text().starts_with("# shop.example")
    );
    assert!(bench.get(&format!("{REPORT}&format=json")).json().is_object());
    for span in ["day", "week", "month"] {
        assert_eq!(bench.get(&format!("/api/annals/report?of=2026-11-16&span={span}")).status, 200, "{span}");
    }
    for wrong in [
        "/api/annals/report",
        "/api/annals/report?site=shop.example",
        "/api/annals/report?site=shop.example&of=never",
        "/api/annals/report?site=a/b&of=2026-11-16",
        "/api/annals/report?of=2026-11-16&tz=Nowhere",
        "/api/annals/report?of=2026-11-16&format=pdf",
        "/api/annals/report?of=2026-11-16&span=year",
    ] {
        assert_eq!(bench.get(wrong).error(), (400, "bad_data".to_owned()), "{wrong}");
    }
}
