//! Snapshots in a run: one is taken of the store that is open, restored on a copy of the machine, and compared.

use std::sync::Arc;

use annals::vfs::Vfs;
use annals::{At, Durability, FileKeyStore, ReadOnly, RestoreError, RestoreInto, restore};

use super::run::Run;
use crate::oracle::{Beside, State, Violation};

/// Where snapshots are.
const BACKUP: &str = "/safe/backup";
/// Where they are restored to.
const RESTORED: &str = "/restored";

impl Run<'_> {
    pub(super) fn backup(&mut self) -> Result<(), Violation> {
        let taken = match self.store().backup(BACKUP.as_ref()) {
            Ok(taken) => taken,
            Err(error) => {
                self.answer("no snapshot", error);
                return Ok(());
            }
        };
        self.answer("snapshot", format!("{} {:?}", taken.number, taken.faults));
        // What is in doubt may be in it, and what fails or is damaged may not.
        let doubtful = |state| state == State::Doubtful;
        let in_doubt = self.oracle.tenants().any(|id| {
            doubtful(self.oracle.tenant_state(id))
                || self.oracle.is_in_doubt(id)
                || self.oracle.batches(id).any(|tried| doubtful(self.oracle.state(&tried)))
        });
        let fails = self.outcome.faults > 0 || !self.rotten.is_empty() || self.machine.vfs.crashed();
        if in_doubt || fails {
            return Ok(());
        }
        if let Some(fault) = taken.faults.first() {
            return Err(Violation::new("I4", format!("a snapshot lacks something without a fault: {fault}")));
        }
        self.outcome.checks += 1;
        let copy = self.machine.fork();
        copy.vfs.clear_faults();
        let vfs: Arc<dyn Vfs> = Arc::new(copy.vfs.clone());
        let keys = FileKeyStore::new(vfs.clone(), "/data/keys".as_ref(), "/data/tmp".as_ref());
        let (into, keys) = (
            RestoreInto { root: RESTORED.as_ref(), options: &copy.options },
            self.config.sealed.then_some(&keys as &dyn annals::KeyStore),
        );
        let violated = |what: String| Violation::new("I4", what);
        match restore(&vfs, &*copy.clock, &*copy.entropy, BACKUP.as_ref(), At::Newest, keys, into) {
            // All were erased.
            Err(RestoreError::Nobody { .. }) if taken.tenants == 0 => return Ok(()),
            Err(error) => return Err(violated(format!("a snapshot is not restored: {error}"))),
            Ok(restored) if !restored.faults.is_empty() || !restored.left_out.is_empty() => {
                return Err(violated(format!("a snapshot is not restored whole: {restored:?}")));
            }
            Ok(_) => {}
        }
        let restored = ReadOnly::open(vfs, copy.clock.clone(), RESTORED.as_ref());
        let restored = restored.map_err(|error| violated(format!("what was restored: {error}")))?;
        // What was acknowledged before it was synced may not be in it yet.
        let beside = match self.config.durability {
            Durability::Synced => Beside::Nobody,
            Durability::Buffered => Beside::Writer,
        };
        self.oracle.check_read_only(&restored, beside, self.machine.now())
    }
}
