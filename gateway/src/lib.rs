//! The reference host of Annals: what a company runs in front of its sites, and what Grafana and every client of Prometheus
//! already speak to. `annals serve` starts it.
//!
//! ```text
//!   socket ── server.rs ──► routes (app.rs) ──┬─ read/      the Prometheus API            Door: who may read what
//!             limits of      access/ says     ├─ ingest/    metrics in                    Incoming: who may write
//!             heads, time,   who is asking    ├─ ui.rs      the page
//!                                             ├─ page/      what the page asks beside that
//!             connections                     ├─ signed/    signals of sites, signed          who has the secret
//!                                             └─ health.rs, metrics.rs                        supervisors
//!                                                  │ pool.rs: blocking calls, as many as are allowed
//!                                                  ▼
//!                                            the engine (crate `annals`)
//! ```
//!
//! Nothing below this crate knows of HTTP or of an async runtime. A request costs a task and a socket until somebody who
//! may have work done is known; then it waits for a place among the blocking threads. Tenants come from credentials,
//! never from a header alone.
//!
//! Configuration: [`Config`]. Who may what: [`AccessStore`].
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing))]

mod access;
mod app;
mod body;
mod config;
mod counters;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod ingest;
mod metrics;
mod page;
mod params;
mod pool;
mod rate;
mod read;
mod reply;
mod server;
mod signed;
mod stream;
mod tls;
mod ui;
mod visit;
mod wire;

pub use access::{AccessError, AccessList, AccessStore, Grant, NewToken, Role, SiteKey, Token};
pub use config::{Config, ConfigError, Limits, LogForm, TenantOverride, TenantRates, Tls};
pub use server::{ServeError, Served, Server, log_to_stderr, run};
pub use visit::{Page, VisitError, Visitor};
