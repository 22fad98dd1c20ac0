//! The one door through which queries see data.
//!
//! A [`SeriesSource`] finds series; a [`SelectedSeries`] decodes one of them at a time, from any thread, into
//! columns that the caller reuses. What is missing is said beside what is there, never left out in silence.
//!
//! ```text
//!   evaluator ── select(matchers, range, budget) ──► SelectedSeries: labels and kinds, in label order
//!             ── read(index, &mut Samples) ────────► timestamps ascending, values; missing parts named
//!             ── read_pieces(index, whole, ..) ────► the same, but runs that no window cuts come as aggregates
//! ```

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::{Aggregate, Histogram, LabelSet, Matcher, Resolution, SeriesKind, TimeRange, Timestamp};

/// Where series come from: a tenant's blocks and head, or a test's vectors.
pub trait SeriesSource: Send + Sync {
    /// The series that satisfy all matchers and may have samples in the range, in label order.
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Box<dyn SelectedSeries + 'a>, SourceError>;

    /// The same for who reads no samples: nothing but labels and kinds of what is found may be asked for.
    fn select_labels<'a>(
        &'a self,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Box<dyn SelectedSeries + 'a>, SourceError> {
        self.select(matchers, range, budget)
    }
}

/// Series that were found, not yet decoded.
pub trait SelectedSeries: Send + Sync {
    /// How many.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The labels of one, `index` below [`SelectedSeries::len`]; made when they are asked for.
    fn labels(&self, index: usize) -> LabelSet;

    /// The names of all labels, ascending.
    fn label_names(&self) -> Vec<String> {
        let of = |index| self.labels(index).iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>();
        ascending((0..self.len()).flat_map(of))
    }

    /// The values of one label, ascending.
    fn label_values(&self, name: &str) -> Vec<String> {
        let of = |index| self.labels(index).get(name).to_owned();
        ascending((0..self.len()).map(of).filter(|value| !value.is_empty()))
    }

    /// Puts all series into groups by some of their labels: those named (`only`), or all but those.
    fn groups(&self, only: bool, names: &[&str]) -> SeriesGroups {
        let mut groups = SeriesGroups::default();
        let mut known: BTreeMap<LabelSet, u32> = BTreeMap::new();
        for index in 0..self.len() {
            let labels = self.labels(index).filtered(|name| names.contains(&name) == only);
            let group = *known.entry(labels).or_insert_with_key(|labels| groups.push(labels.clone()));
            groups.of.push(group);
        }
        groups
    }

    /// The kind of one, `index` below [`SelectedSeries::len`].
    fn kind(&self, index: usize) -> SeriesKind;

    /// Replaces `into` by the series' samples in the selected range: merged, ascending, one per stamp.
    fn read(&self, index: usize, budget: &Budget, into: &mut Samples) -> Result<(), SourceError>;

    /// Replaces `into` by the series in pieces, in time order. A run of samples that `whole` takes as one, and that no other
    /// part of the data touches, may come as its aggregate; all else comes as samples. A series with histograms comes as
    /// samples alone.
    fn read_pieces(
        &self,
        index: usize,
        whole: Whole<'_>,
        budget: &Budget,
        into: &mut Pieces,
    ) -> Result<(), SourceError> {
        let _ = whole;
        into.clear();
        self.read(index, budget, &mut into.samples)?;
        into.push_samples_since(0);
        Ok(())
    }

    /// What reading a series in pieces takes, without reading it: what is known of that beforehand.
    fn plan(&self, index: usize, whole: Whole<'_>) -> ReadPlan {
        let _ = (index, whole);
        ReadPlan::default()
    }

    /// What the selection covers as a whole.
    fn coverage(&self) -> &Coverage;
}

/// Which chunks a reader takes as one.
#[derive(Clone, Copy)]
pub struct Whole<'w> {
    fits: &'w dyn Fn(TimeRange) -> bool,
    only_last: bool,
}

impl<'w> Whole<'w> {
    /// Those of whose time `fits` says so.
    pub fn of(fits: &'w dyn Fn(TimeRange) -> bool) -> Whole<'w> {
        Whole { fits, only_last: false }
    }

    /// The same for a reader to whom only a chunk's last sample counts: the others may lie before what was selected.
    pub fn of_last(fits: &'w dyn Fn(TimeRange) -> bool) -> Whole<'w> {
        Whole { fits, only_last: true }
    }

    /// Whether a chunk of this time is taken as one where this range was selected.
    #[must_use]
    pub fn takes(self, time: TimeRange, selected: TimeRange) -> bool {
        (selected.covers(time) || self.only_last && selected.contains(time.end)) && (self.fits)(time)
    }
}

/// What reading takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadPlan {
    /// Chunks that aggregates stand for.
    pub chunks_skipped: u64,
    /// Chunks that are decoded.
    pub chunks_decoded: u64,
    /// Samples of chunks that are decoded, and of heads.
    pub samples: u64,
    /// Windows of rollups that are read where raw has expired.
    pub windows: u64,
    /// Bytes of chunks that are decoded, those of rollups among them.
    pub bytes: u64,
}

impl ReadPlan {
    /// This and that.
    #[must_use]
    pub fn plus(self, other: ReadPlan) -> ReadPlan {
        ReadPlan {
            chunks_skipped: self.chunks_skipped + other.chunks_skipped,
            chunks_decoded: self.chunks_decoded + other.chunks_decoded,
            samples: self.samples + other.samples,
            windows: self.windows + other.windows,
            bytes: self.bytes + other.bytes,
        }
    }
}

/// The groups of selected series.
#[derive(Debug, Clone, Default)]
pub struct SeriesGroups {
    /// Per series, by index: its group.
    pub of: Vec<u32>,
    /// Per group: the labels that its series share.
    pub labels: Vec<LabelSet>,
}

impl SeriesGroups {
    /// Adds a group and returns its number.
    pub fn push(&mut self, labels: LabelSet) -> u32 {
        self.labels.push(labels);
        // There are no more groups than series, of which a source has fewer than 2^32.
        (self.labels.len() - 1) as u32
    }
}

/// Samples of one series in columns, reused from read to read.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// Milliseconds, strictly ascending.
    pub timestamps: Vec<i64>,
    /// One per timestamp; NaN where the sample is a histogram.
    pub values: Vec<f64>,
    /// Empty where all samples are floats; otherwise one per timestamp, `None` where that sample is a float.
    pub histograms: Vec<Option<Arc<Histogram>>>,
    /// Empty where no sample knows it; otherwise one per timestamp: the milliseconds at which what the sample counts
    /// began, 0 where that is not known.
    pub start_times: Vec<i64>,
    /// What could not be read.
    pub missing: Vec<Missing>,
    /// What the timestamps were read from.
    pub stamps: StampsRead,
}

/// What timestamps were read from. Series that were sampled together share their columns of timestamps: where the next
/// series' are those that were read last, they are not read again.
#[derive(Debug, Clone, Default)]
pub struct StampsRead {
    places: Vec<(u64, u64)>,
    version: u64,
}

/// The next [`StampsRead::version`]; 0 is that of no timestamps at all.
static VERSIONS: AtomicU64 = AtomicU64::new(1);

impl StampsRead {
    /// Changes whenever the timestamps may have changed, and only then; no others in this process have it.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether the timestamps at hand are those of these places.
    #[must_use]
    pub fn are(&self, places: &[(u64, u64)]) -> bool {
        !places.is_empty() && self.places == places
    }

    /// Says that the timestamps are those of these places from now on; of none, that nobody can tell.
    pub fn set(&mut self, places: &[(u64, u64)]) {
        self.places.clear();
        self.places.extend_from_slice(places);
        self.version = VERSIONS.fetch_add(1, Ordering::Relaxed);
    }
}

impl Samples {
    /// Empties the columns but the timestamps, and keeps their memory.
    pub fn clear_values(&mut self) {
        self.values.clear();
        self.histograms.clear();
        self.start_times.clear();
        self.missing.clear();
    }

    /// Empties the columns and keeps their memory.
    pub fn clear(&mut self) {
        self.stamps.set(&[]);
        self.timestamps.clear();
        self.values.clear();
        self.histograms.clear();
        self.start_times.clear();
        self.missing.clear();
    }
}

/// A run of a series' samples.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Samples, by their positions.
    Samples(Range<usize>),
    /// What the run comes to, stale markers left out. A rollup's sum need not be finite where only that is left.
    Whole(Aggregate),
}

/// A series in pieces, reused from read to read.
#[derive(Debug, Clone, Default)]
pub struct Pieces {
    /// What pieces of samples refer to, and what could not be read. Ascending, but with gaps where aggregates are.
    pub samples: Samples,
    /// In time order; none touches another.
    pub pieces: Vec<Piece>,
}

impl Pieces {
    /// Empties it and keeps its memory.
    pub fn clear(&mut self) {
        self.samples.clear();
        self.pieces.clear();
    }

    /// Makes a piece of the samples from this position on, or lengthens the last piece where it ends there.
    pub fn push_samples_since(&mut self, first: usize) {
        let end = self.samples.values.len();
        match self.pieces.last_mut() {
            Some(Piece::Samples(last)) if last.end == first => last.end = end,
            _ if first == end => {}
            _ => self.pieces.push(Piece::Samples(first..end)),
        }
    }
}

/// A part of the data that should be there and cannot be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The stamps concerned.
    pub range: TimeRange,
    /// Why, naming file and place.
    pub why: String,
}

/// What a selection covers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Samples up to this stamp have expired and are not part of any answer.
    pub expired_through: Option<Timestamp>,
    /// Stamps of which only rollups are left, oldest first: a selection shows what [`crate::Rollup::thinned`] makes of
    /// them, and windows that begin and end where theirs do get their aggregates.
    pub coarser: Vec<(TimeRange, Resolution)>,
    /// Whole blocks or log records that cannot be served.
    pub missing: Vec<Missing>,
}

/// The most a query may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryLimits {
    /// Series that it selects, over all selectors.
    pub series_max: u64,
    /// Samples that it decodes, over all selectors.
    pub samples_max: u64,
    /// Bytes of columns and results that it holds.
    pub memory_bytes_max: u64,
    /// Points per resulting series.
    pub steps_max: u64,
    /// Points of the answer, over all its series.
    pub points_max: u64,
    /// Milliseconds that it runs, where its budget has a clock.
    pub time_ms_max: u64,
}

impl QueryLimits {
    /// For who has to see all that there is and bounds what is held some other way.
    pub const NONE: QueryLimits = QueryLimits {
        series_max: u64::MAX,
        samples_max: u64::MAX,
        memory_bytes_max: u64::MAX,
        steps_max: u64::MAX,
        points_max: u64::MAX,
        time_ms_max: u64::MAX,
    };
}

impl Default for QueryLimits {
    fn default() -> QueryLimits {
        QueryLimits {
            series_max: 300_000,
            samples_max: 50_000_000,
            memory_bytes_max: 256 << 20,
            steps_max: 30_000,
            points_max: 11_000_000,
            time_ms_max: 120_000,
        }
    }
}

fn ascending(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}

/// What a running query has used, shared by its threads.
#[derive(Default)]
pub struct Budget {
    limits: QueryLimits,
    /// Tells milliseconds, and what it told first.
    clock: Option<(Box<dyn Fn() -> i64 + Send + Sync>, i64)>,
    series: AtomicU64,
    samples: AtomicU64,
    points: AtomicU64,
    memory_bytes: AtomicU64,
    memory_bytes_peak: AtomicU64,
    cancelled: AtomicBool,
    polls: AtomicU64,
}

/// How often work is charged until the clock is looked at.
const POLLS_PER_LOOK: u64 = 16;

/// A query crossed a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LimitExceeded {
    /// A named limit.
    #[error("the query needs {asked} {what}, over the limit of {limit}; narrow its matchers or its range")]
    Over {
        /// What is limited.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// What was asked for when it was crossed.
        asked: u64,
    },
    /// Someone called [`Budget::cancel`].
    #[error("the query was cancelled")]
    Cancelled,
}

impl Budget {
    /// A budget of which nothing is used.
    #[must_use]
    pub fn new(limits: QueryLimits) -> Budget {
        Budget { limits, ..Budget::default() }
    }

    /// The same with a clock that tells milliseconds: from now on its time runs.
    #[must_use]
    pub fn with_clock(self, now_ms: Box<dyn Fn() -> i64 + Send + Sync>) -> Budget {
        let started = now_ms();
        Budget { clock: Some((now_ms, started)), ..self }
    }

    /// The limits.
    #[must_use]
    pub fn limits(&self) -> QueryLimits {
        self.limits
    }

    /// Makes every later charge fail.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Charges series that a selector found.
    pub fn charge_series(&self, count: u64) -> Result<(), LimitExceeded> {
        self.charge(&self.series, "series", self.limits.series_max, count)
    }

    /// Charges samples, before they are decoded.
    pub fn charge_samples(&self, count: u64) -> Result<(), LimitExceeded> {
        self.charge(&self.samples, "samples", self.limits.samples_max, count)
    }

    /// Charges points of the answer.
    pub fn charge_points(&self, count: u64) -> Result<(), LimitExceeded> {
        self.charge(&self.points, "points in the answer", self.limits.points_max, count)
    }

    /// Asks whether the query may go on: nobody cancelled it, and its time is not up. For work that charges nothing.
    pub fn poll(&self) -> Result<(), LimitExceeded> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(LimitExceeded::Cancelled);
        }
        let Some((now_ms, started)) = &self.clock else { return Ok(()) };
        // Work is charged in small pieces, and a clock costs as much as some of them.
        if !self.polls.fetch_add(1, Ordering::Relaxed).is_multiple_of(POLLS_PER_LOOK) {
            return Ok(());
        }
        let asked = u64::try_from(now_ms().saturating_sub(*started)).unwrap_or(0);
        let limit = self.limits.time_ms_max;
        if asked > limit {
            return Err(LimitExceeded::Over { what: "milliseconds", limit, asked });
        }
        Ok(())
    }

    /// Charges memory, before it is allocated.
    pub fn charge_memory(&self, bytes: u64) -> Result<(), LimitExceeded> {
        let charged = self.charge(&self.memory_bytes, "bytes of memory", self.limits.memory_bytes_max, bytes);
        self.memory_bytes_peak.fetch_max(self.memory_bytes.load(Ordering::Relaxed), Ordering::Relaxed);
        charged
    }

    /// Gives memory back.
    pub fn release_memory(&self, bytes: u64) {
        self.memory_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// The most bytes of memory that were charged at one time.
    #[must_use]
    pub fn memory_bytes_peak(&self) -> u64 {
        self.memory_bytes_peak.load(Ordering::Relaxed)
    }

    /// Bytes of memory that are charged now.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Samples charged so far.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.samples.load(Ordering::Relaxed)
    }

    fn charge(
        &self,
        used: &AtomicU64,
        what: &'static str,
        limit: u64,
        count: u64,
    ) -> Result<(), LimitExceeded> {
        self.poll()?;
        let asked = used.fetch_add(count, Ordering::Relaxed).saturating_add(count);
        if asked > limit { Err(LimitExceeded::Over { what, limit, asked }) } else { Ok(()) }
    }
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget")
            .field("limits", &self.limits)
            .field("series", &self.series)
            .field("samples", &self.samples)
            .field("memory_bytes", &self.memory_bytes)
            .finish_non_exhaustive()
    }
}

/// Why a source cannot answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// The query is over a limit or was cancelled.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// The data cannot be reached at all.
    #[error("{0}")]
    Unavailable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crossed_limit_names_itself_its_value_and_what_was_asked() {
        let budget = Budget::new(QueryLimits { series_max: 10, ..QueryLimits::default() });
        assert_eq!(budget.charge_series(10), Ok(()));
        let error = budget.charge_series(5).expect_err("over");
        assert_eq!(error, LimitExceeded::Over { what: "series", limit: 10, asked: 15 });
        assert!(error.to_string().contains("15 series, over the limit of 10"));
        budget.cancel();
        assert_eq!(budget.charge_samples(1), Err(LimitExceeded::Cancelled));
    }
}
