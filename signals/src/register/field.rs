//! Fields of a registered kind.

use std::sync::Arc;

use annals_model::DAY_MS;
use annals_model::schema::{FieldSchema, FieldType};
use serde::Deserialize;
use toml::Spanned;

use super::{FIELDS_MAX, Place, SchemaError, SchemaFault, WORD_RULE, is_word};
use crate::alphabet::{self, NAME_BYTES_LIMIT};

/// The most values of an enumeration, and flags of a set.
const VALUES_MAX: usize = 64;
/// The most distinct names that a field may take per tenant.
const NAME_VALUES_MAX: i64 = 10_000;
/// The longest duration: ten years.
const DURATION_MS_MAX: i64 = 3_660 * DAY_MS;

const TYPES: &str =
    "enumeration, integer, duration, http_status, name, pseudonym, change_digest, size_delta, flags";

/// A `[[kind.field]]` table: the keys of all types at once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawField {
    name: Spanned<String>,
    r#type: Spanned<String>,
    #[serde(default)]
    required: bool,
    values: Option<Spanned<Vec<Spanned<String>>>>,
    min: Option<Spanned<i64>>,
    max: Option<Spanned<i64>>,
    max_ms: Option<Spanned<i64>>,
    bytes_max: Option<Spanned<i64>>,
    values_max: Option<Spanned<i64>>,
}

/// Checks the fields of one kind, in order.
pub(super) fn fields(raw: Vec<RawField>, place: &mut Place<'_>) -> Result<Vec<FieldSchema>, SchemaError> {
    if raw.len() > FIELDS_MAX {
        return Err(place.fault(SchemaFault::TooMany {
            what: "fields",
            count: raw.len(),
            limit: FIELDS_MAX,
        }));
    }
    let mut fields: Vec<FieldSchema> = Vec::with_capacity(raw.len());
    for mut field in raw {
        place.part = None;
        let name: Arc<str> = field.name.get_ref().as_str().into();
        if !is_word(&name) || matches!(&*name, "site" | "le" | "kind" | "timestamp") {
            return Err(place.at(&field.name, "name", SchemaFault::InvalidName { rule: WORD_RULE }));
        }
        place.part = Some(("field", name.clone()));
        if fields.iter().any(|earlier| earlier.name == name) {
            let by = "an earlier field of the kind";
            return Err(place.at(&field.name, "name", SchemaFault::NameTaken { by }));
        }
        let field_type = field_type(&mut field, place)?;
        fields.push(FieldSchema { name, field_type, required: field.required });
    }
    place.part = None;
    Ok(fields)
}

/// Takes the keys that the type has; any key left over is an error.
fn field_type(raw: &mut RawField, place: &Place<'_>) -> Result<FieldType, SchemaError> {
    let (word, field_type) = match raw.r#type.get_ref().as_str() {
        "enumeration" => ("enumeration", FieldType::Enumeration(values(raw, "enumeration", place)?)),
        "flags" => ("flags", FieldType::Flags(values(raw, "flags", place)?)),
        "integer" => {
            let (min, max) = (raw.min.take(), raw.max.take());
            let min = needed(min, "min", "integer", raw, place)?;
            let max = needed(max, "max", "integer", raw, place)?;
            if min.get_ref() > max.get_ref() {
                return Err(place.at(&min, "min", SchemaFault::BoundsInverted));
            }
            ("integer", FieldType::Integer { min: *min.get_ref(), max: *max.get_ref() })
        }
        "duration" => {
            let max_ms = raw.max_ms.take();
            let max_ms = needed(max_ms, "max_ms", "duration", raw, place)?;
            let max_ms = within(max_ms, "max_ms", DURATION_MS_MAX, place)?;
            ("duration", FieldType::Duration { max_ms })
        }
        "name" => {
            let (bytes, values) = (raw.bytes_max.take(), raw.values_max.take());
            let bytes = needed(bytes, "bytes_max", "name", raw, place)?;
            let values = needed(values, "values_max", "name", raw, place)?;
            let bytes_max = within(bytes, "bytes_max", NAME_BYTES_LIMIT as i64, place)? as usize;
            let values_max = within(values, "values_max", NAME_VALUES_MAX, place)? as usize;
            ("name", FieldType::Name { bytes_max, values_max })
        }
        "http_status" => ("http_status", FieldType::HttpStatus),
        "pseudonym" => ("pseudonym", FieldType::Pseudonym),
        "change_digest" => ("change_digest", FieldType::ChangeDigest),
        "size_delta" => ("size_delta", FieldType::SizeDelta),
        _ => return Err(place.at(&raw.r#type, "type", SchemaFault::UnknownType { types: TYPES })),
    };
    let unused = SchemaFault::KeyUnused { of: word };
    if let Some(key) = &raw.values {
        return Err(place.at(key, "values", unused));
    }
    let numbers = [
        (&raw.min, "min"),
        (&raw.max, "max"),
        (&raw.max_ms, "max_ms"),
        (&raw.bytes_max, "bytes_max"),
        (&raw.values_max, "values_max"),
    ];
    match numbers.into_iter().find_map(|(number, key)| number.as_ref().map(|number| (number, key))) {
        Some((number, key)) => Err(place.at(number, key, unused)),
        None => Ok(field_type),
    }
}

fn needed<T>(
    value: Option<Spanned<T>>,
    key: &'static str,
    of: &'static str,
    raw: &RawField,
    place: &Place<'_>,
) -> Result<Spanned<T>, SchemaError> {
    value.ok_or_else(|| place.at(&raw.r#type, key, SchemaFault::KeyMissing { of }))
}

/// A limit from 1 to `max`.
fn within(value: Spanned<i64>, key: &'static str, max: i64, place: &Place<'_>) -> Result<i64, SchemaError> {
    let number = *value.get_ref();
    if (1..=max).contains(&number) {
        Ok(number)
    } else {
        Err(place.at(&value, key, SchemaFault::OutOfRange { min: 1, max }))
    }
}

/// The distinct words of an enumeration or of a set of flags.
fn values(raw: &mut RawField, of: &'static str, place: &Place<'_>) -> Result<Vec<Arc<str>>, SchemaError> {
    let list = raw.values.take();
    let list = needed(list, "values", of, raw, place)?;
    let words = list.get_ref();
    if words.is_empty() {
        return Err(place.at(&list, "values", SchemaFault::Empty));
    }
    if words.len() > VALUES_MAX {
        let fault = SchemaFault::TooMany { what: "values", count: words.len(), limit: VALUES_MAX };
        return Err(place.at(&list, "values", fault));
    }
    let mut taken: Vec<Arc<str>> = Vec::with_capacity(words.len());
    for word in words {
        let text = word.get_ref().as_str();
        if !alphabet::is_value(text) || text.len() > super::NAME_BYTES_MAX {
            return Err(place.at(word, "values", SchemaFault::InvalidName { rule: "[A-Za-z0-9_.:/-]" }));
        }
        if taken.iter().any(|earlier| &**earlier == text) {
            return Err(place.at(
                word,
                "values",
                SchemaFault::NameTaken { by: "an earlier value of the field" },
            ));
        }
        taken.push(text.into());
    }
    Ok(taken)
}
