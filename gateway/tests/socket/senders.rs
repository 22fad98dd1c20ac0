//! Senders as people run them, each sending to a gateway what it measures: Prometheus, vmagent, the exporter of
//! OpenTelemetry for Python.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};

use crate::common::Bench;
use crate::ingest::{field, varint};
use crate::programs::{Running, scraping, script};

const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

fn double(number: u8, value: f64) -> Vec<u8> {
    [&[number << 3 | 1], &value.to_le_bytes()[..]].concat()
}

fn number(field: u8, value: u64) -> Vec<u8> {
    [vec![field << 3], varint(value)].concat()
}

/// A family of one metric, which is of a kind in a field, as it is scraped: behind its length.
fn family(name: &str, kind: u64, of: u8, value: &[u8]) -> Vec<u8> {
    let family = [field(1, name.as_bytes()), number(3, kind), field(4, &field(of, value))].concat();
    [varint(family.len() as u64), family].concat()
}

/// What a target says at its `n`-th scrape: a counter with an exemplar, a native histogram of `6 n` observations.
fn exposition(n: u64) -> Vec<u8> {
    let trace = field(1, &[field(1, b"trace"), field(2, b"7f")].concat());
    let counter = [double(1, n as f64), field(2, &[trace, double(2, 1.0)].concat())].concat();
    // Buckets (0.5, 1] and (1, 2]; how many are in the first, and how many more in the second: zigzag.
    let span = field(12, &[number(1, 0), number(2, 2)].concat());
    let counts = [number(13, 4 * n), number(13, 4 * n)].concat();
    let histogram =
        [number(1, 6 * n), double(2, 9.0 * n as f64), number(5, 0), double(6, 1e-128), number(7, 0)].concat();
    let histogram = [histogram, span, counts].concat();
    [family("jobs_total", 0, 3, &counter), family("took_seconds", 4, 7, &histogram)].concat()
}

/// A target that is scraped for as long as there are tests.
fn target() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    std::thread::spawn(move || {
        for n in 1.. {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let body = exposition(n);
            let head = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: {PROTOBUF}\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    address
}

#[test]
fn prometheus_sends_samples_native_histograms_and_exemplars_and_none_is_sent_back() {
    let bench = Bench::new();
    let config = format!(
        "- job_name: target\n  static_configs:\n  - targets: ['{}']\n\
         remote_write:\n- url: http://{}/api/v1/write\n  send_exemplars: true\n  send_native_histograms: true\n  authorization: {{credentials: {}}}\n",
        target(),
        bench.server.address(),
        bench.ingest
    );
    let Some(running) = Running::prometheus(&config) else { return };
    let found = running.until_told(&bench, "prometheus_tsdb_head_samples_appended_total");
    assert_eq!(found["metric"]["job"], "self");
    running.until_told(&bench, "rate(prometheus_http_response_size_bytes_count[1m])");
    running.until_told(&bench, "jobs_total");
    running.until_told(&bench, "histogram_sum(took_seconds) / histogram_count(took_seconds) == 1.5");
    running.until_told(&bench, "histogram_fraction(1, 2, rate(took_seconds[1m])) > 0.66 < 0.67");
    for what in ["samples", "histograms", "exemplars", "metadata"] {
        let metric = |end: &str| running.own_metric(&format!("prometheus_remote_storage_{what}_{end}"), "");
        running.until(&format!("{what} are sent"), || (metric("total") > 0.0).then_some(()));
        assert_eq!((metric("failed_total"), metric("dropped_total")), (0.0, 0.0), "{what}");
    }
}

#[test]
fn vmagent_sends_what_it_scrapes_and_drops_nothing() {
    let bench = Bench::new();
    let running = Running::start("vmagent", |folder, port| {
        vec![
            format!("-promscrape.config={}", scraping(folder, port, "").display()),
            format!("-remoteWrite.url=http://{}/api/v1/write", bench.server.address()),
            format!("-remoteWrite.bearerToken={}", bench.ingest),
            format!("-remoteWrite.tmpDataPath={}", folder.join("data").display()),
            format!("-httpListenAddr=127.0.0.1:{port}"),
        ]
    });
    let Some(running) = running else { return };
    let found = running.until_told(&bench, "vm_app_version");
    assert_eq!(found["metric"]["job"], "self");
    running.until("a block is taken", || {
        (running.own_metric("vmagent_remotewrite_requests_total", "status_code=\"2XX\"") > 0.0).then_some(())
    });
    assert_eq!(running.own_metric("vmagent_remotewrite_packets_dropped_total", ""), 0.0);
}

#[test]
fn the_exporter_of_opentelemetry_sends_deltas_that_stay_deltas() {
    let bench = Bench::new();
    let target = format!("http://{}/v1/metrics", bench.server.address());
    if script("python3", "otlp_export.py", &[&target, &bench.ingest]).is_none() {
        return;
    }
    let value = |query: &str| bench.ask(query).map(|found| found["value"][1].clone());
    let sum = "sum_over_time(orders_total{kind_of=\"book\",job=\"shop\"}[5m])";
    assert_eq!(value(sum), Some("10".into()));
    assert_eq!(value("histogram_sum(increase(took_seconds[5m]))"), Some("2.5".into()));
    assert_eq!(value("target_info{host_name=\"h\"}"), Some("1".into()));
}
