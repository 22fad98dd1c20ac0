//! The write-ahead log: one log for all tenants, whose records are opaque bytes.
//!
//! ```text
//!   enqueue ──> queue ──> commit: one write, one sync ──> active segment ──> … ──> truncate
//!   queue.rs              commit.rs                       segment.rs               segments.rs
//!
//!   open:  chain.rs ──> recover.rs ──> records, a report, a log to write to
//!   read:  chain.rs ──> walk.rs ────── records, a report       beside a writer, or with none
//!                        └ scan.rs     one segment, every byte hostile
//!
//!   on disk:  header.rs (a segment's first 4 KiB),  frame.rs (what follows)
//! ```
//!
//! What holds, whatever fails: a record whose commit was acknowledged as [`Durability::Synced`] is found again, or
//! named as damaged; records are found in order and at most once; a damaged record costs no other; a file is never
//! written again after a failed write or sync, and never deleted while it holds something that nothing else does.
//!
//! ```
//! use std::sync::Arc;
//! use annals_vfs::{RealVfs, SystemEntropy};
//! use annals_wal::{Durability, Lsn, Options, Place, Wal};
//!
//! # let root = tempfile::tempdir()?;
//! # let root = root.path();
//! let place = Place {
//!     directory: root.join("wal"),
//!     temporary: root.join("tmp"),
//!     quarantine: root.join("quarantine"),
//!     root_id: [7; 16],
//! };
//! let open = |seen: &mut Vec<Vec<u8>>| {
//!     Wal::open(Arc::new(RealVfs), &SystemEntropy::default(), place.clone(), &Options::default(), Lsn(0), &mut |record| {
//!         seen.push(record.payload.to_vec());
//!     })
//! };
//!
//! let (wal, _) = open(&mut Vec::new())?;
//! wal.enqueue(1, b"one".to_vec())?;
//! wal.enqueue(1, b"two".to_vec())?;
//! wal.commit(Durability::Synced)?;
//! assert_eq!(wal.durable(), Lsn(2));
//! wal.close()?;
//!
//! let mut seen = Vec::new();
//! let (wal, report) = open(&mut seen)?;
//! assert_eq!(seen, [b"one", b"two"]);
//! assert!(report.sealed && report.damage.is_empty());
//! assert_eq!(wal.enqueue(1, b"three".to_vec())?, Lsn(3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod chain;
mod commit;
mod error;
mod fields;
mod frame;
mod header;
mod lsn;
mod queue;
mod read;
mod recover;
mod scan;
mod segment;
mod segments;
mod wal;
mod walk;

pub use commit::Durability;
pub use error::{CommitError, Damage, DamageKind, EnqueueError, HeaderFault, WalError};
pub use frame::FrameType;
pub use lsn::{Lsn, LsnSpan};
pub use read::{FrameSummary, ReadReport, SegmentSummary, Tail, first, inspect, read, verify};
pub use recover::RecoveryReport;
pub use wal::{Options, Place, Record, Wal, WalStatus};
