//! Asking: forms of answers, where data is when there is none, errors that say what to do.

mod common;

use common::{Bench, access_log};

fn imported() -> Bench {
    let bench = Bench::with_tenant("archive");
    let file = bench.file("access.log", access_log(0..180));
    bench.ok(&["import", "--site", "www", "--format", "apache", &file]);
    bench
}

const BY_STATUS: &str = "sum by (status) (increase(http_requests[1h]))";

#[test]
fn every_form_tells_the_same_numbers() {
    let bench = imported();
    let ask = |form: &str| bench.ok(&["query", BY_STATUS, "--at", "2015-05-17T11:00:00Z", "-o", form]);
    assert_eq!(ask("csv"), "status,time,value\n200,2015-05-17T11:00:00Z,162\n404,2015-05-17T11:00:00Z,18\n");
    assert_eq!(
        ask("jsonl").lines().next(),
        Some(r#"{"labels":{"status":"200"},"time":"2015-05-17T11:00:00Z","value":162}"#)
    );
    assert_eq!(ask("markdown"), "| status | value |\n| --- | ---: |\n| 200 | 162 |\n| 404 | 18 |\n");
    let json: serde_json::Value = serde_json::from_str(&ask("json")).expect("json");
    assert_eq!(json["status"], "success");
    assert_eq!(json["data"]["result"][1]["value"][1], "18");
    assert!(ask("table").contains("404") && ask("chart").contains('█'));
    // In a pipe the default is a line of JSON per sample.
    assert_eq!(bench.ok(&["query", BY_STATUS, "--at", "1431860400"]), ask("jsonl"));
}

#[test]
fn a_range_gives_a_point_per_step() {
    let bench = imported();
    let refused = bench.run(&["range", "x", "--start", "0", "--last", "1h"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    let csv = bench.ok(&[
        "range",
        "sum(increase(http_requests[10m]))",
        "--start",
        "2015-05-17T10:10:00Z",
        "--end",
        "2015-05-17T11:00:00Z",
        "--step",
        "10m",
        "-o",
        "csv",
    ]);
    let values: Vec<&str> = csv.lines().skip(1).filter_map(|line| line.rsplit(',').next()).collect();
    assert_eq!(values, ["30"; 6], "{csv}");
    let chart = bench.ok(&[
        "range",
        "sum(increase(http_requests[10m]))",
        "--end",
        "2015-05-17T11:00:00Z",
        "--last",
        "50m",
        "-o",
        "chart",
    ]);
    assert!(chart.contains('└') && chart.contains("10:30"), "{chart}");
}

#[test]
fn an_empty_answer_says_where_the_data_is() {
    let bench = imported();
    let ran = bench.run(&["range", "sum(http_requests)"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert!(ran.err.contains("ends at 2015-05-17T11:00:00Z; try --end 2015-05-17T11:00:00Z"), "{}", ran.err);
    let ran = bench.run(&["query", "http_requests"]);
    assert!(ran.err.contains("try --at 2015-05-17T11:00:00Z"), "{}", ran.err);
    let ran = bench.run(&["query", "http_requests", "--at", "2014-01-01"]);
    assert!(ran.err.contains("starts at 2015-05-17T10:01:00Z"), "{}", ran.err);
    let ran = bench.run(&["query", "nothing_of_that_name", "--at", "2015-05-17T11:00:00Z"]);
    assert!(ran.err.contains("annals series"), "{}", ran.err);
}

#[test]
fn series_and_labels_are_listed() {
    let bench = imported();
    let series = bench.ok(&["series", "http_requests{status=\"404\"}", "-o", "csv"]);
    assert_eq!(series.lines().count(), 2, "{series}");
    assert!(series.contains("http_requests{") && series.trim_end().ends_with(",delta"), "{series}");
    assert_eq!(bench.ok(&["labels", "status", "-o", "csv"]), "value\n200\n404\n");
    assert!(bench.ok(&["labels", "-o", "csv"]).contains("\nroute\n"));
    let ran = bench.run(&["labels", "statsu"]);
    assert!(ran.err.contains("did you mean `status`?"), "{}", ran.err);
    assert_eq!(bench.run(&["series", "sum(x)"]).code, 2);
}

#[test]
fn a_query_that_does_not_parse_is_shown_with_a_caret() {
    let bench = imported();
    let ran = bench.run(&["query", "sum(rate(http_requests[5m])"]);
    assert_eq!(ran.code, 1);
    let lines: Vec<&str> = ran.err.lines().collect();
    assert!(lines[0].starts_with("error: "), "{}", ran.err);
    let source =
        lines.iter().position(|line| line.contains("sum(rate(http_requests[5m])")).expect("the source");
    assert!(lines[source + 1].trim_end().ends_with('^'), "{}", ran.err);
    assert_eq!(ran.out, "");
}

#[test]
fn a_wrong_command_line_exits_with_2_and_an_error_with_1() {
    let bench = imported();
    for args in [
        &["quary", "x"][..],
        &["query"],
        &["query", "x", "--at", "yesterday"],
        &["range", "x", "--step", "0"],
        &["range", "x", "--start", "2015-05-18", "--end", "2015-05-17"],
        &["query", "x", "-o", "xml"],
        &["tenant", "create", "a/b", "--plan", "archive"],
        &["tenant", "create", "b", "--plan", "gold"],
        &["report", "--tz", "Mars/Phobos"],
        &["report", "--week", "2015-20"],
        &[],
    ] {
        let ran = bench.run(args);
        assert_eq!(ran.code, 2, "{args:?}: {}", ran.err);
        assert_eq!(ran.out, "", "{args:?}");
    }
    assert!(bench.run(&["quary", "x"]).err.contains("query"));
    let ran = bench.run(&["query", "x", "--tenant", "acne"]);
    assert_eq!(ran.code, 1);
    assert_eq!(ran.err, "error: there is no tenant `acne`\n  did you mean `acme`?\n");
    assert_eq!(bench.run(&["tenant", "create", "acme", "--plan", "archive"]).code, 1);
}

#[test]
fn a_missing_store_and_an_empty_one_say_how_to_begin() {
    let bench = Bench::new();
    for args in [&["query", "x"][..], &["tenant", "list"], &["verify"], &["compact"], &["labels"]] {
        let ran = bench.run(args);
        assert_eq!(ran.code, 1, "{args:?}");
        assert!(ran.err.contains("there is no store at annals-data"), "{args:?}: {}", ran.err);
        assert!(ran.err.contains("annals tenant create"), "{args:?}: {}", ran.err);
        assert!(!bench.store().exists(), "{args:?} made a store");
    }
    let bench = Bench::with_tenant("archive");
    let ran = bench.run(&["query", "up"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert!(ran.err.contains("has no metrics yet"), "{}", ran.err);
    assert_eq!(bench.ok(&["series"]), "");
    assert!(bench.ok(&["verify"]).starts_with("no damage in "));
    assert_eq!(bench.run(&["report"]).code, 1);
}

#[test]
fn several_tenants_are_named_where_one_must_be_chosen() {
    let bench = imported();
    bench.ok(&["tenant", "create", "other", "--plan", "starter"]);
    let ran = bench.run(&["query", "x"]);
    assert_eq!(ran.code, 1);
    assert_eq!(
        ran.err,
        "error: the store has several tenants; say which with --tenant\n  there are acme, other\n"
    );
}

#[test]
fn every_verb_shows_an_example() {
    let bench = Bench::new();
    for verb in
        ["demo", "import", "query", "range", "series", "labels", "report", "compact", "verify", "inspect"]
    {
        let help = bench.ok(&[verb, "--help"]);
        assert!(help.contains(&format!("\n  annals {verb}")), "{help}");
    }
}

#[test]
fn a_report_without_a_week_is_of_the_last_one_with_data() {
    let bench = imported();
    // 2015-05-17 was a Sunday.
    let text = bench.ok(&["report"]);
    assert!(text.starts_with("# www: week of 11 to 17 May 2015"), "{text}");
    assert!(text.contains("180"), "{text}");
    assert_eq!(bench.ok(&["report", "--week", "2015-W20"]), text);
    assert_eq!(bench.ok(&["report", "--date", "2015-05-12"]), text);
    let ran = bench.run(&["report", "--out", "week.html"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    let page = std::fs::read_to_string(bench.path("week.html")).expect("written");
    assert!(page.to_lowercase().starts_with("<!doctype html>"), "{}", &page[..80]);
    let json: serde_json::Value = serde_json::from_str(&bench.ok(&["report", "-o", "json"])).expect("json");
    assert_eq!(json["schema"], "annals.report/2");
    let ran = bench.run(&["report", "--site", "wwv"]);
    assert!(ran.code == 1 && ran.err.contains("did you mean `www`?"), "{}", ran.err);
}

#[test]
fn plans_are_listed_and_shown() {
    let bench = Bench::new();
    let plans = bench.ok(&["plan", "list", "-o", "csv"]);
    assert!(plans.contains("professional,3 d,30 d,-,30 d,6h,-"), "{plans}");
    assert!(bench.ok(&["plan", "show", "archive", "-o", "csv"]).contains("raw signals are kept,for ever"));
    let ran = bench.run(&["plan", "show", "enterprize"]);
    assert!(ran.code == 2 && ran.err.contains("did you mean `enterprise`?"), "{}", ran.err);
}

#[test]
fn the_variable_names_the_store_and_the_flag_goes_before_it() {
    let (bench, other) = (imported(), Bench::with_tenant("starter"));
    let list = |data: &[&str]| {
        let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_annals"))
            .args(["tenant", "list", "-o", "csv"])
            .args(data)
            .env("ANNALS_DATA", bench.store())
            .output()
            .expect("it runs");
        String::from_utf8(output.stdout).expect("text")
    };
    assert!(list(&[]).contains("acme,archive"));
    assert!(list(&["--data", &other.store().display().to_string()]).contains("acme,starter"));
}
