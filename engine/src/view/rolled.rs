//! The days of a series that a coarser tier shows, in windows.

use annals_model::{
    BlockContent, Budget, Missing, Piece, Pieces, Rollup, Samples, SeriesKind, SourceError, TimeRange,
    Timestamp, append_starts, roll_up,
};

use super::samples::{append_within, merge};
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
                    metrics.read_lossy(ordinal, range, &mut samples, &mut |range, error| {
                        missing.push(Missing { range, why: error.to_string() });
                    });
                }
                Part::Head(head) => append_within(head, range, &mut samples),
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
        let mut starts = &samples.start_times[..];
        while let Some(&first) = stamps.first() {
            let day = Timestamp(first).day();
            let count = stamps.partition_point(|&stamp| stamp <= day.end().0);
            let (of_day, later) = stamps.split_at_checked(count).unwrap_or_default();
            let (values_of_day, later_values) = values.split_at_checked(count).unwrap_or_default();
            let (starts_of_day, later_starts) = starts.split_at(count.min(starts.len()));
            (stamps, values, starts) = (later, later_values, later_starts);
            if let Some(window_ms) = self.tiers.of_day(day).and_then(BlockContent::window_ms) {
                roll_up(kind, window_ms, of_day, values_of_day, starts_of_day, &mut windows);
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
    push_thinned(&thinned, kind, range, &mut into.samples);
    into.push_samples_since(first);
}

/// Appends what is left of a window as samples, in a range.
pub(super) fn push_thinned(window: &Rollup, kind: SeriesKind, range: TimeRange, into: &mut Samples) {
    window.thinned(kind, |time, value, start| {
        if range.contains(Timestamp(time)) {
            append_starts(&mut into.start_times, into.values.len(), 1, &[start]);
            into.timestamps.push(time);
            into.values.push(value);
        }
    });
}
