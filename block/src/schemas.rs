//! The schemas of a block's signal kinds, stored with it so that it can be read alone.
//!
//! | bytes  | field       | notes                                                                          |
//! |-------:|-------------|--------------------------------------------------------------------------------|
//! | varint | `kinds`     | then per kind, in the order that rows refer to:                                |
//! |   text | `name`      |                                                                                |
//! | varint | `fields`    | then per field: name (text), required (1), type (1), bounds (see below)        |
//! | varint | `metrics`   | then per metric: 0 count or 1 durations (1), name (text), labels (count, then  |
//! |        |             | field positions), for durations the field's position and the bounds            |
//!
//! | type | bounds                                    | type | bounds                                       |
//! |-----:|-------------------------------------------|-----:|----------------------------------------------|
//! |    0 | enumeration: count, texts                 |    5 | pseudonym: none                              |
//! |    1 | integer: least, greatest (zigzag)         |    6 | change digest: none                          |
//! |    2 | duration: longest in ms (zigzag)          |    7 | size delta: none                             |
//! |    3 | HTTP status: none                         |    8 | flags: count, texts                          |
//! |    4 | name: most bytes, most values (varints)   |      |                                              |

use std::sync::Arc;

use annals_model::bytes::{Cursor, PutBytes};
use annals_model::schema::{FieldSchema, FieldType, KindSchema, MetricSchema};

/// A flag is a bit of 64.
const FLAGS_MAX: usize = 64;

/// No kind has more fields: each row of a group takes memory for every field of its kind, also where the row has none of
/// them and takes no byte in the file.
pub(crate) const FIELDS_MAX: usize = 64;

/// Encodes schemas.
pub(crate) fn encode_schemas(kinds: &[Arc<KindSchema>]) -> Vec<u8> {
    let mut out = Vec::new();
    out.put_varint(kinds.len() as u64);
    for kind in kinds {
        out.put_text(&kind.name);
        out.put_varint(kind.fields.len() as u64);
        for field in &kind.fields {
            out.put_text(&field.name);
            out.put_u8(u8::from(field.required));
            put_type(&field.field_type, &mut out);
        }
        out.put_varint(kind.metrics.len() as u64);
        kind.metrics.iter().for_each(|metric| put_metric(metric, &mut out));
    }
    out
}

/// Reads schemas; says what is wrong where they are none.
pub(crate) fn parse_schemas(bytes: &[u8]) -> Result<Vec<Arc<KindSchema>>, &'static str> {
    let mut cursor = Cursor::new(bytes);
    let kinds = parse_list(&mut cursor, 3, parse_kind).ok_or("a schema cannot be read")?;
    if !cursor.is_empty() {
        return Err("bytes after the last schema");
    }
    Ok(kinds.into_iter().map(Arc::new).collect())
}

fn put_type(field_type: &FieldType, out: &mut Vec<u8>) {
    let put_texts = |tag, texts: &[Arc<str>], out: &mut Vec<u8>| {
        out.put_u8(tag);
        out.put_varint(texts.len() as u64);
        texts.iter().for_each(|text| out.put_text(text));
    };
    match field_type {
        FieldType::Enumeration(names) => put_texts(0, names, out),
        FieldType::Integer { min, max } => {
            out.put_u8(1);
            out.put_varint_signed(*min);
            out.put_varint_signed(*max);
        }
        FieldType::Duration { max_ms } => {
            out.put_u8(2);
            out.put_varint_signed(*max_ms);
        }
        FieldType::HttpStatus => out.put_u8(3),
        FieldType::Name { bytes_max, values_max } => {
            out.put_u8(4);
            out.put_varint(*bytes_max as u64);
            out.put_varint(*values_max as u64);
        }
        FieldType::Pseudonym => out.put_u8(5),
        FieldType::ChangeDigest => out.put_u8(6),
        FieldType::SizeDelta => out.put_u8(7),
        FieldType::Flags(names) => put_texts(8, names, out),
    }
}

fn put_metric(metric: &MetricSchema, out: &mut Vec<u8>) {
    let (tag, name, labels) = match metric {
        MetricSchema::Count { name, labels } => (0, name, labels),
        MetricSchema::Durations { name, labels, .. } => (1, name, labels),
    };
    out.put_u8(tag);
    out.put_text(name);
    out.put_varint(labels.len() as u64);
    labels.iter().for_each(|&label| out.put_varint(label as u64));
    if let MetricSchema::Durations { field, bounds_ms, .. } = metric {
        out.put_varint(*field as u64);
        out.put_varint(bounds_ms.len() as u64);
        bounds_ms.iter().for_each(|&bound| out.put_varint_signed(bound));
    }
}

fn parse_list<T>(
    cursor: &mut Cursor<'_>,
    bytes_each: usize,
    parse: impl Fn(&mut Cursor<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let count = cursor.count(bytes_each)?;
    (0..count).map(|_| parse(cursor)).collect()
}

fn parse_text(cursor: &mut Cursor<'_>) -> Option<Arc<str>> {
    cursor.text().map(Arc::from)
}

fn parse_size(cursor: &mut Cursor<'_>) -> Option<usize> {
    usize::try_from(cursor.varint()?).ok()
}

fn parse_kind(cursor: &mut Cursor<'_>) -> Option<KindSchema> {
    let name = parse_text(cursor)?;
    let fields = parse_list(cursor, 3, |cursor| {
        let name = parse_text(cursor)?;
        let required = match cursor.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        Some(FieldSchema { name, field_type: parse_type(cursor)?, required })
    })?;
    (fields.len() <= FIELDS_MAX).then_some(())?;
    let position = |cursor: &mut Cursor<'_>| parse_size(cursor).filter(|&at| at < fields.len());
    let metrics = parse_list(cursor, 3, |cursor| {
        let tag = cursor.u8()?;
        let name = parse_text(cursor)?;
        let labels = parse_list(cursor, 1, position)?;
        match tag {
            0 => Some(MetricSchema::Count { name, labels }),
            1 => {
                let field = position(cursor)?;
                let bounds_ms = parse_list(cursor, 1, |cursor| cursor.varint_signed())?;
                Some(MetricSchema::Durations { name, labels, field, bounds_ms })
            }
            _ => None,
        }
    })?;
    Some(KindSchema { name, fields, metrics })
}

fn parse_type(cursor: &mut Cursor<'_>) -> Option<FieldType> {
    Some(match cursor.u8()? {
        0 => FieldType::Enumeration(parse_list(cursor, 1, parse_text)?),
        1 => FieldType::Integer { min: cursor.varint_signed()?, max: cursor.varint_signed()? },
        2 => FieldType::Duration { max_ms: cursor.varint_signed()? },
        3 => FieldType::HttpStatus,
        4 => FieldType::Name { bytes_max: parse_size(cursor)?, values_max: parse_size(cursor)? },
        5 => FieldType::Pseudonym,
        6 => FieldType::ChangeDigest,
        7 => FieldType::SizeDelta,
        8 => FieldType::Flags(parse_list(cursor, 1, parse_text).filter(|flags| flags.len() <= FLAGS_MAX)?),
        _ => return None,
    })
}
