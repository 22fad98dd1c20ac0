//! The numbers of reports, in fields and in sentences, against counts that are made one signal at a time.
//!
//! Nothing here knows of cells, series, slots or rollups: a signal belongs to the date that the zone's clock showed when it
//! happened, and a period is a set of dates.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use annals::query::report::{Cell, Compared, Report, ReportRequest, Scope, Span, Tally, Usual};
use annals::*;
use common::*;
use jiff::ToSpan;
use jiff::civil::{Date, Weekday, date};
use jiff::tz::TimeZone;
use proptest::prelude::*;

const SITES: [&str; 3] = ["shop.example", "blog", "intra"];
const STATUSES: [i64; 5] = [200, 204, 301, 404, 503];
const ROUTES: [&str; 4] = ["/", "/cart", "/rare", "/slow"];
const RESULTS: [&str; 3] = ["success", "failure", "blocked"];
const RUNS: [&str; 4] = ["ok", "failed", "missed", "late"];
const SEVERITIES: [&str; 5] = ["notice", "warning", "error", "critical", "fatal"];
const AREAS: [&str; 5] = ["core", "plugin", "theme", "upload", "other"];

/// What happened, as plainly as it can be said.
#[derive(Debug, Clone)]
struct Event {
    site: usize,
    at: i64,
    kind: &'static str,
    /// The values of the closed enumeration and of the free name that the kind is counted by.
    word: String,
    name: &'static str,
    ms: i64,
}

impl Event {
    fn signal(&self) -> Signal {
        let signal = Signal::new(self.kind, Timestamp(self.at));
        match self.kind {
            "http.request" => signal
                .with("method", "GET")
                .with("status", self.word.parse::<i64>().expect("a status"))
                .with("route", self.name)
                .with("duration", self.ms),
            "auth.attempt" => signal.with("result", &*self.word).with("method", "password"),
            "wp.cron" => signal.with("hook", self.name).with("result", &*self.word),
            "mail.sent" => signal.with("result", &*self.word),
            "error.raised" => signal.with("severity", &*self.word),
            "config.changed" => signal.with("option", self.name),
            _ => signal.with("area", &*self.word),
        }
    }
}

/// Splitmix: the same history for the same seed.
struct Seed(u64);

impl Seed {
    fn below(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % below as u64) as usize
    }
}

fn random_event(seed: &mut Seed, at: i64) -> Event {
    let (kind, words, names): (_, Vec<String>, &[&'static str]) = match seed.below(16) {
        0..=6 => ("http.request", STATUSES.map(|status| status.to_string()).to_vec(), &ROUTES),
        7..=10 => ("auth.attempt", RESULTS.map(str::to_owned).to_vec(), &[""]),
        11 => ("wp.cron", RUNS.map(str::to_owned).to_vec(), &["backup", "mailer"]),
        12 => ("mail.sent", ["sent", "failed", "deferred"].map(str::to_owned).to_vec(), &[""]),
        13 => ("error.raised", SEVERITIES.map(str::to_owned).to_vec(), &[""]),
        14 => ("config.changed", vec![String::new()], &["siteurl", "plugins"]),
        _ => ("file.edited", AREAS.map(str::to_owned).to_vec(), &[""]),
    };
    let (word, name) = (seed.below(words.len()), names[seed.below(names.len())]);
    let ms = [3, 20, 90, 400, 3_000][seed.below(5)] + if name == "/slow" { 20_000 } else { 0 };
    Event { site: seed.below(SITES.len()), at, kind, word: words[word].clone(), name, ms }
}

/// Events from `first` on for so many days, some days without any, some hours with bursts, some at midnight itself.
fn history(seed: &mut Seed, first: Date, days: i64, zone: &TimeZone) -> Vec<Event> {
    let mut events = Vec::new();
    for day in 0..days {
        let midnight = first.checked_add(day.days()).expect("near").to_zoned(zone.clone()).expect("in range");
        let midnight = midnight.timestamp().as_millisecond();
        // A day of a site is silent now and then, so that some periods are whole and others are not.
        let silent = seed.below(24);
        for (site, _) in SITES.iter().enumerate().filter(|(site, _)| *site != silent) {
            let at = midnight + [0, 1, 22 * HOUR_MS][seed.below(3)];
            events.push(Event { site, ..random_event(seed, at) });
        }
        let burst = if seed.below(9) == 0 { 40 } else { 4 };
        for _ in 0..seed.below(burst) {
            let at = midnight + (seed.below(22 * 3_600) as i64) * 1_000 + 7;
            events.push(random_event(seed, at));
        }
    }
    events
}

/// A naive reading of the history: which dates count, and what is counted.
struct Naive<'a> {
    events: Vec<&'a Event>,
    zone: TimeZone,
    request: &'a ReportRequest,
}

impl Naive<'_> {
    fn date(&self, event: &Event) -> Date {
        let instant = jiff::Timestamp::from_millisecond(event.at).expect("in range");
        self.zone.to_datetime(instant).date()
    }

    /// The dates of the period that is so many before the one asked for.
    fn dates(&self, of: Date) -> BTreeSet<Date> {
        let same = |day: &Date| match self.request.span {
            Span::Day => *day == of,
            Span::Month => (day.year(), day.month()) == (of.year(), of.month()),
            Span::Week { starts_on } => {
                let start = |day: Date| {
                    let mut day = day;
                    while day.weekday() != starts_on {
                        day = day.yesterday().expect("near");
                    }
                    day
                };
                start(*day) == start(of)
            }
        };
        (-31..=31i64).map(|by| of.checked_add(by.days()).expect("near")).filter(same).collect()
    }

    fn count(&self, dates: &BTreeSet<Date>, wanted: &dyn Fn(&Event) -> bool) -> Option<u64> {
        let within = || self.events.iter().filter(|event| dates.contains(&self.date(event)));
        within().next()?;
        Some(within().filter(|event| wanted(event)).count() as u64)
    }

    fn compared(&self, wanted: &dyn Fn(&Event) -> bool) -> Compared {
        let of = self.request.of;
        let (before, unit): (Date, &dyn Fn(i64) -> Date) = match self.request.span {
            Span::Day => {
                (of.yesterday().expect("near"), &|by| of.checked_sub((7 * by).days()).expect("near"))
            }
            Span::Week { .. } => (of.checked_sub(7.days()).expect("near"), &|by| {
                of.checked_sub((7 * by).days()).expect("near")
            }),
            Span::Month => (of.first_of_month().yesterday().expect("near"), &|by| {
                of.first_of_month().checked_sub(by.months()).expect("near")
            }),
        };
        let with_data: BTreeSet<Date> = self.events.iter().map(|event| self.date(event)).collect();
        let usual: Vec<u64> = (1..=8)
            .map(|by| self.dates(unit(by)))
            .filter(|dates| dates.is_subset(&with_data))
            .map(|dates| self.count(&dates, wanted).expect("it has data"))
            .collect();
        let usual = (usual.len() >= 3).then(|| Usual {
            least: *usual.iter().min().expect("some"),
            most: *usual.iter().max().expect("some"),
            periods: usual.len() as u64,
        });
        Compared {
            count: self.count(&self.dates(of), wanted),
            before: self.count(&self.dates(before), wanted),
            usual,
        }
    }

    fn by_word(&self, kind: &'static str) -> impl Fn(&str) -> Compared + '_ {
        move |word: &str| self.compared(&|event| event.kind == kind && event.word == word)
    }

    fn all(&self, kind: &'static str) -> Compared {
        self.compared(&|event| event.kind == kind)
    }
}

fn commas(value: u64) -> String {
    let text = value.to_string();
    let groups: Vec<&str> =
        text.as_bytes().rchunks(3).rev().map(|group| str::from_utf8(group).expect("digits")).collect();
    groups.join(",")
}

/// Compares everything that a report says of counts with the naive reading.
fn check(report: &Report, naive: &Naive<'_>) {
    let same = |what: &str, found: Compared, expected: Compared| assert_eq!(found, expected, "{what}");
    let tallies = |what: &str, tallies: &[Tally], of: &dyn Fn(&str) -> Compared| {
        tallies
            .iter()
            .for_each(|tally| same(&format!("{what} {}", tally.name), tally.count, of(&tally.name)));
    };
    same("requests", report.traffic.requests, naive.all("http.request"));
    tallies("class", &report.traffic.classes, &|class| {
        naive.compared(&|event| event.kind == "http.request" && event.word[..1] == class[..1])
    });
    same("attempts", report.signins.attempts, naive.all("auth.attempt"));
    let refused = naive.compared(&|event| event.kind == "auth.attempt" && event.word != "success");
    same("refused", report.signins.refused, refused);
    tallies("sign-in", &report.signins.results, &naive.by_word("auth.attempt"));
    tallies("run", &report.schedule.results, &naive.by_word("wp.cron"));
    same("bad", report.schedule.bad, naive.compared(&|event| event.kind == "wp.cron" && event.word != "ok"));
    tallies("mail", &report.mail.results, &naive.by_word("mail.sent"));
    same("bad mails", report.mail.bad, naive.compared(&|e| e.kind == "mail.sent" && e.word != "sent"));
    tallies("severity", &report.errors.severities, &naive.by_word("error.raised"));
    same("config", report.changes.config, naive.all("config.changed"));
    same("files", report.changes.files, naive.all("file.edited"));
    tallies("area", &report.changes.areas, &naive.by_word("file.edited"));
    tallies("signals", &report.coverage.signals, &|kind| naive.compared(&|event| event.kind == kind));

    // Names are told in multiples, and with what is left they add up.
    let dates = naive.dates(naive.request.of);
    let (mut told, routes) = (0, &report.traffic.routes);
    for row in &routes.rows {
        let truth = naive.count(&dates, &|e| e.kind == "http.request" && e.name == row.name).unwrap_or(0);
        match row.cells[0] {
            Cell::Count(count) => {
                assert_eq!(count, truth - truth % 5, "{}", row.name);
                told += count;
            }
            Cell::Few => assert!(truth < 5, "{}", row.name),
            Cell::NoData => assert_eq!(report.traffic.requests.count, None),
        }
    }
    if let Some(Cell::Count(other)) = routes.other.first() {
        assert_eq!(told + other, report.traffic.requests.count());
    }

    // The true quantile lies between the bounds that are told.
    let period: Vec<&&Event> = naive.events.iter().filter(|e| dates.contains(&naive.date(e))).collect();
    let mut durations: Vec<i64> = period.iter().filter(|e| e.kind == "http.request").map(|e| e.ms).collect();
    durations.sort_unstable();
    if let (Some(responses), false) = (&report.responses, durations.is_empty()) {
        let average = durations.iter().sum::<i64>() as f64 / 1e3 / durations.len() as f64;
        assert!((responses.average.expect("measured") - average).abs() < 1e-6);
        for (quantile, share) in responses.quantiles.iter().zip([0.5, 0.95, 0.99]) {
            let rank = ((durations.len() as f64 * share).ceil() as usize).max(1);
            let (truth, between) = (durations[rank - 1] as f64 / 1e3, quantile.value.expect("measured").0);
            assert!(between.above < truth && truth <= between.at_most, "{quantile:?} {truth}");
        }
    }

    // Hours with data, by what the clock showed and its distance from UTC.
    let hours: BTreeSet<String> = period
        .iter()
        .map(|event| {
            let instant = jiff::Timestamp::from_millisecond(event.at).expect("in range");
            let clock = naive.zone.to_datetime(instant);
            format!("{} {} {}", clock.date(), clock.hour(), naive.zone.to_offset(instant))
        })
        .collect();
    assert_eq!(report.coverage.hours_with_data, hours.len() as u64);

    // Sentences say the same numbers.
    let text = report.summary.join(" ");
    if let Some(count @ 2..) = report.traffic.requests.count {
        assert!(text.contains(&format!("answered {} requests", commas(count))), "{text}");
        if let Some(usual) = report.traffic.requests.usual {
            let place = match count {
                count if count > usual.most => "above",
                count if count < usual.least => "below",
                _ => "within",
            };
            let range = match usual.least == usual.most {
                true => commas(usual.least),
                false => format!("{}–{}", commas(usual.least), commas(usual.most)),
            };
            assert!(text.contains(&format!("{place} the range of")) && text.contains(&range), "{text}");
        }
    }
    let headline: BTreeMap<&str, Compared> = [
        ("requests", naive.all("http.request")),
        ("refused sign-ins", refused),
        ("configuration changes", naive.all("config.changed")),
        ("successful sign-ins", naive.by_word("auth.attempt")("success")),
        ("mails sent", naive.by_word("mail.sent")("sent")),
        ("5xx responses", naive.compared(&|e| e.kind == "http.request" && e.word.starts_with('5'))),
    ]
    .into();
    for change in &report.changed {
        assert!(change.words.contains(&format!(
            "from {} to {}",
            commas(change.before),
            commas(change.count)
        )));
        if let Some(truth) = headline.get(&*change.what) {
            assert_eq!((Some(change.count), Some(change.before)), (truth.count, truth.before), "{change:?}");
        }
    }
}

fn maintain(store: &Annals) {
    while store.maintenance_step().expect("maintenance works").is_some() {}
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10))]

    #[test]
    fn every_number_equals_a_count_of_the_signals_one_by_one(
        seed in any::<u64>(),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
        span in prop::sample::select(vec![
            Span::Day, Span::WEEK, Span::Week { starts_on: Weekday::Sunday }, Span::Month,
        ]),
        // Beside changes of the clock in spring and autumn.
        of in prop::sample::select(vec![date(2026, 3, 29), date(2026, 4, 5), date(2026, 8, 1), date(2025, 11, 3)]),
        is_site in any::<bool>(),
    ) {
        let (mut seed, zone) = (Seed(seed), TimeZone::get(zone).expect("known"));
        let days = if span == Span::Month { 285 } else { 72 };
        let first = of.checked_sub((days - 9).days()).expect("near");
        let events = history(&mut seed, first, days, &zone);
        let machine = Machine::new();
        let store = machine.open();
        let tenant = store.create_tenant(&id("acme"), plan("archive")).expect("created");
        for (index, events) in events.chunks(500).enumerate() {
            for (number, name) in SITES.iter().enumerate() {
                let signals: Vec<Signal> =
                    events.iter().filter(|event| event.site == number).map(Event::signal).collect();
                let batch = SignalBatch { id: batch_id((index * 3 + number) as u64), site: site(name), signals };
                let acknowledged = write_signals(&tenant, &batch).expect("written");
                prop_assert_eq!(acknowledged.refused.len(), 0, "{:?}", acknowledged);
            }
        }
        let scope = if is_site { Scope::Site(site(SITES[0])) } else { Scope::Tenant };
        let request = ReportRequest::new(id("acme"), scope, zone.clone(), span, of);
        let counted = events.iter().filter(|event| !is_site || event.site == 0).collect();
        let naive = Naive { events: counted, zone, request: &request };
        let fresh = tenant.report_reader().report(&request).expect("built");
        check(&fresh, &naive);
        // From blocks and rollups, the same.
        machine.clock.set_ms(NOW + DAY_MS);
        maintain(&store);
        let sealed = tenant.report_reader().report(&request).expect("built");
        check(&sealed, &naive);
        prop_assert_eq!(sealed.provisional_days, Vec::<String>::new());
        prop_assert_eq!(sealed.snapshot.days_open, 0);
    }
}
