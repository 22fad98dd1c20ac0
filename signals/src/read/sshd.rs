//! Sign-ins from sshd's lines in syslog files such as `auth.log`: `auth.attempt`.
//!
//! | message                                                              | events                                |
//! |----------------------------------------------------------------------|---------------------------------------|
//! | `Failed <method> for [invalid user ]<user> from <client> port …`     | one with result `failure`             |
//! | `Accepted <method> for <user> from <client> port …`                  | one with result `success`             |
//! | `[error: ]maximum authentication attempts exceeded for …`            | one with result `blocked`, method `other` |
//! | `message repeated <N> times: [ <one of these>]`                      | N of it                               |
//!
//! So failures by password are the lines that start with `Failed password` and, for each line that repeats one, N
//! more: syslog wrote such a line in place of N equal ones. Methods: `password`; `publickey` is `key`; `gssapi-*`
//! is `sso`; the rest, `none` and `keyboard-interactive` among them, is `other`. User and client become pseudonyms.
//!
//! All else is skipped: other programs, sessions, and lines that tell the same event again (`Invalid user`,
//! `pam_unix`, `Disconnecting: Too many authentication failures`, `Connection closed`).
//!
//! A line is of RFC 5424 (`<38>1 2017-03-27T13:06:56Z host sshd 1291 - - message`), or starts with a time in RFC 3339, or
//! with `Mar 27 13:06:56` in the caller's zone, then `host sshd[1291]: message`. The last form has no year: the
//! caller gives that of the first line; a month two or more before the latest is of the next year, and one month back
//! is a line that comes late (December after January: of the year before).

use std::borrow::Cow;
use std::sync::Arc;

use annals_model::{Signal, SignalValue, Timestamp};
use jiff::tz::TimeZone;

use super::stamp::{self, YearlessTime};
use super::{LOG_LINE_BYTES_MAX, Line, SignalReader};

/// More repeats than syslog folds into one line: such a line is damaged.
const REPEATS_MAX: u32 = 100_000;

/// Programs whose lines are read; newer sshd is split in several.
const PROGRAMS: [&str; 3] = ["sshd", "sshd-session", "sshd-auth"];

/// Reads sshd's lines.
#[derive(Debug)]
pub struct SshdLog {
    year: i16,
    zone: TimeZone,
    /// The month of the latest line, 0 before the first.
    month: i8,
    words: Words,
}

/// Names that every signal shares.
#[derive(Debug)]
struct Words {
    kind: Arc<str>,
    result: Arc<str>,
    method: Arc<str>,
    user: Arc<str>,
    client: Arc<str>,
}

/// What a message says.
struct Attempt<'a> {
    result: &'static str,
    method: &'static str,
    user: Option<&'a str>,
    client: Option<&'a str>,
}

impl SshdLog {
    /// A reader of lines whose first is of `year`, with times in `zone`.
    #[must_use]
    pub fn new(year: i16, zone: TimeZone) -> SshdLog {
        let words = Words {
            kind: "auth.attempt".into(),
            result: "result".into(),
            method: "method".into(),
            user: "user".into(),
            client: "client".into(),
        };
        SshdLog { year, zone, month: 0, words }
    }

    fn parse(&mut self, line: &str) -> Line {
        // A priority in front, as in raw syslog.
        let line = match line.strip_prefix('<') {
            Some(rest) => match rest.split_once('>') {
                Some((_, line)) => line,
                None => return Line::Unreadable,
            },
            None => line,
        };
        let (line, said) = match line.strip_prefix("1 ") {
            Some(line) if !line.starts_with(|c: char| c.is_ascii_digit()) => return Line::Unreadable,
            Some(line) => (line, structured as fn(&str) -> Option<(&str, &str)>),
            None => (line, tagged as _),
        };
        let Some((time, rest)) = self.time(line) else { return Line::Unreadable };
        let Some((program, message)) = said(rest) else { return Line::Skipped };
        if !PROGRAMS.contains(&program) {
            return Line::Skipped;
        }
        let message = message.trim_end();
        match message.strip_prefix("message repeated ") {
            None => {
                attempt(message).map_or(Line::Skipped, |attempt| Line::Signal(self.signal(time, &attempt)))
            }
            Some(repeated) => {
                let Some((count, inner)) = repeated.split_once(" times: [") else { return Line::Skipped };
                let inner = inner.strip_suffix(']').unwrap_or(inner);
                let Some(attempt) = attempt(inner.trim()) else { return Line::Skipped };
                match count.parse() {
                    Ok(count @ 1..=REPEATS_MAX) => Line::Repeated(self.signal(time, &attempt), count),
                    _ => Line::Unreadable,
                }
            }
        }
    }

    /// The time of a line, and what follows it.
    fn time<'l>(&mut self, line: &'l str) -> Option<(Timestamp, &'l str)> {
        if line.starts_with(|c: char| c.is_ascii_digit()) {
            let (time, rest) = line.split_once(' ')?;
            return Some((stamp::rfc_3339(time)?, rest));
        }
        let (time, rest) = YearlessTime::parse(line)?;
        // One month back is a late line; two or more are the next year.
        let year = match (self.month, time.month) {
            (1, 12) => self.year.checked_sub(1)?,
            (latest, month) if month < latest - 1 => self.year.checked_add(1)?,
            _ => self.year,
        };
        let stamp = time.in_year(year, &self.zone)?;
        if (year, time.month) > (self.year, self.month) {
            (self.year, self.month) = (year, time.month);
        }
        Some((stamp, rest))
    }

    fn signal(&self, time: Timestamp, attempt: &Attempt<'_>) -> Signal {
        let words = &self.words;
        let mut fields = Vec::with_capacity(4);
        fields.push((words.result.clone(), attempt.result.into()));
        fields.push((words.method.clone(), attempt.method.into()));
        fields.extend(attempt.user.map(|user| (words.user.clone(), SignalValue::from(user))));
        fields.extend(attempt.client.map(|client| (words.client.clone(), SignalValue::from(client))));
        Signal { kind: words.kind.clone(), time, fields }
    }
}

impl SignalReader for SshdLog {
    fn line(&mut self, line: &[u8]) -> Line {
        if line.len() > LOG_LINE_BYTES_MAX {
            return Line::Unreadable;
        }
        let line = line.trim_ascii();
        if line.is_empty() {
            return Line::Skipped;
        }
        // A user's name may be any bytes; it is hashed, and the rest of the line is ASCII.
        let line: Cow<'_, str> = String::from_utf8_lossy(line);
        self.parse(&line)
    }
}

/// Program and message of `host program[pid]: message`.
fn tagged(rest: &str) -> Option<(&str, &str)> {
    let (_host, rest) = rest.trim_start_matches(' ').split_once(' ')?;
    let (tag, message) = rest.split_once(": ")?;
    Some((tag.split_once('[').map_or(tag, |(program, _)| program), message))
}

/// Program and message of `host program pid id [data] message`.
fn structured(rest: &str) -> Option<(&str, &str)> {
    let (_host, rest) = rest.split_once(' ')?;
    let (program, rest) = rest.split_once(' ')?;
    let (_pid, rest) = rest.split_once(' ')?;
    let (_id, mut rest) = rest.split_once(' ')?;
    if let Some(after) = rest.strip_prefix('-') {
        rest = after;
    }
    // Brackets within quotes are escaped, like quotes and backslashes.
    while let Some(inner) = rest.strip_prefix('[') {
        let mut bytes = inner.bytes().enumerate();
        loop {
            match bytes.next()? {
                (_, b'\\') => _ = bytes.next()?,
                (at, b']') => {
                    rest = inner.get(at + 1..)?;
                    break;
                }
                _ => {}
            }
        }
    }
    let message = rest.strip_prefix(' ')?;
    Some((program, message.strip_prefix('\u{feff}').unwrap_or(message)))
}

fn attempt(message: &str) -> Option<Attempt<'_>> {
    if let Some(rest) = message.strip_prefix("Accepted ") {
        let (method, rest) = method_of(rest)?;
        // An accepted user exists, so its name has no ` from `; the key that follows may be followed by anything.
        let (user, client) = user_and_client(rest, str::find);
        return Some(Attempt { result: "success", method, user, client });
    }
    if let Some(rest) = message.strip_prefix("Failed ") {
        let (method, rest) = method_of(rest)?;
        // A user that is made up may hold ` from `; what sshd adds comes last.
        let (user, client) = user_and_client(rest, str::rfind);
        return Some(Attempt { result: "failure", method, user, client });
    }
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let rest = message.strip_prefix("maximum authentication attempts exceeded for ")?;
    let (user, client) = user_and_client(rest, str::rfind);
    Some(Attempt { result: "blocked", method: "other", user, client })
}

/// `password for …`: the schema's word for the method, and what follows `for`.
fn method_of(text: &str) -> Option<(&'static str, &str)> {
    let (method, rest) = text.split_once(' ')?;
    let rest = rest.strip_prefix("for ")?;
    let word = match method {
        "password" => "password",
        "publickey" => "key",
        _ if method.starts_with("gssapi") => "sso",
        _ => "other",
    };
    Some((word, rest))
}

fn user_and_client<'a>(
    text: &'a str,
    find: impl Fn(&'a str, &'static str) -> Option<usize>,
) -> (Option<&'a str>, Option<&'a str>) {
    let text = ["invalid user ", "illegal user "]
        .into_iter()
        .find_map(|prefix| text.strip_prefix(prefix))
        .unwrap_or(text);
    let Some(at) = find(text, " from ") else { return (None, None) };
    let (user, rest) = text.split_at(at);
    let client = rest.split_ascii_whitespace().nth(1);
    (Some(user).filter(|user| !user.is_empty()), client)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> String {
        told(SshdLog::new(2017, TimeZone::UTC).line(line.as_bytes()))
    }

    fn told(line: Line) -> String {
        let (signal, times) = match line {
            Line::Signal(signal) => (signal, 1),
            Line::Repeated(signal, times) => (signal, times),
            other => return format!("{other:?}"),
        };
        assert_eq!(&*signal.kind, "auth.attempt");
        let text = |(name, value): &(Arc<str>, SignalValue)| match value {
            SignalValue::Text(text) => format!("{name}={text}"),
            _ => panic!("no such value"),
        };
        let fields: Vec<String> = signal.fields.iter().map(text).collect();
        format!("{times}x {} {}", signal.time, fields.join(" "))
    }

    const START: &str = "Mar 27 13:06:56 host sshd[1291]: ";

    #[test]
    fn attempts_are_read_from_their_messages() {
        let at = "2017-03-27T13:06:56Z";
        for (message, expected) in [
            (
                "Failed password for ann from 10.0.0.1 port 2 ssh2",
                "1x T result=failure method=password user=ann client=10.0.0.1",
            ),
            (
                "Failed password for invalid user  from 10.0.0.1 port 2 ssh2",
                "1x T result=failure method=password client=10.0.0.1",
            ),
            (
                "Failed password for invalid user a from b from ::1 port 2 ssh2",
                "1x T result=failure method=password user=a from b client=::1",
            ),
            ("Failed password for ann", "1x T result=failure method=password"),
            (
                "Failed publickey for ann from 10.0.0.1 port 2 ssh2: RSA SHA256:x",
                "1x T result=failure method=key user=ann client=10.0.0.1",
            ),
            (
                "Failed none for invalid user x from 10.0.0.1 port 2 ssh2",
                "1x T result=failure method=other user=x client=10.0.0.1",
            ),
            (
                "Failed keyboard-interactive/pam for x from 10.0.0.1 port 2",
                "1x T result=failure method=other user=x client=10.0.0.1",
            ),
            (
                "Accepted password for ann from 10.0.0.1 port 2 ssh2",
                "1x T result=success method=password user=ann client=10.0.0.1",
            ),
            (
                "Accepted publickey for ann from ::1 port 2 ssh2: RSA from x",
                "1x T result=success method=key user=ann client=::1",
            ),
            (
                "Accepted gssapi-with-mic for ann from ::1 port 2 ssh2",
                "1x T result=success method=sso user=ann client=::1",
            ),
            (
                "error: maximum authentication attempts exceeded for root from ::1 port 2 ssh2 [preauth]",
                "1x T result=blocked method=other user=root client=::1",
            ),
            (
                "message repeated 5 times: [ Failed password for root from ::1 port 2 ssh2]",
                "5x T result=failure method=password user=root client=::1",
            ),
            ("message repeated 0 times: [ Failed password for root from ::1 port 2 ssh2]", "Unreadable"),
            ("message repeated 4000000000 times: [ Failed password for root from ::1 port 2]", "Unreadable"),
            ("message repeated 2 times: [ Connection closed by ::1]", "Skipped"),
            (
                "message repeated 2 times: [ message repeated 2 times: [ Failed password for a from ::1]]",
                "Skipped",
            ),
            ("Failed to allocate internet-domain X11 display socket", "Skipped"),
            ("Invalid user Failed password for x from 10.0.0.1", "Skipped"),
            ("Disconnecting: Too many authentication failures [preauth]", "Skipped"),
            ("pam_unix(sshd:auth): authentication failure; logname= uid=0", "Skipped"),
            ("", "Skipped"),
        ] {
            assert_eq!(read(&format!("{START}{message}")), expected.replace('T', at), "{message}");
        }
    }

    #[test]
    fn only_lines_of_sshd_count() {
        let message = "Failed password for ann from ::1 port 2 ssh2";
        for (start, counts) in [
            ("Mar 27 13:06:56 host sshd[1]: ", true),
            ("Mar  7 13:06:56 host sshd: ", true),
            ("<38>Mar 27 13:06:56 host sshd-session[1]: ", true),
            ("2017-03-27T13:06:56.123456+01:00 host sshd[1]: ", true),
            ("<38>1 2017-03-27T13:06:56.123456+01:00 host sshd 1 - - ", true),
            ("<38>1 2017-03-27T13:06:56Z - sshd-session - ID [a@1 b=\"\\]\\\" c\"][d] \u{feff}", true),
            ("1 2017-03-27T13:06:56Z host sshd 1 - - ", true),
            ("<38>1 2017-03-27T13:06:56Z host sudo 1 - - ", false),
            ("<38>1 2017-03-27T13:06:56Z host sshd 1 - [a ", false),
            ("<38>1 2017-03-27T13:06:56Z host sshd 1 - - - ", false),
            ("<38>1 2017-03-27T13:06:56Z host sshd 1 ", false),
            ("Mar 27 13:06:56 host sudo: ", false),
            ("Mar 27 13:06:56 host notsshd[1]: ", false),
            ("Mar 27 13:06:56 host ", false),
            ("Mar 27 13:06:56 sshd ", false),
        ] {
            assert_eq!(read(&format!("{start}{message}")).starts_with("1x"), counts, "{start}");
        }
        for bad in [
            "x",
            "Mar 27 host sshd[1]: x",
            "Feb 29 13:06:56 host sshd[1]: x",
            "<38 x",
            "2017-03-27T13:06:56 h sshd: x",
            "<38>1 - host sshd 1 - - x",
            "<38>1 Mar 27 13:06:56 host sshd 1 - - x",
            "<38>2 2017-03-27T13:06:56Z host sshd 1 - - x",
        ] {
            assert_eq!(read(bad), "Unreadable", "{bad}");
        }
        assert_eq!(read(" \r\n"), "Skipped");
        assert_eq!(read(&"x".repeat(100_000)), "Unreadable");
    }

    #[test]
    fn the_year_turns_between_december_and_january() {
        let mut log = SshdLog::new(2016, TimeZone::fixed(jiff::tz::offset(2)));
        let mut time = |day: &str| {
            let line = format!("{day} 00:30:00 host sshd[1]: Failed password for a from ::1 port 2 ssh2");
            told(log.line(line.as_bytes())).split(' ').nth(1).expect("a time").to_owned()
        };
        for (day, expected) in [
            ("Feb 29", "2016-02-28T22:30:00Z"),
            ("Apr  1", "2016-03-31T22:30:00Z"),
            ("Mar 31", "2016-03-30T22:30:00Z"),
            ("Dec 31", "2016-12-30T22:30:00Z"),
            ("Jan  1", "2016-12-31T22:30:00Z"),
            ("Dec 31", "2016-12-30T22:30:00Z"),
            ("Jan  2", "2017-01-01T22:30:00Z"),
            ("Nov  2", "2017-11-01T22:30:00Z"),
            ("Mar  2", "2018-03-01T22:30:00Z"),
        ] {
            assert_eq!(time(day), expected, "{day}");
        }
    }
}
