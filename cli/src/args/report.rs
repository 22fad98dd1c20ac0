//! `report`.

use std::path::PathBuf;

use clap::ValueEnum;
use jiff::civil::Date;

use super::TenantArgs;
use crate::times::{parse_date, parse_week};

/// The forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportForm {
    /// Plain text with tables (default)
    Markdown,
    /// One file with charts, for the browser and for print
    Html,
    /// One JSON document
    Json,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  annals report --site www
  annals report --site www --week 2026-W46 --tz Europe/Berlin --out week.html
  annals report --site www --date 2015-05-20 -o json | jq .")]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    /// The site [default: the only one]
    #[arg(long, short, value_name = "SITE")]
    pub(crate) site: Option<String>,
    /// The week, as 2026-W46 (Monday first)
    #[arg(long, value_name = "WEEK", value_parser = parse_week, conflicts_with_all = ["date", "last_week"])]
    pub(crate) week: Option<Date>,
    /// Any day of the week
    #[arg(long, value_name = "DAY", value_parser = parse_date, conflicts_with = "last_week")]
    pub(crate) date: Option<Date>,
    /// The last complete week that has data (default)
    #[arg(long)]
    pub(crate) last_week: bool,
    /// The zone that days and hours are those of
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub(crate) tz: String,
    /// The form of the report [default: by the ending of --out, else markdown]
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub(crate) output: Option<ReportForm>,
    /// Write it to a file instead
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
