//! A store's numbers as OpenMetrics text: what is needed to see at a glance that a store works, and where it does not.
//!
//! Names begin with `annals_`, times are in seconds, sizes in bytes. Nothing of a tenant's content stands in it; its id does, as
//! the label `tenant`, and only where there are at most [`TENANT_LABELS_MAX`] tenants: sums are always there.

use std::fmt::{Display, Write as _};
use std::time::Duration;

use crate::counters::{Activity, WorkDone};
use crate::metrics::{BlockTotals, Metrics, TenantMetrics};

/// With more tenants there are sums alone: a scrape takes time, and each series costs whoever keeps it.
pub const TENANT_LABELS_MAX: usize = 1_000;

/// Text that is being written.
#[derive(Default)]
struct Text(String);

/// A value of a family: what follows its name, and the value.
type Line = (String, Number);

/// A value, whole or in seconds.
enum Number {
    Whole(u64),
    Seconds(Duration),
}

impl Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Number::Whole(own) => write!(f, "{own}"),
            Number::Seconds(own) => write!(f, "{}", own.as_secs_f64()),
        }
    }
}

fn label(name: &str, value: &str) -> String {
    // Ids of tenants and our own words: nothing in them needs an escape.
    format!("{{{name}=\"{value}\"}}")
}

fn alone(value: u64) -> Vec<Line> {
    vec![(String::new(), Number::Whole(value))]
}

impl Text {
    fn family(&mut self, name: &str, kind: &str, help: &str, lines: impl IntoIterator<Item = Line>) {
        let unit = ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}")));
        let total = if kind == "counter" { "_total" } else { "" };
        // Writing to memory does not fail.
        let _ = writeln!(self.0, "# TYPE annals_{name} {kind}");
        if let Some(unit) = unit {
            let _ = writeln!(self.0, "# UNIT annals_{name} {unit}");
        }
        let _ = writeln!(self.0, "# HELP annals_{name} {help}");
        for (labels, value) in lines {
            let _ = writeln!(self.0, "annals_{name}{total}{labels} {value}");
        }
    }

    fn counter(&mut self, name: &str, help: &str, lines: impl IntoIterator<Item = Line>) {
        self.family(name, "counter", help, lines);
    }

    fn gauge(&mut self, name: &str, help: &str, lines: impl IntoIterator<Item = Line>) {
        self.family(name, "gauge", help, lines);
    }
}

impl Metrics {
    /// These as OpenMetrics text.
    #[must_use]
    pub fn to_openmetrics(&self) -> String {
        let mut text = Text::default();
        if let Some(activity) = &self.activity {
            add_activity(&mut text, activity);
        }
        self.add_state(&mut text);
        self.add_tenants(&mut text);
        text.0.push_str("# EOF\n");
        text.0
    }

    fn add_state(&self, text: &mut Text) {
        let tenants = [("open", self.tenants.len() as u64), ("unavailable", self.tenants_unavailable)];
        let tenants = tenants.map(|(state, count)| (label("state", state), Number::Whole(count)));
        text.gauge("tenants", "Tenants by whether they can be used.", tenants);
        text.gauge("troubles", "What is not as it should be.", alone(self.troubles));
        text.gauge("log_segments", "Segments of the log.", alone(self.log_segments));
        text.gauge("log_file_bytes", "What the log takes on disk.", alone(self.log_file_bytes));
        text.gauge("quarantine_files", "Files in quarantine.", alone(self.quarantine_files));
        text.gauge("quarantine_bytes", "Bytes in quarantine.", alone(self.quarantine_bytes));
    }

    fn add_tenants(&self, text: &mut Text) {
        let sum = |of: fn(&TenantMetrics) -> u64| alone(self.tenants.iter().map(of).sum());
        text.gauge("head_series", "Series in memory.", sum(|tenant| tenant.head_series));
        text.gauge("head_samples", "Samples that are not in blocks yet.", sum(|tenant| tenant.head_samples));
        text.gauge("head_signals", "Signals that are not in blocks yet.", sum(|tenant| tenant.head_signals));
        text.gauge("head_bytes", "Memory of what is not in blocks yet.", sum(|tenant| tenant.head_bytes));
        for (name, help, of) in [
            ("blocks", "Blocks by what they hold.", (|own| own.blocks) as fn(&BlockTotals) -> u64),
            ("block_rows", "Samples, windows and signals in blocks.", |own| own.rows),
            ("block_bytes", "What blocks take on disk.", |own| own.bytes),
        ] {
            text.gauge(name, help, self.by_content(of));
        }
        text.gauge("merges_due", "Merges of blocks that are owed.", sum(|tenant| tenant.merges_due));
        text.gauge("seals_due", "Days whose rollups are owed.", sum(|tenant| tenant.seals_due));
        let lag = self.tenants.iter().map(|tenant| tenant.retention_lag_ms).max().unwrap_or(0);
        let lag = [(String::new(), Number::Seconds(Duration::from_millis(lag)))];
        text.gauge("retention_lag_seconds", "How long the first block that is due has been due.", lag);
        text.gauge("damaged_blocks", "Blocks that no merge takes.", sum(|tenant| tenant.damaged_blocks));
        text.gauge(
            "old_keys",
            "Keys that were replaced, and are not gone yet.",
            sum(|tenant| tenant.old_keys),
        );
        text.gauge(
            "old_key_bytes",
            "Bytes of blocks that are sealed with old keys.",
            sum(|own| own.old_key_bytes),
        );
        let lag = self.tenants.iter().map(|tenant| tenant.old_keys_lag_ms).max().unwrap_or(0);
        let lag = [(String::new(), Number::Seconds(Duration::from_millis(lag)))];
        text.gauge("old_keys_lag_seconds", "How long old keys should have been out of use.", lag);
        if self.tenants.len() > TENANT_LABELS_MAX {
            return;
        }
        for (name, help, of) in [
            ("tenant_head_series", "Series in memory.", (|own| own.head_series) as fn(&TenantMetrics) -> u64),
            ("tenant_head_bytes", "Memory of what is not in blocks yet.", |own| own.head_bytes),
            ("tenant_block_bytes", "What blocks take on disk.", |own| {
                own.blocks.iter().map(|(_, totals)| totals.bytes).sum()
            }),
            ("tenant_damaged_blocks", "Blocks that no merge takes.", |own| own.damaged_blocks),
            ("tenant_old_key_bytes", "Bytes of blocks that are sealed with old keys.", |own| {
                own.old_key_bytes
            }),
        ] {
            let lines =
                self.tenants.iter().map(|own| (label("tenant", own.id.as_str()), Number::Whole(of(own))));
            text.gauge(name, help, lines);
        }
        let lag = self.tenants.iter().map(|own| {
            let lag = Duration::from_millis(own.retention_lag_ms);
            (label("tenant", own.id.as_str()), Number::Seconds(lag))
        });
        text.gauge("tenant_retention_lag_seconds", "How long the first block that is due has been due.", lag);
    }

    fn by_content(&self, of: fn(&BlockTotals) -> u64) -> Vec<Line> {
        let contents = annals_model::BlockContent::ALL;
        let sum = |content| {
            let own = self.tenants.iter().flat_map(|tenant| &tenant.blocks);
            own.filter(|(known, _)| *known == content).map(|(_, totals)| of(totals)).sum()
        };
        contents.map(|content| (label("content", content.word()), Number::Whole(sum(content)))).into()
    }
}

fn add_activity(text: &mut Text, activity: &Activity) {
    let outcomes = [
        ("written", activity.intake.batches_written),
        ("duplicate", activity.intake.batches_duplicate),
        ("conflict", activity.intake.batches_conflicting),
        ("failed", activity.intake.batches_failed),
    ];
    let outcomes = outcomes.map(|(outcome, count)| (label("outcome", outcome), Number::Whole(count)));
    text.counter("batches", "Batches by what became of them.", outcomes);
    text.counter("records_accepted", "Records of hosts that were accepted.", alone(activity.intake.records));
    let refused = activity.intake.refused.iter();
    let refused = refused.map(|(reason, count)| (label("reason", reason.word()), Number::Whole(*count)));
    text.counter("records_refused", "Records of hosts that were refused, by reason.", refused);
    text.counter(
        "samples_written",
        "Samples that were stored, derived ones included.",
        alone(activity.samples),
    );
    text.counter("signals_written", "Raw signals that were stored.", alone(activity.signals));
    text.counter("log_commits", "Commits of the log.", alone(activity.log_commits));
    text.counter("log_failures", "Commits of the log that failed.", alone(activity.log_failures));
    text.counter("log_written_bytes", "Bytes of records that were committed.", alone(activity.log_bytes));
    let abandoned = alone(activity.log_segments_abandoned);
    text.counter("log_segments_abandoned", "Segments left after a failed write or sync.", abandoned);
    let index = activity.index;
    text.gauge("index_blocks", "Blocks whose index is in memory.", alone(index.blocks));
    text.gauge("index_bytes", "What indexes of blocks take in memory.", alone(index.bytes));
    text.counter("index_uses", "How often a block was asked for.", alone(index.uses));
    text.counter("index_opens", "How often a block had to be opened for that.", alone(index.opens));
    let of_work = |of: fn(&WorkDone) -> Number| {
        activity.work.iter().map(move |(work, own)| (label("work", work.word()), of(own)))
    };
    text.counter("work_done", "Pieces of background work.", of_work(|own| Number::Whole(own.done)));
    let failed = of_work(|own| Number::Whole(own.failed));
    text.counter("work_failed", "Pieces of background work that failed and are tried again.", failed);
    text.counter(
        "work_rows",
        "Rows that background work made or took away.",
        of_work(|own| Number::Whole(own.rows)),
    );
    text.counter(
        "work_bytes",
        "Bytes that background work made or took away.",
        of_work(|own| Number::Whole(own.bytes)),
    );
    text.counter("work_seconds", "How long background work took.", of_work(|own| Number::Seconds(own.took)));
    let queries = [("answered", activity.queries), ("failed", activity.queries_failed)];
    let queries = queries.map(|(outcome, count)| (label("outcome", outcome), Number::Whole(count)));
    text.counter("queries", "PromQL queries.", queries);
    text.counter("queries_slow", "PromQL queries of more than a second.", alone(activity.queries_slow));
    text.counter("query_samples", "Samples that queries decoded.", alone(activity.query_samples));
    let took = [(String::new(), Number::Seconds(activity.query_took))];
    text.counter("query_seconds", "How long queries took.", took);
}
