//! Annals: an embeddable, multi-tenant time-series store for activity signals and the metrics derived from them.
//!
//! ```
//! # use std::sync::Arc;
//! use annals::{Annals, BatchId, Options, Plan, Signal, SignalBatch, SiteName, TenantId, Timestamp};
//! # use annals::vfs::{SimClock, SimEntropy, SimVfs};
//! # let (vfs, clock, entropy) = (Arc::new(SimVfs::new()), Arc::new(SimClock::new(1_790_000_000_000)), Arc::new(SimEntropy::new(1)));
//! // Files, clock and randomness are handed in: here simulated, in production `RealVfs`, `SystemClock`, `SystemEntropy`.
//! let store = Annals::open(vfs, clock, entropy, "/data".as_ref(), Options::default())?;
//! let tenant = store.create_tenant(&TenantId::new("acme")?, Plan::built_in("starter").expect("built in"))?;
//! let time = Timestamp(1_790_000_000_000);
//! let attempt = Signal::new("auth.attempt", time).with("result", "failure").with("method", "password");
//! let batch = SignalBatch { id: BatchId([1; 16]), site: SiteName::new("shop.example")?, signals: vec![attempt] };
//! assert_eq!(tenant.write_signals(&batch)?.wait()?.accepted(), 1); // synced: it survives a power cut
//! assert!(tenant.write_signals(&batch)?.wait()?.duplicate); // a retry counts nothing
//! let answer = tenant.reader().query("sum(increase(auth_attempts[1h]))", Timestamp(time.0 + 60_000))?;
//! # assert!(format!("{:?}", answer.value).contains("1.0"), "{answer:?}");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The life of a write and of a query, file by file: `docs/architecture.md`. This crate assembles the others:
//!
//! ```text
//!   Annals (store.rs) ── Tenant ──► ingest.rs ──► commit.rs ──► wal ──► head.rs ──► flush.rs ──► block
//!        │                 └─ TenantReader, ReportReader (reader.rs) ◄── view.rs ◄────┴────────────┘
//!        ├─ delete.rs        samples and signals go, by matchers and times
//!        ├─ backup.rs        snapshots of all of it, elsewhere; restore.rs
//!        ├─ rotation.rs      keys are replaced; key_file.rs, keys.rs, key_store.rs, file_keys.rs, seal.rs
//!        ├─ erase.rs         a tenant goes, with proof; cancel.rs, life.rs, receipt.rs
//!        ├─ maintenance.rs   drop, flush, merge, as steps; reserve.rs on a full disk; health.rs and metrics.rs for operators
//!        ├─ recover.rs       catalogue, manifests, replay.rs; orphans.rs
//!        └─ ReadOnly (read_only.rs), export.rs, verify.rs, inspect.rs: beside a writer or without one
//! ```
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod audit;
mod backup;
mod batch_digest;
mod batches;
mod cancel;
mod catalog;
mod check_block;
mod commit;
mod counters;
mod delete;
mod derive_back;
mod erase;
mod error;
mod export;
mod file_keys;
mod files;
mod flush;
mod grouping;
mod head;
mod health;
mod histogram_runs;
mod ingest;
mod inspect;
mod key_file;
mod key_store;
mod keys;
mod kinds_off;
mod layout;
mod life;
mod maintenance;
mod manifest;
mod metrics;
mod metrics_text;
mod open_block;
mod operator;
mod options;
mod orphans;
mod owed;
mod pairs;
mod plan_change;
mod quarantine;
mod read_only;
mod reader;
mod receipt;
mod record;
mod recover;
mod refs;
mod remembered;
mod repair;
mod replay;
mod reserve;
mod restore;
mod retention;
mod rotation;
mod round;
mod runs;
mod seal;
mod seal_days;
#[cfg(test)]
mod sealed_golden;
mod series_table;
mod shared;
mod shelf;
mod start_runs;
mod store;
mod summary;
mod tenant;
mod ticket;
mod tiers;
mod trusted_clock;
mod twin;
#[cfg(test)]
mod twin_machine;
mod verify;
mod verify_log;
mod view;
mod windows;
mod work;

pub use annals_compaction::{Rule as RetentionRule, State as BlockState};
pub use annals_model::*;
pub use annals_query as query;
pub use annals_signals as signals;
pub use annals_vfs as vfs;

pub use audit::{AuditEntry, AuditError, AuditTrail, InvalidOperator, Operator, audit_trail};
pub use backup::{
    At, Backup, BackupCheck, BackupError, BackupFinding, Pruned, SnapshotSummary, backup, prune_backup,
    snapshots, verify_backup,
};
pub use counters::{Activity, IndexMetrics, Intake, Work, WorkDone};
pub use delete::{Deleted, Deletion};
pub use derive_back::DerivedBack;
pub use erase::{ERASURE_DUE_MS, Erasure};
pub use error::{MaintenanceError, OpenError, TenantError, WriteError};
pub use export::{ExportDay, ExportReader, ExportSeries, Moment};
pub use file_keys::FileKeyStore;
pub use health::Trouble;
pub use inspect::{InspectError, Inspection, Table, inspect};
pub use key_file::{KeyClass, KeyState};
pub use key_store::{KeyName, KeyStanding, KeyStore, KeyStoreError};
pub use keys::KeyError;
pub use maintenance::Done;
pub use metrics::{BlockTotals, Metrics, TenantMetrics};
pub use metrics_text::TENANT_LABELS_MAX;
pub use operator::{OperatorError, OperatorReader};
pub use options::{Background, Encryption, Options, Reads};
pub use quarantine::Quarantined;
pub use read_only::ReadOnly;
pub use reader::{CountedSignals, ReportReader, TenantReader};
pub use receipt::{PublicKey, Receipt, ReceiptError};
pub use recover::RecoveryReport;
pub use refs::{RefBatch, SeriesRef};
pub use repair::{Repair, RepairStep, repair};
pub use replay::ReplayReport;
pub use restore::{RestoreError, RestoreInto, RestoreTenant, Restored, restore};
pub use retention::{KeptBlock, PLAN_GRACE_MS, PlanPreview, Retention};
pub use rotation::{KeyUse, ROTATION_DUE_MS};
#[cfg(feature = "planted")]
#[doc(hidden)]
pub use seal::trace as seal_trace;
pub use store::{Annals, Tenant};
pub use summary::TenantSummary;
pub use ticket::{Acknowledgement, Durability, Ticket};
pub use twin::TwinError;
pub use verify::{Finding, FindingKind, Note, Verification, verify, verify_with};
pub use zeroize::Zeroizing;
