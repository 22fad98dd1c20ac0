//! What operators do with a whole store: `verify`, `stats`, `compact`, `inspect`, `backup`, `restore`.

use std::path::PathBuf;

use clap::Subcommand;

use super::StoreArgs;
use crate::output::ListForm;
use crate::times::{When, parse_when};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, on the store of `annals demo`:
  annals verify
  annals verify -o json
  annals verify --repair

A repair deletes nothing: what cannot be used goes to quarantine/, each file with a record of what it
is. What can be read of a damaged block becomes a new block. It needs the store to itself.")]
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

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, on the store of `annals demo`:
  annals stats
  annals stats -o json
  annals stats --openmetrics

Works beside a writer. What that has done since it was opened (batches, refusals, background work,
queries) only its own process knows: Annals::metrics() in the library.")]
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

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  annals inspect annals-data/t/1/b/20150517-raw-0000002a.blk
  annals inspect annals-data/wal/0000000000000001.seg")]
pub(crate) struct InspectArgs {
    /// A block, log segment, manifest or catalogue
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The form of the tables
    #[arg(long, short, value_enum, value_name = "FORM")]
    pub(crate) output: Option<ListForm>,
}

/// What to do with backups.
#[derive(Debug, Subcommand)]
#[command(after_help = BACKUP_HELP)]
pub(crate) enum BackupVerb {
    /// Take a snapshot, beside whoever writes to the store; only what no earlier snapshot has is copied
    #[command(after_help = "\
Examples, on the store of `annals demo`:
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
Examples, on the store of `annals demo`:
  annals backup take ./annals-backup
  annals backup list ./annals-backup
  annals backup list ./annals-backup -o json

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
    #[command(
        after_help = "Examples, on the store of `annals demo`:\n  annals backup take ./annals-backup\n  annals backup verify ./annals-backup"
    )]
    Verify {
        /// The backup
        #[arg(value_name = "BACKUP")]
        directory: PathBuf,
    },
    /// Remove old snapshots, and all files of tenants whose keys are destroyed
    #[command(after_help = "\
Examples, on the store of `annals demo`:
  annals backup take ./annals-backup
  annals backup prune ./annals-backup --keep 14
  annals backup prune ./annals-backup --keep 1 --keys annals-demo/keys

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

const BACKUP_HELP: &str = "\
Examples, on the store of `annals demo`:
  annals backup take ./annals-backup
  annals backup list ./annals-backup
  annals backup verify ./annals-backup
  annals backup prune ./annals-backup --keep 14

A backup never holds a key: of sealed tenants it is of no use without a copy of the store's keys/,
which is to be kept elsewhere.";

/// What is restored, and to where.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples, on the store of `annals demo`:
  annals backup take ./annals-backup
  annals restore ./annals-backup --keys annals-demo/keys --data ./restored
  annals restore ./annals-backup --keys annals-demo/keys --data ./restored-1 --snapshot 1
  annals restore ./annals-backup --tenant bakery --as bakery-before

With --at 2026-11-22T08:30:00Z it is what was acknowledged until then; annals backup list says which
instants there are. Tenants that were erased do not come back. It is a store of its own, with keys of its
own. Who is left out and what is missing is named (exit code 3). With --tenant one tenant is put into a
store that there is, under a name that nobody has, and the keys are that store's own unless --keys says
otherwise.")]
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
