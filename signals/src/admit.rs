//! Admission: what a host hands in becomes a row that holds only what the schema allows, or is refused.
//!
//! | field type    | takes               | becomes                                   | refused as                          |
//! |---------------|---------------------|-------------------------------------------|-------------------------------------|
//! | enumeration   | one of its names    | the name                                  | `not_allowed`                       |
//! | integer, duration, HTTP status | a number within bounds | the number             | `out_of_bounds`                     |
//! | size delta    | a number            | the number                                |                                     |
//! | name          | `[a-z0-9_.:/-]`     | the name; `other` past the field's cap    | `out_of_bounds` (length), `not_allowed` |
//! | flags         | names of its flags, repeats allowed | a set                     | `not_allowed`                       |
//! | pseudonym     | any text            | keyed hash and length                     |                                     |
//! | change digest | two texts           | two keyed hashes and lengths              |                                     |
//!
//! A value of another form is `wrong_type` in every field. A refusal names a field that the schema knows, or the
//! position of one that it does not; it never repeats what the host wrote. Faults are reported in the order in which
//! the host wrote the fields, missing fields last. Time limits are the engine's, not checked here.

use std::sync::Arc;

use annals_model::schema::{FieldSchema, FieldType, KindSchema, SignalSchema};
use annals_model::{
    FieldRef, FieldValue, Pseudonym, Refusal, RefusalReason, Signal, SignalRow, SignalValue, SiteName,
};

use crate::alphabet::{self, OTHER};
use crate::names::{NameOverlay, NameTable, NewNames};
use crate::pseudonym::PseudonymKey;

/// The least and greatest HTTP status.
const HTTP_STATUS: std::ops::RangeInclusive<i64> = 100..=599;

/// Admits the signals of one batch. It changes nothing but its own overlay of the names.
///
/// ```
/// use annals_model::{Signal, SiteName, Timestamp};
/// use annals_signals::{Admitter, NameTable, PseudonymKey, builtin};
///
/// let (schema, key, mut names) = (builtin(), PseudonymKey::new(&[7; 32]), NameTable::new());
/// let site = SiteName::new("shop-1")?;
///
/// let mut admitter = Admitter::new(&schema, &key, &names, &site);
/// let run = Signal::new("wp.cron", Timestamp(0)).with("hook", "purge_cache").with("result", "ok");
/// assert!(admitter.admit(&run).is_ok());
/// let refusal = admitter.admit(&run.with("hook", "again")).unwrap_err();
/// assert_eq!(refusal.to_string(), "repeated_field (field `hook`)");
///
/// // Once the batch counts:
/// let new = admitter.finish();
/// names.add(new);
/// assert_eq!(names.len("wp.cron", "hook"), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Admitter<'a> {
    schema: &'a SignalSchema,
    key: &'a PseudonymKey,
    names: NameOverlay<'a>,
    site: &'a SiteName,
    /// The kind of the last signal: batches tend to be of one kind.
    last: Option<&'a Arc<KindSchema>>,
    /// The last text that was replaced by its hash: requests of one client tend to follow each other.
    hashed: Option<(Arc<str>, Pseudonym)>,
}

impl<'a> Admitter<'a> {
    /// An admitter for one batch of one site.
    #[must_use]
    pub fn new(
        schema: &'a SignalSchema,
        key: &'a PseudonymKey,
        names: &'a NameTable,
        site: &'a SiteName,
    ) -> Admitter<'a> {
        Admitter { schema, key, names: NameOverlay::new(names), site, last: None, hashed: None }
    }

    /// The row of a signal, or why there is none. A refused signal adds no name.
    pub fn admit(&mut self, signal: &Signal) -> Result<SignalRow, Refusal> {
        let kind = match self.last {
            Some(last) if last.name == signal.kind => last,
            _ => self.schema.kind(&signal.kind).ok_or(Refusal::of(RefusalReason::UnknownKind))?,
        };
        self.last = Some(kind);

        let mut fields: Vec<Option<FieldValue>> = vec![None; kind.fields.len()];
        let mut new_name = false;
        let mut next = 0;
        for (position, (name, value)) in signal.fields.iter().enumerate() {
            let unknown = || Refusal::at(RefusalReason::UnknownField, FieldRef::Position(position));
            // Hosts mostly write fields in the schema's order, and leave some out.
            let onward = kind.fields.iter().enumerate().skip(next).find(|(_, field)| field.name == *name);
            let (at, field) = onward.or_else(|| kind.field(name)).ok_or_else(unknown)?;
            next = at + 1;
            let slot = fields.get_mut(at).ok_or_else(unknown)?;
            let fault = |reason| Refusal::at(reason, FieldRef::Known(field.name.clone()));
            if slot.is_some() {
                return Err(fault(RefusalReason::RepeatedField));
            }
            let (value, is_new) = self.value(kind, field, value).map_err(fault)?;
            new_name |= is_new;
            *slot = Some(value);
        }
        let missing =
            kind.fields.iter().zip(&fields).find(|(field, value)| field.required && value.is_none());
        if let Some((field, _)) = missing {
            return Err(Refusal::at(RefusalReason::MissingField, FieldRef::Known(field.name.clone())));
        }
        if new_name {
            self.cap_names(kind, &mut fields);
        }
        Ok(SignalRow { kind: kind.name.clone(), site: self.site.clone(), time: signal.time, fields })
    }

    /// The names that the batch brought, for [`NameTable::add`].
    #[must_use]
    pub fn finish(self) -> NewNames {
        self.names.finish()
    }

    /// The stored value, and whether it is a name that its field has not seen.
    fn value(
        &mut self,
        kind: &KindSchema,
        field: &FieldSchema,
        value: &SignalValue,
    ) -> Result<(FieldValue, bool), RefusalReason> {
        let stored = match (&field.field_type, value) {
            (FieldType::Enumeration(words), SignalValue::Text(text)) => {
                let word = words.iter().find(|&word| word == text).ok_or(RefusalReason::NotAllowed)?;
                FieldValue::Name(word.clone())
            }
            (FieldType::Integer { min, max }, SignalValue::Integer(number)) => within(*number, *min, *max)?,
            (FieldType::Duration { max_ms }, SignalValue::Integer(number)) => within(*number, 0, *max_ms)?,
            (FieldType::HttpStatus, SignalValue::Integer(number)) => {
                within(*number, *HTTP_STATUS.start(), *HTTP_STATUS.end())?
            }
            (FieldType::SizeDelta, SignalValue::Integer(number)) => FieldValue::Integer(*number),
            (FieldType::Name { bytes_max, .. }, SignalValue::Text(text)) => {
                if text.len() > *bytes_max {
                    return Err(RefusalReason::OutOfBounds);
                }
                if !alphabet::is_name(text) {
                    return Err(RefusalReason::NotAllowed);
                }
                return Ok(match self.names.known(&kind.name, &field.name, text) {
                    Some(known) => (FieldValue::Name(known.clone()), false),
                    None => (FieldValue::Name(text.clone()), &**text != OTHER),
                });
            }
            (FieldType::Flags(flags), SignalValue::Flags(set)) => {
                let mut bits = 0;
                for name in set {
                    let bit = flags.iter().position(|flag| flag == name).filter(|&bit| bit < 64);
                    bits |= 1 << bit.ok_or(RefusalReason::NotAllowed)?;
                }
                FieldValue::Flags(bits)
            }
            (FieldType::Pseudonym, SignalValue::Text(text)) => FieldValue::Pseudonym(self.pseudonym(text)),
            (FieldType::ChangeDigest, SignalValue::Change { before, after }) => {
                FieldValue::Change { before: self.key.pseudonym(before), after: self.key.pseudonym(after) }
            }
            _ => return Err(RefusalReason::WrongType),
        };
        Ok((stored, false))
    }

    fn pseudonym(&mut self, text: &Arc<str>) -> Pseudonym {
        match &self.hashed {
            Some((last, pseudonym)) if last == text => *pseudonym,
            _ => {
                let pseudonym = self.key.pseudonym(text);
                self.hashed = Some((text.clone(), pseudonym));
                pseudonym
            }
        }
    }

    /// Counts the new names of an admitted signal, and replaces those that are over their field's cap.
    fn cap_names(&mut self, kind: &KindSchema, fields: &mut [Option<FieldValue>]) {
        for (field, value) in kind.fields.iter().zip(fields) {
            if let (FieldType::Name { values_max, .. }, Some(FieldValue::Name(name))) =
                (&field.field_type, value)
                && &**name != OTHER
                && self.names.known(&kind.name, &field.name, name).is_none()
                && !self.names.take(&kind.name, &field.name, name, *values_max)
            {
                *name = OTHER.into();
            }
        }
    }
}

fn within(number: i64, min: i64, max: i64) -> Result<FieldValue, RefusalReason> {
    if (min..=max).contains(&number) {
        Ok(FieldValue::Integer(number))
    } else {
        Err(RefusalReason::OutOfBounds)
    }
}

#[cfg(test)]
mod tests;
