//! `annals promql`: scripts, trees and formatting, without a store.

mod common;

use common::Bench;

#[test]
fn a_script_says_per_file_what_passed_and_shows_the_first_difference() {
    let bench = Bench::new();
    let good =
        bench.file("good.test", "load 1m\n  m{a=\"x\"} 0+1x5\n\neval instant at 5m m\n  m{a=\"x\"} 5\n");
    let bad = bench.file(
        "bad.test",
        "load 1m\n  h {{schema:0 sum:1 count:1 buckets:[1]}}\n\neval instant at 1m h * 2\n  {} {{count:3 sum:2 buckets:[2]}}\n",
    );
    let ran = bench.run(&["promql", "test", &good]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "good.test: 1 passed, 0 failed\n1 passed, 0 failed\n"));
    let ran = bench.run(&["promql", "test", &good, &bad]);
    assert_eq!(ran.code, 3);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!(lines[1], "bad.test: 0 passed, 1 failed");
    assert!(
        lines[2].starts_with("  line 4: h * 2: found [{} [0] {count:2, sum:2, (0.5,1]:2}"),
        "{}",
        ran.out
    );
    assert_eq!(lines.last(), Some(&"1 passed, 1 failed"));
}

#[test]
fn a_script_that_cannot_be_read_is_named_with_its_line() {
    let bench = Bench::new();
    let file = bench.file("odd.test", "load 1m\n  m 0+1x5\n\nfrobnicate\n");
    let ran = bench.run(&["promql", "test", &file]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("odd.test: line 4: expected load, clear or eval"), "{}", ran.err);
    let ran = bench.run(&["promql", "test", "none.test"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("cannot read none.test"), "{}", ran.err);
}

#[test]
fn a_query_is_shown_as_a_tree_and_written_anew() {
    let bench = Bench::new();
    let ran = bench.run(&["promql", "parse", "-rate(hits[5m])"]);
    assert_eq!(ran.code, 0);
    assert!(ran.out.contains("call `rate`") && ran.out.contains("1:7-1:15"), "{}", ran.out);
    let ran = bench.run(&["promql", "format", "sum  by(job)(rate( hits{ code=~'5..' }[300s] ))>2"]);
    assert_eq!(ran.out, "sum by (job) (rate(hits{code=~\"5..\"}[5m])) > 2\n");
    let ran = bench.run(&["promql", "format", "sum("]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("line 1, column 5"), "{}", ran.err);
}
