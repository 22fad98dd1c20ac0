//! Opening a root for writing: catalogue, manifests, log.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

use annals_model::{BlockContent, Lsn, Missing, TenantId, TenantNumber, TimeRange, Timestamp};
use annals_vfs::planted::{Bug, planted};
use annals_vfs::{Entropy, PublishError, Vfs};
use annals_wal::Wal;

use crate::catalog::Catalogue;
use crate::erase::Erasing;
use crate::error::{MaintenanceError, OpenError};
use crate::flush::{BuildRequest, build_blocks, publish_blocks};
use crate::head::Head;
use crate::key_store::{KeyName, KeyStore};
use crate::keys::{self, KeyHolder, TenantKeys, key_files};
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::options::Options;
use crate::orphans::Orphans;
use crate::record::LOG_SALT_BYTES;
use crate::remembered::Remembered;
use crate::replay::{Replay, ReplayReport, ReplayTenant, flushed_range};
use crate::shared::{CatalogueState, TenantSlot};
use crate::shelf::Shelf;
use crate::tenant::{TenantShared, manifest_files};
use crate::trusted_clock::{believed, latest_known};
use crate::twin::{Role, TwinError, TwinFiles};

/// What an open found, for the host to log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// What was replayed.
    pub replay: ReplayReport,
    /// What is wrong and was worked around, one sentence each, naming the file.
    pub findings: Vec<String>,
    /// Bytes at the log's end that were never acknowledged and were cut, as a crash leaves them.
    pub tail_bytes_discarded: u64,
    /// What the log may have held and could not be read; answers say so until the next open.
    pub lost: Vec<Missing>,
    /// Where log files went that could not be used whole. Nothing is deleted.
    pub quarantined: Vec<PathBuf>,
    /// Tenants that cannot be used, and why.
    pub unavailable: Vec<(TenantId, String)>,
}

/// What is read from the root before the log.
pub(crate) struct Loaded {
    pub(crate) catalogue: CatalogueState,
    pub(crate) root: [u8; 16],
    pub(crate) tenants: Vec<(TenantNumber, TenantId, Result<LoadedManifest, Unusable>)>,
    /// Erased ones of which something is left.
    pub(crate) erasing: Vec<Erasing>,
    pub(crate) findings: Vec<String>,
    /// Older generations of the catalogue are there too.
    has_older: bool,
}

pub(crate) struct LoadedManifest {
    pub(crate) manifest: Manifest,
    pub(crate) remembered: Remembered,
    pub(crate) keys: Arc<TenantKeys>,
    pub(crate) generation: u64,
    has_older: bool,
}

/// A tenant whose manifest or keys cannot be used.
pub(crate) struct Unusable {
    pub(crate) why: String,
    /// Its keys are gone for good: nothing is kept for the day when it can be used again.
    pub(crate) destroyed: bool,
    /// As its manifest has them, where that can be read: `data_floor`, `replay_from`.
    pub(crate) floors: Option<(Lsn, Lsn)>,
}

impl From<String> for Unusable {
    fn from(why: String) -> Unusable {
        Unusable { why, destroyed: false, floors: None }
    }
}

/// The catalogue's file series.
pub(crate) fn catalogue_files(layout: &Layout) -> TwinFiles {
    TwinFiles { directory: layout.root.clone(), role: Role::Catalogue, owner: 0 }
}

/// Reads catalogue and manifests; `None` where there is no catalogue.
pub(crate) fn load(
    vfs: &dyn Vfs,
    layout: &Layout,
    key_store: Option<&dyn KeyStore>,
) -> Result<Option<Loaded>, OpenError> {
    let Some(twin) = catalogue_files(layout).load(vfs).map_err(OpenError::Catalogue)? else {
        return Ok(None);
    };
    let catalogue = Catalogue::decode(&twin.content).ok_or_else(|| {
        OpenError::Catalogue(TwinError::Corrupt {
            path: twin.path.clone(),
            what: "it does not decode".to_owned(),
        })
    })?;
    let mut findings = Vec::new();
    if let Some(what) = &twin.half_damaged {
        findings.push(format!("{}: {what}; the other copy was used", twin.path.display()));
    }
    let (mut tenants, mut erasing) = (Vec::new(), Vec::new());
    for (number, id) in &catalogue.tenants {
        let holder = KeyHolder { name: KeyName { store: twin.root, tenant: *number }, store: key_store };
        match load_tenant(vfs, layout, id, holder, &mut findings) {
            Ok(Found::Erased(_)) if planted(Bug::ErasureForgotten) => {}
            Ok(Found::Live(loaded)) => tenants.push((*number, id.clone(), Ok(*loaded))),
            Ok(Found::Erased(erased)) => erasing.push(*erased),
            Err(unusable) => tenants.push((*number, id.clone(), Err(unusable))),
        }
    }
    for &number in &catalogue.erased {
        match load_erased(vfs, layout, twin.root, number) {
            Ok(erased) => erasing.push(erased),
            Err(why) => findings.push(format!("{why}; what is left of an erased tenant stays until then")),
        }
    }
    let catalogue = CatalogueState::new(catalogue, twin.generation);
    Ok(Some(Loaded { catalogue, root: twin.root, tenants, erasing, findings, has_older: twin.has_older }))
}

/// What a tenant of the catalogue is found to be.
enum Found {
    Live(Box<LoadedManifest>),
    Erased(Box<Erasing>),
}

/// What is left of a tenant of which the catalogue says that it was erased.
pub(crate) fn load_erased(
    vfs: &dyn Vfs,
    layout: &Layout,
    root: [u8; 16],
    number: TenantNumber,
) -> Result<Erasing, String> {
    let files = manifest_files(layout, number);
    let twin = match files.load(vfs) {
        Err(error) if error.is_missing() => None,
        loaded => loaded.map_err(|error| error.to_string())?,
    };
    let Some(twin) = twin else {
        // Its receipt is there, which has its name.
        let id = TenantId::new(&format!("tenant-{number}")).map_err(|error| error.to_string())?;
        return Ok(Erasing::found(number, id, None, 0));
    };
    let manifest = Manifest::decode(&twin.content).filter(|_| twin.root == root);
    let manifest = manifest
        .ok_or_else(|| format!("{}: it does not decode, or belongs to another store", twin.path.display()))?;
    Ok(Erasing::found(number, manifest.id.clone(), Some(manifest), twin.generation))
}

fn load_tenant(
    vfs: &dyn Vfs,
    layout: &Layout,
    id: &TenantId,
    holder: KeyHolder<'_>,
    findings: &mut Vec<String>,
) -> Result<Found, Unusable> {
    let KeyName { store: root, tenant: number } = holder.name;
    let files = manifest_files(layout, number);
    let twin = files
        .load(vfs)
        .map_err(|e| e.to_string())?
        .ok_or_else(|| format!("{}: there is no manifest", files.directory.display()))?;
    let path = twin.path.display();
    if twin.root != root {
        return Err(format!("{path}: it belongs to another store").into());
    }
    if let Some(what) = &twin.half_damaged {
        findings.push(format!("{path}: {what}; the other copy was used"));
    }
    let manifest = Manifest::decode(&twin.content).ok_or_else(|| format!("{path}: it does not decode"))?;
    if manifest.id != *id {
        return Err(format!("{path}: it names another tenant").into());
    }
    if manifest.life.erased().is_some() {
        let erasing = Erasing::found(number, id.clone(), Some(manifest), twin.generation);
        return Ok(Found::Erased(Box::new(erasing)));
    }
    let floors = Some((manifest.data_floor, manifest.replay_from));
    let keys = keys::load(vfs, layout, holder).map_err(|error| Unusable {
        why: error.to_string(),
        destroyed: error.is_destroyed(),
        floors,
    })?;
    let remembered = manifest.remembered.open(&keys).ok_or_else(|| Unusable {
        why: format!("{path}: it is not what was sealed with the tenant's keys; restore it from a backup"),
        destroyed: false,
        floors,
    })?;
    let (generation, has_older) = (twin.generation, twin.has_older);
    let keys = Arc::new(keys);
    Ok(Found::Live(Box::new(LoadedManifest { manifest, remembered, keys, generation, has_older })))
}

/// Makes durable the names of the catalogue and the manifests that were read.
///
/// A process that ended between a rename and its sync leaves a generation that this one sees and that no disk holds
/// yet. What only an older generation names must not be removed, and no write acknowledged for a tenant of a newer
/// catalogue, while a power cut could bring the older one back.
///
/// Older generations go then. A tenant whose directory cannot be synced is unavailable.
pub(crate) fn make_durable(vfs: &dyn Vfs, layout: &Layout, loaded: &mut Loaded) -> Result<(), OpenError> {
    if planted(Bug::OpenDoesNotSync) {
        return Ok(());
    }
    vfs.sync_dir(&layout.root).map_err(OpenError::io("sync", &layout.root))?;
    if loaded.has_older {
        let _ = catalogue_files(layout).remove_older(vfs, loaded.catalogue.generation);
    }
    for erasing in loaded.erasing.iter_mut().filter(|erasing| erasing.manifest.is_some()) {
        if vfs.sync_dir(&layout.tenant(erasing.number)).is_err() {
            // Nothing of it is removed before an open that can.
            erasing.suspended = true;
        } else {
            let _ = manifest_files(layout, erasing.number).remove_older(vfs, erasing.generation);
        }
    }
    for (number, _, manifest) in &mut loaded.tenants {
        let Ok(loaded) = manifest else { continue };
        let directory = layout.tenant(*number);
        if let Err(error) = vfs.sync_dir(&directory) {
            *manifest = Err(format!("cannot sync {}: {error}", directory.display()).into());
            continue;
        }
        if loaded.has_older {
            let _ = manifest_files(layout, *number).remove_older(vfs, loaded.generation);
        }
        let known = loaded.keys.known();
        if known.has_older && key_files(layout, *number).remove_older(vfs, known.generation).is_ok() {
            loaded.keys.is_alone();
        }
    }
    Ok(())
}

/// Starts an empty store: its catalogue is what makes the directory one.
pub(crate) fn initialise(vfs: &dyn Vfs, entropy: &dyn Entropy, layout: &Layout) -> Result<Loaded, OpenError> {
    if vfs
        .list(&layout.root)
        .map_err(OpenError::io("list", &layout.root))?
        .iter()
        .any(|entry| layout.restoring.ends_with(&entry.name))
    {
        return Err(OpenError::Restoring { root: layout.root.clone() });
    }
    for directory in [&layout.tenants, &layout.keys, &layout.wal] {
        // The catalogue comes before all of these: without it they are not a crash's but of a store that lost it.
        if !vfs.list(directory).map_err(OpenError::io("list", directory))?.is_empty() {
            let path = layout.root.clone();
            return Err(OpenError::Catalogue(TwinError::Missing { path }));
        }
    }
    if let Some(parent) = layout.root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        // An earlier open may have ended after it created the root and before that was durable.
        match vfs.sync_dir(parent) {
            Err(error) if error.kind() != ErrorKind::PermissionDenied => {
                return Err(OpenError::io("sync", parent)(error));
            }
            _ => {}
        }
    }
    let mut root = [0; 16];
    entropy.fill(&mut root).map_err(OpenError::io("draw the id of", &layout.root))?;
    let catalogue = Catalogue { next: 1, tenants: Vec::new(), erased: Vec::new() };
    catalogue_files(layout)
        .store(vfs, &layout.temporary, root, 1, &catalogue.encode())
        .map_err(|e| OpenError::io("create", &layout.root)(e.into_source()))?;
    let catalogue = CatalogueState::new(catalogue, 1);
    let (tenants, erasing) = (Vec::new(), Vec::new());
    Ok(Loaded { catalogue, root, tenants, erasing, findings: Vec::new(), has_older: false })
}

/// Everything that a store which is open for writing starts from.
pub(crate) struct Recovered {
    pub(crate) report: RecoveryReport,
    pub(crate) root: [u8; 16],
    pub(crate) log_salt: [u8; LOG_SALT_BYTES],
    pub(crate) catalogue: CatalogueState,
    pub(crate) erasing: Vec<Erasing>,
    pub(crate) wal: Wal,
    pub(crate) shelf: Arc<Shelf>,
    pub(crate) slots: BTreeMap<TenantId, TenantSlot>,
    /// Bytes of all heads.
    pub(crate) head_bytes: usize,
    /// The latest time that the store has seen.
    pub(crate) known: Option<Timestamp>,
}

/// Recovers a store, or starts one where there is none. After an error it may be called again.
pub(crate) fn recover(
    vfs: &Arc<dyn Vfs>,
    entropy: &dyn Entropy,
    layout: &Layout,
    options: &Options,
    key_store: Option<&dyn KeyStore>,
    now: Timestamp,
) -> Result<Recovered, OpenError> {
    let mut log_salt = [0; LOG_SALT_BYTES];
    if !planted(Bug::NonceReused) {
        entropy.fill(&mut log_salt).map_err(OpenError::io("draw a salt for the log of", &layout.root))?;
    }
    let loaded = match load(&**vfs, layout, key_store)? {
        Some(mut loaded) => {
            make_durable(&**vfs, layout, &mut loaded)?;
            loaded
        }
        None => initialise(&**vfs, entropy, layout)?,
    };
    let manifests = loaded.tenants.iter().filter_map(|(_, _, tenant)| tenant.as_ref().ok());
    let known = latest_known(manifests.map(|loaded| &loaded.manifest));
    let now = believed(now, known);
    let mut report = RecoveryReport { findings: loaded.findings, ..RecoveryReport::default() };
    let mut replay = Replay::new(&options.schema);
    // New records come after all that an erased tenant may have had.
    let gone = loaded.erasing.iter().filter_map(|erasing| Some(erasing.erased()?.through)).max();
    replay.floor = gone.unwrap_or_default();
    let mut numbers = BTreeMap::new();
    let mut unusable = Vec::new();
    let mut orphans = BTreeMap::new();
    for (number, id, manifest) in loaded.tenants {
        match manifest {
            Ok(mut loaded) => {
                let mut found = Orphans::find(&**vfs, layout, &loaded.manifest, number);
                report.findings.append(&mut found.findings);
                if planted(Bug::OrphansAdopted) {
                    found.adopt(&**vfs, &mut loaded.manifest, number);
                }
                let next = &mut loaded.manifest.next_sequence;
                *next = found.sequence_max.saturating_add(1).max(*next);
                orphans.insert(number, found);
                let LoadedManifest { manifest, remembered, keys, generation, .. } = loaded;
                let tenant = ReplayTenant::new(manifest, &remembered, generation, keys);
                replay.tenants.insert(number, tenant);
                numbers.insert(number, id);
            }
            Err(unused) => {
                if let Some((data_floor, replay_from)) = unused.floors {
                    replay.floor = replay.floor.max(data_floor);
                    replay.unusable.insert(number, replay_from);
                }
                unusable.push((number, id, unused));
            }
        }
    }
    let shelf = Shelf::new(vfs.clone(), layout.clone(), options);
    let opening = Opening { vfs, shelf: &shelf, entropy, layout, root: loaded.root, log_salt, options, now };
    let (wal, replay) = replay_log(&opening, replay, &mut report)?;
    let Replay { tenants, report: replayed, mut head_bytes, passed_over, .. } = replay;
    report.replay = replayed;
    let mut slots = BTreeMap::new();
    for (number, id, Unusable { why, destroyed, .. }) in unusable {
        let needs = passed_over.get(&number).copied();
        let needs = needs.filter(|_| !destroyed && !planted(Bug::UnavailableTenantForgotten));
        slots.insert(id, TenantSlot::Unavailable { why, number, needs });
    }
    for (number, tenant) in tenants {
        let Some(id) = numbers.remove(&number) else { continue };
        let slot = match check_generation(layout, number, &tenant) {
            Ok(()) => {
                orphans.remove(&number).into_iter().for_each(|orphans| orphans.remove(&**vfs));
                let open = TenantShared::open(&opening, number, id.clone(), tenant);
                open.data.write().missing.clone_from(&report.lost);
                TenantSlot::Open(Arc::new(open))
            }
            Err(why) => {
                head_bytes -= tenant.heads.iter().map(Head::bytes).sum::<usize>();
                let heads = tenant.heads.iter().map(|head| head.first);
                let needs = heads.chain(tenant.rolled_back.map(|(_, first)| first)).min();
                let needs = needs.filter(|_| !planted(Bug::UnavailableTenantForgotten));
                TenantSlot::Unavailable { why, number, needs }
            }
        };
        slots.insert(id, slot);
    }
    report.unavailable = slots
        .iter()
        .filter_map(|(id, slot)| match slot {
            TenantSlot::Open(_) => None,
            TenantSlot::Unavailable { why, .. } => Some((id.clone(), why.clone())),
        })
        .collect();
    let (root, catalogue, erasing) = (loaded.root, loaded.catalogue, loaded.erasing);
    Ok(Recovered { report, root, log_salt, catalogue, erasing, wal, shelf, slots, head_bytes, known })
}

/// What an open works with.
pub(crate) struct Opening<'a> {
    pub(crate) vfs: &'a Arc<dyn Vfs>,
    pub(crate) shelf: &'a Arc<Shelf>,
    pub(crate) entropy: &'a dyn Entropy,
    pub(crate) layout: &'a Layout,
    pub(crate) root: [u8; 16],
    /// Drawn for this open alone.
    pub(crate) log_salt: [u8; LOG_SALT_BYTES],
    pub(crate) options: &'a Options,
    pub(crate) now: Timestamp,
}

/// Opens the log and replays it. Where heads outgrow the budget they become blocks on the way.
pub(crate) fn replay_log<'a>(
    opening: &Opening<'a>,
    mut replay: Replay<'a>,
    found: &mut RecoveryReport,
) -> Result<(Wal, Replay<'a>), OpenError> {
    let Opening { vfs, entropy, layout, root, options, .. } = *opening;
    let floor = replay.tenants.values().map(|t| t.manifest.data_floor).fold(replay.floor, Lsn::max);
    // Where a tenant's manifest cannot be used, which of its records are in blocks is not known.
    let in_blocks = if found.unavailable.is_empty() { replay.in_blocks() } else { Lsn(0) };
    let mut failed = None;
    let mut budget = options.head_bytes_max;
    let place = annals_wal::Place {
        directory: layout.wal.clone(),
        temporary: layout.temporary.clone(),
        quarantine: layout.quarantine.clone(),
        root_id: root,
    };
    let opened = Wal::open(
        vfs.clone(),
        entropy,
        place,
        &wal_options(options),
        annals_wal::Lsn(floor.0),
        &mut |record: annals_wal::Record<'_>| {
            let lsn = Lsn(record.lsn.0);
            replay.record(lsn, record.kind, record.payload);
            let flushable = failed.is_none() && replay.report.unknown_kinds.is_empty();
            if replay.head_bytes > budget && flushable {
                failed = flush_all(opening, &mut replay, lsn).err();
                // The series' definitions stay in memory. Where they alone are over the budget, a flush at each record
                // would leave as many blocks.
                budget = options.head_bytes_max.max(replay.head_bytes + options.head_bytes_max / 4);
            }
        },
    );
    if let Some(error) = failed {
        return Err(OpenError::Recovery(error));
    }
    let (wal, report) = opened.map_err(OpenError::Log)?;
    if !replay.report.unknown_kinds.is_empty() {
        return Err(OpenError::UnknownKinds { kinds: replay.report.unknown_kinds.into_iter().collect() });
    }
    found.findings.extend(replay.report.findings());
    for tenant in replay.tenants.values_mut() {
        // Later records begin an epoch of their own: numbers of series that no sample uses are of no use, and no flush
        // would come to release them.
        tenant.heads.retain(|head| {
            let keep = !head.is_empty() || head.orphans > 0;
            replay.head_bytes -= if keep { 0 } else { head.bytes() };
            keep
        });
    }
    found.findings.extend(report.damage.iter().map(ToString::to_string));
    found.lost = lost_with(&report.damage, &replay.report, in_blocks);
    found.tail_bytes_discarded = report.tail_bytes_discarded;
    found.quarantined = report.quarantined;
    Ok((wal, replay))
}

/// The log's sizes that follow from a host's limit: a segment or a record is at most a part of the whole.
fn wal_options(options: &Options) -> annals_wal::Options {
    let defaults = annals_wal::Options::default();
    let part = (options.log_bytes_max / 8).clamp(64 << 10, defaults.segment_bytes_max);
    annals_wal::Options {
        log_bytes_max: options.log_bytes_max.max(8 * part),
        segment_bytes_max: part,
        record_bytes_max: part as u32,
        first_segment_bytes: defaults.first_segment_bytes.min(part),
        ..defaults
    }
}

/// What may be missing because of damage in the log. Which times it had is not known. Nobody misses records up to
/// `in_blocks`: every tenant has its data in blocks up to there. Where later records need the series that one of those
/// defined, they are named by the replay.
pub(crate) fn lost_with(
    damage: &[annals_wal::Damage],
    replayed: &ReplayReport,
    in_blocks: Lsn,
) -> Vec<Missing> {
    let needed = |damage: &&annals_wal::Damage| {
        let spent = damage.lsns.is_some_and(|lsns| lsns.last.0 <= in_blocks.0);
        damage.may_lose_records() && (!spent || damage.kind == annals_wal::DamageKind::SegmentMissing)
    };
    let damaged = damage.iter().filter(needed).map(ToString::to_string);
    damaged.chain(replayed.findings()).map(|why| Missing { range: TimeRange::ALL, why }).collect()
}

/// Whether the manifest that was read is the newest that the log knows of.
pub(crate) fn check_generation(
    layout: &Layout,
    number: TenantNumber,
    tenant: &ReplayTenant,
) -> Result<(), String> {
    let Some((newest, _)) = tenant.rolled_back else { return Ok(()) };
    let files = manifest_files(layout, number);
    Err(format!(
        "{} is missing: the log was written when it was there, and {} is older; restore it, nothing was changed",
        files.path(newest).display(),
        files.path(tenant.generation).display()
    ))
}

/// Makes blocks of what was replayed so far. The series' definitions stay needed: `replay_from` does not move.
pub(crate) fn flush_all(
    opening: &Opening<'_>,
    replay: &mut Replay<'_>,
    through: Lsn,
) -> Result<(), MaintenanceError> {
    let Opening { entropy, layout, root, options, now, .. } = *opening;
    let vfs = &**opening.vfs;
    for (&number, tenant) in &mut replay.tenants {
        if tenant.heads.iter().all(Head::is_empty) || tenant.rolled_back.is_some() {
            continue;
        }
        let number = tenant.number.unwrap_or(number);
        let id = tenant.manifest.id.clone();
        let heads: Vec<Arc<Head>> = std::mem::take(&mut tenant.heads).into_iter().map(Arc::new).collect();
        let remembered = tenant.remembered(now, through);
        let request = BuildRequest {
            tenant: number,
            keys: &tenant.keys,
            entropy,
            schema: &options.schema,
            lsns: flushed_range(&tenant.manifest, through),
            first_sequence: tenant.manifest.next_sequence,
            metrics_floor: tenant.manifest.build_floor(BlockContent::RawMetrics, now),
            signals_floor: tenant.manifest.build_floor(BlockContent::RawSignals, now),
        };
        let encoded = build_blocks(&heads, &request)
            .map_err(|what| MaintenanceError::Build { tenant: id.clone(), what })?;
        let io = |doing, error: PublishError| MaintenanceError::Io {
            doing,
            tenant: id.clone(),
            source: error.into_source(),
        };
        publish_blocks(vfs, layout, number, &encoded).map_err(|e| io("write the blocks", e))?;
        let remembered = remembered.seal(&tenant.keys, entropy).map_err(|source| MaintenanceError::Io {
            doing: "seal the manifest",
            tenant: id.clone(),
            source,
        })?;
        let manifest = Manifest {
            data_floor: through,
            // Ids are forgotten by the same clock: what they stand for must stay too late for good.
            sealed: tenant.manifest.sealed.max(tenant.manifest.plan.late_floor(now)),
            next_sequence: request.first_sequence + encoded.len() as u64,
            blocks: tenant.manifest.blocks.iter().copied().chain(encoded.iter().map(|b| b.meta)).collect(),
            remembered,
            ..tenant.manifest.clone().expire(now)
        };
        manifest_files(layout, number)
            .store(vfs, &layout.temporary, root, tenant.generation + 1, &manifest.encode())
            .map_err(|e| io("publish the manifest", e))?;
        tenant.generation += 1;
        tenant.manifest = manifest;
        // No one else holds them: readers come after recovery.
        tenant.heads = heads.into_iter().filter_map(Arc::into_inner).collect();
        for head in &mut tenant.heads {
            replay.head_bytes -= head.clear_data();
        }
    }
    Ok(())
}
