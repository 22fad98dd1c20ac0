//! OTLP as JSON, turned into Protobuf field by field as it is read: one decoder then serves both, and a body never becomes a
//! tree, so what it costs in memory is a small multiple of its length.
//!
//! The JSON is that of Protobuf, as OTLP narrows it: keys in lower camel case, 64-bit numbers as texts or numbers, enumerations
//! as numbers (names are taken too), unknown keys ignored.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::IngestError;
use crate::wire::put;

/// How the value of a key is written.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Double,
    Bool,
    /// A whole number in eight bytes.
    Fixed,
    /// A whole number as a varint.
    Varint,
    /// The same, of a type that is signed and stored as `sint`.
    Zigzag,
    /// An enumeration: its number, or one of these names by position.
    Enum(&'static [&'static str]),
    Message(&'static [Key]),
}

/// A key of a message: its number, and how its value, or each of a list of values, is written.
type Key = (&'static str, u32, Form);

const TEMPORALITY: Form = Form::Enum(&[
    "AGGREGATION_TEMPORALITY_UNSPECIFIED",
    "AGGREGATION_TEMPORALITY_DELTA",
    "AGGREGATION_TEMPORALITY_CUMULATIVE",
]);
const ANY_VALUE: &[Key] = &[
    ("stringValue", 1, Form::Text),
    ("boolValue", 2, Form::Bool),
    ("intValue", 3, Form::Varint),
    ("doubleValue", 4, Form::Double),
    ("arrayValue", 5, Form::Message(ARRAY)),
];
const ARRAY: &[Key] = &[("values", 1, Form::Message(SCALAR))];
const SCALAR: &[Key] = &[
    ("stringValue", 1, Form::Text),
    ("boolValue", 2, Form::Bool),
    ("intValue", 3, Form::Varint),
    ("doubleValue", 4, Form::Double),
];
const ATTRIBUTE: Form = Form::Message(&[("key", 1, Form::Text), ("value", 2, Form::Message(ANY_VALUE))]);
const NUMBER_POINT: Form = Form::Message(&[
    ("attributes", 7, ATTRIBUTE),
    ("startTimeUnixNano", 2, Form::Fixed),
    ("timeUnixNano", 3, Form::Fixed),
    ("asDouble", 4, Form::Double),
    ("asInt", 6, Form::Fixed),
    ("flags", 8, Form::Varint),
]);
const HISTOGRAM_POINT: Form = Form::Message(&[
    ("attributes", 9, ATTRIBUTE),
    ("startTimeUnixNano", 2, Form::Fixed),
    ("timeUnixNano", 3, Form::Fixed),
    ("count", 4, Form::Fixed),
    ("sum", 5, Form::Double),
    ("bucketCounts", 6, Form::Fixed),
    ("explicitBounds", 7, Form::Double),
    ("flags", 10, Form::Varint),
]);
const BUCKETS: Form = Form::Message(&[("offset", 1, Form::Zigzag), ("bucketCounts", 2, Form::Varint)]);
const EXPONENTIAL_POINT: Form = Form::Message(&[
    ("attributes", 1, ATTRIBUTE),
    ("startTimeUnixNano", 2, Form::Fixed),
    ("timeUnixNano", 3, Form::Fixed),
    ("count", 4, Form::Fixed),
    ("sum", 5, Form::Double),
    ("scale", 6, Form::Zigzag),
    ("zeroCount", 7, Form::Fixed),
    ("positive", 8, BUCKETS),
    ("negative", 9, BUCKETS),
    ("flags", 10, Form::Varint),
    ("zeroThreshold", 14, Form::Double),
]);
const QUANTILE: Form = Form::Message(&[("quantile", 1, Form::Double), ("value", 2, Form::Double)]);
const SUMMARY_POINT: Form = Form::Message(&[
    ("attributes", 7, ATTRIBUTE),
    ("startTimeUnixNano", 2, Form::Fixed),
    ("timeUnixNano", 3, Form::Fixed),
    ("count", 4, Form::Fixed),
    ("sum", 5, Form::Double),
    ("quantileValues", 6, QUANTILE),
    ("flags", 8, Form::Varint),
]);
const METRIC: Form = Form::Message(&[
    ("name", 1, Form::Text),
    ("unit", 3, Form::Text),
    ("gauge", 5, Form::Message(&[("dataPoints", 1, NUMBER_POINT)])),
    (
        "sum",
        7,
        Form::Message(&[
            ("dataPoints", 1, NUMBER_POINT),
            ("aggregationTemporality", 2, TEMPORALITY),
            ("isMonotonic", 3, Form::Bool),
        ]),
    ),
    (
        "histogram",
        9,
        Form::Message(&[("dataPoints", 1, HISTOGRAM_POINT), ("aggregationTemporality", 2, TEMPORALITY)]),
    ),
    (
        "exponentialHistogram",
        10,
        Form::Message(&[("dataPoints", 1, EXPONENTIAL_POINT), ("aggregationTemporality", 2, TEMPORALITY)]),
    ),
    ("summary", 11, Form::Message(&[("dataPoints", 1, SUMMARY_POINT)])),
]);
const RESOURCE: Form = Form::Message(&[("attributes", 1, ATTRIBUTE)]);
const SCOPE_METRICS: Form = Form::Message(&[("metrics", 2, METRIC)]);
const RESOURCE_METRICS: Form =
    Form::Message(&[("resource", 1, RESOURCE), ("scopeMetrics", 2, SCOPE_METRICS)]);
const REQUEST: &[Key] = &[("resourceMetrics", 1, RESOURCE_METRICS)];

/// The Protobuf of a body.
pub(super) fn to_protobuf(body: &[u8]) -> Result<Vec<u8>, IngestError> {
    let mut out = Vec::new();
    let mut from = serde_json::Deserializer::from_slice(body);
    let into = Fields { keys: REQUEST, out: &mut out };
    // What the parser says of a value repeats it.
    from.deserialize_any(into).and_then(|()| from.end()).map_err(|error| {
        let what = if error.is_data() { "this is not JSON of OTLP" } else { "this is not JSON" };
        IngestError::bad(format_args!("line {}, column {}: {what}", error.line(), error.column()))
    })?;
    Ok(out)
}

/// Writes the fields of a message.
struct Fields<'a> {
    keys: &'static [Key],
    out: &'a mut Vec<u8>,
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match self.keys.iter().find(|(known, ..)| *known == key) {
                Some(&(_, number, form)) => {
                    map.next_value_seed(Value { number, form, in_list: false, out: &mut *self.out })?;
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// Writes a value, or each of a list.
struct Value<'a> {
    number: u32,
    form: Form,
    in_list: bool,
    out: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl Value<'_> {
    fn whole<E: Error>(self, value: i128) -> Result<(), E> {
        let signed = i64::try_from(value).ok();
        let unsigned = u64::try_from(value).ok();
        let bits = unsigned.or(signed.map(|value| value as u64)).ok_or(E::custom("too large"))?;
        match self.form {
            Form::Double => put::double(self.out, self.number, value as f64),
            Form::Fixed => put::fixed64(self.out, self.number, bits),
            Form::Varint => put::varint(self.out, self.number, bits),
            Form::Zigzag => {
                put::varint(self.out, self.number, put::zigzag(signed.ok_or(E::custom("too large"))?));
            }
            Form::Enum(_) => put::varint(self.out, self.number, bits),
            Form::Text | Form::Bool | Form::Message(_) => return Err(E::custom("no number is due")),
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        // As if the key were not there.
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        let Form::Bool = self.form else { return Err(E::custom("no truth is due")) };
        put::varint(self.out, self.number, u64::from(value));
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.whole(i128::from(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.whole(i128::from(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        let Form::Double = self.form else { return Err(E::custom("a whole number is due")) };
        put::double(self.out, self.number, value);
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.form {
            Form::Text => put::bytes(self.out, self.number, text.as_bytes()),
            Form::Double => {
                let value: f64 = text.parse().map_err(|_| E::custom("no number"))?;
                put::double(self.out, self.number, value);
            }
            Form::Fixed | Form::Varint | Form::Zigzag => {
                return self.whole(text.parse().map_err(|_| E::custom("no number"))?);
            }
            Form::Enum(names) => {
                let at = names.iter().position(|name| *name == text).ok_or(E::custom("no such name"))?;
                put::varint(self.out, self.number, at as u64);
            }
            Form::Bool | Form::Message(_) => return Err(E::custom("no text is due")),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.in_list {
            return Err(A::Error::custom("no list is due"));
        }
        let Value { number, form, out, .. } = self;
        while list.next_element_seed(Value { number, form, in_list: true, out: &mut *out })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Form::Message(keys) = self.form else { return Err(A::Error::custom("no object is due")) };
        let mut message = Vec::new();
        Fields { keys, out: &mut message }.visit_map(map)?;
        put::bytes(self.out, self.number, &message);
        Ok(())
    }
}
