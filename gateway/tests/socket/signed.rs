//! Signed batches of signals: taken once, by who has the secret, and refused without a reason in every other case.

use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;

use annals::vfs::{Clock, SimClock, SystemClock};
use annals::{SiteName, TenantId, TenantNumber};
use aws_lc_rs::{digest, hmac};
use serde_json::Value;

use crate::common::{Bench, Reply, config, now_ms, until};

#[path = "../../examples/send_signals.rs"]
#[expect(dead_code, reason = "its `main` is for the command line")]
mod send_signals;

/// A site that can sign.
struct Site {
    bench: Bench,
    clock: Arc<dyn Clock>,
    key: String,
    secret: [u8; 32],
}

/// What is signed and sent; tests change parts of it.
#[derive(Clone)]
struct Sent {
    key: String,
    secret: [u8; 32],
    tenant: String,
    time: i64,
    nonce: String,
    body: Vec<u8>,
    encoding: Option<&'static str>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Site {
    fn new() -> Site {
        let site = Site::at(Arc::new(SystemClock::default()));
        // The fence of the start must be behind.
        let mut nonce = 2 << 40;
        until(|| {
            nonce += 1;
            site.send(&site.sent(nonce)).status == 200
        });
        site
    }

    /// By a clock, which the gateway has too.
    fn at(clock: Arc<dyn Clock>) -> Site {
        let bench = Bench::at(clock.clone(), config());
        let root = bench.directory.path();
        let (tenant, site) = (TenantId::new("acme").expect("valid"), SiteName::new("shop").expect("valid"));
        let store = crate::common::read_only(root);
        let number = store.tenants().iter().find(|own| own.id == tenant).expect("there").number;
        let key = bench.access.create_site(&tenant, number, &site).expect("made");
        let secret = *store.site_secret(&tenant, &site, &key.id_bytes()).expect("there");
        let site = Site { bench, clock, key: key.id, secret };
        // The key must be known.
        let mut nonce = 1 << 40;
        until(|| {
            nonce += 1;
            site.send(&Sent { time: site.now_ms() / 1000 + 2, ..site.sent(nonce) }).status == 200
        });
        site
    }

    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }

    fn sent(&self, nonce: u64) -> Sent {
        let body = batch(nonce, self.now_ms());
        let (key, tenant) = (self.key.clone(), "acme".to_owned());
        Sent {
            key,
            secret: self.secret,
            tenant,
            time: self.now_ms() / 1000,
            nonce: format!("{nonce:032x}"),
            body,
            encoding: None,
        }
    }

    fn send(&self, sent: &Sent) -> Reply {
        self.send_body(sent, &sent.body)
    }

    /// Sends another body than was signed.
    fn send_body(&self, sent: &Sent, body: &[u8]) -> Reply {
        let mut headers = vec![("Authorization", sent.header())];
        headers.extend(sent.encoding.map(|own| ("Content-Encoding", own.to_owned())));
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.bench.send("POST", "/v1/signals", &headers, body)
    }

    fn counted(&self) -> f64 {
        let reply = self.bench.get(&format!(
            "/api/v1/query?query=sum(increase(signals[1h]))&time={}",
            self.now_ms() / 1000 + 120
        ));
        let data = reply.data();
        data["result"][0]["value"][1].as_str().map_or(0.0, |own| own.parse().expect("a number"))
    }

    fn refused(&self, reason: &str) -> u64 {
        let text = self.bench.send("GET", "/metrics", &[], b"").text();
        let line = format!("annals_gateway_signatures_refused_total{{reason=\"{reason}\"}} ");
        let found = text.lines().find_map(|own| own.strip_prefix(&line)).unwrap_or_else(|| panic!("{text}"));
        found.parse().expect("a number")
    }
}

impl Sent {
    fn header(&self) -> String {
        let hash = hex(digest::digest(&digest::SHA256, &self.body).as_ref());
        let text =
            format!("annals1\nPOST\n/v1/signals\n\n{}\n{}\n{}\n{hash}", self.tenant, self.time, self.nonce);
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &self.secret), text.as_bytes());
        let (key, time, nonce) = (&self.key, self.time, &self.nonce);
        format!("annals1 key={key},time={time},nonce={nonce},signature={}", hex(tag.as_ref()))
    }
}

fn batch(id: u64, now_ms: i64) -> Vec<u8> {
    format!(
        r#"{{"batch":"{id:032x}","signals":[
            {{"kind":"auth.attempt","timestamp":{now_ms},"result":"success","method":"password"}},
            {{"kind":"auth.attempt","timestamp":{now_ms},"result":"perhaps","method":"password"}}]}}"#
    )
    .into_bytes()
}

#[test]
fn a_signed_batch_has_a_verdict_per_record_and_is_counted_once() {
    let site = Site::new();
    let before = site.counted();
    let first = site.sent(1);
    let data = site.send(&first).data();
    assert_eq!(
        (&data["durability"], &data["accepted"], &data["records"]),
        (&"synced".into(), &1.into(), &2.into())
    );
    assert_eq!(
        data["refused"],
        serde_json::json!([{ "record": 1, "reason": "not_allowed", "field": "result" }])
    );
    // The answer was lost: the same body, signed anew.
    let again = Sent { nonce: "f".repeat(32), ..first };
    let data = site.send(&again).data();
    assert_eq!(
        (&data["duplicate"], &data["accepted"], &data["verdict"]),
        (&true.into(), &0.into(), &"duplicate".into())
    );
    assert_eq!(site.counted(), before + 1.0);
}

#[test]
fn bodies_come_plain_gzipped_or_as_zstd_and_are_signed_as_they_are_sent() {
    let site = Site::new();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&batch(21, now_ms())).expect("memory");
    let gzip = gzip.finish().expect("memory");
    let zstd = zstd::encode_all(&batch(22, now_ms())[..], 3).expect("memory");
    let bomb = zstd::encode_all(&vec![b' '; 32 << 20][..], 3).expect("memory");
    let nested = zstd::encode_all(&gzip[..], 3).expect("memory");
    for (nonce, encoding, body, status) in [
        (31, Some("gzip"), gzip.clone(), 200),
        (32, Some("zstd"), zstd, 200),
        (33, Some("gzip, zstd"), nested.clone(), 415),
        (34, Some("zstd"), nested, 400),
        (35, Some("zstd"), gzip, 400),
        (36, Some("zstd"), bomb, 413),
        (37, None, b"{}".to_vec(), 400),
        (38, None, b"{\"batch\":".to_vec(), 400),
    ] {
        let sent = Sent { body, encoding, ..site.sent(nonce) };
        let reply = site.send(&sent);
        assert_eq!(reply.status, status, "{nonce}: {}", reply.text());
    }
}

#[test]
fn whatever_is_wrong_with_a_signature_the_answer_is_the_same_and_nothing_is_stored() {
    let site = Site::new();
    let good = site.sent(100);
    assert_eq!(site.send(&good).status, 200);
    let before = site.counted();
    let (now, seconds) = (site.sent(101), now_ms() / 1000);
    let other_secret = {
        let mut secret = site.secret;
        secret[31] ^= 1;
        secret
    };
    let cases: Vec<(&str, Reply)> = vec![
        ("replayed", site.send(&good)),
        ("bad_signature", site.send(&Sent { secret: other_secret, ..now.clone() })),
        ("bad_signature", site.send_body(&now, &batch(102, now_ms()))),
        ("bad_signature", site.send_body(&now, &now.body[..now.body.len() - 1])),
        ("bad_signature", site.send(&Sent { tenant: "other".to_owned(), ..now.clone() })),
        ("stale", site.send(&Sent { time: seconds - 301, ..now.clone() })),
        ("future", site.send(&Sent { time: seconds + 330, ..now.clone() })),
        ("stale", site.send(&Sent { time: 1, ..now.clone() })),
        ("unknown_key", site.send(&Sent { key: "0".repeat(32), ..now.clone() })),
        (
            "unknown_key",
            site.send(&Sent { key: "0".repeat(32), secret: [0; 32], tenant: "-".to_owned(), ..now.clone() }),
        ),
        (
            "malformed",
            site.bench.send("POST", "/v1/signals", &[("Authorization", "annals1 key=1")], &now.body),
        ),
        (
            "malformed",
            site.bench.send(
                "POST",
                "/v1/signals",
                &[("Authorization", &format!("Bearer {}", site.bench.manager))],
                &now.body,
            ),
        ),
        ("missing", site.bench.send("POST", "/v1/signals", &[], &now.body)),
        ("other_tenant", {
            let header = now.header();
            let headers = [("Authorization", header.as_str()), ("X-Annals-Tenant", "other")];
            site.bench.send("POST", "/v1/signals", &headers, &now.body)
        }),
    ];
    let told =
        |reply: &Reply| (reply.status, reply.text(), reply.header("www-authenticate").map(str::to_owned));
    for (reason, reply) in &cases {
        assert_eq!(told(reply), told(&cases[0].1), "{reason}");
        assert_eq!(reply.status, 401);
    }
    for reason in ["replayed", "bad_signature", "stale", "future", "unknown_key", "malformed", "other_tenant"]
    {
        assert!(site.refused(reason) > 0, "{reason}");
    }
    assert_eq!(site.counted(), before);
    // None of them has used the nonce.
    assert_eq!(site.send(&now).status, 200);
}

#[test]
fn no_answer_tells_which_keys_there_are() {
    let site = Site::new();
    let head = |key: &str, more: &str| {
        let sent = Sent { key: key.to_owned(), secret: [1; 32], ..site.sent(7) };
        format!(
            "POST /v1/signals HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: {}\r\n{more}",
            sent.header()
        )
        .into_bytes()
    };
    let answers = |key: &str| {
        let told = |more: &str| {
            let reply = site.bench.raw(&head(key, more)).expect("a reply");
            (reply.status, reply.text())
        };
        let mut answers = vec![
            told("Content-Length: 2\r\n\r\n{}"),
            told("Content-Length: 99999999999\r\n\r\n{}"),
            told("Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
        ];
        // As many as one key may have at one time, none of which goes on.
        let waiting: Vec<_> = (0..8)
            .map(|_| {
                let mut stream = site.bench.connect();
                stream.write_all(&head(key, "Content-Length: 2\r\n\r\n{")).expect("sent");
                stream
            })
            .collect();
        until(|| told("Content-Length: 2\r\n\r\n{}").0 == 429);
        answers.push(told("Content-Length: 2\r\n\r\n{}"));
        drop(waiting);
        answers
    };
    let known = answers(&site.key);
    assert_eq!(known.iter().map(|(status, _)| *status).collect::<Vec<_>>(), [401, 413, 400, 429]);
    assert_eq!(answers(&"0".repeat(32)), known);
}

#[test]
fn a_revoked_key_and_a_key_of_an_erased_tenant_are_unknown() {
    let site = Site::new();
    let access = &site.bench.access;
    // A key of a tenant that had the id before.
    let (tenant, other) = (TenantId::new("acme").expect("valid"), SiteName::new("blog").expect("valid"));
    let old = access.create_site(&tenant, TenantNumber(77), &other).expect("made");
    access.revoke_site(&site.key).expect("there");
    let unknown = || site.refused("unknown_key");
    let before = unknown();
    let mut nonce = 1_000;
    until(|| {
        nonce += 1;
        site.send(&site.sent(nonce)).status == 401
    });
    assert!(unknown() > before);
    let before = unknown();
    assert_eq!(site.send(&Sent { key: old.id, ..site.sent(2_000) }).status, 401);
    assert_eq!(unknown(), before + 1);
}

#[test]
fn a_restarted_gateway_takes_nothing_that_was_signed_before() {
    let site = Site::new();
    let sent = site.sent(7);
    assert_eq!(site.send(&sent).status, 200);
    let site = Site { bench: site.bench.restarted(), ..site };
    assert_eq!(site.send(&sent).status, 401);
    assert_eq!(site.refused("stale"), 1);
    // Signed anew it is taken.
    let mut nonce = 10;
    until(|| {
        nonce += 1;
        site.send(&site.sent(nonce)).status == 200
    });
}

#[test]
fn a_clock_that_jumps_lets_nothing_in_twice_and_locks_nobody_out() {
    const NOW: i64 = 1_790_000_000_000;
    const DAY: i64 = 86_400_000;
    let clock = Arc::new(SimClock::new(NOW));
    let site = Site::at(clock.clone());
    let status = |sent: &Sent| site.send(sent).status;
    clock.advance_ms(10_000);
    let first = site.sent(1);
    assert_eq!(status(&first), 200);
    // Far ahead: what is signed by the right time is refused, the right time's nonces are remembered.
    clock.set_ms(NOW + DAY);
    let right = Sent { time: NOW / 1000 + 20, ..site.sent(2) };
    assert_eq!((status(&right), status(&first)), (401, 401));
    // Right again: sites that kept the right time are heard at once, and nothing twice.
    clock.set_ms(NOW + 20_000);
    assert_eq!((status(&first), status(&right), status(&right)), (401, 200, 401));
    // An hour on, nonces are forgotten; set back to their time, the clock does not bring their requests back.
    clock.advance_ms(3_600_000);
    assert_eq!(status(&site.sent(3)), 200);
    clock.set_ms(NOW + 20_000);
    let before = site.refused("replayed") + site.refused("stale");
    assert_eq!((status(&first), status(&right)), (401, 401));
    assert_eq!(site.refused("replayed") + site.refused("stale"), before + 2);
    // Before its own start it takes nothing.
    clock.set_ms(NOW - DAY);
    assert_eq!(status(&site.sent(4)), 401);
    clock.set_ms(NOW + 3_700_000);
    assert_eq!(status(&site.sent(5)), 200);
}

#[test]
fn the_guides_clients_send_and_read_their_verdicts() {
    let site = Site::new();
    let address = site.bench.server.address().to_string();
    let answer = send_signals::send(&address, "acme", &site.key, &hex(&site.secret)).expect("sent");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(
        (&answer["data"]["accepted"], &answer["data"]["refused"][0]["record"]),
        (&1.into(), &1.into())
    );

    let tools = ["curl", "openssl"].map(|tool| Command::new(tool).arg("version").output().is_ok());
    if tools != [true, true] {
        eprintln!("SKIPPED the guide's shell client: curl or openssl is missing");
        return;
    }
    let guide = include_str!("../../../docs/guide/signals.md");
    let script = guide.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a script");
    let body = site.bench.directory.path().join("body.json");
    std::fs::write(&body, batch(0xabc, now_ms())).expect("written");
    let ran = Command::new("sh")
        .args(["-euc", script])
        .env("ADDRESS", &address)
        .env("TENANT", "acme")
        .env("KEY", &site.key)
        .env("SECRET", hex(&site.secret))
        .env("BODY", &body)
        .output()
        .expect("a shell");
    let answer: Value = serde_json::from_slice(&ran.stdout).unwrap_or_else(|_| panic!("{ran:?}"));
    assert_eq!(
        (&answer["data"]["accepted"], &answer["data"]["durability"]),
        (&1.into(), &"synced".into()),
        "{answer}"
    );
}
