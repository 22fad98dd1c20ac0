//! The example of the guide runs, from nothing to a report.

#[path = "../examples/gateway.rs"]
#[expect(dead_code, reason = "its `main` is for the command line")]
mod gateway;

#[test]
fn the_gateway_example_runs_twice_on_one_store() {
    let directory = tempfile::tempdir().expect("a directory");
    for _ in 0..2 {
        gateway::run(directory.path().join("store")).expect("the example runs");
    }
}
