//! What a tenant asked, and what that took: kept in memory, for that tenant alone to see.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use annals::{TenantNumber, Timestamp};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::json;

use super::look;
use crate::access::Right;
use crate::app::Gateway;
use crate::reply::ApiError;

/// Queries that are kept of a tenant: those that took longest, all times that they were asked taken together.
const QUERIES_MAX: usize = 32;
/// A longer query is not kept.
const QUERY_BYTES_MAX: usize = 1 << 10;
/// Tenants whose queries are kept; with the two above, some 40 MiB at most.
const TENANTS_MAX: usize = 1_000;

/// What one answer took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Took {
    pub(crate) time: Duration,
    pub(crate) samples: u64,
    pub(crate) is_answered: bool,
    pub(crate) at: Timestamp,
}

/// What all tenants asked.
#[derive(Debug, Default)]
pub(crate) struct AskedQueries(Mutex<HashMap<TenantNumber, Vec<Asked>>>);

/// A query, each time that it was asked taken together.
#[derive(Debug, Clone, PartialEq)]
struct Asked {
    query: String,
    times: u64,
    failed: u64,
    time: Duration,
    time_max: Duration,
    samples: u64,
    last: Timestamp,
}

impl AskedQueries {
    /// Counts a query.
    pub(crate) fn add(&self, tenant: TenantNumber, query: &str, took: Took) {
        if query.len() > QUERY_BYTES_MAX {
            return;
        }
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= TENANTS_MAX && !all.contains_key(&tenant) {
            return;
        }
        let own = all.entry(tenant).or_default();
        let known = own.iter().position(|asked| asked.query == query);
        let at = known.unwrap_or_else(|| {
            if own.len() >= QUERIES_MAX {
                // The one that took least makes room.
                let least =
                    own.iter().enumerate().min_by_key(|(_, asked)| asked.time).map_or(0, |(at, _)| at);
                own.swap_remove(least);
            }
            let time = Duration::ZERO;
            let query = query.to_owned();
            own.push(Asked { query, times: 0, failed: 0, time, time_max: time, samples: 0, last: took.at });
            own.len() - 1
        });
        let Some(asked) = own.get_mut(at) else { return };
        asked.times += 1;
        asked.failed += u64::from(!took.is_answered);
        asked.time += took.time;
        asked.time_max = asked.time_max.max(took.time);
        asked.samples = asked.samples.saturating_add(took.samples);
        asked.last = asked.last.max(took.at);
    }

    /// A tenant's, those that took longest first.
    fn of(&self, tenant: TenantNumber) -> Vec<Asked> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut own = all.get(&tenant).cloned().unwrap_or_default();
        own.sort_by(|a, b| b.time.cmp(&a.time).then_with(|| a.query.cmp(&b.query)));
        own
    }
}

/// `queries`
pub(crate) async fn queries(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    look(&gateway, &headers, (Right::Read, "its most expensive queries"), |gateway, tenant| {
        let own = gateway.asked.of(tenant.number());
        let own = own.into_iter().map(|asked| {
            json!({
                "query": asked.query,
                "asked": asked.times,
                "failed": asked.failed,
                "seconds": asked.time.as_secs_f64(),
                "seconds_max": asked.time_max.as_secs_f64(),
                "samples": asked.samples,
                "last": asked.last.0,
            })
        });
        own.collect()
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(ms: u64) -> Took {
        Took { time: Duration::from_millis(ms), samples: 10, is_answered: ms != 3, at: Timestamp(ms as i64) }
    }

    #[test]
    fn what_took_longest_is_kept_and_each_tenant_sees_its_own() {
        let (asked, acme, other) = (AskedQueries::default(), TenantNumber(1), TenantNumber(2));
        for n in 1..=100 {
            asked.add(acme, &format!("q{n}"), took(n));
        }
        asked.add(acme, "q100", took(3));
        asked.add(acme, &"x".repeat(QUERY_BYTES_MAX + 1), took(1_000));
        let own = asked.of(acme);
        assert_eq!(own.len(), QUERIES_MAX);
        let first = &own[0];
        assert_eq!((first.query.as_str(), first.times, first.failed, first.samples), ("q100", 2, 1, 20));
        assert_eq!((first.time, first.time_max), (Duration::from_millis(103), Duration::from_millis(100)));
        assert_eq!(own[QUERIES_MAX - 1].query, "q69");
        assert_eq!(asked.of(other), []);
        for n in 0..TENANTS_MAX as u32 + 10 {
            asked.add(TenantNumber(n), "up", took(1));
        }
        assert_eq!(asked.0.lock().expect("whole").len(), TENANTS_MAX);
    }
}
