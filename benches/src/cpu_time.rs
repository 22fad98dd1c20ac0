//! CPU time: what a busy machine disturbs least.

use rustix::time::{ClockId, clock_gettime};

/// Seconds of CPU that all threads of this process have used; `None` where the system does not tell.
#[must_use]
pub fn seconds() -> Option<f64> {
    Some(read(ClockId::ProcessCPUTime))
}

/// Seconds of CPU that this thread has used; `None` where the system does not tell.
#[must_use]
pub fn of_thread() -> Option<f64> {
    Some(read(ClockId::ThreadCPUTime))
}

fn read(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// CPU time between two moments, less what the thread that measures spends on making its own input.
#[derive(Debug)]
pub struct Stopwatch {
    started: Option<f64>,
    own: f64,
}

impl Stopwatch {
    /// Starts now.
    #[must_use]
    pub fn start() -> Stopwatch {
        Stopwatch { started: seconds(), own: 0.0 }
    }

    /// Does what is not to be counted.
    pub fn uncounted<T>(&mut self, make: impl FnOnce() -> T) -> T {
        let before = of_thread();
        let made = make();
        self.own += of_thread().zip(before).map_or(0.0, |(after, before)| after - before);
        made
    }

    /// Seconds of CPU so far, without what was not to be counted; `None` where the system does not tell.
    #[must_use]
    pub fn seconds(&self) -> Option<f64> {
        Some(seconds()? - self.started? - self.own)
    }
}
