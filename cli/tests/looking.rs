//! Looking around: every form of an answer, raw signals, rankings, zones, files of questions, odd terminals, hints.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use common::{Bench, access_log};

/// An hour of requests at one site: 162 of 200 and 18 of 404, one every 20 seconds.
fn imported() -> Bench {
    let bench = Bench::with_tenant("archive");
    let file = bench.file("access.log", access_log(0..180));
    bench.ok(&["import", "--site", "www", "--format", "apache", &file]);
    bench
}

const BY_STATUS: &str = "sum by (status) (increase(http_requests[1h]))";
const AT: [&str; 2] = ["--at", "2015-05-17T11:00:00Z"];

fn ask(bench: &Bench, form: &str) -> String {
    bench.ok(&["query", BY_STATUS, AT[0], AT[1], "-o", form])
}

#[test]
fn an_answer_in_tsv_prom_parquet_and_svg_holds_the_same_numbers() {
    let bench = imported();
    assert_eq!(ask(&bench, "tsv").lines().last(), Some("404\t2015-05-17T11:00:00Z\t18"));
    let named = format!("label_replace({BY_STATUS}, \"__name__\", \"asked\", \"\", \"\")");
    let prom = bench.ok(&["query", &named, AT[0], AT[1], "-o", "prom"]);
    assert_eq!(prom, "asked{status=\"200\"} 162 1431860400000\nasked{status=\"404\"} 18 1431860400000\n");
    // What is written so can be read again.
    bench.file("asked.prom", &prom);
    bench.ok(&["tenant", "create", "other", "--plan", "archive"]);
    bench.ok(&["import", "--tenant", "other", "--site", "x", "--format", "openmetrics", "asked.prom"]);
    let again = bench.ok(&["query", "asked", "--tenant", "other", AT[0], AT[1], "-o", "csv"]);
    assert!(again.contains(",162\n") && again.contains(",18\n"), "{again}");

    let svg = bench.ok(&["query", BY_STATUS, "--tenant", "acme", AT[0], AT[1], "-o", "svg"]);
    assert!(svg.starts_with("<svg ") && svg.contains(">status=404<") && svg.contains(">162<"), "{svg}");
    let parquet = Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(["query", BY_STATUS, "--tenant", "acme", AT[0], AT[1], "-o", "parquet"])
        .current_dir(bench.path(""))
        .output()
        .expect("it runs");
    assert!(parquet.stdout.starts_with(b"PAR1") && parquet.stdout.ends_with(b"PAR1"));
}

#[test]
fn a_form_that_does_not_fit_is_refused_by_name() {
    let bench = imported();
    let refused: [(&[&str], &str); 6] = [
        (&["query", BY_STATUS, AT[0], AT[1], "-o", "prom"], "cannot be written as prom"),
        (&["series", "-o", "chart"], "invalid value 'chart'"),
        (&["signals", "-o", "svg"], "cannot be written as svg"),
        (&["signals", "--by", "status", "-o", "prom"], "cannot be written as prom"),
        (&["top", "-o", "csv"], "csv holds one ranking"),
        (&["query", "-f", "two.promql", "-o", "svg"], "svg holds one answer, and there are 2"),
    ];
    bench.file("two.promql", "1; 2");
    for (args, why) in refused {
        let ran = bench.run(args);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{args:?}: {}", ran.err);
        assert!(ran.err.contains(why), "{args:?}: {}", ran.err);
    }
}

#[test]
fn questions_of_a_file_and_of_standard_input_are_answered_in_their_turn() {
    let bench = imported();
    bench.file(
        "day.promql",
        "# all\nsum(increase(http_requests[1h]));\nsum(increase(http_requests{status=\"404\"}[1h]))\n",
    );
    let ran = bench.ok(&["query", "-f", "day.promql", AT[0], AT[1]]);
    let values: Vec<&str> = ran.lines().filter_map(|line| line.rsplit(':').next()).collect();
    assert_eq!(values, ["180}", "18}"], "{ran}");
    let ran = bench.run_with(&["query", "-", AT[0], AT[1], "-o", "csv"], "time() ; \"a;b\"");
    assert_eq!(ran.out, "time,value\n2015-05-17T11:00:00Z,1431860400\n\nvalue\na;b\n", "{}", ran.err);
    let ran = bench.run_with(&["query", "-"], " ; # nothing\n");
    assert!(ran.code == 2 && ran.err.contains("no question in standard input"), "{}", ran.err);
    // The one that is wrong is shown, and what was answered before stays.
    let ran = bench.run_with(&["query", "-", AT[0], AT[1]], "1; sum(; 2");
    assert!(ran.code == 1 && ran.out.contains("\"value\":1") && ran.err.contains("sum("), "{}", ran.err);
}

#[test]
fn signals_are_searched_by_kind_field_number_and_time() {
    let bench = imported();
    let lines = |args: &[&str]| {
        let out = bench.ok(&[&["signals"], args].concat());
        out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(lines(&["--limit", "0"]).len(), 180);
    assert_eq!(lines(&["kind=http.request", "status=404", "site=www"]).len(), 18);
    assert_eq!(lines(&["status>=300", "bytes<=512", "route=~/news.*"]).len(), 18);
    assert_eq!(lines(&["status>404"]).len(), 0);
    assert_eq!(lines(&["status!=404", "--end", "2015-05-17T10:10:00Z", "--last", "10m"]).len(), 27);
    let newest = lines(&["-n", "2"]);
    assert!(newest[1].starts_with(r#"{"time":"2015-05-17T10:59:40Z","kind":"http.request","site":"www","method":"GET","status":404,"#), "{newest:?}");
    // Pages go back from the newest, without a gap and without a repetition.
    let pages: Vec<String> =
        (1..=5).rev().flat_map(|page| lines(&["-n", "40", "--page", &page.to_string()])).collect();
    assert_eq!(pages, lines(&["-n", "0"]));
    assert_eq!(lines(&["-n", "40", "--page", "6"]), Vec::<String>::new());
}

#[test]
fn signals_are_counted_grouped_and_drawn() {
    let bench = imported();
    assert_eq!(bench.ok(&["signals", "--count", "-o", "csv"]), "kind,site,signals\nhttp.request,www,180\n");
    assert_eq!(
        bench.ok(&["signals", "status>300", "--count", "-o", "csv"]),
        "kind,site,signals\nhttp.request,www,18\n"
    );
    assert_eq!(
        bench.ok(&["signals", "--by", "status,method", "-o", "csv"]),
        "status,method,signals\n200,GET,162\n404,GET,18\n"
    );
    let hourly = bench.ok(&["signals", "status=404", "--by", "status", "--step", "10m", "-o", "csv"]);
    let values: Vec<&str> =
        hourly.lines().skip(1).map(|line| line.rsplit(',').next().unwrap_or_default()).collect();
    assert_eq!(values, ["3"; 6], "{hourly}");
    assert!(bench.ok(&["signals", "--by", "status", "-o", "chart"]).contains("404 │"));
    let few = bench.run(&["signals", "--by", "client", "--step", "1ms"]);
    assert!(few.code == 2 && few.err.contains("a longer --step"), "{}", few.err);
}

#[test]
fn a_search_without_an_answer_says_which_word_is_unknown() {
    let bench = imported();
    for (filter, said) in [
        ("kind=http.reqest", "did you mean `http.request`?"),
        ("statsu=200", "did you mean `status`?"),
        ("kind=auth.attempt", "none of the 180 raw signals"),
    ] {
        let ran = bench.run(&["signals", filter]);
        assert_eq!((ran.code, ran.out.as_str()), (0, ""));
        assert!(ran.err.contains(said), "{filter}: {}", ran.err);
    }
    for (question, said) in [
        ("sum(http_request)", "there is no metric `http_request`; did you mean `http_requests`?"),
        ("http_requests{stauts=\"200\"}", "did you mean `status`?"),
        (
            "http_requests{status=\"20\"}",
            "no series of `http_requests` has status=\"20\"; did you mean `200`?",
        ),
    ] {
        let ran = bench.run(&["query", question]);
        assert!(ran.code == 0 && ran.err.contains(said), "{question}: {}", ran.err);
    }
    // What is asked for may be long, and hold what a terminal obeys.
    let ran = bench.run(&["query", &format!("{{\"up\u{1b}[31m{}\"}}", "p".repeat(5_000))]);
    assert!(ran.code == 0 && ran.err.len() < 200 && !ran.err.contains('\u{1b}'), "{}", ran.err);
}

#[test]
fn an_operator_searches_only_what_is_written_down() {
    let bench = imported();
    bench.ok(&["signals", "status=404", "--operator", "ann", "--reason", "ticket 1"]);
    bench.ok(&["explain", "http_requests", "--operator", "ann", "--reason", "ticket 2"]);
    let trail = bench.ok(&["audit", "show", "-o", "csv"]);
    assert!(trail.contains("ticket 1,signals,") && trail.contains("ticket 2,explain,"), "{trail}");
}

#[test]
fn rankings_count_series_values_and_samples() {
    let bench = imported();
    let metrics = bench.ok(&["top", "metrics", "-o", "csv"]);
    assert!(metrics.starts_with("metric,series,samples,bytes\n"), "{metrics}");
    assert!(metrics.contains("\nhttp_requests,2,"), "{metrics}");
    let labels = bench.ok(&["top", "labels", "--match", "http_requests", "-o", "csv"]);
    assert!(labels.contains("\nstatus,2,2,\"200 (1), 404 (1)\"\n"), "{labels}");
    let series = bench.ok(&["top", "series", "-n", "1", "-o", "csv"]);
    assert_eq!(series.lines().count(), 2, "{series}");
    let all = bench.ok(&["top", "-o", "table"]);
    assert!(
        all.contains("by their series")
            && all.contains("by their distinct values")
            && all.contains("by their samples")
    );
}

#[test]
fn a_zone_is_that_of_times_in_and_of_times_for_people_out() {
    let bench = imported();
    let ask = |form: &str| {
        bench.ok(&["query", "time()", "--at", "2015-05-17 13:00", "--tz", "Europe/Berlin", "-o", form])
    };
    assert!(ask("table").contains("2015-05-17 13:00+02:00"), "{}", ask("table"));
    assert!(ask("csv").contains("2015-05-17T11:00:00Z"), "{}", ask("csv"));
    let day = ["range", "sum(increase(http_requests[1h]))", "--start", "2015-05-17", "--end", "2015-05-18"];
    let chart = bench.ok(&[&day[..], &["--step", "1h", "--tz", "Asia/Tokyo", "-o", "chart"]].concat());
    assert!(chart.contains("2015-05-17 00:00+09:00 to 2015-05-18 00:00+09:00"), "{chart}");
    let wrong = bench.run(&["query", "1", "--tz", "tokyo"]);
    assert!(wrong.code == 2 && wrong.err.contains("did you mean `Asia/Tokyo`?"), "{}", wrong.err);
}

#[test]
fn a_terminal_without_utf_8_gets_ascii() {
    let bench = imported();
    for args in [
        &["query", BY_STATUS, AT[0], AT[1], "-o", "chart"][..],
        &["range", BY_STATUS, "--start", "2015-05-17 10:00", "--end", "2015-05-17 12:00", "-o", "chart"],
        &["query", BY_STATUS, AT[0], AT[1], "-o", "table"],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_annals"))
            .args(args)
            .current_dir(bench.path(""))
            .env("LC_ALL", "C")
            .output()
            .expect("it runs");
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(text.is_ascii() && text.contains(['#', ':', '-']), "{text}");
    }
}

#[test]
fn odd_answers_make_sensible_charts() {
    let bench = imported();
    let at = ["--start", "2015-05-17 10:00", "--end", "2015-05-17 11:00", "-o"];
    for question in [
        "vector(5)",
        "vector(NaN)",
        "vector(1/0)",
        "vector(-1e308)",
        "vector(time() % 7 / 0)",
        "nothing",
        "5",
        "1e-310",
    ] {
        for form in ["chart", "svg"] {
            let ran = bench.run(&[&["range", question], &at[..], &[form]].concat());
            assert_eq!(ran.code, 0, "{question} {form}: {}", ran.err);
            assert!(!ran.out.contains("=\"NaN") && !ran.out.contains("=\"inf"), "{question}: {}", ran.out);
        }
    }
    let one =
        bench.ok(&["range", "vector(5)", "--start", "2015-05-17", "--end", "2015-05-17", "-o", "chart"]);
    assert!(
        one.contains("min 5") || one.contains('⠤') || one.contains('⠂') || one.contains("vector(5)"),
        "{one}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let bench = imported();
    let mut child = Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(["range", "vector(1)", "--start", "2015-05-01", "--end", "2015-05-21", "--step", "2m"])
        .current_dir(bench.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut first = String::new();
    BufReader::new(child.stdout.take().expect("piped")).read_line(&mut first).expect("a line");
    assert!(first.starts_with('{'), "{first}");
    // The rest does not fit into the pipe, and nobody reads it.
    let status = child.wait().expect("it ends");
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    assert_eq!((status.code(), said.as_str()), (Some(0), ""));
}

#[test]
fn following_shows_what_is_written_meanwhile_once() {
    let bench = Bench::with_tenant("archive");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    let line = |second: u64, path: &str| {
        let out = Command::new("date")
            .args(["-u", "-d", &format!("@{second}"), "+%d/%b/%Y:%H:%M:%S +0000"])
            .output();
        let stamp = String::from_utf8(out.expect("date runs").stdout).expect("text");
        format!("192.0.2.1 - - [{}] \"GET /{path} HTTP/1.1\" 200 5 \"-\" \"-\"\n", stamp.trim())
    };
    let import = |name: &str, text: String| {
        let file = bench.file(name, text);
        bench.ok(&["import", "--site", "www", "--format", "apache", &file]);
    };
    import("a.log", line(now - 30, "first"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(["signals", "--follow", "-o", "jsonl"])
        .current_dir(bench.path(""))
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut next = || lines.next().expect("a line").expect("text");
    assert!(next().contains("/first"), "what there was");
    import("b.log", line(now - 10, "second") + &line(now - 10, "second"));
    assert!(next().contains("/second") && next().contains("/second"), "both, although they are equal");
    import("c.log", line(now - 20, "late"));
    assert!(next().contains("/late"), "once, and nothing in between");
    child.kill().expect("it still runs");
    child.wait().expect("it ends");
}
