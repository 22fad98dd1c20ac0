//! The columns of labels: the same in all files of an export.

use std::collections::{BTreeMap, BTreeSet};

use annals::{LabelSet, METRIC_NAME, SourceError};

use super::distinct;
use super::table::{Column, Kind, Spec};

/// Columns that a label cannot have: those of any table of metrics.
const TAKEN: [&str; 25] = [
    "timestamp",
    "metric",
    "series_kind",
    "value",
    "count",
    "sum",
    "bucket_schema",
    "zero_threshold",
    "zero_count",
    "reset",
    "positive_index",
    "positive_count",
    "negative_index",
    "negative_count",
    "custom_bounds",
    "sum_low",
    "min",
    "max",
    "first",
    "last",
    "first_time",
    "last_time",
    "resets",
    "correction",
    "ended_at",
];

/// The label of each column.
pub(crate) struct LabelColumns {
    /// Ascending.
    labels: Vec<String>,
    /// One per label.
    columns: Vec<String>,
}

impl LabelColumns {
    pub(crate) fn new(labels: BTreeSet<String>) -> LabelColumns {
        let columns = distinct(&TAKEN, "label_", labels.iter().map(String::as_str));
        LabelColumns { labels: labels.into_iter().collect(), columns }
    }

    pub(crate) fn by_label(&self) -> BTreeMap<String, String> {
        self.labels.iter().cloned().zip(self.columns.iter().cloned()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// The columns.
    pub(super) fn specs(&self) -> impl Iterator<Item = Spec> + '_ {
        self.columns.iter().map(|name| Spec::new(name, Kind::Word))
    }

    /// Adds so many rows of a series to these columns.
    pub(super) fn add(
        &self,
        columns: &mut [Column],
        labels: &LabelSet,
        rows: usize,
    ) -> Result<(), SourceError> {
        let mut own = labels.iter().filter(|(name, _)| *name != METRIC_NAME).peekable();
        for (label, column) in self.labels.iter().zip(columns) {
            // Both ascend.
            let value = own.next_if(|(name, _)| name == label).map(|(_, value)| value);
            column.words(value, rows);
        }
        match own.next() {
            None => Ok(()),
            Some(_) => Err(SourceError::Unavailable(
                "a block that could not be read at first can be read now: export again".to_owned(),
            )),
        }
    }
}
