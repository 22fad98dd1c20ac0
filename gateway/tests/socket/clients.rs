//! Clients that others wrote.

use std::io::{Write as _, stderr};
use std::process::Command;

use crate::common::{Bench, now_ms};
use crate::programs::{Running, script, skip};

/// Runs promtool; `None` where it is not installed.
fn promtool(bench: &Bench, arguments: &[&str]) -> Option<String> {
    let file = bench.directory.path().join("http.yml");
    std::fs::write(&file, format!("authorization:\n  credentials: {}\n", bench.viewer)).expect("written");
    let (verb, rest) = arguments.split_first().expect("a verb");
    // Since which version a file with the credential is taken cannot be told but by asking.
    let help = Command::new("promtool").args(["query", verb, "--help"]).output().ok()?;
    let help = [help.stdout, help.stderr].concat();
    let url = format!("http://{}", bench.server.address());
    let takes_file = String::from_utf8_lossy(&help).contains("http.config.file");
    let url = if takes_file { url } else { url.replace("http://", &format!("http://any:{}@", bench.viewer)) };
    let (flags, rest): (Vec<&str>, Vec<&str>) = rest.iter().partition(|one| one.starts_with("--"));
    let mut command = Command::new("promtool");
    command.arg("query").arg(verb).args(flags);
    if takes_file {
        command.arg("--http.config.file").arg(&file);
    }
    let ran = command.arg(url).args(rest).output().ok()?;
    assert!(ran.status.success(), "{arguments:?}: {ran:?}");
    Some(String::from_utf8(ran.stdout).expect("text"))
}

/// Writes `up` of two jobs at the second that is returned.
fn two_jobs(bench: &Bench) -> i64 {
    let second = now_ms() / 1000 - 60;
    bench.write(&format!("up{{job=\"a\"}} 1 {0}000\nup{{job=\"b\"}} 0 {0}000\n", second));
    second
}

#[test]
fn promtool_reads_what_it_asks_for() {
    let bench = Bench::new();
    let second = two_jobs(&bench);
    let time = format!("--time={second}");
    let Some(instant) = promtool(&bench, &["instant", &time, "sum(up)"]) else {
        return skip("promtool");
    };
    assert_eq!(instant.trim(), format!("{{}} => 1 @[{second}]"));
    let (start, end) = (format!("--start={second}"), format!("--end={}", second + 30));
    let range = promtool(&bench, &["range", &start, &end, "--step=15s", "up{job=\"a\"}"]).expect("there");
    assert_eq!(range.matches("1 @[").count(), 3, "{range}");
    let series = promtool(&bench, &["series", "--match=up"]).expect("there");
    assert_eq!(series.lines().count(), 2, "{series}");
    let labels = promtool(&bench, &["labels", "job"]).expect("there");
    assert_eq!(labels.lines().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn prometheus_reads_floats_and_native_histograms_by_remote_read() {
    let bench = Bench::new();
    let second = two_jobs(&bench);
    bench.write_histogram("took", second, [2, 4]);
    let config = format!(
        "remote_read:\n- url: http://{}/api/v1/read\n  read_recent: true\n  authorization: {{credentials: {}}}\n",
        bench.server.address(),
        bench.viewer
    );
    let Some(running) = Running::prometheus(&config) else { return };
    let ask = |query: &str| {
        let data = running.get(&format!("/api/v1/query?query={query}&time={second}")).data();
        data["result"][0]["value"][1].clone()
    };
    assert_eq!(ask("sum(up)"), "1");
    assert_eq!(ask("up%7Bjob=~%22a%7Cx%22%7D"), "1");
    assert_eq!(ask("up%7Bjob!=%22a%22%7D"), "0");
    let version = running.get("/api/v1/status/buildinfo").data()["version"].clone();
    if version.as_str().is_some_and(|own| own.starts_with("2.4") && own < "2.43") {
        let _ =
            writeln!(stderr(), "SKIPPED native histograms by remote read: Prometheus {version} drops them");
    } else {
        assert_eq!(ask("histogram_count(took)"), "6");
        assert_eq!(ask("histogram_quantile(1,took)"), "2");
    }
    let series = running.get(&format!("/api/v1/series?match[]=up&start={second}&end={second}")).data();
    assert_eq!(series.as_array().map(Vec::len), Some(2), "{series}");
}

#[test]
fn the_api_client_for_python_reads_in_each_of_its_ways() {
    let bench = Bench::new();
    let second = two_jobs(&bench).to_string();
    let url = format!("http://{}", bench.server.address());
    if let Some(said) = script("python3", "api_client.py", &[&url, &bench.viewer, &second]) {
        assert_eq!(said.trim(), "read");
    }
}

#[test]
fn an_editor_completes_metrics_labels_and_values() {
    let bench = Bench::new();
    two_jobs(&bench);
    let url = format!("http://{}", bench.server.address());
    let Some(said) = script("node", "completion.mjs", &[&url, &bench.viewer]) else { return };
    let expected = ["u\tup", "up{j\tjob", "up{job=\"\ta b", "sum by (\t__name__ job"];
    assert_eq!(said.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn prometheus_scrapes_the_newest_samples_and_native_histograms_from_federation() {
    let bench = Bench::new();
    let second = now_ms() / 1000;
    bench.write(&format!("up_there{{job=\"a\"}} 0.5 {second}000\n"));
    bench.write_histogram("took", second, [2, 4]);
    let config = format!(
        "- job_name: federation\n  honor_labels: true\n  metrics_path: /federate\n  params: {{'match[]': ['up_there', 'took']}}\n  authorization: {{credentials: {}}}\n  static_configs:\n  - targets: ['{}']\n",
        bench.viewer,
        bench.server.address(),
    );
    let Some(running) = Running::prometheus(&config) else { return };
    let ask = |query: &str| {
        running.until(query, || {
            let found = running.get(&format!("/api/v1/query?query={query}")).data();
            found["result"].get(0).map(|own| own["value"][1].clone())
        })
    };
    assert_eq!(ask("up_there%7Bjob=%22a%22%7D"), "0.5");
    assert_eq!(ask("histogram_count(took)"), "6");
    assert_eq!(ask("histogram_sum(took)"), "9");
}

/// Floats of every size: those at which a form changes, each with its neighbours, and bits mixed from a counter.
fn floats() -> impl Iterator<Item = f64> {
    let tens = (-324..309).step_by(3).chain(-8..23).map(|exponent| format!("1e{exponent}"));
    let edges = tens.map(|ten| ten.parse::<f64>().expect("a float")).chain([f64::MAX, 0.0]);
    let edges = edges.flat_map(|edge| [edge, edge.next_up(), -edge.next_down()]);
    let mixed = (1..600u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).map(|bits| bits ^ bits >> 29);
    let short = (1..300u64).map(|n| (n * 7919) as f64 / 10f64.powi((n % 11) as i32));
    edges.chain(mixed.map(f64::from_bits)).chain(short).filter(|float| float.is_finite())
}

#[test]
fn floats_are_written_as_prometheus_writes_them() {
    let bench = Bench::new();
    let Some(running) = Running::prometheus("") else { return };
    let floats: Vec<f64> = floats().collect();
    assert!(floats.len() > 1_000);
    for some in floats.chunks(30) {
        let vectors = some.iter().enumerate();
        let vectors =
            vectors.map(|(at, float)| format!("label_replace(vector({float:e}),\"at\",\"{at}\",\"\",\"\")"));
        let union = vectors.collect::<Vec<_>>().join(" or ");
        // As values, and as labels.
        for query in [format!("sort_desc({union})"), format!("count_values(\"v\",{union})")] {
            let query: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
            let target = format!("/api/v1/query?time=0&query={query}");
            let answers = [bench.get(&target), running.get(&target)];
            let [own, theirs] = answers.map(|reply| {
                let mut data = reply.data();
                if let Some(found) = data.get_mut("result").and_then(serde_json::Value::as_array_mut) {
                    found.sort_by_key(|series| series["metric"].to_string());
                }
                data
            });
            assert_eq!(own, theirs);
        }
    }
}
