//! Block files that no manifest names: left by a crash before their manifest, or waiting to be removed.
//!
//! They are found before the log is replayed, so that no new block takes their names, and removed after it: only then
//! it is known that the manifest which does not name them is the newest there was.

use std::collections::BTreeSet;
use std::path::PathBuf;

use annals_model::{BlockContent, TenantNumber};
use annals_vfs::{DirEntryKind, Sealed, Vfs};

use crate::check_block::AnyBlock;
use crate::layout::{Layout, block_file_name};
use crate::manifest::Manifest;
use crate::repair::identity_of;

/// More files than a process leaves that its manifest does not count: where a directory cannot be listed, new blocks are
/// named past all of these.
const UNSEEN_MAX: u64 = 1 << 20;

/// What lies in a tenant's block directories beside its blocks.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    files: Vec<PathBuf>,
    directories: BTreeSet<PathBuf>,
    /// The highest sequence number that any block file may have, named by the manifest or not.
    pub(crate) sequence_max: u64,
    /// What is neither a block nor to be removed, one sentence each.
    pub(crate) findings: Vec<String>,
}

impl Orphans {
    /// Looks through a tenant's block directories.
    pub(crate) fn find(vfs: &dyn Vfs, layout: &Layout, manifest: &Manifest, number: TenantNumber) -> Orphans {
        let mut found = Orphans::default();
        for content in [BlockContent::RawMetrics, BlockContent::RawSignals] {
            let directory = layout.blocks(number, content);
            let live: BTreeSet<String> = manifest
                .blocks
                .iter()
                .filter(|block| layout.blocks(number, block.id.content) == directory)
                .map(|block| block_file_name(block.id))
                .collect();
            let entries = match vfs.list(&directory) {
                Ok(entries) => entries,
                Err(error) => {
                    found.findings.push(format!("{}: cannot be listed: {error}", directory.display()));
                    let unseen = manifest.next_sequence.saturating_add(UNSEEN_MAX);
                    found.sequence_max = found.sequence_max.max(unseen);
                    continue;
                }
            };
            for entry in entries {
                let path = directory.join(&entry.name);
                match sequence(&entry.name).filter(|_| entry.kind == DirEntryKind::File) {
                    Some(sequence) => {
                        found.sequence_max = found.sequence_max.max(sequence);
                        if !live.contains(&entry.name) {
                            found.files.push(path);
                            found.directories.insert(directory.clone());
                        }
                    }
                    None => found
                        .findings
                        .push(format!("{}: it is none of this store's files; left alone", path.display())),
                }
            }
        }
        found
    }

    /// The bug of that name.
    pub(crate) fn adopt(&mut self, vfs: &dyn Vfs, manifest: &mut Manifest, number: TenantNumber) {
        for path in std::mem::take(&mut self.files) {
            let Ok(bytes) = vfs.open(&path).and_then(Sealed::positioned) else { continue };
            let Ok(Some(identity)) = identity_of(vfs, &path) else { continue };
            let block = AnyBlock::open(bytes, identity, "");
            manifest
                .blocks
                .extend(block.ok().filter(|_| identity.tenant == number).map(|block| *block.meta()));
        }
    }

    /// Removes them. What cannot be removed now is found again at the next open.
    pub(crate) fn remove(self, vfs: &dyn Vfs) {
        for path in &self.files {
            let _ = vfs.unlink(path);
        }
        for directory in &self.directories {
            let _ = vfs.sync_dir(directory);
        }
    }
}

/// The sequence number in a block's file name; `None` where it is not one.
fn sequence(name: &str) -> Option<u64> {
    let (_, digits) = name.strip_suffix(".blk")?.rsplit_once('-')?;
    u64::from_str_radix(digits, 16).ok()
}
