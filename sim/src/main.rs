//! `annals-sim CAMPAIGN`: runs a campaign, prints its line, and exits with 1 where something failed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use annals_sim::campaign::{Report, Size};
use clap::Parser;

/// Shows what Annals survives.
#[derive(Parser)]
#[command(name = "annals-sim", version)]
struct Arguments {
    /// Which campaign runs.
    #[arg(default_value = "seeds")]
    campaign: String,
    /// How many states, seeds or rounds at most; the campaign's full size where it is not given.
    #[arg(long, visible_alias = "seeds")]
    count: Option<u64>,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Stops after so many seconds, whatever is left.
    #[arg(long)]
    seconds: Option<u64>,
    /// Appends a row to this ledger.
    #[arg(long)]
    ledger: Option<PathBuf>,
}

fn main() -> ExitCode {
    // Campaigns of real kernels start this program again as the process that they kill.
    annals_sim::kernel::become_child(std::env::args_os());
    let arguments = Arguments::parse();
    let started = Instant::now();
    let mut report = match run(&arguments) {
        Ok(report) => report,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    report.seconds = started.elapsed().as_secs();
    for failure in &report.failures {
        eprintln!("{failure}");
    }
    println!("{report}");
    if let Some(ledger) = &arguments.ledger
        && let Err(error) = report.record(ledger)
    {
        eprintln!("error: {}: {error}", ledger.display());
        return ExitCode::from(2);
    }
    if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

fn run(arguments: &Arguments) -> Result<Report, String> {
    let named = annals_sim::campaigns().find(|campaign| campaign.name == arguments.campaign);
    let Some(campaign) = named else {
        let names: Vec<&str> = annals_sim::campaigns().map(|campaign| campaign.name).collect();
        return Err(format!("no campaign `{}`; there are: {}", arguments.campaign, names.join(", ")));
    };
    let size = Size::new(arguments.count, arguments.from, arguments.seconds);
    Ok((campaign.run)(&size))
}
