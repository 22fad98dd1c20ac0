//! The `annals` command: import, query, report, inspect, verify.
//!
//! ```text
//!   args       the command line                       verbs/    one file per verb
//!   access     opens stores, finds tenants            import/   files to batches, pipelined
//!   times      times and spans as people write them   demo/     two weeks of made-up activity
//!   output/    tables, csv, json, charts              error     messages and exit codes
//! ```
//!
//! Data goes to standard output, everything else to standard error. Reading verbs open the store beside whoever writes
//! to it.

mod access;
mod args;
mod demo;
mod error;
mod import;
mod output;
mod times;
mod verbs;

use std::process::ExitCode;

use clap::Parser;

use args::{Args, Verb};
use error::Outcome;
use output::Screen;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version go to standard output with code 0; a reader that went away is no error.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let mut screen = Screen::stdout();
    let outcome = run(args.verb, &mut screen).and_then(|code| {
        screen.finish()?;
        Ok(code)
    });
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // What was written before the error is part of the answer.
            let _ = screen.finish();
            let text = error.to_string();
            if !text.is_empty() {
                eprintln!("{text}");
            }
            ExitCode::from(error.code())
        }
    }
}

fn run(verb: Verb, screen: &mut Screen) -> Outcome {
    match verb {
        Verb::Demo(args) => demo::run(&args, screen),
        Verb::Import(args) => import::run(&args, screen),
        Verb::Query(args) => verbs::query::instant(&args, screen),
        Verb::Range(args) => verbs::query::range(&args, screen),
        Verb::Explain(args) => verbs::explain::explain(&args, screen),
        Verb::Promql(verb) => verbs::promql::run(&verb, screen),
        Verb::Series(args) => verbs::series::series(&args, screen),
        Verb::Labels(args) => verbs::series::labels(&args, screen),
        Verb::Top(args) => verbs::top::top(&args, screen),
        Verb::Signals(args) => verbs::signals::signals(&args, screen),
        Verb::Repl(args) => verbs::repl::repl(&args, screen),
        Verb::Watch(args) => verbs::watch::watch(&args, screen),
        Verb::Doctor(args) => verbs::doctor::doctor(&args, screen),
        Verb::Completions(args) => verbs::generate::completions(&args, screen),
        Verb::Man(args) => verbs::generate::man(&args, screen),
        Verb::Audit(verb) => verbs::audit::run(&verb, screen),
        Verb::Delete(args) => verbs::delete::delete(&args, screen),
        Verb::Report(args) => verbs::report::run(&args, screen),
        Verb::Tenant(verb) => verbs::tenant::run(&verb, screen),
        Verb::Backup(verb) => verbs::backup::run(&verb, screen),
        Verb::Restore(args) => verbs::backup::restore(&args, screen),
        Verb::Receipt(verb) => verbs::receipt::run(&verb, screen),
        Verb::Export(verb) => verbs::export::run(&verb, screen),
        Verb::Plan(verb) => verbs::plan::run(&verb, screen),
        Verb::Keys(verb) => verbs::keys::run(&verb, screen),
        Verb::Retention(verb) => verbs::retention::run(&verb, screen),
        Verb::Serve(args) => verbs::serve::serve(&args),
        Verb::Site(verb) => verbs::site::run(&verb, screen),
        Verb::Token(verb) => verbs::token::run(&verb, screen),
        Verb::Compact(args) => verbs::upkeep::compact(&args, screen),
        Verb::Verify(args) => verbs::verify::verify(&args, screen),
        Verb::Stats(args) => verbs::stats::stats(&args, screen),
        Verb::Inspect(args) => verbs::upkeep::inspect(&args, screen),
    }
}
