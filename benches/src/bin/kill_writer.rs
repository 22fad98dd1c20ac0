//! The child of the SIGKILL rounds: `kill-writer ROOT FIRST...`, a first batch number per writer.

use std::path::PathBuf;

fn main() {
    let mut arguments = std::env::args_os().skip(1);
    let Some(root) = arguments.next().map(PathBuf::from) else {
        eprintln!("usage: kill-writer ROOT FIRST...");
        std::process::exit(2);
    };
    let first: Vec<u64> =
        arguments.map(|text| text.to_string_lossy().parse().expect("a batch number")).collect();
    annals_benches::kill::write_for_ever(&root, &first);
}
