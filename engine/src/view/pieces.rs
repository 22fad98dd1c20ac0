//! A series in pieces: chunks and windows as a whole where that is enough and no other part of the data touches them.

use std::sync::Arc;

use annals_block::{MetricBlock, RollupBlock};
use annals_model::{Budget, Missing, Pieces, ReadPlan, SeriesKind, SourceError, TimeRange, Timestamp, Whole};
use annals_vfs::planted::{Bug, planted};

use super::samples::{append_within, within};
use super::{Part, Place, Searched, Selected};
use crate::windows::{any_whole, plan_by_windows, read_by_windows};

/// Whether a block's chunks of a series are enough: they are longer than windows, so that no rollup is better.
pub(super) fn chunks_suffice(plan: &ReadPlan) -> bool {
    plan.chunks_skipped > 0 && plan.chunks_decoded == 0
}

impl Selected {
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
    pub(super) fn read_places_in_pieces(
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
            && (chunks_suffice(&plan) || searched.rollups.is_empty() && plan.chunks_skipped > 0)
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
                    let plan = metrics.plan_pieces(ordinal, self.range, whole);
                    if let Ok(plan) = &plan
                        && chunks_suffice(plan)
                    {
                        budget.charge_samples(plan.chunks_skipped)?;
                        self.pieces_of(metrics, ordinal, whole, into);
                        continue;
                    }
                    let opened: Vec<Arc<RollupBlock>> =
                        searched.rollups.iter().filter_map(|block| block.rollups().ok()).collect();
                    let rollups: Vec<&RollupBlock> = opened.iter().map(|rollup| &**rollup).collect();
                    let mut charge = |samples| budget.charge_samples(samples).map_err(SourceError::from);
                    if read_by_windows(metrics, &rollups, ordinal, self.range, &takes, &mut charge, into)? {
                        continue;
                    }
                    match plan {
                        Ok(plan) => budget.charge_samples(plan.samples + plan.chunks_skipped)?,
                        Err(error) => {
                            into.samples.missing.push(searched.block.missing(error.to_string()));
                            continue;
                        }
                    }
                    self.pieces_of(metrics, ordinal, whole, into);
                }
                Part::Head(head) => {
                    budget.charge_samples(within(head, self.range).len() as u64)?;
                    let first = into.samples.values.len();
                    append_within(head, self.range, &mut into.samples);
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

    /// What reading a series of a sealed day by its rollups takes; `None` where no window is taken whole.
    pub(super) fn plan_windows(
        &self,
        searched: &Searched,
        metrics: &MetricBlock,
        ordinal: u32,
        whole: Whole<'_>,
    ) -> Option<ReadPlan> {
        let rollups: Vec<Arc<RollupBlock>> =
            searched.rollups.iter().filter_map(|block| block.rollups().ok()).collect();
        let takes = |time: TimeRange| whole.takes(time, self.range);
        plan_by_windows(metrics, &rollups, ordinal, self.range, &takes)
    }

    /// A series' places in time order, where no two of them reach into each other's time.
    pub(super) fn apart(&self, places: &[Place]) -> Option<Vec<Place>> {
        let mut parts: Vec<(TimeRange, Place)> = Vec::with_capacity(places.len());
        for &place in places {
            let extent = match self.part(place)? {
                // What cannot be read is nowhere.
                Part::Block(_, metrics, ordinal) => metrics.extent(ordinal).unwrap_or(TimeRange::EMPTY),
                Part::Rollups(..) => TimeRange::EMPTY,
                Part::Head(head) => match head.timestamps.get(within(head, self.range)).unwrap_or_default() {
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
}
