//! A piece of slow work while it is done: a span for whoever traces, and counted when it ends.
//!
//! Spans and events name the tenant, counts and durations, and never content.

use std::time::Duration;

use annals_model::{BlockMeta, TenantId};
use tracing::span::EnteredSpan;

use crate::counters::Work;
use crate::shared::Shared;

/// Work that has begun. Where it is dropped before [`Working::done`] it has failed.
pub(crate) struct Working<'s> {
    shared: &'s Shared,
    work: Work,
    since: Duration,
    outcome: Outcome,
    _span: EnteredSpan,
}

/// How it ended.
enum Outcome {
    Failed,
    PutOff,
    /// Rows and bytes that it made, or took away.
    Done(u64, u64),
}

impl<'s> Working<'s> {
    pub(crate) fn begin(shared: &'s Shared, work: Work, tenant: &TenantId) -> Working<'s> {
        let span = tracing::info_span!("work", kind = work.word(), tenant = tenant.as_str());
        Working {
            shared,
            work,
            since: shared.clock.monotonic(),
            outcome: Outcome::Failed,
            _span: span.entered(),
        }
    }

    /// It is done, and came to these blocks.
    pub(crate) fn done(mut self, blocks: &[BlockMeta]) {
        let rows = blocks.iter().map(|block| block.rows).sum();
        self.outcome = Outcome::Done(rows, blocks.iter().map(|block| block.bytes).sum());
    }

    /// There was nothing to be done yet.
    pub(crate) fn put_off(mut self) {
        self.outcome = Outcome::PutOff;
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let took = self.shared.clock.monotonic().saturating_sub(self.since);
        let took_ms = took.as_secs_f64() * 1e3;
        match self.outcome {
            Outcome::Done(rows, bytes) => {
                self.shared.counters.work(self.work, true, rows, bytes, took);
                tracing::info!(rows, bytes, took_ms, "done");
            }
            Outcome::Failed => {
                self.shared.counters.work(self.work, false, 0, 0, took);
                tracing::warn!(took_ms, "failed; it is tried again");
            }
            Outcome::PutOff => {}
        }
    }
}
