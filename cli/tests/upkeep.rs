//! A store's files: compacting, damage, a second writer, the demo.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals::vfs::{RealVfs, SystemClock, SystemEntropy};
use annals::{Annals, Options};
use common::{Bench, access_log};

fn blocks(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(blocks(&path));
        } else if path.extension().is_some_and(|ending| ending == "blk") {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn two_tenants() -> Bench {
    let bench = Bench::with_tenant("archive");
    bench.ok(&["tenant", "create", "other", "--plan", "archive"]);
    let file = bench.file("access.log", access_log(0..9_000));
    for tenant in ["acme", "other"] {
        bench.ok(&["import", "--tenant", tenant, "--site", "www", "--format", "apache", &file]);
    }
    bench.ok(&["compact"]);
    bench
}

const REQUESTS: &str = "sum(increase(http_requests[1d]))";

fn requests(bench: &Bench, tenant: &str, at: &str) -> (String, String) {
    let ran = bench.run(&["query", REQUESTS, "--tenant", tenant, "--at", at, "-o", "csv"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    (ran.out.lines().nth(1).and_then(|line| line.rsplit(',').next()).unwrap_or_default().to_owned(), ran.err)
}

#[test]
fn compacting_leaves_a_block_per_day_and_the_same_answers() {
    let bench = Bench::with_tenant("archive");
    for (name, lines) in [("a.log", 0..3_000), ("b.log", 3_000..6_000)] {
        let file = bench.file(name, access_log(lines));
        bench.ok(&["import", "--site", "www", "--format", "apache", &file]);
        let out = bench.ok(&["compact"]);
        assert!(out.contains("flushed  acme"), "{out}");
    }
    assert_eq!(bench.number(REQUESTS, "2015-05-18"), 2_520.0);
    assert_eq!(bench.number(REQUESTS, "2015-05-19"), 3_480.0);
    assert_eq!(blocks(&bench.store().join("t")).len(), 6, "two days of metrics, of signals, and of rollups");
    let again = bench.ok(&["compact"]);
    assert!(again.starts_with("0 blocks flushed, 0 merged, 0 days sealed, 0 dropped"), "{again}");
    assert!(bench.ok(&["verify"]).starts_with("no damage in "));
}

#[test]
fn a_damaged_block_is_named_and_all_else_is_served() {
    let bench = two_tenants();
    let of_acme = blocks(&bench.store().join("t"));
    let damaged =
        of_acme.iter().find(|path| path.to_string_lossy().contains("20150518-raw")).expect("a block");
    let mut bytes = std::fs::read(damaged).expect("read");
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 64] {
        *byte ^= 0x55;
    }
    std::fs::remove_file(damaged).expect("removed");
    std::fs::write(damaged, bytes).expect("written");

    let ran = bench.run(&["verify"]);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    let name = damaged.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(ran.out.contains(&name) && ran.out.contains("lost"), "{}", ran.out);
    assert!(ran.out.lines().last().is_some_and(|line| line.contains("finding")), "{}", ran.out);

    // Never wrong in silence: either the number is right, or a warning names the file.
    let number = damaged.parent().and_then(Path::parent).and_then(Path::file_name).expect("a number");
    let (hurt, whole) = if number == "1" { ("acme", "other") } else { ("other", "acme") };
    let (value, said) = requests(&bench, hurt, "2015-05-19");
    assert!(value == "4320" || said.contains(&name), "{value}: {said}");
    assert_eq!(requests(&bench, hurt, "2015-05-18").0, "2520");
    assert_eq!(requests(&bench, whole, "2015-05-19").0, "4320");
}

#[test]
fn stats_tell_what_is_in_the_log_in_blocks_and_overdue() {
    let bench = Bench::with_tenant("archive");
    let file = bench.file("access.log", access_log(0..900));
    bench.ok(&["import", "--site", "www", "--format", "apache", &file]);
    let of_acme = || {
        let json: serde_json::Value =
            serde_json::from_str(&bench.ok(&["stats", "-o", "json"])).expect("JSON");
        json[0].clone()
    };
    let fresh = of_acme();
    assert_eq!((&fresh["tenant"], &fresh["signals in the log"]), (&"acme".into(), &900.into()));
    assert_eq!((&fresh["blocks"], &fresh["bytes"]), (&0.into(), &0.into()));
    bench.ok(&["compact"]);
    let settled = of_acme();
    assert_eq!(settled["signals in the log"], 0);
    assert!(settled["blocks"].as_u64() >= Some(2) && settled["bytes"].as_u64() > Some(0), "{settled}");
    assert!(settled["overdue"].is_null(), "{settled}");
    let table = bench.ok(&["stats", "-o", "table"]);
    assert!(table.contains("log segments") && table.contains("acme"), "{table}");
    let text = bench.ok(&["stats", "--openmetrics"]);
    assert!(text.ends_with("# EOF\n") && text.contains("annals_tenants{state=\"open\"} 1"), "{text}");
    // What a scraper reads is a file that this command can read itself.
    let scraped = bench.file("stats.om", &text);
    let dry = bench.ok(&[
        "import",
        "--site",
        "self",
        "--format",
        "openmetrics",
        "--at",
        "2015-05-17",
        "--dry-run",
        &scraped,
    ]);
    assert!(!dry.contains("unreadable"), "{dry}");
}

#[test]
fn a_second_writer_is_refused_and_readers_are_not() {
    let bench = two_tenants();
    let clock = Arc::new(SystemClock::default());
    let entropy = Arc::new(SystemEntropy::default());
    let store =
        Annals::open(Arc::new(RealVfs), clock, entropy, &bench.store(), Options::default()).expect("opened");
    for args in [
        &["compact"][..],
        &["tenant", "create", "third", "--plan", "starter"],
        &["import", "--tenant", "acme", "--site", "www", "--format", "apache", "access.log"],
    ] {
        let ran = bench.run(args);
        assert_eq!(ran.code, 1, "{args:?}");
        assert!(ran.err.contains(&format!("process {}", std::process::id())), "{args:?}: {}", ran.err);
    }
    assert_eq!(requests(&bench, "acme", "2015-05-19").0, "4320");
    assert_eq!(bench.ok(&["tenant", "list", "-o", "csv"]).lines().count(), 3);
    store.close().expect("closed");
}

#[test]
fn every_kind_of_file_can_be_inspected() {
    let bench = two_tenants();
    let store = bench.store();
    let catalogue = std::fs::read_dir(&store)
        .expect("the store")
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("catalog-")))
        .expect("a catalogue");
    let segment =
        std::fs::read_dir(store.join("wal")).expect("the log").flatten().next().expect("a segment").path();
    let block = blocks(&store.join("t")).remove(0);
    for path in [catalogue, segment, block] {
        let text = bench.ok(&["inspect", &path.display().to_string(), "-o", "table"]);
        assert!(text.lines().count() > 3, "{text}");
        let json = bench.ok(&["inspect", &path.display().to_string(), "-o", "json"]);
        serde_json::from_str::<serde_json::Value>(&json).expect("json");
    }
    let ran = bench.run(&["inspect", "access.log"]);
    assert_eq!(ran.code, 1, "{}", ran.out);
}

#[test]
fn a_sealed_block_shows_more_where_its_keys_are() {
    let bench = two_tenants();
    let found = blocks(&bench.store().join("t"));
    let raw = found.iter().find(|path| path.to_string_lossy().contains("-raw-")).expect("metrics");
    let beside = bench.ok(&["inspect", &raw.display().to_string(), "-o", "table"]);
    assert!(beside.contains("codecs") && beside.contains("metrics"), "{beside}");
    let away = bench.path("away.blk");
    std::fs::copy(raw, &away).expect("copied");
    let away = bench.ok(&["inspect", &away.display().to_string(), "-o", "table"]);
    assert!(
        away.contains("not beside it") && away.contains("sections") && !away.contains("codecs"),
        "{away}"
    );
}

#[test]
fn a_reader_of_the_output_that_goes_away_is_no_error() {
    let bench = two_tenants();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_annals"))
        .args(["query", "{__name__=~\".+\"}[3d]", "--tenant", "acme", "--at", "2015-05-20", "-o", "csv"])
        .current_dir(bench.path("."))
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("it runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_plan_of_a_file_is_shown_used_and_refused_by_what_is_wrong_with_it() {
    let bench = Bench::new();
    let text =
        "name = \"silver\"\nlate_window = \"6h\"\n[keep]\nsignals = \"3d\"\nraw = \"30d\"\n1h = \"400d\"\n";
    let file = bench.file("silver.toml", text);
    assert!(bench.ok(&["plan", "show", &file, "-o", "csv"]).contains("hourly metrics are kept,400 d"));
    bench.ok(&["tenant", "create", "acme", "--plan", &file]);
    assert!(bench.ok(&["tenant", "show", "acme", "-o", "csv"]).contains("plan,silver"));
    let wrong = bench.file("wrong.toml", text.replace("signals", "signls"));
    let ran = bench.run(&["tenant", "create", "other", "--plan", &wrong]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("`keep.signls`: there is no such key; did you mean `signals`?"), "{}", ran.err);
}

#[test]
fn a_plan_is_previewed_changed_and_undone_and_each_block_explains_itself() {
    let bench = two_tenants();
    let explained = bench.ok(&["retention", "explain", "--tenant", "acme", "-o", "csv"]);
    assert!(explained.contains("20150518-raw-") && explained.contains("never,live"), "{explained}");
    assert!(explained.contains("rollups of 1h are kept for ever"), "{explained}");
    let preview = bench.run(&["plan", "change", "acme", "starter", "--preview", "-o", "csv"]);
    assert_eq!(preview.code, 0, "{}", preview.err);
    assert!(
        preview.out.contains("never,raw metrics are kept 7 days,2015-05-26T00:00:00Z,due"),
        "{}",
        preview.out
    );
    assert!(preview.err.contains("can be undone until then"), "{}", preview.err);
    assert_eq!(
        bench.ok(&["retention", "explain", "--tenant", "acme", "-o", "csv"]),
        explained,
        "nothing changed"
    );
    assert!(
        bench.ok(&["plan", "change", "acme", "starter"]).contains("can be undone until then with --undo")
    );
    assert!(bench.run(&["retention", "explain"]).err.contains("plan starter takes effect at"));
    assert!(
        bench
            .ok(&["plan", "change", "acme", "--undo"])
            .contains("keeps its plan; starter does not take effect")
    );
    let again = bench.run(&["plan", "change", "acme", "--undo"]);
    assert_eq!((again.code, again.err.contains("no change of plan waits")), (1, true));
    assert!(bench.ok(&["tenant", "show", "acme", "-o", "csv"]).contains("plan,archive"));
}
