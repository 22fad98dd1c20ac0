//! The JSON of reports against the schema that is handed out with them.

use annals_query::report::{Report, ReportRequest, SCHEMA, Scope, Span};
use serde_json::Value;

use crate::common::{Memory, RICH, make, one_event, request, rich};

fn schema() -> Value {
    let path = format!("{}/../docs/report.schema.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).expect("the schema is there");
    serde_json::from_str(&text).expect("JSON")
}

/// What is wrong with a value. Understands the words that the schema uses, and no others.
fn faults(value: &Value, schema: &Value, root: &Value, at: &str, found: &mut Vec<String>) {
    let fault = |what: &str| format!("{at}: {what}");
    for (word, of) in schema.as_object().expect("a schema is an object") {
        match word.as_str() {
            "description" | "title" | "$schema" | "$id" | "$defs" | "required" => {}
            "$ref" => {
                let name = of.as_str().and_then(|name| name.strip_prefix("#/$defs/")).expect("a reference");
                faults(value, &root["$defs"][name], root, at, found);
                return;
            }
            "type" => {
                let is = match of.as_str().expect("a type") {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "integer" => value.is_u64() || value.is_i64(),
                    "number" => value.is_number(),
                    "boolean" => value.is_boolean(),
                    "null" => value.is_null(),
                    other => panic!("an unknown type {other}"),
                };
                if !is {
                    found.push(fault(&format!("{value} is no {of}")));
                }
            }
            "const" if value != of => found.push(fault(&format!("{value} is not {of}"))),
            "enum" if !of.as_array().expect("values").contains(value) => {
                found.push(fault(&format!("{value} is not in {of}")));
            }
            "minimum" if value.as_f64() < of.as_f64() => found.push(fault(&format!("{value} is too small"))),
            "minItems" if value.as_array().map(|items| items.len() as u64) < of.as_u64() => {
                found.push(fault("too short"));
            }
            "maxItems" if value.as_array().map(|items| items.len() as u64) > of.as_u64() => {
                found.push(fault("too long"));
            }
            "pattern" => {
                assert_eq!(of, "^[0-9a-f]{32}$", "the one pattern there is");
                let text = value.as_str().unwrap_or_default();
                if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
                {
                    found.push(fault(&format!("{value} does not match")));
                }
            }
            "const" | "enum" | "minimum" | "minItems" | "maxItems" => {}
            "anyOf" => {
                let any = of.as_array().expect("schemas").iter().any(|schema| {
                    let mut inner = Vec::new();
                    faults(value, schema, root, at, &mut inner);
                    inner.is_empty()
                });
                if !any {
                    found.push(fault(&format!("{value} fits none of several")));
                }
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    faults(item, of, root, &format!("{at}/{index}"), found);
                }
            }
            "properties" => {
                for (name, schema) in of.as_object().expect("properties") {
                    match value.get(name) {
                        Some(inner) => faults(inner, schema, root, &format!("{at}/{name}"), found),
                        None => found.push(format!("{at}: `{name}` is not there")),
                    }
                }
            }
            "additionalProperties" => {
                assert_eq!(of, &Value::Bool(false));
                for name in value.as_object().into_iter().flat_map(|object| object.keys()) {
                    if schema["properties"].get(name).is_none() {
                        found.push(format!("{at}: `{name}` is not in the schema"));
                    }
                }
            }
            other => panic!("an unknown word {other}"),
        }
    }
}

fn check(report: &Report) {
    let (schema, json) = (schema(), serde_json::from_str(&report.to_json()).expect("JSON"));
    let mut found = Vec::new();
    faults(&json, &schema, &schema, "", &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_report_is_what_the_schema_says() {
    for memory in [Memory::default(), one_event(), rich()] {
        for scope in [request(RICH).scope, Scope::Tenant] {
            for span in [Span::Day, Span::WEEK, Span::Month] {
                check(&make(&memory, &ReportRequest { span, scope: scope.clone(), ..request(RICH) }));
            }
        }
    }
}

#[test]
fn the_schema_is_of_this_version_and_notices_what_is_missing_or_more() {
    let schema = schema();
    assert_eq!(schema["properties"]["schema"]["const"], SCHEMA);
    let report: Value = serde_json::from_str(&make(&rich(), &request(RICH)).to_json()).expect("JSON");
    type Change = fn(&mut Value);
    let changes: [(&str, Change); 4] = [
        ("/mail", |json| _ = json["mail"].as_object_mut().expect("an object").remove("bad")),
        ("/mail", |json| json["mail"]["more"] = Value::Null),
        ("/traffic/requests", |json| json["traffic"]["requests"]["count"] = Value::from(-1)),
        ("/snapshot/id", |json| json["snapshot"]["id"] = Value::from("0")),
    ];
    for (place, change) in changes {
        let (mut changed, mut found) = (report.clone(), Vec::new());
        change(&mut changed);
        faults(&changed, &schema, &schema, "", &mut found);
        assert!(found.len() == 1 && found[0].starts_with(place), "{found:?}");
    }
}
