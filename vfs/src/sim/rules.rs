//! The disk as a judge: what a crash-safe program never does, whatever comes of it this time.
//!
//! | rule | what is recorded                                                                              |
//! |------|-----------------------------------------------------------------------------------------------|
//! | I10  | a file is unlinked that the newest durable manifest of its family names, or the last manifest of a family that one names |
//! | I13  | a file is written, grown or synced after a write, growth or sync of it failed                   |
//! | I15  | a manifest becomes durable before a file that it names, that file's name, or a directory above it, or before any manifest of a family that it names |
//! | —    | a published name is given to a file with unsynced bytes, or to a new file                      |
//! | —    | a sealed file is written or grown                                                              |
//!
//! Which files are manifests and which names are published only the program knows: it says so by [`SimRules`]. A cut
//! or crash forgets failed writes, for the process that knew of them is gone; what is durable stays a manifest.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, Inode, InodeId, Name};

/// How many violations are kept: one is enough to fail, the first ones explain it.
const VIOLATIONS_MAX: usize = 100;

/// What a file is for, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SimRole {
    /// Drafts, locks: no rule but those for all files.
    #[default]
    Scratch,
    /// It gets its name by a rename, once it is synced, and may be written afterwards.
    Published,
    /// It gets its name by a rename, once it is synced, and never changes again.
    Sealed,
    /// The same, and it says which other files count: [`SimRules::manifest`] is asked.
    Manifest,
}

/// What a manifest says to the rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimManifest {
    /// What it is the manifest of: its directory, say. The newest of each family counts.
    pub family: PathBuf,
    /// Newer ones have higher numbers.
    pub generation: u64,
    /// The files that must be there while it is the newest. May be itself.
    pub names: Vec<PathBuf>,
    /// The files that must be durable before it is, and may go while it is the newest.
    pub after: Vec<PathBuf>,
    /// Families of which a durable manifest must be there while it is the newest.
    pub families: Vec<PathBuf>,
}

/// What a program says about its files, so that a simulated disk can judge the order of its calls.
///
/// Asked while the disk is locked: answers come from the arguments alone.
pub trait SimRules: Send + Sync {
    /// What a file of that name is for.
    fn role(&self, path: &Path) -> SimRole {
        let _ = path;
        SimRole::Scratch
    }

    /// What a file says that is a [`SimRole::Manifest`] by its name; `None` where it says nothing of use.
    fn manifest(&self, path: &Path, bytes: &[u8]) -> Option<SimManifest> {
        let _ = (path, bytes);
        None
    }
}

/// What is done to a file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Deed {
    /// Bytes are written, or it grows.
    Writes,
    /// It is made durable.
    Syncs,
}

impl Deed {
    fn done(self) -> &'static str {
        match self {
            Deed::Writes => "written",
            Deed::Syncs => "synced",
        }
    }
}

/// The rules that a disk goes by, and what it has seen against them.
#[derive(Default)]
pub(super) struct Judge {
    rules: Option<Arc<dyn SimRules>>,
    /// The newest durable manifest of each family; read again after a cut.
    newest: Option<Newest>,
    /// Files whose names became durable by the call that is being made.
    bound: Vec<(Name, InodeId)>,
    violations: Vec<String>,
}

/// Of each family, the manifest of the highest generation, and where it is.
type Newest = BTreeMap<PathBuf, (PathBuf, SimManifest)>;

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Judge").field("violations", &self.violations).finish_non_exhaustive()
    }
}

impl Judge {
    pub(super) fn new(rules: Option<Arc<dyn SimRules>>) -> Judge {
        Judge { rules, ..Judge::default() }
    }

    pub(super) fn rules(&self) -> Option<Arc<dyn SimRules>> {
        self.rules.clone()
    }

    pub(super) fn is_on(&self) -> bool {
        self.rules.is_some()
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.violations.clone()
    }

    /// A name became durable.
    pub(super) fn note_bound(&mut self, at: &Name, inode: InodeId) {
        if self.is_on() {
            self.bound.push((at.clone(), inode));
        }
    }

    /// Another call begins to make names durable.
    pub(super) fn forget_bound(&mut self) {
        self.bound.clear();
    }

    /// What is durable has changed by other means than calls, and must be read again.
    pub(super) fn forget_manifests(&mut self) {
        self.newest = None;
        self.forget_bound();
    }
}

// The rules, where calls ask for them. All are no-ops without rules.
impl Disk {
    /// A file is about to be changed or synced.
    pub(super) fn judge_change(&mut self, inode: InodeId, deed: Deed, path: &Path) {
        if !self.judge.is_on() {
            return;
        }
        let file = self.file(inode);
        let deed = match deed {
            Deed::Writes if file.is_sealed_by_name => "written although it was published for good".to_owned(),
            deed => match file.failed_call {
                None => return,
                Some(call) => format!("{} after call {call} failed on it", deed.done()),
            },
        };
        self.accuse(path, &deed);
    }

    /// A file's write, growth or sync failed.
    pub(super) fn note_failure(&mut self, inode: InodeId) {
        if self.judge.is_on() {
            let call = self.gate.mutating_calls();
            self.file_mut(inode).failed_call.get_or_insert(call);
        }
    }

    /// A file gets a name that it did not have, by its creation or by a rename.
    pub(super) fn judge_name(&mut self, inode: InodeId, path: &Path, created: bool) {
        let Some(rules) = self.judge.rules() else { return };
        let role = rules.role(path);
        let Inode::File(file) = self.inode(inode) else { return };
        if role == SimRole::Scratch {
            return;
        }
        if created {
            self.accuse(path, "created under a published name");
        } else if !file.pending.is_empty() {
            self.accuse(path, "renamed to a published name with unsynced bytes");
        }
        self.file_mut(inode).is_sealed_by_name = role != SimRole::Published;
    }

    /// A file's name is about to be removed.
    pub(super) fn judge_unlink(&mut self, path: &Path) {
        if !self.judge.is_on() {
            return;
        }
        let newest = self.newest_manifests();
        let own = newest.iter().find(|(_, (newest, _))| newest == path).map(|(family, _)| family);
        let names = |manifest: &SimManifest| {
            manifest.names.iter().any(|name| name == path)
                || own.is_some_and(|own| manifest.families.contains(own))
        };
        if let Some((_, (_, manifest))) = newest.iter().find(|(_, (_, manifest))| names(manifest)) {
            let why = format!(
                "unlinked although generation {} of {}, the newest durable one, names it",
                manifest.generation,
                manifest.family.display()
            );
            self.accuse(path, &why);
        }
    }

    /// The names of a directory have become durable.
    pub(super) fn judge_durable_names(&mut self, directory: &Path) {
        let Some(rules) = self.judge.rules() else { return };
        for ((_, name), inode) in std::mem::take(&mut self.judge.bound) {
            let path = directory.join(name);
            if !self.has_durable_name(&path) {
                continue;
            }
            let Some(manifest) = self.read_manifest(&*rules, &path, inode) else { continue };
            for name in manifest.names.iter().chain(&manifest.after).chain([&path]) {
                if let Some(lacks) = self.lacks_durability(name) {
                    let what = format!("became durable although {} {lacks}", name.display());
                    self.accuse(&path, &what);
                }
            }
            let newest = self.newest_manifests();
            let missing: Vec<PathBuf> =
                manifest.families.iter().filter(|family| !newest.contains_key(*family)).cloned().collect();
            add(newest, path.clone(), manifest);
            for family in missing {
                self.accuse(&path, &format!("became durable although no {} is", family.display()));
            }
        }
    }

    /// The newest durable manifests, read from the disk where that is still to be done.
    fn newest_manifests(&mut self) -> &mut Newest {
        if self.judge.newest.is_none() {
            self.judge.newest = Some(self.durable_manifests());
        }
        self.judge.newest.get_or_insert_default()
    }

    fn durable_manifests(&self) -> Newest {
        let mut newest = Newest::new();
        if let Some(rules) = self.judge.rules() {
            self.walk_durable(&mut |path, inode| {
                if let Some(manifest) = self.read_manifest(&*rules, path, inode) {
                    add(&mut newest, path.to_owned(), manifest);
                }
            });
        }
        newest
    }

    fn read_manifest(&self, rules: &dyn SimRules, path: &Path, inode: InodeId) -> Option<SimManifest> {
        match self.inode(inode) {
            Inode::File(file) if rules.role(path) == SimRole::Manifest => {
                rules.manifest(path, &file.durable.to_vec())
            }
            _ => None,
        }
    }

    /// What a file lacks to survive a cut.
    fn lacks_durability(&self, path: &Path) -> Option<&'static str> {
        match self.find_file(path) {
            Err(_) => return Some("does not exist"),
            Ok(inode) if self.file(inode).lost_bytes => return Some("lost bytes in a failed sync"),
            Ok(inode) if !self.file(inode).pending.is_empty() => return Some("has unsynced bytes"),
            Ok(_) => {}
        }
        let names = path.ancestors().filter(|above| above.file_name().is_some());
        names.into_iter().find(|above| !self.has_durable_name(above)).map(|above| {
            if above == path {
                "has a name that is not durable"
            } else {
                "lies in a directory whose name is not durable"
            }
        })
    }

    pub(super) fn accuse(&mut self, path: &Path, what: &str) {
        if self.judge.violations.len() < VIOLATIONS_MAX {
            let call = self.gate.mutating_calls();
            self.judge.violations.push(format!("call {call}: {}: {what}", path.display()));
        }
    }
}

fn add(newest: &mut Newest, path: PathBuf, manifest: SimManifest) {
    let known = newest.get(&manifest.family);
    if known.is_none_or(|(_, known)| manifest.generation >= known.generation) {
        newest.insert(manifest.family.clone(), (path, manifest));
    }
}
