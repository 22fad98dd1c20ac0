//! `load` and `load_with_nhcb`: series into memory, as a store would give them back.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals_model::{
    CUSTOM_BUCKETS_SCHEMA, Histogram, LabelSet, METRIC_NAME, ResetHint, STALE_NAN_BITS, SeriesKind,
};

use super::ScriptError;
use super::notation::{Cell, cells, series_line, start_cells};
use crate::promql::testing::{MemorySample, MemorySource};

/// What a script has loaded.
#[derive(Debug, Default)]
pub(super) struct Store {
    pub(super) source: MemorySource,
    /// Start times that were loaded for series, by time.
    starts: BTreeMap<String, BTreeMap<i64, i64>>,
}

/// A classic histogram that becomes a native one.
#[derive(Default)]
struct Classic {
    at: BTreeMap<i64, Cumulative>,
}

/// A classic histogram at one time.
#[derive(Default)]
struct Cumulative {
    /// Upper bounds, and how many observations lie at or below each.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

impl Store {
    pub(super) fn load(
        &mut self,
        lines: &[(usize, &str)],
        step: i64,
        twins: bool,
    ) -> Result<(), ScriptError> {
        let mut classics: BTreeMap<String, (LabelSet, Classic)> = BTreeMap::new();
        for &(number, line) in lines {
            let wrong = |message: String| ScriptError { line: number, message };
            let (labels, rest) = series_line(line).map_err(wrong)?;
            let time = |index: usize| i64::try_from(index).ok().and_then(|index| index.checked_mul(step));
            if let Some(rest) = rest.trim_start().strip_prefix("@st") {
                let starts = self.starts.entry(labels.to_string()).or_default();
                for (index, offset) in start_cells(rest).map_err(wrong)?.into_iter().enumerate() {
                    let (Some(offset), Some(time)) = (offset, time(index)) else { continue };
                    starts.insert(time, time.saturating_add(offset as i64));
                }
                continue;
            }
            let cells = cells(rest).map_err(wrong)?;
            let starts = self.starts.get(&labels.to_string());
            let mut samples = Vec::new();
            for (index, cell) in cells.into_iter().enumerate() {
                let time = time(index).ok_or_else(|| wrong("times reach beyond the last".to_owned()))?;
                let start = starts.and_then(|starts| starts.get(&time)).copied().unwrap_or(0);
                let sample = match cell {
                    Cell::Nothing => continue,
                    Cell::Stale => MemorySample::float(time, f64::from_bits(STALE_NAN_BITS)),
                    Cell::Float(value) => MemorySample::float(time, value),
                    Cell::Histogram(own, _) => MemorySample {
                        histogram: Some(Arc::new(*own)),
                        ..MemorySample::float(time, f64::NAN)
                    },
                };
                samples.push(MemorySample { start, ..sample });
            }
            if twins && let Some((base, part)) = part_of_classic(&labels) {
                let (_, classic) = classics.entry(base.to_string()).or_insert((base, Classic::default()));
                classic.take(&part, &samples);
            }
            self.add(labels, samples);
        }
        for (labels, classic) in classics.into_values() {
            let samples = classic.at.into_iter().filter_map(|(time, parts)| {
                Some(MemorySample {
                    histogram: Some(Arc::new(custom(parts)?)),
                    ..MemorySample::float(time, f64::NAN)
                })
            });
            let samples = samples.collect();
            self.add(labels, samples);
        }
        Ok(())
    }

    fn add(&mut self, labels: LabelSet, mut samples: Vec<MemorySample>) {
        let mut before = self.source.samples(&labels).last().and_then(|sample| sample.histogram.clone());
        for sample in &mut samples {
            if let Some(own) = &mut sample.histogram {
                let hint = stored_hint(own, before.as_deref());
                *own = Arc::new(Histogram { reset_hint: hint, ..Histogram::clone(own) });
            }
            before = sample.histogram.clone();
        }
        let name = labels.metric_name();
        let counter = ["_total", "_count", "_sum", "_bucket"].iter().any(|ending| name.ends_with(ending));
        let kind = if counter { SeriesKind::Counter } else { SeriesKind::Gauge };
        self.source.add_samples(labels, kind, samples);
    }
}

/// What a store knows of resets before a histogram: within one chunk there is none, and a chunk's first does not
/// know. Another layout or a reset begins a new chunk.
fn stored_hint(own: &Histogram, before: Option<&Histogram>) -> ResetHint {
    if own.reset_hint == ResetHint::Gauge {
        return ResetHint::Gauge;
    }
    let Some(before) = before else { return ResetHint::Unknown };
    let one_chunk = before.reset_hint != ResetHint::Gauge
        && own.reset_hint != ResetHint::Reset
        && own.schema == before.schema
        && own.zero_threshold == before.zero_threshold
        && own.custom_bounds == before.custom_bounds
        && !Histogram { reset_hint: ResetHint::Unknown, ..own.clone() }.is_reset_after(before);
    if one_chunk { ResetHint::NotReset } else { ResetHint::Unknown }
}

/// What a series is of a classic histogram.
enum Part {
    Bucket(f64),
    Count,
    Sum,
}

/// The labels of the native histogram that a series becomes part of, and as what.
fn part_of_classic(labels: &LabelSet) -> Option<(LabelSet, Part)> {
    let name = labels.metric_name();
    let (base, part) = if let Some(base) = name.strip_suffix("_bucket") {
        (base, Part::Bucket(labels.get("le").parse().ok()?))
    } else if let Some(base) = name.strip_suffix("_count") {
        (base, Part::Count)
    } else {
        (name.strip_suffix("_sum")?, Part::Sum)
    };
    let others = labels.iter().filter(|(name, _)| *name != METRIC_NAME && *name != "le");
    Some((LabelSet::from_pairs(others.chain([(METRIC_NAME, base)])).ok()?, part))
}

impl Classic {
    fn take(&mut self, part: &Part, samples: &[MemorySample]) {
        for sample in samples.iter().filter(|sample| !annals_model::is_stale(sample.value)) {
            let own = self.at.entry(sample.time).or_default();
            match *part {
                Part::Bucket(bound) => {
                    own.buckets.retain(|(own, _)| *own != bound);
                    own.buckets.push((bound, sample.value));
                }
                Part::Count => own.count = Some(sample.value),
                Part::Sum => own.sum = sample.value,
            }
        }
    }
}

/// The native histogram of cumulative buckets; `None` where their counts fall.
fn custom(Cumulative { mut buckets, count, sum }: Cumulative) -> Option<Histogram> {
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let count = count.or(buckets.last().map(|(_, count)| *count))?;
    if buckets.last().is_none_or(|(bound, _)| *bound != f64::INFINITY) {
        buckets.push((f64::INFINITY, count));
    }
    let mut before = 0.0;
    let mut positive = Vec::with_capacity(buckets.len());
    for (index, (_, cumulative)) in (0i32..).zip(&buckets) {
        if *cumulative < before {
            return None;
        }
        positive.push((index, cumulative - before));
        before = *cumulative;
    }
    buckets.pop();
    let own = Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count,
        sum,
        positive,
        custom_bounds: buckets.into_iter().map(|(bound, _)| bound).collect(),
        ..Histogram::default()
    }
    .compacted();
    own.check().is_ok().then_some(own)
}
