//! Reads all metrics of a report, or of those of several sites, in one pass over one selection, as whole counts per slot, and
//! remembers what could not be read.

use std::collections::BTreeMap;
use std::ops::Range;

use annals_model::{
    Budget, Coverage, METRIC_NAME, Missing, SelectedSeries, SourceError, TimeRange, Timestamp,
};

use super::ReportError;
use super::grid::Grid;
use super::numbers::{Compared, Tally, Usual};
use super::request::{ReportRequest, Scope};
use crate::exact::{ExactError, Sum, each_series};

/// The most events of one series and slot that are believed: far over what a site can send, and so far under
/// 2^53 and 2^64 that neither a sum in doubles nor one over all rows and days can lose anything.
const COUNT_MAX: f64 = (1u64 << 40) as f64;

/// Fewer periods than this have no usual range.
const USUAL_PERIODS_MIN: usize = 3;

/// A metric that reports read.
pub(crate) struct Metric {
    /// Its name.
    pub(crate) name: &'static str,
    /// The label of few values that it is counted by, slot by slot; empty for none.
    label: &'static str,
    /// Labels of many values that it is counted by over the period and the one before; none for no such count.
    names: &'static [&'static str],
    /// Whether it sums fractions.
    fractions: bool,
}

const fn metric(name: &'static str, label: &'static str, names: &'static [&'static str]) -> Metric {
    Metric { name, label, names, fractions: false }
}

/// All that reports read.
pub(crate) const METRICS: [Metric; 11] = [
    metric("signals", "kind", &[]),
    metric("http_requests", "status", &["route"]),
    metric("http_response_seconds_bucket", "le", &["route", "le"]),
    metric("http_response_seconds_count", "", &[]),
    Metric { fractions: true, ..metric("http_response_seconds_sum", "", &[]) },
    metric("auth_attempts", "result", &[]),
    metric("cron_runs", "result", &["hook", "result"]),
    metric("mails", "result", &[]),
    metric("errors", "severity", &[]),
    metric("config_changes", "", &["option"]),
    metric("file_edits", "area", &[]),
];

/// The metrics that sites are told apart by where a report is about all of them.
const OF_SITES: [&str; 4] = ["signals", "http_requests", "auth_attempts", "errors"];

/// Counts of the period and of the one before.
pub(crate) type Pair = [u64; 2];

/// What was read.
pub(crate) struct Reading<'a> {
    pub(crate) request: &'a ReportRequest,
    pub(crate) grid: &'a Grid,
    /// Per metric and value of its label: counts per slot.
    slots: BTreeMap<(&'static str, String), Vec<u64>>,
    /// Per metric and values of its names.
    names: BTreeMap<(&'static str, Vec<String>), Pair>,
    /// Per metric and site, of reports about all sites.
    sites: BTreeMap<(&'static str, String), Pair>,
    /// Sums of the metric of fractions, where any sample is.
    fractions: [Sum; 2],
    /// Whether a slot has any signal.
    pub(crate) slot_data: Vec<bool>,
    /// Whether a day has any signal.
    pub(crate) day_data: Vec<bool>,
    /// The usual periods that have data on each of their days, all of it kept and read.
    whole: Vec<Range<usize>>,
    /// Samples up to here have expired.
    pub(crate) expired_through: Option<Timestamp>,
    /// Up to here counts were cut from windows that the edges of days or hours cut, and how long those are.
    pub(crate) rounded: Option<(Timestamp, i64)>,
    /// What could not be read.
    pub(crate) missing: Vec<Missing>,
}

impl<'a> Reading<'a> {
    /// Nothing yet, of a selection that covers so much.
    pub(crate) fn new(request: &'a ReportRequest, grid: &'a Grid, coverage: &Coverage) -> Reading<'a> {
        let periods = || grid.slots.iter().map(|slot| slot.range);
        let cut = |(range, window_ms): &(TimeRange, i64)| {
            let cut = |at: Timestamp| range.start < at && at < range.end && at.0.rem_euclid(*window_ms) != 0;
            periods().any(|slot| cut(slot.start))
        };
        let coarser = coverage.coarser.iter();
        let windows = coarser.filter_map(|(range, resolution)| Some((*range, resolution.window_ms()?)));
        Reading {
            request,
            grid,
            slots: BTreeMap::new(),
            names: BTreeMap::new(),
            sites: BTreeMap::new(),
            fractions: [Sum::default(); 2],
            slot_data: vec![false; grid.slots.len()],
            day_data: vec![false; grid.days.len()],
            whole: Vec::new(),
            expired_through: coverage.expired_through,
            rounded: windows.filter(cut).map(|(range, window_ms)| (range.end, window_ms)).max(),
            missing: coverage.missing.clone(),
        }
    }

    /// Whether a series of this site is in the report.
    fn is_about(&self, site: &str) -> bool {
        match &self.request.scope {
            Scope::Site(own) => own.as_str() == site,
            Scope::Tenant => true,
        }
    }

    fn add<'l>(
        &mut self,
        metric: &'static Metric,
        label: &dyn Fn(&str) -> &'l str,
        sums: &[Sum],
        budget: &Budget,
    ) -> Result<(), ReportError> {
        let [period, before] = [&self.grid.period, &self.grid.before].map(|days| self.grid.slots_of(days));
        if metric.fractions {
            for (total, slots) in self.fractions.iter_mut().zip([period, before]) {
                sums.get(slots).unwrap_or_default().iter().for_each(|sum| total.join(sum));
            }
            return Ok(());
        }
        let mut counts = Vec::with_capacity(sums.len());
        for sum in sums {
            counts.push(sum.value().map_or(Ok(0), |sum| whole(sum, metric))?);
        }
        let pair = [period, before].map(|slots| total(&counts, &slots));
        if !metric.names.is_empty() && pair != [0, 0] {
            let key = metric.names.iter().map(|name| label(name).to_owned()).collect();
            add_pair(self.names.entry((metric.name, key)).or_default(), pair);
        }
        if self.request.scope == Scope::Tenant && OF_SITES.contains(&metric.name) {
            // Sign-ins count here where they were refused.
            let refused = metric.name != "auth_attempts" || label("result") != "success";
            let key = (metric.name, label("site").to_owned());
            add_pair(self.sites.entry(key).or_default(), if refused { pair } else { [0, 0] });
        }
        if sums.iter().any(|sum| sum.value().is_some()) {
            let key =
                (metric.name, if metric.label.is_empty() { "" } else { label(metric.label) }.to_owned());
            if !self.slots.contains_key(&key) {
                let bytes = (key.1.len() + size_of_val(&*counts)) as u64;
                budget.charge_memory(bytes).map_err(|limit| ExactError::Source(SourceError::Limit(limit)))?;
            }
            let row = self.slots.entry(key).or_insert_with(|| vec![0; counts.len()]);
            row.iter_mut().zip(counts).for_each(|(sum, count)| *sum = sum.saturating_add(count));
            if metric.name == "signals" {
                let data = self.slot_data.iter_mut().zip(sums);
                data.for_each(|(data, sum)| *data |= sum.value().is_some());
            }
        }
        Ok(())
    }

    /// Says which days have data, and which of the usual periods are whole.
    fn see_data(&mut self) {
        for (slot, _) in self.grid.slots.iter().zip(&self.slot_data).filter(|(_, data)| **data) {
            if let Some(day) = self.day_data.get_mut(slot.day) {
                *day = true;
            }
        }
        let is_whole = |days: &&Range<usize>| {
            let stamps = self.grid.stamps(days);
            let data = self.day_data.get((*days).clone()).unwrap_or_default();
            !data.is_empty()
                && data.iter().all(|&data| data)
                && self.expired_through.is_none_or(|through| through <= stamps.start)
                && !self.missing.iter().any(|part| part.range.overlaps(stamps))
        };
        self.whole = self.grid.usual.iter().filter(is_whole).cloned().collect();
        if self.whole.len() < USUAL_PERIODS_MIN {
            self.whole.clear();
        }
    }

    /// How many of the usual periods are compared with.
    pub(crate) fn usual_periods(&self) -> u64 {
        self.whole.len() as u64
    }

    /// Counts under this are not told of a free name.
    pub(crate) fn few(&self) -> u64 {
        self.request.few
    }

    /// Whether any of these days has a signal.
    pub(crate) fn has_data(&self, days: &Range<usize>) -> bool {
        self.day_data.get(days.clone()).unwrap_or_default().iter().any(|&data| data)
    }

    /// Counts per slot by the values of a metric's label.
    pub(crate) fn by_label(&self, metric: &'static str) -> impl Iterator<Item = (&str, &[u64])> {
        let of =
            self.slots.range((metric, String::new())..).take_while(move |((name, _), _)| *name == metric);
        of.map(|((_, value), counts)| (value.as_str(), &**counts))
    }

    /// Counts per slot of a metric, of the values of its label that are asked for.
    pub(crate) fn sum(&self, metric: &'static str, wanted: impl Fn(&str) -> bool) -> Vec<u64> {
        let mut sum = vec![0u64; self.grid.slots.len()];
        for (_, counts) in self.by_label(metric).filter(|(value, _)| wanted(value)) {
            sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
        }
        sum
    }

    /// Counts of the period and of the one before by the values of a metric's free names.
    pub(crate) fn by_names(&self, metric: &'static str) -> impl Iterator<Item = (&[String], Pair)> {
        let of = self.names.range((metric, Vec::new())..).take_while(move |((name, _), _)| *name == metric);
        of.map(|((_, names), &pair)| (&**names, pair))
    }

    /// Counts of the period and of the one before by site.
    pub(crate) fn by_site(&self, metric: &'static str) -> impl Iterator<Item = (&str, Pair)> {
        let of =
            self.sites.range((metric, String::new())..).take_while(move |((name, _), _)| *name == metric);
        of.map(|((_, site), &pair)| (site.as_str(), pair))
    }

    /// The sums of fractions of the period and of the one before.
    pub(crate) fn fractions(&self) -> [Option<f64>; 2] {
        self.fractions.map(|sum| sum.value().filter(|sum| sum.is_finite()))
    }

    /// The period's count, beside the one before and the usual range.
    pub(crate) fn compared(&self, counts: &[u64]) -> Compared {
        let of = |days: &Range<usize>| total(counts, &self.grid.slots_of(days));
        let shown = |days: &Range<usize>| Some(of(days)).filter(|&count| count > 0 || self.has_data(days));
        Compared {
            count: shown(&self.grid.period),
            before: shown(&self.grid.before),
            usual: Usual::of(self.whole.iter().map(of)),
        }
    }

    /// The counts of each step.
    pub(crate) fn steps(&self, counts: &[u64]) -> Vec<Compared> {
        let of = |slots: &Range<usize>| total(counts, slots);
        let has_data = |slots: &Range<usize>| {
            self.slot_data.get(slots.clone()).unwrap_or_default().iter().any(|&data| data)
        };
        let shown = |slots: &Range<usize>| Some(of(slots)).filter(|&count| count > 0 || has_data(slots));
        // The days of usual periods that are whole.
        let usual = |slots: &&Range<usize>| {
            self.whole.iter().any(|days| {
                let whole = self.grid.slots_of(days);
                whole.start <= slots.start && slots.end <= whole.end
            })
        };
        let steps = self.grid.steps.iter().map(|step| Compared {
            count: shown(&step.slots),
            before: step.before.as_ref().and_then(shown),
            usual: Usual::of(step.usual.iter().filter(usual).map(of)),
        });
        steps.collect()
    }

    /// The counts of each day, from the first that is read on; none where a day has no data.
    pub(crate) fn trend(&self, counts: &[u64]) -> Vec<Option<u64>> {
        let days = self.grid.days.iter().zip(&self.day_data).map(|(day, &data)| {
            let count = total(counts, &day.slots);
            (count > 0 || data).then_some(count)
        });
        days.collect()
    }

    /// Tallies by the values of a metric's label, a closed enumeration: known values first and always, then any others.
    pub(crate) fn tallies(&self, metric: &'static str, known: &[&str]) -> Vec<Tally> {
        let tally =
            |name: &str, counts: &[u64]| Tally { name: name.to_owned(), count: self.compared(counts) };
        let known_tallies = known.iter().map(|&name| tally(name, &self.sum(metric, |value| value == name)));
        let others = self.by_label(metric).filter(|(value, _)| !known.contains(value));
        let others = others.map(|(value, counts)| tally(value, counts));
        let told = |tally: &Tally| tally.count.count.unwrap_or(0) > 0 || tally.count.before.unwrap_or(0) > 0;
        known_tallies.chain(others.filter(told)).collect()
    }

    /// Feeds all that was read, in one order.
    pub(crate) fn digest(&self, feed: &mut dyn FnMut(&[u8])) {
        let mut text = |text: &str| {
            feed(&(text.len() as u64).to_le_bytes());
            feed(text.as_bytes());
        };
        for ((metric, value), counts) in &self.slots {
            text(metric);
            text(value);
            text(&format!("{counts:?}"));
        }
        for ((metric, names), pair) in &self.names {
            text(metric);
            names.iter().for_each(|name| text(name));
            text(&format!("{pair:?}"));
        }
        for ((metric, site), pair) in &self.sites {
            text(metric);
            text(site);
            text(&format!("{pair:?}"));
        }
        for sum in self.fractions() {
            text(&format!("{sum:.6?}"));
        }
    }
}

/// Reads what was selected, in one pass, into all that are about it. They share one grid.
pub(crate) fn read(
    readings: &mut [Reading<'_>],
    selected: &dyn SelectedSeries,
    budget: &Budget,
) -> Result<(), ReportError> {
    let Some(first) = readings.first() else { return Ok(()) };
    let periods: Vec<TimeRange> = first.grid.slots.iter().map(|slot| slot.range).collect();
    let mut missing = Vec::new();
    each_series(selected, &periods, budget, &mut missing, |labels, sums| {
        let name = labels.get(METRIC_NAME);
        let Some(metric) = METRICS.iter().find(|metric| metric.name == name) else { return Ok(()) };
        let site = labels.get("site");
        let mut about = readings.iter_mut().filter(|reading| reading.is_about(site));
        about.try_for_each(|reading| reading.add(metric, &|label| labels.get(label), sums, budget))
    })?;
    for reading in readings {
        for part in &missing {
            if !reading.missing.contains(part) {
                reading.missing.push(part.clone());
            }
        }
        reading.see_data();
    }
    Ok(())
}

/// The sum of the counts of some slots.
pub(crate) fn total(counts: &[u64], slots: &Range<usize>) -> u64 {
    let counts = counts.get(slots.clone()).unwrap_or_default();
    counts.iter().fold(0, |sum, &count| sum.saturating_add(count))
}

fn add_pair(sum: &mut Pair, pair: Pair) {
    sum.iter_mut().zip(pair).for_each(|(sum, count)| *sum = sum.saturating_add(count));
}

fn whole(sum: f64, metric: &'static Metric) -> Result<u64, ReportError> {
    // In this range there is a cast both ways, which is exact for whole numbers only.
    if (0.0..=COUNT_MAX).contains(&sum) && (sum as i64) as f64 == sum {
        return Ok(sum as u64);
    }
    Err(ReportError::NotACount { metric: metric.name })
}

impl From<ExactError> for ReportError {
    fn from(error: ExactError) -> ReportError {
        ReportError::Exact(error)
    }
}
