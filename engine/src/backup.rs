//! Backups: snapshots of a store in a directory of their own, which share all files that they have in common.
//!
//! ```text
//! <backup>/LOCK                      one process changes it
//! <backup>/snapshot-<n>              what a snapshot consists of, see snapshot.rs: written last, so it is whole or not there
//! <backup>/files/<t>-manifest-<gen>  a tenant's manifest, as it was
//! <backup>/files/<t>-keys-<gen>      its data keys, wrapped: of no use without the key store, which is never in a backup
//! <backup>/files/<t>-<block>.blk     a block
//! <backup>/files/log-<..>            a piece of the log, see piece.rs
//! <backup>/erased-<gen>              tenants whose files were removed, because their keys are destroyed
//! <backup>/tmp/                      drafts, emptied when a change begins
//! ```
//!
//! A snapshot is what a process that opens the store for reading sees: manifests, their blocks, and the log after them,
//! up to what the log says is durable. It is taken beside a live writer or without one, and locks nothing of the store.
//!
//! - A file is in a backup once, whatever number of snapshots name it: published files never change. So the second
//!   snapshot of a store takes what is new. On the store's own file system a block is not copied either: it gets a second
//!   name. Such a backup is for mistakes; against the loss of the disk it has to lie on another.
//! - Each file is digested where it lies then, and blocks are checked down to every chunk, before the snapshot is written.
//!   What was damaged in the store is named by it, and by whoever lists, verifies or restores it.
//! - Snapshots hold the log since the one before, where the store still had it: what was acknowledged in between can be
//!   had up to any instant ([`take`] says what that means).
//! - All snapshots of a backup are of one store. What no snapshot names is garbage of an interrupted run, and goes when the
//!   next one begins. Nothing is removed while there is a snapshot that cannot be read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use annals_model::{BlockId, TenantNumber, Timestamp};
use annals_vfs::{Clock, LockError, LockGuard, PublishError, Vfs};

use crate::key_store::KeyStoreError;
use crate::layout::{block_file_name, create_missing_dir};
use crate::twin::{Role, TwinError, TwinFiles};

mod bring;
mod check;
mod piece;
mod prune;
mod select;
mod snapshot;
mod take;

pub(crate) use bring::{Brought, bring};
pub use check::{BackupCheck, BackupFinding, SnapshotSummary, snapshots, verify_backup};
pub(crate) use prune::decode_numbers;
pub use prune::{Pruned, prune_backup};
pub use select::At;
pub(crate) use select::Selected;
pub(crate) use snapshot::{Snapshot, SnapshotTenant};
pub(crate) use take::take;
pub use take::{Backup, backup};

/// Why a backup cannot be used or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The disk refused; a later try may succeed. What is in the backup is as it was.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process changes the backup.
    #[error("the backup is being changed: {0}; wait for that process")]
    InUse(LockError),
    /// There is no snapshot.
    #[error("{}: there is no snapshot in it; annals backup take makes one", directory.display())]
    Empty {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory holds something else.
    #[error("{} is no part of a backup: name an empty or a new directory, or a backup", path.display())]
    NotABackup {
        /// What does not belong there.
        path: PathBuf,
    },
    /// There is no store.
    #[error("there is no store at {}", root.display())]
    NoStore {
        /// The root.
        root: PathBuf,
    },
    /// The store's catalogue cannot be read: what its tenants are is not known.
    #[error("cannot read the store's catalogue: {0}")]
    Catalogue(TwinError),
    /// The store's log cannot be read.
    #[error("cannot read the store's log: {0}")]
    Log(annals_wal::WalError),
    /// The backup is of another store.
    #[error("{}: it is a backup of another store; name another directory", directory.display())]
    OtherStore {
        /// The directory.
        directory: PathBuf,
    },
    /// The store was put back to an older state, so that names in the backup mean other files.
    #[error(
        "{}: the store is older than this backup of it ({what}), as if it had been put back; name another directory",
        directory.display()
    )]
    PutBack {
        /// The directory.
        directory: PathBuf,
        /// What shows it.
        what: String,
    },
    /// The store was changed faster than it could be read.
    #[error("{}: it was changed faster than it could be read; try again", root.display())]
    Moving {
        /// The root.
        root: PathBuf,
    },
    /// There is no snapshot of that number.
    #[error("there is no snapshot {number} in {}; annals backup list shows those that there are", directory.display())]
    NoSnapshot {
        /// The directory.
        directory: PathBuf,
        /// The number.
        number: u64,
    },
    /// The instant cannot be had.
    #[error("{}: what the store had at {at} cannot be restored: {why}", directory.display())]
    NoInstant {
        /// The directory.
        directory: PathBuf,
        /// The instant.
        at: Timestamp,
        /// Why not, and what can be.
        why: String,
    },
    /// A file of the backup is not what its snapshot says.
    #[error("{}: {what}; use another snapshot, or another copy of the backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The key store does not say which keys are destroyed: nothing was removed.
    #[error("{0}; nothing was removed")]
    Keys(KeyStoreError),
    /// Nothing is removed while it is not known what a snapshot needs.
    #[error("{}: {why}; nothing is removed while that is so: put it right from another copy, or remove that file", path.display())]
    Unreadable {
        /// The snapshot.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl BackupError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError + use<> {
        let path = path.to_owned();
        move |source| BackupError::Io { doing, path, source }
    }

    pub(crate) fn published(
        doing: &'static str,
        path: &Path,
    ) -> impl FnOnce(PublishError) -> BackupError + use<> {
        let failed = BackupError::io(doing, path);
        move |error| failed(error.into_source())
    }
}

/// The paths of one backup.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) directory: PathBuf,
    pub(crate) files: PathBuf,
    temporary: PathBuf,
    lock: PathBuf,
}

impl Place {
    fn new(directory: &Path) -> Place {
        Place {
            directory: directory.to_owned(),
            files: directory.join("files"),
            temporary: directory.join("tmp"),
            lock: directory.join("LOCK"),
        }
    }

    fn snapshots(&self) -> TwinFiles {
        TwinFiles { directory: self.directory.clone(), role: Role::Snapshot, owner: 0 }
    }

    fn erased(&self) -> TwinFiles {
        TwinFiles { directory: self.directory.clone(), role: Role::Erased, owner: 0 }
    }

    /// Whether a name in the directory is one of a backup's.
    fn is_ours(name: &str) -> bool {
        ["LOCK", "files", "tmp"].contains(&name)
            || name.starts_with("snapshot-")
            || name.starts_with("erased-")
    }
}

/// The name of a tenant's file in a backup.
pub(crate) fn file_of(tenant: TenantNumber, name: &str) -> String {
    format!("{tenant}-{name}")
}

/// The name of a block in a backup.
pub(crate) fn block_of(tenant: TenantNumber, id: BlockId) -> String {
    file_of(tenant, &block_file_name(id))
}

/// What lies in a backup.
#[derive(Debug)]
pub(crate) struct Backups {
    pub(crate) place: Place,
    /// By number.
    pub(crate) snapshots: BTreeMap<u64, Snapshot>,
    /// Those that cannot be read, and why.
    pub(crate) damaged: BTreeMap<u64, String>,
    /// Tenants whose files are gone from all snapshots.
    pub(crate) erased: BTreeSet<TenantNumber>,
    erased_generation: u64,
}

impl Backups {
    /// Reads what each snapshot consists of. An error where there is none.
    pub(crate) fn read(vfs: &dyn Vfs, directory: &Path) -> Result<Backups, BackupError> {
        let found = Backups::find(vfs, directory)?;
        if found.snapshots.is_empty() && found.damaged.is_empty() {
            return Err(BackupError::Empty { directory: directory.to_owned() });
        }
        Ok(found)
    }

    fn find(vfs: &dyn Vfs, directory: &Path) -> Result<Backups, BackupError> {
        let place = Place::new(directory);
        for entry in vfs.list(directory).map_err(BackupError::io("list", directory))? {
            if !Place::is_ours(&entry.name) {
                return Err(BackupError::NotABackup { path: directory.join(entry.name) });
            }
        }
        let failed = |error: TwinError| match error {
            TwinError::Io { path, source } => BackupError::Io { doing: "read", path, source },
            other => BackupError::Damaged { path: directory.to_owned(), what: other.to_string() },
        };
        let (mut snapshots, mut damaged) = (BTreeMap::new(), BTreeMap::new());
        let files = place.snapshots();
        for number in files.generations(vfs).map_err(failed)? {
            let read = match files.load_generation(vfs, number) {
                // One that was pruned meanwhile.
                Err(error) if error.is_missing() => continue,
                Err(TwinError::Io { path, source }) => {
                    return Err(BackupError::Io { doing: "read", path, source });
                }
                Err(TwinError::VersionTooNew { found, .. }) => {
                    Err(format!("its format, version {found}, is newer than this build reads"))
                }
                Err(_) => Err("both copies of what it says are damaged".to_owned()),
                Ok(twin) => Snapshot::decode(&twin.content, twin.root).ok_or("it does not decode".to_owned()),
            };
            match read {
                Ok(snapshot) => drop(snapshots.insert(number, snapshot)),
                Err(why) => drop(damaged.insert(number, why)),
            }
        }
        let erased = place.erased().load(vfs).map_err(failed)?;
        let erased_generation = erased.as_ref().map_or(0, |twin| twin.generation);
        let erased = match erased {
            None => BTreeSet::new(),
            Some(twin) => decode_numbers(&twin.content).ok_or_else(|| BackupError::Damaged {
                path: twin.path.clone(),
                what: "it does not decode".to_owned(),
            })?,
        };
        Ok(Backups { place, snapshots, damaged, erased, erased_generation })
    }

    /// The files that a snapshot needs, by name: those of erased tenants are not there.
    pub(crate) fn needed<'a>(
        &'a self,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = (&'a str, &'a snapshot::Entry)> {
        let gone: Vec<String> = self.erased.iter().map(|number| file_of(*number, "")).collect();
        let files = snapshot.files.iter().map(|(name, entry)| (&**name, entry));
        files.filter(move |(name, _)| !gone.iter().any(|front| name.starts_with(front)))
    }

    /// An error where there is a snapshot of which it is not known what it needs.
    fn must_be_readable(&self) -> Result<(), BackupError> {
        match self.damaged.first_key_value() {
            None => Ok(()),
            Some((&number, why)) => {
                let path = self.place.snapshots().path(number);
                Err(BackupError::Unreadable { path, why: why.clone() })
            }
        }
    }

    /// Removes files that no snapshot names. What cannot be removed now goes another time; how many went.
    fn collect(&self, vfs: &dyn Vfs) -> Result<u64, BackupError> {
        self.must_be_readable()?;
        let needed: BTreeSet<&str> = self
            .snapshots
            .values()
            .flat_map(|snapshot| self.needed(snapshot))
            .map(|(name, _)| name)
            .collect();
        let files = &self.place.files;
        let mut removed = 0;
        for entry in vfs.list(files).map_err(BackupError::io("list", files))? {
            if !needed.contains(&*entry.name) {
                let path = files.join(&entry.name);
                vfs.unlink(&path).map_err(BackupError::io("remove", &path))?;
                removed += 1;
            }
        }
        if removed > 0 {
            vfs.sync_dir(files).map_err(BackupError::io("sync", files))?;
        }
        Ok(removed)
    }
}

/// A backup that this process alone changes.
struct Writable {
    backups: Backups,
    _lock: LockGuard,
}

impl Writable {
    /// Opens a backup to change it, and makes durable what it finds.
    fn open(vfs: &dyn Vfs, clock: &dyn Clock, directory: &Path) -> Result<Writable, BackupError> {
        let place = Place::new(directory);
        let holder = format!("process {} since {}", std::process::id(), Timestamp(clock.now_ms()));
        let lock = vfs.lock(&place.lock, &holder).map_err(|error| match error {
            held @ LockError::Held { .. } => BackupError::InUse(held),
            LockError::Io { path, source } => BackupError::Io { doing: "lock", path, source },
        })?;
        // Names that an earlier process left may be on no disk yet.
        for directory in [&place.directory, &place.files] {
            vfs.sync_dir(directory).map_err(BackupError::io("sync", directory))?;
        }
        for entry in vfs.list(&place.temporary).map_err(BackupError::io("list", &place.temporary))? {
            let path = place.temporary.join(entry.name);
            vfs.unlink(&path).map_err(BackupError::io("remove", &path))?;
        }
        Ok(Writable { backups: Backups::find(vfs, directory)?, _lock: lock })
    }

    /// The same, with a new backup where the directory is empty or not there.
    fn create(vfs: &dyn Vfs, clock: &dyn Clock, directory: &Path) -> Result<Writable, BackupError> {
        match vfs.list(directory) {
            Ok(entries) => {
                if let Some(entry) = entries.into_iter().find(|entry| !Place::is_ours(&entry.name)) {
                    return Err(BackupError::NotABackup { path: directory.join(entry.name) });
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(BackupError::io("list", directory)(error)),
        }
        let place = Place::new(directory);
        for path in [&place.directory, &place.files, &place.temporary] {
            create_missing_dir(vfs, path).map_err(BackupError::io("create", path))?;
        }
        Writable::open(vfs, clock, directory)
    }
}
