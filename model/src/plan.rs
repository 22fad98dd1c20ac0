//! Plans: how long data lives, how late it may come, what a tenant may do.

use std::fmt;

use crate::BlockContent;
use crate::time::{DAY_MS, Day, HOUR_MS, MINUTE_MS, Timestamp};

/// How many days a tenant is kept after it was cancelled, at most, where its plan does not say otherwise.
pub(crate) const CANCELLED_KEEP_DAYS: u32 = 30;

/// What a tenant pays for, as one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its name, such as `professional`.
    pub name: String,
    /// How long raw signals are kept.
    pub signals_keep: Keep,
    /// Metric tiers, finest first; the first is raw.
    pub tiers: Vec<Tier>,
    /// How many days a tenant is kept after it was cancelled, at most.
    pub cancelled_keep_days: u32,
    /// How long after a day's end data for it is taken, in milliseconds; `None` is for ever.
    pub late_window_ms: Option<i64>,
    /// What may not be crossed.
    pub limits: Limits,
    /// What a tenant of this plan may do beyond writing signals and reading metrics.
    pub rights: Rights,
}

/// A resolution of metrics and how long it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tier {
    /// How fine.
    pub resolution: Resolution,
    /// How long.
    pub keep: Keep,
}

/// How fine metrics are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    /// Each sample.
    Raw,
    /// One rollup record per 5 minutes.
    FiveMinutes,
    /// One rollup record per hour.
    Hour,
}

impl Resolution {
    /// The word in block names, plan files and answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Resolution::Raw => "raw",
            Resolution::FiveMinutes => "5m",
            Resolution::Hour => "1h",
        }
    }

    /// How long a window is, in milliseconds; `None` of raw. A day is a multiple of it.
    #[must_use]
    pub fn window_ms(self) -> Option<i64> {
        match self {
            Resolution::Raw => None,
            Resolution::FiveMinutes => Some(5 * MINUTE_MS),
            Resolution::Hour => Some(HOUR_MS),
        }
    }
}

/// How long after its end a day is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keep {
    /// That many days.
    Days(u32),
    /// It never expires.
    Forever,
}

impl fmt::Display for Keep {
    /// As in a sentence: `30 days`, `for ever`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Keep::Forever => f.write_str("for ever"),
            Keep::Days(1) => f.write_str("1 day"),
            Keep::Days(days) => write!(f, "{days} days"),
        }
    }
}

impl Keep {
    /// The last stamp that has expired at `now`: a day expires whole, `keep` after its end.
    #[must_use]
    pub fn floor(self, now: Timestamp) -> Timestamp {
        match self {
            Keep::Forever => Timestamp::MIN,
            Keep::Days(days) => {
                let ended = now.0.saturating_sub(i64::from(days) * DAY_MS);
                Timestamp(ended.div_euclid(DAY_MS).saturating_mul(DAY_MS))
            }
        }
    }

    /// When a day expires; `None` where it never does.
    #[must_use]
    pub fn due(self, day: Day) -> Option<Timestamp> {
        match self {
            Keep::Forever => None,
            Keep::Days(days) => Some(day.end().saturating_add(i64::from(days) * DAY_MS)),
        }
    }
}

/// What a tenant may not cross. Each is checked before any work that it bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most series in the head at one time.
    pub series_max: usize,
    /// The most records in one batch.
    pub batch_records_max: usize,
    /// How far ahead of the clock a timestamp may lie, in milliseconds.
    pub future_max_ms: i64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { series_max: 1_000_000, batch_records_max: 500_000, future_max_ms: 10 * 60_000 }
    }
}

/// What a tenant may do beyond writing signals and reading metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rights {
    /// May take its data out.
    pub export: bool,
    /// May write samples with labels of its own.
    pub open_metrics: bool,
    /// May write into sealed days whose raw data is whole.
    pub backfill: bool,
}

impl Plan {
    /// The names of the built-in plans.
    pub const BUILT_IN: [&str; 4] = ["starter", "professional", "enterprise", "archive"];

    /// The built-in plan of that name.
    #[must_use]
    pub fn built_in(name: &str) -> Option<Plan> {
        let tier = |resolution, keep| Tier { resolution, keep };
        let (signals_keep, tiers, late_window_ms, rights) = match name {
            "starter" => (
                Keep::Days(1),
                vec![tier(Resolution::Raw, Keep::Days(7)), tier(Resolution::Hour, Keep::Days(7))],
                Some(2 * HOUR_MS),
                Rights::default(),
            ),
            "professional" => (
                Keep::Days(3),
                vec![tier(Resolution::Raw, Keep::Days(30)), tier(Resolution::Hour, Keep::Days(30))],
                Some(6 * HOUR_MS),
                Rights::default(),
            ),
            "enterprise" => (
                Keep::Days(14),
                vec![
                    tier(Resolution::Raw, Keep::Days(90)),
                    tier(Resolution::FiveMinutes, Keep::Days(400)),
                    tier(Resolution::Hour, Keep::Days(1100)),
                ],
                Some(24 * HOUR_MS),
                Rights { export: true, open_metrics: true, backfill: false },
            ),
            "archive" => (
                Keep::Forever,
                vec![tier(Resolution::Raw, Keep::Forever), tier(Resolution::Hour, Keep::Forever)],
                None,
                Rights { export: true, open_metrics: true, backfill: true },
            ),
            _ => return None,
        };
        Some(Plan {
            name: name.to_owned(),
            signals_keep,
            tiers,
            cancelled_keep_days: CANCELLED_KEEP_DAYS,
            late_window_ms,
            limits: Limits::default(),
            rights,
        })
    }

    /// How long blocks of a content are kept; `None` where the plan has no such tier.
    #[must_use]
    pub fn keep(&self, content: BlockContent) -> Option<Keep> {
        match content.resolution() {
            None => Some(self.signals_keep),
            Some(resolution) => {
                self.tiers.iter().find(|tier| tier.resolution == resolution).map(|tier| tier.keep)
            }
        }
    }

    /// How long raw metrics are kept.
    #[must_use]
    pub fn raw_keep(&self) -> Keep {
        self.keep(BlockContent::RawMetrics).unwrap_or(Keep::Days(0))
    }

    /// How long metrics are kept in any tier.
    #[must_use]
    pub fn longest_keep(&self) -> Keep {
        self.tiers.iter().map(|tier| tier.keep).max().unwrap_or(Keep::Days(0))
    }

    /// When a tenant that is cancelled at `now` is erased: when the last of its data would have expired, and no later than
    /// `cancelled_keep_days`.
    #[must_use]
    pub fn cancelled_due(&self, now: Timestamp) -> Timestamp {
        let latest = now.saturating_add(i64::from(self.cancelled_keep_days) * DAY_MS);
        self.longest_keep().due(now.day()).map_or(latest, |expired| expired.min(latest))
    }

    /// The last stamp that is too late at `now`: its day ended a late window ago or more.
    #[must_use]
    pub fn late_floor(&self, now: Timestamp) -> Timestamp {
        match self.late_window_ms {
            None => Timestamp::MIN,
            Some(window) => Timestamp(now.0.saturating_sub(window).div_euclid(DAY_MS).saturating_mul(DAY_MS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_expires_whole_and_on_its_due_date() {
        let day = Day(100);
        let due = Keep::Days(7).due(day).expect("it expires");
        assert_eq!(due.0 - day.end().0, 7 * DAY_MS);
        assert!(Keep::Days(7).floor(Timestamp(due.0 - 1)) < day.end());
        assert_eq!(Keep::Days(7).floor(due), day.end());
        assert_eq!(Keep::Forever.floor(due), Timestamp::MIN);
        assert_eq!(Keep::Forever.due(day), None);
    }

    #[test]
    fn a_day_is_too_late_once_its_window_has_passed() {
        let plan = Plan::built_in("starter").expect("built in");
        let end = Day(100).end();
        assert!(plan.late_floor(Timestamp(end.0 + 2 * HOUR_MS - 1)) < end);
        assert_eq!(plan.late_floor(Timestamp(end.0 + 2 * HOUR_MS)), end);
    }

    #[test]
    fn every_built_in_plan_starts_with_raw_and_its_tiers_nest() {
        for name in Plan::BUILT_IN {
            let plan = Plan::built_in(name).expect("built in");
            assert_eq!(plan.tiers[0].resolution, Resolution::Raw);
            assert!(
                plan.tiers.windows(2).all(|w| w[0].resolution < w[1].resolution && w[0].keep <= w[1].keep)
            );
            assert!(plan.signals_keep <= plan.raw_keep());
        }
        assert_eq!(Plan::built_in("gold"), None);
    }
}
