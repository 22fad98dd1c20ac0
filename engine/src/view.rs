//! What a query sees of a tenant: blocks and heads as one source of merged series.
//!
//! Parts are kept in log order, so that where two hold the same stamp the later write wins, or deltas add up. A
//! damaged part is named as missing; the others answer. Days of which raw metrics are not shown any more come as rollups
//! (see [`crate::tiers`]): thinned where samples are asked for, whole where pieces are.

mod histograms;

use std::cmp::Ordering;
use std::sync::Arc;

use annals_block::{MetricBlock, RollupBlock, SeriesIndex};
use annals_model::{
    BlockContent, Budget, Coverage, LabelSet, Matcher, Missing, Piece, Pieces, ReadPlan, Rollup, Samples,
    SelectedSeries, SeriesGroups, SeriesKind, SourceError, TimeRange, Timestamp, Whole, merge_values,
    roll_up,
};
use annals_vfs::planted::{Bug, planted};

use crate::grouping::Grouping;
use crate::head::{Candidates, Head, HeadSeries};
use crate::open_block::OpenBlock;
use crate::tiers::{Days, Tiers};
use crate::windows::{any_whole, read_by_windows};

/// A tenant's data at one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    /// Live blocks of all contents.
    pub(crate) blocks: Vec<Arc<OpenBlock>>,
    /// Heads that are newer than the blocks, in log order.
    pub(crate) heads: Vec<Arc<Head>>,
    /// Which tier shows which day.
    pub(crate) tiers: Tiers,
    /// Signals up to this stamp are not shown.
    pub(crate) signals_floor: Timestamp,
    /// What is known to be lost.
    pub(crate) missing: Vec<Missing>,
}

/// Series found in a view. Columns of live heads are copied out; all else, labels included, is read when it is asked for.
pub(crate) struct Selected {
    /// What is shown in samples.
    range: TimeRange,
    /// What is shown in windows.
    rolled: TimeRange,
    tiers: Tiers,
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
pub(crate) struct Searched {
    block: Arc<OpenBlock>,
    /// None where it could not be searched.
    opened: Option<Opened>,
    /// Whether what it holds is shown in windows, and not as samples.
    rolled: bool,
    /// Of a raw block that is all of a sealed day: the day's rollups, coarsest first. They have the same series.
    rollups: Vec<Arc<OpenBlock>>,
}

/// A block of samples, or of rollups.
enum Opened {
    Samples(Arc<MetricBlock>),
    Rollups(Arc<RollupBlock>),
}

impl Opened {
    fn of(block: &OpenBlock) -> Result<Opened, Missing> {
        if block.meta.id.content == BlockContent::RawMetrics {
            block.metrics().map(Opened::Samples)
        } else {
            block.rollups().map(Opened::Rollups)
        }
    }

    fn index(&self) -> SeriesIndex<'_> {
        match self {
            Opened::Samples(block) => block.index(),
            Opened::Rollups(block) => block.index(),
        }
    }
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
    /// All that may be shown.
    range: TimeRange,
    tiers: Tiers,
    blocks: Vec<Searched>,
    heads: Vec<HeadSeries>,
    /// In log order of their blocks and heads; those of one block or head in label order.
    places: Vec<Place>,
    /// How many blocks and heads have any.
    parts: usize,
    coverage: Coverage,
}

impl View {
    /// Searches blocks and frozen heads; live heads may be added before it is finished.
    pub(crate) fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Selecting, SourceError> {
        let floor = self.tiers.floor();
        let visible = TimeRange::new(range.start.max(floor), range.end);
        let mut selecting = Selecting {
            range: visible,
            tiers: self.tiers.clone(),
            blocks: Vec::new(),
            heads: Vec::new(),
            places: Vec::new(),
            parts: 0,
            coverage: Coverage {
                expired_through: (range.start < floor).then_some(floor),
                coarser: self.tiers.coarser(range),
                missing: self.missing.iter().filter(|m| m.range.overlaps(visible)).cloned().collect(),
            },
        };
        if visible.is_empty() {
            return Ok(selecting);
        }
        for searched in self.to_search(range) {
            selecting.add_block(searched, matchers);
        }
        for head in &self.heads {
            selecting.add_head(head, matchers, budget)?;
        }
        Ok(selecting)
    }

    /// The blocks that show a range, in log order.
    fn to_search(&self, range: TimeRange) -> Vec<Searched> {
        let (raw, _) = self.tiers.split(range);
        let needed = self.tiers.needed(range);
        let of_days = || {
            let metrics = |b: &&Arc<OpenBlock>| b.meta.id.content != BlockContent::RawSignals;
            self.blocks.iter().filter(metrics).filter(|b| b.meta.id.day.range().overlaps(needed))
        };
        let days = self.tiers.days(of_days().map(|block| &block.meta));
        let mut searched: Vec<Searched> = of_days()
            .filter_map(|block| {
                let (day, content) = (block.meta.id.day, block.meta.id.content);
                let shown = self.tiers.of_day(day)?;
                let rolled = shown != BlockContent::RawMetrics;
                let wanted = match (rolled, content == BlockContent::RawMetrics) {
                    (false, true) => block.meta.time.overlaps(raw),
                    (false, false) => false,
                    (true, true) => !days.has(day, shown),
                    (true, false) => content == shown && days.has(day, shown),
                };
                let rollups = if wanted && !rolled { self.rollups_of(block, &days) } else { Vec::new() };
                wanted.then(|| Searched { block: block.clone(), opened: None, rolled, rollups })
            })
            .collect();
        searched.sort_by_key(|searched| (searched.block.meta.lsns.through, searched.block.meta.id));
        searched
    }

    /// The rollups of the day of a raw block, coarsest first, where that is all that they were made from.
    fn rollups_of(&self, raw: &OpenBlock, days: &Days<'_>) -> Vec<Arc<OpenBlock>> {
        let day = raw.meta.id.day;
        if !days.is_whole(day, raw.meta.rows) {
            return Vec::new();
        }
        let tiers = [BlockContent::Rollup1h, BlockContent::Rollup5m].into_iter();
        tiers
            .filter(|&tier| days.has(day, tier))
            .filter_map(|tier| {
                let of_tier = |b: &&Arc<OpenBlock>| (b.meta.id.day, b.meta.id.content) == (day, tier);
                self.blocks.iter().find(of_tier).filter(|b| b.meta.series == raw.meta.series).cloned()
            })
            .collect()
    }

    /// The blocks of raw signals.
    pub(crate) fn signal_blocks(&self) -> impl Iterator<Item = &Arc<OpenBlock>> {
        self.blocks.iter().filter(|b| b.meta.id.content == BlockContent::RawSignals)
    }
}

impl Selecting {
    fn add_block(&mut self, mut searched: Searched, matchers: &[Matcher]) {
        let at = self.blocks.len() as u32;
        let block = &searched.block;
        let found = Opened::of(block).and_then(|opened| {
            let corrupt = |error: annals_block::BlockError| block.missing(error.to_string());
            let ordinals = opened.index().find(matchers).map_err(corrupt)?;
            opened.index().check_labels(&ordinals).map_err(corrupt)?;
            Ok((opened, ordinals))
        });
        match found {
            Ok((opened, ordinals)) => {
                self.parts += usize::from(!ordinals.is_empty());
                self.places.extend(ordinals.iter().map(|ordinal| Place::Block { block: at, ordinal }));
                searched.opened = Some(opened);
            }
            Err(missing) => self.coverage.missing.push(missing),
        }
        self.blocks.push(searched);
    }

    fn add_head(&mut self, head: &Head, matchers: &[Matcher], budget: &Budget) -> Result<(), SourceError> {
        let copied = copy_matching(head, matchers, self.tiers.needed(self.range), &[], budget)?;
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
        let Selecting { range, tiers, blocks, heads, places, parts, coverage } = self;
        let (range, rolled) = tiers.split(range);
        budget.charge_memory((size_of::<Place>() + 4) as u64 * places.len() as u64)?;
        let mut selected =
            Selected { range, rolled, tiers, blocks, heads, places, starts: Vec::new(), coverage };
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
        let Samples { timestamps, values, missing, .. } = into;
        for window in &windows {
            window.thinned(kind, |time, value| {
                if self.rolled.contains(Timestamp(time)) {
                    timestamps.push(time);
                    values.push(value);
                }
            });
        }
        timestamps.append(&mut raw.timestamps);
        values.append(&mut raw.values);
        missing.append(&mut raw.missing);
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
        into.samples.timestamps.append(&mut raw.samples.timestamps);
        into.samples.values.append(&mut raw.samples.values);
        into.samples.missing.append(&mut raw.samples.missing);
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
                Part::Block(_, metrics, ordinal) => {
                    metrics.plan_pieces(ordinal, self.range, whole).unwrap_or_default()
                }
                Part::Head(head) => ReadPlan { samples: head.timestamps.len() as u64, ..ReadPlan::default() },
                Part::Rollups(..) => ReadPlan::default(),
            })
        })
    }

    fn coverage(&self) -> &Coverage {
        &self.coverage
    }
}

impl Selected {
    /// Replaces `into` by what is shown as samples of these places of a series.
    fn read_places(
        &self,
        kind: SeriesKind,
        places: &[Place],
        budget: &Budget,
        into: &mut Samples,
    ) -> Result<(), SourceError> {
        into.clear_values();
        let mut columns = vec![(self.range.start.0 as u64, self.range.end.0 as u64)];
        let mut only_blocks = true;
        for part in places.iter().filter_map(|&place| self.part(place)) {
            match part {
                Part::Block(searched, metrics, ordinal) => {
                    let samples = metrics.columns_in(ordinal, self.range, &mut |column| columns.push(column));
                    match samples {
                        Ok(samples) => budget.charge_samples(samples)?,
                        Err(error) => into.missing.push(searched.block.missing(error.to_string())),
                    }
                }
                Part::Head(head) => {
                    only_blocks = false;
                    budget.charge_samples(head.timestamps.len() as u64)?;
                }
                Part::Rollups(..) => {}
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
                Part::Block(searched, metrics, ordinal) => {
                    if let Err(error) = metrics.samples_in(ordinal, self.range) {
                        into.missing.push(searched.block.missing(error.to_string()));
                        continue;
                    }
                    let Samples { timestamps, values, missing, .. } = into;
                    metrics.read_lossy(ordinal, self.range, timestamps, values, &mut |range, error| {
                        missing.push(Missing { range, why: error.to_string() });
                    });
                }
                Part::Head(head) => {
                    let (timestamps, values) = within(head, self.range);
                    into.timestamps.extend_from_slice(timestamps);
                    into.values.extend_from_slice(values);
                }
                Part::Rollups(..) => {}
            }
        }
        if !into.timestamps.is_sorted_by(|a, b| a < b) {
            merge(kind, into);
        } else if only_blocks && columns.len() > 1 && into.missing.is_empty() {
            // The next series may have the same columns; merged ones are in none.
            into.stamps.set(&columns);
        }
        if planted(Bug::DamageNotReported) {
            into.missing.clear();
        }
        Ok(())
    }

    /// A block's pieces of a series.
    fn pieces_of(&self, metrics: &MetricBlock, ordinal: u32, whole: Whole<'_>, into: &mut Pieces) {
        let mut missing = std::mem::take(&mut into.samples.missing);
        metrics.read_pieces(ordinal, self.range, whole, into, &mut |range, error| {
            missing.push(Missing { range, why: error.to_string() });
        });
        if !planted(Bug::DamageNotReported) {
            into.samples.missing = missing;
        }
    }

    /// The same in pieces.
    fn read_places_in_pieces(
        &self,
        kind: SeriesKind,
        places: &[Place],
        whole: Whole<'_>,
        budget: &Budget,
        into: &mut Pieces,
    ) -> Result<(), SourceError> {
        // One block is the common case, and may be that of a million series.
        if let &[place] = places
            && let Some(Part::Block(searched, metrics, ordinal)) = self.part(place)
            && let Ok(plan) = metrics.plan_pieces(ordinal, self.range, whole)
            && plan.chunks_skipped > 0
            // Chunks are longer than windows: where they are enough, no rollup is better.
            && (searched.rollups.is_empty() || plan.chunks_decoded == 0)
        {
            into.clear();
            budget.charge_samples(plan.samples + plan.chunks_skipped)?;
            self.pieces_of(metrics, ordinal, whole, into);
            return Ok(());
        }
        let takes = |time: TimeRange| whole.takes(time, self.range);
        let has_whole = |&place: &Place| match self.part(place) {
            Some(Part::Block(searched, metrics, ordinal)) => {
                let plan = metrics.plan_pieces(ordinal, self.range, whole);
                plan.is_ok_and(|plan| plan.chunks_skipped > 0)
                    || searched.rollups.iter().any(|rollup| any_whole(rollup.meta.id, self.range, &takes))
            }
            _ => false,
        };
        if !places.iter().any(has_whole) {
            into.pieces.clear();
            self.read_places(kind, places, budget, &mut into.samples)?;
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
                    self.read_places(kind, places, budget, &mut into.samples)?;
                    into.push_samples_since(0);
                    return Ok(());
                }
            },
        };
        into.clear();
        for part in apart.iter().filter_map(|&place| self.part(place)) {
            match part {
                Part::Block(searched, metrics, ordinal) => {
                    let block = &searched.block;
                    let opened: Vec<Arc<RollupBlock>> =
                        searched.rollups.iter().filter_map(|block| block.rollups().ok()).collect();
                    let rollups: Vec<&RollupBlock> = opened.iter().map(|rollup| &**rollup).collect();
                    let mut charge = |samples| budget.charge_samples(samples).map_err(SourceError::from);
                    if read_by_windows(metrics, &rollups, ordinal, self.range, &takes, &mut charge, into)? {
                        continue;
                    }
                    match metrics.plan_pieces(ordinal, self.range, whole) {
                        Ok(plan) => budget.charge_samples(plan.samples + plan.chunks_skipped)?,
                        Err(error) => {
                            into.samples.missing.push(block.missing(error.to_string()));
                            continue;
                        }
                    }
                    self.pieces_of(metrics, ordinal, whole, into);
                }
                Part::Head(head) => {
                    let (timestamps, values) = within(head, self.range);
                    budget.charge_samples(timestamps.len() as u64)?;
                    let first = into.samples.values.len();
                    into.samples.timestamps.extend_from_slice(timestamps);
                    into.samples.values.extend_from_slice(values);
                    into.push_samples_since(first);
                }
                Part::Rollups(..) => {}
            }
        }
        if planted(Bug::DamageNotReported) {
            into.samples.missing.clear();
        }
        Ok(())
    }
}

/// What is at a place.
pub(crate) enum Part<'a> {
    Block(&'a Searched, &'a MetricBlock, u32),
    Rollups(&'a RollupBlock, u32),
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
                Some(match searched.opened.as_ref()? {
                    Opened::Samples(metrics) => Part::Block(searched, metrics, ordinal),
                    Opened::Rollups(rollups) => Part::Rollups(rollups, ordinal),
                })
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
            Some(Part::Rollups(rollups, ordinal)) => {
                let index = rollups.index();
                if index.pair_numbers(ordinal, numbers).is_err() {
                    numbers.clear();
                }
                Box::new(numbers.iter().filter_map(move |&number| index.pair(number).ok().flatten()))
            }
            Some(Part::Head(head)) => Box::new(head.labels.iter()),
            _ => Box::new(std::iter::empty()),
        }
    }

    /// Those of a series' places that are shown in samples.
    fn shown_in_samples(&self, places: &[Place]) -> Vec<Place> {
        let shown = |place: &&Place| match self.part(**place) {
            Some(Part::Block(searched, ..)) => !searched.rolled,
            Some(Part::Head(_)) => true,
            Some(Part::Rollups(..)) | None => false,
        };
        places.iter().filter(shown).copied().collect()
    }

    /// A series' windows in the days that a coarser tier shows, in time order: from rollups, and rolled up from what raw
    /// there is where no rollup is.
    fn read_windows(
        &self,
        kind: SeriesKind,
        places: &[Place],
        budget: &Budget,
        missing: &mut Vec<Missing>,
    ) -> Result<Vec<Rollup>, SourceError> {
        let needed = self.tiers.needed(self.rolled);
        let range = TimeRange::new(needed.start, needed.end.min(self.tiers.raw_floor()));
        let (mut samples, mut windows) = (Samples::default(), Vec::new());
        for part in places.iter().filter_map(|&place| self.part(place)) {
            match part {
                Part::Block(searched, metrics, ordinal) if searched.rolled => {
                    match metrics.samples_in(ordinal, range) {
                        Ok(count) => budget.charge_samples(count)?,
                        Err(error) => {
                            missing.push(searched.block.missing(error.to_string()));
                            continue;
                        }
                    }
                    let Samples { timestamps, values, .. } = &mut samples;
                    metrics.read_lossy(ordinal, range, timestamps, values, &mut |range, error| {
                        missing.push(Missing { range, why: error.to_string() });
                    });
                }
                Part::Head(head) => {
                    let (timestamps, values) = within(head, range);
                    samples.timestamps.extend_from_slice(timestamps);
                    samples.values.extend_from_slice(values);
                }
                Part::Rollups(rollups, ordinal) => {
                    let first = windows.len();
                    rollups.read_lossy(ordinal, range, &mut windows, &mut |range, error| {
                        missing.push(Missing { range, why: error.to_string() });
                    });
                    budget.charge_samples((windows.len() - first) as u64)?;
                }
                Part::Block(..) => {}
            }
        }
        merge(kind, &mut samples);
        let (mut stamps, mut values) = (&samples.timestamps[..], &samples.values[..]);
        while let Some(&first) = stamps.first() {
            let day = Timestamp(first).day();
            let count = stamps.partition_point(|&stamp| stamp <= day.end().0);
            let (of_day, later) = stamps.split_at_checked(count).unwrap_or_default();
            let (values_of_day, later_values) = values.split_at_checked(count).unwrap_or_default();
            (stamps, values) = (later, later_values);
            if let Some(window_ms) = self.tiers.of_day(day).and_then(BlockContent::window_ms) {
                roll_up(kind, window_ms, of_day, values_of_day, &mut windows);
            }
        }
        windows.sort_by_key(|window| window.end);
        Ok(windows)
    }

    /// A series' places in time order, where no two of them reach into each other's time.
    fn apart(&self, places: &[Place]) -> Option<Vec<Place>> {
        let mut parts: Vec<(TimeRange, Place)> = Vec::with_capacity(places.len());
        for &place in places {
            let extent = match self.part(place)? {
                // What cannot be read is nowhere.
                Part::Block(_, metrics, ordinal) => metrics.extent(ordinal).unwrap_or(TimeRange::EMPTY),
                Part::Rollups(..) => TimeRange::EMPTY,
                Part::Head(head) => match within(head, self.range).0 {
                    [] => TimeRange::EMPTY,
                    [first, .., last] => TimeRange::new(Timestamp(first.saturating_sub(1)), Timestamp(*last)),
                    [only] => TimeRange::new(Timestamp(only.saturating_sub(1)), Timestamp(*only)),
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

/// Appends a window of which only this is left: whole where the query takes it so, else thinned.
fn push_window(
    window: &Rollup,
    kind: SeriesKind,
    range: TimeRange,
    whole: &dyn Fn(TimeRange) -> bool,
    into: &mut Pieces,
) {
    let first = into.samples.values.len();
    let mut thinned = *window;
    if let Some(all) = window.all {
        let extent = TimeRange::new(Timestamp(all.first_time.saturating_sub(1)), Timestamp(all.last_time));
        if range.covers(extent) && whole(extent) {
            into.pieces.push(Piece::Whole(all));
            thinned.all = None;
        }
    }
    thinned.thinned(kind, |time, value| {
        if range.contains(Timestamp(time)) {
            into.samples.timestamps.push(time);
            into.samples.values.push(value);
        }
    });
    into.push_samples_since(first);
}

/// The part of what was copied from a head that lies in a range.
fn within(head: &HeadSeries, range: TimeRange) -> (&[i64], &[f64]) {
    let positions = head.timestamps.partition_point(|&time| time <= range.start.0)
        ..head.timestamps.partition_point(|&time| time <= range.end.0);
    let timestamps = head.timestamps.get(positions.clone()).unwrap_or_default();
    (timestamps, head.values.get(positions).unwrap_or_default())
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
