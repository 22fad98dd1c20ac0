//! The command line: verbs, their options, and an example in the help of each.
//!
//! The list of verbs is here; what a verb takes and its help stand together in the file of its subject.

mod ask;
mod bring;
mod gateway;
mod life;
mod report;
mod session;
mod signals;
mod time;
mod upkeep;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(crate) use ask::{
    ExplainArgs, LabelsArgs, OperatorArgs, PromqlVerb, QueryArgs, Question, RangeArgs, Ranked, SeriesArgs,
    TopArgs,
};
pub(crate) use bring::{DemoArgs, Format, ImportArgs, Precision};
pub(crate) use gateway::{ServeArgs, SiteVerb, TokenVerb};
pub(crate) use life::{
    AuditVerb, DeleteArgs, ExportArgs, ExportFormat, ExportVerb, KeyClassName, KeysVerb, PlanVerb,
    ReceiptVerb, RetentionVerb, TenantVerb,
};
pub(crate) use report::{ReportArgs, ReportForm, ReportPeriod};
pub(crate) use session::{CompletionsArgs, DoctorArgs, ManArgs, ReplArgs, WatchArgs};
pub(crate) use signals::SignalsArgs;
pub(crate) use time::RangeOfTime;
pub(crate) use upkeep::{BackupVerb, InspectArgs, RestoreArgs, StatsArgs, VerifyArgs};

/// Activity signals and metrics of many tenants: import, query, report.
#[derive(Debug, Parser)]
#[command(name = "annals", version, max_term_width = 130, propagate_version = true)]
#[command(after_help = "\
Start here:
  annals demo                                  two weeks of three tenants, and what to try with them
  annals tenant create acme --plan archive --data ./annals-data
  annals import --tenant acme --site www --format apache access.log
  annals query 'sum by (status) (increase(http_requests[1d]))' --at 2015-05-18
  annals report --tenant acme --site www
  annals repl --tenant acme                    questions one after another, with completion
  annals doctor                                is anything odd about the store?

The store is --data DIR, else the variable ANNALS_DATA, else ./annals-data.
Exit codes: 0 done, 1 error, 2 wrong command line, 3 verify, inspect or tenant export found damage,
or an evaluation of promql test failed.")]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Make a store with two weeks of made-up activity and show what it holds
    Demo(DemoArgs),
    /// Read log or metric files into a store; importing a file again counts nothing twice
    Import(ImportArgs),
    /// Ask a PromQL question about one instant
    Query(QueryArgs),
    /// Ask a PromQL question for every step of a range of time
    Range(RangeArgs),
    /// Show how a PromQL question is answered: what each selector finds, and what of that is read
    Explain(ExplainArgs),
    /// List the series that matchers find, with their kind
    Series(SeriesArgs),
    /// List label names, or the values of one label
    Labels(LabelsArgs),
    /// Rank metrics by their series, labels by their values, series by their samples
    Top(TopArgs),
    /// Search raw signals by kind, site, any field and time: list, count, group, follow
    Signals(SignalsArgs),
    /// Ask one question after another, with completion and history
    Repl(ReplArgs),
    /// Draw an answer anew every few seconds
    Watch(WatchArgs),
    /// Work on PromQL itself: run test scripts, show the tree of a query, format one
    #[command(subcommand)]
    Promql(PromqlVerb),
    /// Write a day, week or month of a site, or of all sites, as a report
    Report(ReportArgs),
    /// Create, list, show, export, cancel and erase tenants
    #[command(subcommand)]
    Tenant(TenantVerb),
    /// Check an export
    #[command(subcommand)]
    Export(ExportVerb),
    /// Check the receipt of an erasure, print the key by which that is done
    #[command(subcommand)]
    Receipt(ReceiptVerb),
    /// Show what operators read of tenants and why, check that nothing of that was changed
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Delete samples and signals of a tenant, by a selector and a range of time
    Delete(DeleteArgs),
    /// List the built-in plans, show one of them or of a file
    #[command(subcommand)]
    Plan(PlanVerb),
    /// Show which keys tenants have and what is sealed with them, put new ones in their place
    #[command(subcommand)]
    Keys(KeysVerb),
    /// Show how long data is kept
    #[command(subcommand)]
    Retention(RetentionVerb),
    /// Serve a store over HTTP: the API of Prometheus, and metrics in
    Serve(ServeArgs),
    /// Make, rotate, revoke and list the keys under which sites sign their signals
    #[command(subcommand)]
    Site(SiteVerb),
    /// Make, rotate, revoke and list the tokens by which clients of the gateway are known
    #[command(subcommand)]
    Token(TokenVerb),
    /// Make blocks of everything in the log and merge each day's blocks into one
    #[command(after_help = "Examples, on the store of `annals demo`:\n  annals compact")]
    Compact(StoreArgs),
    /// Read every file of a store and name each that is damaged, with what is lost (exit code 3)
    Verify(VerifyArgs),
    /// Show a store in numbers: what is in memory, in blocks, owed, overdue
    Stats(StatsArgs),
    /// Take snapshots of a store into a directory elsewhere; list, check and prune them
    #[command(subcommand)]
    Backup(BackupVerb),
    /// Make a store of a snapshot of a backup, in a new directory; or put one of its tenants into a store
    Restore(RestoreArgs),
    /// Show what one file of a store holds
    Inspect(InspectArgs),
    /// Look at a store and say in sentences what is odd (exit code 3)
    Doctor(DoctorArgs),
    /// Print what a shell completes this command by
    Completions(CompletionsArgs),
    /// Write manual pages
    Man(ManArgs),
}

/// Which store.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StoreArgs {
    /// The store [default: $ANNALS_DATA, else ./annals-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

/// Which tenant of which store.
#[derive(Debug, clap::Args)]
pub(crate) struct TenantArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// The tenant [default: the only one]
    #[arg(long, short, value_name = "TENANT")]
    pub(crate) tenant: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent_and_every_verb_has_an_example() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("annals "), "{} has no example", command.get_name());
            command.get_subcommands().filter(|sub| sub.get_name() != "help").for_each(check);
        }
        Args::command().debug_assert();
        check(&Args::command());
    }

    /// The words of a command as a shell cuts them, up to a pipe or a redirection.
    fn words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
        for letter in line.chars() {
            match (letter, quote) {
                (_, Some(open)) if letter == open => quote = None,
                ('\'' | '"', None) => {
                    quote = Some(letter);
                    word.get_or_insert_default();
                }
                ('|' | '>', None) => break,
                (' ', None) => words.extend(word.take()),
                _ => word.get_or_insert_default().push(letter),
            }
        }
        words.extend(word);
        words
    }

    #[test]
    fn every_example_of_the_help_is_a_command_line_that_there_is() {
        fn check(command: &clap::Command, count: &mut usize) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for example in help.lines().filter_map(|line| line.strip_prefix("  annals ")) {
                // Comments stand two spaces or more behind.
                let example = example.split("   ").next().unwrap_or_default();
                let words = words(&format!("annals {example}"));
                if let Err(error) = Args::try_parse_from(&words) {
                    panic!("{words:?}: {error}");
                }
                *count += 1;
            }
            command.get_subcommands().for_each(|sub| check(sub, count));
        }
        let mut count = 0;
        check(&Args::command(), &mut count);
        assert!(count > 80, "{count}");
    }
}
