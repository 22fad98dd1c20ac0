//! An expression back to text that parses to an equal one.
//!
//! Brackets of the query are nodes, so operators print without any of their own.

use std::fmt::{Display, Formatter, Result, Write};

use annals_model::{FloatForm, format_float};

use super::ast::{
    Aggregate, At, Binary, DurationExpr, DurationKind, Expr, ExprKind, Extended, Matching, Number, Selector,
    TimeShift,
};
use super::lexer::UNITS;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.kind {
            ExprKind::Number(number) => number.fmt(f),
            ExprKind::Text(text) => quote(f, text),
            ExprKind::Selector(selector) => {
                write_matchers(f, selector)?;
                write_modifiers(f, selector)
            }
            ExprKind::Matrix(selector, range) => {
                write_matchers(f, selector)?;
                write!(f, "[{range}]")?;
                write_modifiers(f, selector)
            }
            ExprKind::Subquery(subquery) => {
                write!(f, "{}[{}:", subquery.expr, subquery.range)?;
                if let Some(step) = &subquery.step {
                    step.fmt(f)?;
                }
                write!(f, "]{}", subquery.time)
            }
            ExprKind::Paren(inner) => write!(f, "({inner})"),
            ExprKind::Unary(negative, inner) => write!(f, "{}{inner}", if *negative { "-" } else { "+" }),
            ExprKind::Binary(binary) => binary.fmt(f),
            ExprKind::Aggregate(aggregate) => aggregate.fmt(f),
            ExprKind::Call(function, arguments) => {
                write!(f, "{}(", function.name)?;
                for (index, argument) in arguments.iter().enumerate() {
                    write!(f, "{}{argument}", if index == 0 { "" } else { ", " })?;
                }
                f.write_char(')')
            }
        }
    }
}

impl Display for Number {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if self.duration {
            return write_duration(f, self.value);
        }
        write_number(f, self.value)
    }
}

fn write_number(f: &mut Formatter<'_>, value: f64) -> Result {
    // A sign before `Inf` would be an operator of its own.
    f.write_str(format_float(value, FloatForm::Reply).trim_start_matches('+'))
}

impl Display for Binary {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{} {}", self.left, self.op.symbol())?;
        if self.return_bool {
            f.write_str(" bool")?;
        }
        write!(f, "{} {}", self.matching, self.right)
    }
}

impl Display for Matching {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        if let Some((on, labels)) = &self.labels {
            f.write_str(if *on { " on " } else { " ignoring " })?;
            write_labels(f, labels)?;
        }
        if let Some(group) = &self.group {
            f.write_str(if group.many_left { " group_left " } else { " group_right " })?;
            write_labels(f, &group.include)?;
        }
        for (word, value) in [("fill_left", &self.fill_left), ("fill_right", &self.fill_right)] {
            if let Some(value) = value {
                write!(f, " {word}({value})")?;
            }
        }
        Ok(())
    }
}

impl Aggregate {
    /// Operator and grouping, up to the bracket.
    pub(super) fn head(&self) -> String {
        struct Head<'a>(&'a Aggregate);
        impl Display for Head<'_> {
            fn fmt(&self, f: &mut Formatter<'_>) -> Result {
                f.write_str(self.0.op.name())?;
                if self.0.grouped {
                    f.write_str(if self.0.without { " without " } else { " by " })?;
                    write_labels(f, &self.0.grouping)?;
                    f.write_char(' ')?;
                }
                Ok(())
            }
        }
        Head(self).to_string()
    }
}

impl Display for Aggregate {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.write_str(&self.head())?;
        match &self.parameter {
            Some(parameter) => write!(f, "({parameter}, {})", self.expr),
            None => write!(f, "({})", self.expr),
        }
    }
}

impl Display for TimeShift {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self.at {
            None => {}
            Some(At::Start) => f.write_str(" @ start()")?,
            Some(At::End) => f.write_str(" @ end()")?,
            Some(At::Time(ms)) => {
                let sign = if ms < 0 { "-" } else { "" };
                write!(f, " @ {sign}{}.{:03}", ms.unsigned_abs() / 1000, ms.unsigned_abs() % 1000)?;
            }
        }
        match &self.offset {
            None => Ok(()),
            // After `offset` stands no arithmetic without brackets, and the parser makes none.
            Some(offset) => write!(f, " offset {offset}"),
        }
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.kind {
            DurationKind::Literal(seconds) => seconds.fmt(f),
            DurationKind::Step => f.write_str("step()"),
            DurationKind::Range => f.write_str("range()"),
            DurationKind::Extreme(least, both) => {
                write!(f, "{}({}, {})", if *least { "min_of" } else { "max_of" }, both.0, both.1)
            }
            DurationKind::Negative(inner) => write!(f, "-{inner}"),
            DurationKind::Binary(op, both) => write!(f, "{} {} {}", both.0, op.symbol(), both.1),
            DurationKind::Paren(inner) => write!(f, "({inner})"),
        }
    }
}

/// With units where whole milliseconds say it, otherwise as seconds.
fn write_duration(f: &mut Formatter<'_>, seconds: f64) -> Result {
    let ms = (seconds.abs() * 1000.0).round();
    if ms / 1000.0 != seconds.abs() || ms >= 9e15 || seconds == 0.0 {
        return write_number(f, seconds);
    }
    if seconds < 0.0 {
        f.write_char('-')?;
    }
    let mut rest = ms as i64;
    for (unit, unit_ms) in UNITS {
        // A year is no calendar's year: `365d` is clearer than `1y`, and 1w than 7d only where it is whole.
        if rest >= unit_ms && (unit_ms <= 86_400_000 || rest % unit_ms == 0) {
            write!(f, "{}{unit}", rest / unit_ms)?;
            rest %= unit_ms;
        }
    }
    Ok(())
}

fn write_modifiers(f: &mut Formatter<'_>, selector: &Selector) -> Result {
    match selector.extended {
        None => {}
        Some(Extended::Anchored) => f.write_str(" anchored")?,
        Some(Extended::Smoothed) => f.write_str(" smoothed")?,
    }
    selector.time.fmt(f)
}

fn write_matchers(f: &mut Formatter<'_>, selector: &Selector) -> Result {
    f.write_str(selector.name.as_deref().unwrap_or_default())?;
    let mut separator = "{";
    let shown = selector.matchers.len() - usize::from(selector.name.is_some());
    for matcher in selector.matchers.iter().take(shown) {
        let matcher = &matcher.item;
        f.write_str(separator)?;
        write_label(f, matcher.name())?;
        write!(f, "{}", matcher.op())?;
        quote(f, matcher.value())?;
        separator = ", ";
    }
    match (separator, &selector.name) {
        ("{", None) => f.write_str("{}"),
        ("{", Some(_)) => Ok(()),
        _ => f.write_char('}'),
    }
}

fn write_labels(f: &mut Formatter<'_>, labels: &[String]) -> Result {
    f.write_char('(')?;
    for (index, label) in labels.iter().enumerate() {
        f.write_str(if index == 0 { "" } else { ", " })?;
        write_label(f, label)?;
    }
    f.write_char(')')
}

fn write_label(f: &mut Formatter<'_>, label: &str) -> Result {
    let plain = label
        .bytes()
        .enumerate()
        .all(|(at, b)| b == b'_' || b.is_ascii_alphabetic() || (at > 0 && b.is_ascii_digit()));
    // `inf` and `nan` are numbers outside of braces.
    let number = label.eq_ignore_ascii_case("inf") || label.eq_ignore_ascii_case("nan");
    if plain && !number { f.write_str(label) } else { quote(f, label) }
}

/// In double quotes, with the escapes that the lexer reads.
fn quote(f: &mut Formatter<'_>, text: &str) -> Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\U{:08x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
