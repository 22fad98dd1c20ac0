//! Disks that lie and wear out while they run: what a call meets at a place on the disk.
//!
//! [`SimFault`](crate::SimFault) strikes the n-th call, whatever it is for; a [`SimDecay`] strikes the calls that
//! touch some bytes of some files. What was written and lost, or written elsewhere, is seen by reads as it should be
//! until [`SimVfs::drop_caches`](crate::SimVfs::drop_caches) or a cut: that is what caches do.

use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::content::Content;
use super::disk::{Change, Disk, Inode, InodeId};
use super::fault::SimError;
use crate::SimEntropy;

const SECTOR_BYTES: u64 = 512;
/// Bad sectors come in clusters.
const CLUSTER_SECTORS_MAX: u64 = 8;

/// What happens to bytes that a call touches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SimRot {
    /// Reading or mapping them fails with EIO. A mapping that is there already goes on to be readable: a fault in a
    /// mapped page ends a real process, and cannot be given back as an error.
    Unreadable,
    /// Reads and new mappings see bits of each byte flipped; the disk holds the right ones.
    Flipped {
        /// The bits.
        mask: u8,
    },
    /// Reads and new mappings see what the file held when this was set, zeros where it ended before.
    Stale,
    /// Writes and their sync succeed, and the bytes never reach the disk.
    Lost,
    /// Writes and their sync succeed, and the bytes land in a file at an offset, as far as that file reaches.
    Misdirected {
        /// The file; where there is none, the bytes are lost.
        path: PathBuf,
        /// Where the first byte lands.
        offset: u64,
    },
}

impl SimRot {
    fn strikes_writes(&self) -> bool {
        match self {
            SimRot::Unreadable | SimRot::Flipped { .. } | SimRot::Stale => false,
            SimRot::Lost | SimRot::Misdirected { .. } => true,
        }
    }
}

/// Where a disk is bad, in which way, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimDecay {
    /// The file, or a directory for all files below it, as opened or by its present name.
    pub path: PathBuf,
    /// The bytes of the file. Calls that touch none of them pass.
    pub bytes: Range<u64>,
    /// What happens to those of them that a call touches.
    pub rot: SimRot,
    /// How many calls that touch them pass first.
    pub after: u64,
    /// How many are struck then; `u64::MAX` is for ever.
    pub times: u64,
}

impl SimDecay {
    /// All bytes below a path, from now on, for ever.
    #[must_use]
    pub fn of(path: impl Into<PathBuf>, rot: SimRot) -> SimDecay {
        SimDecay { path: path.into(), bytes: 0..u64::MAX, rot, after: 0, times: u64::MAX }
    }

    /// A few neighbouring sectors of one of these files, going bad in some way at some time.
    #[must_use]
    pub fn drawn(files: &[(PathBuf, u64)], seed: u64) -> Option<SimDecay> {
        let entropy = SimEntropy::new(seed);
        let below = |limit: u64| entropy.next_u64() % limit.max(1);
        let any = |entropy: &SimEntropy| files.get((entropy.next_u64() % files.len().max(1) as u64) as usize);
        let (path, len) = any(&entropy)?;
        let first = below(len.div_ceil(SECTOR_BYTES)) * SECTOR_BYTES;
        let bytes = first..first + (1 + below(CLUSTER_SECTORS_MAX)) * SECTOR_BYTES;
        let rot = match below(5) {
            0 => SimRot::Unreadable,
            1 => SimRot::Flipped { mask: 1 << below(8) },
            2 => SimRot::Stale,
            3 => SimRot::Lost,
            _ => {
                let (path, len) = any(&entropy)?;
                SimRot::Misdirected {
                    path: path.clone(),
                    offset: below(len.div_ceil(SECTOR_BYTES)) * SECTOR_BYTES,
                }
            }
        };
        let times = if below(2) == 0 { 1 } else { u64::MAX };
        Some(SimDecay { path: path.clone(), bytes, rot, after: below(4), times })
    }
}

/// A decay, and what it needs to know of before.
#[derive(Debug)]
pub(super) struct Armed {
    decay: SimDecay,
    /// What files held when it was set.
    before: Vec<(InodeId, Content)>,
}

impl Armed {
    /// Counts a call that touches bytes; says which of them it strikes.
    fn strikes(&mut self, touched: Range<u64>) -> Option<Range<u64>> {
        let SimDecay { bytes, after, times, .. } = &mut self.decay;
        let struck = bytes.start.max(touched.start)..bytes.end.min(touched.end);
        if struck.is_empty() || *times == 0 {
            return None;
        }
        if *after > 0 {
            *after -= 1;
            return None;
        }
        if *times != u64::MAX {
            *times -= 1;
        }
        Some(struck)
    }
}

impl Disk {
    pub(super) fn add_decay(&mut self, decay: SimDecay) {
        let mut before = Vec::new();
        if decay.rot == SimRot::Stale {
            self.walk_all(&mut |path, id, inode| match inode {
                Inode::File(file) if path.starts_with(&decay.path) => {
                    before.push((id, file.volatile.clone()));
                }
                _ => {}
            });
        }
        self.decays.push(Armed { decay, before });
    }

    /// What a read of good bytes makes of them here.
    pub(super) fn decay_read(
        &mut self,
        inode: InodeId,
        path: &Path,
        into: &mut [u8],
        offset: u64,
    ) -> io::Result<()> {
        let touched = offset..offset + into.len() as u64;
        let mut decays = std::mem::take(&mut self.decays);
        let mut result = Ok(());
        for armed in decays.iter_mut().filter(|armed| !armed.decay.rot.strikes_writes()) {
            if !self.lies_below(inode, path, &armed.decay.path) {
                continue;
            }
            let Some(struck) = armed.strikes(touched.clone()) else { continue };
            let part = &mut into[(struck.start - offset) as usize..(struck.end - offset) as usize];
            match &armed.decay.rot {
                SimRot::Flipped { mask } => part.iter_mut().for_each(|byte| *byte ^= mask),
                SimRot::Stale => {
                    if let Some((_, content)) = armed.before.iter().find(|(id, _)| *id == inode) {
                        let count = content.read(part, struck.start);
                        part[count..].fill(0);
                    }
                }
                _ => result = Err(self.refuse(SimError::Io)),
            }
        }
        self.decays = decays;
        result
    }

    /// Writes: reads see it, and what reaches the disk is what the decays let through.
    pub(super) fn decay_write(&mut self, inode: InodeId, path: &Path, bytes: &[u8], offset: u64) {
        let end = offset + bytes.len() as u64;
        let mut decays = std::mem::take(&mut self.decays);
        let mut lost = None;
        for armed in decays.iter_mut().filter(|armed| armed.decay.rot.strikes_writes()) {
            if lost.is_some() || !self.lies_below(inode, path, &armed.decay.path) {
                continue;
            }
            let Some(struck) = armed.strikes(offset..end) else { continue };
            if let SimRot::Misdirected { path, offset: to } = &armed.decay.rot {
                let part = &bytes[(struck.start - offset) as usize..(struck.end - offset) as usize];
                self.overwrite(path, part, *to);
            }
            lost = Some(struck);
        }
        self.decays = decays;
        let Some(lost) = lost else {
            return self.change_file(inode, Change::Write { offset, bytes: bytes.into() });
        };
        // Lengths are the file system's own and are kept apart from the data: that one is right.
        self.change_file(inode, Change::Grow { len: end });
        for kept in [offset..lost.start, lost.end..end] {
            if !kept.is_empty() {
                let part = &bytes[(kept.start - offset) as usize..(kept.end - offset) as usize];
                self.change_file(inode, Change::Write { offset: kept.start, bytes: part.into() });
            }
        }
        self.file_mut(inode).volatile.write(bytes, offset);
    }

    /// Puts bytes where they do not belong, as far as the file reaches.
    fn overwrite(&mut self, path: &Path, bytes: &[u8], offset: u64) {
        let Ok(inode) = self.find_file(path) else { return };
        let file = self.file_mut(inode);
        for content in [&mut file.durable, &mut file.volatile] {
            let room = usize::try_from(content.len().saturating_sub(offset)).unwrap_or(usize::MAX);
            content.write(&bytes[..bytes.len().min(room)], offset);
        }
    }

    fn lies_below(&self, inode: InodeId, opened_as: &Path, path: &Path) -> bool {
        opened_as.starts_with(path) || self.find(path).is_ok_and(|found| found == inode)
    }

    /// Reads see what is on the disk, and what is still to be written to it.
    pub(super) fn drop_caches(&mut self) {
        for inode in self.inodes_mut() {
            if let Inode::File(file) = inode {
                file.volatile = file.durable.clone();
                for pending in &file.pending {
                    pending.change.apply(&mut file.volatile);
                }
            }
        }
    }
}
