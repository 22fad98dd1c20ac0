//! Reads a damaged file as the engine would, all of it, and says whether the damage was noticed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use annals::vfs::Sealed;
use annals::{BlockMeta, Day, TenantNumber};
use annals_block::{BlockError, BlockIdentity, Damage, MetricBlock, RollupBlock, SignalBlock};
use annals_wal::{FrameSummary, Tail};

use super::memory::Memory;
use super::store::{Fixed, ROOT};

/// A file and how it is read.
pub(super) struct Target {
    pub(super) path: PathBuf,
    pub(super) bytes: Arc<Vec<u8>>,
    kind: Kind,
}

enum Kind {
    /// By the decoder of blocks.
    Block(BlockIdentity, BlockMeta),
    /// By the reader of logs, among the log's other segments.
    Segment([u8; 16], Memory),
    /// By a verification of the whole store, which is small.
    Small(Memory),
}

impl Target {
    /// A block of a store.
    pub(super) fn block(fixed: &Fixed, path: &Path) -> Target {
        let bytes = fixed.read(path);
        let identity = identity_of(&bytes).expect("a block says which one it is");
        let meta = open(&bytes, identity).expect("it is whole").1;
        Target { path: path.to_owned(), bytes, kind: Kind::Block(identity, meta) }
    }

    /// A segment of a store's log.
    pub(super) fn segment(fixed: &Fixed, path: &Path) -> Target {
        let wal = Path::new(ROOT).join("wal");
        let memory = fixed.memory.below(&wal);
        let summary = annals_wal::inspect(&memory, path, &mut |_| {}).expect("it is whole");
        Target {
            path: path.to_owned(),
            bytes: fixed.read(path),
            kind: Kind::Segment(summary.root_id, memory),
        }
    }

    /// A file of a small store.
    pub(super) fn small(fixed: &Fixed, path: &Path) -> Target {
        Target { path: path.to_owned(), bytes: fixed.read(path), kind: Kind::Small(fixed.memory.clone()) }
    }

    /// Whether the damage was noticed; `one` where it must be noticed as exactly one.
    pub(super) fn judge(&self, damaged: Vec<u8>, one: bool) -> Result<(), String> {
        if damaged == **self.bytes {
            return Ok(());
        }
        match &self.kind {
            Kind::Block(identity, meta) => judge_block(damaged, *identity, meta, one),
            Kind::Segment(root, memory) => self.judge_segment(damaged, root, memory, one),
            Kind::Small(memory) => {
                judge_store(&memory.with(&self.path, Arc::new(damaged)), &[&self.path], one)
            }
        }
    }

    fn judge_segment(
        &self,
        damaged: Vec<u8>,
        root: &[u8; 16],
        log: &Memory,
        one: bool,
    ) -> Result<(), String> {
        let log = log.with(&self.path, Arc::new(damaged));
        let directory = Path::new(ROOT).join("wal");
        let read = annals_wal::read(&log, &directory, root, annals_wal::Lsn(0), Tail::AllValid, &mut |_| {});
        // A newer version, or a disk that refuses: an error that names the file.
        let report = match read {
            Ok(report) => report,
            Err(error) => return named(&error.to_string(), &self.path),
        };
        let missing = |damage: &&annals_wal::Damage| damage.kind != annals_wal::DamageKind::SegmentMissing;
        let damage: Vec<_> = report.damage.iter().filter(missing).collect();
        match damage.as_slice() {
            // The seal of a clean close may go with the zeros after it: then the log ends as after a crash, whole.
            [] if self.longer_by_zeros(&log) || self.ends_early(&log) && self.same_records(&report, root) => {
                Ok(())
            }
            [] => self.judge_tail(&log),
            found if found.iter().any(|damage| damage.path != self.path) => {
                Err(format!("another file is named: {found:?}"))
            }
            found if one && found.len() > 1 => {
                Err(format!("one damage, {} findings: {found:?}", found.len()))
            }
            _ => Ok(()),
        }
    }

    /// Whether the file only has more of the zeros that every segment ends in: they are read and found to be zero.
    fn longer_by_zeros(&self, log: &Memory) -> bool {
        let damaged = log.read(&self.path).unwrap_or_default();
        let tail = damaged.get(self.bytes.len()..).unwrap_or_default();
        damaged.starts_with(&self.bytes) && tail.iter().all(|&byte| byte == 0)
    }

    /// Whether all that was changed is now zero, up to the end of what was in use.
    fn ends_early(&self, log: &Memory) -> bool {
        let damaged = log.read(&self.path).unwrap_or_default();
        let used = |bytes: &[u8]| bytes.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
        let left = used(&damaged);
        left < used(&self.bytes) && self.bytes.starts_with(&damaged[..left])
    }

    /// Whether a log that ends early, without a sign, still has every record.
    fn same_records(&self, report: &annals_wal::ReadReport, root: &[u8; 16]) -> bool {
        let Kind::Segment(_, whole) = &self.kind else { return false };
        let directory = Path::new(ROOT).join("wal");
        let read = annals_wal::read(whole, &directory, root, annals_wal::Lsn(0), Tail::AllValid, &mut |_| {});
        read.is_ok_and(|read| (read.records, read.through) == (report.records, report.through))
    }

    /// What the log's readers take for space after its end, a verification still looks at.
    fn judge_tail(&self, log: &Memory) -> Result<(), String> {
        let mut tail = false;
        let summary = annals_wal::inspect(log, &self.path, &mut |frame| match frame {
            FrameSummary::Sound { .. } => tail = false,
            FrameSummary::Bad { .. } => tail = true,
        });
        let unused = summary.is_ok_and(|summary| summary.first.is_none());
        if tail || unused {
            return Ok(());
        }
        let used = |bytes: &[u8]| bytes.iter().rposition(|&byte| byte != 0).map_or(0, |at| at + 1);
        let left = used(&log.read(&self.path).unwrap_or_default());
        Err(format!("nothing noticed it, where {} bytes were in use and now {left}", used(&self.bytes)))
    }
}

/// Which block a file says that it is.
pub(super) fn identity_of(bytes: &Arc<Vec<u8>>) -> Option<BlockIdentity> {
    let nobody = BlockIdentity {
        tenant: TenantNumber(u32::MAX),
        id: annals::BlockId {
            day: Day(i32::MAX),
            content: annals::BlockContent::RawMetrics,
            sequence: u64::MAX,
        },
    };
    match MetricBlock::open(Sealed::new(bytes.to_vec()), nobody, "") {
        Err(BlockError::WrongIdentity { found, .. }) => Some(found),
        _ => None,
    }
}

/// Opens a block and checks every byte of it.
pub(super) fn open(bytes: &[u8], identity: BlockIdentity) -> Result<(Vec<Damage>, BlockMeta), BlockError> {
    let bytes = Sealed::new(bytes.to_vec());
    Ok(match identity.id.content {
        annals::BlockContent::RawMetrics => {
            let block = MetricBlock::open(bytes, identity, "the block")?;
            (block.verify(), *block.meta())
        }
        annals::BlockContent::Rollup5m | annals::BlockContent::Rollup1h => {
            let block = RollupBlock::open(bytes, identity, "the block")?;
            (block.verify(), *block.meta())
        }
        annals::BlockContent::RawSignals => {
            let block = SignalBlock::open(bytes, identity, "the block")?;
            (block.verify(), *block.meta())
        }
    })
}

fn judge_block(damaged: Vec<u8>, identity: BlockIdentity, meta: &BlockMeta, one: bool) -> Result<(), String> {
    match open(&damaged, identity) {
        Err(_) => Ok(()),
        Ok((found, _)) if one && found.len() > 1 => {
            Err(format!("one damage, {} findings: {found:?}", found.len()))
        }
        Ok((found, _)) if !found.is_empty() => Ok(()),
        // Another block under the same name is told from the manifest's entry.
        Ok((_, found)) if found != *meta => Ok(()),
        Ok(_) => Err("nothing noticed it".to_owned()),
    }
}

/// Verifies a whole store in which these files are not what they were.
pub(super) fn judge_store(memory: &Memory, damaged: &[&Path], one: bool) -> Result<(), String> {
    let found = match annals::verify(Arc::new(memory.clone()), ROOT.as_ref()) {
        Ok(found) => found,
        Err(error) => return Err(format!("the verification failed: {error}")),
    };
    let paths: Vec<&Path> = found
        .findings
        .iter()
        .map(|finding| finding.path.as_path())
        .chain(found.notes.iter().map(|note| note.path.as_path()))
        .collect();
    let told = |path: &Path| paths.contains(&path);
    if let Some(stranger) = paths.iter().find(|path| !damaged.contains(path)) {
        return Err(format!("{} is named, which is whole: {:?}", stranger.display(), found.findings));
    }
    if one && paths.len() > 1 {
        return Err(format!("one damage, {} findings: {:?}", paths.len(), found.findings));
    }
    // Without a catalogue no other file can be told from garbage, without a manifest none of that tenant's.
    let excused = |silent: &Path| {
        damaged.iter().filter(|path| told(path)).any(|path| {
            let name = path.to_string_lossy();
            let beside = path.parent().is_some_and(|directory| silent.starts_with(directory));
            name.contains("catalog-") || name.contains("manifest-") && beside
        })
    };
    match damaged.iter().find(|path| !told(path) && !excused(path)) {
        Some(silent) => Err(format!("nothing noticed what became of {}", silent.display())),
        None => Ok(()),
    }
}

fn named(text: &str, path: &Path) -> Result<(), String> {
    let path = path.display().to_string();
    if text.contains(&path) { Ok(()) } else { Err(format!("an error that does not name the file: {text}")) }
}
