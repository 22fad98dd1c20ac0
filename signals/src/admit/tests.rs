use super::*;
use crate::{builtin, decode_rows, derive, encode_rows};
use annals_model::Timestamp;
use proptest::prelude::*;

fn site() -> SiteName {
    SiteName::new("site-1").expect("valid")
}

fn admit(schema: &SignalSchema, signal: &Signal) -> Result<SignalRow, Refusal> {
    let (key, names, site) = (PseudonymKey::new(&[3; 32]), NameTable::new(), site());
    Admitter::new(schema, &key, &names, &site).admit(signal)
}

fn signal(kind: &str) -> Signal {
    Signal::new(kind, Timestamp(1_000))
}

fn request() -> Signal {
    signal("http.request").with("method", "GET").with("status", 200)
}

fn known(field: &str) -> Option<FieldRef> {
    Some(FieldRef::Known(field.into()))
}

#[test]
fn every_field_type_takes_what_it_is_for() {
    let schema = builtin();
    let key = PseudonymKey::new(&[3; 32]);
    let full = request().with("client", "10.0.0.1").with("route", "/blog/:rest").with("bytes", 12);
    let row = admit(&schema, &full.with("duration", 7)).expect("admitted");
    assert_eq!(row.site, site());
    assert_eq!(row.time, Timestamp(1_000));
    assert_eq!(
        row.fields,
        [
            Some(FieldValue::Name("GET".into())),
            Some(FieldValue::Integer(200)),
            Some(FieldValue::Name("/blog/:rest".into())),
            Some(FieldValue::Integer(7)),
            Some(FieldValue::Integer(12)),
            Some(FieldValue::Pseudonym(key.pseudonym("10.0.0.1"))),
        ]
    );
    let edit = signal("file.edited")
        .with("area", "plugin")
        .with("size", -812)
        .with("flags", SignalValue::Flags(vec!["removed".into(), "executable".into(), "removed".into()]));
    let row = admit(&schema, &edit).expect("admitted");
    assert_eq!(row.fields[1..], [Some(FieldValue::Integer(-812)), Some(FieldValue::Flags(0b1001)), None]);
    let change = SignalValue::Change { before: "a".into(), after: "Früher".into() };
    let row = admit(&schema, &signal("config.changed").with("option", "home").with("change", change));
    assert_eq!(
        row.expect("admitted").fields[1],
        Some(FieldValue::Change { before: key.pseudonym("a"), after: key.pseudonym("Früher") })
    );
}

#[test]
fn the_same_text_is_one_pseudonym_in_every_field_and_kind() {
    let schema = builtin();
    let attempt = signal("auth.attempt").with("result", "failure").with("method", "password");
    let attempt = admit(&schema, &attempt.with("user", "ann").with("client", "ann")).expect("admitted");
    let edit =
        admit(&schema, &signal("file.edited").with("area", "core").with("actor", "ann")).expect("admitted");
    assert_eq!(attempt.fields[2], attempt.fields[3]);
    assert_eq!(attempt.fields[2], edit.fields[3]);
}

#[test]
fn each_fault_has_its_reason_and_place() {
    use RefusalReason::*;
    let long = "x".repeat(65);
    let cases: Vec<(Signal, RefusalReason, Option<FieldRef>)> = vec![
        (signal("no.such"), UnknownKind, None),
        (signal(""), UnknownKind, None),
        (request().with("agent", "x"), UnknownField, Some(FieldRef::Position(2))),
        (signal("http.request").with("status", 200), MissingField, known("method")),
        (signal("http.request"), MissingField, known("method")),
        (request().with("status", 200), RepeatedField, known("status")),
        (signal("http.request").with("method", 1), WrongType, known("method")),
        (signal("http.request").with("method", "GET").with("status", "200"), WrongType, known("status")),
        (request().with("client", 1), WrongType, known("client")),
        (request().with("route", SignalValue::Flags(vec![])), WrongType, known("route")),
        (signal("config.changed").with("option", "a").with("change", "text"), WrongType, known("change")),
        (signal("file.edited").with("area", "core").with("flags", "new"), WrongType, known("flags")),
        (signal("http.request").with("method", "GET").with("status", 99), OutOfBounds, known("status")),
        (signal("http.request").with("method", "GET").with("status", 600), OutOfBounds, known("status")),
        (request().with("bytes", -1), OutOfBounds, known("bytes")),
        (request().with("bytes", i64::MAX), OutOfBounds, known("bytes")),
        (request().with("duration", -1), OutOfBounds, known("duration")),
        (request().with("duration", 86_400_001), OutOfBounds, known("duration")),
        (request().with("route", long.as_str()), OutOfBounds, known("route")),
        (signal("http.request").with("method", "get"), NotAllowed, known("method")),
        (signal("http.request").with("method", "GET "), NotAllowed, known("method")),
        (request().with("route", ""), NotAllowed, known("route")),
        (request().with("route", "/Blog"), NotAllowed, known("route")),
        (request().with("route", "/blog?q=1"), NotAllowed, known("route")),
        (request().with("route", "/é"), NotAllowed, known("route")),
        (request().with("route", "/a\0"), NotAllowed, known("route")),
        (
            signal("file.edited").with("area", "core").with("flags", SignalValue::Flags(vec!["suid".into()])),
            NotAllowed,
            known("flags"),
        ),
    ];
    let schema = builtin();
    for (signal, reason, field) in cases {
        assert_eq!(admit(&schema, &signal), Err(Refusal { reason, field }), "{signal:?}");
    }
}

#[test]
fn names_past_the_cap_become_other_and_known_ones_stay() {
    let schema = crate::register(
        "[[kind]]\nname = \"a.b\"\n[[kind.field]]\nname = \"n\"\ntype = \"name\"\nbytes_max = 8\nvalues_max = 2",
    )
    .expect("valid");
    let (key, mut names, site) = (PseudonymKey::new(&[3; 32]), NameTable::new(), site());
    names.insert("a.b", "n", "old");
    let mut admitter = Admitter::new(&schema, &key, &names, &site);
    let mut stored =
        |name: &str| match admitter.admit(&signal("a.b").with("n", name)).expect("admitted").fields[0] {
            Some(FieldValue::Name(ref name)) => name.to_string(),
            _ => panic!("a name"),
        };
    let seen: Vec<String> =
        ["other", "x", "y", "x", "old", "z", "other"].into_iter().map(&mut stored).collect();
    assert_eq!(seen, ["other", "x", "other", "x", "old", "other", "other"]);
    let new = admitter.finish();
    assert_eq!(new.iter().collect::<Vec<_>>(), [("a.b", "n", "x")]);
    // Nothing counts before it is added: a batch that turns out to be a duplicate is dropped here.
    assert_eq!(names.len("a.b", "n"), 1);
    names.add(new);
    assert_eq!(names.len("a.b", "n"), 2);
}

#[test]
fn a_refused_signal_adds_no_name() {
    let (schema, key, names, site) = (builtin(), PseudonymKey::new(&[3; 32]), NameTable::new(), site());
    let mut admitter = Admitter::new(&schema, &key, &names, &site);
    assert!(admitter.admit(&signal("wp.cron").with("hook", "purge")).is_err());
    assert!(admitter.admit(&request().with("route", "/a").with("bytes", "free text")).is_err());
    assert!(admitter.finish().is_empty());
}

/// Texts of all sorts around a marker that no schema knows.
fn planted() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("Marker".to_owned()),
        "[a-z/]{0,4}Marker[a-z]{0,4}",
        "\\PC{0,6}Marker\\PC{0,6}",
        Just("marker@example.com".to_owned()),
        Just("secret marker".to_owned()),
    ]
}

fn planted_value() -> impl Strategy<Value = SignalValue> {
    prop_oneof![
        4 => planted().prop_map(|text| SignalValue::Text(text.into())),
        1 => any::<i64>().prop_map(SignalValue::Integer),
        1 => prop::collection::vec(planted().prop_map(Arc::from), 0..3).prop_map(SignalValue::Flags),
        1 => (planted(), planted())
            .prop_map(|(before, after)| SignalValue::Change { before: before.into(), after: after.into() }),
    ]
}

/// A signal that may be valid but for what is planted in it.
fn planted_signal() -> impl Strategy<Value = Signal> {
    let base = prop_oneof![
        Just(request()),
        Just(signal("auth.attempt").with("result", "failure").with("method", "key")),
        Just(signal("config.changed").with("option", "home")),
        Just(signal("file.edited").with("area", "core")),
        Just(signal("error.raised").with("severity", "fatal")),
        planted().prop_map(|kind| signal(&kind)),
    ];
    let field = prop_oneof![
        8 => prop::sample::select(vec!["client", "route", "user", "actor", "change", "digest", "flags", "method"])
            .prop_map(str::to_owned),
        1 => planted(),
    ];
    (base, prop::collection::vec((field, planted_value()), 0..4)).prop_map(|(mut signal, fields)| {
        signal.fields.extend(fields.into_iter().map(|(name, value)| (name.into(), value)));
        signal
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_planted_text_outlives_admission(signals in prop::collection::vec(planted_signal(), 1..8)) {
        let schema = builtin();
        let (key, mut names, site) = (PseudonymKey::new(&[3; 32]), NameTable::new(), site());
        let mut admitter = Admitter::new(&schema, &key, &names, &site);
        let (mut rows, mut kept) = (Vec::new(), String::new());
        for signal in &signals {
            match admitter.admit(signal) {
                Ok(row) => rows.push(row),
                Err(refusal) => kept += &format!("{refusal} {refusal:?}"),
            }
        }
        names.add(admitter.finish());
        let mut bytes = Vec::new();
        encode_rows(&schema, &rows, &mut bytes);
        prop_assert_eq!(&decode_rows(&schema, &bytes).expect("round trip"), &rows);
        kept += &format!("{rows:?} {:?} {names:?} {:?}", derive(&schema, &site, &rows), String::from_utf8_lossy(&bytes));
        prop_assert!(!kept.to_lowercase().contains("marker"), "{}", kept);
    }
}
