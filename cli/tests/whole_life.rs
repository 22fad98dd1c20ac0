//! A tenant's whole life, from its creation to a backup that does not bring it back.

mod common;

use common::{Bench, access_log};

const SMALL: &str = "\
name = \"small\"
late_window = \"open\"
rights = [\"backfill\"]
[keep]
signals = \"9000d\"
raw = \"9000d\"
";

fn requests(bench: &Bench) -> f64 {
    bench.number("sum(increase(http_requests[2d]))", "2015-05-19")
}

#[test]
fn a_tenant_is_created_changed_exported_cancelled_erased_and_stays_gone() {
    let bench = Bench::new();
    let small = bench.file("small.toml", SMALL);
    bench.ok(&["tenant", "create", "acme", "--plan", &small]);
    let log = bench.file("access.log", access_log(0..3_000));
    let import = ["import", "--tenant", "acme", "--site", "www", "--format", "apache", &log];
    bench.ok(&import);
    bench.ok(&["compact"]);
    assert_eq!(requests(&bench), 3_000.0);

    // A plan that keeps more holds at once, one that keeps less waits and is taken back.
    assert_eq!(bench.run(&["tenant", "export", "acme", "too-early"]).code, 1, "the plan lacks the right");
    bench.ok(&["plan", "change", "acme", "archive"]);
    assert!(bench.ok(&["plan", "change", "acme", &small, "--preview"]).contains("20150517-raw"));
    bench.ok(&["plan", "change", "acme", &small]);
    bench.ok(&["plan", "change", "acme", "--undo"]);
    assert!(bench.ok(&["tenant", "show", "acme"]).contains("archive"));

    bench.ok(&["tenant", "export", "acme", "taken-along"]);
    assert!(bench.ok(&["export", "verify", "taken-along"]).contains("3,000"));
    bench.ok(&["backup", "take", "safe"]);

    // Cancelled: it takes nothing, is read as before, and can be exported.
    bench.ok(&["tenant", "cancel", "acme"]);
    let more = bench.file("more.log", access_log(3_000..3_100));
    assert_eq!(
        bench.run(&["import", "--tenant", "acme", "--site", "www", "--format", "apache", &more]).code,
        1
    );
    assert_eq!(requests(&bench), 3_000.0);
    bench.ok(&["tenant", "export", "acme", "taken-along-late", "--format", "jsonl"]);
    bench.ok(&["backup", "take", "safe"]);

    let key = bench.ok(&["receipt", "key"]);
    let erased = bench.ok(&["tenant", "erase", "acme", "--yes"]);
    let receipt = erased.lines().find_map(|line| line.strip_prefix("receipt  ")).expect("a receipt");
    assert!(
        bench.ok(&["receipt", "verify", receipt, "--key", key.trim()]).ends_with("The signature is good.\n")
    );
    assert!(bench.ok(&["verify"]).starts_with("no damage in "));

    // No snapshot brings it back, into a new store or into its own.
    for snapshot in ["1", "2"] {
        let data = format!("restored-{snapshot}");
        let restore =
            ["restore", "safe", "--keys", "annals-data/keys", "--data", &data, "--snapshot", snapshot];
        let refused = bench.run(&restore);
        assert_eq!(refused.code, 1);
        assert!(refused.err.contains("it was erased: its key is destroyed"), "{}", refused.err);
        assert!(!bench.path(&data).join("t/1/b").exists());
    }
    assert_ne!(bench.run(&["restore", "safe", "--tenant", "acme", "--as", "again"]).code, 0);
    assert!(!bench.ok(&["tenant", "list"]).contains("again"));
    bench.ok(&["backup", "prune", "safe", "--keep", "9"]);
    let found = bench.ok(&["backup", "verify", "safe"]);
    assert!(found.starts_with("no damage in "), "{found}");

    // Its name is free, and who gets it has nothing of what was.
    bench.ok(&["tenant", "create", "acme", "--plan", "archive"]);
    assert_eq!(requests(&bench), 0.0);
}
