//! Replay: the log's records become heads again, within the memory budget.
//!
//! A tenant's records after its manifest's `replay_from` are read: those up to `data_floor` only for the series that
//! they define (their samples are in blocks), later ones whole. A record whose batch id is known already is a retry
//! that was written after its first attempt had been reported as unknown: it counts nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use annals_model::schema::SignalSchema;
use annals_model::{Lsn, LsnRange, SeriesKind, TenantNumber, Timestamp};
use annals_signals::{NameTable, RowsError, decode_rows};
use annals_vfs::planted::{Bug, planted};
use hashbrown::HashMap;

use crate::batches::{BatchIds, Seen};
use crate::head::Head;
use crate::keys::TenantKeys;
use crate::manifest::Manifest;
use crate::record::{self, BATCH, BatchName, OpenRecord, RecordFault, RecordOpener};
use crate::remembered::{Remembered, RememberedBatch};
use crate::series_table::{SeriesTable, SharedTable};

/// What is replayed of each tenant.
pub(crate) struct Replay<'a> {
    schema: &'a SignalSchema,
    pub(crate) tenants: BTreeMap<TenantNumber, ReplayTenant>,
    pub(crate) report: ReplayReport,
    /// Tenants that cannot be used, with the records that their manifests need no more, and the highest record that is
    /// in their blocks.
    pub(crate) unusable: BTreeMap<TenantNumber, Lsn>,
    pub(crate) floor: Lsn,
    /// The first record of each tenant that is not replayed.
    pub(crate) passed_over: BTreeMap<TenantNumber, Lsn>,
    /// Bytes of all heads.
    pub(crate) head_bytes: usize,
}

/// One tenant while its records are read.
pub(crate) struct ReplayTenant {
    /// Whose its blocks and manifests are: where it is restored under another number, not what its records say.
    pub(crate) number: Option<TenantNumber>,
    pub(crate) keys: Arc<TenantKeys>,
    opener: RecordOpener,
    pub(crate) manifest: Manifest,
    pub(crate) generation: u64,
    pub(crate) heads: Vec<Head>,
    pub(crate) batches: BatchIds,
    pub(crate) names: NameTable,
    pub(crate) kinds: HashMap<Box<str>, SeriesKind, foldhash::fast::FixedState>,
    /// Records were written when there was this generation of the manifest, and the one that was read is older. The
    /// first of them.
    pub(crate) rolled_back: Option<(u64, Lsn)>,
    /// The highest epoch of any record.
    pub(crate) epoch: u64,
}

/// What a replay found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplayReport {
    /// Records read.
    pub records: u64,
    /// Records whose data is in blocks already.
    pub in_blocks: u64,
    /// Records that were retries of others.
    pub duplicates: u64,
    /// Records of tenants that the catalogue does not name or whose manifest or keys cannot be used.
    pub foreign: u64,
    /// Records that were whole in the log and do not decode: their numbers in it.
    pub undecodable: Vec<Lsn>,
    /// Records that are sealed with a key that their tenant does not have, or not any more.
    pub sealed: u64,
    /// Why signals in the log cannot be understood with the schema at hand, one sentence per kind.
    pub unknown_kinds: BTreeSet<String>,
}

impl ReplayReport {
    /// What of the log is lost to its readers, one sentence each.
    pub(crate) fn findings(&self) -> impl Iterator<Item = String> + '_ {
        let undecodable = self.undecodable.iter();
        undecodable
            .map(|lsn| format!("record {lsn} of the log is whole and does not decode"))
            .chain(self.unknown_kinds.iter().cloned())
            .chain((self.sealed > 0).then(|| {
                format!(
                    "{} records of the log are sealed with keys that are gone: they were skipped",
                    self.sealed
                )
            }))
    }
}

impl ReplayTenant {
    pub(crate) fn new(
        manifest: Manifest,
        remembered: &Remembered,
        generation: u64,
        keys: Arc<TenantKeys>,
    ) -> ReplayTenant {
        let mut names = NameTable::default();
        for (kind, field, name) in &remembered.names {
            names.insert(kind, field, name);
        }
        ReplayTenant {
            number: None,
            keys,
            opener: RecordOpener::default(),
            generation,
            heads: Vec::new(),
            batches: BatchIds::from_remembered(&remembered.batches),
            names,
            kinds: remembered.kinds.iter().map(|(name, kind)| (name.as_str().into(), *kind)).collect(),
            rolled_back: None,
            epoch: manifest.epoch,
            manifest,
        }
    }

    /// What a manifest that names blocks of all records up to one is to remember.
    pub(crate) fn remembered(&mut self, now: Timestamp, through: Lsn) -> Remembered {
        let kinds = self.kinds.iter().map(|(name, kind)| (name.to_string(), *kind));
        Remembered {
            batches: self.batches.remembered(&self.manifest.plan, now, through),
            kinds: kinds.collect::<BTreeMap<_, _>>().into_iter().collect(),
            names: self.names.iter().map(|(k, f, n)| (k.to_owned(), f.to_owned(), n.to_owned())).collect(),
        }
    }
}

impl<'a> Replay<'a> {
    pub(crate) fn new(schema: &'a SignalSchema) -> Replay<'a> {
        Replay {
            schema,
            tenants: BTreeMap::new(),
            report: ReplayReport::default(),
            unusable: BTreeMap::new(),
            floor: Lsn(0),
            passed_over: BTreeMap::new(),
            head_bytes: 0,
        }
    }

    /// Where reading the log must start.
    pub(crate) fn start(&self) -> Lsn {
        self.tenants.values().map(|tenant| tenant.manifest.replay_from).min().unwrap_or_default()
    }

    /// Up to where every tenant has its data in blocks.
    pub(crate) fn in_blocks(&self) -> Lsn {
        self.tenants.values().map(|tenant| tenant.manifest.data_floor).min().unwrap_or_default()
    }

    /// Takes one record.
    pub(crate) fn record(&mut self, lsn: Lsn, kind: u8, payload: &[u8]) {
        self.report.records += 1;
        let Some(record) = record::decode(payload).filter(|_| kind == BATCH) else {
            self.report.undecodable.push(lsn);
            return;
        };
        let header = record.header;
        let Some(tenant) = self.tenants.get_mut(&header.tenant) else {
            self.report.foreign += 1;
            if self.unusable.get(&header.tenant).is_none_or(|&floor| lsn > floor) {
                self.passed_over.entry(header.tenant).or_insert(lsn);
            }
            return;
        };
        tenant.epoch = tenant.epoch.max(header.epoch);
        if header.manifest > tenant.generation {
            let (newest, first) = tenant.rolled_back.unwrap_or((0, lsn));
            tenant.rolled_back = Some((newest.max(header.manifest), first));
        }
        if lsn <= tenant.manifest.replay_from && !planted(Bug::ReplayIgnoresFloor) {
            self.report.in_blocks += 1;
            return;
        }
        let OpenRecord { batch, mut metrics, signals } = match record.open(&tenant.keys, &mut tenant.opener) {
            Ok(opened) => opened,
            Err(RecordFault::NoKey) => {
                self.report.sealed += 1;
                return;
            }
            Err(RecordFault::Corrupt) => {
                self.report.undecodable.push(lsn);
                return;
            }
        };
        let mut rows = Vec::new();
        if lsn <= tenant.manifest.data_floor && !planted(Bug::ReplayIgnoresFloor) {
            self.report.in_blocks += 1;
            metrics.clear_samples();
        } else {
            let known = tenant.batches.check(&batch.site, batch.id, &batch.digest);
            if matches!(known, Seen::Duplicate) {
                self.report.duplicates += 1;
                metrics.clear_samples();
            } else if !signals.is_empty() {
                match decode_rows(self.schema, &signals) {
                    Ok(decoded) => rows = decoded,
                    Err(RowsError::Corrupt { .. }) => self.report.undecodable.push(lsn),
                    Err(unknown) => {
                        self.report.unknown_kinds.insert(unknown.to_string());
                    }
                }
            }
            rows.iter().for_each(|row| tenant.names.observe(self.schema, row));
            let BatchName { site, id, digest } = batch;
            let batch = RememberedBatch { site, id, digest, written: header.written };
            if !planted(Bug::BatchIdsForgotten) {
                tenant.batches.remember(batch, lsn);
            }
        }
        for (labels, kind) in &metrics.definitions {
            tenant.kinds.entry(labels.metric_name().into()).or_insert(*kind);
        }
        if metrics.is_empty() && rows.is_empty() {
            return;
        }
        let head = head_of(&mut tenant.heads, header.epoch, lsn, header.written, SeriesTable::shared);
        self.head_bytes += head.map_or(0, |head| head.apply_record(&metrics, rows));
    }
}

/// The head of an epoch; a new one with the given table where there is none yet.
pub(crate) fn head_of(
    heads: &mut Vec<Head>,
    epoch: u64,
    lsn: Lsn,
    written: Timestamp,
    table: impl FnOnce() -> SharedTable,
) -> Option<&mut Head> {
    let at = heads.partition_point(|head| head.epoch < epoch);
    if heads.get(at).is_none_or(|head| head.epoch != epoch) {
        heads.insert(at, Head::new(epoch, lsn, written, table()));
    }
    heads.get_mut(at)
}

/// The records that a flush in the middle of a replay covers.
pub(crate) fn flushed_range(manifest: &Manifest, through: Lsn) -> LsnRange {
    LsnRange { after: manifest.data_floor, through }
}
