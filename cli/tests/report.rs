//! `annals report`: periods, whole tenants, all sites at once, and what is said of words that it does not know.

mod common;

use std::fmt::Write as _;

use common::Bench;

/// Sites `a` and `b` of `acme`, site `c` of `umbra`: a request an hour over three weeks of May 2015.
fn three_sites() -> Bench {
    let bench = Bench::with_tenant("archive");
    bench.ok(&["tenant", "create", "umbra", "--plan", "archive"]);
    for (tenant, site, days) in [("acme", "a", 1..22), ("acme", "b", 4..22), ("umbra", "c", 1..22)] {
        let mut log = String::new();
        for (day, hour) in days.flat_map(|day| (0..24).map(move |hour| (day, hour))) {
            let _ = writeln!(
                log,
                "192.0.2.7 - - [{day:02}/May/2015:{hour:02}:05:03 +0000] \"GET /{site} HTTP/1.1\" 200 512 \"-\" \"x\""
            );
        }
        let file = bench.file(&format!("{site}.log"), log);
        bench.ok(&["import", "--tenant", tenant, "--site", site, "--format", "apache", &file]);
    }
    bench
}

#[test]
fn each_site_of_each_tenant_gets_a_page_and_the_same_one_each_time() {
    let bench = three_sites();
    let ran = bench.run(&["report", "--each", "--out", "pages"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{}", ran.err);
    assert!(ran.err.contains("3 reports of the week from 2015-05-18 on in pages, 0 failed"), "{}", ran.err);
    let read = |name: &str| std::fs::read_to_string(bench.path(name)).expect("written");
    let pages = ["pages/acme/a.html", "pages/acme/b.html", "pages/umbra/c.html"].map(read);
    assert!(pages.iter().all(|page| page.starts_with("<!doctype html>") && page.len() < 200 << 10));
    let alone =
        bench.ok(&["report", "--tenant", "acme", "--site", "b", "--date", "2015-05-20", "-o", "html"]);
    assert_eq!(alone, pages[1]);
    // One tenant, another period and form.
    let month =
        ["report", "--each", "--tenant", "umbra", "--month", "2015-05", "-o", "json", "--out", "json"];
    assert!(bench.run(&month).err.contains("1 report of the month"));
    let json: serde_json::Value = serde_json::from_str(&read("json/umbra/c.json")).expect("JSON");
    assert_eq!((&json["span"], &json["traffic"]["requests"]["count"]), (&"month".into(), &504.into()));
}

#[test]
fn days_months_other_weeks_and_whole_tenants_count_what_was_imported() {
    let bench = three_sites();
    let count = |args: &[&str]| {
        let all: Vec<&str> = [&["report", "--tenant", "acme", "-o", "json"], args].concat();
        let json: serde_json::Value = serde_json::from_str(&bench.ok(&all)).expect("JSON");
        let requests = &json["traffic"]["requests"];
        (requests["count"].as_u64(), requests["before"].as_u64(), json["period"]["first"].to_string())
    };
    let first = |day: &str| format!("\"2015-05-{day}\"");
    assert_eq!(count(&["--site", "a", "--day", "2015-05-06"]), (Some(24), Some(24), first("06")));
    assert_eq!(count(&["--site", "b", "--day", "2015-05-04"]), (Some(24), None, first("04")));
    assert_eq!(count(&["--site", "a", "--month", "2015-05"]), (Some(504), None, first("01")));
    let sunday = ["--site", "a", "--date", "2015-05-12", "--week-start", "sunday"];
    assert_eq!(count(&sunday), (Some(168), Some(168), first("10")));
    assert_eq!(count(&["--all-sites", "--week", "2015-W20"]), (Some(336), Some(336), first("11")));
    assert_eq!(count(&["--all-sites", "--period", "day"]), (Some(48), Some(48), first("21")));
    let page = bench.ok(&["report", "--tenant", "acme", "--all-sites", "--week", "2015-W20"]);
    assert!(page.starts_with("# acme: week of 11 to 17 May 2015, all sites together"), "{page}");
    assert!(page.contains("2 sites sent signals this week"), "{page}");
}

#[test]
fn words_that_it_does_not_know_are_named_with_the_nearest() {
    let bench = three_sites();
    for (args, code, words) in [
        (&["--tenant", "acmee", "--site", "a"][..], 1, "did you mean `acme`?"),
        (&["--tenant", "acme", "--site", "elsewhere"], 1, "there are a, b"),
        (&["--tenant", "acme"], 1, "say which with --site"),
        (&["--tenant", "acme", "--site", "a", "--tz", "Europe/Berlim"], 2, "did you mean `Europe/Berlin`?"),
        (&["--tenant", "acme", "--site", "a", "--date", "2015-02-30"], 2, "write a day such as 2026-11-09"),
        (&["--tenant", "acme", "--site", "a", "--month", "2015-13"], 2, "write a month as 2026-11"),
        (&["--tenant", "acme", "--site", "a", "--period", "weak"], 2, "week"),
        (&["--each"], 2, "--out"),
        (&["--each", "--out", "annals-data/pages"], 2, "lies in the store itself"),
        (&["--tenant", "acme", "--site", "a", "--out", "./annals-data/a.html"], 2, "name a place beside it"),
    ] {
        let ran = bench.run(&[&["report"], args].concat());
        assert!(ran.code == code && ran.err.contains(words), "{args:?}: {} {}", ran.code, ran.err);
    }
    let empty = Bench::with_tenant("starter");
    let ran = empty.run(&["report"]);
    assert!(ran.code == 1 && ran.err.contains("has no signals yet"), "{}", ran.err);
    let ran = empty.run(&["report", "--each", "--out", "pages"]);
    assert!(ran.code == 1 && ran.err.contains("no tenant has signals yet"), "{}", ran.err);
}
