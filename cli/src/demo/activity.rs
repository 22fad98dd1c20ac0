//! What happens at a site in an hour: visits with their daily and weekly rhythm, sign-ins, scheduled work, mail,
//! errors, now and then a change. And three troubles of one site: an attack on its sign-in that ends when someone fixes
//! it, a release that breaks pages until it is taken back, and a day on which its mails are not taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use annals::{DAY_MS, HOUR_MS, Signal, SignalValue, Timestamp};

use super::cast::Site;
use super::dice::Dice;

/// Sign-in attempts per hour while the attack lasts: 2,448 a day.
const ATTACK_PER_HOUR: f64 = 102.0;
/// And after the fix: one a day.
const AFTER_PER_HOUR: f64 = 1.0 / 24.0;

/// For so long the release breaks pages.
const RELEASE_MS: i64 = 4 * HOUR_MS;
/// So long after it mails are deferred, for a day.
const MAILS_AFTER_MS: i64 = 2 * DAY_MS;
/// Errors for each that would be raised on a good day.
const RELEASE_ERRORS: f64 = 12.0;

/// Makes signals; names are shared between them.
#[derive(Debug)]
pub(crate) struct Activity {
    seed: u64,
    /// When the attack begins.
    begins: Timestamp,
    /// When the attacked site's sign-in is fixed.
    fixed: Timestamp,
    /// When the release comes.
    release: Timestamp,
    words: BTreeMap<&'static str, Arc<str>>,
}

/// Every name that a signal of the demo carries: kinds, fields and their values.
const WORDS: &[&str] = &[
    "http.request",
    "method",
    "status",
    "route",
    "duration",
    "bytes",
    "client",
    "GET",
    "POST",
    "HEAD",
    "auth.attempt",
    "result",
    "user",
    "password",
    "token",
    "success",
    "failure",
    "blocked",
    "wp.cron",
    "hook",
    "lateness",
    "ok",
    "failed",
    "missed",
    "late",
    "mail.sent",
    "class",
    "sent",
    "deferred",
    "order",
    "newsletter",
    "reset",
    "error.raised",
    "severity",
    "origin",
    "notice",
    "warning",
    "error",
    "fatal",
    "config.changed",
    "option",
    "change",
    "actor",
    "file.edited",
    "area",
    "size",
    "flags",
    "core",
    "plugin",
];

impl Activity {
    /// The activity of a seed, with an attack from one instant to its fix at another, and a release.
    pub(crate) fn new(seed: u64, begins: Timestamp, fixed: Timestamp, release: Timestamp) -> Activity {
        Activity {
            seed,
            begins,
            fixed,
            release,
            words: WORDS.iter().map(|&word| (word, word.into())).collect(),
        }
    }

    /// All signals of a site in the hour that starts at `start`, by time.
    pub(crate) fn hour(&self, place: u64, site: &Site, start: Timestamp) -> Vec<Signal> {
        let mut dice = Dice::of(self.seed, place, start.0 as u64);
        let mut signals = Vec::new();
        self.requests(&mut signals, &mut dice, site, start);
        self.sign_ins(&mut signals, &mut dice, site, start);
        self.scheduled(&mut signals, &mut dice, start);
        self.mails(&mut signals, &mut dice, site, start);
        self.errors(&mut signals, &mut dice, site, start);
        self.changes(&mut signals, &mut dice, site, start);
        signals.sort_by_key(|signal| signal.time);
        signals
    }

    fn requests(&self, into: &mut Vec<Signal>, dice: &mut Dice, site: &Site, start: Timestamp) {
        for _ in 0..dice.count(site.requests_per_day / 24.0 * rhythm(site, start)) {
            let route = *dice.weighted(site.routes);
            let file = route.contains(":file");
            let failing = if self.is_broken(site, start) { 400 } else { 4 };
            let status =
                *dice.weighted(&[(900, 200), (40, 304), (25, 301), (25, 404), (6, 403), (failing, 500)]);
            let method = *dice.weighted(&[(93, "GET"), (5, "POST"), (2, "HEAD")]);
            let fields = vec![
                (self.word("method"), self.text(method)),
                (self.word("status"), SignalValue::Integer(status)),
                (self.word("route"), SignalValue::Text(route.into())),
                (
                    self.word("duration"),
                    SignalValue::Integer(dice.duration_ms(if file { 4.0 } else { 85.0 })),
                ),
                (self.word("bytes"), SignalValue::Integer(dice.duration_ms(18_000.0))),
                (self.word("client"), SignalValue::Text(address(dice, 4_000))),
            ];
            self.push(into, dice, "http.request", start, fields);
        }
    }

    /// Whether the release breaks the site's pages in the hour from `start` on.
    fn is_broken(&self, site: &Site, start: Timestamp) -> bool {
        site.attacked && (self.release.0..self.release.0 + RELEASE_MS).contains(&start.0)
    }

    fn sign_ins(&self, into: &mut Vec<Signal>, dice: &mut Dice, site: &Site, start: Timestamp) {
        let people = dice.count(site.requests_per_day / 24.0 * rhythm(site, start) / 120.0);
        for _ in 0..people {
            let result = *dice.weighted(&[(94, "success"), (6, "failure")]);
            self.sign_in(into, dice, start, result, "user", 40);
        }
        if site.attacked {
            // In the hours in which it begins and ends, the attack runs for its part.
            let share = |from: i64, to: i64| ((to - from) as f64 / HOUR_MS as f64).clamp(0.0, 1.0);
            let end = start.0 + HOUR_MS;
            let attack =
                dice.count(ATTACK_PER_HOUR * share(start.0.max(self.begins.0), end.min(self.fixed.0)));
            let after = dice.count(AFTER_PER_HOUR * share(start.0.max(self.fixed.0), end));
            for _ in 0..attack + after {
                self.sign_in(into, dice, start, "failure", "guess", 5_000);
            }
        }
    }

    fn sign_in(
        &self,
        into: &mut Vec<Signal>,
        dice: &mut Dice,
        start: Timestamp,
        result: &'static str,
        who: &str,
        names: u64,
    ) {
        // Many names, few clients: what a machine that guesses looks like.
        let clients = if who == "guess" { 5 } else { 400 };
        let fields = vec![
            (self.word("result"), self.text(result)),
            (self.word("method"), self.text("password")),
            (self.word("user"), SignalValue::Text(format!("{who}-{}", dice.below(names)).into())),
            (self.word("client"), SignalValue::Text(address(dice, clients))),
        ];
        self.push(into, dice, "auth.attempt", start, fields);
    }

    fn scheduled(&self, into: &mut Vec<Signal>, dice: &mut Dice, start: Timestamp) {
        let hour = start.0.rem_euclid(DAY_MS) / HOUR_MS;
        let hooks: &[(&str, bool)] =
            &[("publish_future_posts", true), ("clean_sessions", hour % 6 == 0), ("backup", hour == 2)];
        for (hook, _) in hooks.iter().filter(|(_, due)| *due) {
            let result = *dice.weighted(&[(965, "ok"), (20, "late"), (10, "failed"), (5, "missed")]);
            let mut fields = vec![
                (self.word("hook"), SignalValue::Text((*hook).into())),
                (self.word("result"), self.text(result)),
            ];
            if result == "late" {
                fields.push((self.word("lateness"), SignalValue::Integer(dice.duration_ms(9_000.0))));
            }
            if result != "missed" {
                fields.push((self.word("duration"), SignalValue::Integer(dice.duration_ms(700.0))));
            }
            self.push(into, dice, "wp.cron", start, fields);
        }
    }

    fn mails(&self, into: &mut Vec<Signal>, dice: &mut Dice, site: &Site, start: Timestamp) {
        let refused = self.release.0 + MAILS_AFTER_MS;
        let deferred = site.attacked && (refused..refused + DAY_MS).contains(&start.0);
        let weight = if deferred { 20_000 } else { 20 };
        for _ in 0..dice.count(site.requests_per_day / 24.0 * rhythm(site, start) / 250.0) {
            let result = *dice.weighted(&[(970, "sent"), (weight, "deferred"), (10, "failed")]);
            let class = *dice.weighted(&[(6, "order"), (3, "newsletter"), (1, "reset")]);
            let fields =
                vec![(self.word("result"), self.text(result)), (self.word("class"), self.text(class))];
            self.push(into, dice, "mail.sent", start, fields);
        }
    }

    fn errors(&self, into: &mut Vec<Signal>, dice: &mut Dice, site: &Site, start: Timestamp) {
        let more = if self.is_broken(site, start) { RELEASE_ERRORS } else { 1.0 };
        for _ in 0..dice.count(site.requests_per_day / 24.0 * rhythm(site, start) / 700.0 * more) {
            let severities = match self.is_broken(site, start) {
                true => [(3, "notice"), (3, "warning"), (34, "error"), (60, "fatal")],
                false => [(50, "notice"), (35, "warning"), (13, "error"), (2, "fatal")],
            };
            let severity = *dice.weighted(&severities);
            let fields = vec![
                (self.word("severity"), self.text(severity)),
                (
                    self.word("origin"),
                    SignalValue::Text((*dice.pick(&["theme", "plugin:forms", "plugin:cache"])).into()),
                ),
                (self.word("digest"), SignalValue::Text(format!("trace {}", dice.below(30)).into())),
            ];
            self.push(into, dice, "error.raised", start, fields);
        }
    }

    fn changes(&self, into: &mut Vec<Signal>, dice: &mut Dice, site: &Site, start: Timestamp) {
        if dice.count(0.01) > 0 {
            let option = *dice.pick(&["cache.lifetime", "mail.sender", "site.title"]);
            into.push(self.change(
                option,
                "an editor",
                start.saturating_add(dice.below(HOUR_MS as u64) as i64),
            ));
        }
        let fix_is_now = (start.0..start.0 + HOUR_MS).contains(&self.fixed.0);
        if site.attacked && fix_is_now {
            into.push(self.change("login.attempts_max", "the administrator", self.fixed));
            let mut edit = Signal::new("file.edited", self.fixed);
            edit.fields = vec![
                (self.word("area"), self.text("plugin")),
                (self.word("size"), SignalValue::Integer(1_874)),
                (self.word("actor"), SignalValue::Text("the administrator".into())),
            ];
            into.push(edit);
        }
    }

    fn change(&self, option: &str, actor: &str, time: Timestamp) -> Signal {
        let mut change = Signal::new("config.changed", time);
        change.fields = vec![
            (self.word("option"), SignalValue::Text(option.into())),
            (self.word("change"), SignalValue::Change { before: "unlimited".into(), after: "5".into() }),
            (self.word("actor"), SignalValue::Text(actor.into())),
        ];
        change
    }

    fn push(
        &self,
        into: &mut Vec<Signal>,
        dice: &mut Dice,
        kind: &'static str,
        start: Timestamp,
        fields: Vec<(Arc<str>, SignalValue)>,
    ) {
        let time = start.saturating_add(dice.below(HOUR_MS as u64) as i64);
        into.push(Signal { kind: self.word(kind), time, fields });
    }

    fn word(&self, word: &'static str) -> Arc<str> {
        self.words.get(word).cloned().unwrap_or_else(|| word.into())
    }

    fn text(&self, word: &'static str) -> SignalValue {
        SignalValue::Text(self.word(word))
    }
}

/// How busy an hour is against the average one: a daily wave around the site's peak, and its weekends.
pub(crate) fn rhythm(site: &Site, start: Timestamp) -> f64 {
    let hour = start.0.rem_euclid(DAY_MS) as f64 / HOUR_MS as f64;
    let wave = ((hour - site.peak_hour) / 24.0 * std::f64::consts::TAU).cos();
    // Day 0 was a Thursday.
    let weekend = (start.0.div_euclid(DAY_MS) + 3).rem_euclid(7) >= 5;
    (1.0 + 0.75 * wave) * if weekend { site.weekend } else { 1.0 }
}

/// An address of a range that documentation is allowed to print.
fn address(dice: &mut Dice, clients: u64) -> Arc<str> {
    let client = dice.below(clients);
    format!("2001:db8::{:x}", client + 1).into()
}

#[cfg(test)]
mod tests {
    use super::super::cast::COMPANIES;
    use super::*;

    #[test]
    fn the_attack_is_2448_a_day_and_one_a_day_after_the_fix() {
        let site =
            COMPANIES.iter().flat_map(|company| company.sites).find(|site| site.attacked).expect("one");
        let day = |day: i64| Timestamp(1_794_268_800_000 + day * DAY_MS);
        let activity = Activity::new(1, day(0), day(7), day(8));
        let failures = |days: std::ops::Range<i64>| {
            let hours =
                days.flat_map(|at: i64| (0..24).map(move |hour| day(at).saturating_add(hour * HOUR_MS)));
            let of = |signal: &Signal| {
                signal.fields.iter().any(|(_, value)| *value == SignalValue::Text("failure".into()))
            };
            hours.flat_map(|hour| activity.hour(1, site, hour)).filter(of).count() as f64
        };
        let (before, after) = (failures(0..7) / 7.0, failures(7..14) / 7.0);
        assert!((2_300.0..2_600.0).contains(&before), "{before}");
        assert!(after < 10.0, "{after}");
    }

    #[test]
    fn an_hour_is_the_same_every_time_and_holds_only_its_own() {
        let activity = Activity::new(7, Timestamp(0), Timestamp(0), Timestamp(0));
        let start = Timestamp(1_794_268_800_000);
        let site = &COMPANIES[2].sites[0];
        let signals = activity.hour(3, site, start);
        assert_eq!(signals, activity.hour(3, site, start));
        assert_ne!(signals, activity.hour(4, site, start));
        assert!(signals.iter().all(|signal| (start.0..start.0 + HOUR_MS).contains(&signal.time.0)));
        assert!(signals.windows(2).all(|pair| pair[0].time <= pair[1].time));
    }
}
