//! Signals: as a host hands them in, and as they are stored once admitted.

use std::sync::Arc;

use crate::{BatchId, SiteName, Timestamp};

/// An event as a host hands it in: nothing in it is trusted until a schema has admitted it.
#[derive(Debug, Clone, PartialEq)]
pub struct Signal {
    /// The kind's name, such as `auth.attempt`.
    pub kind: Arc<str>,
    /// When it happened.
    pub time: Timestamp,
    /// Field names and values, in any order.
    pub fields: Vec<(Arc<str>, SignalValue)>,
}

impl Signal {
    /// A signal without fields.
    #[must_use]
    pub fn new(kind: &str, time: Timestamp) -> Signal {
        Signal { kind: kind.into(), time, fields: Vec::new() }
    }

    /// Adds a field.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<SignalValue>) -> Signal {
        self.fields.push((field.into(), value.into()));
        self
    }
}

/// A field's value as a host hands it in. The schema decides what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub enum SignalValue {
    /// For enumerations, names, and pseudonyms (which are hashed on admission and dropped).
    Text(Arc<str>),
    /// For integers, durations in milliseconds, HTTP statuses and size deltas.
    Integer(i64),
    /// For sets of flags: the names of those that are set.
    Flags(Vec<Arc<str>>),
    /// For change digests: the text before and after (hashed on admission and dropped).
    Change {
        /// The value before the change.
        before: Arc<str>,
        /// The value after the change.
        after: Arc<str>,
    },
}

impl From<&str> for SignalValue {
    fn from(text: &str) -> SignalValue {
        SignalValue::Text(text.into())
    }
}

impl From<i64> for SignalValue {
    fn from(number: i64) -> SignalValue {
        SignalValue::Integer(number)
    }
}

/// Signals of one site to be written, acknowledged as a whole.
#[derive(Debug, Clone)]
pub struct SignalBatch {
    /// Names the batch within (tenant, site): writing it again counts nothing twice.
    pub id: BatchId,
    /// Where the batch comes from.
    pub site: SiteName,
    /// The events.
    pub signals: Vec<Signal>,
}

/// An admitted signal, as it is logged and stored: its fields follow its kind's schema by position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalRow {
    /// The kind's name.
    pub kind: Arc<str>,
    /// The site it comes from.
    pub site: SiteName,
    /// When it happened.
    pub time: Timestamp,
    /// One value per field of the kind's schema, in its order; `None` where it was not given.
    pub fields: Vec<Option<FieldValue>>,
}

/// A stored field value: bounded, allow-listed, or a keyed hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// A name of a closed enumeration or a bounded name.
    Name(Arc<str>),
    /// An integer, duration in milliseconds, HTTP status or size delta.
    Integer(i64),
    /// A set of flags: bit `i` is the `i`-th flag of the schema.
    Flags(u64),
    /// A keyed hash of a text, with the text's length.
    Pseudonym(Pseudonym),
    /// Keyed hashes of the texts before and after a change.
    Change {
        /// Of the value before.
        before: Pseudonym,
        /// Of the value after.
        after: Pseudonym,
    },
}

/// A keyed hash that stands for a text within one tenant, and the text's length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pseudonym {
    /// The first 16 bytes of HMAC-SHA256 under the tenant's pseudonym key.
    pub hash: [u8; 16],
    /// The text's length in bytes, at most 65,535.
    pub length: u16,
}
