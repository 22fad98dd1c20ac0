//! A query over as many lines as it needs: what fits one line stays on one.

use super::ast::{Expr, ExprKind};

/// The longest line, in characters, that is not broken where it can be.
const LINE_CHARS_MAX: usize = 100;
const INDENT: &str = "  ";

/// Writes a query so that a person reads it easily; it parses to an equal one.
///
/// ```
/// let expr = annals_query::promql::parse("sum  by(job)(rate( hits{ code=~'5..' }[300s]))")?;
/// assert_eq!(annals_query::promql::format(&expr), "sum by (job) (rate(hits{code=~\"5..\"}[5m]))");
/// # Ok::<(), annals_query::promql::PromqlError>(())
/// ```
#[must_use]
pub fn format(expr: &Expr) -> String {
    pretty(expr, 0)
}

/// An expression whose first line is indented by the caller.
fn pretty(expr: &Expr, depth: usize) -> String {
    let one_line = expr.to_string();
    if one_line.chars().count() + depth * INDENT.len() <= LINE_CHARS_MAX {
        return one_line;
    }
    let here = INDENT.repeat(depth);
    let deeper = INDENT.repeat(depth + 1);
    let arguments = |head: String, arguments: &[&Expr]| {
        let lines: Vec<String> =
            arguments.iter().map(|argument| format!("{deeper}{}", pretty(argument, depth + 1))).collect();
        format!("{head}(\n{}\n{here})", lines.join(",\n"))
    };
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Selector(_) | ExprKind::Matrix(..) => one_line,
        ExprKind::Paren(inner) => arguments(String::new(), &[inner]),
        ExprKind::Unary(negative, inner) => {
            format!("{}{}", if *negative { "-" } else { "+" }, pretty(inner, depth))
        }
        ExprKind::Call(function, list) if list.is_empty() => format!("{}()", function.name),
        ExprKind::Call(function, list) => {
            arguments(function.name.to_owned(), &list.iter().collect::<Vec<_>>())
        }
        ExprKind::Aggregate(aggregate) => {
            let list: Vec<&Expr> =
                aggregate.parameter.iter().chain(std::iter::once(&aggregate.expr)).collect();
            arguments(aggregate.head(), &list)
        }
        ExprKind::Binary(binary) => {
            let bool_word = if binary.return_bool { " bool" } else { "" };
            let (left, right) = (pretty(&binary.left, depth + 1), pretty(&binary.right, depth + 1));
            format!(
                "{INDENT}{left}\n{here}{}{bool_word}{}\n{deeper}{right}",
                binary.op.symbol(),
                binary.matching
            )
        }
        ExprKind::Subquery(subquery) => {
            let step = subquery.step.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("{}[{}:{step}]{}", pretty(&subquery.expr, depth), subquery.range, subquery.time)
        }
    }
}
