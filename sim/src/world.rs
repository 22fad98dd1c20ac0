//! A machine of a simulated disk, a clock and an entropy, and the real engine on it. No thread runs: commits and
//! maintenance are steps that a campaign takes where it wants them.

use std::path::Path;
use std::sync::Arc;

use annals::vfs::{Clock, SimClock, SimEntropy, SimManifest, SimRole, SimRules, SimVfs};
use annals::{Annals, Background, OpenError, Options, ReadOnly, Timestamp};

/// 2026-09-21T14:13:20Z: when a machine is first switched on.
pub const NOW: i64 = 1_790_000_000_000;

/// A machine that can crash, lose power and be switched on again.
#[derive(Clone)]
pub struct Machine {
    /// Its disk.
    pub vfs: SimVfs,
    /// Its clock, set forth by campaigns.
    pub clock: Arc<SimClock>,
    /// What the engine draws from. Never reset: two opens must not draw the same salts.
    pub entropy: Arc<SimEntropy>,
    /// What the engine is opened with.
    pub options: Options,
}

impl Machine {
    /// A machine with an empty disk.
    #[must_use]
    pub fn new(options: Options) -> Machine {
        Machine {
            vfs: SimVfs::new(),
            clock: Arc::new(SimClock::new(NOW)),
            entropy: Arc::new(SimEntropy::new(1)),
            options: Options { background: Background::Steps, ..options },
        }
    }

    /// The same machine with a copy of its disk and a clock of its own, so that both can go on by themselves.
    #[must_use]
    pub fn fork(&self) -> Machine {
        Machine {
            vfs: self.vfs.snapshot(),
            clock: Arc::new(SimClock::new(self.clock.now_ms())),
            entropy: self.entropy.clone(),
            options: self.options.clone(),
        }
    }

    /// Opens the store for writing.
    pub fn open(&self) -> Result<Annals, OpenError> {
        self.open_at("/data")
    }

    /// Opens the store that lies somewhere.
    pub fn open_at(&self, root: &str) -> Result<Annals, OpenError> {
        let vfs = Arc::new(self.vfs.clone());
        Annals::open(vfs, self.clock.clone(), self.entropy.clone(), root.as_ref(), self.options.clone())
    }

    /// Opens the store for reading, beside a writer or alone.
    pub fn open_read_only(&self) -> Result<ReadOnly, OpenError> {
        ReadOnly::open(Arc::new(self.vfs.clone()), self.clock.clone(), "/data".as_ref())
    }

    /// What the clock says.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp(self.clock.now_ms())
    }
}

/// What the product's files are for, by their names under the root, and what its manifests say counts: by it a
/// simulated disk judges the order of calls (I10, I13, I15).
#[derive(Debug, Clone, Copy, Default)]
pub struct Order;

impl SimRules for Order {
    fn role(&self, path: &Path) -> SimRole {
        let parts: Vec<_> = path.iter().map(|part| part.to_string_lossy()).collect();
        let name = parts.last().map_or("", |name| name.as_ref());
        if parts.iter().any(|part| part == "tmp" || part == "quarantine") {
            SimRole::Scratch
        } else if parts.iter().any(|part| part == "wal") {
            SimRole::Published
        } else if ["manifest-", "catalog-", "keys-"].iter().any(|stem| name.starts_with(stem)) {
            SimRole::Manifest
        } else if [".blk", ".key", ".sign", ".receipt"].iter().any(|end| name.ends_with(end)) {
            SimRole::Sealed
        } else {
            SimRole::Scratch
        }
    }

    fn manifest(&self, path: &Path, bytes: &[u8]) -> Option<SimManifest> {
        // Asked while the disk that holds it is locked: it is looked into on one of its own.
        let alone = SimVfs::new();
        alone.write_file("/file", bytes).ok()?;
        let inspected = annals::inspect(Arc::new(alone), "/file".as_ref()).ok()?;
        let generation = inspected.facts.iter().find(|(name, _)| name == "generation")?.1.parse().ok()?;
        let directory = path.parent()?;
        let is_keys = path.file_name()?.to_string_lossy().starts_with("keys-");
        let family = if is_keys { directory.join("keys") } else { directory.to_owned() };
        let (mut names, mut after, mut families) = (Vec::new(), Vec::new(), Vec::new());
        let rows =
            inspected.tables.iter().flat_map(|table| table.rows.iter().map(|row| (&*table.title, row)));
        for (title, row) in rows {
            let Some(id) = row.first() else { continue };
            match title {
                "blocks" if id.contains("-signals-") => {
                    names.push(directory.join("s").join(format!("{id}.blk")));
                }
                "blocks" => names.push(directory.join("b").join(format!("{id}.blk"))),
                "tenants" => families.push(directory.join("t").join(id).join("keys")),
                // What the data keys are wrapped with. An erasure destroys it first of all.
                "keys"
                    if row.iter().any(|cell| cell == "wrapping")
                        && row.iter().any(|cell| cell == "active") =>
                {
                    let (root, number) =
                        (directory.parent()?.parent()?, directory.file_name()?.to_string_lossy());
                    after.push(root.join("keys").join(format!("{number}-{id}.key")));
                }
                _ => {}
            }
        }
        Some(SimManifest { family, generation, names, after, families })
    }
}
