//! Restoring one tenant of a backup into a store that is open for writing.
//!
//! ```text
//!   1  manifest and keys are read, and opened
//!   2  a number, its directories, and keys: the identity as it was, so that pseudonyms and batch ids go on to mean the same;
//!      new ones for metrics and signals
//!   3  blocks are written anew, under the new number and keys
//!   4  the log becomes blocks                           as where all of a backup is restored
//!   5  a manifest, which needs nothing of the store's log
//!   6  the catalogue                                    the commit point
//! ```
//!
//! An error before 6 removes what was made; a crash leaves a directory that no catalogue names, whose number nobody gets.
//! Nothing is shared with the tenant of the backup: who erases one of them leaves nothing by which the other's data, or an
//! older copy of it, could be read.

use std::path::Path;
use std::sync::Arc;

use annals_block::{BlockIdentity, EncodedBlock};
use annals_compaction::{merge_metrics, merge_signals};
use annals_model::{BlockMeta, KeyId, Lsn, TenantId, TenantNumber, Timestamp};
use annals_vfs::{PublishError, Sealed};

use super::{LeftOut, Loaded, Replayed, RestoreError, Restored, load, replay_records};
use crate::backup::{At, BackupError, Backups, Selected, block_of};
use crate::catalog::Catalogue;
use crate::check_block::AnyBlock;
use crate::delete::rewrite_windows;
use crate::erase::remove_directories;
use crate::error::TenantError;
use crate::file_keys::discard_keys;
use crate::files::digest_file;
use crate::flush::publish_blocks;
use crate::key_file::KeyClass;
use crate::key_store::{KeyName, KeyStore};
use crate::keys::{self, BlockSeal, KeyHolder, KnownFile, TenantKeys, key_files};
use crate::manifest::Manifest;
use crate::options::Encryption;
use crate::recover::{Opening, catalogue_files};
use crate::replay::ReplayTenant;
use crate::shared::{Shared, TenantSlot};
use crate::tenant::TenantShared;

/// Which tenant of which backup is restored, and how it is called then.
#[derive(Clone, Copy)]
pub struct RestoreTenant<'a> {
    /// The backup.
    pub directory: &'a Path,
    /// Which state of it.
    pub at: At,
    /// The key store of the store that the backup is of; `None`: the one of the store that it is restored into.
    pub keys: Option<&'a dyn KeyStore>,
    /// The tenant.
    pub tenant: &'a TenantId,
    /// What it is called from now on: nobody has that name.
    pub name: &'a TenantId,
}

/// Restores it. Durable, and served, when this returns.
pub(crate) fn restore_tenant(shared: &Shared, wanted: &RestoreTenant<'_>) -> Result<Restored, RestoreError> {
    let vfs = &*shared.vfs;
    let backups = Backups::read(vfs, wanted.directory)?;
    let selected = backups.select(wanted.at)?;
    let found = selected.snapshot.tenants.iter().find(|tenant| tenant.id == *wanted.tenant);
    let found = found.ok_or_else(|| RestoreError::Tenant(TenantError::Unknown(wanted.tenant.clone())))?;
    if shared.tenants.read().contains_key(wanted.name) {
        return Err(RestoreError::Tenant(TenantError::Exists(wanted.name.clone())));
    }
    let from = wanted.keys.or(shared.key_store.as_deref());
    let loaded = load(vfs, &*shared.entropy, &selected, found, from, shared.now()).map_err(|left_out| {
        let why = match left_out {
            LeftOut::Unreadable(why) => why,
            LeftOut::Erased => {
                "it was erased: its key is destroyed, and no copy of its data can be read".to_owned()
            }
        };
        RestoreError::Nobody { tenant: wanted.tenant.clone(), why }
    })?;
    let number = reserve(shared, wanted.name)?;
    let mut coming = Coming {
        shared,
        selected: &selected,
        from: KeyHolder {
            name: KeyName { store: selected.snapshot.store, tenant: loaded.number },
            store: from,
        },
        number,
        restored: Restored {
            snapshot: selected.number,
            tenants: vec![wanted.name.clone()],
            faults: Vec::new(),
            ..Restored::default()
        },
    };
    let made = coming.make(loaded, wanted.name);
    let committed = made.and_then(|tenant| commit(shared, number, wanted.name, tenant));
    match committed {
        Ok(()) => Ok(coming.restored),
        Err((error, is_known)) => {
            if is_known {
                discard(shared, number);
            }
            Err(error)
        }
    }
}

/// An error, and whether it is known that no catalogue names the tenant.
type Failed = (RestoreError, bool);

fn nothing(error: impl Into<RestoreError>) -> Failed {
    (error.into(), true)
}

/// A number that nobody has, and nobody gets any more.
fn reserve(shared: &Shared, name: &TenantId) -> Result<TenantNumber, RestoreError> {
    let (vfs, layout) = (&*shared.vfs, &shared.layout);
    let mut state = shared.catalogue.lock();
    if state.suspended {
        return Err(RestoreError::Tenant(TenantError::Unavailable {
            tenant: name.clone(),
            why: "whether an earlier change of the catalogue is durable is unknown; open the store again"
                .to_owned(),
        }));
    }
    let number = state.free_number(vfs, layout);
    let number = number.map_err(BackupError::io("list", &layout.tenants))?;
    let number = number.ok_or(RestoreError::Tenant(TenantError::Full))?;
    state.catalogue.next = number.0.checked_add(1).ok_or(RestoreError::Tenant(TenantError::Full))?;
    Ok(number)
}

/// Removes what was made of a tenant that no catalogue names, as far as that goes.
fn discard(shared: &Shared, number: TenantNumber) {
    let (vfs, layout) = (&*shared.vfs, &shared.layout);
    let _ = remove_directories(vfs, layout, number);
    // A host's key store keeps a key of a number that nobody has.
    if matches!(shared.options.encryption, Encryption::Files) {
        discard_keys(vfs, layout, number);
    }
}

/// A tenant on its way into a store.
struct Coming<'a> {
    shared: &'a Shared,
    selected: &'a Selected<'a>,
    from: KeyHolder<'a>,
    /// Its number here.
    number: TenantNumber,
    restored: Restored,
}

impl Coming<'_> {
    /// Makes all of it but what the catalogue says.
    fn make(&mut self, loaded: Loaded, name: &TenantId) -> Result<ReplayTenant, Failed> {
        let Coming { shared, number, .. } = *self;
        let (vfs, layout, now) = (&*shared.vfs, &shared.layout, shared.now());
        let directory = layout.tenant(number);
        layout.create_tenant(vfs, number).map_err(BackupError::io("create", &directory)).map_err(nothing)?;
        let files = key_files(layout, number);
        let to = KeyHolder {
            name: KeyName { store: shared.root, tenant: number },
            store: shared.key_store.as_deref(),
        };
        let refused = |source| nothing(RestoreError::Keys { tenant: name.clone(), source });
        let (path, entropy) = (files.path(1), &*shared.entropy);
        let all = loaded.file.rewrapped(&path, self.from, to, entropy, now).map_err(refused)?;
        let data = [KeyClass::Metrics, KeyClass::Signals];
        let all = all.rotated(&path, to, &data, entropy, (now, now)).map_err(refused)?;
        let old: Vec<KeyId> = all.old().map(|key| key.id).collect();
        let known = KnownFile { generation: 1, file: all.clone(), has_older: false };
        let keys = Arc::new(TenantKeys::open(known, path, to).map_err(refused)?);
        files
            .store(vfs, &layout.temporary, shared.root, 1, &all.without(&old, now).encode())
            .map_err(BackupError::published("write", &files.path(1)))
            .map_err(nothing)?;
        let remembered = loaded.manifest.remembered.open(&loaded.keys).ok_or_else(|| {
            let what = "what it remembers is not what was sealed with the tenant's keys".to_owned();
            nothing(BackupError::Damaged { path: self.selected.backups.place.files.clone(), what })
        })?;
        let mut blocks = Vec::new();
        for meta in &loaded.manifest.blocks {
            match self.block(loaded.number, meta, &loaded.keys, &keys) {
                Ok(Some(encoded)) => {
                    blocks.push(encoded.meta);
                    self.restored.blocks += 1;
                    self.restored.bytes += encoded.meta.bytes;
                    publish_blocks(vfs, layout, number, &[encoded])
                        .map_err(BackupError::published("write blocks into", &directory))
                        .map_err(nothing)?;
                }
                Ok(None) => {}
                Err(what) => {
                    let file = block_of(loaded.number, meta.id);
                    self.restored.faults.push(format!("{file}: {what}; the block is missing"));
                }
            }
        }
        let had = blocks.len();
        let manifest = Manifest { id: name.clone(), blocks, leaving: None, ..loaded.manifest };
        let mut tenant = ReplayTenant::new(manifest, &remembered, 0, keys);
        tenant.number = Some(number);
        let opening = opening(shared, now);
        let tenants = [(loaded.number, tenant)].into();
        let Replayed { mut tenants, through, lost } =
            replay_records(&opening, self.selected, tenants).map_err(nothing)?;
        self.restored.faults.extend(lost);
        let mut tenant = tenants
            .remove(&loaded.number)
            .ok_or_else(|| nothing(RestoreError::Tenant(TenantError::Unknown(name.clone()))))?;
        // Blocks are in the order of their records, and what is written from now on comes after all of them.
        let floor = shared.commits.committed().min(Lsn(shared.commits.wal.durable().0));
        let newest = tenant.manifest.blocks.iter().map(|block| block.lsns.through).fold(through, Lsn::max);
        if newest > floor {
            return Err(nothing(RestoreError::Ahead { newest, here: floor }));
        }
        self.restored.from_log = (tenant.manifest.blocks.len() - had) as u64;
        super::finish(&opening, number, &mut tenant, floor).map_err(nothing)?;
        Ok(tenant)
    }

    /// A block of the backup, written anew; `None` where there is nothing of it to be kept, or it was not in the store either.
    fn block(
        &self,
        tenant: TenantNumber,
        meta: &BlockMeta,
        old: &TenantKeys,
        new: &TenantKeys,
    ) -> Result<Option<EncodedBlock>, String> {
        let file = block_of(tenant, meta.id);
        let Some(entry) = self.selected.snapshot.files.get(&file) else { return Ok(None) };
        let path = self.selected.backups.place.files.join(&file);
        let vfs = &*self.shared.vfs;
        if digest_file(vfs, &path).map_err(|error| error.to_string())? != entry.digest {
            return Err("its bytes are not what they were".to_owned());
        }
        let text = |error: annals_block::BlockError| error.to_string();
        let bytes = vfs.open(&path).and_then(Sealed::positioned).map_err(|error| error.to_string())?;
        let identity = BlockIdentity { tenant, id: meta.id };
        let block =
            AnyBlock::open(bytes, identity, &file).and_then(|block| block.unlock(old)).map_err(text)?;
        let seal =
            new.seal_block(meta.id.content, &*self.shared.entropy).map_err(|error| error.to_string())?;
        let (seal, output) =
            (seal.as_ref().map(BlockSeal::with), BlockIdentity { tenant: self.number, id: meta.id });
        match block {
            AnyBlock::Metrics(block) => merge_metrics(&[block], output, Timestamp::MIN, meta.age, seal)
                .map_err(|error| error.to_string()),
            AnyBlock::Signals(block) => {
                merge_signals(&[block], output, Timestamp::MIN, seal).map_err(|error| error.to_string())
            }
            AnyBlock::Rollups(block) => rewrite_windows(&block, output, seal, &mut |_, _| true),
        }
    }
}

/// Makes it one of the store's tenants.
fn commit(
    shared: &Shared,
    number: TenantNumber,
    name: &TenantId,
    tenant: ReplayTenant,
) -> Result<(), Failed> {
    let (vfs, layout) = (&*shared.vfs, &shared.layout);
    let holder = KeyHolder {
        name: KeyName { store: shared.root, tenant: number },
        store: shared.key_store.as_deref(),
    };
    let refused = |source| nothing(RestoreError::Keys { tenant: name.clone(), source });
    let keys = Arc::new(keys::load(vfs, layout, holder).map_err(refused)?);
    let remembered = tenant.manifest.remembered.open(&keys).ok_or_else(|| {
        let what = "what it remembers cannot be read back".to_owned();
        nothing(BackupError::Damaged { path: layout.tenant(number), what })
    })?;
    let mut state = shared.catalogue.lock();
    let mut tenants = state.catalogue.tenants.clone();
    if tenants.iter().any(|(_, id)| id == name) {
        return Err(nothing(RestoreError::Tenant(TenantError::Exists(name.clone()))));
    }
    // Others may have been created meanwhile.
    let at = tenants.partition_point(|(other, _)| *other < number);
    tenants.insert(at, (number, name.clone()));
    let catalogue = Catalogue { tenants, ..state.catalogue.clone() };
    let (files, generation) = (catalogue_files(layout), state.generation + 1);
    match files.store(vfs, &layout.temporary, shared.root, generation, &catalogue.encode()) {
        Ok(()) => {}
        Err(PublishError::Nothing(source)) => {
            return Err(nothing(BackupError::io("write", &files.path(generation))(source)));
        }
        Err(PublishError::Indeterminate(source)) => {
            state.suspended = true;
            return Err((BackupError::io("write", &files.path(generation))(source).into(), false));
        }
    }
    state.replace(catalogue, generation);
    let _ = files.remove_older(vfs, generation);
    let replayed = ReplayTenant::new(tenant.manifest, &remembered, tenant.generation, keys);
    let open = TenantShared::open(&opening(shared, shared.now()), number, name.clone(), replayed);
    shared.tenants.write().insert(name.clone(), TenantSlot::Open(Arc::new(open)));
    Ok(())
}

fn opening(shared: &Shared, now: Timestamp) -> Opening<'_> {
    Opening {
        shelf: &shared.shelf,
        vfs: &shared.vfs,
        entropy: &*shared.entropy,
        layout: &shared.layout,
        root: shared.root,
        log_salt: shared.log_salt,
        options: &shared.options,
        now,
    }
}
