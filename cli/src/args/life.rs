//! What becomes of a tenant's data: `tenant`, `plan`, `retention`, `delete`, `export`, `receipt`, `audit`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

use super::{OperatorArgs, RangeOfTime, StoreArgs, TenantArgs};
use crate::output::ListForm;

#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples, on the store of `annals demo`:\n  annals tenant create acme --plan professional\n  annals tenant list\n  annals tenant show acme\n  annals tenant export retailer ./retailer-export\n  annals tenant cancel acme\n  annals tenant erase acme --yes"
)]
pub(crate) enum TenantVerb {
    /// Create a tenant, and the store where there is none
    #[command(
        after_help = "Examples, on the store of `annals demo` and without a store:\n  annals tenant create acme --plan professional\n  annals tenant create acme --plan archive --data ./annals-data"
    )]
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
Examples, on the store of `annals demo`:
  annals tenant cancel bakery
  annals tenant cancel bakery --undo

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
    /// Derive metrics of raw signals that were written before those metrics were known
    #[command(after_help = "\
Examples, on the store of `annals demo`:
  annals tenant derive bakery
  annals tenant derive bakery --metric http_requests --last 2d

What is there already is not added again: it is safe to repeat. Whole UTC days are derived, each durable
by itself; without a range, all that have raw signals. Days whose raw metrics have expired stay as they
are. Metrics that were deleted and whose signals were not come back.")]
    Derive {
        /// Its name
        name: String,
        /// A metric, without the suffix of its parts [default: all that signals are derived to]
        #[arg(long, value_name = "METRIC")]
        metric: Vec<String>,
        #[command(flatten)]
        time: RangeOfTime,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Switch signal kinds off and on for a tenant; without either, list them
    #[command(after_help = "\
Examples, on the store of `annals demo`:
  annals tenant signals bakery
  annals tenant signals bakery --off wp.cron --off file.edited
  annals tenant signals bakery --on wp.cron

Signals of a kind that is off are refused (kind_off); what was written before stays.")]
    Signals {
        /// Its name
        name: String,
        /// Refuse signals of this kind from now on
        #[arg(long, value_name = "KIND")]
        off: Vec<String>,
        /// Take signals of this kind again
        #[arg(long, value_name = "KIND")]
        on: Vec<String>,
        #[command(flatten)]
        store: StoreArgs,
        /// The form of the list
        #[arg(long, short, value_enum, value_name = "FORM")]
        output: Option<ListForm>,
    },
    /// Erase a tenant: hide it and destroy its key at once, then remove its bytes and write a receipt
    #[command(after_help = "\
Examples, on the store of `annals demo`:
  annals tenant erase bakery
  annals tenant erase bakery --yes

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
    #[command(
        after_help = "Examples, on the store of `annals demo`:\n  annals tenant list\n  annals tenant list -o csv"
    )]
    List {
        #[command(flatten)]
        store: StoreArgs,
        /// The form of the list
        #[arg(long, short, value_enum, value_name = "FORM")]
        output: Option<ListForm>,
    },
    /// Show one tenant
    #[command(after_help = "Examples, on the store of `annals demo`:\n  annals tenant show retailer")]
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

const EXPORT_HELP: &str = "\
Examples, on the store of `annals demo`:
  annals tenant export retailer ./retailer-export
  annals tenant export retailer ./retailer-all --format parquet,openmetrics,jsonl
  annals tenant export retailer ./retailer-1 --operator ann --reason 'ticket 4711'
  annals export verify ./retailer-export

Then, with DuckDB:
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
    pub(crate) operator: OperatorArgs,
    #[command(flatten)]
    pub(crate) store: StoreArgs,
}

const EXPORT_VERIFY_HELP: &str = "\
Example:
  annals export verify ./acme-export

Reads every file and compares it with the manifest (exit code 3 where one differs). `annals tenant
export` makes an export.";

#[derive(Debug, Subcommand)]
#[command(after_help = EXPORT_VERIFY_HELP)]
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
#[command(
    after_help = "Examples, on the store of `annals demo`:\n  annals plan list\n  annals plan show enterprise\n  annals plan change bakery professional --preview"
)]
pub(crate) enum PlanVerb {
    /// List the built-in plans
    #[command(after_help = "Examples, on the store of `annals demo`:\n  annals plan list -o markdown")]
    List {
        /// The form of the list
        #[arg(long, short, value_enum, value_name = "FORM")]
        output: Option<ListForm>,
    },
    /// Give a tenant another plan; one that keeps less can be undone for 7 days
    #[command(after_help = "\
Examples, on the store of `annals demo`:
  annals plan change retailer professional --preview
  annals plan change retailer professional
  annals plan change retailer --undo

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

const PLAN_SHOW_HELP: &str = "\
Examples, on the store of `annals demo`:
  annals plan show enterprise

A plan of your own, as `annals plan show silver.toml` reads it:
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

#[derive(Debug, Subcommand)]
#[command(
    after_help = "Examples, on the store of `annals demo`:\n  annals retention explain\n  annals retention explain --tenant bakery -o csv"
)]
pub(crate) enum RetentionVerb {
    /// Say that the clock is right although it has jumped ahead by more than a year
    #[command(after_help = "\
Examples, on the store of `annals demo`:
  annals retention confirm-clock

What a wrong clock removes does not come back. So after such a jump nothing is removed until this.")]
    ConfirmClock(StoreArgs),
    /// For each block the rule, when it goes, where it stands, and what is overdue
    #[command(after_help = "\
Examples, on the store of `annals demo`:
  annals retention explain
  annals retention explain --tenant bakery -o csv

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

/// What is deleted.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, on the store of `annals demo`:
  annals delete '{site=\"jobs.example\"}' --tenant retailer
  annals delete '{site=\"jobs.example\"}' --tenant retailer --yes
  annals delete 'host_cpu_percent' --tenant retailer --start now-3d/d --end now-2d/d --metrics --yes

Without --yes nothing is done; it says what is found. A selector looks at the labels of series, and at
kind, site and fields of raw signals; without a range it is all time. The range begins after its first
instant and holds its last. What is deleted is hidden at once, its bytes go within a day. Where raw
metrics have expired, whole windows of their rollups go. What is written later is new, and stays.")]
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

/// What to do with receipts.
#[derive(Debug, Subcommand)]
#[command(after_help = RECEIPT_HELP)]
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

const RECEIPT_HELP: &str = "\
Examples:
  annals receipt key > annals.pub
  annals receipt verify annals-data/receipts/7.receipt --key annals.pub

Print the key and hand it out before a receipt is needed: who checks one needs nothing else.";

/// What to do with keys.
#[derive(Debug, Subcommand)]
#[command(after_help = KEYS_HELP)]
pub(crate) enum KeysVerb {
    /// List each tenant's keys: class, state, when made, and how many bytes are sealed with each
    #[command(after_help = KEYS_HELP)]
    List {
        #[command(flatten)]
        store: StoreArgs,
        /// Only this tenant's
        #[arg(long, short, value_name = "TENANT")]
        tenant: Option<String>,
        /// The form of the list
        #[arg(long, short, value_enum, value_name = "FORM")]
        output: Option<ListForm>,
    },
    /// Give a tenant new keys; what the old ones sealed is written anew, then they are destroyed
    #[command(after_help = KEYS_HELP)]
    Rotate {
        /// The tenant
        #[arg(value_name = "TENANT")]
        tenant: String,
        /// Which keys
        #[arg(long, value_enum, value_delimiter = ',', default_value = "metrics,signals,wrapping")]
        class: Vec<KeyClassName>,
        /// By when those of before are out of use; backups of before can be restored until then
        #[arg(long, value_name = "DAYS", default_value_t = 30)]
        days: u32,
        #[command(flatten)]
        store: StoreArgs,
    },
}

/// Keys that can be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KeyClassName {
    /// What metrics are sealed with
    Metrics,
    /// What raw signals are sealed with
    Signals,
    /// What these two are wrapped with, in the key store
    Wrapping,
}

impl KeyClassName {
    pub(crate) fn class(self) -> annals::KeyClass {
        match self {
            KeyClassName::Metrics => annals::KeyClass::Metrics,
            KeyClassName::Signals => annals::KeyClass::Signals,
            KeyClassName::Wrapping => annals::KeyClass::Wrapping,
        }
    }
}

const KEYS_HELP: &str = "\
Examples, on the store of `annals demo`:
  annals keys list
  annals keys rotate bakery
  annals keys rotate bakery --class wrapping --days 90
  annals keys rotate bakery --days 0
  annals compact

New files and log records get the new keys at once. Background work writes anew, oldest first, what the
old ones sealed, and destroys them then; annals compact does all of that now. An old wrapping key is
destroyed on its date: then a backup of before opens only if it has a later snapshot too.";

/// What to do with the audit log.
#[derive(Debug, Subcommand)]
#[command(after_help = AUDIT_HELP)]
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

const AUDIT_HELP: &str = "\
Examples, on the store of `annals demo`:
  annals query 'sum(increase(mails[1d]))' --tenant bakery --at now/d --operator ann --reason 'ticket 4711'
  annals audit show --tenant bakery
  annals audit verify

Each entry is durable before anything it tells of is read, and holds a hash of all before it. Keep the
last hash elsewhere, and --head shows whether anything before it was changed or the end cut off.";
