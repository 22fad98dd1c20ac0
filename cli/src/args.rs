//! The command line: verbs, their options, and an example in the help of each.

use std::path::PathBuf;

use annals::Timestamp;
use clap::{Parser, Subcommand, ValueEnum};
use jiff::civil::Date;

use crate::output::{AnswerForm, ListForm};
use crate::times::{When, parse_date, parse_span, parse_week, parse_when};

/// Activity signals and metrics of many tenants: import, query, report.
#[derive(Debug, Parser)]
#[command(name = "annals", version, max_term_width = 100, propagate_version = true)]
#[command(after_help = "\
Start here:
  annals demo                                  two weeks of three tenants, and what to try with them
  annals tenant create acme --plan archive --data ./annals-data
  annals import --tenant acme --site www --format apache access.log
  annals query 'sum by (status) (increase(http_requests[1d]))' --at 2015-05-18
  annals report --tenant acme --site www

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
    #[command(after_help = "Examples:\n  annals demo\n  annals demo --data /tmp/demo --seed 7")]
    Demo(DemoArgs),
    /// Read log or metric files into a store; importing a file again counts nothing twice
    #[command(after_help = IMPORT_HELP)]
    Import(ImportArgs),
    /// Ask a PromQL question about one instant
    #[command(after_help = "\
Examples:
  annals query 'sum by (status) (increase(http_requests[1d]))' --at 2015-05-18
  annals query 'topk(5, host_cpu_percent)' --tenant retailer -o chart
  annals query 'count({__name__=~\".+\"})' -o json | jq .data

  annals query 'up' --tenant acme --operator ann --reason 'ticket 4711'

Times: unix seconds, RFC 3339, a date (midnight UTC), now, now-1h, now-1d/d.")]
    Query(QueryArgs),
    /// Ask a PromQL question for every step of a range of time
    #[command(after_help = "\
Examples:
  annals range 'sum(increase(http_requests[1h]))' --start 2015-05-17 --end 2015-05-21 --step 1h -o chart
  annals range 'host_load1{host=\"web-00\"}' --last 6h
  annals range 'sum(rate(errors[5m]))' --last 1d --step 5m -o csv > errors.csv

Times: unix seconds, RFC 3339, a date (midnight UTC), now, now-1h, now-1d/d.
Spans: 30s, 5m, 1h30m, 7d, or seconds.")]
    Range(RangeArgs),
    /// Show how a PromQL question is answered: what each selector finds, and what of that is read
    #[command(after_help = "\
Examples:
  annals explain 'sum by (status) (increase(http_requests[1d]))' --at 2015-05-18
  annals explain 'sum(rate(errors[5m]))' --last 1d --step 5m --analyze

Without --analyze nothing is read. With it the question is answered, and each part shows its time
(that of the parts within it included), how many series came of it, and the memory that took.")]
    Explain(ExplainArgs),
    /// List the series that matchers find, with their kind
    #[command(after_help = "\
Examples:
  annals series
  annals series 'http_requests{status=~\"5..\"}' -o csv
  annals series 'auth_attempts' 'errors' --last 7d")]
    Series(SeriesArgs),
    /// List label names, or the values of one label
    #[command(
        after_help = "Examples:\n  annals labels\n  annals labels site\n  annals labels __name__ --match '{site=\"www\"}'"
    )]
    Labels(LabelsArgs),
    /// Work on PromQL itself: run test scripts, show the tree of a query, format one
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  annals promql test rules.test\n  annals promql parse 'sum(rate(hits[5m]))'\n  annals promql format 'sum  by(job)(hits)'"
    )]
    Promql(PromqlVerb),
    /// Write a site's week as a report
    #[command(after_help = "\
Examples:
  annals report --site www
  annals report --site www --week 2026-W46 --tz Europe/Berlin --out week.html
  annals report --site www --date 2015-05-20 -o json | jq .")]
    Report(ReportArgs),
    /// Create, list, show, export, cancel and erase tenants
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  annals tenant create acme --plan professional\n  annals tenant list\n  annals tenant show acme\n  annals tenant export acme ./acme-export\n  annals tenant cancel acme\n  annals tenant erase acme --yes"
    )]
    Tenant(TenantVerb),
    /// Check an export
    #[command(subcommand)]
    #[command(after_help = EXPORT_VERIFY_HELP)]
    Export(ExportVerb),
    /// Check the receipt of an erasure, print the key by which that is done
    #[command(subcommand)]
    #[command(after_help = RECEIPT_HELP)]
    Receipt(ReceiptVerb),
    /// Show what operators read of tenants and why, check that nothing of that was changed
    #[command(subcommand)]
    #[command(after_help = AUDIT_HELP)]
    Audit(AuditVerb),
    /// Delete samples and signals of a tenant, by a selector and a range of time
    #[command(after_help = "\
Examples:
  annals delete '{site=\"shop.example\"}' --tenant acme
  annals delete '{site=\"shop.example\"}' --tenant acme --yes
  annals delete 'host_load1' --tenant acme --start 2015-05-17 --end 2015-05-18 --metrics --yes

Without --yes nothing is done; it says what is found. A selector looks at the labels of series, and at
kind, site and fields of raw signals; without a range it is all time. The range begins after its first
instant and holds its last. What is deleted is hidden at once, its bytes go within a day. Where raw
metrics have expired, whole windows of their rollups go. What is written later is new, and stays.")]
    Delete(DeleteArgs),
    /// List the built-in plans, show one of them or of a file
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  annals plan list\n  annals plan show enterprise\n  annals plan show silver.toml"
    )]
    Plan(PlanVerb),
    /// Show how long data is kept
    #[command(subcommand)]
    #[command(
        after_help = "Examples:\n  annals retention explain\n  annals retention explain --tenant acme -o csv"
    )]
    Retention(RetentionVerb),
    /// Make blocks of everything in the log and merge each day's blocks into one
    #[command(after_help = "Example:\n  annals compact --data /var/lib/annals")]
    Compact(StoreArgs),
    /// Read every file of a store and name each that is damaged, with what is lost (exit code 3)
    #[command(after_help = "\
Examples:
  annals verify --data /var/lib/annals
  annals verify -o json | jq '.[] | select(.list == \"finding\")'
  annals verify --repair

A repair deletes nothing: what cannot be used goes to quarantine/, each file with a record of what it
is. What can be read of a damaged block becomes a new block. It needs the store to itself.")]
    Verify(VerifyArgs),
    /// Show a store in numbers: what is in memory, in blocks, owed, overdue
    #[command(after_help = "\
Examples:
  annals stats
  annals stats --openmetrics

Works beside a writer. What that has done since it was opened (batches, refusals, background work,
queries) only its own process knows: Annals::metrics() in the library.")]
    Stats(StatsArgs),
    /// Take snapshots of a store into a directory elsewhere; list, check and prune them
    #[command(subcommand)]
    #[command(after_help = BACKUP_HELP)]
    Backup(BackupVerb),
    /// Make a store of a snapshot of a backup, in a new directory; or put one of its tenants into a store
    #[command(after_help = "\
Examples:
  annals restore /mnt/safe/annals --keys /mnt/keys --data ./restored
  annals restore /mnt/safe/annals --keys /mnt/keys --data ./restored --at 2026-11-22T08:30:00Z
  annals restore /mnt/safe/annals --keys annals-data/keys --data ./restored --snapshot 3
  annals restore /mnt/safe/annals --tenant acme --as acme-before --data /var/lib/annals

With --at it is what was acknowledged until then; annals backup list says which instants there are.
Tenants that were erased do not come back. It is a store of its own, with keys of its own. Who is left
out and what is missing is named (exit code 3). With --tenant one tenant is put into a store that there
is, under a name that nobody has, and the keys are that store's own unless --keys says otherwise.")]
    Restore(RestoreArgs),
    /// Show what one file of a store holds
    #[command(after_help = "\
Examples:
  annals inspect annals-data/t/1/b/20150517-raw-0000002a.blk
  annals inspect annals-data/wal/0000000000000001.seg")]
    Inspect(InspectArgs),
}

const EXPORT_VERIFY_HELP: &str = "\
Example:
  annals export verify ./acme-export

Reads every file and compares it with the manifest (exit code 3 where one differs). `annals tenant
export` makes an export.";

const EXPORT_HELP: &str = "\
Examples:
  annals tenant export retailer ./retailer-export
  annals tenant export retailer ./retailer-all --format parquet,openmetrics,jsonl
  annals export verify ./retailer-export
  duckdb -c \"select metric, sum(value) from './retailer-export/metrics/*.parquet' group by metric\"

Needs the right `export` of the tenant's plan. Works beside a writer and on a cancelled tenant.
A folder per content, a file per day:
  metrics/              samples: timestamp, metric, a column per label, series_kind, value
  histograms/           native histograms with their buckets
  windows-5m/, -1h/     days whose samples have expired; histograms-5m/, -1h/ what is left of those
  signals/KIND/         raw signals; what was replaced by keyed hashes stays so
  manifest.json         name, size and SHA-256 of each file, and what could not be read

Formats:
  parquet      everything, for DuckDB, pandas, Spark ..
  openmetrics  samples alone, as text (.om); deltas are gauges there
  jsonl        everything, a JSON object per line; annals import reads its samples back";

const BACKUP_HELP: &str = "\
Examples:
  annals backup take /mnt/safe/annals --data /var/lib/annals
  annals backup list /mnt/safe/annals
  annals backup verify /mnt/safe/annals
  annals backup prune /mnt/safe/annals --keep 14 --data /var/lib/annals

A backup never holds a key: of sealed tenants it is of no use without a copy of the store's keys/,
which is to be kept elsewhere.";

const RECEIPT_HELP: &str = "\
Examples:
  annals receipt key > annals.pub
  annals receipt verify annals-data/receipts/7.receipt --key annals.pub

Print the key and hand it out before a receipt is needed: who checks one needs nothing else.";

const AUDIT_HELP: &str = "\
Examples:
  annals query 'up' --tenant acme --operator ann --reason 'ticket 4711'
  annals audit show --tenant acme
  annals audit verify --head 4f0c...

Each entry is durable before anything it tells of is read, and holds a hash of all before it. Keep the
last hash elsewhere, and --head shows whether anything before it was changed or the end cut off.";

const PLAN_SHOW_HELP: &str = "\
Examples:
  annals plan show enterprise
  annals plan show silver.toml

A plan of your own, FILE.toml:
  name = \"silver\"
  late_window = \"6h\"          # or \"open\", with the right backfill
  rights = [\"export\"]         # of export, open_metrics, backfill
  [keep]                       # whole days, or \"forever\"; finer is never kept longer
  signals = \"3d\"
  raw = \"30d\"
  5m = \"90d\"                 # 5m and 1h may be left out
  1h = \"400d\"
  cancelled = \"30d\"          # after `tenant cancel`, at most; may be left out
  [limits]                     # each may be left out
  series = 200000
  batch_records = 50000
  future = \"10m\"";

const IMPORT_HELP: &str = "\
Examples:
  annals import --tenant acme --site www --format apache access.log access.log.1.gz
  annals import --tenant acme --site bastion --format sshd --year 2017 auth.log
  annals import --tenant acme --site taxi --format csv --metric nyc_taxi nyc_taxi.csv
  annals import --tenant acme --site node --format influx --precision s metrics.lp
  curl -s host:9100/metrics | annals import --tenant acme --site node --format openmetrics --at now -

Formats:
  apache       access log, common or combined, with or without a virtual host in front
  nginx        the same, and with $request_time at the end
  sshd         auth.log of an SSH server; its lines carry no year, so give --year. Each line that says
               Failed or Accepted is one event; \"message repeated N times: [ .. ]\" is N events
  openmetrics  OpenMetrics or Prometheus text
  csv          timestamp,value (give --metric), timestamp,<name>,<name>.. or series,<ms>,<ms>..
  influx       Influx line protocol
  jsonl        samples as `annals tenant export --format jsonl` and VictoriaMetrics write them

Files that gzip made are unpacked. A file is read in chunks of 1,000 lines, each with an identity
made of the file's first line, its place and its own first line: importing the same file again,
or after it has grown, counts only what is new. Lines that carry no time need --at, which is part
of that identity: another --at is another reading.";

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Take what is damaged out of service, into quarantine; nothing is deleted
    #[arg(long)]
    pub(crate) repair: bool,
    /// Open nothing that is sealed: compare checksums only, as for a backup on a machine without keys
    #[arg(long, conflicts_with = "repair")]
    pub(crate) without_keys: bool,
    /// The form of the list [default: sentences]
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub(crate) output: Option<ListForm>,
}

/// Which store.
#[derive(Debug, clap::Args)]
pub(crate) struct StoreArgs {
    /// The store [default: $ANNALS_DATA, else ./annals-data]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

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

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditVerb {
    /// List what operators read
    #[command(after_help = AUDIT_HELP)]
    Show {
        #[command(flatten)]
        store: StoreArgs,
        /// Only what was read of this tenant
        #[arg(long, short, value_name = "TENANT")]
        tenant: Option<String>,
        /// The form of the list
        #[arg(long, short, value_enum, value_name = "FORM")]
        output: Option<ListForm>,
    },
    /// Check the chain of hashes (exit code 3 where it is broken)
    #[command(after_help = AUDIT_HELP)]
    Verify {
        #[command(flatten)]
        store: StoreArgs,
        /// The hash of an entry that must still be there, as an earlier `verify` printed it
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// The form of the list of tenants
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub(crate) output: Option<ListForm>,
    /// Everything as OpenMetrics text
    #[arg(long, conflicts_with = "output")]
    pub(crate) openmetrics: bool,
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

#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Where to make the store; a new or empty directory [default: ./annals-demo, else ./annals-demo-2 and so on]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Another seed is another two weeks
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
}

/// The formats that `import` reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Apache,
    Nginx,
    Sshd,
    Openmetrics,
    Csv,
    Influx,
    Jsonl,
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
    /// The files; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, clap::Args)]
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

/// What to do with PromQL.
#[derive(Debug, Subcommand)]
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

/// What is deleted.
#[derive(Debug, clap::Args)]
pub(crate) struct DeleteArgs {
    /// A PromQL selector
    pub(crate) selector: String,
    #[command(flatten)]
    pub(crate) tenant: TenantArgs,
    #[command(flatten)]
    pub(crate) time: RangeOfTime,
    /// Only metrics
    #[arg(long, conflicts_with = "signals")]
    pub(crate) metrics: bool,
    /// Only raw signals
    #[arg(long)]
    pub(crate) signals: bool,
    /// Do it
    #[arg(long)]
    pub(crate) yes: bool,
}

/// What to do with backups.
#[derive(Debug, Subcommand)]
pub(crate) enum BackupVerb {
    /// Take a snapshot, beside whoever writes to the store; only what no earlier snapshot has is copied
    #[command(after_help = "\
Examples:
  annals backup take /mnt/safe/annals --data /var/lib/annals
  annals backup take ./annals-backup

The directory is made where it is not there. On the store's own file system blocks get a second name
and take no space: that guards against mistakes, and not against the loss of the disk. What is damaged
in the store is named, and the rest is taken (exit code 3).")]
    Take {
        /// The backup
        #[arg(value_name = "BACKUP")]
        directory: PathBuf,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// List the snapshots of a backup
    #[command(after_help = "\
Examples:
  annals backup list /mnt/safe/annals
  annals backup list /mnt/safe/annals -o json

`any instant since` says from when on any instant, and not only that of the snapshot, can be restored.")]
    List {
        /// The backup
        #[arg(value_name = "BACKUP")]
        directory: PathBuf,
        /// The form of the list
        #[arg(long, short, value_enum, value_name = "FORM")]
        output: Option<ListForm>,
    },
    /// Read every file of a backup and name each that is not what it was (exit code 3); needs no keys
    #[command(after_help = "Example:\n  annals backup verify /mnt/safe/annals")]
    Verify {
        /// The backup
        #[arg(value_name = "BACKUP")]
        directory: PathBuf,
    },
    /// Remove old snapshots, and all files of tenants whose keys are destroyed
    #[command(after_help = "\
Examples:
  annals backup prune /mnt/safe/annals --keep 14 --data /var/lib/annals
  annals backup prune /mnt/safe/annals --keep 1 --keys /mnt/keys

The store, or a copy of its keys/, says which tenants were erased. A copy that is older than an
erasure does not know of it.")]
    Prune {
        /// The backup
        #[arg(value_name = "BACKUP")]
        directory: PathBuf,
        /// How many of the newest snapshots stay; at least one does
        #[arg(long, value_name = "N")]
        keep: usize,
        /// The key store [default: keys/ of the store]
        #[arg(long, value_name = "DIR")]
        keys: Option<PathBuf>,
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// What is restored, and to where.
#[derive(Debug, clap::Args)]
pub(crate) struct RestoreArgs {
    /// The backup
    #[arg(value_name = "BACKUP")]
    pub(crate) directory: PathBuf,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// The keys of the store that the backup is of: its keys/, or a copy
    #[arg(long, value_name = "DIR")]
    pub(crate) keys: Option<PathBuf>,
    /// The instant [default: the newest snapshot]
    #[arg(long, value_name = "TIME", value_parser = parse_when, allow_hyphen_values = true)]
    pub(crate) at: Option<When>,
    /// The snapshot [default: the newest]
    #[arg(long, value_name = "N", conflicts_with = "at")]
    pub(crate) snapshot: Option<u64>,
    /// Restore this tenant alone, into a store that there is
    #[arg(long, short, value_name = "TENANT")]
    pub(crate) tenant: Option<String>,
    /// What it is called from now on [default: as it was]
    #[arg(long = "as", value_name = "NAME", requires = "tenant")]
    pub(crate) name: Option<String>,
}

/// What to do with receipts.
#[derive(Debug, Subcommand)]
pub(crate) enum ReceiptVerb {
    /// Check a receipt by the public key of the store that wrote it
    #[command(after_help = RECEIPT_HELP)]
    Verify {
        /// The receipt
        file: PathBuf,
        /// The public key: a file that `annals receipt key` wrote, or its 64 hexadecimal digits
        #[arg(long, value_name = "KEY")]
        key: String,
    },
    /// Print the public key by which this store's receipts are checked
    #[command(after_help = RECEIPT_HELP)]
    Key(StoreArgs),
}

/// The formats that `tenant export` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    Parquet,
    Openmetrics,
    Jsonl,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// The tenant
    #[arg(value_name = "TENANT")]
    pub(crate) tenant: String,
    /// Where to: a new or empty directory
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
    /// In which formats
    #[arg(long = "format", short, value_enum, value_delimiter = ',', default_value = "parquet")]
    pub(crate) formats: Vec<ExportFormat>,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ExportVerb {
    /// Read every file of an export and compare it with the manifest (exit code 3 where one differs)
    #[command(after_help = EXPORT_VERIFY_HELP)]
    Verify {
        /// The export
        #[arg(value_name = "DIR")]
        directory: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TenantVerb {
    /// Create a tenant, and the store where there is none
    #[command(after_help = "Example:\n  annals tenant create acme --plan professional --data ./annals-data")]
    Create {
        /// Its name
        name: String,
        /// Its plan: one of `annals plan list`, or FILE.toml
        #[arg(long, value_name = "PLAN")]
        plan: String,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Cancel a tenant: it takes no more data, can be read and exported, and is erased when its time is over
    #[command(after_help = "\
Examples:
  annals tenant cancel acme
  annals tenant cancel acme --undo

It is erased when the last of its data would have expired, at the latest when the plan says (30 days,
unless a plan file has another `keep.cancelled`). annals retention explain shows the date.")]
    Cancel {
        /// Its name
        name: String,
        /// Take it back: the tenant takes data again
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Write all that a tenant has into a directory, readable without Annals
    #[command(after_help = EXPORT_HELP)]
    Export(ExportArgs),
    /// Erase a tenant: hide it and destroy its key at once, then remove its bytes and write a receipt
    #[command(after_help = "\
Examples:
  annals tenant erase acme
  annals tenant erase acme --yes

Without --yes nothing is done; it says what would go. This cannot be undone: with its key every copy
of the tenant's files becomes unreadable, in backups too. annals receipt verify checks the receipt.")]
    Erase {
        /// Its name
        name: String,
        /// Do it
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// List all tenants
    #[command(after_help = "Example:\n  annals tenant list -o csv")]
    List {
        #[command(flatten)]
        store: StoreArgs,
        /// The form of the list
        #[arg(long, short, value_enum, value_name = "FORM")]
        output: Option<ListForm>,
    },
    /// Show one tenant
    #[command(after_help = "Example:\n  annals tenant show acme")]
    Show {
        /// Its name [default: the only one]
        name: Option<String>,
        #[command(flatten)]
        store: StoreArgs,
        /// The form of the answer
        #[arg(long, short, value_enum, value_name = "FORM")]
        output: Option<ListForm>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum PlanVerb {
    /// List the built-in plans
    #[command(after_help = "Example:\n  annals plan list -o markdown")]
    List {
        /// The form of the list
        #[arg(long, short, value_enum, value_name = "FORM")]
        output: Option<ListForm>,
    },
    /// Give a tenant another plan; one that keeps less can be undone for 7 days
    #[command(after_help = "\
Examples:
  annals plan change acme professional --preview
  annals plan change acme professional
  annals plan change acme --undo

A plan that keeps as much or more of everything takes effect at once, and blocks that are not due yet
stay. One that keeps less of anything takes effect after 7 days; until then nothing goes by it.")]
    Change {
        /// The tenant
        tenant: String,
        /// The plan: one of `annals plan list`, or FILE.toml
        #[arg(required_unless_present = "undo", conflicts_with = "undo")]
        plan: Option<String>,
        /// List what becomes of each block, by the plan that holds and by the other; change nothing
        #[arg(long, conflicts_with = "undo")]
        preview: bool,
        /// Take back the change that has not taken effect
        #[arg(long)]
        undo: bool,
        #[command(flatten)]
        store: StoreArgs,
        /// The form of the list
        #[arg(long, short, value_enum, value_name = "FORM")]
        output: Option<ListForm>,
    },
    /// Show one plan in full; of a file, what is wrong with it
    #[command(after_help = PLAN_SHOW_HELP)]
    Show {
        /// Its name, or FILE.toml
        name: String,
        /// The form of the answer
        #[arg(long, short, value_enum, value_name = "FORM")]
        output: Option<ListForm>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RetentionVerb {
    /// Say that the clock is right although it has jumped ahead by more than a year
    #[command(after_help = "\
Example:
  annals retention confirm-clock

What a wrong clock removes does not come back. So after such a jump nothing is removed until this.")]
    ConfirmClock(StoreArgs),
    /// For each block the rule, when it goes, where it stands, and what is overdue
    #[command(after_help = "\
Examples:
  annals retention explain
  annals retention explain --tenant acme -o csv

States: live (queries see it), held (its rollup is owed, it stands in for it), due (it goes with the
next sweep).")]
    Explain {
        #[command(flatten)]
        store: StoreArgs,
        /// The tenant [default: all]
        #[arg(long, short, value_name = "TENANT")]
        tenant: Option<String>,
        /// The form of the list
        #[arg(long, short, value_enum, value_name = "FORM")]
        output: Option<ListForm>,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct InspectArgs {
    /// A block, log segment, manifest or catalogue
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The form of the tables
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub(crate) output: Option<ListForm>,
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
}
