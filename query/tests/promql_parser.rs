//! What the parser takes, refuses and says; and that nothing it is given makes it panic.

use annals_query::promql::{ExprKind, FUNCTIONS, ValueType, parse};
use proptest::prelude::*;

fn message(text: &str) -> String {
    parse(text).expect_err(text).message
}

#[test]
fn errors_show_line_column_and_a_caret() {
    let shown = |text: &str| parse(text).expect_err(text).render(text);
    assert_eq!(
        shown("sum(rate(errors[5x]))"),
        "error: bad number or duration syntax: \"5x\"\n  at line 1, column 17\n    | sum(rate(errors[5x]))\n    \
         |                 ^^\n  hint: a duration is whole numbers with the units y, w, d, h, m, s, ms in that \
         order, as in 1h30m\n"
    );
    assert_eq!(
        shown("up{café=\"ü\"} +\n\t# a remark\n\trate(x)"),
        "error: unexpected character 'é'\n  at line 1, column 7\n    | up{café=\"ü\"} +\n    |       ^\n"
    );
    assert_eq!(
        shown("{job=\"ü\"} +\n\trate(x)"),
        "error: expected type range vector in call to function \"rate\", got instant vector\n  at line 2, column \
         7\n    | \trate(x)\n    | \t     ^\n"
    );
    assert_eq!(
        shown("{job=\"éé\"} and 1"),
        "error: set operator \"and\" not allowed in binary scalar expression\n  at line 1, column 12\n    | \
         {job=\"éé\"} and 1\n    |            ^^^\n"
    );
    assert_eq!(
        shown("foo and\n\nbar group_left"),
        "error: expected an operator or the end of the query, found `group_left`\n  at line 3, column 5\n    | bar \
         group_left\n    |     ^^^^^^^^^^\n"
    );
    assert_eq!(shown(""), "error: no expression found in input\n  at line 1, column 1\n    | \n    | ^\n");
}

#[test]
fn precedence_is_that_of_prometheus() {
    for (text, wanted) in [
        ("a + b * c", "(a + (b * c))"),
        ("a - b - c", "((a - b) - c)"),
        ("a ^ b ^ c", "(a ^ (b ^ c))"),
        ("-a ^ b", "(-(a ^ b))"),
        ("-a * b", "((-a) * b)"),
        ("a ^ -b * c", "((a ^ (-b)) * c)"),
        ("a or b and c unless d", "(a or ((b and c) unless d))"),
        ("a == b > c + d", "((a == b) > (c + d))"),
        ("a </ b + c", "(a </ (b + c))"),
        ("a * b atan2 c % d", "(((a * b) atan2 c) % d)"),
        ("-1 ^ 2", "(-(1 ^ 2))"),
    ] {
        assert_eq!(bracketed(&parse(text).expect(text).kind), wanted, "{text}");
    }
}

fn bracketed(kind: &ExprKind) -> String {
    match kind {
        ExprKind::Binary(b) => {
            format!("({} {} {})", bracketed(&b.left.kind), b.op.symbol(), bracketed(&b.right.kind))
        }
        ExprKind::Unary(negative, inner) => {
            format!("({}{})", if *negative { '-' } else { '+' }, bracketed(&inner.kind))
        }
        ExprKind::Selector(selector) => selector.name.clone().expect("a name"),
        ExprKind::Number(number) => number.value.to_string(),
        other => panic!("{other:?}"),
    }
}

/// Queries of every form that the grammar has.
const TAKEN: [&str; 78] = [
    "1_000 + 0x1F - 017",
    "5m",
    "-5m * 2",
    "+Inf",
    "- - - 1",
    "\"a\\n\\x41\\u00e9\"",
    "'it\\'s'",
    "`raw \\ text`",
    "foo",
    "foo:bar:baz",
    ":foo",
    "foo{}",
    "foo{a=\"b\",}",
    "foo{a=\"b\", a!=\"c\", d=~\"e.*\", f!~'g'}",
    "{\"utf8.name\", \"label name\"=\"x\"}",
    "{'foo.bar'}",
    "{__name__=~\".+\"}",
    "{inf=\"x\", nan=\"y\", by=\"z\"}",
    "sum",
    "sum + avg",
    "by{job=\"x\"}",
    "offset offset 5m",
    "start + end",
    "step{a=\"b\"}[5m] offset step()",
    "and and or or unless",
    "fill + fill(0) fill_left",
    "a + fill_left(-1) fill_right(Inf) b",
    "a + on(x) group_left(y) fill(5m) b",
    "foo offset -5m",
    "foo offset (5m * 2)",
    "foo offset -(step() + 1)",
    "foo offset min_of(step(), 1m) @ 5",
    "foo @ 1.5",
    "foo @ -1",
    "foo @ start()",
    "foo @ END() offset 1w",
    "foo[5m]",
    "foo[5m] @ 10 offset 1h",
    "foo[300]",
    "foo[5m + step() * 2 - range() / 3 % 4 ^ 2]",
    "foo[max_of(step(), 5m)]",
    "foo[-(-5m)]",
    "rate(foo[5m] anchored)",
    "rate(foo[5m] smoothed offset 5m)",
    "foo smoothed",
    "foo[5m:]",
    "foo[1h:5m] offset 1d @ end()",
    "rate(foo[5m])[1h:step()]",
    "(foo + bar)[5m:1m]",
    "(-foo)[5m:1m]",
    "foo != bool on(a) bar",
    "foo == bool bar",
    "foo > bool on(a, b) group_right(c) bar",
    "foo / on() bar",
    "foo / ignoring(a,) group_left bar",
    "foo AND ON (a) bar",
    "a </ 5 >/ 3",
    "foo atan2 bar",
    "sum(foo)",
    "sum by (a, \"b c\") (foo)",
    "SUM(foo) BY (job)",
    "sum without () (foo)",
    "sum by (sum, by, on, offset, bool, start) (foo)",
    "topk(5, foo)",
    "topk by (x) (scalar(k), foo)",
    "quantile(0.9, foo) without (x)",
    "count_values(\"v\", foo)",
    "limit_ratio(-0.5, foo)",
    "time()",
    "round(foo, 5)",
    "label_join(foo, \"a\", \",\", \"b\", \"c\", \"d\")",
    "label_join(foo, \"a\", \",\")",
    "info(foo, {data=~\".*\"})",
    "histogram_quantiles(foo, \"q\", 0.1, 0.5)",
    "minute()",
    "day_of_month(foo)",
    "max_of(1, step()) + MIN_OF(2, 3)",
    "foo # a remark\n + # another\n bar",
];

#[test]
fn every_form_of_the_grammar_parses_and_prints_to_the_same() {
    for text in TAKEN {
        let expr = parse(text).unwrap_or_else(|error| panic!("{}", error.render(text)));
        let printed = expr.to_string();
        let again = parse(&printed).unwrap_or_else(|error| panic!("{text}\n{}", error.render(&printed)));
        assert_eq!(expr, again, "{text} became {printed}");
    }
}

#[test]
fn what_prometheus_refuses_is_refused_with_its_reason() {
    for (text, reason) in [
        ("{}", "at least one non-empty matcher"),
        ("{a=\"\"}", "at least one non-empty matcher"),
        ("{a=~\".*\"}", "at least one non-empty matcher"),
        ("foo{__name__=\"bar\"}", "metric name must not be set twice: \"foo\" or \"bar\""),
        ("foo{\"bar\"}", "metric name must not be set twice"),
        ("{\"foo\", __name__=\"bar\"}", "metric name must not be set twice"),
        ("{__name__=\"bar\", \"foo\"}", "metric name must not be set twice"),
        ("{a=~\"(\"}", "invalid regular expression"),
        ("{1=\"a\"}", "expected a label name"),
        ("{a<\"b\"}", "expected a label matching operator"),
        ("1 == 2", "comparisons between scalars must use BOOL modifier"),
        ("1 and 2", "set operator \"and\" not allowed"),
        ("foo or 1", "set operator \"or\" not allowed"),
        ("foo + bool bar", "bool modifier can only be used on comparison operators"),
        ("foo + on(a) group_left(a) bar", "must not occur in ON and GROUP clause at once"),
        ("foo and on(a) group_left bar", "no grouping allowed for \"and\" operation"),
        ("foo and fill(0) bar", "filling in missing series not allowed"),
        ("foo + on(a) 1", "vector matching only allowed between instant vectors"),
        ("foo + group_left bar", "expected an expression"),
        ("foo + \"a\"", "must contain only scalar and instant vector types"),
        ("foo[5m] + 1", "must contain only scalar and instant vector types"),
        ("-foo[5m]", "unary expression only allowed on expressions of type scalar or instant vector"),
        ("-\"a\"", "unary expression only allowed"),
        ("rate(foo)", "expected type range vector in call to function \"rate\", got instant vector"),
        ("abs(foo[5m])", "expected type instant vector in call to function \"abs\", got range vector"),
        ("sum(1)", "expected type instant vector in aggregation expression, got scalar"),
        ("topk(foo, bar)", "expected type scalar in aggregation parameter"),
        ("count_values(1, bar)", "expected type string in aggregation parameter"),
        ("sum()", "no arguments for aggregate expression provided"),
        ("sum(a, b)", "expected 1, got 2"),
        ("topk(a)", "expected 2, got 1"),
        ("rate()", "expected 1 argument(s) in call to \"rate\", got 0"),
        ("round(a, 1, 2)", "expected at most 2 argument(s) in call to \"round\", got 3"),
        ("label_join(a, \"b\")", "expected at least 3 argument(s)"),
        ("rate(foo[5m],)", "trailing commas not allowed in function call args"),
        ("holt_winters(foo[5m], 1, 1)", "unknown function with name \"holt_winters\""),
        ("Rate(foo[5m])", "unknown function with name \"Rate\""),
        ("foo[0]", "duration must be greater than 0"),
        ("foo[-5m]", "duration must be greater than 0"),
        ("foo[5m:0s]", "duration must be greater than 0"),
        ("foo[1/0]", "division by zero"),
        ("foo[1%0]", "modulo by zero"),
        ("foo[Inf]", "duration out of range"),
        ("foo[NaN]", "duration out of range"),
        ("1[5m]", "ranges only allowed for vector selectors"),
        ("1[5m:]", "subquery is only allowed on instant vector, got scalar instead"),
        ("foo[5m][5m]", "ranges only allowed for vector selectors"),
        ("foo offset 5m[5m]", "no offset modifiers allowed before range"),
        ("foo @ 5[5m]", "no @ modifiers allowed before range"),
        ("foo offset 5m offset 5m", "offset may not be set multiple times"),
        ("foo @ 5 @ 5", "may not be set multiple times"),
        ("foo @ Inf", "timestamp out of bounds"),
        ("(foo) offset 5m", "offset modifier must be preceded by"),
        ("sum(foo) @ 5", "@ modifier must be preceded by"),
        ("foo[5m:] anchored", "anchored modifier is not supported for subqueries"),
        ("foo anchored smoothed", "cannot be used together"),
        ("deriv(foo[5m] smoothed)", "can only be used with: delta, increase, rate - not with deriv"),
        ("info(foo, bar)", "expected label selectors only"),
        ("foo bar", "expected an operator or the end of the query, found `bar`"),
        ("foo +", "found the end of the query"),
        ("on", "expected an expression, found `on`"),
        ("\"open", "unterminated string"),
        ("foo $ bar", "unexpected character '$'"),
        ("a ! b", "unexpected character '!'"),
    ] {
        let found = message(text);
        assert!(found.contains(reason), "{text}: {found}");
    }
}

#[test]
fn deep_nesting_is_an_error_and_not_the_end_of_the_stack() {
    let brackets = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));
    assert!(message(&brackets).contains("nests more than"));
    assert!(message(&"(".repeat(100_000)).contains("nests more than"));
    assert!(message(&"-".repeat(100_000)).contains("nests more than"));
    assert!(message(&format!("a{}", "+a".repeat(50_000))).contains("nests more than"));
    assert!(message(&format!("a{}", "^a".repeat(50_000))).contains("nests more than"));
    assert!(message(&"sum(".repeat(50_000)).contains("nests more than"));
    assert!(message(&format!("a[{}", "(".repeat(50_000))).contains("nests more than"));
    assert!(message(&format!("a[1{}]", "+1".repeat(50_000))).contains("nests more than"));
    assert!(message(&format!("a{}", "[5m:]".repeat(50_000))).contains("nests more than"));
    assert!(message(&"a".repeat(300_000)).contains("at most"));
    // What is allowed still has a chain of operators that somebody may write.
    assert!(parse(&format!("a{}", " or a".repeat(150))).is_ok());
}

#[test]
fn every_function_checks_the_number_of_its_arguments() {
    for function in &FUNCTIONS {
        let arguments = |count: usize| -> String {
            (0..count)
                .map(|index| match function.arguments.get(index).or(function.arguments.last()) {
                    Some(ValueType::Scalar) | None => "1",
                    Some(ValueType::String) => "\"a\"",
                    Some(ValueType::Matrix) => "a[5m]",
                    Some(ValueType::Vector) if function.name == "info" && index == 1 => "{b=\"c\"}",
                    Some(ValueType::Vector) => "a",
                })
                .collect::<Vec<_>>()
                .join(", ")
        };
        let call = |count: usize| parse(&format!("{}({})", function.name, arguments(count)));
        assert!(call(function.arguments_min).is_ok(), "{}", function.name);
        if function.arguments_min > 0 {
            assert!(call(function.arguments_min - 1).is_err(), "{}", function.name);
        }
        if function.arguments_max < 20 {
            assert!(call(function.arguments_max).is_ok(), "{}", function.name);
            assert!(call(function.arguments_max + 1).is_err(), "{}", function.name);
        }
    }
}

/// Everything that can stand in a query, and some that cannot.
const SOUP: [&str; 70] = [
    "foo",
    "bar:baz",
    "sum",
    "topk",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "offset",
    "@",
    "start()",
    "end()",
    "step()",
    "range()",
    "min_of",
    "max_of",
    "anchored",
    "smoothed",
    "fill",
    "fill_left",
    "(",
    ")",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "=",
    "==",
    "!=",
    "=~",
    "!~",
    "<",
    "<=",
    "</",
    ">",
    ">=",
    ">/",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "atan2",
    "and",
    "or",
    "unless",
    "1",
    "0x1f",
    "5m",
    "1e3",
    "Inf",
    "NaN",
    "\"a\"",
    "'b'",
    "`c`",
    "rate",
    "abs",
    "[5m]",
    "[5m:1m]",
    "{a=\"b\"}",
    "#",
    "é",
];

/// A query that parses more often than not.
fn query() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        Just("1".to_owned()),
        Just("-2.5".to_owned()),
        Just("Inf".to_owned()),
        Just("NaN".to_owned()),
        Just("5m".to_owned()),
        any::<f64>().prop_map(|value| format!("{value:e}")),
    ];
    let selector = prop_oneof![
        Just("foo".to_owned()),
        Just("bar{a=\"b\\n\", c!~'d.*'}".to_owned()),
        Just("{\"x y\", \"l m\"=~\"z\"}".to_owned()),
        Just("foo @ 5 offset -1m".to_owned()),
        Just("foo offset -(step() * 2 ^ -1)".to_owned()),
        Just("by smoothed".to_owned()),
        "\\PC{0,4}".prop_map(|value| format!("foo{{a={value:?}}}")),
    ];
    let matrix = prop_oneof![
        Just("foo[5m]".to_owned()),
        Just("foo{a=\"b\"}[1h30m + step()] offset 5m @ end()".to_owned()),
        Just("foo[0.0005]".to_owned()),
    ];
    let leaf = prop_oneof![selector, matrix.prop_map(|matrix| format!("rate({matrix})"))];
    let vector = leaf.prop_recursive(5, 40, 3, move |inner| {
        let two = (inner.clone(), inner.clone());
        prop_oneof![
            (two.clone(), prop::sample::select(vec!["+", "-", "*", "/", "^", "atan2", "</"]))
                .prop_map(|((a, b), op)| format!("{a} {op} {b}")),
            (two.clone(), prop::sample::select(vec!["and", "or", "unless on (a)", "OR ignoring(b)"]))
                .prop_map(|((a, b), op)| format!("{a} {op} {b}")),
            (
                two,
                prop::sample::select(vec!["> bool", "==", "<= on(a, \"b c\") group_left(d) fill_right(-1)"])
            )
                .prop_map(|((a, b), op)| format!("{a} {op} {b}")),
            (inner.clone(), number.clone()).prop_map(|(a, n)| format!("{n} * {a}")),
            inner.clone().prop_map(|a| format!("-{a}")),
            inner.clone().prop_map(|a| format!("({a})")),
            inner.clone().prop_map(|a| format!("sum without (x) ({a})")),
            inner.clone().prop_map(|a| format!("topk(3, {a}) by (y)")),
            inner.clone().prop_map(|a| format!("max_over_time(({a})[5m:1m] offset 1h)")),
            inner.prop_map(|a| format!("label_replace({a}, \"a\", `$1`, 'b', \"(.*)\")")),
        ]
    });
    vector.boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_parses_to_the_same(text in query()) {
        if let Ok(expr) = parse(&text) {
            let printed = expr.to_string();
            let again = parse(&printed);
            prop_assert_eq!(Ok(expr), again, "{} became {}", text, printed);
        }
    }

    #[test]
    fn most_generated_queries_parse(texts in prop::collection::vec(query(), 40)) {
        prop_assert!(texts.iter().filter(|text| parse(text).is_ok()).count() > 20);
    }

    #[test]
    fn soups_of_tokens_are_parsed_or_refused(words in prop::collection::vec(prop::sample::select(SOUP.to_vec()), 0..25)) {
        for text in [words.join(" "), words.join("")] {
            match parse(&text) {
                Ok(expr) => {
                    let printed = expr.to_string();
                    prop_assert_eq!(Ok(expr), parse(&printed), "{} became {}", text, printed);
                }
                Err(error) => {
                    prop_assert!(error.span.start <= error.span.end);
                    prop_assert!(error.render(&text).contains('^'));
                }
            }
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(text in "\\PC{0,60}", tail in prop::collection::vec(any::<char>(), 0..20)) {
        let text: String = text.chars().chain(tail).collect();
        if let Err(error) = parse(&text) {
            prop_assert!(error.render(&text).contains('^'));
            prop_assert!(error.render("").contains('^'));
        }
    }
}
