//! The axes of a line chart: round values from bottom to top, round times from left to right.

use annals::{DAY_MS, HOUR_MS, MINUTE_MS, TimeRange, Timestamp};

use super::lines::Line;

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
}

impl Times {
    pub(super) fn of(lines: &[Line<'_>], range: TimeRange) -> Times {
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
        Times { start, end, gap_ms: usual.map_or(i64::MAX, |usual| usual.saturating_add(usual / 2)) }
    }

    pub(super) fn place(&self, time: Timestamp) -> f64 {
        let span = self.end as f64 - self.start as f64;
        ((time.0 as f64 - self.start as f64) / span).clamp(0.0, 1.0)
    }

    /// The rule with a mark at each round time, and the labels beneath.
    pub(super) fn axis(&self, columns: usize) -> (String, String) {
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
        let labels_max = (columns / 14).max(1) as i64;
        let Some(step) = STEPS_MS.into_iter().find(|step| span / step <= labels_max) else {
            return ("─".repeat(columns), String::new());
        };
        let mut rule = vec!['─'; columns];
        let mut below = vec![' '; columns];
        let mut free_from = 0;
        let mut tick = self.start.saturating_add(step - 1).div_euclid(step) * step;
        while tick <= self.end {
            let at = (self.place(Timestamp(tick)) * (columns - 1) as f64).round() as usize;
            if let Some(mark) = rule.get_mut(at) {
                *mark = '┬';
            }
            let label = label(Timestamp(tick), step);
            let from = at.saturating_sub(label.len() / 2).min(columns.saturating_sub(label.len()));
            if from >= free_from && label.len() <= columns {
                for (offset, letter) in label.chars().enumerate() {
                    if let Some(cell) = below.get_mut(from + offset) {
                        *cell = letter;
                    }
                }
                free_from = from + label.len() + 1;
            }
            tick = tick.saturating_add(step);
        }
        (rule.into_iter().collect(), below.into_iter().collect())
    }
}

/// A round time, as fine as the distance of the labels.
fn label(time: Timestamp, step_ms: i64) -> String {
    let full = time.to_string();
    let Some(((date, clock), (_, day))) =
        full.split_once('T').and_then(|(date, clock)| Some(((date, clock), date.split_once('-')?)))
    else {
        return full;
    };
    let midnight = clock.starts_with("00:00:00");
    if step_ms >= 28 * DAY_MS {
        date.to_owned()
    } else if step_ms >= DAY_MS || midnight {
        day.to_owned()
    } else if step_ms >= MINUTE_MS {
        clock.get(..5).unwrap_or(clock).to_owned()
    } else {
        clock.get(..8).unwrap_or(clock).to_owned()
    }
}
