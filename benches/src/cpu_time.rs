//! The process's CPU time.

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
