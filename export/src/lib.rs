//! Takes all of a tenant out of a store, into a directory that anybody can read without Annals.
//!
//! ```text
//!   metrics/2015-05-17.parquet             samples of a day: a row per sample, a column per label
//!   histograms/2015-05-17.parquet          native histograms of a day
//!   windows-1h/2014-01-01.parquet          a day whose samples have expired: a row per window
//!   histograms-1h/2014-01-01.parquet       what is left of its native histograms
//!   signals/http.request/2015-05-17.parquet
//!   manifest.json                          what it is, name, size and SHA-256 of each file, what is missing
//! ```
//!
//! Beside `.parquet` there are `.jsonl` with the same content and `.om`, OpenMetrics text, of the samples alone; what a
//! format cannot hold is counted in the manifest.
//!
//! What must hold: the manifest is the last thing that is written, so that a directory without one is not whole, and is
//! never taken for it; the same snapshot gives the same bytes; memory is bounded by a day's series and a row group, however
//! large the store is; what is damaged is named and the rest exported.
//!
//! ```text
//!   ExportReader (of the engine) ──► run.rs ──day by day──► sheet.rs ──► parquet/, openmetrics.rs, json_lines.rs
//!                                                              │                        │
//!                                        manifest.rs ◄── name, bytes, digest, rows ◄── output.rs ──► Vfs
//!   verify.rs: manifest against files
//! ```
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::indexing_slicing))]

mod error;
mod json_lines;
mod manifest;
mod openmetrics;
mod output;
mod parquet;
mod run;
mod sheet;
mod text;
mod verify;

pub use error::{ExportError, VerifyError};
pub use manifest::{Content, FileEntry, MANIFEST_NAME, Manifest, MissingPart};
pub use run::{Exported, Progress, Request, export};
pub use sheet::Format;
pub use verify::{Problem, Verified, verify};
