//! Signals: what a tenant's sites may report, what becomes of it, and where it can be read from.
//!
//! ```text
//!   log lines, metric files ──▶ read::*  ──▶ Signal / samples          read/
//!   TOML ──▶ register ──▶ SignalSchema ◀── builtin                     register.rs, builtin.rs
//!                              │
//!   Signal ──▶ Admitter ──▶ SignalRow or Refusal                       admit.rs, names.rs, pseudonym.rs
//!                              ├──▶ derive ──▶ cells of delta series   derive.rs, reserved.rs
//!                              └──▶ encode_rows ──▶ bytes for the log  rows.rs
//! ```
//!
//! No text that a person may have written leaves admission: it is one of a closed list, a bounded name, or a keyed
//! hash; else the signal is refused, without repeating it. No file, clock or randomness: lines, years, zones and keys
//! are arguments.

#![cfg_attr(not(test), deny(clippy::unwrap_used))]

mod admit;
mod alphabet;
mod builtin;
mod derive;
mod names;
mod pseudonym;
pub mod read;
pub mod register;
mod reserved;
mod rows;

pub use admit::Admitter;
pub use builtin::builtin;
pub use derive::{Cell, Deriver, cell_stamp, derive};
pub use names::{NameTable, NewNames};
pub use pseudonym::PseudonymKey;
pub use register::{SchemaError, SchemaFault, register};
pub use reserved::{ReservedMetrics, reserved_metrics};
pub use rows::{RowsError, decode_rows, encode_rows};
