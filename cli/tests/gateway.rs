//! The gateway through the command: a real process, its signals, its tokens and keys, and what `doctor` sees of it.

mod common;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use common::Bench;

/// A running `annals serve`, killed with its test.
struct Serving {
    child: Child,
    log: BufReader<ChildStderr>,
    address: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts it on any port over the bench's store.
fn serve(bench: &Bench, config: &str) -> Serving {
    bench.file("annals.toml", config);
    let mut child = Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(["serve", "--listen", "127.0.0.1:0", "--config", "annals.toml"])
        .current_dir(bench.path("."))
        .env_remove("ANNALS_DATA")
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let log = BufReader::new(child.stderr.take().expect("piped"));
    let mut serving = Serving { child, log, address: String::new() };
    let line = serving.until(" on 127.0.0.1:");
    serving.address = line.rsplit(' ').next().expect("an address").trim().to_owned();
    serving
}

impl Serving {
    /// Reads its log up to a line that holds this.
    fn until(&mut self, part: &str) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            assert_ne!(self.log.read_line(&mut line).expect("text"), 0, "no {part:?} in {all}");
            if line.contains(part) {
                return line;
            }
            all += &line;
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.is_ok_and(|sent| sent.success()));
    }

    /// What is answered, head and all.
    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("possible");
        stream.write_all(request.as_bytes()).expect("sent");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("text");
        reply
    }

    fn get(&self, token: &str, target: &str, headers: &str) -> String {
        self.ask(&format!("GET {target} HTTP/1.0\r\nAuthorization: Bearer {token}\r\n{headers}\r\n"))
    }

    /// What `doctor --url` says, and its exit code.
    fn doctor(&self, bench: &Bench) -> (i32, String) {
        let ran = bench.run(&["doctor", "--url", &format!("http://{}", self.address)]);
        (ran.code, ran.out)
    }
}

#[test]
fn what_is_written_to_a_gateway_is_there_after_it_was_told_to_stop() {
    let bench = Bench::with_tenant("archive");
    let token = bench.ok(&["token", "create", "--tenant", "acme", "--role", "manager"]);
    let token = token.trim();
    let mut serving = serve(&bench, "");
    let body = "up{job=\"a\"} 0.5\n";
    let reply = serving.ask(&format!(
        "POST /api/v1/import/prometheus HTTP/1.0\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    ));
    assert!(reply.starts_with("HTTP/1.0 204"), "{reply}");
    let reply = serving.get(token, "/api/v1/query?query=up", "");
    assert!(reply.starts_with("HTTP/1.0 200") && reply.contains("\"0.5\"]"), "{reply}");
    // Beside it verbs read what the log says is durable, a moment after it was answered, and none writes.
    let seen = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        bench.ok(&["query", "up", "-o", "csv"]).contains("0.5")
    });
    assert!(seen);
    let ran = bench.run(&["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("reading verbs"), "{}", ran.err);
    assert_eq!(serving.doctor(&bench).0, 0, "{:?}", serving.doctor(&bench));
    serving.signal("-TERM");
    assert_eq!(serving.child.wait().expect("it ends").code(), Some(0));
    assert!(bench.ok(&["query", "up", "-o", "csv"]).contains("0.5"));
    let ran = bench.run(&["doctor", "--url", &format!("http://{}", serving.address)]);
    assert_eq!(ran.code, 3);
    assert!(ran.out.contains("it cannot be asked"), "{}", ran.out);
}

#[test]
fn on_sighup_it_reads_its_configuration_and_keeps_the_old_one_where_that_cannot_work() {
    let bench = Bench::with_tenant("archive");
    let token = bench.ok(&["token", "create", "--tenant", "acme", "--role", "viewer"]);
    let mut serving = serve(&bench, "");
    let allows = |serving: &Serving| {
        let reply = serving.get(token.trim(), "/api/v1/query?query=1", "Origin: https://grafana.example\r\n");
        assert!(reply.starts_with("HTTP/1.0 200"), "{reply}");
        reply.contains("access-control-allow-origin: https://grafana.example")
    };
    assert!(!allows(&serving));
    bench.file("annals.toml", "cors_origins = [\"https://grafana.example\"]\n");
    serving.signal("-HUP");
    serving.until("configuration and certificate are read again");
    assert!(allows(&serving));
    for wrong in
        ["cors_origin = []\n", "[limits]\nwrites = 0\n", "[tls]\ncertificate = \"no\"\nkey = \"no\"\n"]
    {
        bench.file("annals.toml", wrong);
        serving.signal("-HUP");
        let line = serving.until("the configuration stays as it was");
        let named = ["annals.toml", "`limits.writes`", "no:"].iter().any(|name| line.contains(name));
        assert!(named, "{line}");
        assert!(allows(&serving));
    }
}

#[test]
fn a_configuration_that_cannot_work_is_told_before_the_store_is_opened() {
    let bench = Bench::with_tenant("archive");
    for (config, listen, said) in [
        ("queries = 5\n", "127.0.0.1:0", "queries"),
        ("[tenant]\nqueries = \"many\"\n", "127.0.0.1:0", "queries"),
        ("", "0.0.0.0:0", "certificate"),
    ] {
        bench.file("annals.toml", config);
        let ran = bench.run(&["serve", "--listen", listen, "--config", "annals.toml"]);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(ran.err.contains(said), "{}", ran.err);
    }
    let ran = bench.run(&["serve", "--config", "none.toml"]);
    assert_eq!((ran.code, ran.err.contains("none.toml")), (2, true), "{}", ran.err);
    // The one that is shipped works.
    let shipped = include_str!("../../gateway/annals.toml");
    drop(serve(&bench, shipped));
}

#[test]
fn tokens_and_keys_are_shown_once_and_end_when_they_are_told_to() {
    let bench = Bench::with_tenant("archive");
    let made = bench.run(&["token", "create", "--tenant", "acme", "--role", "viewer"]);
    assert_eq!(made.code, 0);
    let token = made.out.trim().to_owned();
    let id = token.split('_').nth(1).expect("an id").to_owned();
    let secret = token.rsplit('_').next().expect("a secret").to_owned();
    assert!(made.out.lines().count() == 1 && made.err.contains(&id) && !made.err.contains(&secret));
    let list = bench.ok(&["token", "list", "-o", "csv"]);
    assert!(list.contains(&id) && list.contains("viewer") && !list.contains(&secret), "{list}");
    let second = bench.ok(&["token", "rotate", &id, "--overlap", "1h"]);
    let serving = serve(&bench, "");
    let status = |token: &str| serving.get(token.trim(), "/api/v1/query?query=1", "")[9..12].to_owned();
    assert_eq!((status(&token), status(&second)), ("200".to_owned(), "200".to_owned()));
    bench.ok(&["token", "revoke", &id]);
    let gone = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        status(&token) == "401"
    });
    assert!(gone && status(&second) == "200");
    assert_eq!(bench.run(&["token", "revoke", "0123456789ab"]).code, 1);
    assert_eq!(bench.run(&["token", "create", "--tenant", "nobody", "--role", "viewer"]).code, 1);
    assert_eq!(bench.run(&["token", "create", "--tenant", "acme", "--role", "king"]).code, 2);

    let shown = bench.ok(&["site", "create", "--tenant", "acme", "--site", "shop"]);
    let words: Vec<&str> = shown.split_whitespace().collect();
    let [_, key, _, secret] = words[..] else { panic!("{shown}") };
    assert_eq!((key.len(), secret.len()), (32, 64));
    let rotated = bench.ok(&["site", "rotate", key, "--overlap", "1h"]);
    assert!(!rotated.contains(key) && !rotated.contains(secret));
    let list = bench.ok(&["site", "list", "-o", "csv"]);
    assert!(list.contains(key) && list.matches("shop").count() == 2 && !list.contains(secret), "{list}");
    bench.ok(&["site", "revoke", key]);
    assert!(!bench.ok(&["site", "list", "-o", "csv"]).contains(key));
}

#[test]
fn a_doctor_says_what_is_odd_about_a_gateway_and_what_it_could_not_see() {
    let bench = Bench::with_tenant("archive");
    let serving = serve(&bench, "");
    let (code, said) = serving.doctor(&bench);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("nothing is odd") && said.contains("1 tenant"), "{said}");
    for _ in 0..30 {
        serving.get("annals_0123456789ab_0", "/api/v1/query?query=1", "");
    }
    let (code, said) = serving.doctor(&bench);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("30 of ") && said.contains("no valid credential (401)"), "{said}");
    let url = format!("http://{}", serving.address);
    let listed = bench.run(&["doctor", "--url", &url, "-o", "json"]);
    assert!(listed.code == 3 && listed.out.contains("\"access\""), "{}", listed.out);
    for wrong in ["127.0.0.1:9797", "ftp://a", "http://"] {
        assert_eq!(bench.run(&["doctor", "--url", wrong]).code, 2, "{wrong}");
    }
    assert_eq!(bench.run(&["doctor", "--url", &url, "--data", "x"]).code, 2);
}
