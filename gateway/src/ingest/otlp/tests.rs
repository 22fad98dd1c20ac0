//! The same request as JSON and as Protobuf, decoded into a store in memory.

use annals::SeriesKind;

use super::super::series::{Outcome, Samples};
use super::super::testing::{Bench, NOW};
use super::*;

/// One of each kind of point.
fn request() -> String {
    let now = i128::from(NOW) * 1_000_000;
    format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[
            {{"key":"service.name","value":{{"stringValue":"shop"}}}},
            {{"key":"service.namespace","value":{{"stringValue":"acme"}}}},
            {{"key":"service.instance.id","value":{{"stringValue":"i-1"}}}},
            {{"key":"host.name","value":{{"stringValue":"h"}}}},
            {{"key":"list","value":{{"arrayValue":{{"values":[{{"stringValue":"a"}},{{"intValue":"2"}}]}}}}}}]}},
        "scopeMetrics":[{{"scope":{{"name":"ignored"}},"metrics":[
            {{"name":"mem.used","unit":"By","gauge":{{"dataPoints":[
                {{"timeUnixNano":"{now}","asInt":"-7","attributes":[{{"key":"http.method","value":{{"stringValue":"GET"}}}}]}}]}}}},
            {{"name":"hits","unit":"1","sum":{{"aggregationTemporality":2,"isMonotonic":true,"dataPoints":[
                {{"timeUnixNano":"{now}","asDouble":3.5}}]}}}},
            {{"name":"events","sum":{{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA","isMonotonic":true,"dataPoints":[
                {{"timeUnixNano":{now},"asInt":4}},{{"timeUnixNano":"{now}","asInt":"2"}}]}}}},
            {{"name":"wait","unit":"ms","histogram":{{"aggregationTemporality":2,"dataPoints":[
                {{"timeUnixNano":"{now}","count":"6","sum":12.5,"bucketCounts":["1","2","3"],"explicitBounds":[5,10]}}]}}}},
            {{"name":"work","histogram":{{"aggregationTemporality":1,"dataPoints":[
                {{"timeUnixNano":"{now}","count":"6","sum":12.5,"bucketCounts":["1","0","5"],"explicitBounds":[5,10]}}]}}}},
            {{"name":"took","unit":"s","exponentialHistogram":{{"aggregationTemporality":1,"dataPoints":[
                {{"timeUnixNano":"{now}","count":"9","sum":2.5,"scale":10,"zeroCount":"2",
                  "positive":{{"offset":-1,"bucketCounts":["1","2","4"]}}}}]}}}},
            {{"name":"lat","summary":{{"dataPoints":[
                {{"timeUnixNano":"{now}","count":"4","sum":8,"quantileValues":[{{"quantile":0.5,"value":"NaN"}},{{"quantile":0.99,"value":3}}]}}]}}}}
        ]}}]}}]}}"#
    )
}

fn take(bench: &Bench, id: u8, body: &[u8]) -> (Outcome, decode::Points) {
    let taken = bench.take(Form::Otlp, id, |samples| decode::decode(body, samples));
    taken.unwrap_or_else(|broken| panic!("{broken}"))
}

#[test]
fn every_kind_of_point_becomes_what_annals_keeps_of_it() {
    let bench = Bench::new();
    let body = json::to_protobuf(request().as_bytes()).expect("JSON of OTLP");
    let (outcome, points) = take(&bench, 1, &body);
    assert_eq!((outcome.refusals(), points.all, points.rejected.len()), (None, 8, 0));
    for (metric, kind) in [
        ("mem_used_bytes", SeriesKind::Gauge),
        ("hits_total", SeriesKind::Counter),
        ("events_total", SeriesKind::Delta),
        ("wait_milliseconds_bucket", SeriesKind::Counter),
        ("wait_milliseconds_sum", SeriesKind::Counter),
        ("work", SeriesKind::DeltaHistogram),
        ("took_seconds", SeriesKind::DeltaHistogram),
        ("lat", SeriesKind::Gauge),
        ("lat_count", SeriesKind::Counter),
        ("target_info", SeriesKind::Gauge),
    ] {
        assert_eq!(bench.kind(metric), Some(kind), "{metric}");
    }
    let target = "job=\"acme/shop\", instance=\"i-1\"";
    for (query, expected) in [
        (format!("mem_used_bytes{{http_method=\"GET\", {target}}}"), "-7.0"),
        (format!("hits_total{{{target}}}"), "3.5"),
        ("increase(events_total[5m])".to_owned(), "6.0"),
        ("wait_milliseconds_bucket{le=\"10\"}".to_owned(), "3.0"),
        ("wait_milliseconds_bucket{le=\"+Inf\"}".to_owned(), "6.0"),
        ("wait_milliseconds_sum".to_owned(), "12.5"),
        ("histogram_count(increase(work[5m]))".to_owned(), "6.0"),
        ("histogram_count(increase(took_seconds[5m]))".to_owned(), "9.0"),
        ("lat{quantile=\"0.99\"}".to_owned(), "3.0"),
        (format!("target_info{{host_name=\"h\", list=\"[\\\"a\\\",2]\", {target}}}"), "1.0"),
    ] {
        let found = bench.ask(&query);
        assert!(found.contains(expected), "{query}: {found}");
    }
}

#[test]
fn points_that_cannot_be_are_refused_by_reason_and_harm_no_other() {
    let bench = Bench::new();
    let now = i128::from(NOW) * 1_000_000;
    let metric = |data: &str| format!(r#"{{"name":"m{}","unit":"",{data}}}"#, data.len());
    let metrics = [
        metric(&format!(r#""sum":{{"dataPoints":[{{"timeUnixNano":"{now}","asInt":1}}]}}"#)),
        metric(&format!(
            r#""histogram":{{"aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":"{now}","count":1,"bucketCounts":[1],"explicitBounds":[1,2]}}]}}"#
        )),
        metric(&format!(
            r#""exponentialHistogram":{{"aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":"{now}","count":1,"scale":-40}}]}}"#
        )),
        metric(&format!(r#""gauge":{{"dataPoints":[{{"timeUnixNano":"{now}","asInt":1}}]}}"#)),
        metric(&format!(r#""gauge":{{"dataPoints":[{{"timeUnixNano":"{}","asInt":1}}]}}"#, now * 2)),
    ];
    let body =
        format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{}]}}]}}]}}"#, metrics.join(","));
    let body = json::to_protobuf(body.as_bytes()).expect("JSON of OTLP");
    let (outcome, points) = take(&bench, 1, &body);
    assert_eq!((points.all, outcome.samples), (5, 1));
    assert_eq!(points.rejected.into_iter().collect::<Vec<_>>(), [("out_of_bounds", 2), ("wrong_type", 1)]);
    assert_eq!(outcome.refused.into_iter().collect::<Vec<_>>(), [("future", 1)]);
}

#[test]
fn json_that_is_none_of_otlp_is_refused_without_a_word_of_it() {
    for (body, what) in [
        ("", "this is not JSON"),
        ("{", "this is not JSON"),
        ("{} secret", "this is not JSON"),
        ("[]", "this is not JSON of OTLP"),
        (r#"{"resourceMetrics":5}"#, "this is not JSON of OTLP"),
        (r#"{"resourceMetrics":[[]]}"#, "this is not JSON of OTLP"),
        (r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":7}]}]}]}"#, "this is not JSON of OTLP"),
        (
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"sum":{"dataPoints":[{"asInt":"secret"}]}}]}]}]}"#,
            "this is not JSON of OTLP",
        ),
    ] {
        let error = json::to_protobuf(body.as_bytes()).expect_err("refused").api().message;
        assert!(error.ends_with(what) && !error.contains("secret"), "{body}: {error}");
    }
    let known = json::to_protobuf(br#"{"unknown":[{"a":1}],"resourceMetrics":null}"#).expect("taken");
    assert!(known.is_empty());
    let deep = format!("{{\"resourceMetrics\":{}", "[".repeat(100_000));
    assert!(json::to_protobuf(deep.as_bytes()).is_err());
}

#[test]
fn a_body_that_is_cut_or_altered_anywhere_never_panics() {
    let text = request();
    let body = json::to_protobuf(text.as_bytes()).expect("JSON of OTLP");
    let bench = Bench::new();
    let look =
        |body: &[u8]| bench.look(Form::Otlp, |samples: &mut Samples<'_>| drop(decode::decode(body, samples)));
    for end in 0..body.len() {
        look(&body[..end]);
    }
    for bit in 0..body.len() * 8 {
        let mut altered = body.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        look(&altered);
    }
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        if let Ok(body) = json::to_protobuf(&text.as_bytes()[..end]) {
            look(&body);
        }
    }
}
