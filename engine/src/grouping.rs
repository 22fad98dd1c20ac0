//! Groups of selected series by some of their labels, told by the numbers that labels have in a block: texts are looked at
//! once per group and block, not once per series.

use std::hash::BuildHasher;
use std::ops::Range;

use annals_block::SeriesIndex;
use annals_model::{LabelSet, SeriesGroups};
use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashTable};

use crate::view::{Part, Place, Selected};

/// Groups in the making.
pub(crate) struct Grouping<'a> {
    selected: &'a Selected,
    only: bool,
    names: &'a [&'a str],
    groups: SeriesGroups,
    /// Groups by their labels. Empty as long as series come from one block, whose numbers tell all of them apart.
    known: HashMap<LabelSet, u32, FixedState>,
    /// Per block.
    of_blocks: HashMap<u32, OfBlock, FixedState>,
    pairs: Vec<u32>,
}

/// The groups of one block's series.
struct OfBlock {
    /// The numbers of the labels that are named.
    named: Vec<Range<u32>>,
    /// The numbers of the labels that tell groups apart, group by group.
    numbers: Vec<u32>,
    /// Where each group's numbers are, their hash, and the group.
    known: HashTable<(Range<u32>, u64, u32)>,
}

impl<'a> Grouping<'a> {
    /// By the labels that are named, or by all but those.
    pub(crate) fn new(selected: &'a Selected, only: bool, names: &'a [&'a str]) -> Grouping<'a> {
        Grouping {
            selected,
            only,
            names,
            groups: SeriesGroups::default(),
            known: HashMap::default(),
            of_blocks: HashMap::default(),
            pairs: Vec::new(),
        }
    }

    /// Adds the next series, of which this is one place.
    pub(crate) fn add(&mut self, place: Option<Place>) {
        let part = place.and_then(|place| Some((place, self.selected.part(place)?)));
        let group = match part {
            Some((Place::Block { block, .. }, Part::Block(_, metrics, ordinal))) => {
                self.of_block(block, metrics.index(), ordinal)
            }
            Some((Place::Block { block, .. }, Part::Rollups(rollups, ordinal))) => {
                self.of_block(block, rollups.index(), ordinal)
            }
            Some((_, Part::Head(head))) => {
                let (only, names) = (self.only, self.names);
                self.of_labels(head.labels.filtered(|name| names.contains(&name) == only))
            }
            _ => self.of_labels(LabelSet::empty()),
        };
        self.groups.of.push(group);
    }

    fn of_block(&mut self, block: u32, metrics: SeriesIndex<'_>, ordinal: u32) -> u32 {
        let (only, names) = (self.only, self.names);
        if !self.of_blocks.contains_key(&block) {
            let named = names.iter().filter_map(|name| metrics.pairs_named(name).ok()).collect();
            let known = OfBlock { named, numbers: Vec::new(), known: HashTable::new() };
            self.of_blocks.insert(block, known);
            if self.of_blocks.len() == 2 {
                self.tell_by_labels();
            }
        }
        let alone = self.of_blocks.len() == 1 && self.known.is_empty();
        let Some(of_block) = self.of_blocks.get_mut(&block) else { return 0 };
        // Labels were checked when they were found.
        if metrics.pair_numbers(ordinal, &mut self.pairs).is_err() {
            self.pairs.clear();
        }
        let OfBlock { named, numbers, known } = of_block;
        self.pairs.retain(|pair| named.iter().any(|range| range.contains(pair)) == only);
        let hash = FixedState::default().hash_one(self.pairs.as_slice());
        let place = |range: &Range<u32>| range.start as usize..range.end as usize;
        let found = known.find(hash, |(range, _, _)| numbers.get(place(range)) == Some(&self.pairs));
        if let Some(&(_, _, group)) = found {
            return group;
        }
        let pairs: Vec<(&str, &str)> =
            self.pairs.iter().filter_map(|&pair| metrics.pair(pair).ok().flatten()).collect();
        let labels = LabelSet::from_sorted(pairs.into_iter()).unwrap_or_else(|_| LabelSet::empty());
        let group = if alone { self.groups.push(labels) } else { self.of_labels(labels) };
        if let Some(OfBlock { numbers, known, .. }) = self.of_blocks.get_mut(&block) {
            let start = numbers.len() as u32;
            numbers.extend_from_slice(&self.pairs);
            known.insert_unique(hash, (start..numbers.len() as u32, hash, group), |&(_, hash, _)| hash);
        }
        group
    }

    /// From now on series come from elsewhere too.
    fn tell_by_labels(&mut self) {
        let groups = (0..).zip(&self.groups.labels).map(|(group, labels)| (labels.clone(), group));
        self.known.extend(groups);
    }

    fn of_labels(&mut self, labels: LabelSet) -> u32 {
        if self.known.is_empty() {
            self.tell_by_labels();
        }
        let groups = &mut self.groups;
        *self.known.entry(labels).or_insert_with_key(|labels| groups.push(labels.clone()))
    }

    pub(crate) fn finish(self) -> SeriesGroups {
        self.groups
    }
}
