//! Taking a snapshot.
//!
//! ```text
//!   1  manifests and keys are read                      a manifest that is replaced meanwhile: from the start
//!   2  the clock is read                                `taken`
//!   3  blocks get a second name, or are copied          one that went meanwhile: from the start
//!   4  the log is read, up to what it knows as durable  segments that went meanwhile: from the start
//!   5  what is new is synced and checked where it lies
//!   6  snapshot-<n> is published                        the commit point
//! ```
//!
//! **Which instant it is of.** Blocks are older than `taken`, and the log is read after it: what was acknowledged until
//! `taken` is there, and what was on its way then may be. Of a store that a writer has open elsewhere, the last
//! moments are what its log does not know as durable yet (it notes that after 50 ms without a write); [`Annals::backup`]
//! has it note that first.
//!
//! **Any instant between two snapshots.** Each record of the log says when its batch was admitted, by the writer's clock. The
//! records of the later snapshot, up to the first that was admitted after an instant T, are what the store had at T: what
//! was acknowledged until T was admitted until T, and is in the log before whatever was admitted later. That needs the log
//! between the two without a hole, which a flush may have cut: `continues` says whether it is there. What a manifest says
//! and the log does not (plans, deletions, cancellations) is as the earlier snapshot has it.
//!
//! **Why it goes on from `durable`.** A store that no process has open may show records that no disk holds; a power cut takes
//! them, and their numbers get other content. They are in a `tail` of their own, on which no later snapshot builds.
//!
//! [`Annals::backup`]: crate::Annals::backup

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;

use annals_model::{BlockMeta, Lsn, TenantId, TenantNumber, Timestamp};
use annals_vfs::{Clock, Draft, Vfs, publish};
use annals_wal::{Record, Tail};

use super::bring::{Brought, bring};
use super::piece::Piece;
use super::snapshot::{Entry, PieceName, Snapshot, SnapshotTenant};
use super::{BackupError, Backups, Place, Writable, block_of, file_of};
use crate::catalog::Catalogue;
use crate::check_block::{Checked, check_block};
use crate::files::{digest_bytes, digest_file};
use crate::keys::key_files;
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::recover::catalogue_files;
use crate::tenant::manifest_files;
use crate::twin::{self, TwinContent, TwinError, TwinFiles};

/// How often a moving store is looked at again.
const ATTEMPTS_MAX: usize = 8;
/// What small files may take in memory before they are written.
const DRAFT_BYTES_MAX: usize = 16 << 20;

/// A snapshot that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its number.
    pub number: u64,
    /// What was acknowledged until then is in it.
    pub taken: Timestamp,
    /// How many tenants it has.
    pub tenants: usize,
    /// Its files, and what they take.
    pub files: u64,
    /// In bytes.
    pub bytes: u64,
    /// Blocks that got a second name.
    pub linked: u64,
    /// Files that were written.
    pub written: u64,
    /// In bytes.
    pub written_bytes: u64,
    /// The log since the snapshot before is there without a hole: any instant in between can be restored.
    pub continues: bool,
    /// What is not whole in the store, and so in the snapshot: one sentence each.
    pub faults: Vec<String>,
}

/// Takes a snapshot of the store at `root` into the backup at `directory`, which is made where it is not there. Beside a live
/// writer or without one; needs no keys.
pub fn backup(
    vfs: &dyn Vfs,
    clock: &dyn Clock,
    root: &Path,
    directory: &Path,
) -> Result<Backup, BackupError> {
    take(vfs, clock, &Layout::new(root), directory, None)
}

/// The same; a fault that the caller knows of goes into the snapshot.
pub(crate) fn take(
    vfs: &dyn Vfs,
    clock: &dyn Clock,
    layout: &Layout,
    directory: &Path,
    fault: Option<String>,
) -> Result<Backup, BackupError> {
    if !layout.exists(vfs) {
        return Err(BackupError::NoStore { root: layout.root.clone() });
    }
    // Before anything is made.
    catalogue(vfs, layout)?;
    let writable = Writable::create(vfs, clock, directory)?;
    if writable.backups.damaged.is_empty() {
        writable.backups.collect(vfs)?;
    }
    let mut taking = Taking::new(vfs, layout, &writable.backups)?;
    for attempt in 1..=ATTEMPTS_MAX {
        taking.faults = fault.iter().cloned().collect();
        if let Some(backup) = taking.attempt(clock, attempt == ATTEMPTS_MAX)? {
            return Ok(backup);
        }
    }
    Err(BackupError::Moving { root: layout.root.clone() })
}

fn catalogue(vfs: &dyn Vfs, layout: &Layout) -> Result<(Catalogue, [u8; 16]), BackupError> {
    let twin = catalogue_files(layout).load(vfs).map_err(BackupError::Catalogue)?;
    let twin = twin.ok_or_else(|| BackupError::NoStore { root: layout.root.clone() })?;
    let undecodable = || {
        BackupError::Catalogue(TwinError::Corrupt {
            path: twin.path.clone(),
            what: "it does not decode".to_owned(),
        })
    };
    Ok((Catalogue::decode(&twin.content).ok_or_else(undecodable)?, twin.root))
}

/// A snapshot that is being taken.
struct Taking<'a> {
    vfs: &'a dyn Vfs,
    layout: &'a Layout,
    backups: &'a Backups,
    place: &'a Place,
    /// What files of earlier snapshots are, and what was brought by now: all that is there.
    known: BTreeMap<String, Entry>,
    /// Files that no snapshot names that can be read.
    garbage: BTreeSet<String>,
    store: [u8; 16],
    tenants: Vec<SnapshotTenant>,
    files: BTreeMap<String, Entry>,
    faults: Vec<String>,
    /// Small files that are to be written together.
    drafts: Vec<(String, Vec<u8>)>,
    draft_bytes: usize,
    linked: u64,
    written: u64,
    written_bytes: u64,
}

/// What a tenant of the catalogue is found to be.
enum Found {
    Tenant(Box<Manifest>),
    /// Nothing of it is to be kept.
    Erased,
    Unreadable(String),
}

/// What was read of the log.
struct Log {
    continues: u64,
    durable: Lsn,
    pieces: Vec<PieceName>,
    tail: Option<PieceName>,
}

impl<'a> Taking<'a> {
    fn new(vfs: &'a dyn Vfs, layout: &'a Layout, backups: &'a Backups) -> Result<Taking<'a>, BackupError> {
        let place = &backups.place;
        let there = vfs.list(&place.files).map_err(BackupError::io("list", &place.files))?;
        let mut garbage: BTreeSet<String> = there.into_iter().map(|entry| entry.name).collect();
        let named = backups.snapshots.values().flat_map(|snapshot| backups.needed(snapshot));
        let known = named.filter(|(name, _)| garbage.contains(*name));
        let known: BTreeMap<String, Entry> = known.map(|(name, entry)| (name.to_owned(), *entry)).collect();
        garbage.retain(|name| !known.contains_key(name));
        Ok(Taking {
            vfs,
            layout,
            backups,
            place,
            known,
            garbage,
            store: [0; 16],
            tenants: Vec::new(),
            files: BTreeMap::new(),
            faults: Vec::new(),
            drafts: Vec::new(),
            draft_bytes: 0,
            linked: 0,
            written: 0,
            written_bytes: 0,
        })
    }

    /// One look at the store; `None` where it moved meanwhile. What was brought by then is not brought again.
    fn attempt(&mut self, clock: &dyn Clock, last: bool) -> Result<Option<Backup>, BackupError> {
        let (vfs, place, backups) = (self.vfs, self.place, self.backups);
        let (catalogue, store) = match catalogue(vfs, self.layout) {
            // A generation that was listed and then replaced.
            Err(_) if !last => return Ok(None),
            read => read?,
        };
        if backups.snapshots.values().any(|snapshot| snapshot.store != store) {
            return Err(BackupError::OtherStore { directory: place.directory.clone() });
        }
        self.store = store;
        self.tenants.clear();
        self.files.clear();
        let mut manifests = Vec::new();
        for (number, id) in &catalogue.tenants {
            match self.tenant(*number, id)? {
                Found::Tenant(manifest) => manifests.push((*number, manifest)),
                Found::Erased => {}
                Found::Unreadable(_) if !last => return Ok(None),
                Found::Unreadable(why) => self.faults.push(format!("tenant {id} is not in it: {why}")),
            }
        }
        self.check_age()?;
        let taken = Timestamp(clock.now_ms());
        for (number, manifest) in &manifests {
            for block in &manifest.blocks {
                if !self.block(*number, block)? {
                    return Ok(None);
                }
            }
        }
        let floors = manifests.iter().map(|(_, manifest)| (manifest.replay_from, manifest.data_floor));
        let needs = floors.clone().map(|(from, _)| from).min().unwrap_or_default();
        let in_blocks = floors.map(|(_, floor)| floor).max().unwrap_or_default();
        let Some(log) = self.log(needs, in_blocks, last)? else { return Ok(None) };
        self.publish_drafts()?;
        vfs.sync_dir(&place.files).map_err(BackupError::io("sync", &place.files))?;
        let Log { continues, durable, pieces, tail } = log;
        let (next, tenants) = (catalogue.next, std::mem::take(&mut self.tenants));
        let (files, faults) = (std::mem::take(&mut self.files), std::mem::take(&mut self.faults));
        let snapshot =
            Snapshot { store, taken, continues, next, tenants, durable, pieces, tail, faults, files };
        let highest = |number: Option<&u64>| number.copied().unwrap_or(0);
        let number = highest(backups.snapshots.keys().last()).max(highest(backups.damaged.keys().last())) + 1;
        place
            .snapshots()
            .store(vfs, &place.temporary, store, number, &snapshot.encode())
            .map_err(BackupError::published("write", &place.snapshots().path(number)))?;
        Ok(Some(Backup {
            number,
            taken,
            tenants: snapshot.tenants.len(),
            files: snapshot.files.len() as u64,
            bytes: snapshot.files.values().map(|entry| entry.bytes).sum(),
            linked: self.linked,
            written: self.written,
            written_bytes: self.written_bytes,
            continues: continues > 0,
            faults: snapshot.faults,
        }))
    }

    /// An error where the newest snapshot has a later manifest of a tenant than the store.
    fn check_age(&self) -> Result<(), BackupError> {
        let Some((_, newest)) = self.backups.snapshots.last_key_value() else { return Ok(()) };
        for tenant in &self.tenants {
            let before = newest.tenants.iter().find(|before| before.number == tenant.number);
            if before.is_some_and(|before| before.manifest > tenant.manifest) {
                return Err(self.put_back(format!("it has a later manifest of tenant {}", tenant.id)));
            }
        }
        Ok(())
    }

    fn put_back(&self, what: String) -> BackupError {
        BackupError::PutBack { directory: self.place.directory.clone(), what }
    }

    /// Makes a name in the backup free: what has it is of an interrupted run, or of a snapshot that cannot be read.
    fn free(&mut self, name: &str) -> Result<(), BackupError> {
        if self.garbage.remove(name) {
            let path = self.place.files.join(name);
            self.vfs.unlink(&path).map_err(BackupError::io("remove", &path))?;
        }
        Ok(())
    }

    /// Takes a tenant's manifest and keys.
    fn tenant(&mut self, number: TenantNumber, id: &TenantId) -> Result<Found, BackupError> {
        let (manifests, keys) = (manifest_files(self.layout, number), key_files(self.layout, number));
        let read = |files: &TwinFiles| -> Result<TwinContent, String> {
            let twin = files.load(self.vfs).map_err(|error| error.to_string())?;
            let twin =
                twin.ok_or_else(|| format!("{}: a file of it is missing", files.directory.display()))?;
            match twin.root == self.store {
                true => Ok(twin),
                false => Err(format!("{}: it belongs to another store", twin.path.display())),
            }
        };
        let read = read(&manifests).and_then(|twin| {
            let manifest = Manifest::decode(&twin.content).filter(|manifest| manifest.id == *id);
            let manifest = manifest.ok_or_else(|| {
                format!("{}: it does not decode, or is another tenant's", twin.path.display())
            })?;
            if manifest.life.erased().is_some() {
                return Ok(None);
            }
            Ok(Some((manifest, twin, read(&keys)?)))
        });
        let (manifest, manifest_twin, keys_twin) = match read {
            Ok(Some(read)) => read,
            Ok(None) => return Ok(Found::Erased),
            Err(why) => return Ok(Found::Unreadable(why)),
        };
        for (files, twin) in [(&manifests, &manifest_twin), (&keys, &keys_twin)] {
            // Encoded afresh: of a file of which one copy is damaged, the backup has both.
            let bytes = twin::encode(files.role, files.owner, twin.root, twin.generation, &twin.content);
            self.small(file_of(number, &files.name(twin.generation)), bytes)?;
        }
        self.tenants.push(SnapshotTenant {
            number,
            id: id.clone(),
            manifest: manifest_twin.generation,
            keys: keys_twin.generation,
        });
        Ok(Found::Tenant(Box::new(manifest)))
    }

    /// Takes a file that is in memory.
    fn small(&mut self, name: String, bytes: Vec<u8>) -> Result<(), BackupError> {
        let entry = Entry { bytes: bytes.len() as u64, digest: digest_bytes(&bytes) };
        match self.known.get(&name) {
            Some(known) if *known == entry => {}
            Some(_) => return Err(self.put_back(format!("{name} was another file then"))),
            None => {
                self.free(&name)?;
                self.draft_bytes += bytes.len();
                self.drafts.push((name.clone(), bytes));
                self.known.insert(name.clone(), entry);
            }
        }
        self.files.insert(name, entry);
        if self.draft_bytes > DRAFT_BYTES_MAX { self.publish_drafts() } else { Ok(()) }
    }

    fn publish_drafts(&mut self) -> Result<(), BackupError> {
        let drafts = std::mem::take(&mut self.drafts);
        let files: Vec<Draft<'_>> = drafts
            .iter()
            .map(|(name, bytes)| Draft {
                draft: self.place.temporary.join(name),
                directory: self.place.files.clone(),
                name: name.clone(),
                bytes,
            })
            .collect();
        if !files.is_empty() {
            publish(self.vfs, &files)
                .map_err(BackupError::published("write files into", &self.place.files))?;
        }
        self.written += files.len() as u64;
        self.written_bytes += std::mem::take(&mut self.draft_bytes) as u64;
        Ok(())
    }

    /// Takes a block; false where it has gone because the manifest that named it is not the newest any more.
    fn block(&mut self, tenant: TenantNumber, meta: &BlockMeta) -> Result<bool, BackupError> {
        let name = block_of(tenant, meta.id);
        if let Some(&known) = self.known.get(&name) {
            self.files.insert(name, known);
            return Ok(true);
        }
        self.free(&name)?;
        let (from, to) = (self.layout.block(tenant, meta.id), self.place.files.join(&name));
        let brought = bring(self.vfs, &from, &self.place.temporary.join(&name), &to)?;
        if let Brought::Unread(error) = brought {
            if error.kind() == ErrorKind::NotFound && self.has_moved(tenant) {
                return Ok(false);
            }
            self.faults.push(format!("{}: it is not in it: {error}", from.display()));
            return Ok(true);
        }
        match check_block(self.vfs, &to, tenant, meta, None) {
            Checked::Whole => {}
            Checked::Parts(_, damage) => {
                for damage in damage {
                    self.faults.push(format!("{}: damaged in the store: {damage}", from.display()));
                }
            }
            Checked::Unusable(unusable) => {
                self.vfs.unlink(&to).map_err(BackupError::io("remove", &to))?;
                let what = unusable.what;
                self.faults
                    .push(format!("{}: it is not in it, being damaged in the store: {what}", from.display()));
                return Ok(true);
            }
        }
        let digest = digest_file(self.vfs, &to).map_err(BackupError::io("read", &to))?;
        match brought {
            Brought::Linked => self.linked += 1,
            _ => {
                self.written += 1;
                self.written_bytes += meta.bytes;
            }
        }
        let entry = Entry { bytes: meta.bytes, digest };
        self.known.insert(name.clone(), entry);
        self.files.insert(name, entry);
        Ok(true)
    }

    /// Whether a tenant has another manifest than the one that was read, or none any more.
    fn has_moved(&self, tenant: TenantNumber) -> bool {
        let newest = manifest_files(self.layout, tenant).generations(self.vfs);
        let read = self.tenants.iter().find(|read| read.number == tenant).map(|read| read.manifest);
        newest.map_or(true, |newest| newest.last().copied() != read)
    }

    /// Whether a tenant has other keys than those that were read: records may be sealed with them.
    fn has_other_keys(&self, read: &SnapshotTenant) -> bool {
        let newest = key_files(self.layout, read.number).generations(self.vfs);
        newest.is_ok_and(|newest| newest.last().copied() != Some(read.keys))
    }

    /// Takes the log from the snapshot before on, and in any case what manifests need of it; `None` where segments went
    /// meanwhile. Of an empty log only `in_blocks` tells where it begins.
    fn log(&mut self, needs: Lsn, in_blocks: Lsn, last: bool) -> Result<Option<Log>, BackupError> {
        let (backups, directory) = (self.backups, &self.layout.wal);
        let first = annals_wal::first(self.vfs, directory, &self.store).map_err(BackupError::Log)?;
        let first = first.map_or(Lsn(in_blocks.0.saturating_add(1)), |first| Lsn(first.0));
        // What the log has let go of is in blocks: of the manifests that were read, unless there are later ones.
        let begins = Lsn(first.0.saturating_sub(1));
        let moved = begins > needs && self.tenants.iter().any(|tenant| self.has_moved(tenant.number));
        let needs = needs.max(begins);
        let before = backups.snapshots.last_key_value().filter(|(_, before)| begins <= before.durable);
        // What earlier pieces hold is not copied again, where they reach back far enough.
        let (after, carried) = match before {
            None => (needs, Vec::new()),
            Some((_, before)) => {
                let needed = before.pieces.iter().filter(|piece| piece.through > needs);
                let carried: Vec<PieceName> = needed.copied().collect();
                let reaches = carried.first().map_or(before.durable, |first| first.after) <= needs
                    && carried.iter().all(|piece| self.known.contains_key(&piece.file()));
                match reaches {
                    true => (before.durable, carried),
                    false => (needs.min(before.durable), Vec::new()),
                }
            }
        };
        for piece in &carried {
            if let Some(&entry) = self.known.get(&piece.file()) {
                self.files.insert(piece.file(), entry);
            }
        }
        let durable = self.read_log(after, Tail::KnownDurable)?;
        let moved = moved || self.tenants.iter().any(|tenant| self.has_other_keys(tenant));
        if moved || durable.interrupted || durable.first.is_some_and(|now| now != first) {
            if !last {
                return Ok(None);
            }
            let why = "the store was changed faster than it could be read: some of the log may be missing";
            self.faults.push(why.to_owned());
        }
        let live = self.vfs.is_locked(&self.layout.lock);
        let live = live.map_err(BackupError::io("look at", &self.layout.lock))?;
        let tail = match live {
            true => None,
            false => Some(self.read_log(durable.through, Tail::AllValid)?),
        };
        if tail.as_ref().is_some_and(|tail| tail.interrupted) && !last {
            return Ok(None);
        }
        let damage = durable.damage.iter().chain(tail.iter().flat_map(|tail| &tail.damage));
        let damage: BTreeSet<&String> = damage.collect();
        self.faults.extend(damage.into_iter().cloned());
        Ok(Some(Log {
            continues: before.map_or(0, |(number, _)| *number),
            durable: durable.through,
            pieces: carried.into_iter().chain(durable.pieces).collect(),
            tail: tail.and_then(|tail| tail.pieces.last().copied()),
        }))
    }

    /// Takes the records after one into pieces: into a single one where they are a tail.
    fn read_log(&mut self, after: Lsn, tail: Tail) -> Result<LogRead, BackupError> {
        let (vfs, directory, store) = (self.vfs, self.layout.wal.clone(), self.store);
        let mut piece = Some(Piece::begin(store, after));
        let (mut pieces, mut failed) = (Vec::new(), None);
        let from = annals_wal::Lsn(after.0);
        let read = annals_wal::read(vfs, &directory, &store, from, tail, &mut |record: Record<'_>| {
            let lsn = Lsn(record.lsn.0);
            let Some(open) = piece.as_mut().filter(|_| failed.is_none()) else { return };
            if !open.push(lsn, record.kind, record.payload) || tail == Tail::AllValid {
                return;
            }
            match self.end_piece(piece.replace(Piece::begin(store, lsn)), lsn) {
                Ok(ended) => pieces.extend(ended),
                Err(error) => failed = Some(error),
            }
        });
        let read = read.map_err(BackupError::Log)?;
        if let Some(failed) = failed {
            return Err(failed);
        }
        let through = Lsn(read.through.0);
        pieces.extend(self.end_piece(piece, through)?);
        let damage = read.damage.iter().filter(|damage| damage.may_lose_records());
        Ok(LogRead {
            first: read.first.map(|first| Lsn(first.0)),
            through,
            interrupted: read.interrupted,
            damage: damage.map(ToString::to_string).collect(),
            pieces,
        })
    }

    fn end_piece(&mut self, piece: Option<Piece>, through: Lsn) -> Result<Option<PieceName>, BackupError> {
        let Some((name, bytes, _)) = piece.and_then(|piece| piece.end(through)) else { return Ok(None) };
        self.small(name.file(), bytes)?;
        Ok(Some(name))
    }
}

/// What one look at the log gave.
struct LogRead {
    first: Option<Lsn>,
    through: Lsn,
    interrupted: bool,
    damage: Vec<String>,
    pieces: Vec<PieceName>,
}
