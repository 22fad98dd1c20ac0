//! Reads one site's metrics as whole counts over the report's days and hours.

use std::collections::BTreeMap;

use annals_model::{Budget, METRIC_NAME, Matcher, Missing, SeriesSource, TimeRange, Timestamp};

use super::ReportError;
use super::numbers::{Compared, Tally};
use super::request::{ReportRequest, WEEK_DAYS, Weeks};
use crate::exact::{ExactError, Table, sums};

/// The most events of one row and day that are believed: far over what a site can send, and so far under
/// 2^53 and 2^64 that neither a sum in doubles nor one over all rows and days can lose anything.
const COUNT_MAX: f64 = (1u64 << 40) as f64;

/// Reads metrics of one site and remembers what could not be read.
pub(crate) struct Reader<'a> {
    source: &'a dyn SeriesSource,
    request: &'a ReportRequest,
    budget: &'a Budget,
    /// The days and hours.
    pub(crate) weeks: &'a Weeks,
    /// Per hour of [`Weeks::hours`], whether any signal was counted.
    pub(crate) hour_data: Vec<bool>,
    /// Per day of [`Weeks::days`], whether any signal was counted.
    pub(crate) day_data: Vec<bool>,
    /// Samples up to here have expired.
    pub(crate) expired_through: Option<Timestamp>,
    /// What could not be read.
    pub(crate) missing: Vec<Missing>,
}

/// Whole counts by label values: one count per period asked about.
pub(crate) type Counts = Vec<(Vec<String>, Vec<u64>)>;

impl<'a> Reader<'a> {
    /// Starts with the coverage: which hours and days have any signal.
    pub(crate) fn new(
        source: &'a dyn SeriesSource,
        request: &'a ReportRequest,
        budget: &'a Budget,
        weeks: &'a Weeks,
    ) -> Result<Reader<'a>, ReportError> {
        let mut reader = Reader {
            source,
            request,
            budget,
            weeks,
            hour_data: Vec::new(),
            day_data: vec![false; 2 * WEEK_DAYS],
            expired_through: None,
            missing: Vec::new(),
        };
        let hours: Vec<TimeRange> = weeks.hours.iter().map(|hour| hour.range).collect();
        reader.hour_data =
            reader.table("signals", &[], &hours)?.totals().iter().map(Option::is_some).collect();
        for (hour, _) in weeks.hours.iter().zip(&reader.hour_data).filter(|(_, data)| **data) {
            if let Some(day) = reader.day_data.get_mut(hour.day) {
                *day = true;
            }
        }
        Ok(reader)
    }

    /// Counts under this are not told of a free name.
    pub(crate) fn few(&self) -> u64 {
        self.request.few
    }

    /// Whether the week has any signal.
    pub(crate) fn week_has_data(&self) -> bool {
        self.day_data.iter().skip(WEEK_DAYS).any(|&data| data)
    }

    /// Whether the week before has any signal.
    pub(crate) fn before_has_data(&self) -> bool {
        self.day_data.iter().take(WEEK_DAYS).any(|&data| data)
    }

    /// Counts per day of [`Weeks::days`].
    pub(crate) fn daily(&mut self, metric: &'static str, by: &[&str]) -> Result<Counts, ReportError> {
        let days: Vec<TimeRange> = self.weeks.days.iter().map(|day| day.range).collect();
        let table = self.table(metric, by, &days)?;
        counts(metric, table)
    }

    /// Counts per hour of [`Weeks::hours`].
    pub(crate) fn hourly(&mut self, metric: &'static str, by: &[&str]) -> Result<Counts, ReportError> {
        let hours: Vec<TimeRange> = self.weeks.hours.iter().map(|hour| hour.range).collect();
        let table = self.table(metric, by, &hours)?;
        counts(metric, table)
    }

    /// The sum of a metric of fractions over the week and the week before.
    pub(crate) fn weekly_fraction(&mut self, metric: &'static str) -> Result<[Option<f64>; 2], ReportError> {
        let week = self.weeks.week();
        let start = self.weeks.days.first().map_or(week.start, |day| day.range.start);
        let table = self.table(metric, &[], &[TimeRange::new(start, week.start), week])?;
        let totals = table.totals();
        let of = |index: usize| totals.get(index).copied().flatten().filter(|sum| sum.is_finite());
        Ok([of(1), of(0)])
    }

    fn table(&mut self, metric: &str, by: &[&str], periods: &[TimeRange]) -> Result<Table, ReportError> {
        let matchers =
            [Matcher::equal(METRIC_NAME, metric), Matcher::equal("site", self.request.site.as_str())];
        let table = sums(self.source, &matchers, by, periods, self.budget)?;
        self.expired_through = self.expired_through.max(table.expired_through);
        for missing in &table.missing {
            if !self.missing.contains(missing) {
                self.missing.push(missing.clone());
            }
        }
        Ok(table)
    }

    /// A count of both weeks. No data is said only where there is nothing at all.
    pub(crate) fn compared(&self, week: u64, before: u64) -> Compared {
        Compared {
            week: (week > 0 || self.week_has_data()).then_some(week),
            before: (before > 0 || self.before_has_data()).then_some(before),
        }
    }

    /// The week's and the week before's sum of daily counts.
    pub(crate) fn weekly(&self, daily: &[u64]) -> Compared {
        let [week, before] = halves(daily);
        self.compared(week, before)
    }

    /// Tallies by a label of a closed enumeration: known values first and always, then any others.
    pub(crate) fn tallies(&self, counts: &Counts, label: usize, known: &[&str]) -> Vec<Tally> {
        let mut sums: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for (labels, daily) in counts {
            let name = labels.get(label).map_or("", String::as_str);
            add_to(sums.entry(name).or_default(), daily);
        }
        let mut tallies: Vec<Tally> = known
            .iter()
            .map(|&name| {
                let daily = sums.remove(name).unwrap_or_default();
                Tally { name: name.to_owned(), count: self.weekly(&daily) }
            })
            .collect();
        tallies.extend(
            sums.into_iter()
                .filter(|(_, daily)| daily.iter().any(|&count| count > 0))
                .map(|(name, daily)| Tally { name: name.to_owned(), count: self.weekly(&daily) }),
        );
        tallies
    }

    /// Counts per day of the week, beside the same weekday of the week before.
    pub(crate) fn days(&self, daily: &[u64]) -> Vec<Compared> {
        let shown = |day: usize| {
            let count = daily.get(day).copied().unwrap_or(0);
            (count > 0 || self.day_data.get(day) == Some(&true)).then_some(count)
        };
        (0..WEEK_DAYS).map(|day| Compared { week: shown(day + WEEK_DAYS), before: shown(day) }).collect()
    }
}

/// Sums of daily counts: of the week, and of the week before.
pub(crate) fn halves(daily: &[u64]) -> [u64; 2] {
    let (before, week) = daily.split_at_checked(WEEK_DAYS).unwrap_or((daily, &[]));
    [week, before].map(|days| days.iter().fold(0u64, |sum, &count| sum.saturating_add(count)))
}

/// Sums over all rows, per period.
pub(crate) fn total(counts: &Counts) -> Vec<u64> {
    let mut sum = Vec::new();
    for (_, row) in counts {
        add_to(&mut sum, row);
    }
    sum
}

/// Adds counts period by period.
pub(crate) fn add_to(sum: &mut Vec<u64>, row: &[u64]) {
    sum.resize(sum.len().max(row.len()), 0);
    for (sum, count) in sum.iter_mut().zip(row) {
        *sum = sum.saturating_add(*count);
    }
}

fn counts(metric: &'static str, table: Table) -> Result<Counts, ReportError> {
    let whole = |sum: Option<f64>| match sum.unwrap_or(0.0) {
        // The range check makes the cast exact.
        sum if sum.fract() == 0.0 && (0.0..=COUNT_MAX).contains(&sum) => Ok(sum as u64),
        _ => Err(ReportError::NotACount { metric }),
    };
    table
        .rows
        .into_iter()
        .map(|row| Ok((row.labels, row.sums.into_iter().map(whole).collect::<Result<_, _>>()?)))
        .collect()
}

impl From<ExactError> for ReportError {
    fn from(error: ExactError) -> ReportError {
        ReportError::Exact(error)
    }
}
