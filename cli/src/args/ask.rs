//! Questions in PromQL: `query`, `range`, `explain`, `series`, `labels`, `top`, `promql`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::TenantArgs;
use super::time::{RangeOfTime, ZoneArg};
use crate::output::{AnswerForm, ListForm};
use crate::times::{When, parse_span, parse_when};

/// What is asked: one question, or those of a file.
#[derive(Debug, clap::Args)]
pub(crate) struct Question {
    /// The question, in PromQL; `-` reads questions from standard input
    #[arg(value_name = "EXPR", required_unless_present = "file", allow_hyphen_values = true)]
    pub(crate) expression: Option<String>,
    /// A file of questions with `;` between them, each answered in its turn
    #[arg(long, short, value_name = "FILE", conflicts_with = "expression")]
    pub(crate) file: Option<PathBuf>,
}

/// Who reads without being the tenant.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct OperatorArgs {
    /// Who reads: written into the store's audit log, before anything is read
    #[arg(long, value_name = "NAME", requires = "reason")]
    pub(crate) operator: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", requires = "operator")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, on the store of `annals demo`:
  annals query 'sum by (status) (increase(http_requests[1d]))' --tenant retailer --at now/d
  annals query 'topk(5, avg_over_time(host_cpu_percent[1d]))' --tenant retailer --at now/d -o chart
  annals query 'count({__name__=~\".+\"})' --tenant bakery --at now/d -o json
  echo 'time(); sum(increase(errors[1d]))' | annals query - --tenant agency --at now/d -o csv
  annals query 'sum(increase(mails[1d]))' --tenant bakery --at now/d --operator ann --reason 'ticket 4711'

Times: unix seconds, RFC 3339, a date or a clock's time in the zone of --tz, now, now-1h, now-1d/d.
Several questions have `;` between them.")]
pub(crate) struct QueryArgs {
    #[command(flatten)]
    pub(crate) question: Question,
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    /// The instant
    #[arg(long, value_name = "TIME", value_parser = parse_when, default_value = "now", allow_hyphen_values = true)]
    pub(crate) at: When,
    #[command(flatten)]
    pub(crate) zone: ZoneArg,
    /// The form of the answer
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub(crate) output: Option<AnswerForm>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, on the store of `annals demo`:
  annals range 'sum(increase(auth_attempts[1h]))' --tenant agency --end now/d --last 14d --step 1h -o chart
  annals range 'host_load1{host=\"web-00\"}' --tenant retailer --end now/d --last 6h --tz Europe/Berlin
  annals range 'sum(increase(errors[1h]))' --tenant agency --start now-2d/d --end now/d -o csv > errors.csv
  annals range 'sum by (le) (increase(http_response_seconds_bucket[1h]))' --tenant agency --last 2d -o svg > speed.svg

Times: unix seconds, RFC 3339, a date or a clock's time in the zone of --tz, now, now-1h, now-1d/d.
Spans: 30s, 5m, 1h30m, 7d, or seconds. Several questions have `;` between them.")]
pub(crate) struct RangeArgs {
    #[command(flatten)]
    pub(crate) question: Question,
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    #[command(flatten)]
    pub(crate) time: RangeOfTime,
    /// The distance of two instants [default: about 250 in the range]
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    pub(crate) step: Option<i64>,
    /// The form of the answer
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub(crate) output: Option<AnswerForm>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, on the store of `annals demo`:
  annals explain 'sum by (status) (increase(http_requests[1d]))' --tenant retailer --at now/d
  annals explain 'sum(increase(errors[5m]))' --tenant agency --end now/d --last 1d --step 5m --analyze

Without --analyze nothing is read. With it the question is answered, and each part shows its time
(that of the parts within it included), how many series came of it, and the memory that took.")]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) question: Question,
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    /// The instant [default: now, where no range is given]
    #[arg(long, value_name = "TIME", value_parser = parse_when, allow_hyphen_values = true, conflicts_with_all = ["start", "end", "last", "step"])]
    pub(crate) at: Option<When>,
    #[command(flatten)]
    pub(crate) time: RangeOfTime,
    /// The distance of two instants of a range [default: about 250 in the range]
    #[arg(long, value_name = "SPAN", value_parser = parse_span)]
    pub(crate) step: Option<i64>,
    /// Answer the question, and show what each part took
    #[arg(long)]
    pub(crate) analyze: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, on the store of `annals demo`:
  annals series --tenant bakery
  annals series 'http_requests{status=~\"5..\"}' --tenant retailer -o csv
  annals series auth_attempts errors --tenant agency --last 7d")]
pub(crate) struct SeriesArgs {
    /// PromQL selectors; a series that satisfies any of them is listed [default: all]
    #[arg(value_name = "SELECTOR")]
    pub(crate) selectors: Vec<String>,
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(flatten)]
    pub(crate) time: RangeOfTime,
    /// The form of the list
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub(crate) output: Option<ListForm>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, on the store of `annals demo`:
  annals labels --tenant retailer
  annals labels site --tenant agency
  annals labels __name__ --match '{site=\"portal.example\"}' --tenant agency")]
pub(crate) struct LabelsArgs {
    /// The label whose values are listed [default: list the names]
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// A PromQL selector; only series that satisfy it count
    #[arg(long = "match", value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(flatten)]
    pub(crate) time: RangeOfTime,
    /// The form of the list
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub(crate) output: Option<ListForm>,
}

/// What `top` ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ranked {
    /// Metrics, by their series
    Metrics,
    /// Labels, by their distinct values
    Labels,
    /// Series, by their samples
    Series,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, on the store of `annals demo`:
  annals top --tenant retailer
  annals top labels --tenant retailer --limit 5
  annals top series --match 'http_requests' --tenant agency --last 30d -o chart

Without a word it is all three. Nothing is decoded: samples and bytes are those that a query of the
whole range would read.")]
pub(crate) struct TopArgs {
    /// What is ranked [default: all of it]
    #[arg(value_enum, value_name = "WHAT")]
    pub(crate) what: Option<Ranked>,
    /// A PromQL selector; only series that satisfy it count
    #[arg(long = "match", value_name = "SELECTOR")]
    pub(crate) selector: Option<String>,
    /// So many of each
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    pub(crate) limit: usize,
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(flatten)]
    pub(crate) time: RangeOfTime,
    /// The form of the list
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub(crate) output: Option<AnswerForm>,
}

/// What to do with PromQL.
#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples:\n  annals promql test rules.test\n  annals promql parse 'sum(rate(hits[5m]))'\n  annals promql format 'sum  by(job)(hits)'"
)]
pub(crate) enum PromqlVerb {
    /// Run scripts of `load`, `eval` and what to expect; exit code 3 where an evaluation fails
    #[command(after_help = "Example:\n  annals promql test rules.test alerts.test")]
    Test {
        /// The scripts, in the language of Prometheus' promqltest
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Show the tree of a query: place, type and kind of each part
    #[command(after_help = "Example:\n  annals promql parse 'sum by (status) (rate(hits[5m])) > 2'")]
    Parse {
        /// The query
        #[arg(value_name = "EXPR", allow_hyphen_values = true)]
        expression: String,
    },
    /// Write a query as one writes it, over several lines where it is long
    #[command(after_help = "Example:\n  annals promql format 'sum  by(status)(rate( hits[300s] ))'")]
    Format {
        /// The query
        #[arg(value_name = "EXPR", allow_hyphen_values = true)]
        expression: String,
    },
}
