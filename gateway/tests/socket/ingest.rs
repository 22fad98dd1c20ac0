//! Metrics over a real socket, in every format, and what each sender is told.

use std::io::Write as _;

use crate::common::{Bench, now_ms};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};

/// The single value of a query, `None` where there is no series.
fn ask(bench: &Bench, query: &str) -> Option<String> {
    bench.ask(query).map(|found| found["value"][1].as_str().expect("a text").to_owned())
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::default());
    out.write_all(body).expect("memory");
    out.finish().expect("memory")
}

/// A field of bytes, as Protobuf writes it.
pub(crate) fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2], varint(bytes.len() as u64).as_slice(), bytes].concat()
}

/// A whole number, as Protobuf writes it.
pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn sample(value: f64, time: i64) -> Vec<u8> {
    [&[0x09], &value.to_le_bytes()[..], &[0x10], &varint(time as u64)].concat()
}

/// A series of one sample in version 1.
fn series_1(name: &str, value: f64, time: i64) -> Vec<u8> {
    let label = [field(1, b"__name__"), field(2, name.as_bytes())].concat();
    field(1, &[field(1, &label), field(2, &sample(value, time))].concat())
}

pub(crate) fn snappy(body: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(body).expect("memory")
}

const SNAPPY: (&str, &str) = ("Content-Encoding", "snappy");
const VERSION_2: (&str, &str) =
    ("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v2.Request");

#[test]
fn remote_write_is_counted_once_however_often_it_is_sent() {
    let bench = Bench::new();
    let now = now_ms();
    let body = snappy(&[series_1("up", 1.0, now - 10), series_1("hits_total", 7.0, now - 10)].concat());
    let headers = [SNAPPY, ("Content-Type", "application/x-protobuf")];
    for _ in 0..3 {
        let reply = bench.post("/api/v1/write", &headers, &body);
        assert_eq!((reply.status, reply.body.len()), (204, 0), "{}", reply.text());
    }
    assert_eq!(ask(&bench, "up").as_deref(), Some("1"));
    assert_eq!(ask(&bench, "hits_total").as_deref(), Some("7"));
    // Of a request that is refused in part the rest is there.
    let body = snappy(&[series_1("up", 3.0, now - 5), series_1("up", 4.0, now + 7_200_000)].concat());
    let reply = bench.post("/api/v1/write", &headers, &body);
    assert_eq!(reply.error().0, 400);
    assert!(reply.text().contains("refused: 1 future; the other 1 are counted"), "{}", reply.text());
    assert_eq!(ask(&bench, "up").as_deref(), Some("3"));
}

#[test]
fn version_2_is_told_how_much_was_written() {
    let bench = Bench::new();
    let now = now_ms();
    let symbols: Vec<u8> =
        ["", "__name__", "load"].iter().flat_map(|text| field(4, text.as_bytes())).collect();
    let series =
        [field(1, &[1, 2]), field(2, &sample(2.5, now)), field(2, &sample(3.5, now + 7_200_000))].concat();
    let body = snappy(&[symbols, field(5, &series)].concat());
    let reply = bench.post("/api/v1/write", &[SNAPPY, VERSION_2], &body);
    let written =
        |what: &str| reply.header(&format!("x-prometheus-remote-write-{what}-written")).map(str::to_owned);
    assert_eq!(reply.status, 400);
    assert_eq!(
        ["samples", "histograms", "exemplars"].map(written),
        ["1", "0", "0"].map(|n| Some(n.to_owned()))
    );
    assert_eq!(ask(&bench, "load").as_deref(), Some("2.5"));
}

#[test]
fn bodies_that_are_none_are_dropped_by_senders_and_leave_nothing() {
    let bench = Bench::new();
    let good = series_1("up", 1.0, now_ms());
    let cut = snappy(&good[..good.len() - 3]);
    let bomb = snappy(&vec![0; 200 << 20]);
    let (twice, unknown) = (("Content-Encoding", "snappy, gzip"), ("Content-Encoding", "br"));
    let version_3 = ("Content-Type", "application/x-protobuf;proto=io.prometheus.write.v3.Request");
    for (headers, body, status) in [
        (&[SNAPPY][..], &b"not snappy"[..], 400),
        (&[SNAPPY], &cut, 400),
        (&[SNAPPY], &bomb, 413),
        (&[("Content-Encoding", "gzip")], &gzip(&gzip(&good)), 400),
        (&[twice], &good, 415),
        (&[unknown], &good, 415),
        (&[SNAPPY, version_3], &snappy(&good), 415),
        (&[SNAPPY, ("Content-Type", "text/plain")], &snappy(&good), 415),
    ] {
        let reply = bench.post("/api/v1/write", headers, body);
        assert_eq!(reply.status, status, "{headers:?}: {}", reply.text());
    }
    assert_eq!(ask(&bench, "up"), None);
}

#[test]
fn influx_lines_are_taken_at_both_addresses_and_a_bad_line_harms_no_other() {
    let bench = Bench::new();
    let now = now_ms();
    let line = format!("cpu,host=a\\ b usage=0.5,idle=3i {now}\n");
    let reply =
        bench.post("/write?precision=ms&db=x", &[("Content-Encoding", "gzip")], &gzip(line.as_bytes()));
    assert_eq!(reply.status, 204, "{}", reply.text());
    assert_eq!(ask(&bench, "cpu_usage{host=\"a b\"}").as_deref(), Some("0.5"));
    let lines = format!("cpu,host=c usage=0.25 {}\nsecret nonsense\n", now / 1000);
    let reply = bench.post("/api/v2/write?precision=s&bucket=b&org=o", &[], lines.as_bytes());
    assert_eq!(reply.status, 400);
    let error = reply.json();
    let message = "1 lines are not of the format, line 2 is the first; the other 1 samples are counted";
    assert_eq!(error, json!({"code": "invalid", "message": message}));
    assert_eq!(ask(&bench, "cpu_usage{host=\"c\"}").as_deref(), Some("0.25"));
    let reply = bench.post("/write?precision=days", &[], line.as_bytes());
    assert_eq!((reply.status, reply.json()["error"].is_string()), (400, true));
    // Without a time it is of now.
    assert_eq!(bench.post("/write", &[], b"mem free=7u").status, 204);
    assert_eq!(ask(&bench, "mem_free").as_deref(), Some("7"));
}

#[test]
fn text_and_json_lines_are_taken_with_their_times() {
    let bench = Bench::new();
    let now = now_ms();
    let text = format!("# TYPE a counter\na{{x=\"1\"}} 5 {now}\nb 0x1p-1\n");
    assert_eq!(bench.post("/api/v1/import/prometheus", &[], text.as_bytes()).status, 204);
    assert_eq!(ask(&bench, "a{x=\"1\"}").as_deref(), Some("5"));
    assert_eq!(ask(&bench, "b").as_deref(), Some("0.5"));
    let text = format!("c_total 1 {}.{:03}\n# EOF\n", now / 1000, now % 1000);
    assert_eq!(bench.post("/api/v1/import/prometheus", &[], text.as_bytes()).status, 204);
    assert_eq!(
        ask(&bench, "timestamp(c_total)"),
        Some(
            format!("{}.{:03}", now / 1000, now % 1000)
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_owned()
        )
    );
    let lines = format!(
        "{{\"metric\":{{\"__name__\":\"events\"}},\"kind\":\"delta\",\"values\":[1,4],\"timestamps\":[{},{now}]}}\n",
        now - 1000
    );
    for _ in 0..2 {
        let reply = bench.post("/api/v1/import", &[], lines.as_bytes());
        assert_eq!(reply.status, 204, "{}", reply.text());
    }
    assert_eq!(ask(&bench, "sum_over_time(events[1m])").as_deref(), Some("5"), "deltas count once");
}

#[test]
fn otlp_is_taken_as_json_and_told_what_was_rejected() {
    let bench = Bench::new();
    let now = format!("{}000000", now_ms());
    let late = format!("{}000000", now_ms() + 7_200_000);
    let request = |time: &str| -> Value {
        json!({"resourceMetrics": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeMetrics": [{"metrics": [{"name": "orders", "unit": "1", "sum": {
                "aggregationTemporality": 1, "isMonotonic": true,
                "dataPoints": [{"timeUnixNano": now, "asInt": "3"}, {"timeUnixNano": time, "asInt": "4"}]}}]}]}]})
    };
    let json_type = ("Content-Type", "application/json; charset=utf-8");
    let packed = ("Content-Encoding", "gzip");
    for _ in 0..2 {
        let body = gzip(request(&now).to_string().as_bytes());
        let reply = bench.post("/v1/metrics", &[json_type, packed], &body);
        assert_eq!((reply.status, reply.json()), (200, json!({})));
        assert_eq!(reply.header("content-type"), Some("application/json"));
    }
    assert_eq!(ask(&bench, "increase(orders_total{job=\"shop\"}[5m])").as_deref(), Some("7"));
    let reply = bench.post("/v1/metrics", &[json_type], request(&late).to_string().as_bytes());
    let rejected = json!({"partialSuccess": {"rejectedDataPoints": "1", "errorMessage": "1 future"}});
    assert_eq!((reply.status, reply.json()), (200, rejected));
    let reply = bench.post("/v1/metrics", &[json_type], b"{\"secret\"");
    assert_eq!((reply.status, &reply.json()["code"]), (400, &json!(3)));
    assert!(!reply.text().contains("secret"));
    assert_eq!(bench.post("/v1/metrics", &[("Content-Type", "application/x-protobuf")], &[0x0a]).status, 400);
    assert_eq!(bench.post("/v1/metrics", &[], b"{}").status, 415);
    assert_eq!(bench.post("/v1/metrics", &[("Content-Type", "application/x-protobuf")], b"").status, 200);
}
