//! A series sample by sample.

use annals_model::{Budget, Missing, Samples, SeriesKind, SourceError, TimeRange, merge_values};
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
                    let Samples { timestamps, values, missing, .. } = into;
                    metrics.read_lossy(ordinal, self.range, timestamps, values, &mut |range, error| {
                        missing.push(Missing { range, why: error.to_string() });
                    });
                }
                Part::Head(head) => {
                    let (timestamps, values) = within(head, self.range);
                    into.timestamps.extend_from_slice(timestamps);
                    into.values.extend_from_slice(values);
                }
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
                metrics.read_values_lossy(ordinal, self.range, &mut into.values, &mut |_, _| {});
            }
        }
    }
}

/// The part of what was copied from a head that lies in a range.
pub(super) fn within(head: &HeadSeries, range: TimeRange) -> (&[i64], &[f64]) {
    let positions = head.timestamps.partition_point(|&time| time <= range.start.0)
        ..head.timestamps.partition_point(|&time| time <= range.end.0);
    let timestamps = head.timestamps.get(positions.clone()).unwrap_or_default();
    (timestamps, head.values.get(positions).unwrap_or_default())
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
