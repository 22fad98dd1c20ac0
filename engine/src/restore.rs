//! Restoring a backup: a store in a new directory, with the tenants of a snapshot. One tenant alone: `restore/tenant.rs`.
//!
//! ```text
//!   1  manifests and keys are read, and opened           whose keys are destroyed or not there is left out, and named
//!   2  RESTORING is made in the directory                without a catalogue it is no store, and no open makes one of it
//!   3  each tenant gets a key-encryption key of its new store, its data keys are wrapped with that
//!   4  blocks get a second name, or are copied, and are read down to every chunk
//!   5  the log becomes blocks, within the memory that heads may take
//!   6  manifests                                         they need nothing of a log
//!   7  the catalogue                                     the commit point
//!   8  RESTORING goes
//! ```
//!
//! A crash before 7 leaves nothing that anybody sees: restoring again begins anew. What is restored is another store, with
//! an id and key-encryption keys of its own: what happens in one does not concern the other, and a backup of one is none
//! of the other. Data keys are the same, so that blocks stay as they are.
//!
//! **What does not come back.** A tenant that was erased: its key is destroyed, here and in every copy, as the list in the
//! key store says. What has expired: manifests bring their plans and floors, so it is hidden, and goes with the first sweep.
//! What was deleted by matchers comes back only from a snapshot of before the deletion: it is to be deleted again.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_model::{BlockContent, Lsn, TenantId, TenantNumber, Timestamp};
use annals_vfs::{Clock, DirEntryKind, Entropy, LockError, LockGuard, Vfs};

use crate::backup::{At, BackupError, Backups, Brought, Selected, Snapshot, SnapshotTenant, block_of, bring};
use crate::catalog::Catalogue;
use crate::check_block::{Checked, check_block};
use crate::error::{MaintenanceError, TenantError};
use crate::files::digest_file;
use crate::key_file::KeyFile;
use crate::key_store::{KeyName, KeyStore};
use crate::keys::{KeyError, KeyHolder, KnownFile, TenantKeys, key_files};
use crate::layout::{Layout, block_file_name, create_missing_dir};
use crate::manifest::Manifest;
use crate::options::Options;
use crate::record::LOG_SALT_BYTES;
use crate::recover::{Opening, RecoveryReport, catalogue_files, flush_all, replay_log};
use crate::replay::{Replay, ReplayTenant};
use crate::rotation::ROTATION_DUE_MS;
use crate::shelf::Shelf;
use crate::tenant::manifest_files;
use crate::trusted_clock::{believed, latest_known};
use crate::twin::Role;

mod tenant;

pub use tenant::RestoreTenant;
pub(crate) use tenant::restore_tenant;

/// What was restored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// The snapshot that it begins with.
    pub snapshot: u64,
    /// Who is there.
    pub tenants: Vec<TenantId>,
    /// Who is not, having been erased: no copy of their data can be read.
    pub erased: Vec<TenantId>,
    /// Who else is not, and why.
    pub left_out: Vec<(TenantId, String)>,
    /// Blocks that were brought, and what they take.
    pub blocks: u64,
    /// In bytes.
    pub bytes: u64,
    /// Blocks that were made of the log.
    pub from_log: u64,
    /// What is not whole, and so is damaged in the store: one sentence each.
    pub faults: Vec<String>,
}

/// Why a backup was not restored: there is no store in the directory.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The backup cannot be used, or the disk refused.
    #[error("{0}")]
    Backup(BackupError),
    /// There is something in the directory.
    #[error("{} is there already: restore into a new or an empty directory", path.display())]
    Occupied {
        /// What is there.
        path: PathBuf,
    },
    /// Another process uses the directory.
    #[error("the directory is in use: {0}")]
    InUse(LockError),
    /// No tenant can be read: most often the keys are those of another store, or are not there.
    #[error("no tenant of the snapshot can be restored; {tenant}: {why}")]
    Nobody {
        /// One of them.
        tenant: TenantId,
        /// Why it cannot.
        why: String,
    },
    /// The new store's keys could not be made.
    #[error("cannot make keys for tenant `{tenant}`: {source}")]
    Keys {
        /// The tenant.
        tenant: TenantId,
        /// What the key store or the disk says.
        source: KeyError,
    },
    /// Blocks could not be made of the log.
    #[error("{0}")]
    Log(MaintenanceError),
    /// There is no such tenant in the backup, or one of its new name in the store.
    #[error("{0}")]
    Tenant(TenantError),
    /// The backup has records with later numbers than the store, so that what is written from now on would count as older.
    #[error(
        "the backup goes to record {newest} and the log of this store to {here}: the backup is of another store, or of a \
         later time; restore all of it into a directory of its own"
    )]
    Ahead {
        /// The last record in the backup.
        newest: Lsn,
        /// The last one here.
        here: Lsn,
    },
    /// The new store's log could not be made.
    #[error("cannot begin the log: {0}")]
    Begin(String),
    /// The log holds signals that the host's schema does not describe.
    #[error("{}", kinds.join("; "))]
    UnknownKinds {
        /// One sentence per kind.
        kinds: Vec<String>,
    },
}

impl From<BackupError> for RestoreError {
    fn from(error: BackupError) -> RestoreError {
        RestoreError::Backup(error)
    }
}

/// Where a store is restored to.
#[derive(Clone, Copy)]
pub struct RestoreInto<'a> {
    /// The directory: new, or empty.
    pub root: &'a Path,
    /// As the store will be opened: its key store gets the keys of its tenants, its schema reads their log.
    pub options: &'a Options,
}

/// Restores a store from the backup at `directory`. `keys` is the key store of the store that the backup is of, or a copy of
/// it; `None` where its tenants were never sealed.
pub fn restore(
    vfs: &Arc<dyn Vfs>,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
    directory: &Path,
    at: At,
    keys: Option<&dyn KeyStore>,
    into: RestoreInto<'_>,
) -> Result<Restored, RestoreError> {
    let backups = Backups::read(&**vfs, directory)?;
    let selected = backups.select(at)?;
    let mut restored = Restored {
        snapshot: selected.number,
        faults: selected.snapshot.faults.clone(),
        ..Restored::default()
    };
    let mut loaded = Vec::new();
    for tenant in &selected.snapshot.tenants {
        match load(&**vfs, entropy, &selected, tenant, keys, Timestamp(clock.now_ms())) {
            Ok(found) => loaded.push(found),
            Err(LeftOut::Erased) => restored.erased.push(tenant.id.clone()),
            Err(LeftOut::Unreadable(why)) => restored.left_out.push((tenant.id.clone(), why)),
        }
    }
    if loaded.is_empty() {
        let erased = || "it was erased: its key is destroyed, and no copy of its data can be read".to_owned();
        let erased = restored.erased.first().map(|id| (id.clone(), erased()));
        if let Some((tenant, why)) = restored.left_out.first().cloned().or(erased) {
            return Err(RestoreError::Nobody { tenant, why });
        }
    }
    let layout = Layout::new(into.root);
    let _lock = begin(&**vfs, clock, &layout)?;
    let io = |doing, path: &Path| BackupError::io(doing, path);
    let mut root = [0; 16];
    entropy.fill(&mut root).map_err(io("draw the id of", &layout.root))?;
    let key_store = into.options.encryption.key_store(vfs, &layout);
    let now = Timestamp(clock.now_ms());
    let mut restoring = Restoring { vfs, entropy, layout: &layout, selected: &selected, root, now, restored };
    for loaded in &loaded {
        restoring.tenant(loaded, keys, key_store.as_deref())?;
    }
    let known = latest_known(loaded.iter().map(|loaded| &loaded.manifest));
    let now = believed(now, known);
    let numbers: Vec<(TenantNumber, TenantId)> =
        loaded.iter().map(|loaded| (loaded.number, loaded.manifest.id.clone())).collect();
    restoring.log(loaded, into.options, now)?;
    restoring.restored.tenants = numbers.iter().map(|(_, id)| id.clone()).collect();
    let catalogue = Catalogue { next: selected.snapshot.next, tenants: numbers, erased: Vec::new() };
    let files = catalogue_files(&layout);
    files
        .store(&**vfs, &layout.temporary, root, 1, &catalogue.encode())
        .map_err(BackupError::published("write", &files.path(1)))?;
    vfs.unlink(&layout.restoring).map_err(io("remove", &layout.restoring))?;
    vfs.sync_dir(&layout.root).map_err(io("sync", &layout.root))?;
    Ok(restoring.restored)
}

/// A tenant as a snapshot has it.
struct Loaded {
    number: TenantNumber,
    manifest: Manifest,
    file: KeyFile,
    keys: Arc<TenantKeys>,
}

/// Why a tenant is not restored.
enum LeftOut {
    Erased,
    Unreadable(String),
}

impl<T: std::fmt::Display> From<T> for LeftOut {
    fn from(why: T) -> LeftOut {
        LeftOut::Unreadable(why.to_string())
    }
}

/// Reads a tenant.
fn load(
    vfs: &dyn Vfs,
    entropy: &dyn Entropy,
    selected: &Selected<'_>,
    tenant: &SnapshotTenant,
    keys: Option<&dyn KeyStore>,
    now: Timestamp,
) -> Result<Loaded, LeftOut> {
    let Selected { backups, snapshot, .. } = *selected;
    let SnapshotTenant { number, ref id, .. } = *tenant;
    if backups.erased.contains(&number) {
        return Err(LeftOut::Erased);
    }
    let read = |role, generation| backups.read_twin(vfs, snapshot, role, number, generation);
    let manifest = read(Role::Manifest, tenant.manifest)?;
    let manifest = Manifest::decode(&manifest).filter(|manifest| manifest.id == *id);
    let manifest = manifest.ok_or("its manifest does not decode")?;
    let holder = KeyHolder { name: KeyName { store: snapshot.store, tenant: number }, store: keys };
    let (file, keys) = keys_of(vfs, entropy, selected, tenant, holder, now)?;
    Ok(Loaded { number, manifest, file, keys: Arc::new(keys) })
}

/// A tenant's keys, as the snapshots of the backup have them together. Records that were written after this one may need
/// those of a later one, and so does who wants to open what is wrapped here under a key that was destroyed since; blocks
/// of here may need what a later one has no more.
fn keys_of(
    vfs: &dyn Vfs,
    entropy: &dyn Entropy,
    selected: &Selected<'_>,
    tenant: &SnapshotTenant,
    holder: KeyHolder<'_>,
    now: Timestamp,
) -> Result<(KeyFile, TenantKeys), LeftOut> {
    let path = &selected.backups.place.files;
    let of_tenant = |snapshot: &Snapshot| {
        let found = snapshot.tenants.iter().find(|found| found.number == tenant.number);
        found.map(|found| found.keys)
    };
    let all = selected.backups.snapshots.values();
    let generations: BTreeMap<u64, &Snapshot> =
        all.filter_map(|snapshot| Some((of_tenant(snapshot)?, snapshot))).collect();
    let (mut united, mut own): (Option<KeyFile>, _) = (None, None);
    for (&generation, snapshot) in generations.iter().rev() {
        let read = selected.backups.read_twin(vfs, snapshot, Role::Keys, tenant.number, generation);
        let decoded = read.map_err(LeftOut::from).and_then(|content| {
            KeyFile::decode(&content).ok_or_else(|| LeftOut::from("its keys do not decode"))
        });
        let taken = decoded.and_then(|file| match &mut united {
            Some(united) => {
                let until = now.saturating_add(ROTATION_DUE_MS);
                united.with_keys_of(&file, path, holder, entropy, until).map_err(LeftOut::from)
            }
            None => {
                let known = KnownFile { generation, file: file.clone(), has_older: false };
                TenantKeys::open(known, path.clone(), holder).map_err(|error| {
                    match error.is_destroyed() {
                        true => LeftOut::Erased,
                        false => error.into(),
                    }
                })?;
                united = Some(file);
                Ok(())
            }
        });
        if generation == tenant.keys {
            own = taken.err();
        }
    }
    match (united, own) {
        (Some(file), _) => {
            let known = KnownFile { generation: tenant.keys, file: file.clone(), has_older: false };
            Ok((file, TenantKeys::open(known, path.clone(), holder)?))
        }
        (None, Some(why)) => Err(why),
        (None, None) => Err("its keys are not in the backup".into()),
    }
}

/// Makes the directory one that is being restored to, and locks it.
fn begin(vfs: &dyn Vfs, clock: &dyn Clock, layout: &Layout) -> Result<LockGuard, RestoreError> {
    let failed = |doing, path: &Path| BackupError::io(doing, path);
    let unfinished = match vfs.list(&layout.root) {
        Err(error) if error.kind() == ErrorKind::NotFound => false,
        Err(error) => return Err(failed("list", &layout.root)(error).into()),
        Ok(entries) => {
            let is_store = entries.iter().any(|entry| entry.name.starts_with("catalog-"));
            let marked = entries.iter().any(|entry| layout.restoring.ends_with(&entry.name));
            let other = entries.iter().find(|entry| entry.name != "LOCK");
            match other {
                Some(entry) if is_store || !marked => {
                    return Err(RestoreError::Occupied { path: layout.root.join(&entry.name) });
                }
                _ => marked,
            }
        }
    };
    create_missing_dir(vfs, &layout.root).map_err(failed("create", &layout.root))?;
    let holder = format!("process {}, restoring since {}", std::process::id(), Timestamp(clock.now_ms()));
    let lock = vfs.lock(&layout.lock, &holder).map_err(|error| match error {
        held @ LockError::Held { .. } => RestoreError::InUse(held),
        LockError::Io { path, source } => BackupError::Io { doing: "lock", path, source }.into(),
    })?;
    if unfinished {
        clear(vfs, &layout.root, &["LOCK", "RESTORING"]).map_err(failed("empty", &layout.root))?;
    } else {
        let marked = vfs.create(&layout.restoring).and_then(|file| file.sync());
        marked.map_err(failed("create", &layout.restoring))?;
    }
    vfs.sync_dir(&layout.root).map_err(failed("sync", &layout.root))?;
    layout.create(vfs).map_err(failed("create", &layout.root))?;
    Ok(lock)
}

/// Removes what an interrupted restoration left in a directory.
fn clear(vfs: &dyn Vfs, directory: &Path, but: &[&str]) -> std::io::Result<()> {
    for entry in vfs.list(directory)?.into_iter().filter(|entry| !but.contains(&&*entry.name)) {
        let path = directory.join(&entry.name);
        if entry.kind == DirEntryKind::Directory {
            clear(vfs, &path, &[])?;
            vfs.remove_dir(&path)?;
        } else {
            vfs.unlink(&path)?;
        }
    }
    vfs.sync_dir(directory)
}

/// A store that is being restored.
struct Restoring<'a> {
    vfs: &'a Arc<dyn Vfs>,
    entropy: &'a dyn Entropy,
    layout: &'a Layout,
    selected: &'a Selected<'a>,
    /// The id of the new store.
    root: [u8; 16],
    now: Timestamp,
    restored: Restored,
}

impl Restoring<'_> {
    /// Gives a tenant its directories, its keys and its blocks.
    fn tenant(
        &mut self,
        loaded: &Loaded,
        from: Option<&dyn KeyStore>,
        to: Option<&dyn KeyStore>,
    ) -> Result<(), RestoreError> {
        let (vfs, layout, number) = (&**self.vfs, self.layout, loaded.number);
        let id = &loaded.manifest.id;
        let directory = layout.tenant(number);
        layout.create_tenant(vfs, number).map_err(BackupError::io("create", &directory))?;
        let name = |store| KeyName { store, tenant: number };
        let from = KeyHolder { name: name(self.selected.snapshot.store), store: from };
        let files = key_files(layout, number);
        let to = KeyHolder { name: name(self.root), store: to };
        let file = loaded.file.clone();
        let wrapped = file.rewrapped(&files.path(1), from, to, self.entropy, self.now);
        let wrapped = wrapped.map_err(|source| RestoreError::Keys { tenant: id.clone(), source })?;
        files
            .store(vfs, &layout.temporary, self.root, 1, &wrapped.encode())
            .map_err(BackupError::published("write", &files.path(1)))?;
        for meta in &loaded.manifest.blocks {
            let name = block_of(number, meta.id);
            let source = self.selected.backups.place.files.join(&name);
            let to = layout.block(number, meta.id);
            let Some(entry) = self.selected.snapshot.files.get(&name) else {
                // Told with the snapshot's own faults: the block was not there either.
                continue;
            };
            let draft = layout.temporary.join(format!("{number}-{}", block_file_name(meta.id)));
            if let Brought::Unread(error) = bring(vfs, &source, &draft, &to)? {
                self.restored.faults.push(format!("{}: {error}; the block is missing", source.display()));
                continue;
            }
            let checked = match check_block(vfs, &to, number, meta, Some(&loaded.keys)) {
                Checked::Unusable(unusable) => Err(unusable.what),
                // Its damage was told when the snapshot was taken, where it is the file that was taken.
                Checked::Whole | Checked::Parts(..) => match digest_file(vfs, &to) {
                    Ok(digest) if digest == entry.digest => Ok(()),
                    Ok(_) => Err("its bytes are not what they were".to_owned()),
                    Err(error) => Err(format!("it cannot be read: {error}")),
                },
            };
            if let Err(what) = checked {
                vfs.unlink(&to).map_err(BackupError::io("remove", &to))?;
                self.restored.faults.push(format!("{}: {what}; the block is missing", source.display()));
                continue;
            }
            self.restored.blocks += 1;
            self.restored.bytes += meta.bytes;
        }
        for content in [BlockContent::RawMetrics, BlockContent::RawSignals] {
            let blocks = layout.blocks(number, content);
            vfs.sync_dir(&blocks).map_err(BackupError::io("sync", &blocks))?;
        }
        Ok(())
    }

    /// Makes blocks of the log, and writes the manifests.
    fn log(&mut self, loaded: Vec<Loaded>, options: &Options, now: Timestamp) -> Result<(), RestoreError> {
        let layout = self.layout;
        let mut tenants = BTreeMap::new();
        for Loaded { number, manifest, keys, .. } in loaded {
            let path = manifest_files(layout, number).path(1);
            let remembered = manifest.remembered.open(&keys).ok_or_else(|| BackupError::Damaged {
                path,
                what: "what it remembers is not what was sealed with the tenant's keys".to_owned(),
            })?;
            tenants.insert(number, ReplayTenant::new(manifest, &remembered, 0, keys));
        }
        let blocks = |tenants: &BTreeMap<TenantNumber, ReplayTenant>| -> usize {
            tenants.values().map(|tenant| tenant.manifest.blocks.len()).sum()
        };
        let had = blocks(&tenants);
        let shelf = Shelf::new(self.vfs.clone(), layout.clone(), options);
        let opening = Opening {
            vfs: self.vfs,
            shelf: &shelf,
            entropy: self.entropy,
            layout,
            root: self.root,
            // Nothing is written into a log here.
            log_salt: [0; LOG_SALT_BYTES],
            options,
            now,
        };
        let Replayed { mut tenants, through, lost } = replay_records(&opening, self.selected, tenants)?;
        self.restored.faults.extend(lost);
        self.restored.from_log = (blocks(&tenants) - had) as u64;
        for (&number, tenant) in &mut tenants {
            finish(&opening, number, tenant, through)?;
        }
        // A log that begins after all of that: where records were and no log is, one is missing.
        let mut none = Replay::new(&options.schema);
        none.floor = through;
        let begun = replay_log(&opening, none, &mut RecoveryReport::default());
        let (log, _) = begun.map_err(|error| RestoreError::Begin(error.to_string()))?;
        log.close().map_err(|error| RestoreError::Begin(error.to_string()))?;
        Ok(())
    }
}

/// What became of a selected log.
struct Replayed {
    tenants: BTreeMap<TenantNumber, ReplayTenant>,
    /// Records up to this one are in their blocks.
    through: Lsn,
    /// What could not be read of it, one sentence each.
    lost: Vec<String>,
}

/// Makes blocks of what the selected log has of tenants, by their numbers in it.
fn replay_records(
    opening: &Opening<'_>,
    selected: &Selected<'_>,
    tenants: BTreeMap<TenantNumber, ReplayTenant>,
) -> Result<Replayed, RestoreError> {
    let (vfs, options) = (&**opening.vfs, opening.options);
    let mut replay = Replay::new(&options.schema);
    replay.tenants = tenants;
    // The series' definitions stay in memory, as in a recovery.
    let (mut failed, mut budget) = (None, options.head_bytes_max);
    let through = selected.records(vfs, &mut |lsn, kind, payload| {
        replay.record(lsn, kind, payload);
        // Records know of manifests that came after the snapshot's: it is older than they are on purpose.
        replay.tenants.values_mut().for_each(|tenant| tenant.rolled_back = None);
        if replay.head_bytes > budget && failed.is_none() {
            failed = flush_all(opening, &mut replay, lsn).err();
            budget = options.head_bytes_max.max(replay.head_bytes + options.head_bytes_max / 4);
        }
    })?;
    if !replay.report.unknown_kinds.is_empty() {
        return Err(RestoreError::UnknownKinds { kinds: replay.report.unknown_kinds.into_iter().collect() });
    }
    let through = replay.tenants.values().map(|tenant| tenant.manifest.data_floor).fold(through, Lsn::max);
    let flushed = failed.map_or_else(|| flush_all(opening, &mut replay, through), Err);
    flushed.map_err(RestoreError::Log)?;
    Ok(Replayed { through, lost: replay.report.findings().collect(), tenants: replay.tenants })
}

/// Writes a tenant's manifest, which needs no record up to one, and knows of none after it.
fn finish(
    opening: &Opening<'_>,
    number: TenantNumber,
    tenant: &mut ReplayTenant,
    floor: Lsn,
) -> Result<(), RestoreError> {
    let (vfs, layout, files) = (&**opening.vfs, opening.layout, manifest_files(opening.layout, number));
    let (generation, path) = (tenant.generation + 1, files.path(tenant.generation + 1));
    let remembered = tenant.remembered(opening.now, floor).seal(&tenant.keys, opening.entropy);
    let manifest = Manifest {
        data_floor: floor,
        replay_from: floor,
        epoch: tenant.epoch,
        remembered: remembered.map_err(BackupError::io("seal", &path))?,
        ..tenant.manifest.clone()
    };
    files
        .store(vfs, &layout.temporary, opening.root, generation, &manifest.encode())
        .map_err(BackupError::published("write", &path))?;
    let _ = files.remove_older(vfs, generation);
    (tenant.manifest, tenant.generation) = (manifest, generation);
    Ok(())
}
