//! Looking on: `repl`, `watch`; and what shells and operators want to know of the command: `doctor`, `completions`, `man`.

use std::path::PathBuf;

use clap_complete::Shell;

use super::time::ZoneArg;
use super::{OperatorArgs, StoreArgs, TenantArgs};
use crate::output::{AnswerForm, ListForm};
use crate::times::parse_span;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, on the store of `annals demo`:
  annals repl --tenant retailer
  echo '.at now/d; .last 6h; sum(increase(errors[1h]))' | annals repl --tenant agency

Tab completes metrics, labels, values, functions and commands; a question that is not finished goes on in
the next line; an empty line ends it. `.help` lists the commands. What was asked is kept in
$XDG_STATE_HOME/annals/history, else in ~/.local/state/annals/history.")]
pub(crate) struct ReplArgs {
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(flatten)]
    pub(crate) zone: ZoneArg,
    /// The form of answers
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub(crate) output: Option<AnswerForm>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, on the store of `annals demo`:
  annals watch 'sum(increase(http_requests[5m]))' --tenant retailer --last 3d --frames 1
  annals watch 'sum by (result) (rate(auth_attempts[1m]))' --tenant agency --every 500ms --frames 2

Draws until Ctrl-C, beside a live writer.")]
pub(crate) struct WatchArgs {
    /// The question, in PromQL
    #[arg(value_name = "EXPR", allow_hyphen_values = true)]
    pub(crate) expression: String,
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    /// How much of the past is drawn
    #[arg(long, value_name = "SPAN", value_parser = parse_span, default_value = "15m")]
    pub(crate) last: i64,
    /// How often it is drawn
    #[arg(long, value_name = "SPAN", value_parser = parse_span, default_value = "2s")]
    pub(crate) every: i64,
    /// The distance of two instants [default: about 250 in the range]
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    pub(crate) step: Option<i64>,
    /// End after so many
    #[arg(long, value_name = "N")]
    pub(crate) frames: Option<u64>,
    #[command(flatten)]
    pub(crate) zone: ZoneArg,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, on the store of `annals demo`:
  annals doctor
  annals doctor -o json

Looks at what is cheap to look at, beside a writer: lag of retention and of background work, quarantine,
cardinality, clocks, permissions, disk. The exit code is 3 where something is odd, else 0. `annals verify`
reads every byte. With --url http://127.0.0.1:9797 it asks a gateway instead: whether it lives and can be
given work, and what its own numbers say, which it shows on its own machine and to an operator's token in
ANNALS_TOKEN.")]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Ask a gateway, not a store
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    pub(crate) url: Option<String>,
    /// Certificates that it may have, for https [default: those that the system trusts]
    #[arg(long, value_name = "FILE", requires = "url")]
    pub(crate) trust: Option<PathBuf>,
    /// The form of the list [default: sentences]
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub(crate) output: Option<ListForm>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  annals completions bash > annals.bash
  annals completions zsh > _annals
  annals completions fish > annals.fish

bash reads them from ~/.local/share/bash-completion/completions/annals, zsh from a directory in $fpath,
fish from ~/.config/fish/completions/annals.fish.")]
pub(crate) struct CompletionsArgs {
    /// Whose
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: Shell,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  annals man > annals.1
  annals man ./man

With a directory it is a page per verb; `man -M` wants them in its subdirectory man1.")]
pub(crate) struct ManArgs {
    /// Where to write a page per verb; it is made where it is not there [default: one page to standard output]
    #[arg(value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}
