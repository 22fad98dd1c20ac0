//! What a store shows of a tenant, all of it, and how that compares with what it must show.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use annals::{
    Aggregate, Budget, LabelSet, Missing, Piece, Pieces, QueryLimits, Resolution, Samples, SelectedSeries,
    SeriesKind, SeriesSource, SignalRow, TenantReader, TimeRange, Timestamp, Whole, is_stale,
};

use super::Violation;
use super::held::{Held, Names, Place};
use super::histograms::as_numbers;
use super::starts::start_of;
use super::thinned::{Zones, any_within};

/// How many differences a violation names.
const DIFFERENCES_MAX: usize = 6;

/// Everything that a reader shows at one moment.
#[derive(Debug, Default)]
pub struct Shown {
    /// Samples up to this stamp are hidden.
    pub expired_through: Option<Timestamp>,
    /// Stamps that are shown in windows.
    pub coarser: Vec<(TimeRange, Resolution)>,
    /// What whole windows of those came to: series by their position, windows.
    pub wholes: Vec<(usize, Aggregate)>,
    /// Each series with its samples, in label order.
    pub series: Vec<(LabelSet, Samples)>,
    /// What whole blocks or log records of metrics are missing.
    pub missing: Vec<Missing>,
    /// Raw signals in the order in which they were handed out.
    pub rows: Vec<SignalRow>,
    /// What raw signals are missing.
    pub rows_missing: Vec<Missing>,
    /// Why nothing more could be read.
    pub failed: Option<String>,
}

impl Shown {
    /// Reads everything there is.
    pub fn read(reader: &TenantReader) -> Result<Shown, Violation> {
        let budget = Budget::new(QueryLimits::default());
        let mut shown = match reader.select(&[], TimeRange::ALL, &budget) {
            Ok(selected) => Shown::of(&*selected)?,
            Err(error) => Shown { failed: Some(error.to_string()), ..Shown::default() },
        };
        shown.rows_missing =
            reader.scan_signals(TimeRange::ALL, &[], &mut |row| shown.rows.push(row.clone()));
        Ok(shown)
    }

    /// Reads a selection to its end, without raw signals.
    pub fn of(selected: &dyn SelectedSeries) -> Result<Shown, Violation> {
        let budget = Budget::new(QueryLimits::default());
        let mut shown = Shown {
            expired_through: selected.coverage().expired_through,
            coarser: selected.coverage().coarser.clone(),
            missing: selected.coverage().missing.clone(),
            ..Shown::default()
        };
        // Reused, so that a series may take over the timestamps of the one before.
        let mut samples = Samples::default();
        for index in 0..selected.len() {
            if let Err(error) = selected.read(index, &budget, &mut samples) {
                shown.failed = Some(error.to_string());
                break;
            }
            as_numbers(&mut samples);
            let labels = selected.labels(index);
            if samples.timestamps.len() != samples.values.len()
                || !samples.timestamps.is_sorted_by(|a, b| a < b)
            {
                return Err(Violation::new("I5", format!("{labels}: its stamps do not ascend")));
            }
            starts_are_due(&shown.coarser, selected.kind(index), &samples)
                .map_err(|what| Violation::new("I5", format!("{labels}: {what}")))?;
            let raw_floor = shown.raw_floor().map_or(i64::MIN, |floor| floor.0);
            let wholes = agrees_in_pieces(selected, index, &samples, raw_floor, &budget)
                .map_err(|what| Violation::new("I5", format!("{labels} in pieces: {what}")))?;
            shown.wholes.extend(wholes.into_iter().map(|all| (index, all)));
            shown.series.push((labels, samples.clone()));
        }
        if !shown.series.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(Violation::new("I5", "series do not come in label order, each once"));
        }
        Ok(shown)
    }

    /// Samples up to this are not shown as they are.
    #[must_use]
    pub fn raw_floor(&self) -> Option<Timestamp> {
        self.coarser.last().map(|(range, _)| range.end).or(self.expired_through)
    }

    /// Whether anything is said to be missing.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        self.failed.is_some()
            || !self.missing.is_empty()
            || !self.rows_missing.is_empty()
            || self.series.iter().any(|(_, samples)| !samples.missing.is_empty())
    }

    /// Whether a later reading of the same selection shows the same, but for what it says is missing.
    pub fn same_or_less(&self, later: &Shown) -> Result<(), String> {
        for (labels, samples) in &self.series {
            let Ok(at) = later.series.binary_search_by(|(other, _)| other.cmp(labels)) else {
                return Err(format!("{labels} is gone"));
            };
            let other = &later.series[at].1;
            let bits = |samples: &Samples| -> Vec<(i64, u64)> {
                let values = samples.values.iter().map(|value| value.to_bits());
                let stamps = samples.timestamps.iter().copied();
                let zones = Zones::of(&self.coarser);
                let named = |time| overlaps_missing(&other.missing, zones.around(time));
                stamps.zip(values).filter(|&(time, _)| !named(time)).collect()
            };
            if bits(samples) != bits(other) {
                return Err(format!(
                    "{labels} shows {} samples, {} before",
                    other.values.len(),
                    samples.values.len()
                ));
            }
        }
        Ok(())
    }

    /// Whether a cell is shown; `None` where it is among what is missing.
    pub(super) fn has_cell(&self, names: &Names, (number, time): Place) -> Option<bool> {
        let labels = names.labels(number);
        if self.failed.is_some() || is_missing(&self.missing, time) {
            return None;
        }
        match self.series.binary_search_by(|(other, _)| other.cmp(labels)) {
            Ok(at) if is_missing(&self.series[at].1.missing, time) => None,
            Ok(at) => Some(self.series[at].1.timestamps.binary_search(&time).is_ok()),
            Err(_) => Some(false),
        }
    }

    /// Whether a raw signal of that stamp is shown; `None` where it is among what is missing.
    pub(super) fn has_row(&self, time: i64) -> Option<bool> {
        let missing = self.failed.is_some() || is_missing(&self.rows_missing, time);
        (!missing).then(|| self.rows.binary_search_by(|row| row.time.0.cmp(&time)).is_ok())
    }

    /// Compares with what must be shown after a floor of metrics and one of signals. Cells and rows in ranges that the
    /// answer says are missing are not compared.
    pub(super) fn compare(
        &self,
        names: &Names,
        held: &Held,
        metrics_floor: i64,
        signals_floor: i64,
    ) -> Result<(), Violation> {
        let mut differences = Differences::default();
        let mut seen = 0;
        let zones = Zones::of(&self.coarser);
        let mut wholes =
            self.wholes.chunk_by(|a, b| a.0 == b.0).filter_map(|of| Some((of.first()?.0, of))).peekable();
        for (position, (labels, samples)) in self.series.iter().enumerate() {
            let Some(number) = names.find(labels) else {
                if !samples.timestamps.is_empty() {
                    differences.add("I3", || format!("{labels} was never written"));
                }
                continue;
            };
            let empty = Default::default();
            let cells = held.series.get(number as usize).unwrap_or(&empty);
            let due = expected_of(&zones, names.kind(number), cells);
            let mut expected = due.range(metrics_floor.saturating_add(1)..).peekable();
            seen += usize::from(expected.peek().is_some());
            let ignored = |time: i64| {
                let around = zones.around(time);
                any_within(&held.loose, number, around)
                    || overlaps_missing(&self.missing, around)
                    || overlaps_missing(&samples.missing, around)
            };
            for (_, all) in wholes.next_if(|of| of.0 == position).into_iter().flat_map(|of| of.1) {
                if !ignored(all.last_time)
                    && let Err(what) = zones.check_whole(labels, names.kind(number), cells, all)
                {
                    differences.add("P5", || what);
                }
            }
            for (&time, value) in samples.timestamps.iter().zip(&samples.values) {
                while let Some((&due, _)) = expected.next_if(|&(&due, _)| due < time) {
                    if !ignored(due) {
                        differences.add("I1", || format!("{labels} at {due} is not shown"));
                    }
                }
                let due = expected.next_if(|&(&due, _)| due == time);
                match due {
                    _ if ignored(time) => {}
                    Some((_, &bits)) if zones.same(names.kind(number), cells, time, *value, bits) => {}
                    Some((_, &bits)) => differences
                        .add("I1", || format!("{labels} at {time} is {:x}, not {bits:x}", value.to_bits())),
                    None if time <= metrics_floor => {
                        differences.add("I9", || format!("{labels} at {time} has expired and is shown"));
                    }
                    None => {
                        differences.add("I2", || format!("{labels} at {time} is shown and was not written"));
                    }
                }
            }
            for (&due, _) in expected {
                if !ignored(due) {
                    differences.add("I1", || format!("{labels} at {due} is not shown"));
                }
            }
        }
        self.compare_absent(names, held, &zones, metrics_floor, seen, &mut differences);
        self.compare_rows(held, signals_floor, &mut differences);
        differences.finish()
    }

    /// Series that must be shown and are not at all.
    fn compare_absent(
        &self,
        names: &Names,
        held: &Held,
        zones: &Zones,
        metrics_floor: i64,
        seen: usize,
        differences: &mut Differences,
    ) {
        let shown = |number: u32, cells| expected_of(zones, names.kind(number), cells);
        let visible = |(number, cells): (u32, _)| {
            shown(number, cells).last_key_value().is_some_and(|(&last, _)| last > metrics_floor)
        };
        if (0..).zip(&held.series).filter(|of| visible(*of)).count() == seen {
            return;
        }
        for (number, cells) in (0..).zip(&held.series) {
            let cells = shown(number, cells);
            let labels = names.labels(number);
            if self.series.binary_search_by(|(other, _)| other.cmp(labels)).is_ok() {
                continue;
            }
            let due = cells.range(metrics_floor.saturating_add(1)..).map(|(&time, _)| time);
            let due = due
                .filter(|&time| {
                    let around = zones.around(time);
                    !any_within(&held.loose, number, around) && !overlaps_missing(&self.missing, around)
                })
                .collect::<Vec<_>>();
            if let Some(first) = due.first() {
                differences.add("I1", || format!("{labels}: none of {} samples from {first} on", due.len()));
            }
        }
    }

    fn compare_rows(&self, held: &Held, signals_floor: i64, differences: &mut Differences) {
        if !self.rows.is_sorted_by_key(|row| row.time) {
            differences.add("I5", || "raw signals do not come by time".to_owned());
            return;
        }
        let mut found = self.rows.chunk_by(|a, b| a.time == b.time).peekable();
        for (&time, rows) in held.rows.range(signals_floor.saturating_add(1)..) {
            while let Some(other) = found.next_if(|other| other[0].time.0 < time) {
                self.unexpected_row(held, other, signals_floor, differences);
            }
            let shown = found.next_if(|other| other[0].time.0 == time).unwrap_or_default();
            if is_missing(&self.rows_missing, time)
                || held.loose_rows.contains(&time)
                || shown == rows.as_slice()
            {
                continue;
            }
            let sorted = |rows: &[SignalRow]| {
                let mut texts: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
                texts.sort_unstable();
                texts
            };
            if sorted(shown) != sorted(rows) {
                let invariant = if shown.len() > rows.len() { "I2" } else { "I1" };
                differences.add(invariant, || {
                    format!("signals at {time}: {} shown, {} written", shown.len(), rows.len())
                });
            }
        }
        for other in found {
            self.unexpected_row(held, other, signals_floor, differences);
        }
    }

    fn unexpected_row(
        &self,
        held: &Held,
        rows: &[SignalRow],
        signals_floor: i64,
        differences: &mut Differences,
    ) {
        let time = rows[0].time.0;
        if !is_missing(&self.rows_missing, time) && !held.loose_rows.contains(&time) {
            let (invariant, why) = if time <= signals_floor {
                ("I9", "have expired and are shown")
            } else {
                ("I2", "are shown and were not written")
            };
            differences.add(invariant, || format!("{} signals at {time} {why}", rows.len()));
        }
    }
}

fn is_missing(missing: &[Missing], time: i64) -> bool {
    missing.iter().any(|missing| missing.range.contains(Timestamp(time)))
}

fn overlaps_missing(missing: &[Missing], range: TimeRange) -> bool {
    missing.iter().any(|missing| missing.range.overlaps(range))
}

/// What is to be shown of a series' cells.
fn expected_of<'a>(
    zones: &Zones,
    kind: SeriesKind,
    cells: &'a BTreeMap<i64, u64>,
) -> Cow<'a, BTreeMap<i64, u64>> {
    if zones.is_empty() { Cow::Borrowed(cells) } else { Cow::Owned(zones.thin(kind, cells)) }
}

/// The first differences, and how many there are.
#[derive(Default)]
struct Differences {
    invariant: Option<&'static str>,
    texts: Vec<String>,
    count: usize,
}

impl Differences {
    fn add(&mut self, invariant: &'static str, text: impl FnOnce() -> String) {
        self.invariant.get_or_insert(invariant);
        self.count += 1;
        if self.texts.len() < DIFFERENCES_MAX {
            self.texts.push(text());
        }
    }

    fn finish(self) -> Result<(), Violation> {
        match self.invariant {
            None => Ok(()),
            Some(invariant) => {
                let more = self.count - self.texts.len();
                let more = if more > 0 { format!("; and {more} more") } else { String::new() };
                Err(Violation::new(invariant, self.texts.join("; ") + &more))
            }
        }
    }
}

/// Whether a series that is read in pieces, every chunk whole that may be, comes to the same as its samples. Where either
/// says that something is missing, the disk failed in between.
fn agrees_in_pieces(
    selected: &dyn SelectedSeries,
    index: usize,
    samples: &Samples,
    raw_floor: i64,
    budget: &Budget,
) -> Result<Vec<Aggregate>, String> {
    let mut pieces = Pieces::default();
    let mut wholes = Vec::new();
    let read = selected.read_pieces(index, Whole::of(&|_| true), budget, &mut pieces);
    as_numbers(&mut pieces.samples);
    if read.is_err() || !samples.missing.is_empty() || !pieces.samples.missing.is_empty() {
        return Ok(wholes);
    }
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let mut next = samples.timestamps.partition_point(|&time| time <= raw_floor);
    for piece in &pieces.pieces {
        let first = next;
        next = match piece {
            // Of windows that stand for samples only whether each is right is looked at, with every cell at hand.
            Piece::Whole(all) if all.last_time <= raw_floor => {
                wholes.push(*all);
                continue;
            }
            Piece::Samples(positions) => {
                let of_windows = pieces.samples.timestamps.partition_point(|&time| time <= raw_floor);
                first + positions.end.saturating_sub(positions.start.max(of_windows))
            }
            Piece::Whole(all) => samples.timestamps.partition_point(|&time| time <= all.last_time).max(first),
        };
        let theirs = samples.timestamps.get(first..next).zip(samples.values.get(first..next));
        let (stamps, values) = theirs.ok_or("more samples than there are")?;
        let same = match piece {
            Piece::Samples(positions) => {
                let positions = positions.end - stamps.len()..positions.end;
                pieces.samples.timestamps.get(positions.clone()) == Some(stamps)
                    && pieces.samples.values.get(positions.clone()).map(bits) == Some(bits(values))
                    && starts_of(&pieces.samples, positions) == starts_of(samples, first..next)
            }
            Piece::Whole(all) => {
                // Markers of an end are no samples of a window.
                let starts = starts_of(samples, first..next);
                let kept = || (0..values.len()).filter(|&at| !is_stale(values[at]));
                let stamps: Vec<i64> = kept().map(|at| stamps[at]).collect();
                let starts: Vec<i64> = kept().map(|at| starts[at]).collect();
                let values: Vec<f64> = kept().map(|at| values[at]).collect();
                Aggregate::of(selected.kind(index), &stamps, &values, &starts).as_ref() == Some(all)
            }
        };
        if !same {
            return Err(format!("from sample {first} on, {piece:?}"));
        }
    }
    if next == samples.timestamps.len() {
        Ok(wholes)
    } else {
        Err(format!("{next} of {} samples", samples.timestamps.len()))
    }
}

/// Whether each sample has the start that was written with it.
fn starts_are_due(
    coarser: &[(TimeRange, Resolution)],
    kind: SeriesKind,
    samples: &Samples,
) -> Result<(), String> {
    let zones = Zones::of(coarser);
    let starts = starts_of(samples, 0..samples.values.len());
    for ((&time, &value), start) in samples.timestamps.iter().zip(&samples.values).zip(starts) {
        // The last of a window says nothing where it would look like a restart that there was not.
        let may_be_unknown = zones.window(time).is_some() && start == 0;
        if start != start_of(kind, time, value) && !may_be_unknown {
            return Err(format!("the start of {value} at {time} is {start}"));
        }
    }
    Ok(())
}

/// The starts of samples by their positions; 0 where a sample does not know its own.
fn starts_of(samples: &Samples, positions: Range<usize>) -> Vec<i64> {
    positions.map(|at| samples.start_times.get(at).copied().unwrap_or(0)).collect()
}
