//! Which metric names belong to Annals: no host may write samples under them.

use annals_model::schema::{MetricSchema, SignalSchema};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The metric that counts every admitted signal by `kind`.
pub(crate) const SIGNALS: &str = "signals";

/// What a durations metric appends to its name.
pub(crate) const DURATION_SUFFIXES: [&str; 3] = ["_bucket", "_sum", "_count"];

/// The names of all metrics that a schema derives, parts of durations metrics and `signals` included.
#[derive(Debug, Clone)]
pub struct ReservedMetrics {
    names: BTreeSet<Arc<str>>,
}

impl ReservedMetrics {
    /// The names that a schema derives.
    #[must_use]
    pub fn new(schema: &SignalSchema) -> ReservedMetrics {
        let mut reserved = ReservedMetrics { names: BTreeSet::from([SIGNALS.into()]) };
        for metric in schema.kinds.iter().flat_map(|kind| &kind.metrics) {
            // A schema made by hand may derive one metric from two kinds: its name is reserved all the same.
            reserved.names.extend(names(metric));
        }
        reserved
    }

    /// Whether a metric of that name is derived by Annals.
    #[must_use]
    pub fn contains(&self, metric: &str) -> bool {
        self.names.contains(metric)
    }

    /// The names, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// Reserves a metric's names; `false`, and nothing reserved, where one of them is taken.
    pub(crate) fn reserve(&mut self, metric: &MetricSchema) -> bool {
        let names = names(metric);
        let free = !names.iter().any(|name| self.names.contains(name));
        if free {
            self.names.extend(names);
        }
        free
    }
}

/// Every name that a metric takes: a durations metric also keeps its bare name from others.
fn names(metric: &MetricSchema) -> Vec<Arc<str>> {
    match metric {
        MetricSchema::Count { name, .. } => vec![name.clone()],
        MetricSchema::Durations { name, .. } => std::iter::once(name.clone())
            .chain(DURATION_SUFFIXES.iter().map(|suffix| format!("{name}{suffix}").into()))
            .collect(),
    }
}

/// The metrics that `schema` derives: hosts may not write samples under their names.
#[must_use]
pub fn reserved_metrics(schema: &SignalSchema) -> ReservedMetrics {
    ReservedMetrics::new(schema)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builtin;

    #[test]
    fn every_derived_name_and_its_parts_are_reserved() {
        let reserved = reserved_metrics(&builtin());
        assert_eq!(
            reserved.iter().collect::<Vec<_>>(),
            [
                "auth_attempts",
                "config_changes",
                "cron_runs",
                "errors",
                "file_edits",
                "http_requests",
                "http_response_seconds",
                "http_response_seconds_bucket",
                "http_response_seconds_count",
                "http_response_seconds_sum",
                "mails",
                "signals",
            ]
        );
        for free in ["", "up", "signal", "signals_total", "http_requests_total", "http_response_seconds_max"]
        {
            assert!(!reserved.contains(free), "{free}");
        }
    }
}
