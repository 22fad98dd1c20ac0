//! Locks, conditions, atomics and threads, for all that runs beside each other in Annals.
//!
//! They are parking_lot's and the standard library's. With the feature `schedules` they are those of a checker, which
//! runs one thread at a time and decides at each use of them who goes on: `scheduled.rs`. The tests named `schedules`
//! then run thousands of interleavings of the real code, each of which can be run again from its seed.
//! `checks/schedules.sh` does that. The feature is for those tests alone: outside of the checker its locks panic.

#[cfg(not(feature = "schedules"))]
pub use std::sync::atomic;
#[cfg(not(feature = "schedules"))]
pub use std::thread;

#[cfg(not(feature = "schedules"))]
pub use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

#[cfg(feature = "schedules")]
mod disk;
#[cfg(feature = "schedules")]
mod scheduled;

#[cfg(feature = "schedules")]
pub use disk::Scheduled;
#[cfg(feature = "schedules")]
pub use scheduled::{Condvar, Explore, Mutex, MutexGuard, RwLock, atomic, coin, explore, thread};
