//! `annals-fuzz TARGET|all [--seconds N] [--seed N]`: mutates valid inputs until the time is over.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use annals_fuzz::{TARGETS, run};

/// Mutations between two looks at the clock.
const SLICE: u64 = 500;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str, default: u64| {
        let value = arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1));
        value.map_or(Some(default), |text| text.parse().ok())
    };
    let (Some(name), Some(seconds), Some(seed)) =
        (arguments.first(), option("--seconds", 10), option("--seed", 1))
    else {
        eprintln!("usage: annals-fuzz TARGET|all [--seconds N] [--seed N]");
        return ExitCode::from(2);
    };
    let chosen: Vec<_> = TARGETS.iter().filter(|target| name == "all" || target.name == name).collect();
    if chosen.is_empty() {
        eprintln!("no target `{name}`; there are: {}", TARGETS.map(|target| target.name).join(", "));
        return ExitCode::from(2);
    }
    for target in chosen {
        let (started, mut cases, mut slice) = (Instant::now(), 0, seed);
        while started.elapsed() < Duration::from_secs(seconds) {
            run(target, slice, SLICE);
            cases += SLICE;
            slice = slice.wrapping_add(1);
        }
        println!(
            "target={} cases={cases} failures=0 seconds={:.0}",
            target.name,
            started.elapsed().as_secs_f64()
        );
    }
    ExitCode::SUCCESS
}
