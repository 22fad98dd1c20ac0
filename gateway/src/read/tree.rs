//! `parse_query`: the tree of a query, as pages that explain queries draw it.

use annals::query::promql::{
    At, Binary, DurationExpr, Expr, ExprKind, Extended, Selector, TimeShift, ValueType,
};
use annals::{FloatForm, MatchOp, format_float};
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::query::expression;
use crate::params::Params;
use crate::reply::{ApiError, success};

/// `parse_query`
pub(crate) async fn parse(params: Params) -> Result<Response, ApiError> {
    Ok(success(&node(&expression(&params)?.1)))
}

/// Milliseconds. What depends on the step and the range of a question is of none.
fn ms(duration: Option<&DurationExpr>) -> i64 {
    duration.map_or(0, |duration| (duration.seconds(0.0, 0.0) * 1e3) as i64)
}

fn node(expr: &Expr) -> Value {
    match &expr.kind {
        ExprKind::Number(number) => {
            json!({ "type": "numberLiteral", "val": format_float(number.value, FloatForm::Reply) })
        }
        ExprKind::Text(text) => json!({ "type": "stringLiteral", "val": text }),
        ExprKind::Selector(selector) => selected("vectorSelector", selector, None),
        ExprKind::Matrix(selector, range) => selected("matrixSelector", selector, Some(range)),
        ExprKind::Subquery(sub) => {
            let mut fields = Map::new();
            fields.insert("type".into(), "subquery".into());
            fields.insert("expr".into(), node(&sub.expr));
            fields.insert("range".into(), ms(Some(&sub.range)).into());
            fields.insert("step".into(), ms(sub.step.as_ref()).into());
            shift(&mut fields, &sub.time);
            Value::Object(fields)
        }
        ExprKind::Paren(inner) => json!({ "type": "parenExpr", "expr": node(inner) }),
        ExprKind::Unary(negative, inner) => {
            json!({ "type": "unaryExpr", "op": if *negative { "-" } else { "+" }, "expr": node(inner) })
        }
        ExprKind::Binary(binary) => operator(binary),
        ExprKind::Aggregate(aggregate) => json!({
            "type": "aggregation",
            "op": aggregate.op.name(),
            "expr": node(&aggregate.expr),
            "param": aggregate.parameter.as_ref().map(node),
            "grouping": aggregate.grouping,
            "without": aggregate.without,
        }),
        ExprKind::Call(function, arguments) => {
            let types: Vec<&str> = function.arguments.iter().map(|one| type_name(*one)).collect();
            let variadic = match function.arguments_max.checked_sub(function.arguments_min) {
                Some(0) | None => 0,
                Some(more) if function.arguments_max > function.arguments.len() => -i64::from(more > 0),
                Some(more) => i64::try_from(more).unwrap_or(-1),
            };
            json!({
                "type": "call",
                "func": {
                    "name": function.name,
                    "argTypes": types,
                    "variadic": variadic,
                    "returnType": type_name(function.returns),
                },
                "args": arguments.iter().map(node).collect::<Vec<_>>(),
            })
        }
    }
}

fn type_name(value: ValueType) -> &'static str {
    match value {
        ValueType::Scalar => "scalar",
        ValueType::String => "string",
        ValueType::Vector => "vector",
        ValueType::Matrix => "matrix",
    }
}

fn shift(fields: &mut Map<String, Value>, time: &TimeShift) {
    fields.insert("offset".into(), ms(time.offset.as_ref()).into());
    let (timestamp, bound) = match time.at {
        None => (Value::Null, Value::Null),
        Some(At::Time(at)) => (at.into(), Value::Null),
        Some(At::Start) => (Value::Null, "start".into()),
        Some(At::End) => (Value::Null, "end".into()),
    };
    fields.insert("timestamp".into(), timestamp);
    fields.insert("startOrEnd".into(), bound);
}

fn selected(kind: &str, selector: &Selector, range: Option<&DurationExpr>) -> Value {
    let matcher = |one: &annals::Matcher| {
        let op = match one.op() {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        };
        json!({ "name": one.name(), "value": one.value(), "type": op })
    };
    let matchers: Vec<Value> = selector.matchers.iter().map(|one| matcher(&one.item)).collect();
    let mut fields = Map::new();
    fields.insert("type".into(), kind.into());
    fields.insert("name".into(), selector.name.clone().unwrap_or_default().into());
    if let Some(range) = range {
        fields.insert("range".into(), ms(Some(range)).into());
    }
    fields.insert("matchers".into(), matchers.into());
    shift(&mut fields, &selector.time);
    fields.insert("anchored".into(), (selector.extended == Some(Extended::Anchored)).into());
    fields.insert("smoothed".into(), (selector.extended == Some(Extended::Smoothed)).into());
    Value::Object(fields)
}

fn operator(binary: &Binary) -> Value {
    let vectors =
        binary.left.value_type() == ValueType::Vector && binary.right.value_type() == ValueType::Vector;
    let matching = vectors.then(|| {
        let (on, labels) = binary.matching.labels.clone().unwrap_or_default();
        let card = match &binary.matching.group {
            _ if binary.op.is_set() => "many-to-many",
            None => "one-to-one",
            Some(group) if group.many_left => "many-to-one",
            Some(_) => "one-to-many",
        };
        let include = binary.matching.group.as_ref().map(|group| group.include.clone()).unwrap_or_default();
        json!({ "card": card, "labels": labels, "on": on, "include": include })
    });
    json!({
        "type": "binaryExpr",
        "op": binary.op.symbol(),
        "lhs": node(&binary.left),
        "rhs": node(&binary.right),
        "matching": matching,
        "bool": binary.return_bool,
    })
}
