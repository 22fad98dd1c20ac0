//! What was selected, as the evaluator asks for it, and where the parts of each series are.

use std::cmp::Ordering;

use annals_model::{
    Budget, Coverage, LabelSet, Missing, Piece, Pieces, ReadPlan, Rollup, Samples, SelectedSeries,
    SeriesGroups, SeriesKind, SourceError, TimeRange, Whole, append_starts,
};
use annals_vfs::planted::{Bug, planted};

use super::pieces::chunks_suffice;
use super::rolled::{push_thinned, push_window};
use super::{Opened, Part, Place, Selected};
use crate::grouping::Grouping;

impl SelectedSeries for Selected {
    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn labels(&self, index: usize) -> LabelSet {
        self.places_of(index).first().map_or_else(LabelSet::empty, |&place| match self.part(place) {
            // All labels were checked when they were found.
            Some(Part::Block(_, metrics, ordinal)) => {
                metrics.labels(ordinal).unwrap_or_else(|_| LabelSet::empty())
            }
            Some(Part::Rollups(rollups, ordinal)) => {
                rollups.index().labels(ordinal).unwrap_or_else(|_| LabelSet::empty())
            }
            Some(Part::Head(head)) => head.labels.clone(),
            None => LabelSet::empty(),
        })
    }

    fn kind(&self, index: usize) -> SeriesKind {
        let kind = self.places_of(index).first().and_then(|&place| match self.part(place)? {
            Part::Block(_, metrics, ordinal) => metrics.kind(ordinal).ok(),
            Part::Rollups(rollups, ordinal) => rollups.index().kind(ordinal).ok(),
            Part::Head(head) => Some(head.kind),
        });
        kind.unwrap_or(SeriesKind::Gauge)
    }

    fn groups(&self, only: bool, names: &[&str]) -> SeriesGroups {
        let mut grouping = Grouping::new(self, only, names);
        (0..self.len()).for_each(|index| grouping.add(self.places_of(index).first().copied()));
        grouping.finish()
    }

    fn read(&self, index: usize, budget: &Budget, into: &mut Samples) -> Result<(), SourceError> {
        let places = self.places_of(index);
        let kind = self.kind(index);
        if kind.is_histogram() {
            return self.read_histograms(kind, places, budget, into);
        }
        if self.rolled.is_empty() {
            return self.read_places(kind, places, budget, into);
        }
        let mut raw = Samples::default();
        self.read_places(kind, &self.shown_in_samples(places), budget, &mut raw)?;
        into.clear();
        let windows = self.read_windows(kind, places, budget, &mut into.missing)?;
        windows.iter().for_each(|window| push_thinned(window, kind, self.rolled, into));
        append(into, &mut raw);
        if planted(Bug::DamageNotReported) {
            into.missing.clear();
        }
        Ok(())
    }

    fn read_pieces(
        &self,
        index: usize,
        whole: Whole<'_>,
        budget: &Budget,
        into: &mut Pieces,
    ) -> Result<(), SourceError> {
        let places = self.places_of(index);
        let kind = self.kind(index);
        if kind.is_histogram() {
            into.pieces.clear();
            self.read_histograms(kind, places, budget, &mut into.samples)?;
            into.push_samples_since(0);
            return Ok(());
        }
        if self.rolled.is_empty() {
            return self.read_places_in_pieces(kind, places, whole, budget, into);
        }
        let mut raw = Pieces::default();
        self.read_places_in_pieces(kind, &self.shown_in_samples(places), whole, budget, &mut raw)?;
        into.clear();
        let windows = self.read_windows(kind, places, budget, &mut into.samples.missing)?;
        let takes = |time: TimeRange| whole.takes(time, self.rolled);
        windows.iter().for_each(|window| push_window(window, kind, self.rolled, &takes, into));
        let first = into.samples.values.len();
        append(&mut into.samples, &mut raw.samples);
        into.pieces.extend(raw.pieces.into_iter().map(|piece| match piece {
            Piece::Samples(at) => Piece::Samples(at.start + first..at.end + first),
            whole => whole,
        }));
        if planted(Bug::DamageNotReported) {
            into.samples.missing.clear();
        }
        Ok(())
    }

    fn plan(&self, index: usize, whole: Whole<'_>) -> ReadPlan {
        let places = self.places_of(index);
        let apart = places.len() == 1 || self.apart(places).is_some();
        let is_number = !self.kind(index).is_histogram();
        let whole = if apart && is_number { whole } else { Whole::of(&|_| false) };
        let parts = places.iter().filter_map(|&place| self.part(place));
        parts.fold(ReadPlan::default(), |plan, part| {
            plan.plus(match part {
                // Rolled up as it is read.
                Part::Block(searched, metrics, ordinal) if searched.rolled => {
                    let each = Whole::of(&|_| false);
                    metrics.plan_pieces(ordinal, self.windows_needed(), each).unwrap_or_default()
                }
                Part::Block(searched, metrics, ordinal) => {
                    let chunks = metrics.plan_pieces(ordinal, self.range, whole).unwrap_or_default();
                    match apart && is_number && !chunks_suffice(&chunks) {
                        true => self.plan_windows(searched, metrics, ordinal, whole).unwrap_or(chunks),
                        false => chunks,
                    }
                }
                Part::Head(head) => ReadPlan { samples: head.timestamps.len() as u64, ..ReadPlan::default() },
                Part::Rollups(rollups, ordinal) => {
                    rollups.plan(ordinal, self.windows_needed()).unwrap_or_default()
                }
            })
        })
    }

    fn coverage(&self) -> &Coverage {
        &self.coverage
    }
}

impl Selected {
    /// Whether any of it is shown in windows.
    pub(crate) fn is_rolled(&self) -> bool {
        !self.rolled.is_empty()
    }

    /// Reads only this part of what was selected from now on, where it is shown in samples.
    pub(crate) fn narrow(&mut self, range: TimeRange) {
        (self.range, self.rolled) = self.tiers.split(range);
    }

    /// A series' windows, where it is shown in windows.
    pub(crate) fn windows(
        &self,
        index: usize,
        budget: &Budget,
        missing: &mut Vec<Missing>,
    ) -> Result<Vec<Rollup>, SourceError> {
        self.read_windows(self.kind(index), self.places_of(index), budget, missing)
    }

    pub(super) fn places_of(&self, index: usize) -> &[Place] {
        let Some(&[start, end]) = self.starts.get(index..).and_then(|starts| starts.first_chunk::<2>())
        else {
            return &[];
        };
        self.places.get(start as usize..end as usize).unwrap_or_default()
    }

    pub(crate) fn part(&self, place: Place) -> Option<Part<'_>> {
        match place {
            Place::Block { block, ordinal } => {
                let searched = self.blocks.get(block as usize)?;
                Some(match searched.opened.as_ref()? {
                    Opened::Samples(metrics) => Part::Block(searched, metrics, ordinal),
                    Opened::Rollups(rollups) => Part::Rollups(rollups, ordinal),
                })
            }
            Place::Head(head) => self.heads.get(head as usize).map(Part::Head),
        }
    }

    /// Compares the labels of what is at two places; `numbers` is room for those of each.
    pub(super) fn compare(&self, a: Place, b: Place, numbers: &mut [Vec<u32>; 2]) -> Ordering {
        match (a, b) {
            // Of one block they are in label order; of one head too.
            (Place::Block { block: one, ordinal: a }, Place::Block { block: other, ordinal: b })
                if one == other =>
            {
                a.cmp(&b)
            }
            (Place::Head(a), Place::Head(b)) if a == b => Ordering::Equal,
            _ => {
                let [a_numbers, b_numbers] = numbers;
                self.pairs(a, a_numbers).cmp(self.pairs(b, b_numbers))
            }
        }
    }

    /// The labels of what is at a place; `numbers` is room for them.
    fn pairs<'a>(
        &'a self,
        place: Place,
        numbers: &'a mut Vec<u32>,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        let (index, head) = match self.part(place) {
            Some(Part::Block(_, metrics, ordinal)) => (Some((metrics.index(), ordinal)), None),
            Some(Part::Rollups(rollups, ordinal)) => (Some((rollups.index(), ordinal)), None),
            Some(Part::Head(head)) => (None, Some(head)),
            None => (None, None),
        };
        // All labels were checked when they were found.
        let index = index.filter(|(index, ordinal)| index.pair_numbers(*ordinal, numbers).is_ok());
        let of_block = index.into_iter().flat_map(|(index, _)| {
            numbers.iter().filter_map(move |&number| index.pair(number).ok().flatten())
        });
        of_block.chain(head.into_iter().flat_map(|head| head.labels.iter()))
    }
}

/// Appends what another part was read as.
fn append(into: &mut Samples, part: &mut Samples) {
    append_starts(&mut into.start_times, into.values.len(), part.values.len(), &part.start_times);
    into.timestamps.append(&mut part.timestamps);
    into.values.append(&mut part.values);
    into.missing.append(&mut part.missing);
}
