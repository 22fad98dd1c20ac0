//! What brings data into a store: `import`, `demo`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::TenantArgs;
use crate::times::{When, parse_when};

const IMPORT_HELP: &str = "\
Examples:
  annals import --tenant acme --site www --format apache access.log access.log.1.gz
  annals import --tenant acme --site bastion --format sshd --year 2017 auth.log
  annals import --tenant acme --site taxi --format csv --metric nyc_taxi nyc_taxi.csv
  annals import --tenant acme --site node --format influx --precision s metrics.lp
  curl -s host:9100/metrics | annals import --tenant acme --site node --format openmetrics --at now -

  annals import --tenant acme --site www --create starter --dry-run access.log

Formats:
  apache       access log, common or combined, with or without a virtual host in front
  nginx        the same, and with $request_time at the end
  sshd         auth.log of an SSH server, RFC 5424 or not; lines that carry no year need --year. Each that says
               Failed or Accepted is one event; \"message repeated N times: [ .. ]\" is N events
  openmetrics  OpenMetrics or Prometheus text, with or without times
  csv          timestamp,value (give --metric), timestamp,<name>,<name>.. or series,<ms>,<ms>..
  influx       Influx line protocol
  jsonl        samples as `annals tenant export --format jsonl` and VictoriaMetrics' /api/v1/export write them
  signals      signals, one a line: {\"kind\":\"mail.sent\",\"timestamp\":1431857103000,\"result\":\"sent\"}

Files that gzip made are unpacked. A file is read in chunks of 1,000 lines, each with an identity
made of the file's first line, its place and its own first line: importing the same file again,
or after it has grown, counts only what is new. Lines that carry no time need --at, which is part
of that identity: another --at is another reading.";

/// The formats that `import` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Apache,
    Nginx,
    Sshd,
    #[value(alias = "prometheus")]
    Openmetrics,
    Csv,
    Influx,
    #[value(alias = "victoriametrics")]
    Jsonl,
    Signals,
}

/// The unit of Influx timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Precision {
    Ns,
    Us,
    Ms,
    S,
}

#[derive(Debug, clap::Args)]
#[command(after_help = IMPORT_HELP)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    pub(crate) store: TenantArgs,
    /// The site that the data comes from: the label `site` of what is counted in logs
    #[arg(long, short, value_name = "SITE")]
    pub(crate) site: String,
    /// What the files hold [default: guessed from their first lines]
    #[arg(long, short, value_enum)]
    pub(crate) format: Option<Format>,
    /// Create the tenant with this plan where there is none
    #[arg(long, value_name = "PLAN")]
    pub(crate) create: Option<String>,
    /// The year of the first line, for sshd logs without one [default: this year]
    #[arg(long, value_name = "YEAR", value_parser = clap::value_parser!(i16).range(1970..=9998))]
    pub(crate) year: Option<i16>,
    /// The metric's name, for csv with the columns timestamp,value
    #[arg(long, value_name = "NAME")]
    pub(crate) metric: Option<String>,
    /// The unit of Influx timestamps
    #[arg(long, value_enum, default_value = "ns")]
    pub(crate) precision: Precision,
    /// The time of samples that carry none (openmetrics, influx)
    #[arg(long, value_name = "TIME", value_parser = parse_when)]
    pub(crate) at: Option<When>,
    /// Say what would be counted, and what refused and why; write nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// The files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  annals demo\n  annals demo --data /tmp/demo --seed 7")]
pub(crate) struct DemoArgs {
    /// Where to make the store; a new or empty directory [default: ./annals-demo, else ./annals-demo-2 and so on]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Another seed is another two weeks
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
}
