//! What a query sees of a tenant: blocks and heads as one source of merged series.
//!
//! Parts are kept in log order, so that where two hold the same stamp the later write wins, or deltas add up. A
//! damaged part is named as missing; the others answer.

use std::cmp::Ordering;
use std::sync::Arc;

use annals_block::MetricBlock;
use annals_model::{
    BlockContent, Budget, Coverage, LabelSet, Matcher, Missing, Pieces, Samples, SelectedSeries,
    SeriesGroups, SeriesKind, SourceError, TimeRange, Timestamp, merge_values,
};
use annals_vfs::planted::{Bug, planted};

use crate::grouping::Grouping;
use crate::head::{Candidates, Head, HeadSeries};
use crate::open_block::OpenBlock;

/// A tenant's data at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// Live blocks of both contents.
    pub(crate) blocks: Vec<Arc<OpenBlock>>,
    /// Heads that are newer than the blocks, in log order.
    pub(crate) heads: Vec<Arc<Head>>,
    /// Samples up to this stamp are not shown.
    pub(crate) metrics_floor: Timestamp,
    /// Signals up to this stamp are not shown.
    pub(crate) signals_floor: Timestamp,
    /// What is known to be lost.
    pub(crate) missing: Vec<Missing>,
}

/// Series found in a view. Columns of live heads are copied out; all else, labels included, is read when it is asked for.
pub(crate) struct Selected {
    range: TimeRange,
    blocks: Vec<Searched>,
    /// Copied from heads.
    heads: Vec<HeadSeries>,
    /// Where the samples of each series lie: series by series in label order, for each in log order.
    places: Vec<Place>,
    /// Where each series' places start, and where the last one's end.
    starts: Vec<u32>,
    coverage: Coverage,
}

/// A block that was searched: open as long as the selection is.
struct Searched {
    block: Arc<OpenBlock>,
    /// None where it could not be searched.
    metrics: Option<Arc<MetricBlock>>,
}

/// Where some of a series' samples are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// In a block, by its index, under an ordinal.
    Block { block: u32, ordinal: u32 },
    /// Among what was copied from heads, by index. Newer than every block.
    Head(u32),
}

/// Collects the parts of each series while blocks and heads are searched.
pub(crate) struct Selecting {
    range: TimeRange,
    blocks: Vec<Searched>,
    heads: Vec<HeadSeries>,
    /// In log order of their blocks and heads; those of one block or head in label order.
    places: Vec<Place>,
    /// How many blocks and heads have any.
    parts: usize,
    coverage: Coverage,
}

impl View {
    /// The part of a range that has not expired.
    pub(crate) fn visible(&self, range: TimeRange) -> TimeRange {
        TimeRange::new(range.start.max(self.metrics_floor), range.end)
    }

    /// Searches blocks and frozen heads; live heads may be added before it is finished.
    pub(crate) fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Selecting, SourceError> {
        let visible = self.visible(range);
        let mut blocks: Vec<Arc<OpenBlock>> = self
            .blocks
            .iter()
            .filter(|b| b.meta.id.content == BlockContent::RawMetrics)
            .filter(|b| b.meta.time.overlaps(visible))
            .cloned()
            .collect();
        blocks.sort_by_key(|block| (block.meta.lsns.through, block.meta.id));
        let mut selecting = Selecting {
            range: visible,
            blocks: Vec::new(),
            heads: Vec::new(),
            places: Vec::new(),
            parts: 0,
            coverage: Coverage {
                expired_through: (range.start < self.metrics_floor).then_some(self.metrics_floor),
                missing: self.missing.iter().filter(|m| m.range.overlaps(visible)).cloned().collect(),
            },
        };
        if visible.is_empty() {
            return Ok(selecting);
        }
        for block in blocks {
            selecting.add_block(block, matchers);
        }
        for head in &self.heads {
            selecting.add_head(head, matchers, budget)?;
        }
        Ok(selecting)
    }

    /// The blocks of raw signals.
    pub(crate) fn signal_blocks(&self) -> impl Iterator<Item = &Arc<OpenBlock>> {
        self.blocks.iter().filter(|b| b.meta.id.content == BlockContent::RawSignals)
    }
}

impl Selecting {
    fn add_block(&mut self, block: Arc<OpenBlock>, matchers: &[Matcher]) {
        let at = self.blocks.len() as u32;
        let searched = block.metrics().and_then(|metrics| {
            let corrupt = |error: annals_block::BlockError| block.missing(error.to_string());
            let ordinals = metrics.find(matchers).map_err(corrupt)?;
            metrics.check_labels(&ordinals).map_err(corrupt)?;
            Ok((metrics, ordinals))
        });
        let metrics = match searched {
            Ok((metrics, ordinals)) => {
                self.parts += usize::from(!ordinals.is_empty());
                self.places.extend(ordinals.iter().map(|ordinal| Place::Block { block: at, ordinal }));
                Some(metrics)
            }
            Err(missing) => {
                self.coverage.missing.push(missing);
                None
            }
        };
        self.blocks.push(Searched { block, metrics });
    }

    fn add_head(&mut self, head: &Head, matchers: &[Matcher], budget: &Budget) -> Result<(), SourceError> {
        let copied = copy_matching(head, matchers, self.range, &[], budget)?;
        self.add_copied(copied);
        Ok(())
    }

    /// Adds what was copied from a head. Heads are added in log order.
    pub(crate) fn add_copied(&mut self, mut copied: Copied) {
        if copied.orphans > 0 {
            self.coverage.missing.push(Missing {
                range: TimeRange::ALL,
                why: format!("{} samples of series whose definition in the log is damaged", copied.orphans),
            });
        }
        copied.series.sort_by(|a, b| a.labels.cmp(&b.labels));
        self.parts += usize::from(!copied.series.is_empty());
        let first = self.heads.len() as u32;
        self.places.extend((first..).take(copied.series.len()).map(Place::Head));
        self.heads.append(&mut copied.series);
    }

    pub(crate) fn finish(self, budget: &Budget) -> Result<Selected, SourceError> {
        let Selecting { range, blocks, heads, places, parts, coverage } = self;
        budget.charge_memory((size_of::<Place>() + 4) as u64 * places.len() as u64)?;
        let mut selected = Selected { range, blocks, heads, places, starts: Vec::new(), coverage };
        selected.starts = if parts <= 1 {
            (0..=selected.places.len() as u32).collect()
        } else {
            let mut places = std::mem::take(&mut selected.places);
            // Stable, so that each series' places stay in log order; and fast where there are long runs in order.
            places.sort_by(|&a, &b| selected.compare(a, b));
            let mut starts = vec![0];
            let ends = places.chunk_by(|&a, &b| selected.compare(a, b).is_eq());
            starts.extend(ends.scan(0, |end, same| {
                *end += same.len() as u32;
                Some(*end)
            }));
            selected.places = places;
            starts
        };
        budget.charge_series(selected.len() as u64)?;
        Ok(selected)
    }
}

/// Series copied out of a head.
pub(crate) struct Copied {
    series: Vec<HeadSeries>,
    orphans: u64,
}

/// Copies the matching series of a head, so that the head can go on taking records. `candidates` is what was found before.
pub(crate) fn copy_matching(
    head: &Head,
    matchers: &[Matcher],
    range: TimeRange,
    candidates: &[Candidates],
    budget: &Budget,
) -> Result<Copied, SourceError> {
    Ok(Copied { series: head.copy(matchers, range, candidates, budget)?, orphans: head.orphans })
}

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
            Some(Part::Head(head)) => head.labels.clone(),
            None => LabelSet::empty(),
        })
    }

    fn kind(&self, index: usize) -> SeriesKind {
        let kind = self.places_of(index).first().and_then(|&place| match self.part(place)? {
            Part::Block(_, metrics, ordinal) => metrics.kind(ordinal).ok(),
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
        into.clear_values();
        let places = self.places_of(index);
        let mut columns = vec![(self.range.start.0 as u64, self.range.end.0 as u64)];
        let mut only_blocks = true;
        for part in places.iter().filter_map(|&place| self.part(place)) {
            match part {
                Part::Block(block, metrics, ordinal) => {
                    let samples = metrics.columns_in(ordinal, self.range, &mut |column| columns.push(column));
                    match samples {
                        Ok(samples) => budget.charge_samples(samples)?,
                        Err(error) => into.missing.push(block.missing(error.to_string())),
                    }
                }
                Part::Head(head) => {
                    only_blocks = false;
                    budget.charge_samples(head.timestamps.len() as u64)?;
                }
            }
        }
        if only_blocks && into.stamps.are(&columns) {
            self.read_values(places, into);
            if into.values.len() == into.timestamps.len() {
                return Ok(());
            }
            // Damage: it takes timestamps with it.
        }
        into.clear();
        for part in places.iter().filter_map(|&place| self.part(place)) {
            match part {
                Part::Block(block, metrics, ordinal) => {
                    if let Err(error) = metrics.samples_in(ordinal, self.range) {
                        into.missing.push(block.missing(error.to_string()));
                        continue;
                    }
                    let Samples { timestamps, values, missing, .. } = into;
                    metrics.read_lossy(ordinal, self.range, timestamps, values, &mut |range, error| {
                        missing.push(Missing { range, why: error.to_string() });
                    });
                }
                Part::Head(head) => {
                    into.timestamps.extend_from_slice(&head.timestamps);
                    into.values.extend_from_slice(&head.values);
                }
            }
        }
        if !into.timestamps.is_sorted_by(|a, b| a < b) {
            merge(self.kind(index), into);
        } else if only_blocks && columns.len() > 1 && into.missing.is_empty() {
            // The next series may have the same columns; merged ones are in none.
            into.stamps.set(&columns);
        }
        if planted(Bug::DamageNotReported) {
            into.missing.clear();
        }
        Ok(())
    }

    fn read_pieces(
        &self,
        index: usize,
        whole: &dyn Fn(TimeRange) -> bool,
        budget: &Budget,
        into: &mut Pieces,
    ) -> Result<(), SourceError> {
        let places = self.places_of(index);
        let has_whole = |&place: &Place| match self.part(place) {
            Some(Part::Block(_, metrics, ordinal)) => metrics.has_whole(ordinal, self.range, whole),
            _ => false,
        };
        if !places.iter().any(has_whole) {
            into.pieces.clear();
            self.read(index, budget, &mut into.samples)?;
            into.push_samples_since(0);
            return Ok(());
        }
        let sorted;
        let apart = match places {
            [_] => places,
            _ => match self.apart(places) {
                Some(apart) => {
                    sorted = apart;
                    &sorted
                }
                None => {
                    // What one part holds another may replace or add to.
                    into.pieces.clear();
                    self.read(index, budget, &mut into.samples)?;
                    into.push_samples_since(0);
                    return Ok(());
                }
            },
        };
        into.clear();
        for part in apart.iter().filter_map(|&place| self.part(place)) {
            match part {
                Part::Block(block, metrics, ordinal) => {
                    match metrics.samples_in_pieces(ordinal, self.range, whole) {
                        Ok(samples) => budget.charge_samples(samples)?,
                        Err(error) => {
                            into.samples.missing.push(block.missing(error.to_string()));
                            continue;
                        }
                    }
                    let mut missing = std::mem::take(&mut into.samples.missing);
                    metrics.read_pieces(ordinal, self.range, whole, into, &mut |range, error| {
                        missing.push(Missing { range, why: error.to_string() });
                    });
                    into.samples.missing = missing;
                }
                Part::Head(head) => {
                    budget.charge_samples(head.timestamps.len() as u64)?;
                    let first = into.samples.values.len();
                    into.samples.timestamps.extend_from_slice(&head.timestamps);
                    into.samples.values.extend_from_slice(&head.values);
                    into.push_samples_since(first);
                }
            }
        }
        if planted(Bug::DamageNotReported) {
            into.samples.missing.clear();
        }
        Ok(())
    }

    fn coverage(&self) -> &Coverage {
        &self.coverage
    }
}

/// What is at a place.
pub(crate) enum Part<'a> {
    Block(&'a OpenBlock, &'a MetricBlock, u32),
    Head(&'a HeadSeries),
}

impl Selected {
    fn places_of(&self, index: usize) -> &[Place] {
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
                Some(Part::Block(&searched.block, searched.metrics.as_ref()?, ordinal))
            }
            Place::Head(head) => self.heads.get(head as usize).map(Part::Head),
        }
    }

    /// Compares the labels of what is at two places.
    fn compare(&self, a: Place, b: Place) -> Ordering {
        match (a, b) {
            // Of one block they are in label order; of one head too.
            (Place::Block { block: one, ordinal: a }, Place::Block { block: other, ordinal: b })
                if one == other =>
            {
                a.cmp(&b)
            }
            (Place::Head(a), Place::Head(b)) if a == b => Ordering::Equal,
            _ => {
                let (mut a_numbers, mut b_numbers) = (Vec::new(), Vec::new());
                self.pairs(a, &mut a_numbers).cmp(self.pairs(b, &mut b_numbers))
            }
        }
    }

    /// The labels of what is at a place; `numbers` is room for them.
    fn pairs<'a>(
        &'a self,
        place: Place,
        numbers: &'a mut Vec<u32>,
    ) -> Box<dyn Iterator<Item = (&'a str, &'a str)> + 'a> {
        match self.part(place) {
            Some(Part::Block(_, metrics, ordinal)) if metrics.pair_numbers(ordinal, numbers).is_ok() => {
                Box::new(numbers.iter().filter_map(|&number| metrics.pair(number).ok().flatten()))
            }
            Some(Part::Head(head)) => Box::new(head.labels.iter()),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// A series' places in time order, where no two of them reach into each other's time.
    fn apart(&self, places: &[Place]) -> Option<Vec<Place>> {
        let mut parts: Vec<(TimeRange, Place)> = Vec::with_capacity(places.len());
        for &place in places {
            let extent = match self.part(place)? {
                // What cannot be read is nowhere.
                Part::Block(_, metrics, ordinal) => metrics.extent(ordinal).unwrap_or(TimeRange::EMPTY),
                Part::Head(head) => match (head.timestamps.first(), head.timestamps.last()) {
                    (Some(&first), Some(&last)) => {
                        TimeRange::new(Timestamp(first.saturating_sub(1)), Timestamp(last))
                    }
                    _ => TimeRange::EMPTY,
                },
            };
            parts.push((extent, place));
        }
        parts.sort_by_key(|(extent, _)| (extent.start, extent.end));
        let mut end = Timestamp::MIN;
        for (extent, _) in parts.iter().filter(|(extent, _)| !extent.is_empty()) {
            if end > extent.start {
                return None;
            }
            end = extent.end;
        }
        Some(parts.into_iter().map(|(_, place)| place).collect())
    }

    fn read_values(&self, places: &[Place], into: &mut Samples) {
        for part in places.iter().filter_map(|&place| self.part(place)) {
            if let Part::Block(_, metrics, ordinal) = part {
                metrics.read_values_lossy(ordinal, self.range, &mut into.values, &mut |_, _| {});
            }
        }
    }
}

/// Brings samples that were appended part by part, in log order, into time order, one per stamp.
pub(crate) fn merge(kind: SeriesKind, samples: &mut Samples) {
    if samples.timestamps.is_sorted_by(|a, b| a < b) {
        return;
    }
    let mut pairs: Vec<(i64, f64)> =
        samples.timestamps.iter().copied().zip(samples.values.iter().copied()).collect();
    // Stable: samples of one stamp stay in log order.
    pairs.sort_by_key(|&(time, _)| time);
    samples.timestamps.clear();
    samples.values.clear();
    for (time, value) in pairs {
        match (samples.timestamps.last(), samples.values.last_mut()) {
            (Some(&last), Some(held)) if last == time => *held = merge_values(kind, *held, value),
            _ => {
                samples.timestamps.push(time);
                samples.values.push(value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_merge_by_the_law_of_the_kind() {
        let parts = || Samples {
            timestamps: vec![10, 20, 30, 20, 25, 20],
            values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            ..Samples::default()
        };
        let mut gauge = parts();
        merge(SeriesKind::Gauge, &mut gauge);
        assert_eq!((gauge.timestamps, gauge.values), (vec![10, 20, 25, 30], vec![1.0, 6.0, 5.0, 3.0]));
        let mut delta = parts();
        merge(SeriesKind::Delta, &mut delta);
        assert_eq!(delta.values, [1.0, 12.0, 5.0, 3.0]);
    }
}
