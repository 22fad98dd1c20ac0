//! A store in memory that decoders write to.
#![cfg_attr(not(test), expect(clippy::expect_used, reason = "fuzzing ends where there is no store"))]
#![cfg_attr(not(test), expect(dead_code, reason = "fuzz targets only look"))]

use std::sync::Arc;
use std::time::Duration;

use annals::vfs::{SimClock, SimEntropy, SimVfs};
use annals::{Annals, BatchId, Encryption, Options, Plan, SeriesKind, SiteName, Tenant, TenantId, Timestamp};

use super::series::{Form, Outcome, Samples, SeriesCaches};

pub(super) const NOW: i64 = 1_790_000_000_000;

pub(super) struct Bench {
    _store: Annals,
    tenant: Tenant,
    caches: SeriesCaches,
}

impl Bench {
    pub(super) fn new() -> Bench {
        let options = Options { encryption: Encryption::None, ..Options::default() };
        let (vfs, clock) = (Arc::new(SimVfs::new()), Arc::new(SimClock::new(NOW)));
        let entropy = Arc::new(SimEntropy::new(1));
        let store = Annals::open(vfs, clock, entropy, "/data".as_ref(), options).expect("opens");
        let plan = Plan::built_in("archive").expect("built in");
        let tenant = store.create_tenant(&TenantId::new("acme").expect("valid"), plan).expect("made");
        Bench { _store: store, tenant, caches: SeriesCaches::new(1) }
    }

    /// Has samples decoded and written under an id.
    pub(super) fn take<T, E>(
        &self,
        form: Form,
        id: u8,
        decode: impl FnOnce(&mut Samples<'_>) -> Result<T, E>,
    ) -> Result<(Outcome, T), E> {
        let mut samples = Samples::new(&self.caches, &self.tenant, form, Timestamp(NOW), 7);
        let decoded = decode(&mut samples)?;
        let site = SiteName::new("node").expect("valid");
        let written = samples.write(BatchId([id; 16]), &site, Duration::ZERO).expect("queued");
        let done: Vec<_> = written.tickets.into_iter().map(|own| own.wait().expect("written")).collect();
        Ok((Outcome::of(&done, written.numbers, written.refused), decoded))
    }

    /// Has samples decoded, and writes none.
    pub(super) fn look(&self, form: Form, decode: impl FnOnce(&mut Samples<'_>)) {
        decode(&mut Samples::new(&self.caches, &self.tenant, form, Timestamp(NOW), 7));
    }

    pub(super) fn ask(&self, expression: &str) -> String {
        let answer = self.tenant.reader().query(expression, Timestamp(NOW)).expect("an answer");
        format!("{:?}", answer.value)
    }

    pub(super) fn kind(&self, metric: &str) -> Option<SeriesKind> {
        self.tenant.metric_kind(metric)
    }
}
