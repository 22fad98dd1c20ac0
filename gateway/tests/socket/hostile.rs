//! What a network can bring: the gateway lives, holds no more memory than it may, and serves the others meanwhile.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals::{TenantId, TenantNumber};
use annals_gateway::{Grant, Role};

use crate::common::{Bench, Reply, config, now_ms, read_reply, request};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    out.write_all(bytes).expect("memory");
    out.finish().expect("memory")
}

/// A request to write, as `acme`, with an encoding.
fn write(bench: &Bench, encoding: &str, body: &[u8]) -> u16 {
    let token = format!("Bearer {}", bench.ingest);
    let headers = [("Authorization", token.as_str()), ("Content-Encoding", encoding)];
    bench.send("POST", "/api/v1/import/prometheus", &headers, body).status
}

/// Kilobytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("there");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn heads_that_are_too_large_are_refused_and_not_held() {
    let bench = Bench::new();
    let megabyte = "x".repeat(1 << 20);
    for head in [
        format!("GET /{megabyte} HTTP/1.1\r\nHost: a\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {megabyte}\r\n\r\n"),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(10_000)),
        format!("POST /v1/signals HTTP/1.1\r\nHost: a\r\nAuthorization: annals1 {}\r\n\r\n", "key=0,".repeat(10_000)),
        "\u{0}\u{1}\u{2}nonsense\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n".to_owned(),
    ] {
        let reply = bench.raw(head.as_bytes());
        assert!(reply.as_ref().is_none_or(|reply| (400..=431).contains(&reply.status)), "{reply:?}");
    }
    assert_eq!(bench.get("/api/v1/query?query=1").status, 200);
}

#[test]
fn bodies_that_are_too_large_or_compressed_too_well_or_twice_are_refused() {
    let mut config = config();
    config.limits.body_bytes = 1 << 20;
    config.limits.plain_bytes = 4 << 20;
    let bench = Bench::with(config);
    let zeros = vec![b'#'; 64 << 20];
    assert_eq!(write(&bench, "identity", &zeros[..(1 << 20) + 1]), 413);
    assert_eq!(write(&bench, "gzip", &gzip(&zeros)), 413);
    assert_eq!(write(&bench, "deflate", &gzip(&zeros)), 400);
    assert_eq!(write(&bench, "zstd", &zstd::encode_all(&zeros[..], 1).expect("memory")), 413);
    let snappy = snap::raw::Encoder::new().compress_vec(&zeros[..16 << 20]).expect("memory");
    assert_eq!(write(&bench, "snappy", &snappy), 413);
    // A block that says that it is huge, and is not.
    assert_eq!(write(&bench, "snappy", &[0xff, 0xff, 0xff, 0xff, 0x0f, 0]), 413);
    // The inside of two layers is no text of samples.
    assert_eq!(write(&bench, "gzip", &gzip(&gzip(b"up 1\n"))), 400);
    assert_eq!(write(&bench, "gzip, gzip", &gzip(&gzip(b"up 1\n"))), 415);
    assert_eq!(write(&bench, "br", b"up 1\n"), 415);
    // What does not say its length is cut where it ends.
    let token = format!("Bearer {}", bench.ingest);
    let head = format!(
        "POST /api/v1/import/prometheus HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: {token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let mut stream = bench.connect();
    stream.write_all(head.as_bytes()).expect("sent");
    let chunk = [b"10000\r\n".as_slice(), &zeros[..0x10000], b"\r\n"].concat();
    let sent = (0..64).take_while(|_| stream.write_all(&chunk).is_ok()).count();
    assert!(sent < 64 || read_reply(&mut stream).is_some_and(|reply| reply.status == 413));
    assert_eq!(write(&bench, "gzip", &gzip(b"up 1\n")), 204);
}

#[test]
fn who_sends_or_takes_too_slowly_is_dropped() {
    let mut config = config();
    (config.limits.head_ms, config.limits.body_ms, config.limits.stall_ms) = (300, 300, 300);
    let bench = Bench::with(config);
    // A head, a byte at a time, for ever.
    let mut slow = bench.connect();
    slow.set_read_timeout(Some(Duration::from_millis(20))).expect("possible");
    let mut ended = false;
    for _ in 0..500 {
        let gone = slow.write_all(b"x").is_err();
        let mut one = [0; 64];
        match slow.read(&mut one) {
            Ok(_) => ended = true,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => ended = true,
            Err(_) => {}
        }
        if ended || gone {
            ended = true;
            break;
        }
    }
    assert!(ended);
    // A body that never comes.
    let token = format!("Bearer {}", bench.ingest);
    let head = format!(
        "POST /api/v1/import/prometheus HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: {token}\r\nContent-Length: 100\r\n\r\nup"
    );
    let mut stream = bench.connect();
    stream.write_all(head.as_bytes()).expect("sent");
    assert_eq!(read_reply(&mut stream).map(|reply| reply.status), Some(408));
    // An answer that nobody takes.
    let second = now_ms() / 1000;
    let target =
        format!("/api/v1/query_range?query=vector(time())&start={}&end={second}&step=1", second - 29_000);
    let mut greedy = bench.connect();
    let reader = format!("Bearer {}", bench.viewer);
    let one = String::from_utf8(request("GET", &target, &[("Authorization", &reader)], b"")).expect("text");
    let kept = one.replace("Connection: close", "Connection: keep-alive");
    // More answers than sockets hold; then nothing is taken until the server gives up.
    let _ = greedy.write_all(kept.repeat(40).as_bytes());
    crate::common::until(|| connections(&bench) <= 1);
}

/// Connections that the gateway counts; the one that asks is one of them.
fn connections(bench: &Bench) -> u32 {
    let text = bench.send("GET", "/metrics", &[], b"").text();
    let found = text.lines().find_map(|line| line.strip_prefix("annals_gateway_connections "));
    found.and_then(|own| own.parse().ok()).expect("a number")
}

#[test]
fn queries_that_ask_for_too_much_are_refused_by_name() {
    let mut config = config();
    config.limits.query_series = 100;
    config.limits.query_ms = 2_000;
    let bench = Bench::with(config);
    let second = now_ms() / 1000 - 60;
    let text: String = (0..200).map(|n| format!("m{{n=\"{n}\"}} {n} {second}000\n")).collect();
    bench.write(&text);
    let deep = format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000));
    let wide = "1%2B".repeat(5_000) + "1";
    let alternatives = format!("m{{n=~%22{}%22}}", "a|".repeat(5_000));
    let bomb = "m{n=~%22(((((a{1,99}){1,99}){1,99}){1,99}){1,99})%22}";
    for (query, statuses) in [
        ("m", vec![422]),
        (deep.as_str(), vec![400, 414, 431]),
        (wide.as_str(), vec![200, 400, 414, 431]),
        (alternatives.as_str(), vec![200, 400, 414, 422, 431]),
        (bomb, vec![400, 422]),
        ("sum_over_time(vector(1)[100y:1ms])", vec![422, 503]),
        ("count_values(%22x%22,vector(1)[1h:1s])", vec![400]),
    ] {
        let reply = bench.get(&format!("/api/v1/query?query={query}&time={second}"));
        assert!(statuses.contains(&reply.status), "{}: {}", query.get(..40).unwrap_or(query), reply.text());
        // The same by a form, which may be longer than an address.
        let reply = bench.post_form("/api/v1/query", &format!("query={query}&time={second}"));
        assert!((200..=503).contains(&reply.status));
    }
    let message = bench.get(&format!("/api/v1/query?query=m&time={second}")).json()["error"].clone();
    assert!(message.as_str().is_some_and(|own| own.contains("limit of 100")), "{message}");
}

#[test]
fn who_asks_too_often_is_told_when_to_come_back_and_others_are_served() {
    let mut config = config();
    config.tenant.requests_per_second = 5;
    config.tenant.burst_seconds = 1;
    let bench = Bench::with(config);
    let replies: Vec<_> = (0..50).map(|_| bench.get("/api/v1/query?query=1")).collect();
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status == 429).collect();
    assert!(!refused.is_empty());
    assert!(
        refused.iter().all(|reply| reply.header("retry-after").is_some_and(|own| own.parse::<u32>().is_ok()))
    );
    assert_eq!(bench.get_as(&bench.other, "/api/v1/query?query=1").status, 200);
}

#[test]
fn a_thousand_idle_connections_take_little_and_one_too_many_is_closed() {
    let mut config = config();
    config.limits.connections = 1_010;
    let bench = Bench::with(config);
    assert_eq!(bench.get("/-/healthy").status, 200);
    let before = resident();
    let idle: Vec<TcpStream> = (0..1_000)
        .map(|_| {
            let mut stream = bench.connect();
            // Half a head: it is waited for.
            stream.write_all(b"GET /-/healthy HTTP/1.1\r\nHo").expect("sent");
            stream
        })
        .collect();
    assert_eq!(bench.get("/api/v1/query?query=1").status, 200);
    crate::common::until(|| connections(&bench) > 1_000);
    let taken = resident().saturating_sub(before);
    // Both ends of each are in this process; other tests run beside.
    eprintln!("1,000 idle connections: {taken} KiB");
    assert!(taken < 100 << 10, "{taken} KiB");
    let more: Vec<TcpStream> = (0..30).map(|_| bench.connect()).collect();
    let closed = |mut stream: TcpStream| stream.read(&mut [0; 1]).is_ok_and(|read| read == 0);
    assert!(more.into_iter().rev().take(5).all(closed));
    drop(idle);
    crate::common::until(|| bench.raw(&request("GET", "/-/healthy", &[], b"")).is_some());
}

/// Files that this process may have open, after it was allowed as many as it can be.
fn files_max() -> usize {
    // Both ends of each connection are in this process.
    let own = std::process::id().to_string();
    let _ = Command::new("prlimit").args(["--pid", &own, "--nofile=20000:20000"]).output();
    let limits = std::fs::read_to_string("/proc/self/limits").expect("Linux");
    let line = limits.lines().find(|line| line.starts_with("Max open files")).expect("there");
    line.split_whitespace().nth(3).and_then(|soft| soft.parse().ok()).expect("a number")
}

#[test]
fn ten_thousand_connections_or_as_many_as_the_system_gives_leave_room_for_who_asks() {
    let mut config = config();
    // However slow the machine is.
    config.limits.head_ms = 600_000;
    let bench = Bench::with(config);
    let count = (files_max().saturating_sub(4_000) / 2).min(9_900);
    let idle: Vec<TcpStream> = (0..count).map(|_| bench.connect()).collect();
    crate::common::until(|| connections(&bench) as usize > count);
    eprintln!("{count} connections");
    assert_eq!(bench.get("/api/v1/query?query=1").status, 200);
    assert_eq!(write(&bench, "identity", b"up 1\n"), 204);
    drop(idle);
    crate::common::until(|| connections(&bench) <= 1);
}

#[test]
fn a_tenant_that_is_not_there_and_one_that_is_anothers_cannot_be_told_apart() {
    let bench = Bench::new();
    let token = |id: &str, number, role| {
        let grant = Grant::tenant(&TenantId::new(id).expect("valid"), TenantNumber(number), role);
        bench.access.create_token(grant).expect("made").text.to_string()
    };
    // Of a tenant that never was, of one whose id another has now, of one that is there.
    let (gone, replaced) = (token("gone", 77, Role::Manager), token("acme", 77, Role::Manager));
    crate::common::until(|| bench.get_as(&gone, "/api/v1/query?query=1").status != 401);
    let told = |reply: Reply| {
        let headers = reply.headers.iter().filter(|(name, _)| name != "date");
        (reply.status, reply.text(), headers.cloned().collect::<Vec<_>>())
    };
    let reads = |token: &str, tenant: &str| {
        let token = format!("Bearer {token}");
        let headers = [("Authorization", token.as_str()), ("X-Annals-Tenant", tenant)];
        told(bench.send("GET", "/api/v1/query?query=up", &headers, b""))
    };
    let writes = |token: &str, tenant: &str| {
        let token = format!("Bearer {token}");
        let headers = [("Authorization", token.as_str()), ("X-Annals-Tenant", tenant)];
        told(bench.send("POST", "/api/v1/import/prometheus", &headers, b"up 1\n"))
    };
    for ask in [&reads as &dyn Fn(&str, &str) -> _, &writes] {
        let forbidden = ask(&bench.report, "acme");
        assert_eq!(forbidden.0, 403);
        for (token, tenant) in [
            (&gone, "gone"),
            (&gone, "acme"),
            (&replaced, "acme"),
            (&bench.viewer, "other"),
            (&bench.viewer, "nobody"),
            (&bench.viewer, "../acme"),
            (&bench.ingest, "other"),
            (&bench.ingest, "nobody"),
        ] {
            assert_eq!(ask(token, tenant), forbidden, "{tenant}");
        }
    }
    assert_eq!(bench.ask("up"), None);
}

/// What was logged.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("whole").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn no_log_and_no_number_holds_a_secret_or_content() {
    let logged = Logged::default();
    let writer = logged.clone();
    let lines = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false);
    tracing::subscriber::set_global_default(lines.with_max_level(tracing::Level::TRACE).finish())
        .expect("the only one");
    let mut config = config();
    config.limits.query_series = 1;
    config.limits.body_bytes = 1 << 20;
    let bench = Bench::with(config);
    // In every place that a client fills: names, values, addresses, headers, bodies whole and broken.
    const PLANTED: &str = "planted7c0ffee";
    let now = now_ms();
    bench.write(&format!("m{{a=\"{PLANTED}\"}} 1 {now}\nm{{a=\"{PLANTED}2\"}} 1 {now}\n"));
    let form = format!("query=m%7Ba=%22{PLANTED}%22");
    let broken = format!("m{{a=\"{PLANTED}\" 1\n");
    let json = format!("{{\"metric\":{{\"__name__\":\"{PLANTED}\"}},\"values\":[");
    let reason = format!("ticket {PLANTED}");
    let operator = format!("Bearer {}", bench.operator);
    let wrong = format!("Bearer annals_0123456789ab_{PLANTED}");
    let signature = format!("annals1 key={PLANTED},time=1");
    let whole = format!(
        "annals1 key={},time={},nonce={},signature={}",
        "5e".repeat(16),
        now / 1000,
        "7a".repeat(16),
        "3c".repeat(32)
    );
    let body = format!("{{\"batch\":\"{PLANTED}\"}}");
    let mut replies = vec![
        bench.get("/api/v1/query?query=m"),
        bench.get(&format!("/api/v1/query?query=m%7Ba=%22{PLANTED}%22")),
        bench.get(&format!("/api/v1/query?query={PLANTED}(")),
        bench.get(&format!("/api/v1/label/{PLANTED}/values")),
        bench.get(&format!("/{PLANTED}")),
        bench.get(&format!("/federate?match[]={PLANTED}")),
        bench.get("/api/v1/query?query=m"),
        bench.post_form("/api/v1/query", &form),
        bench.get_as(PLANTED, "/api/v1/query?query=1"),
        bench.send("GET", "/api/v1/query?query=m", &[("Authorization", &wrong)], b""),
        bench.send(
            "GET",
            "/api/v1/query?query=1",
            &[("Authorization", &wrong), ("X-Scope-OrgID", PLANTED)],
            b"",
        ),
        bench.send(
            "GET",
            &format!("/api/v1/query?query={PLANTED}"),
            &[("Authorization", &operator), ("X-Annals-Tenant", "acme"), ("X-Annals-Reason", &reason)],
            b"",
        ),
        bench.send("POST", "/v1/signals", &[("Authorization", &signature)], body.as_bytes()),
        bench.send("POST", "/v1/signals", &[("Authorization", &whole)], body.as_bytes()),
        bench.post("/api/v1/import/prometheus", &[("X-Annals-Site", PLANTED)], broken.as_bytes()),
        bench.post("/api/v1/import/prometheus", &[("Content-Encoding", PLANTED)], broken.as_bytes()),
        bench.post("/api/v1/import", &[], json.as_bytes()),
        bench.post("/write", &[], broken.as_bytes()),
        bench.post("/api/v1/write", &[("Content-Encoding", "snappy")], broken.as_bytes()),
        bench.post("/v1/metrics", &[("Content-Type", "application/json")], json.as_bytes()),
        bench.post("/api/v1/import/prometheus", &[], &broken.as_bytes().repeat(60_000)),
    ];
    let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{PLANTED}\r\n\r\n");
    replies.extend(bench.raw(head.as_bytes()));
    assert!(replies.iter().filter(|reply| reply.status >= 400).count() > 15, "{replies:?}");
    let numbers = bench.send("GET", "/metrics", &[], b"").text();
    let Bench { server, directory: _directory, ingest, viewer, report, manager, other, operator, .. } = bench;
    server.stop().expect("it stops");
    let log = String::from_utf8(logged.0.lock().expect("whole").clone()).expect("text");
    assert!(log.contains("request") && log.contains("a signature was refused"), "{log}");
    let secrets = [ingest, viewer, report, manager, other, operator];
    let secrets = secrets.iter().map(|token| token.rsplit('_').next().expect("a secret"));
    let (tag, nonce) = ("3c".repeat(32), "7a".repeat(16));
    for secret in secrets.chain([PLANTED, &tag, &nonce]) {
        for (place, text) in [("the log", &log), ("the numbers", &numbers)] {
            let line = text.lines().find(|line| line.contains(secret));
            assert!(line.is_none(), "{place}: {}", line.unwrap_or_default());
        }
    }
}
