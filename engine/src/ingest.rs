//! Admission: from a host's batch to a queued log record, with a verdict per record.

use std::sync::Arc;

use annals_model::{
    BatchId, METRIC_NAME, Plan, Refusal, RefusalReason, SampleBatch, SeriesKind, Signal, SignalBatch,
    SignalRow, SignalValue, SiteName, Timestamp,
};
use annals_signals::{Admitter, NewNames, encode_rows};
use annals_vfs::sync::atomic::Ordering;

use crate::batches::Seen;
use crate::commit::{NotQueued, PendingBatch};
use crate::error::WriteError;
use crate::record::{BatchHeader, BatchName, MetricRows, encode};
use crate::remembered::RememberedBatch;
use crate::shared::Shared;
use crate::tenant::{Ingest, TenantShared};
use crate::ticket::{Acknowledgement, Ticket, TicketState};

/// How often a batch is encoded again because the log failed in between; then the failure is the answer.
const STALE_RETRIES_MAX: usize = 8;

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
}

/// What admission made of a batch.
struct Admitted {
    metrics: MetricRows,
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
            plan,
        }
    }

    fn check_time(&self, time: Timestamp) -> Result<(), Refusal> {
        let reason = if time > self.latest {
            RefusalReason::Future
        } else if time <= self.expired_through {
            RefusalReason::Expired
        } else if time <= self.sealed_through {
            RefusalReason::Late
        } else {
            return Ok(());
        };
        Err(Refusal::of(reason))
    }
}

/// Admits and queues a batch of samples.
pub(crate) fn write_samples(
    shared: &Arc<Shared>,
    tenant: &Arc<TenantShared>,
    batch: &SampleBatch,
) -> Result<Ticket, WriteError> {
    let digest = tenant.keys.digest(|feed| digest_samples(batch, feed));
    let site = &batch.site;
    write(shared, tenant, site, batch.id, digest, batch.samples.len(), |ingest, admission| {
        admit_samples(shared, ingest, admission, batch)
    })
}

/// Admits and queues a batch of signals.
pub(crate) fn write_signals(
    shared: &Arc<Shared>,
    tenant: &Arc<TenantShared>,
    batch: &SignalBatch,
) -> Result<Ticket, WriteError> {
    let digest = tenant.keys.digest(|feed| digest_signals(&batch.signals, feed));
    let site = &batch.site;
    write(shared, tenant, site, batch.id, digest, batch.signals.len(), |ingest, admission| {
        admit_signals(shared, tenant, ingest, admission, batch)
    })
}

fn write(
    shared: &Arc<Shared>,
    tenant: &Arc<TenantShared>,
    site: &SiteName,
    id: BatchId,
    digest: [u8; 16],
    records: usize,
    admit: impl Fn(&mut Ingest, &Admission) -> Admitted,
) -> Result<Ticket, WriteError> {
    shared.check_writable()?;
    let limit = tenant.data.read().manifest.plan.limits.batch_records_max;
    if records > limit {
        return Err(WriteError::BatchTooLarge { records, limit });
    }
    shared.wait_for_room()?;
    let acknowledgement = Acknowledgement {
        durability: shared.options.durability,
        lsn: None,
        duplicate: false,
        records,
        refused: Vec::new(),
    };
    for _ in 0..STALE_RETRIES_MAX {
        let mut ingest = tenant.ingest.lock();
        // Not before the waits above: by an older clock, a batch could be taken whose id was just forgotten.
        let admission = Admission::new(tenant, shared.now());
        match tenant.batches.lock().check(site, id, &digest) {
            Seen::New => {}
            Seen::Conflict => return Err(WriteError::Conflict { id }),
            Seen::InFlight(first) => return Ok(Ticket::retry_of(first, records, shared.drive())),
            Seen::Duplicate => {
                return Ok(Ticket::resolved(Acknowledgement { duplicate: true, ..acknowledgement }));
            }
        }
        let generation = shared.commits.generation();
        if ingest.generation != generation {
            ingest.begin_epoch(generation);
        }
        let series_before = ingest.table.len();
        let Admitted { metrics, rows, new_names, new_kinds, refused } = admit(&mut ingest, &admission);
        if metrics.samples.is_empty() && rows.is_empty() {
            // Nothing to count, so nothing to remember: a retry is refused for the same reasons.
            ingest.table.truncate(series_before);
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
        let counter = shared.log_counter.fetch_add(1, Ordering::Relaxed);
        let payload = encode(&header, &name, &metrics, signals, &tenant.records, counter);
        let ticket = TicketState::pending();
        let pending = PendingBatch {
            tenant: tenant.clone(),
            batch,
            epoch: ingest.epoch,
            metrics,
            rows,
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
                ingest.table.truncate(series_before);
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

/// What became of a batch's series, decided when its first sample is looked at.
#[derive(Clone)]
enum SeriesState {
    Unseen,
    Number(u32, SeriesKind),
    Refused(Refusal),
}

fn admit_samples(
    shared: &Shared,
    ingest: &mut Ingest,
    admission: &Admission,
    batch: &SampleBatch,
) -> Admitted {
    let first = ingest.table.len();
    let mut states = vec![SeriesState::Unseen; batch.series.len()];
    let mut new_kinds: Vec<(Box<str>, SeriesKind)> = Vec::new();
    let mut samples = Vec::with_capacity(batch.samples.len());
    let mut refused = Vec::new();
    for (index, &(series, time, value)) in batch.samples.iter().enumerate() {
        let Some(state) = states.get_mut(series as usize) else {
            refused.push((index, Refusal::of(RefusalReason::UnknownSeries)));
            continue;
        };
        if let Err(refusal) = admission.check_time(time) {
            refused.push((index, refusal));
            continue;
        }
        if let (SeriesState::Unseen, Some((labels, kind))) = (&*state, batch.series.get(series as usize)) {
            *state =
                match admit_series(shared, ingest, admission, labels.metric_name(), *kind, &mut new_kinds) {
                    Err(reason) => SeriesState::Refused(Refusal::of(reason)),
                    Ok(()) if ingest.table.len() < admission.plan.limits.series_max => {
                        SeriesState::Number(ingest.table.number(labels, *kind), *kind)
                    }
                    Ok(()) => match ingest.table.find(labels) {
                        Some(number) => SeriesState::Number(number, *kind),
                        None => SeriesState::Refused(Refusal::of(RefusalReason::SeriesLimit)),
                    },
                };
        }
        match state {
            SeriesState::Number(_, SeriesKind::Delta) if !value.is_finite() => {
                // A sum would keep it for ever.
                refused.push((index, Refusal::of(RefusalReason::OutOfBounds)));
            }
            SeriesState::Number(number, _) => samples.push((*number, time.0, value)),
            SeriesState::Refused(refusal) => refused.push((index, refusal.clone())),
            SeriesState::Unseen => refused.push((index, Refusal::of(RefusalReason::UnknownSeries))),
        }
    }
    Admitted {
        metrics: MetricRows { first_number: first as u32, definitions: ingest.table.since(first), samples },
        rows: Vec::new(),
        new_names: NewNames::default(),
        new_kinds,
        refused,
    }
}

fn admit_series(
    shared: &Shared,
    ingest: &Ingest,
    admission: &Admission,
    metric: &str,
    kind: SeriesKind,
    new_kinds: &mut Vec<(Box<str>, SeriesKind)>,
) -> Result<(), RefusalReason> {
    if !admission.plan.rights.open_metrics {
        return Err(RefusalReason::NotEntitled);
    }
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
) -> Admitted {
    let first = ingest.table.len();
    let mut rows = Vec::with_capacity(batch.signals.len());
    let mut refused = Vec::new();
    let new_names = {
        let mut admitter =
            Admitter::new(&shared.options.schema, &tenant.keys.pseudonyms, &ingest.names, &batch.site);
        for (index, signal) in batch.signals.iter().enumerate() {
            match admission.check_time(signal.time).and_then(|()| admitter.admit(signal)) {
                Ok(row) => rows.push(row),
                Err(refusal) => refused.push((index, refusal)),
            }
        }
        admitter.finish()
    };
    let cells = ingest.deriver.derive(&batch.site, &rows);
    let samples = cells
        .iter()
        .map(|cell| (ingest.table.number(&cell.labels, SeriesKind::Delta), cell.time.0, cell.value))
        .collect();
    Admitted {
        metrics: MetricRows { first_number: first as u32, definitions: ingest.table.since(first), samples },
        rows,
        new_names,
        new_kinds: Vec::new(),
        refused,
    }
}

/// Feeds everything that makes a batch of samples what it is, unambiguously.
fn digest_samples(batch: &SampleBatch, feed: &mut dyn FnMut(&[u8])) {
    feed(b"samples");
    for (labels, kind) in &batch.series {
        feed(&[kind.tag()]);
        feed(&(labels.as_bytes().len() as u64).to_le_bytes());
        feed(labels.as_bytes());
    }
    feed(METRIC_NAME.as_bytes());
    let mut buffer = Vec::with_capacity(20 * batch.samples.len().min(4096));
    for chunk in batch.samples.chunks(4096) {
        buffer.clear();
        for (series, time, value) in chunk {
            buffer.extend_from_slice(&series.to_le_bytes());
            buffer.extend_from_slice(&time.0.to_le_bytes());
            buffer.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        feed(&buffer);
    }
}

fn digest_signals(signals: &[Signal], feed: &mut dyn FnMut(&[u8])) {
    feed(b"signals");
    let text = |feed: &mut dyn FnMut(&[u8]), tag: u8, text: &str| {
        feed(&[tag]);
        feed(&(text.len() as u64).to_le_bytes());
        feed(text.as_bytes());
    };
    for signal in signals {
        text(feed, 0, &signal.kind);
        feed(&signal.time.0.to_le_bytes());
        feed(&(signal.fields.len() as u64).to_le_bytes());
        for (name, value) in &signal.fields {
            text(feed, 1, name);
            match value {
                SignalValue::Text(value) => text(feed, 2, value),
                SignalValue::Integer(number) => {
                    feed(&[3]);
                    feed(&number.to_le_bytes());
                }
                SignalValue::Flags(flags) => {
                    feed(&[4]);
                    feed(&(flags.len() as u64).to_le_bytes());
                    flags.iter().for_each(|flag| text(feed, 5, flag));
                }
                SignalValue::Change { before, after } => {
                    text(feed, 6, before);
                    text(feed, 7, after);
                }
            }
        }
    }
}
