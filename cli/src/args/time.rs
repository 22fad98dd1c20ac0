//! Ranges of time and time zones, as several verbs take them.

use annals::Timestamp;
use jiff::tz::TimeZone;

use crate::times::{When, parse_span, parse_when, parse_zone};

/// The zone of times without one.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ZoneArg {
    /// The zone of times that are written without one, and of those in tables and charts
    #[arg(long, value_name = "ZONE", value_parser = parse_zone, default_value = "UTC")]
    pub(crate) tz: TimeZone,
}

/// A range of time.
#[derive(Debug, clap::Args)]
pub(crate) struct RangeOfTime {
    /// The first instant [default: --last before the end]
    #[arg(long, value_name = "TIME", value_parser = parse_when, allow_hyphen_values = true)]
    pub(crate) start: Option<When>,
    /// The last instant [default: now]
    #[arg(long, value_name = "TIME", value_parser = parse_when, allow_hyphen_values = true)]
    pub(crate) end: Option<When>,
    /// How long before the end it starts
    #[arg(long, value_name = "SPAN", value_parser = parse_span, conflicts_with = "start")]
    pub(crate) last: Option<i64>,
    #[command(flatten)]
    pub(crate) zone: ZoneArg,
}

impl RangeOfTime {
    /// The first and the last instant, where anything was said about them.
    pub(crate) fn resolve(&self, now: Timestamp, last_ms: i64) -> (Timestamp, Timestamp) {
        let end = self.end.unwrap_or(When::NOW).resolve(now, &self.zone.tz);
        let start = match self.start {
            Some(start) => start.resolve(now, &self.zone.tz),
            None => end.saturating_add(-self.last.unwrap_or(last_ms)),
        };
        (start, end)
    }

    /// Whether any bound was given.
    pub(crate) fn given(&self) -> bool {
        self.start.is_some() || self.end.is_some() || self.last.is_some()
    }
}
