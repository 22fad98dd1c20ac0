//! Questions about one tenant: `query`, `range`, `explain`, `series`, `labels`, `promql`.

use std::path::PathBuf;

use annals::Timestamp;
use clap::Subcommand;

use super::TenantArgs;
use crate::output::{AnswerForm, ListForm};
use crate::times::{When, parse_span, parse_when};

/// Who reads without being the tenant.
#[derive(Debug, clap::Args)]
pub(crate) struct OperatorArgs {
    /// Who reads: written into the store's audit log, before anything is read
    #[arg(long, value_name = "NAME", requires = "reason")]
    pub(crate) operator: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT", requires = "operator")]
    pub(crate) reason: Option<String>,
}

/// A range of time.
#[derive(Debug, clap::Args)]
pub(crate) struct RangeOfTime {
    /// The first instant [default: --last before the end]
    #[arg(long, value_name = "TIME", value_parser = parse_when, allow_hyphen_values = true)]
    pub(crate) start: Option<When>,
    /// The last instant [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_when, allow_hyphen_values = true)]
    pub(crate) end: Option<When>,
    /// How long before the end it starts
    #[arg(long, value_name = "SPAN", value_parser = parse_span, conflicts_with = "start")]
    pub(crate) last: Option<i64>,
}

impl RangeOfTime {
    /// The first and the last instant, where anything was said about them.
    pub(crate) fn resolve(&self, now: Timestamp, last_ms: i64) -> (Timestamp, Timestamp) {
        let end = self.end.unwrap_or(When::NOW).resolve(now);
        let start = match self.start {
            Some(start) => start.resolve(now),
            None => end.saturating_add(-self.last.unwrap_or(last_ms)),
        };
        (start, end)
    }

    /// Whether any bound was given.
    pub(crate) fn given(&self) -> bool {
        self.start.is_some() || self.end.is_some() || self.last.is_some()
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  annals query 'sum by (status) (increase(http_requests[1d]))' --at 2015-05-18
  annals query 'topk(5, host_cpu_percent)' --tenant retailer -o chart
  annals query 'count({__name__=~\".+\"})' -o json | jq .data

  annals query 'up' --tenant acme --operator ann --reason 'ticket 4711'

Times: unix seconds, RFC 3339, a date (midnight UTC), now, now-1h, now-1d/d.")]
pub(crate) struct QueryArgs {
    /// The question, in PromQL
    #[arg(value_name = "EXPR")]
    pub(crate) expression: String,
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    /// The instant
    #[arg(long, value_name = "TIME", value_parser = parse_when, default_value = "now", allow_hyphen_values = true)]
    pub(crate) at: When,
    /// The form of the answer
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub(crate) output: Option<AnswerForm>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  annals range 'sum(increase(http_requests[1h]))' --start 2015-05-17 --end 2015-05-21 --step 1h -o chart
  annals range 'host_load1{host=\"web-00\"}' --last 6h
  annals range 'sum(rate(errors[5m]))' --last 1d --step 5m -o csv > errors.csv

Times: unix seconds, RFC 3339, a date (midnight UTC), now, now-1h, now-1d/d.
Spans: 30s, 5m, 1h30m, 7d, or seconds.")]
pub(crate) struct RangeArgs {
    /// The question, in PromQL
    #[arg(value_name = "EXPR")]
    pub(crate) expression: String,
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
Examples:
  annals explain 'sum by (status) (increase(http_requests[1d]))' --at 2015-05-18
  annals explain 'sum(rate(errors[5m]))' --last 1d --step 5m --analyze

Without --analyze nothing is read. With it the question is answered, and each part shows its time
(that of the parts within it included), how many series came of it, and the memory that took.")]
pub(crate) struct ExplainArgs {
    /// The question, in PromQL
    #[arg(value_name = "EXPR")]
    pub(crate) expression: String,
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
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
Examples:
  annals series
  annals series 'http_requests{status=~\"5..\"}' -o csv
  annals series 'auth_attempts' 'errors' --last 7d")]
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
#[command(
    after_help = "Examples:\n  annals labels\n  annals labels site\n  annals labels __name__ --match '{site=\"www\"}'"
)]
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
