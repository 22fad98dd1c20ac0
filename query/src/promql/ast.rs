//! What a query says, with the place of every part.
//!
//! Two expressions are equal where they say the same, wherever they stand: spans are not compared. Numbers
//! compare by their bits, NaN is always the same NaN. `Display` (in `print.rs`) writes text that parses to an equal
//! expression; brackets of the query are kept as [`ExprKind::Paren`], so no rule of precedence is needed there.

use annals_model::Matcher;

use super::error::{Span, Spanned};
use super::signature::{Aggregator, Function, ValueType};

/// The deepest nesting of a query; bounds the stack of everything that walks one.
pub const DEPTH_MAX: u32 = 200;

/// A part of a query that has a value.
#[derive(Debug, Clone)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
    depth: u32,
}

impl PartialEq for Expr {
    fn eq(&self, other: &Expr) -> bool {
        self.kind == other.kind
    }
}

/// A number that compares by its bits, however it was written.
#[derive(Debug, Clone, Copy)]
pub struct Number {
    /// What it counts; of a duration, its seconds.
    pub value: f64,
    /// Whether it was written as a duration.
    pub duration: bool,
}

impl PartialEq for Number {
    fn eq(&self, other: &Number) -> bool {
        self.value.to_bits() == other.value.to_bits()
    }
}

/// The kinds of expressions.
#[derive(Debug, Clone, PartialEq)]
pub enum ExprKind {
    /// A number; a duration literal counts its seconds.
    Number(Number),
    /// A text.
    Text(String),
    /// The latest sample of each series.
    Selector(Selector),
    /// The samples of each series within a window: selector and length.
    Matrix(Selector, DurationExpr),
    /// The values of an expression over a window, at a step.
    Subquery(Box<Subquery>),
    /// An expression in brackets.
    Paren(Box<Expr>),
    /// `-` (true) or `+` (false) before an expression.
    Unary(bool, Box<Expr>),
    /// Two expressions and an operator.
    Binary(Box<Binary>),
    /// Many series into few.
    Aggregate(Box<Aggregate>),
    /// A function of expressions.
    Call(&'static Function, Vec<Expr>),
}

/// Which series, and at which time.
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    /// The metric's name where it stands before the braces; `matchers` holds it too.
    pub name: Option<String>,
    /// All matchers, in the order of the query, the name's last.
    pub matchers: Vec<Spanned<Matcher>>,
    /// What is added to or taken from the time.
    pub time: TimeShift,
    /// How values at the window's ends are found.
    pub extended: Option<Extended>,
}

/// `offset` and `@` of a selector or subquery.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TimeShift {
    /// How far back from the evaluation time.
    pub offset: Option<DurationExpr>,
    /// Instead of the evaluation time.
    pub at: Option<At>,
}

/// A fixed time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Milliseconds since the epoch.
    Time(i64),
    /// The query's first step.
    Start,
    /// The query's last step.
    End,
}

/// How an extended selector finds values at its window's ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extended {
    /// The sample at or before the end.
    Anchored,
    /// On the line between the samples around the end.
    Smoothed,
}

/// `expression[range:step]`
#[derive(Debug, Clone, PartialEq)]
pub struct Subquery {
    /// What is evaluated.
    pub expr: Expr,
    /// The window's length.
    pub range: DurationExpr,
    /// The step, where one is given.
    pub step: Option<DurationExpr>,
    /// Moves the window.
    pub time: TimeShift,
}

/// A length of time, in seconds, that may depend on the query's step and range.
#[derive(Debug, Clone)]
pub struct DurationExpr {
    /// What it is.
    pub kind: DurationKind,
    /// Where it stands.
    pub span: Span,
    depth: u32,
}

impl PartialEq for DurationExpr {
    fn eq(&self, other: &DurationExpr) -> bool {
        self.kind == other.kind
    }
}

/// The kinds of durations.
#[derive(Debug, Clone, PartialEq)]
pub enum DurationKind {
    /// Seconds.
    Literal(Number),
    /// `step()`
    Step,
    /// `range()`
    Range,
    /// The lesser (true) or the greater (false) of two.
    Extreme(bool, Box<(DurationExpr, DurationExpr)>),
    /// The negative of one.
    Negative(Box<DurationExpr>),
    /// Arithmetic on two.
    Binary(BinaryOp, Box<(DurationExpr, DurationExpr)>),
    /// One in brackets.
    Paren(Box<DurationExpr>),
}

/// A binary operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the operator that `symbol` shows")]
pub enum BinaryOp {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Pow,
    Atan2,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    And,
    Or,
    Unless,
    TrimUpper,
    TrimLower,
}

/// Operators with their symbols and their precedence; a larger number binds tighter.
const OPERATORS: [(BinaryOp, &str, u8); 18] = [
    (BinaryOp::Or, "or", 1),
    (BinaryOp::And, "and", 2),
    (BinaryOp::Unless, "unless", 2),
    (BinaryOp::Equal, "==", 3),
    (BinaryOp::NotEqual, "!=", 3),
    (BinaryOp::Less, "<", 3),
    (BinaryOp::LessEqual, "<=", 3),
    (BinaryOp::Greater, ">", 3),
    (BinaryOp::GreaterEqual, ">=", 3),
    (BinaryOp::TrimUpper, "</", 3),
    (BinaryOp::TrimLower, ">/", 3),
    (BinaryOp::Add, "+", 4),
    (BinaryOp::Sub, "-", 4),
    (BinaryOp::Mul, "*", 5),
    (BinaryOp::Div, "/", 5),
    (BinaryOp::Mod, "%", 5),
    (BinaryOp::Atan2, "atan2", 5),
    (BinaryOp::Pow, "^", 6),
];

impl BinaryOp {
    pub(super) fn from_symbol(symbol: &str) -> Option<BinaryOp> {
        OPERATORS.iter().find(|(_, own, _)| own.eq_ignore_ascii_case(symbol)).map(|&(op, _, _)| op)
    }

    /// As it is written.
    #[must_use]
    pub fn symbol(self) -> &'static str {
        OPERATORS.iter().find(|(op, _, _)| *op == self).map_or("", |&(_, symbol, _)| symbol)
    }

    pub(super) fn precedence(self) -> u8 {
        OPERATORS.iter().find(|(op, _, _)| *op == self).map_or(0, |&(_, _, precedence)| precedence)
    }

    /// Whether it compares.
    #[must_use]
    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Equal, Greater, GreaterEqual, Less, LessEqual, NotEqual};
        matches!(self, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
    }

    /// Whether it works on sets of series.
    #[must_use]
    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }
}

/// Two expressions and an operator.
#[derive(Debug, Clone, PartialEq)]
pub struct Binary {
    /// The operator.
    pub op: BinaryOp,
    /// Left of it.
    pub left: Expr,
    /// Right of it.
    pub right: Expr,
    /// 0 and 1 instead of filtering.
    pub return_bool: bool,
    /// Which series of the two sides meet.
    pub matching: Matching,
    /// Where the operator stands.
    pub op_span: Spanned<()>,
}

/// Which series of two sides meet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Matching {
    /// `on` (true) or `ignoring` (false), and the labels; without either, `ignoring` nothing.
    pub labels: Option<(bool, Vec<String>)>,
    /// Many series on one side meet one on the other.
    pub group: Option<Group>,
    /// What stands in for a missing left series.
    pub fill_left: Option<Number>,
    /// What stands in for a missing right series.
    pub fill_right: Option<Number>,
}

impl Matching {
    /// Whether the left side may have many series for one of the right.
    pub(super) fn many_left(&self) -> bool {
        self.group.as_ref().is_none_or(|group| group.many_left)
    }
}

/// `group_left` and `group_right`.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// The many stand on the left (`group_left`).
    pub many_left: bool,
    /// Labels taken over from the one side.
    pub include: Vec<String>,
}

/// Many series into few.
#[derive(Debug, Clone, PartialEq)]
pub struct Aggregate {
    /// The operator.
    pub op: Aggregator,
    /// What is aggregated.
    pub expr: Expr,
    /// The parameter of operators that take one.
    pub parameter: Option<Expr>,
    /// `without` these labels, instead of `by`.
    pub without: bool,
    /// The labels that tell groups apart (or that do not).
    pub grouping: Vec<String>,
    /// Whether `by` or `without` was written.
    pub grouped: bool,
}

impl Expr {
    /// An expression at a place.
    #[must_use]
    pub fn new(kind: ExprKind, span: Span) -> Expr {
        let depth = match &kind {
            ExprKind::Number(_) | ExprKind::Text(_) => 0,
            ExprKind::Selector(selector) => selector.time.depth(),
            ExprKind::Matrix(selector, range) => selector.time.depth().max(range.depth),
            ExprKind::Subquery(sub) => {
                let step = sub.step.as_ref().map_or(0, |step| step.depth);
                sub.expr.depth.max(sub.range.depth).max(step).max(sub.time.depth())
            }
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => inner.depth,
            ExprKind::Binary(binary) => binary.left.depth.max(binary.right.depth),
            ExprKind::Aggregate(aggregate) => {
                aggregate.expr.depth.max(aggregate.parameter.as_ref().map_or(0, |expr| expr.depth))
            }
            ExprKind::Call(_, arguments) => arguments.iter().map(|expr| expr.depth).max().unwrap_or(0),
        };
        Expr { kind, span, depth: depth + 1 }
    }

    /// How many expressions nest within it, itself included.
    #[must_use]
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// The type of its value.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::Text(_) => ValueType::String,
            ExprKind::Selector(_) | ExprKind::Aggregate(_) => ValueType::Vector,
            ExprKind::Matrix(..) | ExprKind::Subquery(_) => ValueType::Matrix,
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => inner.value_type(),
            ExprKind::Binary(binary) => match (binary.left.value_type(), binary.right.value_type()) {
                (ValueType::Scalar, ValueType::Scalar) => ValueType::Scalar,
                _ => ValueType::Vector,
            },
            ExprKind::Call(function, _) => function.returns,
        }
    }

    /// The expression within its brackets.
    #[must_use]
    pub fn unparen(&self) -> &Expr {
        let mut expr = self;
        while let ExprKind::Paren(inner) = &expr.kind {
            expr = inner;
        }
        expr
    }
}

impl DurationExpr {
    /// A duration at a place.
    #[must_use]
    pub fn new(kind: DurationKind, span: Span) -> DurationExpr {
        let depth = match &kind {
            DurationKind::Literal(_) | DurationKind::Step | DurationKind::Range => 0,
            DurationKind::Extreme(_, both) | DurationKind::Binary(_, both) => both.0.depth.max(both.1.depth),
            DurationKind::Negative(inner) | DurationKind::Paren(inner) => inner.depth,
        };
        DurationExpr { kind, span, depth: depth + 1 }
    }

    pub(super) fn depth(&self) -> u32 {
        self.depth
    }

    /// Its seconds, given those of the query's step and range.
    #[must_use]
    pub fn seconds(&self, step: f64, range: f64) -> f64 {
        match &self.kind {
            DurationKind::Literal(seconds) => seconds.value,
            DurationKind::Step => step,
            DurationKind::Range => range,
            DurationKind::Extreme(least, both) => {
                let (a, b) = (both.0.seconds(step, range), both.1.seconds(step, range));
                if *least { a.min(b) } else { a.max(b) }
            }
            DurationKind::Negative(inner) => -inner.seconds(step, range),
            DurationKind::Paren(inner) => inner.seconds(step, range),
            DurationKind::Binary(op, both) => {
                let (a, b) = (both.0.seconds(step, range), both.1.seconds(step, range));
                match op {
                    BinaryOp::Add => a + b,
                    BinaryOp::Sub => a - b,
                    BinaryOp::Mul => a * b,
                    BinaryOp::Div => a / b,
                    BinaryOp::Mod => a % b,
                    BinaryOp::Pow => a.powf(b),
                    // The parser makes no other.
                    _ => f64::NAN,
                }
            }
        }
    }
}

impl TimeShift {
    fn depth(&self) -> u32 {
        self.offset.as_ref().map_or(0, |offset| offset.depth)
    }
}
