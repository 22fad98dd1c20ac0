//! Verify: reads every byte of a store and says what is wrong with it. Changes nothing; a writer may live beside it.
//!
//! A *finding* is damage: a file that is not what was written, is missing, lies in another's place, or is none of this
//! store's. Each damaged place is one finding, with what is lost by it. A *note* is worth knowing and is no damage: what
//! a crash leaves, and what lies in quarantine.
//!
//! Beside a writer files come and go. A tenant whose findings might come of that is looked at again, until its manifest
//! stays the same from the first look to the last.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_block::Damage;
use annals_model::{BlockContent, BlockMeta, TenantId, TenantNumber, TimeRange};
use annals_vfs::{DirEntryKind, Vfs};

use crate::catalog::Catalogue;
use crate::check_block::{Checked, check_block};
use crate::error::OpenError;
use crate::file_keys::{SIGNER_FILE, destroyed_keys, key_file_name, key_file_owner, keys_in};
use crate::files::read_whole;
use crate::key_file::KeyClass;
use crate::key_store::{KeyName, KeyStoreError};
use crate::keys::{self, KeyError, KeyHolder, TenantKeys, key_files};
use crate::layout::{Layout, block_file_name};
use crate::manifest::Manifest;
use crate::options::Encryption;
use crate::quarantine::{self, Quarantined};
use crate::receipt::Receipt;
use crate::recover::catalogue_files;
use crate::tenant::manifest_files;
use crate::twin::{TwinContent, TwinError, TwinFiles};
use crate::verify_log::verify_log;

/// How often a tenant that changes while it is read is looked at before what is missing is taken for missing.
const LOOKS_MAX: usize = 5;

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// What is wrong; empty where all is well.
    pub findings: Vec<Finding>,
    /// What is worth knowing and is no damage.
    pub notes: Vec<Note>,
    /// What was set aside earlier, by a repair or by a recovery.
    pub quarantined: Vec<Quarantined>,
    /// Files looked at.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// What kind of wrong.
    pub kind: FindingKind,
    /// Whose data it holds, where that is known.
    pub tenant: Option<TenantId>,
    /// The damaged part of the file: a section and chunk, or an offset.
    pub part: Option<String>,
    /// Which series lose samples: one by its number in the block and a digest of its labels, several by their count.
    pub series: Option<String>,
    /// The times of which something cannot be served.
    pub range: Option<TimeRange>,
    /// What is wrong.
    pub what: String,
    /// What cannot be served because of it.
    pub lost: String,
}

/// What kind of wrong a finding is: what a repair does with it depends on that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingKind {
    /// The bytes are not those that were written; nothing of the file can be used.
    Damaged,
    /// A part of the file is damaged; the rest is served.
    Part,
    /// One of two copies is damaged; the other is used.
    Copy,
    /// The file is not there.
    Missing,
    /// The file is whole, and another belongs here.
    Misplaced,
    /// None of this store's files.
    Foreign,
    /// A newer engine wrote it.
    Newer,
    /// The disk refused to read it; a later try may succeed.
    Unreadable,
    /// The keys at hand do not open it: nothing is known to be damaged.
    Locked,
}

impl FindingKind {
    /// One word for it, in lists and records.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            FindingKind::Damaged => "damaged",
            FindingKind::Part => "part",
            FindingKind::Copy => "copy",
            FindingKind::Missing => "missing",
            FindingKind::Misplaced => "misplaced",
            FindingKind::Foreign => "foreign",
            FindingKind::Newer => "newer",
            FindingKind::Unreadable => "unreadable",
            FindingKind::Locked => "locked",
        }
    }
}

/// Something that is worth knowing and is no damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The file.
    pub path: PathBuf,
    /// What there is to know.
    pub what: String,
}

/// Reads every catalogue, manifest, key file, block and log segment of a store, with the keys that lie under the root.
pub fn verify(vfs: Arc<dyn Vfs>, root: &Path) -> Result<Verification, OpenError> {
    verify_with(vfs, root, &Encryption::Files)
}

/// The same with the host's key store. With none, what is sealed is not opened: its bytes are compared with their checks,
/// so that rot is found in a copy of the data that has no keys.
pub fn verify_with(
    vfs: Arc<dyn Vfs>,
    root: &Path,
    encryption: &Encryption,
) -> Result<Verification, OpenError> {
    let layout = Layout::new(root);
    let key_store = encryption.key_store(&vfs, &layout);
    let vfs = &*vfs;
    let mut found = Verification::default();
    let Some((catalogue, id)) = verify_catalogue(vfs, &layout, &mut found)? else { return Ok(found) };
    let live = vfs.is_locked(&layout.lock).unwrap_or(false);
    let mut floors = Vec::new();
    for (number, tenant) in &catalogue.tenants {
        let holder = KeyHolder { name: KeyName { store: id, tenant: *number }, store: key_store.as_deref() };
        let files = matches!(encryption, Encryption::Files);
        // Its keys are gone, its blocks go, and it needs nothing of the log.
        if let Ok((manifest, twin)) = load_manifest(vfs, &manifest_files(&layout, *number), id, tenant)
            && manifest.life.erased().is_some()
        {
            found.count(vfs, &twin.path);
            report_half(&twin, None, &mut found);
            continue;
        }
        let keys = verify_keys(vfs, &layout, holder, files, tenant, &mut found);
        let looked = verify_tenant(vfs, &layout, holder, tenant, keys);
        found.take(looked.found);
        floors.push(looked.floor);
    }
    verify_log(vfs, &layout, id, live, &floors, &mut found);
    verify_erased(vfs, &layout, &catalogue, &mut found);
    verify_others(vfs, &layout, &catalogue, live, &mut found);
    found.quarantined = quarantine::list(vfs, &layout);
    Ok(found)
}

/// The catalogue and the store's id; `None` where it cannot be used, which is then a finding.
fn verify_catalogue(
    vfs: &dyn Vfs,
    layout: &Layout,
    found: &mut Verification,
) -> Result<Option<(Catalogue, [u8; 16])>, OpenError> {
    let files = catalogue_files(layout);
    let lost = "every tenant, until this is repaired";
    let twin = match load_settled(vfs, &files) {
        Ok(Some(twin)) => twin,
        Ok(None) => {
            let has_data = [&layout.tenants, &layout.keys, &layout.wal]
                .into_iter()
                .any(|directory| vfs.list(directory).is_ok_and(|entries| !entries.is_empty()));
            if !has_data {
                return Err(OpenError::NoStore { root: layout.root.clone() });
            }
            let what = "there is no catalogue beside the data";
            found.report(Finding::new(layout.root.clone(), FindingKind::Missing, what, lost));
            return Ok(None);
        }
        Err(_) if !layout.exists(vfs) => return Err(OpenError::NoStore { root: layout.root.clone() }),
        Err(error) => {
            found.report(of_twin_error(&error, lost));
            return Ok(None);
        }
    };
    found.count(vfs, &twin.path);
    report_half(&twin, None, found);
    match Catalogue::decode(&twin.content) {
        Some(catalogue) => Ok(Some((catalogue, twin.root))),
        None => {
            found.report(Finding::new(twin.path, FindingKind::Damaged, "it does not decode", lost));
            Ok(None)
        }
    }
}

/// What one look at a tenant gave.
struct Looked {
    found: Verification,
    /// Records up to this one are not read for it any more; `None` where its manifest cannot be used.
    floor: Option<annals_model::Lsn>,
}

fn verify_tenant(
    vfs: &dyn Vfs,
    layout: &Layout,
    holder: KeyHolder<'_>,
    id: &TenantId,
    mut keys: Option<TenantKeys>,
) -> Looked {
    let KeyName { store: root, tenant: number } = holder.name;
    let files = manifest_files(layout, number);
    let newest = |files: &TwinFiles| files.generations(vfs).ok().and_then(|all| all.last().copied());
    for look in 1.. {
        let (looked, generation) = look_at_tenant(vfs, layout, &files, root, number, id, keys.as_ref());
        if look == LOOKS_MAX || looked.found.findings.is_empty() {
            return looked;
        }
        let other_keys =
            keys.as_ref().is_some_and(|keys| newest(&key_files(layout, number)) != Some(keys.generation()));
        if other_keys {
            keys = keys::load(vfs, layout, holder).ok().or(keys);
        } else if newest(&files) == generation {
            return looked;
        }
    }
    Looked { found: Verification::default(), floor: None }
}

fn look_at_tenant(
    vfs: &dyn Vfs,
    layout: &Layout,
    files: &TwinFiles,
    root: [u8; 16],
    number: TenantNumber,
    id: &TenantId,
    keys: Option<&TenantKeys>,
) -> (Looked, Option<u64>) {
    let mut found = Verification::default();
    let (manifest, generation) = match load_manifest(vfs, files, root, id) {
        Ok((manifest, twin)) => {
            found.count(vfs, &twin.path);
            report_half(&twin, Some(id), &mut found);
            if keys.is_some_and(|keys| manifest.remembered.open(keys).is_none()) {
                let what = "it is not what was sealed with the tenant's keys; restore it from a backup";
                let lost = "the whole tenant, until this is repaired";
                let finding = Finding::new(twin.path.clone(), FindingKind::Damaged, what, lost);
                found.report(Finding { tenant: Some(id.clone()), ..finding });
            }
            (Some(manifest), Some(twin.generation))
        }
        Err(finding) => {
            let generation = files.generations(vfs).ok().and_then(|all| all.last().copied());
            found.report(*finding);
            (None, generation)
        }
    };
    for meta in manifest.iter().flat_map(|manifest| &manifest.blocks) {
        found.files += 1;
        found.bytes += meta.bytes;
        let path = layout.block(number, meta.id);
        for finding in of_block(&path, meta, &check_block(vfs, &path, number, meta, keys)) {
            found.report(Finding { tenant: Some(id.clone()), ..finding });
        }
    }
    for content in [BlockContent::RawMetrics, BlockContent::RawSignals] {
        verify_directory(vfs, &layout.blocks(number, content), manifest.as_ref(), id, &mut found);
    }
    let floor = manifest.map(|manifest| manifest.replay_from);
    (Looked { found, floor }, generation)
}

/// The manifest of a tenant, with the file that it was read from.
pub(crate) fn load_manifest(
    vfs: &dyn Vfs,
    files: &TwinFiles,
    root: [u8; 16],
    id: &TenantId,
) -> Result<(Manifest, TwinContent), Box<Finding>> {
    let lost = "the whole tenant, until this is repaired";
    let bad = |path: &Path, kind, what: &str| {
        let finding = Finding::new(path.to_owned(), kind, what, lost);
        Box::new(Finding { tenant: Some(id.clone()), ..finding })
    };
    let twin = match load_settled(vfs, files) {
        Ok(Some(twin)) => twin,
        Ok(None) => return Err(bad(&files.directory, FindingKind::Missing, "there is no manifest")),
        Err(error) => {
            return Err(Box::new(Finding { tenant: Some(id.clone()), ..of_twin_error(&error, lost) }));
        }
    };
    if twin.root != root {
        return Err(bad(&twin.path, FindingKind::Misplaced, "it belongs to another store"));
    }
    match Manifest::decode(&twin.content) {
        None => Err(bad(&twin.path, FindingKind::Damaged, "it does not decode")),
        Some(manifest) if manifest.id != *id => {
            Err(bad(&twin.path, FindingKind::Misplaced, "it names another tenant"))
        }
        Some(manifest) => Ok((manifest, twin)),
    }
}

/// The newest generation. A writer may remove what was listed before it is read: then there is a newer one.
fn load_settled(vfs: &dyn Vfs, files: &TwinFiles) -> Result<Option<TwinContent>, TwinError> {
    let mut loaded = files.load(vfs);
    for _ in 1..LOOKS_MAX {
        match &loaded {
            Err(TwinError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                loaded = files.load(vfs);
            }
            _ => break,
        }
    }
    loaded
}

fn of_twin_error(error: &TwinError, lost: &str) -> Finding {
    let (path, kind, what) = match error {
        TwinError::Corrupt { path, what } => (
            path,
            FindingKind::Damaged,
            format!("both copies are damaged ({what}); restore it from a backup"),
        ),
        TwinError::VersionTooNew { path, found } => {
            let what = format!("format version {found} is newer than this build reads; use a newer build");
            (path, FindingKind::Newer, what)
        }
        TwinError::Io { path, source } if source.kind() == ErrorKind::NotFound => {
            (path, FindingKind::Missing, "it is not there".to_owned())
        }
        TwinError::Io { path, source } => {
            (path, FindingKind::Unreadable, format!("it cannot be read: {source}"))
        }
        TwinError::Missing { path } => {
            (path, FindingKind::Missing, "there is no catalogue beside the data".to_owned())
        }
    };
    Finding::new(path.clone(), kind, &what, lost)
}

fn report_half(twin: &TwinContent, tenant: Option<&TenantId>, found: &mut Verification) {
    if let Some(what) = &twin.half_damaged {
        let finding =
            Finding::new(twin.path.clone(), FindingKind::Copy, what, "nothing: the other copy is whole");
        found.report(Finding { tenant: tenant.cloned(), ..finding });
    }
}

/// What a check of a block says, one finding for each damaged place.
pub(crate) fn of_block(path: &Path, meta: &BlockMeta, checked: &Checked) -> Vec<Finding> {
    match checked {
        Checked::Whole => Vec::new(),
        Checked::Unusable(unusable) => {
            let finding =
                Finding::new(path.to_owned(), unusable.kind, &unusable.what, &rows(meta, meta.rows));
            vec![Finding { range: Some(meta.time), ..finding }]
        }
        Checked::Parts(_, damage) => damage.iter().map(|damage| of_part(path, meta, damage)).collect(),
    }
}

fn of_part(path: &Path, meta: &BlockMeta, damage: &Damage) -> Finding {
    let part = match damage.chunk {
        Some(chunk) => format!("{} {chunk}", damage.section),
        None => damage.section.to_owned(),
    };
    let series = match (damage.series, damage.labels, damage.series_count) {
        (None, ..) => None,
        (Some(number), Some(labels), 0 | 1) => Some(format!("{number} (labels {labels:08x})")),
        (Some(number), None, 0 | 1) => Some(number.to_string()),
        (Some(_), _, count) => Some(format!("{count} series")),
    };
    let lost = match (damage.range, damage.rows) {
        (None, _) => "nothing: every part of it can be read".to_owned(),
        (Some(range), Some(count)) => rows(&BlockMeta { time: range, ..*meta }, count),
        (Some(_), None) => rows(meta, meta.rows),
    };
    // Parts that cannot be told from each other are served no more than a file that does not open.
    let kind = if damage.range.is_some() && damage.rows.is_none() {
        FindingKind::Damaged
    } else {
        FindingKind::Part
    };
    Finding {
        part: Some(part),
        series,
        range: damage.range,
        ..Finding::new(path.to_owned(), kind, &damage.what, &lost)
    }
}

fn rows(meta: &BlockMeta, count: u64) -> String {
    let what = meta.id.content.rows_word();
    format!("{count} {what} after {} up to {}", meta.time.start, meta.time.end)
}

/// Files in a directory of blocks that the manifest does not name.
fn verify_directory(
    vfs: &dyn Vfs,
    directory: &Path,
    manifest: Option<&Manifest>,
    id: &TenantId,
    found: &mut Verification,
) {
    let entries = match vfs.list(directory) {
        Ok(entries) => entries,
        Err(error) => {
            let kind = match error.kind() {
                ErrorKind::NotFound => FindingKind::Missing,
                _ => FindingKind::Unreadable,
            };
            let what = format!("the directory cannot be listed: {error}");
            let finding = Finding::new(directory.to_owned(), kind, &what, "the blocks in it");
            return found.report(Finding { tenant: Some(id.clone()), ..finding });
        }
    };
    let live: BTreeSet<String> = manifest
        .iter()
        .flat_map(|manifest| &manifest.blocks)
        .map(|block| block_file_name(block.id))
        .collect();
    for entry in entries {
        let path = directory.join(&entry.name);
        if live.contains(&entry.name) {
            continue;
        }
        if entry.kind == DirEntryKind::File && entry.name.ends_with(".blk") {
            // Without a manifest nothing says which blocks are live.
            if manifest.is_some() {
                let what = "a block that the manifest does not name, as a crash leaves it: not served, and removed \
                            when the store is next opened for writing";
                found.notes.push(Note { path, what: what.to_owned() });
            }
        } else {
            let finding = foreign(path);
            found.report(Finding { tenant: Some(id.clone()), ..finding });
        }
    }
}

fn foreign(path: PathBuf) -> Finding {
    Finding::new(path, FindingKind::Foreign, "it is none of this store's files", "nothing")
}

/// A tenant's keys, as far as they can be opened. `files`: its key-encryption key is a file under the root.
fn verify_keys(
    vfs: &dyn Vfs,
    layout: &Layout,
    holder: KeyHolder<'_>,
    files: bool,
    id: &TenantId,
    found: &mut Verification,
) -> Option<TenantKeys> {
    let number = holder.name.tenant;
    // Where its file under the root is, if that can be told.
    let mut own = layout.keys.clone();
    if let Ok((file, twin)) = keys::load_file(vfs, layout, holder.name) {
        found.count(vfs, &twin.path);
        report_half(&twin, Some(id), found);
        if let Some(wrapping) = file.active(KeyClass::Wrapping).filter(|_| files) {
            own.push(key_file_name(number, wrapping.id));
            found.count(vfs, &own);
        }
    } else if files {
        // Which of them is in use stands nowhere else: the newest.
        if let Some(newest) = keys_in(vfs, &layout.keys, number).ok().and_then(|keys| keys.last().copied()) {
            own.push(key_file_name(number, newest));
        }
    }
    let lost = "the whole tenant, until this is repaired";
    let finding = match keys::load(vfs, layout, holder) {
        Ok(keys) => return Some(keys),
        Err(KeyError::File(error)) => of_twin_error(&error, lost),
        Err(KeyError::Missing { directory }) => Finding::new(
            directory,
            FindingKind::Missing,
            "there is no key file; restore it from a backup",
            lost,
        ),
        Err(KeyError::Corrupt { path, what }) => Finding::new(path, FindingKind::Damaged, what, lost),
        Err(KeyError::NoKeyStore { path }) => {
            let what = "the tenant is sealed and was not opened: of its files only the checks were verified";
            found.notes.push(Note { path, what: what.to_owned() });
            return None;
        }
        Err(KeyError::Store { path, source: KeyStoreError::Destroyed }) => {
            let what = "the tenant's key was destroyed: its data cannot be read again";
            found.notes.push(Note { path, what: what.to_owned() });
            return None;
        }
        Err(KeyError::Store { path, source }) => {
            of_key_store(if files { own.clone() } else { path }, &source, lost)
        }
    };
    // Where the key file is not even read, the key that wraps it may be damaged too.
    let wrapping = holder.store.filter(|_| files && finding.path != own);
    if let Some(Err(source)) = wrapping.map(|store| store.standing(holder.name)) {
        found.report(Finding { tenant: Some(id.clone()), ..of_key_store(own, &source, lost) });
    }
    found.report(Finding { tenant: Some(id.clone()), ..finding });
    None
}

fn of_key_store(path: PathBuf, error: &KeyStoreError, lost: &str) -> Finding {
    let kind = match error {
        KeyStoreError::Missing { .. } => FindingKind::Missing,
        KeyStoreError::Corrupt { .. } => FindingKind::Damaged,
        KeyStoreError::Mismatch { .. } => FindingKind::Misplaced,
        _ => FindingKind::Unreadable,
    };
    Finding::new(path, kind, &error.to_string(), lost)
}

/// What is left of erased tenants, and the receipts of those of which nothing is.
fn verify_erased(vfs: &dyn Vfs, layout: &Layout, catalogue: &Catalogue, found: &mut Verification) {
    for number in &catalogue.erased {
        let files = manifest_files(layout, *number);
        match load_settled(vfs, &files) {
            Ok(Some(twin)) => {
                found.count(vfs, &twin.path);
                report_half(&twin, None, found);
                let what = Manifest::decode(&twin.content).map(|manifest| manifest.life.to_string());
                match what {
                    Some(what) => found.notes.push(Note { path: files.directory, what }),
                    None => {
                        let lost = "the receipt of an erasure, until this is repaired";
                        let finding =
                            Finding::new(twin.path, FindingKind::Damaged, "it does not decode", lost);
                        found.report(finding);
                    }
                }
            }
            // The last step, cut short.
            Ok(None) => {}
            Err(error) if error.is_missing() => {}
            Err(error) => {
                found.report(of_twin_error(&error, "the receipt of an erasure, until this is repaired"));
            }
        }
    }
    for entry in vfs.list(&layout.receipts).unwrap_or_default() {
        let path = layout.receipts.join(&entry.name);
        let is_receipt = |stem: &str| stem.parse::<u32>().is_ok_and(|number| number.to_string() == stem);
        if !entry.name.strip_suffix(".receipt").is_some_and(is_receipt) {
            found.report(foreign(path));
            continue;
        }
        found.count(vfs, &path);
        let lost = "the proof of an erasure; nothing comes back";
        match read_whole(vfs, &path).map(|receipt| Receipt::verify_whole(&receipt)) {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                found.report(Finding::new(path, FindingKind::Damaged, &error.to_string(), lost));
            }
            Err(error) => {
                let what = format!("it cannot be read: {error}");
                found.report(Finding::new(path, FindingKind::Unreadable, &what, lost));
            }
        }
    }
}

/// What lies where only files of a store should be.
fn verify_others(
    vfs: &dyn Vfs,
    layout: &Layout,
    catalogue: &Catalogue,
    live: bool,
    found: &mut Verification,
) {
    let list = |directory: &Path| vfs.list(directory).unwrap_or_default();
    let erased = catalogue.erased.iter().map(ToString::to_string);
    let numbers: BTreeSet<String> =
        catalogue.tenants.iter().map(|(number, _)| number.to_string()).chain(erased).collect();
    let is_number = |name: &str| name.parse::<u32>().is_ok_and(|number| number.to_string() == name);
    let left = "left of a tenant whose creation was cut short";
    for entry in list(&layout.tenants) {
        let path = layout.tenants.join(&entry.name);
        if entry.kind != DirEntryKind::Directory || !is_number(&entry.name) {
            found.report(foreign(path));
        } else if !numbers.contains(&entry.name) {
            if !live {
                found.notes.push(Note { path, what: left.to_owned() });
            }
        } else {
            for inner in list(&path) {
                let ours = matches!(inner.name.as_str(), "b" | "s")
                    || ["manifest-", "keys-"].iter().any(|stem| inner.name.starts_with(stem));
                if !ours {
                    found.report(foreign(path.join(inner.name)));
                }
            }
        }
    }
    let destroyed = destroyed_keys(layout);
    if let Ok(Some(twin)) = load_settled(vfs, &destroyed) {
        found.count(vfs, &twin.path);
        report_half(&twin, None, found);
    }
    for entry in list(&layout.keys) {
        let path = layout.keys.join(&entry.name);
        if entry.name == SIGNER_FILE {
            found.count(vfs, &path);
            continue;
        }
        if entry.name.starts_with("destroyed-") {
            continue;
        }
        match key_file_owner(&entry.name) {
            Some((owner, _)) if numbers.contains(&owner.to_string()) => {}
            Some(_) if live => {}
            Some(_) => found.notes.push(Note { path, what: left.to_owned() }),
            None => found.report(foreign(path)),
        }
    }
    let ours = ["LOCK", "RESERVE", "RESTORING", "wal", "t", "keys", "receipts", "audit", "quarantine", "tmp"];
    for entry in list(&layout.root) {
        if !ours.contains(&entry.name.as_str()) && !entry.name.starts_with("catalog-") {
            // The root may be the top of a file system, with a directory of its own, or hold an operator's notes.
            let what = "it is none of this store's files; it is left alone".to_owned();
            found.notes.push(Note { path: layout.root.join(entry.name), what });
        }
    }
}

impl Finding {
    pub(crate) fn new(path: PathBuf, kind: FindingKind, what: &str, lost: &str) -> Finding {
        Finding {
            path,
            kind,
            tenant: None,
            part: None,
            series: None,
            range: None,
            what: what.to_owned(),
            lost: lost.to_owned(),
        }
    }
}

/// What and where in the file, without the file's name.
impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(part) = &self.part {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.what)?;
        match &self.series {
            Some(series) if series.ends_with("series") => write!(f, ", of {series}"),
            Some(series) => write!(f, ", of series {series}"),
            None => Ok(()),
        }
    }
}

impl Verification {
    pub(crate) fn report(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Adds a file to the count of what is looked at. What cannot be read is reported where it is used.
    pub(crate) fn count(&mut self, vfs: &dyn Vfs, path: &Path) {
        if let Ok(bytes) = vfs.open(path).and_then(|file| file.len()) {
            self.files += 1;
            self.bytes += bytes;
        }
    }

    fn take(&mut self, other: Verification) {
        self.findings.extend(other.findings);
        self.notes.extend(other.notes);
        self.files += other.files;
        self.bytes += other.bytes;
    }
}
