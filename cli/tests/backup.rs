//! Backups, as an operator walks through them.

mod common;

use common::{Bench, access_log};

fn import(bench: &Bench, name: &str, lines: std::ops::Range<usize>) {
    let file = bench.file(name, access_log(lines));
    bench.ok(&["import", "--tenant", "acme", "--site", "www", "--format", "apache", &file]);
}

fn bench() -> Bench {
    let bench = Bench::with_tenant("archive");
    import(&bench, "access.log", 0..2_000);
    bench.ok(&["compact"]);
    import(&bench, "more.log", 2_000..2_200);
    bench
}

#[test]
fn snapshots_are_taken_listed_checked_and_pruned() {
    let bench = bench();
    let took = bench.ok(&["backup", "take", "safe"]);
    assert!(took.starts_with("took     snapshot 1 of 1 tenant as of "), "{took}");
    let again = bench.ok(&["backup", "take", "safe"]);
    assert!(again.contains("new      0 files of 0 B written, 0 blocks got a second name"), "{again}");
    assert!(again.contains("any since the snapshot before"), "{again}");
    let listed = bench.ok(&["backup", "list", "safe", "-o", "csv"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(bench.ok(&["backup", "verify", "safe"]).starts_with("no damage in "));
    let pruned = bench.ok(&["backup", "prune", "safe", "--keep", "1"]);
    assert!(pruned.starts_with("removed  snapshot 1\n"), "{pruned}");
    bench.ok(&["tenant", "erase", "acme", "--yes"]);
    let pruned = bench.ok(&["backup", "prune", "safe", "--keep", "1"]);
    assert!(pruned.contains("removed  tenant acme, which was erased, from every snapshot"), "{pruned}");
    let files = std::fs::read_dir(bench.path("safe/files")).expect("there");
    let left: Vec<_> = files.map(|file| file.expect("read").file_name()).collect();
    assert!(left.iter().all(|name| name.to_string_lossy().starts_with("log-")), "{left:?}");
    assert!(bench.ok(&["backup", "verify", "safe"]).starts_with("no damage in "));
}

#[test]
fn damage_of_a_backup_and_wrong_directories_are_named() {
    let bench = bench();
    bench.ok(&["backup", "take", "safe"]);
    let block =
        std::fs::read_dir(bench.path("safe/files")).expect("there").map(|file| file.expect("read").path());
    let block =
        block.filter(|path| path.extension().is_some_and(|ending| ending == "blk")).min().expect("a block");
    let bytes = std::fs::read(&block).expect("read");
    std::fs::remove_file(&block).expect("removed");
    std::fs::write(&block, &bytes[..bytes.len() / 2]).expect("cut");
    let found = bench.run(&["backup", "verify", "safe"]);
    assert_eq!(found.code, 3, "{}", found.out);
    assert!(
        found.out.contains("needed  by snapshot 1") && found.out.contains("bytes instead of"),
        "{}",
        found.out
    );
    // The store's own file is another one: it is whole, and so is the next backup.
    assert!(bench.ok(&["verify"]).starts_with("no damage in "));
    let swapped = bench.run(&["backup", "take", "annals-data", "--data", "safe"]);
    assert_eq!(swapped.code, 1);
    assert!(swapped.err.contains("there is no store at safe"), "{}", swapped.err);
    let into = bench.run(&["backup", "take", "annals-data"]);
    assert!(into.err.contains("is no part of a backup: name an empty or a new directory"), "{}", into.err);
    let empty = bench.run(&["backup", "list", "."]);
    assert_eq!(empty.code, 1);
    let unknown = bench.run(&["backup", "prune", "safe", "--keep", "1", "--data", "elsewhere"]);
    assert_eq!(unknown.code, 2);
    assert!(unknown.err.contains("they say which tenants were erased"), "{}", unknown.err);
}

#[test]
fn a_backup_is_restored_whole_as_of_an_instant_and_without_who_was_erased() {
    let bench = bench();
    bench.ok(&["tenant", "create", "other", "--plan", "archive"]);
    bench.ok(&["backup", "take", "safe"]);
    let all = |data: &str| {
        let query = ["query", "sum(increase(http_requests[2d]))", "--tenant", "acme", "--at", "2015-05-19"];
        let out = bench.ok(&[&query[..], &["--data", data, "-o", "csv"]].concat());
        out.lines().nth(1).and_then(|line| line.rsplit(',').next()).unwrap_or("0").to_owned()
    };
    let before = jiff::Timestamp::now().to_string();
    import(&bench, "later.log", 2_200..2_300);
    bench.ok(&["backup", "take", "safe"]);
    let keyless = bench.run(&["restore", "safe", "--data", "keyless"]);
    assert_eq!(keyless.code, 1);
    assert!(keyless.err.contains("--keys DIR names the keys"), "{}", keyless.err);
    assert!(!bench.path("keyless").exists());
    let restored = bench.ok(&["restore", "safe", "--keys", "annals-data/keys", "--data", "new"]);
    assert!(restored.starts_with("restored 2 tenants of snapshot 2 to new\n"), "{restored}");
    assert_eq!((all("annals-data"), all("new")), ("2300".to_owned(), "2300".to_owned()));
    bench.ok(&["restore", "safe", "--keys", "annals-data/keys", "--data", "then", "--at", &before]);
    assert_eq!(all("then"), "2200");
    let occupied = bench.run(&["restore", "safe", "--keys", "annals-data/keys", "--data", "new"]);
    assert!(occupied.err.contains("restore into a new or an empty directory"), "{}", occupied.err);
    assert!(bench.ok(&["verify", "--data", "new"]).starts_with("no damage in "));
    bench.ok(&["tenant", "erase", "acme", "--yes"]);
    let restored = bench.ok(&["restore", "safe", "--keys", "annals-data/keys", "--data", "after"]);
    assert!(restored.contains("erased   tenant acme does not come back: its key is destroyed"), "{restored}");
    assert!(!bench.ok(&["tenant", "list", "--data", "after"]).contains("acme"));
}

#[test]
fn one_tenant_is_put_back_into_its_store_under_another_name() {
    let bench = bench();
    bench.ok(&["backup", "take", "safe"]);
    let count = |tenant: &str| {
        let query = ["query", "sum(increase(http_requests[2d]))", "--tenant", tenant, "--at", "2015-05-19"];
        let out = bench.ok(&[&query[..], &["-o", "csv"]].concat());
        out.lines().nth(1).and_then(|line| line.rsplit(',').next()).unwrap_or("0").to_owned()
    };
    bench.ok(&["delete", "{status=\"404\"}", "--tenant", "acme", "--yes"]);
    let taken = bench.run(&["restore", "safe", "--tenant", "acme"]);
    assert!(taken.err.contains("--as NAME restores it under another name"), "{}", taken.err);
    let restored = bench.ok(&["restore", "safe", "--tenant", "acme", "--as", "acme-before"]);
    assert!(restored.starts_with("restored 1 tenant of snapshot 1 to annals-data\n"), "{restored}");
    assert_eq!((count("acme"), count("acme-before")), ("1980".to_owned(), "2200".to_owned()));
    assert!(bench.ok(&["verify"]).starts_with("no damage in "));
}
