//! Text to tokens, all at once: a query is short, and the parser looks ahead.
//!
//! - Keywords are not tokens of their own: an identifier is a keyword only where the grammar wants one,
//!   so `sum`, `by` or `offset` may name metrics and labels. `inf` and `nan` are always numbers.
//! - A `:` belongs to identifiers, except between `[` and `]`, where it parts range and step.
//! - Numbers and durations are checked here to the last character: `5mm` and `1..2` never reach the parser.

use super::error::{PromqlError, Span};

/// The longest query, in bytes.
pub const QUERY_BYTES_MAX: usize = 256 * 1024;

/// What a token is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    /// A name: letters, digits, `_`, and `:` outside of brackets.
    Identifier(String),
    /// A number as it counts.
    Number(f64),
    /// A duration, in milliseconds.
    Duration(i64),
    /// A string without its quotes and escapes.
    Text(String),
    /// Punctuation or an operator.
    Symbol(&'static str),
    /// The end of the query.
    End,
}

/// A token and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) span: Span,
}

/// The symbols, longer ones before their beginnings.
const SYMBOLS: [&str; 25] = [
    "==", "=~", "=", "!=", "!~", "<=", "</", "<", ">=", ">/", ">", "+", "-", "*", "/", "%", "^", "(", ")",
    "{", "}", "[", "]", ",", "@",
];

/// Duration units from the largest, in milliseconds; a duration names each at most once, in this order.
pub(super) const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Splits a query into tokens; the last one is [`TokenKind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, PromqlError> {
    if text.len() > QUERY_BYTES_MAX {
        return Err(PromqlError::new(
            Span::new(0, 0),
            format!("the query has {} bytes, at most {QUERY_BYTES_MAX} are allowed", text.len()),
        ));
    }
    let mut lexer = Lexer { text, at: 0, brackets: 0, braces: 0 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip_blanks();
        let start = lexer.at;
        let kind = lexer.token()?;
        let end = kind == TokenKind::End;
        tokens.push(Token { kind, span: Span::new(start, lexer.at) });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// How many `[` are open.
    brackets: usize,
    /// How many `{` are open.
    braces: usize,
}

fn is_name_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error(&self, start: usize, message: impl Into<String>) -> PromqlError {
        PromqlError::new(Span::new(start, self.at.max(start + 1)), message)
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn token(&mut self) -> Result<TokenKind, PromqlError> {
        let start = self.at;
        let Some(c) = self.peek() else { return Ok(TokenKind::End) };
        let second = self.rest().chars().nth(1);
        if c.is_ascii_digit() || (c == '.' && second.is_some_and(|c| c.is_ascii_digit())) {
            return self.number_or_duration();
        }
        if matches!(c, '"' | '\'' | '`') {
            return self.string(c).map(TokenKind::Text);
        }
        let colon_is_name = self.brackets == 0 && self.braces == 0;
        let continues = |c| is_name(c) || (c == ':' && colon_is_name);
        if is_name_start(c) || (c == ':' && colon_is_name) {
            let length = self.rest().find(|c| !continues(c)).unwrap_or(self.rest().len());
            let word = self.rest().get(..length).unwrap_or_default();
            self.at += length;
            // Within braces only labels and strings can stand, so `{inf="x"}` names a label.
            return Ok(match word.to_ascii_lowercase().as_str() {
                "inf" if self.braces == 0 => TokenKind::Number(f64::INFINITY),
                "nan" if self.braces == 0 => TokenKind::Number(f64::NAN),
                _ => TokenKind::Identifier(word.to_owned()),
            });
        }
        if c == ':' && self.brackets > 0 {
            self.at += 1;
            return Ok(TokenKind::Symbol(":"));
        }
        for symbol in SYMBOLS {
            if self.rest().starts_with(symbol) {
                self.at += symbol.len();
                match symbol {
                    "[" => self.brackets += 1,
                    "]" => self.brackets = self.brackets.saturating_sub(1),
                    "{" => self.braces += 1,
                    "}" => self.braces = self.braces.saturating_sub(1),
                    _ => {}
                }
                return Ok(TokenKind::Symbol(symbol));
            }
        }
        self.at += c.len_utf8();
        Err(self.error(start, format!("unexpected character {c:?}")))
    }

    /// Everything that a number or duration could be, then one decision on the whole of it.
    fn number_or_duration(&mut self) -> Result<TokenKind, PromqlError> {
        let start = self.at;
        let mut before = ' ';
        let hex = self.rest().starts_with("0x") || self.rest().starts_with("0X");
        let length = self
            .rest()
            .char_indices()
            .find(|&(_, c)| {
                let sign = matches!(c, '+' | '-') && matches!(before, 'e' | 'E') && !hex;
                before = c;
                !(is_name(c) || c == '.' || sign)
            })
            .map_or(self.rest().len(), |(at, _)| at);
        let word = self.rest().get(..length).unwrap_or_default();
        self.at += length;
        if let Some(number) = parse_number(word) {
            return Ok(TokenKind::Number(number));
        }
        match parse_duration(word) {
            DurationText::Ms(ms) => Ok(TokenKind::Duration(ms)),
            DurationText::TooLong => Err(self.error(start, "duration out of range")),
            DurationText::Not => Err(self
                .error(start, format!("bad number or duration syntax: {word:?}"))
                .with_hint("a duration is whole numbers with the units y, w, d, h, m, s, ms in that order, as in 1h30m")),
        }
    }

    fn string(&mut self, quote: char) -> Result<String, PromqlError> {
        let start = self.at;
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let at = self.at;
            let Some(c) = self.peek() else {
                return Err(self.error(start, "unterminated string"));
            };
            self.at += c.len_utf8();
            match c {
                c if c == quote => break,
                '\n' if quote != '`' => return Err(self.error(start, "unterminated string")),
                '\\' if quote != '`' => self.escape(at, quote, &mut bytes)?,
                c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        String::from_utf8(bytes).map_err(|_| {
            let raw = self.text.get(start + 1..self.at - 1).unwrap_or_default();
            self.error(start, format!("invalid label name \"{raw}\" or text: it is not UTF-8"))
        })
    }

    /// One escape of Go's strings, after the backslash.
    fn escape(&mut self, start: usize, quote: char, bytes: &mut Vec<u8>) -> Result<(), PromqlError> {
        let Some(c) = self.peek() else { return Err(self.error(start, "unterminated string")) };
        self.at += c.len_utf8();
        let (digits, radix) = match c {
            'x' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='7' => {
                self.at -= 1;
                (3, 8)
            }
            _ => {
                bytes.push(match c {
                    'a' => 0x07,
                    'b' => 0x08,
                    'f' => 0x0c,
                    'n' => b'\n',
                    'r' => b'\r',
                    't' => b'\t',
                    'v' => 0x0b,
                    '\\' => b'\\',
                    c if c == quote => c as u8,
                    _ => return Err(self.error(start, format!("unknown escape sequence `\\{c}`"))),
                });
                return Ok(());
            }
        };
        let code = self.rest().get(..digits).filter(|code| code.chars().all(|c| c.is_digit(radix)));
        let value = code.and_then(|code| u32::from_str_radix(code, radix).ok());
        let Some(value) = value else {
            return Err(self.error(start, format!("an escape `\\{c}` needs {digits} digits")));
        };
        self.at += digits;
        if matches!(c, 'u' | 'U') {
            let Some(c) = char::from_u32(value) else {
                return Err(self.error(start, "the escape is not a valid Unicode code point"));
            };
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            let Ok(byte) = u8::try_from(value) else {
                return Err(self.error(start, "the escape is over \\377"));
            };
            bytes.push(byte);
        }
        Ok(())
    }
}

/// A number as Go reads it: `0x1F`, `017` (octal), `1_000`, `.5`, `2.`, `1e-3`.
fn parse_number(word: &str) -> Option<f64> {
    let separated = |digits: &str| !digits.ends_with('_') && !digits.contains("__");
    if let Some(hex) = word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        let digits = hex.replace('_', "");
        let valid = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit()) && separated(hex);
        return if valid { i64::from_str_radix(&digits, 16).ok().map(|n| n as f64) } else { None };
    }
    let whole = word.chars().all(|c| c.is_ascii_digit() || c == '_');
    if whole && separated(word) {
        let digits = word.replace('_', "");
        let octal = digits.len() > 1 && digits.starts_with('0') && digits.chars().all(|c| c.is_digit(8));
        return if octal {
            i64::from_str_radix(&digits, 8).ok().map(|n| n as f64)
        } else {
            digits.parse().ok()
        };
    }
    let decimal = word.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
    if decimal { word.parse().ok() } else { None }
}

enum DurationText {
    Ms(i64),
    TooLong,
    Not,
}

fn parse_duration(word: &str) -> DurationText {
    let (mut rest, mut ms, mut units) = (word, 0i64, UNITS.iter());
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let Some((count, tail)) = rest.split_at_checked(digits).filter(|(count, _)| !count.is_empty()) else {
            return DurationText::Not;
        };
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let Some((unit, tail)) = tail.split_at_checked(unit_end) else { return DurationText::Not };
        let Some((_, unit_ms)) = units.by_ref().find(|(name, _)| *name == unit) else {
            return DurationText::Not;
        };
        let part = count.parse::<i64>().ok().and_then(|count| count.checked_mul(*unit_ms));
        match part.and_then(|part| ms.checked_add(part)) {
            // Prometheus counts nanoseconds in 63 bits.
            Some(sum) if sum <= i64::MAX / 1_000_000 => ms = sum,
            _ => return DurationText::TooLong,
        }
        rest = tail;
    }
    DurationText::Ms(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(text: &str) -> TokenKind {
        let tokens = tokens(text).expect(text);
        assert_eq!(tokens.len(), 2, "{text}");
        tokens[0].kind.clone()
    }

    #[test]
    fn numbers_have_the_forms_of_go() {
        for (text, value) in [
            ("0x1F", 31.0),
            ("0X_ff", 255.0),
            ("010", 8.0),
            ("089", 89.0),
            ("1_000", 1000.0),
            (".5", 0.5),
            ("2.", 2.0),
            ("1e3", 1000.0),
            ("1.5E-3", 0.0015),
            ("Inf", f64::INFINITY),
            ("iNf", f64::INFINITY),
        ] {
            assert_eq!(only(text), TokenKind::Number(value), "{text}");
        }
        assert!(matches!(only("NaN"), TokenKind::Number(n) if n.is_nan()));
        for bad in
            ["1__0", "1_", "0x", "1..2", "1e", "5mm", "1s1m", "1.5m", "3x", "0b11", "1e3e3", "9999999999y"]
        {
            assert!(tokens(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_name_each_unit_once_from_the_largest() {
        assert_eq!(only("1h30m"), TokenKind::Duration(5_400_000));
        assert_eq!(only("1y2w3d4h5m6s7ms"), TokenKind::Duration(33_019_506_007));
        assert_eq!(only("5ms"), TokenKind::Duration(5));
    }

    #[test]
    fn strings_take_the_escapes_of_go() {
        assert_eq!(only(r#""a\n\x41\u00e9\101\"'""#), TokenKind::Text("a\nAéA\"'".to_owned()));
        assert_eq!(only(r"`raw\n`"), TokenKind::Text("raw\\n".to_owned()));
        assert_eq!(only(r"'it\'s'"), TokenKind::Text("it's".to_owned()));
        for bad in [
            r#""\q""#,
            r#""open"#,
            "\"a\nb\"",
            r#""\xg0""#,
            r#""\'""#,
            r#""\400""#,
            r#""\ud800""#,
            r#""\xff""#,
        ] {
            assert!(tokens(bad).is_err(), "{bad}");
        }
    }
}
