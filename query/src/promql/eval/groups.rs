//! Groups of series by some of their labels: what aggregations gather into, and what the sides of an operator meet by.
//!
//! Series of a selection are told apart by the numbers that labels have where they are stored
//! ([`annals_model::SelectedSeries::groups`]), so that texts are looked at once per group.

use std::hash::BuildHasher;
use std::sync::Arc;

use annals_model::{LabelSet, METRIC_NAME, SeriesGroups};
use foldhash::quality::FixedState;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::labels::{Labels, Selection};

/// Which labels tell groups apart: those that are named, or all but those.
#[derive(Debug, Clone)]
pub(super) struct Grouping<'g> {
    only: bool,
    names: Vec<&'g str>,
}

impl<'g> Grouping<'g> {
    /// These labels.
    pub(super) fn by(names: impl IntoIterator<Item = &'g String>) -> Grouping<'g> {
        Grouping { only: true, names: names.into_iter().map(String::as_str).collect() }
    }

    /// All but these and the metric's name. Type and unit stay: series that differ in them are different.
    pub(super) fn without(names: impl IntoIterator<Item = &'g String>) -> Grouping<'g> {
        let names = names.into_iter().map(String::as_str).chain([METRIC_NAME]);
        Grouping { only: false, names: names.collect() }
    }

    /// One label, or all but this one, the metric's name among them.
    pub(super) fn of_one(name: &'g str, only: bool) -> Grouping<'g> {
        Grouping { only, names: vec![name] }
    }

    /// Whether the metric's name is among the labels that it keeps.
    pub(super) fn keeps_name(&self) -> bool {
        self.names.contains(&METRIC_NAME) == self.only
    }

    fn of(&self, labels: &LabelSet) -> LabelSet {
        labels.filtered(|name| self.names.contains(&name) == self.only)
    }
}

/// Groups by their labels, in the order in which they were met.
pub(super) struct Groups<'g, 'a> {
    grouping: Grouping<'g>,
    /// The hash of each group's labels, and its number.
    index: HashTable<(u64, usize)>,
    hasher: FixedState,
    labels: Vec<LabelSet>,
    /// Whether a name among a group's labels goes away, as it does where it goes away for any member.
    drop_names: Vec<bool>,
    selections: Vec<OfSelection<'a>>,
}

/// The groups of a selection's series.
struct OfSelection<'a> {
    selection: Selection<'a>,
    groups: SeriesGroups,
    /// Which of all groups each of them is, where it was met.
    known: Vec<Option<usize>>,
}

impl<'g, 'a> Groups<'g, 'a> {
    pub(super) fn new(grouping: Grouping<'g>) -> Groups<'g, 'a> {
        Groups {
            grouping,
            index: HashTable::new(),
            hasher: FixedState::default(),
            labels: Vec::new(),
            drop_names: Vec::new(),
            selections: Vec::new(),
        }
    }

    /// The group of a series, which may be new: then its number is the count of those before it.
    pub(super) fn of(&mut self, labels: &Labels<'a>) -> usize {
        let (selection, index) = match labels {
            Labels::Own(labels) => return self.insert(self.grouping.of(labels)),
            Labels::Of(..) if self.grouping.only && self.grouping.names.is_empty() => {
                return self.insert(LabelSet::empty());
            }
            Labels::Of(selection, index) => (selection, *index),
        };
        let at = self.of_selection(selection);
        let Some(own) = self.selections.get(at) else { return 0 };
        let number = own.groups.of.get(index).map_or(0, |&number| number as usize);
        if let Some(&Some(group)) = own.known.get(number) {
            return group;
        }
        let labels = own.groups.labels.get(number).cloned().unwrap_or_else(LabelSet::empty);
        let group = self.insert(labels);
        if let Some(known) = self.selections.get_mut(at).and_then(|own| own.known.get_mut(number)) {
            *known = Some(group);
        }
        group
    }

    /// The group of a member of an aggregation.
    pub(super) fn of_member(&mut self, labels: &Labels<'a>, drop_name: bool) -> usize {
        let group = self.of(labels);
        if drop_name
            && self.grouping.keeps_name()
            && let Some(dropped) = self.drop_names.get_mut(group)
        {
            *dropped = true;
        }
        group
    }

    /// The labels of a group.
    pub(super) fn labels(&self, group: usize) -> LabelSet {
        self.labels.get(group).cloned().unwrap_or_else(LabelSet::empty)
    }

    /// Whether the labels of any group are so.
    pub(super) fn any(&self, are: impl Fn(&LabelSet) -> bool) -> bool {
        self.labels.iter().any(are)
    }

    /// All groups: their labels, and whether a name among them goes away.
    pub(super) fn finish(self) -> impl Iterator<Item = (LabelSet, bool)> {
        self.labels.into_iter().zip(self.drop_names)
    }

    fn insert(&mut self, own: LabelSet) -> usize {
        let (hash, labels) = (self.hasher.hash_one(&own), &mut self.labels);
        let is_own = |&(other, group): &(u64, usize)| other == hash && labels.get(group) == Some(&own);
        match self.index.entry(hash, is_own, |&(hash, _)| hash) {
            Entry::Occupied(known) => known.get().1,
            Entry::Vacant(place) => {
                let group = labels.len();
                place.insert((hash, group));
                labels.push(own);
                self.drop_names.push(false);
                group
            }
        }
    }

    /// Where the groups of a selection are. Series of one selection mostly come one after the other.
    fn of_selection(&mut self, selection: &Selection<'a>) -> usize {
        let known = self.selections.iter().rposition(|own| Arc::ptr_eq(&own.selection, selection));
        known.unwrap_or_else(|| {
            let groups = selection.groups(self.grouping.only, &self.grouping.names);
            let known = vec![None; groups.labels.len()];
            self.selections.push(OfSelection { selection: Arc::clone(selection), groups, known });
            self.selections.len() - 1
        })
    }
}
