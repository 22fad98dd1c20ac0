//! Series of histograms in a view: always read sample by sample, as they have neither aggregates nor windows.

use annals_model::{
    BlockContent, Budget, HistogramSamples, Missing, Samples, SeriesKind, SourceError, TimeRange, Timestamp,
};

use super::{Part, Place, Selected};
use crate::head::HeadSeries;

impl Selected {
    /// Replaces `into` by a series: thinned in the days that a coarser tier shows, whole after them.
    pub(super) fn read_histograms(
        &self,
        kind: SeriesKind,
        places: &[Place],
        budget: &Budget,
        into: &mut Samples,
    ) -> Result<(), SourceError> {
        into.clear();
        if !self.rolled.is_empty() {
            let range = self.windows_needed();
            let merged = self.merged_histograms(kind, places, true, range, budget, &mut into.missing)?;
            let mut rest = merged.timestamps.first().copied();
            while let Some(first) = rest {
                let day = Timestamp(first).day();
                let (mut of_day, mut shown) = (HistogramSamples::default(), HistogramSamples::default());
                of_day.extend_from(&merged, day.range());
                if let Some(window_ms) = self.tiers.of_day(day).and_then(BlockContent::window_ms) {
                    shown.extend_from(&of_day.thinned(kind, window_ms), self.rolled);
                }
                shown.append_to(into);
                let next = merged.timestamps.partition_point(|&stamp| stamp <= day.end().0);
                rest = merged.timestamps.get(next).copied();
            }
        }
        let places = self.shown_in_samples(places);
        self.merged_histograms(kind, &places, false, self.range, budget, &mut into.missing)?.append_to(into);
        Ok(())
    }

    /// What these places hold of a series in a range: those of them that are shown in windows, or in samples.
    fn merged_histograms(
        &self,
        kind: SeriesKind,
        places: &[Place],
        rolled: bool,
        range: TimeRange,
        budget: &Budget,
        missing: &mut Vec<Missing>,
    ) -> Result<HistogramSamples, SourceError> {
        let mut samples = HistogramSamples::default();
        for part in places.iter().filter_map(|&place| self.part(place)) {
            let before = samples.timestamps.len();
            let mut on_damage = |range, error: annals_block::BlockError| {
                missing.push(Missing { range, why: error.to_string() });
            };
            match part {
                Part::Block(searched, metrics, ordinal) if searched.rolled == rolled => {
                    metrics.read_histograms_lossy(ordinal, range, &mut samples, &mut on_damage);
                }
                Part::Rollups(rollups, ordinal) if rolled => {
                    rollups.read_histograms_lossy(ordinal, range, &mut samples, &mut on_damage);
                }
                Part::Head(head) => samples.extend_from(&of_head(head), range),
                Part::Block(..) | Part::Rollups(..) => {}
            }
            budget.charge_samples((samples.timestamps.len() - before) as u64)?;
            let read = samples.histograms.get(before..).unwrap_or_default().iter().flatten();
            budget.charge_memory(read.map(|histogram| histogram.bytes() as u64).sum())?;
        }
        samples.merge(kind);
        Ok(samples)
    }
}

/// Histograms themselves are shared, not copied.
fn of_head(head: &HeadSeries) -> HistogramSamples {
    HistogramSamples {
        timestamps: head.timestamps.clone(),
        histograms: head.histograms.clone(),
        start_times: head.start_times.clone(),
    }
}
