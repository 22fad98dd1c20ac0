//! Which week of which site a report is about, and that week's days and hours on the zone's clock.

use annals_model::{SiteName, TenantId, TimeRange, Timestamp};
use jiff::ToSpan;
use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;

use super::numbers::FEW;
use crate::exact::{CalendarError, Period, day_range, local};

/// What a report is asked about. It holds no present time: the same request on the same data gives the same
/// bytes.
#[derive(Debug, Clone)]
pub struct ReportRequest {
    /// Whose data; printed, and already decided by the source that is read.
    pub tenant: TenantId,
    /// The site.
    pub site: SiteName,
    /// The zone that days and hours are those of.
    pub zone: TimeZone,
    /// Any day of the week.
    pub week_of: Date,
    /// The first day of the week.
    pub week_starts_on: Weekday,
    /// Counts under this are not told in breakdowns by free names; [`FEW`] unless it is changed. 0 and 1 tell all.
    pub few: u64,
    /// Counts after this stamp may still grow, and the report says so.
    pub provisional_after: Option<Timestamp>,
}

impl ReportRequest {
    /// The week, Monday first, that holds a day; nothing in it is provisional.
    #[must_use]
    pub fn new(tenant: TenantId, site: SiteName, zone: TimeZone, week_of: Date) -> ReportRequest {
        ReportRequest {
            tenant,
            site,
            zone,
            week_of,
            week_starts_on: Weekday::Monday,
            few: FEW,
            provisional_after: None,
        }
    }
}

/// The week and the one before it, cut into days and hours.
#[derive(Debug)]
pub(crate) struct Weeks {
    /// The zone.
    pub(crate) zone: TimeZone,
    /// Fourteen days: the week before, then the week.
    pub(crate) days: Vec<LocalDay>,
    /// All hours of the fourteen days, ascending, without gaps.
    pub(crate) hours: Vec<LocalHour>,
}

/// One day on the zone's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalDay {
    /// Its date.
    pub(crate) date: Date,
    /// Its stamps; empty where the zone left the day out.
    pub(crate) range: TimeRange,
}

/// One hour on the zone's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LocalHour {
    /// Its stamps.
    pub(crate) range: TimeRange,
    /// Index of its day in [`Weeks::days`].
    pub(crate) day: usize,
    /// The hour that the clock shows, 0 to 23; twice the same where the clock is set back.
    pub(crate) clock: usize,
}

/// Days in each half of [`Weeks::days`].
pub(crate) const WEEK_DAYS: usize = 7;

impl Weeks {
    /// Cuts the two weeks.
    pub(crate) fn of(request: &ReportRequest) -> Result<Weeks, CalendarError> {
        let out = |_| CalendarError::OutOfRange(Timestamp::MAX);
        let zone = request.zone.clone();
        let back = i32::from(request.week_of.weekday().since(request.week_starts_on));
        let first = request.week_of.checked_sub((back + WEEK_DAYS as i32).days()).map_err(out)?;
        let (mut days, mut hours) = (Vec::new(), Vec::new());
        for day in 0..2 * WEEK_DAYS {
            let date = first.checked_add((day as i32).days()).map_err(out)?;
            let range = day_range(date, &zone)?;
            days.push(LocalDay { date, range });
            for range in Period::Hour.over(range, &zone)? {
                let clock = usize::try_from(local(range.start, &zone)?.hour()).unwrap_or_default();
                hours.push(LocalHour { range, day, clock });
            }
        }
        Ok(Weeks { zone, days, hours })
    }

    /// The stamps of the week.
    pub(crate) fn week(&self) -> TimeRange {
        self.span(WEEK_DAYS, 2 * WEEK_DAYS)
    }

    /// The stamps from one day to before another.
    fn span(&self, from: usize, to: usize) -> TimeRange {
        let days = self.days.get(from..to).unwrap_or_default();
        match (days.first(), days.last()) {
            (Some(first), Some(last)) => TimeRange::new(first.range.start, last.range.end),
            _ => TimeRange::new(Timestamp(0), Timestamp(0)),
        }
    }

    /// The days of the week.
    pub(crate) fn week_days(&self) -> &[LocalDay] {
        self.days.get(WEEK_DAYS..).unwrap_or_default()
    }

    /// Index of the first hour of the week in [`Weeks::hours`].
    pub(crate) fn first_hour(&self) -> usize {
        self.hours.partition_point(|hour| hour.day < WEEK_DAYS)
    }

    /// The zone's name, or its distance from UTC where it has none.
    pub(crate) fn zone_name(&self) -> String {
        match self.zone.iana_name() {
            Some(name) => name.to_owned(),
            None => {
                let at = jiff::Timestamp::from_millisecond(self.week().start.0).unwrap_or_default();
                format!("UTC{}", self.zone.to_offset(at))
            }
        }
    }
}
