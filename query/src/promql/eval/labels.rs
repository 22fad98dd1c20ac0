//! Work on label sets, done once per series.

use annals_model::{InvalidLabels, LabelSet, METRIC_NAME, SelectedSeries, SeriesGroups};
use foldhash::quality::FixedState;
use hashbrown::HashMap;

use super::column::{Column, is_absent, set_histogram};

/// A map by label sets whose iteration nobody uses, hashed without a random seed.
pub(super) type LabelMap<T> = HashMap<LabelSet, T, FixedState>;

/// Labels that describe the metric, not the series: they go with its name.
pub(super) fn is_metadata(label: &str) -> bool {
    matches!(label, METRIC_NAME | "__type__" | "__unit__")
}

/// The labels that a predicate keeps.
pub(super) fn filtered(labels: &LabelSet, keep: impl Fn(&str) -> bool + Clone) -> LabelSet {
    if labels.iter().all(|(name, _)| keep(name)) {
        return labels.clone();
    }
    // Part of a valid set is a valid set.
    LabelSet::from_sorted(labels.iter().filter(move |(name, _)| keep(name)))
        .unwrap_or_else(|_| LabelSet::empty())
}

/// Without the metric's name and what belongs to it.
pub(super) fn without_name(labels: &LabelSet) -> LabelSet {
    filtered(labels, |name| !is_metadata(name))
}

/// With one label set to a value; an empty value removes it.
pub(super) fn with_label(labels: &LabelSet, name: &str, value: &str) -> Result<LabelSet, InvalidLabels> {
    let others = labels.iter().filter(|(own, _)| *own != name);
    LabelSet::from_pairs(others.chain(std::iter::once((name, value))))
}

/// Which labels tell groups (or matching sides) apart.
#[derive(Debug, Clone)]
pub(super) struct Grouping<'a> {
    /// Keep only `labels`; otherwise keep all but them and the metric's name. Type and unit stay: series that
    /// differ in them are different.
    pub(super) only: bool,
    pub(super) labels: &'a [String],
}

impl Grouping<'_> {
    pub(super) fn of(&self, labels: &LabelSet) -> LabelSet {
        let listed = |name: &str| self.labels.iter().any(|own| own == name);
        if self.only {
            filtered(labels, listed)
        } else {
            filtered(labels, |name| name != METRIC_NAME && !listed(name))
        }
    }

    /// The groups of all selected series.
    pub(super) fn of_all(&self, selected: &dyn SelectedSeries) -> SeriesGroups {
        let listed = self.labels.iter().map(String::as_str);
        if self.only && self.labels.is_empty() {
            return SeriesGroups { of: vec![0; selected.len()], labels: vec![LabelSet::empty()] };
        }
        let names: Vec<&str> = listed.chain((!self.only).then_some(METRIC_NAME)).collect();
        selected.groups(self.only, &names)
    }

    /// Whether the metric's name is among the labels that it keeps.
    pub(super) fn keeps_name(&self) -> bool {
        self.only && self.labels.iter().any(|label| label == METRIC_NAME)
    }
}

/// Joins columns of equal labels; `None` where two of them have a value at one step.
pub(super) fn merged(columns: Vec<Column>) -> Option<Vec<Column>> {
    let mut index: LabelMap<usize> = HashMap::with_hasher(FixedState::default());
    let mut out: Vec<Column> = Vec::with_capacity(columns.len());
    for column in columns {
        let at = *index.entry(column.labels.clone()).or_insert(out.len());
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
