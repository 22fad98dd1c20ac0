//! Hostile lines for every reader, and the real files, counted once more by the plainest means.

use super::*;
use crate::{Admitter, NameTable, PseudonymKey, builtin, derive, encode_rows};
use annals_model::{LabelSet, SignalValue, SiteName};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

/// A file of the real data, which lies beside the workspace where there is one.
fn real(path: &str) -> Option<Vec<u8>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/real").join(path);
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        let _ = writeln!(std::io::stderr(), "SKIPPED: no {}", path.display());
    }
    bytes
}

fn all_signals(reader: &mut dyn SignalReader, bytes: &[u8]) -> (Vec<Signal>, Tally) {
    let mut signals = Vec::new();
    let tally = read_signals(reader, bytes, |signal| signals.push(signal));
    (signals, tally)
}

/// Admits all and adds up the cells by labels other than `site`.
fn derived(signals: &[Signal]) -> BTreeMap<String, f64> {
    let (schema, key, names) = (builtin(), PseudonymKey::new(&[5; 32]), NameTable::new());
    let site = SiteName::new("s").expect("valid");
    let mut admitter = Admitter::new(&schema, &key, &names, &site);
    let rows: Vec<_> = signals.iter().map(|signal| admitter.admit(signal).expect("admitted")).collect();
    let mut sums = BTreeMap::new();
    for cell in derive(&schema, &site, &rows) {
        let labels =
            LabelSet::from_pairs(cell.labels.iter().filter(|&(name, _)| name != "site")).expect("valid");
        *sums.entry(labels.to_string()).or_insert(0.0) += cell.value;
    }
    sums
}

fn text_of<'s>(signal: &'s Signal, field: &str) -> Option<&'s str> {
    signal.fields.iter().find(|(name, _)| &**name == field).map(|(_, value)| match value {
        SignalValue::Text(text) => &**text,
        _ => panic!("text"),
    })
}

#[test]
fn the_real_access_log_is_read_line_by_line() {
    let Some(log) = real("elastic-examples/apache_access_combined_5k.log") else { return };
    let text = String::from_utf8(log.clone()).expect("text");
    for mut reader in [AccessLog::apache(), AccessLog::nginx()] {
        let (signals, tally) = all_signals(&mut reader, &log);
        assert_eq!(tally, Tally { lines: 5_000, read: 5_000, ..Tally::default() });
        let sums = derived(&signals);
        for status in ["200", "206", "301", "304", "403", "404", "500"] {
            let naive = text.lines().filter(|line| line.split(' ').nth(8) == Some(status)).count();
            let found: f64 = sums
                .iter()
                .filter(|(labels, _)| {
                    labels.starts_with("http_requests{") && labels.contains(&format!("status=\"{status}\""))
                })
                .map(|(_, value)| value)
                .sum();
            assert_eq!(found, naive as f64, "{status}");
        }
        assert_eq!(sums.get("signals{kind=\"http.request\"}"), Some(&5_000.0));

        let bytes: i64 = text.lines().filter_map(|line| line.split(' ').nth(9)?.parse::<i64>().ok()).sum();
        let found = signals.iter().flat_map(|signal| &signal.fields).filter(|(name, _)| &**name == "bytes");
        let found: i64 =
            found.map(|(_, value)| if let SignalValue::Integer(n) = value { *n } else { 0 }).sum();
        assert_eq!(found, bytes);

        for (line, signal) in text.lines().zip(&signals) {
            assert_eq!(text_of(signal, "client"), line.split(' ').next());
        }
        let mut routes: Vec<&str> = signals.iter().filter_map(|signal| text_of(signal, "route")).collect();
        routes.sort_unstable();
        routes.dedup();
        assert!(routes.len() < 100 && routes.contains(&"/blog/:rest"), "{routes:?}");
    }
}

#[test]
fn the_real_auth_log_gives_the_attempts_that_grep_finds() {
    let Some(log) = real("elastic-examples/auth.log") else { return };
    let text = String::from_utf8_lossy(&log).into_owned();
    let (signals, tally) = all_signals(&mut SshdLog::new(2017, TimeZone::UTC), &log);
    assert_eq!((tally.lines, tally.unreadable), (4_000, 0));
    let sums = derived(&signals);
    let attempts = |result: &str, method: &str| {
        sums.get(&format!("auth_attempts{{method=\"{method}\", result=\"{result}\"}}"))
            .copied()
            .unwrap_or(0.0) as usize
    };
    let grep = |pattern: &str| text.lines().filter(|line| line.contains(pattern)).count();

    // grep -c counts a line that repeats a message once; the repeats that it stands for are counted here.
    assert_eq!(grep("Failed password"), 225);
    let more: usize = text
        .lines()
        .filter(|line| line.contains("Failed password"))
        .filter_map(|line| line.split_once("message repeated ")?.1.split(' ').next()?.parse::<usize>().ok())
        .map(|times| times - 1)
        .sum();
    assert_eq!(attempts("failure", "password"), 225 + more);
    assert_eq!(attempts("failure", "password"), 250);
    assert_eq!(attempts("failure", "key"), grep("Failed publickey"));
    assert_eq!(attempts("success", "password"), grep("Accepted password"));
    assert_eq!(attempts("success", "key"), grep("Accepted publickey"));
    assert_eq!(attempts("blocked", "other"), grep("maximum authentication attempts exceeded for"));
    assert_eq!(signals.len(), sums["signals{kind=\"auth.attempt\"}"] as usize);
    assert!(signals.iter().all(|signal| text_of(signal, "client").is_some()));
    assert!(signals.iter().all(|signal| signal.time.to_string().starts_with("2017-03-")));
}

#[test]
fn every_value_of_the_real_tables_comes_back_bit_for_bit() {
    let mut points = 0;
    for folder in ["realAWSCloudwatch", "realKnownCause"] {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/real/nab").join(folder);
        let Ok(files) = std::fs::read_dir(&path) else {
            let _ = writeln!(std::io::stderr(), "SKIPPED: no {}", path.display());
            return;
        };
        for file in files {
            let text = std::fs::read_to_string(file.expect("an entry").path()).expect("text");
            let mut found = Vec::new();
            let mut sink = |labels: &[(&str, &str)], _: SeriesKind, time: Option<Timestamp>, value: f64| {
                assert_eq!(labels, [("__name__", "nab")]);
                found.push((time.expect("a time").to_string(), value.to_bits()));
            };
            let tally = read_samples(&mut CsvMetrics::new("nab", gauges), text.as_bytes(), &mut sink);
            assert_eq!((tally.skipped, tally.unreadable), (1, 0));
            let naive: Vec<(String, u64)> = text
                .lines()
                .skip(1)
                .map(|line| {
                    let (time, value) = line.split_once(',').expect("two cells");
                    let time = format!("{}Z", time.replace(' ', "T").trim_end_matches(".000000"));
                    (time, value.parse::<f64>().expect("a number").to_bits())
                })
                .collect();
            assert_eq!(found, naive);
            points += found.len();
        }
    }
    assert!(points > 100_000);
}

#[test]
fn the_real_capture_gives_every_cell_of_every_series() {
    let Some(packed) = real("node_exporter_capture/node_exporter_1s.csv.gz") else { return };
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&packed[..]), &mut text).expect("gzip");
    let mut series: BTreeMap<LabelSet, Vec<(i64, u64)>> = BTreeMap::new();
    let mut sink = |labels: &[(&str, &str)], _: SeriesKind, time: Option<Timestamp>, value: f64| {
        let labels = LabelSet::from_pairs(labels.iter().copied()).expect("valid");
        series.entry(labels).or_default().push((time.expect("a time").0, value.to_bits()));
    };
    let tally = read_samples(&mut CsvMetrics::new("m", kind_by_suffix), text.as_bytes(), &mut sink);
    assert_eq!((tally.skipped, tally.unreadable), (1, 0));
    assert_eq!(series.len(), text.lines().count() - 1);

    let times: Vec<i64> =
        text.lines().next().expect("a line").split(',').skip(1).flat_map(str::parse).collect();
    assert_eq!(times.len(), 960);
    let mut expected: Vec<Vec<(i64, u64)>> = Vec::new();
    for line in text.lines().skip(1) {
        // The cells after the series hold no comma: take them from the right.
        let mut cells: Vec<&str> = line.rsplitn(961, ',').take(960).collect();
        cells.reverse();
        let present = times.iter().zip(cells).filter(|(_, cell)| !cell.is_empty());
        expected.push(
            present.map(|(&time, cell)| (time, cell.parse::<f64>().expect("a number").to_bits())).collect(),
        );
    }
    let mut found: Vec<_> = series.into_values().collect();
    found.sort();
    expected.sort();
    assert!(found == expected);
    assert_eq!(tally.read, expected.iter().map(|cells| cells.len() as u64).sum::<u64>());
}

#[test]
fn users_and_clients_of_sign_ins_are_stored_as_pseudonyms_only() {
    let log = "Mar 27 13:06:56 h sshd[1]: Failed password for invalid user Marker x from marker.example port 2 ssh2\n\
               Mar 27 13:06:56 h sshd[1]: Accepted publickey for marker from marker.example port 2 ssh2: RSA marker\n\
               Mar 27 13:06:56 marker sudo: marker : COMMAND=marker\n";
    let (signals, tally) = all_signals(&mut SshdLog::new(2017, TimeZone::UTC), log.as_bytes());
    assert_eq!((tally.read, tally.skipped), (2, 1));
    let (schema, key, names) = (builtin(), PseudonymKey::new(&[5; 32]), NameTable::new());
    let site = SiteName::new("s").expect("valid");
    let mut admitter = Admitter::new(&schema, &key, &names, &site);
    let rows: Vec<_> = signals.iter().map(|signal| admitter.admit(signal).expect("admitted")).collect();
    let mut bytes = Vec::new();
    encode_rows(&schema, &rows, &mut bytes);
    let kept = format!("{rows:?} {:?} {}", derive(&schema, &site, &rows), String::from_utf8_lossy(&bytes));
    assert!(!kept.to_lowercase().contains("marker"), "{kept}");
}

fn readers() -> Vec<Box<dyn SignalReader>> {
    vec![
        Box::new(AccessLog::apache()),
        Box::new(AccessLog::nginx()),
        Box::new(AccessLog::apache().with_duration(TrailingDuration::Micros)),
        Box::new(SshdLog::new(2017, TimeZone::UTC)),
    ]
}

fn metric_readers() -> Vec<Box<dyn MetricReader>> {
    vec![
        Box::new(MetricsText::new(Dialect::Prometheus, None)),
        Box::new(MetricsText::new(Dialect::OpenMetrics, None)),
        Box::new(InfluxLines::new(Precision::Nanoseconds, None)),
        Box::new(CsvMetrics::new("m", gauges)),
        Box::new(JsonSamples),
    ]
}

/// Lines that each reader knows, to be cut and overwritten.
const GOOD: [&str; 10] = [
    "h:1 ::1 - a [17/May/2015:10:05:03 +0000] \"GET /a/1?q HTTP/1.1\" 200 12 \"-\" \"x \\\" y\" 0.005",
    "Mar 27 13:06:56 h sshd[1]: message repeated 5 times: [ Failed password for root from ::1 port 2 ssh2]",
    "2017-03-27T13:06:56.5+01:00 h sshd[1]: Accepted publickey for ann from ::1 port 2 ssh2",
    "up{a=\"x\\n\",b=\"\"} 0x1.8p3 1395066363000 # {t=\"1\"} 1",
    "<38>1 2017-03-27T13:06:56Z h sshd 1 - [a b=\"\\]\"] Failed password for invalid user x from ::1 port 2 ssh2",
    "{\"metric\":{\"__name__\":\"a_total\"},\"values\":[1,null],\"timestamps\":[1,2]}",
    "{\"kind\":\"mail.sent\",\"timestamp\":7,\"result\":\"sent\",\"class\":\"a\"}",
    "m\\ n,t=v f=1.5,g=2i,s=\"x\" 1465839830100400200",
    "timestamp,up,\"a{b=\"\"c\"\"}\"\n2014-02-14 14:30:00.5,1e3,\n",
    "series,1795301190243,2014-02-14\n\"a{b=\"\"c\"\"}\",,0x1p3\n",
];

fn read_with_everything(bytes: &[u8]) {
    for reader in &mut readers() {
        let (signals, tally) = all_signals(&mut **reader, bytes);
        assert_eq!(tally.read, signals.len() as u64);
        // What is read is what the schema takes: no line of a log can make a refused signal.
        let _ = derived(&signals);
    }
    // Here a line may say what its schema refuses.
    let (signals, tally) = all_signals(&mut JsonSignals::new(builtin()), bytes);
    assert_eq!(tally.read, signals.len() as u64);
    for reader in &mut metric_readers() {
        let mut count = 0;
        let mut sink = |_: &[(&str, &str)], _, _, _| count += 1;
        let tally = read_samples(&mut **reader, bytes, &mut sink);
        assert_eq!(tally.read, count);
    }
}

#[test]
fn every_cut_and_every_flipped_bit_of_good_lines_is_read_without_panic() {
    for line in GOOD {
        for end in 0..=line.len() {
            read_with_everything(&line.as_bytes()[..end]);
        }
        for bit in 0..line.len() * 8 {
            let mut damaged = line.as_bytes().to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            read_with_everything(&damaged);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        read_with_everything(&bytes);
    }

    #[test]
    fn damaged_lines_are_read_without_panic(
        line in prop::sample::select(&GOOD[..]),
        damage in prop::collection::vec((any::<usize>(), "[\\[\\]\"\\\\ ,:=/+{}0-9é-]"), 1..6),
    ) {
        let mut text = line.to_owned();
        for (at, piece) in damage {
            let mut at = at % (text.len() + 1);
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            text.insert_str(at, &piece);
        }
        read_with_everything(text.as_bytes());
    }

    #[test]
    fn what_people_write_in_a_request_reaches_no_signal_but_as_a_pseudonym(
        query in "[a-zA-Z0-9=&%]{0,20}", user in "[a-z ]{0,5}", agent in "[a-zA-Z0-9 /.]{0,30}", path in "(/[a-zA-Z0-9._%-]{1,9}){1,3}",
    ) {
        let line = format!(
            "::1 - Marker{user} [17/May/2015:10:05:03 +0000] \"GET /shop{path}/Marker{path}?Marker{query}#Marker HTTP/1.1\" 200 1 \"http://h/?Marker\" \"Marker{agent}\""
        );
        let (signals, _) = all_signals(&mut AccessLog::nginx(), line.as_bytes());
        prop_assert_eq!(signals.len(), 1);
        prop_assert!(!format!("{signals:?}").to_lowercase().contains("marker"), "{:?}", signals);
    }
}
