//! Matchers: a predicate on one label.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// The longest regular expression of a matcher, in bytes.
pub const REGEX_BYTES_MAX: usize = 1024;
/// The largest compiled regular expression, in bytes.
const REGEX_COMPILED_BYTES_MAX: usize = 1 << 20;

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored at both ends.
    Regex,
    /// `!~`, anchored at both ends.
    NotRegex,
}

/// A predicate on one label. A missing label is the empty string.
#[derive(Debug, Clone)]
pub struct Matcher {
    name: Box<str>,
    op: MatchOp,
    value: Box<str>,
    regex: Option<Regex>,
}

/// A regular expression that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMatcher {
    /// Longer than allowed.
    #[error("the regular expression has {bytes} bytes, at most {REGEX_BYTES_MAX} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Its compiled form would be larger than allowed.
    #[error(
        "the regular expression is too complex: its compiled form is over {REGEX_COMPILED_BYTES_MAX} bytes"
    )]
    TooComplex,
    /// It does not parse.
    #[error("invalid regular expression: {reason}")]
    Syntax {
        /// What the regular-expression parser says, on one line.
        reason: String,
    },
}

impl Matcher {
    /// Makes a matcher, compiling its regular expression where it has one.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Matcher, InvalidMatcher> {
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(compile_anchored(value)?),
        };
        Ok(Matcher { name: name.into(), op, value: value.into(), regex })
    }

    /// An equality matcher, which cannot fail.
    #[must_use]
    pub fn equal(name: &str, value: &str) -> Matcher {
        Matcher { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// The label it looks at.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    #[must_use]
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// What it compares with, as written.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a label value (empty where missing) satisfies it.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => *self.value == *value,
            (MatchOp::NotEqual, _) => *self.value != *value,
            (MatchOp::Regex, Some(regex)) => regex.is_match(value),
            (MatchOp::NotRegex, Some(regex)) => !regex.is_match(value),
            // `new` compiles an expression for both.
            (MatchOp::Regex | MatchOp::NotRegex, None) => false,
        }
    }

    /// Whether a series without the label satisfies it.
    #[must_use]
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

/// Compiles as Prometheus does: anchored, `.` matches a line break too.
fn compile_anchored(pattern: &str) -> Result<Regex, InvalidMatcher> {
    if pattern.len() > REGEX_BYTES_MAX {
        return Err(InvalidMatcher::TooLong { bytes: pattern.len() });
    }
    // Parsed alone first, so that `)(` cannot close the anchoring group.
    let build = |text: &str| {
        RegexBuilder::new(text).size_limit(REGEX_COMPILED_BYTES_MAX).dot_matches_new_line(true).build()
    };
    build(pattern).and_then(|_| build(&format!("^(?:{pattern})$"))).map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => InvalidMatcher::TooComplex,
        other => {
            let text = other.to_string();
            let reason = text.lines().last().unwrap_or_default();
            InvalidMatcher::Syntax { reason: reason.trim_start_matches("error: ").to_owned() }
        }
    })
}

impl fmt::Display for MatchOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        })
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op, self.value)
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Matcher) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl Eq for Matcher {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regular_expressions_are_anchored() {
        let m = Matcher::new("a", MatchOp::Regex, "b|c").expect("valid");
        assert!(m.matches("b") && m.matches("c") && !m.matches("bc") && !m.matches("xb"));
        let m = Matcher::new("a", MatchOp::NotRegex, ".*x.*").expect("valid");
        assert!(m.matches("b\n") && !m.matches("a\nx\n"));
    }

    #[test]
    fn a_missing_label_is_the_empty_string() {
        assert!(Matcher::equal("a", "").matches_empty());
        assert!(Matcher::new("a", MatchOp::Regex, "x?").expect("valid").matches_empty());
        assert!(!Matcher::new("a", MatchOp::Regex, ".+").expect("valid").matches_empty());
    }

    #[test]
    fn bombs_and_nonsense_are_refused() {
        assert!(matches!(
            Matcher::new("a", MatchOp::Regex, &"x".repeat(1025)),
            Err(InvalidMatcher::TooLong { .. })
        ));
        assert_eq!(Matcher::new("a", MatchOp::Regex, r"(\pL{100}){100}"), Err(InvalidMatcher::TooComplex));
        assert!(matches!(Matcher::new("a", MatchOp::Regex, ")("), Err(InvalidMatcher::Syntax { .. })));
    }
}
