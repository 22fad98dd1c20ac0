//! Bodies as senders write them, decoded into a store in memory.

use annals::{STALE_NAN_BITS, SeriesKind};

use super::super::series::Outcome;
use super::super::testing::{Bench, NOW};
use super::*;
use crate::wire::put;

fn write(bench: &Bench, version: Version, id: u8, body: &[u8]) -> Result<(Outcome, Extras), Broken> {
    let form = if version == Version::One { Form::RemoteWrite } else { Form::RemoteWrite2 };
    bench.take(form, id, |samples| decode(version, body, samples))
}

fn labels_1(out: &mut Vec<u8>, labels: &[(&str, &str)]) {
    for (name, value) in labels {
        let mut label = Vec::new();
        put::bytes(&mut label, 1, name.as_bytes());
        put::bytes(&mut label, 2, value.as_bytes());
        put::bytes(out, 1, &label);
    }
}

fn sample_of(time: i64, value: f64) -> Vec<u8> {
    let mut sample = Vec::new();
    put::double(&mut sample, 1, value);
    put::varint(&mut sample, 2, time as u64);
    sample
}

fn series_1(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> Vec<u8> {
    let mut series = Vec::new();
    labels_1(&mut series, labels);
    samples.iter().for_each(|(time, value)| put::bytes(&mut series, 2, &sample_of(*time, *value)));
    series
}

fn request(number: u32, series: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    series.iter().for_each(|series| put::bytes(&mut out, number, series));
    out
}

/// Counts of 1, 3 and 2 in buckets 0, 1 and 4, one of 5 below zero, 2 at zero.
fn histogram_of(time: i64) -> Vec<u8> {
    let span = |gap: i64, length: u64| {
        let mut span = Vec::new();
        put::varint(&mut span, 1, put::zigzag(gap));
        put::varint(&mut span, 2, length);
        span
    };
    let deltas = |values: &[i64]| values.iter().map(|value| put::zigzag(*value)).collect::<Vec<_>>();
    let mut own = Vec::new();
    put::varint(&mut own, 1, 13);
    put::double(&mut own, 3, 7.5);
    put::varint(&mut own, 4, put::zigzag(-1));
    put::double(&mut own, 5, 0.001);
    put::varint(&mut own, 6, 2);
    put::bytes(&mut own, 8, &span(3, 1));
    put::varints(&mut own, 9, &deltas(&[5]));
    put::bytes(&mut own, 11, &span(0, 2));
    put::bytes(&mut own, 11, &span(2, 1));
    put::varints(&mut own, 12, &deltas(&[1, 2, -1]));
    put::varint(&mut own, 14, 2);
    put::varint(&mut own, 15, time as u64);
    own
}

fn body_1() -> Vec<u8> {
    let mut native = series_1(&[("__name__", "took"), ("job", "a")], &[]);
    put::bytes(&mut native, 4, &histogram_of(NOW - 1000));
    put::bytes(&mut native, 3, b"");
    let mut body = request(
        1,
        &[
            series_1(&[("__name__", "up"), ("job", "a")], &[(NOW - 2000, 1.0), (NOW - 1000, 0.5)]),
            series_1(&[("__name__", "hits_total"), ("job", "a")], &[(NOW - 1000, 7.0)]),
            native,
        ],
    );
    put::bytes(&mut body, 3, b"");
    body
}

fn body_2() -> Vec<u8> {
    let symbols = ["", "__name__", "up", "job", "a", "requests", "took"];
    let mut body = request(4, &symbols.map(|symbol| symbol.as_bytes().to_vec()));
    let series = |refs: &[u64], kind: u64, samples: &[(i64, f64)]| {
        let (mut out, mut metadata) = (Vec::new(), Vec::new());
        put::varints(&mut out, 1, refs);
        samples.iter().for_each(|(time, value)| put::bytes(&mut out, 2, &sample_of(*time, *value)));
        put::varint(&mut metadata, 1, kind);
        put::bytes(&mut out, 5, &metadata);
        put::varint(&mut out, 6, (NOW - 60_000) as u64);
        out
    };
    let mut native = series(&[1, 6, 3, 4], 3, &[]);
    put::bytes(&mut native, 3, &histogram_of(NOW - 1000));
    put::bytes(&mut native, 4, b"");
    body.extend(request(
        5,
        &[
            series(&[1, 2, 3, 4], 2, &[(NOW - 1000, 0.5)]),
            series(&[1, 5, 3, 4], 1, &[(NOW - 1000, 7.0)]),
            native,
        ],
    ));
    body
}

const HISTOGRAM: &str = "histogram_count(took) + 100 * histogram_sum(took)";

#[test]
fn both_versions_are_taken_with_their_kinds_and_histograms() {
    let one = Bench::new();
    let (outcome, extras) = write(&one, Version::One, 1, &body_1()).expect("decoded");
    assert_eq!((outcome.samples, outcome.histograms, outcome.refusals()), (3, 1, None));
    assert_eq!(extras, Extras { exemplars: 1 });
    let two = Bench::new();
    let (outcome, extras) = write(&two, Version::Two, 1, &body_2()).expect("decoded");
    assert_eq!((outcome.samples, outcome.histograms, outcome.refusals()), (2, 1, None));
    assert_eq!(extras, Extras { exemplars: 1 });
    for (bench, counter) in [(&one, "hits_total"), (&two, "requests")] {
        assert_eq!(bench.kind("up"), Some(SeriesKind::Gauge));
        assert_eq!(bench.kind(counter), Some(SeriesKind::Counter));
        assert!(bench.ask("up{job=\"a\"}").contains("0.5"), "{}", bench.ask("up"));
        assert!(bench.ask(HISTOGRAM).contains("763"), "{}", bench.ask(HISTOGRAM));
    }
    assert_eq!(one.ask("took"), two.ask("took"));
    // Only version 2 says when the counter began, so that its first sample counts.
    assert!(two.ask("increase(requests[5m])").contains("Float(7.1"), "{}", two.ask("increase(requests[5m])"));
}

#[test]
fn what_is_known_of_series_serves_the_next_request_and_a_retry_counts_nothing_twice() {
    let bench = Bench::new();
    write(&bench, Version::One, 1, &body_1()).expect("decoded");
    let (outcome, _) = write(&bench, Version::One, 1, &body_1()).expect("decoded");
    assert_eq!((outcome.samples, outcome.histograms, outcome.refusals()), (3, 1, None));
    // The same series with their labels in another order, and again as they were.
    let turned = request(1, &[series_1(&[("job", "a"), ("__name__", "up")], &[(NOW - 500, 3.0)])]);
    write(&bench, Version::One, 2, &turned).expect("decoded");
    assert!(bench.ask("up").contains("3.0"), "{}", bench.ask("up"));
    let again = request(1, &[series_1(&[("__name__", "up"), ("job", "a")], &[(NOW - 400, 4.0)])]);
    write(&bench, Version::One, 3, &again).expect("decoded");
    assert!(bench.ask("count_over_time(up[1m])").contains("4.0"), "{}", bench.ask("count_over_time(up[1m])"));
}

#[test]
fn a_stale_marker_ends_a_series_of_numbers_and_one_of_histograms() {
    let bench = Bench::new();
    write(&bench, Version::One, 1, &body_1()).expect("decoded");
    let stale = f64::from_bits(STALE_NAN_BITS);
    let ends = request(
        1,
        &[
            series_1(&[("__name__", "up"), ("job", "a")], &[(NOW - 10, stale)]),
            series_1(&[("__name__", "took"), ("job", "a")], &[(NOW - 10, stale)]),
        ],
    );
    let (outcome, _) = write(&bench, Version::One, 2, &ends).expect("decoded");
    assert_eq!(outcome.refusals(), None);
    assert_eq!(bench.ask("count({job=\"a\"})"), bench.ask("count(hits_total)"));
}

#[test]
fn series_that_cannot_be_are_refused_and_harm_no_other() {
    let long = "x".repeat(200);
    let many: Vec<(String, &str)> = (0..80).map(|n| (format!("l{n}"), "v")).collect();
    let many: Vec<(&str, &str)> = [("__name__", "m")]
        .into_iter()
        .chain(many.iter().map(|(name, value)| (name.as_str(), *value)))
        .collect();
    let bad: [&[(&str, &str)]; 6] = [
        &[],
        &[("job", "a")],
        &[("__name__", "m"), ("a", "1"), ("a", "2")],
        &[("__name__", "m"), ("", "1")],
        &[("__name__", "m"), (&long, "1")],
        &many,
    ];
    let bench = Bench::new();
    let mut series: Vec<Vec<u8>> = bad.iter().map(|labels| series_1(labels, &[(NOW, 1.0)])).collect();
    series.push(series_1(&[("__name__", "good")], &[(NOW, 1.0), (NOW + 3_600_000, 1.0)]));
    // Labels after samples are labels still.
    let mut late = Vec::new();
    put::bytes(&mut late, 2, &sample_of(NOW, 5.0));
    labels_1(&mut late, &[("__name__", "late")]);
    series.push(late);
    for id in [1, 2] {
        let (outcome, _) = write(&bench, Version::One, id, &request(1, &series)).expect("decoded");
        assert_eq!(outcome.samples, 2);
        let refused = "refused: 1 future, 6 invalid_labels; the other 2 are counted";
        assert_eq!(outcome.refusals().as_deref(), Some(refused));
    }
    assert!(bench.ask("late").contains("5.0"));
}

#[test]
fn histograms_whose_parts_do_not_fit_are_refused() {
    let bench = Bench::new();
    let spoiled = |more: &dyn Fn(&mut Vec<u8>)| {
        let mut own = histogram_of(NOW);
        more(&mut own);
        let mut series = series_1(&[("__name__", "took")], &[]);
        put::bytes(&mut series, 4, &own);
        request(1, &[series])
    };
    let bodies = [
        spoiled(&|own| put::varint(own, 4, put::zigzag(9))),
        spoiled(&|own| put::varint(own, 4, put::zigzag(1 << 40))),
        // A run of four thousand million buckets, and counts for none of them.
        spoiled(&|own| put::bytes(own, 11, &[0x10, 0xff, 0xff, 0xff, 0xff, 0x0f])),
        // A count without a run.
        spoiled(&|own| put::varint(own, 12, put::zigzag(4))),
        spoiled(&|own| put::double(own, 16, 1.0)),
        spoiled(&|own| put::varint(own, 9, put::zigzag(i64::MAX))),
    ];
    for (id, body) in (1..).zip(bodies) {
        let (outcome, _) = write(&bench, Version::One, id, &body).expect("decoded");
        assert_eq!((outcome.histograms, outcome.refused.get("out_of_bounds")), (0, Some(&1)), "{id}");
    }
}

#[test]
fn a_body_that_is_cut_or_altered_anywhere_never_panics_and_cut_ones_leave_nothing() {
    for (version, body) in [(Version::One, body_1()), (Version::Two, body_2())] {
        let bench = Bench::new();
        for end in 0..body.len() {
            // Cut between fields it is a shorter request; anywhere else it is none.
            bench.look(Form::RemoteWrite, |samples| _ = decode(version, &body[..end], samples));
        }
        for bit in 0..body.len() * 8 {
            let mut altered = body.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            bench.look(Form::RemoteWrite, |samples| _ = decode(version, &altered, samples));
        }
    }
    let bench = Bench::new();
    let mut body = body_1();
    body.extend_from_slice(&[0x0a, 0x7f, 0x0a]);
    assert!(write(&bench, Version::One, 1, &body).is_err());
    assert_eq!(bench.kind("up"), None, "nothing of it was written");
    let outside = request(
        5,
        &[{
            let mut series = Vec::new();
            put::varints(&mut series, 1, &[1, 2]);
            put::bytes(&mut series, 2, &sample_of(NOW, 1.0));
            series
        }],
    );
    assert!(write(&bench, Version::Two, 1, &outside).is_err(), "a text that is not there");
}

#[test]
fn series_are_told_apart_in_whatever_order_they_come() {
    // Names of which one begins with another, in an order that guesses follow and in others.
    let all: [&[(&str, &str)]; 5] = [
        &[("__name__", "a")],
        &[("__name__", "a"), ("b", "1")],
        &[("__name__", "a"), ("b", "1"), ("c", "2")],
        &[("__name__", "a"), ("b", "12")],
        &[("__name__", "z")],
    ];
    let bench = Bench::new();
    for (id, order) in (0..).zip([
        [0, 1, 2, 3, 4],
        [0, 1, 2, 3, 4],
        [4, 3, 2, 1, 0],
        [0, 2, 1, 4, 3],
        [1, 1, 1, 2, 0],
        [2, 0, 0, 3, 4],
    ]) {
        let time = NOW - 10_000 + i64::from(id) * 1000;
        let series = order.map(|which| series_1(all[which], &[(time, which as f64)]));
        let mut body = request(1, &series);
        // Labels that stand behind the sample belong to the series too.
        let mut late = Vec::new();
        labels_1(&mut late, all[0]);
        put::bytes(&mut late, 2, &sample_of(time, 7.0));
        labels_1(&mut late, &[("late", "1")]);
        put::bytes(&mut body, 1, &late);
        let (outcome, _) = write(&bench, Version::One, id, &body).expect("whole");
        assert_eq!((outcome.samples, outcome.refusals()), (6, None));
    }
    for (query, value) in [
        ("a{b=\"\",late=\"\"}", 0.0),
        ("a{b=\"1\",c=\"\"}", 1.0),
        ("a{c=\"2\"}", 2.0),
        ("a{b=\"12\"}", 3.0),
        ("z", 4.0),
        ("a{late=\"1\"}", 7.0),
    ] {
        // Each value it ever had is its own.
        let found =
            bench.ask(&format!("min_over_time({query}[1m]) == max_over_time({query}[1m]) == {value}"));
        assert!(found.contains("Float"), "{query}: {found}");
    }
    assert!(bench.ask("count({__name__=~\".+\"})").contains("6.0"));
}
