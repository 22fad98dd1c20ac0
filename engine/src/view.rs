//! What a query sees of a tenant: blocks and heads as one source of merged series.
//!
//! Parts are kept in log order, so that where two hold the same stamp the later write wins, or deltas add up. A
//! damaged part is named as missing; the others answer.

use std::sync::Arc;

use annals_block::MetricBlock;
use annals_model::{
    BlockContent, Budget, Coverage, LabelSet, Matcher, Missing, Pieces, Samples, SelectedSeries, SeriesKind,
    SourceError, TimeRange, Timestamp, merge_values,
};
use annals_vfs::planted::{Bug, planted};
use hashbrown::HashMap;

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

/// Series found in a view. Columns of live heads are copied out, all else is decoded when it is read.
pub(crate) struct Selected {
    range: TimeRange,
    blocks: Vec<Searched>,
    series: Vec<Found>,
    coverage: Coverage,
}

/// A block that was searched: open as long as the selection is.
struct Searched {
    block: Arc<OpenBlock>,
    /// None where it could not be searched.
    metrics: Option<Arc<MetricBlock>>,
}

/// One series and where its samples lie.
struct Found {
    labels: LabelSet,
    kind: SeriesKind,
    /// (index into `blocks`, series ordinal), in log order.
    in_blocks: Vec<(u32, u32)>,
    /// Copied from heads, in log order, newer than every block.
    in_heads: Vec<(Vec<i64>, Vec<f64>)>,
}

/// Collects the parts of each series while blocks and heads are searched.
pub(crate) struct Selecting {
    range: TimeRange,
    blocks: Vec<Searched>,
    found: HashMap<LabelSet, Found, foldhash::fast::FixedState>,
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
            found: HashMap::default(),
            coverage: Coverage {
                expired_through: (range.start < self.metrics_floor).then_some(self.metrics_floor),
                missing: self.missing.iter().filter(|m| m.range.overlaps(visible)).cloned().collect(),
            },
        };
        if visible.is_empty() {
            return Ok(selecting);
        }
        for block in blocks {
            selecting.add_block(block, matchers, budget)?;
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
    fn add_block(
        &mut self,
        block: Arc<OpenBlock>,
        matchers: &[Matcher],
        budget: &Budget,
    ) -> Result<(), SourceError> {
        let at = self.blocks.len() as u32;
        let searched = block.metrics().and_then(|metrics| {
            let corrupt = |error: annals_block::BlockError| block.missing(error.to_string());
            let ordinals = metrics.find(matchers).map_err(corrupt)?;
            let found = ordinals
                .iter()
                .map(|ordinal| Ok((ordinal, metrics.labels(ordinal)?, metrics.kind(ordinal)?)))
                .collect::<Result<Vec<_>, annals_block::BlockError>>()
                .map_err(corrupt)?;
            Ok((metrics, found))
        });
        let metrics = match searched {
            Ok((metrics, found)) => {
                for (ordinal, labels, kind) in found {
                    self.found(labels, kind, budget)?.in_blocks.push((at, ordinal));
                }
                Some(metrics)
            }
            Err(missing) => {
                self.coverage.missing.push(missing);
                None
            }
        };
        self.blocks.push(Searched { block, metrics });
        Ok(())
    }

    fn add_head(&mut self, head: &Head, matchers: &[Matcher], budget: &Budget) -> Result<(), SourceError> {
        let copied = copy_matching(head, matchers, self.range, &[], budget)?;
        self.add_copied(copied, budget)
    }

    /// Adds what was copied from a head. Heads are added in log order.
    pub(crate) fn add_copied(&mut self, copied: Copied, budget: &Budget) -> Result<(), SourceError> {
        if copied.orphans > 0 {
            self.coverage.missing.push(Missing {
                range: TimeRange::ALL,
                why: format!("{} samples of series whose definition in the log is damaged", copied.orphans),
            });
        }
        for HeadSeries { labels, kind, timestamps, values } in copied.series {
            self.found(labels, kind, budget)?.in_heads.push((timestamps, values));
        }
        Ok(())
    }

    fn found(
        &mut self,
        labels: LabelSet,
        kind: SeriesKind,
        budget: &Budget,
    ) -> Result<&mut Found, SourceError> {
        match self.found.entry(labels) {
            hashbrown::hash_map::Entry::Occupied(entry) => Ok(entry.into_mut()),
            hashbrown::hash_map::Entry::Vacant(entry) => {
                budget.charge_series(1)?;
                let labels = entry.key().clone();
                Ok(entry.insert(Found { labels, kind, in_blocks: Vec::new(), in_heads: Vec::new() }))
            }
        }
    }

    pub(crate) fn finish(self) -> Selected {
        let mut series: Vec<Found> = self.found.into_values().collect();
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Selected { range: self.range, blocks: self.blocks, series, coverage: self.coverage }
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
        self.series.len()
    }

    #[expect(clippy::indexing_slicing, reason = "the trait asks for an index below `len`")]
    fn labels(&self, index: usize) -> &LabelSet {
        &self.series[index].labels
    }

    #[expect(clippy::indexing_slicing, reason = "the trait asks for an index below `len`")]
    fn kind(&self, index: usize) -> SeriesKind {
        self.series[index].kind
    }

    fn read(&self, index: usize, budget: &Budget, into: &mut Samples) -> Result<(), SourceError> {
        into.clear();
        let Some(found) = self.series.get(index) else { return Ok(()) };
        for &(block, ordinal) in &found.in_blocks {
            let Some(Searched { block, metrics: Some(metrics) }) = self.blocks.get(block as usize) else {
                continue;
            };
            match metrics.samples_in(ordinal, self.range) {
                Ok(samples) => budget.charge_samples(samples)?,
                Err(error) => {
                    into.missing.push(block.missing(error.to_string()));
                    continue;
                }
            }
            let Samples { timestamps, values, missing, .. } = into;
            metrics.read_lossy(ordinal, self.range, timestamps, values, &mut |range, error| {
                missing.push(Missing { range, why: error.to_string() });
            });
        }
        for (timestamps, values) in &found.in_heads {
            budget.charge_samples(timestamps.len() as u64)?;
            into.timestamps.extend_from_slice(timestamps);
            into.values.extend_from_slice(values);
        }
        if planted(Bug::DamageNotReported) {
            into.missing.clear();
        }
        // One part alone is ascending and has one sample per stamp.
        if found.in_blocks.len() + found.in_heads.len() > 1 {
            merge(found.kind, into);
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
        into.clear();
        let Some(found) = self.series.get(index) else { return Ok(()) };
        let Some(parts) = self.apart(found) else {
            // What one part holds another may replace or add to.
            self.read(index, budget, &mut into.samples)?;
            into.push_samples_since(0);
            return Ok(());
        };
        for part in parts {
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
                Part::Head(timestamps, values) => {
                    budget.charge_samples(timestamps.len() as u64)?;
                    let first = into.samples.values.len();
                    into.samples.timestamps.extend_from_slice(timestamps);
                    into.samples.values.extend_from_slice(values);
                    into.push_samples_since(first);
                }
                Part::Missing(missing) => into.samples.missing.push(missing),
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

/// Where some of a series' samples are.
enum Part<'a> {
    Block(&'a OpenBlock, &'a MetricBlock, u32),
    Head(&'a [i64], &'a [f64]),
    Missing(Missing),
}

impl Selected {
    /// The parts of a series in time order, where no two of them reach into each other's time.
    fn apart<'a>(&'a self, found: &'a Found) -> Option<Vec<Part<'a>>> {
        let mut parts: Vec<(TimeRange, Part<'a>)> = Vec::new();
        for &(block, ordinal) in &found.in_blocks {
            let Some(Searched { block, metrics: Some(metrics) }) = self.blocks.get(block as usize) else {
                continue;
            };
            match metrics.extent(ordinal) {
                Ok(extent) => parts.push((extent, Part::Block(block, metrics, ordinal))),
                Err(error) => {
                    parts.push((TimeRange::EMPTY, Part::Missing(block.missing(error.to_string()))));
                }
            }
        }
        for (timestamps, values) in &found.in_heads {
            if let (Some(&first), Some(&last)) = (timestamps.first(), timestamps.last()) {
                let extent = TimeRange::new(Timestamp(first.saturating_sub(1)), Timestamp(last));
                parts.push((extent, Part::Head(timestamps, values)));
            }
        }
        parts.sort_by_key(|(extent, _)| (extent.start, extent.end));
        let ends = parts.iter().scan(Timestamp::MIN, |end, (extent, part)| {
            let apart = matches!(part, Part::Missing(_)) || *end <= extent.start;
            *end = (*end).max(extent.end);
            Some(apart)
        });
        ends.min().unwrap_or(true).then(|| parts.into_iter().map(|(_, part)| part).collect())
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
