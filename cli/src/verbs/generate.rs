//! `completions` and `man`: what shells and `man` want to know of the command line.

use clap::CommandFactory;

use crate::args::{Args, CompletionsArgs, ManArgs};
use crate::error::{CliError, Outcome};
use crate::output::Screen;

/// Writes what a shell completes by.
pub(crate) fn completions(args: &CompletionsArgs, screen: &mut Screen) -> Outcome {
    // Made in memory: the generator panics where it cannot write, as where nobody reads any more.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "annals", &mut text);
    std::io::Write::write_all(screen, &text)?;
    Ok(0)
}

/// Writes manual pages.
pub(crate) fn man(args: &ManArgs, screen: &mut Screen) -> Outcome {
    let Some(directory) = &args.directory else {
        clap_mangen::Man::new(Args::command()).render(screen)?;
        return Ok(0);
    };
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(Args::command(), directory))
        .map_err(|error| {
            CliError::failed(format_args!("cannot write pages to {}: {error}", directory.display()))
        })?;
    Ok(0)
}
