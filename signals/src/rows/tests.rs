use super::*;
use crate::{builtin, register};
use proptest::prelude::*;

fn site(name: &str) -> SiteName {
    SiteName::new(name).expect("valid")
}

fn name(text: &str) -> Option<FieldValue> {
    Some(FieldValue::Name(text.into()))
}

fn row(kind: &str, time: i64, fields: Vec<Option<FieldValue>>) -> SignalRow {
    SignalRow { kind: kind.into(), site: site("s"), time: Timestamp(time), fields }
}

fn sample() -> Vec<SignalRow> {
    let pseudonym = |byte| Pseudonym { hash: [byte; 16], length: 300 };
    vec![
        row(
            "http.request",
            1_000,
            vec![
                name("GET"),
                Some(FieldValue::Integer(200)),
                name("/a"),
                None,
                None,
                Some(FieldValue::Pseudonym(pseudonym(9))),
            ],
        ),
        row("mail.sent", 998, vec![name("sent"), None]),
        row(
            "file.edited",
            998,
            vec![name("core"), Some(FieldValue::Integer(-3)), Some(FieldValue::Flags(5)), None],
        ),
        row(
            "config.changed",
            2_000,
            vec![name("home"), Some(FieldValue::Change { before: pseudonym(1), after: pseudonym(2) }), None],
        ),
    ]
}

fn encoded(rows: &[SignalRow]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_rows(&builtin(), rows, &mut bytes);
    bytes
}

#[test]
fn the_bytes_are_these() {
    let mut golden = vec![1, 2];
    golden.extend(b"\x0chttp.request\x06\xb1\x21\x16\x97");
    golden.extend(b"\x09mail.sent\x02\x8e\x39\x78\x71");
    golden.extend(b"\x01\x01s");
    golden.extend(b"\x03\x03GET\x02/a\x04sent");
    golden.extend(b"\x02");
    golden.extend(b"\x00\xd0\x0f\x27\x00\x90\x03\x01");
    golden.extend([9; 16]);
    golden.extend(b"\xac\x02");
    golden.extend(b"\x01\x03\x01\x02");
    assert_eq!(encoded(&sample()[..2]), golden);
    assert_eq!(decode_rows(&builtin(), &golden).expect("valid"), sample()[..2]);
}

#[test]
fn rows_of_several_sites_keep_theirs() {
    let mut rows = sample();
    rows[1].site = site("t");
    rows[3].time = Timestamp(i64::MIN);
    rows[2].time = Timestamp(i64::MAX);
    assert_eq!(decode_rows(&builtin(), &encoded(&rows)), Ok(rows));
    assert_eq!(decode_rows(&builtin(), &encoded(&[])), Ok(vec![]));
}

#[test]
fn every_truncation_and_every_extension_is_refused() {
    let mut bytes = encoded(&sample());
    for end in 0..bytes.len() {
        assert!(decode_rows(&builtin(), &bytes[..end]).is_err(), "cut at {end}");
    }
    bytes.push(0);
    let offset = bytes.len() - 1;
    assert_eq!(decode_rows(&builtin(), &bytes), Err(RowsError::Corrupt { offset, what: "the end" }));
}

/// Whether rows are such that all of the crate can go on with them.
fn is_sound(rows: &[SignalRow]) -> bool {
    let schema = builtin();
    let mut again = Vec::new();
    encode_rows(&schema, rows, &mut again);
    let _ = crate::derive(&schema, &site("s"), rows);
    decode_rows(&schema, &again).as_deref() == Ok(rows)
}

#[test]
fn no_bit_flip_panics_or_makes_unsound_rows() {
    let bytes = encoded(&sample());
    for at in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[at / 8] ^= 1 << (at % 8);
        if let Ok(rows) = decode_rows(&builtin(), &damaged) {
            assert!(is_sound(&rows), "bit {at}");
        }
    }
}

#[test]
fn names_outside_the_alphabet_are_damage() {
    for (from, to) in [("/a", "/ "), ("sent", "s\u{1}nt"), ("GET", "G\"T")] {
        let bytes = encoded(&sample());
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect("there");
        let mut damaged = bytes.clone();
        damaged[at..at + to.len()].copy_from_slice(to.as_bytes());
        assert!(matches!(decode_rows(&builtin(), &damaged), Err(RowsError::Corrupt { .. })), "{from} {to}");
    }
}

const GROWN: &str = r#"
[[kind]]
name = "a.b"
[[kind.field]]
name = "one"
type = "enumeration"
values = ["x", "y"]
[[kind.field]]
name = "two"
type = "integer"
min = 0
max = 9
"#;

#[test]
fn a_schema_that_grew_reads_older_rows_and_one_that_changed_says_so() {
    let grown = register(GROWN).expect("valid");
    let first = register(GROWN.split("[[kind.field]]\nname = \"two\"").next().expect("text")).expect("valid");
    let mut bytes = Vec::new();
    encode_rows(&first, &[row("a.b", 5, vec![name("y")])], &mut bytes);
    let narrowed = register(&GROWN.replace(", \"y\"", "")).expect("valid");
    for schema in [&grown, &narrowed] {
        assert_eq!(decode_rows(schema, &bytes), Ok(vec![row("a.b", 5, vec![name("y"), None])]));
    }
    bytes.clear();
    encode_rows(&grown, &[row("a.b", 5, vec![None, Some(FieldValue::Integer(3))])], &mut bytes);
    assert_eq!(decode_rows(&first, &bytes), Err(RowsError::OtherFields { kind: "a.b".into(), fields: 2 }));
    for (from, to) in [
        ("name = \"one\"", "name = \"uno\""),
        ("type = \"integer\"\nmin = 0\nmax = 9", "type = \"pseudonym\""),
    ] {
        let changed = register(&GROWN.replace(from, to)).expect("valid");
        assert!(matches!(decode_rows(&changed, &bytes), Err(RowsError::OtherFields { .. })), "{to}");
    }
    assert_eq!(decode_rows(&builtin(), &bytes), Err(RowsError::UnknownKind { kind: "a.b".into() }));
    assert_eq!(decode_rows(&builtin(), &[2]), Err(RowsError::VersionTooNew { found: 2 }));
}

fn any_row() -> impl Strategy<Value = SignalRow> {
    let pseudonym =
        || (any::<[u8; 16]>(), any::<u16>()).prop_map(|(hash, length)| Pseudonym { hash, length });
    let text = || "[a-z0-9_.:/-]{1,12}".prop_map(|text| FieldValue::Name(text.as_str().into()));
    let site = prop::sample::select(vec!["s", "t", "u.v"]).prop_map(site);
    let number = || any::<i64>().prop_map(FieldValue::Integer);
    let http = (
        prop::option::of(text()),
        prop::option::of(number()),
        prop::option::of(text()),
        prop::option::of(number()),
        prop::option::of(number()),
        prop::option::of(pseudonym().prop_map(FieldValue::Pseudonym)),
    )
        .prop_map(|(a, b, c, d, e, f)| ("http.request", vec![a, b, c, d, e, f]));
    let edit = (
        prop::option::of(text()),
        prop::option::of(number()),
        prop::option::of(any::<u64>().prop_map(FieldValue::Flags)),
        prop::option::of(pseudonym().prop_map(FieldValue::Pseudonym)),
    )
        .prop_map(|(a, b, c, d)| ("file.edited", vec![a, b, c, d]));
    let change = (pseudonym(), pseudonym()).prop_map(|(before, after)| FieldValue::Change { before, after });
    let config = (prop::option::of(text()), prop::option::of(change))
        .prop_map(|(a, b)| ("config.changed", vec![a, b, None]));
    (site, any::<i64>(), prop_oneof![http, edit, config]).prop_map(|(site, time, (kind, fields))| SignalRow {
        kind: kind.into(),
        site,
        time: Timestamp(time),
        fields,
    })
}

proptest! {
    #[test]
    fn rows_round_trip(rows in prop::collection::vec(any_row(), 0..20)) {
        prop_assert_eq!(decode_rows(&builtin(), &encoded(&rows)), Ok(rows));
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut versioned = vec![1];
        versioned.extend(bytes);
        if let Ok(rows) = decode_rows(&builtin(), &versioned) {
            prop_assert!(is_sound(&rows));
        }
    }

    #[test]
    fn damage_in_several_places_never_panics(
        rows in prop::collection::vec(any_row(), 0..6),
        damage in prop::collection::vec((any::<usize>(), any::<u8>()), 1..5),
    ) {
        let mut bytes = encoded(&rows);
        for (at, byte) in damage {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        if let Ok(rows) = decode_rows(&builtin(), &bytes) {
            prop_assert!(is_sound(&rows));
        }
    }
}
