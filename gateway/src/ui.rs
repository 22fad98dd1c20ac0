//! The page at `/ui`: files that are built from `gateway/ui` and are part of the program.
//!
//! It holds nothing of anybody: what it shows it asks for with the token that its user gives it. Its policy lets it load
//! these files, ask this gateway, and nothing else; no script and no style stands in a document, but for the style of
//! reports, which is known by its hash.

use std::sync::{Arc, LazyLock};

use annals::query::report;
use aws_lc_rs::digest::{SHA256, digest};
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, REFERRER_POLICY,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::app::Gateway;
use crate::reply::ApiError;

/// What is read with it: the first is the page.
const FILES: [(&str, &str, &[u8]); 5] = [
    ("index.html", "text/html; charset=utf-8", include_bytes!("../ui/dist/index.html")),
    ("app.js", "text/javascript; charset=utf-8", include_bytes!("../ui/dist/app.js")),
    ("app.css", "text/css; charset=utf-8", include_bytes!("../ui/dist/app.css")),
    ("icon.svg", "image/svg+xml", include_bytes!("../ui/dist/icon.svg")),
    ("LICENSES.txt", "text/plain; charset=utf-8", include_bytes!("../ui/dist/LICENSES.txt")),
];

/// Each file's digest, by which a browser asks whether it has changed.
static DIGESTS: LazyLock<[String; FILES.len()]> =
    LazyLock::new(|| FILES.map(|(_, _, bytes)| format!("\"{}\"", hash(bytes))));

static POLICY: LazyLock<String> = LazyLock::new(|| {
    let style = hash(report::STYLE.as_bytes());
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'sha256-{style}'; img-src 'self'; connect-src 'self'; \
         frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

fn hash(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(digest(&SHA256, bytes))
}

/// Its routes.
pub(crate) fn router() -> Router<Arc<Gateway>> {
    // Relative, so that it is right below any path of a proxy in front.
    let slash = || async { (StatusCode::PERMANENT_REDIRECT, [(LOCATION, "ui/")]) };
    Router::new()
        .route("/ui", get(slash))
        .route("/ui/", get(|headers: HeaderMap| async move { file("index.html", &headers) }))
        .route(
            "/ui/{file}",
            get(|Path(name): Path<String>, headers: HeaderMap| async move { file(&name, &headers) }),
        )
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    let found = FILES.iter().zip(&*DIGESTS).find(|((known, ..), _)| *known == name);
    let Some(((_, kind, bytes), digest)) = found else {
        return ApiError::not_found("the page has no such file").into_response();
    };
    let own: [(HeaderName, &str); 5] = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, &POLICY),
        (ETAG, digest),
        // Asked for each time, and sent when another version of the program runs.
        (CACHE_CONTROL, "no-cache"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    let is_known = headers.get_all(IF_NONE_MATCH).iter().any(|known| {
        // What was compressed on its way may come back as a weak one.
        known
            .to_str()
            .is_ok_and(|known| known.split(',').any(|one| one.trim().trim_start_matches("W/") == digest))
    });
    match is_known {
        true => (StatusCode::NOT_MODIFIED, own).into_response(),
        false => (own, Body::from(*bytes)).into_response(),
    }
}
