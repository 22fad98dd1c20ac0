//! A series sample by sample.

use std::ops::Range;

use annals_model::{
    Budget, Missing, START_UNKNOWN, Samples, SeriesKind, SourceError, TimeRange, append_starts, merge_values,
    replace_last_start,
};
use annals_vfs::planted::{Bug, planted};

use super::{Part, Place, Selected};
use crate::head::HeadSeries;

impl Selected {
    /// Replaces `into` by what is shown as samples of these places of a series.
    pub(super) fn read_places(
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
                    let mut missing = std::mem::take(&mut into.missing);
                    metrics.read_lossy(ordinal, self.range, into, &mut |range, error| {
                        missing.push(Missing { range, why: error.to_string() });
                    });
                    into.missing = missing;
                }
                Part::Head(head) => append_within(head, self.range, into),
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

    fn read_values(&self, places: &[Place], into: &mut Samples) {
        for part in places.iter().filter_map(|&place| self.part(place)) {
            if let Part::Block(_, metrics, ordinal) = part {
                metrics.read_values_lossy(ordinal, self.range, into, &mut |_, _| {});
            }
        }
    }
}

/// Where what was copied from a head lies in a range.
pub(super) fn within(head: &HeadSeries, range: TimeRange) -> Range<usize> {
    head.timestamps.partition_point(|&time| time <= range.start.0)
        ..head.timestamps.partition_point(|&time| time <= range.end.0)
}

/// Appends the part of what was copied from a head that lies in a range.
pub(super) fn append_within(head: &HeadSeries, range: TimeRange, into: &mut Samples) {
    let at = within(head, range);
    let starts = head.start_times.get(at.clone()).unwrap_or_default();
    append_starts(&mut into.start_times, into.values.len(), at.len(), starts);
    into.timestamps.extend_from_slice(head.timestamps.get(at.clone()).unwrap_or_default());
    into.values.extend_from_slice(head.values.get(at).unwrap_or_default());
}

/// Brings samples that were appended part by part, in log order, into time order, one per stamp: the last one's start stays.
pub(crate) fn merge(kind: SeriesKind, samples: &mut Samples) {
    if samples.timestamps.is_sorted_by(|a, b| a < b) {
        return;
    }
    let starts = std::mem::take(&mut samples.start_times);
    let of_samples = starts.iter().copied().chain(std::iter::repeat(START_UNKNOWN));
    let values = samples.values.iter().copied().zip(of_samples);
    let mut parts: Vec<(i64, (f64, i64))> = samples.timestamps.iter().copied().zip(values).collect();
    // Stable: samples of one stamp stay in log order.
    parts.sort_by_key(|&(time, _)| time);
    samples.timestamps.clear();
    samples.values.clear();
    for (time, (value, start)) in parts {
        let count = samples.values.len();
        match (samples.timestamps.last(), samples.values.last_mut()) {
            (Some(&last), Some(held)) if last == time => {
                *held = merge_values(kind, *held, value);
                replace_last_start(&mut samples.start_times, count, start);
            }
            _ => {
                append_starts(&mut samples.start_times, count, 1, &[start]);
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
        let mut counter = Samples { start_times: vec![7, 7, 7, 9, 9, 0], ..parts() };
        merge(SeriesKind::Counter, &mut counter);
        assert_eq!(counter.start_times, [7, 0, 9, 7], "the start of the write that stays");
        let mut delta = parts();
        merge(SeriesKind::Delta, &mut delta);
        assert_eq!(delta.values, [1.0, 12.0, 5.0, 3.0]);
    }
}
