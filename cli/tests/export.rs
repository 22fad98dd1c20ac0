//! A tenant's data, taken out: what other programs read of it, and what comes back.

mod common;

use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use common::{Bench, access_log};

/// A tenant with requests of two days, gauges, a counter that was reset, and deltas of its own.
fn bench() -> Bench {
    let bench = Bench::with_tenant("archive");
    let log = bench.file("access.log", access_log(0..3_000));
    bench.ok(&["import", "--site", "www", "--format", "apache", &log]);
    let metrics = "\
# TYPE load gauge
load{host=\"a\"} 0.25 1431857100
load{host=\"a\"} 1.5 1431857160.5
load{host=\"b\\\\c\"} -3 1431857100
# TYPE hits counter
hits_total{host=\"a\"} 10 1431857100
hits_total{host=\"a\"} 25 1431857400
hits_total{host=\"a\"} 5 1431857700
# EOF
";
    let metrics = bench.file("metrics.om", metrics);
    bench.ok(&["import", "--site", "node", "--format", "openmetrics", &metrics]);
    let deltas = r#"{"metric":{"__name__":"sold","shop":"x"},"kind":"delta","values":[3,4,0.5],"timestamps":[1431857100000,1431857160000,1431943500000]}"#;
    let deltas = bench.file("deltas.jsonl", deltas);
    bench.ok(&["import", "--site", "node", &deltas]);
    bench
}

const QUESTIONS: [&str; 7] = [
    "load",
    "sum(avg_over_time(load[1h]))",
    "hits_total",
    "increase(hits_total[1h])",
    "sum_over_time(sold[1d])",
    "increase(sold[1d])",
    "count({__name__=~\"load|hits_total|sold\"})",
];

fn answers(bench: &Bench, tenant: &str) -> Vec<String> {
    let ask = |question: &&str| {
        bench.ok(&["query", question, "--tenant", tenant, "--at", "2015-05-17T10:10:00Z", "-o", "csv"])
    };
    QUESTIONS.iter().map(ask).collect()
}

#[test]
fn json_lines_come_back_to_equal_answers_and_openmetrics_to_all_but_deltas() {
    let bench = bench();
    let out = bench.ok(&["tenant", "export", "acme", "out", "--format", "jsonl,openmetrics"]);
    assert!(
        out.contains("samples") && out.contains("signals") && out.contains("annals export verify out"),
        "{out}"
    );
    let before = answers(&bench, "acme");
    for format in ["jsonl", "om"] {
        bench.ok(&["tenant", "create", format, "--plan", "archive"]);
        for day in ["2015-05-17", "2015-05-18"] {
            let file = format!("out/metrics/{day}.{format}");
            let ran = bench.run(&["import", "--tenant", format, "--site", "node", &file]);
            // What is derived from signals is not taken from others.
            assert!(ran.code == 0 || ran.err.contains("read"), "{}\n{}", ran.out, ran.err);
        }
        for ((question, was), is) in QUESTIONS.iter().zip(&before).zip(answers(&bench, format)) {
            if format == "jsonl" || !question.contains("increase(sold") {
                assert_eq!(*was, is, "{format}: {question}");
            }
        }
    }
}

#[test]
fn an_export_says_what_it_wrote_and_is_verified() {
    let bench = bench();
    bench.ok(&["compact"]);
    let out = bench.ok(&["tenant", "export", "acme", "out"]);
    assert!(out.starts_with("exported tenant acme to out, as it was at "), "{out}");
    assert!(out.contains("signals     3,000 from 2015-05-17T10:00:00Z"), "{out}");
    let verified = bench.ok(&["export", "verify", "out"]);
    assert!(verified.ends_with("Every file is as the manifest says.\n"), "{verified}");
    let again = bench.run(&["tenant", "export", "acme", "out"]);
    assert_eq!(again.code, 1);
    assert!(again.err.contains("holds an export already"), "{}", again.err);
    let inside = bench.run(&["tenant", "export", "acme", "annals-data/out"]);
    assert_eq!(inside.code, 2);
    assert!(inside.err.contains("lies in the store itself"), "{}", inside.err);
    std::fs::write(bench.path("out/metrics/2015-05-17.parquet"), b"x").expect("written");
    let damaged = bench.run(&["export", "verify", "out"]);
    assert_eq!(damaged.code, 3, "{}", damaged.out);
    assert!(damaged.out.contains("it has 1 bytes"), "{}", damaged.out);
    std::fs::remove_file(bench.path("out/manifest.json")).expect("removed");
    let half = bench.run(&["export", "verify", "out"]);
    assert_eq!(half.code, 1);
    assert!(half.err.contains("did not come to its end"), "{}", half.err);
}

#[test]
fn a_plan_without_the_right_is_named_and_what_to_do() {
    let bench = Bench::with_tenant("starter");
    let refused = bench.run(&["tenant", "export", "acme", "out"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("its plan `starter` does not have the right `export`"), "{}", refused.err);
    assert!(refused.err.contains("annals plan change acme PLAN"), "{}", refused.err);
    assert!(!bench.path("out").exists());
}

#[test]
fn a_damaged_block_gives_exit_code_3_and_all_else_is_exported() {
    let bench = bench();
    bench.ok(&["compact"]);
    let blocks = std::fs::read_dir(bench.store().join("t/1/b")).expect("there");
    let mut blocks: Vec<_> = blocks.map(|entry| entry.expect("an entry").path()).collect();
    blocks.sort();
    let block = blocks.iter().find(|path| path.to_string_lossy().contains("20150517-raw")).expect("a block");
    let mut bytes = std::fs::read(block).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0xff);
    std::fs::write(block, bytes).expect("written");
    let ran = bench.run(&["tenant", "export", "acme", "out"]);
    assert_eq!(ran.code, 3, "{}\n{}", ran.out, ran.err);
    assert!(ran.err.contains("missing: ") && ran.err.contains("20150517-raw"), "{}", ran.err);
    assert!(ran.out.contains("signals     3,000"), "{}", ran.out);
    let verified = bench.run(&["export", "verify", "out"]);
    assert_eq!(verified.code, 0, "{}", verified.out);
    assert!(verified.err.contains("missing: "), "{}", verified.err);
}

/// A Python that has DuckDB, installed into a directory of the test's.
fn duckdb(directory: &Path) -> Option<std::path::PathBuf> {
    let run = |program: &Path, args: &[&str]| {
        Command::new(program).args(args).output().is_ok_and(|output| output.status.success())
    };
    let environment = directory.join("python");
    let python = environment.join("bin/python");
    let whole = environment.to_string_lossy().into_owned();
    let is_there = run(Path::new("python3"), &["-m", "venv", &whole])
        && run(&python, &["-m", "pip", "install", "--quiet", "--only-binary", ":all:", "duckdb", "pytz"]);
    is_there.then_some(python)
}

#[test]
fn duckdb_reads_every_parquet_file_and_counts_and_sums_what_the_store_does() {
    let bench = bench();
    let Some(python) = duckdb(&bench.path("")) else {
        let _ = writeln!(std::io::stderr(), "SKIPPED: DuckDB cannot be installed with pip here");
        return;
    };
    bench.ok(&["compact"]);
    bench.ok(&["tenant", "export", "acme", "out"]);
    let ask = |question: &str| {
        let script = format!(
            "import duckdb\nprint('|'.join(str(v) for v in duckdb.sql(\"\"\"{question}\"\"\").fetchall()[0]))"
        );
        let output =
            Command::new(&python).arg("-c").arg(script).current_dir(bench.path("")).output().expect("runs");
        assert!(output.status.success(), "{question}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let number = |question: &str| bench.number(question, "2015-05-19");
    let metrics = "'out/metrics/*.parquet'";
    for metric in ["load", "hits_total", "sold", "http_requests", "signals"] {
        let counted = ask(&format!("select count(*), sum(value) from {metrics} where metric = '{metric}'"));
        let count = number(&format!("sum(count_over_time({metric}[10d]))"));
        let sum = number(&format!("sum(sum_over_time({metric}[10d]))"));
        assert_eq!(counted, format!("{count}|{sum:?}"), "{metric}");
    }
    let times = ask(&format!(
        "select typeof(max(timestamp)), epoch_ms(max(timestamp)) from {metrics} where metric = 'sold'"
    ));
    assert_eq!(times, "TIMESTAMP WITH TIME ZONE|1431943500000");
    let host = ask(&format!("select host, value from {metrics} where metric = 'load' and value < 0"));
    assert_eq!(host, "b\\c|-3.0");
    let signals = "'out/signals/http.request/*.parquet'";
    let missing = ask(&format!(
        "select count(*), count(client), count(distinct client) from {signals} where status = 404"
    ));
    assert_eq!(missing, "300|300|20");
    let totals = ask(&format!("select typeof(status), sum(bytes), min(site) from {signals} group by all"));
    assert_eq!(totals, format!("BIGINT|{}|www", 3_000 * 512));
}
