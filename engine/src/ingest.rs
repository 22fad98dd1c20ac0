//! Admission: from a host's batch to a queued log record, with a verdict per record.

use std::collections::BTreeSet;
use std::sync::Arc;

use annals_model::{
    BatchId, HISTOGRAM_BUCKETS_MAX, Histogram, HistogramSample, LabelSet, Plan, Refusal, RefusalReason,
    ResetHint, START_MAX, START_UNKNOWN, SampleBatch, SeriesKind, SignalBatch, SignalRow, SiteName,
    Timestamp, append_starts, is_stale,
};
use annals_signals::{Admitter, NewNames, encode_rows};
use annals_vfs::sync::atomic::Ordering;

use crate::batch_digest::{digest_refs, digest_samples, digest_signals};
use crate::batches::Seen;
use crate::commit::{NotQueued, PendingBatch};
use crate::counters::IntakeCounts;
use crate::error::WriteError;
use crate::record::{BatchHeader, BatchName, NumberedHistogram, NumberedSample, encode, encode_metrics};
use crate::refs::{RefBatch, SeriesRef};
use crate::remembered::RememberedBatch;
use crate::series_table::{Known, SeriesTable, SharedTable};
use crate::shared::Shared;
use crate::tenant::{Ingest, TenantShared};
use crate::ticket::{Acknowledgement, Ticket, TicketState};

/// How often a batch is encoded again because the log failed in between; then the failure is the answer.
const STALE_RETRIES_MAX: usize = 8;

/// What is asked of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// To be counted.
    Write,
    /// What a write would answer now; nothing is written and nothing remembered.
    Check,
}

/// What time bounds hold at one instant.
struct Admission {
    plan: Plan,
    now: Timestamp,
    /// Stamps up to this have expired.
    expired_through: Timestamp,
    /// Stamps up to this lie in sealed days.
    sealed_through: Timestamp,
    /// Stamps after this lie too far ahead.
    latest: Timestamp,
    /// Signals of these kinds are refused.
    kinds_off: Arc<BTreeSet<Box<str>>>,
}

/// A batch's samples, by the numbers of their series.
pub(crate) struct NumberedSamples {
    pub(crate) table: SharedTable,
    /// What the table takes, in bytes.
    pub(crate) table_bytes: usize,
    /// The first series that this batch defines.
    pub(crate) first: usize,
    /// The kinds of those that it defines.
    pub(crate) kinds: Vec<SeriesKind>,
    pub(crate) samples: Vec<NumberedSample>,
    pub(crate) histograms: Vec<NumberedHistogram>,
    /// Of the samples, then of the histograms; empty where none is known.
    pub(crate) starts: Vec<i64>,
}

/// What admission made of a batch.
#[derive(Default)]
struct Admitted {
    samples: Vec<NumberedSample>,
    histograms: Vec<NumberedHistogram>,
    /// Of the samples, then of the histograms; empty where none is known.
    starts: Vec<i64>,
    rows: Vec<SignalRow>,
    new_names: NewNames,
    /// Metric names whose kind this batch fixes.
    new_kinds: Vec<(Box<str>, SeriesKind)>,
    refused: Vec<(usize, Refusal)>,
}

impl Admission {
    fn new(tenant: &TenantShared, now: Timestamp) -> Admission {
        let data = tenant.data.read();
        let plan = data.manifest.plan.clone();
        Admission {
            now,
            expired_through: data.manifest.floor(annals_model::BlockContent::RawMetrics, now),
            sealed_through: data.manifest.sealed.max(plan.late_floor(now)),
            latest: now.saturating_add(plan.limits.future_max_ms),
            kinds_off: data.manifest.kinds_off.clone(),
            plan,
        }
    }

    fn check_kind(&self, kind: &str) -> Result<(), RefusalReason> {
        if self.kinds_off.contains(kind) { Err(RefusalReason::KindOff) } else { Ok(()) }
    }

    fn check_time(&self, time: Timestamp) -> Result<(), RefusalReason> {
        if time > self.latest {
            Err(RefusalReason::Future)
        } else if time <= self.expired_through {
            Err(RefusalReason::Expired)
        } else if time <= self.sealed_through {
            Err(RefusalReason::Late)
        } else {
            Ok(())
        }
    }
}

/// Admits and queues a batch of samples.
pub(crate) fn write_samples(
    shared: &Arc<Shared>,
    tenant: &Arc<TenantShared>,
    batch: &SampleBatch,
    asked: Asked,
) -> Result<Ticket, WriteError> {
    let digest = digest(tenant, batch.id, |feed| digest_samples(batch, feed));
    let site = &batch.site;
    let records = batch.samples.len() + batch.histograms.len();
    write(shared, tenant, asked, site, batch.id, digest, records, |ingest, admission| {
        let series = BatchSeries::ByLabels(&batch.series);
        let samples = Given { samples: &batch.samples, starts: &batch.sample_starts };
        let histograms = Given { samples: &batch.histograms, starts: &batch.histogram_starts };
        Ok(admit_samples(shared, tenant, ingest, admission, &series, samples, histograms))
    })
    .inspect_err(|error| count(shared, tenant, |counts| counts.failed(error)))
}

/// Admits and queues a batch of samples of series that the host has references to.
pub(crate) fn write_refs(
    shared: &Arc<Shared>,
    tenant: &Arc<TenantShared>,
    batch: &RefBatch<'_>,
) -> Result<Ticket, WriteError> {
    let digest = digest(tenant, batch.id, |feed| digest_refs(batch, feed));
    let site = &batch.site;
    write(shared, tenant, Asked::Write, site, batch.id, digest, batch.samples.len(), |ingest, admission| {
        let series = BatchSeries::ByReference(batch.series);
        let samples = Given { samples: batch.samples, starts: &[] };
        let histograms = Given { samples: &[], starts: &[] };
        Ok(admit_samples(shared, tenant, ingest, admission, &series, samples, histograms))
    })
    .inspect_err(|error| count(shared, tenant, |counts| counts.failed(error)))
}

/// Admits and queues a batch of signals.
pub(crate) fn write_signals(
    shared: &Arc<Shared>,
    tenant: &Arc<TenantShared>,
    batch: &SignalBatch,
    asked: Asked,
) -> Result<Ticket, WriteError> {
    let digest = digest(tenant, batch.id, |feed| digest_signals(&batch.signals, feed));
    let site = &batch.site;
    write(shared, tenant, asked, site, batch.id, digest, batch.signals.len(), |ingest, admission| {
        admit_signals(shared, tenant, ingest, admission, batch)
    })
    .inspect_err(|error| count(shared, tenant, |counts| counts.failed(error)))
}

/// What content is known by; a batch without an id is not known again.
fn digest(tenant: &TenantShared, id: BatchId, of: impl FnOnce(&mut dyn FnMut(&[u8]))) -> [u8; 16] {
    if id == BatchId::NONE { [0; 16] } else { tenant.keys.digest(of) }
}

/// Counts for the store and for the tenant.
fn count(shared: &Shared, tenant: &TenantShared, add: impl Fn(&IntakeCounts)) {
    add(&shared.counters.intake);
    add(&tenant.intake);
}

#[expect(clippy::too_many_arguments, reason = "a batch of any kind, by its parts")]
fn write(
    shared: &Arc<Shared>,
    tenant: &Arc<TenantShared>,
    asked: Asked,
    site: &SiteName,
    id: BatchId,
    digest: [u8; 16],
    records: usize,
    admit: impl Fn(&mut Ingest, &Admission) -> Result<Admitted, WriteError>,
) -> Result<Ticket, WriteError> {
    shared.check_writable()?;
    let limit = tenant.data.read().manifest.plan.limits.batch_records_max;
    if records > limit {
        return Err(WriteError::BatchTooLarge { records, limit });
    }
    shared.wait_for_room(tenant)?;
    let acknowledgement = Acknowledgement {
        durability: shared.options.durability,
        lsn: None,
        duplicate: false,
        records,
        refused: Vec::new(),
    };
    for _ in 0..STALE_RETRIES_MAX {
        let mut ingest = tenant.ingest.lock();
        if tenant.is_erased() {
            return Err(WriteError::Erased);
        }
        if let Some(due) = tenant.data.read().manifest.life.cancelled() {
            return Err(WriteError::Cancelled { due });
        }
        // Not before the waits above: by an older clock, a batch could be taken whose id was just forgotten.
        let admission = Admission::new(tenant, shared.now());
        match tenant.batches.lock().check(site, id, &digest) {
            Seen::New => {}
            Seen::Conflict => return Err(WriteError::Conflict { id }),
            Seen::InFlight(first) => {
                count(shared, tenant, IntakeCounts::duplicate);
                return Ok(Ticket::retry_of(first, records, shared.drive()));
            }
            Seen::Duplicate => {
                if asked == Asked::Write {
                    count(shared, tenant, IntakeCounts::duplicate);
                }
                return Ok(Ticket::resolved(Acknowledgement { duplicate: true, ..acknowledgement }));
            }
        }
        let generation = shared.commits.generation();
        if ingest.generation != generation {
            ingest.begin_epoch(generation);
        }
        let before = ingest.table.read().mark();
        let admitted = admit(&mut ingest, &admission).inspect_err(|_| ingest.table.write().truncate(before));
        let Admitted { samples, histograms, starts, rows, new_names, new_kinds, refused } = admitted?;
        let nothing = samples.is_empty() && histograms.is_empty() && rows.is_empty();
        if nothing || asked == Asked::Check {
            // Nothing to count, so nothing to remember: a retry is refused for the same reasons.
            ingest.table.write().truncate(before);
            if asked == Asked::Write {
                count(shared, tenant, |counts| counts.refused(&refused));
            }
            return Ok(Ticket::resolved(Acknowledgement { refused, ..acknowledgement }));
        }
        let batch = RememberedBatch { site: site.clone(), id, digest, written: admission.now };
        let header = BatchHeader {
            tenant: tenant.number,
            epoch: ingest.epoch,
            manifest: tenant.generation.load(Ordering::Relaxed),
            written: batch.written,
        };
        let name = BatchName { site: batch.site.clone(), id, digest };
        let mut signals = Vec::new();
        if !rows.is_empty() {
            encode_rows(&shared.options.schema, &rows, &mut signals);
        }
        let (encoded, metrics) = {
            let (table, first) = (ingest.table.read(), before.series);
            let encoded = encode_metrics(&table, first, &samples, &histograms, &starts);
            let kinds = (first..table.len()).filter_map(|number| table.kind(number as u32)).collect();
            let (table_bytes, table) = (table.bytes(), ingest.table.clone());
            (encoded, NumberedSamples { table, table_bytes, first, kinds, samples, histograms, starts })
        };
        let counter = shared.log_counter.fetch_add(1, Ordering::Relaxed);
        let payload = encode(&header, &name, &encoded, signals, &ingest.records, counter);
        let ticket = TicketState::pending();
        let pending = PendingBatch {
            tenant: tenant.clone(),
            batch,
            epoch: ingest.epoch,
            metrics,
            rows,
            bytes: payload.len(),
            acknowledgement: Acknowledgement { refused, ..acknowledgement.clone() },
            ticket: ticket.clone(),
        };
        // In flight before it is queued: the commit may be done with it before this thread runs again.
        tenant.batches.lock().start(site.clone(), id, digest, ticket.clone());
        match shared.commits.enqueue(generation, payload, pending) {
            Ok(_) => {
                ingest.names.add(new_names);
                ingest.kinds.extend(new_kinds);
                return Ok(Ticket::new(ticket, shared.drive()));
            }
            Err(reason) => {
                ingest.table.write().truncate(before);
                tenant.batches.lock().forget(site, id);
                match reason {
                    NotQueued::Stale => {}
                    NotQueued::Refused(error) => return Err(error),
                }
            }
        }
    }
    Err(WriteError::Failed("the log fails again and again".to_owned()))
}

/// The series that a batch's samples refer to by index.
enum BatchSeries<'a> {
    ByLabels(&'a [(LabelSet, SeriesKind)]),
    ByReference(&'a [SeriesRef]),
}

impl BatchSeries<'_> {
    fn get(&self, index: usize) -> Option<(&LabelSet, SeriesKind)> {
        match self {
            BatchSeries::ByLabels(series) => series.get(index).map(|(labels, kind)| (labels, *kind)),
            BatchSeries::ByReference(series) => {
                series.get(index).map(|series| (series.labels(), series.kind()))
            }
        }
    }

    /// What is known of each series before any sample is looked at.
    fn states(&self, tenant: &TenantShared, table: &SeriesTable) -> Vec<SeriesState> {
        let state = |known: Option<Known>, kind: SeriesKind| match known {
            // Admitted with these labels and this kind since the table was begun.
            Some(known) if known.kind == kind && !known.derived => SeriesState::Number(known.number, kind),
            _ => SeriesState::Unseen,
        };
        match self {
            BatchSeries::ByLabels(series) => {
                series.iter().map(|(labels, kind)| state(table.find(labels), *kind)).collect()
            }
            BatchSeries::ByReference(series) => series
                .iter()
                .map(|series| {
                    if series.is_of(tenant) {
                        state(series.find(table), series.kind())
                    } else {
                        SeriesState::Refused(RefusalReason::UnknownSeries)
                    }
                })
                .collect(),
        }
    }

    /// Lets references remember their numbers.
    fn remember(&self, table: &SeriesTable, states: &[SeriesState]) {
        let BatchSeries::ByReference(series) = self else { return };
        for (series, state) in series.iter().zip(states) {
            if let SeriesState::Number(number, _) = state {
                series.remember(table.id(), *number);
            }
        }
    }
}

/// A batch's samples of one sort.
struct Given<'a, T> {
    samples: &'a [(u32, Timestamp, T)],
    /// As far as they go.
    starts: &'a [i64],
}

impl<T> Given<'_, T> {
    fn start(&self, index: usize) -> i64 {
        self.starts.get(index).copied().unwrap_or(START_UNKNOWN)
    }
}

/// What became of a batch's series.
#[derive(Clone, Copy)]
enum SeriesState {
    /// To be decided when its first sample is looked at.
    Unseen,
    Number(u32, SeriesKind),
    Refused(RefusalReason),
}

fn admit_samples(
    shared: &Shared,
    tenant: &TenantShared,
    ingest: &mut Ingest,
    admission: &Admission,
    series: &BatchSeries<'_>,
    samples: Given<'_, f64>,
    histograms: Given<'_, Histogram>,
) -> Admitted {
    let table = ingest.table.clone();
    let mut states = series.states(tenant, &table.read());
    if !admission.plan.rights.open_metrics {
        states.fill(SeriesState::Refused(RefusalReason::NotEntitled));
    }
    let mut admitted = Admitted { samples: Vec::with_capacity(samples.samples.len()), ..Admitted::default() };
    // Of those admitted.
    let (mut sample_starts, mut histogram_starts) = (Vec::new(), Vec::new());
    let mut new_kinds = Vec::new();
    // Taken for the first new series only: queries look at the table too.
    let mut writing = None;
    let mut number_of =
        |series_index: u32, time: Timestamp| {
            let state = states.get_mut(series_index as usize).ok_or(RefusalReason::UnknownSeries)?;
            admission.check_time(time)?;
            if let (SeriesState::Unseen, Some((labels, kind))) = (*state, series.get(series_index as usize)) {
                let table = writing.get_or_insert_with(|| table.write());
                let number = admit_series(shared, ingest, labels.metric_name(), kind, &mut new_kinds)
                    .and_then(|()| match table.find(labels) {
                        Some(known) => Ok(known.number),
                        None if table.len() >= admission.plan.limits.series_max => {
                            Err(RefusalReason::SeriesLimit)
                        }
                        None => table.number(labels, kind, false).ok_or(RefusalReason::SeriesLimit),
                    });
                *state = number.map_or_else(SeriesState::Refused, |number| SeriesState::Number(number, kind));
            }
            match *state {
                SeriesState::Number(number, kind) => Ok((number, kind)),
                SeriesState::Refused(reason) => Err(reason),
                SeriesState::Unseen => Err(RefusalReason::UnknownSeries),
            }
        };
    for (index, &(series_index, time, value)) in samples.samples.iter().enumerate() {
        let start = samples.start(index);
        match number_of(series_index, time) {
            Ok((_, kind)) if !kind.is_delta() && start.unsigned_abs() > START_MAX => {
                admitted.refused.push((index, Refusal::of(RefusalReason::OutOfBounds)));
            }
            // A sum would keep it for ever.
            Ok((_, SeriesKind::Delta)) if !value.is_finite() => {
                admitted.refused.push((index, Refusal::of(RefusalReason::OutOfBounds)));
            }
            Ok((number, SeriesKind::Histogram)) if is_stale(value) => {
                append_starts(&mut histogram_starts, admitted.histograms.len(), 1, &[start]);
                admitted.histograms.push((number, time.0, None));
            }
            Ok((_, kind)) if kind.is_histogram() => {
                admitted.refused.push((index, Refusal::of(RefusalReason::WrongType)));
            }
            Ok((number, kind)) => {
                if !kind.is_delta() {
                    append_starts(&mut sample_starts, admitted.samples.len(), 1, &[start]);
                }
                admitted.samples.push((number, time.0, value));
            }
            Err(reason) => admitted.refused.push((index, Refusal::of(reason))),
        }
    }
    for (at, (series_index, time, histogram)) in histograms.samples.iter().enumerate() {
        let (index, start) = (samples.samples.len() + at, histograms.start(at));
        let taken = number_of(*series_index, *time).and_then(|(number, kind)| {
            let histogram = admit_histogram(kind, histogram)?;
            let start = if kind.is_delta() { START_UNKNOWN } else { start };
            match start.unsigned_abs() <= START_MAX {
                true => Ok(((number, time.0, histogram), start)),
                false => Err(RefusalReason::OutOfBounds),
            }
        });
        match taken {
            Ok((taken, start)) => {
                append_starts(&mut histogram_starts, admitted.histograms.len(), 1, &[start]);
                admitted.histograms.push(taken);
            }
            Err(reason) => admitted.refused.push((index, Refusal::of(reason))),
        }
    }
    drop(writing);
    let (of_samples, of_histograms) = (admitted.samples.len(), admitted.histograms.len());
    append_starts(&mut admitted.starts, 0, of_samples, &sample_starts);
    append_starts(&mut admitted.starts, of_samples, of_histograms, &histogram_starts);
    series.remember(&table.read(), &states);
    Admitted { new_kinds, ..admitted }
}

/// A histogram as it is stored; the marker of Prometheus, a sum that is one, as that of every series.
fn admit_histogram(kind: SeriesKind, histogram: &Histogram) -> Result<HistogramSample, RefusalReason> {
    if !kind.is_histogram() {
        return Err(RefusalReason::WrongType);
    }
    if kind == SeriesKind::Histogram && is_stale(histogram.sum) {
        return Ok(None);
    }
    let sides = [&histogram.positive, &histogram.negative];
    let counts = sides.into_iter().flatten().map(|(_, count)| *count);
    let counts_sound = counts
        .chain([histogram.zero_count, histogram.count])
        .all(|count| count.is_finite() && (count >= 0.0 || histogram.reset_hint == ResetHint::Gauge));
    // A sum would keep it for ever.
    let sum_sound = kind == SeriesKind::Histogram || histogram.sum.is_finite();
    let small = sides.into_iter().all(|side| side.len() <= HISTOGRAM_BUCKETS_MAX);
    if histogram.check().is_err() || !counts_sound || !sum_sound || !small {
        return Err(RefusalReason::OutOfBounds);
    }
    Ok(Some(Arc::new(histogram.clone().compacted())))
}

fn admit_series(
    shared: &Shared,
    ingest: &Ingest,
    metric: &str,
    kind: SeriesKind,
    new_kinds: &mut Vec<(Box<str>, SeriesKind)>,
) -> Result<(), RefusalReason> {
    if metric.is_empty() {
        return Err(RefusalReason::InvalidLabels);
    }
    if shared.reserved.contains(metric) {
        return Err(RefusalReason::ReservedMetric);
    }
    let new = || new_kinds.iter().find(|(name, _)| **name == *metric).map(|(_, kind)| *kind);
    match ingest.kinds.get(metric).copied().or_else(new) {
        Some(fixed) if fixed != kind => Err(RefusalReason::KindConflict),
        Some(_) => Ok(()),
        None => {
            new_kinds.push((metric.into(), kind));
            Ok(())
        }
    }
}

fn admit_signals(
    shared: &Shared,
    tenant: &TenantShared,
    ingest: &mut Ingest,
    admission: &Admission,
    batch: &SignalBatch,
) -> Result<Admitted, WriteError> {
    let mut rows = Vec::with_capacity(batch.signals.len());
    let mut refused = Vec::new();
    let new_names = {
        let mut admitter =
            Admitter::new(&shared.options.schema, &tenant.keys.pseudonyms, &ingest.names, &batch.site);
        for (index, signal) in batch.signals.iter().enumerate() {
            let taken = admission
                .check_kind(&signal.kind)
                .and_then(|()| admission.check_time(signal.time))
                .map_err(Refusal::of)
                .and_then(|()| admitter.admit(signal));
            match taken {
                Ok(row) => rows.push(row),
                Err(refusal) => refused.push((index, refusal)),
            }
        }
        admitter.finish()
    };
    let cells = ingest.deriver.derive(&batch.site, &rows);
    let mut table = ingest.table.write();
    // The cells of a series come one after another.
    let mut last: Option<(&LabelSet, u32)> = None;
    let samples = cells
        .iter()
        .map(|cell| {
            let number = match last {
                Some((labels, number)) if *labels == cell.labels => number,
                _ => table.number(&cell.labels, SeriesKind::Delta, true)?,
            };
            last = Some((&cell.labels, number));
            Some((number, cell.time.0, cell.value))
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| {
            WriteError::NotWritten(format!("there are {} series since the last flush", table.len()))
        })?;
    drop(table);
    Ok(Admitted { samples, rows, new_names, refused, ..Admitted::default() })
}
