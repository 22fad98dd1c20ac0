//! Listing what is in a backup, and reading all of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use annals_model::{Lsn, TenantId, TenantNumber, Timestamp};
use annals_vfs::Vfs;

use super::piece::decode_piece;
use super::snapshot::{Entry, PieceName, Snapshot};
use super::{BackupError, Backups, block_of, file_of};
use crate::check_block::{Checked, check_block};
use crate::files::{digest_bytes, digest_file, read_whole};
use crate::key_file::KeyFile;
use crate::manifest::Manifest;
use crate::twin::{self, Role, TwinFiles};

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotSummary {
    /// Its number.
    pub number: u64,
    /// What was acknowledged until then is in it.
    pub taken: Timestamp,
    /// Any instant from then on can be restored with it, beside its own; `None` where the log since is not there.
    pub since: Option<Timestamp>,
    /// Its tenants, but for those whose files are gone because their keys are destroyed.
    pub tenants: Vec<TenantId>,
    /// How many files it needs, shared ones included.
    pub files: u64,
    /// What they take.
    pub bytes: u64,
    /// What they take that no earlier snapshot needs.
    pub new_bytes: u64,
    /// What was not whole in the store when it was taken: one sentence each.
    pub faults: Vec<String>,
    /// Why it cannot be used: then nothing else is known of it.
    pub damaged: Option<String>,
}

/// What was found wrong in a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFinding {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub what: String,
    /// The snapshots that need it.
    pub snapshots: Vec<u64>,
}

/// What a look at all of a backup gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupCheck {
    /// How many snapshots there are.
    pub snapshots: u64,
    /// How many files they need.
    pub files: u64,
    /// What was read.
    pub bytes: u64,
    /// What is wrong.
    pub findings: Vec<BackupFinding>,
    /// Of each snapshot, what was not whole in the store when it was taken.
    pub faults: Vec<(u64, String)>,
}

/// The snapshots of a backup, oldest first. Reads what they consist of, not their files.
pub fn snapshots(vfs: &dyn Vfs, directory: &Path) -> Result<Vec<SnapshotSummary>, BackupError> {
    let backups = Backups::read(vfs, directory)?;
    let mut seen = BTreeSet::new();
    let whole = backups.snapshots.iter().map(|(&number, snapshot)| {
        let needed: Vec<(&str, &Entry)> = backups.needed(snapshot).collect();
        let tenants = snapshot.tenants.iter().filter(|tenant| !backups.erased.contains(&tenant.number));
        SnapshotSummary {
            number,
            taken: snapshot.taken,
            since: backups.snapshots.get(&snapshot.continues).map(|before| before.taken),
            tenants: tenants.map(|tenant| tenant.id.clone()).collect(),
            files: needed.len() as u64,
            bytes: needed.iter().map(|(_, entry)| entry.bytes).sum(),
            new_bytes: needed
                .iter()
                .filter(|(name, _)| seen.insert(*name))
                .map(|(_, entry)| entry.bytes)
                .sum(),
            faults: snapshot.faults.clone(),
            damaged: None,
        }
    });
    let damaged = backups.damaged.iter().map(|(&number, why)| SnapshotSummary {
        number,
        taken: Timestamp::MIN,
        since: None,
        tenants: Vec::new(),
        files: 0,
        bytes: 0,
        new_bytes: 0,
        faults: Vec::new(),
        damaged: Some(why.clone()),
    });
    let mut all: Vec<SnapshotSummary> = whole.chain(damaged).collect();
    all.sort_by_key(|snapshot| snapshot.number);
    Ok(all)
}

/// Reads every file that a snapshot of a backup needs, and says which is not what it was. Needs no keys.
pub fn verify_backup(vfs: &dyn Vfs, directory: &Path) -> Result<BackupCheck, BackupError> {
    let backups = Backups::read(vfs, directory)?;
    let mut check =
        Check { vfs, backups: &backups, needed: BTreeMap::new(), found: BTreeMap::new(), bytes: 0 };
    for (&number, snapshot) in &backups.snapshots {
        for (name, entry) in backups.needed(snapshot) {
            check.needed.entry((name, *entry)).or_default().push(number);
        }
    }
    let needed: Vec<(&str, Entry)> = check.needed.keys().copied().collect();
    for (name, entry) in needed {
        check.file(name, entry);
    }
    for (&number, snapshot) in &backups.snapshots {
        check.snapshot(number, snapshot);
    }
    let files = check.needed.len() as u64;
    let of_snapshots = backups.damaged.iter().map(|(&number, why)| BackupFinding {
        path: backups.place.snapshots().path(number),
        what: why.clone(),
        snapshots: vec![number],
    });
    let of_files = check.found.iter().map(|(name, (what, snapshots))| BackupFinding {
        path: backups.place.files.join(name),
        what: what.clone(),
        snapshots: snapshots.iter().copied().collect(),
    });
    let faults = backups.snapshots.iter();
    let faults = faults
        .flat_map(|(&number, snapshot)| snapshot.faults.iter().map(move |fault| (number, fault.clone())));
    Ok(BackupCheck {
        snapshots: (backups.snapshots.len() + backups.damaged.len()) as u64,
        files,
        bytes: check.bytes,
        findings: of_snapshots.chain(of_files).collect(),
        faults: faults.collect(),
    })
}

/// A look at all of a backup.
struct Check<'a> {
    vfs: &'a dyn Vfs,
    backups: &'a Backups,
    /// Each file as snapshots know it, and who does.
    needed: BTreeMap<(&'a str, Entry), Vec<u64>>,
    /// What is wrong with a file, and who needs it.
    found: BTreeMap<String, (String, BTreeSet<u64>)>,
    bytes: u64,
}

impl<'a> Check<'a> {
    fn find(&mut self, name: &str, what: String, snapshots: impl IntoIterator<Item = u64>) {
        let found = self.found.entry(name.to_owned()).or_insert((what, BTreeSet::new()));
        found.1.extend(snapshots);
    }

    /// Whether a file has the bytes that a snapshot says.
    fn file(&mut self, name: &'a str, entry: Entry) {
        let path = self.backups.place.files.join(name);
        let what = match self.vfs.open(&path).and_then(|file| file.len()) {
            Err(error) if error.kind() == ErrorKind::NotFound => "the file is not there".to_owned(),
            Err(error) => format!("it cannot be read: {error}"),
            Ok(bytes) if bytes != entry.bytes => format!("it has {bytes} bytes instead of {}", entry.bytes),
            Ok(bytes) => match digest_file(self.vfs, &path) {
                Err(error) => format!("it cannot be read: {error}"),
                Ok(digest) => {
                    self.bytes += bytes;
                    if digest == entry.digest {
                        return;
                    }
                    "its bytes are not what they were".to_owned()
                }
            },
        };
        let snapshots = self.needed.get(&(name, entry)).cloned().unwrap_or_default();
        self.find(name, what, snapshots);
    }

    /// Whether the files of a snapshot are what they are there for. What is not the bytes that it was is told already.
    fn snapshot(&mut self, number: u64, snapshot: &Snapshot) {
        for piece in snapshot.pieces.iter().chain(&snapshot.tail) {
            let name = piece.file();
            let bytes = self.read(number, snapshot, &name);
            if bytes.is_some_and(|bytes| {
                decode_piece(&bytes, &snapshot.store, piece, &mut |_, _, _| {}).is_none()
            }) {
                self.find(&name, "it is not the piece of the log that it is named as".to_owned(), [number]);
            }
        }
        for tenant in &snapshot.tenants {
            if self.backups.erased.contains(&tenant.number) {
                continue;
            }
            let keys = self.twin(number, snapshot, Role::Keys, tenant.number, tenant.keys);
            if keys.is_some_and(|(_, content)| KeyFile::decode(&content).is_none()) {
                let name = twin_of(Role::Keys, tenant.number, tenant.keys);
                self.find(&name, "it does not decode".to_owned(), [number]);
            }
            let Some((name, content)) =
                self.twin(number, snapshot, Role::Manifest, tenant.number, tenant.manifest)
            else {
                continue;
            };
            match Manifest::decode(&content).filter(|manifest| manifest.id == tenant.id) {
                None => self.find(&name, "it does not decode, or is another tenant's".to_owned(), [number]),
                Some(manifest) => self.blocks(number, snapshot, tenant.number, &manifest),
            }
        }
    }

    fn blocks(&mut self, number: u64, snapshot: &Snapshot, tenant: TenantNumber, manifest: &Manifest) {
        for block in &manifest.blocks {
            let name = block_of(tenant, block.id);
            // What was damaged in the store was named when the snapshot was taken.
            if self.found.contains_key(&name) || !snapshot.files.contains_key(&name) {
                continue;
            }
            let path = self.backups.place.files.join(&name);
            if let Checked::Unusable(unusable) = check_block(self.vfs, &path, tenant, block, None) {
                self.find(&name, unusable.what, [number]);
            }
        }
    }

    /// Reads a small file of a snapshot that is whole; what is missing from its list is a finding.
    fn read(&mut self, number: u64, snapshot: &Snapshot, name: &str) -> Option<Vec<u8>> {
        if !snapshot.files.contains_key(name) {
            self.find(name, "the snapshot does not say what it is".to_owned(), [number]);
        }
        if self.found.contains_key(name) {
            return None;
        }
        read_whole(self.vfs, &self.backups.place.files.join(name)).ok()
    }

    fn twin(
        &mut self,
        number: u64,
        snapshot: &Snapshot,
        role: Role,
        tenant: TenantNumber,
        generation: u64,
    ) -> Option<(String, Vec<u8>)> {
        let name = twin_of(role, tenant, generation);
        let bytes = self.read(number, snapshot, &name)?;
        match twin::decode(role, tenant.0, Some(generation), &bytes, PathBuf::new()) {
            Ok(twin) if twin.root == snapshot.store => Some((name, twin.content)),
            _ => {
                self.find(&name, "it is not the file that it is named as".to_owned(), [number]);
                None
            }
        }
    }
}

/// The name of a tenant's manifest or keys in a backup.
pub(super) fn twin_of(role: Role, tenant: TenantNumber, generation: u64) -> String {
    let files = TwinFiles { directory: PathBuf::new(), role, owner: tenant.0 };
    file_of(tenant, &files.name(generation))
}
impl Backups {
    /// Reads a small file of a snapshot, which must be what the snapshot says.
    pub(crate) fn read_file(
        &self,
        vfs: &dyn Vfs,
        snapshot: &Snapshot,
        name: &str,
    ) -> Result<Vec<u8>, BackupError> {
        let path = self.place.files.join(name);
        let damaged = |what: &str| BackupError::Damaged { path: path.clone(), what: what.to_owned() };
        let entry =
            snapshot.files.get(name).ok_or_else(|| damaged("the snapshot does not say what it is"))?;
        let bytes = match read_whole(vfs, &path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(damaged("the file is not there"));
            }
            read => read.map_err(BackupError::io("read", &path))?,
        };
        match digest_bytes(&bytes) == entry.digest {
            true => Ok(bytes),
            false => Err(damaged("its bytes are not what they were")),
        }
    }

    /// Reads a tenant's manifest or keys.
    pub(crate) fn read_twin(
        &self,
        vfs: &dyn Vfs,
        snapshot: &Snapshot,
        role: Role,
        tenant: TenantNumber,
        generation: u64,
    ) -> Result<Vec<u8>, BackupError> {
        let name = twin_of(role, tenant, generation);
        let bytes = self.read_file(vfs, snapshot, &name)?;
        let path = self.place.files.join(&name);
        let twin = twin::decode(role, tenant.0, Some(generation), &bytes, path.clone());
        match twin.ok().filter(|twin| twin.root == snapshot.store) {
            Some(twin) => Ok(twin.content),
            None => {
                Err(BackupError::Damaged { path, what: "it is not the file that it is named as".to_owned() })
            }
        }
    }

    /// Hands out the records of a piece of the log.
    pub(crate) fn read_piece(
        &self,
        vfs: &dyn Vfs,
        snapshot: &Snapshot,
        piece: &PieceName,
        on_record: &mut dyn FnMut(Lsn, u8, &[u8]),
    ) -> Result<(), BackupError> {
        let name = piece.file();
        let bytes = self.read_file(vfs, snapshot, &name)?;
        decode_piece(&bytes, &snapshot.store, piece, on_record).ok_or_else(|| BackupError::Damaged {
            path: self.place.files.join(&name),
            what: "it is not the piece of the log that it is named as".to_owned(),
        })
    }
}
