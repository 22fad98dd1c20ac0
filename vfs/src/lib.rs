//! The outside world, handed in: files in the words of durability, clock, entropy.
//!
//! Nothing else in Annals touches `std::fs`, reads a clock or draws a random number.
//!
//! ```text
//!   Vfs ──── RealVfs   the operating system                          real.rs
//!      └──── SimVfs    a disk in memory that loses what was not      sim/
//!                      synced, fills up, and fails on demand
//!   publish            write + sync + rename + sync directory        publish.rs
//!   read_around        what a device can still read of a file        salvage.rs
//!   Clock, Entropy     SystemClock, SystemEntropy; SimClock, SimEntropy
//!   planted            bugs on purpose, for tests of the tests           planted.rs
//!   sync               locks and threads, or a checker of interleavings    sync/
//! ```
//!
//! What is durable when: bytes of a file after its [`File::sync`]; a file's name after [`Vfs::sync_dir`] of its
//! directory. Both are needed, in that order, before anything may rely on the file.

mod clock;
pub mod planted;
mod publish;
mod real;
mod salvage;
mod sim;
pub mod sync;
mod traits;

pub use clock::{Clock, Entropy, SimClock, SimEntropy, SystemClock, SystemEntropy};
pub use publish::{Draft, PublishError, is_no_space, publish};
pub use real::RealVfs;
pub use salvage::{UNREADABLE, is_unreadable, read_around};
pub use sim::{
    SimCall, SimCalls, SimCrash, SimCut, SimDecay, SimError, SimFailedSync, SimFault, SimManifest, SimOp,
    SimRole, SimRot, SimRules, SimSite, SimSites, SimVfs,
};
pub use traits::{DirEntry, DirEntryKind, File, LockError, LockGuard, Sealed, Vfs};
