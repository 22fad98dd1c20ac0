//! Signals: as a host hands them in, and as they are stored once admitted.

use std::borrow::Cow;
use std::sync::Arc;

use crate::schema::{FieldType, KindSchema};
use crate::{BatchId, Matcher, SiteName, Timestamp};

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

impl SignalRow {
    /// Whether it satisfies all matchers: those named `kind` and `site` look at these, each other one at the text of the
    /// field of its name ([`FieldType::text`]). A field that was not given, or that the kind does not have, is empty.
    #[must_use]
    pub fn matches(&self, schema: &KindSchema, matchers: &[Matcher]) -> bool {
        matchers.iter().all(|matcher| match matcher.name() {
            "kind" => matcher.matches(&self.kind),
            "site" => matcher.matches(self.site.as_str()),
            name => {
                let field =
                    schema.field(name).and_then(|(at, field)| Some((self.fields.get(at)?.as_ref()?, field)));
                let text = field.map(|(value, field)| field.field_type.text(value));
                matcher.matches(text.as_deref().unwrap_or_default())
            }
        })
    }
}

impl FieldType {
    /// A stored value as the text that matchers see: a name; a number in decimal; the names of flags, comma between; a
    /// keyed hash in hexadecimal; of a change both hashes, `..` between.
    ///
    /// ```
    /// use annals_model::FieldValue;
    /// use annals_model::schema::FieldType;
    /// let flags = FieldType::Flags(vec!["new".into(), "hidden".into(), "executable".into()]);
    /// assert_eq!(flags.text(&FieldValue::Flags(0b101)), "new,executable");
    /// assert_eq!(FieldType::HttpStatus.text(&FieldValue::Integer(404)), "404");
    /// ```
    #[must_use]
    pub fn text<'a>(&self, value: &'a FieldValue) -> Cow<'a, str> {
        fn hexadecimal(pseudonym: &Pseudonym, out: &mut String) {
            let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or_default();
            out.extend(pseudonym.hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
        }
        match value {
            FieldValue::Name(name) => Cow::Borrowed(name),
            FieldValue::Integer(number) => Cow::Owned(number.to_string()),
            FieldValue::Flags(bits) => {
                let FieldType::Flags(names) = self else { return Cow::Owned(bits.to_string()) };
                let set = names.iter().take(64).enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
                Cow::Owned(set.map(|(_, name)| &**name).collect::<Vec<_>>().join(","))
            }
            FieldValue::Pseudonym(pseudonym) => {
                let mut text = String::with_capacity(32);
                hexadecimal(pseudonym, &mut text);
                Cow::Owned(text)
            }
            FieldValue::Change { before, after } => {
                let mut text = String::with_capacity(66);
                hexadecimal(before, &mut text);
                text.push_str("..");
                hexadecimal(after, &mut text);
                Cow::Owned(text)
            }
        }
    }
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
