//! Errors of the public door. Each names what is concerned and what to do next; none carries content.

use std::io;
use std::path::{Path, PathBuf};

use annals_model::TenantId;
use annals_vfs::{LockError, is_no_space};

use crate::key_store::KeyStoreError;
use crate::keys::KeyError;
use crate::twin::TwinError;

/// Why a root cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no store at that path (read-only opens do not create one).
    #[error("there is no store at {}", root.display())]
    NoStore {
        /// The root.
        root: PathBuf,
    },
    /// A second writer.
    #[error("the store is already open for writing: {0}; open it read-only, or end that process first")]
    AlreadyOpen(LockError),
    /// The disk refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The catalogue cannot be used: without it no tenant can be told from garbage, so nothing is touched.
    #[error("cannot open the catalogue: {0}")]
    Catalogue(TwinError),
    /// A backup was being restored there, and that did not end.
    #[error("{}: a backup was being restored here and that did not end; restore it again", root.display())]
    Restoring {
        /// The root.
        root: PathBuf,
    },
    /// The log cannot be used.
    #[error("cannot recover the log: {0}")]
    Log(annals_wal::WalError),
    /// The log holds signals that the host's schema does not describe: opening would lose them with the next flush.
    #[error("{}; no data was changed", kinds.join("; "))]
    UnknownKinds {
        /// One sentence per kind.
        kinds: Vec<String>,
    },
    /// A flush during recovery failed: there is more in the log than memory may hold.
    #[error("cannot make room while reading the log: {0}")]
    Recovery(MaintenanceError),
}

impl OpenError {
    /// Whether the disk was full: free some space, or open the store read-only.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        match self {
            OpenError::Io { source, .. } => is_no_space(source),
            OpenError::Log(error) => error.is_no_space(),
            OpenError::Recovery(MaintenanceError::Io { source, .. }) => is_no_space(source),
            _ => false,
        }
    }

    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
        let path = path.to_owned();
        move |source| OpenError::Io { doing, path, source }
    }
}

/// Why a tenant cannot be created or reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TenantError {
    /// No such tenant.
    #[error("there is no tenant `{0}`")]
    Unknown(TenantId),
    /// There is one already.
    #[error("there is a tenant `{0}` already")]
    Exists(TenantId),
    /// Its manifest or keys cannot be used: its data is untouched, other tenants are served.
    #[error("tenant `{tenant}` is unavailable: {why}")]
    Unavailable {
        /// The tenant.
        tenant: TenantId,
        /// Which file is at fault, and how.
        why: String,
    },
    /// The disk refused.
    #[error("cannot store tenant `{tenant}` in {}: {source}", path.display())]
    Io {
        /// The tenant.
        tenant: TenantId,
        /// The directory that was to take it.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// New keys of a tenant could not be made: nothing was changed, and where it was to be created there is no such tenant.
    #[error("cannot make keys for tenant `{tenant}`: {source}")]
    Keys {
        /// The tenant.
        tenant: TenantId,
        /// What the key store or the disk says.
        source: KeyError,
    },
    /// The tenant is erased and hidden, and its key is still there: that is tried again.
    #[error(
        "tenant `{tenant}` is erased and hidden, but its key is not destroyed yet: {source}; that is tried again"
    )]
    KeyNotDestroyed {
        /// The tenant.
        tenant: TenantId,
        /// What the key store says.
        source: KeyStoreError,
    },
    /// The tenant's manifest could not be changed.
    #[error("{0}")]
    Change(MaintenanceError),
    /// The tenant's plan does not have a right.
    #[error("tenant `{tenant}` may not do that: its plan `{plan}` does not have the right `{right}`")]
    NoRight {
        /// The tenant.
        tenant: TenantId,
        /// The plan's name.
        plan: String,
        /// The right, as in a plan's file.
        right: &'static str,
    },
    /// There is no such signal kind: nothing was changed.
    #[error("there is no such signal kind for tenant `{tenant}`; there are {}", kinds.join(", "))]
    UnknownKind {
        /// The tenant.
        tenant: TenantId,
        /// Those that there are.
        kinds: Vec<String>,
    },
    /// No signal is derived to a metric of that name: nothing was changed.
    #[error("no signals are derived to a metric of that name for tenant `{tenant}`; there are {}", metrics.join(", "))]
    UnknownMetric {
        /// The tenant.
        tenant: TenantId,
        /// Those that there are.
        metrics: Vec<String>,
    },
    /// Its keys are not replaced: nothing was changed.
    #[error("the keys of tenant `{tenant}` stay as they are: {why}")]
    KeysStay {
        /// The tenant.
        tenant: TenantId,
        /// Why.
        why: &'static str,
    },
    /// The plan makes no sense as a whole: nothing was changed.
    #[error("{0}")]
    Plan(annals_model::PlanError),
    /// As many tenants as numbers.
    #[error("no tenant number is left")]
    Full,
}

/// Why a batch was not taken, or whether it was is not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// More records than the tenant's limit: nothing was written; split the batch.
    #[error("the batch has {records} records, at most {limit} are allowed; split it")]
    BatchTooLarge {
        /// Its records.
        records: usize,
        /// The limit.
        limit: usize,
    },
    /// The batch id was seen before with other content: nothing was written.
    #[error("batch {id} was written before with other content; nothing was counted")]
    Conflict {
        /// The batch.
        id: annals_model::BatchId,
    },
    /// Memory or log are full of data on its way to blocks: nothing was written; try again later.
    #[error("{what} is over its limit of {limit} bytes; nothing was written, try again later")]
    Overloaded {
        /// Which limit.
        what: &'static str,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The disk is full: nothing was written; reads go on, and writes resume when there is space.
    #[error("no space left to write the batch: {0}; nothing was written, reads go on")]
    NoSpace(String),
    /// The log could not go on: nothing was written; try again later.
    #[error("the batch was not written: {0}")]
    NotWritten(String),
    /// The batch as one log record is over the limit, most often because of new labels: nothing was written.
    #[error("the batch takes {bytes} bytes in the log, at most {limit} are allowed; split it")]
    RecordTooLarge {
        /// What it takes.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The disk failed in the middle: the batch may or may not be found after a reopen. Retry with the same id.
    #[error("the batch may or may not have been written: {0}; retry it with the same batch id")]
    Indeterminate(String),
    /// The store takes no more writes until it is opened again.
    #[error("the store takes no writes until it is opened again: {0}")]
    Failed(String),
    /// The tenant was cancelled: nothing was written.
    #[error(
        "the tenant was cancelled and takes no data; nothing was written. Until {due} that can be taken back: \
         annals tenant cancel --undo"
    )]
    Cancelled {
        /// When it is erased.
        due: annals_model::Timestamp,
    },
    /// The tenant was erased: nothing was written.
    #[error("the tenant was erased; nothing was written")]
    Erased,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Why background work could not be done. What it was to change is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MaintenanceError {
    /// The disk refused: a later try may succeed.
    #[error("cannot {doing} of tenant `{tenant}`: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The tenant.
        tenant: TenantId,
        /// What the system says.
        source: io::Error,
    },
    /// Whether the tenant's new manifest is durable is not known: it takes no changes until the store is opened again.
    #[error("whether a change of tenant `{tenant}` is durable is unknown: {source}; open the store again")]
    Indeterminate {
        /// The tenant.
        tenant: TenantId,
        /// What the system says.
        source: io::Error,
    },
    /// An earlier change is still unknown.
    #[error("tenant `{tenant}` takes no changes until the store is opened again")]
    Suspended {
        /// The tenant.
        tenant: TenantId,
    },
    /// The tenant was erased.
    #[error("tenant `{tenant}` was erased")]
    Erased {
        /// The tenant.
        tenant: TenantId,
    },
    /// The key of an erased tenant, or an old one whose date has come, is still there.
    #[error("a key of tenant `{tenant}` is not destroyed: {source}")]
    KeyNotDestroyed {
        /// The tenant.
        tenant: TenantId,
        /// What the key store says.
        source: KeyStoreError,
    },
    /// The tenant's next key file cannot be used, so it was not written.
    #[error("cannot change the keys of tenant `{tenant}`: {source}")]
    Keys {
        /// The tenant.
        tenant: TenantId,
        /// What the key store says.
        source: KeyError,
    },
    /// The receipt of an erasure cannot be signed. All of it is done, and only the proof is missing.
    #[error("cannot sign the receipt of erased tenant `{tenant}`: {source}")]
    NotSigned {
        /// The tenant.
        tenant: TenantId,
        /// What the key store says.
        source: KeyStoreError,
    },
    /// A block that was to be merged is damaged; it stays as it is.
    #[error("cannot merge blocks of tenant `{tenant}`: {what}")]
    Damaged {
        /// The tenant.
        tenant: TenantId,
        /// File, place, and what is wrong.
        what: String,
    },
    /// The log failed.
    #[error("the log: {0}")]
    Log(String),
    /// What is due in quarantine could not be removed, or not be given a date.
    #[error("cannot remove from the quarantine what is due: {0}")]
    Quarantine(io::Error),
    /// The head holds what a block refuses: a bug, reported instead of stored.
    #[error("cannot build a block of tenant `{tenant}`: {what}")]
    Build {
        /// The tenant.
        tenant: TenantId,
        /// What the block writer says.
        what: String,
    },
}
