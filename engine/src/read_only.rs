//! Opening a store to read it, beside a live writer or without one.
//!
//! Nothing is locked and nothing written, but what an operator reads is written down first. Manifests give the blocks; the log gives what is newer. Beside a live writer
//! only records that the log itself says are durable are read; where no writer lives, every whole record. Files that
//! vanish in between mean that the writer has moved on: the manifests are read again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use annals_model::schema::SignalSchema;
use annals_model::{Lsn, Missing, SiteName, TenantId, TenantNumber, TimeRange, Timestamp};
use annals_vfs::sync::atomic::{AtomicU64, Ordering};
use annals_vfs::{Clock, Vfs};
use annals_wal::Tail;
use zeroize::Zeroizing;

use crate::audit::{AuditLog, Operator};
use crate::error::{OpenError, TenantError};
use crate::export::{ExportReader, Moment};
use crate::keys::{TenantKeys, key_files};
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::metrics::{Metrics, TenantMetrics, quarantined};
use crate::open_block::OpenBlock;
use crate::operator::OperatorReader;
use crate::options::{Encryption, Options};
use crate::quarantine;
use crate::reader::{ReportReader, TenantReader};
use crate::recover::{self, Loaded, LoadedManifest};
use crate::replay::{Replay, ReplayTenant};
use crate::retention::Retention;
use crate::rotation::{self, KeyUse};
use crate::shelf::Shelf;
use crate::summary::TenantSummary;
use crate::tenant::manifest_files;
use crate::tiers::Tiers;
use crate::twin::TwinFiles;
use crate::verify_log::end_missing;
use crate::view::View;

/// How often a moving store is looked at again before what is missing is taken for missing.
const ATTEMPTS_MAX: usize = 5;
/// What is kept in memory of the indexes of blocks: those of two months of a thousand sites, whose reports read all of them
/// again and again.
const INDEX_BYTES_MAX: usize = 1 << 30;

/// A store as it was when it was opened for reading.
pub struct ReadOnly {
    vfs: Arc<dyn Vfs>,
    layout: Layout,
    clock: Arc<dyn Clock>,
    /// When that was.
    opened: Timestamp,
    schema: Arc<SignalSchema>,
    tenants: BTreeMap<TenantId, Opened>,
    findings: Vec<String>,
    audit: Arc<AuditLog>,
}

struct Opened {
    /// Of its manifest.
    generation: u64,
    summary: TenantSummary,
    retention: Option<Retention>,
    view: Result<View, String>,
    erasable: Option<Arc<Erasable>>,
    keys: Option<Arc<TenantKeys>>,
}

/// Looks, at each query of a snapshot, whether its tenant was erased meanwhile.
pub(crate) struct Erasable {
    vfs: Arc<dyn Vfs>,
    files: TwinFiles,
    /// The newest generation that was looked at.
    generation: AtomicU64,
}

impl Erasable {
    /// What may be shown of a snapshot.
    pub(crate) fn see(&self, view: &View) -> View {
        if !self.is_erased() {
            return view.clone();
        }
        let why = "the tenant was erased".to_owned();
        View { missing: vec![Missing { range: TimeRange::ALL, why }], ..View::default() }
    }

    pub(crate) fn is_erased(&self) -> bool {
        let newest = match self.files.generations(&*self.vfs) {
            Ok(generations) => generations.last().copied(),
            Err(error) if error.is_missing() => None,
            // What cannot be looked at now was not erased when it was last looked at.
            Err(_) => return false,
        };
        if newest == Some(self.generation.load(Ordering::Relaxed)) {
            return false;
        }
        let Some(newest) = newest else { return true };
        let manifest = self.files.load(&*self.vfs).ok().flatten();
        match manifest.and_then(|twin| Manifest::decode(&twin.content)) {
            Some(manifest) if manifest.life.erased().is_some() => true,
            Some(_) => {
                self.generation.store(newest, Ordering::Relaxed);
                false
            }
            None => false,
        }
    }
}

impl ReadOnly {
    /// Opens a store for reading, with the built-in signal kinds and the keys that lie under the root.
    pub fn open(vfs: Arc<dyn Vfs>, clock: Arc<dyn Clock>, root: &Path) -> Result<ReadOnly, OpenError> {
        ReadOnly::open_with(vfs, clock, root, &annals_signals::builtin(), &Encryption::Files)
    }

    /// Opens a store for reading whose host has signal kinds or a key store of its own.
    pub fn open_with(
        vfs: Arc<dyn Vfs>,
        clock: Arc<dyn Clock>,
        root: &Path,
        schema: &SignalSchema,
        encryption: &Encryption,
    ) -> Result<ReadOnly, OpenError> {
        let layout = Layout::new(root);
        let key_store = encryption.key_store(&vfs, &layout);
        for attempt in 1.. {
            let last = attempt == ATTEMPTS_MAX;
            let loaded = match recover::load(&*vfs, &layout, key_store.as_deref()) {
                Ok(Some(loaded)) => loaded,
                Ok(None) => return Err(OpenError::NoStore { root: root.to_owned() }),
                Err(_) if !layout.exists(&*vfs) => {
                    return Err(OpenError::NoStore { root: root.to_owned() });
                }
                // A generation that was listed and then replaced.
                Err(_) if !last => continue,
                Err(error) => return Err(error),
            };
            // A generation may go between its listing and its reading: damage is what is still there at the end.
            if !last && loaded.tenants.iter().any(|(_, _, manifest)| manifest.is_err()) {
                continue;
            }
            if let Some(opened) = snapshot(&vfs, &clock, &layout, loaded, schema, last)? {
                return Ok(opened);
            }
        }
        Err(OpenError::NoStore { root: root.to_owned() })
    }

    /// All tenants, by id.
    #[must_use]
    pub fn tenants(&self) -> Vec<TenantSummary> {
        self.tenants.values().map(|tenant| tenant.summary.clone()).collect()
    }

    /// What becomes of each of a tenant's blocks, and what another plan would change.
    pub fn retention(&self, id: &TenantId) -> Result<&Retention, TenantError> {
        let opened = self.tenants.get(id).ok_or_else(|| TenantError::Unknown(id.clone()))?;
        opened.retention.as_ref().ok_or_else(|| TenantError::Unavailable {
            tenant: id.clone(),
            why: opened.view.as_ref().err().cloned().unwrap_or_default(),
        })
    }

    /// A tenant's keys, those that are gone included, and what is sealed with each. Reads the header of each block once.
    pub fn keys(&self, id: &TenantId) -> Result<Vec<KeyUse>, TenantError> {
        let opened = self.tenants.get(id).ok_or_else(|| TenantError::Unknown(id.clone()))?;
        match (&opened.view, &opened.keys) {
            (Ok(view), Some(keys)) => Ok(rotation::uses(&keys.known().file, view.blocks.iter())),
            (view, _) => Err(TenantError::Unavailable {
                tenant: id.clone(),
                why: view.as_ref().err().cloned().unwrap_or_default(),
            }),
        }
    }

    /// What is wrong and was worked around, one sentence each.
    #[must_use]
    pub fn findings(&self) -> &[String] {
        &self.findings
    }

    /// Reads the tenant's metrics and raw signals.
    pub fn tenant(&self, id: &TenantId) -> Result<TenantReader, TenantError> {
        let opened = self.tenants.get(id).ok_or_else(|| TenantError::Unknown(id.clone()))?;
        match &opened.view {
            Ok(view) => {
                let (clock, schema) = (self.clock.clone(), self.schema.clone());
                let erasable = opened.erasable.clone().ok_or_else(|| TenantError::Unknown(id.clone()))?;
                Ok(TenantReader::snapshot(clock, schema, id.clone(), view.clone(), erasable))
            }
            Err(why) => Err(TenantError::Unavailable { tenant: id.clone(), why: why.clone() }),
        }
    }

    /// [`Tenant::site_secret`].
    ///
    /// [`Tenant::site_secret`]: crate::Tenant::site_secret
    pub fn site_secret(
        &self,
        id: &TenantId,
        site: &SiteName,
        key: &[u8; 16],
    ) -> Result<Zeroizing<[u8; 32]>, TenantError> {
        let opened = self.tenants.get(id).ok_or_else(|| TenantError::Unknown(id.clone()))?;
        let unavailable = || TenantError::Unavailable {
            tenant: id.clone(),
            why: opened.view.as_ref().err().cloned().unwrap_or_default(),
        };
        Ok(opened.keys.as_ref().ok_or_else(unavailable)?.site_secret(site, key))
    }

    /// What the store holds, in numbers; what its writer does is known to the writer alone.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let opened =
            || self.tenants.iter().filter_map(|(id, opened)| Some((id, opened, opened.view.as_ref().ok()?)));
        let tenants = opened().filter_map(|(id, opened, view)| {
            let heads = view.heads.iter().map(|head| &**head);
            let metrics = TenantMetrics::of(id.clone(), opened.retention.as_ref()?, heads, 0);
            Some(metrics.with_keys(opened.keys.as_ref()?, &view.blocks, self.opened))
        });
        let tenants: Vec<TenantMetrics> = tenants.collect();
        let (vfs, layout) = (&*self.vfs, &self.layout);
        let segments = vfs.list(&layout.wal).unwrap_or_default();
        let length = |name: &str| vfs.open(&layout.wal.join(name)).and_then(|file| file.len()).unwrap_or(0);
        let (quarantine_files, quarantine_bytes) = quarantined(&quarantine::list(vfs, layout));
        Metrics {
            at: self.opened,
            activity: None,
            tenants_unavailable: (self.tenants.len() - tenants.len()) as u64,
            tenants,
            log_segments: segments.len() as u64,
            log_file_bytes: segments.iter().map(|entry| length(&entry.name)).sum(),
            quarantine_files,
            quarantine_bytes,
            troubles: self.findings.len() as u64,
        }
    }

    /// Takes all of a tenant out, where its plan has the right `export`.
    pub fn export(&self, id: &TenantId) -> Result<ExportReader, TenantError> {
        let reader = self.tenant(id)?;
        let unknown = || TenantError::Unknown(id.clone());
        let opened = self.tenants.get(id).ok_or_else(unknown)?;
        let (Ok(view), Some(erasable)) = (&opened.view, &opened.erasable) else { return Err(unknown()) };
        let summary = &opened.summary;
        let plan = summary.plan.clone().ok_or_else(unknown)?;
        let moment = Moment {
            at: self.opened,
            generation: opened.generation,
            head_samples: summary.head_samples,
            head_signals: summary.head_signals,
        };
        ExportReader::new(reader, view.clone(), erasable.clone(), plan, moment)
    }

    /// Reads reports only.
    pub fn report_reader(&self, id: &TenantId) -> Result<ReportReader, TenantError> {
        self.tenant(id).map(ReportReader::new)
    }

    /// Reads as somebody who is not the tenant: each call is written into the store's audit log before it reads, the one
    /// thing that a store that was opened for reading writes.
    pub fn operator_reader(&self, id: &TenantId, operator: Operator) -> Result<OperatorReader, TenantError> {
        Ok(OperatorReader::new(self.tenant(id)?, operator, self.audit.clone()))
    }
}

impl std::fmt::Debug for ReadOnly {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ReadOnly({} tenants)", self.tenants.len())
    }
}

/// One look at the store; `None` where it moved meanwhile and another look may see it whole.
fn snapshot(
    vfs: &Arc<dyn Vfs>,
    clock: &Arc<dyn Clock>,
    layout: &Layout,
    loaded: Loaded,
    schema: &SignalSchema,
    last: bool,
) -> Result<Option<ReadOnly>, OpenError> {
    let mut findings = loaded.findings;
    let mut replay = Replay::new(schema);
    let mut ids: Vec<(TenantNumber, TenantId, Option<String>)> = Vec::new();
    for (number, id, manifest) in loaded.tenants {
        match manifest {
            Ok(loaded) => {
                let LoadedManifest { manifest, remembered, keys, generation, .. } = loaded;
                replay.tenants.insert(number, ReplayTenant::new(manifest, &remembered, generation, keys));
                ids.push((number, id, None));
            }
            Err(unusable) => ids.push((number, id, Some(unusable.why))),
        }
    }
    // Blocks before the log: what a flush moves from the log into blocks meanwhile is seen in the log still, or the
    // manifest is seen to have moved.
    let mut views: BTreeMap<TenantNumber, View> = BTreeMap::new();
    let now = Timestamp(clock.now_ms());
    let options = Options { index_bytes_max: INDEX_BYTES_MAX, ..Options::default() };
    let shelf = Shelf::new(vfs.clone(), layout.clone(), &options);
    for (&number, tenant) in &replay.tenants {
        let blocks: Vec<Arc<OpenBlock>> = tenant
            .manifest
            .blocks
            .iter()
            .map(|&meta| OpenBlock::new(&shelf, number, &tenant.keys, meta))
            .collect();
        // Mapped now, so that a writer may remove them.
        if !last && blocks.iter().any(|block| block.map().is_err()) && moved(vfs, layout, number, tenant) {
            return Ok(None);
        }
        views.insert(
            number,
            View {
                blocks,
                signals_floor: tenant.manifest.floor(annals_model::BlockContent::RawSignals, now),
                ..View::default()
            },
        );
    }
    let Log { mut lost, interrupted } = read_log(vfs, layout, loaded.root, &mut replay, &mut findings)?;
    let moved = || replay.tenants.iter().any(|(&number, tenant)| moved(vfs, layout, number, tenant));
    let moving = interrupted || moved();
    if moving {
        if !last {
            return Ok(None);
        }
        // Some of it may be in blocks that only a newer manifest names.
        let why = "the store was changed faster than it could be read; open it again".to_owned();
        findings.push(why.clone());
        lost.push(Missing { range: TimeRange::ALL, why });
    }
    let mut tenants = BTreeMap::new();
    for (number, id, mut unavailable) in ids {
        if !moving && let Some(tenant) = replay.tenants.get(&number) {
            unavailable = unavailable.or(recover::check_generation(layout, number, tenant).err());
        }
        let opened = match (replay.tenants.remove(&number), views.remove(&number), unavailable) {
            (Some(tenant), Some(mut view), None) => {
                let summary = TenantSummary::of(&tenant.manifest, tenant.heads.iter(), number, now);
                let retention = Some(Retention::of(&tenant.manifest, tenant.heads.iter(), now));
                view.tiers = Tiers::new(&tenant.manifest, tenant.heads.iter(), now);
                view.heads = tenant.heads.into_iter().map(Arc::new).collect();
                view.missing.extend(lost.iter().cloned());
                let (files, generation) = (manifest_files(layout, number), tenant.generation);
                let erasable = Erasable { vfs: vfs.clone(), files, generation: AtomicU64::new(generation) };
                let (erasable, keys) = (Some(Arc::new(erasable)), Some(tenant.keys));
                Opened { generation, summary, retention, view: Ok(view), erasable, keys }
            }
            (_, _, why) => {
                let why = why.unwrap_or_default();
                let summary = TenantSummary::unavailable(id.clone(), why.clone());
                let view = Err(why);
                Opened { generation: 0, summary, retention: None, view, erasable: None, keys: None }
            }
        };
        tenants.insert(id, opened);
    }
    let audit = Arc::new(AuditLog::new(vfs.clone(), clock.clone(), layout.audit.clone()));
    Ok(Some(ReadOnly {
        vfs: vfs.clone(),
        layout: layout.clone(),
        clock: clock.clone(),
        opened: now,
        schema: Arc::new(schema.clone()),
        tenants,
        findings,
        audit,
    }))
}

/// Whether a tenant has a newer manifest, or newer keys, than those that were read.
fn moved(vfs: &Arc<dyn Vfs>, layout: &Layout, number: TenantNumber, tenant: &ReplayTenant) -> bool {
    let newest = manifest_files(layout, number).generations(&**vfs);
    match newest {
        Ok(generations) if generations.last() == Some(&tenant.generation) => {
            // What was written since with new keys would be taken for unreadable.
            let keys = key_files(layout, number).generations(&**vfs);
            keys.is_ok_and(|generations| generations.last() != Some(&tenant.keys.generation()))
        }
        Ok(_) => true,
        // The directory of an erased tenant goes.
        Err(error) => error.is_missing(),
    }
}

/// What a look at the log gave, beside its records.
struct Log {
    lost: Vec<Missing>,
    /// Segments went while they were read.
    interrupted: bool,
}

/// Replays the log.
fn read_log(
    vfs: &Arc<dyn Vfs>,
    layout: &Layout,
    root: [u8; 16],
    replay: &mut Replay<'_>,
    findings: &mut Vec<String>,
) -> Result<Log, OpenError> {
    let live = vfs.is_locked(&layout.lock).map_err(OpenError::io("look at", &layout.lock))?;
    let tail = if live { Tail::KnownDurable } else { Tail::AllValid };
    let (after, in_blocks) = (annals_wal::Lsn(replay.start().0), replay.in_blocks());
    let report =
        annals_wal::read(&**vfs, &layout.wal, &root, after, tail, &mut |record: annals_wal::Record<'_>| {
            replay.record(Lsn(record.lsn.0), record.kind, record.payload);
        })
        .map_err(OpenError::Log)?;
    let mut lost = recover::lost_with(&report.damage, &replay.report, in_blocks);
    findings.extend(report.damage.iter().map(ToString::to_string));
    let highest = replay.tenants.values().map(|tenant| tenant.manifest.replay_from).max().unwrap_or_default();
    if let Some((what, of_it)) = end_missing(&report, live, highest) {
        let why = format!("{}: {what}; lost: {of_it}", layout.wal.display());
        findings.push(why.clone());
        lost.push(Missing { range: TimeRange::ALL, why });
    }
    findings.extend(replay.report.findings());
    Ok(Log { lost, interrupted: report.interrupted })
}
