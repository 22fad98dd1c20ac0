//! The days of a series that a coarser tier shows, in windows.

use annals_model::{
    BlockContent, Budget, Missing, Piece, Pieces, Rollup, Samples, SeriesKind, SourceError, TimeRange,
    Timestamp, roll_up,
};

use super::samples::{merge, within};
use super::{Part, Place, Selected};

impl Selected {
    /// Those of a series' places that are shown in samples.
    pub(super) fn shown_in_samples(&self, places: &[Place]) -> Vec<Place> {
        let shown = |place: &&Place| match self.part(**place) {
            Some(Part::Block(searched, ..)) => !searched.rolled,
            Some(Part::Head(_)) => true,
            Some(Part::Rollups(..)) | None => false,
        };
        places.iter().filter(shown).copied().collect()
    }

    /// The time of what is read for the days that a coarser tier shows: windows are read whole.
    pub(super) fn windows_needed(&self) -> TimeRange {
        let needed = self.tiers.needed(self.rolled);
        TimeRange::new(needed.start, needed.end.min(self.tiers.raw_floor()))
    }

    /// A series' windows in the days that a coarser tier shows, in time order: from rollups, and rolled up from what raw
    /// there is where no rollup is.
    pub(super) fn read_windows(
        &self,
        kind: SeriesKind,
        places: &[Place],
        budget: &Budget,
        missing: &mut Vec<Missing>,
    ) -> Result<Vec<Rollup>, SourceError> {
        let range = self.windows_needed();
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
}

/// Appends a window of which only this is left: whole where the query takes it so, else thinned.
pub(super) fn push_window(
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
