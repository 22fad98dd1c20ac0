use super::*;
use crate::{Admitter, NameTable, PseudonymKey, builtin};
use annals_model::{FieldValue, SiteName};
use proptest::prelude::*;

/// What becomes of one signal: `name=value ..` as it would be stored, or its refusal.
fn admitted(signal: &str) -> String {
    let schema = builtin();
    let batch = json_batch(&schema, format!("{{\"signals\":[{signal}]}}").as_bytes(), 10).expect("a batch");
    assert_eq!(batch.records(), 1, "{signal}");
    if let [(position, refusal)] = &*batch.all_refused(&[]) {
        assert_eq!(*position, 0);
        let line = JsonSignals::new(schema).line(signal.as_bytes());
        let expected =
            if signal.contains("\"kind\"") { Line::Refused(refusal.clone()) } else { Line::Unreadable };
        assert_eq!(line, expected, "{signal}");
        return refusal.to_string();
    }
    let line = JsonSignals::new(schema.clone()).line(signal.as_bytes());
    assert_eq!(line, Line::Signal(batch.signals[0].clone()), "a line is the same as a batch of one");
    let (key, names, site) =
        (PseudonymKey::new(&[5; 32]), NameTable::new(), SiteName::new("s").expect("valid"));
    match Admitter::new(&schema, &key, &names, &site).admit(&batch.signals[0]) {
        Err(refusal) => refusal.to_string(),
        Ok(row) => {
            let kind = schema.kind(&row.kind).expect("known");
            let text = |(field, value): (_, &Option<FieldValue>)| {
                let field: &annals_model::schema::FieldSchema = field;
                let text = field.field_type.text(value.as_ref()?);
                Some(format!("{}={}", field.name, if text.len() > 31 { "#" } else { &text }))
            };
            let fields: Vec<String> = kind.fields.iter().zip(&row.fields).filter_map(text).collect();
            format!("{} {} {}", row.kind, row.time.0, fields.join(" "))
        }
    }
}

#[test]
fn every_type_of_field_is_read_in_each_of_its_forms() {
    for (signal, expected) in [
        (
            r#"{"kind":"http.request","timestamp":7,"method":"GET","status":200,"route":"/a","duration":12,"bytes":5,"client":"\u00e9"}"#,
            "http.request 7 method=GET status=200 route=/a duration=12 bytes=5 client=#",
        ),
        (
            r#"{"duration":"1.5s","status":200,"method":"GET","timestamp":"2015-05-17T10:05:03.25+02:00","kind":"http.request"}"#,
            "http.request 1431849903250 method=GET status=200 duration=1500",
        ),
        (
            r#"{"kind":"http.request","timestamp":7,"method":"GET","status":200,"duration":"250us","route":null}"#,
            "http.request 7 method=GET status=200 duration=0",
        ),
        (
            r#"{"kind":"config.changed","timestamp":-7,"option":"siteurl","change":{"after":"b","before":""}}"#,
            "config.changed -7 option=siteurl change=#",
        ),
        (
            r#"{"kind":"file.edited","timestamp":7,"area":"plugin","size":-120,"flags":["new","executable"]}"#,
            "file.edited 7 area=plugin size=-120 flags=executable,new",
        ),
    ] {
        assert_eq!(admitted(signal), expected, "{signal}");
    }
}

#[test]
fn what_does_not_fit_is_refused_by_reason_and_field_without_a_word_of_it() {
    let mail = |rest: &str| format!(r#"{{"kind":"mail.sent","timestamp":7,"result":"sent"{rest}}}"#);
    let request =
        |rest: &str| format!(r#"{{"kind":"http.request","timestamp":7,"method":"GET","status":200,{rest}}}"#);
    for (signal, expected) in [
        (r#"{"timestamp":7}"#.to_owned(), "missing_field (field `kind`)"),
        (r#"{"kind":"mail.sent"}"#.to_owned(), "missing_field (field `timestamp`)"),
        (r#"{"kind":"secret","timestamp":7}"#.to_owned(), "unknown_kind"),
        (r#"{"kind":5,"timestamp":7}"#.to_owned(), "wrong_type (field `kind`)"),
        (r#"{"kind":"mail.sent","timestamp":7.5}"#.to_owned(), "wrong_type (field `timestamp`)"),
        (r#"{"kind":"mail.sent","timestamp":"yesterday"}"#.to_owned(), "wrong_type (field `timestamp`)"),
        (mail(r#","timestamp":8"#), "repeated_field (field `timestamp`)"),
        (mail(r#","result":"sent""#), "repeated_field (field `result`)"),
        (mail(r#","secret":"x""#), "unknown_field (field number 1)"),
        (mail(r#","site":"www""#), "unknown_field (field number 1)"),
        (mail(&r#","class":null"#.repeat(64)), "unknown_field (field number 64)"),
        (r#"{"kind":"mail.sent","timestamp":7}"#.to_owned(), "missing_field (field `result`)"),
        (
            r#"{"kind":"mail.sent","timestamp":7,"result":"secret"}"#.to_owned(),
            "not_allowed (field `result`)",
        ),
        (request(r#""duration":"soon""#), "wrong_type (field `duration`)"),
        (request(r#""duration":1.5"#), "wrong_type (field `duration`)"),
        (request(r#""duration":"-1s""#), "out_of_bounds (field `duration`)"),
        (request(r#""duration":"9000000h""#), "out_of_bounds (field `duration`)"),
        (request(r#""bytes":18446744073709551615"#), "out_of_bounds (field `bytes`)"),
        (request(r#""bytes":"5""#), "wrong_type (field `bytes`)"),
        (request(r#""client":5"#), "wrong_type (field `client`)"),
        (request(r#""client":["a"]"#), "wrong_type (field `client`)"),
        (request(r#""client":{"before":"a","after":"b"}"#), "wrong_type (field `client`)"),
        (request(r#""route":true"#), "wrong_type (field `route`)"),
        ("5".to_owned(), "wrong_type"),
        ("[[1,{}],\"a\"]".to_owned(), "wrong_type"),
        ("\"text\"".to_owned(), "wrong_type"),
        ("null".to_owned(), "wrong_type"),
    ] {
        assert_eq!(admitted(&signal), expected, "{signal}");
    }
    let change = |change: &str| {
        admitted(&format!(r#"{{"kind":"config.changed","timestamp":7,"option":"a","change":{change}}}"#))
    };
    for bad in [
        r#"{"before":"a"}"#,
        r#"{"before":"a","after":"b","more":"c"}"#,
        r#"{"before":"a","after":1}"#,
        r#"["a","b"]"#,
    ] {
        assert_eq!(change(bad), "wrong_type (field `change`)", "{bad}");
    }
}

#[test]
fn a_bad_signal_harms_no_neighbour_and_positions_are_the_senders() {
    let good = r#"{"kind":"mail.sent","timestamp":7,"result":"sent"}"#;
    let body = format!(r#"{{"site":"www","signals":[5,{good},{{}},{good},{good},null]}}"#);
    let batch = json_batch(&builtin(), body.as_bytes(), 10).expect("a batch");
    assert_eq!((batch.records(), batch.signals.len()), (6, 3));
    let refusal = Refusal::of(RefusalReason::Late);
    let all = batch.all_refused(&[(0, refusal.clone()), (2, refusal)]);
    let positions: Vec<usize> = all.iter().map(|(position, _)| *position).collect();
    assert_eq!(positions, [0, 1, 2, 4, 5]);
    assert_eq!(all[3].1.reason, RefusalReason::Late);
}

#[test]
fn bodies_that_are_no_batches_are_refused_whole_and_by_place() {
    let read = |body: &str| json_batch(&builtin(), body.as_bytes(), 2);
    let shape = |body: &str| {
        assert!(matches!(read(body), Err(JsonFault::Shape { .. })), "{body}: {:?}", read(body));
    };
    let syntax = |body: &str| {
        assert!(matches!(read(body), Err(JsonFault::Syntax { .. })), "{body}: {:?}", read(body));
    };
    for body in [
        "[]",
        "{}",
        "5",
        r#"{"signals":{}}"#,
        r#"{"signals":[],"signals":[]}"#,
        r#"{"signals":[],"secret":1}"#,
        r#"{"signals":[],"batch":"0001"}"#,
        r#"{"signals":[],"batch":"00010203040506070809 a0b0c0d0e0f"}"#,
        r#"{"signals":[],"batch":"ééééééééééééééééé"}"#,
        r#"{"signals":[],"site":5}"#,
        r#"{"signals":[],"site":"a","site":"a"}"#,
    ] {
        shape(body);
    }
    let deep = format!("{{\"signals\":[{}]}}", "[".repeat(100_000));
    for body in ["", "{", r#"{"signals":[}"#, r#"{"signals":[]} x"#, r#"{"signals":[{"kind":"a"#, &deep] {
        syntax(body);
    }
    assert_eq!(read(r#"{"signals":[1,2,3]}"#), Err(JsonFault::TooMany { limit: 2 }));
    let error = read("{\n\"signals\":[secret]}").unwrap_err().to_string();
    assert_eq!(error, "line 2, column 12: this is not JSON");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn damaged_bodies_are_read_without_panic_and_every_signal_has_a_verdict(
        damage in prop::collection::vec((any::<usize>(), "[\\[\\]\"\\\\ ,:{}0-9enu.-]"), 0..6), cut in any::<usize>(),
    ) {
        let mut text = r#"{"batch":"000102030405060708090a0b0c0d0e0f","signals":[{"kind":"http.request","timestamp":7,"method":"GET","status":200,"duration":"1s","client":"a\n"},{"kind":"file.edited","timestamp":"2015-05-17T10:05:03Z","area":"plugin","size":-1,"flags":["new"]}]}"#.to_owned();
        for (at, piece) in damage {
            text.insert_str(at % (text.len() + 1), &piece);
        }
        for body in [&text[..], &text[..cut % text.len()]] {
            if let Ok(batch) = json_batch(&builtin(), body.as_bytes(), 100) {
                prop_assert_eq!(batch.records(), batch.signals.len() + batch.all_refused(&[]).len());
            }
        }
    }
}
