//! A short slice of the SIGKILL rounds; `cargo bench -p annals-benches -- kill` runs a hundred.

use std::path::Path;

use annals_benches::kill;

#[test]
fn nothing_acknowledged_is_lost_or_counted_twice_by_sigkill() {
    let root = tempfile::tempdir().expect("a directory");
    let outcome = kill::run(Path::new(env!("CARGO_BIN_EXE_kill-writer")), root.path(), 6, 1);
    assert_eq!(outcome.rounds, 6);
    assert!(outcome.acknowledged > 0, "the writers never got anywhere: {outcome:?}");
}
