//! `annals-fuzz TARGET|all [--seconds N] [--seed N]`: mutates valid inputs until the time is over.
//!
//! `annals-fuzz seeds DIRECTORY` writes the valid inputs of each target into a folder of its name, for libFuzzer to start
//! from.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{fs, io};

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
        eprintln!("usage: annals-fuzz TARGET|all [--seconds N] [--seed N], or annals-fuzz seeds DIRECTORY");
        return ExitCode::from(2);
    };
    if name == "seeds" {
        let Some(directory) = arguments.get(1) else {
            eprintln!("usage: annals-fuzz seeds DIRECTORY");
            return ExitCode::from(2);
        };
        return match write_seeds(Path::new(directory)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: {directory}: {error}");
                ExitCode::from(2)
            }
        };
    }
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

fn write_seeds(directory: &Path) -> io::Result<()> {
    for target in &TARGETS {
        let directory = directory.join(target.name);
        fs::create_dir_all(&directory)?;
        for (number, bytes) in (target.seeds)().iter().enumerate() {
            fs::write(directory.join(format!("seed-{number:02}")), bytes)?;
        }
    }
    Ok(())
}
