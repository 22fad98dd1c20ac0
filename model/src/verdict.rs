//! What became of each record of a batch.

use std::fmt;
use std::sync::Arc;

/// What became of one record. Refused records do not harm their neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Counted, as durably as the acknowledgement says.
    Accepted,
    /// Its batch was counted before; nothing was counted now.
    Duplicate,
    /// Not counted.
    Refused(Refusal),
}

impl Verdict {
    /// Whether the record was counted by this write.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        matches!(self, Verdict::Accepted)
    }
}

/// Why a record was refused, and where. It never carries the record's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// The field at fault, where one is.
    pub field: Option<FieldRef>,
}

impl Refusal {
    /// A refusal that concerns the record as a whole.
    #[must_use]
    pub fn of(reason: RefusalReason) -> Refusal {
        Refusal { reason, field: None }
    }

    /// A refusal that concerns one field.
    #[must_use]
    pub fn at(reason: RefusalReason, field: FieldRef) -> Refusal {
        Refusal { reason, field: Some(field) }
    }
}

/// Names a field without repeating what the sender wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldRef {
    /// A field that the schema knows.
    Known(Arc<str>),
    /// A field or label that it does not, by its position in the record, from 0.
    Position(usize),
}

/// Why a record was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalReason {
    /// No such signal kind.
    UnknownKind,
    /// The signal kind is switched off for the tenant.
    KindOff,
    /// The schema has no such field.
    UnknownField,
    /// A required field is missing.
    MissingField,
    /// The same field twice.
    RepeatedField,
    /// A value of another type than the schema's.
    WrongType,
    /// A number outside the field's bounds, or a text over its length.
    OutOfBounds,
    /// A text that is not one of the enumeration, or not of the name alphabet.
    NotAllowed,
    /// The timestamp lies in a day that is sealed.
    Late,
    /// The timestamp lies in a day that the plan no longer keeps.
    Expired,
    /// The timestamp lies too far ahead of the clock.
    Future,
    /// Labels that are not valid.
    InvalidLabels,
    /// The tenant's plan does not allow samples with labels of the host's own.
    NotEntitled,
    /// The metric name belongs to a metric that Annals derives itself.
    ReservedMetric,
    /// The metric was first written with another kind.
    KindConflict,
    /// One more series than the tenant may have.
    SeriesLimit,
    /// A sample of a series that the batch does not have, or by a reference of another tenant.
    UnknownSeries,
}

impl RefusalReason {
    /// All reasons.
    pub const ALL: [RefusalReason; 17] = [
        RefusalReason::UnknownKind,
        RefusalReason::KindOff,
        RefusalReason::UnknownField,
        RefusalReason::MissingField,
        RefusalReason::RepeatedField,
        RefusalReason::WrongType,
        RefusalReason::OutOfBounds,
        RefusalReason::NotAllowed,
        RefusalReason::Late,
        RefusalReason::Expired,
        RefusalReason::Future,
        RefusalReason::InvalidLabels,
        RefusalReason::NotEntitled,
        RefusalReason::ReservedMetric,
        RefusalReason::KindConflict,
        RefusalReason::SeriesLimit,
        RefusalReason::UnknownSeries,
    ];

    /// A stable word for it, as in counters and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            RefusalReason::UnknownKind => "unknown_kind",
            RefusalReason::KindOff => "kind_off",
            RefusalReason::UnknownField => "unknown_field",
            RefusalReason::MissingField => "missing_field",
            RefusalReason::RepeatedField => "repeated_field",
            RefusalReason::WrongType => "wrong_type",
            RefusalReason::OutOfBounds => "out_of_bounds",
            RefusalReason::NotAllowed => "not_allowed",
            RefusalReason::Late => "late",
            RefusalReason::Expired => "expired",
            RefusalReason::Future => "future",
            RefusalReason::InvalidLabels => "invalid_labels",
            RefusalReason::NotEntitled => "not_entitled",
            RefusalReason::ReservedMetric => "reserved_metric",
            RefusalReason::KindConflict => "kind_conflict",
            RefusalReason::SeriesLimit => "series_limit",
            RefusalReason::UnknownSeries => "unknown_series",
        }
    }
}

impl fmt::Display for RefusalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            None => write!(f, "{}", self.reason),
            Some(FieldRef::Known(name)) => write!(f, "{} (field `{name}`)", self.reason),
            Some(FieldRef::Position(at)) => write!(f, "{} (field number {at})", self.reason),
        }
    }
}
