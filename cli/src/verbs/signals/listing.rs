//! Signals as rows: for people the fields of one kind in columns and those of several in words, for programs all of them.

use std::sync::Arc;

use annals::schema::{FieldType, KindSchema};
use annals::{FieldValue, SignalRow};
use serde_json::Value;

use crate::output::{Cell, Grid, Look, words};

/// So much of a keyed hash tells two apart on a screen.
const HASH_LETTERS: usize = 10;

/// A signal with the kind that describes it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) row: SignalRow,
    pub(super) kind: Option<Arc<KindSchema>>,
}

impl Found {
    /// A signal, and its own among some kinds.
    pub(super) fn new(kinds: &[Arc<KindSchema>], row: &SignalRow) -> Found {
        Found { row: row.clone(), kind: kinds.iter().find(|kind| kind.name == row.kind).cloned() }
    }

    /// The fields that it has, with their types.
    fn fields(&self) -> impl Iterator<Item = (&str, &FieldType, &FieldValue)> {
        let schema = self.kind.iter().flat_map(|kind| &kind.fields);
        schema
            .zip(&self.row.fields)
            .filter_map(|(field, value)| Some((&*field.name, &field.field_type, value.as_ref()?)))
    }

    /// What matchers see under a name.
    pub(super) fn text(&self, name: &str) -> String {
        match name {
            "kind" => self.row.kind.to_string(),
            "site" => self.row.site.to_string(),
            name => {
                let own = self.fields().find(|(field, ..)| *field == name);
                own.map_or_else(String::new, |(_, field_type, value)| field_type.text(value).into_owned())
            }
        }
    }

    /// A line for people.
    pub(super) fn line(&self, look: &Look) -> String {
        let (time, row) = (words::time(self.row.time, &look.zone), &self.row);
        let fields: Vec<String> =
            self.fields().map(|(name, of, value)| format!("{name}={}", shown(of, value))).collect();
        words::harmless(&format!("{time}  {}  {}  {}", row.kind, row.site, fields.join(" ")))
    }

    /// A JSON object: time, kind, site and the fields that it has, in their order.
    pub(super) fn json(&self) -> String {
        let (time, kind, site) = (self.row.time, Value::from(&*self.row.kind), self.row.site.as_str());
        let mut object = format!("{{\"time\":\"{time}\",\"kind\":{kind},\"site\":{}", Value::from(site));
        for (name, field_type, value) in self.fields() {
            let value = match value {
                FieldValue::Integer(number) => Value::from(*number),
                value => Value::from(field_type.text(value)),
            };
            object += &format!(",{}:{value}", Value::from(name));
        }
        object + "}"
    }
}

/// The list. Where people read it, hashes are cut, and signals of several kinds have their fields in one column.
pub(super) fn grid(found: &[Found], for_people: bool) -> Grid {
    let mut kinds: Vec<&Arc<KindSchema>> = Vec::new();
    for kind in found.iter().filter_map(|own| own.kind.as_ref()) {
        if !kinds.iter().any(|known| known.name == kind.name) {
            kinds.push(kind);
        }
    }
    let mut fields: Vec<&str> = Vec::new();
    for field in kinds.iter().flat_map(|kind| &kind.fields) {
        if !fields.contains(&&*field.name) {
            fields.push(&field.name);
        }
    }
    let in_words = for_people && kinds.len() > 1;
    let columns = ["time", "kind", "site"].into_iter();
    let mut grid = match in_words {
        true => Grid::new(columns.chain(["fields"])),
        false => Grid::new(columns.chain(fields.iter().copied())),
    };
    for own in found {
        let mut row =
            vec![Cell::Time(own.row.time), Cell::text(&*own.row.kind), Cell::text(own.row.site.as_str())];
        if in_words {
            let words: Vec<String> =
                own.fields().map(|(name, of, value)| format!("{name}={}", shown(of, value))).collect();
            row.push(Cell::text(words.join(" ")));
        } else {
            row.extend(fields.iter().map(|name| match own.fields().find(|(field, ..)| field == name) {
                None => Cell::None,
                Some((_, _, FieldValue::Integer(number))) => Cell::Integer(*number),
                Some((_, of, value)) if for_people => Cell::text(shown(of, value)),
                Some((_, of, value)) => Cell::text(of.text(value)),
            }));
        }
        grid.row(row);
    }
    grid
}

/// A value as people read it.
fn shown(field_type: &FieldType, value: &FieldValue) -> String {
    let text = field_type.text(value);
    match value {
        FieldValue::Pseudonym(_) => words::cut(&text, HASH_LETTERS),
        FieldValue::Change { .. } => {
            let (before, after) = text.split_once("..").unwrap_or((&text, ""));
            format!("{} to {}", words::cut(before, HASH_LETTERS), words::cut(after, HASH_LETTERS))
        }
        _ => text.into_owned(),
    }
}
