//! The committed corpus, a short slice of mutations of every target, and the programs that libFuzzer runs.

use std::fs;
use std::path::{Path, PathBuf};

use annals_fuzz::{TARGETS, run};

fn here(part: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(part)
}

/// Names in a directory, ascending; none where there is no such directory.
fn names(directory: &Path) -> Vec<String> {
    let entries =
        fs::read_dir(directory).map(|entries| entries.flatten().collect()).unwrap_or_else(|_| Vec::new());
    let mut names: Vec<String> =
        entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn no_decoder_panics_on_mutated_input() {
    for target in &TARGETS {
        // A store is opened in each case of these; the others take microseconds.
        let cases = if target.opens_a_store() { 12 } else { 200 };
        run(target, 0, cases);
    }
}

#[test]
fn no_decoder_panics_on_what_fuzzing_kept() {
    for target in &TARGETS {
        let directory = here("corpus").join(target.name);
        for name in names(&directory) {
            (target.run)(&fs::read(directory.join(name)).expect("a committed file"));
        }
    }
}

#[test]
fn every_target_has_its_program_and_no_program_is_left_over() {
    let mut expected: Vec<String> = TARGETS.iter().map(|target| format!("{}.rs", target.name)).collect();
    expected.sort();
    assert_eq!(names(&here("fuzz_targets")), expected);
    let manifest = fs::read_to_string(here("Cargo.toml")).expect("this crate's");
    for target in &TARGETS {
        assert!(manifest.contains(&format!("name = \"{}\"", target.name)), "{} is not built", target.name);
    }
    assert!(names(&here("corpus")).iter().all(|name| TARGETS.iter().any(|target| target.name == name)));
}
