//! Samples, the kinds of series that hold them, and the law by which two of one instant merge.

use crate::{BatchId, Histogram, HistogramSamples, LabelSet, SiteName, Timestamp, append_starts};

/// The bits of the NaN that marks a series as ended, as in Prometheus.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Whether a value is the stale marker.
#[must_use]
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// What a series' values mean. Fixed per (tenant, metric name) by the first write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SeriesKind {
    /// A level; the later write of one instant wins.
    Gauge,
    /// A cumulative count that may reset; the later write of one instant wins.
    Counter,
    /// The sum over one cell of events, stamped at the cell's end; writes of one instant add up.
    Delta,
    /// Native histograms that count from a start on, or levels; the later write of one instant wins.
    Histogram,
    /// Native histograms of the events of one cell each; writes of one instant add up.
    DeltaHistogram,
}

impl SeriesKind {
    /// All kinds, by their tags.
    pub const ALL: [SeriesKind; 5] = [
        SeriesKind::Gauge,
        SeriesKind::Counter,
        SeriesKind::Delta,
        SeriesKind::Histogram,
        SeriesKind::DeltaHistogram,
    ];

    /// Whether samples are histograms, not numbers.
    #[must_use]
    pub fn is_histogram(self) -> bool {
        matches!(self, SeriesKind::Histogram | SeriesKind::DeltaHistogram)
    }

    /// Whether each sample counts events of its own, so that samples add up.
    #[must_use]
    pub fn is_delta(self) -> bool {
        matches!(self, SeriesKind::Delta | SeriesKind::DeltaHistogram)
    }

    /// The number that stands for the kind on disk.
    #[must_use]
    pub fn tag(self) -> u8 {
        match self {
            SeriesKind::Gauge => 0,
            SeriesKind::Counter => 1,
            SeriesKind::Delta => 2,
            SeriesKind::Histogram => 3,
            SeriesKind::DeltaHistogram => 4,
        }
    }

    /// The kind of a number read from disk.
    #[must_use]
    pub fn from_tag(tag: u8) -> Option<SeriesKind> {
        SeriesKind::ALL.into_iter().find(|kind| kind.tag() == tag)
    }

    /// The kind's name, as in the CLI and in metadata.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            SeriesKind::Gauge => "gauge",
            SeriesKind::Counter => "counter",
            SeriesKind::Delta => "delta",
            SeriesKind::Histogram => "histogram",
            SeriesKind::DeltaHistogram => "delta_histogram",
        }
    }
}

/// Two values of one series and one instant become one: deltas add, otherwise the later write wins. Histograms merge by
/// [`merge_histograms`](crate::merge_histograms).
///
/// Whole numbers below 2^53 add exactly; no cell of events gets near that.
#[must_use]
pub fn merge_values(kind: SeriesKind, earlier: f64, later: f64) -> f64 {
    match kind {
        SeriesKind::Delta | SeriesKind::DeltaHistogram => earlier + later,
        SeriesKind::Gauge | SeriesKind::Counter | SeriesKind::Histogram => later,
    }
}

/// The samples of one series as they are stored: stamps ascend strictly.
#[derive(Debug, Clone, Copy)]
pub enum SeriesSamples<'a> {
    /// Of a series of numbers: its stamps, a value for each, and a start time for each where any is known.
    Numbers(&'a [i64], &'a [f64], &'a [i64]),
    /// Of a series of histograms.
    Histograms(&'a HistogramSamples),
}

impl SeriesSamples<'_> {
    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timestamps().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their stamps.
    #[must_use]
    pub fn timestamps(&self) -> &[i64] {
        match self {
            SeriesSamples::Numbers(timestamps, ..) => timestamps,
            SeriesSamples::Histograms(samples) => &samples.timestamps,
        }
    }

    /// Their start times; none where none is known.
    #[must_use]
    pub fn start_times(&self) -> &[i64] {
        match self {
            SeriesSamples::Numbers(_, _, starts) => starts,
            SeriesSamples::Histograms(samples) => &samples.start_times,
        }
    }
}

/// Samples to be written, acknowledged as a whole.
///
/// Each distinct series is named once and then referred to by its index, so that labels are checked and
/// looked up once per batch.
///
/// ```
/// use annals_model::{BatchId, LabelSet, SampleBatch, SeriesKind, SiteName, Timestamp};
/// let mut batch = SampleBatch::new(BatchId([7; 16]), SiteName::new("host-1")?);
/// let up = batch.series(LabelSet::from_pairs([("__name__", "up")])?, SeriesKind::Gauge);
/// batch.push(up, Timestamp(1_700_000_000_000), 1.0);
/// assert_eq!(batch.samples.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct SampleBatch {
    /// Names the batch within (tenant, site): writing it again counts nothing twice.
    pub id: BatchId,
    /// Where the batch comes from.
    pub site: SiteName,
    /// The series that samples refer to.
    pub series: Vec<(LabelSet, SeriesKind)>,
    /// Index into `series`, time, value. Of a series of cumulative histograms, markers of its end alone.
    pub samples: Vec<(u32, Timestamp, f64)>,
    /// Index into `series`, time, histogram. As records of the batch they come after `samples`.
    pub histograms: Vec<(u32, Timestamp, Histogram)>,
    /// Per sample, as far as it goes: when what it counts began, [`START_UNKNOWN`](crate::START_UNKNOWN) where its sender does not say so.
    pub sample_starts: Vec<i64>,
    /// The same per histogram.
    pub histogram_starts: Vec<i64>,
}

impl SampleBatch {
    /// A batch without samples.
    #[must_use]
    pub fn new(id: BatchId, site: SiteName) -> SampleBatch {
        SampleBatch {
            id,
            site,
            series: Vec::new(),
            samples: Vec::new(),
            histograms: Vec::new(),
            sample_starts: Vec::new(),
            histogram_starts: Vec::new(),
        }
    }

    /// Adds a series and returns the index by which samples refer to it.
    ///
    /// # Panics
    /// Where a batch would hold 2^32 series, far above every batch limit.
    pub fn series(&mut self, labels: LabelSet, kind: SeriesKind) -> u32 {
        let index = u32::try_from(self.series.len()).expect("fewer than 2^32 series in a batch");
        self.series.push((labels, kind));
        index
    }

    /// Adds a sample of the series with that index.
    pub fn push(&mut self, series: u32, time: Timestamp, value: f64) {
        self.samples.push((series, time, value));
    }

    /// Adds a sample that knows when what it counts began: the start of its process, or when its counter was last reset.
    /// Of delta series it is not kept: their samples count their own cell.
    pub fn push_since(&mut self, series: u32, time: Timestamp, value: f64, start: Timestamp) {
        append_starts(&mut self.sample_starts, self.samples.len(), 1, &[start.0]);
        self.push(series, time, value);
    }

    /// Adds a histogram to the series with that index.
    pub fn push_histogram(&mut self, series: u32, time: Timestamp, histogram: Histogram) {
        self.histograms.push((series, time, histogram));
    }

    /// Adds a histogram that knows when what it counts began, as [`SampleBatch::push_since`] adds a sample.
    pub fn push_histogram_since(
        &mut self,
        series: u32,
        time: Timestamp,
        histogram: Histogram,
        start: Timestamp,
    ) {
        append_starts(&mut self.histogram_starts, self.histograms.len(), 1, &[start.0]);
        self.push_histogram(series, time, histogram);
    }
}
