//! What an export takes of a tenant: all that is shown of it at one moment, day by day.
//!
//! Samples and windows never come mixed: a day is shown in one resolution, the finest that its plan still keeps. Series come
//! metric by metric, each in label order, so that the same data gives the same export wherever it lies.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use annals_block::BlockError;
use annals_model::schema::KindSchema;
use annals_model::{
    BlockContent, Budget, Day, LabelSet, METRIC_NAME, Missing, Plan, QueryLimits, Resolution, Rollup,
    Samples, SelectedSeries, SeriesKind, SignalRow, SourceError, TenantId, TimeRange, Timestamp, Whole,
};

use crate::error::TenantError;
use crate::head::InOrder;
use crate::read_only::Erasable;
use crate::reader::TenantReader;
use crate::view::{Opened, Selected, View, Wanted};

/// A series with more samples in a day than this is read in slices.
const SLICE_SAMPLES: u64 = 1 << 20;

/// A tenant as it was when the store was opened, for its plan's right `export`. What a writer does meanwhile changes
/// nothing of it, except that an erasure ends it ([`ExportReader::check`]).
pub struct ExportReader {
    reader: TenantReader,
    view: View,
    erasable: Arc<Erasable>,
    plan: Plan,
    moment: Moment,
}

/// Which state of a tenant was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// When the store was opened; what had expired then is not there.
    pub at: Timestamp,
    /// The generation of the tenant's manifest.
    pub generation: u64,
    /// Samples that are not in blocks yet.
    pub head_samples: u64,
    /// Raw signals that are not in blocks yet.
    pub head_signals: u64,
}

/// A day of which there is anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportDay {
    /// The day.
    pub day: Day,
    /// How its metrics are shown; `None` where there are none.
    pub metrics: Option<Resolution>,
    /// Whether there are raw signals.
    pub signals: bool,
}

impl ExportReader {
    pub(crate) fn new(
        reader: TenantReader,
        view: View,
        erasable: Arc<Erasable>,
        plan: Plan,
        moment: Moment,
    ) -> Result<ExportReader, TenantError> {
        match plan.rights.export {
            true => Ok(ExportReader { reader, view, erasable, plan, moment }),
            false => {
                Err(TenantError::NoRight { tenant: reader.id().clone(), plan: plan.name, right: "export" })
            }
        }
    }

    /// The tenant's id.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        self.reader.id()
    }

    /// Its plan.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Which state of it this is.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.moment
    }

    /// An error where the tenant was erased since: what was taken of it is to be given up.
    pub fn check(&self) -> Result<(), TenantError> {
        match self.erasable.is_erased() {
            true => Err(TenantError::Unknown(self.tenant().clone())),
            false => Ok(()),
        }
    }

    /// The days of which there is anything that has not expired, ascending.
    #[must_use]
    pub fn days(&self) -> Vec<ExportDay> {
        let mut days: BTreeMap<Day, ExportDay> = BTreeMap::new();
        let mut add = |day: Day, is_signals: bool| {
            let shown = days.entry(day).or_insert(ExportDay { day, metrics: None, signals: false });
            match is_signals {
                true => shown.signals |= day.end() > self.view.signals_floor,
                false => shown.metrics = self.view.tiers.of_day(day).and_then(BlockContent::resolution),
            }
        };
        for block in &self.view.blocks {
            add(block.meta.id.day, block.meta.id.content == BlockContent::RawSignals);
        }
        InOrder::of(&self.view.heads).days().into_iter().for_each(|day| add(day, false));
        let rows = self.view.heads.iter().flat_map(|head| head.rows());
        rows.for_each(|row| add(row.time.day(), true));
        days.into_values().filter(|day| day.metrics.is_some() || day.signals).collect()
    }

    /// How many samples, windows and raw signals there are at most, known without reading them.
    #[must_use]
    pub fn rows_max(&self) -> u64 {
        let of_blocks: u64 = self.view.blocks.iter().map(|block| block.meta.rows).sum();
        of_blocks + self.moment.head_samples + self.moment.head_signals
    }

    /// The names of all labels but the metric's, ascending. Of blocks that cannot be read there are none.
    #[must_use]
    pub fn label_names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for block in &self.view.blocks {
            let is_shown = self.view.tiers.of_day(block.meta.id.day).is_some();
            if block.meta.id.content != BlockContent::RawSignals && is_shown {
                let _ = Opened::of(block).map(|opened| add_label_names(&opened, &mut names));
            }
        }
        self.view.heads.iter().for_each(|head| head.label_names(&mut names));
        names.remove(METRIC_NAME);
        names
    }

    /// The schemas of all kinds of signals that there may be rows of: a kind has more than one where its fields have
    /// changed.
    #[must_use]
    pub fn signal_kinds(&self) -> Vec<Arc<KindSchema>> {
        let mut kinds: Vec<Arc<KindSchema>> = Vec::new();
        let mut add = |of_block: &[Arc<KindSchema>]| {
            for kind in of_block {
                if !kinds.iter().any(|known| known.name == kind.name && known.fields == kind.fields) {
                    kinds.push(kind.clone());
                }
            }
        };
        let mut blocks: Vec<_> =
            self.view.signal_blocks().filter(|block| block.meta.time.end > self.view.signals_floor).collect();
        blocks.sort_by_key(|block| (block.meta.id.day, block.meta.lsns.through));
        for block in blocks {
            if let Ok(block) = block.signals() {
                add(block.kinds().unwrap_or_default());
            }
        }
        add(self.reader.schema_kinds());
        kinds.sort_by(|a, b| a.name.cmp(&b.name));
        kinds
    }

    /// The series that have anything in a day.
    pub fn series(&self, day: Day) -> Result<ExportSeries, SourceError> {
        // What is held at one time is bounded by the day's series and by slices.
        let budget = Budget::new(QueryLimits::NONE);
        let selected = self.view.select(&[], day.range(), Wanted::Samples, &budget)?.finish(&budget)?;
        let groups = selected.groups(true, &[METRIC_NAME]);
        let name =
            |series: &u32| groups.of.get(*series as usize).and_then(|&at| groups.labels.get(at as usize));
        let mut order: Vec<u32> = (0..selected.len() as u32).collect();
        // Stable: within a metric they stay in label order.
        order.sort_by(|a, b| name(a).cmp(&name(b)));
        Ok(ExportSeries { selected, order, day, budget })
    }

    /// Hands out a day's raw signals by time, each with schemas among which its kind's is. Returns what could not be read.
    pub fn signals(&self, day: Day, each: &mut dyn FnMut(&[Arc<KindSchema>], &SignalRow)) -> Vec<Missing> {
        self.reader.scan_signals_with_kinds(day.range(), &[], each)
    }
}

fn add_label_names(opened: &Opened, names: &mut BTreeSet<String>) -> Result<(), BlockError> {
    let index = opened.index();
    // Pairs are in the order of their names.
    let mut number = 0;
    while let Some((name, _)) = index.pair(number)? {
        if !names.contains(name) {
            names.insert(name.to_owned());
        }
        number = index.pairs_named(name)?.end.max(number.saturating_add(1));
    }
    Ok(())
}

impl std::fmt::Debug for ExportReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ExportReader({}, generation {})", self.tenant(), self.moment.generation)
    }
}

/// A day's series: metric by metric, each in label order.
pub struct ExportSeries {
    selected: Selected,
    order: Vec<u32>,
    day: Day,
    budget: Budget,
}

impl ExportSeries {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The labels of one, `index` below [`ExportSeries::len`].
    #[must_use]
    pub fn labels(&self, index: usize) -> LabelSet {
        self.selected.labels(self.at(index))
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self, index: usize) -> SeriesKind {
        self.selected.kind(self.at(index))
    }

    /// Whole blocks or records of the log that cannot be read.
    #[must_use]
    pub fn missing(&self) -> &[Missing] {
        &self.selected.coverage().missing
    }

    /// Hands out a series' samples in time order, in one slice or in several where they are many. In a day that is shown in
    /// windows, for series of histograms only: what is left of these are histograms.
    pub fn read<E: From<SourceError>>(
        &mut self,
        index: usize,
        samples: &mut Samples,
        mut each: impl FnMut(&Samples) -> Result<(), E>,
    ) -> Result<(), E> {
        let at = self.at(index);
        let range = self.day.range();
        let count = self.selected.plan(at, Whole::of(&|_| false)).samples;
        // Windows are read whole.
        let slices = if self.selected.is_rolled() { 1 } else { count / SLICE_SAMPLES + 1 };
        let length = (range.end.0 - range.start.0) / i64::try_from(slices).unwrap_or(i64::MAX) + 1;
        let mut start = range.start;
        while start < range.end {
            let end = start.saturating_add(length).min(range.end);
            if slices > 1 {
                self.selected.narrow(TimeRange::new(start, end));
            }
            self.selected.read(at, &self.budget, samples)?;
            each(samples)?;
            start = end;
        }
        if slices > 1 {
            self.selected.narrow(range);
        }
        Ok(())
    }

    /// A series' windows in time order, in a day that is shown in windows. What cannot be read is added to `missing`.
    pub fn windows(&self, index: usize, missing: &mut Vec<Missing>) -> Result<Vec<Rollup>, SourceError> {
        self.selected.windows(self.at(index), &self.budget, missing)
    }

    fn at(&self, index: usize) -> usize {
        self.order.get(index).map_or(usize::MAX, |&at| at as usize)
    }
}

impl std::fmt::Debug for ExportSeries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ExportSeries({} of {})", self.len(), self.day)
    }
}
