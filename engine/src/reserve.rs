//! Space kept back for the day on which the disk is full.
//!
//! A file `RESERVE` under the root holds zeros and nothing else. Where a manifest cannot be written, or the log cannot
//! be recovered, because the disk is full, the file goes and the work is tried again: so expired data leaves, deletions
//! hold, and a store opens on a full disk. Maintenance makes the file anew as soon as there is space, before new log
//! segments take it.
//!
//! It is as large as what a recovery may have to copy, the longest segment of the log, and some manifests.

use std::io::{self, ErrorKind};

use annals_vfs::Vfs;
use annals_vfs::planted::{Bug, planted};
use annals_vfs::sync::Mutex;

use crate::layout::Layout;

/// For manifests, beside a log segment.
const MANIFEST_BYTES: u64 = 1 << 20;

/// The reserve of one root.
pub(crate) struct Reserve {
    /// How long the file is; 0 where there is none.
    bytes: Mutex<u64>,
}

impl Reserve {
    /// Looks how much an earlier process kept back.
    pub(crate) fn find(vfs: &dyn Vfs, layout: &Layout) -> Reserve {
        let bytes = vfs.open(&layout.reserve).and_then(|file| file.len()).unwrap_or(0);
        Reserve { bytes: Mutex::new(bytes) }
    }

    /// Gives the space back; says whether there was any.
    pub(crate) fn release(&self, vfs: &dyn Vfs, layout: &Layout) -> bool {
        let mut bytes = self.bytes.lock();
        if *bytes == 0 || vfs.unlink(&layout.reserve).is_err() {
            return false;
        }
        *bytes = 0;
        // Some file systems give space back only with the next commit of their journal.
        let _ = vfs.sync_dir(&layout.root);
        true
    }

    /// Keeps back what a log with segments of that length needs; does nothing where that much is kept back.
    pub(crate) fn fill(&self, vfs: &dyn Vfs, layout: &Layout, segment_bytes: u64) -> io::Result<()> {
        if planted(Bug::ReserveNotKept) {
            return Ok(());
        }
        let wanted = segment_bytes.next_power_of_two().saturating_add(MANIFEST_BYTES);
        let mut bytes = self.bytes.lock();
        if *bytes >= wanted {
            return Ok(());
        }
        let draft = layout.temporary.join(RESERVE_DRAFT);
        let made = make(vfs, &draft, wanted).and_then(|()| {
            match vfs.unlink(&layout.reserve) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => *bytes = 0,
            }
            vfs.rename(&draft, &layout.reserve)
        });
        match made {
            Ok(()) => *bytes = wanted,
            Err(error) => {
                let _ = vfs.unlink(&draft);
                return Err(error);
            }
        }
        vfs.sync_dir(&layout.root)
    }
}

const RESERVE_DRAFT: &str = "reserve";

/// Zeros that are on the disk, not only promised by it.
fn make(vfs: &dyn Vfs, path: &std::path::Path, bytes: u64) -> io::Result<()> {
    let file = match vfs.create(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            vfs.unlink(path)?;
            vfs.create(path)?
        }
        created => created?,
    };
    file.allocate(bytes)?;
    file.sync()
}
