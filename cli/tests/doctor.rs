//! `annals doctor`: each thing that may be odd about a store is told in its own words, with what to do.

mod common;

use std::fmt::Write as _;
use std::os::unix::fs::{PermissionsExt, chown};
use std::sync::Arc;

use annals::vfs::{Clock, RealVfs, SimClock, SystemClock, SystemEntropy};
use annals::{
    Annals, Background, BatchId, DAY_MS, HOUR_MS, Options, Plan, Signal, SignalBatch, SiteName, TenantId,
    Timestamp,
};
use common::{Bench, access_log, disk_is_nearly_full};

fn now() -> i64 {
    SystemClock::default().now_ms()
}

/// Writes a mail of each of these days, by a clock that shows its noon, and makes a block of it. The last writer stays.
fn written_on(bench: &Bench, plan: &str, noons: &[i64]) -> Annals {
    let clock = Arc::new(SimClock::new(noons[0]));
    let options = Options { background: Background::Steps, ..Options::default() };
    let entropy = Arc::new(SystemEntropy::default());
    let store =
        Annals::open(Arc::new(RealVfs), clock.clone(), entropy, &bench.store(), options).expect("opened");
    let plan = Plan::built_in(plan).expect("a plan");
    let tenant = store.create_tenant(&TenantId::new("acme").expect("a name"), plan).expect("created");
    for (day, noon) in (0..).zip(noons) {
        clock.advance_ms(u64::try_from(noon - clock.now_ms()).expect("in order"));
        let mail = Signal::new("mail.sent", Timestamp(*noon)).with("result", "sent");
        let site = SiteName::new("www").expect("a name");
        let batch = SignalBatch { id: BatchId([day; 16]), site, signals: vec![mail] };
        tenant.write_signals(&batch).and_then(annals::Ticket::wait).expect("written");
        tenant.flush().expect("flushed");
    }
    // Work in steps has not come to making it, and it is not what these tests are about.
    std::fs::write(bench.store().join("RESERVE"), "").expect("written");
    store
}

/// What it says, where it finds something odd.
fn told(bench: &Bench) -> String {
    let ran = bench.run(&["doctor"]);
    assert_eq!(ran.code, 3, "{}{}", ran.out, ran.err);
    ran.out
}

#[test]
fn data_of_the_future_and_a_store_made_in_it_are_about_clocks() {
    if disk_is_nearly_full() {
        return;
    }
    let bench = Bench::new();
    written_on(&bench, "archive", &[now() + 3 * DAY_MS]).close().expect("closed");
    let text = told(&bench);
    assert!(text.contains("clock  tenant `acme`: there is data of 2"), "{text}");
    assert!(text.contains("clock  tenant `acme` was created at 2"), "{text}");
    assert!(text.contains("set the clock right, here or where the data comes from"), "{text}");
    assert!(text.contains("2 things are odd") && text.contains("nobody writes to it"), "{text}");
}

#[test]
fn a_writer_that_gets_nothing_is_a_lag_and_a_store_at_rest_is_none() {
    if disk_is_nearly_full() {
        return;
    }
    let bench = Bench::new();
    let store = written_on(&bench, "archive", &[now() - 3 * DAY_MS - HOUR_MS / 2]);
    let text = told(&bench);
    assert!(text.contains("a writer is there, and the newest data is 3d old"), "{text}");
    assert!(text.contains("look whether its sources still send"), "{text}");
    store.close().expect("closed");
    assert_eq!(bench.run(&["doctor"]).code, 0);
}

#[test]
fn blocks_past_their_date_and_days_that_are_not_sealed_are_lags() {
    if disk_is_nearly_full() {
        return;
    }
    let bench = Bench::new();
    let noons: Vec<i64> = (0..6).map(|day| now() - (38 - day) * DAY_MS).collect();
    written_on(&bench, "professional", &noons).close().expect("closed");
    let text = told(&bench);
    assert!(text.contains("lag  tenant `acme`: blocks are due since "), "{text}");
    assert!(text.contains("a writer removes them as it works, and so does `annals compact`"), "{text}");
    bench.ok(&["compact"]);
    assert_eq!(bench.run(&["doctor"]).code, 0);

    let bench = Bench::new();
    let noons: Vec<i64> = (0..6).map(|day| now() - (18 - day) * DAY_MS).collect();
    written_on(&bench, "professional", &noons).close().expect("closed");
    let text = told(&bench);
    assert!(text.contains(" owed, 6 days are not sealed") && text.contains("does it at once"), "{text}");
}

#[test]
fn many_series_many_values_and_a_plan_that_is_nearly_full_are_about_cardinality() {
    let bench = Bench::new();
    let mut lines = String::new();
    for series in 0..50_100 {
        let _ = writeln!(lines, "hits,user=u{} value={series} 1431857103", series % 50_100);
    }
    let file = bench.file("hits.lp", lines);
    let import = ["import", "--site", "www", "--format", "influx", "--precision", "s", "--tenant", "acme"];
    bench.ok(&[&import[..], &["--create", "archive", &file]].concat());
    let text = told(&bench);
    assert!(text.contains("cardinality  tenant `acme`: `hits_value` has 50,100 series"), "{text}");
    assert!(
        text.contains("`annals top labels --match` with its name shows which label makes them"),
        "{text}"
    );
    assert!(text.contains("cardinality  tenant `acme`: the label `user` has 50,100 values"), "{text}");

    let bench = Bench::new();
    let plan = "name = \"small\"\nlate_window = \"open\"\nrights = [\"open_metrics\", \"backfill\"]\n\
                [keep]\nsignals = \"forever\"\nraw = \"forever\"\n[limits]\nseries = 100\n";
    let plan = bench.file("small.toml", plan);
    let lines: String = (0..90).map(|series| format!("hits,user=u{series} value=1 1431857103\n")).collect();
    let file = bench.file("hits.lp", lines);
    bench.ok(&[&import[..], &["--create", &plan, &file]].concat());
    let text = told(&bench);
    assert!(text.contains("tenant `acme`: 90 series in memory, and the plan allows 100"), "{text}");
}

#[test]
fn a_store_that_everybody_can_change_or_of_several_owners_is_about_permissions() {
    if disk_is_nearly_full() {
        return;
    }
    let bench = Bench::with_tenant("archive");
    let file = bench.file("access.log", access_log(0..180));
    bench.ok(&["import", "--site", "www", "--format", "apache", &file]);
    assert_eq!(bench.run(&["doctor"]).code, 0);
    let mode = |mode: u32| std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(bench.store(), mode(0o757)).expect("set");
    let text = told(&bench);
    assert!(text.contains("permissions  everybody can change annals-data\n"), "{text}");
    assert!(text.contains("chmod o-w annals-data"), "{text}");
    std::fs::set_permissions(bench.store(), mode(0o700)).expect("set");
    // Who is not the superuser cannot give files away.
    if chown(bench.store().join("wal"), Some(65_534), None).is_ok() {
        let text = told(&bench);
        assert!(text.contains("permissions  parts of the store belong to different users"), "{text}");
        assert!(text.contains("chown -R USER annals-data"), "{text}");
    }
}

/// Runs the command as nobody, where the superuser runs the tests; the code and all that it said.
fn as_nobody(bench: &Bench, args: &[&str]) -> Option<(i32, String)> {
    let ran = std::process::Command::new("setpriv")
        .args(["--reuid", "65534", "--clear-groups", env!("CARGO_BIN_EXE_annals")])
        .args(args)
        .current_dir(bench.path(""))
        .env_remove("ANNALS_DATA")
        .output()
        .ok()?;
    let text = [ran.stdout, ran.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    // Who may not change users, or not run a file of this directory, learns nothing here.
    (ran.status.code()? < 100 && !text.contains("setpriv:")).then_some((ran.status.code()?, text))
}

#[test]
fn a_store_of_somebody_else_says_whose_it_is_and_is_not_taken_for_damaged() {
    let bench = Bench::with_tenant("archive");
    std::fs::set_permissions(bench.path(""), std::fs::Permissions::from_mode(0o755)).expect("set");
    let keys = bench.store().join("keys");
    for (what, mode) in [(bench.store(), 0o755), (keys, 0o700)] {
        std::fs::set_permissions(what, std::fs::Permissions::from_mode(mode)).expect("set");
    }
    for mode in [0o700, 0o755] {
        std::fs::set_permissions(bench.store(), std::fs::Permissions::from_mode(mode)).expect("set");
        for args in [&["query", "up"][..], &["tenant", "list"], &["doctor"]] {
            let Some((code, text)) = as_nobody(&bench, args) else { return };
            assert_ne!(code, 0, "{args:?}: {text}");
            assert!(
                text.contains("Permission denied") && text.contains("run this as that user"),
                "{args:?}: {text}"
            );
            assert!(!text.contains("verify") && !text.contains("kept back"), "{args:?}: {text}");
        }
    }
}

#[test]
fn what_lies_in_quarantine_is_counted() {
    let bench = Bench::with_tenant("archive");
    std::fs::create_dir_all(bench.store().join("t/1/b")).expect("made");
    std::fs::write(bench.store().join("t/1/b/notes.txt"), "what somebody put here").expect("written");
    bench.run(&["verify", "--repair"]);
    let text = told(&bench);
    assert!(text.contains("quarantine  1 file lies in quarantine, 22 B"), "{text}");
    assert!(text.contains("`annals verify` names them and when they go"), "{text}");
}

#[test]
fn a_store_without_a_tenant_is_told_as_such() {
    let bench = Bench::new();
    let clock = Arc::new(SystemClock::default());
    let entropy = Arc::new(SystemEntropy::default());
    let store =
        Annals::open(Arc::new(RealVfs), clock, entropy, &bench.store(), Options::default()).expect("opened");
    store.close().expect("closed");
    let ran = bench.run(&["doctor"]);
    assert!(ran.out.contains("0 tenants in 0 blocks"), "{}{}", ran.out, ran.err);
}
