//! What fuzz targets call: decoders of requests.

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};

use crate::access::{hex, token};
pub use crate::ingest::fuzzing::{
    otlp, otlp_json, otlp_json_seeds, otlp_seeds, remote_write, remote_write_2, remote_write_2_seeds,
    remote_write_seeds,
};
use crate::read::remote;
use crate::signed::Signature;
use crate::wire::put;

/// A header `Authorization`: what is read of a signature is all that it says, and a token is a part of it.
pub fn authorization(header: &[u8]) {
    if let Some(read) = Signature::parse(header) {
        let (key, nonce, tag) = (hex(&read.key), hex(&read.nonce), hex(&read.tag));
        let written = format!("annals1 key={key},time={},nonce={nonce},signature={tag}", read.time);
        assert_eq!(Signature::parse(written.as_bytes()), Some(read.clone()));
        let signed = read.text("POST", "/v1/signals", "b=2&&a=1", "acme", &[0; 32]);
        assert_eq!(signed.lines().count(), 8);
    }
    if let Ok(value) = HeaderValue::from_bytes(header) {
        assert!(token(&HeaderMap::from_iter([(AUTHORIZATION, value)])).len() <= header.len());
    }
}

/// A signature and a token in each way that it can come.
#[must_use]
pub fn authorization_seeds() -> Vec<Vec<u8>> {
    let (key, nonce, tag) = ("0a".repeat(16), "f0".repeat(16), "9b".repeat(32));
    let texts = [
        format!("annals1 key={key},time=1790000000,nonce={nonce},signature={tag}"),
        format!("annals1 key={key}, time=0, nonce={nonce}, signature={tag}"),
        format!("Bearer annals_{}_{}", "0".repeat(12), "1".repeat(64)),
        "Basic YW5uOmFubmFsc18xXzI=".to_owned(),
    ];
    texts.map(String::into_bytes).to_vec()
}

/// A `prometheus.ReadRequest`, as it comes and once it is decompressed.
pub fn remote_read(body: &[u8]) {
    let _ = remote::questions(body);
    if let Ok(asked) = remote::asked(body) {
        assert!(asked.len() * 2 <= body.len());
        assert!(asked.iter().all(|(matchers, range)| !matchers.is_empty() && range.start <= range.end));
    }
}

/// A request of two questions.
#[must_use]
pub fn remote_read_seeds() -> Vec<Vec<u8>> {
    let mut body = Vec::new();
    for (kind, name, value) in [(0, "__name__", "up"), (2, "job", "a|b.*")] {
        let (mut query, mut matcher) = (Vec::new(), Vec::new());
        put::varint(&mut matcher, 1, kind);
        put::bytes(&mut matcher, 2, name.as_bytes());
        put::bytes(&mut matcher, 3, value.as_bytes());
        put::varint(&mut query, 1, 1_789_999_000_000);
        put::varint(&mut query, 2, 1_790_000_000_000);
        put::bytes(&mut query, 3, &matcher);
        put::bytes(&mut body, 1, &query);
    }
    let packed = snap::raw::Encoder::new().compress_vec(&body);
    [Some(body), packed.ok()].into_iter().flatten().collect()
}
