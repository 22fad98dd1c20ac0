//! The tree of a query: a line per part with its kind, its place and what the parser made of it.

use std::fmt::Write as _;

use super::ast::{Expr, ExprKind, Selector};
use super::error::Span;

/// Shows each part of an expression, indented by its depth, with lines and columns in `source`.
///
/// ```
/// let text = "sum(rate(hits[5m])) > 2";
/// let expr = annals_query::promql::parse(text)?;
/// assert_eq!(
///     annals_query::promql::tree(&expr, text),
///     "1:1-1:24  instant vector  operator `>`\n\
///      1:1-1:20  instant vector    aggregation `sum`\n\
///      1:5-1:19  instant vector      call `rate`\n\
///      1:10-1:18 range vector          window `hits[5m]`\n\
///      1:23-1:24 scalar            number `2`\n"
/// );
/// # Ok::<(), annals_query::promql::PromqlError>(())
/// ```
#[must_use]
pub fn tree(expr: &Expr, source: &str) -> String {
    let mut lines = Vec::new();
    visit(expr, 0, source, &mut lines);
    let width = lines.iter().map(|(place, ..)| place.len()).max().unwrap_or(0);
    lines.into_iter().fold(String::new(), |mut text, (place, kind, what)| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{place:width$} {kind:14}  {what}");
        text
    })
}

fn place(span: Span, source: &str) -> String {
    let (line, column) = span.line_and_column(source);
    let (end_line, end_column) = Span::new(span.end, span.end).line_and_column(source);
    format!("{line}:{column}-{end_line}:{end_column}")
}

fn visit(expr: &Expr, depth: usize, source: &str, lines: &mut Vec<(String, String, String)>) {
    lines.push((
        place(expr.span, source),
        expr.value_type().to_string(),
        format!("{}{}", "  ".repeat(depth), describe(expr)),
    ));
    each_inner(expr, &mut |inner| visit(inner, depth + 1, source, lines));
}

/// What a part is, without those within it.
pub(super) fn describe(expr: &Expr) -> String {
    match &expr.kind {
        ExprKind::Number(_) => format!("number `{expr}`"),
        ExprKind::Text(_) => format!("string `{expr}`"),
        ExprKind::Selector(_) => format!("selector `{expr}`"),
        ExprKind::Matrix(..) => format!("window `{expr}`"),
        ExprKind::Subquery(subquery) => {
            let step = subquery.step.as_ref().map(ToString::to_string).unwrap_or_default();
            format!("subquery `[{}:{step}]{}`", subquery.range, subquery.time)
        }
        ExprKind::Paren(_) => "brackets".to_owned(),
        ExprKind::Unary(negative, _) => format!("sign `{}`", if *negative { '-' } else { '+' }),
        ExprKind::Binary(binary) => {
            let bool_word = if binary.return_bool { " bool" } else { "" };
            format!("operator `{}{bool_word}{}`", binary.op.symbol(), binary.matching)
        }
        ExprKind::Aggregate(aggregate) => {
            let grouping = match (aggregate.grouped, aggregate.without) {
                (false, _) => String::new(),
                (true, false) => format!(" by ({})", aggregate.grouping.join(", ")),
                (true, true) => format!(" without ({})", aggregate.grouping.join(", ")),
            };
            format!("aggregation `{}{grouping}`", aggregate.op.name())
        }
        ExprKind::Call(function, _) => format!("call `{}`", function.name),
    }
}

/// All selectors of an expression, in their order.
#[must_use]
pub fn selectors(expr: &Expr) -> Vec<&Selector> {
    fn find<'e>(expr: &'e Expr, found: &mut Vec<&'e Selector>) {
        match &expr.kind {
            ExprKind::Selector(selector) | ExprKind::Matrix(selector, _) => found.push(selector),
            _ => each_inner(expr, &mut |inner| find(inner, found)),
        }
    }
    let mut found = Vec::new();
    find(expr, &mut found);
    found
}

/// Hands out the parts directly within a part.
pub(super) fn each_inner<'e>(expr: &'e Expr, inner: &mut dyn FnMut(&'e Expr)) {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) | ExprKind::Selector(_) | ExprKind::Matrix(..) => {}
        ExprKind::Subquery(subquery) => inner(&subquery.expr),
        ExprKind::Paren(expr) | ExprKind::Unary(_, expr) => inner(expr),
        ExprKind::Binary(binary) => {
            inner(&binary.left);
            inner(&binary.right);
        }
        ExprKind::Aggregate(aggregate) => {
            if let Some(parameter) = &aggregate.parameter {
                inner(parameter);
            }
            inner(&aggregate.expr);
        }
        ExprKind::Call(_, arguments) => arguments.iter().for_each(inner),
    }
}
