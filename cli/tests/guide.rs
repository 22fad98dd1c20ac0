//! Every command block of the guide and the README, and every example of the help that is of the demo's store, runs as pasted.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use common::{Bench, disk_is_nearly_full, real};

/// The demo's store, made once.
fn demo() -> &'static Path {
    static DEMO: OnceLock<Bench> = OnceLock::new();
    let bench = DEMO.get_or_init(|| {
        let bench = Bench::new();
        bench.ok(&["demo"]);
        bench
    });
    Path::new(Box::leak(bench.path("").into_boxed_path()))
}

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The commands of a page, in their order. What is about building is left out: it has run where this test runs.
fn commands(page: &str) -> String {
    let mut blocks: Vec<String> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line {
            "```sh" => {
                inside = true;
                blocks.push(String::new());
            }
            "```" => inside = false,
            line if inside && !line.trim_start().starts_with("cargo ") => {
                blocks.last_mut().expect("a block").push_str(&format!("{line}\n"));
            }
            _ => {}
        }
    }
    // A server does not end by itself; the gateway's own tests start it.
    blocks.retain(|block| !block.contains("annals serve"));
    blocks.concat()
}

/// Runs commands as a shell does; what they printed.
fn run(script: &str, directory: &Path, variables: &[(&str, &str)]) -> (i32, String) {
    let own = Path::new(env!("CARGO_BIN_EXE_annals")).parent().expect("a directory");
    let path = format!("{}:{}", own.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(directory)
        .env("PATH", path)
        .env_remove("ANNALS_DATA")
        .envs(variables.iter().copied())
        .output()
        .expect("bash runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap_or(-1), text(&output.stdout) + &text(&output.stderr))
}

/// A directory with the logs that pages speak of.
fn with_logs() -> Option<Bench> {
    let (access, auth) =
        (real("elastic-examples/apache_access_combined_5k.log")?, real("elastic-examples/auth.log")?);
    let bench = Bench::new();
    for (from, to) in [(access, "access.log"), (auth, "auth.log")] {
        std::fs::copy(from, bench.path(to)).expect("copied");
    }
    Some(bench)
}

#[test]
fn the_guide_leads_from_nothing_to_a_report() {
    if disk_is_nearly_full() {
        return;
    }
    let Some(bench) = with_logs() else { return };
    let (code, text) = run(&commands(&page("docs/guide/README.md")), &bench.path(""), &[]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("# shop: week of 18 to 24 May 2015"), "{text}");
    assert!(text.contains("nothing is odd") && text.contains("no damage in "), "{text}");
    let made = |name: &str| std::fs::read_to_string(bench.path(name)).expect("it was made");
    assert!(made("week.html").to_lowercase().starts_with("<!doctype html>"));
    assert!(made("requests.svg").starts_with("<svg "));
}

#[test]
fn the_operators_page_and_the_readme_work_as_pasted() {
    if disk_is_nearly_full() {
        return;
    }
    for name in ["docs/guide/operator.md", "README.md"] {
        let Some(bench) = with_logs() else { return };
        let (code, text) = run(&commands(&page(name)), &bench.path(""), &[]);
        assert_eq!(code, 0, "{name}: {text}");
        assert!(text.contains("no damage in "), "{name}: {text}");
    }
}

#[test]
fn the_page_about_questions_works_on_the_demos_store() {
    let (code, text) = run(&commands(&page("docs/guide/questions.md")), demo(), &[]);
    assert_eq!(code, 0, "{text}");
    assert!(!text.contains("warning") && !text.contains("nothing there"), "{text}");
}

/// Verbs whose examples only read: the demo's store is theirs together.
const READING: [&str; 13] = [
    "query", "range", "explain", "series", "labels", "top", "signals", "repl", "watch", "report", "export",
    "stats", "doctor",
];

/// The words that a page of help lists under `Commands:`.
fn listed(help: &str) -> Vec<String> {
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // What is indented further goes on about the verb before it.
    let verbs =
        listed.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split_whitespace().next());
    verbs.filter(|verb| *verb != "help").map(str::to_owned).collect()
}

/// A copy of the demo's store, to be changed.
fn demo_of_its_own() -> Bench {
    let bench = Bench::new();
    let (code, text) = run(&format!("cp -r {}/annals-demo .", demo().display()), &bench.path(""), &[]);
    assert_eq!(code, 0, "{text}");
    bench
}

#[test]
fn every_example_of_the_help_works_on_the_demos_store() {
    if disk_is_nearly_full() {
        return;
    }
    // As wide as it gets: a narrow terminal breaks examples over lines.
    let wide = ("COLUMNS", "200");
    let help_of = |verb: &str| {
        let (code, help) = run(&format!("annals {verb} --help"), demo(), &[wide]);
        assert_eq!(code, 0, "{help}");
        help
    };
    let mut verbs = listed(&help_of(""));
    let parts: Vec<String> = verbs
        .iter()
        .flat_map(|verb| listed(&help_of(verb)).into_iter().map(move |part| format!("{verb} {part}")))
        .collect();
    verbs.extend(parts);
    let mut ran = 0;
    for verb in verbs {
        let help = help_of(&verb);
        let examples =
            help.lines().skip_while(|line| !line.starts_with("Examples, on the store of `annals demo`"));
        let examples: Vec<&str> = examples.skip(1).take_while(|line| line.starts_with("  ")).collect();
        let reads = READING.contains(&verb.split(' ').next().unwrap_or_default());
        let own = (!reads && !examples.is_empty()).then(demo_of_its_own);
        let directory = own.as_ref().map_or(demo().to_owned(), |own| own.path(""));
        for example in examples {
            let (code, text) = run(example, &directory, &[("ANNALS_DATA", "annals-demo"), wide]);
            // What cannot be undone is done with --yes only, and says so.
            let asks = code == 2 && !example.contains("--yes") && text.contains("--yes");
            assert!(code == 0 || asks, "{verb}: {example}\n{text}");
            assert!(!text.contains("nothing there") && !text.contains("note: no"), "{example}\n{text}");
            ran += 1;
        }
    }
    assert!(ran >= 85, "{ran} examples");
}

#[test]
fn the_demos_report_tells_three_things_that_changed() {
    let bench = Bench::new();
    let report = bench.ok(&[
        "report",
        "--data",
        &demo().join("annals-demo").display().to_string(),
        "--tenant",
        "agency",
        "--site",
        "portal.example",
        "-o",
        "json",
    ]);
    let report: serde_json::Value = serde_json::from_str(&report).expect("JSON");
    let changed: Vec<&str> =
        report["changed"].as_array().expect("a list").iter().filter_map(|one| one["what"].as_str()).collect();
    assert_eq!(changed.len(), 3, "{changed:?}");
    assert!(changed.contains(&"5xx responses") && changed.contains(&"mails deferred"), "{changed:?}");
}

#[test]
fn links_of_the_guide_lead_somewhere() {
    for name in ["README.md", "embedding.md", "operator.md", "questions.md"] {
        let text = page(&format!("docs/guide/{name}"));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide").join(link);
            assert!(path.exists(), "{name}: {link}");
        }
    }
}
