//! The labels and kinds of a block's series, whatever the block holds of them.

use std::ops::Range;

use annals_model::{LabelSet, Matcher, SeriesKind};
use roaring::RoaringBitmap;

use crate::error::BlockError;
use crate::metric_block::MetricBlock;
use crate::rollup_block::RollupBlock;

/// The labels and kinds of a block's series. No sample and no rollup can be read through it.
#[derive(Debug, Clone, Copy)]
pub struct SeriesIndex<'a>(&'a MetricBlock);

impl MetricBlock {
    /// Its series.
    #[must_use]
    pub fn index(&self) -> SeriesIndex<'_> {
        SeriesIndex(self)
    }
}

impl RollupBlock {
    /// Its series.
    #[must_use]
    pub fn index(&self) -> SeriesIndex<'_> {
        SeriesIndex(self.inner())
    }
}

impl<'a> SeriesIndex<'a> {
    /// See [`MetricBlock::find`].
    pub fn find(&self, matchers: &[Matcher]) -> Result<RoaringBitmap, BlockError> {
        self.0.find(matchers)
    }

    /// See [`MetricBlock::check_labels`].
    pub fn check_labels(&self, ordinals: &RoaringBitmap) -> Result<(), BlockError> {
        self.0.check_labels(ordinals)
    }

    /// See [`MetricBlock::labels`].
    pub fn labels(&self, ordinal: u32) -> Result<LabelSet, BlockError> {
        self.0.labels(ordinal)
    }

    /// See [`MetricBlock::kind`].
    pub fn kind(&self, ordinal: u32) -> Result<SeriesKind, BlockError> {
        self.0.kind(ordinal)
    }

    /// See [`MetricBlock::pair_numbers`].
    pub fn pair_numbers(&self, ordinal: u32, into: &mut Vec<u32>) -> Result<(), BlockError> {
        self.0.pair_numbers(ordinal, into)
    }

    /// See [`MetricBlock::pair`].
    pub fn pair(&self, number: u32) -> Result<Option<(&'a str, &'a str)>, BlockError> {
        self.0.pair(number)
    }

    /// See [`MetricBlock::pairs_named`].
    pub fn pairs_named(&self, name: &str) -> Result<Range<u32>, BlockError> {
        self.0.pairs_named(name)
    }
}
