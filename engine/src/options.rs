//! What a host decides when it opens a store.

use std::time::Duration;

use annals_model::schema::SignalSchema;

use crate::ticket::Durability;

/// What a host decides when it opens a store; the defaults suit a gateway.
///
/// ```
/// use annals::{Durability, Options};
/// let options = Options { durability: Durability::Buffered, ..Options::default() };
/// assert!(options.head_bytes_max > 0);
/// ```
#[derive(Debug, Clone)]
pub struct Options {
    /// What an acknowledgement means.
    pub durability: Durability,
    /// With [`Durability::Buffered`], the longest time between two syncs.
    pub sync_every: Duration,
    /// Who does background work.
    pub background: Background,
    /// Signal kinds that are taken: the built-in ones, and what the host registers.
    pub schema: SignalSchema,
    /// Heads of all tenants together, in bytes: above it the largest is flushed, above twice it writes are refused.
    pub head_bytes_max: usize,
    /// A head is flushed when it has been filling for so long, in milliseconds.
    pub head_age_ms_max: i64,
    /// The log, in bytes: above half of it laggards are flushed, at it writes are refused.
    pub log_bytes_max: u64,
}

/// Who does background work: committing batches, flushing, merging, dropping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Background {
    /// Two threads of the store's own.
    Threads,
    /// The host, by [`crate::Annals::commit_step`] and [`crate::Annals::maintenance_step`]; waiting for a ticket
    /// commits too. For simulations and short-lived programs.
    Steps,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            durability: Durability::Synced,
            sync_every: Duration::from_millis(200),
            background: Background::Threads,
            schema: annals_signals::builtin(),
            head_bytes_max: 256 << 20,
            head_age_ms_max: annals_model::DAY_MS,
            log_bytes_max: 1 << 30,
        }
    }
}
