//! The distinct names that each name field of a tenant has taken, so that their number can be capped.
//!
//! The table holds what was admitted before; a batch is admitted against an overlay of it, and the overlay's names
//! are added once the batch counts. A batch that turns out to be a duplicate leaves no trace.
//!
//! ```text
//!   NameTable ──▶ Admitter (overlay) ──▶ NewNames ──▶ NameTable::add
//!      ▲ insert (from a manifest), observe (from rows)
//! ```
//!
//! Iteration is sorted, so what is stored of a table is the same for the same names.

use std::sync::Arc;

use annals_model::schema::{FieldType, SignalSchema};
use annals_model::{FieldValue, SignalRow};
use hashbrown::{HashMap, HashSet};

use crate::alphabet::{self, NAME_BYTES_LIMIT, OTHER};

/// A fixed seed: a table never holds more names than the caps allow, so chosen collisions stay cheap.
type Hasher = foldhash::fast::FixedState;

/// The names of a kind's fields.
type Fields = HashMap<Arc<str>, Names, Hasher>;
/// The names of one field.
type Names = HashSet<Arc<str>, Hasher>;

/// The distinct names seen, per kind and field. `other` is never among them.
#[derive(Debug, Clone, Default)]
pub struct NameTable {
    kinds: HashMap<Arc<str>, Fields, Hasher>,
}

impl NameTable {
    /// A table without names.
    #[must_use]
    pub fn new() -> NameTable {
        NameTable::default()
    }

    /// Adds a name of a field. `false` where it was there, or is none that any schema could admit.
    ///
    /// The cap is the admitter's: what was admitted once stays a name of its own.
    pub fn insert(&mut self, kind: &str, field: &str, name: &str) -> bool {
        if name == OTHER || name.len() > NAME_BYTES_LIMIT || !alphabet::is_name(name) {
            return false;
        }
        self.field_mut(kind, field).insert(name.into())
    }

    /// Adds the names of an admitted row.
    pub fn observe(&mut self, schema: &SignalSchema, row: &SignalRow) {
        let Some(kind) = schema.kind(&row.kind) else { return };
        for (field, value) in kind.fields.iter().zip(&row.fields) {
            if let (FieldType::Name { .. }, Some(FieldValue::Name(name))) = (&field.field_type, value)
                && self.get(&kind.name, &field.name, name).is_none()
            {
                self.insert(&kind.name, &field.name, name);
            }
        }
    }

    /// Adds what an admitter found, once its batch counts.
    pub fn add(&mut self, new: NewNames) {
        for (kind, fields) in new.table.kinds {
            for (field, names) in fields {
                self.field_mut(&kind, &field).extend(names);
            }
        }
    }

    /// All names as (kind, field, name), sorted: [`insert`](NameTable::insert) takes them back.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        let mut all: Vec<(&str, &str, &str)> = self
            .kinds
            .iter()
            .flat_map(|(kind, fields)| fields.iter().map(move |(field, names)| (&**kind, &**field, names)))
            .flat_map(|(kind, field, names)| names.iter().map(move |name| (kind, field, &**name)))
            .collect();
        all.sort_unstable();
        all.into_iter()
    }

    /// How many distinct names a field has.
    #[must_use]
    pub fn len(&self, kind: &str, field: &str) -> usize {
        self.names(kind, field).map_or(0, HashSet::len)
    }

    /// Whether there is no name at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kinds.values().flat_map(HashMap::values).all(HashSet::is_empty)
    }

    fn names(&self, kind: &str, field: &str) -> Option<&Names> {
        self.kinds.get(kind)?.get(field)
    }

    fn get(&self, kind: &str, field: &str, name: &str) -> Option<&Arc<str>> {
        self.names(kind, field)?.get(name)
    }

    fn field_mut(&mut self, kind: &str, field: &str) -> &mut Names {
        self.kinds.entry(kind.into()).or_default().entry(field.into()).or_default()
    }
}

/// Names that an admitter saw first: to be added to the table once the batch counts.
#[derive(Debug, Clone, Default)]
pub struct NewNames {
    table: NameTable,
}

impl NewNames {
    /// Whether the batch brought no new name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// The new names as (kind, field, name), sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.table.iter()
    }
}

/// A table as one batch sees it: what it held before, and what the batch added.
#[derive(Debug)]
pub(crate) struct NameOverlay<'a> {
    before: &'a NameTable,
    added: NameTable,
}

impl<'a> NameOverlay<'a> {
    pub(crate) fn new(before: &'a NameTable) -> NameOverlay<'a> {
        NameOverlay { before, added: NameTable::new() }
    }

    /// The stored form of a valid name that the field has seen; `None` for a new one.
    pub(crate) fn known(&self, kind: &str, field: &str, name: &str) -> Option<&Arc<str>> {
        self.before.get(kind, field, name).or_else(|| self.added.get(kind, field, name))
    }

    /// Takes a new name; `false` where the field has as many as it may.
    pub(crate) fn take(&mut self, kind: &str, field: &str, name: &Arc<str>, values_max: usize) -> bool {
        let room = self.before.len(kind, field) + self.added.len(kind, field) < values_max;
        room && self.added.field_mut(kind, field).insert(name.clone())
    }

    pub(crate) fn finish(self) -> NewNames {
        NewNames { table: self.added }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use annals_model::{SiteName, Timestamp};

    #[test]
    fn a_table_is_rebuilt_from_what_it_lists() {
        let mut table = NameTable::new();
        for (field, name) in [("b", "z"), ("b", "a"), ("a", "m/n:o.p-q_9")] {
            assert!(table.insert("k.x", field, name));
            assert!(!table.insert("k.x", field, name));
        }
        let listed: Vec<_> = table.iter().collect();
        assert_eq!(listed, [("k.x", "a", "m/n:o.p-q_9"), ("k.x", "b", "a"), ("k.x", "b", "z")]);
        let mut again = NameTable::new();
        for (kind, field, name) in table.iter() {
            again.insert(kind, field, name);
        }
        assert!(again.iter().eq(table.iter()));
        assert_eq!(again.len("k.x", "b"), 2);
        assert_eq!(again.len("k.x", "c"), 0);
    }

    #[test]
    fn what_no_schema_admits_is_not_a_name() {
        let mut table = NameTable::new();
        for bad in ["", "other", "A", "a b", "é", &"x".repeat(129)] {
            assert!(!table.insert("k.x", "a", bad), "{bad:?}");
        }
        assert!(table.is_empty());
    }

    #[test]
    fn only_name_fields_are_observed() {
        let row = SignalRow {
            kind: "wp.cron".into(),
            site: SiteName::new("s").expect("valid"),
            time: Timestamp(0),
            fields: vec![
                Some(FieldValue::Name("purge".into())),
                Some(FieldValue::Name("ok".into())),
                None,
                Some(FieldValue::Integer(4)),
            ],
        };
        let mut table = NameTable::new();
        let schema = crate::builtin();
        table.observe(&schema, &row);
        table.observe(&schema, &SignalRow { kind: "no.such".into(), ..row });
        assert_eq!(table.iter().collect::<Vec<_>>(), [("wp.cron", "hook", "purge")]);
    }
}
