//! Matchers: a predicate on one label.

use std::fmt;

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::{ExtractKind, Extractor};

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
    literals: Literals,
}

/// What a regular expression says of the texts that it matches.
#[derive(Debug, Clone, Default)]
enum Literals {
    /// They are among these.
    Exact(Box<[Box<[u8]>]>),
    /// They start with one of these.
    Prefixes(Box<[Box<[u8]>]>),
    /// Nothing.
    #[default]
    Unknown,
}

/// Which values of its label can satisfy a matcher, or, where it is a negation, fail to: an index need not look at others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Candidates<'a> {
    /// These at most, ascending.
    Exact(Vec<&'a [u8]>),
    /// Those that start with one of these; ascending, none the start of another.
    Prefixes(Vec<&'a [u8]>),
    /// Any.
    All,
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
        let literals = if regex.is_some() { literals(value) } else { Literals::Unknown };
        Ok(Matcher { name: name.into(), op, value: value.into(), regex, literals })
    }

    /// An equality matcher, which cannot fail.
    #[must_use]
    pub fn equal(name: &str, value: &str) -> Matcher {
        let literals = Literals::Unknown;
        Matcher { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None, literals }
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

    /// Which values satisfy it, or fail to where it is a negation.
    ///
    /// ```
    /// use annals_model::{Candidates, MatchOp, Matcher};
    /// let jobs = Matcher::new("job", MatchOp::Regex, "api|web")?;
    /// assert_eq!(jobs.candidates(), Candidates::Exact(vec![b"api", b"web"]));
    /// let pods = Matcher::new("pod", MatchOp::NotRegex, "pod-[0-9]+x")?;
    /// assert!(matches!(pods.candidates(), Candidates::Prefixes(prefixes) if prefixes.len() == 10));
    /// # Ok::<(), annals_model::InvalidMatcher>(())
    /// ```
    #[must_use]
    pub fn candidates(&self) -> Candidates<'_> {
        fn sorted(texts: &[Box<[u8]>]) -> Vec<&[u8]> {
            texts.iter().map(|text| &**text).collect()
        }
        match (self.op, &self.literals) {
            (MatchOp::Equal | MatchOp::NotEqual, _) => Candidates::Exact(vec![self.value.as_bytes()]),
            (_, Literals::Exact(texts)) => Candidates::Exact(sorted(texts)),
            (_, Literals::Prefixes(texts)) => Candidates::Prefixes(sorted(texts)),
            (_, Literals::Unknown) => Candidates::All,
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

/// What the texts that a valid expression matches have in common.
fn literals(pattern: &str) -> Literals {
    let Ok(hir) = ParserBuilder::new().dot_matches_new_line(true).build().parse(pattern) else {
        return Literals::Unknown;
    };
    let mut extractor = Extractor::new();
    extractor.kind(ExtractKind::Prefix).limit_total(REGEX_BYTES_MAX);
    let mut found = extractor.extract(&hir);
    found.sort();
    found.dedup();
    let Some(literals) = found.literals() else { return Literals::Unknown };
    let texts: Vec<Box<[u8]>> = literals.iter().map(|literal| literal.as_bytes().into()).collect();
    if found.is_exact() {
        return Literals::Exact(texts.into());
    }
    if texts.iter().any(|text| text.is_empty()) {
        return Literals::Unknown;
    }
    let mut prefixes: Vec<Box<[u8]>> = Vec::with_capacity(texts.len());
    for text in texts {
        // Ascending, so that what it may start with was seen last.
        if !prefixes.last().is_some_and(|last| text.starts_with(last)) {
            prefixes.push(text);
        }
    }
    Literals::Prefixes(prefixes.into())
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
    fn what_matches_is_always_a_candidate() {
        let patterns = [
            "",
            "a",
            "a|b",
            "a|",
            "ab|a",
            "(?i)ab",
            "a.*",
            "(a|b)c+",
            "[ab]x?",
            "a{2,3}",
            ".*",
            "^a$",
            "(^a|b)",
            "a$|b",
            "é|ü",
            "[à-ï]b",
            "pod-[0-3].*",
            "(?:x|xy)z*",
            "\\Qa.b\\E|c",
            "a\\b",
            "(?s).a",
            "(|a)b",
            "a|ab|abc.*",
        ];
        let texts = [
            "", "a", "b", "ab", "AB", "aB", "aa", "aaa", "ac", "bcc", "ax", "x", "xz", "xyz", "é", "ü", "èb",
            "pod-1", "pod-3xyz", "pod-4", "a.b", "axb", "c", "abc", "abcd", "ba", "\na",
        ];
        for pattern in patterns {
            let Ok(matcher) = Matcher::new("a", MatchOp::Regex, pattern) else { continue };
            for text in texts.iter().filter(|text| matcher.matches(text)) {
                let found = match matcher.candidates() {
                    Candidates::Exact(texts) => texts.contains(&text.as_bytes()),
                    Candidates::Prefixes(prefixes) => prefixes.iter().any(|p| text.as_bytes().starts_with(p)),
                    Candidates::All => true,
                };
                assert!(found, "{pattern} matches {text}, {:?}", matcher.candidates());
            }
        }
        let many: Vec<String> = (0..200).map(|n| format!("v{n}")).collect();
        let matcher = Matcher::new("a", MatchOp::Regex, &many.join("|")).expect("valid");
        assert!(matches!(matcher.candidates(), Candidates::Exact(texts) if texts.len() == 200));
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
