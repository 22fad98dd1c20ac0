use super::*;
use crate::builtin;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn site() -> SiteName {
    SiteName::new("s").expect("valid")
}

fn row(kind: &str, time: i64, fields: Vec<Option<FieldValue>>) -> SignalRow {
    SignalRow { kind: kind.into(), site: site(), time: Timestamp(time), fields }
}

fn name(text: &str) -> Option<FieldValue> {
    Some(FieldValue::Name(text.into()))
}

fn request(time: i64, method: &str, status: i64, route: Option<&str>, duration: Option<i64>) -> SignalRow {
    let fields = vec![
        name(method),
        Some(FieldValue::Integer(status)),
        route.and_then(name),
        duration.map(FieldValue::Integer),
        None,
        None,
    ];
    row("http.request", time, fields)
}

fn printed(cells: &[Cell]) -> Vec<String> {
    cells.iter().map(|cell| format!("{} @{} {}", cell.labels, cell.time.0, cell.value)).collect()
}

#[test]
fn an_event_counts_at_the_end_of_its_minute() {
    for (event, stamp) in [
        (0, 60_000),
        (59_999, 60_000),
        (60_000, 120_000),
        (-1, 0),
        (-60_000, 0),
        (-60_001, -60_000),
        (i64::MAX, i64::MAX),
    ] {
        assert_eq!(cell_stamp(Timestamp(event)), Timestamp(stamp), "{event}");
    }
    assert!(cell_stamp(Timestamp::MIN) > Timestamp::MIN);
}

#[test]
fn requests_are_counted_and_their_durations_put_into_cumulative_buckets() {
    let rows = [
        request(0, "GET", 200, Some("/"), Some(5)),
        request(1, "GET", 404, Some("/"), Some(6)),
        request(2, "GET", 200, Some("/"), Some(10_001)),
        request(3, "GET", 200, None, None),
    ];
    assert_eq!(
        printed(&derive(&builtin(), &site(), &rows)),
        [
            r#"http_requests{method="GET", route="/", site="s", status="200"} @60000 2"#,
            r#"http_requests{method="GET", route="/", site="s", status="404"} @60000 1"#,
            r#"http_requests{method="GET", site="s", status="200"} @60000 1"#,
            r#"http_response_seconds_bucket{le="+Inf", method="GET", route="/", site="s"} @60000 3"#,
            r#"http_response_seconds_bucket{le="0.005", method="GET", route="/", site="s"} @60000 1"#,
            r#"http_response_seconds_bucket{le="0.01", method="GET", route="/", site="s"} @60000 2"#,
            r#"http_response_seconds_bucket{le="0.025", method="GET", route="/", site="s"} @60000 2"#,
            r#"http_response_seconds_bucket{le="0.05", method="GET", route="/", site="s"} @60000 2"#,
            r#"http_response_seconds_bucket{le="0.1", method="GET", route="/", site="s"} @60000 2"#,
            r#"http_response_seconds_bucket{le="0.25", method="GET", route="/", site="s"} @60000 2"#,
            r#"http_response_seconds_bucket{le="0.5", method="GET", route="/", site="s"} @60000 2"#,
            r#"http_response_seconds_bucket{le="1", method="GET", route="/", site="s"} @60000 2"#,
            r#"http_response_seconds_bucket{le="10", method="GET", route="/", site="s"} @60000 2"#,
            r#"http_response_seconds_bucket{le="2.5", method="GET", route="/", site="s"} @60000 2"#,
            r#"http_response_seconds_bucket{le="5", method="GET", route="/", site="s"} @60000 2"#,
            r#"http_response_seconds_count{method="GET", route="/", site="s"} @60000 3"#,
            r#"http_response_seconds_sum{method="GET", route="/", site="s"} @60000 10.012"#,
            r#"signals{kind="http.request", site="s"} @60000 4"#,
        ]
    );
}

#[test]
fn every_builtin_kind_derives_its_metric_and_signals() {
    let rows = [
        row("auth.attempt", 0, vec![name("failure"), name("key"), None, None]),
        row("wp.cron", 0, vec![name("purge"), name("ok"), None, None]),
        row("mail.sent", 0, vec![name("sent"), name("receipt")]),
        row("error.raised", 0, vec![name("fatal"), None, None]),
        row("config.changed", 0, vec![name("home"), None, None]),
        row("file.edited", 0, vec![name("core"), None, None, None]),
        row("no.such", 0, vec![]),
    ];
    assert_eq!(
        printed(&derive(&builtin(), &site(), &rows)),
        [
            r#"auth_attempts{method="key", result="failure", site="s"} @60000 1"#,
            r#"config_changes{option="home", site="s"} @60000 1"#,
            r#"cron_runs{hook="purge", result="ok", site="s"} @60000 1"#,
            r#"errors{severity="fatal", site="s"} @60000 1"#,
            r#"file_edits{area="core", site="s"} @60000 1"#,
            r#"mails{result="sent", site="s"} @60000 1"#,
            r#"signals{kind="auth.attempt", site="s"} @60000 1"#,
            r#"signals{kind="config.changed", site="s"} @60000 1"#,
            r#"signals{kind="error.raised", site="s"} @60000 1"#,
            r#"signals{kind="file.edited", site="s"} @60000 1"#,
            r#"signals{kind="mail.sent", site="s"} @60000 1"#,
            r#"signals{kind="wp.cron", site="s"} @60000 1"#,
        ]
    );
}

#[test]
fn bounds_print_as_prometheus_prints_floats() {
    for (ms, text) in
        [(1, "0.001"), (10, "0.01"), (250, "0.25"), (1_000, "1"), (2_500, "2.5"), (999_999_999, "999999.999")]
    {
        assert_eq!(seconds_text(ms), text);
    }
}

#[test]
fn a_schema_made_by_hand_cannot_put_hashes_or_nonsense_into_labels() {
    let mut schema = builtin();
    let mut kind = (*schema.kinds[1]).clone();
    kind.metrics = vec![
        MetricSchema::Count { name: "a".into(), labels: vec![0, 2, 99] },
        MetricSchema::Durations { name: "b".into(), labels: vec![], field: 99, bounds_ms: vec![] },
    ];
    schema.kinds[1] = Arc::new(kind);
    let rows = [row("auth.attempt", 0, vec![name("failure"), name("key"), name("ann"), None])];
    assert_eq!(
        printed(&derive(&schema, &site(), &rows)),
        [r#"a{result="failure", site="s"} @60000 1"#, r#"signals{kind="auth.attempt", site="s"} @60000 1"#,]
    );
}

/// The same by the definition, one signal and one series at a time.
fn oracle(schema: &SignalSchema, rows: &[SignalRow]) -> BTreeMap<(LabelSet, Timestamp), f64> {
    let mut sums: BTreeMap<(LabelSet, Timestamp), (i64, bool)> = BTreeMap::new();
    let mut add =
        |metric: &str, labels: Vec<(String, String)>, row: &SignalRow, value: i64, is_time: bool| {
            let mut pairs = labels;
            pairs.push(("__name__".into(), metric.into()));
            pairs.push(("site".into(), "s".into()));
            let labels = LabelSet::from_pairs(pairs).expect("valid");
            let stamp = Timestamp((row.time.0.div_euclid(60_000) + 1) * 60_000);
            sums.entry((labels, stamp)).or_insert((0, is_time)).0 += value;
        };
    for row in rows {
        let kind = schema.kind(&row.kind).expect("known");
        let labels_of = |labels: &[usize]| -> Vec<(String, String)> {
            let value = |at: &usize| match row.fields[*at].as_ref()? {
                FieldValue::Name(name) => Some((kind.fields[*at].name.to_string(), name.to_string())),
                FieldValue::Integer(number) => Some((kind.fields[*at].name.to_string(), number.to_string())),
                _ => None,
            };
            labels.iter().filter_map(value).collect()
        };
        add("signals", vec![("kind".into(), kind.name.to_string())], row, 1, false);
        for metric in &kind.metrics {
            match metric {
                MetricSchema::Count { name, labels } => add(name, labels_of(labels), row, 1, false),
                MetricSchema::Durations { name, labels, field, bounds_ms } => {
                    let Some(FieldValue::Integer(ms)) = row.fields[*field] else { continue };
                    for bound in bounds_ms.iter().copied().chain([i64::MAX]) {
                        let le =
                            if bound == i64::MAX { "+Inf".into() } else { (bound as f64 / 1e3).to_string() };
                        let mut labels = labels_of(labels);
                        labels.push(("le".into(), le));
                        add(&format!("{name}_bucket"), labels, row, i64::from(ms <= bound), false);
                    }
                    add(&format!("{name}_count"), labels_of(labels), row, 1, false);
                    add(&format!("{name}_sum"), labels_of(labels), row, ms, true);
                }
            }
        }
    }
    let told = |(sum, is_time): (i64, bool)| if is_time { sum as f64 / 1000.0 } else { sum as f64 };
    sums.into_iter().map(|(key, sum)| (key, told(sum))).collect()
}

fn any_row() -> impl Strategy<Value = SignalRow> {
    let time = -200_000i64..200_000;
    let request = (
        time.clone(),
        prop::sample::select(vec!["GET", "POST"]),
        prop::sample::select(vec![200, 404]),
        prop::option::of(prop::sample::select(vec!["/", "/a"])),
        prop::option::of(prop_oneof![0i64..30, 0i64..20_000]),
    )
        .prop_map(|(time, method, status, route, duration)| request(time, method, status, route, duration));
    let mail = (time, prop::sample::select(vec!["sent", "failed"]))
        .prop_map(|(time, result)| row("mail.sent", time, vec![name(result), None]));
    prop_oneof![3 => request, 1 => mail]
}

proptest! {
    #[test]
    fn cells_are_those_of_the_definition_in_order_and_remembering_changes_nothing(
        batches in prop::collection::vec(prop::collection::vec(any_row(), 0..40), 1..4),
    ) {
        let schema = builtin();
        let mut deriver = Deriver::new(&schema);
        for rows in &batches {
            let cells = deriver.derive(&site(), rows);
            prop_assert_eq!(&cells, &derive(&schema, &site(), rows));
            let expected: Vec<Cell> = oracle(&schema, rows)
                .into_iter()
                .map(|((labels, time), value)| Cell { labels, time, value })
                .collect();
            prop_assert_eq!(&cells, &expected);
            let reversed: Vec<SignalRow> = rows.iter().rev().cloned().collect();
            prop_assert_eq!(&deriver.derive(&site(), &reversed), &cells);
        }
    }
}

#[test]
fn sites_do_not_mix() {
    let mut deriver = Deriver::new(&builtin());
    let rows = [row("mail.sent", 0, vec![name("sent"), None])];
    for site_name in ["a", "b", "a"] {
        let cells = deriver.derive(&SiteName::new(site_name).expect("valid"), &rows);
        assert!(cells.iter().all(|cell| cell.labels.get("site") == site_name && cell.value == 1.0));
    }
}
