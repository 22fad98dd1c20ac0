//! Batches: what one makes visible where it is counted, and which of its records must be refused.

use std::collections::BTreeSet;

use annals::signals::{Admitter, Deriver, NameTable, PseudonymKey, builtin};
use annals::{
    BatchId, LabelSet, Plan, SampleBatch, SeriesKind, SignalBatch, SignalRow, Tenant, Ticket, Timestamp,
    WriteError,
};

use super::plans::Plans;

/// What a host hands in.
#[derive(Debug, Clone)]
pub enum Content {
    /// Samples.
    Samples(SampleBatch),
    /// Signals.
    Signals(SignalBatch),
}

impl Content {
    /// Hands it in.
    pub fn write(&self, tenant: &Tenant) -> Result<Ticket, WriteError> {
        match self {
            Content::Samples(batch) => tenant.write_samples(batch),
            Content::Signals(batch) => tenant.write_signals(batch),
        }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> BatchId {
        match self {
            Content::Samples(batch) => batch.id,
            Content::Signals(batch) => batch.id,
        }
    }

    /// How many records it has.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Content::Samples(batch) => batch.samples.len() + batch.histograms.len(),
            Content::Signals(batch) => batch.signals.len(),
        }
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One value of one series and instant.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cell {
    pub(super) labels: LabelSet,
    pub(super) kind: SeriesKind,
    pub(super) time: i64,
    pub(super) value: f64,
}

/// What a batch adds where it is counted.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Effects {
    /// In the batch's order.
    pub(super) cells: Vec<Cell>,
    pub(super) rows: Vec<SignalRow>,
    /// The records that are refused.
    pub(super) refused: Vec<usize>,
}

/// The bounds of time at one moment: stamps up to some threshold are refused. Where the clock has gone back, the
/// threshold lies anywhere between what the plan says now and what it said at the latest time: it depends on whether a
/// flush has sealed days in between.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    future: i64,
    least: i64,
    most: i64,
}

impl Bounds {
    /// What a tenant's plans say.
    pub(super) fn new(plans: &Plans, now: Timestamp, latest: Timestamp) -> Bounds {
        let (least, most) = plans.admission_floors(now, latest);
        Bounds { future: now.0.saturating_add(plans.plan.limits.future_max_ms), least, most }
    }

    /// No bounds.
    pub(super) fn none() -> Bounds {
        Bounds { future: i64::MAX, least: i64::MIN, most: i64::MIN }
    }

    /// The thresholds that differ for a batch, the least first.
    pub(super) fn thresholds(&self, content: &Content) -> Vec<i64> {
        let mut thresholds = vec![self.least];
        if self.least < self.most {
            let stamps: Vec<i64> = match content {
                Content::Samples(batch) => {
                    let histograms = batch.histograms.iter().map(|(_, time, _)| time.0);
                    batch.samples.iter().map(|(_, time, _)| time.0).chain(histograms).collect()
                }
                Content::Signals(batch) => batch.signals.iter().map(|signal| signal.time.0).collect(),
            };
            thresholds.extend(stamps.into_iter().filter(|&t| t > self.least && t <= self.most));
            thresholds.sort_unstable();
            thresholds.dedup();
        }
        thresholds
    }

    fn admits(&self, time: i64, threshold: i64) -> bool {
        time <= self.future && time > threshold
    }
}

/// Works out what batches add. Derivation of single signals is the product's own; that cells of many signals, batches,
/// heads and blocks add up is not.
pub(super) struct Works {
    schema: annals::schema::SignalSchema,
    key: PseudonymKey,
    names: NameTable,
    deriver: Deriver,
}

impl std::fmt::Debug for Works {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Works")
    }
}

impl Default for Works {
    fn default() -> Works {
        let schema = builtin();
        let deriver = Deriver::new(&schema);
        Works { schema, key: PseudonymKey::new(&[7; 32]), names: NameTable::new(), deriver }
    }
}

impl Works {
    /// What a batch adds within bounds of time, where signals of some kinds are refused.
    pub(super) fn effects(
        &mut self,
        plan: &Plan,
        kinds_off: &BTreeSet<String>,
        content: &Content,
        bounds: &Bounds,
        threshold: i64,
    ) -> Effects {
        let mut effects = Effects::default();
        match content {
            Content::Samples(batch) => {
                for (at, &(series, time, value)) in batch.samples.iter().enumerate() {
                    match batch.series.get(series as usize) {
                        Some((labels, kind))
                            if bounds.admits(time.0, threshold)
                                && plan.rights.open_metrics
                                && takes(*kind, value) =>
                        {
                            let labels = labels.clone();
                            effects.cells.push(Cell { labels, kind: *kind, time: time.0, value });
                        }
                        _ => effects.refused.push(at),
                    }
                }
                for (at, (series, time, histogram)) in (batch.samples.len()..).zip(&batch.histograms) {
                    match batch.series.get(*series as usize) {
                        Some((labels, kind))
                            if bounds.admits(time.0, threshold)
                                && plan.rights.open_metrics
                                && kind.is_histogram()
                                && histogram.sum.is_finite() =>
                        {
                            let (labels, value) = (labels.clone(), histogram.count);
                            effects.cells.push(Cell { labels, kind: *kind, time: time.0, value });
                        }
                        _ => effects.refused.push(at),
                    }
                }
            }
            Content::Signals(batch) => {
                let mut admitter = Admitter::new(&self.schema, &self.key, &self.names, &batch.site);
                for (at, signal) in batch.signals.iter().enumerate() {
                    match admitter.admit(signal) {
                        Ok(row)
                            if bounds.admits(signal.time.0, threshold)
                                && !kinds_off.contains(&*signal.kind) =>
                        {
                            effects.rows.push(row);
                        }
                        _ => effects.refused.push(at),
                    }
                }
                for row in &effects.rows {
                    // One by one: what a batch of many adds up to is then added up here.
                    let cells = self.deriver.derive(&batch.site, std::slice::from_ref(row));
                    effects.cells.extend(cells.into_iter().map(|cell| Cell {
                        labels: cell.labels,
                        kind: SeriesKind::Delta,
                        time: cell.time.0,
                        value: cell.value,
                    }));
                }
            }
        }
        effects
    }
}

/// Whether a series takes a number.
fn takes(kind: SeriesKind, value: f64) -> bool {
    match kind {
        SeriesKind::Gauge | SeriesKind::Counter => true,
        SeriesKind::Delta => value.is_finite(),
        // The marker of its end.
        SeriesKind::Histogram => annals::is_stale(value),
        SeriesKind::DeltaHistogram => false,
    }
}
