//! What the product's files are for, so that the simulated disk judges the order of every call.

use std::path::Path;
use std::sync::Arc;

use annals::vfs::{SimRole, SimRules};

use crate::world::Machine;

/// By their names under the root.
struct Names;

impl SimRules for Names {
    fn role(&self, path: &Path) -> SimRole {
        let path = path.to_string_lossy();
        if path.contains("/tmp/") || path.contains("/quarantine/") {
            SimRole::Scratch
        } else if path.contains("/wal/") {
            SimRole::Published
        } else if path.starts_with("/safe/") && !path.ends_with("/LOCK") {
            // All that a backup holds.
            SimRole::Sealed
        } else if ["/manifest-", "/catalog-", "/keys-", ".blk", ".key", ".sign", ".receipt"]
            .iter()
            .any(|part| path.contains(part))
        {
            SimRole::Sealed
        } else {
            SimRole::Scratch
        }
    }
}

/// Has a machine's disk judged from here on.
pub(super) fn judge(machine: &Machine) {
    machine.vfs.set_rules(Arc::new(Names));
}

/// The first call that was out of order.
pub(super) fn verdict(machine: &Machine) -> Result<(), String> {
    machine.vfs.violations().first().map_or(Ok(()), |what| Err(format!("a call out of order: {what}")))
}
