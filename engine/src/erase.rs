//! Erasing a tenant, so that it cannot come back, and saying so.
//!
//! ```text
//!   1  a manifest says that the tenant is erased               the commit point: nobody sees it from here on
//!   2  its key-encryption key is destroyed                     no copy of any of its files can be read again
//!   3  the catalogue names its number only                     its id is free
//!   4  a manifest says what each of its files was              what the receipt will say
//!   5  blocks, keys, drafts and quarantined files go
//!   6  the log goes on in a new segment, and lets go of the old ones
//!   7  the receipt is published                                only now: all of it is true
//!   8  the manifest and the directories go
//!   9  the catalogue forgets the number
//! ```
//!
//! 1 and 2 are done when the erasure is asked for. The rest is background work, in this order, each step safe to repeat:
//! an open goes on where a crash left it. Records of others that share segments with the tenant's are put into blocks for
//! step 6, and a tenant that is unavailable and has records there holds it up.
//!
//! A tenant whose key is gone from the key store stays unavailable until it is erased here too: nothing is removed because
//! of what a key store says.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_model::{BlockContent, DAY_MS, Lsn, Missing, TenantId, TenantNumber, TimeRange, Timestamp};
use annals_vfs::planted::{Bug, planted};
use annals_vfs::sync::atomic::Ordering;
use annals_vfs::{DirEntryKind, PublishError, Vfs};

use crate::catalog::Catalogue;
use crate::counters::Work;
use crate::error::{MaintenanceError, TenantError};
use crate::files::digest_file;
use crate::flush::{log_floor, truncate_log};
use crate::key_store::{KeyName, KeyStoreError};
use crate::keys::{self, KeyHolder};
use crate::layout::Layout;
use crate::life::{Erased, Life, Measured};
use crate::maintenance::Done;
use crate::manifest::Manifest;
use crate::options::Background;
use crate::quarantine;
use crate::receipt;
use crate::recover::{catalogue_files, load_erased};
use crate::remembered::SealedRemembered;
use crate::shared::{Shared, TenantSlot};
use crate::tenant::manifest_files;
use crate::work::Working;

/// By then the bytes of an erased tenant are removed.
pub const ERASURE_DUE_MS: i64 = DAY_MS;

/// A tenant that was erased, and of which something is left to be removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Erasure {
    /// Who it was.
    pub tenant: TenantId,
    /// Its number, which its receipt is named by.
    pub number: TenantNumber,
    /// Nobody has seen it from then on.
    pub since: Timestamp,
    /// Its bytes are removed by then.
    pub due: Timestamp,
    /// Where its receipt will be.
    pub receipt: PathBuf,
}

/// The same, as the store that removes it knows it.
pub(crate) struct Erasing {
    pub(crate) number: TenantNumber,
    pub(crate) id: TenantId,
    /// The newest one; `None` where it went, after the receipt.
    pub(crate) manifest: Option<Manifest>,
    pub(crate) generation: u64,
    /// Whether the last change is durable is unknown.
    pub(crate) suspended: bool,
    /// When its key was found to be destroyed, in this process.
    destroyed: Option<Timestamp>,
    files_removed: bool,
    /// The last record of the segments that are to go. Others' records among these are put into blocks.
    left: Option<Lsn>,
}

impl Erasing {
    /// As an open finds it.
    pub(crate) fn found(
        number: TenantNumber,
        id: TenantId,
        manifest: Option<Manifest>,
        generation: u64,
    ) -> Erasing {
        let (suspended, destroyed, files_removed, left) = (false, None, false, None);
        Erasing { number, id, manifest, generation, suspended, destroyed, files_removed, left }
    }

    pub(crate) fn erased(&self) -> Option<&Erased> {
        self.manifest.as_ref()?.life.erased()
    }

    pub(crate) fn told(&self, layout: &Layout) -> Option<Erasure> {
        let erased = self.erased()?;
        Some(Erasure {
            tenant: self.id.clone(),
            number: self.number,
            since: erased.since,
            due: erased.due,
            receipt: receipt::path(layout, self.number),
        })
    }
}

/// Erases a tenant: hidden, and its key destroyed, when this returns. Asking again changes nothing.
///
/// Nothing is done, and nobody found, where the manifest that holds is not `wanted`.
pub(crate) fn erase_tenant(
    shared: &Shared,
    id: &TenantId,
    wanted: &dyn Fn(&Manifest) -> bool,
) -> Result<Erasure, TenantError> {
    enum Found {
        Open(Arc<crate::tenant::TenantShared>),
        Unavailable(TenantNumber),
    }
    let found = match shared.tenants.read().get(id) {
        Some(TenantSlot::Open(tenant)) => Some(Found::Open(tenant.clone())),
        Some(TenantSlot::Unavailable { number, .. }) => Some(Found::Unavailable(*number)),
        None => None,
    };
    let (mut erasing, _change);
    match &found {
        None => return under_way(shared, id),
        Some(Found::Open(tenant)) => {
            let mut change = match tenant.change() {
                Ok(change) => change,
                Err(MaintenanceError::Erased { .. }) => return under_way(shared, id),
                Err(error) => return Err(TenantError::Change(error)),
            };
            {
                // Nothing is admitted meanwhile: what is queued before this is its last record.
                let _ingest = tenant.ingest.lock();
                let manifest = tenant.data.read().manifest.clone();
                if !wanted(&manifest) {
                    return Err(TenantError::Unknown(id.clone()));
                }
                let sealed = Some(tenant.keys.metrics().is_some());
                let manifest = erased(shared, tenant.number, manifest, sealed);
                let mut released = 0;
                tenant
                    .commit_manifest(shared, &mut change, manifest, "erase", |data| {
                        tenant.erased.store(true, Ordering::Release);
                        data.blocks.clear();
                        released = data.frozen.drain(..).map(|head| head.bytes()).sum::<usize>()
                            + data.live.drain(..).map(|head| head.bytes()).sum::<usize>();
                        let why = "the tenant was erased".to_owned();
                        data.missing = vec![Missing { range: TimeRange::ALL, why }];
                    })
                    .map_err(TenantError::Change)?;
                shared.shrink(released);
            }
            let manifest = tenant.data.read().manifest.clone();
            erasing = Erasing::found(tenant.number, id.clone(), Some(manifest), change.generation);
            _change = Some(change);
        }
        Some(Found::Unavailable(number)) => {
            erasing = unavailable(shared, *number, id)?;
            let Some(manifest) = erasing.manifest.clone() else {
                return Err(TenantError::Unknown(id.clone()));
            };
            let manifest = erased(shared, *number, manifest, None);
            commit(shared, &mut erasing, manifest, "erase").map_err(TenantError::Change)?;
            _change = None;
        }
    }
    shared.tenants.write().remove(id);
    let destroyed = destroy_key(shared, &mut erasing);
    let told = erasing.told(&shared.layout).ok_or_else(|| TenantError::Unknown(id.clone()));
    shared.erasing.lock().insert(erasing.number, erasing);
    shared.attention.notify();
    destroyed.map_err(|source| TenantError::KeyNotDestroyed { tenant: id.clone(), source })?;
    told
}

fn under_way(shared: &Shared, id: &TenantId) -> Result<Erasure, TenantError> {
    let erasing = shared.erasing.lock();
    let told = erasing.values().filter(|erasing| erasing.id == *id).find_map(|e| e.told(&shared.layout));
    told.ok_or_else(|| TenantError::Unknown(id.clone()))
}

/// The manifest of an erased tenant: what is to go, and nothing that anybody wrote. Whether it was `sealed` its key file says
/// where that is not known.
fn erased(shared: &Shared, number: TenantNumber, manifest: Manifest, sealed: Option<bool>) -> Manifest {
    let name = KeyName { store: shared.root, tenant: number };
    let keys = keys::load_file(&*shared.vfs, &shared.layout, name).map(|(file, _)| file).ok();
    let since = shared.now();
    let last = Lsn(shared.commits.wal.last_enqueued().0);
    let life = Life::Erased(Box::new(Erased {
        since,
        due: since.saturating_add(ERASURE_DUE_MS),
        through: last.max(manifest.data_floor),
        sealed: sealed.unwrap_or_else(|| keys.as_ref().is_none_or(|file| file.sealed)),
        keys: keys.iter().flat_map(|file| &file.keys).map(|key| (key.id, key.class)).collect(),
        measured: None,
    }));
    Manifest {
        life,
        next_plan: None,
        seals: Arc::default(),
        kinds_off: Arc::default(),
        remembered: SealedRemembered { metrics: Vec::new(), signals: Vec::new() },
        ..manifest
    }
}

/// A tenant whose keys cannot be used, as its manifest has it.
fn unavailable(shared: &Shared, number: TenantNumber, id: &TenantId) -> Result<Erasing, TenantError> {
    let files = manifest_files(&shared.layout, number);
    let unreadable = |why: String| TenantError::Unavailable { tenant: id.clone(), why };
    let twin = files.load(&*shared.vfs).map_err(|error| unreadable(error.to_string()))?;
    let twin = twin.filter(|twin| twin.root == shared.root);
    let manifest = twin.as_ref().and_then(|twin| Manifest::decode(&twin.content));
    match (twin, manifest.filter(|manifest| manifest.id == *id)) {
        (Some(twin), Some(manifest)) => {
            Ok(Erasing::found(number, id.clone(), Some(manifest), twin.generation))
        }
        _ => Err(unreadable(format!(
            "{}: its manifest cannot be read, so what is to be erased is not known; restore it from a backup, or repair \
             it: annals verify --repair",
            files.directory.display()
        ))),
    }
}

/// Goes on with every erasure as far as it goes. An erasure that fails does not keep others from their turn.
pub(crate) fn step(shared: &Shared) -> Result<Option<Done>, MaintenanceError> {
    let mut all = shared.erasing.lock();
    find_unread(shared, &mut all);
    let numbers: Vec<TenantNumber> = all.keys().copied().collect();
    let mut failed = None;
    for number in numbers {
        let Some(erasing) = all.get_mut(&number) else { continue };
        let working = Working::begin(shared, Work::Erase, &erasing.id);
        let blocks = erasing.manifest.as_ref().map(|manifest| manifest.blocks.clone()).unwrap_or_default();
        match advance(shared, erasing) {
            // Something holds it up for now.
            Ok(false) => working.put_off(),
            Ok(true) => {
                working.done(&blocks);
                let tenant = erasing.id.clone();
                all.remove(&number);
                return Ok(Some(Done::Erased { tenant, receipt: receipt::path(&shared.layout, number) }));
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(None), Err)
}

/// Looks again for those whose manifests could not be read when the store was opened.
fn find_unread(shared: &Shared, all: &mut BTreeMap<TenantNumber, Erasing>) {
    let (vfs, layout) = (&*shared.vfs, &shared.layout);
    let named = shared.catalogue.lock().catalogue.erased.clone();
    for number in named {
        if all.contains_key(&number) {
            continue;
        }
        // What cannot be read still is what the open has told of.
        if let Ok(mut erasing) = load_erased(vfs, layout, shared.root, number) {
            // As an open does: what is seen by name may not be durable.
            erasing.suspended = erasing.manifest.is_some() && vfs.sync_dir(&layout.tenant(number)).is_err();
            all.insert(number, erasing);
        }
    }
}

/// Records up to this one share segments with what was erased or deleted, and are to leave the log.
pub(crate) fn leaving(shared: &Shared) -> Lsn {
    // A step that runs holds the lock, and flushes nothing itself.
    let erasing = shared.erasing.lock();
    let erased = erasing.values().filter_map(|erasing| erasing.left);
    let deleted = shared.open_tenants().into_iter().map(|tenant| Lsn(tenant.leaves.load(Ordering::Relaxed)));
    let rotated = shared.open_tenants().into_iter().map(|tenant| tenant.rotation.left());
    erased.chain(deleted).chain(rotated).max().unwrap_or_default()
}

/// Whether nothing is left to be done.
fn advance(shared: &Shared, erasing: &mut Erasing) -> Result<bool, MaintenanceError> {
    let (vfs, layout) = (&*shared.vfs, &shared.layout);
    if erasing.suspended {
        return Err(MaintenanceError::Suspended { tenant: erasing.id.clone() });
    }
    let id = erasing.id.clone();
    let io = |doing, source| MaintenanceError::Io { doing, tenant: id.clone(), source };
    if erasing.manifest.is_none() {
        remove_directories(vfs, layout, erasing.number)
            .map_err(|source| io("remove the directory", source))?;
        forget(shared, erasing.number).map_err(|source| io("forget the number", source))?;
        return Ok(true);
    }
    if erasing.destroyed.is_none() {
        destroy_key(shared, erasing)
            .map_err(|source| MaintenanceError::KeyNotDestroyed { tenant: erasing.id.clone(), source })?;
    }
    // Somebody has put an older manifest back.
    if let Some(manifest) = erasing.manifest.clone().filter(|manifest| manifest.life.erased().is_none()) {
        let manifest = erased(shared, erasing.number, manifest, None);
        commit(shared, erasing, manifest, "erase")?;
    }
    catalogue(shared, erasing.number).map_err(|source| io("free the id", source))?;
    if erasing.erased().is_some_and(|erased| erased.measured.is_none()) {
        measure(shared, erasing)?;
    }
    if !erasing.files_removed {
        remove_files(vfs, layout, erasing.number).map_err(|source| io("remove files", source))?;
        erasing.files_removed = true;
    }
    let Some(through) = erasing.erased().map(|erased| erased.through) else { return Ok(false) };
    let has_left = leave_log(shared, &mut erasing.left, through)?;
    if !has_left && !planted(Bug::ReceiptBeforeRemoval) {
        return Ok(false);
    }
    let Some(manifest) = &erasing.manifest else { return Ok(false) };
    let Some((erased, measured)) = manifest.life.erased().and_then(|e| Some((e, e.measured.as_ref()?)))
    else {
        return Ok(false);
    };
    if !receipt::exists(vfs, layout, erasing.number).map_err(|source| io("look for the receipt", source))? {
        let unsigned = |source| MaintenanceError::NotSigned { tenant: erasing.id.clone(), source };
        let signer = &shared.signer;
        let key = signer.signer(shared.root, &*shared.entropy).map_err(unsigned)?;
        let (tenant, of) = ((&erasing.id, erasing.number), (erased, measured));
        let text = receipt::text(&shared.root, tenant, &manifest.blocks, of, shared.now(), key);
        let signature = signer.sign(shared.root, text.as_bytes()).map_err(unsigned)?;
        let receipt = receipt::signed(&text, &signature);
        receipt::store(vfs, layout, erasing.number, &receipt)
            .map_err(|error| io("write the receipt", error.into_source()))?;
    }
    // It may have been found under a name that no disk holds.
    vfs.sync_dir(&layout.receipts).map_err(|source| io("sync the receipt", source))?;
    remove_directories(vfs, layout, erasing.number).map_err(|source| io("remove the directory", source))?;
    erasing.manifest = None;
    forget(shared, erasing.number).map_err(|source| io("forget the number", source))?;
    Ok(true)
}

/// Step 2: its key-encryption key. Data that was never sealed has none.
fn destroy_key(shared: &Shared, erasing: &mut Erasing) -> Result<(), KeyStoreError> {
    let name = KeyName { store: shared.root, tenant: erasing.number };
    let holder = KeyHolder { name, store: shared.key_store.as_deref() };
    let sealed = erasing.erased().is_none_or(|erased| erased.sealed);
    match holder.store {
        _ if planted(Bug::ErasedKeyKept) => {}
        Some(store) if sealed => store.destroy(name)?,
        None if sealed => {
            let why = "the store was opened without its key store".to_owned();
            return Err(KeyStoreError::Unavailable { why });
        }
        _ => {}
    }
    erasing.destroyed = Some(shared.now());
    Ok(())
}

/// Step 3: the catalogue names the number only.
fn catalogue(shared: &Shared, number: TenantNumber) -> io::Result<()> {
    change_catalogue(shared, |catalogue| {
        let named = catalogue.tenants.iter().any(|(other, _)| *other == number);
        catalogue.tenants.retain(|(other, _)| *other != number);
        if let Err(at) = catalogue.erased.binary_search(&number) {
            catalogue.erased.insert(at, number);
            return true;
        }
        named
    })
}

/// Step 9: nothing is left of the tenant.
fn forget(shared: &Shared, number: TenantNumber) -> io::Result<()> {
    change_catalogue(shared, |catalogue| {
        let before = catalogue.tenants.len() + catalogue.erased.len();
        catalogue.tenants.retain(|(other, _)| *other != number);
        catalogue.erased.retain(|other| *other != number);
        catalogue.tenants.len() + catalogue.erased.len() < before
    })
}

/// Makes a changed catalogue durable, where `change` says that it changed.
fn change_catalogue(shared: &Shared, change: impl FnOnce(&mut Catalogue) -> bool) -> io::Result<()> {
    let mut state = shared.catalogue.lock();
    let mut catalogue = state.catalogue.clone();
    if !change(&mut catalogue) {
        return Ok(());
    }
    if state.suspended {
        return Err(io::Error::other(
            "whether an earlier change of the catalogue is durable is unknown; open the store again",
        ));
    }
    let (generation, files) = (state.generation + 1, catalogue_files(&shared.layout));
    match shared.store_twin(&files, generation, &catalogue.encode()) {
        Ok(()) => {}
        Err(PublishError::Nothing(source)) => return Err(source),
        Err(PublishError::Indeterminate(source)) => {
            state.suspended = true;
            return Err(source);
        }
    }
    state.replace(catalogue, generation);
    let _ = files.remove_older(&*shared.vfs, generation);
    Ok(())
}

/// Step 4: what each file was.
fn measure(shared: &Shared, erasing: &mut Erasing) -> Result<(), MaintenanceError> {
    let Some(manifest) = erasing.manifest.clone() else { return Ok(()) };
    let Life::Erased(mut erased) = manifest.life else { return Ok(()) };
    let path = |block: &annals_model::BlockMeta| shared.layout.block(erasing.number, block.id);
    let digests = manifest.blocks.iter().map(|block| digest_file(&*shared.vfs, &path(block)).ok()).collect();
    let destroyed = erasing.destroyed.unwrap_or(erased.since);
    erased.measured = Some(Measured { destroyed, digests });
    let manifest = Manifest { life: Life::Erased(erased), ..manifest };
    commit(shared, erasing, manifest, "take down the files")
}

fn commit(
    shared: &Shared,
    erasing: &mut Erasing,
    manifest: Manifest,
    doing: &'static str,
) -> Result<(), MaintenanceError> {
    let tenant = || erasing.id.clone();
    let (generation, files) = (erasing.generation + 1, manifest_files(&shared.layout, erasing.number));
    match shared.store_twin(&files, generation, &manifest.encode()) {
        Ok(()) => {}
        Err(PublishError::Nothing(source)) => {
            return Err(MaintenanceError::Io { doing, tenant: tenant(), source });
        }
        Err(PublishError::Indeterminate(source)) => {
            let tenant = tenant();
            erasing.suspended = true;
            return Err(MaintenanceError::Indeterminate { tenant, source });
        }
    }
    erasing.generation = generation;
    erasing.manifest = Some(manifest);
    let _ = files.remove_older(&*shared.vfs, generation);
    Ok(())
}

/// Step 5: all that is the tenant's, but its manifest.
fn remove_files(vfs: &dyn Vfs, layout: &Layout, number: TenantNumber) -> io::Result<()> {
    for content in [BlockContent::RawMetrics, BlockContent::RawSignals] {
        remove_where(vfs, &layout.blocks(number, content), |_| true)?;
    }
    remove_where(vfs, &layout.tenant(number), |name| name.starts_with("keys-"))?;
    // Drafts are named by their tenant, in front or at the end.
    let (front, end) = (format!("{number}-"), format!("-{number}"));
    remove_where(vfs, &layout.temporary, |name| name.starts_with(&front) || name.ends_with(&end))?;
    for (path, _) in quarantine::of_tenant(vfs, layout, number)? {
        missing_is_done(vfs.unlink(&path))?;
    }
    vfs.sync_dir(&layout.quarantine)
}

/// Step 8: the manifest, and the directories.
pub(crate) fn remove_directories(vfs: &dyn Vfs, layout: &Layout, number: TenantNumber) -> io::Result<()> {
    let directory = layout.tenant(number);
    for content in [BlockContent::RawMetrics, BlockContent::RawSignals] {
        let blocks = layout.blocks(number, content);
        remove_where(vfs, &blocks, |_| true)?;
        missing_is_done(vfs.remove_dir(&blocks))?;
    }
    remove_where(vfs, &directory, |_| true)?;
    missing_is_done(vfs.remove_dir(&directory))?;
    vfs.sync_dir(&layout.tenants)
}

/// Removes the files of a directory that are named so, durably, whether or not it did so before.
fn remove_where(vfs: &dyn Vfs, directory: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
    let entries = match vfs.list(directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries.iter().filter(|entry| entry.kind != DirEntryKind::Directory && wanted(&entry.name)) {
        missing_is_done(vfs.unlink(&directory.join(&entry.name)))?;
    }
    vfs.sync_dir(directory)
}

fn missing_is_done(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Whether no segment of the log has a record up to `through`. Makes it go on in a new one where one has, and says in `left`
/// which records have to be in blocks before the old ones can go.
pub(crate) fn leave_log(
    shared: &Shared,
    left: &mut Option<Lsn>,
    through: Lsn,
) -> Result<bool, MaintenanceError> {
    let wal = &shared.commits.wal;
    let has_left = || wal.status().first.is_none_or(|first| first.0 > through.0);
    if has_left() {
        return Ok(true);
    }
    let left = match *left {
        Some(left) => left,
        None => {
            let drive =
                || shared.options.background == Background::Steps || shared.closed.load(Ordering::Acquire);
            shared.commits.wait_applied(through, &drive, &|bytes| shared.grow(bytes));
            let last = Lsn(wal.last_enqueued().0);
            wal.rotate().map_err(|error| MaintenanceError::Log(error.to_string()))?;
            *left.insert(last)
        }
    };
    if log_floor(shared) < left {
        return Ok(false);
    }
    truncate_log(shared)?;
    Ok(has_left())
}
