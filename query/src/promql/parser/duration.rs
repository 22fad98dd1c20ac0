//! Lengths of time: after `offset`, and between `[` and `]`.
//!
//! After `offset` stands one primary with at most one sign, so `offset 1m + 2` adds 2 to the value; between
//! brackets stands any arithmetic.

use super::{Parser, too_deep};
use crate::promql::ast::{BinaryOp, DEPTH_MAX, DurationExpr, DurationKind, Number};
use crate::promql::error::{PromqlError, Span};
use crate::promql::lexer::TokenKind;

/// Prometheus counts a duration's nanoseconds in 63 bits.
const SECONDS_MAX: f64 = 9_223_372_036.0;

impl Parser {
    /// What stands after `offset`.
    pub(super) fn offset_duration(&mut self) -> Result<DurationExpr, PromqlError> {
        let start = self.span();
        let negative = self.is_symbol("-");
        if negative || self.is_symbol("+") {
            self.advance();
        }
        let inner = self.duration_primary()?;
        self.signed(negative, inner, start)
    }

    /// A range or a step: any arithmetic, positive where that can be known already.
    pub(super) fn positive_duration(&mut self) -> Result<DurationExpr, PromqlError> {
        let duration = self.duration(0)?;
        match duration.kind {
            DurationKind::Literal(Number { value, .. }) if value.is_nan() || value <= 0.0 => {
                Err(PromqlError::new(duration.span, "duration must be greater than 0"))
            }
            _ => Ok(duration),
        }
    }

    fn duration_node(&self, kind: DurationKind, start: Span) -> Result<DurationExpr, PromqlError> {
        let duration = DurationExpr::new(kind, start.to(self.span_before()));
        if duration.depth() > DEPTH_MAX { Err(too_deep(duration.span)) } else { Ok(duration) }
    }

    fn signed(
        &self,
        negative: bool,
        mut inner: DurationExpr,
        start: Span,
    ) -> Result<DurationExpr, PromqlError> {
        match &mut inner.kind {
            DurationKind::Literal(number) => {
                if negative {
                    number.value = -number.value;
                }
                inner.span = start.to(inner.span);
                Ok(inner)
            }
            _ if negative => self.duration_node(DurationKind::Negative(Box::new(inner)), start),
            _ => Ok(inner),
        }
    }

    fn duration(&mut self, least: u8) -> Result<DurationExpr, PromqlError> {
        let start = self.span();
        let negative = self.is_symbol("-");
        let mut left = if negative || self.is_symbol("+") {
            self.advance();
            let inner = self.nested(|parser| parser.duration(BinaryOp::Pow.precedence()))?;
            self.signed(negative, inner, start)?
        } else {
            self.duration_primary()?
        };
        while let Some(op) = self.duration_operator().filter(|op| op.precedence() >= least) {
            self.advance();
            let next = if op == BinaryOp::Pow { op.precedence() } else { op.precedence() + 1 };
            let right = self.nested(|parser| parser.duration(next))?;
            if let DurationKind::Literal(Number { value: 0.0, .. }) = right.kind {
                match op {
                    BinaryOp::Div => return Err(PromqlError::new(right.span, "division by zero")),
                    BinaryOp::Mod => return Err(PromqlError::new(right.span, "modulo by zero")),
                    _ => {}
                }
            }
            let both = Box::new((left, right));
            left = self.duration_node(DurationKind::Binary(op, both), start)?;
        }
        Ok(left)
    }

    fn duration_operator(&self) -> Option<BinaryOp> {
        match self.kind() {
            TokenKind::Symbol(symbol @ ("+" | "-" | "*" | "/" | "%" | "^")) => BinaryOp::from_symbol(symbol),
            _ => None,
        }
    }

    fn duration_primary(&mut self) -> Result<DurationExpr, PromqlError> {
        let start = self.span();
        if let Some(number) = self.number() {
            if number.value.is_nan() || number.value.abs() > SECONDS_MAX {
                return Err(PromqlError::new(start, "duration out of range"));
            }
            return self.duration_node(DurationKind::Literal(number), start);
        }
        if self.eat_symbol("(") {
            let inner = self.nested(|parser| parser.duration(0))?;
            self.expect_symbol(")")?;
            return self.duration_node(DurationKind::Paren(Box::new(inner)), start);
        }
        for (word, kind) in [("step", DurationKind::Step), ("range", DurationKind::Range)] {
            if self.eat_word(word) {
                self.expect_symbol("(")?;
                self.expect_symbol(")")?;
                return self.duration_node(kind, start);
            }
        }
        for (word, least) in [("min_of", true), ("max_of", false)] {
            if self.eat_word(word) {
                self.expect_symbol("(")?;
                let left = self.nested(|parser| parser.duration(0))?;
                self.expect_symbol(",")?;
                let right = self.nested(|parser| parser.duration(0))?;
                self.expect_symbol(")")?;
                return self.duration_node(DurationKind::Extreme(least, Box::new((left, right))), start);
            }
        }
        Err(self.unexpected("a duration"))
    }
}
