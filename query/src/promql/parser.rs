//! Tokens to an expression: recursive descent, and precedence climbing for binary operators.
//!
//! | binds | operators                                          | associates |
//! |------:|----------------------------------------------------|------------|
//! |     1 | `or`                                               | left       |
//! |     2 | `and` `unless`                                     | left       |
//! |     3 | `==` `!=` `<` `<=` `>` `>=` `</` `>/`              | left       |
//! |     4 | `+` `-`                                            | left       |
//! |     5 | `*` `/` `%` `atan2`, and the signs `+` `-`         | left       |
//! |     6 | `^`                                                | right      |
//! |     7 | `offset` `@` `[...]` `anchored` `smoothed`, behind | -          |
//!
//! A sign before a bare number becomes part of the number; `-2 ^ 2` is still `-(2 ^ 2)`.
//!
//! Nesting is bounded twice: while descending, so that 10,000 brackets cannot exhaust the stack, and by each
//! node's depth, so that 10,000 operators in a row cannot either when the result is walked. Duration
//! expressions and selectors have their own files, `duration.rs` and `selector.rs`; types are checked by `check.rs`.

mod duration;
mod selector;

use super::ast::{Aggregate, Binary, BinaryOp, DEPTH_MAX, Expr, ExprKind, Group, Matching, Number};
use super::check;
use super::error::{PromqlError, Span, Spanned};
use super::lexer::{Token, TokenKind, tokens};
use super::signature::{Aggregator, function};

/// Parses and type-checks a query.
///
/// ```
/// use annals_query::promql::parse;
/// assert!(parse("sum by (site) (rate(http_requests_total[5m]))").is_ok());
/// let error = parse("rate(http_requests_total)").unwrap_err();
/// assert_eq!(error.message, "expected type range vector in call to function \"rate\", got instant vector");
/// ```
pub fn parse(text: &str) -> Result<Expr, PromqlError> {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0 };
    if parser.kind() == &TokenKind::End {
        return Err(PromqlError::new(parser.span(), "no expression found in input"));
    }
    let expr = parser.expression(0)?;
    if parser.kind() != &TokenKind::End {
        return Err(parser.unexpected("an operator or the end of the query"));
    }
    check::check(&expr)?;
    Ok(expr)
}

/// Functions whose names the grammar also uses as keywords, in any case of letters.
const KEYWORD_FUNCTIONS: [&str; 6] = ["start", "end", "step", "range", "min_of", "max_of"];

/// Words that cannot name a metric where an expression may stand.
const RESERVED: [&str; 6] = ["bool", "on", "ignoring", "group_left", "group_right", "atan2"];

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: u32,
}

impl Parser {
    fn ahead(&self, by: usize) -> &TokenKind {
        self.tokens.get(self.at + by).map_or(&TokenKind::End, |token| &token.kind)
    }

    fn kind(&self) -> &TokenKind {
        self.ahead(0)
    }

    /// Where the current token stands.
    fn span(&self) -> Span {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(Span::default(), |token| token.span)
    }

    /// Where the token before the current one stands.
    fn span_before(&self) -> Span {
        self.at.checked_sub(1).and_then(|at| self.tokens.get(at)).map_or(Span::default(), |token| token.span)
    }

    fn advance(&mut self) {
        self.at += 1;
    }

    fn is_symbol_ahead(&self, by: usize, symbol: &str) -> bool {
        matches!(self.ahead(by), TokenKind::Symbol(own) if *own == symbol)
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        self.is_symbol_ahead(0, symbol)
    }

    /// Whether the current token is that keyword, in any case of letters.
    fn is_word(&self, word: &str) -> bool {
        matches!(self.kind(), TokenKind::Identifier(own) if own.eq_ignore_ascii_case(word))
    }

    fn eat_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        self.at += usize::from(found);
        found
    }

    fn eat_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.at += usize::from(found);
        found
    }

    fn expect_symbol(&mut self, symbol: &str) -> Result<(), PromqlError> {
        if self.eat_symbol(symbol) { Ok(()) } else { Err(self.unexpected(&format!("`{symbol}`"))) }
    }

    fn unexpected(&self, wanted: &str) -> PromqlError {
        let found = match self.kind() {
            TokenKind::Identifier(word) => format!("`{word}`"),
            TokenKind::Number(_) => "a number".to_owned(),
            TokenKind::Duration(_) => "a duration".to_owned(),
            TokenKind::Text(_) => "a string".to_owned(),
            TokenKind::Symbol(symbol) => format!("`{symbol}`"),
            TokenKind::End => "the end of the query".to_owned(),
        };
        PromqlError::new(self.span(), format!("expected {wanted}, found {found}"))
    }

    /// Runs a rule one level deeper.
    fn nested<T>(
        &mut self,
        rule: impl FnOnce(&mut Parser) -> Result<T, PromqlError>,
    ) -> Result<T, PromqlError> {
        if self.depth >= DEPTH_MAX {
            return Err(too_deep(self.span()));
        }
        self.depth += 1;
        let result = rule(self);
        self.depth -= 1;
        result
    }

    fn node(&self, kind: ExprKind, start: Span) -> Result<Expr, PromqlError> {
        let expr = Expr::new(kind, start.to(self.span_before()));
        if expr.depth() > DEPTH_MAX { Err(too_deep(expr.span)) } else { Ok(expr) }
    }

    /// Operators that bind at least as tightly as `least`, and their operands. Every rule that contains expressions
    /// comes back here, so this is where nesting is counted.
    fn expression(&mut self, least: u8) -> Result<Expr, PromqlError> {
        self.nested(|parser| parser.operators(least))
    }

    fn operators(&mut self, least: u8) -> Result<Expr, PromqlError> {
        let mut left = self.unary()?;
        while let Some(op) = self.operator().filter(|op| op.precedence() >= least.max(1)) {
            let op_span = Spanned { span: self.span(), item: () };
            self.advance();
            let (return_bool, matching) = self.matching()?;
            let next = if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 };
            let right = self.expression(next)?;
            let start = left.span;
            let binary = Binary { op, left, right, return_bool, matching, op_span };
            left = self.node(ExprKind::Binary(Box::new(binary)), start)?;
        }
        Ok(left)
    }

    fn operator(&self) -> Option<BinaryOp> {
        match self.kind() {
            TokenKind::Symbol(symbol) => BinaryOp::from_symbol(symbol),
            TokenKind::Identifier(word) => BinaryOp::from_symbol(word),
            _ => None,
        }
    }

    fn unary(&mut self) -> Result<Expr, PromqlError> {
        let start = self.span();
        let negative = self.is_symbol("-");
        if !negative && !self.is_symbol("+") {
            return self.postfix();
        }
        self.advance();
        let mut operand = self.expression(BinaryOp::Pow.precedence())?;
        if let ExprKind::Number(Number { value, .. }) = &mut operand.kind {
            if negative && !value.is_nan() {
                *value = -*value;
            }
            operand.span = start.to(operand.span);
            return Ok(operand);
        }
        self.node(ExprKind::Unary(negative, Box::new(operand)), start)
    }

    /// What stands between a binary operator and its right side.
    fn matching(&mut self) -> Result<(bool, Matching), PromqlError> {
        let mut matching = Matching::default();
        let return_bool = self.eat_word("bool");
        if self.is_word("on") || self.is_word("ignoring") {
            let on = self.is_word("on");
            self.advance();
            matching.labels = Some((on, self.label_list()?));
            if self.is_word("group_left") || self.is_word("group_right") {
                let many_left = self.is_word("group_left");
                self.advance();
                let include = if self.is_symbol("(") { self.label_list()? } else { Vec::new() };
                matching.group = Some(Group { many_left, include });
            }
        }
        // `fill` before a bracket is the modifier, otherwise it names a metric.
        while self.is_symbol_ahead(1, "(") {
            let span = self.span();
            let sides = match () {
                () if self.is_word("fill") => (true, true),
                () if self.is_word("fill_left") => (true, false),
                () if self.is_word("fill_right") => (false, true),
                () => break,
            };
            self.advance();
            let value = self.fill_value()?;
            let taken =
                (sides.0 && matching.fill_left.is_some()) || (sides.1 && matching.fill_right.is_some());
            if taken {
                return Err(PromqlError::new(span, "a side of an operator is filled at most once"));
            }
            if sides.0 {
                matching.fill_left = Some(value);
            }
            if sides.1 {
                matching.fill_right = Some(value);
            }
        }
        Ok((return_bool, matching))
    }

    fn fill_value(&mut self) -> Result<Number, PromqlError> {
        self.expect_symbol("(")?;
        let negative = self.is_symbol("-");
        if negative || self.is_symbol("+") {
            self.advance();
        }
        let Some(mut number) = self.number() else { return Err(self.unexpected("a number")) };
        self.expect_symbol(")")?;
        if negative && !number.value.is_nan() {
            number.value = -number.value;
        }
        Ok(number)
    }

    /// A number or a duration in seconds, where one stands.
    fn number(&mut self) -> Option<Number> {
        let number = match self.kind() {
            TokenKind::Number(value) => Number { value: *value, duration: false },
            TokenKind::Duration(ms) => Number { value: *ms as f64 / 1000.0, duration: true },
            _ => return None,
        };
        self.advance();
        Some(number)
    }

    /// `(label, "quoted label", ...)`
    fn label_list(&mut self) -> Result<Vec<String>, PromqlError> {
        self.expect_symbol("(")?;
        let mut labels = Vec::new();
        while !self.eat_symbol(")") {
            let label = match self.kind() {
                TokenKind::Identifier(word) if !word.contains(':') => word.clone(),
                TokenKind::Text(text) if !text.is_empty() => text.clone(),
                _ => return Err(self.unexpected("a label name or `)`")),
            };
            self.advance();
            labels.push(label);
            if !self.eat_symbol(",") && !self.is_symbol(")") {
                return Err(self.unexpected("`,` or `)`"));
            }
        }
        Ok(labels)
    }

    /// An operand and what may stand behind it.
    fn postfix(&mut self) -> Result<Expr, PromqlError> {
        let mut expr = self.primary()?;
        loop {
            if self.is_symbol("[") {
                expr = self.brackets(expr)?;
            } else if self.is_symbol("@") {
                self.at_modifier(&mut expr)?;
            } else if self.is_word("offset") {
                self.offset_modifier(&mut expr)?;
            } else if self.is_word("anchored") || self.is_word("smoothed") {
                self.extended_modifier(&mut expr)?;
            } else {
                return Ok(expr);
            }
            if expr.depth() > DEPTH_MAX {
                return Err(too_deep(expr.span));
            }
        }
    }

    fn primary(&mut self) -> Result<Expr, PromqlError> {
        let start = self.span();
        if let Some(number) = self.number() {
            return self.node(ExprKind::Number(number), start);
        }
        if let TokenKind::Text(text) = self.kind() {
            let text = text.clone();
            self.advance();
            return self.node(ExprKind::Text(text), start);
        }
        if self.eat_symbol("(") {
            let inner = self.expression(0)?;
            self.expect_symbol(")")?;
            return self.node(ExprKind::Paren(Box::new(inner)), start);
        }
        if self.is_symbol("{") {
            return self.selector(None);
        }
        let TokenKind::Identifier(word) = self.kind() else {
            return Err(self.unexpected("an expression"));
        };
        let word = word.clone();
        if let Some(op) = Aggregator::from_name(&word) {
            let grouped = matches!(self.ahead(1), TokenKind::Identifier(next)
                if next.eq_ignore_ascii_case("by") || next.eq_ignore_ascii_case("without"));
            if grouped || self.is_symbol_ahead(1, "(") {
                self.advance();
                return self.aggregate(op, start);
            }
        }
        if self.is_symbol_ahead(1, "(") {
            return self.call(&word, start);
        }
        if RESERVED.iter().any(|reserved| reserved.eq_ignore_ascii_case(&word)) {
            return Err(self.unexpected("an expression"));
        }
        self.advance();
        self.selector(Some((word, start)))
    }

    /// `(a, b, ...)`
    fn arguments(&mut self) -> Result<Vec<Expr>, PromqlError> {
        self.expect_symbol("(")?;
        let mut arguments = Vec::new();
        if self.eat_symbol(")") {
            return Ok(arguments);
        }
        loop {
            arguments.push(self.expression(0)?);
            if self.eat_symbol(")") {
                return Ok(arguments);
            }
            if !self.eat_symbol(",") {
                return Err(self.unexpected("`)` or `,`"));
            }
            if self.is_symbol(")") {
                return Err(PromqlError::new(
                    self.span_before(),
                    "trailing commas not allowed in function call args",
                ));
            }
        }
    }

    fn call(&mut self, name: &str, start: Span) -> Result<Expr, PromqlError> {
        let lower = name.to_ascii_lowercase();
        let name = if KEYWORD_FUNCTIONS.contains(&lower.as_str()) { lower.as_str() } else { name };
        let Some(known) = function(name) else {
            let error = PromqlError::new(start, format!("unknown function with name {name:?}"));
            return Err(match name {
                "holt_winters" => error.with_hint("it is called double_exponential_smoothing now"),
                _ if function(&lower).is_some() => {
                    error.with_hint(format!("function names are written in small letters: {lower}"))
                }
                _ => error,
            });
        };
        self.advance();
        let arguments = self.arguments()?;
        self.node(ExprKind::Call(known, arguments), start)
    }

    fn aggregate(&mut self, op: Aggregator, start: Span) -> Result<Expr, PromqlError> {
        let (mut grouped, mut without, mut grouping) = (false, false, Vec::new());
        let mut arguments = None;
        for _ in 0..2 {
            if !grouped && (self.is_word("by") || self.is_word("without")) {
                (grouped, without) = (true, self.is_word("without"));
                self.advance();
                grouping = self.label_list()?;
            }
            if arguments.is_none() {
                arguments = Some(self.arguments()?);
            }
        }
        let span = start.to(self.span_before());
        let mut arguments = arguments.unwrap_or_default();
        let wanted = 1 + usize::from(op.parameter().is_some());
        if arguments.is_empty() {
            return Err(PromqlError::new(span, "no arguments for aggregate expression provided"));
        }
        if arguments.len() != wanted {
            return Err(PromqlError::new(
                span,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {wanted}, got {}",
                    arguments.len()
                ),
            ));
        }
        let Some(expr) = arguments.pop() else {
            return Err(PromqlError::new(span, "no arguments for aggregate expression provided"));
        };
        let aggregate = Aggregate { op, expr, parameter: arguments.pop(), without, grouping, grouped };
        self.node(ExprKind::Aggregate(Box::new(aggregate)), start)
    }
}

fn too_deep(span: Span) -> PromqlError {
    PromqlError::new(span, format!("the query nests more than {DEPTH_MAX} expressions in each other"))
        .with_hint("a long chain of operators nests too; brackets around halves of it make it flatter")
}
