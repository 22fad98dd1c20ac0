//! `report`.

use std::path::PathBuf;

use clap::ValueEnum;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use super::{OperatorArgs, TenantArgs};
use crate::times::{parse_date, parse_month, parse_week, parse_zone};

/// The forms of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportForm {
    /// Plain text with tables (default)
    Markdown,
    /// One file with charts, for the browser and for print
    Html,
    /// One JSON document, as docs/report.schema.json describes it
    Json,
}

/// The length of a report's period.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportPeriod {
    /// From midnight to midnight
    Day,
    /// Seven days
    Week,
    /// From the first of a month to the first of the next
    Month,
}

/// The day that weeks start on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum WeekStart {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl WeekStart {
    /// The day.
    pub(crate) fn weekday(self) -> Weekday {
        match self {
            WeekStart::Monday => Weekday::Monday,
            WeekStart::Tuesday => Weekday::Tuesday,
            WeekStart::Wednesday => Weekday::Wednesday,
            WeekStart::Thursday => Weekday::Thursday,
            WeekStart::Friday => Weekday::Friday,
            WeekStart::Saturday => Weekday::Saturday,
            WeekStart::Sunday => Weekday::Sunday,
        }
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Without a date, the report is of the last week that is over and has data; --period changes the week into a day or month.

Examples, on the store of `annals demo`:
  annals report --tenant agency --site portal.example
  annals report --tenant agency --site portal.example --tz Europe/Berlin --out week.html
  annals report --tenant agency --site museum.example --period day -o json
  annals report --tenant retailer --all-sites --period month
  annals report --tenant agency --all-sites --operator ann --reason 'ticket 4711'
  annals report --each --out reports/

One period of many: --week 2026-W46, --month 2026-11, --day 2026-11-09.")]
pub(crate) struct ReportArgs {
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(flatten)]
    pub(crate) operator: OperatorArgs,
    /// The site [default: the only one]
    #[arg(long, short, value_name = "SITE")]
    pub(crate) site: Option<String>,
    /// One report of all sites of the tenant together
    #[arg(long, conflicts_with = "site")]
    pub(crate) all_sites: bool,
    /// One report for each site of each tenant, into the directory --out; --tenant keeps to one tenant
    #[arg(long, conflicts_with_all = ["site", "all_sites"], requires = "out")]
    pub(crate) each: bool,
    /// How long the period is
    #[arg(long, value_enum, value_name = "PERIOD", default_value = "week")]
    pub(crate) period: ReportPeriod,
    /// Any day of the period
    #[arg(long, value_name = "DAY", value_parser = parse_date)]
    pub(crate) date: Option<Date>,
    /// A week, as 2026-W46; its Monday where weeks start on another day
    #[arg(long, value_name = "WEEK", value_parser = parse_week, conflicts_with_all = ["date", "period"])]
    pub(crate) week: Option<Date>,
    /// A month, as 2026-11
    #[arg(long, value_name = "MONTH", value_parser = parse_month, conflicts_with_all = ["date", "period", "week"])]
    pub(crate) month: Option<Date>,
    /// A day, as 2026-11-09
    #[arg(long, value_name = "DAY", value_parser = parse_date,
          conflicts_with_all = ["date", "period", "week", "month"])]
    pub(crate) day: Option<Date>,
    /// The day that weeks start on
    #[arg(long, value_enum, value_name = "DAY", default_value = "monday")]
    pub(crate) week_start: WeekStart,
    /// The zone that days and hours are those of
    #[arg(long, value_name = "ZONE", value_parser = parse_zone, default_value = "UTC")]
    pub(crate) tz: TimeZone,
    /// The form of the report [default: by the ending of --out, else markdown; with --each html]
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub(crate) output: Option<ReportForm>,
    /// Write it to a file instead; with --each the directory, in which each tenant gets one of its own
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}
