//! Selectors, and what stands behind an expression: `[...]`, `@`, `offset`, `anchored`, `smoothed`.

use annals_model::{METRIC_NAME, MatchOp, Matcher};

use super::Parser;
use crate::promql::ast::{At, Expr, ExprKind, Extended, Number, Selector, Subquery, TimeShift};
use crate::promql::error::{PromqlError, Span, Spanned};
use crate::promql::lexer::TokenKind;

impl Parser {
    /// Braces and matchers, after the metric's name where it stands before them.
    pub(super) fn selector(&mut self, name: Option<(String, Span)>) -> Result<Expr, PromqlError> {
        let start = name.as_ref().map_or(self.span(), |(_, span)| *span);
        let mut matchers = Vec::new();
        // The name that is fixed already, by name or by quoted text.
        let mut fixed: Option<String> = name.as_ref().map(|(name, _)| name.clone());
        if self.eat_symbol("{") {
            while !self.eat_symbol("}") {
                let (matcher, quoted_name) = self.matcher()?;
                let sets_name = matcher.item.name() == METRIC_NAME && (quoted_name || fixed.is_some());
                if sets_name {
                    let second = matcher.item.value().to_owned();
                    if let Some(first) = &fixed {
                        return Err(PromqlError::new(
                            matcher.span,
                            format!("metric name must not be set twice: {first:?} or {second:?}"),
                        ));
                    }
                    let earlier =
                        matchers.iter().find(|own: &&Spanned<Matcher>| own.item.name() == METRIC_NAME);
                    if let Some(first) = earlier {
                        return Err(PromqlError::new(
                            matcher.span,
                            format!(
                                "metric name must not be set twice: {second:?} or {:?}",
                                first.item.value()
                            ),
                        ));
                    }
                    fixed = Some(second);
                }
                matchers.push(matcher);
                if !self.eat_symbol(",") && !self.is_symbol("}") {
                    return Err(self.unexpected("`,` or `}`"));
                }
            }
        }
        let name = name.map(|(name, span)| {
            matchers.push(Spanned { span, item: Matcher::equal(METRIC_NAME, &name) });
            name
        });
        let selector = Selector { name, matchers, time: TimeShift::default(), extended: None };
        self.node(ExprKind::Selector(selector), start)
    }

    /// `label="value"`, or a quoted metric name alone (true).
    fn matcher(&mut self) -> Result<(Spanned<Matcher>, bool), PromqlError> {
        let start = self.span();
        let (label, quoted) = match self.kind() {
            TokenKind::Identifier(word) => (word.clone(), false),
            TokenKind::Text(text) => (text.clone(), true),
            _ => return Err(self.unexpected("a label name or `}`")),
        };
        self.advance();
        let op = match self.kind() {
            TokenKind::Symbol("=") => MatchOp::Equal,
            TokenKind::Symbol("!=") => MatchOp::NotEqual,
            TokenKind::Symbol("=~") => MatchOp::Regex,
            TokenKind::Symbol("!~") => MatchOp::NotRegex,
            TokenKind::Symbol("," | "}") if quoted => {
                return Ok((Spanned { span: start, item: Matcher::equal(METRIC_NAME, &label) }, true));
            }
            _ => return Err(self.unexpected("a label matching operator (`=`, `!=`, `=~`, `!~`)")),
        };
        if label.is_empty() {
            return Err(PromqlError::new(start, "a label's name cannot be empty"));
        }
        self.advance();
        let TokenKind::Text(value) = self.kind() else { return Err(self.unexpected("a string")) };
        let value = value.clone();
        let value_span = self.span();
        self.advance();
        let item = Matcher::new(&label, op, &value)
            .map_err(|error| PromqlError::new(value_span, error.to_string()))?;
        Ok((Spanned { span: start.to(value_span), item }, false))
    }

    /// `[range]` of a selector or `[range:step]` of any vector.
    pub(super) fn brackets(&mut self, expr: Expr) -> Result<Expr, PromqlError> {
        self.expect_symbol("[")?;
        let range = self.positive_duration()?;
        let start = expr.span;
        if self.eat_symbol(":") {
            let step = if self.is_symbol("]") { None } else { Some(self.positive_duration()?) };
            self.expect_symbol("]")?;
            let subquery = Subquery { expr, range, step, time: TimeShift::default() };
            return self.node(ExprKind::Subquery(Box::new(subquery)), start);
        }
        self.expect_symbol("]")?;
        let span = start.to(self.span_before());
        match expr.kind {
            ExprKind::Selector(selector) if selector.time.offset.is_some() => {
                Err(PromqlError::new(span, "no offset modifiers allowed before range"))
            }
            ExprKind::Selector(selector) if selector.time.at.is_some() => {
                Err(PromqlError::new(span, "no @ modifiers allowed before range"))
            }
            ExprKind::Selector(selector) => self.node(ExprKind::Matrix(selector, range), start),
            _ => Err(PromqlError::new(span, "ranges only allowed for vector selectors")
                .with_hint("a colon makes it a subquery: [5m:]")),
        }
    }

    pub(super) fn offset_modifier(&mut self, expr: &mut Expr) -> Result<(), PromqlError> {
        let word = self.span();
        self.advance();
        let offset = self.offset_duration()?;
        let end = self.span_before();
        let Some(time) = time_shift(expr) else {
            return Err(PromqlError::new(
                word,
                "offset modifier must be preceded by an instant vector selector or range vector selector or a \
                 subquery",
            ));
        };
        if time.offset.replace(offset).is_some() {
            return Err(PromqlError::new(word, "offset may not be set multiple times"));
        }
        // Made anew, because its depth may have grown.
        *expr = Expr::new(expr.kind.clone(), expr.span.to(end));
        Ok(())
    }

    pub(super) fn at_modifier(&mut self, expr: &mut Expr) -> Result<(), PromqlError> {
        let symbol = self.span();
        self.advance();
        let at = if self.eat_word("start") {
            self.expect_symbol("(")?;
            self.expect_symbol(")")?;
            At::Start
        } else if self.eat_word("end") {
            self.expect_symbol("(")?;
            self.expect_symbol(")")?;
            At::End
        } else {
            let negative = self.is_symbol("-");
            if negative || self.is_symbol("+") {
                self.advance();
            }
            let span = self.span();
            let Some(Number { value: seconds, .. }) = self.number() else {
                return Err(self.unexpected("a timestamp in seconds, start() or end()"));
            };
            let ms = (seconds * if negative { -1000.0 } else { 1000.0 }).round();
            if ms.is_nan() || ms.abs() >= i64::MAX as f64 {
                return Err(PromqlError::new(span, "timestamp out of bounds for @ modifier"));
            }
            At::Time(ms as i64)
        };
        expr.span = expr.span.to(self.span_before());
        let Some(time) = time_shift(expr) else {
            return Err(PromqlError::new(
                symbol,
                "@ modifier must be preceded by an instant vector selector or range vector selector or a subquery",
            ));
        };
        if time.at.replace(at).is_some() {
            return Err(PromqlError::new(symbol, "@ <timestamp> may not be set multiple times"));
        }
        Ok(())
    }

    pub(super) fn extended_modifier(&mut self, expr: &mut Expr) -> Result<(), PromqlError> {
        let word = self.span();
        let (extended, name) = if self.is_word("anchored") {
            (Extended::Anchored, "anchored")
        } else {
            (Extended::Smoothed, "smoothed")
        };
        self.advance();
        expr.span = expr.span.to(word);
        match &mut expr.kind {
            ExprKind::Selector(selector) | ExprKind::Matrix(selector, _) => {
                match selector.extended.replace(extended) {
                    Some(other) if other != extended => {
                        Err(PromqlError::new(word, "anchored and smoothed modifiers cannot be used together"))
                    }
                    _ => Ok(()),
                }
            }
            ExprKind::Subquery(_) => {
                Err(PromqlError::new(word, format!("{name} modifier is not supported for subqueries")))
            }
            _ => Err(PromqlError::new(
                word,
                format!("{name} modifier must be preceded by an instant or range vector selector"),
            )),
        }
    }
}

fn time_shift(expr: &mut Expr) -> Option<&mut TimeShift> {
    match &mut expr.kind {
        ExprKind::Selector(selector) | ExprKind::Matrix(selector, _) => Some(&mut selector.time),
        ExprKind::Subquery(subquery) => Some(&mut subquery.time),
        _ => None,
    }
}
