//! Admitted rows as bytes, for the log.
//!
//! | field       | bytes      | notes                                                                       |
//! |-------------|------------|-----------------------------------------------------------------------------|
//! | `version`   | 1          | 1                                                                           |
//! | kinds       | count, each| name (length, text), count of fields, layout (4 bytes)                      |
//! | sites       | count, each| length, text                                                                |
//! | names       | count, each| length, text: every enumeration and name value once                         |
//! | rows        | count, each| as below                                                                    |
//!
//! | of a row    | bytes      | notes                                                                       |
//! |-------------|------------|-----------------------------------------------------------------------------|
//! | kind        | number     | index into the kinds                                                        |
//! | site        | number     | index into the sites; left out where there is one site                      |
//! | time        | signed     | less the row before, 0 before the first; wraps                              |
//! | present     | bits       | one per field of the kind, low bit first, whole bytes, the rest zero        |
//! | values      |            | those present, in field order, by the field's type                          |
//!
//! | type | of a field                                      | value                                            |
//! |-----:|-------------------------------------------------|--------------------------------------------------|
//! |    1 | enumeration, name                               | index into the names                             |
//! |    2 | integer, duration, HTTP status, size delta      | signed number                                    |
//! |    3 | flags                                           | number whose bits are the set                    |
//! |    4 | pseudonym                                       | 16 bytes, length as a number                     |
//! |    5 | change digest                                   | two pseudonyms                                   |
//!
//! The layout is FNV-1a (32 bits) over each field's name, a zero byte and its type's number: a schema under which the
//! values would mean something else is told from the one that they were written under.
//!
//! Numbers are LEB128 in their shortest form, signed ones in zigzag. Dictionaries are in order of first use.
//!
//! The log outlives a schema file: what was acknowledged must be read under a schema that has grown since. So a kind
//! may have more fields than the log knows (absent in the row), and bounds, enumerations and caps are not checked
//! again; types, alphabets and lengths that hold for every schema are. The bytes carry no check of their own: the
//! log's frame does.

use std::sync::Arc;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::schema::{FieldSchema, FieldType, KindSchema, SignalSchema};
use annals_model::{FieldValue, Pseudonym, SignalRow, SiteName, Timestamp};
use hashbrown::HashMap;

use crate::alphabet::{self, NAME_BYTES_LIMIT};

/// The only version so far.
const VERSION: u8 = 1;

/// Why bytes are no rows, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    /// No version of this crate wrote these bytes.
    #[error("signal rows are damaged at byte {offset}: {what}")]
    Corrupt {
        /// The offset at which reading stopped.
        offset: usize,
        /// What was expected there.
        what: &'static str,
    },
    /// A newer version wrote them.
    #[error("signal rows are of version {found}, the newest known is {VERSION}; use a newer Annals")]
    VersionTooNew {
        /// Their version.
        found: u8,
    },
    /// A kind that the schema does not have.
    #[error("the log holds signals of kind `{kind}`, which the schema no longer has; register it again")]
    UnknownKind {
        /// The kind: a word that a schema admitted.
        kind: String,
    },
    /// Fields that the schema no longer has, or has in another order, by other names or with other types.
    #[error(
        "the log holds signals of kind `{kind}` with {fields} fields that are not the first {fields} of the schema's; \
         restore them as they were and append new ones"
    )]
    OtherFields {
        /// The kind.
        kind: Arc<str>,
        /// How many fields it had when the log was written.
        fields: usize,
    },
}

/// Appends rows to `out`. The rows must follow `schema`, as an [`Admitter`](crate::Admitter)'s do.
///
/// # Panics
/// Where a row's kind is not in the schema or its values are not of its fields' types.
pub fn encode_rows(schema: &SignalSchema, rows: &[SignalRow], out: &mut Vec<u8>) {
    let mut kinds: Dictionary<&Arc<KindSchema>> = Dictionary::default();
    let mut sites: Dictionary<&SiteName> = Dictionary::default();
    let mut names: Dictionary<&Arc<str>> = Dictionary::default();
    for row in rows {
        sites.index(row.site.as_str(), &row.site);
    }
    let mut body = Vec::with_capacity(rows.len() * 24);
    let mut before = 0i64;
    for row in rows {
        let kind_index = kinds.find(&row.kind).unwrap_or_else(|| {
            let kind = schema.kind(&row.kind).expect("a row's kind is in the schema that admitted it");
            kinds.index(&kind.name, kind)
        });
        body.put_varint(kind_index);
        if sites.entries.len() > 1 {
            body.put_varint(sites.index(row.site.as_str(), &row.site));
        }
        body.put_varint_signed(row.time.0.wrapping_sub(before));
        before = row.time.0;
        let kind = kinds.entries.get(kind_index as usize).expect("just looked up");
        assert_eq!(kind.fields.len(), row.fields.len(), "a row holds one value per field of its kind");
        for eight in row.fields.chunks(8) {
            let bits = eight.iter().enumerate().map(|(bit, value)| u8::from(value.is_some()) << bit);
            body.put_u8(bits.fold(0, |byte, bit| byte | bit));
        }
        for (field, value) in kind.fields.iter().zip(&row.fields) {
            if let Some(value) = value {
                put_value(&mut body, type_number(&field.field_type), value, &mut names);
            }
        }
    }

    out.put_u8(VERSION);
    out.put_varint(kinds.entries.len() as u64);
    for kind in &kinds.entries {
        out.put_text(&kind.name);
        out.put_varint(kind.fields.len() as u64);
        out.put_u32(layout(&kind.fields));
    }
    out.put_varint(sites.entries.len() as u64);
    sites.entries.iter().for_each(|site| out.put_text(site.as_str()));
    out.put_varint(names.entries.len() as u64);
    names.entries.iter().for_each(|name| out.put_text(name));
    out.put_varint(rows.len() as u64);
    out.put(&body);
}

/// Reads the rows of [`encode_rows`]; all of `bytes` must be theirs.
pub fn decode_rows(schema: &SignalSchema, bytes: &[u8]) -> Result<Vec<SignalRow>, RowsError> {
    let mut reader = Reader { cursor: Cursor::new(bytes) };
    let version = reader.need("a version", Cursor::u8)?;
    if version != VERSION {
        // Version 0 never was: such bytes are damage, not the future.
        let found = version;
        return Err(if found == 0 {
            reader.corrupt("a version")
        } else {
            RowsError::VersionTooNew { found }
        });
    }
    let mut kinds: Vec<(&Arc<KindSchema>, usize)> = Vec::new();
    for _ in 0..reader.need("a count of kinds", |cursor| cursor.count(2))? {
        kinds.push(reader.kind(schema)?);
    }
    let mut sites = Vec::new();
    for _ in 0..reader.need("a count of sites", |cursor| cursor.count(2))? {
        let name = reader.need("a site", Cursor::text)?;
        sites.push(SiteName::new(name).map_err(|_| reader.corrupt("a site's name"))?);
    }
    let mut names: Vec<Arc<str>> = Vec::new();
    for _ in 0..reader.need("a count of names", |cursor| cursor.count(2))? {
        let name = reader.need("a name", Cursor::text)?;
        if name.len() > NAME_BYTES_LIMIT || !alphabet::is_value(name) {
            return Err(reader.corrupt("a name of the allowed alphabet"));
        }
        names.push(name.into());
    }
    // A row takes two bytes at least: kind and time.
    let count = reader.need("a count of rows", |cursor| cursor.count(2))?;
    let mut rows = Vec::with_capacity(count);
    let mut time = 0i64;
    for _ in 0..count {
        let (kind, known) = reader.pick(&kinds, "the index of a kind")?;
        let site = match sites.as_slice() {
            [site] => site.clone(),
            several => reader.pick(several, "the index of a site")?,
        };
        time = time.wrapping_add(reader.need("a time", Cursor::varint_signed)?);
        let fields = reader.fields(kind, known, &names)?;
        rows.push(SignalRow { kind: kind.name.clone(), site, time: Timestamp(time), fields });
    }
    if reader.cursor.is_empty() { Ok(rows) } else { Err(reader.corrupt("the end")) }
}

struct Reader<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Reader<'a> {
    fn corrupt(&self, what: &'static str) -> RowsError {
        RowsError::Corrupt { offset: self.cursor.offset(), what }
    }

    fn need<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&mut Cursor<'a>) -> Option<T>,
    ) -> Result<T, RowsError> {
        read(&mut self.cursor).ok_or_else(|| self.corrupt(what))
    }

    fn pick<T: Clone>(&mut self, list: &[T], what: &'static str) -> Result<T, RowsError> {
        let index = self.need(what, Cursor::varint)?;
        usize::try_from(index).ok().and_then(|at| list.get(at)).cloned().ok_or_else(|| self.corrupt(what))
    }

    /// A kind of the schema, and how many of its fields the bytes know.
    fn kind<'s>(&mut self, schema: &'s SignalSchema) -> Result<(&'s Arc<KindSchema>, usize), RowsError> {
        let name = self.need("a kind", Cursor::text)?;
        if name.len() > NAME_BYTES_LIMIT || !alphabet::is_name(name) {
            return Err(self.corrupt("a kind's name"));
        }
        let known = self.need("a count of fields", |cursor| usize::try_from(cursor.varint()?).ok())?;
        let layout_then = self.need("a layout", Cursor::u32)?;
        let kind = schema.kind(name).ok_or_else(|| RowsError::UnknownKind { kind: name.into() })?;
        if kind.fields.get(..known).map(layout) != Some(layout_then) {
            return Err(RowsError::OtherFields { kind: kind.name.clone(), fields: known });
        }
        Ok((kind, known))
    }

    fn fields(
        &mut self,
        kind: &KindSchema,
        known: usize,
        names: &[Arc<str>],
    ) -> Result<Vec<Option<FieldValue>>, RowsError> {
        let present = self.need("bits of fields", |cursor| cursor.take(known.div_ceil(8)))?;
        let is_present =
            |field: usize| present.get(field / 8).is_some_and(|byte| byte >> (field % 8) & 1 == 1);
        if (known..present.len() * 8).any(is_present) {
            return Err(self.corrupt("bits of fields"));
        }
        let mut fields = Vec::with_capacity(kind.fields.len());
        for (position, field) in kind.fields.iter().enumerate() {
            fields.push(match is_present(position) {
                true => Some(self.value(type_number(&field.field_type), names)?),
                false => None,
            });
        }
        Ok(fields)
    }

    fn value(&mut self, number: u8, names: &[Arc<str>]) -> Result<FieldValue, RowsError> {
        Ok(match number {
            TYPE_NAME => FieldValue::Name(self.pick(names, "the index of a name")?),
            TYPE_INTEGER => FieldValue::Integer(self.need("a number", Cursor::varint_signed)?),
            TYPE_FLAGS => FieldValue::Flags(self.need("flags", Cursor::varint)?),
            TYPE_PSEUDONYM => FieldValue::Pseudonym(self.pseudonym()?),
            _ => FieldValue::Change { before: self.pseudonym()?, after: self.pseudonym()? },
        })
    }

    fn pseudonym(&mut self) -> Result<Pseudonym, RowsError> {
        let hash = self.need("a hash", Cursor::array)?;
        let length = self.need("a length", |cursor| u16::try_from(cursor.varint()?).ok())?;
        Ok(Pseudonym { hash, length })
    }
}

const TYPE_NAME: u8 = 1;
const TYPE_INTEGER: u8 = 2;
const TYPE_FLAGS: u8 = 3;
const TYPE_PSEUDONYM: u8 = 4;
const TYPE_CHANGE: u8 = 5;

fn type_number(field_type: &FieldType) -> u8 {
    match field_type {
        FieldType::Enumeration(_) | FieldType::Name { .. } => TYPE_NAME,
        FieldType::Integer { .. }
        | FieldType::Duration { .. }
        | FieldType::HttpStatus
        | FieldType::SizeDelta => TYPE_INTEGER,
        FieldType::Flags(_) => TYPE_FLAGS,
        FieldType::Pseudonym => TYPE_PSEUDONYM,
        FieldType::ChangeDigest => TYPE_CHANGE,
    }
}

/// What fields mean, in 32 bits.
fn layout(fields: &[FieldSchema]) -> u32 {
    let bytes = fields.iter().flat_map(|field| field.name.bytes().chain([0, type_number(&field.field_type)]));
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn put_value<'a>(
    out: &mut Vec<u8>,
    tag: u8,
    value: &'a FieldValue,
    names: &mut Dictionary<'a, &'a Arc<str>>,
) {
    match (tag, value) {
        (TYPE_NAME, FieldValue::Name(name)) => out.put_varint(names.index(name, name)),
        (TYPE_INTEGER, FieldValue::Integer(number)) => out.put_varint_signed(*number),
        (TYPE_FLAGS, FieldValue::Flags(bits)) => out.put_varint(*bits),
        (TYPE_PSEUDONYM, FieldValue::Pseudonym(pseudonym)) => put_pseudonym(out, pseudonym),
        (TYPE_CHANGE, FieldValue::Change { before, after }) => {
            put_pseudonym(out, before);
            put_pseudonym(out, after);
        }
        _ => panic!("a row's values have their fields' types"),
    }
}

fn put_pseudonym(out: &mut Vec<u8>, pseudonym: &Pseudonym) {
    out.put(&pseudonym.hash);
    out.put_varint(u64::from(pseudonym.length));
}

/// Distinct entries by name, numbered in order of first use.
struct Dictionary<'a, T> {
    numbers: HashMap<&'a str, u64, foldhash::fast::FixedState>,
    entries: Vec<T>,
}

impl<T> Default for Dictionary<'_, T> {
    fn default() -> Self {
        Dictionary { numbers: HashMap::default(), entries: Vec::new() }
    }
}

impl<'a, T> Dictionary<'a, T> {
    fn find(&self, name: &str) -> Option<u64> {
        self.numbers.get(name).copied()
    }

    fn index(&mut self, name: &'a str, entry: T) -> u64 {
        let next = self.entries.len() as u64;
        let number = *self.numbers.entry(name).or_insert(next);
        if number == next {
            self.entries.push(entry);
        }
        number
    }
}

#[cfg(test)]
mod tests;
