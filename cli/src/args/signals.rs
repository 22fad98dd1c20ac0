//! `signals`.

use super::time::RangeOfTime;
use super::{OperatorArgs, TenantArgs};
use crate::output::AnswerForm;
use crate::times::parse_span;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, on the store of `annals demo`:
  annals signals --tenant bakery --limit 20
  annals signals kind=http.request 'status>=500' site=portal.example --tenant agency --last 3d
  annals signals kind=http.request 'duration>300' 'route=~/(cart|product)/.*' --tenant retailer --last 2d --page 2
  annals signals kind=auth.attempt result=failure --tenant agency --count
  annals signals kind=auth.attempt --by result,method --tenant agency --last 7d
  annals signals kind=http.request --by status --step 1h --tenant agency --end now/d --last 2d -o chart

Filters: a name, one of = != =~ !~ > >= < <=, and a value. Names are kind, site and the fields of kinds,
which `-o jsonl` shows; =~ and !~ take a regular expression for the whole value, and the rest compare
numbers. A signal has to satisfy all filters. Names of people were replaced by keyed hashes when they
were written: equal hashes are equal names.

A list holds the newest signals, by time, without --by and --count; --page 2 holds those before the newest,
and --end keeps pages in place beside a writer. --follow goes on to show what is written, until Ctrl-C.")]
pub(crate) struct SignalsArgs {
    /// Which signals: name=value, and so on [default: all]
    #[arg(value_name = "FILTER")]
    pub(crate) filters: Vec<String>,
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    #[command(flatten)]
    pub(crate) time: RangeOfTime,
    /// How many are listed, of the newest; 0 is all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    pub(crate) limit: usize,
    /// The page, of --limit signals each; 1 is the newest
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) page: u64,
    /// Count them by kind and site instead
    #[arg(long, conflicts_with_all = ["by", "step", "follow", "limit", "page"])]
    pub(crate) count: bool,
    /// Count them by these names instead, with commas between
    #[arg(long, value_name = "NAME", value_delimiter = ',', conflicts_with_all = ["follow", "limit", "page"])]
    pub(crate) by: Vec<String>,
    /// With --by: how many in each span of so long, instead of in all
    #[arg(long, value_name = "SPAN", value_parser = parse_span, requires = "by")]
    pub(crate) step: Option<i64>,
    /// Go on to show what is written
    #[arg(long, conflicts_with = "page")]
    pub(crate) follow: bool,
    /// The form
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub(crate) output: Option<AnswerForm>,
}
