//! What can stand at a place of a query that is not finished: for editors that complete as one types.
//!
//! Only what lies before the place is looked at. It need not parse: brackets that are open say where one is, and the
//! token before the word at hand says what may follow.

use annals_model::{METRIC_NAME, MatchOp, Matcher};

use super::ast::BinaryOp;
use super::error::Span;
use super::lexer::{Token, TokenKind, tokens};

/// What can stand at a place.
#[derive(Debug, Clone)]
pub enum Wanted {
    /// A metric, a function, an aggregation, a number or a bracket.
    Expression,
    /// What follows an operand: an operator, a window, `offset`, `@`, `by`.
    Operator,
    /// The name of a label of the series that these matchers find.
    LabelName(Vec<Matcher>),
    /// The value of a label of the series that these matchers find.
    LabelValue(String, Vec<Matcher>),
    /// The name of a label that groups or matches series.
    GroupingLabel,
    /// A length of time.
    Duration,
    /// Nothing that could be listed.
    Nothing,
}

/// A place, and what can stand there.
#[derive(Debug, Clone)]
pub struct Completion {
    /// What has been typed of it, to be replaced.
    pub word: Span,
    /// What can stand there.
    pub wanted: Wanted,
}

/// An open bracket.
struct Open<'t> {
    symbol: &'static str,
    /// The tokens before it and after it.
    before: &'t [Token],
    after: &'t [Token],
}

/// Says what can stand at a byte offset.
///
/// ```
/// use annals_query::promql::{Wanted, complete};
/// let text = "sum by (job) (rate(hits{code=\"5";
/// let place = complete(text, text.len());
/// let Wanted::LabelValue(label, matchers) = place.wanted else { panic!("a value") };
/// assert_eq!((label.as_str(), matchers[0].value()), ("code", "hits"));
/// assert_eq!(&text[place.word.start..place.word.end], "5");
/// ```
#[must_use]
pub fn complete(text: &str, at: usize) -> Completion {
    let mut end = at.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let text = text.get(..end).unwrap_or_default();
    let (mut list, mut word, mut in_string) = (Vec::new(), Span::new(end, end), false);
    match tokens(text) {
        Ok(all) => list = all,
        // What cannot be a token is what is being typed; where it begins with a quote, a string.
        Err(error) => {
            let start = error.span.start.min(end);
            let rest = text.get(start..).unwrap_or_default();
            in_string = rest.starts_with(['"', '\'', '`']);
            word = Span::new(start + usize::from(in_string), end);
            list.extend(tokens(text.get(..start).unwrap_or_default()).unwrap_or_default());
        }
    }
    list.pop();
    if word.start == end
        && !in_string
        && let Some(last) = list.last().filter(|token| token.span.end == end)
        && matches!(last.kind, TokenKind::Identifier(_) | TokenKind::Number(_) | TokenKind::Duration(_))
    {
        word = last.span;
        list.pop();
    }
    Completion { word, wanted: wanted(&list, in_string) }
}

fn wanted(list: &[Token], in_string: bool) -> Wanted {
    let last = list.last().map(|token| &token.kind);
    match innermost(list) {
        Some(Open { symbol: "{", before, after }) => in_braces(before, after),
        _ if in_string => Wanted::Nothing,
        Some(Open { symbol: "[", .. }) => Wanted::Duration,
        Some(Open { symbol: "(", before, .. }) if is_grouping(before) => match last {
            Some(TokenKind::Symbol("(" | ",")) => Wanted::GroupingLabel,
            _ => Wanted::Nothing,
        },
        _ => match last {
            None | Some(TokenKind::Symbol("(" | ",")) => Wanted::Expression,
            Some(TokenKind::Symbol("@")) => Wanted::Nothing,
            Some(TokenKind::Symbol(")" | "]" | "}")) => {
                if ends_grouping(list) {
                    Wanted::Expression
                } else {
                    Wanted::Operator
                }
            }
            Some(TokenKind::Symbol(_)) => Wanted::Expression,
            Some(TokenKind::Identifier(name)) if name.eq_ignore_ascii_case("offset") => Wanted::Duration,
            Some(TokenKind::Identifier(name))
                if BinaryOp::from_symbol(name).is_some() || name.eq_ignore_ascii_case("bool") =>
            {
                Wanted::Expression
            }
            Some(_) => Wanted::Operator,
        },
    }
}

/// The bracket that is open at the end.
fn innermost(list: &[Token]) -> Option<Open<'_>> {
    let mut open: Vec<(usize, &'static str)> = Vec::new();
    for (index, token) in list.iter().enumerate() {
        match token.kind {
            TokenKind::Symbol(symbol @ ("(" | "[" | "{")) => open.push((index, symbol)),
            TokenKind::Symbol(")" | "]" | "}") => {
                open.pop();
            }
            _ => {}
        }
    }
    let &(index, symbol) = open.last()?;
    Some(Open { symbol, before: list.get(..index)?, after: list.get(index + 1..)? })
}

/// Whether a bracket behind these tokens lists labels.
fn is_grouping(before: &[Token]) -> bool {
    let words = ["by", "without", "on", "ignoring", "group_left", "group_right"];
    matches!(before.last().map(|token| &token.kind), Some(TokenKind::Identifier(name))
        if words.iter().any(|word| word.eq_ignore_ascii_case(name)))
}

/// Whether the tokens end with labels in brackets.
fn ends_grouping(list: &[Token]) -> bool {
    let open = list.iter().rposition(|token| token.kind == TokenKind::Symbol("("));
    open.and_then(|open| list.get(..open)).is_some_and(is_grouping)
}

fn in_braces(before: &[Token], after: &[Token]) -> Wanted {
    let mut matchers = Vec::new();
    if let Some(TokenKind::Identifier(name)) = before.last().map(|token| &token.kind) {
        matchers.push(Matcher::equal(METRIC_NAME, name));
    }
    let mut parts = after.split(|token| token.kind == TokenKind::Symbol(",")).peekable();
    let mut current: &[Token] = &[];
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            current = part;
            break;
        }
        let kinds: Vec<&TokenKind> = part.iter().map(|token| &token.kind).collect();
        match kinds.as_slice() {
            [
                TokenKind::Identifier(name) | TokenKind::Text(name),
                TokenKind::Symbol(op),
                TokenKind::Text(value),
            ] => {
                let op = match *op {
                    "=" => MatchOp::Equal,
                    "!=" => MatchOp::NotEqual,
                    "=~" => MatchOp::Regex,
                    "!~" => MatchOp::NotRegex,
                    _ => continue,
                };
                matchers.extend(Matcher::new(name, op, value));
            }
            [TokenKind::Text(name)] => matchers.push(Matcher::equal(METRIC_NAME, name)),
            _ => {}
        }
    }
    match current {
        [] => Wanted::LabelName(matchers),
        [name, op] if matches!(op.kind, TokenKind::Symbol("=" | "!=" | "=~" | "!~")) => match &name.kind {
            TokenKind::Identifier(name) | TokenKind::Text(name) => Wanted::LabelValue(name.clone(), matchers),
            _ => Wanted::Nothing,
        },
        _ => Wanted::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_a_query_says_what_can_stand_there() {
        for (text, word, expected) in [
            ("", "", "Expression"),
            ("ra", "ra", "Expression"),
            ("sum(", "", "Expression"),
            ("sum by (", "", "GroupingLabel"),
            ("sum by (jo", "jo", "GroupingLabel"),
            ("sum by (job) ", "", "Expression"),
            ("hits ", "", "Operator"),
            ("hits{", "", "LabelName"),
            ("hits{co", "co", "LabelName"),
            ("hits{code=\"5..\", ", "", "LabelName"),
            ("hits{code=", "", "LabelValue(\"code\""),
            ("hits{code=~\"5", "5", "LabelValue(\"code\""),
            ("rate(hits[", "", "Duration"),
            ("rate(hits[5", "5", "Duration"),
            ("hits offset ", "", "Duration"),
            ("hits / on (a", "a", "GroupingLabel"),
            ("hits / on (a) gro", "gro", "Expression"),
            ("a + ", "", "Expression"),
            ("a and ", "", "Expression"),
            ("rate(hits[5m]) ", "", "Operator"),
            ("label_replace(a, \"x", "x", "Nothing"),
        ] {
            let place = complete(text, text.len());
            assert_eq!(&text[place.word.start..place.word.end], word, "{text}");
            assert!(format!("{:?}", place.wanted).starts_with(expected), "{text}: {:?}", place.wanted);
        }
    }

    #[test]
    fn a_label_is_asked_of_the_series_that_the_other_matchers_find() {
        let place = complete("hits{code=~\"5..\", job!=\"web\", in", 99);
        let Wanted::LabelName(matchers) = place.wanted else { panic!("a name") };
        let shown: Vec<String> =
            matchers.iter().map(|m| format!("{}{}{}", m.name(), m.op(), m.value())).collect();
        assert_eq!(shown, ["__name__=hits", "code=~5..", "job!=web"]);
    }

    #[test]
    fn no_text_and_no_place_is_too_odd() {
        for text in ["\"é", "{\"a\"}[{", "))}]", "5mm", "a{b=\"c\" d", "é", "sum by by (", "{{{((([["] {
            for at in 0..=text.len() + 1 {
                let place = complete(text, at);
                assert!(place.word.start <= place.word.end && place.word.end <= text.len());
            }
        }
    }
}
