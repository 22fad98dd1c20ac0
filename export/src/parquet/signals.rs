//! Tables of raw signals: one per kind, a column or more per field.
//!
//! | field                                   | columns                                                               |
//! |-----------------------------------------|-----------------------------------------------------------------------|
//! | enumeration, name                       | text                                                                  |
//! | integer, duration, status, size delta   | whole number; durations in milliseconds, sizes in bytes               |
//! | flags                                   | list of texts                                                         |
//! | pseudonym                               | the keyed hash in hexadecimal; `<field>_length`, the text's length    |
//! | change digest                           | the same of `<field>_before` and `<field>_after`                      |

use std::collections::BTreeMap;
use std::sync::Arc;

use annals::schema::{FieldType, KindSchema};
use annals::{FieldValue, Pseudonym, SignalRow};

use super::distinct;
use super::table::{Column, Kind, Spec, Table};
use crate::error::ExportError;
use crate::output::{Output, hexadecimal};
use crate::sheet::{Rows, Sheet};

/// Columns that no field can have.
const TAKEN: [&str; 3] = ["timestamp", "kind", "site"];

/// What a row has in a column.
pub(crate) enum Cell {
    Nothing,
    Integer(i64),
    Text(Arc<str>),
    Texts(Vec<Arc<str>>),
}

/// The columns of a kind's fields, before any are told apart.
fn columns(kind: &KindSchema) -> Vec<(String, Kind)> {
    let mut columns = Vec::new();
    for field in &kind.fields {
        let name = &field.name;
        match &field.field_type {
            FieldType::Enumeration(_) | FieldType::Name { .. } => {
                columns.push((name.to_string(), Kind::Word));
            }
            FieldType::Integer { .. }
            | FieldType::Duration { .. }
            | FieldType::HttpStatus
            | FieldType::SizeDelta => {
                columns.push((name.to_string(), Kind::Integer));
            }
            FieldType::Flags(_) => columns.push((name.to_string(), Kind::Words)),
            FieldType::Pseudonym => {
                columns.push((name.to_string(), Kind::Word));
                columns.push((format!("{name}_length"), Kind::Integer));
            }
            FieldType::ChangeDigest => {
                for side in ["before", "after"] {
                    columns.push((format!("{name}_{side}"), Kind::Word));
                    columns.push((format!("{name}_{side}_length"), Kind::Integer));
                }
            }
        }
    }
    columns
}

/// The names of a kind's columns.
pub(crate) fn field_names(kind: &KindSchema) -> Vec<String> {
    distinct(&TAKEN, "field_", columns(kind).iter().map(|(name, _)| name.as_str()))
}

/// A row's cells, one per column of its kind's fields.
pub(crate) fn cells(kind: &KindSchema, row: &SignalRow) -> Vec<Cell> {
    let mut cells = Vec::new();
    let mut values = row.fields.iter();
    for field in &kind.fields {
        let value = values.next().and_then(Option::as_ref);
        let before = cells.len();
        let mut hashed = |pseudonym: &Pseudonym| {
            cells.push(Cell::Text(hexadecimal(&pseudonym.hash).into()));
            cells.push(Cell::Integer(i64::from(pseudonym.length)));
        };
        match value {
            Some(FieldValue::Pseudonym(own)) => hashed(own),
            Some(FieldValue::Change { before, after }) => [before, after].into_iter().for_each(hashed),
            Some(FieldValue::Name(own)) => cells.push(Cell::Text(own.clone())),
            Some(FieldValue::Integer(own)) => cells.push(Cell::Integer(*own)),
            Some(FieldValue::Flags(bits)) => {
                let names: &[Arc<str>] = match &field.field_type {
                    FieldType::Flags(names) => names,
                    _ => &[],
                };
                let set = names.iter().take(64).enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
                cells.push(Cell::Texts(set.map(|(_, name)| name.clone()).collect()));
            }
            None => {}
        }
        let width = match &field.field_type {
            FieldType::Pseudonym => 2,
            FieldType::ChangeDigest => 4,
            _ => 1,
        };
        cells.resize_with(before + width, || Cell::Nothing);
    }
    cells
}

/// Which cell of a row each column of a table gets.
type Places = Arc<[Option<usize>]>;

/// A table of signals of one kind.
pub(crate) struct SignalTable {
    table: Table,
    /// Of the fields.
    columns: Vec<(String, Kind)>,
    kinds: Vec<Kind>,
    /// The schema of the row before, and which of its cells each column gets.
    last: Option<(Arc<KindSchema>, Places)>,
}

impl SignalTable {
    /// A table with the columns of all schemas of a kind; where two say something else under one name, both.
    pub(crate) fn new(
        output: Output,
        name: &str,
        kinds: &[Arc<KindSchema>],
    ) -> Result<SignalTable, ExportError> {
        let mut all: Vec<(String, Kind)> = Vec::new();
        for column in kinds.iter().filter(|kind| &*kind.name == name).flat_map(|kind| columns(kind)) {
            if !all.contains(&column) {
                all.push(column);
            }
        }
        let names = distinct(&TAKEN, "field_", all.iter().map(|(name, _)| name.as_str()));
        let mut specs: Vec<Spec> = vec![Spec::new("timestamp", Kind::Stamp)];
        specs.extend(["kind", "site"].map(|name| Spec::new(name, Kind::Word)));
        specs.extend(names.iter().zip(&all).map(|(name, (_, kind))| Spec::new(name, *kind)));
        let kinds = all.iter().map(|(_, kind)| *kind).collect();
        Ok(SignalTable { table: Table::new(output, &specs)?, columns: all, kinds, last: None })
    }

    /// Which cell of a kind each column gets.
    fn places(&mut self, kind: &Arc<KindSchema>) -> Places {
        match &self.last {
            Some((last, places)) if Arc::ptr_eq(last, kind) => places.clone(),
            _ => {
                let own = columns(kind);
                let place = |column: &(String, Kind)| own.iter().position(|own| own == column);
                let places: Places = self.columns.iter().map(place).collect();
                self.last = Some((kind.clone(), places.clone()));
                places
            }
        }
    }
}

impl Sheet for SignalTable {
    fn add(&mut self, rows: &Rows<'_>) -> Result<(), ExportError> {
        let Rows::Signal(schema, row) = rows else { return Ok(()) };
        let places = self.places(schema);
        let mut cells = cells(schema, row);
        if let [stamp, kind, site, columns @ ..] = self.table.columns() {
            stamp.integers([Some(row.time.0)]);
            kind.words(Some(&row.kind), 1);
            site.words(Some(row.site.as_str()), 1);
            for ((column, kind), place) in columns.iter_mut().zip(&self.kinds).zip(&*places) {
                let cell = place.and_then(|place| cells.get_mut(place));
                add(column, *kind, cell.map_or(Cell::Nothing, |cell| std::mem::replace(cell, Cell::Nothing)));
            }
        }
        self.table.end_rows(1)
    }

    fn finish(self: Box<Self>) -> Result<(Output, BTreeMap<String, u64>), ExportError> {
        Ok((self.table.finish()?, BTreeMap::new()))
    }
}

fn add(column: &mut Column, kind: Kind, cell: Cell) {
    match (kind, cell) {
        (Kind::Integer, Cell::Integer(own)) => column.integers([Some(own)]),
        (Kind::Integer, _) => column.integers([None]),
        (Kind::Words, Cell::Texts(own)) => column.word_list(Some(own.iter().map(|flag| &**flag))),
        (Kind::Words, _) => column.word_list(None::<[&str; 0]>),
        (_, Cell::Text(own)) => column.words(Some(&own), 1),
        (_, _) => column.words(None, 1),
    }
}
