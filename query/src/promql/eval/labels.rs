//! Labels of series on their way through a query: numbers of a selection until somebody asks for the texts.

use std::sync::Arc;

use annals_model::{InvalidLabels, LabelSet, METRIC_NAME, SelectedSeries};
use foldhash::quality::FixedState;
use hashbrown::HashMap;

use super::column::{Column, is_absent, set_histogram};

/// Series that a selector found.
pub(super) type Selection<'a> = Arc<dyn SelectedSeries + 'a>;

/// A map by label sets whose iteration nobody uses, hashed without a random seed.
pub(super) type LabelMap<T> = HashMap<LabelSet, T, FixedState>;

/// The labels of a series; those of a selected one are made only for who asks.
#[derive(Clone)]
pub(super) enum Labels<'a> {
    Own(LabelSet),
    /// Of a series of a selection, by its index.
    Of(Selection<'a>, usize),
}

impl Labels<'_> {
    pub(super) fn get(&self) -> LabelSet {
        match self {
            Labels::Own(labels) => labels.clone(),
            Labels::Of(selected, index) => selected.labels(*index),
        }
    }

    /// The same, made once for all who ask later.
    pub(super) fn settle(&mut self) -> LabelSet {
        let labels = self.get();
        *self = Labels::Own(labels.clone());
        labels
    }
}

/// Labels that describe the metric, not the series: they go with its name.
pub(super) fn is_metadata(label: &str) -> bool {
    matches!(label, METRIC_NAME | "__type__" | "__unit__")
}

/// Without the metric's name and what belongs to it.
pub(super) fn without_name(labels: &LabelSet) -> LabelSet {
    labels.filtered(|name| !is_metadata(name))
}

/// With one label set to a value; an empty value removes it.
pub(super) fn with_label(labels: &LabelSet, name: &str, value: &str) -> Result<LabelSet, InvalidLabels> {
    let before = labels.iter().take_while(|(own, _)| *own < name);
    let after = labels.iter().skip_while(|(own, _)| *own <= name);
    let own = (!value.is_empty()).then_some((name, value));
    LabelSet::from_sorted(before.chain(own).chain(after))
}

/// Joins columns of equal labels; `None` where two of them have a value at one step.
pub(super) fn merged(columns: Vec<Column<'_>>) -> Option<Vec<Column<'_>>> {
    if is_selected_in_order(&columns) {
        return Some(columns);
    }
    let mut index: LabelMap<usize> = HashMap::with_hasher(FixedState::default());
    let mut out: Vec<Column<'_>> = Vec::with_capacity(columns.len());
    for mut column in columns {
        let at = *index.entry(column.labels.settle()).or_insert(out.len());
        let Some(own) = out.get_mut(at) else {
            out.push(column);
            continue;
        };
        // Whether a series keeps its name is what its first sample says.
        if column.first_step() < own.first_step() {
            own.drop_name = column.drop_name;
        }
        let steps = own.values.len();
        let mut histograms = column.histograms.into_iter();
        for (step, value) in column.values.into_iter().enumerate() {
            let histogram = histograms.next().flatten();
            if is_absent(value) && histogram.is_none() {
                continue;
            }
            if own.holds(step) {
                return None;
            }
            if let Some(into) = own.values.get_mut(step) {
                *into = value;
            }
            set_histogram(&mut own.histograms, steps, step, histogram);
        }
    }
    Some(out)
}

/// Whether they are of one selection, one after the other: then no two have the same labels.
fn is_selected_in_order(columns: &[Column<'_>]) -> bool {
    columns.is_sorted_by(|a, b| match (&a.labels, &b.labels) {
        (Labels::Of(one, a), Labels::Of(other, b)) => Arc::ptr_eq(one, other) && a < b,
        _ => false,
    })
}
