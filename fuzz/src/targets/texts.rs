//! Texts: queries, schemas, and every format that is imported.

use std::sync::{Arc, LazyLock};

use annals::query::promql;
use annals::query::promql::testing::{MemorySample, MemorySource};
use annals::signals::read::{
    AccessLog, CsvMetrics, Dialect, InfluxLines, JsonSamples, JsonSignals, MetricReader, MetricsText,
    Precision, SignalReader, SshdLog, Tally, json_batch, kind_by_suffix, read_samples, read_signals,
};
use annals::signals::{builtin, register};
use annals::{Budget, CUSTOM_BUCKETS_SCHEMA, Histogram, LabelSet, QueryLimits, SeriesKind, Timestamp};
use jiff::tz::TimeZone;

use crate::seeds;

/// What queries are asked of: names and labels that the seeds use.
static SOURCE: LazyLock<MemorySource> = LazyLock::new(|| {
    let mut source = MemorySource::default();
    for (name, kind) in [
        ("m", SeriesKind::Gauge),
        ("x", SeriesKind::Counter),
        ("up", SeriesKind::Gauge),
        ("d", SeriesKind::Delta),
    ] {
        for job in ["x", "y"] {
            let samples: Vec<(i64, f64)> =
                (0..30).map(|i| (seeds::NOW - i64::from(30 - i) * 20_000, f64::from(i % 7))).collect();
            source.add(&[("__name__", name), ("job", job), ("le", "+Inf")], kind, &samples);
        }
    }
    let native = |i: i64| Histogram {
        schema: 0,
        count: 3.0 * i as f64,
        sum: i as f64,
        positive: vec![(0, i as f64), (3, 2.0 * i as f64)],
        ..Histogram::default()
    };
    let custom = |i: i64| Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: i as f64,
        positive: vec![(1, i as f64)],
        custom_bounds: vec![1.0, 5.0].into(),
        ..Histogram::default()
    };
    for (job, odd) in [("x", false), ("y", true)] {
        let labels = LabelSet::from_pairs([("__name__", "h"), ("job", job)]).expect("labels");
        let sample = |i: i64| MemorySample {
            histogram: (!odd || i % 3 > 0)
                .then(|| Arc::new(if odd && i % 3 == 1 { custom(i) } else { native(i) })),
            start: seeds::NOW - (30 - i / 7) * 20_000,
            ..MemorySample::float(seeds::NOW - (30 - i) * 20_000, i as f64)
        };
        source.add_samples(labels, SeriesKind::Counter, (1..30).map(sample).collect());
    }
    source
});

pub(super) fn promql_text(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for at in [text.len() / 2, text.len()] {
        let _ = promql::complete(text, at);
    }
    match promql::parse(text) {
        Err(error) => assert!(!error.render(text).is_empty()),
        Ok(expr) => {
            let printed = promql::format(&expr);
            assert!(!promql::tree(&expr, text).is_empty());
            let again = promql::parse(&printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
            assert_eq!(expr, again, "{printed}");
            let limits = QueryLimits { steps_max: 100, memory_bytes_max: 1 << 20, ..QueryLimits::default() };
            let source = &*SOURCE;
            let options = promql::QueryOptions::default();
            let _ = promql::instant(source, &expr, Timestamp(seeds::NOW), &options, &Budget::new(limits));
            let (start, end) = (Timestamp(seeds::NOW - 600_000), Timestamp(seeds::NOW));
            let _ = promql::range(source, &expr, start, end, 60_000, &options, &Budget::new(limits));
            let times = promql::Times::Range { start, end, step_ms: 60_000 };
            let _ = promql::explain(source, &expr, times, &options, &Budget::new(limits), None);
        }
    }
}

pub(super) fn promql_seeds() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "sum by (a, b) (rate(http_requests_total{code=~\"5..\", job!=\"x\"}[5m] offset 1h)) / on(a) group_left(c) x",
        "topk(3, -m @ start() ^ 2) or vector(1e3) unless quantile(0.9, m[1h:5m]) >= bool 0x1f",
        "histogram_quantile(0.99, sum without (pod) (increase({\"utf.8\", le!=\"\"}[1d])))",
        "histogram_quantiles(sum by (job) (rate(h[5m] smoothed)) </ 3, \"q\", 0.5) or info(h) + fill(1) h",
        "avg_over_time(h[5m:30s]) - h / 2 or limit_ratio(-0.5, increase(h[9m] anchored)) == bool h >/ start_timestamp(h)",
        "label_replace(up, \"a\", \"$1\", `b`, \"(.*)\") and count_values(\"v\", abs(m))",
    ])
}

pub(super) fn schema_toml(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match register(text) {
        Ok(schema) => assert!(schema.kinds.len() >= builtin().kinds.len()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

pub(super) fn schema_seeds() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "[[kind]]\nname = \"shop.order\"\n\n[[kind.field]]\nname = \"state\"\ntype = \"enumeration\"\n\
                    values = [\"paid\", \"failed\"]\nrequired = true\n\n[[kind.metric]]\nname = \"orders\"\n\
                    type = \"count\"\nlabels = [\"state\"]\n",
    ])
}

pub(super) fn read_log(reader: &mut dyn SignalReader, bytes: &[u8]) {
    let mut given = 0;
    let tally = read_signals(reader, bytes, |signal| {
        assert!(!signal.kind.is_empty());
        given += 1;
    });
    assert_adds_up(&tally, given);
}

pub(super) fn access_log(bytes: &[u8]) {
    read_log(&mut AccessLog::apache(), bytes);
    read_log(&mut AccessLog::nginx(), bytes);
}

pub(super) fn access_seeds() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "10.0.0.1 - - [17/May/2015:10:05:03 +0000] \"GET /a/b.png?x=1 HTTP/1.1\" 200 203 \"http://r/\" \"M (X)\"\n",
        "shop.example:443 ::1 - ada [17/May/2015:10:05:03 -0130] \"POST / HTTP/2.0\" 499 - \"-\" \"\\\"\" 0.012\n",
    ])
}

pub(super) fn sshd_log(bytes: &[u8]) {
    read_log(&mut SshdLog::new(2015, TimeZone::UTC), bytes);
}

pub(super) fn sshd_seeds() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "Mar 27 13:06:56 ip-10 sshd[12]: Failed password for invalid user ada from 10.0.0.1 port 22 ssh2\n",
        "Dec 31 23:59:59 h sshd[1]: message repeated 5 times: [ Failed password for root from ::1 port 1 ssh2]\n",
        "2026-11-01T10:00:00.5+01:00 h sshd[1]: Accepted publickey for ada from 10.0.0.1 port 22 ssh2: RSA x\n",
    ])
}

/// Reads a metric file; what is given to the sink is what the tally says.
fn read_metrics(reader: &mut dyn MetricReader, bytes: &[u8]) {
    let mut given = 0u64;
    let mut sink = |labels: &[(&str, &str)], _: SeriesKind, _: Option<Timestamp>, _: f64| {
        given += 1;
        // Readers leave names to admission, which never panics on any.
        let _ = LabelSet::from_pairs(labels.iter().copied());
    };
    let tally = read_samples(reader, bytes, &mut sink);
    assert_adds_up(&tally, given);
}

fn assert_adds_up(tally: &Tally, given: u64) {
    assert_eq!(tally.read, given, "what was read was given");
    assert_eq!(tally.unreadable > 0, tally.first_unreadable.is_some());
    assert!(tally.skipped + tally.unreadable <= tally.lines);
}

pub(super) fn metrics_text(bytes: &[u8]) {
    for dialect in [Dialect::Prometheus, Dialect::OpenMetrics] {
        read_metrics(&mut MetricsText::new(dialect, Some(Timestamp(seeds::NOW))), bytes);
    }
}

pub(super) fn metrics_seeds() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "# TYPE http_requests_total counter\nhttp_requests_total{code=\"200\",p=\"a\\\"b\\n\"} 1.5e3 1700000000000\n",
        "# TYPE x histogram\nx_bucket{le=\"+Inf\"} 3 # {id=\"1\"} 0.5\nx_sum NaN\n# EOF\n",
    ])
}

pub(super) fn csv(bytes: &[u8]) {
    read_metrics(&mut CsvMetrics::new("m", kind_by_suffix), bytes);
}

pub(super) fn csv_seeds() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "timestamp,value\n2014-07-01 00:00:00,10844\n1404172800,8127.5\n",
        "series,1700000000000,1700000001000\n\"go_gc{quantile=\"\"0.5\"\"}\",1.5,\nup,0,1e-9\n",
        "time,a,b\n2014-07-01T00:00:00Z,1,\n",
    ])
}

pub(super) fn influx(bytes: &[u8]) {
    read_metrics(&mut InfluxLines::new(Precision::Nanoseconds, Some(Timestamp(seeds::NOW))), bytes);
}

pub(super) fn influx_seeds() -> Vec<Vec<u8>> {
    seeds::texts(&["cpu,host=a\\ b,r=x usage=1.5,n=3i,u=4u,ok=t,s=\"q \\\" r\" 1700000000000000000\nm v=1\n"])
}

pub(super) fn json_samples(bytes: &[u8]) {
    read_metrics(&mut JsonSamples, bytes);
}

pub(super) fn json_samples_seeds() -> Vec<Vec<u8>> {
    seeds::texts(&[
        "{\"metric\":{\"__name__\":\"a_total\",\"b\":\"c\\n\"},\"values\":[1,-0.5e3,null,\"NaN\"],\"timestamps\":[1,2,3,4]}\n",
        "{\"metric\":{\"__name__\":\"hits\"},\"kind\":\"delta\",\"values\":[4],\"timestamps\":[1700000000000]}\n",
    ])
}

/// The same text as lines and as a batch: every signal has a verdict.
pub(super) fn json_signals(bytes: &[u8]) {
    read_log(&mut JsonSignals::new(builtin()), bytes);
    if let Ok(batch) = json_batch(&builtin(), bytes, 100) {
        let refused = batch.all_refused(&[]);
        assert_eq!(batch.records(), batch.signals.len() + refused.len());
        assert!(refused.is_sorted_by(|(a, _), (b, _)| a < b));
    }
}

pub(super) fn json_signals_seeds() -> Vec<Vec<u8>> {
    let signals = [
        "{\"kind\":\"http.request\",\"timestamp\":7,\"method\":\"GET\",\"status\":200,\"duration\":\"1.5s\",\"client\":\"\\u00e9\"}",
        "{\"kind\":\"config.changed\",\"timestamp\":\"2015-05-17T10:05:03Z\",\"option\":\"a\",\"change\":{\"before\":\"a\",\"after\":\"b\"}}",
        "{\"kind\":\"file.edited\",\"timestamp\":7,\"area\":\"plugin\",\"size\":-120,\"flags\":[\"new\",\"executable\"]}",
    ];
    let batch = format!(
        "{{\"batch\":\"000102030405060708090a0b0c0d0e0f\",\"site\":\"www\",\"signals\":[{},5]}}",
        signals.join(",")
    );
    seeds::texts(&[&batch, &signals.join("\n")])
}
