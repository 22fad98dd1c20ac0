//! The reference scripts of Prometheus' promqltest language.
//!
//! They lie beside the repository, in `../shared/promql/testdata`; without them the test says SKIPPED.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;

use annals_query::promql::script;

#[test]
fn every_evaluation_of_the_reference_scripts_passes() {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/promql/testdata");
    let Ok(entries) = std::fs::read_dir(&directory) else {
        let _ =
            writeln!(std::io::stderr(), "SKIPPED reference scripts: ../shared/promql/testdata is missing");
        return;
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "test"));
    paths.sort();
    let (mut report, mut passed, mut failed) = (String::new(), 0, 0);
    for path in &paths {
        let text = std::fs::read_to_string(path).expect("script");
        let own = script::run(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        writeln!(report, "{name:22} {} passed, {} failed", own.passed, own.failures.len()).expect("text");
        for failure in &own.failures {
            writeln!(report, "    {failure}").expect("text");
        }
        passed += own.passed;
        failed += own.failures.len();
    }
    println!("{report}{passed} passed, {failed} failed");
    assert_eq!((paths.len(), passed, failed), (21, 1124, 0), "\n{report}");
}
