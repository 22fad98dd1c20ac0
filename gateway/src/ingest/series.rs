//! What a request's samples are of: references to the tenant's series, kept from one request to the next.
//!
//! ```text
//!   text or bytes that name a series ──find──► number ──► SeriesRef ──► the engine's number
//!                 (Names, per tenant and format)     made once       remembered by the reference
//! ```
//!
//! A sender names the same series again and again, byte by byte. So labels are taken apart, sorted and checked once; after
//! that a sample costs one look-up by the bytes that name it. What is kept is bounded per tenant and in all, and is
//! dropped after [`IDLE_MS`] without a request.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use annals::signals::read::{Names, SampleSink};
use annals::{
    Acknowledgement, BatchId, Histogram, LabelSet, RefBatch, RefusalReason, START_UNKNOWN, SampleBatch,
    SeriesKind, SeriesRef, SiteName, Tenant, TenantNumber, Ticket, Timestamp,
};

use super::IngestError;

/// A longer request becomes several batches, each counted once.
const BATCH_SAMPLES: usize = 50_000;
/// What is kept of one tenant's series in one format; about 100,000 series.
const CACHE_BYTES_MAX: usize = 64 << 20;
/// What is kept in all.
const CACHES_BYTES_MAX: usize = 256 << 20;
/// What nobody has asked for this long is dropped.
const IDLE: Duration = Duration::from_secs(600);
/// What a known series takes besides its name: reference, labels.
const KNOWN_BYTES: usize = 512;

/// Formats whose names of series must not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    RemoteWrite,
    RemoteWrite2,
    Otlp,
    Influx,
    Text,
    Json,
}

/// What is known of series between requests.
pub(crate) struct SeriesCaches {
    idle: Mutex<Idle>,
    /// How many requests of one tenant in one format find something kept at one time.
    at_once: usize,
}

/// What no request is using, and since when, on the monotonic clock.
type Idle = HashMap<(TenantNumber, Form), Vec<(Duration, Cache)>>;

struct Cache {
    names: Names,
    /// By number.
    known: Vec<Known>,
    /// How many requests it has served.
    requests: u64,
    /// The number that was found or given last.
    last: u32,
}

/// What a number stands for.
enum Known {
    /// A part of names.
    Part,
    /// A series that there cannot be: its labels are against the rules.
    Invalid,
    Series {
        series: SeriesRef,
        /// The last request that has it, and its index there.
        place: (u64, u32),
    },
}

impl Cache {
    fn insert(&mut self, known: Known, within: u32, name: &[u8]) -> u32 {
        self.known.push(known);
        self.last = self.names.insert(within, name);
        self.last
    }

    fn memory_bytes(&self) -> usize {
        self.names.memory_bytes() + self.known.len() * KNOWN_BYTES
    }
}

impl SeriesCaches {
    /// Nothing yet, for as many requests as are decoded at one time: one that finds nothing kept takes every series apart, which
    /// is three times the work.
    pub(crate) fn new(at_once: usize) -> SeriesCaches {
        SeriesCaches { idle: Mutex::default(), at_once }
    }

    fn take(&self, tenant: TenantNumber, form: Form, seed: u64) -> Cache {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle.get_mut(&(tenant, form)).and_then(Vec::pop);
        kept.map_or_else(
            || Cache { names: Names::new(seed), known: Vec::new(), requests: 0, last: 0 },
            |(_, cache)| cache,
        )
    }

    /// Forgets what is known of a tenant's series.
    pub(crate) fn forget(&self, tenant: TenantNumber) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(of, _), _| *of != tenant);
    }

    fn keep(&self, tenant: TenantNumber, form: Form, cache: Cache, now: Duration) {
        if cache.memory_bytes() > CACHE_BYTES_MAX {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        for kept in idle.values_mut() {
            kept.retain(|(since, _)| now.saturating_sub(*since) < IDLE);
        }
        idle.retain(|_, kept| !kept.is_empty());
        let bytes: usize = idle.values().flatten().map(|(_, cache)| cache.memory_bytes()).sum();
        if bytes.saturating_add(cache.memory_bytes()) > CACHES_BYTES_MAX {
            idle.clear();
        }
        let kept = idle.entry((tenant, form)).or_default();
        if kept.len() < self.at_once {
            kept.push((now, cache));
        }
    }
}

/// The samples of one request.
pub(crate) struct Samples<'a> {
    caches: &'a SeriesCaches,
    tenant: &'a Tenant,
    form: Form,
    cache: Cache,
    /// The time of samples that tell none, and whether there is one.
    now: Timestamp,
    pub(crate) timeless: bool,
    series: Vec<SeriesRef>,
    samples: Vec<(u32, Timestamp, f64)>,
    histograms: Vec<(u32, Timestamp, Histogram)>,
    /// When what samples and histograms count began, as far as any of them says so.
    sample_starts: Vec<i64>,
    histogram_starts: Vec<i64>,
    /// Records that are refused before the engine sees them.
    pub(crate) refused: BTreeMap<&'static str, u64>,
}

impl<'a> Samples<'a> {
    /// None yet. `now` is the time of those that tell none; `seed` keeps senders from choosing where names meet.
    pub(crate) fn new(
        caches: &'a SeriesCaches,
        tenant: &'a Tenant,
        form: Form,
        now: Timestamp,
        seed: u64,
    ) -> Samples<'a> {
        let mut cache = caches.take(tenant.number(), form, seed);
        cache.requests += 1;
        Samples {
            caches,
            tenant,
            form,
            cache,
            now,
            timeless: false,
            series: Vec::new(),
            samples: Vec::new(),
            histograms: Vec::new(),
            sample_starts: Vec::new(),
            histogram_starts: Vec::new(),
            refused: BTreeMap::new(),
        }
    }

    /// Counts records that are not for the engine.
    pub(crate) fn refuse(&mut self, reason: &'static str, records: u64) {
        *self.refused.entry(reason).or_default() += records;
    }

    /// One sample that may say when what it counts began.
    #[inline]
    pub(crate) fn sample_since(
        &mut self,
        series: u32,
        time: Option<Timestamp>,
        value: f64,
        start: Option<Timestamp>,
    ) {
        let before = self.samples.len();
        self.sample(series, time, value);
        if let Some(Timestamp(start)) = start
            && self.samples.len() > before
        {
            self.sample_starts.resize(before, START_UNKNOWN);
            self.sample_starts.push(start);
        }
    }

    /// One histogram of a numbered series, which may say when what it counts began.
    pub(crate) fn histogram(
        &mut self,
        series: u32,
        time: Option<Timestamp>,
        histogram: Histogram,
        start: Option<Timestamp>,
    ) {
        let time = self.time(time);
        match self.index(series) {
            Some(index) => {
                if let Some(Timestamp(start)) = start {
                    self.histogram_starts.resize(self.histograms.len(), START_UNKNOWN);
                    self.histogram_starts.push(start);
                }
                self.histograms.push((index, time, histogram));
            }
            None => self.refuse(RefusalReason::InvalidLabels.word(), 1),
        }
    }

    #[inline]
    fn time(&mut self, time: Option<Timestamp>) -> Timestamp {
        time.unwrap_or_else(|| {
            self.timeless = true;
            self.now
        })
    }

    /// The place of a numbered series among this request's.
    #[inline]
    fn index(&mut self, number: u32) -> Option<u32> {
        let Known::Series { series, place } = self.cache.known.get_mut(Names::position(number))? else {
            return None;
        };
        if place.0 != self.cache.requests {
            *place = (self.cache.requests, u32::try_from(self.series.len()).ok()?);
            self.series.push(series.clone());
        }
        Some(place.1)
    }

    /// Whether any of it is a delta, which counts again where it is written again.
    pub(crate) fn adds_up(&self) -> bool {
        self.series.iter().any(|series| series.kind().is_delta())
    }

    /// Queues all of it, under ids that follow from one.
    ///
    /// Numbers go by reference, histograms and what knows its start by their labels; what a request is does not change when it is sent again.
    pub(crate) fn write(self, id: BatchId, site: &SiteName, now: Duration) -> Result<Written, IngestError> {
        let Samples { caches, tenant, form, cache, series, samples, histograms, refused, .. } = self;
        let (sample_starts, histogram_starts) = (self.sample_starts, self.histogram_starts);
        let samples_count = samples.len();
        let mut tickets = Vec::new();
        if histograms.is_empty() && sample_starts.is_empty() {
            for (piece, samples) in (0..).zip(samples.chunks(BATCH_SAMPLES)) {
                let id = piece_id(id, piece);
                tickets.push(tenant.write_refs(&RefBatch {
                    id,
                    site: site.clone(),
                    series: &series,
                    samples,
                })?);
            }
        } else {
            let mut batch = SampleBatch::new(id, site.clone());
            batch.series = series.iter().map(|series| (series.labels().clone(), series.kind())).collect();
            (batch.samples, batch.histograms) = (samples, histograms);
            (batch.sample_starts, batch.histogram_starts) = (sample_starts, histogram_starts);
            tickets.push(tenant.write_samples(&batch)?);
        }
        caches.keep(tenant.number(), form, cache, now);
        Ok(Written { tickets, numbers: samples_count, refused })
    }
}

/// Other pieces of a request have ids of their own, which a retry finds again.
fn piece_id(of: BatchId, piece: u32) -> BatchId {
    let BatchId(mut id) = of;
    if of == BatchId::NONE {
        return of;
    }
    id.iter_mut().zip(piece.to_le_bytes()).for_each(|(byte, of_piece)| *byte ^= of_piece);
    BatchId(id)
}

impl SampleSink for Samples<'_> {
    #[inline]
    fn find(&mut self, within: u32, name: &[u8]) -> Option<u32> {
        let found = self.cache.names.find(within, name)?;
        self.cache.last = found;
        Some(found)
    }

    #[inline]
    fn guess(&mut self, within: u32, text: &[u8]) -> Option<(u32, usize)> {
        let guessed = self.cache.names.after(self.cache.last, within, text)?;
        self.cache.last = guessed.0;
        Some(guessed)
    }

    fn part(&mut self, within: u32, name: &[u8]) -> u32 {
        self.cache.insert(Known::Part, within, name)
    }

    fn series(&mut self, within: u32, name: &[u8], labels: &[(&str, &str)], kind: SeriesKind) -> u32 {
        let known = match LabelSet::from_pairs(labels.iter().copied()) {
            Ok(labels) if !labels.metric_name().is_empty() => {
                // A sender's guess gives way to what the metric was first written as; senders differ in that.
                let kind = match self.tenant.metric_kind(labels.metric_name()) {
                    Some(fixed) if !kind.is_delta() && !fixed.is_delta() => fixed,
                    _ => kind,
                };
                Known::Series { series: self.tenant.series_ref(&labels, kind), place: (0, 0) }
            }
            _ => Known::Invalid,
        };
        self.cache.insert(known, within, name)
    }

    #[inline]
    fn sample(&mut self, series: u32, time: Option<Timestamp>, value: f64) {
        let time = self.time(time);
        match self.index(series) {
            Some(index) => self.samples.push((index, time, value)),
            None => self.refuse(RefusalReason::InvalidLabels.word(), 1),
        }
    }
}

/// What was queued.
pub(crate) struct Written {
    pub(crate) tickets: Vec<Ticket>,
    /// How many of the records are numbers; they come first.
    pub(crate) numbers: usize,
    /// What was refused before.
    pub(crate) refused: BTreeMap<&'static str, u64>,
}

/// What became of a request's samples.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Numbers that are counted now or were before.
    pub(crate) samples: u64,
    /// Histograms that are.
    pub(crate) histograms: u64,
    /// The others, by reason.
    pub(crate) refused: BTreeMap<&'static str, u64>,
}

impl Outcome {
    /// Adds up what a request's batches came to, of which the first records are so many numbers.
    pub(crate) fn of(
        written: &[Acknowledgement],
        numbers: usize,
        refused: BTreeMap<&'static str, u64>,
    ) -> Outcome {
        let mut outcome = Outcome { samples: numbers as u64, histograms: 0, refused };
        let mut before = 0;
        for batch in written {
            for (index, refusal) in &batch.refused {
                *outcome.refused.entry(refusal.reason.word()).or_default() += 1;
                let of =
                    if before + index < numbers { &mut outcome.samples } else { &mut outcome.histograms };
                *of = of.wrapping_sub(1);
            }
            before += batch.records;
        }
        outcome.histograms = outcome.histograms.wrapping_add(before.saturating_sub(numbers) as u64);
        outcome
    }

    /// Whether a metric was written as another kind than it has; what is remembered of its series is of no use then.
    pub(crate) fn conflicting_kinds(&self) -> bool {
        self.refused.contains_key(RefusalReason::KindConflict.word())
    }

    /// Refusals as a sentence; `None` where there are none.
    pub(crate) fn refusals(&self) -> Option<String> {
        let all: Vec<String> =
            self.refused.iter().map(|(reason, records)| format!("{records} {reason}")).collect();
        (!all.is_empty()).then(|| {
            format!("refused: {}; the other {} are counted", all.join(", "), self.samples + self.histograms)
        })
    }
}
