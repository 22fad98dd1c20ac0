use super::*;
use annals_model::schema::{FieldType, MetricSchema};
use proptest::prelude::*;

fn error(text: &str) -> String {
    register(text).expect_err("refused").to_string()
}

/// A kind `a.b` with more lines.
fn kind(lines: &str) -> String {
    format!("[[kind]]\nname = \"a.b\"\n{lines}")
}

/// A kind `a.b` with field `f` of these keys, from line 5 on.
fn field(keys: &str) -> String {
    kind(&format!("[[kind.field]]\nname = \"f\"\n{keys}"))
}

const FIELDS: &str = r#"field = [
  { name = "e", type = "enumeration", values = ["x"] },
  { name = "d", type = "duration", max_ms = 10 },
  { name = "p", type = "pseudonym" },
  { name = "c", type = "change_digest" },
  { name = "i", type = "integer", min = 0, max = 1000 },
  { name = "s", type = "size_delta" },
  { name = "g", type = "flags", values = ["x"] },
]
"#;

/// A kind with fields of several types and a metric of these keys, from line 15 on.
fn metric(keys: &str) -> String {
    kind(&format!("{FIELDS}[[kind.metric]]\nname = \"m\"\n{keys}"))
}

#[test]
fn an_empty_file_gives_the_builtin_kinds() {
    assert_eq!(register("").expect("valid"), builtin());
    assert_eq!(register("# nothing\n").expect("valid"), builtin());
}

#[test]
fn all_types_become_what_they_say() {
    let schema =
        register(&metric("type = \"durations\"\nlabels = [\"e\"]\nfield = \"d\"\nbounds_ms = [1, 5]"))
            .expect("valid");
    let kind = schema.kind("a.b").expect("registered");
    let types: Vec<&FieldType> = kind.fields.iter().map(|field| &field.field_type).collect();
    assert_eq!(*types[1], FieldType::Duration { max_ms: 10 });
    assert_eq!(*types[4], FieldType::Integer { min: 0, max: 1000 });
    assert_eq!(*types[6], FieldType::Flags(vec!["x".into()]));
    let metric =
        MetricSchema::Durations { name: "m".into(), labels: vec![0], field: 1, bounds_ms: vec![1, 5] };
    assert_eq!(kind.metrics, [metric]);
    assert_eq!(schema.kinds.len(), builtin().kinds.len() + 1);
}

#[test]
fn faults_in_fields_name_line_kind_field_and_key() {
    let place = "kind `a.b`, field `f`";
    for (keys, expected) in [
        (
            "type = \"text\"",
            format!("line 5, {place}, key `type`: no such type; use one of enumeration, integer"),
        ),
        (
            "type = \"name\"\nbytes_max = 8",
            format!("line 5, {place}, key `values_max`: type `name` needs this key"),
        ),
        ("type = \"integer\"\nmin = 2\nmax = 1", format!("line 6, {place}, key `min`: `min` is above `max`")),
        ("type = \"integer\"\nmin = 2", format!("line 5, {place}, key `max`: type `integer` needs")),
        (
            "type = \"pseudonym\"\nmin = 2",
            format!("line 6, {place}, key `min`: type `pseudonym` has no such key"),
        ),
        (
            "type = \"integer\"\nmin = 1\nmax = 2\nvalues = [\"x\"]",
            format!("line 8, {place}, key `values`: type `integer` has no"),
        ),
        ("type = \"enumeration\"\nvalues = []", format!("line 6, {place}, key `values`: the list is empty")),
        (
            "type = \"enumeration\"\nvalues = [\"a\",\n\"a\"]",
            format!("line 7, {place}, key `values`: the name is taken"),
        ),
        ("type = \"flags\"\nvalues = [\"a b\"]", format!("line 6, {place}, key `values`: not a valid name")),
        ("type = \"duration\"\nmax_ms = 0", format!("line 6, {place}, key `max_ms`: must be from 1 to")),
        (
            "type = \"name\"\nbytes_max = 129\nvalues_max = 1",
            format!("line 6, {place}, key `bytes_max`: must be from 1 to 128"),
        ),
        (
            "type = \"name\"\nbytes_max = 9\nvalues_max = 10001",
            format!("line 7, {place}, key `values_max`: must be from 1 to 10000"),
        ),
        (
            "type = \"pseudonym\"\n[[kind.field]]\nname = \"f\"\ntype = \"pseudonym\"",
            format!("line 7, {place}, key `name`: the name is taken by an earlier field"),
        ),
    ] {
        let error = error(&field(keys));
        assert!(error.starts_with(&format!("schema file, {expected}")), "{keys}\n{error}\n{expected}");
    }
}

#[test]
fn faults_in_metrics_name_line_kind_metric_and_key() {
    let place = "kind `a.b`, metric `m`";
    let label = |label: &str| format!("type = \"count\"\nlabels = [\"{label}\"]");
    for (keys, expected) in [
        (
            "type = \"gauge\"".to_owned(),
            format!("line 14, {place}, key `type`: no such type; use one of count, dur"),
        ),
        (label("no"), format!("line 15, {place}, key `labels`: the kind has no such field")),
        (
            label("p"),
            format!(
                "line 15, {place}, key `labels`: a field of type `pseudonym` may not become a label: keyed"
            ),
        ),
        (
            label("c"),
            format!("line 15, {place}, key `labels`: a field of type `change_digest` may not become a label"),
        ),
        (label("d"), format!("line 15, {place}, key `labels`: a field of type `duration` may not")),
        (label("s"), format!("line 15, {place}, key `labels`: a field of type `size_delta` may not")),
        (label("g"), format!("line 15, {place}, key `labels`: a field of type `flags` may not")),
        (
            label("i"),
            format!(
                "line 15, {place}, key `labels`: a field of type `integer` may not become a label: its bounds"
            ),
        ),
        (label("e\", \"e"), format!("line 15, {place}, key `labels`: the name is taken by an earlier label")),
        (
            "type = \"count\"\nfield = \"d\"".into(),
            format!("line 15, {place}, key `field`: type `count` has no"),
        ),
        (
            "type = \"durations\"\nfield = \"e\"\nbounds_ms = [1]".into(),
            format!("line 15, {place}, key `field`: the field is of type `enumeration`; a durations"),
        ),
        (
            "type = \"durations\"\nfield = \"d\"".into(),
            format!("line 14, {place}, key `bounds_ms`: type `durations` needs"),
        ),
        (
            "type = \"durations\"\nfield = \"d\"\nbounds_ms = []".into(),
            format!("line 16, {place}, key `bounds_ms`: the list is empty"),
        ),
        (
            "type = \"durations\"\nfield = \"d\"\nbounds_ms = [5, 5]".into(),
            format!("line 16, {place}, key `bounds_ms`: bounds must ascend"),
        ),
        (
            "type = \"durations\"\nfield = \"d\"\nbounds_ms = [0]".into(),
            format!("line 16, {place}, key `bounds_ms`: must be from 1"),
        ),
    ] {
        let error = error(&metric(&keys));
        assert!(error.starts_with(&format!("schema file, {expected}")), "{keys}\n{error}\n{expected}");
    }
}

#[test]
fn names_that_are_taken_or_not_names_are_refused() {
    for bad in
        ["auth", "Auth.x", "a..b", ".a", "a.", "a.9", "a b.c", "é.x", "", &format!("a.{}", "b".repeat(63))]
    {
        let error = error(&format!("[[kind]]\nname = \"{bad}\""));
        assert!(error.contains("line 2, key `name`: not a valid name"), "{bad}: {error}");
        assert!(bad.is_empty() || !error.contains(bad) || bad.len() < 5, "{error}");
    }
    for taken in ["http.request", "file.edited"] {
        assert!(error(&format!("[[kind]]\nname = \"{taken}\"")).contains("taken by a built-in kind"));
    }
    assert!(error(&(kind("") + &kind(""))).contains("line 4, key `name`: the name is taken"));
    for bad in ["site", "le", "kind", "timestamp", "__name__", "_x", "9x", "a-b", "A"] {
        let text = kind(&format!("[[kind.field]]\nname = \"{bad}\"\ntype = \"pseudonym\""));
        assert!(error(&text).contains("line 4, kind `a.b`, key `name`: not a valid name"), "{bad}");
    }
    for bad in ["Up", "a:b", "a-b", "", "a_count", "a_bucket"] {
        let text = kind(&format!("[[kind.metric]]\nname = \"{bad}\"\ntype = \"count\""));
        assert!(error(&text).contains("not a valid name"), "{bad}");
    }
}

#[test]
fn a_metric_may_not_take_the_name_of_another_or_of_its_parts() {
    for taken in ["signals", "http_requests", "http_response_seconds", "mails"] {
        let text = kind(&format!("[[kind.metric]]\nname = \"{taken}\"\ntype = \"count\""));
        assert!(error(&text).contains("key `name`: the name is taken by another derived metric"), "{taken}");
    }
    let twice = metric("type = \"count\"")
        + "\n[[kind.metric]]\nname = \"m\"\ntype = \"durations\"\nfield = \"d\"\nbounds_ms = [1]";
    assert!(error(&twice).contains("line 16, kind `a.b`, metric `m`, key `name`: the name is taken"));
}

#[test]
fn what_toml_refuses_has_its_line_and_repeats_no_text_of_the_file() {
    let unknown = error(&kind("colour = 1"));
    assert!(unknown.starts_with("schema file, line 3: unknown field `colour`"), "{unknown}");
    assert!(error("x = 1").starts_with("schema file, line 1: unknown field `x`"));
    assert!(error("\n\n[[kind").starts_with("schema file, line 3"), "{}", error("\n\n[[kind"));
    assert!(error("[[kind]]\n").contains("missing field `name`"));
    assert!(error("[[kind]]\nname = 7").starts_with("schema file, line 2: invalid type"));
    assert!(!error("[[kind]]\nname = \"secret").contains("secret"));
}

#[test]
fn each_count_has_a_limit() {
    let fields = "[[kind.field]]\nname = \"f\"\ntype = \"pseudonym\"\n".repeat(33);
    assert!(error(&kind(&fields)).contains("kind `a.b`: 33 fields, at most 32 are allowed"));
    let metrics = "[[kind.metric]]\nname = \"f\"\ntype = \"count\"\n".repeat(17);
    assert!(error(&kind(&metrics)).contains("17 metrics, at most 16"));
    let kinds: String = (0..122).map(|i| format!("[[kind]]\nname = \"k.k{i}\"\n")).collect();
    assert!(error(&kinds).contains("129 kinds, at most 128"));
    let values: String = (0..65).map(|i| format!("\"v{i}\",")).collect();
    assert!(
        error(&field(&format!("type = \"flags\"\nvalues = [{values}]"))).contains("65 values, at most 64")
    );
    assert!(error(&" ".repeat(300_000)).contains("300000 bytes, at most"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_file_panics(text in "(\\[\\[kind(\\.field|\\.metric)?\\]\\]\n|[a-z_]{1,8} ?= ?|\"[a-z.]{0,6}\"|[0-9-]{1,20}|\n|\\PC){0,30}") {
        let _ = register(&text).map_err(|error| error.to_string());
    }
}
