//! Which nonces were used: a request is taken once.
//!
//! A nonce is remembered for at least twice the window in which its request could be taken, and at most twice as long:
//! two sets, of which the older is emptied when its time is over. What is remembered is bounded for each key; a key that has
//! used as many is refused until some are forgotten, and none is forgotten early.
//!
//! A clock that is set back does not make old requests new again: of each key the latest time is kept that a request with a
//! forgotten nonce had, and nothing of that time or before is taken. A clock that was ahead for a while does no more harm
//! than that: what it has told does not count, only what was signed then.

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
    /// Its request is of a time of which nonces are forgotten.
    Forgotten,
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
    newer: Set,
    older: Set,
    /// The latest time of a request whose nonce was forgotten.
    forgotten: Option<i64>,
}

/// Nonces, and the latest time of their requests.
#[derive(Debug, Default)]
struct Set {
    nonces: HashSet<[u8; 16]>,
    latest: Option<i64>,
}

impl OfKey {
    /// Forgets what is old enough.
    fn age(&mut self, now: Duration) {
        let age = now.saturating_sub(self.since);
        if age < KEEP {
            return;
        }
        self.forget();
        self.since = now;
        // Nothing came for so long that what the newer set held is old too.
        if age >= 2 * KEEP {
            self.forget();
        }
    }

    /// Empties the older set; the newer one is the older from now on.
    fn forget(&mut self) {
        let old = std::mem::replace(&mut self.older, std::mem::take(&mut self.newer));
        self.forgotten = self.forgotten.max(old.latest);
    }
}

impl Nonces {
    /// Takes a nonce of a key, whose signature is right and says that time.
    pub(crate) fn take(&self, key: [u8; 16], nonce: [u8; 16], time: i64, now: Duration) -> Nonce {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = all.entry(key).or_insert_with(|| OfKey { since: now, ..OfKey::default() });
        own.age(now);
        if own.newer.nonces.contains(&nonce) || own.older.nonces.contains(&nonce) {
            return Nonce::Used;
        }
        if own.forgotten.is_some_and(|latest| time <= latest) {
            return Nonce::Forgotten;
        }
        if own.newer.nonces.len() + own.older.nonces.len() >= OF_KEY_MAX {
            return Nonce::Full;
        }
        own.newer.nonces.insert(nonce);
        own.newer.latest = own.newer.latest.max(Some(time));
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

    const TIME: i64 = 1_790_000_000;

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
            assert_eq!(nonces.take([1; 16], nonce(0), 0, at(0)), Nonce::Fresh);
            assert_eq!(nonces.take([1; 16], nonce(1), TIME, at(started)), Nonce::Fresh);
            for later in (started..=started + 600).step_by(50) {
                assert_eq!(
                    nonces.take([1; 16], nonce(1), TIME, at(later)),
                    Nonce::Used,
                    "{started}, {later}"
                );
            }
            // It is another key's own.
            assert_eq!(nonces.take([2; 16], nonce(1), TIME, at(started)), Nonce::Fresh);
        }
    }

    #[test]
    fn a_key_that_has_used_too_many_waits_and_none_is_forgotten_early() {
        let nonces = Nonces::default();
        let now = Duration::from_secs(1);
        for n in 0..OF_KEY_MAX as u32 {
            assert_eq!(nonces.take([1; 16], nonce(n), TIME, now), Nonce::Fresh);
        }
        assert_eq!(nonces.take([1; 16], nonce(u32::MAX), TIME, now), Nonce::Full);
        assert_eq!(nonces.take([1; 16], nonce(0), TIME, now), Nonce::Used);
        assert_eq!(nonces.take([2; 16], nonce(0), TIME, now), Nonce::Fresh);
        let later = now + 2 * KEEP;
        assert_eq!(nonces.take([1; 16], nonce(u32::MAX), TIME + 1, later), Nonce::Fresh);
    }

    #[test]
    fn what_was_forgotten_is_not_taken_again_whatever_the_clock_says() {
        let nonces = Nonces::default();
        let at = |s: u64| Duration::from_secs(1_000 + s);
        let take = |n, time, s| nonces.take([1; 16], nonce(n), time, at(s));
        assert_eq!(take(1, TIME, 0), Nonce::Fresh);
        assert_eq!(take(2, TIME + 5, 10), Nonce::Fresh);
        // Both are forgotten; whoever signed them, at a time that a clock set back tells again, is not heard.
        assert_eq!(take(3, TIME + 1_300, 1_300), Nonce::Fresh);
        for (n, time) in [(1, TIME), (2, TIME + 5), (4, TIME + 5)] {
            assert_eq!(take(n, time, 1_301), Nonce::Forgotten);
        }
        assert_eq!(take(4, TIME + 6, 1_301), Nonce::Fresh);
        assert_eq!(nonces.take([2; 16], nonce(1), TIME, at(1_301)), Nonce::Fresh);
    }
}
