//! The axes of a line chart: round values from bottom to top, round times from left to right.

use annals::{DAY_MS, HOUR_MS, MINUTE_MS, TimeRange, Timestamp};
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;

use super::lines::Line;
use super::words;
use crate::times::{at_clock, zoned};

/// The value axis: its ends, and the values that get a label.
pub(super) struct Axis {
    low: f64,
    high: f64,
    step: f64,
}

impl Axis {
    /// Round ends around all finite values; zero is one of them where values touch it from one side only.
    pub(super) fn over(lines: &[Line<'_>], rows: usize) -> Axis {
        let values =
            || lines.iter().flat_map(|line| line.points).map(|&(_, value)| value).filter(|v| v.is_finite());
        let mut low = values().fold(f64::INFINITY, f64::min);
        let mut high = values().fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        // Counts and the like start at zero, unless that would flatten the line.
        if low > 0.0 && low < high * 0.75 {
            low = 0.0;
        } else if high < 0.0 && high > low * 0.75 {
            high = 0.0;
        }
        if low == high {
            let room = if low == 0.0 { 1.0 } else { (low.abs() * 0.5).max(f64::MIN_POSITIVE) };
            (low, high) = if low >= 0.0 {
                ((low - room).max(0.0), low + room)
            } else {
                (low - room, (low + room).min(0.0))
            };
        }
        // Numbers whose span overflows are drawn without round ends.
        let span = high - low;
        if !span.is_finite() {
            return Axis { low: f64::MIN, high: f64::MAX, step: f64::MAX };
        }
        let labels = (rows / 3).clamp(2, 6) as f64;
        let rough = span / labels;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|m| m * power).into_iter().find(|&step| step >= rough);
        let step = step.filter(|step| step.is_normal()).unwrap_or(span);
        Axis { low: (low / step).floor() * step, high: (high / step).ceil() * step, step }
    }

    /// The row of a value, counted in quarters of a character from the top, as a fraction of all.
    pub(super) fn place(&self, value: f64) -> f64 {
        // Halved first, so that the widest axis does not overflow.
        let span = self.high / 2.0 - self.low / 2.0;
        ((value / 2.0 - self.low / 2.0) / span).clamp(0.0, 1.0)
    }

    /// The values that get a label.
    pub(super) fn ticks(&self) -> Vec<f64> {
        if self.step == f64::MAX {
            return vec![self.low, 0.0, self.high];
        }
        let count = ((self.high - self.low) / self.step).round().clamp(1.0, 12.0) as i32;
        (0..=count)
            .map(|index| self.low + f64::from(index) * self.step)
            .map(|v| if v.abs() < self.step * 1e-9 { 0.0 } else { v })
            .collect()
    }
}

/// The time axis.
pub(super) struct Times {
    pub(super) start: i64,
    pub(super) end: i64,
    /// Points further apart than this are not joined.
    pub(super) gap_ms: i64,
    zone: TimeZone,
}

impl Times {
    pub(super) fn of(lines: &[Line<'_>], range: TimeRange, zone: &TimeZone) -> Times {
        let (start, mut end) = (range.start.0, range.end.0);
        if end <= start {
            end = start.saturating_add(1);
        }
        // The usual distance is the least one: what is further apart by half has a gap between.
        let usual = lines
            .iter()
            .flat_map(|line| line.points.windows(2))
            .filter_map(|pair| Some(pair.last()?.0.0.saturating_sub(pair.first()?.0.0)))
            .filter(|&distance| distance > 0)
            .min();
        let gap_ms = usual.map_or(i64::MAX, |usual| usual.saturating_add(usual / 2));
        Times { start, end, gap_ms, zone: zone.clone() }
    }

    pub(super) fn place(&self, time: Timestamp) -> f64 {
        let span = self.end as f64 - self.start as f64;
        ((time.0 as f64 - self.start as f64) / span).clamp(0.0, 1.0)
    }

    /// The range in words.
    pub(super) fn words(&self) -> String {
        let show = |time: i64| words::time(Timestamp(time), &self.zone);
        // One instant is drawn as the shortest range that there is.
        match self.end.saturating_sub(self.start) {
            ..=1 => show(self.start),
            _ => {
                let (start, end) = (show(self.start), show(self.end));
                // Of one day the day is named once.
                let day = start.find(' ').map_or(0, |at| at + 1);
                let same = day > 0 && end.get(..day) == start.get(..day);
                format!("{start} to {}", if same { end.get(day..).unwrap_or(&end) } else { &end })
            }
        }
    }

    /// The range in words below a plot that begins after a margin; where that makes the line too long, without it.
    pub(super) fn below(&self, margin: usize, width: usize) -> String {
        let words = self.words();
        let margin = margin.min(width.saturating_sub(words.chars().count()));
        format!("{:margin$}{words}\n", "")
    }

    /// Round times of the zone, at most so many and one more, each with its label; none where the range is too long for any.
    pub(super) fn ticks(&self, labels_max: usize) -> Vec<(Timestamp, String)> {
        const STEPS_MS: [i64; 22] = [
            1000,
            5000,
            15_000,
            30_000,
            MINUTE_MS,
            5 * MINUTE_MS,
            10 * MINUTE_MS,
            15 * MINUTE_MS,
            30 * MINUTE_MS,
            HOUR_MS,
            2 * HOUR_MS,
            3 * HOUR_MS,
            6 * HOUR_MS,
            12 * HOUR_MS,
            DAY_MS,
            2 * DAY_MS,
            4 * DAY_MS,
            7 * DAY_MS,
            14 * DAY_MS,
            28 * DAY_MS,
            91 * DAY_MS,
            364 * DAY_MS,
        ];
        let span = self.end.saturating_sub(self.start);
        let labels_max = labels_max.max(1) as i64;
        let Some(step) = STEPS_MS.into_iter().find(|step| span / step <= labels_max) else {
            return Vec::new();
        };
        // Round on the clocks of the zone, whatever these do in between.
        let clock = |time: i64| {
            let here = zoned(Timestamp(time), &self.zone);
            time.saturating_add(i64::from(here.offset().seconds()) * 1000)
        };
        let mut ticks: Vec<(Timestamp, String)> = Vec::new();
        let mut tick = clock(self.start).saturating_add(step - 1).div_euclid(step) * step;
        let last = clock(self.end);
        while tick <= last {
            let civil = zoned(Timestamp(tick), &TimeZone::UTC).datetime();
            let at = at_clock(civil, &self.zone);
            if (self.start..=self.end).contains(&at.0) {
                ticks.push((at, label(civil, step)));
            }
            tick = tick.saturating_add(step);
        }
        ticks
    }

    /// The rule with a mark at each round time, and the labels beneath.
    pub(super) fn axis(&self, columns: usize) -> (String, String) {
        let mut rule = vec!['─'; columns];
        let mut below = vec![' '; columns];
        let mut free_from = 0;
        for (tick, label) in self.ticks(columns / 14) {
            let at = (self.place(tick) * columns.saturating_sub(1) as f64).round() as usize;
            if let Some(mark) = rule.get_mut(at) {
                *mark = '┬';
            }
            let from = at.saturating_sub(label.len() / 2).min(columns.saturating_sub(label.len()));
            if from >= free_from && label.len() <= columns {
                for (offset, letter) in label.chars().enumerate() {
                    if let Some(cell) = below.get_mut(from + offset) {
                        *cell = letter;
                    }
                }
                free_from = from + label.len() + 1;
            }
        }
        (rule.into_iter().collect(), below.into_iter().collect())
    }
}

/// A round time, as fine as the distance of the labels.
fn label(clock: DateTime, step_ms: i64) -> String {
    let format = match clock.time() == Time::midnight() {
        _ if step_ms >= 28 * DAY_MS => "%Y-%m-%d",
        true => "%m-%d",
        false if step_ms >= DAY_MS => "%m-%d",
        false if step_ms >= MINUTE_MS => "%H:%M",
        false => "%H:%M:%S",
    };
    clock.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_begin_at_midnight_of_the_zone_also_where_clocks_change() {
        let berlin = TimeZone::get("Europe/Berlin").expect("a zone");
        let instant = |text: &str| Timestamp(jiff::Timestamp::as_millisecond(text.parse().expect("one")));
        // The night to 29 March had 23 hours.
        let range = TimeRange::new(instant("2015-03-27T12:00:00Z"), instant("2015-03-31T12:00:00Z"));
        let ticks = Times::of(&[], range, &berlin).ticks(4);
        let shown: Vec<String> = ticks.iter().map(|(at, label)| format!("{label} {at}")).collect();
        assert_eq!(
            shown,
            [
                "03-28 2015-03-27T23:00:00Z",
                "03-29 2015-03-28T23:00:00Z",
                "03-30 2015-03-29T22:00:00Z",
                "03-31 2015-03-30T22:00:00Z"
            ]
        );
    }
}
