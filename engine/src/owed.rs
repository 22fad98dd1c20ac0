//! What a tenant's blocks want done, looked for only where there may be something.
//!
//! Each step of background work asks every tenant for what is most urgent, and of ten thousand nearly none has anything. So
//! each remembers until when nothing of a kind can be owed; a change of its manifest makes it forget.

use std::array;

use annals_compaction::{Standing, Step, next_change, plan};
use annals_model::{HOUR_MS, Timestamp};
use annals_vfs::sync::atomic::{AtomicI64, Ordering};

use crate::retention::standing;
use crate::tenant::Data;

/// A kind of work on blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owed {
    Drop,
    Merge,
    Seal,
}

const KINDS: [Owed; 3] = [Owed::Drop, Owed::Merge, Owed::Seal];

impl Owed {
    fn of(step: &Step) -> Owed {
        match step {
            Step::Drop { .. } => Owed::Drop,
            Step::Merge { .. } => Owed::Merge,
            Step::Seal { .. } => Owed::Seal,
        }
    }
}

/// Until when nothing of each kind is owed, as long as the manifest stays as it is.
#[derive(Debug)]
pub(crate) struct NothingOwed([AtomicI64; KINDS.len()]);

impl Default for NothingOwed {
    fn default() -> NothingOwed {
        NothingOwed(array::from_fn(|_| AtomicI64::new(i64::MIN)))
    }
}

impl NothingOwed {
    fn until(&self, kind: Owed) -> &AtomicI64 {
        let [drops, merges, seals] = &self.0;
        match kind {
            Owed::Drop => drops,
            Owed::Merge => merges,
            Owed::Seal => seals,
        }
    }
}

/// Whether something of a kind may be owed, as far as that is known without a look at the blocks.
pub(crate) fn may_owe(data: &Data, kind: Owed, now: Timestamp) -> bool {
    now.0 >= data.nothing_owed.until(kind).load(Ordering::Relaxed)
}

/// What the plan asks for of a kind, most urgent first.
pub(crate) fn owed(data: &Data, kind: Owed, now: Timestamp) -> Vec<Step> {
    if !may_owe(data, kind, now) {
        return Vec::new();
    }
    let (blocks, of_plan) = (&data.manifest.blocks, &data.manifest.plan);
    let standing = Standing { set_aside: data.set_aside.clone(), ..standing(&data.manifest, data.heads()) };
    let mut steps = plan(blocks, of_plan, now, &standing);
    // What heads hold changes without the manifest: so within an hour it is looked at again.
    let within = now.saturating_add(HOUR_MS);
    let next = next_change(blocks, of_plan, now).map_or(within, |next| next.min(within));
    for kind in KINDS {
        let until = if steps.iter().any(|step| Owed::of(step) == kind) { Timestamp::MIN } else { next };
        data.nothing_owed.until(kind).store(until.0, Ordering::Relaxed);
    }
    steps.retain(|step| Owed::of(step) == kind);
    steps
}
