//! Clients that others wrote.

use std::process::Command;

use crate::common::{Bench, now_ms};

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

#[test]
fn promtool_reads_what_it_asks_for() {
    let bench = Bench::new();
    let second = now_ms() / 1000 - 60;
    bench.write(&format!("up{{job=\"a\"}} 1 {0}000\nup{{job=\"b\"}} 0 {0}000\n", second));
    let time = format!("--time={second}");
    let Some(instant) = promtool(&bench, &["instant", &time, "sum(up)"]) else {
        eprintln!("SKIPPED promtool: install the package prometheus");
        return;
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
