//! Further kinds from a TOML file, checked in full before any of it is used.
//!
//! A file holds any number of `[[kind]]` tables; they join the built-in kinds, which no file can change.
//!
//! ```
//! let schema = annals_signals::register(r#"
//! [[kind]]
//! name = "payment.settled"          # lower-case words of [a-z0-9_] joined by dots, at least two
//!
//! [[kind.field]]                    # at most 32 per kind; new fields go to the end
//! name = "result"
//! type = "enumeration"
//! values = ["ok", "declined"]       # at most 64, of [A-Za-z0-9_.:/-]
//! required = true                   # default: false
//!
//! [[kind.field]]
//! name = "gateway"
//! type = "name"                     # [a-z0-9_.:/-]; past `values_max` distinct names per tenant: "other"
//! bytes_max = 32                    # at most 128
//! values_max = 20                   # at most 10,000
//!
//! [[kind.field]]
//! name = "items"
//! type = "integer"
//! min = 1
//! max = 500                         # as a metric's label: at most 1,000 different values
//!
//! [[kind.field]]
//! name = "took"
//! type = "duration"
//! max_ms = 600_000
//!
//! [[kind.field]]
//! name = "payer"
//! type = "pseudonym"                # text in, keyed hash stored; never a label
//!
//! [[kind.field]]
//! name = "how"
//! type = "flags"                    # further types, without keys: http_status, change_digest, size_delta
//! values = ["refund", "recurring"]  # stored by position: new ones go to the end
//!
//! [[kind.metric]]                   # at most 16 per kind: delta series in cells of 60 s, labelled `site`
//! name = "payments"
//! type = "count"
//! labels = ["result", "gateway"]    # fields of type enumeration, name, http_status, integer; default: none
//!
//! [[kind.metric]]
//! name = "payment_seconds"          # gives payment_seconds_bucket, _sum and _count
//! type = "durations"
//! labels = ["gateway"]
//! field = "took"
//! bounds_ms = [100, 1000, 10000]    # ascending; +Inf is added
//! "#)?;
//! assert_eq!(schema.kind("payment.settled").map(|kind| kind.metrics.len()), Some(2));
//!
//! let error = annals_signals::register("[[kind]]\nname = \"auth.attempt\"").unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "schema file, line 2, key `name`: the name is taken by a built-in kind or by an earlier one; choose another"
//! );
//! # Ok::<(), annals_signals::SchemaError>(())
//! ```
//!
//! Names are the operator's, not a customer's content; still an error repeats a name only once it has passed the
//! check of its alphabet.

mod field;
mod metric;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annals_model::schema::{KindSchema, SignalSchema};
use serde::Deserialize;
use toml::Spanned;

use crate::builtin::builtin;
use crate::reserved::ReservedMetrics;

/// The largest schema file.
pub const SCHEMA_BYTES_MAX: usize = 256 * 1024;
/// The most kinds of a schema, built-in ones included.
pub const KINDS_MAX: usize = 128;
/// The most fields of a kind.
pub const FIELDS_MAX: usize = 32;
/// The most metrics derived from a kind.
pub const METRICS_MAX: usize = 16;
/// The longest name of a kind, a field or a metric.
const NAME_BYTES_MAX: usize = 64;

/// Why a schema file is refused as a whole, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// The line, from 1, where one is to blame.
    pub line: Option<usize>,
    /// The kind at fault.
    pub kind: Option<Arc<str>>,
    /// The field or metric at fault: `("field", name)` or `("metric", name)`.
    pub part: Option<(&'static str, Arc<str>)>,
    /// The key at fault.
    pub key: Option<&'static str>,
    /// What is wrong there, and what to do.
    pub fault: SchemaFault,
}

/// What can be wrong with a schema file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaFault {
    /// Not TOML, an unknown key, a missing key, or a value of the wrong TOML type.
    #[error("{0}")]
    Toml(String),
    /// The file is too large.
    #[error("the file has {bytes} bytes, at most {SCHEMA_BYTES_MAX} are allowed")]
    FileTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// More of something than allowed.
    #[error("{count} {what}, at most {limit} are allowed")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// A list that must not be empty.
    #[error("the list is empty; give at least one")]
    Empty,
    /// A name outside its alphabet or length.
    #[error("not a valid name here; use 1 to {NAME_BYTES_MAX} bytes: {rule}")]
    InvalidName {
        /// The alphabet.
        rule: &'static str,
    },
    /// A kind's, field's or value's name that exists.
    #[error("the name is taken by {by}; choose another")]
    NameTaken {
        /// What has the name.
        by: &'static str,
    },
    /// A type that does not exist.
    #[error("no such type; use one of {types}")]
    UnknownType {
        /// Those that exist.
        types: &'static str,
    },
    /// A key that the type needs.
    #[error("type `{of}` needs this key")]
    KeyMissing {
        /// The type.
        of: &'static str,
    },
    /// A key that the type does not have.
    #[error("type `{of}` has no such key; remove it")]
    KeyUnused {
        /// The type.
        of: &'static str,
    },
    /// The least value is above the greatest.
    #[error("`min` is above `max`")]
    BoundsInverted,
    /// A number outside what is allowed.
    #[error("must be from {min} to {max}")]
    OutOfRange {
        /// The least value.
        min: i64,
        /// The greatest value.
        max: i64,
    },
    /// Bucket bounds out of order.
    #[error("bounds must ascend without repeating")]
    BoundsNotAscending,
    /// A metric refers to a field that its kind does not have.
    #[error("the kind has no such field")]
    UnknownField,
    /// A field whose type may not become a label.
    #[error("a field of type `{of}` may not become a label: {why}")]
    NotALabel {
        /// The field's type.
        of: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// A durations metric over a field that is none.
    #[error("the field is of type `{of}`; a durations metric needs a field of type `duration`")]
    NotADuration {
        /// The field's type.
        of: &'static str,
    },
}

impl std::error::Error for SchemaError {}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("schema file")?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(kind) = &self.kind {
            write!(f, ", kind `{kind}`")?;
        }
        if let Some((what, name)) = &self.part {
            write!(f, ", {what} `{name}`")?;
        }
        if let Some(key) = self.key {
            write!(f, ", key `{key}`")?;
        }
        write!(f, ": {}", self.fault)
    }
}

/// The built-in kinds and those of a TOML text (see the [module's example](self)).
pub fn register(toml_text: &str) -> Result<SignalSchema, SchemaError> {
    let mut place = Place { text: toml_text, kind: None, part: None };
    if toml_text.len() > SCHEMA_BYTES_MAX {
        return Err(SchemaError {
            line: None,
            ..place.fault(SchemaFault::FileTooLarge { bytes: toml_text.len() })
        });
    }
    let file: RawFile = toml::from_str(toml_text).map_err(|error| SchemaError {
        line: error.span().map(|span| place.line(&span)),
        // The text of the file is not repeated, only what the parser says of it.
        ..place.fault(SchemaFault::Toml(error.message().lines().collect::<Vec<_>>().join("; ")))
    })?;

    let mut schema = builtin();
    let count = schema.kinds.len() + file.kind.len();
    if count > KINDS_MAX {
        return Err(place.fault(SchemaFault::TooMany { what: "kinds", count, limit: KINDS_MAX }));
    }
    let mut reserved = ReservedMetrics::new(&schema);
    for raw in file.kind {
        place.kind = None;
        let name = raw.name.get_ref().as_str();
        if !is_kind_name(name) {
            return Err(place.at(&raw.name, "name", SchemaFault::InvalidName { rule: KIND_NAME_RULE }));
        }
        if schema.kind(name).is_some() {
            let by = "a built-in kind or by an earlier one";
            return Err(place.at(&raw.name, "name", SchemaFault::NameTaken { by }));
        }
        place.kind = Some(name.into());
        let fields = field::fields(raw.field, &mut place)?;
        let metrics = metric::metrics(raw.metric, &fields, &mut reserved, &mut place)?;
        schema.kinds.push(Arc::new(KindSchema { name: name.into(), fields, metrics }));
    }
    Ok(schema)
}

/// The file as TOML has it, with the places of its values.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    kind: Vec<RawKind>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKind {
    name: Spanned<String>,
    #[serde(default)]
    field: Vec<field::RawField>,
    #[serde(default)]
    metric: Vec<metric::RawMetric>,
}

/// Where in the file the checks are.
struct Place<'a> {
    text: &'a str,
    kind: Option<Arc<str>>,
    part: Option<(&'static str, Arc<str>)>,
}

impl Place<'_> {
    fn line(&self, span: &Range<usize>) -> usize {
        1 + self.text.bytes().take(span.start).filter(|&byte| byte == b'\n').count()
    }

    fn fault(&self, fault: SchemaFault) -> SchemaError {
        SchemaError { line: None, kind: self.kind.clone(), part: self.part.clone(), key: None, fault }
    }

    fn at<T>(&self, value: &Spanned<T>, key: &'static str, fault: SchemaFault) -> SchemaError {
        SchemaError { line: Some(self.line(&value.span())), key: Some(key), ..self.fault(fault) }
    }
}

const KIND_NAME_RULE: &str = "words of [a-z0-9_], each beginning with a letter, joined by dots, at least two";
const WORD_RULE: &str =
    "[a-z0-9_], beginning with a letter; `site`, `le`, `kind` and `timestamp` are reserved";

fn is_kind_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX && name.contains('.') && name.split('.').all(is_word)
}

/// A word of `[a-z0-9_]` that begins with a letter: a field's name, which may become a label's.
fn is_word(word: &str) -> bool {
    word.len() <= NAME_BYTES_MAX
        && word.starts_with(|c: char| c.is_ascii_lowercase())
        && word.bytes().all(|b| b == b'_' || b.is_ascii_lowercase() || b.is_ascii_digit())
}

#[cfg(test)]
mod tests;
