//! The targets.

use std::path::Path;
use std::sync::Arc;
use std::sync::LazyLock;

use annals::query::promql::{self, testing::MemorySource};
use annals::signals::read::{
    AccessLog, CsvMetrics, Dialect, InfluxLines, MetricsText, Precision, SignalReader, SshdLog,
    kind_by_suffix, read_samples, read_signals,
};
use annals::signals::{builtin, decode_rows, register};
use annals::vfs::{SimClock, SimVfs};
use annals::{Budget, LabelSet, QueryLimits, ReadOnly, TimeRange, Timestamp, inspect, verify};
use jiff::tz::TimeZone;

use crate::seeds;

/// A decoder that takes arbitrary bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Decodes; panics where it finds something wrong with the decoder.
    pub run: fn(&[u8]),
    /// Valid inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: [Target; 14] = [
    Target { name: "block", run: block, seeds: || seeds::files(".blk") },
    Target { name: "wal_segment", run: wal_segment, seeds: || seeds::files("/wal/") },
    Target { name: "manifest", run: manifest, seeds: || seeds::files("/manifest-") },
    Target { name: "catalogue", run: catalogue, seeds: || seeds::files("/catalog-") },
    Target { name: "key_file", run: key_file, seeds: || seeds::files("/keys/") },
    Target { name: "rows", run: rows, seeds: seeds::rows },
    Target { name: "labels", run: labels, seeds: || seeds::texts(&["\x01a\x01\0b", "\x08__name__\x02\0up"]) },
    Target { name: "promql", run: promql_text, seeds: promql_seeds },
    Target { name: "schema_toml", run: schema_toml, seeds: schema_seeds },
    Target { name: "access_log", run: access_log, seeds: access_seeds },
    Target { name: "sshd_log", run: sshd_log, seeds: sshd_seeds },
    Target { name: "metrics_text", run: metrics_text, seeds: metrics_seeds },
    Target { name: "csv", run: csv, seeds: csv_seeds },
    Target { name: "influx", run: influx, seeds: influx_seeds },
];

/// The store that damaged files are put into.
static STORE: LazyLock<SimVfs> = LazyLock::new(seeds::store);

/// Puts `bytes` in place of the newest file whose path holds `part`, and reads everything.
fn in_store(part: &str, bytes: &[u8]) {
    let vfs = STORE.snapshot();
    let Some(path) = vfs.paths().into_iter().rfind(|path| path.to_string_lossy().contains(part)) else {
        return;
    };
    vfs.write_file(&path, bytes).expect("the directory is there");
    let _ = inspect(&vfs, &path);
    let vfs: Arc<SimVfs> = Arc::new(vfs);
    let _ = verify(vfs.clone(), Path::new("/data"));
    let clock = Arc::new(SimClock::new(seeds::NOW));
    let Ok(store) = ReadOnly::open(vfs, clock, Path::new("/data")) else { return };
    for tenant in store.tenants() {
        let Ok(reader) = store.tenant(&tenant.id) else { continue };
        let _ = reader.query("sum by (host) ({__name__=~\".+\"})", Timestamp(seeds::NOW));
        let mut rows = 0;
        reader.scan_signals(TimeRange::ALL, None, None, &mut |_| rows += 1);
        assert!(rows < 1 << 20, "a small file became {rows} rows");
    }
}

fn block(bytes: &[u8]) {
    in_store(".blk", bytes);
}

fn wal_segment(bytes: &[u8]) {
    in_store("/wal/", bytes);
}

fn manifest(bytes: &[u8]) {
    in_store("/t/1/manifest-", bytes);
}

fn catalogue(bytes: &[u8]) {
    in_store("/catalog-", bytes);
}

fn key_file(bytes: &[u8]) {
    in_store("/keys/", bytes);
}

fn rows(bytes: &[u8]) {
    if let Ok(rows) = decode_rows(&builtin(), bytes) {
        assert!(rows.len() <= bytes.len());
    }
}

fn labels(bytes: &[u8]) {
    if let Some(labels) = LabelSet::from_bytes(bytes) {
        assert_eq!(labels.as_bytes(), bytes, "one set has one form");
        let _ = labels.to_string();
    }
}

fn promql_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match promql::parse(text) {
        Err(error) => assert!(!error.render(text).is_empty()),
        Ok(expr) => {
            let printed = expr.to_string();
            let again = promql::parse(&printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
            assert_eq!(expr, again, "{printed}");
            let limits = QueryLimits { steps_max: 100, memory_bytes_max: 1 << 20, ..QueryLimits::default() };
            let source = MemorySource::default();
            let options = promql::QueryOptions::default();
            let _ = promql::instant(&source, &expr, Timestamp(seeds::NOW), &options, &Budget::new(limits));
            let (start, end) = (Timestamp(seeds::NOW - 600_000), Timestamp(seeds::NOW));
            let _ = promql::range(&source, &expr, start, end, 60_000, &options, &Budget::new(limits));
        }
    }
}

fn promql_seeds() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "sum by (a, b) (rate(http_requests_total{code=~\"5..\", job!=\"x\"}[5m] offset 1h)) / on(a) group_left(c) x",
        "topk(3, -m @ start() ^ 2) or vector(1e3) unless quantile(0.9, m[1h:5m]) >= bool 0x1f",
        "histogram_quantile(0.99, sum without (pod) (increase({\"utf.8\", le!=\"\"}[1d])))",
        "label_replace(up, \"a\", \"$1\", `b`, \"(.*)\") and count_values(\"v\", abs(m))",
    ])
}

fn schema_toml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match register(text) {
        Ok(schema) => assert!(schema.kinds.len() >= builtin().kinds.len()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn schema_seeds() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "[[kind]]\nname = \"shop.order\"\n\n[[kind.field]]\nname = \"state\"\ntype = \"enumeration\"\n\
                    values = [\"paid\", \"failed\"]\nrequired = true\n\n[[kind.metric]]\nname = \"orders\"\n\
                    type = \"count\"\nlabels = [\"state\"]\n",
    ])
}

fn read_log(reader: &mut dyn SignalReader, bytes: &[u8]) {
    read_signals(reader, bytes, |signal| assert!(!signal.kind.is_empty()));
}

fn access_log(bytes: &[u8]) {
    read_log(&mut AccessLog::apache(), bytes);
    read_log(&mut AccessLog::nginx(), bytes);
}

fn access_seeds() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"GET /a/b.png?x=1 HTTP/1.1\" 200 203 \"http://r/\" \"M (X)\"\n",
        "shop.example:443 ::1 - ada [17/May/2015:10:05:03 -0130] \"POST / HTTP/2.0\" 499 - \"-\" \"\\\"\" 0.012\n",
    ])
}

fn sshd_log(bytes: &[u8]) {
    read_log(&mut SshdLog::new(2015, TimeZone::UTC), bytes);
}

fn sshd_seeds() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "Mar 27 13:06:56 ip-10 sshd[12]: Failed password for invalid user ada from 10.0.0.1 port 22 ssh2\n",
        "Dec 31 23:59:59 h sshd[1]: message repeated 5 times: [ Failed password for root from ::1 port 1 ssh2]\n",
        "2026-11-01T10:00:00.5+01:00 h sshd[1]: Accepted publickey for ada from 10.0.0.1 port 22 ssh2: RSA x\n",
    ])
}

fn metrics_text(bytes: &[u8]) {
    for dialect in [Dialect::Prometheus, Dialect::OpenMetrics] {
        let mut reader = MetricsText::new(dialect, Some(Timestamp(seeds::NOW)));
        read_samples(&mut reader, bytes, &mut |_: &[(&str, &str)], _, _, _: f64| {});
    }
}

fn metrics_seeds() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "# TYPE http_requests_total counter\nhttp_requests_total{code=\"200\",p=\"a\\\"b\\n\"} 1.5e3 1700000000000\n",
        "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 3 # {id=\"1\"} 0.5\nx_sum NaN\n# EOF\n",
    ])
}

fn csv(bytes: &[u8]) {
    let mut reader = CsvMetrics::new("m", kind_by_suffix);
    read_samples(&mut reader, bytes, &mut |_: &[(&str, &str)], _, _, _: f64| {});
}

fn csv_seeds() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "timestamp,value\n2014-07-01 00:00:00,10844\n1404172800,8127.5\n",
        "series,1700000000000,1700000001000\n\"go_gc{quantile=\"\"0.5\"\"}\",1.5,\nup,0,1e-9\n",
        "time,a,b\n2014-07-01T00:00:00Z,1,\n",
    ])
}

fn influx(bytes: &[u8]) {
    let mut reader = InfluxLines::new(Precision::Nanoseconds, Some(Timestamp(seeds::NOW)));
    read_samples(&mut reader, bytes, &mut |_: &[(&str, &str)], _, _, _: f64| {});
}

fn influx_seeds() -> Vec<Vec<u8>> {
    seeds::texts(&["cpu,host=a\\ b,r=x usage=1.5,n=3i,u=4u,ok=t,s=\"q \\\" r\" 1700000000000000000\nm v=1\n"])
}
