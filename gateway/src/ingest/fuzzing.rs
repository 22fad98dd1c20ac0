//! What fuzz targets call: the decoder of each body, into a store in memory that nothing is written to.

use super::series::{Form, Samples};
use super::testing::{Bench, NOW};
use super::{otlp, remote_write};
use crate::wire::put;

thread_local! {
    static BENCH: Bench = Bench::new();
}

fn look(form: Form, decode: impl FnOnce(&mut Samples<'_>)) {
    BENCH.with(|bench| bench.look(form, decode));
}

/// A `prometheus.WriteRequest`.
pub fn remote_write(body: &[u8]) {
    look(Form::RemoteWrite, |samples| _ = remote_write::decode(remote_write::Version::One, body, samples));
}

/// An `io.prometheus.write.v2.Request`.
pub fn remote_write_2(body: &[u8]) {
    look(Form::RemoteWrite2, |samples| _ = remote_write::decode(remote_write::Version::Two, body, samples));
}

/// An `ExportMetricsServiceRequest`.
pub fn otlp(body: &[u8]) {
    look(Form::Otlp, |samples| otlp::look(body, samples));
}

/// The same as JSON.
pub fn otlp_json(body: &[u8]) {
    look(Form::Otlp, |samples| otlp::look_json(body, samples));
}

/// A request with a sample and a native histogram.
#[must_use]
pub fn remote_write_seeds() -> Vec<Vec<u8>> {
    let mut series = Vec::new();
    for (name, value) in [("__name__", "hits_total"), ("job", "a")] {
        let mut label = Vec::new();
        put::bytes(&mut label, 1, name.as_bytes());
        put::bytes(&mut label, 2, value.as_bytes());
        put::bytes(&mut series, 1, &label);
    }
    samples(&mut series, 2, 4);
    let mut body = Vec::new();
    put::bytes(&mut body, 1, &series);
    vec![body]
}

/// The same in version 2.
#[must_use]
pub fn remote_write_2_seeds() -> Vec<Vec<u8>> {
    let (mut body, mut series, mut metadata) = (Vec::new(), Vec::new(), Vec::new());
    for symbol in ["", "__name__", "hits", "job", "a"] {
        put::bytes(&mut body, 4, symbol.as_bytes());
    }
    put::varints(&mut series, 1, &[1, 2, 3, 4]);
    samples(&mut series, 2, 3);
    put::varint(&mut metadata, 1, 1);
    put::bytes(&mut series, 5, &metadata);
    put::bytes(&mut body, 5, &series);
    vec![body]
}

fn samples(series: &mut Vec<u8>, numbers: u32, histograms: u32) {
    let mut sample = Vec::new();
    put::double(&mut sample, 1, 0.5);
    put::varint(&mut sample, 2, NOW as u64);
    put::bytes(series, numbers, &sample);
    let mut own = Vec::new();
    put::varint(&mut own, 1, 6);
    put::double(&mut own, 3, 7.5);
    put::varint(&mut own, 4, put::zigzag(-1));
    put::bytes(&mut own, 11, &[0x08, 0x00, 0x10, 0x03]);
    put::varints(&mut own, 12, &[2, 4, 1]);
    put::varint(&mut own, 15, NOW as u64);
    put::bytes(series, histograms, &own);
}

/// A request with a number, a histogram of each kind and a summary.
#[must_use]
pub fn otlp_json_seeds() -> Vec<Vec<u8>> {
    let body = r#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"a"}},{"key":"h","value":{"arrayValue":{"values":[{"intValue":"2"}]}}}]},"scopeMetrics":[{"metrics":[
        {"name":"m.n","unit":"By/s","sum":{"aggregationTemporality":1,"isMonotonic":true,"dataPoints":[{"timeUnixNano":"1790000000000000000","asInt":"4","attributes":[{"key":"k","value":{"doubleValue":0.5}}]}]}},
        {"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":1790000000000000000,"count":"3","sum":1,"bucketCounts":["1","2"],"explicitBounds":[5]}]}},
        {"name":"e","exponentialHistogram":{"aggregationTemporality":1,"dataPoints":[{"timeUnixNano":"1790000000000000000","count":"3","scale":10,"zeroCount":1,"positive":{"offset":-1,"bucketCounts":["1","1"]}}]}},
        {"name":"s","summary":{"dataPoints":[{"timeUnixNano":"1790000000000000000","count":"4","sum":8,"quantileValues":[{"quantile":0.5,"value":"NaN"}]}]}}]}]}]}"#;
    vec![body.as_bytes().to_vec()]
}

/// The same as Protobuf.
#[must_use]
pub fn otlp_seeds() -> Vec<Vec<u8>> {
    otlp_json_seeds().iter().filter_map(|body| otlp::from_json(body)).collect()
}
