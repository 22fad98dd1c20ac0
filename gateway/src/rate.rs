//! How much tenants use, and when they must wait.
//!
//! Each of a tenant's two rates is one moment: when all that it has used will be paid for. Use pushes the moment on, time
//! catches up with it, and whoever is further ahead than the burst allows is told how long to wait.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use annals::TenantNumber;

use crate::config::TenantRates;

/// A tenant's two rates.
#[derive(Debug, Default, Clone, Copy)]
struct Used {
    requests: Duration,
    bytes: Duration,
}

/// What all tenants use; as many entries as tenants that ever asked.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<HashMap<TenantNumber, Used>>);

impl Rates {
    /// Counts a request; else how long to wait.
    pub(crate) fn request(
        &self,
        tenant: TenantNumber,
        rates: TenantRates,
        now: Duration,
    ) -> Result<(), Duration> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = all.entry(tenant).or_default();
        let burst = Duration::from_secs(u64::from(rates.burst_seconds));
        // What bytes cost is known only afterwards: who has used too many waits with the next request.
        let ahead = used.requests.max(used.bytes).saturating_sub(now);
        if ahead > burst {
            return Err(ahead.saturating_sub(burst));
        }
        let each = Duration::from_secs(1) / rates.requests_per_second.max(1);
        used.requests = used.requests.max(now).saturating_add(each);
        Ok(())
    }

    /// Counts the bytes of a body.
    pub(crate) fn bytes(&self, tenant: TenantNumber, rates: TenantRates, now: Duration, bytes: usize) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = all.entry(tenant).or_default();
        let cost = Duration::from_secs_f64(bytes as f64 / rates.bytes_per_second.max(1) as f64);
        used.bytes = used.bytes.max(now).saturating_add(cost);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: TenantRates =
        TenantRates { requests_per_second: 10, bytes_per_second: 1_000, burst_seconds: 2, queries: 1 };

    #[test]
    fn a_quiet_tenant_has_a_burst_and_then_its_rate() {
        let (rates, tenant) = (Rates::default(), TenantNumber(1));
        let at = |ms: u64| Duration::from_millis(1_000_000 + ms);
        let taken = (0..100).take_while(|_| rates.request(tenant, RATES, at(0)).is_ok()).count();
        assert_eq!(taken, 21);
        let wait = rates.request(tenant, RATES, at(0)).expect_err("must wait");
        assert_eq!(wait, Duration::from_millis(100));
        assert_eq!(rates.request(tenant, RATES, at(99)), Err(Duration::from_millis(1)));
        assert_eq!(rates.request(tenant, RATES, at(100)), Ok(()));
        // Others do not wait for it.
        assert_eq!(rates.request(TenantNumber(2), RATES, at(100)), Ok(()));
    }

    #[test]
    fn bytes_are_paid_for_by_the_next_request() {
        let (rates, tenant) = (Rates::default(), TenantNumber(1));
        assert_eq!(rates.request(tenant, RATES, Duration::ZERO), Ok(()));
        rates.bytes(tenant, RATES, Duration::ZERO, 5_000);
        assert_eq!(rates.request(tenant, RATES, Duration::ZERO), Err(Duration::from_secs(3)));
        assert_eq!(rates.request(tenant, RATES, Duration::from_secs(3)), Ok(()));
    }
}
