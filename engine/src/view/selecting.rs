//! Searching blocks and heads, and what was found of each series in label order.

use annals_model::{Budget, Matcher, Missing, SelectedSeries, SourceError, TimeRange};

use super::{Opened, Place, Searched, Selected, Selecting, Wanted, merging};
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
                self.places.extend(ordinals.iter().map(|ordinal| Place::Block { block: at, ordinal }));
                self.end_part();
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
        wanted: Wanted,
        budget: &Budget,
    ) -> Result<(), SourceError> {
        let range = self.tiers.needed(self.range);
        let copied = copy_matching(head, matchers, (range, wanted), &[], budget)?;
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
        let first = self.heads.len() as u32;
        self.places.extend((first..).take(copied.series.len()).map(Place::Head));
        self.end_part();
        self.heads.append(&mut copied.series);
    }

    /// What was added since the part before is one part.
    fn end_part(&mut self) {
        let end = self.places.len() as u32;
        if self.parts.last().copied().unwrap_or(0) < end {
            self.parts.push(end);
        }
    }

    pub(crate) fn finish(self, budget: &Budget) -> Result<Selected, SourceError> {
        let Selecting { range, tiers, blocks, heads, places, parts, coverage } = self;
        let (range, rolled) = tiers.split(range);
        let series_bytes = size_of::<Place>() + 4 + if parts.len() > 1 { merging::BYTES_A_PLACE } else { 0 };
        budget.charge_memory((series_bytes * places.len()) as u64)?;
        let mut selected =
            Selected { range, rolled, tiers, blocks, heads, places, starts: Vec::new(), coverage };
        if parts.len() <= 1 {
            selected.starts = (0..=selected.places.len() as u32).collect();
        } else {
            let mut numbers = Default::default();
            let merged =
                merging::merge(&selected.places, &parts, |a, b| selected.compare(a, b, &mut numbers));
            (selected.places, selected.starts) = merged;
        }
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
    of: (TimeRange, Wanted),
    candidates: &[Candidates],
    budget: &Budget,
) -> Result<Copied, SourceError> {
    Ok(Copied { series: head.copy(matchers, of, candidates, budget)?, orphans: head.orphans })
}
