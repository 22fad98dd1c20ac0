//! Where in a query something stands, what is wrong there, and how to show it.
//!
//! A [`Span`] is a byte range of the query's text. [`PromqlError::render`] shows the line with the span
//! underlined; columns count characters from 1, as an editor does.

use std::fmt;

use annals_model::{LimitExceeded, SourceError};

/// A byte range of a query's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset past the last byte.
    pub end: usize,
}

impl Span {
    /// The range from `start` up to `end`.
    #[must_use]
    pub fn new(start: usize, end: usize) -> Span {
        Span { start, end }
    }

    /// The smallest range that holds both.
    #[must_use]
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// Line and column of its start, both from 1; the column counts characters.
    #[must_use]
    pub fn line_and_column(self, source: &str) -> (usize, usize) {
        let before = head(source, self.start);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        (line, column)
    }
}

/// A thing and where it stands. Equal where the things are: place is not meaning.
#[derive(Debug, Clone)]
pub struct Spanned<T> {
    /// Where it stands.
    pub span: Span,
    /// The thing.
    pub item: T,
}

impl<T: PartialEq> PartialEq for Spanned<T> {
    fn eq(&self, other: &Spanned<T>) -> bool {
        self.item == other.item
    }
}

/// A query that does not parse, does not type-check, or cannot be evaluated, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PromqlError {
    /// The part of the query that is at fault.
    pub span: Span,
    /// What is wrong with it, in one sentence.
    pub message: String,
    /// What to write instead, where that is known.
    pub hint: Option<String>,
}

impl PromqlError {
    pub(crate) fn new(span: Span, message: impl Into<String>) -> PromqlError {
        PromqlError { span, message: message.into(), hint: None }
    }

    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> PromqlError {
        self.hint = Some(hint.into());
        self
    }

    /// Shows the error beneath the line it is in. `source` is the text that was parsed.
    ///
    /// ```
    /// let text = "sum(rate(errors[5m])";
    /// let error = annals_query::promql::parse(text).unwrap_err();
    /// assert_eq!(
    ///     error.render(text),
    ///     "error: expected `)` or `,`, found the end of the query\n\
    ///      \x20 at line 1, column 21\n\
    ///      \x20   | sum(rate(errors[5m])\n\
    ///      \x20   |                     ^\n"
    /// );
    /// ```
    #[must_use]
    pub fn render(&self, source: &str) -> String {
        let (line, column) = self.span.line_and_column(source);
        let text = source.split('\n').nth(line - 1).unwrap_or_default().trim_end_matches('\r');
        // Tabs stay tabs, so that the caret stands beneath its character in any terminal.
        let pad: String = text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let start = head(source, self.span.start).len();
        let under = head(source, self.span.end.max(start));
        let width = under.get(start..).unwrap_or_default().split('\n').next().unwrap_or_default();
        let room = text.chars().count().saturating_sub(column - 1);
        let carets = "^".repeat(width.chars().count().min(room).max(1));
        let mut shown = format!(
            "error: {}\n  at line {line}, column {column}\n    | {text}\n    | {pad}{carets}\n",
            self.message
        );
        if let Some(hint) = &self.hint {
            shown.push_str("  hint: ");
            shown.push_str(hint);
            shown.push('\n');
        }
        shown
    }
}

/// The text before a byte offset, which may lie past the end or inside a character.
fn head(source: &str, offset: usize) -> &str {
    let mut end = offset.min(source.len());
    while !source.is_char_boundary(end) {
        end -= 1;
    }
    source.get(..end).unwrap_or_default()
}

/// Why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The query itself is at fault; its span says where.
    #[error(transparent)]
    Promql(#[from] PromqlError),
    /// The query is over a limit or was cancelled.
    #[error(transparent)]
    Limit(LimitExceeded),
    /// The data cannot be reached.
    #[error("{0}")]
    Source(SourceError),
    /// The times that were asked for make no sense together.
    #[error("{0}")]
    Times(String),
}

impl From<LimitExceeded> for QueryError {
    fn from(limit: LimitExceeded) -> QueryError {
        QueryError::Limit(limit)
    }
}

impl From<SourceError> for QueryError {
    fn from(error: SourceError) -> QueryError {
        match error {
            SourceError::Limit(limit) => QueryError::Limit(limit),
            other => QueryError::Source(other),
        }
    }
}

/// A remark about an answer: what it lacks, or what is odd about the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Annotation {
    /// The part of the query that it concerns, where there is one.
    pub span: Option<Span>,
    /// What it says.
    pub text: String,
}

impl Annotation {
    /// The text with line and column, as Prometheus appends them.
    #[must_use]
    pub fn render(&self, source: &str) -> String {
        match self.span {
            None => self.text.clone(),
            Some(span) => {
                let (line, column) = span.line_and_column(source);
                format!("{} ({line}:{column})", self.text)
            }
        }
    }
}

impl fmt::Display for Annotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
