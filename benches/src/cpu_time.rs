//! CPU time of the process and of a thread.

use std::fs;

/// Clock ticks per second of `/proc/self/stat`, fixed for user space on Linux.
const TICKS: f64 = 100.0;

/// Seconds of CPU that all threads of this process have used; `None` where the system does not tell.
#[must_use]
pub fn seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // Fields after the command's closing parenthesis: user time is the 12th, system time the 13th.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS)
}

/// Seconds of CPU that this thread has used; `None` where the system does not tell.
#[must_use]
pub fn of_thread() -> Option<f64> {
    let nanoseconds = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(nanoseconds.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
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
