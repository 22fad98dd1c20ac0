//! How fast samples of known series become durable.

use std::time::Instant;

use annals_benches::cpu_time;

use crate::host::{batches, create, write};

/// The set `cpu` through the public API, synced, 4,000 samples a batch.
pub(crate) fn run() {
    let root = tempfile::tempdir().expect("a directory");
    let (store, tenant) = create(root.path());
    let steps = 1_500;
    let batches = batches(steps);
    let samples = steps as f64 * 4_000.0;
    let (wall, cpu) = (Instant::now(), cpu_time::seconds());
    write(&tenant, batches);
    let seconds = wall.elapsed().as_secs_f64();
    print!("ingest: set=cpu batch=4000 synced samples/s={:.0}", samples / seconds);
    if let (Some(before), Some(after)) = (cpu, cpu_time::seconds()) {
        print!(" samples/s/core={:.0}", samples / (after - before));
    }
    println!();
    store.close().expect("closed");
}
