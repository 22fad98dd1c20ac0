//! Groups of selected series by some of their labels, told by the numbers that labels have in a block: texts are looked at
//! once per group and block, not once per series.

use std::ops::Range;

use annals_block::SeriesIndex;
use annals_model::{LabelSet, SeriesGroups};
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use crate::view::{Part, Place, Selected};

/// Groups in the making.
pub(crate) struct Grouping<'a> {
    selected: &'a Selected,
    only: bool,
    names: &'a [&'a str],
    groups: SeriesGroups,
    known: HashMap<LabelSet, u32, FixedState>,
    /// Per block.
    of_blocks: HashMap<u32, OfBlock, FixedState>,
    pairs: Vec<u32>,
}

/// The groups of one block's series.
struct OfBlock {
    /// The numbers of the labels that are named.
    named: Vec<Range<u32>>,
    /// By the numbers of the labels that tell them apart.
    known: HashMap<Box<[u32]>, u32, FixedState>,
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
        let of_block = self.of_blocks.entry(block).or_insert_with(|| OfBlock {
            named: names.iter().filter_map(|name| metrics.pairs_named(name).ok()).collect(),
            known: HashMap::default(),
        });
        // Labels were checked when they were found.
        if metrics.pair_numbers(ordinal, &mut self.pairs).is_err() {
            self.pairs.clear();
        }
        let OfBlock { named, known } = of_block;
        self.pairs.retain(|pair| named.iter().any(|range| range.contains(pair)) == only);
        if let Some(&group) = known.get(self.pairs.as_slice()) {
            return group;
        }
        let labels = self.pairs.iter().filter_map(|&pair| metrics.pair(pair).ok().flatten());
        let labels = LabelSet::from_sorted(labels).unwrap_or_else(|_| LabelSet::empty());
        let key = self.pairs.clone().into_boxed_slice();
        let group = self.of_labels(labels);
        if let Some(of_block) = self.of_blocks.get_mut(&block) {
            of_block.known.insert(key, group);
        }
        group
    }

    fn of_labels(&mut self, labels: LabelSet) -> u32 {
        let groups = &mut self.groups;
        *self.known.entry(labels).or_insert_with_key(|labels| groups.push(labels.clone()))
    }

    pub(crate) fn finish(self) -> SeriesGroups {
        self.groups
    }
}
