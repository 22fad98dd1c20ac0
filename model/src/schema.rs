//! What a signal may be: kinds, fields, their types and privacy classes, and the metrics derived from them.
//!
//! The types only; reading schemas, admission and derivation are the `signals` crate's.

use std::sync::Arc;

/// A closed list of signal kinds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SignalSchema {
    /// The kinds, by distinct name.
    pub kinds: Vec<Arc<KindSchema>>,
}

impl SignalSchema {
    /// The kind of that name.
    #[must_use]
    pub fn kind(&self, name: &str) -> Option<&Arc<KindSchema>> {
        self.kinds.iter().find(|kind| &*kind.name == name)
    }
}

/// One kind of signal: what it may carry and what is derived from it.
#[derive(Debug, Clone, PartialEq)]
pub struct KindSchema {
    /// Such as `auth.attempt`.
    pub name: Arc<str>,
    /// The fields, by distinct name. A stored row holds one value per field in this order.
    pub fields: Vec<FieldSchema>,
    /// The delta metrics derived from each signal of the kind.
    pub metrics: Vec<MetricSchema>,
}

impl KindSchema {
    /// Position and schema of the field of that name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<(usize, &FieldSchema)> {
        self.fields.iter().enumerate().find(|(_, field)| &*field.name == name)
    }
}

/// One field of a kind.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldSchema {
    /// Such as `status`.
    pub name: Arc<str>,
    /// What values it takes, and how they are bounded.
    pub field_type: FieldType,
    /// Whether a signal without it is refused.
    pub required: bool,
}

/// What a field may hold. There is no free text.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldType {
    /// One of a closed list of names.
    Enumeration(Vec<Arc<str>>),
    /// A whole number within bounds, both included.
    Integer {
        /// The least value.
        min: i64,
        /// The greatest value.
        max: i64,
    },
    /// A time span in milliseconds, from 0.
    Duration {
        /// The longest, in milliseconds.
        max_ms: i64,
    },
    /// A number from 100 to 599.
    HttpStatus,
    /// A name of `[a-z0-9_.:/-]`; past the cardinality cap its value is `other`.
    Name {
        /// The longest, in bytes.
        bytes_max: usize,
        /// The most distinct values per tenant.
        values_max: usize,
    },
    /// Text that is replaced by a keyed hash and its length on admission.
    Pseudonym,
    /// Two texts, before and after, replaced by keyed hashes on admission.
    ChangeDigest,
    /// A signed change of a size, in bytes.
    SizeDelta,
    /// Any of a closed list of at most 64 flags.
    Flags(Vec<Arc<str>>),
}

/// How much a field's values say about people; decides where they may appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrivacyClass {
    /// From a list or a number line fixed by the schema: may appear in metrics and reports.
    Closed,
    /// A bounded name chosen by the site: may appear in metrics; small counts are suppressed in reports.
    Named,
    /// A keyed hash: stays in raw signals.
    Pseudonymous,
}

impl FieldType {
    /// The privacy class that follows from the type.
    #[must_use]
    pub fn privacy(&self) -> PrivacyClass {
        match self {
            FieldType::Enumeration(_)
            | FieldType::Integer { .. }
            | FieldType::Duration { .. }
            | FieldType::HttpStatus
            | FieldType::SizeDelta
            | FieldType::Flags(_) => PrivacyClass::Closed,
            FieldType::Name { .. } => PrivacyClass::Named,
            FieldType::Pseudonym | FieldType::ChangeDigest => PrivacyClass::Pseudonymous,
        }
    }
}

/// A metric derived from a kind: delta series in cells of 60 s, always labelled `site`.
#[derive(Debug, Clone, PartialEq)]
pub enum MetricSchema {
    /// Counts signals.
    Count {
        /// The metric's name.
        name: Arc<str>,
        /// Positions of the fields that become labels of their own name.
        labels: Vec<usize>,
    },
    /// Counts a duration into buckets: `<name>_bucket{le}` (cumulative), `<name>_sum` in seconds, `<name>_count`.
    Durations {
        /// The metric's name, without a suffix.
        name: Arc<str>,
        /// Positions of the fields that become labels of their own name.
        labels: Vec<usize>,
        /// Position of the duration field; signals without it are not counted here.
        field: usize,
        /// Upper bounds in milliseconds, ascending; `+Inf` is added.
        bounds_ms: Vec<i64>,
    },
}
