//! Requests: by step, by status class, by route.

use std::collections::BTreeMap;

use serde::Serialize;

use super::numbers::{Breakdown, Compared, Tally, breakdown};
use super::read::Reading;

/// Routes that are listed by name.
const ROUTES_MAX: usize = 10;
/// The status classes, in the order that they are shown.
const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// Requests of the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Traffic {
    /// All requests.
    pub requests: Compared,
    /// All requests, per step.
    pub steps: Vec<Compared>,
    /// All requests of each day that was read, the oldest first; none where a day has no data or is not kept.
    pub trend: Vec<Option<u64>>,
    /// By status class; shares are of [`Traffic::requests`].
    pub classes: Vec<Tally>,
    /// By status class and step, in the order of `classes`.
    pub class_steps: Vec<Vec<Option<u64>>>,
    /// By route.
    pub routes: Breakdown,
}

impl Traffic {
    /// Requests that failed on the server's side.
    pub(crate) fn server_errors(&self) -> Option<Compared> {
        self.classes.iter().find(|class| class.name == "5xx").map(|class| class.count)
    }
}

/// The traffic section.
pub(crate) fn traffic(reading: &Reading<'_>) -> Traffic {
    let metric = "http_requests";
    let all = reading.sum(metric, |_| true);
    let mut names: Vec<String> = CLASSES.map(str::to_owned).to_vec();
    let seen = reading.by_label(metric).map(|(status, _)| class(status));
    let mut others: Vec<String> = seen.filter(|class| !CLASSES.contains(&class.as_str())).collect();
    others.sort_unstable();
    others.dedup();
    names.append(&mut others);
    let (mut classes, mut class_steps) = (Vec::new(), Vec::new());
    for name in names {
        let counts = reading.sum(metric, |status| class(status) == name);
        class_steps.push(reading.steps(&counts).iter().map(|step| step.count).collect());
        classes.push(Tally { name, count: reading.compared(&counts) });
    }
    Traffic {
        requests: reading.compared(&all),
        steps: reading.steps(&all),
        trend: reading.trend(&all),
        classes,
        class_steps,
        routes: by_name(reading, metric, ROUTES_MAX),
    }
}

/// A breakdown of the period and the one before by a free name.
pub(crate) fn by_name(reading: &Reading<'_>, metric: &'static str, rows_max: usize) -> Breakdown {
    let names: BTreeMap<String, Vec<u64>> = reading
        .by_names(metric)
        .map(|(names, pair)| (shown(names.first().map_or("", String::as_str)), pair.to_vec()))
        .collect();
    let grid = reading.grid;
    let columns = [("count", reading.has_data(&grid.period)), ("before", reading.has_data(&grid.before))];
    breakdown(&columns, names, rows_max, reading.few())
}

/// A free name; in brackets where there is none.
pub(crate) fn shown(name: &str) -> String {
    if name.is_empty() { "(none)".to_owned() } else { name.to_owned() }
}

fn class(status: &str) -> String {
    match status.as_bytes() {
        [first @ b'1'..=b'5', _, _] => format!("{}xx", char::from(*first)),
        _ => "other".to_owned(),
    }
}
