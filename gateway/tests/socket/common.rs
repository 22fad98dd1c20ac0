//! A gateway over a store in a temporary directory, and a client that speaks HTTP over a real socket.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use annals::vfs::{Clock, RealVfs, SystemClock, SystemEntropy};
use annals::{Annals, Options, Plan, ReadOnly, TenantId};
use annals_gateway::{AccessStore, Config, Grant, LogForm, Role, Server};
use serde_json::{Value, json};

/// A gateway that serves two tenants, `acme` and `other`.
pub(crate) struct Bench {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) server: Server,
    pub(crate) access: AccessStore,
    /// Tokens of `acme`.
    pub(crate) ingest: String,
    pub(crate) viewer: String,
    pub(crate) report: String,
    pub(crate) manager: String,
    /// Of `other`.
    pub(crate) other: String,
    pub(crate) operator: String,
}

/// What was answered.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The data of a success.
    pub(crate) fn data(&self) -> Value {
        let json = self.json();
        assert_eq!((self.status, &json["status"]), (200, &Value::from("success")), "{json}");
        json["data"].clone()
    }

    /// Status and type of an error.
    pub(crate) fn error(&self) -> (u16, String) {
        let json = self.json();
        assert_eq!(json["status"], "error", "{json}");
        (self.status, json["errorType"].as_str().expect("a text").to_owned())
    }
}

/// The configuration of tests: any port, no log.
pub(crate) fn config() -> Config {
    let mut config = Config::default();
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.log = LogForm::Off;
    config
}

pub(crate) fn now_ms() -> i64 {
    SystemClock::default().now_ms()
}

pub(crate) fn open_store(root: &Path) -> Annals {
    open_store_at(Arc::new(SystemClock::default()), root)
}

fn open_store_at(clock: Arc<dyn Clock>, root: &Path) -> Annals {
    let entropy = Arc::new(SystemEntropy::default());
    Annals::open(Arc::new(RealVfs), clock, entropy, root, Options::default()).expect("it opens")
}

pub(crate) fn open_access(root: &Path) -> AccessStore {
    let (clock, entropy) = (Arc::new(SystemClock::default()), Arc::new(SystemEntropy::default()));
    AccessStore::new(Arc::new(RealVfs), clock, entropy, root)
}

pub(crate) fn start(config: Config, root: &Path) -> Server {
    start_at(Arc::new(SystemClock::default()), config, root)
}

fn start_at(clock: Arc<dyn Clock>, config: Config, root: &Path) -> Server {
    let (store, entropy) = (open_store_at(clock.clone(), root), Arc::new(SystemEntropy::default()));
    Server::start(config, store, open_access(root), clock, entropy).expect("it starts")
}

pub(crate) fn read_only(root: &Path) -> ReadOnly {
    ReadOnly::open(Arc::new(RealVfs), Arc::new(SystemClock::default()), root).expect("it opens")
}

impl Bench {
    /// The same after a stop and a start.
    pub(crate) fn restarted(self) -> Bench {
        let Bench { server, directory, .. } = self;
        server.stop().expect("it stops");
        let server = start(config(), directory.path());
        Bench { server, directory, ..self }
    }

    pub(crate) fn new() -> Bench {
        Bench::with(config())
    }

    pub(crate) fn with(config: Config) -> Bench {
        Bench::at(Arc::new(SystemClock::default()), config)
    }

    /// The same by a clock.
    pub(crate) fn at(clock: Arc<dyn Clock>, config: Config) -> Bench {
        let directory = tempfile::tempdir().expect("a directory");
        let root = directory.path();
        let store = open_store_at(clock.clone(), root);
        let plan = Plan::built_in("archive").expect("built in");
        let acme = store.create_tenant(&TenantId::new("acme").expect("valid"), plan.clone()).expect("made");
        let other = store.create_tenant(&TenantId::new("other").expect("valid"), plan).expect("made");
        let access = open_access(root);
        let token = |grant| access.create_token(grant).expect("made").text.to_string();
        let of = |role| token(Grant::tenant(acme.id(), acme.number(), role));
        let (ingest, viewer) = (of(Role::Ingest), of(Role::Viewer));
        let (report, manager) = (of(Role::Report), of(Role::Manager));
        let other = token(Grant::tenant(other.id(), other.number(), Role::Manager));
        let operator = token(Grant::Operator { operator: "ann".to_owned() });
        drop(acme);
        store.close().expect("closed");
        let server = start_at(clock, config, root);
        Bench { server, access, ingest, viewer, report, manager, other, operator, directory }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.server.address())
    }

    /// Sends a request as it stands and reads the reply.
    pub(crate) fn raw(&self, request: &[u8]) -> Option<Reply> {
        let mut stream = self.connect();
        // A server that has seen enough may close while more is sent.
        let _ = stream.write_all(request);
        read_reply(&mut stream)
    }

    /// A request with these headers and body.
    pub(crate) fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.raw(&request(method, target, headers, body)).expect("a reply")
    }

    /// Asks as the viewer of `acme`.
    pub(crate) fn get(&self, target: &str) -> Reply {
        self.get_as(&self.viewer, target)
    }

    pub(crate) fn get_as(&self, token: &str, target: &str) -> Reply {
        self.send("GET", target, &[("Authorization", &format!("Bearer {token}"))], b"")
    }

    pub(crate) fn post_form(&self, target: &str, form: &str) -> Reply {
        let token = format!("Bearer {}", self.viewer);
        let headers =
            [("Authorization", token.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
        self.send("POST", target, &headers, form.as_bytes())
    }

    /// The first series that a query of `acme` finds, `None` where there is none.
    pub(crate) fn ask(&self, query: &str) -> Option<Value> {
        let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        self.get(&format!("/api/v1/query?query={query}")).data()["result"].get(0).cloned()
    }

    /// Sends a body as `acme`.
    pub(crate) fn post(&self, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        let token = format!("Bearer {}", self.ingest);
        let headers = [&[("Authorization", token.as_str())], headers].concat();
        self.send("POST", target, &headers, body)
    }

    /// Writes text of samples as `acme`.
    pub(crate) fn write(&self, text: &str) {
        let reply = self.post("/api/v1/import/prometheus", &[], text.as_bytes());
        assert_eq!(reply.status, 204, "{}", reply.text());
    }

    /// Writes a native histogram as `acme`: so many observations in (0.5, 1] and in (1, 2].
    pub(crate) fn write_histogram(&self, name: &str, second: i64, counts: [u64; 2]) {
        let (nanos, all) = (format!("{second}000000000"), counts[0] + counts[1]);
        let point = json!({ "timeUnixNano": nanos, "count": all, "sum": 1.5 * all as f64, "scale": 0, "zeroCount": 0,
            "positive": { "offset": -1, "bucketCounts": counts } });
        let metric = json!({ "name": name, "exponentialHistogram": { "aggregationTemporality": 2, "dataPoints": [point] } });
        let request = json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [metric] }] }] });
        let reply =
            self.post("/v1/metrics", &[("Content-Type", "application/json")], request.to_string().as_bytes());
        assert_eq!((reply.status, reply.json()), (200, json!({})));
    }
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("possible");
    stream
}

pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut text = format!("{method} {target} HTTP/1.1\r\nHost: annals\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || method == "POST" {
        text.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    text.push_str("\r\n");
    [text.as_bytes(), body].concat()
}

/// Reads a reply until the connection ends; `None` where it ended before there was a whole head.
pub(crate) fn read_reply(stream: &mut impl Read) -> Option<Reply> {
    let mut bytes = Vec::new();
    // A connection that is reset after its reply has replied.
    let _ = stream.read_to_end(&mut bytes);
    parse_reply(&bytes)
}

pub(crate) fn parse_reply(bytes: &[u8]) -> Option<Reply> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 4..]);
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        let (name, value) = line.split_once(':').expect("a header");
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    let headers: Vec<(String, String)> = lines.map(header).collect();
    let chunked = headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked");
    let body = if chunked { unchunked(body) } else { body.to_vec() };
    Some(Reply { status, headers, body })
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let size =
            usize::from_str_radix(std::str::from_utf8(&rest[..end]).expect("digits"), 16).expect("digits");
        if size == 0 {
            break;
        }
        body.extend_from_slice(&rest[end + 2..end + 2 + size]);
        rest = &rest[end + 4 + size..];
    }
    body
}

/// Waits until something holds, which takes as long as the gateway needs to hear of it.
pub(crate) fn until(mut holds: impl FnMut() -> bool) {
    for _ in 0..500 {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("it does not come to hold");
}
