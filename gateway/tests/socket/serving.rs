//! Over a real socket: who is let in, queries, beginning and end.

use crate::common::{Bench, config, connect, now_ms, start, until};
use serde_json::json;

#[test]
fn what_is_written_is_answered_at_once() {
    let bench = Bench::new();
    let second = now_ms() / 1000 - 60;
    bench.write(&format!("up{{job=\"a\"}} 1 {0}\nup{{job=\"b\"}} 0.5 {0}\n", second * 1000));
    let data = bench.get(&format!("/api/v1/query?query=up&time={second}")).data();
    let expected = json!({ "resultType": "vector", "result": [
        { "metric": { "__name__": "up", "job": "a" }, "value": [second, "1"] },
        { "metric": { "__name__": "up", "job": "b" }, "value": [second, "0.5"] },
    ]});
    assert_eq!(data, expected);
    // The same by a form, and over a range.
    let by_form = bench.post_form("/api/v1/query", &format!("query=up&time={second}")).data();
    assert_eq!(by_form, expected);
    let (start, end) = (second, second + 30);
    let range =
        bench.get(&format!("/api/v1/query_range?query=sum(up)&start={start}&end={end}&step=15s")).data();
    let values = json!([[start, "1.5"], [start + 15, "1.5"], [end, "1.5"]]);
    assert_eq!(range, json!({ "resultType": "matrix", "result": [{ "metric": {}, "values": values }] }));
    // Another tenant has none of it.
    let other = bench.get_as(&bench.other, &format!("/api/v1/query?query=up&time={second}")).data();
    assert_eq!(other["result"], json!([]));
}

#[test]
fn each_role_may_do_its_own_and_no_more() {
    let bench = Bench::new();
    let (read, write) = ("/api/v1/query?query=1", "/api/v1/import/prometheus");
    for (token, reads, writes) in [
        (&bench.ingest, 403, 204),
        (&bench.viewer, 200, 403),
        (&bench.report, 403, 403),
        (&bench.manager, 200, 204),
        (&"annals_000000000000_0".to_owned(), 401, 401),
        (&String::new(), 401, 401),
    ] {
        assert_eq!(bench.get_as(token, read).status, reads);
        let header = format!("Bearer {token}");
        assert_eq!(bench.send("POST", write, &[("Authorization", &header)], b"up 1\n").status, writes);
    }
    assert_eq!(bench.send("GET", read, &[], b"").status, 401);
}

#[test]
fn a_header_does_not_make_another_tenant_of_anybody() {
    let bench = Bench::new();
    let token = format!("Bearer {}", bench.viewer);
    let answers = ["other", "nobody", "../acme", ""].map(|named| {
        let headers = [("Authorization", token.as_str()), ("X-Scope-OrgID", named)];
        let reply = bench.send("GET", "/api/v1/query?query=1", &headers, b"");
        (reply.status, reply.text())
    });
    assert_eq!(answers[0].0, 403);
    assert!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");
    let own = [("Authorization", token.as_str()), ("X-Annals-Tenant", "acme")];
    assert_eq!(bench.send("GET", "/api/v1/query?query=1", &own, b"").status, 200);
}

#[test]
fn an_operator_says_why_and_that_is_written_down_before_the_answer() {
    let bench = Bench::new();
    let token = format!("Bearer {}", bench.operator);
    let ask = |headers: &[(&str, &str)]| {
        let all = [&[("Authorization", token.as_str())], headers].concat();
        bench.send("GET", "/api/v1/query?query=up", &all, b"").status
    };
    assert_eq!(ask(&[("X-Annals-Tenant", "acme")]), 403);
    assert_eq!(ask(&[("X-Annals-Reason", "ticket 7")]), 403);
    assert_eq!(ask(&[("X-Annals-Tenant", "nobody"), ("X-Annals-Reason", "ticket 7")]), 403);
    let trail = || annals::audit_trail(&annals::vfs::RealVfs, bench.directory.path()).expect("read").entries;
    assert_eq!(trail(), []);
    assert_eq!(ask(&[("X-Annals-Tenant", "acme"), ("X-Annals-Reason", "ticket 7")]), 200);
    let entries = trail();
    assert_eq!(entries.len(), 1);
    let entry = &entries[0];
    assert_eq!(
        (entry.operator.as_str(), entry.reason.as_str(), entry.tenant.as_str()),
        ("ann", "ticket 7", "acme")
    );
    assert!(entry.what.starts_with("up at "), "{}", entry.what);
    // Series are read too.
    let headers =
        [("Authorization", token.as_str()), ("X-Annals-Tenant", "acme"), ("X-Annals-Reason", "ticket 8")];
    assert_eq!(bench.send("GET", "/api/v1/series?match[]=up", &headers, b"").status, 200);
    assert_eq!(trail()[1].action, "series");
}

#[test]
fn a_stopped_gateway_has_flushed_and_serves_the_same_when_it_is_started_again() {
    let bench = Bench::new();
    let second = now_ms() / 1000 - 60;
    bench.write(&format!("up 7 {}\n", second * 1000));
    let (viewer, address) = (bench.viewer.clone(), bench.server.address());
    let Bench { server, directory, .. } = bench;
    let served = server.stop().expect("it stops");
    assert!(served.drained && served.unflushed == 0, "{served:?}");
    assert!(std::net::TcpStream::connect(address).is_err());
    let store = crate::common::open_store(directory.path());
    let acme = store.tenants().into_iter().find(|tenant| tenant.id.as_str() == "acme").expect("there");
    assert_eq!((acme.samples, acme.head_samples), (1, 0));
    store.close().expect("closed");

    let server = start(config(), directory.path());
    let request = crate::common::request(
        "GET",
        &format!("/api/v1/query?query=up&time={second}"),
        &[("Authorization", &format!("Bearer {viewer}"))],
        b"",
    );
    let mut stream = connect(server.address());
    std::io::Write::write_all(&mut stream, &request).expect("sent");
    let reply = crate::common::read_reply(&mut stream).expect("a reply");
    assert_eq!(reply.data()["result"][0]["value"], json!([second, "7"]));
}

#[test]
fn health_is_for_everybody_and_readiness_ends_first() {
    let bench = Bench::new();
    assert_eq!(bench.send("GET", "/-/healthy", &[], b"").status, 200);
    assert_eq!(bench.send("GET", "/-/ready", &[], b"").status, 200);
    let reply = bench.get("/nothing");
    assert_eq!(reply.error(), (404, "not_found".to_owned()));
}

#[test]
fn answers_are_compressed_and_shown_to_the_origins_that_may_see_them() {
    let mut config = config();
    config.cors_origins = vec!["https://grafana.example".to_owned()];
    let bench = Bench::with(config);
    let token = format!("Bearer {}", bench.viewer);
    let target = "/api/v1/query_range?query=vector(time())&start=0&end=1000&step=1";
    let ask = |origin| {
        let headers =
            [("Authorization", token.as_str()), ("Accept-Encoding", "br, gzip"), ("Origin", origin)];
        bench.send("GET", target, &headers, b"")
    };
    let (known, unknown) = (ask("https://grafana.example"), ask("https://evil.example"));
    assert_eq!(known.header("access-control-allow-origin"), Some("https://grafana.example"));
    assert_eq!(unknown.header("access-control-allow-origin"), None);
    assert_eq!(known.header("content-encoding"), Some("gzip"));
    let mut plain = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&known.body[..]), &mut plain)
        .expect("gzip");
    assert_eq!(plain, bench.get(target).text());
    let preflight = bench.send("OPTIONS", target, &[("Origin", "https://grafana.example")], b"");
    assert_eq!((preflight.status, preflight.header("access-control-max-age")), (204, Some("600")));
}

#[test]
fn a_revoked_token_is_refused_within_two_seconds() {
    let bench = Bench::new();
    assert_eq!(bench.get("/api/v1/query?query=1").status, 200);
    let id = bench.viewer.split('_').nth(1).expect("an id");
    bench.access.revoke_token(id).expect("there");
    until(|| bench.get("/api/v1/query?query=1").status == 401);
}
