//! Where everything lies under a root.
//!
//! ```text
//! <root>/LOCK                       one writer
//! <root>/RESERVE                    zeros: space for deletions on a full disk
//! <root>/RESTORING                  only while a backup is restored here: what is there is no store yet
//! <root>/catalog-<gen>              tenants: id -> number
//! <root>/wal/                       one log for all tenants
//! <root>/t/<n>/manifest-<gen>       the one truth about a tenant
//! <root>/t/<n>/b/<block>.blk        metric blocks
//! <root>/t/<n>/s/<block>.blk        raw-signal blocks
//! <root>/t/<n>/keys-<gen>           its data keys, wrapped
//! <root>/keys/<n>-<key>.key         the default key store: keys of tenants; never in a backup
//! <root>/keys/destroyed-<gen>       what it has destroyed
//! <root>/keys/receipts.sign          by which receipts are signed
//! <root>/receipts/<n>.receipt       what was erased, signed
//! <root>/audit/<number>.log         what operators read, chained by hashes
//! <root>/quarantine/  <root>/tmp/   set aside; temporary files, emptied at open
//! ```

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use annals_model::{BlockContent, BlockId, TenantNumber};
use annals_vfs::planted::{Bug, planted};
use annals_vfs::{DirEntryKind, Vfs};

use crate::file_keys::key_file_owner;

/// The paths of one root.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) root: PathBuf,
    pub(crate) lock: PathBuf,
    pub(crate) reserve: PathBuf,
    pub(crate) restoring: PathBuf,
    pub(crate) wal: PathBuf,
    pub(crate) tenants: PathBuf,
    pub(crate) keys: PathBuf,
    pub(crate) receipts: PathBuf,
    pub(crate) audit: PathBuf,
    pub(crate) quarantine: PathBuf,
    pub(crate) temporary: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Layout {
        Layout {
            root: root.to_owned(),
            lock: root.join("LOCK"),
            reserve: root.join("RESERVE"),
            restoring: root.join("RESTORING"),
            wal: root.join("wal"),
            tenants: root.join("t"),
            keys: root.join("keys"),
            receipts: root.join("receipts"),
            audit: root.join("audit"),
            quarantine: root.join("quarantine"),
            temporary: root.join("tmp"),
        }
    }

    /// Whether there is a directory that could hold a store.
    pub(crate) fn exists(&self, vfs: &dyn Vfs) -> bool {
        !matches!(vfs.list(&self.root), Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory))
    }

    pub(crate) fn tenant(&self, tenant: TenantNumber) -> PathBuf {
        self.tenants.join(tenant.to_string())
    }

    /// The directory of a tenant's blocks of one content.
    pub(crate) fn blocks(&self, tenant: TenantNumber, content: BlockContent) -> PathBuf {
        self.tenant(tenant).join(match content {
            BlockContent::RawMetrics | BlockContent::Rollup5m | BlockContent::Rollup1h => "b",
            BlockContent::RawSignals => "s",
        })
    }

    pub(crate) fn block(&self, tenant: TenantNumber, id: BlockId) -> PathBuf {
        self.blocks(tenant, id.content).join(block_file_name(id))
    }

    /// Creates the directories that are missing and makes their names durable. Safe to repeat after a crash.
    pub(crate) fn create(&self, vfs: &dyn Vfs) -> io::Result<()> {
        create_missing_dir(vfs, &self.root)?;
        let mut created = false;
        let all = [&self.wal, &self.tenants, &self.keys, &self.receipts, &self.quarantine, &self.temporary];
        for directory in all {
            created |= create_missing_dir(vfs, directory)?;
        }
        if created { vfs.sync_dir(&self.root) } else { Ok(()) }
    }

    /// Creates a tenant's directories and makes their names durable. Safe to repeat after a crash.
    pub(crate) fn create_tenant(&self, vfs: &dyn Vfs, tenant: TenantNumber) -> io::Result<()> {
        let directory = self.tenant(tenant);
        create_missing_dir(vfs, &directory)?;
        for content in [BlockContent::RawMetrics, BlockContent::RawSignals] {
            create_missing_dir(vfs, &self.blocks(tenant, content))?;
        }
        if planted(Bug::TenantNameNotSynced) {
            return Ok(());
        }
        vfs.sync_dir(&directory)?;
        vfs.sync_dir(&self.tenants)
    }

    /// The numbers from `next` on under which a tenant's creation that was cut short left something.
    pub(crate) fn leftovers(&self, vfs: &dyn Vfs, next: u32) -> io::Result<BTreeSet<TenantNumber>> {
        let names =
            |directory| vfs.list(directory).map(|entries| entries.into_iter().map(|entry| entry.name));
        let directories = names(&self.tenants)?.filter_map(|name| name.parse().ok().map(TenantNumber));
        let keys = names(&self.keys)?.filter_map(|name| key_file_owner(&name)).map(|(owner, _)| owner);
        Ok(directories.chain(keys).filter(|number| number.0 >= next).collect())
    }

    /// Removes what an interrupted write left in the temporary directory.
    pub(crate) fn empty_temporary(&self, vfs: &dyn Vfs) -> io::Result<()> {
        for entry in vfs.list(&self.temporary)? {
            if entry.kind == DirEntryKind::File {
                vfs.unlink(&self.temporary.join(entry.name))?;
            }
        }
        Ok(())
    }
}

/// The file name of a block.
pub(crate) fn block_file_name(id: BlockId) -> String {
    format!("{id}.blk")
}

/// Creates a directory and its missing parents; says whether it was missing itself.
pub(crate) fn create_missing_dir(vfs: &dyn Vfs, path: &Path) -> io::Result<bool> {
    match vfs.create_dir(path) {
        Ok(()) => {
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            if let Some(parent) = parent.filter(|_| !planted(Bug::TenantNameNotSynced)) {
                vfs.sync_dir(parent)?;
            }
            Ok(true)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let parent = path.parent().ok_or(error)?;
            create_missing_dir(vfs, parent)?;
            create_missing_dir(vfs, path)
        }
        Err(error) => Err(error),
    }
}
