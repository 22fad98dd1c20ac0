//! Importing counts every line once: again, after a file has grown, packed, through a pipe.

mod common;

use std::fmt::Write as _;
use std::io::Write as _;

use common::{Bench, access_log};
use flate2::{Compression, write::GzEncoder};

const REQUESTS: &str = "sum(increase(http_requests[3d]))";
const AT: &str = "2015-05-20";
const IMPORT: [&str; 7] = ["import", "--tenant", "acme", "--site", "www", "--format", "apache"];

fn import(bench: &Bench, file: &str) -> common::Ran {
    bench.run(&[&IMPORT[..], &[file]].concat())
}

#[test]
fn importing_again_or_after_growth_counts_each_line_once() {
    let bench = Bench::with_tenant("archive");
    for (lines, code) in
        [(10, 0), (10, 0), (700, 0), (1_000, 0), (1_001, 0), (1_500, 0), (2_345, 0), (2_345, 0)]
    {
        let file = bench.file("access.log", access_log(0..lines));
        let ran = import(&bench, &file);
        assert_eq!(ran.code, code, "{}{}", ran.out, ran.err);
        assert_eq!(bench.number(REQUESTS, AT), lines as f64, "{}", ran.out);
    }
    let again = import(&bench, "access.log");
    assert!(again.out.contains("accepted    0 records"), "{}", again.out);
    assert!(again.out.contains("duplicates  2,345 records"), "{}", again.out);
}

#[test]
fn lines_of_which_no_copy_is_kept_count_once_too() {
    let bench = Bench::with_tenant("archive");
    let agent = format!("\"{}\"", "x".repeat(3_000));
    for lines in [500, 800, 800, 1_100] {
        let file = bench.file("access.log", access_log(0..lines).replace("\"agent\"", &agent));
        assert_eq!(import(&bench, &file).code, 0);
        assert_eq!(bench.number(REQUESTS, AT), lines as f64);
    }
}

#[test]
fn a_half_written_last_line_harms_nothing_that_came_before() {
    let bench = Bench::with_tenant("archive");
    let whole = access_log(0..40);
    // Cut in the middle of the last line, before its status.
    let cut = whole.trim_end().rfind("HTTP").expect("a request");
    let file = bench.file("access.log", &whole[..cut]);
    assert_eq!(import(&bench, &file).code, 0);
    assert_eq!(bench.number(REQUESTS, AT), 39.0);
    bench.file("access.log", access_log(0..60));
    let ran = import(&bench, &file);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert_eq!(bench.number(REQUESTS, AT), 60.0);
    // A last line that is whole and lacks only its line end counts, once.
    bench.file("access.log", access_log(0..61).trim_end());
    assert_eq!(import(&bench, &file).code, 0);
    bench.file("access.log", access_log(0..61));
    assert_eq!(import(&bench, &file).code, 0);
    assert_eq!(bench.number(REQUESTS, AT), 61.0);
}

#[test]
fn a_file_that_was_changed_is_reported_and_not_counted() {
    let bench = Bench::with_tenant("archive");
    let file = bench.file("access.log", access_log(0..100));
    assert_eq!(import(&bench, &file).code, 0);
    bench.file("access.log", access_log(0..100).replace("\" 404 512", "\" 500 512"));
    let ran = import(&bench, &file);
    assert_eq!(ran.code, 1, "{}", ran.out);
    // No beginning of the chunk is what was imported: none of its lines can be told from a changed one.
    assert!(ran.out.contains("imported before with other content"), "{}", ran.out);
    assert_eq!(bench.number(REQUESTS, AT), 100.0);
}

#[test]
fn packed_files_and_pipes_are_the_same_file() {
    let bench = Bench::with_tenant("archive");
    let log = access_log(0..1_200);
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(log.as_bytes()).expect("memory");
    bench.file("access.log.gz", packed.finish().expect("memory"));
    assert_eq!(import(&bench, "access.log.gz").code, 0);
    assert_eq!(bench.number(REQUESTS, AT), 1_200.0);
    let piped = bench.run_with(&[&IMPORT[..], &["-"]].concat(), log);
    assert_eq!(piped.code, 0, "{}", piped.err);
    assert!(piped.out.contains("duplicates  1,200 records"), "{}", piped.out);
    assert_eq!(bench.number(REQUESTS, AT), 1_200.0);
}

#[test]
fn a_packed_file_that_is_cut_keeps_what_could_be_read() {
    let bench = Bench::with_tenant("archive");
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(access_log(0..5_000).as_bytes()).expect("memory");
    let packed = packed.finish().expect("memory");
    bench.file("access.log.gz", &packed[..packed.len() / 2]);
    let ran = import(&bench, "access.log.gz");
    assert_eq!(ran.code, 1, "{}", ran.out);
    assert!(ran.err.contains("cannot read access.log.gz after line "), "{}", ran.err);
    bench.file("access.log.gz", &packed);
    assert_eq!(import(&bench, "access.log.gz").code, 0);
    assert_eq!(bench.number("sum(increase(http_requests[7d]))", "2015-05-24"), 5_000.0);
}

#[test]
fn formats_are_guessed_and_unreadable_lines_are_named_by_number_only() {
    let bench = Bench::with_tenant("archive");
    let mut log = access_log(0..20);
    log.insert_str(0, &access_log(20..22));
    log.push_str("secret-word nonsense\nmore secret-word nonsense\n");
    let file = bench.file("access.log", log);
    let ran = bench.run(&["import", "--site", "www", &file]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("read as apache"), "{}", ran.err);
    assert!(
        ran.out.contains("unreadable  2 lines not of this format (access.log, line 23, 24)"),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains("secret-word") && !ran.err.contains("secret-word"));
    let letter = bench.file("letter.txt", "Dear reader,\nthis is no log.\n");
    let ran = bench.run(&["import", "--site", "www", &letter]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("--format"), "{}", ran.err);
}

#[test]
fn a_gz_file_that_is_cut_counts_what_comes_before_the_cut_and_the_rest_once_it_is_whole() {
    let bench = Bench::with_tenant("archive");
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(access_log(0..30_000).as_bytes()).expect("memory");
    let packed = packed.finish().expect("memory");
    let file = bench.file("access.log.gz", &packed[..packed.len() * 2 / 3]);
    let ran = import(&bench, &file);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("repair the file"), "{}", ran.err);
    let before = bench.number("sum(increase(http_requests[60d]))", "2015-07-01");
    assert!(0.0 < before && before < 30_000.0, "{before}");
    bench.file("access.log.gz", &packed);
    assert_eq!(import(&bench, &file).code, 0);
    assert_eq!(bench.number("sum(increase(http_requests[60d]))", "2015-07-01"), 30_000.0);
}

#[test]
fn a_repeated_sign_in_counts_as_often_as_its_line_says_and_the_summary_says_so() {
    let bench = Bench::with_tenant("archive");
    let log = "Mar 27 10:00:00 h sshd[1]: Failed password for root from 192.0.2.1 port 1 ssh2\n\
               Mar 27 10:00:09 h sshd[1]: message repeated 5 times: [ Failed password for root from 192.0.2.1 port 1 ssh2]\n";
    let file = bench.file("auth.log", log);
    let ran = bench.run(&["import", "--site", "www", "--format", "sshd", "--year", "2015", &file]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(
        ran.out.contains("repeated    1 line (\"message repeated N times\") for 5 events"),
        "{}",
        ran.out
    );
    assert_eq!(bench.number("sum(increase(auth_attempts{result=\"failure\"}[1d]))", "2015-03-28"), 6.0);
}

#[test]
fn a_file_of_another_format_is_an_error_and_names_no_content() {
    let bench = Bench::with_tenant("archive");
    let letter = bench.file("letter.txt", "Dear reader,\nthis is no log.\n");
    let ran = import(&bench, &letter);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("--format"), "{}", ran.err);
    assert!(!ran.out.contains("reader") && !ran.err.contains("reader"));
}

/// Lines of line protocol, every series new for a while.
fn line_protocol(lines: usize) -> String {
    let mut text = String::new();
    for line in 0..lines {
        let time = 1_700_000_000 + line;
        writeln!(text, "cpu,host=h{} usage={}.5,idle={line}i {time}", line % 37, line % 91).expect("memory");
    }
    text
}

#[test]
fn samples_of_a_file_that_grows_are_counted_once() {
    let bench = Bench::with_tenant("archive");
    let samples = "sum(count_over_time({__name__=~\"cpu_.+\"}[1d]))";
    for lines in [5, 300, 1_000, 1_250, 1_250] {
        let file = bench.file("metrics.lp", line_protocol(lines));
        let ran = bench.run(&["import", "--site", "node", "--format", "influx", "--precision", "s", &file]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
        assert_eq!(bench.number(samples, "2023-11-15"), 2.0 * lines as f64, "{}", ran.out);
    }
}

#[test]
fn samples_without_a_time_need_one_and_count_once_per_time() {
    let bench = Bench::with_tenant("archive");
    let file = bench.file("metrics.txt", "# TYPE up gauge\nup{job=\"a\"} 1\n");
    let import = ["import", "--site", "node", "--format", "openmetrics", &file];
    let ran = bench.run(&import);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("line 2 carries no time") && ran.err.contains("--at"), "{}", ran.err);
    let at = |time: &str| bench.ok(&[&import[..], &["--at", time]].concat());
    assert!(at("2023-11-15").contains("accepted    1 record\n"));
    assert!(at("2023-11-15").contains("duplicates  1 record "));
    assert!(at("2023-11-16").contains("accepted    1 record\n"));
    assert_eq!(bench.number("count_over_time(up[7d])", "2023-11-17"), 2.0);
}

#[test]
fn a_plan_refuses_what_it_does_not_take_and_says_why() {
    let bench = Bench::with_tenant("starter");
    let file = bench.file("access.log", access_log(0..30));
    let ran = import(&bench, &file);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("refused     30 records: expired"), "{}", ran.out);
    let file = bench.file("metrics.lp", "cpu usage=1\n");
    let ran = bench.run(&["import", "--site", "node", "--format", "influx", "--at", "now", &file]);
    assert!(ran.out.contains("refused     1 record: not_entitled"), "{}", ran.out);
}

#[test]
fn the_tenant_must_exist_or_be_created() {
    let bench = Bench::with_tenant("archive");
    let file = bench.file("access.log", access_log(0..3));
    let ran = bench.run(&["import", "--tenant", "acne", "--site", "www", "--format", "apache", &file]);
    assert_eq!(ran.code, 1);
    assert!(
        ran.err.contains("there is no tenant `acne`") && ran.err.contains("did you mean `acme`?"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("annals tenant create acne --plan archive"), "{}", ran.err);
    let create = [
        "import", "--tenant", "new", "--create", "archive", "--site", "www", "--format", "apache", "--data",
        "fresh",
    ];
    let ran = bench.run(&[&create[..], &[&file]].concat());
    assert_eq!(ran.code, 0, "{}", ran.err);
    let listed = bench.ok(&["tenant", "list", "--data", "fresh", "-o", "csv"]);
    assert!(listed.lines().nth(1).is_some_and(|line| line.starts_with("new,archive,")), "{listed}");
}

#[test]
fn an_import_that_is_killed_goes_on_where_it_was_and_says_what_it_passes_over() {
    const LINES: usize = 12_000;
    let bench = Bench::with_tenant("archive");
    let log = access_log(0..LINES);
    let file = bench.file("access.log", &log);
    let counted = || bench.number("sum(increase(http_requests[20d]))", "2015-05-30");
    for half in [3_000, 7_500] {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_annals"))
            .args(IMPORT)
            .arg("-")
            .current_dir(bench.path("."))
            .env_remove("ANNALS_DATA")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("it runs");
        let mut pipe = child.stdin.take().expect("a pipe");
        for line in log.split_inclusive('\n').take(half) {
            pipe.write_all(line.as_bytes()).expect("it reads");
        }
        pipe.flush().expect("it reads");
        // The pipe stays open: it is in the middle of its work when it is killed.
        while counted() < half as f64 * 0.6 {
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        child.kill().expect("it still runs");
        child.wait().expect("it ends");
        assert!(counted() <= half as f64);
    }
    let before = counted();
    let ran = import(&bench, &file);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(counted(), LINES as f64);
    let said = |word: &str| {
        let line = ran.out.lines().find(|line| line.starts_with(word)).unwrap_or_default();
        let number: String =
            line.chars().skip(12).take_while(|c| *c != ' ').filter(char::is_ascii_digit).collect();
        number.parse::<f64>().unwrap_or(0.0)
    };
    assert_eq!((said("duplicates"), said("accepted")), (before, LINES as f64 - before), "{}", ran.out);
    assert_eq!(ran.err, "", "no bar where there is no terminal");
}

#[test]
fn no_bytes_break_an_import() {
    let bench = Bench::with_tenant("archive");
    let mut state = 11u64;
    let mut noise: Vec<u8> = Vec::new();
    for _ in 0..60_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let byte = (state >> 33) as u8;
        noise.push(if byte < 12 { b'\n' } else { byte });
    }
    let log = access_log(0..40).into_bytes();
    let broken: Vec<u8> =
        log.iter().enumerate().map(|(at, byte)| if at % 97 == 0 { b'"' } else { *byte }).collect();
    let inputs: [(&str, Vec<u8>); 6] = [
        ("noise", noise),
        ("empty", Vec::new()),
        ("broken", broken),
        ("gzip-magic-only", vec![0x1f, 0x8b]),
        ("one-long-line", vec![b'a'; 3 << 20]),
        ("line-ends", vec![b'\n'; 5_000]),
    ];
    for (name, content) in inputs {
        let file = bench.file(name, content);
        for format in ["apache", "nginx", "sshd", "openmetrics", "csv", "influx"] {
            let ran = bench.run(&[
                "import",
                "--tenant",
                "acme",
                "--site",
                "x",
                "--format",
                format,
                "--metric",
                "m",
                "--at",
                "2020-01-01",
                &file,
            ]);
            assert!([0, 1].contains(&ran.code), "{name} as {format}: {} {}", ran.code, ran.err);
            assert!(!ran.err.contains("panicked"), "{name} as {format}: {}", ran.err);
        }
        assert!(!bench.run(&["import", "--site", "x", &file]).err.contains("panicked"), "{name}");
    }
    assert_eq!(bench.run(&["import", "--site", "x", "empty"]).code, 0);
    for missing in ["nowhere.log", "."] {
        let ran = bench.run(&["import", "--site", "x", "--format", "apache", missing]);
        assert!(ran.code == 1 && ran.err.starts_with("error: "), "{}", ran.err);
    }
}

#[test]
fn signals_as_json_lines_count_and_what_the_schema_does_not_take_is_told_by_reason() {
    let bench = Bench::with_tenant("archive");
    let lines = "{\"kind\":\"mail.sent\",\"timestamp\":1431857103000,\"result\":\"sent\"}\n\
                 {\"kind\":\"mail.sent\",\"timestamp\":\"2015-05-17T10:05:04Z\",\"result\":\"secret-word\"}\n\
                 {\"kind\":\"http.request\",\"timestamp\":1431857103000,\"method\":\"GET\",\"status\":200,\"duration\":\"2.5s\"}\n\
                 {\"kind\":\"secret-word\"\n";
    let file = bench.file("signals.jsonl", lines);
    let ran = bench.run(&["import", "--site", "www", &file]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("read as signals"), "{}", ran.err);
    assert!(ran.out.contains("accepted    2 records"), "{}", ran.out);
    assert!(ran.out.contains("refused     1 record: not_allowed"), "{}", ran.out);
    assert!(ran.out.contains("unreadable  1 line not of this format (signals.jsonl, line 4)"), "{}", ran.out);
    assert!(!ran.out.contains("secret-word") && !ran.err.contains("secret-word"));
    assert_eq!(bench.number("sum(increase(http_response_seconds_sum[1d]))", "2015-05-18"), 2.5);
    let again = bench.run(&["import", "--site", "www", &file]);
    assert!(again.out.contains("duplicates  2 records"), "{}", again.out);
}

#[test]
fn what_victoriametrics_exports_is_read_as_it_is() {
    let bench = Bench::with_tenant("archive");
    let lines = "{\"metric\":{\"__name__\":\"up\",\"job\":\"node\"},\"values\":[1,null,0.5],\"timestamps\":[1431857100000,1431857110000,1431857120000]}\n";
    let file = bench.file("export.jsonl", lines);
    let ran = bench.run(&["import", "--site", "www", "--format", "victoriametrics", &file]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert_eq!(bench.number("sum_over_time(up{job=\"node\"}[1h])", "1431857180"), 1.5);
}

#[test]
fn a_dry_run_says_what_an_import_would_do_and_writes_nothing() {
    let bench = Bench::with_tenant("archive");
    let file = bench.file("access.log", access_log(0..1_200) + "no line\n");
    let import = |more: &[&str]| bench.run(&[&IMPORT[..], more, &[&file]].concat());
    let dry = import(&["--dry-run"]);
    assert_eq!(dry.code, 0, "{}{}", dry.out, dry.err);
    assert!(dry.out.starts_with("dry run     nothing was written"), "{}", dry.out);
    assert!(dry.out.contains("accepted    1,200 records"), "{}", dry.out);
    assert!(dry.out.contains("(access.log, line 1201)"), "{}", dry.out);
    let nothing = bench.run(&["query", REQUESTS, "--at", AT, "-o", "csv"]);
    assert_eq!(nothing.out.lines().count(), 1, "{}", nothing.out);
    assert_eq!(import(&[]).code, 0);
    assert_eq!(bench.number(REQUESTS, AT), 1_200.0);
    let again = import(&["--dry-run"]);
    assert!(again.out.contains("duplicates  1,200 records"), "{}", again.out);
    // Where there is no tenant yet, by the plan that it would have.
    let starter = ["import", "--tenant", "new", "--site", "www", "--create", "starter", "--dry-run", &file];
    let dry = bench.run(&starter);
    assert_eq!(dry.code, 0, "{}{}", dry.out, dry.err);
    assert!(dry.out.contains("refused     1,200 records: "), "{}", dry.out);
    assert!(!bench.run(&["tenant", "list"]).out.contains("new"));
}

#[test]
fn a_file_that_is_mostly_something_else_is_told_by_what_it_is_most_like() {
    let bench = Bench::with_tenant("archive");
    let file = bench.file("mixed.log", format!("one\ntwo\nthree\n{}", access_log(0..2)));
    let ran = bench.run(&["import", "--site", "www", &file]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(
        ran.err.contains("it is most like apache, as which 2 of its first 5 lines can be read"),
        "{}",
        ran.err
    );
    let ran = bench.run(&["import", "--site", "www", "--format", "openmetric", &file]);
    assert!(ran.err.contains("openmetrics"), "{}", ran.err);
}
