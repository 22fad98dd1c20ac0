//! Real logs and metrics, where they lie beside the repository: what the store answers is what the files say.

mod common;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use common::{Bench, real};

/// CSV rows of an answer: cells by position.
fn rows(csv: &str) -> Vec<Vec<String>> {
    csv.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// Milliseconds of the failed and accepted sign-ins of an `auth.log` whose lines are of 2017, from its text alone.
fn sign_ins(log: &str, word: &str) -> Vec<i64> {
    let mut times = Vec::new();
    for line in log.lines() {
        let Some((_, message)) = line.split_once("]: ") else { continue };
        let (count, message) = match message.strip_prefix("message repeated ") {
            None => (1, message),
            Some(rest) => {
                let (count, rest) = rest.split_once(" times: [").expect("a repetition");
                (count.parse().expect("a count"), rest.trim_start())
            }
        };
        if !message.starts_with(word) || !line.contains(" sshd[") {
            continue;
        }
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let month =
            ["Jan", "Feb", "Mar", "Apr", "May"].iter().position(|name| *name == words[0]).expect("a month")
                + 1;
        let time = format!("2017-{month:02}-{:0>2}T{}Z", words[1], words[2]);
        let time = time.parse::<jiff::Timestamp>().expect("a time").as_millisecond();
        times.extend(std::iter::repeat_n(time, count));
    }
    times
}

#[test]
fn requests_sign_ins_and_reports_equal_counts_made_from_the_files() {
    let (Some(access), Some(auth)) =
        (real("elastic-examples/apache_access_combined_5k.log"), real("elastic-examples/auth.log"))
    else {
        return;
    };
    let bench = Bench::with_tenant("archive");
    let www = ["import", "--tenant", "acme", "--site", "www", "--format", "apache", text(&access)];
    let bastion = [
        "import",
        "--tenant",
        "acme",
        "--site",
        "bastion",
        "--format",
        "sshd",
        "--year",
        "2017",
        text(&auth),
    ];
    for round in 0..2 {
        for import in [&www[..], &bastion[..]] {
            let out = bench.ok(import);
            assert!(round == 0 || out.contains("accepted    0 records"), "{out}");
        }
    }

    // Requests by status: the word after the quoted request.
    let log = String::from_utf8_lossy(&std::fs::read(&access).expect("read")).into_owned();
    let mut by_status: BTreeMap<String, f64> = BTreeMap::new();
    for line in log.lines() {
        let status = line.split("\" ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a status");
        *by_status.entry(status.to_owned()).or_default() += 1.0;
    }
    let answer = bench.ok(&[
        "query",
        "sum by (status) (increase(http_requests{site=\"www\"}[8d]))",
        "--at",
        "2015-05-25",
        "-o",
        "csv",
    ]);
    let answered: BTreeMap<String, f64> =
        rows(&answer).into_iter().map(|row| (row[0].clone(), row[2].parse().expect("a number"))).collect();
    assert_eq!(answered, by_status);

    // Failed passwords by hour: an hour's stamp is its end.
    let log = std::fs::read_to_string(&auth).expect("read");
    let failures = sign_ins(&log, "Failed password");
    let mut by_hour: BTreeMap<String, f64> = BTreeMap::new();
    for time in &failures {
        let hour = jiff::Timestamp::from_millisecond((time / 3_600_000 + 1) * 3_600_000).expect("in range");
        *by_hour.entry(hour.to_string()).or_default() += 1.0;
    }
    let answer = bench.ok(&[
        "range",
        "sum(increase(auth_attempts{site=\"bastion\",result=\"failure\",method=\"password\"}[1h]))",
        "--start",
        "2017-03-27",
        "--end",
        "2017-05-01",
        "--step",
        "1h",
        "-o",
        "csv",
    ]);
    let answered: BTreeMap<String, f64> =
        rows(&answer).into_iter().map(|row| (row[0].clone(), row[1].parse().expect("a number"))).collect();
    assert_eq!(answered, by_hour);
    assert_eq!(
        bench.number("sum(increase(auth_attempts{result=\"success\"}[60d]))", "2017-05-20"),
        sign_ins(&log, "Accepted ").len() as f64
    );

    // The week of 27 March 2017, a Monday, and that of 18 May 2015.
    let end_of_week = "2017-04-03T00:00:00Z".parse::<jiff::Timestamp>().expect("a time").as_millisecond();
    let of_week = |word| sign_ins(&log, word).into_iter().filter(|time| *time < end_of_week).count();
    let report: serde_json::Value =
        serde_json::from_str(&bench.ok(&["report", "--site", "bastion", "--week", "2017-W13", "-o", "json"]))
            .expect("json");
    let results = report["signins"]["results"].as_array().expect("results");
    let told =
        |name: &str| results.iter().find(|tally| tally["name"] == name).expect("a result")["count"].clone();
    assert_eq!(told("failure"), of_week("Failed "));
    assert_eq!(told("success"), of_week("Accepted "));
    let report: serde_json::Value =
        serde_json::from_str(&bench.ok(&["report", "--site", "www", "-o", "json"])).expect("json");
    let requests = &report["traffic"]["requests"];
    let total = requests["count"].as_u64().expect("a count") + requests["before"].as_u64().expect("a count");
    assert_eq!(total as f64, by_status.values().sum::<f64>());

    // Nothing that the lines hold beyond that is anywhere in the store.
    bench.ok(&["compact"]);
    assert!(bench.ok(&["verify"]).starts_with("no damage in "));
    for planted in ["semicomplete.com", "Mozilla", "83.149.9.216", "invalid user"] {
        assert!(!holds(&bench.store(), planted.as_bytes()), "{planted}");
    }
}

fn holds(directory: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(directory).expect("a directory").flatten().any(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holds(&path, needle);
        }
        let bytes = std::fs::read(&path).unwrap_or_default();
        bytes.windows(needle.len()).any(|window| window == needle)
    })
}

#[test]
fn benchmark_series_come_back_bit_for_bit() {
    let Some(nab) = real("nab") else { return };
    let bench = Bench::with_tenant("archive");
    let mut expected: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for directory in ["realAWSCloudwatch", "realKnownCause"] {
        for entry in std::fs::read_dir(nab.join(directory)).expect("a directory").flatten() {
            let path = entry.path();
            let name = path.file_stem().expect("a name").to_string_lossy().replace(['-', '.'], "_");
            bench.ok(&[
                "import",
                "--tenant",
                "acme",
                "--site",
                "nab",
                "--format",
                "csv",
                "--metric",
                &name,
                text(&path),
            ]);
            let content = std::fs::read_to_string(&path).expect("read");
            // Where a stamp comes twice the later line holds.
            let points =
                content.lines().skip(1).filter_map(|line| line.split_once(',')).map(|(time, value)| {
                    let value: f64 = value.trim().parse().expect("a number");
                    (format!("{}Z", time.replace(' ', "T")), value.to_bits())
                });
            expected.insert(name, points.collect());
        }
    }
    assert_eq!(expected.len(), 24);
    bench.ok(&["compact"]);
    let csv = bench.ok(&["query", "{__name__=~\".+\"}[5000d]", "--at", "2020-01-01", "-o", "csv"]);
    let mut answered: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for row in rows(&csv) {
        let value: f64 = row[2].parse().expect("a number");
        answered.entry(row[0].clone()).or_default().insert(row[1].clone(), value.to_bits());
    }
    assert_eq!(answered.len(), expected.len());
    for (name, points) in &expected {
        assert_eq!(answered.get(name), Some(points), "{name}");
    }
}

#[test]
fn a_capture_of_an_exporter_comes_back_bit_for_bit() {
    let Some(path) = real("node_exporter_capture/node_exporter_1s.csv.gz") else { return };
    let bench = Bench::with_tenant("archive");
    let import = ["import", "--tenant", "acme", "--site", "node", text(&path)];
    bench.ok(&import);
    let again = bench.ok(&import);
    assert!(again.contains("accepted    0 records"), "{again}");

    let mut content = String::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(&path).expect("opened"))
        .read_to_string(&mut content)
        .expect("text");
    let mut lines = content.lines();
    let stamps: Vec<i64> = lines
        .next()
        .expect("a header")
        .split(',')
        .skip(1)
        .map(|cell| cell.parse().expect("a time"))
        .collect();
    // Values and times alone, per series in the order of their bits: names are compared by their number.
    let mut expected: Vec<Vec<(i64, u64)>> = lines
        .map(|line| {
            // The series is quoted where it has labels; values hold no comma.
            let cells = match line.strip_prefix('"') {
                Some(quoted) => quoted.rsplit_once("\",").expect("a closing quote").1,
                None => line.split_once(',').expect("a cell").1,
            };
            let points = stamps.iter().zip(cells.split(',')).filter(|(_, cell)| !cell.is_empty());
            points.map(|(time, cell)| (*time, bits(cell))).collect()
        })
        .collect();
    let last = stamps.last().expect("stamps");
    let json = bench.ok(&["query", "{__name__=~\".+\"}[1h]", "--at", &last.to_string(), "-o", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&json).expect("json");
    let mut answered: Vec<Vec<(i64, u64)>> = answer["data"]["result"]
        .as_array()
        .expect("series")
        .iter()
        .map(|series| {
            let points = series["values"].as_array().expect("points").iter();
            points
                .map(|point| {
                    let time = (point[0].as_f64().expect("a time") * 1000.0).round() as i64;
                    (time, bits(point[1].as_str().expect("a value")))
                })
                .collect()
        })
        .collect();
    expected.sort_unstable();
    answered.sort_unstable();
    assert_eq!(answered.len(), expected.len());
    assert!(answered == expected, "values differ");
}

/// The bits of a number; every NaN is one.
fn bits(text: &str) -> u64 {
    let value: f64 = text.parse().expect("a number");
    if value.is_nan() { f64::NAN.to_bits() } else { value.to_bits() }
}
