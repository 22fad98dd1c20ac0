//! Deriving back: metrics that the schema has now, of raw signals that were admitted before it had them.
//!
//! A flush comes first, so that blocks hold all that was admitted under an older schema. Then day by day, with no other
//! change of the manifest in between: what the day's signals derive to is compared, hour by hour, with what its blocks hold
//! at the same stamps, and what is more goes into a block of its own. The manifest that names that block is the commit
//! point; it forgets the day's rollups, which are then made again of all there is.
//!
//! Nothing is added twice: after a crash, or when it is asked again, nothing is more. Nothing is taken away either: metrics
//! outlive the signals that they were derived from.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use annals_block::{BlockIdentity, EncodedBlock, MetricBlockWriter};
use annals_compaction::{DayBlocks, chunk_age};
use annals_model::{
    BlockContent, BlockId, BlockMeta, Budget, Day, DaySeal, HOUR_MS, LabelSet, LsnRange, METRIC_NAME,
    Matcher, Missing, QueryLimits, Samples, SelectedSeries, SeriesKind, SignalRow, SiteName, TimeRange,
    Timestamp,
};
use annals_signals::Deriver;

use crate::counters::Work;
use crate::delete::is_whole;
use crate::error::{MaintenanceError, TenantError};
use crate::flush::{self, discard_unnamed, publish_new};
use crate::keys::BlockSeal;
use crate::maintenance::retire;
use crate::manifest::Manifest;
use crate::open_block::OpenBlock;
use crate::shared::Shared;
use crate::tenant::{ManifestChange, TenantShared};
use crate::tiers::Tiers;
use crate::view::{View, Wanted};
use crate::work::Working;

/// Signals that are derived from at once.
const ROWS_AT_ONCE: usize = 1 << 16;
/// Samples after which a day's block is closed and another begun.
const BLOCK_SAMPLES: usize = 4 << 20;
/// The least that a derived sample ever gains is a millisecond; what is below half of it is rounding.
const LEAST: f64 = 0.0005;

/// What deriving back came to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DerivedBack {
    /// Signals that were looked at.
    pub signals: u64,
    /// Samples that were missing and are there now.
    pub samples: u64,
    /// Days that got any of them.
    pub days: Vec<Day>,
    /// Days that were left as they are though they have signals, and why.
    pub left_out: Vec<(Day, String)>,
    /// Signals that could not be read.
    pub missing: Vec<Missing>,
}

/// What the cells of an hour hold, by series and stamp.
type Cells = BTreeMap<(LabelSet, i64), Cell>;

/// A derived sample.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// What the signals that are kept come to.
    derived: f64,
    /// What the blocks hold, where they have it: a bucket of nothing is there too.
    stored: Option<f64>,
}

impl Cell {
    /// What is to be added.
    fn lacks(self) -> Option<f64> {
        let more = self.derived - self.stored.unwrap_or(0.0);
        (self.stored.is_none() || more > LEAST).then(|| (more * 1000.0).round() / 1000.0)
    }
}

/// Samples by series; those of each ascend.
type Columns = BTreeMap<LabelSet, (Vec<i64>, Vec<f64>)>;

/// Derives metrics of all raw signals in the days that a range touches: of the names given, or all where none is.
pub(crate) fn derive_back(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
    range: TimeRange,
    metrics: &[&str],
) -> Result<DerivedBack, TenantError> {
    let wanted = wanted(shared, tenant, metrics)?;
    flush::flush(shared, tenant).map_err(TenantError::Change)?;
    let days = {
        let data = tenant.data.read();
        let of_signals = data.manifest.blocks.iter().filter(|b| b.id.content == BlockContent::RawSignals);
        // A signal counts in the cell that its minute ends: one of midnight itself, on the day after.
        let days = of_signals.flat_map(|block| [block.id.day, block.time.end.saturating_add(1).day()]);
        days.filter(|day| day.range().overlaps(range)).collect::<BTreeSet<Day>>()
    };
    let mut done = DerivedBack::default();
    let working = Working::begin(shared, Work::Derive, &tenant.id);
    let mut made = Vec::new();
    for day in days {
        made.extend(of_day(shared, tenant, day, &wanted, &mut done).map_err(TenantError::Change)?);
    }
    working.done(&made);
    Ok(done)
}

/// The names of the series to derive.
fn wanted(shared: &Shared, tenant: &TenantShared, metrics: &[&str]) -> Result<BTreeSet<String>, TenantError> {
    let mut wanted = BTreeSet::new();
    for metric in metrics {
        let parts = ["", "_bucket", "_sum", "_count"].map(|suffix| format!("{metric}{suffix}"));
        if !parts.iter().any(|name| shared.reserved.contains(name)) {
            let metrics = shared.reserved.iter().map(str::to_owned).collect();
            return Err(TenantError::UnknownMetric { tenant: tenant.id.clone(), metrics });
        }
        wanted.extend(parts);
    }
    if metrics.is_empty() {
        wanted.extend(shared.reserved.iter().map(str::to_owned));
    }
    Ok(wanted)
}

/// Derives what one day lacks, and publishes it.
fn of_day(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
    day: Day,
    wanted: &BTreeSet<String>,
    done: &mut DerivedBack,
) -> Result<Vec<BlockMeta>, MaintenanceError> {
    let mut change = tenant.change()?;
    if change.suspended {
        return Err(MaintenanceError::Suspended { tenant: tenant.id.clone() });
    }
    let now = shared.retention_now();
    let (manifest, view) = {
        let data = tenant.data.read();
        // Without what is in memory: that was derived under this schema.
        let tiers = Tiers::new(&data.manifest, std::iter::empty(), now);
        let signals_floor = data.manifest.floor(BlockContent::RawSignals, now);
        let (blocks, missing) = (data.blocks.clone(), data.missing.clone());
        let view = View { blocks, heads: Vec::new(), tiers, signals_floor, missing };
        (data.manifest.clone(), view)
    };
    if day.end() <= manifest.floor(BlockContent::RawMetrics, now) {
        done.left_out.push((day, "its raw metrics have expired".to_owned()));
        return Ok(Vec::new());
    }
    let has_raw = |b: &BlockMeta| (b.id.day, b.id.content) == (day, BlockContent::RawMetrics);
    let is_known = manifest.blocks.iter().any(has_raw) || manifest.seals.contains_key(&day);
    if is_known && !is_whole(&DayBlocks::of(&manifest.blocks), &manifest.seals, day) {
        done.left_out.push((day, "its rollups say more than what is left of its raw metrics".to_owned()));
        return Ok(Vec::new());
    }
    let mut building = Building {
        shared,
        tenant,
        day,
        now,
        through: LsnRange { after: manifest.data_floor, through: manifest.data_floor },
        sequence: change.next_sequence,
        columns: Columns::new(),
        held: 0,
        blocks: Vec::new(),
    };
    let (signals, samples, missing) = (done.signals, done.samples, done.missing.len());
    let mut deriving = Deriving { view: &view, wanted, deriver: Deriver::new(&shared.options.schema), done };
    match deriving.day(day, &mut building) {
        Ok(()) => {}
        Err(Failed::ToRead(why)) => {
            let done = deriving.done;
            (done.signals, done.samples) = (signals, samples);
            done.missing.truncate(missing);
            done.left_out.push((day, why));
            return Ok(Vec::new());
        }
        Err(Failed::ToBuild(what)) => {
            return Err(MaintenanceError::Build { tenant: tenant.id.clone(), what });
        }
    }
    let encoded =
        building.finish().map_err(|what| MaintenanceError::Build { tenant: tenant.id.clone(), what })?;
    if encoded.is_empty() {
        return Ok(Vec::new());
    }
    done.days.push(day);
    publish(shared, tenant, &mut change, manifest, day, &encoded, now)
}

/// Publishes a day's new blocks, and forgets the day's rollups.
fn publish(
    shared: &Shared,
    tenant: &Arc<TenantShared>,
    change: &mut ManifestChange,
    manifest: Manifest,
    day: Day,
    encoded: &[EncodedBlock],
    now: Timestamp,
) -> Result<Vec<BlockMeta>, MaintenanceError> {
    publish_new(shared, tenant, change, encoded, "write derived metrics")?;
    let metas: Vec<BlockMeta> = encoded.iter().map(|block| block.meta).collect();
    let is_rollup = |id: &BlockId| id.day == day && id.content.window_ms().is_some();
    let rollups: Vec<BlockId> = manifest.blocks.iter().map(|block| block.id).filter(is_rollup).collect();
    let kept = manifest.blocks.iter().filter(|block| !rollups.contains(&block.id)).chain(&metas);
    let mut seals: BTreeMap<Day, DaySeal> = (*manifest.seals).clone();
    seals.remove(&day);
    let manifest = Manifest {
        next_sequence: change.next_sequence,
        blocks: kept.copied().collect(),
        seals: Arc::new(seals),
        ..manifest.expire(now)
    };
    let open = |&meta: &BlockMeta| OpenBlock::new(&shared.shelf, tenant.number, &tenant.keys, meta);
    let opened: Vec<Arc<OpenBlock>> = metas.iter().map(open).collect();
    let mut removed = Vec::new();
    let committed = tenant.commit_manifest(shared, change, manifest, "publish derived metrics", |data| {
        removed = data.remove_blocks(&rollups);
        data.blocks.extend(opened);
    });
    discard_unnamed(shared, tenant, encoded, committed)?;
    retire(shared, tenant, removed);
    Ok(metas)
}

/// Why a day came to nothing.
enum Failed {
    /// What it holds is not known whole: adding to it could count twice.
    ToRead(String),
    ToBuild(String),
}

/// Reads signals and what was derived from them.
struct Deriving<'a> {
    view: &'a View,
    wanted: &'a BTreeSet<String>,
    deriver: Deriver,
    done: &'a mut DerivedBack,
}

impl Deriving<'_> {
    fn day(&mut self, day: Day, building: &mut Building<'_>) -> Result<(), Failed> {
        let TimeRange { start, end } = day.range();
        let mut hour = start;
        while hour < end {
            let stamps = TimeRange::new(hour, hour.saturating_add(HOUR_MS));
            self.hour(stamps, building)?;
            hour = stamps.end;
        }
        Ok(())
    }

    /// What the cells of one hour lack.
    fn hour(&mut self, stamps: TimeRange, building: &mut Building<'_>) -> Result<(), Failed> {
        let mut cells = self.derived(stamps)?;
        if cells.is_empty() {
            return Ok(());
        }
        let names: BTreeSet<String> =
            cells.keys().map(|(labels, _)| labels.metric_name().to_owned()).collect();
        for name in names {
            self.find_stored(&name, stamps, &mut cells)?;
        }
        // Ascending by series, then by time.
        for ((labels, time), cell) in cells {
            if let Some(more) = cell.lacks() {
                building.push(labels, time, more);
                self.done.samples += 1;
            }
        }
        building.after_hour().map_err(Failed::ToBuild)
    }

    /// What the signals of an hour derive to.
    fn derived(&mut self, stamps: TimeRange) -> Result<Cells, Failed> {
        // The signals of a cell begin at its start and end before its end.
        let events = TimeRange::new(
            stamps.start.saturating_add(-1).max(self.view.signals_floor),
            stamps.end.saturating_add(-1),
        );
        let (mut cells, mut rows) = (BTreeMap::new(), BTreeMap::<SiteName, Vec<SignalRow>>::new());
        let mut held = 0;
        let overlapping = self.view.signal_blocks().filter(|block| block.meta.time.overlaps(events));
        for entry in overlapping {
            let block = match entry.signals() {
                Ok(block) => block,
                Err(missing) => {
                    self.done.missing.push(Missing { range: missing.range.intersect(events), ..missing });
                    continue;
                }
            };
            for row in block.scan(events, &[]).map_err(|error| Failed::ToRead(error.to_string()))? {
                let row = match row {
                    Ok(row) => row,
                    Err(lost) => {
                        self.done.missing.push(Missing { range: lost.range, why: lost.error.to_string() });
                        continue;
                    }
                };
                self.done.signals += 1;
                // A schema only ever gains fields, at the end: rows of before lack the last ones.
                rows.entry(row.site.clone()).or_default().push(row);
                held += 1;
                if held == ROWS_AT_ONCE {
                    self.derive(&mut rows, &mut cells);
                    held = 0;
                }
            }
        }
        self.derive(&mut rows, &mut cells);
        Ok(cells)
    }

    fn derive(&mut self, rows: &mut BTreeMap<SiteName, Vec<SignalRow>>, cells: &mut Cells) {
        for (site, rows) in rows {
            for cell in self.deriver.derive(site, rows) {
                if self.wanted.contains(cell.labels.metric_name()) {
                    cells.entry((cell.labels, cell.time.0)).or_default().derived += cell.value;
                }
            }
            rows.clear();
        }
    }

    /// Adds what the blocks hold of a metric.
    fn find_stored(&self, name: &str, stamps: TimeRange, cells: &mut Cells) -> Result<(), Failed> {
        let budget = Budget::new(QueryLimits::NONE);
        let whole = |missing: &[Missing]| match missing.first() {
            Some(missing) => Err(Failed::ToRead(missing.why.clone())),
            None => Ok(()),
        };
        let failed = |error: annals_model::SourceError| Failed::ToRead(error.to_string());
        let selecting = self
            .view
            .select(&[Matcher::equal(METRIC_NAME, name)], stamps, Wanted::Samples, &budget)
            .map_err(failed)?;
        let selected = selecting.finish(&budget).map_err(failed)?;
        whole(&selected.coverage().missing)?;
        let mut samples = Samples::default();
        for index in 0..selected.len() {
            if selected.kind(index) != SeriesKind::Delta {
                continue;
            }
            selected.read(index, &budget, &mut samples).map_err(failed)?;
            whole(&samples.missing)?;
            let labels = selected.labels(index);
            for (&time, &value) in samples.timestamps.iter().zip(&samples.values) {
                if let Some(cell) = cells.get_mut(&(labels.clone(), time)) {
                    *cell.stored.get_or_insert(0.0) += value;
                }
            }
        }
        Ok(())
    }
}

/// Makes a day's blocks.
struct Building<'a> {
    shared: &'a Shared,
    tenant: &'a TenantShared,
    day: Day,
    now: Timestamp,
    /// After every record whose samples are in blocks, and before all others.
    through: LsnRange,
    sequence: u64,
    columns: Columns,
    held: usize,
    blocks: Vec<EncodedBlock>,
}

impl Building<'_> {
    /// Adds a sample. Those of one series come in order of time.
    fn push(&mut self, labels: LabelSet, time: i64, value: f64) {
        let (times, values) = self.columns.entry(labels).or_default();
        times.push(time);
        values.push(value);
        self.held += 1;
    }

    /// Closes the block where it has become large.
    fn after_hour(&mut self) -> Result<(), String> {
        if self.held >= BLOCK_SAMPLES { self.close() } else { Ok(()) }
    }

    fn finish(mut self) -> Result<Vec<EncodedBlock>, String> {
        self.close()?;
        Ok(self.blocks)
    }

    fn close(&mut self) -> Result<(), String> {
        let content = BlockContent::RawMetrics;
        let id = BlockId { day: self.day, content, sequence: self.sequence };
        let identity = BlockIdentity { tenant: self.tenant.number, id };
        let mut writer = MetricBlockWriter::new(identity, self.through, 0, chunk_age(self.day, self.now));
        let seal = self.tenant.keys.seal_block(content, &*self.shared.entropy);
        if let Some(seal) = seal.map_err(|error| format!("cannot draw a key: {error}"))?.as_ref() {
            writer = writer.seal_with(BlockSeal::with(seal));
        }
        for (labels, (times, values)) in std::mem::take(&mut self.columns) {
            writer
                .add_series(&labels, SeriesKind::Delta, &times, &values, &[])
                .map_err(|error| error.to_string())?;
        }
        self.held = 0;
        if let Some(block) = writer.finish().map_err(|error| error.to_string())? {
            self.sequence += 1;
            self.blocks.push(block);
        }
        Ok(())
    }
}
