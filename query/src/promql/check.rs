//! Types, as Prometheus checks them: once, when a query is parsed, children before parents.

use super::ast::{Aggregate, Binary, BinaryOp, Expr, ExprKind, Extended, Selector};
use super::error::PromqlError;
use super::signature::{ANCHORED, Function, SMOOTHED, ValueType};

/// Refuses a query whose parts do not fit together.
pub(super) fn check(expr: &Expr) -> Result<(), PromqlError> {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Text(_) => Ok(()),
        ExprKind::Selector(selector) => {
            if selector.extended == Some(Extended::Anchored) {
                return Err(PromqlError::new(expr.span, "anchored modifier can only be used with a range"));
            }
            check_selector(expr, selector)
        }
        ExprKind::Matrix(selector, _) => check_selector(expr, selector),
        ExprKind::Paren(inner) => check(inner),
        ExprKind::Unary(_, inner) => {
            check(inner)?;
            match inner.value_type() {
                ValueType::Scalar | ValueType::Vector => Ok(()),
                other => Err(PromqlError::new(
                    expr.span,
                    format!(
                        "unary expression only allowed on expressions of type scalar or instant vector, got {other}"
                    ),
                )),
            }
        }
        ExprKind::Subquery(subquery) => {
            check(&subquery.expr)?;
            match subquery.expr.value_type() {
                ValueType::Vector => Ok(()),
                other => Err(PromqlError::new(
                    expr.span,
                    format!("subquery is only allowed on instant vector, got {other} instead"),
                )),
            }
        }
        ExprKind::Binary(binary) => check_binary(expr, binary),
        ExprKind::Aggregate(aggregate) => check_aggregate(aggregate),
        ExprKind::Call(function, arguments) => check_call(expr, function, arguments),
    }
}

fn expect_type(expr: &Expr, wanted: ValueType, context: &str) -> Result<(), PromqlError> {
    check(expr)?;
    let found = expr.value_type();
    if found == wanted {
        return Ok(());
    }
    Err(PromqlError::new(expr.span, format!("expected type {wanted} in {context}, got {found}")))
}

fn check_selector(expr: &Expr, selector: &Selector) -> Result<(), PromqlError> {
    // All series at once is more often a typing error than a question.
    if selector.name.is_some() || selector.matchers.iter().any(|matcher| !matcher.item.matches_empty()) {
        return Ok(());
    }
    Err(PromqlError::new(expr.span, "vector selector must contain at least one non-empty matcher")
        .with_hint("for all series, write {__name__=~\".+\"}"))
}

fn check_binary(expr: &Expr, binary: &Binary) -> Result<(), PromqlError> {
    let Binary { op, left, right, return_bool, matching, op_span } = binary;
    check(left)?;
    check(right)?;
    let at_op = |message: String| Err(PromqlError::new(op_span.span, message));
    let types = (left.value_type(), right.value_type());
    if *return_bool && !op.is_comparison() {
        return at_op("bool modifier can only be used on comparison operators".to_owned());
    }
    for side in [left, right] {
        if !matches!(side.value_type(), ValueType::Scalar | ValueType::Vector) {
            return Err(PromqlError::new(
                side.span,
                "binary expression must contain only scalar and instant vector types",
            ));
        }
    }
    if types == (ValueType::Scalar, ValueType::Scalar) && op.is_comparison() && !return_bool {
        return at_op("comparisons between scalars must use BOOL modifier".to_owned());
    }
    if let (Some((true, on)), Some(group)) = (&matching.labels, &matching.group)
        && let Some(label) = on.iter().find(|label| group.include.contains(label))
    {
        return at_op(format!("label {label:?} must not occur in ON and GROUP clause at once"));
    }
    let filled = matching.fill_left.is_some() || matching.fill_right.is_some();
    if types != (ValueType::Vector, ValueType::Vector) {
        if op.is_set() {
            return at_op(format!("set operator {:?} not allowed in binary scalar expression", op.symbol()));
        }
        let labels = matching.labels.as_ref().is_some_and(|(_, labels)| !labels.is_empty());
        if labels || filled || matching.group.is_some() {
            return Err(PromqlError::new(expr.span, "vector matching only allowed between instant vectors"));
        }
    } else if op.is_set() {
        if matching.group.is_some() {
            return at_op(format!("no grouping allowed for {:?} operation", op.symbol()));
        }
        if filled {
            return at_op("filling in missing series not allowed for set operators".to_owned());
        }
    }
    if types == (ValueType::Scalar, ValueType::Scalar)
        && matches!(op, BinaryOp::TrimLower | BinaryOp::TrimUpper)
    {
        return at_op(format!("operator {:?} not allowed between scalars", op.symbol()));
    }
    Ok(())
}

fn check_aggregate(aggregate: &Aggregate) -> Result<(), PromqlError> {
    expect_type(&aggregate.expr, ValueType::Vector, "aggregation expression")?;
    match (&aggregate.parameter, aggregate.op.parameter()) {
        (Some(parameter), Some(wanted)) => expect_type(parameter, wanted, "aggregation parameter"),
        _ => Ok(()),
    }
}

fn check_call(expr: &Expr, function: &Function, arguments: &[Expr]) -> Result<(), PromqlError> {
    let (name, count) = (function.name, arguments.len());
    let wrong = |bound: String| {
        let message = format!("expected {bound} argument(s) in call to {name:?}, got {count}");
        Err(PromqlError::new(expr.span, message))
    };
    if function.arguments_min == function.arguments_max && count != function.arguments_min {
        return wrong(function.arguments_min.to_string());
    }
    if count < function.arguments_min {
        return wrong(format!("at least {}", function.arguments_min));
    }
    if count > function.arguments_max {
        return wrong(format!("at most {}", function.arguments_max));
    }
    for (index, argument) in arguments.iter().enumerate() {
        let Some(&wanted) = function.arguments.get(index).or(function.arguments.last()) else { break };
        if name == "info" && index == 1 {
            check_info_labels(argument)?;
            continue;
        }
        check_extended(function, argument)?;
        expect_type(argument, wanted, &format!("call to function {name:?}"))?;
    }
    Ok(())
}

/// The second argument of `info` selects labels, so it may select everything.
fn check_info_labels(argument: &Expr) -> Result<(), PromqlError> {
    match &argument.kind {
        ExprKind::Selector(selector) if selector.name.is_none() => Ok(()),
        ExprKind::Selector(_) => {
            Err(PromqlError::new(argument.span, "expected label selectors only, got vector selector instead"))
        }
        _ => Err(PromqlError::new(argument.span, "expected label selectors as the second argument of info")),
    }
}

fn check_extended(function: &Function, argument: &Expr) -> Result<(), PromqlError> {
    let ExprKind::Matrix(selector, _) = &argument.unparen().kind else { return Ok(()) };
    let (word, allowed): (&str, &[&str]) = match selector.extended {
        None => return Ok(()),
        Some(Extended::Anchored) => ("anchored", &ANCHORED),
        Some(Extended::Smoothed) => ("smoothed", &SMOOTHED),
    };
    if allowed.contains(&function.name) {
        return Ok(());
    }
    Err(PromqlError::new(
        argument.span,
        format!("{word} modifier can only be used with: {} - not with {}", allowed.join(", "), function.name),
    ))
}
