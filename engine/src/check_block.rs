//! Checks a block's file against its entry in the manifest, down to every chunk, and says what is wrong in a form that
//! both a report and a repair can use.

use std::io::ErrorKind;
use std::path::Path;

use annals_block::{BlockError, BlockIdentity, Damage, MetricBlock, RollupBlock, SignalBlock};
use annals_model::{BlockContent, BlockMeta, KeyId, TenantNumber};
use annals_vfs::{Sealed, Vfs};

use crate::keys::TenantKeys;
use crate::verify::FindingKind;

/// A block of any content.
pub(crate) enum AnyBlock {
    Metrics(MetricBlock),
    Rollups(RollupBlock),
    Signals(SignalBlock),
}

/// What a file is, seen from the entry that names it.
pub(crate) enum Checked {
    /// Every byte is as it was written.
    Whole,
    /// It opens; some of its parts are damaged.
    Parts(Box<AnyBlock>, Vec<Damage>),
    /// Nothing of it can be used.
    Unusable(Unusable),
}

/// Why nothing of a file can be used.
pub(crate) struct Unusable {
    pub(crate) kind: FindingKind,
    pub(crate) what: String,
}

impl AnyBlock {
    pub(crate) fn open(bytes: Sealed, identity: BlockIdentity, name: &str) -> Result<AnyBlock, BlockError> {
        match identity.id.content {
            BlockContent::RawMetrics => MetricBlock::open(bytes, identity, name).map(AnyBlock::Metrics),
            BlockContent::Rollup5m | BlockContent::Rollup1h => {
                RollupBlock::open(bytes, identity, name).map(AnyBlock::Rollups)
            }
            BlockContent::RawSignals => SignalBlock::open(bytes, identity, name).map(AnyBlock::Signals),
        }
    }

    /// Gives it the keys of its tenant.
    pub(crate) fn unlock(self, keys: &TenantKeys) -> Result<AnyBlock, BlockError> {
        let content = self.meta().id.content;
        let keys = keys.of_blocks(content);
        match self {
            AnyBlock::Metrics(block) => block.unlock(keys.as_deref()).map(AnyBlock::Metrics),
            AnyBlock::Rollups(block) => block.unlock(keys.as_deref()).map(AnyBlock::Rollups),
            AnyBlock::Signals(block) => block.unlock(keys.as_deref()).map(AnyBlock::Signals),
        }
    }

    pub(crate) fn meta(&self) -> &BlockMeta {
        match self {
            AnyBlock::Metrics(block) => block.meta(),
            AnyBlock::Rollups(block) => block.meta(),
            AnyBlock::Signals(block) => block.meta(),
        }
    }

    /// The data key that it is sealed with; `None` of a plain one.
    pub(crate) fn key(&self) -> Option<KeyId> {
        match self {
            AnyBlock::Metrics(block) => block.key(),
            AnyBlock::Rollups(block) => block.key(),
            AnyBlock::Signals(block) => block.key(),
        }
    }

    fn verify(&self) -> Vec<Damage> {
        match self {
            AnyBlock::Metrics(block) => block.verify(),
            AnyBlock::Rollups(block) => block.verify(),
            AnyBlock::Signals(block) => block.verify(),
        }
    }
}

/// Reads every byte of a block's file; with the tenant's keys, decodes it too.
pub(crate) fn check_block(
    vfs: &dyn Vfs,
    path: &Path,
    tenant: TenantNumber,
    meta: &BlockMeta,
    keys: Option<&TenantKeys>,
) -> Checked {
    let unusable = |kind, what: String| Checked::Unusable(Unusable { kind, what });
    // Not mapped: where a disk fails, that is a finding.
    let bytes = match vfs.open(path).and_then(Sealed::positioned) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return unusable(FindingKind::Missing, "the file is not there".to_owned());
        }
        Err(error) => return unusable(FindingKind::Unreadable, format!("it cannot be read: {error}")),
    };
    let sized = bytes.len() as u64;
    let identity = BlockIdentity { tenant, id: meta.id };
    let opened = AnyBlock::open(bytes, identity, &path.display().to_string());
    let unlocked = opened.and_then(|block| match keys {
        Some(keys) => block.unlock(keys),
        None => Ok(block),
    });
    let block = match unlocked {
        Ok(block) => block,
        Err(BlockError::WrongIdentity { found, .. }) => {
            let what = format!("it holds block {} of tenant number {}", found.id, found.tenant);
            return unusable(FindingKind::Misplaced, what);
        }
        Err(BlockError::VersionTooNew { found, newest_known, .. }) => {
            let what = format!("block format {found} is newer than {newest_known}, the newest known");
            return unusable(FindingKind::Newer, what);
        }
        Err(BlockError::UnknownFeature { bits, .. }) => {
            return unusable(
                FindingKind::Newer,
                format!("needs block features {bits:#x} that are not known"),
            );
        }
        Err(BlockError::KeyMissing { key, .. }) => {
            let what = format!("it is sealed with key {key}, which the tenant's keys do not have");
            return unusable(FindingKind::Locked, what);
        }
        Err(BlockError::KeyMismatch { key, .. }) => {
            let what = format!("key {key} of the tenant is not the key that it was sealed with");
            return unusable(FindingKind::Locked, what);
        }
        Err(BlockError::NotSealed { .. }) => {
            let what = "it is not sealed, as all blocks of its tenant are".to_owned();
            return unusable(FindingKind::Misplaced, what);
        }
        // A cut file has neither end nor sense: its size says more than its last bytes.
        Err(_) if sized != meta.bytes => return unusable(FindingKind::Damaged, wrong_size(sized, meta)),
        Err(BlockError::Corrupt { at, .. }) => return unusable(FindingKind::Damaged, at.to_string()),
        Err(other) => return unusable(FindingKind::Damaged, other.to_string()),
    };
    if sized != meta.bytes {
        return unusable(FindingKind::Misplaced, wrong_size(sized, meta));
    }
    if block.meta() != meta {
        let what = "it is a block of that name, and not the one that the manifest names".to_owned();
        return unusable(FindingKind::Misplaced, what);
    }
    let damage = block.verify();
    if damage.is_empty() { Checked::Whole } else { Checked::Parts(Box::new(block), damage) }
}

fn wrong_size(sized: u64, meta: &BlockMeta) -> String {
    format!("it has {sized} bytes instead of {}", meta.bytes)
}
