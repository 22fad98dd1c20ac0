//! Remembered batch ids: what makes a retry count nothing.
//!
//! An id is in flight from the moment its batch is queued, and remembered once it is durable. It is forgotten only
//! when a retry could count nothing anyway, because every day that the batch could hold is sealed. A tenant whose
//! days are never sealed keeps its ids for ever; a batch without an id ([`BatchId::NONE`]) leaves none.

use std::sync::Arc;

use annals_model::{BatchId, DAY_MS, Lsn, Plan, SiteName, Timestamp};
use hashbrown::HashMap;

use crate::remembered::RememberedBatch;
use crate::ticket::TicketState;

/// A tenant's batch ids.
#[derive(Default)]
pub(crate) struct BatchIds {
    known: HashMap<(SiteName, BatchId), Known, foldhash::fast::FixedState>,
}

struct Known {
    digest: [u8; 16],
    state: State,
}

enum State {
    InFlight(Arc<TicketState>),
    Durable { written: Timestamp, lsn: Lsn },
}

/// What is known of a batch that arrives.
pub(crate) enum Seen {
    New,
    /// Counted before.
    Duplicate,
    /// The first write is on its way: its outcome is this one's.
    InFlight(Arc<TicketState>),
    /// The id stands for other content.
    Conflict,
}

impl BatchIds {
    pub(crate) fn from_remembered(batches: &[RememberedBatch]) -> BatchIds {
        let mut ids = BatchIds::default();
        for batch in batches {
            ids.remember(batch.clone(), Lsn(0));
        }
        ids
    }

    /// What is known of an id; of [`BatchId::NONE`] nothing ever is.
    pub(crate) fn check(&self, site: &SiteName, id: BatchId, digest: &[u8; 16]) -> Seen {
        match self.known.get(&(site.clone(), id)) {
            None => Seen::New,
            Some(known) if known.digest != *digest => Seen::Conflict,
            Some(Known { state: State::Durable { .. }, .. }) => Seen::Duplicate,
            Some(Known { state: State::InFlight(ticket), .. }) => Seen::InFlight(ticket.clone()),
        }
    }

    pub(crate) fn start(&mut self, site: SiteName, id: BatchId, digest: [u8; 16], ticket: Arc<TicketState>) {
        if id != BatchId::NONE {
            self.known.insert((site, id), Known { digest, state: State::InFlight(ticket) });
        }
    }

    /// The batch is durable, as that record of the log.
    pub(crate) fn remember(&mut self, batch: RememberedBatch, lsn: Lsn) {
        let known = Known { digest: batch.digest, state: State::Durable { written: batch.written, lsn } };
        if batch.id != BatchId::NONE {
            self.known.insert((batch.site, batch.id), known);
        }
    }

    /// The batch failed: its id may be used again.
    pub(crate) fn forget(&mut self, site: &SiteName, id: BatchId) {
        self.known.remove(&(site.clone(), id));
    }

    /// The ids of records up to `through`, in a fixed order, without those that a retry no longer needs.
    ///
    /// Ids of later records are left out: those records are still in the log, and a replay takes a record whose id a
    /// manifest knows for a retry.
    pub(crate) fn remembered(&mut self, plan: &Plan, now: Timestamp, through: Lsn) -> Vec<RememberedBatch> {
        if let Some(window) = plan.late_window_ms {
            // The latest stamp of a batch lies at most `future_max_ms` after it was written; its day ends at most a
            // day later and is sealed a late window after that.
            let keep_ms = plan.limits.future_max_ms.saturating_add(DAY_MS).saturating_add(window);
            self.known.retain(|_, known| match known.state {
                State::InFlight(_) => true,
                State::Durable { written, .. } => written.saturating_add(keep_ms) > now,
            });
        }
        let mut batches: Vec<RememberedBatch> = self
            .known
            .iter()
            .filter_map(|((site, id), known)| match known.state {
                State::Durable { written, lsn } if lsn <= through => {
                    Some(RememberedBatch { site: site.clone(), id: *id, digest: known.digest, written })
                }
                State::InFlight(_) | State::Durable { .. } => None,
            })
            .collect();
        batches.sort_unstable_by(|a, b| (a.written, &a.site, a.id).cmp(&(b.written, &b.site, b.id)));
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(written: i64) -> RememberedBatch {
        RememberedBatch {
            site: SiteName::new("s").expect("valid"),
            id: BatchId([1; 16]),
            digest: [2; 16],
            written: Timestamp(written),
        }
    }

    #[test]
    fn an_id_is_forgotten_only_when_all_its_days_are_sealed() {
        let plan = Plan::built_in("starter").expect("built in");
        let mut ids = BatchIds::from_remembered(&[batch(0)]);
        // Written just after midnight, the batch may hold stamps up to ten minutes ahead: their day ends at 24:00 and
        // is sealed two hours later.
        let sealed = DAY_MS + 2 * annals_model::HOUR_MS;
        assert_eq!(ids.remembered(&plan, Timestamp(sealed - 1), Lsn(9)).len(), 1);
        assert!(plan.late_floor(Timestamp(sealed)) >= Timestamp(plan.limits.future_max_ms));
        assert_eq!(ids.remembered(&plan, Timestamp(2 * sealed), Lsn(9)).len(), 0);
        let archive = Plan::built_in("archive").expect("built in");
        let mut ids = BatchIds::from_remembered(&[batch(0)]);
        assert_eq!(ids.remembered(&archive, Timestamp(i64::MAX), Lsn(9)).len(), 1);
    }

    #[test]
    fn ids_of_records_still_in_the_log_stay_out_of_the_manifest() {
        let mut ids = BatchIds::default();
        ids.remember(batch(0), Lsn(5));
        let archive = Plan::built_in("archive").expect("built in");
        assert_eq!(ids.remembered(&archive, Timestamp(0), Lsn(4)), []);
        assert_eq!(ids.remembered(&archive, Timestamp(0), Lsn(5)), [batch(0)]);
    }

    #[test]
    fn other_content_under_the_same_id_is_a_conflict() {
        let ids = BatchIds::from_remembered(&[batch(0)]);
        let site = SiteName::new("s").expect("valid");
        assert!(matches!(ids.check(&site, BatchId([1; 16]), &[2; 16]), Seen::Duplicate));
        assert!(matches!(ids.check(&site, BatchId([1; 16]), &[3; 16]), Seen::Conflict));
        assert!(matches!(ids.check(&site, BatchId([4; 16]), &[3; 16]), Seen::New));
    }
}
