//! A tenant's whole life, as an operator walks through it.

mod common;

use common::{Bench, access_log};

fn bench() -> Bench {
    let bench = Bench::with_tenant("archive");
    bench.ok(&["tenant", "create", "other", "--plan", "archive"]);
    let file = bench.file("access.log", access_log(0..2_000));
    for tenant in ["acme", "other"] {
        bench.ok(&["import", "--tenant", tenant, "--site", "www", "--format", "apache", &file]);
    }
    bench.ok(&["compact"]);
    bench
}

#[test]
fn an_erased_tenant_leaves_a_receipt_and_nothing_else() {
    let bench = bench();
    let key = bench.ok(&["receipt", "key"]);
    bench.file("annals.pub", &key);
    let refused = bench.run(&["tenant", "erase", "acme"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("annals tenant erase acme --yes"), "{}", refused.err);
    assert!(bench.ok(&["tenant", "list"]).contains("acme"));

    let erased = bench.ok(&["tenant", "erase", "acme", "--yes"]);
    assert!(erased.contains("nothing of it is left"), "{erased}");
    assert!(!bench.ok(&["tenant", "list"]).contains("acme"));
    assert!(!bench.store().join("t/1").exists() && bench.store().join("t/2").exists());
    assert_eq!(bench.run(&["tenant", "erase", "acme", "--yes"]).code, 1);
    assert!(bench.ok(&["verify"]).starts_with("no damage in "));
    assert_eq!(bench.number("sum(increase(http_requests[1d]))", "2015-05-18"), 2_000.0);

    let receipt = "annals-data/receipts/1.receipt";
    let checked = bench.ok(&["receipt", "verify", receipt, "--key", "annals.pub"]);
    assert!(checked.contains("tenant acme (number 1) was erased"), "{checked}");
    assert!(checked.ends_with("The signature is good.\n"), "{checked}");
    bench.ok(&["receipt", "verify", receipt, "--key", key.trim()]);
    let text = std::fs::read_to_string(bench.path(receipt)).expect("there");
    let forged = bench.file("forged.receipt", text.replace("tenant: acme", "tenant: acmf"));
    let refused = bench.run(&["receipt", "verify", &forged, "--key", "annals.pub"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("it was changed, or is forged"), "{}", refused.err);
    let other = "0".repeat(64);
    let refused = bench.run(&["receipt", "verify", receipt, "--key", &other]);
    assert!(refused.err.contains("not with the key that it is to be checked by"), "{}", refused.err);
}

#[test]
fn a_cancelled_tenant_says_when_it_ends_and_can_be_taken_back() {
    let bench = bench();
    let file = bench.file("more.log", access_log(2_000..2_100));
    let import = ["import", "--tenant", "acme", "--site", "www", "--format", "apache", &file];
    assert!(bench.ok(&["tenant", "cancel", "acme"]).contains("takes no more data, and is erased at "));
    assert!(bench.ok(&["tenant", "show", "acme"]).contains("cancelled, erased at "));
    let explained = bench.ok(&["retention", "explain", "--tenant", "acme", "-o", "csv"]);
    assert!(explained.contains("the tenant is cancelled"), "{explained}");
    let refused = bench.run(&import);
    assert_eq!(refused.code, 1, "{}", refused.out);
    assert!(refused.err.contains("the tenant was cancelled and takes no data"), "{}", refused.err);
    assert!(bench.ok(&["tenant", "cancel", "acme", "--undo"]).contains("takes data again"));
    assert_eq!(bench.run(&["tenant", "cancel", "acme", "--undo"]).code, 1);
    bench.ok(&import);
}

#[test]
fn what_a_selector_finds_is_deleted_and_the_rest_stays() {
    let bench = bench();
    let errors = "sum(increase(http_requests{status=\"404\"}[1d]))";
    let at = |expression: &str| {
        let out = bench.ok(&["query", expression, "--tenant", "acme", "--at", "2015-05-18", "-o", "csv"]);
        out.lines().nth(1).and_then(|line| line.rsplit(',').next()).unwrap_or("0").to_owned()
    };
    assert_eq!((at(errors), at("sum(increase(http_requests[1d]))")), ("200".to_owned(), "2000".to_owned()));
    let delete = ["delete", "{status=\"404\"}", "--tenant", "acme"];
    let refused = bench.run(&delete);
    assert_eq!(refused.code, 2, "{}", refused.out);
    assert!(refused.err.contains("and 200 signals of tenant acme would be deleted"), "{}", refused.err);
    let deleted = bench.ok(&[&delete[..], &["--yes"]].concat());
    assert!(deleted.contains("200 signals"), "{deleted}");
    assert_eq!((at(errors), at("sum(increase(http_requests[1d]))")), ("0".to_owned(), "1800".to_owned()));
    assert!(bench.ok(&[&delete[..], &["--yes"]].concat()).starts_with("deleted 0 samples, 0 signals"));
    assert!(bench.ok(&["verify"]).starts_with("no damage in "));
}

#[test]
fn what_an_operator_reads_is_listed_and_a_changed_entry_shows() {
    let bench = bench();
    let asked = ["query", "sum(increase(http_requests[1d]))", "--at", "2015-05-18", "--tenant", "acme"];
    let as_ann = |reason: &[&str]| bench.run(&[&asked[..], &["--operator", "ann"], reason].concat());
    assert_eq!(as_ann(&[]).code, 2);
    assert_eq!(as_ann(&["--reason", " "]).code, 2);
    assert_eq!(as_ann(&["--reason", "ticket 4711"]).code, 0);
    assert_eq!(bench.ok(&asked), as_ann(&["--reason", "ticket 4712"]).out);
    let listed = bench.ok(&["audit", "show", "--tenant", "acme", "-o", "csv"]);
    assert_eq!(listed.lines().count(), 3, "{listed}");
    assert!(
        listed.contains("acme,ann,ticket 4711,query,") && listed.contains("increase(http_requests[1d])"),
        "{listed}"
    );
    assert_eq!(bench.ok(&["audit", "show", "--tenant", "other", "-o", "jsonl"]), "");
    let verified = bench.ok(&["audit", "verify"]);
    assert!(verified.starts_with("2 entries, each as it was written"), "{verified}");
    assert!(bench.ok(&["verify"]).starts_with("no damage in "));

    let head = verified.trim().rsplit(' ').next().expect("a hash").to_owned();
    let last = bench.store().join("audit/00000002.log");
    let text = std::fs::read_to_string(&last).expect("there");
    std::fs::write(&last, text.replace("4712", "4713")).expect("written");
    let changed = bench.run(&["audit", "verify"]);
    assert_eq!(changed.code, 3);
    assert!(changed.out.contains("00000002.log, line 3: it is not the entry"), "{}", changed.out);
    std::fs::remove_file(&last).expect("there");
    assert_eq!(
        bench.run(&["audit", "verify"]).code,
        0,
        "what is cut off at the end only the last hash shows"
    );
    assert_eq!(bench.run(&["audit", "verify", "--head", &head]).code, 3);
}

#[test]
fn reports_and_exports_by_an_operator_are_the_tenants_own_and_stand_in_the_log_of_access() {
    let bench = bench();
    let who = ["--operator", "ann", "--reason", "ticket 4711"];
    let actions = || {
        let listed = bench.ok(&["audit", "show", "--tenant", "acme", "-o", "csv"]);
        let lines: Vec<String> = listed.lines().skip(1).map(str::to_owned).collect();
        lines
    };
    let report = ["report", "--tenant", "acme", "--site", "www", "--day", "2015-05-17"];
    assert_eq!(bench.run(&[&report[..], &who[..2]].concat()).code, 2, "a reason is due");
    assert_eq!(actions().len(), 0);
    assert_eq!(bench.ok(&report), bench.ok(&[&report[..], &who].concat()));
    let written = actions();
    assert!(written.iter().all(|line| line.contains("acme,ann,ticket 4711,")), "{written:?}");
    assert!(
        written.iter().any(|line| line.contains(",report,\"www, the day of 2015-05-17\"")),
        "{written:?}"
    );
    // Of the last day with data: what is looked up for that is written down too.
    bench.ok(&[&report[..5], &["--period", "day"], &who].concat());
    assert!(actions().iter().any(|line| line.contains(",series,")), "{:?}", actions());
    let each = ["report", "--each", "--tenant", "acme", "--week", "2015-W20", "--out", "pages"];
    bench.run(&[&each[..], &who].concat());
    assert!(actions().iter().any(|line| line.contains(",sites,")), "{:?}", actions());
    let before = actions().len();
    bench.ok(&[&["tenant", "export", "acme", "out", "--format", "parquet,jsonl"], &who[..]].concat());
    let written = actions();
    assert_eq!(written.len(), before + 1);
    assert!(
        written[before].contains(",note,\"an export of everything as parquet, jsonl\""),
        "{}",
        written[before]
    );
    assert!(bench.ok(&["audit", "verify"]).contains("each as it was written"));
}

#[test]
fn keys_are_listed_and_replaced() {
    let bench = bench();
    let list = || bench.ok(&["keys", "list", "--tenant", "acme", "-o", "csv"]);
    let count = |state: &str| list().lines().filter(|line| line.contains(state)).count();
    assert_eq!((count(",active,"), count(",old,")), (4, 0), "{}", list());
    let rotated = bench.ok(&["keys", "rotate", "acme"]);
    assert!(rotated.contains("tenant acme has new keys; those of before are out of use by "), "{rotated}");
    assert_eq!((count(",active,"), count(",old,"), count(",destroyed,")), (4, 3, 0), "{}", list());
    assert!(bench.ok(&["stats", "--openmetrics"]).contains("annals_old_keys 3"));
    let compacted = bench.ok(&["compact"]);
    assert!(compacted.contains("keys     acme  destroyed 2, 3: nothing needs them"), "{compacted}");
    assert_eq!((count(",active,"), count(",old,"), count(",destroyed,")), (4, 1, 2), "{}", list());
    bench.ok(&["keys", "rotate", "acme", "--class", "wrapping", "--days", "0"]);
    let late = bench.run(&["verify"]);
    // Background work of the rotation's own process may have come to them already.
    let told = late.err.contains("note: tenant acme: old keys were to be out of use by ");
    assert_eq!(told, count(",old,") > 0, "{}", late.err);
    bench.ok(&["compact"]);
    assert_eq!((count(",active,"), count(",old,"), count(",destroyed,")), (4, 0, 4), "{}", list());
    assert_eq!(bench.run(&["verify"]).err, "");
    let asked =
        ["query", "sum(increase(http_requests[1d]))", "--tenant", "acme", "--at", "2015-05-18", "-o", "csv"];
    let answer = bench.ok(&asked);
    assert!(answer.trim_end().ends_with(",2000"), "{answer}");
    let refused = bench.run(&["keys", "rotate", "acme", "--class", "identity"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
}

#[test]
fn signal_kinds_are_switched_off_and_on() {
    let bench = bench();
    let list = || bench.ok(&["tenant", "signals", "acme", "-o", "csv"]);
    assert_eq!(list().matches(",on").count(), 7, "{}", list());
    let off = bench.ok(&["tenant", "signals", "acme", "--off", "http.request", "--off", "wp.cron"]);
    assert!(off.contains("signals of kind http.request are off for tenant acme"), "{off}");
    assert!(list().contains("http.request,off") && list().contains("wp.cron,off"), "{}", list());
    let file = bench.file("more.log", access_log(2_000..2_100));
    let import = ["import", "--tenant", "acme", "--site", "www", "--format", "apache", &file];
    let refused = bench.ok(&import);
    assert!(refused.contains("refused     100 records: kind_off"), "{refused}");
    bench.ok(&["tenant", "signals", "acme", "--on", "http.request"]);
    let taken = bench.ok(&import);
    assert!(taken.contains("accepted    100 records"), "{taken}");
    let refused = bench.run(&["tenant", "signals", "acme", "--off", "no.such"]);
    assert!(refused.err.contains("there is no such signal kind"), "{}", refused.err);
}

#[test]
fn metrics_are_derived_back_of_signals_that_are_kept() {
    let bench = bench();
    let total = "sum(increase(http_requests[1d]))";
    let at = |tenant: &str| {
        let out = bench.ok(&["query", total, "--tenant", tenant, "--at", "2015-05-18", "-o", "csv"]);
        out.lines().nth(1).and_then(|line| line.rsplit(',').next()).unwrap_or("0").to_owned()
    };
    let nothing = bench.ok(&["tenant", "derive", "acme"]);
    assert_eq!(nothing, "derived  0 new samples from 2,000 signals of tenant acme\n");
    bench.ok(&["delete", "http_requests", "--tenant", "acme", "--metrics", "--yes"]);
    assert_eq!((at("acme"), at("other")), ("0".to_owned(), "2000".to_owned()));
    let derived = bench.ok(&["tenant", "derive", "acme", "--metric", "http_requests"]);
    assert!(derived.contains("from 2,000 signals of tenant acme, 20150517"), "{derived}");
    assert_eq!((at("acme"), at("other")), ("2000".to_owned(), "2000".to_owned()));
    let unknown = bench.run(&["tenant", "derive", "acme", "--metric", "http_request"]);
    assert_eq!(unknown.code, 2, "{}", unknown.out);
    assert!(unknown.err.contains("did you mean http_requests?"), "{}", unknown.err);
    assert!(bench.ok(&["verify"]).starts_with("no damage in "));
}
