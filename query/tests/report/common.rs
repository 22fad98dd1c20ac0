//! An in-memory source of delta series, and the weeks that the report tests read.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use annals_model::{
    Budget, Coverage, LabelSet, METRIC_NAME, MINUTE_MS, Matcher, QueryLimits, Samples, SelectedSeries,
    SeriesKind, SeriesSource, SiteName, SourceError, TenantId, TimeRange, Timestamp,
};
use annals_query::exact::{Period, day_range};
use annals_query::report::{DayState, Report, ReportError, ReportRequest, Scope, SnapshotDay, Span, build};
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;

/// Series in memory.
#[derive(Default, Clone)]
pub(crate) struct Memory {
    /// Labels to kind and samples.
    pub(crate) series: BTreeMap<LabelSet, (Option<SeriesKind>, BTreeMap<i64, f64>)>,
    /// What every selection says that it covers.
    pub(crate) coverage: Coverage,
    /// What is known of its days.
    pub(crate) days: Vec<SnapshotDay>,
}

impl Memory {
    /// Adds to the cell of a stamp.
    pub(crate) fn add(&mut self, metric: &str, labels: &[(&str, &str)], stamp: i64, value: f64) {
        let pairs = labels.iter().copied().chain([(METRIC_NAME, metric)]);
        let labels = LabelSet::from_pairs(pairs).expect("valid labels");
        *self.series.entry(labels).or_default().1.entry(stamp).or_default() += value;
    }

    /// Counts events of the site at an instant, and the signal that they come from.
    pub(crate) fn count(&mut self, metric: &str, labels: &[(&str, &str)], at: i64, events: u64) {
        if events == 0 {
            return;
        }
        let stamp = (at.div_euclid(MINUTE_MS) + 1) * MINUTE_MS;
        let mut with_site = labels.to_vec();
        with_site.push(("site", "shop.example"));
        self.add(metric, &with_site, stamp, events as f64);
        let kind = match metric {
            "http_requests" => "http.request",
            "auth_attempts" => "auth.attempt",
            "cron_runs" => "wp.cron",
            "mails" => "mail.sent",
            "errors" => "error.raised",
            "config_changes" => "config.changed",
            "file_edits" => "file.edited",
            _ => return,
        };
        self.add("signals", &[("site", "shop.example"), ("kind", kind)], stamp, events as f64);
    }

    /// Counts durations in milliseconds as the derivation does.
    pub(crate) fn durations(&mut self, route: &str, at: i64, ms: u64, events: u64) {
        let labels = [("method", "get"), ("route", route)];
        let bounds = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, u64::MAX];
        for bound in bounds.into_iter().filter(|&bound| ms <= bound) {
            let le = if bound == u64::MAX { "+Inf".to_owned() } else { (bound as f64 / 1e3).to_string() };
            self.count(
                "http_response_seconds_bucket",
                &[labels[0], labels[1], ("le", le.as_str())],
                at,
                events,
            );
        }
        self.count("http_response_seconds_count", &labels, at, events);
        let stamp = (at.div_euclid(MINUTE_MS) + 1) * MINUTE_MS;
        let with_site = [labels[0], labels[1], ("site", "shop.example")];
        self.add("http_response_seconds_sum", &with_site, stamp, (ms * events) as f64 / 1e3);
    }
}

struct Selected<'a> {
    series: Vec<(&'a LabelSet, SeriesKind, &'a BTreeMap<i64, f64>)>,
    range: TimeRange,
    coverage: &'a Coverage,
}

impl SeriesSource for Memory {
    fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        range: TimeRange,
        budget: &Budget,
    ) -> Result<Box<dyn SelectedSeries + 'a>, SourceError> {
        let series: Vec<_> = self
            .series
            .iter()
            .filter(|(labels, _)| matchers.iter().all(|m| m.matches(labels.get(m.name()))))
            .map(|(labels, (kind, samples))| (labels, kind.unwrap_or(SeriesKind::Delta), samples))
            .collect();
        budget.charge_series(series.len() as u64)?;
        Ok(Box::new(Selected { series, range, coverage: &self.coverage }))
    }
}

impl SelectedSeries for Selected<'_> {
    fn len(&self) -> usize {
        self.series.len()
    }

    fn labels(&self, index: usize) -> LabelSet {
        self.series[index].0.clone()
    }

    fn kind(&self, index: usize) -> SeriesKind {
        self.series[index].1
    }

    fn read(&self, index: usize, budget: &Budget, into: &mut Samples) -> Result<(), SourceError> {
        into.clear();
        for (&stamp, &value) in self.series[index].2 {
            if self.range.contains(Timestamp(stamp)) {
                into.timestamps.push(stamp);
                into.values.push(value);
            }
        }
        budget.charge_samples(into.timestamps.len() as u64)?;
        Ok(())
    }

    fn coverage(&self) -> &Coverage {
        self.coverage
    }
}

/// A budget that nothing here crosses.
pub(crate) fn budget() -> Budget {
    Budget::new(QueryLimits::default())
}

/// Splitmix: the same numbers in every run.
pub(crate) struct Seed(pub(crate) u64);

impl Seed {
    /// A number below `below`.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }
}

/// A zone of the system's database.
pub(crate) fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("a zone of the system's database")
}

/// The request for the week of a day, in Berlin.
pub(crate) fn request(week_of: Date) -> ReportRequest {
    ReportRequest::new(
        TenantId::new("acme").expect("valid"),
        Scope::Site(SiteName::new("shop.example").expect("valid")),
        zone("Europe/Berlin"),
        Span::WEEK,
        week_of,
    )
}

/// Selects and builds.
pub(crate) fn try_make(memory: &Memory, request: &ReportRequest) -> Result<Report, ReportError> {
    let (matchers, range) = request.selection()?;
    let selected = memory.select(&matchers, range, &budget()).expect("selected");
    build(request, &*selected, &memory.days, &budget())
}

/// The report, which there is.
pub(crate) fn make(memory: &Memory, request: &ReportRequest) -> Report {
    try_make(memory, request).expect("a report")
}

/// The Monday of the rich week.
pub(crate) const RICH: Date = date(2026, 5, 4);

/// Nine weeks of a shop: office hours, a slow route; in the last of them a wave of sign-ins from Tuesday to Thursday, a
/// failing hook, a mail outage, a silent Sunday night.
pub(crate) fn rich() -> Memory {
    static RICH_WEEKS: LazyLock<Memory> = LazyLock::new(rich_weeks);
    RICH_WEEKS.clone()
}

fn rich_weeks() -> Memory {
    let (mut memory, mut seed, berlin) = (Memory::default(), Seed(7), zone("Europe/Berlin"));
    let start = day_range(RICH, &berlin).expect("in range").start;
    let sealed = |by: i64| start.saturating_add(by * 86_400_000).day();
    memory.days =
        (-56..8).map(|by| SnapshotDay { day: sealed(by), state: DayState::Sealed([by as u8; 16]) }).collect();
    const HOUR: i64 = 3_600_000;
    let days = (-56..7i64).flat_map(|day| {
        let date = RICH.checked_add(jiff::Span::new().days(day)).expect("near");
        let hours = Period::Hour.over(day_range(date, &berlin).expect("in range"), &berlin);
        hours.expect("in range").into_iter().enumerate().map(move |(clock, hour)| (day, clock, hour))
    });
    for (date, clock, hour) in days {
        let (day, this_week) = (date.rem_euclid(7), date >= 0);
        let index = (day * 24) as usize + clock;
        let at = hour.start.0 + 20 * MINUTE_MS;
        if this_week && day == 6 && clock >= 15 {
            continue;
        }
        let busy = if (8..20).contains(&clock) { 40 } else { 6 } + if day < 5 { 12 } else { 0 };
        for (route, weight) in [
            ("/", 10),
            ("/product/:id", 14),
            ("/cart", 5),
            ("/checkout", 2),
            ("/api/search", 6),
            ("/wp-login.php", 1),
        ] {
            let ok = busy * weight / 8 + seed.below(busy);
            memory.count("http_requests", &[("method", "get"), ("status", "200"), ("route", route)], at, ok);
            let ms = [8, 40, 60, 180, 340, 700][(seed.below(5) + weight / 6) as usize % 6];
            memory.durations(route, at, if this_week { ms + ms / 3 } else { ms }, ok);
            memory.count(
                "http_requests",
                &[("method", "get"), ("status", "404"), ("route", route)],
                at,
                seed.below(busy / 9 + 1),
            );
            let failing = this_week && day == 3 && (10..13).contains(&clock) && route == "/checkout";
            let failed = if failing { 30 } else { u64::from(seed.below(60) == 0) };
            let labels = [("method", "post"), ("status", "502"), ("route", route)];
            memory.count("http_requests", &labels, at, failed);
        }
        memory.count(
            "http_requests",
            &[("method", "get"), ("status", "301"), ("route", "/old-blog")],
            at,
            seed.below(9),
        );
        let (good, bad) = (seed.below(if (8..18).contains(&clock) { 5 } else { 1 }), seed.below(2));
        memory.count("auth_attempts", &[("result", "success"), ("method", "password")], at, good);
        memory.count("auth_attempts", &[("result", "failure"), ("method", "password")], at, bad);
        let wave = this_week && (26..80).contains(&index);
        if wave {
            let size = 60 + seed.below(80);
            memory.count("auth_attempts", &[("result", "failure"), ("method", "password")], at, size);
            memory.count("auth_attempts", &[("result", "blocked"), ("method", "password")], at, size / 3);
        }
        for hook in ["wp_version_check", "backup_daily", "send_newsletter", "wc_cleanup_sessions"] {
            let failed = this_week && hook == "backup_daily" && clock == 3 && day > 1;
            let result = if failed { "failed" } else { "ok" };
            memory.count("cron_runs", &[("hook", hook), ("result", result)], at + MINUTE_MS, 1);
        }
        memory.count(
            "cron_runs",
            &[("hook", "wp_version_check"), ("result", "late")],
            at,
            u64::from(seed.below(30) == 0),
        );
        memory.count("mails", &[("result", "sent")], at, seed.below(4));
        let outage = this_week && day == 4 && (9..14).contains(&clock);
        memory.count("mails", &[("result", "deferred")], at, if outage { 6 } else { 0 });
        memory.count("errors", &[("severity", "warning")], at, seed.below(3));
        memory.count("errors", &[("severity", "notice")], at, seed.below(6));
        let fatal = u64::from(this_week && day == 3 && clock == 10) * 14;
        memory.count("errors", &[("severity", "fatal")], at, fatal);
        if clock == 11 {
            memory.count("config_changes", &[("option", "active_plugins")], at, 1 + u64::from(this_week));
            memory.count("config_changes", &[("option", "blogname")], at, u64::from(day == 2));
            memory.count("file_edits", &[("area", "plugin")], at + HOUR / 2, 3 + seed.below(5));
            memory.count("file_edits", &[("area", "core")], at, u64::from(this_week && day == 3) * 2);
        }
    }
    memory
}

/// A week in which one request came, and nothing before.
pub(crate) fn one_event() -> Memory {
    let mut memory = Memory::default();
    let monday = day_range(RICH, &zone("Europe/Berlin")).expect("in range").start.0;
    let labels = [("method", "get"), ("status", "200"), ("route", "/")];
    memory.count("http_requests", &labels, monday + 2 * 86_400_000 + 5_000_000, 1);
    memory
}
