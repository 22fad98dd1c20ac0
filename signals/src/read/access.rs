//! Access logs of Apache and nginx: one `http.request` per line.
//!
//! ```text
//!   [vhost[:port] ]client ident user [time] "METHOD target HTTP/x" status bytes[ "referrer" "agent"][ more]
//! ```
//!
//! Kept: method (of the schema's closed list, else `other`), status, bytes (`-` is 0), the client's address as a
//! pseudonym, the target's [route class](super::route), a duration where there is one. A request line that is none
//! (`-`, binary bytes, a TLS greeting) is still a request: method `other`, no route. Query, referrer, agent, user and
//! host are dropped here and reach nothing.
//!
//! nginx's `$request_time` is found after the quoted fields by its form, seconds with three decimals, bare or as
//! `rt=` or `request_time=`. Apache's `%D` and `%T` have no form of their own: the caller says that they are there
//! ([`TrailingDuration`]). Durations and sizes beyond what the schema takes are left out.

use std::hash::BuildHasher;
use std::sync::Arc;

use annals_model::{DAY_MS, Signal, SignalValue, Timestamp};

use super::route::put_route;
use super::{LOG_LINE_BYTES_MAX, Line, SignalReader, stamp};
use crate::builtin::{HTTP_METHODS, RESPONSE_BYTES_MAX};

/// Reads access logs in common and combined format, with or without a virtual host in front.
#[derive(Debug)]
pub struct AccessLog {
    duration: Option<TrailingDuration>,
    is_nginx: bool,
    words: Words,
    days: stamp::AccessDays,
    texts: RecentTexts,
    /// The route of the line at hand.
    route: String,
}

/// What the last bare number of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrailingDuration {
    /// Seconds, perhaps with decimals: Apache's `%T`.
    Seconds,
    /// Milliseconds: Apache's `%{ms}T`.
    Millis,
    /// Microseconds: Apache's `%D`.
    Micros,
}

/// Names that every signal shares.
#[derive(Debug)]
struct Words {
    kind: Arc<str>,
    method: Arc<str>,
    status: Arc<str>,
    route: Arc<str>,
    duration: Arc<str>,
    bytes: Arc<str>,
    client: Arc<str>,
    methods: [Arc<str>; HTTP_METHODS.len()],
}

impl AccessLog {
    /// A reader of Apache's logs.
    #[must_use]
    pub fn apache() -> AccessLog {
        AccessLog {
            duration: None,
            is_nginx: false,
            words: Words {
                kind: "http.request".into(),
                method: "method".into(),
                status: "status".into(),
                route: "route".into(),
                duration: "duration".into(),
                bytes: "bytes".into(),
                client: "client".into(),
                methods: HTTP_METHODS.map(Arc::from),
            },
            days: stamp::AccessDays::default(),
            texts: RecentTexts::default(),
            route: String::new(),
        }
    }

    /// A reader of nginx's logs: as Apache's, and `$request_time` is found by itself.
    #[must_use]
    pub fn nginx() -> AccessLog {
        AccessLog { is_nginx: true, ..AccessLog::apache() }
    }

    /// Says that lines end with a duration.
    #[must_use]
    pub fn with_duration(self, duration: TrailingDuration) -> AccessLog {
        AccessLog { duration: Some(duration), ..self }
    }

    fn parse(&mut self, line: &[u8]) -> Option<Signal> {
        let (before, time, rest) = split_at_time(line, &mut self.days)?;
        let (request, rest) = until_quote(rest)?;
        let rest = rest.strip_prefix(b" ")?;
        let mut numbers = rest.splitn(3, |&byte| byte == b' ');
        let status = number(numbers.next()?).filter(|status| (100..=599).contains(status))?;
        let bytes = match numbers.next()? {
            b"-" => 0,
            digits => number(digits)?,
        };
        let more = numbers.next().unwrap_or_default();

        let words = &self.words;
        let mut fields = Vec::with_capacity(6);
        let (method, target) = split_request(request);
        fields.push((words.method.clone(), SignalValue::Text(self.method(method))));
        fields.push((words.status.clone(), SignalValue::Integer(status)));
        self.route.clear();
        if target.is_some_and(|target| put_route(target, &mut self.route)) {
            fields.push((words.route.clone(), SignalValue::Text(self.texts.shared(&self.route))));
        }
        if let Some(ms) = self.duration_ms(more).filter(|ms| (0..=DAY_MS).contains(ms)) {
            fields.push((words.duration.clone(), SignalValue::Integer(ms)));
        }
        if bytes <= RESPONSE_BYTES_MAX {
            fields.push((words.bytes.clone(), SignalValue::Integer(bytes)));
        }
        if let Some(client) = client_of(before) {
            fields.push((words.client.clone(), SignalValue::Text(self.texts.shared(client))));
        }
        Some(Signal { kind: words.kind.clone(), time, fields })
    }

    fn method(&self, method: &[u8]) -> Arc<str> {
        let [known @ .., other] = &self.words.methods;
        known.iter().find(|known| known.as_bytes() == method).unwrap_or(other).clone()
    }

    /// The duration among what follows the size.
    fn duration_ms(&self, more: &[u8]) -> Option<i64> {
        let mut tokens = bare_tokens(more);
        if let Some(unit) = self.duration {
            return unit.to_ms(std::str::from_utf8(tokens.last()?).ok()?);
        }
        if !self.is_nginx {
            return None;
        }
        tokens.find_map(request_time_ms)
    }
}

impl SignalReader for AccessLog {
    fn line(&mut self, line: &[u8]) -> Line {
        if line.len() > LOG_LINE_BYTES_MAX {
            return Line::Unreadable;
        }
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            return Line::Skipped;
        }
        self.parse(line).map_or(Line::Unreadable, Line::Signal)
    }
}

impl TrailingDuration {
    fn to_ms(self, text: &str) -> Option<i64> {
        match self {
            TrailingDuration::Seconds => stamp::unix_seconds(text).map(|Timestamp(ms)| ms),
            TrailingDuration::Millis => number(text.as_bytes()),
            TrailingDuration::Micros => Some(number(text.as_bytes())? / 1000),
        }
    }
}

/// What stands before `[time] "`, the time, and what follows the quote. Quotes within fields are escaped, so nothing
/// that a client sends looks like this.
fn split_at_time<'a>(
    line: &'a [u8],
    days: &mut stamp::AccessDays,
) -> Option<(&'a [u8], Timestamp, &'a [u8])> {
    /// The longest time in brackets.
    const TIME_BYTES_MAX: usize = 40;
    memchr::memchr_iter(b'[', line).find_map(|open| {
        let (before, rest) = line.split_at_checked(open)?;
        let rest = rest.get(1..)?;
        let close = rest.iter().take(TIME_BYTES_MAX).position(|&byte| byte == b']')?;
        let (time, rest) = rest.split_at_checked(close)?;
        let rest = rest.strip_prefix(b"] \"")?;
        Some((before, days.time(time)?, rest))
    })
}

/// A quoted text up to its closing quote, escapes as they are, and what follows.
fn until_quote(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'\\', b'"', text.get(from..)?)?;
        match text.get(at) {
            // What follows a backslash ends nothing.
            Some(b'\\') => from = at + 2,
            _ => return Some((text.get(..at)?, text.get(at + 1..)?)),
        }
    }
}

/// Method and target of a request line; HTTP/0.9 has no version.
fn split_request(request: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(space) = request.iter().position(|&byte| byte == b' ') else { return (request, None) };
    let (method, rest) = request.split_at(space);
    let rest = rest.trim_ascii();
    let version = rest
        .iter()
        .rposition(|&byte| byte == b' ')
        .filter(|&at| rest.get(at + 1..).is_some_and(|version| version.starts_with(b"HTTP/")));
    (method, rest.get(..version.unwrap_or(rest.len())).map(<[u8]>::trim_ascii))
}

/// The client's address or name: the first word, or the second where the first is a virtual host.
fn client_of(before: &[u8]) -> Option<&str> {
    let before = std::str::from_utf8(before).ok()?;
    let mut words = before.split_ascii_whitespace();
    let (first, second) = (words.next()?, words.next());
    let is_address = |word: &str| bare_address(word).parse::<std::net::IpAddr>().is_ok();
    // `host:port` and no address: a virtual host, if at least client, ident and user follow it.
    let has_port = |word: &str| {
        word.rsplit_once(':')
            .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
    };
    let client = match second {
        // A list of forwarded addresses starts with the client's.
        _ if first.ends_with(',') => first.trim_end_matches(','),
        Some(second) if is_address(second) => second,
        Some(second) if !is_address(first) && has_port(first) && words.count() >= 2 => second,
        _ => first,
    };
    (client != "-").then(|| bare_address(client))
}

fn bare_address(word: &str) -> &str {
    word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word)
}

/// The words outside quotes.
fn bare_tokens(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            rest = rest.trim_ascii_start();
            match rest.first()? {
                b'"' => rest = until_quote(rest.get(1..)?)?.1,
                _ => {
                    let end = rest.iter().position(|byte| b" \"".contains(byte)).unwrap_or(rest.len());
                    let (token, after) = rest.split_at_checked(end)?;
                    rest = after;
                    return Some(token);
                }
            }
        }
    })
}

/// `0.005`, `rt=0.005` or `request_time=0.005`: digits, a point, three digits.
fn request_time_ms(token: &[u8]) -> Option<i64> {
    let token =
        [&b"rt="[..], b"request_time="].into_iter().find_map(|key| token.strip_prefix(key)).unwrap_or(token);
    let point = token.iter().position(|&byte| byte == b'.')?;
    let (seconds, decimals) = (token.get(..point)?, token.get(point + 1..)?);
    if decimals.len() != 3 {
        return None;
    }
    number(seconds)?.checked_mul(1000)?.checked_add(number(decimals)?)
}

/// Texts that were seen lately, so that those which come again are not allocated again. One slot for each hash: what a
/// log holds cannot make it grow.
#[derive(Debug)]
struct RecentTexts {
    slots: Vec<Arc<str>>,
    hasher: foldhash::fast::FixedState,
}

/// A power of two.
const RECENT_TEXTS: usize = 1024;

impl Default for RecentTexts {
    fn default() -> RecentTexts {
        RecentTexts {
            slots: vec![Arc::from(""); RECENT_TEXTS],
            hasher: foldhash::fast::FixedState::default(),
        }
    }
}

impl RecentTexts {
    fn shared(&mut self, text: &str) -> Arc<str> {
        let at = self.hasher.hash_one(text) as usize % RECENT_TEXTS;
        let Some(slot) = self.slots.get_mut(at) else { return text.into() };
        if **slot != *text {
            *slot = text.into();
        }
        slot.clone()
    }
}

/// Digits only.
fn number(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0i64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "[17/May/2015:10:05:03 +0000]";

    /// The fields as `name=value` in one line.
    fn read(mut log: AccessLog, line: &str) -> String {
        match log.line(line.as_bytes()) {
            Line::Signal(signal) => {
                assert_eq!(&*signal.kind, "http.request");
                assert_eq!(signal.time, Timestamp(1_431_857_103_000));
                let field = |(name, value): &(Arc<str>, SignalValue)| match value {
                    SignalValue::Text(text) => format!("{name}={text}"),
                    SignalValue::Integer(number) => format!("{name}={number}"),
                    _ => panic!("no such value"),
                };
                signal.fields.iter().map(field).collect::<Vec<_>>().join(" ")
            }
            other => format!("{other:?}"),
        }
    }

    fn apache(line: &str) -> String {
        read(AccessLog::apache(), line)
    }

    #[test]
    fn common_and_combined_lines_are_read_and_what_people_wrote_is_dropped() {
        let expected = "method=GET status=200 route=/blog/:rest bytes=12 client=10.0.0.1";
        for line in [
            format!(r#"10.0.0.1 - - {TIME} "GET /blog/a HTTP/1.1" 200 12"#),
            format!(
                r#"10.0.0.1 - ann {TIME} "GET /blog/a?q=secret HTTP/1.1" 200 12 "http://secret/" "Agent [x] \"secret\"""#
            ),
            format!(r#"10.0.0.1 - ann b [c] {TIME} "GET /blog/a HTTP/1.1" 200 12 "-" "-""#),
            format!(r#"shop.example:443 10.0.0.1 - - {TIME} "GET /blog/a HTTP/1.1" 200 12 "-" "-""#),
            format!(r#"shop.example 10.0.0.1 - - {TIME} "GET /blog/a HTTP/1.1" 200 12 "-" "-""#),
            format!(r#"10.0.0.1, 10.0.0.2 - - {TIME} "GET /blog/a HTTP/1.1" 200 12"#),
            format!("10.0.0.1 - - {TIME} \"GET http://shop.example/blog/a HTTP/1.1\" 200 12\r\n"),
            format!(r#"10.0.0.1 - - {TIME} "GET /blog/a" 200 12 "-" "unclosed"#),
            r#"10.0.0.1 - - [2015-05-17T12:05:03+02:00] "GET /blog/a HTTP/2.0" 200 12"#.into(),
        ] {
            assert_eq!(apache(&line), expected, "{line}");
        }
    }

    #[test]
    fn odd_requests_are_requests_still() {
        for (request, expected) in [
            ("-", "method=other status=408 bytes=0 client=::1"),
            ("", "method=other status=408 bytes=0 client=::1"),
            (r"\x16\x03\x01\x02", "method=other status=408 bytes=0 client=::1"),
            ("get / HTTP/1.1", "method=other status=408 route=/ bytes=0 client=::1"),
            ("PROPFIND /x HTTP/1.1", "method=other status=408 route=/x bytes=0 client=::1"),
            ("OPTIONS * HTTP/1.0", "method=OPTIONS status=408 bytes=0 client=::1"),
            ("CONNECT mail:25 HTTP/1.1", "method=CONNECT status=408 bytes=0 client=::1"),
            (r#"GET /a\"b/c HTTP/1.1"#, "method=GET status=408 route=/:rest bytes=0 client=::1"),
            ("GET /a b c HTTP/1.1", "method=GET status=408 route=/:rest bytes=0 client=::1"),
            ("GET  /a HTTP/1.1", "method=GET status=408 route=/a bytes=0 client=::1"),
            ("DELETE /a", "method=DELETE status=408 route=/a bytes=0 client=::1"),
        ] {
            assert_eq!(apache(&format!(r#"::1 - - {TIME} "{request}" 408 -"#)), expected, "{request}");
        }
        let host = format!(r#"shop.example - - {TIME} "GET / HTTP/1.1" 200 1"#);
        assert_eq!(apache(&host), "method=GET status=200 route=/ bytes=1 client=shop.example");
        let bracketed = format!(r#"[2001:db8::1] - - {TIME} "GET / HTTP/1.1" 200 1"#);
        assert_eq!(apache(&bracketed), "method=GET status=200 route=/ bytes=1 client=2001:db8::1");
        let nobody = format!(r#"- - - {TIME} "GET / HTTP/1.1" 200 99999999999999999"#);
        assert_eq!(apache(&nobody), "method=GET status=200 route=/");
    }

    #[test]
    fn durations_are_found_where_they_are() {
        let line = |more: &str| format!(r#"::1 - - {TIME} "GET / HTTP/1.1" 200 1 "-" "a 9.999" {more}"#);
        for (more, expected) in [
            ("0.005", Some(5)),
            ("rt=1.250 uct=0.001", Some(1_250)),
            ("\"10.0.0.2\" request_time=0.000 x", Some(0)),
            ("\"0.001\"", None),
            ("1.5 12", None),
            ("999999.000", None),
            ("-", None),
        ] {
            let found = read(AccessLog::nginx(), &line(more));
            let duration = expected.map_or(String::new(), |ms: i64| format!("duration={ms} "));
            assert_eq!(
                found,
                format!("method=GET status=200 route=/ {duration}bytes=1 client=::1"),
                "{more}"
            );
        }
        for (unit, more, expected) in [
            (TrailingDuration::Micros, "77 1500", "duration=1"),
            (TrailingDuration::Millis, "1500", "duration=1500"),
            (TrailingDuration::Seconds, "2", "duration=2000"),
            (TrailingDuration::Seconds, "0.25", "duration=250"),
        ] {
            assert!(read(AccessLog::apache().with_duration(unit), &line(more)).contains(expected), "{more}");
        }
        assert!(!read(AccessLog::apache(), &line("0.005")).contains("duration"));
    }

    #[test]
    fn what_is_no_access_line_is_told_from_what_does_not_matter() {
        assert_eq!(apache(""), "Skipped");
        assert_eq!(apache("  \r\n"), "Skipped");
        assert_eq!(apache("#Fields: x"), "Skipped");
        for bad in [
            "nonsense".to_owned(),
            format!("::1 - - {TIME}"),
            format!(r#"::1 - - {TIME} "GET / HTTP/1.1"#),
            format!(r#"::1 - - {TIME} "GET / HTTP/1.1" 200"#),
            format!(r#"::1 - - {TIME} "GET / HTTP/1.1" 99 1"#),
            format!(r#"::1 - - {TIME} "GET / HTTP/1.1" 600 1"#),
            format!(r#"::1 - - {TIME} "GET / HTTP/1.1" 200 x"#),
            format!(r#"::1 - - {TIME} "GET / HTTP/1.1" +20 1"#),
            r#"::1 - - [17/May/2015:10:05:03] "GET / HTTP/1.1" 200 1"#.to_owned(),
            format!(r#"::1 - - {TIME} "GET /{} HTTP/1.1" 200 1"#, "a".repeat(100_000)),
        ] {
            assert_eq!(apache(&bad), "Unreadable", "{}", &bad[..bad.len().min(80)]);
        }
    }
}
