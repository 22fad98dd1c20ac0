//! Time and randomness as values.

use std::fs::File;
use std::io::{self, Read};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What time it is.
pub trait Clock: Send + Sync + 'static {
    /// Milliseconds since the Unix epoch, UTC. May jump.
    fn now_ms(&self) -> i64;

    /// Time since some fixed instant. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// Where random bytes come from.
pub trait Entropy: Send + Sync + 'static {
    /// Fills a buffer with bytes fit for keys and salts.
    fn fill(&self, into: &mut [u8]) -> io::Result<()>;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    started: Instant,
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock { started: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        let since = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()),
            Err(before) => i64::try_from(before.duration().as_millis()).map(|ms| -ms),
        };
        since.unwrap_or(i64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// The operating system's random generator, opened once.
#[derive(Debug, Default)]
pub struct SystemEntropy {
    source: OnceLock<File>,
}

impl Entropy for SystemEntropy {
    fn fill(&self, into: &mut [u8]) -> io::Result<()> {
        let mut source = match self.source.get() {
            Some(source) => source,
            // Two threads may both open it; one handle is kept.
            None => {
                let opened = File::open("/dev/urandom")?;
                self.source.get_or_init(|| opened)
            }
        };
        source.read_exact(into)
    }
}

/// A clock that moves when told to.
#[derive(Debug)]
pub struct SimClock {
    now_ms: AtomicI64,
    monotonic_ms: AtomicU64,
}

impl SimClock {
    /// Starts at a wall-clock time in milliseconds.
    #[must_use]
    pub fn new(now_ms: i64) -> SimClock {
        SimClock { now_ms: AtomicI64::new(now_ms), monotonic_ms: AtomicU64::new(0) }
    }

    /// Lets time pass, on both clocks.
    pub fn advance_ms(&self, ms: u64) {
        self.monotonic_ms.fetch_add(ms, Ordering::SeqCst);
        self.now_ms.fetch_add(i64::try_from(ms).unwrap_or(i64::MAX), Ordering::SeqCst);
    }

    /// Sets the wall clock alone, forward or back.
    pub fn set_ms(&self, now_ms: i64) {
        self.now_ms.store(now_ms, Ordering::SeqCst);
    }
}

impl Clock for SimClock {
    fn now_ms(&self) -> i64 {
        self.now_ms.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.monotonic_ms.load(Ordering::SeqCst))
    }
}

/// Reproducible bytes from a seed (splitmix64). For tests and simulations, never for keys.
#[derive(Debug)]
pub struct SimEntropy {
    state: AtomicU64,
}

impl SimEntropy {
    /// The same seed gives the same bytes.
    #[must_use]
    pub fn new(seed: u64) -> SimEntropy {
        SimEntropy { state: AtomicU64::new(seed) }
    }

    /// The next number.
    pub fn next_u64(&self) -> u64 {
        let state = self.state.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl Entropy for SimEntropy {
    fn fill(&self, into: &mut [u8]) -> io::Result<()> {
        for chunk in into.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let (a, b) = (SimEntropy::new(7), SimEntropy::new(7));
        let (mut x, mut y) = ([0; 21], [0; 21]);
        a.fill(&mut x).expect("cannot fail");
        b.fill(&mut y).expect("cannot fail");
        assert_eq!(x, y);
        assert_ne!(x, [0; 21]);
    }

    #[test]
    fn keys_differ_from_fill_to_fill() {
        let entropy = SystemEntropy::default();
        let (mut x, mut y) = ([0; 32], [0; 32]);
        entropy.fill(&mut x).expect("there is a source");
        entropy.fill(&mut y).expect("there is a source");
        assert!(x != y && x != [0; 32]);
    }

    #[test]
    fn the_wall_clock_may_jump_and_the_other_does_not() {
        let clock = SimClock::new(1_000);
        clock.advance_ms(5);
        clock.set_ms(0);
        assert_eq!((clock.now_ms(), clock.monotonic()), (0, Duration::from_millis(5)));
    }
}
