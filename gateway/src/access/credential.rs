//! What a request shows: a token, in whichever way its client can send one.
//!
//! | header | who sends it |
//! |---|---|
//! | `Authorization: Bearer TOKEN` | Grafana, Prometheus, vmagent, OTLP exporters |
//! | `Authorization: Basic` of any user and the token as password | whoever knows user and password only |
//! | `Authorization: Token TOKEN` | clients of InfluxDB |

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

/// The longest header that is looked at.
const HEADER_BYTES_MAX: usize = 512;

/// The token of a request; empty where there is none, or more than one.
pub(crate) fn token(headers: &HeaderMap) -> String {
    let mut all = headers.get_all(AUTHORIZATION).iter();
    let (Some(header), None) = (all.next(), all.next()) else { return String::new() };
    let Some(text) = header.to_str().ok().filter(|text| text.len() <= HEADER_BYTES_MAX) else {
        return String::new();
    };
    let (scheme, rest) = text.split_once(' ').unwrap_or_default();
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" | "token" => rest.trim().to_owned(),
        "basic" => {
            let decoded =
                BASE64_STANDARD.decode(rest.trim()).ok().and_then(|own| String::from_utf8(own).ok());
            let (_, password) = decoded.as_deref().and_then(|own| own.split_once(':')).unwrap_or_default();
            password.to_owned()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn of(values: &[&'static str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_static(value));
        }
        token(&headers)
    }

    #[test]
    fn a_token_comes_in_three_ways() {
        assert_eq!(of(&["Bearer annals_1_2"]), "annals_1_2");
        assert_eq!(of(&["bearer  annals_1_2 "]), "annals_1_2");
        assert_eq!(of(&["Token annals_1_2"]), "annals_1_2");
        assert_eq!(of(&["Basic YW5uOmFubmFsc18xXzI="]), "annals_1_2");
    }

    #[test]
    fn what_is_no_credential_is_no_token() {
        for wrong in ["", "annals_1_2", "Digest x", "Basic !!!", "Basic YW5u", "Bearer"] {
            assert_eq!(of(&[wrong]), "", "{wrong}");
        }
        assert_eq!(of(&["Bearer a", "Bearer b"]), "");
        assert_eq!(of(&[]), "");
    }
}
