//! Searching blocks and heads, and what was found of each series in label order.

use annals_model::{Budget, Matcher, Missing, SelectedSeries, SourceError, TimeRange};

use super::{Opened, Place, Searched, Selected, Selecting};
use crate::head::{Candidates, Head, HeadSeries};

impl Selecting {
    pub(super) fn add_block(&mut self, mut searched: Searched, matchers: &[Matcher]) {
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

    pub(super) fn add_head(
        &mut self,
        head: &Head,
        matchers: &[Matcher],
        budget: &Budget,
    ) -> Result<(), SourceError> {
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
