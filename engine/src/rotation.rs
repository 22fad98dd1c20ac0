//! Rotation: a tenant gets new keys, and those of before go.
//!
//! ```text
//!   1  a new wrapping key is durable in the key store     where it is replaced; the one before opens everything still
//!   2  the next key file                                  the commit point: it has new keys, and those of before as old
//!   3  new files and new records are sealed with the new ones
//!
//!   then, as background work, until nothing is sealed with the old data keys:
//!   4  what the manifest remembers is sealed anew
//!   5  blocks are written anew, oldest first              a manifest each, as a merge of one
//!   6  the log lets go of the records of before
//!   7  the next key file, without the old data keys
//!
//!   and when the date of an old wrapping key has come:
//!   8  it is destroyed in the key store, which remembers that
//!   9  the next key file, without it
//! ```
//!
//! A crash or an error anywhere leaves the newest key file that is durable, and that opens everything: 2 only adds, 7 comes
//! after all that it would close, 8 after a key file that does not need it. What 1 left is taken by the next rotation.
//!
//! Until half of the usual time before their date, old keys wait: their blocks are written anew when there is nothing else to
//! do, the log is left to go on by itself, and blocks that expire before the date are left to that. From then on they go
//! before merging. Where a block is damaged its key stays, past the date too, and the store says so.
//!
//! **Wrapping keys and backups.** A snapshot has data keys as they were wrapped when it was taken. An old wrapping key stays
//! until its date, so that snapshots of before can be restored until then; afterwards those whose data keys a later snapshot
//! of the same backup has too, wrapped under a later key (`restore.rs`).

use std::sync::Arc;

use annals_model::{BlockContent, BlockId, DAY_MS, KeyId, Lsn, Timestamp};
use annals_vfs::PublishError;
use annals_vfs::sync::atomic::{AtomicU64, Ordering};

use crate::erase::leave_log;
use crate::error::{MaintenanceError, TenantError};
use crate::key_file::{KeyClass, KeyFile, KeyState};
use crate::key_store::KeyName;
use crate::keys::{KeyHolder, KnownFile, TenantKeys, key_files};
use crate::maintenance::{Done, Expired, merge};
use crate::manifest::Manifest;
use crate::open_block::OpenBlock;
use crate::record::RecordSealer;
use crate::shared::Shared;
use crate::tenant::{ManifestChange, TenantShared};

/// How long old keys are usually kept at most.
pub const ROTATION_DUE_MS: i64 = 30 * DAY_MS;
/// How long before their date old keys become urgent.
const URGENT_MS: i64 = ROTATION_DUE_MS / 2;

/// A key, and what is sealed with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// Its id: no two of a tenant have the same.
    pub id: KeyId,
    /// What it protects.
    pub class: KeyClass,
    /// What it may still be used for.
    pub state: KeyState,
    /// When it was made.
    pub created: Timestamp,
    /// By when an old one is to be out of use; since when a destroyed one is. `None` of an active one.
    pub until: Option<Timestamp>,
    /// Blocks that are sealed with it.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Whether a rotation waits for other work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Only what has become urgent.
    First,
    /// There is nothing else to do.
    Last,
    /// All of it, now.
    Settle,
}

/// Where the log stands that is to let go of records of before a rotation. Zero where that is not known yet.
#[derive(Default)]
pub(crate) struct LeavesLog {
    /// The last record that may be sealed with an old key.
    through: AtomicU64,
    /// The last record of the segments that are to go.
    left: AtomicU64,
}

impl LeavesLog {
    /// Records up to this one are to be in blocks.
    pub(crate) fn left(&self) -> Lsn {
        Lsn(self.left.load(Ordering::Relaxed))
    }

    fn reset(&self) {
        self.through.store(0, Ordering::Relaxed);
        self.left.store(0, Ordering::Relaxed);
    }

    /// Whether the log has let go of them; makes it go on in another segment where that is `urgent`.
    fn has_left(&self, shared: &Shared, urgent: bool) -> Result<bool, MaintenanceError> {
        let last = shared.commits.wal.last_enqueued().0;
        // Whatever was sealed with a key before it became old was queued by now.
        let _ = self.through.compare_exchange(0, last, Ordering::Relaxed, Ordering::Relaxed);
        let through = Lsn(self.through.load(Ordering::Relaxed));
        if !urgent {
            return Ok(shared.commits.wal.status().first.is_none_or(|first| first.0 > through.0));
        }
        let mut left = Some(self.left()).filter(|left| left.0 > 0);
        let has_left = leave_log(shared, &mut left, through);
        self.left.store(left.map_or(0, |left| left.0), Ordering::Relaxed);
        has_left
    }
}

/// What a tenant's keys are, and what is sealed with each of them.
pub(crate) fn uses<'b>(file: &KeyFile, blocks: impl Iterator<Item = &'b Arc<OpenBlock>>) -> Vec<KeyUse> {
    let mut uses: Vec<KeyUse> = file
        .keys
        .iter()
        .map(|key| KeyUse {
            id: key.id,
            class: key.class,
            state: key.state,
            created: key.created,
            until: Some(key.until).filter(|_| key.state != KeyState::Active),
            blocks: 0,
            bytes: 0,
        })
        .collect();
    for block in blocks {
        // What cannot be read is told where it is read.
        let key = block.sealed_with().ok();
        if let Some(key) = uses.iter_mut().find(|known| Some(known.id) == key) {
            key.blocks += 1;
            key.bytes += block.meta.bytes;
        }
    }
    uses
}

/// Gives a tenant new keys of these classes. They are durable and in use when this returns; by the date that is returned
/// those of before are out of use.
pub(crate) fn rotate(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
    classes: &[KeyClass],
    within_ms: i64,
) -> Result<Timestamp, TenantError> {
    let stays = |why| Err(TenantError::KeysStay { tenant: tenant.id.clone(), why });
    if classes.contains(&KeyClass::Identity) {
        return stays("pseudonyms and the digests of batches follow from it, and would change");
    }
    if tenant.keys.metrics().is_none() {
        return stays("its data is not sealed");
    }
    let mut change = tenant.change().map_err(TenantError::Change)?;
    let (now, files) = (shared.retention_now(), key_files(&shared.layout, tenant.number));
    let until = now.saturating_add(within_ms.max(0));
    let known = tenant.keys.known();
    let path = files.path(known.generation + 1);
    let rotated = known
        .file
        .rotated(&path, holder(shared, tenant), classes, &*shared.entropy, (now, until))
        .map_err(|source| TenantError::Keys { tenant: tenant.id.clone(), source })?;
    publish(shared, tenant, &mut change, rotated, "write the keys").map_err(TenantError::Change)?;
    Ok(until)
}

fn holder<'a>(shared: &'a Shared, tenant: &TenantShared) -> KeyHolder<'a> {
    let name = KeyName { store: shared.root, tenant: tenant.number };
    KeyHolder { name, store: shared.key_store.as_deref() }
}

/// Makes a key file the newest, and its keys those that are used.
fn publish(
    shared: &Shared,
    tenant: &TenantShared,
    change: &mut ManifestChange,
    file: KeyFile,
    doing: &'static str,
) -> Result<(), MaintenanceError> {
    if change.suspended {
        return Err(MaintenanceError::Suspended { tenant: tenant.id.clone() });
    }
    let (files, generation) = (key_files(&shared.layout, tenant.number), tenant.keys.generation() + 1);
    let content = file.encode();
    let known = KnownFile { generation, file, has_older: true };
    // What does not open must not become the only one there is.
    let keys = TenantKeys::open(known, files.path(generation), holder(shared, tenant))
        .map_err(|source| MaintenanceError::Keys { tenant: tenant.id.clone(), source })?;
    match shared.store_twin(&files, generation, &content) {
        Ok(()) => {}
        Err(PublishError::Nothing(source)) => {
            return Err(MaintenanceError::Io { doing, tenant: tenant.id.clone(), source });
        }
        Err(PublishError::Indeterminate(source)) => {
            tenant.suspend(change);
            return Err(MaintenanceError::Indeterminate { tenant: tenant.id.clone(), source });
        }
    }
    {
        // Records are sealed under this lock: those that are queued from here on are sealed with the new keys.
        let mut ingest = tenant.ingest.lock();
        tenant.keys.replace(keys);
        ingest.records = RecordSealer::new(&tenant.keys, shared.log_salt);
    }
    tenant.rotation.reset();
    // Where an old generation cannot be removed now, a step of background work does it.
    if files.remove_older(&*shared.vfs, generation).is_ok() {
        tenant.keys.is_alone();
    }
    Ok(())
}

/// The next piece of work for old keys of a tenant.
pub(crate) fn step(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
    now: Timestamp,
    turn: Turn,
) -> Result<Option<Done>, MaintenanceError> {
    if tenant.keys.is_settled() {
        return Ok(None);
    }
    let known = tenant.keys.known();
    let due = known.file.old().map(|key| key.until).min().unwrap_or(Timestamp::MAX);
    let urgent = turn == Turn::Settle || due.saturating_add(-URGENT_MS) <= now;
    if turn == Turn::First && !urgent {
        return Ok(None);
    }
    if known.has_older {
        let files = key_files(&shared.layout, tenant.number);
        files.remove_older(&*shared.vfs, known.generation).map_err(|source| MaintenanceError::Io {
            doing: "remove the keys of before",
            tenant: tenant.id.clone(),
            source: std::io::Error::other(source),
        })?;
        tenant.keys.is_alone();
    }
    if let Some(done) = retire_wrapping(shared, tenant, &known, now)? {
        return Ok(Some(done));
    }
    let old = known.file.old().filter(|key| key.class != KeyClass::Wrapping);
    let (old, until): (Vec<KeyId>, Vec<Timestamp>) = old.map(|key| (key.id, key.until)).unzip();
    let Some(until) = until.into_iter().min() else { return Ok(None) };
    remember_anew(shared, tenant, &old)?;
    match next_block(tenant, &old, now, until) {
        Left::Block(block) => return merge(shared, tenant, &[block], now, Expired::Kept).map(Some),
        Left::Stuck => return Ok(None),
        Left::Nothing => {}
    }
    let has_left = tenant.rotation.has_left(shared, urgent)?;
    let read = shared.retired.lock().iter().any(|(owner, _)| Arc::ptr_eq(owner, tenant));
    if !has_left || read {
        return Ok(None);
    }
    let mut change = tenant.change()?;
    let moved = tenant.keys.generation() != known.generation;
    if moved || !matches!(next_block(tenant, &old, now, until), Left::Nothing) {
        return Ok(None);
    }
    publish(shared, tenant, &mut change, known.file.without(&old, now), "write the keys without old ones")?;
    Ok(Some(Done::KeysRetired { tenant: tenant.id.clone(), keys: old }))
}

/// Destroys wrapping keys whose date has come.
fn retire_wrapping(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
    known: &KnownFile,
    now: Timestamp,
) -> Result<Option<Done>, MaintenanceError> {
    let is_due = |key: &&crate::key_file::KeyEntry| key.class == KeyClass::Wrapping && key.until <= now;
    let due: Vec<KeyId> = known.file.old().filter(is_due).map(|key| key.id).collect();
    let (Some(&last), Some(store)) = (due.last(), &shared.key_store) else { return Ok(None) };
    let mut change = tenant.change()?;
    if change.suspended {
        // Which key file is durable is unknown: it may be one that needs them.
        return Err(MaintenanceError::Suspended { tenant: tenant.id.clone() });
    }
    if tenant.keys.generation() != known.generation {
        return Ok(None);
    }
    // Those before it have no later date.
    store
        .retire(holder(shared, tenant).name, last)
        .map_err(|source| MaintenanceError::KeyNotDestroyed { tenant: tenant.id.clone(), source })?;
    let file = known.file.clone().without(&due, now);
    publish(shared, tenant, &mut change, file, "write the keys without old ones")?;
    Ok(Some(Done::KeysRetired { tenant: tenant.id.clone(), keys: due }))
}

/// Seals anew what the manifest remembers, where that is sealed with an old key.
fn remember_anew(shared: &Shared, tenant: &Arc<TenantShared>, old: &[KeyId]) -> Result<(), MaintenanceError> {
    let is_old = |manifest: &Manifest| manifest.remembered.keys().iter().any(|key| old.contains(key));
    if !is_old(&tenant.data.read().manifest) {
        return Ok(());
    }
    let mut change = tenant.change()?;
    let manifest = tenant.data.read().manifest.clone();
    let remembered = manifest.remembered.open(&tenant.keys).ok_or_else(|| MaintenanceError::Damaged {
        tenant: tenant.id.clone(),
        what: "its manifest: what it remembers is not what was sealed with its keys".to_owned(),
    })?;
    let remembered = remembered.seal(&tenant.keys, &*shared.entropy);
    let remembered = remembered.map_err(|source| MaintenanceError::Io {
        doing: "seal the manifest",
        tenant: tenant.id.clone(),
        source,
    })?;
    let manifest = Manifest { remembered, ..manifest };
    tenant.commit_manifest(shared, &mut change, manifest, "seal the manifest anew", |_| ())
}

/// What is left under old keys.
enum Left {
    Nothing,
    /// The oldest block that can be written anew.
    Block(BlockId),
    /// Blocks that go by themselves in time, or that are damaged.
    Stuck,
}

fn next_block(tenant: &TenantShared, old: &[KeyId], now: Timestamp, until: Timestamp) -> Left {
    let data = tenant.data.read();
    let (mut next, mut stuck) = (None::<BlockId>, false);
    for block in &data.blocks {
        let (id, key) = (block.meta.id, block.sealed_with());
        if key.as_ref().is_ok_and(|key| !old.contains(key)) {
            continue;
        }
        let expires = now < until && id.day.end() <= data.manifest.floor(id.content, until);
        if key.is_err() || expires || data.set_aside.contains(&id) {
            stuck = true;
        } else if next.is_none_or(|next| age(id) < age(next)) {
            next = Some(id);
        }
    }
    match next {
        Some(block) => Left::Block(block),
        None if stuck => Left::Stuck,
        None => Left::Nothing,
    }
}

/// The oldest data first.
fn age(block: BlockId) -> (i32, BlockContent, u64) {
    (block.day.0, block.content, block.sequence)
}

/// The first date that old keys have, where it has passed.
pub(crate) fn overdue(keys: &TenantKeys, now: Timestamp) -> Option<Timestamp> {
    let known = keys.known();
    known.file.old().map(|key| key.until).min().filter(|&until| until <= now)
}
