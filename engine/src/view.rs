//! What a query sees of a tenant: blocks and heads as one source of merged series.
//!
//! Parts are kept in log order, so that where two hold the same stamp the later write wins, or deltas add up. A
//! damaged part is named as missing; the others answer. Days of which raw metrics are not shown any more come as rollups
//! (see [`crate::tiers`]): thinned where samples are asked for, whole where pieces are.

mod histograms;
mod merging;
mod pieces;
mod rolled;
mod samples;
mod selected;
mod selecting;

use std::sync::Arc;

use annals_block::{MetricBlock, RollupBlock, SeriesIndex};
use annals_model::{BlockContent, Budget, Coverage, Matcher, Missing, SourceError, TimeRange, Timestamp};

use crate::head::{Head, HeadSeries};
use crate::open_block::OpenBlock;
use crate::tiers::{Days, Tiers};

pub(crate) use samples::merge;
pub(crate) use selecting::{Copied, copy_matching};

/// What is wanted of series that are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Samples,
    /// Labels and kinds alone: what lies in heads is not copied.
    Labels,
}

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
pub(crate) enum Opened {
    Samples(Arc<MetricBlock>),
    Rollups(Arc<RollupBlock>),
}

impl Opened {
    pub(crate) fn of(block: &OpenBlock) -> Result<Opened, Missing> {
        if block.meta.id.content == BlockContent::RawMetrics {
            block.metrics().map(Opened::Samples)
        } else {
            block.rollups().map(Opened::Rollups)
        }
    }

    pub(crate) fn index(&self) -> SeriesIndex<'_> {
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
    /// Where the places of each block and head that has any end.
    parts: Vec<u32>,
    coverage: Coverage,
}

impl View {
    /// Searches blocks and frozen heads; live heads may be added before it is finished.
    pub(crate) fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        wanted: Wanted,
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
            parts: Vec::new(),
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
            selecting.add_head(head, matchers, wanted, budget)?;
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

/// What is at a place.
pub(crate) enum Part<'a> {
    Block(&'a Searched, &'a MetricBlock, u32),
    Rollups(&'a RollupBlock, u32),
    Head(&'a HeadSeries),
}
