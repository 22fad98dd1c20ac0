//! Which nonces were used: a request is taken once.
//!
//! A nonce is remembered for at least twice the window in which its request could be taken, and at most twice as long:
//! two sets, of which the older is emptied when its time is over. What is remembered is bounded for each key; a key that has
//! used as many is refused until some are forgotten, and none is forgotten early.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How far a request's time may lie from the clock's, in seconds: what clocks of machines that are looked after keep.
pub(crate) const WINDOW_S: i64 = 300;
/// How long nonces are remembered at least.
const KEEP: Duration = Duration::from_secs(2 * WINDOW_S as u64);
/// As many of one key: 166 requests a second for as long as they are kept. 100,000 take 3 MiB.
const OF_KEY_MAX: usize = 100_000;

/// What became of a nonce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nonce {
    /// It is new, and remembered from now on.
    Fresh,
    /// It was used.
    Used,
    /// Its key has used as many as can be remembered.
    Full,
}

/// All that are remembered.
#[derive(Debug, Default)]
pub(crate) struct Nonces(Mutex<HashMap<[u8; 16], OfKey>>);

#[derive(Debug, Default)]
struct OfKey {
    /// When the newer set was begun.
    since: Duration,
    newer: HashSet<[u8; 16]>,
    older: HashSet<[u8; 16]>,
}

impl Nonces {
    /// Takes a nonce of a key whose signature is right.
    pub(crate) fn take(&self, key: [u8; 16], nonce: [u8; 16], now: Duration) -> Nonce {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.entry(key).or_insert_with(|| OfKey { since: now, ..OfKey::default() });
        let age = now.saturating_sub(own.since);
        if age >= KEEP {
            own.older = std::mem::take(&mut own.newer);
            own.since = now;
            // Nothing came for so long that what the newer set held is old too.
            if age >= 2 * KEEP {
                own.older = HashSet::new();
            }
        }
        if own.newer.contains(&nonce) || own.older.contains(&nonce) {
            return Nonce::Used;
        }
        if own.newer.len() + own.older.len() >= OF_KEY_MAX {
            return Nonce::Full;
        }
        own.newer.insert(nonce);
        Nonce::Fresh
    }

    /// Forgets keys that are no longer there.
    pub(crate) fn retain(&self, live: impl Fn(&[u8; 16]) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| live(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce(n: u32) -> [u8; 16] {
        let mut nonce = [0; 16];
        nonce[..4].copy_from_slice(&n.to_le_bytes());
        nonce
    }

    #[test]
    fn a_nonce_is_taken_once_for_as_long_as_its_request_could_be() {
        for started in [0, 1, 599, 600, 601] {
            let nonces = Nonces::default();
            let at = |s: u64| Duration::from_secs(1_000 + s);
            assert_eq!(nonces.take([1; 16], nonce(0), at(0)), Nonce::Fresh);
            assert_eq!(nonces.take([1; 16], nonce(1), at(started)), Nonce::Fresh);
            for later in (started..=started + 600).step_by(50) {
                assert_eq!(nonces.take([1; 16], nonce(1), at(later)), Nonce::Used, "{started}, {later}");
            }
            // It is another key's own.
            assert_eq!(nonces.take([2; 16], nonce(1), at(started)), Nonce::Fresh);
        }
    }

    #[test]
    fn a_key_that_has_used_too_many_waits_and_none_is_forgotten_early() {
        let nonces = Nonces::default();
        let now = Duration::from_secs(1);
        for n in 0..OF_KEY_MAX as u32 {
            assert_eq!(nonces.take([1; 16], nonce(n), now), Nonce::Fresh);
        }
        assert_eq!(nonces.take([1; 16], nonce(u32::MAX), now), Nonce::Full);
        assert_eq!(nonces.take([1; 16], nonce(0), now), Nonce::Used);
        assert_eq!(nonces.take([2; 16], nonce(0), now), Nonce::Fresh);
        let later = now + 2 * KEEP;
        assert_eq!(nonces.take([1; 16], nonce(u32::MAX), later), Nonce::Fresh);
    }
}
