//! The time that retention goes by: the wall clock, as long as it does not jump ahead by more than a year.
//!
//! What is removed by a wrong clock does not come back when the clock does. So whatever deletes goes by the time that was
//! last believed plus what has passed since by the monotonic clock, until someone confirms the wall clock. At an open the
//! time that was last believed is the latest that the manifests know of: a tenant's creation, a sealed day, a block's end.
//! Reads go by the wall clock: what that says has expired is hidden, and is there again when the clock is right again.

use std::time::Duration;

use annals_model::{DAY_MS, Timestamp};
use annals_vfs::Clock;
use annals_vfs::sync::Mutex;

use crate::manifest::Manifest;

/// A clock that jumps further ahead is not believed.
const JUMP_MS: i64 = 366 * DAY_MS;

/// A clock, and the last time at which it was believed.
pub(crate) struct TrustedClock {
    anchor: Mutex<(Timestamp, Duration)>,
}

impl TrustedClock {
    /// `known` is the latest time that the store has seen; `None` where it is new.
    pub(crate) fn new(clock: &dyn Clock, known: Option<Timestamp>) -> TrustedClock {
        let now = believed(Timestamp(clock.now_ms()), known);
        TrustedClock { anchor: Mutex::new((now, clock.monotonic())) }
    }

    /// The time that retention goes by.
    pub(crate) fn now(&self, clock: &dyn Clock) -> Timestamp {
        let mut anchor = self.anchor.lock();
        let (wall, elapsed) = (Timestamp(clock.now_ms()), clock.monotonic());
        let expected = expected(*anchor, elapsed);
        if wall.0.saturating_sub(expected.0) > JUMP_MS {
            return expected;
        }
        *anchor = (wall, elapsed);
        wall
    }

    /// Where the clock is not believed: the time that it should be, about.
    pub(crate) fn suspect(&self, clock: &dyn Clock) -> Option<Timestamp> {
        let expected = expected(*self.anchor.lock(), clock.monotonic());
        (clock.now_ms().saturating_sub(expected.0) > JUMP_MS).then_some(expected)
    }

    /// The clock is right.
    pub(crate) fn confirm(&self, clock: &dyn Clock) {
        *self.anchor.lock() = (Timestamp(clock.now_ms()), clock.monotonic());
    }
}

fn expected((wall, monotonic): (Timestamp, Duration), now: Duration) -> Timestamp {
    let passed = now.saturating_sub(monotonic).as_millis();
    wall.saturating_add(i64::try_from(passed).unwrap_or(i64::MAX))
}

/// The wall clock's time, or the latest that is known where that is more than a year before.
pub(crate) fn believed(now: Timestamp, known: Option<Timestamp>) -> Timestamp {
    match known {
        Some(known) if now.0.saturating_sub(known.0) > JUMP_MS => known,
        _ => now,
    }
}

/// The latest time that manifests know of.
pub(crate) fn latest_known<'m>(manifests: impl Iterator<Item = &'m Manifest>) -> Option<Timestamp> {
    let latest = |manifest: &Manifest| {
        let ends = manifest.blocks.iter().map(|block| block.time.end).max().unwrap_or(Timestamp::MIN);
        manifest.created.max(manifest.sealed).max(ends)
    };
    manifests.map(latest).max()
}
