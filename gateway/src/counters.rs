//! What the gateway has done since it was started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Why a signature was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsigned {
    Missing,
    Malformed,
    UnknownKey,
    BadSignature,
    Stale,
    Future,
    Replayed,
    OtherTenant,
    Body,
    Full,
}

impl Unsigned {
    pub(crate) const ALL: [Unsigned; 10] = [
        Unsigned::Missing,
        Unsigned::Malformed,
        Unsigned::UnknownKey,
        Unsigned::BadSignature,
        Unsigned::Stale,
        Unsigned::Future,
        Unsigned::Replayed,
        Unsigned::OtherTenant,
        Unsigned::Body,
        Unsigned::Full,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Unsigned::Missing => "missing",
            Unsigned::Malformed => "malformed",
            Unsigned::UnknownKey => "unknown_key",
            Unsigned::BadSignature => "bad_signature",
            Unsigned::Stale => "stale",
            Unsigned::Future => "future",
            Unsigned::Replayed => "replayed",
            Unsigned::OtherTenant => "other_tenant",
            Unsigned::Body => "body",
            Unsigned::Full => "nonces_full",
        }
    }
}

/// Requests of one route that ended with one status.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Requests {
    pub(crate) count: u64,
    pub(crate) took: Duration,
}

/// All that is counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    unsigned: [AtomicU64; Unsigned::ALL.len()],
    /// As many entries as routes and statuses.
    requests: Mutex<BTreeMap<(String, u16), Requests>>,
    pub(crate) connections: AtomicU64,
    pub(crate) connections_refused: AtomicU64,
}

impl Counters {
    pub(crate) fn unsigned(&self, why: Unsigned) {
        if let Some(counter) = self.unsigned.get(why as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn unsigned_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.unsigned.iter().map(|counter| counter.load(Ordering::Relaxed));
        Unsigned::ALL.iter().map(|why| why.name()).zip(counts)
    }

    pub(crate) fn request(&self, route: &str, status: u16, took: Duration) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let one = requests.entry((route.to_owned(), status)).or_default();
        one.count += 1;
        one.took = one.took.saturating_add(took);
    }

    pub(crate) fn requests(&self) -> Vec<((String, u16), Requests)> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().map(|(key, one)| (key.clone(), *one)).collect()
    }
}
