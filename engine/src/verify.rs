//! Verify: reads every byte of a store and says what is wrong with it. Changes nothing; a writer may live beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals_model::{BlockContent, BlockMeta, TenantId, TenantNumber};
use annals_vfs::Vfs;

use crate::error::OpenError;
use crate::keys;
use crate::layout::{Layout, block_file_name};
use crate::manifest::Manifest;
use crate::open_block::OpenBlock;
use crate::recover;

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verification {
    /// What is wrong; empty where all is well.
    pub findings: Vec<Finding>,
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
    /// Whose data it holds, where that is known.
    pub tenant: Option<TenantId>,
    /// What is wrong with it, and where.
    pub what: String,
    /// What cannot be served because of it.
    pub lost: String,
}

/// Reads every catalogue, manifest, key file, block and log segment of a store.
pub fn verify(vfs: Arc<dyn Vfs>, root: &Path) -> Result<Verification, OpenError> {
    let layout = Layout::new(root);
    let mut found = Verification::default();
    let loaded = match recover::load(&*vfs, &layout) {
        Ok(Some(loaded)) => loaded,
        Ok(None) => return Err(OpenError::NoStore { root: root.to_owned() }),
        Err(_) if !layout.exists(&*vfs) => return Err(OpenError::NoStore { root: root.to_owned() }),
        Err(OpenError::Catalogue(error)) => {
            found.report(root.to_owned(), None, error.to_string(), "every tenant");
            return Ok(found);
        }
        Err(other) => return Err(other),
    };
    found.files += 1 + loaded.tenants.len() as u64;
    for text in loaded.findings {
        found.report(root.to_owned(), None, text, "nothing: the other copy is whole");
    }
    let mut written = false;
    for (number, id, manifest) in loaded.tenants {
        match manifest {
            Ok(loaded) => {
                written |= !loaded.manifest.batches.is_empty() || !loaded.manifest.blocks.is_empty();
                verify_tenant(&vfs, &layout, number, &loaded.manifest, &mut found);
            }
            Err(why) => {
                found.report(layout.tenant(number), Some(&id), why, "the tenant, until this is repaired");
            }
        }
        if let Err(error) = keys::load(&*vfs, &layout, number) {
            found.report(layout.keys.clone(), Some(&id), error.to_string(), "writing to the tenant");
        }
        found.files += 1;
    }
    count_segments(&*vfs, &layout, &mut found);
    let (after, tail) = (annals_wal::Lsn(0), annals_wal::Tail::AllValid);
    match annals_wal::read(&*vfs, &layout.wal, &loaded.root, after, tail, &mut |_| {}) {
        Ok(report) => {
            if report.first.is_none() && report.damage.is_empty() && written {
                // The last segment is never removed.
                let what = "there is no segment of the log, and there was one".to_owned();
                found.report(layout.wal.clone(), None, what, "what is not in blocks yet");
            }
            for damage in report.damage {
                let lost = match damage.lsns {
                    Some(lsns) => format!("records {lsns} of the log"),
                    None => "nothing that is known".to_owned(),
                };
                found.report(damage.path.clone(), None, damage.to_string(), &lost);
            }
        }
        Err(error) => found.report(layout.wal.clone(), None, error.to_string(), "what is not in blocks yet"),
    }
    Ok(found)
}

/// Adds the log's files to the count of what is looked at. What cannot be read is reported when the log is.
fn count_segments(vfs: &dyn Vfs, layout: &Layout, found: &mut Verification) {
    for entry in vfs.list(&layout.wal).unwrap_or_default() {
        if let Ok(bytes) = vfs.open(&layout.wal.join(entry.name)).and_then(|file| file.len()) {
            found.files += 1;
            found.bytes += bytes;
        }
    }
}

fn verify_tenant(
    vfs: &Arc<dyn Vfs>,
    layout: &Layout,
    number: TenantNumber,
    manifest: &Manifest,
    found: &mut Verification,
) {
    let id = &manifest.id;
    for &meta in &manifest.blocks {
        found.files += 1;
        found.bytes += meta.bytes;
        let block = OpenBlock::new(vfs.clone(), layout, number, meta);
        let damage: Vec<String> = match meta.id.content {
            BlockContent::RawMetrics => match block.metrics() {
                Ok(metrics) => metrics.verify().iter().map(ToString::to_string).collect(),
                Err(missing) => vec![missing.why],
            },
            BlockContent::RawSignals => match block.signals() {
                Ok(signals) => signals.verify().iter().map(ToString::to_string).collect(),
                Err(missing) => vec![missing.why],
            },
        };
        if damage.is_empty() {
            continue;
        }
        for what in damage {
            found.report(block.path.clone(), Some(id), what, &lost(&meta));
        }
    }
    for content in [BlockContent::RawMetrics, BlockContent::RawSignals] {
        let directory = layout.blocks(number, content);
        match vfs.list(&directory) {
            Ok(entries) => {
                for entry in entries {
                    let known = manifest.blocks.iter().any(|block| block_file_name(block.id) == entry.name);
                    if !known && !entry.name.ends_with(".blk") {
                        let what = "it is none of this store's files".to_owned();
                        found.report(directory.join(entry.name), Some(id), what, "nothing");
                    }
                }
            }
            Err(error) => found.report(directory, Some(id), error.to_string(), "the tenant's blocks"),
        }
    }
}

fn lost(meta: &BlockMeta) -> String {
    let what = match meta.id.content {
        BlockContent::RawMetrics => "samples",
        BlockContent::RawSignals => "raw signals",
    };
    format!("at most {} {what} after {} up to {}", meta.rows, meta.time.start, meta.time.end)
}

impl Verification {
    fn report(&mut self, path: PathBuf, tenant: Option<&TenantId>, what: String, lost: &str) {
        self.findings.push(Finding { path, tenant: tenant.cloned(), what, lost: lost.to_owned() });
    }
}
