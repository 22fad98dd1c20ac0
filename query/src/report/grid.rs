//! A report's time on the zone's clock: its days, the slots that they are counted in, its steps, and the periods that it is
//! compared with.
//!
//! ```text
//!    eight periods before ──────────────────────────────┐
//!    │ u8 │ u7 │ u6 │ u5 │ u4 │ u3 │ u2 │ before = u1 │ period │      weeks and months
//!     a slot per day                    │ a slot per hour       │
//! ```
//!
//! A day is compared with the day before it, and its usual range is that of the same weekday of eight weeks. At least the
//! last [`HOURLY_DAYS`] days are cut into hours, which bursts of sign-ins are told from.

use std::ops::Range;

use annals_model::{TimeRange, Timestamp};
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::request::{ReportRequest, Span, near};
use super::words;
use crate::exact::{CalendarError, Period, day_range, local};

/// Periods before that make the usual range.
pub(crate) const USUAL_PERIODS: i32 = 8;
/// Days, those of the period among them, that are cut into hours.
const HOURLY_DAYS: i32 = 14;
/// Days of a week.
const WEEK_DAYS: i32 = 7;

/// The days and slots of a report.
#[derive(Debug)]
pub(crate) struct Grid {
    /// The zone.
    pub(crate) zone: TimeZone,
    /// What a period is.
    pub(crate) span: Span,
    /// All days, ascending, without gaps; the period's are the last.
    pub(crate) days: Vec<LocalDay>,
    /// Hours, or days where those lie far back; ascending, without gaps.
    pub(crate) slots: Vec<Slot>,
    /// Which days are the period.
    pub(crate) period: Range<usize>,
    /// Which days are the period before.
    pub(crate) before: Range<usize>,
    /// Which days each of the periods before are that make the usual range, the newest first.
    pub(crate) usual: Vec<Range<usize>>,
    /// What charts show: the hours of a day, the days of a week or month.
    pub(crate) steps: Vec<Step>,
}

/// One day on the zone's clock.
#[derive(Debug, Clone)]
pub(crate) struct LocalDay {
    /// Its date.
    pub(crate) date: Date,
    /// Its stamps; empty where the zone left the day out.
    pub(crate) range: TimeRange,
    /// Its slots.
    pub(crate) slots: Range<usize>,
}

/// What is counted in one sum.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    /// Its stamps.
    pub(crate) range: TimeRange,
    /// Index of its day.
    pub(crate) day: usize,
    /// The hour that the clock shows, 0 to 23, where it is an hour; twice the same where the clock is set back.
    pub(crate) clock: Option<usize>,
}

/// One step of a chart.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    /// `Mon 4 May`, or `09:00`.
    pub(crate) words: String,
    /// Its slots; none where the clock left the hour out.
    pub(crate) slots: Range<usize>,
    /// Those of the same step of the period before, where that has one.
    pub(crate) before: Option<Range<usize>>,
    /// Those of the same weekday of the usual weeks, as [`Grid::usual`].
    pub(crate) usual: Vec<Range<usize>>,
}

impl Grid {
    /// Cuts the time of a report.
    pub(crate) fn of(request: &ReportRequest) -> Result<Grid, CalendarError> {
        let (span, zone) = (request.span, request.zone.clone());
        let first = span.first(request.of)?;
        let next = span.shift(first, 1)?;
        // Days are compared with the same weekday.
        let unit = if span == Span::Day { Span::WEEK } else { span };
        let start = unit.shift(first, -USUAL_PERIODS)?;
        let before = span.shift(first, -1)?;
        let hourly = before.min(near(next.checked_sub(HOURLY_DAYS.days()))?);
        let (mut days, mut slots, mut date) = (Vec::new(), Vec::new(), start);
        while date < next {
            let (range, first_slot) = (day_range(date, &zone)?, slots.len());
            let day = days.len();
            if date < hourly {
                slots.extend((!range.is_empty()).then_some(Slot { range, day, clock: None }));
            } else {
                for range in Period::Hour.over(range, &zone)? {
                    let clock = usize::try_from(local(range.start, &zone)?.hour()).ok();
                    slots.push(Slot { range, day, clock });
                }
            }
            days.push(LocalDay { date, range, slots: first_slot..slots.len() });
            date = near(date.tomorrow())?;
        }
        let at = |date: Date| days.partition_point(|day| day.date < date);
        let (period, before) = (at(first)..days.len(), at(before)..at(first));
        let usual = (1..=USUAL_PERIODS)
            .map(|by| {
                let from = unit.shift(first, -by)?;
                Ok(at(from)..at(span.shift(from, 1)?))
            })
            .collect::<Result<_, CalendarError>>()?;
        let mut grid = Grid { zone, span, days, slots, period, before, usual, steps: Vec::new() };
        grid.steps = grid.cut_steps();
        Ok(grid)
    }

    fn cut_steps(&self) -> Vec<Step> {
        if self.span == Span::Day {
            let hour = |day: &Range<usize>, clock: usize| {
                let slots = self.days.get(day.start).map_or(0..0, |day| day.slots.clone());
                let is = |slot: &usize| self.slots.get(*slot).is_some_and(|slot| slot.clock == Some(clock));
                let first = slots.clone().find(is).unwrap_or(slots.start);
                first..first + slots.filter(is).count()
            };
            let step = |clock| Step {
                words: format!("{clock:02}:00"),
                slots: hour(&self.period, clock),
                before: Some(hour(&self.before, clock)),
                usual: Vec::new(),
            };
            return (0..24).map(step).collect();
        }
        let slots = |day: usize| self.days.get(day).map(|day| day.slots.clone());
        let is_week = matches!(self.span, Span::Week { .. });
        let days = self.days.iter().enumerate().skip(self.period.start);
        days.map(|(index, day)| Step {
            words: words::day_short(day.date),
            slots: day.slots.clone(),
            before: Some(self.before.start + index - self.period.start)
                .filter(|before| self.before.contains(before))
                .and_then(slots),
            usual: (1..=USUAL_PERIODS as usize)
                .filter(|_| is_week)
                .filter_map(|by| slots(index.checked_sub(by * WEEK_DAYS as usize)?))
                .collect(),
        })
        .collect()
    }

    /// The stamps of all slots.
    pub(crate) fn range(&self) -> TimeRange {
        self.stamps(&(0..self.days.len()))
    }

    /// The stamps of days.
    pub(crate) fn stamps(&self, days: &Range<usize>) -> TimeRange {
        let days = self.days.get(days.clone()).unwrap_or_default();
        match (days.first(), days.last()) {
            (Some(first), Some(last)) => TimeRange::new(first.range.start, last.range.end),
            _ => TimeRange::new(Timestamp(0), Timestamp(0)),
        }
    }

    /// The slots of days.
    pub(crate) fn slots_of(&self, days: &Range<usize>) -> Range<usize> {
        let days = self.days.get(days.clone()).unwrap_or_default();
        match (days.first(), days.last()) {
            (Some(first), Some(last)) => first.slots.start..last.slots.end,
            _ => 0..0,
        }
    }

    /// The stamps of the period.
    pub(crate) fn period_stamps(&self) -> TimeRange {
        self.stamps(&self.period)
    }

    /// The first slot that is an hour.
    pub(crate) fn first_hour(&self) -> usize {
        self.slots.partition_point(|slot| slot.clock.is_none())
    }

    /// The zone's name, or its distance from UTC where it has none.
    pub(crate) fn zone_name(&self) -> String {
        match self.zone.iana_name() {
            Some(name) => name.to_owned(),
            None => {
                let start = self.period_stamps().start;
                let at = jiff::Timestamp::from_millisecond(start.0).unwrap_or_default();
                format!("UTC{}", self.zone.to_offset(at))
            }
        }
    }
}
