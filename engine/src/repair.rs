//! Repair: takes what is damaged out of service so that the rest can be relied on. It never deletes a byte of data.
//!
//! ```text
//!   half of a twin file       written afresh as the next generation; the damaged file goes to quarantine
//!   block, parts damaged      a new block of all that can be read takes its place; the damaged one goes to quarantine
//!   block, not usable         quarantine; the manifest forgets it
//!   block, missing            put back where it lies in quarantine or in another block's place; else the manifest
//!                             forgets it, and a record in quarantine says what is lost
//!   log                       damaged segments are copied to quarantine; the log is recovered, and its data put into
//!                             blocks, so that what is damaged is no longer part of it
//!   foreign file              quarantine
//!   keys, whole manifest, whole catalogue, newer format, a disk that refuses    left alone: nothing here is better
//! ```
//!
//! Why a block with damaged parts is rewritten instead of being set aside or left: setting it aside would lose all its
//! data for one bad chunk; leaving it would keep it out of every merge and every later verification red, so that the next
//! damage goes unseen. Until it is repaired it is served in part, and reads name what is missing; afterwards they do not:
//! repairing is to accept the loss, and the record in quarantine is what tells of it.
//!
//! Order, per tenant: publish new blocks (no manifest names them yet) - move damaged files to quarantine, each with its
//! record - commit the manifest. A crash in between leaves a manifest that names blocks which lie in quarantine: nothing
//! is removed, reads name what is missing, and another repair finds them there and goes on.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_block::{
    BlockError, BlockIdentity, EncodedBlock, MetricBlock, MetricBlockWriter, RollupBlock, RollupBlockWriter,
    SealWith, SignalBlock, SignalBlockWriter,
};
use annals_model::{
    BlockContent, BlockId, BlockMeta, Day, HistogramSamples, Lsn, Samples, SeriesSamples, TenantId,
    TenantNumber, TimeRange, Timestamp,
};
use annals_vfs::{Clock, Entropy, LockError, Sealed, Vfs};

use crate::catalog::Catalogue;
use crate::check_block::{AnyBlock, Checked, check_block};
use crate::error::OpenError;
use crate::file_keys::destroyed_keys;
use crate::files::read_whole;
use crate::flush::publish_blocks;
use crate::key_store::{KeyName, KeyStore};
use crate::keys::{self, BlockSeal, KeyHolder, TenantKeys, key_files};
use crate::layout::{Layout, block_file_name};
use crate::manifest::Manifest;
use crate::options::{Background, Options};
use crate::quarantine::{self, SetAside, quarantine_name};
use crate::recover::catalogue_files;
use crate::store::Annals;
use crate::tenant::manifest_files;
use crate::twin::{TwinContent, TwinFiles};
use crate::verify::{Finding, FindingKind, Verification, load_manifest, of_block, verify_with};

/// What a repair did, and what is left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Repair {
    /// What was done, in order.
    pub steps: Vec<RepairStep>,
    /// A verification after all that: its findings are what could not be repaired.
    pub after: Verification,
}

/// One thing that a repair did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepairStep {
    /// The file that was at fault.
    pub path: PathBuf,
    /// Whose data it held, where that is known.
    pub tenant: Option<TenantId>,
    /// What was done.
    pub did: String,
    /// Where the file lies now, where it was set aside.
    pub to: Option<PathBuf>,
    /// What is not served any more because of it.
    pub lost: String,
}

/// Repairs a store that no writer has open. Safe to repeat after a crash or an error at any step.
///
/// What is in the log is put into blocks where the log is damaged: `options` must have the host's schema.
pub fn repair(
    vfs: Arc<dyn Vfs>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    root: &Path,
    options: Options,
) -> Result<Repair, OpenError> {
    let before = verify_with(vfs.clone(), root, &options.encryption)?;
    if before.findings.is_empty() {
        return Ok(Repair { steps: Vec::new(), after: before });
    }
    let layout = Layout::new(root);
    let encryption = options.encryption.clone();
    let mut work = Work {
        key_store: encryption.key_store(&vfs, &layout),
        vfs: vfs.clone(),
        entropy: entropy.clone(),
        layout: layout.clone(),
        now: Timestamp(clock.now_ms()),
        steps: Vec::new(),
    };
    {
        let holder = format!("repair by process {} since {}", std::process::id(), work.now);
        let _lock = vfs.lock(&layout.lock, &holder).map_err(|error| match error {
            held @ LockError::Held { .. } => OpenError::AlreadyOpen(held),
            LockError::Io { path, source } => OpenError::Io { doing: "lock", path, source },
        })?;
        layout.create(&*vfs).map_err(OpenError::io("create", root))?;
        let loaded = catalogue_files(&layout).load(&*vfs).ok().flatten();
        let Some(twin) = loaded else { return Ok(Repair { steps: work.steps, after: before }) };
        let Some(catalogue) = Catalogue::decode(&twin.content) else {
            return Ok(Repair { steps: work.steps, after: before });
        };
        work.twin(&catalogue_files(&layout), &twin, None)?;
        let destroyed = destroyed_keys(&layout);
        if let Ok(Some(twin)) = destroyed.load(&*vfs) {
            work.twin(&destroyed, &twin, None)?;
        }
        let damaged: BTreeSet<&Path> = before.findings.iter().map(|finding| finding.path.as_path()).collect();
        let mut tenants = Vec::new();
        for (number, id) in &catalogue.tenants {
            tenants.extend(work.misplaced(twin.root, *number, id, &damaged)?);
        }
        for tenant in tenants {
            work.tenant(twin.root, tenant)?;
        }
        for finding in before.findings.iter().filter(|finding| finding.kind == FindingKind::Foreign) {
            work.set_aside(finding, None)?;
        }
        work.copy_segments(&before)?;
    }
    // Opening recovers the log, and takes the lock by itself.
    let of_log = |finding: &&Finding| finding.path.starts_with(&layout.wal) && repairable(finding.kind);
    if before.findings.iter().any(|finding| of_log(&finding)) {
        work.log(clock, entropy, options)?;
    }
    quarantine::record_unrecorded(&*vfs, &layout, work.now)
        .map_err(OpenError::io("write records into", &layout.quarantine))?;
    let after = verify_with(vfs, root, &encryption)?;
    Ok(Repair { steps: work.steps, after })
}

/// Whether there is anything better than the file as it is.
fn repairable(kind: FindingKind) -> bool {
    use FindingKind::{Foreign, Locked, Newer, Unreadable};
    !matches!(kind, Newer | Unreadable | Foreign | Locked)
}

struct Work {
    vfs: Arc<dyn Vfs>,
    entropy: Arc<dyn Entropy>,
    key_store: Option<Arc<dyn KeyStore>>,
    layout: Layout,
    now: Timestamp,
    steps: Vec<RepairStep>,
}

/// A tenant with damage, as far as it can be repaired.
struct Hurt {
    number: TenantNumber,
    id: TenantId,
    manifest: Manifest,
    twin: TwinContent,
    keys: TenantKeys,
    /// Blocks that are not whole.
    blocks: Vec<BlockMeta>,
}

impl Work {
    /// Writes a twin file with one damaged copy afresh, as the next generation, and sets the damaged one aside.
    fn twin(
        &mut self,
        files: &TwinFiles,
        twin: &TwinContent,
        tenant: Option<&TenantId>,
    ) -> Result<(), OpenError> {
        let Some(what) = &twin.half_damaged else { return Ok(()) };
        let generation = twin.generation.saturating_add(1);
        self.store_twin(files, twin.root, generation, &twin.content)?;
        let lost = "nothing: the other copy was whole";
        let finding = Finding::new(twin.path.clone(), FindingKind::Copy, what, lost);
        let to = self.rename(&finding, tenant, None)?;
        self.step(&finding, tenant, "written afresh; the damaged file was set aside", Some(to), lost);
        Ok(())
    }

    fn store_twin(
        &self,
        files: &TwinFiles,
        root: [u8; 16],
        generation: u64,
        content: &[u8],
    ) -> Result<(), OpenError> {
        files
            .store(&*self.vfs, &self.layout.temporary, root, generation, content)
            .map_err(|error| OpenError::io("write", &files.path(generation))(error.into_source()))
    }

    /// Moves a tenant's misplaced files out of the way, so that whole ones can be put back where they belong.
    fn misplaced(
        &mut self,
        root: [u8; 16],
        number: TenantNumber,
        id: &TenantId,
        damaged: &BTreeSet<&Path>,
    ) -> Result<Option<Hurt>, OpenError> {
        let Ok((manifest, twin)) = load_manifest(&*self.vfs, &manifest_files(&self.layout, number), root, id)
        else {
            return Ok(None);
        };
        let name = KeyName { store: root, tenant: number };
        if let Ok((_, twin)) = keys::load_file(&*self.vfs, &self.layout, name) {
            self.twin(&key_files(&self.layout, number), &twin, Some(id))?;
        }
        let holder = KeyHolder { name, store: self.key_store.as_deref() };
        // Without its keys, a block that cannot be read may be whole: nothing of the tenant is touched.
        let Ok(keys) = keys::load(&*self.vfs, &self.layout, holder) else { return Ok(None) };
        let path = |meta: &BlockMeta| self.layout.block(number, meta.id);
        let blocks: Vec<BlockMeta> =
            manifest.blocks.iter().filter(|meta| damaged.contains(path(meta).as_path())).copied().collect();
        for meta in &blocks {
            let path = self.layout.block(number, meta.id);
            for finding in of_block(&path, meta, &check_block(&*self.vfs, &path, number, meta, Some(&keys))) {
                if finding.kind == FindingKind::Misplaced {
                    // Whose it is shows where it is put back; until then it is nobody's.
                    self.rename(&finding, None, None)?;
                }
            }
        }
        Ok(Some(Hurt { number, id: id.clone(), manifest, twin, keys, blocks }))
    }

    /// Brings a tenant's manifest and blocks into agreement.
    fn tenant(&mut self, root: [u8; 16], hurt: Hurt) -> Result<(), OpenError> {
        let Hurt { number, id, manifest, twin, keys, blocks } = hurt;
        let files = manifest_files(&self.layout, number);
        let mut gone: BTreeSet<BlockId> = BTreeSet::new();
        let mut rewritten: Vec<EncodedBlock> = Vec::new();
        let mut aside: Vec<Finding> = Vec::new();
        let mut sequence = self.first_sequence(number, &manifest);
        for meta in &blocks {
            let place = self.layout.block(number, meta.id);
            let (source, checked) = match check_block(&*self.vfs, &place, number, meta, Some(&keys)) {
                Checked::Unusable(unusable) if unusable.kind == FindingKind::Missing => {
                    match self.in_quarantine(number, meta, &keys) {
                        Some((path, Checked::Whole)) => {
                            self.put_back(&path, &place, &id)?;
                            continue;
                        }
                        Some((path, checked)) => (path, checked),
                        None => (place.clone(), Checked::Unusable(unusable)),
                    }
                }
                checked => (place.clone(), checked),
            };
            let findings = of_block(&place, meta, &checked);
            let Some(first) = findings.first() else { continue };
            if !repairable(first.kind) {
                continue;
            }
            let finding = whole_of(first, &findings);
            let identity = BlockIdentity { tenant: number, id: BlockId { sequence, ..meta.id } };
            let kept = match &checked {
                // Rollups are made again of raw, where that is there.
                Checked::Parts(block, _)
                    if meta.id.content.window_ms().is_none() || !has_raw(&manifest, meta.id.day) =>
                {
                    let seal = keys.seal_block(meta.id.content, &*self.entropy);
                    let seal = seal.map_err(OpenError::io("draw a key for", &place))?;
                    salvage(block, identity, meta, seal.as_ref().map(BlockSeal::with)).ok().flatten()
                }
                _ => None,
            };
            let (did, lost) = match &kept {
                Some(block) => {
                    sequence = sequence.saturating_add(1);
                    let (kept, lost) = (block.meta.rows, meta.rows.saturating_sub(block.meta.rows));
                    let name = block_file_name(block.meta.id);
                    let did = format!("what can be read, {kept} of {} rows, is now block {name}", meta.rows);
                    let lost = if lost == 0 { "nothing".to_owned() } else { finding.lost.clone() };
                    (did, lost)
                }
                None => ("the manifest names it no more".to_owned(), finding.lost.clone()),
            };
            self.step(&Finding { path: source, ..finding.clone() }, Some(&id), &did, None, &lost);
            gone.insert(meta.id);
            aside.push(finding);
            rewritten.extend(kept);
        }
        if gone.is_empty() {
            return self.twin(&files, &twin, Some(&id));
        }
        publish_blocks(&*self.vfs, &self.layout, number, &rewritten)
            .map_err(|error| OpenError::io("write blocks into", &files.directory)(error.into_source()))?;
        for finding in &aside {
            let meta = manifest.blocks.iter().find(|meta| self.layout.block(number, meta.id) == finding.path);
            let due = meta.map(|meta| due(&manifest, meta));
            if self.vfs.open(&finding.path).is_ok() {
                let to = self.rename(finding, Some(&id), due)?;
                self.moved(finding, to);
            } else if !self.lies_in_quarantine(&finding.path) {
                let note = SetAside { finding, owner: Some(&id), now: self.now, due };
                let to = note
                    .note(&*self.vfs, &self.layout)
                    .map_err(OpenError::io("write a record into", &self.layout.quarantine))?;
                self.moved(finding, to);
            }
        }
        let blocks = manifest.blocks.iter().filter(|meta| !gone.contains(&meta.id)).copied();
        let blocks = blocks.chain(rewritten.iter().map(|block| block.meta)).collect();
        let manifest = Manifest { blocks, next_sequence: sequence.max(manifest.next_sequence), ..manifest };
        self.store_twin(&files, root, twin.generation.saturating_add(1), &manifest.encode())?;
        if twin.half_damaged.is_some() {
            let what = twin.half_damaged.as_deref().unwrap_or_default();
            let lost = "nothing: the other copy was whole";
            let finding = Finding::new(twin.path.clone(), FindingKind::Copy, what, lost);
            let to = self.rename(&finding, Some(&id), None)?;
            self.step(&finding, Some(&id), "written afresh; the damaged file was set aside", Some(to), lost);
        }
        Ok(())
    }

    /// A number that no block of the tenant has or had, whether or not its manifest names it.
    fn first_sequence(&self, number: TenantNumber, manifest: &Manifest) -> u64 {
        let mut next = manifest.next_sequence;
        for content in [BlockContent::RawMetrics, BlockContent::RawSignals] {
            for entry in self.vfs.list(&self.layout.blocks(number, content)).unwrap_or_default() {
                let digits = entry.name.strip_suffix(".blk").and_then(|stem| stem.rsplit('-').next());
                let used = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
                next = next.max(used.map_or(0, |used| used.saturating_add(1)));
            }
        }
        next
    }

    /// The best file in quarantine that is the block which a manifest names.
    fn in_quarantine(
        &self,
        number: TenantNumber,
        meta: &BlockMeta,
        keys: &TenantKeys,
    ) -> Option<(PathBuf, Checked)> {
        let wanted = BlockIdentity { tenant: number, id: meta.id };
        let mut best = None;
        for entry in self.vfs.list(&self.layout.quarantine).ok()? {
            let path = self.layout.quarantine.join(&entry.name);
            if !entry.name.contains(".blk") || entry.name.ends_with(".record") {
                continue;
            }
            if identity_of(&*self.vfs, &path).ok().flatten() != Some(wanted) {
                continue;
            }
            match check_block(&*self.vfs, &path, number, meta, Some(keys)) {
                Checked::Whole => return Some((path, Checked::Whole)),
                parts @ Checked::Parts(..) => best = Some((path, parts)),
                Checked::Unusable(_) => {}
            }
        }
        best
    }

    fn lies_in_quarantine(&self, path: &Path) -> bool {
        let name = quarantine_name(&self.layout, path);
        let entries = self.vfs.list(&self.layout.quarantine).unwrap_or_default();
        entries.iter().any(|entry| entry.name == name || entry.name == format!("{name}.record"))
    }

    /// Renames a whole block from the quarantine to its place. Its record goes: it tells of nothing any more.
    fn put_back(&mut self, from: &Path, place: &Path, id: &TenantId) -> Result<(), OpenError> {
        self.vfs.rename(from, place).map_err(OpenError::io("put back", place))?;
        for directory in [place.parent(), from.parent()].into_iter().flatten() {
            self.vfs.sync_dir(directory).map_err(OpenError::io("sync", directory))?;
        }
        let mut record = from.as_os_str().to_owned();
        record.push(".record");
        let _ = self.vfs.unlink(Path::new(&record));
        let finding = Finding::new(place.to_owned(), FindingKind::Misplaced, "", "nothing");
        self.step(&finding, Some(id), "the whole file lay elsewhere and was put back", None, "nothing");
        Ok(())
    }

    /// Copies damaged segments of the log, which its recovery and the next flush take out of it.
    fn copy_segments(&mut self, before: &Verification) -> Result<(), OpenError> {
        let mut copied = BTreeSet::new();
        for finding in &before.findings {
            let of_log = finding.path.starts_with(&self.layout.wal) && repairable(finding.kind);
            if !of_log || !copied.insert(finding.path.clone()) {
                continue;
            }
            let aside = SetAside { finding, owner: None, now: self.now, due: None };
            let failed = OpenError::io("copy to quarantine", &finding.path);
            let to = match read_whole(&*self.vfs, &finding.path) {
                Ok(bytes) => aside.copy(&*self.vfs, &self.layout, &bytes).map_err(failed)?,
                // A segment that is missing, or the log's directory: there is nothing to copy.
                Err(_) => aside.note(&*self.vfs, &self.layout).map_err(failed)?,
            };
            self.step(
                finding,
                None,
                "copied to quarantine before the log is recovered",
                Some(to),
                &finding.lost,
            );
        }
        Ok(())
    }

    /// Recovers the log and puts what it holds into blocks, so that its damaged part is needed no more.
    fn log(
        &mut self,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        options: Options,
    ) -> Result<(), OpenError> {
        let options = Options { background: Background::Steps, ..options };
        let store = Annals::open(self.vfs.clone(), clock, entropy, &self.layout.root, options)?;
        let mut idle = BTreeSet::new();
        for tenant in store.tenants() {
            if let Ok(tenant) = store.tenant(&tenant.id)
                && tenant.flush().map_err(OpenError::Recovery)?.is_empty()
            {
                idle.insert(tenant.id().clone());
            }
        }
        self.pass_over(&idle)?;
        let finding = Finding::new(self.layout.wal.clone(), FindingKind::Part, "", "nothing more");
        self.step(&finding, None, "recovered; its data is now in blocks", None, "nothing more");
        let path = self.layout.wal.clone();
        store.close().map_err(|error| OpenError::io("close", &path)(io::Error::other(error.to_string())))
    }

    /// Says in the manifests of tenants that have nothing in the log that none of its records are theirs: where one was,
    /// it is damaged, and would be looked for at each open.
    ///
    /// The store is open, so that nobody else writes, and closed next, before it could change a manifest itself.
    fn pass_over(&self, idle: &BTreeSet<TenantId>) -> Result<(), OpenError> {
        let files = catalogue_files(&self.layout);
        let Some(twin) = files.load(&*self.vfs).map_err(OpenError::Catalogue)? else { return Ok(()) };
        let Some(catalogue) = Catalogue::decode(&twin.content) else { return Ok(()) };
        let (after, tail) = (annals_wal::Lsn(0), annals_wal::Tail::AllValid);
        let read = annals_wal::read(&*self.vfs, &self.layout.wal, &twin.root, after, tail, &mut |_| {});
        let through = Lsn(read.map_err(OpenError::Log)?.through.0);
        for (number, id) in catalogue.tenants.iter().filter(|(_, id)| idle.contains(id)) {
            let files = manifest_files(&self.layout, *number);
            let Ok((manifest, twin)) = load_manifest(&*self.vfs, &files, twin.root, id) else { continue };
            if manifest.replay_from < through {
                let data_floor = through.max(manifest.data_floor);
                let manifest = Manifest { data_floor, replay_from: through, ..manifest };
                self.store_twin(&files, twin.root, twin.generation.saturating_add(1), &manifest.encode())?;
            }
        }
        Ok(())
    }

    fn set_aside(&mut self, finding: &Finding, tenant: Option<&TenantId>) -> Result<(), OpenError> {
        let to = self.rename(finding, tenant, None)?;
        self.step(finding, tenant, "set aside", Some(to), &finding.lost);
        Ok(())
    }

    fn rename(
        &self,
        finding: &Finding,
        owner: Option<&TenantId>,
        due: Option<Option<Timestamp>>,
    ) -> Result<PathBuf, OpenError> {
        let aside = SetAside { finding, owner, now: self.now, due };
        aside.rename(&*self.vfs, &self.layout).map_err(OpenError::io("move to quarantine", &finding.path))
    }

    fn step(
        &mut self,
        finding: &Finding,
        tenant: Option<&TenantId>,
        did: &str,
        to: Option<PathBuf>,
        lost: &str,
    ) {
        self.steps.push(RepairStep {
            path: finding.path.clone(),
            tenant: tenant.cloned(),
            did: did.to_owned(),
            to,
            lost: lost.to_owned(),
        });
    }

    /// Says of a step where its file went.
    fn moved(&mut self, finding: &Finding, to: PathBuf) {
        if let Some(step) = self.steps.iter_mut().rev().find(|step| step.path == finding.path) {
            step.to = Some(to);
        }
    }
}

/// One finding for a whole block, of all that was found in it.
fn whole_of(first: &Finding, all: &[Finding]) -> Finding {
    if all.len() == 1 {
        return first.clone();
    }
    let lost: Vec<&str> = all.iter().map(|finding| finding.lost.as_str()).collect();
    let what = format!("{} damaged places, the first of them: {first}", all.len());
    Finding { what, part: None, series: None, lost: lost.join("; "), ..first.clone() }
}

/// When a block's data is due; `None` where it never is.
fn due(manifest: &Manifest, meta: &BlockMeta) -> Option<Timestamp> {
    match meta.id.content {
        BlockContent::RawMetrics => manifest.plan.longest_keep().due(meta.id.day),
        content => manifest.plan.keep(content).and_then(|keep| keep.due(meta.id.day)),
    }
}

/// Which block a file says that it is; `None` where it is none. What the disk does not give is an error: it may be any.
pub(crate) fn identity_of(vfs: &dyn Vfs, path: &Path) -> io::Result<Option<BlockIdentity>> {
    // Opened under an identity that no block has: the refusal says which one it is.
    let nobody = BlockIdentity {
        tenant: TenantNumber(u32::MAX),
        id: BlockId { day: Day(i32::MAX), content: BlockContent::RawMetrics, sequence: u64::MAX },
    };
    match MetricBlock::open(vfs.open(path).and_then(Sealed::positioned)?, nobody, "") {
        Err(BlockError::WrongIdentity { found, .. }) => Ok(Some(found)),
        Err(BlockError::Io { what, .. }) => Err(io::Error::other(what)),
        _ => Ok(None),
    }
}

/// A block of all that can be read of a damaged one; `None` where that is nothing.
fn salvage(
    block: &AnyBlock,
    identity: BlockIdentity,
    meta: &BlockMeta,
    seal: Option<SealWith<'_>>,
) -> Result<Option<EncodedBlock>, String> {
    match block {
        AnyBlock::Metrics(block) => salvage_metrics(block, identity, meta, seal),
        AnyBlock::Rollups(block) => salvage_rollups(block, identity, meta, seal),
        AnyBlock::Signals(block) => salvage_signals(block, identity, meta, seal),
    }
}

fn salvage_metrics(
    block: &MetricBlock,
    identity: BlockIdentity,
    meta: &BlockMeta,
    seal: Option<SealWith<'_>>,
) -> Result<Option<EncodedBlock>, String> {
    let mut writer = MetricBlockWriter::new(identity, meta.lsns, meta.level, meta.age);
    if let Some(seal) = seal {
        writer = writer.seal_with(seal);
    }
    let mut numbers = Samples::default();
    let mut histograms = HistogramSamples::default();
    for ordinal in 0..block.series_count() {
        // A series whose labels or kind cannot be read cannot be told from others.
        let (Ok(labels), Ok(kind)) = (block.labels(ordinal), block.kind(ordinal)) else { continue };
        numbers.clear();
        histograms.clear();
        let samples = if kind.is_histogram() {
            block.read_histograms_lossy(ordinal, TimeRange::ALL, &mut histograms, &mut |_, _| ());
            SeriesSamples::Histograms(&histograms)
        } else {
            block.read_lossy(ordinal, TimeRange::ALL, &mut numbers, &mut |_, _| ());
            SeriesSamples::Numbers(&numbers.timestamps, &numbers.values, &numbers.start_times)
        };
        if !samples.is_empty() {
            writer.add(&labels, kind, samples).map_err(|error| error.to_string())?;
        }
    }
    writer.finish().map_err(|error| error.to_string())
}

fn salvage_rollups(
    block: &RollupBlock,
    identity: BlockIdentity,
    meta: &BlockMeta,
    seal: Option<SealWith<'_>>,
) -> Result<Option<EncodedBlock>, String> {
    let mut writer = RollupBlockWriter::new(identity, meta.lsns);
    if let Some(seal) = seal {
        writer = writer.seal_with(seal);
    }
    let (mut windows, mut histograms) = (Vec::new(), HistogramSamples::default());
    for ordinal in 0..block.series_count() {
        let (Ok(labels), Ok(kind)) = (block.labels(ordinal), block.kind(ordinal)) else { continue };
        if kind.is_histogram() {
            histograms.clear();
            block.read_histograms_lossy(ordinal, TimeRange::ALL, &mut histograms, &mut |_, _| ());
            if !histograms.timestamps.is_empty() {
                writer.add_histograms(&labels, kind, &histograms).map_err(|error| error.to_string())?;
            }
            continue;
        }
        windows.clear();
        block.read_lossy(ordinal, TimeRange::ALL, &mut windows, &mut |_, _| ());
        if !windows.is_empty() {
            writer.add_series(&labels, kind, &windows).map_err(|error| error.to_string())?;
        }
    }
    writer.finish().map_err(|error| error.to_string())
}

/// Whether a manifest names raw metrics of a day.
fn has_raw(manifest: &Manifest, day: Day) -> bool {
    manifest.blocks.iter().any(|block| (block.id.day, block.id.content) == (day, BlockContent::RawMetrics))
}

fn salvage_signals(
    block: &SignalBlock,
    identity: BlockIdentity,
    meta: &BlockMeta,
    seal: Option<SealWith<'_>>,
) -> Result<Option<EncodedBlock>, String> {
    let kinds = block.kinds().map_err(|error| error.to_string())?.to_vec();
    let mut writer = SignalBlockWriter::new(identity, meta.lsns, meta.level, kinds);
    if let Some(seal) = seal {
        writer = writer.seal_with(seal);
    }
    for row in block.scan(TimeRange::ALL, &[]).map_err(|error| error.to_string())?.flatten() {
        writer.add(&row).map_err(|error| error.to_string())?;
    }
    writer.finish().map_err(|error| error.to_string())
}
