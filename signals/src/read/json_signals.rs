//! Signals as JSON: one form, as lines of a file and as the body of a batch.
//!
//! ```json
//! {"kind":"http.request","timestamp":1431857103000,"method":"GET","status":200,"duration":"12ms","route":"/blog"}
//! {"kind":"auth.attempt","timestamp":"2015-05-17T10:05:03Z","result":"failure","method":"password","user":"ada"}
//! {"kind":"config.changed","timestamp":1431857103000,"option":"siteurl","change":{"before":"a","after":"b"}}
//! {"kind":"file.edited","timestamp":1431857103000,"area":"plugin","size":-120,"flags":["new","executable"]}
//! ```
//!
//! A batch is `{"batch":"<32 hexadecimal digits>","site":"www","signals":[<such objects>]}`; `batch` and `site` may be
//! missing where the sender says them by other means.
//!
//! | key         | value                                                                                        |
//! |-------------|----------------------------------------------------------------------------------------------|
//! | `kind`      | the kind's name                                                                              |
//! | `timestamp` | milliseconds since 1970, or RFC 3339 with an offset                                          |
//! | any other   | the field of that name, by its type in the schema:                                           |
//! |             | enumeration, name, pseudonym: a text                                                         |
//! |             | integer, HTTP status, size delta: a whole number                                             |
//! |             | duration: whole milliseconds, or a text with its unit (`"250ms"`, `"1.5s"`, `"2m"`), rounded down |
//! |             | change digest: `{"before":<text>,"after":<text>}`                                            |
//! |             | flags: a list of texts                                                                       |
//!
//! `null` is as good as absent. What is not as above is refused signal by signal, by reason and field; only what is no
//! JSON, or no such batch, is refused as a whole. Neither repeats what was sent.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use annals_model::schema::{FieldType, SignalSchema};
use annals_model::{BatchId, FieldRef, Refusal, RefusalReason, Signal, SignalValue, Timestamp};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{LOG_LINE_BYTES_MAX, Line, SignalReader, stamp};

/// The most fields of a signal that are looked at: no kind has as many.
const FIELDS_MAX: usize = 64;
/// The most texts of a list that are looked at: no field has as many flags.
const TEXTS_MAX: usize = 64;

/// A batch as its sender wrote it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct JsonBatch {
    /// The batch's id, where it says one.
    pub batch: Option<BatchId>,
    /// The site, where it says one.
    pub site: Option<String>,
    /// The signals that could be read.
    pub signals: Vec<Signal>,
    /// Where each of them stood among all that were sent.
    positions: Vec<usize>,
    /// Where the others stood, and why they could not be read.
    refused: Vec<(usize, Refusal)>,
}

impl JsonBatch {
    /// How many signals were sent.
    #[must_use]
    pub fn records(&self) -> usize {
        self.signals.len() + self.refused.len()
    }

    /// All refusals, by ascending position among what was sent; `admitted` are those of [`JsonBatch::signals`], by theirs.
    #[must_use]
    pub fn all_refused(&self, admitted: &[(usize, Refusal)]) -> Vec<(usize, Refusal)> {
        let admitted = admitted
            .iter()
            .filter_map(|(index, refusal)| Some((*self.positions.get(*index)?, refusal.clone())));
        let mut all: Vec<_> = self.refused.iter().cloned().chain(admitted).collect();
        all.sort_by_key(|(position, _)| *position);
        all
    }
}

/// Why a body is no batch of signals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// Not JSON.
    #[error("line {line}, column {column}: this is not JSON")]
    Syntax {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// JSON of another shape.
    #[error(
        "line {line}, column {column}: a batch is {{\"batch\":<32 hexadecimal digits>,\"site\":<name>,\"signals\":[..]}}"
    )]
    Shape {
        /// From 1.
        line: usize,
        /// From 1, in bytes.
        column: usize,
    },
    /// More signals than a batch may have.
    #[error("more than {limit} signals; split the batch")]
    TooMany {
        /// How many it may have.
        limit: usize,
    },
}

/// Reads the body of a batch of at most `records_max` signals of a schema's kinds.
///
/// ```
/// use annals_signals::builtin;
/// use annals_signals::read::json_batch;
/// let body = br#"{"batch":"000102030405060708090a0b0c0d0e0f","signals":[
///     {"kind":"mail.sent","timestamp":1431857103000,"result":"sent"}, {"kind":"mail.sent","result":"sent"}]}"#;
/// let batch = json_batch(&builtin(), body, 1000)?;
/// assert_eq!((batch.records(), batch.signals.len()), (2, 1));
/// assert_eq!(batch.all_refused(&[])[0].1.to_string(), "missing_field (field `timestamp`)");
/// # Ok::<(), annals_signals::read::JsonFault>(())
/// ```
pub fn json_batch(schema: &SignalSchema, body: &[u8], records_max: usize) -> Result<JsonBatch, JsonFault> {
    let mut batch = JsonBatch::default();
    let mut too_many = false;
    let into = BatchVisitor { schema, records_max, batch: &mut batch, too_many: &mut too_many };
    let mut from = serde_json::Deserializer::from_slice(body);
    match from.deserialize_map(into).and_then(|()| from.end()) {
        Ok(()) => Ok(batch),
        Err(_) if too_many => Err(JsonFault::TooMany { limit: records_max }),
        Err(error) if error.is_data() => Err(JsonFault::Shape { line: error.line(), column: error.column() }),
        Err(error) => Err(JsonFault::Syntax { line: error.line(), column: error.column() }),
    }
}

/// Reads lines of signals.
#[derive(Debug)]
pub struct JsonSignals {
    schema: SignalSchema,
}

impl JsonSignals {
    /// A reader of signals of a schema's kinds.
    #[must_use]
    pub fn new(schema: SignalSchema) -> JsonSignals {
        JsonSignals { schema }
    }
}

impl SignalReader for JsonSignals {
    fn line(&mut self, line: &[u8]) -> Line {
        if line.len() > LOG_LINE_BYTES_MAX {
            return Line::Unreadable;
        }
        if line.trim_ascii().is_empty() {
            return Line::Skipped;
        }
        let Ok(record) = serde_json::from_slice::<Record<'_>>(line) else { return Line::Unreadable };
        // Other JSON: lines of samples, of another program's log.
        if record.kind.is_none() {
            return Line::Unreadable;
        }
        record.signal(&self.schema).map_or_else(Line::Refused, Line::Signal)
    }
}

struct BatchVisitor<'a> {
    schema: &'a SignalSchema,
    records_max: usize,
    batch: &'a mut JsonBatch,
    too_many: &'a mut bool,
}

impl<'de> Visitor<'de> for BatchVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a batch of signals")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let BatchVisitor { schema, records_max, batch, too_many } = self;
        let mut seen = false;
        while let Some(Text(key)) = map.next_key()? {
            match &*key {
                "batch" if batch.batch.is_none() => {
                    let Text(id) = map.next_value()?;
                    batch.batch = Some(batch_id(&id).ok_or_else(|| A::Error::custom("no batch id"))?);
                }
                "site" if batch.site.is_none() => batch.site = Some(map.next_value()?),
                "signals" if !seen => {
                    seen = true;
                    map.next_value_seed(Records { schema, records_max, batch, too_many })?;
                }
                _ => return Err(A::Error::custom("no such key, or twice")),
            }
        }
        if seen { Ok(()) } else { Err(A::Error::missing_field("signals")) }
    }
}

/// 16 bytes as hexadecimal digits.
fn batch_id(text: &str) -> Option<BatchId> {
    let mut id = [0; 16];
    let digits = text.as_bytes();
    if digits.len() != 32 || !digits.is_ascii() {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let mut digits = pair.iter().map(|digit| char::from(*digit).to_digit(16));
        *byte = (digits.next()?? << 4 | digits.next()??) as u8;
    }
    Some(BatchId(id))
}

/// The list of a batch's signals.
struct Records<'a> {
    schema: &'a SignalSchema,
    records_max: usize,
    batch: &'a mut JsonBatch,
    too_many: &'a mut bool,
}

impl<'de> DeserializeSeed<'de> for Records<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Records<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of signals")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut position = 0;
        while let Some(record) = list.next_element::<Record<'de>>()? {
            if position == self.records_max {
                *self.too_many = true;
                return Err(A::Error::custom("too many"));
            }
            match record.signal(self.schema) {
                Ok(signal) => {
                    self.batch.signals.push(signal);
                    self.batch.positions.push(position);
                }
                Err(refusal) => self.batch.refused.push((position, refusal)),
            }
            position += 1;
        }
        Ok(())
    }
}

/// A text, borrowed where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Text<'de>, D::Error> {
        match Raw::deserialize(from)? {
            Raw::Text(text) => Ok(Text(text)),
            _ => Err(D::Error::custom("no text")),
        }
    }
}

/// A value, before the schema is asked what it should be.
enum Raw<'a> {
    Null,
    Text(Cow<'a, str>),
    Integer(i64),
    Texts(Vec<Cow<'a, str>>),
    Change {
        before: Cow<'a, str>,
        after: Cow<'a, str>,
    },
    /// What no field takes.
    Other,
}

impl<'de> Deserialize<'de> for Raw<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Raw<'de>, D::Error> {
        from.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw<'de>, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw<'de>, E> {
        Ok(Raw::Other)
    }

    fn visit_i64<E>(self, number: i64) -> Result<Raw<'de>, E> {
        Ok(Raw::Integer(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Raw<'de>, E> {
        // Past every bound that a field can have, and refused as such.
        Ok(Raw::Integer(i64::try_from(number).unwrap_or(i64::MAX)))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw<'de>, E> {
        Ok(Raw::Other)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Raw<'de>, E> {
        Ok(Raw::Text(text.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw<'de>, E> {
        Ok(Raw::Text(text.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Raw<'de>, A::Error> {
        let mut texts = Vec::new();
        while let Some(raw) = list.next_element()? {
            match raw {
                Raw::Text(text) if texts.len() < TEXTS_MAX => texts.push(text),
                _ => {
                    while list.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(Raw::Other);
                }
            }
        }
        Ok(Raw::Texts(texts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw<'de>, A::Error> {
        let (mut before, mut after, mut sound) = (None, None, true);
        while let Some(Text(key)) = map.next_key()? {
            match (&*key, map.next_value()?) {
                ("before", Raw::Text(text)) if before.is_none() => before = Some(text),
                ("after", Raw::Text(text)) if after.is_none() => after = Some(text),
                _ => sound = false,
            }
        }
        Ok(match (before, after) {
            (Some(before), Some(after)) if sound => Raw::Change { before, after },
            _ => Raw::Other,
        })
    }
}

/// A signal, before the schema is asked.
#[derive(Default)]
struct Record<'a> {
    is_object: bool,
    kind: Option<Raw<'a>>,
    timestamp: Option<Raw<'a>>,
    /// Which of the two was there twice.
    repeated: Option<&'static str>,
    fields: Vec<(Cow<'a, str>, Raw<'a>)>,
    /// There are more fields than are looked at.
    more: bool,
}

impl<'de> Deserialize<'de> for Record<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Record<'de>, D::Error> {
        from.deserialize_any(RecordVisitor)
    }
}

struct RecordVisitor;

impl<'de> Visitor<'de> for RecordVisitor {
    type Value = Record<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a signal")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Record<'de>, A::Error> {
        let mut record = Record { is_object: true, fields: Vec::with_capacity(8), ..Record::default() };
        while let Some(Text(key)) = map.next_key()? {
            let (word, slot) = match &*key {
                "kind" => ("kind", &mut record.kind),
                "timestamp" => ("timestamp", &mut record.timestamp),
                _ if record.fields.len() < FIELDS_MAX => {
                    record.fields.push((key, map.next_value()?));
                    continue;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    record.more = true;
                    continue;
                }
            };
            if slot.replace(map.next_value()?).is_some() {
                record.repeated = Some(word);
            }
        }
        Ok(record)
    }

    // Something else in a signal's place concerns nobody but itself.
    fn visit_unit<E>(self) -> Result<Record<'de>, E> {
        Ok(Record::default())
    }

    fn visit_bool<E>(self, _: bool) -> Result<Record<'de>, E> {
        Ok(Record::default())
    }

    fn visit_i64<E>(self, _: i64) -> Result<Record<'de>, E> {
        Ok(Record::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Record<'de>, E> {
        Ok(Record::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Record<'de>, E> {
        Ok(Record::default())
    }

    fn visit_str<E>(self, _: &str) -> Result<Record<'de>, E> {
        Ok(Record::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Record<'de>, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Record::default())
    }
}

impl Record<'_> {
    /// The signal that admission decides on.
    fn signal(self, schema: &SignalSchema) -> Result<Signal, Refusal> {
        let fault = |reason, field: &'static str| Refusal::at(reason, FieldRef::Known(field.into()));
        if !self.is_object {
            return Err(Refusal::of(RefusalReason::WrongType));
        }
        if let Some(word) = self.repeated {
            return Err(fault(RefusalReason::RepeatedField, word));
        }
        let time = match self.timestamp {
            None | Some(Raw::Null) => return Err(fault(RefusalReason::MissingField, "timestamp")),
            Some(Raw::Integer(ms)) => Some(Timestamp(ms)),
            Some(Raw::Text(text)) => stamp::rfc_3339(&text),
            Some(_) => None,
        };
        let time = time.ok_or_else(|| fault(RefusalReason::WrongType, "timestamp"))?;
        let kind = match &self.kind {
            None | Some(Raw::Null) => return Err(fault(RefusalReason::MissingField, "kind")),
            Some(Raw::Text(name)) => schema.kind(name).ok_or(Refusal::of(RefusalReason::UnknownKind))?,
            Some(_) => return Err(fault(RefusalReason::WrongType, "kind")),
        };
        if self.more {
            return Err(Refusal::at(RefusalReason::UnknownField, FieldRef::Position(FIELDS_MAX)));
        }
        let mut fields = Vec::with_capacity(self.fields.len());
        for (position, (name, raw)) in self.fields.into_iter().enumerate() {
            let unknown = || Refusal::at(RefusalReason::UnknownField, FieldRef::Position(position));
            let (_, field) = kind.field(&name).ok_or_else(unknown)?;
            if !matches!(raw, Raw::Null) {
                let refused = |reason| Refusal::at(reason, FieldRef::Known(field.name.clone()));
                fields.push((field.name.clone(), value(&field.field_type, raw).map_err(refused)?));
            }
        }
        Ok(Signal { kind: kind.name.clone(), time, fields })
    }
}

/// A value of the form that its field's type takes; admission checks the rest.
fn value(field_type: &FieldType, raw: Raw<'_>) -> Result<SignalValue, RefusalReason> {
    use FieldType::{
        ChangeDigest, Duration, Enumeration, Flags, HttpStatus, Integer, Name, Pseudonym, SizeDelta,
    };
    Ok(match (field_type, raw) {
        (Enumeration(names), Raw::Text(text)) => {
            let known = names.iter().find(|name| ***name == *text);
            SignalValue::Text(known.ok_or(RefusalReason::NotAllowed)?.clone())
        }
        (Name { .. } | Pseudonym, Raw::Text(text)) => SignalValue::Text(text.into()),
        (Integer { .. } | Duration { .. } | HttpStatus | SizeDelta, Raw::Integer(number)) => {
            SignalValue::Integer(number)
        }
        (Duration { .. }, Raw::Text(text)) => {
            let span: jiff::SignedDuration = text.parse().map_err(|_| RefusalReason::WrongType)?;
            let ms = i64::try_from(span.as_millis()).map_err(|_| RefusalReason::OutOfBounds)?;
            SignalValue::Integer(ms)
        }
        (Flags(_), Raw::Texts(texts)) => {
            SignalValue::Flags(texts.iter().map(|text| Arc::from(&**text)).collect())
        }
        (ChangeDigest, Raw::Change { before, after }) => {
            SignalValue::Change { before: before.into(), after: after.into() }
        }
        _ => return Err(RefusalReason::WrongType),
    })
}

#[cfg(test)]
mod tests;
