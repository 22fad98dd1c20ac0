//! The sites of a report about all of them. The tenant names its sites itself, so their counts are told exactly.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use serde::Serialize;

use super::read::{Pair, Reading};
use super::request::Scope;

/// Sites that are listed.
const SITES_MAX: usize = 15;
/// Sites that are named as silent.
const SILENT_MAX: usize = 10;

/// The sites of the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sites {
    /// How many have sent any signal in the period.
    pub active: u64,
    /// How many had in the period before.
    pub active_before: u64,
    /// Those with the most requests first; at most fifteen.
    pub largest: Vec<Site>,
    /// All others together, where there are any.
    pub rest: Option<Rest>,
    /// Sites that sent signals in the period before and none in the period, by name; at most ten.
    pub silent: Vec<String>,
    /// How many there are of those in all.
    pub silent_sites: u64,
}

/// One site; each pair is the count of the period and that of the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Site {
    /// Its name.
    pub name: String,
    /// What was counted.
    #[serde(flatten)]
    pub counts: SiteCounts,
}

/// The sites that are not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rest {
    /// How many.
    pub sites: u64,
    /// What was counted of all of them.
    #[serde(flatten)]
    pub counts: SiteCounts,
}

/// Counts of the period and of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct SiteCounts {
    /// Signals of any kind.
    pub signals: Pair,
    /// Requests.
    pub requests: Pair,
    /// Sign-ins that were refused.
    pub refused: Pair,
    /// Errors of any severity.
    pub errors: Pair,
}

impl SiteCounts {
    fn add(&mut self, other: &SiteCounts) {
        let pairs = [
            (&mut self.signals, other.signals),
            (&mut self.requests, other.requests),
            (&mut self.refused, other.refused),
            (&mut self.errors, other.errors),
        ];
        for (sum, pair) in pairs {
            sum.iter_mut().zip(pair).for_each(|(sum, count)| *sum = sum.saturating_add(count));
        }
    }
}

/// The sites; `None` where the report is about one.
pub(crate) fn sites(reading: &Reading<'_>) -> Option<Sites> {
    if reading.request.scope != Scope::Tenant {
        return None;
    }
    let mut sites: BTreeMap<&str, SiteCounts> = BTreeMap::new();
    let mut take = |metric, put: &dyn Fn(&mut SiteCounts, Pair)| {
        for (site, pair) in reading.by_site(metric) {
            put(sites.entry(site).or_default(), pair);
        }
    };
    take("signals", &|counts, pair| counts.signals = pair);
    take("http_requests", &|counts, pair| counts.requests = pair);
    take("auth_attempts", &|counts, pair| counts.refused = pair);
    take("errors", &|counts, pair| counts.errors = pair);
    sites.retain(|_, counts| counts.signals != [0, 0]);
    let active =
        |side: usize| sites.values().filter(|counts| counts.signals.get(side) > Some(&0)).count() as u64;
    let silent: Vec<String> = sites
        .iter()
        .filter(|(_, counts)| counts.signals[0] == 0)
        .map(|(site, _)| (*site).to_owned())
        .collect();
    let mut largest: Vec<(&str, SiteCounts)> = sites.iter().map(|(site, counts)| (*site, *counts)).collect();
    // Equal ones stay in name order.
    largest.sort_by_key(|(_, counts)| Reverse((counts.requests, counts.signals)));
    // One more than fits is listed rather than hidden behind "1 more".
    let rest = if largest.len() > SITES_MAX + 1 { largest.split_off(SITES_MAX) } else { Vec::new() };
    let mut rest_counts = SiteCounts::default();
    rest.iter().for_each(|(_, counts)| rest_counts.add(counts));
    Some(Sites {
        active: active(0),
        active_before: active(1),
        largest: largest.into_iter().map(|(name, counts)| Site { name: name.to_owned(), counts }).collect(),
        rest: (!rest.is_empty()).then_some(Rest { sites: rest.len() as u64, counts: rest_counts }),
        silent_sites: silent.len() as u64,
        silent: silent.into_iter().take(SILENT_MAX).collect(),
    })
}
