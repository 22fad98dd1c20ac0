//! Derivation: the delta cells that a batch of admitted signals adds up to.
//!
//! A signal at time `e` counts at stamp `(floor(e / 60 s) + 1) * 60 s`: in the cell that its minute ends, so that
//! left-open ranges of stamps hold whole minutes. Per kind:
//!
//! - `signals{site, kind}` counts every signal;
//! - a count metric counts signals by the values of its label fields; an absent value is an absent label;
//! - a durations metric counts the signals that have its field: `<name>_bucket{le}` cumulative and complete (also
//!   where a bucket is 0, so that quantiles know every bound), `<name>_sum` in seconds, `<name>_count`.
//!
//! Counts are whole and exact; a sum is added up in whole milliseconds and divided once. Cells come ordered by labels,
//! then by time, with no two of one series and stamp; for the same rows in any order they are the same.
//!
//! ```
//! use annals_model::{Signal, SiteName, Timestamp};
//! use annals_signals::{Admitter, NameTable, PseudonymKey, builtin, derive};
//!
//! let (schema, key, names, site) = (builtin(), PseudonymKey::new(&[7; 32]), NameTable::new(), SiteName::new("a")?);
//! let mut admitter = Admitter::new(&schema, &key, &names, &site);
//! let sent = Signal::new("mail.sent", Timestamp(60_000)).with("result", "sent");
//! let rows: Vec<_> = [&sent, &sent].into_iter().flat_map(|signal| admitter.admit(signal)).collect();
//! let cells: Vec<_> = derive(&schema, &site, &rows)
//!     .iter()
//!     .map(|cell| format!("{} {} {}", cell.labels, cell.time.0, cell.value))
//!     .collect();
//! assert_eq!(
//!     cells,
//!     [r#"mails{result="sent", site="a"} 120000 2"#, r#"signals{kind="mail.sent", site="a"} 120000 2"#]
//! );
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;

use annals_model::schema::{KindSchema, MetricSchema, PrivacyClass, SignalSchema};
use annals_model::{FieldValue, LabelSet, METRIC_NAME, MINUTE_MS, SignalRow, SiteName, Timestamp};
use hashbrown::{HashMap, HashTable};

use crate::reserved::SIGNALS;

/// Remembered combinations past which a deriver starts over: about 100 MB, far above what name caps allow a site.
const COMBINATIONS_MAX: usize = 100_000;

/// What one cell of a derived delta series gains from a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// The series, `site` among its labels.
    pub labels: LabelSet,
    /// The end of the cell.
    pub time: Timestamp,
    /// What to add there.
    pub value: f64,
}

/// The stamp at which an event counts.
#[must_use]
pub fn cell_stamp(event: Timestamp) -> Timestamp {
    Timestamp(event.0.div_euclid(MINUTE_MS).saturating_add(1).saturating_mul(MINUTE_MS))
}

/// The cells of one batch; a [`Deriver`] does the same faster for one batch after another.
#[must_use]
pub fn derive(schema: &SignalSchema, site: &SiteName, rows: &[SignalRow]) -> Vec<Cell> {
    Deriver::new(schema).derive(site, rows)
}

/// Derives cells of many batches of one schema, and remembers label sets between them.
///
/// A combination is a site, a kind and the values of all fields that are a label of one of the kind's metrics; it
/// determines every series that a signal counts in. So the work per signal is two look-ups, without a string built.
#[derive(Debug)]
pub struct Deriver {
    kinds: Vec<KindPlan>,
    by_name: HashMap<Arc<str>, usize, FixedState>,
    sites: HashMap<SiteName, u32, FixedState>,
    combinations: Vec<Combination>,
    /// Indices into `combinations`.
    index: HashTable<usize>,
    series: Vec<Series>,
    /// Indices into `series`.
    by_labels: HashMap<LabelSet, usize, FixedState>,
    hasher: FixedState,
}

/// A fixed seed: the fields hashed are bounded in number by enumerations and name caps.
type FixedState = foldhash::fast::FixedState;

/// What a kind's signals count in.
#[derive(Debug)]
struct KindPlan {
    schema: Arc<KindSchema>,
    /// The fields that are a label of some metric.
    labels: Vec<usize>,
    durations: Vec<DurationsPlan>,
}

#[derive(Debug)]
struct DurationsPlan {
    field: usize,
    bounds_ms: Vec<i64>,
}

#[derive(Debug)]
struct Combination {
    site: u32,
    kind: usize,
    /// By `KindPlan::labels`.
    values: Vec<Option<LabelValue>>,
    /// `signals`, and the count metrics.
    counts: Vec<usize>,
    /// By `KindPlan::durations`.
    durations: Vec<DurationsSeries>,
}

#[derive(Debug)]
struct DurationsSeries {
    /// One per bound, then `+Inf`.
    buckets: Vec<usize>,
    sum: usize,
    count: usize,
}

#[derive(Debug)]
struct Series {
    labels: LabelSet,
    /// Whether what is added up are milliseconds, to be told in seconds.
    is_time: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum LabelValue {
    Name(Arc<str>),
    Integer(i64),
}

/// What the signals of one combination and one minute add up to.
struct Tally {
    combination: usize,
    time: Timestamp,
    count: i128,
    /// By `KindPlan::durations`.
    durations: Vec<DurationsTally>,
}

struct DurationsTally {
    /// Not cumulative; one per bound, then the rest.
    buckets: Vec<i128>,
    sum_ms: i128,
}

impl Deriver {
    /// A deriver that remembers nothing yet.
    #[must_use]
    pub fn new(schema: &SignalSchema) -> Deriver {
        let kinds: Vec<KindPlan> = schema.kinds.iter().map(KindPlan::new).collect();
        let by_name = kinds.iter().enumerate().map(|(at, kind)| (kind.schema.name.clone(), at)).collect();
        Deriver {
            kinds,
            by_name,
            sites: HashMap::default(),
            combinations: Vec::new(),
            index: HashTable::new(),
            series: Vec::new(),
            by_labels: HashMap::default(),
            hasher: FixedState::default(),
        }
    }

    /// The cells of one site's batch. Rows of kinds that the schema does not have count nowhere.
    #[must_use]
    pub fn derive(&mut self, site: &SiteName, rows: &[SignalRow]) -> Vec<Cell> {
        if self.combinations.len() > COMBINATIONS_MAX {
            self.sites.clear();
            self.combinations.clear();
            self.index.clear();
            self.series.clear();
            self.by_labels.clear();
        }
        let tallies = self.tally(site, rows);
        self.cells(&tallies)
    }

    fn tally(&mut self, site: &SiteName, rows: &[SignalRow]) -> Vec<Tally> {
        let next_site = self.sites.len() as u32;
        let site_number = *self.sites.entry_ref(site).or_insert(next_site);
        let mut tallies: Vec<Tally> = Vec::new();
        let mut found: HashMap<(usize, Timestamp), usize, FixedState> = HashMap::default();
        let mut last_kind: Option<(&Arc<str>, usize)> = None;
        for row in rows {
            let kind = match last_kind {
                Some((name, kind)) if *name == row.kind => kind,
                _ => match self.by_name.get(&row.kind) {
                    Some(&kind) => kind,
                    None => continue,
                },
            };
            last_kind = Some((&row.kind, kind));
            let combination = self.combination(site, site_number, kind, row);
            let time = cell_stamp(row.time);
            let plan = &self.kinds[kind];
            let at = *found.entry((combination, time)).or_insert_with(|| {
                let durations = plan.durations.iter().map(DurationsTally::new).collect();
                tallies.push(Tally { combination, time, count: 0, durations });
                tallies.len() - 1
            });
            let tally = &mut tallies[at];
            tally.count += 1;
            for (plan, tally) in plan.durations.iter().zip(&mut tally.durations) {
                if let Some(Some(FieldValue::Integer(ms))) = row.fields.get(plan.field) {
                    tally.buckets[plan.bounds_ms.partition_point(|bound| bound < ms)] += 1;
                    tally.sum_ms += i128::from(*ms);
                }
            }
        }
        tallies
    }

    /// The combination of a row, made where it is new.
    fn combination(&mut self, site: &SiteName, site_number: u32, kind: usize, row: &SignalRow) -> usize {
        let plan = &self.kinds[kind];
        let hash =
            hash_of(&self.hasher, site_number, kind, plan.labels.iter().map(|&at| LabelRef::of(row, at)));
        let found = self.index.find(hash, |&at| {
            let known = &self.combinations[at];
            known.site == site_number
                && known.kind == kind
                && known
                    .values
                    .iter()
                    .zip(&plan.labels)
                    .all(|(value, &at)| value.as_ref().map(LabelValue::borrow) == LabelRef::of(row, at))
        });
        if let Some(&at) = found {
            return at;
        }
        let values = plan.labels.iter().map(|&at| LabelRef::of(row, at).map(LabelRef::keep)).collect();
        let made = self.make_combination(site, site_number, kind, values);
        let at = self.combinations.len();
        self.combinations.push(made);
        let (combinations, hasher) = (&self.combinations, &self.hasher);
        self.index.insert_unique(hash, at, |&at| {
            let known = &combinations[at];
            let values = known.values.iter().map(|value| value.as_ref().map(LabelValue::borrow));
            hash_of(hasher, known.site, known.kind, values)
        });
        at
    }

    fn make_combination(
        &mut self,
        site: &SiteName,
        site_number: u32,
        kind: usize,
        values: Vec<Option<LabelValue>>,
    ) -> Combination {
        let schema = self.kinds[kind].schema.clone();
        let texts: Vec<(usize, Arc<str>, String)> = self.kinds[kind]
            .labels
            .iter()
            .zip(&values)
            .filter_map(|(&at, value)| {
                Some((at, schema.fields.get(at)?.name.clone(), value.as_ref()?.text()))
            })
            .collect();
        let pairs_of = |labels: &[usize]| -> Vec<(&str, &str)> {
            let own = texts.iter().filter(|(at, ..)| labels.contains(at));
            own.map(|(_, name, text)| (&**name, text.as_str())).chain([("site", site.as_str())]).collect()
        };

        let mut counts = Vec::new();
        counts.extend(self.intern(SIGNALS, &[("site", site.as_str()), ("kind", &schema.name)], false));
        let mut durations = Vec::new();
        for metric in &schema.metrics {
            match metric {
                MetricSchema::Count { name, labels } => {
                    counts.extend(self.intern(name, &pairs_of(labels), false));
                }
                MetricSchema::Durations { name, labels, bounds_ms, .. } => {
                    let pairs = pairs_of(labels);
                    durations.push(self.make_durations(name, &pairs, bounds_ms));
                }
            }
        }
        Combination { site: site_number, kind, values, counts, durations }
    }

    fn make_durations(&mut self, name: &str, pairs: &[(&str, &str)], bounds_ms: &[i64]) -> DurationsSeries {
        let bucket = format!("{name}_bucket");
        let les = bounds_ms.iter().map(|&ms| seconds_text(ms)).chain(["+Inf".to_owned()]);
        DurationsSeries {
            buckets: les
                .filter_map(|le| {
                    let pairs: Vec<_> = pairs.iter().copied().chain([("le", le.as_str())]).collect();
                    self.intern(&bucket, &pairs, false)
                })
                .collect(),
            sum: self.intern(&format!("{name}_sum"), pairs, true).unwrap_or(usize::MAX),
            count: self.intern(&format!("{name}_count"), pairs, false).unwrap_or(usize::MAX),
        }
    }

    /// The index of a series. `None` where the labels are invalid, as no schema of this crate makes them.
    fn intern(&mut self, name: &str, pairs: &[(&str, &str)], is_time: bool) -> Option<usize> {
        let pairs = pairs.iter().copied().chain([(METRIC_NAME, name)]);
        let labels = LabelSet::from_pairs(pairs).ok()?;
        let next = self.series.len();
        let at = *self.by_labels.entry_ref(&labels).or_insert(next);
        if at == next {
            self.series.push(Series { labels, is_time });
        }
        Some(at)
    }

    /// Adds up tallies by series, since several combinations may share one, and puts the cells in order.
    fn cells(&self, tallies: &[Tally]) -> Vec<Cell> {
        let mut sums: HashMap<(usize, Timestamp), i128, FixedState> = HashMap::default();
        for tally in tallies {
            let combination = &self.combinations[tally.combination];
            let mut add =
                |series: usize, value: i128| *sums.entry((series, tally.time)).or_insert(0) += value;
            for &series in &combination.counts {
                add(series, tally.count);
            }
            for (series, tally) in combination.durations.iter().zip(&tally.durations) {
                let count: i128 = tally.buckets.iter().sum();
                if count == 0 {
                    continue;
                }
                let mut below = 0;
                for (&bucket, count) in series.buckets.iter().zip(&tally.buckets) {
                    below += count;
                    add(bucket, below);
                }
                add(series.sum, tally.sum_ms);
                add(series.count, count);
            }
        }
        let mut sums: Vec<(usize, Timestamp, i128)> =
            sums.into_iter().map(|((series, time), sum)| (series, time, sum)).collect();
        sums.sort_unstable_by_key(|&(series, time, _)| (series, time));
        // Few series have many cells each, so labels are compared series by series.
        let mut of_series: Vec<(&Series, &[_])> = sums
            .chunk_by(|(a, ..), (b, ..)| a == b)
            .filter_map(|cells| Some((self.series.get(cells.first()?.0)?, cells)))
            .collect();
        of_series.sort_unstable_by(|(a, _), (b, _)| a.labels.cmp(&b.labels));
        let cells = of_series.into_iter().flat_map(|(series, cells)| {
            cells.iter().map(|&(_, time, sum)| {
                let value = if series.is_time { sum as f64 / 1000.0 } else { sum as f64 };
                Cell { labels: series.labels.clone(), time, value }
            })
        });
        cells.collect()
    }
}

impl KindPlan {
    fn new(schema: &Arc<KindSchema>) -> KindPlan {
        let mut labels = BTreeSet::new();
        let mut durations = Vec::new();
        for metric in &schema.metrics {
            match metric {
                MetricSchema::Count { labels: own, .. } => labels.extend(own),
                MetricSchema::Durations { labels: own, field, bounds_ms, .. } => {
                    labels.extend(own);
                    durations.push(DurationsPlan { field: *field, bounds_ms: bounds_ms.clone() });
                }
            }
        }
        // A schema made by hand is held to the rule too: keyed hashes never become labels.
        let may_show = |at: &usize| {
            let field = schema.fields.get(*at);
            field.is_some_and(|field| field.field_type.privacy() != PrivacyClass::Pseudonymous)
        };
        let labels = labels.into_iter().copied().filter(may_show).collect();
        KindPlan { schema: schema.clone(), labels, durations }
    }
}

impl DurationsTally {
    fn new(plan: &DurationsPlan) -> DurationsTally {
        DurationsTally { buckets: vec![0; plan.bounds_ms.len() + 1], sum_ms: 0 }
    }
}

/// A label's value where it lies in the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum LabelRef<'a> {
    Name(&'a Arc<str>),
    Integer(i64),
}

impl<'a> LabelRef<'a> {
    fn of(row: &'a SignalRow, field: usize) -> Option<LabelRef<'a>> {
        match row.fields.get(field)?.as_ref()? {
            FieldValue::Name(name) => Some(LabelRef::Name(name)),
            FieldValue::Integer(number) => Some(LabelRef::Integer(*number)),
            FieldValue::Flags(_) | FieldValue::Pseudonym(_) | FieldValue::Change { .. } => None,
        }
    }

    fn keep(self) -> LabelValue {
        match self {
            LabelRef::Name(name) => LabelValue::Name(name.clone()),
            LabelRef::Integer(number) => LabelValue::Integer(number),
        }
    }
}

impl LabelValue {
    fn borrow(&self) -> LabelRef<'_> {
        match self {
            LabelValue::Name(name) => LabelRef::Name(name),
            LabelValue::Integer(number) => LabelRef::Integer(*number),
        }
    }

    fn text(&self) -> String {
        match self {
            LabelValue::Name(name) => name.to_string(),
            LabelValue::Integer(number) => number.to_string(),
        }
    }
}

fn hash_of<'a>(
    hasher: &FixedState,
    site: u32,
    kind: usize,
    values: impl Iterator<Item = Option<LabelRef<'a>>>,
) -> u64 {
    let mut state = hasher.build_hasher();
    (site, kind).hash(&mut state);
    values.for_each(|value| value.hash(&mut state));
    state.finish()
}

/// Milliseconds as Prometheus prints seconds: `0.005`, `2.5`, `10`.
fn seconds_text(ms: i64) -> String {
    let (whole, rest) = (ms / 1000, ms % 1000);
    if rest == 0 { whole.to_string() } else { format!("{whole}.{rest:03}").trim_end_matches('0').to_owned() }
}

#[cfg(test)]
mod tests;
