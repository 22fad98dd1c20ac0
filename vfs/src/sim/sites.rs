//! Which places in the code call the file system, and which of them have seen it fail.
//!
//! An error path that no test has entered is a guess. A campaign hands one [`SimSites`] to all of its disks and asks
//! at the end which places never met an error. Places that were never called are not known here.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use parking_lot::Mutex;

use super::fault::SimOp;

/// Who makes a call, and which.
pub(super) type Caller = (&'static Location<'static>, SimOp);

/// A place in the code that calls the file system.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SimSite {
    /// The file, as the compiler was told of it: from the workspace's root for its crates.
    pub file: &'static str,
    /// The line in it.
    pub line: u32,
    /// The column in that.
    pub column: u32,
    /// What is called there.
    pub op: SimOp,
    /// How often it was called.
    pub calls: u64,
    /// How many of those met a fault, or a disk that was full or damaged: errors that come of what the caller asked
    /// for (no such file, a name that is taken) and crash points do not count.
    pub failed: u64,
}

/// As `wal/src/segment.rs:12:34 WriteAt`.
impl fmt::Display for SimSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{} {:?}", self.file, self.line, self.column, self.op)
    }
}

/// Counts the places that call the disks which it was given to, with [`crate::SimVfs::count_sites`]. Clones count
/// together.
#[derive(Debug, Clone, Default)]
pub struct SimSites {
    /// By the address of the location, which is quick to compare; one place may have several.
    counts: Arc<Mutex<BTreeMap<(usize, SimOp), SimSite>>>,
}

impl SimSites {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> SimSites {
        SimSites::default()
    }

    /// All places that called, by file, line and column.
    #[must_use]
    pub fn sites(&self) -> Vec<SimSite> {
        let mut sites: Vec<SimSite> = self.counts.lock().values().cloned().collect();
        sites.sort();
        sites.dedup_by(|later, first| {
            let same = (later.file, later.line, later.column, later.op)
                == (first.file, first.line, first.column, first.op);
            if same {
                first.calls += later.calls;
                first.failed += later.failed;
            }
            same
        });
        sites
    }

    /// The places below some folders: how many have met an error, how many there are, and which have not.
    #[must_use]
    pub fn coverage(&self, folders: &[&str]) -> (usize, usize, Vec<SimSite>) {
        let mut sites = self.sites();
        sites.retain(|site| folders.iter().any(|folder| site.file.starts_with(folder)));
        let all = sites.len();
        sites.retain(|site| site.failed == 0);
        (all - sites.len(), all, sites)
    }

    /// Adds what another has counted, as on another thread.
    pub fn absorb(&self, other: &SimSites) {
        if Arc::ptr_eq(&self.counts, &other.counts) {
            return;
        }
        let theirs = other.counts.lock().clone();
        let mut ours = self.counts.lock();
        for (key, theirs) in theirs {
            ours.entry(key)
                .and_modify(|ours| {
                    ours.calls += theirs.calls;
                    ours.failed += theirs.failed;
                })
                .or_insert(theirs);
        }
    }

    pub(super) fn called(&self, caller: Caller) {
        self.at(caller, |site| site.calls += 1);
    }

    pub(super) fn failed(&self, caller: Caller) {
        self.at(caller, |site| site.failed += 1);
    }

    fn at(&self, (location, op): Caller, count: impl FnOnce(&mut SimSite)) {
        let mut counts = self.counts.lock();
        count(counts.entry((std::ptr::from_ref(location).addr(), op)).or_insert_with(|| SimSite {
            file: location.file(),
            line: location.line(),
            column: location.column(),
            op,
            calls: 0,
            failed: 0,
        }));
    }
}
