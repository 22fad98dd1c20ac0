//! A signature: what is signed, and how it stands in a request.
//!
//! ```text
//! Authorization: annals1 key=<32 hex>,time=<seconds>,nonce=<32 hex>,signature=<64 hex>
//! ```
//!
//! The signature is HMAC-SHA256, under the 32 bytes of the key's secret, of these lines, with a line feed between each two
//! and none at the end:
//!
//! ```text
//! annals1
//! POST                              the method
//! /v1/signals                       the path
//!                                   the query's parts between `&`, sorted: here there are none
//! acme                              the tenant
//! 1790000000                        Unix seconds, as in the header
//! 000102030405060708090a0b0c0d0e0f  the nonce, as in the header
//! e3b0c442...b855                   SHA-256 of the body as it is sent, hexadecimal
//! ```
//!
//! Hexadecimal digits are lower case. The header holds each field once and nothing else.

/// The scheme and its version.
const SCHEME: &str = "annals1";
/// A header that is longer is no signature.
const HEADER_BYTES_MAX: usize = 256;
/// Seconds have as many digits at most.
const TIME_DIGITS_MAX: usize = 12;

/// What a request says of its signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) key: [u8; 16],
    /// Unix seconds.
    pub(crate) time: i64,
    pub(crate) nonce: [u8; 16],
    pub(crate) tag: [u8; 32],
}

impl Signature {
    /// Reads the value of the header.
    pub(crate) fn parse(header: &[u8]) -> Option<Signature> {
        let text = std::str::from_utf8(header).ok().filter(|text| text.len() <= HEADER_BYTES_MAX)?;
        let mut fields = text.strip_prefix(SCHEME)?.strip_prefix(' ')?.split(',');
        let mut field = |name: &str| fields.next()?.trim().strip_prefix(name)?.strip_prefix('=');
        let key = bytes(field("key")?)?;
        let time = field("time")?;
        let digits =
            (1..=TIME_DIGITS_MAX).contains(&time.len()) && time.bytes().all(|byte| byte.is_ascii_digit());
        let time = time.parse().ok().filter(|_| digits)?;
        let (nonce, tag) = (bytes(field("nonce")?)?, bytes(field("signature")?)?);
        fields.next().is_none().then_some(Signature { key, time, nonce, tag })
    }

    /// What was signed, if it is right.
    pub(crate) fn text(
        &self,
        method: &str,
        path: &str,
        query: &str,
        tenant: &str,
        body: &[u8; 32],
    ) -> String {
        let mut parts: Vec<&str> = query.split('&').filter(|part| !part.is_empty()).collect();
        parts.sort_unstable();
        let (query, nonce, body) = (parts.join("&"), super::hex(&self.nonce), super::hex(body));
        format!("{SCHEME}\n{method}\n{path}\n{query}\n{tenant}\n{}\n{nonce}\n{body}", self.time)
    }
}

/// As many bytes as two lower-case digits each say.
pub(crate) fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> String {
        let (key, nonce, tag) = ("01".repeat(16), "02".repeat(16), "0f".repeat(32));
        format!("annals1 key={key},time=1790000000,nonce={nonce},signature={tag}")
    }

    #[test]
    fn a_signature_is_read_as_it_stands() {
        let read = Signature::parse(header().as_bytes()).expect("whole");
        let expected = Signature { key: [1; 16], time: 1_790_000_000, nonce: [2; 16], tag: [15; 32] };
        assert_eq!(read, expected);
        let text = read.text("POST", "/v1/signals", "b=2&a=1", "acme", &[255; 32]);
        let nonce = "02".repeat(16);
        let body = "ff".repeat(32);
        assert_eq!(text, format!("annals1\nPOST\n/v1/signals\na=1&b=2\nacme\n1790000000\n{nonce}\n{body}"));
    }

    #[test]
    fn whatever_is_not_one_whole_signature_is_none() {
        let whole = header();
        for end in 0..whole.len() {
            assert_eq!(Signature::parse(&whole.as_bytes()[..end]), None, "{end}");
        }
        for (from, to) in [
            ("annals1", "annals2"),
            ("time=1790000000", "time=-790000000"),
            ("time=1790000000", "time=NaN"),
            ("time=1790000000", "time=1e9"),
            ("time=1790000000", "time=9999999999999"),
            ("time=1790000000", "time="),
            ("key=01", "key=0G"),
            ("nonce=02", "nonce=0202"),
            (",nonce=", ",key=01,nonce="),
            ("signature=0f", "signature=0F"),
        ] {
            assert_eq!(Signature::parse(whole.replacen(from, to, 1).as_bytes()), None, "{to}");
        }
        assert_eq!(Signature::parse(format!("{whole},more=1").as_bytes()), None);
        assert_eq!(Signature::parse(format!("{whole}{}", ",a=b".repeat(10_000)).as_bytes()), None);
        assert_eq!(Signature::parse(&[0xff; 100]), None);
    }
}
